/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/cross/test_mailbox.c: messages between shards in one thread: order, room, waiting for
 * it, coming back, and parting.
 */
#include "tests/runtime/cross/cross_test.h"

struct note {
	struct apus_message message;
	unsigned int number;
	unsigned int at; /* the shard it ran on last */
};

static struct {
	unsigned int order[8192];
	unsigned int count;
} seen;

static void see(struct apus_message *message)
{
	struct note *n = apus_container_of(message, struct note, message);

	n->at = apus_shard_index();
	seen.order[seen.count++] = n->number;
}

static void see_and_return(struct apus_message *message)
{
	if (apus_container_of(message, struct note, message)->number % 2)
		see(message);
	message->fn = see;
	apus_message_reply(message);
}

static struct note notes[4096];

static void init_notes(apus_message_fn fn)
{
	seen.count = 0;
	for (unsigned int i = 0; i < apus_countof(notes); i++)
		notes[i] = (struct note){.message.fn = fn, .number = i, .at = 99};
}

static int64_t look_around(void *arg)
{
	assert_int_equal(apus_shard_count(), 3);
	return apus_shard_index();
}

static void shards_know_their_number(void **state)
{
	cross_open(3, NULL);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(cross_run(i, look_around, NULL), i);
	cross_close();
}

static int64_t send_five(void *arg)
{
	for (int i = 0; i < 5; i++)
		ok(apus_message_send(1, &notes[i].message));
	return 0;
}

static void message_runs_on_the_other_shard_in_order(void **state)
{
	init_notes(see);
	cross_open(2, NULL);
	ok(cross_run(0, send_five, NULL));
	cross_drain();
	assert_int_equal(seen.count, 5);
	for (unsigned int i = 0; i < 5; i++) {
		assert_int_equal(seen.order[i], i);
		assert_int_equal(notes[i].at, 1);
	}
	assert_int_equal(cross_counter(0, APUS_CROSS_LINES_OUT), 1); /* one line for the turn */
	cross_close();
}

static int64_t send_to(void *arg)
{
	return apus_message_send((unsigned int)(intptr_t)arg, &notes[0].message);
}

static void message_to_oneself_runs_in_the_next_turn(void **state)
{
	init_notes(see);
	cross_open(2, NULL);
	ok(cross_run(1, send_to, (void *)1));
	cross_drain();
	assert_int_equal(notes[0].at, 1);
	cross_close();
}

static void message_to_nobody_is_an_error(void **state)
{
	init_notes(see);
	cross_open(2, NULL);
	assert_int_equal(cross_run(1, send_to, (void *)2), -EINVAL);
	cross_close();
}

static void reply_comes_back_to_the_sender(void **state)
{
	init_notes(see_and_return);
	cross_open(2, NULL);
	ok(cross_run(0, send_to, (void *)1));
	cross_drain();
	assert_int_equal(notes[0].at, 0);
	assert_int_equal(notes[0].message.from, 1);
	cross_close();
}

static int64_t send_until_full(void *arg)
{
	int rc = 0;
	unsigned int i;

	for (i = 0; i < apus_countof(notes) && !rc; i++)
		rc = apus_message_send(1, &notes[i].message);
	assert_int_equal(rc, -EAGAIN);
	return i - 1;
}

static void full_ring_is_an_error_and_takes_no_memory(void **state)
{
	init_notes(see);
	cross_open(2, &(struct apus_cross_options){.ring_lines = 16});
	cross.stuck = 1 << 1;
	assert_int_equal(cross_run(0, send_until_full, NULL), 16 * APUS_RING_WORDS);
	assert_int_equal(cross_counter(0, APUS_CROSS_FULL), 1);
	cross.stuck = 0;
	cross_drain();
	assert_int_equal(seen.count, 16 * APUS_RING_WORDS);
	cross_close();
}

static int64_t send_all_waiting(void *arg)
{
	for (unsigned int i = 0; i < apus_countof(notes); i++)
		ok(apus_message_send_wait(1, &notes[i].message));
	return 0;
}

static void full_ring_parks_the_task_and_all_arrive_in_order(void **state)
{
	init_notes(see);
	cross_open(2, &(struct apus_cross_options){.ring_lines = 8, .delay_ns = cross_delay});
	ok(cross_run(0, send_all_waiting, NULL));
	cross_drain();
	assert_int_equal(seen.count, apus_countof(notes));
	for (unsigned int i = 0; i < seen.count; i++)
		assert_int_equal(seen.order[i], i);
	assert_true(cross_counter(0, APUS_CROSS_REQUESTS_WAITED) > 0);
	cross_close();
}

