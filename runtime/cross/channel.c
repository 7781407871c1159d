/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/cross/channel.c: a ring for each sending shard, emptied at home; see channel.h.
 *
 * The items of a shard lie in a ring of its own, which it fills and home empties: two indices, each
 * written by one side. What has to be said besides is said by tokens: messages of which there is one
 * of each kind for a shard, and which are either there or here:
 *
 *	bell   "there is something in my ring". Home keeps it while it finds items, and looks again
 *	       by itself; it goes back when the ring was empty, with what was seen. So a busy channel
 *	       sends none, and none that is needed can be lost: who holds it, looks.
 *	ask    "my ring is full, and tasks wait". Home keeps it until it took something.
 *	close  "no more", from home; it comes back when nobody is in a send there any more.
 *
 * Tokens travel as replies do: without a credit, without fail. What home and a shard say to each other
 * stays in order, so whatever a shard said comes before its `close`, and after that nothing is
 * on its way: then the memory can go.
 *
 * A shard that has left is told nothing; its last items are there, since its ring is. Only if tasks of
 * it are still in a send, which its leaving ended, it gets its `close`: it does not stop turning before
 * home has heard from it for the last time, and that is behind the answer.
 */
#include "runtime/cross/channel.h"

#include "runtime/base/alloc.h"
#include "runtime/base/check.h"
#include "runtime/cross/call.h"
#include "runtime/cross/internal.h"
#include "runtime/sync/internal.h"

#include <errno.h>

struct token {
	struct apus_message message;
	struct sender *sender;
};

/* What one shard sends with; in home's memory. */
struct sender {
	struct apus_channel *channel;
	void **items;
	uint32_t index; /* of the shard */

	struct {
		uint64_t tail;             /* items put; read at home */
		uint64_t taken_seen;       /* what `taken` was */
		struct apus_waitq waiters; /* tasks, for room */
		uint32_t inside;           /* tasks that waited, and have not left the send */
		uint32_t promised;         /* ... that were woken, each to put one */
		struct apus_cross_watch home_leaves; /* linked while tasks are inside */
		bool bell_out, ask_out;              /* on their way, or at home */
		bool is_closed;
		bool owes_close; /* when nobody is inside */
	} APUS_ALIGNED(APUS_RING_APART) here;

	struct {
		uint64_t taken;        /* items received; read by the sender */
		uint64_t tail_seen;    /* what `tail` was */
		struct apus_list link; /* in channel->ready, while it is not empty */
		bool has_bell, has_ask;
		bool is_settled;         /* told of the close, and has answered */
		struct apus_work answer; /* returns `ask`, after those who take in this lap */
	} APUS_ALIGNED(APUS_RING_APART) home;

	/* Written by who has it. */
	struct token bell, ask, close;
	uint64_t bell_seen; /* `tail_seen` when the bell went back */
} APUS_ALIGNED(APUS_RING_APART);

struct apus_channel {
	struct apus_heap *heap;
	uint32_t home, count;
	uint32_t capacity;
	uint64_t mask; /* of a ring's index */
	struct apus_waitq receivers;
	struct apus_waitq settling; /* who frees it */
	struct apus_list ready; /* struct sender.home.link: with items, whose turn it is first */
	struct apus_event readable;
	bool is_watched; /* `readable` is to be kept right */
	bool is_closing;
	uint32_t unsettled; /* senders that can still send */
	struct sender senders[];
};

static void token_arrives(struct apus_message *message);
static void pass_on(struct sender *s);

/* The one of this shard; NULL: it has none. */
static inline struct sender *sender_here(struct apus_channel *ch)
{
	unsigned int index = apus_shard_index();

	return apus_likely(index < ch->count) ? &ch->senders[index] : NULL;
}

static inline bool is_home(const struct sender *s)
{
	return s->index == s->channel->home;
}

static bool is_gone(unsigned int index)
{
	return apus_cross_here()->peers[index].is_gone;
}

