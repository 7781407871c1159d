/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/sim/test_info.c: what a connection tells of itself: apus_tcp_get_info() against what is
 * known of the world, its trace, and the choice of congestion control.
 */
#include "tests/net/sim/script.h"

#include "net/tcp/info.h"
#include "net/tcp/tcb.h"

#define BULK (1000 * 1000)

static struct {
	struct apus_tcp_info sender, receiver, idle;
	char text[1 << 20];
	size_t text_bytes;
	uint32_t trace_events;
	const char *congestion; /* what the sender changes to; NULL: nothing */
} said;

static int64_t read_all(struct apus_tcp *c)
{
	int64_t n, bytes = 0;

	while ((n = apus_tcp_read(c, script.buf, sizeof(script.buf))) > 0)
		bytes += n;
	return n < 0 ? n : bytes;
}

static int64_t receiver(void *arg)
{
	struct apus_tcp_listener *l;
	struct apus_tcp *c;

	sim_check_equal(apus_tcp_listen(sim_any(SERVER_PORT), 0, &l), 0);
	sim_check_equal(apus_tcp_accept(l, &c), 0);
	sim_check_equal(read_all(c), BULK);
	apus_tcp_get_info(c, &said.receiver);
	apus_tcp_close(c);
	apus_tcp_listener_close(l);
	return 0;
}

static int64_t sender(void *arg)
{
	struct apus_tcp *c;

	sim_check_equal(apus_tcp_connect(sim_server(), &c), 0);
	if (said.trace_events)
		sim_check_equal(apus_tcp_trace_start(c, said.trace_events), 0);
	if (said.congestion)
		sim_check_equal(apus_tcp_set_congestion(c, said.congestion), 0);
	for (int i = 0; i < BULK / 50000; i++)
		sim_check_equal(apus_tcp_write(c, script.more, 50000), 50000);
	sim_check_equal(apus_sleep(5 * APUS_SEC), 0); /* all is acknowledged */
	apus_tcp_get_info(c, &said.sender);
	said.text_bytes = apus_tcp_trace_read(c, said.text, sizeof(said.text) - 1);
	said.text[said.text_bytes] = 0;
	sim_check_equal(apus_tcp_shutdown(c), 0);
	sim_check_equal(apus_tcp_read(c, script.more, 1), 0);
	apus_tcp_close(c);
	return 0;
}

/* A world whose stacks have the default options. */
static void open_pair(uint64_t seed, const struct apus_sim_link_options *link)
{
	struct apus_sim_host_options server = {.ip = SERVER_IP "/24"};
	struct apus_sim_host_options client = {.ip = CLIENT_IP "/24"};
	struct apus_sim_world_options world = {0};
	struct sim_pair *p = &script.pair;

	apus_test_eal();
	world.pool = sim_pool();
	assert_int_equal(apus_sim_world_open(seed, &world, &p->world), 0);
	assert_int_equal(apus_sim_host_open(p->world, "server", &server, &p->server), 0);
	assert_int_equal(apus_sim_host_open(p->world, "client", &client, &p->client), 0);
	assert_int_equal(apus_sim_link(p->world, p->server, p->client, link), 0);
}

/* A world of 10 ms each way with this part of frames lost. */
static void transfer(uint32_t loss_ppm)
{
	open_pair(7, &(struct apus_sim_link_options){.wire.delay_ns = 10 * APUS_MS,
						     .impair.loss_ppm = loss_ppm});
	run_both(receiver, sender, 300 * APUS_SEC);
}

static int setup_said(void **state)
{
	memset(&said, 0, sizeof(said));
	return setup_bare(state);
}

/* ---- info ---- */

static void counts_of_a_clean_transfer_are_exact(void **state)
{
	transfer(0);

	const struct apus_tcp_info *s = &said.sender, *r = &said.receiver;

	assert_string_equal(s->state, "ESTABLISHED");
	assert_string_equal(s->congestion, "cubic");
	assert_int_equal(s->bytes_acked, BULK);
	assert_int_equal(r->bytes_received, BULK);
	assert_int_equal(s->total_retrans, 0);
	assert_int_equal(s->bytes_retrans, 0);
	assert_int_equal(s->snd_mss, 1448);
	assert_true(s->delivered >= (BULK + 1447) / 1448);
	assert_int_equal(s->delivered_ce, 0);
	assert_int_equal(s->unacked + s->sacked + s->lost + s->retrans, 0);
	assert_int_equal(s->notsent_bytes, 0);
	assert_int_equal(s->ca_state, APUS_TCP_CA_OPEN);
	assert_true(s->has_timestamps && s->has_sack);
	/* What one sent, the other got; the FIN and its ACK came after. */
	assert_int_equal(r->segs_in, s->segs_out + 1);
	assert_true(s->segs_in >= s->delivered / 3);
	assert_int_equal(s->min_rtt_ns, 20 * APUS_MS);
	assert_true(s->srtt_ns >= 20 * APUS_MS && s->srtt_ns < 22 * APUS_MS);
	assert_true(s->rto_ns >= s->srtt_ns + 200 * APUS_MS);
	assert_int_equal(s->snd_ssthresh, UINT32_MAX);
	assert_true(s->last_data_sent_ns >= 4 * APUS_SEC && s->last_data_sent_ns <= 6 * APUS_SEC);
}

