/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/socket/kernel.c: the kernel's sockets as a shard's network: its life, and listeners; see
 * kernel.h.
 *
 * A listener has one multishot accept out. A few connections that nobody has accepted yet wait here,
 * unread; when there are READY_MAX of them the accept is taken back, and the kernel's queue of `backlog`
 * fills.
 */
#include "net/socket/kernel_internal.h"

#include "runtime/base/check.h"
#include "runtime/sync/timeout.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG_DEFAULT 4096
#define READY_MAX       64u
#define BUSY_NS         (300 * APUS_MS)
#define RETRY_NS        (10 * APUS_MS)

struct listener {
	struct apus_tcp_listener face; /* first: what the sockets see */
	struct apus_kernel *kernel;
	struct apus_list all; /* kernel->listeners */
	int fd;
	bool is_accepting; /* the operation is under way */
	bool is_paused;    /* it is being taken back */
	struct apus_ring_op accept_op;
};

/* --- Names --------------------------------------------------------------------------------- */

int apus_kernel_error(int rc)
{
	return rc == -EPIPE ? -ECONNRESET : rc; /* EPIPE is ours to say: closed here */
}

int apus_kernel_sockaddr(struct apus_endpoint e, struct sockaddr_in *out)
{
	if (!apus_addr_is_any(e.addr) && !apus_addr_is_v4(e.addr))
		return -ENETUNREACH;
	*out = (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons(e.port),
		.sin_addr.s_addr = apus_addr_is_any(e.addr) ? 0 : apus_addr_to_v4(e.addr),
	};
	return 0;
}

struct apus_endpoint apus_kernel_endpoint(const struct sockaddr_in *in)
{
	return (struct apus_endpoint){
		.addr = in->sin_addr.s_addr ? apus_addr_v4(in->sin_addr.s_addr)
					    : (struct apus_addr){.u64 = {0, 0}},
		.port = ntohs(in->sin_port),
	};
}

/* --- Listeners ----------------------------------------------------------------------------- */

static struct listener *of(struct apus_tcp_listener *l)
{
	return (struct listener *)l;
}

static uint32_t waiting(const struct apus_tcp_listener *l)
{
	return l->ready_tail - l->ready_head;
}

static bool is_full(const struct listener *k)
{
	return waiting(&k->face) >= apus_min(k->face.backlog, READY_MAX);
}

