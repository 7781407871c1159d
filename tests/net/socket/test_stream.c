/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/socket/test_stream.c: what a stream gives, keeps and refuses (ASYNCIO.md rows 72 to 76).
 */
#include "net/socket/stream.h"
#include "tests/net/http/fake_tcp.h"
#include "tests/runtime/runtime_test.h"

#include "runtime/sync/timeout.h"

static struct apus_tcp *tcp;
static struct apus_stream *stream;

static void open_stream(size_t limit)
{
	tcp = fake_open();
	ok(apus_stream_open(tcp, limit, &stream));
}

static void close_stream(void)
{
	ok(apus_stream_close(stream));
	assert_int_equal(tcp->end, FAKE_CLOSED);
	fake_free(tcp);
	assert_null(apus_shard_slot(apus_shard_self(), APUS_STREAM_SLOT));
}

/* --- Reading --------------------------------------------------------------------------------- */

static int64_t read_exactly_cancelled(void *arg)
{
	struct apus_timeout limit;
	char buf[4] = {0};

	open_stream(0);
	fake_send(tcp, "ab");
	apus_timeout_begin(&limit, APUS_SEC);
	assert_int_equal(
		apus_timeout_end(&limit, apus_stream_read_exactly(stream, buf, sizeof(buf))),
		-ETIMEDOUT);
	fake_send(tcp, "cd");
	assert_int_equal(apus_stream_read_exactly(stream, buf, sizeof(buf)), 4);
	assert_memory_equal(buf, "abcd", 4);
	close_stream();
	return 0;
}

static void read_exactly_cancelled_midway_keeps_bytes(void **state)
{
	ok(test_run(read_exactly_cancelled, NULL));
}

static int64_t second_reader(void *arg)
{
	char buf[1], *lent;
	const char *line;

	assert_int_equal(apus_stream_read(stream, buf, 1), -EBUSY);
	assert_int_equal(apus_stream_read_exactly(stream, buf, 1), -EBUSY);
	assert_int_equal(apus_stream_read_until(stream, "\n", 1, &line), -EBUSY);
	assert_int_equal(apus_stream_peek(stream, 0, &lent), -EBUSY);
	fake_send(tcp, "xy");
	return 0;
}

static int64_t first_reader(void *arg)
{
	char buf[2];

	open_stream(0);

	struct apus_task *other = apus_spawn(second_reader, NULL);

	assert_int_equal(apus_stream_read_exactly(stream, buf, 2), 2);
	ok(apus_await(other));
	close_stream();
	return 0;
}

static void second_reader_is_refused(void **state)
{
	ok(test_run(first_reader, NULL));
}

static int64_t until_over_limit(void *arg)
{
	const char *line;
	char buf[32];

	open_stream(8);
	fake_send(tcp, "12345678");
	assert_int_equal(apus_stream_read_until(stream, "\n", 1, &line), -EMSGSIZE);
	/* the bytes are still there, and taking some makes room */
	assert_int_equal(apus_stream_read(stream, buf, 5), 5);
	fake_send(tcp, "9\nxyz\n");
	assert_int_equal(apus_stream_read_until(stream, "\n", 1, &line), 5);
	assert_memory_equal(line, "6789\n", 5);
	assert_int_equal(apus_stream_read_until(stream, "\n", 1, &line), 4);
	assert_memory_equal(line, "xyz\n", 4);
	assert_int_equal(apus_stream_read_exactly(stream, buf, 9), -EMSGSIZE);
	close_stream();
	return 0;
}

static void read_until_over_limit_keeps_bytes(void **state)
{
	ok(test_run(until_over_limit, NULL));
}

