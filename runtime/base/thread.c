/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/base/thread.c: threads that keep out of a shard's way.
 */
#include "runtime/base/thread.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>

int apus_thread_start(pthread_t *thread, void *(*fn)(void *arg), void *arg, const char *name)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);

	int rc = pthread_create(thread, NULL, fn, arg);

	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc)
		return -EAGAIN;
	pthread_setname_np(*thread, name);
	return 0;
}

void apus_thread_leave_core(void)
{
	cpu_set_t all;

	CPU_ZERO(&all);
	for (int core = 0; core < CPU_SETSIZE; core++)
		CPU_SET(core, &all);
	(void)sched_setaffinity(0, sizeof(all), &all);
}
