/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_isn.c: initial sequence numbers: a clock for the owner of a four-tuple, noise
 * for everybody else (RFC 6528; TCP.md §4: "constant, linear or rand() initial sequence numbers").
 */
#include "tests/runtime/base_test.h"

#include "net/tcp/isn.h"

#include <arpa/inet.h>

static const struct apus_siphash_key key = {{0x0123456789abcdef, 0xfedcba9876543210}};

static struct apus_endpoint endpoint(uint32_t addr, uint16_t port)
{
	/* Rubbish in the padding must not change the number. */
	struct apus_endpoint e;

	memset(&e, 0xa5, sizeof(e));
	e.addr = apus_addr_v4(htonl(addr));
	e.port = port;
	return e;
}

static uint32_t isn(struct apus_endpoint local, struct apus_endpoint remote, int64_t now_ns)
{
	return apus_isn(&key, &local, &remote, now_ns);
}

static void same_tuple_advances_once_in_four_microseconds(void **state)
{
	struct apus_endpoint local = endpoint(0x0a000001, 80), remote = endpoint(0x0a000002, 4000);
	uint32_t start = isn(local, remote, 0);

	assert_int_equal(isn(local, remote, 3999), start);
	assert_int_equal(isn(local, remote, 4000), start + 1);
	assert_int_equal(isn(local, remote, APUS_SEC), start + 250000);
	/* RFC 9293 §3.4.1: the cycle is about 4.55 hours. */
	assert_int_equal(isn(local, remote, (INT64_C(1) << 32) * 4000), start);
}

static void same_tuple_same_time_same_number(void **state)
{
	struct apus_endpoint local = endpoint(0x0a000001, 80), remote = endpoint(0x0a000002, 4000);
	struct apus_endpoint again = {.addr = local.addr, .port = 80};

	assert_int_equal(isn(local, remote, 77), isn(again, remote, 77));
}

static void each_part_of_the_tuple_changes_the_number(void **state)
{
	struct apus_endpoint a = endpoint(0x0a000001, 80), b = endpoint(0x0a000002, 4000);
	uint32_t base = isn(a, b, 0);

	assert_int_not_equal(isn(endpoint(0x0a000003, 80), b, 0), base);
	assert_int_not_equal(isn(endpoint(0x0a000001, 81), b, 0), base);
	assert_int_not_equal(isn(a, endpoint(0x0a000003, 4000), 0), base);
	assert_int_not_equal(isn(a, endpoint(0x0a000002, 4001), 0), base);
	assert_int_not_equal(isn(b, a, 0), base);
}

/* RFC 9293 §3.4.1 (MUST-9): who does not know the key cannot compute it. */
static void another_key_changes_the_number(void **state)
{
	struct apus_endpoint a = endpoint(0x0a000001, 80), b = endpoint(0x0a000002, 4000);
	struct apus_siphash_key other = {{key.k[0] ^ 1, key.k[1]}};

	assert_int_not_equal(apus_isn(&other, &a, &b, 0), isn(a, b, 0));
}

/* Neither constant nor linear over ports: the steps are spread over all of 2^32. */
static void neighbouring_ports_are_unrelated(void **state)
{
	struct apus_endpoint local = endpoint(0x0a000001, 80);
	uint32_t steps[16] = {0};
	uint32_t before = isn(local, endpoint(0x0a000002, 0), 0);

	for (uint32_t port = 1; port <= 4096; port++) {
		uint32_t now = isn(local, endpoint(0x0a000002, (uint16_t)port), 0);

		steps[(now - before) >> 28]++;
		before = now;
	}
	for (size_t i = 0; i < apus_countof(steps); i++)
		assert_in_range(steps[i], 256 - 100, 256 + 100);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_tuple_advances_once_in_four_microseconds),
		cmocka_unit_test(same_tuple_same_time_same_number),
		cmocka_unit_test(each_part_of_the_tuple_changes_the_number),
		cmocka_unit_test(another_key_changes_the_number),
		cmocka_unit_test(neighbouring_ports_are_unrelated),
	};

	return test_main(argc, argv, tests);
}
