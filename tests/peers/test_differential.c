/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/peers/test_differential.c: the same segments and calls to our TCP and to the kernel's.
 *
 *	test_differential [--seed N] [--sequences N] [--seconds N] [--verbose]
 *
 * A sequence is a handshake and then up to sixteen steps: a segment whose numbers, flags, length
 * and timestamp lie on, beside and far from what is right, or a call of the user. After each step
 * both must have answered the same: which number is acknowledged, which text and FIN were sent,
 * whether there was a reset and in which form, whether a bare ACK came; and both users must have
 * read the same. A difference must be a row of the table in differences.c, which tells who is right
 * by the RFC's word; then the sequence ends, because the two are in different states now.
 *
 * Not compared: window sizes, urgent text (where a read stops at the mark is the user's choice in
 * the kernel), and segments that were sent before: the kernel lives in real time. A sequence that
 * took so much of it that its timers may have changed something is not judged.
 */
#include "net/sim/drive.h"
#include "net/stack_internal.h"
#include "net/tcp/challenge.h"
#include "net/tcp/listen.h"
#include "net/tcp/user.h"
#include "runtime/base/random.h"
#include "tests/net/sim/sim_test.h"
#include "tests/peers/differences.h"
#include "tests/peers/kernel.h"

#include <inttypes.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define STEPS_MAX       16
#define SETTLE_NS       (41 * APUS_MS)  /* a delayed ACK of ours is out by then */
#define SEQUENCE_MAX_NS (150 * APUS_MS) /* of real time: then the kernel's timers may have fired */

struct peer {
	const char *name;
	void (*inject)(const void *packet, size_t bytes);
	size_t (*collect)(void *buf, size_t bytes);
	int64_t (*call)(const struct step *s);
	bool has_isn;
	uint32_t isn;
	uint32_t ts; /* TSval it sent last */
	struct answer now;
};

static struct {
	struct apus_sim_world *world;
	struct apus_sim_host *host;
	struct apus_tcp_listener *listener;
	struct apus_tcp *conn;
	int fd;
	struct apus_random random;
	uint16_t port;
	uint32_t iss;                    /* ours, as a client of both */
	bool is_dead;                    /* a call said so */
	struct step sent[STEPS_MAX + 2]; /* so far */
	uint32_t sent_count;
	struct trial t; /* the last step */
	bool verbose;
} test = {.fd = -1};

/* ---- packets ---- */

struct packet {
	struct rte_ipv4_hdr ip;
	struct rte_tcp_hdr tcp;
	uint8_t rest[40 + 1500];
};

static size_t put_options(uint8_t *at, const struct step *s, const struct peer *p)
{
	uint32_t val = htonl(s->ts_val), ecr = htonl(p->ts);
	size_t n = 0;

	if (s->flags & SYN) {
		memcpy(at, "\x02\x04\x05\xb4\x04\x02\x01\x03\x03\x07\x01\x01", 12);
		n = 12; /* mss 1460, sackOK, nop, wscale 7, nop, nop */
	}
	if (s->has_ts) {
		memcpy(at + n, "\x01\x01\x08\x0a", 4);
		memcpy(at + n + 4, &val, 4);
		memcpy(at + n + 8, &ecr, 4);
		n += 12;
	}
	return n;
}

static void inject(struct peer *p, const struct step *s)
{
	struct packet packet = {
		.ip = {.version_ihl = RTE_IPV4_VHL_DEF,
		       .time_to_live = 64,
		       .next_proto_id = IPPROTO_TCP,
		       .src_addr = htonl(RTE_IPV4(10, 0, 0, 2)),
		       .dst_addr = htonl(RTE_IPV4(10, 0, 0, 1))},
		.tcp = {.src_port = htons(test.port),
			.dst_port = htons(KERNEL_PORT),
			.sent_seq = htonl(test.iss + s->seq),
			.recv_ack = s->flags & ACK ? htonl(p->isn + s->ack) : 0,
			.tcp_flags = s->flags,
			.rx_win = htons(UINT16_MAX)},
	};
	size_t options = put_options(packet.rest, s, p);
	size_t bytes = offsetof(struct packet, rest) + options + s->bytes;

	sim_fill(packet.rest + options, s->bytes, s->seq, 0);
	packet.tcp.data_off = (uint8_t)((sizeof(packet.tcp) + options) / 4 << 4);
	packet.ip.total_length = htons((uint16_t)bytes);
	packet.ip.hdr_checksum = rte_ipv4_cksum(&packet.ip);
	packet.tcp.cksum = rte_ipv4_udptcp_cksum(&packet.ip, &packet.tcp);
	p->inject(&packet, bytes);
}

