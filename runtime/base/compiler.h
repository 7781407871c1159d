/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/base/compiler.h: what the compiler must be told, in one place.
 */
#ifndef APUS_RUNTIME_BASE_COMPILER_H
#define APUS_RUNTIME_BASE_COMPILER_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
# define APUS_BEGIN_DECLS  extern "C" {
# define APUS_END_DECLS    }
# define apus_thread_local __thread /* thread_local would look for an initialiser at each use */
#else
# define APUS_BEGIN_DECLS
# define APUS_END_DECLS
# define apus_thread_local _Thread_local
#endif

#define APUS_MUST_CHECK       __attribute__((warn_unused_result))
#define APUS_COLD             __attribute__((noinline, cold))
#define APUS_NOINLINE         __attribute__((noinline))
#define APUS_INLINE           inline __attribute__((always_inline))
#define APUS_NORETURN         __attribute__((noreturn))
#define APUS_PRINTF(fmt, arg) __attribute__((format(printf, fmt, arg)))
#define APUS_ALIGNED(n)       __attribute__((aligned(n)))
#define APUS_UNUSED           __attribute__((unused))

/*
 * APUS_SUSPENDS - before the definition of a function in which a task always leaves the core
 *
 * The processor predicts a `ret` from the calls it saw last. Those were another task's, once the
 * stack has been switched, so that every `ret` on the way from the switch to the user's code is
 * mispredicted: 9 ns each, where the switch itself is 0.5. Such a function leaves by a jump to the
 * address it takes from the stack (return.S), which is predicted as any other jump; a fast path
 * that does not suspend is a function of its own, keeps its `ret`, and ends in a call of the slow
 * half, which the compiler makes a jump where nothing is left to do. A caller without it costs
 * a misprediction and no more.
 *
 * noipa: the jump clobbers a register that the compiler takes for unused. Sanitizers, valgrind and
 * debuggers see a return like any other. A shadow stack (CET) does not know it, as it does not know
 * the switch: return.S is not marked for it, so that no program with apus is started with one.
 * Elsewhere (clang, aarch64) it only stays out of line.
 */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
# define APUS_SUSPENDS __attribute__((noipa, function_return("thunk-extern")))
#else
# define APUS_SUSPENDS __attribute__((noinline))
#endif

#define apus_likely(x)   __builtin_expect(!!(x), 1)
#define apus_unlikely(x) __builtin_expect(!!(x), 0)

#define APUS_CACHE_LINE  64
#define apus_countof(a)  (sizeof(a) / sizeof((a)[0]))
#define apus_prefetch(p) __builtin_prefetch((p), 1, 3)

/* Each of the two is evaluated once; not for constant expressions. */
#define apus_min(a, b)            apus_choose_(a, <, b, __COUNTER__)
#define apus_max(a, b)            apus_choose_(a, >, b, __COUNTER__)
#define apus_choose_(a, op, b, n) apus_choose_as_(a, op, b, n)
/* clang-format off */
#define apus_choose_as_(a, op, b, n)    \
 __extension__({                        \
  apus_auto_ a_##n = (a);               \
  apus_auto_ b_##n = (b);               \
  a_##n op b_##n ? a_##n : b_##n;       \
 })
/* clang-format on */
#ifdef __cplusplus
# define apus_auto_ const auto
#else
# define apus_auto_ const __auto_type
#endif

/* From a pointer to a member back to the struct that holds it. */
#define apus_container_of(ptr, type, member) \
 ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Spans of time, in nanoseconds: apus_sleep(10 * APUS_MS). */
#define APUS_US    INT64_C(1000)
#define APUS_MS    INT64_C(1000000)
#define APUS_SEC   INT64_C(1000000000)
#define APUS_NEVER INT64_MAX /* a deadline that does not come */

#if defined(__SANITIZE_ADDRESS__)
# define APUS_ASAN 1
#elif defined(__has_feature)
# if __has_feature(address_sanitizer)
#  define APUS_ASAN 1
# endif
#endif
#ifndef APUS_ASAN
# define APUS_ASAN 0
#endif

#if defined(__SANITIZE_THREAD__)
# define APUS_TSAN 1
#elif defined(__has_feature)
# if __has_feature(thread_sanitizer)
#  define APUS_TSAN 1
# endif
#endif
#ifndef APUS_TSAN
# define APUS_TSAN 0
#endif

#endif
