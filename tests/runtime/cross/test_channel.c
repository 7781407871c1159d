/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/cross/test_channel.c: items between shards: order, bound, close, cancel, and a model
 * under chance.
 */
#include "tests/runtime/cross/cross_test.h"

#include "runtime/cross/channel.h"
#include "runtime/sync/select.h"

static const struct apus_cross_options slow = {.delay_ns = cross_delay};

#define SHARDS 4

static struct apus_channel *channel;

/* An item: who sent it, and its number there. */
static void *item_of(unsigned int sender, uint64_t number)
{
	return (void *)(uintptr_t)((uint64_t)sender << 32 | number);
}

static unsigned int sender_of(const void *item)
{
	return (unsigned int)((uintptr_t)item >> 32);
}

static uint32_t number_of(const void *item)
{
	return (uint32_t)(uintptr_t)item;
}

static int64_t open_channel(void *arg)
{
	return apus_channel_open((uint32_t)(intptr_t)arg, &channel);
}

static int64_t close_channel(void *arg)
{
	return apus_channel_close(channel);
}

static int64_t free_channel(void *arg)
{
	apus_channel_free(channel);
	return 0;
}

static void begin(unsigned int count, unsigned int home, uint32_t capacity)
{
	cross_open(count, &slow);
	ok(cross_run(home, open_channel, (void *)(intptr_t)capacity));
}

static void end(unsigned int home)
{
	ok(cross_run(home, free_channel, NULL));
	cross_close();
}

/* --- Order, bound -------------------------------------------------------------------------- */

#define EACH 500

static int64_t send_each(void *arg)
{
	for (uint32_t i = 1; i <= EACH; i++) {
		int rc = apus_channel_send(channel, item_of(apus_shard_index(), i));

		if (rc)
			return rc;
	}
	return 0;
}

/* `arg` items, each sender's in order. */
static int64_t recv_count(void *arg)
{
	uint32_t last[SHARDS] = {0};

	for (intptr_t left = (intptr_t)arg; left > 0; left--) {
		void *item;
		int rc = apus_channel_recv(channel, &item);

		if (rc)
			return rc;
		if (number_of(item) != last[sender_of(item)] + 1)
			return -EBADMSG;
		last[sender_of(item)]++;
	}
	return 0;
}

static void every_shard_sends_in_order(void **state)
{
	for (unsigned int home = 0; home < SHARDS; home++) {
		for (unsigned int to = 0; to < SHARDS; to++) {
			struct apus_task *t[SHARDS], *r;

			begin(SHARDS, home, 7);
			r = cross_spawn(to, recv_count, (void *)(intptr_t)(SHARDS * EACH));
			for (unsigned int i = 0; i < SHARDS; i++)
				t[i] = cross_spawn(i, send_each, NULL);
			for (unsigned int i = 0; i < SHARDS; i++)
				ok(cross_await(i, t[i]));
			ok(cross_await(to, r));
			end(home);
		}
	}
}

static int64_t recv_many(void *arg)
{
	void *items[64];
	uint32_t next = 1;
	int64_t calls = 0;

	while (next <= EACH) {
		int64_t n = apus_channel_recv_many(channel, items, apus_countof(items));

		if (n <= 0)
			return n;
		calls++;
		for (int64_t i = 0; i < n; i++)
			if (number_of(items[i]) != next++)
				return -EBADMSG;
	}
	return calls;
}

static void many_at_a_time_cost_few_calls(void **state)
{
	struct apus_task *r;

	begin(2, 0, 64);
	r = cross_spawn(1, recv_many, NULL);
	ok(cross_run(0, send_each, NULL));

	int64_t calls = cross_await(1, r);

	assert_true(calls >= EACH / 64 && calls < EACH / 8);
	end(0);
}

static uint32_t sent;

static int64_t send_counted(void *arg)
{
	for (;;) {
		int rc = apus_channel_send(channel, item_of(0, ++sent));

		if (rc) {
			sent--;
			return rc;
		}
	}
}

static int64_t recv_here_one(void *arg)
{
	void *item;

	return cross_outcome(apus_channel_recv(channel, &item));
}

static void turn_long(void)
{
	for (int i = 0; i < 300; i++) {
		apus_clock_set(&cross.clock, apus_clock_read(&cross.clock) + 100 * APUS_US);
		cross_turn();
	}
}

