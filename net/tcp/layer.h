/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/layer.h: the TCP room of one stack: its tables, its slabs, its marked connections.
 *
 * The corridor hands up segments, calls apus_tcp_flush() once at the end of a turn, and passes on
 * what ICMP said. Everything else (listen, connect, read, write) comes down from net/socket
 * through user.h. One shard owns a layer; nothing here is shared.
 *
 * Bounds: connections_max connections, as many request entries, as many TIME-WAIT entries.
 */
#ifndef APUS_NET_TCP_LAYER_H
#define APUS_NET_TCP_LAYER_H

#include "net/ip/addr.h"
#include "net/tcp/cookie.h"
#include "net/tcp/demux.h"
#include "net/tcp/lent.h"
#include "net/tcp/memory.h"
#include "net/tcp/ooo.h"
#include "net/tcp/options.h"
#include "runtime/base/alloc.h"
#include "runtime/base/list.h"
#include "runtime/base/metrics.h"
#include "runtime/base/random.h"
#include "runtime/base/siphash.h"
#include "runtime/sched/timer.h"

struct apus_cc_type;
struct apus_icmp_error;
struct apus_ipv4;
struct apus_link;
struct apus_shard;
struct apus_tcp;
struct apus_tcp_time_wait;
struct rte_mbuf;

/* Every event and every drop, by name. */
#define APUS_TCP_COUNTERS(X)                         \
 X(SEGMENTS_IN, "segments_in")                       \
 X(SEGMENTS_FAST, "segments_fast")                   \
 X(SEGMENTS_OUT, "segments_out")                     \
 X(BYTES_IN, "bytes_in")                             \
 X(BYTES_OUT, "bytes_out")                           \
 X(ACTIVE_OPENS, "active_opens")                     \
 X(PASSIVE_OPENS, "passive_opens")                   \
 X(ESTABLISHED, "established")                       \
 X(CLOSED, "closed")                                 \
 X(RETRANSMITS, "retransmits")                       \
 X(SYN_RETRANSMITS, "syn_retransmits")               \
 X(RTO, "rto")                                       \
 X(FAST_RETRANSMITS, "fast_retransmits")             \
 X(TAIL_PROBES, "tail_probes")                       \
 X(TAIL_PROBE_REPAIRS, "tail_probe_repairs")         \
 X(LOST_RETRANSMITS, "lost_retransmits")             \
 X(TIMEOUT_UNDOS, "timeout_undos")                   \
 X(RECOVERY_UNDOS, "recovery_undos")                 \
 X(REORDERINGS, "reorderings")                       \
 X(DSACKS_IN, "dsacks_in")                           \
 X(SACK_RENEGED, "sack_reneged")                     \
 X(PARTIAL_ACKS, "partial_acks")                     \
 X(DUPLICATE_ACKS, "duplicate_acks")                 \
 X(ZERO_WINDOW_PROBES, "zero_window_probes")         \
 X(KEEPALIVE_PROBES, "keepalive_probes")             \
 X(DELAYED_ACKS, "delayed_acks")                     \
 X(CHALLENGE_ACKS, "challenge_acks")                 \
 X(CHALLENGE_ACKS_LIMITED, "challenge_acks_limited") \
 X(RESETS_IN, "resets_in")                           \
 X(RESETS_OUT, "resets_out")                         \
 X(TIMEOUTS, "timeouts")                             \
 X(TIME_WAITS, "time_waits")                         \
 X(TIME_WAIT_REUSED, "time_wait_reused")             \
 X(TIME_WAIT_EVICTED, "time_wait_evicted")           \
 X(REQUESTS, "requests")                             \
 X(REQUEST_TIMEOUTS, "request_timeouts")             \
 X(REQUEST_EVICTED, "request_evicted")               \
 X(SYN_ACK_RETRANSMITS, "syn_ack_retransmits")       \
 X(COOKIES_SENT, "syncookies_sent")                  \
 X(COOKIES_RECEIVED, "syncookies_received")          \
 X(COOKIES_FAILED, "syncookies_failed")              \
 X(ACCEPT_OVERFLOW, "accept_overflow")               \
 X(LISTEN_DROP, "listen_drop")                       \
 X(OPTIONS_MALFORMED, "options_malformed")           \
 X(OUT_OF_ORDER, "out_of_order")                     \
 X(MSS_LOWERED, "mss_lowered")                       \
 X(MSS_RAISED, "mss_raised")                         \
 X(MTU_BLACK_HOLES, "mtu_black_holes")               \
 X(MTU_PROBES, "mtu_probes")                         \
 X(MTU_PROBES_PASSED, "mtu_probes_passed")           \
 X(MTU_PROBES_LOST, "mtu_probes_lost")               \
 X(ICMP_ERRORS, "icmp_errors")                       \
 X(ICMP_IGNORED, "icmp_ignored")                     \
 X(ICMP_MTU_ZERO, "icmp_mtu_zero")                   \
 X(ICMP_MTU_IMPOSSIBLE, "icmp_mtu_impossible")       \
 X(ICMP_MTU_NOT_LESS, "icmp_mtu_not_less")           \
 X(ICMP_MTU_BELOW_LEAST, "icmp_mtu_below_least")     \
 X(PORTS_EXHAUSTED, "ports_exhausted")               \
 X(NO_MBUF, "no_mbuf")                               \
 X(NO_MEMORY, "no_memory")                           \
 X(TX_UNREACHABLE, "tx_unreachable")                 \
 X(DROP_SHORT, "drop_short")                         \
 X(DROP_BAD_OFFSET, "drop_bad_offset")               \
 X(DROP_BAD_CHECKSUM, "drop_bad_checksum")           \
 X(DROP_ADDRESS, "drop_address")                     \
 X(DROP_LAND, "drop_land")                           \
 X(DROP_CLOSED_RST, "drop_closed_rst")               \
 X(DROP_NO_CONNECTION, "drop_no_connection")         \
 X(DROP_LISTEN, "drop_listen")                       \
 X(DROP_SYN_SENT, "drop_syn_sent")                   \
 X(DROP_SEQUENCE, "drop_sequence")                   \
 X(DROP_RST_SEQUENCE, "drop_rst_sequence")           \
 X(DROP_SYN_IN_WINDOW, "drop_syn_in_window")         \
 X(DROP_NO_ACK, "drop_no_ack")                       \
 X(DROP_BAD_ACK, "drop_bad_ack")                     \
 X(DROP_AFTER_CLOSE, "drop_after_close")             \
 X(MEMORY_PRESSURES, "memory_pressures")             \
 X(OOO_PRUNED, "ooo_pruned")                         \
 X(DROP_RCV_PRUNED, "drop_rcv_pruned")               \
 X(DROP_RCV_FULL, "drop_rcv_full")                   \
 X(DROP_NO_TIMESTAMP, "drop_no_timestamp")           \
 X(PAWS_REJECTED, "paws_rejected")                   \
 X(ECN_CE, "ecn_ce")                                 \
 X(ECN_REDUCTIONS, "ecn_reductions")                 \
 X(DROP_TIME_WAIT, "drop_time_wait")

