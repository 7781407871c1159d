/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/sim/test_drive.c: a host driven from outside: packets in and out, calls, time, chance.
 */
#include "tests/net/sim/sim_test.h"

#include "net/sim/drive.h"

#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#define HOST_IP   RTE_IPV4(10, 0, 0, 1)
#define PEER_IP   RTE_IPV4(10, 0, 0, 2)
#define HOST_PORT 7
#define PEER_PORT 4000
#define OWN_MBUFS 255

struct datagram {
	struct rte_ipv4_hdr ip;
	struct rte_udp_hdr udp;
	char text[8];
};

static struct apus_sim_world *world;
static struct apus_sim_host *host;
static struct apus_tcp_listener *listener;

static void open_world(uint64_t seed, const struct apus_sim_host_options *options,
		       const struct apus_sim_drive_options *drive)
{
	struct apus_sim_world_options world_options = {.quiet = true};

	apus_test_eal();
	world_options.pool = sim_pool();
	assert_int_equal(apus_sim_world_open(seed, &world_options, &world), 0);
	assert_int_equal(apus_sim_host_open(world, "host", options, &host), 0);
	assert_int_equal(apus_sim_drive(host, drive), 0);
}

static int setup(void **state)
{
	open_world(1, &(struct apus_sim_host_options){.ip = "10.0.0.1/24", .mbufs = OWN_MBUFS},
		   NULL);
	return 0;
}

/* Every mbuf and object must be back. */
static int teardown(void **state)
{
	int rc = world ? apus_sim_world_close(world) : 0;

	world = NULL;
	return rc;
}

static void let_pass(int64_t ns)
{
	apus_sim_jump(world, apus_sim_now(world) + ns);
	assert_true(apus_sim_step(world) > 0);
}

/* --- Datagrams: the least that can be asked, and answered ----------------------------------- */

static struct datagram datagram_of(const char *text)
{
	struct datagram d = {
		.ip = {.version_ihl = RTE_IPV4_VHL_DEF,
		       .time_to_live = 64,
		       .next_proto_id = IPPROTO_UDP,
		       .total_length = htons(sizeof(d)),
		       .src_addr = htonl(PEER_IP),
		       .dst_addr = htonl(HOST_IP)},
		.udp = {.src_port = htons(PEER_PORT),
			.dst_port = htons(HOST_PORT),
			.dgram_len = htons(sizeof(d) - sizeof(d.ip))},
	};

	memcpy(d.text, text, apus_min(strlen(text), sizeof(d.text)));
	d.ip.hdr_checksum = rte_ipv4_cksum(&d.ip);
	d.udp.dgram_cksum = rte_ipv4_udptcp_cksum(&d.ip, &d.udp);
	return d;
}

static int64_t echo_after_a_second(void *arg)
{
	struct apus_endpoint from;
	struct apus_udp *u;
	char buf[8];
	int64_t n;

	sim_check_equal(apus_udp_open(sim_any(HOST_PORT), NULL, &u), 0);
	n = apus_udp_recv(u, buf, sizeof(buf), &from);
	if (n >= 0 && apus_sleep(APUS_SEC) == 0)
		n = apus_udp_send(u, buf, (size_t)n, &from);
	apus_udp_close(u);
	return n;
}

static void packet_collected_late_has_the_time_it_was_sent(void **state)
{
	struct datagram sent = datagram_of("hello"), got;
	int64_t began_ns = apus_sim_now(world), at_ns;
	uint16_t sum;

	apus_sim_spawn(host, "echo", echo_after_a_second, NULL);
	assert_int_equal(apus_sim_step(world), APUS_NEVER);
	assert_int_equal(apus_sim_inject(host, &sent, sizeof(sent)), 0);
	assert_int_equal(apus_sim_step(world), began_ns + APUS_SEC);
	let_pass(APUS_SEC);
	let_pass(APUS_SEC);
	assert_int_equal(apus_sim_uncollected(host), 1);
	assert_int_equal(apus_sim_collect(host, &got, sizeof(got), &at_ns), sizeof(got));
	assert_int_equal(at_ns, began_ns + APUS_SEC);
	assert_memory_equal(got.text, sent.text, sizeof(got.text));
	assert_int_equal(got.ip.dst_addr, htonl(PEER_IP));
	sum = got.udp.dgram_cksum;
	got.udp.dgram_cksum = 0;
	assert_int_equal(sum, rte_ipv4_udptcp_cksum(&got.ip, &got.udp));
	/* Neither an ARP request nor an announcement. */
	assert_int_equal(apus_sim_collect(host, &got, sizeof(got), NULL), 0);
}

static void long_packet_collected_into_little_room_is_cut(void **state)
{
	struct datagram sent = datagram_of("hello");
	char got[20] = "", guard[20] = "";

	apus_sim_spawn(host, "echo", echo_after_a_second, NULL);
	assert_true(apus_sim_step(world) > 0);
	assert_int_equal(apus_sim_inject(host, &sent, sizeof(sent)), 0);
	let_pass(0);
	let_pass(APUS_SEC);
	assert_int_equal(apus_sim_collect(host, got, 4, NULL), sizeof(sent));
	assert_int_equal(got[0], 0x45);
	assert_memory_equal(got + 4, guard, 16);
}

