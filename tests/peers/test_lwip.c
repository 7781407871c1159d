/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/peers/test_lwip.c: our TCP against lwIP's, in one process and in virtual time.
 *
 * lwIP runs without its thread: its clock is the world's (sys_now() below takes the place of the
 * library's), its netif and our driven host are the two ends of a path that loses, delays, reorders
 * and repeats packets by the seed. Both sides send a pattern, half-close, and read to the end.
 *
 * lwIP 2.1 has no SACK, no timestamps, a coarse timer of 500 ms and a window of 64 KiB.
 */
#include "net/sim/drive.h"
#include "net/socket/tcp.h"
#include "runtime/base/list.h"
#include "runtime/base/random.h"
#include "runtime/sync/group.h"
#include "tests/net/sim/sim_test.h"

#include <lwip/init.h>
#include <lwip/ip4.h>
#include <lwip/netif.h>
#include <lwip/tcp.h>
#include <lwip/timeouts.h>

#define PACKET_MAX 1500
#define OUR_KEY    1 /* of the pattern that we send */
#define LWIP_KEY   2

struct path {
	const char *name;
	int64_t delay_ns;
	int64_t jitter_ns; /* of single packets: they overtake each other */
	uint32_t jitter_ppm;
	uint32_t loss_ppm;
	uint32_t repeat_ppm;
};

static const struct path paths[] = {
	{.name = "perfect"},
	{.name = "near", .delay_ns = APUS_MS},
	{.name = "far", .delay_ns = 50 * APUS_MS},
	{.name = "loses 1 %", .delay_ns = 5 * APUS_MS, .loss_ppm = 10000},
	{.name = "loses 5 %", .delay_ns = 5 * APUS_MS, .loss_ppm = 50000},
	{.name = "loses 10 %", .delay_ns = APUS_MS, .loss_ppm = 100000},
	{.name = "reorders",
	 .delay_ns = 2 * APUS_MS,
	 .jitter_ns = 8 * APUS_MS,
	 .jitter_ppm = 100000},
	{.name = "all of it",
	 .delay_ns = 5 * APUS_MS,
	 .jitter_ns = 5 * APUS_MS,
	 .jitter_ppm = 50000,
	 .loss_ppm = 20000,
	 .repeat_ppm = 20000},
};

/* ---- the path ---- */

struct packet {
	struct apus_list link;
	int64_t due_ns;
	bool to_lwip;
	size_t bytes;
	uint8_t data[PACKET_MAX];
};

static struct test {
	const struct path *path;
	struct apus_random random;
	struct apus_sim_world *world;
	struct apus_sim_host *host;
	struct apus_list flying; /* struct packet, by due_ns */
	bool has_moved;          /* something happened at this instant */
	size_t our_bytes, lwip_bytes;
	bool we_connect;
} test;

static void fly_once(const void *data, size_t bytes, bool to_lwip)
{
	struct packet *p = malloc(sizeof(*p));
	struct apus_list *before;

	apus_must(p && bytes <= PACKET_MAX);
	*p = (struct packet){.to_lwip = to_lwip, .bytes = bytes};
	memcpy(p->data, data, bytes);
	p->due_ns = apus_sim_now(test.world) + test.path->delay_ns;
	if (apus_random_below(&test.random, 1000000) < test.path->jitter_ppm)
		p->due_ns +=
			(int64_t)apus_random_below(&test.random, (uint64_t)test.path->jitter_ns);
	for (before = test.flying.prev; before != &test.flying; before = before->prev)
		if (apus_container_of(before, struct packet, link)->due_ns <= p->due_ns)
			break;
	apus_list_push_front(before, &p->link);
	test.has_moved = true;
}

static void fly(const void *data, size_t bytes, bool to_lwip)
{
	if (apus_random_below(&test.random, 1000000) < test.path->loss_ppm)
		return;
	fly_once(data, bytes, to_lwip);
	if (apus_random_below(&test.random, 1000000) < test.path->repeat_ppm)
		fly_once(data, bytes, to_lwip);
}

/* ---- lwIP ---- */

static struct netif netif;
static int64_t lwip_epoch_ns; /* its clock goes on from world to world */

/* In place of the library's. Milliseconds. */
u32_t sys_now(void)
{
	int64_t now_ns = test.world ? apus_sim_now(test.world) : 0;

	return (u32_t)((lwip_epoch_ns + now_ns) / APUS_MS);
}

static err_t lwip_sends(struct netif *nif, struct pbuf *p, const ip4_addr_t *to)
{
	uint8_t data[PACKET_MAX];

	fly(data, pbuf_copy_partial(p, data, sizeof(data), 0), false);
	return ERR_OK;
}

