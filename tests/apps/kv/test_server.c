/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/apps/kv/test_server.c: what a kv server answers, in how many writes, and how it ends.
 */
#include "tests/apps/kv/fake.h"
#include "tests/runtime/runtime_test.h"

static struct kv_server *server;
static uint64_t live_before; /* objects on the heap */

static void start_with(struct kv_server_options options)
{
	live_before = apus_shard_heap(apus_shard_self())->live;
	ok(kv_server_open(&options, &server));
}

static void start(void)
{
	start_with((struct kv_server_options){0});
}

static void stop(void)
{
	kv_store_check(kv_server_store(server));
	fake_give_back();
	ok(kv_server_close(server, APUS_SEC));
	assert_int_equal(apus_shard_heap(apus_shard_self())->live, live_before);
}

/* Let everything that is ready run, without time passing. */
static void settle(void)
{
	for (int i = 0; i < 20; i++)
		ok(apus_yield());
}

static const char *exchange(struct apus_tcp *c, const char *commands)
{
	fake_send(c, commands);
	settle();
	return fake_take(c);
}

static void end_client(struct apus_tcp *c, enum fake_end end)
{
	fake_send_end(c);
	settle();
	assert_int_equal(c->end, end);
	fake_free(c);
}

static uint64_t counter(enum kv_counter which)
{
	return kv_server_store(server)->counts[which];
}

/* --- Answers --------------------------------------------------------------------------------- */

static int64_t answers(void *arg)
{
	start();

	struct apus_tcp *c = fake_connect();

	assert_string_equal(exchange(c, "set a 7 0 5\r\nhello\r\n"), "STORED\r\n");
	assert_int_equal(c->writes, 1);
	assert_string_equal(exchange(c, "get a b\r\n"), "VALUE a 7 5\r\nhello\r\nEND\r\n");
	assert_int_equal(c->writes, 2);
	assert_string_equal(exchange(c, "gets a\r\n"), "VALUE a 7 5 1\r\nhello\r\nEND\r\n");
	assert_string_equal(exchange(c, "cas a 0 0 1 1\r\n4\r\ncas a 0 0 1 1\r\n5\r\n"),
			    "STORED\r\nEXISTS\r\n");
	assert_string_equal(exchange(c, "incr a 38\r\ndecr a 43\r\nincr b 1\r\n"),
			    "42\r\n0\r\nNOT_FOUND\r\n");
	assert_string_equal(exchange(c, "touch a 10\r\ntouch b 10\r\ndelete a\r\ndelete a\r\n"),
			    "TOUCHED\r\nNOT_FOUND\r\nDELETED\r\nNOT_FOUND\r\n");
	assert_string_equal(exchange(c, "flush_all\r\nverbosity 1\r\nmn\r\nnonsense\r\n"),
			    "OK\r\nOK\r\nMN\r\nERROR\r\n");
	assert_string_equal(exchange(c, "version\r\n"), "VERSION " KV_VERSION_TEXT "\r\n");
	assert_string_equal(exchange(c, "stats nonsense\r\nstats reset\r\n"), "ERROR\r\nRESET\r\n");
	assert_int_equal(counter(KV_TOTAL_ITEMS), 0);
	end_client(c, FAKE_CLOSED);
	stop();
	return 0;
}

static void commands_are_answered_by_one_write_each(void **state)
{
	ok(test_run(answers, NULL));
}

static int64_t pipelined(void *arg)
{
	start();

	struct apus_tcp *c = fake_connect();

	assert_string_equal(
		exchange(c, "set a 0 0 1\r\nx\r\nget a\r\nset a 0 0 1 noreply\r\ny\r\n"
			    "get a\r\nincr a 1\r\nge"),
		"STORED\r\nVALUE a 0 1\r\nx\r\nEND\r\nVALUE a 0 1\r\ny\r\nEND\r\n" KV_NOT_NUMERIC);
	assert_int_equal(c->writes, 1);
	assert_string_equal(exchange(c, "t a\r\n"), "VALUE a 0 1\r\ny\r\nEND\r\n");
	end_client(c, FAKE_CLOSED);
	stop();
	return 0;
}

static void pipelined_commands_are_answered_in_order_by_one_write(void **state)
{
	ok(test_run(pipelined, NULL));
}

static int64_t quiet(void *arg)
{
	start();

	struct apus_tcp *c = fake_connect();

	assert_string_equal(exchange(c,
				     "set a 0 0 1 noreply\r\n1\r\nadd a 0 0 1 noreply\r\n1\r\n"
				     "incr a 1 noreply\r\ntouch a 0 noreply\r\ndelete b noreply\r\n"
				     "incr a x noreply\r\nset a 0 0 1 noreply\r\n123"),
			    "");
	assert_int_equal(c->writes, 0);
	assert_string_equal(exchange(c, "get a\r\n"), "VALUE a 0 1\r\n2\r\nEND\r\n");
	end_client(c, FAKE_CLOSED);
	stop();
	return 0;
}

