/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_states.c: every state x every kind of segment (RFC 9293 §3.10.7).
 *
 * The table below says what each segment does in each state: where the connection goes, what is
 * answered and what the user sees. It was written from the RFC's text and TCP.md, not from the
 * code. States are reached by segments and calls only. Each cell is tried with the connection
 * opened from either side, and with either end's numbers about to wrap.
 *
 * Notation: R = RCV.NXT, W = RCV.WND, U = SND.UNA, S = SND.NXT, M = MAX.SND.WND. From ESTABLISHED
 * on, 100 bytes are in flight (and our FIN, where there is one), but in FIN-WAIT-2 and TIME-WAIT.
 */
#include "tests/net/tcp/tcp_peer.h"

#define F_FIN 0x01
#define F_SYN 0x02
#define F_RST 0x04
#define F_PSH 0x08
#define F_ACK 0x10
#define F_URG 0x20

#define FLIGHT 100

/* The columns: the eleven states, SYN-RECEIVED in its two kinds. */
enum column {
	CLOSED,
	LISTEN,
	SYN_SENT,
	SYN_RECEIVED_PASSIVE,
	SYN_RECEIVED_ACTIVE,
	ESTABLISHED,
	FIN_WAIT_1,
	FIN_WAIT_2,
	CLOSE_WAIT,
	CLOSING,
	LAST_ACK,
	TIME_WAIT,
	COLUMNS,
};

static const char *const column_names[COLUMNS] = {"CLOSED",
						  "LISTEN",
						  "SYN-SENT",
						  "SYN-RECEIVED (passive)",
						  "SYN-RECEIVED (active)",
						  "ESTABLISHED",
						  "FIN-WAIT-1",
						  "FIN-WAIT-2",
						  "CLOSE-WAIT",
						  "CLOSING",
						  "LAST-ACK",
						  "TIME-WAIT"};

enum seq_base {
	AT_NXT,  /* R */
	AT_EDGE, /* R + W */
};

enum ack_base {
	ACK_NXT, /* S */
	ACK_UNA, /* U */
	ACK_OLD, /* U - M */
};

/* How a segment is stamped where timestamps were agreed on; all but the first are tried only there. */
enum stamp {
	STAMP_SAME, /* as the segments before */
	STAMP_NEW,
	STAMP_OLD,
	STAMP_NONE,
};

struct row {
	const char *what;
	uint8_t flags;
	enum seq_base base;
	int32_t seq_offset;
	enum ack_base ack;
	int32_t ack_offset;
	uint32_t text_bytes;
	uint32_t moves; /* RCV.NXT, when it is taken; a SYN not counted */
	const char *cells;
	enum stamp stamp;
};

/*
 * A cell: next state, answer, what a RECEIVE gives.
 *
 *	state:   = the same; C closed, L listen, S syn-received, E established, 2 fin-wait-2,
 *	         W close-wait, X closing, T time-wait; * not tried (a test of its own)
 *	answer:  - none; a <SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>; s <SEQ=ISS><ACK=RCV.NXT><CTL=SYN,ACK>;
 *	         r <SEQ=SEG.ACK><CTL=RST>; R <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>;
 *	         where the RFC leaves room: e is a or s, q is a or r, o is a or -, l is a within 40 ms
 *	RECEIVE: d the segment's new bytes, n connection refused, x connection reset; else nothing
 *	         more to read, which is end of stream once the peer's FIN was taken
 */
