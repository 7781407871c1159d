/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/sim/host.c: the hosts of a world, the wires between them, and what can go wrong with both.
 *
 * A host is a shard on the world's clock, seeded from the world's seed, with a stack whose link is
 *
 *	stack -> impair (what this host sends) -> end of a wire (delay, rate, queue)
 *
 * so each direction of a wire is impaired once, where it begins, and by chance of its own. With
 * several shards what is between their stacks and the impairment is in shards.c.
 *
 * Entry points: apus_sim_host_open(), apus_sim_link(), and the faults.
 */
#include "net/link/pool.h"
#include "net/sim/internal.h"
#include "net/stack_internal.h"
#include "runtime/base/check.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define POOL_CACHE_ABOVE 2048 /* mbufs: a cache is not worth it in a small pool */

/* --- Pools --------------------------------------------------------------------------------- */

struct rte_mempool *apus_sim_pool_create(const void *context, uint32_t mbufs, uint32_t bytes)
{
	char name[RTE_MEMPOOL_NAMESIZE];

	snprintf(name, sizeof(name), "sim-%zx", (size_t)(uintptr_t)context);
	return apus_pool_create(name, mbufs, mbufs > POOL_CACHE_ABOVE ? APUS_POOL_CACHE : 0,
				(uint16_t)(RTE_PKTMBUF_HEADROOM + bytes), SOCKET_ID_ANY);
}

static int pool_open(struct apus_sim_host *h, const struct apus_sim_host_options *options)
{
	h->pool = h->world->pool;
	if (options->mbufs == 0)
		return 0;
	if (options->mbuf_bytes > UINT16_MAX - RTE_PKTMBUF_HEADROOM)
		return -EINVAL;
	h->pool = apus_sim_pool_create(h, options->mbufs,
				       options->mbuf_bytes ? options->mbuf_bytes
							   : RTE_MBUF_DEFAULT_DATAROOM);
	if (!h->pool)
		return -ENOMEM;
	h->own_pool = true;
	h->pool_free = rte_mempool_avail_count(h->pool);
	return 0;
}

/* --- Opening and closing ------------------------------------------------------------------- */

static int addresses_parse(const struct apus_sim_host_options *options,
			   struct apus_stack_options *out)
{
	int rc;

	*out = (struct apus_stack_options){
		.mtu = options->mtu,
		.connections_max = options->connections_max,
		.more_addrs = options->more_addrs,
		.tcp = options->tcp,
	};
	if (!options->ip)
		return -EINVAL;
	rc = apus_addr_parse_prefix(options->ip, &out->addr, &out->prefix_bits);
	if (rc == 0 && options->gateway)
		rc = apus_addr_parse(options->gateway, &out->gateway);
	return rc;
}

static void members_close(struct apus_sim_host *h, uint32_t opened)
{
	while (opened > 0)
		apus_shard_close(h->members[--opened].shard);
	apus_heap_free(&h->world->heap, h->members);
}

static int members_open(struct apus_sim_host *h, uint32_t count)
{
	h->members = apus_heap_zalloc(&h->world->heap, count * sizeof(h->members[0]));
	if (!h->members)
		return -ENOMEM;
	for (h->count = 0; h->count < count; h->count++) {
		struct apus_sim_member *m = &h->members[h->count];
		struct apus_shard_options options = {
			.core = -1,
			.clock = &h->world->clock,
			/* 0 would mean the system's chance */
			.seed = apus_random_u64(&h->world->random) | 1,
		};
		int rc = apus_shard_open(&options, &m->shard);

		if (rc < 0) {
			members_close(h, h->count);
			return rc;
		}
		m->heap_live = apus_shard_heap(m->shard)->live;
	}
	return 0;
}

