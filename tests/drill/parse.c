/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/drill/parse.c: a script as events: a time and what happens then, one per line.
 *
 *	--tolerance_usecs=1000
 *	0    socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
 *	+.1  < S 0:0(0) win 32792 <mss 1460>
 *	+0~+.04 > . 1:1(0) ack 1001
 *	+0...0.5 read(4, ..., 100) = 100
 *	+0   %{ assert tcpi_snd_cwnd == 10 }%
 */
#include "tests/drill/drill.h"

#include "runtime/base/check.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SCRIPT_BYTES_MAX (1 << 20)

struct reader {
	struct drill_script *script;
	const char *at;
	unsigned int line;
	char error[DRILL_ERROR_BYTES - 128];
};

static int fail(struct reader *r, const char *what)
{
	if (!r->error[0])
		snprintf(r->error, sizeof(r->error), "%s at '%.*s'", what,
			 (int)apus_min(strcspn(r->at, "\n"), (size_t)40), r->at);
	return -1;
}

/* ---- spaces and comments --------------------------------------------------------------------- */

static void skip_line(struct reader *r)
{
	r->at += strcspn(r->at, "\n");
}

/* Spaces and comments of this line. */
static void skip_rest(struct reader *r)
{
	drill_skip_spaces(&r->at);
	if (*r->at == '#' || !strncmp(r->at, "//", 2))
		skip_line(r);
}

/* To the next thing, on whatever line. */
static void skip_lines(struct reader *r)
{
	for (;;) {
		skip_rest(r);
		if (*r->at == '\n') {
			r->line++;
			r->at++;
		} else if (!strncmp(r->at, "/*", 2)) {
			const char *end = strstr(r->at, "*/");

			for (; end && r->at < end + 2; r->at++)
				r->line += *r->at == '\n';
			if (!end)
				return;
		} else {
			return;
		}
	}
}

/* ---- time ------------------------------------------------------------------------------------ */

/* Seconds, as 1, .5 or 0.25. */
static bool parse_seconds(struct reader *r, int64_t *out_ns)
{
	char *end;
	double seconds;

	if (!isdigit((unsigned char)*r->at) && *r->at != '.')
		return false;
	if (*r->at == '.' && !isdigit((unsigned char)r->at[1]))
		return false;
	seconds = strtod(r->at, &end);
	/* "0...0.5": the first number is 0, and the dots are no part of it. */
	if (end[-1] == '.')
		end--;
	r->at = end;
	*out_ns = llround(seconds * 1e9);
	return true;
}

static int parse_time(struct reader *r, struct drill_event *e)
{
	e->time = DRILL_ABSOLUTE;
	if (*r->at == '*') {
		r->at++;
		e->time = DRILL_ANY_TIME;
		return 0;
	}
	if (*r->at == '+') {
		r->at++;
		e->time = DRILL_RELATIVE;
	}
	if (!parse_seconds(r, &e->from_ns))
		return fail(r, "no time");
	e->until_ns = e->from_ns;
	e->call.end_ns = -1;
	if (*r->at == '~') {
		r->at++;
		if (*r->at == '+')
			r->at++;
		if (!parse_seconds(r, &e->until_ns) || e->until_ns < e->from_ns)
			return fail(r, "no end of a range of time");
	} else if (!strncmp(r->at, "...", 3)) {
		r->at += 3;
		if (!parse_seconds(r, &e->call.end_ns) || e->call.end_ns < e->from_ns)
			return fail(r, "no time for the call's end");
	}
	return 0;
}

