/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sched/test_shard.c: the turn and its pollers, next_ns, several shards in one
 * thread, and what hangs off a shard.
 */
#include "tests/runtime/runtime_test.h"

/* A poller that says what it is asked. */

struct probe {
	struct apus_poller poller;
	const char *name;
	bool found;        /* what poll answers, once */
	int64_t next_ns;   /* what idle answers */
	struct probe *act; /* to unregister, or to register, in poll */
	int64_t saw_ns;
};

static bool probe_poll(struct apus_poller *p, int64_t now_ns)
{
	struct probe *probe = apus_container_of(p, struct probe, poller);
	bool found = probe->found;

	emit("%s poll", probe->name);
	probe->saw_ns = now_ns;
	assert_int_equal(now_ns, apus_now());
	assert_null(apus_task_self());
	probe->found = false;
	return found;
}

static void probe_flush(struct apus_poller *p, int64_t now_ns)
{
	emit("%s flush", apus_container_of(p, struct probe, poller)->name);
	assert_int_equal(now_ns, apus_now());
}

static int64_t probe_idle(struct apus_poller *p, enum apus_idle what, int64_t now_ns)
{
	return apus_container_of(p, struct probe, poller)->next_ns;
}

static const struct apus_poller_type probe_type = {
	.name = "probe", .poll = probe_poll, .flush = probe_flush, .idle = probe_idle};
static const struct apus_poller_type no_flush_type = {
	.name = "mute", .poll = probe_poll, .idle = probe_idle};

static void probe_open(struct probe *p, const char *name, const struct apus_poller_type *type)
{
	*p = (struct probe){.name = name, .next_ns = APUS_NEVER};
	apus_poller_register(test_world.shard, &p->poller, type);
}

struct emit_timer {
	struct apus_timer timer;
	const char *text;
};

static void emit_text(struct apus_work *work)
{
	emit("%s", apus_container_of(apus_timer_of(work), struct emit_timer, timer)->text);
}

static void emit_timer_init(struct emit_timer *e, const char *text)
{
	apus_timer_init(&e->timer, emit_text);
	e->text = text;
}

/* The turn. */

static void turn_is_poll_timers_ready_flush(void **state)
{
	struct probe a, b;
	struct emit_timer timer, ready;

	probe_open(&a, "a", &probe_type);
	probe_open(&b, "b", &probe_type);
	emit_timer_init(&timer, "timer");
	emit_timer_init(&ready, "ready");
	apus_timer_arm(&timer.timer, TEST_START_NS);
	apus_call_soon(&ready.timer.work);
	assert_true(apus_shard_turn(test_world.shard));
	assert_trace("a poll · b poll · ready · timer · a flush · b flush");
	apus_poller_unregister(&a.poller);
	apus_poller_unregister(&b.poller);
}

static struct emit_timer woken_by_poll;

static bool poll_that_calls(struct apus_poller *p, int64_t now_ns)
{
	apus_call_soon(&woken_by_poll.timer.work);
	return true;
}

static void what_a_poll_makes_ready_runs_in_the_same_turn(void **state)
{
	static const struct apus_poller_type type = {
		.name = "waker", .poll = poll_that_calls, .idle = probe_idle};
	struct probe p;

	emit_timer_init(&woken_by_poll, "woken");
	probe_open(&p, "p", &type);
	assert_true(apus_shard_turn(test_world.shard));
	assert_trace("woken");
	apus_poller_unregister(&p.poller);
}

static void turn_tells_whether_there_was_anything(void **state)
{
	struct probe p;

	assert_false(apus_shard_turn(test_world.shard));
	probe_open(&p, "p", &no_flush_type);
	assert_false(apus_shard_turn(test_world.shard));
	p.found = true;
	assert_true(apus_shard_turn(test_world.shard));
	assert_false(apus_shard_turn(test_world.shard));
	apus_poller_unregister(&p.poller);
	assert_trace("p poll · p poll · p poll");
}

static bool poll_that_unregisters(struct apus_poller *p, int64_t now_ns)
{
	struct probe *probe = apus_container_of(p, struct probe, poller);

	emit("%s poll", probe->name);
	if (probe->act)
		apus_poller_unregister(&probe->act->poller);
	probe->act = NULL;
	return false;
}

