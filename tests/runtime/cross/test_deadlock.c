/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/cross/test_deadlock.c: debug mode tells when all shards wait for each other, and only
 * then. Real threads on the real clock, in children whose log is read.
 */
#include "tests/runtime/cross/cross_test.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include "runtime/base/check.h"
#include "runtime/cross/barrier.h"
#include "runtime/cross/call.h"
#include "runtime/cross/channel.h"
#include "runtime/cross/shards.h"
#include "runtime/sched/dump.h"
#include "runtime/sync/event.h"
#include "runtime/sync/lock.h"

#define SHARDS           3
#define check(condition) apus_must(condition)

static const char report[] = "deadlock: nothing is ready on any shard";

static struct apus_shards *shards;
static struct apus_event never;
static struct apus_channel *channel;

/* A thread that is no shard cancels the main task when the report is there, or has had its time. */

static struct apus_task *main_task;
static atomic_bool has_begun;
static struct apus_work end;

static void end_it(struct apus_work *work)
{
	apus_task_cancel(main_task);
}

static bool was_told(void)
{
	struct apus_cross_port *port = apus_shards_at(shards, 0)->slots[APUS_CROSS_SLOT];

	pthread_mutex_lock(&port->cross->silence);

	bool told = port->cross->said_deadlock;

	pthread_mutex_unlock(&port->cross->silence);
	return told;
}

static void *end_later(void *arg)
{
	int64_t ms = *(const int64_t *)arg;

	while (!atomic_load(&has_begun))
		sched_yield();
	for (; ms > 0 && !was_told(); ms--)
		nanosleep(&(struct timespec){.tv_nsec = 1000 * 1000}, NULL);
	apus_call_from_thread(apus_shards_at(shards, 0), &end);
	return NULL;
}

static const struct apus_shards_options options = {
	.shard = {.seed = 1, .debug = true, .slow_ns = 10 * APUS_SEC},
	.count = SHARDS,
};

static void run(apus_task_fn main, int64_t ms)
{
	pthread_t thread;

	apus_work_init(&end, end_it);
	check(apus_shards_open(&options, &shards, NULL) == 0);
	check(pthread_create(&thread, NULL, end_later, &ms) == 0);

	int64_t rc = apus_shards_run(shards, main, NULL);

	pthread_join(thread, NULL);
	apus_shards_close(shards);
	fprintf(stderr, "ended with %lld\n", (long long)rc);
	_exit(0);
}

static void begin(void)
{
	main_task = apus_task_self();
	atomic_store(&has_begun, true);
}

/* --- It is one ------------------------------------------------------------------------------- */

static int64_t wait_for_ever(void *arg)
{
	apus_task_set_name(apus_task_self(), "estragon");
	apus_event_init(&never);
	return apus_event_wait(&never);
}

static int64_t receive(void *arg)
{
	void *item;

	apus_task_set_name(apus_task_self(), "pozzo");
	return apus_channel_recv(channel, &item);
}

static int64_t call_on_2(void *arg)
{
	int64_t rc = apus_call_on(2, wait_for_ever, NULL);

	apus_task_set_name(apus_task_self(), "back"); /* no tail call: it is on the stack */
	return rc;
}

static int64_t wait_for_each_other(void *arg)
{
	static const struct apus_spawn_options named = {.name = "lucky"};

	int64_t rc;

	begin();
	check(apus_channel_open(1, &channel) == 0);

	struct apus_task *t = apus_spawn_with(&named, receive, NULL, 0);

	rc = apus_call_on(1, call_on_2, NULL);
	check(apus_channel_close(channel) == 0);
	check(apus_await(t) == -EPIPE);
	apus_channel_free(channel);
	return rc;
}

static void wait_body(void *arg)
{
	run(wait_for_each_other, 100000);
}

static void shards_that_wait_for_each_other_are_told_once_and_all(void **state)
{
	static struct test_capture c;

	assert_int_equal(test_in_child(wait_body, NULL, &c), 0);
	assert_int_equal(test_count(c.text, report), 1);
	assert_non_null(strstr(c.text, "shard 0: apus: 2 tasks"));
	assert_non_null(strstr(c.text, "shard 1: apus: 1 tasks"));
	assert_non_null(strstr(c.text, "shard 2: apus: 1 tasks"));
	assert_non_null(strstr(c.text, "main: waits for call"));
	assert_non_null(strstr(c.text, "    shard 1: task 1\n"));
	assert_non_null(strstr(c.text, "    shard 2: task 1\n"));
	assert_non_null(strstr(c.text, "pozzo: waits for channel recv"));
	assert_non_null(strstr(c.text, "estragon: waits for event"));
	assert_non_null(strstr(c.text, "call_on_2+0x")); /* with stacks, of other threads' tasks */
	assert_non_null(strstr(c.text, "ended with -125")); /* and waited out */
}

