/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/drill/parse_packet.c: one packet, as a script says it.
 *
 *	S. 0:0(0) ack 1 win 65535 <mss 1460,nop,nop,sackOK>
 *	[ect0] P. 1:1001(1000) ack 1 win 257 {sport 5001}
 *	[1:1461(1460)] icmp unreachable frag_needed mtu 1200
 */
#include "tests/drill/packet.h"

#include "runtime/base/check.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void drill_skip_spaces(const char **at)
{
	while (**at == ' ' || **at == '\t')
		++*at;
}

bool drill_parse_word(const char **at, const char *word)
{
	size_t bytes = strlen(word);
	const char *p = *at;

	drill_skip_spaces(&p);
	if (strncmp(p, word, bytes))
		return false;
	/* A word ends where no letter or digit follows. */
	if (isalnum((unsigned char)word[bytes - 1]) &&
	    (isalnum((unsigned char)p[bytes]) || p[bytes] == '_'))
		return false;
	*at = p + bytes;
	return true;
}

bool drill_parse_number(const char **at, int64_t *out)
{
	char *end;

	drill_skip_spaces(at);
	if (!isdigit((unsigned char)**at) && !(**at == '-' && isdigit((unsigned char)(*at)[1])))
		return false;
	*out = strtoll(*at, &end, 0);
	*at = end;
	return true;
}

static int fail(char *error, const char *what, const char *at)
{
	snprintf(error, DRILL_ERROR_BYTES, "%s at '%.40s'", what, at);
	return -1;
}

/* A number within its field. */
static bool number_below(const char **at, int64_t limit, int64_t *out)
{
	return drill_parse_number(at, out) && *out >= 0 && *out < limit;
}

/* ---- options ------------------------------------------------------------------------------- */

static bool parse_hex(const char **at, uint8_t *out, size_t room, uint8_t *count)
{
	*count = 0;
	for (;;) {
		char digits[3] = "";

		drill_skip_spaces(at);
		if (!isxdigit((unsigned char)(*at)[0]) || !isxdigit((unsigned char)(*at)[1]))
			return *count > 0;
		if (*count == room)
			return false;
		memcpy(digits, *at, 2);
		out[(*count)++] = (uint8_t)strtoul(digits, NULL, 16);
		*at += 2;
	}
}

static bool parse_sack(const char **at, struct drill_option *o)
{
	int64_t left, right;

	o->kind = DRILL_SACK;
	while (o->count < 8 && number_below(at, INT64_C(1) << 32, &left)) {
		if (!drill_parse_word(at, ":") || !number_below(at, INT64_C(1) << 32, &right))
			return false;
		o->words[o->count++] = (uint32_t)left;
		o->words[o->count++] = (uint32_t)right;
	}
	return o->count > 0;
}

static bool parse_one_value(const char **at, struct drill_option *o, enum drill_option_kind kind,
			    int64_t limit)
{
	int64_t value;

	o->kind = kind;
	if (!number_below(at, limit, &value))
		return false;
	o->words[0] = (uint32_t)value;
	return true;
}

static bool parse_ts(const char **at, struct drill_option *o)
{
	int64_t value, echo;

	o->kind = DRILL_TS;
	if (!drill_parse_word(at, "val") || !number_below(at, INT64_C(1) << 32, &value) ||
	    !drill_parse_word(at, "ecr") || !number_below(at, INT64_C(1) << 32, &echo))
		return false;
	o->words[0] = (uint32_t)value;
	o->words[1] = (uint32_t)echo;
	return true;
}

static bool parse_option(const char **at, struct drill_option *o)
{
	*o = (struct drill_option){0};
	if (drill_parse_word(at, "nop")) {
		o->kind = DRILL_NOP;
		return true;
	}
	if (drill_parse_word(at, "eol")) {
		o->kind = DRILL_EOL;
		return true;
	}
	if (drill_parse_word(at, "sackOK")) {
		o->kind = DRILL_SACK_OK;
		return true;
	}
	if (drill_parse_word(at, "mss"))
		return parse_one_value(at, o, DRILL_MSS, 65536);
	if (drill_parse_word(at, "wscale"))
		return parse_one_value(at, o, DRILL_WSCALE, 256);
	if (drill_parse_word(at, "sack"))
		return parse_sack(at, o);
	if (drill_parse_word(at, "TS"))
		return parse_ts(at, o);
	if (drill_parse_word(at, "raw")) {
		o->kind = DRILL_RAW;
		return parse_hex(at, o->raw, sizeof(o->raw), &o->count);
	}
	return false;
}

static int parse_options(const char **at, struct drill_packet *p, char *error)
{
	if (drill_parse_word(at, "...")) {
		p->any_options = true;
		return drill_parse_word(at, ">") ? 0 : fail(error, "no '>'", *at);
	}
	if (drill_parse_word(at, ">"))
		return 0;
	do {
		if (p->option_count == DRILL_OPTIONS_MAX)
			return fail(error, "too many options", *at);
		if (!parse_option(at, &p->options[p->option_count++]))
			return fail(error, "no such option", *at);
	} while (drill_parse_word(at, ","));
	return drill_parse_word(at, ">") ? 0 : fail(error, "no '>'", *at);
}

