/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/cross/shards.c: several shards in one process, from start to stop.
 *
 * A thread is told what to do in one of two ways. While its loop stands still it waits for an order
 * at a condition variable, and shard 0's thread waits until it was carried out: so start and stop
 * happen in one order, and one thread at a time. While the loops turn, orders come by the shard's
 * inbox, and the answer by shard 0's: its own loop turns meanwhile, because tasks that end elsewhere
 * may need it.
 *
 * A thread whose task does not suspend answers nothing, and cannot be joined. It is recognised by a
 * probe that nobody takes out of its inbox; then nothing of what it may use is closed.
 */
#include "runtime/cross/shards.h"

#include "runtime/base/log.h"
#include "runtime/base/thread.h"
#include "runtime/cross/mailbox.h"
#include "runtime/sched/internal.h"
#include "runtime/sync/timeout.h"

#include <errno.h>
#include <sched.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int64_t drain_default = 30 * APUS_SEC;
static const int64_t probe_ns = APUS_SEC;
static const int64_t part_ns = APUS_SEC;

/* To a thread whose loop stands still. */
enum order {
	ORDER_NONE,
	ORDER_OPEN,
	ORDER_SET_UP,
	ORDER_RUN,
	ORDER_TEAR_DOWN,
	ORDER_CLOSE, /* and end */
};

/* To a shard whose loop turns. */
enum phase {
	PHASE_DRAIN,
	PHASE_END,
	PHASE_PART,  /* from the fabric */
	PHASE_LEAVE, /* and stand still */
};

struct member {
	alignas(APUS_CACHE_LINE) struct apus_shards *all;
	unsigned int index;
	int core;
	struct apus_shard *shard; /* NULL: not open; written by its thread, under the lock */
	pthread_t thread;         /* valid if started */
	bool started, is_set_up;  /* shard 0's thread's */

	/* Under all->lock. */
	enum order order; /* ORDER_NONE: carried out */
	int rc;           /* of the last one */

	/* Written by shard 0's thread before it makes the call. */
	enum phase phase;
	int64_t span_ns; /* for the phase */
	struct apus_work call;
	struct apus_work probe;

	bool told;          /* the shard's: a phase is to begin */
	atomic_bool probed; /* the shard's answer to the probe */

	/* Shard 0's. */
	struct apus_work answer;
	bool answered; /* or nothing was asked */
	bool probing;  /* the probe is out */
	bool is_stuck;
};

struct apus_shards {
	struct apus_shards_options options;
	unsigned int count;
	struct apus_cross *cross; /* NULL with one shard */
	pthread_mutex_t lock;
	pthread_cond_t news;
	cpu_set_t cores_before; /* of the calling thread */

	/* Shard 0's. */
	struct apus_timer alarm;
	bool stirred; /* an answer came, or the alarm went off */
	bool is_stuck;
	struct member members[];
};

/* ------------------------------------------------------------------------------- a shard's thread */

/* Each shard has chance of its own, and one seed decides all. splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t seed_of(uint64_t seed, unsigned int index)
{
	uint64_t z = seed + index * UINT64_C(0x9e3779b97f4a7c15);

	if (!seed || !index)
		return seed;
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	z ^= z >> 31;
	return z ? z : 1;
}

static int open_shard(struct member *m)
{
	struct apus_shard_options options = m->all->options.shard;
	struct apus_shard *shard;
	int rc;

	options.core = m->core;
	options.index = m->index;
	options.count = m->all->count;
	options.seed = seed_of(options.seed, m->index);
	rc = apus_shard_open(&options, &shard);
	if (rc)
		return rc;
	apus_shard_enter(shard);
	m->shard = shard;
	return 0;
}

static void close_shard(struct member *m)
{
	apus_shard_close(m->shard);
	apus_shard_enter(NULL);
	m->shard = NULL;
}

/* In the shard's loop. */

static void take_call(struct apus_work *work)
{
	apus_container_of(work, struct member, call)->told = true;
}

static void take_probe(struct apus_work *work)
{
	atomic_store(&apus_container_of(work, struct member, probe)->probed, true);
}

static void drain(struct member *m, int64_t ns)
{
	if (m->shard->is_abandoned)
		return;
	apus_cross_refuse(m->shard);
	if (apus_shard_drain(m->shard, ns))
		apus_shard_abandon(m->shard);
}

