/* SPDX-License-Identifier: MIT */
/*
 * xarray: an array of 2^64 pointers, most of them NULL, with three marks for each entry. A radix tree with 64 slots a
 * node and the interface of Linux (Documentation/core-api/xarray.rst).
 * Carries the page cache, swap cache and shadow entries.
 *
 * Entry        what the user stores: a pointer aligned to 4 bytes (low bits 00), or a value of 63 bits (low bit 1:
 *              xa_mk_value(), for example a shadow entry). NULL: nothing there.
 * Internal     low bits 10: a node. Small numbers with bits 10 are kept free for sibling entries of large folios.
 * Mark         a bit beside an entry (dirty, writeback, towrite). A node's bit is the OR of its child's bits, so a
 *              search for a mark skips what has none. An empty place has no mark.
 *
 *   head ──► node shift 6 ──► slot 0: node shift 0 ──► slots: entries of index 0..63
 *            count 2          slot 3: node shift 0 ──► slots: entries of index 192..255
 *   A single entry at index 0 lies in `head` itself, without a node.
 *
 * Invariants (xa_check()):
 *   1. count = occupied slots > 0; nr_values = slots that hold a value
 *   2. the child in slot i has shift smaller by 6, offset i and this parent; the root has no parent
 *   3. an inner node's mark bit = the child has that mark; a mark is only at an entry; xa->marks = the root's marks
 *   4. no shallower tree would do: the root has an entry beside slot 0
 *
 * Locks        Writers hold xa_lock: functions with two underscores expect it held, the others take it themselves.
 * Readers      (xa_load, xa_find, xa_for_each, xa_get_mark) need no lock. They re-read `seq` after each slot: writers
 *              bump it after unlinking a node and before freeing it, so an unchanged seq proves that the slot was read
 *              from a live node, and anything else starts over. What they return was stored at some moment during the
 *              call; unless the caller holds xa_lock it may be gone by now. Page cache users then take a reference that
 *              can fail (folio_try_get()) and load again to see that the entry is still there: the memmap never goes
 *              away.
 * Memory       A store first counts the nodes it lacks, then gets them all, then changes the tree: it fails with
 *              nothing changed. xa_store() allocates with the lock dropped, __xa_store() under the caller's lock: its
 *              gfp must not wait. Nodes come from cpu->code->xa_node_alloc() (zeroed).
 * Rejected     hash table (no range search, no marks);
 *              B-tree by index (a lookup costs comparisons; a page cache is dense).
 */
#ifndef QUIRE_BASE_XARRAY_H
#define QUIRE_BASE_XARRAY_H

#include "base/check.h"
#include "base/errno.h"
#include "base/list.h"
#include "base/lock.h"
#include "base/types.h"

#define XA_CHUNK_SHIFT 6
#define XA_CHUNK_SIZE 64u
#define XA_CHUNK_MASK 63u

typedef unsigned int xa_mark_t;
#define XA_MARK_0 0u
#define XA_MARK_1 1u
#define XA_MARK_2 2u
#define XA_MAX_MARKS 3u
#define XA_PRESENT 8u /* xa_find(): any entry */

struct xarray {
    spinlock_t xa_lock;
    _Atomic u32 seq; /* x: bumped before nodes are freed */
    u32 marks;       /* x: bit per mark: some entry has it */
    void *head;      /* x: NULL, the entry of index 0, or a node. x: xa_lock to write */
};

struct xa_node {
    u8 shift;     /* index bits below this node's slots: 0, 6, … 60 */
    u8 offset;    /* slot in the parent */
    u8 count;     /* slots in use */
    u8 nr_values; /* slots with a value entry */
    struct xa_node *parent;
    struct xarray *array;
    struct list_head private_list; /* the user's: nodes full of shadow entries */
    void *slots[XA_CHUNK_SIZE];
    u64 marks[XA_MAX_MARKS];
};

static inline void *xa_mk_value(u64 v)
{
    return (void *)(uintptr_t)((v << 1) | 1);
}

static inline u64 xa_to_value(const void *entry)
{
    return (u64)(uintptr_t)entry >> 1;
}

static inline bool xa_is_value(const void *entry)
{
    return (uintptr_t)entry & 1;
}

static inline bool xa_is_err(const void *entry)
{
    return IS_ERR(entry);
}

static inline int xa_err(const void *entry)
{
    return IS_ERR(entry) ? PTR_ERR(entry) : 0;
}

/* Zeroed memory is an empty array whose lock has no rank. */
static inline void xa_init(struct xarray *xa, enum lock_rank rank)
{
    *xa = (struct xarray){0};
    spin_lock_init(&xa->xa_lock, rank);
}

