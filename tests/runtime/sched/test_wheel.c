/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sched/test_wheel.c: the timing wheel against a naive model, over random arming,
 * cancelling, re-arming and leaps in time from a nanosecond to centuries.
 *
 * The model is an array: what is due at a time is every armed entry with a deadline up to it, by
 * deadline and then by order of arming.
 */
#include "tests/runtime/base_test.h"

#include "runtime/sched/wheel.h"

static void never_called(struct apus_work *work)
{
	abort();
}

static struct apus_wheel wheel;

/* What a shard tells the world of its timers. */
static int64_t wheel_next_ns(void)
{
	return wheel.armed ? wheel.next_ns : APUS_NEVER;
}

/* The model. */

#define TIMERS 256

static struct entry {
	struct apus_timer timer;
	bool armed;
	int64_t deadline_ns;
	uint64_t order;
} entries[TIMERS];
static uint64_t orders;
static size_t armed_count;

static void model_init(int64_t now_ns)
{
	apus_wheel_init(&wheel, now_ns);
	orders = 0;
	armed_count = 0;
	for (size_t i = 0; i < TIMERS; i++) {
		apus_timer_init(&entries[i].timer, never_called);
		entries[i].armed = false;
	}
}

static void model_arm(struct entry *e, int64_t deadline_ns)
{
	if (e->armed) {
		apus_wheel_remove(&wheel, &e->timer);
		assert_false(apus_timer_armed(&e->timer));
		armed_count--;
	}
	apus_wheel_arm(&wheel, &e->timer, deadline_ns);
	assert_true(apus_timer_armed(&e->timer));
	e->armed = true;
	e->deadline_ns = deadline_ns;
	e->order = orders++;
	armed_count++;
}

static void model_cancel(struct entry *e)
{
	if (!e->armed)
		return;
	apus_wheel_remove(&wheel, &e->timer);
	assert_false(apus_timer_armed(&e->timer));
	e->armed = false;
	armed_count--;
}

/* The entry that must fire next of all that are due; NULL if none is. */
static struct entry *model_due(int64_t now_ns)
{
	struct entry *first = NULL;

	for (size_t i = 0; i < TIMERS; i++) {
		struct entry *e = &entries[i];

		if (!e->armed || e->deadline_ns > now_ns)
			continue;
		if (!first || e->deadline_ns < first->deadline_ns ||
		    (e->deadline_ns == first->deadline_ns && e->order < first->order))
			first = e;
	}
	return first;
}

static int64_t model_next_ns(void)
{
	int64_t next_ns = APUS_NEVER;

	for (size_t i = 0; i < TIMERS; i++) {
		if (entries[i].armed)
			next_ns = apus_min(next_ns, entries[i].deadline_ns);
	}
	return next_ns;
}

/* Pops all that is due and compares. */
static void pop_all(int64_t now_ns)
{
	for (;;) {
		struct entry *expected = model_due(now_ns);
		struct apus_timer *t = apus_wheel_pop(&wheel, now_ns);

		assert_ptr_equal(t, expected ? &expected->timer : NULL);
		if (!t)
			break;
		assert_false(apus_timer_armed(t));
		assert_int_equal(t->deadline_ns, expected->deadline_ns);
		expected->armed = false;
		armed_count--;
	}
	assert_int_equal(wheel.armed, armed_count);

	int64_t next_ns = wheel_next_ns();

	assert_true(next_ns <= model_next_ns());
	assert_true(next_ns > now_ns);
	if (armed_count == 0)
		assert_int_equal(next_ns, APUS_NEVER);
}

/* A span whose size is spread evenly over the powers of two up to 2^bits. */
static int64_t random_span(uint64_t *chance, unsigned int bits)
{
	unsigned int power = (unsigned int)test_random_below(chance, bits);

	return (int64_t)(test_random(chance) & ((UINT64_C(2) << power) - 1));
}

