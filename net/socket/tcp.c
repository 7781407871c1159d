/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/socket/tcp.c: TCP connections for tasks; see tcp.h.
 *
 * The waiting half of RFC 9293's user calls: net/tcp/user.c does the work and never waits; here a
 * task parks until there is something to do. A call under way holds the connection's memory, so
 * that another task may close it meanwhile: the call then ends with -EPIPE.
 *
 * A cancel takes effect where a call waits, before anything was taken; a budget is spent before
 * each call, so that one that never waits lets others run.
 */
#include "net/socket/tcp.h"

#include "net/link/link.h"
#include "net/socket/kernel_internal.h"
#include "net/socket/tcp_internal.h"
#include "net/stack_internal.h"
#include "net/tcp/listen.h"
#include "net/tcp/steady.h"
#include "net/tcp/user.h"
#include "runtime/sched/shard.h"
#include "runtime/sched/task.h"
#include "runtime/sched/wait.h"
#include "runtime/sync/timeout.h"

#include <errno.h>

#define PIECES_MAX 16 /* of a writev(), handed down at a time */

static struct apus_tcp_layer *layer_self(void)
{
	struct apus_stack *stack = apus_stack_self();

	return stack ? &stack->tcp : NULL;
}

/* ---- which network: a listener of the kernel's has no layer ---- */

static struct apus_tcp *listener_take(struct apus_tcp_listener *l)
{
	return l->layer ? apus_tcp_listener_take(l) : apus_kernel_listener_take(l);
}

static bool listener_has_ready(const struct apus_tcp_listener *l)
{
	return l->layer ? apus_tcp_listener_has_ready(l) : apus_kernel_listener_has_ready(l);
}

static void listener_unhold(struct apus_tcp_listener *l)
{
	if (l->layer)
		apus_tcp_listener_unhold(l);
	else
		apus_kernel_listener_unhold(l);
}

static void unhold(struct apus_tcp *c)
{
	if (apus_unlikely(c->is_kernel))
		apus_kernel_unhold(c);
	else
		apus_tcp_unhold(c);
}

static void abort_now(struct apus_tcp *c)
{
	if (c->is_kernel)
		apus_kernel_call_abort(c);
	else
		apus_tcp_call_abort(c, apus_now());
}

static int64_t send_some(struct apus_tcp *c, const struct iovec *iov, size_t n)
{
	if (apus_unlikely(c->is_kernel))
		return apus_kernel_call_send(c, iov, n);
	return apus_tcp_call_send(c, iov, n, apus_now());
}

static int open_from(struct apus_endpoint local, struct apus_endpoint remote, struct apus_tcp **out)
{
	struct apus_tcp_layer *layer = layer_self();
	struct apus_kernel *kernel = layer ? NULL : apus_kernel_self();

	if (kernel)
		return apus_kernel_call_open(kernel, local, remote, out);
	if (!layer)
		return -EADDRNOTAVAIL;
	return apus_tcp_call_open_from(layer, local, remote, apus_now(), out);
}

/* ---- listeners ---- */

int apus_tcp_listen(struct apus_endpoint local, uint32_t backlog, struct apus_tcp_listener **out)
{
	struct apus_tcp_layer *layer = layer_self();
	struct apus_kernel *kernel = layer ? NULL : apus_kernel_self();

	if (kernel)
		return apus_kernel_listen(kernel, local, backlog, out);
	return layer ? apus_tcp_listener_open(layer, local, backlog, out) : -EADDRNOTAVAIL;
}

int apus_tcp_accept(struct apus_tcp_listener *l, struct apus_tcp **out)
{
	struct apus_tcp *c = NULL;
	int64_t rc;

	l->holds++;
	rc = apus_checkpoint();
	while (!rc) {
		if (l->is_closed) {
			rc = -EPIPE;
			break;
		}
		c = listener_take(l);
		if (c)
			break;
		rc = apus_waitq_wait(&l->acceptors, "tcp accept");
	}
	/* A cancel may have come after the wake: the connection is the next one's. */
	if (rc == -ECANCELED && listener_has_ready(l))
		apus_waitq_wake_one(&l->acceptors, 0);
	listener_unhold(l);
	if (rc)
		return (int)rc;
	*out = c;
	return 0;
}

