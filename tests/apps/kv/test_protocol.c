/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/apps/kv/test_protocol.c: lines of memcached's protocol, good ones and others.
 */
#include "apps/kv/protocol.h"
#include "tests/runtime/base_test.h"

#define K_25    "kkkkkkkkkkkkkkkkkkkkkkkkk"
#define K_125   K_25 K_25 K_25 K_25 K_25
#define KEY_250 K_125 K_125

static struct kv_command parse(const char *line)
{
	struct kv_command c = {0};
	size_t bytes = 0;

	assert_int_equal(kv_parse(line, strlen(line), 0, &c, &bytes), KV_LINE);
	assert_int_equal(bytes, strlen(line));
	return c;
}

static bool same(struct kv_text t, const char *text)
{
	return t.len == strlen(text) && memcmp(t.at, text, t.len) == 0;
}

static void refused_lines_say_why(void **state)
{
	static const struct {
		const char *line, *answer;
	} table[] = {
		{"\r\n", KV_ERROR},
		{"\n", KV_ERROR},
		{"   \r\n", KV_ERROR},
		{"x\r\n", KV_ERROR},
		{"GET a\r\n", KV_ERROR},
		{"gett a\r\n", KV_ERROR},
		{"get\r\n", KV_ERROR},
		{"gets  \r\n", KV_ERROR},
		{"gat\r\n", KV_ERROR},
		{"gat a b\r\n", KV_BAD_EXPTIME},
		{"get " KEY_250 "k\r\n", KV_BAD_FORMAT},
		{"get a " KEY_250 "k\r\n", KV_BAD_FORMAT},
		{"set a 0 0\r\n", KV_ERROR},
		{"set a 0 0 1 noreply x\r\n", KV_ERROR},
		{"set " KEY_250 "k 0 0 1\r\n", KV_BAD_FORMAT},
		{"set a -1 0 1\r\n", KV_BAD_FORMAT},
		{"set a 4294967296 0 1\r\n", KV_BAD_FORMAT},
		{"set a 0 x 1\r\n", KV_BAD_FORMAT},
		{"set a 0 0 -1\r\n", KV_BAD_FORMAT},
		{"set a 0 0 1x\r\n", KV_BAD_FORMAT},
		{"set a 0 0 2147483646\r\n", KV_BAD_FORMAT},
		{"cas a 0 0 1\r\n", KV_ERROR},
		{"cas a 0 0 1 x\r\n", KV_BAD_FORMAT},
		{"cas a 0 0 1 18446744073709551616\r\n", KV_BAD_FORMAT},
		{"delete\r\n", KV_ERROR},
		{"delete a b\r\n", KV_BAD_DELETE},
		{"delete a 1 noreply\r\n", KV_BAD_DELETE},
		{"delete a 0 b\r\n", KV_BAD_DELETE},
		{"delete a 0 noreply x\r\n", KV_ERROR},
		{"incr a\r\n", KV_ERROR},
		{"incr a -1\r\n", KV_BAD_DELTA},
		{"decr a 18446744073709551616\r\n", KV_BAD_DELTA},
		{"touch a\r\n", KV_ERROR},
		{"touch a x\r\n", KV_BAD_EXPTIME},
		{"touch a 18446744073709551615\r\n", KV_BAD_EXPTIME},
		{"touch a 0 noreply x\r\n", KV_ERROR},
		{"flush_all x\r\n", KV_BAD_EXPTIME},
		{"flush_all 1 2 3\r\n", KV_ERROR},
		{"verbosity\r\n", KV_ERROR},
		{"verbosity x\r\n", KV_BAD_FORMAT},
	};

	for (size_t i = 0; i < apus_countof(table); i++) {
		struct kv_command c = parse(table[i].line);

		assert_int_equal(c.verb, KV_REFUSED);
		assert_string_equal(c.answer, table[i].answer);
	}
}

static void storing_lines_have_all_their_fields(void **state)
{
	static const char *const words[] = {"set", "add", "replace", "append", "prepend", "cas"};
	char line[300];

	for (int i = 0; i < 6; i++) {
		bool cas = i == 5;

		snprintf(line, sizeof(line), " %s  key 4294967295 -7 1048577%s noreply \r\n",
			 words[i], cas ? " 18446744073709551615" : "");

		struct kv_command c = parse(line);

		assert_int_equal(c.verb, (int)KV_SET + i);
		assert_true(same(c.key, "key"));
		assert_int_equal(c.flags, UINT32_MAX);
		assert_int_equal(c.exptime, -7);
		assert_int_equal(c.bytes, KV_VALUE_MAX + 1);
		assert_true(c.number == (cas ? UINT64_MAX : 0));
		assert_true(c.noreply);
	}
	assert_false(parse("set a 0 0 1 norepl\r\n").noreply);
	assert_int_equal(parse("set " KEY_250 " 0 0 1\n").key.len, 250);
}

