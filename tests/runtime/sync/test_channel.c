/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/test_channel.c: oneshot, watch and broadcast: who gets which value, and what a
 * slow receiver, a close and a cancel do to it.
 */
#include "tests/runtime/runtime_test.h"

#include "runtime/sync/channel.h"

static struct apus_oneshot oneshot;
static struct apus_watch watch;
static struct apus_broadcast broadcast;

static void *as_value(int64_t value)
{
	return (void *)(intptr_t)value;
}

static int open_channels(void **state)
{
	apus_oneshot_init(&oneshot);
	apus_watch_init(&watch, as_value(100));
	return test_open(state);
}

#define channel_test(name) shard_test_with(name, open_channels)

static void emit_received(const char *name, int64_t rc, const void *value)
{
	if (rc == -ECANCELED)
		emit("%s CE", name);
	else if (rc == -EPIPE)
		emit("%s EPIPE", name);
	else if (rc)
		emit("%s %lld lost %lld", name, (long long)(intptr_t)value, (long long)rc);
	else
		emit("%s %lld", name, (long long)(intptr_t)value);
}

/* Oneshot. */

static int64_t receive_one(void *arg)
{
	void *value = NULL;
	int rc = apus_oneshot_recv(&oneshot, &value);

	emit_received(arg, rc, value);
	return rc;
}

static void value_sent_before_is_received_without_a_lap(void **state)
{
	struct apus_task *t;

	ok(apus_oneshot_send(&oneshot, as_value(1)));
	assert_int_equal(apus_oneshot_send(&oneshot, as_value(2)), -EALREADY);
	t = apus_spawn(receive_one, "a");
	test_laps(1);
	assert_true(apus_task_done(t));
	ok(test_await(t));
	assert_int_equal(test_run(receive_one, "b"), -EPIPE);
	assert_int_equal(apus_oneshot_send(&oneshot, as_value(3)), -EALREADY);
	assert_trace("a 1 · b EPIPE");
}

static void oneshot_of_null_is_a_value_too(void **state)
{
	ok(apus_oneshot_send(&oneshot, NULL));
	ok(test_run(receive_one, "a"));
	assert_int_equal(test_run(receive_one, "b"), -EPIPE);
	assert_trace("a 0 · b EPIPE");
}

static void of_many_receivers_the_first_gets_it_and_no_other_waits_on(void **state)
{
	struct apus_task *a = apus_spawn(receive_one, "a"), *b = apus_spawn(receive_one, "b");
	struct apus_task *c = apus_spawn(receive_one, "c");

	test_laps(1);
	assert_trace("");
	ok(apus_oneshot_send(&oneshot, as_value(1)));
	assert_trace("");
	ok(test_await(a));
	assert_int_equal(test_await(b), -EPIPE);
	assert_int_equal(test_await(c), -EPIPE);
	assert_trace("a 1 · b EPIPE · c EPIPE");
}

static void close_without_a_value_ends_all_receivers(void **state)
{
	struct apus_task *a = apus_spawn(receive_one, "a"), *b = apus_spawn(receive_one, "b");

	test_laps(1);
	apus_oneshot_close(&oneshot);
	apus_oneshot_close(&oneshot);
	assert_int_equal(apus_oneshot_send(&oneshot, as_value(1)), -EPIPE);
	assert_int_equal(test_await(a), -EPIPE);
	assert_int_equal(test_await(b), -EPIPE);
	assert_int_equal(test_run(receive_one, "late"), -EPIPE);
	assert_trace("a EPIPE · b EPIPE · late EPIPE");
}

static void close_after_the_send_leaves_the_value(void **state)
{
	ok(apus_oneshot_send(&oneshot, as_value(1)));
	apus_oneshot_close(&oneshot);
	ok(test_run(receive_one, "a"));
	assert_int_equal(test_run(receive_one, "b"), -EPIPE);
	assert_trace("a 1 · b EPIPE");

	/* The same while somebody waits. */
	apus_oneshot_init(&oneshot);
	struct apus_task *t = apus_spawn(receive_one, "c");

	test_laps(1);
	ok(apus_oneshot_send(&oneshot, as_value(2)));
	apus_oneshot_close(&oneshot);
	ok(test_await(t));
	assert_trace("c 2");
}

