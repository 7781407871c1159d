/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/link/impair.c: a bad network, on demand.
 *
 * Each direction has a queue of frames that are on their way, a binary heap by the time they are
 * due, so that holding one costs O(log n). A frame is first lost, or copied, or damaged, by chance;
 * then it waits for its turn on a wire of limited rate; then the delay begins. What is due leaves in
 * order of time, and of arrival where times are equal.
 *
 * Order is kept whatever the jitter, as on a wire; only a frame chosen by `reorder` is held back
 * longer than those behind it. (netem reorders by jitter too, which cannot then be had without.)
 *
 * Frames that go out are held until our next turn, so everything happens in rx, tx and idle: rx
 * also sends what is due, and idle says when the next frame is.
 *
 * A damaged frame must look as if the wire had done it. So checksums are made and checked by
 * software while frames may be damaged: hardware would make them after the damage.
 */
#include "net/link/impair.h"
#include "runtime/base/check.h"
#include "runtime/sched/shard.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_ethdev.h>

#define PPM_ALL            1000000u
#define REORDER_NS_DEFAULT APUS_MS
#define SPAN_NS_MAX        (3600 * APUS_SEC)

/* What a frame can meet; each direction has a counter for each, at its base + this. */
enum fate {
	LOST,
	DUPLICATED,
	CORRUPTED,
	REORDERED,
	QUEUE_FULL,
	COPY_FAILED,
	FATES,
};

static_assert(APUS_IMPAIR_TX_LOST == APUS_IMPAIR_RX_LOST + FATES, "RX's counters, then TX's");
static_assert(APUS_IMPAIR_TX_COPY_FAILED == APUS_IMPAIR_TX_LOST + COPY_FAILED, "in fate's order");

/* A frame on its way. */
struct held {
	int64_t due_ns;
	uint64_t seq; /* order of arrival, among those due at the same time */
	struct rte_mbuf *m;
};

/* One direction. */
struct way {
	struct held *heap; /* the first is due first */
	uint32_t used;
	uint32_t limit;
	uint64_t seq;
	int64_t busy_until_ns; /* the wire of limited rate carries what came before */
	int64_t last_due_ns;   /* of those that keep their order */
	struct apus_random random;
	uint64_t *counters; /* FATES of them */
	bool on;
};

struct impair {
	struct apus_link link; /* first */
	struct apus_link *inner;
	struct apus_heap *memory;
	struct apus_impair_options options;
	struct way rx, tx;
	uint64_t counters[APUS_IMPAIR_COUNTER_COUNT];
	struct apus_metrics_block metrics;
};

static const char *const counter_names[] = {APUS_IMPAIR_COUNTERS(APUS_COUNTER_NAME)};

/* --- The heap of frames on their way ------------------------------------------------------- */

static bool earlier(const struct held *a, const struct held *b)
{
	return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->seq < b->seq;
}

/* There is room: the caller looked. */
static void held_push(struct way *way, struct rte_mbuf *m, int64_t due_ns)
{
	struct held frame = {.due_ns = due_ns, .seq = way->seq++, .m = m};
	uint32_t at = way->used++;

	apus_assert(way->used <= way->limit);
	while (at > 0) {
		uint32_t parent = (at - 1) / 2;

		if (earlier(&way->heap[parent], &frame))
			break;
		way->heap[at] = way->heap[parent];
		at = parent;
	}
	way->heap[at] = frame;
}

/* There is one: the caller looked. */
static struct rte_mbuf *held_pop(struct way *way)
{
	struct rte_mbuf *m = way->heap[0].m;
	struct held last = way->heap[--way->used];
	uint32_t at = 0;

	for (;;) {
		uint32_t child = 2 * at + 1;

		if (child >= way->used)
			break;
		if (child + 1 < way->used && earlier(&way->heap[child + 1], &way->heap[child]))
			child++;
		if (earlier(&last, &way->heap[child]))
			break;
		way->heap[at] = way->heap[child];
		at = child;
	}
	way->heap[at] = last;
	return m;
}

static int64_t held_next_ns(const struct way *way)
{
	return way->used ? way->heap[0].due_ns : APUS_NEVER;
}

/* Takes at most @n frames that are due. Return: how many. */
static uint16_t held_take(struct way *way, struct rte_mbuf **frames, uint16_t n, int64_t now_ns)
{
	uint16_t taken = 0;

	while (taken < n && held_next_ns(way) <= now_ns)
		frames[taken++] = held_pop(way);
	return taken;
}

