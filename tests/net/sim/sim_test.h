/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/sim/sim_test.h: two hosts and a wire, for tests in virtual time.
 *
 * A task says what is wrong by sim_check(), which prints the place and ends the task with -EBADMSG;
 * the test asserts the tasks' results. (A cmocka assertion within a task would leave the scheduler
 * in the middle of its lap.)
 */
#ifndef APUS_TESTS_NET_SIM_SIM_TEST_H
#define APUS_TESTS_NET_SIM_SIM_TEST_H

#include "net/link/pool.h"
#include "net/sim/world.h"
#include "net/socket/tcp.h"
#include "net/socket/udp.h"
#include "runtime/sync/timeout.h"
#include "tests/net/net_test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define SERVER_IP   "10.0.0.1"
#define CLIENT_IP   "10.0.0.2"
#define SERVER_PORT 80

#define sim_check(cond)                                                                        \
 do {                                                                                          \
  if (!(cond)) {                                                                               \
   fprintf(stderr, "%s:%d: in %s: %s\n", __FILE__, __LINE__, apus_task_name(apus_task_self()), \
	   #cond);                                                                             \
   return -EBADMSG;                                                                            \
  }                                                                                            \
 } while (0)

/* Compares two integers and prints both. */
#define sim_check_equal(left, right)                                                     \
 do {                                                                                    \
  int64_t sim_l = (int64_t)(left), sim_r = (int64_t)(right);                             \
  if (sim_l != sim_r) {                                                                  \
   fprintf(stderr, "%s:%d: in %s: %s is %lld, not %lld\n", __FILE__, __LINE__,           \
	   apus_task_name(apus_task_self()), #left, (long long)sim_l, (long long)sim_r); \
   return -EBADMSG;                                                                      \
  }                                                                                      \
 } while (0)

struct sim_pair {
	struct apus_sim_world *world;
	struct apus_sim_host *server, *client;
};

static inline struct apus_endpoint sim_endpoint(const char *ip, uint16_t port)
{
	struct in_addr addr = {0};

	apus_must(inet_pton(AF_INET, ip, &addr) == 1);
	return (struct apus_endpoint){.addr = apus_addr_v4(addr.s_addr), .port = port};
}

/* Any address, as for a listener. */
static inline struct apus_endpoint sim_any(uint16_t port)
{
	return (struct apus_endpoint){.port = port};
}

static inline struct apus_endpoint sim_server(void)
{
	return sim_endpoint(SERVER_IP, SERVER_PORT);
}

/* The pool of all worlds of a test program, so that each need not fill one. */
static inline struct rte_mempool *sim_pool(void)
{
	static struct rte_mempool *pool;

	if (!pool)
		pool = apus_pool_create("sim-tests", 65535, APUS_POOL_CACHE,
					RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	apus_must(pool);
	return pool;
}

/*
 * What a host's TCP offers and accepts, drawn from the seed: each of timestamps, SACK and ECN is off
 * (not asked for) in every fourth world, on either side.
 */
static inline struct apus_tcp_options sim_tcp_options(uint64_t seed, uint64_t side)
{
	uint64_t drawn = (2 * seed + side) * 0x9e3779b97f4a7c15 >> 32;

	return (struct apus_tcp_options){
		.no_timestamps = (drawn & 3) == 0,
		.no_sack = (drawn >> 2 & 3) == 0,
		.ecn = drawn >> 4 & 1 ? APUS_TCP_ECN_ASK : APUS_TCP_ECN_ACCEPT,
	};
}

/* With these options, but for the address. */
static inline void sim_pair_open_as(struct sim_pair *p, uint64_t seed,
				    const struct apus_sim_link_options *link,
				    struct apus_sim_host_options server,
				    struct apus_sim_host_options client)
{
	struct apus_sim_world_options world = {0};

	server.ip = SERVER_IP "/24";
	client.ip = CLIENT_IP "/24";

	apus_test_eal();
	world.pool = sim_pool();
	apus_must(apus_sim_world_open(seed, &world, &p->world) == 0);
	apus_must(apus_sim_host_open(p->world, "server", &server, &p->server) == 0);
	apus_must(apus_sim_host_open(p->world, "client", &client, &p->client) == 0);
	apus_must(apus_sim_link(p->world, p->server, p->client, link) == 0);
}

/* @own_mbufs: > 0: in a pool of each host's own; @draws: options as sim_tcp_options() says. */
static inline void sim_pair_open_with(struct sim_pair *p, uint64_t seed,
				      const struct apus_sim_link_options *link, uint32_t own_mbufs,
				      bool draws)
{
	struct apus_sim_host_options server = {.mbufs = own_mbufs};
	struct apus_sim_host_options client = {.mbufs = own_mbufs};

	if (draws) {
		server.tcp = sim_tcp_options(seed, 0);
		client.tcp = sim_tcp_options(seed, 1);
	}
	sim_pair_open_as(p, seed, link, server, client);
}

static inline void sim_pair_open(struct sim_pair *p, uint64_t seed,
				 const struct apus_sim_link_options *link)
{
	sim_pair_open_with(p, seed, link, 0, false);
}

/* After TIME-WAIT nothing may be left of any connection. Return: connections and entries left. */
static inline size_t sim_pair_left(const struct sim_pair *p)
{
	const struct apus_sim_host *const hosts[] = {p->server, p->client};
	size_t left = 0;

	for (size_t i = 0; i < 2; i++)
		if (!apus_sim_host_killed(hosts[i])) /* the dead keep what they had */
			left += apus_sim_host_connections(hosts[i]) +
				apus_sim_host_time_waits(hosts[i]);
	return left;
}

/* Byte @position of the stream that @key names. */
static inline uint8_t sim_byte(uint64_t position, uint32_t key)
{
	uint32_t x = ((uint32_t)position + key) * 2654435761u;

	return (uint8_t)(x >> 24 ^ x >> 13);
}

static inline void sim_fill(uint8_t *buf, size_t bytes, uint64_t position, uint32_t key)
{
	for (size_t i = 0; i < bytes; i++)
		buf[i] = sim_byte(position + i, key);
}

/* The first byte that differs, or -1. */
static inline int64_t sim_differs(const uint8_t *buf, size_t bytes, uint64_t position, uint32_t key)
{
	for (size_t i = 0; i < bytes; i++)
		if (buf[i] != sim_byte(position + i, key))
			return (int64_t)i;
	return -1;
}

#endif
