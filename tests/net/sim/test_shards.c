/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/sim/test_shards.c: hosts of several shards behind one address: every connection lands
 * on the shard that owns it, whatever the network card does, and nothing is lost between shards but
 * what is counted.
 *
 * --seed N replays one world, --seeds N tries so many.
 */
#include "net/link/rss.h"
#include "net/stack_internal.h"
#include "net/tcp/tcb.h"
#include "tests/net/sim/sim_test.h"
#include "tests/runtime/base_test.h"

#define SHARDS_MAX  4
#define FLOWS       3 /* connections of each shard of the client, at once */
#define BYTES       6000
#define CLIENTS_NS  (900 * APUS_SEC)
#define WORLDS      1200
#define QUESTIONS   6
#define UDP_SERVICE 53

static struct {
	struct sim_pair pair;
	uint32_t accepted[SHARDS_MAX];
	uint32_t answered; /* datagrams */
} world;

/* --- TCP ----------------------------------------------------------------------------------- */

/* Does this connection belong to the shard whose task asks? */
static bool is_at_home(const struct apus_tcp *c)
{
	const struct apus_link *link = apus_stack_self()->link;
	struct apus_rss_tuple t = {
		.src = apus_addr_to_v4(c->key.remote),
		.dst = apus_addr_to_v4(c->key.local),
		.src_port = htons(c->key.remote_port),
		.dst_port = htons(c->key.local_port),
	};

	return !link->rss || apus_rss_shard(link->rss, apus_rss_hash(link->rss, &t)) == link->shard;
}

static int64_t echo_one(void *arg)
{
	struct apus_tcp *c = *(struct apus_tcp **)arg;
	uint8_t buf[1024];
	int64_t got, rc = 0;

	while (rc >= 0 && (got = apus_tcp_read(c, buf, sizeof(buf))) > 0)
		rc = apus_tcp_write(c, buf, (size_t)got);
	apus_tcp_close(c);
	return 0;
}

/* Until it is cancelled. */
static int64_t serve(void *arg)
{
	struct apus_tcp_listener *l;
	struct apus_tcp *c;

	sim_check_equal(apus_tcp_listen(sim_any(SERVER_PORT), 0, &l), 0);
	while (!apus_tcp_accept(l, &c)) {
		sim_check(is_at_home(c));
		++*(uint32_t *)arg;
		sim_check_equal(apus_spawn_detached(NULL, echo_one, &c, sizeof(struct apus_tcp *)),
				0);
	}
	apus_tcp_listener_close(l);
	return 0;
}

static int64_t ask(void *arg)
{
	uint32_t key = (uint32_t)(uintptr_t)arg;
	uint8_t sent[1500], got[1500];
	struct apus_tcp *c;

	sim_check_equal(apus_tcp_connect(sim_server(), &c), 0);
	sim_check(is_at_home(c));
	for (uint64_t at = 0; at < BYTES; at += sizeof(sent)) {
		sim_fill(sent, sizeof(sent), at, key);
		sim_check_equal(apus_tcp_write(c, sent, sizeof(sent)), sizeof(sent));
		for (size_t have = 0; have < sizeof(got);) {
			int64_t n = apus_tcp_read(c, got + have, sizeof(got) - have);

			sim_check(n > 0);
			have += (size_t)n;
		}
		sim_check_equal(sim_differs(got, sizeof(got), at, key), -1);
	}
	apus_tcp_close(c);
	return 0;
}

/* --- UDP ----------------------------------------------------------------------------------- */

static int64_t answer(void *arg)
{
	struct apus_endpoint from;
	struct apus_udp *u;
	uint32_t number;
	int64_t n;

	sim_check_equal(apus_udp_open(sim_any(UDP_SERVICE), NULL, &u), 0);
	while ((n = apus_udp_recv(u, &number, sizeof(number), &from)) >= 0)
		sim_check_equal(apus_udp_send(u, &number, (size_t)n, &from), n);
	apus_udp_close(u);
	return 0;
}

