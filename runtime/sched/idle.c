/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/idle.c: what a shard does when there is nothing to do.
 *
 * It spins for a while, because the next packet is usually near and a wake-up from sleep costs 17
 * to 33 µs; looks less often then, so that the other thread of its core has more of it; then it arms
 * every poller, looks once more, and sleeps in epoll until a file descriptor, the bell or the next
 * timer. With --idle spin it never sleeps, and looks as often as it can.
 *
 * How long it looks is learnt from how long it slept: a sleep so short that looking on would have
 * spared it makes the span twice as long, a longer one half as long, between 12.5 and 100 µs. So what
 * comes every millisecond costs about a hundredth of the core in looking, and bursts cost no sleep.
 *
 * What ended a sleep is counted by its cause; several may have at once. (Waiting on a line of memory
 * with UMWAIT would be a step between looking and sleeping; the machines at hand have no WAITPKG, so
 * it could be neither tried nor measured, and is not here.)
 */
#include "runtime/sched/debug.h"
#include "runtime/sched/internal.h"

#include <errno.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
# include <x86intrin.h>
#endif

static const int64_t spin_max_ns = 100 * APUS_US;
static const int64_t spin_min_ns = 12500;
static const int64_t spin_first_ns = 5 * APUS_US; /* with one pause between two looks */
static const int64_t trim_every_ns = APUS_SEC;
static const size_t trim_idle = 256; /* stacks at a time: bounds the time of one idle moment */
static const size_t trim_awake = 1;  /* ... of one that may end any moment: 1 to 2 µs */
static const size_t trim_busy = 8;   /* ... while there is something to do: about 10 µs */
enum {
	PAUSES = 8, /* between two looks after that: some 300 to 1000 cycles */
	BELL = APUS_SHARD_COUNTER_COUNT,
};

static_assert(APUS_SHARD_WOKEN_FD + APUS_WAKER_PACKETS == APUS_SHARD_WOKEN_PACKETS &&
		      APUS_SHARD_WOKEN_FD + APUS_WAKER_RING == APUS_SHARD_WOKEN_RING,
	      "counted by what is watched");

int apus_shard_watch(struct apus_shard *shard, int fd, enum apus_waker what)
{
	struct epoll_event event = {.events = EPOLLIN,
				    .data.u32 = APUS_SHARD_WOKEN_FD + (uint32_t)what};

	if (epoll_ctl(shard->epoll_fd, EPOLL_CTL_ADD, fd, &event))
		return -errno;
	shard->watched++;
	return 0;
}

void apus_shard_unwatch(struct apus_shard *shard, int fd)
{
	if (epoll_ctl(shard->epoll_fd, EPOLL_CTL_DEL, fd, NULL) == 0)
		shard->watched--;
}

/* The bell is edge-triggered, so that nobody needs to read it: each ring is an event of its own. */
int apus_idle_open(struct apus_shard *s)
{
	struct epoll_event bell = {.events = EPOLLIN | EPOLLET, .data.u32 = BELL};
	int rc;

	s->spin_ns = spin_max_ns;

	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll_fd < 0)
		return -errno;
	if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->inbox->event_fd, &bell)) {
		rc = -errno;
		close(s->epoll_fd);
		return rc;
	}
	return 0;
}

void apus_idle_close(struct apus_shard *s)
{
	close(s->epoll_fd);
}

static inline void pause_cpu(void)
{
#if defined(__x86_64__)
	_mm_pause();
#elif defined(__aarch64__)
	__asm__ volatile("isb");
#endif
}

/* Tells all pollers, and gives the earliest time that one of them wants to be polled. */
static int64_t tell_pollers(struct apus_shard *s, enum apus_idle what)
{
	int64_t next_ns = APUS_NEVER;
	struct apus_list *it;

	apus_list_for_each(it, &s->pollers) {
		struct apus_poller *p = apus_list_entry(it, struct apus_poller, link);

		next_ns = apus_min(next_ns, p->type->idle(p, what, apus_shard_now(s)));
	}
	return next_ns;
}

/* The time at which the loop looks into the wheel; each look moves it on towards the next timer. */
static int64_t next_timer_ns(const struct apus_shard *s)
{
	return s->wheel.armed ? s->wheel.next_ns : APUS_NEVER;
}

int64_t apus_shard_next_ns(struct apus_shard *s)
{
	if (!apus_ready_empty(&s->ready) ||
	    atomic_load_explicit(&s->inbox->head, memory_order_relaxed))
		return apus_shard_now(s);

	int64_t timer_ns = next_timer_ns(s);
	int64_t poller_ns = tell_pollers(s, APUS_IDLE_ASK);

	return apus_min(timer_ns, poller_ns);
}

/* The bell is rung by threads, whose calls lie in the inbox, and by shards. */
static void count_causes(struct apus_shard *s, const struct epoll_event *events, int n,
			 enum apus_shard_counter when_over)
{
	if (n <= 0)
		s->counters[n == 0 ? when_over : APUS_SHARD_WOKEN_SIGNAL]++;
	for (int i = 0; i < n; i++) {
		uint32_t which = events[i].data.u32;

		if (which == BELL)
			which = atomic_load_explicit(&s->inbox->head, memory_order_relaxed)
					? APUS_SHARD_WOKEN_THREAD
					: APUS_SHARD_WOKEN_SHARD;
		s->counters[which]++;
	}
}

