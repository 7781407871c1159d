/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/load/main.c: a load generator: drives any server, and says how fast it answered.
 *
 *	load http --to 10.7.0.1:80 --connections 64 --seconds 10
 *	load echo --to 10.7.0.1:7 --rate 100000 --json -
 *
 * Opens the connections, warms up, counts for a while, and prints a table. What fails is counted by
 * its kind and never as a latency. Ctrl-C prints what was measured so far.
 */
#include "net/main.h"
#include "apps/load/load.h"
#include "net/socket/tcp.h"
#include "runtime/sched/shard.h"
#include "runtime/sync/group.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- The run ------------------------------------------------------------------------------- */

/* A connection that only stays open. */
static int64_t hold(void *arg)
{
	struct apus_tcp *c;
	char byte;
	int64_t rc = load_open(&c);

	while (rc && rc != -ECANCELED) {
		rc = load_failed(rc, true);
		if (!rc)
			rc = load_open(&c);
	}
	if (rc)
		return rc;
	rc = apus_tcp_read(c, &byte, 1); /* until it is lost, or we end */
	load_run.open--;
	if (rc != -ECANCELED)
		load_stats.errors[rc ? load_error_of(rc, false) : LOAD_CLOSED]++;
	apus_tcp_abort(c);
	return rc == -ECANCELED ? rc : 0;
}

/* All connections, in a group that apus_group_end() takes down again. */
static int64_t start(struct apus_group *g)
{
	const struct apus_spawn_options as = {.name = "connection"};
	int64_t rc = 0;

	for (uint32_t i = 0; !rc && i < load_options.connections; i++) {
		bool is_active = i < load_run.active;

		rc = apus_group_spawn(g, &as, is_active ? load_options.workload->run : hold,
				      (void *)(uintptr_t)i, 0);
		if (!rc && i % 64 == 63) /* what was opened may speak meanwhile */
			rc = apus_yield();
	}
	return rc;
}

/* The silent ones are to be there before anything is counted. */
static int64_t wait_for_silent(void)
{
	uint32_t silent = load_options.connections - load_run.active;
	int64_t rc = 0;

	while (!rc && silent && load_run.open < silent)
		rc = apus_sleep(10 * APUS_MS);
	return rc;
}

static int64_t watch(int64_t seconds, int64_t begin_ns)
{
	static struct load_stats last; /* 15 KiB: not for a task's stack */
	int64_t then_ns = apus_now(), rc = 0;

	last = load_stats;
	for (int64_t i = 1; !rc && i <= seconds; i++) {
		rc = apus_sleep_until(then_ns + APUS_SEC);
		if (!load_options.quiet)
			load_progress(&load_stats, &last, apus_now() - begin_ns,
				      apus_now() - then_ns);
		then_ns = apus_now();
	}
	return rc;
}

/* From here on what is answered counts; what went wrong before stays said. */
static void begin_counting(void)
{
	apus_histogram_init(&load_stats.latency);
	load_stats.requests = load_stats.bytes_in = load_stats.bytes_out = load_stats.misses = 0;
	load_run.since_ns = apus_now();
}

static int64_t measure(struct apus_group *g)
{
	int64_t begin_ns, rc;

	load_run.start_ns = apus_now();
	load_run.since_ns = APUS_NEVER;
	rc = start(g);
	if (!rc)
		rc = wait_for_silent();
	begin_ns = apus_now();
	if (!rc)
		rc = watch(load_options.warmup, begin_ns);
	if (rc)
		return rc;
	begin_counting();
	return watch(load_options.seconds, begin_ns);
}

/* Is there anything to be glad of? */
static int64_t verdict(void)
{
	const struct load_stats *s = &load_stats;
	bool one_way = load_options.workload->run == load_run_send ||
		       load_options.workload->run == load_run_receive;

	if (one_way ? s->bytes_in || s->bytes_out : s->latency.count > 0)
		return 0;
	fprintf(stderr, "load: nothing was answered; is there a server for %s at --to?\n",
		load_options.workload->name);
	return EXIT_FAILURE;
}

/*
 * One connection before all others: a server may still be starting, and a link still be learning
 * where it is. Only what lasts is an error.
 */
static int64_t reach(void)
{
	int64_t until_ns = apus_now() + load_options.timeout_ns;
	struct apus_tcp *c;
	int64_t rc = 0;

	if (load_options.workload->run == load_run_datagram)
		return 0;
	while (!rc) {
		rc = load_open(&c);
		if (!rc) {
			load_run.open--;
			apus_tcp_abort(c);
			return 0;
		}
		if (rc != -ECANCELED && apus_now() < until_ns)
			rc = apus_sleep(100 * APUS_MS);
	}
	return rc;
}

static int64_t prepare(void)
{
	int64_t rc = reach();

	if (!rc && load_options.workload->fill)
		rc = load_options.workload->fill();
	if (!rc || rc == -ECANCELED)
		return rc;
	load_stats.errors[load_error_of(rc, true)]++;
	load_report(&load_stats, 0, true);
	return verdict();
}

static int64_t load(void *arg)
{
	struct apus_group g;
	int64_t rc, rc_file, span_ns;

	apus_histogram_init(&load_stats.latency);
	load_run.active = load_options.active;
	rc = prepare();
	if (rc)
		return rc;
	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	rc = measure(&g);
	span_ns = load_run.since_ns == APUS_NEVER ? 0 : apus_now() - load_run.since_ns;
	rc_file = load_report(&load_stats, span_ns, rc != 0);
	apus_group_cancel(&g);
	if (apus_group_end(&g, 0) && !rc)
		rc = -ENOMEM; /* a connection's memory: all else is counted */
	apus_group_fini(&g);
	if (rc_file)
		return EXIT_FAILURE;
	return rc == -ECANCELED || !rc ? verdict() : rc;
}

int main(int argc, char **argv)
{
	const struct apus_app app = {
		.doc = load_doc(),
		.argp = &load_argp,
		.fn = load,
	};

	return apus_main_with(&app, argc, argv);
}
