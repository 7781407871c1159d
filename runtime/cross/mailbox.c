/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/cross/mailbox.c: records in and out of the rings, once per turn of the loop; sleep; parting.
 *
 * A record that is sent is staged in a line of the sender's own, and that is copied into the ring as
 * a whole: when it is full, at the end of the turn, or at once when the receiver sleeps. A line is
 * staged only if the ring has room for it, so that to publish never fails.
 *
 * To part, a shard tells all others (LEAVES), who tell it that they know (LEAVES_SEEN): since records
 * keep their order, nothing comes from them after that but answers and cancels. When all was answered,
 * there and here, it says so (GOES), behind its last answer; who hears that sends it no cancel any
 * more, and says so (GOES_SEEN). Of two that part at once each takes the other's word for its answer.
 */
#include "runtime/cross/mailbox.h"

#include "runtime/cross/internal.h"

#include <errno.h>

static const unsigned int lines_per_poll = 16; /* of one ring in one turn */

/* ------------------------------------------------------------------------------------- publish */

/* Whoever sets it to AWAKE rings; a bell that is rung for nothing costs a turn of the loop. */
static APUS_COLD void wake(struct apus_cross_port *port, struct apus_cross_port *sleeper)
{
	if (__atomic_exchange_n(&sleeper->sleep.state, APUS_CROSS_AWAKE, __ATOMIC_SEQ_CST) ==
	    APUS_CROSS_AWAKE)
		return;
	port->counters[APUS_CROSS_BELLS]++;
	apus_shard_ring(sleeper->shard);
}

static inline bool sleeps(const struct apus_cross_peer *peer)
{
	return __atomic_load_n(&peer->port->sleep.state, __ATOMIC_RELAXED) != APUS_CROSS_AWAKE;
}

static APUS_COLD void delay(struct apus_cross_port *port, struct apus_cross_peer *peer)
{
	const struct apus_cross_options *o = &port->cross->options;
	int64_t at_ns =
		apus_shard_now(port->shard) + o->delay_ns(o->delay_arg, port->index, peer->index);

	peer->due_last_ns = apus_max(peer->due_last_ns, at_ns);
	peer->due_ns[peer->out.head & peer->out.mask] = peer->due_last_ns;
}

static inline void publish(struct apus_cross_port *port, struct apus_cross_peer *peer)
{
	if (apus_unlikely(peer->due_ns != NULL))
		delay(port, peer);
	apus_ring_publish(&peer->out, peer->staged, peer->staged_count);
	peer->staged_count = 0;
	port->counters[APUS_CROSS_LINES_OUT]++;
}

/* See "No lost wake-up" in the header. */
static APUS_COLD void publish_to_sleeper(struct apus_cross_port *port, struct apus_cross_peer *peer)
{
	publish(port, peer);
	APUS_RING_FENCE();
	if (sleeps(peer))
		wake(port, peer->port);
}

void apus_cross_touch(struct apus_cross_port *port, struct apus_cross_peer *peer)
{
	if (peer->is_dirty)
		return;
	peer->is_dirty = true;
	port->dirty[port->dirty_count++] = (uint16_t)peer->index;
}

static inline bool has_room(struct apus_cross_peer *peer, unsigned int count)
{
	if (!peer->staged_count)
		return apus_ring_has_room(&peer->out, 1);
	return peer->staged_count + count <= APUS_RING_WORDS || apus_ring_has_room(&peer->out, 2);
}

/* There is room. */
static inline void stage(struct apus_cross_port *port, struct apus_cross_peer *peer,
			 const uint64_t *words, unsigned int count)
{
	if (peer->staged_count + count > APUS_RING_WORDS)
		publish(port, peer);
	for (unsigned int i = 0; i < count; i++)
		peer->staged[peer->staged_count + i] = words[i];
	peer->staged_count += count;
	port->counters[APUS_CROSS_RECORDS_OUT]++;
	apus_cross_touch(port, peer);
	if (apus_unlikely(sleeps(peer)))
		publish_to_sleeper(port, peer);
}

/* Nothing may overtake what waits. */
static inline bool somebody_waits(const struct apus_cross_peer *peer)
{
	return peer->replies || !apus_list_empty(&peer->requests);
}

