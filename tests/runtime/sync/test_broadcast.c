/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/test_broadcast.c: random senders and receivers, cancelled at any time: what each
 * receiver gets is a run of what was sent, and every loss is counted. The single cases are in
 * test_channel.c.
 */
#include "tests/runtime/runtime_test.h"

#include "runtime/sync/channel.h"

#define RECEIVERS 6
#define SENDERS   3

static struct apus_broadcast broadcast;

static struct {
	uint64_t chance;
	intptr_t next;        /* number of the next value */
	intptr_t order[2000]; /* in which they were sent */
	int sent;
	enum apus_lag lag;
} fuzz;

static void uncancel_all(void)
{
	while (cancelling())
		apus_task_uncancel(apus_task_self());
}

static int64_t send_random(void *arg)
{
	for (int i = 0; i < 100; i++) {
		intptr_t number = ++fuzz.next;
		int rc = apus_broadcast_send(&broadcast, (void *)number);

		uncancel_all();
		if (rc == 0)
			fuzz.order[fuzz.sent++] = number;
		else
			assert_int_equal(rc, -ECANCELED);
		if (test_random_below(&fuzz.chance, 3) == 0)
			(void)!apus_yield();
		uncancel_all();
	}
	return 0;
}

static int64_t recv_random(void *arg)
{
	struct apus_subscriber s;
	int at = fuzz.sent;

	apus_broadcast_subscribe(&broadcast, &s);
	for (;;) {
		void *value;
		int64_t rc = apus_broadcast_recv(&s, &value);

		uncancel_all();
		if (rc == -EPIPE)
			break;
		if (rc != -ECANCELED) {
			assert_true(rc == 0 || fuzz.lag == APUS_LAG_DROP);
			at += (int)rc;
			/* The sender notes it after the send: it may be one behind. */
			if (at < fuzz.sent)
				assert_int_equal((intptr_t)value, fuzz.order[at]);
			at++;
		}
		if (test_random_below(&fuzz.chance, 3) == 0)
			(void)!apus_sleep((int64_t)test_random_below(&fuzz.chance, 5));
		uncancel_all();
	}
	assert_int_equal(at, fuzz.sent);
	apus_broadcast_unsubscribe(&s);
	return 0;
}

static void random_receivers_miss_nothing_uncounted(void **state)
{
	test_each_seed(seed, 300)
	{
		struct apus_task *tasks[SENDERS + RECEIVERS];

		memset(&fuzz, 0, sizeof(fuzz));
		fuzz.chance = seed;
		fuzz.lag = seed % 2 ? APUS_LAG_DROP : APUS_LAG_WAIT;
		ok(apus_broadcast_init(&broadcast, 1 + (uint32_t)(seed % 7), fuzz.lag));
		for (int i = 0; i < RECEIVERS; i++)
			tasks[i] = apus_spawn(recv_random, NULL);
		for (int i = 0; i < SENDERS; i++)
			tasks[RECEIVERS + i] = apus_spawn(send_random, NULL);
		test_laps(1);
		for (int i = 0; i < SENDERS; i++) {
			while (!apus_task_done(tasks[RECEIVERS + i])) {
				assert_true(test_step());
				if (test_random_below(&fuzz.chance, 4) == 0)
					apus_task_cancel(tasks[test_random_below(
						&fuzz.chance, SENDERS + RECEIVERS)]);
			}
		}
		apus_broadcast_close(&broadcast);
		for (int i = 0; i < SENDERS + RECEIVERS; i++)
			assert_true(test_await(tasks[i]) <= 0);
		assert_true(fuzz.sent > 100);
		apus_broadcast_fini(&broadcast);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		shard_test(random_receivers_miss_nothing_uncounted),
	};

	return test_main(argc, argv, tests);
}
