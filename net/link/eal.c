/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/link/eal.c: DPDK's environment, brought up once per process, as a library.
 *
 * What EAL would report unreadably, or only after it has left something behind, is looked at before
 * it starts: the TUN device and the right to use it, the name of the interface, the memory. EAL's own
 * words go to a stream of ours: kept back while it starts, logged afterwards if they are errors.
 *
 * Without hugepages memory is a file in memory that no other process sees (--no-huge); with enough of
 * them it is as private (--in-memory). DPDK 22.11 refuses the two together. Either way several
 * instances run side by side, and one that was killed leaves at most a directory of its own,
 * <runtime>/apus-<pid>, with the telemetry socket in it; the next start removes it.
 *
 * Where we differ from DPDK's examples: no EAL arguments on our command line but by --eal.
 */
#include "net/link/eal.h"
#include "runtime/base/check.h"
#include "runtime/base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>

#define ARGS_MAX             64
#define WORDS_BYTES          2048
#define MEMORY_DEFAULT_BYTES (64 * MIB)
#define MIB                  UINT64_C(0x100000)
#define TUN_PATH             "/dev/net/tun"
#define TAP_DRIVER           "net_tap"
#define TELEMETRY_SOCKET     "dpdk_telemetry.v2"
#define PREFIX               "apus-"

/* EAL is one per process, so this is too. */
static struct {
	bool opened;           /* once, for good */
	bool speaking;         /* log what it says */
	bool debug;            /* speak always */
	FILE *stream;          /* where EAL writes its log */
	char said[256];        /* its last line */
	char said_before[256]; /* the one before */
	char prefix[32];       /* apus-<pid> */
	bool hushed;           /* real-time signals are blocked, see apus_eal_open() */
	sigset_t mask;         /* what was blocked before */
} eal;

/* The arguments, as EAL wants them. */
struct args {
	char *argv[ARGS_MAX + 1];
	int argc;
	char text[WORDS_BYTES]; /* what argv points into */
	size_t used;
	bool full;
};

/* --- Arguments ----------------------------------------------------------------------------- */

/* A word of @bytes bytes, without the end. */
static void add_bytes(struct args *args, const char *word, size_t bytes)
{
	if (args->argc == ARGS_MAX || sizeof(args->text) - args->used <= bytes) {
		args->full = true;
		return;
	}
	args->argv[args->argc] = memcpy(args->text + args->used, word, bytes);
	args->text[args->used + bytes] = '\0';
	args->used += bytes + 1;
	args->argv[++args->argc] = NULL;
}

static APUS_PRINTF(2, 3) void add(struct args *args, const char *fmt, ...)
{
	char word[512];
	va_list list;
	int n;

	va_start(list, fmt);
	n = vsnprintf(word, sizeof(word), fmt, list);
	va_end(list);
	if (n < 0 || (size_t)n >= sizeof(word))
		args->full = true;
	else
		add_bytes(args, word, (size_t)n);
}

/*
 * Splits @text as a shell would: blanks part words, quotes and backslashes keep them whole.
 *
 * Return: false if a quote is not closed.
 */
static APUS_NOINLINE bool add_words(struct args *args, const char *text)
{
	char word[WORDS_BYTES];
	size_t used = 0;
	bool in_word = false;
	char quote = 0;

	for (; *text && used < sizeof(word) - 1; text++) {
		if (quote ? *text == quote : (*text == '\'' || *text == '"')) {
			quote = (char)(quote ? '\0' : *text);
			in_word = true;
		} else if (*text == '\\' && quote != '\'' && text[1]) {
			word[used++] = *++text;
			in_word = true;
		} else if (!quote && (*text == ' ' || *text == '\t' || *text == '\n')) {
			if (in_word)
				add_bytes(args, word, used);
			in_word = false;
			used = 0;
		} else {
			word[used++] = *text;
			in_word = true;
		}
	}
	if (*text)
		args->full = true;
	if (in_word)
		add_bytes(args, word, used);
	return !quote;
}

/* Is one of @names, which end with NULL, among the arguments ("-m", "-m64", "--x", "--x=y")? */
static bool has_any(const struct args *args, const char *const *names)
{
	for (int i = 0; i < args->argc; i++) {
		for (const char *const *name = names; *name; name++) {
			size_t n = strlen(*name);
			bool is_short = (*name)[1] != '-';

			if (strncmp(args->argv[i], *name, n))
				continue;
			if (is_short || !args->argv[i][n] || args->argv[i][n] == '=')
				return true;
		}
	}
	return false;
}

