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
#include "net/tcp/timestamp.h"

#include <errno.h>
#include <netinet/in.h>
#include <rte_ethdev.h>

#define IPV4_HEADER_BYTES 20 /* apus_ipv4_output() makes no options */
#define RUN_SEGMENTS_MAX  64 /* in one run: bounds the mbufs of its chain */

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

/* ---- the window that we offer (RFC 9293 §3.8.6.2.2) ---- */

/* The edge that the buffer allows now. */
static uint32_t buffer_edge(const struct apus_tcp *c)
{
	uint32_t used = apus_min(c->rcvq.bytes, APUS_TCP_RCV_BUFFER_BYTES);
	uint32_t room = APUS_TCP_RCV_BUFFER_BYTES - used;

	return c->rcv.nxt + apus_min(room, (uint32_t)UINT16_MAX << c->rcv.wscale);
}

uint32_t apus_tcp_window_grow(const struct apus_tcp *c)
{
	uint32_t edge = buffer_edge(c);

	return apus_seq_gt(edge, c->rcv.adv) ? edge - c->rcv.adv : 0;
}

/*
 * The window field for a segment that acknowledges RCV.NXT.
 *
 * The right edge moves only by a full segment or half the buffer at a time, and never back
 * (SHLD-14). The field counts in units of the scale: it is rounded up, so as not to take back
 * what was offered, as long as that gives away less than one unit more than there is; else down
 * (RFC 7323 §2.4 allows the edge to seem to move back by less than a unit; RCV.ADV does not).
 */
