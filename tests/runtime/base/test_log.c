/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/base/test_log.c: one line to stderr, filtered by level, 10 a second and call site.
 *
 * The host's second may turn in the middle of a burst; the site says so and the burst is tried
 * again. A new second is made by writing an old one into the site.
 */
#include "tests/runtime/base_test.h"

#include "runtime/base/log.h"

static struct test_capture capture;

static int default_level(void **state)
{
	apus_log_set_level(APUS_LOG_INFO);
	return 0;
}

static void line_holds_the_text_and_ends_in_newline(void **state)
{
	test_capture_begin(&capture);
	apus_log(WARN, "arp: table full, %u entries", 17u);
	const char *text = test_capture_end(&capture);

	assert_int_equal(test_count(text, "arp: table full, 17 entries"), 1);
	assert_int_equal(test_count(text, "\n"), 1);
	assert_int_equal(text[strlen(text) - 1], '\n');
}

static void level_lets_through_what_is_at_least_as_grave(void **state)
{
	static const char *const words[] = {"grave", "doubtful", "plain", "chatter"};

	for (int level = APUS_LOG_ERROR; level <= APUS_LOG_DEBUG; level++) {
		apus_log_set_level((enum apus_log_level)level);
		test_capture_begin(&capture);
		apus_log(ERROR, "test: grave");
		apus_log(WARN, "test: doubtful");
		apus_log(INFO, "test: plain");
		apus_log(DEBUG, "test: chatter");
		const char *text = test_capture_end(&capture);

		for (int i = 0; i <= APUS_LOG_DEBUG; i++)
			assert_int_equal(test_count(text, words[i]), i <= level);
	}
}

/* `lines` lines from one site within one second; the text written. */
static const char *burst(struct apus_log_site *site, int lines)
{
	const char *text;
	int64_t second;

	do {
		*site = (struct apus_log_site){0};
		test_capture_begin(&capture);
		apus_log_write(site, APUS_LOG_WARN, "test: line 0");
		second = site->second;
		for (int i = 1; i < lines; i++)
			apus_log_write(site, APUS_LOG_WARN, "test: line %d", i);
		text = test_capture_end(&capture);
	} while (site->second != second);
	return text;
}

static void eleventh_line_within_a_second_is_left_out(void **state)
{
	struct apus_log_site site;
	const char *text = burst(&site, 25);

	assert_int_equal(test_count(text, "test: line"), 10);
	assert_int_equal(test_count(text, "test: line 9\n"), 1);
	assert_int_equal(test_count(text, "test: line 10\n"), 0);
	assert_int_equal(site.left_out, 15);
}

static void ten_lines_within_a_second_are_all_said(void **state)
{
	struct apus_log_site site;

	assert_int_equal(test_count(burst(&site, 10), "test: line"), 10);
	assert_int_equal(site.left_out, 0);
}

static void next_second_says_how_many_were_left_out_once(void **state)
{
	struct apus_log_site site;

	burst(&site, 33);
	site.second--;
	test_capture_begin(&capture);
	apus_log_write(&site, APUS_LOG_WARN, "test: later");
	const char *text = test_capture_end(&capture);

	assert_int_equal(test_count(text, "test: later"), 1);
	assert_int_equal(test_count(text, "23"), 1);
	assert_int_equal(site.left_out, 0);

	site.second--;
	test_capture_begin(&capture);
	apus_log_write(&site, APUS_LOG_WARN, "test: much later");
	assert_int_equal(test_count(test_capture_end(&capture), "23"), 0);
}

static void lines_below_the_level_do_not_use_up_the_limit(void **state)
{
	struct apus_log_site site = {0};

	test_capture_begin(&capture);
	for (int i = 0; i < 100; i++)
		apus_log_write(&site, APUS_LOG_DEBUG, "test: chatter");
	const char *text = test_capture_end(&capture);

	assert_string_equal(text, "");
	assert_int_equal(site.lines, 0);
	assert_int_equal(site.left_out, 0);
}

static void call_sites_are_limited_apart(void **state)
{
	test_capture_begin(&capture);
	for (int i = 0; i < 25; i++)
		apus_log(WARN, "test: noisy");
	apus_log(WARN, "test: quiet");
	assert_int_equal(test_count(test_capture_end(&capture), "test: quiet"), 1);
}

static void overlong_line_is_cut_and_still_one_line(void **state)
{
	static char word[20000];

	memset(word, 'x', sizeof(word) - 1);
	test_capture_begin(&capture);
	apus_log(WARN, "test: %s", word);
	const char *text = test_capture_end(&capture);

	assert_int_equal(test_count(text, "test: xxx"), 1);
	assert_int_equal(test_count(text, "\n"), 1);
	assert_int_equal(text[strlen(text) - 1], '\n');
}

static void nothing_goes_to_stdout_and_errno_is_kept(void **state)
{
	int saved = dup(STDOUT_FILENO), file = memfd_create("stdout", 0);
	char byte;

	fflush(stdout);
	dup2(file, STDOUT_FILENO);
	test_capture_begin(&capture);
	errno = ENOTTY;
	apus_log(WARN, "test: side effects");
	int after = errno;

	test_capture_end(&capture);
	fflush(stdout);
	dup2(saved, STDOUT_FILENO);
	ssize_t written = pread(file, &byte, 1, 0);

	close(saved);
	close(file);
	assert_int_equal(written, 0);
	assert_int_equal(after, ENOTTY);
}

#define log_test(name) cmocka_unit_test_setup(name, default_level)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		log_test(line_holds_the_text_and_ends_in_newline),
		log_test(level_lets_through_what_is_at_least_as_grave),
		log_test(eleventh_line_within_a_second_is_left_out),
		log_test(ten_lines_within_a_second_are_all_said),
		log_test(next_second_says_how_many_were_left_out_once),
		log_test(lines_below_the_level_do_not_use_up_the_limit),
		log_test(call_sites_are_limited_apart),
		log_test(overlong_line_is_cut_and_still_one_line),
		log_test(nothing_goes_to_stdout_and_errno_is_kept),
	};

	return test_main(argc, argv, tests);
}
