/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/test_properties.c: what must hold whatever happens, over many seeds.
 *
 * A dozen workers do random operations on one primitive, with time limits that expire and cancels
 * that come between any two laps. After each lap a model says what must be true: permits are
 * conserved, an item is delivered once and in order or is still queued, who was not cancelled is
 * served first come first served, nobody waits for what is there, and whoever is linked is parked.
 * The same seed gives the same run.
 */
#include "tests/runtime/sync/properties.h"

#include "runtime/sync/condition.h"
#include "runtime/sync/group.h"
#include "runtime/sync/lock.h"
#include "runtime/sync/queue.h"
#include "runtime/sync/select.h"
#include "runtime/sync/semaphore.h"
#include "runtime/sync/timeout.h"

/* First come, first served: of those that were served, in order of asking. */

static struct {
	uint64_t next, last_served;
} tickets;

static void served(uint64_t ticket)
{
	assert_true(ticket > tickets.last_served);
	tickets.last_served = ticket;
}

/* Lock. */

static struct apus_lock lock;
static struct worker *owner;

static void lock_open(void)
{
	apus_lock_init(&lock);
	owner = NULL;
	tickets.next = tickets.last_served = 0;
}

static int64_t lock_step(struct worker *w)
{
	uint64_t ticket = ++tickets.next;
	int64_t rc = apus_lock_acquire(&lock);

	if (rc) {
		assert_int_equal(rc, -ECANCELED);
		return rc;
	}
	served(ticket);
	assert_null(owner);
	assert_true(apus_lock_is_locked(&lock));
	owner = w;
	if (pick(w, 4))
		rc = pause_for_a_while(w);
	assert_ptr_equal(owner, w);
	owner = NULL;
	ok(apus_lock_release(&lock));
	return rc;
}

static void lock_check(bool is_quiet)
{
	check_waitq(&lock.waiters);
	assert_int_equal(owner != NULL, apus_lock_is_locked(&lock));
	if (is_quiet && !apus_lock_is_locked(&lock))
		assert_true(apus_waitq_empty(&lock.waiters));
	if (is_quiet)
		assert_false(lock.state & APUS_LOCK_PROMISED);
}

static void lock_close(void)
{
	lock_check(true);
	assert_false(apus_lock_is_locked(&lock));
	assert_true(apus_waitq_empty(&lock.waiters));
	assert_int_equal(apus_lock_release(&lock), -EPERM);
}

static void lock_has_one_owner_and_serves_in_order(void **state)
{
	static const struct property property = {lock_open, lock_step, lock_check, lock_close};

	run_property(&property);
}

/* Semaphore. */

static struct apus_semaphore semaphore;
static uint64_t units, units_at_once, units_out;

static void semaphore_open(void)
{
	units = units_at_once + test_random_below(&play.random, 4);
	units_out = 0;
	apus_semaphore_init(&semaphore, units, units);
	tickets.next = tickets.last_served = 0;
}

static int64_t semaphore_step(struct worker *w)
{
	uint64_t n = 1 + pick(w, units_at_once), ticket = ++tickets.next;
	bool waits = pick(w, 8) > 0;
	int64_t rc = waits ? apus_semaphore_acquire(&semaphore, n)
			   : apus_semaphore_try_acquire(&semaphore, n);

	if (rc) {
		assert_int_equal(rc, waits ? -ECANCELED : -EAGAIN);
		return rc;
	}
	served(ticket);
	units_out += n;
	assert_true(units_out <= units);
	if (pick(w, 4))
		rc = pause_for_a_while(w);
	if (n > 1 && pick(w, 2)) { /* in two parts */
		units_out--;
		n--;
		ok(apus_semaphore_release(&semaphore, 1));
		if (pick(w, 2))
			rc = pause_for_a_while(w);
	}
	units_out -= n;
	ok(apus_semaphore_release(&semaphore, n));
	return rc;
}

static void semaphore_check(bool is_quiet)
{
	check_waitq(&semaphore.waiters);
	assert_true(semaphore.value + units_out <= units);
	if (!is_quiet)
		return;
	assert_int_equal(semaphore.promised, 0);
	assert_int_equal(semaphore.value + units_out, units);
	if (semaphore.value >= units_at_once)
		assert_true(apus_waitq_empty(&semaphore.waiters));
}

