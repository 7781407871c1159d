/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/io/ring.c: a shard's io_uring; see ring.h.
 *
 * Task work is cooperative (IORING_SETUP_COOP_TASKRUN): the kernel does not interrupt a running
 * shard, it says by a flag that there is something to be taken in, and liburing's peek then asks for
 * it. The descriptor that wakes a sleeping shard gets no event otherwise, which would be a write
 * for each completion.
 */
#include "runtime/io/ring.h"

#include "runtime/base/check.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define ENTRIES   1024
#define CQ_FACTOR 8
#define BATCH     64

struct apus_ring {
	struct apus_poller poller;
	struct apus_closer closer;
	struct apus_shard *shard;
	struct io_uring uring;
	int event_fd;
	struct io_uring_buf_ring *buffers; /* and behind it what it is about */
	char *memory;
	uint32_t buffers_free;
};

static const size_t buffers_bytes = APUS_RING_BUFFERS * sizeof(struct io_uring_buf);
static const size_t memory_bytes = (size_t)APUS_RING_BUFFERS * APUS_RING_BUFFER_BYTES;

/* --- The poller ---------------------------------------------------------------------------- */

static bool ring_poll(struct apus_poller *p, int64_t now_ns)
{
	struct apus_ring *ring = apus_container_of(p, struct apus_ring, poller);
	struct io_uring_cqe *cqes[BATCH];
	unsigned int n = io_uring_peek_batch_cqe(&ring->uring, cqes, BATCH);

	for (unsigned int i = 0; i < n; i++) {
		struct apus_ring_op *op = io_uring_cqe_get_data(cqes[i]);

		if (op)
			op->done(op, cqes[i]->res, cqes[i]->flags);
	}
	io_uring_cq_advance(&ring->uring, n);
	return n > 0;
}

static void ring_flush(struct apus_poller *p, int64_t now_ns)
{
	struct apus_ring *ring = apus_container_of(p, struct apus_ring, poller);

	/* What it does not take now stays prepared, for the end of the next turn. */
	if (io_uring_sq_ready(&ring->uring))
		(void)io_uring_submit(&ring->uring);
}

static int64_t ring_idle(struct apus_poller *p, enum apus_idle what, int64_t now_ns)
{
	struct apus_ring *ring = apus_container_of(p, struct apus_ring, poller);
	eventfd_t rings;

	if (what == APUS_IDLE_ARM)
		(void)io_uring_cq_eventfd_toggle(&ring->uring, true);
	if (what == APUS_IDLE_WAKE) {
		(void)io_uring_cq_eventfd_toggle(&ring->uring, false);
		(void)eventfd_read(ring->event_fd, &rings);
	}
	if (io_uring_sq_ready(&ring->uring) || io_uring_cq_ready(&ring->uring))
		return now_ns;
	return APUS_NEVER;
}

static const struct apus_poller_type ring_type = {
	.name = "io_uring",
	.poll = ring_poll,
	.flush = ring_flush,
	.idle = ring_idle,
};

/* --- From open to close -------------------------------------------------------------------- */

static void give_back(struct apus_ring *ring, uint16_t id, int at)
{
	io_uring_buf_ring_add(ring->buffers, ring->memory + (size_t)id * APUS_RING_BUFFER_BYTES,
			      APUS_RING_BUFFER_BYTES, id, io_uring_buf_ring_mask(APUS_RING_BUFFERS),
			      at);
	ring->buffers_free++;
}

static int open_buffers(struct apus_ring *ring)
{
	struct io_uring_buf_reg reg = {.ring_entries = APUS_RING_BUFFERS,
				       .bgid = APUS_RING_BUFFER_GROUP};
	void *memory = mmap(NULL, buffers_bytes + memory_bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int rc;

	if (memory == MAP_FAILED)
		return -errno;
	ring->buffers = memory;
	ring->memory = (char *)memory + buffers_bytes;
	reg.ring_addr = (uintptr_t)memory;
	rc = io_uring_register_buf_ring(&ring->uring, &reg, 0);
	if (rc) {
		munmap(memory, buffers_bytes + memory_bytes);
		return rc;
	}
	io_uring_buf_ring_init(ring->buffers);
	for (uint16_t id = 0; id < APUS_RING_BUFFERS; id++)
		give_back(ring, id, id);
	io_uring_buf_ring_advance(ring->buffers, APUS_RING_BUFFERS);
	return 0;
}

static void close_buffers(struct apus_ring *ring)
{
	io_uring_unregister_buf_ring(&ring->uring, APUS_RING_BUFFER_GROUP);
	munmap(ring->buffers, buffers_bytes + memory_bytes);
}

static int open_bell(struct apus_ring *ring)
{
	int rc;

	ring->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ring->event_fd < 0)
		return -errno;
	rc = io_uring_register_eventfd(&ring->uring, ring->event_fd);
	if (!rc)
		rc = io_uring_cq_eventfd_toggle(&ring->uring, false);
	if (!rc)
		rc = apus_shard_watch(ring->shard, ring->event_fd, APUS_WAKER_RING);
	if (rc)
		close(ring->event_fd);
	return rc;
}

