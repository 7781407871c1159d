/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/output.c: what a connection has to say, once for each burst.
 *
 * apus_tcp_output() looks at the wants and at the queue and sends: the SYN; the segment that was
 * lost; text and FIN as both windows allow (RFC 9293 §3.8.6, RFC 5681 §3.1); a probe; and, if
 * none of these carried it, an ACK. Then it sets the deadlines. Everything that is sent
 * acknowledges everything that came.
 *
 * Acknowledgments are decided here, for the burst as a whole: at once for more than one full
 * segment, for the first 16 segments, and for what input found strange; else within 40 ms. A
 * burst of many full segments is answered with one ACK for every second of them (SHLD-19), each
 * with its own number, because a sender that counts ACKs is clocked by them; segments out of order
 * with a duplicate ACK each, because by these it finds its losses.
 *
 * Where we differ: RFC 9293 asks for a reset of the form <SEQ=SND.NXT><CTL=RST> on ABORT; ours
 * carries the ACK too, as Linux's does, so that it is exact for a peer that follows RFC 5961.
 *
 * Entry points: apus_tcp_output; send_abort, send_reset, send_bare.
 */
#include "net/ip/ipv4.h"
#include "net/tcp/pmtu.h"
#include "net/tcp/short.h"
#include "net/tcp/steady.h"
#include "net/tcp/timestamp.h"
#include "net/tcp/transmit.h"
#include "net/tcp/window.h"

#include <errno.h>
#include <netinet/in.h>
#include <rte_ethdev.h>

/* ---- leaving ---- */

/* Down the floors; m is the text. Returns 0 or why it did not leave. */
static int send_down(struct apus_tcp_layer *layer, struct rte_mbuf *m,
		     const struct apus_segment *seg, int64_t now_ns)
{
	int rc = apus_segment_build(m, seg, layer->link->tx_offloads);

	if (rc) {
		rte_pktmbuf_free(m);
		return rc;
	}
	apus_tcp_count(layer, APUS_TCP_COUNT_SEGMENTS_OUT);
	if (seg->rst)
		apus_tcp_count(layer, APUS_TCP_COUNT_RESETS_OUT);
	rc = apus_ipv4_output(layer->ip, m, seg->local, seg->remote, IPPROTO_TCP, seg->ecn, now_ns);
	if (rc)
		apus_tcp_count(layer, APUS_TCP_COUNT_TX_UNREACHABLE);
	return rc;
}

static void set_addresses(struct apus_segment *seg, const struct apus_tcp_key *key)
{
	seg->local = key->local;
	seg->remote = key->remote;
	seg->local_port = key->local_port;
	seg->remote_port = key->remote_port;
}

void apus_tcp_send_bare(struct apus_tcp_layer *layer, const struct apus_tcp_key *key,
			struct apus_segment *seg, int64_t now_ns)
{
	struct rte_mbuf *m = apus_ipv4_mbuf(layer->ip);

	if (!m) {
		apus_tcp_count(layer, APUS_TCP_COUNT_NO_MBUF);
		return;
	}
	set_addresses(seg, key);
	(void)send_down(layer, m, seg, now_ns); /* lost, as on any link */
}

static void stamp(const struct apus_tcp *c, struct apus_segment *seg, int64_t now_ns)
{
	if (c->has_ts)
		apus_tcp_stamp(seg, c->ts_offset, c->rcv.ts_recent, now_ns);
}

/* RFC 9293 §3.10.7.1, and wherever else "a reset should be formed". */
void apus_tcp_send_reset(struct apus_tcp_layer *layer, const struct apus_segment *seg,
			 int64_t now_ns)
{
	struct apus_tcp_key key = apus_tcp_key_of(seg);
	struct apus_segment reset = {.rst = true, .wscale = -1};

	if (seg->has_ack) { /* <SEQ=SEG.ACK><CTL=RST> */
		reset.seq = seg->ack;
	} else { /* <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK> */
		reset.has_ack = true;
		reset.ack = seg->seq + seg->len;
	}
	apus_tcp_send_bare(layer, &key, &reset, now_ns);
}

