/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/socket/test_kernel.c: the same sockets on the kernel's, over the loopback interface.
 *
 * Both ends are tasks of one shard. The only tests of sockets that run in real time: the kernel has
 * no other. They wait for events, never for a while, but where nothing is to happen.
 */
#include "tests/net/socket/kernel_test.h"

#include "net/socket/udp.h"
#include "net/tcp/info.h"
#include "runtime/base/random.h"
#include "runtime/sched/wait.h"
#include "runtime/sync/event.h"
#include "runtime/sync/group.h"

#define LARGE (4 * 1024 * 1024)
#define MANY  200

/* Bytes that show their place. */
static void fill(char *buf, size_t n, size_t at)
{
	for (size_t i = 0; i < n; i++)
		buf[i] = (char)((at + i) * 2654435761u >> 24);
}

struct stream {
	struct apus_tcp *c;
	size_t bytes;
	size_t at; /* so far */
	bool by_peek;
};

static int64_t send_bytes(void *arg)
{
	struct stream *s = arg;
	char buf[1500];

	for (s->at = 0; s->at < s->bytes;) {
		size_t n = apus_min(sizeof(buf), s->bytes - s->at);

		fill(buf, n, s->at);
		check_equal(apus_tcp_write(s->c, buf, n), n);
		s->at += n;
	}
	return apus_tcp_shutdown(s->c);
}

static int64_t take_views(struct stream *s)
{
	struct iovec views[7];
	static char expected[4096]; /* of one task at a time: nothing here waits while it is used */
	int64_t n = apus_tcp_peek(s->c, views, 7);
	size_t taken = 0;

	for (int64_t i = 0; i < n; i++) {
		check(views[i].iov_len <= sizeof(expected));
		fill(expected, views[i].iov_len, s->at + taken);
		check(!memcmp(views[i].iov_base, expected, views[i].iov_len));
		taken += views[i].iov_len;
	}
	if (n > 0) {
		taken -= taken > 1; /* one byte stays, and is lent again */
		apus_tcp_consume(s->c, taken);
	}
	return n > 0 ? (int64_t)taken : n;
}

static int64_t take_copy(struct stream *s)
{
	char buf[1777], expected[1777];
	int64_t n = apus_tcp_read(s->c, buf, sizeof(buf));

	if (n > 0) {
		fill(expected, (size_t)n, s->at);
		check(!memcmp(buf, expected, (size_t)n));
	}
	return n;
}

static int64_t receive_bytes(void *arg)
{
	struct stream *s = arg;
	int64_t n;

	s->at = 0;
	while ((n = s->by_peek ? take_views(s) : take_copy(s)) > 0)
		s->at += (size_t)n;
	check_equal(n, 0);
	check_equal(s->at, s->bytes);
	return 0;
}

/* --- Stories ------------------------------------------------------------------------------- */

static int64_t both_ways(void *arg)
{
	struct apus_tcp_listener *l;
	struct apus_tcp *client, *server;
	struct apus_group g;
	int64_t rc = open_two(&l, &client, &server);

	check_equal(rc, 0);
	struct stream parts[4] = {
		{client, LARGE, 0, false},
		{server, LARGE, 0, false},
		{server, LARGE, 0, true},
		{client, LARGE, 0, false},
	};
	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	for (int i = 0; !rc && i < 4; i++)
		rc = apus_group_spawn(&g, NULL, i < 2 ? send_bytes : receive_bytes, &parts[i], 0);
	rc = apus_group_end(&g, rc);
	apus_group_fini(&g);
	apus_tcp_close(client);
	apus_tcp_close(server);
	apus_tcp_listener_close(l);
	return rc;
}

static int64_t names(void *arg)
{
	struct apus_tcp_listener *l;
	struct apus_tcp *client, *server;

	check_equal(open_two(&l, &client, &server), 0);
	check_equal(apus_tcp_remote(client).port, apus_tcp_listener_local(l).port);
	check_equal(apus_tcp_local(client).port, apus_tcp_remote(server).port);
	check(apus_addr_equal(apus_tcp_remote(server).addr, loopback(0).addr));
	apus_tcp_close(client);
	apus_tcp_close(server);
	apus_tcp_listener_close(l);
	return 0;
}

