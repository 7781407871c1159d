/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sync/test_properties_channels.c: as test_properties.c, for oneshot, watch, broadcast,
 * gate and barrier.
 *
 * A value is received once, or by everybody in order, or the latest of all; nobody waits for what is
 * there; a gate that has closed is empty; those who wait at a barrier are those that it counts.
 */
#include "tests/runtime/sync/properties.h"

#include "runtime/sync/barrier.h"
#include "runtime/sync/channel.h"
#include "runtime/sync/gate.h"

static void *as_value(uint64_t number)
{
	return (void *)(uintptr_t)number;
}

/* Who is in a call that may wait, and for what. */
static struct {
	bool waits;
	uint64_t seen;
	uint32_t which;
} calls[WORKERS];

/* The step in a limit of its own: there may be nobody who ever ends the wait. */
static int64_t limited(struct worker *w, int64_t (*call)(struct worker *w))
{
	struct apus_timeout limit;

	apus_timeout_begin(&limit, (int64_t)pick(w, 60000));
	calls[w->number].waits = true;
	int64_t rc = call(w);

	calls[w->number].waits = false;
	return apus_timeout_end(&limit, rc);
}

/* Oneshot. */

#define ONESHOTS 4

static struct apus_oneshot oneshots[ONESHOTS];
static uint64_t sent_values[ONESHOTS], next_value;
static bool was_received[ONESHOTS];

static void oneshot_renew(uint32_t i)
{
	apus_oneshot_init(&oneshots[i]);
	sent_values[i] = 0;
	was_received[i] = false;
}

static void oneshot_open(void)
{
	memset(calls, 0, sizeof(calls));
	next_value = 0;
	for (uint32_t i = 0; i < ONESHOTS; i++)
		oneshot_renew(i);
}

static int64_t oneshot_recv(struct worker *w)
{
	uint32_t i = calls[w->number].which;
	void *value = NULL;
	int rc = apus_oneshot_recv(&oneshots[i], &value);

	if (rc == 0) {
		assert_true(sent_values[i] && value == as_value(sent_values[i]));
		assert_false(was_received[i]);
		was_received[i] = true;
	} else if (rc == -EPIPE) {
		assert_true(was_received[i] || oneshots[i].is_closed);
	}
	return rc;
}

static int64_t oneshot_step(struct worker *w)
{
	uint32_t i = (uint32_t)pick(w, ONESHOTS);
	int rc;

	switch (pick(w, 8)) {
	case 0:
	case 1:
		rc = apus_oneshot_send(&oneshots[i], as_value(++next_value));
		if (rc == 0) {
			assert_int_equal(sent_values[i], 0);
			sent_values[i] = next_value;
		}
		return rc;
	case 2:
		if (pick(w, 4) == 0)
			apus_oneshot_close(&oneshots[i]);
		return 0;
	case 3:
		for (int other = 0; other < WORKERS; other++)
			if (calls[other].waits && calls[other].which == i)
				return -EBUSY;
		if (was_received[i] || oneshots[i].is_closed)
			oneshot_renew(i);
		return 0;
	default:
		calls[w->number].which = i;
		return limited(w, oneshot_recv);
	}
}

static void oneshot_check(bool is_quiet)
{
	for (int i = 0; i < ONESHOTS; i++) {
		check_waitq(&oneshots[i].receivers);
		if (is_quiet && (sent_values[i] || oneshots[i].is_closed))
			assert_true(apus_waitq_empty(&oneshots[i].receivers));
	}
}

static void oneshot_close(void)
{
	oneshot_check(true);
	for (int i = 0; i < ONESHOTS; i++)
		assert_true(apus_waitq_empty(&oneshots[i].receivers));
}

static void oneshot_is_received_once(void **state)
{
	static const struct property property = {oneshot_open, oneshot_step, oneshot_check,
						 oneshot_close};

	run_property(&property);
}

/* Watch. */

static struct apus_watch watch;
static uint64_t latest;

static void watch_open(void)
{
	memset(calls, 0, sizeof(calls));
	latest = 1;
	apus_watch_init(&watch, as_value(latest));
}

