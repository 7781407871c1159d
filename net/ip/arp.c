/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/ip/arp.c: the Address Resolution Protocol (RFC 826, RFC 5227, RFC 1122 §2.3.2).
 *
 * Everybody on the wire can write to this table, so it is bounded in each direction: entries,
 * packets that wait in one entry and in all, requests per second. When it is full, the oldest of
 * the *unproven* entries goes (those that never answered, or to which we never sent); a flood of
 * requests or of unreachable destinations so turns over its own entries, not our neighbours'. Only
 * when all are proven the least recently used of those goes.
 *
 * An entry is in one FIFO by what it waits for (enum apus_arp_due) and one list by age; every
 * change is O(1), and one timer serves the table. The timer may be early, never late: it is moved
 * only when something is due before it.
 *
 * Life of an entry: INCOMPLETE (3 requests by broadcast) -> REACHABLE (60 s) -> STALE if it was
 * used (3 probes by unicast, RFC 1122 §2.3.2.1 (2)) -> REACHABLE, or forgotten. Nobody answered
 * the broadcasts: FAILED for 3 s, then forgotten.
 *
 * Where we differ from RFC 826: a reply that we did not ask for makes no entry (it does update
 * one), and an address that was just confirmed does not move to another station within a second.
 */
#include "net/ip/arp.h"
#include "net/ip/mbuf.h"
#include "runtime/base/check.h"

#include <errno.h>
#include <rte_arp.h>
#include <string.h>

#define HASH_SHIFT (64 - 11)
static_assert(1u << (64 - HASH_SHIFT) == APUS_ARP_BUCKETS, "the hash's top bits are the bucket");
static_assert(sizeof(struct rte_arp_hdr) == 28, "RFC 826 with 48-bit and 32-bit addresses");

#define WAITING_TOTAL_MIN  8
#define WAITING_POOL_SHARE 8

static const char *const counter_names[] = {APUS_ARP_COUNTERS(APUS_COUNTER_NAME)};
static const struct rte_ether_addr broadcast = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
static const struct rte_ether_addr nobody = {{0}};

static const int64_t due_span_ns[APUS_ARP_DUE_COUNT] = {
	[APUS_ARP_DUE_RETRY] = APUS_ARP_RETRY_NS,
	[APUS_ARP_DUE_EXPIRY] = APUS_ARP_REACHABLE_NS,
	[APUS_ARP_DUE_FORGET] = APUS_ARP_FAILED_NS,
};

/* --- the table ------------------------------------------------------------------------------ */

static struct apus_arp_entry **bucket_of(const struct apus_arp *arp, uint32_t addr)
{
	return &arp->buckets[(addr * arp->hash_key) >> HASH_SHIFT];
}

static struct apus_arp_entry *find(const struct apus_arp *arp, uint32_t addr)
{
	struct apus_arp_entry *e = *bucket_of(arp, addr);

	while (e && e->addr != addr)
		e = e->next;
	return e;
}

const struct apus_arp_entry *apus_arp_find(const struct apus_arp *arp, uint32_t addr)
{
	return find(arp, addr);
}

static bool has_mac(const struct apus_arp_entry *e)
{
	return e->state == APUS_ARP_REACHABLE || e->state == APUS_ARP_STALE;
}

/* The timer is armed for the first that is due; one that is armed for earlier is left alone. */
static void arm(struct apus_arp *arp)
{
	int64_t first_ns = arp->announcements_left ? arp->announce_at_ns : APUS_NEVER;

	for (size_t i = 0; i < APUS_ARP_DUE_COUNT; i++) {
		if (!apus_list_empty(&arp->due[i]))
			first_ns = apus_min(first_ns, apus_list_entry(arp->due[i].next,
								      struct apus_arp_entry, due)
							      ->due_ns);
	}
	if (first_ns == APUS_NEVER)
		return;
	if (!apus_timer_armed(&arp->timer) || arp->timer.deadline_ns > first_ns)
		apus_timer_arm(&arp->timer, first_ns);
}

static void wait_for(struct apus_arp *arp, struct apus_arp_entry *e, enum apus_arp_due what,
		     int64_t now_ns)
{
	apus_list_remove(&e->due);
	e->due_ns = now_ns + due_span_ns[what];
	apus_list_push_back(&arp->due[what], &e->due);
	arm(arp);
}

static void place(struct apus_arp_entry *e, struct apus_list *age, int64_t now_ns)
{
	apus_list_remove(&e->age);
	apus_list_push_back(age, &e->age);
	e->placed_at_ns = now_ns;
}

