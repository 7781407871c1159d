/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/sched/dump.c: who is there, and what they wait for.
 *
 * A task waits in one place, so the edges are found from the other end: each task has a queue of
 * who awaits it. A callback in that queue (of a group, a gather) names in its wait.object what the
 * waiting task waits for, which leads on to that task. Who waits for a lock awaits its holder, which is
 * known in debug mode. The tree is walked without recursion: a chain
 * of tasks may be longer than the stack of the one that asks is deep.
 */
#include "runtime/sched/dump.h"

#include "runtime/sched/backtrace.h"
#include "runtime/sched/debug.h"
#include "runtime/sched/internal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ------------------------------------------------------------------------------------ one task */

static const char *state_of(const struct apus_task *t)
{
	switch ((enum apus_task_state)t->state) {
	case APUS_TASK_NEW:
		return "new";
	case APUS_TASK_READY:
		return t == t->shard->current ? "running" : "ready";
	case APUS_TASK_PARKED:
		return "waits";
	case APUS_TASK_DONE:
		return "done";
	}
	return "";
}

/* The task that it awaits, when it is one. */
static const struct apus_task *awaited_by(const struct apus_task *t)
{
	bool awaits = t->state == APUS_TASK_PARKED && t->wait->what && t->wait->object &&
		      !strcmp(t->wait->what, "task");

	return awaits ? t->wait->object : NULL;
}

/* The next one that a wait of its own kind is for, from *@i on. */
static bool next_awaited(const struct apus_task *t, unsigned int *i, struct apus_awaited *out)
{
	if (t->state != APUS_TASK_PARKED || !t->wait->type || !t->wait->type->awaits)
		return false;
	return t->wait->type->awaits(t->wait, i, out);
}

/* The only task that it awaits, here or elsewhere; its id is 0 if there is none, or are several. */
static struct apus_awaited only_awaited(const struct apus_task *t)
{
	struct apus_awaited found = {.task = awaited_by(t), .shard = t->shard->index}, another;
	unsigned int i = 0;

	if (!found.task && next_awaited(t, &i, &found) && next_awaited(t, &i, &another))
		return (struct apus_awaited){.shard = t->shard->index};
	if (found.task)
		found.id = found.task->id;
	return found;
}

/* For how long it has waited; < 0: not known. */
static int64_t waits_ns(const struct apus_task *t)
{
	const struct apus_debug_record *record = apus_debug_record_of(t);

	if (!record || t->state != APUS_TASK_PARKED)
		return -1;
	return apus_clock_read(t->shard->clock) - record->since_ns;
}

/* "name: waits for lock 0x7f12, for 1.500 s" */
static void print_task(FILE *out, const struct apus_task *t)
{
	const struct apus_task *awaited = awaited_by(t);
	int64_t ns = waits_ns(t);

	fprintf(out, "%s: ", apus_task_name(t));
	switch ((enum apus_task_state)t->state) {
	case APUS_TASK_NEW:
		fprintf(out, "not begun");
		break;
	case APUS_TASK_READY:
		fprintf(out, "%s", state_of(t));
		break;
	case APUS_TASK_PARKED:
		if (awaited)
			fprintf(out, "waits for task %s", apus_task_name(awaited));
		else
			fprintf(out, "waits for %s %p", t->wait->what, t->wait->object);
		break;
	case APUS_TASK_DONE:
		fprintf(out, "done");
		break;
	}
	if (ns >= 0)
		fprintf(out, ", for %.3f s", (double)ns / 1e9);
	if (t->must_cancel)
		fprintf(out, ", cancelled");
	fputc('\n', out);
}

