/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/base/test_histogram.c: percentiles against a sorted array: the promise is
 * "not exceeded by so many per cent of the records", known within 3.2 %.
 */
#include "tests/runtime/base_test.h"

#include "runtime/base/histogram.h"

#define RECORDS 1024

/* The smallest value that `percent` of the sorted records do not exceed. Percents here are multiples of 100/1024. */
static uint64_t exact_percentile(const uint64_t *sorted, double percent)
{
	size_t rank = (size_t)(percent * RECORDS / 100);

	return sorted[rank ? rank - 1 : 0];
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The error bound in integers: got is in [exact, exact * 1.032]. */
static void assert_within_bound(uint64_t got, uint64_t exact)
{
	assert_true(got >= exact);
	assert_true(got - exact <= exact / 1000 * 32 + exact % 1000 * 32 / 1000);
}

static void empty_histogram_answers_0(void **state)
{
	static struct apus_histogram h;

	apus_histogram_init(&h);
	assert_int_equal(h.count, 0);
	assert_int_equal(apus_histogram_percentile(&h, 0), 0);
	assert_int_equal(apus_histogram_percentile(&h, 50), 0);
	assert_int_equal(apus_histogram_percentile(&h, 100), 0);
}

static void values_below_32_are_exact(void **state)
{
	for (int64_t value = 0; value < 32; value++) {
		static struct apus_histogram h;

		apus_histogram_init(&h);
		apus_histogram_record(&h, value);
		assert_int_equal(apus_histogram_percentile(&h, 50), value);
		assert_int_equal(apus_histogram_percentile(&h, 100), value);
	}
}

static void negative_values_count_as_0(void **state)
{
	static struct apus_histogram h;

	apus_histogram_init(&h);
	apus_histogram_record(&h, -1);
	apus_histogram_record(&h, INT64_MIN);
	assert_int_equal(h.count, 2);
	assert_int_equal(h.sum, 0);
	assert_int_equal(h.min, 0);
	assert_int_equal(h.max, 0);
	assert_int_equal(apus_histogram_percentile(&h, 100), 0);
}

static void count_sum_min_max_are_exact(void **state)
{
	static struct apus_histogram h;

	apus_histogram_init(&h);
	apus_histogram_record(&h, 1000003);
	apus_histogram_record(&h, 77);
	apus_histogram_record(&h, 5000000000);
	assert_int_equal(h.count, 3);
	assert_int_equal(h.sum, 5001000080);
	assert_int_equal(h.min, 77);
	assert_int_equal(h.max, 5000000000);
}

/* Powers of two and their neighbours are where a log-linear index goes wrong by one. */
static void one_value_at_every_bucket_edge_is_within_the_bound(void **state)
{
	for (int power = 0; power < 63; power++) {
		for (int64_t step = 0; step < 32; step++) {
			int64_t base =
				(INT64_C(1) << power) + (power >= 5 ? step << (power - 5) : 0);

			for (int64_t delta = -1; delta <= 1; delta++) {
				static struct apus_histogram h;
				int64_t value = base + delta;

				apus_histogram_init(&h);
				apus_histogram_record(&h, value);
				apus_histogram_record(&h, value);
				apus_histogram_record(&h,
						      INT64_MAX); /* so that max does not help */
				assert_within_bound(apus_histogram_percentile(&h, 50),
						    (uint64_t)value);
			}
		}
	}
}

static void the_largest_value_has_a_bucket(void **state)
{
	static struct apus_histogram h;

	apus_histogram_init(&h);
	apus_histogram_record(&h, INT64_MAX);
	apus_histogram_record(&h, INT64_MAX);
	assert_int_equal(h.max, INT64_MAX);
	assert_within_bound(apus_histogram_percentile(&h, 100), INT64_MAX);
	assert_within_bound(apus_histogram_percentile(&h, 1), INT64_MAX);
}

static void random_records_percentiles_are_within_the_bound(void **state)
{
	static const double percents[] = {0,  100.0 / 1024, 12.5,    25,          50,
					  75, 93.75,        98.4375, 99.90234375, 100};

	test_each_seed(seed, 200)
	{
		static uint64_t sorted[RECORDS];
		uint64_t chance = seed, sum = 0;
		unsigned int spread = (unsigned int)test_random_below(&chance, 62) + 1;
		static struct apus_histogram h;

		apus_histogram_init(&h);
		for (size_t i = 0; i < RECORDS; i++) {
			/* Uniform in the logarithm or in the value, by the seed. */
			unsigned int bits =
				seed % 2 ? (unsigned int)test_random_below(&chance, spread) + 1
					 : spread;

			sorted[i] = test_random(&chance) >> (64 - bits);
			sum += sorted[i];
			apus_histogram_record(&h, (int64_t)sorted[i]);
		}
		qsort(sorted, RECORDS, sizeof(sorted[0]), compare);
		assert_int_equal(h.count, RECORDS);
		assert_int_equal(h.sum, sum);
		assert_int_equal(h.min, sorted[0]);
		assert_int_equal(h.max, sorted[RECORDS - 1]);
		for (size_t i = 0; i < apus_countof(percents); i++)
			assert_within_bound(apus_histogram_percentile(&h, percents[i]),
					    exact_percentile(sorted, percents[i]));
	}
}

static void merge_equals_recording_both(void **state)
{
	test_each_seed(seed, 50)
	{
		static struct apus_histogram parts[2], whole;
		uint64_t chance = seed;

		apus_histogram_init(&parts[0]);
		apus_histogram_init(&parts[1]);
		apus_histogram_init(&whole);
		for (int i = 0; i < 500; i++) {
			int64_t value = (int64_t)(test_random(&chance) >>
						  (test_random_below(&chance, 40) + 2));

			/* Every third seed leaves one part empty: its min must not count. */
			apus_histogram_record(&parts[seed % 3 ? i % 2 : 0], value);
			apus_histogram_record(&whole, value);
		}
		apus_histogram_merge(&parts[1], &parts[0]);
		assert_memory_equal(&parts[1], &whole, sizeof(whole));
	}
}

static void merge_of_an_empty_one_changes_nothing(void **state)
{
	static struct apus_histogram a, empty, before;

	apus_histogram_init(&a);
	apus_histogram_init(&empty);
	apus_histogram_record(&a, 42);
	before = a;
	apus_histogram_merge(&a, &empty);
	assert_memory_equal(&a, &before, sizeof(a));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_histogram_answers_0),
		cmocka_unit_test(values_below_32_are_exact),
		cmocka_unit_test(negative_values_count_as_0),
		cmocka_unit_test(count_sum_min_max_are_exact),
		cmocka_unit_test(one_value_at_every_bucket_edge_is_within_the_bound),
		cmocka_unit_test(the_largest_value_has_a_bucket),
		cmocka_unit_test(random_records_percentiles_are_within_the_bound),
		cmocka_unit_test(merge_equals_recording_both),
		cmocka_unit_test(merge_of_an_empty_one_changes_nothing),
	};

	return test_main(argc, argv, tests);
}
