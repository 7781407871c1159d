/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/socket/test_udp.c: the contract of net/socket/udp.h, on either network.
 */
#include "tests/net/socket/network_test.h"

#define PORT        7
#define QUEUE_MAX   256  /* of a socket, as its header says */
#define PAYLOAD_MAX 1472 /* MTU 1500 less IPv4 and UDP headers */

static struct apus_udp *shared;
static char big[4096];

static int open_to(uint16_t port, struct apus_udp **out)
{
	struct apus_endpoint to = network_server(port);

	return apus_udp_open(sim_any(0), &to, out);
}

/* --- Names --------------------------------------------------------------------------------- */

static int64_t bind_client(void *arg)
{
	struct apus_udp *a, *b;

	sim_check_equal(apus_udp_open(network_any(PORT), NULL, &a), 0);
	sim_check_equal(apus_udp_local(a).port, network_port(PORT));
	sim_check_equal(apus_udp_open(network_any(PORT), NULL, &b), -EADDRINUSE);
	sim_check_equal(apus_udp_open(sim_endpoint("10.9.9.9", 0), NULL, &b), -EADDRNOTAVAIL);
	apus_udp_close(a);
	sim_check_equal(apus_udp_open(network_any(PORT), NULL, &b), 0); /* free again */
	apus_udp_close(b);
	return 0;
}

static void port_is_taken_once_and_free_after_close(void **state)
{
	network_run(NULL, bind_client);
}

static int64_t ephemeral_client(void *arg)
{
	struct apus_udp *all[100];

	for (size_t i = 0; i < apus_countof(all); i++) {
		sim_check_equal(apus_udp_open(sim_any(0), NULL, &all[i]), 0);
		sim_check(apus_udp_local(all[i]).port >= 1024);
		for (size_t j = 0; j < i; j++)
			sim_check(apus_udp_local(all[i]).port != apus_udp_local(all[j]).port);
	}
	for (size_t i = 0; i < apus_countof(all); i++)
		apus_udp_close(all[i]);
	return 0;
}

static void port_zero_chooses_a_free_one_each_time(void **state)
{
	network_run(NULL, ephemeral_client);
}

/* --- Datagrams ----------------------------------------------------------------------------- */

static int64_t boundaries_server(void *arg)
{
	struct apus_endpoint from;
	struct apus_udp *u;
	char buf[PAYLOAD_MAX];

	sim_check_equal(apus_udp_open(network_any(PORT), NULL, &u), 0);
	sim_check_equal(apus_udp_recv(u, buf, sizeof(buf), &from), 3);
	sim_check_equal(memcmp(buf, "abc", 3), 0);
	sim_check(apus_addr_equal(from.addr, network_client_addr()));
	sim_check_equal(apus_udp_recv(u, buf, sizeof(buf), NULL), 0); /* empty ones count too */
	sim_check_equal(apus_udp_recv(u, buf, sizeof(buf), NULL), PAYLOAD_MAX);
	sim_check_equal(buf[PAYLOAD_MAX - 1], 'z');
	sim_check_equal(apus_udp_recv(u, buf, 2, NULL), 2); /* cut off */
	sim_check_equal(memcmp(buf, "lo", 2), 0);
	sim_check_equal(apus_udp_recv(u, buf, sizeof(buf), NULL), 4); /* not what was cut off */
	sim_check_equal(memcmp(buf, "last", 4), 0);
	apus_udp_close(u);
	return 0;
}

static int64_t boundaries_client(void *arg)
{
	struct apus_udp *u;

	memset(big, 'z', sizeof(big));
	sim_check_equal(open_to(PORT, &u), 0);
	sim_check_equal(apus_udp_send(u, "abc", 3, NULL), 3);
	sim_check_equal(apus_udp_send(u, "", 0, NULL), 0);
	if (!on_kernel) /* whose loopback has a larger MTU, and fragments */
		sim_check_equal(apus_udp_send(u, big, PAYLOAD_MAX + 1, NULL), -EMSGSIZE);
	sim_check_equal(apus_udp_send(u, big, PAYLOAD_MAX, NULL), PAYLOAD_MAX);
	sim_check_equal(apus_udp_send(u, "long", 4, NULL), 4);
	sim_check_equal(apus_udp_send(u, "last", 4, NULL), 4);
	apus_udp_close(u);
	return 0;
}

