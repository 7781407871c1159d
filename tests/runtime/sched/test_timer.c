/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sched/test_timer.c: timers as the loop fires them: never early, by deadline and
 * arming, cancellable until their function starts.
 */
#include "tests/runtime/runtime_test.h"

struct alarm {
	struct apus_timer timer;
	const char *name;
	struct alarm *other; /* for what one does to another */
	int again;           /* how often it arms itself again */
};

static struct alarm *alarm_of(struct apus_work *work)
{
	return apus_container_of(apus_timer_of(work), struct alarm, timer);
}

static int64_t now_after_start(void)
{
	return apus_now() - TEST_START_NS;
}

static void emit_alarm(struct apus_work *work)
{
	assert_false(apus_timer_armed(apus_timer_of(work)));
	emit("%s %lld", alarm_of(work)->name, (long long)now_after_start());
}

static struct alarm *alarm_init(struct alarm *a, apus_work_fn fn, const char *name,
				struct alarm *other)
{
	apus_timer_init(&a->timer, fn);
	a->name = name;
	a->other = other;
	a->again = 0;
	return a;
}

static void arm(struct alarm *a, int64_t after_ns)
{
	apus_timer_arm(&a->timer, TEST_START_NS + after_ns);
}

/* Turns at each moment at which there is something, until nothing is left. */
static void run_out(void)
{
	while (test_step())
		;
}

static void timers_fire_by_deadline_then_by_arming(void **state)
{
	struct alarm a, b, c, d, e;

	arm(alarm_init(&a, emit_alarm, "a", NULL), 30);
	arm(alarm_init(&b, emit_alarm, "b", NULL), 10);
	arm(alarm_init(&c, emit_alarm, "c", NULL), 20);
	arm(alarm_init(&d, emit_alarm, "d", NULL), 10);
	arm(alarm_init(&e, emit_alarm, "e", NULL), 0);
	run_out();
	assert_trace("e 0 · b 10 · d 10 · c 20 · a 30");
}

static void late_turn_fires_all_that_is_due_in_order(void **state)
{
	struct alarm a, b, c, d;

	arm(alarm_init(&a, emit_alarm, "a", NULL), 3 * APUS_SEC);
	arm(alarm_init(&b, emit_alarm, "b", NULL), 10);
	arm(alarm_init(&c, emit_alarm, "c", NULL), 40 * APUS_MS);
	arm(alarm_init(&d, emit_alarm, "d", NULL), 4 * APUS_SEC);
	apus_clock_set(&test_world.clock, TEST_START_NS + 3 * APUS_SEC);
	assert_true(apus_shard_turn(test_world.shard));
	assert_trace("b 3000000000 · c 3000000000 · a 3000000000");
	assert_true(apus_timer_cancel(&d.timer));
}

static void timer_does_not_fire_one_nanosecond_early(void **state)
{
	struct alarm a;

	arm(alarm_init(&a, emit_alarm, "a", NULL), 1000000);
	apus_clock_set(&test_world.clock, TEST_START_NS + 999999);
	test_laps(3);
	assert_trace("");
	apus_clock_set(&test_world.clock, TEST_START_NS + 1000000);
	test_laps(1);
	assert_trace("a 1000000");
}

static void timer_in_the_past_is_due_in_the_next_turn(void **state)
{
	struct alarm a, b, c;

	arm(alarm_init(&a, emit_alarm, "a", NULL), -5);
	arm(alarm_init(&b, emit_alarm, "b", NULL), -7);
	apus_timer_arm(&alarm_init(&c, emit_alarm, "c", NULL)->timer, INT64_MIN);
	assert_trace("");
	assert_true(apus_shard_next_ns(test_world.shard) <= TEST_START_NS);
	test_laps(1);
	assert_trace("c 0 · b 0 · a 0");
}