static void random_step(uint64_t *chance, int64_t *now_ns, unsigned int bits)
{
	struct entry *e = &entries[test_random_below(chance, TIMERS)];
	int64_t deadline_ns;

	switch (test_random_below(chance, 8)) {
	case 0:
		model_cancel(e);
		break;
	case 1: /* in the past, or now */
		model_arm(e, *now_ns - random_span(chance, 40));
		break;
	case 2: /* where another one is */
		deadline_ns = entries[test_random_below(chance, TIMERS)].deadline_ns;
		model_arm(e, apus_max(deadline_ns, INT64_C(0)));
		break;
	case 3:
		*now_ns += random_span(chance, bits);
		pop_all(*now_ns);
		break;
	case 4: /* exactly to the next event that the wheel knows of */
		if (wheel_next_ns() != APUS_NEVER)
			*now_ns = apus_max(*now_ns, wheel_next_ns());
		pop_all(*now_ns);
		break;
	case 5: /* one nanosecond before a deadline: must not fire */
		if (e->armed && e->deadline_ns > *now_ns)
			*now_ns = e->deadline_ns - 1;
		pop_all(*now_ns);
		break;
	default:
		model_arm(e, *now_ns + random_span(chance, bits));
		break;
	}
}

static void random_operations_equal_the_model(void **state)
{
	/* In all 2.4 million operations; spans up to 2^10 ... 2^56 ns (2.3 years). */
	test_each_seed(seed, 240)
	{
		uint64_t chance = seed;
		unsigned int bits = 10 + (unsigned int)(seed % 47);
		int64_t now_ns = random_span(&chance, 50);

		model_init(now_ns);
		for (int step = 0; step < 10000 && now_ns < INT64_MAX / 4; step++)
			random_step(&chance, &now_ns, bits);
		while (armed_count) {
			now_ns = apus_max(now_ns, model_next_ns());
			pop_all(now_ns);
		}
	}
}

/* Steps that a loop in virtual time takes: next_ns by next_ns, to every deadline. */
static void following_next_ns_reaches_every_deadline_in_few_steps(void **state)
{
	test_each_seed(seed, 50)
	{
		uint64_t chance = seed;
		int64_t now_ns = random_span(&chance, 50);

		model_init(now_ns);
		for (size_t i = 0; i < TIMERS; i++)
			model_arm(&entries[i], now_ns + random_span(&chance, 60));

		int steps = 0;

		while (armed_count) {
			now_ns = wheel_next_ns();
			pop_all(now_ns);
			steps++;
		}
		/* A timer moves down at most once a level, then fires. */
		assert_true(steps <= TIMERS * (APUS_WHEEL_LEVELS + 1));
	}
}

static void one_timer_at_every_power_of_two_fires_at_its_nanosecond(void **state)
{
	static const int64_t starts[] = {
		0, 1, 16383, 16384, APUS_SEC, INT64_C(1) << 40, (INT64_C(1) << 46) - 1};

	for (size_t s = 0; s < apus_countof(starts); s++) {
		for (int power = 0; power < 62; power++) {
			for (int64_t delta = -1; delta <= 1; delta++) {
				int64_t deadline_ns = starts[s] + (INT64_C(1) << power) + delta;

				model_init(starts[s]);
				model_arm(&entries[0], deadline_ns);
				if (deadline_ns > starts[s]) {
					pop_all(deadline_ns - 1);
					assert_true(entries[0].armed);
				}
				pop_all(apus_max(deadline_ns, starts[s]));
				assert_false(entries[0].armed);
			}
		}
	}
}

static void leap_over_many_levels_fires_all_in_order(void **state)
{
	test_each_seed(seed, 50)
	{
		uint64_t chance = seed;

		model_init(APUS_SEC);
		for (size_t i = 0; i < TIMERS; i++)
			model_arm(&entries[i], APUS_SEC + random_span(&chance, 58));
		pop_all(INT64_MAX / 2);
		assert_int_equal(armed_count, 0);
	}
}

