/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/cross_shards.c: what two shards have to say to one another.
 *
 * call/N is apus_call_on() from N tasks of one shard to the other, per call; post is apus_post_to();
 * message/32 is 32 nodes of the sender's sent there and back at once, per node; channel/stream is items
 * from one to the other, taken as they come, per item; channel/ping_pong one there and one back, each
 * over a channel at its receiver's. wake/call is the time from a call to the begin of its function on
 * a shard that sleeps, the median; wake/eventfd the same of a thread in epoll that an eventfd wakes.
 */
#include "bench/cross.h"
#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/cross/call.h"
#include "runtime/cross/channel.h"
#include "runtime/sched/shard.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define BATCH 32

/* ------------------------------------------------------------------------------------ two shards */

static struct {
	struct apus_shard *shards[2];
	uint64_t left; /* calls to be made */
	unsigned int callers;
	int64_t elapsed_ns;
	bool stop;
	bool sleeps; /* the other does, when it has nothing to do */
} job;

static void *turn_the_other(void *arg)
{
	struct apus_shard *shard = job.shards[1];

	apus_shard_enter(shard);
	while (!__atomic_load_n(&job.stop, __ATOMIC_ACQUIRE))
		if (!apus_shard_turn(shard))
			cross_pause();
	apus_shard_enter(NULL);
	return NULL;
}

static void *sleep_on_the_other(void *arg);

static int64_t nothing(void *arg)
{
	return 0;
}

static int64_t call_repeatedly(void *arg)
{
	while (job.left) {
		job.left--;
		apus_must(apus_call_on(1, nothing, NULL) == 0);
	}
	return 0;
}

static int64_t call_from_all(void *arg)
{
	struct apus_task *tasks[256] = {NULL};
	int64_t begin_ns = apus_clock_host_ns();

	for (unsigned int i = 0; i < job.callers; i++)
		tasks[i] = apus_spawn(call_repeatedly, NULL);
	for (unsigned int i = 0; i < job.callers; i++)
		apus_must(apus_await(tasks[i]) == 0);
	job.elapsed_ns = apus_clock_host_ns() - begin_ns;
	return 0;
}

static uint64_t posts_ended;

static int64_t count_post(void *arg)
{
	posts_ended++;
	return 0;
}

static int64_t read_posts(void *arg)
{
	return (int64_t)posts_ended;
}

static int64_t post_repeatedly(void *arg)
{
	int64_t begin_ns = apus_clock_host_ns();
	uint64_t n = job.left;

	for (uint64_t i = 0; i < n; i++)
		apus_must(apus_post_to(1, count_post, NULL) == 0);
	apus_must(apus_call_on(1, read_posts, NULL) == (int64_t)n); /* behind them all */
	job.elapsed_ns = apus_clock_host_ns() - begin_ns;
	return 0;
}

/* Nodes of our own that go there and come back, 32 at a time. */
static struct node {
	struct apus_message message;
	uint64_t value;
} APUS_ALIGNED(64) nodes[BATCH];

static struct {
	struct apus_task *sender;
	unsigned int out;
} messages;

static void come_back(struct apus_message *message)
{
	if (--messages.out == 0)
		apus_task_cancel(messages.sender); /* wakes it */
}

static void turn_round(struct apus_message *message)
{
	apus_container_of(message, struct node, message)->value++;
	message->fn = come_back;
	apus_message_reply(message);
}

static int64_t send_repeatedly(void *arg)
{
	int64_t begin_ns = apus_clock_host_ns();

	messages.sender = apus_task_self();
	for (uint64_t i = 0; i < job.left; i += BATCH) {
		messages.out = BATCH;
		for (int k = 0; k < BATCH; k++) {
			nodes[k].message.fn = turn_round;
			apus_must(apus_message_send(1, &nodes[k].message) == 0);
		}
		apus_must(apus_sleep(APUS_NEVER) == -ECANCELED);
		apus_task_uncancel(messages.sender);
	}
	job.elapsed_ns = apus_clock_host_ns() - begin_ns;
	return 0;
}

/* ---- channels ---- */

#define CHANNEL_CAPACITY 1024

static struct {
	struct apus_channel *here, *there; /* at home on shard 0, on shard 1 */
} channels;

