/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/cc.c: what all algorithms of congestion control share: their memory, the validation of
 * the window, slow start, the loss window, undo and the restart after idleness.
 *
 * RFC 5681 §3.1 and §4.1, RFC 6928 §2, RFC 3465, RFC 4015 §3.2. Invariants: apus_cc_check().
 *
 * Where we differ: the initial window is 10 segments of any size (RFC 6928 §2 has also an upper
 * limit of 14600 bytes), and slow start adds all bytes that an ACK covers (RFC 3465 has a limit of
 * two segments), both as Linux does; but while a timeout's losses are being repaired it adds one
 * segment per ACK at most, as RFC 3465 demands, since such an ACK may cover what left the network
 * long ago.
 */
#include "net/tcp/cc.h"

#include "net/tcp/seq.h"
#include "runtime/base/check.h"

#include <string.h>

void apus_cc_check(const struct apus_cc *cc)
{
	apus_must_op(cc->mss, >, 0);
	apus_must_op(cc->cwnd_bytes, >=, cc->mss);
	apus_must_op(cc->cwnd_bytes, <=, APUS_CC_CWND_MAX);
	apus_must_op(cc->ssthresh_bytes, >=, 2 * (uint64_t)cc->mss);
	apus_must(!cc->is_attached || cc->state);
}

/* ---- memory ---- */

static void start_type(struct apus_cc *cc, const struct apus_cc_type *type)
{
	apus_must_op(type->state_bytes, <=, APUS_CC_STATE_BYTES_MAX);
	cc->type = type;
	cc->is_attached = cc->is_timed = false;
	cc->kept[0] = cc->kept[1] = 0;
	if (type->init)
		type->init(cc);
}

void apus_cc_init(struct apus_cc *cc, const struct apus_cc_type *type, uint32_t mss, uint32_t una)
{
	apus_must(mss > 0 && mss <= UINT16_MAX);
	*cc = (struct apus_cc){
		.mss = (uint16_t)mss,
		.cwnd_bytes = APUS_CC_INITIAL_MSS * mss,
		.ssthresh_bytes = APUS_CC_SSTHRESH_NONE,
		.usage_seq = una,
	};
	start_type(cc, type);
}

void apus_cc_attach(struct apus_cc *cc, void *state)
{
	uint32_t kept[2] = {cc->kept[0], cc->kept[1]};

	apus_assert(!cc->is_attached);
	if (!cc->type->state_bytes)
		return;
	memset(state, 0, cc->type->state_bytes);
	cc->state = state;
	cc->is_attached = true;
	cc->type->restore(cc, kept);
}

void apus_cc_detach(struct apus_cc *cc)
{
	uint32_t kept[2] = {0, 0};

	if (!cc->is_attached)
		return;
	cc->type->save(cc, kept);
	cc->is_attached = cc->is_timed = false;
	cc->kept[0] = kept[0];
	cc->kept[1] = kept[1];
}

void apus_cc_set_type(struct apus_cc *cc, const struct apus_cc_type *type, void *state)
{
	start_type(cc, type);
	if (state)
		apus_cc_attach(cc, state);
}

/* ---- the window ---- */

void apus_cc_set_cwnd(struct apus_cc *cc, uint64_t bytes)
{
	bytes = apus_min(bytes, APUS_CC_CWND_MAX);
	cc->cwnd_bytes = (uint32_t)apus_max(bytes, cc->mss);
}

static void set_ssthresh(struct apus_cc *cc, uint32_t bytes)
{
	cc->ssthresh_bytes = apus_max(bytes, 2U * cc->mss);
}

void apus_cc_handshake_lost(struct apus_cc *cc)
{
	cc->cwnd_bytes = cc->mss;
}

void apus_cc_set_mss(struct apus_cc *cc, uint32_t mss)
{
	apus_must(mss > 0 && mss <= UINT16_MAX);
	cc->mss = (uint16_t)mss;
	apus_cc_set_cwnd(cc, cc->cwnd_bytes);
	set_ssthresh(cc, cc->ssthresh_bytes);
}

bool apus_cc_may_grow(const struct apus_cc *cc, const struct apus_cc_sample *s)
{
	if (s->in_recovery || !s->acked_bytes)
		return false;
	if (cc->is_limited)
		return true;
	return apus_cc_in_slow_start(cc) && cc->cwnd_bytes < 2 * cc->flight_max_bytes;
}

uint32_t apus_cc_used(const struct apus_cc *cc, const struct apus_cc_sample *s)
{
	uint32_t flight_bytes = apus_max(cc->flight_max_bytes, s->nxt - s->una);

	return cc->is_limited ? cc->cwnd_bytes : apus_min(cc->cwnd_bytes, flight_bytes);
}

uint32_t apus_cc_slow_start(struct apus_cc *cc, const struct apus_cc_sample *s)
{
	uint32_t room = cc->ssthresh_bytes - cc->cwnd_bytes;
	uint32_t acked_bytes = s->acked_bytes;

	if (s->is_after_timeout)
		acked_bytes = apus_min(acked_bytes, cc->mss);

	uint32_t step = apus_min(acked_bytes, room);

	apus_cc_set_cwnd(cc, (uint64_t)cc->cwnd_bytes + step);
	return acked_bytes - step;
}

void apus_cc_avoid(struct apus_cc *cc, uint32_t *counted_bytes, uint32_t acked_bytes)
{
	uint64_t counted = (uint64_t)*counted_bytes + acked_bytes;

	if (counted >= cc->cwnd_bytes) {
		counted -= cc->cwnd_bytes;
		apus_cc_set_cwnd(cc, (uint64_t)cc->cwnd_bytes + cc->mss);
	}
	*counted_bytes = (uint32_t)apus_min(counted, cc->cwnd_bytes);
}

/* ---- what happened ---- */

void apus_cc_acked(struct apus_cc *cc, const struct apus_cc_sample *s)
{
	cc->type->acked(cc, s);
}

void apus_cc_congested(struct apus_cc *cc, const struct apus_cc_sample *s, enum apus_cc_signal why)
{
	set_ssthresh(cc, cc->type->congestion(cc, s, why));
	if (why == APUS_CC_TIMEOUT && !(cc->type->flags & APUS_CC_OWNS_CWND))
		apus_cc_set_cwnd(cc, cc->mss); /* RFC 5681 §3.1: the loss window */
}

void apus_cc_recovered(struct apus_cc *cc, const struct apus_cc_sample *s)
{
	if (cc->type->recovered)
		cc->type->recovered(cc, s);
}

void apus_cc_undo(struct apus_cc *cc, uint32_t cwnd_bytes, uint32_t ssthresh_bytes)
{
	/* RFC 9438 §4.9.2: who has grown beyond it since then goes on from where he is. */
	bool is_back = cc->cwnd_bytes < cwnd_bytes || cc->type->flags & APUS_CC_OWNS_CWND;

	apus_cc_set_cwnd(cc, apus_max(cc->cwnd_bytes, cwnd_bytes));
	set_ssthresh(cc, apus_max(cc->ssthresh_bytes, ssthresh_bytes));
	if (is_back && cc->type->undone)
		cc->type->undone(cc);
}

/* RFC 5681 §4.1: the restart window, unless the algorithm knows better. */
void apus_cc_idle_restart(struct apus_cc *cc, int64_t now_ns)
{
	if (cc->type->idle_restart)
		cc->type->idle_restart(cc, now_ns);
	else
		apus_cc_set_cwnd(cc, apus_min(cc->cwnd_bytes, APUS_CC_INITIAL_MSS * cc->mss));
}
