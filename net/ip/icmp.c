/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/ip/icmp.c: the Internet Control Message Protocol (RFC 792, RFC 1122 §3.2.2, RFC 6633).
 *
 * An echo request becomes its own reply: addresses change places, the type becomes 0 and the
 * checksum is corrected for that one change (RFC 1624), so the payload is never touched.
 *
 * Errors that come in are read with bounds into a value; whether a connection believes it is the
 * transport's question. Errors that go out quote as much of the packet as fits into 576 bytes (RFC
 * 1812 §4.3.2.3), and are limited for all receivers together: a per-host limit would be a table
 * that strangers fill.
 *
 * Where we differ: no timestamp, no redirect (our gateways are configured), no router discovery;
 * an echo request to a broadcast address is not answered (RFC 1122 §3.2.2.6 allows it).
 */
#include "net/ip/icmp.h"
#include "net/ip/mbuf.h"

#include <netinet/in.h>
#include <rte_icmp.h>
#include <string.h>

#define ERROR_PACKET_MAX 576
#define ERROR_TOS        0xc0 /* RFC 1812 §4.3.2.5: precedence 6, internetwork control */
#define INNER_L4_BYTES   8    /* of our packet, at least (RFC 792) */

static const char *const counter_names[] = {APUS_ICMP_COUNTERS(APUS_COUNTER_NAME)};

/* The header of an error: the same 8 bytes as echo's, otherwise used. */
struct error_header {
	uint8_t type, code;
	rte_be16_t checksum;
	rte_be16_t unused;
	rte_be16_t mtu;
};
static_assert(sizeof(struct error_header) == sizeof(struct rte_icmp_hdr), "RFC 792");

void apus_icmp_init(struct apus_icmp *icmp, struct apus_shard *shard, struct apus_ipv4 *ip)
{
	*icmp = (struct apus_icmp){.ip = ip};
	apus_bucket_init(&icmp->errors, APUS_ICMP_ERRORS_PER_SECOND, APUS_ICMP_ERRORS_BURST);
	apus_metrics_register(apus_shard_metrics(shard), &icmp->metrics, "icmp", counter_names,
			      icmp->counters, APUS_ICMP_COUNTER_COUNT);
}

void apus_icmp_fini(struct apus_icmp *icmp)
{
	apus_metrics_unregister(&icmp->metrics);
}

/* --- echo ----------------------------------------------------------------------------------- */

/* Consumes @m. */
static void answer_echo(struct apus_icmp *icmp, struct rte_mbuf *m, int64_t now_ns)
{
	const struct rte_ipv4_hdr *ip = apus_ipv4_header(m);
	struct apus_addr us = apus_addr_v4(ip->dst_addr), them = apus_addr_v4(ip->src_addr);
	uint8_t tos = ip->type_of_service;

	if (!apus_ipv4_is_ours(icmp->ip, us)) {
		icmp->counters[APUS_ICMP_DROP_BROADCAST]++;
		goto free;
	}
	if (apus_unlikely(!apus_mbuf_is_ours(m))) { /* a link may give us a shared copy */
		struct rte_mbuf *copy = rte_pktmbuf_copy(m, icmp->ip->link->pool, 0, UINT32_MAX);

		if (!copy) {
			icmp->counters[APUS_ICMP_NO_MBUF]++;
			goto free;
		}
		copy->tx_offload = m->tx_offload;
		rte_pktmbuf_free(m);
		m = copy;
	}
	rte_pktmbuf_adj(m, m->l3_len);
	apus_mbuf_turn_round(m);

	struct rte_icmp_hdr *h = rte_pktmbuf_mtod(m, struct rte_icmp_hdr *);

	/* RFC 1624 [eqn. 3]: HC' = ~(~HC + ~m + m'); m is the word of type and code. */
	h->icmp_type = APUS_ICMP_ECHO_REPLY;
	h->icmp_cksum = (uint16_t)~apus_sum_fold(
		(uint16_t)~h->icmp_cksum +
		(uint64_t)(uint16_t)~rte_cpu_to_be_16(APUS_ICMP_ECHO_REQUEST << 8));
	/* Of nothing but zeros the sum is minus zero, which only 0xffff says (RFC 1624 §3). */
	if (!h->icmp_cksum)
		h->icmp_cksum = 0xffff;
	icmp->counters[APUS_ICMP_TX_ECHO_REPLIES]++;
	apus_ipv4_output(icmp->ip, m, us, them, IPPROTO_ICMP, tos, now_ns);
	return;
free:
	rte_pktmbuf_free(m);
}

