/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/cross/internal.h: what the mailbox and the calls know of each other: the port of a shard,
 * and its peers.
 */
#ifndef APUS_RUNTIME_CROSS_INTERNAL_H
#define APUS_RUNTIME_CROSS_INTERNAL_H

#include "runtime/cross/mailbox.h"
#include "runtime/cross/ring.h"
#include "runtime/sched/internal.h"

#include <errno.h>
#include <pthread.h>

#define APUS_CROSS_SLOT (APUS_SHARD_SLOTS - 2) /* of apus_shard_slot(): after the threads' */

/*
 * A record is one to three words of a line; the low three bits of the first say what it is, since
 * what it points to is aligned. So what is small travels in the line itself, and the other shard
 * touches none of our memory.
 */
enum apus_record {
	APUS_RECORD_MESSAGE,   /* message */
	APUS_RECORD_CALL,      /* call; fn; arg */
	APUS_RECORD_CALL_MORE, /* the same, and there is more to be read in the call */
	APUS_RECORD_ANSWER,    /* call; result */
	APUS_RECORD_POST,      /* what it inherits, or NULL; fn; arg */
	APUS_RECORD_ENDED,     /* how many posts, times 8 */
	APUS_RECORD_PARTING,   /* enum apus_parting, times 8 */
};
#define APUS_RECORD_BITS UINT64_C(7)
#define APUS_RECORD_MAX  3 /* words */

/* What shards that part tell each other; each once. Bits of what is owed, and of what was heard. */
enum apus_parting {
	APUS_PARTING_LEAVES = 1 << 0,      /* I make no requests any more, and take none */
	APUS_PARTING_LEAVES_SEEN = 1 << 1, /* I make none of you any more */
	APUS_PARTING_GOES = 1 << 2,        /* all my answers are ahead of this, and I await none */
	APUS_PARTING_GOES_SEEN = 1 << 3,   /* I have them, and all my cancels are ahead of this */
};

/* Waits for room; in the memory of who asks. */
struct apus_request {
	struct apus_list link; /* in peer->requests, or in peer->posts_waiting */
	uint64_t words[APUS_RECORD_MAX];
	uint32_t count;                                     /* of them */
	void (*done)(struct apus_request *request, int rc); /* 0: sent; -ESHUTDOWN */
};

/* Wants to be told when a shard leaves; in the memory of who waits for something of it. */
struct apus_cross_watch {
	struct apus_list link; /* in peer->watches; unlinked when it is told */
	void (*gone)(struct apus_cross_watch *watch); /* it has left, or we do */
};

/* What one shard knows of another. */
struct apus_cross_peer {
	struct apus_ring_out out;
	uint64_t staged
		[APUS_RING_WORDS]; /* the next line, not published yet: then the ring has room for it */
	uint32_t staged_count;
	uint32_t index;
	struct apus_cross_port *port; /* its own; to it: `sleep` only */
	int64_t *due_ns;              /* in simulation: when each line of the ring there arrives */
	const int64_t *due_in_ns;     /* the same of the ring from there */
	int64_t due_last_ns;
	bool is_dirty;                  /* is in port->dirty */
	bool is_gone;                   /* it told us that it leaves */
	uint8_t owes;                   /* enum apus_parting: to be told */
	uint8_t heard;                  /* the same: it told us */
	uint32_t owes_ended;            /* posts of its that ended here, and it was not told */
	uint32_t posts_out;             /* of ours, going on there */
	struct apus_list requests;      /* struct apus_request.link, oldest first: wait for room */
	struct apus_list posts_waiting; /* the same: wait for posts to end */
	struct apus_list watches;       /* struct apus_cross_watch.link: wait for something else */
	struct apus_message
		*replies; /* wait for room, oldest first; to ourselves: for the next turn */
	struct apus_message **replies_tail;
};

#define APUS_CROSS_COUNTERS(X)                                 \
 X(RECORDS_OUT, "records_out")                                 \
 X(LINES_OUT, "lines_out")                                     \
 X(LINES_IN, "lines_in")                                       \
 X(BELLS, "bells")                     /* rung for sleepers */ \
 X(REQUESTS_WAITED, "requests_waited") /* for room */          \
 X(REPLIES_WAITED, "replies_waited")                           \
 X(FULL, "full") /* -EAGAIN */                                 \
 X(CALLS_OUT, "calls_out")                                     \
 X(CALLS_IN, "calls_in")                                       \
 X(CALLS_REFUSED, "calls_refused") /* -ESHUTDOWN, -ENOMEM */   \
 X(POSTS_OUT, "posts_out")                                     \
 X(POSTS_IN, "posts_in")                                       \
 X(POSTS_DROPPED, "posts_dropped") /* arrived too late, or found no memory */

enum apus_cross_counter {
#define X(id, name) APUS_CROSS_##id,
	APUS_CROSS_COUNTERS(X)
#undef X
	APUS_CROSS_COUNTER_COUNT,
};