static void cancelled_receiver_leaves_the_value_to_the_next(void **state)
{
	struct apus_task *a = apus_spawn(receive_one, "a"), *b = apus_spawn(receive_one, "b");

	test_laps(1);
	ok(apus_oneshot_send(&oneshot, as_value(1)));
	assert_true(apus_task_cancel(a));
	assert_int_equal(test_await(a), -ECANCELED);
	ok(test_await(b));
	assert_trace("a CE · b 1");
}

static void cancelled_only_receiver_leaves_the_value_for_later(void **state)
{
	struct apus_task *a = apus_spawn(receive_one, "a");

	test_laps(1);
	ok(apus_oneshot_send(&oneshot, as_value(1)));
	assert_true(apus_task_cancel(a));
	assert_int_equal(test_await(a), -ECANCELED);
	ok(test_run(receive_one, "b"));
	assert_trace("a CE · b 1");
}

/* Watch. */

struct watcher {
	const char *name;
	uint64_t seen;
	int rounds;
};

static int64_t look(void *arg)
{
	struct watcher *w = arg;
	int64_t rc = 0;

	for (int i = 0; i < w->rounds && rc == 0; i++) {
		void *value = NULL;

		rc = apus_watch_changed(&watch, &w->seen, &value);
		emit_received(w->name, rc, value);
	}
	return rc;
}

static void first_look_gives_what_is_there_and_the_next_waits(void **state)
{
	struct watcher w = {.name = "a", .rounds = 2};
	struct apus_task *t = apus_spawn(look, &w);

	test_laps(3);
	assert_trace("a 100");
	assert_false(apus_task_done(t));
	apus_watch_set(&watch, as_value(101));
	assert_ptr_equal(apus_watch_get(&watch), as_value(101));
	assert_trace("");
	ok(test_await(t));
	assert_trace("a 101");
}

static void who_looks_late_sees_only_the_latest(void **state)
{
	struct watcher w = {.name = "a", .rounds = 1};

	ok(test_run(look, &w));
	for (int i = 1; i <= 10; i++)
		apus_watch_set(&watch, as_value(i));
	ok(test_run(look, &w));
	struct apus_task *t = apus_spawn(look, &w);

	test_laps(3);
	assert_false(apus_task_done(t));
	apus_watch_set(&watch, as_value(11));
	apus_watch_set(&watch, as_value(12));
	ok(test_await(t));
	assert_trace("a 100 · a 10 · a 12");
}

static void equal_value_set_again_is_a_change(void **state)
{
	struct watcher w = {.name = "a", .rounds = 2};
	struct apus_task *t = apus_spawn(look, &w);

	test_laps(1);
	apus_watch_set(&watch, as_value(100));
	ok(test_await(t));
	assert_trace("a 100 · a 100");
}

static void every_watcher_sees_each_change_in_order_of_waiting(void **state)
{
	struct watcher ws[3] = {{.name = "a"}, {.name = "b"}, {.name = "c"}};
	struct apus_task *tasks[3];

	for (int i = 0; i < 3; i++) {
		ws[i].rounds = 3;
		tasks[i] = apus_spawn(look, &ws[i]);
	}
	test_laps(1);
	apus_watch_set(&watch, as_value(1));
	test_laps(1);
	apus_watch_set(&watch, as_value(2));
	for (int i = 0; i < 3; i++)
		ok(test_await(tasks[i]));
	assert_trace("a 100 · b 100 · c 100 · a 1 · b 1 · c 1 · a 2 · b 2 · c 2");
}

static void close_ends_waiting_but_what_is_unseen_is_still_seen(void **state)
{
	struct watcher waits = {.name = "waits", .rounds = 3}, late = {.name = "late", .rounds = 2};
	struct apus_task *t = apus_spawn(look, &waits);

	test_laps(1);
	apus_watch_close(&watch);
	assert_int_equal(test_await(t), -EPIPE);
	assert_int_equal(test_run(look, &late), -EPIPE);
	assert_ptr_equal(apus_watch_get(&watch), as_value(100));
	assert_trace("waits 100 · waits EPIPE · late 100 · late EPIPE");
}

