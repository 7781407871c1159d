/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/link/test_steer_bounds.c: how much may be on its way between shards (net/link/steer.c),
 * through which queue it leaves, and what becomes of it at the end.
 */
#include "tests/net/link/steer_test.h"

/* --- Bounds -------------------------------------------------------------------------------- */

static void what_a_shard_does_not_take_is_bounded_and_the_rest_dropped(void **state)
{
	open_board(2, 2);
	send_to(1, 0, 0, 2000);
	assert_gets_nothing(0);
	for (int i = 0; i < 10; i++) {
		turn(0);
		assert_gets_nothing(0);
	}
	assert_int_equal(counted(0, APUS_STEER_HANDED_OVER), IN_FLIGHT);
	assert_int_equal(counted(0, APUS_STEER_DROP_FULL), 2000 - IN_FLIGHT);
	assert_int_equal(rte_mempool_in_use_count(b.pool), IN_FLIGHT);
	settle();
	assert_gets(1, 0, IN_FLIGHT); /* the oldest, and all of them */
	settle();
	send_to(1, 0, 5000, 100); /* and it goes on */
	assert_gets_nothing(0);
	settle();
	assert_gets(1, 5000, 100);
	assert_int_equal(counted(0, APUS_STEER_DROP_FULL), 2000 - IN_FLIGHT);
}

/* A third one gets its frames meanwhile, and the sender its own. */
static void shard_that_does_not_turn_stops_nobody_else(void **state)
{
	open_board(3, 3);
	send_to(1, 0, 0, 2000);
	send_to(2, 0, 3000, 50);
	send_to(0, 0, 4000, 50);
	assert_gets(0, 4000, 50);
	turn(0);
	turn(2);
	assert_gets(2, 3000, 50);
	assert_int_equal(counted(0, APUS_STEER_DROP_FULL), 2000 - IN_FLIGHT);
}

/* Frames gather while messages are on their way, and none waits when none is. */
static void single_frames_gather_behind_four_messages(void **state)
{
	open_board(2, 2);
	for (uint32_t i = 0; i < 14; i++) {
		send_to(1, 0, i, 1);
		assert_gets_nothing(0);
	}
	assert_int_equal(counted(0, APUS_STEER_MESSAGES_SENT), 4);
	turn(0);
	turn(1);
	assert_gets(1, 0, 4);
	turn(1);
	turn(0); /* one comes back: the gathered go */
	assert_int_equal(counted(0, APUS_STEER_MESSAGES_SENT), 5);
	settle();
	assert_gets(1, 4, 10);
}

/* Neither the device nor the others can keep the other's frames waiting. */
static void device_and_other_shards_are_heard_by_turns(void **state)
{
	struct rte_mbuf *frames[APUS_LINK_BURST_MAX];
	unsigned int from_device = 0, handed = 0;

	open_board(2, 2);
	send_to(0, 1, 1000, 200);
	assert_gets_nothing(1);
	settle();
	send_to(0, 0, 0, 200);
	apus_shard_enter(b.shards[0]);
	for (int i = 0; i < 4; i++) {
		uint16_t got = apus_link_rx(b.links[0], frames, APUS_LINK_BURST_MAX, now());

		assert_int_equal(got, APUS_LINK_BURST_MAX);
		for (uint16_t k = 0; k < got; k++) {
			if (number_of(frames[k]) < 1000)
				from_device++;
			else
				handed++;
			rte_pktmbuf_free(frames[k]);
		}
	}
	assert_int_equal(from_device, 2 * APUS_LINK_BURST_MAX);
	assert_int_equal(handed, 2 * APUS_LINK_BURST_MAX);
}

/* --- Queues -------------------------------------------------------------------------------- */

static void send_out(unsigned int shard, uint32_t first, unsigned int count)
{
	apus_shard_enter(b.shards[shard]);
	for (unsigned int i = 0; i < count; i++) {
		struct flow f = random_flow(IPPROTO_TCP);
		struct rte_mbuf *m = frame_of(&f, first + i);

		apus_link_tx(b.links[shard], &m, 1, now());
	}
}

static void shard_without_a_queue_sends_through_another(void **state)
{
	open_board(5, 2);
	send_out(4, 0, 20);
	send_out(3, 100, 20);
	send_out(1, 200, 1);
	settle();
	settle();
	assert_int_equal(b.devices[0].tx_count, 20);
	assert_int_equal(b.devices[1].tx_count, 21);
	for (uint32_t i = 0; i < 20; i++) {
		assert_int_equal(number_of(b.devices[0].tx[i]), i);
		assert_int_equal(number_of(b.devices[1].tx[1 + i]), 100 + i);
	}
	for (unsigned int i = 2; i < 5; i++)
		assert_int_equal(b.devices[i].tx_count, 0);
	assert_int_equal(counted(4, APUS_STEER_TX_HANDED_OVER), 20);
	assert_int_equal(counted(0, APUS_STEER_TX_TAKEN), 20);
	assert_int_equal(counted(1, APUS_STEER_TX_HANDED_OVER), 0);
}