/* ---- quirks -------------------------------------------------------------------------------- */

static bool parse_address(const char **at, uint32_t *out)
{
	char text[16];
	size_t n;

	drill_skip_spaces(at);
	n = strspn(*at, "0123456789.");
	if (n >= sizeof(text))
		return false;
	memcpy(text, *at, n);
	text[n] = '\0';
	*at += n;
	return inet_pton(AF_INET, text, out) == 1;
}

static bool parse_fragment(const char **at, struct drill_quirks *q)
{
	int64_t offset;

	if (!number_below(at, 65536, &offset) || offset % 8)
		return false;
	q->fragment = (uint16_t)(offset / 8);
	if (drill_parse_word(at, "+"))
		q->fragment |= 0x2000; /* more to come */
	return true;
}

static bool parse_quirk_number(const char **at, struct drill_quirks *q)
{
	static const struct {
		const char *name;
		size_t offset;
	} fields[] = {
		{"ihl", offsetof(struct drill_quirks, ihl)},
		{"doff", offsetof(struct drill_quirks, data_offset)},
		{"iplen", offsetof(struct drill_quirks, ip_bytes)},
		{"cut", offsetof(struct drill_quirks, cut_bytes)},
		{"quote", offsetof(struct drill_quirks, quote_bytes)},
		{"pad", offsetof(struct drill_quirks, pad_bytes)},
		{"step", offsetof(struct drill_quirks, step)},
	};
	int64_t value;

	for (size_t i = 0; i < apus_countof(fields); i++) {
		if (!drill_parse_word(at, fields[i].name))
			continue;
		if (!number_below(at, 65536, &value))
			return false;
		*(int32_t *)(void *)((char *)q + fields[i].offset) = (int32_t)value;
		return true;
	}
	if (drill_parse_word(at, "ttl") && number_below(at, 256, &value)) {
		q->ttl = (uint8_t)value;
		return true;
	}
	if (drill_parse_word(at, "reserved") && number_below(at, 16, &value)) {
		q->reserved = (uint16_t)value;
		return true;
	}
	if (drill_parse_word(at, "dport") && number_below(at, 65536, &value)) {
		q->dport = (uint16_t)value;
		q->has_dport = true;
		q->sport_moves = drill_parse_word(at, "+");
		return true;
	}
	if (drill_parse_word(at, "sport") && number_below(at, 65536, &value)) {
		q->sport = (uint16_t)value;
		q->has_sport = true;
		q->sport_moves = drill_parse_word(at, "+");
		return true;
	}
	return false;
}

static bool parse_quirk(const char **at, struct drill_quirks *q)
{
	if (drill_parse_word(at, "src")) {
		q->has_src = true;
		return parse_address(at, &q->src);
	}
	if (drill_parse_word(at, "dst")) {
		q->has_dst = true;
		return parse_address(at, &q->dst);
	}
	if (drill_parse_word(at, "frag"))
		return parse_fragment(at, q);
	if (drill_parse_word(at, "ipopt"))
		return parse_hex(at, q->ip_options, sizeof(q->ip_options), &q->ip_option_bytes) &&
		       q->ip_option_bytes % 4 == 0;
	if (drill_parse_word(at, "badsum")) {
		q->bad_checksum = true;
		return true;
	}
	if (drill_parse_word(at, "badipsum")) {
		q->bad_ip_checksum = true;
		return true;
	}
	if (drill_parse_word(at, "new")) {
		q->is_new = true;
		return true;
	}
	return parse_quirk_number(at, q);
}

static int parse_quirks(const char **at, struct drill_packet *p, char *error)
{
	if (!drill_parse_word(at, "{"))
		return 0;
	do {
		if (!parse_quirk(at, &p->quirks))
			return fail(error, "no such quirk", *at);
	} while (drill_parse_word(at, ","));
	return drill_parse_word(at, "}") ? 0 : fail(error, "no '}'", *at);
}

/* ---- the packet ---------------------------------------------------------------------------- */

static bool parse_range_at(const char **at, struct drill_packet *p)
{
	int64_t offset = 0, bytes;

	if (**at == '+')
		++*at;
	if (**at != '(' && !drill_parse_number(at, &offset))
		return false;
	if (!drill_parse_word(at, "(") || !number_below(at, 65536, &bytes) ||
	    !drill_parse_word(at, ")"))
		return false;
	p->at_ack = true;
	p->seq = (uint32_t)offset;
	p->end = (uint32_t)(offset + bytes);
	return true;
}

