/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/base/test_metrics.c: counters are found by name, in order of registration.
 */
#include "tests/runtime/base_test.h"

#include "runtime/base/metrics.h"

#define COUNTERS(X) X(IN, "in") X(OUT, "out") X(DROP_SHORT, "drop_short")

enum {
#define X(id, name) COUNTER_##id,
	COUNTERS(X)
#undef X
	COUNTER_COUNT
};
static const char *const names[] = {COUNTERS(APUS_COUNTER_NAME)};

static void append_line(void *arg, const char *area, const char *name, uint64_t value)
{
	char *text = arg;

	sprintf(text + strlen(text), "%s.%s=%llu ", area, name, (unsigned long long)value);
}

static const char *all(const struct apus_metrics *m)
{
	static char text[1024];

	text[0] = '\0';
	apus_metrics_visit(m, append_line, text);
	return text;
}

static void empty_registry_visits_nothing(void **state)
{
	struct apus_metrics m;

	apus_metrics_init(&m);
	assert_string_equal(all(&m), "");
}

static void names_table_follows_the_enum(void **state)
{
	assert_int_equal(apus_countof(names), COUNTER_COUNT);
	assert_string_equal(names[COUNTER_DROP_SHORT], "drop_short");
}

static void visit_reads_the_values_of_now_in_order_of_registration(void **state)
{
	uint64_t arp[COUNTER_COUNT] = {1, 2, 3}, ip[2] = {UINT64_MAX, 5};
	struct apus_metrics_block arp_block, ip_block;
	struct apus_metrics m;

	apus_metrics_init(&m);
	apus_metrics_register(&m, &ip_block, "ip", names, ip, 2);
	apus_metrics_register(&m, &arp_block, "arp", names, arp, COUNTER_COUNT);
	arp[COUNTER_IN] = 40;
	assert_string_equal(all(&m), "ip.in=18446744073709551615 ip.out=5 "
				     "arp.in=40 arp.out=2 arp.drop_short=3 ");
}

static void unregistered_block_is_not_visited_and_may_come_back(void **state)
{
	uint64_t a[1] = {1}, b[1] = {2}, c[1] = {3};
	struct apus_metrics_block blocks[3];
	struct apus_metrics m;

	apus_metrics_init(&m);
	apus_metrics_register(&m, &blocks[0], "a", names, a, 1);
	apus_metrics_register(&m, &blocks[1], "b", names, b, 1);
	apus_metrics_register(&m, &blocks[2], "c", names, c, 1);
	apus_metrics_unregister(&blocks[1]);
	assert_string_equal(all(&m), "a.in=1 c.in=3 ");
	apus_metrics_unregister(&blocks[0]);
	apus_metrics_register(&m, &blocks[1], "b", names, b, 1);
	assert_string_equal(all(&m), "c.in=3 b.in=2 ");
	apus_metrics_unregister(&blocks[2]);
	apus_metrics_unregister(&blocks[1]);
	assert_string_equal(all(&m), "");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_registry_visits_nothing),
		cmocka_unit_test(names_table_follows_the_enum),
		cmocka_unit_test(visit_reads_the_values_of_now_in_order_of_registration),
		cmocka_unit_test(unregistered_block_is_not_visited_and_may_come_back),
	};

	return test_main(argc, argv, tests);
}