static void semaphore_close(void)
{
	semaphore_check(true);
	assert_int_equal(semaphore.value, units);
	assert_true(apus_waitq_empty(&semaphore.waiters));
	assert_int_equal(apus_semaphore_release(&semaphore, 1), -EOVERFLOW);
}

static const struct property semaphore_property = {semaphore_open, semaphore_step, semaphore_check,
						   semaphore_close};

static void semaphore_of_single_units_conserves_them(void **state)
{
	units_at_once = 1;
	run_property(&semaphore_property);
}

static void semaphore_of_many_units_conserves_them(void **state)
{
	units_at_once = 4;
	run_property(&semaphore_property);
}

/* Condition: tokens are made and taken under the lock. */

static struct apus_condition condition;
static uint64_t made, taken;

static void condition_open(void)
{
	lock_open();
	apus_condition_init(&condition, &lock);
	made = taken = 0;
}

static bool has_token(void *arg)
{
	assert_null(owner); /* only who has the lock looks */
	return made > taken;
}

static int64_t take_token(struct worker *w)
{
	struct apus_timeout limit; /* there may never be one */

	apus_timeout_begin(&limit, (int64_t)pick(w, 100000));
	int64_t rc = apus_condition_wait_for(&condition, has_token, NULL);

	assert_null(owner);
	assert_true(apus_lock_is_locked(&lock)); /* whatever it returned */
	if (rc == 0) {
		assert_true(made > taken);
		taken++;
	}
	return apus_timeout_end(&limit, rc);
}

static int64_t condition_step(struct worker *w)
{
	int64_t rc = apus_lock_acquire(&lock);

	if (rc)
		return rc;
	assert_null(owner);
	switch (pick(w, 4)) {
	case 0:
		made++;
		ok(apus_condition_notify(&condition, 1));
		break;
	case 1:
		made += 3;
		ok(pick(w, 2) ? apus_condition_notify(&condition, 3)
			      : apus_condition_notify_all(&condition));
		break;
	default:
		rc = take_token(w);
		break;
	}
	owner = w;
	if (pick(w, 3) == 0)
		(void)!pause_for_a_while(w);
	assert_ptr_equal(owner, w);
	owner = NULL;
	ok(apus_lock_release(&lock));
	return rc;
}

static void condition_check(bool is_quiet)
{
	check_waitq(&lock.waiters);
	check_waitq(&condition.waiters);
	if (is_quiet && !apus_lock_is_locked(&lock))
		assert_true(apus_waitq_empty(&lock.waiters));
	/* The lost wake-up: a token, nobody under way to it, and somebody who waits for it. */
	if (is_quiet && !apus_lock_is_locked(&lock) && made > taken)
		assert_true(apus_waitq_empty(&condition.waiters));
	assert_true(taken <= made);
}

static void condition_close(void)
{
	assert_true(apus_waitq_empty(&condition.waiters));
	assert_true(taken > 0);
	lock_close();
}

static void condition_loses_no_notification(void **state)
{
	static const struct property property = {condition_open, condition_step, condition_check,
						 condition_close};

	run_property(&property);
}

/* Queues, beside a model that is an array. */

#define CAPACITY_MAX 6

struct item {
	int64_t priority;
	uint64_t seq;
};

static struct apus_queue queue;
static enum apus_queue_order order;
static struct item items[2 * WORKERS * OPS_EACH];
static struct item *model[CAPACITY_MAX];
static size_t items_made, model_count;
static uint64_t seq, shut_down_at;
static bool is_shut_down;

static int64_t priority_of(const void *item)
{
	return ((const struct item *)item)->priority;
}

static void queue_open(void)
{
	struct apus_queue_options options = {
		.capacity = 1 + (uint32_t)test_random_below(&play.random, CAPACITY_MAX),
		.order = order,
		.priority = order == APUS_QUEUE_PRIORITY ? priority_of : NULL,
	};

	ok(apus_queue_init(&queue, &options));
	items_made = model_count = 0;
	seq = 0;
	is_shut_down = false;
	/* In every third run, somewhere in the second half. */
	shut_down_at = test_random_below(&play.random, 3)
			       ? UINT64_MAX
			       : OPS_EACH * WORKERS / 4 + test_random_below(&play.random, 300);
}