static int64_t refused(void *arg)
{
	struct apus_tcp_listener *l;
	struct apus_tcp *c;
	uint16_t port;

	check_equal(apus_tcp_listen(loopback(0), 0, &l), 0);
	port = apus_tcp_listener_local(l).port;
	check_equal(apus_tcp_listen(loopback(port), 0, &l), -EADDRINUSE);
	apus_tcp_listener_close(l);
	check_equal(apus_yield(), 0);
	check_equal(apus_tcp_connect(loopback(port), &c), -ECONNREFUSED);
	check_equal(
		apus_tcp_listen((struct apus_endpoint){apus_addr_v4(htonl(0x08080808)), 0}, 0, &l),
		-EADDRNOTAVAIL);
	return 0;
}

static int64_t half_closed(void *arg)
{
	struct apus_tcp_listener *l;
	struct apus_tcp *client, *server;
	char buf[10];

	check_equal(open_two(&l, &client, &server), 0);
	check_equal(apus_tcp_shutdown(client), 0);
	check_equal(apus_tcp_shutdown(client), -EPIPE);
	check_equal(apus_tcp_write(client, "x", 1), -EPIPE);
	check_equal(apus_tcp_read(server, buf, 10), 0);
	check_equal(apus_tcp_write(server, "still", 5), 5);
	check_equal(apus_tcp_read(client, buf, 10), 5);
	apus_tcp_close(server);
	check_equal(apus_tcp_read(client, buf, 10), 0);
	apus_tcp_close(client);
	apus_tcp_listener_close(l);
	return 0;
}

static int64_t read_one(void *arg)
{
	char byte;

	return apus_tcp_read(arg, &byte, 1);
}

static int64_t accept_one(void *arg)
{
	struct apus_tcp *c;

	return apus_tcp_accept(arg, &c);
}

static int64_t cancels(void *arg)
{
	struct apus_tcp_listener *l;
	struct apus_tcp *client, *server;
	struct apus_task *t;
	char buf[10];

	check_equal(open_two(&l, &client, &server), 0);
	t = apus_spawn(read_one, client);
	check_equal(apus_yield(), 0);
	apus_task_cancel(t);
	check_equal(apus_await(t), -ECANCELED);
	check_equal(apus_tcp_write(server, "kept", 4), 4);
	check_equal(apus_tcp_read(client, buf, 10), 4);
	t = apus_spawn(accept_one, l);
	check_equal(apus_yield(), 0);
	apus_task_cancel(t);
	check_equal(apus_await(t), -ECANCELED);
	t = apus_spawn(read_one, client); /* closed while it reads */
	check_equal(apus_yield(), 0);
	apus_tcp_close(client);
	check_equal(apus_await(t), -EPIPE);
	t = apus_spawn(accept_one, l);
	check_equal(apus_yield(), 0);
	apus_tcp_listener_close(l);
	check_equal(apus_await(t), -EPIPE);
	check_equal(apus_tcp_read(server, buf, 10), 0);
	apus_tcp_close(server);
	return 0;
}

/* Nobody reads: the writer must wait, however much it has. */
static int64_t pushed_back(void *arg)
{
	static char block[65536];
	struct apus_tcp_listener *l;
	struct apus_tcp *client, *server;
	struct apus_timeout limit;
	int64_t rc = 0;
	size_t written = 0;

	check_equal(open_two(&l, &client, &server), 0);
	apus_timeout_begin(&limit, 500 * APUS_MS);
	while (rc >= 0) {
		rc = apus_tcp_write(client, block, sizeof(block));
		written += rc > 0 ? (size_t)rc : 0;
	}
	check_equal(apus_timeout_end(&limit, rc), -ETIMEDOUT);
	check(written < 64 << 20);
	apus_tcp_abort(client);
	while ((rc = apus_tcp_read(server, block, sizeof(block))) > 0)
		;
	check_equal(rc, -ECONNRESET);
	apus_tcp_close(server);
	apus_tcp_listener_close(l);
	return 0;
}

