/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/cross.c: what it costs to talk from core to core: the ring of runtime/cross beside others of
 * its kind, and calls between two shards.
 *
 *	cross             lists the names and how many operations to ask for
 *	cross NAME COUNT  does it on cores 0 and 1, and prints nanoseconds per operation
 *
 * ring/round_trip/RING is one pointer there and back between two threads that spin; an operation is
 * the whole trip. ring/stream/RING is pointers one way, put in and taken out 32 at a time. The rings:
 *
 *	line    ours: seven pointers and the line's number in each line of 64 bytes
 *	slot    a flag per slot: an empty slot is NULL, the consumer writes it so
 *	slot64  the same, each slot in a line of its own
 *	cached  two shared indices, each side with a copy of the other's that it renews when it must
 *	rte     DPDK's rte_ring, single producer and consumer
 *	ck      Concurrency Kit's ck_ring
 *
 * call/N is apus_call_on() from N tasks of one shard to the other, per call; post is apus_post_to();
 * wake/call is the time from a call to the begin of its function on a shard that sleeps, the median;
 * wake/eventfd the same of a thread in epoll that an eventfd wakes. message/32 is 32 nodes of the sender's sent there and back at once, per node.
 */
#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/cross/call.h"
#include "runtime/cross/ring.h"
#include "runtime/sched/shard.h"

#include <errno.h>
#include <pthread.h>
#include <rte_ring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#if APUS_BENCH_CK
# include <ck_ring.h>
#endif

#define SLOTS 1024
#define BATCH 32

static inline void pause_cpu(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("isb");
#endif
}

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

static void pin_to(pthread_attr_t *attr, int core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	apus_must(pthread_attr_setaffinity_np(attr, sizeof(set), &set) == 0);
}

static pthread_t start_on(int core, void *(*run)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;

	apus_must(pthread_attr_init(&attr) == 0);
	pin_to(&attr, core);
	apus_must(pthread_create(&thread, &attr, run, arg) == 0);
	pthread_attr_destroy(&attr);
	return thread;
}

static void pin_self(int core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	apus_must(pthread_setaffinity_np(pthread_self(), sizeof(set), &set) == 0);
}

