/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/net/http/test_files.c: files below a root, and nothing else.
 *
 * Each test makes its own directory. Reading happens on threads, so the shard of these tests has
 * the real clock; nothing waits for a time.
 */
#include "net/http/files.h"
#include "net/http/server.h"
#include "tests/net/http/fake_tcp.h"
#include "tests/runtime/runtime_test.h"

#include "runtime/sched/run.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>

#define BIG_BYTES 300001

static char root[64];
static struct apus_http_server *server;
static struct apus_http_files *files;
static struct apus_tcp *client;
static uint8_t big[BIG_BYTES];

static void write_file(const char *name, const void *bytes, size_t len)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	close(fd);
}

/* The date of a file: 784111777 is Sun, 06 Nov 1994 08:49:37 GMT. */
static void date_file(const char *name, time_t second)
{
	struct timespec times[2] = {{.tv_sec = second}, {.tv_sec = second}};
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", root, name);
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static int setup(void **state)
{
	char path[256], secret[256];

	strcpy(root, "/tmp/apus-test-files-XXXXXX");
	assert_non_null(mkdtemp(root));
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (uint8_t)(i * 7 + i / 251);

	/* root/../secret is beside what is served */
	snprintf(secret, sizeof(secret), "%s/secret", root);
	write_file("secret", "secret", 6);
	snprintf(path, sizeof(path), "%s/www", root);
	assert_int_equal(mkdir(path, 0755), 0);
	strcat(root, "/www");

	snprintf(path, sizeof(path), "%s/sub", root);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(path, sizeof(path), "%s/none", root);
	assert_int_equal(mkdir(path, 0755), 0);
	write_file("index.html", "<p>root", 7);
	write_file("sub/index.html", "<p>sub", 6);
	write_file("a.txt", "text", 4);
	write_file("a b%.css", "css", 3);
	write_file("empty", "", 0);
	write_file("big.bin", big, sizeof(big));
	write_file("exact.bin", big, 65536);
	date_file("a.txt", 784111777);
	snprintf(path, sizeof(path), "%s/inside", root);
	assert_int_equal(symlink("sub/index.html", path), 0);
	snprintf(path, sizeof(path), "%s/outside", root);
	assert_int_equal(symlink("../secret", path), 0);
	snprintf(path, sizeof(path), "%s/absolute", root);
	assert_int_equal(symlink(secret, path), 0);
	snprintf(path, sizeof(path), "%s/loop", root);
	assert_int_equal(symlink("loop", path), 0);
	snprintf(path, sizeof(path), "%s/pipe", root);
	assert_int_equal(mkfifo(path, 0644), 0);
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int teardown(void **state)
{
	*strrchr(root, '/') = 0;
	return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* As test_run(), with a clock that runs by itself: threads answer when they do. */
static int64_t real_run(apus_task_fn fn, void *arg)
{
	return apus_run_task(test_world.shard, fn, arg);
}

/* What the server wrote, once it has been quiet on an answer of `body` bytes or until it closed. */
static const char *ask(const char *request_line, const char *headers)
{
	char request[512];
	char *end;
	const char *length;
	size_t want;

	snprintf(request, sizeof(request), "%s HTTP/1.1\r\nHost: h\r\n%s\r\n", request_line,
		 headers);
	client->out_bytes = 0;
	fake_send(client, request);
	for (;;) {
		client->out[client->out_bytes] = 0;
		end = strstr(client->out, "\r\n\r\n");
		length = end ? strstr(client->out, "Content-Length: ") : NULL;
		want = length && length < end && request_line[0] == 'G'
			       ? strtoul(length + 16, NULL, 10)
			       : 0;
		if (end && client->out_bytes >= (size_t)(end + 4 - client->out) + want)
			return client->out;
		if (client->end != FAKE_OPEN)
			return "closed";
		ok(apus_yield());
	}
}

static void assert_status(const char *request_line, int status)
{
	const char *got = ask(request_line, "");

	if (strncmp(got, "HTTP/1.1 ", 9) != 0 || atoi(got + 9) != status)
		fail_msg("%s: not %d but: %s", request_line, status, got);
	assert_null(strstr(got, "secret"));
}

static void assert_file(const char *request_line, const char *type, const void *bytes, size_t len)
{
	char line[128];
	const char *got = ask(request_line, "");
	const char *body = strstr(got, "\r\n\r\n");

	assert_memory_equal(got, "HTTP/1.1 200 OK\r\n", 17);
	snprintf(line, sizeof(line), "\r\nContent-Type: %s\r\n", type);
	assert_non_null(strstr(got, line));
	assert_non_null(strstr(got, "\r\nLast-Modified: "));
	assert_int_equal(client->out_bytes - (size_t)(body + 4 - got), len);
	assert_memory_equal(body + 4, bytes, len);
}

static void open_all(const char *prefix)
{
	ok(apus_http_files_open(root, prefix, &files));
	ok(apus_http_server_open(
		&(struct apus_http_server_options){
			.handler = apus_http_files_handle,
			.arg = files,
		},
		&server));
	client = fake_connect();
}

static void close_all(void)
{
	fake_send_end(client);
	ok(apus_http_server_close(server, APUS_NEVER));
	apus_http_files_close(files);
	fake_free(client);
}

static int64_t serves(void *arg)
{
	open_all("/");
	assert_file("GET /a.txt", "text/plain; charset=utf-8", "text", 4);
	assert_file("GET /a.txt?query", "text/plain; charset=utf-8", "text", 4);
	assert_file("GET /a%20b%25.css", "text/css; charset=utf-8", "css", 3);
	assert_file("GET /", "text/html; charset=utf-8", "<p>root", 7);
	assert_file("GET /sub/", "text/html; charset=utf-8", "<p>sub", 6);
	assert_file("GET /sub/./index.html", "text/html; charset=utf-8", "<p>sub", 6);
	assert_file("GET /empty", "application/octet-stream", "", 0);
	assert_file("GET /exact.bin", "application/octet-stream", big, 65536);
	assert_file("GET /big.bin", "application/octet-stream", big, sizeof(big));
	close_all();
	return 0;
}

static void files_are_served_with_their_type(void **state)
{
	ok(real_run(serves, NULL));
}

static int64_t refuses(void *arg)
{
	open_all("/");
	assert_status("GET /nothing", 404);
	assert_status("GET /nothing/", 404);
	assert_status("GET /a.txt/", 404);
	assert_status("GET /a.txt/b", 404);
	assert_status("GET /../secret", 404);
	assert_status("GET /sub/../a.txt", 404);
	assert_status("GET /sub/..", 404);
	assert_status("GET /%2e%2e/secret", 404);
	assert_status("GET /..%2fsecret", 404);
	assert_status("GET /.%2e%2Fsecret", 404);
	assert_status("GET //etc/passwd", 404);
	assert_status("GET /%2fetc/passwd", 404);
	assert_status("GET /a.txt%00.html", 404);
	assert_status("GET /none/", 403);
	assert_status("GET /loop", 403);
	assert_status("GET /pipe", 403);
	assert_status("GET /outside", 403);
	assert_status("GET /absolute", 403);
	close_all();
	return 0;
}

static void nothing_outside_of_the_root_is_served(void **state)
{
	ok(real_run(refuses, NULL));
}

static int64_t inside_link(void *arg)
{
	open_all("/");
	assert_file("GET /inside", "application/octet-stream", "<p>sub", 6);
	close_all();
	return 0;
}

static void link_that_stays_inside_is_followed(void **state)
{
	ok(real_run(inside_link, NULL));
}

/* The fallback for kernels without openat2(): nothing it forbids may pass. */
static int64_t walking(void *arg)
{
	open_all("/");
	apus_http_files_walk(files);
	assert_file("GET /sub/index.html", "text/html; charset=utf-8", "<p>sub", 6);
	assert_file("GET /sub/", "text/html; charset=utf-8", "<p>sub", 6);
	assert_file("GET /", "text/html; charset=utf-8", "<p>root", 7);
	assert_file("GET /a.txt", "text/plain; charset=utf-8", "text", 4);
	assert_status("GET /nothing/a", 404);
	assert_status("GET /a.txt/", 404);
	assert_status("GET /outside", 403);
	assert_status("GET /absolute", 403);
	assert_status("GET /inside", 403); /* it follows no link at all */
	assert_status("GET /../secret", 404);
	close_all();
	return 0;
}

static void fallback_keeps_the_root_as_well(void **state)
{
	ok(real_run(walking, NULL));
}

static int64_t conditional(void *arg)
{
	const char *got;

	open_all("/");
	got = ask("HEAD /big.bin", "");
	assert_memory_equal(got, "HTTP/1.1 200 OK\r\n", 17);
	assert_non_null(strstr(got, "\r\nContent-Length: 300001\r\n"));
	assert_int_equal(client->out_bytes, strlen(got));
	assert_memory_equal(got + strlen(got) - 4, "\r\n\r\n", 4);

	got = ask("GET /a.txt", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
	assert_memory_equal(got, "HTTP/1.1 304 Not Modified\r\n", 27);
	assert_non_null(strstr(got, "\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n"));
	assert_null(strstr(got, "Content-"));
	got = ask("GET /a.txt", "If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n");
	assert_memory_equal(got, "HTTP/1.1 200 OK\r\n", 17);
	got = ask("GET /a.txt", "If-Modified-Since: yesterday\r\n");
	assert_memory_equal(got, "HTTP/1.1 200 OK\r\n", 17);
	close_all();
	return 0;
}

static void unmodified_file_is_not_sent_again(void **state)
{
	ok(real_run(conditional, NULL));
}

static int64_t moved(void *arg)
{
	open_all("/");
	assert_non_null(strstr(ask("GET /sub", ""), "301 Moved Permanently\r\n"));
	assert_non_null(strstr(ask("GET /sub", ""), "\r\nLocation: /sub/\r\n"));
	close_all();
	open_all("/files/");
	assert_non_null(strstr(ask("GET /files/sub", ""), "\r\nLocation: /files/sub/\r\n"));
	assert_file("GET /files/a.txt", "text/plain; charset=utf-8", "text", 4);
	assert_file("GET /files/", "text/html; charset=utf-8", "<p>root", 7);
	close_all();
	return 0;
}

static void directory_without_its_slash_is_moved(void **state)
{
	ok(real_run(moved, NULL));
}

/* A client that takes a part and leaves. */
static int64_t leaves(void *arg)
{
	open_all("/");
	client->window = 100000;
	fake_send(client, "GET /big.bin HTTP/1.1\r\nHost: h\r\n\r\n");
	while (client->window > 0)
		ok(apus_yield());
	fake_reset(client);
	while (client->end == FAKE_OPEN)
		ok(apus_yield());
	assert_int_equal(client->end, FAKE_ABORTED);
	close_all();
	return 0;
}

static void client_that_leaves_midway_leaves_no_file_open(void **state)
{
	int before = open("/dev/null", O_RDONLY);

	close(before);
	ok(real_run(leaves, NULL));

	int after = open("/dev/null", O_RDONLY);

	close(after);
	assert_int_equal(after, before);
}

static int64_t shrinks(void *arg)
{
	open_all("/");
	client->window = 100000; /* the first pieces are read, the last are not */
	fake_send(client, "GET /big.bin HTTP/1.1\r\nHost: h\r\n\r\n");
	while (client->window > 0)
		ok(apus_yield());
	write_file("big.bin", "short", 5);
	fake_open_window(client, SIZE_MAX);
	while (client->end == FAKE_OPEN)
		ok(apus_yield());
	assert_int_equal(client->end, FAKE_ABORTED); /* never a body that looks whole */
	close_all();
	return 0;
}

static void file_that_shrinks_midway_is_a_reset(void **state)
{
	ok(real_run(shrinks, NULL));
}

static int64_t bad_roots(void *arg)
{
	assert_int_equal(apus_http_files_open("/nowhere/at/all", "/", &files), -ENOENT);
	assert_int_equal(apus_http_files_open("/dev/null", "/", &files), -ENOTDIR);
	assert_int_equal(apus_http_files_open("/tmp", "files/", &files), -EINVAL);
	assert_int_equal(apus_http_files_open("/tmp", "/files", &files), -EINVAL);
	return 0;
}

static void bad_root_is_told(void **state)
{
	ok(real_run(bad_roots, NULL));
}

static void types_follow_the_last_extension(void **state)
{
	assert_string_equal(apus_http_files_type("a.HTML"), "text/html; charset=utf-8");
	assert_string_equal(apus_http_files_type("a.tar.gz"), "application/gzip");
	assert_string_equal(apus_http_files_type("x.js/plain"), "application/octet-stream");
	assert_string_equal(apus_http_files_type("plain."), "application/octet-stream");
	assert_string_equal(apus_http_files_type("woff2"), "application/octet-stream");
	assert_string_equal(apus_http_files_type("a.woff2"), "font/woff2");
}

static int open_real(void **state)
{
	if (setup(state))
		return -1;
	test_world.passed = false;

	int rc = apus_shard_open(&(struct apus_shard_options){.core = -1, .seed = 1},
				 &test_world.shard);

	if (rc == 0)
		apus_shard_enter(test_world.shard);
	return rc;
}

static int close_real(void **state)
{
	return test_close(state) | teardown(state);
}

/* clang-format off */
#define real_test(name) {#name, test_body, open_real, close_real, &(struct test_body){name}}
/* clang-format on */

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		real_test(files_are_served_with_their_type),
		real_test(nothing_outside_of_the_root_is_served),
		real_test(link_that_stays_inside_is_followed),
		real_test(fallback_keeps_the_root_as_well),
		real_test(unmodified_file_is_not_sent_again),
		real_test(directory_without_its_slash_is_moved),
		real_test(client_that_leaves_midway_leaves_no_file_open),
		real_test(file_that_shrinks_midway_is_a_reset),
		real_test(bad_root_is_told),
		cmocka_unit_test(types_follow_the_last_extension),
	};

	return test_main(argc, argv, tests);
}