static inline bool xa_empty(const struct xarray *xa)
{
    return READ_ONCE(xa->head) == NULL;
}

/* Whether any entry has `mark`. */
static inline bool xa_marked(const struct xarray *xa, xa_mark_t mark)
{
    return READ_ONCE(xa->marks) >> mark & 1;
}

#define xa_lock(cpu, xa) spin_lock(cpu, &(xa)->xa_lock)
#define xa_unlock(cpu, xa) spin_unlock(cpu, &(xa)->xa_lock)

/* -- without the lock (see Readers) -------------------------------------------------------------------------------- */
void *xa_load(const struct xarray *xa, u64 index);
bool xa_get_mark(const struct xarray *xa, u64 index, xa_mark_t mark);
/* The first entry with `mark` (or XA_PRESENT) at *index .. max; *index becomes its index.
 * NULL: none, *index untouched. */
void *xa_find(const struct xarray *xa, u64 *index, u64 max, xa_mark_t mark);
/* The same, from *index + 1. */
void *xa_find_after(const struct xarray *xa, u64 *index, u64 max, xa_mark_t mark);

/* `index` (u64) and `entry` are the caller's variables; entries may be stored and erased during the walk. */
#define xa_for_each_range(xa, index, entry, start, last)                                                               \
    for ((index) = (start), (entry) = xa_find((xa), &(index), (last), XA_PRESENT); (entry);                            \
         (entry) = xa_find_after((xa), &(index), (last), XA_PRESENT))
#define xa_for_each_start(xa, index, entry, start) xa_for_each_range (xa, index, entry, start, ~(u64)0)
#define xa_for_each(xa, index, entry) xa_for_each_start (xa, index, entry, 0)
#define xa_for_each_marked(xa, index, entry, mark)                                                                     \
    for ((index) = 0, (entry) = xa_find((xa), &(index), ~(u64)0, (mark)); (entry);                                     \
         (entry) = xa_find_after((xa), &(index), ~(u64)0, (mark)))

/* -- taking the lock ----------------------------------------------------------------------------------------------- */
/*
 * Store `entry` (NULL: as xa_erase()). Returns the old entry, or ERR_PTR(-ENOMEM) with nothing changed. An entry's
 * marks stay when it is replaced and go when it is erased.
 */
void *xa_store(struct cpu *cpu, struct xarray *xa, u64 index, void *entry, u32 gfp);
/* 0, -EBUSY if there is an entry already, -ENOMEM. */
int xa_insert(struct cpu *cpu, struct xarray *xa, u64 index, void *entry, u32 gfp);
/* Store `entry` if there is `old` now. Returns what was there (== old: it was stored) or ERR_PTR(-ENOMEM). */
void *xa_cmpxchg(struct cpu *cpu, struct xarray *xa, u64 index, void *old, void *entry, u32 gfp);
void *xa_erase(struct cpu *cpu, struct xarray *xa, u64 index);
void xa_set_mark(struct cpu *cpu, struct xarray *xa, u64 index, xa_mark_t mark);
void xa_clear_mark(struct cpu *cpu, struct xarray *xa, u64 index, xa_mark_t mark);
/* The entries of `from`, which only the caller knows, become those of `xa`, and the other way round. */
void xa_exchange(struct cpu *cpu, struct xarray *xa, struct xarray *from);
/* Free all nodes; what the entries point to is the caller's. */
void xa_destroy(struct cpu *cpu, struct xarray *xa);

/* -- with the lock held -------------------------------------------------------------------------------------------- */
void *__xa_store(struct cpu *cpu, struct xarray *xa, u64 index, void *entry, u32 gfp) MUST_HOLD(xa->xa_lock);
int __xa_insert(struct cpu *cpu, struct xarray *xa, u64 index, void *entry, u32 gfp) MUST_HOLD(xa->xa_lock);
void *__xa_cmpxchg(struct cpu *cpu, struct xarray *xa, u64 index, void *old, void *entry, u32 gfp)
    MUST_HOLD(xa->xa_lock);
void *__xa_erase(struct cpu *cpu, struct xarray *xa, u64 index) MUST_HOLD(xa->xa_lock);
/* A mark on an empty place is ignored. */
void __xa_set_mark(struct xarray *xa, u64 index, xa_mark_t mark) MUST_HOLD(xa->xa_lock);
void __xa_clear_mark(struct xarray *xa, u64 index, xa_mark_t mark) MUST_HOLD(xa->xa_lock);
/* Clear all marks of an entry. */
void __xa_init_marks(struct xarray *xa, u64 index) MUST_HOLD(xa->xa_lock);

void xa_check(const struct xarray *xa, struct check_report *r);

#endif
