/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net/telemetry.c: questions of DPDK's telemetry thread, answered by the shards.
 *
 * The thread of telemetry must not look at a shard's structures while they change: it leaves a
 * question in the inbox of each that is asked, all at once, and waits, a second at most; a shard whose
 * task does not suspend has no answer, and the others' are given without it. The question then still
 * lies in its inbox, so it has two owners, and the second to be done with it frees it. As long as it
 * lies there that shard is asked nothing more.
 *
 * DPDK bounds an answer: 512 entries, 128 bytes each, 16 KiB in all; a list that is longer goes on
 * from the last id of a shard, a tree ends in a line that says so.
 */
#include "net/telemetry.h"

#include "runtime/base/check.h"
#include "runtime/cross/shards.h"
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

/* To one shard. */
struct question {
	struct apus_work work;
	unsigned int shard;
	enum kind kind;
	uint64_t after_id;
	unsigned int flags;
	size_t max;

	bool answered, given_up; /* under the lock */
	int rc;                  /* it could not be asked */
	size_t count;
	struct apus_task_info infos[TASKS_MAX];
	char *text; /* of a tree */
};

/* A process has one telemetry. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t news;
	unsigned int count; /* shards; 0: nobody answers */
	struct apus_inbox *inboxes[APUS_SHARDS_MAX];
	bool is_asked[APUS_SHARDS_MAX]; /* a question lies in its inbox */
	bool is_busy;                   /* somebody asks; each client has a thread */
	bool registered;                /* for good: DPDK forgets no command */
} telemetry = {.lock = PTHREAD_MUTEX_INITIALIZER, .news = PTHREAD_COND_INITIALIZER};