static void send(struct token *token, unsigned int to)
{
	token->message.from = to; /* a reply goes there, room or not */
	apus_message_reply(&token->message);
}

/* A token goes to shard @to; one that has left needs it no more. */
static void pass(struct token *token, unsigned int to)
{
	if (!is_gone(to))
		send(token, to);
}

/* ------------------------------------------------------------------------------------------ home */

static inline bool is_ended(const struct apus_channel *ch)
{
	return !ch->unsettled && apus_list_empty(&ch->ready);
}

/* After `ready` or is_ended has changed. */
static inline void note_readable(struct apus_channel *ch)
{
	bool is_readable;

	if (apus_likely(!ch->is_watched))
		return;
	is_readable = !apus_list_empty(&ch->ready) || is_ended(ch);
	if (is_readable && !apus_event_is_set(&ch->readable))
		apus_event_set(&ch->readable);
	else if (!is_readable)
		apus_event_clear(&ch->readable);
}

static inline void look(struct sender *s)
{
	s->home.tail_seen = __atomic_load_n(&s->here.tail, __ATOMIC_ACQUIRE);
}

static inline bool has_items(const struct sender *s)
{
	return s->home.tail_seen != s->home.taken;
}

static void return_bell(struct sender *s)
{
	if (!s->home.has_bell || s->channel->is_closing)
		return;
	s->home.has_bell = false;
	s->bell_seen = s->home.tail_seen;
	pass(&s->bell, s->index);
}

/* There may be items that were not. */
static void look_for_items(struct sender *s)
{
	struct apus_channel *ch = s->channel;

	if (apus_list_linked(&s->home.link))
		return; /* who takes them looks again */
	look(s);
	if (!has_items(s)) {
		return_bell(s);
		return;
	}
	apus_list_push_back(&ch->ready, &s->home.link);
	note_readable(ch);
	apus_waitq_wake_one_here(&ch->receivers, 0);
}

static void answer_ask(struct sender *s)
{
	if (!s->home.has_ask || s->channel->is_closing)
		return;
	s->home.has_ask = false;
	pass(&s->ask, s->index);
}

static void run_answer(struct apus_work *work)
{
	answer_ask(apus_container_of(work, struct sender, home.answer));
}

/* Items were taken: whoever waits for room hears it; from elsewhere once for all of this lap. */
static inline void tell_room(struct sender *s)
{
	if (is_home(s))
		pass_on(s);
	else if (s->home.has_ask)
		apus_call_soon(&s->home.answer);
}

static void ended(struct apus_channel *ch)
{
	note_readable(ch);
	apus_waitq_wake_all(&ch->receivers, 0);
}

/* The next item; there is one. */
static inline void *take(struct apus_channel *ch)
{
	struct sender *s = apus_list_entry(ch->ready.next, struct sender, home.link);
	void *item = s->items[s->home.taken & ch->mask];

	__atomic_store_n(&s->home.taken, s->home.taken + 1, __ATOMIC_RELEASE);
	if (!has_items(s))
		look(s);
	if (!has_items(s)) {
		apus_list_remove(&s->home.link);
		note_readable(ch);
		return_bell(s);
		if (apus_unlikely(is_ended(ch)))
			ended(ch);
	} else if (s->home.link.next != &ch->ready) {
		apus_list_unlink(&s->home.link);
		apus_list_push_back(&ch->ready, &s->home.link);
	}
	tell_room(s);
	return item;
}

/* `close` is back, or never will be: nothing more is put into its ring. */
static void settle(struct sender *s)
{
	struct apus_channel *ch = s->channel;

	s->home.is_settled = true;
	ch->unsettled--;
	look_for_items(s);
	if (is_ended(ch))
		ended(ch);
	if (!ch->unsettled)
		apus_waitq_wake_all(&ch->settling, 0);
}