static int64_t watch_changed(struct worker *w)
{
	uint64_t before = calls[w->number].seen;
	void *value = NULL;
	int rc = apus_watch_changed(&watch, &calls[w->number].seen, &value);

	if (rc == 0) {
		assert_true(calls[w->number].seen > before);
		assert_ptr_equal(value, as_value(latest));
		assert_int_equal(calls[w->number].seen, watch.version);
	} else {
		assert_int_equal(calls[w->number].seen, before);
	}
	return rc;
}

static int64_t watch_step(struct worker *w)
{
	if (pick(w, 4))
		return limited(w, watch_changed);
	apus_watch_set(&watch, as_value(++latest));
	assert_ptr_equal(apus_watch_get(&watch), as_value(latest));
	return 0;
}

static void watch_check(bool is_quiet)
{
	check_waitq(&watch.receivers);
	for (int i = 0; is_quiet && i < WORKERS; i++)
		assert_true(!calls[i].waits || calls[i].seen == watch.version);
}

static void watch_close(void)
{
	watch_check(true);
	assert_true(apus_waitq_empty(&watch.receivers));
	assert_int_equal(watch.version, latest);
}

static void watch_gives_the_latest_and_each_version_once(void **state)
{
	static const struct property property = {watch_open, watch_step, watch_check, watch_close};

	run_property(&property);
}

/* Broadcast: half of the workers listen. */

static struct apus_broadcast broadcast;
static struct apus_subscriber listeners[WORKERS];
static enum apus_lag lag;
static uint64_t received;

static bool listens(uint32_t number)
{
	return number % 2 == 0;
}

static void broadcast_open(void)
{
	memset(calls, 0, sizeof(calls));
	received = 0;
	ok(apus_broadcast_init(&broadcast, 1 + (uint32_t)test_random_below(&play.random, 5), lag));
	for (uint32_t i = 0; i < WORKERS; i++)
		if (listens(i))
			apus_broadcast_subscribe(&broadcast, &listeners[i]);
}

static int64_t broadcast_recv(struct worker *w)
{
	struct apus_subscriber *s = &listeners[w->number];
	uint64_t expected = s->next;
	void *value = NULL;
	int64_t rc = apus_broadcast_recv(s, &value);

	if (rc < 0) {
		assert_int_equal(s->next, expected);
		return rc;
	}
	assert_true(rc == 0 || lag == APUS_LAG_DROP);
	assert_ptr_equal(value, as_value(expected + (uint64_t)rc));
	assert_int_equal(s->next, expected + (uint64_t)rc + 1);
	received++;
	return 0;
}

static int64_t broadcast_send(struct worker *w)
{
	/* Its own number is its place, which is known when it is sent. */
	struct apus_broadcast *b = &broadcast;
	uint64_t before = b->sent;
	int rc = apus_broadcast_send(b, as_value(before));

	if (rc == 0) /* it may have waited, and others sent meanwhile */
		b->ring[(b->sent - 1) % b->capacity] = as_value(b->sent - 1);
	return rc;
}

static int64_t broadcast_step(struct worker *w)
{
	if (!listens(w->number))
		return limited(w, broadcast_send);
	if (pick(w, 16))
		return limited(w, broadcast_recv);
	apus_broadcast_unsubscribe(&listeners[w->number]);
	apus_broadcast_subscribe(&broadcast, &listeners[w->number]);
	return 0;
}

static void broadcast_check(bool is_quiet)
{
	uint64_t behind = 0;

	check_waitq(&broadcast.receivers);
	check_waitq(&broadcast.senders);
	for (uint32_t i = 0; i < WORKERS; i += 2) {
		uint64_t left = broadcast.sent - listeners[i].next;

		assert_true(listeners[i].next <= broadcast.sent);
		behind = apus_max(behind, left);
		if (is_quiet && calls[i].waits)
			assert_int_equal(left, 0);
	}
	if (lag == APUS_LAG_WAIT)
		assert_true(behind <= broadcast.capacity);
	if (is_quiet && behind < broadcast.capacity)
		assert_true(apus_waitq_empty(&broadcast.senders));
}

static void broadcast_close(void)
{
	broadcast_check(true);
	assert_true(received > 100);
	for (uint32_t i = 0; i < WORKERS; i += 2)
		apus_broadcast_unsubscribe(&listeners[i]);
	apus_broadcast_fini(&broadcast);
}

static const struct property broadcast_property = {broadcast_open, broadcast_step, broadcast_check,
						   broadcast_close};

