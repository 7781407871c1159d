/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/apps/kv/test_server_sim.c: the kv server over the whole stack, on wires good and bad.
 *
 * Each client has keys of its own and knows what must be there; all have one counter in common. What
 * they send is cut where the wire likes.
 */
#include "apps/kv/server.h"
#include "net/socket/stream.h"
#include "tests/net/sim/sim_test.h"
#include "tests/runtime/base_test.h"

#define CLIENTS     4
#define KEYS        8
#define ROUNDS      25
#define VALUE_MAX   60000
#define LOSSY_SEEDS 40
#define IMPAIR(l, r, d)                                     \
 {                                                          \
  .loss_ppm = (l), .reorder_ppm = (r), .duplicate_ppm = (d) \
 }

static struct sim_pair pair;
static uint32_t clients; /* that have not finished */
static uint64_t client_seed, increments;
static int64_t close_rc, run_ns;
static uint8_t noise[VALUE_MAX + 256];

/* --- The server's host ----------------------------------------------------------------------- */

static int64_t serve(void *arg)
{
	struct kv_server *server;

	sim_check_equal(
		kv_server_open(&(struct kv_server_options){.local = sim_any(SERVER_PORT)}, &server),
		0);
	for (int64_t end_ns = apus_now() + run_ns; clients > 0 && apus_now() < end_ns;)
		sim_check_equal(apus_sleep(10 * APUS_MS), 0);
	kv_store_check(kv_server_store(server));
	close_rc = kv_server_close(server, 20 * APUS_SEC);
	return 0;
}

/* --- A client -------------------------------------------------------------------------------- */

struct client {
	struct apus_stream *s;
	uint64_t random;
	unsigned int number;
	struct {
		bool is_there;
		uint32_t flags;
		size_t at, len; /* of the noise */
		int64_t deadline_ns;
	} keys[KEYS];
	uint8_t *scratch;
};

static int open_client(struct apus_stream **s)
{
	struct apus_tcp *c;
	int rc = apus_tcp_connect(sim_server(), &c);

	return rc < 0 ? rc : apus_stream_open(c, 0, s);
}

static int64_t say(struct client *c, const char *text)
{
	return apus_stream_write(c->s, text, strlen(text));
}

/* Does the next line read so? */
static int64_t hear(struct client *c, const char *line)
{
	const char *got;
	int64_t n = apus_stream_read_until(c->s, "\r\n", 2, &got);

	if (n <= 0)
		return n < 0 ? n : -ENODATA;
	sim_check(n == (int64_t)strlen(line) && memcmp(got, line, (size_t)n) == 0);
	return 0;
}

static int64_t put(struct client *c, unsigned int i)
{
	char line[128];
	size_t len =
		test_random_below(&c->random, test_random_below(&c->random, 3) ? 200 : VALUE_MAX);
	int64_t seconds = test_random_below(&c->random, 4) ? 0 : 20;
	bool quiet = test_random_below(&c->random, 2);

	c->keys[i].is_there = true;
	c->keys[i].at = test_random_below(&c->random, 256);
	c->keys[i].len = len;
	c->keys[i].flags = (uint32_t)test_random(&c->random);
	c->keys[i].deadline_ns = seconds ? apus_now() + seconds * APUS_SEC : APUS_NEVER;
	snprintf(line, sizeof(line), "set c%uk%u %u %lld %zu%s\r\n", c->number, i, c->keys[i].flags,
		 (long long)seconds, len, quiet ? " noreply" : "");
	sim_check(say(c, line) > 0);
	if (len)
		sim_check(apus_stream_write(c->s, noise + c->keys[i].at, len) > 0);
	sim_check(say(c, "\r\n") > 0);
	if (quiet)
		return 0;
	sim_check_equal(apus_stream_drain(c->s), 0);
	return hear(c, "STORED\r\n");
}

static int64_t hear_value(struct client *c, unsigned int i)
{
	char line[128];

	snprintf(line, sizeof(line), "VALUE c%uk%u %u %zu\r\n", c->number, i, c->keys[i].flags,
		 c->keys[i].len);
	sim_check_equal(hear(c, line), 0);
	for (size_t at = 0; at < c->keys[i].len + 2;) {
		int64_t n = apus_stream_read(c->s, c->scratch + at, c->keys[i].len + 2 - at);

		sim_check(n > 0);
		at += (size_t)n;
	}
	sim_check(memcmp(c->scratch, noise + c->keys[i].at, c->keys[i].len) == 0);
	sim_check(memcmp(c->scratch + c->keys[i].len, "\r\n", 2) == 0);
	return 0;
}

