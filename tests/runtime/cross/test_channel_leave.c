/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/cross/test_channel_leave.c: tasks wait in a send while a shard leaves the fabric: the
 * channel's home, or their own. Nobody waits for ever, and the memory outlasts who is in it.
 */
#include "tests/runtime/cross/cross_test.h"

#include "runtime/cross/channel.h"

static const struct apus_cross_options slow = {.delay_ns = cross_delay};

#define SENDERS 3 /* on each shard but home, 0; there is room for one item */
#define MOMENTS 40

static struct apus_channel *channel;
static unsigned int said, received; /* items that a send said 0 to, and those that came out */

static int64_t open_channel(void *arg)
{
	said = received = 0;
	return apus_channel_open(1, &channel);
}

static int64_t free_channel(void *arg)
{
	void *item;

	while (apus_channel_try_recv(channel, &item) == 0)
		received++;
	apus_channel_free(channel);
	return 0;
}

/* Until it is told that there is nobody any more. */
static int64_t send_for_ever(void *arg)
{
	int rc;

	while ((rc = apus_channel_send(channel, &channel)) == 0)
		said++;
	return rc;
}

static int64_t leave(void *arg)
{
	apus_cross_leave(apus_shard_self());
	return 0;
}

static int64_t receive_some(void *arg)
{
	void *item;

	for (intptr_t i = 0; i < (intptr_t)arg; i++, received++)
		if (apus_channel_recv(channel, &item))
			return -EBADE;
	return 0;
}

struct scene {
	struct apus_task *senders[2][SENDERS];
	struct apus_task *receiver;
};

/* Three shards; the senders of two of them wait in the channel of the first. */
static void begin(struct scene *s, unsigned int moment, const struct apus_cross_options *options)
{
	cross_open_seed(3, options, moment + 1);
	ok(cross_run(0, open_channel, NULL));
	s->receiver = cross_spawn(0, receive_some, (void *)(intptr_t)(moment % 5));
	for (unsigned int shard = 1; shard < 3; shard++)
		for (int i = 0; i < SENDERS; i++)
			s->senders[shard - 1][i] = cross_spawn(shard, send_for_ever, NULL);
	for (unsigned int i = 0; i < moment; i++)
		cross_step();
}

static void all_end_with(struct scene *s, unsigned int shard, int64_t rc)
{
	for (int i = 0; i < SENDERS; i++)
		assert_int_equal(cross_await(shard, s->senders[shard - 1][i]), rc);
}

static void senders_are_told_when_home_leaves(void **state)
{
	for (unsigned int moment = 0; moment < MOMENTS; moment++) {
		struct scene s;

		begin(&s, moment, &slow);
		ok(cross_await(0, s.receiver));
		ok(cross_run(0, leave, NULL));
		for (unsigned int shard = 1; shard < 3; shard++)
			all_end_with(&s, shard, -ESHUTDOWN);
		ok(cross_run(0, free_channel, NULL));
		assert_true(said >= received); /* the rest was left in it */
		cross_close();
	}
}

static void senders_are_told_when_their_own_shard_leaves(void **state)
{
	for (unsigned int moment = 0; moment < MOMENTS; moment++) {
		struct scene s;

		begin(&s, moment, &slow);
		ok(cross_await(0, s.receiver));
		ok(cross_run(1, leave, NULL));
		all_end_with(&s, 1, -ESHUTDOWN);

		struct apus_task *t = cross_spawn(0, free_channel, NULL);

		all_end_with(&s, 2, -EPIPE); /* which had not to be told of the other's leaving */
		ok(cross_await(0, t));
		assert_true(said >= received);
		cross_close();
	}
}

static void turn(unsigned int shard)
{
	apus_shard_enter(cross.shards[shard]);
	apus_shard_turn(cross.shards[shard]);
	apus_shard_enter(NULL);
}

/* Home frees the channel when it hears that a shard leaves, whose tasks may still be inside. */
static void free_waits_for_who_is_inside_of_a_shard_that_leaves(void **state)
{
	for (unsigned int moment = 0; moment < MOMENTS; moment++) {
		for (unsigned int late = 0; late < 4; late++) {
			struct apus_task *leaver, *freer;
			struct scene s;

			begin(&s, moment, NULL);
			ok(cross_await(0, s.receiver));
			leaver = cross_spawn(1, leave, NULL);
			turn(1); /* others hear of it; its tasks will, in the next turn */
			freer = cross_spawn(0, free_channel, NULL);
			for (unsigned int i = 0; i < 4; i++)
				turn(i < late ? 2 : 0);
			ok(cross_await(1, leaver));
			all_end_with(&s, 1, -ESHUTDOWN);
			all_end_with(&s, 2, -EPIPE);
			ok(cross_await(0, freer));
			cross_close();
		}
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(senders_are_told_when_home_leaves),
		cmocka_unit_test(senders_are_told_when_their_own_shard_leaves),
		cmocka_unit_test(free_waits_for_who_is_inside_of_a_shard_that_leaves),
	};

	return test_main(argc, argv, tests);
}