void apus_tcp_send_abort(struct apus_tcp *c, int64_t now_ns)
{
	struct apus_segment reset = {
		.seq = c->snd.nxt,
		.ack = c->rcv.nxt,
		.rst = true,
		.has_ack = true,
		.wscale = -1,
	};

	stamp(c, &reset, now_ns); /* RFC 7323 §3.2: it "SHOULD be sent in an <RST> segment" */
	apus_tcp_send_bare(c->layer, &c->key, &reset, now_ns);
}

/* ---- one segment ---- */

/* As many blocks as fit beside the timestamp (RFC 2018 §3). */
static uint32_t sack_max(const struct apus_tcp *c)
{
	return c->has_ts ? APUS_SEGMENT_SACK_MAX - 1 : APUS_SEGMENT_SACK_MAX;
}

/*
 * RFC 2018 §4: which text is here beyond RCV.NXT. Of several duplicate ACKs in a row each begins
 * with the block of the segment that it answers, as if it had left before the next one came.
 */
static APUS_COLD void put_sack(struct apus_tcp *c, struct apus_segment *seg, bool with_report)
{
	struct apus_ooo_query query = {
		.nxt = c->rcv.nxt,
		.max = sack_max(c),
		.skip = c->rcv.duplicates ? c->rcv.duplicates - 1U : 0,
		.with_report = with_report,
	};

	seg->sack_count = (uint8_t)apus_rcvq_blocks(&c->rcvq, &query, seg->sack);
}

uint32_t apus_tcp_text_max(const struct apus_tcp *c)
{
	uint32_t blocks;

	if (!c->has_sack || !c->rcvq.ooo)
		return c->cc.mss;
	blocks = apus_min(c->rcvq.ooo->runs, sack_max(c));
	if (!blocks)
		return c->cc.mss;
	return c->cc.mss - APUS_SEGMENT_SACK_HEAD_BYTES - blocks * APUS_SEGMENT_SACK_BYTES;
}

/* What is sent again is as long as it was: it carries the blocks that fit beside it. */
static APUS_COLD void fit_sack(const struct apus_tcp *c, struct apus_segment *seg, uint32_t bytes)
{
	uint32_t room = c->cc.mss - apus_min(bytes, c->cc.mss);
	uint32_t fit = room - apus_min(room, (uint32_t)APUS_SEGMENT_SACK_HEAD_BYTES);

	if (bytes <= c->cc.mss) /* a run is cut so that they do */
		seg->sack_count = (uint8_t)apus_min(seg->sack_count, fit / APUS_SEGMENT_SACK_BYTES);
}

struct apus_segment apus_tcp_base_segment(struct apus_tcp *c, uint32_t seq, int64_t now_ns)
{
	if (c->tally)
		c->tally->segs_out++;

	struct apus_segment seg = {
		.seq = seq,
		.ack = c->rcv.nxt,
		.wnd = apus_tcp_choose_window(c),
		.has_ack = true,
		.wscale = -1,
	};

	stamp(c, &seg, now_ns);
	set_addresses(&seg, &c->key);
	return seg;
}

/* RCV.NXT has been said: nothing is owed. */
static void acknowledged(struct apus_tcp *c)
{
	c->want &= (uint8_t) ~(APUS_TCP_WANT_ACK_NOW | APUS_TCP_WANT_ACK_SOON);
	c->rcv.acked = c->rcv.nxt;
	c->ack_at_ns = APUS_NEVER;
	if (c->rcv.quick)
		c->rcv.quick--;
}

int apus_tcp_no_memory(struct apus_tcp *c, int64_t now_ns)
{
	c->ack_at_ns = apus_min(c->ack_at_ns, now_ns + APUS_TCP_RETRY_NS);
	return -ENOBUFS;
}

static int no_mbuf(struct apus_tcp *c, int64_t now_ns)
{
	apus_tcp_count(c->layer, APUS_TCP_COUNT_NO_MBUF);
	return apus_tcp_no_memory(c, now_ns);
}

