/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_challenge.c: challenge ACKs (RFC 5961): what gets one, in which form, and how
 * many; and that their number tells nothing about other connections (CVE-2016-5696).
 */
#include "tests/net/tcp/tcp_peer.h"

#define CONNECTIONS 8

static struct peer *p;
static struct conn {
	struct apus_tcp *c;
	uint16_t port;
	uint32_t seq, una; /* RCV.NXT and SND.NXT of the stack */
} conns[CONNECTIONS];

static int setup(void **state)
{
	p = peer_open();
	peer_listen(p);
	return 0;
}

static int teardown(void **state)
{
	for (int i = 0; i < CONNECTIONS; i++) {
		if (conns[i].c)
			apus_tcp_call_abort(conns[i].c, apus_clock_read(&p->clock));
		conns[i].c = NULL;
	}
	peer_close(p);
	return test_pool_is_full(state);
}

/* What answers @seg of the peer at @port, or NULL. */
static const struct apus_segment *send_from(uint16_t port, struct apus_segment seg)
{
	peer_forget(p);
	seg.local_port = port;
	peer_send(p, seg, 0);
	assert_in_range(p->heard_count, 0, 1);
	return p->heard_count ? peer_last(p) : NULL;
}

static void open_conn(struct conn *conn, uint16_t port)
{
	struct apus_segment seg = peer_segment(5000 + port, 0);

	seg.syn = true;
	conn->port = port;
	conn->seq = seg.seq + 1;
	conn->una = send_from(port, seg)->seq + 1;
	seg = peer_segment(conn->seq, conn->una);
	seg.has_ack = true;
	assert_null(send_from(port, seg));
	conn->c = apus_tcp_listener_take(p->listener);
	assert_non_null(conn->c);
	peer_wait(p, APUS_SEC);
	peer_introduce(p);
}

static struct apus_segment blind_rst(const struct conn *conn)
{
	struct apus_segment rst = peer_segment(conn->seq + 1, 0);

	rst.rst = true;
	return rst;
}

static bool is_challenged(const struct conn *conn, struct apus_segment seg)
{
	const struct apus_segment *said = send_from(conn->port, seg);

	if (!said)
		return false;
	/* <SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK> */
	assert_true(said->has_ack && !said->rst && !said->syn && !said->fin);
	assert_int_equal(said->seq, conn->una);
	assert_int_equal(said->ack, conn->seq);
	assert_int_equal(said->text_bytes, 0);
	assert_int_equal(conn->c->state, APUS_TCP_ESTABLISHED);
	return true;
}

/* ---- what gets one (RFC 5961 §3.2, §4.2, §5.2) ---- */

static void each_blind_attack_is_challenged_and_has_no_effect(void **state)
{
	struct conn *conn = &conns[0];
	struct apus_segment seg;
	static const uint32_t syn_at[] = {0, 1, 60000, UINT32_MAX, 1U << 31};
	static const uint32_t rst_at[] = {1, 2, 1000, 60000};

	open_conn(conn, 4000);
	for (size_t i = 0; i < apus_countof(rst_at); i++) {
		seg = blind_rst(conn);
		seg.seq = conn->seq + rst_at[i];
		assert_true(is_challenged(conn, seg));
		peer_wait(p, APUS_SEC);
	}
	for (size_t i = 0; i < apus_countof(syn_at);
	     i++) { /* "irrespective of the sequence number" */
		seg = peer_segment(conn->seq + syn_at[i], 0);
		seg.syn = true;
		assert_true(is_challenged(conn, seg));
		peer_wait(p, APUS_SEC);
	}
	/* SND.UNA - MAX.SND.WND =< SEG.ACK =< SND.NXT */
	seg = peer_segment(conn->seq, conn->una + 1);
	seg.has_ack = true;
	assert_true(is_challenged(conn, seg));
	peer_wait(p, APUS_SEC);
	seg.ack = conn->una - PEER_WINDOW - 1;
	assert_true(is_challenged(conn, seg));
	peer_wait(p, APUS_SEC);
	seg.ack = conn->una;
	assert_false(is_challenged(conn, seg));
}

