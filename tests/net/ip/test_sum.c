/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/ip/test_sum.c: sums against the definition, of any length and at any place.
 */
#include "net/ip/sum.h"
#include "runtime/base/random.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define BYTES_MAX 1600

static uint8_t data[BYTES_MAX + 8];

static void fill(uint64_t seed)
{
	struct apus_random r;

	apus_random_init_seed(&r, seed);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)apus_random_u64(&r);
}

/* RFC 1071 §1, as it stands there. */
static uint16_t by_definition(const uint8_t *at, size_t bytes)
{
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < bytes; i += 2)
		sum += (uint32_t)at[i] << 8 | at[i + 1];
	if (bytes & 1)
		sum += (uint32_t)at[bytes - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return rte_cpu_to_be_16((uint16_t)sum);
}

static void any_length_at_any_place(void **state)
{
	for (size_t bytes = 0; bytes <= BYTES_MAX; bytes++) {
		size_t offset = bytes % 8;

		fill(bytes);
		assert_int_equal(apus_sum_fold(apus_sum(data + offset, bytes)),
				 by_definition(data + offset, bytes));
	}
}

static void copy_is_the_same_bytes_and_no_more(void **state)
{
	static uint8_t copy[BYTES_MAX + 16];

	for (size_t bytes = 0; bytes <= BYTES_MAX; bytes++) {
		size_t offset = bytes % 8, to = bytes % 5;

		fill(bytes);
		memset(copy, 0x5a, sizeof(copy));
		assert_int_equal(apus_sum_fold(apus_sum_copy(copy + to, data + offset, bytes)),
				 by_definition(data + offset, bytes));
		assert_memory_equal(copy + to, data + offset, bytes);
		assert_int_equal(copy[to + bytes], 0x5a);
		assert_true(!to || copy[to - 1] == 0x5a);
	}
}

static void carries_are_brought_round(void **state)
{
	memset(data, 0xff, sizeof(data));
	for (size_t bytes = 0; bytes <= BYTES_MAX; bytes++)
		assert_int_equal(apus_sum_fold(apus_sum(data, bytes)), by_definition(data, bytes));
	memset(data, 0, sizeof(data));
	assert_int_equal(apus_sum_fold(apus_sum(data, BYTES_MAX)), 0);
	assert_int_equal(apus_sum_fold(UINT64_MAX), 0xffff);
	assert_int_equal(apus_sum_fold(apus_sum_add(UINT64_MAX, UINT64_MAX)), 0xffff);
	assert_int_equal(apus_sum_fold(0x0001000100010001), 4);
}

static void sums_are_joined_at_even_bytes(void **state)
{
	fill(1);
	for (size_t cut = 0; cut <= BYTES_MAX; cut += 2) {
		uint64_t sum =
			apus_sum_add(apus_sum(data, cut), apus_sum(data + cut, BYTES_MAX - cut));

		assert_int_equal(apus_sum_fold(sum), by_definition(data, BYTES_MAX));
	}
}

static void pseudo_header_is_that_of_rfc_9293(void **state)
{
	const uint8_t header[] = {192, 0, 2, 1, 198, 51, 100, 2, 0, IPPROTO_TCP, 0x12, 0x34};
	uint32_t src, dst;

	memcpy(&src, header, 4);
	memcpy(&dst, header + 4, 4);
	assert_int_equal(apus_sum_fold(apus_sum_pseudo(src, dst, IPPROTO_TCP, 0x1234)),
			 by_definition(header, sizeof(header)));
}

/* Every multiple of 65535 is one, whatever the carries; what differs by one bit is not. */
static void right_sum_is_all_ones_once_folded(void **state)
{
	for (size_t bytes = 20; bytes <= BYTES_MAX; bytes += 2) {
		uint64_t sum;

		fill(bytes);
		memset(data, 0, 2);
		data[1] = 1; /* not nothing but zeros */
		sum = apus_sum(data, bytes);
		sum = apus_sum_add(sum, (uint16_t)~apus_sum_fold(sum));
		assert_int_equal(apus_sum_fold(sum), UINT16_MAX);
		assert_true(apus_sum_is_right(sum));
		for (int bit = 0; bit < 64; bit++)
			assert_false(apus_sum_is_right(sum ^ UINT64_C(1) << bit));
	}
	assert_true(apus_sum_is_right(UINT64_MAX));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_length_at_any_place),
		cmocka_unit_test(copy_is_the_same_bytes_and_no_more),
		cmocka_unit_test(carries_are_brought_round),
		cmocka_unit_test(right_sum_is_all_ones_once_folded),
		cmocka_unit_test(sums_are_joined_at_even_bytes),
		cmocka_unit_test(pseudo_header_is_that_of_rfc_9293),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