static void what_a_sender_does_not_take_is_bounded_and_the_rest_dropped(void **state)
{
	open_board(2, 1);
	send_out(1, 0, 2000);
	/* Four messages of one frame, the others full. */
	assert_int_equal(counted(1, APUS_STEER_TX_HANDED_OVER),
			 4 + (APUS_STEER_MESSAGES - 4) * APUS_LINK_BURST_MAX);
	assert_int_equal(
		counted(1, APUS_STEER_TX_DROP_FULL) + counted(1, APUS_STEER_TX_HANDED_OVER), 2000);
	assert_int_equal(rte_mempool_in_use_count(b.pool), counted(1, APUS_STEER_TX_HANDED_OVER));
	settle();
	assert_int_equal(b.devices[0].tx_count, counted(1, APUS_STEER_TX_HANDED_OVER));
}

/* A card that goes by the rule, with any number of queues, leaves nothing to hand over. */
static void card_that_follows_the_rule_needs_no_hand_over(void **state)
{
	for (unsigned int shards = 1; shards <= 4; shards++) {
		for (unsigned int queues = shards; queues <= 9; queues++) {
			unsigned int came = 0;

			open_board(shards, queues);
			for (uint32_t i = 0; i < 300; i++) {
				struct flow f = random_flow(IPPROTO_TCP);
				uint32_t entry = hash_of(&f) & (b.rss.entries - 1u);

				arrives(b.rss.queue[entry] % shards, frame_of(&f, i));
			}
			for (unsigned int i = 0; i < shards; i++)
				came += poll(i, (uint32_t[300]){0}, 300);
			assert_int_equal(came, 300);
			assert_int_equal(counted_by_all(APUS_STEER_HANDED_OVER), 0);
			close_board();
		}
	}
}

/* --- News ---------------------------------------------------------------------------------- */

static struct {
	char last[SHARDS_MAX][APUS_STEER_NEWS_BYTES];
	unsigned int count[SHARDS_MAX];
} heard;

static void hear(void *arg, const void *news, size_t bytes)
{
	unsigned int self = (unsigned int)(uintptr_t)arg;

	assert_int_equal(self, apus_shard_index());
	memcpy(heard.last[self], news, bytes);
	heard.count[self]++;
}

static void listen_to_news(void)
{
	memset(&heard, 0, sizeof(heard));
	for (unsigned int i = 0; i < b.count; i++)
		apus_steer_on_news(b.links[i], hear, (void *)(uintptr_t)i);
}

static void tell(unsigned int shard, const char *what, bool important)
{
	apus_shard_enter(b.shards[shard]);
	apus_steer_tell(b.links[shard], what, strlen(what) + 1, important);
}

static void news_reach_all_others_and_not_who_told(void **state)
{
	open_board(4, 4);
	listen_to_news();
	tell(2, "10.0.0.9 is at 02::9", false);
	settle();
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(heard.count[i], i != 2);
	assert_string_equal(heard.last[3], "10.0.0.9 is at 02::9");
	assert_int_equal(counted(2, APUS_STEER_NEWS_OUT), 3);
	assert_int_equal(counted_by_all(APUS_STEER_NEWS_IN), 3);
	apus_steer_on_news(b.links[3], NULL, NULL);
	tell(2, "to who does not listen", true);
	settle();
	assert_int_equal(heard.count[3], 1);
}

/* Of eight messages half are for what is important. */
static void news_to_a_shard_that_does_not_turn_are_bounded(void **state)
{
	open_board(2, 2);
	listen_to_news();
	for (int i = 0; i < 10; i++)
		tell(0, "gossip", false);
	assert_int_equal(counted(0, APUS_STEER_NEWS_OUT), APUS_STEER_NEWS / 2);
	for (int i = 0; i < 10; i++)
		tell(0, "a neighbour has moved", true);
	assert_int_equal(counted(0, APUS_STEER_NEWS_OUT), APUS_STEER_NEWS);
	assert_int_equal(counted(0, APUS_STEER_NEWS_DROPPED), 20 - APUS_STEER_NEWS);
	settle();
	assert_int_equal(heard.count[1], APUS_STEER_NEWS);
	assert_string_equal(heard.last[1], "a neighbour has moved");
	tell(0, "gossip", false);
	settle();
	assert_int_equal(heard.count[1], APUS_STEER_NEWS + 1);
}

