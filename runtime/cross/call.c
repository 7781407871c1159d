/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/cross/call.c: calls: what the caller keeps, what the callee keeps, and who ends when.
 *
 * The caller's record, struct apus_call, lies on its stack, and in its memory until the answer is
 * there, and every cancel it sent has come back. The callee's shard writes to it only where it says
 * so: `callee`, when the function suspends, so that a cancel finds the task, and `answer` and
 * `result` when the answer has to wait for room. A call that does not suspend, has no variables and
 * no deadline is done without the callee's shard touching it at all.
 */
#include "runtime/cross/call.h"

#include "runtime/cross/callee.h"
#include "runtime/sync/timeout.h"

#include <errno.h>
#include <string.h>

/* A call; the caller's memory. */
struct apus_call {
	struct apus_request request; /* while it waits for room; its words are what is sent */
	struct apus_call_set *set;
	const struct apus_vars *vars; /* the caller's, who does not change them meanwhile */
	int64_t deadline_ns;          /* of the caller's clock; APUS_NEVER: none, and then not */
	int64_t made_at_ns;           /* these two */
	const struct apus_clock *clock;
	uint32_t shard;
	bool is_waiting;        /* for room */
	bool is_done;           /* the result is there */
	bool cancel_out;        /* the message is on its way, there or back */
	bool cancel_again;      /* once it is back */
	bool was_cancelled;     /* and passed it on */
	bool was_posted;        /* the caller is a post, or called by one */
	uint32_t cancel_number; /* of set->cancels: the one that is on its way */
	struct apus_message cancel;

	/* The callee's shard's. */
	bool cancel_taken;          /* the callee had not ended, and was cancelled */
	bool limit_expired;         /* the deadline ended it there */
	struct apus_message answer; /* when it has to wait for room */
	int64_t result;             /* then, and at last */
	struct apus_task *callee;   /* once it has suspended, until it ends */
	uint64_t callee_id;         /* the same, read by dumps of the caller's shard */
};

/* Calls that one task waits for. */
struct apus_call_set {
	struct apus_wait wait;
	struct apus_call *calls;
	unsigned int count;
	unsigned int left;      /* not answered, or with a cancel on its way */
	uint32_t cancels;       /* of the task, while it waits */
	uint32_t cancels_taken; /* the last of them that reached a callee which had not ended */
};

/* ------------------------------------------------------------------------------------- the caller */

static struct apus_call *call_of(uint64_t word)
{
	return (struct apus_call *)(uintptr_t)(word & ~APUS_RECORD_BITS);
}

static void one_less(struct apus_call_set *set)
{
	if (--set->left == 0)
		apus_wake(&set->wait, 0);
}

static void finish(struct apus_call *call, int64_t result)
{
	call->result = result;
	call->is_done = true;
	if (apus_likely(!call->cancel_out))
		one_less(call->set);
}

void apus_call_answer(struct apus_cross_port *port, uint64_t word, int64_t result)
{
	port->calls_out--;
	finish(call_of(word), result);
}

/* Sent, or it never will be. */
static void call_left(struct apus_request *request, int rc)
{
	struct apus_call *call = apus_container_of(request, struct apus_call, request);

	call->is_waiting = false;
	if (!rc)
		return;
	apus_cross_here()->calls_out--;
	finish(call, rc);
}

/* On the callee's shard. Before the answer was sent: then `callee` is empty, or will find out. */
static void cancel_callee(struct apus_message *message)
{
	struct apus_call *call = apus_container_of(message, struct apus_call, cancel);

	call->cancel_taken = apus_task_cancel(call->callee);
	apus_message_reply(message);
}

static void send_cancel(struct apus_cross_port *port, struct apus_call *call);

