/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/socket/kernel_udp.c: datagrams on the kernel's sockets; see kernel_internal.h.
 *
 * A datagram is sent and taken by a system call of its own, which does not wait; a task that finds
 * none waits for a poll of the descriptor. The kernel's queue is the queue.
 */
#include "net/socket/kernel_internal.h"

#include "runtime/base/check.h"
#include "runtime/sched/task.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct datagrams {
	struct apus_udp face; /* first: what the sockets see; `layer` is NULL */
	struct apus_kernel *kernel;
	int fd;
	bool is_polling; /* the operation is under way */
	struct apus_ring_op poll_op;
};

static struct datagrams *of(struct apus_udp *u)
{
	return (struct datagrams *)u;
}

static bool is_closed(const struct apus_udp *u)
{
	return !apus_list_linked(&u->link);
}

static void try_destroy(struct datagrams *k)
{
	if (is_closed(&k->face) && !k->face.users && !k->is_polling)
		apus_heap_free(apus_shard_heap(k->kernel->shard), k);
}

static void readable(struct apus_ring_op *op, int32_t result, uint32_t flags)
{
	struct datagrams *k = apus_container_of(op, struct datagrams, poll_op);

	k->is_polling = false;
	k->kernel->polls--;
	apus_waitq_wake_one(&k->face.readers, 0);
	try_destroy(k);
}

static int open_socket(struct apus_kernel *kernel, struct apus_endpoint *local,
		       const struct apus_endpoint *remote)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;
	struct sockaddr_in name, peer;
	socklen_t len = sizeof(name);
	int rc;

	if (fd < 0)
		return -errno;
	if (kernel->options.share_ports)
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	rc = remote ? apus_kernel_sockaddr(*remote, &peer) : 0;
	if (!rc)
		rc = apus_kernel_sockaddr(*local, &name) ? -EADDRNOTAVAIL
							 : apus_kernel_bind(kernel, fd, &name, 0);
	if (!rc && ((remote && connect(fd, (struct sockaddr *)&peer, sizeof(peer))) ||
		    getsockname(fd, (struct sockaddr *)&name, &len)))
		rc = -errno;
	if (rc) {
		close(fd);
		return rc;
	}
	*local = apus_kernel_endpoint(&name);
	return fd;
}

int apus_kernel_udp_open(struct apus_kernel *kernel, struct apus_endpoint local,
			 const struct apus_endpoint *remote, struct apus_udp **out)
{
	struct datagrams *k = apus_heap_alloc(apus_shard_heap(kernel->shard), sizeof(*k));

	if (!k)
		return -ENOMEM;
	memset(k, 0, sizeof(*k));
	k->fd = open_socket(kernel, &local, remote);
	if (k->fd < 0) {
		int rc = k->fd;

		apus_heap_free(apus_shard_heap(kernel->shard), k);
		return rc;
	}
	k->kernel = kernel;
	k->face.local = local;
	if (remote)
		k->face.remote = *remote;
	apus_waitq_init(&k->face.readers);
	k->poll_op.done = readable;
	apus_list_push_back(&kernel->datagrams, &k->face.link);
	*out = &k->face;
	return 0;
}

void apus_kernel_udp_close(struct apus_udp *u)
{
	struct datagrams *k = of(u);
	struct io_uring_sqe *sqe;

	apus_list_remove(&u->link);
	if (k->is_polling) {
		sqe = apus_ring_prepare(k->kernel->ring, NULL);
		if (sqe)
			io_uring_prep_cancel(sqe, &k->poll_op, 0);
		else
			(void)shutdown(k->fd, SHUT_RDWR); /* ends it, too */
		apus_ring_submit(k->kernel->ring);        /* what names the descriptor */
	}
	close(k->fd);
	apus_waitq_wake_all(&u->readers, 0);
	try_destroy(k);
}

static void poll_for_more(struct datagrams *k)
{
	struct io_uring_sqe *sqe;

	if (k->is_polling)
		return;
	sqe = apus_ring_prepare(k->kernel->ring, &k->poll_op);
	if (!sqe)
		return;
	io_uring_prep_poll_add(sqe, k->fd, POLLIN);
	k->is_polling = true;
	k->kernel->polls++;
}

static int64_t take(struct datagrams *k, void *buf, size_t len, struct apus_endpoint *from)
{
	struct sockaddr_in name;
	socklen_t name_len = sizeof(name);
	ssize_t n;

	if (is_closed(&k->face))
		return -EPIPE;
	n = recvfrom(k->fd, buf, len, MSG_DONTWAIT, (struct sockaddr *)&name, &name_len);
	if (n < 0 && errno == EAGAIN && k->face.error) {
		n = k->face.error;
		k->face.error = 0;
		return n;
	}
	if (n < 0)
		return -errno;
	if (from)
		*from = apus_kernel_endpoint(&name);
	return n;
}

/* Without room in the ring one of them tries by itself. */
static void poll_for_others(struct datagrams *k)
{
	poll_for_more(k);
	if (!k->is_polling)
		apus_waitq_wake_one(&k->face.readers, 0);
}

int64_t apus_kernel_udp_recv(struct apus_udp *u, void *buf, size_t len, struct apus_endpoint *from)
{
	struct datagrams *k = of(u);
	int64_t rc;

	u->users++;
	rc = apus_checkpoint();
	while (!rc) {
		rc = take(k, buf, len, from);
		if (rc != -EAGAIN)
			break;
		poll_for_more(k);
		rc = k->is_polling ? apus_waitq_wait(&u->readers, "udp recv") : apus_yield();
	}
	if (rc == -ECANCELED) /* the wake that our cancel lost */
		apus_waitq_wake_one(&u->readers, 0);
	else if (!apus_waitq_empty(&u->readers) && !is_closed(u))
		poll_for_others(k);
	u->users--;
	try_destroy(k);
	return rc;
}

static ssize_t send_now(int fd, const void *buf, size_t len, const struct sockaddr *name)
{
	return sendto(fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL, name,
		      name ? sizeof(struct sockaddr_in) : 0);
}

int64_t apus_kernel_udp_send(struct apus_udp *u, const void *buf, size_t len,
			     const struct apus_endpoint *to)
{
	const struct sockaddr *name = NULL;
	struct sockaddr_in in;
	ssize_t n;

	if (to) {
		if (apus_kernel_sockaddr(*to, &in))
			return -ENETUNREACH;
		name = (struct sockaddr *)&in;
	}
	n = send_now(of(u)->fd, buf, len, name);
	if (n < 0 && errno == ECONNREFUSED) { /* of one that was sent before: recv's to tell */
		u->error = -ECONNREFUSED;
		apus_waitq_wake_one(&u->readers, 0);
		n = send_now(of(u)->fd, buf, len, name);
	}
	if (n >= 0)
		return n;
	return errno == EAGAIN ? -ENOBUFS : -errno;
}
