/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_urgent.c: urgent text (RFC 9293 §3.8.5, RFC 6093): it stays in line, of any
 * length, how much of it is left to be read can be asked, and who wants to be told is.
 */
#include "tests/net/tcp/tcp_peer.h"

#include "net/socket/tcp.h"

static struct peer *p;

static int setup(void **state)
{
	p = peer_open();
	peer_is_called(p);
	peer_answers(p, peer_syn_ack(p));
	return 0;
}

static int teardown(void **state)
{
	peer_close(p);
	return test_pool_is_full(state);
}

static void send_urgent(uint32_t seq, uint32_t bytes, uint16_t up)
{
	struct apus_segment seg = peer_segment(seq, p->c->snd.nxt);

	seg.has_ack = true;
	seg.urg = true;
	seg.up = up;
	peer_send(p, seg, bytes);
}

static uint32_t urgent(void)
{
	return apus_tcp_call_urgent(p->c);
}

static void read_bytes(uint32_t bytes)
{
	static uint8_t got[4000];
	uint32_t at = p->c->rcv.nxt - p->c->rcvq.bytes;

	assert_int_equal(apus_tcp_call_receive(p->c, got, bytes), bytes);
	for (uint32_t i = 0; i < bytes; i++)
		assert_int_equal(got[i], test_byte((uint32_t)(at + i)));
}

static void nothing_is_urgent_at_first(void **state)
{
	peer_send_text(p, p->irs + 1, p->iss + 1, 100);
	assert_int_equal(urgent(), 0);
}

/* RFC 6093 §5: read as all other text; MUST-62: the pointer is behind the last urgent octet. */
static void urgent_text_stays_in_line(void **state)
{
	send_urgent(p->irs + 1, 100, 10);
	assert_int_equal(urgent(), 10);
	read_bytes(4);
	assert_int_equal(urgent(), 6);
	read_bytes(6);
	assert_int_equal(urgent(), 0);
	read_bytes(90);
	assert_int_equal(urgent(), 0);
}

/* The pointer comes before the text that it ends. */
static void pointer_may_be_ahead_of_the_text(void **state)
{
	send_urgent(p->irs + 1, 10, 500);
	read_bytes(10);
	assert_int_equal(urgent(), 490);
	send_urgent(p->irs + 11, 490, 490);
	read_bytes(490);
	assert_int_equal(urgent(), 0);
}

static void pointer_moves_on_and_never_back(void **state)
{
	send_urgent(p->irs + 1, 100, 50);
	send_urgent(p->irs + 101, 100, 80);
	assert_int_equal(urgent(), 180);
	send_urgent(p->irs + 101, 80, 40); /* behind: RCV.UP is the greater of both */
	assert_int_equal(urgent(), 180);
	send_urgent(p->irs + 201, 100, 0); /* of nothing */
	assert_int_equal(urgent(), 180);
}

/* MUST-31: longer than a pointer reaches. */
static void urgent_text_is_of_any_length(void **state)
{
	uint32_t seq = p->irs + 1;

	for (int i = 0; i < 100; i++, seq += 1000) {
		send_urgent(seq, 1000, 65535);
		assert_int_equal(urgent(), 65535);
		read_bytes(1000);
	}
	for (int i = 0; i < 65; i++, seq += 1000) {
		peer_send_text(p, seq, p->iss + 1, 1000);
		read_bytes(1000);
	}
	assert_int_equal(urgent(), 0); /* the last pointer was 64,535 behind what was read then */
}

/* "a TCP receiver should be robust to invalid urgent pointer values" */
static void pointer_to_what_was_read_means_nothing(void **state)
{
	peer_send_text(p, p->irs + 1, p->iss + 1, 1000);
	read_bytes(1000);
	send_urgent(p->irs + 1001, 0, 0);
	assert_int_equal(urgent(), 0);
}

static void pointer_without_the_bit_means_nothing(void **state)
{
	struct apus_segment seg = peer_segment(p->irs + 1, p->iss + 1);

	seg.has_ack = true;
	seg.up = 50;
	peer_send(p, seg, 100);
	assert_int_equal(urgent(), 0);
}

static void after_the_fin_what_is_left_can_still_be_asked(void **state)
{
	send_urgent(p->irs + 1, 100, 100);
	peer_send_fin(p, p->irs + 101, p->iss + 1);
	assert_int_equal(urgent(), 100);
	assert_int_equal(apus_tcp_call_receive(p->c, (uint8_t[99]){0}, 99), 99);
	assert_int_equal(urgent(), 1);
}

/* ---- MUST-32: who wants to be told, is ---- */

static struct {
	const struct apus_tcp *c;
	uint32_t count, urgent;
} told;

static void tell(struct apus_tcp *c, void *arg)
{
	assert_ptr_equal(arg, &told);
	told.c = c;
	told.count++;
	told.urgent = apus_tcp_call_urgent(c);
}

static void listen_for_urgent(void)
{
	told.count = 0;
	assert_int_equal(apus_tcp_on_urgent(tell, &told), 0);
}

static void user_is_told_when_there_was_none_and_when_it_moves_on(void **state)
{
	listen_for_urgent();
	peer_send_text(p, p->irs + 1, p->iss + 1, 100);
	assert_int_equal(told.count, 0);
	send_urgent(p->irs + 101, 100, 10); /* none was pending */
	assert_int_equal(told.count, 1);
	assert_ptr_equal(told.c, p->c);
	assert_int_equal(told.urgent, 110);
	send_urgent(p->irs + 201, 100, 50); /* it advances */
	assert_int_equal(told.count, 2);
	assert_int_equal(told.urgent, 250);
}

static void user_is_not_told_of_what_is_no_news(void **state)
{
	listen_for_urgent();
	send_urgent(p->irs + 1, 100, 50);
	send_urgent(p->irs + 1, 100, 50);  /* again */
	send_urgent(p->irs + 41, 100, 10); /* the same place */
	send_urgent(p->irs + 1, 100, 20);  /* before it */
	peer_send_text(p, p->irs + 141, p->iss + 1, 100);
	assert_int_equal(told.count, 1);
	read_bytes(200);
	send_urgent(p->irs + 201, 40, 0); /* of what was received */
	assert_int_equal(told.count, 1);
}

static void user_is_told_anew_after_all_was_read(void **state)
{
	listen_for_urgent();
	send_urgent(p->irs + 1, 100, 100);
	read_bytes(100);
	send_urgent(p->irs + 101, 100, 1);
	assert_int_equal(told.count, 2);
	assert_int_equal(told.urgent, 1);
	assert_int_equal(apus_tcp_on_urgent(NULL, NULL), 0);
	send_urgent(p->irs + 201, 100, 100);
	assert_int_equal(told.count, 2);
}

#define t(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		t(nothing_is_urgent_at_first),
		t(urgent_text_stays_in_line),
		t(pointer_may_be_ahead_of_the_text),
		t(pointer_moves_on_and_never_back),
		t(urgent_text_is_of_any_length),
		t(pointer_to_what_was_read_means_nothing),
		t(pointer_without_the_bit_means_nothing),
		t(after_the_fin_what_is_left_can_still_be_asked),
		t(user_is_told_when_there_was_none_and_when_it_moves_on),
		t(user_is_not_told_of_what_is_no_news),
		t(user_is_told_anew_after_all_was_read),
	};

	return test_main_with_pool(argc, argv, tests);
}
