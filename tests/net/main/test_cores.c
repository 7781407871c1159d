/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/main/test_cores.c: what --cores means, on machines that are made up and on this one.
 */
#include "net/main_cores.h"
#include "tests/runtime/base_test.h"

#define MAX 8

static struct apus_cpus machine; /* 0-7 and 12; 6 is offline, 5 is another's, 2-3 are isolated */
static int cores[MAX];
static unsigned int count;
static char why[512];

static int set_up(void **state)
{
	memset(&machine, 0, sizeof(machine));
	for (int cpu = 0; cpu < 8; cpu++) {
		CPU_SET(cpu, &machine.present);
		if (cpu != 6)
			CPU_SET(cpu, &machine.online);
		if (cpu != 6 && cpu != 5)
			CPU_SET(cpu, &machine.usable);
		if (cpu < 2 || cpu == 4)
			CPU_SET(cpu, &machine.given);
	}
	CPU_SET(12, &machine.present);
	CPU_SET(12, &machine.online);
	CPU_SET(12, &machine.usable);
	count = 99;
	*why = '\0';
	return 0;
}

static void expect(const char *text, const char *expected)
{
	char got[64] = "";

	assert_int_equal(apus_cores_parse(text, &machine, MAX, cores, &count, why, sizeof(why)), 0);
	assert_true(count <= MAX);
	for (unsigned int i = 0; i < count; i++)
		snprintf(got + strlen(got), sizeof(got) - strlen(got), "%d ", cores[i]);
	assert_string_equal(got, expected);
}

static void refuse(const char *text, const char *says)
{
	*why = '\0';
	assert_int_equal(apus_cores_parse(text, &machine, MAX, cores, &count, why, sizeof(why)),
			 -EINVAL);
	if (!strstr(why, says))
		fail_msg("--cores %s: \"%s\" does not say \"%s\"", text, why, says);
	assert_null(strchr(why, '\n'));
	assert_int_equal(count, 99); /* not written */
}

static void lists_give_cores_in_their_order(void **state)
{
	expect("0", "0 ");
	expect("0-3", "0 1 2 3 ");
	expect("0,2", "0 2 ");
	expect("4,0-2,12", "4 0 1 2 12 ");
	expect("1-1", "1 ");
}

static void all_gives_those_that_the_process_was_given(void **state)
{
	expect("all", "0 1 4 ");
}

/* They are no part of a thread's affinity, but it may move there. */
static void isolated_cores_can_be_named(void **state)
{
	expect("2-3", "2 3 ");
}

static void what_is_no_list_is_refused(void **state)
{
	static const char *const texts[] = {"",   ",",   "0,",   ",0",   "0,,1", "-",
					    "0-", "-1",  "1-0",  "0x1",  "0 1",  "0-1-2",
					    "a",  "ALL", "0, 1", "all,0"};

	for (size_t i = 0; i < apus_countof(texts); i++)
		refuse(texts[i], "give CPUs, as 0-3 or 0,2, or all");
}

static void core_that_does_not_exist_is_refused(void **state)
{
	refuse("8", "no CPU 8; it has 0-7,12");
	refuse("0,11", "no CPU 11");
	refuse("7-13", "no CPU 8");
	refuse("7-4294967296", "no CPU 8");
	refuse("99999999999999999999", "no CPU ");
}

static void core_that_is_offline_is_refused_with_the_way_to_bring_it_up(void **state)
{
	refuse("6",
	       "CPU 6 is offline; bring it up with `echo 1 > /sys/devices/system/cpu/cpu6/online`");
	refuse("4,6", "choose among 0-5,7,12");
}

static void core_of_another_cpuset_is_refused(void **state)
{
	refuse("5", "may not run on CPU 5");
	refuse("4-5", "has only 0-4,7,12");
}

static void core_that_is_named_twice_is_refused(void **state)
{
	refuse("0,0", "CPU 0 is in the list twice");
	refuse("0-3,2", "CPU 2 is in the list twice");
}

static void more_cores_than_can_be_used_are_refused(void **state)
{
	for (int cpu = 20; cpu < 20 + MAX; cpu++) {
		CPU_SET(cpu, &machine.present);
		CPU_SET(cpu, &machine.online);
		CPU_SET(cpu, &machine.usable);
	}
	expect("20-27", "20 21 22 23 24 25 26 27 ");
	count = 99;
	refuse("20-27,0", "more than the 8 that DPDK can use");
}

static void this_machine_has_the_cpu_that_we_run_on(void **state)
{
	cpu_set_t before, after;

	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	apus_cpus_look(&machine);
	assert_int_equal(sched_getaffinity(0, sizeof(after), &after), 0);
	assert_true(CPU_EQUAL(&before, &after));
	assert_true(CPU_EQUAL(&before, &machine.given));
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (CPU_ISSET(cpu, &machine.given))
			assert_true(CPU_ISSET(cpu, &machine.usable));
		if (CPU_ISSET(cpu, &machine.usable))
			assert_true(CPU_ISSET(cpu, &machine.online));
		if (CPU_ISSET(cpu, &machine.online))
			assert_true(CPU_ISSET(cpu, &machine.present));
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(lists_give_cores_in_their_order, set_up),
		cmocka_unit_test_setup(all_gives_those_that_the_process_was_given, set_up),
		cmocka_unit_test_setup(isolated_cores_can_be_named, set_up),
		cmocka_unit_test_setup(what_is_no_list_is_refused, set_up),
		cmocka_unit_test_setup(core_that_does_not_exist_is_refused, set_up),
		cmocka_unit_test_setup(core_that_is_offline_is_refused_with_the_way_to_bring_it_up,
				       set_up),
		cmocka_unit_test_setup(core_of_another_cpuset_is_refused, set_up),
		cmocka_unit_test_setup(core_that_is_named_twice_is_refused, set_up),
		cmocka_unit_test_setup(more_cores_than_can_be_used_are_refused, set_up),
		cmocka_unit_test_setup(this_machine_has_the_cpu_that_we_run_on, set_up),
	};

	return test_main(argc, argv, tests);
}
