/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/peers/kernel.h: the kernel's TCP as a thing to poke: packets in, packets out, one listener.
 *
 * In a network namespace of its own, behind a TUN device whose other end is the caller. A packet
 * that is written to a TUN is handled before write() returns, so what the kernel answers at once
 * can be read at once: nothing here waits.
 */
#ifndef APUS_TESTS_PEERS_KERNEL_H
#define APUS_TESTS_PEERS_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KERNEL_PORT 80

/** kernel_open - namespace, TUN with 10.0.0.1/24, listener. Return: false, and @why, where that is not allowed */
bool kernel_open(const char **why);
/** kernel_inject - an IP packet arrives */
void kernel_inject(const void *packet, size_t bytes);
/** kernel_collect - the oldest packet it sent. Return: bytes, 0: none */
size_t kernel_collect(void *buf, size_t bytes);
/** kernel_accept - a connection that waits; as ours: no Nagle, urgent text in line. Return: descriptor, non-blocking; < 0: none */
int kernel_accept(void);
/** kernel_ack_now - send the ACK that it may be delaying */
void kernel_ack_now(int fd);

#endif
