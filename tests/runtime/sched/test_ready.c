/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sched/test_ready.c: the ready queue against an array: FIFO whatever is removed,
 * however it grows, when it cannot grow, and when its positions wrap.
 */
#include "tests/runtime/base_test.h"

#include "runtime/sched/ready.h"

#define WORKS 5000

static struct apus_heap heap;
static struct apus_ready ready;
static struct apus_work works[WORKS];

/* The model: works in the order in which they must leave; `queue[head]` is the next. */
static struct apus_work *queue[WORKS * 4];
static size_t model_head, model_tail;

static void no_fn(struct apus_work *work)
{
}

static int open_queue(void **state)
{
	if (apus_heap_init(&heap) || apus_ready_init(&ready, &heap))
		return -1;
	for (size_t i = 0; i < WORKS; i++)
		apus_work_init(&works[i], no_fn);
	model_head = model_tail = 0;
	return 0;
}

static int close_queue(void **state)
{
	apus_heap_fail_after(&heap, -1);
	apus_ready_fini(&ready);
	int leaked = heap.live != 0;

	apus_heap_fini(&heap);
	return leaked;
}

static void push(struct apus_work *work)
{
	apus_ready_push(&ready, work, 0);
	assert_int_not_equal(work->where, APUS_READY_NOWHERE);
	if (model_tail == apus_countof(queue)) {
		memmove(queue, queue + model_head, (model_tail - model_head) * sizeof(queue[0]));
		model_tail -= model_head;
		model_head = 0;
	}
	queue[model_tail++] = work;
}

/* Takes the next one out as the loop does. */
static struct apus_work *pop(void)
{
	for (;;) {
		if (ready.overflow)
			apus_ready_refill(&ready);
		if (ready.head == ready.tail)
			return NULL;

		uintptr_t entry = ready.ring[ready.head++ & ready.mask];
		struct apus_work *work = (struct apus_work *)(entry & ~APUS_READY_TASK);

		if (!work)
			continue;
		work->where = APUS_READY_NOWHERE;
		return work;
	}
}

static struct apus_work *model_pop(void)
{
	while (model_head < model_tail) {
		struct apus_work *work = queue[model_head++];

		if (work)
			return work;
	}
	return NULL;
}

static bool model_remove(const struct apus_work *work)
{
	for (size_t i = model_head; i < model_tail; i++) {
		if (queue[i] == work) {
			queue[i] = NULL;
			return true;
		}
	}
	return false;
}

static void pop_and_compare(size_t count)
{
	while (count--)
		assert_ptr_equal(pop(), model_pop());
}

static void empty_queue_is_empty(void **state)
{
	assert_true(apus_ready_empty(&ready));
	assert_null(pop());
}

static void queue_grows_and_stays_fifo(void **state)
{
	for (size_t i = 0; i < WORKS; i++)
		push(&works[i]);
	assert_false(apus_ready_empty(&ready));
	pop_and_compare(WORKS + 1);
	assert_true(apus_ready_empty(&ready));
}

static void tag_comes_back_with_the_entry(void **state)
{
	apus_ready_push(&ready, &works[0], APUS_READY_TASK);
	apus_ready_push(&ready, &works[1], 0);
	assert_int_equal(ready.ring[ready.head & ready.mask],
			 (uintptr_t)&works[0] | APUS_READY_TASK);
	ready.head++;
	assert_int_equal(ready.ring[ready.head++ & ready.mask], (uintptr_t)&works[1]);
}

static void tag_survives_growth_and_overflow(void **state)
{
	for (int starved = 1; starved >= 0; starved--) {
		apus_heap_fail_after(&heap, starved ? 0 : -1);
		for (size_t i = 0; i < WORKS; i++)
			apus_ready_push(&ready, &works[i], i % 3 ? 0 : APUS_READY_TASK);
		apus_heap_fail_after(&heap, -1);
		for (size_t i = 0; i < WORKS; i++) {
			if (ready.overflow)
				apus_ready_refill(&ready);
			assert_int_equal(ready.ring[ready.head++ & ready.mask],
					 (uintptr_t)&works[i] | (i % 3 ? 0 : APUS_READY_TASK));
			works[i].where = APUS_READY_NOWHERE;
		}
		assert_true(apus_ready_empty(&ready));
	}
}

static void removed_work_does_not_come_out(void **state)
{
	for (size_t i = 0; i < 10; i++)
		push(&works[i]);
	assert_true(apus_ready_remove(&ready, &works[0]));
	assert_true(apus_ready_remove(&ready, &works[5]));
	assert_true(apus_ready_remove(&ready, &works[9]));
	assert_false(apus_ready_remove(&ready, &works[5]));
	assert_false(apus_ready_remove(&ready, &works[11]));
	assert_int_equal(works[5].where, APUS_READY_NOWHERE);
	push(&works[5]);
	assert_true(model_remove(&works[0]) && model_remove(&works[9]));
	assert_true(model_remove(&works[5])); /* the older of the two */
	pop_and_compare(10);
}

