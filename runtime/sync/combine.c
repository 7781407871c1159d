/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/combine.c: one record per task; what differs is when the waiting task is woken.
 *
 * Few of them lie on the waiting task's stack; more come from the shard's heap.
 */
#include "runtime/sync/combine.h"

#include "runtime/sync/event.h"
#include "runtime/sync/internal.h"
#include "runtime/sync/timeout.h"

#include <errno.h>

enum {
	MEMBERS_ON_STACK = 12
};

/* One task that is waited for with others. */
struct apus_member {
	struct apus_callback done;
	struct apus_list link; /* in apus_as_completed.ended */
	struct apus_task *task;
	void *owner;
};

static struct apus_member *members_get(struct apus_member *few, size_t n)
{
	if (n <= MEMBERS_ON_STACK)
		return few;
	return apus_heap_alloc(apus_shard_heap(apus_shard_self()), n * sizeof(*few));
}

static void members_put(struct apus_member *members, const struct apus_member *few)
{
	if (members != few)
		apus_heap_free(apus_shard_heap(apus_shard_self()), members);
}

/* @object: what the task that gets the news waits for, so that a dump finds it. */
static void watch(struct apus_member *w, struct apus_task *task, apus_work_fn done, void *owner,
		  const void *object)
{
	apus_list_init(&w->link);
	w->task = task;
	w->owner = owner;
	if (apus_likely(!apus_task_done(task))) {
		apus_task_watch(task, &w->done, done, object);
		return;
	}
	apus_callback_init(&w->done, done);
	apus_task_on_done(task, &w->done);
}

static void unwatch_all(struct apus_member *members, size_t n)
{
	for (size_t i = 0; i < n; i++)
		apus_callback_remove(&members[i].done);
}

/* Return: 0; -EXDEV: one of them is of another shard; -EDEADLK: one is who asks. */
static int check_tasks(struct apus_task *const tasks[], size_t n, const char *what,
		       const void *place)
{
	const struct apus_task *self = apus_task_self();

	for (size_t i = 0; i < n; i++) {
		if (apus_unlikely(apus_task_check_home_at(tasks[i], what, place)))
			return -EXDEV;
		if (apus_unlikely(tasks[i] && tasks[i] == self))
			return apus_task_misuse_at(-EDEADLK, self, what, place);
	}
	return 0;
}

/* A handle to oneself, spent. */
static int64_t await_self(struct apus_task *self, const char *what, const void *place)
{
	(void)apus_task_misuse_at(-EDEADLK, self, what, place);
	apus_detach(self);
	return -EDEADLK;
}

static struct apus_member *watch_of(struct apus_work *work)
{
	return apus_container_of(apus_callback_of(work), struct apus_member, done);
}

/* ------------------------------------------------------------------------------------- gather */

struct gather {
	struct apus_wait wait;
	struct apus_task *const *tasks;
	size_t n, ended;
	unsigned int flags;
	bool is_cancelled;
	bool is_over;
};

/* Passed on to every child; if all have ended already, the wait ends here. */
static bool cancel_children(struct apus_wait *wait)
{
	struct gather *g = apus_container_of(wait, struct gather, wait);
	bool any = false;

	for (size_t i = 0; i < g->n; i++)
		any |= apus_task_cancel(g->tasks[i]);
	g->is_cancelled |= any;
	g->is_over |= !any;
	return any;
}

static void gathered(struct apus_work *work)
{
	struct apus_member *w = watch_of(work);
	struct gather *g = w->owner;
	int64_t result = w->done.wait.rc;

	g->ended++;
	if (g->is_over)
		return;
	if (result < 0 && !(g->flags & APUS_GATHER_RETURN_ERRORS)) {
		g->is_over = true;
		apus_wake(&g->wait, result);
	} else if (g->ended == g->n) {
		g->is_over = true;
		apus_wake(&g->wait, g->is_cancelled ? -ECANCELED : 0);
	}
}

static int64_t gather_watched(struct gather *g, struct apus_member *members)
{
	static const struct apus_wait_type gathering = {.cancel = cancel_children};

	apus_wait_init(&g->wait, &gathering, "gather", g->tasks);
	for (size_t i = 0; i < g->n; i++)
		watch(&members[i], g->tasks[i], gathered, g, g->tasks);

	int64_t rc = apus_park_here(&g->wait);

	g->is_over = true;
	if (g->ended < g->n)
		unwatch_all(members, g->n);
	return rc;
}

