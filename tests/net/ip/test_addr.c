/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/ip/test_addr.c: addresses as text: what is taken, what is refused, to the last byte.
 */
#include "net/ip/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void v4_text_parses_to_the_mapped_form(void **state)
{
	struct apus_addr a;
	const uint8_t want[16] = {[10] = 0xff, [11] = 0xff, 10, 7, 0, 2};

	assert_int_equal(apus_addr_parse("10.7.0.2", &a), 0);
	assert_memory_equal(a.u8, want, 16);
	assert_true(apus_addr_is_v4(a));
	assert_int_equal(apus_addr_to_v4(a), inet_addr("10.7.0.2"));
}

static void zeros_of_either_family_parse_to_any(void **state)
{
	struct apus_addr a;

	assert_int_equal(apus_addr_parse("0.0.0.0", &a), 0);
	assert_true(apus_addr_is_any(a));
	assert_int_equal(apus_addr_parse("::", &a), 0);
	assert_true(apus_addr_is_any(a));
	assert_false(apus_addr_is_v4(a));
}

static void v6_text_parses_and_is_not_v4(void **state)
{
	struct apus_addr a;

	assert_int_equal(apus_addr_parse("2001:db8::1", &a), 0);
	assert_int_equal(a.u8[0], 0x20);
	assert_int_equal(a.u8[15], 1);
	assert_false(apus_addr_is_v4(a));
}

static void bad_addresses_are_refused_and_leave_the_output(void **state)
{
	static const char *const bad[] = {
		"",           "10",         "10.7",        "10.7.0",     "10.7.0.2.3",
		"10.7.0.256", "10.7.0.-1",  " 10.7.0.2",   "10.7.0.2 ",  "10.7.0.2/24",
		"10.7.0.x",   "0x0a070002", "010.7.0.2:1", "1.2.3.4567", "1:2:3:4:5:6",
		":::",        "g::1",
	};

	for (size_t i = 0; i < apus_countof(bad); i++) {
		struct apus_addr a = apus_addr_v4(42);

		if (apus_addr_parse(bad[i], &a) != -EINVAL)
			fail_msg("\"%s\" was taken", bad[i]);
		assert_true(apus_addr_equal(a, apus_addr_v4(42)));
	}
}

static void prefixes_parse_with_and_without_length(void **state)
{
	struct apus_addr a;
	unsigned int bits;

	assert_int_equal(apus_addr_parse_prefix("10.7.0.2/24", &a, &bits), 0);
	assert_int_equal(bits, 24);
	assert_int_equal(apus_addr_parse_prefix("10.7.0.2", &a, &bits), 0);
	assert_int_equal(bits, 32);
	assert_int_equal(apus_addr_parse_prefix("0.0.0.0/0", &a, &bits), 0);
	assert_int_equal(bits, 0);
	assert_int_equal(apus_addr_parse_prefix("2001:db8::/64", &a, &bits), 0);
	assert_int_equal(bits, 64);
	assert_int_equal(apus_addr_parse_prefix("::1", &a, &bits), 0);
	assert_int_equal(bits, 128);
}

static void bad_prefixes_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"/24",
		"10.7.0.2/",
		"10.7.0.2/33",
		"10.7.0.2/-1",
		"10.7.0.2/+1",
		"10.7.0.2/ 1",
		"10.7.0.2/24x",
		"10.7.0/24",
		"10.7.0.2//24",
		"10.7.0.2/24/24",
		"10.7.0.2/4294967320",
		"::1/129",
		"1234567890123456789012345678901234567890123456789/1",
	};

	for (size_t i = 0; i < apus_countof(bad); i++) {
		struct apus_addr a;
		unsigned int bits;

		if (apus_addr_parse_prefix(bad[i], &a, &bits) != -EINVAL)
			fail_msg("\"%s\" was taken", bad[i]);
	}
}

static void endpoints_survive_text_and_back(void **state)
{
	static const struct {
		const char *in, *out;
	} pairs[] = {
		{"10.7.0.2:80", "10.7.0.2:80"},
		{"255.255.255.255:65535", "255.255.255.255:65535"},
		{":80", "0.0.0.0:80"},
		{"0.0.0.0:0", "0.0.0.0:0"},
		{"[::1]:80", "[::1]:80"},
		{"[2001:db8::ffff:1]:65535", "[2001:db8::ffff:1]:65535"},
		{"[::ffff:10.7.0.2]:80", "10.7.0.2:80"},
	};

	for (size_t i = 0; i < apus_countof(pairs); i++) {
		struct apus_endpoint e, again;
		char text[APUS_ENDPOINT_TEXT_BYTES];

		assert_int_equal(apus_endpoint_parse(pairs[i].in, &e), 0);
		assert_string_equal(apus_endpoint_format(e, text), pairs[i].out);
		assert_int_equal(apus_endpoint_parse(text, &again), 0);
		assert_true(apus_addr_equal(e.addr, again.addr));
		assert_int_equal(e.port, again.port);
	}
}

static void the_longest_endpoint_fits_its_text(void **state)
{
	struct apus_endpoint e = {.port = 65535};
	char text[APUS_ENDPOINT_TEXT_BYTES];

	memset(e.addr.u8, 0xff, sizeof(e.addr.u8));
	assert_string_equal(apus_endpoint_format(e, text),
			    "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
}

static void bad_endpoints_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"80",
		"10.7.0.2",
		"10.7.0.2:",
		"10.7.0.2:65536",
		"10.7.0.2:-1",
		"10.7.0.2:+1",
		"10.7.0.2: 1",
		"10.7.0.2:80x",
		"::1:80",
		"[::1]80",
		"[::1:80",
		"[]:80",
		"[10.7.0.2]:80",
		"]:80",
		"[:80",
		"x:80",
		"10.7.0.2:99999999999999999999",
	};

	for (size_t i = 0; i < apus_countof(bad); i++) {
		struct apus_endpoint e;

		if (apus_endpoint_parse(bad[i], &e) != -EINVAL)
			fail_msg("\"%s\" was taken", bad[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(v4_text_parses_to_the_mapped_form),
		cmocka_unit_test(zeros_of_either_family_parse_to_any),
		cmocka_unit_test(v6_text_parses_and_is_not_v4),
		cmocka_unit_test(bad_addresses_are_refused_and_leave_the_output),
		cmocka_unit_test(prefixes_parse_with_and_without_length),
		cmocka_unit_test(bad_prefixes_are_refused),
		cmocka_unit_test(endpoints_survive_text_and_back),
		cmocka_unit_test(the_longest_endpoint_fits_its_text),
		cmocka_unit_test(bad_endpoints_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
