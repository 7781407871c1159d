/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/drill/calls.c: the socket calls of a script, on apus' own.
 *
 * Calls that may wait are tasks. A script's number of a socket is what its call returns there; the
 * bytes written are those of drill_byte(), and the bytes read must be.
 */
#include "tests/drill/drill.h"

#include "net/stack_internal.h"
#include "net/tcp/tcb.h"
#include "runtime/base/check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_MAX    (64 << 20) /* of one read or write */
#define PIECE_BYTES  100        /* of a writev */
#define VIEWS_MAX    64         /* of a peek */
#define KEEP_IDLE_NS (7200 * APUS_SEC)
#define TICK_PER_MS  1000000

/* ---- arguments ------------------------------------------------------------------------------- */

static bool argument_number(const struct drill_call *call, unsigned int i, int64_t *out)
{
	const char *at = i < call->word_count ? call->words[i] : "";

	if (*at == '[')
		at++;
	return drill_parse_number(&at, out);
}

/* htons(N) in any argument. */
static uint16_t argument_port(const struct drill_call *call)
{
	for (unsigned int i = 0; i < call->word_count; i++) {
		const char *at = strstr(call->words[i], "htons(");
		int64_t port;

		if (!at)
			continue;
		at += strlen("htons(");
		if (drill_parse_number(&at, &port))
			return (uint16_t)port;
	}
	return DRILL_SERVER_PORT;
}

/* inet_addr("A") in any argument; else @usual, which may be NULL: any. */
static struct apus_addr argument_address(const struct drill_call *call, const char *usual)
{
	struct in_addr addr;
	char text[16] = "";

	for (unsigned int i = 0; i < call->word_count; i++) {
		const char *at = strstr(call->words[i], "inet_addr(\"");

		if (at && sscanf(at, "inet_addr(\"%15[0-9.]", text) == 1)
			usual = text;
	}
	if (!usual)
		return (struct apus_addr){0};
	apus_must(inet_pton(AF_INET, usual, &addr) == 1);
	return apus_addr_v4(addr.s_addr);
}

static struct drill_socket *socket_at(struct drill_sockets *s, int64_t fd)
{
	return fd >= 0 && fd < DRILL_FDS_MAX ? &s->sockets[fd] : NULL;
}

/* ---- calls that wait ------------------------------------------------------------------------- */

static int64_t do_accept(void *arg)
{
	struct drill_waiting *w = arg;

	return apus_tcp_accept(w->socket->listener, &w->connection);
}

static int64_t do_connect(void *arg)
{
	struct drill_waiting *w = arg;
	struct apus_endpoint from = {w->socket->addr, w->socket->port};
	struct apus_endpoint to = {argument_address(&w->event->call, DRILL_REMOTE_IP),
				   argument_port(&w->event->call)};

	if (from.port)
		return apus_tcp_connect_from(from, to, &w->connection);
	return apus_tcp_connect(to, &w->connection);
}

/* Waits only when the connection lingers. */
static int64_t do_close(void *arg)
{
	struct drill_waiting *w = arg;

	apus_tcp_close(w->connection);
	w->connection = NULL;
	return 0;
}

static int64_t do_read(void *arg)
{
	struct drill_waiting *w = arg;
	int64_t n = apus_tcp_read(w->socket->connection, w->buf, (size_t)w->number);

	for (int64_t i = 0; i < n; i++)
		if (w->buf[i] != drill_byte(1 + w->socket->read_bytes + (uint32_t)i))
			w->wrong = "bytes that were not sent";
	if (n > 0)
		w->socket->read_bytes += (uint32_t)n;
	return n;
}

/* The next bytes of the stream. */
static void fill(struct drill_waiting *w)
{
	for (int64_t i = 0; i < w->number; i++)
		w->buf[i] = drill_byte(1 + w->socket->written_bytes + (uint32_t)i);
	w->socket->written_bytes += (uint32_t)w->number;
}

static int64_t do_write(void *arg)
{
	struct drill_waiting *w = arg;

	fill(w);
	return apus_tcp_write(w->socket->connection, w->buf, (size_t)w->number);
}

/* In pieces, as few bytes each as makes many of them. */
static int64_t do_writev(void *arg)
{
	struct drill_waiting *w = arg;
	size_t count = ((size_t)w->number + PIECE_BYTES - 1) / PIECE_BYTES;
	struct iovec *pieces = calloc(count, sizeof(*pieces));
	int64_t rc;

	apus_must(pieces);
	fill(w);
	for (size_t i = 0; i < count; i++)
		pieces[i] = (struct iovec){
			.iov_base = w->buf + i * PIECE_BYTES,
			.iov_len =
				apus_min((size_t)PIECE_BYTES, (size_t)w->number - i * PIECE_BYTES),
		};
	rc = apus_tcp_writev(w->socket->connection, pieces, count, NULL);
	free(pieces);
	return rc;
}