APUS_SUSPENDS int64_t apus_gather(struct apus_task *const tasks[], size_t n, int64_t results[],
				  unsigned int flags)
{
	struct gather g = {.tasks = tasks, .n = n, .flags = flags};
	struct apus_member few[MEMBERS_ON_STACK], *members;
	int64_t rc;

	if (!n)
		return apus_checkpoint();
	rc = check_tasks(tasks, n, "gather", __builtin_return_address(0));
	if (apus_unlikely(rc == -EXDEV))
		return rc;
	members = rc ? few : members_get(few, n);
	if (!members)
		rc = -ENOMEM;
	if (!rc)
		rc = gather_watched(&g, members);
	for (size_t i = 0; i < n; i++) {
		int64_t result = apus_task_result(tasks[i]);

		if (results)
			results[i] = result;
		apus_detach(tasks[i]);
	}
	members_put(members, few);
	return rc;
}

/* --------------------------------------------------------------------------------------- wait */

struct waiting {
	struct apus_event enough;
	enum apus_wait_mode mode;
	size_t pending;
};

static bool is_enough(const struct waiting *w, int64_t result)
{
	switch (w->mode) {
	case APUS_WAIT_ALL:
		return !w->pending;
	case APUS_WAIT_FIRST:
		return true;
	case APUS_WAIT_FIRST_EXCEPTION:
		return !w->pending || (result < 0 && result != -ECANCELED);
	}
	return true;
}

static void one_ended(struct apus_work *work)
{
	struct apus_member *one = watch_of(work);
	struct waiting *w = one->owner;

	w->pending--;
	if (is_enough(w, one->done.wait.rc))
		apus_event_set(&w->enough);
}

/* What has ended before we came counts as well, without a lap. */
static bool enough_ended(struct waiting *w, struct apus_task *const tasks[], size_t n)
{
	bool enough = false;

	w->pending = n;
	for (size_t i = 0; i < n; i++)
		w->pending -= apus_task_done(tasks[i]);
	for (size_t i = 0; i < n; i++)
		if (apus_task_done(tasks[i]))
			enough |= is_enough(w, apus_task_result(tasks[i]));
	return enough;
}

static int64_t wait_watched(struct waiting *w, struct apus_member *members,
			    struct apus_task *const tasks[], size_t n, int64_t ns)
{
	struct apus_timeout limit;
	size_t watched = 0;

	apus_event_init(&w->enough);
	for (size_t i = 0; i < n; i++)
		if (!apus_task_done(tasks[i]))
			watch(&members[watched++], tasks[i], one_ended, w, &w->enough.waiters);
	apus_timeout_begin(&limit, ns);

	int64_t rc = apus_timeout_end(&limit, apus_event_wait(&w->enough));

	unwatch_all(members, watched);
	return rc == -ETIMEDOUT ? 0 : rc;
}

int64_t apus_wait(struct apus_task *const tasks[], size_t n, enum apus_wait_mode mode, int64_t ns)
{
	struct apus_member few[MEMBERS_ON_STACK], *members;
	struct waiting w = {.mode = mode};
	int64_t rc = 0, ended = 0;

	if (!n)
		return -EINVAL;
	rc = check_tasks(tasks, n, "wait", __builtin_return_address(0));
	if (apus_unlikely(rc))
		return rc;
	if (!enough_ended(&w, tasks, n)) {
		members = members_get(few, n);
		if (!members)
			return -ENOMEM;
		rc = wait_watched(&w, members, tasks, n, ns);
		members_put(members, few);
	}
	for (size_t i = 0; i < n; i++)
		ended += apus_task_done(tasks[i]);
	return rc < 0 ? rc : ended;
}

/* ------------------------------------------------------------------------------- as_completed */

static void next_ended(struct apus_work *work)
{
	struct apus_member *w = watch_of(work);
	struct apus_as_completed *it = w->owner;

	apus_list_push_back(&it->ended, &w->link);
	apus_waitq_wake_one(&it->waiters, 0);
}

int apus_as_completed_begin(struct apus_as_completed *it, struct apus_task *const tasks[], size_t n)
{
	*it = (struct apus_as_completed){.n = n};
	apus_waitq_init(&it->waiters);
	apus_list_init(&it->ended);
	if (!n)
		return 0;

	int rc = check_tasks(tasks, n, "as_completed", __builtin_return_address(0));

	if (apus_unlikely(rc)) {
		it->n = 0;
		return rc;
	}
	it->members =
		apus_heap_alloc(apus_shard_heap(apus_shard_self()), n * sizeof(it->members[0]));
	if (!it->members)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		watch(&it->members[i], tasks[i], next_ended, it, &it->waiters);
	return 0;
}

int64_t apus_as_completed_next(struct apus_as_completed *it)
{
	struct apus_list *node;

	if (it->returned == it->n)
		return -ENOENT;
	while (!(node = apus_list_pop_front(&it->ended))) {
		int64_t rc = apus_waitq_wait(&it->waiters, "as_completed");

		if (rc)
			return rc;
	}
	it->returned++;
	return apus_list_entry(node, struct apus_member, link) - it->members;
}

