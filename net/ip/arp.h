/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/ip/arp.h: from a neighbour's IPv4 address to its Ethernet address (RFC 826).
 *
 * A table of at most 1024 neighbours. Packets to one that is not known wait in its entry, 8 at
 * most. Entries that we send to are probed before they expire; others just expire.
 */
#ifndef APUS_NET_IP_ARP_H
#define APUS_NET_IP_ARP_H

#include "net/ip/addr.h"
#include "net/ip/bucket.h"
#include "net/ip/eth.h"
#include "runtime/sched/timer.h"

APUS_BEGIN_DECLS

#define APUS_ARP_ENTRIES_MAX 1024
#define APUS_ARP_WAITING_MAX 8 /* packets per neighbour */
#define APUS_ARP_BUCKETS     2048

/* Spans; a request is sent 3 times, a second apart (RFC 1122 §2.3.2.1: at most one per second). */
#define APUS_ARP_TRIES        3
#define APUS_ARP_RETRY_NS     (1 * APUS_SEC)
#define APUS_ARP_REACHABLE_NS (60 * APUS_SEC)
#define APUS_ARP_FAILED_NS    (3 * APUS_SEC)
/* RFC 5227 §1.1: ANNOUNCE_NUM, ANNOUNCE_INTERVAL, DEFEND_INTERVAL. */
#define APUS_ARP_ANNOUNCE_COUNT       2
#define APUS_ARP_ANNOUNCE_INTERVAL_NS (2 * APUS_SEC)
#define APUS_ARP_DEFEND_INTERVAL_NS   (10 * APUS_SEC)
/* A neighbour that was just confirmed does not change its Ethernet address for so long. */
#define APUS_ARP_LOCK_NS (1 * APUS_SEC)
/* Requests sent, to all neighbours together. */
#define APUS_ARP_REQUESTS_PER_SECOND 500
#define APUS_ARP_REQUESTS_BURST      100

enum apus_arp_state {
	APUS_ARP_FREE,
	APUS_ARP_INCOMPLETE, /* asked for by broadcast; packets wait */
	APUS_ARP_REACHABLE,
	APUS_ARP_STALE,  /* used, and being probed by unicast */
	APUS_ARP_FAILED, /* nobody answered: packets are refused for a while */
};

/* What a neighbour's state waits for; each is a FIFO in order of due_ns, as its span is constant. */
enum apus_arp_due {
	APUS_ARP_DUE_RETRY,  /* INCOMPLETE, STALE */
	APUS_ARP_DUE_EXPIRY, /* REACHABLE */
	APUS_ARP_DUE_FORGET, /* FAILED */
	APUS_ARP_DUE_COUNT,
};

#define APUS_ARP_COUNTERS(X)                 \
 X(REQUESTS_IN, "requests_in")               \
 X(REPLIES_IN, "replies_in")                 \
 X(REQUESTS_OUT, "requests_out")             \
 X(PROBES_OUT, "probes_out")                 \
 X(REPLIES_OUT, "replies_out")               \
 X(ANNOUNCEMENTS_OUT, "announcements_out")   \
 X(LEARNED, "learned")                       \
 X(CONFIRMED, "confirmed")                   \
 X(EXPIRED, "expired")                       \
 X(EVICTED, "evicted")                       \
 X(FAILED_COUNT, "failed")                   \
 X(CONFLICTS, "conflicts")                   \
 X(DEFENDED, "defended")                     \
 X(REQUESTS_LIMITED, "requests_limited")     \
 X(NO_MBUF, "no_mbuf")                       \
 X(HEARSAY, "hearsay")                       \
 X(DROP_SHORT, "drop_short")                 \
 X(DROP_FORMAT, "drop_format")               \
 X(DROP_OPERATION, "drop_operation")         \
 X(DROP_SENDER, "drop_sender")               \
 X(DROP_OWN, "drop_own")                     \
 X(DROP_NOT_FOR_US, "drop_not_for_us")       \
 X(DROP_UNSOLICITED, "drop_unsolicited")     \
 X(DROP_LOCKED, "drop_locked")               \
 X(DROP_WAITING_FULL, "drop_waiting_full")   \
 X(DROP_WAITING_TOTAL, "drop_waiting_total") \
 X(DROP_UNANSWERED, "drop_unanswered")       \
 X(DROP_EVICTED, "drop_evicted")             \
 X(DROP_UNREACHABLE, "drop_unreachable")

enum apus_arp_counter {
#define X(id, name) APUS_ARP_##id,
	APUS_ARP_COUNTERS(X)
#undef X
	APUS_ARP_COUNTER_COUNT,
};

struct apus_arp_entry {
	uint32_t addr; /* network order; 0 while free */
	struct rte_ether_addr mac;
	uint8_t state; /* enum apus_arp_state */
	uint8_t tries; /* requests or probes sent in this state */
	uint8_t waiting_count;
	bool proven;                 /* answered and sent to: in arp->proven, not arp->unproven */
	uint32_t changes;            /* of its address, or of who it is; never back to 0 */
	int64_t used_at_ns;          /* the last packet to it */
	int64_t confirmed_at_ns;     /* the last word from it */
	int64_t placed_at_ns;        /* when it went to the young end of its age list */
	int64_t due_ns;              /* when its state has something to do */
	struct apus_list due;        /* in arp->due[] */
	struct apus_list age;        /* in arp->proven or arp->unproven, or arp->free */
	struct apus_arp_entry *next; /* in its bucket */
	struct rte_mbuf *waiting[APUS_ARP_WAITING_MAX]; /* oldest first */
};