/* clang-format off */
static const struct row rows[] = {
/*                                                                                    CLO LIS SST SRP SRA EST FW1 FW2 CLW CLG LAK TWT */
{"RST at R",              F_RST,       AT_NXT,    0, ACK_UNA,  0,  0, 0,              "=-  =-  =-  L-  C-n C-x C-x C-x C-x C-  C-  =- ", STAMP_SAME},
{"RST at R+1",            F_RST,       AT_NXT,    1, ACK_UNA,  0,  0, 0,              "=-  =-  =-  =a  =a  =a  =a  =a  =a  =a  =a  =- ", STAMP_SAME},
{"RST at R+W-1",          F_RST,       AT_EDGE,  -1, ACK_UNA,  0,  0, 0,              "=-  =-  =-  =a  =a  =a  =a  =a  =a  =a  =a  =- ", STAMP_SAME},
{"RST at R+W",            F_RST,       AT_EDGE,   0, ACK_UNA,  0,  0, 0,              "=-  =-  =-  =-  =-  =-  =-  =-  =-  =-  =-  =- ", STAMP_SAME},
/* TCP.md §2: "after the peer's FIN a RST at RCV.NXT - 1 is accepted too" */
{"RST at R-1",            F_RST,       AT_NXT,   -1, ACK_UNA,  0,  0, 0,              "=-  =-  =-  =-  =-  =-  =-  =-  C-x C-  C-  =- ", STAMP_SAME},
{"RST at R-2",            F_RST,       AT_NXT,   -2, ACK_UNA,  0,  0, 0,              "=-  =-  =-  =-  =-  =-  =-  =-  =-  =-  =-  =- ", STAMP_SAME},
{"RST,ACK at R, S",       F_RST|F_ACK, AT_NXT,    0, ACK_NXT,  0,  0, 0,              "=-  =-  C-n L-  C-n C-x C-x C-x C-x C-  C-  =- ", STAMP_SAME},
{"RST,ACK at R, S+1",     F_RST|F_ACK, AT_NXT,    0, ACK_NXT,  1,  0, 0,              "=-  =-  =-  L-  C-n C-x C-x C-x C-x C-  C-  =- ", STAMP_SAME},
{"RST,ACK at R, U",       F_RST|F_ACK, AT_NXT,    0, ACK_UNA,  0,  0, 0,              "=-  =-  =-  L-  C-n C-x C-x C-x C-x C-  C-  =- ", STAMP_SAME},
{"RST,ACK at R, U-1",     F_RST|F_ACK, AT_NXT,    0, ACK_UNA, -1,  0, 0,              "=-  =-  =-  L-  C-n C-x C-x C-x C-x C-  C-  =- ", STAMP_SAME},

{"SYN at R-1",            F_SYN,       AT_NXT,   -1, ACK_UNA,  0,  0, 0,              "=R  Ss  Ss  =e  =e  =a  =a  =a  =a  =a  =a  =a ", STAMP_SAME},
{"SYN at R+100",          F_SYN,       AT_NXT,  100, ACK_UNA,  0,  0, 0,              "=R  Ss  Ss  L-  =a  =a  =a  =a  =a  =a  =a  *  ", STAMP_SAME},
{"SYN at R+W",            F_SYN,       AT_EDGE,   0, ACK_UNA,  0,  0, 0,              "=R  Ss  Ss  =e  =e  =a  =a  =a  =a  =a  =a  *  ", STAMP_SAME},
{"SYN, text at R+100",    F_SYN,       AT_NXT,  100, ACK_UNA,  0, 10, 0,              "=R  Ss  Ss  L-  =a  =a  =a  =a  =a  =a  =a  *  ", STAMP_SAME},
{"SYN,ACK at R-1, S",     F_SYN|F_ACK, AT_NXT,   -1, ACK_NXT,  0,  0, 0,              "=r  =r  Ea  =e  *   =a  =a  =a  =a  =a  =a  =a ", STAMP_SAME},
{"SYN,ACK at R+100, S",   F_SYN|F_ACK, AT_NXT,  100, ACK_NXT,  0,  0, 0,              "=r  =r  Ea  L-  =a  =a  =a  =a  =a  =a  =a  =o ", STAMP_SAME},
{"SYN,ACK at R+100, S+1", F_SYN|F_ACK, AT_NXT,  100, ACK_NXT,  1,  0, 0,              "=r  =r  =r  L-  =a  =a  =a  =a  =a  =a  =a  =o ", STAMP_SAME},
{"SYN,ACK at R+100, U",   F_SYN|F_ACK, AT_NXT,  100, ACK_UNA,  0,  0, 0,              "=r  =r  =r  L-  =a  =a  =a  =a  =a  =a  =a  =o ", STAMP_SAME},
{"SYN,ACK, text",         F_SYN|F_ACK, AT_NXT,  100, ACK_NXT,  0, 10, 10,             "=r  =r  Ead L-  =a  =a  =a  =a  =a  =a  =a  =o ", STAMP_SAME},

{"ACK at R, S",           F_ACK,       AT_NXT,    0, ACK_NXT,  0,  0, 0,              "=r  =r  =-  E-  E-  =-  2-  =-  =-  T-  C-  =- ", STAMP_SAME},
{"ACK at R+1, S",         F_ACK,       AT_NXT,    1, ACK_NXT,  0,  0, 0,              "=r  =r  =-  E-  E-  =-  2-  =-  =-  T-  C-  =a ", STAMP_SAME},
{"ACK at R, S-1",         F_ACK,       AT_NXT,    0, ACK_NXT, -1,  0, 0,              "=r  =r  =r  =r  =r  =-  =-  =-  =-  =-  =-  =- ", STAMP_SAME},
{"ACK at R, U",           F_ACK,       AT_NXT,    0, ACK_UNA,  0,  0, 0,              "=r  =r  =r  =r  =r  =-  =-  =-  =-  =-  =-  =- ", STAMP_SAME},
/*
 * §3.10.7.4 "fifth" discards an ACK out of RFC 5961's range with an ACK, §3.5.2 resets from
 * SYN-RECEIVED. Nothing, or 101 in FIN-WAIT-2, was ever acknowledged: less than M.
 */
{"ACK at R, U-1",         F_ACK,       AT_NXT,    0, ACK_UNA, -1,  0, 0,              "=r  =r  =r  =q  =q  =a  =a  =-  =a  =a  =a  =- ", STAMP_SAME},
{"ACK at R, U-M",         F_ACK,       AT_NXT,    0, ACK_OLD,  0,  0, 0,              "=r  =r  =r  =q  =q  =a  =a  =a  =a  =a  =a  =o ", STAMP_SAME},
{"ACK at R, U-M-1",       F_ACK,       AT_NXT,    0, ACK_OLD, -1,  0, 0,              "=r  =r  =r  =q  =q  =a  =a  =a  =a  =a  =a  =o ", STAMP_SAME},
{"ACK at R, S+1",         F_ACK,       AT_NXT,    0, ACK_NXT,  1,  0, 0,              "=r  =r  =r  =q  =q  =a  =a  =a  =a  =a  =a  =o ", STAMP_SAME},
{"ACK at R-1, S (probe)", F_ACK,       AT_NXT,   -1, ACK_NXT,  0,  0, 0,              "=r  =r  =-  =e  =e  =a  =a  =a  =a  =a  =a  =a ", STAMP_SAME},
{"ACK at R+W, S",         F_ACK,       AT_EDGE,   0, ACK_NXT,  0,  0, 0,              "=r  =r  =-  =e  *   *   *   *   *   *   *   =o ", STAMP_SAME},

{"text at R",             F_ACK|F_PSH, AT_NXT,    0, ACK_NXT,  0, 10, 10,             "=r  =r  =-  Ead Ead =ld 2ld =ld =o  To  Co  =o ", STAMP_SAME},
{"text at R, no ACK",     0,           AT_NXT,    0, ACK_UNA,  0, 10, 0,              "=R  =-  =-  =-  =-  =-  =-  =-  =-  =-  =-  =a ", STAMP_SAME},
{"text at R, S-1",        F_ACK,       AT_NXT,    0, ACK_NXT, -1, 10, 10,             "=r  =r  =r  =r  =r  =ld =ld =ld =o  =o  =o  =o ", STAMP_SAME},
{"text at R, S+1",        F_ACK,       AT_NXT,    0, ACK_NXT,  1, 10, 0,              "=r  =r  =r  =q  =q  =a  =a  =a  =a  =a  =a  =o ", STAMP_SAME},
{"text at R+10",          F_ACK,       AT_NXT,   10, ACK_NXT,  0, 10, 0,              "=r  =r  =-  Ea  Ea  =a  2a  =a  =o  To  Co  =o ", STAMP_SAME},
{"text at R-10 (old)",    F_ACK,       AT_NXT,  -10, ACK_NXT,  0, 10, 0,              "=r  =r  =-  =e  =e  =a  =a  =a  =a  =a  =a  =a ", STAMP_SAME},
{"text at R-5 (half old)", F_ACK,      AT_NXT,   -5, ACK_NXT,  0, 10, 5,              "=r  =r  =-  Ead Ead =ad 2ad =ad =o  To  Co  =o ", STAMP_SAME},
{"text at R+W",           F_ACK,       AT_EDGE,   0, ACK_NXT,  0, 10, 0,              "=r  =r  =-  =e  =e  =a  =a  =a  =a  =a  =a  =o ", STAMP_SAME},
{"text at R+W-5",         F_ACK,       AT_EDGE,  -5, ACK_NXT,  0, 10, 0,              "=r  =r  =-  Ea  Ea  =a  2a  =a  =o  To  Co  =o ", STAMP_SAME},
{"URG text at R",         F_ACK|F_URG, AT_NXT,    0, ACK_NXT,  0, 10, 10,             "=r  =r  =-  Ead Ead =ld 2ld =ld =o  To  Co  =o ", STAMP_SAME},

{"FIN at R, S",           F_FIN|F_ACK, AT_NXT,    0, ACK_NXT,  0,  0, 1,              "=r  =r  =-  Wa  Wa  Wa  Ta  Ta  =o  To  Co  =o ", STAMP_SAME},
{"FIN at R, S-1",         F_FIN|F_ACK, AT_NXT,    0, ACK_NXT, -1,  0, 1,              "=r  =r  =r  =r  =r  Wa  Xa  Ta  =o  =o  =o  =o ", STAMP_SAME},
{"FIN at R, no ACK",      F_FIN,       AT_NXT,    0, ACK_UNA,  0,  0, 0,              "=R  =-  =-  =-  =-  =-  =-  =-  =-  =-  =-  =a ", STAMP_SAME},
{"FIN at R-1 (again)",    F_FIN|F_ACK, AT_NXT,   -1, ACK_NXT,  0,  0, 0,              "=r  =r  =-  =e  =e  =a  =a  =a  =a  =a  =a  =a ", STAMP_SAME},
{"FIN at R+10",           F_FIN|F_ACK, AT_NXT,   10, ACK_NXT,  0,  0, 0,              "=r  =r  =-  Eo  Eo  =o  2o  =o  =o  To  Co  =o ", STAMP_SAME},
{"FIN at R+W",            F_FIN|F_ACK, AT_EDGE,   0, ACK_NXT,  0,  0, 0,              "=r  =r  =-  =e  =e  =a  =a  =a  =a  =a  =a  =o ", STAMP_SAME},
{"FIN, text at R",        F_FIN|F_ACK, AT_NXT,    0, ACK_NXT,  0, 10, 11,             "=r  =r  =-  Wad Wad Wad Tad Tad =o  To  Co  =o ", STAMP_SAME},

{"SYN,FIN at R+100",      F_SYN|F_FIN, AT_NXT,  100, ACK_UNA,  0,  0, 0,              "=R  *   *   L-  =a  =a  =a  =a  =a  =a  =a  *  ", STAMP_SAME},
{"SYN,RST at R",          F_SYN|F_RST, AT_NXT,    0, ACK_UNA,  0,  0, 0,              "=-  =-  =-  L-  C-n C-x C-x C-x C-x C-  C-  =- ", STAMP_SAME},
{"null at R",             0,           AT_NXT,    0, ACK_UNA,  0,  0, 0,              "=R  =-  =-  =-  =-  =-  =-  =-  =-  =-  =-  =- ", STAMP_SAME},
{"xmas at R",             0xff,        AT_NXT,    0, ACK_NXT,  0,  0, 0,              "=-  =-  C-n L-  C-n C-x C-x C-x C-x C-  C-  =- ", STAMP_SAME},
{"all but RST at R+100",  0xfb,        AT_NXT,  100, ACK_NXT,  0,  0, 1,              "=r  =r  Wa  L-  =a  =a  =a  =a  =a  =a  =a  =o ", STAMP_SAME},

/* RFC 7323 §5.3 (R1): what is old is answered and dropped, but for a RST (§5.2); §3.2: what has no timestamp is dropped in silence. */
{"text at R, new TS",     F_ACK,       AT_NXT,    0, ACK_NXT,  0, 10, 10,             "=r  =r  =-  Ead Ead =ld 2ld =ld =o  To  Co  =o ", STAMP_NEW},
{"text at R, old TS",     F_ACK,       AT_NXT,    0, ACK_NXT,  0, 10, 0,              "=r  =r  =-  =a  =a  =a  =a  =a  =a  =a  =a  =a ", STAMP_OLD},
{"text at R, no TS",      F_ACK,       AT_NXT,    0, ACK_NXT,  0, 10, 0,              "=r  =r  =-  =-  =-  =-  =-  =-  =-  =-  =-  =- ", STAMP_NONE},
{"ACK at R, S, old TS",   F_ACK,       AT_NXT,    0, ACK_NXT,  0,  0, 0,              "=r  =r  =-  =a  =a  =a  =a  =a  =a  =a  =a  =o ", STAMP_OLD},
{"ACK at R, S, no TS",    F_ACK,       AT_NXT,    0, ACK_NXT,  0,  0, 0,              "=r  =r  =-  =-  =-  =-  =-  =-  =-  =-  =-  =- ", STAMP_NONE},
{"FIN at R, S, old TS",   F_FIN|F_ACK, AT_NXT,    0, ACK_NXT,  0,  0, 0,              "=r  =r  =-  =a  =a  =a  =a  =a  =a  =a  =a  =a ", STAMP_OLD},
{"FIN at R, S, no TS",    F_FIN|F_ACK, AT_NXT,    0, ACK_NXT,  0,  0, 0,              "=r  =r  =-  =-  =-  =-  =-  =-  =-  =-  =-  =- ", STAMP_NONE},
{"RST at R, old TS",      F_RST,       AT_NXT,    0, ACK_UNA,  0,  0, 0,              "=-  =-  =-  L-  C-n C-x C-x C-x C-x C-  C-  =- ", STAMP_OLD},
{"RST at R, no TS",       F_RST,       AT_NXT,    0, ACK_UNA,  0,  0, 0,              "=-  =-  =-  L-  C-n C-x C-x C-x C-x C-  C-  =- ", STAMP_NONE},
{"SYN at R+100, old TS",  F_SYN,       AT_NXT,  100, ACK_UNA,  0,  0, 0,              "=R  Ss  Ss  =a  =a  =a  =a  =a  =a  =a  =a  *  ", STAMP_OLD},
{"SYN at R+100, no TS",   F_SYN,       AT_NXT,  100, ACK_UNA,  0,  0, 0,              "=R  Ss  Ss  L-  =a  =a  =a  =a  =a  =a  =a  *  ", STAMP_NONE},
};
/* clang-format on */