static void accept_more(struct listener *k)
{
	struct io_uring_sqe *sqe;

	if (k->is_accepting || k->face.is_closed || is_full(k))
		return;
	sqe = apus_ring_prepare(k->kernel->ring, &k->accept_op);
	if (!sqe) {
		k->kernel->accept_at_ns = apus_now() + RETRY_NS;
		return;
	}
	io_uring_prep_multishot_accept(sqe, k->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	k->is_accepting = true;
	k->is_paused = false;
}

/* Return: is it being taken back? Not if the ring has no room. */
static bool cancel_accept(struct listener *k)
{
	struct io_uring_sqe *sqe = apus_ring_prepare(k->kernel->ring, NULL);

	if (sqe)
		io_uring_prep_cancel(sqe, &k->accept_op, 0);
	return sqe;
}

static void try_destroy(struct listener *k)
{
	struct apus_heap *heap = apus_shard_heap(k->kernel->shard);

	if (!k->face.is_closed || k->face.holds || k->is_accepting)
		return;
	apus_list_remove(&k->all);
	apus_heap_free(heap, k->face.ready);
	apus_heap_free(heap, k);
}

/* What was on its way when the accept was taken back still comes: it is not to be lost. */
static bool grow(struct listener *k)
{
	struct apus_tcp_listener *l = &k->face;
	struct apus_heap *heap = apus_shard_heap(k->kernel->shard);
	struct apus_tcp **bigger = apus_heap_alloc(heap, 2 * l->ready_size * sizeof(*bigger));

	if (!bigger)
		return false;
	for (uint32_t i = l->ready_head; i != l->ready_tail; i++)
		bigger[i & (2 * l->ready_size - 1)] = l->ready[i & (l->ready_size - 1)];
	apus_heap_free(heap, l->ready);
	l->ready = bigger;
	l->ready_size *= 2;
	return true;
}

static void keep(struct listener *k, int fd)
{
	struct apus_tcp *c;

	if (k->face.is_closed || (waiting(&k->face) == k->face.ready_size && !grow(k))) {
		close(fd);
		return;
	}
	c = apus_kernel_accepted(k->kernel, fd);
	if (!c)
		return;
	k->face.ready[k->face.ready_tail++ & (k->face.ready_size - 1)] = c;
	apus_waitq_wake_one(&k->face.acceptors, 0);
}

static void accepted(struct apus_ring_op *op, int32_t result, uint32_t flags)
{
	struct listener *k = apus_container_of(op, struct listener, accept_op);

	if (!(flags & IORING_CQE_F_MORE))
		k->is_accepting = false;
	if (result >= 0)
		keep(k, result);
	if (k->is_accepting && !k->is_paused && is_full(k))
		k->is_paused = cancel_accept(k);
	if (result >= 0 || result == -ECANCELED || result == -ECONNABORTED)
		accept_more(k);
	else /* out of descriptors or memory: soon some may be free */
		k->kernel->accept_at_ns = apus_now() + RETRY_NS;
	try_destroy(k);
}

/*
 * The descriptors of a process that was killed are the kernel's until it has taken down that one's
 * ring, 20 to 80 ms later: who is started at once finds the port taken, and waits for it a while. Not
 * later: a shard that has work does not wait.
 */
int apus_kernel_bind(const struct apus_kernel *kernel, int fd, const struct sockaddr_in *name,
		     uint32_t backlog)
{
	const struct timespec moment = {.tv_nsec = RETRY_NS};
	int rc;

	for (;;) {
		rc = bind(fd, (const struct sockaddr *)name, sizeof(*name)) ||
				     (backlog && listen(fd, (int)backlog))
			     ? -errno
			     : 0;
		if (rc != -EADDRINUSE || !name->sin_port ||
		    apus_clock_host_ns() - kernel->opened_at_ns > BUSY_NS)
			return rc;
		(void)nanosleep(&moment, NULL);
	}
}

/* Small pieces leave at once, urgent text stays in its place; a listener's connections inherit both. */
int apus_kernel_stream_socket(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &one, sizeof(one));
	return fd;
}

static int open_socket(struct apus_kernel *kernel, struct apus_endpoint *local, uint32_t backlog)
{
	int fd = apus_kernel_stream_socket(), one = 1, rc;
	struct sockaddr_in name;
	socklen_t len = sizeof(name);

	if (fd < 0)
		return fd;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (kernel->options.share_ports)
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	rc = apus_kernel_sockaddr(*local, &name) ? -EADDRNOTAVAIL
						 : apus_kernel_bind(kernel, fd, &name, backlog);
	if (!rc && getsockname(fd, (struct sockaddr *)&name, &len))
		rc = -errno;
	if (rc) {
		close(fd);
		return rc;
	}
	*local = apus_kernel_endpoint(&name);
	return fd;
}

int apus_kernel_listen(struct apus_kernel *kernel, struct apus_endpoint local, uint32_t backlog,
		       struct apus_tcp_listener **out)
{
	struct apus_heap *heap = apus_shard_heap(kernel->shard);
	struct listener *k = apus_heap_alloc(heap, sizeof(*k));