static int64_t send_one_waiting(void *arg)
{
	struct note *n = arg;

	return apus_message_send_wait(1, &n->message);
}

static void waiting_senders_are_served_first_come_first_served(void **state)
{
	struct apus_task *tasks[20];

	init_notes(see);
	cross_open(2, &(struct apus_cross_options){.ring_lines = 8});
	cross.stuck = 1 << 1;
	assert_int_equal(cross_run(0, send_until_full, NULL), 56);
	for (unsigned int i = 0; i < 20; i++)
		tasks[i] = cross_spawn(0, send_one_waiting, &notes[56 + i]);
	for (int i = 0; i < 3; i++)
		cross_turn();
	cross_cancel(0, tasks[3]);
	cross_cancel(0, tasks[19]);
	assert_int_equal(cross_await(0, tasks[3]), -ECANCELED);
	assert_int_equal(cross_await(0, tasks[19]), -ECANCELED);
	cross.stuck = 0;
	for (unsigned int i = 0; i < 19; i++)
		if (i != 3)
			ok(cross_await(0, tasks[i]));
	cross_drain();
	assert_int_equal(seen.count, 56 + 18);
	for (unsigned int i = 0; i < seen.count; i++)
		assert_int_equal(seen.order[i], i < 56 + 3 ? i : i + 1);
	cross_close();
}

static int64_t send_and_say(void *arg)
{
	struct note *n = arg;

	return apus_message_send(1, &n->message);
}

static void message_that_finds_room_does_not_overtake_one_that_waits(void **state)
{
	init_notes(see);
	cross_open(2, &(struct apus_cross_options){.ring_lines = 8});
	cross.stuck = 1 << 1;
	assert_int_equal(cross_run(0, send_until_full, NULL), 56);

	struct apus_task *waits = cross_spawn(0, send_one_waiting, &notes[56]), *next;

	cross_turn();
	cross.stuck = 1 << 0;
	cross_turn(); /* now there is room, and nobody was told */
	cross.stuck = 0;
	next = cross_spawn(0, send_and_say, &notes[57]);
	assert_int_equal(cross_await(0, next), -EAGAIN);
	ok(cross_await(0, waits));
	cross_drain();
	assert_int_equal(seen.count, 57);
	assert_int_equal(seen.order[56], 56);
	cross_close();
}

/* In simulation messages take their time. */

static int64_t ten_ms_from_0(void *arg, unsigned int from, unsigned int to)
{
	return from == 0 ? 10 * APUS_MS : APUS_MS;
}

static int64_t shrinking(void *arg, unsigned int from, unsigned int to)
{
	int64_t *ns = arg;

	return *ns -= APUS_MS;
}

static int64_t send_note(void *arg)
{
	unsigned int from = apus_shard_index();

	return apus_message_send(2, &notes[from].message);
}

static void delays_reorder_between_pairs(void **state)
{
	init_notes(see);
	cross_open(3, &(struct apus_cross_options){.delay_ns = ten_ms_from_0});
	ok(cross_run(0, send_note, NULL));
	ok(cross_run(1, send_note, NULL));
	cross_drain();
	assert_int_equal(apus_clock_read(&cross.clock), CROSS_START_NS + 10 * APUS_MS);
	assert_int_equal(seen.count, 2);
	assert_int_equal(seen.order[0], 1); /* it was sent later */
	cross_close();
}

static int64_t send_five_turns(void *arg)
{
	for (int i = 0; i < 5; i++) {
		ok(apus_message_send(1, &notes[i].message));
		ok(apus_yield());
	}
	return 0;
}

static void delays_do_not_reorder_a_pair(void **state)
{
	int64_t ns = 20 * APUS_MS;

	init_notes(see);
	cross_open(2, &(struct apus_cross_options){.delay_ns = shrinking, .delay_arg = &ns});
	ok(cross_run(0, send_five_turns, NULL));
	cross_drain();
	assert_int_equal(seen.count, 5);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(seen.order[i], i);
	cross_close();
}

/* Every message goes there and back while both rings are full: none is lost, none fails. */
static int64_t flood(void *arg)
{
	unsigned int self = apus_shard_index(), to = 1 - self;

	for (unsigned int i = 0; i < 2000; i++)
		ok(apus_message_send_wait(to, &notes[self * 2048 + i].message));
	return 0;
}

