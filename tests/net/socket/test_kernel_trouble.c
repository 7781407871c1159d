/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/socket/test_kernel_trouble.c: trouble with the kernel's sockets: too few descriptors,
 * text that nobody takes, what Linux would do otherwise. Many a peer is a socket without a ring.
 */
#include "net/socket/kernel_internal.h"
#include "net/socket/udp.h"
#include "tests/net/socket/kernel_test.h"

#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS 3

static const int small = 4096; /* bytes of a socket's buffer */

/* --- The other end ------------------------------------------------------------------------- */

static int raw_socket(void)
{
	return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int64_t connect_raw(int fd, const struct apus_tcp_listener *l)
{
	struct sockaddr_in to;

	apus_kernel_sockaddr(apus_tcp_listener_local(l), &to);
	return connect(fd, (struct sockaddr *)&to, sizeof(to)) ? -errno : 0;
}

static int64_t send_raw(int fd, const char *text, int flags)
{
	ssize_t n = send(fd, text, strlen(text), flags | MSG_DONTWAIT | MSG_NOSIGNAL);

	return n < 0 ? -errno : n;
}

/* Waits for it, as the shard goes on. */
static int64_t recv_raw(int fd)
{
	char buf[10];
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) < 0 && errno == EAGAIN)
		check_equal(apus_sleep(APUS_MS), 0);
	return n < 0 ? -errno : n;
}

