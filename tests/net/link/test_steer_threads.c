/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/link/test_steer_threads.c: frames handed over between shards that run on threads of their
 * own (net/link/steer.c). Each shard's device gives frames of everybody's flows, each shard keeps what
 * comes to it, and in the end every frame is somewhere, once: with its owner, in order of who sent it,
 * or counted as dropped. For TSan as it is: a frame is touched by its sender and its receiver only.
 */
#include "net/link/rss.h"
#include "net/link/steer.h"
#include "runtime/cross/mailbox.h"
#include "tests/net/link/link_test.h"

#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include <rte_ip.h>

#define SHARDS     3
#define QUEUES     2 /* shard 2 has none: it sends through shard 0 */
#define FRAMES     (test_is_slow() ? 3000U : 30000U) /* by each queue */
#define FRAMES_MAX 30000
#define NEWS       200
#define NUMBER_AT  38

/* A device of one queue: gives FRAMES of them, and keeps what is sent through it. */
struct source {
	struct apus_link link; /* first */
	unsigned int index;
	struct apus_random random;
	uint32_t given, sent;
};

struct seat {
	struct source device;
	struct apus_shard *shard;
	struct apus_link *steer;
	struct rte_mempool *pool;
	struct rte_mbuf *kept[2 * FRAMES_MAX];
	uint32_t kept_count;
	uint32_t heard, out;
	bool is_wrong;
	pthread_t thread;
};

static struct {
	struct apus_rss rss;
	struct apus_steer *steer;
	struct apus_cross *cross;
	struct seat seats[SHARDS];
	atomic_uint done; /* shards that have given all they have */
	atomic_uint quiet;
} all;

struct label {
	uint32_t from, number;
};

static struct label label_of(const struct rte_mbuf *m)
{
	struct label label;

	memcpy(&label, rte_pktmbuf_mtod_offset(m, const char *, NUMBER_AT), sizeof(label));
	return label;
}

static struct rte_mbuf *frame_from(struct seat *s, uint32_t number)
{
	struct label label = {.from = s->device.index, .number = number};
	struct rte_mbuf *m = rte_pktmbuf_alloc(s->pool);
	struct rte_ether_hdr eth = {.ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4)};
	struct rte_ipv4_hdr ip = {
		.version_ihl = RTE_IPV4_VHL_DEF,
		.next_proto_id = IPPROTO_TCP,
		.src_addr = (uint32_t)apus_random_u64(&s->device.random),
	};
	char *at = m ? rte_pktmbuf_append(m, 64) : NULL;

	apus_must(at);
	memset(at, 0, 64);
	memcpy(at, &eth, sizeof(eth));
	memcpy(at + sizeof(eth), &ip, sizeof(ip));
	memcpy(at + NUMBER_AT, &label, sizeof(label));
	return m;
}

static uint16_t source_rx(struct apus_link *link, struct rte_mbuf **frames, uint16_t n,
			  int64_t now_ns)
{
	struct source *d = apus_container_of(link, struct source, link);
	uint16_t got = 0;

	n = (uint16_t)(1 + apus_random_below(&d->random, n)); /* bursts of any size */
	while (d->index < QUEUES && got < n && d->given < FRAMES)
		frames[got++] = frame_from(&all.seats[d->index], d->given++);
	return got;
}

static void source_tx(struct apus_link *link, struct rte_mbuf **frames, uint16_t n, int64_t now_ns)
{
	struct source *d = apus_container_of(link, struct source, link);
	struct seat *s = &all.seats[d->index];

	for (uint16_t i = 0; i < n; i++, d->sent++)
		s->kept[s->kept_count++] = frames[i];
}

static int64_t source_idle(struct apus_link *link, enum apus_idle what, int64_t now_ns)
{
	return APUS_NEVER;
}

static void source_close(struct apus_link *link)
{
	apus_link_fini(link);
}

static const struct apus_link_type source_type = {
	.name = "source",
	.rx = source_rx,
	.tx = source_tx,
	.idle = source_idle,
	.close = source_close,
};

static void hear(void *arg, const void *news, size_t bytes)
{
	struct seat *s = arg;

	s->heard++;
	s->is_wrong |= bytes != 5 || memcmp(news, "news", 5) != 0;
}

static void keep(struct seat *s, struct rte_mbuf **frames, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++)
		s->kept[s->kept_count++] = frames[i];
}

/* A turn, a burst, and now and then news, a frame to send, and a pause in which others run into limits. */
static bool work(struct seat *s)
{
	struct rte_mbuf *frames[APUS_LINK_BURST_MAX];
	bool any = apus_shard_turn(s->shard);
	uint16_t n = apus_link_rx(s->steer, frames, APUS_LINK_BURST_MAX, START_NS);

	keep(s, frames, n);
	if (s->out < NEWS && apus_random_below(&s->device.random, 8) == 0) {
		struct rte_mbuf *m = frame_from(s, UINT32_MAX);

		s->out++;
		apus_steer_tell(s->steer, "news", 5, true);
		apus_link_tx(s->steer, &m, 1, START_NS);
	}
	if (apus_random_below(&s->device.random, 200) == 0)
		sched_yield();
	return any || n || s->out < NEWS;
}

