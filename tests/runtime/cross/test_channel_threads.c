/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/cross/test_channel_threads.c: channels, promises and the barrier between shards in
 * threads of their own, on the real clock: this is what TSan is run on.
 *
 * What is lost shows as a hang, which the test's time limit ends. cmocka's assertions belong to the
 * main thread, so tasks use check(). What tasks of several shards count they count each for itself.
 */
#include "tests/runtime/base_test.h"

#include "runtime/base/check.h"
#include "runtime/base/random.h"
#include "runtime/cross/barrier.h"
#include "runtime/cross/call.h"
#include "runtime/cross/channel.h"
#include "runtime/cross/future.h"
#include "runtime/cross/shards.h"

#define check(condition) apus_must(condition)

#define SHARDS 3
#define TASKS  2 /* of each kind on each shard */
#define ITEMS  (test_is_slow() ? 300u : 3000u)
#define ROUNDS (test_is_slow() ? 100 : 1000)

#define ITEMS_MAX 3000u

static uint64_t chance(uint64_t below)
{
	return apus_random_below(apus_shard_random(apus_shard_self()), below);
}

/* Long enough, now and then, for a shard to fall asleep. */
static void nap(void)
{
	if (chance(16) == 0)
		(void)!apus_sleep((int64_t)chance(chance(16) ? 20 * APUS_US : 300 * APUS_US));
}

static void run(apus_task_fn main, void *arg, uint64_t seed)
{
	const struct apus_shards_options options = {.shard = {.seed = seed}, .count = SHARDS};
	struct apus_shards *shards;

	assert_int_equal(apus_shards_open(&options, &shards, NULL), 0);
	assert_int_equal(apus_shards_run(shards, main, arg), 0);
	apus_shards_close(shards);
}

/* TASKS tasks of @fn here, and wait for them. */
static void run_tasks(apus_task_fn fn)
{
	struct apus_task *tasks[TASKS];

	for (uintptr_t i = 0; i < TASKS; i++)
		tasks[i] = apus_spawn(fn, (void *)i);
	for (int i = 0; i < TASKS; i++)
		check(apus_await(tasks[i]) == 0);
}

/* --- Channels -------------------------------------------------------------------------------- */

static struct {
	struct apus_channel *channel;
	bool with_cancels;
	uint8_t said[SHARDS][TASKS][ITEMS_MAX]; /* the sender's */
	struct {
		uint8_t seen[SHARDS][TASKS][ITEMS_MAX];
		uint32_t last[SHARDS][TASKS];
	} receivers[SHARDS][TASKS]; /* the receiver's */
} flow;

static void *item_of(unsigned int shard, unsigned int task, uint32_t number)
{
	return (void *)(((uintptr_t)shard << 8 | task) << 32 | number);
}

static int64_t open_channel(void *arg)
{
	return apus_channel_open((uint32_t)(uintptr_t)arg, &flow.channel);
}

static int64_t free_channel(void *arg)
{
	apus_channel_free(flow.channel);
	return 0;
}

static int64_t send_all(void *arg)
{
	unsigned int shard = apus_shard_index(), task = (unsigned int)(uintptr_t)arg;

	for (uint32_t i = 0; i < ITEMS; i++) {
		void *item = item_of(shard, task, i);
		int rc = chance(8) ? apus_channel_send(flow.channel, item)
				   : apus_channel_try_send(flow.channel, item);

		check(rc == 0 || rc == -EAGAIN || rc == -ECANCELED);
		flow.said[shard][task][i] = rc == 0;
		nap();
	}
	(void)!apus_yield(); /* a cancel that came too late is told here */
	return 0;
}

static int64_t receive_all(void *arg)
{
	unsigned int shard = apus_shard_index(), task = (unsigned int)(uintptr_t)arg;
	void *items[8];

	for (;;) {
		int64_t n = apus_channel_recv_many(flow.channel, items, 1 + chance(8));

		if (n == -EPIPE)
			break;
		check(n > 0 || n == -ECANCELED);
		for (int64_t i = 0; i < n; i++) {
			uintptr_t item = (uintptr_t)items[i];
			unsigned int from = (unsigned int)(item >> 40), by = item >> 32 & 255;
			uint32_t number = (uint32_t)item;
			uint32_t *last = &flow.receivers[shard][task].last[from][by];

			check(number + 1 > *last); /* in order */
			*last = number + 1;
			flow.receivers[shard][task].seen[from][by][number]++;
		}
		nap();
	}
	(void)!apus_yield();
	return 0;
}