/* And back on the caller's. */
static void cancel_is_back(struct apus_message *message)
{
	struct apus_call *call = apus_container_of(message, struct apus_call, cancel);

	call->cancel_out = false;
	if (call->cancel_taken)
		call->set->cancels_taken = apus_max(call->set->cancels_taken, call->cancel_number);
	if (call->is_done)
		one_less(call->set);
	else if (call->cancel_again)
		send_cancel(apus_cross_here(), call);
}

static void cancel_passes(struct apus_message *message)
{
	struct apus_call *call = apus_container_of(message, struct apus_call, cancel);

	if (apus_shard_index() == call->shard)
		cancel_callee(message);
	else
		cancel_is_back(message);
}

static void send_cancel(struct apus_cross_port *port, struct apus_call *call)
{
	if (call->cancel_out) {
		call->cancel_again = true;
		return;
	}
	call->cancel_out = true;
	call->cancel_again = false;
	call->cancel_number = call->set->cancels;
	call->cancel.fn = cancel_passes;
	call->cancel.from = call->shard; /* a reply goes there, room or not */
	apus_message_reply(&call->cancel);
}

static void cancel_call(struct apus_cross_port *port, struct apus_call *call)
{
	if (call->is_done)
		return;
	call->was_cancelled = true;
	if (!call->is_waiting && port && call->shard != port->index) {
		send_cancel(port, call);
		return;
	}
	call->set->cancels_taken = call->set->cancels;
	if (!call->is_waiting) {
		apus_task_cancel(call->callee);
		return;
	}
	apus_list_remove(&call->request.link);
	call->is_waiting = false;
	call->is_done = true;
	call->result = -ECANCELED;
	call->set->left--;
	port->calls_out--;
}

/* Passed on to all that are out. Return: false if none is. */
static bool cancel_set(struct apus_wait *wait)
{
	struct apus_call_set *set = apus_container_of(wait, struct apus_call_set, wait);
	struct apus_cross_port *port = apus_cross_here();

	set->cancels++;
	for (unsigned int i = 0; i < set->count; i++)
		cancel_call(port, &set->calls[i]);
	return set->left > 0;
}

/*
 * What was passed on, and found that all had ended there, is for the next wait; as one is that comes
 * when the answers are here already. A wait that gives -ECANCELED has told of all that came.
 */
static inline void keep_missed_cancel(const struct apus_call_set *set, int64_t rc)
{
	if (apus_unlikely(set->cancels != set->cancels_taken) && rc != -ECANCELED)
		set->wait.task->must_cancel = true;
}

/* ------------------------------------------------------------------------------------- the callee */

/* The words of an answer that has been waiting for room. */
void apus_call_answer_words(struct apus_message *message, uint64_t *words)
{
	struct apus_call *call = apus_container_of(message, struct apus_call, answer);

	words[0] = (uintptr_t)call | APUS_RECORD_ANSWER;
	words[1] = (uint64_t)call->result;
}

static void answer(struct apus_cross_port *port, unsigned int to, struct apus_call *call,
		   int64_t result)
{
	uint64_t words[] = {(uintptr_t)call | APUS_RECORD_ANSWER, (uint64_t)result};

	if (!port || to == port->index) {
		finish(call, result);
	} else if (!apus_cross_put(port, &port->peers[to], words, 2)) {
		call->result = result;
		apus_cross_reply(port, &port->peers[to], &call->answer, APUS_RECORD_ANSWER);
	}
}

/*
 * The caller's deadline as a time here. Two clocks of the machine are measured each for itself, and
 * drift apart, by a second in a day: between them what is left of it travels. Hosts of a simulated
 * world have one clock.
 */
static int64_t deadline_here(const struct apus_call *call)
{
	const struct apus_shard *s = apus_shard_current;

	if (call->deadline_ns == APUS_NEVER || call->clock == s->clock)
		return call->deadline_ns;
	return apus_now() + (call->deadline_ns - call->made_at_ns);
}

