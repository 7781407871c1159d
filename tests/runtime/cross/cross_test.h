/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/cross/cross_test.h: several shards in one thread, joined, on one virtual clock.
 *
 * cross_open(n, &options) opens them, cross_run(shard, fn, arg) spawns a task on one of them and
 * turns all, in an order that chance decides, until it has ended. When no shard has anything to do the
 * clock jumps to the next event; if there is none the test fails: a deadlock. cross_close() wants
 * every task ended, every message taken, and as many objects on each heap as in the beginning.
 *
 * Chance is `cross.random`, of a seed; cross_delay is the hook that delays what goes between shards.
 */
#ifndef APUS_TESTS_RUNTIME_CROSS_CROSS_TEST_H
#define APUS_TESTS_RUNTIME_CROSS_CROSS_TEST_H

#include "tests/runtime/base_test.h"

#include "runtime/cross/call.h"
#include "runtime/cross/internal.h"
#include "runtime/cross/mailbox.h"

#define CROSS_SHARDS_MAX 64
#define CROSS_START_NS   APUS_SEC

static struct {
	struct apus_clock clock;
	struct apus_random random;
	struct apus_shard *shards[CROSS_SHARDS_MAX];
	uint64_t live[CROSS_SHARDS_MAX]; /* objects on its heap in the beginning */
	unsigned int count;
	uint64_t stuck; /* bits: shards that do not turn */
	struct apus_cross *cross;
} cross;

#define ok(call) assert_int_equal(call, 0)

/* 0 to 50 us, now and then a millisecond. */
APUS_UNUSED static int64_t cross_delay(void *arg, unsigned int from, unsigned int to)
{
	int64_t ns = (int64_t)apus_random_below(&cross.random, 50 * APUS_US);

	return apus_random_chance(&cross.random, 20000) ? ns + APUS_MS : ns;
}

APUS_UNUSED static void cross_open_seed(unsigned int count,
					const struct apus_cross_options *options, uint64_t seed)
{
	struct apus_shard_options o = {.core = -1, .clock = &cross.clock};

	cross.count = count;
	cross.stuck = 0;
	apus_random_init_seed(&cross.random, seed);
	apus_clock_init_virtual(&cross.clock, CROSS_START_NS);
	for (unsigned int i = 0; i < count; i++) {
		o.seed = seed * 1000 + i + 1;
		ok(apus_shard_open(&o, &cross.shards[i]));
	}
	ok(apus_cross_open(cross.shards, count, options, &cross.cross));
	for (unsigned int i = 0; i < count; i++)
		cross.live[i] = apus_shard_heap(cross.shards[i])->live;
}

APUS_UNUSED static void cross_open(unsigned int count, const struct apus_cross_options *options)
{
	cross_open_seed(count, options, 1);
}

/* What holds of a port between two turns. */
static void cross_check_port(const struct apus_cross_port *port)
{
	unsigned int dirty = 0;

	for (unsigned int i = 0; i < port->count; i++) {
		const struct apus_cross_peer *peer = &port->peers[i];
		bool waits = peer->replies || !apus_list_empty(&peer->requests);

		if (i == port->index)
			continue;
		dirty += peer->is_dirty;
		assert_int_equal(peer->staged_count, 0); /* all was published */
		assert_true(peer->out.head - peer->out.freed->lines <= peer->out.mask + 1);
		assert_true(!waits || peer->is_dirty); /* or nobody will look after it */
		assert_true(!waits || peer->out.head - peer->out.freed_seen + 2 > peer->out.mask);
		assert_true(peer->posts_out <= port->cross->options.posts_max);
	}
	assert_int_equal(dirty, port->dirty_count);
	assert_null(port->started);
	assert_int_equal(port->sleep.state, APUS_CROSS_AWAKE);
}