static void drop_waiting(struct apus_arp *arp, struct apus_arp_entry *e,
			 enum apus_arp_counter reason)
{
	arp->counters[reason] += e->waiting_count;
	arp->waiting -= e->waiting_count;
	rte_pktmbuf_free_bulk(e->waiting, e->waiting_count);
	e->waiting_count = 0;
}

static void forget(struct apus_arp *arp, struct apus_arp_entry *e, enum apus_arp_counter reason)
{
	struct apus_arp_entry **at = bucket_of(arp, e->addr);

	drop_waiting(arp, e, reason);
	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	if (arp->last == e)
		arp->last = &arp->none;
	e->addr = 0;
	e->state = APUS_ARP_FREE;
	e->changes++;
	apus_list_remove(&e->due);
	apus_list_remove(&e->age);
	apus_list_push_front(&arp->free, &e->age);
}

/* Second chance: one that was used since it took its place goes to the young end once more. */
static void evict_one(struct apus_arp *arp)
{
	struct apus_list *from = apus_list_empty(&arp->unproven) ? &arp->proven : &arp->unproven;
	struct apus_arp_entry *e = apus_list_entry(from->next, struct apus_arp_entry, age);

	while (from == &arp->proven && e->used_at_ns > e->placed_at_ns) {
		place(e, from, e->used_at_ns);
		e = apus_list_entry(from->next, struct apus_arp_entry, age);
	}
	arp->counters[APUS_ARP_EVICTED]++;
	forget(arp, e, APUS_ARP_DROP_EVICTED);
}

/* A new entry, unproven and in no state yet. */
static struct apus_arp_entry *enter(struct apus_arp *arp, uint32_t addr, int64_t now_ns)
{
	struct apus_arp_entry **bucket = bucket_of(arp, addr);

	if (apus_list_empty(&arp->free))
		evict_one(arp);

	struct apus_arp_entry *e =
		apus_list_entry(apus_list_pop_front(&arp->free), struct apus_arp_entry, age);

	e->addr = addr;
	e->tries = 0;
	e->proven = false;
	e->used_at_ns = e->confirmed_at_ns = INT64_MIN;
	e->next = *bucket;
	*bucket = e;
	place(e, &arp->unproven, now_ns);
	return e;
}

static void mark_used(struct apus_arp *arp, struct apus_arp_entry *e, int64_t now_ns)
{
	e->used_at_ns = now_ns;
	if (apus_unlikely(!e->proven)) {
		e->proven = true;
		place(e, &arp->proven, now_ns);
	}
}

/* --- packets that we send ------------------------------------------------------------------- */

static void send_message(struct apus_arp *arp, uint16_t operation, const struct rte_ether_addr *to,
			 const struct apus_arp_word *what, int64_t now_ns)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(arp->eth->link->pool);

	if (!m) {
		arp->counters[APUS_ARP_NO_MBUF]++;
		return;
	}

	struct rte_arp_hdr *h = (void *)rte_pktmbuf_append(m, sizeof(*h));

	*h = (struct rte_arp_hdr){
		.arp_hardware = rte_cpu_to_be_16(RTE_ARP_HRD_ETHER),
		.arp_protocol = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4),
		.arp_hlen = RTE_ETHER_ADDR_LEN,
		.arp_plen = sizeof(uint32_t),
		.arp_opcode = rte_cpu_to_be_16(operation),
		.arp_data.arp_sha = arp->eth->link->mac,
		.arp_data.arp_sip = what->sender,
		.arp_data.arp_tha = what->mac,
		.arp_data.arp_tip = what->target,
	};
	apus_eth_output(arp->eth, m, to, RTE_ETHER_TYPE_ARP, now_ns);
}

/* By broadcast if the station is not known, by unicast to the one that we knew. */
static void send_request(struct apus_arp *arp, struct apus_arp_entry *e, int64_t now_ns)
{
	bool probe = e->state == APUS_ARP_STALE;
	struct apus_arp_word ask = {.sender = arp->addr, .target = e->addr, .mac = nobody};

	e->tries++;
	if (!apus_bucket_take(&arp->requests, now_ns)) {
		arp->counters[APUS_ARP_REQUESTS_LIMITED]++;
		return;
	}
	arp->counters[probe ? APUS_ARP_PROBES_OUT : APUS_ARP_REQUESTS_OUT]++;
	send_message(arp, RTE_ARP_OP_REQUEST, probe ? &e->mac : &broadcast, &ask, now_ns);
}

