/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/link/test_ethdev.c: a port of DPDK as a link (net/link/ethdev.c), on net_ring: a driver
 * that gives back what it was sent, and needs nothing of the machine.
 */
#include "net/link/eal.h"
#include "net/link/ethdev.h"
#include "tests/net/link/link_test.h"

#define PORT "net_ring0"

struct port_fixture {
	struct apus_clock clock;
	struct apus_shard *shard;
	struct apus_link *link;
	uint64_t live;
	char why[APUS_EAL_WHY_BYTES];
};

static struct port_fixture fixture;

static void open_port(struct port_fixture *f)
{
	const struct apus_ethdev_options options = {.device = PORT, .mbufs = 4096};

	assert_int_equal(apus_ethdev_open(&options, f->why, sizeof(f->why), &f->link), 0);
}

static struct rte_mbuf *port_frame(struct port_fixture *f, uint32_t number)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(f->link->pool);

	assert_non_null(m);
	memset(rte_pktmbuf_append(m, 60), 0, 60);
	memcpy(rte_pktmbuf_mtod_offset(m, char *, RTE_ETHER_HDR_LEN), &number, sizeof(number));
	return m;
}

static int port_setup(void **state)
{
	memset(&fixture, 0, sizeof(fixture));
	apus_clock_init_virtual(&fixture.clock, START_NS);
	if (apus_shard_open(&(struct apus_shard_options){.core = -1, .clock = &fixture.clock},
			    &fixture.shard))
		return -1;
	apus_shard_enter(fixture.shard);
	fixture.live = apus_shard_heap(fixture.shard)->live;
	*state = &fixture;
	return 0;
}

static int port_teardown(void **state)
{
	struct port_fixture *f = *state;
	int rc = 0;

	if (f->link) {
		if (rte_mempool_in_use_count(f->link->pool)) {
			fprintf(stderr, "mbufs leaked\n");
			rc = -1;
		}
		apus_link_close(f->link);
	}
	if (apus_shard_heap(f->shard)->live != f->live)
		rc = -1;
	apus_shard_close(f->shard);
	return rc;
}

/* A closed port is gone for good, so one test opens it, and is the last. */

static void unknown_device_is_said(void **state)
{
	struct port_fixture *f = *state;
	const struct apus_ethdev_options options = {.device = "net_nothing0"};

	assert_int_equal(apus_ethdev_open(&options, f->why, sizeof(f->why), &f->link), -ENODEV);
	assert_non_null(strstr(f->why, "net_nothing0"));
}

static void memory_grows_with_mbufs_and_mtu(void **state)
{
	uint64_t few = apus_ethdev_memory(4096, 0), many = apus_ethdev_memory(16384, 0);

	assert_int_equal(many, apus_ethdev_memory(0, 1500));
	assert_true(many > few + UINT64_C(12288) * 2048);
	assert_true(apus_ethdev_memory(16384, 9000) > many + UINT64_C(16384) * 6000);
}

static void frames_come_back(struct port_fixture *f)
{
	struct rte_mbuf *frames[APUS_LINK_BURST_MAX];

	for (uint32_t i = 0; i < APUS_LINK_BURST_MAX; i++)
		frames[i] = port_frame(f, i);
	apus_link_tx(f->link, frames, APUS_LINK_BURST_MAX, START_NS);
	assert_int_equal(apus_link_rx(f->link, frames, APUS_LINK_BURST_MAX, START_NS),
			 APUS_LINK_BURST_MAX);
	for (uint32_t i = 0; i < APUS_LINK_BURST_MAX; i++) {
		assert_int_equal(frame_number(frames[i]), i);
		rte_pktmbuf_free(frames[i]);
	}
	assert_int_equal(f->link->counters[APUS_LINK_TX_FRAMES], APUS_LINK_BURST_MAX);
	assert_int_equal(f->link->counters[APUS_LINK_RX_FRAMES], APUS_LINK_BURST_MAX);
	assert_int_equal(f->link->counters[APUS_LINK_TX_BYTES], 60 * APUS_LINK_BURST_MAX);
	assert_int_equal(f->link->counters[APUS_LINK_RX_BYTES], 60 * APUS_LINK_BURST_MAX);
}