static void call_that_waits_is_stamped_when_it_returned(void **state)
{
	struct datagram sent = datagram_of("hello");
	int64_t began_ns = apus_sim_now(world);
	struct apus_sim_task *t = apus_sim_spawn(host, "echo", echo_after_a_second, NULL);

	assert_int_equal(apus_sim_step(world), APUS_NEVER);
	assert_int_equal(apus_sim_task_ended_at(t), APUS_NEVER);
	let_pass(5 * APUS_SEC);
	assert_int_equal(apus_sim_inject(host, &sent, sizeof(sent)), 0);
	let_pass(0);
	let_pass(APUS_SEC);
	let_pass(7 * APUS_SEC);
	assert_true(apus_sim_task_done(t));
	assert_int_equal(apus_sim_task_result(t), sizeof(sent.text));
	assert_int_equal(apus_sim_task_ended_at(t), began_ns + 6 * APUS_SEC);
	apus_sim_task_forget(t);
}

static int64_t say_when(void *arg)
{
	*(int64_t *)arg = apus_now();
	return 42;
}

static void call_that_does_not_wait_sees_the_present(void **state)
{
	int64_t called_at_ns = 0;

	apus_sim_jump(world, 12345 * APUS_SEC);
	assert_int_equal(apus_sim_call(host, say_when, &called_at_ns), 42);
	assert_int_equal(called_at_ns, 12345 * APUS_SEC);
}

/* --- What is lost, and what is wrong --------------------------------------------------------- */

static void full_queue_of_injected_packets_refuses_the_next(void **state)
{
	struct datagram d = datagram_of("x");

	teardown(NULL);
	open_world(1, &(struct apus_sim_host_options){.ip = "10.0.0.1/24"},
		   &(struct apus_sim_drive_options){.queue_packets = 3});
	for (int i = 0; i < 3; i++)
		assert_int_equal(apus_sim_inject(host, &d, sizeof(d)), 0);
	assert_int_equal(apus_sim_inject(host, &d, sizeof(d)), -ENOSPC);
	assert_int_equal(apus_sim_host_counter(host, "l3", "rx_drop_full"), 1);
	assert_true(apus_sim_step(world) > 0);
	assert_int_equal(apus_sim_inject(host, &d, sizeof(d)), 0);
}

/* Nobody listens at the port: each is answered by ICMP, which nobody collects. */
static void full_queue_of_sent_packets_drops_the_next(void **state)
{
	struct datagram d = datagram_of("x");

	teardown(NULL);
	open_world(1, &(struct apus_sim_host_options){.ip = "10.0.0.1/24"},
		   &(struct apus_sim_drive_options){.queue_packets = 3});
	for (int i = 0; i < 5; i++) {
		assert_int_equal(apus_sim_inject(host, &d, sizeof(d)), 0);
		assert_true(apus_sim_step(world) > 0);
	}
	assert_int_equal(apus_sim_uncollected(host), 3);
	assert_int_equal(apus_sim_host_counter(host, "l3", "tx_drop_full"), 2);
}

static void packet_for_an_empty_pool_is_lost_and_counted(void **state)
{
	struct datagram d = datagram_of("x");

	assert_int_equal(apus_sim_host_starve(host, 0), 0);
	assert_int_equal(apus_sim_inject(host, &d, sizeof(d)), -ENOBUFS);
	assert_int_equal(apus_sim_host_counter(host, "l3", "rx_drop_no_mbuf"), 1);
	assert_int_equal(apus_sim_host_starve(host, UINT32_MAX), 0);
	assert_int_equal(apus_sim_inject(host, &d, sizeof(d)), 0);
}

static void packet_of_64_kib_is_chained_and_one_longer_refused(void **state)
{
	static char junk[APUS_L3_BYTES_MAX + 1] = {0x45};

	assert_int_equal(apus_sim_inject(host, junk, sizeof(junk)), -EMSGSIZE);
	assert_int_equal(apus_sim_inject(host, junk, sizeof(junk) - 1), 0);
	assert_true(apus_sim_step(world) > 0);
	assert_int_equal(apus_sim_host_counter(host, "l3", "rx_bytes"), APUS_L3_BYTES_MAX);
}

static void packet_of_no_ip_version_is_dropped_by_name(void **state)
{
	static const char zero[20], six[40] = {0x60};

	assert_int_equal(apus_sim_inject(host, zero, 0), 0);
	assert_int_equal(apus_sim_inject(host, zero, sizeof(zero)), 0);
	assert_int_equal(apus_sim_inject(host, six, sizeof(six)), 0);
	assert_true(apus_sim_step(world) > 0);
	assert_int_equal(apus_sim_host_counter(host, "eth", "drop_short"), 1);
	assert_int_equal(apus_sim_host_counter(host, "eth", "drop_ethertype"), 1);
	assert_int_equal(apus_sim_host_counter(host, "eth", "drop_ipv6"), 1);
	assert_int_equal(apus_sim_uncollected(host), 0);
}