/* RFC 5227 §2.3: a request for our own address, from it. */
static void send_announcement(struct apus_arp *arp, int64_t now_ns)
{
	struct apus_arp_word say = {.sender = arp->addr, .target = arp->addr, .mac = nobody};

	arp->counters[APUS_ARP_ANNOUNCEMENTS_OUT]++;
	send_message(arp, RTE_ARP_OP_REQUEST, &broadcast, &say, now_ns);
}

void apus_arp_announce(struct apus_arp *arp, int64_t now_ns)
{
	send_announcement(arp, now_ns);
	arp->announcements_left = APUS_ARP_ANNOUNCE_COUNT - 1;
	arp->announce_at_ns = now_ns + APUS_ARP_ANNOUNCE_INTERVAL_NS;
	arm(arp);
}

/* --- time ----------------------------------------------------------------------------------- */

static void retry(struct apus_arp *arp, struct apus_arp_entry *e, int64_t now_ns)
{
	if (e->tries < APUS_ARP_TRIES) {
		send_request(arp, e, now_ns);
		wait_for(arp, e, APUS_ARP_DUE_RETRY, now_ns);
	} else if (e->state == APUS_ARP_STALE) {
		/* The next packet to it starts again, by broadcast. */
		arp->counters[APUS_ARP_EXPIRED]++;
		forget(arp, e, APUS_ARP_DROP_UNANSWERED);
	} else {
		arp->counters[APUS_ARP_FAILED_COUNT]++;
		for (uint8_t i = 0; arp->on_lost && i < e->waiting_count; i++)
			arp->on_lost(arp->lost_arg, e->waiting[i], now_ns);
		drop_waiting(arp, e, APUS_ARP_DROP_UNANSWERED);
		e->state = APUS_ARP_FAILED;
		wait_for(arp, e, APUS_ARP_DUE_FORGET, now_ns);
	}
}

static void expire(struct apus_arp *arp, struct apus_arp_entry *e, int64_t now_ns)
{
	if (e->used_at_ns < e->confirmed_at_ns) {
		arp->counters[APUS_ARP_EXPIRED]++;
		forget(arp, e, APUS_ARP_DROP_UNANSWERED);
		return;
	}
	e->state = APUS_ARP_STALE;
	e->tries = 0;
	retry(arp, e, now_ns);
}

/* The first of the FIFO, if its time has come. */
static struct apus_arp_entry *next_due(struct apus_arp *arp, enum apus_arp_due what, int64_t now_ns)
{
	if (apus_list_empty(&arp->due[what]))
		return NULL;

	struct apus_arp_entry *e = apus_list_entry(arp->due[what].next, struct apus_arp_entry, due);

	return e->due_ns <= now_ns ? e : NULL;
}

static void on_timer(struct apus_work *work)
{
	struct apus_arp *arp = apus_container_of(apus_timer_of(work), struct apus_arp, timer);
	struct apus_arp_entry *e;
	int64_t now_ns = apus_now();

	if (arp->announcements_left && arp->announce_at_ns <= now_ns) {
		arp->announcements_left--;
		arp->announce_at_ns = now_ns + APUS_ARP_ANNOUNCE_INTERVAL_NS;
		send_announcement(arp, now_ns);
	}
	/* Each of these leaves its FIFO, or goes to the end of it with a later time. */
	while ((e = next_due(arp, APUS_ARP_DUE_RETRY, now_ns)))
		retry(arp, e, now_ns);
	while ((e = next_due(arp, APUS_ARP_DUE_EXPIRY, now_ns)))
		expire(arp, e, now_ns);
	while ((e = next_due(arp, APUS_ARP_DUE_FORGET, now_ns)))
		forget(arp, e, APUS_ARP_DROP_UNANSWERED);
	arm(arp);
}

/* --- packets that we receive ---------------------------------------------------------------- */