static void chain_comes_back(struct port_fixture *f)
{
	struct rte_mbuf *m = port_frame(f, 7), *got;

	assert_true(f->link->tx_offloads & RTE_ETH_TX_OFFLOAD_MULTI_SEGS);
	assert_int_equal(rte_pktmbuf_chain(m, port_frame(f, 8)), 0);
	apus_link_tx(f->link, &m, 1, START_NS);
	assert_int_equal(apus_link_rx(f->link, &got, 1, START_NS), 1);
	assert_int_equal(got->pkt_len, 120);
	assert_int_equal(frame_number(got), 7);
	rte_pktmbuf_free(got);
}

/* No descriptor to sleep on: later and later, at most a millisecond, until a frame comes. */
static void back_off_grows_and_starts_again(struct port_fixture *f)
{
	struct rte_mbuf *m = port_frame(f, 1);
	int64_t now_ns = START_NS, last_ns = 0, first_ns;

	assert_true(f->link->wake_fd < 0);
	first_ns = apus_link_idle(f->link, APUS_IDLE_ASK, now_ns) - now_ns;
	assert_true(first_ns > 0);
	for (int i = 0; i < 20; i++) {
		int64_t delay_ns = apus_link_idle(f->link, APUS_IDLE_ARM, now_ns) - now_ns;

		apus_link_idle(f->link, APUS_IDLE_WAKE, now_ns);
		assert_true(delay_ns >= last_ns);
		assert_true(delay_ns <= APUS_MS);
		last_ns = delay_ns;
	}
	assert_int_equal(last_ns, APUS_MS);
	apus_link_tx(f->link, &m, 1, now_ns);
	assert_int_equal(apus_link_rx(f->link, &m, 1, now_ns), 1);
	rte_pktmbuf_free(m);
	assert_int_equal(apus_link_idle(f->link, APUS_IDLE_ASK, now_ns) - now_ns, first_ns);
}

/* A ring holds 1023. What does not fit is freed, and counted; nothing waits. */
static void full_device_drops_and_counts(struct port_fixture *f)
{
	uint64_t sent = f->link->counters[APUS_LINK_TX_FRAMES], came = 0, dropped;
	struct rte_mbuf *frames[APUS_LINK_BURST_MAX];
	uint16_t n;

	for (uint32_t i = 0; i < 1600; i++) {
		frames[0] = port_frame(f, i);
		apus_link_tx(f->link, frames, 1, START_NS);
	}
	sent = f->link->counters[APUS_LINK_TX_FRAMES] - sent;
	dropped = f->link->counters[APUS_LINK_TX_DROP_FULL];
	assert_true(dropped > 0);
	assert_int_equal(sent + dropped, 1600);
	while ((n = apus_link_rx(f->link, frames, APUS_LINK_BURST_MAX, START_NS))) {
		assert_int_equal(frame_number(frames[0]), came);
		came += n;
		rte_pktmbuf_free_bulk(frames, n);
	}
	assert_int_equal(came, sent);
}

static void port_opens_works_and_closes(void **state)
{
	struct port_fixture *f = *state;
	struct test_capture *said = malloc(sizeof(*said));

	assert_non_null(said);
	open_port(f);
	assert_int_equal(f->link->mtu, 1500);
	assert_int_equal(rte_mempool_avail_count(f->link->pool), 4096);
	frames_come_back(f);
	chain_comes_back(f);
	back_off_grows_and_starts_again(f);
	full_device_drops_and_counts(f);

	test_capture_begin(said);
	apus_ethdev_report(f->link);
	test_capture_end(said);
	assert_non_null(strstr(said->text, "net_ring0"));
	assert_non_null(strstr(said->text, "back-off"));
	free(said);
}

/* Errors of options close the port, so each needs a process of its own, and EAL is one per process. */
static void refuse_options(void *arg)
{
	const struct apus_ethdev_options *o = arg;
	struct apus_eal_options eal = {.vdev = PORT, .core = -1};
	char why[APUS_EAL_WHY_BYTES] = "";
	struct apus_link *link;
	void *state;
	int rc;

	if (apus_eal_open(&eal, why, sizeof(why)) || port_setup(&state))
		_exit(10);
	rc = apus_ethdev_open(o, why, sizeof(why), &link);
	fprintf(stderr, "%s", why);
	apus_eal_close();
	_exit(-rc);
}