/* TASKS of them, who are cancelled every now and then. */
static int64_t run_and_disturb(apus_task_fn fn)
{
	struct apus_task *tasks[TASKS];
	int left = TASKS;

	if (!flow.with_cancels) {
		run_tasks(fn);
		return 0;
	}
	for (uintptr_t i = 0; i < TASKS; i++)
		tasks[i] = apus_spawn(fn, (void *)i);
	while (left) {
		check(apus_sleep((int64_t)chance(200 * APUS_US)) == 0);
		left = 0;
		for (int i = 0; i < TASKS; i++) {
			if (!apus_task_done(tasks[i]) && chance(2))
				apus_task_cancel(tasks[i]);
			left += !apus_task_done(tasks[i]);
		}
	}
	for (int i = 0; i < TASKS; i++)
		check(apus_await(tasks[i]) == 0);
	return 0;
}

static int64_t send_here(void *arg)
{
	return run_and_disturb(send_all);
}

static int64_t receive_here(void *arg)
{
	return run_and_disturb(receive_all);
}

static int64_t receive_on_all(void *arg)
{
	return apus_on_all(receive_here, NULL, NULL);
}

static int64_t flow_between_all(void *arg)
{
	unsigned int home = (unsigned int)(uintptr_t)arg;

	check(apus_call_on(home, open_channel, (void *)(uintptr_t)(1 + chance(20))) == 0);

	struct apus_task *receivers = apus_spawn(receive_on_all, NULL);

	check(apus_on_all(send_here, NULL, NULL) == 0);
	check(apus_channel_close(flow.channel) == 0);
	check(apus_await(receivers) == 0);
	check(apus_call_on(home, free_channel, NULL) == 0);
	return 0;
}

static void check_flow(void)
{
	uint64_t all = 0;

	for (int shard = 0; shard < SHARDS; shard++) {
		for (int task = 0; task < TASKS; task++) {
			for (uint32_t i = 0; i < ITEMS; i++) {
				int seen = 0;

				for (int r = 0; r < SHARDS * TASKS; r++)
					seen += flow.receivers[r / TASKS][r % TASKS]
							.seen[shard][task][i];
				assert_int_equal(seen, flow.said[shard][task][i]);
				all += (uint64_t)seen;
			}
		}
	}
	assert_true(all > ITEMS / 2);
}

static void flow_of_items(bool with_cancels)
{
	test_each_seed(seed, 4)
	{
		memset(&flow, 0, sizeof(flow));
		flow.with_cancels = with_cancels;
		run(flow_between_all, (void *)(uintptr_t)(seed % SHARDS), seed);
		check_flow();
	}
}

static void every_item_is_received_once_and_in_order(void **state)
{
	flow_of_items(false);
}

static void cancels_lose_no_item_and_double_none(void **state)
{
	flow_of_items(true);
}

/* A wait for room that nobody gives; then all shards stop. */
static int64_t send_for_ever(void *arg)
{
	int rc;

	while ((rc = apus_channel_send(flow.channel, &flow)) == 0)
		;
	return rc == -EPIPE || rc == -ESHUTDOWN ? -ECANCELED : rc;
}

static int64_t leave_senders(void *arg)
{
	for (int i = 0; i < TASKS; i++)
		check(apus_spawn_detached(NULL, send_for_ever, NULL, 0) == 0);
	return 0;
}

static int64_t keep_channel(void *arg)
{
	check(open_channel((void *)1) == 0);

	int64_t rc = apus_sleep(1000 * APUS_SEC);

	apus_channel_free(flow.channel);
	return rc;
}

static int64_t stop_while_senders_wait(void *arg)
{
	check(apus_spawn_detached(NULL, keep_channel, NULL, 0) == 0);
	check(apus_yield() == 0);
	check(apus_on_all(leave_senders, NULL, NULL) == 0);
	return apus_sleep((int64_t)chance(300 * APUS_US));
}

static void shards_stop_while_senders_wait(void **state)
{
	test_each_seed(seed, 60)
	{
		run(stop_while_senders_wait, NULL, seed);
	}
}

/* --- Promises -------------------------------------------------------------------------------- */

static int64_t give_arg(void *arg)
{
	nap();
	return (intptr_t)arg;
}