/* A packet of ours has waited in vain. @m: data at the IPv4 header; borrowed. Must not send. */
typedef void (*apus_arp_lost_fn)(void *arg, const struct rte_mbuf *m, int64_t now_ns);

/* What a valid packet says; addresses in network order. */
struct apus_arp_word {
	uint32_t sender, target;
	struct rte_ether_addr mac; /* the sender's */
	bool is_request;
};

/* A neighbour has said something that others who have our address should know. @concerns_us: it is to us */
typedef void (*apus_arp_heard_fn)(void *arg, const struct apus_arp_word *word, bool concerns_us);

struct apus_arp {
	struct apus_eth *eth;        /* the room below */
	struct apus_arp_entry *last; /* the one last sent to, proven; or &none */
	uint32_t addr;               /* ours, network order */
	uint32_t mask;               /* of the connected prefix */
	uint64_t hash_key;           /* odd */
	struct apus_arp_entry none;  /* all zero, in no list: no address matches it */
	struct apus_arp_entry **buckets;
	struct apus_arp_entry *entries;
	struct apus_list free;
	struct apus_list unproven; /* oldest first; the first to be evicted */
	struct apus_list proven;   /* oldest first */
	struct apus_list due[APUS_ARP_DUE_COUNT];
	struct apus_timer timer; /* for the first that is due, or earlier */
	struct apus_bucket requests;
	uint32_t waiting;     /* packets in all entries */
	uint32_t waiting_max; /* an eighth of the pool */
	uint32_t
		more; /* addresses that follow `addr` and are ours as well; they are not announced */
	uint8_t announcements_left;
	int64_t announce_at_ns;
	int64_t defended_at_ns;
	apus_arp_lost_fn on_lost; /* NULL: nobody wants to know */
	void *lost_arg;
	apus_arp_heard_fn on_heard; /* NULL: we are alone */
	void *heard_arg;
	struct apus_heap *heap;
	uint64_t counters[APUS_ARP_COUNTER_COUNT];
	struct apus_metrics_block metrics;
};

/** apus_arp_init - @addr/@prefix_bits is our address and its connected prefix; arp->more may be set after. Return: 0, -ENOMEM */
APUS_MUST_CHECK int apus_arp_init(struct apus_arp *arp, struct apus_shard *shard,
				  struct apus_eth *eth, struct apus_addr addr,
				  unsigned int prefix_bits);
/** apus_arp_fini - packets that wait are freed */
void apus_arp_fini(struct apus_arp *arp);

/** apus_arp_on_lost - from now on @fn is told of each packet that waited for a neighbour that does not answer. Context: any */
static inline void apus_arp_on_lost(struct apus_arp *arp, apus_arp_lost_fn fn, void *arg)
{
	arp->on_lost = fn;
	arp->lost_arg = arg;
}

/** apus_arp_on_heard - from now on @fn is told of each valid packet, before it is acted upon. Context: any */
static inline void apus_arp_on_heard(struct apus_arp *arp, apus_arp_heard_fn fn, void *arg)
{
	arp->on_heard = fn;
	arp->heard_arg = arg;
}

/** apus_arp_hearsay - what another with our address was told: learn from it; answering is the other's. Context: any */
void apus_arp_hearsay(struct apus_arp *arp, const struct apus_arp_word *word, int64_t now_ns);

/** apus_arp_announce - tell all neighbours our address, now and once more in 2 s. Source: RFC 5227 §2.3 */
void apus_arp_announce(struct apus_arp *arp, int64_t now_ns);

/**
 * apus_arp_input - take in what a neighbour says or asks
 * @m: data at the ARP header; consumed
 *
 * Context: any. Source: RFC 826 (packet reception), RFC 5227 §2.4
 */
void apus_arp_input(struct apus_arp *arp, struct rte_mbuf *m, int64_t now_ns);

/**
 * apus_arp_output - send an IPv4 packet to a neighbour, now or when its address is known
 * @m:        data at the IPv4 header; consumed
 * @next_hop: network order; of the connected prefix
 *
 * Context: any. Return: 0 (sent, or waits), -EHOSTUNREACH (it did not answer of late), -ENOBUFS.
 */
int apus_arp_output(struct apus_arp *arp, struct rte_mbuf *m, uint32_t next_hop, int64_t now_ns);

/** apus_arp_settled - @addr's entry (network order), if a packet to it needs nothing but entry->mac and a note in used_at_ns while entry->changes stays; else NULL. Borrowed. Context: any */
struct apus_arp_entry *apus_arp_settled(struct apus_arp *arp, uint32_t addr);
/** apus_arp_find - what is known of @addr (network order); NULL if nothing. Borrowed. Context: any */
const struct apus_arp_entry *apus_arp_find(const struct apus_arp *arp, uint32_t addr);
/** apus_arp_check - invariants of the table, for tests */
void apus_arp_check(const struct apus_arp *arp);

APUS_END_DECLS

#endif
