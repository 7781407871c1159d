/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/debug.h: debug mode: what a shard that was opened with it keeps and looks for.
 *
 * Internal; off unless apus_shard_options.debug or APUS_DEBUG=1. It is fixed while a shard is open,
 * so that the hot paths need one predictable branch on shard->is_debug at most.
 */
#ifndef APUS_RUNTIME_SCHED_DEBUG_H
#define APUS_RUNTIME_SCHED_DEBUG_H

#include "runtime/sched/shard.h"

#include <stdio.h>

#define APUS_DEBUG_FRAMES      8
#define APUS_DEBUG_OWNER_BYTES 112

/* Right under each task, on its stack. */
struct apus_debug_record {
	int64_t since_ns; /* it waits for what it waits for, or was spawned */
	uint32_t frames_count;
	uint32_t unused;
	void *frames[APUS_DEBUG_FRAMES];     /* where it was spawned, innermost first */
	char owners[APUS_DEBUG_OWNER_BYTES]; /* "main > serve": who spawned it, and who them */
};

/** apus_debug_open - Return: 0, also without debug mode; -ENOMEM, -EAGAIN */
APUS_MUST_CHECK int apus_debug_open(struct apus_shard *s, const struct apus_shard_options *o);
/** apus_debug_close - ends the watchdog */
void apus_debug_close(struct apus_shard *s);
/** apus_debug_report_leaks - at the end, before memory is given back: tasks that are left, handles that nobody spent */
void apus_debug_report_leaks(struct apus_shard *s);
/** apus_debug_report_heap - when all of the shard's own memory is back */
void apus_debug_report_heap(const struct apus_shard *s);

/* The hooks; called only when shard->is_debug. */

/** apus_debug_spawned - notes who spawned @t. Return: where its stack may begin */
APUS_COLD char *apus_debug_spawned(struct apus_shard *s, struct apus_task *t);
/** apus_debug_waits - the running task is about to wait */
APUS_COLD void apus_debug_waits(struct apus_shard *s);
/** apus_debug_sleeps - the shard is about to sleep: says once if nothing can wake it */
APUS_COLD void apus_debug_sleeps(struct apus_shard *s);

/** apus_debug_record_of - NULL if its shard is not in debug mode */
const struct apus_debug_record *apus_debug_record_of(const struct apus_task *t);

/** apus_debug_spawn_place - where @t was spawned, as far as known; @out has APUS_SYMBOL_TEXT_SIZE bytes */
void apus_debug_spawn_place(const struct apus_task *t, char *out);

/**
 * apus_wrong_shard - @t was used from another shard than its own: in debug mode says so
 * @what:  "await", "wake": what was tried
 * @place: address of the call
 *
 * Context: any. Return: -EXDEV
 */
APUS_COLD int apus_wrong_shard(const struct apus_task *t, const char *what, const void *place);

/**
 * apus_debug_wakes_elsewhere - @t is about to be woken by another shard than its own
 *
 * Returns where one thread runs both, as a simulated world does: that works. On two threads it would
 * corrupt the other's queues, so it ends the process. Context: any.
 */
APUS_COLD void apus_debug_wakes_elsewhere(const struct apus_task *t, const void *place);

/* slow.c: the watchdog; shard->slow. */
APUS_MUST_CHECK int apus_slow_open(struct apus_shard *s, int64_t limit_ns);
void apus_slow_close(struct apus_shard *s);

#endif
