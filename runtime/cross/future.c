/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/cross/future.c: a future at home, and what others set; see future.h.
 *
 * `state` decides who was first, a set or a cancel; whoever moves it away from PENDING sends the news
 * to the other side. `producers` counts the references that were given out; `refs` these, the home's
 * end, and each message on its way: where it falls to 0 the memory goes home to be freed.
 *
 * The home counts it as a call that is out, and an owner's shard as one that is in: so neither parts
 * from the other while there is something to be said (apus_cross_has_left).
 */
#include "runtime/cross/future.h"

#include "runtime/base/alloc.h"
#include "runtime/base/check.h"
#include "runtime/cross/call.h"
#include "runtime/cross/internal.h"
#include "runtime/sync/internal.h"

#include <errno.h>

enum state {
	PENDING,
	TAKEN, /* `result` is written, and on its way home */
	CANCELLED,
};

enum {
	NOBODY = UINT16_MAX,
	SOMEBODY,
};

struct apus_promise {
	/* Home's. */
	struct apus_future future;
	struct apus_callback completed; /* of the future */
	struct apus_heap *heap;
	uint32_t home;
	bool is_closed;

	/* Everybody's. */
	uint32_t state APUS_ALIGNED(APUS_RING_APART);
	uint32_t refs;
	uint32_t producers;
	uint32_t owner;   /* index of its shard; NOBODY; SOMEBODY: who is about to say so */
	uint32_t is_told; /* the owner, of a cancel: by whoever sets this */
	int64_t result;   /* by who took it */

	/* The owner's. */
	struct apus_task *task APUS_ALIGNED(APUS_RING_APART); /* handle; NULL once it has ended */
	struct apus_callback ended;
	apus_task_fn fn; /* of apus_promise_run() */
	void *arg;

	struct apus_message news, cancel, last;
};

static void count_out(int by)
{
	struct apus_cross_port *port = apus_cross_here();

	if (port)
		port->calls_out += (size_t)by;
}

static void count_in(int by)
{
	struct apus_cross_port *port = apus_cross_here();

	if (port)
		port->calls_in += (size_t)by;
}

/* ----------------------------------------------------------------------------------- references */

static void release(struct apus_promise *p)
{
	count_out(-1);
	apus_heap_free(p->heap, p);
}

static void last_arrives(struct apus_message *message)
{
	release(apus_container_of(message, struct apus_promise, last));
}

static void send(struct apus_message *message, unsigned int to, apus_message_fn fn)
{
	message->fn = fn;
	message->from = to; /* a reply goes there, room or not */
	apus_message_reply(message);
}

static void get(struct apus_promise *p)
{
	__atomic_fetch_add(&p->refs, 1, __ATOMIC_RELAXED);
}

static void put(struct apus_promise *p)
{
	if (__atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL))
		return;
	if (apus_shard_index() == p->home)
		release(p);
	else
		send(&p->last, p->home, last_arrives);
}

/* ------------------------------------------------------------------------------------- the result */

static bool move(struct apus_promise *p, enum state to)
{
	uint32_t pending = PENDING;

	return __atomic_compare_exchange_n(&p->state, &pending, to, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_SEQ_CST);
}

/* At home: the future may have been cancelled meanwhile. */
static void deliver(struct apus_promise *p)
{
	if (p->is_closed || apus_future_done(&p->future))
		return;
	if (p->result >= 0)
		(void)!apus_future_set(&p->future, p->result);
	else if (p->result == -ECANCELED)
		apus_future_cancel(&p->future);
	else
		(void)!apus_future_fail(&p->future, p->result);
}

static void news_arrives(struct apus_message *message)
{
	struct apus_promise *p = apus_container_of(message, struct apus_promise, news);

	deliver(p);
	put(p);
}

static int complete(struct apus_promise *p, int64_t result)
{
	if (!move(p, TAKEN))
		return apus_promise_is_cancelled(p) ? -ECANCELED : -EALREADY;
	p->result = result; /* read at home once the news is there */
	if (apus_shard_index() == p->home) {
		deliver(p);
		return 0;
	}
	get(p);
	send(&p->news, p->home, news_arrives);
	return 0;
}

int apus_promise_set(struct apus_promise *p, int64_t value)
{
	return value < 0 ? -EINVAL : complete(p, value);
}

int apus_promise_fail(struct apus_promise *p, int64_t error)
{
	return error >= 0 ? -EINVAL : complete(p, error);
}

bool apus_promise_is_cancelled(const struct apus_promise *p)
{
	return __atomic_load_n(&p->state, __ATOMIC_SEQ_CST) == CANCELLED;
}

struct apus_promise *apus_promise_get(struct apus_promise *p)
{
	__atomic_fetch_add(&p->producers, 1, __ATOMIC_RELAXED);
	get(p);
	return p;
}

void apus_promise_put(struct apus_promise *p)
{
	if (!__atomic_sub_fetch(&p->producers, 1, __ATOMIC_ACQ_REL))
		(void)!complete(p, -EPIPE);
	put(p);
}

