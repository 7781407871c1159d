/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/link/eal.h: DPDK's environment (EAL), brought up once per process, as a library.
 *
 * Nobody writes EAL's arguments: they are made here from what the machine has. Hugepages are used
 * where there are enough that are free; without any it starts as well. What EAL says while it
 * starts is kept back, and the line that explains a failure becomes part of one sentence.
 */
#ifndef APUS_NET_LINK_EAL_H
#define APUS_NET_LINK_EAL_H

#include "runtime/base/compiler.h"

APUS_BEGIN_DECLS

struct apus_eal_options {
	const char *vdev;      /* a device to make: "net_tap0,iface=x"; NULL: none */
	const char *extra;     /* more arguments, split as a shell would; NULL: none */
	uint64_t memory_bytes; /* for mbufs and all else from DPDK; 0: 64 MiB */
	int core;   /* CPU of the calling thread, which becomes EAL's main one; < 0: stay */
	bool debug; /* let EAL and drivers say everything */
};

#define APUS_EAL_WHY_BYTES 512 /* of the sentences that opening can end in */

/**
 * apus_eal_open - start EAL on this thread
 * @options: borrowed until return
 * @why:     on error one sentence: the cause, and the remedy
 *
 * Preconditions that EAL reports unreadably (no TUN device, no permission, the interface's name
 * taken, too little memory) are looked at first.
 *
 * Context: thread, outside of tasks. Once per process: EAL cannot be started again.
 * Return: 0; -EALREADY; -EINVAL; -ENOMEM; -EPERM; -EBUSY; -ENODEV; -EIO, EAL failed for a reason of its own.
 */
APUS_MUST_CHECK int apus_eal_open(const struct apus_eal_options *options, char *why,
				  size_t why_bytes);

/** apus_eal_close - give everything back; no file or directory stays. Every link must be closed. Context: the thread that opened */
void apus_eal_close(void);

/**
 * apus_eal_thread_open - make this thread one of DPDK's, so that its pools keep a cache for it
 * @why: on error one sentence
 *
 * Nothing on the thread that opened EAL. The thread must be pinned before: DPDK asks then which socket
 * its memory should come from. Context: thread. Return: 0; -ENOMEM, there are too many.
 */
APUS_MUST_CHECK int apus_eal_thread_open(char *why, size_t why_bytes);

/** apus_eal_thread_close - DPDK knows this thread no more. Context: the thread that opened it */
void apus_eal_thread_close(void);

/** apus_eal_said - the last line EAL or a driver said; "" if none. Valid until the next one. Context: the thread that opened */
const char *apus_eal_said(void);

/**
 * apus_eal_started - devices run: from now on log the errors that EAL and drivers report
 *
 * Until here real-time signals are blocked in this thread, because drivers ask for them while they
 * start; those that came are dropped. Context: the thread that opened; more calls do nothing.
 */
void apus_eal_started(void);

/** apus_eal_names_device - does this text of EAL arguments choose a device by itself (-a, --allow, --vdev)? Context: any */
bool apus_eal_names_device(const char *extra);

APUS_END_DECLS

#endif
