/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/cross/test_shards.c: start, run and stop of several shards, on threads of their own.
 *
 * Real threads on the real clock. Nothing waits for a fixed time to be long enough: what does not
 * come shows as a hang, which the test's time limit ends.
 */
#include "tests/runtime/cross/held_test.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "runtime/cross/call.h"
#include "runtime/cross/shards.h"

#define COUNT 4

/* What happened, in order; threads take turns, so that only the order of their turns matters. */
static struct {
	pthread_mutex_t lock;
	char text[4096];
	size_t bytes;
	pthread_t threads[COUNT];
	struct apus_shards *shards;
} record = {.lock = PTHREAD_MUTEX_INITIALIZER};

static APUS_PRINTF(1, 2) void note(const char *fmt, ...)
{
	va_list args;

	pthread_mutex_lock(&record.lock);
	va_start(args, fmt);
	record.bytes += (size_t)vsnprintf(record.text + record.bytes,
					  sizeof(record.text) - record.bytes, fmt, args);
	va_end(args);
	if (record.bytes >= sizeof(record.text))
		abort();
	pthread_mutex_unlock(&record.lock);
}

static void forget(void)
{
	record.bytes = 0;
	record.text[0] = '\0';
	record.shards = NULL;
}

static const struct apus_shards_options plain = {
	.shard = {.seed = 1},
	.count = COUNT,
};

static int64_t run(const struct apus_shards_options *options, apus_task_fn fn, void *arg)
{
	struct apus_shards *shards;
	int rc = apus_shards_open(options, &shards, NULL);

	if (rc)
		return rc;
	record.shards = shards;

	int64_t result = apus_shards_run(shards, fn, arg);

	apus_shards_close(shards);
	return result;
}

static int64_t return_arg(void *arg)
{
	return (int64_t)(intptr_t)arg;
}

/* Start. */

static int set_up(struct apus_shard *shard, unsigned int index, void *arg)
{
	if (apus_shard_self() != shard)
		return -EINVAL;
	record.threads[index] = pthread_self();
	note("up %u, ", index);
	return 0;
}

static void tear_down(struct apus_shard *shard, unsigned int index, void *arg)
{
	note("down %u, ", index);
	if (apus_shard_self() != shard || !pthread_equal(pthread_self(), record.threads[index]))
		abort();
}

static void main_result_comes_back(void **state)
{
	assert_int_equal(run(&plain, return_arg, (void *)42), 42);
	assert_int_equal(run(&plain, return_arg, (void *)(intptr_t)-EPIPE), -EPIPE);
	assert_null(apus_shard_self());
}

static void hooks_run_in_order_and_in_reverse_on_their_own_threads(void **state)
{
	struct apus_shards_options options = plain;

	forget();
	options.setup = set_up;
	options.teardown = tear_down;
	assert_int_equal(run(&options, return_arg, NULL), 0);
	assert_string_equal(record.text,
			    "up 0, up 1, up 2, up 3, down 3, down 2, down 1, down 0, ");
	assert_true(pthread_equal(record.threads[0], pthread_self()));
	for (int i = 0; i < COUNT; i++)
		for (int k = 0; k < i; k++)
			assert_false(pthread_equal(record.threads[i], record.threads[k]));
}

static int set_up_but_2(struct apus_shard *shard, unsigned int index, void *arg)
{
	return index == 2 ? -ENODEV : set_up(shard, index, arg);
}

static void setup_that_fails_takes_down_what_was_set_up(void **state)
{
	struct apus_shards_options options = plain;
	struct apus_shards *shards = NULL;
	unsigned int failed = 99;

	forget();
	options.setup = set_up_but_2;
	options.teardown = tear_down;
	assert_int_equal(apus_shards_open(&options, &shards, &failed), -ENODEV);
	assert_int_equal(failed, 2);
	assert_null(shards);
	assert_string_equal(record.text, "up 0, up 1, down 1, down 0, ");
	assert_null(apus_shard_self());
}

static void impossible_options_are_refused(void **state)
{
	struct apus_shards_options options = plain;
	struct apus_shards *shards;
	struct apus_clock clock;
	int cores[COUNT] = {0, 0, 0, 100000};
	unsigned int failed = 99;

	options.count = 0;
	assert_int_equal(apus_shards_open(&options, &shards, NULL), -EINVAL);
	options.count = APUS_SHARDS_MAX + 1;
	assert_int_equal(apus_shards_open(&options, &shards, NULL), -EINVAL);
	options.count = COUNT;
	options.cores = cores;
	assert_int_equal(apus_shards_open(&options, &shards, &failed), -EINVAL);
	assert_int_equal(failed, 3);
	options.cores = NULL;
	apus_clock_init_virtual(&clock, 0);
	options.shard.clock = &clock;
	assert_int_equal(apus_shards_open(&options, &shards, NULL), -EINVAL);
}

