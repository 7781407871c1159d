/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/cross/deadlock.c: all shards of a fabric wait, and nothing can wake any of them.
 *
 * In debug mode a shard that is about to sleep, and whom nothing from outside of the fabric can wake
 * (apus_debug_sleeps() says what that is), says so here, until it wakes. The last one to say it looks
 * whether anything is on its way between them: each has sent and taken its lines before it said so,
 * and does neither before it has taken that back, under one lock; so if as many lines were taken as
 * were sent, the rings are empty and stay so. While one shard only can be waked by the world there is
 * no deadlock, though others may wait for ever: who waits for what, the dumps tell.
 *
 * The dump looks at shards whose threads sleep, or wait for the lock to wake.
 */
#include "runtime/base/log.h"
#include "runtime/cross/internal.h"
#include "runtime/sched/dump.h"

#include <stdio.h>

/* Under the lock: those that are silent do not turn. */
static bool nothing_will_come(const struct apus_cross *cross)
{
	uint64_t lines = 0;
	size_t tasks = 0;

	for (unsigned int i = 0; i < cross->count; i++) {
		const struct apus_cross_port *port = &cross->ports[i];

		if (!port->is_silent || port->dirty_count || atomic_load(&port->shard->inbox->head))
			return false;
		lines += port->counters[APUS_CROSS_LINES_OUT];
		lines -= port->counters[APUS_CROSS_LINES_IN];
		tasks += port->shard->tasks_live;
	}
	return tasks && !lines;
}

static void say(const struct apus_cross *cross)
{
	flockfile(stderr);
	apus_log(WARN, "debug: deadlock: nothing is ready on any shard, no timer is armed, no I/O "
		       "is awaited and nothing is on its way between them, so only a signal or "
		       "another thread can wake the tasks that wait:");
	for (unsigned int i = 0; i < cross->count; i++) {
		struct apus_shard *shard = cross->ports[i].shard;

		fprintf(stderr, "shard %u: ", i);
		apus_shard_dump_tree(shard, stderr, APUS_DUMP_STACKS);
	}
	funlockfile(stderr);
}

bool apus_cross_silent(struct apus_cross_port *port)
{
	struct apus_cross *cross = port->cross;

	pthread_mutex_lock(&cross->silence);
	port->is_silent = true;
	if (!cross->said_deadlock && nothing_will_come(cross)) {
		cross->said_deadlock = true;
		say(cross);
	}
	pthread_mutex_unlock(&cross->silence);
	return false; /* it has been told */
}

void apus_cross_not_silent(struct apus_cross_port *port)
{
	pthread_mutex_lock(&port->cross->silence);
	port->is_silent = false;
	pthread_mutex_unlock(&port->cross->silence);
}
