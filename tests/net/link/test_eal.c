/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/link/test_eal.c: DPDK's environment (net/link/eal.c): that it starts beside others and
 * leaves nothing, and that what is wrong is one sentence. EAL is one per process, so each test is a
 * child; those about TAP go into a network namespace, and are skipped where none may be made.
 */
#include "net/link/eal.h"
#include "tests/runtime/base_test.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <rte_eal.h>
#include <rte_ethdev.h>

#define CHILD_SKIP 77
#define CHILD_FAIL 99

static struct test_capture said;

/* What a child does, and how it ends: the errno of opening, and the sentence on stderr. */
struct attempt {
	struct apus_eal_options options;
	bool in_namespace;
	bool (*prepare)(void); /* false: cannot be tried here */
};

static void try_to_open(void *arg)
{
	const struct attempt *a = arg;
	char why[APUS_EAL_WHY_BYTES] = "";
	int rc;

	if (a->in_namespace && unshare(CLONE_NEWNET))
		_exit(CHILD_SKIP);
	if (a->prepare && !a->prepare())
		_exit(CHILD_SKIP);
	rc = apus_eal_open(&a->options, why, sizeof(why));
	if (!rc) {
		char dir[512];

		snprintf(dir, sizeof(dir), "%s", rte_eal_get_runtime_dir());
		apus_eal_close();
		if (!access(dir, F_OK))
			_exit(CHILD_FAIL);
	}
	fprintf(stderr, "%s", why);
	_exit(-rc);
}

/* Runs it; checks how it ended, that it said @says, and nothing but one line. */
static void expect(const struct attempt *a, int status, const char *says)
{
	int got = test_in_child(try_to_open, (void *)(uintptr_t)a, &said);

	if (WIFEXITED(got) && WEXITSTATUS(got) == CHILD_SKIP)
		skip();
	if (!WIFEXITED(got) || WEXITSTATUS(got) != status)
		fail_msg("status %x, %s", got, said.text);
	if (!strstr(said.text, says))
		fail_msg("\"%s\" is not in \"%s\"", says, said.text);
	if (strchr(said.text, '\n'))
		fail_msg("more than one line: %s", said.text);
}

/* --- Starting ------------------------------------------------------------------------------ */

static void it_starts_in_silence_and_leaves_nothing(void **state)
{
	expect(&(struct attempt){.options = {.core = -1}}, 0, "");
	assert_string_equal(said.text, "");
}

static void it_starts_with_a_device_and_arguments_of_the_user(void **state)
{
	expect(&(struct attempt){.options = {.vdev = "net_ring0",
					     .extra = " --vdev 'net_null0'  -m \"48\"",
					     .core = 0}},
	       0, "");
	assert_string_equal(said.text, "");
}

static void open_twice(void *arg)
{
	struct apus_eal_options options = {.core = -1};
	char why[APUS_EAL_WHY_BYTES] = "";

	if (apus_eal_open(&options, why, sizeof(why)))
		_exit(CHILD_FAIL);
	_exit(-apus_eal_open(&options, why, sizeof(why)));
}

static void second_start_in_a_process_is_refused(void **state)
{
	int status = test_in_child(open_twice, NULL, &said);

	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EALREADY);
}

static void die_open(void *arg)
{
	struct apus_eal_options options = {.core = -1};
	char why[APUS_EAL_WHY_BYTES] = "";

	if (!apus_eal_open(&options, why, sizeof(why)))
		fprintf(stderr, "%s", rte_eal_get_runtime_dir());
	raise(SIGKILL);
}

static void what_a_killed_run_left_is_removed_by_the_next(void **state)
{
	char dir[512];
	int status = test_in_child(die_open, NULL, &said);

	assert_true(WIFSIGNALED(status));
	snprintf(dir, sizeof(dir), "%.500s", said.text);
	if (access(dir, F_OK))
		skip(); /* another test's start was faster */
	expect(&(struct attempt){.options = {.core = -1}}, 0, "");
	assert_int_not_equal(access(dir, F_OK), 0);
}

static void stay_open(void *arg)
{
	const int *pipes = arg;
	struct apus_eal_options options = {.core = -1};
	char why[APUS_EAL_WHY_BYTES], byte = apus_eal_open(&options, why, sizeof(why)) ? 1 : 0;

	if (write(pipes[1], &byte, 1) == 1)
		(void)!read(pipes[2], &byte, 1);
	if (access(rte_eal_get_runtime_dir(), F_OK))
		_exit(1);
	apus_eal_close();
	_exit(0);
}

static void second_process_starts_beside_the_first(void **state)
{
	int pipes[4], status;
	char byte = 1;
	pid_t first;

	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(pipe(pipes + 2), 0);
	first = fork();
	if (!first)
		stay_open(pipes);
	assert_int_equal(read(pipes[0], &byte, 1), 1);
	assert_int_equal(byte, 0);
	expect(&(struct attempt){.options = {.core = -1}}, 0, "");
	assert_int_equal(write(pipes[3], &byte, 1), 1);
	assert_int_equal(waitpid(first, &status, 0), first);
	assert_int_equal(status, 0); /* and was not swept away */
}

/* --- What is wrong ------------------------------------------------------------------------- */

static void unknown_vdev_is_said(void **state)
{
	expect(&(struct attempt){.options = {.vdev = "net_nonsense0", .core = -1}}, ENODEV,
	       "net_nonsense0");
}