static const char *const device_options[] = {"-a", "--allow", "-b", "--block", "--vdev", NULL};
static const char *const pci_options[] = {"-a", "--allow", "-b", "--block", "--no-pci", NULL};
static const char *const core_options[] = {"-l", "-c", "--lcores", NULL};
static const char *const prefix_options[] = {"--file-prefix", NULL};
static const char *const iova_options[] = {"--iova-mode", NULL};
static const char *const size_options[] = {"-m", "--socket-mem", NULL};
static const char *const memory_options[] = {"--no-huge",     "--in-memory",  "--huge-dir",
					     "--huge-unlink", "--legacy-mem", NULL};

bool apus_eal_names_device(const char *extra)
{
	struct args args = {0};

	return extra && add_words(&args, extra) && has_any(&args, device_options);
}

/* --- What the machine has ------------------------------------------------------------------ */

/* The number in the file's first line that begins with @key (or in the file, if @key is ""). */
static bool read_number(const char *path, const char *key, uint64_t *out)
{
	char line[128];
	bool found = false;
	FILE *f = fopen(path, "re");

	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			found = sscanf(line + strlen(key), "%" SCNu64, out) == 1;
	fclose(f);
	return found;
}

/* Could @bytes be had in pages of @page bytes, now? Reserving is asked for, so a limit counts too. */
static bool can_reserve(uint64_t bytes, uint64_t page)
{
	int shift = __builtin_ctzll(page);
	uint64_t whole = (bytes + page - 1) / page * page;
	void *p =
		mmap(NULL, whole, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | (shift << MAP_HUGE_SHIFT), -1, 0);

	if (p == MAP_FAILED)
		return false;
	munmap(p, whole);
	return true;
}

/* Are there hugepages of one size, free and ours to take, for @bytes? */
static APUS_NOINLINE bool have_hugepages(uint64_t bytes)
{
	const char *base = "/sys/kernel/mm/hugepages";
	struct dirent *entry;
	bool found = false;
	DIR *dir = opendir(base);

	if (!dir)
		return false;
	while (!found && (entry = readdir(dir))) {
		char path[512];
		uint64_t kib, pages;

		if (sscanf(entry->d_name, "hugepages-%" SCNu64 "kB", &kib) != 1 || !kib)
			continue;
		snprintf(path, sizeof(path), "%s/%s/free_hugepages", base, entry->d_name);
		if (!read_number(path, "", &pages))
			continue;
		found = pages * (kib << 10) >= bytes && can_reserve(bytes, kib << 10);
	}
	closedir(dir);
	return found;
}

static int check_memory(uint64_t bytes, char *why, size_t why_bytes)
{
	uint64_t available_kib;

	if (!read_number("/proc/meminfo", "MemAvailable:", &available_kib))
		return 0;
	if (bytes < available_kib << 10)
		return 0;
	snprintf(why, why_bytes,
		 "not enough memory: %" PRIu64 " MiB are needed for packets and %" PRIu64
		 " MiB are free; ask for fewer with --mbufs",
		 bytes / MIB, available_kib >> 10);
	return -ENOMEM;
}

/* --- The TAP device ------------------------------------------------------------------------ */

static bool is_tap(const char *vdev)
{
	return vdev && !strncmp(vdev, TAP_DRIVER, strlen(TAP_DRIVER));
}

/* The interface that @vdev makes: the one it names; net_tapN makes dtapN. */
static void tap_name(const char *vdev, char *name, size_t name_bytes)
{
	const char *iface = strstr(vdev, ",iface=");

	if (iface) {
		iface += strlen(",iface=");
		snprintf(name, name_bytes, "%.*s", (int)strcspn(iface, ","), iface);
	} else {
		snprintf(name, name_bytes, "dtap%d", atoi(vdev + strlen(TAP_DRIVER)));
	}
}

/* The driver would take the next free number; a name that is known before is worth more. */
static void add_vdev(struct args *args, const char *vdev)
{
	char name[64];

	if (!is_tap(vdev) || strstr(vdev, ",iface=")) {
		add(args, "--vdev=%s", vdev);
		return;
	}
	tap_name(vdev, name, sizeof(name));
	add(args, "--vdev=%s,iface=%s", vdev, name);
}

