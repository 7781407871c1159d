/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/test_properties_more.c: as test_properties.c, for events, futures, select,
 * generators and groups whose children say when they are ready.
 */
#include "tests/runtime/sync/properties.h"

#include "runtime/sync/event.h"
#include "runtime/sync/future.h"
#include "runtime/sync/generator.h"
#include "runtime/sync/group.h"
#include "runtime/sync/select.h"

#define THINGS 3

static struct apus_event events[THINGS];
static struct apus_future futures[THINGS];
static struct apus_queue queues[THINGS];

/* Events. */

static void event_open(void)
{
	for (int i = 0; i < THINGS; i++)
		apus_event_init(&events[i]);
}

static int64_t event_step(struct worker *w)
{
	struct apus_event *e = &events[pick(w, THINGS)];
	struct apus_timeout limit;

	switch (pick(w, 6)) {
	case 0:
		apus_event_set(e);
		return 0;
	case 1:
		apus_event_set(e); /* all who wait now are woken, cleared or not */
		apus_event_clear(e);
		return 0;
	case 2:
		apus_event_clear(e);
		return 0;
	default:
		apus_timeout_begin(&limit, (int64_t)pick(w, 60000));
		return apus_timeout_end(&limit, apus_event_wait(e));
	}
}

static void event_check(bool is_quiet)
{
	for (int i = 0; i < THINGS; i++) {
		check_waitq(&events[i].waiters);
		assert_true(!events[i].is_set || apus_waitq_empty(&events[i].waiters));
	}
}

static void event_close(void)
{
	for (int i = 0; i < THINGS; i++)
		assert_true(apus_waitq_empty(&events[i].waiters));
}

static void nobody_waits_for_an_event_that_is_set(void **state)
{
	static const struct property property = {event_open, event_step, event_check, event_close};

	run_property(&property);
}

/* Futures. */

static int64_t outcomes[THINGS]; /* -EINPROGRESS: none yet */
static uint32_t awaiting[THINGS];

static void future_open(void)
{
	for (int i = 0; i < THINGS; i++) {
		apus_future_init(&futures[i]);
		outcomes[i] = -EINPROGRESS;
		awaiting[i] = 0;
	}
}

/* A cancel of one who waits is a cancel of the future, unless that was complete. */
static void note_cancel(size_t i)
{
	if (outcomes[i] == -EINPROGRESS && apus_future_cancelled(&futures[i]))
		outcomes[i] = -ECANCELED;
}

static int64_t future_complete(struct worker *w, size_t i)
{
	int64_t value = pick(w, 3) ? (int64_t)pick(w, 1000) : -EIO;
	int64_t rc = value < 0 ? apus_future_fail(&futures[i], value)
			       : apus_future_set(&futures[i], value);

	assert_int_equal(rc, outcomes[i] == -EINPROGRESS ? 0 : -EALREADY);
	if (rc == 0)
		outcomes[i] = value;
	return rc;
}

static int64_t future_step(struct worker *w)
{
	size_t i = pick(w, THINGS);
	struct apus_timeout limit;
	int64_t rc;

	note_cancel(i);
	switch (pick(w, 6)) {
	case 0:
		return future_complete(w, i);
	case 1:
		if (pick(w, 4) == 0 && apus_future_cancel(&futures[i]))
			outcomes[i] = -ECANCELED;
		return 0;
	case 2:
		if (awaiting[i] || outcomes[i] == -EINPROGRESS)
			return -EBUSY;
		apus_future_init(&futures[i]);
		outcomes[i] = -EINPROGRESS;
		return 0;
	default:
		apus_timeout_begin(&limit, (int64_t)pick(w, 60000));
		awaiting[i]++;
		rc = apus_future_await(&futures[i]);
		note_cancel(i);
		awaiting[i]--;
		assert_true(rc == outcomes[i] || rc == -ECANCELED);
		rc = apus_timeout_end(&limit, rc);
		return rc < 0 ? rc : 0;
	}
}

static void future_check(bool is_quiet)
{
	for (int i = 0; i < THINGS; i++) {
		check_waitq(&futures[i].waiters);
		assert_true(!apus_future_done(&futures[i]) ||
			    apus_waitq_empty(&futures[i].waiters));
		if (outcomes[i] != -EINPROGRESS)
			assert_int_equal(apus_future_result(&futures[i]), outcomes[i]);
	}
}

static void future_close(void)
{
	for (int i = 0; i < THINGS; i++)
		assert_true(apus_waitq_empty(&futures[i].waiters));
}

