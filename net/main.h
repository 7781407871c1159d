/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/main.h: from main() to a task with a network: what an application's main() calls.
 *
 *	static int64_t serve(void *arg) { ... }
 *
 *	int main(int argc, char **argv)
 *	{
 *		return apus_main(argc, argv, serve, NULL);
 *	}
 *
 * Parses the options that all applications share (--help lists them), starts DPDK, opens the
 * device, the shard and the stack, runs the task, and takes everything down again. What goes wrong
 * before the task runs is one sentence on stderr and an exit status that is not 0.
 */
#ifndef APUS_NET_MAIN_H
#define APUS_NET_MAIN_H

#include "net/link/link.h"
#include "runtime/sched/task.h"

#include <argp.h>

APUS_BEGIN_DECLS

struct apus_app {
	const char *doc;         /* for --help: one sentence, then what else there is to say */
	const struct argp *argp; /* the application's own options and arguments; NULL: none */
	void *argp_input;        /* state->input of that parser */
	apus_task_fn fn;         /* the main task */
	void *arg;               /* its argument */
	/* Once options are parsed: so many connections at a time, on each shard; NULL: 65536 are enough */
	const uint32_t *connections;
	const bool *bare; /* true once options are parsed: no stack, the task has the link */
};

/**
 * apus_main - run @fn as the main task, on a network that the command line describes
 *
 * SIGINT and SIGTERM cancel the task, and connections it leaves still get to say their FIN (for a
 * second at most); then everything is given back.
 *
 * Context: main(), once per process.
 * Return: main()'s: what @fn returned if that is from 0 to 255; 0 when @fn ended with -ECANCELED
 *         after a signal; 1 for an error, which was said on stderr. A wrong option ends the process.
 * Source: asyncio.run
 */
APUS_MUST_CHECK int apus_main(int argc, char **argv, apus_task_fn fn, void *arg);

/** apus_main_with - apus_main() for an application with options of its own. Borrows @app */
APUS_MUST_CHECK int apus_main_with(const struct apus_app *app, int argc, char **argv);

/**
 * apus_main_refuse - end the process over a wrong option: one sentence on stderr, status 2
 *
 * For the parser of an application's own options, which may also use argp_error().
 */
APUS_NORETURN APUS_COLD void apus_main_refuse(const char *fmt, ...) APUS_PRINTF(1, 2);

/** apus_main_number - @text, given to --@option, as a whole number from @min to @max; else apus_main_refuse() */
uint64_t apus_main_number(const char *option, const char *text, uint64_t min, uint64_t max);

/** apus_main_link - the outermost link; NULL outside of apus_main(). Borrowed. Context: any, on the shard */
struct apus_link *apus_main_link(void);

#define APUS_MAIN_SLOT 1 /* of apus_shard_slot() */

APUS_END_DECLS

#endif
