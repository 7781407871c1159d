/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/internal.h: what the files of this folder know of each other: the task and the
 * shard.
 */
#ifndef APUS_RUNTIME_SCHED_INTERNAL_H
#define APUS_RUNTIME_SCHED_INTERNAL_H

#include "runtime/base/check.h"
#include "runtime/sched/context.h"
#include "runtime/sched/ready.h"
#include "runtime/sched/shard.h"
#include "runtime/sched/stack.h"
#include "runtime/sched/vars.h"
#include "runtime/sched/wait.h"
#include "runtime/sched/wheel.h"

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>

struct apus_timeout;

enum apus_task_state {
	APUS_TASK_NEW,    /* in the ready queue, body not entered */
	APUS_TASK_READY,  /* in the ready queue, or running */
	APUS_TASK_PARKED, /* task->wait says where */
	APUS_TASK_DONE,
};

/* At the top of its own stack. The first two cache lines are what a switch touches. */
struct apus_task {
	struct apus_stack stack;     /* written by the pool */
	struct apus_context context; /* where it stands while it does not run */
	struct apus_wait *wait;      /* while parked */

	struct apus_work step;     /* its entry in the ready queue */
	uint8_t state;             /* enum apus_task_state */
	bool must_cancel;          /* a cancel not yet delivered */
	bool result_seen;          /* somebody awaits it, or took the result */
	bool cancel_passing;       /* a cancel is on its way to what it awaits */
	bool is_eager;             /* it runs inside of the call that spawned it */
	bool is_inner;             /* a part of another: the body of a generator */
	uint16_t scopes;           /* time limits and groups that it is inside of */
	uint32_t refs;             /* handles */
	uint32_t cancelling;       /* cancels asked for and not taken back */
	struct apus_list awaiters; /* struct apus_wait.link, oldest first: tasks and callbacks */
	int64_t result;            /* valid when done */
	apus_task_fn fn;
	void *arg;
	struct apus_list all; /* in the shard's list of tasks that have not ended */
	struct apus_shard *shard;
	struct apus_vars *vars;       /* its context variables */
	struct apus_timeout *limits;  /* its time limits, innermost first (sync/timeout.c) */
	struct apus_task *spawner;    /* of an eager task, while it is one; NULL: the loop */
	const char *cancel_reason;    /* the last one given */
	struct apus_stack_pool *pool; /* of its stack */
	uint64_t id;
#if APUS_ASAN || APUS_TSAN
	void *fiber; /* the sanitizer's */
#endif
	char name[APUS_TASK_NAME_BYTES]; /* empty: "task-<id>" is made up when asked for */
};

#define APUS_SHARD_COUNTERS(X)                 \
 X(TURNS, "turns")                             \
 X(LAPS, "laps")                               \
 X(TASKS_SPAWNED, "tasks_spawned")             \
 X(TASKS_FAILED_UNSEEN, "tasks_failed_unseen") \
 X(CANCELS, "cancels")                         \
 X(BUDGET_YIELDS, "budget_yields")             \
 X(TIMERS_FIRED, "timers_fired")               \
 X(INBOX, "inbox")                             \
 X(SLEEPS, "sleeps")                           \
 X(SLEPT_NS, "slept_ns")                       \
 X(WOKEN_FD, "woken_by_fd")                    \
 X(WOKEN_PACKETS, "woken_by_packets")          \
 X(WOKEN_RING, "woken_by_ring")                \
 X(WOKEN_SHARD, "woken_by_shard")              \
 X(WOKEN_THREAD, "woken_by_thread")            \
 X(WOKEN_TIMER, "woken_by_timer")              \
 X(WOKEN_POLLER, "woken_by_poller")            \
 X(WOKEN_TRIM, "woken_by_trim")                \
 X(WOKEN_SIGNAL, "woken_by_signal")

enum apus_shard_counter {
#define X(id, name) APUS_SHARD_##id,
	APUS_SHARD_COUNTERS(X)
#undef X
	APUS_SHARD_COUNTER_COUNT,
};

/* Stack sizes are powers of two from 16 KiB (2^14) up. */
#define APUS_STACK_POOLS    12
#define APUS_STACK_BITS_MIN 14

/* Counted apart from its shard, which has one of the references: other threads may hold it longer. */
struct apus_inbox {
	alignas(APUS_CACHE_LINE) _Atomic(struct apus_work *)
		head;       /* newest first; CLOSED: no more */
	atomic_bool asleep; /* whoever takes it back rings the bell */
	atomic_uint refs;
	int event_fd;             /* the bell */
	struct apus_list waiting; /* struct apus_inbox_wait.link; the shard's */
};

