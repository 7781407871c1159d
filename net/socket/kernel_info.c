/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/socket/kernel_info.c: what the kernel tells of a connection, in our words; see net/tcp/info.h.
 *
 * Of TCP_INFO, whose fields have the same names. An older kernel's is shorter: what it does not know
 * is 0.
 */
#include "net/tcp/info.h"

#include "net/socket/kernel_internal.h"
#include "net/tcp/cc.h"

#include <errno.h>
#include <linux/tcp.h>
#include <string.h>
#include <sys/socket.h>

#define NO_SSTHRESH 0x7fffffff /* Linux's: none yet */
/* Linux's numbers of states; <netinet/tcp.h>, which has them, and <linux/tcp.h> do not mix. */
#define LINUX_FIN_WAIT_2 5
#define LINUX_TIME_WAIT  6
#define NAME_BYTES       16 /* of an algorithm: Linux's TCP_CA_NAME_MAX */

/* As Linux 6.2 and later know it; <linux/tcp.h> may be older. */
struct tcp_info_longer {
	struct tcp_info known;
	uint32_t rcv_wnd;
};

/* In the order of Linux's numbers, which begin at 1. */
static const enum apus_tcp_state states[] = {
	APUS_TCP_CLOSED,       APUS_TCP_ESTABLISHED, APUS_TCP_SYN_SENT,  APUS_TCP_SYN_RECEIVED,
	APUS_TCP_FIN_WAIT_1,   APUS_TCP_FIN_WAIT_2,  APUS_TCP_TIME_WAIT, APUS_TCP_CLOSED,
	APUS_TCP_CLOSE_WAIT,   APUS_TCP_LAST_ACK,    APUS_TCP_LISTEN,    APUS_TCP_CLOSING,
	APUS_TCP_SYN_RECEIVED,
};

static const char *congestion_of(int fd)
{
	char name[NAME_BYTES + 1] = "";
	socklen_t len = NAME_BYTES;
	const struct apus_cc_type *type;

	if (getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len))
		return "";
	type = apus_cc_find(name);
	return type ? type->name : "other";
}

static void add_flight(const struct tcp_info *t, struct apus_tcp_info *info)
{
	info->unacked = t->tcpi_unacked;
	info->sacked = t->tcpi_sacked;
	info->lost = t->tcpi_lost;
	info->retrans = t->tcpi_retrans;
	info->reordering = t->tcpi_reordering;
}

/* Linux counts the SYN of the end that opened as a byte, and a FIN. */
static uint64_t bytes_acked(const struct tcp_info *t, bool is_passive)
{
	uint64_t flags = !is_passive;

	if (t->tcpi_state == LINUX_FIN_WAIT_2 || t->tcpi_state == LINUX_TIME_WAIT)
		flags++;
	return t->tcpi_bytes_acked - apus_min(flags, (uint64_t)t->tcpi_bytes_acked);
}

static void add_totals(const struct tcp_info *t, struct apus_tcp_info *info)
{
	info->bytes_received = t->tcpi_bytes_received;
	info->bytes_retrans = t->tcpi_bytes_retrans;
	info->segs_in = t->tcpi_segs_in;
	info->segs_out = t->tcpi_segs_out;
	info->total_retrans = t->tcpi_total_retrans;
	info->delivered = t->tcpi_delivered;
	info->delivered_ce = t->tcpi_delivered_ce;
	info->dsack_dups = t->tcpi_dsack_dups;
	info->reord_seen = t->tcpi_reord_seen;
	info->pacing_rate = t->tcpi_pacing_rate == UINT64_MAX ? 0 : t->tcpi_pacing_rate;
	info->delivery_rate = t->tcpi_delivery_rate;
}

/* Linux counts windows of its own in segments. */
static void add_windows(const struct tcp_info *t, struct apus_tcp_info *info)
{
	info->snd_mss = t->tcpi_snd_mss;
	info->rcv_mss = t->tcpi_rcv_mss;
	info->snd_cwnd = t->tcpi_snd_cwnd * t->tcpi_snd_mss;
	info->snd_ssthresh = t->tcpi_snd_ssthresh >= NO_SSTHRESH
				     ? UINT32_MAX
				     : t->tcpi_snd_ssthresh * t->tcpi_snd_mss;
	info->snd_wnd = t->tcpi_snd_wnd;
	info->rcv_space = t->tcpi_rcv_space;
	info->notsent_bytes += t->tcpi_notsent_bytes;
}

static void add_times(const struct tcp_info *t, struct apus_tcp_info *info)
{
	info->rto_ns = t->tcpi_rto * APUS_US;
	info->srtt_ns = t->tcpi_rtt * APUS_US;
	info->rttvar_ns = t->tcpi_rttvar * APUS_US;
	info->min_rtt_ns = t->tcpi_min_rtt == UINT32_MAX ? 0 : t->tcpi_min_rtt * APUS_US;
	info->last_data_sent_ns = t->tcpi_last_data_sent * APUS_MS;
	info->last_heard_ns = apus_min(t->tcpi_last_data_recv, t->tcpi_last_ack_recv) * APUS_MS;
}

void apus_kernel_info(const struct apus_tcp *c, struct apus_tcp_info *info)
{
	int fd = apus_kernel_descriptor(c);
	struct tcp_info_longer got = {0};
	const struct tcp_info *t = &got.known;
	socklen_t len = sizeof(got);

	*info = (struct apus_tcp_info){
		.state = apus_tcp_state_name((enum apus_tcp_state)c->state),
		.congestion = "",
		.phase = "",
		.snd_ssthresh = UINT32_MAX,
		.notsent_bytes = apus_kernel_unsent_bytes(c),
	};
	if (fd < 0 || getsockopt(fd, IPPROTO_TCP, TCP_INFO, &got, &len))
		return;
	if (t->tcpi_state < apus_countof(states))
		info->state = apus_tcp_state_name(states[t->tcpi_state]);
	info->congestion = congestion_of(fd);
	info->ca_state = t->tcpi_ca_state;
	info->retransmits = t->tcpi_retransmits;
	info->backoff = t->tcpi_backoff;
	info->snd_wscale = t->tcpi_snd_wscale;
	info->rcv_wscale = t->tcpi_rcv_wscale;
	info->has_timestamps = t->tcpi_options & TCPI_OPT_TIMESTAMPS;
	info->has_sack = t->tcpi_options & TCPI_OPT_SACK;
	info->has_ecn = t->tcpi_options & TCPI_OPT_ECN;
	info->rcv_wnd = got.rcv_wnd;
	add_times(t, info);
	add_windows(t, info);
	add_flight(t, info);
	add_totals(t, info);
	info->bytes_acked = bytes_acked(t, c->is_passive);
}