static int tap_open(char *why, size_t why_bytes)
{
	int fd = open(TUN_PATH, O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	fd = -errno;
	if (fd == -EACCES || fd == -EPERM)
		snprintf(why, why_bytes,
			 "no permission to open " TUN_PATH
			 ": run as root, or let your user read and write it");
	else
		snprintf(why, why_bytes,
			 "no " TUN_PATH " here (%s): load the module with `modprobe tun`, or give "
			 "the container the device with `--device " TUN_PATH "`",
			 strerror(-fd));
	return fd;
}

/*
 * Makes an interface, and lets it go. Not by the name that will be used: whoever waits for that one
 * would take this one for it.
 */
static int tap_try(int fd, char *why, size_t why_bytes)
{
	struct ifreq ifr = {.ifr_name = "apus-try%d", .ifr_flags = IFF_TAP | IFF_MULTI_QUEUE};
	int rc = ioctl(fd, TUNSETIFF, &ifr) < 0 ? -errno : 0;

	if (rc == -EPERM || rc == -EACCES)
		snprintf(why, why_bytes,
			 "no permission to make a TAP interface: run as root, or in a network "
			 "namespace of your own with scripts/sandbox");
	else if (rc)
		snprintf(why, why_bytes, "no TAP interface can be made: %s", strerror(-rc));
	return rc;
}

static APUS_NOINLINE int check_tap(const char *vdev, char *why, size_t why_bytes)
{
	char name[64];
	int fd, rc;

	tap_name(vdev, name, sizeof(name));
	if (!*name || strlen(name) >= IFNAMSIZ) {
		snprintf(why, why_bytes,
			 "--vdev %s: the interface's name must have 1 to %d characters", vdev,
			 IFNAMSIZ - 1);
		return -EINVAL;
	}
	if (if_nametoindex(name)) {
		snprintf(
			why, why_bytes,
			"the interface %s exists already: stop the instance that made it, remove it "
			"with `ip link del %s`, or choose another name with "
			"--vdev net_tap0,iface=NAME",
			name, name);
		return -EBUSY;
	}
	fd = tap_open(why, why_bytes);
	if (fd < 0)
		return fd;
	rc = tap_try(fd, why, why_bytes);
	close(fd);
	return rc;
}

/* --- The runtime directory ----------------------------------------------------------------- */

/*
 * Can EAL keep its directory where root's is? Root of a user namespace cannot, and then telemetry's
 * socket would be one name in /tmp for everybody, which a killed run leaves taken.
 */
static bool have_runtime_dir(void)
{
	if (getuid() || getenv("RUNTIME_DIRECTORY"))
		return true;
	return (!mkdir("/var/run/dpdk", 0700) || errno == EEXIST) &&
	       !access("/var/run/dpdk", W_OK | X_OK);
}

/* Does a process listen at this socket? */
static bool answers(const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	bool does = false;

	if (fd < 0)
		return true; /* not known */
	if (strlen(path) < sizeof(un.sun_path)) {
		strcpy(un.sun_path, path);
		does = !connect(fd, (struct sockaddr *)&un, sizeof(un));
	}
	close(fd);
	return does;
}

/* Removes one of our own directories, apus-<pid>, with what EAL put into it. */
static void remove_dir(const char *path)
{
	const char *name = strrchr(path, '/');
	struct dirent *entry;
	DIR *dir;

	if (!name || strncmp(name + 1, PREFIX, strlen(PREFIX)))
		return; /* --eal chose another: that is the user's */
	dir = opendir(path);
	if (!dir)
		return;
	while ((entry = readdir(dir)))
		if (entry->d_type == DT_REG || entry->d_type == DT_SOCK)
			unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	rmdir(path);
}

/* Removes what killed runs left beside our own directory: no such process, and nobody answers. */
static APUS_NOINLINE void sweep(void)
{
	const char *own = rte_eal_get_runtime_dir();
	const char *slash = strrchr(own, '/');
	struct dirent *entry;
	char base[256], path[512];
	DIR *dir;
	int pid;

	if (!slash)
		return;
	snprintf(base, sizeof(base), "%.*s", (int)(slash - own), own);
	dir = opendir(base);
	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		if (sscanf(entry->d_name, PREFIX "%d", &pid) != 1 || pid <= 0)
			continue;
		if (!kill(pid, 0) || errno != ESRCH)
			continue;
		snprintf(path, sizeof(path), "%s/" PREFIX "%d/" TELEMETRY_SOCKET, base, pid);
		if (answers(path)) /* of another pid namespace */
			continue;
		snprintf(path, sizeof(path), "%s/" PREFIX "%d", base, pid);
		remove_dir(path);
	}
	closedir(dir);
}