/* An ACK without text, at @seq. */
static int send_ack(struct apus_tcp *c, uint32_t seq, int64_t now_ns)
{
	struct rte_mbuf *m = apus_ipv4_mbuf(c->layer->ip);

	if (!m)
		return no_mbuf(c, now_ns);

	struct apus_segment seg = apus_tcp_base_segment(c, seq, now_ns);

	if (c->has_sack && c->rcvq.ooo)
		put_sack(c, &seg, true);
	apus_ecn_dress(&c->snd.ecn, &seg, false);
	acknowledged(c);
	(void)send_down(c->layer, m, &seg, now_ns);
	return 0;
}

/* RFC 8257 §3.2: what came before the mark changed is acknowledged first: now, not in the end. */
void apus_tcp_note_ecn(struct apus_tcp *c, const struct apus_segment *seg, int64_t now_ns)
{
	if (apus_ecn_took_text(&c->snd.ecn, seg, c->rcv.nxt != c->rcv.acked)) {
		(void)send_ack(c, c->snd.nxt, now_ns);
		(void)!apus_ecn_took_text(&c->snd.ecn, seg, false);
	}
	if (seg->ecn == APUS_SEGMENT_CE) {
		apus_tcp_count(c->layer, APUS_TCP_COUNT_ECN_CE);
		c->rcv.quick = (uint8_t)apus_max(c->rcv.quick, 2); /* the peer is to know soon */
	}
}

static void count_text(struct apus_tcp *c, uint32_t seq, uint32_t bytes)
{
	uint64_t *counters = c->layer->counters;
	uint32_t segments = 1;

	if (bytes > c->cc.mss) {
		uint32_t full = apus_tcp_text_max(c);

		segments = (bytes + full - 1) / full;
	}

	counters[APUS_TCP_COUNT_BYTES_OUT] += bytes;
	counters[APUS_TCP_COUNT_SEGMENTS_OUT] += segments - 1; /* one is counted below */
	if (seq != c->snd.nxt)
		counters[APUS_TCP_COUNT_RETRANSMITS] += segments;
	if (c->tally) {
		c->tally->segs_out += segments - 1; /* likewise */
		if (seq != c->snd.nxt) {
			c->tally->total_retrans += segments;
			c->tally->bytes_retrans += bytes;
		}
	}
}

/*
 * A run of full segments goes down as one frame, which the device cuts, or the Ethernet room. When
 * mbufs are short, or are more than the device takes, a half of it is tried. Return: bytes of text in
 * @m, 0 without mbufs.
 */
static uint32_t attach_text(struct apus_tcp *c, uint32_t offset, uint32_t bytes, struct rte_mbuf *m)
{
	const struct apus_link *link = c->layer->link;
	uint32_t mss = bytes > c->cc.mss ? apus_tcp_text_max(c) : c->cc.mss;
	bool cut = !(link->tx_offloads & RTE_ETH_TX_OFFLOAD_TCP_TSO);
	uint32_t segs_max = cut || !link->tx_segs_max ? UINT16_MAX : link->tx_segs_max;

	while (bytes > mss) {
		if (!apus_sndq_attach_run(&c->sndq, offset, bytes, mss, cut, segs_max, m)) {
			m->tso_segsz = (uint16_t)mss;
			m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
			return bytes;
		}
		bytes = apus_max((bytes + mss - 1) / mss / 2, 1U) * mss;
	}
	return apus_sndq_attach(&c->sndq, offset, bytes, m) ? 0 : bytes;
}

int64_t apus_tcp_send_text(struct apus_tcp *c, uint32_t seq, uint32_t bytes, bool fin, bool psh,
			   int64_t now_ns)
{
	struct rte_mbuf *m = apus_ipv4_mbuf(c->layer->ip);
	uint32_t left = bytes;

	if (!m)
		return no_mbuf(c, now_ns);
	if (bytes) {
		bytes = attach_text(c, seq - c->snd.una, bytes, m);
		if (!bytes) {
			rte_pktmbuf_free(m);
			return no_mbuf(c, now_ns);
		}
	}

	struct apus_segment seg = apus_tcp_base_segment(c, seq, now_ns);

	if (c->has_sack && c->rcvq.ooo) {
		put_sack(c, &seg, false); /* a run is many segments: each would report it */
		fit_sack(c, &seg, bytes);
	}
	left -= bytes;
	seg.fin = fin && !left;
	seg.psh = psh && !left;
	apus_ecn_dress(&c->snd.ecn, &seg, seq == c->snd.nxt && bytes);
	acknowledged(c);
	c->rcv.quick = 0; /* the application answers: from now on ACKs can ride on that */
	c->sent_tick = apus_tcp_tick(now_ns);
	count_text(c, seq, bytes);

	int rc = send_down(c->layer, m, &seg, now_ns);

	if (rc && rc != -ENOBUFS)
		c->soft_error = (int16_t)rc;
	return bytes;
}

