/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/http/test_server_park.c: idle connections of an HTTP server hold no task.
 *
 * How a server parks is tested by tests/net/socket/test_server_park.c; here is when, and what of HTTP
 * it may not change.
 */
#define FAKE_BYTES_MAX ((size_t)16384) /* there are many */

#include "tests/net/http/server_test.h"

static size_t tasks(void)
{
	return apus_shard_tasks(apus_shard_self());
}

static uint64_t live(void)
{
	return apus_shard_heap(apus_shard_self())->live;
}

static int64_t comes_back(void *arg)
{
	start();
	settle();

	size_t idle = tasks();
	uint64_t objects = live();
	struct apus_tcp *c = fake_connect();

	for (int i = 0; i < 5; i++) {
		assert_contains(exchange(c, HELLO), "hello\n");
		assert_int_equal(tasks(), idle + 1);
		ok(apus_sleep(999 * APUS_MS));
		assert_int_equal(tasks(), idle + 1);
		ok(apus_sleep(10 * APUS_SEC));
		assert_int_equal(tasks(), idle);
		assert_int_equal(counter("parked"), 1);
		assert_int_equal(counter("resumed"), i);
		assert_int_equal(c->holds, 0); /* but for the one that is open */
		assert_int_equal(apus_http_server_connections(server), 1);
		assert_in_range(live(), objects + 1,
				objects + 2); /* its record; the ring of what is ready */
	}
	assert_int_equal(counter("connections"), 1);
	assert_int_equal(counter("requests"), 5);
	end_client(c, FAKE_CLOSED);
	assert_int_equal(counter("resumed"), 5);
	assert_int_equal(counter("parked"), 0);
	assert_int_equal(apus_http_server_connections(server), 0);
	stop();
	return 0;
}

static void idle_connection_has_no_task_after_a_second(void **state)
{
	ok(test_run(comes_back, NULL));
}

static int64_t stays_busy(void *arg)
{
	start();

	struct apus_tcp *c = fake_connect();

	for (int i = 0; i < 50; i++) {
		assert_contains(exchange(c, HELLO), "hello\n");
		ok(apus_sleep(990 * APUS_MS));
	}
	assert_int_equal(counter("resumed"), 0);
	assert_int_equal(counter("parked"), 0);
	end_client(c, FAKE_CLOSED);
	stop();
	return 0;
}

static void busy_connection_keeps_its_task(void **state)
{
	ok(test_run(stays_busy, NULL));
}

static int64_t is_patient(void *arg)
{
	start_with((struct apus_http_server_options){.park_ns = 20 * APUS_SEC});

	struct apus_tcp *c = fake_connect(), *mute = fake_connect();

	exchange(c, HELLO);
	ok(apus_sleep(19 * APUS_SEC));
	assert_int_equal(mute->ended_ns, TEST_START_NS + 10 * APUS_SEC); /* its limit comes first */
	assert_int_equal(counter("parked"), 1); /* after the shortest limit at the latest */
	ok(apus_sleep(60 * APUS_SEC));
	assert_int_equal(c->ended_ns, TEST_START_NS + 75 * APUS_SEC);
	fake_free(c);
	fake_free(mute);
	stop();
	return 0;
}

static void parking_late_leaves_limits_as_they_are(void **state)
{
	ok(test_run(is_patient, NULL));
}

static int64_t never_parks(void *arg)
{
	start_with((struct apus_http_server_options){.park_ns = -1});

	struct apus_tcp *c = fake_connect(), *mute = fake_connect();

	exchange(c, HELLO);
	ok(apus_sleep(70 * APUS_SEC));
	assert_int_equal(counter("parked"), 0);
	assert_contains(exchange(c, HELLO), "hello\n");
	ok(apus_sleep(80 * APUS_SEC));
	assert_int_equal(mute->ended_ns, TEST_START_NS + 10 * APUS_SEC);
	assert_int_equal(c->ended_ns, TEST_START_NS + (70 + 75) * APUS_SEC);
	assert_int_equal(counter("timeouts_idle"), 2);
	assert_int_equal(counter("resumed"), 0);
	fake_free(c);
	fake_free(mute);
	stop();
	return 0;
}

