/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/http/test_response.c: answers that begin alike are what they would be by themselves.
 *
 * apus_http_respond() copies the begin of an answer that was given before. Random answers are given
 * twice: by a server that remembers, and by one that never has given any; the bytes must be the same.
 */
#include "net/http/response_internal.h"
#include "tests/net/http/fake_tcp.h"
#include "tests/runtime/runtime_test.h"

#include "runtime/base/random.h"

#define ROUNDS 4000

struct question {
	int status;
	const char *type;
	size_t bytes;
	bool head_only, old, keep_alive;
	bool has_room;   /* in the connection's queue */
	bool is_pending; /* something is written before it */
};

static struct apus_http_response_common remembers, fresh;

static bool is_closing; /* the server */

static void begin(struct apus_http_response_common *common)
{
	*common = (struct apus_http_response_common){
		.server = {.at = "Server: apus\r\n", .len = 14},
		.write_ns = APUS_SEC,
	};
	apus_http_date_init(&common->date);
}

/* What is written for the question, by a server with @common. */
static const char *answer(struct apus_http_response_common *common, const struct question *q,
			  size_t *bytes)
{
	static char body[9000], text[2][20000];
	static unsigned int turn;
	char *out = text[turn++ % 2];
	struct apus_http_response res;
	struct apus_http_watchdog watchdog;
	struct apus_tcp *tcp = fake_open();
	struct apus_stream *stream;

	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = (char)(i * 7 + i / 256);
	tcp->has_room = q->has_room;
	ok(apus_stream_open(tcp, 0, &stream));
	if (q->is_pending)
		assert_int_equal(apus_stream_write(stream, "before", 6), 6);
	apus_http_watchdog_init(&watchdog, apus_task_self());
	apus_http_response_init(&res, stream, &watchdog, common);
	res.how.head_only = q->head_only;
	res.how.old = q->old;
	res.how.keep_alive = q->keep_alive;
	res.closing = &is_closing;
	ok(apus_http_respond(&res, q->status, q->type, body, q->bytes));
	assert_int_equal(res.status, q->status);
	assert_int_equal(res.how.state, APUS_HTTP_RESPONSE_DONE);
	ok(apus_stream_close(stream));
	apus_http_watchdog_fini(&watchdog);
	*bytes = tcp->out_bytes;
	memcpy(out, tcp->out, *bytes);
	fake_free(tcp);
	return out;
}

static void check(const struct question *q)
{
	size_t ours, theirs;
	const char *a = answer(&remembers, q, &ours);

	begin(&fresh);

	struct question plain = *q;

	plain.has_room = false;

	const char *b = answer(&fresh, &plain, &theirs);

	if (ours != theirs || memcmp(a, b, ours))
		fail_msg("%d %s %zu: %.*s, not %.*s", q->status, q->type ? q->type : "-", q->bytes,
			 (int)apus_min(ours, (size_t)300), a, (int)apus_min(theirs, (size_t)300),
			 b);
}

static int64_t alike(void *arg)
{
	static const char *const types[] = {NULL,
					    "a",
					    "text/plain",
					    "text/plaim",
					    "uext/plain",
					    "text/html",
					    "application/json",
					    "application/octet-stream; charset=utf-8"};
	static const int statuses[] = {200, 201, 204, 304, 404, 500, 599};
	static const size_t sizes[] = {0,  1,  7,  8,  9,  10, 14,  15,  16,   17,   31,
				       32, 33, 63, 64, 65, 99, 100, 300, 2048, 2049, 8500};
	struct apus_random *random = apus_shard_random(apus_shard_self());

	begin(&remembers);
	for (int i = 0; i < ROUNDS; i++) {
		struct question q = {
			.status = statuses[apus_random_below(random, apus_countof(statuses))],
			.type = types[apus_random_below(random, apus_countof(types))],
			.bytes = sizes[apus_random_below(random, apus_countof(sizes))],
			.head_only = apus_random_below(random, 8) == 0,
			.old = apus_random_below(random, 8) == 0,
			.keep_alive = apus_random_below(random, 8) != 0,
			.has_room = apus_random_below(random, 2),
			.is_pending = apus_random_below(random, 4) == 0,
		};

		check(&q);
		if (apus_random_below(random, 10) == 0)
			ok(apus_sleep(APUS_SEC / 3)); /* the date is another now and then */
	}
	return 0;
}

static void answers_that_begin_alike_are_made_as_if_they_were_the_first(void **state)
{
	ok(test_run(alike, NULL));
}

static int64_t last_answer(void *arg)
{
	struct question q = {.status = 200, .type = "text/plain", .bytes = 14, .keep_alive = true};
	size_t bytes;

	begin(&remembers);
	for (int i = 0; i < 3; i++) {
		is_closing = i == 2;

		const char *text = answer(&remembers, &q, &bytes);

		assert_true(!memmem(text, bytes, "Connection: close", 17) == (i < 2));
	}
	is_closing = false;
	return 0;
}

static void answers_of_a_server_that_closes_say_so(void **state)
{
	ok(test_run(last_answer, NULL));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		shard_test(answers_that_begin_alike_are_made_as_if_they_were_the_first),
		shard_test(answers_of_a_server_that_closes_say_so),
	};

	return test_main(argc, argv, tests);
}
