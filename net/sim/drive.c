/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/sim/drive.c: a host driven from outside: its link is one of net/link/l3.h, behind the same
 * impairments that other hosts have.
 *
 * What is collected is in the world's digest, as frames on a wire are.
 *
 * Entry points: apus_sim_drive(), apus_sim_inject(), apus_sim_collect(), apus_sim_call().
 */
#include "net/sim/drive.h"
#include "net/sim/internal.h"
#include "runtime/base/check.h"

#include <errno.h>
#include <string.h>

#define PLACE_DRIVEN (UINT64_C(1) << 63) /* in the digest: no cable has this number */

int apus_sim_drive(struct apus_sim_host *h, const struct apus_sim_drive_options *options)
{
	static const struct apus_sim_drive_options defaults;
	struct apus_l3_options l3 = {.pool = h->pool, .sent_pool = h->world->pool};
	struct apus_shard *before;
	struct apus_link *end;
	int rc;

	if (h->members[0].stack)
		return -EALREADY;
	if (h->count > 1)
		return -EINVAL; /* what it is given is no Ethernet: nobody can say whose it is */
	options = options ? options : &defaults;
	l3.queue_packets = options->queue_packets;
	l3.mtu = options->mtu;
	before = apus_shard_enter(h->members[0].shard);
	rc = apus_l3_open(&h->world->heap, &l3, &end);
	if (rc == 0) {
		h->is_driven = true;
		rc = apus_sim_host_attach(h, end, &(struct apus_impair_options){0});
	}
	apus_shard_enter(before);
	return rc;
}

int apus_sim_inject(struct apus_sim_host *h, const void *packet, size_t bytes)
{
	apus_must(h->is_driven && h->end);
	return apus_l3_inject(h->end, packet, bytes);
}

size_t apus_sim_collect(struct apus_sim_host *h, void *buf, size_t bytes, int64_t *sent_at_ns)
{
	struct rte_mbuf *m;
	int64_t at_ns;
	size_t whole;
	const void *data;

	apus_must(h->is_driven && h->end);
	m = apus_l3_collect(h->end, &at_ns);
	if (!m)
		return 0;
	apus_sim_digest_frame(h->world, PLACE_DRIVEN, m, at_ns);
	if (sent_at_ns)
		*sent_at_ns = at_ns;
	whole = m->pkt_len;
	data = rte_pktmbuf_read(m, 0, (uint32_t)apus_min(whole, bytes), buf);
	if (data != buf)
		memcpy(buf, data, apus_min(whole, bytes));
	rte_pktmbuf_free(m);
	return whole;
}

size_t apus_sim_uncollected(const struct apus_sim_host *h)
{
	return h->is_driven && h->end ? apus_l3_waiting(h->end) : 0;
}

int64_t apus_sim_call(struct apus_sim_host *h, apus_task_fn fn, void *arg)
{
	struct apus_shard *before = apus_shard_enter(h->members[0].shard);
	int64_t result;

	/* A shard knows the time of its last turn only. */
	if (apus_sim_host_runs(h))
		apus_shard_turn(h->members[0].shard);
	result = fn(arg);
	apus_shard_enter(before);
	return result;
}
