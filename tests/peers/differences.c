/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/peers/differences.c: the table of what our TCP and the kernel's do not do alike.
 *
 * A row says what it is about, what the RFCs say, and who is right by that. Its predicate gets the
 * step, our answer (o) and the kernel's (k). The table stands at the end of the file; the first row
 * that fits counts.
 */
#include "tests/peers/differences.h"

#include "net/tcp/seq.h"
#include "runtime/base/compiler.h"

#include <errno.h>
#include <string.h>

#define WINDOW_MAX (1U << 20) /* more than either ever offers here */

/* ---- words ---- */

static bool is_segment(const struct trial *t, uint8_t flags)
{
	return t->s.kind == SEGMENT && (t->s.flags & flags) == flags;
}

static bool ours_silent(const struct trial *t)
{
	return !t->o.has_ack && !t->o.has_rst;
}

static bool kernel_silent(const struct trial *t)
{
	return !t->k.has_ack && !t->k.has_rst;
}

/* The kernel reset, in the form for a segment with this ACK; ours challenged, or its limit forbade it. */
static bool kernel_resets_for_ack(const struct trial *t)
{
	return is_segment(t, ACK) && t->k.has_rst && t->k.rst_flags == RST &&
	       t->k.rst_seq == t->s.ack && !t->o.has_rst && (t->o.has_ack || t->was_held_back);
}

/* SEG.SEQ + SEG.LEN */
static uint32_t end_of(const struct step *s)
{
	return s->seq + s->bytes + !!(s->flags & SYN) + !!(s->flags & FIN);
}

static bool has_old_ts(const struct step *s)
{
	return s->has_ts && (int32_t)(s->ts_val - TS_BEGIN) < 0;
}

/* Is all of it before RCV.NXT? */
static bool is_old(const struct trial *t)
{
	return t->s.kind == SEGMENT && apus_seq_leq(end_of(&t->s), t->o.ack) &&
	       apus_seq_lt(t->s.seq, t->o.ack);
}

/* Is a part of it, or its number if it occupies none, where the window may be? */
static bool is_in_window(const struct trial *t)
{
	uint32_t end = end_of(&t->s), last = end - (end != t->s.seq);

	return t->s.seq - t->o.ack < WINDOW_MAX || last - t->o.ack < WINDOW_MAX;
}

/* Is the ACK of what was not sent, or older than all that can be acknowledged? */
static bool has_bad_ack(const struct trial *t)
{
	return is_segment(t, ACK) && (apus_seq_gt(t->s.ack, t->o.end) || apus_seq_lt(t->s.ack, 1));
}

/* Both ends of the user are closed, the peer's may be open: FIN-WAIT and later. */
static bool is_after_close(const struct trial *t)
{
	return t->is_closed && !t->is_embryo && t->o.has_fin && t->s.kind == SEGMENT;
}

static bool is_in_time_wait(const struct trial *t)
{
	return t->o.has_fin && t->is_fin_taken && !t->is_embryo && t->s.kind == SEGMENT;
}

/* ---- predicates, in the order of the table ---- */

static bool lacks_timestamp(const struct trial *t)
{
	return t->s.kind == SEGMENT && t->has_ts && !t->s.has_ts && !(t->s.flags & RST) &&
	       !t->o.has_rst;
}

static bool resets_with_old_timestamp(const struct trial *t)
{
	if (!is_segment(t, RST) || !t->s.has_ts || !is_in_window(t))
		return false;
	if (t->is_embryo)
		return (int32_t)(t->s.ts_val - t->ts_recent) < 0;
	return is_after_close(t) && has_old_ts(&t->s);
}

static bool resets_what_was_reopened(const struct trial *t)
{
	return t->is_embryo && t->is_reopened && is_segment(t, RST) && t->s.seq == t->o.ack;
}

static bool reads_after_reset(const struct trial *t)
{
	return t->s.kind == READ && t->o.result == -ECONNRESET && t->k.result >= 0;
}

static bool answers_reset_outside(const struct trial *t)
{
	return is_segment(t, RST) && t->k.has_ack && ours_silent(t) &&
	       (is_old(t) || t->s.seq - t->o.ack > WINDOW_MAX);
}