/* @arg: not NULL: by a socket with a peer. Asks again after a while, as everybody must. */
static int64_t question(void *arg)
{
	struct apus_endpoint server = sim_endpoint(SERVER_IP, UDP_SERVICE);
	struct apus_udp *u;

	sim_check_equal(apus_udp_open(sim_any(0), arg ? &server : NULL, &u), 0);
	for (uint32_t i = 0; i < QUESTIONS; i++) {
		for (int64_t n = -1; n < 0;) {
			struct apus_timeout limit;
			uint32_t number = UINT32_MAX;

			sim_check_equal(apus_udp_send(u, &i, sizeof(i), &server), sizeof(i));
			apus_timeout_begin(&limit, 200 * APUS_MS);
			do
				n = apus_udp_recv(u, &number, sizeof(number), NULL);
			while (n >= 0 && number != i);
			n = apus_timeout_end(&limit, n);
			sim_check(n >= 0 || n == -ETIMEDOUT);
		}
		world.answered++;
	}
	apus_udp_close(u);
	return 0;
}

/* --- Worlds -------------------------------------------------------------------------------- */

struct shape {
	struct apus_sim_host_options server, client;
	struct apus_sim_link_options link;
};

static void draw_host(uint64_t *random, struct apus_sim_host_options *o)
{
	static const int64_t delays_ns[] = {0, 2 * APUS_US, 200 * APUS_US, 3 * APUS_MS};

	o->shards = (uint16_t)(1 + test_random_below(random, SHARDS_MAX));
	o->queues = (uint16_t)(1 + test_random_below(random, SHARDS_MAX));
	o->spread = (enum apus_sim_spread)test_random_below(random, APUS_SIM_SPREAD_FIRST + 1);
	o->message_ns = delays_ns[test_random_below(random, apus_countof(delays_ns))];
}

static struct shape draw(uint64_t seed)
{
	static const uint32_t losses_ppm[] = {0, 0, 10000, 50000};
	uint64_t random = seed;
	struct shape s = {.link.wire.delay_ns = APUS_MS};

	draw_host(&random, &s.server);
	draw_host(&random, &s.client);
	s.link.impair.loss_ppm = losses_ppm[test_random_below(&random, apus_countof(losses_ppm))];
	return s;
}

static void world_open(uint64_t seed, const struct shape *s)
{
	memset(&world, 0, sizeof(world));
	sim_pair_open_as(&world.pair, seed, &s->link, s->server, s->client);
}

/* Turns the world until all @n tasks have ended well. */
static void await_all(struct apus_sim_task *const *tasks, size_t n)
{
	size_t done = 0;

	for (int64_t ns = 0; done < n && ns < CLIENTS_NS; ns += APUS_SEC) {
		assert_int_equal(apus_sim_advance(world.pair.world, APUS_SEC), 0);
		while (done < n && apus_sim_task_done(tasks[done]))
			done++;
	}
	for (size_t i = 0; i < n; i++)
		assert_int_equal(apus_sim_task_result(tasks[i]), 0);
}

static uint64_t steered(const struct apus_sim_host *h, const char *name)
{
	return apus_sim_host_counter(h, "steer", name);
}

/* What was given came, or was counted. */
static void check_hand_over(const struct apus_sim_host *h, const struct apus_sim_host_options *o)
{
	uint64_t given = steered(h, "handed_over");

	assert_int_equal(given, steered(h, "taken") + steered(h, "drop_closed"));
	assert_int_equal(steered(h, "tx_handed_over"),
			 steered(h, "tx_taken") + steered(h, "tx_drop_closed"));
	if (o->shards == 1)
		assert_int_equal(given, 0);
	if (o->queues >= o->shards)
		assert_int_equal(steered(h, "tx_handed_over"), 0);
	assert_int_equal(steered(h, "drop_full"), 0); /* a few flows do not fill 28 messages */
}