static int64_t eof_with_partial(void *arg)
{
	const char *line;
	char buf[8];

	open_stream(0);
	fake_send(tcp, "abc");
	fake_send_end(tcp);
	assert_int_equal(apus_stream_read_exactly(stream, buf, 4), -ENODATA);
	assert_int_equal(apus_stream_read_until(stream, "\n", 1, &line), -ENODATA);
	assert_int_equal(apus_stream_read(stream, buf, 8), 3);
	assert_memory_equal(buf, "abc", 3);
	assert_int_equal(apus_stream_read(stream, buf, 8), 0);
	assert_int_equal(apus_stream_read_until(stream, "\n", 1, &line), 0);
	assert_int_equal(apus_stream_read_exactly(stream, buf, 1), -ENODATA);
	close_stream();
	return 0;
}

static void eof_with_partial_is_told_and_the_part_stays(void **state)
{
	ok(test_run(eof_with_partial, NULL));
}

/* What came in one piece is lent where it lies, and the connection keeps it until all is consumed. */
static int64_t view(void *arg)
{
	const char *view, *whole;
	char *own, buf[8];

	open_stream(0);
	fake_send(tcp, "abcdef");
	assert_int_equal(apus_stream_view(stream, 0, &view), 6);
	assert_ptr_equal(view, tcp->in + tcp->in_at);
	assert_int_equal(tcp->in_bytes, 6);
	apus_stream_consume(stream, 2);
	assert_int_equal(tcp->in_bytes, 6);
	assert_int_equal(apus_stream_view(stream, 3, &whole), 4);
	assert_ptr_equal(whole, view + 2);
	/* More comes: both are together, elsewhere. */
	fake_send(tcp, "gh");
	assert_int_equal(apus_stream_view(stream, 4, &whole), 6);
	assert_memory_equal(whole, "cdefgh", 6);
	assert_int_equal(tcp->in_bytes, 0);
	apus_stream_consume(stream, 6);

	fake_send(tcp, "ijkl");
	assert_int_equal(apus_stream_view(stream, 0, &view), 4);
	ok(apus_stream_own(stream));
	assert_int_equal(apus_stream_buffered(stream, &own), 4);
	assert_ptr_not_equal(own, view);
	assert_memory_equal(own, "ijkl", 4);
	assert_int_equal(tcp->in_bytes, 0);
	apus_stream_consume(stream, 4);

	/* What was lent is not read twice. */
	fake_send(tcp, "mn\n");
	assert_int_equal(apus_stream_read_until(stream, "\n", 1, &view), 3);
	fake_send(tcp, "op");
	assert_int_equal(apus_stream_read(stream, buf, sizeof(buf)), 2);
	assert_memory_equal(buf, "op", 2);

	/* Nor is it unread, for who closes. */
	fake_send(tcp, "qr");
	assert_int_equal(apus_stream_view(stream, 0, &view), 2);
	apus_stream_consume(stream, 1);
	close_stream();
	return 0;
}

static void view_lends_what_came_where_it_lies(void **state)
{
	ok(test_run(view, NULL));
}

static int64_t view_then_close(void *arg)
{
	const char *view;

	open_stream(0);
	fake_send(tcp, "abc");
	assert_int_equal(apus_stream_view(stream, 0, &view), 3);
	ok(apus_stream_close(stream));
	assert_int_equal(tcp->end, FAKE_CLOSED);
	assert_false(tcp->unread);
	fake_free(tcp);
	open_stream(0);
	fake_send(tcp, "abc");
	assert_int_equal(apus_stream_view(stream, 0, &view), 3);
	apus_stream_abort(stream);
	assert_int_equal(tcp->end, FAKE_ABORTED);
	fake_free(tcp);
	return 0;
}

static void viewed_bytes_are_no_reason_for_a_reset(void **state)
{
	ok(test_run(view_then_close, NULL));
}

/* Sends arg's text one byte per millisecond. */
static int64_t drip(void *arg)
{
	for (const char *p = arg; *p; p++) {
		ok(apus_sleep(APUS_MS));
		fake_send_bytes(tcp, p, 1);
	}
	return 0;
}