static void option_that_the_device_can_not_follow_is_said(void **state)
{
	static const struct {
		struct apus_ethdev_options options;
		const char *says;
		int status;
	} rows[] = {
		{{.device = PORT, .mbufs = 100}, "--mbufs", EINVAL},
		{{.device = PORT, .mbufs = 100000}, "--mbufs", ENOMEM}, /* of 64 MiB */
		{{.device = PORT, .mtu = 20}, "--mtu", EINVAL},
	};
	static struct test_capture said;

	for (size_t i = 0; i < apus_countof(rows); i++) {
		int status =
			test_in_child(refuse_options, (void *)(uintptr_t)&rows[i].options, &said);

		if (!WIFEXITED(status) || WEXITSTATUS(status) != rows[i].status ||
		    !strstr(said.text, rows[i].says))
			fail_msg("row %zu: status %x, %s", i, status, said.text);
	}
}

/* --- Several shards: net_null, which has as many queues as are asked for, a key and a table --- */

static void read_verdict(const struct apus_ethdev_port *port, char text[160])
{
	apus_ethdev_rss_verdict(port, text, 160);
}

static void open_null(struct port_fixture *f, const char *device, uint16_t shards,
		      struct apus_ethdev_port **port)
{
	const struct apus_ethdev_options options = {
		.device = device, .mbufs = 2048, .shards = shards, .seed = 7};

	if (apus_ethdev_port_open(&options, f->why, sizeof(f->why), port))
		fail_msg("%s", f->why);
}

static void each_shard_has_a_queue_and_a_pool_of_its_own(void **state)
{
	struct port_fixture *f = *state;
	struct apus_ethdev_port *port;
	struct apus_link *links[3];
	struct rte_mbuf *m;

	open_null(f, "net_null0", 3, &port);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(apus_ethdev_queue_open(port, i, &links[i]), 0);
	for (unsigned int i = 0; i < 3; i++) {
		assert_ptr_not_equal(links[i]->pool, links[(i + 1) % 3]->pool);
		assert_true(rte_is_same_ether_addr(&links[i]->mac, &links[0]->mac));
		assert_int_equal(apus_link_rx(links[i], &m, 1, START_NS), 1); /* noise, endless */
		assert_ptr_equal(m->pool, links[i]->pool);
		apus_link_tx(links[i], &m, 1, START_NS);
		assert_int_equal(links[i]->counters[APUS_LINK_TX_FRAMES], 1);
	}
	for (unsigned int i = 0; i < 3; i++)
		apus_link_close(links[i]);
	apus_ethdev_port_close(port);
}

static void key_and_table_are_given_read_back_and_spoken_of(void **state)
{
	struct port_fixture *f = *state;
	struct apus_ethdev_port *port;
	char text[160];

	open_null(f, "net_null1", 2, &port);
	read_verdict(port, text);
	if (!strstr(text, "hardware, key ours (not symmetric), table ours of 128, tcp by ") ||
	    !strstr(text, "2 shards over 2 queues"))
		fail_msg("%s", text);
	apus_ethdev_port_close(port);
}

/* net_pcap has as many queues as files. */
static void device_of_one_queue_serves_three_shards(void **state)
{
	struct port_fixture *f = *state;
	struct apus_ethdev_port *port;
	struct apus_link *links[3];
	struct rte_mbuf *m;
	char text[160];

	open_null(f, "net_pcap1", 3, &port);
	read_verdict(port, text);
	assert_string_equal(text, "none, software steering of 3 shards over 1 queue");
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(apus_ethdev_queue_open(port, i, &links[i]), 0);
	for (unsigned int i = 1; i < 3; i++) { /* they never hear of anything by themselves */
		assert_int_equal(apus_link_rx(links[i], &m, 1, START_NS), 0);
		assert_true(apus_link_idle(links[i], APUS_IDLE_ARM, START_NS) == APUS_NEVER);
	}
	assert_true(apus_link_idle(links[0], APUS_IDLE_ARM, START_NS) < APUS_NEVER);
	for (unsigned int i = 0; i < 3; i++)
		apus_link_close(links[i]);
	apus_ethdev_port_close(port);
}

static void more_shards_than_there_may_be_is_said(void **state)
{
	struct port_fixture *f = *state;
	const struct apus_ethdev_options options = {.device = PORT, .shards = 65};
	struct apus_ethdev_port *port;

	assert_int_equal(apus_ethdev_port_open(&options, f->why, sizeof(f->why), &port), -EINVAL);
	assert_non_null(strstr(f->why, "65 shards"));
}

/* --- A driver that takes one segment at a time: pcap, which writes a file -------------------- */

