/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/cross/alien.c: a plain thread waits for a task of a shard.
 *
 * The record lies on the stack of the thread that waits. The shard links it while the task runs, so
 * that a shard that closes without having run it to its end tells the thread instead.
 */
#include "runtime/cross/alien.h"

#include "runtime/sched/internal.h"

#include <errno.h>
#include <semaphore.h>

struct submission {
	struct apus_work work;
	struct apus_inbox_wait wait; /* linked while the task runs */
	apus_task_fn fn;
	void *arg;
	int64_t result;
	sem_t done;
};

/* The record is gone with this. */
static void answer(struct submission *s, int64_t result)
{
	s->result = result;
	sem_post(&s->done);
}

static void lost(struct apus_inbox_wait *wait)
{
	answer(apus_container_of(wait, struct submission, wait), -ESHUTDOWN);
}

/* The task. */
static int64_t run(void *arg)
{
	struct submission *s = arg;

	apus_inbox_wait(apus_shard_current, &s->wait);

	int64_t result = s->fn(s->arg);

	apus_list_remove(&s->wait.link);
	answer(s, result);
	return 0; /* its error has been seen */
}

/* Eager, so that it has begun before anybody could cancel it: then it always answers. */
static void begin(struct apus_work *work)
{
	static const struct apus_spawn_options options = {
		.name = "submitted",
		.flags = APUS_SPAWN_EAGER,
	};
	struct submission *s = apus_container_of(work, struct submission, work);

	if (apus_shard_current->is_stopping)
		answer(s, -ESHUTDOWN);
	else if (apus_spawn_detached(&options, run, s, 0))
		answer(s, -ENOMEM);
}

int64_t apus_submit_and_wait(struct apus_inbox *inbox, apus_task_fn fn, void *arg)
{
	struct submission s = {.wait = {.lost = lost}, .fn = fn, .arg = arg};
	int rc;

	if (apus_shard_current)
		return -EDEADLK;
	apus_work_init(&s.work, begin);
	apus_must(sem_init(&s.done, 0, 0) == 0);
	rc = apus_inbox_call(inbox, &s.work);
	if (!rc)
		while (sem_wait(&s.done)) /* a signal came */
			;
	sem_destroy(&s.done);
	return rc ? rc : s.result;
}