static void read_sack(struct answer *a, const uint8_t *at, size_t n)
{
	uint32_t word[2];

	if ((int)(n / 8) <= a->sacks)
		return;
	a->sacks = 0;
	for (size_t b = 2; b < n; b += 8) {
		memcpy(&word, at + b, 8);
		a->sack[a->sacks][0] = ntohl(word[0]) - test.iss;
		a->sack[a->sacks++][1] = ntohl(word[1]) - test.iss;
	}
}

/*
 * In SYN-RECEIVED the kernel wants the timestamp of its SYN back, not that of a challenge ACK.
 */
static void read_options(struct peer *p, bool is_syn, const uint8_t *at, size_t n)
{
	uint32_t word;

	for (size_t i = 0; i < n && at[i]; i += at[i] == 1 ? 1 : at[i + 1]) {
		if (at[i] == 8 && (is_syn || !test.t.is_embryo)) {
			memcpy(&word, at + i + 2, 4);
			p->ts = ntohl(word);
		}
		if (at[i] == 5)
			read_sack(&p->now, at + i, at[i + 1]);
	}
}

static void hear(struct peer *p, const struct packet *packet)
{
	const struct rte_tcp_hdr *tcp = &packet->tcp;
	size_t header = (size_t)(tcp->data_off >> 4) * 4;
	size_t text = ntohs(packet->ip.total_length) - sizeof(packet->ip) - header;
	uint32_t seq = ntohl(tcp->sent_seq);
	struct answer *a = &p->now;
	bool is_again;

	if (packet->ip.next_proto_id != IPPROTO_TCP || tcp->dst_port != htons(test.port))
		return;
	if (tcp->tcp_flags & SYN && (!p->has_isn || seq != p->isn)) { /* a new connection */
		p->has_isn = true;
		p->isn = seq;
		test.t.is_reopened |= a->has_fin && test.t.is_fin_taken;
		a->ack = ntohl(tcp->recv_ack) - test.iss;
		a->end = 0;
		a->has_fin = false;
		test.t.is_embryo = true;
		test.t.ts_recent = test.sent[test.sent_count - 1].ts_val;
	}
	if (tcp->tcp_flags & RST) {
		a->has_rst = true;
		a->rst_flags = tcp->tcp_flags & (RST | ACK);
		a->rst_seq = seq ? seq - p->isn : 0;
		a->rst_ack = tcp->tcp_flags & ACK ? ntohl(tcp->recv_ack) - test.iss : 0;
		return;
	}
	read_options(p, tcp->tcp_flags & SYN, packet->rest, header - sizeof(*tcp));
	a->ack = apus_seq_max(a->ack, ntohl(tcp->recv_ack) - test.iss);
	seq += (uint32_t)text + !!(tcp->tcp_flags & (SYN | FIN));
	is_again = (text || tcp->tcp_flags & FIN) && apus_seq_leq(seq - p->isn, a->end);
	a->has_ack |= !is_again;
	a->has_again |= is_again;
	a->end = apus_seq_max(a->end, seq - p->isn);
	a->has_fin |= !!(tcp->tcp_flags & FIN);
}

static void hear_all(struct peer *p)
{
	struct packet packet;

	while (p->collect(&packet, sizeof(packet)))
		hear(p, &packet);
}

static uint8_t data[65536]; /* of a call */

/* ---- the kernel ---- */

