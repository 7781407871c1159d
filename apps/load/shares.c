/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/load/shares.c: the run on every shard: of n shards each has every n-th connection.
 *
 * Counts and latencies are the shard's own (load_stats and load_run are thread-local); who wants the
 * sum asks all shards for theirs. The schedule of an open loop is one: connection i of all, wherever
 * it is.
 *
 * A connection that speaks is a task. One that is only held open is a handle in `held`: 256 tasks
 * open them, and another one walks along them for those that were lost.
 */
#include "apps/load/load.h"
#include "net/socket/tcp.h"
#include "net/tcp/info.h"
#include "runtime/cross/call.h"
#include "runtime/sched/shard.h"
#include "runtime/sync/event.h"
#include "runtime/sync/group.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define OPENERS   256
#define WALK_STEP 16 /* connections looked at in a millisecond */
#define WALK_NS   APUS_MS

/* Of this shard: what it only holds open. */
struct share {
	struct apus_tcp **held; /* NULL: lost, or not open yet */
	uint32_t count, next;
};

static struct load_stats *collected; /* by shard; each writes its own */
static struct apus_task *shares;
static int64_t start_ns;        /* of the schedule */
static _Atomic int64_t failure; /* of a share: an error that is nobody's connection */

/* How many of @n connections are this shard's. */
static uint32_t mine(uint32_t n)
{
	uint32_t shards = apus_shard_count(), index = apus_shard_index();

	return n / shards + (index < n % shards);
}

/* --- Silent connections -------------------------------------------------------------------- */

static int64_t open_silent(void *arg)
{
	struct share *s = *(struct share **)arg;
	int64_t rc = 0;

	while (!rc && s->next < s->count) {
		uint32_t i = s->next++;

		while (!rc && (rc = load_open(&s->held[i])) && rc != -ECANCELED)
			rc = load_failed(rc, true);
	}
	return rc;
}

/* Has the peer ended it? */
static int64_t end_of(const struct apus_tcp *c)
{
	struct apus_tcp_info info;

	if (apus_tcp_error(c))
		return apus_tcp_error(c);
	apus_tcp_get_info(c, &info);
	return strcmp(info.state, "CLOSE-WAIT") ? 0 : -ENODATA;
}

static void look_at(struct share *s, uint32_t i)
{
	int64_t rc = s->held[i] ? end_of(s->held[i]) : 0;

	if (!rc)
		return;
	load_stats.errors[load_error_of(rc, false)]++;
	load_stats.open--;
	apus_tcp_abort(s->held[i]);
	s->held[i] = NULL;
}

static int64_t walk(void *arg)
{
	struct share *s = *(struct share **)arg;
	uint32_t at = 0;
	int64_t rc = 0;

	while (!rc && s->count) {
		for (uint32_t n = apus_min(s->count, (uint32_t)WALK_STEP); n; n--) {
			look_at(s, at);
			at = (at + 1) % s->count;
		}
		rc = apus_sleep(WALK_NS);
	}
	return rc;
}

static int64_t hold(struct apus_group *g, struct share *s)
{
	uint32_t openers = apus_min(s->count, (uint32_t)OPENERS);
	int64_t rc = 0;

	s->held = calloc(s->count + 1, sizeof(struct apus_tcp *));
	if (!s->held)
		return -ENOMEM;
	for (uint32_t i = 0; !rc && i < openers; i++)
		rc = apus_group_spawn(g, &(struct apus_spawn_options){.name = "opener"},
				      open_silent, &s, sizeof(s));
	if (!rc)
		rc = apus_group_spawn(g, &(struct apus_spawn_options){.name = "walker"}, walk, &s,
				      sizeof(s));
	return rc;
}

static void let_go(struct share *s)
{
	for (uint32_t i = 0; s->held && i < s->count; i++)
		if (s->held[i])
			apus_tcp_abort(s->held[i]);
	free(s->held);
}

/* --- A shard's share ----------------------------------------------------------------------- */