static size_t next_of_model(void)
{
	size_t best = 0;

	assert_true(model_count > 0);
	for (size_t i = 1; i < model_count; i++) {
		bool is_before =
			order == APUS_QUEUE_LIFO || (order == APUS_QUEUE_PRIORITY &&
						     model[i]->priority < model[best]->priority);

		if (is_before)
			best = i;
	}
	return best;
}

static void was_put(struct item *item)
{
	assert_false(is_shut_down);
	assert_true(model_count < queue.capacity);
	item->seq = ++seq;
	model[model_count++] = item;
	assert_int_equal(apus_queue_size(&queue), model_count);
}

static void was_got(const struct item *item)
{
	size_t at = next_of_model();

	assert_ptr_equal(item, model[at]);
	memmove(&model[at], &model[at + 1], (--model_count - at) * sizeof(model[0]));
	assert_int_equal(apus_queue_size(&queue), model_count);
	note(item->seq);
	ok(apus_queue_task_done(&queue));
}

static int64_t queue_put(struct worker *w, int64_t until_ns)
{
	struct item *item = &items[items_made++ % apus_countof(items)];
	struct apus_select_case cases[] = {
		APUS_SELECT_PUT(&queue, item),
		APUS_SELECT_UNTIL(until_ns),
	};
	int64_t rc;

	item->priority = (int64_t)pick(w, 4);
	switch (pick(w, 4)) {
	case 0:
		rc = apus_queue_try_put(&queue, item);
		assert_true(rc != -EAGAIN || apus_queue_is_full(&queue));
		break;
	case 1:
		rc = apus_select(cases, 2);
		rc = rc == 0 ? cases[0].rc : rc == 1 ? -ETIME : rc;
		break;
	default:
		rc = apus_queue_put(&queue, item);
		break;
	}
	if (rc == 0)
		was_put(item);
	return rc;
}

static int64_t queue_get(struct worker *w, int64_t until_ns)
{
	void *item = NULL;
	struct apus_select_case cases[] = {
		APUS_SELECT_UNTIL(until_ns),
		APUS_SELECT_GET(&queue, &item),
	};
	int64_t rc;

	switch (pick(w, 4)) {
	case 0:
		rc = apus_queue_try_get(&queue, &item);
		assert_true(rc != -EAGAIN || apus_queue_is_empty(&queue));
		break;
	case 1:
		rc = apus_select(cases, 2);
		rc = rc == 1 ? cases[1].rc : rc == 0 ? -ETIME : rc;
		break;
	default:
		rc = apus_queue_get(&queue, &item);
		break;
	}
	if (rc == 0)
		was_got(item);
	return rc;
}

static int64_t queue_step(struct worker *w)
{
	struct apus_timeout limit; /* nobody may ever come */
	int64_t span_ns = (int64_t)pick(w, 60000), until_ns = apus_now() + span_ns;

	if (!is_shut_down && items_made >= shut_down_at) {
		bool immediate = pick(w, 2);

		is_shut_down = true;
		apus_queue_shutdown(&queue, immediate);
		if (immediate)
			model_count = 0;
	}
	apus_timeout_begin(&limit, span_ns + (int64_t)pick(w, 2) * 1000);
	int64_t rc = pick(w, 2) ? queue_put(w, until_ns) : queue_get(w, until_ns);

	rc = apus_timeout_end(&limit, rc);
	assert_true(rc != -EPIPE || is_shut_down);
	return rc;
}

static void queue_check(bool is_quiet)
{
	check_waitq(&queue.getters);
	check_waitq(&queue.putters);
	assert_int_equal(apus_queue_size(&queue), model_count);
	assert_int_equal(queue.unfinished, model_count);
	if (is_quiet && (model_count || is_shut_down))
		assert_true(apus_waitq_empty(&queue.getters));
	if (is_quiet && (model_count < queue.capacity || is_shut_down))
		assert_true(apus_waitq_empty(&queue.putters));
}