/* Where it stands: from the context that it was left in, or from here. */
static void print_stack(FILE *out, const struct apus_task *t, int indent)
{
	const struct apus_stack_range range = {t->stack.base, (const char *)t};
	void *frames[APUS_BACKTRACE_MAX];
	size_t n = 0;

	if (t->state == APUS_TASK_NEW) {
		frames[n++] = (void *)(uintptr_t)t->fn;
	} else if (t == t->shard->current) {
		n = apus_backtrace_here(frames, APUS_BACKTRACE_MAX, 1);
	} else {
		frames[n++] = t->context.ip;
		n += apus_backtrace_walk(t->context.bp, range, frames + 1, APUS_BACKTRACE_MAX - 1);
	}
	apus_backtrace_print(out, frames, n, indent);
}

/* ---------------------------------------------------------------------------------------- list */

/* A stream of its own, so that the descriptor stays open, and its owner's. */
static FILE *open_stream(int fd)
{
	int own = dup(fd);
	FILE *out = own < 0 ? NULL : fdopen(own, "w");

	if (!out && own >= 0)
		close(own);
	return out;
}

static void print_list(const struct apus_shard *s, FILE *out)
{
	const struct apus_list *it;

	fprintf(out, "apus: %zu tasks\n", s->tasks_live);
	apus_list_for_each(it, &s->tasks) {
		fprintf(out, "  ");
		print_task(out, apus_list_entry(it, struct apus_task, all));
	}
}

void apus_shard_dump(const struct apus_shard *s, int fd)
{
	FILE *out = open_stream(fd);

	if (!out)
		return;
	print_list(s, out);
	fclose(out);
}

size_t apus_shard_task_infos(struct apus_shard *s, uint64_t after_id, struct apus_task_info *out,
			     size_t max)
{
	const struct apus_list *it;
	size_t n = 0;

	apus_list_for_each(it, &s->tasks) {
		const struct apus_task *t = apus_list_entry(it, struct apus_task, all);
		bool parked = t->state == APUS_TASK_PARKED;

		if (t->id <= after_id)
			continue;
		if (n == max)
			break;

		const struct apus_awaited awaited = only_awaited(t);

		out[n] = (struct apus_task_info){
			.id = t->id,
			.awaits_id = awaited.id,
			.awaits_shard = awaited.shard,
			.waits_ns = waits_ns(t),
			.state = state_of(t),
			.what = parked ? t->wait->what : "",
			.object = parked ? t->wait->object : NULL,
		};
		memcpy(out[n++].name, apus_task_name(t), sizeof(out->name));
	}
	return n;
}

/* ---------------------------------------------------------------------------------------- tree */

enum colour {
	UNSEEN,
	ON_PATH, /* from the root to where we are */
	SEEN,
};

struct node {
	struct apus_task *task;
	size_t edges_begin, edges_end; /* what it awaits */
	size_t next;                   /* edge to look at */
	struct node *up, *down;        /* while ON_PATH */
	enum colour colour;
	bool is_awaited;
};

struct edge {
	struct node *from, *to; /* from awaits to */
};

struct tree {
	struct apus_heap *heap;
	struct node *nodes;    /* oldest task first: ids grow, and ids sort */
	struct node **waiting; /* the parked ones, by what they wait for */
	struct edge *edges;
	size_t count, waiting_count, edges_count, edges_max;
	size_t cycles;
	FILE *out;
	unsigned int flags;
};

static const void *object_of(const struct node *n)
{
	return n->task->wait->object;
}

static int by_object(const void *a, const void *b)
{
	const void *left = object_of(*(struct node *const *)a);
	const void *right = object_of(*(struct node *const *)b);

	return (left > right) - (left < right);
}

static int by_from(const void *a, const void *b)
{
	const struct edge *left = a, *right = b;

	if (left->from != right->from)
		return left->from > right->from ? 1 : -1;
	return (left->to > right->to) - (left->to < right->to);
}

static struct node *node_of_id(const struct tree *tree, uint64_t id)
{
	size_t low = 0, high = tree->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (tree->nodes[middle].task->id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < tree->count && tree->nodes[low].task->id == id ? &tree->nodes[low] : NULL;
}

static struct node *node_of(const struct tree *tree, const struct apus_task *t)
{
	struct node *n = node_of_id(tree, t->id);

