/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/kv/remote.c: commands whose keys belong to other shards.
 *
 * A key's shard is told by the high half of its hash. A command of one key is one call there, and none
 * if it is ours; one that asks for many keys makes one call for each shard that has any, all at once,
 * for a bounded number of keys at a time. A shard writes small values into a buffer of the caller's,
 * which waits and touches nothing meanwhile; what finds no room there it holds. The caller copies that
 * to its connection, and another call lets it go; a large one it lends to TCP, and a message lets it go
 * when the client has it. A held item does not change, so it may be read from any thread. What is to
 * be stored is filled into an item of the connection's shard, and copied by its owner.
 *
 * Time is the owner's: expiration times travel as the client said them.
 */
#include "apps/kv/internal.h"
#include "runtime/base/check.h"
#include "runtime/cross/call.h"
#include "runtime/sched/shard.h"
#include "runtime/sync/combine.h"

#include <errno.h>
#include <string.h>

#define GROUP_KEYS   64   /* asked for at a time */
#define BUFFER_BYTES 8192 /* of small values, from one shard at a time */
#define ONE_BYTES    2048 /* of one */

/* --- One key --------------------------------------------------------------------------------- */

struct change {
	struct kv_server *owner;
	struct kv_change *what;
};

static int64_t change_here(void *arg)
{
	struct change *change = arg;

	kv_change_here(&change->owner->store, change->what);
	return 0;
}

int64_t kv_change(struct kv_server *s, struct kv_change *what)
{
	struct change change = {s->cluster->shards[kv_owner(s, &what->key)], what};

	if (change.owner == s)
		return change_here(&change);
	return apus_call_on(change.owner->index, change_here, &change);
}

/* --- Many keys ------------------------------------------------------------------------------- */

struct ask {
	struct kv_key key;
	unsigned int owner;
	const char *at; /* what is to be said of it, if it was copied */
	size_t len;
	struct kv_item *item; /* if it is held */
};

/* What one shard is asked. */
struct question {
	struct kv_server *owner;
	struct ask *asks; /* of all shards */
	size_t count;
	const struct kv_command *cmd;
	char *buffer; /* NULL: everything is held */
	size_t room;
};

static void answer_one(struct question *q, struct ask *ask)
{
	struct kv_store *store = &q->owner->store;
	int64_t now_ns = apus_now();
	struct kv_item *item =
		q->cmd->touch
			? kv_store_touch(store, &ask->key,
					 kv_deadline(q->cmd->exptime, now_ns, apus_wall_now()),
					 now_ns)
			: kv_store_get(store, &ask->key, now_ns);

	if (!item)
		return;
	if (KV_HEAD_BYTES + (size_t)item->bytes + 2 > q->room) {
		kv_item_hold(store, item);
		ask->item = item;
		return;
	}
	ask->at = q->buffer;
	ask->len = (size_t)(kv_put_item(q->buffer, item, q->cmd->cas) - q->buffer);
	q->buffer += ask->len;
	q->room -= ask->len;
}

static int64_t answer_here(void *arg)
{
	struct question *q = arg;

	for (size_t i = 0; i < q->count; i++)
		if (q->asks[i].owner == q->owner->index)
			answer_one(q, &q->asks[i]);
	return 0;
}

static int64_t release_here(void *arg)
{
	struct question *q = arg;

	for (size_t i = 0; i < q->count; i++)
		if (q->asks[i].owner == q->owner->index && q->asks[i].item)
			kv_item_put(&q->owner->store, q->asks[i].item);
	return 0;
}

static int64_t call_owner(void *arg)
{
	struct question *q = arg;

	return apus_call_on(q->owner->index, answer_here, q);
}

/* One call after the other would add up; a task for each makes them at once. */
static int64_t ask_all(struct question *questions, struct apus_task **tasks, size_t n)
{
	if (n == 1)
		return call_owner(&questions[0]);
	for (size_t i = 0; i < n; i++)
		tasks[i] = apus_spawn(call_owner, &questions[i]);

	int64_t results[GROUP_KEYS] = {0};
	int64_t rc = apus_gather(tasks, n, results, APUS_GATHER_RETURN_ERRORS);

	for (size_t i = 0; i < n && rc == 0; i++)
		rc = apus_min(results[i], 0);
	return rc;
}

