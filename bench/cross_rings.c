/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/cross_rings.c: rings between two threads that spin: that of runtime/cross beside others.
 *
 * ring/round_trip/RING is one pointer there and back; an operation is the whole trip. ring/stream/RING
 * is pointers one way, put in and taken out 32 at a time. The rings:
 *
 *	line    ours: seven pointers and the line's number in each line of 64 bytes
 *	slot    a flag per slot: an empty slot is NULL, the consumer writes it so
 *	slot64  the same, each slot in a line of its own
 *	cached  two shared indices, each side with a copy of the other's that it renews when it must
 *	rte     DPDK's rte_ring, single producer and consumer
 *	ck      Concurrency Kit's ck_ring
 */
#include "bench/cross.h"
#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/cross/ring.h"

#include <rte_ring.h>
#include <stdlib.h>
#include <string.h>
#if APUS_BENCH_CK
# include <ck_ring.h>
#endif

#define SLOTS 1024
#define BATCH 32

/* ------------------------------------------------------------------------------------ candidates */

struct line_ring {
	struct apus_ring_line lines[SLOTS / 8];
	struct apus_ring_freed freed;
	struct apus_ring_out out APUS_ALIGNED(APUS_RING_APART);
	struct apus_ring_in in APUS_ALIGNED(APUS_RING_APART);
} APUS_ALIGNED(APUS_RING_APART);

static void line_init(struct line_ring *r)
{
	memset(r, 0, sizeof(*r));
	apus_ring_init(&r->out, &r->in, r->lines, SLOTS / 8, &r->freed);
}

static inline unsigned int line_push(struct line_ring *r, const uint64_t *v, unsigned int n)
{
	uint64_t last[APUS_RING_WORDS] = {0};
	unsigned int done = 0;

	for (; n - done >= APUS_RING_WORDS; done += APUS_RING_WORDS) {
		if (!apus_ring_has_room(&r->out, 1))
			return done;
		apus_ring_publish(&r->out, v + done, APUS_RING_WORDS);
	}
	if (done == n || !apus_ring_has_room(&r->out, 1))
		return done;
	for (unsigned int i = 0; done + i < n; i++)
		last[i] = v[done + i];
	apus_ring_publish(&r->out, last, n - done);
	return n;
}

static inline unsigned int line_pop(struct line_ring *r, uint64_t *v, unsigned int most)
{
	unsigned int got = 0, k;
	const uint64_t *words;

	while (got + APUS_RING_WORDS <= most && (words = apus_ring_peek(&r->in, &k))) {
		for (unsigned int i = 0; i < k; i++)
			v[got + i] = words[i];
		got += k;
		apus_ring_take(&r->in);
	}
	return got;
}

#define SLOT_RING(name, words_each)                                                               \
 struct name##_ring {                                                                             \
  uint64_t slots[SLOTS * (words_each)];                                                           \
  uint64_t head APUS_ALIGNED(APUS_RING_APART);                                                    \
  uint64_t tail APUS_ALIGNED(APUS_RING_APART);                                                    \
 } APUS_ALIGNED(APUS_RING_APART);                                                                 \
 static void name##_init(struct name##_ring *r)                                                   \
 {                                                                                                \
  memset(r, 0, sizeof(*r));                                                                       \
 }                                                                                                \
 static inline unsigned int name##_push(struct name##_ring *r, const uint64_t *v, unsigned int n) \
 {                                                                                                \
  unsigned int i;                                                                                 \
  for (i = 0; i < n; i++, r->head++) {                                                            \
   uint64_t *slot = &r->slots[(r->head & (SLOTS - 1)) * (words_each)];                            \
   if (__atomic_load_n(slot, __ATOMIC_ACQUIRE))                                                   \
    break;                                                                                        \
   __atomic_store_n(slot, v[i], __ATOMIC_RELEASE);                                                \
  }                                                                                               \
  return i;                                                                                       \
 }                                                                                                \
 static inline unsigned int name##_pop(struct name##_ring *r, uint64_t *v, unsigned int most)     \
 {                                                                                                \
  unsigned int i;                                                                                 \
  for (i = 0; i < most; i++, r->tail++) {                                                         \
   uint64_t *slot = &r->slots[(r->tail & (SLOTS - 1)) * (words_each)];                            \
   v[i] = __atomic_load_n(slot, __ATOMIC_ACQUIRE);                                                \
   if (!v[i])                                                                                     \
    break;                                                                                        \
   __atomic_store_n(slot, 0, __ATOMIC_RELEASE);                                                   \
  }                                                                                               \
  return i;                                                                                       \
 }
