/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/sim/test_oom.c: two hosts talk, and one of them is refused memory, at each allocation.
 *
 * The world is the same in every run: a connection with loss, reordering and duplicates, on which
 * both sides send, one of them lent buffers; an orderly close and TIME-WAIT; a connection that is
 * refused; one that is aborted. Of one host the k-th allocation fails, for every k until the world
 * ends before there are so many: an object of a slab, memory of the heap or an mbuf, whoever asks for
 * it. It fails alone; or with all that follow for some seconds; or for good.
 *
 * In the first two cases all must end as if nothing had been, only later: a listen or connect may say
 * -ENOMEM, no other call may fail. In the last, tasks may fail by the errors of their headers, or
 * wait, and be cancelled. After every step each connection's invariants hold, and in the end nothing
 * is left: no entry, no object of any slab, no mbuf.
 */
#include "tests/net/sim/poor.h"

#include "net/tcp/info.h"
#include "net/tcp/tcb.h"

#include <inttypes.h>

#define BYTES_OUT   150000 /* of the server: more than its peer's first buffer */
#define BYTES_IN    30000  /* of the client */
#define PIECE_BYTES 5000
#define ABORT_BYTES 3000
#define CLOSED_PORT 81
#define RETRY_NS    (100 * APUS_MS)
#define LIMIT_NS    (120 * APUS_SEC)
#define GIVE_UP_NS  (4000 * APUS_SEC)
#define CALM_NS     (300 * APUS_SEC)    /* longer than TIME-WAIT, FIN-WAIT-2 and SYN-ACK retries */
#define EVERY       (APUS_ASAN ? 9 : 1) /* k */
#define EVERY_GOOD  (APUS_ASAN ? 101 : 31) /* k, for good */
#define CROWD       100                    /* connections at once: tables grow */

/* ---- what the hosts do ---- */

struct side {
	struct apus_tcp *c;
	uint64_t sent, got;
	uint64_t out_bytes, in_bytes;
	uint32_t out_key, in_key;
	bool lends; /* and borrows views, instead of write and read */
	bool writer_done;
};

static struct {
	struct sim_pair pair;
	struct side server, client;
	struct apus_sim_task *tasks[CROWD + 1];
	size_t task_count;
	unsigned int no_memory; /* calls that said so */
	unsigned int lent;      /* buffers, and not back */
	bool accepted;          /* the connection that is to be aborted */
} run;

static void came_back(void *arg)
{
	free(arg);
	run.lent--;
}

static int64_t write_piece(struct side *s, struct apus_tcp *c)
{
	size_t bytes = apus_min((uint64_t)PIECE_BYTES, s->out_bytes - s->sent);
	uint8_t *piece = malloc(bytes);
	int64_t rc;

	apus_must(piece);
	sim_fill(piece, bytes, s->sent, s->out_key);
	s->sent += bytes;
	if (s->lends) {
		run.lent++;
		return apus_tcp_send_buffer(c, piece, bytes, came_back, piece);
	}
	rc = apus_tcp_write(c, piece, bytes);
	free(piece);
	return rc;
}

static int64_t write_all(void *arg)
{
	struct side *s = arg;
	struct apus_tcp *c;
	int64_t rc = 0;

	while (!rc && !s->c)
		rc = apus_sleep(RETRY_NS);
	if (rc < 0)
		return rc;
	c = s->c;
	apus_tcp_get(c);
	while (rc >= 0 && s->sent < s->out_bytes)
		rc = write_piece(s, c);
	if (rc >= 0)
		rc = apus_tcp_shutdown(c);
	apus_tcp_put(c);
	s->writer_done = true;
	return rc;
}

static int64_t read_views(struct side *s, uint8_t *buf, size_t room)
{
	struct iovec view;
	int n = apus_tcp_peek(s->c, &view, 1);

	if (n <= 0)
		return n;
	apus_must_op(view.iov_len, <=, room);
	memcpy(buf, view.iov_base, view.iov_len);
	apus_tcp_consume(s->c, view.iov_len);
	return (int64_t)view.iov_len;
}

static int64_t read_all(struct side *s)
{
	static uint8_t bufs[2][16384];
	uint8_t *buf = bufs[s == &run.server];
	int64_t n;

	for (;;) {
		n = s->lends ? read_views(s, buf, sizeof(bufs[0]))
			     : apus_tcp_read(s->c, buf, sizeof(bufs[0]));
		if (n <= 0)
			break;
		sim_check_equal(sim_differs(buf, (size_t)n, s->got, s->in_key), -1);
		s->got += (uint64_t)n;
	}
	if (n < 0)
		return n;
	sim_check_equal(s->got, s->in_bytes);
	return 0;
}

