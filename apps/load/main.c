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

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOLD_AFTER_NS (50 * APUS_MS)

/* --- The run ------------------------------------------------------------------------------- */

/* The silent ones are to be there before anything is counted. */
static int64_t wait_for_silent(void)
{
	static struct load_stats now; /* 15 KiB: not for a task's stack */
	uint32_t silent = load_options.connections - load_options.active;
	int64_t begin_ns = apus_now(), said_ns = begin_ns, rc = load_shares_sum(&now);

	while (!rc && silent && now.open < load_options.connections) {
		rc = apus_sleep(50 * APUS_MS);
		if (!rc)
			rc = load_shares_failed();
		if (!rc)
			rc = load_shares_sum(&now);
		if (!load_options.quiet && apus_now() - said_ns >= APUS_SEC) {
			said_ns = apus_now();
			load_opening(&now, said_ns - begin_ns);
		}
	}
	return rc;
}

static int64_t watch(int64_t seconds, int64_t begin_ns)
{
	static struct load_stats now, last; /* 15 KiB each */
	int64_t then_ns = apus_now(), rc = load_shares_sum(&last);

	for (int64_t i = 1; !rc && i <= seconds; i++) {
		rc = apus_sleep_until(then_ns + APUS_SEC);
		if (!rc)
			rc = load_shares_failed();
		if (!rc)
			rc = load_shares_sum(&now);
		if (!rc && !load_options.quiet)
			load_progress(&now, &last, apus_now() - begin_ns, apus_now() - then_ns);
		then_ns = apus_now();
	}
	return rc;
}

static int64_t measure(int64_t *since_ns)
{
	int64_t begin_ns, rc = load_shares_start();

	if (!rc)
		rc = wait_for_silent();
	begin_ns = apus_now();
	if (!rc)
		rc = watch(load_options.warmup, begin_ns);
	if (!rc)
		rc = load_shares_count();
	if (rc)
		return rc;
	*since_ns = apus_now();
	return watch(load_options.seconds, begin_ns);
}

/* Is there anything to be glad of? */
static int64_t verdict(const struct load_stats *s)
{
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
		return load_reach_datagram(until_ns);
	while (!rc) {
		rc = load_open(&c);
		if (!rc) {
			load_stats.open--;
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
	load_stats.errors[load_error_of(rc, load_options.workload->run != load_run_datagram)]++;
	load_report(&load_stats, 0, true);
	return verdict(&load_stats);
}

/* Nothing is polled meanwhile, which is what it is for; what was said to the peers has left before. */
static void hold_still(void)
{
	char byte;

	if (apus_sleep(HOLD_AFTER_NS))
		return;
	fclose(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
}

static int64_t load(void *arg)
{
	static struct load_stats sum;
	int64_t rc, rc_shares, rc_file, since_ns = APUS_NEVER, span_ns;

	rc = prepare();
	if (rc)
		return rc;
	rc = measure(&since_ns);
	span_ns = since_ns == APUS_NEVER ? 0 : apus_now() - since_ns;
	(void)!load_shares_sum(&sum);
	rc_file = load_report(&sum, span_ns, rc != 0);
	rc = rc == -ECANCELED ? 0 : rc;
	rc_shares = load_shares_stop();
	if (load_options.hold)
		hold_still();
	if (rc_file)
		return EXIT_FAILURE;
	if (!rc && rc_shares != -ECANCELED)
		rc = rc_shares;
	return rc ? rc : verdict(&sum);
}

int main(int argc, char **argv)
{
	const struct apus_app app = {
		.doc = load_doc(),
		.argp = &load_argp,
		.fn = load,
		.connections = &load_options.connections,
	};

	return apus_main_with(&app, argc, argv);
}