static void sender_waits_at_the_bound(void **state)
{
	for (unsigned int from = 0; from < 2; from++) {
		for (uint32_t capacity = 1; capacity < 10; capacity++) {
			begin(2, 0, capacity);
			sent = 0;

			struct apus_task *t = cross_spawn(from, send_counted, NULL);

			for (uint32_t received = 0; received < 20; received++) {
				turn_long();
				assert_int_equal(sent, received + capacity + 1); /* one waits */
				ok(cross_run(0, recv_here_one, NULL));
			}
			cross_cancel(from, t);
			assert_int_equal(cross_await(from, t), -ECANCELED);
			end(0);
		}
	}
}

static uint32_t arrived[8];
static size_t arrivals;

static int64_t send_one(void *arg)
{
	return cross_outcome(apus_channel_send(channel, arg));
}

static int64_t note_one(void *arg)
{
	void *item;
	int rc = apus_channel_recv(channel, &item);

	arrived[arrivals++] = number_of(item);
	return rc;
}

static void waiting_senders_of_a_shard_are_served_in_order(void **state)
{
	for (unsigned int from = 0; from < 2; from++) {
		struct apus_task *t[6];

		begin(2, 0, 1);
		arrivals = 0;
		for (uint32_t i = 0; i < 6; i++)
			t[i] = cross_spawn(from, send_one, item_of(0, i));
		turn_long();
		cross_cancel(from, t[2]);
		assert_int_equal(cross_await(from, t[2]), -ECANCELED);
		for (uint32_t i = 0; i < 5; i++)
			ok(cross_run(0, note_one, NULL));
		for (uint32_t i = 0; i < 6; i++)
			if (i != 2)
				ok(cross_await(from, t[i]));
		assert_int_equal(arrived[0], 0);
		assert_int_equal(arrived[1], 1);
		assert_int_equal(arrived[2], 3);
		assert_int_equal(arrived[3], 4);
		assert_int_equal(arrived[4], 5);
		end(0);
	}
}

static int64_t try_at_home(void *arg)
{
	void *item;

	if (apus_channel_try_recv(channel, &item) != -EAGAIN ||
	    apus_channel_try_send(channel, item_of(0, 1)) != 0 ||
	    apus_channel_try_send(channel, item_of(0, 2)) != 0 ||
	    apus_channel_try_send(channel, item_of(0, 3)) != -EAGAIN ||
	    apus_channel_try_recv(channel, &item) != 0 || number_of(item) != 1 ||
	    apus_channel_try_send(channel, item_of(0, 3)) != 0 ||
	    apus_channel_recv_many(channel, &item, 0) != -EINVAL)
		return -EBADMSG;
	return apus_channel_home(channel);
}

static int64_t try_away(void *arg)
{
	void *item;

	if (apus_channel_try_recv(channel, &item) != -EXDEV ||
	    apus_channel_try_send(channel, item_of(1, 1)) != 0 ||
	    apus_channel_try_send(channel, item_of(1, 2)) != 0 ||
	    apus_channel_try_send(channel, item_of(1, 3)) != -EAGAIN)
		return -EBADMSG;
	return apus_channel_home(channel);
}

static void try_does_not_wait(void **state)
{
	begin(2, 0, 2);
	ok(cross_run(0, try_at_home, NULL));
	ok(cross_run(1, try_away, NULL));
	end(0);
}

static int64_t select_readable(void *arg)
{
	int64_t items = 0;

	for (;;) {
		struct apus_select_case cases[] = {
			APUS_SELECT_EVENT(apus_channel_readable(channel)),
			APUS_SELECT_UNTIL(apus_now() + APUS_SEC),
		};
		void *item;

		if (apus_select(cases, 2) != 0)
			return -ETIMEDOUT;
		switch (apus_channel_try_recv(channel, &item)) {
		case 0:
			items++;
			break;
		case -EPIPE:
			return items;
		default:
			return -EBADMSG; /* it said that there was one */
		}
	}
}

static void channel_can_be_selected_on(void **state)
{
	begin(2, 1, 3);

	struct apus_task *r = cross_spawn(1, select_readable, NULL);

	ok(cross_run(0, send_each, NULL));
	ok(cross_run(0, close_channel, NULL));
	assert_int_equal(cross_await(1, r), EACH);
	end(1);
}

/* --- Close --------------------------------------------------------------------------------- */

static int64_t recv_until_closed(void *arg)
{
	int64_t items = 0;
	void *item;
	int rc;

	while (!(rc = apus_channel_recv(channel, &item)))
		items++;
	return rc == -EPIPE ? items : rc;
}

