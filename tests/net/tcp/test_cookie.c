/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_cookie.c: a cookie comes back as what went into it, for one to two minutes, to
 * the peer it was made for and to nobody else (RFC 4987 §3.6).
 */
#include "tests/runtime/base_test.h"

#include "net/tcp/cookie.h"

#include <arpa/inet.h>

#define MINUTE APUS_TCP_COOKIE_PERIOD_NS
#define IRS    77777

static const struct apus_siphash_key master = {{0x0123456789abcdef, 0xfedcba9876543210}};
static struct apus_tcp_cookie_jar jar;

static int setup(void **state)
{
	apus_tcp_cookie_init(&jar, &master);
	return 0;
}

static struct apus_tcp_key key(uint32_t remote, uint16_t port)
{
	return (struct apus_tcp_key){
		.local = apus_addr_v4(htonl(0x0a000001)),
		.remote = apus_addr_v4(htonl(remote)),
		.local_port = 80,
		.remote_port = port,
	};
}

static uint32_t make(struct apus_tcp_key k, uint16_t mss, int64_t now_ns)
{
	return apus_tcp_cookie_make(&jar, &k, IRS, mss, now_ns);
}

static uint16_t check(struct apus_tcp_key k, uint32_t iss, int64_t now_ns)
{
	return apus_tcp_cookie_check(&jar, &k, IRS, iss, now_ns);
}

static void segment_size_comes_back_rounded_down(void **state)
{
	static const uint16_t asked_and_told[][2] = {
		{0, 536},     {1, 48},      {47, 48},     {48, 48},     {535, 48},
		{536, 536},   {1219, 536},  {1220, 1220}, {1380, 1360}, {1439, 1420},
		{1452, 1440}, {1460, 1460}, {8959, 1460}, {8960, 8960}, {UINT16_MAX, 8960},
	};
	struct apus_tcp_key k = key(0x0a000002, 4000);

	for (size_t i = 0; i < apus_countof(asked_and_told); i++)
		assert_int_equal(check(k, make(k, asked_and_told[i][0], 0), 0),
				 asked_and_told[i][1]);
}

static void cookie_is_good_for_a_minute_and_for_no_more_than_two(void **state)
{
	struct apus_tcp_key k = key(0x0a000002, 4000);

	for (int64_t made_ns = 5 * MINUTE; made_ns < 6 * MINUTE; made_ns += MINUTE / 7) {
		uint32_t iss = make(k, 1460, made_ns);

		assert_int_equal(check(k, iss, made_ns + MINUTE), 1460);
		assert_int_equal(check(k, iss, 7 * MINUTE - 1), 1460);
		assert_int_equal(check(k, iss, 7 * MINUTE), 0);
		/* Nor when the parity of the minute is its own again. */
		assert_int_equal(check(k, iss, made_ns + 2 * MINUTE), 0);
		assert_int_equal(check(k, iss, made_ns + 3 * MINUTE), 0);
		setup(NULL); /* the clock of the next round begins earlier */
	}
}

static void cookie_of_another_minute_is_another(void **state)
{
	struct apus_tcp_key k = key(0x0a000002, 4000);

	assert_int_equal(make(k, 1460, 0), make(k, 1460, MINUTE - 1));
	assert_int_not_equal(make(k, 1460, 0), make(k, 1460, MINUTE));
	assert_int_not_equal(make(k, 1460, 0), make(k, 1460, 2 * MINUTE));
}

static void cookie_is_for_its_tuple_and_its_number_only(void **state)
{
	struct apus_tcp_key k = key(0x0a000002, 4000), other = k;
	uint32_t iss = make(k, 1460, 0);

	assert_int_equal(check(key(0x0a000003, 4000), iss, 0), 0);
	assert_int_equal(check(key(0x0a000002, 4001), iss, 0), 0);
	other.local_port = 81;
	assert_int_equal(check(other, iss, 0), 0);
	other = k;
	other.local = apus_addr_v4(htonl(0x0a000003));
	assert_int_equal(check(other, iss, 0), 0);
	assert_int_equal(apus_tcp_cookie_check(&jar, &k, IRS + 1, iss, 0), 0);
}

static void every_changed_bit_but_those_of_the_size_is_noticed(void **state)
{
	struct apus_tcp_key k = key(0x0a000002, 4000);
	uint32_t iss = make(k, 1460, 0);

	for (int bit = 0; bit < 32; bit++) {
		uint16_t mss = check(k, iss ^ 1U << bit, 0);

		if (bit >= 1 && bit <= 3) /* another size of ours: never more than we would take */
			assert_true(mss && mss != 1460);
		else
			assert_int_equal(mss, 0);
	}
}

/* 2^-28 of all guesses are good: in 4 million, hardly ever one, and never two. */
static void guesses_are_not_taken(void **state)
{
	struct apus_tcp_key k = key(0x0a000002, 4000);
	uint64_t seed = 1;
	uint32_t taken = 0;

	for (int i = 0; i < (test_is_slow() ? 40000 : 4000000); i++)
		taken += check(k, (uint32_t)test_random(&seed), MINUTE) != 0;
	assert_true(taken < 2);
}

static void another_master_makes_other_cookies(void **state)
{
	static const struct apus_siphash_key another = {{1, 2}};
	struct apus_tcp_key k = key(0x0a000002, 4000);
	uint32_t iss = make(k, 1460, 0);

	apus_tcp_cookie_init(&jar, &another);
	assert_int_equal(check(k, iss, 0), 0);
}

static void options_come_back_in_a_timestamp(void **state)
{
	for (int bits = 0; bits < 16 * 4; bits++) {
		struct apus_tcp_cookie_options told, options = {
							     .wscale = (int8_t)(bits % 16 - 1),
							     .sack_permitted = bits & 16,
							     .ecn = bits & 32,
						     };

		for (uint32_t ts = 0; ts < 200; ts++) {
			uint32_t said = apus_tcp_cookie_ts(ts - 100, &options); /* over the wrap */

			told = apus_tcp_cookie_ts_options(said);
			assert_int_equal(told.wscale, options.wscale);
			assert_int_equal(told.sack_permitted, options.sack_permitted);
			assert_int_equal(told.ecn, options.ecn);
			/* RFC 7323 §4.1: it is still a clock that never goes back behind. */
			assert_in_range(ts - 100 - said, 0, 63);
		}
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(segment_size_comes_back_rounded_down, setup),
		cmocka_unit_test_setup(cookie_is_good_for_a_minute_and_for_no_more_than_two, setup),
		cmocka_unit_test_setup(cookie_of_another_minute_is_another, setup),
		cmocka_unit_test_setup(cookie_is_for_its_tuple_and_its_number_only, setup),
		cmocka_unit_test_setup(every_changed_bit_but_those_of_the_size_is_noticed, setup),
		cmocka_unit_test_setup(guesses_are_not_taken, setup),
		cmocka_unit_test_setup(another_master_makes_other_cookies, setup),
		cmocka_unit_test_setup(options_come_back_in_a_timestamp, setup),
	};

	return test_main(argc, argv, tests);
}
