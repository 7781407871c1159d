/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/sim/test_wrap.c: what counts modulo 2^32 on one connection goes round: sequence numbers
 * in a transfer of more than 8 GiB with losses, timestamps and ticks in 60 days.
 *
 * All bytes of the transfer go through both stacks and are compared: the text is a block of a prime
 * length again and again, so that what is 2^32 bytes off is not the same. It is lent on one side and
 * looked at where it lies on the other. With a sanitizer it is 256 MiB, around one wrap.
 */
#include "tests/net/sim/script.h"

#include "net/tcp/tcb.h"
#include "net/tcp/timestamp.h"

#include <rte_ethdev.h>

#define BLOCK_BYTES 1048573 /* a prime */
#define PIECE_BYTES 262144
#define BYTES       (APUS_ASAN ? INT64_C(1) << 28 : (INT64_C(2) << 32) + (1 << 28))
#define WRAPS       (APUS_ASAN ? 1U : 3U) /* ISS is 2^27 before the first */
#define FIRST_WRAP  (1U << 27)
#define DAY_NS      (24 * 3600 * APUS_SEC)

static uint8_t block[BLOCK_BYTES];

/* ---- sequence numbers ---- */

static uint32_t iss;
static unsigned int wraps;

static void open_fast_world(int64_t start_ns)
{
	struct apus_sim_link_options link = {
		.wire = {.delay_ns = 50 * APUS_US,
			 .queue_frames = 65536,
			 .offloads = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM |
				     RTE_ETH_TX_OFFLOAD_TCP_TSO,
			 .lend = true},
		.impair = {.loss_ppm = 200, .queue_frames = 65535},
	};
	struct apus_sim_world_options world = {
		.pool = sim_pool(), .start_ns = start_ns, .no_digest = true};
	struct apus_sim_host_options server = {.ip = SERVER_IP "/24"};
	struct apus_sim_host_options client = {.ip = CLIENT_IP "/24"};
	struct sim_pair *p = &script.pair;

	memset(&script, 0, sizeof(script));
	apus_must(apus_sim_world_open(1, &world, &p->world) == 0);
	apus_must(apus_sim_host_open(p->world, "server", &server, &p->server) == 0);
	apus_must(apus_sim_host_open(p->world, "client", &client, &p->client) == 0);
	apus_must(apus_sim_link(p->world, p->server, p->client, &link) == 0);
}

static void nobody(void *arg)
{
}

static int64_t send_blocks(void *arg)
{
	int64_t bytes = *(const int64_t *)arg, rc = 0;
	struct apus_tcp *c;

	sim_check_equal(apus_tcp_connect(sim_server(), &c), 0);
	iss = c->snd.una - 1;
	for (int64_t sent = 0; rc >= 0 && sent < bytes; sent += rc) {
		int64_t at = sent % BLOCK_BYTES;
		int64_t n = apus_min(bytes - sent, (int64_t)PIECE_BYTES);

		n = apus_min(n, BLOCK_BYTES - at);
		rc = apus_tcp_send_buffer(c, block + at, (size_t)n, nobody, NULL);
	}
	apus_tcp_close(c);
	return rc < 0 ? rc : 0;
}

/* Return: views' bytes from place @got on are the block's. */
static bool is_block(const struct iovec *view, int64_t got)
{
	const uint8_t *bytes = view->iov_base;
	size_t left = view->iov_len;

	while (left > 0) {
		size_t at = (size_t)(got % BLOCK_BYTES);
		size_t n = apus_min(left, BLOCK_BYTES - at);

		if (memcmp(bytes, block + at, n) != 0)
			return false;
		bytes += n;
		left -= n;
		got += (int64_t)n;
	}
	return true;
}

static int64_t receive_blocks(void *arg)
{
	struct iovec views[16];
	struct apus_tcp *c;
	uint32_t last;
	int n;

	sim_check_equal(accept_one(&c), 0);
	last = c->rcv.irs;
	while ((n = apus_tcp_peek(c, views, (int)apus_countof(views))) > 0) {
		size_t bytes = 0;

		for (int i = 0; i < n; i++) {
			sim_check(is_block(&views[i], script.bytes));
			script.bytes += (int64_t)views[i].iov_len;
			bytes += views[i].iov_len;
		}
		apus_tcp_consume(c, bytes);
		wraps += c->rcv.nxt < last;
		last = c->rcv.nxt;
		apus_tcp_check(c);
	}
	apus_tcp_close(c);
	return n;
}