	if (!k)
		return -ENOMEM;
	memset(k, 0, sizeof(*k));
	k->face.backlog = backlog ? backlog : BACKLOG_DEFAULT;
	k->face.ready_size = 2;
	while (k->face.ready_size < 2 * k->face.backlog)
		k->face.ready_size *= 2;
	k->face.ready = apus_heap_alloc(heap, k->face.ready_size * sizeof(*k->face.ready));
	k->fd = k->face.ready ? open_socket(kernel, &local, k->face.backlog) : -ENOMEM;
	if (k->fd < 0) {
		int rc = k->fd;

		apus_heap_free(heap, k->face.ready);
		apus_heap_free(heap, k);
		return rc;
	}
	k->kernel = kernel;
	k->face.local = local;
	k->face.holds = 1;
	apus_waitq_init(&k->face.acceptors);
	k->accept_op.done = accepted;
	apus_list_push_back(&kernel->listeners, &k->all);
	accept_more(k);
	*out = &k->face;
	return 0;
}

bool apus_kernel_listener_has_ready(const struct apus_tcp_listener *l)
{
	return waiting(l) > 0;
}

struct apus_tcp *apus_kernel_listener_take(struct apus_tcp_listener *l)
{
	struct apus_tcp *c = NULL;

	if (waiting(l)) {
		c = l->ready[l->ready_head++ & (l->ready_size - 1)];
		apus_kernel_taken(c);
	}
	accept_more(of(l));
	return c;
}

void apus_kernel_listener_shut(struct apus_tcp_listener *l)
{
	struct listener *k = of(l);

	l->is_closed = true;
	while (waiting(l))
		apus_kernel_call_abort(l->ready[l->ready_head++ & (l->ready_size - 1)]);
	if (k->is_accepting && !cancel_accept(k))
		(void)shutdown(k->fd, SHUT_RDWR); /* ends it, too */
	apus_ring_submit(k->kernel->ring);        /* what names the descriptor */
	close(k->fd);
	apus_waitq_wake_all(&l->acceptors, 0);
	apus_kernel_listener_unhold(l);
}

void apus_kernel_listener_unhold(struct apus_tcp_listener *l)
{
	apus_must(l->holds > 0);
	l->holds--;
	try_destroy(of(l));
}

int apus_kernel_listener_descriptor(const struct apus_tcp_listener *l)
{
	return ((const struct listener *)l)->fd;
}

/* Those that had no room, no descriptor or no memory. */
static void accept_again(struct apus_kernel *kernel)
{
	struct apus_list *it;

	kernel->accept_at_ns = APUS_NEVER;
	apus_list_for_each(it, &kernel->listeners)
		accept_more(apus_list_entry(it, struct listener, all));
}

/* --- The network --------------------------------------------------------------------------- */

static bool kernel_poll(struct apus_poller *p, int64_t now_ns)
{
	struct apus_kernel *kernel = apus_container_of(p, struct apus_kernel, poller);

	if (apus_unlikely(now_ns >= kernel->accept_at_ns))
		accept_again(kernel);
	apus_kernel_feed(kernel);
	apus_kernel_look(kernel, now_ns);
	return false;
}

static void kernel_flush(struct apus_poller *p, int64_t now_ns)
{
	struct apus_kernel *kernel = apus_container_of(p, struct apus_kernel, poller);

	if (!apus_list_empty(&kernel->marked))
		apus_kernel_send_marked(kernel);
}

static int64_t kernel_idle(struct apus_poller *p, enum apus_idle what, int64_t now_ns)
{
	struct apus_kernel *kernel = apus_container_of(p, struct apus_kernel, poller);

	if (!apus_list_empty(&kernel->marked))
		return now_ns;
	return apus_list_empty(&kernel->drained)
		       ? kernel->accept_at_ns
		       : apus_min(kernel->accept_at_ns, kernel->look_at_ns);
}

static const struct apus_poller_type kernel_type = {
	.name = "kernel",
	.poll = kernel_poll,
	.flush = kernel_flush,
	.idle = kernel_idle,
};

int apus_kernel_open(struct apus_shard *shard, const struct apus_kernel_options *options,
		     struct apus_kernel **out)
{
	struct apus_kernel *kernel = apus_heap_alloc(apus_shard_heap(shard), sizeof(*kernel));
	int rc;