void apus_as_completed_end(struct apus_as_completed *it)
{
	unwatch_all(it->members, it->members ? it->n : 0);
	apus_heap_free(apus_shard_heap(apus_shard_self()), it->members);
	it->members = NULL;
	it->returned = it->n;
}

/* ---------------------------------------------------------------------------- wait_for, shield */

int64_t apus_wait_for(struct apus_task *t, int64_t ns)
{
	struct apus_timeout limit;
	int64_t rc, ended;

	if (apus_unlikely(apus_task_check_home(t, "wait_for")))
		return -EXDEV;
	if (apus_unlikely(t && t == apus_task_self()))
		return await_self(t, "wait_for", __builtin_return_address(0));
	if (ns <= 0 && !apus_task_done(t)) {
		apus_task_cancel(t);
		rc = apus_await(t);
		/* A cancel of our own, which stands on our account, is not taken for the limit's. */
		return rc == -ECANCELED && !apus_task_cancelling(apus_task_self()) ? -ETIMEDOUT
										   : rc;
	}
	apus_timeout_begin(&limit, ns);
	rc = apus_await(t);
	ended = apus_timeout_end(&limit, rc);
	return rc >= 0 ? rc : ended;
}

static APUS_SUSPENDS int64_t shield_slow(struct apus_task *t)
{
	struct apus_wait wait;
	int64_t rc = apus_wait_join(&wait, NULL, "shield", t, &t->awaiters);

	if (apus_likely(!rc))
		rc = apus_park_here(&wait);
	if (apus_task_done(t))
		(void)apus_task_result(t); /* seen, even if a cancel takes it from us */
	apus_detach(t);
	return rc;
}

int64_t apus_shield(struct apus_task *t)
{
	if (apus_unlikely(apus_task_check_home(t, "shield")))
		return -EXDEV;
	if (apus_unlikely(t && t == apus_task_self()))
		return await_self(t, "shield", __builtin_return_address(0));
	if (apus_task_done(t))
		return apus_await(t);
	return shield_slow(t);
}

/* --------------------------------------------------------------------------------------- race */

struct race {
	struct apus_event news; /* there is a winner, or the last one that was started has failed */
	struct apus_racer *racers;
	struct apus_member *members;
	size_t n, started, ended;
	int64_t winner; /* < 0: none yet */
	int64_t error;  /* the last */
};

static void racer_ended(struct apus_work *work)
{
	struct apus_member *w = watch_of(work);
	struct race *race = w->owner;
	size_t index = (size_t)(w - race->members);
	int64_t result = w->done.wait.rc;

	race->ended++;
	race->racers[index].result = result;
	if (result >= 0 && race->winner < 0)
		race->winner = (int64_t)index;
	else if (result < 0)
		race->error = result;
	if (race->winner >= 0 || index + 1 == race->started || race->ended == race->n)
		apus_event_set(&race->news);
}

static void start_next(struct race *race)
{
	struct apus_racer *racer = &race->racers[race->started];

	watch(&race->members[race->started++], apus_spawn(racer->fn, racer->arg), racer_ended, race,
	      &race->news.waiters);
}

static int64_t run_race(struct race *race, int64_t delay_ns)
{
	while (race->winner < 0 && race->ended < race->n) {
		struct apus_timeout limit;
		bool last = race->started == race->n;

		if (!last)
			start_next(race);
		apus_event_clear(&race->news);
		apus_timeout_begin(&limit, race->started < race->n ? delay_ns : APUS_NEVER);

		int64_t rc = apus_timeout_end(&limit, apus_event_wait(&race->news));

		if (rc < 0 && rc != -ETIMEDOUT)
			return rc;
	}
	return race->winner >= 0 ? race->winner : race->error;
}

/* However often we are cancelled: no racer may outlive the records on our stack. */
static int64_t end_racers(struct race *race, int64_t rc)
{
	for (size_t i = 0; i < race->started; i++)
		apus_task_cancel(race->members[i].task);
	while (race->ended < race->started) {
		apus_event_clear(&race->news);
		race->n = race->started;

		int64_t woken = apus_event_wait(&race->news);

		rc = woken < 0 ? woken : rc;
	}
	for (size_t i = 0; i < race->started; i++) {
		(void)apus_task_result(race->members[i].task);
		apus_detach(race->members[i].task);
	}
	return rc;
}

int64_t apus_race_staggered(struct apus_racer racers[], size_t n, int64_t delay_ns)
{
	struct apus_member few[MEMBERS_ON_STACK], *members;
	struct race race = {.racers = racers, .n = n, .winner = -1};

	if (!n)
		return -EINVAL;
	members = members_get(few, n);
	if (!members)
		return -ENOMEM;
	race.members = members;
	apus_event_init(&race.news);
	for (size_t i = 0; i < n; i++)
		racers[i].result = -EINPROGRESS;

	int64_t rc = end_racers(&race, run_race(&race, delay_ns));

	members_put(members, few);
	return rc;
}