bool apus_cross_put(struct apus_cross_port *port, struct apus_cross_peer *peer,
		    const uint64_t *words, unsigned int count)
{
	if (apus_unlikely(somebody_waits(peer)) || apus_unlikely(!has_room(peer, count)))
		return false;
	stage(port, peer, words, count);
	return true;
}

void apus_cross_request(struct apus_cross_port *port, struct apus_cross_peer *peer,
			struct apus_request *request)
{
	if (apus_likely(apus_cross_put(port, peer, request->words, request->count))) {
		request->done(request, 0);
		return;
	}
	port->counters[APUS_CROSS_REQUESTS_WAITED]++;
	apus_list_push_back(&peer->requests, &request->link);
	apus_cross_touch(port, peer);
}

void apus_cross_reply(struct apus_cross_port *port, struct apus_cross_peer *peer,
		      struct apus_message *message, enum apus_record kind)
{
	message->kind = kind;
	message->next = NULL;
	*peer->replies_tail = message;
	peer->replies_tail = &message->next;
	if (peer->index == port->index)
		return; /* the next poll finds it */
	port->counters[APUS_CROSS_REPLIES_WAITED]++;
	apus_cross_touch(port, peer);
}

static struct apus_message *pop_reply(struct apus_cross_peer *peer)
{
	struct apus_message *message = peer->replies;

	peer->replies = message->next;
	if (!peer->replies)
		peer->replies_tail = &peer->replies;
	return message;
}

static void stage_reply(struct apus_cross_port *port, struct apus_cross_peer *peer)
{
	struct apus_message *message = pop_reply(peer);
	uint64_t words[2] = {(uintptr_t)message};

	if (message->kind == APUS_RECORD_MESSAGE) {
		stage(port, peer, words, 1);
	} else {
		apus_call_answer_words(message, words);
		stage(port, peer, words, 2);
	}
}

static void stage_request(struct apus_cross_port *port, struct apus_cross_peer *peer)
{
	struct apus_request *request =
		apus_list_entry(apus_list_pop_front(&peer->requests), struct apus_request, link);

	stage(port, peer, request->words, request->count);
	request->done(request, 0);
}

static void stage_word(struct apus_cross_port *port, struct apus_cross_peer *peer, uint64_t word)
{
	stage(port, peer, &word, 1);
}

/* What is owed, in a few words at most. */
static void stage_owed(struct apus_cross_port *port, struct apus_cross_peer *peer)
{
	if (peer->owes_ended && has_room(peer, 1)) {
		stage_word(port, peer, (uint64_t)peer->owes_ended * 8 + APUS_RECORD_ENDED);
		peer->owes_ended = 0;
	}
	while (peer->owes && has_room(peer, 1)) {
		uint64_t first = peer->owes & -peer->owes;

		stage_word(port, peer, first * 8 + APUS_RECORD_PARTING);
		peer->owes &= (uint8_t)~first;
	}
}

/* What waits for room gets what there is, replies and requests by turns. Return: false: more waits. */
static bool stage_waiting(struct apus_cross_port *port, struct apus_cross_peer *peer)
{
	stage_owed(port, peer);
	while (somebody_waits(peer)) {
		if (!has_room(peer, APUS_RECORD_MAX))
			return false;
		if (peer->replies)
			stage_reply(port, peer);
		if (!apus_list_empty(&peer->requests) && has_room(peer, APUS_RECORD_MAX))
			stage_request(port, peer);
	}
	return !peer->owes_ended && !peer->owes;
}

/* --------------------------------------------------------------------------------------- parting */

/* Those that wait to get to a shard that leaves, or from one. */
static void refuse_all(struct apus_list *requests)
{
	struct apus_list *node;

	while ((node = apus_list_pop_front(requests))) {
		struct apus_request *request = apus_list_entry(node, struct apus_request, link);

		request->done(request, -ESHUTDOWN);
	}
}

static void refuse(struct apus_cross_peer *peer)
{
	struct apus_list *node;

	refuse_all(&peer->requests);
	refuse_all(&peer->posts_waiting);
	while ((node = apus_list_pop_front(&peer->watches))) {
		struct apus_cross_watch *watch =
			apus_list_entry(node, struct apus_cross_watch, link);

		watch->gone(watch);
	}
}

static void owe(struct apus_cross_port *port, struct apus_cross_peer *peer, enum apus_parting what)
{
	peer->owes |= (uint8_t)what;
	apus_cross_touch(port, peer);
}