static void cancelled_watcher_has_not_seen_the_change(void **state)
{
	struct watcher a = {.name = "a", .rounds = 2}, b = {.name = "b", .rounds = 2};
	struct apus_task *ta = apus_spawn(look, &a), *tb = apus_spawn(look, &b);

	test_laps(1);
	apus_watch_set(&watch, as_value(1));
	assert_true(apus_task_cancel(ta));
	assert_int_equal(test_await(ta), -ECANCELED);
	ok(test_await(tb));
	a.rounds = 1;
	ok(test_run(look, &a));
	assert_true(apus_waitq_empty(&watch.receivers));
	assert_trace("a 100 · b 100 · a CE · b 1 · a 1");
}

/* Broadcast. */

struct receiver {
	struct apus_subscriber subscriber;
	const char *name;
	int rounds;
};

static int64_t receive(void *arg)
{
	struct receiver *r = arg;
	int64_t rc = 0;

	for (int i = 0; i < r->rounds && rc >= 0; i++) {
		void *value = NULL;

		rc = apus_broadcast_recv(&r->subscriber, &value);
		emit_received(r->name, rc, value);
	}
	return rc < 0 ? rc : 0;
}

static int64_t send(void *arg)
{
	int rc = apus_broadcast_send(&broadcast, arg);

	if (rc)
		emit("send %lld %s", (long long)(intptr_t)arg, rc == -EPIPE ? "EPIPE" : "CE");
	else
		emit("sent %lld", (long long)(intptr_t)arg);
	return rc;
}

static int64_t send_many(void *arg)
{
	for (int64_t i = 1; i <= (int64_t)(intptr_t)arg; i++)
		ok(apus_broadcast_send(&broadcast, as_value(i)));
	return 0;
}

static void receiver_init(struct receiver *r, const char *name, int rounds)
{
	r->name = name;
	r->rounds = rounds;
	apus_broadcast_subscribe(&broadcast, &r->subscriber);
}

static void broadcast_ends(void)
{
	assert_true(apus_waitq_empty(&broadcast.receivers));
	assert_true(apus_waitq_empty(&broadcast.senders));
	assert_true(apus_list_empty(&broadcast.subscribed));
	apus_broadcast_fini(&broadcast);
}

static void broadcast_without_room_is_refused(void **state)
{
	assert_int_equal(apus_broadcast_init(&broadcast, 0, APUS_LAG_DROP), -EINVAL);
	assert_int_equal(apus_broadcast_init(&broadcast, 0, APUS_LAG_WAIT), -EINVAL);
}

static void every_subscriber_gets_every_value_sent_since_it_came(void **state)
{
	struct receiver a, b;

	ok(apus_broadcast_init(&broadcast, 4, APUS_LAG_DROP));
	ok(test_run(send, as_value(1))); /* to nobody: does not wait */
	receiver_init(&a, "a", 2);
	ok(test_run(send, as_value(2)));
	receiver_init(&b, "b", 1);
	ok(test_run(send, as_value(3)));
	ok(test_run(receive, &a));
	ok(test_run(receive, &b));
	assert_trace("sent 1 · sent 2 · sent 3 · a 2 · a 3 · b 3");
	apus_broadcast_unsubscribe(&a.subscriber);
	apus_broadcast_unsubscribe(&b.subscriber);
	broadcast_ends();
}

static void nobody_subscribed_never_makes_a_sender_wait(void **state)
{
	struct apus_task *t;

	ok(apus_broadcast_init(&broadcast, 2, APUS_LAG_WAIT));
	t = apus_spawn(send_many, as_value(50));
	test_laps(1);
	assert_true(apus_task_done(t));
	ok(test_await(t));
	broadcast_ends();
}

static void slow_receiver_is_told_how_many_it_lost(void **state)
{
	struct receiver a;

	ok(apus_broadcast_init(&broadcast, 3, APUS_LAG_DROP));
	receiver_init(&a, "a", 4);
	ok(test_run(send_many, as_value(10)));
	struct apus_task *t = apus_spawn(receive, &a);

	test_laps(2);
	assert_trace("a 8 lost 7 · a 9 · a 10");
	ok(test_run(send, as_value(11)));
	ok(test_await(t));
	assert_trace("sent 11 · a 11");
	apus_broadcast_unsubscribe(&a.subscriber);
	broadcast_ends();
}

