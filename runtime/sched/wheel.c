/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/wheel.c: the timing wheel.
 *
 * A timer lies in the level of the highest digit (base 256) in which its tick differs from the
 * wheel's, in the slot of that digit. So a slot of a higher level is emptied exactly when the wheel
 * enters it, and the digits above never need a look. Invariant: for every timer in a slot,
 * its tick is later than the wheel's.
 */
#include "runtime/sched/wheel.h"

#include "runtime/base/check.h"

#include <string.h>

static const uint64_t slot_mask = APUS_WHEEL_SLOTS - 1;

static uint64_t tick_of(int64_t ns)
{
	return ns <= 0 ? 0 : (uint64_t)ns >> APUS_WHEEL_TICK_BITS;
}

void apus_wheel_init(struct apus_wheel *w, int64_t now_ns)
{
	memset(w, 0, sizeof(*w));
	w->tick = tick_of(now_ns);
	w->next_ns = APUS_NEVER;
}

/* ---------------------------------------------------------------------- the heap of due timers */

static bool earlier(const struct apus_timer *a, const struct apus_timer *b)
{
	if (a->deadline_ns != b->deadline_ns)
		return a->deadline_ns < b->deadline_ns;
	return a->seq < b->seq;
}

/* Two roots become one: the later is the first child of the earlier. NULL is an empty heap. */
static struct apus_timer *meld(struct apus_timer *a, struct apus_timer *b)
{
	if (!a || !b)
		return a ? a : b;
	if (earlier(b, a)) {
		struct apus_timer *tmp = a;

		a = b;
		b = tmp;
	}
	b->next = a->child;
	if (b->next)
		b->next->prev = &b->next;
	b->prev = &a->child;
	a->child = b;
	a->next = NULL;
	return a;
}

/* The two-pass merge of a deleted root's children. */
static struct apus_timer *meld_children(struct apus_timer *first)
{
	struct apus_timer *pairs = NULL, *root = NULL;

	while (first) {
		struct apus_timer *a = first, *b = a->next;

		first = b ? b->next : NULL;
		a->next = NULL;
		if (b)
			b->next = NULL;
		a = meld(a, b);
		a->next = pairs;
		pairs = a;
	}
	while (pairs) {
		struct apus_timer *next = pairs->next;

		pairs->next = NULL;
		root = meld(root, pairs);
		pairs = next;
	}
	return root;
}

static void heap_set(struct apus_wheel *w, struct apus_timer *root)
{
	w->due = root;
	if (root)
		root->prev = &w->due;
}

/* ------------------------------------------------------------------------------------- slots */

static void set_occupied(struct apus_wheel *w, unsigned int level, unsigned int slot)
{
	w->occupied[level][slot / 64] |= UINT64_C(1) << slot % 64;
}

static void clear_occupied(struct apus_wheel *w, unsigned int level, unsigned int slot)
{
	w->occupied[level][slot / 64] &= ~(UINT64_C(1) << slot % 64);
}

/* The first occupied slot after @slot; APUS_WHEEL_SLOTS if there is none. */
static unsigned int next_occupied(const uint64_t bits[APUS_WHEEL_SLOTS / 64], unsigned int slot)
{
	unsigned int word = (slot + 1) / 64;

	if (word == APUS_WHEEL_SLOTS / 64)
		return APUS_WHEEL_SLOTS;

	uint64_t rest = bits[word] & (~UINT64_C(0) << (slot + 1) % 64);

	while (!rest) {
		if (++word == APUS_WHEEL_SLOTS / 64)
			return APUS_WHEEL_SLOTS;
		rest = bits[word];
	}
	return word * 64 + (unsigned int)__builtin_ctzll(rest);
}