static void datagrams_keep_their_boundaries(void **state)
{
	network_run(boundaries_server, boundaries_client);
}

static int64_t many_server(void *arg)
{
	static const char *const texts[] = {"one", "", "three"};
	struct apus_udp_view views[8];
	size_t next = 0;
	struct apus_udp *u;
	char buf[16];

	sim_check_equal(apus_udp_open(network_any(PORT), NULL, &u), 0);
	sim_check_equal(network_pause(APUS_SEC), 0); /* till all are here */
	while (next < apus_countof(texts)) {
		int64_t n = apus_udp_recv_many(u, views, 8, buf, sizeof(buf));

		sim_check(n > 0 && next + (size_t)n <= apus_countof(texts));
		sim_check(on_kernel || n == apus_countof(texts));
		for (int64_t i = 0; i < n; i++, next++) {
			sim_check_equal(views[i].len, strlen(texts[next]));
			sim_check_equal(memcmp(views[i].bytes, texts[next], views[i].len), 0);
			sim_check(apus_addr_equal(views[i].from.addr, network_client_addr()));
		}
	}
	apus_udp_close(u);
	return 0;
}

static int64_t many_client(void *arg)
{
	struct apus_udp *u;

	sim_check_equal(open_to(PORT, &u), 0);
	sim_check_equal(apus_udp_send(u, "one", 3, NULL), 3);
	sim_check_equal(apus_udp_send(u, "", 0, NULL), 0);
	sim_check_equal(apus_udp_send(u, "three", 5, NULL), 5);
	apus_udp_close(u);
	return 0;
}

static void many_are_received_at_a_time_in_order(void **state)
{
	network_run(many_server, many_client);
}

static int64_t destination_client(void *arg)
{
	struct apus_endpoint nowhere = sim_endpoint("192.168.1.1", PORT);
	struct apus_udp *u;

	sim_check_equal(apus_udp_open(sim_any(0), NULL, &u), 0);
	sim_check_equal(apus_udp_send(u, "x", 1, NULL), -EDESTADDRREQ);
	sim_check_equal(apus_udp_send(u, "x", 1, &nowhere), -ENETUNREACH);
	apus_udp_close(u);
	return 0;
}

static void unconnected_socket_needs_a_destination_with_a_route(void **state)
{
	network_run(NULL, destination_client);
}

static int64_t refused_client(void *arg)
{
	struct apus_udp *u;
	char byte;

	sim_check_equal(open_to(PORT, &u), 0); /* nobody is there */
	sim_check_equal(apus_udp_send(u, "x", 1, NULL), 1);
	sim_check_equal(apus_udp_recv(u, &byte, 1, NULL), -ECONNREFUSED);
	apus_udp_close(u);
	return 0;
}

static void closed_port_is_reported_to_a_connected_socket(void **state)
{
	network_run(NULL, refused_client);
}

static int64_t stranger_server(void *arg)
{
	struct apus_endpoint client, other;
	struct apus_udp *u, *v;
	char byte;

	sim_check_equal(apus_udp_open(network_any(PORT), NULL, &u), 0);
	sim_check_equal(apus_udp_open(network_any(PORT + 1), NULL, &v), 0);
	sim_check_equal(apus_udp_recv(u, &byte, 1, &client), 1);
	other = client;
	sim_check_equal(apus_udp_send(v, "stranger", 8, &other), 8); /* right port, wrong sender */
	sim_check_equal(apus_udp_send(u, "friend", 6, &client), 6);
	apus_udp_close(u);
	apus_udp_close(v);
	return 0;
}

static int64_t stranger_client(void *arg)
{
	struct apus_udp *u;
	char buf[16];

	sim_check_equal(open_to(PORT, &u), 0);
	sim_check_equal(apus_udp_send(u, "x", 1, NULL), 1);
	sim_check_equal(apus_udp_recv(u, buf, sizeof(buf), NULL), 6);
	sim_check_equal(memcmp(buf, "friend", 6), 0);
	apus_udp_close(u);
	return 0;
}