/* How a connection is opened, and where its numbers begin. */
struct variant {
	bool active;    /* the stack opens it */
	bool irs_wraps; /* the peer's numbers pass 2^32 within the test */
	bool iss_wraps; /* the stack's do */
	bool stamps;    /* timestamps are agreed on; the peer's pass 2^32, too */
};

/* ---- reaching a state ---- */

static void reach_syn_received(struct peer *p, const struct variant *v)
{
	if (v->active) {
		peer_is_called(p);
		peer_send_syn(p, p->irs);
	} else {
		peer_listen(p);
		if (v->iss_wraps)
			peer_wait_for_iss(p, 0U - 50);
		peer_send_syn(p, p->irs);
		p->iss = peer_last(p)->seq;
		apus_must(!v->iss_wraps || p->iss == 0U - 50);
	}
}

static void reach_established(struct peer *p, const struct variant *v)
{
	static const uint8_t text[FLIGHT] = "in flight";

	if (v->active) {
		peer_is_called(p);
		peer_answers(p, peer_syn_ack(p));
	} else {
		reach_syn_received(p, v);
		peer_send_ack(p, p->irs + 1, p->iss + 1);
		p->c = apus_tcp_listener_take(p->listener);
	}
	assert_non_null(p->c);
	peer_write(p, text, sizeof(text));
}