static void place(struct apus_wheel *w, struct apus_timer *t)
{
	uint64_t tick = tick_of(t->deadline_ns);

	t->child = NULL;
	if (tick <= w->tick) {
		t->next = NULL;
		heap_set(w, meld(w->due, t));
		return;
	}

	unsigned int level =
		(unsigned int)(63 - __builtin_clzll(tick ^ w->tick)) / APUS_WHEEL_SLOT_BITS;
	unsigned int slot = (unsigned int)(tick >> level * APUS_WHEEL_SLOT_BITS & slot_mask);
	struct apus_timer **head = &w->slots[level][slot];

	t->next = *head;
	if (t->next)
		t->next->prev = &t->next;
	t->prev = head;
	*head = t;
	set_occupied(w, level, slot);
}

void apus_wheel_arm(struct apus_wheel *w, struct apus_timer *t, int64_t deadline_ns)
{
	apus_assert(!t->prev);
	t->deadline_ns = deadline_ns;
	t->seq = w->seq++;
	w->armed++;
	w->next_ns = apus_min(w->next_ns, deadline_ns);
	place(w, t);
}

/* A timer in a slot has no child, and one in the heap without a child is unlinked just the same. */
void apus_wheel_remove(struct apus_wheel *w, struct apus_timer *t)
{
	apus_assert(t->prev && w->armed > 0);

	size_t offset = (size_t)((char *)t->prev - (char *)w->slots);

	*t->prev = t->next;
	if (t->next)
		t->next->prev = t->prev;
	else if (offset < sizeof(w->slots) && !*t->prev)
		clear_occupied(w, (unsigned int)(offset / sizeof(w->slots[0])),
			       (unsigned int)(offset % sizeof(w->slots[0]) / sizeof(t)));
	if (t->child)
		heap_set(w, meld(w->due, meld_children(t->child)));
	t->prev = NULL;
	w->armed--;
}

/* ------------------------------------------------------------------------------------- moving on */

/* The first tick after the wheel's at which a slot must be emptied, and which; false if none. */
static bool next_slot(const struct apus_wheel *w, unsigned int *level, unsigned int *slot,
		      uint64_t *tick)
{
	for (unsigned int l = 0; l < APUS_WHEEL_LEVELS; l++) {
		unsigned int shift = l * APUS_WHEEL_SLOT_BITS;
		unsigned int s =
			next_occupied(w->occupied[l], (unsigned int)(w->tick >> shift & slot_mask));

		if (s == APUS_WHEEL_SLOTS)
			continue;
		*level = l;
		*slot = s;
		*tick = ((w->tick >> shift & ~slot_mask) | s) << shift;
		return true;
	}
	return false;
}

static void empty_slot(struct apus_wheel *w, unsigned int level, unsigned int slot)
{
	struct apus_timer *t = w->slots[level][slot];

	w->slots[level][slot] = NULL;
	clear_occupied(w, level, slot);
	while (t) {
		struct apus_timer *next = t->next;

		if (next) /* where the list is long, its end is not in the cache */
			apus_prefetch(next->next);
		place(w, t);
		t = next;
	}
}

/* Advances to @tick, or to the first tick at which something became due. */
static void advance(struct apus_wheel *w, uint64_t tick)
{
	unsigned int level, slot;
	uint64_t at;

	while (w->tick < tick && !w->due) {
		if (!next_slot(w, &level, &slot, &at) || at > tick) {
			w->tick = tick;
			return;
		}
		w->tick = at;
		empty_slot(w, level, slot);
	}
}

static int64_t next_look_ns(const struct apus_wheel *w)
{
	unsigned int level, slot;
	uint64_t tick;

	if (w->due)
		return w->due->deadline_ns;
	if (!next_slot(w, &level, &slot, &tick))
		return APUS_NEVER;
	return (int64_t)(tick << APUS_WHEEL_TICK_BITS);
}

struct apus_timer *apus_wheel_pop(struct apus_wheel *w, int64_t now_ns)
{
	advance(w, tick_of(now_ns));

	struct apus_timer *t = w->due;

	if (!t || t->deadline_ns > now_ns) {
		w->next_ns = next_look_ns(w);
		return NULL;
	}
	heap_set(w, meld_children(t->child));
	t->child = NULL;
	t->prev = NULL;
	w->armed--;
	return t;
}
