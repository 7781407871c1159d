/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * apps/kv/session.c: one connection: commands in, answers out.
 *
 * The loop takes one command after the other from the stream's buffer and waits for more only when
 * there is no whole one; it is then that answers are sent, so that those to pipelined commands
 * leave together. A small value is taken from the buffer in one piece with its command line; a large
 * one is read from the connection right into its item, which counts against the memory limit from
 * its command line on. Large values go out from where they lie, on whatever shard that is.
 *
 * Whatever waits may find the item replaced or evicted when it goes on: it holds the item meanwhile.
 */
#include "apps/kv/internal.h"
#include "runtime/base/check.h"
#include "runtime/sched/shard.h"
#include "runtime/sync/timeout.h"

#include <errno.h>
#include <string.h>

#define TAKE_MAX     APUS_STREAM_BUFFER_BYTES /* command and value up to here come in one piece */
#define LEND_MIN     16384                    /* values from here on are sent without a copy */
#define BUFFERED_MAX ((uint64_t)64 << 20)
#define LINGER_NS    (2 * APUS_SEC)
#define LINGER_BYTES ((size_t)1 << 20)

#define END(how)   KV_END_SESSION(how)
#define END_OF(rc) ((enum kv_end)(-1 - (rc)))

/* --- Saying ---------------------------------------------------------------------------------- */

int kv_say(struct kv_connection *c, const char *text, size_t len)
{
	c->server->store.counts[KV_BYTES_WRITTEN] += len;
	return apus_stream_write(c->stream, text, len) < 0 ? END(KV_ABORT) : 0;
}

static int say_text(struct kv_connection *c, const struct kv_command *cmd, const char *text)
{
	return cmd->noreply ? 0 : kv_say(c, text, strlen(text));
}

static int say_result(struct kv_connection *c, const struct kv_command *cmd, enum kv_result result)
{
	switch (result) {
	case KV_RESULT_STORED:
		return say_text(c, cmd, "STORED\r\n");
	case KV_RESULT_NOT_STORED:
		return say_text(c, cmd, "NOT_STORED\r\n");
	case KV_RESULT_EXISTS:
		return say_text(c, cmd, "EXISTS\r\n");
	case KV_RESULT_NOT_FOUND:
		return say_text(c, cmd, "NOT_FOUND\r\n");
	case KV_RESULT_DONE:
		return say_text(c, cmd, cmd->verb == KV_DELETE ? "DELETED\r\n" : "TOUCHED\r\n");
	case KV_RESULT_NOT_NUMERIC:
		return say_text(c, cmd, KV_NOT_NUMERIC);
	case KV_RESULT_NO_MEMORY:
		return say_text(c, cmd, KV_NO_MEMORY);
	case KV_RESULT_TOO_LARGE:
		return say_text(c, cmd, KV_TOO_LARGE);
	}
	apus_must(!"no such result");
	return 0;
}

static char *put_bytes(char *p, const char *bytes, size_t len)
{
	memcpy(p, bytes, len);
	return p + len;
}

/* VALUE KEY FLAGS BYTES [UNIQUE] */
static char *put_head(char *p, const struct kv_item *item, bool cas)
{
	p = put_bytes(p, "VALUE ", 6);
	p = put_bytes(p, item->data, item->key_bytes);
	*p++ = ' ';
	p = kv_put_number(p, item->flags);
	*p++ = ' ';
	p = kv_put_number(p, item->bytes);
	if (cas) {
		*p++ = ' ';
		p = kv_put_number(p, item->cas);
	}
	*p++ = '\r';
	*p++ = '\n';
	return p;
}

/* --- Lending --------------------------------------------------------------------------------- */

static void lease_ends(struct kv_lease *lease)
{
	struct kv_connection *c = lease->connection;

	apus_slab_put(&c->server->leases, lease);
	if (--c->leases == 0)
		apus_waitq_wake_all(&c->given, 0);
}

static void lease_is_back(struct apus_message *message)
{
	lease_ends(apus_container_of(message, struct kv_lease, message));
}

