/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/link/ethdev_port.c: a DPDK port, any driver's: configured, started, reported, stopped.
 *
 * Offloads. Checksums are left to the device where it is hardware. net_tap says it has them, and
 * makes them by software from a copy of the headers: the stack makes its own at less cost. A driver
 * that cannot send a frame of several segments gets it gathered into one.
 *
 * Queues. One pair for each shard, as far as the device has them; a driver that does not start with
 * several is tried with one. Each shard has a pool of its own, so that what one shard's tasks hold
 * on to cannot leave another without frames, and each room's share of the pool is what it was with
 * one shard. A frame that is handed over is given back to the pool it came from, by whom it went to:
 * through that thread's cache of that pool, which DPDK keeps for each thread that it knows.
 *
 * net_tap and signals. The driver asks the kernel for a signal per arrival, so that polling an empty
 * queue costs no system call. A signal costs more than the call it saves as soon as there is traffic
 * (echoed frames per second: 60,000 with, 227,000 without), lands on whatever stack is running, and,
 * when more than the limit are pending, becomes a SIGIO that kills the process. So they are switched
 * off before one is delivered (eal.c blocks them that long). The driver, having seen none, then reads
 * each time, its fallback; had it seen one it would wait for the next, forever.
 *
 * Addresses. TAP's two ends have the same MAC address: the driver gives the kernel's side the
 * port's. Ours must be another, so it is the port's with the last bit turned over. The kernel hands
 * every frame it sends to us, whatever the address, so nothing need be told of it.
 *
 * Entry points: apus_ethdev_port_open(), apus_ethdev_port_close(), apus_ethdev_port_report().
 */
#include "net/link/eal.h"
#include "net/link/ethdev_internal.h"
#include "net/link/pool.h"
#include "net/link/steer.h"
#include "runtime/base/check.h"
#include "runtime/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include <rte_eal.h>
#include <rte_errno.h>

#define DESCRIPTORS     1024
#define TAP_DESCRIPTORS 64 /* its receive queue keeps an mbuf for each, and reads into one */
#define FRAME_OVERHEAD  (RTE_ETHER_HDR_LEN + 2 * 4 + RTE_ETHER_CRC_LEN) /* two VLAN tags */
#define MEMORY_REST     (UINT64_C(24) << 20) /* EAL's heap, rings, the port's private data */
#define MTU_DEFAULT     RTE_ETHER_MTU
#define TX_WANTED                                                                               \
 (RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM | \
  RTE_ETH_TX_OFFLOAD_MULTI_SEGS | RTE_ETH_TX_OFFLOAD_TCP_TSO)
/* A device that cuts makes the checksums of what it cuts, from a chain. */
#define TSO_NEEDS \
 (RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_MULTI_SEGS)
#define RX_WANTED RTE_ETH_RX_OFFLOAD_CHECKSUM

/* --- Memory -------------------------------------------------------------------------------- */

/* Room in one mbuf, so that no frame of the MTU needs two. */
static uint32_t data_room(uint32_t mtu)
{
	uint32_t room = RTE_PKTMBUF_HEADROOM + mtu + FRAME_OVERHEAD;

	return apus_max(room, (uint32_t)RTE_MBUF_DEFAULT_BUF_SIZE);
}

uint64_t apus_ethdev_memory(uint32_t mbufs, uint16_t mtu)
{
	uint64_t each = sizeof(struct rte_mbuf) + data_room(mtu ? mtu : MTU_DEFAULT) +
			2 * RTE_CACHE_LINE_SIZE + sizeof(void *);
	uint64_t pool = (mbufs ? mbufs : APUS_ETHDEV_MBUFS_DEFAULT) * each;

	return pool + pool / 16 + MEMORY_REST;
}

