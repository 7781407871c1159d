/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/http/router.c: which handler answers which path.
 *
 * One open-addressed hash table holds exact paths and prefixes. An exact path is hashed in words. If
 * there is none, the path is hashed byte by byte; at each '/' the hash so far is that of a possible
 * prefix and is looked up at once, as long as there are prefixes of that length. So a look-up costs
 * the path's length, whatever the number of routes. The keys are ours, not the client's, so the hash
 * needs no secret.
 *
 * Invariant: at most half of the slots are used.
 */
#include "net/http/router.h"

#include "net/http/chars.h"
#include "net/http/parser.h"
#include "runtime/sched/shard.h"

#include <errno.h>
#include <string.h>

#define SLOTS_FIRST 16
#define HASH_FIRST  UINT32_C(2166136261) /* FNV-1a */
#define HASH_PRIME  UINT32_C(16777619)

struct route {
	apus_http_handler_fn fn;
	void *arg;
};

struct entry {
	uint64_t word; /* of its key */
	uint32_t hash;
	uint32_t len;
	bool prefix;
	struct route routes[APUS_HTTP_METHODS];
	char path[]; /* `len` bytes */
};

struct apus_http_router {
	struct apus_heap *heap;
	struct entry **slots;
	uint32_t slots_count; /* a power of two */
	uint32_t used;
	uint32_t prefix_max; /* length of the longest prefix; 0: there is none */
};

/* Of a prefix: one byte more. */
static uint32_t hash_more(uint32_t hash, char c)
{
	return (hash ^ (uint8_t)c) * HASH_PRIME;
}

static uint64_t hash_word(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
	return hash ^ hash >> 32;
}

/* A path: its hash, and its last 8 bytes, or all it has. */
struct key {
	uint64_t word;
	uint32_t hash;
};

/* Of a whole path. At least 8 bytes from its begin may be read: a request goes on behind it. */
static inline struct key key_of(const char *path, size_t len)
{
	uint64_t hash = len, word;

	if (len < sizeof(word)) {
		memcpy(&word, path, sizeof(word));
		word &= (UINT64_C(1) << 8 * len) - 1;
	} else {
		for (size_t i = 0; i < len - sizeof(word); i += sizeof(word)) {
			memcpy(&word, path + i, sizeof(word));
			hash = hash_word(hash, word);
		}
		memcpy(&word, path + len - sizeof(word), sizeof(word));
	}
	return (struct key){.word = word, .hash = (uint32_t)hash_word(hash, word)};
}

/* Of one of ours, of which no more may be read. */
static struct key key_of_ours(const char *path, size_t len)
{
	char padded[8] = {0};

	if (len >= sizeof(padded))
		return key_of(path, len);
	memcpy(padded, path, len);
	return key_of(padded, len);
}

/* Is it that entry, of the same key? */
static inline bool has_path(const struct entry *e, struct key key, const char *path, size_t len)
{
	return e->hash == key.hash && e->len == len && e->word == key.word && !e->prefix &&
	       (len <= sizeof(key.word) || apus_http_same_bytes(e->path, path, len));
}

/* Where the search for an entry begins. */
static inline uint32_t first_slot(uint32_t hash)
{
	return hash ^ hash >> 15;
}

/* The slot where the entry is, or the empty one where it belongs. */
static inline struct entry **find(const struct apus_http_router *r, uint32_t hash, const char *path,
				  size_t len, bool prefix)
{
	uint32_t i = first_slot(hash);

	for (;; i++) {
		struct entry **slot = &r->slots[i & (r->slots_count - 1)];
		const struct entry *e = *slot;

		if (!e || (e->hash == hash && e->len == len && e->prefix == prefix &&
			   apus_http_same_bytes(e->path, path, len)))
			return slot;
	}
}

/* The longest prefix that answers `path`, or NULL. */
static const struct entry *match_prefix(const struct apus_http_router *r,
					struct apus_http_text path)
{
	size_t most = apus_min(path.len, (size_t)r->prefix_max);
	const struct entry *best = NULL;
	uint32_t hash = HASH_FIRST;

	for (size_t i = 0; i < most; i++) {
		hash = hash_more(hash, path.at[i]);
		if (path.at[i] == '/') {
			const struct entry *e = *find(r, hash, path.at, i + 1, true);

			best = e ? e : best;
		}
	}
	return best;
}

/* The entry that answers `path`, or NULL. */
static const struct entry *match(const struct apus_http_router *r, struct apus_http_text path)
{
	const struct entry *exact =
		*find(r, key_of(path.at, path.len).hash, path.at, path.len, false);

	return exact || !r->prefix_max ? exact : match_prefix(r, path);
}

static int grow(struct apus_http_router *r)
{
	uint32_t count = r->slots_count * 2;
	struct entry **slots = apus_heap_zalloc(r->heap, count * sizeof(struct entry *));

	if (!slots)
		return -ENOMEM;

	struct entry **old = r->slots;
	uint32_t old_count = r->slots_count;

	r->slots = slots;
	r->slots_count = count;
	for (uint32_t i = 0; i < old_count; i++)
		if (old[i])
			*find(r, old[i]->hash, old[i]->path, old[i]->len, old[i]->prefix) = old[i];
	apus_heap_free(r->heap, old);
	return 0;
}