static void noreply_is_quiet_also_about_errors(void **state)
{
	ok(test_run(quiet, NULL));
}

/* --- Values ---------------------------------------------------------------------------------- */

static char *value_of(size_t len)
{
	char *value = malloc(len + 3);

	for (size_t i = 0; i < len; i++)
		value[i] = (char)('a' + i * 31 % 26);
	strcpy(value + len, "\r\n");
	return value;
}

/* Every size around a bound of ours, each in pieces of its own size. */
static int64_t sizes(void *arg)
{
	static const size_t lens[] = {0,     1,     8100,  8190,   8191,   8192,        16383,
				      16384, 16385, 65536, 100000, 500000, KV_VALUE_MAX};
	char head[64];

	start();
	for (size_t i = 0; i < apus_countof(lens); i++) {
		struct apus_tcp *c = fake_connect();
		char *value = value_of(lens[i]);
		int n;

		snprintf(head, sizeof(head), "set a 1 0 %zu\r\n", lens[i]);
		fake_send(c, head);
		for (size_t at = 0, part; at < lens[i] + 2; at += part) {
			part = apus_min(lens[i] + 2 - at, 1 + lens[i] / 7);
			fake_send_bytes(c, value + at, part);
			settle();
		}
		assert_string_equal(fake_take(c), "STORED\r\n");
		fake_send(c, "get a\r\n");
		settle();
		n = snprintf(head, sizeof(head), "VALUE a 1 %zu\r\n", lens[i]);
		assert_int_equal(c->out_bytes, (size_t)n + lens[i] + 2 + 5);
		assert_memory_equal(c->out, head, (size_t)n);
		assert_memory_equal(c->out + n, value, lens[i] + 2);
		assert_memory_equal(c->out + n + lens[i] + 2, "END\r\n", 5);
		free(value);
		end_client(c, FAKE_CLOSED);
	}
	stop();
	return 0;
}

static void values_of_all_sizes_come_back(void **state)
{
	ok(test_run(sizes, NULL));
}

static int64_t too_large(void *arg)
{
	char *value = value_of(KV_VALUE_MAX + 1);

	start();

	struct apus_tcp *c = fake_connect();

	assert_string_equal(exchange(c, "set a 0 0 1\r\nx\r\nset a 0 0 1048577\r\n"),
			    "STORED\r\n" KV_TOO_LARGE);
	/* What it sends all the same is dropped; the old value is no longer wanted. */
	assert_string_equal(exchange(c, value), "");
	assert_string_equal(exchange(c, "get a\r\n"), "END\r\n");
	assert_int_equal(counter(KV_STORE_TOO_LARGE), 1);
	end_client(c, FAKE_CLOSED);
	free(value);
	stop();
	return 0;
}

static void value_that_is_too_large_is_refused_and_dropped(void **state)
{
	ok(test_run(too_large, NULL));
}

static int64_t bad_chunk(void *arg)
{
	start();

	struct apus_tcp *c = fake_connect();

	assert_string_equal(exchange(c, "set a 0 0 3\r\nabcdefgh\r\nget a\r\n"),
			    KV_BAD_CHUNK KV_ERROR KV_END);
	end_client(c, FAKE_CLOSED);
	assert_int_equal(kv_server_store(server)->bytes, 0);
	stop();
	return 0;
}

static void value_without_its_end_is_a_bad_chunk(void **state)
{
	ok(test_run(bad_chunk, NULL));
}

/* The item is in nobody's sight before it is whole, and takes memory from its line on. */
static int64_t half_value(void *arg)
{
	start();

	struct apus_tcp *half = fake_connect(), *c = fake_connect();

	assert_string_equal(exchange(half, "set a 0 0 100000\r\nabc"), "");
	assert_true(kv_server_store(server)->bytes > 100000);
	assert_string_equal(exchange(c, "get a\r\nset a 0 0 1\r\n1\r\n"), "END\r\nSTORED\r\n");
	end_client(half, FAKE_CLOSED);
	assert_true(kv_server_store(server)->bytes < 1000);
	assert_string_equal(exchange(c, "get a\r\n"), "VALUE a 0 1\r\n1\r\nEND\r\n");
	/* One that is reset in the middle, too. */
	half = fake_connect();
	exchange(half, "set a 0 0 100000\r\nabc");
	fake_reset(half);
	settle();
	assert_int_equal(half->end, FAKE_ABORTED);
	fake_free(half);
	assert_true(kv_server_store(server)->bytes < 1000);
	end_client(c, FAKE_CLOSED);
	stop();
	return 0;
}