	if (!kernel)
		return -ENOMEM;
	memset(kernel, 0, sizeof(*kernel));
	kernel->shard = shard;
	kernel->accept_at_ns = APUS_NEVER;
	kernel->opened_at_ns = apus_clock_host_ns();
	if (options)
		kernel->options = *options;
	apus_list_init(&kernel->connections);
	apus_list_init(&kernel->marked);
	apus_list_init(&kernel->starved);
	apus_list_init(&kernel->drained);
	apus_list_init(&kernel->listeners);
	apus_list_init(&kernel->datagrams);
	apus_waitq_init(&kernel->closed);
	apus_poller_register(shard, &kernel->poller, &kernel_type);
	rc = apus_ring_self(&kernel->ring);
	if (rc) {
		apus_poller_unregister(&kernel->poller);
		apus_heap_free(apus_shard_heap(shard), kernel);
		return rc;
	}
	kernel->chunks.ring = kernel->ring;
	kernel->chunks.heap = apus_shard_heap(shard);
	apus_shard_set_slot(shard, APUS_KERNEL_SLOT, kernel);
	*out = kernel;
	return 0;
}

/* Linux 6.6 and later: 0 allowed, 1 for the administrator's group only, 2 for nobody. */
static int switched_off(void)
{
	FILE *f = fopen("/proc/sys/kernel/io_uring_disabled", "re");
	int value = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%d", &value) != 1)
		value = 0;
	(void)fclose(f);
	return value;
}

void apus_kernel_say_why(int rc, char *why, size_t why_bytes)
{
	const char *what = strerror(-rc);

	if ((rc == -EPERM || rc == -EACCES) && switched_off())
		what = "it is switched off: `sysctl -w kernel.io_uring_disabled=0` allows it";
	else if (rc == -EPERM || rc == -EACCES)
		what = "this process may not: let the container's seccomp rules allow "
		       "io_uring_setup, io_uring_enter and io_uring_register";
	else if (rc == -ENOSYS || rc == -EINVAL)
		what = "this kernel has none, or too old a one (Linux 6.0 it takes), or a "
		       "container's rules hide it";
	else if (rc == -ENOMEM)
		what = "it may lock too little memory: raise `ulimit -l`";
	else if (rc == -EMFILE || rc == -ENFILE)
		what = "no descriptor is free: raise `ulimit -n`";
	snprintf(why, why_bytes,
		 "--net kernel goes by io_uring, and %s; without --net kernel it is not needed",
		 what);
}

/* Operations that were cancelled end within a few turns: the kernel has only to say so. */
static void wait_for_operations(struct apus_kernel *kernel)
{
	int64_t until_ns = apus_clock_host_ns() + APUS_SEC;

	while ((kernel->polls || !apus_list_empty(&kernel->connections) ||
		!apus_list_empty(&kernel->listeners)) &&
	       apus_clock_host_ns() < until_ns)
		apus_shard_turn(kernel->shard);
}

void apus_kernel_close(struct apus_kernel *kernel)
{
	struct apus_list *it;

	apus_list_for_each(it, &kernel->connections)
		apus_kernel_reset(it);
	wait_for_operations(kernel);
	apus_poller_unregister(&kernel->poller);
	apus_shard_set_slot(kernel->shard, APUS_KERNEL_SLOT, NULL);
	apus_heap_free(apus_shard_heap(kernel->shard), kernel);
}

struct apus_kernel *apus_kernel_self(void)
{
	struct apus_shard *shard = apus_shard_self();

	return shard ? apus_shard_slot(shard, APUS_KERNEL_SLOT) : NULL;
}

int apus_kernel_linger(struct apus_kernel *kernel, int64_t ns)
{
	struct apus_timeout limit;
	int64_t rc = 0;

	apus_timeout_begin(&limit, ns);
	while (!rc && kernel->closing)
		rc = apus_waitq_wait(&kernel->closed, "kernel linger");
	return (int)apus_timeout_end(&limit, rc);
}
