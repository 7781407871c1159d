/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/socket/test_server_park.c: connections that wait without a task, between two simulated
 * hosts.
 */
#include "tests/net/socket/server_test.h"

#include "runtime/base/random.h"
#include "runtime/sched/internal.h"
#include "runtime/sync/context_var.h"

static int64_t park_ns;       /* how long a parked connection may wait */
static uint32_t calls, backs; /* of the handler */
static int park_rc;           /* of the last apus_server_park() */
static size_t lost_count;     /* parked connections that ended without the handler */
static int lost_why;          /* ... the last one */
static uintptr_t lost_state;  /* ... what it was parked with */
static bool refuses_memory;

static void on_lost(uintptr_t state, int why, void *arg)
{
	lost_count++;
	lost_why = why;
	lost_state = state;
}

static int try_to_park(struct apus_server_connection *self, uintptr_t state)
{
	struct apus_heap *heap = apus_shard_heap(apus_shard_self());
	int64_t deadline_ns = park_ns == APUS_NEVER ? APUS_NEVER : apus_now() + park_ns;

	if (refuses_memory)
		apus_heap_fail_after(heap, 0);
	park_rc = apus_server_park(self, deadline_ns, state);
	apus_heap_fail_after(heap, -1);
	return park_rc;
}

/* Gives back what comes; parks when nothing has come for a second, with the bytes it has had. */
static int64_t napper(struct apus_tcp *c, void *arg)
{
	struct apus_server_connection *self = apus_server_connection_self();
	char bytes[256];
	uintptr_t all;
	int64_t n;

	calls++;
	backs += apus_server_is_back(self, &all);
	enter();
	for (;;) {
		struct apus_timeout limit;

		apus_timeout_begin(&limit, APUS_SEC);
		n = apus_server_idle(self);
		if (!n)
			n = apus_tcp_read(c, bytes, sizeof(bytes));
		apus_server_busy(self);
		n = apus_timeout_end(&limit, n);
		if (n == -ETIMEDOUT && !try_to_park(self, all))
			return leave(0);
		if (n == -ETIMEDOUT)
			continue;
		if (n > 0) {
			all += (uintptr_t)n;
			n = apus_tcp_write(c, bytes, (size_t)n);
		}
		if (n <= 0)
			return leave(n);
	}
}

static int64_t open_napper(struct apus_server_options options)
{
	park_ns = APUS_NEVER;
	calls = backs = 0;
	park_rc = 1;
	lost_count = 0;
	lost_why = 0;
	lost_state = 0;
	refuses_memory = false;
	options.handler = options.handler ? options.handler : napper;
	options.lost = on_lost;
	return open_with(options);
}

static uint64_t parked(void)
{
	return apus_server_counter(server, APUS_SERVER_PARKED);
}

/* Connects, and is answered once. */
static int64_t arrive(struct apus_tcp **c)
{
	char byte;

	sim_check_equal(apus_tcp_connect(sim_server(), c), 0);
	sim_check_equal(apus_tcp_write(*c, "x", 1), 1);
	sim_check_equal(apus_tcp_read(*c, &byte, 1), 1);
	return 0;
}

/* ... stays until the end comes, which it notes. Return: how it ended */
static int64_t stay(void *arg)
{
	struct apus_tcp *c;
	char byte;
	int64_t rc = arrive(&c);

	if (rc)
		return rc;
	rc = apus_tcp_read(c, &byte, 1);
	ended_ns[ended++ % apus_countof(ended_ns)] = apus_now();
	apus_tcp_close(c);
	return rc;
}

static int64_t stays_until_fin(void *arg)
{
	sim_check_equal(stay(arg), 0);
	return 0;
}

static int64_t stays_until_reset(void *arg)
{
	sim_check_equal(stay(arg), -ECONNRESET);
	return 0;
}

/* --- There and back -------------------------------------------------------------------------- */

