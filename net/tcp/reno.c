/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/reno.c: how NewReno's window moves: RFC 5681 §3.1, §4.1, RFC 6582 §3.2, RFC 6928.
 *
 * Acknowledged bytes are counted, not ACKs (RFC 3465), so a peer that splits its ACKs gains
 * nothing.
 *
 * Where we differ: the initial window is 10 segments of any size (RFC 6928 §2 has also an upper
 * limit of 14600 bytes), and slow start adds all bytes that an ACK covers (RFC 3465 has a limit of
 * two segments), both as Linux does; but while a timeout's losses are being repaired it adds one
 * segment per ACK at most, as RFC 3465 demands, since such an ACK may cover what left the network
 * long ago.
 */
#include "net/tcp/reno.h"

static void init(struct apus_cc *cc)
{
	cc->counted_bytes = 0;
}

static void set_cwnd(struct apus_cc *cc, uint64_t bytes)
{
	bytes = apus_min(bytes, APUS_CC_CWND_MAX);
	cc->cwnd_bytes = (uint32_t)apus_max(bytes, cc->mss);
}

/* RFC 5681 §3.1 (4): half of what is in flight, at least two segments. */
static uint32_t half_of(const struct apus_cc *cc, uint32_t flight_bytes)
{
	return apus_max(flight_bytes / 2, 2 * cc->mss);
}

/* RFC 5681 §3.1 (2), up to ssthresh. Return: bytes left for congestion avoidance. */
static uint32_t slow_start(struct apus_cc *cc, uint32_t acked_bytes)
{
	uint32_t room = cc->ssthresh_bytes - cc->cwnd_bytes;
	uint32_t step = acked_bytes;

	if (cc->has_recover)
		step = acked_bytes = apus_min(acked_bytes, cc->mss);
	step = apus_min(step, room);
	set_cwnd(cc, (uint64_t)cc->cwnd_bytes + step);
	return acked_bytes - step;
}

/* RFC 5681 §3.1: one segment for every full window of acknowledged bytes. */
static void avoid_congestion(struct apus_cc *cc, uint32_t acked_bytes)
{
	uint32_t counted_bytes = cc->counted_bytes + acked_bytes;

	if (counted_bytes >= cc->cwnd_bytes) {
		counted_bytes -= cc->cwnd_bytes;
		set_cwnd(cc, (uint64_t)cc->cwnd_bytes + cc->mss);
	}
	cc->counted_bytes = apus_min(counted_bytes, cc->cwnd_bytes);
}

static void acked(struct apus_cc *cc, const struct apus_cc_ack *ack)
{
	uint32_t acked_bytes = ack->acked_bytes;

	if (cc->cwnd_bytes < cc->ssthresh_bytes)
		acked_bytes = slow_start(cc, acked_bytes);
	if (acked_bytes > 0)
		avoid_congestion(cc, acked_bytes);
}

/* RFC 5681 §3.2 (3): three segments have left the network: those that made the duplicates. */
static void enter_recovery(struct apus_cc *cc, uint32_t flight_bytes)
{
	cc->ssthresh_bytes = half_of(cc, flight_bytes);
	cc->counted_bytes = 0;
	set_cwnd(cc, (uint64_t)cc->ssthresh_bytes + APUS_CC_DUPLICATES_MAX * (uint64_t)cc->mss);
}

/* RFC 5681 §3.2 (4) */
static void duplicate(struct apus_cc *cc)
{
	set_cwnd(cc, (uint64_t)cc->cwnd_bytes + cc->mss);
}

/* RFC 6582 §3.2 (3), partial: deflate by what was acknowledged, add back the one sent again. */
static void partial_ack(struct apus_cc *cc, const struct apus_cc_ack *ack)
{
	uint64_t cwnd_bytes = cc->cwnd_bytes - apus_min(cc->cwnd_bytes, ack->acked_bytes);

	if (ack->acked_bytes >= cc->mss)
		cwnd_bytes += cc->mss;
	set_cwnd(cc, cwnd_bytes);
}

/* RFC 6582 §3.2 (3), full, choice 1: no burst when little is in flight. */
static void exit_recovery(struct apus_cc *cc, uint32_t flight_bytes)
{
	set_cwnd(cc, apus_min((uint64_t)cc->ssthresh_bytes,
			      (uint64_t)apus_max(flight_bytes, cc->mss) + cc->mss));
}

/* RFC 5681 §3.1 (4) and the loss window; a second timeout of one segment leaves ssthresh. */
static void timeout(struct apus_cc *cc, uint32_t flight_bytes, bool first)
{
	if (first)
		cc->ssthresh_bytes = half_of(cc, flight_bytes);
	cc->counted_bytes = 0;
	set_cwnd(cc, cc->mss);
}

/* RFC 5681 §4.1: the restart window. */
static void idle_restart(struct apus_cc *cc)
{
	set_cwnd(cc, apus_min(cc->cwnd_bytes, APUS_CC_INITIAL_MSS * cc->mss));
}

const struct apus_cc_type apus_reno = {
	.name = "reno",
	.init = init,
	.acked = acked,
	.enter_recovery = enter_recovery,
	.duplicate = duplicate,
	.partial_ack = partial_ack,
	.exit_recovery = exit_recovery,
	.timeout = timeout,
	.idle_restart = idle_restart,
};
