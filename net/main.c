/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/main.c: from main() to a task with a network, and back.
 *
 * The options that all applications share become a plain struct first, by argp; nothing is opened
 * while they are parsed. Then everything is opened in order, and closed in the opposite one: DPDK,
 * the port, the shards with their threads, and on each shard its queue of the port, impairments,
 * capture, steering and stack.
 */
#include "net/main.h"

#include "net/link/capture.h"
#include "net/link/eal.h"
#include "net/link/ethdev.h"
#include "net/link/impair.h"
#include "net/link/steer.h"
#include "net/main_addr.h"
#include "net/main_cores.h"
#include "net/socket/kernel.h"
#include "net/stack.h"
#include "net/tcp/cc.h"
#include "net/telemetry.h"
#include "runtime/base/log.h"
#include "runtime/cross/shards.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WHY_BYTES APUS_EAL_WHY_BYTES
#define LINGER_NS APUS_SEC
#define VERSION   "apus 0.1.0"
/* Of a stack, besides those that an application asks for: others are on their way out. */
#define CONNECTIONS_USUAL 65536
#define STATUS_OPTION     2 /* exit status of a wrong option, as a shell's */

enum key {
	KEY_IP = 0x100,
	KEY_ADDRS,
	KEY_GW,
	KEY_MTU,
	KEY_NET,
	KEY_VDEV,
	KEY_MBUFS,
	KEY_CORES,
	KEY_IDLE,
	KEY_SEED,
	KEY_IMPAIR,
	KEY_CONGESTION,
	KEY_PCAP,
	KEY_DEBUG,
	KEY_EAL,
	KEY_USAGE,
};

/* The command line, checked. */
struct options {
	struct apus_stack_options stack;
	struct apus_impair_options impair;
	const char *vdev;           /* NULL: none is made */
	const char *pcap;           /* NULL: no capture */
	const char *eal;            /* NULL: nothing more for EAL */
	uint64_t seed;              /* 0: from the system */
	uint32_t mbufs;             /* 0: the default */
	int cores[APUS_SHARDS_MAX]; /* a CPU for each shard */
	unsigned int count;         /* of them */
	bool impaired;
	bool spin;
	bool debug;
	bool kernel;            /* the host's sockets instead of a network of our own */
	const char *own_option; /* one that was given and makes sense for ours only; NULL: none */
	const struct apus_app *app;
};

/* What is open on one shard. */
struct room {
	struct apus_link *link;     /* the outermost around its queue of the port */
	struct apus_stack *stack;   /* NULL when the application wants the link itself */
	struct apus_kernel *kernel; /* instead of both: --net kernel */
};

/* What is open. */
struct house {
	const struct options *options;
	struct apus_ethdev_port *port;
	struct apus_shards *shards;
	struct room rooms[APUS_SHARDS_MAX];
	char why[WHY_BYTES]; /* what went wrong */
};

/* --- Options ------------------------------------------------------------------------------- */

