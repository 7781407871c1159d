/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/socket/kernel_tcp.c: connections on the kernel's sockets; see kernel_internal.h.
 *
 * Receiving: one multishot receive is out while less than IN_MAX bytes wait for the reader; it is
 * taken back when more do, so that the kernel's window closes, and goes out again when half of them
 * were read. Sending: what is written gathers in one buffer of at most OUT_MAX bytes and leaves at
 * the end of the turn; while the kernel sends from it the buffer stands still.
 *
 * Sends are copied by the kernel, also large ones. Zero copy was measured (bench/zero_copy.c, the
 * figures are in bench/README.md): from registered buffers or not, over the loopback all of it is
 * copied after all, a send of up to 16 KiB takes 1.4 to 2 times the CPU, and only one of 64 KiB and
 * more from registered buffers is up to a fifth cheaper. A buffer comes back no sooner than the peer
 * has acknowledged it, so what is written would have to lie in twice the memory.
 *
 * Entries of the ring name descriptors by their numbers when they leave, so a descriptor is closed by
 * an entry behind all of these: a number that was free earlier could be another connection's by then.
 *
 * A connection's memory goes when nobody holds it and no operation names it: `ops`.
 */
#include "net/socket/kernel_internal.h"

#include "net/tcp/state.h"
#include "net/tcp/user.h"
#include "runtime/base/check.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IN_MAX    (256 * 1024)
#define OUT_FIRST 4096
#define OUT_MAX   (256 * 1024)

/* For a peer that takes nothing of what was written before the close; as of our own stack's. */
#define CLOSED_NS (2 * APUS_RTT_RTO_MAX_NS)

struct connection {
	struct apus_tcp face; /* first: what the sockets see */
	struct apus_kernel *kernel;
	struct apus_list all;     /* kernel->connections */
	struct apus_list marked;  /* kernel->marked */
	struct apus_list starved; /* kernel->starved */
	struct apus_list drained; /* kernel->drained */
	int fd;                   /* -1: let go */
	int leaving_fd;           /* let go, to be closed at the end of the turn; -1: none */
	uint32_t ops;             /* under way */
	bool is_receiving, is_sending, is_opening;
	bool is_paused;  /* the receive is being taken back */
	bool at_end;     /* the peer will say no more */
	bool is_shut;    /* we will write no more */
	bool is_closing; /* counted in kernel->closing */
	struct apus_ring_op open_op, receive_op, send_op;
	struct sockaddr_in to; /* of the connect under way */
	/* Received. */
	struct apus_kernel_inq in;
	/* Written. */
	char *out;
	uint32_t out_size, out_at, out_bytes;
};

static struct connection *of(struct apus_tcp *c)
{
	return (struct connection *)c;
}

static void try_destroy(struct connection *k)
{
	struct apus_heap *heap = apus_shard_heap(k->kernel->shard);

	if (k->ops || k->face.holds || k->fd >= 0 || k->leaving_fd >= 0)
		return;
	apus_kernel_inq_drop(&k->in, k->in.bytes);
	apus_list_remove(&k->all);
	apus_heap_free(heap, k->out);
	apus_heap_free(heap, k);
}

/* --- Ends ---------------------------------------------------------------------------------- */

/* Return: is @op being taken back? Not if the ring has no room. */
static bool cancel(struct connection *k, struct apus_ring_op *op)
{
	struct io_uring_sqe *sqe = apus_ring_prepare(k->kernel->ring, NULL);

	if (sqe)
		io_uring_prep_cancel(sqe, op, 0);
	return sqe;
}

static void mark(struct connection *k)
{
	if (!apus_list_linked(&k->marked))
		apus_list_push_back(&k->kernel->marked, &k->marked);
}

