/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/link/steer.c: each frame to the shard that owns its flow; see steer.h.
 *
 * From each shard to each other one leads a lane: messages of frames, made at the start. One is
 * filled (`open`), some are on their way or wait at the other end (`out`), the rest is free. The
 * receiver takes frames out of the messages themselves, and sends a message back when it is empty.
 * So what it does not take is what the sender has no message for: the loss is at the sender, counted
 * there, and no shard waits for another.
 *
 * Everything of a lane is its sender's, but for a message between its arrival and its reply; what is
 * shared between threads is the rule, which nobody writes, and who has a UDP port, which is atomic.
 *
 * Invariants: an open message has frames; `waiting` has the bit of every lane that has one open;
 * frames from m->taken up to m->count are the message's to free.
 *
 * Entry points: apus_steer_open(), apus_steer_wrap(), apus_steer_tell(), and the link's rx, tx, idle
 * and close.
 */
#include "net/link/steer.h"
#include "runtime/base/alloc.h"
#include "runtime/base/check.h"
#include "runtime/base/log.h"
#include "runtime/cross/mailbox.h"
#include "runtime/sched/shard.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include <rte_byteorder.h>

#define OUT_SOON   4 /* messages on their way, from which on frames gather until one is full */
#define LAPS       4 /* bursts that are looked through for a frame of our own */
#define RETRY_NS   (20 * APUS_US) /* to send what found the ring full */
#define TRUST_HASH 64             /* frames after which the device's hash is spoken of */
#define CHECK_HASH 4096           /* frames whose hash by the device is looked at */
#define UDP_PORTS  65536

enum kind {
	KIND_RX, /* frames that came for the receiver */
	KIND_TX, /* frames that the receiver is to send */
	KIND_FRAMES,
	KIND_NEWS = KIND_FRAMES,
};

struct message {
	struct apus_message cross; /* first */
	struct message *next;      /* in the lane's free ones, or in the receiver's inbox */
	struct apus_steer *steer;
	uint8_t from, to;
	uint8_t kind;
	uint8_t count; /* frames, or bytes of news */
	uint8_t taken; /* frames of these that the receiver has */
	union {
		struct rte_mbuf *frames[APUS_LINK_BURST_MAX];
		uint8_t news[APUS_STEER_NEWS_BYTES];
	};
} __attribute__((aligned(RTE_CACHE_LINE_SIZE)));

static_assert(APUS_STEER_NEWS_BYTES <= UINT8_MAX && APUS_RSS_SHARDS_MAX <= UINT8_MAX, "fields");

struct lane {
	struct message *free, *free_news;
	struct message *open[KIND_FRAMES];
	uint32_t out;
	uint32_t news_out;
	struct message messages[APUS_STEER_MESSAGES + APUS_STEER_NEWS];
};

/* What is one shard's. */
struct side {
	struct steer_link *link; /* NULL while it has none */
	struct lane *lanes;      /* to each shard; the one to itself is not used */
};

struct apus_steer {
	struct apus_heap heap;
	const struct apus_rss *rss;
	unsigned int shards, tx_queues;
	_Atomic uint64_t *udp; /* by port: a bit for each shard that has a socket there */
	struct side sides[];
};

struct steer_link {
	struct apus_link link; /* first */
	struct apus_link *inner;
	struct apus_steer *steer;
	struct lane *lanes;
	struct message *inbox, **inbox_end; /* frames handed to us, oldest first */
	uint64_t waiting;                   /* a bit for each lane with a message open */
	unsigned int index;
	uint32_t hashes_seen; /* of the device's; at most CHECK_HASH */
	bool inbox_first;     /* the next burst begins with what was handed to us */
	apus_steer_news_fn on_news;
	void *news_arg;
	uint16_t *udp_users; /* by port: sockets of this shard */
	struct apus_heap *memory;
	uint64_t counters[APUS_STEER_COUNTER_COUNT];
	struct apus_metrics_block metrics;
};

static const char *const counter_names[] = {APUS_STEER_COUNTERS(APUS_COUNTER_NAME)};
static const struct apus_link_type steer_type;

static struct steer_link *steer_of(const struct apus_link *link)
{
	return link->type == &steer_type ? apus_container_of(link, struct steer_link, link) : NULL;
}

/* --- Messages ------------------------------------------------------------------------------ */

static void free_frames(struct message *m)
{
	if (m->kind < KIND_FRAMES && m->taken < m->count)
		rte_pktmbuf_free_bulk(m->frames + m->taken, m->count - m->taken);
	m->count = m->taken = 0;
}