static int64_t serve_ten(void *arg)
{
	size_t tasks;

	sim_check_equal(open_napper((struct apus_server_options){0}), 0);
	tasks = apus_shard_tasks(apus_shard_self());
	for (int i = 0; i < 5; i++) {
		sim_check_equal(apus_sleep(10 * APUS_SEC), 0);
		sim_check_equal(parked(), 1);
		sim_check_equal(apus_server_connections(server), 1);
		sim_check_equal(apus_shard_tasks(apus_shard_self()), tasks);
		sim_check_equal(inside, 0);
		sim_check_equal(backs, i);
	}
	sim_check_equal(apus_sleep(10 * APUS_SEC), 0);
	sim_check_equal(parked(), 0);
	sim_check_equal(apus_server_connections(server), 0);
	sim_check_equal(apus_server_counter(server, APUS_SERVER_RESUMED), 5);
	sim_check_equal(lost_count, 0);
	return apus_server_stop(server, 0);
}

/* Every ten seconds a request; the fifth silence ends in FIN. */
static int64_t asks_now_and_then(void *arg)
{
	struct apus_tcp *c;
	char bytes[8];

	sim_check_equal(arrive(&c), 0);
	for (int i = 0; i < 4; i++) {
		sim_check_equal(apus_sleep(10 * APUS_SEC), 0);
		sim_check_equal(apus_tcp_write(c, "hello", 5), 5);
		sim_check_equal(apus_tcp_read(c, bytes, sizeof(bytes)), 5);
		sim_check_equal(bytes[4], 'o');
	}
	sim_check_equal(apus_sleep(10 * APUS_SEC), 0);
	apus_tcp_close(c);
	return 0;
}

static void idle_connection_waits_without_a_task_and_comes_back(void **state)
{
	run(serve_ten, asks_now_and_then);
}

static int64_t serve_state(void *arg)
{
	sim_check_equal(open_napper((struct apus_server_options){0}), 0);
	park_ns = 5 * APUS_SEC;
	sim_check_equal(apus_sleep(60 * APUS_SEC), 0);
	sim_check_equal(lost_count, 1);
	sim_check_equal(lost_why, -ETIMEDOUT);
	sim_check_equal(lost_state, 1 + 4);
	sim_check_equal(apus_server_connections(server), 0);
	sim_check_equal(parked(), 0);
	return apus_server_stop(server, 0);
}

static int64_t asks_twice_and_stays(void *arg)
{
	struct apus_tcp *c;
	char bytes[8];
	int64_t at_ns;

	sim_check_equal(arrive(&c), 0);
	sim_check_equal(apus_sleep(3 * APUS_SEC), 0);
	sim_check_equal(apus_tcp_write(c, "more", 4), 4);
	sim_check_equal(apus_tcp_read(c, bytes, sizeof(bytes)), 4);
	at_ns = apus_now();
	sim_check_equal(apus_tcp_read(c, bytes, sizeof(bytes)), 0);
	/* A second until it parks, five until its deadline; there and back takes 2 ms. */
	sim_check(apus_now() - at_ns >= 6 * APUS_SEC - 2 * APUS_MS);
	sim_check(apus_now() - at_ns <= 6 * APUS_SEC + 2 * APUS_MS);
	apus_tcp_close(c);
	return 0;
}

static void state_travels_and_the_deadline_closes_in_order(void **state)
{
	run(serve_state, asks_twice_and_stays);
}

static const struct apus_context_var variable = {.name = "whose"};
static char mine;

static int64_t sets_a_variable(struct apus_tcp *c, void *arg)
{
	uintptr_t all;

	if (apus_server_is_back(apus_server_connection_self(), &all))
		sim_check(apus_context_var_get(&variable) == &mine);
	else
		sim_check_equal(apus_context_var_set(&variable, &mine, NULL), 0);
	return napper(c, arg);
}

static int64_t serve_variable(void *arg)
{
	sim_check_equal(open_napper((struct apus_server_options){.handler = sets_a_variable}), 0);
	sim_check_equal(apus_sleep(60 * APUS_SEC), 0);
	sim_check_equal(backs, 5);
	sim_check_equal(apus_server_counter(server, APUS_SERVER_HANDLER_ERRORS), 0);
	sim_check(apus_context_var_get(&variable) == NULL);
	return apus_server_stop(server, 0);
}

static void context_variables_of_the_handler_stay(void **state)
{
	run(serve_variable, asks_now_and_then);
}

