/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/tcp/test_demux.c: the table of four-tuples against a plain array.
 */
#include "tests/runtime/base_test.h"

#include "net/tcp/demux.h"

#define LIMIT 3000

struct entry {
	struct apus_tcp_key key;
	bool is_in;
	enum apus_tcp_kind kind;
} APUS_ALIGNED(8);

static struct apus_heap heap;
static struct apus_tcp_demux demux;
static struct entry entries[LIMIT];

/* Entry i's key: few addresses and ports, so that keys differ in one field from many others. */
static struct apus_tcp_key key_of(uint32_t i)
{
	return (struct apus_tcp_key){
		.local = apus_addr_v4(1 + i % 3),
		.remote = apus_addr_v4(1 + i / 3 % 5),
		.local_port = (uint16_t)(i / 15 % 11),
		.remote_port = (uint16_t)(i / 165),
	};
}

static int setup(void **state)
{
	struct apus_random random;

	apus_random_init_seed(&random, 1);
	if (apus_heap_init(&heap))
		return -1;
	for (uint32_t i = 0; i < LIMIT; i++)
		entries[i] = (struct entry){.key = key_of(i)};
	return apus_tcp_demux_init(&demux, &heap, &random, LIMIT);
}

static int teardown(void **state)
{
	uint64_t live;

	apus_heap_fail_after(&heap, -1);
	for (uint32_t i = 0; i < LIMIT; i++) {
		if (entries[i].is_in)
			apus_tcp_demux_remove(&demux, &entries[i]);
	}
	apus_tcp_demux_fini(&demux);
	live = heap.live;
	apus_heap_fini(&heap);
	return live ? -1 : 0;
}

static int insert(uint32_t i, enum apus_tcp_kind kind)
{
	int rc = apus_tcp_demux_insert(&demux, kind, &entries[i]);

	entries[i].is_in = !rc;
	entries[i].kind = kind;
	return rc;
}

static void take_out(uint32_t i)
{
	apus_tcp_demux_remove(&demux, &entries[i]);
	entries[i].is_in = false;
}

/* The connection that a packet with @key belongs to. */
static void *connection_of(const struct apus_tcp_key *key)
{
	uint8_t tuple[12] = {[8] = (uint8_t)(key->remote_port >> 8),
			     (uint8_t)key->remote_port,
			     (uint8_t)(key->local_port >> 8),
			     (uint8_t)key->local_port};
	struct apus_tcp_sought sought;

	memcpy(tuple, &key->remote.u8[12], 4);
	memcpy(tuple + 4, &key->local.u8[12], 4);
	apus_tcp_demux_seek(&demux, tuple, &sought);
	return apus_tcp_demux_connection(&demux, &sought);
}

static void assert_found(uint32_t i)
{
	struct apus_tcp_key key = key_of(i);
	struct apus_tcp_found found = apus_tcp_demux_find(&demux, &key);

	assert_ptr_equal(connection_of(&key),
			 entries[i].is_in && entries[i].kind == APUS_TCP_KIND_CONNECTION
				 ? &entries[i]
				 : NULL);
	if (entries[i].is_in) {
		assert_ptr_equal(found.entry, &entries[i]);
		assert_int_equal(found.kind, entries[i].kind);
	} else {
		assert_null(found.entry);
		assert_int_equal(found.kind, APUS_TCP_KIND_NONE);
	}
}

static void entry_is_found_by_its_key_with_its_kind(void **state)
{
	assert_int_equal(insert(7, APUS_TCP_KIND_REQUEST), 0);
	assert_found(7);
}

static void key_that_differs_in_one_field_is_not_found(void **state)
{
	insert(0, APUS_TCP_KIND_CONNECTION);
	assert_found(1);   /* local address */
	assert_found(3);   /* remote address */
	assert_found(15);  /* local port */
	assert_found(165); /* remote port */
}

static void ports_swapped_are_another_key(void **state)
{
	struct apus_tcp_key swapped = key_of(15);

	insert(15, APUS_TCP_KIND_CONNECTION);
	swapped.local_port = entries[15].key.remote_port;
	swapped.remote_port = entries[15].key.local_port;
	assert_null(apus_tcp_demux_find(&demux, &swapped).entry);
	assert_null(connection_of(&swapped));
}

