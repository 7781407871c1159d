/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/base/test_list.c: the intrusive list against an array, over random operations.
 */
#include "tests/runtime/base_test.h"

#include "runtime/base/list.h"

struct item {
	int value;
	struct apus_list link;
};

/* The list's values must be these, read forwards and backwards. */
static void assert_holds(const struct apus_list *head, const int *values, size_t count)
{
	const struct apus_list *it = head;

	for (size_t i = 0; i < count; i++) {
		it = it->next;
		assert_ptr_not_equal(it, head);
		assert_int_equal(apus_list_entry(it, struct item, link)->value, values[i]);
		assert_ptr_equal(it->next->prev, it);
	}
	assert_ptr_equal(it->next, head);
	assert_ptr_equal(head->prev, it);
	assert_int_equal(apus_list_empty(head), count == 0);
}

static void new_list_is_empty_and_pops_nothing(void **state)
{
	struct apus_list head;

	apus_list_init(&head);
	assert_true(apus_list_empty(&head));
	assert_null(apus_list_pop_front(&head));
	assert_holds(&head, NULL, 0);
}

static void removed_node_is_unlinked_and_may_be_removed_again(void **state)
{
	struct apus_list head;
	struct item a = {.value = 1}, b = {.value = 2};

	apus_list_init(&head);
	apus_list_init(&a.link);
	assert_false(apus_list_linked(&a.link));
	apus_list_push_back(&head, &a.link);
	apus_list_push_back(&head, &b.link);
	assert_true(apus_list_linked(&a.link));

	apus_list_remove(&a.link);
	assert_false(apus_list_linked(&a.link));
	apus_list_remove(&a.link);
	assert_holds(&head, (int[]){2}, 1);
}

static void splice_of_an_empty_list_changes_nothing(void **state)
{
	struct apus_list to, from;
	struct item a = {.value = 1};

	apus_list_init(&to);
	apus_list_init(&from);
	apus_list_splice_back(&to, &from);
	assert_holds(&to, NULL, 0);
	apus_list_push_back(&to, &a.link);
	apus_list_splice_back(&to, &from);
	assert_holds(&to, (int[]){1}, 1);
	apus_list_splice_back(&from, &to);
	assert_holds(&from, (int[]){1}, 1);
	assert_holds(&to, NULL, 0);
}

static void for_each_safe_allows_removal_of_the_current_node(void **state)
{
	struct apus_list head, *it, *tmp;
	struct item items[10];

	apus_list_init(&head);
	for (int i = 0; i < 10; i++) {
		items[i].value = i;
		apus_list_push_back(&head, &items[i].link);
	}
	apus_list_for_each_safe(it, tmp, &head) {
		if (apus_list_entry(it, struct item, link)->value % 3 == 0)
			apus_list_remove(it);
	}
	assert_holds(&head, (int[]){1, 2, 4, 5, 7, 8}, 6);
}

#define ITEMS 24

/* A list and the array it must equal. */
struct pair {
	struct apus_list head;
	int model[ITEMS];
	size_t count;
};

static void model_insert(struct pair *p, size_t at, int value)
{
	memmove(p->model + at + 1, p->model + at, (p->count - at) * sizeof(int));
	p->model[at] = value;
	p->count++;
}

static void model_remove(struct pair *p, int value)
{
	for (size_t i = 0; i < p->count; i++) {
		if (p->model[i] != value)
			continue;
		memmove(p->model + i, p->model + i + 1, (p->count - i - 1) * sizeof(int));
		p->count--;
		return;
	}
}

static void random_step(struct pair pairs[2], struct item *items, uint64_t *chance)
{
	struct pair *p = &pairs[test_random_below(chance, 2)], *other = p == pairs ? p + 1 : p - 1;
	struct item *item = &items[test_random_below(chance, ITEMS)];
	struct apus_list *popped;

	switch (test_random_below(chance, 10)) {
	case 0:
		popped = apus_list_pop_front(&p->head);
		assert_int_equal(popped != NULL, p->count > 0);
		if (popped)
			model_remove(p, apus_list_entry(popped, struct item, link)->value);
		break;
	case 1:
		apus_list_splice_back(&p->head, &other->head);
		memcpy(p->model + p->count, other->model, other->count * sizeof(int));
		p->count += other->count;
		other->count = 0;
		break;
	case 2:
	case 3:
	case 4:
		apus_list_remove(&item->link);
		model_remove(p, item->value);
		model_remove(other, item->value);
		break;
	case 5:
	case 6:
		if (apus_list_linked(&item->link))
			break;
		apus_list_push_front(&p->head, &item->link);
		model_insert(p, 0, item->value);
		break;
	default:
		if (apus_list_linked(&item->link))
			break;
		apus_list_push_back(&p->head, &item->link);
		model_insert(p, p->count, item->value);
		break;
	}
}

static void random_operations_equal_an_array(void **state)
{
	test_each_seed(seed, 100)
	{
		uint64_t chance = seed;
		struct pair pairs[2] = {0};
		struct item items[ITEMS];

		apus_list_init(&pairs[0].head);
		apus_list_init(&pairs[1].head);
		for (int i = 0; i < ITEMS; i++) {
			items[i].value = i;
			apus_list_init(&items[i].link);
		}
		for (int step = 0; step < 1000; step++) {
			random_step(pairs, items, &chance);
			assert_holds(&pairs[0].head, pairs[0].model, pairs[0].count);
			assert_holds(&pairs[1].head, pairs[1].model, pairs[1].count);
		}
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(new_list_is_empty_and_pops_nothing),
		cmocka_unit_test(removed_node_is_unlinked_and_may_be_removed_again),
		cmocka_unit_test(splice_of_an_empty_list_changes_nothing),
		cmocka_unit_test(for_each_safe_allows_removal_of_the_current_node),
		cmocka_unit_test(random_operations_equal_an_array),
	};

	return test_main(argc, argv, tests);
}
