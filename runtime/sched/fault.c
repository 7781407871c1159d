/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/fault.c: names the task whose stack overflowed.
 *
 * A stack that hits its guard page raises SIGSEGV; the handler stands on a stack of its own, says
 * which task it was and how it got there, and lets the fault happen again under the default action,
 * so that the core file shows the place. Any other fault is passed on untouched.
 */
#include "runtime/sched/internal.h"

#include <errno.h>
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if APUS_ASAN || APUS_TSAN

/* The sanitizers have a handler of their own, which says more. */
int apus_fault_open(struct apus_shard *s)
{
	return 0;
}

void apus_fault_close(struct apus_shard *s)
{
}

#else

static const size_t signal_stack_bytes = 64 * 1024;
enum {
	FRAMES_MAX = 32
};

static void say(const char *text)
{
	(void)!write(STDERR_FILENO, text, strlen(text));
}

static void say_shard(const struct apus_shard *s)
{
	char digits[12];
	char *at = digits + sizeof(digits) - 1;
	unsigned int n = s->index;

	if (s->count <= 1)
		return;
	*at = '\0';
	do {
		*--at = (char)('0' + n % 10);
	} while (n /= 10);
	say("shard ");
	say(at);
	say(": ");
}

static const struct apus_task *overflowed_task(const void *address)
{
	const struct apus_shard *s = apus_shard_current;
	char *base;

	for (size_t i = 0; s && i < APUS_STACK_POOLS; i++)
		if (apus_stack_pool_guards(&s->pools[i], address, &base))
			return apus_stack_object(&s->pools[i], base);
	return NULL;
}

/* A process has one handler for all its shards; what it replaced comes back with the last of them. */
static struct {
	pthread_mutex_t lock;
	unsigned int users;
	struct sigaction before;
} handler = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void on_fault(int number, siginfo_t *info, void *context)
{
	const struct apus_task *t = overflowed_task(info->si_addr);

	if (t) {
		void *frames[FRAMES_MAX];

		say("apus: ");
		say_shard(t->shard);
		say("stack overflow in task ");
		say(apus_task_name(t));
		say("; give it more with apus_spawn_options.stack_bytes. It got there by:\n");
		backtrace_symbols_fd(frames, backtrace(frames, FRAMES_MAX), STDERR_FILENO);
		signal(number, SIG_DFL);
	} else {
		sigaction(number, &handler.before, NULL);
	}
	/* The instruction faults again. */
}

static int install(void)
{
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	int rc = 0;

	pthread_mutex_lock(&handler.lock);
	if (!handler.users && sigaction(SIGSEGV, &action, &handler.before))
		rc = -errno;
	else
		handler.users++;
	pthread_mutex_unlock(&handler.lock);
	return rc;
}

static void uninstall(void)
{
	pthread_mutex_lock(&handler.lock);
	if (--handler.users == 0)
		sigaction(SIGSEGV, &handler.before, NULL);
	pthread_mutex_unlock(&handler.lock);
}

/* The stack of the thread, unless another shard of the thread, or somebody else, has set one. */
static int set_signal_stack(struct apus_shard *s)
{
	stack_t stack;

	if (sigaltstack(NULL, &stack))
		return -errno;
	if (!(stack.ss_flags & SS_DISABLE))
		return 0;
	s->signal_stack = malloc(signal_stack_bytes);
	if (!s->signal_stack)
		return -ENOMEM;
	stack = (stack_t){.ss_sp = s->signal_stack, .ss_size = signal_stack_bytes};
	return sigaltstack(&stack, NULL) ? -errno : 0;
}

static void drop_signal_stack(struct apus_shard *s)
{
	stack_t none = {.ss_flags = SS_DISABLE};

	if (s->signal_stack)
		sigaltstack(&none, NULL);
	free(s->signal_stack);
	s->signal_stack = NULL;
}

int apus_fault_open(struct apus_shard *s)
{
	void *frame;
	int rc;

	backtrace(&frame, 1); /* loads the unwinder now: it cannot be loaded in a handler */
	rc = set_signal_stack(s);
	if (!rc)
		rc = install();
	s->reports_faults = !rc;
	if (rc)
		drop_signal_stack(s);
	return rc;
}

void apus_fault_close(struct apus_shard *s)
{
	if (!s->reports_faults)
		return;
	uninstall();
	drop_signal_stack(s);
}

#endif