static void arrives_at_home(struct sender *s, struct token *token)
{
	if (token == &s->bell) {
		s->home.has_bell = true;
		look_for_items(s);
	} else if (token == &s->ask) {
		s->home.has_ask = true;
		if (__atomic_load_n(&s->here.tail, __ATOMIC_ACQUIRE) - s->home.taken <
		    s->channel->capacity)
			answer_ask(s);
	} else {
		settle(s);
	}
}

/* --------------------------------------------------------------------------------- a sending shard */

static inline bool has_room(struct sender *s)
{
	uint32_t capacity = s->channel->capacity;
	uint64_t tail = s->here.tail + s->here.promised;

	if (apus_likely(tail - s->here.taken_seen < capacity))
		return true;
	s->here.taken_seen = __atomic_load_n(&s->home.taken, __ATOMIC_ACQUIRE);
	return tail - s->here.taken_seen < capacity;
}

static void ring_bell(struct sender *s)
{
	if (is_home(s)) {
		look_for_items(s);
		return;
	}
	s->here.bell_out = true;
	pass(&s->bell, s->channel->home);
}

/* There is room. */
static inline void put(struct sender *s, void *item)
{
	s->items[s->here.tail & s->channel->mask] = item;
	__atomic_store_n(&s->here.tail, s->here.tail + 1, __ATOMIC_RELEASE);
	if (!s->here.bell_out)
		ring_bell(s);
}

/* Home has left, or this shard does: no answer comes any more. */
static void home_is_gone(struct apus_cross_watch *watch)
{
	struct sender *s = apus_container_of(watch, struct sender, here.home_leaves);

	apus_waitq_wake_all(&s->here.waiters, -ESHUTDOWN);
}

static void ask_home(struct sender *s)
{
	if (is_home(s))
		return;
	if (!apus_list_linked(&s->here.home_leaves.link))
		apus_list_push_back(&apus_cross_here()->peers[s->channel->home].watches,
				    &s->here.home_leaves.link);
	if (s->here.ask_out)
		return;
	s->here.ask_out = true;
	pass(&s->ask, s->channel->home);
}

/* Who waits for room gets it, or home is asked for some. */
static void pass_on(struct sender *s)
{
	while (!apus_waitq_empty(&s->here.waiters) && has_room(s)) {
		s->here.promised++;
		apus_waitq_wake_one_here(&s->here.waiters, 0);
	}
	if (!apus_waitq_empty(&s->here.waiters))
		ask_home(s);
}

static void return_close(struct sender *s, uint32_t inside)
{
	if (s->here.owes_close && !inside) {
		s->here.owes_close = false;
		send(&s->close, s->channel->home); /* which waits for it, also while it leaves */
	}
}

static void close_here(struct sender *s)
{
	s->here.is_closed = true;
	apus_waitq_wake_all(&s->here.waiters, -EPIPE);
}

static void arrives_at_sender(struct sender *s, struct token *token)
{
	if (token == &s->bell) {
		s->here.bell_out = false;
		if (s->bell_seen != s->here.tail)
			ring_bell(s);
	} else if (token == &s->ask) {
		s->here.ask_out = false;
		pass_on(s);
	} else {
		close_here(s);
		s->here.owes_close = true;
		return_close(s, s->here.inside);
	}
}

static void token_arrives(struct apus_message *message)
{
	struct token *token = apus_container_of(message, struct token, message);
	struct sender *s = token->sender;

	if (apus_shard_index() == s->channel->home)
		arrives_at_home(s, token);
	else
		arrives_at_sender(s, token);
}

/* ------------------------------------------------------------------------------------------- send */

/* May this shard send now, or ever? Return: 0, -EPIPE, -ESHUTDOWN */
static inline int check(const struct sender *s)
{
	const struct apus_cross_port *port;

	if (apus_unlikely(s->here.is_closed))
		return -EPIPE;
	if (is_home(s))
		return 0;
	port = apus_cross_here();
	return apus_unlikely(port->is_leaving || port->peers[s->channel->home].is_gone) ? -ESHUTDOWN
											: 0;
}