static void exactly_full_ring_loses_nothing(void **state)
{
	struct receiver a;

	for (uint32_t capacity = 1; capacity <= 5; capacity++) {
		ok(apus_broadcast_init(&broadcast, capacity, APUS_LAG_DROP));
		receiver_init(&a, "a", 1);
		ok(test_run(send_many, as_value(capacity)));
		ok(test_run(receive, &a));
		ok(test_run(send_many, as_value(1)));
		apus_broadcast_unsubscribe(&a.subscriber);
		broadcast_ends();
	}
	assert_trace("a 1 · a 1 · a 1 · a 1 · a 1");
}

static void sender_waits_for_the_slowest(void **state)
{
	struct receiver fast, slow;

	ok(apus_broadcast_init(&broadcast, 2, APUS_LAG_WAIT));
	receiver_init(&fast, "fast", 3);
	receiver_init(&slow, "slow", 1);
	struct apus_task *sender = apus_spawn(send_many, as_value(3));
	struct apus_task *t = apus_spawn(receive, &fast);

	test_laps(4);
	assert_trace("fast 1 · fast 2");
	assert_false(apus_task_done(sender));
	ok(test_run(receive, &slow));
	ok(test_await(sender));
	ok(test_await(t));
	assert_trace("slow 1 · fast 3");
	apus_broadcast_unsubscribe(&fast.subscriber);
	apus_broadcast_unsubscribe(&slow.subscriber);
	broadcast_ends();
}

static void unsubscribe_of_the_slowest_frees_the_sender(void **state)
{
	struct receiver slow;

	ok(apus_broadcast_init(&broadcast, 1, APUS_LAG_WAIT));
	receiver_init(&slow, "slow", 1);
	ok(test_run(send, as_value(1)));
	struct apus_task *sender = apus_spawn(send, as_value(2));

	test_laps(2);
	assert_false(apus_task_done(sender));
	apus_broadcast_unsubscribe(&slow.subscriber);
	ok(test_await(sender));
	assert_trace("sent 1 · sent 2");
	broadcast_ends();
}

static void senders_are_served_first_come_first_served(void **state)
{
	struct receiver a;
	struct apus_task *senders[4];

	ok(apus_broadcast_init(&broadcast, 1, APUS_LAG_WAIT));
	receiver_init(&a, "a", 4);
	for (int i = 0; i < 4; i++)
		senders[i] = apus_spawn(send, as_value(i));
	test_laps(1);
	assert_trace("sent 0");
	ok(test_run(receive, &a));
	for (int i = 0; i < 4; i++)
		ok(test_await(senders[i]));
	assert_non_null(strstr(test_world.trace, "a 0 · "));
	apus_broadcast_unsubscribe(&a.subscriber);
	broadcast_ends();
	const char *at = test_world.trace;

	for (const char *const *text = (const char *const[]){"a 0", "a 1", "a 2", "a 3", NULL};
	     *text; text++) {
		at = strstr(at, *text);
		assert_non_null(at);
	}
}

static void cancelled_sender_has_not_sent_and_the_next_one_may(void **state)
{
	struct receiver a;
	struct apus_task *cancelled, *next;

	ok(apus_broadcast_init(&broadcast, 1, APUS_LAG_WAIT));
	receiver_init(&a, "a", 1);
	ok(test_run(send, as_value(1)));
	cancelled = apus_spawn(send, as_value(2));
	next = apus_spawn(send, as_value(3));
	test_laps(1);
	struct apus_task *receiver = apus_spawn(receive, &a);

	test_laps(1); /* it has received: the first sender was woken */
	assert_true(apus_task_cancel(cancelled));
	assert_int_equal(test_await(cancelled), -ECANCELED);
	ok(test_await(next));
	ok(test_await(receiver));
	ok(test_run(receive, &a));
	assert_trace("sent 1 · a 1 · send 2 CE · sent 3 · a 3");
	apus_broadcast_unsubscribe(&a.subscriber);
	broadcast_ends();
}