static void poller_may_unregister_itself_in_poll(void **state)
{
	static const struct apus_poller_type type = {
		.name = "leaver", .poll = poll_that_unregisters, .idle = probe_idle};
	struct probe a, b, c;

	probe_open(&a, "a", &probe_type);
	probe_open(&b, "b", &type);
	probe_open(&c, "c", &probe_type);
	b.act = &b;
	test_laps(1);
	assert_trace("a poll · b poll · c poll · a flush · c flush");
	test_laps(1);
	assert_trace("a poll · c poll · a flush · c flush");
	apus_poller_unregister(&a.poller);
	apus_poller_unregister(&c.poller);
	test_laps(1);
	assert_trace("");
}

static int64_t look_at_the_clock(void *arg)
{
	int64_t now_ns = apus_now();

	/* Somebody moves the clock in the middle of the turn: the turn's time stays. */
	apus_clock_set(&test_world.clock, now_ns + 5);
	assert_int_equal(apus_now(), now_ns);
	ok(apus_yield());
	assert_int_equal(apus_now(), now_ns + 5);
	return 0;
}

static void now_is_the_same_for_all_of_a_turn(void **state)
{
	struct probe p;
	struct apus_task *t;

	probe_open(&p, "p", &probe_type);
	t = apus_spawn(look_at_the_clock, NULL);
	test_laps(1);
	assert_int_equal(p.saw_ns, TEST_START_NS);
	test_laps(1);
	assert_int_equal(p.saw_ns, TEST_START_NS + 5);
	apus_poller_unregister(&p.poller);
	ok(test_await(t));
}

static int64_t look_at_the_wall(void *arg)
{
	return apus_wall_now() - apus_clock_wall_ns(&test_world.clock, apus_now());
}

static void wall_now_is_now_on_the_wall(void **state)
{
	ok(test_run(look_at_the_wall, NULL));
}

/* next_ns. */

static void next_ns_is_never_when_nothing_will_happen(void **state)
{
	struct probe p;

	assert_int_equal(apus_shard_next_ns(test_world.shard), APUS_NEVER);
	probe_open(&p, "p", &no_flush_type);
	assert_int_equal(apus_shard_next_ns(test_world.shard), APUS_NEVER);
	apus_poller_unregister(&p.poller);
}

static void next_ns_is_the_earliest_of_ready_timers_and_pollers(void **state)
{
	struct probe a, b;
	struct emit_timer timer, ready;

	emit_timer_init(&timer, "timer");
	emit_timer_init(&ready, "ready");
	probe_open(&a, "a", &no_flush_type);
	probe_open(&b, "b", &no_flush_type);
	a.next_ns = TEST_START_NS + 500;
	assert_int_equal(apus_shard_next_ns(test_world.shard), TEST_START_NS + 500);
	b.next_ns = TEST_START_NS + 300;
	assert_int_equal(apus_shard_next_ns(test_world.shard), TEST_START_NS + 300);
	apus_timer_arm(&timer.timer, TEST_START_NS + 400);
	assert_int_equal(apus_shard_next_ns(test_world.shard), TEST_START_NS + 300);
	apus_timer_arm(&timer.timer, TEST_START_NS + 200);
	assert_int_equal(apus_shard_next_ns(test_world.shard), TEST_START_NS + 200);
	apus_call_soon(&ready.timer.work);
	assert_true(apus_shard_next_ns(test_world.shard) <= TEST_START_NS);
	apus_call_cancel(&ready.timer.work);
	apus_timer_cancel(&timer.timer);
	apus_poller_unregister(&a.poller);
	apus_poller_unregister(&b.poller);
}

static void next_ns_sees_what_came_from_a_thread(void **state)
{
	struct emit_timer e;

	emit_timer_init(&e, "from a thread");
	apus_call_from_thread(test_world.shard, &e.timer.work);
	assert_true(apus_shard_next_ns(test_world.shard) <= TEST_START_NS);
	assert_true(apus_shard_turn(test_world.shard));
	assert_trace("from a thread");
	assert_int_equal(apus_shard_next_ns(test_world.shard), APUS_NEVER);
}

/* What hangs off a shard. */

static void slots_are_empty_and_keep_what_was_put(void **state)
{
	int things[APUS_SHARD_SLOTS];

	for (unsigned int i = 0; i < APUS_SHARD_SLOTS; i++)
		assert_null(apus_shard_slot(test_world.shard, i));
	for (unsigned int i = 0; i < APUS_SHARD_SLOTS; i++)
		apus_shard_set_slot(test_world.shard, i, &things[i]);
	for (unsigned int i = 0; i < APUS_SHARD_SLOTS; i++)
		assert_ptr_equal(apus_shard_slot(test_world.shard, i), &things[i]);
}

