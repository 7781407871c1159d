/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fuzz/replay.c: a fuzz target without a fuzzer: each file of the corpus once, by any compiler.
 *
 * Arguments: directories and files. Fails when there was nothing to run: a corpus that was not found
 * must not pass for one without findings.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* libFuzzer's name, not ours. NOLINTNEXTLINE(readability-identifier-naming) */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PATH_BYTES 2048

static void die(const char *path)
{
	fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
	exit(1);
}

/* Each input in memory of exactly its size, so that ASan sees a read beyond. */
static void replay_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	long size = -1;

	if (!f || fseek(f, 0, SEEK_END) || (size = ftell(f)) < 0 || fseek(f, 0, SEEK_SET))
		die(path);

	uint8_t *data = malloc(size ? (size_t)size : 1);

	if (!data || fread(data, 1, (size_t)size, f) != (size_t)size)
		die(path);
	fclose(f);
	fprintf(stderr, "%s: %ld bytes\n", path, size); /* the last one is the one that crashed */
	LLVMFuzzerTestOneInput(data, (size_t)size);
	free(data);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* In order of name, so that a run is the same everywhere. Return: how many */
static unsigned int replay_directory(DIR *dir, const char *path)
{
	char **names = NULL, file[PATH_BYTES];
	const struct dirent *entry;
	unsigned int count = 0;

	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		names = realloc(names, (count + 1) * sizeof(*names));
		if (!names || !(names[count++] = strdup(entry->d_name)))
			die(path);
	}
	if (count)
		qsort(names, count, sizeof(*names), by_name);
	for (unsigned int i = 0; i < count; i++) {
		snprintf(file, sizeof(file), "%s/%s", path, names[i]);
		replay_file(file);
		free(names[i]);
	}
	free(names);
	return count;
}

int main(int argc, char **argv)
{
	unsigned int count = 0;

	for (int i = 1; i < argc; i++) {
		DIR *dir = opendir(argv[i]);

		if (!dir && errno != ENOTDIR)
			die(argv[i]);
		if (dir) {
			count += replay_directory(dir, argv[i]);
			closedir(dir);
		} else {
			replay_file(argv[i]);
			count++;
		}
	}
	printf("%u inputs\n", count);
	if (!count)
		fprintf(stderr, "replay: no inputs: give the directory of a corpus\n");
	return count ? 0 : 1;
}