static void impaired_host_loses_what_it_sends(void **state)
{
	struct datagram d = datagram_of("x");
	struct apus_impair_options impair = {.loss_ppm = 1000000};

	assert_int_equal(apus_sim_host_impair(host, &impair), 0);
	assert_int_equal(apus_sim_inject(host, &d, sizeof(d)), 0);
	assert_true(apus_sim_step(world) > 0);
	assert_int_equal(apus_sim_uncollected(host), 0);
	assert_int_equal(apus_sim_host_impair(host, NULL), 0);
	assert_int_equal(apus_sim_inject(host, &d, sizeof(d)), 0);
	assert_true(apus_sim_step(world) > 0);
	assert_int_equal(apus_sim_uncollected(host), 1);
}

static void host_with_a_link_cannot_be_driven(void **state)
{
	assert_int_equal(apus_sim_drive(host, NULL), -EALREADY);
}

/* --- Chance --------------------------------------------------------------------------------- */

struct syn {
	struct rte_ipv4_hdr ip;
	struct rte_tcp_hdr tcp;
	uint8_t options[40];
};

static int64_t connect_to_peer(void *arg)
{
	struct apus_tcp *c;

	return apus_tcp_connect(sim_endpoint("10.0.0.2", PEER_PORT), &c);
}

/* The SYN of a world's first connection. */
static struct syn first_syn(uint64_t seed, uint16_t mtu, uint64_t *digest)
{
	struct apus_sim_drive_options drive = {.mtu = mtu};
	struct syn syn = {0};

	teardown(NULL);
	open_world(seed, &(struct apus_sim_host_options){.ip = "10.0.0.1/24"}, &drive);
	apus_sim_spawn(host, "connect", connect_to_peer, NULL);
	assert_true(apus_sim_step(world) > 0);
	assert_true(apus_sim_collect(host, &syn, sizeof(syn), NULL) > 0);
	assert_int_equal(syn.tcp.tcp_flags, RTE_TCP_SYN_FLAG);
	*digest = apus_sim_digest(world);
	return syn;
}

static void same_seed_is_the_same_packet_and_another_is_not(void **state)
{
	uint64_t one, again, other;
	struct syn a = first_syn(1, 1500, &one);
	struct syn b = first_syn(1, 1500, &again);
	struct syn c = first_syn(2, 1500, &other);

	assert_memory_equal(&a, &b, sizeof(a));
	assert_int_equal(one, again);
	assert_int_not_equal(a.tcp.sent_seq, c.tcp.sent_seq);
	assert_int_not_equal(one, other);
}

/* RFC 9293 §3.7.1: MTU less 20 and 20; the option stands first. */
static void mtu_of_the_link_is_in_the_mss(void **state)
{
	uint64_t digest;
	struct syn syn = first_syn(1, 1280, &digest);

	assert_int_equal(syn.options[0], 2);
	assert_int_equal(syn.options[2] << 8 | syn.options[3], 1280 - 40);
}

static int64_t listen_at_port(void *arg)
{
	return apus_tcp_listen(sim_any(SERVER_PORT), 0, &listener);
}

static int64_t close_listener(void *arg)
{
	apus_tcp_listener_close(listener);
	return 0;
}

/* A thousand short tasks leave nothing behind; teardown looks. */
static void forgotten_tasks_give_their_memory_back(void **state)
{
	for (int i = 0; i < 1000; i++) {
		struct apus_sim_task *t = apus_sim_spawn(host, "listen", listen_at_port, NULL);

		assert_true(apus_sim_step(world) > 0);
		assert_int_equal(apus_sim_task_result(t), 0);
		apus_sim_task_forget(t);
		assert_int_equal(apus_sim_call(host, close_listener, NULL), 0);
	}
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		test(packet_collected_late_has_the_time_it_was_sent),
		test(long_packet_collected_into_little_room_is_cut),
		test(call_that_waits_is_stamped_when_it_returned),
		test(call_that_does_not_wait_sees_the_present),
		test(full_queue_of_injected_packets_refuses_the_next),
		test(full_queue_of_sent_packets_drops_the_next),
		test(packet_for_an_empty_pool_is_lost_and_counted),
		test(packet_of_64_kib_is_chained_and_one_longer_refused),
		test(packet_of_no_ip_version_is_dropped_by_name),
		test(impaired_host_loses_what_it_sends),
		test(host_with_a_link_cannot_be_driven),
		test(same_seed_is_the_same_packet_and_another_is_not),
		test(mtu_of_the_link_is_in_the_mss),
		test(forgotten_tasks_give_their_memory_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