/* FIRST:END(BYTES) */
static bool parse_range(const char **at, struct drill_packet *p)
{
	int64_t first, end, bytes;

	if (drill_parse_word(at, "@")) /* @(BYTES), @-1(BYTES), @+1(BYTES) */
		return parse_range_at(at, p);
	if (!number_below(at, INT64_C(1) << 32, &first) || !drill_parse_word(at, ":") ||
	    !number_below(at, INT64_C(1) << 32, &end) || !drill_parse_word(at, "(") ||
	    !number_below(at, 65536, &bytes) || !drill_parse_word(at, ")"))
		return false;
	p->seq = (uint32_t)first;
	p->end = (uint32_t)end;
	return (uint32_t)(end - first) == (uint32_t)bytes;
}

static int parse_icmp(const char **at, struct drill_packet *p, char *error)
{
	static const struct {
		const char *name;
		uint8_t type, code;
	} kinds[] = {
		{"unreachable net_unreachable", 3, 0},
		{"unreachable host_unreachable", 3, 1},
		{"unreachable protocol_unreachable", 3, 2},
		{"unreachable port_unreachable", 3, 3},
		{"unreachable frag_needed", 3, 4},
		{"unreachable source_route_failed", 3, 5},
		{"unreachable net_prohibited", 3, 9},
		{"unreachable host_prohibited", 3, 10},
		{"unreachable packet_filtered", 3, 13},
		{"source_quench", 4, 0},
		{"time_exceeded ttl", 11, 0},
		{"time_exceeded reassembly", 11, 1},
		{"parameter_problem", 12, 0},
	};
	int64_t mtu;

	p->is_icmp = true;
	if (!parse_range(at, p) || !drill_parse_word(at, "]") || !drill_parse_word(at, "icmp"))
		return fail(error, "no '[FIRST:END(BYTES)] icmp'", *at);
	drill_skip_spaces(at);
	for (size_t i = 0;; i++) {
		if (i == apus_countof(kinds))
			return fail(error, "no such ICMP message", *at);
		if (!drill_parse_word(at, kinds[i].name))
			continue;
		p->icmp_type = kinds[i].type;
		p->icmp_code = kinds[i].code;
		break;
	}
	if (drill_parse_word(at, "mtu")) {
		if (!number_below(at, 65536, &mtu))
			return fail(error, "no MTU", *at);
		p->icmp_mtu = (uint16_t)mtu;
	}
	return parse_quirks(at, p, error);
}

static int parse_flags(const char **at, struct drill_packet *p, char *error)
{
	static const char letters[] = "FSRP.UEW";
	const char *letter;

	drill_skip_spaces(at);
	if (drill_parse_word(at, "none"))
		return 0;
	for (; **at && (letter = strchr(letters, **at)); ++*at)
		p->flags |= (uint8_t)(1u << (letter - letters));
	return p->flags ? 0 : fail(error, "no flags", *at);
}

static bool parse_ecn(const char **at, struct drill_packet *p)
{
	static const char *const names[] = {"noecn", "ect1", "ect0", "ce"};

	for (size_t i = 0; i < apus_countof(names); i++) {
		if (drill_parse_word(at, names[i])) {
			p->ecn = (int8_t)i;
			return drill_parse_word(at, "]");
		}
	}
	return false;
}

static int parse_tcp(const char **at, struct drill_packet *p, char *error)
{
	int64_t value;

	if (parse_flags(at, p, error))
		return -1;
	if (!parse_range(at, p))
		return fail(error, "no FIRST:END(BYTES)", *at);
	if (drill_parse_word(at, "ack *")) {
		p->any_ack = true;
	} else if (drill_parse_word(at, "ack")) {
		if (!number_below(at, INT64_C(1) << 32, &value))
			return fail(error, "no acknowledgment", *at);
		p->ack = (uint32_t)value;
	} else if (p->flags & DRILL_ACK) {
		return fail(error, "no acknowledgment", *at);
	}
	if (drill_parse_word(at, "win")) {
		if (!number_below(at, 65536, &value))
			return fail(error, "no window", *at);
		p->window = (int32_t)value;
	}
	if (drill_parse_word(at, "urg")) {
		if (!number_below(at, 65536, &value))
			return fail(error, "no urgent pointer", *at);
		p->urgent = (uint16_t)value;
	}
	if (drill_parse_word(at, "<") && parse_options(at, p, error))
		return -1;
	return parse_quirks(at, p, error);
}

int drill_parse_packet(const char **at, struct drill_packet *out, char *error)
{
	*out = (struct drill_packet){
		.ecn = -1,
		.window = -1,
		.quirks = {.ihl = -1,
			   .data_offset = -1,
			   .ip_bytes = -1,
			   .cut_bytes = -1,
			   .quote_bytes = -1},
	};
	if (drill_parse_word(at, "[")) {
		drill_skip_spaces(at);
		if (isdigit((unsigned char)**at))
			return parse_icmp(at, out, error);
		if (!parse_ecn(at, out))
			return fail(error, "no such ECN codepoint", *at);
	}
	return parse_tcp(at, out, error);
}