/* ---- the handshake ---- */

static bool wants_ecn(const struct apus_tcp *c)
{
	return c->layer->options.ecn == APUS_TCP_ECN_ASK ||
	       (c->cc.type && c->cc.type->flags & APUS_CC_NEEDS_ECN);
}

/* <SEQ=ISS><CTL=SYN> or <SEQ=ISS><ACK=RCV.NXT><CTL=SYN,ACK>; ISS is SND.UNA in both states. */
static void output_syn(struct apus_tcp *c, int64_t now_ns)
{
	bool is_answer = c->state == APUS_TCP_SYN_RECEIVED;

	if (!(c->want & APUS_TCP_WANT_SYN)) {
		if (is_answer && c->want & APUS_TCP_WANT_ACK_NOW) /* a challenge */
			(void)send_ack(c, c->snd.nxt, now_ns);
		return;
	}

	struct rte_mbuf *m = apus_ipv4_mbuf(c->layer->ip);

	if (!m) {
		(void)no_mbuf(c, now_ns);
		return;
	}

	struct apus_segment seg = {
		.seq = c->snd.una,
		.ack = is_answer ? c->rcv.nxt : 0,
		/* RFC 7323 §2.2: never scaled in a SYN. */
		.wnd = apus_tcp_syn_window(c->layer),
		.syn = true,
		.has_ack = is_answer,
		.mss = c->layer->mss,
		.wscale = (int8_t)(is_answer && !c->rcv.wscale ? -1 : c->layer->wscale),
		.sack_permitted = is_answer ? c->has_sack : !c->layer->options.no_sack,
	};

	if (is_answer)
		seg.ece = c->snd.ecn.is_on;
	else
		apus_ecn_dress_syn(&c->snd.ecn, &seg, wants_ecn(c), c->snd.nxt != c->snd.una);
	if (is_answer ? c->has_ts : !c->layer->options.no_timestamps)
		apus_tcp_stamp(&seg, c->ts_offset, is_answer ? c->rcv.ts_recent : 0, now_ns);
	set_addresses(&seg, &c->key);
	c->want = 0;
	c->syn_at_ns = c->snd.nxt == c->snd.una ? now_ns : 0; /* Karn: the first one only */
	if (c->snd.nxt != c->snd.una)
		apus_tcp_count(c->layer, APUS_TCP_COUNT_SYN_RETRANSMITS);
	c->snd.nxt = c->snd.una + 1;
	if (c->rexmit_at_ns == APUS_NEVER)
		apus_tcp_restart_rexmit(c, now_ns);

	int rc = send_down(c->layer, m, &seg, now_ns);

	/* No route, or a neighbour that was asked and is not there: the user need not wait for R2. */
	if (c->state == APUS_TCP_SYN_SENT && (rc == -EHOSTUNREACH || rc == -ENETUNREACH))
		apus_tcp_delete(c, rc);
}

/* ---- acknowledgments ---- */

/*
 * More than two full segments came in this turn: an ACK for each two of them, but for the last
 * ones, whose ACK follows or rides on text. All of one burst, with the one right edge.
 */
