/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/ip/test_udp_tasks.c: datagrams from the wire to a task, and what ICMP tells it.
 */
#include "net/socket/udp.h"
#include "tests/net/ip/udp_test.h"

#include <errno.h>

/* --- tasks ---------------------------------------------------------------------------------- */

struct reader {
	struct apus_udp *u;
	char buf[16];
	size_t len;
	struct apus_endpoint from;
	int64_t rc;
	bool done;
};

static int64_t read_one(void *arg)
{
	struct reader *r = arg;

	r->rc = apus_udp_recv(r->u, r->buf, r->len ? r->len : sizeof(r->buf), &r->from);
	r->done = true;
	return 0;
}

static void await_all(struct apus_task **tasks, size_t n)
{
	net_turn(&net);
	for (size_t i = 0; i < n; i++) {
		assert_true(apus_task_done(tasks[i]));
		apus_detach(tasks[i]);
	}
	net_turn(&net);
}

static void reader_gets_the_datagram_and_its_sender(void **state)
{
	struct reader r = {.u = open_at(0, 7)};
	struct apus_task *t = apus_spawn(read_one, &r);

	net_turn(&net);
	assert_false(r.done);
	receive(7, "hello", 5);
	await_all(&t, 1);
	assert_int_equal(r.rc, 5);
	assert_memory_equal(r.buf, "hello", 5);
	assert_int_equal(r.from.port, 5353);
	assert_int_equal(apus_addr_to_v4(r.from.addr), PEER);
	apus_udp_close(r.u);
}

static void datagram_too_long_for_the_reader_is_cut(void **state)
{
	struct reader r = {.u = open_at(0, 7), .len = 4};
	struct apus_task *t = apus_spawn(read_one, &r);

	receive(7, "hello", 5);
	await_all(&t, 1);
	assert_int_equal(r.rc, 4);
	assert_memory_equal(r.buf, "hell\0", 5);
	assert_int_equal(pop(r.u), -1); /* the rest is gone */
	apus_udp_close(r.u);
}

static void datagram_without_data_is_read_as_zero(void **state)
{
	struct reader r = {.u = open_at(0, 7), .rc = -1};
	struct apus_task *t = apus_spawn(read_one, &r);

	receive(7, "", 0);
	await_all(&t, 1);
	assert_int_equal(r.rc, 0);
	apus_udp_close(r.u);
}

