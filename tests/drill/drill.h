/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/drill/drill.h: scripts of packets and calls against one TCP, in virtual time.
 *
 * The language is packetdrill's, as far as README.md says. parse.c makes a script into events,
 * packet.c makes packets from what a script says and back, calls.c makes the socket calls, run.c
 * plays the events to a host that is driven from outside (net/sim/drive.h).
 *
 * Nothing of net/tcp is used to make or read packets: what is checked does not check itself.
 */
#ifndef APUS_TESTS_DRILL_DRILL_H
#define APUS_TESTS_DRILL_DRILL_H

#include "net/sim/drive.h"
#include "net/socket/tcp.h"

#include <stddef.h>
#include <stdio.h>

#define DRILL_OPTIONS_MAX  24 /* TCP options of one packet, each padding counted */
#define DRILL_ASSERTS_MAX  16 /* in one %{ }% */
#define DRILL_FDS_MAX      64
#define DRILL_WORDS_MAX    12 /* arguments of one call */
#define DRILL_PACKET_MAX   65535
#define DRILL_LOCAL_IP     "192.168.0.1"
#define DRILL_GATEWAY_IP   "192.168.0.2"
#define DRILL_REMOTE_IP    "192.0.2.1"
#define DRILL_SERVER_PORT  8080 /* where somebody listens, here or there */
#define DRILL_CLIENT_PORT  5000 /* the script's, when it connects */
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
	bool any_options;
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
};

/* ---- events ---- */

enum drill_event_type {
	DRILL_SEND,   /* < a packet goes to the host */
	DRILL_EXPECT, /* > a packet comes from it */
	DRILL_CALL,
	DRILL_ASSERT,
	DRILL_QUIET,  /* nothing was sent that was not expected */
	DRILL_IGNORE, /* what was sent and not expected so far does not matter */
	DRILL_STARVE, /* so many mbufs are left in the host's pool */
};

enum drill_time {
	DRILL_RELATIVE, /* to the event before */
	DRILL_ABSOLUTE,
	DRILL_ANY_TIME,
};

struct drill_call {
	char name[32];
	char words[DRILL_WORDS_MAX][32]; /* arguments as written */
	unsigned int word_count;
	int64_t result; /* what is expected: a number or a negative errno */
	bool any_result;
	int64_t end_ns; /* since the event before, or the beginning; < 0: it does not wait */
};

enum drill_compare {
	DRILL_EQ,
	DRILL_NE,
	DRILL_LT,
	DRILL_LE,
	DRILL_GT,
	DRILL_GE
};

struct drill_assertion {
	char field[48];
	enum drill_compare compare;
	int64_t value;
};

struct drill_event {
	enum drill_event_type type;
	enum drill_time time;
	unsigned int line;
	unsigned int repeat;       /* >= 1 */
	int64_t from_ns, until_ns; /* equal unless it is a range */
	struct drill_packet packet;
	struct drill_call call;
	struct drill_assertion assertions[DRILL_ASSERTS_MAX];
	unsigned int assertion_count;
	uint32_t number; /* of mbufs */
};

/* The lines --name=value before the first event. */
struct drill_options {
	int64_t tolerance_ns;
	uint64_t seed;
	uint32_t remote_isn, local_isn;
	bool has_local_isn;
	uint32_t mbufs;           /* a pool of the host's own; 0: the world's */
	uint32_t connections_max; /* 0: the default */
	uint16_t mtu;
};

struct drill_script {
	const char *path;
	struct drill_options options;
	struct drill_event *events;
	size_t count, room;
	char error[DRILL_ERROR_BYTES];
};

/* ---- parse.c ---- */

/** drill_parse - read @path. Return: 0; -1 with an error that names the line */
int drill_parse(struct drill_script *script, const char *path);
void drill_script_fini(struct drill_script *script);

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

/* ---- run.c ---- */

/** drill_run - play @script. Return: 0; -1 with an error; @trace: NULL or where each packet is printed */
int drill_run(struct drill_script *script, struct rte_mempool *pool, FILE *trace);

/* ---- calls.c ---- */

struct drill_socket {
	enum {
		DRILL_FREE,
		DRILL_SOCKET,
		DRILL_LISTENER,
		DRILL_CONNECTION
	} kind;
	uint16_t port; /* bound; 0: the usual one */
	struct apus_tcp_listener *listener;
	struct apus_tcp *connection;
	uint32_t read_bytes, written_bytes; /* where the next byte is in its stream */
	int64_t keep_idle_ns;
	struct {
		enum apus_tcp_option option;
		int64_t value;
	} early[8]; /* set before there was a connection */
	unsigned int early_count;
};

/* A call under way, or over. */
struct drill_waiting {
	const struct drill_event *event;
	struct apus_sim_task *task;
	struct drill_socket *socket;
	struct drill_sockets *sockets;
	int64_t began_ns;            /* time of the event before it, which its end is relative to */
	int64_t number;              /* the argument that is a number of bytes or a backlog */
	struct apus_tcp *connection; /* accepted or connected */
	uint8_t *buf;                /* of read and write */
	const char *wrong;           /* bytes read are not those sent */
};

struct drill_sockets {
	struct apus_sim_host *host;
	struct drill_socket sockets[DRILL_FDS_MAX];
	struct drill_socket *last; /* the connection that came about last, for assertions */
	uint16_t default_port;     /* of the peer: 5000, or 8080 once the script has connected */
};

/**
 * drill_call_start - make the call of @w->event: a task if it may wait, else at once
 *
 * Return: true and @result when it is over already; else w->task is its task.
 */
bool drill_call_start(struct drill_sockets *s, struct drill_waiting *w, int64_t *result,
		      char *error);
/** drill_call_ended - the task returned @result: a new connection gets its number */
void drill_call_ended(struct drill_sockets *s, struct drill_waiting *w, int64_t result);
/** drill_assert_field - the value of @field. Return: false if there is no such field */
bool drill_assert_field(const struct drill_sockets *s, const char *field, int64_t *out);
/** drill_sockets_check - the invariants of every connection held */
void drill_sockets_check(const struct drill_sockets *s);
/** drill_sockets_close - reset what is left open */
void drill_sockets_close(struct drill_sockets *s);

#endif