/* The connection's end; its other task may be at it still. */
static int64_t close_side(struct side *s, int64_t rc)
{
	while (!rc && !s->writer_done)
		rc = apus_sleep(RETRY_NS);
	apus_tcp_close(s->c);
	s->c = NULL;
	return rc;
}

static int64_t exchange(struct side *s, struct apus_tcp *c)
{
	int64_t rc = apus_tcp_set(c, APUS_TCP_KEEPALIVE_IDLE_NS, 10 * APUS_SEC);

	s->c = c;
	rc = rc ? rc : apus_tcp_trace_start(c, 64);
	if (rc == -ENOMEM) {
		run.no_memory++;
		rc = 0;
	}
	return close_side(s, rc ? rc : read_all(s));
}

/* A connection that the peer aborts: whether the reset comes, or the question after a while. */
static int64_t serve_aborted(struct apus_tcp_listener *l)
{
	uint8_t buf[ABORT_BYTES];
	struct apus_tcp *c;
	int64_t rc = apus_tcp_accept(l, &c), n;

	if (rc)
		return rc;
	run.accepted = true;
	rc = apus_tcp_set(c, APUS_TCP_KEEPALIVE_IDLE_NS, 5 * APUS_SEC);
	rc = rc ? rc : apus_tcp_set(c, APUS_TCP_KEEPALIVE_INTERVAL_NS, 5 * APUS_SEC);
	while (!rc) {
		n = apus_tcp_read(c, buf, sizeof(buf));
		if (n <= 0)
			rc = n ? n : -EBADMSG;
	}
	apus_tcp_close(c);
	return rc == -ECONNRESET ? 0 : rc;
}

static int64_t listen_or_wait(struct apus_tcp_listener **out)
{
	int64_t rc;

	while ((rc = apus_tcp_listen(sim_any(SERVER_PORT), CROWD, out)) == -ENOMEM) {
		run.no_memory++;
		rc = apus_sleep(RETRY_NS);
		if (rc)
			return rc;
	}
	return rc;
}

static int64_t serve(void *arg)
{
	struct apus_tcp_listener *l;
	struct apus_tcp *c;
	int64_t rc = listen_or_wait(&l);

	if (rc)
		return rc;
	rc = apus_tcp_accept(l, &c);
	rc = rc ? rc : exchange(&run.server, c);
	rc = rc ? rc : serve_aborted(l);
	apus_tcp_listener_close(l);
	return rc;
}

/* As a user would who was told that there is no memory; the server may be late for that reason. */
static int64_t connect_to(uint16_t port, struct apus_tcp **out)
{
	int64_t rc;

	while ((rc = apus_tcp_connect(sim_endpoint(SERVER_IP, port), out)) < 0) {
		if (rc == -ENOMEM)
			run.no_memory++;
		else if (rc != -ECONNREFUSED || port != SERVER_PORT || run.server.c)
			return rc;
		rc = apus_sleep(RETRY_NS);
		if (rc)
			return rc;
	}
	return 0;
}

static int64_t fetch(void *arg)
{
	static const uint8_t bytes[ABORT_BYTES];
	struct apus_tcp *c;
	int64_t rc = connect_to(SERVER_PORT, &c);

	rc = rc ? rc : exchange(&run.client, c);
	if (rc)
		return rc;
	rc = connect_to(CLOSED_PORT, &c);
	if (rc != -ECONNREFUSED)
		return rc ? rc : -EBADMSG;
	rc = connect_to(SERVER_PORT, &c);
	if (rc)
		return rc;
	rc = apus_tcp_write(c, bytes, sizeof(bytes));
	rc = rc == (int64_t)sizeof(bytes) ? 0 : rc;
	while (!rc && !run.accepted)
		rc = apus_sleep(RETRY_NS);
	apus_tcp_abort(c);
	return rc;
}

/* All come before one is accepted. */
static int64_t serve_crowd(void *arg)
{
	struct apus_tcp_listener *l;
	struct apus_tcp *c;
	char byte;
	int64_t rc = listen_or_wait(&l);

	if (rc)
		return rc;
	rc = apus_sleep(10 * APUS_SEC);
	for (int i = 0; !rc && i < CROWD; i++) {
		rc = apus_tcp_accept(l, &c);
		if (rc)
			break;
		sim_check_equal(apus_tcp_read(c, &byte, 1), 1);
		sim_check_equal(apus_tcp_read(c, &byte, 1), 0);
		apus_tcp_close(c);
	}
	apus_tcp_listener_close(l);
	return rc;
}

