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

static const char *const level_names[] = {"error", "warning", "info", "debug"};

void apus_log_set_level(enum apus_log_level level)
{
	log_level = level;
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

	char line[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	if (site->left_out)
		fprintf(stderr, "apus: %s: %s (%u like it left out)\n", level_names[level], line,
			site->left_out);
	else
		fprintf(stderr, "apus: %s: %s\n", level_names[level], line);
	site->left_out = 0;
}
