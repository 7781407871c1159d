/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/cross/test_properties.c: 100,000 operations of all kinds between four shards in one
 * thread, with rings that hold next to nothing, messages that take their time, cancels, deadlines,
 * and shards that do not turn for a while; by the seed.
 *
 * Whatever happens: a call gives what its function returned, or says why not; each function that
 * began has ended by the time its caller goes on; each post that was accepted ran once; each message
 * came back once; and in the end no task, no record and no memory is left.
 */
#include "tests/runtime/cross/cross_test.h"

#include "runtime/sync/context_var.h"
#include "runtime/sync/timeout.h"

#define SHARDS     4
#define TASKS      40 /* on each shard */
#define OPERATIONS 5000
#define SEEDS      20

static struct {
	int64_t left;             /* operations to be done in this round */
	bool leave;               /* shards leave meanwhile */
	int64_t leave_at[SHARDS]; /* operations left */
	uint64_t refused;
	uint64_t begun, ended; /* functions called */
	uint64_t posted, post_ran;
	uint64_t sent, returned;
	uint64_t cancelled, timed_out, results; /* outcomes */
	struct apus_task *tasks[SHARDS][TASKS];
} world;

static struct apus_context_var number = {.name = "number"};

static uint64_t below(uint64_t bound)
{
	return apus_random_below(&cross.random, bound);
}

/* Half of the tasks are never cancelled: a cancel that they see was another's. */
static bool is_safe(unsigned int task)
{
	return task >= TASKS / 2;
}

/* Counts it. */
static bool is_refusal(int64_t rc)
{
	world.refused += rc == -ESHUTDOWN;
	return world.leave && rc == -ESHUTDOWN;
}

/* What a call asks for; on the caller's stack. */
struct order {
	int64_t token;
	unsigned int depth;
	int begun, ended;
};

static int64_t random_call(unsigned int depth);

/* Runs on some shard: may wait, call others, fail, or not mind being cancelled. */
static int64_t serve(void *arg)
{
	struct order *o = arg;
	int64_t rc = 0, token = o->token;

	world.begun++;
	o->begun++;
	assert_int_equal((intptr_t)apus_context_var_get(&number), token % 7);
	switch (below(6)) {
	case 0:
		rc = apus_sleep((int64_t)below(2 * APUS_MS));
		break;
	case 1:
		rc = apus_yield();
		break;
	case 2:
		if (o->depth < 4) {
			rc = random_call(o->depth + 1);
			rc = rc < 0 ? rc : 0;
		}
		break;
	case 3: /* cleans up before it goes */
		rc = apus_sleep((int64_t)below(APUS_MS));
		if (rc)
			(void)!apus_sleep((int64_t)below(APUS_MS));
		break;
	case 4: /* does not care */
		(void)!apus_sleep((int64_t)below(APUS_MS));
		break;
	default:
		break;
	}
	assert_int_equal(o->token, token); /* the caller is still there */
	o->ended++;
	world.ended++;
	return rc ? rc : token;
}

static int64_t random_call(unsigned int depth)
{
	struct order o = {.token = (int64_t)below(1000000), .depth = depth};
	struct apus_context_token before;
	struct apus_timeout limit;
	bool limited = below(4) == 0;
	int64_t rc;

	ok(apus_context_var_set(&number, (void *)(intptr_t)(o.token % 7), &before));
	if (limited)
		apus_timeout_begin(&limit, (int64_t)below(3 * APUS_MS));
	rc = apus_call_on((unsigned int)below(SHARDS), serve, &o);
	if (limited)
		rc = apus_timeout_end(&limit, rc);
	ok(apus_context_var_reset(&before));
	assert_int_equal(o.begun, o.ended); /* it is over, and knows nothing of us any more */
	assert_true(o.begun <= 1);
	assert_true(rc == o.token || rc == -ECANCELED || rc == -ETIMEDOUT || is_refusal(rc));
	assert_true(rc != o.token || o.begun);
	world.results += rc == o.token;
	world.cancelled += rc == -ECANCELED;
	world.timed_out += rc == -ETIMEDOUT;
	return rc;
}

static int64_t ran(void *arg)
{
	if (below(2))
		(void)!apus_sleep((int64_t)below(APUS_MS));
	world.post_ran++;
	return 0;
}

static int64_t random_post(void)
{
	int rc = apus_post_to((unsigned int)below(SHARDS), ran, NULL);

	assert_true(rc == 0 || rc == -ECANCELED || is_refusal(rc));
	world.posted += rc == 0;
	return rc;
}

static int64_t one(void *arg)
{
	if (below(2))
		return apus_sleep((int64_t)below(APUS_MS)) == 0 ? 1 : -ECANCELED;
	return 1;
}

static void sum_up(void *into, unsigned int shard, int64_t result)
{
	*(int64_t *)into += result;
}

static int64_t random_map(void)
{
	int64_t sum = 0, rc = apus_map_reduce(one, NULL, sum_up, &sum);

	assert_true(rc == 0 || rc == -ECANCELED || is_refusal(rc));
	assert_int_equal(sum, rc ? 0 : SHARDS);
	return rc;
}

struct parcel {
	struct apus_message message;
	struct apus_heap *heap;
};

static void comes_back(struct apus_message *message)
{
	struct parcel *p = apus_container_of(message, struct parcel, message);

	world.returned++;
	apus_heap_free(p->heap, p);
}

static void turns_round(struct apus_message *message)
{
	message->fn = comes_back;
	apus_message_reply(message);
}

