/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/base_test.h: what every test under tests/runtime needs: seeds that can be
 * replayed, chance of its own, and what was written to stderr.
 *
 * A test over many seeds is one loop, test_each_seed(seed, n). If a check fails inside it, the seed
 * is printed at the end of the run; `--seed N` then runs that one seed only, `--seeds N` changes
 * how many are tried. The generator here is not the one under test.
 */
#ifndef APUS_TESTS_RUNTIME_BASE_TEST_H
#define APUS_TESTS_RUNTIME_BASE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/compiler.h"

#if defined(__has_include)
# if __has_include(<valgrind/valgrind.h>)
#  include <valgrind/valgrind.h>
# endif
#endif

/* TSan and valgrind run some fifty times slower, and cannot have 100,000 stacks. */
APUS_UNUSED static bool test_is_slow(void)
{
#if defined(RUNNING_ON_VALGRIND)
	if (RUNNING_ON_VALGRIND)
		return true;
#endif
	return APUS_TSAN;
}

/* For what counts memory: the sanitizers and valgrind have a use for it, too. */
APUS_UNUSED static bool test_memory_is_ours(void)
{
	return !APUS_ASAN && !test_is_slow();
}

/* Seeds. */

static struct {
	uint64_t only;    /* --seed; 0: all */
	uint64_t count;   /* --seeds; 0: as many as the test asks for */
	uint64_t running; /* the seed of the loop that is running, or that was left by a failure */
} test_seeds;

static void test_seed_report(void)
{
	if (test_seeds.running)
		fprintf(stderr, "failed with seed %llu: replay with --seed %llu\n",
			(unsigned long long)test_seeds.running,
			(unsigned long long)test_seeds.running);
	test_seeds.running = 0;
}

APUS_UNUSED static uint64_t test_seed_first(void)
{
	test_seed_report();
	return test_seeds.only ? test_seeds.only : 1;
}

APUS_UNUSED static bool test_seed_more(uint64_t seed, uint64_t count)
{
	uint64_t last = test_seeds.count ? test_seeds.count
			: test_is_slow() ? (count + 19) / 20
					 : count;
	bool more = test_seeds.only ? seed == test_seeds.only : seed <= last;

	test_seeds.running = more ? seed : 0;
	return more;
}

#define test_each_seed(seed, count) \
 for (uint64_t seed = test_seed_first(); test_seed_more(seed, count); seed++)

/* Reads the options of a test program. */
static void test_options(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--seed") && i + 1 < argc) {
			test_seeds.only = strtoull(argv[++i], NULL, 0);
		} else if (!strcmp(argv[i], "--seeds") && i + 1 < argc) {
			test_seeds.count = strtoull(argv[++i], NULL, 0);
		} else if (!strcmp(argv[i], "--only") && i + 1 < argc) {
			cmocka_set_test_filter(argv[++i]);
		} else {
			fprintf(stderr, "usage: %s [--seed N] [--seeds N] [--only PATTERN]\n",
				argv[0]);
			exit(2);
		}
	}
}

/* The body of main(). */
#define test_main(argc, argv, tests) \
 (test_options(argc, argv), test_finish(cmocka_run_group_tests(tests, NULL, NULL)))

static int test_finish(int failed)
{
	test_seed_report();
	return failed != 0;
}

/* splitmix64 (Steele, Lea, Flood 2014). */
APUS_UNUSED static uint64_t test_random(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

APUS_UNUSED static uint64_t test_random_below(uint64_t *state, uint64_t bound)
{
	return test_random(state) % bound;
}

/* What is written to stderr between begin and end; no check in between, its message would be lost. */

struct test_capture {
	int stderr_fd;
	int file;
	char text[1 << 16];
};

APUS_UNUSED static void test_capture_begin(struct test_capture *c)
{
	fflush(stderr);
	c->file = memfd_create("stderr", 0);
	c->stderr_fd = dup(STDERR_FILENO);
	if (c->file < 0 || c->stderr_fd < 0 || dup2(c->file, STDERR_FILENO) < 0)
		abort();
}

APUS_UNUSED static const char *test_capture_end(struct test_capture *c)
{
	fflush(stderr);
	if (dup2(c->stderr_fd, STDERR_FILENO) < 0)
		abort();

	ssize_t bytes = pread(c->file, c->text, sizeof(c->text) - 1, 0);

	c->text[bytes > 0 ? bytes : 0] = '\0';
	close(c->file);
	close(c->stderr_fd);
	return c->text;
}

APUS_UNUSED static size_t test_count(const char *text, const char *what)
{
	size_t n = 0;

	for (const char *at = strstr(text, what); at; at = strstr(at + 1, what))
		n++;
	return n;
}

/*
 * Runs fn(arg) in a child process that is expected to die. Gives its wait status and what it wrote
 * to stderr; the child has no handlers of cmocka's and leaves no core.
 */
APUS_UNUSED static int test_in_child(void (*fn)(void *arg), void *arg, struct test_capture *c)
{
	int status = -1;

	test_capture_begin(c);

	pid_t pid = fork();

	if (pid == 0) {
		static const int fatal[] = {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS};

		for (size_t i = 0; i < apus_countof(fatal); i++)
			signal(fatal[i], SIG_DFL);
		prctl(PR_SET_DUMPABLE, 0);
		fn(arg);
		_exit(0);
	}
	if (pid > 0)
		(void)!waitpid(pid, &status, 0);
	test_capture_end(c);
	return status;
}

#endif