static err_t lwip_netif_init(struct netif *nif)
{
	nif->name[0] = 'l';
	nif->name[1] = 'w';
	nif->mtu = 1500;
	nif->output = lwip_sends;
	return ERR_OK;
}

static void lwip_start(void)
{
	ip4_addr_t addr, mask, gateway;
	static bool started;

	if (started)
		return;
	started = true;
	lwip_init();
	IP4_ADDR(&addr, 10, 0, 0, 2);
	IP4_ADDR(&mask, 255, 255, 255, 0);
	IP4_ADDR(&gateway, 0, 0, 0, 0);
	apus_must(netif_add(&netif, &addr, &mask, &gateway, NULL, lwip_netif_init, ip4_input));
	netif_set_default(&netif);
	netif_set_up(&netif);
	netif_set_link_up(&netif);
}

static void lwip_hears(const struct packet *p)
{
	/* Not of the pool: Debian's build has elements smaller than it takes them to be. */
	struct pbuf *buf = pbuf_alloc(PBUF_RAW, (u16_t)p->bytes, PBUF_RAM);

	apus_must(buf);
	apus_must(pbuf_take(buf, p->data, (u16_t)p->bytes) == ERR_OK);
	if (netif.input(buf, &netif) != ERR_OK)
		pbuf_free(buf);
}

/* Its end of the connection. */
static struct {
	struct tcp_pcb *listener, *pcb;
	size_t written, received;
	int64_t wrong_at; /* first byte that was not ours; < 0: none */
	int64_t progress_ns, worst_gap_ns;
	bool has_shut, has_ended;
	err_t error;
} end;

static void end_progress(void)
{
	int64_t now_ns = apus_sim_now(test.world);

	end.worst_gap_ns = apus_max(end.worst_gap_ns, now_ns - end.progress_ns);
	end.progress_ns = now_ns;
	test.has_moved = true;
}

static void end_write(void)
{
	uint8_t data[1024];

	while (end.pcb && end.written < test.lwip_bytes) {
		size_t n = apus_min(sizeof(data), test.lwip_bytes - end.written);

		n = apus_min(n, (size_t)tcp_sndbuf(end.pcb));
		sim_fill(data, n, end.written, LWIP_KEY);
		if (!n || tcp_write(end.pcb, data, (u16_t)n, TCP_WRITE_FLAG_COPY) != ERR_OK)
			break;
		end.written += n;
	}
	if (end.pcb && end.written == test.lwip_bytes && !end.has_shut)
		end.has_shut = tcp_shutdown(end.pcb, 0, 1) == ERR_OK;
	if (end.pcb)
		tcp_output(end.pcb);
}

static err_t end_received(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t error)
{
	if (!p) {
		end.has_ended = true;
		test.has_moved = true;
		return ERR_OK;
	}
	for (struct pbuf *q = p; q; q = q->next) {
		int64_t at = sim_differs(q->payload, q->len, end.received, OUR_KEY);

		if (at >= 0 && end.wrong_at < 0)
			end.wrong_at = (int64_t)end.received + at;
		end.received += q->len;
	}
	tcp_recved(pcb, p->tot_len);
	pbuf_free(p);
	end_progress();
	return ERR_OK;
}

static err_t end_sent(void *arg, struct tcp_pcb *pcb, u16_t bytes)
{
	end_write();
	return ERR_OK;
}

static void end_failed(void *arg, err_t error)
{
	end.pcb = NULL;        /* freed by lwIP */
	if (error == ERR_CLSD) /* in good order: both FINs are acknowledged */
		end.has_ended = true;
	else
		end.error = error;
}

static void end_use(struct tcp_pcb *pcb)
{
	end.pcb = pcb;
	end.progress_ns = apus_sim_now(test.world);
	tcp_recv(pcb, end_received);
	tcp_sent(pcb, end_sent);
	tcp_err(pcb, end_failed);
	tcp_nagle_disable(pcb);
	end_write();
}

static err_t end_accepted(void *arg, struct tcp_pcb *pcb, err_t error)
{
	end_use(pcb);
	return ERR_OK;
}

static err_t end_connected(void *arg, struct tcp_pcb *pcb, err_t error)
{
	end_use(pcb);
	return ERR_OK;
}

