/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/http/files.c: a handler that serves files below a directory.
 *
 * The kernel keeps the path inside of the root: openat2() with RESOLVE_BENEATH (Linux 5.6). Where it
 * is missing or forbidden, the path is walked component by component without following links.
 * Paths with a ".." component or an empty one are not found before anything is opened.
 *
 * A request is one or more calls on a thread: the first opens the file and reads its first piece,
 * so that a small file is one call; each later one reads a piece while the client has room. The
 * descriptor is closed by the call that read the last byte.
 *
 * Where we differ: no ranges (RFC 9110 §14 makes them optional), no entity tags.
 */
#include "net/http/files.h"

#include "net/http/chars.h"
#include "net/http/date.h"
#include "runtime/base/check.h"
#include "runtime/io/thread.h"
#include "runtime/sched/shard.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PIECE_BYTES 65536
#define PATH_BYTES  4096
#define INDEX       "index.html"
#define OPEN_FLAGS  (O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)

struct apus_http_files {
	struct apus_heap *heap;
	int root;
	bool walk; /* openat2() does not work here */
	size_t prefix_bytes;
};

/* One request's file. Shared with the thread while a call runs, and only then. */
struct file {
	const struct apus_http_files *files;
	int fd;            /* -1: closed */
	bool is_directory; /* without an index */
	uint64_t size, at; /* bytes; those read so far */
	int64_t modified;  /* seconds since 1970 */
	size_t piece_bytes;
	char path[PATH_BYTES + sizeof(INDEX)]; /* below the root, terminated */
	char piece[PIECE_BYTES];
};

/* -------------------------------------------------------------------------- types by extension */

const char *apus_http_files_type(const char *name)
{
	static const struct {
		char extension[8];
		const char *type;
	} types[] = {
		{"avif", "image/avif"},
		{"bin", "application/octet-stream"},
		{"css", "text/css; charset=utf-8"},
		{"csv", "text/csv; charset=utf-8"},
		{"gif", "image/gif"},
		{"gz", "application/gzip"},
		{"htm", "text/html; charset=utf-8"},
		{"html", "text/html; charset=utf-8"},
		{"ico", "image/x-icon"},
		{"jpeg", "image/jpeg"},
		{"jpg", "image/jpeg"},
		{"js", "text/javascript; charset=utf-8"},
		{"json", "application/json"},
		{"md", "text/markdown; charset=utf-8"},
		{"mjs", "text/javascript; charset=utf-8"},
		{"mp3", "audio/mpeg"},
		{"mp4", "video/mp4"},
		{"ogg", "audio/ogg"},
		{"pdf", "application/pdf"},
		{"png", "image/png"},
		{"svg", "image/svg+xml"},
		{"tar", "application/x-tar"},
		{"txt", "text/plain; charset=utf-8"},
		{"wasm", "application/wasm"},
		{"webm", "video/webm"},
		{"webp", "image/webp"},
		{"woff", "font/woff"},
		{"woff2", "font/woff2"},
		{"xml", "application/xml"},
		{"zip", "application/zip"},
	};
	const char *slash = strrchr(name, '/');
	const char *dot = strrchr(slash ? slash : name, '.');
	size_t len = dot ? strlen(dot + 1) : 0;

	for (size_t i = 0; len && i < apus_countof(types); i++)
		if (strlen(types[i].extension) == len &&
		    apus_http_nocase_equal(types[i].extension, dot + 1, len))
			return types[i].type;
	return "application/octet-stream";
}

/* ------------------------------------------------------------------------------ on the thread */

/* Component by component, because a link anywhere on the way could lead out. */
static int open_walking(int root, const char *path)
{
	char name[256];
	int at = root;

	while (at >= 0) {
		size_t len = strcspn(path, "/");
		bool last = path[len] == 0;

		if (len >= sizeof(name)) {
			errno = ENAMETOOLONG;
			break;
		}
		memcpy(name, path, len);
		name[len] = 0;

		int next = openat(at, len ? name : ".",
				  OPEN_FLAGS | O_NOFOLLOW | (last ? 0 : O_DIRECTORY));
		int error = errno;

		if (at != root)
			close(at);
		errno = error;
		if (last || next < 0)
			return next;
		at = next;
		path += len + 1;
	}
	if (at != root && at >= 0)
		close(at);
	return -1;
}