/* Within the caller's deadline, if it has one. */
static int64_t run_function(const struct apus_callee *c)
{
	struct apus_timeout limit;
	int64_t result;

	if (apus_likely(c->deadline_ns == APUS_NEVER))
		return c->fn(c->arg);
	apus_timeout_begin(&limit, APUS_NEVER);
	apus_timeout_reschedule(&limit, c->deadline_ns);
	result = apus_timeout_end(&limit, c->fn(c->arg));
	c->call->limit_expired = apus_timeout_expired(&limit) && result == -ETIMEDOUT;
	return result;
}

static int64_t run_call(void *arg)
{
	const struct apus_callee *c = arg;
	struct apus_cross_port *port = apus_cross_here();
	struct apus_task *self = apus_shard_current->current;

	port->started = self;

	int64_t result = run_function(c);

	if (apus_take_cancel(self))
		result = -ECANCELED;
	if (port->started == self)
		port->started = NULL;
	else
		c->call->callee = NULL;
	port->calls_in--;
	answer(port, c->from, c->call, result);
	return 0;
}

static int64_t run_here(void *arg)
{
	const struct apus_callee *c = arg;
	int64_t result = c->fn(c->arg);

	if (apus_take_cancel(apus_shard_current->current))
		result = -ECANCELED;
	finish(c->call, result);
	return 0;
}

bool apus_call_is_posted(const struct apus_task *t)
{
	if (apus_post_runs(t))
		return true;
	return (t->fn == run_call || t->fn == run_here) &&
	       ((const struct apus_callee *)t->arg)->was_posted;
}

/* The variables of another shard are copied, since they are counted there. */
int apus_callee_start(apus_task_fn body, const struct apus_callee *c,
		      const struct apus_vars *theirs)
{
	static const struct apus_spawn_options options = {.flags = APUS_SPAWN_EAGER};
	struct apus_shard *s = apus_shard_current;
	int rc = theirs ? apus_vars_copy(theirs, &s->heap, &s->work_vars) : 0;

	if (rc)
		return rc;
	apus_assert(!s->current);
	rc = apus_spawn_detached(&options, body, c, sizeof(*c));
	if (theirs) {
		apus_vars_put(s->work_vars);
		s->work_vars = NULL;
	}
	return rc;
}

void apus_call_take(struct apus_cross_port *port, unsigned int from, const uint64_t *words,
		    bool more)
{
	const struct apus_vars *vars = NULL;
	struct apus_callee c = {
		.call = call_of(words[0]),
		.fn = (apus_task_fn)(uintptr_t)words[1],
		.arg = (void *)(uintptr_t)words[2],
		.deadline_ns = APUS_NEVER,
		.from = from,
	};

	if (more) {
		c.deadline_ns = deadline_here(c.call);
		c.was_posted = c.call->was_posted;
		vars = c.call->vars;
	}
	port->counters[APUS_CROSS_CALLS_IN]++;
	port->calls_in++;

	int rc = port->is_refusing ? -ESHUTDOWN : apus_callee_start(run_call, &c, vars);

	if (rc) {
		port->counters[APUS_CROSS_CALLS_REFUSED]++;
		port->calls_in--;
		answer(port, from, c.call, rc);
	} else if (port->started) {
		c.call->callee = port->started; /* it has suspended */
		__atomic_store_n(&c.call->callee_id, port->started->id, __ATOMIC_RELAXED);
		port->started = NULL;
	}
}

/* ------------------------------------------------------------------------------------------ calls */

/* One that is in no list but the caller's. */
static void init_call(struct apus_call *call, struct apus_call_set *set, unsigned int shard)
{
	struct apus_task *self = apus_shard_current->current;

	call->set = set;
	call->shard = shard;
	call->is_waiting = call->is_done = call->cancel_out = call->cancel_again = false;
	call->was_posted = apus_call_is_posted(self);
	call->vars = self->vars;
	call->deadline_ns = apus_deadline();
	if (apus_unlikely(call->deadline_ns != APUS_NEVER)) {
		call->made_at_ns = apus_now();
		call->clock = apus_shard_current->clock;
	}
	call->callee = NULL;
	call->callee_id = 0;
	call->limit_expired = call->was_cancelled = false;
}

