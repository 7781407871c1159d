/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/apps/kv/fake.h: a kv server over connections without a network.
 *
 * What tests/net/http/fake_tcp.h has, and buffers that are lent: they are copied out at once, and
 * given back when the test says so.
 */
#ifndef APUS_TESTS_APPS_KV_FAKE_H
#define APUS_TESTS_APPS_KV_FAKE_H

#define FAKE_BYTES_MAX ((size_t)4 << 20)

#include "apps/kv/server.h"
#include "tests/net/http/fake_tcp.h"

#define FAKE_LENT_MAX 64

static _Thread_local struct {
	void (*done)(void *arg);
	void *arg;
} fake_lent[FAKE_LENT_MAX];
static _Thread_local size_t fake_lent_count;

static inline void fake_give_back(void)
{
	size_t n = fake_lent_count;

	fake_lent_count = 0;
	for (size_t i = 0; i < n; i++)
		fake_lent[i].done(fake_lent[i].arg);
}

int64_t apus_tcp_send_buffer(struct apus_tcp *c, const void *buf, size_t len,
			     void (*done)(void *arg), void *arg)
{
	int64_t rc = apus_tcp_write(c, buf, len);

	if (fake_lent_count == FAKE_LENT_MAX)
		fake_give_back();
	fake_lent[fake_lent_count].done = done;
	fake_lent[fake_lent_count++].arg = arg;
	return rc;
}

#endif