static char pcap_file[64];

static void send_chain_to_pcap(void *arg)
{
	char vdev[128];
	struct apus_eal_options eal = {.vdev = vdev, .core = -1};
	struct apus_ethdev_options o = {.device = "net_pcap0", .mbufs = 4096};
	char why[APUS_EAL_WHY_BYTES] = "";
	struct port_fixture *f = &fixture;
	struct rte_mbuf *m, *tail;
	void *state;

	snprintf(vdev, sizeof(vdev), "net_pcap0,tx_pcap=%s", pcap_file);
	if (apus_eal_open(&eal, why, sizeof(why)) || port_setup(&state) ||
	    apus_ethdev_open(&o, why, sizeof(why), &f->link)) {
		fprintf(stderr, "%s", why);
		_exit(1);
	}
	apus_ethdev_report(f->link);
	if (!(f->link->tx_offloads & RTE_ETH_TX_OFFLOAD_MULTI_SEGS))
		_exit(2); /* the stack may always send several */
	m = port_frame(f, 7);
	tail = port_frame(f, 8);
	memset(rte_pktmbuf_mtod(tail, void *), 0x5a, 60);
	if (rte_pktmbuf_chain(m, tail))
		_exit(3);
	apus_link_tx(f->link, &m, 1, START_NS);
	if (f->link->counters[APUS_LINK_TX_FRAMES] != 1 ||
	    f->link->counters[APUS_LINK_TX_BYTES] != 120 || rte_mempool_in_use_count(f->link->pool))
		_exit(4);
	apus_link_close(f->link);
	apus_eal_close();
	apus_shard_close(f->shard);
	_exit(0);
}

static void chain_is_gathered_for_a_driver_of_one_segment(void **state)
{
	static struct test_capture said;
	uint8_t bytes[256];
	FILE *in;
	size_t n;
	int status;

	snprintf(pcap_file, sizeof(pcap_file), "/tmp/apus-test-ethdev-%d.pcap", (int)getpid());
	status = test_in_child(send_chain_to_pcap, NULL, &said);
	if (status)
		fail_msg("status %x, %s", status, said.text);
	assert_non_null(strstr(said.text, "segments gathered"));
	assert_non_null(strstr(said.text, "tcp segmentation software (not offered)"));
	assert_non_null(strstr(said.text, "scatter software (gathered)"));
	in = fopen(pcap_file, "r");
	assert_non_null(in);
	n = fread(bytes, 1, sizeof(bytes), in);
	fclose(in);
	unlink(pcap_file);
	assert_int_equal(n, 24 + 16 + 120); /* the file's header, the frame's, the frame */
	assert_int_equal(bytes[24 + 16 + RTE_ETHER_HDR_LEN], 7);
	assert_int_equal(bytes[n - 1], 0x5a);
}

static int start_eal(void **state)
{
	struct apus_eal_options eal = {
		.vdev = PORT,
		.extra = "--vdev net_pcap1,tx_pcap=/dev/null --vdev net_null0 --vdev net_null1",
		.core = -1,
	};

	if (apus_eal_open(&eal, fixture.why, sizeof(fixture.why))) {
		fprintf(stderr, "%s\n", fixture.why);
		return -1;
	}
	return 0;
}

static int stop_eal(void **state)
{
	apus_eal_close();
	return 0;
}

int main(int argc, char **argv)
{
#define test_with_shard(name) cmocka_unit_test_setup_teardown(name, port_setup, port_teardown)
	const struct CMUnitTest children[] = {
		cmocka_unit_test(option_that_the_device_can_not_follow_is_said),
		cmocka_unit_test(chain_is_gathered_for_a_driver_of_one_segment),
	};
	const struct CMUnitTest tests[] = {
		test_with_shard(unknown_device_is_said),
		cmocka_unit_test(memory_grows_with_mbufs_and_mtu),
		test_with_shard(port_opens_works_and_closes),
		test_with_shard(each_shard_has_a_queue_and_a_pool_of_its_own),
		test_with_shard(key_and_table_are_given_read_back_and_spoken_of),
		test_with_shard(device_of_one_queue_serves_three_shards),
		test_with_shard(more_shards_than_there_may_be_is_said),
	};

	test_options(argc, argv);
	return test_finish(cmocka_run_group_tests(children, NULL, NULL) +
			   cmocka_run_group_tests(tests, start_eal, stop_eal));
}