static const struct argp_option common_options[] = {
	{NULL, 0, NULL, 0, "Network:", 1},
	{"ip", KEY_IP, "ADDR/BITS", 0, "our address and the length of its prefix (10.7.0.2/24)", 0},
	{"addrs", KEY_ADDRS, "N", 0,
	 "addresses in a row that are ours, from that of --ip on; connections that we open leave from "
	 "all in turn (1)",
	 0},
	{"gw", KEY_GW, "ADDR", 0, "gateway to all other networks (none)", 0},
	{"congestion", KEY_CONGESTION, "NAME", 0,
	 "congestion control of TCP: cubic (default), reno, dctcp, bbr", 0},
	{"mtu", KEY_MTU, "BYTES", 0, "largest IP packet (the device's, 1500 as a rule)", 0},
	{"net", KEY_NET, "KIND", 0,
	 "dpdk: a network of our own (default); kernel: the host's sockets, for comparison and "
	 "without a NIC",
	 0},
	{"vdev", KEY_VDEV, "DEVICE", 0,
	 "DPDK device to make (net_tap0, whose other end is the interface dtap0); arguments follow "
	 "after commas: net_tap0,iface=NAME",
	 0},
	{"mbufs", KEY_MBUFS, "N", 0, "packet buffers of each shard (16384)", 0},
	{"eal", KEY_EAL, "ARGS", 0,
	 "more arguments for DPDK, split as by a shell; \"-a 0000:03:00.0\" takes a NIC that is "
	 "bound to vfio-pci instead of making a device",
	 0},
	{NULL, 0, NULL, 0, "Scheduling:", 2},
	{"cores", KEY_CORES, "LIST", 0,
	 "CPUs to run on, a shard on each: 0-3, or 0,2, or all (the first that is allowed)", 0},
	{"idle", KEY_IDLE, "HOW", 0,
	 "adaptive: sleep when there is nothing to do (default); spin: never", 0},
	{NULL, 0, NULL, 0, "Looking and testing:", 3},
	{"impair", KEY_IMPAIR, "SPEC", 0,
	 "a bad network, both ways: loss=1%,delay=10ms,jitter=2ms,reorder=1%,reorder-by=5ms,"
	 "duplicate=1%,corrupt=0.1%,rate=100mbit,queue=1000,direction=rx|tx|both,seed=7",
	 0},
	{"pcap", KEY_PCAP, "FILE", 0,
	 "write all frames to FILE (pcapng, for Wireshark); those of more shards to FILE.1, ...",
	 0},
	{"seed", KEY_SEED, "N", 0, "of all chance, for the same run again (from the system)", 0},
	{"debug", KEY_DEBUG, NULL, 0,
	 "look for mistakes (slow steps, deadlocks, forgotten tasks; also by APUS_DEBUG=1), say more, "
	 "and let DPDK say everything",
	 0},
	{NULL, 0, NULL, 0, "Help:", -1},
	{"help", '?', NULL, 0, "this list", -1},
	{"usage", KEY_USAGE, NULL, 0, "a short one", -1},
	{"version", 'V', NULL, 0, "the program's version", -1},
	{0},
};

static FILE *stderr_kept; /* the real one, while getopt speaks into a buffer */

void apus_main_refuse(const char *fmt, ...)
{
	va_list args;

	if (stderr_kept)
		stderr = stderr_kept;
	va_start(args, fmt);
	fprintf(stderr, "%s: ", program_invocation_short_name);
	vfprintf(stderr, fmt, args);
	fprintf(stderr, "\n");
	va_end(args);
	exit(STATUS_OPTION);
}

uint64_t apus_main_number(const char *option, const char *text, uint64_t min, uint64_t max)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(text, &end, 0);
	if (*text < '0' || *text > '9' || *end || errno || value < min || value > max)
		apus_main_refuse("--%s %s: give a whole number from %" PRIu64 " to %" PRIu64,
				 option, text, min, max);
	return value;
}

static_assert(APUS_SHARDS_MAX <= RTE_MAX_LCORE, "a shard is one of DPDK's threads");

static void parse_cores(struct options *o, const char *text)
{
	struct apus_cpus cpus;
	char why[WHY_BYTES];

	apus_cpus_look(&cpus);
	if (apus_cores_parse(text, &cpus, APUS_SHARDS_MAX, o->cores, &o->count, why, sizeof(why)))
		apus_main_refuse("%s", why);
}

static void parse_net(struct options *o, const char *text)
{
	if (strcmp(text, "dpdk") && strcmp(text, "kernel"))
		apus_main_refuse("--net %s: give dpdk or kernel (a simulated network is for tests: "
				 "net/sim)",
				 text);
	o->kernel = !strcmp(text, "kernel");
}

