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
#define APUS_NORETURN         __attribute__((noreturn))
#define APUS_PRINTF(fmt, arg) __attribute__((format(printf, fmt, arg)))
#define APUS_ALIGNED(n)       __attribute__((aligned(n)))
#define APUS_UNUSED           __attribute__((unused))

#define apus_likely(x)   __builtin_expect(!!(x), 1)
#define apus_unlikely(x) __builtin_expect(!!(x), 0)

#define APUS_CACHE_LINE  64
#define apus_countof(a)  (sizeof(a) / sizeof((a)[0]))
#define apus_prefetch(p) __builtin_prefetch((p), 1, 3)
#define apus_min(a, b)   ((a) < (b) ? (a) : (b))
#define apus_max(a, b)   ((a) > (b) ? (a) : (b))

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