static void peer_parts(struct apus_cross_port *port, struct apus_cross_peer *peer,
		       unsigned int what)
{
	peer->heard |= (uint8_t)what;
	if (what == APUS_PARTING_LEAVES) {
		peer->is_gone = true;
		peer->owes_ended = 0;
		refuse(peer);
		owe(port, peer, APUS_PARTING_LEAVES_SEEN);
	} else if (what == APUS_PARTING_GOES) {
		owe(port, peer, APUS_PARTING_GOES_SEEN);
	}
}

/* Has every other shard told us one of @what? */
static bool heard_from_all(const struct apus_cross_port *port, unsigned int what)
{
	for (unsigned int i = 0; i < port->count; i++)
		if (i != port->index && !(port->peers[i].heard & what))
			return false;
	return true;
}

/* But those that went: they do not look any more. */
static void owe_all(struct apus_cross_port *port, enum apus_parting what)
{
	for (unsigned int i = 0; i < port->count; i++)
		if (i != port->index && !(port->peers[i].heard & APUS_PARTING_GOES))
			owe(port, &port->peers[i], what);
}

/* Does anything wait for room that somebody may be waiting for? */
static bool is_behind(const struct apus_cross_port *port)
{
	for (unsigned int i = 0; i < port->dirty_count; i++) {
		const struct apus_cross_peer *peer = &port->peers[port->dirty[i]];

		if (peer->owes || !(peer->heard & APUS_PARTING_GOES))
			return true;
	}
	return false;
}

/*
 * Nothing is asked any more, neither of us nor by us, and all is answered. But an answer may be on
 * its way, and a cancel come towards it, which its caller waits to have back.
 */
static APUS_COLD bool go_if_all_is_answered(struct apus_cross_port *port)
{
	if (port->is_going || is_behind(port) || port->calls_in || port->calls_out ||
	    !heard_from_all(port, APUS_PARTING_LEAVES | APUS_PARTING_LEAVES_SEEN))
		return false;
	port->is_going = true;
	owe_all(port, APUS_PARTING_GOES);
	return true;
}

void apus_cross_refuse(struct apus_shard *shard)
{
	struct apus_cross_port *port = shard->slots[APUS_CROSS_SLOT];

	if (port)
		port->is_refusing = true;
}

void apus_cross_leave(struct apus_shard *shard)
{
	struct apus_cross_port *port = shard->slots[APUS_CROSS_SLOT];

	if (!port || port->is_leaving)
		return;
	port->is_refusing = port->is_leaving = true;
	for (unsigned int i = 0; i < port->count; i++)
		refuse(&port->peers[i]);
	owe_all(port, APUS_PARTING_LEAVES);
	go_if_all_is_answered(port); /* all others have gone */
}

bool apus_cross_has_left(const struct apus_shard *shard)
{
	const struct apus_cross_port *port = shard->slots[APUS_CROSS_SLOT];

	if (!port)
		return true;
	return port->is_going && !is_behind(port) &&
	       heard_from_all(port, APUS_PARTING_GOES | APUS_PARTING_GOES_SEEN);
}

/* ----------------------------------------------------------------------------- the end of a turn */

static struct apus_cross_port *port_of(struct apus_poller *p)
{
	return apus_container_of(p, struct apus_cross_port, poller);
}

/* One fence for all that is published. */
static void publish_all(struct apus_cross_port *port)
{
	unsigned int dirty_count = port->dirty_count, left = 0;

	for (unsigned int i = 0; i < dirty_count; i++) {
		struct apus_cross_peer *peer = &port->peers[port->dirty[i]];

		peer->is_dirty = !stage_waiting(port, peer);
		if (peer->staged_count)
			publish(port, peer);
	}
	APUS_RING_FENCE();
	for (unsigned int i = 0; i < dirty_count; i++) {
		struct apus_cross_peer *peer = &port->peers[port->dirty[i]];

		if (apus_unlikely(sleeps(peer)))
			wake(port, peer->port);
		if (peer->is_dirty)
			port->dirty[left++] = port->dirty[i];
	}
	port->dirty_count = left;
}

static void flush(struct apus_poller *p, int64_t now_ns)
{
	struct apus_cross_port *port = port_of(p);

	if (port->dirty_count)
		publish_all(port);
	if (apus_unlikely(port->is_leaving) && go_if_all_is_answered(port))
		publish_all(port);
}