static int64_t fetch_one(void *arg)
{
	struct apus_tcp *c;
	int64_t rc = connect_to(SERVER_PORT, &c);

	if (rc)
		return rc;
	rc = apus_tcp_write(c, "", 1);
	if (rc == 1)
		rc = apus_sleep(10 * APUS_SEC);
	apus_tcp_close(c);
	return rc;
}

/* ---- one run ---- */

/* Nothing happens in this span that is not due to it. */
static void step(void)
{
	int64_t next_ns = apus_sim_step(run.pair.world);

	apus_must(next_ns >= 0);
	if (run.server.c)
		apus_tcp_check(run.server.c);
	if (run.client.c)
		apus_tcp_check(run.client.c);
	apus_sim_jump(run.pair.world, apus_min(next_ns, apus_sim_now(run.pair.world) + APUS_SEC));
}

static bool all_done(void)
{
	for (size_t i = 0; i < run.task_count; i++)
		if (!apus_sim_task_done(run.tasks[i]))
			return false;
	return true;
}

static void run_until(int64_t end_ns)
{
	while (!all_done() && apus_sim_now(run.pair.world) < end_ns)
		step();
}

static void open_run(void)
{
	struct apus_sim_link_options link = {
		.wire = {.delay_ns = 5 * APUS_MS, .rate_bps = 50000000},
		.impair = {.loss_ppm = 30000,
			   .duplicate_ppm = 20000,
			   .reorder_ppm = 50000,
			   .reorder_ns = 3 * APUS_MS},
	};
	struct apus_sim_world_options world = {.pool = poor_pool(), .quiet = true};
	struct apus_sim_host_options server = {.ip = SERVER_IP "/24"};
	struct apus_sim_host_options client = {
		.ip = CLIENT_IP "/24",
		.tcp = {.no_gso = true, .no_gro = true, .rcv_buffer_bytes = 32768},
	};

	memset(&run, 0, sizeof(run));
	run.server.lends = true;
	run.server.out_bytes = run.client.in_bytes = BYTES_OUT;
	run.server.in_bytes = run.client.out_bytes = BYTES_IN;
	run.server.out_key = run.client.in_key = 1;
	run.server.in_key = run.client.out_key = 2;
	apus_must(apus_sim_world_open(1, &world, &run.pair.world) == 0);
	apus_must(apus_sim_host_open(run.pair.world, "server", &server, &run.pair.server) == 0);
	apus_must(apus_sim_host_open(run.pair.world, "client", &client, &run.pair.client) == 0);
	apus_must(apus_sim_link(run.pair.world, run.pair.server, run.pair.client, &link) == 0);
}

static void add_task(struct apus_sim_host *host, apus_task_fn fn, void *arg)
{
	run.tasks[run.task_count++] = apus_sim_spawn(host, "task", fn, arg);
}

static void open_pair(void)
{
	open_run();
	add_task(run.pair.server, serve, NULL);
	add_task(run.pair.client, fetch, NULL);
	add_task(run.pair.server, write_all, &run.server);
	add_task(run.pair.client, write_all, &run.client);
}

static void open_crowd(void)
{
	open_run();
	add_task(run.pair.server, serve_crowd, NULL);
	for (int i = 0; i < CROWD; i++)
		add_task(run.pair.client, fetch_one, NULL);
}

static const char *slab_left(const struct apus_sim_host *host)
{
	for (int i = 0; i < POOR_SLABS; i++)
		if (poor_slab(host, i)->used)
			return poor_slab_names[i];
	return NULL;
}

/* After all is over, and TIME-WAIT too. Return: what is left, or NULL. */
static const char *what_is_left(void)
{
	const char *left;

	if (apus_sim_advance(run.pair.world, CALM_NS) < 0)
		return "no rest";
	if (sim_pair_left(&run.pair))
		return "a connection";
	if (run.lent)
		return "a buffer that was lent";
	left = slab_left(run.pair.server);
	return left ? left : slab_left(run.pair.client);
}

/* Everything happened as without the refusal. Return: what did not, or NULL. */
static const char *bad_results(void)
{
	static char text[100];

	for (size_t i = 0; i < run.task_count; i++) {
		int64_t rc = apus_sim_task_result(run.tasks[i]);

		if (rc) {
			snprintf(text, sizeof(text), "task %zu: %s", i, strerrorname_np((int)-rc));
			return text;
		}
	}
	if (run.no_memory && !poor.refused)
		return "-ENOMEM from nowhere";
	if (run.no_memory > 1 && !poor.span_ns)
		return "-ENOMEM twice";
	return NULL;
}