/* --- errors in ------------------------------------------------------------------------------ */

/* What is said of the packet of ours with this header, of whose payload @l4 are the first bytes. */
static struct apus_icmp_error error_about(const struct rte_ipv4_hdr *ip, const void *l4,
					  uint8_t type, uint8_t code)
{
	struct {
		rte_be16_t local_port, remote_port;
		rte_be32_t seq;
	} head;

	static_assert(sizeof(head) == INNER_L4_BYTES, "what is quoted at least");
	memcpy(&head, l4, sizeof(head));
	return (struct apus_icmp_error){
		.type = type,
		.code = code,
		.proto = ip->next_proto_id,
		.local = apus_addr_v4(ip->src_addr),
		.remote = apus_addr_v4(ip->dst_addr),
		.local_port = rte_be_to_cpu_16(head.local_port),
		.remote_port = rte_be_to_cpu_16(head.remote_port),
		.seq = rte_be_to_cpu_32(head.seq),
	};
}

static bool is_of_transport(const struct apus_icmp_error *error)
{
	return error->proto == IPPROTO_TCP || error->proto == IPPROTO_UDP;
}

bool apus_icmp_neighbour_lost(const struct rte_mbuf *m, struct apus_icmp_error *error)
{
	struct {
		struct rte_ipv4_hdr ip; /* ours have no options */
		uint8_t l4[INNER_L4_BYTES];
	} copy;
	const void *at = rte_pktmbuf_read(m, 0, sizeof(copy), &copy);

	if (!at)
		return false;
	if (at != &copy)
		memcpy(&copy, at, sizeof(copy));
	*error = error_about(&copy.ip, copy.l4, APUS_ICMP_UNREACHABLE, APUS_ICMP_UNREACHABLE_HOST);
	return is_of_transport(error);
}

/* Reads the packet of ours that an error quotes; every byte read is shown to be there. */
static bool read_error(struct apus_icmp *icmp, struct rte_mbuf *m, struct apus_icmp_error *out)
{
	uint32_t at = m->l3_len + sizeof(struct error_header);

	if (!apus_mbuf_pull(m, at + sizeof(struct rte_ipv4_hdr))) {
		icmp->counters[APUS_ICMP_DROP_INNER_SHORT]++;
		return false;
	}

	const struct rte_ipv4_hdr *inner =
		rte_pktmbuf_mtod_offset(m, const struct rte_ipv4_hdr *, at);
	uint32_t inner_bytes = rte_ipv4_hdr_len(inner);

	if (inner->version_ihl >> 4 != 4 || inner_bytes < sizeof(*inner)) {
		icmp->counters[APUS_ICMP_DROP_INNER_HEADER]++;
		return false;
	}
	if (!apus_mbuf_pull(m, at + inner_bytes + INNER_L4_BYTES)) {
		icmp->counters[APUS_ICMP_DROP_INNER_SHORT]++;
		return false;
	}
	if (!apus_ipv4_is_ours(icmp->ip, apus_addr_v4(inner->src_addr))) {
		icmp->counters[APUS_ICMP_DROP_INNER_NOT_OURS]++;
		return false;
	}
	if (inner->fragment_offset & rte_cpu_to_be_16(RTE_IPV4_HDR_OFFSET_MASK)) {
		icmp->counters[APUS_ICMP_DROP_INNER_FRAGMENT]++;
		return false;
	}

	const struct error_header *h =
		rte_pktmbuf_mtod_offset(m, const struct error_header *, m->l3_len);

	*out = error_about(inner, rte_pktmbuf_mtod_offset(m, const char *, at + inner_bytes),
			   h->type, h->code);
	if (h->type == APUS_ICMP_UNREACHABLE && h->code == APUS_ICMP_UNREACHABLE_TOO_BIG)
		out->mtu = rte_be_to_cpu_16(h->mtu);
	if (!is_of_transport(out)) {
		icmp->counters[APUS_ICMP_DROP_INNER_PROTOCOL]++;
		return false;
	}
	return true;
}

/* --- the door ------------------------------------------------------------------------------- */

/* RFC 792: the checksum covers the whole message. */
static bool valid(struct apus_icmp *icmp, struct rte_mbuf *m)
{
	icmp->counters[APUS_ICMP_RX_MESSAGES]++;
	if (!apus_mbuf_pull(m, m->l3_len + sizeof(struct rte_icmp_hdr))) {
		icmp->counters[APUS_ICMP_DROP_SHORT]++;
		return false;
	}
	if (apus_sum_fold(apus_mbuf_sum(m, m->l3_len, m->pkt_len - m->l3_len)) != UINT16_MAX) {
		icmp->counters[APUS_ICMP_DROP_CHECKSUM]++;
		return false;
	}
	return true;
}

