/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/load/load.h: what the rooms of the load generator know of each other.
 *
 *	main.c       the run
 *	options.c    the workloads there are, and the command line
 *	stream.c     TCP connections that ask and wait for answers
 *	datagram.c   the same over UDP
 *	bulk.c       bytes one way, as many as fit
 *	echo.c http.c memcached.c   what is asked and what an answer looks like; no I/O
 *	shares.c     all of it on several shards
 *	stats.c      counts and latencies; report.c says them
 */
#ifndef APUS_APPS_LOAD_LOAD_H
#define APUS_APPS_LOAD_LOAD_H

#include "net/ip/addr.h"
#include "runtime/base/clock.h"
#include "runtime/base/histogram.h"
#include "runtime/base/random.h"
#include "runtime/sync/semaphore.h"

#include <stdio.h>
#include <sys/uio.h>

#define LOAD_PIECES_MAX 3
#define LOAD_LINE_BYTES 320 /* more than a memcached key of 250 needs */
#define LOAD_DEPTH_MAX  1024

struct apus_tcp;
struct argp;
struct load_workload;

/* The command line. */
struct load_options {
	const struct load_workload *workload;
	struct apus_endpoint to;
	uint32_t connections;
	uint32_t active; /* of them; the rest are held open and silent; 0: all */
	uint32_t depth;  /* requests out at a time on one connection */
	uint32_t bytes;  /* of a message or value; 0: the workload's default */
	uint64_t rate;   /* requests a second over all connections; 0: closed loop */
	int64_t seconds, warmup;
	int64_t timeout_ns; /* for an answer, and for a connection to open */
	uint32_t keys, get_percent;
	const char *path; /* of HTTP */
	const char *json; /* file; "-": stdout; NULL: none */
	FILE *json_file;  /* opened at once: at the end descriptors may have run out */
	bool reconnect;   /* a new connection for every `depth` requests */
	bool reset;       /* close with RST, which leaves nobody in TIME-WAIT */
	bool quiet;       /* no progress */
	bool hold;        /* at the end, until stdin ends */
};

extern struct load_options load_options;
extern const struct argp load_argp;
/* load_doc - the list of workloads, for --help. Borrowed */
const char *load_doc(void);

/* --- What happened (stats.c) --------------------------------------------------------------- */

#define LOAD_ERRORS(X)                                                             \
 X(REFUSED, "refused", "connections refused")                                      \
 X(UNREACHABLE, "unreachable", "no way to the server")                             \
 X(CONNECT_TIMEOUT, "connect_timeout", "connections that did not open in time")    \
 X(NO_PORT, "no_port", "no free port: each address has 28,232; give more --addrs") \
 X(NO_FILE, "no_descriptor", "no free descriptor: raise `ulimit -n`")              \
 X(NO_MEMORY, "no_memory", "out of memory or packet buffers; give more --mbufs")   \
 X(RESET, "reset", "connections reset by the server")                              \
 X(CLOSED, "closed", "connections closed by the server before the answer")         \
 X(TIMEOUT, "timeout", "answers that did not come in time")                        \
 X(BAD, "bad_answer", "answers that were wrong or said an error")                  \
 X(OTHER, "other", "other errors")

enum load_error {
#define X(id, name, text) LOAD_##id,
	LOAD_ERRORS(X)
#undef X
	LOAD_ERROR_COUNT,
};

struct load_stats {
	struct apus_histogram latency; /* of answers, in ns */
	uint64_t requests;             /* sent */
	uint64_t bytes_in, bytes_out;
	uint64_t connects; /* opened */
	uint32_t open;     /* connections, now */
	uint64_t misses;   /* of a cache */
	uint64_t errors[LOAD_ERROR_COUNT];
};

extern _Thread_local struct load_stats load_stats; /* this shard's */

/* load_error_of - what a negative errno of a connection counts as; @opening: of the attempt to open it */
enum load_error load_error_of(int64_t rc, bool opening);
const char *load_error_name(enum load_error e);
const char *load_error_text(enum load_error e);

/* --- Time (inline) ------------------------------------------------------------------------- */

/*
 * When request @k of connection @i of @n is to be sent, in an open loop of @rate requests a second:
 * all connections in turn. Exact, so that an hour drifts by nothing. Latency counts from there, so
 * that a request which could not be sent in time is not forgotten (Tene's "coordinated omission").
 */
static inline int64_t load_due_ns(int64_t start_ns, uint64_t rate, uint64_t k, uint32_t i,
				  uint32_t n)
{
	unsigned __int128 index = (unsigned __int128)k * n + i;

	return start_ns + (int64_t)(index * APUS_SEC / rate);
}

