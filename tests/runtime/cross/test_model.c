/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/cross/test_model.c: the ring and the protocol of sleep, in all interleavings.
 *
 * A model of two shards, a sender and a receiver, that does what mailbox.c and ring.h do, memory
 * access by memory access:
 *
 *	sender     room?  ->  write line, publish it  ->  (another)  ->  fence  ->  asleep? ring
 *	           none   ->  say starved  ->  fence  ->  room? else sleep until rung
 *	receiver   a line?  ->  read it, say what is free  ->  fence  ->  starved? ring
 *	           none   ->  say asleep  ->  fence  ->  a line? else sleep until rung
 *
 * Stores wait in a buffer of their thread until they reach memory, at any later time, and loads do not
 * wait for them: what x86 does. They may also overtake each other, as elsewhere, unless they were
 * releases; loads are in order. All orders of all steps are gone through, each state once; where
 * nobody can go on and not all was received, somebody sleeps over news. The same is done with each
 * fence taken out, the release made an ordinary store, and each last look left out: every one of them
 * must be found wrong, or the model proves nothing.
 */
#include "tests/runtime/base_test.h"

enum {
	LINES = 2,    /* of the ring */
	FREE_AT = 2,  /* lines that the receiver gives back at once */
	MESSAGES = 9, /* more than four rings */
	BUFFER = 6,
	STATES_MAX = 1 << 23,
};

enum address {
	PAYLOAD,                 /* LINES of them */
	STATE = PAYLOAD + LINES, /* LINES of them: number + 1 of the line that is there */
	FREED = STATE + LINES,   /* lines taken */
	SLEEP,                   /* of each shard: enum sleep */
	ADDRESSES = SLEEP + 2,
};

enum sleep {
	AWAKE,
	ASLEEP,
	STARVED,
};

enum who {
	SENDER,
	RECEIVER,
};

/* What is left out. */
enum fault {
	NOTHING,
	FENCE_OF_SENDER,
	FENCE_OF_SLEEPER,
	FENCE_OF_FREEING,
	FENCE_OF_STARVED,
	RELEASE_OF_LINE,
	LAST_LOOK_OF_SLEEPER,
	LAST_LOOK_OF_STARVED,
	BELL,
};

struct store {
	uint8_t address, value, is_release;
};

struct thread {
	uint8_t at; /* the next step */
	uint8_t buffered;
	struct store buffer[BUFFER]; /* oldest first */
	uint8_t bell;
	uint8_t lines; /* sent, or received */
	uint8_t seen;  /* of the other's count */
};

struct state {
	uint8_t memory[ADDRESSES];
	struct thread threads[2];
};

static enum fault fault;

static struct {
	struct state *all; /* those seen, by hash; threads[0].at is 0xff where there is none */
	uint32_t *stack;
	uint32_t depth;
	uint64_t seen;
	const char *wrong; /* what was found */
} search;

/* ---------------------------------------------------------------------------------------- memory */

static uint8_t load(const struct state *s, enum who who, unsigned int address)
{
	const struct thread *t = &s->threads[who];

	for (unsigned int i = t->buffered; i-- > 0;)
		if (t->buffer[i].address == address)
			return t->buffer[i].value;
	return s->memory[address];
}

static void store(struct state *s, enum who who, unsigned int address, unsigned int value,
		  bool is_release)
{
	struct thread *t = &s->threads[who];

	assert_true(t->buffered < BUFFER);
	t->buffer[t->buffered++] = (struct store){(uint8_t)address, (uint8_t)value, is_release};
}

/* May entry @i of the buffer reach memory before those ahead of it? */
static bool may_drain(const struct thread *t, unsigned int i)
{
	if (t->buffer[i].is_release)
		return i == 0;
	for (unsigned int j = 0; j < i; j++)
		if (t->buffer[j].address == t->buffer[i].address)
			return false;
	return true;
}

static void drain(struct state *s, enum who who, unsigned int i)
{
	struct thread *t = &s->threads[who];

	s->memory[t->buffer[i].address] = t->buffer[i].value;
	t->buffered--;
	memmove(&t->buffer[i], &t->buffer[i + 1], (t->buffered - i) * sizeof(t->buffer[0]));
	t->buffer[t->buffered] = (struct store){0};
}

/* ----------------------------------------------------------------------------------- the protocol */

enum sender_step {
	SEND_ROOM,
	SEND_WRITE,
	SEND_PUBLISH,
	SEND_MORE, /* or the end of the turn */
	SEND_FENCE,
	SEND_ASLEEP,
	SEND_RING,
	SEND_STARVED,
	SEND_STARVED_FENCE,
	SEND_LOOK,
	SEND_SLEEP,
	SEND_WAKE,
	SEND_END,
};

enum receiver_step {
	TAKE_LOOK,
	TAKE_READ,
	TAKE_FREE,
	TAKE_FENCE,
	TAKE_STARVED,
	TAKE_RING,
	TAKE_ARM,
	TAKE_ARM_FENCE,
	TAKE_LAST_LOOK,
	TAKE_SLEEP,
	TAKE_WAKE,
	TAKE_END,
};

