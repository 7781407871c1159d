/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/telemetry.h: a running application's tasks, asked for from outside over DPDK's telemetry.
 *
 *	/apus/tasks[,SHARD[,AFTER]]   tasks, of all shards or of one with an id above AFTER, 48 at most: by
 *	                              "SHARD/ID" the name, state, what it waits for, and which task
 *	/apus/tree[,SHARD][,stacks]   the await trees, a line for each task; with stacks
 *
 * A shard that does not answer within a second is named, and does not hold the others up.
 * dpdk-telemetry.py -f apus-<pid> speaks to the socket.
 */
#ifndef APUS_NET_TELEMETRY_H
#define APUS_NET_TELEMETRY_H

#include "runtime/base/compiler.h"

APUS_BEGIN_DECLS

struct apus_shards;

/** apus_telemetry_open - answer for @shards, once per process, until close. EAL runs. Context: thread. Return: 0, -EALREADY, -errno of DPDK */
APUS_MUST_CHECK int apus_telemetry_open(const struct apus_shards *shards);
/** apus_telemetry_close - later questions get no answer; before the shards are closed. Context: thread */
void apus_telemetry_close(void);

APUS_END_DECLS

#endif