/* --- Requests and answers ------------------------------------------------------------------ */

/* One connection as its protocol sees it. */
struct load_stream {
	uint64_t left;  /* bytes of the answer that are still to come, when that is known */
	uint32_t line;  /* bytes in `text` */
	uint32_t asked; /* bytes in `request_text` */
	bool is_bad;    /* the answer so far says an error */
	bool within;    /* a part of the answer is in */
	void *parser;   /* HTTP's; NULL: none */
	struct apus_random *random;
	char text[LOAD_LINE_BYTES];         /* a line that came in pieces */
	char request_text[LOAD_LINE_BYTES]; /* the request's own part */
};

struct load_protocol {
	/* Once, after the options. Return: 0, or a negative errno with the reason in @why. */
	int (*prepare)(const struct load_options *o, char *why, size_t why_bytes);
	/* A fresh connection. Return: 0, -ENOMEM. */
	int (*begin)(struct load_stream *s);
	void (*end)(struct load_stream *s);
	/* The next request, in pieces that stay until the next call on @s. Return: how many. */
	int (*request)(struct load_stream *s, struct iovec pieces[LOAD_PIECES_MAX]);
	/*
	 * Takes in bytes of the oldest answer. Return: how many belong to it; @whole says that it is
	 * complete; -EBADMSG: this is no answer, the connection is of no more use.
	 */
	int64_t (*answer)(struct load_stream *s, const char *bytes, size_t len, bool *whole);
};

extern const struct load_protocol load_echo, load_http, load_memcached;

/* --- Workloads ----------------------------------------------------------------------------- */

struct load_workload {
	const char *name, *doc;
	const struct load_protocol *protocol; /* NULL: none */
	uint16_t port;                        /* if none is given */
	uint32_t bytes;                       /* default of --bytes */
	uint32_t bytes_max;
	/* A connection's task, until it is cancelled. @arg: its number */
	int64_t (*run)(void *arg);
	/* Once before the run, in a task; NULL: nothing. Return: 0, negative errno. */
	int (*fill)(void);
};

int64_t load_run_stream(void *arg);
int64_t load_run_connect(void *arg);
int64_t load_run_datagram(void *arg);
int64_t load_reach_datagram(int64_t until_ns);
int64_t load_run_send(void *arg);
int64_t load_run_receive(void *arg);
int load_fill_memcached(void);

/* What all connections of a shard share while a run goes on. */
struct load_run {
	int64_t start_ns;              /* of the schedule */
	int64_t since_ns;              /* what is counted began here */
	uint32_t active;               /* connections that speak, of all shards */
	struct apus_semaphore opening; /* room for connections that are not open yet */
	bool is_ready;                 /* the semaphore */
};

extern _Thread_local struct load_run load_run;

/* load_next_ns - when request @k of connection @i is to be sent: now, in a closed loop. Context: on the shard */
int64_t load_next_ns(uint64_t k, uint32_t i);
/* load_open - a connection to the server, as many at a time as is polite; counts. Return: 0, -errno. Suspends */
int load_open(struct apus_tcp **out);
/* load_failed - count the error @rc and wait a moment before the next try. Return: 0, -ECANCELED. Suspends */
int load_failed(int64_t rc, bool opening);

/* --- On every shard (shares.c) ------------------------------------------------------------- */

/* load_shares_start - open all connections. Context: task on shard 0, as of all below. Return: 0, -ENOMEM, -ECANCELED. Suspends */
int64_t load_shares_start(void);
/* load_shares_stop - close them. Return: 0, -ECANCELED, or what went wrong besides connections. Suspends */
int64_t load_shares_stop(void);
/* load_shares_failed - what has gone wrong so far besides connections: -ENOMEM. Return: 0: nothing */
int64_t load_shares_failed(void);
/* load_shares_count - begin to count, on all. Return: 0, -errno. Suspends */
int64_t load_shares_count(void);
/* load_shares_sum - what all together have counted. Return: 0, -errno: @out may lack some. Suspends */
int64_t load_shares_sum(struct load_stats *out);

/* --- Saying it (report.c) ------------------------------------------------------------------ */

/* load_progress - one line to stderr; @last: the stats a second ago, which become today's */
void load_progress(const struct load_stats *now, struct load_stats *last, int64_t elapsed_ns,
		   int64_t span_ns);
/* load_opening - the same while connections are opened that are to be silent */
void load_opening(const struct load_stats *now, int64_t elapsed_ns);
/* load_report - the table to stdout, and JSON where it was asked for. Return: 0, -errno of the file */
int load_report(const struct load_stats *s, int64_t span_ns, bool cut_short);

#endif
