/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/base/test_random.c: xoshiro256** against numbers of an independent implementation
 * of the paper (written in Python for this test), and that bounded draws have no bias.
 */
#include "tests/runtime/base_test.h"

#include "runtime/base/random.h"

static void state_1_2_3_4_gives_the_reference_sequence(void **state)
{
	static const uint64_t expected[] = {
		UINT64_C(11520),
		UINT64_C(0),
		UINT64_C(1509978240),
		UINT64_C(1215971899390074240),
		UINT64_C(1216172134540287360),
		UINT64_C(607988272756665600),
		UINT64_C(16172922978634559625),
		UINT64_C(8476171486693032832),
		UINT64_C(10595114339597558777),
		UINT64_C(2904607092377533576),
		UINT64_C(14472116193441429536),
		UINT64_C(1266835380287703300),
		UINT64_C(13063346333101044364),
		UINT64_C(10781165923750339612),
		UINT64_C(16528717425338217767),
		UINT64_C(15524255879139051068),
	};
	struct apus_random r = {.state = {1, 2, 3, 4}, .seeded = true};

	for (size_t i = 0; i < apus_countof(expected); i++)
		assert_int_equal(apus_random_u64(&r), expected[i]);
}

static void state_1_2_3_4_gives_the_reference_millionth_number(void **state)
{
	struct apus_random r = {.state = {1, 2, 3, 4}, .seeded = true};
	uint64_t last = 0;

	for (int i = 0; i < 1000000; i++)
		last = apus_random_u64(&r);
	assert_int_equal(last, UINT64_C(0xa1e003a4c7ee3326));
}

/* The authors advise splitmix64 to fill the state; then seed 0 is as good as any. */
static void seeds_fill_the_state_by_splitmix64(void **state)
{
	static const struct {
		uint64_t seed, expected[3];
	} cases[] = {
		{0,
		 {UINT64_C(0x99ec5f36cb75f2b4), UINT64_C(0xbf6e1f784956452a),
		  UINT64_C(0x1a5f849d4933e6e0)}},
		{1,
		 {UINT64_C(0xb3f2af6d0fc710c5), UINT64_C(0x853b559647364cea),
		  UINT64_C(0x92f89756082a4514)}},
		{UINT64_C(0xdeadbeef),
		 {UINT64_C(0xc5555444a74d7e83), UINT64_C(0x65c30d37b4b16e38),
		  UINT64_C(0x54f773200a4efa23)}},
	};

	for (size_t i = 0; i < apus_countof(cases); i++) {
		struct apus_random r;

		apus_random_init_seed(&r, cases[i].seed);
		for (size_t n = 0; n < 3; n++)
			assert_int_equal(apus_random_u64(&r), cases[i].expected[n]);
	}
}

static void same_seed_twice_gives_the_same_everything(void **state)
{
	test_each_seed(seed, 50)
	{
		struct apus_random a, b;
		uint8_t secret_a[33], secret_b[33];

		apus_random_init_seed(&a, seed);
		apus_random_init_seed(&b, seed);
		for (int i = 0; i < 100; i++) {
			assert_int_equal(apus_random_u64(&a), apus_random_u64(&b));
			assert_int_equal(apus_random_below(&a, 1000), apus_random_below(&b, 1000));
			assert_int_equal(apus_random_chance(&a, 500000),
					 apus_random_chance(&b, 500000));
		}
		apus_random_secret(&a, secret_a, sizeof(secret_a));
		apus_random_secret(&b, secret_b, sizeof(secret_b));
		assert_memory_equal(secret_a, secret_b, sizeof(secret_a));
	}
}

static void below_any_bound_stays_below_it(void **state)
{
	test_each_seed(seed, 20)
	{
		struct apus_random r;
		uint64_t chance = seed;

		apus_random_init_seed(&r, seed);
		assert_int_equal(apus_random_below(&r, 1), 0);
		for (int i = 0; i < 10000; i++) {
			uint64_t bound = test_random(&chance) >> test_random_below(&chance, 64);

			if (bound)
				assert_true(apus_random_below(&r, bound) < bound);
		}
		assert_true(apus_random_below(&r, UINT64_MAX) < UINT64_MAX);
	}
}

/*
 * A bound of 3/4 of the range shows a bias at once. Modulo would give the lowest third half of the
 * draws; a multiply and shift that rejects nothing would give one residue mod 3 half of them.
 */
static void below_three_quarters_of_the_range_has_no_bias(void **state)
{
	const uint64_t bound = UINT64_C(3) << 62;
	const int draws = 300000;
	struct apus_random r;
	int third[3] = {0}, residue[3] = {0};

	apus_random_init_seed(&r, 7);
	for (int i = 0; i < draws; i++) {
		uint64_t v = apus_random_below(&r, bound);

		third[v >> 62]++;
		residue[v % 3]++;
	}
	/* Each has mean 100,000 and standard deviation 258. */
	for (int i = 0; i < 3; i++) {
		assert_in_range(third[i], 98700, 101300);
		assert_in_range(residue[i], 98700, 101300);
	}
}

