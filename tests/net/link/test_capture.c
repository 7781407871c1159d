/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/link/test_capture.c: the pcapng file (net/link/capture.c), read back block by block.
 */
#include "net/link/capture.h"
#include "tests/net/link/link_test.h"

#include <sys/resource.h>
#include <unistd.h>

#define BLOCKS_MAX 1000

/* A packet as the file has it. */
struct packet {
	int64_t at_ns;
	uint32_t captured, original, flags;
	const uint8_t *bytes;
};

/* A file that was read back. */
struct file {
	uint8_t data[1 << 20];
	size_t bytes;
	uint32_t sections, interfaces, packets;
	struct packet packet[BLOCKS_MAX];
};

static struct file file;
static char path[64];

static uint32_t u32_at(const uint8_t *p)
{
	uint32_t value;

	memcpy(&value, p, sizeof(value));
	return value;
}

/* The value of an option, which must be there; the options begin at @p and end before @end. */
static const uint8_t *option_at(const uint8_t *p, const uint8_t *end, uint16_t want)
{
	while (p < end) {
		uint32_t head = u32_at(p);

		assert_int_not_equal(head & 0xffff, 0); /* the end came first */
		if ((head & 0xffff) == want)
			return p + 4;
		p += 4 + ((head >> 16) + 3) / 4 * 4;
	}
	fail_msg("option %u is not there", want);
	return NULL;
}

static void read_packet(const uint8_t *block, uint32_t bytes)
{
	struct packet *p = &file.packet[file.packets++];

	assert_true(file.packets <= BLOCKS_MAX);
	assert_int_equal(u32_at(block + 8), 0); /* the only interface */
	p->at_ns = (int64_t)((uint64_t)u32_at(block + 12) << 32 | u32_at(block + 16));
	p->captured = u32_at(block + 20);
	p->original = u32_at(block + 24);
	p->bytes = block + 28;
	p->flags = u32_at(option_at(block + 28 + (p->captured + 3) / 4 * 4, block + bytes - 4, 2));
}

/* Reads the file, and checks what every reader relies on. */
static void read_file(void)
{
	FILE *in = fopen(path, "r");

	assert_non_null(in);
	memset(&file, 0, offsetof(struct file, packet));
	file.bytes = fread(file.data, 1, sizeof(file.data), in);
	fclose(in);
	for (size_t at = 0; at < file.bytes;) {
		const uint8_t *block = file.data + at;
		uint32_t bytes = u32_at(block + 4);

		assert_true(bytes >= 12 && bytes % 4 == 0 && at + bytes <= file.bytes);
		assert_int_equal(u32_at(block + bytes - 4), bytes);
		switch (u32_at(block)) {
		case 0x0a0d0d0a:
			assert_int_equal(u32_at(block + 8), 0x1a2b3c4d);
			file.sections++;
			break;
		case 1:
			assert_int_equal(u32_at(block + 8) & 0xffff, 1); /* Ethernet */
			assert_int_equal(*option_at(block + 16, block + bytes - 4, 9), 9); /* ns */
			file.interfaces++;
			break;
		case 6:
			read_packet(block, bytes);
			break;
		default:
			fail_msg("block type %u", u32_at(block));
		}
		at += bytes;
	}
	assert_int_equal(file.sections, 1);
	assert_int_equal(file.interfaces, 1);
}