/* Each shard turns once, from one that chance picks on. Return: false if none had anything to do. */
static bool cross_turn(void)
{
	unsigned int first = (unsigned int)apus_random_below(&cross.random, cross.count);
	bool any = false;

	for (unsigned int i = 0; i < cross.count; i++) {
		unsigned int k = (first + i) % cross.count;

		if (cross.stuck >> k & 1)
			continue;
		apus_shard_enter(cross.shards[k]);
		any |= apus_shard_turn(cross.shards[k]);
		cross_check_port(&cross.cross->ports[k]);
	}
	apus_shard_enter(NULL);
	return any;
}

static int64_t cross_next_ns(void)
{
	int64_t next_ns = APUS_NEVER;

	for (unsigned int k = 0; k < cross.count; k++) {
		if (cross.stuck >> k & 1)
			continue;
		apus_shard_enter(cross.shards[k]);

		int64_t ns = apus_shard_next_ns(cross.shards[k]);

		next_ns = apus_min(next_ns, ns);
	}
	apus_shard_enter(NULL);
	return next_ns;
}

/* A turn of all, after the jump to the next event. Return: false if nothing will ever happen again. */
APUS_UNUSED static bool cross_step(void)
{
	int64_t next_ns = cross_next_ns();

	if (next_ns == APUS_NEVER)
		return false;
	if (next_ns > apus_clock_read(&cross.clock))
		apus_clock_set(&cross.clock, next_ns);
	cross_turn();
	return true;
}

APUS_UNUSED static struct apus_task *cross_spawn(unsigned int shard, apus_task_fn fn, void *arg)
{
	apus_shard_enter(cross.shards[shard]);

	struct apus_task *t = apus_spawn(fn, arg);

	apus_shard_enter(NULL);
	return t;
}

APUS_UNUSED static void cross_cancel(unsigned int shard, struct apus_task *t)
{
	apus_shard_enter(cross.shards[shard]);
	apus_task_cancel(t);
	apus_shard_enter(NULL);
}

/*
 * What a call gave, as the result of the task that made it: a cancel that came too late for the call
 * is told by the next wait, which is here, and not by the end of the task.
 */
APUS_UNUSED static int64_t cross_outcome(int64_t rc)
{
	(void)!apus_yield();
	return rc;
}

/* Consumes the handle. */
APUS_UNUSED static int64_t cross_await(unsigned int shard, struct apus_task *t)
{
	assert_non_null(t);
	for (uint64_t turns = 0; !apus_task_done(t); turns++) {
		if (!cross_step())
			fail_msg("deadlock: '%llu' of shard %u waits, and nothing will happen",
				 (unsigned long long)apus_task_id(t), shard);
		if (turns > 50000000)
			fail_msg("the task does not end");
	}
	apus_shard_enter(cross.shards[shard]);

	int64_t rc = apus_task_result(t);

	apus_detach(t);
	apus_shard_enter(NULL);
	return rc;
}

APUS_UNUSED static int64_t cross_run(unsigned int shard, apus_task_fn fn, void *arg)
{
	return cross_await(shard, cross_spawn(shard, fn, arg));
}

/* Until no task is left and nothing is on its way. */
APUS_UNUSED static void cross_drain(void)
{
	while (cross_step())
		;
	for (unsigned int i = 0; i < cross.count; i++)
		assert_int_equal(apus_shard_tasks(cross.shards[i]), 0);
}

APUS_UNUSED static uint64_t cross_counter(unsigned int shard, enum apus_cross_counter counter)
{
	return cross.cross->ports[shard].counters[counter];
}

APUS_UNUSED static void cross_close(void)
{
	cross_drain();
	for (unsigned int i = 0; i < cross.count; i++) {
		const struct apus_cross_port *port = &cross.cross->ports[i];

		assert_int_equal(port->calls_out, 0);
		assert_int_equal(port->calls_in, 0);
		assert_int_equal(port->dirty_count, 0);
		for (unsigned int j = 0; j < cross.count; j++)
			assert_int_equal(port->peers[j].posts_out, 0);
		assert_int_equal(apus_shard_heap(cross.shards[i])->live, cross.live[i]);
	}
	apus_cross_close(cross.cross);
	for (unsigned int i = 0; i < cross.count; i++)
		apus_shard_close(cross.shards[i]);
}

#endif