static void free_question(struct question *q)
{
	if (q)
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
		q->count = apus_shard_task_infos(shard, q->after_id, q->infos, q->max);
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

/* Also while the shard closes: then there is none any more, and its tasks are gone. */
static void answer(struct apus_work *work)
{
	struct question *q = apus_container_of(work, struct question, work);
	struct apus_shard *shard = apus_shard_self();
	bool given_up;

	if (shard)
		find_out(q, shard);
	pthread_mutex_lock(&telemetry.lock);
	given_up = q->given_up;
	q->answered = true;
	telemetry.is_asked[q->shard] = false;
	pthread_cond_broadcast(&telemetry.news);
	pthread_mutex_unlock(&telemetry.lock);
	if (given_up)
		free_question(q);
}

/* --- In the thread of telemetry ------------------------------------------------------------ */

/* Under the lock. */
static void ask_one(struct question *q)
{
	apus_work_init(&q->work, answer);
	if (telemetry.is_asked[q->shard]) {
		q->rc = -ETIMEDOUT;
		return;
	}
	telemetry.is_asked[q->shard] = true;
	q->rc = apus_inbox_call(telemetry.inboxes[q->shard], &q->work);
	telemetry.is_asked[q->shard] = !q->rc;
}

static bool are_answered(struct question *const *questions, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		if (!questions[i]->rc && !questions[i]->answered)
			return false;
	return true;
}

/* Those that are not answered have rc = -ETIMEDOUT after this, and are given up: a copy stays. */
static int give_up(struct question **q)
{
	struct question *copy = calloc(1, sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	copy->shard = (*q)->shard;
	copy->rc = -ETIMEDOUT;
	(*q)->given_up = true;
	*q = copy;
	return 0;
}

/* Under the lock. */
static void wait_for_answers(struct question **questions, unsigned int count)
{
	struct timespec limit;

	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += ANSWER_SECONDS;
	while (!are_answered(questions, count) &&
	       pthread_cond_timedwait(&telemetry.news, &telemetry.lock, &limit) != ETIMEDOUT)
		;
	for (unsigned int i = 0; i < count; i++) {
		struct question **q = &questions[i];

		while (!(*q)->rc && !(*q)->answered &&
		       give_up(q)) /* no memory: it may answer yet */
			pthread_cond_wait(&telemetry.news, &telemetry.lock);
	}
}

static void free_questions(struct question **questions, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		free_question(questions[i]);
}

/* What is asked, of which shards. */
struct inquiry {
	enum kind kind;
	unsigned int first, count; /* shards; count 0: all */
	uint64_t after_id;
	unsigned int flags;
};

/* Under the lock. Return: how many questions; -ENOTCONN; -EINVAL; -ENOMEM */
static int make_questions(const struct inquiry *what, struct question **questions)
{
	unsigned int count = what->count ? what->count : telemetry.count;

	if (!telemetry.count)
		return -ENOTCONN;
	if (what->first >= telemetry.count)
		return -EINVAL;
	for (unsigned int i = 0; i < count; i++) {
		struct question *q = calloc(1, sizeof(*q));

		if (!q) {
			free_questions(questions, i);
			return -ENOMEM;
		}
		q->shard = what->first + i;
		q->kind = what->kind;
		q->after_id = what->after_id;
		q->flags = what->flags;
		q->max = apus_max(TASKS_MAX / count, 1u);
		questions[i] = q;
	}
	return (int)count;
}

/* Gives the questions, all of them with an answer or a reason. Return: how many; -errno */
static int ask(const struct inquiry *what, struct question **questions)
{
	int count;

	pthread_mutex_lock(&telemetry.lock);
	while (telemetry.is_busy)
		pthread_cond_wait(&telemetry.news, &telemetry.lock);
	telemetry.is_busy = true;
	count = make_questions(what, questions);
	for (int i = 0; i < count; i++)
		ask_one(questions[i]);
	if (count > 0)
		wait_for_answers(questions, (unsigned int)count);
	telemetry.is_busy = false;
	pthread_cond_broadcast(&telemetry.news);
	pthread_mutex_unlock(&telemetry.lock);
	return count;
}

static const char *reason(const struct question *q)
{
	return q->rc == -ETIMEDOUT ? "does not answer" : "has stopped";
}

/* "SHARD": then only that one. Return: what follows the comma after it, or else @params */
static const char *take_shard(const char *params, struct inquiry *what)
{
	char *end;
	unsigned long shard = params ? strtoul(params, &end, 10) : 0;

	if (!params || end == params)
		return params;
	what->first = (unsigned int)apus_min(shard, (unsigned long)APUS_SHARDS_MAX);
	what->count = 1;
	return *end == ',' ? end + 1 : NULL;
}

static int add_task(struct rte_tel_data *list, unsigned int shard,
		    const struct apus_task_info *info)
{
	struct rte_tel_data *d = rte_tel_data_alloc();
	char object[32], id[40];
	int rc;

	if (!d)
		return -ENOMEM;
	rte_tel_data_start_dict(d);
	rte_tel_data_add_dict_string(d, "name", info->name);
	rte_tel_data_add_dict_string(d, "state", info->state);
	rte_tel_data_add_dict_string(d, "waits_for", info->what);
	if (info->awaits_id) {
		snprintf(id, sizeof(id), "%u/%" PRIu64, info->awaits_shard, info->awaits_id);
		rte_tel_data_add_dict_string(d, "awaits", id);
	} else if (info->object) {
		snprintf(object, sizeof(object), "%p", info->object);
		rte_tel_data_add_dict_string(d, "object", object);
	}
	if (info->waits_ns >= 0)
		rte_tel_data_add_dict_u64(d, "waits_ns", (uint64_t)info->waits_ns);
	snprintf(id, sizeof(id), "%u/%" PRIu64, shard, info->id);
	rc = rte_tel_data_add_dict_container(list, id, d, 0);
	if (rc)
		rte_tel_data_free(d);
	return rc;
}

static int add_tasks(struct rte_tel_data *out, const struct question *q)
{
	char name[16];
	int rc = 0;

	if (q->rc) {
		snprintf(name, sizeof(name), "%u", q->shard);
		return rte_tel_data_add_dict_string(out, name, reason(q));
	}
	for (size_t i = 0; i < q->count && !rc; i++)
		rc = add_task(out, q->shard, &q->infos[i]);
	return rc;
}

static int on_tasks(const char *command, const char *params, struct rte_tel_data *out)
{
	struct question *questions[APUS_SHARDS_MAX];
	struct inquiry what = {.kind = TASKS};
	const char *after = take_shard(params, &what);
	int rc = 0, count;

	what.after_id = after ? strtoull(after, NULL, 10) : 0;
	count = ask(&what, questions);
	if (count < 0)
		return count;
	rte_tel_data_start_dict(out);
	for (int i = 0; i < count && !rc; i++)
		rc = add_tasks(out, questions[i]);
	free_questions(questions, (unsigned int)count);
	return rc;
}

/* Room in an answer of lines. */
struct lines {
	struct rte_tel_data *out;
	size_t count, bytes;
};

/* Return: false: there was no more room, and it says so. */
static bool add_line(struct lines *lines, char *line)
{
	if (lines->count > TREE_LINES_MAX)
		return false;
	if (strlen(line) >= RTE_TEL_MAX_STRING_LEN)
		line[RTE_TEL_MAX_STRING_LEN - 1] = '\0';
	lines->bytes += strlen(line) + sizeof("\"\",");
	if (lines->count++ == TREE_LINES_MAX || lines->bytes > TREE_BYTES_MAX) {
		rte_tel_data_add_array_string(lines->out, "(the answer ends here, the tree not)");
		lines->count = TREE_LINES_MAX + 1;
		return false;
	}
	rte_tel_data_add_array_string(lines->out, line);
	return true;
}

/* Lines of a tree, as many as fit; of one of several shards with a line before them that names it. */
static void add_tree(struct lines *lines, const struct question *q, bool is_alone)
{
	char *rest = q->text, *line, name[48];

	snprintf(name, sizeof(name), "shard %u%s%s", q->shard, q->rc ? " " : ":",
		 q->rc ? reason(q) : "");
	if ((q->rc || !is_alone) && !add_line(lines, name))
		return;
	while (rest && (line = strsep(&rest, "\n")) && rest)
		if (!add_line(lines, line))
			return;
}

static int on_tree(const char *command, const char *params, struct rte_tel_data *out)
{
	struct question *questions[APUS_SHARDS_MAX];
	struct inquiry what = {.kind = TREE};
	struct lines lines = {.out = out};
	const char *word = take_shard(params, &what);
	int count;

	what.flags = word && !strcmp(word, "stacks") ? APUS_DUMP_STACKS : 0;
	count = ask(&what, questions);
	if (count < 0)
		return count;
	rte_tel_data_start_array(out, RTE_TEL_STRING_VAL);
	for (int i = 0; i < count; i++)
		add_tree(&lines, questions[i], count == 1);
	free_questions(questions, (unsigned int)count);
	return 0;
}

/* --- Entry points -------------------------------------------------------------------------- */

static int register_commands(void)
{
	int rc = rte_telemetry_register_cmd(
		"/apus/tasks", on_tasks,
		"Tasks of all shards. Parameters: a shard, and the id after which to begin");

	if (rc)
		return rc;
	return rte_telemetry_register_cmd("/apus/tree", on_tree,
					  "Who awaits whom. Parameters: a shard; stacks");
}

int apus_telemetry_open(const struct apus_shards *shards)
{
	int rc = 0;

	pthread_mutex_lock(&telemetry.lock);
	if (telemetry.count) {
		rc = -EALREADY;
	} else {
		telemetry.count = apus_shards_count(shards);
		for (unsigned int i = 0; i < telemetry.count; i++) {
			telemetry.inboxes[i] = apus_inbox_get(apus_shards_at(shards, i));
			telemetry.is_asked[i] = false;
		}
	}
	pthread_mutex_unlock(&telemetry.lock);
	if (rc || telemetry.registered)
		return rc;
	rc = register_commands();
	telemetry.registered = !rc;
	if (rc)
		apus_telemetry_close();
	return rc;
}

/* A question that still lies in an inbox is run, and freed, when that shard closes. */
void apus_telemetry_close(void)
{
	pthread_mutex_lock(&telemetry.lock);
	for (unsigned int i = 0; i < telemetry.count; i++)
		apus_inbox_put(telemetry.inboxes[i]);
	telemetry.count = 0;
	pthread_mutex_unlock(&telemetry.lock);
}