static void no_connection_parks_where_none_shall(void **state)
{
	ok(test_run(never_parks, NULL));
}

/* One byte wakes it; the head's ten seconds begin with that. */
static int64_t drips(void *arg)
{
	static const char request[] = HELLO;

	start();

	struct apus_tcp *c = fake_connect(), *slow = fake_connect();

	exchange(c, HELLO);
	exchange(slow, HELLO);
	ok(apus_sleep(5 * APUS_SEC));
	assert_int_equal(counter("parked"), 2);
	for (size_t i = 0; i < sizeof(request) - 1; i++) {
		fake_send_bytes(c, request + i, 1);
		ok(apus_sleep(200 * APUS_MS));
		assert_int_equal(counter("parked"), 1);
	}
	assert_contains(fake_take(c), "hello\n");
	fake_send(slow, "G");
	ok(apus_sleep(9 * APUS_SEC));
	assert_int_equal(slow->end, FAKE_OPEN);
	ok(apus_sleep(2 * APUS_SEC));
	assert_begins(fake_take(slow), "HTTP/1.1 408 ");
	end_client(c, FAKE_CLOSED);
	end_client(slow, FAKE_CLOSED);
	stop();
	return 0;
}

static void a_byte_brings_it_back_and_limits_count_from_there(void **state)
{
	ok(test_run(drips, NULL));
}

/* It has been served before, so its limit is that between two requests. */
static int64_t is_woken_for_nothing(void *arg)
{
	start();

	struct apus_tcp *c = fake_connect();

	exchange(c, HELLO);
	ok(apus_sleep(20 * APUS_SEC));
	apus_waitq_wake_one(&c->readers, 0);
	settle();
	assert_int_equal(counter("resumed"), 1);
	assert_int_equal(counter("parked"), 0);
	ok(apus_sleep(70 * APUS_SEC));
	assert_int_equal(c->end, FAKE_OPEN);
	assert_contains(exchange(c, HELLO), "hello\n");
	end_client(c, FAKE_CLOSED);
	stop();
	return 0;
}

static void a_wake_for_nothing_changes_no_limit(void **state)
{
	ok(test_run(is_woken_for_nothing, NULL));
}

static struct apus_tcp *in_time;

static void send_in_time(struct apus_work *work)
{
	fake_send(in_time, HELLO);
}

/* In the turn of its deadline, but before it: answered. */
static int64_t asks_in_the_last_moment(void *arg)
{
	struct apus_timer timer;

	start();
	in_time = fake_connect();
	apus_timer_init(&timer, send_in_time);
	apus_timer_arm(&timer, TEST_START_NS + 75 * APUS_SEC); /* before the server arms its own */
	exchange(in_time, HELLO);
	ok(apus_sleep(76 * APUS_SEC));
	assert_contains(fake_take(in_time), "hello\n");
	assert_int_equal(counter("timeouts_idle"), 0);
	end_client(in_time, FAKE_CLOSED);
	stop();
	return 0;
}

static void request_in_the_turn_of_its_deadline_is_answered(void **state)
{
	ok(test_run(asks_in_the_last_moment, NULL));
}

static int64_t ends(void *arg)
{
	start();

	struct apus_tcp *c = fake_connect(), *lost = fake_connect();

	exchange(c, HELLO);
	exchange(lost, HELLO);
	ok(apus_sleep(5 * APUS_SEC));
	fake_reset(lost);
	settle();
	assert_int_equal(lost->end, FAKE_ABORTED);
	assert_int_equal(counter("client_resets"), 1);
	end_client(c, FAKE_CLOSED);
	assert_int_equal(counter("aborts"), 0);
	assert_int_equal(counter("timeouts_idle"), 0);
	fake_free(lost);
	stop();
	return 0;
}

static void fin_and_reset_end_it_as_ever(void **state)
{
	ok(test_run(ends, NULL));
}