static void call_shutdown(struct peer *p)
{
	assert_int_equal(apus_tcp_call_shutdown(p->c), 0);
	peer_turn(p);
}

static void reach(struct peer *p, enum column state, const struct variant *v)
{
	uint32_t rcv_nxt = p->irs + 1;
	uint32_t una;

	switch (state) {
	case CLOSED:
		return;
	case LISTEN:
		peer_listen(p);
		return;
	case SYN_SENT:
		peer_is_called(p);
		return;
	case SYN_RECEIVED_PASSIVE:
	case SYN_RECEIVED_ACTIVE:
		reach_syn_received(p, v);
		return;
	default:
		break;
	}

	reach_established(p, v);
	una = p->iss + 1;
	switch (state) {
	case FIN_WAIT_1:
		call_shutdown(p);
		break;
	case FIN_WAIT_2:
	case TIME_WAIT:
		call_shutdown(p);
		peer_send_ack(p, rcv_nxt, una + FLIGHT + 1);
		if (state == TIME_WAIT)
			peer_send_fin(p, rcv_nxt, una + FLIGHT + 1);
		break;
	case CLOSE_WAIT:
		peer_send_fin(p, rcv_nxt, una);
		break;
	case CLOSING:
		call_shutdown(p);
		peer_send_fin(p, rcv_nxt, una);
		break;
	case LAST_ACK:
		peer_send_fin(p, rcv_nxt, una);
		call_shutdown(p);
		break;
	default:
		break;
	}
}