/* Somebody else says a word, and is heard. */
static int64_t speak_beside(struct apus_tcp_listener *l)
{
	struct apus_tcp *client, *server;
	struct apus_timeout limit;
	char buf[10];
	int64_t rc;

	check_equal(open_pair(l, &client, &server), 0);
	check_equal(apus_tcp_write(client, "hello", 5), 5);
	apus_timeout_begin(&limit, 5 * APUS_SEC);
	rc = apus_tcp_read(server, buf, sizeof(buf));
	check_equal(apus_timeout_end(&limit, rc), 5);
	apus_tcp_close(client);
	apus_tcp_close(server);
	return 0;
}

/* More unread bytes on all of them than there are receive buffers. */
static int64_t starving(void *arg)
{
	struct apus_tcp_listener *l;
	static struct apus_tcp *clients[64], *servers[64];
	static struct stream out[64], in[64];
	struct apus_group g;
	int64_t rc = 0;

	check_equal(apus_tcp_listen(loopback(0), 0, &l), 0);
	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	for (int i = 0; !rc && i < 64; i++) {
		rc = open_pair(l, &clients[i], &servers[i]);
		out[i] = (struct stream){clients[i], 512 * 1024, 0, false};
		in[i] = (struct stream){servers[i], 512 * 1024, 0, i & 1};
		if (!rc)
			rc = apus_group_spawn(&g, NULL, send_bytes, &out[i], 0);
	}
	if (!rc)
		rc = apus_sleep(300 * APUS_MS); /* all have sent what they can */
	if (!rc)
		rc = speak_beside(l);
	for (int i = 63; !rc && i >= 0; i--)
		rc = apus_group_spawn(&g, NULL, receive_bytes, &in[i], 0);
	rc = apus_group_end(&g, rc);
	apus_group_fini(&g);
	for (int i = 0; i < 64; i++) {
		apus_tcp_close(clients[i]);
		apus_tcp_close(servers[i]);
	}
	apus_tcp_listener_close(l);
	return rc;
}

static int64_t serve_echo(void *arg)
{
	struct apus_tcp *c = arg;
	char buf[2000];
	int64_t n;

	while ((n = apus_tcp_read(c, buf, sizeof(buf))) > 0)
		if (apus_tcp_write(c, buf, (size_t)n) < 0)
			break;
	apus_tcp_close(c);
	return 0;
}

static int64_t serve_all(void *arg)
{
	struct apus_tcp *c;
	int rc;

	while (!(rc = apus_tcp_accept(arg, &c)))
		if (apus_spawn_detached(NULL, serve_echo, c, 0))
			apus_tcp_abort(c);
	return rc == -EPIPE ? 0 : rc;
}

static int64_t ask_echo(void *arg)
{
	struct apus_tcp *c;
	char out[100], in[100];
	int64_t n;

	check_equal(apus_tcp_connect(*(struct apus_endpoint *)arg, &c), 0);
	for (int i = 0; i < 20; i++) {
		size_t got = 0;

		fill(out, sizeof(out), (size_t)i * 77);
		check_equal(apus_tcp_write(c, out, sizeof(out)), sizeof(out));
		while (got < sizeof(in)) {
			n = apus_tcp_read(c, in + got, sizeof(in) - got);
			check(n > 0);
			got += (size_t)n;
		}
		check(!memcmp(in, out, sizeof(in)));
	}
	apus_tcp_close(c);
	return 0;
}