static int64_t stops(void *arg)
{
	start();

	struct apus_tcp *idle = fake_connect(), *late = fake_connect();
	int64_t at_ns;

	exchange(idle, HELLO);
	exchange(late, HELLO);
	ok(apus_sleep(5 * APUS_SEC));
	assert_int_equal(counter("parked"), 2);
	fake_send(late, "GET /wait HTTP/1.1\r\n" HOST "\r\n");
	settle();
	assert_int_equal(counter("parked"), 1);
	at_ns = apus_now();
	apus_event_set(&gate);
	ok(apus_http_server_close(server, 10 * APUS_SEC));
	assert_int_equal(idle->end, FAKE_CLOSED);
	assert_int_equal(idle->ended_ns, at_ns);
	assert_contains(fake_take(late), "Connection: close\r\n\r\nwaited\n");
	assert_true(late->end == FAKE_CLOSED);
	apus_http_router_destroy(router);
	assert_int_equal(live(), live_before);
	fake_free(idle);
	fake_free(late);
	return 0;
}

static void stop_closes_parked_ones_and_waits_for_those_that_are_back(void **state)
{
	ok(test_run(stops, NULL));
}

static int64_t is_full(void *arg)
{
	start_with((struct apus_http_server_options){.connections_max = 2});

	struct apus_tcp *a = fake_connect(), *b = fake_connect();

	exchange(a, HELLO);
	exchange(b, HELLO);
	ok(apus_sleep(5 * APUS_SEC));
	assert_int_equal(counter("parked"), 2);

	struct apus_tcp *more = fake_connect();

	assert_begins(exchange(more, HELLO), "HTTP/1.1 503 ");
	end_client(more, FAKE_CLOSED);
	assert_contains(exchange(a, HELLO), "hello\n"); /* who comes back is not one too many */
	end_client(b, FAKE_CLOSED);
	more = fake_connect();
	assert_contains(exchange(more, HELLO), "hello\n");
	assert_int_equal(counter("connections"), 3);
	assert_int_equal(counter("connections_refused"), 1);
	end_client(a, FAKE_CLOSED);
	end_client(more, FAKE_CLOSED);
	stop();
	return 0;
}

static void parked_ones_count_against_the_limit(void **state)
{
	ok(test_run(is_full, NULL));
}

/* Without memory for the record it waits as it is, to its limit. */
static int64_t cannot_park(void *arg)
{
	struct apus_heap *heap = apus_shard_heap(apus_shard_self());

	start();

	struct apus_tcp *c = fake_connect();

	exchange(c, HELLO);
	ok(apus_sleep(500 * APUS_MS));
	apus_heap_fail_after(heap, 0);
	ok(apus_sleep(APUS_SEC));
	apus_heap_fail_after(heap, -1);
	assert_int_equal(counter("parked"), 0);
	ok(apus_sleep(70 * APUS_SEC));
	assert_contains(exchange(c, HELLO), "hello\n");
	ok(apus_sleep(500 * APUS_MS));
	apus_heap_fail_after(heap, 0);
	ok(apus_sleep(80 * APUS_SEC));
	apus_heap_fail_after(heap, -1);
	assert_int_equal(c->end, FAKE_CLOSED);
	assert_int_equal(c->ended_ns, TEST_START_NS + 71500 * APUS_MS + 75 * APUS_SEC);
	assert_int_equal(counter("timeouts_idle"), 1);
	assert_int_equal(apus_http_server_connections(server), 0);
	fake_free(c);
	stop();
	return 0;
}

static void without_memory_to_park_it_waits_with_its_task(void **state)
{
	ok(test_run(cannot_park, NULL));
}

