/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench/peers/libuv.c: libuv's timers.
 */
#include "peer.h"

#include <uv.h>

enum {
	PROBES = 32,
	SPANS = 4096
};

static void fires(uv_timer_t *timer)
{
	(void)timer;
}

static uint64_t random_ms(void)
{
	return 1000 + (uint64_t)(1000 * peer_random_seconds());
}

static int64_t timer_arm_cancel(uint64_t n, int64_t outstanding)
{
	static uv_timer_t probes[PROBES];
	static uint64_t spans[SPANS];
	uv_loop_t *loop = uv_default_loop();
	uv_timer_t *others = calloc((size_t)outstanding, sizeof(*others));

	peer_must(loop && others);
	for (int64_t i = 0; i < outstanding; i++) {
		peer_must(uv_timer_init(loop, &others[i]) == 0);
		peer_must(uv_timer_start(&others[i], fires, random_ms(), 0) == 0);
	}
	for (int i = 0; i < SPANS; i++)
		spans[i] = random_ms();
	for (int i = 0; i < PROBES; i++)
		peer_must(uv_timer_init(loop, &probes[i]) == 0);

	int64_t begin_ns = peer_now_ns();

	for (uint64_t i = 0; i < n; i++) {
		peer_must(uv_timer_start(&probes[i % PROBES], fires, spans[i % SPANS], 0) == 0);
		peer_must(uv_timer_stop(&probes[i % PROBES]) == 0);
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

	snprintf(version, sizeof(version), "libuv %s", uv_version_string());
	return peer_main(argc, argv, version, operations);
}
