/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/icmp.c: what ICMP says about a segment of ours (RFC 9293 §3.9.2.2, RFC 5927).
 *
 * Anybody can send such a message, so it is believed only when the sequence number it quotes is in
 * flight, as RFC 5927 advises. Even then a synchronized connection is not ended by it, hard error or
 * soft: it is remembered, and told to the user if the connection ends by timeout (MUST-56,
 * SHLD-25). Before the handshake is over a hard error ends the attempt. "Fragmentation needed" is for
 * pmtu.c.
 *
 * Where we differ: a hard error does not abort a synchronized connection, though SHLD-26 says so;
 * §3.9.2.2 notes that others do the same.
 */
#include "net/ip/icmp.h"

#include "net/tcp/pmtu.h"
#include "net/tcp/steady.h"

#include <errno.h>

static int error_of(const struct apus_icmp_error *e)
{
	if (e->type != APUS_ICMP_UNREACHABLE)
		return -EHOSTUNREACH;
	switch (e->code) {
	case APUS_ICMP_UNREACHABLE_NET:
		return -ENETUNREACH;
	case APUS_ICMP_UNREACHABLE_PROTOCOL:
	case APUS_ICMP_UNREACHABLE_PORT:
		return -ECONNREFUSED;
	default:
		return -EHOSTUNREACH;
	}
}

/* RFC 9293 §3.9.2.2: codes 2 to 4 are hard; 4, that it did not fit, is path MTU discovery's. */
static bool is_hard(const struct apus_icmp_error *e)
{
	return e->type == APUS_ICMP_UNREACHABLE &&
	       (e->code == APUS_ICMP_UNREACHABLE_PROTOCOL || e->code == APUS_ICMP_UNREACHABLE_PORT);
}

static void connection_error(struct apus_tcp *c, const struct apus_icmp_error *e, int64_t now_ns)
{
	if (e->type == APUS_ICMP_UNREACHABLE && e->code == APUS_ICMP_UNREACHABLE_TOO_BIG) {
		if (apus_tcp_synchronized(c->state))
			apus_tcp_too_big(c, e->mtu, now_ns);
		return;
	}
	if (apus_tcp_synchronized(c->state) || !is_hard(e))
		c->soft_error = (int16_t)error_of(e);
	else
		apus_tcp_delete(c, error_of(e));
}

void apus_tcp_icmp_error(struct apus_tcp_layer *layer, const struct apus_icmp_error *e,
			 int64_t now_ns)
{
	struct apus_tcp_key key = {
		.local = e->local,
		.remote = e->remote,
		.local_port = e->local_port,
		.remote_port = e->remote_port,
	};
	struct apus_tcp_found found = apus_tcp_demux_find(&layer->demux, &key);
	struct apus_tcp *c = found.entry;

	/* SND.UNA =< SEQ < SND.NXT. Request and TIME-WAIT entries have timers to end them. */
	if (found.kind != APUS_TCP_KIND_CONNECTION ||
	    !apus_seq_within(c->snd.una, e->seq, c->snd.nxt - c->snd.una)) {
		apus_tcp_count(layer, APUS_TCP_COUNT_ICMP_IGNORED);
		return;
	}
	apus_tcp_count(layer, APUS_TCP_COUNT_ICMP_ERRORS);
	apus_tcp_settle(c);
	connection_error(c, e, now_ns);
}
