/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/rack.c: RFC 8985; see rack.h. Step numbers are those of its §6.2.
 *
 * Where we differ: the reordering timer is set for the first record that is not yet late, and not
 * for the last (step 5): it fires more often, at most every 2 ms, and what is late is found sooner.
 * Timers have 2 ms added to them, as Linux's have. Before any round-trip sample a probe waits one
 * second, as the RTO does.
 */
#include "net/tcp/rack.h"

/* ---- the least round-trip time ---- */

/*
 * A running minimum over a window of time in constant memory (Kathleen Nichols's): the best, the
 * best since that, and the best since that one. When the best grows old, the second takes over.
 */
void apus_min_rtt_sample_slow(struct apus_min_rtt *m, uint32_t units, uint32_t tick)
{
	if (!m->best[0].units || units <= m->best[0].units ||
	    tick - m->best[2].tick > APUS_RACK_MIN_RTT_TICKS) {
		for (int i = 0; i < 3; i++) {
			m->best[i].units = units;
			m->best[i].tick = tick;
		}
		return;
	}
	for (int i = 1; i < 3; i++)
		if (units <= m->best[i].units)
			for (; i < 3; i++) {
				m->best[i].units = units;
				m->best[i].tick = tick;
			}
	if (tick - m->best[0].tick > APUS_RACK_MIN_RTT_TICKS) {
		m->best[0] = m->best[1];
		m->best[1] = m->best[2];
		m->best[2].units = units;
		m->best[2].tick = tick;
	} else if (m->best[1].tick == m->best[0].tick &&
		   tick - m->best[0].tick > APUS_RACK_MIN_RTT_TICKS / 4) {
		m->best[1].units = m->best[2].units = units;
		m->best[1].tick = m->best[2].tick = tick;
	} else if (m->best[2].tick == m->best[1].tick &&
		   tick - m->best[1].tick > APUS_RACK_MIN_RTT_TICKS / 2) {
		m->best[2].units = units;
		m->best[2].tick = tick;
	}
}

void apus_min_rtt_sample(struct apus_min_rtt *m, int64_t rtt_ns, int64_t now_ns)
{
	int64_t units = apus_max(apus_min(rtt_ns / 125, (int64_t)UINT32_MAX), 1);

	apus_min_rtt_sample_units(m, (uint32_t)units, (uint32_t)(now_ns >> 20));
}

/* ---- RACK ---- */

void apus_rack_arrived(struct apus_rack *rack, const struct apus_flight_news *news)
{
	if (!news->has_rack)
		return;
	rack->is_advanced = true;
	rack->rtt_ns = news->now_ns - news->rack_sent_ns;
	if (rack->is_valid &&
	    (news->rack_sent_ns < rack->sent_ns ||
	     (news->rack_sent_ns == rack->sent_ns && apus_seq_leq(news->rack_end, rack->end))))
		return;
	rack->sent_ns = news->rack_sent_ns;
	rack->end = news->rack_end;
	rack->is_valid = true;
}

void apus_rack_adapt(struct apus_rack *rack, uint64_t delivered_bytes,
		     uint64_t prior_delivered_bytes)
{
	/* What was sent before the last step knows nothing of it. */
	if (prior_delivered_bytes < rack->round_end)
		rack->has_dsack = false;
	if (!rack->has_dsack)
		return;
	rack->steps = (uint8_t)apus_min(rack->steps + 1, UINT8_MAX);
	rack->persist = APUS_RACK_STEPS_PERSIST;
	rack->has_dsack = false;
	rack->round_end = delivered_bytes;
}

int64_t apus_rack_window_ns(const struct apus_rack *rack, bool is_sure, int64_t srtt_ns)
{
	int64_t window_ns = apus_min_rtt_ns(&rack->min_rtt) / 4 * apus_max(rack->steps, 1);

	if (!rack->saw_reordering && is_sure)
		return 0;
	return apus_min(window_ns, srtt_ns);
}

struct apus_rack_losses apus_rack_detect(const struct apus_rack *rack, struct apus_flight *f,
					 int64_t window_ns, int64_t now_ns)
{
	struct apus_rack_losses found = {.timer_at_ns = APUS_NEVER};
	struct apus_flight_record *next;

	if (!rack->is_valid)
		return found;
	for (struct apus_flight_record *r = apus_flight_first_sent(f); r; r = next) {
		int64_t late_at_ns = r->sent_ns + rack->rtt_ns + window_ns;

		next = apus_flight_next_sent(f, r);
		if (r->sent_ns > rack->sent_ns)
			break;
		if (r->sent_ns == rack->sent_ns && apus_seq_geq(r->end, rack->end))
			continue;
		if (late_at_ns > now_ns) {
			found.timer_at_ns = late_at_ns + APUS_RACK_TIMER_NS;
			break;
		}
		found.has_again |= (r->marks & APUS_FLIGHT_AGAIN) != 0;
		found.lost_bytes += apus_flight_lose(f, r);
	}
	return found;
}

uint32_t apus_rack_timeout(const struct apus_rack *rack, struct apus_flight *f, int64_t now_ns)
{
	struct apus_flight_record *head = apus_flight_at(f, f->head), *next;
	uint32_t lost_bytes = 0;

	if (!rack->is_valid)
		return apus_flight_lose_all(f);
	for (struct apus_flight_record *r = apus_flight_first_sent(f); r; r = next) {
		next = apus_flight_next_sent(f, r);
		if (r->sent_ns + rack->rtt_ns <= now_ns)
			lost_bytes += apus_flight_lose(f, r);
		else if (r != head)
			break;
	}
	if ((head->marks & (APUS_FLIGHT_LOST | APUS_FLIGHT_AGAIN | APUS_FLIGHT_SACKED)) !=
		    APUS_FLIGHT_LOST &&
	    !(head->marks & APUS_FLIGHT_SACKED))
		lost_bytes += apus_flight_lose(f, head);
	return lost_bytes;
}