static void losses_are_told(void **state)
{
	transfer(20000);

	const struct apus_tcp_info *s = &said.sender;

	assert_int_equal(s->bytes_acked, BULK);
	assert_int_equal(said.receiver.bytes_received, BULK);
	assert_true(s->total_retrans >= 5);
	assert_int_equal(s->total_retrans, client_counter("retransmits"));
	assert_true(s->bytes_retrans > 0 && s->bytes_retrans <= s->total_retrans * 1448ULL);
	assert_true(s->snd_ssthresh < BULK);
}

/* ---- trace ---- */

static uint32_t lines_of(const char *text, const char *what)
{
	uint32_t lines = 0;

	for (const char *at = strstr(text, what); at; at = strstr(at + 1, what))
		lines++;
	return lines;
}

static void connection_that_is_not_traced_has_no_text(void **state)
{
	transfer(0);
	assert_int_equal(said.text_bytes, 0);
}

static void trace_tells_acks_losses_and_what_was_sent(void **state)
{
	said.trace_events = 100000;
	transfer(20000);
	assert_true(lines_of(said.text, ",ack,ESTABLISHED,") > 100);
	assert_true(lines_of(said.text, ",sent,") > 50);
	assert_true(lines_of(said.text, ",loss,ESTABLISHED,recovery,") >= 1);
	assert_int_equal(lines_of(said.text, ",loss,"), client_counter("fast_retransmits"));
	assert_int_equal(lines_of(said.text, ",timeout,"), client_counter("rto"));

	/* Each line has the columns of the header. */
	uint32_t columns = lines_of(apus_tcp_trace_header(), ",");

	assert_int_equal(lines_of(said.text, ","), columns * lines_of(said.text, "\n"));
	assert_int_equal(columns, 9);
}

static void full_trace_keeps_the_last_events(void **state)
{
	said.trace_events = 5; /* eight */
	transfer(0);
	assert_int_equal(lines_of(said.text, "\n"), 8);
	assert_non_null(strstr(said.text, ",1000000,1000000\n")); /* the last ACK is there */
}

static int64_t trace_refused(void *arg)
{
	struct apus_tcp *c;
	struct apus_tcp_trace_event event;

	sim_check_equal(apus_tcp_connect(sim_server(), &c), 0);
	sim_check_equal(apus_tcp_trace_start(c, 0), -EINVAL);
	sim_check_equal(apus_tcp_trace_start(c, APUS_TCP_TRACE_EVENTS_MAX + 1), -EINVAL);
	sim_check(!apus_tcp_trace_next(c, &event));
	sim_check_equal(apus_tcp_trace_start(c, 10), 0);
	sim_check(!apus_tcp_trace_next(c, &event));
	sim_check_equal(apus_tcp_trace_start(c, 20), 0); /* anew */
	sim_check_equal(apus_tcp_write(c, "x", 1), 1);
	sim_check_equal(apus_sleep(APUS_SEC), 0);
	sim_check(apus_tcp_trace_next(c, &event));
	sim_check_equal(event.what, APUS_TCP_TRACE_SENT);
	sim_check_equal(event.sent_bytes, 1);
	apus_tcp_trace_stop(c);
	apus_tcp_trace_stop(c);
	sim_check(!apus_tcp_trace_next(c, &event));
	sim_check_equal(apus_tcp_trace_start(c, 20), 0); /* its memory goes with the connection */
	apus_tcp_abort(c);
	return 0;
}

static int64_t sink_one(void *arg)
{
	struct apus_tcp_listener *l;
	struct apus_tcp *c;

	sim_check_equal(apus_tcp_listen(sim_any(SERVER_PORT), 0, &l), 0);
	sim_check_equal(apus_tcp_accept(l, &c), 0);
	(void)!read_all(c);
	apus_tcp_close(c);
	apus_tcp_listener_close(l);
	return 0;
}

static void trace_starts_anew_and_ends_with_its_connection(void **state)
{
	open_pair(1, NULL);
	run_both(sink_one, trace_refused, 60 * APUS_SEC);
}

/* ---- choice ---- */

