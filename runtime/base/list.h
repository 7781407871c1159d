/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * runtime/base/list.h: the intrusive doubly linked list, circular with a head.
 *
 * A node is in at most one list. A node that was removed (or initialised) points to itself, so
 * apus_list_linked() tells, and removing it twice is harmless.
 */
#ifndef APUS_RUNTIME_BASE_LIST_H
#define APUS_RUNTIME_BASE_LIST_H

#include "runtime/base/compiler.h"

struct apus_list {
	struct apus_list *next, *prev;
};

/** apus_list_init - a node that is in no list, or an empty list */
static inline void apus_list_init(struct apus_list *l)
{
	l->next = l->prev = l;
}

/** apus_list_empty - has the list no nodes? */
static inline bool apus_list_empty(const struct apus_list *head)
{
	return head->next == head;
}

/** apus_list_linked - is the node in a list? It was initialised, and left the last one by remove or pop */
static inline bool apus_list_linked(const struct apus_list *node)
{
	return node->next != node;
}

/** apus_list_insert_between - @prev and @next are neighbours */
static inline void apus_list_insert_between(struct apus_list *node, struct apus_list *prev,
					    struct apus_list *next)
{
	node->prev = prev;
	node->next = next;
	prev->next = node;
	next->prev = node;
}

/** apus_list_push_back - at the end of the list */
static inline void apus_list_push_back(struct apus_list *head, struct apus_list *node)
{
	apus_list_insert_between(node, head->prev, head);
}

/** apus_list_push_front - at the beginning of the list */
static inline void apus_list_push_front(struct apus_list *head, struct apus_list *node)
{
	apus_list_insert_between(node, head, head->next);
}

/** apus_list_unlink - as apus_list_remove(), for a node that will not be asked whether it is linked */
static inline void apus_list_unlink(struct apus_list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
}

/** apus_list_remove - out of the list that it is in; one that is in none stays so */
static inline void apus_list_remove(struct apus_list *node)
{
	apus_list_unlink(node);
	apus_list_init(node);
}

/** apus_list_pop_front - take the first node out. Return: it; NULL if there is none */
static inline struct apus_list *apus_list_pop_front(struct apus_list *head)
{
	struct apus_list *node = head->next;

	if (node == head)
		return NULL;
	apus_list_remove(node);
	return node;
}

/** apus_list_splice_back - move all nodes of @from to the end of @to */
static inline void apus_list_splice_back(struct apus_list *to, struct apus_list *from)
{
	if (apus_list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	apus_list_init(from);
}

#define apus_list_entry(node, type, member) apus_container_of(node, type, member)

#define apus_list_for_each(it, head) for (it = (head)->next; it != (head); it = it->next)

/* `it` may be removed in the body. */
#define apus_list_for_each_safe(it, tmp, head) \
 for (it = (head)->next, tmp = it->next; it != (head); it = tmp, tmp = it->next)

#endif
