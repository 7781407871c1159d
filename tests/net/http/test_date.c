/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/http/test_date.c: dates are written in one form and read in three.
 */
#include "net/http/date.h"
#include "tests/runtime/runtime_test.h"

#include <time.h>

static int64_t parse(const char *text)
{
	return apus_http_date_parse((struct apus_http_text){.at = text, .len = strlen(text)});
}

static void formatted_dates_agree_with_the_c_library(void **state)
{
	for (int64_t s = 0; s < INT64_C(253402300800); s += 86400 * 13 + 3671) {
		char ours[APUS_HTTP_DATE_BYTES + 1] = {0}, theirs[64];
		struct tm tm;
		time_t t = s;

		apus_http_date_format(s, ours);
		assert_non_null(gmtime_r(&t, &tm));
		assert_true(strftime(theirs, sizeof(theirs), "%a, %d %b %Y %H:%M:%S GMT", &tm) > 0);
		assert_string_equal(ours, theirs);
		assert_int_equal(parse(ours), s);
	}
}

static void three_forms_of_the_rfc_are_the_same_second(void **state)
{
	assert_int_equal(parse("Sun, 06 Nov 1994 08:49:37 GMT"), 784111777);
	assert_int_equal(parse("Sunday, 06-Nov-94 08:49:37 GMT"), 784111777);
	assert_int_equal(parse("Sun Nov  6 08:49:37 1994"), 784111777);
	assert_int_equal(parse("Wed Nov 16 08:49:37 1994"), 784975777);
}

static void other_texts_are_no_dates(void **state)
{
	static const char *const table[] = {
		"",
		"Sun",
		"Sun,",
		"Sun, 06 Nov 1994 08:49:37",
		"Sun, 06 Nov 1994 08:49:37 GMT ",
		"Sun, 06 Nov 1994 08:49:37 CET",
		"Sun, 06 Nov 1994 24:49:37 GMT",
		"Sun, 06 Nov 1994 08:60:37 GMT",
		"Sun, 06 Nov 1994 08:49:61 GMT",
		"Sun, 00 Nov 1994 08:49:37 GMT",
		"Sun, 32 Nov 1994 08:49:37 GMT",
		"Sun, 06 Nop 1994 08:49:37 GMT",
		"Sun, 6 Nov 1994 08:49:37 GMT",
		"Sun, 06 Nov 1969 08:49:37 GMT",
		"Sun, -6 Nov 1994 08:49:37 GMT",
		"Sunday, 06-Nov-1994 08:49:37 GMT",
		"Sun Nov 6 08:49:37 1994",
		"784111777",
	};

	for (size_t i = 0; i < apus_countof(table); i++)
		if (parse(table[i]) != -EINVAL)
			fail_msg("is a date: %s", table[i]);
}

static int64_t lines(void *arg)
{
	struct apus_http_date d;
	char first[APUS_HTTP_DATE_LINE_BYTES];

	apus_http_date_init(&d);
	memcpy(first, apus_http_date_line(&d), sizeof(first));
	assert_memory_equal(first, "Date: ", 6);
	assert_memory_equal(first + 35, "\r\n", 2);

	/* From here to the end of this second, and not a nanosecond longer. */
	ok(apus_sleep_until(d.until_ns - 1));
	assert_memory_equal(apus_http_date_line(&d), first, sizeof(first));
	ok(apus_sleep_until(d.until_ns));
	assert_memory_not_equal(apus_http_date_line(&d), first, sizeof(first));

	char expected[APUS_HTTP_DATE_BYTES];

	apus_http_date_format(apus_wall_now() / APUS_SEC, expected);
	assert_memory_equal(apus_http_date_line(&d) + 6, expected, sizeof(expected));
	assert_int_equal(d.until_ns - apus_now(), APUS_SEC);
	return 0;
}

static void date_line_is_made_once_per_second(void **state)
{
	ok(test_run(lines, NULL));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(formatted_dates_agree_with_the_c_library),
		cmocka_unit_test(three_forms_of_the_rfc_are_the_same_second),
		cmocka_unit_test(other_texts_are_no_dates),
		shard_test(date_line_is_made_once_per_second),
	};

	return test_main(argc, argv, tests);
}