void apus_tcp_listener_close(struct apus_tcp_listener *l)
{
	if (l->layer)
		apus_tcp_listener_shut(l, apus_now());
	else
		apus_kernel_listener_shut(l);
}

struct apus_endpoint apus_tcp_listener_local(const struct apus_tcp_listener *l)
{
	return l->local;
}

/* ---- connections ---- */

int apus_tcp_connect_from(struct apus_endpoint local, struct apus_endpoint remote,
			  struct apus_tcp **out)
{
	struct apus_tcp *c;
	int64_t rc = apus_checkpoint();

	if (rc)
		return (int)rc;
	rc = open_from(local, remote, &c);
	if (rc)
		return (int)rc;
	while (!rc && (c->state == APUS_TCP_SYN_SENT || c->state == APUS_TCP_SYN_RECEIVED))
		rc = apus_waitq_wait(&c->writers, "tcp connect");
	if (!rc)
		rc = c->error;
	if (rc) { /* refused, timed out, or cancelled: nothing is left behind */
		abort_now(c);
		return (int)rc;
	}
	*out = c;
	return 0;
}

int apus_tcp_connect(struct apus_endpoint remote, struct apus_tcp **out)
{
	return apus_tcp_connect_from((struct apus_endpoint){.port = 0}, remote, out);
}

uint32_t apus_tcp_urgent(struct apus_tcp *c)
{
	return c->is_kernel ? 0 : apus_tcp_call_urgent(c);
}

int apus_tcp_on_urgent(void (*told)(struct apus_tcp *c, void *arg), void *arg)
{
	struct apus_tcp_layer *layer = layer_self();

	if (!layer)
		return -EADDRNOTAVAIL;
	layer->on_urgent = told;
	layer->on_urgent_arg = arg;
	return 0;
}

/* What a reader wants: text, or views of it. */
struct wanted {
	void *buf;           /* takes at most n bytes; or else */
	struct iovec *views; /* takes at most n */
	size_t n;
};

static APUS_INLINE int64_t take(struct apus_tcp *c, const struct wanted *w)
{
	size_t bytes;
	char *view;

	if (c->is_released)
		return -EPIPE;
	if (w->buf && (bytes = apus_tcp_call_take(c, w->buf, w->n)))
		return (int64_t)bytes;
	if (w->views && w->n && (bytes = apus_tcp_call_view(c, &view))) {
		w->views[0] = (struct iovec){view, bytes};
		return 1;
	}
	if (apus_unlikely(c->is_kernel))
		return w->views ? apus_kernel_call_peek(c, w->views, (int)w->n)
				: apus_kernel_call_receive(c, w->buf, w->n);
	return w->views ? apus_tcp_call_peek(c, w->views, (int)w->n)
			: apus_tcp_call_receive(c, w->buf, w->n);
}

static APUS_INLINE int64_t receive(struct apus_tcp *c, struct wanted w, const char *what)
{
	int64_t rc;

	if (c->is_reading)
		return -EBUSY;
	c->is_reading = true;
	apus_tcp_hold(c);
	rc = apus_checkpoint();
	while (!rc) {
		if (!apus_tcp_call_is_dry(c)) {
			rc = take(c, &w);
			if (rc != -EAGAIN)
				break;
		}
		rc = apus_waitq_wait(&c->readers, what);
	}
	c->is_reading = false;
	unhold(c);
	return rc;
}

int64_t apus_tcp_read(struct apus_tcp *c, void *buf, size_t len)
{
	return receive(c, (struct wanted){.buf = buf, .n = len}, "tcp read");
}

int apus_tcp_peek_slow(struct apus_tcp *c, struct iovec *views, int n)
{
	return (int)receive(c, (struct wanted){.views = views, .n = (size_t)n}, "tcp peek");
}

void apus_tcp_on_readable(struct apus_tcp *c, struct apus_callback *callback)
{
	struct iovec view;

	if (take(c, &(struct wanted){.views = &view, .n = 1}) != -EAGAIN) {
		apus_callback_now(callback, 0);
		return;
	}
	apus_callback_register(callback, &c->readers.waiters);
	if (c->is_kernel)
		apus_kernel_call_rest(c);
}