/* After TIME-WAIT nothing is left, and nothing leaked. */
static void world_end(const struct shape *s)
{
	assert_int_equal(apus_sim_advance(world.pair.world, 300 * APUS_SEC), 0);
	assert_int_equal(sim_pair_left(&world.pair), 0);
	check_hand_over(world.pair.server, &s->server);
	check_hand_over(world.pair.client, &s->client);
	assert_int_equal(apus_sim_world_close(world.pair.world), 0);
}

static void tcp_world(const struct shape *s)
{
	struct apus_sim_task *tasks[SHARDS_MAX * FLOWS];
	size_t n = 0;

	for (unsigned int i = 0; i < s->server.shards; i++)
		apus_sim_spawn_on(world.pair.server, i, "serve", serve, &world.accepted[i]);
	for (unsigned int i = 0; i < s->client.shards; i++)
		for (unsigned int j = 0; j < FLOWS; j++, n++)
			tasks[n] = apus_sim_spawn_on(world.pair.client, i, "ask", ask,
						     (void *)(uintptr_t)(n + 1));
	await_all(tasks, n);
}

static void connections_land_on_their_shard_in_every_world(void **state)
{
	uint64_t accepted[SHARDS_MAX] = {0}, given = 0, worlds = 0;

	test_each_seed(seed, WORLDS)
	{
		struct shape s = draw(seed);
		uint32_t sum = 0;

		world_open(seed, &s);
		tcp_world(&s);
		for (unsigned int i = 0; i < SHARDS_MAX; i++) {
			sum += world.accepted[i];
			accepted[i] += world.accepted[i];
		}
		assert_int_equal(sum, s.client.shards * FLOWS);
		given += steered(world.pair.server, "handed_over");
		if (s.server.spread == APUS_SIM_SPREAD_RIGHT && s.server.queues >= s.server.shards)
			assert_int_equal(steered(world.pair.server, "handed_over"), 0);
		world_end(&s);
		worlds++;
	}
	if (worlds < WORLDS)
		return;
	for (unsigned int i = 0; i < SHARDS_MAX; i++)
		assert_true(accepted[i] > worlds / 10);
	assert_true(given > worlds);
}

static void datagrams_find_the_socket_on_one_shard_or_on_all(void **state)
{
	test_each_seed(seed, WORLDS / 4)
	{
		struct shape s = draw(seed);
		struct apus_sim_task *tasks[2 * SHARDS_MAX];
		unsigned int listening = seed % 2 ? s.server.shards : 1;
		unsigned int first = (unsigned int)seed / 2 % s.server.shards;
		size_t n = 0;

		world_open(seed, &s);
		for (unsigned int i = 0; i < listening; i++)
			apus_sim_spawn_on(world.pair.server, (first + i) % s.server.shards,
					  "answer", answer, NULL);
		for (unsigned int i = 0; i < s.client.shards; i++) {
			tasks[n++] =
				apus_sim_spawn_on(world.pair.client, i, "question", question, NULL);
			tasks[n++] = apus_sim_spawn_on(world.pair.client, i, "question", question,
						       &world);
		}
		await_all(tasks, n);
		assert_int_equal(world.answered, QUESTIONS * n);
		assert_int_equal(apus_sim_host_counter(world.pair.server, "udp", "drop_no_socket"),
				 0);
		assert_int_equal(apus_sim_host_counter(world.pair.client, "udp", "drop_no_socket"),
				 0);
		world_end(&s);
	}
}