SLOT_RING(slot, 1)
SLOT_RING(slot64, 8)

struct cached_ring {
	uint64_t slots[SLOTS];
	struct {
		uint64_t head, tail_seen;
	} producer APUS_ALIGNED(APUS_RING_APART);
	struct {
		uint64_t tail, head_seen;
	} consumer APUS_ALIGNED(APUS_RING_APART);
} APUS_ALIGNED(APUS_RING_APART);

static void cached_init(struct cached_ring *r)
{
	memset(r, 0, sizeof(*r));
}

static inline unsigned int cached_push(struct cached_ring *r, const uint64_t *v, unsigned int n)
{
	uint64_t head = r->producer.head;

	if (head + n - r->producer.tail_seen > SLOTS) {
		r->producer.tail_seen = __atomic_load_n(&r->consumer.tail, __ATOMIC_ACQUIRE);
		n = (unsigned int)apus_min(n, SLOTS - (head - r->producer.tail_seen));
	}
	for (unsigned int i = 0; i < n; i++)
		r->slots[(head + i) & (SLOTS - 1)] = v[i];
	__atomic_store_n(&r->producer.head, head + n, __ATOMIC_RELEASE);
	return n;
}

static inline unsigned int cached_pop(struct cached_ring *r, uint64_t *v, unsigned int most)
{
	uint64_t tail = r->consumer.tail;

	if (tail == r->consumer.head_seen)
		r->consumer.head_seen = __atomic_load_n(&r->producer.head, __ATOMIC_ACQUIRE);

	unsigned int n = (unsigned int)apus_min(r->consumer.head_seen - tail, most);

	for (unsigned int i = 0; i < n; i++)
		v[i] = r->slots[(tail + i) & (SLOTS - 1)];
	if (n)
		__atomic_store_n(&r->consumer.tail, tail + n, __ATOMIC_RELEASE);
	return n;
}

struct rte_ring_of_ours {
	char memory[SLOTS * 8 + 1024];
} APUS_ALIGNED(APUS_RING_APART);

static void rte_ring_prepare(struct rte_ring_of_ours *r)
{
	apus_must(sizeof(r->memory) >= (size_t)rte_ring_get_memsize(SLOTS));
	apus_must(rte_ring_init((void *)r->memory, "bench", SLOTS, RING_F_SP_ENQ | RING_F_SC_DEQ) ==
		  0);
}

static inline unsigned int rte_ring_push(struct rte_ring_of_ours *r, const uint64_t *v,
					 unsigned int n)
{
	return rte_ring_sp_enqueue_burst((void *)r->memory, (void *const *)v, n, NULL);
}

static inline unsigned int rte_ring_pop(struct rte_ring_of_ours *r, uint64_t *v, unsigned int most)
{
	return rte_ring_sc_dequeue_burst((void *)r->memory, (void **)v, most, NULL);
}

#if APUS_BENCH_CK
struct ck_ring_ours {
	ck_ring_t ring;
	ck_ring_buffer_t buffer[SLOTS] APUS_ALIGNED(APUS_RING_APART);
} APUS_ALIGNED(APUS_RING_APART);

static void ck_prepare(struct ck_ring_ours *r)
{
	ck_ring_init(&r->ring, SLOTS);
}

static inline unsigned int ck_push(struct ck_ring_ours *r, const uint64_t *v, unsigned int n)
{
	unsigned int i = 0;

	while (i < n && ck_ring_enqueue_spsc(&r->ring, r->buffer, (void *)(uintptr_t)v[i]))
		i++;
	return i;
}

static inline unsigned int ck_pop(struct ck_ring_ours *r, uint64_t *v, unsigned int most)
{
	unsigned int i = 0;
	void *p;

	while (i < most && ck_ring_dequeue_spsc(&r->ring, r->buffer, &p))
		v[i++] = (uintptr_t)p;
	return i;
}
#endif

/* -------------------------------------------------------------------------- two threads and a ring */