/* --- What happens to a frame --------------------------------------------------------------- */

/* May its bytes be changed, with nobody else looking at them? */
static bool is_private(const struct rte_mbuf *m)
{
	for (; m; m = m->next)
		if (!RTE_MBUF_DIRECT(m) || rte_mbuf_refcnt_read(m) != 1)
			return false;
	return true;
}

/*
 * Flips one bit behind the Ethernet header, if there is one. ARP is spared: it has no checksum, because on a wire the
 * frame's guards it. The damage meant here is the other kind, done inside a router.
 *
 * Consumes @m. Return: @m or a copy of it; NULL without memory.
 */
static struct rte_mbuf *corrupt(struct impair *im, struct way *way, struct rte_mbuf *m)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	uint32_t l2_bytes = im->link.is_l3 ? 0 : sizeof(*eth);
	uint64_t bit;
	uint32_t at;

	if (m->pkt_len <= l2_bytes || m->data_len < l2_bytes ||
	    (l2_bytes && eth->ether_type == rte_cpu_to_be_16(RTE_ETHER_TYPE_ARP)))
		return m;
	if (!is_private(m)) {
		/* The bytes are also TCP's, which will send them again. */
		struct rte_mbuf *copy = rte_pktmbuf_copy(m, im->link.pool, 0, UINT32_MAX);

		rte_pktmbuf_free(m);
		if (!copy) {
			way->counters[COPY_FAILED]++;
			return NULL;
		}
		m = copy;
	}

	bit = apus_random_below(&way->random, 8 * (uint64_t)(m->pkt_len - l2_bytes));
	at = l2_bytes + (uint32_t)(bit / 8);
	for (struct rte_mbuf *seg = m; seg; at -= seg->data_len, seg = seg->next) {
		if (at >= seg->data_len)
			continue;
		*rte_pktmbuf_mtod_offset(seg, uint8_t *, at) ^= (uint8_t)(1u << (bit % 8));
		break;
	}
	/* What the device said about its checksums was true before. */
	m->ol_flags &= ~(RTE_MBUF_F_RX_IP_CKSUM_MASK | RTE_MBUF_F_RX_L4_CKSUM_MASK);
	way->counters[CORRUPTED]++;
	return m;
}

/* When a frame that comes now will have arrived. */
static int64_t arrival(struct impair *im, struct way *way, uint32_t bytes, int64_t now_ns)
{
	const struct apus_impair_options *o = &im->options;
	int64_t at_ns = apus_max(now_ns, way->busy_until_ns);

	if (o->rate_bps) {
		at_ns += (int64_t)(bytes * 8ull * (uint64_t)APUS_SEC / o->rate_bps);
		way->busy_until_ns = at_ns;
	}
	at_ns += o->delay_ns;
	if (o->jitter_ns)
		at_ns += (int64_t)apus_random_below(&way->random, 2 * (uint64_t)o->jitter_ns + 1) -
			 o->jitter_ns;
	at_ns = apus_max(at_ns, apus_max(now_ns, way->last_due_ns));
	way->last_due_ns = at_ns;

	if (o->reorder_ppm && apus_random_chance(&way->random, o->reorder_ppm)) {
		int64_t by_ns = o->reorder_ns ? o->reorder_ns : REORDER_NS_DEFAULT;

		at_ns += 1 + (int64_t)apus_random_below(&way->random, (uint64_t)by_ns);
		way->counters[REORDERED]++;
	}
	return at_ns;
}

/* Consumes @m. */
static void hold(struct impair *im, struct way *way, struct rte_mbuf *m, int64_t now_ns)
{
	if (way->used == way->limit) {
		way->counters[QUEUE_FULL]++;
		rte_pktmbuf_free(m);
		return;
	}
	if (im->options.corrupt_ppm && apus_random_chance(&way->random, im->options.corrupt_ppm)) {
		m = corrupt(im, way, m);
		if (!m)
			return;
	}
	held_push(way, m, arrival(im, way, m->pkt_len, now_ns));
}

/* A frame enters the bad network. Consumes @m. */
static void admit(struct impair *im, struct way *way, struct rte_mbuf *m, int64_t now_ns)
{
	const struct apus_impair_options *o = &im->options;
	struct rte_mbuf *copy = NULL;

	if (o->loss_ppm && apus_random_chance(&way->random, o->loss_ppm)) {
		way->counters[LOST]++;
		rte_pktmbuf_free(m);
		return;
	}
	if (o->duplicate_ppm && apus_random_chance(&way->random, o->duplicate_ppm)) {
		copy = rte_pktmbuf_copy(m, im->link.pool, 0, UINT32_MAX);
		way->counters[copy ? DUPLICATED : COPY_FAILED]++;
	}
	hold(im, way, m, now_ns);
	if (copy)
		hold(im, way, copy, now_ns);
}

