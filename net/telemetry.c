/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/telemetry.c: questions of DPDK's telemetry thread, answered by the shard.
 *
 * The thread of telemetry must not look at the shard's structures while they change: it leaves a
 * question in the shard's inbox and waits, a second at most; a shard whose task does not suspend has
 * no answer. The question then still lies in the inbox, so it has two owners, and the second to be
 * done with it frees it.
 *
 * DPDK bounds an answer: 512 entries, 128 bytes each, 16 KiB in all; a list that is longer goes on
 * from the last id (/apus/tasks,ID), a tree ends in a line that says so.
 */
#include "net/telemetry.h"

#include "runtime/base/check.h"
#include "runtime/sched/dump.h"
#include "runtime/sched/shard.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_telemetry.h>

#define TASKS_MAX      48 /* in an answer: fits 16 KiB of JSON */
#define TREE_LINES_MAX (RTE_TEL_MAX_ARRAY_ENTRIES - 1)
#define TREE_BYTES_MAX (12 * 1024)
#define ANSWER_SECONDS 1

enum kind {
	TASKS,
	TREE,
};

struct question {
	struct apus_work work;
	enum kind kind;
	uint64_t after_id;
	unsigned int flags;

	bool answered, given_up; /* under the lock */
	size_t count;
	struct apus_task_info infos[TASKS_MAX];
	char *text; /* of a tree */
};

/* A process has one telemetry. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t news;
	struct apus_shard *shard; /* NULL: nobody answers */
	unsigned int pending;     /* questions in its inbox */
	bool registered;          /* for good: DPDK forgets no command */
} telemetry = {.lock = PTHREAD_MUTEX_INITIALIZER, .news = PTHREAD_COND_INITIALIZER};

static void free_question(struct question *q)
{
	free(q->text);
	free(q);
}

/* --- In the shard's thread ----------------------------------------------------------------- */

static void find_out(struct question *q, struct apus_shard *shard)
{
	size_t bytes;
	FILE *out;

	switch (q->kind) {
	case TASKS:
		q->count = apus_shard_task_infos(shard, q->after_id, q->infos, TASKS_MAX);
		break;
	case TREE:
		out = open_memstream(&q->text, &bytes);
		if (!out)
			break;
		apus_shard_dump_tree(shard, out, q->flags);
		fclose(out);
		break;
	}
}

static void answer(struct apus_work *work)
{
	struct question *q = apus_container_of(work, struct question, work);
	bool given_up;

	find_out(q, apus_shard_self());
	pthread_mutex_lock(&telemetry.lock);
	given_up = q->given_up;
	q->answered = true;
	telemetry.pending--;
	pthread_cond_broadcast(&telemetry.news);
	pthread_mutex_unlock(&telemetry.lock);
	if (given_up)
		free_question(q);
}

/* --- In the thread of telemetry ------------------------------------------------------------ */

/* Consumes @q when there is no answer. Return: 0; -ENOTCONN; -ETIMEDOUT. */
static int ask(struct question *q)
{
	struct timespec limit;
	bool answered;

	apus_work_init(&q->work, answer);
	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += ANSWER_SECONDS;
	pthread_mutex_lock(&telemetry.lock);
	if (!telemetry.shard) {
		pthread_mutex_unlock(&telemetry.lock);
		free_question(q);
		return -ENOTCONN;
	}
	telemetry.pending++;
	apus_call_from_thread(telemetry.shard, &q->work);
	while (!q->answered &&
	       pthread_cond_timedwait(&telemetry.news, &telemetry.lock, &limit) != ETIMEDOUT)
		;
	answered = q->answered;
	q->given_up = !answered;
	pthread_mutex_unlock(&telemetry.lock);
	return answered ? 0 : -ETIMEDOUT;
}

