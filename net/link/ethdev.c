/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/link/ethdev.c: one queue pair of a DPDK port, any driver's, as a link.
 *
 * Offloads. Checksums are left to the device where it is hardware. net_tap says it has them, and
 * makes them by software from a copy of the headers: the stack makes its own at less cost. A driver
 * that cannot send a frame of several segments gets it gathered into one.
 *
 * Idle. Where the driver gives a file descriptor for the queue, the shard sleeps on it. A driver
 * with interrupts has them armed first, then the queue is looked at again, because a frame may have
 * come in between. net_tap's descriptor is the TAP itself, readable while frames wait, and needs no
 * arming. With neither, a sleeping shard looks after a delay that grows up to a millisecond.
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
 */
#include "net/link/ethdev.h"
#include "net/link/eal.h"
#include "runtime/base/check.h"
#include "runtime/base/log.h"
#include "runtime/sched/shard.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_mempool.h>

#define DESCRIPTORS     1024
#define TAP_DESCRIPTORS 64 /* its receive queue keeps an mbuf for each, and reads into one */
#define POOL_CACHE      256
#define FRAME_OVERHEAD  (RTE_ETHER_HDR_LEN + 2 * 4 + RTE_ETHER_CRC_LEN) /* two VLAN tags */
#define MEMORY_REST     (UINT64_C(24) << 20) /* EAL's heap, rings, the port's private data */
#define STATS_NS        APUS_SEC
#define BACKOFF_MIN_NS  (20 * APUS_US)
#define BACKOFF_MAX_NS  APUS_MS
#define RECHECK_MAX_NS  (10 * APUS_MS) /* armed, but the driver cannot say if a frame came */
#define MTU_DEFAULT     RTE_ETHER_MTU

#define TX_WANTED                                                                               \
 (RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM | \
  RTE_ETH_TX_OFFLOAD_MULTI_SEGS | RTE_ETH_TX_OFFLOAD_TCP_TSO)
/* A device that cuts makes the checksums of what it cuts, from a chain. */
#define TSO_NEEDS \
 (RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_MULTI_SEGS)
#define RX_WANTED RTE_ETH_RX_OFFLOAD_CHECKSUM

enum wake {
	WAKE_NONE,      /* no descriptor: back-off */
	WAKE_LEVEL,     /* readable while frames wait */
	WAKE_INTERRUPT, /* must be armed and disarmed */
};

struct ethdev {
	struct apus_link link; /* first */
	struct apus_heap *memory;
	enum wake wake;
	int64_t backoff_ns;  /* the next one, while nothing comes */
	int64_t stats_at_ns; /* when to ask the driver for its counters again */
	uint16_t port;
	uint16_t queue;
	uint64_t offered; /* RTE_ETH_TX_OFFLOAD_* that the driver says it has */
	bool is_tap;
	bool gather;  /* the driver takes one segment only */
	bool prepare; /* granted offloads need rte_eth_tx_prepare() */
	char name[RTE_ETH_NAME_MAX_LEN];
};

/* --- The link ------------------------------------------------------------------------------ */

/* What only the driver saw. */
static APUS_COLD void read_stats(struct ethdev *d, int64_t now_ns)
{
	struct rte_eth_stats stats;

	d->stats_at_ns = now_ns + STATS_NS;
	if (rte_eth_stats_get(d->port, &stats))
		return;
	d->link.counters[APUS_LINK_RX_DROP_NO_MBUF] = stats.rx_nombuf;
	d->link.counters[APUS_LINK_RX_DROP_FULL] = stats.imissed;
}

static uint16_t ethdev_rx(struct apus_link *link, struct rte_mbuf **frames, uint16_t n,
			  int64_t now_ns)
{
	struct ethdev *d = apus_container_of(link, struct ethdev, link);
	uint16_t got = rte_eth_rx_burst(d->port, d->queue, frames, n);

	if (got) {
		apus_link_count(link, APUS_LINK_RX_FRAMES, frames, got);
		d->backoff_ns = BACKOFF_MIN_NS;
	}
	if (apus_unlikely(now_ns >= d->stats_at_ns))
		read_stats(d, now_ns);
	return got;
}