static void put_back(struct lane *lane, struct message *m)
{
	struct message **free = m->kind == KIND_NEWS ? &lane->free_news : &lane->free;

	m->next = *free;
	*free = m;
}

static void on_return(struct apus_message *cross);

static void reply(struct message *m)
{
	m->cross.fn = on_return;
	apus_message_reply(&m->cross);
}

/* Runs on the receiver's loop. */
static void on_arrival(struct apus_message *cross)
{
	struct message *m = apus_container_of(cross, struct message, cross);
	struct steer_link *s = m->steer->sides[m->to].link;

	if (apus_unlikely(!s)) { /* not open yet, or closed */
		free_frames(m);
		reply(m);
		return;
	}
	switch ((enum kind)m->kind) {
	case KIND_RX:
		s->counters[APUS_STEER_TAKEN] += m->count;
		m->next = NULL;
		*s->inbox_end = m;
		s->inbox_end = &m->next;
		return;
	case KIND_TX:
		s->counters[APUS_STEER_TX_TAKEN] += m->count;
		apus_link_tx(s->inner, m->frames, m->count, apus_now());
		m->count = 0;
		break;
	case KIND_NEWS:
		s->counters[APUS_STEER_NEWS_IN]++;
		if (s->on_news)
			s->on_news(s->news_arg, m->news, m->count);
		break;
	}
	reply(m);
}

/* --- Lanes --------------------------------------------------------------------------------- */

/* The open message of @kind goes, unless there is no room for it in the ring. */
static void send_open(struct steer_link *s, unsigned int to, enum kind kind)
{
	struct lane *lane = &s->lanes[to];
	struct message *m = lane->open[kind];
	int rc;

	m->cross.fn = on_arrival;
	rc = apus_message_send(to, &m->cross);
	if (apus_unlikely(rc == -EAGAIN))
		return;
	lane->open[kind] = NULL;
	if (!lane->open[!kind])
		s->waiting &= ~(UINT64_C(1) << to);
	if (apus_unlikely(rc)) { /* the other has left */
		s->counters[kind == KIND_TX ? APUS_STEER_TX_DROP_CLOSED : APUS_STEER_DROP_CLOSED] +=
			m->count;
		free_frames(m);
		put_back(lane, m);
		return;
	}
	s->counters[APUS_STEER_MESSAGES_SENT]++;
	lane->out++;
}

/* What is open goes if it may: few are on their way, or it is full. */
static void send_waiting(struct steer_link *s)
{
	for (uint64_t left = s->waiting; left; left &= left - 1) {
		unsigned int to = (unsigned int)__builtin_ctzll(left);
		const struct lane *lane = &s->lanes[to];

		for (unsigned int kind = 0; kind < KIND_FRAMES; kind++)
			if (lane->open[kind] && (lane->out < OUT_SOON ||
						 lane->open[kind]->count == APUS_LINK_BURST_MAX))
				send_open(s, to, (enum kind)kind);
	}
}

/* Runs on the loop of who sent it: an empty message comes back. */
static void on_return(struct apus_message *cross)
{
	struct message *m = apus_container_of(cross, struct message, cross);
	struct side *side = &m->steer->sides[m->from];
	struct lane *lane = &side->lanes[m->to];

	if (m->kind == KIND_NEWS)
		lane->news_out--;
	else
		lane->out--;
	put_back(lane, m);
	if (side->link && side->link->waiting)
		send_waiting(side->link);
}

/* Return: the message to put a frame into; NULL: none is left. */
static struct message *message_for(struct steer_link *s, unsigned int to, enum kind kind)
{
	struct lane *lane = &s->lanes[to];

	if (lane->open[kind] && lane->open[kind]->count == APUS_LINK_BURST_MAX)
		send_open(s, to, kind);
	if (!lane->open[kind]) {
		struct message *m = lane->free;

		if (!m)
			return NULL;
		lane->free = m->next;
		m->kind = (uint8_t)kind;
		lane->open[kind] = m;
		s->waiting |= UINT64_C(1) << to;
	}
	return lane->open[kind]->count < APUS_LINK_BURST_MAX ? lane->open[kind] : NULL;
}

/* Consumes @frame. */
static void hand_over(struct steer_link *s, unsigned int to, enum kind kind, struct rte_mbuf *frame)
{
	struct message *m = message_for(s, to, kind);

	if (apus_unlikely(!m)) {
		s->counters[kind == KIND_TX ? APUS_STEER_TX_DROP_FULL : APUS_STEER_DROP_FULL]++;
		rte_pktmbuf_free(frame);
		return;
	}
	s->counters[kind == KIND_TX ? APUS_STEER_TX_HANDED_OVER : APUS_STEER_HANDED_OVER]++;
	m->frames[m->count++] = frame;
}

