/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/drill/run.c: plays a script to a host that is driven from outside.
 *
 * Virtual time: an event happens exactly when the script says, and what the host sends must leave
 * exactly then, or within the script's range or tolerance. All that it sends is kept in order until
 * a line of the script expects it; what is left at the end is an error. After every step the
 * invariants of every connection are checked, and in the end nothing may have leaked.
 */
#include "tests/drill/drill.h"

#include "net/stack_internal.h"
#include "net/tcp/tcb.h"
#include "runtime/base/check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define START_NS      APUS_SEC
#define STARVED_MBUFS 1023
#define WAITINGS_MAX  64
#define FLOWS_MAX     65536

struct run {
	struct drill_script *script;
	struct apus_sim_world *world;
	struct apus_sim_host *host;
	FILE *trace;
	int64_t base_ns;   /* the world's time at the script's beginning */
	int64_t before_ns; /* the script's time of the event before */
	struct drill_packet *seen;
	size_t seen_first, seen_count, seen_room;
	struct drill_waiting *waiting[WAITINGS_MAX];
	size_t waiting_count;
	struct drill_flow **flows; /* by the peer's port; NULL */
	struct drill_sockets sockets;
	uint8_t bytes[DRILL_PACKET_MAX + 1];
};

/* ---- saying what is wrong -------------------------------------------------------------------- */

static int fail(struct run *r, const struct drill_event *e, const char *fmt, ...) APUS_PRINTF(3, 4);

static int fail(struct run *r, const struct drill_event *e, const char *fmt, ...)
{
	size_t n = 0, room = sizeof(r->script->error);
	va_list args;

	if (r->script->error[0])
		return -1;
	if (e)
		n = (size_t)snprintf(r->script->error, room, "%s:%u: ", r->script->path, e->line);
	else
		n = (size_t)snprintf(r->script->error, room, "%s: ", r->script->path);
	va_start(args, fmt);
	vsnprintf(r->script->error + n, room - n, fmt, args);
	va_end(args);
	return -1;
}

static double seconds(int64_t ns)
{
	return (double)ns / 1e9;
}

static int64_t script_now(const struct run *r)
{
	return apus_sim_now(r->world) - r->base_ns;
}

static void trace(const struct run *r, const char *way, int64_t at_ns, const struct drill_packet *p)
{
	char text[DRILL_FORMAT_BYTES];

	if (!r->trace)
		return;
	drill_packet_format(p, text, sizeof(text));
	fprintf(r->trace, "%.6f %s %s\n", seconds(at_ns), way, text);
}

/* ---- flows ----------------------------------------------------------------------------------- */

static struct drill_flow *flow_of(struct run *r, uint16_t remote_port)
{
	struct drill_flow *flow = r->flows[remote_port];

	if (flow)
		return flow;
	flow = calloc(1, sizeof(*flow));
	apus_must(flow);
	flow->remote_port = remote_port;
	flow->local_port = DRILL_SERVER_PORT;
	flow->remote_isn = r->script->options.remote_isn;
	r->flows[remote_port] = flow;
	return flow;
}

/* Each byte has its place in the stream, which the sequence number tells. */
static bool text_is_right(struct run *r, const struct drill_packet *p, const uint8_t *end)
{
	const struct drill_flow *flow = flow_of(r, p->remote_port);
	uint32_t bytes = p->end; /* not related yet: a length */
	uint32_t first = p->wire_seq - flow->local_isn;

	if (p->is_icmp || !flow->has_local_isn)
		return true;
	for (uint32_t i = 0; i < bytes; i++)
		if (end[(int32_t)i - (int32_t)bytes] != drill_byte(first + i))
			return false;
	return true;
}

/* ---- steps ----------------------------------------------------------------------------------- */

static int collect(struct run *r)
{
	int64_t sent_at_ns;
	size_t n;

	while ((n = apus_sim_collect(r->host, r->bytes, sizeof(r->bytes), &sent_at_ns)) > 0) {
		struct drill_packet *p;
		const char *wrong;

		if (r->seen_first + r->seen_count == r->seen_room) {
			if (r->seen_first)
				memmove(r->seen, r->seen + r->seen_first,
					r->seen_count * sizeof(*r->seen));
			r->seen_first = 0;
			if (r->seen_count * 2 >= r->seen_room) {
				r->seen_room = r->seen_room ? 2 * r->seen_room : 64;
				r->seen = realloc(r->seen, r->seen_room * sizeof(*r->seen));
				apus_must(r->seen);
			}
		}
		p = &r->seen[r->seen_first + r->seen_count];
		wrong = drill_packet_read(r->bytes, n, p);
		if (wrong)
			return fail(r, NULL, "at %.6f the host sent %s", seconds(script_now(r)),
				    wrong);
		p->sent_at_ns = sent_at_ns - r->base_ns;
		if (!p->is_icmp && p->flags & DRILL_ACK) {
			struct drill_flow *flow = flow_of(r, p->remote_port);

			flow->last_ack = p->wire_ack - flow->remote_isn;
		}
		p->bad_text = !text_is_right(r, p, r->bytes + n);
		r->seen_count++;
	}
	return 0;
}

