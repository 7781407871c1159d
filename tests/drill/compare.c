/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/drill/compare.c: is a packet what the script expects, and what its connection may send?
 */
#include "tests/drill/packet.h"

#include <string.h>

#define FIRST_TS 100 /* what a script calls the first timestamp, if it does not say */

static const struct drill_option *find_option(const struct drill_packet *p,
					      enum drill_option_kind kind)
{
	for (size_t i = 0; i < p->option_count; i++)
		if (p->options[i].kind == kind)
			return &p->options[i];
	return NULL;
}

void drill_flow_said(struct drill_flow *flow, const struct drill_packet *p)
{
	if (p->flags & DRILL_SYN)
		flow->scales = find_option(p, DRILL_WSCALE) ? flow->scales | 2 : 0;
	flow->said_fin |= !!(p->flags & DRILL_FIN);
}

void drill_flow_learn(struct drill_flow *flow, const struct drill_packet *expected,
		      const struct drill_packet *got)
{
	const struct drill_option *ts = find_option(got, DRILL_TS);
	const struct drill_option *script_ts = find_option(expected, DRILL_TS);

	if (expected->quirks.is_new)
		flow->has_local_isn = flow->has_ts_base = false;
	if (!flow->has_local_isn && got->flags & DRILL_SYN) {
		flow->local_isn = got->wire_seq - expected->seq;
		flow->local_port = got->local_port;
		flow->has_local_isn = true;
	}
	if (!flow->has_ts_base && ts) {
		flow->ts_base = ts->words[0] - (script_ts ? script_ts->words[0] : FIRST_TS);
		flow->has_ts_base = true;
	}
}

/*
 * What the host offered it must not take back (RFC 9293 §3.8.6, SHLD-14), in no script. Its windows
 * are scaled when both SYNs said so, but not in a SYN (RFC 7323 §2.2). After the peer's FIN they mean
 * nothing.
 */
const char *drill_flow_check(struct drill_flow *flow, const struct drill_packet *got)
{
	const struct drill_option *scale = find_option(got, DRILL_WSCALE);
	bool is_syn = got->flags & DRILL_SYN;
	uint32_t edge = got->wire_ack +
			((uint32_t)got->window << (!is_syn && flow->scales == 3 ? flow->shift : 0));

	if (is_syn && scale) {
		flow->scales |= 1;
		flow->shift = (uint8_t)scale->words[0];
	}
	if (is_syn)
		flow->has_edge = flow->said_fin = false;
	if (!(got->flags & DRILL_ACK) || got->flags & DRILL_RST || flow->said_fin)
		return NULL;
	if (flow->has_edge && (int32_t)(edge - flow->edge) < 0 &&
	    flow->edge - edge >= 1U << (flow->scales == 3 ? flow->shift : 0))
		return "the window's right edge went back";
	if (!flow->has_edge || (int32_t)(edge - flow->edge) > 0)
		flow->edge = edge;
	flow->has_edge = true;
	return NULL;
}

static bool same_options(const struct drill_packet *a, const struct drill_packet *b)
{
	if (a->option_count != b->option_count)
		return false;
	for (size_t i = 0; i < a->option_count; i++) {
		const struct drill_option *x = &a->options[i], *y = &b->options[i];

		if (x->kind != y->kind || x->count != y->count ||
		    memcmp(x->raw, y->raw, sizeof(x->raw)))
			return false;
	}
	return true;
}

const char *drill_packet_differs(const struct drill_packet *expected,
				 const struct drill_packet *got, const struct drill_flow *flow)
{
	if (expected->is_icmp != got->is_icmp)
		return "protocol";
	if (got->is_icmp)
		return expected->icmp_type != got->icmp_type ||
				       expected->icmp_code != got->icmp_code
			       ? "kind"
			       : NULL;
	if (got->local_port != flow->local_port)
		return "source port";
	if (expected->flags != got->flags)
		return "flags";
	if (expected->seq != got->seq || expected->end != got->end)
		return "sequence numbers";
	if (!expected->any_ack && expected->ack != got->ack)
		return "acknowledgment number";
	if (expected->window >= 0 && expected->window != got->window)
		return "window";
	if (expected->urgent != got->urgent)
		return "urgent pointer";
	if (expected->ecn >= 0 && expected->ecn != got->ecn)
		return "ECN codepoint";
	if (!expected->any_options && !same_options(expected, got))
		return "options";
	return got->bad_text ? "text" : NULL;
}