static int64_t until_split_separator(void *arg)
{
	static char text[] = "a\r\rb\r\n\r\nrest";
	const char *line;

	open_stream(0);

	struct apus_task *sender = apus_spawn(drip, text);

	assert_int_equal(apus_stream_read_until(stream, "\r\n\r\n", 4, &line), 8);
	assert_memory_equal(line, "a\r\rb\r\n\r\n", 8);
	assert_int_equal(apus_stream_read_until(stream, "st", 2, &line), 4);
	assert_memory_equal(line, "rest", 4);
	ok(apus_await(sender));
	close_stream();
	return 0;
}

static void separator_that_comes_byte_by_byte_is_found(void **state)
{
	ok(test_run(until_split_separator, NULL));
}

static int64_t peek_consume_cut(void *arg)
{
	char *at;

	open_stream(100000);
	fake_send(tcp, "0123456789");
	assert_int_equal(apus_stream_buffered(stream, &at), 0);
	assert_int_equal(apus_stream_peek(stream, 0, &at), 10);
	assert_int_equal(apus_stream_peek(stream, 9, &at), 10);
	apus_stream_consume(stream, 2);
	apus_stream_cut(stream, 3, 2); /* 5 and 6 */
	fake_send(tcp, "ab");
	assert_int_equal(apus_stream_peek(stream, 6, &at), 8);
	assert_memory_equal(at, "234789ab", 8);
	apus_stream_consume(stream, 8);

	/* more than a pooled buffer, in parts that need it to grow */
	for (int i = 0; i < 90; i++) {
		char part[1000];

		memset(part, 'a' + i % 26, sizeof(part));
		fake_send_bytes(tcp, part, sizeof(part));
		for (int64_t n = i * 1000; n < (i + 1) * 1000;) {
			int64_t more = apus_stream_peek(stream, (size_t)n, &at);

			assert_true(more > n);
			n = more;
		}
	}
	for (int i = 0; i < 90000; i++)
		assert_int_equal(at[i], 'a' + i / 1000 % 26);
	fake_send_end(tcp);
	assert_int_equal(apus_stream_peek(stream, 90000, &at), 0);
	assert_int_equal(apus_stream_buffered(stream, &at), 90000);
	apus_stream_consume(stream, 90000);
	close_stream();
	return 0;
}

static void peeked_bytes_can_be_consumed_and_cut(void **state)
{
	ok(test_run(peek_consume_cut, NULL));
}

static int64_t two_streams(void *arg)
{
	struct apus_tcp *tcp2 = fake_open();
	struct apus_stream *stream2;
	char *a, *b;

	open_stream(0);
	ok(apus_stream_open(tcp2, 0, &stream2));
	fake_send(tcp, "first");
	fake_send(tcp2, "other");
	assert_int_equal(apus_stream_peek(stream, 0, &a), 5);
	assert_int_equal(apus_stream_peek(stream2, 0, &b), 5);
	assert_memory_equal(a, "first", 5);
	assert_memory_equal(b, "other", 5);
	apus_stream_abort(stream2);
	assert_int_equal(tcp2->end, FAKE_ABORTED);
	fake_free(tcp2);
	close_stream();
	return 0;
}

static void streams_that_share_scratch_memory_do_not_mix(void **state)
{
	ok(test_run(two_streams, NULL));
}

static int64_t idle_holds_nothing(void *arg)
{
	struct apus_heap *heap = apus_shard_heap(apus_shard_self());
	char *at;

	open_stream(0);

	uint64_t live = heap->live;

	fake_send(tcp, "x");
	assert_int_equal(apus_stream_peek(stream, 0, &at), 1);
	assert_int_equal(heap->live, live + 1);
	apus_stream_consume(stream, 1);
	assert_int_equal(apus_stream_write(stream, "y", 1), 1);
	ok(apus_stream_drain(stream));
	assert_int_equal(heap->live, live + 1); /* the one that the pool keeps, used twice */
	close_stream();
	return 0;
}

static void stream_without_bytes_holds_no_buffer(void **state)
{
	ok(test_run(idle_holds_nothing, NULL));
}

