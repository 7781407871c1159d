/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/cross/post.c: functions that run on another shard, and that nobody waits for.
 *
 * A post is three words, and none of the poster's memory, but for the context variables when there are
 * some: a snapshot of them travels, and is sent back once it was copied. The poster's shard counts
 * those that have not ended on each other; the other tells it how many have, once per turn.
 */
#include "runtime/cross/call.h"

#include "runtime/cross/callee.h"

#include <errno.h>

/* What a post inherits, if anything; of the poster's heap, and sent back to it. */
struct inheritance {
	struct apus_message message;
	struct apus_vars *vars;
	struct apus_heap *heap;
	apus_task_fn fn; /* to ourselves: no ring carries them */
	void *arg;
};

/* A post that shard @to had made has ended here. */
static void tell_ended(struct apus_cross_port *port, unsigned int to)
{
	struct apus_cross_peer *peer = &port->peers[to];

	if (to == port->index) {
		apus_post_ended(port, peer, 1);
	} else if (!peer->is_gone) {
		peer->owes_ended++;
		apus_cross_touch(port, peer);
	}
}

static int64_t run_post(void *arg)
{
	const struct apus_callee *c = arg;
	int64_t result = c->fn(c->arg);
	struct apus_cross_port *port = apus_cross_here();

	port->calls_in--;
	tell_ended(port, c->from);
	return result;
}

bool apus_post_runs(const struct apus_task *t)
{
	return t->fn == run_post;
}

/* A post that waits, for a place or for room; on the poster's stack. */
struct post {
	struct apus_request request;
	struct apus_wait wait;
	struct apus_cross_peer *peer;
	bool has_place; /* it counts in peer->posts_out */
};

static void drop_inheritance(struct apus_message *message)
{
	struct inheritance *i = apus_container_of(message, struct inheritance, message);

	apus_cross_here()->calls_out--;
	apus_vars_put(i->vars);
	apus_heap_free(i->heap, i);
}

static int new_inheritance(struct apus_cross_port *port, bool to_ourselves, uint64_t *word)
{
	struct apus_shard *s = apus_shard_current;
	struct apus_vars *vars = *apus_vars_current(s);
	struct inheritance *i;

	*word = 0;
	if (!vars && !to_ourselves)
		return 0;
	i = apus_heap_alloc(&s->heap, sizeof(*i));
	if (!i)
		return -ENOMEM;
	i->vars = apus_vars_get(vars);
	i->heap = &s->heap;
	i->message.fn = drop_inheritance;
	i->message.from = port->index;
	*word = (uintptr_t)i;
	port->calls_out++; /* until it is back */
	return 0;
}

static struct inheritance *inheritance_of(uint64_t word)
{
	return (struct inheritance *)(uintptr_t)(word & ~APUS_RECORD_BITS);
}

/* It was not sent. */
static void take_inheritance_back(const uint64_t *words)
{
	struct inheritance *i = inheritance_of(words[0]);

	if (i)
		drop_inheritance(&i->message);
}

static void post_failed(int rc)
{
	apus_report_unhandled(apus_shard_current,
			      &(struct apus_unhandled){
				      .message = "a post found no memory for its task",
				      .error = rc,
			      });
}

void apus_post_take(struct apus_cross_port *port, unsigned int from, const uint64_t *words)
{
	struct inheritance *i = inheritance_of(words[0]);
	const struct apus_callee c = {
		.fn = (apus_task_fn)(uintptr_t)words[1],
		.arg = (void *)(uintptr_t)words[2],
		.deadline_ns = APUS_NEVER,
		.from = from,
	};

	port->counters[APUS_CROSS_POSTS_IN]++;
	port->calls_in++;

	int rc = port->is_refusing ? -ESHUTDOWN
				   : apus_callee_start(run_post, &c, i ? i->vars : NULL);

	if (i)
		apus_message_reply(&i->message);
	if (!rc)
		return;
	port->counters[APUS_CROSS_POSTS_DROPPED]++;
	port->calls_in--;
	tell_ended(port, from);
	apus_promise_not_run(c.fn, c.arg, rc);
	if (rc != -ESHUTDOWN)
		post_failed(rc);
}

/* In the next turn. */
static void take_own_post(struct apus_message *message)
{
	struct inheritance *i = apus_container_of(message, struct inheritance, message);
	const uint64_t words[] = {(uintptr_t)i, (uintptr_t)i->fn, (uintptr_t)i->arg};
	struct apus_cross_port *port = apus_cross_here();

	message->fn = drop_inheritance;
	apus_post_take(port, port->index, words);
}