static uint16_t choose_window(struct apus_tcp *c)
{
	uint32_t unit = 1U << c->rcv.wscale;
	uint32_t least = apus_min(APUS_TCP_RCV_BUFFER_BYTES / 2, (uint32_t)c->cc.mss);
	uint32_t limit = buffer_edge(c) + unit - 1;

	/* Not while duplicate ACKs are sent: with another window they would not count as such. */
	if (apus_tcp_window_grow(c) >= least && !c->rcv.duplicates)
		c->rcv.adv = buffer_edge(c);

	uint32_t wnd = c->rcv.adv - c->rcv.nxt;
	uint32_t field = (wnd + unit - 1) >> c->rcv.wscale;

	if (apus_seq_gt(c->rcv.nxt + (field << c->rcv.wscale), limit))
		field = wnd >> c->rcv.wscale;
	field = apus_min(field, (uint32_t)UINT16_MAX);
	c->rcv.adv = apus_seq_max(c->rcv.adv, c->rcv.nxt + (field << c->rcv.wscale));
	return (uint16_t)field;
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

struct apus_segment apus_tcp_base_segment(struct apus_tcp *c, uint32_t seq, int64_t now_ns)
{
	struct apus_segment seg = {
		.seq = seq,
		.ack = c->rcv.nxt,
		.wnd = choose_window(c),
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

/* Nothing was sent and every want stays: the timer runs output again, soon. */
static int no_mbuf(struct apus_tcp *c, int64_t now_ns)
{
	apus_tcp_count(c->layer, APUS_TCP_COUNT_NO_MBUF);
	c->ack_at_ns = apus_min(c->ack_at_ns, now_ns + APUS_TCP_RETRY_NS);
	return -ENOBUFS;
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

int apus_tcp_ack_now(struct apus_tcp *c, int64_t now_ns)
{
	return send_ack(c, c->snd.nxt, now_ns);
}

/* What went out for the first time may be timed (RFC 6298 §3); what went out again ends that. */
static void note_sent(struct apus_tcp *c, uint32_t seq, uint32_t end, uint32_t segments,
		      int64_t now_ns)
{
	if (apus_seq_lt(seq, c->snd.nxt)) {
		c->layer->counters[APUS_TCP_COUNT_RETRANSMITS] += segments;
		c->is_timing = false;
	} else if (!c->is_timing) {
		c->is_timing = true;
		c->rtt_seq = seq;
		c->rtt_at_ns = now_ns;
	}
	c->snd.nxt = apus_seq_max(c->snd.nxt, end);
	c->sent_tick = apus_tcp_tick(now_ns);
}

/*
 * A run of full segments goes down as one frame, which the device cuts, or the Ethernet room. When
 * mbufs are short, a half of it may find them. Return: bytes of text in @m, 0 without mbufs.
 */
static uint32_t attach_text(struct apus_tcp *c, uint32_t offset, uint32_t bytes, struct rte_mbuf *m)
{
	uint32_t mss = apus_tcp_text_max(c);
	bool spare = !(c->layer->link->tx_offloads & RTE_ETH_TX_OFFLOAD_TCP_TSO);

	while (bytes > mss) {
		if (!apus_sndq_attach_run(&c->sndq, offset, bytes, mss, spare, m)) {
			m->tso_segsz = (uint16_t)mss;
			m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
			return bytes;
		}
		bytes = apus_max((bytes + mss - 1) / mss / 2, 1U) * mss;
	}
	return apus_sndq_attach(&c->sndq, offset, bytes, m) ? 0 : bytes;
}

/*
 * @bytes of text from @seq on, a segment or a run of full ones, and the FIN behind them. An error
 * from below is a lost segment, and a reason to tell if all of them are lost.
 *
 * Return: bytes of text that left: fewer, in full segments, when mbufs are short; -ENOBUFS: none,
 * and nothing has changed.
 */
static int64_t send_text(struct apus_tcp *c, uint32_t seq, uint32_t bytes, bool fin, bool psh,
			 int64_t now_ns)
{
	struct rte_mbuf *m = apus_ipv4_mbuf(c->layer->ip);
	uint32_t left = bytes, full = apus_tcp_text_max(c), segments = 1;

	if (!m)
		return no_mbuf(c, now_ns);
	if (bytes) {
		bytes = attach_text(c, seq - c->snd.una, bytes, m);
		if (!bytes) {
			rte_pktmbuf_free(m);
			return no_mbuf(c, now_ns);
		}
	}
	if (bytes > full)
		segments = (bytes + full - 1) / full;

	struct apus_segment seg = apus_tcp_base_segment(c, seq, now_ns);

	if (c->has_sack && c->rcvq.ooo)
		put_sack(c, &seg, false); /* a run is many segments: each would report it */
	left -= bytes;
	seg.fin = fin && !left;
	seg.psh = psh && !left;
	apus_ecn_dress(&c->snd.ecn, &seg, seq == c->snd.nxt && bytes);
	acknowledged(c);
	c->rcv.quick = 0; /* the application answers: from now on ACKs can ride on that */
	note_sent(c, seq, seq + bytes + seg.fin, segments, now_ns);
	c->layer->counters[APUS_TCP_COUNT_BYTES_OUT] += bytes;
	c->layer->counters[APUS_TCP_COUNT_SEGMENTS_OUT] += segments - 1;

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
		.wnd = (uint16_t)apus_min(APUS_TCP_RCV_BUFFER_BYTES, (uint32_t)UINT16_MAX),
		.syn = true,
		.has_ack = is_answer,
		.mss = c->layer->mss,
		.wscale = is_answer && !c->rcv.wscale ? -1 : APUS_TCP_WINDOW_SCALE,
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
	c->is_timing = c->snd.nxt == c->snd.una; /* Karn: the first one only */
	c->rtt_at_ns = now_ns;
	c->rtt_seq = c->snd.una;
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
	(void)choose_window(c); /* RCV.ADV is now what the last one will say */
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

/* ---- text ---- */

/* Bytes of SND.WND beyond @seq; none when the peer drew its window back (MUST-34). */
static uint32_t usable_window(const struct apus_tcp *c, uint32_t seq)
{
	uint32_t edge = c->snd.una + c->snd.wnd;

	return apus_seq_lt(seq, edge) ? edge - seq : 0;
}

/* The segment at SND.UNA, once more, outside the order (RFC 5681 §3.2, RFC 6582 §3.2). */
static void output_lost(struct apus_tcp *c, int64_t now_ns)
{
	uint32_t bytes = apus_min(c->sndq.bytes, apus_tcp_text_max(c));
	bool fin = apus_tcp_fin_due(c) && bytes == c->sndq.bytes &&
		   c->snd.nxt == apus_tcp_text_end(c) + 1;

	bytes = apus_min(bytes, c->snd.nxt - c->snd.una);
	/* While all is being sent again it has its turn anyway. */
	if ((bytes || fin) && c->snd.rxt == c->snd.nxt &&
	    send_text(c, c->snd.una, bytes, fin, bytes == c->sndq.bytes, now_ns) < 0)
		return;
	c->want &= (uint8_t)~APUS_TCP_WANT_RETRANSMIT;
}

/* What the two windows and the rules let go next. */
struct allowance {
	uint32_t bytes;    /* of text */
	bool fin;          /* behind it */
	bool psh;          /* the last for now */
	bool cwnd_limited; /* the congestion window held something back */
};

/* The longest run of full segments: what one IPv4 packet can hold. */
static uint32_t run_max(uint32_t full)
{
	uint32_t room = UINT16_MAX - IPV4_HEADER_BYTES - APUS_SEGMENT_HEADER_MAX;
	uint32_t segments = apus_min(room / full, (uint32_t)RUN_SEGMENTS_MAX);

	return apus_max(segments, 1U) * full;
}

/*
 * How much of @left bytes from @seq on goes as one run of full segments: what the windows let go of
 * them at once. What is sent again is sent as far as it was sent. The short piece at the end goes
 * along if there is no reason to hold it back. 0: what is next is to be looked at singly.
 */
static uint32_t allow_run(const struct apus_tcp *c, uint32_t seq, uint32_t left, uint32_t usable)
{
	uint32_t flight = seq - c->snd.una, cwnd = apus_recovery_window(&c->recovery, &c->cc);
	uint32_t full = apus_tcp_text_max(c), bytes;

	/* CWR is said by one segment, not by each of a run. */
	if (left < 2 * full || cwnd <= flight || c->snd.ecn.owes_cwr)
		return 0;
	bytes = apus_min(apus_min(left, usable), cwnd - flight);
	if (seq != c->snd.nxt)
		bytes = apus_min(bytes, c->snd.nxt - seq);
	if (bytes < 2 * full)
		return 0;
	bytes = apus_min(bytes, run_max(full));
	return bytes == left && c->is_nodelay && !c->is_corked ? bytes : bytes - bytes % full;
}

/*
 * RFC 9293 §3.8.6.2.1 (MUST-38), with Nagle's part (§3.7.4) if it is on, and RFC 5681 §3.1. What
 * was sent before goes again under the same windows; it is not held back for being small.
 */
static struct allowance allow(const struct apus_tcp *c)
{
	uint32_t seq = c->snd.rxt, end = apus_tcp_text_end(c);
	uint32_t left = apus_seq_lt(seq, end) ? end - seq : 0;
	uint32_t flight = seq - c->snd.una, cwnd = apus_recovery_window(&c->recovery, &c->cc);
	uint32_t usable = usable_window(c, seq), full = apus_tcp_text_max(c);
	uint32_t run = allow_run(c, seq, left, usable);
	uint32_t bytes = run ? run : apus_min(left, full);
	bool fin = apus_tcp_fin_due(c) && bytes == left && apus_seq_leq(seq, end);
	struct allowance a = {0};

	if (!bytes && !fin)
		return a;
	if (usable < bytes + fin) { /* the peer's window cuts it short */
		fin = fin && usable > bytes;
		bytes = apus_min(bytes, usable);
		if (!bytes && !fin)
			return a;
		/* (3): at least half of the largest window; (4): or the override timeout. */
		if (bytes < left && bytes < full && bytes < c->snd.max_wnd / 2 &&
		    !(c->want & APUS_TCP_WANT_FORCE) && seq == c->snd.nxt)
			return a;
	}
	if (flight && flight + bytes > cwnd) {
		a.cwnd_limited = true;
		return a;
	}
	/* (2), Nagle: a short segment waits while anything is unacknowledged. */
	if (!c->is_nodelay && bytes < full && flight && !fin && seq == c->snd.nxt)
		return a;
	/* A cork holds it back for longer: until the override timeout, one RTO (watch()). */
	if (c->is_corked && bytes == left && bytes < full && !fin && seq == c->snd.nxt &&
	    !(c->want & APUS_TCP_WANT_FORCE))
		return a;
	a.bytes = bytes;
	a.fin = fin;
	a.psh = bytes && (bytes == left || usable < bytes + full || flight + bytes + full > cwnd);
	return a;
}

/* RFC 5681 §4.1: a window that was not used for an RTO says nothing about the path any more. */
static void check_idle(struct apus_tcp *c, int64_t now_ns)
{
	uint32_t silent = apus_tcp_tick(now_ns) - c->sent_tick;

	/* No RTO is shorter than that: most of the time nothing need be computed. */
	if (silent < apus_tcp_tick(APUS_RTT_RTO_FLOOR_NS) || c->snd.una != c->snd.nxt)
		return;
	if (apus_tcp_tick_ns(silent) > apus_rtt_rto_ns(&c->rtt))
		apus_cc_idle_restart(&c->cc, now_ns);
}

/* What is to be sent, for the first time or again, ends here. */
static uint32_t owed_end(const struct apus_tcp *c)
{
	return apus_tcp_text_end(c) + apus_tcp_fin_due(c);
}

static void output_text(struct apus_tcp *c, int64_t now_ns)
{
	struct allowance a = {0};

	if (c->snd.rxt == owed_end(c))
		return;
	check_idle(c, now_ns);
	apus_tcp_follow_path(c, now_ns);
	while (c->snd.rxt != owed_end(c)) {
		a = allow(c);
		if (!a.bytes && !a.fin)
			break;
		if (c->snd.una == c->snd.nxt)
			c->progress_tick = apus_tcp_tick(now_ns);

		int64_t sent = send_text(c, c->snd.rxt, a.bytes, a.fin, a.psh, now_ns);

		if (sent < 0)
			break;
		c->snd.rxt += (uint32_t)sent + (a.fin && sent == a.bytes);
		c->want &= (uint8_t)~APUS_TCP_WANT_FORCE;
	}
	apus_cc_sent(&c->cc, c->snd.una, c->snd.rxt, a.cwnd_limited);
}

/*
 * RFC 6298 (5.1): the timer runs while anything is in flight. Else, while something waits for the
 * peer's window, it counts to the next probe (RFC 9293 §3.8.6.1).
 */
static void watch(struct apus_tcp *c, int64_t now_ns)
{
	bool in_flight = c->snd.una != c->snd.nxt;
	bool waits = c->snd.rxt != owed_end(c);

	if (c->rexmit_at_ns != APUS_NEVER)
		return;
	if (!in_flight && !waits) {
		/* A writer who found no mbuf waits, and no ACK will come that wakes him. */
		if (!apus_waitq_empty(&c->writers))
			c->ack_at_ns = apus_min(c->ack_at_ns, now_ns + APUS_TCP_RETRY_NS);
		return;
	}
	c->is_persisting = !in_flight || !c->snd.wnd;
	if (c->is_persisting && !in_flight)
		c->progress_tick = apus_tcp_tick(now_ns);
	apus_tcp_restart_rexmit(c, now_ns);
}

static void output_synchronized(struct apus_tcp *c, int64_t now_ns)
{
	output_stretch_acks(c, now_ns);
	if (c->rcv.duplicates)
		output_duplicate_acks(c, now_ns);
	if (c->want & APUS_TCP_WANT_RETRANSMIT)
		output_lost(c, now_ns);
	output_text(c, now_ns);
	if (c->want & APUS_TCP_WANT_PROBE) /* TCP.md §2: SND.UNA-1, no text, ACK only */
		(void)send_ack(c, c->snd.una - 1, now_ns);
	c->want &= (uint8_t) ~(APUS_TCP_WANT_PROBE | APUS_TCP_WANT_FORCE);
	output_ack(c, now_ns);
	watch(c, now_ns);
}

void apus_tcp_output(struct apus_tcp *c, int64_t now_ns)
{
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