int apus_sim_host_open(struct apus_sim_world *world, const char *name,
		       const struct apus_sim_host_options *options, struct apus_sim_host **out)
{
	struct apus_sim_host *h = apus_heap_zalloc(&world->heap, sizeof(*h));
	int rc;

	if (!h)
		return -ENOMEM;
	h->world = world;
	apus_list_init(&h->tasks);
	apus_list_init(&h->ended);
	snprintf(h->name, sizeof(h->name), "%s", name);
	rc = addresses_parse(options, &h->stack_options);
	if (rc < 0)
		goto err_free_host;
	rc = pool_open(h, options);
	if (rc < 0)
		goto err_free_host;
	rc = members_open(h, options->shards ? options->shards : 1);
	if (rc < 0)
		goto err_free_pool;
	rc = h->count > 1 ? apus_sim_board_open(h, options) : 0;
	if (rc < 0)
		goto err_close_members;
	apus_list_push_back(&world->hosts, &h->link);
	*out = h;
	return 0;

err_close_members:
	members_close(h, h->count);
err_free_pool:
	if (h->own_pool)
		rte_mempool_free(h->pool);
err_free_host:
	apus_heap_free(&world->heap, h);
	return rc;
}

void apus_sim_host_close_stack(struct apus_sim_host *h)
{
	struct apus_shard *before = apus_shard_self();

	for (uint32_t i = 0; i < h->count; i++) {
		apus_shard_enter(h->members[i].shard);
		if (h->members[i].stack)
			apus_stack_close(h->members[i].stack);
		h->members[i].stack = NULL;
	}
	apus_shard_enter(before);
	apus_sim_board_close(h->board);
	h->board = NULL;
}

/* Stacks, links and fabric are gone: was that all? */
static int check_heaps(struct apus_sim_host *h)
{
	int rc = 0;

	for (uint32_t i = 0; i < h->count; i++) {
		uint64_t live = apus_shard_heap(h->members[i].shard)->live;

		if (live == h->members[i].heap_live)
			continue;
		apus_sim_report(h->world, "host %s: %lld objects of its heap leaked", h->name,
				(long long)(live - h->members[i].heap_live));
		rc = -EUCLEAN;
	}
	return rc;
}

static int close_pool(struct apus_sim_host *h)
{
	uint32_t free_now;
	int rc = 0;

	if (!h->own_pool)
		return 0;
	free_now = rte_mempool_avail_count(h->pool);
	if (free_now != h->pool_free) {
		apus_sim_report(h->world, "host %s: %u mbufs of %u leaked", h->name,
				h->pool_free - free_now, h->pool_free);
		rc = -EUCLEAN;
	}
	rte_mempool_free(h->pool);
	return rc;
}

static void free_tasks(struct apus_sim_host *h)
{
	struct apus_list *node;

	apus_must(apus_list_empty(&h->tasks));
	while ((node = apus_list_pop_front(&h->ended))) {
		struct apus_sim_task *t = apus_list_entry(node, struct apus_sim_task, link);

		apus_shard_enter(t->shard);
		apus_detach(t->task);
		apus_heap_free(&h->world->heap, t);
	}
}

int apus_sim_host_close(struct apus_sim_host *h)
{
	struct apus_shard *before = apus_shard_self();
	int rc;

	free_tasks(h);
	apus_shard_enter(before);
	rc = check_heaps(h);
	members_close(h, h->count);
	if (h->starved)
		(void)!apus_sim_host_starve(h, UINT32_MAX);
	if (close_pool(h) < 0)
		rc = -EUCLEAN;
	apus_list_remove(&h->link);
	apus_heap_free(&h->world->heap, h);
	return rc;
}

/* --- Wires --------------------------------------------------------------------------------- */

int apus_sim_host_attach(struct apus_sim_host *h, struct apus_link *end,
			 const struct apus_impair_options *impair)
{
	struct apus_impair_options o = *impair;
	int rc;

	h->end = end;
	o.directions = APUS_IMPAIR_TX;
	rc = apus_impair_open(h->end, &o, apus_shard_random(h->members[0].shard), &h->impair);
	if (rc == 0 && h->board)
		rc = apus_sim_board_plug(h, h->impair);
	else if (rc == 0)
		rc = apus_stack_open(h->members[0].shard, h->impair, &h->stack_options,
				     &h->members[0].stack);
	if (rc < 0) {
		h->end = h->impair = NULL; /* each of the two closed what it was given */
		return rc;
	}
	return 0;
}

