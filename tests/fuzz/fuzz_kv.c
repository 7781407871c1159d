/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fuzz/fuzz_kv.c: bytes of a memcached client that means harm.
 *
 * The first byte of the input says how the rest is divided among reads. They are sent to a server
 * with little memory, once whole and once divided: both have to give the same bytes back, in the
 * same state, and leave a store that is in order and a heap on which nothing is left.
 */
#include "runtime/base/check.h"
#include "runtime/sched/run.h"
#include "tests/apps/kv/fake.h"

/* libFuzzer's name, not ours. NOLINTNEXTLINE(readability-identifier-naming) */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX  65536
#define OUTPUT_MAX (1 << 20) /* so much is read of the answers; then the reader is slow */
#define MEMORY     ((size_t)64 << 10)

struct job {
	const char *bytes;
	size_t len;
	uint32_t division; /* 0: whole */
	uint64_t digest;   /* of what came back */
	size_t out_bytes;
	size_t items;
	enum fake_end end;
};

static void settle(void)
{
	for (int i = 0; i < 20; i++)
		apus_must(apus_yield() == 0);
}

static uint64_t digest_of(const char *bytes, size_t len)
{
	uint64_t digest = UINT64_C(14695981039346656037);

	for (size_t i = 0; i < len; i++)
		digest = (digest ^ (uint8_t)bytes[i]) * UINT64_C(1099511628211);
	return digest;
}

static void send_divided(struct apus_tcp *c, const struct job *job)
{
	uint32_t division = job->division;

	for (size_t at = 0, part; at < job->len; at += part) {
		part = job->len - at;
		if (division) {
			division = division * 1103515245 + 12345;
			part = apus_min(part, 1 + (division >> 16) % 997);
		}
		fake_send_bytes(c, job->bytes + at, part);
		settle();
	}
}

static int64_t serve(void *arg)
{
	struct job *job = arg;
	struct kv_server *server;
	struct apus_tcp *c;

	apus_must(kv_server_open(&(struct kv_server_options){.memory_bytes = MEMORY}, &server) ==
		  0);
	c = fake_connect();
	fake_open_window(c, OUTPUT_MAX);
	send_divided(c, job);
	fake_send_end(c);
	for (int i = 0; i < 100 && c->end <= FAKE_SHUTDOWN; i++)
		settle();
	job->end = c->end;
	job->out_bytes = c->out_bytes;
	job->digest = digest_of(c->out, c->out_bytes);
	job->items = kv_server_store(server)->table.items;
	kv_store_check(kv_server_store(server));
	apus_must(kv_store_memory(kv_server_store(server)) <= MEMORY);
	fake_give_back();
	fake_open_window(c, SIZE_MAX);
	(void)kv_server_close(server, 0);
	fake_free(c);
	return 0;
}

static void run(struct job *job)
{
	struct apus_clock clock;
	const struct apus_shard_options options = {.core = -1, .clock = &clock, .seed = 1};
	struct apus_shard *shard;

	apus_clock_init_virtual(&clock, APUS_SEC);
	apus_must(apus_shard_open(&options, &shard) == 0);
	apus_shard_enter(shard);

	uint64_t live = apus_shard_heap(shard)->live;
	struct apus_task *t = apus_spawn(serve, job);

	while (!apus_task_done(t)) {
		if (!apus_shard_turn(shard))
			apus_clock_set(&clock, apus_shard_next_ns(shard));
	}
	apus_must(apus_task_result(t) == 0);
	apus_detach(t);
	while (apus_shard_turn(shard))
		;
	apus_must_op(apus_shard_heap(shard)->live, ==, live);
	apus_shard_enter(NULL);
	apus_shard_close(shard);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct job whole, divided;

	if (size < 1 || size > INPUT_MAX)
		return 0;
	whole = (struct job){.bytes = (const char *)data + 1, .len = size - 1};
	divided = whole;
	divided.division = (data[0] + 1U) * 2654435761U;
	run(&whole);
	run(&divided);
	apus_must_op(whole.end, ==, divided.end);
	/* The counters of "stats" tell how it came. */
	if (memmem(whole.bytes, whole.len, "stats", 5))
		return 0;
	apus_must_op(whole.out_bytes, ==, divided.out_bytes);
	apus_must_op(whole.digest, ==, divided.digest);
	apus_must_op(whole.items, ==, divided.items);
	return 0;
}
