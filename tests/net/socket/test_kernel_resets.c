/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/socket/test_kernel_resets.c: a peer on the kernel's sockets that is gone: who reads or writes
 * is told.
 */
#include "net/socket/kernel_internal.h"
#include "tests/net/socket/kernel_test.h"

#include <linux/sockios.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int64_t resets(void *arg)
{
	struct apus_tcp_listener *l;
	struct apus_tcp *client, *server;
	char buf[10];

	check_equal(open_two(&l, &client, &server), 0);
	apus_tcp_abort(server);
	check_equal(apus_tcp_read(client, buf, 10), -ECONNRESET);
	check_equal(apus_tcp_write(client, "x", 1), -ECONNRESET);
	apus_tcp_close(client);
	/* A close with something unread is a reset, too. */
	check_equal(open_pair(l, &client, &server), 0);
	check_equal(apus_tcp_write(client, "hello", 5), 5);
	check_equal(apus_tcp_read(server, buf, 1), 1);
	apus_tcp_close(server);
	check_equal(apus_tcp_read(client, buf, 10), -ECONNRESET);
	apus_tcp_close(client);
	apus_tcp_listener_close(l);
	return 0;
}

/* Return: @bytes are with the peer's kernel. */
static int64_t send_all(int fd, size_t bytes)
{
	static const char zeros[65536];
	int on_the_way = 0;

	while (bytes || on_the_way) {
		ssize_t n = send(fd, zeros, apus_min(bytes, sizeof(zeros)),
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		bytes -= n > 0 ? (size_t)n : 0;
		if (apus_sleep(APUS_MS) || ioctl(fd, SIOCOUTQ, &on_the_way))
			return -EIO;
	}
	return 0;
}

/*
 * The pause leaves a text and the reset behind it with the kernel. The receive that then goes out takes
 * 32 buffers at once, and the rest of the text at an event that was the socket's last.
 */
static int64_t resets_behind_text(void *arg)
{
	const struct linger now = {.l_onoff = 1};
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), room = 1 << 20;
	struct apus_tcp_listener *l;
	struct apus_tcp *server;
	static char buf[65536];
	int64_t n;

	check_equal(apus_tcp_listen(loopback(0), 0, &l), 0);
	to.sin_port = htons(apus_tcp_listener_local(l).port);
	check_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	check_equal(apus_tcp_accept(l, &server), 0);
	check_equal(setsockopt(apus_kernel_descriptor(server), SOL_SOCKET, SO_RCVBUF, &room,
			       sizeof(room)),
		    0);
	check_equal(send_all(fd, 256 * 1024), 0);
	check_equal(send_all(fd, 144 * 1024), 0);
	check_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
	close(fd);
	while ((n = apus_tcp_read(server, buf, sizeof(buf))) > 0)
		;
	check_equal(n, -ECONNRESET);
	apus_tcp_close(server);
	apus_tcp_listener_close(l);
	return 0;
}

/* The server was lent what the client said. */
static int64_t open_lent(struct apus_tcp_listener **l, struct apus_tcp **client,
			 struct apus_tcp **server, struct iovec *view)
{
	check_equal(open_two(l, client, server), 0);
	check_equal(apus_tcp_write(*client, "hello", 5), 5);
	return apus_tcp_peek(*server, view, 1) == 1 ? 0 : -EBADMSG;
}

/* What a peek lent stays, whatever comes, and then the rest is gone. */
static int64_t lent_over_a_reset(void *arg)
{
	struct apus_tcp_listener *l;
	struct apus_tcp *client, *server;
	struct iovec view;
	char buf[10];

	check_equal(open_lent(&l, &client, &server, &view), 0);
	apus_tcp_abort(client);
	check_equal(apus_tcp_write(server, "x", 1), 1);
	while (!apus_tcp_error(server))
		check_equal(apus_sleep(APUS_MS), 0);
	check_equal(apus_ring_buffers_free(kernel->ring), APUS_RING_BUFFERS - 1);
	check(view.iov_len == 5 && !memcmp(view.iov_base, "hello", 5));
	apus_tcp_consume(server, 2);
	check_equal(apus_ring_buffers_free(kernel->ring), APUS_RING_BUFFERS);
	check_equal(apus_tcp_read(server, buf, sizeof(buf)), -ECONNRESET);
	apus_tcp_close(server);
	apus_tcp_listener_close(l);
	return 0;
}

