/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/peers/epoll_server.c: a plain server on epoll, one thread: what one would write in C.
 *
 * Echoes on port 7, discards on port 9, sends for ever on port 19, as `scripts/bench compare` has it
 * of ours. Level-triggered: one recv and one send for a small message, and no call that only finds
 * out that there is nothing more.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS      256
#define BLOCK_BYTES 65536
#define BACKLOG     4096

enum service {
	ECHO = 7,
	DISCARD = 9,
	GENERATE = 19
};

/* A listener or a connection. */
struct end {
	int fd;
	enum service service;
	bool listens;
	bool waits_to_send; /* EPOLLOUT instead of EPOLLIN: nothing is read before all is sent */
	size_t left;        /* of what was read: not yet sent back */
	char *text;         /* these bytes; NULL while there are none */
};

static int epoll;
static char block[BLOCK_BYTES];

static void die(const char *what)
{
	fprintf(stderr, "epoll_server: %s: %s\n", what, strerror(errno));
	exit(1);
}

static struct end *watch(int fd, enum service service, bool listens)
{
	struct end *e = calloc(1, sizeof(*e));

	if (!e)
		die("calloc");
	e->fd = fd;
	e->service = service;
	e->listens = listens;
	e->waits_to_send = service == GENERATE && !listens;

	struct epoll_event event = {.events = e->waits_to_send ? EPOLLOUT : EPOLLIN, .data.ptr = e};

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
		die("epoll_ctl");
	return e;
}

static void want(struct end *e, bool to_send)
{
	struct epoll_event event = {.events = to_send ? EPOLLOUT : EPOLLIN, .data.ptr = e};

	if (e->waits_to_send == to_send)
		return;
	e->waits_to_send = to_send;
	if (epoll_ctl(epoll, EPOLL_CTL_MOD, e->fd, &event))
		die("epoll_ctl");
}

static void drop(struct end *e)
{
	close(e->fd);
	free(e->text);
	free(e);
}

static void accept_some(const struct end *e)
{
	int fd;

	while ((fd = accept4(e->fd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		int on = 1;

		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		watch(fd, e->service, false);
	}
	if (errno != EAGAIN && errno != ECONNABORTED && errno != EMFILE)
		die("accept4");
}

/* Keep what the socket did not take. */
static bool keep(struct end *e, const char *text, size_t bytes)
{
	char *kept = malloc(bytes);

	if (!kept)
		return false;
	memcpy(kept, text, bytes);
	free(e->text);
	e->text = kept;
	e->left = bytes;
	want(e, true);
	return true;
}

/* Return: false when the connection is over */
static bool send_back(struct end *e, const char *text, size_t bytes)
{
	ssize_t n = send(e->fd, text, bytes, MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN)
		return false;
	n = n < 0 ? 0 : n;
	if ((size_t)n < bytes)
		return keep(e, text + n, bytes - (size_t)n);
	free(e->text);
	e->text = NULL;
	e->left = 0;
	want(e, false);
	return true;
}

static bool serve(struct end *e)
{
	ssize_t n;

	if (e->service == GENERATE) {
		n = send(e->fd, block, sizeof(block), MSG_NOSIGNAL);
		return n >= 0 || errno == EAGAIN;
	}
	if (e->left)
		return send_back(e, e->text, e->left);
	n = recv(e->fd, block, sizeof(block), 0);
	if (n <= 0)
		return n < 0 && errno == EAGAIN;
	return e->service == DISCARD || send_back(e, block, (size_t)n);
}

static void listen_on(enum service service)
{
	const struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(service)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;

	if (fd < 0)
		die("socket");
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(fd, (const struct sockaddr *)&any, sizeof(any)) || listen(fd, BACKLOG))
		die("listen");
	watch(fd, service, true);
}

int main(int argc, char **argv)
{
	struct epoll_event events[EVENTS];
	struct rlimit limit;

	if (argc > 1 && !strcmp(argv[1], "--version")) {
		printf("epoll in C, %s\n", __VERSION__);
		return 0;
	}
	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	epoll = epoll_create1(0);
	if (epoll < 0)
		die("epoll_create1");
	memset(block, 'x', sizeof(block));
	listen_on(ECHO);
	listen_on(DISCARD);
	listen_on(GENERATE);

	for (;;) {
		int n = epoll_wait(epoll, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			struct end *e = events[i].data.ptr;

			if (e->listens)
				accept_some(e);
			else if (!serve(e))
				drop(e);
		}
	}
}