static void ipv6_connection_is_not_found_by_an_ipv4_packet(void **state)
{
	memset(demux.secret, 0, sizeof(demux.secret)); /* then all hashes are 0 */
	entries[7].key.remote.u8[0] = 0x20;
	assert_int_equal(insert(7, APUS_TCP_KIND_CONNECTION), 0);
	assert_ptr_equal(apus_tcp_demux_find(&demux, &entries[7].key).entry, &entries[7]);
	assert_null(connection_of(&entries[7].key));
}

static void replaced_entry_gives_way_to_one_with_its_key(void **state)
{
	static struct entry other;

	insert(7, APUS_TCP_KIND_REQUEST);
	other.key = key_of(7);
	apus_tcp_demux_replace(&demux, APUS_TCP_KIND_CONNECTION, &other);
	assert_ptr_equal(apus_tcp_demux_find(&demux, &other.key).entry, &other);
	assert_int_equal(demux.used, 1);
	apus_tcp_demux_remove(&demux, &other);
	entries[7].is_in = false;
}

static void full_table_refuses_one_more(void **state)
{
	static struct entry more;

	for (uint32_t i = 0; i < LIMIT; i++)
		assert_int_equal(insert(i, APUS_TCP_KIND_CONNECTION), 0);
	more.key = key_of(LIMIT);
	assert_int_equal(apus_tcp_demux_insert(&demux, APUS_TCP_KIND_CONNECTION, &more), -ENOMEM);
	apus_tcp_demux_check(&demux);
}

static void growth_without_memory_keeps_what_is_there(void **state)
{
	uint32_t i = 0;

	apus_heap_fail_after(&heap, 0);
	while (i < LIMIT && !insert(i, APUS_TCP_KIND_CONNECTION))
		i++;
	assert_in_range(i, 32, demux.mask); /* until it is full but for one slot */
	apus_tcp_demux_check(&demux);
	for (uint32_t j = 0; j < LIMIT; j++)
		assert_found(j);
	apus_heap_fail_after(&heap, -1);
	assert_int_equal(insert(i, APUS_TCP_KIND_CONNECTION), 0); /* with memory it goes on */
	apus_tcp_demux_check(&demux);
}

static void cursor_empties_the_table_and_misses_none(void **state)
{
	struct apus_tcp_found found;
	uint32_t cursor = 0, count = 0;

	for (uint32_t i = 0; i < 1000; i++)
		insert(i, APUS_TCP_KIND_TIME_WAIT);
	while ((found = apus_tcp_demux_next(&demux, &cursor)).entry) {
		take_out((uint32_t)((struct entry *)found.entry - entries));
		count++;
	}
	assert_int_equal(count, 1000);
	assert_int_equal(demux.used, 0);
}

static void table_behaves_as_a_list(void **state)
{
	test_each_seed(seed, 20)
	{
		uint64_t chance = seed;

		for (uint32_t step = 0; step < 5000; step++) {
			uint32_t i = (uint32_t)(test_random(&chance) % 600);

			if (entries[i].is_in)
				take_out(i);
			else
				assert_int_equal(insert(i, 1 + (enum apus_tcp_kind)(i % 3)), 0);
			assert_found((uint32_t)(test_random(&chance) % 600));
			if (step % 100 == 0)
				apus_tcp_demux_check(&demux);
		}
		for (uint32_t i = 0; i < 600; i++)
			assert_found(i);
	}
}

static void probes_stay_short_for_keys_in_a_row(void **state)
{
	uint64_t distance = 0;

	for (uint32_t i = 0; i < LIMIT; i++)
		insert(i, APUS_TCP_KIND_CONNECTION);
	for (uint32_t i = 0; i <= demux.mask; i++) {
		if (demux.slots[i].tagged)
			distance += (i - (uint32_t)demux.slots[i].print) & demux.mask;
	}
	/* Linear probing at a load of at most 1/2: half a slot in the mean, if the hash is good. */
	assert_in_range(distance, 0, LIMIT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(entry_is_found_by_its_key_with_its_kind),
		TEST(key_that_differs_in_one_field_is_not_found),
		TEST(ports_swapped_are_another_key),
		TEST(ipv6_connection_is_not_found_by_an_ipv4_packet),
		TEST(replaced_entry_gives_way_to_one_with_its_key),
		TEST(full_table_refuses_one_more),
		TEST(growth_without_memory_keeps_what_is_there),
		TEST(cursor_empties_the_table_and_misses_none),
		TEST(table_behaves_as_a_list),
		TEST(probes_stay_short_for_keys_in_a_row),
	};

	return test_main(argc, argv, tests);
}