static int64_t sleep_long(void *arg)
{
	return apus_sleep(1000 * APUS_SEC);
}

/* What is handed to several shards; each gives its reference back. */
static int64_t set_mine(void *arg)
{
	struct apus_promise *p = arg;

	nap();

	int rc = apus_promise_set(p, apus_shard_index());

	check(rc == 0 || rc == -EALREADY || rc == -ECANCELED);
	apus_promise_put(p);
	return rc == 0;
}

static void first_of_all_wins(void)
{
	int64_t results[SHARDS], winners = 0;
	struct apus_promise *p;

	check(apus_promise_open(&p) == 0);
	for (int i = 1; i < SHARDS; i++)
		(void)apus_promise_get(p);
	check(apus_on_all(set_mine, p, results) == 0);

	int64_t winner = apus_future_await(apus_promise_future(p));

	for (int i = 0; i < SHARDS; i++)
		winners += results[i];
	check(winners == 1 && results[winner] == 1);
	apus_promise_close(p);
}

static void run_one(unsigned int shard)
{
	struct apus_promise *p;
	int64_t value = (int64_t)chance(1000);

	check(apus_promise_open(&p) == 0);
	check(apus_promise_run(p, shard, give_arg, (void *)(intptr_t)value) == 0);
	check(apus_future_await(apus_promise_future(p)) == value);
	apus_promise_close(p);
}

/* Closed while its owner runs, or is on its way: that is cancelled, and gives the reference back. */
static void run_and_drop(unsigned int shard)
{
	struct apus_promise *p;

	check(apus_promise_open(&p) == 0);
	check(apus_promise_run(p, shard, sleep_long, NULL) == 0);
	nap();
	apus_promise_close(p);
}

static int64_t promise_about(void *arg)
{
	for (int i = 0; i < ROUNDS; i++) {
		unsigned int shard = (unsigned int)chance(SHARDS);

		switch (chance(4)) {
		case 0:
			first_of_all_wins();
			break;
		case 1:
			run_and_drop(shard);
			break;
		default:
			run_one(shard);
			break;
		}
	}
	return 0;
}

static int64_t promises_here(void *arg)
{
	run_tasks(promise_about);
	return 0;
}

static int64_t promises_everywhere(void *arg)
{
	return apus_on_all(promises_here, NULL, NULL);
}

static void promises_are_kept_once(void **state)
{
	test_each_seed(seed, 3)
	{
		run(promises_everywhere, NULL, seed);
	}
}

/* --- The barrier ----------------------------------------------------------------------------- */

static struct {
	struct apus_cross_barrier barrier;
	uint32_t round[SHARDS][TASKS]; /* of each; written before it waits, read by all after */
	uint32_t first;                /* how often somebody was */
} meeting;

static int64_t meet(void *arg)
{
	uint32_t *mine = &meeting.round[apus_shard_index()][(uintptr_t)arg];
	uint32_t firsts = 0;

	for (int i = 0; i < ROUNDS; i++) {
		nap();
		++*mine;

		int64_t order = apus_cross_barrier_wait(&meeting.barrier);

		check(order >= 0 && order < SHARDS * TASKS);
		firsts += order == 0;
		for (int k = 0; k < SHARDS * TASKS; k++)
			check(meeting.round[k / TASKS][k % TASKS] == *mine);
		check(apus_cross_barrier_wait(&meeting.barrier) >= 0); /* all have looked */
	}
	__atomic_fetch_add(&meeting.first, firsts, __ATOMIC_RELAXED);
	return 0;
}

static int64_t meet_here(void *arg)
{
	run_tasks(meet);
	return 0;
}

static int64_t meet_everywhere(void *arg)
{
	apus_cross_barrier_init(&meeting.barrier, SHARDS * TASKS);
	return apus_on_all(meet_here, NULL, NULL);
}

static void barrier_lets_all_through_at_once(void **state)
{
	memset(&meeting, 0, sizeof(meeting));
	run(meet_everywhere, NULL, 1);
	assert_int_equal(meeting.first, ROUNDS);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_item_is_received_once_and_in_order),
		cmocka_unit_test(cancels_lose_no_item_and_double_none),
		cmocka_unit_test(shards_stop_while_senders_wait),
		cmocka_unit_test(promises_are_kept_once),
		cmocka_unit_test(barrier_lets_all_through_at_once),
	};

	return test_main(argc, argv, tests);
}
