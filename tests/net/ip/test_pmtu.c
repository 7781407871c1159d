/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/ip/test_pmtu.c: what is known of a path goes down at once, up after ten minutes (RFC
 * 1191 §6.3), and whatever is said the memory for it is bounded.
 */
#include "net/ip/pmtu.h"
#include "tests/runtime/base_test.h"

#include <rte_byteorder.h>

#define PLACES (APUS_PMTU_SETS * APUS_PMTU_WAYS)

static struct apus_clock clock_;
static struct apus_shard *shard;
static struct apus_pmtu pmtu;

static int setup(void **state)
{
	apus_clock_init_virtual(&clock_, APUS_SEC);
	assert_int_equal(
		apus_shard_open(
			&(struct apus_shard_options){.core = -1, .clock = &clock_, .seed = 1},
			&shard),
		0);
	apus_pmtu_init(&pmtu, shard);
	return 0;
}

static int teardown(void **state)
{
	apus_heap_fail_after(apus_shard_heap(shard), -1);
	apus_pmtu_check(&pmtu);
	apus_pmtu_fini(&pmtu);
	apus_shard_close(shard);
	return 0;
}

static struct apus_addr host(uint32_t n)
{
	return apus_addr_v4(rte_cpu_to_be_32(0x0a000000 + n));
}

static void nothing_is_known_at_first_and_costs_no_memory(void **state)
{
	assert_int_equal(apus_pmtu_find(&pmtu, host(1), 0), 0);
	assert_null(pmtu.entries);
}

static void what_was_said_is_known_of_that_host_only(void **state)
{
	apus_pmtu_lower(&pmtu, host(1), 1400, 0);
	assert_int_equal(apus_pmtu_find(&pmtu, host(1), 0), 1400);
	assert_int_equal(apus_pmtu_find(&pmtu, host(2), 0), 0);
}

static void less_is_believed_and_more_is_not(void **state)
{
	apus_pmtu_lower(&pmtu, host(1), 1400, 0);
	apus_pmtu_lower(&pmtu, host(1), 1300, 0);
	apus_pmtu_lower(&pmtu, host(1), 1450, 0);
	assert_int_equal(apus_pmtu_find(&pmtu, host(1), 0), 1300);
	assert_int_equal(pmtu.used, 1);
}

static void after_ten_minutes_it_is_forgotten(void **state)
{
	apus_pmtu_lower(&pmtu, host(1), 1400, 0);
	assert_int_equal(apus_pmtu_find(&pmtu, host(1), APUS_PMTU_NS - 1), 1400);
	assert_int_equal(apus_pmtu_find(&pmtu, host(1), APUS_PMTU_NS), 0);
	assert_int_equal(pmtu.used, 0);
	assert_int_equal(pmtu.counters[APUS_PMTU_EXPIRED], 1);
}

static void said_again_it_counts_from_then(void **state)
{
	apus_pmtu_lower(&pmtu, host(1), 1400, 0);
	apus_pmtu_lower(&pmtu, host(1), 1400, APUS_PMTU_NS - 1);
	assert_int_equal(apus_pmtu_find(&pmtu, host(1), APUS_PMTU_NS), 1400);
	/* What is told of more does not make it younger: an attacker could keep it low for ever. */
	apus_pmtu_lower(&pmtu, host(1), 1401, 2 * APUS_PMTU_NS - 2);
	assert_int_equal(apus_pmtu_find(&pmtu, host(1), 2 * APUS_PMTU_NS - 1), 0);
}

static void too_old_it_does_not_hold_down_what_is_said_anew(void **state)
{
	apus_pmtu_lower(&pmtu, host(1), 600, 0);
	apus_pmtu_lower(&pmtu, host(1), 1400, APUS_PMTU_NS);
	assert_int_equal(apus_pmtu_find(&pmtu, host(1), APUS_PMTU_NS), 1400);
	assert_int_equal(pmtu.used, 1);
}

static void any_number_of_hosts_takes_bounded_memory(void **state)
{
	uint64_t live = apus_shard_heap(shard)->live;

	for (uint32_t i = 0; i < 100 * PLACES; i++)
		apus_pmtu_lower(&pmtu, host(i), 1400, i);
	apus_pmtu_check(&pmtu);
	assert_in_range(pmtu.used, PLACES * 9 / 10, PLACES);
	assert_int_equal(apus_shard_heap(shard)->live, live + 1);
	assert_int_equal(pmtu.counters[APUS_PMTU_EVICTED], 100 * PLACES - pmtu.used);
	/* The youngest is there. */
	assert_int_equal(apus_pmtu_find(&pmtu, host(100 * PLACES - 1), 100 * PLACES), 1400);
}

/* Keyed: which hosts share a set differs from start to start. */
static void in_a_full_set_the_oldest_gives_way(void **state)
{
	uint32_t first = 0;

	while (!pmtu.counters[APUS_PMTU_EVICTED]) {
		first++;
		apus_pmtu_lower(&pmtu, host(first), 1400, first);
	}
	/* Exactly one is gone, and it is older than the three that stayed in its set. */
	uint32_t gone = 0;

	for (uint32_t i = 1; i <= first; i++)
		gone += !apus_pmtu_find(&pmtu, host(i), first);
	assert_int_equal(gone, 1);
	assert_int_equal(apus_pmtu_find(&pmtu, host(first), first), 1400);
}

static void without_memory_nothing_is_learnt_and_nothing_breaks(void **state)
{
	apus_heap_fail_after(apus_shard_heap(shard), 0);
	apus_pmtu_lower(&pmtu, host(1), 1400, 0);
	assert_int_equal(apus_pmtu_find(&pmtu, host(1), 0), 0);
	assert_int_equal(pmtu.counters[APUS_PMTU_NO_MEMORY], 1);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(nothing_is_known_at_first_and_costs_no_memory),
		TEST(what_was_said_is_known_of_that_host_only),
		TEST(less_is_believed_and_more_is_not),
		TEST(after_ten_minutes_it_is_forgotten),
		TEST(said_again_it_counts_from_then),
		TEST(too_old_it_does_not_hold_down_what_is_said_anew),
		TEST(any_number_of_hosts_takes_bounded_memory),
		TEST(in_a_full_set_the_oldest_gives_way),
		TEST(without_memory_nothing_is_learnt_and_nothing_breaks),
	};
#undef TEST

	return test_main(argc, argv, tests);
}
