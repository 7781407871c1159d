/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/kv/protocol.c: memcached's text protocol: bytes of a client become commands.
 *
 * A line is split at spaces as memcached splits it: leading, trailing and repeated spaces count for
 * nothing, a line may end without CR, and words too many are an error only where memcached says so.
 *
 * Keys may have control characters: memcached's documentation forbids them, its parser takes them, and
 * a client of its own, memaslap, has them in every key.
 *
 * Where we differ from memcached 1.6.18: flags and numbers that do not fit are refused (it keeps the
 * low bits), keys with a NUL, too; a line without an end is told so before the connection is closed,
 * and one that asks for many keys is limited, too; "stats" with an argument knows "reset" and
 * "settings" only; there are no meta commands but mn.
 */
#include "apps/kv/protocol.h"

#include <ctype.h>
#include <string.h>

#define WORDS_MAX 9 /* one more than any command has */

struct words {
	struct kv_text at[WORDS_MAX];
	size_t count; /* WORDS_MAX: so many, or more */
};

/* --- Words ----------------------------------------------------------------------------------- */

bool kv_next_key(struct kv_text *keys, struct kv_text *key)
{
	const char *p = keys->at, *end = p + keys->len;

	while (p < end && *p == ' ')
		p++;
	key->at = p;
	while (p < end && *p != ' ')
		p++;
	key->len = (size_t)(p - key->at);
	*keys = (struct kv_text){p, (size_t)(end - p)};
	return key->len > 0;
}

static void split(struct kv_text rest, struct words *w)
{
	w->count = 0;
	while (w->count < WORDS_MAX && kv_next_key(&rest, &w->at[w->count]))
		w->count++;
}

static bool is(struct kv_text t, const char *word)
{
	size_t len = strlen(word);

	return t.len == len && memcmp(t.at, word, len) == 0;
}

static bool is_key(struct kv_text t)
{
	return t.len <= KV_KEY_MAX && !memchr(t.at, 0, t.len);
}

/* --- Numbers --------------------------------------------------------------------------------- */

/* Digits from `i` on, up to the end or a space. */
static bool digits(struct kv_text t, size_t i, uint64_t *out)
{
	uint64_t n = 0;
	size_t first = i;

	for (; i < t.len && t.at[i] >= '0' && t.at[i] <= '9'; i++)
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(t.at[i] - '0'), &n))
			return false;
	if (i == first || (i < t.len && !isspace((unsigned char)t.at[i])))
		return false;
	*out = n;
	return true;
}

bool kv_number(struct kv_text t, uint64_t *out)
{
	size_t i = 0;

	while (i < t.len && isspace((unsigned char)t.at[i]))
		i++;
	if (i < t.len && t.at[i] == '+')
		i++;
	return digits(t, i, out);
}

static bool number32(struct kv_text t, uint32_t *out)
{
	uint64_t n;

	if (!kv_number(t, &n) || n > UINT32_MAX)
		return false;
	*out = (uint32_t)n;
	return true;
}

static bool seconds(struct kv_text t, int64_t *out)
{
	bool negative = t.len > 0 && t.at[0] == '-';
	uint64_t n;

	if ((negative ? !digits(t, 1, &n) : !kv_number(t, &n)) || n > INT64_MAX)
		return false;
	*out = negative ? -(int64_t)n : (int64_t)n;
	return true;
}