/* Memory never comes: what a call may say then. */
static const char *bad_failures(void)
{
	static const int64_t good[] = {
		0, -ECANCELED, -ETIMEDOUT, -ECONNRESET, -EHOSTUNREACH, -ECONNREFUSED, -EPIPE};
	static char text[100];

	for (size_t i = 0; i < run.task_count; i++) {
		int64_t rc = apus_sim_task_result(run.tasks[i]);
		bool is_good = false;

		for (size_t j = 0; j < apus_countof(good); j++)
			is_good |= rc == good[j];
		if (!is_good) {
			snprintf(text, sizeof(text), "task %zu: %s", i, strerrorname_np((int)-rc));
			return text;
		}
	}
	return NULL;
}

static void cancel_all(void)
{
	for (size_t i = 0; i < run.task_count; i++)
		apus_sim_task_cancel(run.tasks[i]);
}

/* Return: allocations that there were until the world was at rest; *wrong: NULL if all is well. */
static uint64_t run_one(void (*open)(void), bool is_server, uint64_t fail_at, int64_t span_ns,
			const char **wrong)
{
	uint64_t count;

	open();
	poor_begin(run.pair.world, is_server ? run.pair.server : run.pair.client, fail_at, span_ns);
	run_until(apus_sim_now(run.pair.world) +
		  (span_ns == POOR_FOR_GOOD ? GIVE_UP_NS : LIMIT_NS));
	if (span_ns == POOR_FOR_GOOD) {
		cancel_all();
		run_until(apus_sim_now(run.pair.world) + LIMIT_NS);
		poor_end();
	}
	*wrong = !all_done()                ? "it does not end"
		 : span_ns == POOR_FOR_GOOD ? bad_failures()
					    : bad_results();
	if (!*wrong)
		*wrong = what_is_left();
	count = poor.count;
	poor_end();
	if (apus_sim_world_close(run.pair.world) < 0 && !*wrong)
		*wrong = "something leaked";
	return count;
}

/* Return: runs */
static uint64_t refuse_each(void (*open)(void), bool is_server, int64_t span_ns, uint64_t every)
{
	uint64_t runs = 0, failed = 0, count;
	uint64_t k = 1;

	do {
		const char *wrong;

		count = run_one(open, is_server, k, span_ns, &wrong);
		if (wrong) {
			failed++;
			fprintf(stderr, "%s, allocation %" PRIu64 ", for %" PRId64 " ns: %s\n",
				is_server ? "server" : "client", k, span_ns, wrong);
		}
		runs++;
		k += every;
	} while (count >= k - every && failed < 10);
	assert_int_equal(failed, 0);
	fprintf(stderr, "%s: %" PRIu64 " runs\n", is_server ? "server" : "client", runs);
	return runs;
}

/* ---- tests ---- */

static void refuse_both(int64_t span_ns, uint64_t every)
{
	/* Else nothing happened that needs memory. */
	assert_true(refuse_each(open_pair, true, span_ns, every) > 200 / every);
	assert_true(refuse_each(open_pair, false, span_ns, every) > 200 / every);
}

static void one_allocation_fails_and_nothing_but_time_is_lost(void **state)
{
	refuse_both(0, EVERY);
	/* All kinds of memory were refused to somebody. */
	for (int i = 0; i < POOR_SLABS && !APUS_ASAN; i++)
		if (!victims.slabs[i])
			fail_msg("no allocation of %s failed", poor_slab_names[i]);
	assert_true(victims.heap > 0);
	assert_true(victims.mbufs > 0);
}

/* The table of connections and the accept queue; what is there already is not lost. */
static void crowd_comes_and_a_table_cannot_grow(void **state)
{
	poor.only_heap = true;
	assert_in_range(refuse_each(open_crowd, true, 0, 1), 5, 100);
	assert_in_range(refuse_each(open_crowd, true, APUS_SEC, 1), 5, 100);
	assert_in_range(refuse_each(open_crowd, false, 0, 1), 3, 100);
	poor.only_heap = false;
}

static void memory_is_short_for_seconds_and_all_goes_on(void **state)
{
	refuse_both(3 * APUS_SEC, EVERY);
}

static void memory_never_comes_and_nothing_is_left(void **state)
{
	refuse_both(POOR_FOR_GOOD, EVERY_GOOD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_allocation_fails_and_nothing_but_time_is_lost),
		cmocka_unit_test(crowd_comes_and_a_table_cannot_grow),
		cmocka_unit_test(memory_is_short_for_seconds_and_all_goes_on),
		cmocka_unit_test(memory_never_comes_and_nothing_is_left),
	};

	apus_test_eal();
	return cmocka_run_group_tests_name("net/sim out of memory", tests, NULL, NULL);
}
