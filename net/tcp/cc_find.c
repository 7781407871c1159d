/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/tcp/cc_find.c: algorithms of congestion control by name, for options.
 */
#include "net/tcp/bbr.h"
#include "net/tcp/cubic.h"
#include "net/tcp/dctcp.h"
#include "net/tcp/reno.h"

#include <string.h>

static const struct apus_cc_type *const types[] = {
	&apus_bbr,
	&apus_cubic,
	&apus_dctcp,
	&apus_reno,
};

const struct apus_cc_type *apus_cc_find(const char *name)
{
	for (size_t i = 0; i < apus_countof(types); i++)
		if (!strcmp(types[i]->name, name))
			return types[i];
	return NULL;
}
