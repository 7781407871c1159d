/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/return.S: how a function that suspends returns: see APUS_SUSPENDS in compiler.h.
 *
 * The name is gcc's, for what it calls "thunk-extern". Weak: a program that has one of its own, for
 * its own reasons, gets that, and loses nothing but time. No .note.gnu.property: see there, too.
 */
#if defined(__x86_64__)
	.text
	.p2align 4
	.weak __x86_return_thunk
	.hidden __x86_return_thunk
	.type __x86_return_thunk, @function
__x86_return_thunk:
	.cfi_startproc
	popq %rcx
	.cfi_adjust_cfa_offset -8
	.cfi_register %rip, %rcx
	jmpq *%rcx
	.cfi_endproc
	.size __x86_return_thunk, . - __x86_return_thunk
#endif
	.section .note.GNU-stack, "", %progbits