/* --- The link ------------------------------------------------------------------------------ */

static void send_due(struct impair *im, int64_t now_ns)
{
	struct rte_mbuf *frames[APUS_LINK_BURST_MAX];
	uint16_t n;

	while ((n = held_take(&im->tx, frames, APUS_LINK_BURST_MAX, now_ns)) > 0) {
		apus_link_count(&im->link, APUS_LINK_TX_FRAMES, frames, n);
		apus_link_tx(im->inner, frames, n, now_ns);
	}
}

static uint16_t impair_rx(struct apus_link *link, struct rte_mbuf **frames, uint16_t n,
			  int64_t now_ns)
{
	struct impair *im = apus_container_of(link, struct impair, link);

	send_due(im, now_ns);
	if (im->rx.on) {
		struct rte_mbuf *fresh[APUS_LINK_BURST_MAX];
		uint16_t got = apus_link_rx(im->inner, fresh, APUS_LINK_BURST_MAX, now_ns);

		for (uint16_t i = 0; i < got; i++)
			admit(im, &im->rx, fresh[i], now_ns);
		n = held_take(&im->rx, frames, n, now_ns);
	} else {
		uint16_t late = held_take(&im->rx, frames, n, now_ns); /* from before it was off */

		n = late + apus_link_rx(im->inner, frames + late, n - late, now_ns);
	}
	apus_link_count(link, APUS_LINK_RX_FRAMES, frames, n);
	return n;
}

static void impair_tx(struct apus_link *link, struct rte_mbuf **frames, uint16_t n, int64_t now_ns)
{
	struct impair *im = apus_container_of(link, struct impair, link);

	if (!im->tx.on) {
		send_due(im, now_ns);
		apus_link_count(link, APUS_LINK_TX_FRAMES, frames, n);
		apus_link_tx(im->inner, frames, n, now_ns);
		return;
	}
	for (uint16_t i = 0; i < n; i++)
		admit(im, &im->tx, frames[i], now_ns);
	send_due(im, now_ns);
}

static int64_t impair_idle(struct apus_link *link, enum apus_idle what, int64_t now_ns)
{
	struct impair *im = apus_container_of(link, struct impair, link);
	int64_t next_ns = apus_link_idle(im->inner, what, now_ns);

	return apus_min(next_ns, apus_min(held_next_ns(&im->rx), held_next_ns(&im->tx)));
}

static void way_fini(struct impair *im, struct way *way)
{
	while (way->used)
		rte_pktmbuf_free(held_pop(way));
	apus_heap_free(im->memory, way->heap);
}

static void impair_close(struct apus_link *link)
{
	struct impair *im = apus_container_of(link, struct impair, link);

	way_fini(im, &im->rx);
	way_fini(im, &im->tx);
	apus_link_close(im->inner);
	apus_metrics_unregister(&im->metrics);
	apus_link_fini(link);
	apus_heap_free(im->memory, im);
}

static const struct apus_link_type impair_type = {
	.name = "impair",
	.rx = impair_rx,
	.tx = impair_tx,
	.idle = impair_idle,
	.close = impair_close,
};

static bool options_valid(const struct apus_impair_options *o)
{
	return o->loss_ppm <= PPM_ALL && o->duplicate_ppm <= PPM_ALL && o->corrupt_ppm <= PPM_ALL &&
	       o->reorder_ppm <= PPM_ALL && o->delay_ns >= 0 && o->delay_ns <= SPAN_NS_MAX &&
	       o->jitter_ns >= 0 && o->jitter_ns <= SPAN_NS_MAX && o->reorder_ns >= 0 &&
	       o->reorder_ns <= SPAN_NS_MAX && o->queue_frames <= APUS_IMPAIR_QUEUE_MAX &&
	       !(o->directions & ~(unsigned int)(APUS_IMPAIR_RX | APUS_IMPAIR_TX));
}