static void waiting_broadcast_gives_each_listener_every_value_in_order(void **state)
{
	lag = APUS_LAG_WAIT;
	run_property(&broadcast_property);
}

static void dropping_broadcast_tells_each_listener_what_it_lost(void **state)
{
	lag = APUS_LAG_DROP;
	run_property(&broadcast_property);
}

/* Gate. */

static struct apus_gate gate;
static uint64_t inside, closings;

static void gate_open(void)
{
	memset(calls, 0, sizeof(calls));
	inside = closings = 0;
	apus_gate_init(&gate);
}

static int64_t gate_shut(struct worker *w)
{
	int rc = apus_gate_close(&gate);

	if (rc == 0) {
		assert_int_equal(inside, 0);
		closings++;
	}
	return rc;
}

static bool anybody_waits(void)
{
	for (int i = 0; i < WORKERS; i++)
		if (calls[i].waits)
			return true;
	return false;
}

static int64_t gate_step(struct worker *w)
{
	int64_t rc;

	if (pick(w, 12) == 0)
		return limited(w, gate_shut);
	if (gate.is_closed && !inside && !anybody_waits() && pick(w, 4) == 0)
		gate.is_closed = false; /* as if made anew */
	rc = apus_gate_enter(&gate);
	assert_int_equal(rc, gate.is_closed ? -EPIPE : 0);
	if (rc)
		return rc;
	inside++;
	rc = pause_for_a_while(w);
	inside--;
	ok(apus_gate_leave(&gate));
	return rc;
}

static void gate_check(bool is_quiet)
{
	check_waitq(&gate.closers);
	assert_int_equal(gate.inside, inside);
	if (is_quiet && !inside)
		assert_true(apus_waitq_empty(&gate.closers));
}

static void gate_end(void)
{
	gate_check(true);
	assert_true(closings > 0);
	assert_int_equal(apus_gate_leave(&gate), -EPERM);
}

static void gate_that_has_closed_is_empty(void **state)
{
	static const struct property property = {gate_open, gate_step, gate_check, gate_end};

	run_property(&property);
}

/* Barrier. */

static struct apus_barrier barrier;
static uint64_t passed;

static void barrier_open(void)
{
	memset(calls, 0, sizeof(calls));
	passed = 0;
	apus_barrier_init(&barrier, 2 + (uint32_t)test_random_below(&play.random, 3));
}

static int64_t barrier_wait(struct worker *w)
{
	int64_t rc = apus_barrier_wait(&barrier);

	assert_true(rc < (int64_t)barrier.parties);
	passed += rc >= 0;
	return rc < 0 ? rc : 0;
}

static int64_t barrier_step(struct worker *w)
{
	if (pick(w, 24) == 0)
		return apus_barrier_reset(&barrier);
	if (pick(w, 200) == 0) {
		int rc = apus_barrier_abort(&barrier);

		return rc ? rc : apus_barrier_reset(&barrier);
	}
	return limited(w, barrier_wait);
}

static void barrier_check(bool is_quiet)
{
	uint32_t waiting = 0;

	check_waitq(&barrier.condition.waiters);
	check_waitq(&barrier.lock.waiters);
	assert_true(barrier.count <= barrier.parties);
	for (int i = 0; i < WORKERS; i++)
		waiting += calls[i].waits;
	if (!is_quiet)
		return;
	assert_false(apus_lock_is_locked(&barrier.lock));
	assert_int_equal(barrier.state, APUS_BARRIER_FILLING);
	assert_int_equal(barrier.count, waiting);
	assert_true(barrier.count < barrier.parties);
}

static void barrier_close(void)
{
	barrier_check(true);
	assert_int_equal(barrier.count, 0);
	assert_true(passed > 100);
}

static void barrier_counts_who_waits_and_keeps_nobody(void **state)
{
	static const struct property property = {barrier_open, barrier_step, barrier_check,
						 barrier_close};

	run_property(&property);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		property_test(oneshot_is_received_once),
		property_test(watch_gives_the_latest_and_each_version_once),
		property_test(waiting_broadcast_gives_each_listener_every_value_in_order),
		property_test(dropping_broadcast_tells_each_listener_what_it_lost),
		property_test(gate_that_has_closed_is_empty),
		property_test(barrier_counts_who_waits_and_keeps_nobody),
	};

	return test_main(argc, argv, tests);
}