static void parse_congestion(struct options *o, const char *text)
{
	if (!apus_cc_find(text))
		apus_main_refuse("--congestion %s: give cubic, reno, dctcp or bbr", text);
	o->stack.tcp.congestion = text;
}

static void parse_impair(struct options *o, const char *text)
{
	char why[WHY_BYTES];

	if (apus_impair_parse(text, &o->impair, why, sizeof(why)))
		apus_main_refuse("--impair: %s", why);
	o->impaired = true;
}

/* All are there: do they fit together? */
static void check_options(struct options *o)
{
	if (o->kernel && o->own_option)
		apus_main_refuse("--%s is for a network of our own: leave it out with --net kernel",
				 o->own_option);
	if (!o->vdev && !apus_eal_names_device(o->eal))
		o->vdev = "net_tap0";
	apus_main_check_addresses(&o->stack);
}

static void parse_number(struct options *o, int key, const char *text)
{
	if (key == KEY_MTU)
		o->stack.mtu = (uint16_t)apus_main_number("mtu", text, 68, UINT16_MAX);
	else if (key == KEY_MBUFS)
		o->mbufs = (uint32_t)apus_main_number("mbufs", text, APUS_ETHDEV_MBUFS_MIN,
						      UINT64_C(1) << 28);
	else
		o->seed = apus_main_number("seed", text, 1, UINT64_MAX);
}

static APUS_NORETURN void help(struct argp_state *state, int key)
{
	if (key == 'V')
		printf("%s\n", VERSION);
	else
		argp_state_help(state, stdout, key == '?' ? ARGP_HELP_STD_HELP : ARGP_HELP_USAGE);
	exit(EXIT_SUCCESS);
}

/* Options of a network of our own: the kernel's has none of it. */
static void note_own_option(struct options *o, int key)
{
	static const struct {
		int key;
		const char *name;
	} own[] = {{KEY_IP, "ip"},     {KEY_ADDRS, "addrs"},   {KEY_GW, "gw"},
		   {KEY_VDEV, "vdev"}, {KEY_IMPAIR, "impair"}, {KEY_PCAP, "pcap"},
		   {KEY_EAL, "eal"}};

	for (size_t i = 0; i < apus_countof(own); i++)
		if (own[i].key == key)
			o->own_option = own[i].name;
}