static void what_was_sent_before_close_is_received(void **state)
{
	for (unsigned int closer = 0; closer < SHARDS; closer++) {
		struct apus_task *t[SHARDS], *r;

		begin(SHARDS, 1, 100);
		sent = 0;
		for (unsigned int i = 0; i < SHARDS; i++)
			t[i] = cross_spawn(i, send_counted, NULL);
		for (int i = 0; i < 4; i++)
			cross_step();
		ok(cross_run(closer, close_channel, NULL));
		for (unsigned int i = 0; i < SHARDS; i++)
			assert_int_equal(cross_await(i, t[i]), -EPIPE);
		assert_true(sent > 0);
		r = cross_spawn(2, recv_until_closed, NULL);

		int64_t received = cross_run(closer, recv_until_closed, NULL);

		received += cross_await(2, r);
		assert_int_equal(received, sent);
		assert_int_equal(cross_run(closer, send_one, NULL), -EPIPE);
		assert_int_equal(cross_run(1, close_channel, NULL), 0);
		end(1);
	}
}

static void close_wakes_who_waits_to_receive(void **state)
{
	struct apus_task *t[SHARDS];

	begin(SHARDS, 1, 100);
	for (unsigned int i = 0; i < SHARDS; i++)
		t[i] = cross_spawn(i, recv_until_closed, NULL);
	turn_long();
	ok(cross_run(3, close_channel, NULL));
	for (unsigned int i = 0; i < SHARDS; i++)
		ok(cross_await(i, t[i]));
	end(1);
}

static void free_lets_go_who_waits_to_send(void **state)
{
	struct apus_task *t[SHARDS];

	begin(SHARDS, 0, 2);
	for (unsigned int i = 0; i < SHARDS; i++)
		t[i] = cross_spawn(i, send_each, NULL);
	turn_long();
	ok(cross_run(0, free_channel, NULL));
	for (unsigned int i = 0; i < SHARDS; i++)
		assert_int_equal(cross_await(i, t[i]), -EPIPE);
	cross_close();
}

static int64_t free_cancelled(void *arg)
{
	apus_task_cancel(apus_task_self());
	apus_channel_free(channel);
	return apus_yield();
}

static void cancel_of_a_free_is_for_the_next_wait(void **state)
{
	begin(SHARDS, 0, 2);
	ok(cross_run(3, send_one, NULL));
	assert_int_equal(cross_run(0, free_cancelled, NULL), -ECANCELED);
	cross_close();
}

static int64_t leave(void *arg)
{
	apus_cross_leave(apus_shard_self());
	return 0;
}

static void items_of_a_shard_that_left_are_received(void **state)
{
	begin(2, 0, EACH);
	ok(cross_run(1, send_each, NULL));
	ok(cross_run(1, leave, NULL));
	assert_int_equal(cross_run(1, send_one, NULL), -ESHUTDOWN);
	while (!apus_cross_has_left(cross.shards[1]))
		cross_step();
	cross.stuck = 1u << 1; /* it turns no more */
	ok(cross_run(0, recv_count, (void *)(intptr_t)EACH));
	ok(cross_run(0, close_channel, NULL));
	assert_int_equal(cross_run(0, recv_until_closed, NULL), 0);
	end(0);
}

static void home_that_left_is_an_error(void **state)
{
	begin(2, 0, 5);
	ok(cross_run(0, free_channel, NULL));
	ok(cross_run(0, open_channel, (void *)5));
	ok(cross_run(0, leave, NULL));
	while (!apus_cross_has_left(cross.shards[0]))
		cross_step();
	assert_int_equal(cross_run(1, send_one, NULL), -ESHUTDOWN);
	assert_int_equal(cross_run(1, recv_here_one, NULL), -ESHUTDOWN);
	assert_int_equal(cross_run(1, close_channel, NULL), -ESHUTDOWN);
	end(0);
}

static int64_t open_without_memory(void *arg)
{
	struct apus_heap *heap = apus_shard_heap(apus_shard_self());
	int rc;

	if (apus_channel_open(0, &channel) != -EINVAL ||
	    apus_channel_open(APUS_CHANNEL_CAPACITY_MAX + 1, &channel) != -EINVAL)
		return -EBADMSG;
	apus_heap_fail_after(heap, 0);
	rc = apus_channel_open(8, &channel);
	apus_heap_fail_after(heap, -1);
	return rc;
}

static void open_without_memory_is_an_error(void **state)
{
	cross_open(2, NULL);
	assert_int_equal(cross_run(0, open_without_memory, NULL), -ENOMEM);
	cross_close();
}