static void asking_lines_lend_their_keys(void **state)
{
	struct kv_command c = parse("get \x10"
				    "a\t\x7f\r b\r\n");
	struct kv_text key;

	assert_int_equal(c.verb, KV_GET); /* as memcached, whatever its documentation says */
	assert_true(kv_next_key(&c.keys, &key) && same(key, "\x10"
							    "a\t\x7f\r"));
	assert_true(kv_next_key(&c.keys, &key) && same(key, "b"));
	c = parse("gats 60 a  bb ccc \r\n");
	assert_int_equal(c.verb, KV_GET);
	assert_true(c.cas && c.touch);
	assert_int_equal(c.exptime, 60);
	assert_true(kv_next_key(&c.keys, &key) && same(key, "a"));
	assert_true(kv_next_key(&c.keys, &key) && same(key, "bb"));
	assert_true(kv_next_key(&c.keys, &key) && same(key, "ccc"));
	assert_false(kv_next_key(&c.keys, &key));
	c = parse("get a\r\n");
	assert_false(c.cas || c.touch);
	c = parse("gat 0\r\n"); /* as memcached: no keys, no error */
	assert_int_equal(c.verb, KV_GET);
	assert_false(kv_next_key(&c.keys, &key));
}

static void other_lines_are_known(void **state)
{
	struct kv_command c = parse("incr n 18446744073709551615 noreply\r\n");

	assert_true(c.verb == KV_INCR && c.number == UINT64_MAX && c.noreply);
	c = parse("decr n 1 x\r\n");
	assert_true(c.verb == KV_DECR && !c.noreply);
	c = parse("touch n -1 noreply\r\n");
	assert_true(c.verb == KV_TOUCH && c.exptime == -1 && c.noreply);
	assert_true(parse("delete a 0 noreply\r\n").noreply);
	assert_int_equal(parse("delete a 0\r\n").verb, KV_DELETE);
	assert_int_equal(parse("flush_all 10 noreply\r\n").exptime, 10);
	assert_int_equal(parse("flush_all noreply\r\n").verb, KV_FLUSH_ALL);
	assert_true(same(parse("stats settings\r\n").key, "settings"));
	assert_int_equal(parse("version x\r\n").verb, KV_VERSION);
	assert_int_equal(parse("verbosity 1 noreply\r\n").verb, KV_VERBOSITY);
	assert_int_equal(parse("mn\r\n").verb, KV_NOOP);
	assert_int_equal(parse("quit\n").verb, KV_QUIT);
	/* A noreply holds for a refusal, too. */
	assert_true(parse("incr n x noreply\r\n").noreply);
}

static void line_ends_only_at_its_newline(void **state)
{
	static const char line[] = "set key 1 2 3 noreply\r\n";
	struct kv_command c;
	size_t bytes;

	for (size_t have = 0; have + 1 < sizeof(line) - 1; have++)
		assert_int_equal(kv_parse(line, have, 0, &c, &bytes), KV_MORE);
	/* What was looked at before is not looked at again, and nothing is lost by that. */
	for (size_t seen = 0; seen < sizeof(line) - 1; seen++) {
		assert_int_equal(kv_parse(line, sizeof(line) - 1, seen, &c, &bytes), KV_LINE);
		assert_int_equal(bytes, sizeof(line) - 1);
		assert_true(same(c.key, "key"));
	}
}

/* Without an end: the line goes on. */
static void begin_with(char *text, const char *word)
{
	while (*word)
		*text++ = *word++;
}

static void line_that_cannot_end_is_too_long(void **state)
{
	size_t size = KV_LINE_KEYS_MAX + 2;
	char *text = malloc(size);
	struct kv_command c;
	size_t bytes;

	memset(text, 'a', size);
	assert_int_equal(kv_parse(text, KV_LINE_MAX, 0, &c, &bytes), KV_MORE);
	assert_int_equal(kv_parse(text, KV_LINE_MAX + 1, 0, &c, &bytes), KV_TOO_LONG);
	begin_with(text, "set ");
	assert_int_equal(kv_parse(text, KV_LINE_MAX + 1, 0, &c, &bytes), KV_TOO_LONG);
	begin_with(text, "gets ");
	assert_int_equal(kv_parse(text, KV_LINE_KEYS_MAX, 0, &c, &bytes), KV_MORE);
	assert_int_equal(kv_parse(text, KV_LINE_KEYS_MAX + 1, 0, &c, &bytes), KV_TOO_LONG);
	/* An end does not help a line that is longer than allowed. */
	memset(text, 'a', size);
	text[KV_LINE_MAX + 1] = '\n';
	assert_int_equal(kv_parse(text, KV_LINE_MAX + 2, 0, &c, &bytes), KV_TOO_LONG);
	free(text);
}

