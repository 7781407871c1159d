/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fuzz/fuzz_mbuf.h: bytes as a packet, for targets that need no pool.
 */
#ifndef APUS_TESTS_FUZZ_FUZZ_MBUF_H
#define APUS_TESTS_FUZZ_FUZZ_MBUF_H

#include <rte_mbuf.h>
#include <string.h>

/* An mbuf without a pool, on a buffer of its own. */
static inline struct rte_mbuf mbuf_on(uint8_t *buffer, uint16_t headroom, uint32_t bytes)
{
	struct rte_mbuf m;

	memset(&m, 0, sizeof(m));
	m.buf_addr = buffer;
	m.buf_len = (uint16_t)(headroom + bytes);
	m.data_off = headroom;
	m.data_len = (uint16_t)bytes;
	m.pkt_len = bytes;
	m.nb_segs = 1;
	rte_mbuf_refcnt_set(&m, 1);
	return m;
}

#endif