/* --- Whose is it? -------------------------------------------------------------------------- */

/* One of the shards in @mask, by the hash. */
static unsigned int one_of(uint64_t mask, uint32_t hash)
{
	for (unsigned int skip = hash % (unsigned int)__builtin_popcountll(mask); skip > 0; skip--)
		mask &= mask - 1;
	return (unsigned int)__builtin_ctzll(mask);
}

static unsigned int owner_of(const struct apus_steer *steer, const struct apus_rss_flow *flow,
			     uint32_t hash)
{
	unsigned int owner = apus_rss_shard(steer->rss, hash);
	uint64_t mask;

	if (flow->kind != APUS_RSS_UDP)
		return owner;
	mask = atomic_load_explicit(&steer->udp[rte_be_to_cpu_16(flow->tuple.dst_port)],
				    memory_order_relaxed);
	return !mask || mask >> owner & 1 ? owner : one_of(mask, hash);
}

static APUS_COLD void tell_of_hash(const struct steer_link *s)
{
	unsigned int agrees = (unsigned int)s->counters[APUS_STEER_HASH_AGREES];
	unsigned int swapped = (unsigned int)s->counters[APUS_STEER_HASH_SWAPPED];

	if (agrees == TRUST_HASH)
		apus_log(INFO, "rss: shard %u: the device's hash is ours (%d frames)", s->index,
			 TRUST_HASH);
	else if (swapped == TRUST_HASH)
		apus_log(INFO,
			 "rss: shard %u: the device's hash is ours with bytes swapped (%d frames)",
			 s->index, TRUST_HASH);
	else
		apus_log(INFO,
			 "rss: shard %u: the device's hash is another (%u of %d frames agree)",
			 s->index, agrees, TRUST_HASH);
}

/* Does the device hash as we do? Said once, and no reason to believe it. */
static APUS_COLD void check_hash(struct steer_link *s, const struct apus_rss_flow *flow,
				 const struct rte_mbuf *m, uint32_t hash)
{
	enum apus_steer_counter which = APUS_STEER_HASH_DIFFERS;

	if (flow->inner || s->hashes_seen == CHECK_HASH)
		return;
	if (m->hash.rss == hash)
		which = APUS_STEER_HASH_AGREES;
	else if (m->hash.rss == __builtin_bswap32(hash))
		which = APUS_STEER_HASH_SWAPPED;
	s->counters[which]++;
	if (++s->hashes_seen == TRUST_HASH)
		tell_of_hash(s);
}

/* Hands over what is others'. Return: how many are left, in the order they came. */
static uint16_t keep_own(struct steer_link *s, struct rte_mbuf **frames, uint16_t n)
{
	struct apus_rss_flow flows[APUS_LINK_BURST_MAX];
	struct apus_rss_tuple tuples[APUS_LINK_BURST_MAX];
	uint32_t hashes[APUS_LINK_BURST_MAX];
	uint16_t kept = 0;

	for (uint16_t i = 0; i < n; i++)
		rte_prefetch0(rte_pktmbuf_mtod(frames[i], const void *));
	for (uint16_t i = 0; i < n; i++) {
		apus_rss_flow_of(frames[i], &flows[i]);
		tuples[i] = flows[i].tuple;
	}
	apus_rss_hash_burst(s->steer->rss, tuples, hashes, n);
	for (uint16_t i = 0; i < n; i++) {
		unsigned int owner = s->index;

		if (flows[i].kind >= APUS_RSS_ADDRESSES) {
			owner = owner_of(s->steer, &flows[i], hashes[i]);
			if (apus_unlikely(frames[i]->ol_flags & RTE_MBUF_F_RX_RSS_HASH))
				check_hash(s, &flows[i], frames[i], hashes[i]);
		}
		if (owner == s->index)
			frames[kept++] = frames[i];
		else
			hand_over(s, owner, KIND_RX, frames[i]);
	}
	return kept;
}

/* --- As a link ----------------------------------------------------------------------------- */

static uint16_t take_inbox(struct steer_link *s, struct rte_mbuf **frames, uint16_t n)
{
	uint16_t got = 0;

	while (s->inbox && got < n) {
		struct message *m = s->inbox;

		while (m->taken < m->count && got < n)
			frames[got++] = m->frames[m->taken++];
		if (m->taken < m->count)
			break;
		s->inbox = m->next;
		if (!s->inbox)
			s->inbox_end = &s->inbox;
		m->count = m->taken = 0;
		reply(m);
	}
	return got;
}

