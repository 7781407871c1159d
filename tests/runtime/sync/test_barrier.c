/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/test_barrier.c: asyncio.Barrier: it fills, drains, is reset and breaks.
 *
 * The expected traces are what CPython's asyncio (3.13) prints for the same program.
 */
#include "tests/runtime/runtime_test.h"

#include "runtime/sync/barrier.h"

static struct apus_barrier barrier;

static int64_t wait_and_emit(void *arg)
{
	const char *name = arg;
	int64_t rc = apus_barrier_wait(&barrier);

	if (rc == -ECANCELED)
		emit("%s CE", name);
	else if (rc == -EPIPE)
		emit("%s broken", name);
	else
		emit("%s %lld", name, (long long)rc);
	return 0;
}

static int64_t wait_last(void *arg)
{
	emit("c %lld", (long long)apus_barrier_wait(&barrier));
	emit("n %u", apus_barrier_waiting(&barrier));
	return 0;
}

/* Trace 59. */
static void last_one_goes_on_at_once_the_others_in_order(void **state)
{
	struct apus_task *a, *b, *c;

	apus_barrier_init(&barrier, 3);
	a = apus_spawn(wait_and_emit, "a");
	b = apus_spawn(wait_and_emit, "b");
	test_laps(1);
	assert_int_equal(apus_barrier_waiting(&barrier), 2);
	c = apus_spawn(wait_last, NULL);
	ok(test_await(a));
	ok(test_await(b));
	ok(test_await(c));
	emit("%u %s", apus_barrier_waiting(&barrier), yes_no(apus_barrier_is_broken(&barrier)));
	assert_trace("c 2 · n 0 · a 0 · b 1 · 0 False");
}

static int64_t reset(void *arg)
{
	return apus_barrier_reset(&barrier);
}

static int64_t abort_it(void *arg)
{
	return apus_barrier_abort(&barrier);
}

static void barrier_is_left_reset_and_broken(void **state)
{
	struct apus_task *a, *b, *d, *e, *f, *g;

	apus_barrier_init(&barrier, 3);
	a = apus_spawn(wait_and_emit, "a");
	b = apus_spawn(wait_and_emit, "b");
	test_laps(1);
	emit("%u", apus_barrier_waiting(&barrier));
	apus_task_cancel(a);
	test_laps(3);
	emit("%u", apus_barrier_waiting(&barrier));
	ok(test_run(reset, NULL));
	test_laps(4);
	emit("%u %s", apus_barrier_waiting(&barrier), yes_no(apus_barrier_is_broken(&barrier)));
	d = apus_spawn(wait_and_emit, "d");
	e = apus_spawn(wait_and_emit, "e");
	f = apus_spawn(wait_and_emit, "f");
	ok(test_await(d));
	ok(test_await(e));
	ok(test_await(f));
	g = apus_spawn(wait_and_emit, "g");
	test_laps(1);
	ok(test_run(abort_it, NULL));
	ok(test_await(g));
	emit("%s", yes_no(apus_barrier_is_broken(&barrier)));
	ok(test_run(wait_and_emit, "h"));
	ok(test_run(reset, NULL));
	emit("%s", yes_no(apus_barrier_is_broken(&barrier)));
	assert_trace("2 · a CE · 1 · b broken · 0 False · f 2 · d 0 · e 1 · g broken · True · "
		     "h broken · False");
	ok(test_await(a));
	ok(test_await(b));
}

static void one_party_never_waits(void **state)
{
	apus_barrier_init(&barrier, 1);
	for (int i = 0; i < 3; i++) {
		struct apus_task *t = apus_spawn(wait_and_emit, "a");

		test_laps(1);
		assert_true(apus_task_done(t));
		ok(test_await(t));
	}
	assert_trace("a 0 · a 0 · a 0");
}

/*
 * Rounds of more tasks than parties, some of which are cancelled: in each round every index comes
 * once, and nobody passes before a party is whole.
 */

#define PARTIES 7
#define TASKS   17

static struct {
	uint64_t chance;
	bool seen[PARTIES]; /* in this round */
	int passes, left;
	bool stop;
	struct apus_task *tasks[TASKS];
} fuzz;

static int64_t pass_until_told(void *arg)
{
	while (!fuzz.stop) {
		for (uint64_t n = test_random_below(&fuzz.chance, 4); n; n--)
			(void)!apus_yield();
		while (cancelling())
			apus_task_uncancel(apus_task_self());
		int64_t index = apus_barrier_wait(&barrier);

		if (index == -ECANCELED) {
			fuzz.left++;
			continue;
		}
		if (fuzz.stop)
			return 0;
		assert_in_range(index, 0, PARTIES - 1);
		/* The last to come is the first to go; no other round begins before all have gone. */
		if (index == PARTIES - 1)
			memset(fuzz.seen, 0, sizeof(fuzz.seen));
		else
			assert_true(fuzz.seen[PARTIES - 1]);
		assert_false(fuzz.seen[index]);
		fuzz.seen[index] = true;
		fuzz.passes++;
	}
	return 0;
}

static void random_rounds_let_through_whole_parties(void **state)
{
	test_each_seed(seed, 200)
	{
		memset(&fuzz, 0, sizeof(fuzz));
		fuzz.chance = seed;
		apus_barrier_init(&barrier, PARTIES);
		for (int i = 0; i < TASKS; i++)
			fuzz.tasks[i] = apus_spawn(pass_until_told, NULL);
		for (int turn = 0; turn < 1000; turn++) {
			test_laps(1);
			assert_true(apus_barrier_waiting(&barrier) < PARTIES);
			if (seed % 2 && test_random_below(&fuzz.chance, 8) == 0)
				apus_task_cancel(
					fuzz.tasks[test_random_below(&fuzz.chance, TASKS)]);
		}
		assert_true(fuzz.passes > 20 * PARTIES);
		assert_int_equal(fuzz.left > 0, seed % 2);
		fuzz.stop = true;
		ok(test_run(abort_it, NULL));
		for (int i = 0; i < TASKS; i++)
			ok(test_await(fuzz.tasks[i]));
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		shard_test(last_one_goes_on_at_once_the_others_in_order),
		shard_test(barrier_is_left_reset_and_broken),
		shard_test(one_party_never_waits),
		shard_test(random_rounds_let_through_whole_parties),
	};

	return test_main(argc, argv, tests);
}
