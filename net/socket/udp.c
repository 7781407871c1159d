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

/* Consumes @m. Return: bytes copied */
static int64_t take(struct rte_mbuf *m, void *buf, size_t len, struct apus_endpoint *from)
{
	const struct rte_ipv4_hdr *ip = apus_ipv4_header(m);
	const struct rte_udp_hdr *h =
		rte_pktmbuf_mtod_offset(m, const struct rte_udp_hdr *, m->l3_len);
	uint32_t at = m->l3_len + (uint32_t)sizeof(*h);
	uint32_t bytes = (uint32_t)apus_min(len, (size_t)(m->pkt_len - at));

	if (from)
		*from = (struct apus_endpoint){apus_addr_v4(ip->src_addr),
					       rte_be_to_cpu_16(h->src_port)};
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

static bool is_closed(const struct apus_udp *u)
{
	return !apus_list_linked(&u->link);
}

/* Waits, holding the socket. Return: 0 and a datagram at @out; why not */
static int64_t wait_datagram(struct apus_udp *u, struct rte_mbuf **out)
{
	int64_t rc = apus_checkpoint();

	while (rc >= 0 && !is_closed(u)) {
		*out = apus_udp_pop(u);
		if (*out)
			return 0;
		if (u->error) {
			rc = u->error;
			u->error = 0;
			return rc;
		}
		rc = apus_waitq_wait(&u->readers, "udp recv");
	}
	if (rc < 0 && !is_closed(u) && u->head != u->tail)
		apus_waitq_wake_one(&u->readers, 0); /* the wake that our cancel lost */
	return rc < 0 ? rc : -EPIPE;
}

/* There may be no datagram yet, or the task has run for long enough. */
static APUS_NOINLINE int64_t recv_slow(struct apus_udp *u, void *buf, size_t len,
				       struct apus_endpoint *from)
{
	struct rte_mbuf *m;

	if (is_kernel(u))
		return apus_kernel_udp_recv(u, buf, len, from);
	u->users++;

	int64_t rc = wait_datagram(u, &m);

	apus_udp_put_user(u);
	return rc ? rc : take(m, buf, len, from);
}

int64_t apus_udp_recv(struct apus_udp *u, void *buf, size_t len, struct apus_endpoint *from)
{
	if (apus_unlikely(is_kernel(u) || u->head == u->tail || !apus_checkpoint_is_free() ||
			  apus_checkpoint()))
		return recv_slow(u, buf, len, from);
	return take(apus_udp_pop(u), buf, len, from);
}

int64_t apus_udp_send(struct apus_udp *u, const void *buf, size_t len,
		      const struct apus_endpoint *to)
{
	if (!to && !u->remote.port)
		return -EDESTADDRREQ;
	if (is_kernel(u))
		return apus_kernel_udp_send(u, buf, len, to);

	int rc = apus_udp_output(u, buf, len, to ? to : &u->remote, apus_now());

	return rc ? rc : (int64_t)len;
}
