/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/ecn.h: explicit congestion notification (RFC 3168 §6.1; the receiver of DCTCP, RFC 8257
 * §3.2): who may mark, what is echoed, what is sent. Pure: bits in, bits out.
 *
 * Classic: a CE mark is echoed by ECE in every segment until the peer's CWR says that it has slowed
 * down. DCTCP: ECE tells of the very segments that it acknowledges, marked or not, so that the peer
 * can count them.
 */
#ifndef APUS_NET_TCP_ECN_H
#define APUS_NET_TCP_ECN_H

#include "net/tcp/segment.h"

APUS_BEGIN_DECLS

struct apus_ecn {
	bool is_on : 1;      /* agreed on: CE is echoed, ECE is believed */
	bool may_mark : 1;   /* and we may send ECT */
	bool has_asked : 1;  /* our SYN was an ECN-setup SYN */
	bool gave_up : 1;    /* and then one went out that was not (§6.1.1.1) */
	bool marks_all : 1;  /* DCTCP: ECT on every segment, CE echoed mark by mark */
	bool is_echoing : 1; /* ECE in what we send */
	bool owes_cwr : 1;   /* in the next new text */
};

static_assert(sizeof(struct apus_ecn) == 1, "its part of a connection");

/* A SYN that asks: both bits (§6.1.1). */
static inline bool apus_ecn_is_setup_syn(const struct apus_segment *syn)
{
	return syn->ece && syn->cwr;
}

/* A SYN-ACK that agrees: ECE alone; a host that sends back both has only copied them. */
static inline bool apus_ecn_is_setup_syn_ack(const struct apus_segment *syn_ack)
{
	return syn_ack->ece && !syn_ack->cwr;
}

/**
 * apus_ecn_dress_syn - a SYN of an active OPEN is about to leave
 * @asks:     ECN is wanted
 * @is_again: an earlier one had no answer: perhaps because it asked (§6.1.1.1)
 */
void apus_ecn_dress_syn(struct apus_ecn *ecn, struct apus_segment *syn, bool asks, bool is_again);
/** apus_ecn_agreed - both SYNs have said so */
void apus_ecn_agreed(struct apus_ecn *ecn);
/**
 * apus_ecn_took_text - text in the window came (§6.1.3)
 *
 * Return: with DCTCP: it is marked otherwise than what came before, which is to be acknowledged
 * first, with ECE as it was; then call again. Else the bit is taken note of.
 */
APUS_MUST_CHECK bool apus_ecn_took_text(struct apus_ecn *ecn, const struct apus_segment *seg,
					bool owes_ack);
/** apus_ecn_dress - ECE, CWR and ECT of a segment after the handshake; @is_new_text: first sent now */
void apus_ecn_dress_slow(struct apus_ecn *ecn, struct apus_segment *seg, bool is_new_text);
static inline void apus_ecn_dress(struct apus_ecn *ecn, struct apus_segment *seg, bool is_new_text)
{
	if (ecn->is_on)
		apus_ecn_dress_slow(ecn, seg, is_new_text);
}

APUS_END_DECLS

#endif