static void future_has_one_outcome_and_all_see_it(void **state)
{
	static const struct property property = {future_open, future_step, future_check,
						 future_close};

	run_property(&property);
}

/* Select over all of it: each item is taken once, and none is lost with an arm that loses. */

static bool in_queue[2 * WORKERS * OPS_EACH];
static uint64_t items_made, items_in;

static void select_open(void)
{
	event_open();
	future_open();
	for (int i = 0; i < THINGS; i++)
		ok(apus_queue_init(&queues[i], &(struct apus_queue_options){
						       .capacity = 1 + (uint32_t)(i % 2),
					       }));
	memset(in_queue, 0, sizeof(in_queue));
	items_made = items_in = 0;
}

static void was_put(uint64_t item)
{
	assert_false(in_queue[item]);
	in_queue[item] = true;
	items_in++;
}

static void was_got(const void *item)
{
	assert_true(in_queue[(uintptr_t)item]);
	in_queue[(uintptr_t)item] = false;
	items_in--;
}

static int64_t select_step(struct worker *w)
{
	struct apus_queue *from = &queues[pick(w, THINGS)], *to = &queues[pick(w, THINGS)];
	struct apus_event *e = &events[pick(w, THINGS)];
	uint64_t made = items_made++ % apus_countof(in_queue);
	void *got = NULL;
	struct apus_select_case all[] = {
		APUS_SELECT_GET(from, &got),
		APUS_SELECT_PUT(to, (void *)(uintptr_t)made),
		APUS_SELECT_EVENT(e),
		APUS_SELECT_FUTURE(&futures[0]),
		APUS_SELECT_UNTIL(apus_now() + (int64_t)pick(w, 50000)),
	};
	struct apus_select_case cases[5];
	size_t n = 0, get = 9, put = 9;

	switch (pick(w, 8)) {
	case 0:
		apus_event_set(e);
		if (pick(w, 2))
			apus_event_clear(e);
		return 0;
	case 1:
		if (apus_queue_try_get(from, &got) == 0)
			was_got(got);
		return 0;
	case 2:
		if (apus_queue_try_put(to, (void *)(uintptr_t)made) == 0)
			was_put(made);
		return 0;
	default:
		break;
	}
	for (size_t i = 0; i < apus_countof(all); i++) {
		if (i < 4 && pick(w, 2)) /* the time is always there */
			continue;
		get = i == 0 ? n : get;
		put = i == 1 ? n : put;
		cases[n++] = all[i];
	}
	int64_t rc = apus_select(cases, n);

	if (rc >= 0 && (size_t)rc == get)
		was_got(got);
	else
		assert_null(got);
	if (rc >= 0 && (size_t)rc == put)
		was_put(made);
	return rc < 0 ? rc : 0;
}

static void select_check(bool is_quiet)
{
	uint64_t count = 0;

	event_check(is_quiet);
	for (int i = 0; i < THINGS; i++) {
		check_waitq(&queues[i].getters);
		check_waitq(&queues[i].putters);
		count += apus_queue_size(&queues[i]);
		if (!is_quiet)
			continue;
		if (!apus_queue_is_empty(&queues[i]))
			assert_true(apus_waitq_empty(&queues[i].getters));
		if (!apus_queue_is_full(&queues[i]))
			assert_true(apus_waitq_empty(&queues[i].putters));
	}
	assert_int_equal(count, items_in);
}

static void select_close(void)
{
	select_check(true);
	event_close();
	future_close();
	for (int i = 0; i < THINGS; i++) {
		assert_true(apus_waitq_empty(&queues[i].getters));
		apus_queue_fini(&queues[i]);
	}
}

static void select_takes_each_item_once_and_loses_none(void **state)
{
	static const struct property property = {select_open, select_step, select_check,
						 select_close};

	run_property(&property);
}

/* Generators: a worker's own, and whatever it does to it, the body has ended after close. */

struct counting {
	struct worker *worker;
	bool is_open; /* the body runs, or waits */
	int64_t next;
};

static uint32_t bodies;

static int64_t body(struct apus_generator *g, void *arg)
{
	struct counting *c = arg;
	int64_t rc = 0;

	bodies++;
	c->is_open = true;
	while (rc == 0 || rc == -EIO) { /* an error that it survives */
		void *sent = NULL;

		if (pick(c->worker, 3) == 0 && pause_for_a_while(c->worker))
			rc = -ECANCELED;
		else
			rc = apus_generator_yield(g, (void *)(intptr_t)c->next, &sent);
		c->next++;
		if (rc == 0 && pick(c->worker, 40) == 0)
			break;
	}
	if (rc == APUS_GENERATOR_EXIT && pick(c->worker, 10) == 0)
		rc = apus_generator_yield(g, NULL, NULL); /* stubborn */
	if (rc && pick(c->worker, 2))
		(void)!apus_sleep((int64_t)pick(c->worker, 20000));
	c->is_open = false;
	bodies--;
	return rc;
}

