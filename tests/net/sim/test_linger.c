/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/sim/test_linger.c: a close that waits until what was said has arrived, or does not.
 */
#include "tests/net/sim/script.h"

#include "runtime/sync/timeout.h"

#define BYTES     10000
#define LINGER_NS (2 * APUS_SEC)

/* Reads all. */
static int64_t reader(void *arg)
{
	struct apus_tcp *c;
	int64_t n;

	sim_check_equal(accept_one(&c), 0);
	while ((n = apus_tcp_read(c, script.buf, sizeof(script.buf))) > 0)
		script.bytes += n;
	apus_tcp_close(c);
	return n;
}

static int64_t open_and_say(struct apus_tcp **c)
{
	sim_check_equal(apus_tcp_connect(sim_server(), c), 0);
	sim_check_equal(apus_tcp_set(*c, APUS_TCP_LINGER_NS, LINGER_NS), 0);
	sim_check_equal(write_pattern(*c, BYTES, 1), BYTES);
	return 0;
}

static int64_t close_lingering(void *arg)
{
	struct apus_tcp *c;

	sim_check_equal(open_and_say(&c), 0);
	script.began_ns = apus_now();
	apus_tcp_close(c);
	script.ended_ns = apus_now();
	script.count = (uint32_t)script.bytes; /* what had arrived by then */
	return 0;
}

static void close_that_lingers_waits_until_all_is_acknowledged(void **state)
{
	run_both(reader, close_lingering, 10 * APUS_SEC);
	assert_int_equal(script.count, BYTES);
	/* A round trip, or two for ten thousand bytes; then the FIN's ACK is here. */
	assert_in_range(script.ended_ns - script.began_ns, 2 * WIRE_DELAY_NS, 6 * WIRE_DELAY_NS);
}

static int64_t unplug_and_close(void *arg)
{
	struct apus_tcp *c;

	sim_check_equal(open_and_say(&c), 0);
	apus_sim_host_unplug(script.pair.server);
	script.began_ns = apus_now();
	apus_tcp_close(c);
	script.ended_ns = apus_now();
	return 0;
}

static void close_that_lingers_ends_with_its_time_and_delivery_goes_on(void **state)
{
	struct apus_sim_task *s = on_server(reader);
	struct apus_sim_task *c = on_client(unplug_and_close);

	assert_int_equal(apus_sim_advance(script.pair.world, 3 * APUS_SEC), 0);
	assert_int_equal(apus_sim_task_result(c), 0);
	assert_in_range(script.ended_ns - script.began_ns, LINGER_NS, LINGER_NS + APUS_SEC / 3);
	assert_int_equal(script.bytes, 0);
	apus_sim_host_plug(script.pair.server);
	run_for(60 * APUS_SEC);
	assert_int_equal(apus_sim_task_result(s), 0);
	assert_int_equal(script.bytes, BYTES);
}

static int64_t accept_and_reset(void *arg)
{
	struct apus_tcp *c;

	sim_check_equal(accept_one(&c), 0);
	apus_tcp_abort(c);
	return 0;
}

static void reset_ends_a_close_that_lingers(void **state)
{
	run_both(accept_and_reset, close_lingering, 10 * APUS_SEC);
	assert_true(script.ended_ns - script.began_ns < 10 * WIRE_DELAY_NS);
}

/* RFC 2525 §2.17: bytes that nobody will read are a reset, and a reset waits for nothing. */
static int64_t close_unread(void *arg)
{
	struct apus_tcp *c;

	sim_check_equal(open_and_say(&c), 0);
	sim_check_equal(apus_sleep(APUS_SEC), 0);
	script.began_ns = apus_now();
	apus_tcp_close(c);
	script.ended_ns = apus_now();
	return 0;
}

static int64_t say_and_hear(void *arg)
{
	struct apus_tcp *c;

	sim_check_equal(accept_one(&c), 0);
	sim_check_equal(write_pattern(c, 100, 1), 100);
	sim_check_equal(apus_sleep(2 * APUS_SEC), 0);
	sim_check_equal(apus_tcp_read(c, script.buf, 1), -ECONNRESET);
	apus_tcp_close(c);
	return 0;
}

static void close_with_unread_bytes_resets_and_does_not_linger(void **state)
{
	run_both(say_and_hear, close_unread, 10 * APUS_SEC);
	assert_int_equal(script.ended_ns - script.began_ns, 0);
	assert_int_equal(client_counter("resets_out"), 1);
}

/* Nobody reads its error: the cancel that ended the wait is told by the next one. */
static int64_t close_and_be_cancelled(void *arg)
{
	struct apus_tcp *c;

	sim_check_equal(open_and_say(&c), 0);
	apus_sim_host_unplug(script.pair.server);
	apus_tcp_close(c);
	script.ended_ns = apus_now();
	sim_check_equal(apus_task_cancelling(apus_task_self()), 1);
	sim_check_equal(apus_sleep(APUS_SEC), -ECANCELED);
	sim_check_equal(apus_sleep(APUS_SEC), 0); /* once */
	return 0;
}

static void cancel_of_a_close_that_lingers_is_not_lost(void **state)
{
	struct apus_sim_task *c = on_client(close_and_be_cancelled);
	int64_t cancelled_ns;

	on_server(reader);
	assert_int_equal(apus_sim_advance(script.pair.world, APUS_SEC), 0);
	cancelled_ns = apus_sim_now(script.pair.world);
	assert_true(apus_sim_task_cancel(c));
	apus_sim_host_plug(script.pair.server);
	run_for(60 * APUS_SEC);
	assert_int_equal(apus_sim_task_result(c), 0);
	assert_int_equal(script.ended_ns, cancelled_ns);
	assert_int_equal(script.bytes, BYTES); /* delivery went on */
}

/* And an outer limit is still the one that expired. */
static int64_t close_within_a_limit(void *arg)
{
	struct apus_timeout limit;
	struct apus_tcp *c;

	sim_check_equal(open_and_say(&c), 0);
	apus_sim_host_unplug(script.pair.server);
	apus_timeout_begin(&limit, APUS_SEC);
	script.began_ns = apus_now();
	apus_tcp_close(c);
	script.ended_ns = apus_now();
	sim_check_equal(apus_timeout_end(&limit, apus_sleep(0)), -ETIMEDOUT);
	sim_check_equal(apus_sleep(APUS_SEC), 0);
	apus_sim_host_plug(script.pair.server);
	return 0;
}

static void time_limit_around_a_close_that_lingers_holds(void **state)
{
	run_both(reader, close_within_a_limit, 60 * APUS_SEC);
	assert_int_equal(script.ended_ns - script.began_ns, APUS_SEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(close_that_lingers_waits_until_all_is_acknowledged),
		TEST(close_that_lingers_ends_with_its_time_and_delivery_goes_on),
		TEST(reset_ends_a_close_that_lingers),
		TEST(close_with_unread_bytes_resets_and_does_not_linger),
		TEST(cancel_of_a_close_that_lingers_is_not_lost),
		TEST(time_limit_around_a_close_that_lingers_holds),
	};
	apus_test_eal();
	return cmocka_run_group_tests_name("net/sim linger", tests, NULL, NULL);
}