/* ---- calls ----------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	int64_t value;
} errors[] = {
	{"EAGAIN", EAGAIN},
	{"EINPROGRESS", EINPROGRESS},
	{"ECONNREFUSED", ECONNREFUSED},
	{"ECONNRESET", ECONNRESET},
	{"ETIMEDOUT", ETIMEDOUT},
	{"EPIPE", EPIPE},
	{"EHOSTUNREACH", EHOSTUNREACH},
	{"ENETUNREACH", ENETUNREACH},
	{"EADDRINUSE", EADDRINUSE},
	{"EADDRNOTAVAIL", EADDRNOTAVAIL},
	{"EINVAL", EINVAL},
	{"ENOBUFS", ENOBUFS},
	{"ENOMEM", ENOMEM},
	{"ENOENT", ENOENT},
	{"ENOPROTOOPT", ENOPROTOOPT},
	{"ECONNABORTED", ECONNABORTED},
	{"EMSGSIZE", EMSGSIZE},
	{"EBUSY", EBUSY},
	{"ENETDOWN", ENETDOWN},
};

static bool parse_error_name(struct reader *r, int64_t *out)
{
	for (size_t i = 0; i < apus_countof(errors); i++) {
		if (drill_parse_word(&r->at, errors[i].name)) {
			*out = -errors[i].value;
			return true;
		}
	}
	return false;
}

/* One argument: up to a comma or the closing parenthesis, brackets and braces kept whole. */
static bool parse_argument(struct reader *r, char *out, size_t room)
{
	size_t n = 0;
	int depth = 0;

	drill_skip_spaces(&r->at);
	for (; *r->at && *r->at != '\n'; r->at++) {
		if (strchr("([{", *r->at))
			depth++;
		if (depth == 0 && strchr(",)", *r->at))
			break;
		if (strchr(")]}", *r->at))
			depth--;
		if (n + 1 == room)
			return false;
		out[n++] = *r->at;
	}
	while (n > 0 && isspace((unsigned char)out[n - 1]))
		n--;
	out[n] = '\0';
	return *r->at == ',' || *r->at == ')';
}

static int parse_call(struct reader *r, struct drill_call *call)
{
	size_t n = strspn(r->at, "abcdefghijklmnopqrstuvwxyz_");

	if (n == 0 || n >= sizeof(call->name) || r->at[n] != '(')
		return fail(r, "no packet, call or command");
	memcpy(call->name, r->at, n);
	r->at += n + 1;
	while (!drill_parse_word(&r->at, ")")) {
		if (call->word_count == DRILL_WORDS_MAX)
			return fail(r, "too many arguments");
		if (!parse_argument(r, call->words[call->word_count++], sizeof(call->words[0])))
			return fail(r, "no end of an argument");
		drill_parse_word(&r->at, ",");
	}
	if (!drill_parse_word(&r->at, "="))
		return fail(r, "no '= RESULT'");
	if (drill_parse_word(&r->at, "...")) {
		call->any_result = true;
		return 0;
	}
	if (!drill_parse_number(&r->at, &call->result))
		return fail(r, "no result");
	if (call->result == -1 && !parse_error_name(r, &call->result))
		return fail(r, "no name of an error");
	drill_skip_spaces(&r->at);
	if (*r->at == '(') /* what the error means, for readers */
		skip_line(r);
	return 0;
}

/* ---- assertions ------------------------------------------------------------------------------ */

static const struct {
	const char *name;
	int64_t value;
} values[] = {
	/* Linux's numbers of states and of congestion states. */
	{"TCP_ESTABLISHED", 1},
	{"TCP_SYN_SENT", 2},
	{"TCP_SYN_RECV", 3},
	{"TCP_FIN_WAIT1", 4},
	{"TCP_FIN_WAIT2", 5},
	{"TCP_TIME_WAIT", 6},
	{"TCP_CLOSE", 7},
	{"TCP_CLOSE_WAIT", 8},
	{"TCP_LAST_ACK", 9},
	{"TCP_LISTEN", 10},
	{"TCP_CLOSING", 11},
	{"TCP_CA_Open", 0},
	{"TCP_CA_Disorder", 1},
	{"TCP_CA_CWR", 2},
	{"TCP_CA_Recovery", 3},
	{"TCP_CA_Loss", 4},
	{"TCP_INFINITE_SSTHRESH", 0x7fffffff},
};

