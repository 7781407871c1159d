/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/shard.h: the shard: one core's scheduler, and the loop.
 *
 * All state hangs off struct apus_shard; the current one is a thread-local pointer, and there is no
 * other mutable global. So a thread can hold several shards (a simulated world does) and enter
 * them in turn with apus_shard_enter().
 */
#ifndef APUS_RUNTIME_SCHED_SHARD_H
#define APUS_RUNTIME_SCHED_SHARD_H

#include "runtime/base/alloc.h"
#include "runtime/base/clock.h"
#include "runtime/base/metrics.h"
#include "runtime/base/random.h"
#include "runtime/sched/poller.h"
#include "runtime/sched/task.h"
#include "runtime/sched/timer.h"
#include "runtime/sched/work.h"

APUS_BEGIN_DECLS

struct apus_shard;

struct apus_shard_options {
	int core;                 /* pin the thread to this core; < 0: do not */
	struct apus_clock *clock; /* borrowed while open; NULL: a real clock of its own */
	uint64_t seed;            /* of its chance; 0: from the system */
	bool spin;                /* never sleep (--idle spin) */
	bool stack_report;        /* install the handler that names a task whose stack overflowed */
	uint32_t tasks_max;       /* 0: 4 million */
	size_t stack_bytes;       /* default address space of a task's stack; 0: 64 KiB */
	bool debug;               /* debug mode: look for mistakes; also by APUS_DEBUG=1 */
	int64_t slow_ns;          /* in debug mode: report a step that runs longer; 0: 25 ms */
	unsigned int index;       /* which of several that run together, so that the log names it */
	unsigned int count;       /* of how many; 0 or 1: it is alone */
	int64_t executor_wait_ns; /* after main ended, for calls on threads to return; 0: 5 minutes */
};

/** apus_shard_open - a shard, not entered. Context: thread. Return: 0, -ENOMEM, -EINVAL, -errno of pinning */
APUS_MUST_CHECK int apus_shard_open(const struct apus_shard_options *options,
				    struct apus_shard **out);
/**
 * apus_shard_close - every task must have ended and every poller be gone
 *
 * A shard that apus_run_task() had to abandon, since a call on a thread did not return, is not given
 * back: the thread may still use it. Context: thread, not in a task.
 */
void apus_shard_close(struct apus_shard *shard);

/** apus_shard_self - the shard of this thread; NULL on a thread that is none. Context: any */
struct apus_shard *apus_shard_self(void);
/** apus_shard_enter - make @shard (or NULL) the current one of this thread. Return: the one before */
struct apus_shard *apus_shard_enter(struct apus_shard *shard);

/**
 * apus_shard_turn - one turn of the loop: poll, timers, ready, flush
 *
 * Does not sleep. Context: thread, @shard entered, not in a task.
 * Return: true if there was anything to do.
 */
bool apus_shard_turn(struct apus_shard *shard);

/** apus_shard_next_ns - when the next turn has something to do, if nobody calls: a time, APUS_NEVER */
int64_t apus_shard_next_ns(struct apus_shard *shard);

/** apus_shard_run - turn until @t has ended, sleeping when idle. Borrows @t. Context: thread, entered */
void apus_shard_run(struct apus_shard *shard, const struct apus_task *t);

/** apus_shard_serve - turn until *@until is true, which the shard itself sets; sleeping when idle. Context: thread, entered */
void apus_shard_serve(struct apus_shard *shard, const bool *until);

/**
 * apus_shard_cancel_all - ask every other task to stop that was not asked yet
 *
 * When there is none any more, the generators that they left open are closed, each by a task of its
 * own. Bodies of generators are never asked: they belong to who consumes them.
 *
 * Context: any, on the shard. Return: how many were asked, or are closed
 */
size_t apus_shard_cancel_all(struct apus_shard *shard);

/** apus_all_tasks - visit every task that has not ended, oldest first, but for bodies of generators; the visited one may be cancelled. Context: any. Source: asyncio.all_tasks */
typedef void (*apus_task_visit_fn)(struct apus_task *t, void *arg);
void apus_all_tasks(struct apus_shard *shard, apus_task_visit_fn visit, void *arg);

/* An error that nobody will see. */
struct apus_unhandled {
	const char *message;    /* what happened, in words */
	struct apus_task *task; /* whose it is; may be NULL */
	int64_t error;          /* negative errno */
};
typedef void (*apus_unhandled_fn)(const struct apus_unhandled *what, void *arg);

/**
 * apus_on_unhandled - who is told of errors that nobody sees; NULL: a line of the log
 * @fn: must not wait; runs where the error became nobody's: at the end of the task, or when its last
 *      handle is detached
 *
 * An error is seen by who awaits the task, takes its result, or gathers it; not by a done-callback.
 * -ECANCELED is no error. Context: any, on the shard. Source: loop.set_exception_handler
 */
void apus_on_unhandled(struct apus_shard *shard, apus_unhandled_fn fn, void *arg);

/** apus_unhandled_error - tell of the running task's @error < 0 that nobody will see. Context: any, on a shard */
void apus_unhandled_error(const char *message, int64_t error);

