/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/dctcp.h: DCTCP (RFC 8257), for networks whose switches mark early.
 */
#ifndef APUS_NET_TCP_DCTCP_H
#define APUS_NET_TCP_DCTCP_H

#include "net/tcp/cc.h"

APUS_BEGIN_DECLS

#define APUS_DCTCP_ONE (1U << 20) /* alpha = 1 */

/* What apus_cc.state points to. */
struct apus_dctcp {
	uint32_t alpha; /* fraction of bytes that met congestion, smoothed; in 1/APUS_DCTCP_ONE */
	uint32_t window_end;    /* SND.NXT when the observation window began */
	uint32_t acked_bytes;   /* in the observation window */
	uint32_t marked_bytes;  /* of these, told to be marked */
	uint32_t counted_bytes; /* acknowledged since the window last grew */
	bool has_window;        /* window_end is set */
};

extern const struct apus_cc_type apus_dctcp;

APUS_END_DECLS

#endif