static void half_a_value_is_nothing(void **state)
{
	ok(test_run(half_value, NULL));
}

/* --- Lending --------------------------------------------------------------------------------- */

static int64_t lent(void *arg)
{
	char *value = value_of(100000);

	start();

	struct apus_tcp *c = fake_connect();

	fake_send(c, "set a 0 0 100000\r\n");
	fake_send(c, value);
	fake_send(c, "get a a\r\nset a 0 0 1\r\nx\r\n");
	settle();
	assert_int_equal(fake_lent_count, 2);
	assert_true(kv_server_store(server)->bytes > 100000); /* lent, although it is replaced */
	end_client(c, FAKE_CLOSED);
	fake_give_back();
	assert_true(kv_server_store(server)->bytes < 1000);
	free(value);
	stop();
	return 0;
}

static void lent_value_lives_until_it_is_given_back(void **state)
{
	ok(test_run(lent, NULL));
}

static int64_t give_back_later(void *arg)
{
	ok(apus_sleep(3 * APUS_SEC));
	fake_give_back();
	return 0;
}

static int64_t closed_lent(void *arg)
{
	char *value = value_of(100000);
	int64_t began_ns = apus_now();

	start();

	struct apus_tcp *c = fake_connect();

	fake_send(c, "set a 0 0 100000\r\n");
	fake_send(c, value);
	fake_send(c, "get a\r\n");
	settle();

	struct apus_task *later = apus_spawn(give_back_later, NULL);

	assert_int_equal(kv_server_close(server, APUS_SEC), -ETIMEDOUT);
	assert_true(apus_now() - began_ns >= 3 * APUS_SEC);
	ok(apus_await(later));
	assert_int_equal(apus_shard_heap(apus_shard_self())->live, live_before);
	fake_free(c);
	free(value);
	return 0;
}

static void store_outlives_what_it_has_lent(void **state)
{
	ok(test_run(closed_lent, NULL));
}

/* --- Slow and bad clients -------------------------------------------------------------------- */

static int64_t slow_reader(void *arg)
{
	static char gets[7 * 20000 + 1];
	char *value = value_of(8000);

	start();

	struct apus_tcp *c = fake_connect(), *other = fake_connect();

	for (int i = 0; i < 20000; i++)
		strcpy(gets + 7 * i, "get a\r\n");
	fake_send(c, "set a 0 0 8000\r\n");
	fake_send(c, value);
	fake_send(c, "touch a 0\r\n");
	fake_open_window(c, 100);
	settle();
	fake_send(c, gets);
	settle();
	/* It stands still at the first answers, and has not read all that is behind them. */
	assert_true(c->in_bytes > 50000);
	assert_true(counter(KV_CMD_GET) < 10);
	assert_string_equal(exchange(other, "set a 0 0 1\r\nx\r\nget a\r\n"),
			    "STORED\r\nVALUE a 0 1\r\nx\r\nEND\r\n");
	fake_open_window(c, SIZE_MAX);
	for (int i = 0; i < 2000 && counter(KV_CMD_GET) < 20001; i++) {
		settle();
		fake_take(c);
	}
	assert_int_equal(counter(KV_CMD_GET), 20001);
	end_client(c, FAKE_CLOSED);
	end_client(other, FAKE_CLOSED);
	free(value);
	stop();
	return 0;
}

static void who_does_not_read_is_not_read_from(void **state)
{
	ok(test_run(slow_reader, NULL));
}

static int64_t long_lines(void *arg)
{
	static char text[KV_LINE_KEYS_MAX + 100];

	start();
	memset(text, 'x', 2500);

	struct apus_tcp *c = fake_connect();

	assert_string_equal(exchange(c, text), KV_LONG_LINE);
	assert_int_equal(c->end, FAKE_SHUTDOWN); /* it reads on, so that the answer arrives */
	end_client(c, FAKE_CLOSED);
	/* Many keys in one line are answered, if not too many. */
	c = fake_connect();
	exchange(c, "set k 0 0 1\r\n1\r\n");
	strcpy(text, "get");
	for (size_t i = 0; i < 20000; i++)
		strcpy(text + 3 + 2 * i, i % 1000 ? " a" : " k");
	fake_send(c, text);
	settle();
	assert_int_equal(c->out_bytes, 0);
	fake_send(c, "\r\n");
	for (int i = 0; i < 50; i++)
		settle(); /* it gives way to others on its way */
	assert_int_equal(c->out_bytes, 20 * strlen("VALUE k 0 1\r\n1\r\n") + 5);
	assert_int_equal(counter(KV_CMD_GET), 20000);
	fake_take(c);
	memset(text, 'a', sizeof(text) - 1);
	for (int i = 0; i < 4; i++) /* without an end: the line goes on */
		text[i] = "get "[i];
	assert_string_equal(exchange(c, text), KV_LONG_LINE);
	end_client(c, FAKE_CLOSED);
	stop();
	return 0;
}