static void cancelled_receiver_gets_the_value_later(void **state)
{
	struct receiver a;

	ok(apus_broadcast_init(&broadcast, 1, APUS_LAG_WAIT));
	receiver_init(&a, "a", 1);
	struct apus_task *t = apus_spawn(receive, &a);

	test_laps(1);
	ok(test_run(send, as_value(1)));
	ok(test_await(t));
	assert_trace("sent 1 · a 1");
	t = apus_spawn(receive, &a);
	test_laps(1);
	ok(test_run(send, as_value(2))); /* woken, it has not run yet */
	assert_true(apus_task_cancel(t));
	assert_int_equal(test_await(t), -ECANCELED);
	ok(test_run(receive, &a));
	assert_trace("sent 2 · a CE · a 2");
	apus_broadcast_unsubscribe(&a.subscriber);
	broadcast_ends();
}

static void close_lets_receivers_finish_and_ends_senders(void **state)
{
	struct receiver a, b;

	ok(apus_broadcast_init(&broadcast, 2, APUS_LAG_WAIT));
	receiver_init(&a, "a", 5);
	receiver_init(&b, "b", 5);
	ok(test_run(send_many, as_value(2)));
	struct apus_task *sender = apus_spawn(send, as_value(3));

	test_laps(1);
	apus_broadcast_close(&broadcast);
	assert_int_equal(test_await(sender), -EPIPE);
	assert_int_equal(test_run(send, as_value(4)), -EPIPE);
	assert_int_equal(test_run(receive, &a), -EPIPE);
	assert_int_equal(test_run(receive, &b), -EPIPE);
	assert_trace("send 3 EPIPE · send 4 EPIPE · a 1 · a 2 · a EPIPE · b 1 · b 2 · b EPIPE");
	apus_broadcast_unsubscribe(&a.subscriber);
	apus_broadcast_unsubscribe(&b.subscriber);
	broadcast_ends();
}

static void close_wakes_receivers_that_wait(void **state)
{
	struct receiver a;

	ok(apus_broadcast_init(&broadcast, 2, APUS_LAG_DROP));
	receiver_init(&a, "a", 5);
	struct apus_task *t = apus_spawn(receive, &a);

	test_laps(1);
	apus_broadcast_close(&broadcast);
	assert_int_equal(test_await(t), -EPIPE);
	assert_trace("a EPIPE");
	apus_broadcast_unsubscribe(&a.subscriber);
	broadcast_ends();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		channel_test(value_sent_before_is_received_without_a_lap),
		channel_test(oneshot_of_null_is_a_value_too),
		channel_test(of_many_receivers_the_first_gets_it_and_no_other_waits_on),
		channel_test(close_without_a_value_ends_all_receivers),
		channel_test(close_after_the_send_leaves_the_value),
		channel_test(cancelled_receiver_leaves_the_value_to_the_next),
		channel_test(cancelled_only_receiver_leaves_the_value_for_later),
		channel_test(first_look_gives_what_is_there_and_the_next_waits),
		channel_test(who_looks_late_sees_only_the_latest),
		channel_test(equal_value_set_again_is_a_change),
		channel_test(every_watcher_sees_each_change_in_order_of_waiting),
		channel_test(close_ends_waiting_but_what_is_unseen_is_still_seen),
		channel_test(cancelled_watcher_has_not_seen_the_change),
		channel_test(broadcast_without_room_is_refused),
		channel_test(every_subscriber_gets_every_value_sent_since_it_came),
		channel_test(nobody_subscribed_never_makes_a_sender_wait),
		channel_test(slow_receiver_is_told_how_many_it_lost),
		channel_test(exactly_full_ring_loses_nothing),
		channel_test(sender_waits_for_the_slowest),
		channel_test(unsubscribe_of_the_slowest_frees_the_sender),
		channel_test(senders_are_served_first_come_first_served),
		channel_test(cancelled_sender_has_not_sent_and_the_next_one_may),
		channel_test(cancelled_receiver_gets_the_value_later),
		channel_test(close_lets_receivers_finish_and_ends_senders),
		channel_test(close_wakes_receivers_that_wait),
	};

	return test_main(argc, argv, tests);
}
