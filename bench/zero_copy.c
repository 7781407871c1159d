/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/zero_copy.c: is it worth while to send to the kernel's sockets without a copy?
 *
 *	zero_copy [CPU CPU]    a table: ways to send by io_uring, by bytes of a send
 *
 * A thread sends as the kernel twin does, one send at a time on a connection, and another one takes
 * what comes, over the loopback. The ways: a send that copies; IORING_OP_SEND_ZC; and the same from
 * registered buffers. A buffer goes out again when the kernel has said that it needs it no more.
 * "Copied": of how many sends the kernel said that it had copied them after all.
 */
#include "runtime/base/check.h"
#include "runtime/base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BUFFERS    8
#define SEND_MAX   262144
#define SENDS      20000
#define BYTES_MAX  ((size_t)2 << 30) /* of a row */
#define ROUNDS     5
#define ZC_REPORT  (1U << 3)  /* IORING_SEND_ZC_REPORT_USAGE, younger than Debian's header, */
#define ZC_COPIED  (1U << 31) /* and its answer */
#define RING_SLOTS 64

enum way {
	SEND,
	ZERO_COPY,
	ZERO_COPY_REGISTERED,
	WAYS,
};

static const char *const way_names[WAYS] = {"send", "zero copy", "zero copy, registered"};

static struct {
	struct io_uring ring;
	struct iovec buffers[BUFFERS];
	bool is_out[BUFFERS]; /* the kernel may still read it */
	int from, to;         /* sockets */
	int cpus[2];
	size_t copied; /* sends */
} job;

struct figures {
	double gigabits, cpu_ns, copied;
};

static void pin(int cpu)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	apus_must(!pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus));
}

static void *take_all(void *arg)
{
	char *bytes = malloc(SEND_MAX);

	pin(job.cpus[1]);
	apus_must(bytes);
	while (recv(job.to, bytes, SEND_MAX, 0) > 0)
		;
	free(bytes);
	return NULL;
}

static void connect_both(void)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t bytes = sizeof(addr);
	const int one = 1;
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	apus_must(listener >= 0 && !bind(listener, (struct sockaddr *)&addr, bytes));
	apus_must(!listen(listener, 1));
	apus_must(!getsockname(listener, (struct sockaddr *)&addr, &bytes));
	job.from = socket(AF_INET, SOCK_STREAM, 0);
	apus_must(!connect(job.from, (struct sockaddr *)&addr, bytes));
	apus_must(!setsockopt(job.from, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
	job.to = accept(listener, NULL, NULL);
	apus_must(job.to >= 0);
	close(listener);
}

static int64_t thread_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * APUS_SEC + t.tv_nsec;
}

/* A completion. Return: true if it is a send's, false if it gives a buffer back */
static bool take_one(size_t bytes)
{
	struct io_uring_cqe *cqe;
	bool is_send;

	apus_must(!io_uring_wait_cqe(&job.ring, &cqe));
	is_send = !(cqe->flags & IORING_CQE_F_NOTIF);
	if (is_send) {
		apus_must_op((size_t)cqe->res, ==, bytes);
		job.is_out[cqe->user_data] = cqe->flags & IORING_CQE_F_MORE;
	} else {
		job.is_out[cqe->user_data] = false;
		job.copied += ((unsigned int)cqe->res & ZC_COPIED) != 0;
	}
	io_uring_cqe_seen(&job.ring, cqe);
	return is_send;
}

static void send_one(enum way way, size_t bytes, unsigned int buffer)
{
	struct io_uring_sqe *sqe;

	while (job.is_out[buffer])
		take_one(bytes);
	sqe = io_uring_get_sqe(&job.ring);
	apus_must(sqe);
	if (way == SEND)
		io_uring_prep_send(sqe, job.from, job.buffers[buffer].iov_base, bytes, MSG_WAITALL);
	else
		io_uring_prep_send_zc(sqe, job.from, job.buffers[buffer].iov_base, bytes,
				      MSG_WAITALL, ZC_REPORT);
	if (way == ZERO_COPY_REGISTERED) {
		sqe->ioprio |= IORING_RECVSEND_FIXED_BUF;
		sqe->buf_index = (uint16_t)buffer;
	}
	io_uring_sqe_set_data64(sqe, buffer);
	apus_must(io_uring_submit(&job.ring) == 1);
	while (!take_one(bytes))
		;
}