static void find_turns(void *arg, const char *area, const char *name, uint64_t value)
{
	if (!strcmp(area, "shard") && !strcmp(name, "turns"))
		*(uint64_t *)arg = value;
}

static void turns_are_counted(void **state)
{
	uint64_t before = UINT64_MAX, after = 0;

	apus_metrics_visit(apus_shard_metrics(test_world.shard), find_turns, &before);
	test_laps(5);
	apus_metrics_visit(apus_shard_metrics(test_world.shard), find_turns, &after);
	assert_int_equal(after - before, 5);
}

static void same_seed_same_chance(void **state)
{
	struct apus_shard *other;
	const struct apus_shard_options options = {
		.core = -1, .clock = &test_world.clock, .seed = 1};

	ok(apus_shard_open(&options, &other));
	for (int i = 0; i < 100; i++)
		assert_int_equal(apus_random_u64(apus_shard_random(test_world.shard)),
				 apus_random_u64(apus_shard_random(other)));
	apus_shard_close(other);
}

struct named_closer {
	struct apus_closer closer;
	const char *name;
};

static void emit_closed(struct apus_closer *closer)
{
	emit("%s", apus_container_of(closer, struct named_closer, closer)->name);
}

static void closers_run_last_registered_first(void **state)
{
	struct named_closer a = {{.close = emit_closed}, "a"}, b = {{.close = emit_closed}, "b"};
	struct apus_shard *shard;

	ok(apus_shard_open(&(struct apus_shard_options){.core = -1, .seed = 1}, &shard));
	apus_shard_at_close(shard, &a.closer);
	apus_shard_at_close(shard, &b.closer);
	apus_shard_close(shard);
	assert_trace("b · a");
}

static void impossible_options_are_refused_and_leak_nothing(void **state)
{
	struct apus_shard *shard = (struct apus_shard *)state;

	assert_int_equal(apus_shard_open(&(struct apus_shard_options){.core = 100000}, &shard),
			 -EINVAL);
	assert_int_equal(apus_shard_open(&(struct apus_shard_options){.core = -1,
								      .stack_bytes = SIZE_MAX / 2},
					 &shard),
			 -EINVAL);
	assert_ptr_equal(shard, state); /* written only on success */
}

static void close_of_null_does_nothing(void **state)
{
	apus_shard_close(NULL);
}

static int64_t return_0(void *arg)
{
	return 0;
}

static int64_t sleep_second(void *arg)
{
	return apus_sleep(APUS_SEC);
}

static void dump_names_every_task_and_what_it_waits_for(void **state)
{
	struct apus_task *a = apus_spawn_with(&(struct apus_spawn_options){.name = "sleeper"},
					      sleep_second, NULL, 0);
	char text[1000] = "";

	test_laps(1);
	struct apus_task *b = apus_spawn_with(&(struct apus_spawn_options){.name = "newcomer"},
					      return_0, NULL, 0);
	int file = memfd_create("dump", 0);

	apus_shard_dump(test_world.shard, file);
	assert_true(pread(file, text, sizeof(text) - 1, 0) > 0);
	close(file);
	assert_non_null(strstr(text, "sleeper"));
	assert_non_null(strstr(text, "sleep "));
	assert_non_null(strstr(text, "newcomer"));
	ok(test_await(b));
	ok(test_await(a));
}

/* Several shards. */

static void enter_gives_back_the_one_before(void **state)
{
	struct apus_shard *other;

	ok(apus_shard_open(&(struct apus_shard_options){.core = -1, .seed = 1}, &other));
	assert_ptr_equal(apus_shard_self(), test_world.shard);
	assert_ptr_equal(apus_shard_enter(other), test_world.shard);
	assert_ptr_equal(apus_shard_self(), other);
	assert_ptr_equal(apus_shard_enter(NULL), other);
	assert_null(apus_shard_self());
	assert_null(apus_task_self());
	assert_null(apus_shard_enter(test_world.shard));
	apus_shard_close(other);
	assert_ptr_equal(apus_shard_self(), test_world.shard);
}

#define SHARDS 10

struct host {
	struct apus_shard *shard;
	int number;
	uint64_t sum; /* over all it does: two equal runs have equal sums */
};