/* What is held must be let go, however often we are asked to stop. */
static void release(struct kv_connection *c, struct question *q)
{
	bool any = false;
	int64_t rc;

	for (size_t i = 0; i < q->count; i++)
		any |= q->asks[i].owner == q->owner->index && q->asks[i].item;
	if (!any)
		return;
	if (q->owner == c->server) {
		release_here(q);
		return;
	}
	do {
		rc = apus_call_on(q->owner->index, release_here, q);
	} while (rc == -ECANCELED || rc == -ENOMEM);
}

/* Memory for one group; given back when the command is done. */
struct group {
	struct ask asks[GROUP_KEYS];
	struct question questions[GROUP_KEYS + 1];
	struct apus_task *tasks[GROUP_KEYS];
	char *buffers[GROUP_KEYS]; /* NULL beyond those in use */
};

/* The next keys of the line. Return: how many. */
static size_t take_keys(struct kv_connection *c, struct kv_command *cmd, struct group *g)
{
	size_t n = 0;
	struct kv_text word;

	while (n < GROUP_KEYS && kv_next_key(&cmd->keys, &word)) {
		struct kv_key key = kv_store_key(&c->server->store, word);

		g->asks[n++] = (struct ask){.key = key, .owner = kv_owner(c->server, &key)};
	}
	return n;
}

/* One question for each owner among @n keys, our own last. Return: how many are to others; < 0. */
static int64_t put_questions(struct kv_connection *c, const struct kv_command *cmd, struct group *g,
			     size_t n)
{
	struct kv_server *self = c->server;
	size_t count = 0;

	for (size_t i = 0; i < n; i++) {
		struct kv_server *owner = self->cluster->shards[g->asks[i].owner];
		size_t k = 0;

		while (k < count && g->questions[k].owner != owner)
			k++;
		if (k < count || owner == self)
			continue;
		if (!g->buffers[k])
			g->buffers[k] = apus_heap_alloc(self->heap, BUFFER_BYTES);
		if (!g->buffers[k])
			return -ENOMEM;
		g->questions[count++] =
			(struct question){owner, g->asks, n, cmd, g->buffers[k], BUFFER_BYTES};
	}
	g->questions[count] =
		(struct question){.owner = self, .asks = g->asks, .count = n, .cmd = cmd};
	return (int64_t)count;
}

static int say_ask(struct kv_connection *c, const struct kv_command *cmd, struct ask *ask)
{
	bool taken;
	int rc;

	if (ask->at)
		return kv_say(c, ask->at, ask->len);
	if (!ask->item)
		return 0;
	rc = kv_say_item(c, c->server->cluster->shards[ask->owner], ask->item, cmd->cas, &taken);
	if (taken)
		ask->item = NULL; /* a lease has it */
	return rc;
}

static int say_group(struct kv_connection *c, const struct kv_command *cmd, struct group *g,
		     size_t n)
{
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++)
		rc = say_ask(c, cmd, &g->asks[i]);
	return rc;
}

/* Return: 0; an end. */
static int get_group(struct kv_connection *c, struct kv_command *cmd, struct group *g, size_t n)
{
	int64_t others = put_questions(c, cmd, g, n);
	int64_t rc = apus_min(others, 0);

	if (others > 0)
		rc = ask_all(g->questions, g->tasks, (size_t)others);
	if (others >= 0 && rc == 0)
		answer_here(&g->questions[others]);
	if (rc == 0)
		rc = say_group(c, cmd, g, n);
	else
		rc = KV_END_SESSION(KV_ABORT);
	for (int64_t i = 0; i <= others; i++)
		release(c, &g->questions[i]);
	return (int)rc;
}