static void due_timer_comes_after_what_is_ready_already(void **state)
{
	struct alarm timer, ready;

	alarm_init(&ready, emit_alarm, "ready", NULL);
	arm(alarm_init(&timer, emit_alarm, "timer", NULL), 0);
	apus_call_soon(&ready.timer.work);
	test_laps(1);
	assert_trace("ready 0 · timer 0");
}

static void armed_tells_from_arm_until_the_function_starts(void **state)
{
	struct alarm a;

	alarm_init(&a, emit_alarm, "a", NULL);
	assert_false(apus_timer_armed(&a.timer));
	assert_false(apus_timer_cancel(&a.timer));
	arm(&a, 10);
	assert_true(apus_timer_armed(&a.timer));
	run_out();
	assert_false(apus_timer_armed(&a.timer));
	assert_false(apus_timer_cancel(&a.timer));
	arm(&a, 20);
	assert_true(apus_timer_cancel(&a.timer));
	assert_false(apus_timer_armed(&a.timer));
	assert_false(apus_timer_cancel(&a.timer));
	run_out();
	assert_trace("a 10");
}

static void armed_timer_armed_again_is_moved(void **state)
{
	struct alarm a, b;

	arm(alarm_init(&a, emit_alarm, "a", NULL), 10);
	arm(alarm_init(&b, emit_alarm, "b", NULL), 20);
	arm(&a, 20); /* later, and behind b */
	run_out();
	assert_trace("b 20 · a 20");
	arm(&a, 5 * APUS_SEC);
	arm(&a, 30); /* earlier */
	run_out();
	assert_trace("a 30");
	assert_int_equal(apus_clock_read(&test_world.clock), TEST_START_NS + 30);
}

static void cancel_other(struct apus_work *work)
{
	struct alarm *a = alarm_of(work);

	emit("%s cancels %d", a->name, apus_timer_cancel(&a->other->timer));
}

static void timer_cancelled_in_callback_does_not_fire(void **state)
{
	struct alarm a, b, c;

	/* All three are due in one lap: b is in the ready queue when a cancels it. */
	alarm_init(&b, emit_alarm, "b", NULL);
	arm(alarm_init(&a, cancel_other, "a", &b), 10);
	arm(&b, 10);
	arm(alarm_init(&c, cancel_other, "c", &b), 10);
	run_out();
	assert_trace("a cancels 1 · c cancels 0");
	assert_false(apus_timer_armed(&b.timer));
}

static void arm_other_later(struct apus_work *work)
{
	struct alarm *a = alarm_of(work);

	emit("%s", a->name);
	apus_timer_arm(&a->other->timer, apus_now() + 5);
}

static void due_timer_moved_in_callback_fires_at_its_new_time(void **state)
{
	struct alarm a, b;

	alarm_init(&b, emit_alarm, "b", NULL);
	arm(alarm_init(&a, arm_other_later, "a", &b), 10);
	arm(&b, 10);
	run_out();
	assert_trace("a · b 15");
}

static void arm_self_again(struct apus_work *work)
{
	struct alarm *a = alarm_of(work);

	emit_alarm(work);
	if (a->again--)
		apus_timer_arm(&a->timer, apus_now() + 7);
}

static void timer_armed_again_from_its_own_callback_fires_again(void **state)
{
	struct alarm a;

	arm(alarm_init(&a, arm_self_again, "a", NULL), 1);
	a.again = 3;
	run_out();
	assert_trace("a 1 · a 8 · a 15 · a 22");
}

static void arm_self_now(struct apus_work *work)
{
	struct alarm *a = alarm_of(work);

	emit_alarm(work);
	if (a->again--)
		apus_timer_arm(&a->timer, apus_now());
}

static void timer_armed_for_now_from_its_callback_waits_for_the_next_turn(void **state)
{
	struct alarm a;

	arm(alarm_init(&a, arm_self_now, "a", NULL), 0);
	a.again = 2;
	test_laps(1);
	emit("turn");
	test_laps(1);
	emit("turn");
	test_laps(2);
	assert_trace("a 0 · turn · a 0 · turn · a 0");
}

