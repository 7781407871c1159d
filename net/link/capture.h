/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/link/capture.h: what passes a link, as a pcapng file: a link around a link.
 *
 * Both directions, with nanoseconds of wall time, as this shard's turns saw them. Opened around the
 * outermost link it shows what the stack sent and got, behind all impairments. Works on any link, so
 * a simulated world can be looked at with Wireshark too.
 */
#ifndef APUS_NET_LINK_CAPTURE_H
#define APUS_NET_LINK_CAPTURE_H

#include "net/link/link.h"

APUS_BEGIN_DECLS

#define APUS_CAPTURE_COUNTERS(X) \
 X(FRAMES, "frames")             \
 X(DROP_ERROR, "drop_error")

enum apus_capture_counter {
#define X(id, name) APUS_CAPTURE_##id,
	APUS_CAPTURE_COUNTERS(X)
#undef X
	APUS_CAPTURE_COUNTER_COUNT,
};

/**
 * apus_capture_open - wrap @inner
 * @inner: consumed: closed with the wrapper, or at once on error
 * @path:  file to write; one that exists is replaced; borrowed until return
 * @why:   on error one sentence: the cause, and the remedy
 *
 * Frames gather in a buffer of 256 KiB that is written when it is full, when the shard goes to sleep and
 * at close: a write may stall the shard, so this is for looking, not for production. If the file cannot
 * be written any more the log says so once; traffic goes on without it.
 *
 * Context: any, on a shard. Return: 0, -ENOMEM, -errno of the file.
 */
APUS_MUST_CHECK int apus_capture_open(struct apus_link *inner, const char *path, char *why,
				      size_t why_bytes, struct apus_link **out);

/** apus_capture_counter - how often it happened. Context: any */
uint64_t apus_capture_counter(const struct apus_link *link, enum apus_capture_counter counter);

APUS_END_DECLS

#endif