/* The next end of @wire, impaired, as the link of @h's stack. The host is entered. */
static int attach_to_wire(struct apus_sim_host *h, struct apus_sim_wire *wire,
			  const struct apus_impair_options *impair)
{
	struct apus_link *end;
	int rc = apus_sim_end_open(wire, h->pool, &end);

	return rc < 0 ? rc : apus_sim_host_attach(h, end, impair);
}

/* Words of eight bytes, each mixed in by a multiplication: quick, and no secret. */
static uint64_t digest_bytes(uint64_t digest, const void *data, size_t bytes)
{
	const uint8_t *p = data;
	uint64_t word;

	for (; bytes >= sizeof(word); bytes -= sizeof(word), p += sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		digest = (digest ^ word) * UINT64_C(0x9e3779b97f4a7c15);
		digest ^= digest >> 29;
	}
	word = bytes;
	memcpy(&word, p, bytes);
	digest = (digest ^ word ^ bytes << 56) * UINT64_C(0x9e3779b97f4a7c15);
	return digest ^ digest >> 29;
}

void apus_sim_digest_frame(struct apus_sim_world *world, uint64_t place, const struct rte_mbuf *m,
			   int64_t now_ns)
{
	uint64_t where[2] = {(uint64_t)now_ns, place};
	uint64_t digest = digest_bytes(world->digest, where, sizeof(where));

	for (; m; m = m->next)
		digest = digest_bytes(digest, rte_pktmbuf_mtod(m, const void *), m->data_len);
	world->digest = digest;
}

static void trace_frame(void *arg, unsigned int end, const struct rte_mbuf *m, int64_t now_ns)
{
	const struct apus_sim_cable *cable = arg;

	apus_sim_digest_frame(cable->world, (uint64_t)cable->number << 32 | end, m, now_ns);
}

static int cable_open(struct apus_sim_world *world, const struct apus_sim_wire_options *options,
		      struct apus_sim_cable **out)
{
	struct apus_sim_cable *cable = apus_heap_zalloc(&world->heap, sizeof(*cable));
	int rc;

	if (!cable)
		return -ENOMEM;
	rc = apus_sim_wire_open(&world->heap, options, &cable->wire);
	if (rc < 0) {
		apus_heap_free(&world->heap, cable);
		return rc;
	}
	cable->world = world;
	if (!apus_list_empty(&world->wires))
		cable->number =
			apus_list_entry(world->wires.prev, struct apus_sim_cable, link)->number + 1;
	apus_list_push_back(&world->wires, &cable->link);
	if (!world->options.no_digest)
		apus_sim_wire_trace(cable->wire, trace_frame, cable);
	*out = cable;
	return 0;
}

int apus_sim_switch(struct apus_sim_world *world, struct apus_sim_host *const *hosts, size_t n,
		    const struct apus_sim_link_options *options)
{
	static const struct apus_sim_link_options perfect;
	struct apus_sim_wire_options wire_options;
	struct apus_sim_cable *cable;
	int rc;

	if (n < 2 || n > APUS_SIM_ENDS_MAX)
		return -EINVAL;
	for (size_t i = 0; i < n; i++)
		if (hosts[i]->members[0].stack)
			return -EALREADY;
	options = options ? options : &perfect;
	wire_options = options->wire;
	wire_options.ends_max = (uint32_t)n;
	rc = cable_open(world, &wire_options, &cable);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct apus_shard *before = apus_shard_enter(hosts[i]->members[0].shard);

		rc = attach_to_wire(hosts[i], cable->wire, &options->impair);
		apus_shard_enter(before);
	}
	return rc;
}

int apus_sim_link(struct apus_sim_world *world, struct apus_sim_host *a, struct apus_sim_host *b,
		  const struct apus_sim_link_options *options)
{
	struct apus_sim_host *const hosts[] = {a, b};

	return apus_sim_switch(world, hosts, apus_countof(hosts), options);
}

/* --- What a test looks at ------------------------------------------------------------------ */

unsigned int apus_sim_host_shards(const struct apus_sim_host *h)
{
	return h->count;
}

struct apus_shard *apus_sim_host_shard_at(const struct apus_sim_host *h, unsigned int index)
{
	apus_must_op(index, <, h->count);
	return h->members[index].shard;
}