static void free_self(struct apus_work *work)
{
	struct alarm *a = alarm_of(work);

	emit("%s", a->name);
	memset(a, 0xff, sizeof(*a));
	free(a);
}

static void timer_may_free_itself(void **state)
{
	for (int i = 0; i < 3; i++) {
		struct alarm *a = malloc(sizeof(*a));

		assert_non_null(a);
		arm(alarm_init(a, free_self, "freed", NULL), 10);
	}
	run_out();
	assert_trace("freed · freed · freed");
}

static void one_timer_at_every_distance_fires_exactly_then(void **state)
{
	for (int power = 0; power < 61; power++) {
		struct alarm a;
		int64_t deadline_ns = apus_clock_read(&test_world.clock) + (INT64_C(1) << power);
		char expected[64];

		alarm_init(&a, emit_alarm, "a", NULL);
		apus_timer_arm(&a.timer, deadline_ns);
		run_out();
		snprintf(expected, sizeof(expected), "a %lld",
			 (long long)(deadline_ns - TEST_START_NS));
		assert_trace(expected);
		assert_int_equal(apus_clock_read(&test_world.clock), deadline_ns);
	}
}

/* Random timers through the whole loop, against what must be. */

#define ALARMS 300

static struct fuzzed {
	struct apus_timer timer;
	int64_t deadline_ns;
	uint64_t order;
	bool armed;
} fuzzed[ALARMS];
static uint64_t chance, orders, fired;
static int64_t turn_ns, last_ns;
static uint64_t last_order;

static void fuzz_step(void)
{
	struct fuzzed *f = &fuzzed[test_random_below(&chance, ALARMS)];
	int64_t span_ns = (int64_t)(test_random(&chance) >> (test_random_below(&chance, 50) + 13));

	if (test_random_below(&chance, 4) == 0) {
		bool armed = f->armed;

		f->armed = false;
		assert_int_equal(apus_timer_cancel(&f->timer), armed);
		return;
	}
	f->deadline_ns = turn_ns + span_ns - (int64_t)test_random_below(&chance, 3);
	f->order = orders++;
	f->armed = true;
	apus_timer_arm(&f->timer, f->deadline_ns);
}

static void fuzz_fired(struct apus_work *work)
{
	struct fuzzed *f = apus_container_of(apus_timer_of(work), struct fuzzed, timer);

	assert_true(f->armed);
	assert_true(f->deadline_ns <= turn_ns);
	assert_true(f->deadline_ns > last_ns ||
		    (f->deadline_ns == last_ns && f->order > last_order));
	last_ns = f->deadline_ns;
	last_order = f->order;
	f->armed = false;
	fired++;
	for (uint64_t n = test_random_below(&chance, 4); n; n--)
		fuzz_step();
}

/* After a turn nothing that was due before it may still be armed. */
static void check_none_missed(uint64_t orders_before)
{
	for (size_t i = 0; i < ALARMS; i++) {
		assert_int_equal(apus_timer_armed(&fuzzed[i].timer), fuzzed[i].armed);
		assert_false(fuzzed[i].armed && fuzzed[i].deadline_ns <= turn_ns &&
			     fuzzed[i].order < orders_before);
	}
}

