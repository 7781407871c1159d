/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/io/thread.h: calls that block, on a thread beside the shard (asyncio.to_thread).
 */
#ifndef APUS_RUNTIME_IO_THREAD_H
#define APUS_RUNTIME_IO_THREAD_H

#include "runtime/base/compiler.h"

APUS_BEGIN_DECLS

typedef int64_t (*apus_thread_fn)(void *arg);

/**
 * apus_to_thread - run @fn(@arg) on a worker thread and wait for its result
 *
 * At most 4 calls run at once per shard; more wait their turn, first come first served. A cancel is
 * delivered when @fn has returned, because @arg may be on the caller's stack: bound @fn itself. A
 * run that ends waits for it no longer than apus_shard_options.executor_wait_ns. On a virtual clock
 * no time goes by meanwhile.
 *
 * Context: task, suspends. Return: what @fn returned; -ECANCELED (result lost); -EAGAIN, no thread; -ENOMEM.
 */
APUS_MUST_CHECK int64_t apus_to_thread(apus_thread_fn fn, void *arg);

APUS_END_DECLS

#endif
