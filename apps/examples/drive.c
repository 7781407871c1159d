/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/examples/drive.c: TCP, packet by packet: a host of a simulated world driven from outside.
 *
 * One host listens; this program is the network, and the peer. It makes each packet by hand, steps
 * the world, and prints what the host sends, and when. The host's first answer is "lost" here: the
 * clock jumps to the time at which it is sent again, so nobody waits.
 */
#include "net/sim/drive.h"
#include "net/socket/tcp.h"

#include <inttypes.h>
#include <rte_eal.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <stdio.h>
#include <string.h>

#define HOST_IP   0xc0000201u /* 192.0.2.1 */
#define PEER_IP   0xc0000202u /* 192.0.2.2 */
#define HOST_PORT 80
#define PEER_PORT 4000
#define PEER_ISN  1000

struct packet {
	struct rte_ipv4_hdr ip;
	struct rte_tcp_hdr tcp;
	char text[100];
};

static struct apus_sim_world *world;
static struct apus_sim_host *host;
static uint32_t host_isn; /* as its SYN says */

/* ---- what runs on the host ---- */

static int64_t serve(void *arg)
{
	struct apus_endpoint any = {.port = HOST_PORT};
	struct apus_tcp_listener *l;
	struct apus_tcp *c;
	char buf[100];
	int64_t rc = apus_tcp_listen(any, 0, &l);

	if (rc < 0)
		return rc;
	rc = apus_tcp_accept(l, &c);
	apus_tcp_listener_close(l);
	if (rc < 0)
		return rc;
	while ((rc = apus_tcp_read(c, buf, sizeof(buf))) > 0) {
		rc = apus_tcp_write(c, buf, (size_t)rc);
		if (rc < 0)
			break;
	}
	apus_tcp_close(c);
	return rc;
}

/* ---- the peer ---- */

static double seconds(int64_t at_ns)
{
	return (double)(at_ns - APUS_SEC) / (double)APUS_SEC;
}

static void print(const char *way, int64_t at_ns, const struct packet *p, uint32_t seq,
		  uint32_t ack, int text_bytes)
{
	uint8_t flags = p->tcp.tcp_flags;

	printf("%.3f %s %s%s%s%s seq %" PRIu32, seconds(at_ns), way,
	       flags & RTE_TCP_SYN_FLAG ? "S" : "", flags & RTE_TCP_FIN_FLAG ? "F" : "",
	       flags & RTE_TCP_PSH_FLAG ? "P" : "", flags & RTE_TCP_ACK_FLAG ? "." : "", seq);
	if (flags & RTE_TCP_ACK_FLAG)
		printf(" ack %" PRIu32, ack);
	printf(text_bytes ? " \"%.*s\"\n" : "\n", text_bytes, p->text);
}

/* Numbers are relative to the initial ones, as in every trace. */
static void send_to_host(uint8_t flags, uint32_t seq, uint32_t ack, const char *text)
{
	struct packet p = {
		.ip = {.version_ihl = RTE_IPV4_VHL_DEF,
		       .time_to_live = 64,
		       .next_proto_id = IPPROTO_TCP,
		       .src_addr = rte_cpu_to_be_32(PEER_IP),
		       .dst_addr = rte_cpu_to_be_32(HOST_IP)},
		.tcp = {.src_port = rte_cpu_to_be_16(PEER_PORT),
			.dst_port = rte_cpu_to_be_16(HOST_PORT),
			.sent_seq = rte_cpu_to_be_32(PEER_ISN + seq),
			.recv_ack = rte_cpu_to_be_32(host_isn + ack),
			.data_off = sizeof(p.tcp) / 4 << 4,
			.tcp_flags = flags,
			.rx_win = rte_cpu_to_be_16(65535)},
	};
	size_t text_bytes = strlen(text);
	size_t bytes = offsetof(struct packet, text) + text_bytes;

	memcpy(p.text, text, text_bytes);
	p.ip.total_length = rte_cpu_to_be_16((uint16_t)bytes);
	p.ip.hdr_checksum = rte_ipv4_cksum(&p.ip);
	p.tcp.cksum = rte_ipv4_udptcp_cksum(&p.ip, &p.tcp);
	print("peer", apus_sim_now(world), &p, seq, ack, (int)text_bytes);
	if (apus_sim_inject(host, &p, bytes) < 0)
		puts("lost");
}

/* All the host has to say at this instant. Return: when it has to do something next. */
static int64_t hear(void)
{
	int64_t next_ns = apus_sim_step(world);
	int64_t sent_at_ns;
	struct packet p;
	size_t bytes;

	while ((bytes = apus_sim_collect(host, &p, sizeof(p), &sent_at_ns)) > 0) {
		size_t header = sizeof(p.ip) + (p.tcp.data_off >> 4) * 4u;
		uint32_t seq = rte_be_to_cpu_32(p.tcp.sent_seq);
		uint32_t ack = rte_be_to_cpu_32(p.tcp.recv_ack);

		if (p.tcp.tcp_flags & RTE_TCP_SYN_FLAG)
			host_isn = seq;
		memmove(p.text, (char *)&p + header, bytes - header); /* over its options */
		print("host", sent_at_ns, &p, seq - host_isn, ack - PEER_ISN,
		      (int)(bytes - header));
	}
	return next_ns;
}

static void converse(void)
{
	send_to_host(RTE_TCP_SYN_FLAG, 0, 0, "");
	hear();
	send_to_host(RTE_TCP_ACK_FLAG, 1, 1, "");
	hear();
	send_to_host(RTE_TCP_ACK_FLAG | RTE_TCP_PSH_FLAG, 1, 1, "hello");
	apus_sim_jump(world, hear()); /* no ACK from the peer: the host's timer is next */
	hear();
	apus_sim_jump(world, apus_sim_now(world) + 20 * APUS_MS);
	send_to_host(RTE_TCP_ACK_FLAG | RTE_TCP_FIN_FLAG, 6, 6, "");
	hear();
	send_to_host(RTE_TCP_ACK_FLAG, 7, 7, "");
	hear();
}

static int start_eal(const char *program)
{
	static char *argv[] = {"drive",       "--no-huge",         "--no-pci",
			       "--no-shconf", "--no-telemetry",    "-m",
			       "64",          "--log-level=error", NULL};

	if (rte_eal_init((int)apus_countof(argv) - 1, argv) < 0) {
		fprintf(stderr, "%s: DPDK does not start\n", program);
		return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct apus_sim_world_options options = {.mbufs = 1023};
	struct apus_sim_task *task;
	int64_t served;
	int rc;

	if (start_eal(argv[0]) < 0 || apus_sim_world_open(1, &options, &world) < 0)
		return 1;
	rc = apus_sim_host_open(world, "host",
				&(struct apus_sim_host_options){.ip = "192.0.2.1/24"}, &host);
	if (rc == 0)
		rc = apus_sim_drive(host, NULL);
	if (rc < 0) {
		fprintf(stderr, "%s: %s\n", argv[0], strerror(-rc));
		return 1;
	}
	task = apus_sim_spawn(host, "serve", serve, NULL);
	hear();
	converse();
	served = apus_sim_task_result(task);
	printf("%.3f the server's task ended with %" PRId64 "\n",
	       seconds(apus_sim_task_ended_at(task)), served);
	rc = apus_sim_world_close(world);
	return served < 0 || rc < 0;
}