struct apus_shard {
	struct apus_task *current; /* the running task; NULL on the loop's stack */
	struct apus_ready ready;
	uint32_t lap_end;       /* position in the ready queue where this lap ends */
	uint32_t laps_in_place; /* laps that may begin without going through the loop */
	bool now_known;         /* now_ns was read in this turn */
	bool is_debug;          /* fixed at open */
	bool in_turn;           /* the loop is in a turn: what the watchdog goes by */
	int64_t now_ns;
	struct apus_context loop; /* where the loop stands while a task runs */
	struct apus_clock *clock;
	struct apus_vars *work_vars;   /* of the running callback */
	const struct apus_task *until; /* apus_shard_run() ends with it */
	struct apus_inbox *inbox;      /* from other threads */
	uint64_t counters[APUS_SHARD_COUNTER_COUNT];
	struct apus_wheel wheel;

	/* Cold from here on. */
	struct apus_stack_pool pools[APUS_STACK_POOLS];
	struct apus_stack_pool *default_pool;
	struct apus_list tasks; /* struct apus_task.all, oldest first */
	size_t tasks_live;
	size_t inner_live; /* of them, with is_inner */
	size_t tasks_max;
	struct apus_list pollers;
	struct apus_list closers; /* struct apus_closer.link, last registered first */
	struct apus_list enders;  /* struct apus_ender.link, oldest first */
	struct apus_heap heap;
	struct apus_random random;
	struct apus_clock own_clock;
	struct apus_metrics metrics;
	struct apus_metrics_block metrics_block;
	void *slots[APUS_SHARD_SLOTS];
	apus_unhandled_fn unhandled; /* NULL: a line of the log */
	void *unhandled_arg;
	bool spin;
	int64_t busy_at_ns; /* when there last was something to do */
	int64_t spin_ns;    /* how long to look for more from then on, before it sleeps */
	int64_t trimmed_at_ns;
	int epoll_fd;
	bool is_stopping;   /* main has ended: no new tasks for other threads */
	unsigned int index; /* of several that run together, for the log */
	unsigned int count; /* so many; 0 or 1: it is alone */
	void *signal_stack; /* of the fault handler */
	bool reports_faults;
	void *tsan_fiber;       /* the loop's own */
	pthread_t thread;       /* that entered it last */
	size_t watched;         /* file descriptors, beside the bell */
	struct apus_slow *slow; /* in debug mode */
	bool said_deadlock;
	bool is_abandoned;        /* a thread may still use its memory: it is never closed */
	uint32_t outside;         /* answers due from other threads */
	int64_t outside_until_ns; /* of the host's clock: waited for them no longer */
	int64_t executor_wait_ns;
};

extern apus_thread_local struct apus_shard *apus_shard_current;

static inline int64_t apus_shard_now(struct apus_shard *s)
{
	if (!s->now_known) {
		s->now_ns = apus_clock_read(s->clock);
		s->now_known = true;
	}
	return s->now_ns;
}

/* What is spawned or registered now inherits: a counted copy. */
static inline struct apus_vars *apus_vars_snapshot(const struct apus_shard *s)
{
	return apus_vars_get(s->current ? s->current->vars : s->work_vars);
}

static inline int apus_task_ready(struct apus_shard *s, struct apus_task *t)
{
	return apus_ready_push(&s->ready, &t->step, APUS_READY_TASK);
}

/* task.c: what a task's memory holds beyond itself; NULL: nothing. */
#if APUS_TSAN
void apus_task_drop(void *task);
#else
# define apus_task_drop NULL
#endif

/* task.c: runs @t until it suspends or ends, and whatever of the lap follows it without a gap. */
void apus_task_run(struct apus_shard *s, struct apus_task *t);

/* idle.c: sleeps until there may be something to do. */
void apus_shard_idle(struct apus_shard *s);
APUS_MUST_CHECK int apus_idle_open(struct apus_shard *s);
void apus_idle_close(struct apus_shard *s);

/* end.c: tells the hook, or the log. */
APUS_COLD void apus_report_unhandled(struct apus_shard *s, const struct apus_unhandled *what);
/* end.c: has an answer from outside been waited for too long? Then the shard is left as it is. */
bool apus_shard_is_late(struct apus_shard *s);
void apus_shard_abandon(struct apus_shard *s);
/* end.c: another shard's thread does not answer: says which task holds it. */
APUS_COLD void apus_shard_say_stuck(const struct apus_shard *s);

/* misuse.c: the task ends inside of scopes that it began; their memory goes: ends the process. */
APUS_COLD void apus_scopes_left(struct apus_task *t);

/* inbox.c: moves what other threads left to the ready queue. */
bool apus_inbox_poll(struct apus_shard *s);
APUS_MUST_CHECK int apus_inbox_open(struct apus_shard *s);
/* inbox.c: refuses calls from now on, and runs those that came before. */
void apus_inbox_shut(struct apus_shard *s);

/* fault.c: names the task whose stack overflowed. */
APUS_MUST_CHECK int apus_fault_open(struct apus_shard *s);
void apus_fault_close(struct apus_shard *s);

#endif