static bool parse(struct apus_arp *arp, struct rte_mbuf *m, struct apus_arp_word *out)
{
	enum apus_arp_counter reason;

	if (!apus_mbuf_pull(m, sizeof(struct rte_arp_hdr))) {
		reason = APUS_ARP_DROP_SHORT;
		goto drop;
	}

	const struct rte_arp_hdr *h = rte_pktmbuf_mtod(m, const struct rte_arp_hdr *);
	uint16_t operation = rte_be_to_cpu_16(h->arp_opcode);

	if (h->arp_hardware != rte_cpu_to_be_16(RTE_ARP_HRD_ETHER) ||
	    h->arp_protocol != rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4) ||
	    h->arp_hlen != RTE_ETHER_ADDR_LEN || h->arp_plen != sizeof(uint32_t)) {
		reason = APUS_ARP_DROP_FORMAT;
		goto drop;
	}
	if (operation != RTE_ARP_OP_REQUEST && operation != RTE_ARP_OP_REPLY) {
		reason = APUS_ARP_DROP_OPERATION;
		goto drop;
	}
	*out = (struct apus_arp_word){
		.is_request = operation == RTE_ARP_OP_REQUEST,
		.mac = h->arp_data.arp_sha,
		.sender = h->arp_data.arp_sip,
		.target = h->arp_data.arp_tip,
	};
	arp->counters[out->is_request ? APUS_ARP_REQUESTS_IN : APUS_ARP_REPLIES_IN]++;
	/* A group address, or zeros, is no station's. */
	if (!rte_is_valid_assigned_ether_addr(&out->mac)) {
		reason = APUS_ARP_DROP_SENDER;
		goto drop;
	}
	if (rte_is_same_ether_addr(&out->mac, &arp->eth->link->mac)) {
		reason = APUS_ARP_DROP_OWN;
		goto drop;
	}
	return true;
drop:
	arp->counters[reason]++;
	return false;
}

/* RFC 5227 §2.4: say that it is ours, and if the other goes on, no more than every 10 s. */
static void defend(struct apus_arp *arp, int64_t now_ns)
{
	arp->counters[APUS_ARP_CONFLICTS]++;
	if (arp->counters[APUS_ARP_DEFENDED] &&
	    now_ns - arp->defended_at_ns < APUS_ARP_DEFEND_INTERVAL_NS)
		return;
	arp->counters[APUS_ARP_DEFENDED]++;
	arp->defended_at_ns = now_ns;
	send_announcement(arp, now_ns);
}

/* A neighbour's address: on the connected prefix, and a host's. */
static bool is_neighbour(const struct apus_arp *arp, uint32_t addr)
{
	uint32_t host = addr & ~arp->mask;

	if ((addr ^ arp->addr) & arp->mask)
		return false;
	if (rte_be_to_cpu_32(~arp->mask) <= 1)
		return true; /* a /31 or /32 has no broadcast (RFC 3021) */
	return host != 0 && host != ~arp->mask;
}

static bool is_ours(const struct apus_arp *arp, uint32_t addr)
{
	return addr == arp->addr || apus_addr_v4_follows(arp->addr, arp->more, addr);
}

static void send_waiting(struct apus_arp *arp, struct apus_arp_entry *e, int64_t now_ns)
{
	uint8_t count = e->waiting_count;

	if (!count)
		return;
	mark_used(arp, e, now_ns);
	arp->waiting -= count;
	e->waiting_count = 0;
	for (uint8_t i = 0; i < count; i++)
		apus_eth_output(arp->eth, e->waiting[i], &e->mac, RTE_ETHER_TYPE_IPV4, now_ns);
}

static void confirm(struct apus_arp *arp, struct apus_arp_entry *e,
		    const struct rte_ether_addr *mac, int64_t now_ns)
{
	if (has_mac(e) && !rte_is_same_ether_addr(&e->mac, mac) &&
	    now_ns - e->confirmed_at_ns < APUS_ARP_LOCK_NS) {
		arp->counters[APUS_ARP_DROP_LOCKED]++;
		return;
	}
	arp->counters[APUS_ARP_CONFIRMED]++;
	e->changes += !rte_is_same_ether_addr(&e->mac, mac);
	e->mac = *mac;
	e->state = APUS_ARP_REACHABLE;
	e->tries = 0;
	e->confirmed_at_ns = now_ns;
	wait_for(arp, e, APUS_ARP_DUE_EXPIRY, now_ns);
	send_waiting(arp, e, now_ns);
}

/* RFC 826, packet reception: merge what is known; learn from those who want to talk to us. */
static void learn(struct apus_arp *arp, const struct apus_arp_word *in, int64_t now_ns)
{
	struct apus_arp_entry *e = find(arp, in->sender);

	if (e) {
		confirm(arp, e, &in->mac, now_ns);
	} else if (in->is_request && is_ours(arp, in->target)) {
		arp->counters[APUS_ARP_LEARNED]++;
		e = enter(arp, in->sender, now_ns);
		e->state = APUS_ARP_INCOMPLETE;
		confirm(arp, e, &in->mac, now_ns);
	} else if (!in->is_request) {
		arp->counters[APUS_ARP_DROP_UNSOLICITED]++;
	}
}