/* ---- what is seen from outside ---- */

static int state_letter(struct peer *p)
{
	struct apus_tcp_key key = {.local = apus_addr_v4(htonl(0x0a000001)),
				   .remote = apus_addr_v4(htonl(0x0a000002)),
				   .local_port = p->port,
				   .remote_port = PEER_PORT};
	struct apus_tcp_found found = apus_tcp_demux_find(&p->stack->tcp.demux, &key);

	switch (found.kind) {
	case APUS_TCP_KIND_NONE:
		return p->listener ? 'L' : 'C';
	case APUS_TCP_KIND_REQUEST:
		return 'S';
	case APUS_TCP_KIND_TIME_WAIT:
		return 'T';
	case APUS_TCP_KIND_CONNECTION:
		return "CLsSE12WXAT"[((struct apus_tcp *)found.entry)->state];
	}
	return '!';
}

static int letter_of(enum column state)
{
	return "CLsSSE12WXAT"[state];
}

/* R, W, U, S as the peer knows them in each state. */
struct numbers {
	uint32_t rcv_nxt, rcv_wnd, una, nxt;
};

static struct numbers numbers_of(const struct peer *p, enum column state)
{
	struct numbers n = {p->irs + 1, 1000, 5000, 5000};

	if (state == CLOSED || state == LISTEN)
		return n;
	n.rcv_wnd = peer_last(p)->wnd;
	n.rcv_nxt += state >= CLOSE_WAIT;
	n.una = p->iss;
	n.nxt = p->iss + 1;
	if (state < ESTABLISHED)
		return n;
	n.una += 1;
	n.nxt += FLIGHT;
	if (state == FIN_WAIT_1 || state == CLOSING || state == LAST_ACK)
		n.nxt += 1;
	if (state == FIN_WAIT_2 || state == TIME_WAIT) {
		n.nxt += 1;
		n.una = n.nxt;
	}
	return n;
}

static struct apus_segment segment_of(const struct row *row, const struct numbers *n)
{
	struct apus_segment seg = peer_segment(n->rcv_nxt, n->una);

	if (row->base == AT_EDGE)
		seg.seq += n->rcv_wnd;
	seg.seq += (uint32_t)row->seq_offset;
	if (row->ack == ACK_NXT)
		seg.ack = n->nxt;
	if (row->ack == ACK_OLD)
		seg.ack = n->una - PEER_WINDOW;
	seg.ack += (uint32_t)row->ack_offset;
	seg.fin = row->flags & F_FIN;
	seg.syn = row->flags & F_SYN;
	seg.rst = row->flags & F_RST;
	seg.psh = row->flags & F_PSH;
	seg.has_ack = row->flags & F_ACK;
	seg.urg = row->flags & F_URG;
	seg.ece = row->flags & 0x40;
	seg.cwr = row->flags & 0x80;
	seg.up = seg.urg ? 5 : 0;
	seg.len = row->text_bytes + seg.syn + seg.fin;
	return seg;
}

