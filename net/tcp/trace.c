/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/trace.c: per connection, the last events in a ring; see info.h. Only for those that are
 * traced, so nothing here is on the packet path of others.
 */
#include "net/tcp/steady.h"
#include "runtime/sched/shard.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

struct apus_tcp_trace {
	uint32_t head, tail; /* positions: taken, put */
	uint32_t mask;
	struct apus_tcp_trace_event events[];
};

static const char *const what_names[] = {"ack", "sent", "loss", "timeout", "undo", "state"};
static const char *const ca_names[] = {"open", "disorder", "cwr", "recovery", "loss"};

static size_t bytes_of(uint32_t events)
{
	return sizeof(struct apus_tcp_trace) + events * sizeof(struct apus_tcp_trace_event);
}

int apus_tcp_trace_start(struct apus_tcp *c, uint32_t events_max)
{
	struct apus_tcp_trace *trace;
	uint32_t size = 1;

	if (!events_max || events_max > APUS_TCP_TRACE_EVENTS_MAX)
		return -EINVAL;
	if (c->is_kernel)
		return -EOPNOTSUPP;
	apus_tcp_settle(c);
	while (size < events_max)
		size *= 2;
	apus_tcp_tally_open(c);
	if (!c->tally)
		return -ENOMEM;
	trace = apus_heap_alloc(apus_shard_heap(c->layer->shard), bytes_of(size));
	if (!trace)
		return -ENOMEM;
	apus_tcp_trace_stop(c);
	trace->head = trace->tail = 0;
	trace->mask = size - 1;
	c->tally->trace = trace;
	return 0;
}

void apus_tcp_trace_stop(struct apus_tcp *c)
{
	if (!apus_tcp_traces(c))
		return;
	apus_heap_free(apus_shard_heap(c->layer->shard), c->tally->trace);
	c->tally->trace = NULL;
}

void apus_tcp_trace_note(struct apus_tcp *c, enum apus_tcp_trace_what what, int64_t now_ns)
{
	struct apus_tcp_trace *trace = c->tally->trace;
	uint32_t acked_bytes = (uint32_t)c->tally->bytes_acked;

	if (trace->tail - trace->head > trace->mask)
		trace->head++; /* the oldest gives way */
	trace->events[trace->tail++ & trace->mask] = (struct apus_tcp_trace_event){
		.at_ns = now_ns,
		.cwnd_bytes = c->cc.cwnd_bytes,
		.ssthresh_bytes = c->cc.ssthresh_bytes,
		.pipe_bytes = c->recovery ? apus_recovery_pipe(c->recovery) : 0,
		.srtt_us = (uint32_t)(apus_rtt_srtt_ns(&c->rtt) / APUS_US),
		.acked_bytes = acked_bytes,
		.sent_bytes = acked_bytes + (c->snd.nxt - c->snd.una),
		.what = (uint8_t)what,
		.state = c->state,
		.ca_state = c->recovery ? c->recovery->state : APUS_TCP_CA_OPEN,
	};
}

bool apus_tcp_trace_next(struct apus_tcp *c, struct apus_tcp_trace_event *event)
{
	struct apus_tcp_trace *trace;

	if (!apus_tcp_traces(c))
		return false;
	trace = c->tally->trace;
	if (trace->head == trace->tail)
		return false;
	*event = trace->events[trace->head++ & trace->mask];
	return true;
}

const char *apus_tcp_trace_header(void)
{
	return "time_us,what,state,ca_state,cwnd,ssthresh,pipe,srtt_us,acked,sent\n";
}

size_t apus_tcp_trace_read(struct apus_tcp *c, char *text, size_t size)
{
	struct apus_tcp_trace_event e;
	size_t used = 0;

	while (size - used >= APUS_TCP_TRACE_LINE_BYTES && apus_tcp_trace_next(c, &e)) {
		int64_t ssthresh = e.ssthresh_bytes == UINT32_MAX ? -1 : (int64_t)e.ssthresh_bytes;
		int n = snprintf(text + used, size - used,
				 "%" PRId64 ".%03d,%s,%s,%s,%" PRIu32 ",%" PRId64 ",%" PRIu32
				 ",%" PRIu32 ",%" PRIu32 ",%" PRIu32 "\n",
				 e.at_ns / APUS_US, (int)(e.at_ns % APUS_US), what_names[e.what],
				 apus_tcp_state_name((enum apus_tcp_state)e.state),
				 ca_names[e.ca_state], e.cwnd_bytes, ssthresh, e.pipe_bytes,
				 e.srtt_us, e.acked_bytes, e.sent_bytes);

		apus_must(n > 0 && n < APUS_TCP_TRACE_LINE_BYTES);
		used += (size_t)n;
	}
	return used;
}