static void rst_outside_the_window_is_not_even_challenged(void **state)
{
	struct conn *conn = &conns[0];
	struct apus_segment seg;

	open_conn(conn, 4000);
	seg = blind_rst(conn);
	seg.seq = conn->seq - 1;
	assert_false(is_challenged(conn, seg));
	seg.seq = conn->c->rcv.adv;
	assert_false(is_challenged(conn, seg));
	assert_int_equal(peer_counter(p, APUS_TCP_COUNT_DROP_RST_SEQUENCE), 2);
	assert_int_equal(peer_counter(p, APUS_TCP_COUNT_CHALLENGE_ACKS), 0);
}

/* The answer of a peer that is in earnest: its RST is exact then. */
static void challenge_lets_the_genuine_peer_reset(void **state)
{
	struct conn *conn = &conns[0];
	struct apus_segment rst;

	open_conn(conn, 4000);
	rst = blind_rst(conn);
	assert_true(is_challenged(conn, rst));
	rst.seq = peer_last(p)->ack;
	assert_null(send_from(conn->port, rst));
	assert_int_equal(conn->c->error, -ECONNRESET);
}

/* ---- how many ---- */

/* When the next one is let pass, in milliseconds after the last. */
static int64_t next_after_ms(const struct conn *conn)
{
	for (int64_t ms = 1; ms < 10000; ms++) {
		peer_wait(p, APUS_MS);
		if (is_challenged(conn, blind_rst(conn)))
			return ms;
	}
	return -1;
}

static void next_one_is_half_a_second_away_and_a_random_part(void **state)
{
	int64_t least = INT64_MAX, most = 0;

	open_conn(&conns[0], 4000);
	assert_true(is_challenged(&conns[0], blind_rst(&conns[0])));
	for (int i = 0; i < 40; i++) {
		int64_t ms = next_after_ms(&conns[0]);

		least = apus_min(least, ms);
		most = apus_max(most, ms);
		peer_introduce(p);
	}
	assert_in_range(least, 500, 550);
	assert_in_range(most, 700, 760);
}

/*
 * CVE-2016-5696: the attacker spends the challenges of a connection of his own, and counts on it
 * what is spent elsewhere. Here a thousand on one change nothing on another, to the millisecond.
 */
static void what_one_connection_gets_does_not_depend_on_others(void **state)
{
	for (uint16_t i = 0; i < CONNECTIONS; i++)
		open_conn(&conns[i], 4000 + i);
	for (int i = 0; i < 1000; i++)
		(void)is_challenged(&conns[0], blind_rst(&conns[0]));
	assert_int_equal(peer_counter(p, APUS_TCP_COUNT_CHALLENGE_ACKS), 1);
	for (int i = 1; i < CONNECTIONS; i++)
		assert_true(is_challenged(&conns[i], blind_rst(&conns[i])));
	assert_int_equal(peer_counter(p, APUS_TCP_COUNT_CHALLENGE_ACKS), CONNECTIONS);
}

static void entry_before_the_connection_has_a_limit_of_its_own(void **state)
{
	struct apus_segment syn = peer_segment(7000, 0), rst = peer_segment(7002, 0);
	uint32_t said = 0;

	syn.syn = true;
	rst.rst = true;
	for (uint16_t port = 5000; port < 5010; port++) {
		assert_non_null(send_from(port, syn));
		for (int i = 0; i < 100; i++) {
			const struct apus_segment *ack = send_from(port, rst);

			said += ack != NULL;
			assert_true(!ack || (ack->has_ack && !ack->syn && ack->ack == 7001));
		}
	}
	assert_int_equal(said, 10);
	assert_int_equal(apus_tcp_layer_open(&p->stack->tcp), 10);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(each_blind_attack_is_challenged_and_has_no_effect),
		TEST(rst_outside_the_window_is_not_even_challenged),
		TEST(challenge_lets_the_genuine_peer_reset),
		TEST(next_one_is_half_a_second_away_and_a_random_part),
		TEST(what_one_connection_gets_does_not_depend_on_others),
		TEST(entry_before_the_connection_has_a_limit_of_its_own),
	};
#undef TEST

	return test_main_with_pool(argc, argv, tests);
}