enum apus_tcp_counter {
#define X(id, name) APUS_TCP_COUNT_##id,
	APUS_TCP_COUNTERS(X)
#undef X
	APUS_TCP_COUNTER_COUNT,
};

/* Linux's names for the same events, as `nstat` prints them; NULL: it has none. */
extern const char *const apus_tcp_nstat[APUS_TCP_COUNTER_COUNT];

/* Ephemeral ports (RFC 6056): Linux's range. */
#define APUS_TCP_PORT_FIRST 32768
#define APUS_TCP_PORT_LAST  60999
#define APUS_TCP_PORT_MARKS 4096 /* of algorithm 4, a power of two: few peers share one */
#define APUS_TCP_PORT_MEMOS 8    /* a power of two */

/* That a search for a port was in vain. */
struct apus_tcp_port_memo {
	uint64_t hash;     /* of whom it was to be connected to */
	uint64_t removals; /* demux.removals at the time: nothing has been given back since */
	int64_t until_ns;
};

#define APUS_TCP_LISTENER_HEADS 64    /* chains of listeners by port, a power of two */
#define APUS_TCP_GAPS_MAX       65536 /* of all connections: 8 MiB */

struct apus_tcp_layer {
	struct apus_ipv4 *ip;   /* the room below */
	struct apus_link *link; /* below that: its mbufs and offloads */
	struct apus_shard *shard;
	struct apus_tcp_demux demux; /* four-tuple -> connection, request or TIME-WAIT entry */
	struct apus_list marked;     /* struct apus_tcp.link: they have something to say */
	struct apus_list detached;   /* struct apus_tcp.link: over, but held by the user */
	struct apus_list listener_heads[APUS_TCP_LISTENER_HEADS]; /* by local port */
	uint32_t alive;               /* connections in the demux, not in TIME-WAIT */
	struct apus_slab connections; /* struct apus_tcp */
	struct apus_slab senders;     /* struct apus_tcp_sender, of those with data in flight */
	struct apus_slab tallies;     /* struct apus_tcp_tally, of those that had text */
	struct apus_slab requests;    /* struct apus_tcp_request */
	struct apus_slab time_waits;  /* struct apus_tcp_time_wait */
	struct apus_tcp_time_wait *time_wait_oldest; /* a FIFO: all wait equally long */
	struct apus_tcp_time_wait *time_wait_newest;
	struct apus_timer time_wait_timer;
	struct apus_tcp_memory memory;  /* is the pool short of mbufs? */
	struct apus_tcp_lender *lender; /* buffers of users that are being sent (lent.h) */
	struct apus_ooo_pool ooo;       /* out-of-order text, of all connections */
	struct apus_siphash_key isn_key;
	struct apus_siphash_key port_key;
	struct apus_siphash_key ts_key;
	struct apus_tcp_cookie_jar cookies;
	struct apus_tcp_options options;
	struct apus_slab drs;    /* struct apus_drs: of connections that have received much */
	uint32_t rcv_buffer_max; /* bytes for the reader of a connection */
	uint8_t wscale;          /* what we offer: that which such a buffer needs */
	struct apus_tcp_port_memo port_memos[APUS_TCP_PORT_MEMOS];
	const struct apus_cc_type *congestion; /* of connections that do not choose */
	uint16_t port_marks[APUS_TCP_PORT_MARKS];
	uint16_t mss; /* what we can receive: MTU less headers (RFC 9293 §3.7.1) */
	void (*on_urgent)(struct apus_tcp *c, void *arg); /* the user's; NULL: nobody is told */
	void *on_urgent_arg;
	uint64_t counters[APUS_TCP_COUNTER_COUNT];
	struct apus_metrics_block metrics;
	struct apus_metrics_block nstat; /* the same numbers by Linux's names, where it has one */
};

