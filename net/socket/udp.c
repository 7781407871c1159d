/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/socket/udp.c: datagrams for tasks: the waiting half of net/ip/udp.c.
 *
 * A reader that waits holds the socket's memory (`users`), so that a close while it waits is safe
 * whatever comes after it in the same lap. The datagram is taken after the wait, never handed over
 * by the waker: a cancelled reader has taken nothing, and passes the wake on.
 */
#include "net/socket/udp.h"
#include "net/ip/mbuf.h"
#include "net/ip/udp.h"
#include "net/socket/kernel_internal.h"
#include "net/stack_internal.h"

#include <errno.h>
#include <rte_udp.h>
#include <string.h>

static bool is_kernel(const struct apus_udp *u)
{
	return !u->layer;
}

int apus_udp_open(struct apus_endpoint local, const struct apus_endpoint *remote,
		  struct apus_udp **out)
{
	struct apus_stack *stack = apus_stack_self();
	struct apus_kernel *kernel = stack ? NULL : apus_kernel_self();

	if (kernel)
		return apus_kernel_udp_open(kernel, local, remote, out);
	if (!stack)
		return -EADDRNOTAVAIL;
	return apus_udp_attach(&stack->udp, local, remote, out);
}

void apus_udp_close(struct apus_udp *u)
{
	if (is_kernel(u))
		apus_kernel_udp_close(u);
	else
		apus_udp_detach(u);
}

struct apus_endpoint apus_udp_local(const struct apus_udp *u)
{
	return u->local;
}

static inline struct apus_endpoint sender_of(const struct rte_ipv4_hdr *ip,
					     const struct rte_udp_hdr *h)
{
	return (struct apus_endpoint){apus_addr_v4(ip->src_addr), rte_be_to_cpu_16(h->src_port)};
}

/* Consumes @m. Return: bytes copied */
static int64_t take(struct rte_mbuf *m, void *buf, size_t len, struct apus_endpoint *from)
{
	const struct rte_ipv4_hdr *ip = apus_ipv4_header(m);
	const struct rte_udp_hdr *h =
		rte_pktmbuf_mtod_offset(m, const struct rte_udp_hdr *, m->l3_len);
	uint32_t at = m->l3_len + (uint32_t)sizeof(*h);
	uint32_t bytes = (uint32_t)apus_min(len, (size_t)(m->pkt_len - at));

	if (from)
		*from = sender_of(ip, h);
	if (apus_likely(m->nb_segs == 1)) {
		memcpy(buf, rte_pktmbuf_mtod_offset(m, const void *, at), bytes);
		apus_mbuf_put(m);
		return bytes;
	}
	if (bytes) {
		const void *data = rte_pktmbuf_read(m, at, bytes, buf);

		if (data != buf) /* it lies in one segment: nothing was copied yet */
			memcpy(buf, data, bytes);
	}
	rte_pktmbuf_free(m);
	return bytes;
}

static void give_back(struct apus_udp *u)
{
	uint32_t count = u->lent;

	for (uint32_t i = 0; i < count; i++) /* one mbuf each, as lend() saw */
		apus_mbuf_put(u->queue[(u->head + i) % APUS_UDP_QUEUE_MAX]);
	u->head += count;
	u->layer->queued -= count;
	u->lent = 0;
}

/* What lies in one piece, of what is here. Return: how many; 0: the first one does not */
static int lend(struct apus_udp *u, struct apus_udp_view *views, int n)
{
	int count = (int)apus_min((uint32_t)n, u->tail - u->head);

	for (int i = 0; i < count; i++) {
		struct rte_mbuf *m = u->queue[(u->head + (uint32_t)i) % APUS_UDP_QUEUE_MAX];
		const struct rte_ipv4_hdr *ip = apus_ipv4_header(m);
		const struct rte_udp_hdr *h =
			(const struct rte_udp_hdr *)((const uint8_t *)ip + m->l3_len);

		if (apus_unlikely(m->nb_segs != 1)) {
			count = i;
			break;
		}
		views[i].bytes = h + 1;
		views[i].len = m->pkt_len - m->l3_len - sizeof(*h);
		views[i].from = sender_of(ip, h);
	}
	u->lent = (uint32_t)count;
	return count;
}

static bool is_closed(const struct apus_udp *u)
{
	return !apus_list_linked(&u->link);
}

/* Waits for a datagram, holding the socket. Return: 0 and there is one; why not */
static int64_t wait_datagram(struct apus_udp *u)
{
	int64_t rc;

	u->users++;
	rc = apus_checkpoint();
	while (!rc && !is_closed(u) && u->head == u->tail) {
		if (u->error) {
			rc = u->error;
			u->error = 0;
		} else {
			rc = apus_waitq_wait(&u->readers, "udp recv");
		}
	}
	if (is_closed(u))
		rc = rc ? rc : -EPIPE;
	else if (rc && u->head != u->tail)
		apus_waitq_wake_one(&u->readers, 0); /* the wake that our cancel lost */
	apus_udp_put_user(u);
	return rc;
}

/* There may be no datagram yet, or the task has run for long enough, or some are lent. */
static APUS_NOINLINE int64_t recv_slow(struct apus_udp *u, void *buf, size_t len,
				       struct apus_endpoint *from)
{
	int64_t rc;

	if (is_kernel(u))
		return apus_kernel_udp_recv(u, buf, len, from);
	give_back(u);
	rc = wait_datagram(u);
	return rc ? rc : take(apus_udp_pop(u), buf, len, from);
}

int64_t apus_udp_recv(struct apus_udp *u, void *buf, size_t len, struct apus_endpoint *from)
{
	if (apus_unlikely(is_kernel(u) || u->head == u->tail || u->lent ||
			  !apus_checkpoint_is_free() || apus_checkpoint()))
		return recv_slow(u, buf, len, from);
	return take(apus_udp_pop(u), buf, len, from);
}

/* The first one by a copy. Return: 1; as apus_udp_recv() */
static APUS_NOINLINE int64_t recv_one(struct apus_udp *u, struct apus_udp_view *view, void *buf,
				      size_t len)
{
	int64_t rc = apus_udp_recv(u, buf, len, &view->from);

	if (rc < 0)
		return rc;
	view->bytes = buf;
	view->len = (size_t)rc;
	return 1;
}

int64_t apus_udp_recv_many(struct apus_udp *u, struct apus_udp_view *views, int n, void *buf,
			   size_t len)
{
	int64_t rc;
	int count;

	if (apus_unlikely(is_kernel(u)))
		return recv_one(u, views, buf, len);
	give_back(u);
	rc = wait_datagram(u);
	if (apus_unlikely(rc))
		return rc;
	count = lend(u, views, n);
	return apus_likely(count) ? count : recv_one(u, views, buf, len);
}

int64_t apus_udp_send(struct apus_udp *u, const void *buf, size_t len,
		      const struct apus_endpoint *to)
{
	if (!to && !u->remote.port)
		return -EDESTADDRREQ;
	if (apus_unlikely(is_kernel(u)))
		return apus_kernel_udp_send(u, buf, len, to);
	return apus_udp_output(u, buf, len, to ? to : &u->remote, apus_now());
}