#define BENCH_RING(name, type, init, push, pop)                   \
 static struct type name##_there, name##_back;                    \
 static void *name##_echo(void *arg)                              \
 {                                                                \
  uint64_t v[BATCH], left = *(uint64_t *)arg;                     \
  while (left) {                                                  \
   unsigned int n = pop(&name##_there, v, BATCH), done = 0;       \
   if (!n)                                                        \
    cross_pause();                                                \
   while (done < n)                                               \
    done += push(&name##_back, v + done, n - done);               \
   left -= n;                                                     \
  }                                                               \
  return NULL;                                                    \
 }                                                                \
 static double name##_round_trip(uint64_t n)                      \
 {                                                                \
  uint64_t v[BATCH] = {8}, got[BATCH];                            \
  init(&name##_there);                                            \
  init(&name##_back);                                             \
  pthread_t thread = cross_start_on(1, name##_echo, &n);          \
  int64_t begin_ns = apus_clock_host_ns();                        \
  for (uint64_t i = 0; i < n; i++) {                              \
   push(&name##_there, v, 1);                                     \
   while (!pop(&name##_back, got, BATCH))                         \
    cross_pause();                                                \
  }                                                               \
  int64_t end_ns = apus_clock_host_ns();                          \
  pthread_join(thread, NULL);                                     \
  return (double)(end_ns - begin_ns) / (double)n;                 \
 }                                                                \
 static void *name##_sink(void *arg)                              \
 {                                                                \
  uint64_t v[BATCH], left = *(uint64_t *)arg, sum = 0;            \
  while (left) {                                                  \
   unsigned int n = pop(&name##_there, v, BATCH);                 \
   if (!n)                                                        \
    cross_pause();                                                \
   for (unsigned int i = 0; i < n; i++)                           \
    sum += v[i];                                                  \
   left -= n;                                                     \
  }                                                               \
  *(uint64_t *)arg = sum;                                         \
  return NULL;                                                    \
 }                                                                \
 static double name##_stream(uint64_t n)                          \
 {                                                                \
  uint64_t v[BATCH], sum;                                         \
  n = (n + BATCH - 1) / BATCH * BATCH;                            \
  sum = n;                                                        \
  init(&name##_there);                                            \
  pthread_t thread = cross_start_on(1, name##_sink, &sum);        \
  int64_t begin_ns = apus_clock_host_ns();                        \
  for (uint64_t i = 0; i < n; i += BATCH) {                       \
   unsigned int done = 0;                                         \
   for (unsigned int k = 0; k < BATCH; k++)                       \
    v[k] = (i + k + 1) * 8;                                       \
   while (done < BATCH) {                                         \
    unsigned int k = push(&name##_there, v + done, BATCH - done); \
    if (!k)                                                       \
     cross_pause();                                               \
    done += k;                                                    \
   }                                                              \
  }                                                               \
  pthread_join(thread, NULL);                                     \
  apus_must(sum == n * (n + 1) / 2 * 8);                          \
  return (double)(apus_clock_host_ns() - begin_ns) / (double)n;   \
 }

BENCH_RING(line, line_ring, line_init, line_push, line_pop)
BENCH_RING(slot, slot_ring, slot_init, slot_push, slot_pop)
BENCH_RING(slot64, slot64_ring, slot64_init, slot64_push, slot64_pop)
BENCH_RING(cached, cached_ring, cached_init, cached_push, cached_pop)
BENCH_RING(rte, rte_ring_of_ours, rte_ring_prepare, rte_ring_push, rte_ring_pop)
#if APUS_BENCH_CK
BENCH_RING(ck, ck_ring_ours, ck_prepare, ck_push, ck_pop)
#endif

/* ------------------------------------------------------------------------------------------- all */

const struct cross_bench cross_rings[] = {
	{"ring/round_trip/line", line_round_trip, 1000000},
	{"ring/round_trip/slot", slot_round_trip, 1000000},
	{"ring/round_trip/slot64", slot64_round_trip, 1000000},
	{"ring/round_trip/cached", cached_round_trip, 1000000},
	{"ring/round_trip/rte", rte_round_trip, 1000000},
#if APUS_BENCH_CK
	{"ring/round_trip/ck", ck_round_trip, 1000000},
#endif
	{"ring/stream/line", line_stream, 32000000},
	{"ring/stream/slot", slot_stream, 32000000},
	{"ring/stream/slot64", slot64_stream, 32000000},
	{"ring/stream/cached", cached_stream, 32000000},
	{"ring/stream/rte", rte_stream, 32000000},
#if APUS_BENCH_CK
	{"ring/stream/ck", ck_stream, 32000000},
#endif
	{.name = NULL},
};
