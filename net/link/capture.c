/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/link/capture.c: what passes a link, as a pcapng file (draft-ietf-opsawg-pcapng).
 *
 * One section, one interface, one enhanced packet block per frame, written by ourselves:
 * librte_pcapng names interfaces by DPDK port, so it knows no simulated link; it stamps frames with
 * the host's counter, so a seeded run would not give the same file twice; and it copies each frame
 * into an mbuf first.
 *
 * Frames on the way out are taken before the device, so checksums that it is to make are not in them
 * yet.
 */
#include "net/link/capture.h"
#include "runtime/base/check.h"
#include "runtime/base/log.h"
#include "runtime/sched/shard.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BUFFER_BYTES (256u << 10)
#define FRAME_MAX    65535u /* longer frames are cut */

/* Block types and options (pcapng §4). */
#define BLOCK_SECTION    0x0a0d0d0au
#define BLOCK_INTERFACE  1u
#define BLOCK_PACKET     6u
#define BYTE_ORDER_MAGIC 0x1a2b3c4du
#define LINKTYPE_ETHER   1u
#define LINKTYPE_RAW     101u /* IP packets */
#define OPTION_END       0u
#define OPTION_USERAPPL  4u /* of the section */
#define OPTION_NAME      2u /* of the interface */
#define OPTION_MACADDR   6u
#define OPTION_TSRESOL   9u
#define OPTION_FLAGS     2u /* of the packet */
#define FLAGS_INBOUND    1u
#define FLAGS_OUTBOUND   2u

struct packet_block {
	uint32_t type;
	uint32_t bytes; /* of the whole block, here and again at its end */
	uint32_t interface;
	uint32_t time_high, time_low; /* ns since 1970 */
	uint32_t captured, original;
};

/* What follows a packet's bytes. */
struct packet_end {
	uint16_t flags_code, flags_bytes;
	uint32_t flags;
	uint32_t end;
	uint32_t bytes;
};

static_assert(sizeof(struct packet_block) == 28 && sizeof(struct packet_end) == 16,
	      "as on disk, without padding");
static_assert(BUFFER_BYTES >= 2 * (FRAME_MAX + 64), "a block fits into an empty buffer");

struct capture {
	struct apus_link link; /* first */
	struct apus_link *inner;
	struct apus_heap *memory;
	int fd;          /* < 0 once writing failed */
	int64_t wall_ns; /* wall time minus the shard's */
	size_t used;     /* of the buffer */
	uint8_t *buffer; /* BUFFER_BYTES */
	uint64_t counters[APUS_CAPTURE_COUNTER_COUNT];
	struct apus_metrics_block metrics;
};

static const char *const counter_names[] = {APUS_CAPTURE_COUNTERS(APUS_COUNTER_NAME)};

/* --- The file ------------------------------------------------------------------------------ */

/* Writes the buffer out. On an error the file is closed. Return: 0, -errno */
static int write_out(struct capture *c)
{
	size_t done = 0;
	int rc = 0;

	while (done < c->used && c->fd >= 0) {
		ssize_t n = write(c->fd, c->buffer + done, c->used - done);

		if (n >= 0) {
			done += (size_t)n;
		} else if (errno != EINTR) {
			rc = -errno;
			close(c->fd);
			c->fd = -1;
		}
	}
	c->used = 0;
	return rc;
}

/* The same, while running: on an error the capture ends, and the log says so, once. */
static void write_on(struct capture *c)
{
	int rc = write_out(c);

	if (rc)
		apus_log(ERROR, "capture: writing failed (%s), the file ends here", strerror(-rc));
}

static void put(struct capture *c, const void *bytes, size_t n)
{
	memcpy(c->buffer + c->used, bytes, n);
	c->used += n;
}

static void put_u32(struct capture *c, uint32_t value)
{
	put(c, &value, sizeof(value));
}

static void pad(struct capture *c)
{
	while (c->used % 4)
		c->buffer[c->used++] = 0;
}

static void put_option(struct capture *c, uint16_t code, const void *value, uint16_t bytes)
{
	put(c, &code, sizeof(code));
	put(c, &bytes, sizeof(bytes));
	put(c, value, bytes);
	pad(c);
}

static size_t begin_block(struct capture *c, uint32_t type)
{
	size_t start = c->used;

	put_u32(c, type);
	put_u32(c, 0); /* end_block() knows */
	return start;
}

static void end_block(struct capture *c, size_t start)
{
	uint32_t bytes;

	put_u32(c, OPTION_END);
	bytes = (uint32_t)(c->used - start) + 4;
	memcpy(c->buffer + start + 4, &bytes, sizeof(bytes));
	put_u32(c, bytes);
}

/* Section header and interface description. */
static void put_head(struct capture *c)
{
	const uint8_t nanoseconds = 9;
	const uint16_t version[] = {1, 0};
	const char *name = c->inner->type->name;
	size_t start = begin_block(c, BLOCK_SECTION);

	put_u32(c, BYTE_ORDER_MAGIC);
	put(c, version, sizeof(version));
	put_u32(c, UINT32_MAX); /* the section's length is not known: 64 bits of -1 */
	put_u32(c, UINT32_MAX);
	put_option(c, OPTION_USERAPPL, "apus", 4);
	end_block(c, start);

	start = begin_block(c, BLOCK_INTERFACE);
	put_u32(c, c->inner->is_l3 ? LINKTYPE_RAW
				   : LINKTYPE_ETHER); /* 16 bits, and 16 reserved ones */
	put_u32(c, FRAME_MAX);
	put_option(c, OPTION_NAME, name, (uint16_t)strlen(name));
	put_option(c, OPTION_MACADDR, c->inner->mac.addr_bytes, RTE_ETHER_ADDR_LEN);
	put_option(c, OPTION_TSRESOL, &nanoseconds, 1);
	end_block(c, start);
}