static void equal_deadlines_fire_in_order_of_arming(void **state)
{
	test_each_seed(seed, 50)
	{
		uint64_t chance = seed;
		int64_t deadline_ns = APUS_SEC + random_span(&chance, 50);

		model_init(APUS_SEC);
		for (size_t i = 0; i < TIMERS; i++)
			model_arm(&entries[i], deadline_ns);
		/* Some again: they go to the end. */
		for (size_t i = 0; i < TIMERS / 4; i++)
			model_arm(&entries[test_random_below(&chance, TIMERS)], deadline_ns);
		pop_all(deadline_ns);
		assert_int_equal(armed_count, 0);
	}
}

static void timers_that_never_come_do_not_fire_and_can_be_removed(void **state)
{
	model_init(0);
	model_arm(&entries[0], APUS_NEVER);
	model_arm(&entries[1], APUS_NEVER - 1);
	model_arm(&entries[2], APUS_NEVER);
	for (int power = 0; power < 63; power++)
		pop_all((INT64_C(1) << power) - 1);
	assert_int_equal(armed_count, 3);
	model_cancel(&entries[0]);
	model_cancel(&entries[2]);
	model_cancel(&entries[1]);
	pop_all(INT64_MAX - 2);
	assert_int_equal(wheel_next_ns(), APUS_NEVER);
}

static void deadlines_before_time_zero_are_due_at_once(void **state)
{
	model_init(0);
	model_arm(&entries[0], -1);
	model_arm(&entries[1], INT64_MIN);
	model_arm(&entries[2], 0);
	model_arm(&entries[3], 1);
	pop_all(0);
	assert_int_equal(armed_count, 1);
	pop_all(1);
	assert_int_equal(armed_count, 0);
}

/* A cancelled timer leaves nothing behind, wherever it was: slot, heap root, heap child. */
static void million_timers_armed_and_cancelled_leave_an_empty_wheel(void **state)
{
	enum {
		MANY = 200000
	};
	static struct apus_timer many[MANY];

	for (int round = 0; round < 5; round++) {
		uint64_t chance = (uint64_t)round + 1;
		int64_t now_ns = APUS_SEC;

		apus_wheel_init(&wheel, now_ns);
		for (int i = 0; i < MANY; i++) {
			apus_timer_init(&many[i], never_called);
			apus_wheel_arm(&wheel, &many[i], now_ns + random_span(&chance, 45));
		}
		assert_int_equal(wheel.armed, MANY);
		/* Some are due by now and in the heap. */
		int64_t last_ns = 0;
		size_t fired = 0;
		struct apus_timer *t;

		now_ns += INT64_C(1) << (10 + 5 * round);
		while (fired < 1000 && (t = apus_wheel_pop(&wheel, now_ns))) {
			assert_true(t->deadline_ns >= last_ns && t->deadline_ns <= now_ns);
			last_ns = t->deadline_ns;
			fired++;
		}
		for (int i = 0; i < MANY; i++) {
			struct apus_timer *victim = &many[(int64_t)i * 7919 % MANY];

			if (apus_timer_armed(victim))
				apus_wheel_remove(&wheel, victim);
		}
		assert_int_equal(wheel.armed, 0);
		assert_int_equal(wheel_next_ns(), APUS_NEVER);
		assert_null(apus_wheel_pop(&wheel, INT64_MAX / 2));
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations_equal_the_model),
		cmocka_unit_test(following_next_ns_reaches_every_deadline_in_few_steps),
		cmocka_unit_test(one_timer_at_every_power_of_two_fires_at_its_nanosecond),
		cmocka_unit_test(leap_over_many_levels_fires_all_in_order),
		cmocka_unit_test(equal_deadlines_fire_in_order_of_arming),
		cmocka_unit_test(timers_that_never_come_do_not_fire_and_can_be_removed),
		cmocka_unit_test(deadlines_before_time_zero_are_due_at_once),
		cmocka_unit_test(million_timers_armed_and_cancelled_leave_an_empty_wheel),
	};

	return test_main(argc, argv, tests);
}