	return n && n->task == t ? n : NULL;
}

static void add_edge(struct tree *tree, struct node *from, struct node *to)
{
	if (!from)
		return;
	if (tree->edges_count == tree->edges_max) {
		size_t max = 2 * tree->edges_max + 64;
		struct edge *more = apus_heap_realloc(tree->heap, tree->edges, max * sizeof(*more));

		if (!more)
			return; /* the tree is flatter than it should be */
		tree->edges = more;
		tree->edges_max = max;
	}
	tree->edges[tree->edges_count++] = (struct edge){from, to};
	to->is_awaited = true;
}

/* Those that wait for @object, for which a callback waits in the queue of @to. */
static void add_edges_through(struct tree *tree, const void *object, struct node *to)
{
	size_t low = 0, high = tree->waiting_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (object_of(tree->waiting[middle]) < object)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < tree->waiting_count && object_of(tree->waiting[low]) == object; low++)
		add_edge(tree, tree->waiting[low], to);
}

/* Who waits for a lock awaits, in effect, who holds it; that is known in debug mode. */
static void add_edge_to_holder(struct tree *tree, struct node *from)
{
	const struct apus_wait *wait = from->task->wait;
	struct node *holder;

	if (strcmp(wait->what, "lock"))
		return;
	holder = node_of_id(tree, apus_noted_by(wait->object, "acquired"));
	if (holder)
		add_edge(tree, from, holder);
}

static void add_edges_of_its_kind(struct tree *tree, struct node *from)
{
	struct apus_awaited awaited;
	struct node *to;

	for (unsigned int i = 0; next_awaited(from->task, &i, &awaited);) {
		to = awaited.task ? node_of(tree, awaited.task) : NULL;
		if (to)
			add_edge(tree, from, to);
	}
}

static void find_edges(struct tree *tree)
{
	for (size_t i = 0; i < tree->waiting_count; i++)
		add_edges_of_its_kind(tree, tree->waiting[i]);
	for (size_t i = 0; apus_is_debug() && i < tree->waiting_count; i++)
		add_edge_to_holder(tree, tree->waiting[i]);
	for (size_t i = 0; i < tree->count; i++) {
		struct node *n = &tree->nodes[i];
		const struct apus_list *it;

		apus_list_for_each(it, &n->task->awaiters) {
			const struct apus_wait *wait = apus_list_entry(it, struct apus_wait, link);

			if (wait->task)
				add_edge(tree, node_of(tree, wait->task), n);
			else if (wait->object)
				add_edges_through(tree, wait->object, n);
		}
	}
	if (tree->edges_count)
		qsort(tree->edges, tree->edges_count, sizeof(*tree->edges), by_from);
	for (size_t i = 0; i < tree->edges_count; i++) {
		struct node *from = tree->edges[i].from;

		if (from->edges_begin == from->edges_end)
			from->next = from->edges_begin = i;
		from->edges_end = i + 1;
	}
}

/* Return: false without memory. */
static bool plant(struct tree *tree, struct apus_shard *s)
{
	const struct apus_list *it;

	tree->nodes = apus_heap_zalloc(tree->heap, (s->tasks_live + 1) * sizeof(*tree->nodes));
	tree->waiting = apus_heap_alloc(tree->heap, (s->tasks_live + 1) * sizeof(*tree->waiting));
	if (!tree->nodes || !tree->waiting)
		return false;
	apus_list_for_each(it, &s->tasks) {
		struct node *n = &tree->nodes[tree->count++];

		n->task = apus_list_entry(it, struct apus_task, all);
		if (n->task->state == APUS_TASK_PARKED && object_of(n))
			tree->waiting[tree->waiting_count++] = n;
	}
	qsort(tree->waiting, tree->waiting_count, sizeof(*tree->waiting), by_object);
	find_edges(tree);
	return true;
}

static void fell(struct tree *tree)
{
	apus_heap_free(tree->heap, tree->edges);
	apus_heap_free(tree->heap, tree->waiting);
	apus_heap_free(tree->heap, tree->nodes);
}