static int check_call(struct run *r, const struct drill_waiting *w, int64_t result,
		      int64_t ended_at_ns)
{
	const struct drill_call *call = &w->event->call;
	int64_t expected_ns = w->began_ns + call->end_ns;

	if (w->wrong)
		return fail(r, w->event, "%s: %s", call->name, w->wrong);
	if (!strcmp(call->name, "accept") && result == 0)
		result = call->result; /* it got the number that was asked for */
	if (!call->any_result && call->result != -EINPROGRESS && result != call->result)
		return fail(r, w->event, "%s returned %lld (%s), expected %lld (%s)", call->name,
			    (long long)result, result < 0 ? strerror((int)-result) : "",
			    (long long)call->result,
			    call->result < 0 ? strerror((int)-call->result) : "");
	if (call->end_ns >= 0 && llabs(ended_at_ns - expected_ns) > r->script->options.tolerance_ns)
		return fail(r, w->event, "%s returned at %.6f, expected at %.6f", call->name,
			    seconds(ended_at_ns), seconds(expected_ns));
	return 0;
}

/* The calls that have returned meanwhile, and those that should have. */
static int check_waiting(struct run *r)
{
	for (size_t i = 0; i < r->waiting_count;) {
		struct drill_waiting *w = r->waiting[i];
		int64_t result, ended_at_ns;

		if (!apus_sim_task_done(w->task)) {
			int64_t end_ns = w->began_ns + w->event->call.end_ns +
					 r->script->options.tolerance_ns;

			if (w->event->call.end_ns >= 0 && script_now(r) > end_ns)
				return fail(r, w->event, "%s still waits at %.6f",
					    w->event->call.name, seconds(script_now(r)));
			i++;
			continue;
		}
		result = apus_sim_task_result(w->task);
		ended_at_ns = apus_sim_task_ended_at(w->task) - r->base_ns;
		apus_sim_task_forget(w->task);
		r->waiting[i] = r->waiting[--r->waiting_count];
		drill_call_ended(&r->sockets, w, result);
		if (check_call(r, w, result, ended_at_ns)) {
			free(w);
			return -1;
		}
		free(w);
	}
	return 0;
}

/* All that can happen now. Return: 0 and when something can happen next. */
static int step(struct run *r, int64_t *next_ns)
{
	*next_ns = apus_sim_step(r->world);
	if (*next_ns < 0)
		return fail(r, NULL, "the host does not come to rest");
	drill_sockets_check(&r->sockets);
	return collect(r) || check_waiting(r) ? -1 : 0;
}

/* Until @at_ns of the script; with @until_seen no longer than until a packet was seen. */
static int run_to(struct run *r, int64_t at_ns, bool until_seen)
{
	int64_t target_ns = at_ns == APUS_NEVER ? APUS_NEVER - 1 : r->base_ns + at_ns;
	int64_t next_ns;

	for (;;) {
		if (step(r, &next_ns))
			return -1;
		if (until_seen && r->seen_count)
			return 0;
		if (next_ns > target_ns)
			break;
		apus_sim_jump(r->world, next_ns);
	}
	if (at_ns == APUS_NEVER || target_ns <= apus_sim_now(r->world))
		return 0;
	apus_sim_jump(r->world, target_ns);
	return step(r, &next_ns);
}

/* ---- packets to the host --------------------------------------------------------------------- */

/* Lets time pass until the host would begin at the number that the script asks for. */
static int wait_for_isn(struct run *r, const struct drill_flow *flow)
{
	struct apus_stack *stack = apus_sim_host_stack(r->host);
	struct apus_tcp_key key = {.local_port = flow->local_port,
				   .remote_port = flow->remote_port};
	struct in_addr local, remote;
	int64_t now_ns = script_now(r);
	uint32_t now, wait;

	inet_pton(AF_INET, DRILL_LOCAL_IP, &local);
	inet_pton(AF_INET, DRILL_REMOTE_IP, &remote);
	key.local = apus_addr_v4(local.s_addr);
	key.remote = apus_addr_v4(remote.s_addr);
	now = apus_tcp_isn(&stack->tcp, &key, apus_sim_now(r->world));
	wait = r->script->options.local_isn - now;
	r->base_ns += (int64_t)wait * 4000;
	r->script->options.has_local_isn = false; /* once */
	return run_to(r, now_ns, false);
}