static int64_t many(void *arg)
{
	struct apus_tcp_listener *l;
	struct apus_endpoint to;
	struct apus_task *server;
	struct apus_group g;
	int64_t rc = 0;

	/*
	 * A small one: the kernel queues. What it has no room for begins anew after an RTO, all at once,
	 * and with 16 the last ones' turn would come after 12 of them, each twice as long.
	 */
	check_equal(apus_tcp_listen(loopback(0), 64, &l), 0);
	to = apus_tcp_listener_local(l);
	server = apus_spawn(serve_all, l);
	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	for (int i = 0; !rc && i < MANY; i++)
		rc = apus_group_spawn(&g, NULL, ask_echo, &to, 0);
	rc = apus_group_end(&g, rc);
	apus_group_fini(&g);
	apus_tcp_listener_close(l);
	check_equal(apus_await(server), 0);
	return rc;
}

static int64_t datagrams(void *arg)
{
	struct apus_endpoint from, to;
	struct apus_udp *server, *client, *lonely;
	struct apus_timeout limit;
	char buf[100];

	check_equal(apus_udp_open(loopback(0), NULL, &server), 0);
	to = apus_udp_local(server);
	check_equal(apus_udp_open(loopback(0), &to, &client), 0);
	check_equal(apus_udp_send(client, "ask", 3, NULL), 3);
	check_equal(apus_udp_recv(server, buf, sizeof(buf), &from), 3);
	check_equal(from.port, apus_udp_local(client).port);
	check_equal(apus_udp_send(server, "answer", 6, &from), 6);
	check_equal(apus_udp_recv(client, buf, 3, NULL), 3); /* cut off */
	check_equal(apus_udp_send(server, "x", 1, NULL), -EDESTADDRREQ);
	apus_timeout_begin(&limit, APUS_MS);
	check_equal(apus_timeout_end(&limit, apus_udp_recv(client, buf, sizeof(buf), NULL)),
		    -ETIMEDOUT);
	apus_udp_close(server);
	check_equal(apus_udp_open(loopback(0), &to, &lonely), 0);
	check_equal(apus_udp_send(lonely, "anybody?", 8, NULL), 8);
	check_equal(apus_udp_recv(lonely, buf, sizeof(buf), NULL), -ECONNREFUSED);
	apus_udp_close(lonely);
	apus_udp_close(client);
	return 0;
}

/* A connection tells what the kernel knows of it, in our words. */
static int64_t told(void *arg)
{
	struct apus_tcp_listener *l;
	struct apus_tcp *client, *server;
	struct apus_tcp_info info;
	char buf[1000] = {0};
	int64_t got = 0;

	check_equal(open_two(&l, &client, &server), 0);
	check_equal(apus_tcp_write(client, buf, sizeof(buf)), sizeof(buf));
	while (got < (int64_t)sizeof(buf)) {
		int64_t n = apus_tcp_read(server, buf, sizeof(buf));

		check(n > 0);
		got += n;
	}
	apus_tcp_get_info(server, &info);
	check_equal(strcmp(info.state, "ESTABLISHED"), 0);
	check_equal(info.bytes_received, sizeof(buf));
	check_equal(info.bytes_acked, 0); /* it said nothing */
	apus_tcp_get_info(client, &info);
	check_equal(info.bytes_acked, sizeof(buf));
	check(info.srtt_ns > 0 && info.srtt_ns < APUS_SEC && info.rto_ns >= 200 * APUS_MS);
	check(info.snd_mss >= 500 && info.snd_cwnd >= 2 * info.snd_mss && info.snd_wnd > 0);
	check(info.segs_out >= 3 && info.segs_in >= 2); /* SYN, ACK, text; SYN-ACK, ACK */
	check_equal(info.total_retrans, 0);
	check(info.congestion[0] != '\0' && info.has_sack && info.has_timestamps);
	check_equal(apus_tcp_trace_start(client, 16), -EOPNOTSUPP);
	check_equal(apus_tcp_shutdown(server), 0);
	check_equal(apus_tcp_read(client, buf, 1), 0);
	apus_tcp_get_info(client, &info);
	check_equal(strcmp(info.state, "CLOSE-WAIT"), 0);
	apus_tcp_abort(client);
	check(apus_tcp_read(server, buf, 1) < 0);
	apus_tcp_get_info(server, &info);
	check_equal(strcmp(info.state, "CLOSED"), 0);
	apus_tcp_close(server);
	apus_tcp_listener_close(l);
	return 0;
}

