/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/drill/packet.c: packets from what a script says, and what a script would say of packets.
 *
 * RFC 791, RFC 9293 §3.1, RFC 792, byte by byte. Sequence numbers and timestamps of a script are
 * relative, those on the wire are not: struct drill_flow has the difference.
 */
#include "tests/drill/packet.h"

#include "runtime/base/check.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define IP_HEADER_BYTES  20
#define TCP_HEADER_BYTES 20
#define TTL_DEFAULT      64
#define DONT_FRAGMENT    0x4000
#define PROTO_ICMP       1
#define PROTO_TCP        6

uint8_t drill_byte(uint32_t position)
{
	uint32_t x = position * 2654435761u;

	return (uint8_t)(x >> 24 ^ x >> 11);
}

static uint8_t *put16(uint8_t *to, uint32_t value)
{
	to[0] = (uint8_t)(value >> 8);
	to[1] = (uint8_t)value;
	return to + 2;
}

static uint8_t *put32(uint8_t *to, uint32_t value)
{
	return put16(put16(to, value >> 16), value & 0xffff);
}

static uint16_t get16(const uint8_t *from)
{
	return (uint16_t)(from[0] << 8 | from[1]);
}

static uint32_t get32(const uint8_t *from)
{
	return (uint32_t)get16(from) << 16 | get16(from + 2);
}

