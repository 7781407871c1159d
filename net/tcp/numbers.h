/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/numbers.h: the numbers of TCP.md §2 that this room needs: Linux's, so that peers and test
 * suites find what they expect.
 */
#ifndef APUS_NET_TCP_NUMBERS_H
#define APUS_NET_TCP_NUMBERS_H

#include "net/tcp/segment.h"

#define APUS_TCP_SEND_QUEUE_BYTES   (256U * 1024)
#define APUS_TCP_SEND_QUEUE_MAX     (16U * 1024 * 1024) /* to which it grows with cwnd */
#define APUS_TCP_RCV_BUFFER_BYTES   (128U * 1024)       /* of a new connection */
#define APUS_TCP_RCV_BUFFER_MAX     (15U << 20)         /* to which it may grow */
#define APUS_TCP_WINDOW_SCALE       8 /* from the largest receive buffer that tuning may give: 15 MB */
#define APUS_TCP_MSS_DEFAULT        536U /* RFC 9293 §3.7.1 (MUST-15): no option received */
#define APUS_TCP_MSS_LEAST          48U  /* of what a peer's option is believed (TCP.md §2) */
#define APUS_TCP_MSS_LEAST_ICMP     536U /* of what ICMP can lower it to */
#define APUS_TCP_DELAYED_ACK_NS     (40 * APUS_MS)
#define APUS_TCP_QUICK_ACKS         16
#define APUS_TCP_SYN_RETRIES        6 /* that double, after the linear ones */
#define APUS_TCP_SYN_RETRIES_LINEAR 4
#define APUS_TCP_SYN_ACK_RETRIES    5
#define APUS_TCP_DATA_RETRIES       15 /* R2 of RFC 9293 §3.8.3 */
#define APUS_TCP_TIME_WAIT_NS       (60 * APUS_SEC)
#define APUS_TCP_FIN_WAIT_2_NS      (60 * APUS_SEC)
#define APUS_TCP_KEEPALIVE_NS       (75 * APUS_SEC)
#define APUS_TCP_KEEPALIVE_PROBES_N 9
#define APUS_TCP_CHALLENGE_NS       (500 * APUS_MS)
#define APUS_TCP_RETRY_NS           (10 * APUS_MS) /* after the mempool was empty */

static_assert(APUS_TCP_WINDOW_SCALE <= APUS_SEGMENT_WSCALE_MAX, "RFC 7323 §2.3");
static_assert(APUS_TCP_RCV_BUFFER_MAX <= (65535U << APUS_TCP_WINDOW_SCALE),
	      "the window field must be able to offer the whole buffer");

#endif