static void random_timers_fire_in_order_and_none_is_missed(void **state)
{
	uint64_t worlds = 0;

	fired = 0;
	test_each_seed(seed, 100)
	{
		worlds++;
		chance = seed;
		orders = 0;
		for (size_t i = 0; i < ALARMS; i++) {
			apus_timer_init(&fuzzed[i].timer, fuzz_fired);
			fuzzed[i].armed = false;
		}
		for (int turn = 0; turn < 2000; turn++) {
			turn_ns = apus_clock_read(&test_world.clock);
			for (uint64_t n = test_random_below(&chance, 8); n; n--)
				fuzz_step();
			int64_t next_ns = apus_shard_next_ns(test_world.shard);

			if (next_ns != APUS_NEVER && next_ns > turn_ns)
				turn_ns = next_ns;
			if (test_random_below(&chance, 3) == 0)
				turn_ns += (int64_t)(test_random(&chance) >>
						     (test_random_below(&chance, 40) + 24));
			apus_clock_set(&test_world.clock, turn_ns);
			last_ns = INT64_MIN;
			last_order = 0;
			uint64_t orders_before = orders;

			apus_shard_turn(test_world.shard);
			check_none_missed(orders_before);
		}
		for (size_t i = 0; i < ALARMS; i++)
			apus_timer_cancel(&fuzzed[i].timer);
		assert_int_equal(apus_shard_next_ns(test_world.shard), APUS_NEVER);
	}
	assert_true(fired > 1000 * worlds); /* the test tests something */
}

/* call_later, call_at. */

static struct alarm later, at;

static int64_t compute_then_call(void *arg)
{
	apus_clock_set(&test_world.clock, TEST_START_NS + 5); /* it took so long */
	apus_call_later(&alarm_init(&later, emit_alarm, "later", NULL)->timer, 10);
	apus_call_at(&alarm_init(&at, emit_alarm, "at", NULL)->timer, TEST_START_NS + 10);
	return 0;
}

static void call_later_counts_from_this_moment_and_call_at_does_not(void **state)
{
	ok(test_run(compute_then_call, NULL));
	run_out();
	assert_trace("at 10 · later 15");
}

static int64_t call_soon_and_never(void *arg)
{
	apus_call_later(&alarm_init(&later, emit_alarm, "later", NULL)->timer, INT64_MIN);
	apus_call_later(&alarm_init(&at, emit_alarm, "at", NULL)->timer, INT64_MAX);
	ok(apus_yield());
	ok(apus_yield());
	assert_true(apus_timer_armed(&at.timer));
	assert_true(at.timer.deadline_ns == APUS_NEVER);
	assert_true(apus_timer_cancel(&at.timer));
	assert_false(apus_timer_cancel(&at.timer));
	return 0;
}

static void call_later_takes_any_span(void **state)
{
	ok(test_run(call_soon_and_never, NULL));
	assert_trace("later 0");
}

static void call_at_moves_what_is_armed_and_cancel_takes_it_back(void **state)
{
	alarm_init(&at, emit_alarm, "at", NULL);
	apus_call_at(&at.timer, TEST_START_NS + 10);
	apus_call_at(&at.timer, TEST_START_NS + 30);
	test_advance(20);
	assert_trace("");
	test_advance(20);
	assert_trace("at 30");
	apus_call_later(&at.timer, 10);
	assert_true(apus_timer_cancel(&at.timer));
	test_advance(20);
	assert_trace("");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		shard_test(timers_fire_by_deadline_then_by_arming),
		shard_test(late_turn_fires_all_that_is_due_in_order),
		shard_test(timer_does_not_fire_one_nanosecond_early),
		shard_test(timer_in_the_past_is_due_in_the_next_turn),
		shard_test(due_timer_comes_after_what_is_ready_already),
		shard_test(armed_tells_from_arm_until_the_function_starts),
		shard_test(armed_timer_armed_again_is_moved),
		shard_test(timer_cancelled_in_callback_does_not_fire),
		shard_test(due_timer_moved_in_callback_fires_at_its_new_time),
		shard_test(timer_armed_again_from_its_own_callback_fires_again),
		shard_test(timer_armed_for_now_from_its_callback_waits_for_the_next_turn),
		shard_test(timer_may_free_itself),
		shard_test(one_timer_at_every_distance_fires_exactly_then),
		shard_test(random_timers_fire_in_order_and_none_is_missed),
		shard_test(call_later_counts_from_this_moment_and_call_at_does_not),
		shard_test(call_later_takes_any_span),
		shard_test(call_at_moves_what_is_armed_and_cancel_takes_it_back),
	};

	return test_main(argc, argv, tests);
}