/* What is under way is taken back, and then its descriptor closed. Return: false: the ring has no room */
static bool leave(struct connection *k)
{
	struct io_uring_sqe *sqe;

	if ((k->is_receiving && !cancel(k, &k->receive_op)) ||
	    (k->is_sending && !cancel(k, &k->send_op)) ||
	    (k->is_opening && !cancel(k, &k->open_op)))
		return false;
	sqe = apus_ring_prepare(k->kernel->ring, NULL);
	if (!sqe)
		return false;
	io_uring_prep_close(sqe, k->leaving_fd);
	k->leaving_fd = -1;
	return true;
}

/* No more of the kernel's socket: it leaves at the end of the turn. */
static void let_go(struct connection *k)
{
	if (k->fd < 0)
		return;
	apus_list_remove(&k->starved);
	apus_list_remove(&k->drained);
	if (k->is_closing && --k->kernel->closing == 0)
		apus_waitq_wake_all(&k->kernel->closed, 0);
	k->is_closing = false;
	k->leaving_fd = k->fd;
	k->fd = -1;
	mark(k);
	k->face.state = APUS_TCP_CLOSED;
	apus_waitq_wake_all(&k->face.readers, 0);
	apus_waitq_wake_all(&k->face.writers, 0);
}

/*
 * The connection has failed: RFC 9293 flushes its queues and tells its users. What a peek lent stays
 * until it is taken.
 */
static void fail(struct connection *k, int error)
{
	if (k->fd < 0)
		return;
	k->face.error = (int16_t)apus_kernel_error(error);
	if (!k->face.is_lent)
		apus_kernel_inq_drop(&k->in, k->in.bytes);
	k->out_bytes = 0;
	let_go(k);
}

/* An operation of @k has ended in @result. Return: is there a connection still, and did it work? */
static bool succeeded(struct connection *k, int32_t result)
{
	k->ops--;
	if (k->fd >= 0 && result >= 0)
		return true;
	fail(k, result);
	try_destroy(k);
	return false;
}

