/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/http/test_server_sim.c: the server over the whole stack, on wires good and bad.
 */
#include "net/http/router.h"
#include "net/http/server.h"
#include "net/socket/stream.h"
#include "tests/net/sim/sim_test.h"
#include "tests/runtime/base_test.h"

#define CLIENTS     4
#define ROUNDS      12
#define BIG_BYTES   150000
#define LOSSY_SEEDS 60
#define HOST        "Host: h\r\n"
#define IMPAIR(l, r, d)                                     \
 {                                                          \
  .loss_ppm = (l), .reorder_ppm = (r), .duplicate_ppm = (d) \
 }

static struct sim_pair pair;
static struct apus_http_server_options options;
static int64_t run_ns;   /* how long the server serves */
static uint32_t clients; /* that have not finished */
static int64_t close_rc; /* of the server */
static uint64_t client_seed;
static uint8_t big[BIG_BYTES];

/* --- The server's host ----------------------------------------------------------------------- */

static int64_t on_hello(struct apus_http_request *req, struct apus_http_response *res, void *arg)
{
	return apus_http_respond(res, 200, "text/plain", "hello\n", 6);
}

static int64_t on_echo(struct apus_http_request *req, struct apus_http_response *res, void *arg)
{
	struct apus_http_text body = apus_http_request_body(req);

	return apus_http_respond(res, 200, NULL, body.at, body.len);
}

static int64_t on_big(struct apus_http_request *req, struct apus_http_response *res, void *arg)
{
	int rc = apus_http_response_begin(res, 200);

	if (rc == 0)
		rc = apus_http_response_stream(res, BIG_BYTES);
	for (size_t at = 0; rc == 0 && at < BIG_BYTES; at += 10000)
		rc = apus_http_response_write(res, big + at, 10000);
	return rc < 0 ? rc : apus_http_response_end(res);
}

static int64_t serve(void *arg)
{
	struct apus_http_server *server;
	struct apus_http_router *router;

	sim_check_equal(apus_http_router_create(&router), 0);
	sim_check_equal(apus_http_router_add(router, APUS_HTTP_GET, "/hello", on_hello, NULL), 0);
	sim_check_equal(apus_http_router_add(router, APUS_HTTP_GET, "/big", on_big, NULL), 0);
	sim_check_equal(apus_http_router_add(router, APUS_HTTP_POST, "/echo", on_echo, NULL), 0);
	options.local = sim_any(SERVER_PORT);
	options.handler = apus_http_router_handle;
	options.arg = router;
	sim_check_equal(apus_http_server_open(&options, &server), 0);
	for (int64_t end_ns = apus_now() + run_ns; clients > 0 && apus_now() < end_ns;)
		sim_check_equal(apus_sleep(10 * APUS_MS), 0);
	close_rc = apus_http_server_close(server, 20 * APUS_SEC);
	apus_http_router_destroy(router);
	return 0;
}

/* --- The client's host ----------------------------------------------------------------------- */

static int open_client(struct apus_stream **s)
{
	struct apus_tcp *c;
	int rc = apus_tcp_connect(sim_server(), &c);

	return rc < 0 ? rc : apus_stream_open(c, 0, s);
}

/* Read one answer with a Content-Length. Return: its status, the body in `body`. */
static int64_t read_answer(struct apus_stream *s, uint8_t *body, size_t size, size_t *body_bytes)
{
	const char *head, *length;
	int64_t n = apus_stream_read_until(s, "\r\n\r\n", 4, &head);
	char text[1024];

	if (n <= 0)
		return n < 0 ? n : -ENODATA;
	sim_check(n < (int64_t)sizeof(text));
	memcpy(text, head, (size_t)n);
	text[n] = 0;
	length = strstr(text, "Content-Length: ");
	sim_check(length && strncmp(text, "HTTP/1.1 ", 9) == 0);
	*body_bytes = strtoul(length + 16, NULL, 10);
	sim_check(*body_bytes <= size);
	for (size_t at = 0; at < *body_bytes; at += (size_t)n) {
		n = apus_stream_read(s, body + at, *body_bytes - at);
		if (n <= 0)
			return n < 0 ? n : -ENODATA;
	}
	return strtol(text + 9, NULL, 10);
}

static int64_t write_text(struct apus_stream *s, const char *text)
{
	return apus_stream_write(s, text, strlen(text));
}

/* One thing to ask for. */
struct question {
	uint32_t kind;   /* 0 to 3: /hello, 4: /big, 5 to 7: /echo */
	uint32_t length; /* of what is to be echoed */
};

