/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/cross/test_threads.c: rings and shards in threads of their own, on the real clock:
 * this is what TSan is run on.
 *
 * Nothing here waits for a fixed time to be long enough; what is lost shows as a hang, which the
 * test's time limit ends. cmocka's assertions belong to the main thread, so others use check().
 */
#include "tests/runtime/base_test.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>

#include "runtime/base/check.h"
#include "runtime/base/random.h"
#include "runtime/cross/call.h"
#include "runtime/cross/ring.h"
#include "runtime/sched/shard.h"
#include "runtime/sync/waitq.h"

#define check(condition) apus_must(condition)

/* The ring alone. */

#define RING_LINES 16
#define RING_WORDS (test_is_slow() ? 200000u : 3000000u)

static struct {
	struct apus_ring_line lines[RING_LINES];
	struct apus_ring_freed freed;
	struct apus_ring_out out APUS_ALIGNED(APUS_RING_APART);
	struct apus_ring_in in APUS_ALIGNED(APUS_RING_APART);
} ring;

static void *produce(void *arg)
{
	struct apus_random random;
	uint64_t next = 1;

	apus_random_init_seed(&random, 1);
	while (next <= RING_WORDS) {
		uint64_t words[APUS_RING_WORDS] = {0};
		unsigned int n = 1 + (unsigned int)apus_random_below(&random, APUS_RING_WORDS);

		for (unsigned int i = 0; i < n; i++)
			words[i] = next++;
		while (!apus_ring_has_room(&ring.out, 1))
			sched_yield();
		apus_ring_publish(&ring.out, words, n);
		if (apus_random_chance(&random, 1000))
			sched_yield();
	}
	return NULL;
}

static void ring_gives_all_words_in_order(void **state)
{
	uint64_t expected = 1;
	pthread_t thread;

	memset(&ring, 0, sizeof(ring));
	apus_ring_init(&ring.out, &ring.in, ring.lines, RING_LINES, &ring.freed);
	assert_int_equal(pthread_create(&thread, NULL, produce, NULL), 0);
	while (expected <= RING_WORDS) {
		unsigned int n;
		const uint64_t *words = apus_ring_peek(&ring.in, &n);

		if (!words) {
			sched_yield();
			continue;
		}
		for (unsigned int i = 0; i < n; i++)
			check(words[i] == expected++);
		apus_ring_take(&ring.in);
	}
	pthread_join(thread, NULL);
}

/* Shards, which sleep when they have nothing to do: a wake-up that is lost is a hang. */

#define SHARDS  3
#define CALLERS 8
#define ROUNDS  (test_is_slow() ? 200 : 2000)

static struct {
	struct apus_shard *shards[SHARDS];
	struct apus_cross *cross;
	pthread_barrier_t barrier;
	apus_task_fn body; /* of the main task of each */
	uint32_t ring_lines;
	uint64_t seed;
	uint64_t posts[SHARDS]; /* that ran; each is its shard's */
	uint64_t posted[SHARDS];
	uint64_t calls[SHARDS];
} fabric;

static int64_t add_one(void *arg)
{
	return *(int64_t *)arg + 1;
}

static int64_t sleep_and_add_one(void *arg)
{
	int rc = apus_sleep(
		(int64_t)apus_random_below(apus_shard_random(apus_shard_self()), 20 * APUS_US));

	return rc ? rc : add_one(arg);
}

static int64_t go_round(void *arg)
{
	unsigned int next = (apus_shard_index() + 1) % SHARDS;

	if (--*(int64_t *)arg < 0)
		return 0;

	int64_t rc = apus_call_on(next, go_round, arg);

	return rc < 0 ? rc : rc + 1;
}

static int64_t count_post(void *arg)
{
	fabric.posts[apus_shard_index()]++;
	return 0;
}

static int64_t one_more(void *arg)
{
	fabric.calls[apus_shard_index()]++;
	return 1;
}

static int64_t call_slowly(void *arg)
{
	int64_t number = 1;

	return apus_call_on((apus_shard_index() + 1) % SHARDS, sleep_and_add_one, &number);
}

