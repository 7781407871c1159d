/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/kv/stats.c: the answers to "stats", under memcached's names where it has the same thing.
 */
#include "apps/kv/internal.h"
#include "runtime/sched/shard.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define LINE_BYTES 96 /* of one STAT, at most */

static const char *const counter_names[] = {
#define X(id, name) name,
	KV_COUNTERS(X)
#undef X
};

static int say_number(struct kv_connection *c, const char *name, uint64_t value)
{
	char line[LINE_BYTES];
	int n = snprintf(line, sizeof(line), "STAT %s %" PRIu64 "\r\n", name, value);

	return kv_say(c, line, (size_t)n);
}

static int say_word(struct kv_connection *c, const char *name, const char *value)
{
	char line[LINE_BYTES];
	int n = snprintf(line, sizeof(line), "STAT %s %s\r\n", name, value);

	return kv_say(c, line, (size_t)n);
}

static int say_time(struct kv_connection *c, const char *name, struct timeval t)
{
	char line[LINE_BYTES];
	int n = snprintf(line, sizeof(line), "STAT %s %lld.%06ld\r\n", name, (long long)t.tv_sec,
			 (long)t.tv_usec);

	return kv_say(c, line, (size_t)n);
}

/* Of one moment: saying them may wait. */
struct gauge {
	const char *name;
	uint64_t value;
};

static int say_gauges(struct kv_connection *c, const struct gauge *gauges, size_t n)
{
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++)
		rc = say_number(c, gauges[i].name, gauges[i].value);
	return rc;
}

static int say_process(struct kv_connection *c)
{
	struct rusage usage = {0};
	const struct gauge process[] = {
		{"pid", (uint64_t)getpid()},
		{"uptime", (uint64_t)((apus_now() - c->server->opened_at_ns) / APUS_SEC)},
		{"time", (uint64_t)(apus_wall_now() / APUS_SEC)},
	};
	int rc;

	getrusage(RUSAGE_SELF, &usage);
	rc = say_gauges(c, process, apus_countof(process));
	if (rc == 0)
		rc = say_word(c, "version", KV_VERSION_TEXT);
	if (rc == 0)
		rc = say_number(c, "pointer_size", 8 * sizeof(void *));
	if (rc == 0)
		rc = say_time(c, "rusage_user", usage.ru_utime);
	if (rc == 0)
		rc = say_time(c, "rusage_system", usage.ru_stime);
	return rc;
}

static int say_general(struct kv_connection *c)
{
	const struct kv_server *s = c->server;
	struct kv_tally all;

	if (kv_tally_all(c->server, false, &all) < 0)
		return KV_END_SESSION(KV_ABORT);

	const struct gauge gauges[] = {
		{"max_connections", s->options.connections_max},
		{"curr_connections", all.connections},
		{"limit_maxbytes", s->cluster->options.memory_bytes},
		{"accepting_conns", !apus_server_is_stopping(c->base)},
		{"threads", s->cluster->count},
		{"hash_power_level", 63 - (unsigned int)__builtin_clzl(all.buckets)},
		{"hash_bytes", all.hash_bytes},
		{"hash_is_expanding", 0}, /* it grows by single buckets */
		{"bytes", all.bytes},
		{"curr_items", all.items},
		{"total_items", all.counts[KV_TOTAL_ITEMS]},
	};
	int rc = say_process(c);

	if (rc == 0)
		rc = say_gauges(c, gauges, apus_countof(gauges));
	for (size_t i = 0; i < KV_COUNTERS_MAX && rc == 0; i++)
		if (i != KV_TOTAL_ITEMS)
			rc = say_number(c, counter_names[i], all.counts[i]);
	return rc;
}

static int reset(struct kv_connection *c)
{
	struct kv_tally all;

	if (kv_tally_all(c->server, true, &all) < 0)
		return KV_END_SESSION(KV_ABORT);
	return kv_say(c, "RESET\r\n", 7);
}

static int say_settings(struct kv_connection *c)
{
	const struct kv_server *s = c->server;
	const struct gauge settings[] = {
		{"maxbytes", s->cluster->options.memory_bytes},
		{"maxconns", s->options.connections_max},
		{"tcpport", s->options.local.port},
		{"item_size_max", KV_VALUE_MAX},
		{"num_threads", s->cluster->count},
	};
	int rc = say_gauges(c, settings, apus_countof(settings));

	if (rc == 0)
		rc = say_word(c, "evictions", "on");
	if (rc == 0)
		rc = say_word(c, "cas_enabled", "yes");
	return rc == 0 ? say_word(c, "hash_algorithm", "siphash") : rc;
}

int kv_stats_say(struct kv_connection *c, struct kv_text what)
{
	static const struct kv_text zero = {"reset", 5}, settings = {"settings", 8};
	int rc;

	if (what.len == 0) {
		rc = say_general(c);
	} else if (what.len == settings.len && memcmp(what.at, settings.at, what.len) == 0) {
		rc = say_settings(c);
	} else if (what.len == zero.len && memcmp(what.at, zero.at, what.len) == 0) {
		return reset(c);
	} else {
		return kv_say(c, KV_ERROR, sizeof(KV_ERROR) - 1);
	}
	return rc ? rc : kv_say(c, KV_END, sizeof(KV_END) - 1);
}