static void replies_need_no_room(void **state)
{
	init_notes(see_and_return);
	cross_open(2, &(struct apus_cross_options){.ring_lines = 8, .delay_ns = cross_delay});

	struct apus_task *a = cross_spawn(0, flood, NULL), *b = cross_spawn(1, flood, NULL);

	ok(cross_await(0, a));
	ok(cross_await(1, b));
	cross_drain();
	for (unsigned int i = 0; i < 2000; i++) {
		assert_int_equal(notes[i].at, 0);
		assert_int_equal(notes[2048 + i].at, 1);
	}
	assert_true(cross_counter(0, APUS_CROSS_REPLIES_WAITED) > 0);
	cross_close();
}

static void leave(unsigned int shard)
{
	apus_shard_enter(cross.shards[shard]);
	apus_cross_leave(cross.shards[shard]);
	apus_shard_enter(NULL);
}

static void message_to_a_shard_that_leaves_arrives_while_it_turns(void **state)
{
	init_notes(see);
	cross_open(3, &(struct apus_cross_options){.delay_ns = cross_delay});
	leave(1);
	assert_false(apus_cross_has_left(cross.shards[1]));
	cross_drain();
	assert_true(apus_cross_has_left(cross.shards[1]));
	ok(cross_run(0, send_to, (void *)1));
	cross_drain();
	assert_int_equal(notes[0].at, 1);
	ok(cross_run(1, send_to, (void *)2));
	cross_drain();
	assert_int_equal(notes[0].at, 2);
	assert_int_equal(cross_run(0, send_one_waiting, &notes[1]), -ESHUTDOWN);
	cross_close();
}

static void shards_leave_one_after_another_and_are_closed(void **state)
{
	cross_open(4, &(struct apus_cross_options){.delay_ns = cross_delay});
	for (unsigned int i = 3; i < 4; i--) {
		leave(i);
		while (!apus_cross_has_left(cross.shards[i]))
			assert_true(cross_step());
		apus_shard_enter(cross.shards[i]);
		apus_shard_close(cross.shards[i]);
		apus_shard_enter(NULL);
		cross.count = i;
	}
	apus_cross_close(cross.cross);
}

static void shards_leave_all_at_once(void **state)
{
	cross_open(4, &(struct apus_cross_options){.delay_ns = cross_delay});
	for (unsigned int i = 0; i < 4; i++)
		leave(i);
	cross_drain();
	for (unsigned int i = 0; i < 4; i++)
		assert_true(apus_cross_has_left(cross.shards[i]));
	cross_close();
}

static void bad_options_and_shards_are_refused(void **state)
{
	struct apus_cross *second;

	cross_open(2, NULL);
	assert_int_equal(apus_cross_open(cross.shards, 2, NULL, &second), -EBUSY);
	assert_int_equal(apus_cross_open(cross.shards, 0, NULL, &second), -EINVAL);
	assert_int_equal(apus_cross_open(cross.shards, 2,
					 &(struct apus_cross_options){.ring_lines = 12}, &second),
			 -EINVAL);
	cross_close();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shards_know_their_number),
		cmocka_unit_test(message_runs_on_the_other_shard_in_order),
		cmocka_unit_test(message_to_oneself_runs_in_the_next_turn),
		cmocka_unit_test(message_to_nobody_is_an_error),
		cmocka_unit_test(reply_comes_back_to_the_sender),
		cmocka_unit_test(full_ring_is_an_error_and_takes_no_memory),
		cmocka_unit_test(full_ring_parks_the_task_and_all_arrive_in_order),
		cmocka_unit_test(waiting_senders_are_served_first_come_first_served),
		cmocka_unit_test(message_that_finds_room_does_not_overtake_one_that_waits),
		cmocka_unit_test(delays_reorder_between_pairs),
		cmocka_unit_test(delays_do_not_reorder_a_pair),
		cmocka_unit_test(replies_need_no_room),
		cmocka_unit_test(message_to_a_shard_that_leaves_arrives_while_it_turns),
		cmocka_unit_test(shards_leave_one_after_another_and_are_closed),
		cmocka_unit_test(shards_leave_all_at_once),
		cmocka_unit_test(bad_options_and_shards_are_refused),
	};

	return test_main(argc, argv, tests);
}
