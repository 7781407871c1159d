/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/apps/kv/test_remote.c: what one shard answers, several answer, too.
 *
 * Commands that chance makes go to a server of one shard and to one of several, joined in one thread
 * and delayed as chance wants; the bytes that come back must be the same.
 */
#include "tests/apps/kv/script.h"

#define SEEDS 30

static void several_shards_answer_what_one_answers(void **state)
{
	test_each_seed(seed, SEEDS)
	{
		uint64_t random = seed;

		make_script(&random);

		struct outcome one = run(1, seed);
		struct outcome many = run(2 + (unsigned int)(seed % 4), seed);

		assert_int_equal(one.out_bytes, many.out_bytes);
		assert_memory_equal(one.out, many.out, one.out_bytes);
		assert_true(many.remote_items < one.remote_items); /* others have their part */
		free(one.out);
		free(many.out);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(several_shards_answer_what_one_answers),
	};

	return test_main(argc, argv, tests);
}