static void queue_close(void)
{
	void *item;

	queue_check(true);
	assert_true(apus_waitq_empty(&queue.getters));
	assert_true(apus_waitq_empty(&queue.putters));
	while (model_count) {
		ok(apus_queue_try_get(&queue, &item));
		was_got(item);
	}
	assert_int_equal(apus_queue_try_get(&queue, &item), is_shut_down ? -EPIPE : -EAGAIN);
	apus_queue_fini(&queue);
}

static const struct property queue_property = {queue_open, queue_step, queue_check, queue_close};

static void fifo_queue_delivers_each_item_once_in_order(void **state)
{
	order = APUS_QUEUE_FIFO;
	run_property(&queue_property);
}

static void lifo_queue_delivers_each_item_once_in_order(void **state)
{
	order = APUS_QUEUE_LIFO;
	run_property(&queue_property);
}

static void priority_queue_delivers_each_item_once_in_order(void **state)
{
	order = APUS_QUEUE_PRIORITY;
	run_property(&queue_property);
}

/* Groups: no child runs once its group has ended. */

static uint32_t children;

struct family {
	struct apus_group group;
	struct worker *worker;
	uint32_t live;
	bool has_ended;
};

static int64_t child_of_group(void *arg)
{
	struct family *family = *(struct family **)arg;
	struct worker *w = family->worker;
	int64_t rc = 0;

	children++;
	family->live++;
	for (uint64_t i = pick(w, 3); i > 0 && rc == 0; i--) {
		rc = pause_for_a_while(w);
		assert_false(family->has_ended);
	}
	if (rc == 0 && pick(w, 4) == 0)
		rc = apus_group_spawn(&family->group, NULL, child_of_group, &family,
				      sizeof(family));
	else if (rc == 0 && pick(w, 6) == 0)
		rc = -EIO;
	else if (rc == -ECANCELED && pick(w, 3) == 0) /* takes its time to clean up */
		assert_true(pause_for_a_while(w) <= 0);
	assert_false(family->has_ended);
	family->live--;
	children--;
	return rc;
}

static int64_t group_step(struct worker *w)
{
	struct family family = {.worker = w}, *copy = &family;
	bool collects = pick(w, 2);
	int64_t rc = 0;

	apus_group_begin(&family.group, collects ? APUS_GROUP_COLLECT : APUS_GROUP_FAIL_FAST);
	for (uint64_t i = pick(w, 4); i > 0 && rc == 0; i--) {
		const struct apus_spawn_options options = {
			.flags = pick(w, 3) ? 0 : APUS_SPAWN_EAGER,
		};

		rc = apus_group_spawn(&family.group, &options, child_of_group, &copy, sizeof(copy));
	}
	if (rc == 0 && pick(w, 2))
		rc = pause_for_a_while(w);
	if (pick(w, 8) == 0)
		apus_group_cancel(&family.group);
	rc = apus_group_end(&family.group, rc);
	family.has_ended = true;
	assert_int_equal(family.live, 0);
	assert_int_equal(family.group.live, 0);
	assert_int_equal(apus_group_spawn(&family.group, NULL, child_of_group, &copy, sizeof(copy)),
			 -EPIPE);
	assert_true(rc <= 0);
	apus_group_fini(&family.group);
	return rc;
}

static void group_open(void)
{
	children = 0;
}

static void group_check(bool is_quiet)
{
	assert_true(children <= apus_shard_tasks(test_world.shard));
}

static void group_close(void)
{
	assert_int_equal(children, 0);
}

static void no_task_runs_after_its_group_ended(void **state)
{
	static const struct property property = {group_open, group_step, group_check, group_close};

	run_property(&property);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		property_test(lock_has_one_owner_and_serves_in_order),
		property_test(semaphore_of_single_units_conserves_them),
		property_test(semaphore_of_many_units_conserves_them),
		property_test(condition_loses_no_notification),
		property_test(fifo_queue_delivers_each_item_once_in_order),
		property_test(lifo_queue_delivers_each_item_once_in_order),
		property_test(priority_queue_delivers_each_item_once_in_order),
		property_test(no_task_runs_after_its_group_ended),
	};

	return test_main(argc, argv, tests);
}