static int64_t run_end(void *arg)
{
	struct member *m = arg;
	const struct apus_shards_options *o = &m->all->options;
	struct apus_timeout limit;

	apus_timeout_begin(&limit, m->span_ns);
	return apus_timeout_end(&limit, o->end(m->shard, m->index, o->arg));
}

static void end(struct member *m)
{
	static const struct apus_spawn_options named = {.name = "end"};

	if (!m->all->options.end)
		return;

	struct apus_task *t = apus_spawn_with(&named, run_end, m, 0);

	if (!t)
		return; /* no memory to say goodbye */
	apus_shard_run(m->shard, t);
	apus_detach(t);
	drain(m, m->span_ns); /* what it may have left */
}

/*
 * All shards at once, and each goes on turning until all have parted. It takes some laps; one that was
 * abandoned, or is stuck, may owe an answer for good.
 */
static void part(struct member *m, int64_t ns)
{
	int64_t until_ns = apus_clock_host_ns() + ns;

	apus_cross_leave(m->shard);
	while (!apus_cross_has_left(m->shard) && apus_clock_host_ns() < until_ns)
		if (!apus_shard_turn(m->shard))
			sched_yield();
}

static void take_phase(struct member *m)
{
	switch (m->phase) {
	case PHASE_DRAIN:
		drain(m, m->span_ns);
		break;
	case PHASE_END:
		end(m);
		break;
	case PHASE_PART:
		part(m, m->span_ns);
		break;
	case PHASE_LEAVE:
		break;
	}
}

/* The loop of every shard but 0. */
static void turn_until_told_to_leave(struct member *m)
{
	for (;;) {
		apus_shard_serve(m->shard, &m->told);
		m->told = false;
		take_phase(m);
		if (m->phase == PHASE_LEAVE)
			return;
		apus_call_from_thread(m->all->members[0].shard, &m->answer);
	}
}

/* Orders. */

static int obey(struct member *m, enum order order)
{
	const struct apus_shards_options *o = &m->all->options;

	switch (order) {
	case ORDER_NONE:
		break;
	case ORDER_OPEN:
		return open_shard(m);
	case ORDER_SET_UP:
		return o->setup ? o->setup(m->shard, m->index, o->arg) : 0;
	case ORDER_RUN:
		turn_until_told_to_leave(m);
		break;
	case ORDER_TEAR_DOWN:
		if (o->teardown)
			o->teardown(m->shard, m->index, o->arg);
		break;
	case ORDER_CLOSE:
		close_shard(m);
		break;
	}
	return 0;
}

static void *run_thread(void *arg)
{
	struct member *m = arg;
	struct apus_shards *all = m->all;
	bool is_last = false;

	pthread_mutex_lock(&all->lock);
	while (!is_last) {
		while (m->order == ORDER_NONE)
			pthread_cond_wait(&all->news, &all->lock);

		enum order order = m->order;

		pthread_mutex_unlock(&all->lock);

		int rc = obey(m, order);

		pthread_mutex_lock(&all->lock);
		is_last = order == ORDER_CLOSE || (order == ORDER_OPEN && rc);
		m->rc = rc;
		m->order = ORDER_NONE;
		pthread_cond_broadcast(&all->news);
	}
	pthread_mutex_unlock(&all->lock);
	return NULL;
}

/* ------------------------------------------------------------------- from shard 0, standing still */

static void give(struct member *m, enum order order)
{
	pthread_mutex_lock(&m->all->lock);
	m->order = order;
	pthread_cond_broadcast(&m->all->news);
	pthread_mutex_unlock(&m->all->lock);
}

static int await_done(struct member *m)
{
	pthread_mutex_lock(&m->all->lock);
	while (m->order != ORDER_NONE)
		pthread_cond_wait(&m->all->news, &m->all->lock);

	int rc = m->rc;

	pthread_mutex_unlock(&m->all->lock);
	return rc;
}

static int command(struct member *m, enum order order)
{
	if (!m->index)
		return obey(m, order);
	give(m, order);
	return await_done(m);
}

