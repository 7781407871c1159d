/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/base/test_compiler.c: macros that look like functions behave as such.
 */
#include "runtime/base/compiler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int calls;

static int called(int value)
{
	calls++;
	return value;
}

static void min_and_max_evaluate_once(void **state)
{
	assert_int_equal(apus_min(called(-1), called(0)), -1);
	assert_int_equal(apus_min(called(1), called(0)), 0);
	assert_int_equal(apus_max(called(-1), called(0)), 0);
	assert_int_equal(apus_max(called(1), called(0)), 1);
	assert_int_equal(calls, 8);
	assert_int_equal(apus_min(apus_max(called(1), called(2)), apus_min(called(4), called(3))),
			 2);
	assert_int_equal(calls, 12);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(min_and_max_evaluate_once),
	};

	return cmocka_run_group_tests_name("runtime/base/compiler", tests, NULL, NULL);
}