/* A buffer that is lent until the stack gives it back. */
struct lent {
	struct drill_sockets *sockets;
	uint8_t *buf;
};

static void lent_done(void *arg)
{
	struct lent *lent = arg;

	lent->sockets->buffers_out--;
	free(lent->buf);
	free(lent);
}

static int64_t do_send_buffer(void *arg)
{
	struct drill_waiting *w = arg;
	struct lent *lent = malloc(sizeof(*lent));

	apus_must(lent);
	fill(w);
	*lent = (struct lent){.sockets = w->sockets, .buf = w->buf};
	w->buf = NULL;
	w->sockets->buffers_out++;
	return apus_tcp_send_buffer(w->socket->connection, lent->buf, (size_t)w->number, lent_done,
				    lent);
}

/* What has come, and stays. */
static int64_t do_peek(void *arg)
{
	struct drill_waiting *w = arg;
	struct iovec views[VIEWS_MAX];
	int n = apus_tcp_peek(w->socket->connection, views, VIEWS_MAX);
	int64_t bytes = 0;

	for (int i = 0; i < n; i++) {
		for (size_t k = 0; k < views[i].iov_len && bytes < w->number; k++, bytes++)
			if (((const uint8_t *)views[i].iov_base)[k] !=
			    drill_byte(1 + w->socket->read_bytes + (uint32_t)bytes))
				w->wrong = "bytes that were not sent";
	}
	return n < 0 ? n : bytes;
}

static void spawn(struct drill_sockets *s, struct drill_waiting *w, apus_task_fn fn)
{
	w->task = apus_sim_spawn(s->host, w->event->call.name, fn, w);
	apus_must(w->task);
}

/* ---- options --------------------------------------------------------------------------------- */

struct setting {
	struct apus_tcp *c;
	enum apus_tcp_option option;
	int64_t value;
};

static int64_t do_set(void *arg)
{
	const struct setting *s = arg;

	return apus_tcp_set(s->c, s->option, s->value);
}

/* An option of a connection, or of one that is yet to be. */
static int64_t set_one(struct drill_sockets *s, struct drill_socket *socket,
		       enum apus_tcp_option option, int64_t value)
{
	struct setting setting = {socket->connection, option, value};

	if (socket->kind == DRILL_CONNECTION)
		return apus_sim_call(s->host, do_set, &setting);
	if (socket->early_count == apus_countof(socket->early))
		return -ENOBUFS;
	socket->early[socket->early_count].option = option;
	socket->early[socket->early_count++].value = value;
	return 0;
}

struct choice {
	struct drill_socket *socket;
	char name[16];
};

/* Of a listener: for what it accepts from then on. */
static int64_t do_choose(void *arg)
{
	const struct choice *choice = arg;

	if (choice->socket->kind == DRILL_CONNECTION)
		return apus_tcp_set_congestion(choice->socket->connection, choice->name);
	if (choice->socket->kind == DRILL_LISTENER)
		return apus_tcp_listener_set_congestion(choice->socket->listener, choice->name);
	return -EINVAL;
}

/* setsockopt(fd, LEVEL, NAME, [VALUE], SIZE) */
static int64_t call_setsockopt(struct drill_sockets *s, struct drill_socket *socket,
			       const struct drill_call *call, char *error)
{
	static const struct {
		const char *name;
		enum apus_tcp_option option;
		int64_t unit;
	} options[] = {
		{"TCP_NODELAY", APUS_TCP_NODELAY, 1},
		{"TCP_CORK", APUS_TCP_CORK, 1},
		{"TCP_KEEPINTVL", APUS_TCP_KEEPALIVE_INTERVAL_NS, APUS_SEC},
		{"TCP_KEEPCNT", APUS_TCP_KEEPALIVE_PROBES, 1},
		{"TCP_USER_TIMEOUT", APUS_TCP_USER_TIMEOUT_NS, APUS_MS},
	};
	const char *name = call->word_count > 3 ? call->words[2] : "";
	const char *linger = strstr(call->words[3], "linger=");
	int64_t value = 0;

	if (!strcmp(name, "SO_REUSEADDR"))
		return 0;
	if (!strcmp(name, "TCP_CONGESTION")) {
		struct choice choice = {.socket = socket};

		if (sscanf(call->words[3], "\"%15[a-z]", choice.name) != 1)
			return -EINVAL;
		return apus_sim_call(s->host, do_choose, &choice);
	}
	if (!strcmp(name, "SO_LINGER") && linger && strstr(call->words[3], "onoff=1"))
		return set_one(s, socket, APUS_TCP_LINGER_NS,
			       strtoll(linger + strlen("linger="), NULL, 10) * APUS_SEC);
	if (!argument_number(call, 3, &value)) {
		snprintf(error, DRILL_ERROR_BYTES, "setsockopt: no value");
		return -EINVAL;
	}
	if (!strcmp(name, "SO_KEEPALIVE"))
		return set_one(s, socket, APUS_TCP_KEEPALIVE_IDLE_NS,
			       !value                 ? 0
			       : socket->keep_idle_ns ? socket->keep_idle_ns
						      : KEEP_IDLE_NS);
	if (!strcmp(name, "TCP_KEEPIDLE")) {
		socket->keep_idle_ns = value * APUS_SEC;
		return 0;
	}
	for (size_t i = 0; i < apus_countof(options); i++)
		if (!strcmp(name, options[i].name))
			return set_one(s, socket, options[i].option, value * options[i].unit);
	snprintf(error, DRILL_ERROR_BYTES, "setsockopt: no option %s here", name);
	return -ENOPROTOOPT;
}

