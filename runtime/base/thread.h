/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/base/thread.h: a thread beside a shard: a worker, a watchdog.
 *
 * Internal.
 */
#ifndef APUS_RUNTIME_BASE_THREAD_H
#define APUS_RUNTIME_BASE_THREAD_H

#include "runtime/base/compiler.h"

#include <pthread.h>

/**
 * apus_thread_start - start @fn(@arg) on a thread that takes no signals
 * @name: at most 15 bytes
 *
 * Signals are the shard's thread's business, so all are blocked.
 * Context: thread. Return: 0, -EAGAIN.
 */
APUS_MUST_CHECK int apus_thread_start(pthread_t *thread, void *(*fn)(void *arg), void *arg,
				      const char *name);

/** apus_thread_start_shard - as apus_thread_start(), for a shard's: it takes faults, SIGPROF and SIGURG (the watchdog's) */
APUS_MUST_CHECK int apus_thread_start_shard(pthread_t *thread, void *(*fn)(void *arg), void *arg,
					    const char *name);

/** apus_thread_leave_core - let the calling thread run on any core: it inherited a pinned shard's */
void apus_thread_leave_core(void);

#endif