/* A peer that takes little at a time. */
static int64_t open_raw(struct apus_tcp_listener **l, int *fd, struct apus_tcp **server)
{
	*fd = raw_socket();
	check_equal(setsockopt(*fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	check_equal(apus_tcp_listen(loopback(0), 0, l), 0);
	check_equal(connect_raw(*fd, *l), 0);
	return apus_tcp_accept(*l, server);
}

static int64_t serve_echo(void *arg)
{
	struct apus_tcp *c;
	char buf[10];
	int64_t n = 0;

	while (n >= 0 && !(n = apus_tcp_accept(arg, &c))) {
		n = apus_tcp_read(c, buf, sizeof(buf));
		if (n > 0)
			n = apus_tcp_write(c, buf, (size_t)n);
		apus_tcp_close(c);
	}
	return n;
}

/* --- Descriptors --------------------------------------------------------------------------- */

/* Let go in the turn that accepted it, while somebody else connects and speaks. */
static int64_t comes_beside(void (*let_go)(struct apus_tcp *c))
{
	int beside = raw_socket(), fd;
	struct apus_tcp_listener *l, *echo;
	struct apus_task *t;
	struct apus_tcp *c;

	check_equal(apus_tcp_listen(loopback(0), 0, &echo), 0);
	t = apus_spawn(serve_echo, echo);
	check_equal(apus_sleep(APUS_MS), 0); /* its accept is the kernel's */
	check_equal(open_raw(&l, &fd, &c), 0);
	let_go(c);
	check_equal(connect_raw(beside, echo), 0);
	check_equal(send_raw(beside, "hello", 0), 5);
	check_equal(recv_raw(beside), 5);
	close(beside);
	close(fd);
	apus_tcp_listener_close(l);
	apus_tcp_listener_close(echo);
	check_equal(apus_await(t), -EPIPE);
	return 0;
}

static int64_t descriptor_is_not_taken_for_another(void *arg)
{
	check_equal(comes_beside(apus_tcp_close), 0);
	check_equal(comes_beside(apus_tcp_abort), 0);
	return 0;
}

/* Until an accept found no descriptor. */
static int64_t connect_in_vain(struct apus_tcp_listener *l, const int *fds)
{
	struct rlimit all, none;
	int next = dup(fds[0]);
	int64_t rc = 0;

	check_equal(getrlimit(RLIMIT_NOFILE, &all), 0);
	none = (struct rlimit){.rlim_cur = (rlim_t)next, .rlim_max = all.rlim_max};
	close(next);
	check_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	for (int i = 0; !rc && i < CLIENTS; i++)
		rc = connect_raw(fds[i], l);
	while (!rc && kernel->accept_at_ns == APUS_NEVER)
		rc = apus_sleep(APUS_MS);
	check_equal(setrlimit(RLIMIT_NOFILE, &all), 0);
	return rc;
}

/* The one who waits in accept is served; nobody has to ask anew. */
static int64_t without_descriptors_it_accepts_later(void *arg)
{
	struct apus_tcp_listener *l;
	struct apus_task *t;
	int fds[CLIENTS];

	for (int i = 0; i < CLIENTS; i++)
		fds[i] = raw_socket();
	check_equal(apus_tcp_listen(loopback(0), 0, &l), 0);
	t = apus_spawn(serve_echo, l);
	/* In the same turn: an accept has the limit of when it went out. */
	check_equal(connect_in_vain(l, fds), 0);
	for (int i = 0; i < CLIENTS; i++) {
		check_equal(send_raw(fds[i], "hello", 0), 5);
		check_equal(recv_raw(fds[i]), 5);
		close(fds[i]);
	}
	apus_tcp_listener_close(l);
	check_equal(apus_await(t), -EPIPE);
	return 0;
}

/* --- Text that nobody takes ---------------------------------------------------------------- */

/* Some of it came to the peer, which reads nothing, and the send is still under way. */
static int64_t write_much_and_close(struct apus_tcp *c, int fd)
{
	static const char zeros[200000];
	int came = 0;

	check(!setsockopt(apus_kernel_descriptor(c), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)));
	check_equal(apus_tcp_write(c, zeros, sizeof(zeros)), sizeof(zeros));
	apus_tcp_close(c);
	while (!ioctl(fd, FIONREAD, &came) && !came)
		check_equal(apus_sleep(APUS_MS), 0);
	check_equal(kernel->closing, 1);
	return 0;
}

/* The send is all that names the connection: it is closed, and no receive follows the end. */
static int64_t failed_send_leaves_nothing(void *arg)
{
	const struct linger now = {.l_onoff = 1};
	struct apus_tcp_listener *l;
	struct apus_tcp *server;
	char byte;
	int fd;

	check_equal(open_raw(&l, &fd, &server), 0);
	check_equal(shutdown(fd, SHUT_WR), 0);
	check_equal(apus_tcp_read(server, &byte, 1), 0);
	check_equal(write_much_and_close(server, fd), 0);
	check_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
	close(fd);
	while (!apus_list_empty(&kernel->connections))
		check_equal(apus_sleep(APUS_MS), 0);
	apus_tcp_listener_close(l);
	return 0;
}

/* RFC 9293 §3.6.1: what is not read is not to pass for delivered. */
static int64_t text_after_close_resets(void *arg)
{
	struct apus_tcp_listener *l;
	struct apus_tcp *server;
	int64_t n;
	int fd;

	check_equal(open_raw(&l, &fd, &server), 0);
	check_equal(write_much_and_close(server, fd), 0);
	while ((n = send_raw(fd, "x", 0)) == 1)
		check_equal(apus_sleep(APUS_MS), 0);
	check(n == -ECONNRESET || n == -EPIPE);
	close(fd);
	apus_tcp_listener_close(l);
	return 0;
}

/* RFC 6093: it is read as all other. */
static int64_t urgent_text_stays_in_its_place(void *arg)
{
	struct apus_tcp_listener *l;
	struct apus_tcp *server;
	char buf[10];
	size_t got = 0;
	int64_t n;
	int fd;

	check_equal(open_raw(&l, &fd, &server), 0);
	check_equal(send_raw(fd, "ab", 0), 2);
	check_equal(send_raw(fd, "X", MSG_OOB), 1);
	check_equal(send_raw(fd, "cd", 0), 2);
	close(fd);
	while ((n = apus_tcp_read(server, buf + got, sizeof(buf) - got)) > 0)
		got += (size_t)n;
	check_equal(n, 0);
	check(got == 5 && !memcmp(buf, "abXcd", 5));
	apus_tcp_close(server);
	apus_tcp_listener_close(l);
	return 0;
}

/* --- Datagrams, options, addresses --------------------------------------------------------- */

static int64_t recv_one(void *arg)
{
	char byte;

	return apus_udp_recv(arg, &byte, 1, NULL);
}

/* All come before the first reader runs: one event has to wake them all. */
static int64_t every_reader_gets_a_datagram(void *arg)
{
	struct apus_udp *server, *client;
	struct apus_endpoint to;
	struct apus_task *t[3];

	check_equal(apus_udp_open(loopback(0), NULL, &server), 0);
	to = apus_udp_local(server);
	check_equal(apus_udp_open(loopback(0), &to, &client), 0);
	for (int i = 0; i < 3; i++)
		t[i] = apus_spawn(recv_one, server);
	while (server->users < 3)
		check_equal(apus_yield(), 0);
	for (int i = 0; i < 3; i++)
		check_equal(apus_udp_send(client, "x", 1, NULL), 1);
	for (int i = 0; i < 3; i++)
		check_equal(apus_await(t[i]), 1);
	apus_udp_close(client);
	apus_udp_close(server);
	return 0;
}

/* The kernel tells whoever comes first; a datagram that was not sent would be lost. */
static int64_t refused_datagram_is_for_recv(void *arg)
{
	struct apus_udp *server, *client;
	struct apus_endpoint to;
	char buf[10];

	check_equal(apus_udp_open(loopback(0), NULL, &server), 0);
	to = apus_udp_local(server);
	apus_udp_close(server);
	check_equal(apus_udp_open(loopback(0), &to, &client), 0);
	check_equal(apus_udp_send(client, "anybody?", 8, NULL), 8);
	check_equal(apus_sleep(APUS_MS), 0); /* refused by now */
	check_equal(apus_udp_open(to, NULL, &server), 0);
	check_equal(apus_udp_send(client, "hello", 5, NULL), 5);
	check_equal(apus_udp_recv(server, buf, sizeof(buf), NULL), 5);
	check_equal(apus_udp_recv(client, buf, sizeof(buf), NULL), -ECONNREFUSED);
	apus_udp_close(client);
	apus_udp_close(server);
	return 0;
}

/* Of what is accepted from then on. */
static int64_t listener_sets_congestion_control(void *arg)
{
	struct apus_tcp *before, *client, *server;
	struct apus_tcp_listener *l;
	char name[16] = "";
	socklen_t len = sizeof(name);

	check_equal(open_two(&l, &before, &server), 0);
	apus_tcp_close(server);
	check_equal(apus_tcp_listener_set_congestion(l, "nonesuch"), -ENOENT);
	check_equal(apus_tcp_listener_set_congestion(l, "reno"), 0);
	check_equal(open_pair(l, &client, &server), 0);
	check(!getsockopt(apus_kernel_descriptor(server), IPPROTO_TCP, TCP_CONGESTION, name, &len));
	check(!strcmp(name, "reno"));
	apus_tcp_close(before);
	apus_tcp_close(client);
	apus_tcp_close(server);
	apus_tcp_listener_close(l);
	return 0;
}

/* RFC 9293 §3.9.2.3 (MUST-46); Linux would take the first two for the loopback address. */
static int64_t connect_to_what_is_no_host_is_refused(void *arg)
{
	const struct apus_endpoint none[] = {
		{.port = 99},
		{apus_addr_v4(0), 99},
		{apus_addr_v4(htonl(INADDR_BROADCAST)), 99},
		{apus_addr_v4(htonl(INADDR_ALLHOSTS_GROUP)), 99},
		loopback(0),
	};
	const struct apus_endpoint ipv6 = {{.u8 = {0x20, [15] = 1}}, 99};
	struct apus_tcp_listener *l;
	struct apus_tcp *c;
	struct apus_udp *u;

	for (size_t i = 0; i < apus_countof(none); i++)
		check_equal(apus_tcp_connect(none[i], &c), -EADDRNOTAVAIL);
	check_equal(apus_tcp_connect(ipv6, &c), -ENETUNREACH);
	check_equal(apus_udp_open(loopback(0), &ipv6, &u), -ENETUNREACH);
	check_equal(apus_tcp_listen(ipv6, 0, &l), -EADDRNOTAVAIL);
	return 0;
}

TEST(descriptor_is_not_taken_for_another)
TEST(without_descriptors_it_accepts_later)
TEST(failed_send_leaves_nothing)
TEST(text_after_close_resets)
TEST(urgent_text_stays_in_its_place)
TEST(every_reader_gets_a_datagram)
TEST(refused_datagram_is_for_recv)
TEST(listener_sets_congestion_control)
TEST(connect_to_what_is_no_host_is_refused)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(descriptor_is_not_taken_for_another_on_the_kernel),
		cmocka_unit_test(without_descriptors_it_accepts_later_on_the_kernel),
		cmocka_unit_test(failed_send_leaves_nothing_on_the_kernel),
		cmocka_unit_test(text_after_close_resets_on_the_kernel),
		cmocka_unit_test(urgent_text_stays_in_its_place_on_the_kernel),
		cmocka_unit_test(every_reader_gets_a_datagram_on_the_kernel),
		cmocka_unit_test(refused_datagram_is_for_recv_on_the_kernel),
		cmocka_unit_test(listener_sets_congestion_control_on_the_kernel),
		cmocka_unit_test(connect_to_what_is_no_host_is_refused_on_the_kernel),
	};

	return cmocka_run_group_tests_name("net/socket kernel trouble", tests, NULL, NULL);
}
