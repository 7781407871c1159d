/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/kv/protocol.h: memcached's text protocol: bytes of a client become commands.
 *
 * Pure: no connection, no store, no clock. What is accepted and what is answered is what memcached
 * 1.6 does (its doc/protocol.txt), but for what protocol.c lists.
 */
#ifndef APUS_APPS_KV_PROTOCOL_H
#define APUS_APPS_KV_PROTOCOL_H

#include "runtime/base/compiler.h"

#define KV_KEY_MAX       250                 /* bytes */
#define KV_VALUE_MAX     (1024 * 1024)       /* bytes */
#define KV_LINE_MAX      2048                /* bytes of a command line, without its end */
#define KV_LINE_KEYS_MAX 65536               /* of one that asks for many keys */
#define KV_RELATIVE_MAX  (60 * 60 * 24 * 30) /* seconds: a larger expiration time is a date */
#define KV_NUMBER_BYTES  20                  /* most digits of a 64-bit number */

/* What is answered. Clients look at the first numbers for what a server can do. */
#define KV_VERSION_TEXT "1.6.0-apus-0.1.0"
#define KV_END          "END\r\n"
#define KV_ERROR        "ERROR\r\n"
#define KV_BAD_FORMAT   "CLIENT_ERROR bad command line format\r\n"
#define KV_BAD_CHUNK    "CLIENT_ERROR bad data chunk\r\n"
#define KV_BAD_EXPTIME  "CLIENT_ERROR invalid exptime argument\r\n"
#define KV_BAD_DELTA    "CLIENT_ERROR invalid numeric delta argument\r\n"
#define KV_BAD_DELETE   "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]\r\n"
#define KV_NOT_NUMERIC  "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"
#define KV_LONG_LINE    "CLIENT_ERROR line too long\r\n"
#define KV_TOO_LARGE    "SERVER_ERROR object too large for cache\r\n"
#define KV_NO_MEMORY    "SERVER_ERROR out of memory storing object\r\n"
#define KV_TOO_MANY     "ERROR Too many open connections\r\n"

enum kv_verb {
	KV_GET, /* and gets, gat, gats: `cas`, `touch` */
	KV_SET,
	KV_ADD,
	KV_REPLACE,
	KV_APPEND,
	KV_PREPEND,
	KV_CAS,
	KV_DELETE,
	KV_INCR,
	KV_DECR,
	KV_TOUCH,
	KV_FLUSH_ALL,
	KV_STATS,
	KV_VERSION,
	KV_VERBOSITY,
	KV_NOOP, /* mn: answered by MN, so that a client finds the end of quiet commands */
	KV_QUIT,
	KV_REFUSED, /* `answer` says why */
};

struct kv_text {
	const char *at;
	size_t len;
};

/* One line. Texts point into it. */
struct kv_command {
	enum kv_verb verb;
	bool noreply;
	bool cas;            /* of KV_GET: say the value's unique number */
	bool touch;          /* of KV_GET: set a new expiration time */
	struct kv_text keys; /* of KV_GET: one or more (none is possible with touch), checked */
	struct kv_text key;  /* of others that have one; of KV_STATS: what is asked for */
	uint32_t flags;
	uint32_t
		bytes; /* of the data block, without its end; KV_VALUE_MAX + 1 and more: too large */
	int64_t exptime;    /* seconds, as the client said it */
	uint64_t number;    /* cas unique, delta */
	const char *answer; /* of KV_REFUSED */
};

enum kv_found {
	KV_MORE, /* no whole line yet */
	KV_LINE,
	KV_TOO_LONG, /* there never will be one: the connection cannot go on */
	KV_FOREIGN,  /* of another protocol (HTTP, memcached's binary one): likewise */
};

/**
 * kv_parse - the command that the bytes begin with
 * @have:       bytes that have come
 * @seen:       how many of them an earlier call had, that said KV_MORE; 0 for a new line
 * @out:        written for KV_LINE; points into @bytes
 * @line_bytes: written for KV_LINE: of the line with its end
 *
 * Context: any, pure.
 */
enum kv_found kv_parse(const char *bytes, size_t have, size_t seen, struct kv_command *out,
		       size_t *line_bytes);

/** kv_next_key - take the first key off @keys. Return: false if there is none. Context: any, pure */
bool kv_next_key(struct kv_text *keys, struct kv_text *key);

/**
 * kv_number - a value as a number, as incr reads it
 *
 * Digits after spaces or a plus sign, up to the end or a space. Context: any, pure.
 * Return: false if it is none, or has more than 64 bits.
 */
bool kv_number(struct kv_text t, uint64_t *out);

/** kv_put_number - @n in decimal, at most KV_NUMBER_BYTES, without an end. Return: behind it. Context: any, pure */
char *kv_put_number(char *at, uint64_t n);

/**
 * kv_deadline - when what is stored with @exptime ends, in the shard's time
 * @exptime: 0: never; < 0: at once; up to 30 days: seconds from now; more: seconds since 1970
 * @now_ns, @wall_ns: the same moment, by the shard and since 1970
 *
 * Context: any, pure. Return: ns, <= @now_ns for what has ended; APUS_NEVER.
 */
int64_t kv_deadline(int64_t exptime, int64_t now_ns, int64_t wall_ns);

#endif