static void transfer(int64_t bytes)
{
	struct apus_sim_task *receive, *send;

	wraps = 0;
	receive = apus_sim_spawn(script.pair.server, "receive", receive_blocks, NULL);
	send = apus_sim_spawn(script.pair.client, "send", send_blocks, &bytes);
	run_for(3600 * APUS_SEC);
	assert_int_equal(apus_sim_task_result(receive), 0);
	assert_int_equal(apus_sim_task_result(send), 0);
	assert_int_equal(script.bytes, bytes);
}

/* The same world, begun so much later that its ISN is FIRST_WRAP before the wrap. */
static void sequence_numbers_go_round_and_all_bytes_come(void **state)
{
	int64_t tick_ns = 4 * APUS_US, start_ns = APUS_SEC;
	uint64_t losses;

	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = sim_byte(i, 1);
	open_fast_world(start_ns);
	transfer(1);
	assert_int_equal(teardown(NULL), 0);
	open_fast_world(start_ns + (int64_t)(0U - FIRST_WRAP - iss) * tick_ns);
	transfer(BYTES);
	assert_in_range(iss, 0U - FIRST_WRAP - 1000, 0U - FIRST_WRAP + 1000);
	assert_int_equal(wraps, WRAPS);
	losses = apus_sim_host_counter(script.pair.client, "impair", "tx_lost");
	assert_true(losses >= (APUS_ASAN ? 1 : 20));
	assert_int_equal(apus_sim_host_counter(script.pair.server, "tcp", "paws_rejected"), 0);
}

/* ---- timestamps and ticks ---- */

static uint32_t ts_now(const struct apus_tcp *c)
{
	return apus_tcp_ts_clock(apus_now()) + c->ts_offset;
}

static int64_t echo(void *arg)
{
	struct apus_tcp *c;
	int64_t n;

	sim_check_equal(accept_one(&c), 0);
	while ((n = apus_tcp_read(c, script.buf, sizeof(script.buf))) > 0)
		sim_check_equal(apus_tcp_write(c, script.buf, (size_t)n), n);
	apus_tcp_close(c);
	return n;
}

/* Return: 0 if the answer came within a second. */
static int64_t ask(struct apus_tcp *c)
{
	int64_t began_ns = apus_now();
	uint8_t answer;

	sim_check_equal(apus_tcp_write(c, "?", 1), 1);
	sim_check_equal(apus_tcp_read(c, &answer, 1), 1);
	sim_check_equal(answer, '?');
	sim_check(apus_now() - began_ns < APUS_SEC);
	return 0;
}

/* Through the wrap of our own clock, a question every 7 ms; and on, until 60 days are over. */
static int64_t ask_for_sixty_days(void *arg)
{
	int64_t end_ns, wrap_ns;
	struct apus_tcp *c;
	uint32_t before;

	sim_check_equal(apus_tcp_connect(sim_server(), &c), 0);
	end_ns = apus_now() + 60 * DAY_NS;
	while (apus_now() < end_ns) {
		sim_check_equal(ask(c), 0);
		wrap_ns = (int64_t)(0U - ts_now(c)) * APUS_MS;
		if (wrap_ns > APUS_SEC) { /* less than a day idle, and more than 24 */
			int64_t idle_ns = script.count % 2 ? 25 * DAY_NS : DAY_NS / 2;

			idle_ns = apus_min(idle_ns, wrap_ns - 500 * APUS_MS);
			sim_check_equal(apus_sleep(apus_min(idle_ns, end_ns - apus_now())), 0);
			script.count++;
			continue;
		}
		before = ts_now(c);
		sim_check_equal(apus_sleep(7 * APUS_MS), 0);
		script.failed += ts_now(c) < before; /* wraps, that is */
	}
	apus_tcp_close(c);
	return 0;
}

static void timestamps_go_round_and_nothing_is_taken_for_old(void **state)
{
	run_both(echo, ask_for_sixty_days, 70 * DAY_NS);
	assert_true(script.failed >= 1);
	assert_true(script.count >= 3);
	assert_int_equal(server_counter("paws_rejected"), 0);
	assert_int_equal(client_counter("paws_rejected"), 0);
	assert_int_equal(client_counter("retransmits"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_BARE(sequence_numbers_go_round_and_all_bytes_come),
		TEST(timestamps_go_round_and_nothing_is_taken_for_old),
	};

	apus_test_eal();
	return cmocka_run_group_tests_name("net/sim wrap", tests, NULL, NULL);
}