static bool is_syn_to_embryo(const struct trial *t)
{
	return t->is_embryo && is_segment(t, SYN) && t->k.has_rst && ours_silent(t);
}

static bool is_outside_with_bad_ack(const struct trial *t)
{
	return t->is_embryo && (t->s.seq != t->o.ack || t->s.has_ts) && kernel_resets_for_ack(t);
}

static bool is_syn_after_close(const struct trial *t)
{
	return is_after_close(t) && is_segment(t, SYN) && !t->k.has_ack && !t->o.has_rst &&
	       (t->o.has_ack || t->was_held_back);
}

static bool is_reset_beside_after_close(const struct trial *t)
{
	return is_after_close(t) && is_segment(t, RST) && t->s.seq != t->o.ack && is_in_window(t) &&
	       !t->o.has_rst && (t->o.has_ack || t->was_held_back) && kernel_silent(t);
}

static bool is_old_after_close(const struct trial *t)
{
	return (is_after_close(t) || is_in_time_wait(t)) && is_old(t) && t->o.has_ack &&
	       kernel_silent(t);
}

static bool is_early_fin_after_close(const struct trial *t)
{
	return is_after_close(t) && is_segment(t, FIN | ACK) && !t->s.bytes &&
	       apus_seq_gt(t->s.seq, t->o.ack) && t->o.has_ack && t->k.has_rst;
}

static bool ignores_ack_after_close(const struct trial *t)
{
	return is_after_close(t) && has_bad_ack(t) && !t->o.has_rst &&
	       (t->o.has_ack || t->was_held_back) &&
	       (kernel_resets_for_ack(t) || kernel_silent(t) || (t->k.has_ack && t->s.flags & FIN));
}

static bool has_text_after_fin(const struct trial *t)
{
	return is_segment(t, ACK) && apus_seq_lt(t->s.seq, t->o.ack) &&
	       apus_seq_gt(t->s.seq + t->s.bytes, t->o.ack) && t->k.has_rst &&
	       t->k.rst_flags == RST && !t->o.has_rst;
}

/* The ACK is older than anything that can be acknowledged, the text is next. */
static bool takes_text_with_old_ack(const struct trial *t)
{
	return t->s.bytes && t->s.seq == t->o.ack && apus_seq_lt(t->s.ack, 1) && t->o.has_ack &&
	       t->k.has_ack && t->k.ack == t->s.seq + t->s.bytes;
}

static bool ignores_old_timestamp(const struct trial *t)
{
	return is_segment(t, ACK) && has_old_ts(&t->s) && end_of(&t->s) == t->s.seq &&
	       t->o.has_ack && kernel_silent(t);
}

static bool reports_duplicate(const struct trial *t)
{
	return t->s.bytes && is_old(t) && t->o.has_ack && t->k.has_ack &&
	       t->o.sacks == t->k.sacks + 1 && t->o.sack[0][0] == t->s.seq;
}

static bool reports_duplicate_with_fin(const struct trial *t)
{
	return is_segment(t, FIN) && t->s.bytes && t->o.has_ack && t->k.has_ack &&
	       t->o.ack == t->k.ack && end_of(&t->s) == t->o.ack && t->o.sacks == 1 &&
	       !t->k.sacks && apus_seq_leq(t->s.seq, t->o.sack[0][0]) &&
	       apus_seq_lt(t->o.sack[0][1], t->o.ack);
}

/* Are the first blocks both duplicates out of this segment? */
static bool reports_other_duplicate(const struct trial *t)
{
	const uint32_t *o = t->o.sack[0], *k = t->k.sack[0];
	uint32_t end = t->s.seq + t->s.bytes;

	return t->s.bytes && t->o.sacks && t->o.sacks == t->k.sacks && t->o.ack == t->k.ack &&
	       apus_seq_leq(t->s.seq, o[0]) && apus_seq_leq(o[1], end) &&
	       apus_seq_leq(t->s.seq, k[0]) && apus_seq_leq(k[1], end);
}

