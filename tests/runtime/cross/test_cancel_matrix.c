/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/cross/test_cancel_matrix.c: every call of this folder that waits, cancelled at every
 * moment: before it is made, while it waits for room, on its way, while the other shard is at it, on
 * its way back, after; once and twice; with rings that are empty, and full.
 *
 * A row says how to make the call and what it gives. A moment is a number of turns after the call was
 * made. Whatever the moment: the outcome is the result or -ECANCELED, what came of it is in
 * accordance, the next call is served, and nothing is left.
 */
#include "tests/runtime/cross/cross_test.h"

#define MOMENTS 60

static unsigned int runs; /* of what the row has others run */

struct row {
	const char *name;
	int64_t (*call)(void);
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

/* A row is a line. */
/* clang-format off */
static const struct row rows[] = {
	{"call_on", call_call_on},
	{"call_on_oneself", call_call_on_oneself},
	{"on_all", call_on_all},
	{"map_reduce", call_map_reduce},
	{"post_to", call_post_to},
	{"message_send_wait", call_message_send_wait},
};
/* clang-format on */

static int64_t make_call(void *arg)
{
	return row->call();
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
	return row->call();
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
	if (is_full) {
		cross.stuck = 1u << 1;
		ok(cross_run(0, fill, NULL));
	}
}

static void close_world(void)
{
	cross.stuck = 0;
	ok(cross_run(0, make_call, NULL)); /* the next is served */
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