static int add(struct apus_http_router *r, enum apus_http_method method, const char *path,
	       bool prefix, struct route route)
{
	size_t len = strlen(path);
	struct key key = key_of_ours(path, len);
	uint32_t hash = prefix ? HASH_FIRST : key.hash;

	if (method >= APUS_HTTP_METHODS || len > UINT16_MAX || !route.fn)
		return -EINVAL;
	for (size_t i = 0; prefix && i < len; i++)
		hash = hash_more(hash, path[i]);
	if ((r->used + 1) * 2 > r->slots_count && grow(r) < 0)
		return -ENOMEM;

	struct entry **slot = find(r, hash, path, len, prefix);

	if (!*slot) {
		struct entry *e = apus_heap_zalloc(r->heap, sizeof(*e) + len);

		if (!e)
			return -ENOMEM;
		e->word = key.word;
		e->hash = hash;
		e->len = (uint32_t)len;
		e->prefix = prefix;
		memcpy(e->path, path, len);
		*slot = e;
		r->used++;
	}
	if ((*slot)->routes[method].fn)
		return -EEXIST;
	(*slot)->routes[method] = route;
	return 0;
}

int apus_http_router_add(struct apus_http_router *r, enum apus_http_method method, const char *path,
			 apus_http_handler_fn fn, void *arg)
{
	if (path[0] != '/')
		return -EINVAL;
	return add(r, method, path, false, (struct route){.fn = fn, .arg = arg});
}

int apus_http_router_add_prefix(struct apus_http_router *r, enum apus_http_method method,
				const char *path, apus_http_handler_fn fn, void *arg)
{
	size_t len = strlen(path);

	if (path[0] != '/' || path[len - 1] != '/')
		return -EINVAL;

	int rc = add(r, method, path, true, (struct route){.fn = fn, .arg = arg});

	if (rc == 0 && len > r->prefix_max)
		r->prefix_max = (uint32_t)len;
	return rc;
}

/* ------------------------------------------------------------------------------------ answers */

/* "GET, HEAD, OPTIONS" of what there is; a handler of GET serves HEAD, and OPTIONS is ours. */
static const char *allowed(const struct entry *e, char buf[128])
{
	char *p = buf;

	for (int m = 0; m < APUS_HTTP_METHODS; m++) {
		const char *name = apus_http_method_name((enum apus_http_method)m);
		bool has = e->routes[m].fn || m == APUS_HTTP_OPTIONS ||
			   (m == APUS_HTTP_HEAD && e->routes[APUS_HTTP_GET].fn);

		if (!has)
			continue;
		if (p != buf)
			p = stpcpy(p, ", ");
		p = stpcpy(p, name);
	}
	return buf;
}

static int64_t answer_allow(const struct entry *e, struct apus_http_response *res, int status)
{
	static const char text[] = "405 Method Not Allowed\n";
	size_t len = status == 405 ? sizeof(text) - 1 : 0;
	char buf[128];
	int rc = apus_http_response_begin(res, status);

	if (rc == 0)
		rc = apus_http_response_header(res, "Allow", allowed(e, buf));
	if (rc == 0 && len)
		rc = apus_http_response_header(res, "Content-Type", "text/plain");
	return rc < 0 ? rc : apus_http_response_body(res, text, len);
}

/* Any path and method. */
static APUS_NOINLINE int64_t handle_any(struct apus_http_request *req,
					struct apus_http_response *res, void *arg)
{
	static const char not_found[] = "404 Not Found\n";
	const struct apus_http_router *r = arg;
	const struct entry *e = match(r, apus_http_request_path(req));

	if (!e)
		return apus_http_respond(res, 404, "text/plain", not_found, sizeof(not_found) - 1);

	enum apus_http_method method = apus_http_request_method(req);
	const struct route *route = &e->routes[method];

	if (!route->fn && method == APUS_HTTP_HEAD)
		route = &e->routes[APUS_HTTP_GET];
	if (route->fn)
		return route->fn(req, res, route->arg);
	return answer_allow(e, res, method == APUS_HTTP_OPTIONS ? 204 : 405);
}

int64_t apus_http_router_handle(struct apus_http_request *req, struct apus_http_response *res,
				void *arg)
{
	const struct apus_http_router *r = arg;
	struct apus_http_text path = apus_http_request_path_here(req);
	struct key key = key_of(path.at, path.len);
	const struct entry *e = r->slots[first_slot(key.hash) & (r->slots_count - 1)];

	if (apus_likely(e && has_path(e, key, path.at, path.len))) {
		const struct route *route = &e->routes[req->method];

		if (apus_likely(route->fn != NULL))
			return route->fn(req, res, route->arg);
	}
	return handle_any(req, res, arg);
}

int apus_http_router_create(struct apus_http_router **out)
{
	struct apus_heap *heap = apus_shard_heap(apus_shard_self());
	struct apus_http_router *r = apus_heap_zalloc(heap, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->heap = heap;
	r->slots_count = SLOTS_FIRST;
	r->slots = apus_heap_zalloc(heap, SLOTS_FIRST * sizeof(struct entry *));
	if (!r->slots) {
		apus_heap_free(heap, r);
		return -ENOMEM;
	}
	*out = r;
	return 0;
}

void apus_http_router_destroy(struct apus_http_router *r)
{
	struct apus_heap *heap = r->heap;

	for (uint32_t i = 0; i < r->slots_count; i++)
		apus_heap_free(heap, r->slots[i]);
	apus_heap_free(heap, r->slots);
	apus_heap_free(heap, r);
}