static error_t parse_common(int key, char *text, struct argp_state *state)
{
	struct options *o = state->input;

	note_own_option(o, key);
	switch (key) {
	case ARGP_KEY_INIT:
		if (o->app->argp)
			state->child_inputs[0] = o->app->argp_input;
		return 0;
	case ARGP_KEY_END:
		check_options(o);
		return 0;
	case KEY_IP:
		apus_main_parse_ip(text, &o->stack);
		return 0;
	case KEY_ADDRS:
		apus_main_parse_addrs(text, &o->stack);
		return 0;
	case KEY_GW:
		apus_main_parse_gateway(text, &o->stack);
		return 0;
	case KEY_NET:
		parse_net(o, text);
		return 0;
	case KEY_VDEV:
		o->vdev = text;
		return 0;
	case KEY_CORES:
		parse_cores(o, text);
		return 0;
	case KEY_IDLE:
		if (strcmp(text, "adaptive") && strcmp(text, "spin"))
			apus_main_refuse("--idle %s: give adaptive or spin", text);
		o->spin = !strcmp(text, "spin");
		return 0;
	case KEY_MTU:
	case KEY_MBUFS:
	case KEY_SEED:
		parse_number(o, key, text);
		return 0;
	case KEY_IMPAIR:
		parse_impair(o, text);
		return 0;
	case KEY_CONGESTION:
		parse_congestion(o, text);
		return 0;
	case KEY_PCAP:
		o->pcap = text;
		return 0;
	case KEY_DEBUG:
		o->debug = true;
		return 0;
	case KEY_EAL:
		o->eal = text;
		return 0;
	case ARGP_KEY_ARG:
		if (o->app->argp && o->app->argp->args_doc)
			return ARGP_ERR_UNKNOWN; /* the application's */
		apus_main_refuse("%s: no arguments are taken, only options; --help lists them",
				 text);
		return 0;
	case KEY_USAGE:
	case '?':
	case 'V':
		help(state, key);
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/*
 * getopt and argp say what is wrong in two lines, to stderr. They say it into a buffer, and its first
 * line is what we say; options of applications may use argp_error() as everywhere.
 */
static void parse(struct options *o, int argc, char **argv)
{
	const struct argp_child children[] = {
		{o->app->argp, 0, o->app->argp ? "" : NULL, 0},
		{0},
	};
	const struct argp argp = {
		.options = common_options,
		.parser = parse_common,
		.args_doc = o->app->argp ? o->app->argp->args_doc : NULL,
		.doc = o->app->doc,
		.children = o->app->argp ? children : NULL,
	};

	char *said = NULL;
	size_t bytes;
	FILE *buffer = open_memstream(&said, &bytes);
	error_t rc;

	if (buffer) {
		stderr_kept = stderr;
		stderr = buffer;
	}
	argv[0] = program_invocation_short_name; /* what getopt begins its lines with */
	rc = argp_parse(&argp, argc, argv, ARGP_NO_EXIT | ARGP_NO_HELP, NULL, o);
	if (buffer) {
		stderr = stderr_kept;
		stderr_kept = NULL;
		fclose(buffer);
	}
	if (!rc && (!said || !*said)) {
		free(said);
		return;
	}
	if (said && *said)
		fprintf(stderr, "%.*s%s\n", (int)strcspn(said, "\n"), said,
			rc ? "; --help lists all options" : "");
	exit(STATUS_OPTION);
}

/* --- Opening ------------------------------------------------------------------------------- */

static int open_eal(struct house *h)
{
	const struct options *o = h->options;
	struct apus_eal_options options = {
		.vdev = o->vdev,
		.extra = o->eal,
		.memory_bytes = o->count * apus_ethdev_memory(o->mbufs, o->stack.mtu),
		.core = o->cores[0],
		.debug = o->debug,
	};

	return apus_eal_open(&options, h->why, sizeof(h->why));
}

/* The device, with a queue for each shard as far as it has them. */
static int open_port(struct house *h)
{
	const struct options *o = h->options;
	struct apus_ethdev_options options = {
		.device = o->vdev,
		.mtu = o->stack.mtu,
		.mbufs = o->mbufs,
		.shards = (uint16_t)o->count,
		.seed = o->seed,
	};

	return apus_ethdev_port_open(&options, h->why, sizeof(h->why), &h->port);
}

/* A file for each shard: a second one's is FILE.1, and so on. */
static int open_capture(struct house *h, struct room *r, unsigned int index)
{
	char *path = NULL;
	int rc;

	if (index && asprintf(&path, "%s.%u", h->options->pcap, index) < 0) {
		snprintf(h->why, sizeof(h->why), "not enough memory");
		apus_link_close(r->link);
		return -ENOMEM;
	}
	rc = apus_capture_open(r->link, path ? path : h->options->pcap, h->why, sizeof(h->why),
			       &r->link);
	free(path);
	return rc;
}

/*
 * A shard's queue of the device, and around it what the command line asks for; outermost what
 * brings each frame to the shard that it is for.
 */
static int open_link(struct house *h, struct room *r, unsigned int index, struct apus_shard *shard)
{
	const struct options *o = h->options;
	struct apus_steer *steer = apus_ethdev_steer(h->port);
	int rc = apus_ethdev_queue_open(h->port, index, &r->link);

	if (rc)
		snprintf(h->why, sizeof(h->why), "the device: %s", strerror(-rc));
	if (!rc && o->impaired) {
		rc = apus_impair_open(r->link, &o->impair, apus_shard_random(shard), &r->link);
		if (rc)
			snprintf(h->why, sizeof(h->why), "--impair: %s", strerror(-rc));
	}
	if (!rc && o->pcap)
		rc = open_capture(h, r, index);
	if (!rc && steer) {
		rc = apus_steer_wrap(steer, r->link, &r->link);
		if (rc)
			snprintf(h->why, sizeof(h->why), "steering: %s", strerror(-rc));
	}
	if (rc)
		r->link = NULL; /* each of them consumed it */
	else
		apus_shard_set_slot(shard, APUS_MAIN_SLOT, r->link);
	return rc;
}

static bool is_bare(const struct options *o)
{
	return o->app->bare && *o->app->bare;
}

static int open_stack(struct house *h, struct room *r, struct apus_shard *shard)
{
	int rc;

	if (is_bare(h->options))
		return 0;
	rc = apus_stack_open(shard, r->link, &h->options->stack, &r->stack);
	if (rc)
		snprintf(h->why, sizeof(h->why), "the network stack did not start: %s",
			 strerror(-rc));
	return rc;
}

static int open_kernel(struct house *h, struct room *r, struct apus_shard *shard)
{
	const struct apus_kernel_options options = {.share_ports = h->options->count > 1};
	int rc = apus_kernel_open(shard, &options, &r->kernel);

	if (rc)
		apus_kernel_say_why(rc, h->why, sizeof(h->why));
	return rc;
}

/* Of each shard, on its thread, in order. */
static int set_up(struct apus_shard *shard, unsigned int index, void *arg)
{
	struct house *h = arg;
	struct room *r = &h->rooms[index];
	int rc;

	if (h->options->kernel)
		return open_kernel(h, r, shard);
	rc = apus_eal_thread_open(h->why, sizeof(h->why));
	if (rc)
		return rc;
	rc = open_link(h, r, index, shard);
	if (!rc)
		rc = open_stack(h, r, shard); /* consumes the link */
	if (rc)
		apus_eal_thread_close();
	return rc;
}

static void tear_down(struct apus_shard *shard, unsigned int index, void *arg)
{
	struct room *r = &((struct house *)arg)->rooms[index];

	if (r->kernel) {
		apus_kernel_close(r->kernel);
		return;
	}
	if (r->stack)
		apus_stack_close(r->stack);
	else if (r->link)
		apus_link_close(r->link);
	apus_eal_thread_close();
}

/* What tasks closed while they were cancelled has yet to be said. */
static int64_t say_goodbye(struct apus_shard *shard, unsigned int index, void *arg)
{
	struct room *r = &((struct house *)arg)->rooms[index];

	if (r->stack && apus_stack_linger(r->stack, LINGER_NS) == -ETIMEDOUT)
		apus_log(INFO, "stop: some peers did not answer our FIN in time");
	if (r->kernel && apus_kernel_linger(r->kernel, LINGER_NS) == -ETIMEDOUT)
		apus_log(INFO, "stop: some peers did not read all in time");
	return 0;
}

static int open_shards(struct house *h)
{
	const struct options *o = h->options;
	struct apus_shards_options options = {
		.shard =
			{
				.seed = o->seed,
				.spin = o->spin,
				.stack_report = true,
				.debug = o->debug,
			},
		.cores = o->cores,
		.count = o->count,
		.setup = set_up,
		.end = say_goodbye,
		.teardown = tear_down,
		.arg = h,
	};
	unsigned int failed;
	int rc = apus_shards_open(&options, &h->shards, &failed);

	if (rc && !*h->why)
		snprintf(h->why, sizeof(h->why), "the scheduler of CPU %d did not start: %s",
			 o->cores[failed], strerror(-rc));
	return rc;
}

/* --- Signals ------------------------------------------------------------------------------- */

/*
 * While things are opened and closed SIGINT and SIGTERM wait, so that nothing is left half open or
 * behind. Threads that are made meanwhile (DPDK's) leave them to this one.
 */
static void hold_signals(bool on)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(on ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

/* --- Running ------------------------------------------------------------------------------- */

/* The main task. What came while we opened cancels it now: the handlers are there. */
static int64_t begin(void *arg)
{
	const struct apus_app *app = arg;

	hold_signals(false);
	return app->fn(app->arg);
}

/* What main() returns for what the task did. */
static int status_of(int64_t rc)
{
	if (rc >= 0)
		return (int)apus_min(rc, INT64_C(255));
	if (rc == -ECANCELED)
		return 0;
	fprintf(stderr, "%s: %s\n", program_invocation_short_name, strerror((int)-rc));
	return EXIT_FAILURE;
}

static int run(struct house *h)
{
	int64_t rc = apus_shards_run(h->shards, begin, (void *)(uintptr_t)h->options->app);

	hold_signals(true);
	if (apus_shards_is_stuck(h->shards))
		_exit(EXIT_FAILURE); /* a thread still uses everything; it was said which */
	return status_of(rc);
}

/* What DPDK adds around a run. */
static int run_observed(struct house *h)
{
	int status;

	apus_ethdev_port_report(h->port);
	if (apus_telemetry_open(h->shards))
		apus_log(WARN, "telemetry: /apus/tasks and /apus/tree are not there");
	status = run(h);
	apus_telemetry_close();
	return status;
}

static int open_and_run_here(struct house *h)
{
	int status = EXIT_FAILURE;

	if (open_port(h))
		return status;
	if (!open_shards(h)) {
		status = run_observed(h);
		apus_shards_close(h->shards);
	}
	apus_ethdev_port_close(h->port);
	return status;
}

static int open_and_run(struct house *h)
{
	int status = EXIT_FAILURE;

	hold_signals(true);
	if (h->options->kernel) {
		if (!open_shards(h)) {
			status = run(h);
			apus_shards_close(h->shards);
		}
	} else if (!open_eal(h)) {
		status = open_and_run_here(h);
		apus_eal_close();
	}
	if (*h->why)
		fprintf(stderr, "%s: %s\n", program_invocation_short_name, h->why);
	hold_signals(false);
	return status;
}

static int first_allowed_cpu(void)
{
	cpu_set_t set;

	if (!sched_getaffinity(0, sizeof(set), &set))
		for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
			if (CPU_ISSET(cpu, &set))
				return cpu;
	return -1;
}

int apus_main_with(const struct apus_app *app, int argc, char **argv)
{
	static struct house house; /* one per process, and large */
	struct options options = {.app = app, .count = 1};

	house = (struct house){.options = &options};
	options.cores[0] = first_allowed_cpu();
	if (apus_addr_parse_prefix("10.7.0.2/24", &options.stack.addr, &options.stack.prefix_bits))
		return EXIT_FAILURE;
	parse(&options, argc, argv);
	if (app->connections && *app->connections > CONNECTIONS_USUAL)
		options.stack.connections_max = *app->connections + CONNECTIONS_USUAL;
	if (is_bare(&options) && options.kernel)
		apus_main_refuse(
			"--net kernel: without a stack there is nothing for the kernel to do");
	if (is_bare(&options) && options.count > 1)
		apus_main_refuse("--cores: without a stack it runs on one core; give one CPU");
	apus_log_set_level(options.debug ? APUS_LOG_DEBUG : APUS_LOG_INFO);
	return open_and_run(&house);
}

int apus_main(int argc, char **argv, apus_task_fn fn, void *arg)
{
	const struct apus_app app = {.fn = fn, .arg = arg};

	return apus_main_with(&app, argc, argv);
}

struct apus_link *apus_main_link(void)
{
	struct apus_shard *shard = apus_shard_self();

	return shard ? apus_shard_slot(shard, APUS_MAIN_SLOT) : NULL;
}
