/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/cross/test_cancel_matrix.c: every call of this folder that waits, cancelled at every
 * moment: before it is made, while it waits for room, on its way, while the other shard is at it, on
 * its way back, after; once and twice; with rings that are empty, and full.
 *
 * A row says how to make the call and what it gives. A moment is a number of turns after the call was
 * made. Whatever the moment: the outcome is the result or -ECANCELED, what came of it is in
 * accordance, the cancel is told, by the call or by the next wait, the next call is served, and nothing
 * is left.
 */
#include "tests/runtime/cross/cross_test.h"

#include "runtime/cross/barrier.h"
#include "runtime/cross/channel.h"
#include "runtime/cross/future.h"
#include "runtime/cross/sharded.h"

#define MOMENTS 60

static unsigned int runs; /* of what the row has others run */

struct row {
	const char *name;
	int64_t (*call)(void);
	apus_task_fn setup, teardown; /* on shard 1; or NULL */
};

static const struct row *row;

static int64_t wait_a_while(void *arg)
{
	runs++;
	return apus_sleep(50 * APUS_US);
}

static int64_t call_call_on(void)
{
	return apus_call_on(1, wait_a_while, NULL);
}

static int64_t call_call_on_oneself(void)
{
	return apus_call_on(0, wait_a_while, NULL);
}

static int64_t call_on_all(void)
{
	return apus_on_all(wait_a_while, NULL, NULL);
}

static void reduce(void *into, unsigned int shard, int64_t result)
{
	++*(int *)into;
}

static int64_t call_map_reduce(void)
{
	int reduced = 0;
	int64_t rc = apus_map_reduce(wait_a_while, NULL, reduce, &reduced);

	assert_int_equal(reduced, rc ? 0 : 2);
	return rc;
}

static int64_t call_post_to(void)
{
	int rc = 0;

	for (int i = 0; i < 4 && !rc; i++) /* there are places for two */
		rc = apus_post_to(1, wait_a_while, NULL);
	return rc;
}

static struct apus_message messages[64];

static void arrives(struct apus_message *message)
{
	runs++;
}

static int64_t call_message_send_wait(void)
{
	int rc = 0;

	for (size_t i = 0; i < apus_countof(messages) && !rc; i++) {
		messages[i].fn = arrives;
		rc = apus_message_send_wait(1, &messages[i]);
	}
	return rc;
}

/* A channel at home on shard 1, where a task receives. */

static struct apus_channel *channel;
static unsigned int received, sent;

static int64_t receive_all(void *arg)
{
	void *item;

	while (apus_channel_recv(channel, &item) == 0)
		received++;
	return 0;
}

static int64_t open_to_receive(void *arg)
{
	received = sent = 0;
	ok(apus_channel_open(2, &channel));
	return apus_spawn_detached(NULL, receive_all, NULL, 0);
}

static int64_t free_channel(void *arg)
{
	ok(apus_channel_close(channel));
	while (apus_shard_tasks(apus_shard_self()) > 1) /* the receiver */
		ok(apus_sleep(10 * APUS_US));
	apus_channel_free(channel);
	assert_int_equal(received, sent);
	return 0;
}

static int64_t call_channel_close(void)
{
	int rc = apus_channel_close(channel);

	if (rc == 0) {
		runs++;
		assert_int_equal(apus_channel_try_send(channel, &runs), -EPIPE);
	}
	return rc;
}

static int64_t call_channel_send(void)
{
	int rc = 0;

	for (int i = 0; i < 6 && !rc; i++) { /* there is room for two */
		rc = apus_channel_send(channel, &runs);
		sent += rc == 0;
	}
	runs += rc == 0;
	return rc;
}

/* The other way round: shard 0 receives what a task of shard 1 sends. */

static int64_t send_all(void *arg)
{
	while (apus_channel_send(channel, &runs) == 0) {
		sent++;
		ok(apus_sleep(10 * APUS_US));
	}
	return 0;
}

static int64_t open_to_send(void *arg)
{
	received = sent = 0;
	ok(apus_channel_open(2, &channel));
	return apus_spawn_detached(NULL, send_all, NULL, 0);
}

static int64_t count_and_free(void *arg)
{
	ok(apus_channel_close(channel));
	(void)receive_all(NULL);
	return free_channel(NULL);
}

static int64_t call_channel_recv_many(void)
{
	void *items[2];
	int64_t n = apus_channel_recv_many(channel, items, 2);

	if (n < 0)
		return n;
	received += (unsigned int)n;
	runs++;
	return 0;
}

/* At home here; a task of shard 1 is in a send. */
static int64_t send_until_closed(void *arg)
{
	int rc;

	while ((rc = apus_channel_send(arg, &runs)) == 0)
		;
	return rc == -EPIPE ? 0 : rc;
}

static int64_t begin_to_send(void *arg)
{
	static const struct apus_spawn_options eager = {.flags = APUS_SPAWN_EAGER};

	return apus_spawn_detached(&eager, send_until_closed, arg, 0);
}