/* --- What EAL says ------------------------------------------------------------------------- */

/* Takes one line, or several; the stream's lock is held. */
static ssize_t hear(void *cookie, const char *text, size_t bytes)
{
	size_t at = 0;

	while (at < bytes) {
		const char *end = memchr(text + at, '\n', bytes - at);
		size_t n = end ? (size_t)(end - text) - at : bytes - at;

		if (n) {
			memcpy(eal.said_before, eal.said, sizeof(eal.said));
			snprintf(eal.said, sizeof(eal.said), "%.*s", (int)n, text + at);
			if (eal.debug)
				apus_log(DEBUG, "dpdk: %s", eal.said);
			else if (eal.speaking)
				apus_log(WARN, "dpdk: %s", eal.said);
		}
		at += n + 1;
	}
	return (ssize_t)bytes;
}

const char *apus_eal_said(void)
{
	if (eal.stream)
		fflush(eal.stream);
	return eal.said;
}

static void apus_eal_speak(bool on)
{
	apus_eal_said(); /* what came before does not count */
	eal.speaking = on;
}

static int listen_to_eal(void)
{
	cookie_io_functions_t io = {.write = hear};

	eal.stream = fopencookie(NULL, "w", io);
	if (!eal.stream)
		return -ENOMEM;
	if (setvbuf(eal.stream, NULL, _IOLBF, 512))
		return -ENOMEM;
	return rte_openlog_stream(eal.stream);
}

/* Points @fd at /dev/null. Return: what it was, to be put back; < 0 if it stayed. */
static int mute(int fd)
{
	int kept = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (kept >= 0 && null >= 0)
		dup2(null, fd);
	if (null >= 0)
		close(null);
	return kept;
}

static void unmute(int fd, int kept)
{
	if (kept < 0)
		return;
	dup2(kept, fd);
	close(kept);
}

/* When an argument is wrong EAL prints its usage to stdout, and in capitals to stderr. Not here. */
static int eal_init(struct args *args, bool debug)
{
	int out = -1, err = -1, rc;

	if (!debug) {
		fflush(stdout);
		out = mute(STDOUT_FILENO);
		err = mute(STDERR_FILENO);
	}
	rc = rte_eal_init(args->argc, args->argv);
	if (rc < 0)
		rc = rte_errno ? -rte_errno : -EIO;
	fflush(stdout);
	unmute(STDOUT_FILENO, out);
	unmute(STDERR_FILENO, err);
	return rc < 0 ? rc : 0;
}

/*
 * net_tap asks for a real-time signal per frame, from the moment that it is made: somebody may bring
 * the interface up at once. They must not be delivered (ethdev.c says why), to no thread: those that
 * EAL makes inherit the mask.
 */
static void hush(void)
{
	sigset_t set;

	sigemptyset(&set);
	for (int number = SIGRTMIN; number <= SIGRTMAX; number++)
		sigaddset(&set, number);
	eal.hushed = !pthread_sigmask(SIG_BLOCK, &set, &eal.mask);
}

void apus_eal_started(void)
{
	const struct timespec at_once = {0};
	sigset_t set;

	if (!eal.hushed)
		return;
	sigemptyset(&set);
	for (int number = SIGRTMIN; number <= SIGRTMAX; number++)
		if (!sigismember(&eal.mask, number))
			sigaddset(&set, number);
	while (sigtimedwait(&set, NULL, &at_once) > 0)
		;
	pthread_sigmask(SIG_SETMASK, &eal.mask, NULL);
	eal.hushed = false;
	apus_eal_speak(true);
}

/* --- Entry points -------------------------------------------------------------------------- */