bool apus_icmp_input(struct apus_icmp *icmp, struct rte_mbuf *m, int64_t now_ns,
		     struct apus_icmp_error *error)
{
	bool is_error = false;

	if (!valid(icmp, m))
		goto free;

	const struct rte_icmp_hdr *h =
		rte_pktmbuf_mtod_offset(m, const struct rte_icmp_hdr *, m->l3_len);

	switch (h->icmp_type) {
	case APUS_ICMP_ECHO_REQUEST:
		icmp->counters[APUS_ICMP_RX_ECHO_REQUESTS]++;
		answer_echo(icmp, m, now_ns);
		return false;
	case APUS_ICMP_ECHO_REPLY: /* we ask nobody */
		icmp->counters[APUS_ICMP_RX_ECHO_REPLIES]++;
		break;
	case APUS_ICMP_UNREACHABLE:
	case APUS_ICMP_TIME_EXCEEDED:
	case APUS_ICMP_PARAMETER_PROBLEM:
		icmp->counters[APUS_ICMP_RX_ERRORS]++;
		is_error = read_error(icmp, m, error);
		break;
	case APUS_ICMP_SOURCE_QUENCH: /* RFC 9293 §3.9.2.2 (MUST-55) */
		icmp->counters[APUS_ICMP_IGNORED_SOURCE_QUENCH]++;
		break;
	case APUS_ICMP_REDIRECT:
		icmp->counters[APUS_ICMP_IGNORED_REDIRECT]++;
		break;
	default:
		icmp->counters[APUS_ICMP_IGNORED_TYPE]++;
		break;
	}
free:
	rte_pktmbuf_free(m);
	return is_error;
}

/* --- errors out ----------------------------------------------------------------------------- */

/* RFC 1122 §3.2.2: about these nothing may be said. The source was checked by ipv4.c. */
static bool may_complain(const struct apus_icmp *icmp, const struct rte_mbuf *m)
{
	const struct rte_ipv4_hdr *ip = apus_ipv4_header(m);

	return apus_ipv4_is_ours(icmp->ip, apus_addr_v4(ip->dst_addr)) && !apus_eth_is_group(m) &&
	       !(ip->fragment_offset & rte_cpu_to_be_16(RTE_IPV4_HDR_OFFSET_MASK)) &&
	       ip->next_proto_id != IPPROTO_ICMP;
}

void apus_icmp_unreachable(struct apus_icmp *icmp, const struct rte_mbuf *m,
			   enum apus_icmp_unreachable_code code, int64_t now_ns)
{
	if (!may_complain(icmp, m)) {
		icmp->counters[APUS_ICMP_TX_ERRORS_FORBIDDEN]++;
		return;
	}
	if (!apus_bucket_take(&icmp->errors, now_ns)) {
		icmp->counters[APUS_ICMP_TX_ERRORS_LIMITED]++;
		return;
	}

	struct rte_mbuf *out = apus_ipv4_mbuf(icmp->ip);

	if (!out) {
		icmp->counters[APUS_ICMP_NO_MBUF]++;
		return;
	}

	const struct rte_ipv4_hdr *ip = apus_ipv4_header(m);
	uint32_t room = ERROR_PACKET_MAX - sizeof(*ip) - sizeof(struct error_header);
	uint32_t quoted = apus_min(m->pkt_len, room);
	struct error_header *h = (void *)rte_pktmbuf_append(out, (uint16_t)(sizeof(*h) + quoted));

	if (!h) { /* a pool of buffers smaller than 576 bytes */
		icmp->counters[APUS_ICMP_NO_MBUF]++;
		rte_pktmbuf_free(out);
		return;
	}
	*h = (struct error_header){.type = APUS_ICMP_UNREACHABLE, .code = (uint8_t)code};

	const void *from = rte_pktmbuf_read(m, 0, quoted, h + 1);

	if (from != h + 1)
		memcpy(h + 1, from, quoted);
	h->checksum = (uint16_t)~rte_raw_cksum(h, sizeof(*h) + quoted);
	icmp->counters[APUS_ICMP_TX_ERRORS]++;
	apus_ipv4_output(icmp->ip, out, apus_addr_v4(ip->dst_addr), apus_addr_v4(ip->src_addr),
			 IPPROTO_ICMP, ERROR_TOS, now_ns);
}