/* What a read, write, ... said: the bytes; an error as < 0. */
static int64_t said(ssize_t n)
{
	return n < 0 ? -errno : n;
}

static int64_t kernel_call(const struct step *s)
{
	int64_t n;

	if (test.fd < 0)
		return -EBADF;
	switch (s->kind) {
	case WRITE:
		sim_fill(data, s->bytes, 0, 0);
		return said(send(test.fd, data, s->bytes, MSG_NOSIGNAL | MSG_DONTWAIT));
	case READ:
		n = said(recv(test.fd, data, sizeof(data), MSG_DONTWAIT));
		return n;
	case SHUTDOWN:
		return said(shutdown(test.fd, SHUT_WR));
	case CLOSE:
		close(test.fd);
		test.fd = -1;
		return 0;
	case SEGMENT:
		break;
	}
	kernel_ack_now(test.fd);
	return 0;
}

static struct peer kernel = {
	.name = "kernel",
	.inject = kernel_inject,
	.collect = kernel_collect,
	.call = kernel_call,
};

/* ---- ours ---- */

static void ours_inject(const void *packet, size_t bytes)
{
	apus_must(!apus_sim_inject(test.host, packet, bytes));
	apus_must(apus_sim_step(test.world) >= 0);
}

static size_t ours_collect(void *buf, size_t bytes)
{
	return apus_sim_collect(test.host, buf, bytes, NULL);
}

static int64_t call_on_host(void *arg)
{
	const struct step *s = arg;
	struct iovec iov = {.iov_base = data, .iov_len = s->bytes};

	switch (s->kind) {
	case WRITE:
		sim_fill(data, s->bytes, 0, 0);
		return apus_tcp_call_send(test.conn, &iov, 1, apus_now());
	case READ:
		return apus_tcp_call_receive(test.conn, data, sizeof(data));
	case SHUTDOWN:
		return apus_tcp_call_shutdown(test.conn);
	case CLOSE:
		apus_tcp_call_close(test.conn, apus_now());
		test.conn = NULL;
		return 0;
	case SEGMENT:
		break;
	}
	return 0;
}

static int64_t ours_call(const struct step *s)
{
	struct step copy = *s;
	int64_t rc;

	if (!test.conn)
		return -EBADF;
	rc = apus_sim_call(test.host, call_on_host, &copy);
	apus_must(apus_sim_step(test.world) >= 0);
	return rc;
}

static struct peer ours = {
	.name = "ours",
	.inject = ours_inject,
	.collect = ours_collect,
	.call = ours_call,
};

static int64_t listen_on_host(void *arg)
{
	return apus_tcp_listen(sim_any(SERVER_PORT), 0, &test.listener);
}

static int64_t accept_on_host(void *arg)
{
	test.conn = apus_tcp_listener_has_ready(test.listener)
			    ? apus_tcp_listener_take(test.listener)
			    : NULL;
	return 0;
}

static void ours_open(void)
{
	struct apus_sim_host_options as = {.ip = "10.0.0.1/24"};
	struct apus_sim_world_options world;

	apus_test_eal();
	world = (struct apus_sim_world_options){.pool = sim_pool()};
	apus_must(!apus_sim_world_open(1, &world, &test.world));
	apus_must(!apus_sim_host_open(test.world, "ours", &as, &test.host));
	apus_must(!apus_sim_drive(test.host, NULL));
	apus_must(!apus_sim_call(test.host, listen_on_host, NULL));
}

static uint64_t ours_counted(const char *name)
{
	return apus_sim_host_counter(test.host, "tcp", name);
}

/* ---- sequences ---- */

static uint32_t below(uint32_t bound)
{
	return (uint32_t)apus_random_below(&test.random, bound);
}

#define pick(list) ((list)[below(apus_countof(list))])

/* Around RCV.NXT of the two, which is @right. */
static uint32_t some_seq(uint32_t right)
{
	static const int32_t beside[] = {-1, 1, -2, 10, -100, 100, 1460, 5000, 20000, -20000};

	switch (below(8)) {
	case 0:
		return right + (uint32_t)pick(beside);
	case 1:
		return right + (uint32_t)pick(beside);
	case 2:
		return right + (1U << 30) - below(2) * (1U << 31) + below(1000);
	default:
		return right;
	}
}