static int64_t call_channel_free(void)
{
	struct apus_channel *mine;

	ok(apus_channel_open(1, &mine));

	int64_t rc = apus_call_on(1, begin_to_send, mine);

	apus_channel_free(mine);
	runs++;
	return rc;
}

/* A barrier of two on shard 1, where one waits, again and again. */

static struct apus_cross_barrier barrier;
static bool is_over, is_aborted;

static int64_t wait_again(void *arg)
{
	while (!is_over) {
		(void)!apus_cross_barrier_wait(&barrier);
		ok(apus_sleep(10 * APUS_US));
	}
	return 0;
}

static int64_t open_barrier(void *arg)
{
	is_over = is_aborted = false;
	apus_cross_barrier_init(&barrier, 2);
	return apus_spawn_detached(NULL, wait_again, NULL, 0);
}

static int64_t close_barrier(void *arg)
{
	is_over = true;
	if (is_aborted)
		assert_int_equal(apus_cross_barrier_wait(&barrier), -EPIPE);
	return apus_cross_barrier_abort(&barrier);
}

static int64_t call_cross_barrier_wait(void)
{
	int64_t rc = apus_cross_barrier_wait(&barrier);

	runs += rc >= 0;
	return apus_min(rc, (int64_t)0);
}

static int64_t call_cross_barrier_reset(void)
{
	int rc = apus_cross_barrier_reset(&barrier);

	runs += rc == 0;
	return rc;
}

static int64_t call_cross_barrier_abort(void)
{
	int rc = apus_cross_barrier_abort(&barrier);

	runs += rc == 0;
	is_aborted |= rc == 0;
	return rc;
}

static int64_t give_7(void *arg)
{
	runs++;
	return 7;
}

static int64_t call_promise_run(void)
{
	struct apus_promise *p;

	ok(apus_promise_open(&p));

	int rc = apus_promise_run(p, 1, give_7, NULL);
	int64_t result = apus_future_await(apus_promise_future(p));

	apus_promise_close(p);
	return rc ? rc : apus_min(result, (int64_t)0);
}

/* A service on both shards. That of the calls is shard 1's; who starts one stops it, too. */

static struct apus_sharded *service;
static unsigned int alive;

static int64_t start_one(void *arg, void **instance)
{
	int rc = apus_sleep(10 * APUS_US);

	if (rc)
		return rc;
	alive++;
	*instance = &alive;
	return 0;
}

static int64_t stop_one(void *instance, int64_t drain_ns, void *arg)
{
	(void)!apus_sleep(apus_min(10 * APUS_US, drain_ns));
	alive--;
	return 0;
}

static int64_t start_service(struct apus_sharded **out)
{
	const struct apus_sharded_options options = {
		.start = start_one,
		.stop = stop_one,
		.drain_ns = APUS_SEC,
	};
	int64_t rc = apus_sharded_start(&options, out);

	assert_int_equal(alive, rc ? 0 : 2);
	return rc;
}

static int64_t open_service(void *arg)
{
	alive = 0;
	return start_service(&service);
}

static int64_t close_service(void *arg)
{
	int64_t rc = apus_sharded_stop(service, 0); /* nobody is left inside */

	assert_int_equal(alive, 0);
	return rc;
}

static int64_t wait_inside(void *instance, void *arg)
{
	return wait_a_while(NULL);
}

static int64_t call_sharded_call(void)
{
	return apus_sharded_call(service, 1, wait_inside, NULL);
}

static int64_t call_sharded_call_all(void)
{
	return apus_sharded_call_all(service, wait_inside, NULL, NULL);
}

static int64_t call_sharded_map_reduce(void)
{
	int reduced = 0;
	int64_t rc = apus_sharded_map_reduce(service, wait_inside, NULL, reduce, &reduced);

	assert_int_equal(reduced, rc ? 0 : 2);
	return rc;
}

static int64_t call_sharded_start(void)
{
	struct apus_sharded *mine;
	int64_t rc;

	alive = 0;
	rc = start_service(&mine);
	if (rc)
		return rc;
	runs++;
	rc = apus_sharded_stop(mine, APUS_SEC);
	assert_int_equal(alive, 0);
	return rc;
}

static int64_t be_inside(void *arg)
{
	(void)!apus_sharded_call(arg, 0, wait_inside, NULL);
	return 0;
}

/* ... which has to wait for a call. */
static int64_t call_sharded_stop(void)
{
	static const struct apus_spawn_options eager = {.flags = APUS_SPAWN_EAGER};
	struct apus_sharded *mine;
	int64_t rc;

	alive = 0;
	rc = start_service(&mine);
	if (rc)
		return rc;
	ok(apus_spawn_detached(&eager, be_inside, mine, 0));
	rc = apus_sharded_stop(mine, APUS_SEC);
	assert_int_equal(alive, 0);
	return rc;
}

