/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/cross/sharded.h: a service with one instance on each shard.
 *
 *	rc = apus_sharded_start(&(struct apus_sharded_options){
 *		.start = open_cache, .stop = close_cache, .arg = &config}, &caches);
 *	...
 *	rc = apus_sharded_call(caches, shard_of(key), lookup, &query);	// there, with its instance
 *	...
 *	rc = apus_sharded_stop(caches, 5 * APUS_SEC);
 *
 * Started in order of the shards, stopped in the opposite one. Each instance has a gate: calls
 * enter it, and an instance is stopped when the last one has left, or was cancelled at the deadline.
 */
#ifndef APUS_RUNTIME_CROSS_SHARDED_H
#define APUS_RUNTIME_CROSS_SHARDED_H

#include "runtime/cross/call.h"

APUS_BEGIN_DECLS

struct apus_sharded;

struct apus_sharded_options {
	/* A task on each shard; gives *@instance. Return: >= 0, -errno: then nothing is to be stopped there */
	int64_t (*start)(void *arg, void **instance);
	/* A task on each shard whose start succeeded; nobody uses the instance any more. It may take @drain_ns */
	int64_t (*stop)(void *instance, int64_t drain_ns, void *arg);
	void *arg;        /* handed to both; shared by all shards */
	int64_t drain_ns; /* when a start fails: for those that were started to stop again */
};

typedef int64_t (*apus_sharded_fn)(void *instance, void *arg);

/**
 * apus_sharded_start - start an instance on every shard, 0 first, one after the other
 * @options: borrowed until return; its arg kept until the service has stopped
 *
 * When one fails, or the caller is cancelled, those that were started are stopped, the last first.
 *
 * Context: task, suspends. Return: 0; what a start returned; -ENOMEM; -ECANCELED; as apus_call_on().
 */
APUS_MUST_CHECK int64_t apus_sharded_start(const struct apus_sharded_options *options,
					   struct apus_sharded **out);
/**
 * apus_sharded_stop - stop every instance, the last first; consumes @s, always
 * @drain_ns: for all of them together
 *
 * On each shard: calls get -EPIPE from now on; those inside may finish; at the deadline they are
 * cancelled, and waited for; then its stop runs, with what is left of the time. A cancel of the
 * caller is the deadline.
 *
 * Context: task on the shard that started it, suspends. Not from a call of it.
 * Return:  0; -ETIMEDOUT when calls had to be cancelled; the first error of a stop; -ECANCELED; -ESHUTDOWN: a
 *          shard had left before.
 */
int64_t apus_sharded_stop(struct apus_sharded *s, int64_t drain_ns);

/** apus_sharded_here - this shard's instance; NULL if it has none, or no more. Context: any, on any shard */
void *apus_sharded_here(const struct apus_sharded *s);

/**
 * apus_sharded_call - @fn(instance, @arg) on @shard, as apus_call_on()
 *
 * Context: task, suspends. Return: as apus_call_on(); -EPIPE: it stops, or has not started.
 */
APUS_MUST_CHECK int64_t apus_sharded_call(struct apus_sharded *s, unsigned int shard,
					  apus_sharded_fn fn, void *arg);
/** apus_sharded_call_all - the same on every shard at once, as apus_on_all(). Context: task, suspends */
APUS_MUST_CHECK int64_t apus_sharded_call_all(struct apus_sharded *s, apus_sharded_fn fn, void *arg,
					      int64_t *results);
/** apus_sharded_map_reduce - the same, and reduce the results, as apus_map_reduce(). Context: task, suspends */
APUS_MUST_CHECK int64_t apus_sharded_map_reduce(struct apus_sharded *s, apus_sharded_fn map,
						void *arg, apus_reduce_fn reduce, void *into);

APUS_END_DECLS

#endif
