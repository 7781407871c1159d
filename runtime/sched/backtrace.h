/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/backtrace.h: how a stack got where it is, and what its functions are called.
 *
 * Internal, for reports. Everything here is slow, and safe on a stack that is parked.
 */
#ifndef APUS_RUNTIME_SCHED_BACKTRACE_H
#define APUS_RUNTIME_SCHED_BACKTRACE_H

#include "runtime/base/compiler.h"

#include <stdio.h>

#define APUS_BACKTRACE_MAX    32
#define APUS_SYMBOL_TEXT_SIZE 160

/* Where a stack may be read: frames outside of it end the walk. */
struct apus_stack_range {
	const char *low, *high;
};

/**
 * apus_backtrace_walk - return addresses along the frame pointers from @bp on, innermost first
 *
 * Code built without frame pointers (most libraries) hides its caller, or ends the walk. Context: any.
 * Return: how many.
 */
size_t apus_backtrace_walk(const void *bp, struct apus_stack_range range, void **out, size_t max);

/** apus_backtrace_here - of the caller, @skip frames left out. Context: any. Return: how many */
size_t apus_backtrace_here(void **out, size_t max, size_t skip);

/** apus_symbol_text - "function+0x1f", or "library+0x1234"; @out has APUS_SYMBOL_TEXT_SIZE bytes. Context: any, any thread. Return: @out */
const char *apus_symbol_text(const void *address, char *out);

/** apus_backtrace_print - one line per frame: "  #0 function+0x1f", behind @indent blanks */
void apus_backtrace_print(FILE *out, void *const frames[], size_t n, int indent);

#endif