static void below_small_bounds_passes_chi_square(void **state)
{
	struct apus_random r;

	apus_random_init_seed(&r, 11);
	for (uint64_t bound = 2; bound <= 100; bound++) {
		const double expected = 200;
		int counts[100] = {0};
		double chi = 0, freedom = (double)bound - 1;

		for (uint64_t i = 0; i < bound * 200; i++)
			counts[apus_random_below(&r, bound)]++;
		for (uint64_t v = 0; v < bound; v++)
			chi += (counts[v] - expected) * (counts[v] - expected) / expected;
		/* Mean f, variance 2f: six deviations above. */
		assert_true((chi - freedom) * (chi - freedom) < 36 * 2 * freedom + 200);
	}
}

static void chance_follows_parts_per_million(void **state)
{
	struct apus_random r;
	int quarter = 0, thousandth = 0;

	apus_random_init_seed(&r, 3);
	for (int i = 0; i < 1000000; i++) {
		assert_false(apus_random_chance(&r, 0));
		assert_true(apus_random_chance(&r, 1000000));
		quarter += apus_random_chance(&r, 250000);
		thousandth += apus_random_chance(&r, 1000);
	}
	assert_in_range(quarter, 250000 - 2600, 250000 + 2600); /* six deviations of 433 */
	assert_in_range(thousandth, 1000 - 190, 1000 + 190);    /* six deviations of 32 */
}

static void each_bit_is_set_half_of_the_time(void **state)
{
	struct apus_random r;
	int ones[64] = {0};

	apus_random_init_seed(&r, 5);
	for (int i = 0; i < 100000; i++) {
		uint64_t v = apus_random_u64(&r);

		for (int bit = 0; bit < 64; bit++)
			ones[bit] += (int)(v >> bit & 1);
	}
	for (int bit = 0; bit < 64; bit++)
		assert_in_range(ones[bit], 50000 - 950, 50000 + 950); /* six deviations of 158 */
}

static void secret_fills_exactly_the_bytes_asked_for(void **state)
{
	for (int system = 0; system < 2; system++) {
		struct apus_random r;

		if (system)
			apus_random_init_system(&r);
		else
			apus_random_init_seed(&r, 9);
		for (size_t bytes = 0; bytes <= 40; bytes++) {
			uint8_t seen[48] = {0};

			/* 64 draws: a byte that stays 0 was not written (chance 256^-64). */
			for (int round = 0; round < 64; round++) {
				uint8_t buf[48];

				memset(buf, 0xa5, sizeof(buf));
				apus_random_secret(&r, buf, bytes);
				for (size_t i = 0; i < sizeof(buf); i++)
					seen[i] |= buf[i] ^ 0xa5;
			}
			for (size_t i = 0; i < sizeof(seen); i++)
				assert_int_equal(seen[i] != 0, i < bytes);
		}
	}
}

static void two_from_the_system_differ(void **state)
{
	struct apus_random a, b;
	uint8_t secret_a[16], secret_b[16];

	apus_random_init_system(&a);
	apus_random_init_system(&b);
	assert_false(a.seeded);
	assert_int_not_equal(apus_random_u64(&a), apus_random_u64(&b));
	apus_random_secret(&a, secret_a, sizeof(secret_a));
	apus_random_secret(&b, secret_b, sizeof(secret_b));
	assert_memory_not_equal(secret_a, secret_b, sizeof(secret_a));
}

/* A secret of a system generator must not come from the state, which its numbers reveal. */
static void secret_from_the_system_does_not_follow_the_state(void **state)
{
	struct apus_random a, b;
	uint8_t secret_a[32], secret_b[32];

	apus_random_init_system(&a);
	b = a;
	apus_random_secret(&a, secret_a, sizeof(secret_a));
	apus_random_secret(&b, secret_b, sizeof(secret_b));
	assert_memory_not_equal(secret_a, secret_b, sizeof(secret_a));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(state_1_2_3_4_gives_the_reference_sequence),
		cmocka_unit_test(state_1_2_3_4_gives_the_reference_millionth_number),
		cmocka_unit_test(seeds_fill_the_state_by_splitmix64),
		cmocka_unit_test(same_seed_twice_gives_the_same_everything),
		cmocka_unit_test(below_any_bound_stays_below_it),
		cmocka_unit_test(below_three_quarters_of_the_range_has_no_bias),
		cmocka_unit_test(below_small_bounds_passes_chi_square),
		cmocka_unit_test(chance_follows_parts_per_million),
		cmocka_unit_test(each_bit_is_set_half_of_the_time),
		cmocka_unit_test(secret_fills_exactly_the_bytes_asked_for),
		cmocka_unit_test(two_from_the_system_differ),
		cmocka_unit_test(secret_from_the_system_does_not_follow_the_state),
	};

	return test_main(argc, argv, tests);
}