void apus_tcp_consume(struct apus_tcp *c, size_t bytes)
{
	if (apus_likely(apus_tcp_call_drop(c, bytes)))
		return;
	if (apus_unlikely(c->is_kernel))
		apus_kernel_call_consume(c, bytes);
	else
		apus_tcp_call_consume(c, bytes);
}

/* What is left of a scatter list. */
struct rest {
	const struct iovec *iov; /* the first that is not done */
	size_t n;                /* from there */
	size_t skip;             /* bytes of the first that are done */
};

static void rest_skip(struct rest *rest, size_t bytes)
{
	bytes += rest->skip;
	while (rest->n > 0 && bytes >= rest->iov->iov_len) {
		bytes -= rest->iov->iov_len;
		rest->iov++;
		rest->n--;
	}
	rest->skip = bytes;
}

/* The next pieces, at most PIECES_MAX of them. */
static size_t rest_pieces(const struct rest *rest, struct iovec *pieces)
{
	size_t count = apus_min(rest->n, (size_t)PIECES_MAX);

	for (size_t i = 0; i < count; i++)
		pieces[i] = rest->iov[i];
	if (count) {
		pieces[0].iov_base = (char *)pieces[0].iov_base + rest->skip;
		pieces[0].iov_len -= rest->skip;
	}
	return count;
}

/* Writes till all is queued. `*queued` is right whenever another task can look. */
static int64_t write_all(struct apus_tcp *c, struct rest rest, size_t len, size_t *queued)
{
	struct iovec pieces[PIECES_MAX];
	int64_t rc = apus_checkpoint();

	rest_skip(&rest, 0);
	while (!rc && *queued < len) {
		size_t count = rest_pieces(&rest, pieces);

		rc = c->is_released ? -EPIPE : send_some(c, pieces, count);
		if (rc > 0) {
			*queued += (size_t)rc;
			rest_skip(&rest, (size_t)rc);
			rc = 0;
		} else if (rc == -EAGAIN) {
			rc = apus_waitq_wait(&c->writers, "tcp write");
		}
	}
	return rc ? rc : (int64_t)len;
}

static APUS_NOINLINE int64_t writev_slow(struct apus_tcp *c, const struct iovec *iov, size_t n,
					 size_t len, size_t *queued)
{
	size_t done;
	int64_t rc;

	if (!queued)
		queued = &done;
	*queued = 0;
	if (c->is_writing)
		return -EBUSY;
	c->is_writing = true;
	apus_tcp_hold(c);
	rc = write_all(c, (struct rest){.iov = iov, .n = n}, len, queued);
	c->is_writing = false;
	unhold(c);
	return rc;
}

/* Room for what is queued at once, as nearly all is: nobody waits, and nobody else writes. NULL: not now */
static APUS_INLINE char *room_at_once(struct apus_tcp *c, size_t len)
{
	return len && !c->is_writing && apus_checkpoint_is_free() && !apus_checkpoint()
		       ? apus_tcp_call_room(c, len)
		       : NULL;
}

static APUS_INLINE int64_t write_one(struct apus_tcp *c, const struct iovec *iov, size_t *queued)
{
	char *room = room_at_once(c, iov->iov_len);

	if (apus_unlikely(!room))
		return writev_slow(c, iov, 1, iov->iov_len, queued);
	memcpy(room, iov->iov_base, iov->iov_len);
	apus_tcp_call_filled(c, iov->iov_len);
	if (queued)
		*queued = iov->iov_len;
	return (int64_t)iov->iov_len;
}

int64_t apus_tcp_writev(struct apus_tcp *c, const struct iovec *iov, size_t n, size_t *queued)
{
	size_t len = 0;
	char *room;

	if (n == 1)
		return write_one(c, iov, queued);
	for (size_t i = 0; i < n; i++)
		len += iov[i].iov_len;
	room = room_at_once(c, len);
	if (apus_unlikely(!room))
		return writev_slow(c, iov, n, len, queued);
	for (size_t i = 0; i < n; room += iov[i++].iov_len)
		memcpy(room, iov[i].iov_base, iov[i].iov_len);
	apus_tcp_call_filled(c, len);
	if (queued)
		*queued = len;
	return (int64_t)len;
}

