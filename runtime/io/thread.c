/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/io/thread.c: a small pool of worker threads beside a shard.
 *
 * Made when the first call comes, with as many threads as calls were waiting at once, at most four.
 * A call's record lies on the calling task's stack; the answer comes back through the shard's inbox.
 */
#include "runtime/io/thread.h"

#include "runtime/base/check.h"
#include "runtime/base/thread.h"
#include "runtime/sched/shard.h"
#include "runtime/sched/wait.h"

#include <errno.h>
#include <pthread.h>

enum {
	THREADS_MAX = 4
};

/* One call; on the calling task's stack until it is answered. */
struct job {
	struct apus_list link; /* in pool->jobs while no thread has it; under the lock */
	apus_thread_fn fn;
	void *arg;
	int64_t result;
	bool cancelled; /* asked for while a thread was at it; the shard's */
	struct pool *pool;
	struct apus_work answer;
	struct apus_wait wait;
};

struct pool {
	struct apus_closer closer;
	struct apus_shard *shard;
	pthread_mutex_t lock; /* over the next five */
	pthread_cond_t news;
	struct apus_list jobs; /* struct job.link, oldest first */
	size_t queued;         /* of them */
	size_t idle;           /* threads that wait for a job, or were just told of one */
	bool closing;
	unsigned int started; /* the shard's */
	pthread_t threads[THREADS_MAX];
};

#define POOL_SLOT (APUS_SHARD_SLOTS - 1) /* of apus_shard_slot(); the runtime counts from the top */

static void *work(void *arg)
{
	struct pool *pool = arg;

	apus_thread_leave_core();
	pthread_mutex_lock(&pool->lock);
	while (!pool->closing) {
		struct apus_list *node = apus_list_pop_front(&pool->jobs);

		if (!node) {
			pool->idle++;
			pthread_cond_wait(&pool->news, &pool->lock);
			pool->idle--;
			continue;
		}
		pool->queued--;
		pthread_mutex_unlock(&pool->lock);

		struct job *job = apus_list_entry(node, struct job, link);

		job->result = job->fn(job->arg);
		apus_call_from_thread(pool->shard, &job->answer);
		pthread_mutex_lock(&pool->lock);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

static void close_pool(struct apus_closer *closer)
{
	struct pool *pool = apus_container_of(closer, struct pool, closer);
	struct apus_shard *shard = pool->shard;

	pthread_mutex_lock(&pool->lock);
	pool->closing = true;
	pthread_cond_broadcast(&pool->news);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned int i = 0; i < pool->started; i++)
		pthread_join(pool->threads[i], NULL);
	pthread_cond_destroy(&pool->news);
	pthread_mutex_destroy(&pool->lock);
	apus_shard_set_slot(shard, POOL_SLOT, NULL);
	apus_heap_free(apus_shard_heap(shard), pool);
}

static struct pool *pool_of(struct apus_shard *shard)
{
	struct pool *pool = apus_shard_slot(shard, POOL_SLOT);

	if (pool)
		return pool;
	pool = apus_heap_zalloc(apus_shard_heap(shard), sizeof(*pool));
	if (!pool)
		return NULL;
	pool->shard = shard;
	pool->closer.close = close_pool;
	apus_list_init(&pool->jobs);
	apus_must(pthread_mutex_init(&pool->lock, NULL) == 0);
	apus_must(pthread_cond_init(&pool->news, NULL) == 0);
	apus_shard_set_slot(shard, POOL_SLOT, pool);
	apus_shard_at_close(shard, &pool->closer);
	return pool;
}

static int start_thread(struct pool *pool)
{
	int rc = apus_thread_start(&pool->threads[pool->started], work, pool, "apus-worker");

	pool->started += !rc;
	return rc;
}

static void answer(struct apus_work *w)
{
	struct job *job = apus_container_of(w, struct job, answer);

	apus_wake(&job->wait, job->cancelled ? -ECANCELED : job->result);
}

/* A call that no thread has taken can be given up at once; one that runs must end by itself. */
static bool cancel_job(struct apus_wait *wait)
{
	struct job *job = apus_container_of(wait, struct job, wait);
	struct pool *pool = job->pool;

	pthread_mutex_lock(&pool->lock);

	bool waiting = apus_list_linked(&job->link);

	if (waiting) {
		apus_list_remove(&job->link);
		pool->queued--;
	}
	pthread_mutex_unlock(&pool->lock);
	job->cancelled = true;
	return !waiting;
}

/* Return: 0 when the job is on its way; -EAGAIN when there is no thread and none can be had. */
static int submit(struct pool *pool, struct job *job)
{
	pthread_mutex_lock(&pool->lock);

	bool more = pool->queued >= pool->idle && pool->started < THREADS_MAX;

	pthread_mutex_unlock(&pool->lock);
	if (more && start_thread(pool) && !pool->started)
		return -EAGAIN;
	pthread_mutex_lock(&pool->lock);
	apus_list_push_back(&pool->jobs, &job->link);
	pool->queued++;
	pthread_cond_signal(&pool->news);
	pthread_mutex_unlock(&pool->lock);
	return 0;
}

int64_t apus_to_thread(apus_thread_fn fn, void *arg)
{
	static const struct apus_wait_type call = {.cancel = cancel_job};
	struct pool *pool = pool_of(apus_shard_self());
	struct job job = {.fn = fn, .arg = arg, .pool = pool};

	if (!pool)
		return -ENOMEM;
	apus_list_init(&job.link);
	apus_work_init(&job.answer, answer);
	apus_wait_init(&job.wait, &call, "thread", pool);

	int rc = submit(pool, &job);

	if (rc)
		return rc;
	apus_outside_begin();

	int64_t result = apus_park(&job.wait);

	apus_outside_end();
	return result;
}
