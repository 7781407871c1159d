/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/cross/test_post.c: functions posted to other shards: bounds, variables, cancels, posts
 * by posts, and shards that refuse or leave.
 */
#include "tests/runtime/cross/cross_test.h"

#include "runtime/sync/context_var.h"

static const struct apus_cross_options slow = {.delay_ns = cross_delay};

static struct apus_context_var user = {.name = "user", .initial_value = (void *)1};

static intptr_t post_saw[4];

static int64_t note_user(void *arg)
{
	*(intptr_t *)arg = (intptr_t)apus_context_var_get(&user);
	return 0;
}

static int64_t post_with_variables(void *arg)
{
	ok(apus_context_var_set(&user, (void *)7, NULL));
	for (unsigned int i = 0; i < 3; i++)
		ok(apus_post_to(i, note_user, &post_saw[i]));
	return 0;
}

static void posts_inherit_variables(void **state)
{
	cross_open(3, &slow);
	ok(cross_run(0, post_with_variables, NULL));
	cross_drain();
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(post_saw[i], 7);
	cross_close();
}

static unsigned int going, most, done;

static int64_t work_a_while(void *arg)
{
	going++;
	most = apus_max(most, going);

	int rc = apus_sleep(APUS_MS);

	going--;
	done++;
	return rc;
}

static int64_t post_100(void *arg)
{
	for (int i = 0; i < 100; i++)
		ok(apus_post_to((unsigned int)(intptr_t)arg, work_a_while, NULL));
	return 0;
}

static void posts_are_bounded_and_all_run(void **state)
{
	for (intptr_t to = 0; to < 2; to++) {
		most = done = 0;
		cross_open(2,
			   &(struct apus_cross_options){.delay_ns = cross_delay, .posts_max = 8});
		ok(cross_run(0, post_100, (void *)to));
		cross_drain();
		assert_int_equal(done, 100);
		assert_int_equal(most, 8);
		cross_close();
	}
}

static int64_t post_nested(void *arg)
{
	return apus_post_to((unsigned int)(intptr_t)arg, work_a_while, NULL);
}

static int64_t call_post_nested(void *arg)
{
	return apus_call_on(0, post_nested, (void *)1);
}

static int64_t saw_again;

static int64_t post_through_a_call(void *arg)
{
	saw_again = call_post_nested(arg);
	return 0;
}

static int64_t post_a_poster(void *arg)
{
	return apus_post_to(1, post_through_a_call, NULL);
}

static void post_by_a_post_never_waits(void **state)
{
	cross_open(2, &(struct apus_cross_options){.delay_ns = cross_delay, .posts_max = 1});
	ok(cross_run(0, post_a_poster, NULL));
	cross_drain();
	assert_int_equal(saw_again, -EAGAIN); /* the only place is its own caller's */
	cross_close();
}

static void waiting_posts_can_be_cancelled(void **state)
{
	most = done = 0;
	cross_open(2, &(struct apus_cross_options){.delay_ns = cross_delay, .posts_max = 1});

	struct apus_task *tasks[10];

	for (int i = 0; i < 10; i++)
		tasks[i] = cross_spawn(0, post_nested, (void *)1);
	for (int i = 0; i < 2; i++)
		cross_turn();
	for (int i = 1; i < 10; i += 2)
		cross_cancel(0, tasks[i]);
	for (int i = 0; i < 10; i++)
		assert_int_equal(cross_await(0, tasks[i]), i % 2 ? -ECANCELED : 0);
	cross_drain();
	assert_int_equal(done, 5);
	cross_close();
}

static void leave(unsigned int shard)
{
	apus_shard_enter(cross.shards[shard]);
	apus_cross_leave(cross.shards[shard]);
	apus_shard_enter(NULL);
}

static int64_t post_1(void *arg)
{
	return apus_post_to(1, work_a_while, NULL);
}

static void post_to_a_shard_that_left_is_an_error(void **state)
{
	cross_open(3, &slow);
	leave(1);
	cross_drain();
	assert_int_equal(cross_run(0, post_1, NULL), -ESHUTDOWN);
	assert_int_equal(cross_run(1, post_1, NULL), -ESHUTDOWN);
	cross_close();
}

static void post_to_a_shard_that_refuses_is_dropped_and_counted(void **state)
{
	done = 0;
	cross_open(2, &slow);
	apus_cross_refuse(cross.shards[1]);
	ok(cross_run(0, post_1, NULL));
	cross_drain();
	assert_int_equal(done, 0);
	assert_int_equal(cross_counter(1, APUS_CROSS_POSTS_DROPPED), 1);
	cross_close();
}

static void posts_that_wait_for_a_shard_that_leaves_are_refused(void **state)
{
	struct apus_task *tasks[5];

	done = 0;
	cross_open(2, &(struct apus_cross_options){.delay_ns = cross_delay, .posts_max = 1});
	for (int i = 0; i < 5; i++)
		tasks[i] = cross_spawn(0, post_1, NULL);
	cross_turn();
	leave(1);
	ok(cross_await(0, tasks[0]));
	for (int i = 1; i < 5; i++)
		assert_int_equal(cross_await(0, tasks[i]), -ESHUTDOWN);
	cross_drain();
	assert_int_equal(done + cross_counter(1, APUS_CROSS_POSTS_DROPPED), 1);
	cross.cross->ports[0].peers[1].posts_out = 0; /* nobody is told any more */
	cross_close();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(posts_inherit_variables),
		cmocka_unit_test(posts_are_bounded_and_all_run),
		cmocka_unit_test(post_by_a_post_never_waits),
		cmocka_unit_test(waiting_posts_can_be_cancelled),
		cmocka_unit_test(posts_that_wait_for_a_shard_that_leaves_are_refused),
		cmocka_unit_test(post_to_a_shard_that_left_is_an_error),
		cmocka_unit_test(post_to_a_shard_that_refuses_is_dropped_and_counted),
	};

	return test_main(argc, argv, tests);
}
