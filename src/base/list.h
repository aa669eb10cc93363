/* SPDX-License-Identifier: MIT */
/* Intrusive, circular, doubly linked lists. A head is a node that is in no element. Linux's names (list.h). */
#ifndef QUIRE_BASE_LIST_H
#define QUIRE_BASE_LIST_H

#include "base/assert.h"
#include "base/types.h"

struct list_head {
    struct list_head *next, *prev;
};

static inline void INIT_LIST_HEAD(struct list_head *l)
{
    WRITE_ONCE(l->next, l);
    l->prev = l;
}

static inline void list_link_(struct list_head *n, struct list_head *prev, struct list_head *next)
{
    n->prev = prev;
    WRITE_ONCE(n->next, next);
    WRITE_ONCE(prev->next, n);
    next->prev = n;
}

static inline void list_add(struct list_head *n, struct list_head *head)
{
    list_link_(n, head, head->next);
}

static inline void list_add_tail(struct list_head *n, struct list_head *head)
{
    list_link_(n, head->prev, head);
}

/* The node's own links are left as they were. */
static inline void list_del(struct list_head *n)
{
    WRITE_ONCE(n->prev->next, n->next);
    n->next->prev = n->prev;
}

static inline void list_del_init(struct list_head *n)
{
    list_del(n);
    INIT_LIST_HEAD(n);
}

static inline void list_move(struct list_head *n, struct list_head *head)
{
    list_del(n);
    list_add(n, head);
}

static inline void list_move_tail(struct list_head *n, struct list_head *head)
{
    list_del(n);
    list_add_tail(n, head);
}

static inline bool list_empty(const struct list_head *head)
{
    return head->next == head;
}

static inline bool list_is_singular(const struct list_head *head)
{
    return !list_empty(head) && head->next == head->prev;
}

/* Put all of `list` at the front of `head`; `list` is left uninitialised. */
static inline void list_splice(struct list_head *list, struct list_head *head)
{
    if (list_empty(list))
        return;
    list->next->prev = head;
    list->prev->next = head->next;
    head->next->prev = list->prev;
    head->next = list->next;
}

static inline void list_splice_init(struct list_head *list, struct list_head *head)
{
    list_splice(list, head);
    INIT_LIST_HEAD(list);
}

static inline void list_splice_tail_init(struct list_head *list, struct list_head *head)
{
    list_splice(list, head->prev);
    INIT_LIST_HEAD(list);
}

#define list_entry(ptr, type, member) container_of(ptr, type, member)
#define list_first_entry(head, type, member) list_entry((head)->next, type, member)
#define list_last_entry(head, type, member) list_entry((head)->prev, type, member)
#define list_first_entry_or_null(head, type, member) (list_empty(head) ? NULL : list_first_entry(head, type, member))
#define list_next_entry(pos, member) list_entry((pos)->member.next, __typeof__(*(pos)), member)

/*
 * A step that is mutual. Where every step is, a walk ends: it could come to a node for the second time only from that
 * node's `prev`, so only by the way it came the first time, and that way begins at the head. For lists of machines that
 * came from elsewhere (src/abi/proc.h).
 */
static inline struct list_head *list_next_checked(const struct list_head *l)
{
    ASSERT(l->next->prev == l);
    return l->next;
}

#define list_for_each(pos, head) for ((pos) = (head)->next; (pos) != (head); (pos) = (pos)->next)
#define list_for_each_safe(pos, n, head)                                                                               \
    for ((pos) = (head)->next, (n) = (pos)->next; (pos) != (head); (pos) = (n), (n) = (pos)->next)
#define list_for_each_entry(pos, head, member)                                                                         \
    for ((pos) = list_first_entry(head, __typeof__(*(pos)), member); &(pos)->member != (head);                         \
         (pos) = list_next_entry(pos, member))
#define list_for_each_entry_checked(pos, head, member)                                                                 \
    for ((pos) = list_entry(list_next_checked(head), __typeof__(*(pos)), member); &(pos)->member != (head);            \
         (pos) = list_entry(list_next_checked(&(pos)->member), __typeof__(*(pos)), member))
#define list_for_each_entry_safe(pos, n, head, member)                                                                 \
    for ((pos) = list_first_entry(head, __typeof__(*(pos)), member), (n) = list_next_entry(pos, member);               \
         &(pos)->member != (head); (pos) = (n), (n) = list_next_entry(n, member))

#endif
