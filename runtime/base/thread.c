/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/base/thread.c: threads that keep out of a shard's way.
 */
#include "runtime/base/thread.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>

static int start(pthread_t *thread, void *(*fn)(void *arg), void *arg, const char *name,
		 const sigset_t *blocked)
{
	sigset_t old;

	pthread_sigmask(SIG_SETMASK, blocked, &old);

	int rc = pthread_create(thread, NULL, fn, arg);

	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc)
		return -EAGAIN;
	pthread_setname_np(*thread, name);
	return 0;
}

int apus_thread_start(pthread_t *thread, void *(*fn)(void *arg), void *arg, const char *name)
{
	sigset_t blocked;

	sigfillset(&blocked);
	return start(thread, fn, arg, name, &blocked);
}

/* A fault that is blocked would end the process without a word; the other two are asked for. */
int apus_thread_start_shard(pthread_t *thread, void *(*fn)(void *arg), void *arg, const char *name)
{
	static const int taken[] = {SIGABRT, SIGBUS,  SIGFPE,  SIGILL, SIGSEGV,
				    SIGSYS,  SIGTRAP, SIGPROF, SIGURG};
	sigset_t blocked;

	sigfillset(&blocked);
	for (size_t i = 0; i < apus_countof(taken); i++)
		sigdelset(&blocked, taken[i]);
	return start(thread, fn, arg, name, &blocked);
}

void apus_thread_leave_core(void)
{
	cpu_set_t all;

	CPU_ZERO(&all);
	for (int core = 0; core < CPU_SETSIZE; core++)
		CPU_SET(core, &all);
	(void)sched_setaffinity(0, sizeof(all), &all);
}