static int64_t one_shard(void *arg)
{
	void *item;

	if (apus_channel_open(1, &channel) || apus_channel_send(channel, item_of(0, 5)) ||
	    apus_channel_recv(channel, &item) || number_of(item) != 5)
		return -EBADMSG;
	apus_channel_free(channel);
	return 0;
}

static void without_a_fabric_there_is_one_shard(void **state)
{
	struct apus_shard *shard;

	ok(apus_shard_open(&(struct apus_shard_options){.core = -1, .seed = 1}, &shard));
	apus_shard_enter(shard);

	struct apus_task *t = apus_spawn(one_shard, NULL);

	apus_shard_run(shard, t);
	ok(apus_task_result(t));
	apus_detach(t);
	apus_shard_enter(NULL);
	apus_shard_close(shard);
}

/* --- Cancel at every moment ----------------------------------------------------------------- */

/*
 * A call is cancelled after k turns of a shard, for every k until it ends by itself. Whatever
 * comes of it: an item whose send said 0 is received once; one whose send said -ECANCELED never is.
 */
static void small_step(unsigned int i)
{
	int64_t next_ns = cross_next_ns();

	if (next_ns != APUS_NEVER && next_ns > apus_clock_read(&cross.clock))
		apus_clock_set(&cross.clock, next_ns);
	apus_shard_enter(cross.shards[i % cross.count]);
	apus_shard_turn(cross.shards[i % cross.count]);
	apus_shard_enter(NULL);
}

static void cancel_a_send_after(unsigned int from, unsigned int steps, bool *was_done)
{
	begin(3, 0, 1);
	ok(cross_run(from, send_one, item_of(from, 1)));

	struct apus_task *t = cross_spawn(from, send_one, item_of(from, 2)); /* has to wait */
	struct apus_task *r = cross_spawn(2, recv_here_one, NULL);

	for (unsigned int i = 0; i < steps; i++)
		small_step(i);
	*was_done = apus_task_done(t);
	cross_cancel(from, t);
	ok(cross_await(2, r));

	int64_t rc = cross_await(from, t);

	assert_true(rc == 0 || rc == -ECANCELED);
	assert_true(rc == 0 || !*was_done);
	ok(cross_run(0, close_channel, NULL));
	assert_int_equal(cross_run(0, recv_until_closed, NULL), rc == 0);
	end(0);
}

static void cancel_a_recv_after(unsigned int to, unsigned int steps, bool *was_done)
{
	begin(3, 0, 1);

	struct apus_task *r = cross_spawn(to, recv_here_one, NULL);
	struct apus_task *t = cross_spawn(2, send_one, item_of(2, 1));

	for (unsigned int i = 0; i < steps; i++)
		small_step(i);
	*was_done = apus_task_done(r);
	cross_cancel(to, r);

	int64_t rc = cross_await(to, r);

	assert_true(rc == 0 || rc == -ECANCELED);
	ok(cross_await(2, t));
	ok(cross_run(0, close_channel, NULL));
	assert_int_equal(cross_run(0, recv_until_closed, NULL), rc != 0);
	end(0);
}

static void cancel_at_every_moment_loses_nothing(void **state)
{
	for (unsigned int shard = 0; shard < 2; shard++) {
		bool was_done = false;
		unsigned int steps = 0;

		for (; !was_done; steps++)
			cancel_a_send_after(shard, steps, &was_done);
		assert_true(steps > 3);
		was_done = false;
		for (steps = 0; !was_done; steps++)
			cancel_a_recv_after(shard, steps, &was_done);
		assert_true(steps > 3);
	}
}

/* --- The model ------------------------------------------------------------------------------ */

/*
 * Sixteen senders and twelve receivers on four shards, messages delayed by chance, cancels by chance,
 * a close in the middle of it. Each number of each sender is received as often as its send said 0.
 */
#define SENDERS   16
#define RECEIVERS 12
#define PER_RUN   400 /* sends of each sender, tried */

static uint8_t said[SENDERS][PER_RUN + 1], seen[SENDERS][PER_RUN + 1];
static uint32_t last_seen[RECEIVERS][SENDERS];
static uint32_t operations;
static bool out_of_order;

static int64_t any_sender(void *arg)
{
	struct apus_random *random = apus_shard_random(apus_shard_self());
	unsigned int me = (unsigned int)(intptr_t)arg;

	for (uint32_t i = 1; i <= PER_RUN; i++) {
		int rc;

		operations++;
		if (apus_random_below(random, 8) == 0)
			rc = apus_channel_try_send(channel, item_of(me, i));
		else
			rc = apus_channel_send(channel, item_of(me, i));
		said[me][i] = rc == 0;
		if (rc == -EPIPE)
			return 0;
		if (apus_random_below(random, 16) == 0)
			(void)!apus_sleep((int64_t)apus_random_below(random, 200 * APUS_US));
	}
	return 0;
}