/* Makes each frame one segment, by a copy. Frames that cannot be are dropped. Return: how many are left. */
static uint16_t gather(struct ethdev *d, struct rte_mbuf **frames, uint16_t n)
{
	uint16_t kept = 0;

	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = frames[i];

		if (m->nb_segs > 1) {
			struct rte_mbuf *one = rte_pktmbuf_copy(m, d->link.pool, 0, UINT32_MAX);

			rte_pktmbuf_free(m);
			if (one && one->nb_segs > 1) {
				rte_pktmbuf_free(one);
				one = NULL;
			}
			m = one;
		}
		if (m)
			frames[kept++] = m;
		else
			d->link.counters[APUS_LINK_TX_DROP_NO_MBUF]++;
	}
	return kept;
}

static void ethdev_tx(struct apus_link *link, struct rte_mbuf **frames, uint16_t n, int64_t now_ns)
{
	struct ethdev *d = apus_container_of(link, struct ethdev, link);
	uint64_t bytes = 0;
	uint16_t ready, sent;

	if (d->gather)
		n = gather(d, frames, n);
	ready = d->prepare ? rte_eth_tx_prepare(d->port, d->queue, frames, n) : n;
	for (uint16_t i = 0; i < ready; i++)
		bytes += frames[i]->pkt_len; /* now: the driver frees what it takes */
	sent = rte_eth_tx_burst(d->port, d->queue, frames, ready);
	for (uint16_t i = sent; i < ready; i++)
		bytes -= frames[i]->pkt_len;
	link->counters[APUS_LINK_TX_FRAMES] += sent;
	link->counters[APUS_LINK_TX_BYTES] += bytes;
	if (apus_unlikely(sent < n)) {
		link->counters[APUS_LINK_TX_DROP_FULL] += ready - sent;
		link->counters[APUS_LINK_TX_DROP_REFUSED] += n - ready;
		rte_pktmbuf_free_bulk(frames + sent, n - sent);
	}
}

/* Interrupts on; then look again, because a frame may have come before they were. */
static int64_t arm(struct ethdev *d, int64_t now_ns)
{
	int waiting;

	if (rte_eth_dev_rx_intr_enable(d->port, d->queue))
		return now_ns + BACKOFF_MAX_NS;
	waiting = rte_eth_rx_queue_count(d->port, d->queue);
	if (waiting > 0)
		return now_ns;
	return waiting < 0 ? now_ns + RECHECK_MAX_NS : APUS_NEVER;
}

static void disarm(struct ethdev *d)
{
	uint64_t events;

	rte_eth_dev_rx_intr_disable(d->port, d->queue);
	/* An eventfd that does not block: it stays readable until it is read. */
	while (read(d->link.wake_fd, &events, sizeof(events)) > 0)
		;
}

static int64_t ethdev_idle(struct apus_link *link, enum apus_idle what, int64_t now_ns)
{
	struct ethdev *d = apus_container_of(link, struct ethdev, link);
	int64_t delay_ns = d->backoff_ns;

	switch (d->wake) {
	case WAKE_LEVEL:
		return APUS_NEVER;
	case WAKE_INTERRUPT:
		if (what == APUS_IDLE_ARM)
			return arm(d, now_ns);
		if (what == APUS_IDLE_WAKE)
			disarm(d);
		return APUS_NEVER;
	case WAKE_NONE:
		if (what == APUS_IDLE_ARM)
			d->backoff_ns = apus_min(2 * delay_ns, BACKOFF_MAX_NS);
		return now_ns + delay_ns;
	}
	return now_ns;
}

static void ethdev_close(struct apus_link *link)
{
	struct ethdev *d = apus_container_of(link, struct ethdev, link);
	unsigned int out;

	rte_eth_dev_stop(d->port);
	rte_eth_dev_close(d->port);
	out = rte_mempool_in_use_count(link->pool);
	if (out)
		apus_log(DEBUG, "link: %u frames were not given back to %s", out, d->name);
	rte_mempool_free(link->pool);
	apus_link_fini(link);
	apus_heap_free(d->memory, d);
}