/* ------------------------------------------------------------------------------------- the end */

static int64_t leaves_by_reset(void *arg)
{
	struct apus_tcp *c;

	sim_check_equal(arrive(&c), 0);
	sim_check_equal(apus_sleep(5 * APUS_SEC), 0);
	apus_tcp_abort(c);
	return 0;
}

static int64_t serve_reset(void *arg)
{
	sim_check_equal(open_napper((struct apus_server_options){0}), 0);
	sim_check_equal(apus_sleep(10 * APUS_SEC), 0);
	sim_check_equal(backs, 1); /* whose read told of it */
	sim_check_equal(apus_server_counter(server, APUS_SERVER_CLIENT_ERRORS), 1);
	sim_check_equal(apus_server_connections(server), 0);
	sim_check_equal(lost_count, 0);
	return apus_server_stop(server, 0);
}

static void reset_of_a_parked_connection_is_its_handlers_to_see(void **state)
{
	run(serve_reset, leaves_by_reset);
}

static int64_t serve_and_stop(void *arg)
{
	int64_t at_ns;

	sim_check_equal(open_napper((struct apus_server_options){0}), 0);
	sim_check_equal(apus_sleep(5 * APUS_SEC), 0);
	sim_check_equal(parked(), 5);
	at_ns = apus_now();
	sim_check_equal(apus_server_stop(server, 10 * APUS_SEC), 0);
	sim_check_equal(apus_now(), at_ns);
	sim_check_equal(lost_count, 5);
	sim_check_equal(lost_why, -ECANCELED);
	sim_check_equal(lost_state, 1);
	sim_check_equal(backs, 0);
	return 0;
}

static void stop_closes_parked_connections_at_once(void **state)
{
	run_many(serve_and_stop, stays_until_fin, 5);
	assert_int_equal(ended, 5);
}

/* Bytes come in the turn in which it stops: as with a task that is idle, it is too late. */
static int64_t serve_and_stop_late(void *arg)
{
	sim_check_equal(open_napper((struct apus_server_options){0}), 0);
	while (apus_now() < 6 * APUS_SEC || parked())
		sim_check_equal(apus_sleep(100 * APUS_US), 0);
	sim_check_equal(apus_server_connections(server), 1);
	sim_check_equal(apus_server_stop(server, APUS_SEC), 0);
	return 0;
}

static int64_t asks_and_reads_on(void *arg)
{
	struct apus_tcp *c;
	char byte;

	sim_check_equal(arrive(&c), 0);
	sim_check_equal(apus_sleep(8 * APUS_SEC), 0);
	sim_check_equal(apus_tcp_write(c, "y", 1), 1);
	sim_check_equal(apus_tcp_read(c, &byte, 1), 1);
	sim_check_equal(byte, 'y');
	sim_check_equal(apus_tcp_read(c, &byte, 1), 0);
	apus_tcp_close(c);
	return 0;
}

static void stop_waits_for_one_that_just_came_back(void **state)
{
	run(serve_and_stop_late, asks_and_reads_on);
}

static int64_t serve_and_close_clients(void *arg)
{
	sim_check_equal(open_napper((struct apus_server_options){0}), 0);
	sim_check_equal(apus_sleep(5 * APUS_SEC), 0);
	apus_server_close_clients(server);
	sim_check_equal(apus_server_connections(server), 0);
	sim_check_equal(lost_count, 2);
	sim_check_equal(lost_why, -ECANCELED);
	sim_check(apus_server_is_serving(server));
	return apus_server_stop(server, 0);
}

static void close_clients_ends_parked_ones_in_order(void **state)
{
	run_many(serve_and_close_clients, stays_until_fin, 2);
}

static int64_t serve_and_abort_clients(void *arg)
{
	sim_check_equal(open_napper((struct apus_server_options){0}), 0);
	sim_check_equal(apus_sleep(5 * APUS_SEC), 0);
	apus_server_abort_clients(server);
	sim_check_equal(apus_server_connections(server), 0);
	sim_check_equal(apus_server_counter(server, APUS_SERVER_ABORTED), 2);
	sim_check_equal(lost_why, -ECONNABORTED);
	return apus_server_stop(server, 0);
}

