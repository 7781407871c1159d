/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/ip/udp.h: the User Datagram Protocol: the room below net/socket/udp.h (RFC 768).
 *
 * Sockets are in two tables: those with a peer by (port, peer), asked first, and those without by
 * port. Datagrams wait in their socket as they came, at most 256 each and half the pool in all.
 */
#ifndef APUS_NET_IP_UDP_H
#define APUS_NET_IP_UDP_H

#include "net/ip/addr.h"
#include "net/ip/flow.h"
#include "net/ip/icmp.h"
#include "net/ip/ipv4.h"
#include "runtime/sync/waitq.h"

APUS_BEGIN_DECLS

#define APUS_UDP_SOCKETS_MAX 16384 /* per stack */
#define APUS_UDP_QUEUE_MAX   256   /* datagrams per socket; a power of two */
#define APUS_UDP_BUCKETS     1024
#define APUS_UDP_WAYS        256 /* destinations whose headers are kept; a power of two */
/* Ephemeral ports (RFC 6056 §3.2); Linux's range. */
#define APUS_UDP_PORT_FIRST 32768
#define APUS_UDP_PORT_LAST  60999

#define APUS_UDP_COUNTERS(X)             \
 X(RX_DATAGRAMS, "rx_datagrams")         \
 X(RX_NO_CHECKSUM, "rx_no_checksum")     \
 X(TX_DATAGRAMS, "tx_datagrams")         \
 X(ICMP_REFUSED, "icmp_refused")         \
 X(ICMP_IGNORED, "icmp_ignored")         \
 X(ICMP_NO_SOCKET, "icmp_no_socket")     \
 X(PORTS_EXHAUSTED, "ports_exhausted")   \
 X(NO_MBUF, "no_mbuf")                   \
 X(DROP_SHORT, "drop_short")             \
 X(DROP_LENGTH, "drop_length")           \
 X(DROP_CHECKSUM, "drop_checksum")       \
 X(DROP_PORT_ZERO, "drop_port_zero")     \
 X(DROP_NO_SOCKET, "drop_no_socket")     \
 X(DROP_QUEUE_FULL, "drop_queue_full")   \
 X(DROP_QUEUES_FULL, "drop_queues_full") \
 X(TX_DROP_TOO_BIG, "tx_drop_too_big")

enum apus_udp_counter {
#define X(id, name) APUS_UDP_##id,
	APUS_UDP_COUNTERS(X)
#undef X
	APUS_UDP_COUNTER_COUNT,
};

/* Where datagrams to one address go, and what they begin with; written by udp_output.c alone. */
struct apus_udp_way {
	struct apus_ipv4_flow flow;
	uint32_t src, dst;             /* network order; dst 0: none yet */
	uint64_t sum;                  /* of the pseudo header without the length */
	uint64_t ol_flags, tx_offload; /* of the mbuf */
	uint8_t header[APUS_IPV4_FLOW_BYTES_MAX];
};

struct apus_udp_layer {
	struct apus_ipv4 *ip; /* the rooms below */
	struct apus_icmp *icmp;
	struct apus_shard *shard;
	struct apus_slab sockets;    /* struct apus_udp */
	struct apus_list *bound;     /* APUS_UDP_BUCKETS heads of sockets without a peer */
	struct apus_list *connected; /* as many, of sockets with one */
	struct apus_udp_way
		*ways; /* APUS_UDP_WAYS, by destination: a new one takes the place of an old one */
	uint32_t connected_count;
	uint32_t queued;     /* datagrams in all queues */
	uint32_t queued_max; /* half of the pool */
	uint64_t hash_key;   /* odd */
	uint64_t counters[APUS_UDP_COUNTER_COUNT];
	struct apus_metrics_block metrics;
};

/* A socket. Written by udp.c alone, but for `readers`, `users` and `lent`. */
struct apus_udp {
	struct apus_udp_layer *layer;
	struct apus_endpoint local;  /* addr any: all of the stack's */
	struct apus_endpoint remote; /* port 0: no peer */
	struct apus_list link;       /* in its bucket; in none once closed */
	struct apus_waitq readers;   /* tasks in recv */
	uint32_t users;              /* tasks in recv, which hold the memory */
	int error;                   /* what ICMP said, until recv has told; 0: nothing */
	uint32_t head, tail;         /* of the queue: taken, put; they wrap */
	uint32_t lent;               /* of the oldest: a task looks at them (net/socket/udp.c) */
	struct rte_mbuf *queue[APUS_UDP_QUEUE_MAX]; /* data at the IPv4 header */
};

/** apus_udp_layer_init - the rooms below are kept. Return: 0, -ENOMEM */
APUS_MUST_CHECK int apus_udp_layer_init(struct apus_udp_layer *layer, struct apus_shard *shard,
					struct apus_ipv4 *ip, struct apus_icmp *icmp,
					uint32_t sockets_max);
/** apus_udp_layer_fini - every socket must be closed */
void apus_udp_layer_fini(struct apus_udp_layer *layer);

/**
 * apus_udp_input - put a datagram into its socket's queue, or tell the sender that there is none
 * @m: data at the IPv4 header, as apus_ipv4_input() left it; consumed
 *
 * Context: any. Source: RFC 768, RFC 1122 §4.1.3
 */
void apus_udp_input(struct apus_udp_layer *layer, struct rte_mbuf *m, int64_t now_ns);

/** apus_udp_icmp_error - what a room on the way said about a datagram of ours. Source: RFC 1122 §4.1.3.3 */
void apus_udp_icmp_error(struct apus_udp_layer *layer, const struct apus_icmp_error *error,
			 int64_t now_ns);

/**
 * apus_udp_attach - a new socket
 * @local:  port 0: a free one is chosen at random
 * @remote: NULL, or the only peer
 *
 * Context: any. Return: 0, -EADDRINUSE, -EADDRNOTAVAIL, -ENOMEM; -ENETUNREACH (no way to @remote).
 */
APUS_MUST_CHECK int apus_udp_attach(struct apus_udp_layer *layer, struct apus_endpoint local,
				    const struct apus_endpoint *remote, struct apus_udp **out);
/** apus_udp_detach - drop its datagrams, wake its readers with -EPIPE; freed by the last of them. Consumes @u */
void apus_udp_detach(struct apus_udp *u);
/** apus_udp_put_user - a reader leaves; the last one of a detached socket frees it */
void apus_udp_put_user(struct apus_udp *u);

/** apus_udp_pop - the oldest datagram, data at the IPv4 header; NULL if there is none. Gives it */
APUS_MUST_CHECK static inline struct rte_mbuf *apus_udp_pop(struct apus_udp *u);

/**
 * apus_udp_output - send @len bytes as one datagram
 *
 * Context: any. Return: @len; -EMSGSIZE, -ENOBUFS, -EHOSTUNREACH, -ENETUNREACH.
 */
APUS_MUST_CHECK int64_t apus_udp_output(struct apus_udp *u, const void *buf, size_t len,
					const struct apus_endpoint *to, int64_t now_ns);

/* inline definitions */

static inline struct rte_mbuf *apus_udp_pop(struct apus_udp *u)
{
	if (u->head == u->tail)
		return NULL;
	u->layer->queued--;
	return u->queue[u->head++ % APUS_UDP_QUEUE_MAX];
}

APUS_END_DECLS

#endif