static void connected_socket_sees_its_peer_only(void **state)
{
	network_run(stranger_server, stranger_client);
}

static int64_t flood_server(void *arg)
{
	struct apus_timeout limit;
	struct apus_udp *u;
	char byte;
	int64_t n, got = 0;

	sim_check_equal(apus_udp_open(network_any(PORT), NULL, &u), 0);
	sim_check_equal(network_pause(APUS_SEC), 0);
	do {
		apus_timeout_begin(&limit, APUS_SEC);
		n = apus_udp_recv(u, &byte, 1, NULL);
		n = apus_timeout_end(&limit, n);
		got += n == 1;
	} while (n == 1);
	sim_check_equal(n, -ETIMEDOUT);
	sim_check_equal(got, QUEUE_MAX);
	apus_udp_close(u);
	return 0;
}

static int64_t flood_client(void *arg)
{
	struct apus_udp *u;

	sim_check_equal(open_to(PORT, &u), 0);
	sim_check_equal(apus_udp_send(u, "x", 1, NULL), 1);
	sim_check_equal(network_pause(100 * APUS_MS), 0); /* ARP's queue is smaller */
	for (int i = 0; i < QUEUE_MAX + 99; i++)
		sim_check_equal(apus_udp_send(u, "x", 1, NULL), 1);
	apus_udp_close(u);
	return 0;
}

static void full_queue_drops_and_counts(void **state)
{
	network_run(flood_server, flood_client);
	assert_int_equal(apus_sim_host_counter(pair.server, "udp", "drop_queue_full"), 100);
}

/* --- Waiting ------------------------------------------------------------------------------- */

static int64_t wait_shared(void *arg)
{
	char byte;

	return apus_udp_recv(shared, &byte, 1, NULL);
}

static int64_t close_client(void *arg)
{
	struct apus_task *t;

	sim_check_equal(apus_udp_open(network_any(PORT), NULL, &shared), 0);
	t = apus_spawn(wait_shared, NULL);
	sim_check_equal(network_pause(APUS_SEC), 0);
	apus_udp_close(shared);
	sim_check_equal(apus_await(t), -EPIPE);
	return 0;
}

static void close_wakes_the_task_that_waits(void **state)
{
	network_run(NULL, close_client);
}

static int64_t cancel_server(void *arg)
{
	struct apus_task *t;
	char buf[8];

	sim_check_equal(apus_udp_open(network_any(PORT), NULL, &shared), 0);
	t = apus_spawn(wait_shared, NULL);
	sim_check_equal(network_pause(500 * APUS_MS), 0);
	apus_task_cancel(t);
	sim_check_equal(apus_await(t), -ECANCELED);
	sim_check_equal(apus_udp_recv(shared, buf, sizeof(buf), NULL), 4); /* it took nothing */
	apus_udp_close(shared);
	return 0;
}

static int64_t cancel_client(void *arg)
{
	struct apus_udp *u;

	sim_check_equal(open_to(PORT, &u), 0);
	sim_check_equal(network_pause(APUS_SEC), 0);
	sim_check_equal(apus_udp_send(u, "late", 4, NULL), 4);
	apus_udp_close(u);
	return 0;
}

static void cancelled_recv_has_taken_nothing(void **state)
{
	network_run(cancel_server, cancel_client);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest both[] = {
		NETWORK_TEST(port_is_taken_once_and_free_after_close),
		NETWORK_TEST(port_zero_chooses_a_free_one_each_time),
		NETWORK_TEST(datagrams_keep_their_boundaries),
		NETWORK_TEST(many_are_received_at_a_time_in_order),
		NETWORK_TEST(closed_port_is_reported_to_a_connected_socket),
		NETWORK_TEST(connected_socket_sees_its_peer_only),
		NETWORK_TEST(close_wakes_the_task_that_waits),
		NETWORK_TEST(cancelled_recv_has_taken_nothing),
	};
	static const struct CMUnitTest own[] = {
		NETWORK_TEST(unconnected_socket_needs_a_destination_with_a_route),
		NETWORK_TEST(full_queue_drops_and_counts),
	};

	NETWORK_MAIN("net/socket udp", argc, argv, both, own);
}
