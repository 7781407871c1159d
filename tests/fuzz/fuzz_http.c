/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fuzz/fuzz_http.c: bytes of a client that means harm.
 *
 * The first byte of the input says how the rest is divided among feeds. Pipelined requests are read
 * to the end, once whole and once divided, one of them without fast.c and without knowing the request
 * before: both have to come to the same requests, the same bodies and the same refusal, within bounds
 * (buffers are exactly as large as their bytes, for ASan).
 */
#include "net/http/parser.h"
#include "runtime/base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* libFuzzer's name, not ours. NOLINTNEXTLINE(readability-identifier-naming) */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUESTS_MAX 64

/* What one request came to. */
struct outcome {
	enum apus_http_verdict verdict;
	uint16_t status;
	uint64_t digest; /* of all that a handler could see */
};

static uint64_t digest_text(uint64_t digest, struct apus_http_text t)
{
	for (size_t i = 0; i < t.len; i++)
		digest = (digest ^ (uint8_t)t.at[i]) * UINT64_C(1099511628211);
	return (digest ^ t.len) * UINT64_C(1099511628211);
}

static uint64_t digest_of(const struct apus_http_request *r)
{
	uint64_t digest = UINT64_C(14695981039346656037) + apus_http_request_method(r) +
			  r->keep_alive * 2 + r->expects_continue * 4 + r->minor * 8;

	digest = digest_text(digest, apus_http_request_path(r));
	digest = digest_text(digest, apus_http_request_query(r));
	for (size_t i = 0; i < apus_http_request_header_count(r); i++) {
		struct apus_http_text name;
		struct apus_http_text value = apus_http_request_header_at(r, i, &name);

		digest = digest_text(digest_text(digest, name), value);
	}
	return digest_text(digest, apus_http_request_body(r));
}

/* A buffer of exactly `len` bytes from `a` and `b`; consumes `a`. */
static char *joined(char *a, size_t a_len, const char *b, size_t b_len)
{
	char *p = malloc(a_len + b_len ? a_len + b_len : 1);

	apus_must(p != NULL);
	if (a && a_len)
		memcpy(p, a, a_len);
	if (b && b_len)
		memcpy(p + a_len, b, b_len);
	free(a);
	return p;
}

/* Drop `bytes` at `at`; consumes `a`. */
static char *cut(char *a, size_t len, size_t at, size_t bytes)
{
	char *head = joined(NULL, 0, a, at);

	head = joined(head, at, a + at + bytes, len - at - bytes);
	free(a);
	return head;
}

/* Feed all of it, in pieces that follow from `division`; 0: as one. */
static size_t run(const char *bytes, size_t len, uint32_t division,
		  const struct apus_http_limits *l, bool slow, struct outcome *out)
{
	struct apus_http_request r;
	char *held = NULL;
	size_t held_bytes = 0, fed = 0, n = 0;

	apus_http_parser_init(&r, l);
	r.slow = slow;
	while (n < REQUESTS_MAX) {
		enum apus_http_verdict verdict = apus_http_parser_feed(&r, held, held_bytes);
		size_t at = 0, dead, part;

		apus_must(apus_http_request_check(&r, held_bytes));
		if (verdict != APUS_HTTP_MORE) {
			out[n++] = (struct outcome){
				.verdict = verdict,
				.status = r.status,
				.digest = r.complete && !r.status ? digest_of(&r) : 0,
			};
			if (verdict == APUS_HTTP_REJECTED)
				break;
			held = cut(held, held_bytes, 0, r.parsed);
			held_bytes -= r.parsed;
			if (slow || !held_bytes)
				apus_http_parser_init(&r, l);
			else
				(void)apus_http_parser_next(&r, held, held_bytes);
			r.slow |= slow;
			continue;
		}
		dead = apus_http_parser_squeeze(&r, &at);
		if (dead) {
			held = cut(held, held_bytes, at, dead);
			held_bytes -= dead;
		}
		if (fed == len)
			break;
		part = len - fed;
		if (division) {
			division = division * 1103515245 + 12345;
			part = apus_min(part, 1 + (division >> 16) % 37);
		}
		held = joined(held, held_bytes, bytes + fed, part);
		held_bytes += part;
		fed += part;
	}
	free(held);
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct apus_http_limits limits = {.head_bytes = 1024, .uri_bytes = 256, .headers = 16};
	struct outcome whole[REQUESTS_MAX], divided[REQUESTS_MAX];

	if (size < 1)
		return 0;
	limits.body_bytes = 512;
	apus_http_limits_complete(&limits);

	const char *bytes = (const char *)data + 1;
	size_t n = run(bytes, size - 1, 0, &limits, data[0] & 1, whole);
	size_t m = run(bytes, size - 1, (data[0] + 1U) * 2654435761U, &limits, !(data[0] & 1),
		       divided);

	apus_must_op(n, ==, m);
	for (size_t i = 0; i < n; i++) {
		apus_must_op(whole[i].verdict, ==, divided[i].verdict);
		apus_must_op(whole[i].status, ==, divided[i].status);
		apus_must_op(whole[i].digest, ==, divided[i].digest);
	}
	return 0;
}
