/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/channel.h: three ways to pass values on that a queue is not (Tokio's names).
 *
 *	oneshot    one value, once, or the news that there will be none
 *	watch      the latest value: who looks late sees only that one
 *	broadcast  every value to every receiver; what happens to a slow one is chosen, not found out
 *
 * Values are pointers that the channel does not own. One shard.
 */
#ifndef APUS_RUNTIME_SYNC_CHANNEL_H
#define APUS_RUNTIME_SYNC_CHANNEL_H

#include "runtime/base/alloc.h"
#include "runtime/sync/waitq.h"

APUS_BEGIN_DECLS

/* ---- oneshot: embedded by the user; written by the calls below ---- */

struct apus_oneshot {
	struct apus_waitq receivers;
	void *value;
	bool is_sent, is_received, is_closed;
	uint32_t home; /* misuse.h */
};

/** apus_oneshot_init - nothing was sent. Context: any */
void apus_oneshot_init(struct apus_oneshot *o);
/** apus_oneshot_send - Return: 0; -EALREADY; -EPIPE once closed. Context: any, on the shard */
APUS_MUST_CHECK int apus_oneshot_send(struct apus_oneshot *o, void *value);
/** apus_oneshot_close - there will be no value; one that was sent can still be received. Context: any, on the shard */
void apus_oneshot_close(struct apus_oneshot *o);
/** apus_oneshot_recv - Context: task, suspends until it is sent. Return: 0; -EPIPE: closed without a value, or received before; -ECANCELED (the value stays); -EXDEV */
APUS_MUST_CHECK int apus_oneshot_recv(struct apus_oneshot *o, void **value);

/* ---- watch ---- */

struct apus_watch {
	struct apus_waitq receivers;
	void *value;
	uint64_t version; /* counts the sets; a receiver keeps the last one it saw */
	bool is_closed;
	uint32_t home; /* misuse.h */
};

/** apus_watch_init - @value is the first. Context: any */
void apus_watch_init(struct apus_watch *w, void *value);
/** apus_watch_set - a newer value; who waits for one is woken. Context: any, on the shard */
void apus_watch_set(struct apus_watch *w, void *value);
/** apus_watch_close - who waits, now or later, for a newer value gets -EPIPE. Context: any, on the shard */
void apus_watch_close(struct apus_watch *w);
/** apus_watch_get - the latest value. Context: any, on the shard */
static inline void *apus_watch_get(const struct apus_watch *w)
{
	return w->value;
}
/**
 * apus_watch_changed - wait for a value newer than @seen, and take note of it
 * @seen: the receiver's; 0 at first, so that the first call gives what is there
 *
 * Context: task, suspends when there is none. Return: 0 and *@value; -EPIPE; -ECANCELED; -EXDEV.
 */
APUS_MUST_CHECK int apus_watch_changed(struct apus_watch *w, uint64_t *seen, void **value);

/* ---- broadcast ---- */

enum apus_lag {
	APUS_LAG_DROP, /* a full ring forgets its oldest value; a receiver that missed some is told how many */
	APUS_LAG_WAIT, /* the sender waits for the slowest receiver */
};

struct apus_broadcast {
	struct apus_waitq receivers, senders;
	struct apus_list subscribed; /* struct apus_subscriber.link */
	struct apus_heap *heap;
	void **ring;
	uint32_t capacity;
	uint32_t home; /* misuse.h */
	uint64_t sent; /* values so far: the position of the next */
	enum apus_lag lag;
	bool is_closed;
};

/* One receiver; embedded by the user. */
struct apus_subscriber {
	struct apus_list link;
	struct apus_broadcast *broadcast;
	uint64_t next; /* position of the next value for it */
};

/** apus_broadcast_init - the last @capacity values are kept. Return: 0, -EINVAL, -ENOMEM. Context: any, on a shard */
APUS_MUST_CHECK int apus_broadcast_init(struct apus_broadcast *b, uint32_t capacity,
					enum apus_lag lag);
/** apus_broadcast_fini - nobody may wait or be subscribed any more. Context: any, on the shard */
void apus_broadcast_fini(struct apus_broadcast *b);
/** apus_broadcast_subscribe - receive what is sent from now on. Context: any, on the shard */
void apus_broadcast_subscribe(struct apus_broadcast *b, struct apus_subscriber *s);
/** apus_broadcast_unsubscribe - receive no more; again: nothing. Context: any, on the shard */
void apus_broadcast_unsubscribe(struct apus_subscriber *s);
/** apus_broadcast_send - Context: task, suspends with APUS_LAG_WAIT while the slowest has @capacity values before it. Return: 0; -EPIPE once closed; -ECANCELED; -EXDEV */
APUS_MUST_CHECK int apus_broadcast_send(struct apus_broadcast *b, void *value);
/** apus_broadcast_recv - the next value. Context: task, suspends. Return: 0; n > 0: n values were lost, *@value is the oldest that is left; -EPIPE once closed and all is received; -ECANCELED; -EXDEV */
APUS_MUST_CHECK int64_t apus_broadcast_recv(struct apus_subscriber *s, void **value);
/** apus_broadcast_close - no more sends. Context: any, on the shard */
void apus_broadcast_close(struct apus_broadcast *b);

APUS_END_DECLS

#endif