/** apus_tcp_layer_init - @ip is borrowed while the layer lives, @options until return. Return: 0, -ENOMEM, -EINVAL (no such congestion control) */
APUS_MUST_CHECK int apus_tcp_layer_init(struct apus_tcp_layer *layer, struct apus_shard *shard,
					struct apus_ipv4 *ip,
					const struct apus_tcp_options *options,
					uint32_t connections_max);

/** apus_tcp_layer_fini - every connection is freed in silence; no task may wait in one */
void apus_tcp_layer_fini(struct apus_tcp_layer *layer);

/**
 * apus_tcp_input - a segment arrives
 * @m: data at the IPv4 header, m->l3_len its length; consumed
 *
 * Context: the loop, within the burst.
 * Source:  RFC 9293 §3.10.7
 */
void apus_tcp_input(struct apus_tcp_layer *layer, struct rte_mbuf *m, int64_t now_ns);

/** apus_tcp_flush - run output once for each marked connection, tell who lent what came back. Context: the loop, end of turn */
void apus_tcp_flush(struct apus_tcp_layer *layer, int64_t now_ns);
/** apus_tcp_turn_begins - look how much memory there is. Context: the loop, before the first burst of a turn, if frames came or there was pressure */
static inline void apus_tcp_turn_begins(struct apus_tcp_layer *layer)
{
	apus_tcp_memory_look(layer);
	if (apus_unlikely(layer->memory.level))
		apus_tcp_memory_reclaim(layer);
}
/** apus_tcp_has_to_flush - would it do anything? */
static inline bool apus_tcp_has_to_flush(const struct apus_tcp_layer *layer)
{
	return !apus_list_empty(&layer->marked) || apus_tcp_lender_has_back(layer->lender);
}

/** apus_tcp_icmp_error - ICMP told of trouble with a segment of ours. Source: RFC 5927, RFC 9293 §3.9.2.2 */
void apus_tcp_icmp_error(struct apus_tcp_layer *layer, const struct apus_icmp_error *error,
			 int64_t now_ns);

/** apus_tcp_layer_open - connections and requests alive, without TIME-WAIT */
size_t apus_tcp_layer_open(const struct apus_tcp_layer *layer);

/** apus_tcp_layer_time_wait - TIME-WAIT entries */
size_t apus_tcp_layer_time_wait(const struct apus_tcp_layer *layer);

/** apus_tcp_isn - the initial sequence number for @key (RFC 6528) */
uint32_t apus_tcp_isn(const struct apus_tcp_layer *layer, const struct apus_tcp_key *key,
		      int64_t now_ns);

/* inline definitions */

static inline void apus_tcp_count(struct apus_tcp_layer *layer, enum apus_tcp_counter counter)
{
	layer->counters[counter]++;
}

#endif