static void abort_clients_resets_parked_ones(void **state)
{
	run_many(serve_and_abort_clients, stays_until_reset, 2);
}

/* Closed, but not stopped: who is connected stays, also those without a task. */
static int64_t serve_and_close(void *arg)
{
	sim_check_equal(open_napper((struct apus_server_options){0}), 0);
	sim_check_equal(apus_sleep(5 * APUS_SEC), 0);
	apus_server_close(server);
	sim_check_equal(apus_sleep(5 * APUS_SEC), 0);
	sim_check_equal(calls, 2);
	sim_check_equal(backs, 1);
	sim_check_equal(park_rc, -EPIPE); /* from now on it keeps its task */
	sim_check_equal(apus_server_wait_closed(server), 0);
	return apus_server_stop(server, 0);
}

static int64_t asks_late_and_leaves(void *arg)
{
	struct apus_tcp *c;
	char byte;

	sim_check_equal(arrive(&c), 0);
	sim_check_equal(apus_sleep(7 * APUS_SEC), 0);
	sim_check_equal(apus_tcp_write(c, "y", 1), 1);
	sim_check_equal(apus_tcp_read(c, &byte, 1), 1);
	sim_check_equal(apus_sleep(7 * APUS_SEC), 0);
	apus_tcp_close(c);
	return 0;
}

static void closed_server_serves_those_that_are_parked(void **state)
{
	run(serve_and_close, asks_late_and_leaves);
}

/* The world's end cancels all tasks: none may be needed to let parked connections go. */
static int64_t serve_and_forget(void *arg)
{
	sim_check_equal(open_napper((struct apus_server_options){0}), 0);
	sim_check_equal(apus_sleep(5 * APUS_SEC), 0);
	sim_check_equal(parked(), 2);
	if (arg)
		apus_server_close(server);
	return 0;
}

static int64_t serve_closed_and_forget(void *arg)
{
	return serve_and_forget(&server);
}

static int64_t stop_server(void *arg)
{
	return apus_server_stop(server, 0);
}

static void cancel_all_with(apus_task_fn serve)
{
	struct apus_shard *shard = apus_sim_host_shard(pair.server), *before;
	struct apus_sim_task *s = apus_sim_spawn(pair.server, "server", serve, NULL);

	apus_sim_spawn(pair.client, "client", stays_until_fin, NULL);
	apus_sim_spawn(pair.client, "client", stays_until_fin, NULL);
	assert_int_equal(apus_sim_advance(pair.world, 7 * APUS_SEC), 0);
	assert_int_equal(apus_sim_task_result(s), 0);
	assert_int_equal(parked(), 2);
	before = apus_shard_enter(shard);
	apus_shard_cancel_all(shard);
	apus_shard_enter(before);
	assert_int_equal(apus_sim_advance(pair.world, APUS_SEC), 0);
	assert_int_equal(apus_shard_tasks(shard), 0);
	assert_int_equal(apus_server_connections(server), 0);
	assert_int_equal(lost_count, 2);
	assert_int_equal(lost_why, -ECANCELED);
	assert_int_equal(ended, 2);
	s = apus_sim_spawn(pair.server, "stop", stop_server, NULL);
	assert_int_equal(apus_sim_run(pair.world, APUS_SEC), 0);
	assert_int_equal(apus_sim_task_result(s), 0);
}

static void cancel_of_all_tasks_ends_parked_connections(void **state)
{
	cancel_all_with(serve_and_forget);
}

static void cancel_of_all_tasks_ends_those_of_a_closed_server(void **state)
{
	cancel_all_with(serve_closed_and_forget);
}

/* -------------------------------------------------------------------------- limits and want */

static int64_t serve_two_at_most(void *arg)
{
	sim_check_equal(open_napper((struct apus_server_options){.connections_max = 2}), 0);
	sim_check_equal(apus_sleep(5 * APUS_SEC), 0);
	sim_check_equal(parked(), 2);
	sim_check_equal(calls, 2);
	sim_check_equal(apus_server_counter(server, APUS_SERVER_FULL), 1);
	apus_server_close_clients(server);
	sim_check_equal(apus_sleep(5 * APUS_SEC), 0);
	sim_check_equal(calls, 3); /* the third one had waited for room */
	sim_check_equal(parked(), 1);
	return apus_server_stop(server, 0);
}