/* The sender found no room. */
static bool starved_step(struct state *s, struct thread *t)
{
	switch (t->at) {
	case SEND_STARVED:
		store(s, SENDER, SLEEP + SENDER, STARVED, false);
		t->at = fault == FENCE_OF_STARVED ? SEND_LOOK : SEND_STARVED_FENCE;
		return true;
	case SEND_STARVED_FENCE:
		t->at = SEND_LOOK;
		return t->buffered == 0;
	case SEND_LOOK:
		t->at = SEND_SLEEP;
		if (fault != LAST_LOOK_OF_STARVED && load(s, SENDER, FREED) > t->seen)
			t->at = SEND_WAKE;
		return true;
	case SEND_SLEEP: /* a system call */
		if (!t->bell)
			return false;
		t->bell = 0;
		t->at = SEND_WAKE;
		return true;
	case SEND_WAKE:
		store(s, SENDER, SLEEP + SENDER, AWAKE, false);
		t->at = SEND_ROOM;
		return true;
	}
	return false;
}

/* One step of a thread in *@s. @choice: 0, or 1 for the other way. Return: false if it cannot. */
static bool send_step(struct state *s, unsigned int choice)
{
	struct thread *t = &s->threads[SENDER];
	unsigned int line = t->lines % LINES;

	if (choice && t->at != SEND_MORE)
		return false;
	switch ((enum sender_step)t->at) {
	case SEND_ROOM:
		if (t->lines == MESSAGES) {
			t->at = SEND_END;
			return true;
		}
		if (t->lines - t->seen >= LINES)
			t->seen = load(s, SENDER, FREED);
		t->at = t->lines - t->seen < LINES ? SEND_WRITE : SEND_STARVED;
		return true;
	case SEND_WRITE:
		store(s, SENDER, PAYLOAD + line, t->lines + 1u, false);
		t->at = SEND_PUBLISH;
		return true;
	case SEND_PUBLISH:
		store(s, SENDER, STATE + line, t->lines + 1u, fault != RELEASE_OF_LINE);
		t->lines++;
		t->at = SEND_MORE;
		return true;
	case SEND_MORE:
		if (choice && (t->lines == MESSAGES || t->lines - t->seen >= LINES))
			return false;
		t->at = choice ? SEND_WRITE : fault == FENCE_OF_SENDER ? SEND_ASLEEP : SEND_FENCE;
		return true;
	case SEND_FENCE:
		t->at = SEND_ASLEEP;
		return t->buffered == 0;
	case SEND_ASLEEP:
		t->at = load(s, SENDER, SLEEP + RECEIVER) ? SEND_RING : SEND_ROOM;
		return true;
	case SEND_RING: /* an exchange: it waits for the buffer */
		if (t->buffered)
			return false;
		if (s->memory[SLEEP + RECEIVER] && fault != BELL)
			s->threads[RECEIVER].bell = 1;
		s->memory[SLEEP + RECEIVER] = AWAKE;
		t->at = SEND_ROOM;
		return true;
	case SEND_STARVED:
	case SEND_STARVED_FENCE:
	case SEND_LOOK:
	case SEND_SLEEP:
	case SEND_WAKE:
		return starved_step(s, t);
	case SEND_END:
		return false;
	}
	return false;
}

static bool take_step(struct state *s, unsigned int choice)
{
	struct thread *t = &s->threads[RECEIVER];
	unsigned int line = t->lines % LINES;

	if (choice)
		return false;
	switch ((enum receiver_step)t->at) {
	case TAKE_LOOK:
		if (t->lines == MESSAGES)
			t->at = TAKE_END;
		else
			t->at = load(s, RECEIVER, STATE + line) == t->lines + 1 ? TAKE_READ
										: TAKE_ARM;
		return true;
	case TAKE_READ:
		if (load(s, RECEIVER, PAYLOAD + line) != t->lines + 1)
			search.wrong = "a line was read before it was written";
		t->lines++;
		t->at = t->lines % FREE_AT ? TAKE_LOOK : TAKE_FREE;
		return true;
	case TAKE_FREE:
		store(s, RECEIVER, FREED, t->lines, true);
		t->at = fault == FENCE_OF_FREEING ? TAKE_STARVED : TAKE_FENCE;
		return true;
	case TAKE_FENCE:
		t->at = TAKE_STARVED;
		return t->buffered == 0;
	case TAKE_STARVED:
		t->at = load(s, RECEIVER, SLEEP + SENDER) == STARVED ? TAKE_RING : TAKE_LOOK;
		return true;
	case TAKE_RING:
		if (t->buffered)
			return false;
		if (s->memory[SLEEP + SENDER])
			s->threads[SENDER].bell = 1;
		s->memory[SLEEP + SENDER] = AWAKE;
		t->at = TAKE_LOOK;
		return true;
	case TAKE_ARM:
		store(s, RECEIVER, SLEEP + RECEIVER, ASLEEP, false);
		t->at = fault == FENCE_OF_SLEEPER ? TAKE_LAST_LOOK : TAKE_ARM_FENCE;
		return true;
	case TAKE_ARM_FENCE:
		t->at = TAKE_LAST_LOOK;
		return t->buffered == 0;
	case TAKE_LAST_LOOK:
		t->at = TAKE_SLEEP;
		if (fault != LAST_LOOK_OF_SLEEPER &&
		    load(s, RECEIVER, STATE + line) == t->lines + 1)
			t->at = TAKE_WAKE;
		return true;
	case TAKE_SLEEP:
		if (!t->bell)
			return false;
		t->bell = 0;
		t->at = TAKE_WAKE;
		return true;
	case TAKE_WAKE:
		store(s, RECEIVER, SLEEP + RECEIVER, AWAKE, false);
		t->at = TAKE_LOOK;
		return true;
	case TAKE_END:
		return false;
	}
	return false;
}

