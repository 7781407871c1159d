/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/apps/test_load.c: the load generator: what it takes for an answer, and what it takes for the
 * time of one. The server is a task in a simulated world that answers when it is told to.
 */
#include "apps/load/load.h"
#include "net/socket/udp.h"
#include "tests/net/sim/sim_test.h"

#include <string.h>

#define PORT   7
#define RTT_NS (20 * APUS_MS)

/* --- Answers in pieces --------------------------------------------------------------------- */

/* Feeds @text cut at every place; each time @answers of it are to come, @bad of them errors. */
static void feed_cut(const struct load_protocol *p, const char *text, int answers, int bad)
{
	size_t len = strlen(text);

	for (size_t cut = 0; cut <= len; cut++) {
		struct load_stream s = {0};
		int whole_count = 0, bad_count = 0;
		size_t at = 0;

		assert_int_equal(p->begin(&s), 0);
		while (at < len) {
			size_t end = at < cut ? cut : len;
			bool whole = false;
			int64_t n = p->answer(&s, text + at, end - at, &whole);

			assert_true(n > 0);
			at += (size_t)n;
			whole_count += whole;
			bad_count += whole && s.is_bad;
			s.is_bad = s.is_bad && !whole;
		}
		p->end(&s);
		assert_int_equal(whole_count, answers);
		assert_int_equal(bad_count, bad);
	}
}

/* The whole of @text in one piece, until it is no answer any more. */
static bool is_refused(const struct load_protocol *p, const char *text)
{
	size_t at = 0, len = strlen(text);
	struct load_stream s = {0};
	int64_t n = 1;

	assert_int_equal(p->begin(&s), 0);
	while (at < len && n > 0) {
		bool whole = false;

		n = p->answer(&s, text + at, len - at, &whole);
		at += n > 0 ? (size_t)n : 0;
	}
	p->end(&s);
	return n == -EBADMSG;
}

static void prepare(const struct load_protocol *p, uint32_t bytes)
{
	char why[256];

	load_options.bytes = bytes;
	load_options.path = "/";
	load_options.keys = 100;
	load_options.get_percent = 50;
	load_options.depth = 1;
	assert_int_equal(p->prepare(&load_options, why, sizeof(why)), 0);
}

#if APUS_HTTP
static void http_answers_cut_anywhere_are_told_apart(void **state)
{
	prepare(&load_http, 0);
	feed_cut(&load_http,
		 "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
		 "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"
		 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
		 "HTTP/1.1 204 No Content\r\n\r\n"
		 "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
		 "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHELLO",
		 6, 1);
}