/* Reset by another handle: who reads is told, and what he was lent stays. */
static int64_t lent_over_our_reset(void *arg)
{
	struct apus_tcp_listener *l;
	struct apus_tcp *client, *server;
	struct iovec view;
	char buf[10];

	check_equal(open_lent(&l, &client, &server, &view), 0);
	apus_tcp_reset(server);
	check(view.iov_len == 5 && !memcmp(view.iov_base, "hello", 5));
	apus_tcp_consume(server, 5);
	check_equal(apus_tcp_read(server, buf, sizeof(buf)), -ECONNABORTED);
	check_equal(apus_tcp_write(server, "x", 1), -ECONNABORTED);
	check_equal(apus_tcp_error(server), -ECONNABORTED);
	check_equal(apus_tcp_read(client, buf, sizeof(buf)), -ECONNRESET);
	apus_tcp_close(server);
	apus_tcp_close(client);
	apus_tcp_listener_close(l);
	return 0;
}

static int64_t next_seq(int fd, uint32_t *seq)
{
	int on = 1, off = -1, queue = TCP_SEND_QUEUE;
	socklen_t bytes = sizeof(*seq);

	if (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)))
		return -errno;
	check_equal(setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, &queue, sizeof(queue)), 0);
	check_equal(getsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, seq, &bytes), 0);
	return setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &off, sizeof(off)) ? -errno : 0;
}

/* As a router that has no way to the peer of @c would. */
static int64_t tell_host_unreachable(struct apus_tcp *c)
{
	const struct sockaddr_in to = {.sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct {
		struct icmphdr icmp;
		struct iphdr ip;
		uint16_t source, dest;
		uint32_t seq;
	} error = {
		.icmp = {.type = ICMP_DEST_UNREACH, .code = ICMP_HOST_UNREACH},
		.ip = {.version = 4,
		       .ihl = 5,
		       .tot_len = htons(40),
		       .ttl = 64,
		       .protocol = IPPROTO_TCP,
		       .saddr = to.sin_addr.s_addr,
		       .daddr = to.sin_addr.s_addr},
		.source = htons(apus_tcp_local(c).port),
		.dest = htons(apus_tcp_remote(c).port),
	};
	const uint16_t *words = (const uint16_t *)&error;
	int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
	uint32_t seq, sum = 0;
	int64_t rc = fd < 0 ? -errno : next_seq(apus_kernel_descriptor(c), &seq);

	if (rc)
		return rc;
	error.seq = htonl(seq);
	for (size_t i = 0; i < sizeof(error) / 2; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	error.icmp.checksum = (uint16_t) ~(sum + (sum >> 16));
	check_equal(sendto(fd, &error, sizeof(error), 0, (const struct sockaddr *)&to, sizeof(to)),
		    sizeof(error));
	close(fd);
	return 0;
}

/* RFC 9293 §3.9.2.2, MUST-56: it must not abort the connection. Linux keeps it for SO_ERROR. */
static int64_t unreachable_is_no_reset(void *arg)
{
	struct apus_tcp_listener *l;
	struct apus_tcp *client, *server;
	char buf[10];
	int64_t rc;

	check_equal(open_two(&l, &client, &server), 0);
	check_equal(apus_tcp_write(client, "hello", 5), 5);
	check_equal(apus_tcp_read(server, buf, sizeof(buf)), 5);
	rc = tell_host_unreachable(server);
	if (rc)
		return rc == -EPERM ? NOT_HERE : rc;
	check_equal(apus_sleep(50 * APUS_MS), 0); /* it was looked at */
	check_equal(apus_tcp_error(server), 0);
	check_equal(apus_tcp_write(server, "world", 5), 5);
	check_equal(apus_tcp_read(client, buf, sizeof(buf)), 5);
	apus_tcp_close(server);
	apus_tcp_close(client);
	apus_tcp_listener_close(l);
	return 0;
}

TEST(resets)
TEST(resets_behind_text)
TEST(lent_over_a_reset)
TEST(lent_over_our_reset)
TEST(unreachable_is_no_reset)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(resets_on_the_kernel),
		cmocka_unit_test(resets_behind_text_on_the_kernel),
		cmocka_unit_test(lent_over_a_reset_on_the_kernel),
		cmocka_unit_test(lent_over_our_reset_on_the_kernel),
		cmocka_unit_test(unreachable_is_no_reset_on_the_kernel),
	};

	return cmocka_run_group_tests_name("net/socket kernel resets", tests, NULL, NULL);
}
