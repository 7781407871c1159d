/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/io/ring.h: a shard's io_uring: the door to everything that only the kernel can do.
 *
 * What is prepared in a turn is submitted once, at its end; completions are taken in when the loop
 * polls. Asleep, the shard is woken by an eventfd, which is silent at all other times. Internal:
 * files, descriptors and the kernel's sockets are made of it.
 */
#ifndef APUS_RUNTIME_IO_RING_H
#define APUS_RUNTIME_IO_RING_H

#include "runtime/sched/shard.h"

#include <liburing.h>

APUS_BEGIN_DECLS

#define APUS_RING_SLOT (APUS_SHARD_SLOTS - 3) /* of apus_shard_slot() */

#define APUS_RING_BUFFER_BYTES 4096 /* of those that the kernel chooses to receive into */
#define APUS_RING_BUFFERS      1024
#define APUS_RING_BUFFER_GROUP 0

struct apus_ring;

/* What is under way. Embedded in its owner, which stays until the last call. */
struct apus_ring_op {
	/* @result: as the system call's; @flags: IORING_CQE_F_MORE: there will be another call */
	void (*done)(struct apus_ring_op *op, int32_t result, uint32_t flags);
};

/**
 * apus_ring_self - the current shard's ring; made when it is asked for first, gone with the shard
 *
 * Context: any, on a shard. Return: 0; -ENOSYS, -EPERM: no io_uring for this process; -ENOMEM, -EMFILE.
 */
APUS_MUST_CHECK int apus_ring_self(struct apus_ring **out);

/**
 * apus_ring_prepare - an entry to fill in by io_uring_prep_*(); it is submitted at the end of the turn
 * @op: told of completions; NULL: nobody is
 *
 * Context: any, on the shard. Return: NULL when the kernel takes no more for now.
 */
struct io_uring_sqe *apus_ring_prepare(struct apus_ring *ring, struct apus_ring_op *op);

/** apus_ring_submit - now, for who prepares in a flush of its own. Context: any, on the shard */
void apus_ring_submit(struct apus_ring *ring);

/** apus_ring_take - the buffer that a completion with IORING_CQE_F_BUFFER is in: the caller's until it gives it back. Context: any, on the shard */
uint16_t apus_ring_take(struct apus_ring *ring, uint32_t flags);
/** apus_ring_buffer - where buffer @id of the group is, APUS_RING_BUFFER_BYTES long. Context: any, on the shard */
char *apus_ring_buffer(struct apus_ring *ring, uint16_t id);
/** apus_ring_give_back - the kernel may receive into buffer @id again. Context: any, on the shard */
void apus_ring_give_back(struct apus_ring *ring, uint16_t id);
/** apus_ring_buffers_free - those that the kernel has. Context: any, on the shard */
uint32_t apus_ring_buffers_free(const struct apus_ring *ring);

APUS_END_DECLS

#endif