/* On the owner's shard, whose items are counted by nobody else. */
static void put_there(struct apus_message *message)
{
	struct kv_lease *lease = apus_container_of(message, struct kv_lease, message);

	kv_item_put(&lease->owner->store, lease->item);
	message->fn = lease_is_back;
	apus_message_reply(message);
}

/* The peer has it, or is gone. From the loop, which cannot wait: the message answers the call that held the item. */
static void lease_done(void *arg)
{
	struct kv_lease *lease = arg;

	if (lease->owner == lease->connection->server) {
		kv_item_put(&lease->owner->store, lease->item);
		lease_ends(lease);
		return;
	}
	lease->message.fn = put_there;
	lease->message.from = lease->owner->index;
	apus_message_reply(&lease->message);
}

/* @taken: as kv_say_item(). */
static int say_lent(struct kv_connection *c, struct kv_server *owner, struct kv_item *item,
		    bool *taken)
{
	struct kv_server *s = c->server;
	size_t len = (size_t)item->bytes + 2;
	struct kv_lease *lease = apus_slab_get(&s->leases);

	if (!lease) /* too many are out: a copy */
		return kv_say(c, kv_item_value(item), len);
	*lease = (struct kv_lease){.connection = c, .owner = owner, .item = item};
	*taken = true;
	c->leases++;
	s->store.counts[KV_BYTES_WRITTEN] += len;
	if (apus_stream_drain(c->stream) < 0) {
		lease_done(lease);
		return END(KV_ABORT);
	}
	if (apus_tcp_send_buffer(apus_stream_tcp(c->stream), kv_item_value(item), len, lease_done,
				 lease) < 0)
		return END(KV_ABORT);
	return 0;
}

/* --- Asking ---------------------------------------------------------------------------------- */

char *kv_put_item(char *at, struct kv_item *item, bool cas)
{
	return put_bytes(put_head(at, item, cas), kv_item_value(item), (size_t)item->bytes + 2);
}

int kv_say_item(struct kv_connection *c, struct kv_server *owner, struct kv_item *item, bool cas,
		bool *taken)
{
	size_t len = (size_t)item->bytes + 2;
	bool whole = KV_HEAD_BYTES + len <= APUS_STREAM_BUFFER_BYTES;
	char *begin, *p;

	*taken = false;
	if (apus_stream_reserve(c->stream, 0, whole ? KV_HEAD_BYTES + len : KV_HEAD_BYTES, &begin) <
	    0)
		return END(KV_ABORT);
	p = whole ? kv_put_item(begin, item, cas) : put_head(begin, item, cas);
	apus_stream_commit(c->stream, (size_t)(p - begin));
	c->server->store.counts[KV_BYTES_WRITTEN] += (uint64_t)(p - begin);
	if (whole)
		return 0;
	if (item->bytes < LEND_MIN)
		return kv_say(c, kv_item_value(item), len);
	return say_lent(c, owner, item, taken);
}

/* Of the own shard. Return: 0; an end. */
static int get_own(struct kv_connection *c, const struct kv_command *cmd, const struct kv_key *key)
{
	struct kv_store *store = &c->server->store;
	int64_t now_ns = apus_now();
	struct kv_item *item =
		cmd->touch
			? kv_store_touch(store, key,
					 kv_deadline(cmd->exptime, now_ns, apus_wall_now()), now_ns)
			: kv_store_get(store, key, now_ns);
	bool taken;
	int rc;

	if (!item)
		return 0;
	kv_item_hold(store, item);
	rc = kv_say_item(c, c->server, item, cmd->cas, &taken);
	if (!taken)
		kv_item_put(store, item);
	return rc;
}

/*
 * Many keys may make a long answer, which may wait for a slow reader, key by key; the keys are in
 * the stream's buffer, which nobody else touches. From the first key of another shard on all are
 * asked for together; a key of our own costs no more than if there were no other shard.
 */
