/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/socket/kernel_test.h: a task of a shard whose network is the kernel's, over the loopback
 * interface, in real time.
 */
#ifndef APUS_TESTS_NET_SOCKET_KERNEL_TEST_H
#define APUS_TESTS_NET_SOCKET_KERNEL_TEST_H

#include "net/socket/kernel.h"

#include "net/socket/tcp.h"
#include "runtime/sched/run.h"
#include "runtime/sync/timeout.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define check(cond)                                                         \
 do {                                                                       \
  if (!(cond)) {                                                            \
   fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #cond); \
   return -EBADMSG;                                                         \
  }                                                                         \
 } while (0)

#define check_equal(left, right)                                                              \
 do {                                                                                         \
  int64_t l_ = (int64_t)(left), r_ = (int64_t)(right);                                        \
  if (l_ != r_) {                                                                             \
   fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #left, (long long)l_, \
	   (long long)r_);                                                                    \
   return -EBADMSG;                                                                           \
  }                                                                                           \
 } while (0)

#define NOT_HERE 77 /* a story's end: no io_uring, or no right to do that */

static struct apus_kernel *kernel;

struct story {
	apus_task_fn fn;
};

static int64_t in_network(void *arg)
{
	const struct story *story = arg;
	struct apus_timeout limit;
	int64_t rc;

	if (apus_kernel_open(apus_shard_self(), NULL, &kernel))
		return NOT_HERE;
	apus_timeout_begin(&limit, 60 * APUS_SEC);
	rc = apus_timeout_end(&limit, story->fn(NULL));
	if (!rc)
		rc = apus_kernel_linger(kernel, APUS_SEC);
	return rc;
}

/* The network outlives the main task, which may not close it: its tasks could still be there. */
static void run(apus_task_fn fn)
{
	struct story story = {fn};
	struct apus_shard_options options = {.core = -1};
	struct apus_shard *shard;
	int64_t rc;

	kernel = NULL;
	assert_int_equal(apus_shard_open(&options, &shard), 0);
	apus_shard_enter(shard);
	rc = apus_run_task(shard, in_network, &story);
	if (kernel)
		apus_kernel_close(kernel);
	apus_shard_close(shard);
	if (rc == NOT_HERE)
		skip();
	assert_int_equal(rc, 0);
}

/* --- Two ends ------------------------------------------------------------------------------ */

static struct apus_endpoint loopback(uint16_t port)
{
	return (struct apus_endpoint){apus_addr_v4(htonl(INADDR_LOOPBACK)), port};
}

static int open_pair(struct apus_tcp_listener *l, struct apus_tcp **client,
		     struct apus_tcp **server)
{
	int rc = apus_tcp_connect(loopback(apus_tcp_listener_local(l).port), client);

	return rc ? rc : apus_tcp_accept(l, server);
}

static int open_two(struct apus_tcp_listener **l, struct apus_tcp **client,
		    struct apus_tcp **server)
{
	int rc = apus_tcp_listen(loopback(0), 0, l);

	return rc ? rc : open_pair(*l, client, server);
}

#define TEST(name)                              \
 static void name##_on_the_kernel(void **state) \
 {                                              \
  run(name);                                    \
 }

#endif
