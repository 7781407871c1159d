/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/lent.c: the counting of lent buffers, and their way back: see lent.h.
 *
 * DPDK counts (rte_mbuf_ext_shared_info) and calls on the last free, which may be an ACK's, a
 * driver's in the middle of a burst, or another host's in a simulated world. So that call only puts
 * the buffer on a list; the owner's function runs in the loop, where it may call what it likes.
 *
 * A stack can end before its frames do: the link is closed after the layer. What comes back then is
 * told at once, and the lender goes with the last one.
 *
 * Invariant: out = buffers from the slab that were not told.
 */
#include "net/tcp/lent.h"

#include "runtime/base/check.h"

struct apus_tcp_lender *apus_tcp_lender_open(struct apus_heap *heap)
{
	struct apus_tcp_lender *lender = apus_heap_zalloc(heap, sizeof(*lender));

	if (!lender)
		return NULL;
	lender->heap = heap;
	apus_slab_init(&lender->slab, heap, sizeof(struct apus_tcp_lent), APUS_TCP_LENT_MAX);
	apus_list_init(&lender->back);
	return lender;
}

/* The last one came back to a lender without a layer. */
static void end(struct apus_tcp_lender *lender)
{
	if (!lender->is_closed || lender->slab.used)
		return;
	apus_slab_fini(&lender->slab);
	apus_heap_free(lender->heap, lender);
}

void apus_tcp_lender_close(struct apus_tcp_lender *lender)
{
	apus_tcp_lender_flush(lender);
	lender->is_closed = true;
	end(lender);
}

static void tell(struct apus_tcp_lent *lent)
{
	struct apus_tcp_lender *lender = lent->lender;
	void (*done)(void *arg) = lent->done;
	void *arg = lent->arg;

	apus_slab_put(&lender->slab, lent);
	done(arg);
}

/* Nobody names it any more. Context: any, whatever shard is current. */
static void came_back(void *addr, void *opaque)
{
	struct apus_tcp_lent *lent = opaque;
	struct apus_tcp_lender *lender = lent->lender;

	if (!lender->is_closed) {
		apus_list_push_back(&lender->back, &lent->link);
		return;
	}
	tell(lent);
	end(lender);
}

struct apus_tcp_lent *apus_tcp_lend(struct apus_tcp_lender *lender, void (*done)(void *arg),
				    void *arg)
{
	struct apus_tcp_lent *lent = apus_slab_get(&lender->slab);

	if (!lent)
		return NULL;
	*lent = (struct apus_tcp_lent){
		.shinfo = {.free_cb = came_back, .fcb_opaque = lent},
		.lender = lender,
		.done = done,
		.arg = arg,
	};
	rte_mbuf_ext_refcnt_set(&lent->shinfo, 1);
	return lent;
}

void apus_tcp_lent_put(struct apus_tcp_lent *lent)
{
	if (rte_mbuf_ext_refcnt_update(&lent->shinfo, -1) == 0)
		came_back(NULL, lent);
}

void apus_tcp_lender_flush(struct apus_tcp_lender *lender)
{
	struct apus_list *node;

	while ((node = apus_list_pop_front(&lender->back)))
		tell(apus_list_entry(node, struct apus_tcp_lent, link));
}

uint32_t apus_tcp_lender_out(const struct apus_tcp_lender *lender)
{
	return lender->slab.used;
}