static void output_stretch_acks(struct apus_tcp *c, int64_t now_ns)
{
	uint32_t step = 2U * c->rcv.mss;

	if (c->rcv.nxt - c->rcv.acked <= step || apus_rcvq_has_gap(&c->rcvq))
		return;
	(void)apus_tcp_choose_window(c); /* RCV.ADV is now what the last one will say */
	while (c->rcv.nxt - c->rcv.acked > step) {
		struct rte_mbuf *m = apus_ipv4_mbuf(c->layer->ip);

		if (!m) {
			(void)no_mbuf(c, now_ns);
			return;
		}
		c->rcv.acked += step;

		uint32_t field = (c->rcv.adv - c->rcv.acked) >> c->rcv.wscale;
		struct apus_segment seg = {
			.seq = c->snd.nxt,
			.ack = c->rcv.acked,
			.wnd = (uint16_t)apus_min(field, (uint32_t)UINT16_MAX),
			.has_ack = true,
			.wscale = -1,
		};

		stamp(c, &seg, now_ns);
		apus_ecn_dress(&c->snd.ecn, &seg, false);
		set_addresses(&seg, &c->key);
		(void)send_down(c->layer, m, &seg, now_ns);
	}
}

/*
 * RFC 5681 §4.2: a duplicate ACK for each segment that came out of order, because the sender
 * counts them to find the loss, and not by text, which it does not count. Before them what came
 * in order is acknowledged, else the first of them would not be a duplicate.
 */
static void output_duplicate_acks(struct apus_tcp *c, int64_t now_ns)
{
	if (c->rcv.acked != c->rcv.nxt && send_ack(c, c->snd.nxt, now_ns))
		return;
	while (c->rcv.duplicates && !send_ack(c, c->snd.nxt, now_ns))
		c->rcv.duplicates--;
}

/* Nothing that was sent carried it: is an ACK due now, or later? */
static void output_ack(struct apus_tcp *c, int64_t now_ns)
{
	bool now = c->want & APUS_TCP_WANT_ACK_NOW;

	/* RFC 9293 §3.8.6.3 (SHLD-18, SHLD-19); TCP.md §2. */
	if (c->want & APUS_TCP_WANT_ACK_SOON)
		now = now || c->rcv.quick || c->rcv.nxt - c->rcv.acked > c->rcv.mss;
	if (now)
		(void)send_ack(c, c->snd.nxt, now_ns);
	else if (c->want & APUS_TCP_WANT_ACK_SOON && c->ack_at_ns == APUS_NEVER)
		c->ack_at_ns = now_ns + APUS_TCP_DELAYED_ACK_NS; /* MUST-40: below 0.5 s */
	/* RFC 2883 §4 (2): a duplicate is reported once, and an ACK has room for one. */
	while (apus_rcvq_reports(&c->rcvq) && !send_ack(c, c->snd.nxt, now_ns))
		;
}

/* ---- all of it ---- */

static void output_synchronized(struct apus_tcp *c, int64_t now_ns)
{
	output_stretch_acks(c, now_ns);
	if (c->rcv.duplicates)
		output_duplicate_acks(c, now_ns);
	apus_tcp_transmit(c, now_ns);
	if (c->want & APUS_TCP_WANT_PROBE) /* TCP.md §2: SND.UNA-1, no text, ACK only */
		(void)send_ack(c, c->snd.una - 1, now_ns);
	c->want &= (uint8_t) ~(APUS_TCP_WANT_PROBE | APUS_TCP_WANT_FORCE);
	output_ack(c, now_ns);
	apus_tcp_watch(c, now_ns);
}

void apus_tcp_output(struct apus_tcp *c, int64_t now_ns)
{
	apus_tcp_settle(c);
	switch (c->state) {
	case APUS_TCP_SYN_SENT:
	case APUS_TCP_SYN_RECEIVED:
		output_syn(c, now_ns);
		break;
	case APUS_TCP_ESTABLISHED:
	case APUS_TCP_FIN_WAIT_1:
	case APUS_TCP_FIN_WAIT_2:
	case APUS_TCP_CLOSE_WAIT:
	case APUS_TCP_CLOSING:
	case APUS_TCP_LAST_ACK:
	case APUS_TCP_TIME_WAIT:
		output_synchronized(c, now_ns);
		break;
	case APUS_TCP_CLOSED:
	case APUS_TCP_LISTEN:
		return;
	}
	apus_tcp_arm(c);
}