static int find_port(struct apus_ethdev_port *p, const char *device, char *why, size_t why_bytes)
{
	uint16_t port;

	snprintf(p->name, sizeof(p->name), "%.*s", device ? (int)strcspn(device, ",") : 0,
		 device ? device : "");
	if (device && !rte_eth_dev_get_port_by_name(p->name, &p->port))
		return 0;
	if (!device) {
		RTE_ETH_FOREACH_DEV(port)
		{
			p->port = port;
			return rte_eth_dev_get_name_by_port(port, p->name);
		}
	}
	if (device)
		snprintf(why, why_bytes, "DPDK made no device %s%s%s", p->name,
			 *apus_eal_said() ? ": " : "", apus_eal_said());
	else
		snprintf(why, why_bytes,
			 "DPDK found no device: bind a NIC to vfio-pci and name it with "
			 "--eal \"-a 0000:03:00.0\", or use --vdev net_tap0");
	return -ENODEV;
}

/* No signals from net_tap: see the top. Its descriptors are known by the interface they belong to. */
static void silence_tap(const struct rte_eth_dev_info *info)
{
	char name[IF_NAMESIZE];
	struct rlimit limit;

	if (!if_indextoname(info->if_index, name) || getrlimit(RLIMIT_NOFILE, &limit))
		return;
	for (int fd = 3; fd < (int)apus_min(limit.rlim_cur, 4096u); fd++) {
		struct ifreq ifr = {0};
		int flags = fcntl(fd, F_GETFL);

		if (flags >= 0 && (flags & O_ASYNC) && !ioctl(fd, TUNGETIFF, &ifr) &&
		    !strcmp(ifr.ifr_name, name))
			fcntl(fd, F_SETFL, flags & ~O_ASYNC);
	}
}

static int make_pools(struct apus_ethdev_port *p, uint32_t mbufs, char *why, size_t why_bytes)
{
	char name[RTE_MEMPOOL_NAMESIZE];

	if (mbufs < APUS_ETHDEV_MBUFS_MIN) {
		snprintf(why, why_bytes, "--mbufs %u: %d is the least that a port works with",
			 mbufs, APUS_ETHDEV_MBUFS_MIN);
		return -EINVAL;
	}
	for (unsigned int i = 0; i < p->shards; i++) {
		snprintf(name, sizeof(name), "apus-%u-%u", p->port, i);
		p->pools[i] =
			apus_pool_create(name, mbufs, APUS_POOL_CACHE, (uint16_t)data_room(p->mtu),
					 rte_eth_dev_socket_id(p->port));
		if (!p->pools[i])
			goto err_no_memory;
	}
	return 0;

err_no_memory:
	snprintf(why, why_bytes,
		 "not enough memory for %u packet buffers (%s): ask for fewer with --mbufs",
		 mbufs * p->shards, rte_strerror(rte_errno));
	return -ENOMEM;
}

static void free_pools(struct apus_ethdev_port *p)
{
	for (unsigned int i = 0; i < p->shards; i++) {
		unsigned int out = p->pools[i] ? rte_mempool_in_use_count(p->pools[i]) : 0;

		if (out)
			apus_log(DEBUG, "link: %u frames of shard %u were not given back to %s",
				 out, i, p->name);
		rte_mempool_free(p->pools[i]);
	}
}

/* Drivers that copy what they send, from wherever it lies. */
static bool reads_any_memory(const char *driver)
{
	static const char *const drivers[] = {"net_tap", "net_af_packet", "net_pcap", "net_ring",
					      "net_null"};

	for (size_t i = 0; i < apus_countof(drivers); i++)
		if (!strcmp(driver, drivers[i]))
			return true;
	return false;
}

/* Offloads: asked for, granted, or left to software. */
static void choose_offloads(struct apus_ethdev_port *p, const struct rte_eth_dev_info *info,
			    struct rte_eth_conf *conf)
{
	conf->txmode.offloads = TX_WANTED & info->tx_offload_capa;
	conf->rxmode.offloads = RX_WANTED & info->rx_offload_capa;
	if (p->is_tap) {
		conf->txmode.offloads &= RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
		conf->rxmode.offloads = 0;
	}
	if ((conf->txmode.offloads & TSO_NEEDS) != TSO_NEEDS)
		conf->txmode.offloads &= ~RTE_ETH_TX_OFFLOAD_TCP_TSO;
	p->offered = info->tx_offload_capa;
	p->tx_segs_max = info->tx_desc_lim.nb_seg_max;
	p->gather = !(conf->txmode.offloads & RTE_ETH_TX_OFFLOAD_MULTI_SEGS);
	p->prepare = conf->txmode.offloads & ~RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	p->tx_offloads = conf->txmode.offloads | RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	p->rx_offloads = conf->rxmode.offloads;
}

