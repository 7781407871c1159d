/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/cross/channel.h: items from tasks of any shard to tasks of any shard.
 *
 *	apus_channel_open(64, &ch);		// here is its home
 *	...
 *	rc = apus_channel_send(ch, order);	// on any shard; waits while 64 of this shard's are there
 *	rc = apus_channel_recv(ch, &item);	// on any shard; without a message only at home
 *	...
 *	apus_channel_close(ch);			// no more sends; what was sent can still be received
 *	apus_channel_free(ch);
 *
 * Items are pointers that the channel does not own; what one points to is the receiver's from then
 * on. All that one shard sends is received in the order in which it was sent; of several shards'
 * items one each is taken by turns. Every item that a send said 0 to is received once, or is left when
 * the channel is freed. A cancel loses none and doubles none.
 *
 * At most @capacity items of each shard are in it; who sends one more waits, first come first
 * served. So a shard that sends much keeps no other from sending.
 */
#ifndef APUS_RUNTIME_CROSS_CHANNEL_H
#define APUS_RUNTIME_CROSS_CHANNEL_H

#include "runtime/sync/event.h"

APUS_BEGIN_DECLS

struct apus_channel;

#define APUS_CHANNEL_CAPACITY_MAX (1u << 24)

/**
 * apus_channel_open - an empty channel, at home on this shard
 * @capacity: items of each sending shard in it, at most, > 0
 *
 * Joins the shards of the fabric that there is now. Takes 8 bytes * capacity for each of them. To be
 * freed before this shard leaves. Context: any, on a shard. Return: 0; -EINVAL; -ENOMEM.
 */
APUS_MUST_CHECK int apus_channel_open(uint32_t capacity, struct apus_channel **out);
/**
 * apus_channel_free - close it, and give its memory back; consumes @ch, always
 *
 * Waits until all shards know. Nobody may wait to receive, nor use it any more; who waits to send gets
 * -EPIPE first. Items that are left are the caller's to know of.
 *
 * Context: task on its home, suspends. A cancel is for the next wait.
 */
void apus_channel_free(struct apus_channel *ch);

/**
 * apus_channel_send - put @item in, waiting while as many of this shard's are in as may be
 *
 * Context: task on any shard, suspends.
 * Return:  0; -EPIPE once closed; -ECANCELED: not sent; -ESHUTDOWN: the channel's home has left, or this
 *          shard; -EINVAL: this shard is not of its fabric.
 */
APUS_MUST_CHECK int apus_channel_send(struct apus_channel *ch, void *item);
/** apus_channel_try_send - as send; -EAGAIN instead of waiting. Context: any, on any shard */
APUS_MUST_CHECK int apus_channel_try_send(struct apus_channel *ch, void *item);

/**
 * apus_channel_recv_many - take the next items, as many as there are, at most @n > 0; waits for one
 *
 * Away from home one call there, so that a few at a time are much cheaper than each alone.
 *
 * Context: task on any shard, suspends.
 * Return:  how many; -EPIPE once closed and empty; -ECANCELED: none taken; as apus_call_on().
 */
APUS_MUST_CHECK int64_t apus_channel_recv_many(struct apus_channel *ch, void **items, size_t n);
/** apus_channel_recv - as recv_many of one. Return: 0 */
APUS_MUST_CHECK int apus_channel_recv(struct apus_channel *ch, void **item);
/** apus_channel_try_recv - as recv; -EAGAIN instead of waiting. Context: any, at home. Return: also -EXDEV */
APUS_MUST_CHECK int apus_channel_try_recv(struct apus_channel *ch, void **item);

/**
 * apus_channel_close - no more sends, on any shard; what is in it can still be received
 *
 * Sends on other shards may succeed until they hear of it. Again: nothing. Context: any, at home; elsewhere a task, suspends. Return: 0; as apus_call_on().
 */
int apus_channel_close(struct apus_channel *ch);

/**
 * apus_channel_readable - set while a try_recv would not give -EAGAIN: for apus_select()
 *
 * Context: any, at home. Valid until the channel is freed.
 */
struct apus_event *apus_channel_readable(struct apus_channel *ch);
/** apus_channel_home - index of its shard. Context: any, on any shard */
unsigned int apus_channel_home(const struct apus_channel *ch);

APUS_END_DECLS

#endif
