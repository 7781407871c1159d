/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/base/log.h: one line to stderr for start, stop, configuration and faults of the host.
 *
 * Never per packet and never for what a peer did: that is counted (metrics.h). Each call site is
 * limited to 10 lines a second; what was left out is said with the next line.
 */
#ifndef APUS_RUNTIME_BASE_LOG_H
#define APUS_RUNTIME_BASE_LOG_H

#include "runtime/base/compiler.h"

APUS_BEGIN_DECLS

enum apus_log_level {
	APUS_LOG_ERROR,
	APUS_LOG_WARN,
	APUS_LOG_INFO,
	APUS_LOG_DEBUG,
};

/* One per call site; zeroed by being static. */
struct apus_log_site {
	int64_t second;    /* the second that `lines` counts in */
	uint32_t lines;    /* said in that second */
	uint32_t left_out; /* not said since the last line */
};

/** apus_log_set_level - say lines up to @level from now on. Context: thread, before there are shards */
void apus_log_set_level(enum apus_log_level level);
/** apus_log_set_shard - lines of this thread name shard @number from now on; < 0: none. Context: any */
void apus_log_set_shard(int number);
/** apus_log_write - what apus_log() calls: a line to stderr, at most 10 in a second per site. Context: any */
void apus_log_write(struct apus_log_site *site, enum apus_log_level level, const char *fmt, ...)
	APUS_PRINTF(3, 4);

/** apus_log - say one line: apus_log(WARN, "arp: table full, %u entries", n). Context: any. */
#define apus_log(level, ...)                                 \
 do {                                                        \
  static apus_thread_local struct apus_log_site apus_site;   \
  apus_log_write(&apus_site, APUS_LOG_##level, __VA_ARGS__); \
 } while (0)

APUS_END_DECLS

#endif