int64_t apus_tcp_write(struct apus_tcp *c, const void *buf, size_t len)
{
	struct iovec piece = {.iov_base = (void *)buf, .iov_len = len};

	return write_one(c, &piece, NULL);
}

static int64_t send_lent(struct apus_tcp *c, const char *buf, size_t len,
			 struct apus_tcp_lent *lent)
{
	int64_t rc = apus_checkpoint();
	size_t queued = 0;

	while (!rc && queued < len) {
		rc = c->is_released ? -EPIPE
				    : apus_tcp_call_send_lent(c, buf + queued, len - queued, lent,
							      apus_now());
		if (rc > 0) {
			queued += (size_t)rc;
			rc = 0;
		} else if (rc == -EAGAIN) {
			rc = apus_waitq_wait(&c->writers, "tcp write");
		}
	}
	return rc ? rc : (int64_t)len;
}

/* Shorter than a segment it is cheaper to copy; what the device cannot read has to be. */
static bool worth_lending(const struct apus_tcp *c, const void *buf, size_t len)
{
	rte_iova_t iova;

	return !c->is_kernel && len >= c->cc.mss && len > 0 &&
	       apus_link_can_send(c->layer->link, buf, len, &iova);
}

int64_t apus_tcp_send_buffer(struct apus_tcp *c, const void *buf, size_t len,
			     void (*done)(void *arg), void *arg)
{
	struct apus_tcp_lent *lent = NULL;
	int64_t rc = -EBUSY;

	if (!c->is_writing && worth_lending(c, buf, len))
		lent = apus_tcp_lend(c->layer->lender, done, arg);
	if (!lent) {
		if (!c->is_writing)
			rc = apus_tcp_write(c, buf, len);
		done(arg);
		return rc;
	}
	c->is_writing = true;
	apus_tcp_hold(c);
	rc = send_lent(c, buf, len, lent);
	apus_tcp_lent_put(lent);
	c->is_writing = false;
	unhold(c);
	return rc;
}

int apus_tcp_shutdown(struct apus_tcp *c)
{
	return c->is_kernel ? apus_kernel_call_shutdown(c) : apus_tcp_call_shutdown(c);
}

/* Until our FIN, and all before it, is acknowledged or never will be; a hold keeps @c. */
static void linger(struct apus_tcp *c)
{
	struct apus_timeout limit;
	int64_t rc = 0;

	apus_timeout_begin(&limit, (int64_t)c->linger_units << APUS_TCP_LINGER_SHIFT);
	while (!rc && (apus_tcp_fin_due(c) || c->state == APUS_TCP_SYN_RECEIVED))
		rc = apus_waitq_wait(&c->writers, "tcp close");
	rc = apus_timeout_end(&limit, rc);
	if (rc == -ECANCELED) { /* there is nobody here to be told: the next wait is */
		apus_task_cancel(apus_task_self());
		(void)apus_task_uncancel(apus_task_self());
	}
}

void apus_tcp_close(struct apus_tcp *c)
{
	bool lingers = c->linger_units && apus_task_self();

	if (lingers)
		apus_tcp_hold(c);
	if (c->is_kernel)
		apus_kernel_call_close(c);
	else
		apus_tcp_call_close(c, apus_now());
	if (!lingers)
		return;
	linger(c);
	unhold(c);
}

void apus_tcp_abort(struct apus_tcp *c)
{
	abort_now(c);
}

void apus_tcp_get(struct apus_tcp *c)
{
	apus_tcp_hold(c);
}

void apus_tcp_put(struct apus_tcp *c)
{
	unhold(c);
}

void apus_tcp_reset(struct apus_tcp *c)
{
	bool is_released = c->is_released;

	apus_tcp_hold(c);
	abort_now(c);
	c->is_released = is_released;
}

