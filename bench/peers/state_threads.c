/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/peers/state_threads.c: State Threads.
 *
 * It has no queue: one is made of a ring and two condition variables, which is how its users do it.
 * Nor has it a yield that does not go through its timers and the poll behind them, so what yields
 * (two tasks, the contended lock) is left out.
 */
#include "peer.h"

#include <st.h>

struct queue {
	st_cond_t not_empty, not_full;
	void **ring;
	uint64_t put, got, capacity;
};

static void queue_init(struct queue *q, uint64_t capacity)
{
	*q = (struct queue){.not_empty = st_cond_new(),
			    .not_full = st_cond_new(),
			    .ring = calloc(capacity, sizeof(void *)),
			    .capacity = capacity};
	peer_must(q->ring && q->not_empty && q->not_full);
}

static void queue_put(struct queue *q, void *item)
{
	while (q->put - q->got == q->capacity)
		peer_must(st_cond_wait(q->not_full) == 0);
	q->ring[q->put++ & (q->capacity - 1)] = item;
	peer_must(st_cond_signal(q->not_empty) == 0);
}

static void *queue_get(struct queue *q)
{
	while (q->put == q->got)
		peer_must(st_cond_wait(q->not_empty) == 0);

	void *item = q->ring[q->got++ & (q->capacity - 1)];

	peer_must(st_cond_signal(q->not_full) == 0);
	return item;
}

struct pair {
	struct queue there, back;
	uint64_t rounds;
};

static void *return_messages(void *arg)
{
	struct pair *p = arg;

	for (uint64_t i = 0; i < p->rounds; i++)
		queue_put(&p->back, queue_get(&p->there));
	return NULL;
}

static st_thread_t spawn(void *(*fn)(void *arg), void *arg)
{
	st_thread_t t = st_thread_create(fn, arg, 1, 0);

	peer_must(t != NULL);
	return t;
}

static int64_t queue_ping_pong(uint64_t n, int64_t capacity)
{
	struct pair p = {.rounds = n / 2};
	void *item = &p;

	queue_init(&p.there, (uint64_t)capacity);
	queue_init(&p.back, (uint64_t)capacity);

	st_thread_t t = spawn(return_messages, &p);
	int64_t begin_ns = peer_now_ns();

	for (uint64_t i = 0; i < p.rounds; i++) {
		queue_put(&p.there, item);
		item = queue_get(&p.back);
	}

	int64_t elapsed_ns = peer_now_ns() - begin_ns;

	peer_must(st_thread_join(t, NULL) == 0);
	return elapsed_ns;
}

static void *take_messages(void *arg)
{
	struct pair *p = arg;

	for (uint64_t i = 0; i < p->rounds; i++)
		peer_must(queue_get(&p->there) != NULL);
	return NULL;
}

static int64_t queue_one_way(uint64_t n, int64_t capacity)
{
	struct pair p = {.rounds = n};

	queue_init(&p.there, (uint64_t)capacity);

	st_thread_t t = spawn(take_messages, &p);
	int64_t begin_ns = peer_now_ns();

	for (uint64_t i = 0; i < n; i++)
		queue_put(&p.there, &p);
	peer_must(st_thread_join(t, NULL) == 0);
	return peer_now_ns() - begin_ns;
}

static int64_t lock_uncontended(uint64_t n, int64_t arg)
{
	(void)arg;

	st_mutex_t lock = st_mutex_new();
	int64_t begin_ns = peer_now_ns();

	for (uint64_t i = 0; i < n; i++) {
		peer_must(st_mutex_lock(lock) == 0);
		peer_must(st_mutex_unlock(lock) == 0);
	}
	return peer_now_ns() - begin_ns;
}

struct event {
	st_cond_t cond;
	int is_set;
};

struct events {
	struct event ping, pong;
	uint64_t rounds;
};

static void event_set(struct event *e)
{
	e->is_set = 1;
	peer_must(st_cond_broadcast(e->cond) == 0);
}

static void event_wait(struct event *e)
{
	while (!e->is_set)
		peer_must(st_cond_wait(e->cond) == 0);
	e->is_set = 0;
}

static void *event_pong(void *arg)
{
	struct events *e = arg;

	for (uint64_t i = 0; i < e->rounds; i++) {
		event_wait(&e->ping);
		event_set(&e->pong);
	}
	return NULL;
}

static int64_t event_set_wait(uint64_t n, int64_t arg)
{
	(void)arg;

	struct events e = {{st_cond_new(), 0}, {st_cond_new(), 0}, n / 2};
	st_thread_t t = spawn(event_pong, &e);
	int64_t begin_ns = peer_now_ns();

	for (uint64_t i = 0; i < e.rounds; i++) {
		event_set(&e.ping);
		event_wait(&e.pong);
	}

	int64_t elapsed_ns = peer_now_ns() - begin_ns;

	peer_must(st_thread_join(t, NULL) == 0);
	return elapsed_ns;
}

static void *nothing(void *arg)
{
	return arg;
}

static int64_t spawn_await(uint64_t n, int64_t together)
{
	st_thread_t t[64];
	int64_t begin_ns = peer_now_ns();

	for (uint64_t done = 0; done < n; done += (uint64_t)together) {
		for (int64_t i = 0; i < together; i++)
			t[i] = spawn(nothing, NULL);
		for (int64_t i = 0; i < together; i++)
			peer_must(st_thread_join(t[i], NULL) == 0);
	}
	return peer_now_ns() - begin_ns;
}

int main(int argc, char **argv)
{
	static const struct peer_operation operations[] = {
		{"task/spawn_await", spawn_await, 1, 100000},
		{"queue/ping_pong", queue_ping_pong, 1, 100000},
		{"queue/one_way/128", queue_one_way, 128, 100000},
		{"lock/uncontended", lock_uncontended, 0, 100000},
		{"event/ping_pong", event_set_wait, 0, 100000},
		{"gather/10", spawn_await, 10, 100000},
		{NULL, NULL, 0, 0},
	};

	peer_must(st_init() == 0);
	return peer_main(argc, argv, "State Threads 1.9", operations);
}
