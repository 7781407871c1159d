/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/base/check.h: assertions about ourselves, never about input.
 *
 * apus_assert is for our own cheap invariants and is gone in a release build; apus_must guards
 * memory safety and cold paths and is always there. Both end the process with one line that names
 * the place. What comes from the wire or from a user is never asserted: it is an `if`.
 */
#ifndef APUS_RUNTIME_BASE_CHECK_H
#define APUS_RUNTIME_BASE_CHECK_H

#include "runtime/base/compiler.h"

APUS_BEGIN_DECLS

/** apus_check_failed - what a check that fails calls: says where, and ends the process. Context: any */
APUS_NORETURN APUS_COLD void apus_check_failed(const char *file, int line, const char *what);
/** apus_check_failed_values - the same with the two values that were compared. Context: any */
APUS_NORETURN APUS_COLD void apus_check_failed_values(const char *file, int line, const char *what,
						      int64_t left, int64_t right);

#define apus_must(cond)                          \
 do {                                            \
  if (apus_unlikely(!(cond)))                    \
   apus_check_failed(__FILE__, __LINE__, #cond); \
 } while (0)

/* Compares two integers and prints both: apus_must_op(used, <=, size). */
#define apus_must_op(left, op, right)                                                      \
 do {                                                                                      \
  int64_t apus_l = (int64_t)(left), apus_r = (int64_t)(right);                             \
  if (apus_unlikely(!(apus_l op apus_r)))                                                  \
   apus_check_failed_values(__FILE__, __LINE__, #left " " #op " " #right, apus_l, apus_r); \
 } while (0)

#ifdef NDEBUG
# define apus_assert(cond) ((void)sizeof(!(cond)))
#else
# define apus_assert(cond) apus_must(cond)
#endif

APUS_END_DECLS

#endif