/* --- Idle and the end ---------------------------------------------------------------------- */

static int64_t idle(unsigned int shard)
{
	apus_shard_enter(b.shards[shard]);
	return apus_link_idle(b.links[shard], APUS_IDLE_ARM, now());
}

static void shard_with_frames_handed_to_it_does_not_sleep(void **state)
{
	open_board(2, 2);
	b.devices[1].idle_ns = START_NS + APUS_SEC;
	assert_int_equal(idle(1), START_NS + APUS_SEC);
	assert_int_equal(b.devices[1].idle_last, APUS_IDLE_ARM);
	send_to(1, 0, 0, 1);
	assert_gets_nothing(0);
	settle();
	assert_int_equal(idle(1), now());
	assert_gets(1, 0, 1);
	assert_int_equal(idle(1), START_NS + APUS_SEC);
}

static void shard_with_frames_to_hand_over_looks_again_soon(void **state)
{
	open_board(2, 2);
	assert_true(idle(0) == APUS_NEVER);
	for (uint32_t i = 0; i < 5; i++) { /* the fifth waits for one to come back */
		send_to(1, 0, i, 1);
		assert_gets_nothing(0);
	}
	assert_in_range(idle(0) - now(), 1, 50 * APUS_US);
	assert_gets_all(1, 0, 5);
	assert_true(idle(0) == APUS_NEVER);
}

static void frames_for_a_link_that_is_closed_are_freed_and_the_message_comes_back(void **state)
{
	open_board(2, 2);
	close_link(1);
	for (int lap = 0; lap < 4; lap++) {
		send_to(1, 0, 0, 500);
		assert_gets_nothing(0);
		settle();
	}
	assert_int_equal(counted(0, APUS_STEER_HANDED_OVER), 2000);
	assert_int_equal(counted(0, APUS_STEER_DROP_FULL), 0);
	assert_int_equal(rte_mempool_in_use_count(b.pool), 0);
}

static void frames_are_dropped_by_name_once_the_fabric_is_gone(void **state)
{
	open_board(2, 1);
	part();
	send_to(1, 0, 0, 40);
	assert_gets_nothing(0);
	send_out(1, 0, 1);
	assert_int_equal(counted(0, APUS_STEER_DROP_CLOSED), 40);
	assert_int_equal(counted(1, APUS_STEER_TX_DROP_CLOSED), 1);
	tell(0, "nobody hears it", true);
	assert_int_equal(counted(0, APUS_STEER_NEWS_DROPPED), 1);
}

static void frames_that_were_handed_over_are_freed_with_the_link_they_wait_in(void **state)
{
	open_board(2, 2);
	send_to(1, 0, 0, 100);
	assert_gets_nothing(0);
	settle();
	assert_int_equal(rte_mempool_in_use_count(b.pool), 100);
	close_link(1);
	assert_int_equal(rte_mempool_in_use_count(b.pool), 0);
}

/* In the inbox, in the ring, in a message that is open, in the device: see close_board(). */
static void nothing_is_left_wherever_frames_are_when_all_closes(void **state)
{
	open_board(3, 1);
	send_to(1, 0, 0, 100);
	assert_gets_nothing(0);
	settle();
	send_to(1, 0, 0, 100);
	send_to(2, 0, 0, 7);
	assert_gets_nothing(0);
	send_to(2, 0, 0, 7);
	send_out(2, 0, 50);
	tell(1, "news", true);
	assert_true(rte_mempool_in_use_count(b.pool) > 200);
	close_board();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, board_setup, board_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(what_a_shard_does_not_take_is_bounded_and_the_rest_dropped),
		TEST(shard_that_does_not_turn_stops_nobody_else),
		TEST(single_frames_gather_behind_four_messages),
		TEST(device_and_other_shards_are_heard_by_turns),
		TEST(shard_without_a_queue_sends_through_another),
		TEST(what_a_sender_does_not_take_is_bounded_and_the_rest_dropped),
		TEST(card_that_follows_the_rule_needs_no_hand_over),
		TEST(news_reach_all_others_and_not_who_told),
		TEST(news_to_a_shard_that_does_not_turn_are_bounded),
		TEST(shard_with_frames_handed_to_it_does_not_sleep),
		TEST(shard_with_frames_to_hand_over_looks_again_soon),
		TEST(frames_for_a_link_that_is_closed_are_freed_and_the_message_comes_back),
		TEST(frames_are_dropped_by_name_once_the_fabric_is_gone),
		TEST(frames_that_were_handed_over_are_freed_with_the_link_they_wait_in),
		TEST(nothing_is_left_wherever_frames_are_when_all_closes),
	};

	return test_main(argc, argv, tests);
}
