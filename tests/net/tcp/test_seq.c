/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_seq.c: comparisons modulo 2^32, around every place where they could go wrong.
 */
#include "tests/runtime/base_test.h"

#include "net/tcp/seq.h"

/* Every comparison must give the same answer wherever in the circle it is asked. */
static const uint32_t bases[] = {0,          1,          2,          1000,
				 0x7ffffffe, 0x7fffffff, 0x80000000, 0x80000001,
				 0xfffffff0, 0xfffffffe, 0xffffffff};

static void order_holds_across_the_wrap(void **state)
{
	static const uint32_t gaps[] = {1, 2, 1460, 0x40000000, 0x7fffffff};
	for (size_t b = 0; b < apus_countof(bases); b++) {
		uint32_t s = bases[b];

		assert_false(apus_seq_lt(s, s) || apus_seq_gt(s, s));
		assert_true(apus_seq_leq(s, s) && apus_seq_geq(s, s));
		for (size_t i = 0; i < apus_countof(gaps); i++) {
			uint32_t later = s + gaps[i];

			assert_true(apus_seq_lt(s, later) && apus_seq_leq(s, later));
			assert_true(apus_seq_gt(later, s) && apus_seq_geq(later, s));
			assert_false(apus_seq_lt(later, s) || apus_seq_leq(later, s));
			assert_false(apus_seq_gt(s, later) || apus_seq_geq(s, later));
			assert_int_equal(apus_seq_max(s, later), later);
			assert_int_equal(apus_seq_min(later, s), s);
		}
	}
}

static void between_excludes_the_low_end_and_includes_the_high(void **state)
{
	for (size_t b = 0; b < apus_countof(bases); b++) {
		uint32_t s = bases[b];

		assert_false(apus_seq_between(s, s, s + 10));
		assert_true(apus_seq_between(s, s + 1, s + 10));
		assert_true(apus_seq_between(s, s + 10, s + 10));
		assert_false(apus_seq_between(s, s + 11, s + 10));
		assert_false(apus_seq_between(s, s - 1, s + 10));
	}
}

static void between_equal_ends_is_nothing(void **state)
{
	for (size_t b = 0; b < apus_countof(bases); b++) {
		uint32_t s = bases[b];

		assert_false(apus_seq_between(s, s, s));
		assert_false(apus_seq_between(s, s + 1, s));
		assert_false(apus_seq_between(s, s - 1, s));
	}
}

static void within_includes_the_start_and_excludes_the_end(void **state)
{
	for (size_t b = 0; b < apus_countof(bases); b++) {
		uint32_t s = bases[b];

		assert_false(apus_seq_within(s, s - 1, 10));
		assert_true(apus_seq_within(s, s, 10));
		assert_true(apus_seq_within(s, s + 9, 10));
		assert_false(apus_seq_within(s, s + 10, 10));
		assert_false(apus_seq_within(s, s, 0));
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order_holds_across_the_wrap),
		cmocka_unit_test(between_excludes_the_low_end_and_includes_the_high),
		cmocka_unit_test(between_equal_ends_is_nothing),
		cmocka_unit_test(within_includes_the_start_and_excludes_the_end),
	};

	return test_main(argc, argv, tests);
}
