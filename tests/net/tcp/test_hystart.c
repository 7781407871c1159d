/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_hystart.c: HyStart++ by rounds (RFC 9406 §4.2, §4.3).
 */
#include "tests/runtime/base_test.h"

#include "net/tcp/hystart.h"

struct rounds {
	struct apus_hystart h;
	uint32_t una, nxt;
};

static void begin(struct rounds *r)
{
	apus_hystart_init(&r->h);
	r->una = 0xffffff00U;
	r->nxt = r->una + 100;
}

/* One round of @acks ACKs, each with this RTT; what the last ACK says. */
static enum apus_hystart_phase round_of(struct rounds *r, uint32_t acks, int64_t rtt_ns)
{
	enum apus_hystart_phase phase = APUS_HYSTART_SLOW_START;
	uint32_t end = r->h.has_round ? r->h.window_end : r->nxt;
	uint32_t step = (end - r->una) / acks;

	for (uint32_t i = 0; i < acks; i++) {
		r->una = i == acks - 1 ? end : r->una + step;

		struct apus_cc_sample s = {.una = r->una, .nxt = r->nxt, .rtt_ns = rtt_ns};

		phase = apus_hystart_acked(&r->h, &s);
		r->nxt += step;
	}
	return phase;
}

static void steady_rtt_stays_in_slow_start(void **state)
{
	struct rounds r;

	begin(&r);
	for (int i = 0; i < 20; i++)
		assert_int_equal(round_of(&r, 10, 50 * APUS_MS), APUS_HYSTART_SLOW_START);
}

/* 50 ms: the threshold is an eighth, 6.25 ms, within [4, 16]. */
static void growth_of_an_eighth_enters_css(void **state)
{
	struct rounds r;

	begin(&r);
	(void)round_of(&r, 10, 50 * APUS_MS);
	assert_int_equal(round_of(&r, 10, 56 * APUS_MS), APUS_HYSTART_SLOW_START);
	begin(&r);
	(void)round_of(&r, 10, 50 * APUS_MS);
	assert_int_equal(round_of(&r, 10, 56250 * APUS_US), APUS_HYSTART_CSS);
}

static void threshold_is_at_least_4_and_at_most_16_ms(void **state)
{
	static const struct {
		int64_t first_ns, second_ns;
		enum apus_hystart_phase phase;
	} cases[] = {
		{100 * APUS_US, 4099 * APUS_US, APUS_HYSTART_SLOW_START},
		{100 * APUS_US, 4100 * APUS_US, APUS_HYSTART_CSS},
		{400 * APUS_MS, 415 * APUS_MS, APUS_HYSTART_SLOW_START},
		{400 * APUS_MS, 416 * APUS_MS, APUS_HYSTART_CSS},
	};
	struct rounds r;

	for (size_t i = 0; i < apus_countof(cases); i++) {
		begin(&r);
		(void)round_of(&r, 8, cases[i].first_ns);
		assert_int_equal(round_of(&r, 8, cases[i].second_ns), cases[i].phase);
	}
}

static void seven_samples_say_nothing(void **state)
{
	struct rounds r;

	begin(&r);
	(void)round_of(&r, 10, 50 * APUS_MS);
	assert_int_equal(round_of(&r, 7, 100 * APUS_MS), APUS_HYSTART_SLOW_START);
	begin(&r);
	(void)round_of(&r, 10, 50 * APUS_MS);
	assert_int_equal(round_of(&r, 8, 100 * APUS_MS), APUS_HYSTART_CSS);
}

/* The round in which it began counts as the first of five. */
static void fifth_round_of_css_ends_it(void **state)
{
	struct rounds r;

	begin(&r);
	(void)round_of(&r, 10, 50 * APUS_MS);
	for (int i = 0; i < 4; i++)
		assert_int_equal(round_of(&r, 10, 70 * APUS_MS), APUS_HYSTART_CSS);
	assert_int_equal(round_of(&r, 10, 70 * APUS_MS), APUS_HYSTART_DONE);
	assert_int_equal(round_of(&r, 10, 10 * APUS_MS), APUS_HYSTART_DONE);
}

static void shorter_rtt_in_css_resumes_slow_start(void **state)
{
	struct rounds r;

	begin(&r);
	(void)round_of(&r, 10, 50 * APUS_MS);
	assert_int_equal(round_of(&r, 10, 70 * APUS_MS), APUS_HYSTART_CSS);
	assert_int_equal(round_of(&r, 10, 70 * APUS_MS), APUS_HYSTART_CSS);
	assert_int_equal(round_of(&r, 10, 69 * APUS_MS), APUS_HYSTART_SLOW_START);
	/* From there the count begins anew. */
	assert_int_equal(round_of(&r, 10, 90 * APUS_MS), APUS_HYSTART_CSS);
	for (int i = 0; i < 3; i++)
		assert_int_equal(round_of(&r, 10, 90 * APUS_MS), APUS_HYSTART_CSS);
	assert_int_equal(round_of(&r, 10, 90 * APUS_MS), APUS_HYSTART_DONE);
}

static void acks_without_samples_are_no_samples(void **state)
{
	struct rounds r;

	begin(&r);
	(void)round_of(&r, 10, 50 * APUS_MS);
	for (int i = 0; i < 10; i++)
		assert_int_equal(round_of(&r, 10, -1), APUS_HYSTART_SLOW_START);
	assert_int_equal(r.h.samples, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steady_rtt_stays_in_slow_start),
		cmocka_unit_test(growth_of_an_eighth_enters_css),
		cmocka_unit_test(threshold_is_at_least_4_and_at_most_16_ms),
		cmocka_unit_test(seven_samples_say_nothing),
		cmocka_unit_test(fifth_round_of_css_ends_it),
		cmocka_unit_test(shorter_rtt_in_css_resumes_slow_start),
		cmocka_unit_test(acks_without_samples_are_no_samples),
	};

	return test_main(argc, argv, tests);
}
