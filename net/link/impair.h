/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/link/impair.h: a bad network, on demand: a link around a link.
 *
 * Loses, delays, reorders, duplicates and damages frames, and limits their rate, in each direction
 * on its own. The same wrapper serves a simulated world and a real device (--impair), because
 * kernels without netem exist. With a seed it does the same to the same frames, every time.
 */
#ifndef APUS_NET_LINK_IMPAIR_H
#define APUS_NET_LINK_IMPAIR_H

#include "net/link/link.h"
#include "runtime/base/random.h"

APUS_BEGIN_DECLS

enum apus_impair_direction {
	APUS_IMPAIR_RX = 1 << 0, /* what comes from the wrapped link */
	APUS_IMPAIR_TX = 1 << 1, /* what goes to it */
};

#define APUS_IMPAIR_QUEUE_DEFAULT 1000
#define APUS_IMPAIR_QUEUE_MAX     1000000

/* All zero: every frame passes at once. Probabilities are in parts per million. */
struct apus_impair_options {
	uint32_t loss_ppm;
	uint32_t duplicate_ppm; /* a copy follows, with a delay of its own */
	uint32_t corrupt_ppm;   /* one bit behind the Ethernet header is flipped; ARP is spared */
	uint32_t
		reorder_ppm; /* held back by up to reorder_ns more, so that later ones overtake it */
	int64_t delay_ns;
	int64_t jitter_ns;       /* the delay varies by up to this, both ways; order is kept */
	int64_t reorder_ns;      /* 0: 1 ms */
	uint64_t rate_bps;       /* bits of frames per second; 0: no limit */
	uint32_t queue_frames;   /* frames held per direction; more are dropped; 0: 1000 */
	unsigned int directions; /* enum apus_impair_direction; 0: both */
	uint64_t seed;           /* of its chance; 0: drawn from the generator handed to open */
};

#define APUS_IMPAIR_COUNTERS(X)      \
 X(RX_LOST, "rx_lost")               \
 X(RX_DUPLICATED, "rx_duplicated")   \
 X(RX_CORRUPTED, "rx_corrupted")     \
 X(RX_REORDERED, "rx_reordered")     \
 X(RX_QUEUE_FULL, "rx_queue_full")   \
 X(RX_COPY_FAILED, "rx_copy_failed") \
 X(TX_LOST, "tx_lost")               \
 X(TX_DUPLICATED, "tx_duplicated")   \
 X(TX_CORRUPTED, "tx_corrupted")     \
 X(TX_REORDERED, "tx_reordered")     \
 X(TX_QUEUE_FULL, "tx_queue_full")   \
 X(TX_COPY_FAILED, "tx_copy_failed")

/* RX first, then TX, in the same order: the code counts at base + what. */
enum apus_impair_counter {
#define X(id, name) APUS_IMPAIR_##id,
	APUS_IMPAIR_COUNTERS(X)
#undef X
	APUS_IMPAIR_COUNTER_COUNT,
};

/**
 * apus_impair_parse - "loss=1%,delay=10ms,jitter=2ms,reorder=1%,rate=100mbit,..."
 * @text:  key=value, separated by commas: loss duplicate corrupt reorder (percentages), delay jitter
 *         reorder-by (ns, us, ms, s), rate (bit, kbit, mbit, gbit), queue (frames), seed, direction
 *         (rx, tx, both)
 * @out:   written on success only
 * @why:   on error one sentence: what is wrong, and what would be right
 *
 * Context: any. Return: 0, -EINVAL.
 */
APUS_MUST_CHECK int apus_impair_parse(const char *text, struct apus_impair_options *out, char *why,
				      size_t why_bytes);

/**
 * apus_impair_open - wrap @inner
 * @inner:   consumed: closed with the wrapper, or at once on error
 * @options: borrowed until return
 * @random:  where a seed is drawn from if the options have none; borrowed until return
 *
 * Memory comes from the current shard's heap, and its metrics list the wrapper's counters.
 *
 * Context: any, on a shard. Return: 0, -ENOMEM, -EINVAL (an option out of its range).
 */
APUS_MUST_CHECK int apus_impair_open(struct apus_link *inner,
				     const struct apus_impair_options *options,
				     struct apus_random *random, struct apus_link **out);

/**
 * apus_impair_set - change what happens to frames from now on
 *
 * Frames that are held keep the time they were given. The queue's size and the chance stay as they
 * were opened. @link must be one that apus_impair_open() gave.
 *
 * Context: any. Return: 0, -EINVAL.
 */
APUS_MUST_CHECK int apus_impair_set(struct apus_link *link,
				    const struct apus_impair_options *options);

/** apus_impair_held - frames that wait inside, in both directions. Context: any */
size_t apus_impair_held(const struct apus_link *link);

/** apus_impair_counter - how often it happened. Context: any */
uint64_t apus_impair_counter(const struct apus_link *link, enum apus_impair_counter counter);

APUS_END_DECLS

#endif