static int choose_mtu(struct apus_ethdev_port *p, uint16_t mtu, const struct rte_eth_dev_info *info,
		      char *why, size_t why_bytes)
{
	uint16_t max = apus_min(info->max_mtu, (uint16_t)(UINT16_MAX - RTE_PKTMBUF_HEADROOM -
							  FRAME_OVERHEAD - RTE_CACHE_LINE_SIZE));

	if (!mtu && rte_eth_dev_get_mtu(p->port, &mtu))
		mtu = MTU_DEFAULT;
	if (mtu < info->min_mtu || mtu < 68 || mtu > max) {
		snprintf(why, why_bytes, "--mtu %u: %s takes %u to %u", mtu, p->name,
			 apus_max(info->min_mtu, 68), max);
		return -EINVAL;
	}
	p->mtu = mtu;
	return 0;
}

static int configure(struct apus_ethdev_port *p, struct rte_eth_conf *conf)
{
	int rc;

	conf->intr_conf.rxq = 1;
	rc = rte_eth_dev_configure(p->port, p->rx_queues, p->tx_queues, conf);
	if (rc) { /* not every driver has interrupts; without them there is the back-off */
		conf->intr_conf.rxq = 0;
		rc = rte_eth_dev_configure(p->port, p->rx_queues, p->tx_queues, conf);
	}
	return rc;
}

static int set_up_queues(struct apus_ethdev_port *p, struct rte_eth_conf *conf)
{
	uint16_t rx = p->is_tap ? TAP_DESCRIPTORS : DESCRIPTORS, tx = rx;
	unsigned int socket = (unsigned int)rte_eth_dev_socket_id(p->port);
	int rc = configure(p, conf);

	if (!rc)
		rc = rte_eth_dev_adjust_nb_rx_tx_desc(p->port, &rx, &tx);
	for (uint16_t i = 0; !rc && i < p->rx_queues; i++)
		rc = rte_eth_rx_queue_setup(p->port, i, rx, socket, NULL, p->pools[i]);
	for (uint16_t i = 0; !rc && i < p->tx_queues; i++)
		rc = rte_eth_tx_queue_setup(p->port, i, tx, socket, NULL);
	return rc;
}

/* As many pairs as there are shards, if the device has and starts them; net_tap wants pairs. */
static void choose_queues(struct apus_ethdev_port *p, const struct rte_eth_dev_info *info)
{
	p->rx_queues = apus_min(p->shards, apus_max(info->max_rx_queues, (uint16_t)1));
	p->tx_queues = apus_min(p->shards, apus_max(info->max_tx_queues, (uint16_t)1));
	if (p->is_tap)
		p->rx_queues = p->tx_queues = apus_min(p->rx_queues, p->tx_queues);
}

static int start_queues(struct apus_ethdev_port *p, const struct rte_eth_dev_info *info,
			const uint8_t *key, size_t key_bytes, struct rte_eth_conf *conf)
{
	int rc;

	choose_queues(p, info);
	conf->rxmode.mtu = p->mtu;
	apus_ethdev_ask_rss(p, info, key, key_bytes, conf);
	rc = set_up_queues(p, conf);
	if (rc && p->facts.asked) { /* it says it can hash, but not so */
		apus_ethdev_ask_rss(p, info, NULL, 0, conf);
		rc = set_up_queues(p, conf);
	}
	if (rc && (p->rx_queues > 1 || p->tx_queues > 1)) {
		p->rx_queues = p->tx_queues = 1;
		apus_ethdev_ask_rss(p, info, NULL, 0, conf);
		rc = set_up_queues(p, conf);
	}
	if (rc)
		return rc;
	rte_eth_dev_set_mtu(p->port, p->mtu); /* those that did not take it from conf */
	if (p->is_tap)
		silence_tap(info);
	return rte_eth_dev_start(p->port);
}