/* All keys in one line. One whose time may be over while the question travels is asked for later. */
static int64_t get(struct client *c)
{
	char line[256] = "get nothing";

	for (unsigned int i = 0; i < KEYS; i++) {
		int64_t left_ns = c->keys[i].deadline_ns - apus_now();

		if (left_ns < 15 * APUS_SEC)
			c->keys[i].is_there = false;
		if (left_ns < -15 * APUS_SEC || left_ns >= 15 * APUS_SEC)
			snprintf(line + strlen(line), sizeof(line) - strlen(line), " c%uk%u",
				 c->number, i);
	}
	sim_check(say(c, strcat(line, "\r\n")) > 0);
	sim_check_equal(apus_stream_drain(c->s), 0);
	for (unsigned int i = 0; i < KEYS; i++)
		if (c->keys[i].is_there)
			sim_check_equal(hear_value(c, i), 0);
	return hear(c, "END\r\n");
}

static int64_t drop(struct client *c, unsigned int i)
{
	char line[64];

	if (c->keys[i].deadline_ns != APUS_NEVER)
		return 0;
	snprintf(line, sizeof(line), "delete c%uk%u\r\n", c->number, i);
	sim_check(say(c, line) > 0);
	sim_check_equal(apus_stream_drain(c->s), 0);
	sim_check_equal(hear(c, c->keys[i].is_there ? "DELETED\r\n" : "NOT_FOUND\r\n"), 0);
	c->keys[i].is_there = false;
	return 0;
}

static int64_t count(struct client *c)
{
	increments++;
	sim_check(say(c, "incr common 1 noreply\r\n") > 0);
	return 0;
}

static int64_t rounds(struct client *c)
{
	int64_t rc = say(c, "add common 0 0 1 noreply\r\n0\r\n");

	sim_check(rc > 0);
	rc = 0;
	for (int n = 0; n < ROUNDS && rc == 0; n++) {
		uint64_t kind = test_random_below(&c->random, 10);
		unsigned int i = (unsigned int)test_random_below(&c->random, KEYS);

		rc = kind < 5 ? put(c, i) : kind < 8 ? get(c) : kind < 9 ? drop(c, i) : count(c);
		if (rc == 0 && test_random_below(&c->random, 4) == 0)
			rc = apus_sleep((int64_t)test_random_below(&c->random, 5 * APUS_SEC));
	}
	if (rc == 0)
		rc = get(c); /* so that the quiet ones have been heard */
	return rc;
}

static int64_t client(void *arg)
{
	struct client *c = calloc(1, sizeof(*c));
	int64_t rc;

	c->number = (unsigned int)(uintptr_t)arg;
	c->random = client_seed + c->number;
	c->scratch = malloc(VALUE_MAX + 2);
	for (unsigned int i = 0; i < KEYS; i++)
		c->keys[i].deadline_ns = APUS_NEVER;
	rc = open_client(&c->s);
	if (rc == 0) {
		rc = rounds(c);
		if (rc == 0)
			rc = apus_stream_close(c->s);
		else
			apus_stream_abort(c->s);
	}
	free(c->scratch);
	free(c);
	clients--;
	return rc;
}

/* The last one sees what all have counted. */
static int64_t auditor(void *arg)
{
	struct client c = {0};
	char line[64];

	while (clients > 1)
		sim_check_equal(apus_sleep(APUS_SEC), 0);
	sim_check_equal(open_client(&c.s), 0);
	sim_check(say(&c, "incr common 0\r\n") > 0);
	sim_check_equal(apus_stream_drain(c.s), 0);
	snprintf(line, sizeof(line), "%llu\r\n", (unsigned long long)increments);
	sim_check_equal(hear(&c, line), 0);
	sim_check_equal(apus_stream_close(c.s), 0);
	clients--;
	return 0;
}

/* --- Around the tests ------------------------------------------------------------------------ */