static void line_is_bounded(void **state)
{
	ok(test_run(long_lines, NULL));
}

static int64_t many_connections(void *arg)
{
	start_with((struct kv_server_options){.connections_max = 2});

	struct apus_tcp *a = fake_connect(), *b = fake_connect(), *c = fake_connect();

	settle();
	assert_string_equal(fake_take(c), KV_TOO_MANY);
	assert_int_equal(c->end, FAKE_CLOSED);
	fake_free(c);
	assert_string_equal(exchange(b, "mn\r\n"), "MN\r\n");
	end_client(a, FAKE_CLOSED);
	c = fake_connect();
	assert_string_equal(exchange(c, "mn\r\n"), "MN\r\n");
	assert_int_equal(counter(KV_REJECTED_CONNECTIONS), 1);
	end_client(b, FAKE_CLOSED);
	end_client(c, FAKE_CLOSED);
	stop();
	return 0;
}

static void one_connection_too_many_is_told_so(void **state)
{
	ok(test_run(many_connections, NULL));
}

/* --- The end --------------------------------------------------------------------------------- */

static int64_t stops(void *arg)
{
	int64_t began_ns = apus_now();

	start();

	struct apus_tcp *idle = fake_connect(), *half = fake_connect(), *quits = fake_connect();

	assert_string_equal(exchange(quits, "mn\r\nquit\r\nmn\r\n"), "MN\r\n");
	assert_int_equal(quits->end, FAKE_CLOSED);
	exchange(idle, "get a\r\n");
	exchange(half, "set a 0 0 3\r\nab");
	assert_int_equal(kv_server_close(server, APUS_SEC), -ETIMEDOUT);
	assert_int_equal(idle->end, FAKE_CLOSED);
	assert_int_equal(idle->ended_ns, began_ns);
	assert_int_equal(half->end, FAKE_ABORTED);
	assert_int_equal(half->ended_ns, began_ns + APUS_SEC);
	assert_int_equal(apus_shard_heap(apus_shard_self())->live, live_before);
	fake_free(idle);
	fake_free(half);
	fake_free(quits);
	return 0;
}

static void idle_connections_are_closed_and_half_commands_get_their_time(void **state)
{
	ok(test_run(stops, NULL));
}

/* Every allocation fails in turn: an error for somebody, but nothing is lost or broken. */
static int64_t no_memory(void *arg)
{
	struct apus_heap *heap = apus_shard_heap(apus_shard_self());
	char *value = value_of(50000);

	for (int64_t n = 0; n < 40; n++) {
		start();

		struct apus_tcp *c = fake_connect();

		apus_heap_fail_after(heap, n);
		fake_send(c, "set a 0 0 50000\r\n");
		fake_send(c, value);
		fake_send(
			c,
			"set b 0 0 2\r\n99\r\nincr b 1\r\nappend b 0 0 1\r\nx\r\nget a b\r\nquit\r\n");
		settle();
		apus_heap_fail_after(heap, -1);
		assert_true(c->end != FAKE_OPEN);
		fake_free(c);
		stop();
	}
	free(value);
	return 0;
}

static void without_memory_nothing_breaks(void **state)
{
	ok(test_run(no_memory, NULL));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		shard_test(commands_are_answered_by_one_write_each),
		shard_test(pipelined_commands_are_answered_in_order_by_one_write),
		shard_test(noreply_is_quiet_also_about_errors),
		shard_test(values_of_all_sizes_come_back),
		shard_test(value_that_is_too_large_is_refused_and_dropped),
		shard_test(value_without_its_end_is_a_bad_chunk),
		shard_test(half_a_value_is_nothing),
		shard_test(lent_value_lives_until_it_is_given_back),
		shard_test(store_outlives_what_it_has_lent),
		shard_test(who_does_not_read_is_not_read_from),
		shard_test(line_is_bounded),
		shard_test(one_connection_too_many_is_told_so),
		shard_test(idle_connections_are_closed_and_half_commands_get_their_time),
		shard_test(without_memory_nothing_breaks),
	};

	return test_main(argc, argv, tests);
}