static int64_t open_there(void *arg)
{
	return apus_channel_open(CHANNEL_CAPACITY, &channels.there);
}

static int64_t free_there(void *arg)
{
	apus_channel_free(channels.there);
	return 0;
}

static int64_t send_all(void *arg)
{
	for (uint64_t i = 0; i < job.left; i++)
		apus_must(apus_channel_send(channels.here, &channels) == 0);
	return 0;
}

static int64_t receive_all(void *arg)
{
	void *items[BATCH];
	int64_t begin_ns = apus_clock_host_ns();
	uint64_t got = 0;

	apus_must(apus_channel_open(CHANNEL_CAPACITY, &channels.here) == 0);
	apus_must(apus_post_to(1, send_all, NULL) == 0);
	while (got < job.left) {
		int64_t n = apus_channel_recv_many(channels.here, items, BATCH);

		apus_must(n > 0);
		got += (uint64_t)n;
	}
	job.elapsed_ns = apus_clock_host_ns() - begin_ns;
	apus_channel_free(channels.here);
	return 0;
}

static int64_t send_back(void *arg)
{
	void *item;

	for (uint64_t i = 0; i < job.left; i++) {
		apus_must(apus_channel_recv(channels.there, &item) == 0);
		apus_must(apus_channel_send(channels.here, item) == 0);
	}
	return 0;
}

static int64_t play(void *arg)
{
	int64_t begin_ns;
	void *item;

	apus_must(apus_channel_open(CHANNEL_CAPACITY, &channels.here) == 0);
	apus_must(apus_call_on(1, open_there, NULL) == 0);
	apus_must(apus_post_to(1, send_back, NULL) == 0);
	begin_ns = apus_clock_host_ns();
	for (uint64_t i = 0; i < job.left; i++) {
		apus_must(apus_channel_send(channels.there, &channels) == 0);
		apus_must(apus_channel_recv(channels.here, &item) == 0);
	}
	job.elapsed_ns = apus_clock_host_ns() - begin_ns;
	apus_must(apus_call_on(1, free_there, NULL) == 0);
	apus_channel_free(channels.here);
	return 0;
}

/* ---- in two shards ---- */