/* @when_over: what to count when the time has come. Return: how long it slept */
static int64_t wait_for_news(struct apus_shard *s, int64_t until_ns,
			     enum apus_shard_counter when_over)
{
	struct epoll_event events[8];
	struct timespec span, *timeout = NULL;
	int64_t begin_ns = apus_clock_read(s->clock), slept_ns;

	if (until_ns != APUS_NEVER) {
		int64_t ns = apus_max(until_ns - begin_ns, INT64_C(0));

		span = (struct timespec){.tv_sec = ns / APUS_SEC, .tv_nsec = ns % APUS_SEC};
		timeout = &span;
	}
	if (s->is_debug)
		apus_debug_sleeps(s);

	/* What happened the pollers find out themselves. */
	int n = epoll_pwait2(s->epoll_fd, events, apus_countof(events), timeout, NULL);

	count_causes(s, events, n, when_over);
	slept_ns = apus_clock_read(s->clock) - begin_ns;
	s->counters[APUS_SHARD_SLEEPS]++;
	s->counters[APUS_SHARD_SLEPT_NS] += (uint64_t)slept_ns;
	return slept_ns;
}

/* What was not in use for a second, at most @most stacks. Return: when there may be more */
static int64_t trim_stacks(struct apus_shard *s, int64_t now_ns, size_t most)
{
	bool more = false;

	if (now_ns - s->trimmed_at_ns < trim_every_ns)
		return s->trimmed_at_ns + trim_every_ns;
	for (size_t i = 0; i < APUS_STACK_POOLS; i++)
		more |= apus_stack_pool_trim(&s->pools[i], most);
	if (more)
		return now_ns;
	s->trimmed_at_ns = now_ns;
	for (size_t i = 0; i < APUS_STACK_POOLS; i++)
		more |= apus_stack_pool_age(&s->pools[i]);
	return more ? now_ns + trim_every_ns : APUS_NEVER;
}

int64_t apus_shard_trim(struct apus_shard *s)
{
	return trim_stacks(s, apus_shard_now(s), trim_busy);
}

static void learn(struct apus_shard *s, int64_t slept_ns)
{
	if (slept_ns < spin_max_ns)
		s->spin_ns = apus_min(2 * s->spin_ns, spin_max_ns);
	else
		s->spin_ns = apus_max(s->spin_ns / 2, spin_min_ns);
}

/* Armed first, looked at once more after, so that nothing that came in between is slept over. */
static void sleep_armed(struct apus_shard *s)
{
	int64_t trim_ns = trim_stacks(s, apus_shard_now(s), trim_idle);

	atomic_store(&s->inbox->asleep, true);

	int64_t poll_ns = tell_pollers(s, APUS_IDLE_ARM);

	if (!apus_shard_turn(s) && apus_ready_empty(&s->ready) && !atomic_load(&s->inbox->head)) {
		int64_t timer_ns = next_timer_ns(s);
		int64_t until_ns = apus_min(timer_ns, apus_min(poll_ns, trim_ns));

		learn(s, wait_for_news(s, until_ns,
				       timer_ns == until_ns  ? APUS_SHARD_WOKEN_TIMER
				       : poll_ns == until_ns ? APUS_SHARD_WOKEN_POLLER
							     : APUS_SHARD_WOKEN_TRIM));
	}
	s->now_known = false;
	tell_pollers(s, APUS_IDLE_WAKE);
	atomic_store(&s->inbox->asleep, false);
}

/* Only another thread or a signal can bring news. */
static void wait_for_others(struct apus_shard *s)
{
	int64_t until_ns = APUS_NEVER;

	if (s->outside && s->outside_until_ns != APUS_NEVER)
		until_ns = apus_clock_read(s->clock) + s->outside_until_ns - apus_clock_host_ns();
	atomic_store(&s->inbox->asleep, true);
	if (!atomic_load(&s->inbox->head))
		(void)wait_for_news(s, until_ns, APUS_SHARD_WOKEN_TIMER);
	atomic_store(&s->inbox->asleep, false);
}

bool apus_shard_wait_outside(struct apus_shard *s)
{
	if (!s->outside)
		return false;
	if (apus_shard_next_ns(s) > apus_shard_now(s))
		wait_for_others(s);
	return true;
}

/* Nothing can happen before the next event: the clock jumps to it, unless an answer is due. */
static void jump(struct apus_shard *s)
{
	if (apus_shard_wait_outside(s))
		return;

	int64_t next_ns = apus_shard_next_ns(s);

	if (next_ns == APUS_NEVER)
		wait_for_others(s);
	else
		apus_clock_set(s->clock, apus_max(next_ns, s->clock->virtual_ns));
}

void apus_shard_idle(struct apus_shard *s)
{
	if (s->clock->is_virtual) {
		jump(s);
		return;
	}

	int64_t now_ns = apus_clock_read(s->clock);
	int64_t quiet_ns = now_ns - s->busy_at_ns;

	if (now_ns - s->trimmed_at_ns >= trim_every_ns)
		(void)trim_stacks(s, now_ns, trim_awake);
	if (s->spin || quiet_ns < apus_min(spin_first_ns, s->spin_ns))
		pause_cpu();
	else if (quiet_ns < s->spin_ns || tell_pollers(s, APUS_IDLE_ASK) <= now_ns)
		for (int i = 0; i < PAUSES; i++)
			pause_cpu();
	else
		sleep_armed(s);
}
