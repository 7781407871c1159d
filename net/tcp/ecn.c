/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/ecn.c: RFC 3168 §6.1; see ecn.h.
 *
 * ECT(0) is set on new text only: not on a SYN (§6.1.1), on text that is sent again (§6.1.5), on an
 * ACK without text (§6.1.4) or on a window probe (§6.1.6). DCTCP marks what it sends after the
 * handshake, whatever it is, as Linux does: a queue that marks early would drop the rest.
 */
#include "net/tcp/ecn.h"

void apus_ecn_dress_syn(struct apus_ecn *ecn, struct apus_segment *syn, bool asks, bool is_again)
{
	if (!asks)
		return;
	if (is_again) {
		ecn->gave_up = true;
		return;
	}
	ecn->has_asked = true;
	syn->ece = syn->cwr = true;
}

/*
 * §6.1.1: who has sent a SYN that asked and received an answer that agreed must process CE, but
 * "MUST NOT set ECT on data packets unless [it] has sent no non-ECN-setup SYN".
 */
void apus_ecn_agreed(struct apus_ecn *ecn)
{
	ecn->is_on = true;
	ecn->may_mark = !ecn->gave_up;
}

bool apus_ecn_took_text(struct apus_ecn *ecn, const struct apus_segment *seg, bool owes_ack)
{
	bool is_marked = seg->ecn == APUS_SEGMENT_CE;

	if (!ecn->is_on)
		return false;
	if (ecn->marks_all) { /* RFC 8257 §3.2 */
		if (is_marked != ecn->is_echoing && owes_ack)
			return true;
		ecn->is_echoing = is_marked;
		return false;
	}
	if (seg->cwr)
		ecn->is_echoing = false;
	if (is_marked)
		ecn->is_echoing = true;
	return false;
}

void apus_ecn_dress_slow(struct apus_ecn *ecn, struct apus_segment *seg, bool is_new_text)
{
	seg->ece = ecn->is_echoing;
	if (!ecn->may_mark)
		return;
	if (is_new_text || ecn->marks_all)
		seg->ecn = APUS_SEGMENT_ECT_0;
	if (is_new_text &&
	    ecn->owes_cwr) { /* §6.1.2: on the first new text after the window shrank */
		seg->cwr = true;
		ecn->owes_cwr = false;
	}
}