/* From @first, which is on the path, down to @last, which awaits it again. */
static void print_cycle(struct tree *tree, const struct node *first, const struct node *last,
			int indent)
{
	tree->cycles++;
	fprintf(tree->out, "%*scycle: %s", indent, "", apus_task_name(first->task));
	for (const struct node *n = first; n != last; n = n->down)
		fprintf(tree->out, " awaits %s, which", apus_task_name(n->down->task));
	fprintf(tree->out, " awaits %s\n", apus_task_name(first->task));
}

/* Deep trees stop moving to the right. */
static int indent_of(int depth)
{
	return 2 * apus_min(depth + 1, 32);
}

static void print_stacks(FILE *out, const struct apus_task *t, int indent)
{
	const struct apus_debug_record *record = apus_debug_record_of(t);

	print_stack(out, t, indent);
	if (record) {
		fprintf(out, "%*sspawned by %s\n", indent, "", record->owners);
		apus_backtrace_print(out, record->frames, record->frames_count, indent + 2);
	}
}

static void print_node(struct tree *tree, const struct node *n, int indent)
{
	struct apus_awaited awaited;

	fprintf(tree->out, "%*s", indent, "");
	print_task(tree->out, n->task);
	if (tree->flags & APUS_DUMP_STACKS)
		print_stacks(tree->out, n->task, indent + 4);
	for (unsigned int i = 0; next_awaited(n->task, &i, &awaited);) {
		if (awaited.task)
			continue; /* has a line of its own */
		fprintf(tree->out, "%*sshard %u: ", indent + 2, "", awaited.shard);
		if (awaited.id)
			fprintf(tree->out, "task %llu\n", (unsigned long long)awaited.id);
		else
			fprintf(tree->out, "has not begun, or has not suspended\n");
	}
}

/* Prints @root and all that it awaits that was not printed yet. */
static void print_from(struct tree *tree, struct node *root)
{
	struct node *at = root;
	int depth = 0;

	at->colour = ON_PATH;
	at->up = NULL;
	print_node(tree, at, indent_of(depth));
	while (at) {
		struct node *to;

		if (!tree->edges || at->next == at->edges_end) {
			at->colour = SEEN;
			at = at->up;
			depth--;
			continue;
		}
		to = tree->edges[at->next++].to;
		if (to->colour == UNSEEN) {
			to->colour = ON_PATH;
			to->up = at;
			at->down = to;
			at = to;
			print_node(tree, at, indent_of(++depth));
		} else if (to->colour == ON_PATH) {
			print_cycle(tree, to, at, indent_of(depth + 1));
		} else {
			fprintf(tree->out, "%*s%s: above\n", indent_of(depth + 1), "",
				apus_task_name(to->task));
		}
	}
}

size_t apus_shard_dump_tree(struct apus_shard *s, FILE *out, unsigned int flags)
{
	struct tree tree = {.heap = &s->heap, .out = out, .flags = flags};

	if (!plant(&tree, s)) {
		print_list(s, out);
		fell(&tree);
		return 0;
	}
	fprintf(out, "apus: %zu tasks\n", s->tasks_live);
	for (size_t i = 0; i < tree.count; i++)
		if (!tree.nodes[i].is_awaited)
			print_from(&tree, &tree.nodes[i]);
	/* What is left hangs in no tree, because it hangs in a circle. */
	for (size_t i = 0; i < tree.count; i++)
		if (tree.nodes[i].colour == UNSEEN)
			print_from(&tree, &tree.nodes[i]);
	fell(&tree);
	return tree.cycles;
}

void apus_dump_tasks(int fd)
{
	struct apus_shard *s = apus_shard_current;
	FILE *out = s ? open_stream(fd) : NULL;

	if (!out)
		return;
	apus_shard_dump_tree(s, out, APUS_DUMP_STACKS);
	fclose(out);
}