static bool parse_compare(struct reader *r, enum drill_compare *out)
{
	static const char *const words[] = {"==", "!=", "<=", ">=", "<", ">"};
	static const enum drill_compare compares[] = {DRILL_EQ, DRILL_NE, DRILL_LE,
						      DRILL_GE, DRILL_LT, DRILL_GT};

	for (size_t i = 0; i < apus_countof(words); i++) {
		if (drill_parse_word(&r->at, words[i])) {
			*out = compares[i];
			return true;
		}
	}
	return false;
}

static bool parse_value(struct reader *r, int64_t *out)
{
	for (size_t i = 0; i < apus_countof(values); i++) {
		if (drill_parse_word(&r->at, values[i].name)) {
			*out = values[i].value;
			return true;
		}
	}
	return drill_parse_number(&r->at, out);
}

/* %{ assert FIELD == VALUE ... }%, on as many lines as one likes */
static int parse_assertions(struct reader *r, struct drill_event *e)
{
	e->type = DRILL_ASSERT;
	for (;;) {
		struct drill_assertion *a = &e->assertions[e->assertion_count];
		size_t n;

		skip_lines(r);
		if (drill_parse_word(&r->at, "}%"))
			return e->assertion_count ? 0 : fail(r, "nothing asserted");
		drill_parse_word(&r->at, ";");
		skip_lines(r);
		if (e->assertion_count == DRILL_ASSERTS_MAX)
			return fail(r, "too many assertions");
		if (!drill_parse_word(&r->at, "assert"))
			return fail(r, "no 'assert'");
		drill_skip_spaces(&r->at);
		n = strspn(r->at, "abcdefghijklmnopqrstuvwxyz_.0123456789");
		if (n == 0 || n >= sizeof(a->field))
			return fail(r, "no field");
		memcpy(a->field, r->at, n);
		r->at += n;
		if (!parse_compare(r, &a->compare) || !parse_value(r, &a->value))
			return fail(r, "no comparison");
		e->assertion_count++;
	}
}

/* ---- events ---------------------------------------------------------------------------------- */

static int parse_what(struct reader *r, struct drill_event *e)
{
	char *error = r->script->error;
	int64_t number;

	e->burst = drill_parse_word(&r->at, "burst");
	if (e->burst || drill_parse_word(&r->at, "repeat")) {
		if (!drill_parse_number(&r->at, &number) || number < 1 || number > 1000000)
			return fail(r, "no number of repetitions");
		e->repeat = (unsigned int)number;
	}
	if (drill_parse_word(&r->at, "<") || drill_parse_word(&r->at, ">")) {
		e->type = r->at[-1] == '<' ? DRILL_SEND : DRILL_EXPECT;
		if (!drill_parse_packet(&r->at, &e->packet, error))
			return 0;
		snprintf(r->error, sizeof(r->error), "%.300s", error);
		return -1;
	}
	if (drill_parse_word(&r->at, "%{"))
		return parse_assertions(r, e);
	if (drill_parse_word(&r->at, "quiet")) {
		e->type = DRILL_QUIET;
		return 0;
	}
	if (drill_parse_word(&r->at, "ignore")) {
		e->type = DRILL_IGNORE;
		return 0;
	}
	if (drill_parse_word(&r->at, "starve")) {
		e->type = DRILL_STARVE;
		if (drill_parse_word(&r->at, "off"))
			number = UINT32_MAX;
		else if (!drill_parse_number(&r->at, &number))
			return fail(r, "no number of mbufs");
		e->number = (uint32_t)number;
		return 0;
	}
	e->type = DRILL_CALL;
	drill_skip_spaces(&r->at);
	return parse_call(r, &e->call);
}

static int parse_event(struct reader *r)
{
	struct drill_script *s = r->script;
	struct drill_event *e;

	if (s->count == s->room) {
		s->room = s->room ? 2 * s->room : 64;
		s->events = realloc(s->events, s->room * sizeof(*s->events));
		apus_must(s->events);
	}
	e = &s->events[s->count];
	*e = (struct drill_event){.line = r->line, .repeat = 1, .call.end_ns = -1};
	if (parse_time(r, e) || parse_what(r, e))
		return -1;
	skip_rest(r);
	if (*r->at && *r->at != '\n')
		return fail(r, "more than one event on a line");
	s->count++;
	return 0;
}

