/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/examples/callbacks.c: functions that the loop calls, and a future that one of them completes.
 *
 *	def display(loop, future):
 *	    print('tick')
 *	    if loop.time() + 1.0 < end:
 *	        loop.call_later(1, display, loop, future)
 *	    else:
 *	        future.set_result('done')
 */
#include "example.h"
#include "runtime/sync/future.h"

struct display {
	struct apus_timer timer;
	struct apus_future done;
	int64_t end_ns;
};

static void hello(struct apus_work *work)
{
	printf("Hello from call_soon\n");
}

static void tick(struct apus_work *work)
{
	struct display *d = apus_container_of(apus_timer_of(work), struct display, timer);

	printf("tick at %.0f s\n", seconds());
	if (apus_now() + APUS_SEC < d->end_ns)
		apus_call_later(&d->timer, APUS_SEC);
	else
		(void)!apus_future_set(&d->done, 3);
}

static int64_t callbacks(void *arg)
{
	struct display d = {.end_ns = apus_now() + 4 * APUS_SEC};
	struct apus_work soon;

	seconds();
	apus_future_init(&d.done);
	apus_timer_init(&d.timer, tick);
	apus_call_later(&d.timer, APUS_SEC);
	apus_work_init(&soon, hello);
	apus_call_soon(&soon);
	printf("main waits\n");
	printf("the future says %lld\n", (long long)apus_future_await(&d.done));
	return 0;
}

int main(int argc, char **argv)
{
	return example_run(argc, argv, callbacks);
}