static int look_at_affinity(struct apus_shard *shard, unsigned int index, void *arg)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set))
		return -errno;
	return CPU_COUNT(&set) == 1 && CPU_ISSET(((const int *)arg)[index], &set) ? 0 : -EXDEV;
}

static void threads_are_pinned_and_the_callers_affinity_comes_back(void **state)
{
	struct apus_shards_options options = plain;
	cpu_set_t before, after;
	int cores[COUNT], n = 0;

	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	for (int cpu = 0; n < COUNT; cpu = (cpu + 1) % CPU_SETSIZE)
		if (CPU_ISSET(cpu, &before))
			cores[n++] = cpu;
	options.cores = cores;
	options.setup = look_at_affinity;
	options.arg = cores;
	assert_int_equal(run(&options, return_arg, NULL), 0);
	assert_int_equal(sched_getaffinity(0, sizeof(after), &after), 0);
	assert_true(CPU_EQUAL(&before, &after));
}

static int take_chance(struct apus_shard *shard, unsigned int index, void *arg)
{
	((uint64_t *)arg)[index] = apus_random_u64(apus_shard_random(shard));
	return 0;
}

static void one_seed_gives_each_shard_its_own_chance_again(void **state)
{
	struct apus_shards_options options = plain;
	uint64_t first[COUNT], again[COUNT];

	options.setup = take_chance;
	options.arg = first;
	assert_int_equal(run(&options, return_arg, NULL), 0);
	options.arg = again;
	assert_int_equal(run(&options, return_arg, NULL), 0);
	assert_memory_equal(first, again, sizeof(first));
	for (int i = 0; i < COUNT; i++)
		for (int k = 0; k < i; k++)
			assert_true(first[i] != first[k]);
}

/* Turning. */

static struct visit {
	struct apus_work work, back;
	unsigned int index;
	bool was_there;
} visits[COUNT];
static int visits_done; /* shard 0's */

static void come_back(struct apus_work *work)
{
	visits_done++;
}

static void look_around(struct apus_work *work)
{
	struct visit *v = apus_container_of(work, struct visit, work);

	v->was_there = apus_shard_self() == apus_shards_at(record.shards, v->index) &&
		       pthread_equal(pthread_self(), record.threads[v->index]);
	apus_call_from_thread(apus_shards_at(record.shards, 0), &v->back);
}

static int64_t visit_all(void *arg)
{
	visits_done = 0;
	for (unsigned int i = 0; i < COUNT; i++) {
		visits[i].index = i;
		apus_work_init(&visits[i].work, look_around);
		apus_work_init(&visits[i].back, come_back);
		apus_call_from_thread(apus_shards_at(record.shards, i), &visits[i].work);
	}
	while (visits_done < COUNT)
		if (apus_sleep(APUS_MS))
			return -EINVAL;
	return 0;
}

static void every_shard_turns_until_main_has_ended(void **state)
{
	struct apus_shards_options options = plain;

	forget();
	options.setup = set_up;
	assert_int_equal(run(&options, visit_all, NULL), 0);
	for (int i = 0; i < COUNT; i++)
		assert_true(visits[i].was_there);
}

/* Stop. */

static int64_t say_that_it_is_cancelled(void *arg)
{
	int64_t rc = apus_sleep(1000 * APUS_SEC);

	/* A while of clean-up, so that an order by chance would not be this one. */
	if (apus_sleep(3 * APUS_MS) == 0 && rc == -ECANCELED)
		note("end %u, ", (unsigned int)(uintptr_t)arg);
	return -ECANCELED;
}

static int leave_a_task(struct apus_shard *shard, unsigned int index, void *arg)
{
	return apus_spawn_detached(NULL, say_that_it_is_cancelled, (void *)(uintptr_t)index, 0);
}

static int64_t sleep_a_little(void *arg)
{
	return apus_sleep(5 * APUS_MS);
}

static void tasks_of_every_shard_are_cancelled_last_shard_first(void **state)
{
	struct apus_shards_options options = plain;

	forget();
	options.setup = leave_a_task;
	options.teardown = tear_down;
	for (int i = 0; i < COUNT; i++)
		record.threads[i] = pthread_self();
	options.teardown = NULL;
	assert_int_equal(run(&options, sleep_a_little, NULL), 0);
	assert_string_equal(record.text, "end 3, end 2, end 1, end 0, ");
}

static atomic_int ends, tasks_at_end;

static int64_t note_end(struct apus_shard *shard, unsigned int index, void *arg)
{
	atomic_fetch_add(&ends, 1);
	atomic_fetch_add(&tasks_at_end, (int)apus_shard_tasks(shard));
	return apus_sleep(2 * APUS_MS);
}