static int64_t no_memory(void *arg)
{
	struct apus_heap *heap = apus_shard_heap(apus_shard_self());
	char *at;

	tcp = fake_open();
	for (int64_t n = 0; n < 2; n++) { /* the pool, the stream */
		apus_heap_fail_after(heap, n);
		assert_int_equal(apus_stream_open(tcp, 0, &stream), -ENOMEM);
		apus_heap_fail_after(heap, -1);
		assert_int_equal(tcp->end, FAKE_CLOSED);
		tcp->end = FAKE_OPEN;
	}
	fake_free(tcp);

	open_stream(0);
	fake_send(tcp, "kept");
	apus_heap_fail_after(heap, 0);
	assert_int_equal(apus_stream_peek(stream, 0, &at), -ENOMEM);
	assert_int_equal(apus_stream_write(stream, "unbuffered", 10), 10); /* it goes out at once */
	apus_heap_fail_after(heap, -1);
	assert_string_equal(fake_take(tcp), "unbuffered");
	assert_int_equal(apus_stream_peek(stream, 0, &at), 4); /* what came waited below */
	assert_memory_equal(at, "kept", 4);
	close_stream();
	return 0;
}

static void want_of_memory_is_told_and_loses_nothing(void **state)
{
	ok(test_run(no_memory, NULL));
}

/* --- Writing --------------------------------------------------------------------------------- */

static int64_t writes_gather(void *arg)
{
	static char large[20000];

	memset(large, 'L', sizeof(large));
	open_stream(0);
	for (int i = 0; i < 10; i++)
		assert_int_equal(apus_stream_write(stream, "0123456789", 10), 10);
	assert_int_equal(tcp->writes, 0);
	assert_int_equal(apus_stream_pending(stream), 100);
	ok(apus_stream_drain(stream));
	assert_int_equal(tcp->writes, 1);
	assert_int_equal(strlen(fake_take(tcp)), 100);
	ok(apus_stream_drain(stream));
	assert_int_equal(tcp->writes, 1);

	/* what does not fit leaves together with what is there */
	assert_int_equal(apus_stream_write(stream, "head", 4), 4);
	assert_int_equal(apus_stream_write(stream, large, sizeof(large)), sizeof(large));
	assert_int_equal(tcp->writes, 2);
	assert_int_equal(apus_stream_pending(stream), 0);
	assert_int_equal(tcp->out_bytes, 4 + sizeof(large));
	assert_memory_equal(tcp->out, "headLL", 6);
	close_stream();
	return 0;
}

static void small_writes_leave_as_one(void **state)
{
	ok(test_run(writes_gather, NULL));
}

static int64_t reserve_and_commit(void *arg)
{
	char *at;

	open_stream(0);
	ok(apus_stream_reserve(stream, 0, 100, &at));
	at[0] = at[1] = at[2] = 'a';
	apus_stream_commit(stream, 3);
	ok(apus_stream_reserve(stream, 0, 4, &at)); /* never committed */
	memset(at, 'g', 4);
	ok(apus_stream_reserve(stream, 0, 8000, &at));
	memset(at, 'd', 8000);
	/* no room behind: what was committed is sent, what was not moves to the front */
	ok(apus_stream_reserve(stream, 8000, 192, &at));
	assert_string_equal(fake_take(tcp), "aaa");
	memset(at + 8000, 'e', 192);
	apus_stream_commit(stream, 8192);
	assert_int_equal(apus_stream_reserve(stream, 0, 8193, &at), -EMSGSIZE);
	ok(apus_stream_drain(stream));
	assert_int_equal(tcp->out_bytes, 8192);
	assert_memory_equal(tcp->out + 7999, "dee", 3);
	close_stream();
	return 0;
}

static void reservation_is_sent_when_committed_only(void **state)
{
	ok(test_run(reserve_and_commit, NULL));
}

static int64_t slow_peer(void *arg)
{
	ok(apus_sleep(APUS_SEC));
	assert_int_equal(apus_stream_write(stream, "z", 1), -EBUSY); /* a second writer */
	fake_open_window(tcp, SIZE_MAX);
	return 0;
}