#define BENCH_RING(name, type, init, push, pop)                   \
 static struct type name##_there, name##_back;                    \
 static void *name##_echo(void *arg)                              \
 {                                                                \
  uint64_t v[BATCH], left = *(uint64_t *)arg;                     \
  while (left) {                                                  \
   unsigned int n = pop(&name##_there, v, BATCH), done = 0;       \
   if (!n)                                                        \
    pause_cpu();                                                  \
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
  pthread_t thread = start_on(1, name##_echo, &n);                \
  int64_t begin_ns = apus_clock_host_ns();                        \
  for (uint64_t i = 0; i < n; i++) {                              \
   push(&name##_there, v, 1);                                     \
   while (!pop(&name##_back, got, BATCH))                         \
    pause_cpu();                                                  \
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
    pause_cpu();                                                  \
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
  pthread_t thread = start_on(1, name##_sink, &sum);              \
  int64_t begin_ns = apus_clock_host_ns();                        \
  for (uint64_t i = 0; i < n; i += BATCH) {                       \
   unsigned int done = 0;                                         \
   for (unsigned int k = 0; k < BATCH; k++)                       \
    v[k] = (i + k + 1) * 8;                                       \
   while (done < BATCH) {                                         \
    unsigned int k = push(&name##_there, v + done, BATCH - done); \
    if (!k)                                                       \
     pause_cpu();                                                 \
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

/* ------------------------------------------------------------------------------------ two shards */

static struct {
	struct apus_shard *shards[2];
	uint64_t left; /* calls to be made */
	unsigned int callers;
	int64_t elapsed_ns;
	bool stop;
	bool sleeps; /* the other does, when it has nothing to do */
} job;

static void *turn_the_other(void *arg)
{
	struct apus_shard *shard = job.shards[1];

	apus_shard_enter(shard);
	while (!__atomic_load_n(&job.stop, __ATOMIC_ACQUIRE))
		if (!apus_shard_turn(shard))
			pause_cpu();
	apus_shard_enter(NULL);
	return NULL;
}

static void *sleep_on_the_other(void *arg);

static int64_t nothing(void *arg)
{
	return 0;
}

static int64_t call_repeatedly(void *arg)
{
	while (job.left) {
		job.left--;
		apus_must(apus_call_on(1, nothing, NULL) == 0);
	}
	return 0;
}

static int64_t call_from_all(void *arg)
{
	struct apus_task *tasks[256] = {NULL};
	int64_t begin_ns = apus_clock_host_ns();

	for (unsigned int i = 0; i < job.callers; i++)
		tasks[i] = apus_spawn(call_repeatedly, NULL);
	for (unsigned int i = 0; i < job.callers; i++)
		apus_must(apus_await(tasks[i]) == 0);
	job.elapsed_ns = apus_clock_host_ns() - begin_ns;
	return 0;
}

static uint64_t posts_ended;

static int64_t count_post(void *arg)
{
	posts_ended++;
	return 0;
}

static int64_t read_posts(void *arg)
{
	return (int64_t)posts_ended;
}

static int64_t post_repeatedly(void *arg)
{
	int64_t begin_ns = apus_clock_host_ns();
	uint64_t n = job.left;

	for (uint64_t i = 0; i < n; i++)
		apus_must(apus_post_to(1, count_post, NULL) == 0);
	apus_must(apus_call_on(1, read_posts, NULL) == (int64_t)n); /* behind them all */
	job.elapsed_ns = apus_clock_host_ns() - begin_ns;
	return 0;
}

/* Nodes of our own that go there and come back, 32 at a time. */
static struct node {
	struct apus_message message;
	uint64_t value;
} APUS_ALIGNED(64) nodes[BATCH];

static struct {
	struct apus_task *sender;
	unsigned int out;
} messages;

static void come_back(struct apus_message *message)
{
	if (--messages.out == 0)
		apus_task_cancel(messages.sender); /* wakes it */
}

static void turn_round(struct apus_message *message)
{
	apus_container_of(message, struct node, message)->value++;
	message->fn = come_back;
	apus_message_reply(message);
}

static int64_t send_repeatedly(void *arg)
{
	int64_t begin_ns = apus_clock_host_ns();

	messages.sender = apus_task_self();
	for (uint64_t i = 0; i < job.left; i += BATCH) {
		messages.out = BATCH;
		for (int k = 0; k < BATCH; k++) {
			nodes[k].message.fn = turn_round;
			apus_must(apus_message_send(1, &nodes[k].message) == 0);
		}
		apus_must(apus_sleep(APUS_NEVER) == -ECANCELED);
		apus_task_uncancel(messages.sender);
	}
	job.elapsed_ns = apus_clock_host_ns() - begin_ns;
	return 0;
}

static double in_two_shards(apus_task_fn fn, uint64_t n, unsigned int callers)
{
	struct apus_cross *cross;

	for (int i = 0; i < 2; i++) {
		const struct apus_shard_options options = {
			.core = -1, .spin = i == 0 || !job.sleeps, .seed = 1};

		apus_must(apus_shard_open(&options, &job.shards[i]) == 0);
	}
	apus_must(apus_cross_open(job.shards, 2, NULL, &cross) == 0);
	job.left = n;
	job.callers = callers;
	job.stop = false;
	posts_ended = 0;

	pthread_t thread = start_on(1, job.sleeps ? sleep_on_the_other : turn_the_other, NULL);

	apus_shard_enter(job.shards[0]);

	struct apus_task *t = apus_spawn(fn, NULL);

	apus_must(t);
	apus_shard_run(job.shards[0], t);
	apus_must(apus_task_result(t) == 0);
	apus_detach(t);
	__atomic_store_n(&job.stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	apus_cross_close(cross);
	apus_shard_close(job.shards[0]);
	apus_shard_close(job.shards[1]);
	return (double)job.elapsed_ns / (double)n;
}

static double call_1(uint64_t n)
{
	return in_two_shards(call_from_all, n, 1);
}

static double call_64(uint64_t n)
{
	return in_two_shards(call_from_all, n, 64);
}

static double call_256(uint64_t n)
{
	return in_two_shards(call_from_all, n, 256);
}

static double post(uint64_t n)
{
	return in_two_shards(post_repeatedly, n, 1);
}

static double message_there_and_back(uint64_t n)
{
	return in_two_shards(send_repeatedly, n, 1);
}

/* --------------------------------------------------------------------------------- who sleeps */

#define ASLEEP_NS (300 * APUS_US) /* after which a shard sleeps: it spins for 100 us */
#define WAKES_MAX 10000

static struct {
	int64_t ns[WAKES_MAX];
	struct apus_task *sleeper;
	int epoll_fd, event_fd;
	int64_t rung_ns;
	uint64_t heard; /* rings */
} wakes;

static int by_time(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static double median(uint64_t n)
{
	uint64_t middle;

	qsort(wakes.ns, n, sizeof(wakes.ns[0]), by_time);
	middle = wakes.ns[n / 2];
	return (double)middle;
}

static int64_t tell_time(void *arg)
{
	return apus_clock_host_ns();
}

static int64_t sleep_long(void *arg)
{
	return apus_sleep(APUS_NEVER);
}

static int64_t end_sleeper(void *arg)
{
	return apus_task_cancel(wakes.sleeper);
}

static int64_t wake_repeatedly(void *arg)
{
	for (uint64_t i = 0; i < job.left; i++) {
		apus_must(apus_sleep(ASLEEP_NS) == 0);

		int64_t begin_ns = apus_clock_host_ns();

		wakes.ns[i] = apus_call_on(1, tell_time, NULL) - begin_ns;
	}
	return apus_call_on(1, end_sleeper, NULL) == 1 ? 0 : -EBADE;
}

static void *sleep_on_the_other(void *arg)
{
	struct apus_shard *shard = job.shards[1];

	apus_shard_enter(shard);
	wakes.sleeper = apus_spawn(sleep_long, NULL);
	apus_must(wakes.sleeper);
	apus_shard_run(shard, wakes.sleeper);
	for (int i = 0; i < 1000; i++) /* what it has left to say */
		apus_shard_turn(shard);
	apus_detach(wakes.sleeper);
	apus_shard_enter(NULL);
	return NULL;
}

static double wake_call(uint64_t n)
{
	n = apus_min(n, WAKES_MAX);
	job.sleeps = true;
	(void)in_two_shards(wake_repeatedly, n, 1);
	return median(n);
}

static void *wait_for_bell(void *arg)
{
	uint64_t n = *(uint64_t *)arg;

	for (uint64_t i = 0; i < n; i++) {
		struct epoll_event event;
		eventfd_t rings;

		apus_must(epoll_wait(wakes.epoll_fd, &event, 1, -1) == 1);
		wakes.ns[i] =
			apus_clock_host_ns() - __atomic_load_n(&wakes.rung_ns, __ATOMIC_ACQUIRE);
		apus_must(eventfd_read(wakes.event_fd, &rings) == 0);
		__atomic_store_n(&wakes.heard, i + 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void spin_for(int64_t ns)
{
	int64_t until_ns = apus_clock_host_ns() + ns;

	while (apus_clock_host_ns() < until_ns)
		pause_cpu();
}

/* The least there is: a thread in epoll, and an eventfd. */
static double wake_eventfd(uint64_t n)
{
	struct epoll_event event = {.events = EPOLLIN};

	n = apus_min(n, WAKES_MAX);
	wakes.epoll_fd = epoll_create1(0);
	wakes.event_fd = eventfd(0, 0);
	apus_must(epoll_ctl(wakes.epoll_fd, EPOLL_CTL_ADD, wakes.event_fd, &event) == 0);

	pthread_t thread = start_on(1, wait_for_bell, &n);

	for (uint64_t i = 0; i < n; i++) {
		spin_for(ASLEEP_NS);
		__atomic_store_n(&wakes.rung_ns, apus_clock_host_ns(), __ATOMIC_RELEASE);
		apus_must(eventfd_write(wakes.event_fd, 1) == 0);
		while (__atomic_load_n(&wakes.heard, __ATOMIC_ACQUIRE) <= i)
			pause_cpu();
	}
	pthread_join(thread, NULL);
	close(wakes.event_fd);
	close(wakes.epoll_fd);
	return median(n);
}

/* ------------------------------------------------------------------------------------------- all */

static const struct {
	const char *name;
	double (*run)(uint64_t n);
	uint64_t count;
} all[] = {
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
	{"call/1", call_1, 1000000},
	{"call/64", call_64, 10000000},
	{"call/256", call_256, 10000000},
	{"post", post, 10000000},
	{"wake/call", wake_call, 4000},
	{"wake/eventfd", wake_eventfd, 4000},
	{"message/32", message_there_and_back, 10000000},
};

int main(int argc, char **argv)
{
	if (argc < 2) {
		for (size_t i = 0; i < apus_countof(all); i++)
			printf("%s %llu\n", all[i].name, (unsigned long long)all[i].count);
		return 0;
	}
	for (size_t i = 0; i < apus_countof(all); i++) {
		if (argc < 3 || strcmp(all[i].name, argv[1]) != 0)
			continue;
		pin_self(0);
		printf("%.2f\n", all[i].run(strtoull(argv[2], NULL, 10)));
		return 0;
	}
	fprintf(stderr, "cross: no benchmark named %s; without arguments all are listed\n",
		argv[1]);
	return 1;
}
