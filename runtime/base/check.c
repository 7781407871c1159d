/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/base/check.c: how a failed assertion ends the process.
 */
#include "runtime/base/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

void apus_check_failed(const char *file, int line, const char *what)
{
	fprintf(stderr, "apus: %s:%d: check failed: %s\n", file, line, what);
	abort();
}

void apus_check_failed_values(const char *file, int line, const char *what, int64_t left,
			      int64_t right)
{
	fprintf(stderr, "apus: %s:%d: check failed: %s (%" PRId64 " and %" PRId64 ")\n", file, line,
		what, left, right);
	abort();
}