/* Until there is room that nobody else was promised; behind those who were. */
static int64_t wait_room(struct sender *s)
{
	struct apus_wait wait;
	int64_t rc;

	pass_on(s);
	if (apus_waitq_empty(&s->here.waiters) && has_room(s)) {
		s->here.promised++;
		rc = apus_yield();
		s->here.promised--;
		return rc ? rc : check(s);
	}
	rc = apus_wait_join(&wait, NULL, "channel send", s->channel, &s->here.waiters.waiters);
	if (rc)
		return rc;
	ask_home(s);
	rc = apus_park(&wait);
	if (!wait.rc) /* also if a cancel came after it */
		s->here.promised--;
	return rc ? rc : check(s);
}

/* Home frees the channel when it sees nobody inside of a shard that leaves: so that comes last. */
static void leave(struct sender *s)
{
	uint32_t inside = s->here.inside - 1;

	pass_on(s);
	if (!inside)
		apus_list_remove(&s->here.home_leaves.link);
	return_close(s, inside);
	__atomic_store_n(&s->here.inside, inside, __ATOMIC_RELEASE);
}

/* First come first served: who comes while others are inside goes behind them. */
static APUS_NOINLINE int wait_and_put(struct sender *s, void *item)
{
	int64_t rc = check(s);

	s->here.inside++;
	if (!rc)
		rc = wait_room(s);
	if (!rc)
		put(s, item);
	leave(s);
	return (int)rc;
}

int apus_channel_send(struct apus_channel *ch, void *item)
{
	struct sender *s = sender_here(ch);
	int rc = apus_checkpoint();

	if (apus_unlikely(rc || !s))
		return rc ? rc : -EINVAL;
	if (apus_unlikely(s->here.inside || !has_room(s)))
		return wait_and_put(s, item);
	rc = check(s);
	if (apus_likely(!rc))
		put(s, item);
	return rc;
}

int apus_channel_try_send(struct apus_channel *ch, void *item)
{
	struct sender *s = sender_here(ch);
	int rc = s ? check(s) : -EINVAL;

	if (rc)
		return rc;
	if (s->here.inside || !has_room(s))
		return -EAGAIN;
	put(s, item);
	return 0;
}

/* ---------------------------------------------------------------------------------------- receive */

/* Who has taken, or was woken for nothing, leaves the rest to the next. */
static inline void wake_next(struct apus_channel *ch)
{
	if (!apus_list_empty(&ch->ready))
		apus_waitq_wake_one_here(&ch->receivers, 0);
}

static int64_t recv_here(struct apus_channel *ch, void **items, size_t n)
{
	int64_t rc = apus_checkpoint();
	size_t taken = 0;

	while (!rc && apus_list_empty(&ch->ready)) {
		if (is_ended(ch))
			return -EPIPE;
		rc = apus_waitq_wait(&ch->receivers, "channel recv");
	}
	if (apus_unlikely(rc)) {
		wake_next(ch);
		return rc;
	}
	do
		items[taken++] = take(ch);
	while (taken < n && !apus_list_empty(&ch->ready));
	wake_next(ch);
	return (int64_t)taken;
}

struct recv_call {
	struct apus_channel *channel;
	void **items; /* of the caller, who waits */
	size_t n;
};

static int64_t recv_for_another(void *arg)
{
	const struct recv_call *call = arg;

	return recv_here(call->channel, call->items, call->n);
}

int64_t apus_channel_recv_many(struct apus_channel *ch, void **items, size_t n)
{
	struct recv_call call = {.channel = ch, .items = items, .n = n};

	if (!n)
		return -EINVAL;
	if (apus_likely(apus_shard_index() == ch->home))
		return recv_here(ch, items, n);
	return apus_call_on(ch->home, recv_for_another, &call);
}

int apus_channel_recv(struct apus_channel *ch, void **item)
{
	int64_t rc = apus_channel_recv_many(ch, item, 1);

	return rc > 0 ? 0 : (int)rc;
}