static int start(struct member *m)
{
	char name[32];

	if (!m->index)
		return obey(m, ORDER_OPEN);
	snprintf(name, sizeof(name), "apus-shard-%u", m->index);
	m->order = ORDER_OPEN;

	int rc = apus_thread_start_shard(&m->thread, run_thread, m, name);

	if (rc) {
		m->order = ORDER_NONE;
		return rc;
	}
	m->started = true;
	return await_done(m);
}

/* ------------------------------------------------------------------- from shard 0, while all turn */

static void take_answer(struct apus_work *work)
{
	struct member *m = apus_container_of(work, struct member, answer);

	m->answered = true;
	m->all->stirred = true;
}

static void go_off(struct apus_work *work)
{
	apus_container_of(apus_timer_of(work), struct apus_shards, alarm)->stirred = true;
}

static void tell(struct member *m, enum phase phase, int64_t span_ns)
{
	if (m->is_stuck)
		return;
	m->phase = phase;
	m->span_ns = span_ns;
	m->answered = false;
	apus_call_from_thread(m->shard, &m->call);
}

/* The span is over and there is no answer: does its loop turn at all? Return: false if it does not. */
static bool probe(struct member *m)
{
	if (m->probing && !atomic_load(&m->probed))
		return false;
	m->probing = true;
	atomic_store(&m->probed, false);
	apus_call_from_thread(m->shard, &m->probe);
	return true;
}

/* Shard 0's loop turns meanwhile. */
static void await_answer(struct member *m)
{
	struct apus_shards *all = m->all;
	struct apus_shard *shard = all->members[0].shard;
	int64_t left_ns = m->span_ns + probe_ns;

	while (!m->answered && !m->is_stuck) {
		int64_t begin_ns = apus_clock_host_ns();

		all->stirred = false;
		apus_call_later(&all->alarm, left_ns);
		apus_shard_serve(shard, &all->stirred);
		left_ns -= apus_clock_host_ns() - begin_ns;
		if (m->answered || left_ns > 0)
			continue;
		m->is_stuck = !probe(m);
		left_ns = probe_ns;
	}
	apus_timer_cancel(&all->alarm);
	if (m->is_stuck) {
		all->is_stuck = true;
		apus_shard_say_stuck(m->shard);
	}
}

/*
 * The last one first, because what started later may use what started earlier. One that takes all of
 * the time leaves none for this order: then all that are left are told at once.
 */
static void drain_all(struct apus_shards *all)
{
	int64_t span_ns = all->options.drain_ns;
	int64_t until_ns = apus_clock_host_ns() + span_ns;
	unsigned int i = all->count;

	while (--i > 0) {
		int64_t left_ns = until_ns - apus_clock_host_ns();

		if (left_ns <= 0)
			break;
		tell(&all->members[i], PHASE_DRAIN, left_ns);
		await_answer(&all->members[i]);
	}
	for (unsigned int k = 1; k <= i; k++)
		tell(&all->members[k], PHASE_DRAIN, span_ns);
	drain(&all->members[0], apus_max(until_ns - apus_clock_host_ns(), span_ns));
	for (unsigned int k = 1; k <= i; k++)
		await_answer(&all->members[k]);
}

static void end_all(struct apus_shards *all)
{
	if (!all->options.end)
		return;
	for (unsigned int i = 1; i < all->count; i++)
		tell(&all->members[i], PHASE_END, all->options.drain_ns);
	all->members[0].span_ns = all->options.drain_ns;
	end(&all->members[0]);
	for (unsigned int i = 1; i < all->count; i++)
		await_answer(&all->members[i]);
}

static void part_all(struct apus_shards *all)
{
	if (!all->cross)
		return;
	for (unsigned int i = 1; i < all->count; i++)
		tell(&all->members[i], PHASE_PART, part_ns);
	part(&all->members[0], part_ns);
	for (unsigned int i = 1; i < all->count; i++)
		await_answer(&all->members[i]);
}

static void stop(struct apus_shard *shard, void *arg)
{
	struct apus_shards *all = arg;

	drain_all(all);
	end_all(all);
	part_all(all);
	for (unsigned int i = 1; i < all->count; i++)
		tell(&all->members[i], PHASE_LEAVE, 0);
	for (unsigned int i = 1; i < all->count; i++)
		if (!all->members[i].is_stuck)
			(void)await_done(&all->members[i]);
}