static void do_something(struct apus_random *random)
{
	unsigned int self = apus_shard_index(),
		     to = (unsigned int)apus_random_below(random, SHARDS);
	int64_t number = (int64_t)apus_random_below(random, 1000), results[SHARDS];

	switch (apus_random_below(random, 8)) {
	case 0:
	case 1:
		check(apus_call_on(to, add_one, &number) == number + 1);
		break;
	case 2:
		check(apus_call_on(to, sleep_and_add_one, &number) == number + 1);
		break;
	case 3:
		number = 7;
		check(apus_call_on(to, go_round, &number) == 7);
		break;
	case 4:
		fabric.posted[self]++;
		check(apus_post_to(to, count_post, NULL) == 0);
		break;
	case 5:
		check(apus_on_all(one_more, NULL, results) == 0);
		break;
	case 6: {
		struct apus_task *t = apus_spawn(call_slowly, NULL);

		check(apus_sleep((int64_t)apus_random_below(random, 30 * APUS_US)) == 0);
		apus_task_cancel(t);

		int64_t rc = apus_await(t);

		check(rc == 2 || rc == -ECANCELED);
		break;
	}
	case 7: /* now and then long enough for all to fall asleep */
		check(apus_sleep((int64_t)apus_random_below(random, 400 * APUS_US)) == 0);
		break;
	}
}

static int64_t call_about(void *arg)
{
	struct apus_random *random = apus_shard_random(apus_shard_self());

	for (int i = 0; i < ROUNDS / CALLERS; i++)
		do_something(random);
	return 0;
}

static int64_t run_callers(void *arg)
{
	struct apus_task *tasks[CALLERS];

	for (int i = 0; i < CALLERS; i++)
		tasks[i] = apus_spawn(call_about, NULL);
	for (int i = 0; i < CALLERS; i++)
		check(apus_await(tasks[i]) == 0);
	return 0;
}

/* Everybody has made its calls; then all part, and turn until nothing comes any more. */
static int64_t part(void *arg)
{
	struct apus_shard *shard = apus_shard_self();

	apus_cross_leave(shard);
	while (!apus_cross_has_left(shard))
		check(apus_sleep(50 * APUS_US) == 0);
	return 0;
}

static void run_task(struct apus_shard *shard, apus_task_fn fn)
{
	struct apus_task *t = apus_spawn(fn, NULL);

	check(t);
	apus_shard_run(shard, t);
	check(apus_task_result(t) == 0);
	apus_detach(t);
}

/* Without a timer of its own, so that nothing but a message wakes it. */
static struct apus_task *waiting[SHARDS];
static unsigned int finished; /* shard 0's */

static int64_t end_waiting(void *arg)
{
	apus_task_cancel(waiting[apus_shard_index()]);
	return 0;
}

static int64_t count_finished(void *arg)
{
	return ++finished;
}

/* Ourselves last: who parts takes back what found no room yet. */
static int64_t end_all(void *arg)
{
	for (unsigned int i = 0; i < SHARDS; i++)
		check(i == apus_shard_index() || apus_call_on(i, end_waiting, NULL) == 0);
	return end_waiting(NULL);
}

static int64_t wait_for_the_others(void)
{
	struct apus_waitq never;
	int64_t rc;

	waiting[apus_shard_index()] = apus_task_self();
	rc = apus_call_on(0, count_finished, NULL);
	if (rc == SHARDS)
		check(apus_spawn_detached(NULL, end_all, NULL, 0) == 0);
	apus_waitq_init(&never);
	/* The end may overtake the answer of shard 0. */
	check(rc == -ECANCELED || apus_waitq_wait(&never, "the others") == -ECANCELED);
	apus_task_uncancel(apus_task_self());
	return 0;
}

static int64_t live(void *arg)
{
	int64_t rc = fabric.body(NULL);

	return rc ? rc : wait_for_the_others();
}

static void *run_shard(void *arg)
{
	unsigned int index = (unsigned int)(uintptr_t)arg;
	const struct apus_shard_options options = {.core = -1, .seed = fabric.seed + index};

	check(apus_shard_open(&options, &fabric.shards[index]) == 0);
	apus_shard_enter(fabric.shards[index]);
	pthread_barrier_wait(&fabric.barrier);
	if (index == 0)
		check(apus_cross_open(fabric.shards, SHARDS,
				      &(struct apus_cross_options){
					      .ring_lines = fabric.ring_lines,
					      .posts_max = 4,
				      },
				      &fabric.cross) == 0);
	pthread_barrier_wait(&fabric.barrier);
	run_task(fabric.shards[index], live);
	run_task(fabric.shards[index], part);
	pthread_barrier_wait(&fabric.barrier);
	apus_shard_close(fabric.shards[index]);
	apus_shard_enter(NULL);
	return NULL;
}