static void begin(uint64_t seed, const struct apus_sim_link_options *link)
{
	run_ns = 7200 * APUS_SEC;
	close_rc = 1;
	increments = 0;
	client_seed = seed * 1000;
	sim_fill(noise, sizeof(noise), 0, 7);
	sim_pair_open(&pair, seed, link);
}

/* Run the server and the clients to their ends; nothing may be left. */
static void run(const apus_task_fn *fns, size_t n)
{
	struct apus_sim_task *tasks[CLIENTS + 2];

	assert_true(n <= CLIENTS + 1);
	clients = (uint32_t)n;
	tasks[n] = apus_sim_spawn(pair.server, "server", serve, NULL);
	for (size_t i = 0; i < n; i++)
		tasks[i] = apus_sim_spawn(pair.client, "client", fns[i], (void *)(i + 1));
	assert_int_equal(apus_sim_run(pair.world, 7200 * APUS_SEC), 0);
	for (size_t i = 0; i <= n; i++)
		assert_int_equal(apus_sim_task_result(tasks[i]), 0);
	assert_int_equal(apus_sim_advance(pair.world, 300 * APUS_SEC), 0);
	assert_int_equal(sim_pair_left(&pair), 0);
	assert_int_equal(apus_sim_world_close(pair.world), 0);
}

static const apus_task_fn all[CLIENTS + 1] = {client, client, client, client, auditor};

/* --- Tests ----------------------------------------------------------------------------------- */

static void clients_on_a_perfect_wire_find_what_they_put(void **state)
{
	test_each_seed(seed, 10)
	{
		begin(seed, &(struct apus_sim_link_options){.wire.delay_ns = APUS_MS});
		run(all, CLIENTS + 1);
		assert_int_equal(close_rc, 0);
	}
}

static void clients_on_a_lossy_wire_find_what_they_put(void **state)
{
	test_each_seed(seed, LOSSY_SEEDS)
	{
		begin(seed, &(struct apus_sim_link_options){
				    .wire.delay_ns = 5 * APUS_MS,
				    .impair = IMPAIR(20000, 50000, 10000),
			    });
		run(all, CLIENTS + 1);
		assert_int_equal(close_rc, 0);
	}
}

/* Small question, small answer: each is one segment, which acknowledges the one before. */
static int64_t count_segments(void *arg)
{
	struct client c = {0};
	uint64_t before;

	sim_check_equal(open_client(&c.s), 0);
	sim_check(say(&c, "set a 0 0 1\r\nx\r\n") > 0);
	sim_check_equal(apus_stream_drain(c.s), 0);
	sim_check_equal(hear(&c, "STORED\r\n"), 0);
	sim_check_equal(apus_sleep(APUS_SEC), 0);
	before = apus_sim_host_counter(pair.server, "tcp", "segments_out");
	for (int i = 0; i < 10; i++) {
		sim_check(say(&c, "get a b\r\n") > 0);
		sim_check_equal(apus_stream_drain(c.s), 0);
		sim_check_equal(hear(&c, "VALUE a 0 1\r\n"), 0);
		sim_check_equal(hear(&c, "x\r\n"), 0);
		sim_check_equal(hear(&c, "END\r\n"), 0);
	}
	sim_check_equal(apus_sim_host_counter(pair.server, "tcp", "segments_out") - before, 10);
	sim_check_equal(apus_stream_close(c.s), 0);
	clients--;
	return 0;
}

static void question_and_answer_are_one_segment_each(void **state)
{
	begin(1, &(struct apus_sim_link_options){.wire.delay_ns = APUS_MS});
	run((const apus_task_fn[]){count_segments}, 1);
}

/* The value, or nothing any more. Return: 1 or 0; < 0 as sim_check(). */
static int64_t hear_answer(struct client *c)
{
	char *next;

	sim_check(apus_stream_peek(c->s, 0, &next) > 0);
	if (*next == 'E')
		return hear(c, "END\r\n");
	sim_check_equal(hear_value(c, 0), 0);
	sim_check_equal(hear(c, "END\r\n"), 0);
	return 1;
}

