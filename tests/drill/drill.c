/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/drill/drill.c: plays scripts of packets and calls to a TCP of its own each, and reports.
 *
 *	drill [--verbose] SCRIPT.pkt | FOLDER ...
 *
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
	"usage: drill [--verbose] SCRIPT.pkt | FOLDER ...\n"
	"\n"
	"Plays each script, and each in a folder by its name, to a TCP in virtual time.\n"
	"  --verbose  print every packet\n"
	"  --help     print this\n";

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

static bool play(const char *path, size_t number, struct rte_mempool *pool, bool verbose)
{
	struct drill_script script;
	int rc = drill_parse(&script, path);

	if (rc == 0)
		rc = drill_run(&script, pool, verbose ? stdout : NULL);
	printf("%s %zu - %s\n", rc ? "not ok" : "ok", number, base_name(path));
	if (rc) {
		char *save, *line = strtok_r(script.error, "\n", &save);

		for (; line; line = strtok_r(NULL, "\n", &save))
			printf("# %s\n", line);
	}
	fflush(stdout);
	drill_script_fini(&script);
	return rc == 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"verbose", no_argument, NULL, 'v'}, {"help", no_argument, NULL, 'h'}, {0}};
	struct paths paths = {0};
	struct rte_mempool *pool;
	bool verbose = false;
	size_t failed = 0;
	int c;

	while ((c = getopt_long(argc, argv, "vh", options, NULL)) != -1) {
		if (c != 'v') {
			fputs(usage, c == 'h' ? stdout : stderr);
			return c == 'h' ? 0 : 2;
		}
		verbose = true;
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
		failed += !play(paths.paths[i], i + 1, pool, verbose);
		free(paths.paths[i]);
	}
	free(paths.paths);
	return failed > 0;
}