/* "The first ARP reply lost on the wrong core": it is everybody's, so nobody waits a second more. */
static void first_answer_of_a_neighbour_reaches_the_shard_that_asked(void **state)
{
	for (unsigned int asker = 0; asker < 4; asker++) {
		struct shape s = {
			.server.shards = 1,
			.client = {.shards = 4, .queues = 4, .spread = APUS_SIM_SPREAD_FIRST},
			.link.wire.delay_ns = APUS_MS,
		};
		struct apus_sim_task *task;

		world_open(asker + 1, &s);
		apus_sim_spawn(world.pair.server, "serve", serve, &world.accepted[0]);
		task = apus_sim_spawn_on(world.pair.client, asker, "ask", ask, NULL);
		assert_int_equal(apus_sim_advance(world.pair.world, 500 * APUS_MS), 0);
		assert_true(apus_sim_task_done(task));
		assert_int_equal(apus_sim_task_result(task), 0);
		assert_int_equal(apus_sim_host_counter(world.pair.client, "arp", "requests_out"),
				 1);
		assert_true(apus_sim_host_counter(world.pair.client, "arp", "hearsay") >= 3);
		world_end(&s);
	}
}

static void same_seed_is_the_same_world(void **state)
{
	struct shape s = {
		.server = {.shards = 3,
			   .queues = 2,
			   .spread = APUS_SIM_SPREAD_CHANGING,
			   .message_ns = 50 * APUS_US},
		.client = {.shards = 2,
			   .queues = 2,
			   .spread = APUS_SIM_SPREAD_WRONG,
			   .message_ns = 50 * APUS_US},
		.link = {.wire.delay_ns = APUS_MS, .impair.loss_ppm = 20000},
	};
	uint64_t digests[3];

	for (uint64_t i = 0; i < 3; i++) {
		world_open(i < 2 ? 42 : 43, &s);
		tcp_world(&s);
		digests[i] = apus_sim_digest(world.pair.world);
		world_end(&s);
	}
	assert_int_equal(digests[0], digests[1]);
	assert_int_not_equal(digests[0], digests[2]);
}

/* --- Trouble ------------------------------------------------------------------------------- */

static int64_t flood(void *arg)
{
	struct apus_endpoint server = sim_endpoint(SERVER_IP, UDP_SERVICE);
	char noise[64] = {0};
	struct apus_udp *u;

	sim_check_equal(apus_udp_open(sim_any(0), NULL, &u), 0);
	for (int i = 0; i < 20000; i++) {
		int64_t n = apus_udp_send(u, noise, sizeof(noise), &server);

		sim_check(n == sizeof(noise) || n == -ENOBUFS);
		if (i % 8 == 0)
			sim_check_equal(apus_sleep(10 * APUS_US), 0);
	}
	apus_udp_close(u);
	return 0;
}

/*
 * Words between shards take up to 50 ms here, a flood comes within 25 ms: what is on its way
 * is bounded by the messages that there are, the rest is dropped by name.
 */
static void flood_between_shards_is_bounded_and_counted(void **state)
{
	struct shape s = {
		.server = {.shards = 2,
			   .queues = 2,
			   .spread = APUS_SIM_SPREAD_FIRST,
			   .message_ns = 50 * APUS_MS},
		.link.wire.delay_ns = APUS_MS,
		.link.wire.queue_frames = 32768,
	};
	struct apus_sim_task *task;

	s.client.shards = 1;
	world_open(1, &s);
	apus_sim_spawn_on(world.pair.server, 1, "answer", answer, NULL);
	task = apus_sim_spawn(world.pair.client, "flood", flood, NULL);
	await_all(&task, 1);
	assert_int_equal(apus_sim_advance(world.pair.world, APUS_SEC), 0);
	assert_true(steered(world.pair.server, "drop_full") > 1000);
	assert_int_equal(steered(world.pair.server, "handed_over"),
			 steered(world.pair.server, "taken"));
	task = apus_sim_spawn(world.pair.client, "question", question, NULL);
	await_all(&task, 1); /* and it goes on */
	assert_int_equal(apus_sim_world_close(world.pair.world), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connections_land_on_their_shard_in_every_world),
		cmocka_unit_test(datagrams_find_the_socket_on_one_shard_or_on_all),
		cmocka_unit_test(first_answer_of_a_neighbour_reaches_the_shard_that_asked),
		cmocka_unit_test(same_seed_is_the_same_world),
		cmocka_unit_test(flood_between_shards_is_bounded_and_counted),
	};

	return test_main(argc, argv, tests);
}