/* One try of one cell. */
struct trial {
	struct peer *p;
	const struct row *row;
	enum column state;
	struct variant v;
	const char *cell;
	struct numbers before;
	struct apus_segment seg;
	char wrong[200]; /* empty: nothing */
};

#define wrong(t, ...) snprintf((t)->wrong, sizeof((t)->wrong), __VA_ARGS__)
#define is_wrong(t)   ((t)->wrong[0] != '\0')
#define bare_ack(h)   ((h)->has_ack && !(h)->syn && !(h)->rst && !(h)->fin && !(h)->text_bytes)
#define opened_by(t)  ((t)->seg.syn && ((t)->state == LISTEN || (t)->state == SYN_SENT))

/* RCV.NXT after the segment. */
static uint32_t rcv_nxt_after(const struct trial *t)
{
	bool taken = t->cell[2] == 'd' || (t->row->flags & F_FIN && strchr("WXT", t->cell[0]));

	if (opened_by(t))
		return t->seg.seq + 1 + (taken ? t->row->moves : 0);
	if (t->state >= CLOSE_WAIT)
		taken = false; /* the peer's FIN was taken before */
	return t->before.rcv_nxt + (taken ? t->row->moves : 0);
}

static bool answer_is(const struct trial *t, char kind, const struct apus_segment *h)
{
	switch (kind) {
	case 'a':
		return bare_ack(h) && h->seq == t->before.nxt && h->ack == rcv_nxt_after(t);
	case 's':
		return h->syn && h->has_ack && !h->rst && !h->fin && !h->text_bytes &&
		       h->seq == (t->state == LISTEN ? h->seq : t->p->iss) &&
		       h->ack == rcv_nxt_after(t);
	case 'r':
		return h->rst && !h->has_ack && !h->syn && !h->fin && !h->text_bytes &&
		       h->seq == t->seg.ack && h->wnd == 0;
	case 'R':
		return h->rst && h->has_ack && !h->syn && !h->fin && !h->text_bytes &&
		       h->seq == 0 && h->ack == t->seg.seq + t->seg.len;
	case 'e':
		return answer_is(t, 'a', h) || answer_is(t, 's', h);
	case 'q':
		return answer_is(t, 'a', h) || answer_is(t, 'r', h);
	case 'o':
	case 'l':
		return answer_is(t, 'a', h);
	default:
		return false;
	}
}

static void check_answer(struct trial *t)
{
	const struct peer *p = t->p;
	const struct apus_segment *h = &p->heard[0].seg;
	char kind = t->cell[1];

	if (p->heard_count > 1)
		wrong(t, "%u segments in answer", p->heard_count);
	else if (p->heard_count == 0 && kind != '-' && kind != 'o')
		wrong(t, "no answer");
	else if (p->heard_count == 1 && !answer_is(t, kind, h))
		wrong(t, "answer SEQ=R%+d,S%+d ACK=R%+d%s%s%s%s WND=%u LEN=%u",
		      (int)(h->seq - t->before.rcv_nxt), (int)(h->seq - t->before.nxt),
		      (int)(h->ack - t->before.rcv_nxt), h->syn ? " SYN" : "", h->fin ? " FIN" : "",
		      h->rst ? " RST" : "", h->has_ack ? " ACK" : "", h->wnd, h->len);
}

static void check_state(struct trial *t)
{
	int expected = t->cell[0] == '=' ? letter_of(t->state) : t->cell[0];
	int found = state_letter(t->p);

	if (expected == 'C' && t->p->listener) /* the connection is gone, the listener is not */
		expected = 'L';
	if (found != expected)
		wrong(t, "state %c", found);
}

/* What the user can read now: the new bytes first, then nothing, the end, or the error. */
static void check_receive(struct trial *t)
{
	uint8_t got[64];
	struct peer *p = t->p;
	int next = t->cell[0] == '=' ? letter_of(t->state) : t->cell[0];
	bool at_end = strchr("WXAT", next) || (next == 'C' && t->state >= CLOSING);
	int64_t expected = at_end ? 0 : -EAGAIN, rc;

	if (!p->c && p->listener)
		p->c = apus_tcp_listener_take(p->listener);
	if (!p->c) {
		if (strchr("EW", next) && t->state != LISTEN)
			wrong(t, "no connection to accept");
		return;
	}
	if (t->cell[2] == 'd') {
		uint32_t bytes = t->row->moves - (t->seg.fin ? 1 : 0);
		uint32_t from = opened_by(t) ? t->seg.seq + 1 : t->before.rcv_nxt;

		rc = apus_tcp_call_receive(p->c, got, sizeof(got));
		if (rc != bytes)
			wrong(t, "RECEIVE gave %lld, not %u bytes", (long long)rc, bytes);
		for (uint32_t i = 0; i < bytes && !is_wrong(t); i++)
			if (got[i] != test_byte((uint32_t)(from + i)))
				wrong(t, "byte %u is not the peer's", i);
	}
	if (is_wrong(t))
		return;
	expected = t->cell[2] == 'n' ? -ECONNREFUSED : t->cell[2] == 'x' ? -ECONNRESET : expected;
	rc = apus_tcp_call_receive(p->c, got, sizeof(got));
	if (rc != expected)
		wrong(t, "RECEIVE gave %lld, not %lld", (long long)rc, (long long)expected);
}