static int64_t live_a_while(void *arg)
{
	struct host *h = arg;
	struct apus_random *r = apus_shard_random(h->shard);

	for (int i = 0; i < 100; i++) {
		int64_t before_ns = apus_now(), ns = (int64_t)apus_random_below(r, 2000000);

		ok(apus_sleep(ns));
		assert_ptr_equal(apus_shard_self(), h->shard);
		assert_int_equal(apus_now() - before_ns, ns);
		h->sum = h->sum * 31 + (uint64_t)apus_now();
	}
	return 0;
}

static int64_t parent_of_five(void *arg)
{
	struct host *h = arg;
	struct apus_task *tasks[5];

	for (int i = 0; i < 5; i++)
		tasks[i] = apus_spawn(live_a_while, h);
	for (int i = 0; i < 5; i++)
		ok(apus_await(tasks[i]));
	return 0;
}

/* One turn of each host that has something to do at the earliest time that any has. */
static bool step_world(struct host *hosts)
{
	int64_t next_ns = APUS_NEVER;

	for (int i = 0; i < SHARDS; i++)
		next_ns = apus_min(next_ns, apus_shard_next_ns(hosts[i].shard));
	if (next_ns == APUS_NEVER)
		return false;
	if (next_ns > apus_clock_read(&test_world.clock))
		apus_clock_set(&test_world.clock, next_ns);
	for (int i = 0; i < SHARDS; i++) {
		if (apus_shard_next_ns(hosts[i].shard) > apus_clock_read(&test_world.clock))
			continue;
		apus_shard_enter(hosts[i].shard);
		apus_shard_turn(hosts[i].shard);
	}
	return true;
}

static uint64_t run_world(uint64_t seed)
{
	struct host hosts[SHARDS] = {0};
	struct apus_task *mains[SHARDS];
	uint64_t sum = 0;

	apus_clock_init_virtual(&test_world.clock, TEST_START_NS);
	for (int i = 0; i < SHARDS; i++) {
		const struct apus_shard_options options = {
			.core = -1, .clock = &test_world.clock, .seed = seed + (uint64_t)i};

		ok(apus_shard_open(&options, &hosts[i].shard));
		hosts[i].number = i;
		apus_shard_enter(hosts[i].shard);
		mains[i] = apus_spawn(parent_of_five, &hosts[i]);
	}
	while (step_world(hosts))
		;
	for (int i = 0; i < SHARDS; i++) {
		apus_shard_enter(hosts[i].shard);
		assert_true(apus_task_done(mains[i]));
		ok(apus_task_result(mains[i]));
		apus_detach(mains[i]);
		assert_int_equal(apus_shard_tasks(hosts[i].shard), 0);
		apus_shard_close(hosts[i].shard);
		sum = sum * 1000003 + hosts[i].sum;
	}
	apus_shard_enter(test_world.shard);
	return sum;
}

static void ten_shards_in_one_thread_share_a_clock_and_replay(void **state)
{
	test_each_seed(seed, 10)
	{
		uint64_t first = run_world(seed * 100);

		assert_int_equal(run_world(seed * 100), first);
		assert_int_not_equal(run_world(seed * 100 + 50), first);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		shard_test(turn_is_poll_timers_ready_flush),
		shard_test(what_a_poll_makes_ready_runs_in_the_same_turn),
		shard_test(turn_tells_whether_there_was_anything),
		shard_test(poller_may_unregister_itself_in_poll),
		shard_test(now_is_the_same_for_all_of_a_turn),
		shard_test(wall_now_is_now_on_the_wall),
		shard_test(next_ns_is_never_when_nothing_will_happen),
		shard_test(next_ns_is_the_earliest_of_ready_timers_and_pollers),
		shard_test(next_ns_sees_what_came_from_a_thread),
		shard_test(slots_are_empty_and_keep_what_was_put),
		shard_test(turns_are_counted),
		shard_test(same_seed_same_chance),
		shard_test(closers_run_last_registered_first),
		shard_test(impossible_options_are_refused_and_leak_nothing),
		shard_test(close_of_null_does_nothing),
		shard_test(dump_names_every_task_and_what_it_waits_for),
		shard_test(enter_gives_back_the_one_before),
		shard_test(ten_shards_in_one_thread_share_a_clock_and_replay),
	};

	return test_main(argc, argv, tests);
}