struct watcher {
	struct apus_callback callback;
	struct apus_event called;
	uint32_t calls;
};

static void readable(struct apus_work *work)
{
	struct watcher *w = apus_container_of(apus_callback_of(work), struct watcher, callback);

	w->calls++;
	apus_event_set(&w->called);
}

static int64_t await_readable(struct watcher *w, struct apus_tcp *c)
{
	uint32_t before = w->calls;

	apus_event_clear(&w->called);
	apus_tcp_on_readable(c, &w->callback);
	check_equal(apus_event_wait(&w->called), 0);
	check_equal(w->calls, before + 1);
	return 0;
}

/* Without a task in a read: bytes, bytes that are there already, the end; and none of it when removed. */
static int64_t watched(void *arg)
{
	struct apus_heap *heap = apus_shard_heap(apus_shard_self());
	struct apus_tcp_listener *l;
	struct apus_tcp *client, *server;
	struct watcher w = {.calls = 0};
	uint64_t live;
	char buf[8];

	apus_callback_init(&w.callback, readable);
	apus_event_init(&w.called);
	check_equal(open_two(&l, &client, &server), 0);
	check_equal(apus_tcp_write(server, "hello", 5), 5);
	check_equal(apus_tcp_read(client, buf, 5), 5);
	check_equal(apus_sleep(APUS_MS), 0); /* the kernel has told that it is sent */
	live = heap->live;
	apus_tcp_on_readable(server, &w.callback);
	check_equal(heap->live, live - 1); /* what it wrote from */
	check_equal(apus_sleep(APUS_MS), 0);
	check_equal(w.calls, 0);
	check(apus_callback_remove(&w.callback));
	check_equal(apus_tcp_write(client, "a", 1), 1);
	check_equal(apus_tcp_read(server, buf, 1), 1);
	check_equal(w.calls, 0);

	apus_tcp_on_readable(server, &w.callback);
	check_equal(apus_tcp_write(client, "bc", 2), 2);
	check_equal(apus_event_wait(&w.called), 0);
	check_equal(w.calls, 1);
	check_equal(await_readable(&w, server), 0); /* they were not read */
	check_equal(apus_tcp_read(server, buf, sizeof(buf)), 2);
	check_equal(apus_tcp_write(server, "again", 5), 5); /* from new memory */
	check_equal(apus_tcp_read(client, buf, 5), 5);
	check(!memcmp(buf, "again", 5));
	check_equal(apus_tcp_shutdown(client), 0);
	check_equal(await_readable(&w, server), 0);
	check_equal(apus_tcp_read(server, buf, 1), 0);
	apus_tcp_close(client);
	apus_tcp_close(server);
	apus_tcp_listener_close(l);
	return 0;
}

TEST(both_ways)
TEST(names)
TEST(refused)
TEST(half_closed)
TEST(cancels)
TEST(pushed_back)
TEST(starving)
TEST(many)
TEST(datagrams)
TEST(told)
TEST(watched)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_ways_on_the_kernel),
		cmocka_unit_test(names_on_the_kernel),
		cmocka_unit_test(refused_on_the_kernel),
		cmocka_unit_test(half_closed_on_the_kernel),
		cmocka_unit_test(cancels_on_the_kernel),
		cmocka_unit_test(pushed_back_on_the_kernel),
		cmocka_unit_test(starving_on_the_kernel),
		cmocka_unit_test(many_on_the_kernel),
		cmocka_unit_test(datagrams_on_the_kernel),
		cmocka_unit_test(told_on_the_kernel),
		cmocka_unit_test(watched_on_the_kernel),
	};

	return cmocka_run_group_tests_name("net/socket kernel", tests, NULL, NULL);
}