/**
 * apus_shard_trim - give memory of a few stacks back that no task has used for a second
 *
 * A shard that sleeps does that before. Whoever ends many tasks at once, which will not come back soon,
 * calls this from time to time, for shards that never sleep.
 *
 * Context: any, on the shard. Return: when there may be more to give back: now; later; APUS_NEVER
 */
int64_t apus_shard_trim(struct apus_shard *shard);

/** apus_shard_tasks - tasks that have not ended */
size_t apus_shard_tasks(const struct apus_shard *shard);

/** apus_shard_dump - one line per task to the file descriptor @fd: name, state, what it waits for; dump.h has more. Context: any */
void apus_shard_dump(const struct apus_shard *shard, int fd);

/* Called by apus_shard_close(), the last registered first; the room's memory. */
struct apus_closer {
	struct apus_list link;
	void (*close)(struct apus_closer *closer);
};
/** apus_shard_at_close - keeps @closer until the shard closes. Context: any, on the shard */
void apus_shard_at_close(struct apus_shard *shard, struct apus_closer *closer);

/**
 * apus_shard_wait_outside - while an answer of another thread is due: wait for it, in real time
 *
 * For who turns a shard on a virtual clock by itself: that clock must not jump meanwhile. Waits for
 * nothing when the shard has something to do. Context: thread, @shard entered. Return: false if no answer is due.
 */
bool apus_shard_wait_outside(struct apus_shard *shard);

/* What a descriptor tells of: the name under which it is counted that it woke the shard. */
enum apus_waker {
	APUS_WAKER_FD,      /* anything: "woken_by_fd" */
	APUS_WAKER_PACKETS, /* a device's queue */
	APUS_WAKER_RING,    /* io_uring's completions */
};
/** apus_shard_watch - wake the sleeping shard when @fd is readable; until unwatch. Return: 0, -errno */
APUS_MUST_CHECK int apus_shard_watch(struct apus_shard *shard, int fd, enum apus_waker what);
/** apus_shard_unwatch - no longer. Context: any, on the shard */
void apus_shard_unwatch(struct apus_shard *shard, int fd);

/**
 * apus_call_from_thread - run @work on @shard, from any thread or signal handler
 * @shard: open when the call begins; a thread that cannot know holds its inbox instead
 * @work:  initialised and waiting nowhere; kept until it ran; taken nowhere on error
 *
 * What one thread calls runs in its order. A call that came before the shard was closed runs, at the
 * latest while it closes; then it can spawn nothing.
 *
 * Context: any thread. Return: 0; -ESHUTDOWN: the shard is closed. Source: asyncio loop.call_soon_threadsafe
 */
int apus_call_from_thread(struct apus_shard *shard, struct apus_work *work);

/*
 * The way into a shard for threads that may outlast it: counted, and valid until it is put, whether
 * or not the shard still is.
 */
struct apus_inbox;
/** apus_inbox_get - a reference to the inbox of @shard, which is open. Context: any thread */
APUS_MUST_CHECK struct apus_inbox *apus_inbox_get(struct apus_shard *shard);
/** apus_inbox_put - give it back; NULL does nothing. Context: any thread */
void apus_inbox_put(struct apus_inbox *inbox);
/** apus_inbox_call - as apus_call_from_thread(), into a shard that may be closed. Context: any thread. Return: 0, -ESHUTDOWN */
APUS_MUST_CHECK int apus_inbox_call(struct apus_inbox *inbox, struct apus_work *work);

/* A thread that waits for something of the shard's. */
struct apus_inbox_wait {
	struct apus_list link;
	void (*lost)(struct apus_inbox_wait *wait); /* the shard closes, and it has not come */
};
/** apus_inbox_wait - keeps @wait until it is unlinked by apus_list_unlink(), or lost. Context: any, on the shard */
void apus_inbox_wait(struct apus_shard *shard, struct apus_inbox_wait *wait);

/** apus_shard_ring - if it sleeps, wake it: after something was put where its pollers look. Context: any thread */
void apus_shard_ring(struct apus_shard *shard);

/** apus_now - this turn's time in ns: read once per turn, the same for all that runs in it. Context: any, on a shard */
int64_t apus_now(void);
/** apus_wall_now - the same as ns since 1970 (UTC) */
int64_t apus_wall_now(void);

/** apus_shard_heap - where objects of the shard come from. Borrowed. Context: any */
struct apus_heap *apus_shard_heap(struct apus_shard *shard);
/** apus_shard_random - the shard's chance, which its seed decides. Borrowed. Context: any, on the shard */
struct apus_random *apus_shard_random(struct apus_shard *shard);
/** apus_shard_metrics - its counters, and those that others registered. Borrowed. Context: any, on the shard */
struct apus_metrics *apus_shard_metrics(struct apus_shard *shard);

/*
 * Places where what attaches to a shard keeps its root, so that its public calls need not be handed
 * it. Each number is given out once, by the header of the room that owns it.
 */
#define APUS_SHARD_SLOTS 8 /* the runtime takes them from the top, what is above it from 0 */
/** apus_shard_slot - what the owner of @slot set; NULL at first. Context: any, on the shard */
void *apus_shard_slot(const struct apus_shard *shard, unsigned int slot);
/** apus_shard_set_slot - by the owner of @slot only. Context: any, on the shard */
void apus_shard_set_slot(struct apus_shard *shard, unsigned int slot, void *value);

APUS_END_DECLS

#endif