static int send_packet(struct run *r, const struct drill_event *e)
{
	uint16_t port =
		e->packet.quirks.has_sport ? e->packet.quirks.sport : r->sockets.default_port;

	for (unsigned int i = 0; i < e->repeat; i++) {
		struct drill_packet p = e->packet;
		struct drill_flow *flow;
		int64_t next_ns;
		size_t n;

		p.seq += i * p.quirks.step;
		p.end += i * p.quirks.step;
		if (p.quirks.sport_moves)
			p.quirks.sport = (uint16_t)(port + i);
		flow = flow_of(r, p.quirks.has_sport ? p.quirks.sport : port);
		if (r->script->options.has_local_isn && p.flags == DRILL_SYN &&
		    wait_for_isn(r, flow))
			return -1;
		if (p.at_ack) {
			p.seq += flow->last_ack;
			p.end += flow->last_ack;
		}
		drill_flow_said(flow, &p);
		n = drill_packet_build(&p, flow, r->bytes);
		trace(r, "<", script_now(r), &p);
		if (apus_sim_inject(r->host, r->bytes, n) == -EMSGSIZE)
			return fail(r, e, "a packet of %zu bytes", n);
		if ((!e->burst || i + 1 == e->repeat) && step(r, &next_ns))
			return -1;
	}
	return 0;
}

/* ---- packets from the host ------------------------------------------------------------------- */

static int compare(struct run *r, const struct drill_event *e, const struct drill_packet *expected,
		   struct drill_packet *got)
{
	char want[DRILL_FORMAT_BYTES], have[DRILL_FORMAT_BYTES];
	int64_t tolerance_ns = r->script->options.tolerance_ns;
	uint16_t port =
		expected->quirks.has_dport ? expected->quirks.dport : r->sockets.default_port;
	struct drill_flow *flow = flow_of(r, got->is_icmp ? port : got->remote_port);
	int64_t from_ns = e->from_ns, until_ns = e->until_ns;
	const char *wrong;

	if (e->time == DRILL_RELATIVE) {
		from_ns += r->before_ns;
		until_ns += r->before_ns;
	}
	if (!got->is_icmp) {
		drill_flow_learn(flow, expected, got);
		drill_packet_relate(got, flow);
	}
	wrong = !got->is_icmp && got->remote_port != port
			? "destination port"
			: drill_packet_differs(expected, got, flow);
	if (!wrong && !got->is_icmp)
		wrong = drill_flow_check(flow, got);
	trace(r, ">", got->sent_at_ns, got);
	if (!wrong && e->time != DRILL_ANY_TIME &&
	    (got->sent_at_ns < from_ns - tolerance_ns || got->sent_at_ns > until_ns + tolerance_ns))
		wrong = "time";
	if (!wrong)
		return 0;
	drill_packet_format(expected, want, sizeof(want));
	drill_packet_format(got, have, sizeof(have));
	if (e->time == DRILL_ANY_TIME)
		return fail(r, e, "%s\n  expected:          > %s\n  actual:   %.6f > %s", wrong,
			    want, seconds(got->sent_at_ns), have);
	return fail(r, e, "%s\n  expected: %.6f > %s\n  actual:   %.6f > %s", wrong,
		    seconds(from_ns), want, seconds(got->sent_at_ns), have);
}

static int expect_one(struct run *r, const struct drill_event *e, const struct drill_packet *packet,
		      int64_t until_ns)
{
	char want[DRILL_FORMAT_BYTES];
	struct drill_packet *got;

	if (!r->seen_count && run_to(r, until_ns, true))
		return -1;
	if (!r->seen_count) {
		drill_packet_format(packet, want, sizeof(want));
		return fail(r, e, "nothing was sent until %.6f\n  expected: > %s",
			    seconds(script_now(r)), want);
	}
	got = &r->seen[r->seen_first++];
	r->seen_count--;
	if (compare(r, e, packet, got))
		return -1;
	/* Of a range, the time at which it was sent is what the next event is relative to. */
	r->before_ns = got->sent_at_ns;
	return 0;
}