static void start_there(struct apus_cross_port *port, struct apus_call *call, apus_task_fn fn,
			void *arg)
{
	bool more = call->vars || call->was_posted || call->deadline_ns != APUS_NEVER;

	call->request.words[0] =
		(uintptr_t)call | (more ? APUS_RECORD_CALL_MORE : APUS_RECORD_CALL);
	call->request.words[1] = (uintptr_t)fn;
	call->request.words[2] = (uintptr_t)arg;
	call->request.count = 3;
	call->request.done = call_left;
	call->is_waiting = true;
	port->calls_out++;
	port->counters[APUS_CROSS_CALLS_OUT]++;
	apus_cross_request(port, &port->peers[call->shard], &call->request);
}

/* On this shard: a plain task. It may have ended when this returns. */
static void start_here(struct apus_call *call, apus_task_fn fn, void *arg)
{
	static const struct apus_spawn_options options = {.flags = APUS_SPAWN_EAGER};
	struct apus_callee c = {.call = call, .fn = fn, .arg = arg, .was_posted = call->was_posted};
	struct apus_task *t = apus_spawn_with(&options, run_here, &c, sizeof(c));

	if (!t)
		finish(call, -ENOMEM);
	else if (call->is_done)
		apus_detach(t);
	else
		call->callee = t; /* until the caller detaches it */
}

static unsigned int index_of(const struct apus_shard *shard)
{
	const struct apus_cross_port *port = shard->slots[APUS_CROSS_SLOT];

	return port ? port->index : 0;
}

/* For dumps, also of another shard, which sleeps then: who is called, and has not answered. */
static bool next_callee(const struct apus_wait *wait, unsigned int *i, struct apus_awaited *out)
{
	const struct apus_call_set *set = apus_container_of(wait, struct apus_call_set, wait);

	while (*i < set->count && set->calls[*i].is_done)
		++*i;
	if (*i == set->count)
		return false;

	const struct apus_call *call = &set->calls[(*i)++];
	bool is_here = call->shard == index_of(wait->task->shard);

	*out = (struct apus_awaited){
		.task = is_here ? call->callee : NULL,
		.shard = call->shard,
		.id = is_here ? 0 : __atomic_load_n(&call->callee_id, __ATOMIC_RELAXED),
	};
	return true;
}

static const struct apus_wait_type calls_wait = {.cancel = cancel_set, .awaits = next_callee};

/*
 * The deadline ended it there, which was one of ours: its timer is due here as well, and says to
 * which of our scopes it belongs. If it was moved meanwhile, the call has timed out, and we have not.
 */
static APUS_COLD int64_t await_own_limit(const struct apus_call *call)
{
	if (call->was_cancelled)
		return -ECANCELED;
	return apus_sleep_until(call->deadline_ns) == -ECANCELED ? -ECANCELED : -ETIMEDOUT;
}

static inline int64_t result_of(const struct apus_call *call)
{
	return apus_unlikely(call->limit_expired) ? await_own_limit(call) : call->result;
}

/*
 * A cancel that came before is told first: passed on, it would find a callee that has ended when it
 * comes, call after call.
 */
static inline int checkpoint(void)
{
	if (apus_unlikely(apus_take_cancel(apus_shard_current->current)))
		return -ECANCELED;
	return apus_checkpoint();
}

static int64_t call_here(apus_task_fn fn, void *arg)
{
	struct apus_call call;
	struct apus_call_set set = {.calls = &call, .count = 1, .left = 2};

	apus_wait_init(&set.wait, &calls_wait, "call", &set);
	init_call(&call, &set, apus_shard_index());
	start_here(&call, fn, arg);
	if (--set.left == 0)
		return call.result;
	apus_keep_cancel(&set.wait, apus_park(&set.wait));
	apus_detach(call.callee);
	return call.result;
}