/* The usual command, which needs no memory for a group. */
static int get_one(struct kv_connection *c, const struct kv_command *cmd, const struct kv_key *key)
{
	struct ask ask = {.key = *key, .owner = kv_owner(c->server, key)};
	char buffer[ONE_BYTES];
	struct question q = {
		.owner = c->server->cluster->shards[ask.owner],
		.asks = &ask,
		.count = 1,
		.cmd = cmd,
		.buffer = buffer,
		.room = sizeof(buffer),
	};
	int rc = call_owner(&q) < 0 ? KV_END_SESSION(KV_ABORT) : say_ask(c, cmd, &ask);

	if (ask.item)
		release(c, &q);
	return rc == 0 && apus_checkpoint() < 0 ? KV_END_SESSION(KV_ABORT) : rc;
}

static int get_many(struct kv_connection *c, struct kv_command *cmd)
{
	struct apus_heap *heap = c->server->heap;
	struct group *g = apus_heap_alloc(heap, sizeof(*g));
	int rc = 0;
	size_t n;

	if (!g)
		return KV_END_SESSION(KV_ABORT);
	memset(g->buffers, 0, sizeof(g->buffers)); /* the rest is written before it is read */
	while (rc == 0 && (n = take_keys(c, cmd, g)) > 0) {
		rc = get_group(c, cmd, g, n);
		if (rc == 0 && apus_checkpoint() < 0)
			rc = KV_END_SESSION(KV_ABORT);
	}
	for (size_t i = 0; i < GROUP_KEYS && g->buffers[i]; i++)
		apus_heap_free(heap, g->buffers[i]);
	apus_heap_free(heap, g);
	return rc;
}

int kv_remote_get(struct kv_connection *c, struct kv_command *cmd, const struct kv_key *first)
{
	struct kv_text rest = cmd->keys, word;

	(void)kv_next_key(&rest, &word); /* it is @first */
	return kv_next_key(&rest, &word) ? get_many(c, cmd) : get_one(c, cmd, first);
}

/* --- All shards ------------------------------------------------------------------------------ */

struct flush {
	struct kv_cluster *cluster;
	int64_t exptime;
};

static int64_t flush_here(void *arg)
{
	const struct flush *f = arg;
	int64_t now_ns = apus_now();
	int64_t at_ns = f->exptime > 0 ? kv_deadline(f->exptime, now_ns, apus_wall_now()) : now_ns;

	kv_store_flush(&f->cluster->shards[apus_shard_index()]->store, at_ns, now_ns);
	return 0;
}

int64_t kv_flush_all(struct kv_server *s, int64_t exptime)
{
	struct flush f = {s->cluster, exptime};

	return s->cluster->count == 1 ? flush_here(&f) : apus_on_all(flush_here, &f, NULL);
}

struct tally {
	struct kv_cluster *cluster;
	struct kv_tally *parts; /* of each shard, by index */
	bool reset;
};

static int64_t tally_here(void *arg)
{
	const struct tally *t = arg;
	struct kv_server *s = t->cluster->shards[apus_shard_index()];
	struct kv_tally *part = &t->parts[s->index];

	if (t->reset)
		memset(s->store.counts, 0, sizeof(s->store.counts));
	part->connections = s->connections;
	part->bytes = s->store.bytes;
	part->items = s->store.table.items;
	part->hash_bytes = kv_table_bytes(&s->store.table);
	part->buckets = s->store.table.buckets;
	memcpy(part->counts, s->store.counts, sizeof(part->counts));
	return 0;
}

int64_t kv_tally_all(struct kv_server *s, bool reset, struct kv_tally *out)
{
	unsigned int count = s->cluster->count;
	struct tally t = {s->cluster, NULL, reset};
	int64_t rc;

	t.parts = apus_heap_zalloc(s->heap, count * sizeof(*t.parts));
	if (!t.parts)
		return -ENOMEM;
	rc = count == 1 ? tally_here(&t) : apus_on_all(tally_here, &t, NULL);
	*out = (struct kv_tally){0};
	for (unsigned int i = 0; i < count; i++) {
		out->connections += t.parts[i].connections;
		out->bytes += t.parts[i].bytes;
		out->items += t.parts[i].items;
		out->hash_bytes += t.parts[i].hash_bytes;
		out->buckets += t.parts[i].buckets;
		for (size_t k = 0; k < KV_COUNTERS_MAX; k++)
			out->counts[k] += t.parts[i].counts[k];
	}
	apus_heap_free(s->heap, t.parts);
	return rc;
}