/* Around SND.NXT of the two, which is @end; an ACK of what was not sent, too. */
static uint32_t some_ack(uint32_t end)
{
	switch (below(8)) {
	case 0:
		return end + 1 + below(2) * below(100000);
	case 1:
		return end - below(apus_min(end, 200U) + 1);
	case 2:
		return end - (1U << 30) + below(2) * (1U << 31);
	default:
		return end;
	}
}

static struct step some_segment(uint32_t index)
{
	static const uint8_t flags[] = {
		ACK,       ACK, ACK, ACK,       ACK | PSH, ACK | PSH,
		ACK | PSH, ACK, RST, RST | ACK, SYN,       SYN | ACK,
		FIN | ACK, FIN, 0,   SYN | FIN, RST | SYN, FIN | SYN | RST | PSH | ACK};
	static const uint16_t bytes[] = {0, 0, 1, 10, 100, 1000};
	struct step s = {
		.kind = SEGMENT,
		.flags = pick(flags),
		.seq = some_seq(ours.now.ack),
		.ack = some_ack(ours.now.end),
		.bytes = pick(bytes),
		.has_ts = test.t.has_ts && below(12),
		.ts_val = 1000 + index,
	};

	if (s.flags & SYN)
		s.bytes = 0;
	if (!below(12))
		s.ts_val -= below(2) ? 500 : 1U << 31;
	return s;
}

static struct step some_step(uint32_t index)
{
	static const enum kind calls[] = {WRITE, WRITE, READ, READ, SHUTDOWN, CLOSE};

	struct step s = {.kind = pick(calls), .bytes = (uint16_t)(1 + below(2000))};

	/* The kernel lets a user shut down twice. */
	if (below(4) || !test.conn || test.fd < 0 || test.is_dead ||
	    (s.kind == SHUTDOWN && ours.now.has_fin))
		return some_segment(index);
	return s;
}

/* ---- a sequence ---- */

static void print_answer(const struct peer *p)
{
	const struct answer *a = &p->now;

	printf("    %-6s %s ack %" PRIu32 " end %" PRIu32 "%s", p->name, a->has_ack ? "ACK" : "   ",
	       a->ack, a->end, a->has_fin ? " FIN" : "");
	for (int i = 0; i < a->sacks; i++)
		printf(" sack %" PRIu32 "-%" PRIu32, a->sack[i][0], a->sack[i][1]);
	if (a->has_rst)
		printf(" RST%s seq %" PRIu32 " ack %" PRIu32, a->rst_flags & ACK ? ",ACK" : "",
		       a->rst_seq, a->rst_ack);
	if (a->result)
		printf(" result %" PRId64, a->result);
	printf("\n");
}

static void print_step(const struct step *s)
{
	static const char *const calls[] = {"", "write", "read", "shutdown", "close"};
	static const char letters[] = "FSRP.U";

	if (s->kind != SEGMENT) {
		printf("  %s %u\n", calls[s->kind], s->bytes);
		return;
	}
	printf("  < ");
	for (int i = 0; i < 6; i++)
		if (s->flags & 1 << i)
			putchar(letters[i]);
	printf(" %d:%d(%u) ack %d", (int)s->seq, (int)(s->seq + s->bytes), s->bytes, (int)s->ack);
	if (s->has_ts)
		printf(" ts %u", s->ts_val);
	printf("\n");
}

static void apply(struct peer *p, const struct step *s)
{
	p->now.has_ack = p->now.has_rst = p->now.has_again = false;
	p->now.sacks = 0;
	p->now.result = 0;
	if (s->kind == SEGMENT) {
		(void)p->call(s);
		inject(p, s);
	}
	p->now.result = p->call(s);
}