/* A row is a line. */
/* clang-format off */
static const struct row rows[] = {
	{"call_on", call_call_on, NULL, NULL},
	{"call_on_oneself", call_call_on_oneself, NULL, NULL},
	{"on_all", call_on_all, NULL, NULL},
	{"map_reduce", call_map_reduce, NULL, NULL},
	{"post_to", call_post_to, NULL, NULL},
	{"message_send_wait", call_message_send_wait, NULL, NULL},
	{"channel_send", call_channel_send, open_to_receive, free_channel},
	{"channel_recv_many", call_channel_recv_many, open_to_send, count_and_free},
	{"channel_close", call_channel_close, open_to_receive, free_channel},
	{"channel_free", call_channel_free, NULL, NULL},
	{"cross_barrier_wait", call_cross_barrier_wait, open_barrier, close_barrier},
	{"cross_barrier_reset", call_cross_barrier_reset, open_barrier, close_barrier},
	{"cross_barrier_abort", call_cross_barrier_abort, open_barrier, close_barrier},
	{"promise_run", call_promise_run, NULL, NULL},
	{"sharded_start", call_sharded_start, NULL, NULL},
	{"sharded_stop", call_sharded_stop, NULL, NULL},
	{"sharded_call", call_sharded_call, open_service, close_service},
	{"sharded_call_all", call_sharded_call_all, open_service, close_service},
	{"sharded_map_reduce", call_sharded_map_reduce, open_service, close_service},
};
/* clang-format on */

static bool was_told; /* of a cancel, by the call or by the wait after it */

static int64_t make_call(void *arg)
{
	int64_t rc = row->call(), next = apus_yield();

	was_told = rc == -ECANCELED || next == -ECANCELED;
	return rc;
}

static int64_t cancel_and_call(void *arg)
{
	assert_true(apus_task_cancel(apus_task_self()));
	return row->call();
}

static int64_t call_again(void *arg)
{
	int64_t rc = row->call();

	assert_true(rc == 0 || rc == -ECANCELED);
	return make_call(NULL);
}

/* Takes all the room there is to shard 1, which does not turn. */
static struct apus_message stones[512];

static int64_t fill(void *arg)
{
	for (size_t i = 0; i < apus_countof(stones); i++) {
		stones[i].fn = arrives;
		if (apus_message_send(1, &stones[i]))
			return 0;
	}
	return -EBADE;
}

static void open_world(bool is_full)
{
	const struct apus_cross_options options = {
		.ring_lines = 8,
		.posts_max = 2,
		.delay_ns = cross_delay,
	};

	cross_open(2, &options);
	if (row->setup)
		ok(cross_run(1, row->setup, NULL));
	if (is_full) {
		cross.stuck = 1u << 1;
		ok(cross_run(0, fill, NULL));
	}
}

static void close_world(void)
{
	cross.stuck = 0;
	ok(cross_run(0, make_call, NULL)); /* the next is served */
	if (row->teardown)
		ok(cross_run(1, row->teardown, NULL));
	cross_close();
}

static void cancelled_before_the_call(bool is_full)
{
	open_world(is_full);

	struct apus_task *t = cross_spawn(0, cancel_and_call, NULL);

	for (int i = 0; i < 3; i++)
		cross_turn();
	cross.stuck = 0;
	assert_int_equal(cross_await(0, t), -ECANCELED);
	close_world();
}

static void cancelled_at(int moment, int times, bool is_full)
{
	bool was_asked = false;

	runs = 0;
	open_world(is_full);

	struct apus_task *t = cross_spawn(0, make_call, NULL);

	for (int i = 0; i <= moment; i++) {
		if (i == MOMENTS / 4)
			cross.stuck = 0;
		if (!cross_step())
			cross.stuck = 0;
	}
	for (int i = 0; i < times; i++) {
		was_asked = !apus_task_done(t);
		cross_cancel(0, t);
	}
	cross.stuck = 0;

	int64_t rc = cross_await(0, t);

	if (!was_asked)
		ok(rc);
	else
		assert_true(rc == -ECANCELED || (rc == 0 && runs));
	assert_int_equal(was_told, was_asked);
	close_world();
}

static void cancelled_once_it_may_call_again(int moment)
{
	open_world(moment % 2);

	struct apus_task *t = cross_spawn(0, call_again, NULL);

	for (int i = 0; i <= moment; i++)
		if (!cross_step())
			cross.stuck = 0;
	cross_cancel(0, t);
	cross.stuck = 0;

	int64_t rc = cross_await(0, t);

	assert_true(rc == 0 || rc == -ECANCELED);
	close_world();
}

static void run_row(void **state)
{
	row = *state;
	for (int full = 0; full < 2; full++) {
		cancelled_before_the_call(full);
		for (int moment = 0; moment < MOMENTS; moment++)
			for (int times = 1; times < 4; times++)
				cancelled_at(moment, times, full);
	}
	for (int moment = 0; moment < MOMENTS; moment++)
		cancelled_once_it_may_call_again(moment);
}

int main(int argc, char **argv)
{
	struct CMUnitTest tests[apus_countof(rows)];

	for (size_t i = 0; i < apus_countof(rows); i++)
		tests[i] = (struct CMUnitTest){
			rows[i].name, run_row, NULL, NULL, (void *)(uintptr_t)&rows[i],
		};
	return test_main(argc, argv, tests);
}