static void connection_chooses_its_algorithm(void **state)
{
	static const char *const names[] = {"reno", "cubic", "dctcp", "bbr"};

	for (size_t i = 0; i < apus_countof(names); i++) {
		said.congestion = names[i];
		transfer(0);
		assert_string_equal(said.sender.congestion, names[i]);
		assert_string_equal(said.receiver.congestion, "cubic");
		assert_int_equal(said.sender.bytes_acked, BULK);
		if (i + 1 < apus_countof(names)) {
			assert_int_equal(teardown(state), 0);
			memset(&script, 0, sizeof(script));
		}
	}
}

/* From one to the next in the middle of a transfer that loses. */
static int64_t wanderer(void *arg)
{
	static const char *const names[] = {"reno", "bbr", "dctcp", "cubic"};
	struct apus_tcp *c;

	sim_check_equal(apus_tcp_connect(sim_server(), &c), 0);
	sim_check_equal(apus_tcp_set_congestion(c, "vegas"), -ENOENT);
	for (int i = 0; i < BULK / 50000; i++) {
		sim_check_equal(apus_tcp_set_congestion(c, names[i % 4]), 0);
		sim_check_equal(apus_tcp_write(c, script.more, 50000), 50000);
		sim_check_equal(apus_sleep(i % 3 * 50 * APUS_MS), 0);
	}
	sim_check_equal(apus_tcp_shutdown(c), 0);
	sim_check_equal(apus_tcp_read(c, script.more, 1), 0);
	apus_tcp_close(c);
	return 0;
}

static void algorithm_may_change_in_the_middle(void **state)
{
	open_pair(3, &(struct apus_sim_link_options){.wire.delay_ns = 10 * APUS_MS,
						     .impair.loss_ppm = 20000});
	run_both(receiver, wanderer, 300 * APUS_SEC);
}

static int64_t choosy_server(void *arg)
{
	struct apus_tcp_listener *l;
	struct apus_tcp *c;

	sim_check_equal(apus_tcp_listen(sim_any(SERVER_PORT), 0, &l), 0);
	sim_check_equal(apus_tcp_listener_set_congestion(l, "none"), -ENOENT);
	sim_check_equal(apus_tcp_listener_set_congestion(l, "bbr"), 0);
	sim_check_equal(apus_tcp_accept(l, &c), 0);
	apus_tcp_get_info(c, &said.receiver);
	(void)!read_all(c);
	apus_tcp_close(c);
	apus_tcp_listener_close(l);
	return 0;
}

static int64_t short_client(void *arg)
{
	struct apus_tcp *c;

	sim_check_equal(apus_tcp_connect(sim_server(), &c), 0);
	apus_tcp_get_info(c, &said.idle);
	apus_tcp_close(c);
	return 0;
}

static void listener_chooses_for_what_it_accepts(void **state)
{
	open_pair(1, NULL);
	run_both(choosy_server, short_client, 60 * APUS_SEC);
	assert_string_equal(said.receiver.congestion, "bbr");
	assert_string_equal(said.idle.congestion, "cubic");
	assert_int_equal(said.idle.bytes_acked, 0);
	assert_int_equal(said.idle.snd_cwnd, 10 * 1448);
}

static void stack_refuses_an_algorithm_that_it_has_not(void **state)
{
	struct apus_sim_host_options options = {.ip = SERVER_IP "/24", .tcp.congestion = "vegas"};
	struct apus_sim_world_options world = {.quiet = true};
	struct apus_sim_host *a, *b;

	apus_test_eal();
	world.pool = sim_pool();
	assert_int_equal(apus_sim_world_open(1, &world, &script.pair.world), 0);
	assert_int_equal(apus_sim_host_open(script.pair.world, "a", &options, &a), 0);
	options.ip = CLIENT_IP "/24";
	assert_int_equal(apus_sim_host_open(script.pair.world, "b", &options, &b), 0);
	assert_int_equal(apus_sim_link(script.pair.world, a, b, NULL), -EINVAL);
	assert_int_equal(apus_sim_world_close(script.pair.world), 0);
	script.pair.world = NULL;
}

#define TOLD(name) cmocka_unit_test_setup_teardown(name, setup_said, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TOLD(counts_of_a_clean_transfer_are_exact),
		TOLD(losses_are_told),
		TOLD(connection_that_is_not_traced_has_no_text),
		TOLD(trace_tells_acks_losses_and_what_was_sent),
		TOLD(full_trace_keeps_the_last_events),
		TOLD(trace_starts_anew_and_ends_with_its_connection),
		TOLD(connection_chooses_its_algorithm),
		TOLD(algorithm_may_change_in_the_middle),
		TOLD(listener_chooses_for_what_it_accepts),
		TOLD(stack_refuses_an_algorithm_that_it_has_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