/* The speaking connections come first in the count of all. */
static int64_t speak(struct apus_group *g)
{
	const struct apus_spawn_options as = {.name = "connection"};
	uint32_t shards = apus_shard_count(), count = mine(load_options.active);
	int64_t rc = 0;

	for (uint32_t i = 0; !rc && i < count; i++) {
		uintptr_t index = apus_shard_index() + (uintptr_t)i * shards;

		rc = apus_group_spawn(g, &as, load_options.workload->run, (void *)index, 0);
		if (!rc && i % 64 == 63) /* what was opened may speak meanwhile */
			rc = apus_yield();
	}
	return rc;
}

/* Until it is cancelled: then all connections, which the group's end takes down. */
static int64_t share(void *arg)
{
	struct share s = {.count = mine(load_options.connections) - mine(load_options.active)};
	struct apus_group g;
	int64_t rc, rc_group;

	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	rc = speak(&g);
	if (!rc && s.count)
		rc = hold(&g, &s);
	if (!rc)
		(void)!apus_sleep_until(APUS_NEVER);
	apus_group_cancel(&g);
	rc_group = apus_group_end(&g, 0);
	apus_group_fini(&g);
	let_go(&s);
	if (rc_group && rc_group != -ECANCELED) /* a connection's memory: all else is counted */
		atomic_store(&failure, rc_group);
	return 0;
}

/* Before any begins, so that it is behind all that is said to a shard later. */
static int64_t prepare_share(void *arg)
{
	apus_histogram_init(&load_stats.latency);
	load_run.start_ns = start_ns;
	load_run.since_ns = APUS_NEVER;
	load_run.active = load_options.active;
	return 0;
}

static int64_t all_shares(void *arg)
{
	return apus_on_all(share, NULL, NULL);
}

int64_t load_shares_start(void)
{
	int64_t rc;

	start_ns = apus_now();
	rc = apus_on_all(prepare_share, NULL, NULL);
	if (rc)
		return rc;
	collected = calloc(apus_shard_count(), sizeof(*collected));
	shares = collected ? apus_spawn(all_shares, NULL) : NULL;
	return shares ? 0 : -ENOMEM;
}

int64_t load_shares_stop(void)
{
	int64_t rc = 0;

	if (shares) {
		apus_task_cancel(shares);
		rc = apus_await(shares);
		shares = NULL;
	}
	free(collected);
	collected = NULL;
	return atomic_load(&failure) ? atomic_load(&failure) : rc;
}

int64_t load_shares_failed(void)
{
	return atomic_load(&failure);
}

/* --- The sum ------------------------------------------------------------------------------- */

static int64_t collect(void *arg)
{
	collected[apus_shard_index()] = load_stats;
	return 0;
}

static void add(struct load_stats *into, const struct load_stats *from)
{
	apus_histogram_merge(&into->latency, &from->latency);
	into->requests += from->requests;
	into->bytes_in += from->bytes_in;
	into->bytes_out += from->bytes_out;
	into->connects += from->connects;
	into->open += from->open;
	into->misses += from->misses;
	for (int i = 0; i < LOAD_ERROR_COUNT; i++)
		into->errors[i] += from->errors[i];
}

int64_t load_shares_sum(struct load_stats *out)
{
	int64_t rc = collected ? apus_on_all(collect, NULL, NULL) : 0;

	*out = collected ? collected[0] : load_stats;
	for (uint32_t i = 1; collected && i < apus_shard_count(); i++)
		add(out, &collected[i]);
	return rc;
}

/* From here on what is answered counts; what went wrong before stays said. */
static int64_t begin_counting(void *arg)
{
	apus_histogram_init(&load_stats.latency);
	load_stats.requests = load_stats.bytes_in = load_stats.bytes_out = load_stats.misses = 0;
	load_run.since_ns = apus_now();
	return 0;
}

int64_t load_shares_count(void)
{
	return apus_on_all(begin_counting, NULL, NULL);
}