static void send_to_ourselves(struct apus_cross_port *port, struct apus_cross_peer *self,
			      const uint64_t *words)
{
	struct inheritance *i = inheritance_of(words[0]);

	i->fn = (apus_task_fn)(uintptr_t)words[1];
	i->arg = (void *)(uintptr_t)words[2];
	i->message.fn = take_own_post;
	apus_cross_reply(port, self, &i->message, APUS_RECORD_MESSAGE);
}

static void send_post(struct apus_cross_port *port, struct apus_cross_peer *peer,
		      struct apus_request *request)
{
	port->counters[APUS_CROSS_POSTS_OUT]++;
	if (peer->index != port->index) {
		apus_cross_request(port, peer, request);
		return;
	}
	send_to_ourselves(port, peer, request->words);
	request->done(request, 0);
}

void apus_post_ended(struct apus_cross_port *port, struct apus_cross_peer *peer, uint32_t count)
{
	apus_assert(peer->posts_out >= count);
	peer->posts_out -= count;
	while (peer->posts_out < port->cross->options.posts_max &&
	       !apus_list_empty(&peer->posts_waiting)) {
		struct apus_request *request = apus_list_entry(
			apus_list_pop_front(&peer->posts_waiting), struct apus_request, link);

		apus_container_of(request, struct post, request)->has_place = true;
		peer->posts_out++;
		send_post(port, peer, request);
	}
}

static void post_left(struct apus_request *request, int rc)
{
	struct post *post = apus_container_of(request, struct post, request);

	apus_wake(&post->wait, rc);
}

static bool cancel_post(struct apus_wait *wait)
{
	struct post *post = apus_container_of(wait, struct post, wait);

	apus_list_remove(&post->request.link);
	return false;
}

/* It was not posted after all: its place is the next one's. */
static void give_up(struct apus_cross_port *port, struct post *post)
{
	take_inheritance_back(post->request.words);
	if (post->has_place)
		apus_post_ended(port, post->peer, 1);
}

static int post_and_wait(struct apus_cross_port *port, struct post *post)
{
	static const struct apus_wait_type post_wait = {.cancel = cancel_post};
	int64_t rc;

	apus_wait_init(&post->wait, &post_wait, "room for a post", post->peer);
	port->counters[APUS_CROSS_REQUESTS_WAITED]++;
	post->request.done = post_left;
	if (post->has_place) {
		apus_list_push_back(&post->peer->requests, &post->request.link);
		apus_cross_touch(port, post->peer);
	} else {
		apus_list_push_back(&post->peer->posts_waiting, &post->request.link);
	}
	rc = apus_park(&post->wait);
	apus_keep_cancel(&post->wait, rc);
	rc = post->wait.rc;
	if (rc)
		give_up(port, post);
	return (int)rc;
}

static bool may_wait(void)
{
	const struct apus_task *self = apus_shard_current->current;

	return self && !apus_call_is_posted(self);
}

static int post_to(struct apus_cross_port *port, struct post *post)
{
	struct apus_cross_peer *peer = post->peer;

	post->has_place = peer->posts_out < port->cross->options.posts_max &&
			  apus_list_empty(&peer->posts_waiting);
	if (apus_likely(post->has_place)) {
		peer->posts_out++;
		if (peer->index == port->index) {
			send_to_ourselves(port, peer, post->request.words);
			port->counters[APUS_CROSS_POSTS_OUT]++;
			return 0;
		}
		if (apus_cross_put(port, peer, post->request.words, post->request.count)) {
			port->counters[APUS_CROSS_POSTS_OUT]++;
			return 0;
		}
	}
	if (may_wait())
		return post_and_wait(port, post);
	port->counters[APUS_CROSS_FULL]++;
	give_up(port, post);
	return -EAGAIN;
}

int apus_post_to(unsigned int shard, apus_task_fn fn, void *arg)
{
	struct apus_cross_port *port = apus_cross_here();
	struct post post;

	int rc = apus_cross_check(port, shard);

	if (rc)
		return rc;
	if (!port)
		return apus_spawn_detached(NULL, fn, arg, 0);
	post.peer = &port->peers[shard];
	post.request.words[1] = (uintptr_t)fn;
	post.request.words[2] = (uintptr_t)arg;
	post.request.count = 3;

	rc = new_inheritance(port, shard == port->index, &post.request.words[0]);

	if (rc)
		return rc;
	post.request.words[0] |= APUS_RECORD_POST;
	return post_to(port, &post);
}