/* ---- calls that do not wait ------------------------------------------------------------------ */

struct listening {
	struct apus_endpoint local;
	uint32_t backlog;
	struct drill_socket *socket;
};

static int64_t do_listen(void *arg)
{
	struct listening *l = arg;

	return apus_tcp_listen(l->local, l->backlog, &l->socket->listener);
}

static int64_t call_listen(struct drill_sockets *s, struct drill_socket *socket, int64_t backlog)
{
	struct listening l = {
		.local = {socket->addr, socket->port ? socket->port : DRILL_SERVER_PORT},
		.backlog = (uint32_t)backlog,
		.socket = socket,
	};
	int64_t rc = apus_sim_call(s->host, do_listen, &l);

	if (rc == 0)
		socket->kind = DRILL_LISTENER;
	return rc;
}

static int64_t do_abort(void *arg)
{
	struct drill_socket *socket = arg;

	if (socket->kind == DRILL_CONNECTION)
		apus_tcp_abort(socket->connection);
	else if (socket->kind == DRILL_LISTENER)
		apus_tcp_listener_close(socket->listener);
	return 0;
}

static int64_t do_shutdown(void *arg)
{
	const struct drill_socket *socket = arg;

	return apus_tcp_shutdown(socket->connection);
}

static void forget(struct drill_sockets *s, struct drill_socket *socket)
{
	if (s->last == socket)
		s->last = NULL;
	*socket = (struct drill_socket){0};
}

static int64_t give_up(struct drill_sockets *s, struct drill_socket *socket)
{
	apus_sim_call(s->host, do_abort, socket);
	forget(s, socket);
	return 0;
}

/* Return: true if it was one of them. */
static bool call_at_once(struct drill_sockets *s, struct drill_waiting *w, int64_t *result,
			 char *error)
{
	const struct drill_call *call = &w->event->call;
	struct drill_socket *socket = w->socket;

	if (!strcmp(call->name, "socket")) {
		*result = call->result;
		socket = socket_at(s, call->result);
		if (!socket || socket->kind != DRILL_FREE)
			*result = -EINVAL;
		else
			socket->kind = DRILL_SOCKET;
	} else if (!strcmp(call->name, "bind")) {
		socket->port = argument_port(call);
		socket->addr = argument_address(call, NULL);
		*result = 0;
	} else if (!strcmp(call->name, "listen")) {
		*result = call_listen(s, socket, w->number);
	} else if (!strcmp(call->name, "setsockopt")) {
		*result = call_setsockopt(s, socket, call, error);
	} else if (!strcmp(call->name, "abort") ||
		   (!strcmp(call->name, "close") && socket->kind != DRILL_CONNECTION)) {
		*result = give_up(s, socket);
	} else if (!strcmp(call->name, "shutdown")) {
		*result = apus_sim_call(s->host, do_shutdown, socket);
	} else if (!strcmp(call->name, "fcntl")) {
		*result = 0; /* whether a call waits is said by its line */
	} else {
		return false;
	}
	return true;
}