static bool any_out(void)
{
	for (unsigned int i = 0; i < BUFFERS; i++)
		if (job.is_out[i])
			return true;
	return false;
}

static struct figures measure(enum way way, size_t bytes)
{
	size_t sends = apus_min((size_t)SENDS, BYTES_MAX / bytes);
	int64_t begin_ns, cpu_ns;
	pthread_t taker;

	connect_both();
	apus_must(!pthread_create(&taker, NULL, take_all, NULL));
	job.copied = 0;
	begin_ns = apus_clock_host_ns();
	cpu_ns = thread_ns();
	for (size_t i = 0; i < sends; i++)
		send_one(way, bytes, i % BUFFERS);
	while (any_out())
		take_one(bytes);
	cpu_ns = thread_ns() - cpu_ns;
	begin_ns = apus_clock_host_ns() - begin_ns;
	close(job.from);
	pthread_join(taker, NULL);
	close(job.to);
	return (struct figures){
		.gigabits = 8.0 * (double)(sends * bytes) / (double)begin_ns,
		.cpu_ns = (double)cpu_ns / (double)sends,
		.copied = (double)job.copied / (double)sends,
	};
}

static int by_rate(const void *a, const void *b)
{
	const struct figures *left = a, *right = b;

	return (left->gigabits > right->gigabits) - (left->gigabits < right->gigabits);
}

/* The ways in turn, so that all see the same machine. */
static void row(size_t bytes)
{
	struct figures found[WAYS][ROUNDS];

	for (unsigned int i = 0; i < ROUNDS; i++)
		for (enum way way = 0; way < WAYS; way++)
			found[way][i] = measure(way, bytes);
	for (enum way way = 0; way < WAYS; way++) {
		qsort(found[way], ROUNDS, sizeof(found[way][0]), by_rate);

		const struct figures *f = &found[way][ROUNDS / 2];

		printf("%7zu  %-22s %6.1f (%4.1f - %4.1f) %9.0f %7.0f%%\n", bytes, way_names[way],
		       f->gigabits, found[way][0].gigabits, found[way][ROUNDS - 1].gigabits,
		       f->cpu_ns, 100 * f->copied);
	}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	int rc = io_uring_queue_init(RING_SLOTS, &job.ring, 0);

	if (rc < 0) {
		fprintf(stderr, "zero_copy: no io_uring: %s\n", strerror(-rc));
		return 1;
	}
	job.cpus[0] = argc > 2 ? atoi(argv[1]) : 0;
	job.cpus[1] = argc > 2 ? atoi(argv[2]) : 1;
	pin(job.cpus[0]);
	for (unsigned int i = 0; i < BUFFERS; i++) {
		job.buffers[i] = (struct iovec){aligned_alloc(4096, SEND_MAX), SEND_MAX};
		apus_must(job.buffers[i].iov_base);
		memset(job.buffers[i].iov_base, 'x', SEND_MAX);
	}
	rc = io_uring_register_buffers(&job.ring, job.buffers, BUFFERS);
	if (rc < 0) {
		fprintf(stderr, "zero_copy: no buffers registered: %s\n", strerror(-rc));
		return 1;
	}
	printf("%7s  %-22s %6s (least - most) %6s %9s\n", "bytes", "", "Gb/s", "CPU ns", "copied");
	for (size_t bytes = 1024; bytes <= SEND_MAX; bytes *= 4)
		row(bytes);
	io_uring_queue_exit(&job.ring);
	for (unsigned int i = 0; i < BUFFERS; i++)
		free(job.buffers[i].iov_base);
	return 0;
}