static int open_uring(struct io_uring *uring)
{
	struct io_uring_params params = {
		.flags =
			IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_CQSIZE,
		.cq_entries = CQ_FACTOR * ENTRIES,
	};

	return io_uring_queue_init_params(ENTRIES, uring, &params);
}

static void ring_close(struct apus_closer *closer)
{
	struct apus_ring *ring = apus_container_of(closer, struct apus_ring, closer);

	apus_poller_unregister(&ring->poller);
	apus_shard_unwatch(ring->shard, ring->event_fd);
	close(ring->event_fd);
	close_buffers(ring);
	io_uring_queue_exit(&ring->uring);
	apus_shard_set_slot(ring->shard, APUS_RING_SLOT, NULL);
	apus_heap_free(apus_shard_heap(ring->shard), ring);
}

static int ring_open(struct apus_shard *shard, struct apus_ring **out)
{
	struct apus_ring *ring = apus_heap_alloc(apus_shard_heap(shard), sizeof(*ring));
	int rc;

	if (!ring)
		return -ENOMEM;
	ring->shard = shard;
	ring->buffers_free = 0;
	rc = open_uring(&ring->uring);
	if (rc)
		goto err_free;
	rc = open_buffers(ring);
	if (rc)
		goto err_uring;
	rc = open_bell(ring);
	if (rc)
		goto err_buffers;
	ring->closer.close = ring_close;
	apus_shard_at_close(shard, &ring->closer);
	apus_poller_register(shard, &ring->poller, &ring_type);
	apus_shard_set_slot(shard, APUS_RING_SLOT, ring);
	*out = ring;
	return 0;

err_buffers:
	close_buffers(ring);
err_uring:
	io_uring_queue_exit(&ring->uring);
err_free:
	apus_heap_free(apus_shard_heap(shard), ring);
	return rc;
}

int apus_ring_self(struct apus_ring **out)
{
	struct apus_shard *shard = apus_shard_self();
	struct apus_ring *ring = apus_shard_slot(shard, APUS_RING_SLOT);

	if (!ring)
		return ring_open(shard, out);
	*out = ring;
	return 0;
}

/* --- Operations ---------------------------------------------------------------------------- */

struct io_uring_sqe *apus_ring_prepare(struct apus_ring *ring, struct apus_ring_op *op)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);

	if (!sqe && io_uring_submit(&ring->uring) > 0)
		sqe = io_uring_get_sqe(&ring->uring);
	if (sqe)
		io_uring_sqe_set_data(sqe, op);
	return sqe;
}

void apus_ring_submit(struct apus_ring *ring)
{
	ring_flush(&ring->poller, 0);
}

uint16_t apus_ring_take(struct apus_ring *ring, uint32_t flags)
{
	apus_assert(flags & IORING_CQE_F_BUFFER && ring->buffers_free > 0);
	ring->buffers_free--;
	return (uint16_t)(flags >> IORING_CQE_BUFFER_SHIFT);
}

char *apus_ring_buffer(struct apus_ring *ring, uint16_t id)
{
	apus_must(id < APUS_RING_BUFFERS);
	return ring->memory + (size_t)id * APUS_RING_BUFFER_BYTES;
}

void apus_ring_give_back(struct apus_ring *ring, uint16_t id)
{
	give_back(ring, id, 0);
	io_uring_buf_ring_advance(ring->buffers, 1);
}

uint32_t apus_ring_buffers_free(const struct apus_ring *ring)
{
	return ring->buffers_free;
}