/* ---------------------------------------------------------------------------------- entry points */

static struct apus_shards *allocate(const struct apus_shards_options *o)
{
	size_t bytes = sizeof(struct apus_shards) + o->count * sizeof(struct member);
	/* There is no shard yet, and so no heap. */
	struct apus_shards *all = aligned_alloc(
		APUS_CACHE_LINE, (bytes + APUS_CACHE_LINE - 1) / APUS_CACHE_LINE * APUS_CACHE_LINE);

	if (!all)
		return NULL;
	memset(all, 0, bytes);
	all->options = *o;
	all->options.cores = NULL;
	if (all->options.drain_ns <= 0)
		all->options.drain_ns = drain_default;
	all->count = o->count;
	apus_must(pthread_mutex_init(&all->lock, NULL) == 0);
	apus_must(pthread_cond_init(&all->news, NULL) == 0);
	apus_timer_init(&all->alarm, go_off);
	for (unsigned int i = 0; i < o->count; i++) {
		struct member *m = &all->members[i];

		m->all = all;
		m->index = i;
		m->core = o->cores ? o->cores[i] : -1;
		m->answered = true;
		apus_work_init(&m->call, take_call);
		apus_work_init(&m->probe, take_probe);
		apus_work_init(&m->answer, take_answer);
	}
	return all;
}

/* The fabric between shards that are open and stand still. */
static int join(struct apus_shards *all)
{
	struct apus_shard *shards[APUS_SHARDS_MAX];

	if (all->count == 1)
		return 0;
	for (unsigned int i = 0; i < all->count; i++)
		shards[i] = all->members[i].shard;
	return apus_cross_open(shards, all->count, NULL, &all->cross);
}

int apus_shards_open(const struct apus_shards_options *options, struct apus_shards **out,
		     unsigned int *failed)
{
	unsigned int i = 0;
	int rc = 0;

	if (failed)
		*failed = 0;
	if (!options->count || options->count > APUS_SHARDS_MAX)
		return -EINVAL;
	if (options->shard.clock && options->count > 1)
		return -EINVAL;

	struct apus_shards *all = allocate(options);

	if (!all)
		return -ENOMEM;
	CPU_ZERO(&all->cores_before);
	(void)sched_getaffinity(0, sizeof(all->cores_before), &all->cores_before);
	for (i = 0; i < all->count && !rc; i++)
		rc = start(&all->members[i]);
	if (!rc)
		rc = join(all);
	for (i = rc ? i : 0; i < all->count && !rc; i++) {
		rc = command(&all->members[i], ORDER_SET_UP);
		all->members[i].is_set_up = !rc;
	}
	if (rc) {
		if (failed)
			*failed = i - 1;
		apus_shards_close(all);
		return rc;
	}
	*out = all;
	return 0;
}

int64_t apus_shards_run(struct apus_shards *all, apus_task_fn fn, void *arg)
{
	for (unsigned int i = 1; i < all->count; i++)
		give(&all->members[i], ORDER_RUN);
	return apus_run_task_then(all->members[0].shard, fn, arg, stop, all);
}

bool apus_shards_is_stuck(const struct apus_shards *all)
{
	return all->is_stuck;
}

void apus_shards_close(struct apus_shards *all)
{
	if (all->is_stuck)
		return;
	for (unsigned int i = all->count; i-- > 0;)
		if (all->members[i].is_set_up)
			(void)command(&all->members[i], ORDER_TEAR_DOWN);
	apus_cross_close(all->cross);
	for (unsigned int i = all->count; i-- > 0;)
		if (all->members[i].shard)
			(void)command(&all->members[i], ORDER_CLOSE);
	for (unsigned int i = all->count; i-- > 0;)
		if (all->members[i].started)
			pthread_join(all->members[i].thread, NULL);
	(void)sched_setaffinity(0, sizeof(all->cores_before), &all->cores_before);
	pthread_cond_destroy(&all->news);
	pthread_mutex_destroy(&all->lock);
	free(all);
}

unsigned int apus_shards_count(const struct apus_shards *all)
{
	return all->count;
}

struct apus_shard *apus_shards_at(const struct apus_shards *all, unsigned int index)
{
	apus_must_op(index, <, all->count);
	return all->members[index].shard;
}
