/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/peers/kernel.c: a namespace, a TUN device, a listener; see kernel.h.
 */
#include "tests/peers/kernel.h"

#include "runtime/base/check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int tun = -1, listener = -1;

/* Best effort: some are not per namespace in some kernels. */
static void set(const char *name, const char *value)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (write(fd, value, strlen(value)) < 0)
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
	close(fd);
}

static bool enter_namespace(void)
{
	if (!unshare(CLONE_NEWNET))
		return true;
	return !unshare(CLONE_NEWUSER | CLONE_NEWNET);
}

static bool open_tun(void)
{
	struct ifreq ifr = {.ifr_flags = IFF_TUN | IFF_NO_PI, .ifr_name = "peer0"};
	struct sockaddr_in *addr = (struct sockaddr_in *)&ifr.ifr_addr;
	int s;

	tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (tun < 0 || ioctl(tun, TUNSETIFF, &ifr))
		return false;
	s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	apus_must(s >= 0);
	addr->sin_family = AF_INET;
	apus_must(inet_pton(AF_INET, "10.0.0.1", &addr->sin_addr) == 1);
	apus_must(!ioctl(s, SIOCSIFADDR, &ifr));
	apus_must(inet_pton(AF_INET, "255.255.255.0", &addr->sin_addr) == 1);
	apus_must(!ioctl(s, SIOCSIFNETMASK, &ifr));
	ifr.ifr_flags = IFF_UP | IFF_RUNNING;
	apus_must(!ioctl(s, SIOCSIFFLAGS, &ifr));
	close(s);
	return true;
}

bool kernel_open(const char **why)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(KERNEL_PORT)};

	*why = "no network namespace may be made here";
	if (!enter_namespace())
		return false;
	*why = "/dev/net/tun cannot be used here";
	if (!open_tun())
		return false;
	set("tcp_invalid_ratelimit", "0"); /* every challenge ACK, not one in 500 ms */
	set("tcp_syncookies", "0");
	set("tcp_rfc1337", "1"); /* as ours: a reset does not end TIME-WAIT */
	set("tcp_no_metrics_save", "1");
	listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	apus_must(listener >= 0);
	apus_must(!bind(listener, (struct sockaddr *)&any, sizeof(any)));
	apus_must(!listen(listener, 100));
	return true;
}

void kernel_inject(const void *packet, size_t bytes)
{
	ssize_t n = write(tun, packet, bytes);

	apus_must(n == (ssize_t)bytes || errno == EINVAL); /* not even an IP packet */
}

size_t kernel_collect(void *buf, size_t bytes)
{
	ssize_t n = read(tun, buf, bytes);

	return n > 0 ? (size_t)n : 0;
}

int kernel_accept(void)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	int on = 1;

	if (fd < 0)
		return fd;
	apus_must(!setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)));
	apus_must(!setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on)));
	return fd;
}

void kernel_ack_now(int fd)
{
	int on = 1;

	(void)!setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
}