int apus_channel_try_recv(struct apus_channel *ch, void **item)
{
	if (apus_shard_index() != ch->home)
		return -EXDEV;
	if (apus_list_empty(&ch->ready))
		return is_ended(ch) ? -EPIPE : -EAGAIN;
	*item = take(ch);
	return 0;
}

struct apus_event *apus_channel_readable(struct apus_channel *ch)
{
	ch->is_watched = true;
	note_readable(ch);
	return &ch->readable;
}

unsigned int apus_channel_home(const struct apus_channel *ch)
{
	return ch->home;
}

/* --------------------------------------------------------------------------------- open and close */

int apus_channel_open(uint32_t capacity, struct apus_channel **out)
{
	struct apus_heap *heap = apus_shard_heap(apus_shard_self());
	unsigned int count = apus_shard_count();
	struct apus_channel *ch;
	uint64_t room = 1;

	if (!capacity || capacity > APUS_CHANNEL_CAPACITY_MAX)
		return -EINVAL;
	while (room < capacity)
		room *= 2;
	ch = apus_heap_alloc_aligned(
		heap, sizeof(*ch) + count * (sizeof(struct sender) + room * sizeof(void *)),
		APUS_RING_APART);
	if (!ch)
		return -ENOMEM;
	*ch = (struct apus_channel){
		.heap = heap,
		.home = apus_shard_index(),
		.count = count,
		.capacity = capacity,
		.mask = room - 1,
		.unsettled = count,
	};
	apus_waitq_init(&ch->receivers);
	apus_waitq_init(&ch->settling);
	apus_list_init(&ch->ready);
	apus_event_init(&ch->readable);
	for (uint32_t i = 0; i < count; i++) {
		struct sender *s = &ch->senders[i];

		*s = (struct sender){
			.channel = ch,
			.items = (void **)&ch->senders[count] + i * room,
			.index = i,
		};
		apus_waitq_init(&s->here.waiters);
		apus_list_init(&s->here.home_leaves.link);
		s->here.home_leaves.gone = home_is_gone;
		apus_list_init(&s->home.link);
		apus_work_init(&s->home.answer, run_answer);
		s->bell = s->ask = s->close = (struct token){
			.message.fn = token_arrives,
			.sender = s,
		};
	}
	*out = ch;
	return 0;
}

static bool has_inside(const struct sender *s)
{
	return __atomic_load_n(&s->here.inside, __ATOMIC_ACQUIRE) > 0;
}

static void close_at_home(struct apus_channel *ch)
{
	if (ch->is_closing)
		return;
	ch->is_closing = true;
	for (uint32_t i = 0; i < ch->count; i++) {
		struct sender *s = &ch->senders[i];

		if (is_home(s))
			close_here(s);
		if (is_home(s) || (is_gone(i) && !has_inside(s)))
			settle(s);
		else
			send(&s->close, i); /* one that leaves answers before it has left */
	}
}

static int64_t close_for_another(void *arg)
{
	close_at_home(arg);
	return 0;
}

int apus_channel_close(struct apus_channel *ch)
{
	if (apus_shard_index() != ch->home)
		return (int)apus_call_on(ch->home, close_for_another, ch);
	close_at_home(ch);
	return 0;
}

static bool is_used(const struct apus_channel *ch)
{
	return ch->unsettled || ch->senders[ch->home].here.inside;
}

void apus_channel_free(struct apus_channel *ch)
{
	bool was_cancelled = false;

	close_at_home(ch);
	/* Only as long as messages take, and the tasks that were in a send here. */
	while (is_used(ch)) {
		if (ch->unsettled)
			was_cancelled |= apus_waitq_wait(&ch->settling, "channel to close") < 0;
		else
			was_cancelled |= apus_yield() < 0;
	}
	apus_must(apus_waitq_empty(&ch->receivers));
	for (uint32_t i = 0; i < ch->count; i++)
		apus_call_cancel(&ch->senders[i].home.answer);
	apus_heap_free(ch->heap, ch);
	if (was_cancelled)
		apus_shard_current->current->must_cancel = true;
}