/* RFC 1071. */
static uint16_t checksum(const uint8_t *bytes, size_t count, uint32_t sum)
{
	for (size_t i = 0; i < count; i++)
		sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static uint32_t pseudo_sum(const uint8_t *ip, size_t bytes)
{
	uint32_t sum = PROTO_TCP + (uint32_t)bytes;

	for (size_t i = 12; i < 20; i += 2)
		sum += get16(ip + i);
	return sum;
}

/* ---- to bytes ------------------------------------------------------------------------------ */

static uint8_t *put_option(uint8_t *to, const struct drill_option *o, const struct drill_flow *flow)
{
	switch (o->kind) {
	case DRILL_EOL:
	case DRILL_NOP:
		*to++ = (uint8_t)o->kind;
		return to;
	case DRILL_RAW:
		memcpy(to, o->raw, o->count);
		return to + o->count;
	case DRILL_MSS:
		*to++ = DRILL_MSS;
		*to++ = 4;
		return put16(to, o->words[0]);
	case DRILL_WSCALE:
		*to++ = DRILL_WSCALE;
		*to++ = 3;
		*to++ = (uint8_t)o->words[0];
		return to;
	case DRILL_SACK_OK:
		*to++ = DRILL_SACK_OK;
		*to++ = 2;
		return to;
	case DRILL_SACK: /* of what the host sent */
		*to++ = DRILL_SACK;
		*to++ = (uint8_t)(2 + 4 * o->count);
		for (size_t i = 0; i < o->count; i++)
			to = put32(to, o->words[i] + flow->local_isn);
		return to;
	case DRILL_TS: /* what is echoed is the host's, but for "none" */
		*to++ = DRILL_TS;
		*to++ = 10;
		to = put32(to, o->words[0]);
		return put32(to, o->words[1] ? o->words[1] + flow->ts_base : 0);
	}
	return to;
}

static size_t put_tcp(const struct drill_packet *p, const struct drill_flow *flow,
		      const uint8_t *ip, uint8_t *out)
{
	const struct drill_quirks *q = &p->quirks;
	uint32_t text_bytes = p->end - p->seq;
	/* Text begins behind the SYN, whose number is 0; so the first byte is at 1. */
	uint32_t first = p->seq + !!(p->flags & DRILL_SYN);
	uint8_t *at = out + TCP_HEADER_BYTES;
	size_t header_bytes, bytes;
	uint32_t offset;

	for (size_t i = 0; i < p->option_count; i++)
		at = put_option(at, &p->options[i], flow);
	while ((at - out) % 4)
		*at++ = DRILL_EOL;
	header_bytes = (size_t)(at - out);
	for (uint32_t i = 0; i < text_bytes; i++)
		*at++ = drill_byte(first + i);
	bytes = (size_t)(at - out);

	offset = q->data_offset < 0 ? (uint32_t)header_bytes / 4 : (uint32_t)q->data_offset;
	put16(out, q->has_sport ? q->sport : flow->remote_port);
	put16(out + 2, q->has_dport ? q->dport : flow->local_port);
	put32(out + 4, p->seq + flow->remote_isn);
	put32(out + 8, p->flags & DRILL_ACK ? p->ack + flow->local_isn : p->ack);
	out[12] = (uint8_t)(offset << 4 | q->reserved);
	out[13] = p->flags;
	put16(out + 14, (uint32_t)p->window);
	put16(out + 16, 0);
	put16(out + 18, p->urgent);
	put16(out + 16, checksum(out, bytes, pseudo_sum(ip, bytes)) ^ (q->bad_checksum ? 1 : 0));
	return bytes;
}

/* The host's segment that an ICMP error is about: its IP header and the first bytes of TCP's. */
static size_t put_icmp(const struct drill_packet *p, const struct drill_flow *flow, uint8_t *out)
{
	uint32_t quoted = p->quirks.quote_bytes < 0 ? 8 : (uint32_t)p->quirks.quote_bytes;
	uint8_t *ip = out + 8, *tcp = ip + IP_HEADER_BYTES;

	memset(out, 0, 8 + IP_HEADER_BYTES + TCP_HEADER_BYTES);
	out[0] = p->icmp_type;
	out[1] = p->icmp_code;
	put16(out + 6, p->icmp_mtu);
	ip[0] = 0x45;
	put16(ip + 2, IP_HEADER_BYTES + TCP_HEADER_BYTES + (p->end - p->seq));
	put16(ip + 6, DONT_FRAGMENT);
	ip[8] = TTL_DEFAULT;
	ip[9] = PROTO_TCP;
	inet_pton(AF_INET, DRILL_LOCAL_IP, ip + 12);
	inet_pton(AF_INET, DRILL_REMOTE_IP, ip + 16);
	put16(ip + 10, checksum(ip, IP_HEADER_BYTES, 0));
	put16(tcp, p->quirks.has_dport ? p->quirks.dport : flow->local_port);
	put16(tcp + 2, p->quirks.has_sport ? p->quirks.sport : flow->remote_port);
	put32(tcp + 4, p->seq + flow->local_isn);
	put16(out + 2, checksum(out, 8 + IP_HEADER_BYTES + quoted, 0));
	return 8 + IP_HEADER_BYTES + quoted;
}

size_t drill_packet_build(const struct drill_packet *p, const struct drill_flow *flow, uint8_t *out)
{
	const struct drill_quirks *q = &p->quirks;
	size_t header_bytes = IP_HEADER_BYTES + q->ip_option_bytes;
	size_t bytes;

	memset(out, 0, header_bytes);
	out[1] = (uint8_t)apus_max(p->ecn, 0);
	put16(out + 6, q->fragment ? q->fragment : DONT_FRAGMENT);
	out[8] = q->ttl ? q->ttl : TTL_DEFAULT;
	out[9] = p->is_icmp ? PROTO_ICMP : PROTO_TCP;
	if (q->has_src)
		memcpy(out + 12, &q->src, 4);
	else
		inet_pton(AF_INET, p->is_icmp ? DRILL_GATEWAY_IP : DRILL_REMOTE_IP, out + 12);
	if (q->has_dst)
		memcpy(out + 16, &q->dst, 4);
	else
		inet_pton(AF_INET, DRILL_LOCAL_IP, out + 16);
	memcpy(out + IP_HEADER_BYTES, q->ip_options, q->ip_option_bytes);
	bytes = header_bytes + (p->is_icmp ? put_icmp(p, flow, out + header_bytes)
					   : put_tcp(p, flow, out, out + header_bytes));

	out[0] = (uint8_t)(0x40 | (q->ihl < 0 ? header_bytes / 4 : (size_t)q->ihl));
	put16(out + 2, q->ip_bytes < 0 ? (uint32_t)bytes : (uint32_t)q->ip_bytes);
	put16(out + 10, checksum(out, header_bytes, 0) ^ (q->bad_ip_checksum ? 1 : 0));
	memset(out + bytes, 0, q->pad_bytes);
	bytes += q->pad_bytes;
	return q->cut_bytes < 0 ? bytes : apus_min(bytes, (size_t)q->cut_bytes);
}

/* ---- from bytes ---------------------------------------------------------------------------- */

/* Return: bytes of the option; 0 if it is malformed. */
static size_t read_option(const uint8_t *at, size_t left, struct drill_option *o)
{
	size_t bytes;

	o->kind = at[0];
	if (o->kind == DRILL_EOL || o->kind == DRILL_NOP)
		return 1;
	if (left < 2 || at[1] < 2 || at[1] > left)
		return 0;
	bytes = at[1];
	if (o->kind == DRILL_MSS && bytes == 4) {
		o->words[0] = get16(at + 2);
	} else if (o->kind == DRILL_WSCALE && bytes == 3) {
		o->words[0] = at[2];
	} else if (o->kind == DRILL_TS && bytes == 10) {
		o->words[0] = get32(at + 2);
		o->words[1] = get32(at + 6);
	} else if (o->kind == DRILL_SACK && bytes > 2 && (bytes - 2) % 8 == 0) {
		o->count = (uint8_t)((bytes - 2) / 4);
		for (size_t i = 0; i < o->count; i++)
			o->words[i] = get32(at + 2 + 4 * i);
	} else if (o->kind != DRILL_SACK_OK || bytes != 2) {
		o->kind = DRILL_RAW;
		o->count = (uint8_t)bytes;
		memcpy(o->raw, at, bytes);
	}
	return bytes;
}

static const char *read_options(const uint8_t *at, size_t left, struct drill_packet *out)
{
	while (left > 0) {
		struct drill_option *o = &out->options[out->option_count++];
		size_t bytes;

		if (out->option_count == DRILL_OPTIONS_MAX)
			return "more options than a script can say";
		bytes = read_option(at, left, o);
		if (bytes == 0)
			return "a malformed TCP option";
		at += bytes;
		left -= bytes;
	}
	return NULL;
}

static const char *read_tcp(const uint8_t *ip, const uint8_t *tcp, size_t bytes,
			    struct drill_packet *out)
{
	size_t header_bytes;

	if (bytes < TCP_HEADER_BYTES)
		return "a TCP header that is cut off";
	header_bytes = (tcp[12] >> 4) * 4u;
	if (header_bytes < TCP_HEADER_BYTES || header_bytes > bytes)
		return "a wrong data offset";
	if (checksum(tcp, bytes, pseudo_sum(ip, bytes)))
		return "a wrong TCP checksum";
	if (tcp[12] & 0x0f)
		return "reserved bits that are not zero";
	out->local_port = get16(tcp);
	out->remote_port = get16(tcp + 2);
	out->wire_seq = get32(tcp + 4);
	out->wire_ack = get32(tcp + 8);
	out->flags = tcp[13];
	out->window = get16(tcp + 14);
	out->urgent = get16(tcp + 18);
	out->end = (uint32_t)(bytes - header_bytes); /* until it is related: a length */
	if (!(out->flags & DRILL_ACK) && out->wire_ack)
		return "an acknowledgment number without the ACK bit";
	return read_options(tcp + TCP_HEADER_BYTES, header_bytes - TCP_HEADER_BYTES, out);
}

const char *drill_packet_read(const uint8_t *bytes, size_t count, struct drill_packet *out)
{
	size_t header_bytes = count ? (bytes[0] & 0x0f) * 4u : 0;
	uint8_t expected[4];

	*out = (struct drill_packet){0};
	if (count < IP_HEADER_BYTES || bytes[0] >> 4 != 4 || header_bytes < IP_HEADER_BYTES ||
	    header_bytes > count)
		return "no IPv4 header";
	if (get16(bytes + 2) != count)
		return "a wrong total length";
	if (checksum(bytes, header_bytes, 0))
		return "a wrong IP checksum";
	inet_pton(AF_INET, DRILL_LOCAL_IP, expected);
	if (memcmp(bytes + 12, expected, 4))
		return "a source address that is not the host's";
	out->ecn = bytes[1] & 3;
	if (bytes[9] == PROTO_ICMP && count >= header_bytes + 8) {
		out->is_icmp = true;
		out->icmp_type = bytes[header_bytes];
		out->icmp_code = bytes[header_bytes + 1];
		return NULL;
	}
	if (bytes[9] != PROTO_TCP)
		return "neither TCP nor ICMP";
	return read_tcp(bytes, bytes + header_bytes, count - header_bytes, out);
}

void drill_packet_relate(struct drill_packet *p, const struct drill_flow *flow)
{
	p->seq = p->wire_seq - flow->local_isn;
	p->end += p->seq;
	p->ack = p->flags & DRILL_ACK ? p->wire_ack - flow->remote_isn : 0;
	for (size_t i = 0; i < p->option_count; i++) {
		struct drill_option *o = &p->options[i];

		if (o->kind == DRILL_TS)
			o->words[0] -= flow->ts_base;
		if (o->kind == DRILL_SACK)
			for (size_t k = 0; k < o->count; k++)
				o->words[k] -= flow->remote_isn;
	}
}

/* ---- to text ------------------------------------------------------------------------------- */

static void format_option(FILE *f, const struct drill_option *o)
{
	switch (o->kind) {
	case DRILL_EOL:
		fprintf(f, "eol");
		break;
	case DRILL_NOP:
		fprintf(f, "nop");
		break;
	case DRILL_MSS:
		fprintf(f, "mss %u", o->words[0]);
		break;
	case DRILL_WSCALE:
		fprintf(f, "wscale %u", o->words[0]);
		break;
	case DRILL_SACK_OK:
		fprintf(f, "sackOK");
		break;
	case DRILL_SACK:
		fprintf(f, "sack");
		for (size_t i = 0; i + 1 < o->count; i += 2)
			fprintf(f, " %u:%u", o->words[i], o->words[i + 1]);
		break;
	case DRILL_TS:
		fprintf(f, "TS val %u ecr %u", o->words[0], o->words[1]);
		break;
	case DRILL_RAW:
		fprintf(f, "raw");
		for (size_t i = 0; i < o->count; i++)
			fprintf(f, " %02x", o->raw[i]);
		break;
	}
}

static void format_tcp(FILE *f, const struct drill_packet *p)
{
	static const char letters[] = "FSRP.UEW";
	static const char *const ecn[] = {"noecn", "ect1", "ect0", "ce"};

	if (p->ecn > 0)
		fprintf(f, "[%s] ", ecn[p->ecn]);
	for (size_t i = 0; i < 8; i++) /* as tcpdump says them: S. F. P. */
		if (letters[i] != '.' && p->flags & 1u << i)
			fputc(letters[i], f);
	if (p->flags & DRILL_ACK)
		fputc('.', f);
	if (p->flags == 0)
		fprintf(f, "none");
	fprintf(f, " %u:%u(%u)", p->seq, p->end, p->end - p->seq);
	if (p->flags & DRILL_ACK)
		fprintf(f, " ack %u", p->ack);
	if (p->window >= 0)
		fprintf(f, " win %d", p->window);
	if (p->flags & DRILL_URG)
		fprintf(f, " urg %u", p->urgent);
	if (p->any_options) {
		fprintf(f, " <...>");
	} else if (p->option_count > 0) {
		for (size_t i = 0; i < p->option_count; i++) {
			fprintf(f, i == 0 ? " <" : ",");
			format_option(f, &p->options[i]);
		}
		fputc('>', f);
	}
}

void drill_packet_format(const struct drill_packet *p, char *out, size_t bytes)
{
	FILE *f = fmemopen(out, bytes, "w");

	apus_must(f);
	if (p->is_icmp)
		fprintf(f, "[%u:%u(%u)] icmp type %u code %u mtu %u", p->seq, p->end,
			p->end - p->seq, p->icmp_type, p->icmp_code, p->icmp_mtu);
	else
		format_tcp(f, p);
	if (p->quirks.has_dport || p->remote_port)
		fprintf(f, " {port %u}", p->quirks.has_dport ? p->quirks.dport : p->remote_port);
	fclose(f);
}