static void parked_connections_count_against_the_limit(void **state)
{
	run_many(serve_two_at_most, stays_until_fin, 3);
}

static int64_t serve_without_memory(void *arg)
{
	sim_check_equal(open_napper((struct apus_server_options){0}), 0);
	refuses_memory = true;
	sim_check_equal(apus_sleep(3500 * APUS_MS), 0);
	sim_check_equal(park_rc, -ENOMEM);
	sim_check_equal(parked(), 0);
	sim_check_equal(inside, 1); /* it goes on with its task */
	refuses_memory = false;
	sim_check_equal(apus_sleep(3 * APUS_SEC), 0);
	sim_check_equal(parked(), 1);
	return apus_server_stop(server, 0);
}

static void without_memory_the_handler_keeps_its_task(void **state)
{
	run(serve_without_memory, stays_until_fin);
}

static int64_t serve_without_tasks(void *arg)
{
	struct apus_shard *self = apus_shard_self();
	size_t tasks_max = self->tasks_max;

	sim_check_equal(open_napper((struct apus_server_options){0}), 0);
	sim_check_equal(apus_sleep(5 * APUS_SEC), 0);
	self->tasks_max = apus_shard_tasks(self);
	sim_check_equal(apus_sleep(5 * APUS_SEC), 0);
	self->tasks_max = tasks_max;
	sim_check_equal(apus_server_counter(server, APUS_SERVER_DROPPED), 1);
	sim_check_equal(lost_count, 1);
	sim_check_equal(lost_why, -ENOMEM);
	sim_check_equal(apus_server_connections(server), 0);
	sim_check_equal(parked(), 0);
	return apus_server_stop(server, 0);
}

static int64_t asks_and_is_reset(void *arg)
{
	struct apus_tcp *c;
	char byte;

	sim_check_equal(arrive(&c), 0);
	sim_check_equal(apus_sleep(7 * APUS_SEC), 0);
	sim_check_equal(apus_tcp_write(c, "y", 1), 1);
	sim_check_equal(apus_tcp_read(c, &byte, 1), -ECONNRESET);
	apus_tcp_close(c);
	return 0;
}

static void without_a_task_to_come_back_it_is_reset_and_counted(void **state)
{
	run(serve_without_tasks, asks_and_is_reset);
}

/* Parks at once, although what it was to read is there. */
static int64_t parks_blindly(struct apus_tcp *c, void *arg)
{
	struct apus_server_connection *self = apus_server_connection_self();
	uintptr_t all;

	if (apus_server_is_back(self, &all))
		return napper(c, arg);
	(void)!apus_sleep(APUS_SEC);
	return try_to_park(self, 0);
}

static int64_t serve_blindly(void *arg)
{
	sim_check_equal(open_napper((struct apus_server_options){.handler = parks_blindly}), 0);
	sim_check_equal(apus_sleep(1500 * APUS_MS), 0);
	sim_check_equal(backs, 1);
	sim_check_equal(served, 0);
	return apus_server_stop(server, 10 * APUS_SEC);
}

static void bytes_that_are_there_already_resume_it_at_once(void **state)
{
	run(serve_blindly, stays_until_fin);
}

/* Parks, and is cancelled before it returns. */
static int64_t parks_too_late(struct apus_tcp *c, void *arg)
{
	int64_t rc = try_to_park(apus_server_connection_self(), 0);

	apus_task_cancel(apus_task_self());
	return rc;
}

static int64_t serve_too_late(void *arg)
{
	sim_check_equal(open_napper((struct apus_server_options){.handler = parks_too_late}), 0);
	sim_check_equal(apus_sleep(APUS_SEC), 0);
	sim_check_equal(park_rc, 0);
	sim_check_equal(parked(), 0);
	sim_check_equal(apus_server_connections(server), 0);
	sim_check_equal(lost_count, 0);
	return apus_server_stop(server, 0);
}

