/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/socket/kernel_inq.h: what was received on one of the kernel's sockets and not yet taken.
 *
 * It lies where the kernel put it, in buffers that all connections of a shard share. One whose
 * user does not read could hold all of them, and nobody else would hear a word: while less than a
 * quarter of them is free, what comes is copied to the heap and its buffer is the kernel's again.
 *
 * No socket, no operation: bytes in, views out. What was lent by a view stays where it is until it
 * is dropped.
 */
#ifndef APUS_NET_SOCKET_KERNEL_INQ_H
#define APUS_NET_SOCKET_KERNEL_INQ_H

#include "runtime/base/alloc.h"
#include "runtime/io/ring.h"

#include <sys/uio.h>

/* Shared by the queues of a shard. */
struct apus_kernel_chunks {
	struct apus_ring *ring;
	struct apus_heap *heap;
	/* Of each buffer that a queue holds. */
	struct {
		uint16_t next; /* in its queue */
		uint16_t at;   /* first byte that was not taken */
		uint16_t end;
	} of[APUS_RING_BUFFERS];
};

struct apus_kernel_copy;

struct apus_kernel_inq {
	struct apus_kernel_chunks *chunks;
	uint16_t first, last;                        /* chunks; then */
	struct apus_kernel_copy *copies, *last_copy; /* NULL: none */
	uint32_t bytes;                              /* in all */
};

void apus_kernel_inq_init(struct apus_kernel_inq *q, struct apus_kernel_chunks *chunks);
/** apus_kernel_inq_keep - @bytes came in buffer @id, which is consumed. Return: 0; -ENOMEM: they are lost */
APUS_MUST_CHECK int apus_kernel_inq_keep(struct apus_kernel_inq *q, uint16_t id, uint32_t bytes);
/** apus_kernel_inq_drop - the first @bytes <= q->bytes are done with: their buffers are the kernel's again */
void apus_kernel_inq_drop(struct apus_kernel_inq *q, size_t bytes);
/** apus_kernel_inq_view - the first bytes, in at most @n pieces. Return: how many */
int apus_kernel_inq_view(const struct apus_kernel_inq *q, struct iovec *views, int n);

#endif
