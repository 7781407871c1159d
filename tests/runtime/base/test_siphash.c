/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/base/test_siphash.c: SipHash-2-4 against the vectors that its authors publish
 * (Aumasson, Bernstein: key 00..0f, messages 00..n-1 for n = 0..63; n = 15 is the paper's appendix).
 */
#include "tests/runtime/base_test.h"

#include "runtime/base/siphash.h"

static const struct apus_siphash_key paper_key = {
	{UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)},
};

static const uint64_t vectors[64] = {
	0x726fdb47dd0e0e31, 0x74f839c593dc67fd, 0x0d6c8009d9a94f5a, 0x85676696d7fb7e2d,
	0xcf2794e0277187b7, 0x18765564cd99a68d, 0xcbc9466e58fee3ce, 0xab0200f58b01d137,
	0x93f5f5799a932462, 0x9e0082df0ba9e4b0, 0x7a5dbbc594ddb9f3, 0xf4b32f46226bada7,
	0x751e8fbc860ee5fb, 0x14ea5627c0843d90, 0xf723ca908e7af2ee, 0xa129ca6149be45e5,
	0x3f2acc7f57c29bdb, 0x699ae9f52cbe4794, 0x4bc1b3f0968dd39c, 0xbb6dc91da77961bd,
	0xbed65cf21aa2ee98, 0xd0f2cbb02e3b67c7, 0x93536795e3a33e88, 0xa80c038ccd5ccec8,
	0xb8ad50c6f649af94, 0xbce192de8a85b8ea, 0x17d835b85bbb15f3, 0x2f2e6163076bcfad,
	0xde4daaaca71dc9a5, 0xa6a2506687956571, 0xad87a3535c49ef28, 0x32d892fad841c342,
	0x7127512f72f27cce, 0xa7f32346f95978e3, 0x12e0b01abb051238, 0x15e034d40fa197ae,
	0x314dffbe0815a3b4, 0x027990f029623981, 0xcadcd4e59ef40c4d, 0x9abfd8766a33735c,
	0x0e3ea96b5304a7d0, 0xad0c42d6fc585992, 0x187306c89bc215a9, 0xd4a60abcf3792b95,
	0xf935451de4f21df2, 0xa9538f0419755787, 0xdb9acddff56ca510, 0xd06c98cd5c0975eb,
	0xe612a3cb9ecba951, 0xc766e62cfcadaf96, 0xee64435a9752fe72, 0xa192d576b245165a,
	0x0a8787bf8ecb74b2, 0x81b3e73d20b49b6f, 0x7fa8220ba3b2ecea, 0x245731c13ca42499,
	0xb78dbfaf3a8d83bd, 0xea1ad565322a1a0b, 0x60e61c23a3795013, 0x6606d7e446282b93,
	0x6ca4ecb15c5f91e1, 0x9f626da15c9625f3, 0xe51b38608ef25f57, 0x958a324ceb064572,
};

static void each_length_to_63_matches_the_authors_vector(void **state)
{
	uint8_t message[64];

	for (size_t i = 0; i < sizeof(message); i++)
		message[i] = (uint8_t)i;
	for (size_t n = 0; n < 64; n++)
		assert_int_equal(apus_siphash(&paper_key, message, n), vectors[n]);
}

static void message_at_any_alignment_gives_the_same_hash(void **state)
{
	uint8_t buf[64 + 8];

	for (size_t shift = 0; shift < 8; shift++) {
		for (size_t i = 0; i < 63; i++)
			buf[shift + i] = (uint8_t)i;
		for (size_t n = 0; n < 64; n++)
			assert_int_equal(apus_siphash(&paper_key, buf + shift, n), vectors[n]);
	}
}

static void bytes_after_the_message_do_not_matter(void **state)
{
	uint8_t message[64];

	for (size_t i = 0; i < sizeof(message); i++)
		message[i] = (uint8_t)i;
	for (size_t n = 0; n < 64; n++) {
		/* Of exactly n bytes, so that ASan sees a read beyond them. */
		uint8_t *exact = malloc(n ? n : 1);

		assert_non_null(exact);
		memcpy(exact, message, n);
		assert_int_equal(apus_siphash(&paper_key, exact, n), vectors[n]);
		free(exact);
	}
}

/* Every bit of key and message moves about half of the bits of the hash. */
static void one_bit_of_key_or_message_changes_half_of_the_hash(void **state)
{
	uint64_t chance = 1, moved = 0, trials = 0;

	for (int round = 0; round < 200; round++) {
		struct apus_siphash_key key = {{test_random(&chance), test_random(&chance)}};
		uint64_t message[2] = {test_random(&chance), test_random(&chance)};
		uint64_t before = apus_siphash(&key, message, sizeof(message));

		for (unsigned int bit = 0; bit < 256; bit++) {
			uint64_t *word = bit < 128 ? &key.k[bit / 64] : &message[bit / 64 - 2];
			uint64_t flip = UINT64_C(1) << (bit % 64), difference;

			*word ^= flip;
			difference = before ^ apus_siphash(&key, message, sizeof(message));
			*word ^= flip;
			assert_int_not_equal(difference, 0);
			moved += (uint64_t)__builtin_popcountll(difference);
			trials++;
		}
	}
	/* Mean 32, standard deviation 4 / sqrt(51200) = 0.018. */
	assert_in_range(moved * 1000 / trials, 31900, 32100);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_length_to_63_matches_the_authors_vector),
		cmocka_unit_test(message_at_any_alignment_gives_the_same_hash),
		cmocka_unit_test(bytes_after_the_message_do_not_matter),
		cmocka_unit_test(one_bit_of_key_or_message_changes_half_of_the_hash),
	};

	return test_main(argc, argv, tests);
}