static void reset(struct connection *k)
{
	const struct linger now = {.l_onoff = 1};

	if (k->fd >= 0)
		(void)setsockopt(k->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	fail(k, -ECONNABORTED);
}

void apus_kernel_reset(struct apus_list *node)
{
	reset(apus_list_entry(node, struct connection, all));
}

/* All that was written is the kernel's: say so, if no more will come. */
static void written(struct connection *k)
{
	if (!k->is_shut || k->fd < 0)
		return;
	(void)shutdown(k->fd, SHUT_WR);
	if (k->face.is_released)
		let_go(k);
	else
		k->face.state = k->at_end ? APUS_TCP_LAST_ACK : APUS_TCP_FIN_WAIT_2;
}

/* --- Resets that nobody tells of ----------------------------------------------------------- */

/*
 * A multishot receive that has read its socket empty waits for the socket's next event. If the reset
 * lay behind the text already, that event is over: Linux (6.18) tells of an end this way, not of a
 * reset. So who was read empty is asked once, soon after; not all at a time.
 */
#define LOOK_NS (10 * APUS_MS)
#define LOOKS   256

static void look_for_reset(struct connection *k)
{
	struct pollfd seen = {.fd = k->fd};
	socklen_t bytes = sizeof(int);
	int error = 0;

	/* SO_ERROR alone tells of ICMP errors, too, of which RFC 9293's MUST-56 makes nothing. */
	if (k->fd < 0 || poll(&seen, 1, 0) != 1 || !(seen.revents & POLLERR))
		return;
	if (!getsockopt(k->fd, SOL_SOCKET, SO_ERROR, &error, &bytes) && error)
		fail(k, -error);
}

static void note_drained(struct connection *k)
{
	struct apus_kernel *kernel = k->kernel;

	if (apus_list_linked(&k->drained))
		return;
	if (apus_list_empty(&kernel->drained))
		kernel->look_at_ns = apus_now() + LOOK_NS;
	apus_list_push_back(&kernel->drained, &k->drained);
}

void apus_kernel_look(struct apus_kernel *kernel, int64_t now_ns)
{
	if (apus_list_empty(&kernel->drained) || now_ns < kernel->look_at_ns)
		return;
	kernel->look_at_ns = now_ns + LOOK_NS;
	for (int i = 0; i < LOOKS && !apus_list_empty(&kernel->drained); i++) {
		struct apus_list *node = apus_list_pop_front(&kernel->drained);
		struct connection *k = apus_list_entry(node, struct connection, drained);

		look_for_reset(k);
		try_destroy(k);
	}
}

/* --- Receiving ----------------------------------------------------------------------------- */

static void receive(struct connection *k)
{
	struct io_uring_sqe *sqe;

	if (k->is_receiving || k->is_opening || k->at_end || k->fd < 0 || k->in.bytes >= IN_MAX / 2)
		return;
	sqe = apus_ring_buffers_free(k->kernel->ring)
		      ? apus_ring_prepare(k->kernel->ring, &k->receive_op)
		      : NULL;
	if (!sqe) {
		if (!apus_list_linked(&k->starved))
			apus_list_push_back(&k->kernel->starved, &k->starved);
		return;
	}
	io_uring_prep_recv_multishot(sqe, k->fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = APUS_RING_BUFFER_GROUP;
	k->is_receiving = true;
	k->is_paused = false;
	k->ops++;
}

void apus_kernel_feed(struct apus_kernel *kernel)
{
	while (!apus_list_empty(&kernel->starved) && apus_ring_buffers_free(kernel->ring)) {
		struct apus_list *node = apus_list_pop_front(&kernel->starved);
		struct connection *k = apus_list_entry(node, struct connection, starved);

		receive(k);
		if (apus_list_linked(&k->starved))
			return; /* no room in the ring */
	}
}

static void received(struct apus_ring_op *op, int32_t result, uint32_t flags)
{
	struct connection *k = apus_container_of(op, struct connection, receive_op);

	if (flags & IORING_CQE_F_BUFFER) {
		uint16_t id = apus_ring_take(k->kernel->ring, flags);

		if (result <= 0 || k->fd < 0 || k->face.is_released)
			apus_ring_give_back(k->kernel->ring, id);
		else if (apus_kernel_inq_keep(&k->in, id, (uint32_t)result))
			result = -ENOMEM;
	}
	if (!(flags & IORING_CQE_F_MORE)) {
		k->is_receiving = false;
		k->ops--;
	}
	if (k->fd < 0) {
		try_destroy(k);
		return;
	}
	if (result > 0 && k->is_receiving && !(flags & IORING_CQE_F_SOCK_NONEMPTY))
		note_drained(k);
	if (result > 0 && k->face.is_released)
		reset(k); /* RFC 9293 §3.6.1: what nobody will read must not pass for delivered */
	if (result == 0) {
		k->at_end = true;
		if (k->face.state == APUS_TCP_ESTABLISHED)
			k->face.state = APUS_TCP_CLOSE_WAIT;
	} else if (result < 0 && result != -ENOBUFS && result != -ECANCELED) {
		fail(k, result);
	}
	apus_waitq_wake_all(&k->face.readers, 0);
	if (k->is_receiving && !k->is_paused && k->in.bytes >= IN_MAX)
		k->is_paused = cancel(k, &k->receive_op);
	receive(k);
	try_destroy(k);
}

void apus_kernel_call_consume(struct apus_tcp *c, size_t bytes)
{
	struct connection *k = of(c);

	apus_kernel_inq_drop(&k->in, bytes);
	c->is_lent = false;
	if (c->error) /* what would have gone with the connection but was lent */
		apus_kernel_inq_drop(&k->in, k->in.bytes);
	apus_kernel_feed(k->kernel);
	receive(k);
}

/* Nothing is there. */
static int end_or_wait(const struct connection *k)
{
	return k->at_end ? 0 : -EAGAIN;
}

int apus_kernel_call_peek(struct apus_tcp *c, struct iovec *views, int n)
{
	int count;

	if (c->error)
		return c->error;
	count = apus_kernel_inq_view(&of(c)->in, views, n);
	c->is_lent = count > 0;
	return count ? count : end_or_wait(of(c));
}

int64_t apus_kernel_call_receive(struct apus_tcp *c, void *buf, size_t len)
{
	struct iovec piece;
	size_t taken = 0;

	if (c->error)
		return c->error;
	while (taken < len && apus_kernel_inq_view(&of(c)->in, &piece, 1)) {
		size_t n = apus_min(len - taken, piece.iov_len);

		memcpy((char *)buf + taken, piece.iov_base, n);
		apus_kernel_call_consume(c, n);
		taken += n;
	}
	return taken || !len ? (int64_t)taken : end_or_wait(of(c));
}

/* --- Sending ------------------------------------------------------------------------------- */

/* Return: false: the ring has no room */
static bool send_written(struct connection *k)
{
	struct io_uring_sqe *sqe;

	if (k->is_sending || !k->out_bytes)
		return true;
	sqe = apus_ring_prepare(k->kernel->ring, &k->send_op);
	if (!sqe)
		return false;
	io_uring_prep_send(sqe, k->fd, k->out + k->out_at, k->out_bytes,
			   MSG_NOSIGNAL | MSG_WAITALL);
	k->is_sending = true;
	k->ops++;
	return true;
}

void apus_kernel_send_marked(struct apus_kernel *kernel)
{
	while (!apus_list_empty(&kernel->marked)) {
		struct apus_list *node = kernel->marked.next;
		struct connection *k = apus_list_entry(node, struct connection, marked);

		if (!(k->fd >= 0 ? send_written(k) : leave(k)))
			break; /* at the end of the next turn */
		apus_list_remove(node);
		try_destroy(k);
	}
	apus_ring_submit(kernel->ring);
}

static void sent(struct apus_ring_op *op, int32_t result, uint32_t flags)
{
	struct connection *k = apus_container_of(op, struct connection, send_op);

	k->is_sending = false;
	if (!succeeded(k, result))
		return;
	k->out_at += (uint32_t)result;
	k->out_bytes -= (uint32_t)result;
	if (k->out_bytes) {
		mark(k);
	} else {
		k->out_at = 0;
		written(k);
	}
	apus_waitq_wake_all(&k->face.writers, 0);
	try_destroy(k);
}

/* Room for @want more bytes, or less. Return: how many there is room for, behind what is there */
static uint32_t make_room(struct connection *k, uint32_t want)
{
	uint32_t size = apus_max(k->out_size, (uint32_t)OUT_FIRST);
	char *bigger;

	if (k->out_size - k->out_at - k->out_bytes >= want)
		return want;
	if (k->is_sending) /* the kernel reads there: it stands still */
		return k->out_size - k->out_at - k->out_bytes;
	if (k->out_at) {
		memmove(k->out, k->out + k->out_at, k->out_bytes);
		k->out_at = 0;
	}
	while (size < OUT_MAX && size - k->out_bytes < want)
		size *= 2;
	if (size > k->out_size) {
		bigger = apus_heap_alloc(apus_shard_heap(k->kernel->shard), size);
		if (bigger) {
			if (k->out_bytes)
				memcpy(bigger, k->out, k->out_bytes);
			apus_heap_free(apus_shard_heap(k->kernel->shard), k->out);
			k->out = bigger;
			k->out_size = size;
		}
	}
	return apus_min(want, k->out_size - k->out_bytes);
}

int64_t apus_kernel_call_send(struct apus_tcp *c, const struct iovec *iov, size_t n)
{
	struct connection *k = of(c);
	size_t want = 0, queued = 0;
	uint32_t room;

	if (k->at_end) /* no receive is out that would tell of a reset */
		look_for_reset(k);
	if (c->error)
		return c->error;
	if (k->is_shut || k->fd < 0)
		return -EPIPE;
	for (size_t i = 0; i < n; i++)
		want += iov[i].iov_len;
	room = make_room(k, (uint32_t)apus_min(want, (size_t)OUT_MAX));
	if (!room)
		return k->out_size ? -EAGAIN : -ENOMEM;
	for (size_t i = 0; i < n && queued < room; i++) {
		size_t part = apus_min(iov[i].iov_len, room - queued);

		memcpy(k->out + k->out_at + k->out_bytes, iov[i].iov_base, part);
		k->out_bytes += (uint32_t)part;
		queued += part;
	}
	mark(k);
	return (int64_t)queued;
}

void apus_kernel_call_rest(struct apus_tcp *c)
{
	struct connection *k = of(c);

	if (k->is_sending || k->out_bytes)
		return;
	apus_heap_free(apus_shard_heap(k->kernel->shard), k->out);
	k->out = NULL;
	k->out_size = k->out_at = 0;
}

int apus_kernel_call_shutdown(struct apus_tcp *c)
{
	struct connection *k = of(c);

	if (c->error)
		return c->error;
	if (k->is_shut || k->fd < 0)
		return -EPIPE;
	k->is_shut = true;
	c->state = k->at_end ? APUS_TCP_LAST_ACK : APUS_TCP_FIN_WAIT_1;
	if (!k->out_bytes)
		written(k);
	return 0;
}

/* --- Opening and closing ------------------------------------------------------------------- */

static void learn_local(struct connection *k)
{
	struct sockaddr_in name;
	socklen_t len = sizeof(name);

	if (getsockname(k->fd, (struct sockaddr *)&name, &len))
		return;
	k->face.key.local = apus_kernel_endpoint(&name).addr;
	k->face.key.local_port = apus_kernel_endpoint(&name).port;
}

static void opened(struct apus_ring_op *op, int32_t result, uint32_t flags)
{
	struct connection *k = apus_container_of(op, struct connection, open_op);

	k->is_opening = false;
	if (!succeeded(k, result))
		return;
	learn_local(k);
	k->face.state = APUS_TCP_ESTABLISHED;
	apus_waitq_wake_all(&k->face.writers, 0);
	receive(k);
}

/* Consumes @fd, also without memory. */
static struct connection *create(struct apus_kernel *kernel, int fd, enum apus_tcp_state state)
{
	struct connection *k = apus_heap_alloc(apus_shard_heap(kernel->shard), sizeof(*k));

	if (!k) {
		close(fd);
		return NULL;
	}
	memset(k, 0, sizeof(*k));
	k->face.is_kernel = true;
	k->face.state = state;
	k->face.holds = 1;
	apus_waitq_init(&k->face.readers);
	apus_waitq_init(&k->face.writers);
	k->kernel = kernel;
	k->fd = fd;
	k->leaving_fd = -1;
	apus_kernel_inq_init(&k->in, &kernel->chunks);
	k->open_op.done = opened;
	k->receive_op.done = received;
	k->send_op.done = sent;
	apus_list_init(&k->marked);
	apus_list_init(&k->starved);
	apus_list_init(&k->drained);
	apus_list_push_back(&kernel->connections, &k->all);
	return k;
}

struct apus_tcp *apus_kernel_accepted(struct apus_kernel *kernel, int fd)
{
	struct connection *k = create(kernel, fd, APUS_TCP_ESTABLISHED);
	struct sockaddr_in name;
	socklen_t len = sizeof(name);

	if (!k)
		return NULL;
	k->face.is_passive = true;
	if (!getpeername(fd, (struct sockaddr *)&name, &len)) {
		k->face.key.remote = apus_kernel_endpoint(&name).addr;
		k->face.key.remote_port = apus_kernel_endpoint(&name).port;
	}
	learn_local(k);
	return &k->face;
}

void apus_kernel_taken(struct apus_tcp *c)
{
	receive(of(c));
}

static int bind_to(int fd, struct apus_endpoint local)
{
	struct sockaddr_in name;
	int one = 1;

	if (apus_addr_is_any(local.addr) && !local.port)
		return 0;
	if (apus_kernel_sockaddr(local, &name))
		return -EADDRNOTAVAIL;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (!local.port) /* one for each remote, found by connect() */
		(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	return bind(fd, (struct sockaddr *)&name, sizeof(name)) ? -errno : 0;
}

/* RFC 9293 §3.9.2.3 (MUST-46): not to an address that no single host has. */
static int name_host(struct apus_endpoint e, struct sockaddr_in *out)
{
	int rc = apus_kernel_sockaddr(e, out);
	uint32_t host;

	if (rc)
		return rc;
	host = ntohl(out->sin_addr.s_addr);
	return !e.port || host == INADDR_ANY || host == INADDR_BROADCAST || IN_MULTICAST(host)
		       ? -EADDRNOTAVAIL
		       : 0;
}

int apus_kernel_call_open(struct apus_kernel *kernel, struct apus_endpoint local,
			  struct apus_endpoint remote, struct apus_tcp **out)
{
	struct io_uring_sqe *sqe;
	struct connection *k;
	struct sockaddr_in to;
	int fd, rc = name_host(remote, &to);

	if (rc)
		return rc;
	fd = apus_kernel_stream_socket();
	if (fd < 0)
		return fd;
	rc = bind_to(fd, local);
	if (rc) {
		close(fd);
		return rc;
	}
	k = create(kernel, fd, APUS_TCP_SYN_SENT);
	if (!k)
		return -ENOMEM;
	sqe = apus_ring_prepare(kernel->ring, &k->open_op);
	if (!sqe) {
		k->face.holds = 0;
		let_go(k);
		try_destroy(k);
		return -ENOBUFS;
	}
	k->face.key.remote = remote.addr;
	k->face.key.remote_port = remote.port;
	k->to = to;
	io_uring_prep_connect(sqe, fd, (struct sockaddr *)&k->to, sizeof(k->to));
	k->is_opening = true;
	k->ops++;
	*out = &k->face;
	return 0;
}

/* What the user asked for stands, if it is less. */
static void limit_closing(const struct connection *k)
{
	const unsigned int most = CLOSED_NS / APUS_MS;
	unsigned int ms = 0;
	socklen_t len = sizeof(ms);

	if (!getsockopt(k->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, &len) && (!ms || ms > most))
		(void)setsockopt(k->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &most, sizeof(most));
}

void apus_kernel_call_close(struct apus_tcp *c)
{
	struct connection *k = of(c);

	c->is_released = true;
	apus_waitq_wake_all(&c->readers, 0);
	apus_waitq_wake_all(&c->writers, 0);
	if (k->in.bytes || c->linger_units == APUS_TCP_LINGER_RESET || k->is_opening) {
		reset(k);
	} else if (k->fd >= 0) {
		k->is_shut = true;
		k->is_closing = k->out_bytes > 0;
		k->kernel->closing += k->is_closing;
		c->state = APUS_TCP_FIN_WAIT_1;
		if (k->out_bytes)
			limit_closing(k);
		else
			written(k);
	}
	apus_kernel_unhold(c);
}

void apus_kernel_call_abort(struct apus_tcp *c)
{
	c->is_released = true;
	reset(of(c));
	apus_waitq_wake_all(&c->readers, 0);
	apus_waitq_wake_all(&c->writers, 0);
	apus_kernel_unhold(c);
}

void apus_kernel_unhold(struct apus_tcp *c)
{
	apus_must(c->holds > 0);
	c->holds--;
	try_destroy(of(c));
}

/* --- For the other rooms --------------------------------------------------------------------- */

int apus_kernel_descriptor(const struct apus_tcp *c)
{
	return ((const struct connection *)c)->fd;
}

uint32_t apus_kernel_unsent_bytes(const struct apus_tcp *c)
{
	return ((const struct connection *)c)->out_bytes;
}
