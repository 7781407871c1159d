/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/telemetry.h: a running application's tasks, asked for from outside over DPDK's telemetry.
 *
 *	/apus/tasks[,AFTER]  tasks with an id above AFTER, 48 at most: by id, the name, state, what it waits for
 *	/apus/tree[,stacks]  the await tree, a line each; with stacks
 *
 * dpdk-telemetry.py -f apus-<pid> speaks to the socket.
 */
#ifndef APUS_NET_TELEMETRY_H
#define APUS_NET_TELEMETRY_H

#include "runtime/base/compiler.h"

APUS_BEGIN_DECLS

struct apus_shard;

/** apus_telemetry_open - answer for @shard, one per process, until close. EAL runs. Context: thread. Return: 0, -EALREADY, -errno of DPDK */
APUS_MUST_CHECK int apus_telemetry_open(struct apus_shard *shard);
/** apus_telemetry_close - later questions get no answer. Context: the shard's thread, outside of tasks */
void apus_telemetry_close(void);

APUS_END_DECLS

#endif