/* ------------------------------------------------------------------------------------- the search */

static uint32_t hash(const struct state *s)
{
	const uint8_t *bytes = (const void *)s;
	uint64_t h = 1469598103934665603u;

	for (size_t i = 0; i < sizeof(*s); i++)
		h = (h ^ bytes[i]) * 1099511628211u;
	return (uint32_t)(h ^ h >> 29) & (STATES_MAX - 1);
}

static void visit(const struct state *s)
{
	uint32_t at = hash(s);

	while (search.all[at].threads[0].at != 0xff) {
		if (!memcmp(&search.all[at], s, sizeof(*s)))
			return;
		at = (at + 1) & (STATES_MAX - 1);
	}
	assert_true(++search.seen < STATES_MAX / 2);
	search.all[at] = *s;
	search.stack[search.depth++] = at;
}

/* Visits all that may come next. Return: was there anything? */
static bool go_on(const struct state *from)
{
	bool any = false;

	for (unsigned int choice = 0; choice < 2; choice++) {
		struct state s = *from;

		if (send_step(&s, choice)) {
			visit(&s);
			any = true;
		}
		s = *from;
		if (take_step(&s, choice)) {
			visit(&s);
			any = true;
		}
	}
	for (int who = 0; who < 2; who++) {
		for (unsigned int i = 0; i < from->threads[who].buffered; i++) {
			struct state s = *from;

			if (!may_drain(&s.threads[who], i))
				continue;
			drain(&s, who, i);
			visit(&s);
			any = true;
		}
	}
	return any;
}

/* Return: what is wrong; NULL if nothing is. */
static const char *search_all(enum fault without)
{
	struct state start = {0};

	fault = without;
	search.depth = 0;
	search.seen = 0;
	search.wrong = NULL;
	for (size_t i = 0; i < STATES_MAX; i++)
		search.all[i].threads[0].at = 0xff;
	visit(&start);
	while (search.depth && !search.wrong) {
		const struct state s = search.all[search.stack[--search.depth]];

		if (go_on(&s))
			continue;
		if (s.threads[SENDER].at != SEND_END || s.threads[RECEIVER].at != TAKE_END)
			search.wrong = "somebody sleeps over news";
	}
	return search.wrong;
}

static int open_search(void **state)
{
	search.all = malloc(STATES_MAX * sizeof(*search.all));
	search.stack = malloc(STATES_MAX * sizeof(*search.stack));
	return search.all && search.stack ? 0 : -1;
}

static int close_search(void **state)
{
	free(search.all);
	free(search.stack);
	return 0;
}

static void protocol_is_right_in_every_order(void **state)
{
	const char *wrong = search_all(NOTHING);

	if (wrong)
		fail_msg("%s", wrong);
	print_message("%llu states\n", (unsigned long long)search.seen);
	assert_true(search.seen > 10000); /* it did go through them */
}

static void without_any_part_it_is_wrong(void **state)
{
	static const struct {
		enum fault without;
		const char *name;
	} parts[] = {
		{FENCE_OF_SENDER, "the sender's fence"},
		{FENCE_OF_SLEEPER, "the fence before the last look"},
		{FENCE_OF_FREEING, "the fence after lines are freed"},
		{FENCE_OF_STARVED, "the fence before the last look for room"},
		{RELEASE_OF_LINE, "the release of a line"},
		{LAST_LOOK_OF_SLEEPER, "the last look"},
		{LAST_LOOK_OF_STARVED, "the last look for room"},
		{BELL, "the bell"},
	};

	for (size_t i = 0; i < apus_countof(parts); i++)
		if (!search_all(parts[i].without))
			fail_msg("the model works without %s", parts[i].name);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(protocol_is_right_in_every_order, open_search,
						close_search),
		cmocka_unit_test_setup_teardown(without_any_part_it_is_wrong, open_search,
						close_search),
	};

	return test_main(argc, argv, tests);
}