/* --------------------------------------------------------------------------------------- the cancel */

static void cancel_arrives(struct apus_message *message)
{
	struct apus_promise *p = apus_container_of(message, struct apus_promise, cancel);

	if (p->task)
		apus_task_cancel(p->task);
	put(p);
}

/* The owner may say that it is one at the same time: one of us sees the other, one of us is first. */
static bool is_first_to_tell(struct apus_promise *p)
{
	return !__atomic_exchange_n(&p->is_told, 1, __ATOMIC_SEQ_CST);
}

static void cancel_producers(struct apus_promise *p)
{
	uint32_t owner;

	if (!move(p, CANCELLED))
		return;
	owner = __atomic_load_n(&p->owner, __ATOMIC_SEQ_CST);
	if (owner >= NOBODY || !is_first_to_tell(p))
		return;
	get(p);
	if (owner == apus_shard_index())
		cancel_arrives(&p->cancel);
	else
		send(&p->cancel, owner, cancel_arrives);
}

static void future_completed(struct apus_work *work)
{
	struct apus_promise *p =
		apus_container_of(apus_callback_of(work), struct apus_promise, completed);

	if (apus_future_cancelled(&p->future))
		cancel_producers(p);
}

/* ----------------------------------------------------------------------------------------- owners */

static void owner_ended(struct apus_work *work)
{
	struct apus_promise *p =
		apus_container_of(apus_callback_of(work), struct apus_promise, ended);
	struct apus_task *t = p->task;
	int64_t result = p->ended.wait.rc;

	p->task = NULL;
	if (result < 0 && complete(p, result) == 0)
		(void)!apus_task_result(t); /* seen, at home */
	apus_detach(t);
	count_in(-1);
	apus_promise_put(p);
}

static bool claim(struct apus_promise *p)
{
	uint32_t nobody = NOBODY;

	return __atomic_compare_exchange_n(&p->owner, &nobody, SOMEBODY, false, __ATOMIC_ACQUIRE,
					   __ATOMIC_RELAXED);
}

/* It is claimed, for the running task. */
static void own(struct apus_promise *p)
{
	struct apus_task *self = apus_task_self();

	p->task = apus_task_get(self);
	apus_task_watch(self, &p->ended, owner_ended, p);
	count_in(1);
	__atomic_store_n(&p->owner, apus_shard_index(), __ATOMIC_SEQ_CST);
	if (apus_promise_is_cancelled(p) && is_first_to_tell(p))
		apus_task_cancel(self);
}

int apus_promise_own(struct apus_promise *p)
{
	if (!claim(p))
		return -EBUSY;
	own(p);
	return 0;
}

/* Eager, and so begun before anybody could cancel it: from here on its end says what became of it. */
static int64_t run_owner(void *arg)
{
	struct apus_promise *p = arg;
	int64_t result;

	own(p);
	if (apus_promise_is_cancelled(p))
		return -ECANCELED;
	result = p->fn(p->arg);
	if (result >= 0)
		(void)!complete(p, result);
	return result;
}

/* The reference goes back by who was to own it. */
static void not_run(struct apus_promise *p, int rc)
{
	(void)!complete(p, rc);
	apus_promise_put(p);
}

void apus_promise_not_run(apus_task_fn fn, void *arg, int rc)
{
	if (fn == run_owner)
		not_run(arg, rc);
}

static int start_here(struct apus_promise *p)
{
	static const struct apus_spawn_options options = {.flags = APUS_SPAWN_EAGER};

	return apus_spawn_detached(&options, run_owner, p, 0);
}

int apus_promise_run(struct apus_promise *p, unsigned int shard, apus_task_fn fn, void *arg)
{
	int rc;

	if (!claim(p)) {
		apus_promise_put(p);
		return -EBUSY;
	}
	p->fn = fn;
	p->arg = arg;
	rc = apus_cross_here() || shard ? apus_post_to(shard, run_owner, p) : start_here(p);
	if (rc)
		not_run(p, rc);
	return rc;
}

/* --------------------------------------------------------------------------------------- home's end */

int apus_promise_open(struct apus_promise **out)
{
	struct apus_heap *heap = apus_shard_heap(apus_shard_self());
	struct apus_promise *p = apus_heap_alloc_aligned(heap, sizeof(*p), APUS_RING_APART);

	if (!p)
		return -ENOMEM;
	*p = (struct apus_promise){
		.heap = heap,
		.home = apus_shard_index(),
		.owner = NOBODY,
		.refs = 2,
		.producers = 1,
	};
	apus_future_init(&p->future);
	apus_callback_init(&p->completed, future_completed);
	apus_future_on_done(&p->future, &p->completed);
	count_out(1);
	*out = p;
	return 0;
}

struct apus_future *apus_promise_future(struct apus_promise *p)
{
	return &p->future;
}

void apus_promise_close(struct apus_promise *p)
{
	p->is_closed = true;
	apus_future_cancel(&p->future);
	apus_callback_remove(&p->completed);
	cancel_producers(p);
	put(p);
}