static void put_frame(struct capture *c, const struct rte_mbuf *m, uint32_t flags, int64_t now_ns)
{
	uint32_t bytes = apus_min(m->pkt_len, FRAME_MAX), left = bytes;
	uint32_t whole =
		sizeof(struct packet_block) + (bytes + 3) / 4 * 4 + sizeof(struct packet_end);
	uint64_t at_ns = (uint64_t)(now_ns + c->wall_ns);
	struct packet_block head = {
		.type = BLOCK_PACKET,
		.bytes = whole,
		.time_high = (uint32_t)(at_ns >> 32),
		.time_low = (uint32_t)at_ns,
		.captured = bytes,
		.original = m->pkt_len,
	};
	struct packet_end end = {
		.flags_code = OPTION_FLAGS,
		.flags_bytes = sizeof(flags),
		.flags = flags,
		.end = OPTION_END,
		.bytes = whole,
	};

	if (c->used + whole > BUFFER_BYTES)
		write_on(c);
	if (c->fd < 0) {
		c->counters[APUS_CAPTURE_DROP_ERROR]++;
		return;
	}
	put(c, &head, sizeof(head));
	for (; m && left; m = m->next) {
		uint32_t n = apus_min((uint32_t)m->data_len, left);

		put(c, rte_pktmbuf_mtod(m, const void *), n);
		left -= n;
	}
	pad(c);
	put(c, &end, sizeof(end));
	c->counters[APUS_CAPTURE_FRAMES]++;
}

/* --- The link ------------------------------------------------------------------------------ */

static uint16_t capture_rx(struct apus_link *link, struct rte_mbuf **frames, uint16_t n,
			   int64_t now_ns)
{
	struct capture *c = apus_container_of(link, struct capture, link);

	n = apus_link_rx(c->inner, frames, n, now_ns);
	for (uint16_t i = 0; i < n; i++)
		put_frame(c, frames[i], FLAGS_INBOUND, now_ns);
	apus_link_count(link, APUS_LINK_RX_FRAMES, frames, n);
	return n;
}

static void capture_tx(struct apus_link *link, struct rte_mbuf **frames, uint16_t n, int64_t now_ns)
{
	struct capture *c = apus_container_of(link, struct capture, link);

	for (uint16_t i = 0; i < n; i++)
		put_frame(c, frames[i], FLAGS_OUTBOUND, now_ns);
	apus_link_count(link, APUS_LINK_TX_FRAMES, frames, n);
	apus_link_tx(c->inner, frames, n, now_ns);
}

static int64_t capture_idle(struct apus_link *link, enum apus_idle what, int64_t now_ns)
{
	struct capture *c = apus_container_of(link, struct capture, link);

	if (what == APUS_IDLE_ARM && c->used)
		write_on(c);
	return apus_link_idle(c->inner, what, now_ns);
}

static void capture_close(struct apus_link *link)
{
	struct capture *c = apus_container_of(link, struct capture, link);

	write_on(c);
	if (c->fd >= 0 && close(c->fd))
		apus_log(ERROR, "capture: closing the file failed: %s", strerror(errno));
	apus_link_close(c->inner);
	apus_metrics_unregister(&c->metrics);
	apus_link_fini(link);
	apus_heap_free(c->memory, c->buffer);
	apus_heap_free(c->memory, c);
}

static const struct apus_link_type capture_type = {
	.name = "capture",
	.rx = capture_rx,
	.tx = capture_tx,
	.idle = capture_idle,
	.close = capture_close,
};

int apus_capture_open(struct apus_link *inner, const char *path, char *why, size_t why_bytes,
		      struct apus_link **out)
{
	struct apus_heap *memory = apus_shard_heap(apus_shard_self());
	struct capture *c = apus_heap_zalloc(memory, sizeof(*c));
	int rc = -ENOMEM;

	if (!c)
		goto err_inner;
	c->buffer = apus_heap_alloc(memory, BUFFER_BYTES);
	if (!c->buffer)
		goto err_capture;
	c->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (c->fd < 0) {
		rc = -errno;
		snprintf(why, why_bytes, "--pcap %s: the file cannot be written: %s", path,
			 strerror(errno));
		goto err_buffer;
	}
	c->memory = memory;
	c->inner = inner;
	c->wall_ns = apus_wall_now() - apus_now();
	put_head(c);
	rc = write_out(c); /* the disk is full? then say so now */
	if (rc)
		goto err_buffer;
	apus_link_wrap(&c->link, &capture_type, inner);
	apus_metrics_register(apus_shard_metrics(apus_shard_self()), &c->metrics, "capture",
			      counter_names, c->counters, APUS_CAPTURE_COUNTER_COUNT);
	*out = &c->link;
	return 0;

err_buffer:
	apus_heap_free(memory, c->buffer);
err_capture:
	apus_heap_free(memory, c);
err_inner:
	snprintf(why, why_bytes, "--pcap %s: the file cannot be written: %s", path, strerror(-rc));
	apus_link_close(inner);
	return rc;
}

uint64_t apus_capture_counter(const struct apus_link *link, enum apus_capture_counter counter)
{
	apus_must(link->type == &capture_type);
	return apus_container_of(link, const struct capture, link)->counters[counter];
}