/* Until all have given all, and then until nothing has come for a long while. */
static void *run(void *arg)
{
	struct seat *s = arg;
	bool told = false;

	apus_shard_enter(s->shard);
	for (int quiet = 0; quiet < 2000;) {
		bool any = work(s);

		if (!told && s->out == NEWS &&
		    (s->device.index >= QUEUES || s->device.given == FRAMES)) {
			told = true;
			atomic_fetch_add(&all.done, 1);
		}
		quiet = any || atomic_load(&all.done) < SHARDS ? 0 : quiet + 1;
		if (!any)
			sched_yield();
	}
	atomic_fetch_add(&all.quiet, 1);
	while (atomic_load(&all.quiet) < SHARDS) /* messages of others come back */
		if (!work(s))
			sched_yield();
	apus_shard_enter(NULL);
	return NULL;
}

static void open_seat(unsigned int i)
{
	struct seat *s = &all.seats[i];
	char name[32];

	snprintf(name, sizeof(name), "threads-%u", i);
	s->pool = rte_pktmbuf_pool_create(name, FRAMES_MAX + 1023, 0, 0, RTE_PKTMBUF_HEADROOM + 128,
					  SOCKET_ID_ANY);
	assert_non_null(s->pool);
	apus_shard_enter(s->shard);
	apus_random_init_seed(&s->device.random, i + 1);
	apus_link_init(&s->device.link, &source_type);
	s->device.index = i;
	s->device.link.pool = s->pool;
	assert_int_equal(apus_steer_wrap(all.steer, &s->device.link, &s->steer), 0);
	apus_steer_on_news(s->steer, hear, s);
	apus_shard_enter(NULL);
}

static void open_all(void)
{
	uint8_t key[APUS_RSS_KEY_BYTES];
	struct apus_shard *shards[SHARDS];
	struct apus_random random;

	apus_random_init_seed(&random, 1);
	apus_rss_key_draw(&random, key, sizeof(key));
	assert_int_equal(apus_rss_init(&all.rss, key, sizeof(key), SHARDS, QUEUES, NULL, 0), 0);
	assert_int_equal(apus_steer_open(&all.rss, QUEUES, &all.steer), 0);
	for (unsigned int i = 0; i < SHARDS; i++) {
		assert_int_equal(
			apus_shard_open(&(struct apus_shard_options){.core = -1, .seed = i + 1},
					&shards[i]),
			0);
		all.seats[i].shard = shards[i];
	}
	assert_int_equal(apus_cross_open(shards, SHARDS, NULL, &all.cross), 0);
	for (unsigned int i = 0; i < SHARDS; i++)
		open_seat(i);
}

static uint64_t sum(enum apus_steer_counter counter)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < SHARDS; i++)
		n += apus_steer_counter(all.seats[i].steer, counter);
	return n;
}

/* Each frame is its owner's, and what one shard sent another is in order. Frees them. Return: how many */
static uint32_t check_kept(struct seat *s)
{
	uint32_t next[SHARDS] = {0}, received = 0;

	for (uint32_t i = 0; i < s->kept_count; i++) {
		struct rte_mbuf *m = s->kept[i];
		struct label label = label_of(m);
		struct apus_rss_flow flow;

		apus_rss_flow_of(m, &flow);
		rte_pktmbuf_free(m);
		if (label.number == UINT32_MAX) /* to be sent */
			continue;
		assert_int_equal(apus_rss_shard(&all.rss, apus_rss_hash(&all.rss, &flow.tuple)),
				 s->device.index);
		assert_true(label.number >= next[label.from]);
		next[label.from] = label.number + 1;
		received++;
	}
	return received;
}

static void close_all(void)
{
	for (unsigned int i = 0; i < SHARDS; i++) {
		apus_shard_enter(all.seats[i].shard);
		apus_link_close(all.seats[i].steer);
	}
	apus_shard_enter(NULL);
	apus_cross_close(all.cross);
	apus_steer_close(all.steer);
	for (unsigned int i = 0; i < SHARDS; i++)
		apus_shard_close(all.seats[i].shard);
	for (unsigned int i = 0; i < SHARDS; i++) {
		assert_int_equal(rte_mempool_in_use_count(all.seats[i].pool), 0);
		rte_mempool_free(all.seats[i].pool);
	}
}

static void frames_between_threads_arrive_once_in_order_or_are_counted(void **state)
{
	uint64_t received = 0, sent = 0, heard = 0;

	apus_test_eal();
	open_all();
	for (unsigned int i = 0; i < SHARDS; i++)
		assert_int_equal(pthread_create(&all.seats[i].thread, NULL, run, &all.seats[i]), 0);
	for (unsigned int i = 0; i < SHARDS; i++)
		pthread_join(all.seats[i].thread, NULL);
	for (unsigned int i = 0; i < SHARDS; i++) {
		received += check_kept(&all.seats[i]);
		sent += all.seats[i].device.sent;
		heard += all.seats[i].heard;
		assert_false(all.seats[i].is_wrong);
	}
	assert_int_equal(all.seats[2].device.sent, 0);
	assert_true(sum(APUS_STEER_HANDED_OVER) > FRAMES / 4);
	assert_int_equal(received + sum(APUS_STEER_DROP_FULL), QUEUES * FRAMES);
	assert_int_equal(sum(APUS_STEER_TAKEN), sum(APUS_STEER_HANDED_OVER));
	assert_int_equal(sent + sum(APUS_STEER_TX_DROP_FULL), SHARDS * NEWS);
	assert_int_equal(heard + sum(APUS_STEER_NEWS_DROPPED), SHARDS * NEWS * (SHARDS - 1));
	close_all();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_between_threads_arrive_once_in_order_or_are_counted),
	};

	return test_main(argc, argv, tests);
}