static void readers_are_served_in_order(void **state)
{
	struct apus_udp *u = open_at(0, 7);
	struct reader r[3] = {{.u = u}, {.u = u}, {.u = u}};
	struct apus_task *t[3];

	for (int i = 0; i < 3; i++)
		t[i] = apus_spawn(read_one, &r[i]);
	net_turn(&net);
	receive(7, "a", 1);
	receive(7, "bb", 2);
	receive(7, "ccc", 3);
	await_all(t, 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(r[i].rc, i + 1);
	apus_udp_close(u);
}

static void close_ends_the_readers(void **state)
{
	struct apus_udp *u = open_at(0, 7);
	struct reader r[2] = {{.u = u}, {.u = u}};
	struct apus_task *t[2];

	for (int i = 0; i < 2; i++)
		t[i] = apus_spawn(read_one, &r[i]);
	net_turn(&net);
	apus_udp_close(u);
	apus_task_cancel(t[1]); /* after the close, in the same lap */
	await_all(t, 2);
	assert_int_equal(r[0].rc, -EPIPE);
	assert_true(r[1].rc == -EPIPE || r[1].rc == -ECANCELED);
}

static void cancelled_reader_leaves_the_datagram_to_the_next(void **state)
{
	struct apus_udp *u = open_at(0, 7);
	struct reader r[2] = {{.u = u}, {.u = u}};
	struct apus_task *t[2];
	struct frame f;

	for (int i = 0; i < 2; i++)
		t[i] = apus_spawn(read_one, &r[i]);
	net_turn(&net);
	frame_udp(&f, PEER, 5353, US, 7, "hello", 5);
	net_put(&net, &f, FRAME_BYTES, 0);
	net.stack->poller.type->poll(&net.stack->poller, apus_now()); /* wakes the first */
	apus_task_cancel(t[0]);
	await_all(t, 2);
	assert_int_equal(r[0].rc, -ECANCELED);
	assert_int_equal(r[1].rc, 5);
	apus_udp_close(u);
}

static int64_t read_until_told(void *arg)
{
	struct reader *r = arg;
	int64_t n = 0;

	while (apus_udp_recv(r->u, r->buf, sizeof(r->buf), NULL) >= 0)
		n++;
	return n;
}

static int64_t count_laps(void *arg)
{
	int64_t *laps = arg;

	while (!apus_yield())
		++*laps;
	return 0;
}

static void reader_that_never_waits_lets_others_run(void **state)
{
	struct reader r = {.u = open_at(0, 7)};
	int64_t laps = 0;
	struct apus_task *t[2];

	for (int i = 0; i < APUS_UDP_QUEUE_MAX; i++)
		receive(7, "x", 1);
	t[0] = apus_spawn(read_until_told, &r);
	t[1] = apus_spawn(count_laps, &laps);
	apus_shard_turn(net.shard);
	assert_int_not_equal(r.u->head, r.u->tail); /* the budget ended its run before the queue */
	for (int i = 0; i < 10; i++)
		apus_shard_turn(net.shard);
	assert_int_equal(r.u->head, r.u->tail);
	assert_true(laps > 1);
	apus_udp_close(r.u);
	apus_task_cancel(t[1]);
	await_all(t, 2);
}

/* --- lent ----------------------------------------------------------------------------------- */

#define VIEWS 4

struct borrower {
	struct apus_udp *u;
	struct apus_udp_view views[VIEWS];
	char buf[16];
	int64_t rc;
};

static int64_t borrow(void *arg)
{
	struct borrower *b = arg;

	b->rc = apus_udp_recv_many(b->u, b->views, VIEWS, b->buf, sizeof(b->buf));
	return 0;
}

static void borrow_now(struct borrower *b)
{
	struct apus_task *t = apus_spawn(borrow, b);

	await_all(&t, 1);
}

static void assert_lent(const struct borrower *b, int i, const char *text)
{
	assert_int_equal(b->views[i].len, strlen(text));
	assert_memory_equal(b->views[i].bytes, text, strlen(text));
	assert_int_equal(b->views[i].from.port, 5353);
	assert_int_equal(apus_addr_to_v4(b->views[i].from.addr), PEER);
}

/* In segments that are shorter than it. */
static void receive_in_pieces(const char *text)
{
	struct frame f;

	frame_udp(&f, PEER, 5353, US, 7, text, strlen(text));
	net_put(&net, &f, (uint16_t)(f.len - 3), 0);
	net_turn(&net);
}

static void what_has_come_is_lent_in_order_and_as_it_is(void **state)
{
	struct borrower b = {.u = open_at(0, 7)};

	receive(7, "one", 3);
	receive(7, "", 0);
	receive(7, "three", 5);
	borrow_now(&b);
	assert_int_equal(b.rc, 3);
	assert_lent(&b, 0, "one");
	assert_lent(&b, 1, "");
	assert_lent(&b, 2, "three");
	receive(7, "four", 4); /* what is lent stays */
	assert_lent(&b, 0, "one");
	assert_lent(&b, 2, "three");
	borrow_now(&b);
	assert_int_equal(b.rc, 1);
	assert_lent(&b, 0, "four");
	apus_udp_close(b.u); /* gives it back: teardown counts the mbufs */
}

static void reader_after_a_loan_takes_the_next(void **state)
{
	struct borrower b = {.u = open_at(0, 7)};
	struct reader r = {.u = b.u};
	struct apus_task *t;

	for (int i = 0; i < VIEWS; i++)
		receive(7, "lent", 4);
	receive(7, "read", 4);
	borrow_now(&b);
	assert_int_equal(b.rc, VIEWS);
	t = apus_spawn(read_one, &r);
	await_all(&t, 1);
	assert_int_equal(r.rc, 4);
	assert_memory_equal(r.buf, "read", 4);
	assert_int_equal(pop(r.u), -1);
	apus_udp_close(b.u);
}

static void borrower_that_waits_has_given_back(void **state)
{
	struct borrower b = {.u = open_at(0, 7)};
	struct apus_task *t;

	receive(7, "one", 3);
	borrow_now(&b);
	t = apus_spawn(borrow, &b);
	net_turn(&net);
	assert_false(apus_task_done(t));
	assert_int_equal(rte_mempool_in_use_count(net.pool), 0);
	receive(7, "two", 3);
	await_all(&t, 1);
	assert_lent(&b, 0, "two");
	apus_udp_close(b.u);
}

static void lent_datagrams_have_their_place_in_the_queue(void **state)
{
	struct borrower b = {.u = open_at(0, 7)};

	for (int i = 0; i < APUS_UDP_QUEUE_MAX; i++)
		receive(7, "x", 1);
	borrow_now(&b);
	assert_int_equal(b.rc, VIEWS);
	receive(7, "y", 1);
	assert_count(&net, udp, APUS_UDP_DROP_QUEUE_FULL, 1);
	borrow_now(&b);
	receive(7, "y", 1);
	assert_count(&net, udp, APUS_UDP_DROP_QUEUE_FULL, 1);
	apus_udp_close(b.u);
}

static void datagram_in_pieces_is_copied_and_comes_alone(void **state)
{
	struct borrower b = {.u = open_at(0, 7)};

	receive(7, "whole", 5);
	receive_in_pieces("in pieces");
	receive(7, "last", 4);
	borrow_now(&b);
	assert_int_equal(b.rc, 1);
	assert_lent(&b, 0, "whole");
	borrow_now(&b);
	assert_int_equal(b.rc, 1);
	assert_ptr_equal(b.views[0].bytes, b.buf);
	assert_lent(&b, 0, "in pieces");
	borrow_now(&b);
	assert_int_equal(b.rc, 1);
	assert_lent(&b, 0, "last");
	apus_udp_close(b.u);
}

static void close_ends_the_borrower(void **state)
{
	struct borrower b = {.u = open_at(0, 7)};
	struct apus_task *t = apus_spawn(borrow, &b);

	net_turn(&net);
	apus_udp_close(b.u);
	await_all(&t, 1);
	assert_int_equal(b.rc, -EPIPE);
}

/* --- ICMP ----------------------------------------------------------------------------------- */

/* The peer, or someone in its name, says that our datagram did not get through. */
static void receive_error(uint8_t type, uint8_t code, uint16_t our_port, uint16_t their_port)
{
	struct rte_icmp_hdr h = {.icmp_type = type, .icmp_code = code};
	static struct frame ours, f;

	frame_udp(&ours, US, our_port, PEER, their_port, "lost", 4);
	frame_ipv4(&f, IPPROTO_ICMP, PEER, US);
	frame_append(&f, &h, sizeof(h));
	frame_append(&f, frame_ip(&ours), 28);
	frame_finish_ip(&f);
	frame_sum_icmp(&f);
	net_receive(&net, &f);
}

static void port_unreachable_refuses_the_reader_once(void **state)
{
	struct reader r = {.u = open_to(7, PEER, 5353)};
	struct apus_task *t = apus_spawn(read_one, &r);

	net_turn(&net);
	receive_error(3, 3, 7, 5353);
	await_all(&t, 1);
	assert_int_equal(r.rc, -ECONNREFUSED);
	assert_count(&net, udp, APUS_UDP_ICMP_REFUSED, 1);
	assert_int_equal(r.u->error, 0);
	apus_udp_close(r.u);
}

static void datagrams_before_the_refusal_are_read_first(void **state)
{
	struct reader r = {.u = open_to(7, PEER, 5353)};
	struct apus_task *t;

	receive(7, "data", 4);
	receive_error(3, 3, 7, 5353);
	t = apus_spawn(read_one, &r);
	await_all(&t, 1);
	assert_int_equal(r.rc, 4);
	t = apus_spawn(read_one, &r);
	await_all(&t, 1);
	assert_int_equal(r.rc, -ECONNREFUSED);
	apus_udp_close(r.u);
}

static void soft_errors_are_counted_and_ignored(void **state)
{
	struct apus_udp *u = open_to(7, PEER, 5353);

	receive_error(3, 0, 7, 5353);
	receive_error(3, 1, 7, 5353);
	receive_error(3, 4, 7, 5353);
	receive_error(11, 0, 7, 5353);
	assert_count(&net, udp, APUS_UDP_ICMP_IGNORED, 4);
	assert_int_equal(u->error, 0);
	apus_udp_close(u);
}

static void error_about_another_flow_is_for_nobody(void **state)
{
	struct apus_udp *connected = open_to(7, PEER, 5353), *all = open_at(0, 8);

	receive_error(3, 3, 7, 5354);
	receive_error(3, 3, 9, 5353);
	receive_error(3, 3, 8, 5353); /* one without a peer is not told */
	assert_count(&net, udp, APUS_UDP_ICMP_NO_SOCKET, 3);
	assert_int_equal(connected->error, 0);
	assert_int_equal(all->error, 0);
	apus_udp_close(connected);
	apus_udp_close(all);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(reader_gets_the_datagram_and_its_sender),
		TEST(datagram_too_long_for_the_reader_is_cut),
		TEST(datagram_without_data_is_read_as_zero),
		TEST(readers_are_served_in_order),
		TEST(close_ends_the_readers),
		TEST(cancelled_reader_leaves_the_datagram_to_the_next),
		TEST(reader_that_never_waits_lets_others_run),
		TEST(what_has_come_is_lent_in_order_and_as_it_is),
		TEST(reader_after_a_loan_takes_the_next),
		TEST(borrower_that_waits_has_given_back),
		TEST(lent_datagrams_have_their_place_in_the_queue),
		TEST(datagram_in_pieces_is_copied_and_comes_alone),
		TEST(close_ends_the_borrower),
		TEST(port_unreachable_refuses_the_reader_once),
		TEST(datagrams_before_the_refusal_are_read_first),
		TEST(soft_errors_are_counted_and_ignored),
		TEST(error_about_another_flow_is_for_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
