/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/drill/packet.h: a packet as a script says it, as it is on the wire, and as it should be.
 *
 * Nothing of net/tcp is used to make or read packets: what is checked does not check itself.
 */
#ifndef APUS_TESTS_DRILL_PACKET_H
#define APUS_TESTS_DRILL_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DRILL_OPTIONS_MAX  24 /* TCP options of one packet, each padding counted */
#define DRILL_PACKET_MAX   65535
#define DRILL_LOCAL_IP     "192.168.0.1"
#define DRILL_GATEWAY_IP   "192.168.0.2"
#define DRILL_REMOTE_IP    "192.0.2.1"
#define DRILL_ERROR_BYTES  1024
#define DRILL_FORMAT_BYTES 512

/* Bits of the TCP header's flags byte. */
enum drill_flag {
	DRILL_FIN = 0x01,
	DRILL_SYN = 0x02,
	DRILL_RST = 0x04,
	DRILL_PSH = 0x08,
	DRILL_ACK = 0x10,
	DRILL_URG = 0x20,
	DRILL_ECE = 0x40,
	DRILL_CWR = 0x80,
};

/* Kinds of TCP options (RFC 9293 §3.1, RFC 7323, RFC 2018); DRILL_RAW: bytes as they are. */
enum drill_option_kind {
	DRILL_EOL = 0,
	DRILL_NOP = 1,
	DRILL_MSS = 2,
	DRILL_WSCALE = 3,
	DRILL_SACK_OK = 4,
	DRILL_SACK = 5,
	DRILL_TS = 8,
	DRILL_RAW = 256,
};

/* In the numbers of the script: relative to initial sequence numbers and to the first timestamp. */
struct drill_option {
	enum drill_option_kind kind;
	uint8_t count; /* words used, or raw bytes */
	union {
		uint32_t words[10]; /* mss; shift; value and echo; left and right edges */
		uint8_t raw[40];
	};
};

/* What a script says in braces: how a packet that is sent to the host is not as it should be. */
struct drill_quirks {
	int32_t ihl, data_offset; /* of the headers' own length fields; < 0: right */
	int32_t ip_bytes;         /* total length; < 0: right */
	int32_t cut_bytes;        /* the packet ends there; < 0: it does not */
	int32_t quote_bytes;      /* of the TCP header in an ICMP error; < 0: 8 */
	uint32_t pad_bytes;       /* zeros behind the packet */
	uint32_t step;            /* repeated: the sequence numbers move on by so much */
	uint32_t src, dst;        /* network order */
	uint16_t sport, dport;    /* of the peer and of the host */
	uint16_t fragment;        /* offset and flags field; 0: the usual (don't fragment) */
	uint16_t reserved;        /* bits between data offset and flags */
	uint8_t ttl;              /* 0: 64 */
	uint8_t ip_option_bytes;  /* a multiple of 4 */
	uint8_t ip_options[40];
	bool has_src, has_dst, has_sport, has_dport;
	bool sport_moves; /* repeated: the port goes up by one */
	bool bad_checksum, bad_ip_checksum;
	bool is_new; /* initial sequence numbers and timestamps begin anew here */
};

struct drill_packet {
	bool is_icmp;
	uint8_t icmp_type, icmp_code;
	uint16_t icmp_mtu;

	uint8_t flags;     /* enum drill_flag */
	int8_t ecn;        /* the two bits of the IP header; < 0: any */
	uint32_t seq, end; /* of text, or of the quoted text */
	uint32_t ack;
	int32_t window; /* as in the header; < 0: any */
	uint16_t urgent;
	bool any_options, any_ack;
	bool at_ack; /* seq and end are relative to what the host acknowledged last */
	uint8_t option_count;
	struct drill_option options[DRILL_OPTIONS_MAX];
	struct drill_quirks quirks;

	/* Of a packet that was seen. */
	int64_t sent_at_ns;
	uint16_t local_port, remote_port;
	uint32_t wire_seq, wire_ack;
	bool bad_text; /* not the bytes of the stream at this place */
};

/* One connection, by the peer's port: where its numbers begin. */
struct drill_flow {
	uint16_t remote_port, local_port;
	uint32_t remote_isn, local_isn;
	uint32_t ts_base; /* what the host says less what the script says */
	bool has_local_isn, has_ts_base;
	uint32_t edge;         /* what the host has offered to receive, on the wire */
	uint8_t shift, scales; /* of its windows, once both have said so (bit 0: it, 1: the peer) */
	uint32_t last_ack;     /* of the host, in the script's numbers */
	bool has_edge, said_fin;
};

/* ---- parse_packet.c: both move @at behind what they read. Return: 0; -1 with @error ---- */

int drill_parse_packet(const char **at, struct drill_packet *out, char *error);
/** drill_parse_number - decimal or 0x... Return: false if there is none */
bool drill_parse_number(const char **at, int64_t *out);
/** drill_parse_word - is the next thing @word? Then step over it, and over spaces before it */
bool drill_parse_word(const char **at, const char *word);
void drill_skip_spaces(const char **at);

/* ---- packet.c ---- */

/** drill_packet_build - the bytes of a packet from the peer. Return: how many */
size_t drill_packet_build(const struct drill_packet *p, const struct drill_flow *flow,
			  uint8_t *out);
/** drill_packet_read - what the host sent. Return: NULL, or what is wrong with it */
const char *drill_packet_read(const uint8_t *bytes, size_t count, struct drill_packet *out);
/** drill_packet_relate - the numbers of a packet that was read, from here on in the script's terms */
void drill_packet_relate(struct drill_packet *p, const struct drill_flow *flow);
/** drill_packet_format - as a script would say it */
void drill_packet_format(const struct drill_packet *p, char *out, size_t bytes);
/** drill_byte - the byte at @position of the stream of either side */
uint8_t drill_byte(uint32_t position);

/* ---- compare.c ---- */

/** drill_flow_said - the peer sends @p */
void drill_flow_said(struct drill_flow *flow, const struct drill_packet *p);
/** drill_flow_learn - where the host's numbers begin, when a script first expects one of its packets */
void drill_flow_learn(struct drill_flow *flow, const struct drill_packet *expected,
		      const struct drill_packet *got);
/** drill_packet_differs - Return: NULL, or the first thing that is not as expected */
const char *drill_packet_differs(const struct drill_packet *expected,
				 const struct drill_packet *got, const struct drill_flow *flow);
/** drill_flow_check - what no packet of a connection may do, whatever is expected. Return: NULL, or what */
const char *drill_flow_check(struct drill_flow *flow, const struct drill_packet *got);

#endif