static int64_t drain_waits(void *arg)
{
	open_stream(0);
	tcp->window = 3;

	struct apus_task *other = apus_spawn(slow_peer, NULL);

	assert_int_equal(apus_stream_write(stream, "012345", 6), 6);
	ok(apus_stream_drain(stream));
	assert_int_equal(test_ms(), 1000);
	assert_string_equal(fake_take(tcp), "012345");
	ok(apus_await(other));
	close_stream();
	return 0;
}

static void drain_waits_for_a_slow_peer(void **state)
{
	ok(test_run(drain_waits, NULL));
}

static int64_t drain_cancelled(void *arg)
{
	struct apus_timeout limit;

	open_stream(0);
	tcp->window = 3;
	assert_int_equal(apus_stream_write(stream, "012345", 6), 6);
	apus_timeout_begin(&limit, APUS_SEC);
	assert_int_equal(apus_timeout_end(&limit, apus_stream_drain(stream)), -ETIMEDOUT);
	/* 3 bytes are out, but who knows: nothing more is sent */
	fake_open_window(tcp, SIZE_MAX);
	assert_int_equal(apus_stream_drain(stream), -EPIPE);
	assert_int_equal(apus_stream_write(stream, "6", 1), -EPIPE);
	assert_int_equal(apus_stream_close(stream), -EPIPE);
	assert_int_equal(tcp->end, FAKE_ABORTED);
	fake_free(tcp);
	return 0;
}

static void drain_cancelled_midway_ends_writing(void **state)
{
	ok(test_run(drain_cancelled, NULL));
}

static int64_t connection_lost(void *arg)
{
	char buf[1];

	open_stream(0);
	fake_reset(tcp);
	assert_int_equal(apus_stream_write(stream, "x", 1), 1); /* only buffered */
	assert_int_equal(apus_stream_drain(stream), -ECONNRESET);
	assert_int_equal(apus_stream_drain(stream), -ECONNRESET);
	assert_int_equal(apus_stream_read(stream, buf, 1), -ECONNRESET);
	assert_int_equal(apus_stream_close(stream), -ECONNRESET);
	fake_free(tcp);
	return 0;
}

static void drain_after_connection_loss_fails(void **state)
{
	ok(test_run(connection_lost, NULL));
}

static int64_t half_close(void *arg)
{
	char buf[8];

	open_stream(0);
	assert_int_equal(apus_stream_write(stream, "bye", 3), 3);
	ok(apus_stream_shutdown(stream));
	assert_int_equal(tcp->end, FAKE_SHUTDOWN);
	assert_string_equal(fake_take(tcp), "bye");
	fake_send(tcp, "late");
	assert_int_equal(apus_stream_read(stream, buf, 8), 4);
	close_stream();
	return 0;
}

static void shutdown_drains_and_reading_goes_on(void **state)
{
	ok(test_run(half_close, NULL));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		shard_test(read_exactly_cancelled_midway_keeps_bytes),
		shard_test(second_reader_is_refused),
		shard_test(view_lends_what_came_where_it_lies),
		shard_test(viewed_bytes_are_no_reason_for_a_reset),
		shard_test(read_until_over_limit_keeps_bytes),
		shard_test(eof_with_partial_is_told_and_the_part_stays),
		shard_test(separator_that_comes_byte_by_byte_is_found),
		shard_test(peeked_bytes_can_be_consumed_and_cut),
		shard_test(streams_that_share_scratch_memory_do_not_mix),
		shard_test(stream_without_bytes_holds_no_buffer),
		shard_test(want_of_memory_is_told_and_loses_nothing),
		shard_test(small_writes_leave_as_one),
		shard_test(reservation_is_sent_when_committed_only),
		shard_test(drain_waits_for_a_slow_peer),
		shard_test(drain_cancelled_midway_ends_writing),
		shard_test(drain_after_connection_loss_fails),
		shard_test(shutdown_drains_and_reading_goes_on),
	};

	return test_main(argc, argv, tests);
}
