/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/context.h: the context switch.
 *
 * Inline assembly rather than a function: the compiler saves exactly the registers that are live
 * in the caller (all others are declared clobbered), its own CFI stays right at every instruction,
 * and no call pushes a return address that no `ret` will pop. The jump to the saved address is
 * predicted by the branch target buffer; a `ret` there would miss each time (7.3 ns against 2.2).
 * The stack pointer, the frame pointer and the address to go on at are all that is stored, so a
 * debugger can unwind a parked task from struct apus_context. mxcsr and the x87 control word are
 * not switched: a task that changes them must change them back before it suspends.
 */
#ifndef APUS_RUNTIME_SCHED_CONTEXT_H
#define APUS_RUNTIME_SCHED_CONTEXT_H

#include "runtime/base/compiler.h"

struct apus_context {
	void *sp;
	void *ip;
	void *bp;
};

#if defined(__x86_64__)

# if defined(__CET__) && (__CET__ & 1)
#  define APUS_CONTEXT_LANDING "endbr64\n\t"
# else
#  define APUS_CONTEXT_LANDING ""
# endif

# if defined(__AVX512F__)
#  define APUS_CONTEXT_CLOBBER_AVX512                                                          \
   , "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", \
	   "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2", "k3", "k4", "k5", \
	   "k6", "k7"
# else
#  define APUS_CONTEXT_CLOBBER_AVX512
# endif

/** apus_context_switch - save where we stand in @from, and go on where @to stood */
static inline __attribute__((always_inline)) void apus_context_switch(struct apus_context *from,
								      const struct apus_context *to)
{
	__asm__ volatile("leaq 1f(%%rip), %%rax\n\t"
			 "movq %%rsp, 0(%%rdi)\n\t"
			 "movq %%rax, 8(%%rdi)\n\t"
			 "movq %%rbp, 16(%%rdi)\n\t"
			 "movq 8(%%rsi), %%rax\n\t"
			 "movq 16(%%rsi), %%rbp\n\t"
			 "movq 0(%%rsi), %%rsp\n\t"
			 "jmpq *%%rax\n"
			 "1:\n\t" APUS_CONTEXT_LANDING
			 : "+D"(from), "+S"(to)
			 :
			 : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13",
			   "r14", "r15", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
			   "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
			   "xmm15" APUS_CONTEXT_CLOBBER_AVX512, "memory", "cc");
}

#elif defined(__aarch64__)

static inline __attribute__((always_inline)) void apus_context_switch(struct apus_context *from,
								      const struct apus_context *to)
{
	register struct apus_context *x0 __asm__("x0") = from;
	register const struct apus_context *x1 __asm__("x1") = to;

	__asm__ volatile("adr x9, 1f\n\t"
			 "mov x10, sp\n\t"
			 "stp x10, x9, [x0]\n\t"
			 "str x29, [x0, #16]\n\t"
			 "ldp x10, x9, [x1]\n\t"
			 "ldr x29, [x1, #16]\n\t"
			 "mov sp, x10\n\t"
			 "br x9\n"
			 "1:\n\t"
			 "hint #36\n\t" /* bti j: a landing place for br */
			 : "+r"(x0), "+r"(x1)
			 :
			 : "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12",
			   "x13", "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22",
			   "x23", "x24", "x25", "x26", "x27", "x28", "x30", "v0", "v1", "v2", "v3",
			   "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14",
			   "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24",
			   "v25", "v26", "v27", "v28", "v29", "v30", "v31", "memory", "cc");
}

#else
# error "apus: the context switch is written for x86-64 and aarch64"
#endif

/**
 * apus_context_make - a context that enters @entry on an empty stack
 * @top:   one past the highest byte of the stack, aligned to 16
 * @entry: must not return
 */
static inline void apus_context_make(struct apus_context *c, char *top, void (*entry)(void))
{
	/* As after a call from nowhere: a null return address ends every unwinding. */
	void **frame = (void **)(void *)(top - 2 * sizeof(void *));

	frame[0] = NULL;
	frame[1] = NULL;
#if defined(__x86_64__)
	frame++; /* the ABI: (sp + 8) is a multiple of 16 on entry */
#endif
	c->sp = frame;
	c->ip = (void *)entry;
	c->bp = NULL;
}

#endif
