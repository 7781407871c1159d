/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/peers/differences.h: where our TCP and the kernel's may differ, and who is right.
 *
 * The words for what was done to both, what came back, and a row of the table in differences.c.
 * Sequence numbers are relative to the initial ones of the connection.
 */
#ifndef APUS_TESTS_PEERS_DIFFERENCES_H
#define APUS_TESTS_PEERS_DIFFERENCES_H

#include <rte_tcp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SACK_MAX 4
#define TS_BEGIN 1000 /* TSval of the handshake; a later one that lies before it is old */

enum flags {
	FIN = RTE_TCP_FIN_FLAG,
	SYN = RTE_TCP_SYN_FLAG,
	RST = RTE_TCP_RST_FLAG,
	PSH = RTE_TCP_PSH_FLAG,
	ACK = RTE_TCP_ACK_FLAG,
};

enum kind {
	SEGMENT,
	WRITE,
	READ,
	SHUTDOWN,
	CLOSE,
};

/* What is done to both. */
struct step {
	enum kind kind;
	uint8_t flags;
	uint32_t seq, ack;
	uint16_t bytes;  /* of text, or to write */
	bool has_ts;     /* and if so: */
	uint32_t ts_val; /* (TSecr is what the peer sent last) */
};

/* What came back. */
struct answer {
	bool has_ack; /* a segment with ACK and without RST came in this step */
	uint32_t ack; /* the highest so far: RCV.NXT, as far as it is told */
	uint32_t end; /* of all that it sent so far: SND.NXT */
	bool has_fin; /* so far */
	bool has_rst; /* in this step, in this form: */
	uint8_t rst_flags;
	uint32_t rst_seq, rst_ack;
	bool has_again; /* one came that was sent before: a timer's work, or an answer */
	int sacks;      /* of the ACK in this step with most of them */
	uint32_t sack[SACK_MAX][2];
	int64_t result; /* of the call; bytes so far of reads */
};

/* A step, both answers, and what is known of the connection besides. */
struct trial {
	struct step s;
	struct answer o, k;   /* ours, the kernel's */
	bool has_ts;          /* timestamps were agreed on */
	bool is_embryo;       /* a SYN opened another: SYN-RECEIVED, or nobody accepted it */
	bool is_reopened;     /* that SYN came after both FINs */
	bool is_closed;       /* by the user */
	bool is_fin_taken;    /* the peer's */
	uint32_t fin_end;     /* of the peer's last FIN */
	uint32_t ts_recent;   /* of the SYN that made the embryo; valid with has_ts */
	bool is_contradicted; /* passed in this step: a number that text has, and a FIN as well */
	bool was_held_back;   /* our limit of challenge ACKs held one back in this step */
};

struct difference {
	const char *name; /* what it is about */
	const char *word; /* the RFC's, and who is right: ours, the kernel's or both */
	bool (*is)(const struct trial *t);
	bool is_latent; /* the answers may be the same: what the two are about to do is not */
};

extern const struct difference differences[];
extern const size_t difference_count;

/** difference_find - the row that explains @t. Return: its index; -1: none */
int difference_find(const struct trial *t);
/** difference_is_latent - does a row say that the two part here, whatever they answered? */
bool difference_is_latent(const struct trial *t);
/** same_answers - window sizes and which error a dead connection gives do not matter */
bool same_answers(const struct trial *t);

#endif