/* RFC 5961 §7: neither the kernel's limit nor ours is what is compared here. */
static int64_t forget_challenge(void *arg)
{
	test.conn->challenge_tick = apus_tcp_tick(apus_now());
	return 0;
}

/* Has one of the two passed a number, from @from on, that a FIN has had and text as well? */
static bool is_contradicted(uint32_t from)
{
	uint32_t to = apus_seq_max(ours.now.ack, kernel.now.ack);

	for (uint32_t i = 0; i < test.sent_count; i++) {
		uint32_t fin = test.sent[i].seq + test.sent[i].bytes;

		if (!(test.sent[i].flags & FIN) || fin - from >= to - from)
			continue;
		for (uint32_t j = 0; j < test.sent_count; j++)
			if (fin - test.sent[j].seq < test.sent[j].bytes)
				return true;
	}
	return false;
}

/* Return: both answered the same. */
static bool apply_to_both(const struct step *s)
{
	uint32_t ack_before = ours.now.ack;
	struct trial *t = &test.t;
	uint64_t held_back = ours_counted("challenge_acks_limited");

	if (s->kind == SEGMENT)
		test.sent[test.sent_count++] = *s;
	if (test.conn)
		(void)apus_sim_call(test.host, forget_challenge, NULL);
	apply(&ours, s);
	apus_must(!apus_sim_advance(test.world, s->bytes || !test.conn ? SETTLE_NS : APUS_MS));
	hear_all(&ours);
	apply(&kernel, s);
	hear_all(&kernel);
	if (ours.now.has_ack && !kernel.now.has_ack && !kernel.now.has_rst) {
		usleep(60000); /* what it delays: 40 ms, in jiffies */
		hear_all(&kernel);
	}
	test.is_dead |= s->kind != SEGMENT && ours.now.result < -EAGAIN;
	t->s = *s;
	t->o = ours.now;
	t->k = kernel.now;
	t->is_closed = !test.conn;
	t->is_contradicted = is_contradicted(ack_before);
	if (s->kind == SEGMENT && s->flags & FIN)
		t->fin_end = s->seq + s->bytes + 1;
	t->is_fin_taken |= t->fin_end && t->o.ack == t->fin_end;
	t->was_held_back = ours_counted("challenge_acks_limited") > held_back;
	if (test.verbose) {
		print_step(s);
		print_answer(&kernel);
		print_answer(&ours);
	}
	return same_answers(t);
}

static bool shake_hands(void)
{
	struct step syn = {.flags = SYN, .has_ts = test.t.has_ts, .ts_val = 1000};
	struct step ack = {
		.flags = ACK, .seq = 1, .ack = 1, .has_ts = test.t.has_ts, .ts_val = 1000};

	if (!apply_to_both(&syn) || !apply_to_both(&ack))
		return false;
	test.fd = kernel_accept();
	(void)apus_sim_call(test.host, accept_on_host, NULL);
	test.t.is_embryo = false;
	return test.fd >= 0 && test.conn;
}

static int64_t real_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * APUS_SEC + t.tv_nsec;
}

/* Whatever state they are in: nothing of it is left. */
static void end_sequence(void)
{
	struct step close_step = {.kind = CLOSE};
	struct peer *both[] = {&kernel, &ours};

	for (int i = 0; i < 2; i++) {
		struct step rst = {.flags = RST, .seq = both[i]->now.ack, .has_ts = false};

		apply(both[i], &close_step);
		inject(both[i], &rst);
	}
	/* A SYN within the sequence may have opened another. */
	while ((test.fd = kernel_accept()) >= 0)
		(void)kernel_call(&close_step);
	while (apus_sim_call(test.host, accept_on_host, NULL), test.conn)
		(void)ours_call(&close_step);
	apus_must(!apus_sim_advance(test.world, APUS_SEC));
	for (int i = 0; i < 2; i++) {
		hear_all(both[i]);
		both[i]->now = (struct answer){0};
		both[i]->has_isn = false;
		both[i]->ts = 0;
	}
}

enum verdict {
	ALIKE,
	EXPLAINED,
	UNEXPLAINED,
	LATE, /* the kernel's timers may have had their say */
};