static int expect(struct run *r, const struct drill_event *e, int64_t at_ns)
{
	int64_t until_ns = e->time == DRILL_ANY_TIME ? APUS_NEVER
						     : at_ns + e->until_ns - e->from_ns +
							       r->script->options.tolerance_ns;
	int64_t before_ns = r->before_ns;
	int64_t sent_ns = at_ns;

	for (unsigned int i = 0; i < e->repeat; i++) {
		struct drill_packet p = e->packet;

		r->before_ns = before_ns;
		if (p.quirks.sport_moves)
			p.quirks.dport = (uint16_t)(p.quirks.dport + i);
		p.seq += i * p.quirks.step;
		p.end += i * p.quirks.step;
		if (expect_one(r, e, &p, until_ns))
			return -1;
		sent_ns = r->before_ns;
	}
	r->before_ns = e->time == DRILL_ANY_TIME || e->until_ns > e->from_ns ? sent_ns : at_ns;
	return 0;
}

/* ---- the other events ------------------------------------------------------------------------ */

static int make_call(struct run *r, const struct drill_event *e)
{
	struct drill_waiting *w = calloc(1, sizeof(*w));
	char error[DRILL_ERROR_BYTES] = "";
	int64_t result, next_ns;
	int rc;

	apus_must(w);
	w->event = e;
	w->began_ns = e->time == DRILL_ABSOLUTE ? 0 : r->before_ns;
	if (drill_call_start(&r->sockets, w, &result, error)) {
		rc = error[0] ? fail(r, e, "%.500s", error)
			      : check_call(r, w, result, script_now(r));
		free(w);
		return rc || step(r, &next_ns) ? -1 : 0;
	}
	apus_must(r->waiting_count < WAITINGS_MAX);
	r->waiting[r->waiting_count++] = w;
	if (step(r, &next_ns))
		return -1;
	if (r->waiting_count == 0 || r->waiting[r->waiting_count - 1] != w || e->call.end_ns >= 0)
		return 0;
	if (e->call.result == -EINPROGRESS)
		return 0;
	if (e->call.result != -EAGAIN)
		return fail(r, e, "%s waits", e->call.name);
	r->waiting_count--;
	apus_sim_task_cancel(w->task);
	rc = step(r, &next_ns);
	apus_must(apus_sim_task_done(w->task));
	apus_sim_task_forget(w->task);
	free(w->buf);
	free(w);
	return rc;
}

static bool compares(int64_t left, enum drill_compare compare, int64_t right)
{
	switch (compare) {
	case DRILL_EQ:
		return left == right;
	case DRILL_NE:
		return left != right;
	case DRILL_LT:
		return left < right;
	case DRILL_LE:
		return left <= right;
	case DRILL_GT:
		return left > right;
	case DRILL_GE:
		return left >= right;
	}
	return false;
}

static int check_assertions(struct run *r, const struct drill_event *e)
{
	for (unsigned int i = 0; i < e->assertion_count; i++) {
		const struct drill_assertion *a = &e->assertions[i];
		int64_t value;

		if (!drill_assert_field(&r->sockets, a->field, &value))
			return fail(r, e, "there is no %s", a->field);
		if (!compares(value, a->compare, a->value))
			return fail(r, e, "%s is %lld", a->field, (long long)value);
	}
	return 0;
}

static int expect_quiet(struct run *r, const struct drill_event *e)
{
	char text[DRILL_FORMAT_BYTES];
	struct drill_packet *p = &r->seen[r->seen_first];

	if (!r->seen_count)
		return 0;
	if (!p->is_icmp)
		drill_packet_relate(p, flow_of(r, p->remote_port));
	drill_packet_format(p, text, sizeof(text));
	return fail(r, e, "sent and not expected\n  actual:   %.6f > %s", seconds(p->sent_at_ns),
		    text);
}

static void ignore_all(struct run *r)
{
	for (; r->seen_count > 0; r->seen_first++, r->seen_count--) {
		struct drill_packet *p = &r->seen[r->seen_first];

		if (!p->is_icmp)
			drill_packet_relate(p, flow_of(r, p->remote_port));
		trace(r, "> (ignored)", p->sent_at_ns, p);
	}
}

static int play(struct run *r, const struct drill_event *e)
{
	int64_t at_ns = e->from_ns;
	int rc;

	if (e->time == DRILL_RELATIVE)
		at_ns += r->before_ns;
	if (e->time == DRILL_ANY_TIME && e->type != DRILL_EXPECT)
		return fail(r, e, "only what the host sends may come at any time");
	if (at_ns < r->before_ns && e->time != DRILL_ANY_TIME)
		return fail(r, e, "before the event before it");
	if (e->type == DRILL_EXPECT)
		return expect(r, e, at_ns);
	if (run_to(r, at_ns, false))
		return -1;
	switch (e->type) {
	case DRILL_SEND:
		rc = send_packet(r, e);
		break;
	case DRILL_CALL:
		rc = make_call(r, e);
		break;
	case DRILL_ASSERT:
		rc = check_assertions(r, e);
		break;
	case DRILL_QUIET:
		rc = expect_quiet(r, e);
		break;
	case DRILL_IGNORE:
		ignore_all(r);
		rc = 0;
		break;
	case DRILL_STARVE:
		rc = apus_sim_host_starve(r->host, e->number) ? fail(r, e, "starve") : 0;
		break;
	default:
		rc = -1;
	}
	r->before_ns = at_ns;
	return rc;
}