/* Asked before the log is open: drivers that have none complain. */
static void find_interrupts(struct apus_ethdev_port *p, bool asked)
{
	for (unsigned int i = 0; i < p->shards; i++)
		p->fds[i] = asked && i < p->rx_queues
				    ? rte_eth_dev_rx_intr_ctl_q_get_fd(p->port, (uint16_t)i)
				    : -1;
}

static void choose_mac(struct apus_ethdev_port *p)
{
	if (rte_eth_macaddr_get(p->port, &p->mac))
		rte_eth_random_addr(p->mac.addr_bytes);
	if (p->is_tap) {
		p->mac.addr_bytes[0] |= RTE_ETHER_LOCAL_ADMIN_ADDR;
		p->mac.addr_bytes[5] ^= 1;
	}
}

static void draw_key(uint64_t seed, uint8_t *key, size_t bytes)
{
	struct apus_random random;

	if (seed)
		apus_random_init_seed(&random, seed);
	else
		apus_random_init_system(&random);
	apus_rss_key_draw(&random, key, bytes);
}

/* From a port that was found to one that runs. What it set up by then goes with the port. */
static int start_port(struct apus_ethdev_port *p, const struct apus_ethdev_options *options,
		      char *why, size_t why_bytes)
{
	struct rte_eth_conf conf = {0};
	struct rte_eth_dev_info info;
	uint8_t key[APUS_RSS_KEY_BYTES_MAX];
	size_t key_bytes;
	int rc = rte_eth_dev_info_get(p->port, &info);

	if (rc) {
		snprintf(why, why_bytes, "%s says nothing of itself: %s", p->name, strerror(-rc));
		return rc;
	}
	p->is_tap = !strcmp(info.driver_name, "net_tap");
	p->reads_any_memory = reads_any_memory(info.driver_name);
	choose_offloads(p, &info, &conf);
	rc = choose_mtu(p, options->mtu, &info, why, why_bytes);
	if (!rc)
		rc = make_pools(p, options->mbufs ? options->mbufs : APUS_ETHDEV_MBUFS_DEFAULT, why,
				why_bytes);
	if (rc)
		return rc;
	key_bytes = apus_ethdev_rss_key_bytes(&info);
	draw_key(options->seed, key, key_bytes);
	rc = start_queues(p, &info, key, key_bytes, &conf);
	if (rc) {
		snprintf(why, why_bytes, "%s does not start: %s (%s)", p->name, strerror(-rc),
			 apus_eal_said());
		return rc;
	}
	find_interrupts(p, conf.intr_conf.rxq);
	apus_ethdev_test_rss(p, &info, key, key_bytes);
	choose_mac(p);
	if (p->shards == 1 || !apus_steer_open(&p->rss, p->tx_queues, &p->steer))
		return 0;
	snprintf(why, why_bytes, "not enough memory for what shards hand over to each other");
	return -ENOMEM;
}

int apus_ethdev_port_open(const struct apus_ethdev_options *options, char *why, size_t why_bytes,
			  struct apus_ethdev_port **out)
{
	struct apus_heap heap;
	struct apus_ethdev_port *p;
	int rc = -EINVAL;

	if (options->shards > APUS_RSS_SHARDS_MAX) {
		snprintf(why, why_bytes, "%u shards: a port is shared by %d at most",
			 options->shards, APUS_RSS_SHARDS_MAX);
		return -EINVAL;
	}
	rc = apus_heap_init(&heap);
	if (rc < 0)
		goto err_no_memory;
	p = apus_heap_zalloc(&heap, sizeof(*p));
	if (!p) {
		apus_heap_fini(&heap);
		rc = -ENOMEM;
		goto err_no_memory;
	}
	p->heap = heap; /* from here on the heap lives in what it gave */
	p->shards = options->shards ? options->shards : 1;
	rc = find_port(p, options->device, why, why_bytes);
	if (rc)
		goto err_heap;
	rc = start_port(p, options, why, why_bytes);
	if (rc)
		goto err_port;
	apus_eal_started();
	*out = p;
	return 0;

err_port:
	rte_eth_dev_close(p->port);
	free_pools(p); /* after the queues that hold mbufs of them */
err_heap:
	heap = p->heap;
	apus_heap_free(&heap, p);
	apus_heap_fini(&heap);
	return rc;
err_no_memory:
	snprintf(why, why_bytes, "not enough memory");
	return rc;
}