struct apus_stack *apus_sim_host_stack_at(const struct apus_sim_host *h, unsigned int index)
{
	apus_must_op(index, <, h->count);
	return h->members[index].stack;
}

struct apus_shard *apus_sim_host_shard(const struct apus_sim_host *h)
{
	return h->members[0].shard;
}

struct apus_stack *apus_sim_host_stack(const struct apus_sim_host *h)
{
	return h->members[0].stack;
}

struct apus_addr apus_sim_host_addr(const struct apus_sim_host *h)
{
	return h->stack_options.addr;
}

size_t apus_sim_host_connections(const struct apus_sim_host *h)
{
	size_t open = 0;

	for (uint32_t i = 0; i < h->count; i++)
		if (h->members[i].stack)
			open += apus_tcp_layer_open(&h->members[i].stack->tcp);
	return open;
}

size_t apus_sim_host_time_waits(const struct apus_sim_host *h)
{
	size_t entries = 0;

	for (uint32_t i = 0; i < h->count; i++)
		if (h->members[i].stack)
			entries += apus_tcp_layer_time_wait(&h->members[i].stack->tcp);
	return entries;
}

uint32_t apus_sim_host_mbufs_free(const struct apus_sim_host *h)
{
	return rte_mempool_avail_count(h->pool);
}

struct lookup {
	const char *area, *name;
	uint64_t sum;
};

static void lookup_visit(void *arg, const char *area, const char *name, uint64_t value)
{
	struct lookup *l = arg;

	if (!strcmp(area, l->area) && !strcmp(name, l->name))
		l->sum += value;
}

uint64_t apus_sim_host_counter(const struct apus_sim_host *h, const char *area, const char *name)
{
	struct lookup l = {.area = area, .name = name};

	for (uint32_t i = 0; i < h->count; i++)
		apus_metrics_visit(apus_shard_metrics(h->members[i].shard), lookup_visit, &l);
	return l.sum;
}

/* --- Faults -------------------------------------------------------------------------------- */

int apus_sim_host_impair(struct apus_sim_host *h, const struct apus_impair_options *options)
{
	struct apus_impair_options o = options ? *options : (struct apus_impair_options){0};

	if (!h->impair)
		return -EINVAL;
	o.directions = APUS_IMPAIR_TX;
	return apus_impair_set(h->impair, &o);
}

void apus_sim_host_unplug(struct apus_sim_host *h)
{
	h->unplugged = true;
	if (h->end && !h->is_driven)
		apus_sim_end_set_up(h->end, false);
}

void apus_sim_host_plug(struct apus_sim_host *h)
{
	h->unplugged = false;
	if (h->end && !h->is_driven && !h->killed)
		apus_sim_end_set_up(h->end, true);
}

void apus_sim_host_kill(struct apus_sim_host *h)
{
	h->killed = true;
	if (h->end && !h->is_driven)
		apus_sim_end_set_up(h->end, false);
}

bool apus_sim_host_killed(const struct apus_sim_host *h)
{
	return h->killed;
}

void apus_sim_host_pause(struct apus_sim_host *h)
{
	h->paused = true;
}

void apus_sim_host_resume(struct apus_sim_host *h)
{
	h->paused = false;
}

static void starved_give_back(struct apus_sim_host *h)
{
	for (uint32_t i = 0; i < h->starved_count; i++)
		rte_pktmbuf_free(h->starved[i]);
	apus_heap_free(&h->world->heap, h->starved);
	h->starved = NULL;
	h->starved_count = 0;
}

void apus_sim_host_starve_more(struct apus_sim_host *h)
{
	while (rte_mempool_avail_count(h->pool) > h->starved_free_max) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(h->pool);

		if (!m)
			break;
		h->starved[h->starved_count++] = m;
	}
}

int apus_sim_host_starve(struct apus_sim_host *h, uint32_t free_max)
{
	if (!h->own_pool)
		return -EINVAL;
	starved_give_back(h);
	if (free_max == UINT32_MAX)
		return 0;
	h->starved = apus_heap_alloc(&h->world->heap, h->pool->size * sizeof(h->starved[0]));
	if (!h->starved)
		return -ENOMEM;
	h->starved_free_max = free_max;
	apus_sim_host_starve_more(h);
	return 0;
}
