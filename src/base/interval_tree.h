/* SPDX-License-Identifier: MIT */
/*
 * A set of closed intervals [start, last] that finds all that overlap a given one: which VMAs map this range of a
 * file (address_space.i_mmap), which anon_vma_chains may map this page (anon_vma.rb_root). Linux's names.
 *
 *                  [20,60] max 95            ordered by start; each node knows the highest `last` below and at itself
 *                 /              \           (subtree_last), so a search for [a,b] leaves out a left subtree that ends
 *          [5,25] max 40     [50,95] max 95  before a, and everything that starts after b: O(log n + found).
 *               \
 *             [8,40] max 40
 *
 * Invariants (interval_tree_check()):
 *   1. the tree's own (rbtree.h)
 *   2. start is ascending, equal ones in order of insertion
 *   3. subtree_last is the maximum
 *   4. start <= last
 * Locks: the caller's. start and last of a node may change only while it is outside of the tree.
 */
#ifndef QUIRE_BASE_INTERVAL_TREE_H
#define QUIRE_BASE_INTERVAL_TREE_H

#include "base/rbtree.h"

struct interval_tree_node {
    struct rb_node rb;
    u64 start;
    u64 last;         /* inclusive */
    u64 subtree_last; /* maximum of `last` in this node's subtree */
};

struct interval_tree_root {
    struct rb_root rb_root;
};

#define INTERVAL_TREE_ROOT ((struct interval_tree_root){RB_ROOT})

static inline bool interval_tree_empty(const struct interval_tree_root *root)
{
    return RB_EMPTY_ROOT(&root->rb_root);
}

void interval_tree_insert(struct interval_tree_node *n, struct interval_tree_root *root);
void interval_tree_remove(struct interval_tree_node *n, struct interval_tree_root *root);
/* The first, in order of start, that overlaps [start, last]; NULL: none. */
struct interval_tree_node *interval_tree_iter_first(struct interval_tree_root *root, u64 start, u64 last);
/* The next after n that overlaps. n must still be in the tree. */
struct interval_tree_node *interval_tree_iter_next(struct interval_tree_node *n, u64 start, u64 last);

#define interval_tree_foreach(n, root, start, last)                                                                    \
    for ((n) = interval_tree_iter_first((root), (start), (last)); (n);                                                 \
         (n) = interval_tree_iter_next((n), (start), (last)))

void interval_tree_check(const struct interval_tree_root *root, struct check_report *r);

#endif