static bool cell_holds(const struct row *row, enum column state, const struct variant *v)
{
	struct trial t = {.p = peer_open(),
			  .row = row,
			  .state = state,
			  .v = *v,
			  .cell = row->cells + 4 * state};

	t.p->stamps = v->stamps;
	t.p->ts_val = 0xffffffff;
	if (v->irs_wraps)
		t.p->irs = 0xfffffffe - (state >= CLOSE_WAIT);
	reach(t.p, state, v);
	assert_int_equal(state_letter(t.p), letter_of(state));
	t.before = numbers_of(t.p, state);
	t.seg = segment_of(row, &t.before);
	peer_forget(t.p);

	t.p->stamps = v->stamps && row->stamp != STAMP_NONE;
	t.p->ts_val += row->stamp == STAMP_NEW ? 1 : row->stamp == STAMP_OLD ? -1U : 0;
	peer_send(t.p, t.seg, row->text_bytes);
	if (t.cell[1] == 'l' && !t.p->heard_count)
		peer_wait(t.p, APUS_TCP_DELAYED_ACK_NS);
	check_state(&t);
	if (!is_wrong(&t))
		check_answer(&t);
	if (!is_wrong(&t))
		check_receive(&t);
	if (is_wrong(&t))
		fprintf(stderr, "%s in %s%s%s%s%s: expected %.3s: %s\n", row->what,
			column_names[state], v->active ? ", we opened" : "",
			v->irs_wraps ? ", IRS wraps" : "", v->iss_wraps ? ", ISS wraps" : "",
			v->stamps ? ", timestamps" : "", t.cell, t.wrong);
	peer_close(t.p);
	return !is_wrong(&t);
}

/* In which variants a state can be reached. */
static bool can_reach(enum column state, const struct variant *v)
{
	if (v->iss_wraps && (v->active || state < SYN_RECEIVED_PASSIVE))
		return false; /* we choose neither our port nor, so, our number */
	if (state == SYN_SENT || state == SYN_RECEIVED_ACTIVE)
		return v->active;
	return state >= ESTABLISHED || !v->active;
}

static void column_holds(enum column state)
{
	uint32_t tried = 0, failed = 0;

	for (uint32_t bits = 0; bits < 16; bits++) {
		struct variant v = {bits & 1, bits & 2, bits & 4, bits & 8};

		if (!can_reach(state, &v))
			continue;
		for (size_t i = 0; i < apus_countof(rows); i++) {
			if (rows[i].cells[4 * state] == '*' || (rows[i].stamp && !v.stamps))
				continue;
			failed += !cell_holds(&rows[i], state, &v);
			tried++;
		}
	}
	assert_true(tried > 2 * apus_countof(rows) - 20);
	assert_int_equal(failed, 0);
}

/* clang-format off */
#define column_tests(X) \
 X(closed, CLOSED) X(listen, LISTEN) \
 X(syn_sent, SYN_SENT) X(passive_syn_received, SYN_RECEIVED_PASSIVE) \
 X(active_syn_received, SYN_RECEIVED_ACTIVE) X(established, ESTABLISHED) \
 X(fin_wait_1, FIN_WAIT_1) X(fin_wait_2, FIN_WAIT_2) \
 X(close_wait, CLOSE_WAIT) X(closing, CLOSING) \
 X(last_ack, LAST_ACK) X(time_wait, TIME_WAIT)
/* clang-format on */

#define X(name, state)                                          \
 static void name##_each_segment_gets_its_answer(void **unused) \
 {                                                              \
  column_holds(state);                                          \
 }
column_tests(X)
#undef X

	/* ---- cells of their own ---- */

	/*
 * A peer that has filled our window, with a hole at its start, sends its ACKs from R+W. RFC 9293
 * §3.10.7.4 "first" would drop them all; appendix A.2 knows the problem and leaves the remedy to us:
 * such an ACK is processed, as in Linux.
 */
	static void ack_at_the_right_edge_is_processed(void **state)
{
	const struct variant v = {.active = false};
	struct peer *p = peer_open();
	struct numbers n;

	reach(p, ESTABLISHED, &v);
	n = numbers_of(p, ESTABLISHED);
	peer_forget(p);
	peer_send_ack(p, n.rcv_nxt + n.rcv_wnd, n.nxt);
	assert_int_equal(p->c->snd.una, n.nxt);
	peer_close(p);
}

