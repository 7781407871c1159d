/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sync/future.c: a result that is not there yet.
 */
#include "runtime/sync/future.h"

#include "runtime/sync/internal.h"

#include <errno.h>

void apus_future_init(struct apus_future *f)
{
	apus_waitq_init(&f->waiters);
	f->result = -EINPROGRESS;
	f->state = APUS_FUTURE_PENDING;
	f->home = apus_home_here();
	apus_note(f, "initialised");
}

/* @place is in who called; NULL: a cancel, which may come late. */
static int complete(struct apus_future *f, enum apus_future_state state, int64_t result,
		    const void *place)
{
	if (f->state != APUS_FUTURE_PENDING && place)
		return apus_misuse_at(-EALREADY, f, "completion of a future that is complete",
				      place);
	if (f->state != APUS_FUTURE_PENDING)
		return -EALREADY;
	if (apus_home_check_debug(f, "completion of a future"))
		return -EXDEV;
	if (apus_is_debug())
		apus_note_at(f, place ? "completed" : "cancelled", place);
	f->state = state;
	f->result = result;
	apus_waitq_wake_all_here(&f->waiters, result);
	return 0;
}

int apus_future_set(struct apus_future *f, int64_t value)
{
	return value < 0 ? -EINVAL
			 : complete(f, APUS_FUTURE_DONE, value, __builtin_return_address(0));
}

int apus_future_fail(struct apus_future *f, int64_t error)
{
	return error >= 0 ? -EINVAL
			  : complete(f, APUS_FUTURE_DONE, error, __builtin_return_address(0));
}

bool apus_future_cancel(struct apus_future *f)
{
	return complete(f, APUS_FUTURE_CANCELLED, -ECANCELED, NULL) == 0;
}

bool apus_future_done(const struct apus_future *f)
{
	return f->state != APUS_FUTURE_PENDING;
}

bool apus_future_cancelled(const struct apus_future *f)
{
	return f->state == APUS_FUTURE_CANCELLED;
}

int64_t apus_future_result(const struct apus_future *f)
{
	return f->result;
}

static bool cancel_future(struct apus_wait *wait)
{
	return apus_future_cancel((struct apus_future *)(uintptr_t)wait->object);
}

static APUS_SUSPENDS int64_t await_slow(struct apus_future *f)
{
	static const struct apus_wait_type await_future = {.cancel = cancel_future};
	struct apus_wait wait;
	int rc = apus_wait_join(&wait, &await_future, "future", f, &f->waiters.waiters);

	return apus_unlikely(rc) ? rc : apus_park_here(&wait);
}

static APUS_COLD int64_t await_checked(struct apus_future *f, const void *place)
{
	int rc = apus_home_check_at(f, "await of a future", place);

	return rc ? rc : await_slow(f);
}

int64_t apus_future_await(struct apus_future *f)
{
	int rc;

	if (f->state == APUS_FUTURE_PENDING) {
		if (apus_unlikely(!apus_home_is_here(f)))
			return await_checked(f, __builtin_return_address(0));
		return await_slow(f);
	}
	rc = apus_checkpoint();
	return rc ? rc : f->result;
}

void apus_future_on_done(struct apus_future *f, struct apus_callback *callback)
{
	if (f->state == APUS_FUTURE_PENDING)
		apus_callback_register(callback, &f->waiters.waiters);
	else
		apus_callback_now(callback, f->result);
}