static int get(struct kv_connection *c, struct kv_command *cmd)
{
	struct kv_text rest = cmd->keys, word;
	int rc = 0;

	while (rc == 0 && kv_next_key(&rest, &word)) {
		struct kv_key key = kv_store_key(&c->server->store, word);

		if (kv_owner(c->server, &key) != c->server->index) {
			rc = kv_remote_get(c, cmd, &key);
			break;
		}
		rc = get_own(c, cmd, &key);
		cmd->keys = rest;
		if (rc == 0 && apus_checkpoint() < 0)
			rc = END(KV_ABORT);
	}
	return rc ? rc : kv_say(c, KV_END, sizeof(KV_END) - 1);
}

/* --- Storing --------------------------------------------------------------------------------- */

/* Take @bytes that come, to @to; NULL: drop them. Return: 0; an end. */
static int take(struct kv_connection *c, char *to, size_t bytes)
{
	while (bytes > 0) {
		char *here;
		size_t have = apus_stream_buffered(c->stream, &here);
		int64_t n = 1;

		if (have == 0 && apus_stream_drain(c->stream) < 0)
			return END(KV_ABORT);
		if (to)
			n = apus_stream_read(c->stream, to, bytes);
		else if (have == 0)
			n = apus_stream_peek(c->stream, 0, &here);
		if (n <= 0)
			return END(n == 0 ? KV_CLOSE : KV_ABORT);
		if (to) {
			to += n;
		} else {
			n = (int64_t)apus_min(apus_stream_buffered(c->stream, &here), bytes);
			apus_stream_consume(c->stream, (size_t)n);
		}
		bytes -= (size_t)n;
		c->server->store.counts[KV_BYTES_READ] += (uint64_t)n;
	}
	return 0;
}

/* The change was carried out, or could not be: @rc. */
static int say_change(struct kv_connection *c, const struct kv_command *cmd,
		      const struct kv_change *what, int64_t rc)
{
	char number[KV_NUMBER_BYTES + 2], *end;

	if (rc < 0) /* it is not known what has become of it */
		return END(KV_ABORT);
	if (what->result != KV_RESULT_DONE || (cmd->verb != KV_INCR && cmd->verb != KV_DECR))
		return say_result(c, cmd, what->result);
	end = put_bytes(kv_put_number(number, what->number), "\r\n", 2);
	return cmd->noreply ? 0 : kv_say(c, number, (size_t)(end - number));
}

/* @item is filled, on this shard; if its key belongs to another one, that makes a copy. */
static int put(struct kv_connection *c, const struct kv_command *cmd, struct kv_item *item,
	       uint64_t hash)
{
	struct kv_store *store = &c->server->store;
	struct kv_change what = {
		.verb = cmd->verb,
		.key = {{item->data, item->key_bytes}, hash},
		.number = cmd->number,
		.exptime = cmd->exptime,
		.flags = cmd->flags,
		.bytes = cmd->bytes,
		.value = kv_item_value(item),
	};
	int64_t rc;

	if (memcmp(kv_item_value(item) + item->bytes, "\r\n", 2) != 0) {
		kv_item_put(store, item);
		return say_text(c, cmd, KV_BAD_CHUNK);
	}
	if (kv_owner(c->server, &what.key) == c->server->index)
		return say_result(c, cmd,
				  kv_store_put(store, cmd->verb, item, cmd->number, apus_now()));
	rc = kv_change(c->server, &what);
	kv_item_put(store, item);
	return say_change(c, cmd, &what, rc);
}

/* There is no item for it: say so, and drop the data block. */
static int refuse(struct kv_connection *c, const struct kv_command *cmd, const struct kv_key *key,
		  size_t line_bytes)
{
	struct kv_change what = {
		.verb = cmd->verb,
		.key = *key,
		.is_refused = true,
		.result = cmd->bytes > KV_VALUE_MAX ? KV_RESULT_TOO_LARGE : KV_RESULT_NO_MEMORY,
	};
	int64_t done = kv_change(c->server, &what);
	int rc = say_change(c, cmd, &what, done);

	apus_stream_consume(c->stream, line_bytes);
	return rc ? rc : take(c, NULL, (size_t)cmd->bytes + 2);
}

