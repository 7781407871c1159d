/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/socket/network_test.h: a server and a client, on either network: one contract for both.
 *
 * By default two hosts of a simulated world, in virtual time. With "kernel" as its argument a test
 * program runs those of its tests that are about the public API alone on the kernel's sockets: both
 * ends are tasks of one shard, on the loopback, and time is real; what waits for nothing to happen
 * waits a twentieth of what it does in virtual time (network_pause()). The loopback is one of the
 * program's own, where that is allowed: ports are fixed, and others' programs run beside it.
 */
#ifndef APUS_TESTS_NET_SOCKET_NETWORK_TEST_H
#define APUS_TESTS_NET_SOCKET_NETWORK_TEST_H

#include "net/socket/kernel.h"
#include "runtime/sched/run.h"
#include "tests/net/sim/sim_test.h"

#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define NETWORK_HURRY   20
#define KERNEL_FIRST    20000 /* of the ports there: below those that the kernel chooses */
#define KERNEL_LIMIT_NS (60 * APUS_SEC)

static bool on_kernel;
static struct sim_pair pair; /* when not */

/** A port that stands for @port: the kernel may have others' sockets, and gives low ones to root only */
static inline uint16_t network_port(uint16_t port)
{
	return on_kernel ? (uint16_t)(KERNEL_FIRST + port) : port;
}

static inline struct apus_endpoint network_any(uint16_t port)
{
	return sim_any(network_port(port));
}

static inline struct apus_endpoint network_server(uint16_t port)
{
	return sim_endpoint(on_kernel ? "127.0.0.1" : SERVER_IP, network_port(port));
}

static inline struct apus_addr network_client_addr(void)
{
	return sim_endpoint(on_kernel ? "127.0.0.1" : CLIENT_IP, 0).addr;
}

/** How long it is waited for nothing to happen, where virtual time has @ns for it */
static inline int64_t network_span(int64_t ns)
{
	return on_kernel ? ns / NETWORK_HURRY : ns;
}

APUS_MUST_CHECK static inline int network_pause(int64_t ns)
{
	return apus_sleep(network_span(ns));
}

static int network_setup(void **state)
{
	if (!on_kernel)
		sim_pair_open(&pair, 1, &(struct apus_sim_link_options){.wire.delay_ns = APUS_MS});
	return 0;
}

static int network_teardown(void **state)
{
	size_t left;
	int rc;

	if (on_kernel)
		return 0;
	rc = apus_sim_advance(pair.world, 300 * APUS_SEC);
	left = sim_pair_left(&pair);
	if (left)
		fprintf(stderr, "%zu connections or entries are left\n", left);
	return apus_sim_world_close(pair.world) < 0 || rc < 0 || left ? -1 : 0;
}

/* --- The kernel's -------------------------------------------------------------------------- */

/* With nothing in it but a loopback that is up. Without the permission: the one that is there. */
static inline void network_own_namespace(void)
{
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd;

	if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &lo), 0);
	close(fd);
}

struct network_ends {
	apus_task_fn fns[2];
	int64_t results[2];
	struct apus_kernel *kernel;
	bool is_missing;
};

static inline int64_t network_both(struct network_ends *ends)
{
	static const char *const names[] = {"server", "client"};
	struct apus_task *tasks[2] = {NULL, NULL};

	for (int i = 0; i < 2; i++) /* the server listens before the client asks */
		if (ends->fns[i])
			tasks[i] = apus_spawn_with(&(struct apus_spawn_options){.name = names[i]},
						   ends->fns[i], NULL, 0);
	for (int i = 0; i < 2; i++)
		ends->results[i] = tasks[i] ? apus_await(tasks[i]) : 0;
	return apus_kernel_linger(ends->kernel, APUS_SEC);
}

static inline int64_t network_main(void *arg)
{
	struct network_ends *ends = arg;
	struct apus_timeout limit;

	if (apus_kernel_open(apus_shard_self(), NULL, &ends->kernel)) {
		ends->is_missing = true;
		return 0;
	}
	apus_timeout_begin(&limit, KERNEL_LIMIT_NS);
	return apus_timeout_end(&limit, network_both(ends));
}

/* The network outlives the main task, which may not close it: its tasks could still be there. */
static inline void network_run_on_kernel(struct network_ends *ends)
{
	struct apus_shard_options options = {.core = -1};
	struct apus_shard *shard;
	int64_t rc;

	assert_int_equal(apus_shard_open(&options, &shard), 0);
	apus_shard_enter(shard);
	rc = apus_run_task(shard, network_main, ends);
	if (ends->kernel)
		apus_kernel_close(ends->kernel);
	apus_shard_close(shard);
	if (ends->is_missing)
		skip(); /* no io_uring here */
	assert_int_equal(rc, 0);
}

/* --- Either -------------------------------------------------------------------------------- */

/** Run both ends, of which either may be NULL, until they have ended; the server with @server_rc */
static inline void network_run_until(apus_task_fn server, int64_t server_rc, apus_task_fn client)
{
	struct network_ends ends = {.fns = {server, client}};
	struct apus_sim_task *s, *c;

	if (on_kernel) {
		network_run_on_kernel(&ends);
	} else {
		s = server ? apus_sim_spawn(pair.server, "server", server, NULL) : NULL;
		c = client ? apus_sim_spawn(pair.client, "client", client, NULL) : NULL;
		assert_int_equal(apus_sim_run(pair.world, 600 * APUS_SEC), 0);
		ends.results[0] = s ? apus_sim_task_result(s) : 0;
		ends.results[1] = c ? apus_sim_task_result(c) : 0;
	}
	assert_int_equal(ends.results[1], 0);
	assert_int_equal(ends.results[0], server_rc);
}

static inline void network_run(apus_task_fn server, apus_task_fn client)
{
	network_run_until(server, 0, client);
}

#define NETWORK_TEST(name) cmocka_unit_test_setup_teardown(name, network_setup, network_teardown)

/**
 * @both: tests of the contract, for either network; @own: those of our own network alone
 *
 * Return: of the program
 */
#define NETWORK_MAIN(title, argc, argv, both, own)                                         \
 do {                                                                                      \
  on_kernel = (argc) > 1 && !strcmp((argv)[1], "kernel");                                  \
  if (on_kernel)                                                                           \
   network_own_namespace();                                                                \
  if (on_kernel)                                                                           \
   return cmocka_run_group_tests_name(title " on the kernel", both, NULL, NULL);           \
  apus_test_eal();                                                                         \
  int failed_both_ = cmocka_run_group_tests_name(title, both, NULL, NULL);                 \
  return failed_both_ + cmocka_run_group_tests_name(title " of our own", own, NULL, NULL); \
 } while (0)

#endif