static int64_t any_receiver(void *arg)
{
	struct apus_random *random = apus_shard_random(apus_shard_self());
	unsigned int me = (unsigned int)(intptr_t)arg;
	void *items[8];

	for (;;) {
		int64_t n =
			apus_channel_recv_many(channel, items, 1 + apus_random_below(random, 8));

		operations++;
		if (n == -EPIPE)
			return cross_outcome(0);
		for (int64_t i = 0; i < n; i++) {
			unsigned int from = sender_of(items[i]);

			seen[from][number_of(items[i])]++;
			out_of_order |= number_of(items[i]) <= last_seen[me][from];
			last_seen[me][from] = number_of(items[i]);
		}
		if (apus_random_below(random, 8) == 0)
			(void)!apus_sleep((int64_t)apus_random_below(random, 100 * APUS_US));
	}
}

static void run_model(uint64_t seed)
{
	struct apus_task *senders[SENDERS], *receivers[RECEIVERS];
	struct apus_random *random = &cross.random;
	unsigned int home;
	bool is_closed = false;

	memset(said, 0, sizeof(said));
	memset(seen, 0, sizeof(seen));
	memset(last_seen, 0, sizeof(last_seen));
	cross_open_seed(SHARDS, &slow, seed);
	home = (unsigned int)apus_random_below(random, SHARDS);
	ok(cross_run(home, open_channel, (void *)(1 + apus_random_below(random, 20))));
	for (unsigned int i = 0; i < SENDERS; i++)
		senders[i] = cross_spawn(i % SHARDS, any_sender, (void *)(intptr_t)i);
	for (unsigned int i = 0; i < RECEIVERS; i++)
		receivers[i] = cross_spawn(i % SHARDS, any_receiver, (void *)(intptr_t)i);
	for (unsigned int left = SENDERS; left;) {
		assert_true(cross_step());
		if (apus_random_below(random, 4) == 0) {
			unsigned int i = (unsigned int)apus_random_below(random, SENDERS);

			cross_cancel(i % SHARDS, senders[i]);
		}
		if (apus_random_below(random, 4) == 0) {
			unsigned int i = (unsigned int)apus_random_below(random, RECEIVERS);

			cross_cancel(i % SHARDS, receivers[i]);
		}
		if (!is_closed && apus_random_below(random, 3000) == 0) {
			is_closed = true;
			ok(cross_run((unsigned int)apus_random_below(random, SHARDS), close_channel,
				     NULL));
		}
		left = 0;
		for (unsigned int i = 0; i < SENDERS; i++)
			left += !apus_task_done(senders[i]);
	}
	ok(cross_run(home, close_channel, NULL));
	for (unsigned int i = 0; i < SENDERS; i++)
		ok(cross_await(i % SHARDS, senders[i]));
	for (unsigned int i = 0; i < RECEIVERS; i++)
		ok(cross_await(i % SHARDS, receivers[i]));
	assert_memory_equal(said, seen, sizeof(said));
	assert_false(out_of_order);
	end(home);
}

static void random_operations_agree_with_the_model(void **state)
{
	operations = 0;
	test_each_seed(seed, 40) run_model(seed);
	if (!test_seeds.only && !test_seeds.count && !test_is_slow())
		assert_true(operations > 100000);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_shard_sends_in_order),
		cmocka_unit_test(many_at_a_time_cost_few_calls),
		cmocka_unit_test(sender_waits_at_the_bound),
		cmocka_unit_test(waiting_senders_of_a_shard_are_served_in_order),
		cmocka_unit_test(try_does_not_wait),
		cmocka_unit_test(channel_can_be_selected_on),
		cmocka_unit_test(what_was_sent_before_close_is_received),
		cmocka_unit_test(close_wakes_who_waits_to_receive),
		cmocka_unit_test(free_lets_go_who_waits_to_send),
		cmocka_unit_test(cancel_of_a_free_is_for_the_next_wait),
		cmocka_unit_test(items_of_a_shard_that_left_are_received),
		cmocka_unit_test(home_that_left_is_an_error),
		cmocka_unit_test(open_without_memory_is_an_error),
		cmocka_unit_test(without_a_fabric_there_is_one_shard),
		cmocka_unit_test(cancel_at_every_moment_loses_nothing),
		cmocka_unit_test(random_operations_agree_with_the_model),
	};

	return test_main(argc, argv, tests);
}