/* Checksums by software while frames may be damaged: see the top. And nobody below cuts runs. */
static void apply(struct impair *im, const struct apus_impair_options *o)
{
	unsigned int directions = o->directions ? o->directions : APUS_IMPAIR_RX | APUS_IMPAIR_TX;

	im->options = *o;
	im->rx.on = directions & APUS_IMPAIR_RX;
	im->tx.on = directions & APUS_IMPAIR_TX;
	im->link.tx_offloads = im->inner->tx_offloads;
	im->link.rx_offloads = im->inner->rx_offloads;
	/* What befalls a frame befalls one of those on the wire, not a run of them. */
	if (o->loss_ppm || o->duplicate_ppm || o->corrupt_ppm || o->reorder_ppm || o->delay_ns ||
	    o->jitter_ns || o->rate_bps)
		im->link.tx_offloads &= ~RTE_ETH_TX_OFFLOAD_TCP_TSO;
	if (o->corrupt_ppm) {
		im->link.tx_offloads &=
			~(RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM |
			  RTE_ETH_TX_OFFLOAD_UDP_CKSUM);
		im->link.rx_offloads &= ~RTE_ETH_RX_OFFLOAD_CHECKSUM;
	}
}

static int way_init(struct impair *im, struct way *way, enum apus_impair_counter base,
		    uint64_t seed)
{
	way->limit =
		im->options.queue_frames ? im->options.queue_frames : APUS_IMPAIR_QUEUE_DEFAULT;
	way->heap = apus_heap_alloc(im->memory, way->limit * sizeof(*way->heap));
	if (!way->heap)
		return -ENOMEM;
	way->counters = &im->counters[base];
	apus_random_init_seed(&way->random, seed);
	return 0;
}

int apus_impair_open(struct apus_link *inner, const struct apus_impair_options *options,
		     struct apus_random *random, struct apus_link **out)
{
	struct apus_heap *memory = apus_shard_heap(apus_shard_self());
	uint64_t seed = options->seed ? options->seed : apus_random_u64(random);
	struct impair *im;
	int rc = -EINVAL;

	if (!options_valid(options))
		goto err_inner;
	rc = -ENOMEM;
	im = apus_heap_zalloc(memory, sizeof(*im));
	if (!im)
		goto err_inner;
	im->memory = memory;
	im->inner = inner;
	im->options = *options;
	/* Apart, so that what one direction carries does not change the other's chance. */
	if (way_init(im, &im->rx, APUS_IMPAIR_RX_LOST, seed))
		goto err_impair;
	if (way_init(im, &im->tx, APUS_IMPAIR_TX_LOST, seed ^ UINT64_C(0x9e3779b97f4a7c15)))
		goto err_rx;

	apus_link_wrap(&im->link, &impair_type, inner);
	apus_metrics_register(apus_shard_metrics(apus_shard_self()), &im->metrics, "impair",
			      counter_names, im->counters, APUS_IMPAIR_COUNTER_COUNT);
	apply(im, options);
	*out = &im->link;
	return 0;

err_rx:
	apus_heap_free(memory, im->rx.heap);
err_impair:
	apus_heap_free(memory, im);
err_inner:
	apus_link_close(inner);
	return rc;
}

int apus_impair_set(struct apus_link *link, const struct apus_impair_options *options)
{
	struct impair *im = apus_container_of(link, struct impair, link);

	apus_must(link->type == &impair_type);
	if (!options_valid(options))
		return -EINVAL;
	apply(im, options);
	return 0;
}

size_t apus_impair_held(const struct apus_link *link)
{
	const struct impair *im = apus_container_of(link, const struct impair, link);

	apus_must(link->type == &impair_type);
	return (size_t)im->rx.used + im->tx.used;
}

uint64_t apus_impair_counter(const struct apus_link *link, enum apus_impair_counter counter)
{
	const struct impair *im = apus_container_of(link, const struct impair, link);

	apus_must(link->type == &impair_type);
	return im->counters[counter];
}

/* --- The option ---------------------------------------------------------------------------- */

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit span_units[] = {
	{"ns", 1}, {"us", 1000}, {"ms", 1000000}, {"s", 1000000000}, {NULL, 0}};
static const struct unit rate_units[] = {
	{"bit", 1}, {"kbit", 1000}, {"mbit", 1000000}, {"gbit", 1000000000}, {NULL, 0}};
static const struct unit percent_units[] = {{"%", PPM_ALL / 100}, {NULL, 0}};
static const struct unit count_units[] = {{"", 1}, {NULL, 0}};

/* "2.5ms" in the units given. The product is rounded to the nearest whole. */
static bool parse_number(const char *text, const struct unit *units, uint64_t max, uint64_t *out)
{
	char *end;
	double number, value;

	if (*text < '0' || *text > '9') /* no sign, no space, no "inf" */
		return false;
	number = strtod(text, &end);
	for (; units->name; units++) {
		if (strcmp(end, units->name))
			continue;
		value = number * (double)units->factor;
		if (!(value <= (double)max))
			return false;
		*out = (uint64_t)(value + 0.5);
		return true;
	}
	return false;
}