static const struct apus_link_type ethdev_type = {
	.name = "ethdev",
	.rx = ethdev_rx,
	.tx = ethdev_tx,
	.idle = ethdev_idle,
	.close = ethdev_close,
};

/* --- Opening ------------------------------------------------------------------------------- */

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

static int find_port(struct ethdev *d, const char *device, char *why, size_t why_bytes)
{
	uint16_t port;

	snprintf(d->name, sizeof(d->name), "%.*s", device ? (int)strcspn(device, ",") : 0,
		 device ? device : "");
	if (device && !rte_eth_dev_get_port_by_name(d->name, &d->port))
		return 0;
	if (!device) {
		RTE_ETH_FOREACH_DEV(port)
		{
			d->port = port;
			return rte_eth_dev_get_name_by_port(port, d->name);
		}
	}
	if (device)
		snprintf(why, why_bytes, "DPDK made no device %s%s%s", d->name,
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

/*
 * As rte_pktmbuf_pool_create(), but without hugepages mbufs may cross pages. Else each would begin a
 * page: half of the memory lost, and every header in the same few lines of the first-level cache.
 * Only devices of software work without hugepages, and they do not ask where a page really is.
 */
static struct rte_mempool *create_pool(const char *name, uint32_t mbufs, uint16_t room, int socket)
{
	struct rte_pktmbuf_pool_private private = {.mbuf_data_room_size = room};
	unsigned int flags = rte_eal_has_hugepages() ? 0 : RTE_MEMPOOL_F_NO_IOVA_CONTIG;
	struct rte_mempool *pool =
		rte_mempool_create_empty(name, mbufs, (unsigned int)sizeof(struct rte_mbuf) + room,
					 POOL_CACHE, sizeof(private), socket, flags);
	int rc;

	if (!pool)
		return NULL;
	rc = rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), NULL);
	if (!rc) {
		rte_pktmbuf_pool_init(pool, &private);
		rc = rte_mempool_populate_default(pool);
	}
	if (rc < 0) {
		rte_mempool_free(pool);
		rte_errno = -rc;
		return NULL;
	}
	rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
	return pool;
}