static void end_hook_runs_on_each_when_all_tasks_are_gone(void **state)
{
	struct apus_shards_options options = plain;

	forget();
	atomic_store(&ends, 0);
	atomic_store(&tasks_at_end, 0);
	options.setup = leave_a_task;
	options.end = note_end;
	assert_int_equal(run(&options, sleep_a_little, NULL), 0);
	assert_int_equal(atomic_load(&ends), COUNT);
	assert_int_equal(atomic_load(&tasks_at_end), COUNT); /* itself */
}

static int64_t never_end(void *arg)
{
	for (;;)
		(void)!apus_sleep(APUS_SEC);
	return 0;
}

static int leave_one_that_never_ends(struct apus_shard *shard, unsigned int index, void *arg)
{
	static const struct apus_spawn_options options = {.name = "stubborn"};

	if (index != 2)
		return leave_a_task(shard, index, arg);
	return apus_spawn_detached(&options, never_end, NULL, 0);
}

static void leave_a_stubborn_task(void *arg)
{
	struct apus_shards_options options = plain;

	options.setup = leave_one_that_never_ends;
	options.drain_ns = 30 * APUS_MS;
	if (run(&options, sleep_a_little, NULL) == 0)
		fprintf(stderr, "ran, %s\n", record.text);
	_exit(0); /* without a look at what was abandoned */
}

static void task_that_does_not_end_is_named_and_abandoned_at_the_deadline(void **state)
{
	static struct test_capture c;

	forget();
	assert_int_equal(test_in_child(leave_a_stubborn_task, NULL, &c), 0);
	assert_non_null(strstr(c.text, "shard 2: run: tasks have not ended in time"));
	assert_non_null(strstr(c.text, "stubborn"));
	assert_non_null(strstr(c.text, "ran, end 3, ")); /* and the others as they should */
	assert_non_null(strstr(c.text, "end 1, "));
	assert_non_null(strstr(c.text, "end 0, "));
}

static int64_t spin_for_ever(void *arg)
{
	for (;;)
		sched_yield();
	return 0;
}

static int leave_one_that_spins(struct apus_shard *shard, unsigned int index, void *arg)
{
	static const struct apus_spawn_options options = {.name = "spinner"};

	if (index != 1)
		return leave_a_task(shard, index, arg);
	return apus_spawn_detached(&options, spin_for_ever, NULL, 0);
}

static void leave_a_spinning_task(void *arg)
{
	struct apus_shards_options options = plain;
	struct apus_shards *shards;

	options.setup = leave_one_that_spins;
	options.drain_ns = 30 * APUS_MS;
	if (apus_shards_open(&options, &shards, NULL) == 0 &&
	    apus_shards_run(shards, sleep_a_little, NULL) == 0 && apus_shards_is_stuck(shards)) {
		apus_shards_close(shards); /* does not wait for it */
		fprintf(stderr, "stuck, %s\n", record.text);
	}
	_exit(0);
}

static void task_that_does_not_suspend_is_named_and_does_not_hang_the_stop(void **state)
{
	static struct test_capture c;

	forget();
	assert_int_equal(test_in_child(leave_a_spinning_task, NULL, &c), 0);
	assert_non_null(strstr(c.text, "shard 1 does not answer: spinner does not suspend"));
	assert_non_null(strstr(c.text, "stuck, end 3, end 2, end 0, ")); /* the others did */
}

static int64_t wait_for_a_signal(void *arg)
{
	raise(SIGTERM);
	return apus_sleep(1000 * APUS_SEC);
}

static void first_signal_cancels_main_and_all_shards_stop(void **state)
{
	struct apus_shards_options options = plain;

	forget();
	options.setup = leave_a_task;
	assert_int_equal(run(&options, wait_for_a_signal, NULL), -ECANCELED);
	assert_string_equal(record.text, "end 3, end 2, end 1, end 0, ");
}

/* Calls between shards while they stop. */

static atomic_int called, refused;

static int64_t note_a_call(void *arg)
{
	atomic_fetch_add(&called, 1);
	return 0;
}

/* Calls a neighbour until that has stopped or it is cancelled itself, and once more after that. */
static int64_t call_the_next(void *arg)
{
	unsigned int next = (apus_shard_index() + 1) % COUNT;

	while (apus_call_on(next, note_a_call, NULL) == 0 && apus_yield() == 0)
		;

	int64_t rc;

	do /* a cancel that came with the last answer is told now */
		rc = apus_call_on(next, note_a_call, NULL);
	while (rc == -ECANCELED);
	if (rc == -ESHUTDOWN)
		atomic_fetch_add(&refused, 1);
	return -ECANCELED;
}

