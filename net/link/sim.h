/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/link/sim.h: a wire in a simulated world: links without a device.
 *
 * A wire has two or more ends, and each end is a link for one stack. What one end sends reaches the
 * others after a delay, at a limited rate, through a bounded queue that drops at its tail and may
 * mark what it lets through (RFC 3168 §5), and never out of order. Loss,
 * jitter, reordering, duplication and damage are not here: wrap an end (net/link/impair.h).
 *
 * With two ends the wire does not look into frames. With more it is a switch that knows where every
 * address lives: unicast goes to its end, all else to every other end.
 */
#ifndef APUS_NET_LINK_SIM_H
#define APUS_NET_LINK_SIM_H

#include "net/link/link.h"
#include "runtime/base/alloc.h"

APUS_BEGIN_DECLS

struct apus_sim_wire;

#define APUS_SIM_ENDS_MAX      256
#define APUS_SIM_QUEUE_DEFAULT 1024
#define APUS_SIM_QUEUE_MAX     (1u << 20)

/* All zero: two ends, no delay, no rate, MTU 1500. */
struct apus_sim_wire_options {
	int64_t delay_ns;      /* from the end that sends to the one that receives */
	uint64_t rate_bps;     /* bits of frames per second that an end sends at; 0: no limit */
	uint32_t queue_frames; /* on their way to one end, at most; more are dropped; 0: 1024 */
	uint32_t
		queue_bytes; /* that wait at an end for its turn at the rate; more are dropped; 0: no limit */
	uint32_t
		mark_bytes; /* when more than that wait, IPv4 that may be is marked: CE; 0: never */
	uint32_t lose_every; /* of the frames that an end sends, every n-th is lost; 0: none */
	uint32_t ends_max;   /* 0: 2 */
	uint16_t mtu;        /* largest IP packet; 0: 1500 */
	uint16_t hole_mtu; /* larger IP packets are lost in silence (RFC 2923 §2.1); 0: none are */
	/*
	 * RTE_ETH_TX_OFFLOAD_* that the ends grant: checksums, TCP_TSO. As between virtual machines
	 * what is left out is never made: a frame arrives with its checksums known to be good, a run
	 * of segments as one frame (RTE_MBUF_F_RX_LRO). 0: none; ARP and others know no difference.
	 */
	uint64_t offloads;
	/*
	 * Frames whose mbufs are all of the receiver's pool arrive as they are, without a copy, though
	 * the sender may hold their bytes too: the receiver cannot write into them, and what it does
	 * not take stays in use at the sender's. For when the wire's own cost matters.
	 */
	bool lend;
};

/*
 * Sees each frame that an end sends, once, before anything happens to it, even if nobody receives
 * it. Must not change or keep @m.
 */
typedef void (*apus_sim_trace_fn)(void *arg, unsigned int end, const struct rte_mbuf *m,
				  int64_t now_ns);

#define APUS_SIM_COUNTERS(X)             \
 X(TX_DROP_DOWN, "tx_drop_down")         \
 X(TX_DROP_TOO_LONG, "tx_drop_too_long") \
 X(TX_DROP_HOLE, "tx_drop_hole")         \
 X(TX_DROP_QUEUE, "tx_drop_queue")       \
 X(TX_MARKED, "tx_marked")               \
 X(TX_LOST, "tx_lost")

enum apus_sim_counter {
#define X(id, name) APUS_SIM_##id,
	APUS_SIM_COUNTERS(X)
#undef X
	APUS_SIM_COUNTER_COUNT,
};

/**
 * apus_sim_wire_open - a wire without ends
 * @heap:    where its memory comes from; must outlive the wire and its ends
 * @options: borrowed until return; NULL: all zero
 *
 * Context: any. Return: 0, -ENOMEM, -EINVAL (an option out of its range).
 */
APUS_MUST_CHECK int apus_sim_wire_open(struct apus_heap *heap,
				       const struct apus_sim_wire_options *options,
				       struct apus_sim_wire **out);

/** apus_sim_wire_close - no more ends; it is gone when the last end is closed. Context: any */
void apus_sim_wire_close(struct apus_sim_wire *wire);

/** apus_sim_wire_trace - call @fn for each frame sent from now on; NULL: nobody. Context: any */
void apus_sim_wire_trace(struct apus_sim_wire *wire, apus_sim_trace_fn fn, void *arg);

/** apus_sim_wire_in_flight - frames that were sent and not taken yet. Context: any */
size_t apus_sim_wire_in_flight(const struct apus_sim_wire *wire);

/**
 * apus_sim_end_open - the wire's next end, numbered from 0, with the address 02:00:00:00:00:<n + 1>
 * @pool: borrowed: where frames that arrive here live, and where those to send are taken from
 *
 * A frame is moved when it is the sender's alone and of the receiver's pool, or the wire lends; else
 * it is copied. A copy that finds the pool empty is the receiver's rx_drop_no_mbuf.
 *
 * Context: any, on the shard that will use the link. Return: 0, -ENOMEM, -ENOSPC (ends_max).
 */
APUS_MUST_CHECK int apus_sim_end_open(struct apus_sim_wire *wire, struct rte_mempool *pool,
				      struct apus_link **out);

/**
 * apus_sim_end_set_up - plug the cable in or out
 *
 * While it is out, what this end sends and what is sent to it is lost, with what was on its way.
 * @link must be one that apus_sim_end_open() gave. Context: any.
 */
void apus_sim_end_set_up(struct apus_link *link, bool up);

/** apus_sim_end_number - which end of its wire @link is. Context: any */
unsigned int apus_sim_end_number(const struct apus_link *link);

/** apus_sim_end_counter - how often it happened. Context: any */
uint64_t apus_sim_end_counter(const struct apus_link *link, enum apus_sim_counter counter);

APUS_END_DECLS

#endif
