/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/apps/kv/script.h: commands that chance makes, and what a server of some shards, joined in one
 * thread, answers to them.
 */
#ifndef APUS_TESTS_APPS_KV_SCRIPT_H
#define APUS_TESTS_APPS_KV_SCRIPT_H

#include "tests/apps/kv/fake.h"
#include "tests/runtime/cross/cross_test.h"

#define COMMANDS 150

static char script[1 << 20];
static size_t script_bytes;
static char prefix = 'k';       /* of all keys */
static bool has_flushes = true; /* which are everybody's */

/* What a server came to. */
struct outcome {
	char *out;
	size_t out_bytes;
	uint64_t remote_items; /* on other shards than the first */
};

static void add(const char *text)
{
	size_t len = strlen(text);

	memcpy(script + script_bytes, text, len);
	script_bytes += len;
}

static void add_put(uint64_t *random)
{
	static const char *const verbs[] = {"set", "set", "add", "replace", "append", "prepend"};
	static const size_t lens[] = {0, 1, 5, 300, 7000, 9000, 20000};
	size_t len = lens[test_random_below(random, apus_countof(lens))];
	char line[64];

	snprintf(line, sizeof(line), "%s %c%d 7 0 %zu%s\r\n", verbs[test_random_below(random, 6)],
		 prefix, (int)test_random_below(random, 20), len,
		 test_random_below(random, 3) ? "" : " noreply");
	add(line);
	memset(script + script_bytes, '1' + (int)test_random_below(random, 9), len);
	script_bytes += len;
	add("\r\n");
}

static void add_get(uint64_t *random)
{
	bool is_long =
		test_random_below(random, 8) == 0; /* of more keys than are asked for at a time */
	char word[16];

	add(test_random_below(random, 4) ? "get" : "gat 0");
	for (uint64_t n = 1 + test_random_below(random, is_long ? 150 : 6); n; n--) {
		snprintf(word, sizeof(word), " %c%d", prefix,
			 (int)test_random_below(random, is_long ? 400 : 20));
		add(word);
	}
	add("\r\n");
}

static void add_other(uint64_t *random)
{
	static const char *const forms[] = {"incr %c%d 3\r\n",          "decr %c%d 2\r\n",
					    "delete %c%d\r\n",          "touch %c%d 0\r\n",
					    "set %c%d 0 0 2000000\r\n", "flush_all\r\n"};
	uint64_t kind = test_random_below(random, 40) ? test_random_below(random, 4)
						      : 4 + test_random_below(random, 2);
	char line[64];

	snprintf(line, sizeof(line), forms[kind], prefix, (int)test_random_below(random, 20));
	if (kind < 4 || (kind == 5 && has_flushes))
		add(line);
}

static void make_script(uint64_t *random)
{
	script_bytes = 0;
	for (int i = 0; i < COMMANDS; i++) {
		uint64_t kind = test_random_below(random, 10);

		if (script_bytes > sizeof(script) - 40000)
			break;
		if (kind < 4)
			add_put(random);
		else if (kind < 8)
			add_get(random);
		else
			add_other(random);
	}
}

static int64_t serve(void *arg)
{
	struct outcome *o = arg;
	struct kv_server *server;
	struct apus_tcp *c;
	uint64_t total = 0;

	assert_int_equal(kv_server_open(&(struct kv_server_options){0}, &server), 0);
	c = fake_connect();
	fake_send_bytes(c, script, script_bytes);
	fake_send_end(c);
	while (c->end == FAKE_OPEN)
		assert_int_equal(apus_sleep(APUS_MS), 0);
	fake_give_back();
	total = kv_server_store(server)->counts[KV_TOTAL_ITEMS];
	assert_int_equal(kv_server_close(server, APUS_SEC), 0);
	assert_int_equal(c->end, FAKE_CLOSED);
	o->out_bytes = c->out_bytes;
	o->out = malloc(c->out_bytes + 1);
	memcpy(o->out, c->out, c->out_bytes);
	o->remote_items = total;
	fake_free(c);
	return 0;
}

static struct outcome run(unsigned int shards, uint64_t seed)
{
	const struct apus_cross_options options = {.delay_ns = cross_delay, .ring_lines = 8};
	struct outcome o = {0};

	cross_open_seed(shards, &options, seed);
	assert_int_equal(cross_run(0, serve, &o), 0);
	cross_close();
	return o;
}

#endif
