/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/peers/libev.c: libev's timers.
 */
#include "peer.h"

#include <ev.h>

enum {
	PROBES = 32,
	SPANS = 4096
};

static void fires(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop;
	(void)timer;
	(void)events;
}

static int64_t timer_arm_cancel(uint64_t n, int64_t outstanding)
{
	static ev_timer probes[PROBES];
	static double spans[SPANS];
	struct ev_loop *loop = ev_loop_new(0);
	ev_timer *others = calloc((size_t)outstanding, sizeof(*others));

	peer_must(loop && others);
	for (int64_t i = 0; i < outstanding; i++) {
		ev_timer_init(&others[i], fires, 1 + peer_random_seconds(), 0);
		ev_timer_start(loop, &others[i]);
	}
	for (int i = 0; i < SPANS; i++)
		spans[i] = 1 + peer_random_seconds();
	for (int i = 0; i < PROBES; i++)
		ev_timer_init(&probes[i], fires, 0, 0);

	int64_t begin_ns = peer_now_ns();

	for (uint64_t i = 0; i < n; i++) {
		ev_timer *t = &probes[i % PROBES];

		ev_timer_set(t, spans[i % SPANS], 0);
		ev_timer_start(loop, t);
		ev_timer_stop(loop, t);
	}
	return peer_now_ns() - begin_ns;
}

int main(int argc, char **argv)
{
	static const struct peer_operation operations[] = {
		{"timer/arm_cancel/1000", timer_arm_cancel, 1000, 100000},
		{"timer/arm_cancel/1000000", timer_arm_cancel, 1000000, 100000},
		{NULL, NULL, 0, 0},
	};
	char version[32];

	snprintf(version, sizeof(version), "libev %d.%d", ev_version_major(), ev_version_minor());
	return peer_main(argc, argv, version, operations);
}
