/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/socket/kernel_options.c: what apus_tcp_set() asks of the kernel's sockets; see kernel_internal.h.
 */
#include "net/socket/kernel_internal.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

static int set(const struct apus_tcp *c, int level, int name, int value)
{
	int fd = apus_kernel_descriptor(c);

	return fd >= 0 && setsockopt(fd, level, name, &value, sizeof(value)) ? -errno : 0;
}

/* In units, at least as long. */
static int rounded_up(int64_t ns, int64_t unit_ns, int most)
{
	return (int)apus_min(ns / unit_ns + (ns % unit_ns != 0), (int64_t)most);
}

static int seconds_of(int64_t ns)
{
	return rounded_up(ns, APUS_SEC, 32767);
}

int apus_kernel_set(struct apus_tcp *c, enum apus_tcp_option option, int64_t value)
{
	int rc;

	switch (option) {
	case APUS_TCP_NODELAY:
		return set(c, IPPROTO_TCP, TCP_NODELAY, value != 0);
	case APUS_TCP_CORK:
		return set(c, IPPROTO_TCP, TCP_CORK, value != 0);
	case APUS_TCP_KEEPALIVE_IDLE_NS:
		rc = set(c, SOL_SOCKET, SO_KEEPALIVE, value != 0);
		return rc || !value ? rc : set(c, IPPROTO_TCP, TCP_KEEPIDLE, seconds_of(value));
	case APUS_TCP_KEEPALIVE_INTERVAL_NS:
		return value ? set(c, IPPROTO_TCP, TCP_KEEPINTVL, seconds_of(value)) : -EINVAL;
	case APUS_TCP_KEEPALIVE_PROBES:
		return value && value <= 127 ? set(c, IPPROTO_TCP, TCP_KEEPCNT, (int)value)
					     : -EINVAL;
	case APUS_TCP_USER_TIMEOUT_NS:
		return set(c, IPPROTO_TCP, TCP_USER_TIMEOUT, rounded_up(value, APUS_MS, INT32_MAX));
	default:
		return -EINVAL;
	}
}

int apus_kernel_set_congestion(int fd, const char *name)
{
	if (fd < 0)
		return -EPIPE;
	return setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) ? -errno
											  : 0;
}