static void end_open(void)
{
	struct tcp_pcb *pcb = tcp_new();
	ip_addr_t server;

	memset(&end, 0, sizeof(end));
	end.wrong_at = -1;
	apus_must(pcb);
	if (test.we_connect) {
		pcb->so_options |= SOF_REUSEADDR;
		apus_must(tcp_bind(pcb, IP_ADDR_ANY, SERVER_PORT) == ERR_OK);
		end.listener = tcp_listen(pcb);
		apus_must(end.listener);
		tcp_accept(end.listener, end_accepted);
		return;
	}
	IP_ADDR4(&server, 10, 0, 0, 1);
	tcp_err(pcb, end_failed);
	apus_must(tcp_connect(pcb, &server, SERVER_PORT, end_connected) == ERR_OK);
}

static void end_close(void)
{
	if (end.listener)
		apus_must(tcp_close(end.listener) == ERR_OK);
	if (end.pcb) {
		tcp_err(end.pcb, NULL);
		tcp_abort(end.pcb);
	}
}

/* ---- ours ---- */

static int64_t we_send(void *arg)
{
	struct apus_tcp *c = arg;
	uint8_t data[3000];

	for (size_t sent = 0; sent < test.our_bytes;) {
		size_t n = apus_min(sizeof(data), test.our_bytes - sent);

		sim_fill(data, n, sent, OUR_KEY);
		sim_check_equal(apus_tcp_write(c, data, n), n);
		sent += n;
	}
	return apus_tcp_shutdown(c);
}

static int64_t we_receive(void *arg)
{
	struct apus_tcp *c = arg;
	uint8_t data[3000];
	size_t received = 0;
	int64_t n;

	while ((n = apus_tcp_read(c, data, sizeof(data))) > 0) {
		sim_check_equal(sim_differs(data, (size_t)n, received, LWIP_KEY), -1);
		received += (size_t)n;
		test.has_moved = true;
	}
	sim_check_equal(n, 0);
	sim_check_equal(received, test.lwip_bytes);
	return 0;
}

static int64_t ours(void *arg)
{
	struct apus_tcp_listener *l;
	struct apus_group g;
	struct apus_tcp *c;
	int64_t rc;

	if (test.we_connect) {
		sim_check_equal(apus_tcp_connect(sim_endpoint("10.0.0.2", SERVER_PORT), &c), 0);
	} else {
		sim_check_equal(apus_tcp_listen(sim_any(SERVER_PORT), 0, &l), 0);
		sim_check_equal(apus_tcp_accept(l, &c), 0);
		apus_tcp_listener_close(l);
	}
	apus_group_begin(&g, APUS_GROUP_FAIL_FAST);
	rc = apus_group_spawn(&g, NULL, we_send, c, 0);
	if (!rc)
		rc = apus_group_spawn(&g, NULL, we_receive, c, 0);
	rc = apus_group_end(&g, rc);
	apus_group_fini(&g);
	apus_tcp_close(c);
	return rc;
}

/* ---- time ---- */

static void deliver_due(void)
{
	while (!apus_list_empty(&test.flying)) {
		struct packet *p = apus_container_of(test.flying.next, struct packet, link);

		if (p->due_ns > apus_sim_now(test.world))
			return;
		apus_list_remove(&p->link);
		if (p->to_lwip)
			lwip_hears(p);
		else
			apus_must(!apus_sim_inject(test.host, p->data, p->bytes));
		free(p);
		test.has_moved = true;
	}
}

static int64_t next_event(int64_t ours_ns)
{
	uint32_t lwip_ms = sys_timeouts_sleeptime();
	int64_t now_ns = apus_sim_now(test.world);
	int64_t next_ns = ours_ns;

	if (lwip_ms != SYS_TIMEOUTS_SLEEPTIME_INFINITE) /* whole ms: 1 at least, to move at all */
		next_ns = apus_min(next_ns, now_ns + apus_max(lwip_ms, 1U) * APUS_MS);
	if (!apus_list_empty(&test.flying))
		next_ns = apus_min(
			next_ns, apus_container_of(test.flying.next, struct packet, link)->due_ns);
	return apus_max(next_ns, now_ns);
}

/* Until our task and lwIP's end are both done, or the limit. */
static bool run(struct apus_sim_task *task, int64_t limit_ns)
{
	uint8_t data[PACKET_MAX];
	int64_t ours_ns;
	size_t n;

	while (apus_sim_now(test.world) < limit_ns) {
		if (apus_sim_task_done(task) && (end.has_ended || end.error))
			return true;
		test.has_moved = false;
		ours_ns = apus_sim_step(test.world);
		apus_must(ours_ns >= 0);
		while ((n = apus_sim_collect(test.host, data, sizeof(data), NULL)) > 0)
			fly(data, n, true);
		sys_check_timeouts();
		deliver_due();
		if (!test.has_moved)
			apus_sim_jump(test.world, next_event(ours_ns));
	}
	return false;
}

