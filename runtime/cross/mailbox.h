/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/cross/mailbox.h: messages between shards.
 *
 * A fabric (struct apus_cross) joins n shards by one ring for each ordered pair, and a poller on each
 * shard. The shards may run in threads of their own, or all in one: then a hook delays what goes
 * between two of them, so that a simulated world has as many orders as chance wants.
 *
 * A message is the caller's memory: its function runs on the receiving shard's loop, and from then on
 * the message is that shard's, until it sends it back (apus_message_reply) or for good. All that one
 * shard sends another arrives in the order in which it was sent; a request that waits for room is
 * sent when it gets it.
 *
 * What was sent in a turn of the loop is published at its end, in as few lines as it fits in; at
 * once, when the receiver sleeps. What a ring has room for is what its receiver granted by taking
 * lines out of it. When there is none, requests wait, each where it was made: a call's task is
 * parked, first come first served; who is no task gets -EAGAIN. Replies never wait for the sake of
 * others and never fail: one that finds no room is linked into a list, which takes no memory.
 *
 * No deadlock. No loop ever waits: each takes in what comes, bounded per turn, whether or not it can
 * send. So every ring empties as long as its receiver turns, and everything that waits for room gets
 * it, replies and requests by turns. A request holds nothing that another needs once it was taken in;
 * so calls that call back, to any depth, wait only for each other's functions. The one exception,
 * posts, which hold a place until they ended, is spoken of at apus_post_to(). A shard that does not
 * turn stops only those that wait for it; what it does not take costs them a ring, and not more.
 *
 * No lost wake-up. A shard that is about to sleep sets `asleep`, passes a fence, looks into its rings
 * once more, and sleeps. A sender publishes, passes a fence, and reads `asleep`. The fences are
 * sequentially consistent and so come in one order: if the sender's is first, the look finds the
 * line; if the sleeper's is first, the sender finds `asleep` set and rings the bell, which outlasts
 * the moment between look and sleep. A sender that waits for room goes to sleep by the same rule, with
 * `starved` for `asleep` and the receiver's `freed` for the line. tests/runtime/cross/test_model.c
 * goes through all interleavings, and finds the lost wake-up when a fence is taken away.
 */
#ifndef APUS_RUNTIME_CROSS_MAILBOX_H
#define APUS_RUNTIME_CROSS_MAILBOX_H

#include "runtime/base/compiler.h"

APUS_BEGIN_DECLS

struct apus_cross;
struct apus_message;
struct apus_shard;

#define APUS_CROSS_SHARDS_MAX 256

typedef void (*apus_message_fn)(struct apus_message *message);

/* Embedded in what it is about. */
struct apus_message {
	apus_message_fn fn;        /* set by the owner before each sending; must not suspend */
	struct apus_message *next; /* the mailbox's, while it waits for room */
	uint32_t from;             /* index of the shard that sent it; written by each sending */
	uint32_t kind;             /* the mailbox's */
};

struct apus_cross_options {
	uint32_t
		ring_lines; /* lines of 64 bytes per ring, a power of two from 8 on; 0: 256 to 32, by count */
	uint32_t posts_max; /* apus_post_to() that one shard may have going on another; 0: 1024 */
	/*
	 * For shards of one thread: how long in ns what is published now takes from one shard to
	 * another. What goes between the same two stays in order. NULL: no time
	 */
	int64_t (*delay_ns)(void *arg, unsigned int from, unsigned int to);
	void *delay_arg;
};

/**
 * apus_cross_open - join @count shards
 * @shards:  open; kept until each is closed or apus_cross_close(); none may turn meanwhile
 * @options: borrowed until return; NULL: defaults
 *
 * Context: thread. Return: 0; -EINVAL: no shard, too many, lines; -EBUSY: a shard is joined already; -ENOMEM.
 */
APUS_MUST_CHECK int apus_cross_open(struct apus_shard *const *shards, unsigned int count,
				    const struct apus_cross_options *options,
				    struct apus_cross **out);

/**
 * apus_cross_close - give its memory back
 *
 * Shards that are still open leave it; none may turn any more, and nothing may be on its way that
 * anybody waits for. Context: thread, when no shard turns; NULL does nothing.
 */
void apus_cross_close(struct apus_cross *cross);

/**
 * apus_cross_refuse - calls and posts that come to this shard from now on are not run
 *
 * Calls are answered -ESHUTDOWN, posts dropped and counted. Those that run go on, messages flow, and
 * calls that it makes of others work. Nothing without a fabric. Context: any, on the shard.
 */
void apus_cross_refuse(struct apus_shard *shard);

/**
 * apus_cross_leave - begin to part: this shard takes no more calls and posts, and makes none
 *
 * From now on calls and posts to it give -ESHUTDOWN, here and on the others, also those that wait for
 * room or arrive meanwhile; those that run go on. The shard must go on turning until
 * apus_cross_has_left(), as must the others, which have to be told. Nothing when there is no fabric,
 * or when it was called before.
 *
 * Context: any, on the shard.
 */
void apus_cross_leave(struct apus_shard *shard);

/**
 * apus_cross_has_left - all have been told, all that was called here has answered, and all that was called from here
 *
 * Then nothing comes any more, and the shard may stop turning and be closed. Without a fabric: true. Context: any, on the shard.
 */
bool apus_cross_has_left(const struct apus_shard *shard);

/** apus_shard_index - the number of this shard in its fabric; 0 without one. Context: any, on a shard */
unsigned int apus_shard_index(void);
/** apus_shard_count - how many shards the fabric joins; 1 without one. Context: any, on a shard */
unsigned int apus_shard_count(void);

/**
 * apus_message_send - have @message's function run on shard @to
 * @message: its fn is set; the receiver's from here on, unless this fails
 *
 * To the shard itself: it runs in the next turn. Also to and from shards that leave, as long as they
 * turn; what is still in a ring when the fabric is closed nobody has touched: it is its owner's.
 *
 * Context: any, on a shard; does not suspend. Return: 0; -EAGAIN: no room; -EINVAL: no such shard.
 */
APUS_MUST_CHECK int apus_message_send(unsigned int to, struct apus_message *message);

/**
 * apus_message_send_wait - as apus_message_send(), and wait for room, first come first served
 *
 * Context: task, suspends if there is no room. Return: 0, -EINVAL; -ESHUTDOWN: it, or this shard, leaves; -ECANCELED: not sent.
 */
APUS_MUST_CHECK int apus_message_send_wait(unsigned int to, struct apus_message *message);

/**
 * apus_message_reply - send @message back to where it came from, whether or not there is room
 * @message: was received here; its fn is set anew if another is to run there. Or it answers what came by
 *           another way, as a call: then its fn and its `from` are set
 *
 * A shard that left must have its messages back before, or not want them. Context: any, on a shard; does not suspend.
 */
void apus_message_reply(struct apus_message *message);

APUS_END_DECLS

#endif