/* Of a hundred answers those sent before the value was deleted are whole; of the others there is no trace. */
static int64_t hear_what_was_sent(struct client *c)
{
	int64_t hits = 0;

	for (int i = 0; i < 100; i++) {
		int64_t hit = hear_answer(c);

		sim_check(hit == 0 || (hit == 1 && hits == i));
		hits += hit;
	}
	sim_check(hits > 0 && hits < 100);
	return 0;
}

/* Reads nothing for a minute, while the server's values change under what it is sent. */
static int64_t slow(void *arg)
{
	static uint8_t scratch[VALUE_MAX + 2];
	struct client c = {.random = 5, .scratch = scratch};
	struct apus_stream *other;

	c.keys[0].len = VALUE_MAX;
	sim_check_equal(open_client(&c.s), 0);
	sim_check_equal(open_client(&other), 0);
	sim_check(say(&c, "set c0k0 0 0 60000\r\n") > 0);
	sim_check(apus_stream_write(c.s, noise, VALUE_MAX) > 0);
	sim_check(say(&c, "\r\n") > 0);
	for (int i = 0; i < 100; i++)
		sim_check(say(&c, "get c0k0\r\n") > 0);
	sim_check_equal(apus_stream_drain(c.s), 0);
	sim_check_equal(apus_sleep(30 * APUS_SEC), 0);
	sim_check(apus_stream_write(other, "delete c0k0\r\nflush_all\r\n", 24) > 0);
	sim_check_equal(apus_stream_drain(other), 0);
	sim_check_equal(apus_sleep(30 * APUS_SEC), 0);
	sim_check_equal(hear(&c, "STORED\r\n"), 0);
	sim_check_equal(hear_what_was_sent(&c), 0);
	sim_check_equal(apus_stream_close(c.s), 0);
	sim_check_equal(apus_stream_close(other), 0);
	clients--;
	return 0;
}

static void value_that_is_deleted_while_it_is_sent_arrives_whole(void **state)
{
	begin(1, &(struct apus_sim_link_options){.wire.delay_ns = 10 * APUS_MS});
	run((const apus_task_fn[]){slow}, 1);
	assert_int_equal(close_rc, 0);
}

/* The line is too long, and the client sends on and on: the error is read all the same. */
static int64_t endless(void *arg)
{
	struct client c = {0};

	sim_check_equal(open_client(&c.s), 0);
	sim_check(apus_stream_write(c.s, memset(noise, 'x', sizeof(noise)), VALUE_MAX) > 0);
	sim_check_equal(apus_stream_drain(c.s), 0);
	sim_check_equal(hear(&c, KV_LONG_LINE), 0);
	sim_check_equal(apus_stream_close(c.s), 0);
	clients--;
	return 0;
}

static void client_that_sends_on_reads_its_error(void **state)
{
	begin(1, &(struct apus_sim_link_options){.wire.delay_ns = 10 * APUS_MS});
	run((const apus_task_fn[]){endless}, 1);
}

/* Idle when the server stops: a FIN, not a reset. */
static int64_t sits(void *arg)
{
	struct client c = {0};
	uint8_t byte;

	sim_check_equal(open_client(&c.s), 0);
	sim_check(say(&c, "mn\r\n") > 0);
	sim_check_equal(apus_stream_drain(c.s), 0);
	sim_check_equal(hear(&c, "MN\r\n"), 0);
	sim_check_equal(apus_stream_read(c.s, &byte, 1), 0);
	sim_check_equal(apus_stream_close(c.s), 0);
	return 0;
}

static void idle_client_gets_a_fin_when_the_server_stops(void **state)
{
	begin(1, &(struct apus_sim_link_options){.wire.delay_ns = APUS_MS});
	run_ns = 5 * APUS_SEC;
	run((const apus_task_fn[]){sits, sits, sits}, 3);
	assert_int_equal(close_rc, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clients_on_a_perfect_wire_find_what_they_put),
		cmocka_unit_test(clients_on_a_lossy_wire_find_what_they_put),
		cmocka_unit_test(question_and_answer_are_one_segment_each),
		cmocka_unit_test(value_that_is_deleted_while_it_is_sent_arrives_whole),
		cmocka_unit_test(client_that_sends_on_reads_its_error),
		cmocka_unit_test(idle_client_gets_a_fin_when_the_server_stops),
	};

	return test_main(argc, argv, tests);
}
