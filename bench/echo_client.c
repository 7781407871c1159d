/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/echo_client.c: a closed-loop echo client on kernel sockets.
 *
 *	echo_client tcp|udp HOST PORT CONNECTIONS BYTES SECONDS
 *
 * Each connection has one message out; the next leaves when all of it came back. Prints one line of
 * JSON: messages, seconds, latency percentiles in ns, and what went wrong. A UDP message unanswered
 * for 200 ms counts as lost and is sent again.
 */
#include "runtime/base/clock.h"
#include "runtime/base/histogram.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	BYTES_MAX = 1400,
	EVENTS = 64
};

static const int64_t lost_after_ns = 200 * APUS_MS;

struct connection {
	int fd;
	size_t received; /* of the message that is out */
	int64_t sent_at_ns;
};

static struct {
	bool udp;
	size_t bytes, count;
	struct connection *connections;
	int epoll_fd;
	uint64_t messages, lost, errors;
	struct apus_histogram latency;
	char message[BYTES_MAX];
} client;

static void fail(const char *what)
{
	fprintf(stderr, "echo_client: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void send_message(struct connection *c)
{
	c->received = 0;
	c->sent_at_ns = apus_clock_host_ns();
	if (send(c->fd, client.message, client.bytes, 0) != (ssize_t)client.bytes)
		client.errors++;
}

static void open_connection(struct connection *c, const struct sockaddr_in *to)
{
	int one = 1;

	c->fd = socket(AF_INET, client.udp ? SOCK_DGRAM : SOCK_STREAM, 0);
	if (c->fd < 0 || connect(c->fd, (const struct sockaddr *)to, sizeof(*to)))
		fail("connect");
	if (!client.udp)
		(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));

	struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};

	if (epoll_ctl(client.epoll_fd, EPOLL_CTL_ADD, c->fd, &event))
		fail("epoll_ctl");
}

static void receive(struct connection *c)
{
	char buf[BYTES_MAX];
	ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n <= 0) {
		client.errors += n == 0 || errno != EAGAIN;
		if (n == 0)
			fail("the server closed a connection");
		return;
	}
	c->received += (size_t)n;
	if (c->received < client.bytes)
		return;
	client.messages++;
	apus_histogram_record(&client.latency, apus_clock_host_ns() - c->sent_at_ns);
	send_message(c);
}

static void resend_lost(int64_t now_ns)
{
	for (size_t i = 0; client.udp && i < client.count; i++) {
		struct connection *c = &client.connections[i];

		if (now_ns - c->sent_at_ns < lost_after_ns)
			continue;
		client.lost++;
		send_message(c);
	}
}

static int64_t run(int64_t seconds)
{
	int64_t begin_ns = apus_clock_host_ns(), now_ns = begin_ns, looked_at_ns = begin_ns;
	struct epoll_event events[EVENTS];

	for (size_t i = 0; i < client.count; i++)
		send_message(&client.connections[i]);
	while (now_ns - begin_ns < seconds * APUS_SEC) {
		int n = epoll_wait(client.epoll_fd, events, EVENTS, 50);

		for (int i = 0; i < n; i++)
			receive(events[i].data.ptr);
		now_ns = apus_clock_host_ns();
		if (now_ns - looked_at_ns > lost_after_ns / 2) {
			looked_at_ns = now_ns;
			resend_lost(now_ns);
		}
	}
	return now_ns - begin_ns;
}

int main(int argc, char **argv)
{
	if (argc != 7) {
		fprintf(stderr, "usage: echo_client tcp|udp HOST PORT CONNECTIONS BYTES SECONDS\n");
		return 2;
	}

	struct sockaddr_in to = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)atoi(argv[3])),
	};

	client.udp = !strcmp(argv[1], "udp");
	client.count = (size_t)atoi(argv[4]);
	client.bytes = (size_t)atoi(argv[5]);
	client.connections = calloc(client.count, sizeof(*client.connections));
	client.epoll_fd = epoll_create1(0);
	if (inet_pton(AF_INET, argv[2], &to.sin_addr) != 1 || !client.connections ||
	    !client.bytes || client.bytes > BYTES_MAX) {
		fprintf(stderr, "echo_client: HOST is an IPv4 address, BYTES 1 to %d\n", BYTES_MAX);
		return 2;
	}
	apus_histogram_init(&client.latency);
	for (size_t i = 0; i < client.count; i++)
		open_connection(&client.connections[i], &to);

	int64_t elapsed_ns = run(atoi(argv[6]));

	printf("{\"messages\": %llu, \"seconds\": %.3f, \"per_second\": %.0f, \"p50_ns\": %llu, "
	       "\"p99_ns\": %llu, \"lost\": %llu, \"errors\": %llu}\n",
	       (unsigned long long)client.messages, (double)elapsed_ns / 1e9,
	       (double)client.messages * 1e9 / (double)elapsed_ns,
	       (unsigned long long)apus_histogram_percentile(&client.latency, 50),
	       (unsigned long long)apus_histogram_percentile(&client.latency, 99),
	       (unsigned long long)client.lost, (unsigned long long)client.errors);
	return client.messages ? 0 : 1;
}