static uint16_t take_inner(struct steer_link *s, struct rte_mbuf **frames, uint16_t n,
			   int64_t now_ns)
{
	uint16_t came = n, got = 0;

	for (int i = 0; i < LAPS && came == n && got == 0 && n > 0; i++) {
		came = apus_link_rx(s->inner, frames, n, now_ns);
		got = came ? keep_own(s, frames, came) : 0;
	}
	return got;
}

/* By turns, so that neither the device nor the other shards can keep the other's frames waiting. */
static uint16_t steer_rx(struct apus_link *link, struct rte_mbuf **frames, uint16_t n,
			 int64_t now_ns)
{
	struct steer_link *s = apus_container_of(link, struct steer_link, link);
	uint16_t got = s->inbox_first ? take_inbox(s, frames, n) : 0;

	got += take_inner(s, frames + got, (uint16_t)(n - got), now_ns);
	if (!s->inbox_first)
		got += take_inbox(s, frames + got, (uint16_t)(n - got));
	s->inbox_first = !s->inbox_first;
	if (s->waiting)
		send_waiting(s);
	if (got)
		apus_link_count(link, APUS_LINK_RX_FRAMES, frames, got);
	return got;
}

static void steer_tx(struct apus_link *link, struct rte_mbuf **frames, uint16_t n, int64_t now_ns)
{
	struct steer_link *s = apus_container_of(link, struct steer_link, link);

	apus_link_count(link, APUS_LINK_TX_FRAMES, frames, n);
	if (s->index < s->steer->tx_queues) {
		apus_link_tx(s->inner, frames, n, now_ns);
		return;
	}
	for (uint16_t i = 0; i < n; i++)
		hand_over(s, s->index % s->steer->tx_queues, KIND_TX, frames[i]);
	send_waiting(s);
}

static int64_t steer_idle(struct apus_link *link, enum apus_idle what, int64_t now_ns)
{
	const struct steer_link *s = apus_container_of(link, struct steer_link, link);
	int64_t inner_ns = apus_link_idle(s->inner, what, now_ns);

	if (s->inbox)
		return now_ns;
	return s->waiting ? apus_min(inner_ns, now_ns + RETRY_NS) : inner_ns;
}

static void steer_close(struct apus_link *link)
{
	struct steer_link *s = apus_container_of(link, struct steer_link, link);

	for (struct message *m = s->inbox; m; m = m->next)
		free_frames(m);
	s->steer->sides[s->index].link = NULL;
	apus_link_close(s->inner);
	apus_metrics_unregister(&s->metrics);
	apus_link_fini(link);
	apus_heap_free(s->memory, s->udp_users);
	apus_heap_free(s->memory, s);
}

static const struct apus_link_type steer_type = {
	.name = "steer",
	.rx = steer_rx,
	.tx = steer_tx,
	.idle = steer_idle,
	.close = steer_close,
};

/* --- News and ports ------------------------------------------------------------------------ */

void apus_steer_on_news(struct apus_link *link, apus_steer_news_fn fn, void *arg)
{
	struct steer_link *s = steer_of(link);

	if (!s)
		return;
	s->on_news = fn;
	s->news_arg = arg;
}

static void tell_one(struct steer_link *s, unsigned int to, const void *news, size_t bytes,
		     bool important)
{
	struct lane *lane = &s->lanes[to];
	struct message *m = lane->free_news;

	if (!m || (!important && lane->news_out >= APUS_STEER_NEWS / 2)) {
		s->counters[APUS_STEER_NEWS_DROPPED]++;
		return;
	}
	m->kind = KIND_NEWS;
	m->count = (uint8_t)bytes;
	memcpy(m->news, news, bytes);
	m->cross.fn = on_arrival;
	lane->free_news = m->next; /* before it is the receiver's */
	if (apus_message_send(to, &m->cross)) {
		s->counters[APUS_STEER_NEWS_DROPPED]++;
		put_back(lane, m);
		return;
	}
	lane->news_out++;
	s->counters[APUS_STEER_NEWS_OUT]++;
}

void apus_steer_tell(struct apus_link *link, const void *news, size_t bytes, bool important)
{
	struct steer_link *s = steer_of(link);

	apus_must_op(bytes, <=, APUS_STEER_NEWS_BYTES);
	for (unsigned int to = 0; s && to < s->steer->shards; to++)
		if (to != s->index)
			tell_one(s, to, news, bytes, important);
}

bool apus_steer_udp_claim(struct apus_link *link, uint16_t port)
{
	struct steer_link *s = steer_of(link);
	uint64_t mine, had;

	if (!s)
		return true;
	mine = UINT64_C(1) << s->index;
	s->udp_users[port]++;
	had = atomic_fetch_or_explicit(&s->steer->udp[port], mine, memory_order_relaxed);
	return !(had & ~mine);
}

