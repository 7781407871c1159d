/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/drill/drill.h: scripts of packets and calls against one TCP, in virtual time.
 *
 * The language is packetdrill's, as far as README.md says. parse.c makes a script into events,
 * calls.c makes the socket calls, run.c plays the events to a host that is driven from outside
 * (net/sim/drive.h).
 */
#ifndef APUS_TESTS_DRILL_DRILL_H
#define APUS_TESTS_DRILL_DRILL_H

#include "tests/drill/packet.h"

#include "net/sim/drive.h"
#include "net/socket/tcp.h"

#include <stdio.h>

#define DRILL_ASSERTS_MAX 16 /* in one %{ }% */
#define DRILL_FDS_MAX     64
#define DRILL_WORDS_MAX   12   /* arguments of one call */
#define DRILL_SERVER_PORT 8080 /* where somebody listens, here or there */
#define DRILL_CLIENT_PORT 5000 /* the script's, when it connects */

/* ---- events ---- */

enum drill_event_type {
	DRILL_SEND,   /* < a packet goes to the host */
	DRILL_EXPECT, /* > a packet comes from it */
	DRILL_CALL,
	DRILL_ASSERT,
	DRILL_QUIET,  /* nothing was sent that was not expected */
	DRILL_IGNORE, /* what was sent and not expected so far does not matter */
	DRILL_STARVE, /* so many mbufs are left in the host's pool */
};

enum drill_time {
	DRILL_RELATIVE, /* to the event before */
	DRILL_ABSOLUTE,
	DRILL_ANY_TIME,
};

struct drill_call {
	char name[32];
	char words[DRILL_WORDS_MAX][64]; /* arguments as written */
	unsigned int word_count;
	int64_t result; /* what is expected: a number or a negative errno */
	bool any_result;
	int64_t end_ns; /* since the event before, or the beginning; < 0: it does not wait */
};

enum drill_compare {
	DRILL_EQ,
	DRILL_NE,
	DRILL_LT,
	DRILL_LE,
	DRILL_GT,
	DRILL_GE
};

struct drill_assertion {
	char field[48];
	enum drill_compare compare;
	int64_t value;
};

struct drill_event {
	enum drill_event_type type;
	enum drill_time time;
	unsigned int line;
	unsigned int repeat;       /* >= 1 */
	bool burst;                /* all of them in one turn of the host */
	int64_t from_ns, until_ns; /* equal unless it is a range */
	struct drill_packet packet;
	struct drill_call call;
	struct drill_assertion assertions[DRILL_ASSERTS_MAX];
	unsigned int assertion_count;
	uint32_t number; /* of mbufs */
};

/* The lines --name=value before the first event. */
struct drill_options {
	int64_t tolerance_ns;
	uint64_t seed;
	uint32_t remote_isn, local_isn;
	bool has_local_isn;
	uint32_t mbufs;           /* a pool of the host's own; 0: the world's */
	uint32_t connections_max; /* 0: the default */
	uint16_t mtu;
	struct apus_tcp_options tcp;
};

struct drill_script {
	const char *path;
	struct drill_options options;
	struct drill_event *events;
	size_t count, room;
	char error[DRILL_ERROR_BYTES];
};

/* ---- parse.c ---- */

/** drill_parse - read @path. Return: 0; -1 with an error that names the line */
int drill_parse(struct drill_script *script, const char *path);
void drill_script_fini(struct drill_script *script);

/* ---- run.c ---- */

/** drill_run - play @script. Return: 0; -1 with an error; @trace: NULL or where each packet is printed */
int drill_run(struct drill_script *script, struct rte_mempool *pool, FILE *trace);

/* ---- calls.c ---- */

struct drill_socket {
	enum {
		DRILL_FREE,
		DRILL_SOCKET,
		DRILL_LISTENER,
		DRILL_CONNECTION
	} kind;
	uint16_t port;         /* bound; 0: the usual one */
	struct apus_addr addr; /* any, if none is bound */
	struct apus_tcp_listener *listener;
	struct apus_tcp *connection;
	uint32_t read_bytes, written_bytes; /* where the next byte is in its stream */
	int64_t keep_idle_ns;
	struct {
		enum apus_tcp_option option;
		int64_t value;
	} early[8]; /* set before there was a connection */
	unsigned int early_count;
};

/* A call under way, or over. */
struct drill_waiting {
	const struct drill_event *event;
	struct apus_sim_task *task;
	struct drill_socket *socket;
	struct drill_sockets *sockets;
	int64_t began_ns;            /* time of the event before it, which its end is relative to */
	int64_t number;              /* the argument that is a number of bytes or a backlog */
	struct apus_tcp *connection; /* accepted or connected */
	uint8_t *buf;                /* of read and write */
	const char *wrong;           /* bytes read are not those sent */
};

struct drill_sockets {
	struct apus_sim_host *host;
	struct drill_socket sockets[DRILL_FDS_MAX];
	struct drill_socket *last; /* the connection that came about last, for assertions */
	int64_t buffers_out;       /* lent to connections, not given back */
	uint16_t default_port;     /* of the peer: 5000, or 8080 once the script has connected */
};

/**
 * drill_call_start - make the call of @w->event: a task if it may wait, else at once
 *
 * Return: true and @result when it is over already; else w->task is its task.
 */
bool drill_call_start(struct drill_sockets *s, struct drill_waiting *w, int64_t *result,
		      char *error);
/** drill_call_ended - the task returned @result: a new connection gets its number */
void drill_call_ended(struct drill_sockets *s, struct drill_waiting *w, int64_t result);
/** drill_sockets_check - the invariants of every connection held */
void drill_sockets_check(const struct drill_sockets *s);
/** drill_sockets_close - reset what is left open */
void drill_sockets_close(struct drill_sockets *s);

/* ---- asserts.c ---- */

/** drill_assert_field - the value of @field. Return: false if there is no such field */
bool drill_assert_field(const struct drill_sockets *s, const char *field, int64_t *out);

#endif