static uint64_t seen[64]; /* by row */

static enum verdict judge(uint64_t seed, uint32_t index)
{
	int row = difference_find(&test.t);

	if (row >= 0) {
		seen[row]++;
		if (test.verbose)
			printf("    (%s)\n", differences[row].name);
		return EXPLAINED;
	}
	printf("seed %" PRIu64 ", step %" PRIu32 ": no row explains\n", seed, index);
	if (!test.verbose) {
		print_step(&test.t.s);
		print_answer(&kernel);
		print_answer(&ours);
	}
	return UNEXPLAINED;
}

static enum verdict run_steps(uint64_t seed, int64_t late_at_ns)
{
	bool alike = shake_hands();

	if (real_ns() > late_at_ns)
		return LATE;
	if (!alike) {
		printf("seed %" PRIu64 ": the handshakes differ\n", seed);
		return UNEXPLAINED;
	}
	for (uint32_t i = 1; i <= STEPS_MAX; i++) {
		struct step s = some_step(i);

		alike = apply_to_both(&s);
		if (real_ns() > late_at_ns)
			return LATE;
		if (!alike || difference_is_latent(&test.t))
			return judge(seed, i);
		if (ours.now.has_again || kernel.now.has_again)
			break; /* a timer fired, which the other may not have seen yet */
	}
	return ALIKE;
}

static enum verdict run_sequence(uint64_t seed)
{
	enum verdict verdict;

	apus_random_init_seed(&test.random, seed);
	test.port = (uint16_t)(1024 + seed % 60000);
	test.iss = (uint32_t)apus_random_u64(&test.random);
	test.t = (struct trial){.has_ts = below(2)};
	test.is_dead = false;
	test.sent_count = 0;
	if (test.verbose)
		printf("sequence %" PRIu64 "\n", seed);
	verdict = run_steps(seed, real_ns() + SEQUENCE_MAX_NS);
	end_sequence();
	return verdict;
}

/* The kernel lives in real time: a difference that does not come again was its timers'. */
static enum verdict run_sequence_twice(uint64_t seed)
{
	enum verdict verdict = run_sequence(seed);

	if (verdict != UNEXPLAINED || run_sequence(seed) == UNEXPLAINED)
		return verdict;
	printf("seed %" PRIu64 ": not again\n", seed);
	return LATE;
}

static int report(const uint64_t *count)
{
	uint64_t judged = count[ALIKE] + count[EXPLAINED] + count[UNEXPLAINED];

	for (size_t i = 0; i < difference_count; i++)
		printf("%8" PRIu64 "  %s\n          %s\n", seen[i], differences[i].name,
		       differences[i].word);
	printf("%" PRIu64 " sequences, %" PRIu64 " alike to the end, %" PRIu64
	       " with a difference of the table, %" PRIu64 " with another; %" PRIu64
	       " were too slow to be judged\n",
	       judged, count[ALIKE], count[EXPLAINED], count[UNEXPLAINED], count[LATE]);
	return count[UNEXPLAINED] || !judged ? 1 : 0;
}

int main(int argc, char **argv)
{
	uint64_t first = 1, sequences = 1000, count[LATE + 1] = {0};
	int64_t seconds = 30;
	const char *why;

	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--verbose"))
			test.verbose = true;
		else if (!strcmp(argv[i], "--seed") && i + 1 < argc)
			first = strtoull(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--sequences") && i + 1 < argc)
			sequences = strtoull(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--seconds") && i + 1 < argc)
			seconds = strtoll(argv[++i], NULL, 0);
	apus_must(difference_count <= apus_countof(seen));
	if (!kernel_open(&why)) {
		printf("skipped: %s\n", why);
		return 77; /* meson's word for it */
	}
	ours_open();

	int64_t until_ns = real_ns() + seconds * APUS_SEC;

	for (uint64_t seed = first; seed < first + sequences && real_ns() < until_ns; seed++)
		count[run_sequence_twice(seed)]++;
	return report(count);
}
