/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/ip/udp_test.h: sockets and datagrams, for the two programs that test UDP.
 */
#ifndef APUS_TESTS_NET_IP_UDP_TEST_H
#define APUS_TESTS_NET_IP_UDP_TEST_H

#include "net/socket/udp.h"
#include "tests/net/ip/frames.h"

static struct net net;

static inline int setup(void **state)
{
	net_open(&net);
	net_meet(&net, PEER, &mac_peer);
	return 0;
}

static inline int teardown(void **state)
{
	net_close(&net);
	return 0;
}

/* 0 is any. */
static inline struct apus_endpoint at(uint32_t addr, uint16_t port)
{
	struct apus_endpoint e = {.port = port};

	if (addr)
		e.addr = apus_addr_v4(addr);
	return e;
}

static inline struct apus_udp *open_at(uint32_t addr, uint16_t port)
{
	struct apus_udp *u;

	assert_int_equal(apus_udp_open(at(addr, port), NULL, &u), 0);
	return u;
}

static inline struct apus_udp *open_to(uint16_t port, uint32_t remote, uint16_t remote_port)
{
	struct apus_endpoint to = at(remote, remote_port);
	struct apus_udp *u;

	assert_int_equal(apus_udp_open(at(0, port), &to, &u), 0);
	return u;
}

static APUS_NOINLINE APUS_UNUSED void receive(uint16_t port, const void *data, size_t bytes)
{
	struct frame f;

	frame_udp(&f, PEER, 5353, US, port, data, bytes);
	net_receive(&net, &f);
}

/* What is next in the queue of @u; -1 if nothing. */
static inline int64_t pop(struct apus_udp *u)
{
	struct rte_mbuf *m = apus_udp_pop(u);
	int64_t bytes = m ? (int64_t)m->pkt_len - m->l3_len - 8 : -1;

	rte_pktmbuf_free(m);
	return bytes;
}

#endif