/* ---------------------------------------------------------------------------------------- receive */

/* Return: how many words it had. */
static inline unsigned int take_record(struct apus_cross_port *port, unsigned int from,
				       const uint64_t *words)
{
	struct apus_cross_peer *peer = &port->peers[from];
	struct apus_message *message;

	switch ((enum apus_record)(words[0] & APUS_RECORD_BITS)) {
	case APUS_RECORD_MESSAGE:
		message = (struct apus_message *)(uintptr_t)words[0];
		message->fn(message);
		return 1;
	case APUS_RECORD_CALL:
		apus_call_take(port, from, words, false);
		return 3;
	case APUS_RECORD_CALL_MORE:
		apus_call_take(port, from, words, true);
		return 3;
	case APUS_RECORD_ANSWER:
		apus_call_answer(port, words[0] & ~APUS_RECORD_BITS, (int64_t)words[1]);
		return 2;
	case APUS_RECORD_POST:
		apus_post_take(port, from, words);
		return 3;
	case APUS_RECORD_ENDED:
		apus_post_ended(port, peer, (uint32_t)(words[0] / 8));
		return 1;
	case APUS_RECORD_PARTING:
		peer_parts(port, peer, (unsigned int)(words[0] / 8));
		return 1;
	}
	__builtin_unreachable(); /* nobody else writes into our rings */
}

static bool has_arrived(const struct apus_cross_port *port, const struct apus_ring_in *in,
			const int64_t *due_ns)
{
	return !due_ns || due_ns[in->tail & in->mask] <= apus_shard_now(port->shard);
}

static APUS_NOINLINE bool take_lines(struct apus_cross_port *port, unsigned int from)
{
	struct apus_ring_in *in = &port->in[from];
	const int64_t *due_ns = port->peers[from].due_in_ns;
	unsigned int lines = 0, count;
	const uint64_t *words;
	bool freed = false;

	while (lines < lines_per_poll && (words = apus_ring_peek(in, &count)) &&
	       has_arrived(port, in, due_ns)) {
		for (unsigned int at = 0; at < count;)
			at += take_record(port, from, words + at);
		freed |= apus_ring_take(in);
		lines++;
	}
	port->counters[APUS_CROSS_LINES_IN] += lines;
	if (freed) {
		struct apus_cross_port *sender = port->peers[from].port;

		APUS_RING_FENCE();
		if (__atomic_load_n(&sender->sleep.state, __ATOMIC_RELAXED) == APUS_CROSS_STARVED)
			wake(port, sender);
	}
	return lines > 0;
}

/* What was sent to ourselves before this turn. */
static APUS_NOINLINE void take_own(struct apus_cross_peer *self)
{
	struct apus_message *message = self->replies;

	self->replies = NULL;
	self->replies_tail = &self->replies;
	while (message) {
		struct apus_message *next = message->next;

		message->fn(message);
		message = next;
	}
}

static bool poll(struct apus_poller *p, int64_t now_ns)
{
	struct apus_cross_port *port = port_of(p);
	struct apus_cross_peer *self = &port->peers[port->index];
	bool any = false;
	unsigned int count;

	for (unsigned int i = 0; i < port->count; i++)
		if (apus_ring_peek(&port->in[i], &count))
			any |= take_lines(port, i);
	if (self->replies) {
		take_own(self);
		any = true;
	}
	return any;
}

/* -------------------------------------------------------------------------------------- sleep */

/* When there is something to take in or to send; looked at without taking it. */
static int64_t next_ns(struct apus_cross_port *port, int64_t now_ns)
{
	int64_t next_ns = port->peers[port->index].replies ? now_ns : APUS_NEVER;
	unsigned int count;

	for (unsigned int i = 0; i < port->count; i++) {
		const struct apus_ring_in *in = &port->in[i];

		if (!apus_ring_peek(in, &count))
			continue;

		const int64_t *due_ns = port->peers[i].due_in_ns;

		next_ns = apus_min(next_ns, due_ns ? due_ns[in->tail & in->mask] : now_ns);
	}
	for (unsigned int i = 0; i < port->dirty_count; i++)
		if (has_room(&port->peers[port->dirty[i]], APUS_RECORD_MAX))
			return now_ns;
	return next_ns;
}

