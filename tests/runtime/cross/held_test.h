/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/cross/held_test.h: the descriptors and threads that the process has, for tests of what
 * a start and a stop leave behind.
 */
#ifndef APUS_TESTS_RUNTIME_CROSS_HELD_TEST_H
#define APUS_TESTS_RUNTIME_CROSS_HELD_TEST_H

#include "tests/runtime/base_test.h"

#include <dirent.h>
#include <sched.h>

struct held {
	int descriptors, threads;
};

static inline int held_entries(const char *path)
{
	DIR *dir = opendir(path);
	int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static inline struct held held_now(void)
{
	return (struct held){.descriptors = held_entries("/proc/self/fd"),
			     .threads = held_entries("/proc/self/task")};
}

/* pthread_join() returns some moments before the kernel takes the thread out of its table. */
static inline void assert_held_no_more(struct held before)
{
	struct held now = held_now();

	for (int tries = 0; now.threads > before.threads && tries < 1000000; tries++) {
		sched_yield();
		now = held_now();
	}
	assert_true(now.threads <= before.threads);
	assert_int_equal(now.descriptors, before.descriptors);
}

#endif
