/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/load/datagram.c: UDP echo: datagrams with a number in front, and the same number back.
 *
 * One task and one socket per connection. What is not back in time is lost and counted, never a
 * latency; one that comes after that, or twice, is nobody's.
 */
#include "apps/load/load.h"
#include "net/socket/udp.h"
#include "runtime/sched/shard.h"
#include "runtime/sync/timeout.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DATAGRAM_MAX 65507
#define VIEWS        32
#define REACH_TRY_NS (100 * APUS_MS)

struct flow {
	struct apus_udp *u;
	uint32_t index;
	uint32_t out;
	uint64_t next, oldest; /* numbers: of the next one to be sent, of the oldest that is out */
	uint64_t mask;         /* a power of two, not below the depth, less one */
	int64_t since_ns[];    /* by number; 0: it is back, or lost */
};

static _Thread_local char payload[DATAGRAM_MAX];

static int64_t *since_of(struct flow *f, uint64_t number)
{
	return &f->since_ns[number & f->mask];
}

/* The oldest ones that are back make room. */
static void move_on(struct flow *f)
{
	while (f->oldest < f->next && !*since_of(f, f->oldest))
		f->oldest++;
}

/* Return: 0; what apus_udp_send() came to */
static inline int64_t send_one(struct flow *f, int64_t since_ns)
{
	uint64_t number = f->next;
	int64_t n;

	memcpy(payload, &number, sizeof(number));
	n = apus_udp_send(f->u, payload, load_options.bytes, NULL);
	load_stats.requests++;
	if (apus_unlikely(n < 0))
		return n;
	*since_of(f, number) = since_ns;
	f->next++;
	f->out++;
	load_stats.bytes_out += (uint64_t)n;
	return 0;
}

static int64_t send_due(struct flow *f, int64_t now_ns)
{
	int64_t rc = 0;

	while (!rc && f->next - f->oldest < load_options.depth) {
		int64_t since_ns = load_options.rate ? load_next_ns(f->next, f->index) : now_ns;

		if (since_ns > now_ns)
			break;
		rc = send_one(f, since_ns);
	}
	return rc;
}

static inline void take(struct flow *f, const char *bytes, size_t n, int64_t now_ns)
{
	int64_t since_ns, *since;
	uint64_t number;

	load_stats.bytes_in += n;
	if (apus_unlikely(n != load_options.bytes)) {
		load_stats.errors[LOAD_BAD]++;
		return;
	}
	memcpy(&number, bytes, sizeof(number));
	since = since_of(f, number);
	since_ns = *since;
	if (apus_unlikely(number - f->oldest >= f->next - f->oldest || !since_ns))
		return;
	if (since_ns >= load_run.since_ns)
		apus_histogram_record(&load_stats.latency, now_ns - since_ns);
	*since = 0;
	f->out--;
	move_on(f);
}

static void give_up_late(struct flow *f)
{
	int64_t late_ns = apus_now() - load_options.timeout_ns;

	for (uint64_t i = f->oldest; i < f->next && *since_of(f, i) <= late_ns; i++) {
		if (!*since_of(f, i))
			continue;
		load_stats.errors[LOAD_TIMEOUT]++;
		*since_of(f, i) = 0;
		f->out--;
	}
	move_on(f);
}

/* When to stop waiting: the oldest is late, or the next one is due. */
static int64_t wait_until_ns(const struct flow *f)
{
	bool has_room = f->next - f->oldest < load_options.depth;
	int64_t late_ns =
		f->out ? f->since_ns[f->oldest & f->mask] + load_options.timeout_ns : APUS_NEVER;

	return has_room ? apus_min(late_ns, load_next_ns(f->next, f->index)) : late_ns;
}

/* What has come by the turn in which it was received. Return: 0; as apus_udp_recv() */
static inline int64_t receive(struct flow *f, char *buf)
{
	struct apus_udp_view views[VIEWS];
	int64_t n = apus_udp_recv_many(f->u, views, VIEWS, buf, DATAGRAM_MAX), now_ns = apus_now();

	if (apus_unlikely(n < 0))
		return n;
	for (int64_t i = 0; i < n; i++)
		take(f, views[i].bytes, views[i].len, now_ns);
	return send_due(f, now_ns);
}

/*
 * Sends and receives for as long as one time limit will do: that of the oldest that is out. In a closed
 * loop it costs a datagram nothing, as those of later ones come later.
 */
static int64_t exchange(struct flow *f, char *buf)
{
	int64_t until_ns = wait_until_ns(f);
	struct apus_timeout limit;
	int64_t rc;

	apus_timeout_begin(&limit, until_ns == APUS_NEVER ? APUS_NEVER : until_ns - apus_now());
	do {
		rc = receive(f, buf);
	} while (!rc && wait_until_ns(f) >= until_ns);
	rc = apus_timeout_end(&limit, rc);
	if (rc != -ETIMEDOUT)
		return rc;
	give_up_late(f);
	return send_due(f, apus_now());
}

/* One datagram there and back, until @until_ns. Return: 0, -ETIMEDOUT, -ECANCELED, -errno. */
static int64_t exchange_one(struct apus_udp *u, int64_t until_ns)
{
	static char answer[DATAGRAM_MAX];
	int64_t n = -ETIMEDOUT;

	while ((n == -ETIMEDOUT || n == -ECONNREFUSED) && apus_now() < until_ns) {
		struct apus_timeout limit;

		n = apus_udp_send(u, payload, load_options.bytes, NULL);
		if (n < 0 && n != -EHOSTUNREACH)
			return n;
		apus_timeout_begin(&limit, REACH_TRY_NS);
		n = apus_timeout_end(&limit, apus_udp_recv(u, answer, DATAGRAM_MAX, NULL));
	}
	return apus_min(n, INT64_C(0));
}

/*
 * While the neighbour is not known a few packets wait for it and the others are lost: a closed loop
 * would wait for them for the whole timeout.
 */
int64_t load_reach_datagram(int64_t until_ns)
{
	struct apus_endpoint any = {0};
	struct apus_udp *u;
	int64_t rc = apus_udp_open(any, &load_options.to, &u);

	if (rc)
		return rc;
	rc = exchange_one(u, until_ns);
	apus_udp_close(u);
	return rc;
}

static int64_t live_once(struct flow *f, char *buf)
{
	struct apus_endpoint any = {0};
	int64_t rc = apus_udp_open(any, &load_options.to, &f->u);

	if (rc)
		return load_failed(rc, true);
	load_stats.open++;
	memset(f->since_ns, 0, (f->mask + 1) * sizeof(f->since_ns[0]));
	f->oldest = f->next;
	f->out = 0;
	rc = send_due(f, apus_now());
	while (!rc)
		rc = exchange(f, buf);
	apus_udp_close(f->u);
	load_stats.open--;
	return rc == -ECANCELED ? rc : load_failed(rc, false);
}

/* A power of two, so that a number's place is found without a division. */
static size_t room_for(uint32_t depth)
{
	size_t room = 1;

	while (room < depth)
		room *= 2;
	return room;
}

int64_t load_run_datagram(void *arg)
{
	size_t room = room_for(load_options.depth);
	struct flow *f = calloc(1, sizeof(*f) + room * sizeof(f->since_ns[0]));
	char *buf = malloc(DATAGRAM_MAX);
	int64_t rc = f && buf ? 0 : -ENOMEM;

	if (!rc) {
		f->index = (uint32_t)(uintptr_t)arg;
		f->mask = room - 1;
	}
	while (!rc)
		rc = live_once(f, buf);
	free(buf);
	free(f);
	return rc;
}