static int leave_a_caller(struct apus_shard *shard, unsigned int index, void *arg)
{
	return apus_spawn_detached(NULL, call_the_next, NULL, 0);
}

static void calls_to_a_shard_that_stops_are_refused_and_nothing_hangs(void **state)
{
	struct apus_shards_options options = plain;

	options.setup = leave_a_caller;
	for (int i = 0; i < 10; i++) {
		atomic_store(&called, 0);
		atomic_store(&refused, 0);
		assert_int_equal(run(&options, sleep_a_little, NULL), 0);
		assert_true(atomic_load(&called) > 0);
		/* 3 stops first: then 2 finds it gone, and so on; 3 itself calls 0, which is there. */
		assert_true(atomic_load(&refused) >= COUNT - 1);
	}
}

/* Faults. */

static APUS_NOINLINE int64_t recurse(int64_t depth)
{
	volatile char frame[512];

	frame[0] = (char)depth;
	return depth < 0 ? 0 : recurse(depth + 1) + frame[0];
}

static int64_t overflow(void *arg)
{
	return recurse(1);
}

static int leave_one_that_overflows(struct apus_shard *shard, unsigned int index, void *arg)
{
	static const struct apus_spawn_options options = {.name = "deep"};

	return index == 3 ? apus_spawn_detached(&options, overflow, NULL, 0) : 0;
}

static void run_into_an_overflow(void *arg)
{
	struct apus_shards_options options = plain;

	options.shard.stack_report = true;
	options.setup = leave_one_that_overflows;
	(void)!run(&options, never_end, NULL);
}

static void overflow_of_a_stack_names_shard_and_task(void **state)
{
	static struct test_capture c;

	if (APUS_ASAN || test_is_slow())
		skip();

	int status = test_in_child(run_into_an_overflow, NULL, &c);

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSEGV);
	assert_non_null(strstr(c.text, "shard 3: stack overflow in task deep"));
}

/* Leaks. */

static size_t lines_of(const char *path)
{
	FILE *f = fopen(path, "re");
	size_t n = 0;
	int c;

	assert_non_null(f);
	while ((c = fgetc(f)) != EOF)
		n += c == '\n';
	fclose(f);
	return n;
}

static size_t resident_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	size_t size, resident;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%zu %zu", &size, &resident), 2);
	fclose(f);
	return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static void start_and_stop(int times)
{
	struct apus_shards_options options = plain;

	options.setup = leave_a_task;
	options.shard.stack_report = true;
	options.shard.debug = true; /* a watchdog for each */
	for (int i = 0; i < times; i++) {
		forget();
		assert_int_equal(run(&options, return_arg, NULL), 0);
	}
}

static void hundred_starts_and_stops_leave_nothing_behind(void **state)
{
	start_and_stop(10); /* what libraries keep for good, they have by now */

	struct held before = held_now();
	size_t mappings = lines_of("/proc/self/maps");
	size_t bytes = resident_bytes();

	start_and_stop(test_is_slow() ? 20 : 100);
	assert_held_no_more(before);
	if (!test_memory_is_ours())
		return;
	/* A page of each shard would be 1.6 MiB, a mapping of each 400 lines. */
	assert_true(lines_of("/proc/self/maps") <= mappings + 20);
	assert_true(resident_bytes() <= bytes + 1024 * 1024);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(main_result_comes_back),
		cmocka_unit_test(hooks_run_in_order_and_in_reverse_on_their_own_threads),
		cmocka_unit_test(setup_that_fails_takes_down_what_was_set_up),
		cmocka_unit_test(impossible_options_are_refused),
		cmocka_unit_test(threads_are_pinned_and_the_callers_affinity_comes_back),
		cmocka_unit_test(one_seed_gives_each_shard_its_own_chance_again),
		cmocka_unit_test(every_shard_turns_until_main_has_ended),
		cmocka_unit_test(tasks_of_every_shard_are_cancelled_last_shard_first),
		cmocka_unit_test(end_hook_runs_on_each_when_all_tasks_are_gone),
		cmocka_unit_test(task_that_does_not_end_is_named_and_abandoned_at_the_deadline),
		cmocka_unit_test(task_that_does_not_suspend_is_named_and_does_not_hang_the_stop),
		cmocka_unit_test(first_signal_cancels_main_and_all_shards_stop),
		cmocka_unit_test(calls_to_a_shard_that_stops_are_refused_and_nothing_hangs),
		cmocka_unit_test(overflow_of_a_stack_names_shard_and_task),
		cmocka_unit_test(hundred_starts_and_stops_leave_nothing_behind),
	};

	return test_main(argc, argv, tests);
}
