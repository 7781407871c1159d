/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/drill/drill.c: plays scripts of packets and calls to a TCP of its own each, and reports.
 *
 *	drill [--verbose] [--wrong] SCRIPT.pkt | FOLDER ...
 *
 * With --wrong each script must fail, for the reason that its first line gives: the runner's test.
 * Each is played twice, with the short way of net/tcp/fast.c and without it, and must go the same way.
 * Prints TAP: 'ok N - SCRIPT' or 'not ok N - SCRIPT', and what was wrong as '# ...'.
 */
#include "tests/drill/drill.h"
#include "tests/net/net_test.h"

#include <dirent.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define POOL_MBUFS 16383
#define SUFFIX     ".pkt"

static const char usage[] =
	"usage: drill [--verbose] [--wrong] SCRIPT.pkt | FOLDER ...\n"
	"\n"
	"Plays each script, and each in a folder by its name, to a TCP in virtual time.\n"
	"  --verbose  print every packet\n"
	"  --wrong    each must fail, with the words behind '// fails: ' on its first line\n"
	"  --help     print this\n";

struct how {
	bool verbose;
	bool wrong; /* all must fail */
};

struct paths {
	char **paths;
	size_t count, room;
};

static void add(struct paths *p, const char *folder, const char *name)
{
	if (p->count == p->room) {
		p->room = p->room ? 2 * p->room : 64;
		p->paths = realloc(p->paths, p->room * sizeof(*p->paths));
		apus_must(p->paths);
	}
	apus_must(asprintf(&p->paths[p->count++], folder ? "%s/%s" : "%s%s", folder ? folder : "",
			   name) > 0);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_script(const char *name)
{
	size_t n = strlen(name);

	return n > strlen(SUFFIX) && !strcmp(name + n - strlen(SUFFIX), SUFFIX);
}

static void add_folder(struct paths *p, const char *folder)
{
	DIR *dir = opendir(folder);
	size_t before = p->count;
	struct dirent *entry;

	if (!dir) { /* a script, or the run will say that it is none */
		add(p, NULL, folder);
		return;
	}
	while ((entry = readdir(dir)))
		if (is_script(entry->d_name))
			add(p, folder, entry->d_name);
	closedir(dir);
	qsort(p->paths + before, p->count - before, sizeof(*p->paths), by_name);
}

/* Its name without the folder. */
static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Did it fail as its first line says? Else the error says how not. */
static bool failed_rightly(struct drill_script *script, int rc)
{
	static const char mark[] = "// fails: ";
	char line[256] = "";
	FILE *f = fopen(script->path, "r");
	bool is_marked = f && fgets(line, sizeof(line), f) && !strncmp(line, mark, strlen(mark));

	if (f)
		fclose(f);
	line[strcspn(line, "\n")] = '\0';
	if (is_marked && rc && strstr(script->error, line + strlen(mark)))
		return true;
	if (!rc)
		snprintf(script->error, sizeof(script->error), "it did not fail");
	return false;
}

static void print_error(struct drill_script *script)
{
	char *save, *line = strtok_r(script->error, "\n", &save);

	for (; line; line = strtok_r(NULL, "\n", &save))
		printf("# %s\n", line);
}

/* What happened goes to *trace, which the caller frees. */
static int run_once(struct drill_script *script, const char *path, struct rte_mempool *pool,
		    bool no_fast, char **trace)
{
	size_t bytes = 0;
	FILE *f = open_memstream(trace, &bytes);
	int rc = drill_parse(script, path);

	apus_must(f);
	script->options.tcp.no_fast = no_fast;
	if (rc == 0)
		rc = drill_run(script, pool, f);
	apus_must(fclose(f) == 0);
	return rc;
}

/* Once more without net/tcp/fast.c: all that happens must be the same, at the same time. */
static int run_again(struct drill_script *script, struct rte_mempool *pool, const char *trace)
{
	struct drill_script again;
	char *slow_trace = NULL;
	int rc = run_once(&again, script->path, pool, true, &slow_trace);

	if (rc == 0 && strcmp(trace, slow_trace)) {
		snprintf(script->error, sizeof(script->error),
			 "the short way and the long one differ\n%s\n%s", trace, slow_trace);
		rc = -1;
	}
	free(slow_trace);
	drill_script_fini(&again);
	return rc;
}

static bool play(const char *path, size_t number, struct rte_mempool *pool, const struct how *how)
{
	struct drill_script script;
	char *trace = NULL;
	int rc = run_once(&script, path, pool, false, &trace);
	bool is_good;

	if (how->verbose)
		fputs(trace, stdout);
	if (rc == 0)
		rc = run_again(&script, pool, trace);
	free(trace);
	is_good = how->wrong ? failed_rightly(&script, rc) : rc == 0;
	printf("%s %zu - %s\n", is_good ? "ok" : "not ok", number, base_name(path));
	if (!is_good)
		print_error(&script);
	fflush(stdout);
	drill_script_fini(&script);
	return is_good;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"verbose", no_argument, NULL, 'v'},
						{"wrong", no_argument, NULL, 'w'},
						{"help", no_argument, NULL, 'h'},
						{0}};
	struct paths paths = {0};
	struct rte_mempool *pool;
	struct how how = {0};
	size_t failed = 0;
	int c;

	while ((c = getopt_long(argc, argv, "vwh", options, NULL)) != -1) {
		if (c != 'v' && c != 'w') {
			fputs(usage, c == 'h' ? stdout : stderr);
			return c == 'h' ? 0 : 2;
		}
		how.verbose |= c == 'v';
		how.wrong |= c == 'w';
	}
	for (int i = optind; i < argc; i++)
		add_folder(&paths, argv[i]);
	if (paths.count == 0) {
		fputs(usage, stderr);
		return 2;
	}

	apus_test_eal();
	pool = rte_pktmbuf_pool_create("drill", POOL_MBUFS, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
				       SOCKET_ID_ANY);
	apus_must(pool);
	printf("1..%zu\n", paths.count);
	for (size_t i = 0; i < paths.count; i++) {
		failed += !play(paths.paths[i], i + 1, pool, &how);
		free(paths.paths[i]);
	}
	free(paths.paths);
	return failed > 0;
}