static void run_fabric(apus_task_fn body, uint32_t ring_lines, uint64_t seed)
{
	pthread_t threads[SHARDS];
	memset(&fabric, 0, sizeof(fabric));
	fabric.body = body;
	finished = 0;
	fabric.ring_lines = ring_lines;
	fabric.seed = seed * 100;
	pthread_barrier_init(&fabric.barrier, NULL, SHARDS);
	for (uintptr_t i = 0; i < SHARDS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, run_shard, (void *)i), 0);
	for (int i = 0; i < SHARDS; i++)
		pthread_join(threads[i], NULL);
	apus_cross_close(fabric.cross);
	pthread_barrier_destroy(&fabric.barrier);
}

static void run_callers_in_fabric(uint32_t ring_lines, uint64_t seed)
{
	uint64_t posts = 0, posted = 0;

	run_fabric(run_callers, ring_lines, seed);
	for (int i = 0; i < SHARDS; i++) {
		posts += fabric.posts[i];
		posted += fabric.posted[i];
	}
	assert_true(posts > 0);
	assert_int_equal(posts, posted);
}

static void shards_that_sleep_lose_no_wake_up(void **state)
{
	test_each_seed(seed, 3)
	{
		run_callers_in_fabric(0, seed);
	}
}

static void full_rings_between_threads_do_not_deadlock(void **state)
{
	test_each_seed(seed, 3)
	{
		run_callers_in_fabric(APUS_RING_LINES_MIN, seed);
	}
}

/*
 * A wake-up that does not come costs the second after which a shard looks after its stacks anyhow. So
 * what takes some milliseconds in all must not take as many seconds as there are wake-ups in it.
 */

#define WAKE_UPS 20

static int64_t call_sleepers(void *arg)
{
	if (apus_shard_index())
		return 0;
	for (int i = 0; i < WAKE_UPS; i++) {
		check(apus_sleep(2 * APUS_MS) == 0); /* they fall asleep after 100 us */
		check(apus_call_on(1, one_more, NULL) == 1);
	}
	return 0;
}

static int64_t seconds_of(apus_task_fn body, uint32_t ring_lines)
{
	int64_t begin_ns = apus_clock_host_ns();

	run_fabric(body, ring_lines, 1);
	return (apus_clock_host_ns() - begin_ns) / APUS_SEC;
}

static void call_wakes_a_shard_that_sleeps(void **state)
{
	assert_in_range(seconds_of(call_sleepers, 0), 0, WAKE_UPS / 2);
}

static struct apus_message messages[WAKE_UPS * APUS_RING_LINES_MIN * APUS_RING_WORDS];

/* A shard that is slow to take in: meanwhile the sender, who waits for room, falls asleep. */
static void take_slowly(struct apus_message *message)
{
	if ((message - messages) % (APUS_RING_LINES_MIN * APUS_RING_WORDS) == 0)
		nanosleep(&(struct timespec){.tv_nsec = 2 * APUS_MS}, NULL);
	fabric.posts[1]++;
}

static int64_t send_to_slow(void *arg)
{
	if (apus_shard_index())
		return 0;
	for (size_t i = 0; i < apus_countof(messages); i++) {
		messages[i].fn = take_slowly;
		check(apus_message_send_wait(1, &messages[i]) == 0);
	}
	return 0;
}

static void room_wakes_a_sender_that_sleeps(void **state)
{
	assert_in_range(seconds_of(send_to_slow, APUS_RING_LINES_MIN), 0, WAKE_UPS / 2);
	assert_int_equal(fabric.posts[1], apus_countof(messages));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ring_gives_all_words_in_order),
		cmocka_unit_test(shards_that_sleep_lose_no_wake_up),
		cmocka_unit_test(call_wakes_a_shard_that_sleeps),
		cmocka_unit_test(room_wakes_a_sender_that_sleeps),
		cmocka_unit_test(full_rings_between_threads_do_not_deadlock),
	};

	return test_main(argc, argv, tests);
}