/* What others may see of a shard that has nothing to do. */
enum apus_cross_sleep {
	APUS_CROSS_AWAKE,
	APUS_CROSS_ASLEEP,  /* ring the bell when you publish */
	APUS_CROSS_STARVED, /* ... and when you free lines */
};

struct apus_cross_port {
	struct apus_poller poller;
	struct apus_cross *cross;
	struct apus_shard *shard; /* NULL once it was closed */
	unsigned int index, count;
	struct apus_ring_in *in;       /* `count`: from each shard */
	struct apus_cross_peer *peers; /* `count`: to each; our own has no ring */
	uint16_t *dirty;               /* indices of peers with something to be published */
	unsigned int dirty_count;
	bool is_refusing; /* runs no more calls and posts */
	bool is_leaving;  /* nor makes any */
	bool is_going;    /* and told the others that all was answered */
	bool is_silent; /* it sleeps, and nothing from outside can wake it; under cross->silence */
	size_t calls_out;          /* not answered; and posts' inheritance not yet back */
	size_t calls_in;           /* tasks for others that have not ended: calls and posts */
	struct apus_task *started; /* the callee that runs eagerly, until it suspends or ends */
	uint64_t counters[APUS_CROSS_COUNTER_COUNT];
	struct apus_metrics_block metrics;
	struct apus_closer closer;

	struct {
		uint32_t state; /* enum apus_cross_sleep; the only word that others write, too */
	} APUS_ALIGNED(APUS_RING_APART) sleep;
} APUS_ALIGNED(APUS_RING_APART);

struct apus_cross {
	struct apus_heap heap; /* used by open and close only */
	unsigned int count;
	struct apus_cross_options options;
	struct apus_cross_port *ports;
	pthread_mutex_t silence; /* over is_silent of all, and said_deadlock */
	bool said_deadlock;
};

/* The port of this shard; NULL without a fabric. */
static inline struct apus_cross_port *apus_cross_here(void)
{
	return apus_shard_current->slots[APUS_CROSS_SLOT];
}

/** apus_cross_check - may calls be made of shard @to, which may be ourselves? Return: 0, -EINVAL, -ESHUTDOWN */
static inline int apus_cross_check(const struct apus_cross_port *port, unsigned int to)
{
	if (apus_unlikely(!port))
		return to ? -EINVAL : 0;
	if (apus_unlikely(to >= port->count))
		return -EINVAL;
	if (apus_unlikely(port->is_leaving || port->peers[to].is_gone))
		return -ESHUTDOWN;
	return apus_unlikely(port->is_refusing) && to == port->index ? -ESHUTDOWN : 0;
}

/* mailbox.c */

extern const struct apus_poller_type apus_cross_poller_type;

/**
 * apus_cross_put - stage a record for @peer, if there is room and nobody waits for some
 *
 * Return: false: there is none.
 */
APUS_MUST_CHECK bool apus_cross_put(struct apus_cross_port *port, struct apus_cross_peer *peer,
				    const uint64_t *words, unsigned int count);
/** apus_cross_request - send it when there is room; @request->done() may be called before this returns */
void apus_cross_request(struct apus_cross_port *port, struct apus_cross_peer *peer,
			struct apus_request *request);
/** apus_cross_reply - link @message, of a kind, into what waits for room */
void apus_cross_reply(struct apus_cross_port *port, struct apus_cross_peer *peer,
		      struct apus_message *message, enum apus_record kind);
/** apus_cross_touch - something is due to @peer at the end of the turn */
void apus_cross_touch(struct apus_cross_port *port, struct apus_cross_peer *peer);

/* deadlock.c */

/** apus_cross_silent - in debug mode: it will sleep, and only other shards can wake it. Return: false */
bool apus_cross_silent(struct apus_cross_port *port);
/** apus_cross_not_silent - it is awake again; nobody looks at it any more */
void apus_cross_not_silent(struct apus_cross_port *port);

/* call.c */

/** apus_call_take - a call has arrived from shard @from. @more: read the rest in the call */
void apus_call_take(struct apus_cross_port *port, unsigned int from, const uint64_t *words,
		    bool more);
/** apus_call_answer - the answer to one of ours has; @word: the first of its record */
void apus_call_answer(struct apus_cross_port *port, uint64_t word, int64_t result);
/** apus_call_answer_words - of a call whose answer has been waiting for room */
void apus_call_answer_words(struct apus_message *message, uint64_t *words);
/** apus_post_take - a post has arrived from shard @from */
void apus_post_take(struct apus_cross_port *port, unsigned int from, const uint64_t *words);
/** apus_promise_not_run - the post of a promise's task was dropped. Nothing if @fn is another post's */
void apus_promise_not_run(apus_task_fn fn, void *arg, int rc);
/** apus_post_ended - @count of our posts on @peer have ended */
void apus_post_ended(struct apus_cross_port *port, struct apus_cross_peer *peer, uint32_t count);

#endif
