/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/socket/test_kernel_resets.c: a peer on the kernel's sockets that is gone: who reads or writes
 * is told.
 */
#include "net/socket/kernel_internal.h"
#include "tests/net/socket/kernel_test.h"

#include <linux/sockios.h>
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

TEST(resets)
TEST(resets_behind_text)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(resets_on_the_kernel),
		cmocka_unit_test(resets_behind_text_on_the_kernel),
	};

	return cmocka_run_group_tests_name("net/socket kernel resets", tests, NULL, NULL);
}