/* ---- a whole script -------------------------------------------------------------------------- */

static int open_world(struct run *r, struct rte_mempool *pool)
{
	const struct drill_options *o = &r->script->options;
	struct apus_sim_world_options world = {.pool = pool, .start_ns = START_NS};
	struct apus_sim_host_options host = {
		.ip = DRILL_LOCAL_IP "/24",
		.gateway = DRILL_GATEWAY_IP,
		.mbufs = o->mbufs,
		.connections_max = o->connections_max,
		.tcp = o->tcp,
	};

	r->sockets.default_port = DRILL_CLIENT_PORT;
	for (size_t i = 0; i < r->script->count; i++) {
		const struct drill_event *e = &r->script->events[i];

		if (e->type == DRILL_CALL && !strcmp(e->call.name, "connect"))
			r->sockets.default_port = DRILL_SERVER_PORT;
		if (e->type == DRILL_STARVE && !host.mbufs)
			host.mbufs = STARVED_MBUFS;
	}
	if (apus_sim_world_open(o->seed, &world, &r->world))
		return fail(r, NULL, "no world");
	if (apus_sim_host_open(r->world, "host", &host, &r->host) ||
	    apus_sim_drive(r->host, &(struct apus_sim_drive_options){.mtu = o->mtu}))
		return fail(r, NULL, "no host with these options");
	r->sockets.host = r->host;
	r->base_ns = START_NS;
	return 0;
}

/* Every counter that moved, but for the one that says by which way. */
static void trace_counters(const struct run *r)
{
	static const char *const names[] = {
#define X(id, name) name,
		APUS_TCP_COUNTERS(X)
#undef X
	};
	const struct apus_stack *stack;

	if (!r->trace || !r->host || !(stack = apus_sim_host_stack(r->host)))
		return;
	for (int i = 0; i < APUS_TCP_COUNTER_COUNT; i++)
		if (stack->tcp.counters[i] && i != APUS_TCP_COUNT_SEGMENTS_FAST)
			fprintf(r->trace, "%s %llu\n", names[i],
				(unsigned long long)stack->tcp.counters[i]);
}

static void close_world(struct run *r)
{
	if (!r->world)
		return;
	for (size_t i = 0; i < r->waiting_count; i++)
		apus_sim_task_cancel(r->waiting[i]->task);
	(void)!apus_sim_step(r->world);
	for (size_t i = 0; i < r->waiting_count; i++) {
		struct drill_waiting *w = r->waiting[i];

		drill_call_ended(&r->sockets, w, apus_sim_task_result(w->task));
		free(w);
	}
	if (r->host)
		drill_sockets_close(&r->sockets);
	(void)!apus_sim_step(r->world);
	if (apus_sim_world_close(r->world))
		fail(r, NULL, "something leaked");
}

/* The calls that still wait must end when they should, and nothing may be left unexpected. */
static int finish(struct run *r)
{
	struct drill_event end = {.line = r->script->events[r->script->count - 1].line};
	int64_t end_ns = r->before_ns;

	for (size_t i = 0; i < r->waiting_count; i++)
		end_ns = apus_max(end_ns, r->waiting[i]->began_ns +
						  r->waiting[i]->event->call.end_ns +
						  r->script->options.tolerance_ns + 1);
	return run_to(r, end_ns, false) || expect_quiet(r, &end) ? -1 : 0;
}

int drill_run(struct drill_script *script, struct rte_mempool *pool, FILE *trace_to)
{
	struct run *r = calloc(1, sizeof(*r));
	int rc;

	apus_must(r);
	r->script = script;
	r->trace = trace_to;
	r->flows = calloc(FLOWS_MAX, sizeof(*r->flows));
	apus_must(r->flows);
	rc = open_world(r, pool);
	for (size_t i = 0; rc == 0 && i < script->count; i++)
		rc = play(r, &script->events[i]);
	if (rc == 0)
		rc = finish(r);
	trace_counters(r);
	close_world(r);
	for (size_t i = 0; i < FLOWS_MAX; i++)
		free(r->flows[i]);
	free(r->flows);
	free(r->seen);
	free(r);
	return script->error[0] ? -1 : rc;
}