/* ---- the lines before the first event -------------------------------------------------------- */

/* --NAME=NUMBER */
static int parse_option_line(struct reader *r)
{
	struct drill_options *o = &r->script->options;
	char name[32];
	int64_t value;
	size_t n = strcspn(r->at, "=\n");

	if (n >= sizeof(name) || r->at[n] != '=')
		return fail(r, "no --NAME=NUMBER");
	memcpy(name, r->at, n);
	name[n] = '\0';
	r->at += n + 1;
	if (!drill_parse_number(&r->at, &value) || value < 0 || value > UINT32_MAX)
		return fail(r, "no number");
	if (!strcmp(name, "--tolerance_usecs"))
		o->tolerance_ns = value * APUS_US;
	else if (!strcmp(name, "--seed"))
		o->seed = (uint64_t)value;
	else if (!strcmp(name, "--remote_isn"))
		o->remote_isn = (uint32_t)value;
	else if (!strcmp(name, "--local_isn"))
		o->local_isn = (uint32_t)value;
	else if (!strcmp(name, "--mbufs"))
		o->mbufs = (uint32_t)value;
	else if (!strcmp(name, "--connections_max"))
		o->connections_max = (uint32_t)value;
	else if (!strcmp(name, "--mtu"))
		o->mtu = (uint16_t)value;
	else if (!strcmp(name, "--no_timestamps"))
		o->tcp.no_timestamps = value;
	else if (!strcmp(name, "--no_sack"))
		o->tcp.no_sack = value;
	else if (!strcmp(name, "--cookies"))
		o->tcp.cookies = (enum apus_tcp_cookies)value;
	else if (!strcmp(name, "--rcvbuf"))
		o->tcp.rcv_buffer_bytes = (uint32_t)value;
	else if (!strcmp(name, "--rcvbuf_max"))
		o->tcp.rcv_buffer_max = (uint32_t)value;
	else if (!strcmp(name, "--pacing"))
		o->tcp.pacing = value;
	else if (!strcmp(name, "--no_mtu_probing"))
		o->tcp.no_mtu_probing = value;
	else if (!strcmp(name, "--ecn"))
		o->tcp.ecn = (enum apus_tcp_ecn)value;
	else if (!strcmp(name, "--requests_max"))
		o->tcp.requests_max = (uint32_t)value;
	else if (!strcmp(name, "--reset_on_overflow"))
		o->tcp.reset_on_overflow = value;
	else
		return fail(r, "no such option before");
	o->has_local_isn |= !strcmp(name, "--local_isn");
	return 0;
}

static int parse_text(struct drill_script *script, const char *text)
{
	struct reader r = {.script = script, .at = text, .line = 1};
	int rc = 0;

	skip_lines(&r);
	while (rc == 0 && *r.at) {
		rc = r.at[0] == '-' && r.at[1] == '-' && script->count == 0 ? parse_option_line(&r)
									    : parse_event(&r);
		skip_lines(&r);
	}
	if (rc == 0 && script->count == 0)
		rc = fail(&r, "no events");
	if (rc)
		snprintf(script->error, sizeof(script->error), "%s:%u: %s", script->path, r.line,
			 r.error);
	return rc;
}

int drill_parse(struct drill_script *script, const char *path)
{
	FILE *f = fopen(path, "r");
	char *text;
	size_t bytes;
	int rc;

	*script = (struct drill_script){
		.path = path,
		.options = {.seed = 1, .remote_isn = 1000000},
	};
	if (!f) {
		snprintf(script->error, sizeof(script->error), "%s: cannot be read", path);
		return -1;
	}
	text = malloc(SCRIPT_BYTES_MAX);
	apus_must(text);
	bytes = fread(text, 1, SCRIPT_BYTES_MAX - 1, f);
	text[bytes] = '\0';
	fclose(f);
	rc = parse_text(script, text);
	free(text);
	return rc;
}

void drill_script_fini(struct drill_script *script)
{
	free(script->events);
	script->events = NULL;
}
