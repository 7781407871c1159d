/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/ip/test_route.c: the longest prefix wins, whatever the order of adding.
 */
#include "net/ip/route.h"
#include "runtime/base/random.h"

#include <errno.h>
#include <rte_byteorder.h>
#include <rte_ip.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define IP4(a, b, c, d) RTE_BE32(RTE_IPV4((uint32_t)(a), b, c, d))

static struct apus_route_table table;
static const struct apus_addr any;

static struct apus_addr addr(int a, int b, int c, int d)
{
	return apus_addr_v4(IP4(a, b, c, d));
}

static uint32_t next_hop(uint32_t dst)
{
	uint32_t hop = 0;

	return apus_route_lookup(&table, dst, &hop) ? 0 : hop;
}

static int setup(void **state)
{
	apus_route_init(&table);
	assert_int_equal(apus_route_add(&table, addr(10, 7, 0, 2), 24, any), 0);
	return 0;
}

static void neighbour_is_its_own_next_hop(void **state)
{
	assert_int_equal(next_hop(IP4(10, 7, 0, 9)), IP4(10, 7, 0, 9));
}

static void without_a_route_the_net_is_unreachable(void **state)
{
	uint32_t hop;

	assert_int_equal(apus_route_lookup(&table, IP4(10, 7, 1, 9), &hop), -ENETUNREACH);
}

static void default_route_takes_the_rest(void **state)
{
	assert_int_equal(apus_route_add(&table, any, 0, addr(10, 7, 0, 254)), 0);
	assert_int_equal(next_hop(IP4(192, 0, 2, 1)), IP4(10, 7, 0, 254));
	assert_int_equal(next_hop(IP4(10, 7, 0, 9)), IP4(10, 7, 0, 9));
}

static void longest_prefix_wins_in_any_order_of_adding(void **state)
{
	static const struct {
		int bits, gateway;
	} orders[][4] = {
		{{8, 1}, {16, 2}, {24, 3}, {32, 4}},
		{{32, 4}, {24, 3}, {16, 2}, {8, 1}},
		{{16, 2}, {32, 4}, {8, 1}, {24, 3}},
	};

	for (size_t o = 0; o < apus_countof(orders); o++) {
		setup(NULL);
		for (size_t i = 0; i < 4; i++)
			assert_int_equal(apus_route_add(&table, addr(20, 1, 2, 3),
							(unsigned int)orders[o][i].bits,
							addr(10, 7, 0, orders[o][i].gateway)),
					 0);
		assert_int_equal(next_hop(IP4(20, 1, 2, 3)), IP4(10, 7, 0, 4));
		assert_int_equal(next_hop(IP4(20, 1, 2, 4)), IP4(10, 7, 0, 3));
		assert_int_equal(next_hop(IP4(20, 1, 9, 9)), IP4(10, 7, 0, 2));
		assert_int_equal(next_hop(IP4(20, 9, 9, 9)), IP4(10, 7, 0, 1));
	}
}

static void change_forgets_the_remembered_answer(void **state)
{
	assert_int_equal(apus_route_add(&table, any, 0, addr(10, 7, 0, 254)), 0);
	assert_int_equal(next_hop(IP4(20, 0, 0, 1)), IP4(10, 7, 0, 254));
	assert_int_equal(apus_route_add(&table, addr(20, 0, 0, 0), 8, addr(10, 7, 0, 1)), 0);
	assert_int_equal(next_hop(IP4(20, 0, 0, 1)), IP4(10, 7, 0, 1));
	assert_int_equal(apus_route_del(&table, addr(20, 0, 0, 0), 8), 0);
	assert_int_equal(next_hop(IP4(20, 0, 0, 1)), IP4(10, 7, 0, 254));
	assert_int_equal(apus_route_del(&table, any, 0), 0);
	assert_int_equal(next_hop(IP4(20, 0, 0, 1)), 0);
}

static void bad_routes_are_refused(void **state)
{
	struct apus_addr v6 = {.u8 = {0x20, 1}};

	assert_int_equal(apus_route_add(&table, addr(10, 7, 0, 0), 24, any), -EEXIST);
	assert_int_equal(apus_route_add(&table, addr(10, 7, 0, 77), 24, any), -EEXIST);
	assert_int_equal(apus_route_add(&table, addr(20, 0, 0, 0), 33, any), -EINVAL);
	assert_int_equal(apus_route_add(&table, v6, 24, any), -EINVAL);
	assert_int_equal(apus_route_add(&table, any, 0, v6), -EINVAL);
	assert_int_equal(apus_route_add(&table, any, 0, addr(10, 8, 0, 1)), -ENETUNREACH);
	assert_int_equal(apus_route_del(&table, addr(20, 0, 0, 0), 8), -ENOENT);
	assert_int_equal(apus_route_del(&table, addr(20, 0, 0, 0), 40), -EINVAL);
	assert_int_equal(table.count, 1);
}

static void gateway_behind_a_gateway_is_refused(void **state)
{
	assert_int_equal(apus_route_add(&table, any, 0, addr(10, 7, 0, 254)), 0);
	assert_int_equal(apus_route_add(&table, addr(30, 0, 0, 0), 8, addr(20, 0, 0, 1)),
			 -ENETUNREACH);
}

static void full_table_refuses_and_stays_as_it_was(void **state)
{
	for (int i = 1; i < APUS_ROUTES_MAX; i++)
		assert_int_equal(apus_route_add(&table, addr(20, i, 0, 0), 16, addr(10, 7, 0, i)),
				 0);
	assert_int_equal(apus_route_add(&table, addr(21, 0, 0, 0), 16, any), -ENOSPC);
	for (int i = 1; i < APUS_ROUTES_MAX; i++)
		assert_int_equal(next_hop(IP4(20, i, 5, 5)), IP4(10, 7, 0, i));
}

/* Against the definition: of all routes that match, the longest. */
static void random_tables_agree_with_the_definition(void **state)
{
	struct apus_random r;

	apus_random_init_seed(&r, 7);
	for (int round = 0; round < 200; round++) {
		setup(NULL);
		for (int i = 0; i < 40; i++) {
			/* Few bits of choice, so that prefixes nest. */
			uint32_t p = (uint32_t)apus_random_u64(&r) & 0xc0c0c0c0;
			unsigned int bits = (unsigned int)apus_random_below(&r, 33);

			if (apus_route_add(&table, apus_addr_v4(p ? p : 1), bits,
					   addr(10, 7, 0, 1 + (int)apus_random_below(&r, 200))))
				continue;
		}
		for (int i = 0; i < 200; i++) {
			uint32_t dst = ((uint32_t)apus_random_u64(&r) & 0xc0c0c0c0) | 1;
			const struct apus_route *best = NULL;

			for (uint16_t k = 0; k < table.count; k++) {
				const struct apus_route *t = &table.routes[k];

				if ((dst & t->mask) == t->prefix &&
				    (!best || t->prefix_bits > best->prefix_bits))
					best = t;
			}
			assert_int_equal(next_hop(dst), !best           ? 0
							: best->gateway ? best->gateway
									: dst);
		}
	}
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(neighbour_is_its_own_next_hop),
		TEST(without_a_route_the_net_is_unreachable),
		TEST(default_route_takes_the_rest),
		TEST(longest_prefix_wins_in_any_order_of_adding),
		TEST(change_forgets_the_remembered_answer),
		TEST(bad_routes_are_refused),
		TEST(gateway_behind_a_gateway_is_refused),
		TEST(full_table_refuses_and_stays_as_it_was),
		TEST(random_tables_agree_with_the_definition),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
