/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/socket/kernel_inq.c: received bytes that wait to be taken; see kernel_inq.h.
 *
 * Chunks come before copies: while there are copies, what comes is copied, so that the order stands.
 */
#include "net/socket/kernel_inq.h"

#include "runtime/base/check.h"

#include <errno.h>
#include <string.h>

#define NO_CHUNK UINT16_MAX
#define SCARCE   (APUS_RING_BUFFERS / 4)

struct apus_kernel_copy {
	struct apus_kernel_copy *next;
	uint32_t at, end; /* as of a chunk */
	char bytes[];
};

void apus_kernel_inq_init(struct apus_kernel_inq *q, struct apus_kernel_chunks *chunks)
{
	*q = (struct apus_kernel_inq){.chunks = chunks, .first = NO_CHUNK, .last = NO_CHUNK};
}

static int keep_copy(struct apus_kernel_inq *q, uint16_t id, uint32_t bytes)
{
	struct apus_kernel_chunks *chunks = q->chunks;
	struct apus_kernel_copy *copy = apus_heap_alloc(chunks->heap, sizeof(*copy) + bytes);

	if (copy) {
		*copy = (struct apus_kernel_copy){.end = bytes};
		memcpy(copy->bytes, apus_ring_buffer(chunks->ring, id), bytes);
	}
	apus_ring_give_back(chunks->ring, id);
	if (!copy)
		return -ENOMEM;
	if (q->copies)
		q->last_copy->next = copy;
	else
		q->copies = copy;
	q->last_copy = copy;
	q->bytes += bytes;
	return 0;
}

int apus_kernel_inq_keep(struct apus_kernel_inq *q, uint16_t id, uint32_t bytes)
{
	struct apus_kernel_chunks *chunks = q->chunks;

	if (apus_unlikely(q->copies || apus_ring_buffers_free(chunks->ring) < SCARCE))
		return keep_copy(q, id, bytes);
	chunks->of[id].next = NO_CHUNK;
	chunks->of[id].at = 0;
	chunks->of[id].end = (uint16_t)bytes;
	if (q->first == NO_CHUNK)
		q->first = id;
	else
		chunks->of[q->last].next = id;
	q->last = id;
	q->bytes += bytes;
	return 0;
}

/* Of the first chunk. Return: how many of the @bytes */
static size_t drop_chunk(struct apus_kernel_inq *q, size_t bytes)
{
	struct apus_kernel_chunks *chunks = q->chunks;
	uint16_t id = q->first;
	size_t n = apus_min(bytes, (size_t)(chunks->of[id].end - chunks->of[id].at));

	chunks->of[id].at += (uint16_t)n;
	if (chunks->of[id].at == chunks->of[id].end) {
		q->first = chunks->of[id].next;
		apus_ring_give_back(chunks->ring, id);
	}
	return n;
}

/* The same of the first copy. */
static size_t drop_copy(struct apus_kernel_inq *q, size_t bytes)
{
	struct apus_kernel_copy *copy = q->copies;
	size_t n = apus_min(bytes, (size_t)(copy->end - copy->at));

	copy->at += (uint32_t)n;
	if (copy->at == copy->end) {
		q->copies = copy->next;
		apus_heap_free(q->chunks->heap, copy);
	}
	return n;
}

void apus_kernel_inq_drop(struct apus_kernel_inq *q, size_t bytes)
{
	apus_must(bytes <= q->bytes);
	q->bytes -= (uint32_t)bytes;
	while (bytes)
		bytes -= q->first != NO_CHUNK ? drop_chunk(q, bytes) : drop_copy(q, bytes);
}

int apus_kernel_inq_view(const struct apus_kernel_inq *q, struct iovec *views, int n)
{
	const struct apus_kernel_chunks *chunks = q->chunks;
	int count = 0;

	for (uint16_t id = q->first; id != NO_CHUNK && count < n; id = chunks->of[id].next)
		views[count++] = (struct iovec){
			apus_ring_buffer(chunks->ring, id) + chunks->of[id].at,
			(size_t)(chunks->of[id].end - chunks->of[id].at),
		};
	for (struct apus_kernel_copy *copy = q->copies; copy && count < n; copy = copy->next)
		views[count++] = (struct iovec){copy->bytes + copy->at, copy->end - copy->at};
	return count;
}