static int64_t idle(struct apus_poller *p, enum apus_idle what, int64_t now_ns)
{
	struct apus_cross_port *port = port_of(p);
	uint32_t *state = &port->sleep.state;

	switch (what) {
	case APUS_IDLE_ASK:
		break;
	case APUS_IDLE_ARM:
		__atomic_store_n(state, port->dirty_count ? APUS_CROSS_STARVED : APUS_CROSS_ASLEEP,
				 __ATOMIC_RELAXED);
		APUS_RING_FENCE();
		break;
	case APUS_IDLE_WAKE:
		__atomic_store_n(state, APUS_CROSS_AWAKE, __ATOMIC_RELAXED);
		if (apus_unlikely(port->is_silent))
			apus_cross_not_silent(port);
		break;
	}
	return next_ns(port, now_ns);
}

static bool is_silent(struct apus_poller *p)
{
	struct apus_cross_port *port = port_of(p);

	/* Shards on a virtual clock are turned by somebody, who sees what all do. */
	return !port->shard->clock->is_virtual && apus_cross_silent(port);
}

const struct apus_poller_type apus_cross_poller_type = {
	.name = "mailbox",
	.poll = poll,
	.flush = flush,
	.idle = idle,
	.is_silent = is_silent,
};

/* ----------------------------------------------------------------------------- the public calls */

unsigned int apus_shard_index(void)
{
	const struct apus_cross_port *port = apus_cross_here();

	return port ? port->index : 0;
}

unsigned int apus_shard_count(void)
{
	const struct apus_cross_port *port = apus_cross_here();

	return port ? port->count : 1;
}

static int try_send(struct apus_cross_port *port, struct apus_cross_peer *peer,
		    struct apus_message *message)
{
	uint64_t word = (uintptr_t)message;

	message->from = port->index;
	if (peer->index == port->index) {
		apus_cross_reply(port, peer, message, APUS_RECORD_MESSAGE);
		return 0;
	}
	return apus_cross_put(port, peer, &word, 1) ? 0 : -EAGAIN;
}

int apus_message_send(unsigned int to, struct apus_message *message)
{
	struct apus_cross_port *port = apus_cross_here();
	int rc;

	if (!port || to >= port->count)
		return -EINVAL;
	rc = try_send(port, &port->peers[to], message);
	if (rc)
		port->counters[APUS_CROSS_FULL]++;
	return rc;
}

struct send_wait {
	struct apus_request request;
	struct apus_wait wait;
};

static void sent(struct apus_request *request, int rc)
{
	struct send_wait *w = apus_container_of(request, struct send_wait, request);

	w->request.count = 0; /* it is over */
	apus_wake(&w->wait, rc);
}

static bool cancel_send(struct apus_wait *wait)
{
	struct send_wait *w = apus_container_of(wait, struct send_wait, wait);

	apus_list_remove(&w->request.link);
	return false;
}

int apus_message_send_wait(unsigned int to, struct apus_message *message)
{
	static const struct apus_wait_type for_room = {.cancel = cancel_send};
	struct apus_cross_port *port = apus_cross_here();
	struct apus_cross_peer *peer;
	int rc;

	if (!port || to >= port->count)
		return -EINVAL;
	peer = &port->peers[to];
	if (apus_unlikely(port->is_leaving || peer->is_gone))
		return -ESHUTDOWN;
	rc = apus_checkpoint();
	if (rc || try_send(port, peer, message) == 0)
		return rc;

	struct send_wait w = {
		.request.words = {(uintptr_t)message}, .request.count = 1, .request.done = sent};

	apus_wait_init(&w.wait, &for_room, "room for a message", peer);
	apus_cross_request(port, peer, &w.request);
	rc = (int)apus_park(&w.wait);
	if (rc == -ECANCELED && !w.request.count) {
		rc = (int)w.wait.rc; /* it is on its way, whatever came after */
		apus_task_self()->must_cancel = true;
	}
	return rc;
}

void apus_message_reply(struct apus_message *message)
{
	struct apus_cross_port *port = apus_cross_here();
	struct apus_cross_peer *peer = &port->peers[message->from];
	uint64_t word = (uintptr_t)message;

	message->from = port->index;
	if (peer->index == port->index || !apus_cross_put(port, peer, &word, 1))
		apus_cross_reply(port, peer, message, APUS_RECORD_MESSAGE);
}