static void queue_that_cannot_grow_keeps_order_and_loses_nothing(void **state)
{
	apus_heap_fail_after(&heap, 0);
	for (size_t i = 0; i < WORKS; i++)
		push(&works[i]);
	assert_non_null(ready.overflow);
	pop_and_compare(WORKS / 2);
	/* Queued again while others still wait in the overflow: they go behind those. */
	for (size_t i = 0; i < WORKS / 4; i++)
		push(&works[i]);
	apus_heap_fail_after(&heap, -1);
	for (size_t i = WORKS / 4; i < WORKS / 2; i++)
		push(&works[i]); /* though there is memory again */
	for (size_t i = 0; i < 10; i++)
		pop_and_compare(WORKS / 20);
	pop_and_compare(WORKS + 1);
	assert_true(apus_ready_empty(&ready));
}

static void removal_from_the_overflow_keeps_the_rest(void **state)
{
	apus_heap_fail_after(&heap, 0);
	for (size_t i = 0; i < WORKS; i++)
		push(&works[i]);
	/* The last, the first beyond the ring, and every third. */
	assert_true(apus_ready_remove(&ready, &works[WORKS - 1]));
	assert_true(model_remove(&works[WORKS - 1]));
	for (size_t i = 0; i < WORKS - 1; i += 3) {
		assert_true(apus_ready_remove(&ready, &works[i]));
		assert_true(model_remove(&works[i]));
	}
	for (size_t i = 0; i < WORKS; i += 6)
		push(&works[i]);
	pop_and_compare(WORKS + 1);
	assert_true(apus_ready_empty(&ready));
}

static void positions_wrap_at_2_to_the_32(void **state)
{
	ready.head = ready.tail = UINT32_MAX - 100;
	for (int round = 0; round < 20; round++) {
		for (size_t i = 0; i < 37; i++)
			push(&works[i]);
		assert_true(apus_ready_remove(&ready, &works[36]));
		assert_true(model_remove(&works[36]));
		pop_and_compare(36);
	}
	assert_null(pop());
	/* And growth across the wrap. */
	ready.head = ready.tail = UINT32_MAX - 100;
	for (size_t i = 0; i < WORKS; i++)
		push(&works[i]);
	pop_and_compare(WORKS + 1);
}

/* Many at once, so that the ring must grow, or cannot. */
static void push_burst(uint64_t *chance)
{
	for (uint64_t n = test_random_below(chance, 1000); n; n--) {
		struct apus_work *work = &works[test_random_below(chance, WORKS)];

		if (work->where == APUS_READY_NOWHERE)
			push(work);
	}
}

static void random_step(uint64_t *chance)
{
	struct apus_work *work = &works[test_random_below(chance, WORKS)];

	switch (test_random_below(chance, 16)) {
	case 0:
		apus_heap_fail_after(&heap, (int64_t)test_random_below(chance, 3));
		break;
	case 1:
		apus_heap_fail_after(&heap, -1);
		break;
	case 2:
	case 3:
	case 4:
		assert_int_equal(apus_ready_remove(&ready, work), model_remove(work));
		break;
	case 5:
	case 6:
	case 7:
		pop_and_compare(1 + test_random_below(chance, 3));
		break;
	case 8:
		if (test_random_below(chance, 50) == 0)
			pop_and_compare(2000);
		else if (test_random_below(chance, 50) == 0)
			push_burst(chance);
		break;
	default:
		if (work->where == APUS_READY_NOWHERE)
			push(work);
		break;
	}
}

static void random_operations_equal_an_array(void **state)
{
	test_each_seed(seed, 60)
	{
		uint64_t chance = seed;

		open_queue(state);
		ready.head = ready.tail = (uint32_t)test_random(&chance);
		/* Half of the worlds begin without memory: the ring stays small. */
		apus_heap_fail_after(&heap, seed % 2 ? 0 : -1);
		push_burst(&chance);
		for (int step = 0; step < 5000; step++)
			random_step(&chance);
		apus_heap_fail_after(&heap, -1);
		pop_and_compare(WORKS + 1);
		assert_true(apus_ready_empty(&ready));
		assert_int_equal(close_queue(state), 0);
	}
	open_queue(state); /* for the teardown */
}

#define queue_test(name) cmocka_unit_test_setup_teardown(name, open_queue, close_queue)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		queue_test(empty_queue_is_empty),
		queue_test(queue_grows_and_stays_fifo),
		queue_test(tag_comes_back_with_the_entry),
		queue_test(tag_survives_growth_and_overflow),
		queue_test(removed_work_does_not_come_out),
		queue_test(queue_that_cannot_grow_keeps_order_and_loses_nothing),
		queue_test(removal_from_the_overflow_keeps_the_rest),
		queue_test(positions_wrap_at_2_to_the_32),
		cmocka_unit_test(random_operations_equal_an_array),
	};

	return test_main(argc, argv, tests);
}
