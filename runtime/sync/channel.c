/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/channel.c: oneshot, watch, broadcast.
 */
#include "runtime/sync/channel.h"

#include "runtime/base/check.h"
#include "runtime/sched/misuse.h"
#include "runtime/sched/shard.h"

#include <errno.h>

/* ------------------------------------------------------------------------------------ oneshot */

void apus_oneshot_init(struct apus_oneshot *o)
{
	*o = (struct apus_oneshot){.home = apus_home_here()};
	apus_waitq_init(&o->receivers);
	apus_note(o, "initialised");
}

int apus_oneshot_send(struct apus_oneshot *o, void *value)
{
	if (o->is_closed)
		return -EPIPE;
	if (o->is_sent)
		return apus_misuse(-EALREADY, o, "second send into a oneshot");
	if (apus_home_check_debug(o, "send into a oneshot"))
		return -EXDEV;
	apus_note(o, "sent");
	o->is_sent = true;
	o->value = value;
	apus_waitq_wake_all(&o->receivers, 0);
	return 0;
}

void apus_oneshot_close(struct apus_oneshot *o)
{
	o->is_closed = true;
	apus_waitq_wake_all(&o->receivers, 0);
}

int apus_oneshot_recv(struct apus_oneshot *o, void **value)
{
	int rc = apus_checkpoint();

	while (!rc && !o->is_sent && !o->is_closed) {
		rc = apus_home_check(o, "recv from a oneshot");
		rc = rc ? rc : (int)apus_waitq_wait(&o->receivers, "oneshot");
	}
	if (rc)
		return rc;
	if (!o->is_sent || o->is_received)
		return -EPIPE;
	*value = o->value;
	o->is_received = true;
	return 0;
}

/* -------------------------------------------------------------------------------------- watch */

void apus_watch_init(struct apus_watch *w, void *value)
{
	*w = (struct apus_watch){.value = value, .version = 1, .home = apus_home_here()};
	apus_waitq_init(&w->receivers);
	apus_note(w, "initialised");
}

void apus_watch_set(struct apus_watch *w, void *value)
{
	(void)apus_home_check_debug(w, "set of a watch");
	w->value = value;
	w->version++;
	apus_waitq_wake_all(&w->receivers, 0);
}

void apus_watch_close(struct apus_watch *w)
{
	w->is_closed = true;
	apus_waitq_wake_all(&w->receivers, 0);
}

int apus_watch_changed(struct apus_watch *w, uint64_t *seen, void **value)
{
	int rc = apus_checkpoint();

	while (!rc && w->version == *seen && !w->is_closed) {
		rc = apus_home_check(w, "wait for a watch");
		rc = rc ? rc : (int)apus_waitq_wait(&w->receivers, "watch");
	}
	if (rc)
		return rc;
	if (w->version == *seen)
		return -EPIPE;
	*seen = w->version;
	*value = w->value;
	return 0;
}

/* ---------------------------------------------------------------------------------- broadcast */

int apus_broadcast_init(struct apus_broadcast *b, uint32_t capacity, enum apus_lag lag)
{
	struct apus_heap *heap = apus_shard_heap(apus_shard_self());

	if (!capacity)
		return -EINVAL;
	*b = (struct apus_broadcast){
		.heap = heap,
		.capacity = capacity,
		.lag = lag,
		.home = apus_home_here(),
	};
	apus_note(b, "initialised");
	apus_waitq_init(&b->receivers);
	apus_waitq_init(&b->senders);
	apus_list_init(&b->subscribed);
	b->ring = apus_heap_alloc(heap, capacity * sizeof(b->ring[0]));
	return b->ring ? 0 : -ENOMEM;
}

void apus_broadcast_fini(struct apus_broadcast *b)
{
	apus_must(apus_list_empty(&b->subscribed) && apus_waitq_empty(&b->senders));
	apus_heap_free(b->heap, b->ring);
	b->ring = NULL;
}

void apus_broadcast_subscribe(struct apus_broadcast *b, struct apus_subscriber *s)
{
	s->broadcast = b;
	s->next = b->sent;
	apus_list_push_back(&b->subscribed, &s->link);
}

void apus_broadcast_unsubscribe(struct apus_subscriber *s)
{
	apus_list_remove(&s->link);
	apus_waitq_wake_all(&s->broadcast->senders, 0); /* it may have been the slowest */
}

/* Is there a receiver that has not seen the value which the next one would overwrite? */
static bool is_full(const struct apus_broadcast *b)
{
	const struct apus_list *it;

	if (b->sent < b->capacity)
		return false;
	apus_list_for_each(it, &b->subscribed)
		if (apus_list_entry(it, struct apus_subscriber, link)->next + b->capacity <=
		    b->sent)
			return true;
	return false;
}

int apus_broadcast_send(struct apus_broadcast *b, void *value)
{
	int rc = apus_checkpoint();

	while (!rc && !b->is_closed && b->lag == APUS_LAG_WAIT && is_full(b)) {
		rc = apus_home_check(b, "send into a broadcast");
		rc = rc ? rc : (int)apus_waitq_wait(&b->senders, "broadcast send");
	}
	rc = rc ? rc : apus_home_check_debug(b, "send into a broadcast");
	if (rc)
		return rc;
	if (b->is_closed)
		return -EPIPE;
	b->ring[b->sent++ % b->capacity] = value;
	apus_waitq_wake_all(&b->receivers, 0);
	return 0;
}

int64_t apus_broadcast_recv(struct apus_subscriber *s, void **value)
{
	struct apus_broadcast *b = s->broadcast;
	int rc = apus_checkpoint();

	while (!rc && s->next == b->sent && !b->is_closed) {
		rc = apus_home_check(b, "recv from a broadcast");
		rc = rc ? rc : (int)apus_waitq_wait(&b->receivers, "broadcast recv");
	}
	if (rc)
		return rc;
	if (s->next == b->sent)
		return -EPIPE;

	uint64_t oldest = b->sent - apus_min(b->sent, (uint64_t)b->capacity);
	uint64_t lost = s->next < oldest ? oldest - s->next : 0;

	s->next += lost;
	*value = b->ring[s->next++ % b->capacity];
	if (b->lag == APUS_LAG_WAIT)
		apus_waitq_wake_all(&b->senders, 0);
	return (int64_t)lost;
}

void apus_broadcast_close(struct apus_broadcast *b)
{
	b->is_closed = true;
	apus_waitq_wake_all(&b->receivers, 0);
	apus_waitq_wake_all(&b->senders, 0);
}