/* A seed has all its 64 bits, which a double has not. */
static bool parse_seed(const char *text, uint64_t *out)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*out = strtoull(text, &end, 0);
	return !*end && !errno && *out;
}

static bool parse_direction(const char *text, unsigned int *out)
{
	if (!strcmp(text, "both"))
		*out = APUS_IMPAIR_RX | APUS_IMPAIR_TX;
	else if (!strcmp(text, "rx"))
		*out = APUS_IMPAIR_RX;
	else if (!strcmp(text, "tx"))
		*out = APUS_IMPAIR_TX;
	else
		return false;
	return true;
}

struct key {
	const char *name;
	size_t offset; /* of the member of the options */
	size_t bytes;  /* of that member */
	const struct unit *units;
	uint64_t max;
	const char *right; /* what a right value looks like */
};

#define KEY(name, member, units, max, right)                                   \
 {                                                                             \
  name, offsetof(struct apus_impair_options, member),                          \
	  sizeof(((struct apus_impair_options *)0)->member), units, max, right \
 }

static const struct key keys[] = {
	KEY("loss", loss_ppm, percent_units, PPM_ALL, "a percentage up to 100%, such as 1%"),
	KEY("duplicate", duplicate_ppm, percent_units, PPM_ALL, "a percentage, such as 1%"),
	KEY("corrupt", corrupt_ppm, percent_units, PPM_ALL, "a percentage, such as 0.1%"),
	KEY("reorder", reorder_ppm, percent_units, PPM_ALL, "a percentage, such as 1%"),
	KEY("delay", delay_ns, span_units, SPAN_NS_MAX, "a time up to an hour, such as 10ms"),
	KEY("jitter", jitter_ns, span_units, SPAN_NS_MAX, "a time up to an hour, such as 2ms"),
	KEY("reorder-by", reorder_ns, span_units, SPAN_NS_MAX, "a time, such as 5ms"),
	KEY("rate", rate_bps, rate_units, UINT64_C(1000000000000), "a rate, such as 100mbit"),
	KEY("queue", queue_frames, count_units, APUS_IMPAIR_QUEUE_MAX,
	    "a number of frames from 1 to 1000000"),
};

/* Sets what @key=@value says. Return: NULL, or what a right value looks like. */
static const char *set_key(struct apus_impair_options *o, const char *key, const char *value)
{
	uint64_t number;

	if (!strcmp(key, "seed"))
		return parse_seed(value, &o->seed) ? NULL : "a whole number from 1 to 2^64 - 1";
	if (!strcmp(key, "direction"))
		return parse_direction(value, &o->directions) ? NULL : "rx, tx or both";

	for (size_t i = 0; i < apus_countof(keys); i++) {
		const struct key *k = &keys[i];

		if (strcmp(k->name, key))
			continue;
		if (!parse_number(value, k->units, k->max, &number) ||
		    (k->units == count_units && !number))
			return k->right;
		if (k->bytes == sizeof(uint32_t))
			*(uint32_t *)(void *)((char *)o + k->offset) = (uint32_t)number;
		else
			*(uint64_t *)(void *)((char *)o + k->offset) = number;
		return NULL;
	}
	return "";
}

int apus_impair_parse(const char *text, struct apus_impair_options *out, char *why,
		      size_t why_bytes)
{
	struct apus_impair_options options = {0};
	char copy[512], *rest = copy, *item;

	if (strlen(text) >= sizeof(copy)) {
		snprintf(why, why_bytes, "it is longer than %zu characters", sizeof(copy) - 1);
		return -EINVAL;
	}
	strcpy(copy, text);
	while ((item = strsep(&rest, ","))) {
		char *value = strchr(item, '=');
		const char *right = "";

		if (value) {
			*value++ = '\0';
			right = set_key(&options, item, value);
		}
		if (!right)
			continue;
		if (*right)
			snprintf(why, why_bytes, "%s=%s: %s must be %s", item, value, item, right);
		else
			snprintf(why, why_bytes,
				 "\"%s\" is not known: give key=value with the keys loss, delay, "
				 "jitter, reorder, reorder-by, duplicate, corrupt, rate, queue, "
				 "direction, seed",
				 item);
		return -EINVAL;
	}
	*out = options;
	return 0;
}
