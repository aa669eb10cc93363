/* SPDX-License-Identifier: MIT */
/* Interval tree: see interval_tree.h.
 * The usual augmented search tree (Cormen et al., "Introduction to Algorithms", 14.3). */
#include "base/interval_tree.h"

#include "base/assert.h"
#include "base/rbtree_augmented.h"

static inline struct interval_tree_node *node_of(const struct rb_node *rb)
{
    return rb_entry_safe((struct rb_node *)(uintptr_t)rb, struct interval_tree_node, rb);
}

static inline u64 max_below(const struct interval_tree_node *n)
{
    u64 max = n->last;

    if (n->rb.rb_left)
        max = MAX(max, node_of(n->rb.rb_left)->subtree_last);
    if (n->rb.rb_right)
        max = MAX(max, node_of(n->rb.rb_right)->subtree_last);
    return max;
}

static inline bool update(struct rb_node *rb)
{
    struct interval_tree_node *n = node_of(rb);
    u64 max = max_below(n);

    if (n->subtree_last == max)
        return false;
    n->subtree_last = max;
    return true;
}

void interval_tree_insert(struct interval_tree_node *n, struct interval_tree_root *root)
{
    struct rb_node **link = &root->rb_root.rb_node, *parent = NULL;
    struct interval_tree_node *p;

    ASSERT(n->start <= n->last);
    while (*link) {
        parent = *link;
        p = node_of(parent);
        if (p->subtree_last < n->last)
            p->subtree_last = n->last;
        link = n->start < p->start ? &parent->rb_left : &parent->rb_right;
    }
    n->subtree_last = n->last;
    rb_link_node(&n->rb, parent, link);
    rb_insert_rebalance_(&n->rb, &root->rb_root, update);
}

void interval_tree_remove(struct interval_tree_node *n, struct interval_tree_root *root)
{
    rb_erase_inline(&n->rb, &root->rb_root, update);
}

/* The first in n's subtree that overlaps; the caller knows n->subtree_last >= start. */
static struct interval_tree_node *subtree_first(struct interval_tree_node *n, u64 start, u64 last)
{
    struct interval_tree_node *left;

    for (;;) {
        left = node_of(n->rb.rb_left);
        if (left && left->subtree_last >= start) {
            n = left;
            continue;
        }
        if (n->start > last)
            return NULL;
        if (n->last >= start)
            return n;
        n = node_of(n->rb.rb_right);
        if (!n || n->subtree_last < start)
            return NULL;
    }
}

struct interval_tree_node *interval_tree_iter_first(struct interval_tree_root *root, u64 start, u64 last)
{
    struct interval_tree_node *n = node_of(root->rb_root.rb_node);

    return n && n->subtree_last >= start ? subtree_first(n, start, last) : NULL;
}

struct interval_tree_node *interval_tree_iter_next(struct interval_tree_node *n, u64 start, u64 last)
{
    struct interval_tree_node *right = node_of(n->rb.rb_right);
    struct rb_node *rb, *p;

    if (right && right->subtree_last >= start)
        return subtree_first(right, start, last);
    for (rb = &n->rb; (p = rb_parent(rb)); rb = p) {
        if (p->rb_left != rb)
            continue;
        n = node_of(p);
        if (n->start > last)
            return NULL;
        if (n->last >= start)
            return n;
        right = node_of(p->rb_right);
        if (right && right->subtree_last >= start)
            return subtree_first(right, start, last);
    }
    return NULL;
}

void interval_tree_check(const struct interval_tree_root *root, struct check_report *r)
{
    const struct rb_node *rb;
    const struct interval_tree_node *n, *prev = NULL;

    rb_check(&root->rb_root, r);
    for (rb = rb_first(&root->rb_root); rb; rb = rb_next(rb), prev = n) {
        n = node_of(rb);
        if (prev && prev->start > n->start)
            check_fail(r, "interval tree (2): start %llx follows %llx", (unsigned long long)n->start,
                       (unsigned long long)prev->start);
        if (n->subtree_last != max_below(n))
            check_fail(r, "interval tree (3): subtree_last is %llx, recount gives %llx",
                       (unsigned long long)n->subtree_last, (unsigned long long)max_below(n));
        if (n->start > n->last)
            check_fail(r, "interval tree (4): start %llx is after last %llx", (unsigned long long)n->start,
                       (unsigned long long)n->last);
    }
}