static void open_capture(struct fixture *f)
{
	char why[256];
	int fd;

	strcpy(path, "/tmp/apus-test-capture-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(apus_capture_open(&f->fake.link, path, why, sizeof(why), &f->link), 0);
}

static void close_capture(struct fixture *f)
{
	apus_link_close(f->link);
	f->link = NULL;
}

static int capture_teardown(void **state)
{
	int rc = fixture_close(state);

	unlink(path);
	return rc;
}

static void both_directions_are_written_with_time_and_bytes(void **state)
{
	struct fixture *f = *state;
	int64_t wall_ns = apus_clock_wall_ns(&f->clock, START_NS);

	open_capture(f);
	send_one(f, frame_new(f, 0x11, 61), START_NS);
	arrive(f, frame_new(f, 0x22, 1514));
	assert_int_equal(receive_one(f, START_NS + 1234567891), 0x22);
	close_capture(f);

	read_file();
	assert_int_equal(file.packets, 2);
	assert_int_equal(file.packet[0].at_ns, wall_ns);
	assert_int_equal(file.packet[0].captured, 61);
	assert_int_equal(file.packet[0].original, 61);
	assert_int_equal(file.packet[0].flags, 2); /* outbound */
	assert_int_equal(file.packet[0].bytes[60], 0x11);
	assert_int_equal(file.packet[1].at_ns, wall_ns + 1234567891);
	assert_int_equal(file.packet[1].captured, 1514);
	assert_int_equal(file.packet[1].flags, 1); /* inbound */
	assert_int_equal(file.packet[1].bytes[1513], 0x22);
}

static void frame_of_several_segments_is_written_as_one(void **state)
{
	struct fixture *f = *state;
	struct rte_mbuf *m = frame_new(f, 1, 100), *tail = frame_new(f, 2, 57);

	assert_int_equal(rte_pktmbuf_chain(m, tail), 0);
	open_capture(f);
	send_one(f, m, START_NS);
	assert_int_equal(f->fake.tx_count, 1); /* and goes on as it was */
	assert_int_equal(f->fake.tx[0]->nb_segs, 2);
	close_capture(f);

	read_file();
	assert_int_equal(file.packets, 1);
	assert_int_equal(file.packet[0].captured, 157);
	assert_int_equal(file.packet[0].bytes[99], 1);
	assert_int_equal(file.packet[0].bytes[156], 2);
}

static void full_buffer_is_written_and_none_is_lost(void **state)
{
	struct fixture *f = *state;

	open_capture(f);
	for (uint32_t i = 0; i < 500; i++) /* 700 KiB, through a buffer of 256 */
		send_one(f, frame_new(f, i, 1400), START_NS + i);
	assert_int_equal(apus_capture_counter(f->link, APUS_CAPTURE_FRAMES), 500);
	close_capture(f);
	read_file();
	assert_int_equal(file.packets, 500);
	for (uint32_t i = 0; i < 500; i++)
		assert_int_equal(u32_at(file.packet[i].bytes + RTE_ETHER_HDR_LEN), i);
}

static void going_to_sleep_writes_what_was_gathered(void **state)
{
	struct fixture *f = *state;

	f->fake.idle_ns = START_NS + 5;
	open_capture(f);
	send_one(f, frame_new(f, 1, 60), START_NS);
	read_file();
	assert_int_equal(file.packets, 0);
	assert_int_equal(apus_link_idle(f->link, APUS_IDLE_ASK, START_NS), START_NS + 5);
	assert_int_equal(apus_link_idle(f->link, APUS_IDLE_ARM, START_NS), START_NS + 5);
	read_file();
	assert_int_equal(file.packets, 1);
}

static void same_run_gives_the_same_file(void **state)
{
	struct fixture *f = *state;
	static uint8_t first[4096];
	size_t bytes;

	for (int run = 0; run < 2; run++) {
		open_capture(f);
		send_one(f, frame_new(f, 1, 60), START_NS);
		close_capture(f);
		read_file();
		unlink(path);
		if (run == 0) {
			bytes = file.bytes;
			assert_true(bytes <= sizeof(first));
			memcpy(first, file.data, bytes);
			fake_open(f);
			continue;
		}
		assert_int_equal(file.bytes, bytes);
		assert_memory_equal(file.data, first, bytes);
	}
}

static void properties_and_counters_are_those_of_a_link(void **state)
{
	struct fixture *f = *state;

	open_capture(f);
	assert_int_equal(f->link->tx_offloads, f->fake.link.tx_offloads);
	assert_ptr_equal(f->link->pool, f->pool);
	send_one(f, frame_new(f, 1, 60), START_NS);
	assert_int_equal(f->link->counters[APUS_LINK_TX_FRAMES], 1);
	assert_int_equal(f->link->counters[APUS_LINK_TX_BYTES], 60);
}

static void file_that_can_not_be_made_is_said(void **state)
{
	struct fixture *f = *state;
	char why[256] = "";

	assert_int_equal(
		apus_capture_open(&f->fake.link, "/no/such/folder/x", why, sizeof(why), &f->link),
		-ENOENT);
	assert_non_null(strstr(why, "/no/such/folder/x"));
	assert_true(f->fake.closed);
}

static void full_disk_is_said_at_once(void **state)
{
	struct fixture *f = *state;
	char why[256] = "";

	assert_int_equal(apus_capture_open(&f->fake.link, "/dev/full", why, sizeof(why), &f->link),
			 -ENOSPC);
	assert_non_null(strstr(why, "/dev/full"));
	assert_true(f->fake.closed);
}

static void disk_that_fills_up_ends_the_file_not_the_traffic(void **state)
{
	struct fixture *f = *state;
	static struct test_capture said;
	struct rlimit before, limit;

	open_capture(f);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	limit = before;
	limit.rlim_cur = 300000;
	test_capture_begin(&said);
	(void)!setrlimit(RLIMIT_FSIZE, &limit);
	for (uint32_t i = 0; i < 1000; i++)
		send_one(f, frame_new(f, i, 1400), START_NS + i);
	(void)!setrlimit(RLIMIT_FSIZE, &before);
	test_capture_end(&said);
	assert_int_equal(test_count(said.text, "capture: writing failed"), 1);
	assert_int_equal(f->fake.tx_count, 1000);
	assert_true(apus_capture_counter(f->link, APUS_CAPTURE_DROP_ERROR) > 100);
}

int main(int argc, char **argv)
{
#define test_with_file(name) cmocka_unit_test_setup_teardown(name, fixture_open, capture_teardown)
	const struct CMUnitTest tests[] = {
		test_with_file(both_directions_are_written_with_time_and_bytes),
		test_with_file(frame_of_several_segments_is_written_as_one),
		test_with_file(full_buffer_is_written_and_none_is_lost),
		test_with_file(going_to_sleep_writes_what_was_gathered),
		test_with_file(same_run_gives_the_same_file),
		test_with_file(properties_and_counters_are_those_of_a_link),
		test_with_file(file_that_can_not_be_made_is_said),
		test_with_file(full_disk_is_said_at_once),
		test_with_file(disk_that_fills_up_ends_the_file_not_the_traffic),
	};

	return test_main(argc, argv, tests);
}