static APUS_SUSPENDS int64_t call_there(struct apus_cross_port *port, unsigned int shard,
					apus_task_fn fn, void *arg)
{
	struct apus_call call;
	struct apus_call_set set = {.calls = &call, .count = 1, .left = 1};

	apus_wait_init(&set.wait, &calls_wait, "call", &port->peers[shard]);
	init_call(&call, &set, shard);
	start_there(port, &call, fn, arg);
	apus_keep_cancel(&set.wait, apus_park_here(&set.wait));

	int64_t result = result_of(&call);

	keep_missed_cancel(&set, result);
	return result;
}

int64_t apus_call_on(unsigned int shard, apus_task_fn fn, void *arg)
{
	struct apus_cross_port *port = apus_cross_here();

	int rc = apus_cross_check(port, shard);

	if (apus_unlikely(rc))
		return rc;
	rc = checkpoint();
	if (apus_unlikely(rc))
		return rc;
	if (!port || shard == port->index)
		return call_here(fn, arg);
	return call_there(port, shard, fn, arg);
}

/* Ourselves last: the others are at it meanwhile. */
static void call_all(struct apus_call_set *set, apus_task_fn fn, void *arg)
{
	struct apus_cross_port *port = apus_cross_here();
	unsigned int self = apus_shard_index();

	apus_wait_init(&set->wait, &calls_wait, "calls on all shards", set);
	set->left = set->count + 1;
	for (unsigned int i = 0; i < set->count; i++)
		init_call(&set->calls[i], set, i);
	for (unsigned int i = 0; i < set->count; i++) {
		unsigned int shard = (self + 1 + i) % set->count;
		struct apus_call *call = &set->calls[shard];
		int rc = apus_cross_check(port, shard);

		if (rc)
			finish(call, rc);
		else if (shard != self)
			start_there(port, call, fn, arg);
		else
			start_here(call, fn, arg);
	}
	if (--set->left > 0)
		apus_keep_cancel(&set->wait, apus_park(&set->wait));
	apus_detach(set->calls[self].callee);
}

/* None was called. */
static APUS_COLD int64_t all_fail(int64_t *results, unsigned int count, int64_t rc)
{
	for (unsigned int i = 0; results && i < count; i++)
		results[i] = rc;
	return rc;
}

int64_t apus_on_all(apus_task_fn fn, void *arg, int64_t *results)
{
	struct apus_heap *heap = apus_shard_heap(apus_shard_self());
	struct apus_call_set set = {.count = apus_shard_count()};
	int64_t first = checkpoint();

	if (apus_unlikely(first))
		return all_fail(results, set.count, first);
	set.calls = apus_heap_alloc(heap, set.count * sizeof(*set.calls));
	if (!set.calls)
		return all_fail(results, set.count, -ENOMEM);
	call_all(&set, fn, arg);
	for (unsigned int i = 0; i < set.count; i++) {
		int64_t result = result_of(&set.calls[i]);

		if (results)
			results[i] = result;
		if (result < 0 && !first)
			first = result;
	}
	keep_missed_cancel(&set, first);
	apus_heap_free(heap, set.calls);
	return first;
}

int64_t apus_map_reduce(apus_task_fn map, void *arg, apus_reduce_fn reduce, void *into)
{
	struct apus_heap *heap = apus_shard_heap(apus_shard_self());
	unsigned int count = apus_shard_count();
	int64_t *results = apus_heap_alloc(heap, count * sizeof(*results));

	if (!results)
		return -ENOMEM;

	int64_t rc = apus_on_all(map, arg, results);

	for (unsigned int i = 0; !rc && i < count; i++)
		reduce(into, i, results[i]);
	apus_heap_free(heap, results);
	return rc;
}