/* What must hold before a call is made: the kind of its socket, a number of bytes. */
static bool arguments_valid(struct drill_sockets *s, struct drill_waiting *w, char *error)
{
	static const struct {
		const char *name;
		int kind;        /* of the socket; < 0: any */
		bool has_number; /* in the last argument, or the third */
		unsigned int number_at;
	} calls[] = {
		{"accept", DRILL_LISTENER, false, 0},
		{"connect", DRILL_SOCKET, false, 0},
		{"read", DRILL_CONNECTION, true, 2},
		{"recv", DRILL_CONNECTION, true, 2},
		{"write", DRILL_CONNECTION, true, 2},
		{"send", DRILL_CONNECTION, true, 2},
		{"writev", DRILL_CONNECTION, true, 2},
		{"bind", DRILL_SOCKET, false, 0},
		{"listen", DRILL_SOCKET, true, 1},
		{"setsockopt", -1, false, 0},
		{"close", -1, false, 0},
		{"abort", DRILL_CONNECTION, false, 0},
		{"shutdown", DRILL_CONNECTION, false, 0},
		{"fcntl", -1, false, 0},
	};
	const struct drill_call *call = &w->event->call;
	int64_t fd = -1;

	if (!strcmp(call->name, "socket"))
		return true;
	for (size_t i = 0; i < apus_countof(calls); i++) {
		if (strcmp(call->name, calls[i].name))
			continue;
		w->socket = argument_number(call, 0, &fd) ? socket_at(s, fd) : NULL;
		if (!w->socket || w->socket->kind == DRILL_FREE ||
		    (calls[i].kind >= 0 && (int)w->socket->kind != calls[i].kind))
			break;
		if (calls[i].has_number &&
		    (!argument_number(call, calls[i].number_at, &w->number) || w->number < 0 ||
		     w->number > BYTES_MAX))
			break;
		return true;
	}
	snprintf(error, DRILL_ERROR_BYTES, "%s: no such call, or not with these arguments",
		 call->name);
	return false;
}

static apus_task_fn transfer_of(const struct drill_call *call)
{
	const char *flags = call->word_count > 3 ? call->words[3] : "";

	if (!strcmp(call->name, "read") || !strcmp(call->name, "recv"))
		return strstr(flags, "MSG_PEEK") ? do_peek : do_read;
	if (!strcmp(call->name, "writev"))
		return do_writev;
	return strstr(flags, "MSG_ZEROCOPY") ? do_send_buffer : do_write;
}

bool drill_call_start(struct drill_sockets *s, struct drill_waiting *w, int64_t *result,
		      char *error)
{
	const char *name = w->event->call.name;

	w->sockets = s;
	*result = -EINVAL;
	if (!arguments_valid(s, w, error) || call_at_once(s, w, result, error))
		return true;
	if (!strcmp(name, "accept")) {
		spawn(s, w, do_accept);
	} else if (!strcmp(name, "connect")) {
		spawn(s, w, do_connect);
	} else if (!strcmp(name, "close")) {
		w->connection = w->socket->connection;
		forget(s, w->socket);
		spawn(s, w, do_close);
	} else {
		w->buf = malloc((size_t)w->number + 1);
		apus_must(w->buf);
		spawn(s, w, transfer_of(&w->event->call));
	}
	return false;
}

/* ---- what came of them ----------------------------------------------------------------------- */

void drill_call_ended(struct drill_sockets *s, struct drill_waiting *w, int64_t result)
{
	struct drill_socket *socket = w->socket;

	free(w->buf);
	w->buf = NULL;
	if (w->connection && !strcmp(w->event->call.name, "close")) { /* it never began */
		struct drill_socket left = {.kind = DRILL_CONNECTION, .connection = w->connection};

		give_up(s, &left);
		return;
	}
	if (!w->connection || result < 0)
		return;
	if (!strcmp(w->event->call.name, "accept"))
		socket = socket_at(s, w->event->call.result);
	if (!socket || (socket != w->socket && socket->kind != DRILL_FREE)) {
		struct drill_socket none = {.kind = DRILL_CONNECTION, .connection = w->connection};

		apus_sim_call(s->host, do_abort, &none); /* a number that is not free */
		w->wrong = "a number of a socket that is in use";
		return;
	}
	socket->kind = DRILL_CONNECTION;
	socket->connection = w->connection;
	s->last = socket;
	for (unsigned int i = 0; i < socket->early_count; i++) {
		struct setting setting = {socket->connection, socket->early[i].option,
					  socket->early[i].value};

		if (apus_sim_call(s->host, do_set, &setting))
			w->wrong = "an option that was refused";
	}
}

void drill_sockets_close(struct drill_sockets *s)
{
	for (size_t i = 0; i < DRILL_FDS_MAX; i++)
		if (s->sockets[i].kind != DRILL_FREE)
			give_up(s, &s->sockets[i]);
}

void drill_sockets_check(const struct drill_sockets *s)
{
	struct apus_shard *before = apus_shard_enter(apus_sim_host_shard(s->host));

	for (size_t i = 0; i < DRILL_FDS_MAX; i++)
		if (s->sockets[i].kind == DRILL_CONNECTION)
			apus_tcp_check(s->sockets[i].connection);
	apus_shard_enter(before);
}