/* RFC 9293 figure 8: both open at once; each SYN,ACK repeats the number of the SYN before it. */
static void simultaneous_open_ends_in_established(void **state)
{
	const struct variant v = {.active = true};
	struct peer *p = peer_open();
	struct apus_segment seg;

	reach(p, SYN_RECEIVED_ACTIVE, &v);
	assert_true(peer_last(p)->syn && peer_last(p)->has_ack);
	assert_int_equal(peer_last(p)->seq, p->iss);
	assert_int_equal(peer_last(p)->ack, p->irs + 1);
	seg = peer_segment(p->irs, p->iss + 1);
	seg.syn = seg.has_ack = true;
	peer_send(p, seg, 0);
	/* Also right: an ACK that the peer, in SYN-RECEIVED too, answers with none of its own. */
	if (state_letter(p) == 'S')
		peer_send_ack(p, p->irs + 1, p->iss + 1);
	assert_int_equal(state_letter(p), 'E');
	peer_close(p);
}

/* RFC 9293 §3.6, case 3: both close at once. */
static void simultaneous_close_ends_in_time_wait_on_both_sides(void **state)
{
	const struct variant v = {.active = true};
	struct peer *p = peer_open();
	struct numbers n;

	reach(p, CLOSING, &v);
	n = numbers_of(p, CLOSING);
	peer_send_ack(p, n.rcv_nxt, n.nxt);
	assert_int_equal(state_letter(p), 'T');
	peer_wait(p, APUS_TCP_TIME_WAIT_NS);
	assert_int_equal(state_letter(p), 'C');
	peer_close(p);
}

/* TCP.md §2: "TIME-WAIT reusable by a newer SYN" (RFC 9293 §3.6.1, MAY-2). */
static void newer_syn_in_time_wait_opens_anew(void **state)
{
	static const int32_t offsets[] = {1, 100, 70000};

	for (size_t i = 0; i < apus_countof(offsets); i++) {
		const struct variant v = {.active = false};
		struct peer *p = peer_open();
		struct numbers n;

		reach(p, TIME_WAIT, &v);
		n = numbers_of(p, TIME_WAIT);
		peer_forget(p);
		peer_send_syn(p, n.rcv_nxt + (uint32_t)offsets[i]);
		assert_int_equal(p->heard_count, 1);
		assert_true(peer_last(p)->syn && peer_last(p)->has_ack);
		assert_int_equal(peer_last(p)->ack, n.rcv_nxt + (uint32_t)offsets[i] + 1);
		/* RFC 9293 §3.6.1: beyond the largest number that the old one used */
		assert_true(apus_seq_gt(peer_last(p)->seq, n.nxt));
		assert_int_equal(state_letter(p), 'S');
		peer_close(p);
	}
}

/* Where nobody listens any more, the entry gives way to a reset. */
static void newer_syn_in_time_wait_without_listener_is_refused(void **state)
{
	const struct variant v = {.active = true};
	struct peer *p = peer_open();
	struct numbers n;

	reach(p, TIME_WAIT, &v);
	n = numbers_of(p, TIME_WAIT);
	peer_forget(p);
	peer_send_syn(p, n.rcv_nxt + 100);
	assert_int_equal(p->heard_count, 1);
	assert_true(peer_last(p)->rst || bare_ack(peer_last(p)));
	peer_close(p);
}

/* RFC 9293 §3.10.7.4 "fifth": a FIN that comes again restarts the 2 MSL timeout. */
static void fin_again_in_time_wait_restarts_the_wait(void **state)
{
	const struct variant v = {.active = true};
	struct peer *p = peer_open();
	struct numbers n;

	reach(p, TIME_WAIT, &v);
	n = numbers_of(p, TIME_WAIT);
	peer_wait(p, 50 * APUS_SEC);
	peer_send_fin(p, n.rcv_nxt - 1, n.nxt);
	peer_wait(p, 50 * APUS_SEC);
	assert_int_equal(state_letter(p), 'T');
	peer_wait(p, 11 * APUS_SEC);
	assert_int_equal(state_letter(p), 'C');
	peer_close(p);
}

static void every_row_has_a_cell_for_every_state(void **state)
{
	for (size_t i = 0; i < apus_countof(rows); i++)
		if (strlen(rows[i].cells) != 4 * COLUMNS - 1)
			fail_msg("row '%s'", rows[i].what);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_has_a_cell_for_every_state),
#define X(name, state) test_with_pool(name##_each_segment_gets_its_answer),
		column_tests(X)
#undef X
			test_with_pool(ack_at_the_right_edge_is_processed),
		test_with_pool(simultaneous_open_ends_in_established),
		test_with_pool(simultaneous_close_ends_in_time_wait_on_both_sides),
		test_with_pool(newer_syn_in_time_wait_opens_anew),
		test_with_pool(newer_syn_in_time_wait_without_listener_is_refused),
		test_with_pool(fin_again_in_time_wait_restarts_the_wait),
	};

	return test_main_with_pool(argc, argv, tests);
}