bool apus_tcp_is_closed(const struct apus_tcp *c)
{
	return c->is_released;
}

int apus_tcp_error(const struct apus_tcp *c)
{
	return c->error;
}

struct apus_endpoint apus_tcp_local(const struct apus_tcp *c)
{
	return (struct apus_endpoint){.addr = c->key.local, .port = c->key.local_port};
}

struct apus_endpoint apus_tcp_remote(const struct apus_tcp *c)
{
	return (struct apus_endpoint){.addr = c->key.remote, .port = c->key.remote_port};
}

/* A span in ticks, rounded up, so that only 0 is "off"; at most 24 days. */
static uint32_t ticks_of(int64_t ns)
{
	int64_t most_ns = apus_tcp_tick_ns(INT32_MAX);

	return (uint32_t)((apus_min(ns, most_ns) + apus_tcp_tick_ns(1) - 1) >> 20);
}

/* Rounded up, too: about five hours at most. */
void apus_tcp_get_info(const struct apus_tcp *c, struct apus_tcp_info *info)
{
	if (c->is_kernel)
		apus_kernel_info(c, info);
	else
		apus_tcp_call_info(c, info);
}

static uint16_t linger_units_of(int64_t ns)
{
	int64_t most_ns = (int64_t)(APUS_TCP_LINGER_RESET - 1) << APUS_TCP_LINGER_SHIFT;

	if (!ns)
		return APUS_TCP_LINGER_RESET;
	return ns < 0 ? 0 : (uint16_t)(((apus_min(ns, most_ns) - 1) >> APUS_TCP_LINGER_SHIFT) + 1);
}

int apus_tcp_set(struct apus_tcp *c, enum apus_tcp_option option, int64_t value)
{
	/* Only linger has a meaning below 0. */
	if (value < 0 && option != APUS_TCP_LINGER_NS)
		return -EINVAL;
	if (c->is_kernel && option != APUS_TCP_LINGER_NS)
		return apus_kernel_set(c, option, value);
	apus_tcp_settle(c);
	switch (option) {
	case APUS_TCP_NODELAY:
		c->is_nodelay = value;
		break;
	case APUS_TCP_CORK:
		c->is_corked = value;
		break;
	case APUS_TCP_KEEPALIVE_IDLE_NS:
		c->keepalive_ticks = ticks_of(value);
		apus_tcp_start_idle(c, apus_now());
		break;
	case APUS_TCP_KEEPALIVE_INTERVAL_NS:
		if (!value)
			return -EINVAL;
		c->keepalive_interval_ticks = ticks_of(value);
		break;
	case APUS_TCP_KEEPALIVE_PROBES:
		if (!value || value > UINT8_MAX)
			return -EINVAL;
		c->keepalive_probes = (uint8_t)value;
		break;
	case APUS_TCP_USER_TIMEOUT_NS:
		c->user_timeout_ticks = ticks_of(value);
		break;
	case APUS_TCP_LINGER_NS:
		c->linger_units = linger_units_of(value);
		break;
	default:
		return -EINVAL;
	}
	if (c->in_demux)
		apus_tcp_mark(c); /* Nagle's text may go now; deadlines are armed by output */
	return 0;
}

int apus_tcp_set_congestion(struct apus_tcp *c, const char *name)
{
	const struct apus_cc_type *type;

	if (c->is_kernel)
		return apus_kernel_set_congestion(apus_kernel_descriptor(c), name);
	type = apus_cc_find(name);
	if (!type)
		return -ENOENT;
	if (c->state == APUS_TCP_CLOSED)
		return -EPIPE;
	apus_tcp_settle(c);
	apus_cc_set_type(&c->cc, type, c->recovery ? c->recovery->cc_state : NULL);
	apus_tcp_mark(c); /* the new one may let more go */
	return 0;
}

int apus_tcp_listener_set_congestion(struct apus_tcp_listener *l, const char *name)
{
	const struct apus_cc_type *type = apus_cc_find(name);

	if (!l->layer)
		return apus_kernel_set_congestion(apus_kernel_listener_descriptor(l), name);
	if (!type)
		return -ENOENT;
	l->congestion = type;
	return 0;
}