static void other_protocols_are_foreign(void **state)
{
	static const char http[] = "GET / HTTP/1.1\r\n", binary[] = "\x80\x0b";
	struct kv_command c;
	size_t bytes;

	assert_int_equal(kv_parse(http, sizeof(http) - 1, 0, &c, &bytes), KV_FOREIGN);
	assert_int_equal(kv_parse(binary, 2, 0, &c, &bytes), KV_FOREIGN);
}

static void numbers_are_read_as_memcached_reads_them(void **state)
{
	static const struct {
		const char *text;
		bool good;
		uint64_t value;
	} table[] = {
		{"0", true, 0},
		{"007", true, 7},
		{"18446744073709551615", true, UINT64_MAX},
		{"18446744073709551616", false, 0},
		{"99999999999999999999999", false, 0},
		{"", false, 0},
		{" ", false, 0},
		{"-1", false, 0},
		{"+5", true, 5},
		{" \t5", true, 5},
		{"5 apples", true, 5},
		{"5apples", false, 0},
		{"0x10", false, 0},
	};

	for (size_t i = 0; i < apus_countof(table); i++) {
		struct kv_text t = {table[i].text, strlen(table[i].text)};
		uint64_t n = 0;

		assert_int_equal(kv_number(t, &n), table[i].good);
		assert_true(n == table[i].value);
	}
}

static void written_numbers_are_read_again(void **state)
{
	uint64_t random = 1;

	for (int i = 0; i < 10000; i++) {
		uint64_t n = test_random(&random) >> test_random_below(&random, 64), back = ~n;
		char text[KV_NUMBER_BYTES + 1], expected[32];

		*kv_put_number(text, n) = 0;
		snprintf(expected, sizeof(expected), "%llu", (unsigned long long)n);
		assert_string_equal(text, expected);
		assert_true(kv_number((struct kv_text){text, strlen(text)}, &back) && back == n);
	}
}

static void deadlines_are_spans_up_to_thirty_days_and_dates_beyond(void **state)
{
	const int64_t now_ns = 5 * APUS_SEC + 7, wall_s = 1767225600, days30 = 2592000;
	const int64_t wall_ns = wall_s * APUS_SEC + 9;

	assert_true(kv_deadline(0, now_ns, wall_ns) == APUS_NEVER);
	assert_true(kv_deadline(-1, now_ns, wall_ns) == now_ns);
	assert_true(kv_deadline(INT64_MIN + 1, now_ns, wall_ns) == now_ns);
	assert_true(kv_deadline(1, now_ns, wall_ns) == now_ns + APUS_SEC);
	assert_true(kv_deadline(days30, now_ns, wall_ns) == now_ns + days30 * APUS_SEC);
	assert_true(kv_deadline(days30 + 1, now_ns, wall_ns) == now_ns); /* in January 1970 */
	assert_true(kv_deadline(wall_s, now_ns, wall_ns) == now_ns);
	assert_true(kv_deadline(wall_s + 60, now_ns, wall_ns) == now_ns + 60 * APUS_SEC - 9);
	assert_true(kv_deadline(INT64_MAX, now_ns, wall_ns) == APUS_NEVER);
	assert_true(kv_deadline(INT64_MAX / APUS_SEC, now_ns, wall_ns) == APUS_NEVER);
	/* The last second that there is, a shard whose time is late. */
	assert_true(kv_deadline(INT64_MAX / APUS_SEC - 1, INT64_MAX / 2, 0) == APUS_NEVER);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refused_lines_say_why),
		cmocka_unit_test(storing_lines_have_all_their_fields),
		cmocka_unit_test(asking_lines_lend_their_keys),
		cmocka_unit_test(other_lines_are_known),
		cmocka_unit_test(line_ends_only_at_its_newline),
		cmocka_unit_test(line_that_cannot_end_is_too_long),
		cmocka_unit_test(other_protocols_are_foreign),
		cmocka_unit_test(numbers_are_read_as_memcached_reads_them),
		cmocka_unit_test(written_numbers_are_read_again),
		cmocka_unit_test(deadlines_are_spans_up_to_thirty_days_and_dates_beyond),
	};

	return test_main(argc, argv, tests);
}