/* Two locks of two shards, each taken by one who then asks for the other's. */

static struct apus_lock locks[2];
static struct apus_cross_barrier both_hold;

static int64_t take_and_give(void *arg)
{
	struct apus_lock *lock = arg;
	int rc = apus_lock_acquire(lock);

	if (rc == 0)
		apus_lock_release(lock);
	return rc;
}

static int64_t hold_and_ask(void *arg)
{
	unsigned int self = apus_shard_index(), other = 3 - self; /* 1 and 2 */

	apus_lock_init(&locks[self - 1]);
	check(apus_lock_acquire(&locks[self - 1]) == 0);

	int64_t rc = apus_cross_barrier_wait(&both_hold);

	if (rc >= 0)
		rc = apus_call_on(other, take_and_give, &locks[other - 1]);
	apus_lock_release(&locks[self - 1]);
	return rc;
}

static int64_t embrace_on_both(void *arg)
{
	begin();
	apus_cross_barrier_init(&both_hold, 2);
	check(apus_post_to(1, hold_and_ask, NULL) == 0);
	return apus_call_on(2, hold_and_ask, NULL);
}

static void embrace_body(void *arg)
{
	run(embrace_on_both, 100000);
}

static void deadly_embrace_of_two_shards_is_told(void **state)
{
	static struct test_capture c;

	assert_int_equal(test_in_child(embrace_body, NULL, &c), 0);
	assert_int_equal(test_count(c.text, report), 1);
	assert_int_equal(test_count(c.text, "waits for lock"), 2);
}

/* --- It is none ------------------------------------------------------------------------------ */

/* Someone's timer will end it, on whichever shard. */
static int64_t sleep_then_set(void *arg)
{
	int64_t rc = apus_sleep(100 * APUS_MS);

	apus_event_set(&never);
	return rc;
}

static int64_t wait_for_a_timer_on_2(void *arg)
{
	check(apus_spawn_detached(NULL, sleep_then_set, NULL, 0) == 0);
	return wait_for_ever(NULL);
}

static int64_t wait_for_a_timer(void *arg)
{
	return apus_call_on(2, wait_for_a_timer_on_2, NULL);
}

static void timer_body(void *arg)
{
	check(apus_shards_open(&options, &shards, NULL) == 0);
	check(apus_shards_run(shards, wait_for_a_timer, NULL) == 0);
	apus_shards_close(shards);
	_exit(0);
}

static void timer_of_another_shard_is_something_that_will_come(void **state)
{
	static struct test_capture c;

	assert_int_equal(test_in_child(timer_body, NULL, &c), 0);
	assert_int_equal(test_count(c.text, "deadlock"), 0);
}

static int64_t wait_while_a_thread_knows_shard_2(void *arg)
{
	struct apus_inbox *held = apus_inbox_get(apus_shards_at(shards, 2));
	int64_t rc;

	begin();
	rc = apus_call_on(1, call_on_2, NULL);
	apus_inbox_put(held);
	return rc;
}

static void held_body(void *arg)
{
	run(wait_while_a_thread_knows_shard_2, 150);
}

static void thread_that_holds_an_inbox_may_bring_something(void **state)
{
	static struct test_capture c;

	assert_int_equal(test_in_child(held_body, NULL, &c), 0);
	assert_int_equal(test_count(c.text, "deadlock"), 0);
	assert_non_null(strstr(c.text, "ended with -125"));
}

/* They fall asleep and wake each other all the time, and no timer is ever armed. */
static int64_t hop(void *arg)
{
	intptr_t left = (intptr_t)arg;

	check(apus_yield() == 0); /* the message has been taken, to its end */
	nanosleep(&(struct timespec){.tv_nsec = 200 * 1000}, NULL); /* the others fall asleep */
	if (!left)
		return 0;
	return apus_call_on((apus_shard_index() + 1) % SHARDS, hop, (void *)(left - 1));
}

static int64_t hop_about(void *arg)
{
	return hop((void *)100);
}

static void hop_body(void *arg)
{
	check(apus_shards_open(&options, &shards, NULL) == 0);
	check(apus_shards_run(shards, hop_about, NULL) == 0);
	apus_shards_close(shards);
	_exit(0);
}

