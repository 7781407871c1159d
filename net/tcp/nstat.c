/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/nstat.c: which of our counters Linux has too, by the names of /proc/net/snmp and
 * /proc/net/netstat, as `nstat` prints them: for who knows what these mean.
 *
 * Only where the event is the same; a name that would be nearly right is not given.
 */
#include "net/tcp/layer.h"

const char *const apus_tcp_nstat[APUS_TCP_COUNTER_COUNT] = {
	[APUS_TCP_COUNT_SEGMENTS_IN] = "TcpInSegs",
	[APUS_TCP_COUNT_SEGMENTS_OUT] = "TcpOutSegs",
	[APUS_TCP_COUNT_ACTIVE_OPENS] = "TcpActiveOpens",
	[APUS_TCP_COUNT_PASSIVE_OPENS] = "TcpPassiveOpens",
	[APUS_TCP_COUNT_RETRANSMITS] = "TcpRetransSegs",
	[APUS_TCP_COUNT_RESETS_OUT] = "TcpOutRsts",
	[APUS_TCP_COUNT_RTO] = "TcpExtTCPTimeouts",
	[APUS_TCP_COUNT_SYN_RETRANSMITS] = "TcpExtTCPSynRetrans",
	[APUS_TCP_COUNT_TAIL_PROBES] = "TcpExtTCPLossProbes",
	[APUS_TCP_COUNT_TAIL_PROBE_REPAIRS] = "TcpExtTCPLossProbeRecovery",
	[APUS_TCP_COUNT_LOST_RETRANSMITS] = "TcpExtTCPLostRetransmit",
	[APUS_TCP_COUNT_REORDERINGS] = "TcpExtTCPSACKReorder",
	[APUS_TCP_COUNT_DSACKS_IN] = "TcpExtTCPDSACKRecv",
	[APUS_TCP_COUNT_SACK_RENEGED] = "TcpExtTCPSACKReneging",
	[APUS_TCP_COUNT_DELAYED_ACKS] = "TcpExtDelayedACKs",
	[APUS_TCP_COUNT_CHALLENGE_ACKS] = "TcpExtTCPChallengeACK",
	[APUS_TCP_COUNT_TIME_WAITS] = "TcpExtTW",
	[APUS_TCP_COUNT_TIME_WAIT_REUSED] = "TcpExtTWRecycled",
	[APUS_TCP_COUNT_ACCEPT_OVERFLOW] = "TcpExtListenOverflows",
	[APUS_TCP_COUNT_LISTEN_DROP] = "TcpExtListenDrops",
	[APUS_TCP_COUNT_OUT_OF_ORDER] = "TcpExtTCPOFOQueue",
	[APUS_TCP_COUNT_DROP_SYN_IN_WINDOW] = "TcpExtTCPSYNChallenge",
	[APUS_TCP_COUNT_MTU_PROBES_PASSED] = "TcpExtTCPMTUPSuccess",
	[APUS_TCP_COUNT_MTU_PROBES_LOST] = "TcpExtTCPMTUPFail",
	[APUS_TCP_COUNT_DROP_BAD_CHECKSUM] = "TcpInCsumErrors",
};
