/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/options.h: what a stack's TCP offers and accepts; set when the stack is opened.
 *
 * All zero is the default: everything that TCP.md asks for is on.
 */
#ifndef APUS_NET_TCP_OPTIONS_H
#define APUS_NET_TCP_OPTIONS_H

#include "runtime/base/compiler.h"

APUS_BEGIN_DECLS

/* When a SYN is answered by a cookie instead of making a request entry (RFC 4987 §3.6). */
enum apus_tcp_cookies {
	APUS_TCP_COOKIES_WHEN_FULL, /* a listener has as many entries as it may, or all have */
	APUS_TCP_COOKIES_NEVER,
	APUS_TCP_COOKIES_ALWAYS,
};

/* RFC 3168. Congestion control that needs it asks for it in any case. */
enum apus_tcp_ecn {
	APUS_TCP_ECN_ACCEPT, /* when the peer asks */
	APUS_TCP_ECN_NEVER,
	APUS_TCP_ECN_ASK, /* and ask for it */
};

struct apus_tcp_options {
	bool no_timestamps; /* neither offered nor accepted (RFC 7323 §3) */
	bool no_sack;       /* likewise (RFC 2018 §2) */
	enum apus_tcp_ecn ecn;
	uint32_t rcv_buffer_bytes; /* of a new connection; 0: 128 KiB */
	uint32_t rcv_buffer_max;   /* to which it may grow; 0: 15 MB */
	bool no_gso;               /* text goes down a segment at a time, not as runs */
	bool no_fast; /* every segment goes the long way, through input.c and output.c */
	bool no_gro;  /* segments that follow each other in a burst are not joined */
	enum apus_tcp_cookies cookies;
	uint32_t requests_max; /* entries of a listener, at most its backlog; 0: its backlog */
	bool reset_on_overflow; /* a peer whose ACK finds the accept queue full is reset, not ignored */
	bool no_mtu_probing; /* segments stay large when timeouts may mean a path MTU black hole */
	bool pacing; /* also for algorithms that do not ask for it: bursts are spread over the RTT */
	const char *
		congestion; /* "cubic" (NULL), "reno", "dctcp", "bbr"; of those that do not choose */
};

APUS_END_DECLS

#endif