static void http_nonsense_is_no_answer(void **state)
{
	prepare(&load_http, 0);
	assert_true(is_refused(&load_http, "SSH-2.0-OpenSSH_9.2\r\n"));
	assert_true(is_refused(&load_http, "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"));
	assert_true(is_refused(&load_http, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nmore"));
}

static void http_path_that_is_none_is_refused_with_a_sentence(void **state)
{
	static const char *const paths[] = {"index.html", "/a b", "/\r\nHost: x", ""};
	char why[256];

	for (size_t i = 0; i < apus_countof(paths); i++) {
		load_options.path = paths[i];
		assert_int_equal(load_http.prepare(&load_options, why, sizeof(why)), -EINVAL);
		assert_non_null(strstr(why, "--path"));
	}
}
#endif

static void memcached_answers_cut_anywhere_are_told_apart(void **state)
{
	prepare(&load_memcached, 5);
	load_stats.misses = 0;
	feed_cut(&load_memcached,
		 "STORED\r\nVALUE load:0000000001 0 5\r\nEND\r\n\r\nEND\r\nEND\r\n"
		 "SERVER_ERROR out of memory storing object\r\nSTORED\r\n",
		 5, 1);
	assert_true(load_stats.misses > 0);
}

static void memcached_nonsense_is_no_answer(void **state)
{
	prepare(&load_memcached, 5);
	assert_true(is_refused(&load_memcached, "ERROR\r\n"));
	assert_true(is_refused(&load_memcached, "STORED\n"));
	assert_true(is_refused(&load_memcached, "VALUE k 0 99999999999\r\n"));
	assert_true(is_refused(&load_memcached, "HTTP/1.1 400 Bad Request\r\n"));
}

static void echo_that_changes_a_byte_is_no_answer(void **state)
{
	char right[64], wrong[64];
	struct iovec pieces[LOAD_PIECES_MAX];
	struct load_stream s = {0};

	prepare(&load_echo, 63);
	load_echo.begin(&s);
	assert_int_equal(load_echo.request(&s, pieces), 1);
	memcpy(right, pieces[0].iov_base, 63);
	right[63] = '\0';
	memcpy(wrong, right, 64);
	wrong[40] ^= 1;
	for (size_t cut = 1; cut < 63; cut++) {
		bool whole = false;

		load_echo.begin(&s);
		assert_int_equal(load_echo.answer(&s, right, cut, &whole), cut);
		assert_false(whole);
		assert_int_equal(load_echo.answer(&s, right + cut, 63 - cut, &whole), 63 - cut);
		assert_true(whole);
	}
	load_echo.begin(&s);
	bool whole = false;
	assert_int_equal(load_echo.answer(&s, wrong, 63, &whole), -EBADMSG);
}

static void schedule_is_even_and_does_not_drift(void **state)
{
	/* 3 connections in turn, 7 requests a second: an hour later request 7 * 3600 is due to the ns */
	assert_int_equal(load_due_ns(100, 7, 0, 0, 3), 100);
	assert_int_equal(load_due_ns(100, 7, 0, 1, 3), 100 + APUS_SEC / 7);
	assert_int_equal(load_due_ns(100, 7, 7 * 1200, 0, 3), 100 + 3600 * APUS_SEC);
	assert_int_equal(load_due_ns(0, 1000000000, UINT64_C(1) << 40, 0, 1), INT64_C(1) << 40);
}

/* --- Times --------------------------------------------------------------------------------- */

static struct sim_pair pair;
static int64_t stall_at_ns, stall_ns; /* the server does not answer for a while */
static bool datagrams;                /* UDP, not TCP */

/* In the time that is to be silent it waits for its end. Return: 0, -ECANCELED */
static int stall(void)
{
	int64_t into_ns = apus_now() - stall_at_ns;

	return stall_ns && into_ns >= 0 && into_ns < stall_ns ? apus_sleep(stall_ns - into_ns) : 0;
}

static int64_t answer_one(void *arg)
{
	struct apus_tcp *c = arg;
	char buf[2048];
	int64_t n;

	while ((n = apus_tcp_read(c, buf, sizeof(buf))) > 0) {
		if (stall())
			break;
		if (apus_tcp_write(c, buf, (size_t)n) < 0)
			break;
	}
	apus_tcp_close(c);
	return 0;
}

static int64_t answer_all(void *arg)
{
	struct apus_tcp_listener *l;
	struct apus_tcp *c;
	int64_t rc = apus_tcp_listen((struct apus_endpoint){.port = PORT}, 0, &l);

	assert_int_equal(rc, 0);
	while (!(rc = apus_tcp_accept(l, &c)))
		assert_int_equal(apus_spawn_detached(NULL, answer_one, c, 0), 0);
	apus_tcp_listener_close(l);
	return rc;
}

static int64_t answer_datagrams(void *arg)
{
	struct apus_endpoint from;
	struct apus_udp *u;
	char buf[2048];
	int64_t n;

	assert_int_equal(apus_udp_open((struct apus_endpoint){.port = PORT}, NULL, &u), 0);
	while ((n = apus_udp_recv(u, buf, sizeof(buf), &from)) >= 0)
		if (stall() || apus_udp_send(u, buf, (size_t)n, &from) < 0)
			break;
	apus_udp_close(u);
	return 0;
}

static void open_world(void)
{
	static const struct load_workload echo = {.name = "echo", .protocol = &load_echo};

	sim_pair_open(&pair, 1, &(struct apus_sim_link_options){.wire.delay_ns = RTT_NS / 2});
	load_options = (struct load_options){
		.workload = &echo,
		.to = {apus_sim_host_addr(pair.server), PORT},
		.connections = 1,
		.depth = 1,
		.timeout_ns = 5 * APUS_SEC,
	};
	prepare(&load_echo, 64);
	load_stats = (struct load_stats){0};
	apus_histogram_init(&load_stats.latency);
	load_run = (struct load_run){
		.active = 1,
		.start_ns = apus_sim_now(pair.world),
		.since_ns = apus_sim_now(pair.world),
	};
	stall_ns = 0;
	datagrams = false;
}

/* Lets @connections do their work for @ns. */
static void run_for(uint32_t connections, int64_t ns)
{
	struct apus_sim_task *tasks[16];
	struct apus_sim_task *server = apus_sim_spawn(
		pair.server, "server", datagrams ? answer_datagrams : answer_all, NULL);

	load_run.active = load_options.connections = connections;
	for (uint32_t i = 0; i < connections; i++)
		tasks[i] = apus_sim_spawn(pair.client, "connection",
					  datagrams ? load_run_datagram : load_run_stream,
					  (void *)(uintptr_t)i);
	assert_int_equal(apus_sim_advance(pair.world, ns), 0);
	for (uint32_t i = 0; i < connections; i++)
		apus_sim_task_cancel(tasks[i]);
	apus_sim_task_cancel(server);
	assert_int_equal(apus_sim_run(pair.world, 300 * APUS_SEC), 0);
	assert_int_equal(apus_sim_advance(pair.world, 300 * APUS_SEC), 0);
	assert_int_equal(apus_sim_world_close(pair.world), 0);
	assert_int_equal(load_stats.open, 0);
}

static uint64_t errors_but(enum load_error e)
{
	uint64_t n = 0;

	for (int i = 0; i < LOAD_ERROR_COUNT; i++)
		n += i == (int)e ? 0 : load_stats.errors[i];
	return n;
}

static void closed_loop_asks_once_per_round_trip(void **state)
{
	open_world();
	run_for(4, 2 * APUS_SEC);
	/* 100 round trips, one for the handshake (and one more for ARP) */
	assert_in_range(load_stats.latency.count, 4 * 96, 4 * 99);
	assert_int_equal(load_stats.latency.min, RTT_NS);
	assert_int_equal(load_stats.latency.max, RTT_NS);
	assert_int_equal(errors_but(LOAD_ERROR_COUNT), 0);
}

static void depth_asks_so_often_per_round_trip(void **state)
{
	open_world();
	load_options.depth = 8;
	run_for(1, 2 * APUS_SEC);
	assert_in_range(load_stats.latency.count, 8 * 96, 8 * 99);
	assert_int_equal(errors_but(LOAD_ERROR_COUNT), 0);
}

static void open_loop_keeps_its_rate(void **state)
{
	open_world();
	load_options.rate = 100;
	load_options.depth = 16;
	load_run.since_ns += APUS_SEC;
	run_for(4, 11 * APUS_SEC);
	assert_in_range(load_stats.latency.count, 995, 1001);
	assert_int_equal(load_stats.latency.max, RTT_NS);
}

/* A second of silence: requests that were due meanwhile waited, and their wait is told. */
static void open_loop_counts_the_wait_of_requests_that_could_not_leave(void **state)
{
	open_world();
	load_options.rate = 20;
	load_run.since_ns += APUS_SEC;
	stall_at_ns = apus_sim_now(pair.world) + 5 * APUS_SEC;
	stall_ns = APUS_SEC;
	run_for(1, 11 * APUS_SEC);
	assert_in_range(load_stats.latency.count, 195, 201); /* none is missing */
	assert_in_range(load_stats.latency.max, APUS_SEC - 50 * APUS_MS, APUS_SEC + 2 * RTT_NS);
	/*
	 * 20 were due in that second; with 50 round trips a second, of which 20 are new ones' due, 33
	 * of 200 waited, from a second down to nothing: the 17th of them for half of it.
	 */
	assert_in_range(apus_histogram_percentile(&load_stats.latency, 91.7), 420 * APUS_MS,
			600 * APUS_MS);
	assert_in_range(apus_histogram_percentile(&load_stats.latency, 80), RTT_NS,
			RTT_NS + RTT_NS / 16);
}

/* More is due than fits into the queues, so requests stop half-way, and go on when there is room. */
static void request_that_was_interrupted_goes_on_where_it_was(void **state)
{
	open_world();
	prepare(&load_echo, 65536);
	load_options.rate = 50;
	load_options.depth = 64;
	stall_at_ns = apus_sim_now(pair.world) + APUS_SEC;
	stall_ns = APUS_SEC;
	run_for(1, 6 * APUS_SEC);
	assert_int_equal(errors_but(LOAD_ERROR_COUNT), 0);
	assert_in_range(load_stats.latency.count, 285, 300);
	assert_true(load_stats.latency.max > 900 * APUS_MS);
}

static void datagrams_are_asked_for_once_per_round_trip(void **state)
{
	open_world();
	datagrams = true;
	load_options.depth = 3; /* no power of two */
	load_run.since_ns += RTT_NS * 5;
	run_for(2, 2 * APUS_SEC); /* as many as wait for the neighbour's address */
	assert_in_range(load_stats.latency.count, 2 * 3 * 93, 2 * 3 * 95);
	assert_int_equal(load_stats.latency.max, RTT_NS);
	assert_int_equal(errors_but(LOAD_ERROR_COUNT), 0);
}

static void datagrams_that_could_not_leave_count_their_wait(void **state)
{
	open_world();
	datagrams = true;
	load_options.rate = 20;
	load_run.since_ns += APUS_SEC;
	stall_at_ns = apus_sim_now(pair.world) + 5 * APUS_SEC;
	stall_ns = APUS_SEC;
	run_for(1, 11 * APUS_SEC);
	assert_in_range(load_stats.latency.count, 195, 201);
	assert_in_range(load_stats.latency.max, APUS_SEC - 50 * APUS_MS, APUS_SEC + 2 * RTT_NS);
	assert_int_equal(errors_but(LOAD_ERROR_COUNT), 0);
}

/* Two are lost each 200 ms, and the rest of the run has its answers. */
static void late_datagrams_are_lost_and_make_room(void **state)
{
	open_world();
	datagrams = true;
	load_options.timeout_ns = 200 * APUS_MS;
	load_options.depth = 2;
	stall_at_ns = apus_sim_now(pair.world) + APUS_SEC;
	stall_ns = 900 * APUS_MS;
	run_for(1, 3 * APUS_SEC);
	assert_in_range(load_stats.errors[LOAD_TIMEOUT], 8, 10);
	assert_int_equal(errors_but(LOAD_TIMEOUT), 0);
	assert_true(load_stats.latency.max < 200 * APUS_MS);
	assert_in_range(load_stats.latency.count, 2 * 95, 2 * 106);
}

static void late_answer_is_an_error_and_no_latency(void **state)
{
	open_world();
	load_options.timeout_ns = 200 * APUS_MS;
	stall_at_ns = apus_sim_now(pair.world) + APUS_SEC;
	stall_ns = 60 * APUS_SEC;
	run_for(2, 3 * APUS_SEC);
	assert_true(load_stats.errors[LOAD_TIMEOUT] > 4);
	assert_int_equal(errors_but(LOAD_TIMEOUT), 0);
	assert_int_equal(load_stats.latency.max, RTT_NS);
}

static void refused_connections_are_counted_and_tried_again(void **state)
{
	open_world();
	load_options.to.port = PORT + 1;
	run_for(2, 2 * APUS_SEC);
	assert_in_range(load_stats.errors[LOAD_REFUSED], 20, 40);
	assert_int_equal(errors_but(LOAD_REFUSED), 0);
	assert_int_equal(load_stats.latency.count, 0);
}

static void new_connections_count_their_opening(void **state)
{
	open_world();
	load_options.reconnect = true;
	run_for(1, 2 * APUS_SEC);
	assert_in_range(load_stats.latency.count, 45, 50);
	assert_in_range(load_stats.connects, 45, 51);
	assert_int_equal(load_stats.latency.min, 2 * RTT_NS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#if APUS_HTTP
		cmocka_unit_test(http_answers_cut_anywhere_are_told_apart),
		cmocka_unit_test(http_nonsense_is_no_answer),
		cmocka_unit_test(http_path_that_is_none_is_refused_with_a_sentence),
#endif
		cmocka_unit_test(memcached_answers_cut_anywhere_are_told_apart),
		cmocka_unit_test(memcached_nonsense_is_no_answer),
		cmocka_unit_test(echo_that_changes_a_byte_is_no_answer),
		cmocka_unit_test(schedule_is_even_and_does_not_drift),
		cmocka_unit_test(closed_loop_asks_once_per_round_trip),
		cmocka_unit_test(depth_asks_so_often_per_round_trip),
		cmocka_unit_test(open_loop_keeps_its_rate),
		cmocka_unit_test(open_loop_counts_the_wait_of_requests_that_could_not_leave),
		cmocka_unit_test(request_that_was_interrupted_goes_on_where_it_was),
		cmocka_unit_test(datagrams_are_asked_for_once_per_round_trip),
		cmocka_unit_test(datagrams_that_could_not_leave_count_their_wait),
		cmocka_unit_test(late_datagrams_are_lost_and_make_room),
		cmocka_unit_test(late_answer_is_an_error_and_no_latency),
		cmocka_unit_test(refused_connections_are_counted_and_tried_again),
		cmocka_unit_test(new_connections_count_their_opening),
	};

	apus_test_eal();
	return cmocka_run_group_tests_name("apps load", tests, NULL, NULL);
}
