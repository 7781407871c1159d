/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/base/log.c: lines to stderr, limited per call site.
 */
#include "runtime/base/log.h"

#include "runtime/base/clock.h"

#include <stdarg.h>
#include <stdio.h>

static const uint32_t lines_per_second = 10;

/* Set once at start, before there are shards; read by all. */
static enum apus_log_level log_level = APUS_LOG_INFO;

/* Of the thread; 0: none, else its number and 1. */
static apus_thread_local int log_shard;

static const char *const level_names[] = {"error", "warning", "info", "debug"};

void apus_log_set_level(enum apus_log_level level)
{
	log_level = level;
}

void apus_log_set_shard(int number)
{
	log_shard = apus_max(number, -1) + 1;
}

static bool site_allows(struct apus_log_site *site)
{
	int64_t second = apus_clock_host_ns() / APUS_SEC;

	if (site->second != second) {
		site->second = second;
		site->lines = 0;
	}
	if (site->lines == lines_per_second) {
		site->left_out++;
		return false;
	}
	site->lines++;
	return true;
}

void apus_log_write(struct apus_log_site *site, enum apus_log_level level, const char *fmt, ...)
{
	if (level > log_level || !site_allows(site))
		return;

	char line[512], shard[24] = "", more[48] = "";
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	if (log_shard)
		snprintf(shard, sizeof(shard), "shard %d: ", log_shard - 1);
	if (site->left_out)
		snprintf(more, sizeof(more), " (%u like it left out)", site->left_out);
	fprintf(stderr, "apus: %s: %s%s%s\n", level_names[level], shard, line, more);
	site->left_out = 0;
}
