/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/poller.h: the one hook by which the world attaches to a shard's loop.
 *
 * The network stack, the mailbox and io_uring are pollers. One turn of the loop is: poll all,
 * timers, ready, flush all. The turn's time comes down as now_ns.
 */
#ifndef APUS_RUNTIME_SCHED_POLLER_H
#define APUS_RUNTIME_SCHED_POLLER_H

#include "runtime/base/list.h"

APUS_BEGIN_DECLS

struct apus_poller;
struct apus_shard;

enum apus_idle {
	APUS_IDLE_ASK,  /* nothing is armed: say when you want to be polled again */
	APUS_IDLE_ARM,  /* the shard is about to sleep: arm your file descriptor; same answer */
	APUS_IDLE_WAKE, /* the shard woke up: disarm; the answer does not matter */
};

struct apus_poller_type {
	const char *name;
	/* Take in what is there, bounded. Return: true if there was anything. */
	bool (*poll)(struct apus_poller *p, int64_t now_ns);
	/* Send out what the turn's tasks produced. May be NULL. */
	void (*flush)(struct apus_poller *p, int64_t now_ns);
	/*
	 * Return: the time at which it must be polled at the latest: APUS_NEVER when only its file
	 * descriptor (apus_shard_watch()) or somebody else's call can bring news; @now_ns or less
	 * when it cannot wait at all.
	 */
	int64_t (*idle)(struct apus_poller *p, enum apus_idle what, int64_t now_ns);
	/*
	 * In debug mode, armed and before a sleep that nothing else of the shard will end: will nothing
	 * come by this poller either? Return: true: that is a deadlock. NULL: what comes by it is the
	 * world's, and can always come.
	 */
	bool (*is_silent)(struct apus_poller *p);
};

struct apus_poller {
	struct apus_list link; /* in the shard's pollers, in order of registration */
	const struct apus_poller_type *type;
};

/** apus_poller_register - keeps @p until unregistered. Context: any, on the shard */
void apus_poller_register(struct apus_shard *shard, struct apus_poller *p,
			  const struct apus_poller_type *type);
/** apus_poller_unregister - is polled no more; its memory is the owner's again. Context: any, on the shard */
void apus_poller_unregister(struct apus_poller *p);

APUS_END_DECLS

#endif