/* Return: 0; an end; 1 when the data block is short enough to be waited for, and not yet here. */
static int store(struct kv_connection *c, const struct kv_command *cmd, const char *bytes,
		 size_t have, size_t line_bytes)
{
	struct kv_store *store = &c->server->store;
	struct kv_key key = kv_store_key(store, cmd->key);
	size_t block = (size_t)cmd->bytes + 2;
	bool here = have - line_bytes >= block;
	int64_t now_ns = apus_now();
	struct kv_item *item;
	int rc;

	if (!here && line_bytes + block <= TAKE_MAX)
		return 1;
	if (cmd->bytes > KV_VALUE_MAX)
		return refuse(c, cmd, &key, line_bytes);
	item = kv_store_alloc(store, &key, cmd->flags,
			      kv_deadline(cmd->exptime, now_ns, apus_wall_now()), cmd->bytes,
			      now_ns);
	if (!item)
		return refuse(c, cmd, &key, line_bytes);
	if (here) {
		memcpy(kv_item_value(item), bytes + line_bytes, block);
		apus_stream_consume(c->stream, line_bytes + block);
		store->counts[KV_BYTES_READ] += block;
		return put(c, cmd, item, key.hash);
	}
	apus_stream_consume(c->stream, line_bytes);
	rc = take(c, kv_item_value(item), block);
	if (rc) {
		kv_item_put(store, item);
		return rc;
	}
	return put(c, cmd, item, key.hash);
}

/* --- Other commands -------------------------------------------------------------------------- */

/* A value that lies elsewhere: an item of our own with the same. */
static enum kv_result put_copy(struct kv_store *store, const struct kv_change *what, int64_t now_ns)
{
	struct kv_item *item = kv_store_alloc(store, &what->key, what->flags,
					      kv_deadline(what->exptime, now_ns, apus_wall_now()),
					      what->bytes, now_ns);

	if (!item) {
		kv_store_refuse(store, what->verb, &what->key, false);
		return KV_RESULT_NO_MEMORY;
	}
	memcpy(kv_item_value(item), what->value, what->bytes);
	return kv_store_put(store, what->verb, item, what->number, now_ns);
}

void kv_change_here(struct kv_store *store, struct kv_change *what)
{
	int64_t now_ns = apus_now(), deadline_ns;

	if (what->is_refused) {
		kv_store_refuse(store, what->verb, &what->key, what->result == KV_RESULT_TOO_LARGE);
		return;
	}
	switch (what->verb) {
	case KV_DELETE:
		what->result = kv_store_delete(store, &what->key, now_ns);
		return;
	case KV_TOUCH:
		deadline_ns = kv_deadline(what->exptime, now_ns, apus_wall_now());
		what->result = kv_store_touch(store, &what->key, deadline_ns, now_ns)
				       ? KV_RESULT_DONE
				       : KV_RESULT_NOT_FOUND;
		return;
	case KV_INCR:
	case KV_DECR:
		what->result = kv_store_add(store, what->verb, &what->key, what->number, now_ns,
					    &what->number);
		return;
	default:
		what->result = put_copy(store, what, now_ns);
	}
}

static int change(struct kv_connection *c, const struct kv_command *cmd)
{
	struct kv_change what = {
		.verb = cmd->verb,
		.key = kv_store_key(&c->server->store, cmd->key),
		.number = cmd->number,
		.exptime = cmd->exptime,
	};
	int64_t rc = kv_change(c->server, &what);

	return say_change(c, cmd, &what, rc);
}

static int flush_all(struct kv_connection *c, const struct kv_command *cmd)
{
	if (kv_flush_all(c->server, cmd->exptime) < 0)
		return END(KV_ABORT);
	return say_text(c, cmd, "OK\r\n");
}

/* All but those with a data block. Return: 0; an end. */
static int execute(struct kv_connection *c, struct kv_command *cmd)
{
	switch (cmd->verb) {
	case KV_GET:
		return get(c, cmd);
	case KV_DELETE:
	case KV_INCR:
	case KV_DECR:
	case KV_TOUCH:
		return change(c, cmd);
	case KV_FLUSH_ALL:
		return flush_all(c, cmd);
	case KV_STATS:
		return kv_stats_say(c, cmd->key);
	case KV_VERSION:
		return say_text(c, cmd, "VERSION " KV_VERSION_TEXT "\r\n");
	case KV_VERBOSITY:
		return say_text(c, cmd, "OK\r\n");
	case KV_NOOP:
		return say_text(c, cmd, "MN\r\n");
	case KV_QUIT:
		return END(KV_CLOSE);
	default:
		return say_text(c, cmd, cmd->answer);
	}
}