static int add_task(struct rte_tel_data *list, const struct apus_task_info *info)
{
	struct rte_tel_data *d = rte_tel_data_alloc();
	char object[32], id[24];
	int rc;

	if (!d)
		return -ENOMEM;
	rte_tel_data_start_dict(d);
	rte_tel_data_add_dict_string(d, "name", info->name);
	rte_tel_data_add_dict_string(d, "state", info->state);
	rte_tel_data_add_dict_string(d, "waits_for", info->what);
	if (info->awaits_id) {
		rte_tel_data_add_dict_u64(d, "awaits_id", info->awaits_id);
	} else if (info->object) {
		snprintf(object, sizeof(object), "%p", info->object);
		rte_tel_data_add_dict_string(d, "object", object);
	}
	if (info->waits_ns >= 0)
		rte_tel_data_add_dict_u64(d, "waits_ns", (uint64_t)info->waits_ns);
	snprintf(id, sizeof(id), "%" PRIu64, info->id);
	rc = rte_tel_data_add_dict_container(list, id, d, 0);
	if (rc)
		rte_tel_data_free(d);
	return rc;
}

static int on_tasks(const char *command, const char *params, struct rte_tel_data *out)
{
	struct question *q = calloc(1, sizeof(*q));
	int rc;

	if (!q)
		return -ENOMEM;
	q->kind = TASKS;
	q->after_id = params ? strtoull(params, NULL, 10) : 0;
	rc = ask(q);
	if (rc)
		return rc;
	rte_tel_data_start_dict(out);
	for (size_t i = 0; i < q->count && !rc; i++)
		rc = add_task(out, &q->infos[i]);
	free_question(q);
	return rc;
}

/* Lines of a tree, as many as fit. */
static void add_lines(struct rte_tel_data *out, char *text)
{
	size_t lines = 0, bytes = 0;
	char *rest = text, *line;

	while ((line = strsep(&rest, "\n")) && rest) {
		if (strlen(line) >= RTE_TEL_MAX_STRING_LEN)
			line[RTE_TEL_MAX_STRING_LEN - 1] = '\0';
		bytes += strlen(line) + sizeof("\"\",");
		if (lines++ == TREE_LINES_MAX || bytes > TREE_BYTES_MAX) {
			rte_tel_data_add_array_string(out, "(the answer ends here, the tree not)");
			return;
		}
		rte_tel_data_add_array_string(out, line);
	}
}

static int on_tree(const char *command, const char *params, struct rte_tel_data *out)
{
	struct question *q = calloc(1, sizeof(*q));
	int rc;

	if (!q)
		return -ENOMEM;
	q->kind = TREE;
	q->flags = params && !strcmp(params, "stacks") ? APUS_DUMP_STACKS : 0;
	rc = ask(q);
	if (rc)
		return rc;
	rte_tel_data_start_array(out, RTE_TEL_STRING_VAL);
	if (q->text)
		add_lines(out, q->text);
	free_question(q);
	return 0;
}

/* --- Entry points -------------------------------------------------------------------------- */

int apus_telemetry_open(struct apus_shard *shard)
{
	int rc = 0;

	pthread_mutex_lock(&telemetry.lock);
	if (telemetry.shard)
		rc = -EALREADY;
	else
		telemetry.shard = shard;
	pthread_mutex_unlock(&telemetry.lock);
	if (rc || telemetry.registered)
		return rc;
	rc = rte_telemetry_register_cmd("/apus/tasks", on_tasks,
					"Tasks. Parameter: the id after which to begin (0)");
	if (!rc)
		rc = rte_telemetry_register_cmd("/apus/tree", on_tree,
						"Who awaits whom. Parameter: stacks");
	telemetry.registered = !rc;
	if (rc)
		apus_telemetry_close();
	return rc;
}

static bool is_pending(void)
{
	pthread_mutex_lock(&telemetry.lock);

	bool pending = telemetry.pending > 0;

	telemetry.shard = NULL; /* no more of them */
	pthread_mutex_unlock(&telemetry.lock);
	return pending;
}

void apus_telemetry_close(void)
{
	struct apus_shard *shard = telemetry.shard;

	while (is_pending())
		apus_shard_turn(shard);
}
