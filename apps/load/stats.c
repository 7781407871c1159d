/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/load/stats.c: what counts as what.
 */
#include "apps/load/load.h"

#include <errno.h>

_Thread_local struct load_stats load_stats;

enum load_error load_error_of(int64_t rc, bool opening)
{
	switch (rc) {
	case -ECONNREFUSED:
		return LOAD_REFUSED;
	case -EHOSTUNREACH:
	case -ENETUNREACH:
		return LOAD_UNREACHABLE;
	case -EADDRNOTAVAIL:
	case -EADDRINUSE:
		return LOAD_NO_PORT;
	case -EMFILE:
	case -ENFILE:
		return LOAD_NO_FILE;
	case -ENOMEM:
	case -ENOBUFS:
		return LOAD_NO_MEMORY;
	case -ETIMEDOUT:
		return opening ? LOAD_CONNECT_TIMEOUT : LOAD_TIMEOUT;
	case -ECONNRESET:
		return LOAD_RESET;
	case -EPIPE:
	case -ENODATA:
		return LOAD_CLOSED;
	case -EBADMSG:
		return LOAD_BAD;
	default:
		return LOAD_OTHER;
	}
}

const char *load_error_name(enum load_error e)
{
	static const char *const names[] = {
#define X(id, name, text) name,
		LOAD_ERRORS(X)
#undef X
	};

	return names[e];
}

const char *load_error_text(enum load_error e)
{
	static const char *const texts[] = {
#define X(id, name, text) text,
		LOAD_ERRORS(X)
#undef X
	};

	return texts[e];
}