static int64_t connects_and_reads_the_end(void *arg)
{
	struct apus_tcp *c;
	char byte;

	sim_check_equal(apus_tcp_connect(sim_server(), &c), 0);
	sim_check_equal(apus_tcp_read(c, &byte, 1), 0);
	apus_tcp_close(c);
	return 0;
}

static void cancelled_before_it_returns_the_connection_is_closed(void **state)
{
	run(serve_too_late, connects_and_reads_the_end);
}

/* ------------------------------------------------------------------------- many, by chance */

#define GUESTS   12
#define REQUESTS 15

/* Pauses around the second after which it is parked, and around its deadline. */
static int64_t random_guest(void *arg)
{
	struct apus_random *random = apus_shard_random(apus_shard_self());
	struct apus_tcp *c = NULL;
	uint32_t answers = 0;

	for (int i = 0; i < REQUESTS; i++) {
		char byte = (char)i, got = 0;
		int64_t n = c ? 0 : apus_tcp_connect(sim_server(), &c);

		if (!n)
			n = apus_tcp_write(c, &byte, 1);
		if (n == 1)
			n = apus_tcp_read(c, &got, 1);
		if (n == 1) {
			sim_check_equal(got, byte);
			answers++;
		} else { /* it was closed at the deadline, maybe as our byte was on its way */
			sim_check(n == 0 || n == -ECONNRESET || n == -EPIPE);
			apus_tcp_close(c);
			c = NULL;
		}

		int64_t about_ns = apus_random_below(random, 4) ? APUS_SEC : 3 * APUS_SEC;

		sim_check_equal(apus_sleep(about_ns - 3 * APUS_MS +
					   (int64_t)apus_random_below(random, 6) * APUS_MS),
				0);
	}
	if (c && apus_random_below(random, 2))
		apus_tcp_abort(c);
	else if (c)
		apus_tcp_close(c);
	sim_check(answers > REQUESTS / 2);
	return 0;
}

static int64_t serve_by_chance(void *arg)
{
	sim_check_equal(open_napper((struct apus_server_options){0}), 0);
	park_ns = 2 * APUS_SEC;
	sim_check_equal(apus_sleep(120 * APUS_SEC), 0);
	sim_check_equal(apus_server_connections(server), 0);
	sim_check_equal(parked(), 0);
	sim_check_equal(inside, 0);
	sim_check_equal(apus_server_counter(server, APUS_SERVER_RESUMED), backs);
	sim_check_equal(apus_server_counter(server, APUS_SERVER_HANDLER_ERRORS), 0);
	sim_check(backs > 10);
	sim_check(lost_count > 10);
	return apus_server_stop(server, 0);
}

static void every_request_of_random_guests_is_answered_or_refused(void **state)
{
	for (uint64_t seed = 1; seed <= 30; seed++) {
		if (seed > 1) {
			assert_int_equal(teardown(NULL), 0);
			open_world(seed);
		}
		run_many(serve_by_chance, random_guest, GUESTS);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		row(idle_connection_waits_without_a_task_and_comes_back),
		row(state_travels_and_the_deadline_closes_in_order),
		row(context_variables_of_the_handler_stay),
		row(reset_of_a_parked_connection_is_its_handlers_to_see),
		row(stop_closes_parked_connections_at_once),
		row(stop_waits_for_one_that_just_came_back),
		row(close_clients_ends_parked_ones_in_order),
		row(abort_clients_resets_parked_ones),
		row(closed_server_serves_those_that_are_parked),
		row(cancel_of_all_tasks_ends_parked_connections),
		row(cancel_of_all_tasks_ends_those_of_a_closed_server),
		row(parked_connections_count_against_the_limit),
		row(without_memory_the_handler_keeps_its_task),
		row(without_a_task_to_come_back_it_is_reset_and_counted),
		row(bytes_that_are_there_already_resume_it_at_once),
		row(cancelled_before_it_returns_the_connection_is_closed),
		row(every_request_of_random_guests_is_answered_or_refused),
	};

	return cmocka_run_group_tests_name("net/socket server park", tests, NULL, NULL);
}
