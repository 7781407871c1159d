/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/runtime/sched/test_context.c: the context switch keeps what the compiler holds in
 * registers, aligns the stack, and comes back to where it left.
 *
 * Bare switches, without the fiber hooks that tasks have: TSan's shadow stack would lose count.
 */
#include "tests/runtime/base_test.h"

#include "runtime/sched/context.h"

static struct apus_context main_context, other_context;
static APUS_ALIGNED(64) char other_stack[256 * 1024];
static int64_t switches;

static void to_main(void)
{
	apus_context_switch(&other_context, &main_context);
}

static void to_other(void)
{
	switches++;
	apus_context_switch(&main_context, &other_context);
}

/* Leaves nothing of the caller's in any register that a switch might forget. */
static APUS_NOINLINE void spoil_registers(void)
{
#if defined(__x86_64__)
	__asm__ volatile("movq $-1, %%rax\n\t"
			 "movq %%rax, %%rbx\n\tmovq %%rax, %%rcx\n\tmovq %%rax, %%rdx\n\t"
			 "movq %%rax, %%rsi\n\tmovq %%rax, %%rdi\n\tmovq %%rax, %%r8\n\t"
			 "movq %%rax, %%r9\n\tmovq %%rax, %%r10\n\tmovq %%rax, %%r11\n\t"
			 "movq %%rax, %%r12\n\tmovq %%rax, %%r13\n\tmovq %%rax, %%r14\n\t"
			 "movq %%rax, %%r15\n\t"
			 "pcmpeqd %%xmm0, %%xmm0\n\tmovdqa %%xmm0, %%xmm1\n\t"
			 "movdqa %%xmm0, %%xmm2\n\tmovdqa %%xmm0, %%xmm3\n\t"
			 "movdqa %%xmm0, %%xmm4\n\tmovdqa %%xmm0, %%xmm5\n\t"
			 "movdqa %%xmm0, %%xmm6\n\tmovdqa %%xmm0, %%xmm7\n\t"
			 "movdqa %%xmm0, %%xmm8\n\tmovdqa %%xmm0, %%xmm9\n\t"
			 "movdqa %%xmm0, %%xmm10\n\tmovdqa %%xmm0, %%xmm11\n\t"
			 "movdqa %%xmm0, %%xmm12\n\tmovdqa %%xmm0, %%xmm13\n\t"
			 "movdqa %%xmm0, %%xmm14\n\tmovdqa %%xmm0, %%xmm15\n\t"
			 :
			 :
			 : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11",
			   "r12", "r13", "r14", "r15", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4",
			   "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
			   "xmm13", "xmm14", "xmm15", "memory");
#endif
}

static void spoil_and_return(void)
{
	for (;;) {
		spoil_registers();
		/* Without a call in between: nothing restores what this frame saved. */
		apus_context_switch(&other_context, &main_context);
	}
}

static void start(void (*entry)(void))
{
#if defined(VALGRIND_STACK_REGISTER)
	static unsigned int id;

	if (!id)
		id = VALGRIND_STACK_REGISTER(other_stack, other_stack + sizeof(other_stack)) + 1;
#endif
	apus_context_make(&other_context, other_stack + sizeof(other_stack), entry);
	switches = 0;
}

static void integers_survive_a_switch(void **state)
{
	start(spoil_and_return);
	uint64_t a = 1, b = 2, c = 3, d = 4, e = 5, f = 6, g = 7, h = 8;
	uint64_t i = 9, j = 10, k = 11, l = 12, m = 13, n = 14, o = 15, p = 16;

	for (int round = 0; round < 1000; round++) {
		apus_context_switch(&main_context, &other_context);
		a += p;
		b += a;
		c += b;
		d += c;
		e += d;
		f += e;
		g += f;
		h += g;
		i += h;
		j += i;
		k += j;
		l += k;
		m += l;
		n += m;
		o += n;
		p += o;
	}

	uint64_t v[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

	for (int round = 0; round < 1000; round++)
		for (int x = 0; x < 16; x++)
			v[x] += v[(x + 15) % 16];
	assert_int_equal(a, v[0]);
	assert_int_equal(h, v[7]);
	assert_int_equal(p, v[15]);
	assert_int_equal(a ^ b ^ c ^ d ^ e ^ f ^ g ^ h ^ i ^ j ^ k ^ l ^ m ^ n ^ o ^ p,
			 v[0] ^ v[1] ^ v[2] ^ v[3] ^ v[4] ^ v[5] ^ v[6] ^ v[7] ^ v[8] ^ v[9] ^
				 v[10] ^ v[11] ^ v[12] ^ v[13] ^ v[14] ^ v[15]);
}

static void doubles_survive_a_switch(void **state)
{
	start(spoil_and_return);
	double a = 1, b = 2, c = 3, d = 4, e = 5, f = 6, g = 7, h = 8;
	double sums[8] = {1, 2, 3, 4, 5, 6, 7, 8};

	for (int round = 0; round < 1000; round++) {
		apus_context_switch(&main_context, &other_context);
		a += 0.5;
		b += 0.5;
		c += 0.5;
		d += 0.5;
		e += 0.5;
		f += 0.5;
		g += 0.5;
		h += 0.5;
	}
	for (int x = 0; x < 8; x++)
		sums[x] += 500;
	assert_true(a == sums[0] && b == sums[1] && c == sums[2] && d == sums[3]);
	assert_true(e == sums[4] && f == sums[5] && g == sums[6] && h == sums[7]);
}

static bool aligned;
static uintptr_t deepest;

static APUS_NOINLINE void check_alignment(void)
{
	APUS_ALIGNED(16) volatile char spot[16];

	spot[0] = 1;
	aligned = (uintptr_t)spot % 16 == 0 && (uintptr_t)__builtin_frame_address(0) % 16 == 0;
	deepest = (uintptr_t)spot;
}

static void aligned_entry(void)
{
	check_alignment();
	for (;;)
		to_main();
}

static void new_stack_is_aligned_and_inside_its_memory(void **state)
{
	start(aligned_entry);
	to_other();
	assert_true(aligned);
	if (!APUS_ASAN) /* which may keep locals on a fake stack */
		assert_in_range(deepest, (uintptr_t)other_stack,
				(uintptr_t)other_stack + sizeof(other_stack) - 1);
}

static int64_t counter;

static APUS_NOINLINE void count_at_depth(int depth)
{
	volatile char frame[64];

	frame[0] = (char)depth;
	if (depth) {
		count_at_depth(depth - 1);
	} else {
		counter++;
		to_main();
	}
	frame[63] = frame[0];
}

static void count_at_many_depths(void)
{
	for (int depth = 0;; depth = (depth + 7) % 100)
		count_at_depth(depth);
}

static void switch_comes_back_to_any_depth(void **state)
{
	start(count_at_many_depths);
	counter = 0;
	for (int i = 1; i <= 10000; i++) {
		to_other();
		assert_int_equal(counter, i);
	}
	assert_int_equal(switches, 10000);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(integers_survive_a_switch),
		cmocka_unit_test(doubles_survive_a_switch),
		cmocka_unit_test(new_stack_is_aligned_and_inside_its_memory),
		cmocka_unit_test(switch_comes_back_to_any_depth),
	};

	if (APUS_TSAN)
		return 77; /* skipped, to meson */
	return test_main(argc, argv, tests);
}
