/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/link/steer.h: each frame to the shard that owns its flow: a link around a link.
 *
 * The shards of one port share an address, so a frame may arrive on any of its queues: where the
 * device hashes as we do, on the right one; else wherever it likes. The shard that polled it finds
 * the owner by the port's rule (net/link/rss.h), for every frame, whatever the device says: that
 * costs some nanoseconds, and is right with one queue, with fewer queues than shards, with TAP's
 * queues that the kernel fills as it pleases, and with a device that changes its mind.
 *
 * What belongs to another shard is handed over by mailbox (runtime/cross/mailbox.h): up to 32 frames
 * a message, from messages that are made at the start, so what is on its way from one shard to
 * another is bounded; more is dropped and counted. While a few messages are on their way, frames
 * gather for the next one: that makes bursts of single frames without making anything wait for a
 * clock. A shard for which the device has no queue to send through hands its frames to one that has.
 *
 * Who owns what:
 *	TCP			the shard that the tuple's hash names
 *	UDP			the same, if it has a socket on the port or nobody has; else one that has,
 *				chosen by the hash: so a service listens on every shard, or on one
 *	ICMP errors		the shard of the flow that they are about
 *	fragments, other	by addresses
 *	ARP			who got it answers; all are told what it said (apus_steer_tell())
 * A broadcast datagram is UDP like any other: it reaches one socket, on one shard.
 */
#ifndef APUS_NET_LINK_STEER_H
#define APUS_NET_LINK_STEER_H

#include "net/link/link.h"
#include "net/link/rss.h"

APUS_BEGIN_DECLS

struct apus_steer;

#define APUS_STEER_MESSAGES   28 /* of frames, from one shard to another */
#define APUS_STEER_NEWS       8  /* and of news */
#define APUS_STEER_NEWS_BYTES 64

#define APUS_STEER_COUNTERS(X)       \
 X(HANDED_OVER, "handed_over")       \
 X(TAKEN, "taken")                   \
 X(TX_HANDED_OVER, "tx_handed_over") \
 X(TX_TAKEN, "tx_taken")             \
 X(MESSAGES_SENT, "messages")        \
 X(NEWS_OUT, "news_out")             \
 X(NEWS_IN, "news_in")               \
 X(NEWS_DROPPED, "news_dropped")     \
 X(HASH_AGREES, "hash_agrees")       \
 X(HASH_SWAPPED, "hash_swapped")     \
 X(HASH_DIFFERS, "hash_differs")     \
 X(DROP_FULL, "drop_full")           \
 X(DROP_CLOSED, "drop_closed")       \
 X(TX_DROP_FULL, "tx_drop_full")     \
 X(TX_DROP_CLOSED, "tx_drop_closed")

enum apus_steer_counter {
#define X(id, name) APUS_STEER_##id,
	APUS_STEER_COUNTERS(X)
#undef X
	APUS_STEER_COUNTER_COUNT,
};

/**
 * apus_steer_open - what the shards of one port share
 * @rss:       the rule; kept until close
 * @tx_queues: shards from 0 on that send by themselves, at least 1
 *
 * Context: thread; no shard is needed yet. Return: 0, -ENOMEM.
 */
APUS_MUST_CHECK int apus_steer_open(const struct apus_rss *rss, unsigned int tx_queues,
				    struct apus_steer **out);

/** apus_steer_close - frames still on their way are freed. Context: thread; every link of it is closed, and the fabric too */
void apus_steer_close(struct apus_steer *steer);

/**
 * apus_steer_wrap - the link of this shard, the outermost: @inner's frames and what others hand over
 * @inner: consumed: closed with the wrapper, or at once on error
 *
 * The shard's number is its index in the fabric that joins the shards. Context: thread, on the shard. Return: 0, -ENOMEM.
 */
APUS_MUST_CHECK int apus_steer_wrap(struct apus_steer *steer, struct apus_link *inner,
				    struct apus_link **out);

/*
 * Those that follow do nothing for a link that is not a steer's: with one shard nobody has to be told.
 */

/* Hears what another shard told. Must not suspend. */
typedef void (*apus_steer_news_fn)(void *arg, const void *news, size_t bytes);

/** apus_steer_on_news - from now on @fn hears the news; NULL: nobody. Context: any, on the shard */
void apus_steer_on_news(struct apus_link *link, apus_steer_news_fn fn, void *arg);

/**
 * apus_steer_tell - tell every other shard
 * @bytes:     at most APUS_STEER_NEWS_BYTES
 * @important: else half of the messages are left for what is
 *
 * What finds no message left is dropped and counted. Context: any, on the shard.
 */
void apus_steer_tell(struct apus_link *link, const void *news, size_t bytes, bool important);

/** apus_steer_udp_claim - one more socket of this shard is on @port (host order). Context: any, on the shard. Return: false if another shard has one there */
bool apus_steer_udp_claim(struct apus_link *link, uint16_t port);
/** apus_steer_udp_release - one less */
void apus_steer_udp_release(struct apus_link *link, uint16_t port);

/** apus_steer_counter - how often it happened; 0 for another link. Context: any, on the shard */
uint64_t apus_steer_counter(const struct apus_link *link, enum apus_steer_counter counter);

APUS_END_DECLS

#endif