static int64_t generator_call(struct worker *w, struct apus_generator *g, struct counting *c)
{
	struct apus_timeout limit;
	int64_t expected = c->next, rc;
	void *value = NULL;

	apus_timeout_begin(&limit, (int64_t)pick(w, 60000));
	switch (pick(w, 4)) {
	case 0:
		rc = apus_generator_send(g, g->core ? w : NULL, &value);
		break;
	case 1:
		rc = apus_generator_throw(g, -EIO, &value);
		break;
	default:
		rc = apus_generator_next(g, &value);
		break;
	}
	/* What was on its way when a cancel came is lost, so that numbers may be left out. */
	if (rc == 1)
		assert_true((intptr_t)value >= expected && (intptr_t)value < c->next + 1);
	rc = apus_timeout_end(&limit, rc);
	return rc;
}

static int64_t generator_step(struct worker *w)
{
	struct counting c = {.worker = w};
	struct apus_generator g;
	int64_t rc = 1;

	apus_generator_open(&g, body, &c);
	for (uint64_t n = pick(w, 6); n && rc == 1; n--)
		rc = generator_call(w, &g, &c);

	int64_t closed = apus_generator_close(&g);

	assert_true(closed <= 0);
	assert_false(c.is_open);
	assert_int_equal(apus_generator_close(&g), 0);
	return rc < 0 ? rc : closed;
}

static void generator_open(void)
{
	bodies = 0;
}

static void generator_check(bool is_quiet)
{
	assert_true(bodies <= WORKERS);
}

static void generator_end(void)
{
	assert_int_equal(bodies, 0);
}

static void body_has_ended_when_its_generator_is_closed(void **state)
{
	static const struct property property = {generator_open, generator_step, generator_check,
						 generator_end};

	run_property(&property);
}

/* Groups with children that get ready, or do not. */

static uint32_t children;

struct family {
	struct apus_group group;
	struct worker *worker;
	bool has_ended;
};

static int64_t child(void *arg)
{
	struct family *f = arg;
	struct worker *w = f->worker;
	int64_t rc = 0;

	children++;
	if (pick(w, 2))
		rc = pause_for_a_while(w);
	if (rc == 0 && pick(w, 5) == 0)
		rc = -EIO; /* not ready */
	else if (pick(w, 8))
		(void)!apus_started(42); /* even if it was cancelled meanwhile */
	for (uint64_t n = pick(w, 3); n && rc == 0; n--)
		rc = pause_for_a_while(w);
	if (rc == 0 && pick(w, 8) == 0)
		rc = -ERANGE;
	assert_false(f->has_ended);
	children--;
	return rc;
}

static int64_t start_step(struct worker *w)
{
	struct family f = {.worker = w};
	int64_t rc = 0;

	apus_group_begin(&f.group, pick(w, 2) ? APUS_GROUP_COLLECT : APUS_GROUP_FAIL_FAST);
	for (uint64_t n = 1 + pick(w, 3); n && rc >= 0; n--) {
		rc = apus_group_start(&f.group, NULL, child, &f, 0);
		assert_true(rc == 42 || rc < 0);
		if (rc == -EPROTO || rc == -EIO)
			rc = 0; /* it did not get ready; the group does not mind */
	}
	rc = apus_group_end(&f.group, apus_min(rc, INT64_C(0)));
	f.has_ended = true;
	assert_int_equal(f.group.live, 0);
	assert_true(rc != -EIO && rc != -EPROTO); /* the starter's, not the group's */
	apus_group_fini(&f.group);
	return rc;
}

static void start_open(void)
{
	children = 0;
}

static void start_check(bool is_quiet)
{
	assert_true(children <= apus_shard_tasks(test_world.shard));
}

static void start_close(void)
{
	assert_int_equal(children, 0);
}

static void started_child_is_the_groups_and_no_other(void **state)
{
	static const struct property property = {start_open, start_step, start_check, start_close};

	run_property(&property);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		property_test(nobody_waits_for_an_event_that_is_set),
		property_test(future_has_one_outcome_and_all_see_it),
		property_test(select_takes_each_item_once_and_loses_none),
		property_test(body_has_ended_when_its_generator_is_closed),
		property_test(started_child_is_the_groups_and_no_other),
	};

	return test_main(argc, argv, tests);
}
