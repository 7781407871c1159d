/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/base/test_check.c: a broken invariant ends the process and says where and with what.
 */
#include "tests/runtime/base_test.h"

#include "runtime/base/check.h"

static struct test_capture capture;

static void must_that_holds(void *arg)
{
	int calls = 0;

	apus_must(++calls == 1);
	apus_must_op(calls, ==, 1);
	if (calls != 1)
		_exit(9);
}

static void must_that_fails(void *arg)
{
	int table_size = 0;

	apus_must(table_size > 0);
}

static void must_op_that_fails(void *arg)
{
	int64_t used = -3;

	apus_must_op(used, >=, 1234567);
}

static void assert_died(int status)
{
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
	assert_int_equal(test_count(capture.text, "\n"), 1);
	assert_non_null(strstr(capture.text, "test_check.c"));
}

static void condition_that_holds_is_evaluated_once_and_silent(void **state)
{
	int status = test_in_child(must_that_holds, NULL, &capture);

	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_string_equal(capture.text, "");
}

static void condition_that_fails_aborts_with_one_line_naming_it(void **state)
{
	assert_died(test_in_child(must_that_fails, NULL, &capture));
	assert_non_null(strstr(capture.text, "table_size > 0"));
}

static void comparison_that_fails_prints_both_values(void **state)
{
	assert_died(test_in_child(must_op_that_fails, NULL, &capture));
	assert_non_null(strstr(capture.text, "used >= 1234567"));
	assert_non_null(strstr(capture.text, "-3"));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(condition_that_holds_is_evaluated_once_and_silent),
		cmocka_unit_test(condition_that_fails_aborts_with_one_line_naming_it),
		cmocka_unit_test(comparison_that_fails_prints_both_values),
	};

	return test_main(argc, argv, tests);
}