static bool counts_fin_in_sack(const struct trial *t)
{
	for (int i = 0; i < t->k.sacks; i++)
		if (is_segment(t, FIN) && t->o.has_ack && t->k.has_ack && t->o.ack == t->k.ack &&
		    t->k.sack[i][1] == t->s.seq + t->s.bytes + 1)
			return true;
	return false;
}

static bool has_sack_with_fin(const struct trial *t)
{
	return is_segment(t, FIN) && t->o.ack == end_of(&t->s) && t->k.ack == t->o.ack &&
	       t->k.sacks > t->o.sacks &&
	       !memcmp(t->o.sack, t->k.sack, sizeof(t->o.sack[0]) * t->o.sacks);
}

/* Whichever came first, one of the two took the text, or may have, and the other the FIN. */
static bool has_text_at_fin(const struct trial *t)
{
	return t->is_contradicted;
}

static bool has_second_fin(const struct trial *t)
{
	return is_segment(t, FIN) && t->is_fin_taken && t->k.ack == t->o.ack + 1 &&
	       end_of(&t->s) == t->k.ack;
}

static bool forgets_sack_after_close(const struct trial *t)
{
	return is_after_close(t) && t->o.has_ack && t->k.has_ack && t->o.ack == t->k.ack &&
	       t->o.sacks && !t->k.sacks;
}

static bool lacks_flags(const struct trial *t)
{
	return t->s.kind == SEGMENT && !(t->s.flags & (ACK | RST | SYN)) && t->o.has_ack &&
	       kernel_silent(t);
}

static bool is_challenge_limited(const struct trial *t)
{
	return t->was_held_back && t->k.has_ack && ours_silent(t);
}

/* ---- the table ---- */