/* Every allocation of the way back fails once; the last rounds have enough. */
static int64_t cannot_return(void *arg)
{
	struct apus_heap *heap = apus_shard_heap(apus_shard_self());
	int answered = 0;

	start();
	for (int64_t n = 0; n < 8; n++) {
		struct apus_tcp *c = fake_connect();

		exchange(c, HELLO);
		ok(apus_sleep(5 * APUS_SEC));
		assert_int_equal(counter("parked"), 1);
		apus_heap_fail_after(heap, n);
		fake_send(c, HELLO);
		settle();
		apus_heap_fail_after(heap, -1);
		fake_send_end(c);
		settle();
		answered += !!strstr(fake_take(c), "hello\n");
		assert_true(c->end == FAKE_CLOSED || c->end == FAKE_ABORTED);
		assert_int_equal(apus_http_server_connections(server), 0);
		fake_free(c);
	}
	assert_true(answered >= 4 && answered < 8);
	assert_true(counter("aborts") > 0);
	stop();
	return 0;
}

static void want_of_memory_on_the_way_back_costs_the_connection_only(void **state)
{
	ok(test_run(cannot_return, NULL));
}

static int64_t no_task(void *arg)
{
	struct apus_shard *shard = apus_shard_self();
	size_t tasks_max = shard->tasks_max;

	start();

	struct apus_tcp *c = fake_connect(), *other = fake_connect();

	exchange(c, HELLO);
	exchange(other, HELLO);
	ok(apus_sleep(5 * APUS_SEC));
	shard->tasks_max = tasks();
	fake_send(c, HELLO);
	settle();
	shard->tasks_max = tasks_max;
	assert_int_equal(c->end, FAKE_ABORTED);
	assert_int_equal(c->out_bytes, 0);
	assert_int_equal(counter("dropped"), 1);
	assert_int_equal(counter("aborts"), 1);
	assert_int_equal(counter("parked"), 1);
	assert_contains(exchange(other, HELLO), "hello\n");
	end_client(other, FAKE_CLOSED);
	fake_free(c);
	stop();
	return 0;
}

static void without_a_task_it_is_reset_and_counted(void **state)
{
	ok(test_run(no_task, NULL));
}

/* What many tasks needed is given back while the shard has other things to do. */
static int64_t gives_back(void *arg)
{
	enum {
		MANY = 3000
	};
	static struct apus_tcp *c[MANY];
	const struct apus_shard *shard = apus_shard_self();

	start();
	for (int i = 0; i < MANY; i++)
		c[i] = fake_connect();
	ok(apus_sleep(APUS_MS));
	for (int i = 0; i < 10; i++)
		settle();
	assert_true(shard->default_pool->used > MANY);
	assert_true(shard->default_pool->cold_count == 0);
	ok(apus_sleep(10 * APUS_SEC - 2 * APUS_MS));
	assert_int_equal(counter("parked"), MANY);
	assert_int_equal(shard->default_pool->cold_count, APUS_STACKS_KEPT);
	assert_null(shard->default_pool->aging);
	ok(apus_sleep(APUS_SEC));
	assert_int_equal(counter("timeouts_idle"), MANY);
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(c[i]->end, FAKE_CLOSED);
		fake_free(c[i]);
	}
	stop();
	return 0;
}

static void stacks_of_many_that_parked_are_given_back(void **state)
{
	ok(test_run(gives_back, NULL));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		shard_test(idle_connection_has_no_task_after_a_second),
		shard_test(busy_connection_keeps_its_task),
		shard_test(parking_late_leaves_limits_as_they_are),
		shard_test(no_connection_parks_where_none_shall),
		shard_test(a_byte_brings_it_back_and_limits_count_from_there),
		shard_test(a_wake_for_nothing_changes_no_limit),
		shard_test(request_in_the_turn_of_its_deadline_is_answered),
		shard_test(fin_and_reset_end_it_as_ever),
		shard_test(stop_closes_parked_ones_and_waits_for_those_that_are_back),
		shard_test(parked_ones_count_against_the_limit),
		shard_test(without_memory_to_park_it_waits_with_its_task),
		shard_test(want_of_memory_on_the_way_back_costs_the_connection_only),
		shard_test(without_a_task_it_is_reset_and_counted),
		shard_test(stacks_of_many_that_parked_are_given_back),
	};

	return test_main(argc, argv, tests);
}