void apus_ethdev_port_close(struct apus_ethdev_port *p)
{
	struct apus_heap heap;

	apus_must(atomic_load_explicit(&p->links, memory_order_acquire) == 0);
	if (p->steer)
		apus_steer_close(p->steer);
	rte_eth_dev_stop(p->port);
	rte_eth_dev_close(p->port);
	free_pools(p);
	heap = p->heap;
	apus_heap_free(&heap, p);
	apus_heap_fini(&heap);
}

struct apus_steer *apus_ethdev_steer(const struct apus_ethdev_port *p)
{
	return p->steer;
}

/* --- Reporting ----------------------------------------------------------------------------- */

/* Who makes what, and why not the device. */
static const char *made_by(const struct apus_ethdev_port *p, uint64_t offload)
{
	if (p->tx_offloads & offload)
		return "device";
	if (!(p->offered & offload))
		return "software (not offered)";
	return p->is_tap ? "software (the driver's is slower)" : "software (not with the others)";
}

static void report_offloads(const struct apus_ethdev_port *p)
{
	apus_log(
		INFO,
		"link: offloads of %s: ipv4 checksum %s, tcp checksum %s, udp checksum %s, tcp "
		"segmentation %s, scatter %s, rx checksum %s, rx merging software (not asked for), "
		"zero-copy send of %s",
		p->name, made_by(p, RTE_ETH_TX_OFFLOAD_IPV4_CKSUM),
		made_by(p, RTE_ETH_TX_OFFLOAD_TCP_CKSUM), made_by(p, RTE_ETH_TX_OFFLOAD_UDP_CKSUM),
		made_by(p, RTE_ETH_TX_OFFLOAD_TCP_TSO),
		p->gather ? "software (gathered)" : "device",
		p->rx_offloads == RX_WANTED ? "device" : "software",
		p->reads_any_memory ? "any memory" : "memory that DPDK mapped");
}

static void report_rss(const struct apus_ethdev_port *p)
{
	char text[160];

	apus_ethdev_rss_verdict(p, text, sizeof(text));
	apus_log(INFO, "rss: %s", text);
}

/* How a shard of this port that sleeps hears of frames. */
static const char *woken_by(const struct apus_ethdev_port *p)
{
	if (p->fds[0] < 0)
		return "back-off";
	return p->is_tap ? "its descriptor" : "interrupts";
}

void apus_ethdev_port_report(const struct apus_ethdev_port *p)
{
	char interface[IF_NAMESIZE + 8] = "", name[IF_NAMESIZE];
	uint64_t checksums = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM |
			     RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
	const uint8_t *mac = p->mac.addr_bytes;
	struct rte_eth_dev_info info;

	if (rte_eth_dev_info_get(p->port, &info))
		return;

	if (info.if_index && if_indextoname(info.if_index, name))
		snprintf(interface, sizeof(interface), ", %s", name);
	report_offloads(p);
	apus_log(INFO,
		 "link: %s (%s%s), mac %02x:%02x:%02x:%02x:%02x:%02x, mtu %u, checksums tx %s rx "
		 "%s, segments %s, idle by %s",
		 p->name, info.driver_name, interface, mac[0], mac[1], mac[2], mac[3], mac[4],
		 mac[5], p->mtu, (p->tx_offloads & checksums) == checksums ? "device" : "software",
		 p->rx_offloads == RX_WANTED ? "device" : "software",
		 p->gather ? "gathered" : "device", woken_by(p));
	if (p->shards > 1)
		report_rss(p);
}
