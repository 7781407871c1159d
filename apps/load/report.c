/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/load/report.c: what is said while a run goes on, and at its end.
 */
#include "apps/load/load.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const double percents[] = {50, 90, 99, 99.9, 99.99};
static const char *const percent_names[] = {"p50", "p90", "p99", "p99.9", "p99.99"};

/* A span in the unit that suits it: "142 us". */
static const char *span(uint64_t ns, char buf[static 16])
{
	static const char *const units[] = {"ns", "us", "ms", "s"};
	double value = (double)ns;
	int unit = 0;

	while (value >= 999.5 && unit < 3) {
		value /= 1000;
		unit++;
	}
	snprintf(buf, 16, "%.*f %s", value < 9.995 && unit ? 1 : 0, value, units[unit]);
	return buf;
}

/* Digits in groups of three: "2,228,503". */
static const char *grouped(uint64_t n, char buf[static 32])
{
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%" PRIu64, n);
	char *to = buf;

	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			*to++ = ',';
		*to++ = digits[i];
	}
	*to = '\0';
	return buf;
}

static double per_second(uint64_t n, int64_t span_ns)
{
	return span_ns > 0 ? (double)n * APUS_SEC / (double)span_ns : 0;
}

static uint64_t errors_of(const struct load_stats *s)
{
	uint64_t n = 0;

	for (int i = 0; i < LOAD_ERROR_COUNT; i++)
		n += s->errors[i];
	return n;
}

/* What was recorded since @last, which becomes what is recorded now. */
static void since(const struct apus_histogram *now, struct apus_histogram *last,
		  struct apus_histogram *out)
{
	apus_histogram_init(out);
	for (size_t i = 0; i < APUS_HISTOGRAM_BUCKETS; i++)
		out->buckets[i] = now->buckets[i] - last->buckets[i];
	out->count = now->count - last->count;
	out->min = now->min;
	out->max = now->max;
	*last = *now;
}

void load_progress(const struct load_stats *now, struct load_stats *last, int64_t elapsed_ns,
		   int64_t span_ns)
{
	static struct apus_histogram recent; /* 15 KiB: not for a task's stack */
	uint64_t bytes = now->bytes_in + now->bytes_out - last->bytes_in - last->bytes_out;
	char rate[32], p50[16], p99[16], end = isatty(STDERR_FILENO) ? '\r' : '\n';

	since(&now->latency, &last->latency, &recent);
	fprintf(stderr,
		"%4" PRId64 " s  %10s/s  %7.2f Gb/s  p50 %-7s p99 %-7s  %u open  %" PRIu64
		" errors   %c",
		elapsed_ns / APUS_SEC, grouped((uint64_t)per_second(recent.count, span_ns), rate),
		per_second(bytes, span_ns) * 8e-9,
		span(apus_histogram_percentile(&recent, 50), p50),
		span(apus_histogram_percentile(&recent, 99), p99), now->open, errors_of(now), end);
	last->bytes_in = now->bytes_in;
	last->bytes_out = now->bytes_out;
}

void load_opening(const struct load_stats *now, int64_t elapsed_ns)
{
	char open[32], all[32], end = isatty(STDERR_FILENO) ? '\r' : '\n';

	fprintf(stderr, "%4" PRId64 " s  %s of %s connections are open, %" PRIu64 " errors   %c",
		elapsed_ns / APUS_SEC, grouped(now->open, open),
		grouped(load_options.connections, all), errors_of(now), end);
}

/* --- The end ------------------------------------------------------------------------------- */

static void print_head(int64_t span_ns, bool cut_short)
{
	const struct load_options *o = &load_options;
	char to[APUS_ENDPOINT_TEXT_BYTES];

	printf("%s to %s, %u connection%s", o->workload->name, apus_endpoint_format(o->to, to),
	       o->connections, o->connections == 1 ? "" : "s");
	if (load_options.active != o->connections)
		printf(" of which %u active", load_options.active);
	if (o->depth > 1)
		printf(", %u requests at a time on each", o->depth);
	if (o->rate)
		printf(", %" PRIu64 " requests/s asked for", o->rate);
	printf(", %.1f s%s\n", (double)span_ns / APUS_SEC, cut_short ? " (cut short)" : "");
}

static void print_latency(const struct apus_histogram *h)
{
	char buf[16];

	printf("  latency   ");
	for (size_t i = 0; i < apus_countof(percents); i++)
		printf("%s %s   ", percent_names[i],
		       span(apus_histogram_percentile(h, percents[i]), buf));
	printf("max %s\n", span(h->max, buf));
}

