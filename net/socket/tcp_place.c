/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/socket/tcp_place.c: text read and written where it lies, the short ways; see tcp_internal.h.
 *
 * Apart from tcp.c so that a reader who has to wait parks in the one frame between the stream and
 * the scheduler: each frame in between would cost a mispredicted return (APUS_SUSPENDS).
 */
#include "net/socket/tcp_internal.h"
#include "net/tcp/user.h"
#include "runtime/sched/task.h"
#include "runtime/sync/internal.h"

#include <errno.h>

static APUS_INLINE struct apus_tcp_view view_soon(struct apus_tcp *c)
{
	struct apus_tcp *volatile kept =
		c; /* else it is read from the stack at each use before, too */
	struct apus_tcp_view view = {0};
	int64_t rc = apus_wait_check(&c->readers.waiters);

	if (apus_unlikely(rc || c->is_reading || !apus_tcp_is_open(c) ||
			  !apus_checkpoint_is_free()))
		return view;
	(void)!apus_checkpoint();
	if (apus_likely(!c->rcvq.bytes)) {
		c->is_reading = true;
		apus_tcp_hold(c);
		rc = apus_waitq_wait_here(&c->readers, "tcp peek");
		c = kept;
		c->is_reading = false;
		apus_tcp_unhold(c);
		if (apus_unlikely(rc)) {
			view.bytes = rc == -ECANCELED ? rc : 0;
			return view;
		}
	}
	view.bytes = (int64_t)apus_tcp_call_view(c, &view.at);
	return view;
}

APUS_SUSPENDS struct apus_tcp_view apus_tcp_view_soon(struct apus_tcp *c)
{
	return view_soon(c);
}

APUS_SUSPENDS int apus_tcp_peek(struct apus_tcp *c, struct iovec *views, int n)
{
	struct apus_tcp_view view = view_soon(c);

	if (apus_unlikely(view.bytes <= 0))
		return view.bytes ? (int)view.bytes : apus_tcp_peek_slow(c, views, n);
	views[0] = (struct iovec){view.at, (size_t)view.bytes};
	return 1;
}

char *apus_tcp_room(struct apus_tcp *c, size_t bytes)
{
	return !c->is_writing && apus_checkpoint_is_free() ? apus_tcp_call_room(c, bytes) : NULL;
}

int apus_tcp_filled(struct apus_tcp *c, size_t bytes)
{
	apus_tcp_call_filled(c, bytes);
	apus_task_budget--; /* a checkpoint, which apus_tcp_room() knew to be free */
	return 0;
}