static void quote_that_is_not_closed_is_said(void **state)
{
	expect(&(struct attempt){.options = {.extra = "-m '64", .core = -1}}, EINVAL, "quote");
}

static void argument_that_eal_does_not_know_is_said(void **state)
{
	expect(&(struct attempt){.options = {.extra = "--no-such-option", .core = -1}}, EIO,
	       "DPDK did not start");
}

static void too_many_arguments_are_said(void **state)
{
	char many[1024];

	for (size_t i = 0; i < sizeof(many) - 1; i++)
		many[i] = i % 2 ? ' ' : 'x';
	many[sizeof(many) - 1] = '\0';
	expect(&(struct attempt){.options = {.extra = many, .core = -1}}, EINVAL, "--eal");
}

static void memory_that_is_not_there_is_said(void **state)
{
	expect(&(struct attempt){.options = {.memory_bytes = UINT64_C(1) << 50, .core = -1}},
	       ENOMEM, "--mbufs");
}

static bool limit_address_space(void)
{
	struct rlimit limit = {.rlim_cur = 250u << 20, .rlim_max = 250u << 20};
	const bool sanitized = APUS_ASAN || APUS_TSAN; /* they need terabytes */

	return !sanitized && !setrlimit(RLIMIT_AS, &limit);
}

static void address_space_that_is_too_small_is_said(void **state)
{
	expect(&(struct attempt){.options = {.memory_bytes = 300u << 20, .core = -1},
				 .prepare = limit_address_space},
	       ENOMEM, "memory");
}

/* --- TAP ----------------------------------------------------------------------------------- */

static bool may_make_taps(void)
{
	int fd = open("/dev/net/tun", O_RDWR);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

static int make_tap(const char *name)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP};
	int fd = open("/dev/net/tun", O_RDWR);

	strcpy(ifr.ifr_name, name);
	return fd >= 0 && !ioctl(fd, TUNSETIFF, &ifr) ? fd : -1;
}

static bool take_dtap0(void)
{
	return make_tap("dtap0") >= 0;
}

static void tap_whose_name_is_taken_is_said(void **state)
{
	expect(&(struct attempt){.options = {.vdev = "net_tap0", .core = -1},
				 .in_namespace = true,
				 .prepare = take_dtap0},
	       EBUSY, "dtap0");
}

static void tap_of_another_number_has_a_name_of_its_own(void **state)
{
	expect(&(struct attempt){.options = {.vdev = "net_tap1", .core = -1},
				 .in_namespace = true,
				 .prepare = take_dtap0},
	       0, "");
}

static void tap_name_that_is_too_long_is_said(void **state)
{
	expect(&(struct attempt){.options = {.vdev = "net_tap0,iface=fifteen_letters", .core = -1},
				 .in_namespace = true,
				 .prepare = may_make_taps},
	       0, "");
	expect(&(struct attempt){.options = {.vdev = "net_tap0,iface=sixteen_letters_",
					     .core = -1}},
	       EINVAL, "15 characters");
}

static bool hide_tun(void)
{
	return !unshare(CLONE_NEWNS) && !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	       !mount("none", "/dev/net", "tmpfs", 0, NULL);
}

static void missing_tun_device_is_said(void **state)
{
	expect(&(struct attempt){.options = {.vdev = "net_tap0", .core = -1},
				 .in_namespace = true,
				 .prepare = hide_tun},
	       ENOENT, "/dev/net/tun");
}

/* --- Arguments ----------------------------------------------------------------------------- */

static void device_in_the_arguments_is_found(void **state)
{
	assert_true(apus_eal_names_device("-a 0000:03:00.0"));
	assert_true(apus_eal_names_device("-a0000:03:00.0"));
	assert_true(apus_eal_names_device("--allow=0000:03:00.0"));
	assert_true(apus_eal_names_device("-m 64 --vdev net_null0"));
	assert_true(apus_eal_names_device("--vdev=net_null0"));
	assert_false(apus_eal_names_device(NULL));
	assert_false(apus_eal_names_device(""));
	assert_false(apus_eal_names_device("-m 64 --no-telemetry"));
	assert_false(apus_eal_names_device("'--vdev x'"));
	assert_false(apus_eal_names_device("--vdev 'open"));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_starts_in_silence_and_leaves_nothing),
		cmocka_unit_test(it_starts_with_a_device_and_arguments_of_the_user),
		cmocka_unit_test(second_start_in_a_process_is_refused),
		cmocka_unit_test(what_a_killed_run_left_is_removed_by_the_next),
		cmocka_unit_test(second_process_starts_beside_the_first),
		cmocka_unit_test(unknown_vdev_is_said),
		cmocka_unit_test(quote_that_is_not_closed_is_said),
		cmocka_unit_test(argument_that_eal_does_not_know_is_said),
		cmocka_unit_test(too_many_arguments_are_said),
		cmocka_unit_test(memory_that_is_not_there_is_said),
		cmocka_unit_test(address_space_that_is_too_small_is_said),
		cmocka_unit_test(tap_whose_name_is_taken_is_said),
		cmocka_unit_test(tap_of_another_number_has_a_name_of_its_own),
		cmocka_unit_test(tap_name_that_is_too_long_is_said),
		cmocka_unit_test(missing_tun_device_is_said),
		cmocka_unit_test(device_in_the_arguments_is_found),
	};

	return test_main(argc, argv, tests);
}