static void print_table(const struct load_stats *s, int64_t span_ns, bool cut_short)
{
	char a[32], b[32];

	print_head(span_ns, cut_short);
	if (s->latency.count) {
		printf("  answers   %s (%s/s)\n", grouped(s->latency.count, a),
		       grouped((uint64_t)per_second(s->latency.count, span_ns), b));
		print_latency(&s->latency);
	}
	printf("  bytes     in %s (%.3f Gb/s), out %s (%.3f Gb/s)\n", grouped(s->bytes_in, a),
	       per_second(s->bytes_in, span_ns) * 8e-9, grouped(s->bytes_out, b),
	       per_second(s->bytes_out, span_ns) * 8e-9);
	if (load_options.workload->protocol || s->connects)
		printf("  opened    %s connections\n", grouped(s->connects, a));
	if (s->misses)
		printf("  misses    %s\n", grouped(s->misses, a));
	if (!errors_of(s))
		printf("  errors    none\n");
	for (int i = 0; i < LOAD_ERROR_COUNT; i++)
		if (s->errors[i])
			printf("  errors    %s %s\n", grouped(s->errors[i], a),
			       load_error_text((enum load_error)i));
}

static void json_latency(FILE *f, const struct apus_histogram *h)
{
	fprintf(f, "\"latency_ns\": {\"min\": %" PRIu64 ", \"mean\": %.1f", h->count ? h->min : 0,
		h->count ? (double)h->sum / (double)h->count : 0);
	for (size_t i = 0; i < apus_countof(percents); i++)
		fprintf(f, ", \"%s\": %" PRIu64, percent_names[i],
			apus_histogram_percentile(h, percents[i]));
	fprintf(f, ", \"max\": %" PRIu64 "}", h->max);
}

/* One line, so that a script can append runs to a file. */
static void json(FILE *f, const struct load_stats *s, int64_t span_ns, bool cut_short)
{
	const struct load_options *o = &load_options;
	char to[APUS_ENDPOINT_TEXT_BYTES];

	fprintf(f,
		"{\"workload\": \"%s\", \"to\": \"%s\", \"connections\": %u, \"active\": %u, "
		"\"depth\": %u, \"bytes\": %u, \"rate\": %" PRIu64 ", \"reconnect\": %s, ",
		o->workload->name, apus_endpoint_format(o->to, to), o->connections,
		load_options.active, o->depth, o->bytes, o->rate, o->reconnect ? "true" : "false");
	fprintf(f,
		"\"seconds\": %.6f, \"cut_short\": %s, \"answers\": %" PRIu64
		", \"per_second\": %.1f, \"requests\": %" PRIu64 ", ",
		(double)span_ns / APUS_SEC, cut_short ? "true" : "false", s->latency.count,
		per_second(s->latency.count, span_ns), s->requests);
	json_latency(f, &s->latency);
	fprintf(f,
		", \"bytes_in\": %" PRIu64 ", \"bytes_out\": %" PRIu64 ", \"connects\": %" PRIu64
		", \"open\": %u, \"misses\": %" PRIu64 ", \"errors\": {",
		s->bytes_in, s->bytes_out, s->connects, s->open, s->misses);
	for (int i = 0; i < LOAD_ERROR_COUNT; i++)
		fprintf(f, "%s\"%s\": %" PRIu64, i ? ", " : "", load_error_name((enum load_error)i),
			s->errors[i]);
	fprintf(f, "}}\n");
}

static int write_json(const struct load_stats *s, int64_t span_ns, bool cut_short)
{
	FILE *f = load_options.json_file;
	int rc;

	load_options.json_file = NULL;
	json(f, s, span_ns, cut_short);
	rc = ferror(f) ? -EIO : 0;
	return fclose(f) ? -errno : rc;
}

int load_report(const struct load_stats *s, int64_t span_ns, bool cut_short)
{
	int rc = 0;

	if (!load_options.quiet && isatty(STDERR_FILENO))
		fprintf(stderr, "\n");
	if (load_options.json && !strcmp(load_options.json, "-")) {
		json(stdout, s, span_ns, cut_short);
	} else {
		print_table(s, span_ns, cut_short);
		if (load_options.json_file)
			rc = write_json(s, span_ns, cut_short);
	}
	fflush(stdout);
	if (rc)
		fprintf(stderr, "load: --json %s: %s\n", load_options.json, strerror(-rc));
	return rc;
}