static void transfer(const struct path *path, uint64_t seed, bool we_connect, size_t our_bytes,
		     size_t lwip_bytes)
{
	struct apus_sim_host_options as = {.ip = SERVER_IP "/24"};
	struct apus_sim_world_options world;
	struct apus_sim_task *task;
	bool done;

	apus_test_eal();
	world = (struct apus_sim_world_options){.pool = sim_pool()};
	test = (struct test){.path = path, .we_connect = we_connect};
	test.our_bytes = our_bytes;
	test.lwip_bytes = lwip_bytes;
	apus_list_init(&test.flying);
	apus_random_init_seed(&test.random, seed);
	apus_must(!apus_sim_world_open(seed, &world, &test.world));
	apus_must(!apus_sim_host_open(test.world, "ours", &as, &test.host));
	apus_must(!apus_sim_drive(test.host, NULL));
	lwip_start();
	end_open();
	task = apus_sim_spawn(test.host, "ours", ours, NULL);

	done = run(task, apus_sim_now(test.world) + 600 * APUS_SEC);
	if (!done || apus_sim_task_result(task) || end.error || end.wrong_at >= 0)
		print_error("path '%s', seed %lu, %s connect: ours %ld, lwIP's error %d, received "
			    "%zu of %zu, wrong at %ld, %.1f s\n",
			    path->name, seed, we_connect ? "we" : "it", apus_sim_task_result(task),
			    end.error, end.received, our_bytes, end.wrong_at,
			    (double)apus_sim_now(test.world) / APUS_SEC);
	assert_true(done);
	assert_int_equal(apus_sim_task_result(task), 0);
	assert_int_equal(end.error, ERR_OK);
	assert_int_equal(end.wrong_at, -1);
	assert_int_equal(end.received, our_bytes);
	assert_int_equal(end.written, lwip_bytes);

	end_close();
	while (!apus_list_empty(&test.flying)) {
		struct packet *p = apus_container_of(test.flying.next, struct packet, link);

		apus_list_remove(&p->link);
		free(p);
	}
	lwip_epoch_ns += apus_sim_now(test.world) + APUS_SEC;
	assert_int_equal(apus_sim_world_close(test.world), 0);
	test.world = NULL;
}

/* ---- tests ---- */

#define SEEDS 40

/* Bytes arrive as they were sent, both ways at once, over every path, whoever connects. */
static void every_byte_arrives_both_ways(void **state)
{
	for (size_t i = 0; i < apus_countof(paths); i++)
		for (uint64_t seed = 1; seed <= SEEDS; seed++)
			transfer(&paths[i], seed, seed & 1, 200000, 200000);
}

static void every_byte_of_ours_arrives(void **state)
{
	for (size_t i = 0; i < apus_countof(paths); i++)
		for (uint64_t seed = 1; seed <= SEEDS; seed++)
			transfer(&paths[i], 100 + seed, seed & 1, 300000, 0);
}

static void every_byte_of_its_arrives(void **state)
{
	for (size_t i = 0; i < apus_countof(paths); i++)
		for (uint64_t seed = 1; seed <= SEEDS; seed++)
			transfer(&paths[i], 200 + seed, seed & 1, 0, 300000);
}

/*
 * A segment of ours that is lost alone is sent again after one RTO (200 ms and a round trip) at the
 * latest; so with 1 % of loss, where three in a row are one in a million, no silence is longer than
 * three timeouts.
 */
static void we_never_stall_beyond_the_rto_schedule(void **state)
{
	static const struct path path = {
		.name = "stalls", .delay_ns = 10 * APUS_MS, .loss_ppm = 10000};

	for (uint64_t seed = 1; seed <= 4 * SEEDS; seed++) {
		transfer(&path, 300 + seed, true, 200000, 0);
		assert_in_range(end.worst_gap_ns, 0, (200 + 400 + 800 + 100) * APUS_MS);
	}
}

static void nothing_at_all_closes_in_good_order(void **state)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++)
		transfer(&paths[seed % apus_countof(paths)], 400 + seed, seed & 1, 0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_at_all_closes_in_good_order),
		cmocka_unit_test(every_byte_of_ours_arrives),
		cmocka_unit_test(every_byte_of_its_arrives),
		cmocka_unit_test(every_byte_arrives_both_ways),
		cmocka_unit_test(we_never_stall_beyond_the_rto_schedule),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
