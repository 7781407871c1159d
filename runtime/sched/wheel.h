/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/wheel.h: the hierarchical timing wheel (Varghese, Lauck 1987).
 *
 * Internal. Seven levels of 256 slots cover every int64_t; a tick is 2^14 ns (16 µs). Arm and cancel are O(1) and
 * allocate nothing. A slot whose time has come is emptied into a pairing heap ordered by
 * (deadline, seq), so timers fire at their nanosecond, in order, and never early.
 */
#ifndef APUS_RUNTIME_SCHED_WHEEL_H
#define APUS_RUNTIME_SCHED_WHEEL_H

#include "runtime/sched/timer.h"

#define APUS_WHEEL_TICK_BITS 14
#define APUS_WHEEL_SLOT_BITS 8
#define APUS_WHEEL_SLOTS     (1 << APUS_WHEEL_SLOT_BITS)
#define APUS_WHEEL_LEVELS    7

struct apus_wheel {
	uint64_t tick;          /* every timer up to the end of this tick is in `due` */
	uint64_t seq;           /* of the next arming */
	size_t armed;           /* timers in the wheel, `due` included */
	struct apus_timer *due; /* root of the pairing heap */
	int64_t next_ns;        /* nothing is due before; may be earlier than the next timer */
	uint64_t occupied[APUS_WHEEL_LEVELS][APUS_WHEEL_SLOTS / 64];
	struct apus_timer *slots[APUS_WHEEL_LEVELS][APUS_WHEEL_SLOTS];
};

void apus_wheel_init(struct apus_wheel *w, int64_t now_ns);
/** apus_wheel_arm - @t must not be in the wheel */
void apus_wheel_arm(struct apus_wheel *w, struct apus_timer *t, int64_t deadline_ns);
/** apus_wheel_remove - @t must be in the wheel */
void apus_wheel_remove(struct apus_wheel *w, struct apus_timer *t);
/** apus_wheel_pop - the next timer with deadline <= @now_ns, out of the wheel; NULL when there is none: then w->next_ns is later */
struct apus_timer *apus_wheel_pop(struct apus_wheel *w, int64_t now_ns);

#endif