/* Return: a descriptor, or a negative errno. */
static int open_beneath(const struct apus_http_files *files, const char *path)
{
	struct open_how how = {
		.flags = OPEN_FLAGS,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	int fd = files->walk ? open_walking(files->root, path)
			     : (int)syscall(SYS_openat2, files->root, path, &how, sizeof(how));

	return fd >= 0 ? fd : -errno;
}

/* Opens f->path and looks at it. Return: 0, a negative errno. */
static int open_and_look(struct file *f)
{
	struct stat st;
	int fd = open_beneath(f->files, f->path);

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0 || (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))) {
		close(fd);
		return -EACCES; /* a device, a pipe, a socket: not for everybody */
	}
	f->fd = fd;
	f->is_directory = S_ISDIR(st.st_mode);
	f->size = (uint64_t)st.st_size;
	f->modified = st.st_mtim.tv_sec;
	return 0;
}

static void close_file(struct file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

/* The next piece. Return: 0; -ENODATA when the file became shorter; a negative errno. */
static int64_t read_piece(void *arg)
{
	struct file *f = arg;
	size_t want = (size_t)apus_min((uint64_t)PIECE_BYTES, f->size - f->at);

	f->piece_bytes = 0;
	while (f->piece_bytes < want) {
		ssize_t n = pread(f->fd, f->piece + f->piece_bytes, want - f->piece_bytes,
				  (off_t)(f->at + f->piece_bytes));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		f->piece_bytes += (size_t)n;
	}
	f->at += f->piece_bytes;
	if (f->at == f->size)
		close_file(f);
	return 0;
}

/* Open the file, or a directory's index, and read its first piece. */
static int64_t open_file(void *arg)
{
	struct file *f = arg;
	int rc = open_and_look(f);
	size_t len = strlen(f->path);

	if (rc < 0 || !f->is_directory)
		return rc < 0 ? rc : read_piece(f);
	if (f->path[len - 1] != '/' && strcmp(f->path, ".") != 0)
		return 0; /* the client is sent to the path with the slash */

	close_file(f);
	stpcpy(f->path + (f->path[len - 1] == '/' ? len : len - 1), INDEX);
	rc = open_and_look(f);
	if (rc == 0 && f->is_directory)
		rc = -EACCES;
	if (rc == -ENOENT) /* it is there, but there is nothing to show */
		rc = -EACCES;
	return rc < 0 ? rc : read_piece(f);
}

/* ------------------------------------------------------------------------------- on the shard */

static int64_t answer_error(struct apus_http_response *res, int64_t error)
{
	static const char forbidden[] = "403 Forbidden\n", not_found[] = "404 Not Found\n";

	switch (-error) {
	case ENOENT:
	case ENOTDIR:
	case ENAMETOOLONG:
	case EINVAL:
		return apus_http_respond(res, 404, "text/plain", not_found, sizeof(not_found) - 1);
	case EACCES:
	case EPERM:
	case ELOOP:
	case EXDEV: /* RESOLVE_BENEATH: the path leads out */
	case ENXIO:
		return apus_http_respond(res, 403, "text/plain", forbidden, sizeof(forbidden) - 1);
	default: /* ours: no descriptors, no memory, a bad disk: 500 */
		return error;
	}
}

/* The path below the root, decoded. Return: 0; -EINVAL when there can be no such file. */
static int file_path(const struct apus_http_files *files, const struct apus_http_request *req,
		     char *path)
{
	struct apus_http_text t = apus_http_request_path(req);

	if (t.len < files->prefix_bytes)
		return -EINVAL;
	t.at += files->prefix_bytes;
	t.len -= files->prefix_bytes;

	int64_t len = apus_http_decode(t, path, PATH_BYTES);

	if (len < 0)
		return -EINVAL;
	for (const char *p = path; *p;) {
		size_t part = strcspn(p, "/");

		if (part == 0 || (part == 2 && p[0] == '.' && p[1] == '.'))
			return -EINVAL;
		p += part;
		p += *p == '/';
	}
	if (len == 0)
		strcpy(path, ".");
	return 0;
}

static bool is_unmodified(const struct apus_http_request *req, const struct file *f)
{
	struct apus_http_text since = apus_http_request_header(req, "If-Modified-Since");

	return since.at && apus_http_date_parse(since) >= f->modified;
}

/* RFC 9110 §15.4.2: relative links need the slash behind a directory. */
static int64_t answer_moved(const struct apus_http_request *req, struct apus_http_response *res,
			    char *buf)
{
	struct apus_http_text path = apus_http_request_path(req);

	/* Two slashes at the begin would be another host. */
	while (path.len > 1 && path.at[1] == '/') {
		path.at++;
		path.len--;
	}
	memcpy(buf, path.at, path.len);
	buf[path.len] = '/';

	struct apus_http_text location = {.at = buf, .len = path.len + 1};
	int rc = apus_http_response_begin(res, 301);

	if (rc == 0)
		rc = apus_http_response_header_text(res, "Location", location);
	return rc < 0 ? rc : apus_http_response_body(res, NULL, 0);
}

static int64_t begin_answer(struct apus_http_response *res, const struct file *f, int status)
{
	char modified[APUS_HTTP_DATE_BYTES];
	/* RFC 9110 §8.8.2.1: never later than Date. */
	int64_t second = apus_min(f->modified, apus_wall_now() / APUS_SEC);
	int rc = apus_http_response_begin(res, status);

	apus_http_date_format(apus_max(second, 0), modified);
	if (rc == 0)
		rc = apus_http_response_header_text(
			res, "Last-Modified",
			(struct apus_http_text){.at = modified, .len = sizeof(modified)});
	if (rc == 0 && status == 200)
		rc = apus_http_response_header(res, "Content-Type", apus_http_files_type(f->path));
	return rc;
}

/* The file is open and its first piece is read. */
static int64_t answer_file(const struct apus_http_request *req, struct apus_http_response *res,
			   struct file *f)
{
	int64_t rc;

	if (f->is_directory)
		return answer_moved(req, res, f->piece);
	if (is_unmodified(req, f)) {
		rc = begin_answer(res, f, 304);
		return rc < 0 ? rc : apus_http_response_body(res, NULL, 0);
	}
	rc = begin_answer(res, f, 200);
	if (rc == 0)
		rc = apus_http_response_stream(res, (int64_t)f->size);
	if (rc == 0 && apus_http_request_method(req) == APUS_HTTP_GET) {
		rc = apus_http_response_write(res, f->piece, f->piece_bytes);
		while (rc == 0 && f->at < f->size) {
			rc = apus_to_thread(read_piece, f);
			if (rc == 0)
				rc = apus_http_response_write(res, f->piece, f->piece_bytes);
		}
	}
	return rc < 0 ? rc : apus_http_response_end(res);
}

int64_t apus_http_files_handle(struct apus_http_request *req, struct apus_http_response *res,
			       void *arg)
{
	const struct apus_http_files *files = arg;
	struct file *f = apus_heap_alloc(files->heap, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->files = files;
	f->fd = -1;
	f->is_directory = false;
	f->at = 0;

	int64_t rc = file_path(files, req, f->path);

	if (rc == 0)
		rc = apus_http_response_flush(res); /* earlier answers need not wait for the disk */
	if (rc == 0)
		rc = apus_to_thread(open_file, f);
	rc = rc < 0 ? answer_error(res, rc) : answer_file(req, res, f);
	close_file(f);
	apus_heap_free(files->heap, f);
	return rc;
}

int apus_http_files_open(const char *root, const char *prefix, struct apus_http_files **out)
{
	struct apus_heap *heap = apus_shard_heap(apus_shard_self());
	struct apus_http_files *files;
	size_t prefix_bytes = strlen(prefix);

	if (prefix[0] != '/' || prefix[prefix_bytes - 1] != '/')
		return -EINVAL;
	files = apus_heap_zalloc(heap, sizeof(*files));
	if (!files)
		return -ENOMEM;
	files->heap = heap;
	files->prefix_bytes = prefix_bytes;
	files->root = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (files->root < 0) {
		int rc = -errno;

		apus_heap_free(heap, files);
		return rc;
	}

	int probe = open_beneath(files, ".");

	if (probe >= 0)
		close(probe);
	files->walk = probe == -ENOSYS || probe == -EPERM;
	*out = files;
	return 0;
}

void apus_http_files_walk(struct apus_http_files *files)
{
	files->walk = true;
}

void apus_http_files_close(struct apus_http_files *files)
{
	close(files->root);
	apus_heap_free(files->heap, files);
}