/* --- The loop -------------------------------------------------------------------------------- */

/* What is kept of an unfinished line counts, from a buffer's size on. */
static bool charge(struct kv_connection *c, size_t bytes)
{
	struct kv_server *s = c->server;

	if (bytes <= APUS_STREAM_BUFFER_BYTES)
		bytes = 0;
	s->buffered += bytes - c->charged;
	c->charged = bytes;
	return bytes == 0 || s->buffered <= BUFFERED_MAX;
}

/* Wait for more than the @have bytes that are here. Return: 0; an end. */
static int receive(struct kv_connection *c, size_t have)
{
	const char *bytes;
	int64_t n;

	if (!charge(c, have))
		return kv_say(c, KV_NO_MEMORY, sizeof(KV_NO_MEMORY) - 1) ? END(KV_ABORT)
									 : END(KV_LINGER);
	if (apus_stream_drain(c->stream) < 0)
		return END(KV_ABORT);
	if (have == 0 && apus_server_idle(c->base) < 0)
		return END(KV_CLOSE);
	n = apus_stream_view(c->stream, have, &bytes);
	apus_server_busy(c->base);
	if (n > 0)
		return 0;
	/* At its end, or stopped between two commands: nothing is cut off. */
	return END(n == 0 || (n == -ECANCELED && have == 0) ? KV_CLOSE : KV_ABORT);
}

/* Return: 0 when the command is done; an end; 1 when it has not come whole. */
static int step(struct kv_connection *c, const char *bytes, size_t have, size_t *seen)
{
	struct kv_command cmd;
	size_t line_bytes, had = *seen;
	int rc;

	*seen = 0;
	switch (kv_parse(bytes, have, had, &cmd, &line_bytes)) {
	case KV_MORE:
		*seen = have;
		return 1;
	case KV_TOO_LONG:
		return kv_say(c, KV_LONG_LINE, sizeof(KV_LONG_LINE) - 1) ? END(KV_ABORT)
									 : END(KV_LINGER);
	case KV_FOREIGN:
		return END(KV_LINGER);
	case KV_LINE:
		break;
	}
	if (cmd.verb >= KV_SET && cmd.verb <= KV_CAS) {
		rc = store(c, &cmd, bytes, have, line_bytes);
		c->server->store.counts[KV_BYTES_READ] += rc == 1 ? 0 : line_bytes;
		return rc;
	}
	rc = execute(c, &cmd);
	apus_stream_consume(c->stream, line_bytes);
	c->server->store.counts[KV_BYTES_READ] += line_bytes;
	return rc;
}

enum kv_end kv_session_run(struct kv_connection *c)
{
	size_t seen = 0;
	int rc = 0;

	while (rc == 0) {
		char *bytes;
		size_t have = apus_stream_buffered(c->stream, &bytes);

		rc = step(c, bytes, have, &seen);
		if (rc == 1)
			rc = receive(c, have);
		else if (rc == 0 && apus_checkpoint() < 0)
			rc = END(KV_LINGER); /* if it is to be aborted, that ends at once */
	}
	charge(c, 0);
	return END_OF(rc);
}

enum kv_end kv_session_linger(struct kv_connection *c)
{
	struct apus_timeout limit;
	size_t bytes = 0;
	char *data;
	int64_t n;

	if (apus_stream_shutdown(c->stream) < 0)
		return KV_ABORT;
	apus_timeout_begin(&limit, LINGER_NS);
	do {
		n = (int64_t)apus_stream_buffered(c->stream, &data);
		apus_stream_consume(c->stream, (size_t)n);
		bytes += (size_t)n;
		n = apus_stream_peek(c->stream, 0, &data);
	} while (n > 0 && bytes < LINGER_BYTES);
	(void)!apus_timeout_end(&limit, n); /* whatever it was, it is over */
	return KV_CLOSE;
}