static int64_t ask(struct apus_stream *s, struct question q)
{
	char head[256];

	if (q.kind < 4)
		return write_text(s, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
	if (q.kind == 4)
		return write_text(s, "GET /big HTTP/1.1\r\n" HOST "\r\n");
	snprintf(head, sizeof(head), "POST /echo HTTP/1.1\r\n" HOST "Content-Length: %u\r\n\r\n",
		 q.length);
	sim_check(write_text(s, head) > 0);
	return apus_stream_write(s, big, q.length);
}

static int64_t check_answer(struct apus_stream *s, struct question q, uint8_t *scratch)
{
	const void *expected = q.kind < 4 ? (const void *)"hello\n" : big;
	size_t want = q.kind < 4 ? 6 : q.kind == 4 ? BIG_BYTES : q.length;
	size_t got = 0;

	sim_check_equal(read_answer(s, scratch, BIG_BYTES, &got), 200);
	sim_check_equal(got, want);
	sim_check(memcmp(scratch, expected, got) == 0);
	return 0;
}

/* Ask for up to four things at once, then take the answers. */
static int64_t one_round(struct apus_stream *s, uint64_t *random, uint8_t *scratch)
{
	struct question questions[4];
	size_t n = 1 + test_random_below(random, 4);

	for (size_t i = 0; i < n; i++) {
		uint32_t kind = (uint32_t)test_random_below(random, 8);

		questions[i].kind = kind;
		questions[i].length = (uint32_t)test_random_below(random, kind == 7 ? 60000 : 3000);
		sim_check(ask(s, questions[i]) >= 0);
	}
	sim_check_equal(apus_stream_drain(s), 0);
	for (size_t i = 0; i < n; i++)
		if (check_answer(s, questions[i], scratch) < 0)
			return -EBADMSG;
	return 0;
}

static int64_t rounds(struct apus_stream *s, uint64_t random)
{
	uint8_t *scratch = malloc(BIG_BYTES);
	int64_t rc = 0;

	for (int i = 0; i < ROUNDS && rc == 0; i++)
		rc = one_round(s, &random, scratch);
	free(scratch);
	return rc;
}

static int64_t random_client(void *arg)
{
	struct apus_stream *s;
	int64_t rc = open_client(&s);

	if (rc == 0) {
		rc = rounds(s, client_seed + (uintptr_t)arg);
		if (rc == 0)
			rc = apus_stream_close(s);
		else
			apus_stream_abort(s);
	}
	clients--;
	return rc;
}

/* --- Around the tests ------------------------------------------------------------------------ */

static void begin(uint64_t seed, const struct apus_sim_link_options *link)
{
	options = (struct apus_http_server_options){0};
	run_ns = 3600 * APUS_SEC;
	clients = 0;
	close_rc = 1;
	client_seed = seed * 1000;
	sim_fill(big, sizeof(big), 0, 7);
	sim_pair_open(&pair, seed, link);
}

/* Run the server and `n` clients to their ends; nothing may be left. */
static void run(apus_task_fn client, size_t n)
{
	struct apus_sim_task *tasks[CLIENTS + 1];

	assert_true(n <= CLIENTS);
	clients = (uint32_t)n;
	tasks[n] = apus_sim_spawn(pair.server, "server", serve, NULL);
	for (size_t i = 0; i < n; i++)
		tasks[i] = apus_sim_spawn(pair.client, "client", client, (void *)(i + 1));
	assert_int_equal(apus_sim_run(pair.world, 3600 * APUS_SEC), 0);
	for (size_t i = 0; i <= n; i++)
		assert_int_equal(apus_sim_task_result(tasks[i]), 0);
	assert_int_equal(apus_sim_advance(pair.world, 300 * APUS_SEC), 0);
	assert_int_equal(sim_pair_left(&pair), 0);
	assert_int_equal(apus_sim_world_close(pair.world), 0);
}

/* --- Tests ----------------------------------------------------------------------------------- */

static uint64_t segments(struct apus_sim_host *host)
{
	return apus_sim_host_counter(host, "tcp", "segments_out");
}

static int64_t count_segments(void *arg)
{
	struct apus_stream *s;
	uint8_t body[16];
	size_t got;

	sim_check_equal(open_client(&s), 0);
	sim_check_equal(apus_sleep(APUS_SEC), 0); /* the handshake's last acknowledgement */

	uint64_t server = segments(pair.server), client = segments(pair.client);

	for (int i = 0; i < 10; i++) {
		sim_check(write_text(s, "GET /hello HTTP/1.1\r\n" HOST "\r\n") > 0);
		sim_check_equal(apus_stream_drain(s), 0);
		sim_check_equal(read_answer(s, body, sizeof(body), &got), 200);
	}
	/* An answer is one segment, and acknowledges its request; the next request does the same. */
	sim_check_equal(segments(pair.server) - server, 10);
	sim_check_equal(segments(pair.client) - client, 10);
	sim_check_equal(apus_stream_close(s), 0);
	clients--;
	return 0;
}

static void request_and_answer_are_one_segment_each(void **state)
{
	begin(1, &(struct apus_sim_link_options){.wire.delay_ns = APUS_MS});
	run(count_segments, 1);
	assert_int_equal(close_rc, 0);
}

static void clients_on_a_perfect_wire_get_every_byte(void **state)
{
	test_each_seed(seed, 20)
	{
		begin(seed, NULL);
		run(random_client, CLIENTS);
		assert_int_equal(close_rc, 0);
	}
}

static void clients_on_a_lossy_wire_get_every_byte(void **state)
{
	static const struct apus_impair_options table[] = {
		IMPAIR(10000, 0, 0),
		IMPAIR(50000, 20000, 10000),
		IMPAIR(0, 200000, 0),
	};

	test_each_seed(seed, LOSSY_SEEDS)
	{
		begin(seed, &(struct apus_sim_link_options){
				    .wire.delay_ns = 5 * APUS_MS,
				    .impair = table[seed % apus_countof(table)],
			    });
		run(random_client, CLIENTS);
		assert_int_equal(close_rc, 0);
	}
}

static int64_t drip(void *arg)
{
	static const char request[] = "GET /hello HTTP/1.1\r\nX: aaaaaaaaaaaaaaaaa";
	struct apus_stream *s;
	uint8_t body[64];
	size_t got;
	int64_t began_ns = apus_now();

	sim_check_equal(open_client(&s), 0);
	for (int i = 0; i < 12; i++) {
		sim_check_equal(apus_stream_write(s, request + i, 1), 1);
		sim_check_equal(apus_stream_drain(s), 0);
		sim_check_equal(apus_sleep(APUS_SEC), 0);
	}
	/* The answer survived that we went on sending. */
	sim_check_equal(read_answer(s, body, sizeof(body), &got), 408);
	sim_check_equal(apus_stream_read(s, body, 1), 0);
	sim_check(apus_now() - began_ns < 13 * APUS_SEC);
	sim_check_equal(apus_stream_close(s), 0);
	clients--;
	return 0;
}

static void slow_client_reads_its_408(void **state)
{
	begin(1, &(struct apus_sim_link_options){.wire.delay_ns = 20 * APUS_MS});
	run(drip, 1);
}

static int64_t too_large(void *arg)
{
	struct apus_stream *s;
	uint8_t body[64];
	size_t got;
	char head[] = "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 2000000\r\n\r\n";

	sim_check_equal(open_client(&s), 0);
	sim_check(write_text(s, head) > 0);
	for (int i = 0; i < 10; i++) /* it does not listen while it sends */
		sim_check_equal(apus_stream_write(s, big, BIG_BYTES), BIG_BYTES);
	sim_check_equal(apus_stream_drain(s), 0);
	sim_check_equal(read_answer(s, body, sizeof(body), &got), 413);
	sim_check_equal(apus_stream_close(s), 0);
	clients--;
	return 0;
}

static void client_that_sends_on_reads_its_413(void **state)
{
	begin(1, &(struct apus_sim_link_options){.wire.delay_ns = 5 * APUS_MS});
	run(too_large, 1);
}

/* Idle when the server stops. */
static int64_t sits(void *arg)
{
	struct apus_stream *s;
	uint8_t body[64];
	size_t got;

	sim_check_equal(open_client(&s), 0);
	sim_check(write_text(s, "GET /hello HTTP/1.1\r\n" HOST "\r\n") > 0);
	sim_check_equal(apus_stream_drain(s), 0);
	sim_check_equal(read_answer(s, body, sizeof(body), &got), 200);
	sim_check_equal(apus_stream_read(s, body, 1), 0); /* a FIN, not a reset */
	sim_check_equal(apus_stream_close(s), 0);
	return 0;
}

static void idle_client_gets_a_fin_when_the_server_stops(void **state)
{
	begin(1, &(struct apus_sim_link_options){.wire.delay_ns = APUS_MS});
	run_ns = 5 * APUS_SEC;
	run(sits, 3);
	assert_int_equal(close_rc, 0);
}

/* In the middle of a transfer when the server stops. */
static int64_t transfer(uint8_t *body)
{
	struct apus_stream *s;
	size_t got = 0;

	sim_check_equal(open_client(&s), 0);
	sim_check(write_text(s, "GET /big HTTP/1.1\r\n" HOST "\r\n") > 0);
	sim_check_equal(apus_stream_drain(s), 0);
	sim_check_equal(read_answer(s, body, BIG_BYTES, &got), 200);
	sim_check(got == BIG_BYTES && memcmp(body, big, got) == 0);
	sim_check_equal(apus_stream_read(s, body, 1), 0);
	sim_check_equal(apus_stream_close(s), 0);
	return 0;
}

static int64_t transfers(void *arg)
{
	uint8_t *body = malloc(BIG_BYTES);
	int64_t rc = body ? transfer(body) : -ENOMEM;

	free(body);
	return rc;
}

static void transfer_under_way_is_finished_when_the_server_stops(void **state)
{
	begin(1, &(struct apus_sim_link_options){.wire.delay_ns = 100 * APUS_MS});
	run_ns = 700 * APUS_MS; /* the request came at 500 ms, the answer needs many round trips */
	run(transfers, CLIENTS);
	assert_int_equal(close_rc, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_and_answer_are_one_segment_each),
		cmocka_unit_test(clients_on_a_perfect_wire_get_every_byte),
		cmocka_unit_test(clients_on_a_lossy_wire_get_every_byte),
		cmocka_unit_test(slow_client_reads_its_408),
		cmocka_unit_test(client_that_sends_on_reads_its_413),
		cmocka_unit_test(idle_client_gets_a_fin_when_the_server_stops),
		cmocka_unit_test(transfer_under_way_is_finished_when_the_server_stops),
	};

	return test_main(argc, argv, tests);
}
