/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/cookie.h: SYN cookies: a request entry that lies in the peer's hands (RFC 4987 §3.6).
 *
 * When a listener has no room for another entry, our initial sequence number itself says what the
 * entry would: a keyed hash of the four-tuple and the peer's number, with the size of its segments
 * in three bits. The ACK that completes the handshake brings it back. What else a SYN can ask for
 * (window scale, SACK, ECN) travels in the low bits of our timestamp, if the SYN had one, as
 * Linux's does; without timestamps a connection made from a cookie has none of it.
 *
 * No connection and no clock in here: a cookie is a function of what it is asked for.
 */
#ifndef APUS_NET_TCP_COOKIE_H
#define APUS_NET_TCP_COOKIE_H

#include "net/tcp/demux.h"
#include "runtime/base/siphash.h"

APUS_BEGIN_DECLS

/* A cookie is good in the period it was made in and in the next: for one to two minutes. */
#define APUS_TCP_COOKIE_PERIOD_NS (60 * APUS_SEC)
/* Low bits of a timestamp: 4 of window scale (15: none), SACK, ECN. */
#define APUS_TCP_COOKIE_TS_BITS 6

/* The keys of two periods; others follow from the master key. */
struct apus_tcp_cookie_jar {
	struct apus_siphash_key master;
	struct apus_siphash_key keys[2]; /* of a period and the one before it, at (period & 1) */
	int64_t period;                  /* the newest whose key is there; < 0: none */
};

/* What a timestamp can carry beside the time. */
struct apus_tcp_cookie_options {
	int8_t wscale; /* the peer's; < 0: no option */
	bool sack_permitted;
	bool ecn;
};

/** apus_tcp_cookie_init - @master: drawn at start by apus_random_secret() */
void apus_tcp_cookie_init(struct apus_tcp_cookie_jar *jar, const struct apus_siphash_key *master);

/**
 * apus_tcp_cookie_make - an initial sequence number that can be recognised later
 * @key: the four-tuple of the SYN
 * @irs: the sequence number of the SYN
 * @mss: the SYN's option; 0: it had none, which counts as 536
 *
 * Context: any. Source: RFC 4987 §3.6
 */
uint32_t apus_tcp_cookie_make(struct apus_tcp_cookie_jar *jar, const struct apus_tcp_key *key,
			      uint32_t irs, uint16_t mss, int64_t now_ns);

/**
 * apus_tcp_cookie_check - is @iss a cookie of ours for this @key and @irs?
 *
 * A guess is taken for one with a probability of 2^-28.
 *
 * Context: any. Return: the segment size it says, at most what the SYN had; 0: it is none, or too old.
 */
APUS_MUST_CHECK uint16_t apus_tcp_cookie_check(struct apus_tcp_cookie_jar *jar,
					       const struct apus_tcp_key *key, uint32_t irs,
					       uint32_t iss, int64_t now_ns);

/** apus_tcp_cookie_ts - a timestamp that says @options, not later than @ts, and at most 63 earlier */
uint32_t apus_tcp_cookie_ts(uint32_t ts, const struct apus_tcp_cookie_options *options);

/** apus_tcp_cookie_ts_options - what a timestamp made by apus_tcp_cookie_ts() says; any other says something, too */
struct apus_tcp_cookie_options apus_tcp_cookie_ts_options(uint32_t ts);

APUS_END_DECLS

#endif