static void shards_that_wake_each_other_are_none(void **state)
{
	static struct test_capture c;

	assert_int_equal(test_in_child(hop_body, NULL, &c), 0);
	assert_int_equal(test_count(c.text, "deadlock"), 0);
}

/* In one thread, so that what is on its way stays there until it is taken. */

static struct apus_message message;

static void arrives(struct apus_message *arrived)
{
}

static int64_t send_to_1(void *arg)
{
	message.fn = arrives;
	return apus_message_send(1, &message);
}

static int64_t wait_here(void *arg)
{
	apus_event_init(&never);
	return apus_event_wait(&never);
}

static void all_say_that_they_sleep(unsigned int from)
{
	for (unsigned int i = 0; i < 2; i++)
		(void)apus_cross_silent(&cross.cross->ports[(from + i) % 2]);
}

static void line_on_its_way_will_come(void **state)
{
	static struct test_capture c;
	struct apus_task *t;

	cross_open(2, NULL);
	t = cross_spawn(1, wait_here, NULL);
	cross_turn();
	for (unsigned int first = 0; first < 2; first++) {
		cross.stuck = 1u << 1;
		ok(cross_run(0, send_to_1, NULL));
		test_capture_begin(&c);
		all_say_that_they_sleep(first);
		test_capture_end(&c);
		assert_string_equal(c.text, "");
		for (unsigned int i = 0; i < 2; i++)
			apus_cross_not_silent(&cross.cross->ports[i]);
		cross.stuck = 0;
		cross_turn();
	}
	test_capture_begin(&c);
	all_say_that_they_sleep(0);
	test_capture_end(&c);
	assert_int_equal(test_count(c.text, report), 1);
	cross_cancel(1, t);
	assert_int_equal(cross_await(1, t), -ECANCELED);
	cross_close();
}

/* --- Who waits for whom ---------------------------------------------------------------------- */

static struct apus_event gates[3];

static int64_t wait_at_gate(void *arg)
{
	struct apus_event *gate = &gates[apus_shard_index()];

	apus_event_init(gate);
	return apus_event_wait(gate);
}

static int64_t open_gate(void *arg)
{
	apus_event_set(&gates[apus_shard_index()]);
	return 0;
}

static int64_t wait_at_all_gates(void *arg)
{
	return apus_on_all(wait_at_gate, NULL, NULL);
}

static const char *tree_of(unsigned int shard)
{
	static char text[4096];
	FILE *out = fmemopen(text, sizeof(text), "w");

	assert_non_null(out);
	assert_int_equal(apus_shard_dump_tree(cross.shards[shard], out, 0), 0);
	fclose(out);
	return text;
}

static void tree_has_the_callees_below_the_caller(void **state)
{
	struct apus_task_info infos[4];
	struct apus_task *t;
	const char *text;

	cross_open(3, NULL);
	t = cross_spawn(0, wait_at_all_gates, NULL);
	cross_turn();
	text = tree_of(0); /* it knows of none of the others yet */
	assert_non_null(strstr(text, "\n  task-1: waits for calls on all shards "));
	assert_int_equal(test_count(text, "\n    shard "), 2);
	assert_non_null(strstr(text, "\n    task-2: waits for event "));
	while (cross_step())
		;
	ok(cross_run(1, open_gate, NULL));
	while (cross_step())
		;
	text = tree_of(0);
	assert_int_equal(test_count(text, "\n    shard "), 1); /* 1 has answered */
	assert_non_null(strstr(text, "\n    shard 2: task 1\n"));
	ok(cross_run(0, open_gate, NULL));
	while (cross_step())
		;
	assert_int_equal(apus_shard_task_infos(cross.shards[0], 0, infos, 4), 1);
	assert_int_equal(infos[0].awaits_shard, 2);
	assert_int_equal(infos[0].awaits_id, 1);
	ok(cross_run(2, open_gate, NULL));
	ok(cross_await(0, t));
	cross_close();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shards_that_wait_for_each_other_are_told_once_and_all),
		cmocka_unit_test(deadly_embrace_of_two_shards_is_told),
		cmocka_unit_test(timer_of_another_shard_is_something_that_will_come),
		cmocka_unit_test(thread_that_holds_an_inbox_may_bring_something),
		cmocka_unit_test(shards_that_wake_each_other_are_none),
		cmocka_unit_test(line_on_its_way_will_come),
		cmocka_unit_test(tree_has_the_callees_below_the_caller),
	};

	return test_main(argc, argv, tests);
}