/* Makes the arguments. What the user gave by --eal takes the place of ours. */
static APUS_NOINLINE int make_args(struct args *args, const struct apus_eal_options *o,
				   uint64_t bytes, char *why, size_t why_bytes)
{
	struct args extra = {0};

	if (o->extra && (!add_words(&extra, o->extra) || extra.full)) {
		snprintf(why, why_bytes, "--eal: %s",
			 extra.full ? "too many arguments" : "a quote is not closed");
		return -EINVAL;
	}
	snprintf(eal.prefix, sizeof(eal.prefix), PREFIX "%d", (int)getpid());
	add(args, "apus");
	if (!has_any(&extra, prefix_options))
		add(args, "--file-prefix=%s", eal.prefix);
	if (!has_any(&extra, memory_options)) {
		if (have_hugepages(bytes)) {
			add(args, "--in-memory");
		} else {
			add(args, "--no-huge");
			add(args, "--no-shconf");
		}
	}
	if (!has_any(&extra, size_options)) {
		add(args, "-m");
		add(args, "%" PRIu64, (bytes + MIB - 1) / MIB);
	}
	if (!has_any(&extra, core_options)) {
		if (o->core >= 0)
			add(args, "--lcores=0@%d", o->core);
		else
			add(args, "--lcores=0@(0-%ld)", sysconf(_SC_NPROCESSORS_CONF) - 1);
	}
	/* A device of software needs no bus, and virtual addresses are all it looks at. */
	if (!has_any(&extra, pci_options)) {
		add(args, "--no-pci");
		if (!has_any(&extra, iova_options))
			add(args, "--iova-mode=va");
	}
	if (!have_runtime_dir())
		add(args, "--no-telemetry");
	if (!o->debug)
		add(args, "--log-level=error");
	if (o->vdev)
		add_vdev(args, o->vdev);
	for (int i = 0; i < extra.argc; i++)
		add(args, "%s", extra.argv[i]);
	if (!args->full)
		return 0;
	snprintf(why, why_bytes, "--eal: too many arguments, or one that is too long");
	return -EINVAL;
}

/* EAL failed: its last line, in a sentence that says what to do. */
static int explain(const struct apus_eal_options *o, int rc, char *why, size_t why_bytes)
{
	const char *said = apus_eal_said();

	if (o->vdev && strstr(said, o->vdev) && strstr(said, "parse")) {
		snprintf(why, why_bytes,
			 "--vdev %s: DPDK has no driver of that name, or its arguments are wrong; "
			 "net_tap0 is one that works everywhere",
			 o->vdev);
		return -ENODEV;
	}
	if (rc == -ENOMEM || strcasestr(said, "memory")) {
		snprintf(why, why_bytes,
			 "not enough memory for DPDK (%s): raise the limit (ulimit -v), or ask for "
			 "less with --mbufs",
			 said);
		return -ENOMEM;
	}
	snprintf(why, why_bytes,
		 "DPDK did not start: %s%s%s (run with --debug to read all that it says)",
		 eal.said_before, *eal.said_before ? "; " : "", *said ? said : strerror(-rc));
	return -EIO;
}

int apus_eal_open(const struct apus_eal_options *options, char *why, size_t why_bytes)
{
	uint64_t bytes = options->memory_bytes ? options->memory_bytes : MEMORY_DEFAULT_BYTES;
	struct args args = {0};
	int rc;

	if (eal.opened) {
		snprintf(why, why_bytes, "DPDK can be started once per process, and was");
		return -EALREADY;
	}
	rc = check_memory(bytes, why, why_bytes);
	if (!rc && is_tap(options->vdev))
		rc = check_tap(options->vdev, why, why_bytes);
	if (!rc)
		rc = make_args(&args, options, bytes, why, why_bytes);
	if (rc)
		return rc;

	rc = listen_to_eal();
	if (rc) {
		snprintf(why, why_bytes, "not enough memory to start DPDK");
		return rc;
	}
	eal.opened = true;
	eal.debug = options->debug;
	apus_eal_speak(false);
	hush();
	rc = eal_init(&args, options->debug);
	if (rc) {
		apus_eal_started();
		rc = explain(options, rc, why, why_bytes);
		remove_dir(rte_eal_get_runtime_dir());
		return rc;
	}
	sweep();
	return 0;
}

void apus_eal_close(void)
{
	char dir[512];

	apus_must(eal.opened);
	snprintf(dir, sizeof(dir), "%s", rte_eal_get_runtime_dir());
	apus_eal_started();
	apus_eal_speak(false);
	rte_eal_cleanup();
	remove_dir(dir);
	rte_openlog_stream(NULL);
	fclose(eal.stream);
	eal.stream = NULL;
}