static int make_pool(struct ethdev *d, uint32_t mbufs, char *why, size_t why_bytes)
{
	char name[RTE_MEMPOOL_NAMESIZE];

	if (mbufs < APUS_ETHDEV_MBUFS_MIN) {
		snprintf(why, why_bytes, "--mbufs %u: %d is the least that a port works with",
			 mbufs, APUS_ETHDEV_MBUFS_MIN);
		return -EINVAL;
	}
	snprintf(name, sizeof(name), "apus-%u-%u", d->port, d->queue);
	d->link.pool = create_pool(name, mbufs, (uint16_t)data_room(d->link.mtu),
				   rte_eth_dev_socket_id(d->port));
	if (d->link.pool)
		return 0;
	snprintf(why, why_bytes,
		 "not enough memory for %u packet buffers (%s): ask for fewer with --mbufs", mbufs,
		 rte_strerror(rte_errno));
	return -ENOMEM;
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
static void choose_offloads(struct ethdev *d, const struct rte_eth_dev_info *info,
			    struct rte_eth_conf *conf)
{
	conf->txmode.offloads = TX_WANTED & info->tx_offload_capa;
	conf->rxmode.offloads = RX_WANTED & info->rx_offload_capa;
	if (d->is_tap) {
		conf->txmode.offloads &= RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
		conf->rxmode.offloads = 0;
	}
	if ((conf->txmode.offloads & TSO_NEEDS) != TSO_NEEDS)
		conf->txmode.offloads &= ~RTE_ETH_TX_OFFLOAD_TCP_TSO;
	d->offered = info->tx_offload_capa;
	d->link.tx_segs_max = info->tx_desc_lim.nb_seg_max;
	d->gather = !(conf->txmode.offloads & RTE_ETH_TX_OFFLOAD_MULTI_SEGS);
	d->prepare = conf->txmode.offloads & ~RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	d->link.tx_offloads = conf->txmode.offloads | RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	d->link.rx_offloads = conf->rxmode.offloads;
}

static int choose_mtu(struct ethdev *d, uint16_t mtu, const struct rte_eth_dev_info *info,
		      char *why, size_t why_bytes)
{
	uint16_t max = apus_min(info->max_mtu, (uint16_t)(UINT16_MAX - RTE_PKTMBUF_HEADROOM -
							  FRAME_OVERHEAD - RTE_CACHE_LINE_SIZE));

	if (!mtu && rte_eth_dev_get_mtu(d->port, &mtu))
		mtu = MTU_DEFAULT;
	if (mtu < info->min_mtu || mtu < 68 || mtu > max) {
		snprintf(why, why_bytes, "--mtu %u: %s takes %u to %u", mtu, d->name,
			 apus_max(info->min_mtu, 68), max);
		return -EINVAL;
	}
	d->link.mtu = mtu;
	return 0;
}

static int set_up_queues(struct ethdev *d, const struct rte_eth_dev_info *info,
			 struct rte_eth_conf *conf)
{
	uint16_t rx = d->is_tap ? TAP_DESCRIPTORS : DESCRIPTORS, tx = rx;
	int socket = rte_eth_dev_socket_id(d->port);
	int rc;

	conf->rxmode.mtu = d->link.mtu;
	conf->intr_conf.rxq = 1;
	rc = rte_eth_dev_configure(d->port, 1, 1, conf);
	if (rc) { /* not every driver has interrupts; without them there is the back-off */
		conf->intr_conf.rxq = 0;
		rc = rte_eth_dev_configure(d->port, 1, 1, conf);
	}
	if (!rc)
		rc = rte_eth_dev_adjust_nb_rx_tx_desc(d->port, &rx, &tx);
	if (!rc)
		rc = rte_eth_rx_queue_setup(d->port, d->queue, rx, (unsigned int)socket, NULL,
					    d->link.pool);
	if (!rc)
		rc = rte_eth_tx_queue_setup(d->port, d->queue, tx, (unsigned int)socket, NULL);
	if (rc)
		return rc;
	rte_eth_dev_set_mtu(d->port, d->link.mtu); /* those that did not take it from conf */
	if (d->is_tap)
		silence_tap(info);
	return rte_eth_dev_start(d->port);
}

/* How will a sleeping shard hear of frames? The port is started. */
static void choose_wake(struct ethdev *d, bool asked)
{
	int fd = asked ? rte_eth_dev_rx_intr_ctl_q_get_fd(d->port, d->queue) : -1;

	d->wake = WAKE_NONE;
	d->backoff_ns = BACKOFF_MIN_NS;
	if (fd < 0)
		return;
	if (d->is_tap) {
		d->wake = WAKE_LEVEL;
	} else if (!rte_eth_dev_rx_intr_enable(d->port, d->queue)) {
		rte_eth_dev_rx_intr_disable(d->port, d->queue);
		d->wake = WAKE_INTERRUPT;
	}
	if (d->wake != WAKE_NONE)
		d->link.wake_fd = fd;
}

static void choose_mac(struct ethdev *d)
{
	if (rte_eth_macaddr_get(d->port, &d->link.mac))
		rte_eth_random_addr(d->link.mac.addr_bytes);
	if (d->is_tap) {
		d->link.mac.addr_bytes[0] |= RTE_ETHER_LOCAL_ADMIN_ADDR;
		d->link.mac.addr_bytes[5] ^= 1;
	}
}

/* From a port that was found to one that runs. What it set up by then goes with the port. */
static int start_port(struct ethdev *d, const struct apus_ethdev_options *options, char *why,
		      size_t why_bytes)
{
	struct rte_eth_conf conf = {0};
	struct rte_eth_dev_info info;
	int rc = rte_eth_dev_info_get(d->port, &info);

	if (rc) {
		snprintf(why, why_bytes, "%s says nothing of itself: %s", d->name, strerror(-rc));
		return rc;
	}
	d->is_tap = !strcmp(info.driver_name, "net_tap");
	d->link.reads_any_memory = reads_any_memory(info.driver_name);
	choose_offloads(d, &info, &conf);
	rc = choose_mtu(d, options->mtu, &info, why, why_bytes);
	if (!rc)
		rc = make_pool(d, options->mbufs ? options->mbufs : APUS_ETHDEV_MBUFS_DEFAULT, why,
			       why_bytes);
	if (rc)
		return rc;
	rc = set_up_queues(d, &info, &conf);
	if (rc) {
		snprintf(why, why_bytes, "%s does not start: %s (%s)", d->name, strerror(-rc),
			 apus_eal_said());
		return rc;
	}
	choose_wake(d, conf.intr_conf.rxq);
	choose_mac(d);
	return 0;
}

int apus_ethdev_open(const struct apus_ethdev_options *options, char *why, size_t why_bytes,
		     struct apus_link **out)
{
	struct apus_heap *memory = apus_shard_heap(apus_shard_self());
	struct ethdev *d = apus_heap_zalloc(memory, sizeof(*d));
	int rc;

	if (!d) {
		snprintf(why, why_bytes, "not enough memory");
		return -ENOMEM;
	}
	apus_link_init(&d->link, &ethdev_type);
	d->memory = memory;
	rc = find_port(d, options->device, why, why_bytes);
	if (rc)
		goto err_link;
	rc = start_port(d, options, why, why_bytes);
	if (rc)
		goto err_port;
	apus_eal_started();
	*out = &d->link;
	return 0;

err_port:
	rte_eth_dev_close(d->port);
	rte_mempool_free(d->link.pool); /* after the queues that hold mbufs of it */
err_link:
	apus_link_fini(&d->link);
	apus_heap_free(memory, d);
	return rc;
}

uint16_t apus_ethdev_port(const struct apus_link *link)
{
	apus_must(link->type == &ethdev_type);
	return apus_container_of(link, const struct ethdev, link)->port;
}

/* Who makes what, and why not the device. */
static const char *made_by(const struct ethdev *d, uint64_t offload)
{
	if (d->link.tx_offloads & offload)
		return "device";
	if (!(d->offered & offload))
		return "software (not offered)";
	return d->is_tap ? "software (the driver's is slower)" : "software (not with the others)";
}

static void report_offloads(const struct ethdev *d)
{
	apus_log(
		INFO,
		"link: offloads of %s: ipv4 checksum %s, tcp checksum %s, udp checksum %s, tcp "
		"segmentation %s, scatter %s, rx checksum %s, rx merging software (not asked for), "
		"zero-copy send of %s",
		d->name, made_by(d, RTE_ETH_TX_OFFLOAD_IPV4_CKSUM),
		made_by(d, RTE_ETH_TX_OFFLOAD_TCP_CKSUM), made_by(d, RTE_ETH_TX_OFFLOAD_UDP_CKSUM),
		made_by(d, RTE_ETH_TX_OFFLOAD_TCP_TSO),
		d->gather ? "software (gathered)" : "device",
		d->link.rx_offloads == RX_WANTED ? "device" : "software",
		d->link.reads_any_memory ? "any memory" : "memory that DPDK mapped");
}

void apus_ethdev_report(const struct apus_link *link)
{
	const struct ethdev *d = apus_container_of(link, const struct ethdev, link);
	static const char *const wakes[] = {"back-off", "its descriptor", "interrupts"};
	char interface[IF_NAMESIZE + 8] = "", name[IF_NAMESIZE];
	uint64_t checksums = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM |
			     RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
	const uint8_t *mac = d->link.mac.addr_bytes;
	struct rte_eth_dev_info info;

	apus_must(link->type == &ethdev_type);
	if (rte_eth_dev_info_get(d->port, &info))
		return;

	if (info.if_index && if_indextoname(info.if_index, name))
		snprintf(interface, sizeof(interface), ", %s", name);
	report_offloads(d);
	apus_log(INFO,
		 "link: %s (%s%s), mac %02x:%02x:%02x:%02x:%02x:%02x, mtu %u, checksums tx %s rx "
		 "%s, segments %s, idle by %s",
		 d->name, info.driver_name, interface, mac[0], mac[1], mac[2], mac[3], mac[4],
		 mac[5], d->link.mtu,
		 (d->link.tx_offloads & checksums) == checksums ? "device" : "software",
		 d->link.rx_offloads == RX_WANTED ? "device" : "software",
		 d->gather ? "gathered" : "device", wakes[d->wake]);
}