void apus_steer_udp_release(struct apus_link *link, uint16_t port)
{
	struct steer_link *s = steer_of(link);

	if (s && --s->udp_users[port] == 0)
		atomic_fetch_and_explicit(&s->steer->udp[port], ~(UINT64_C(1) << s->index),
					  memory_order_relaxed);
}

uint64_t apus_steer_counter(const struct apus_link *link, enum apus_steer_counter counter)
{
	const struct steer_link *s = steer_of(link);

	return s ? s->counters[counter] : 0;
}

/* --- Opening and closing ------------------------------------------------------------------- */

static void init_lane(struct apus_steer *steer, struct lane *lane, unsigned int from,
		      unsigned int to)
{
	for (unsigned int i = 0; i < apus_countof(lane->messages); i++) {
		struct message *m = &lane->messages[i];

		m->steer = steer;
		m->from = (uint8_t)from;
		m->to = (uint8_t)to;
		m->kind = i < APUS_STEER_MESSAGES ? KIND_RX : KIND_NEWS;
		put_back(lane, m);
	}
}

static void free_all(struct apus_steer *steer)
{
	struct apus_heap heap = steer->heap;

	for (unsigned int i = 0; i < steer->shards; i++)
		apus_heap_free(&heap, steer->sides[i].lanes);
	apus_heap_free(&heap, (void *)(uintptr_t)steer->udp);
	apus_heap_free(&heap, steer);
	apus_heap_fini(&heap);
}

int apus_steer_open(const struct apus_rss *rss, unsigned int tx_queues, struct apus_steer **out)
{
	struct apus_heap heap;
	struct apus_steer *steer;
	unsigned int n = rss->shards;
	int rc = apus_heap_init(&heap);

	apus_must_op(tx_queues, >, 0);
	if (rc < 0)
		return rc;
	steer = apus_heap_zalloc(&heap, sizeof(*steer) + n * sizeof(steer->sides[0]));
	if (!steer) {
		apus_heap_fini(&heap);
		return -ENOMEM;
	}
	steer->heap = heap; /* from here on the heap lives in what it gave */
	steer->rss = rss;
	steer->shards = n;
	steer->tx_queues = tx_queues;
	steer->udp = apus_heap_zalloc(&steer->heap, UDP_PORTS * sizeof(steer->udp[0]));
	if (!steer->udp)
		goto err_free;
	for (unsigned int from = 0; from < n; from++) {
		struct side *side = &steer->sides[from];

		side->lanes = apus_heap_zalloc(&steer->heap, n * sizeof(struct lane));
		if (!side->lanes)
			goto err_free;
		for (unsigned int to = 0; to < n; to++)
			init_lane(steer, &side->lanes[to], from, to);
	}
	*out = steer;
	return 0;

err_free:
	free_all(steer);
	return -ENOMEM;
}

void apus_steer_close(struct apus_steer *steer)
{
	for (unsigned int from = 0; from < steer->shards; from++) {
		apus_must(!steer->sides[from].link);
		for (unsigned int to = 0; to < steer->shards; to++)
			for (unsigned int i = 0; i < APUS_STEER_MESSAGES; i++)
				free_frames(&steer->sides[from].lanes[to].messages[i]);
	}
	free_all(steer);
}

int apus_steer_wrap(struct apus_steer *steer, struct apus_link *inner, struct apus_link **out)
{
	struct apus_heap *memory = apus_shard_heap(apus_shard_self());
	struct steer_link *s = apus_heap_zalloc(memory, sizeof(*s));
	unsigned int index = apus_shard_index();

	apus_must_op(index, <, steer->shards);
	if (!s)
		goto err_inner;
	s->udp_users = apus_heap_zalloc(memory, UDP_PORTS * sizeof(s->udp_users[0]));
	if (!s->udp_users)
		goto err_free;
	apus_link_wrap(&s->link, &steer_type, inner);
	apus_metrics_register(apus_shard_metrics(apus_shard_self()), &s->metrics, steer_type.name,
			      counter_names, s->counters, APUS_STEER_COUNTER_COUNT);
	s->inner = inner;
	s->steer = steer;
	s->index = index;
	s->lanes = steer->sides[index].lanes;
	s->inbox_end = &s->inbox;
	s->memory = memory;
	s->link.rss = steer->rss;
	s->link.shard = index;
	apus_must(!steer->sides[index].link);
	steer->sides[index].link = s;
	*out = &s->link;
	return 0;

err_free:
	apus_heap_free(memory, s);
err_inner:
	apus_link_close(inner);
	return -ENOMEM;
}