static void take(struct apus_arp *arp, const struct apus_arp_word *in, int64_t now_ns)
{
	if (is_ours(arp, in->sender)) {
		defend(arp, now_ns);
		return;
	}
	if (is_neighbour(arp, in->sender)) {
		learn(arp, in, now_ns);
	} else if (in->sender !=
		   0) { /* 0: a probe asks before it has an address (RFC 5227 §2.1.1) */
		arp->counters[APUS_ARP_DROP_SENDER]++;
		return;
	}
	if (!in->is_request)
		return;
	if (!is_ours(arp, in->target)) {
		arp->counters[APUS_ARP_DROP_NOT_FOR_US]++;
		return;
	}

	struct apus_arp_word answer = {
		.sender = in->target,
		.mac = in->mac,
		.target = in->sender,
	};

	arp->counters[APUS_ARP_REPLIES_OUT]++;
	send_message(arp, RTE_ARP_OP_REPLY, &in->mac, &answer, now_ns);
}

void apus_arp_input(struct apus_arp *arp, struct rte_mbuf *m, int64_t now_ns)
{
	struct apus_arp_word in;
	bool valid = parse(arp, m, &in);

	rte_pktmbuf_free(m);
	if (!valid)
		return;
	if (arp->on_heard)
		arp->on_heard(arp->heard_arg, &in, is_ours(arp, in.target));
	take(arp, &in, now_ns);
}

void apus_arp_hearsay(struct apus_arp *arp, const struct apus_arp_word *word, int64_t now_ns)
{
	arp->counters[APUS_ARP_HEARSAY]++;
	if (!is_ours(arp, word->sender) && is_neighbour(arp, word->sender))
		learn(arp, word, now_ns);
}

/* --- packets of the room above -------------------------------------------------------------- */

static int keep_waiting(struct apus_arp *arp, struct apus_arp_entry *e, struct rte_mbuf *m)
{
	if (e->waiting_count == APUS_ARP_WAITING_MAX) {
		/* RFC 1122 §2.3.2.2: the latest is the one to keep. */
		arp->counters[APUS_ARP_DROP_WAITING_FULL]++;
		rte_pktmbuf_free(e->waiting[0]);
		e->waiting_count--;
		arp->waiting--;
		memmove(&e->waiting[0], &e->waiting[1], e->waiting_count * sizeof(e->waiting[0]));
	}
	if (arp->waiting >= arp->waiting_max) {
		arp->counters[APUS_ARP_DROP_WAITING_TOTAL]++;
		rte_pktmbuf_free(m);
		return -ENOBUFS;
	}
	e->waiting[e->waiting_count++] = m;
	arp->waiting++;
	return 0;
}

static APUS_NOINLINE int output_slow(struct apus_arp *arp, struct rte_mbuf *m, uint32_t next_hop,
				     int64_t now_ns)
{
	struct apus_arp_entry *e = find(arp, next_hop);

	if (!e) {
		e = enter(arp, next_hop, now_ns);
		e->state = APUS_ARP_INCOMPLETE;
		retry(arp, e, now_ns);
	}
	switch ((enum apus_arp_state)e->state) {
	case APUS_ARP_INCOMPLETE:
		return keep_waiting(arp, e, m);
	case APUS_ARP_REACHABLE:
	case APUS_ARP_STALE:
		arp->last = e;
		mark_used(arp, e, now_ns);
		return apus_eth_output(arp->eth, m, &e->mac, RTE_ETHER_TYPE_IPV4, now_ns);
	case APUS_ARP_FAILED:
	case APUS_ARP_FREE:
		break;
	}
	arp->counters[APUS_ARP_DROP_UNREACHABLE]++;
	rte_pktmbuf_free(m);
	return -EHOSTUNREACH;
}

int apus_arp_output(struct apus_arp *arp, struct rte_mbuf *m, uint32_t next_hop, int64_t now_ns)
{
	struct apus_arp_entry *e = arp->last;

	if (apus_unlikely(e->addr != next_hop || !has_mac(e)))
		return output_slow(arp, m, next_hop, now_ns);
	e->used_at_ns = now_ns;
	return apus_eth_output(arp->eth, m, &e->mac, RTE_ETHER_TYPE_IPV4, now_ns);
}

struct apus_arp_entry *apus_arp_settled(struct apus_arp *arp, uint32_t addr)
{
	struct apus_arp_entry *e = find(arp, addr);