static double in_two_shards(apus_task_fn fn, uint64_t n, unsigned int callers)
{
	struct apus_cross *cross;

	for (int i = 0; i < 2; i++) {
		const struct apus_shard_options options = {
			.core = -1, .spin = i == 0 || !job.sleeps, .seed = 1};

		apus_must(apus_shard_open(&options, &job.shards[i]) == 0);
	}
	apus_must(apus_cross_open(job.shards, 2, NULL, &cross) == 0);
	job.left = n;
	job.callers = callers;
	job.stop = false;
	posts_ended = 0;

	pthread_t thread =
		cross_start_on(1, job.sleeps ? sleep_on_the_other : turn_the_other, NULL);

	apus_shard_enter(job.shards[0]);

	struct apus_task *t = apus_spawn(fn, NULL);

	apus_must(t);
	apus_shard_run(job.shards[0], t);
	apus_must(apus_task_result(t) == 0);
	apus_detach(t);
	__atomic_store_n(&job.stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	apus_cross_close(cross);
	apus_shard_close(job.shards[0]);
	apus_shard_close(job.shards[1]);
	return (double)job.elapsed_ns / (double)n;
}

static double call_1(uint64_t n)
{
	return in_two_shards(call_from_all, n, 1);
}

static double call_64(uint64_t n)
{
	return in_two_shards(call_from_all, n, 64);
}

static double call_256(uint64_t n)
{
	return in_two_shards(call_from_all, n, 256);
}

static double post(uint64_t n)
{
	return in_two_shards(post_repeatedly, n, 1);
}

static double message_there_and_back(uint64_t n)
{
	return in_two_shards(send_repeatedly, n, 1);
}

static double channel_stream(uint64_t n)
{
	return in_two_shards(receive_all, n, 1);
}

static double channel_ping_pong(uint64_t n)
{
	return in_two_shards(play, n, 1);
}

/* --------------------------------------------------------------------------------- who sleeps */

#define ASLEEP_NS (300 * APUS_US) /* after which a shard sleeps: it spins for 100 us */
#define WAKES_MAX 10000

static struct {
	int64_t ns[WAKES_MAX];
	struct apus_task *sleeper;
	int epoll_fd, event_fd;
	int64_t rung_ns;
	uint64_t heard; /* rings */
} wakes;

static int by_time(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static double median(uint64_t n)
{
	uint64_t middle;

	qsort(wakes.ns, n, sizeof(wakes.ns[0]), by_time);
	middle = wakes.ns[n / 2];
	return (double)middle;
}

static int64_t tell_time(void *arg)
{
	return apus_clock_host_ns();
}

static int64_t sleep_long(void *arg)
{
	return apus_sleep(APUS_NEVER);
}

static int64_t end_sleeper(void *arg)
{
	return apus_task_cancel(wakes.sleeper);
}

static int64_t wake_repeatedly(void *arg)
{
	for (uint64_t i = 0; i < job.left; i++) {
		apus_must(apus_sleep(ASLEEP_NS) == 0);

		int64_t begin_ns = apus_clock_host_ns();

		wakes.ns[i] = apus_call_on(1, tell_time, NULL) - begin_ns;
	}
	return apus_call_on(1, end_sleeper, NULL) == 1 ? 0 : -EBADE;
}

static void *sleep_on_the_other(void *arg)
{
	struct apus_shard *shard = job.shards[1];

	apus_shard_enter(shard);
	wakes.sleeper = apus_spawn(sleep_long, NULL);
	apus_must(wakes.sleeper);
	apus_shard_run(shard, wakes.sleeper);
	for (int i = 0; i < 1000; i++) /* what it has left to say */
		apus_shard_turn(shard);
	apus_detach(wakes.sleeper);
	apus_shard_enter(NULL);
	return NULL;
}

static double wake_call(uint64_t n)
{
	n = apus_min(n, WAKES_MAX);
	job.sleeps = true;
	(void)in_two_shards(wake_repeatedly, n, 1);
	return median(n);
}

static void *wait_for_bell(void *arg)
{
	uint64_t n = *(uint64_t *)arg;

	for (uint64_t i = 0; i < n; i++) {
		struct epoll_event event;
		eventfd_t rings;

		apus_must(epoll_wait(wakes.epoll_fd, &event, 1, -1) == 1);
		wakes.ns[i] =
			apus_clock_host_ns() - __atomic_load_n(&wakes.rung_ns, __ATOMIC_ACQUIRE);
		apus_must(eventfd_read(wakes.event_fd, &rings) == 0);
		__atomic_store_n(&wakes.heard, i + 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void spin_for(int64_t ns)
{
	int64_t until_ns = apus_clock_host_ns() + ns;

	while (apus_clock_host_ns() < until_ns)
		cross_pause();
}

/* The least there is: a thread in epoll, and an eventfd. */
static double wake_eventfd(uint64_t n)
{
	struct epoll_event event = {.events = EPOLLIN};

	n = apus_min(n, WAKES_MAX);
	wakes.epoll_fd = epoll_create1(0);
	wakes.event_fd = eventfd(0, 0);
	apus_must(epoll_ctl(wakes.epoll_fd, EPOLL_CTL_ADD, wakes.event_fd, &event) == 0);

	pthread_t thread = cross_start_on(1, wait_for_bell, &n);

	for (uint64_t i = 0; i < n; i++) {
		spin_for(ASLEEP_NS);
		__atomic_store_n(&wakes.rung_ns, apus_clock_host_ns(), __ATOMIC_RELEASE);
		apus_must(eventfd_write(wakes.event_fd, 1) == 0);
		while (__atomic_load_n(&wakes.heard, __ATOMIC_ACQUIRE) <= i)
			cross_pause();
	}
	pthread_join(thread, NULL);
	close(wakes.event_fd);
	close(wakes.epoll_fd);
	return median(n);
}

/* ------------------------------------------------------------------------------------------- all */

const struct cross_bench cross_shards[] = {
	{"call/1", call_1, 1000000},
	{"call/64", call_64, 10000000},
	{"call/256", call_256, 10000000},
	{"post", post, 10000000},
	{"wake/call", wake_call, 4000},
	{"wake/eventfd", wake_eventfd, 4000},
	{"message/32", message_there_and_back, 10000000},
	{"channel/stream", channel_stream, 10000000},
	{"channel/ping_pong", channel_ping_pong, 1000000},
	{.name = NULL},
};