static int64_t random_message(void)
{
	struct apus_heap *heap = apus_shard_heap(apus_shard_self());
	struct parcel *p = apus_heap_alloc(heap, sizeof(*p));
	int rc;

	assert_non_null(p);
	p->heap = heap;
	p->message.fn = turns_round;
	if (below(2))
		rc = apus_message_send_wait((unsigned int)below(SHARDS), &p->message);
	else
		rc = apus_message_send((unsigned int)below(SHARDS), &p->message);
	assert_true(rc == 0 || rc == -ECANCELED || rc == -EAGAIN);
	if (rc)
		apus_heap_free(heap, p);
	world.sent += rc == 0;
	return rc;
}

static int64_t random_cancel(void)
{
	struct apus_task *t = world.tasks[apus_shard_index()][below(TASKS / 2)];

	if (t && t != apus_task_self() && !apus_task_done(t))
		apus_task_cancel(t);
	return 0;
}

static int64_t random_operation(void)
{
	switch (below(10)) {
	case 0:
		return random_post();
	case 1:
		return random_map();
	case 2: /* who leaves wants none back */
		return world.leave ? 0 : random_message();
	case 3:
	case 4:
		return random_cancel();
	case 5:
		return apus_sleep((int64_t)below(APUS_MS));
	default:
		return random_call(0);
	}
}

static int64_t do_operations(void *arg)
{
	bool safe = is_safe((unsigned int)(uintptr_t)arg);

	while (world.left-- > 0) {
		int64_t rc = random_operation();

		assert_false(safe && rc == -ECANCELED);
	}
	return 0;
}

static void stick_and_go_on(void)
{
	if (below(50) == 0)
		cross.stuck ^= 1u << below(SHARDS);
	if (below(20) == 0)
		cross.stuck = 0;
}

/* Who has left, and has no tasks any more, never turns again. */
static uint64_t leave_in_time(void)
{
	uint64_t gone = 0;

	for (unsigned int i = 0; i < SHARDS; i++) {
		apus_shard_enter(cross.shards[i]);
		if (world.left <= world.leave_at[i])
			apus_cross_leave(cross.shards[i]);
		apus_shard_enter(NULL);
		if (apus_cross_has_left(cross.shards[i]) && !apus_shard_tasks(cross.shards[i]))
			gone |= 1u << i;
	}
	return gone;
}

static void run_world(uint64_t seed)
{
	const struct apus_cross_options options = {
		.ring_lines = seed % 3 ? 8 : 64,
		.posts_max = 3,
		.delay_ns = cross_delay,
	};

	memset(&world, 0, sizeof(world));
	world.left = OPERATIONS;
	cross_open_seed(SHARDS, &options, seed);
	for (unsigned int i = 0; i < SHARDS; i++)
		for (uintptr_t j = 0; j < TASKS; j++)
			world.tasks[i][j] = cross_spawn(i, do_operations, (void *)j);
	while (world.left > 0) {
		stick_and_go_on();
		if (!cross_step())
			cross.stuck = 0;
	}
	cross.stuck = 0;
	for (unsigned int i = 0; i < SHARDS; i++)
		for (int j = 0; j < TASKS; j++) {
			int64_t rc = cross_await(i, world.tasks[i][j]);

			/* A cancel that came at its very end, or before it began. */
			assert_true(rc == 0 || rc == -ECANCELED);
			world.tasks[i][j] = NULL;
		}
	cross_drain();
	assert_int_equal(world.begun, world.ended);
	assert_int_equal(world.posted, world.post_ran);
	assert_int_equal(world.sent, world.returned);
	assert_true(world.results > OPERATIONS / 10);
	assert_true(world.cancelled > 50 && world.timed_out > 20 && world.posted > 100);
	cross_close();
}

static void run_world_that_parts(uint64_t seed)
{
	const struct apus_cross_options options = {
		.ring_lines = 8,
		.posts_max = 3,
		.delay_ns = cross_delay,
	};
	uint64_t gone = 0, dropped = 0;

	memset(&world, 0, sizeof(world));
	world.left = OPERATIONS / 10;
	world.leave = true;
	cross_open_seed(SHARDS, &options, seed);
	for (unsigned int i = 0; i < SHARDS; i++) {
		world.leave_at[i] = (int64_t)below(OPERATIONS / 10);
		for (uintptr_t j = 0; j < TASKS; j++)
			world.tasks[i][j] = cross_spawn(i, do_operations, (void *)j);
	}
	while (gone != (1u << SHARDS) - 1) {
		stick_and_go_on();
		cross.stuck |= gone;
		if (!cross_step()) {
			if (cross.stuck == gone && leave_in_time() == gone)
				fail_msg("somebody waits for a shard that is gone");
			cross.stuck = gone;
		}
		gone |= leave_in_time();
	}
	for (unsigned int i = 0; i < SHARDS; i++) {
		apus_shard_enter(cross.shards[i]);
		for (int j = 0; j < TASKS; j++)
			apus_detach(world.tasks[i][j]);
		apus_shard_enter(NULL);
		dropped += cross_counter(i, APUS_CROSS_POSTS_DROPPED);
		for (int j = 0; j < SHARDS; j++)
			cross.cross->ports[i].peers[j].posts_out = 0; /* nobody was told */
	}
	assert_int_equal(world.begun, world.ended);
	assert_int_equal(world.posted, world.post_ran + dropped);
	assert_true(world.refused > 0);
	cross.stuck = 0;
	cross_close();
}

static void shards_leave_while_all_goes_on_and_nobody_is_left_waiting(void **state)
{
	test_each_seed(seed, 200)
	{
		run_world_that_parts(seed);
	}
}

static void all_is_accounted_for_after_100000_operations(void **state)
{
	test_each_seed(seed, SEEDS) run_world(seed);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_is_accounted_for_after_100000_operations),
		cmocka_unit_test(shards_leave_while_all_goes_on_and_nobody_is_left_waiting),
	};

	return test_main(argc, argv, tests);
}