char *kv_put_number(char *at, uint64_t n)
{
	char digit[KV_NUMBER_BYTES];
	size_t i = sizeof(digit);

	do {
		digit[--i] = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	memcpy(at, digit + i, sizeof(digit) - i);
	return at + sizeof(digit) - i;
}

int64_t kv_deadline(int64_t exptime, int64_t now_ns, int64_t wall_ns)
{
	const int64_t limit = INT64_MAX / APUS_SEC - 1; /* in the year 2262 */

	if (exptime == 0 || exptime > limit)
		return APUS_NEVER;
	if (exptime < 0)
		return now_ns;
	if (exptime <= KV_RELATIVE_MAX)
		return now_ns + exptime * APUS_SEC;

	int64_t left_ns = exptime * APUS_SEC - wall_ns;

	if (left_ns <= 0)
		return now_ns;
	return left_ns > INT64_MAX - now_ns ? APUS_NEVER : now_ns + left_ns;
}

/* --- Commands -------------------------------------------------------------------------------- */

static void refuse(struct kv_command *c, const char *answer)
{
	c->verb = KV_REFUSED;
	c->answer = answer;
}

static bool has_noreply(const struct words *w)
{
	return w->count > 1 && is(w->at[w->count - 1], "noreply");
}

static void parse_get(struct kv_command *c, struct kv_text rest)
{
	struct kv_text word, keys;

	c->verb = KV_GET;
	if (c->touch) {
		if (!kv_next_key(&rest, &word)) {
			refuse(c, KV_ERROR);
			return;
		}
		if (!seconds(word, &c->exptime)) {
			refuse(c, KV_BAD_EXPTIME);
			return;
		}
	}
	c->keys = keys = rest;
	if (!kv_next_key(&keys, &word) && !c->touch) {
		refuse(c, KV_ERROR);
		return;
	}
	for (; word.len > 0; kv_next_key(&keys, &word)) {
		if (!is_key(word)) {
			refuse(c, KV_BAD_FORMAT);
			return;
		}
	}
}

/* set KEY FLAGS EXPTIME BYTES [noreply]; cas KEY FLAGS EXPTIME BYTES UNIQUE [noreply] */
static void parse_store(struct kv_command *c, const struct words *w)
{
	size_t count = c->verb == KV_CAS ? 6 : 5;

	if (w->count != count && w->count != count + 1) {
		refuse(c, KV_ERROR);
		return;
	}
	c->noreply = has_noreply(w);
	c->key = w->at[1];
	/* memcached counts in an int, too. */
	if (!is_key(c->key) || !number32(w->at[2], &c->flags) || !seconds(w->at[3], &c->exptime) ||
	    !number32(w->at[4], &c->bytes) || c->bytes > INT32_MAX - 2 ||
	    (c->verb == KV_CAS && !kv_number(w->at[5], &c->number)))
		refuse(c, KV_BAD_FORMAT);
}

/* delete KEY [0] [noreply] */
static void parse_delete(struct kv_command *c, const struct words *w)
{
	if (w->count < 2 || w->count > 4) {
		refuse(c, KV_ERROR);
		return;
	}
	c->key = w->at[1];
	c->noreply = w->count > 2 && has_noreply(w);
	if ((w->count > 2 && !is(w->at[2], "0") && !(w->count == 3 && c->noreply)) ||
	    (w->count == 4 && !c->noreply))
		refuse(c, KV_BAD_DELETE);
	else if (!is_key(c->key))
		refuse(c, KV_BAD_FORMAT);
}

/* incr KEY DELTA [noreply]; touch KEY EXPTIME [noreply] */
static void parse_change(struct kv_command *c, const struct words *w)
{
	bool touch = c->verb == KV_TOUCH;

	if (w->count != 3 && w->count != 4) {
		refuse(c, KV_ERROR);
		return;
	}
	c->key = w->at[1];
	c->noreply = has_noreply(w);
	if (!is_key(c->key))
		refuse(c, KV_BAD_FORMAT);
	else if (touch && !seconds(w->at[2], &c->exptime))
		refuse(c, KV_BAD_EXPTIME);
	else if (!touch && !kv_number(w->at[2], &c->number))
		refuse(c, KV_BAD_DELTA);
}

/* flush_all [DELAY] [noreply] */
static void parse_flush(struct kv_command *c, const struct words *w)
{
	if (w->count > 3) {
		refuse(c, KV_ERROR);
		return;
	}
	c->noreply = has_noreply(w);
	if (w->count > (c->noreply ? 2 : 1) && !seconds(w->at[1], &c->exptime))
		refuse(c, KV_BAD_EXPTIME);
}

static void parse_verbosity(struct kv_command *c, const struct words *w)
{
	uint32_t level;

	if (w->count != 2 && w->count != 3) {
		refuse(c, KV_ERROR);
		return;
	}
	c->noreply = has_noreply(w);
	if (!number32(w->at[1], &level))
		refuse(c, KV_BAD_FORMAT);
}

static void parse_stats(struct kv_command *c, const struct words *w)
{
	if (w->count > 1)
		c->key = w->at[1];
}

static void parse_bare(struct kv_command *c, const struct words *w)
{
}

static const struct {
	const char *word;
	enum kv_verb verb;
	void (*parse)(struct kv_command *c, const struct words *w);
} verbs[] = {
	{"set", KV_SET, parse_store},
	{"add", KV_ADD, parse_store},
	{"cas", KV_CAS, parse_store},
	{"delete", KV_DELETE, parse_delete},
	{"incr", KV_INCR, parse_change},
	{"decr", KV_DECR, parse_change},
	{"touch", KV_TOUCH, parse_change},
	{"replace", KV_REPLACE, parse_store},
	{"append", KV_APPEND, parse_store},
	{"prepend", KV_PREPEND, parse_store},
	{"mn", KV_NOOP, parse_bare},
	{"version", KV_VERSION, parse_bare},
	{"stats", KV_STATS, parse_stats},
	{"flush_all", KV_FLUSH_ALL, parse_flush},
	{"verbosity", KV_VERBOSITY, parse_verbosity},
	{"quit", KV_QUIT, parse_bare},
};

/* get, gets, gat, gats: of any number of keys, so that they are not split into words. */
static bool is_get(struct kv_text verb, struct kv_command *c)
{
	if (verb.len < 3 || verb.len > 4 || verb.at[0] != 'g' || verb.at[2] != 't' ||
	    (verb.at[1] != 'e' && verb.at[1] != 'a') || (verb.len == 4 && verb.at[3] != 's'))
		return false;
	c->touch = verb.at[1] == 'a';
	c->cas = verb.len == 4;
	return true;
}

static enum kv_found parse_line(struct kv_text line, struct kv_command *c)
{
	struct kv_text rest = line, verb;
	struct words w;

	*c = (struct kv_command){.verb = KV_REFUSED, .answer = KV_ERROR};
	if (!kv_next_key(&rest, &verb))
		return KV_LINE;
	if (is_get(verb, c)) {
		parse_get(c, rest);
		return KV_LINE;
	}
	split(line, &w);
	for (size_t i = 0; i < apus_countof(verbs); i++) {
		if (is(verb, verbs[i].word)) {
			c->verb = verbs[i].verb;
			verbs[i].parse(c, &w);
			return KV_LINE;
		}
	}
	if (w.count > 1 && w.at[w.count - 1].len > 5 &&
	    memcmp(w.at[w.count - 1].at, "HTTP/", 5) == 0)
		return KV_FOREIGN;
	return KV_LINE;
}

/* What has no end within KV_LINE_MAX may still ask for many keys. */
static bool may_grow(const char *bytes, size_t have)
{
	struct kv_text rest = {bytes, KV_LINE_MAX}, verb;
	struct kv_command c;

	return have <= KV_LINE_KEYS_MAX && kv_next_key(&rest, &verb) && rest.len > 0 &&
	       is_get(verb, &c);
}

enum kv_found kv_parse(const char *bytes, size_t have, size_t seen, struct kv_command *out,
		       size_t *line_bytes)
{
	if (have > 0 && (unsigned char)bytes[0] == 0x80)
		return KV_FOREIGN; /* the magic of the binary protocol */

	const char *end = have > seen ? memchr(bytes + seen, '\n', have - seen) : NULL;
	size_t len = end ? (size_t)(end - bytes) : have;

	if (len > KV_LINE_MAX && !may_grow(bytes, len))
		return KV_TOO_LONG;
	if (!end)
		return KV_MORE;
	*line_bytes = len + 1;
	if (len > 0 && bytes[len - 1] == '\r')
		len--;
	return parse_line((struct kv_text){bytes, len}, out);
}