const struct difference differences[] = {
	{"no timestamp where one was agreed on",
	 "RFC 7323 §3.2: such a segment SHOULD be dropped in silence. Ours.", .is = lacks_timestamp,
	 .is_latent = true},
	{"a reset with a timestamp that is old, in SYN-RECEIVED or after the user's close",
	 "RFC 7323 §5.2: PAWS is not for resets; in these states the kernel has it. Ours.",
	 .is = resets_with_old_timestamp, .is_latent = true},
	{"a reset in SYN-RECEIVED, where a SYN had reopened TIME-WAIT",
	 "RFC 9293 §3.6.1 (MAY-2): back to TIME-WAIT if the SYN turns out to be old. Ours.",
	 .is = resets_what_was_reopened, .is_latent = true},
	{"text that came before a reset and was not read",
	 "RFC 9293 §3.10.7.4, second: all segment queues should be flushed. Ours.",
	 .is = reads_after_reset},
	{"a reset that has nothing in the window, in SYN-RECEIVED or after the user's close",
	 "RFC 9293 §3.10.7.4, first: it is not acceptable, and a reset is then dropped. Ours.",
	 .is = answers_reset_outside},
	{"a SYN in the window in SYN-RECEIVED",
	 "RFC 9293 §3.10.7.4, fourth: after a passive OPEN return to LISTEN; no reset. Ours.",
	 .is = is_syn_to_embryo},
	{"in SYN-RECEIVED, outside of the window or with an old timestamp, with an ACK that is not acceptable",
	 "RFC 9293 §3.10.7.4 and RFC 7323 §5.3: these are looked at before the ACK. Ours.",
	 .is = is_outside_with_bad_ack},
	{"a SYN after the user's close",
	 "RFC 9293 §3.10.7.4, fourth: FIN-WAIT-2 is synchronized: a challenge ACK. Ours.",
	 .is = is_syn_after_close},
	{"a reset beside RCV.NXT after the user's close",
	 "RFC 5961 §3.2: only an exact one ends the connection, the others are challenged. Ours.",
	 .is = is_reset_beside_after_close, .is_latent = true},
	{"text that came before, after the user's close",
	 "RFC 9293 §3.10.7.4, first: it is not acceptable, an ACK is sent. Ours.",
	 .is = is_old_after_close},
	{"a FIN out of order after the user's close",
	 "RFC 9293 §3.6.1 has a reset for data that was lost; a FIN has none. Ours.",
	 .is = is_early_fin_after_close},
	{"after the user's close, with an ACK that is not acceptable",
	 "RFC 9293 §3.10.7.4, fifth, and RFC 5961 §5.2: an ACK is sent, and it is dropped. Ours.",
	 .is = ignores_ack_after_close},
	{"text after the peer's FIN",
	 "RFC 9293 §3.10.7.4, seventh: ignore the segment text; no reset. Ours.",
	 .is = has_text_after_fin},
	{"text in order with an ACK that is too old",
	 "RFC 5961 §5.2: it must be dropped, and an ACK sent; the kernel's fast path takes it. Ours.",
	 .is = takes_text_with_old_ack},
	{"an ACK without text and with an old timestamp",
	 "RFC 7323 §5.3 (R1): send an ACK in reply, and drop. Ours.", .is = ignores_old_timestamp},
	{"a duplicate with an ACK of what was not sent, in a D-SACK",
	 "RFC 2883 §4: duplicates are reported; the kernel's challenge ACK has no block. Ours.",
	 .is = reports_duplicate},
	{"what had come out of order and came again in one segment with the FIN, in a D-SACK",
	 "RFC 2883 §4: duplicates are reported; the kernel does not when the FIN is due. Ours.",
	 .is = reports_duplicate_with_fin},
	{"two duplicates in one segment, with what was missing between them",
	 "RFC 2883 §4: the first block tells of one contiguous duplicate; not of which. Both.",
	 .is = reports_other_duplicate},
	{"the number of a FIN in a SACK block",
	 "RFC 2018 §3 speaks of data octets, so a FIN's number is none; harmless. Both.",
	 .is = counts_fin_in_sack},
	{"SACK blocks in the ACK of the FIN, of text that is acknowledged or beyond the FIN",
	 "RFC 9293 §3.10.7.4, eighth: the FIN is the end; what was queued is no use. Both.",
	 .is = has_sack_with_fin},
	{"a FIN and text with the same number, whichever came first",
	 "RFC 9293 §3.4: a number is that of one octet or one control; for a peer that contradicts "
	 "itself there is no word. Both.",
	 .is = has_text_at_fin, .is_latent = true},
	{"a FIN with the number behind the FIN",
	 "RFC 9293 §3.10.7.4, eighth: remain in the state; as above. The kernel counts it. Both.",
	 .is = has_second_fin},
	{"text out of order, in a SACK block after the user's close",
	 "RFC 2018 §4: SHOULD be in every ACK; the kernel has forgotten the text, and may (§8). Both.",
	 .is = forgets_sack_after_close},
	{"none of ACK, RST and SYN, and out of the window",
	 "RFC 9293 §3.10.7.4: the sequence number is looked at first, and an ACK sent. Ours.",
	 .is = lacks_flags},
	{"our limit of challenge ACKs",
	 "RFC 5961 §7: both are right. Taken off for this test, but in ours not without a connection.",
	 .is = is_challenge_limited},
};

const size_t difference_count = apus_countof(differences);

/* ---- comparing ---- */

int difference_find(const struct trial *t)
{
	for (size_t i = 0; i < difference_count; i++)
		if (differences[i].is(t))
			return (int)i;
	return -1;
}

bool difference_is_latent(const struct trial *t)
{
	for (size_t i = 0; i < difference_count; i++)
		if (differences[i].is_latent && differences[i].is(t))
			return true;
	return false;
}

bool same_answers(const struct trial *t)
{
	const struct answer *o = &t->o, *k = &t->k;

	if (t->s.kind != SEGMENT &&
	    apus_max(o->result, -EAGAIN - 1) != apus_max(k->result, -EAGAIN - 1))
		return false;
	if (o->has_rst != k->has_rst)
		return false;
	if (o->has_rst)
		return o->rst_flags == k->rst_flags && o->rst_seq == k->rst_seq &&
		       o->rst_ack == k->rst_ack;
	if (o->ack != k->ack || o->end != k->end || o->has_fin != k->has_fin)
		return false;
	if ((o->has_ack || o->has_again) != (k->has_ack || k->has_again))
		return o->has_ack == k->has_ack; /* neither: it was a timer */
	if (!o->has_ack || !k->has_ack)
		return true;
	return o->sacks == k->sacks && !memcmp(o->sack, k->sack, sizeof(o->sack[0]) * o->sacks);
}