	return e && has_mac(e) && e->proven ? e : NULL;
}

/* --- beginning and end ---------------------------------------------------------------------- */

int apus_arp_init(struct apus_arp *arp, struct apus_shard *shard, struct apus_eth *eth,
		  struct apus_addr addr, unsigned int prefix_bits)
{
	struct apus_heap *heap = apus_shard_heap(shard);

	*arp = (struct apus_arp){
		.eth = eth,
		.addr = apus_addr_to_v4(addr),
		.mask = prefix_bits ? rte_cpu_to_be_32(UINT32_MAX << (32 - prefix_bits)) : 0,
		.hash_key = apus_random_u64(apus_shard_random(shard)) | 1,
		.waiting_max = apus_max(eth->link->pool->size / WAITING_POOL_SHARE,
					(uint32_t)WAITING_TOTAL_MIN),
		.heap = heap,
	};
	arp->buckets = apus_heap_zalloc(heap, APUS_ARP_BUCKETS * sizeof(*arp->buckets));
	if (!arp->buckets)
		return -ENOMEM;
	arp->entries = apus_heap_zalloc(heap, APUS_ARP_ENTRIES_MAX * sizeof(*arp->entries));
	if (!arp->entries)
		goto err_free_buckets;

	arp->last = &arp->none;
	apus_list_init(&arp->free);
	apus_list_init(&arp->unproven);
	apus_list_init(&arp->proven);
	for (size_t i = 0; i < APUS_ARP_DUE_COUNT; i++)
		apus_list_init(&arp->due[i]);
	for (size_t i = 0; i < APUS_ARP_ENTRIES_MAX; i++) {
		apus_list_init(&arp->entries[i].due);
		apus_list_push_back(&arp->free, &arp->entries[i].age);
	}
	apus_timer_init(&arp->timer, on_timer);
	apus_bucket_init(&arp->requests, APUS_ARP_REQUESTS_PER_SECOND, APUS_ARP_REQUESTS_BURST);
	apus_metrics_register(apus_shard_metrics(shard), &arp->metrics, "arp", counter_names,
			      arp->counters, APUS_ARP_COUNTER_COUNT);
	return 0;

err_free_buckets:
	apus_heap_free(heap, arp->buckets);
	return -ENOMEM;
}

void apus_arp_fini(struct apus_arp *arp)
{
	apus_timer_cancel(&arp->timer);
	for (size_t i = 0; i < APUS_ARP_ENTRIES_MAX; i++)
		rte_pktmbuf_free_bulk(arp->entries[i].waiting, arp->entries[i].waiting_count);
	apus_heap_free(arp->heap, arp->entries);
	apus_heap_free(arp->heap, arp->buckets);
	apus_metrics_unregister(&arp->metrics);
}

static size_t check_list(const struct apus_list *list, bool proven)
{
	const struct apus_list *it;
	size_t count = 0;

	apus_list_for_each(it, list) {
		const struct apus_arp_entry *e = apus_list_entry(it, struct apus_arp_entry, age);

		apus_must(e->addr && e->state != APUS_ARP_FREE && e->proven == proven);
		apus_must(apus_list_linked(&e->due));
		apus_must(!e->waiting_count || e->state == APUS_ARP_INCOMPLETE);
		count++;
	}
	return count;
}

void apus_arp_check(const struct apus_arp *arp)
{
	const struct apus_list *it;
	size_t count = check_list(&arp->proven, true) + check_list(&arp->unproven, false);
	size_t chained = 0;
	uint32_t waiting = 0;

	for (size_t i = 0; i < APUS_ARP_BUCKETS; i++) {
		for (const struct apus_arp_entry *e = arp->buckets[i]; e; e = e->next) {
			chained++;
			waiting += e->waiting_count;
		}
	}
	apus_must_op(chained, ==, count);
	apus_must_op(waiting, ==, arp->waiting);
	apus_must_op(waiting, <=, arp->waiting_max);
	apus_list_for_each(it, &arp->free)
		count++;
	apus_must_op(count, ==, APUS_ARP_ENTRIES_MAX);
	for (size_t i = 0; i < APUS_ARP_DUE_COUNT; i++) {
		int64_t last_ns = INT64_MIN;

		apus_list_for_each(it, &arp->due[i]) {
			const struct apus_arp_entry *e =
				apus_list_entry(it, struct apus_arp_entry, due);

			apus_must_op(last_ns, <=, e->due_ns);
			last_ns = e->due_ns;
		}
	}
}
