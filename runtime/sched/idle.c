/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/idle.c: what a shard does when there is nothing to do.
 *
 * It spins for a while, because the next packet is usually near and a wake-up from sleep costs 17
 * to 33 µs; then it arms every poller, looks once more, and sleeps in epoll until a file
 * descriptor, the bell or the next timer. With --idle spin it never sleeps.
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

static const int64_t spin_ns = 100 * APUS_US;
static const int64_t trim_every_ns = APUS_SEC;

int apus_shard_watch(struct apus_shard *shard, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

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
	struct epoll_event bell = {.events = EPOLLIN | EPOLLET};
	int rc;

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

static void wait_for_news(struct apus_shard *s, int64_t until_ns)
{
	struct epoll_event events[8];
	struct timespec span, *timeout = NULL;
	int64_t begin_ns = apus_clock_read(s->clock);

	if (until_ns != APUS_NEVER) {
		int64_t ns = apus_max(until_ns - begin_ns, INT64_C(0));

		span = (struct timespec){.tv_sec = ns / APUS_SEC, .tv_nsec = ns % APUS_SEC};
		timeout = &span;
	}
	if (s->is_debug)
		apus_debug_sleeps(s);

	/* What happened the pollers find out themselves. */
	(void)epoll_pwait2(s->epoll_fd, events, apus_countof(events), timeout, NULL);
	s->counters[APUS_SHARD_SLEEPS]++;
	s->counters[APUS_SHARD_SLEPT_NS] += (uint64_t)(apus_clock_read(s->clock) - begin_ns);
}

static int64_t trim_stacks(struct apus_shard *s, int64_t now_ns)
{
	bool more = false;

	if (now_ns - s->trimmed_at_ns < trim_every_ns)
		return s->trimmed_at_ns + trim_every_ns;
	s->trimmed_at_ns = now_ns;
	for (size_t i = 0; i < APUS_STACK_POOLS; i++)
		more |= apus_stack_pool_trim(&s->pools[i]);
	return more ? now_ns + trim_every_ns : APUS_NEVER;
}

/* Armed first, looked at once more after, so that nothing that came in between is slept over. */
static void sleep_armed(struct apus_shard *s)
{
	int64_t trim_ns = trim_stacks(s, apus_shard_now(s));

	atomic_store(&s->inbox->asleep, true);

	int64_t poll_ns = tell_pollers(s, APUS_IDLE_ARM);

	if (!apus_shard_turn(s) && apus_ready_empty(&s->ready) && !atomic_load(&s->inbox->head)) {
		int64_t timer_ns = next_timer_ns(s);

		poll_ns = apus_min(poll_ns, trim_ns);
		wait_for_news(s, apus_min(timer_ns, poll_ns));
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
		wait_for_news(s, until_ns);
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

	if (s->spin || now_ns - s->busy_at_ns < spin_ns || tell_pollers(s, APUS_IDLE_ASK) <= now_ns)
		pause_cpu();
	else
		sleep_armed(s);
}
