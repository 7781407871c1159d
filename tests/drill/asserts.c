/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/drill/asserts.c: what a script can assert: tcp_info with Linux's names and units, counters.
 */
#include "tests/drill/drill.h"

#include "net/tcp/info.h"
#include "net/tcp/tcb.h"

#include <string.h>

#define INFINITE_SSTHRESH 0x7fffffff /* Linux's */

/* As Linux numbers them. */
static int64_t linux_state(const struct apus_tcp *c)
{
	switch ((enum apus_tcp_state)c->state) {
	case APUS_TCP_CLOSED:
		return 7;
	case APUS_TCP_LISTEN:
		return 10;
	case APUS_TCP_SYN_SENT:
		return 2;
	case APUS_TCP_SYN_RECEIVED:
		return 3;
	case APUS_TCP_ESTABLISHED:
		return 1;
	case APUS_TCP_FIN_WAIT_1:
		return 4;
	case APUS_TCP_FIN_WAIT_2:
		return 5;
	case APUS_TCP_CLOSE_WAIT:
		return 8;
	case APUS_TCP_CLOSING:
		return 11;
	case APUS_TCP_LAST_ACK:
		return 9;
	case APUS_TCP_TIME_WAIT:
		return 6;
	}
	return 0;
}

struct lookup {
	char area[24], name[32];
	bool found;
	uint64_t sum;
};

static void lookup_visit(void *arg, const char *area, const char *name, uint64_t value)
{
	struct lookup *l = arg;

	if (strcmp(area, l->area) || strcmp(name, l->name))
		return;
	l->found = true;
	l->sum += value;
}

/* AREA.NAME: a counter of the host's; one that does not exist is a mistake in the script. */
static bool counter(const struct drill_sockets *s, const char *field, int64_t *out)
{
	struct lookup l = {0};

	if (sscanf(field, "%23[^.].%31s", l.area, l.name) != 2)
		return false;
	apus_metrics_visit(apus_shard_metrics(apus_sim_host_shard(s->host)), lookup_visit, &l);
	*out = (int64_t)l.sum;
	return l.found;
}

static int64_t microseconds(int64_t ns)
{
	return ns / APUS_US;
}

/* Times in microseconds, windows in segments. */
static bool info_field(const struct apus_tcp *c, const char *name, int64_t *out)
{
	struct apus_tcp_info info;

	apus_tcp_call_info(c, &info);

	const struct {
		const char *name;
		int64_t value;
	} fields[] = {
		{"state", linux_state(c)},
		{"ca_state", info.ca_state},
		{"retransmits", info.retransmits},
		{"backoff", info.backoff},
		{"rto", microseconds(info.rto_ns)},
		{"rtt", microseconds(info.srtt_ns)},
		{"rttvar", microseconds(info.rttvar_ns)},
		{"min_rtt", microseconds(info.min_rtt_ns)},
		{"snd_mss", info.snd_mss},
		{"rcv_mss", info.rcv_mss},
		{"snd_cwnd", info.snd_cwnd / info.snd_mss},
		{"snd_ssthresh", info.snd_ssthresh == UINT32_MAX
					 ? INFINITE_SSTHRESH
					 : info.snd_ssthresh / info.snd_mss},
		{"snd_wnd", info.snd_wnd},
		{"rcv_wnd", info.rcv_wnd},
		{"rcv_space", info.rcv_space},
		{"notsent_bytes", info.notsent_bytes},
		{"unacked", info.unacked},
		{"sacked", info.sacked},
		{"lost", info.lost},
		{"retrans", info.retrans},
		{"reordering", info.reordering},
		{"bytes_acked", (int64_t)info.bytes_acked},
		{"bytes_received", (int64_t)info.bytes_received},
		{"bytes_retrans", (int64_t)info.bytes_retrans},
		{"segs_in", info.segs_in},
		{"segs_out", info.segs_out},
		{"total_retrans", info.total_retrans},
		{"delivered", info.delivered},
		{"delivered_ce", info.delivered_ce},
		{"dsack_dups", info.dsack_dups},
		{"reord_seen", info.reord_seen},
	};

	for (size_t i = 0; i < apus_countof(fields); i++) {
		if (strcmp(name, fields[i].name))
			continue;
		*out = fields[i].value;
		return true;
	}
	return false;
}

bool drill_assert_field(const struct drill_sockets *s, const char *field, int64_t *out)
{
	struct apus_shard *before;
	bool found;

	if (!strcmp(field, "host.connections"))
		*out = (int64_t)apus_sim_host_connections(s->host);
	else if (!strcmp(field, "host.time_waits"))
		*out = (int64_t)apus_sim_host_time_waits(s->host);
	else if (!strcmp(field, "host.mbufs_free"))
		*out = apus_sim_host_mbufs_free(s->host);
	else if (!strcmp(field, "host.buffers_out"))
		*out = s->buffers_out;
	else if (strncmp(field, "tcpi_", 5))
		return counter(s, field, out);
	else if (!s->last)
		return false;
	else {
		before = apus_shard_enter(apus_sim_host_shard(s->host));
		found = info_field(s->last->connection, field + 5, out);
		if (!strcmp(field, "tcpi_urgent")) {
			*out = apus_tcp_urgent(s->last->connection);
			found = true;
		}
		apus_shard_enter(before);
		return found;
	}
	return true;
}
