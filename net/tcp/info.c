/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/info.c: the snapshot of a connection, and the counters behind it; see info.h, tally.h.
 */
#include "net/tcp/info.h"

#include "net/tcp/steady.h"
#include "runtime/sched/shard.h"

static_assert((int)APUS_TCP_CA_OPEN == (int)APUS_RECOVERY_OPEN &&
		      (int)APUS_TCP_CA_LOSS == (int)APUS_RECOVERY_LOSS,
	      "the same states by two names");

/* The handshake was not counted: as if it had gone through at once. */
void apus_tcp_tally_open(struct apus_tcp *c)
{
	if (c->tally)
		return;
	c->tally = apus_slab_get(&c->layer->tallies);
	if (!c->tally) {
		apus_tcp_count(c->layer, APUS_TCP_COUNT_NO_MEMORY);
		return;
	}
	*c->tally = (struct apus_tcp_tally){
		.segs_in = c->is_passive ? 2 : 1,
		.segs_out = c->is_passive ? 1 : 2,
	};
}

void apus_tcp_tally_close(struct apus_tcp *c)
{
	if (!c->tally)
		return;
	apus_tcp_trace_stop(c);
	apus_slab_put(&c->layer->tallies, c->tally);
	c->tally = NULL;
}

static void add_tally(const struct apus_tcp_tally *t, struct apus_tcp_info *info)
{
	info->bytes_acked = t->bytes_acked;
	info->bytes_received = t->bytes_received;
	info->bytes_retrans = t->bytes_retrans;
	info->segs_in = t->segs_in;
	info->segs_out = t->segs_out;
	info->total_retrans = t->total_retrans;
	info->delivered = t->delivered;
	info->delivered_ce = t->delivered_ce;
	info->dsack_dups = t->dsack_dups;
	info->reord_seen = t->reord_seen;
}

static void add_recovery(const struct apus_tcp *c, struct apus_tcp_info *info)
{
	const struct apus_recovery *r = c->recovery;
	uint32_t mss = apus_max(c->cc.mss, 1U); /* it is set before there is a recovery */

	info->ca_state = r->state;
	info->min_rtt_ns = apus_min_rtt_ns(&r->rack.min_rtt);
	info->unacked = apus_flight_count(&r->flight);
	info->sacked = r->flight.sacked_records + (r->flight.emulated_bytes + mss - 1) / mss;
	info->lost = r->flight.lost_records;
	info->retrans = (r->flight.again_bytes + mss - 1) / mss;
	info->reordering = r->reordering;
	info->pacing_rate = apus_cc_pacing_rate(&c->cc);
	if (r->rate.last_interval_ns)
		info->delivery_rate = (uint64_t)r->rate.last_bytes * APUS_SEC /
				      (uint64_t)r->rate.last_interval_ns;
}

static void add_idle(const struct apus_tcp *c, struct apus_tcp_info *info)
{
	info->ca_state = APUS_TCP_CA_OPEN;
	info->min_rtt_ns = (int64_t)c->kept.min_rtt_units * APUS_RTT_UNIT_NS;
	info->reordering = apus_max(c->kept.reordering, APUS_RECOVERY_DUPLICATES);
}

static void add_windows(const struct apus_tcp *c, struct apus_tcp_info *info)
{
	uint32_t end = apus_tcp_text_end(c);

	info->snd_mss = c->cc.mss;
	info->rcv_mss = c->rcv.mss;
	info->snd_cwnd = c->cc.cwnd_bytes;
	info->snd_ssthresh = c->cc.ssthresh_bytes;
	info->snd_wnd = c->snd.wnd;
	info->rcv_wnd = c->rcv.adv - c->rcv.nxt;
	info->rcv_space = c->rcv_buffer;
	info->notsent_bytes = apus_seq_lt(c->snd.nxt, end) ? end - c->snd.nxt : 0;
}

/* What is counted only when it is no more (steady.h). */
static void add_steady(const struct apus_tcp *c, struct apus_tcp_info *info)
{
	info->unacked = c->snd.una != c->snd.nxt;
	info->bytes_acked += c->snd.una - apus_tcp_sender_of(c)->steady_una;
}

static int64_t since_ns(uint32_t tick, int64_t now_ns)
{
	return apus_tcp_tick_ns(apus_tcp_tick(now_ns) - tick);
}

void apus_tcp_call_info(const struct apus_tcp *c, struct apus_tcp_info *info)
{
	int64_t now_ns = apus_now();
	struct apus_cc_info cc = {.phase = ""};

	if (c->cc.type->info)
		c->cc.type->info(&c->cc, &cc);
	*info = (struct apus_tcp_info){
		.state = apus_tcp_state_name((enum apus_tcp_state)c->state),
		.congestion = c->cc.type->name,
		.phase = cc.phase,
		.retransmits = c->retries,
		.backoff = c->rtt.backoff,
		.snd_wscale = c->snd.wscale,
		.rcv_wscale = c->rcv.wscale,
		.has_timestamps = c->has_ts,
		.has_sack = c->has_sack,
		.has_ecn = c->snd.ecn.is_on,
		.rto_ns = apus_rtt_rto_ns(&c->rtt),
		.srtt_ns = apus_rtt_srtt_ns(&c->rtt),
		.rttvar_ns = apus_rtt_rttvar_ns(&c->rtt),
		.last_data_sent_ns = since_ns(c->sent_tick, now_ns),
		.last_heard_ns = since_ns(c->heard_tick, now_ns),
	};
	if (c->cc.mss)
		add_windows(c, info);
	if (c->recovery)
		add_recovery(c, info);
	else
		add_idle(c, info);
	if (c->tally)
		add_tally(c->tally, info);
	if (c->is_steady)
		add_steady(c, info);
}
