/* SPDX-License-Identifier: MIT */
/* The tree of rbtree.h: the instances without a fixed summary, walking in order, and the checker. */
#include "base/rbtree_augmented.h"

void rb_insert_color(struct rb_node *n, struct rb_root *root)
{
    rb_insert_rebalance_(n, root, NULL);
}

void rb_erase(struct rb_node *n, struct rb_root *root)
{
    rb_erase_inline(n, root, NULL);
}

void rb_insert_augmented(struct rb_node *n, struct rb_root *root, rb_update_fn update)
{
    rb_insert_inline(n, root, update);
}

void rb_erase_augmented(struct rb_node *n, struct rb_root *root, rb_update_fn update)
{
    rb_erase_inline(n, root, update);
}

void rb_propagate(struct rb_node *n, rb_update_fn update)
{
    rb_propagate_inline(n, update);
}

void rb_replace_node(struct rb_node *victim, struct rb_node *replacement, struct rb_root *root)
{
    *replacement = *victim;
    rb_change_child_(root, rb_parent(victim), victim, replacement);
    if (victim->rb_left)
        rb_set_parent_(victim->rb_left, replacement);
    if (victim->rb_right)
        rb_set_parent_(victim->rb_right, replacement);
}

static struct rb_node *leftmost(struct rb_node *n)
{
    while (n->rb_left)
        n = n->rb_left;
    return n;
}

static struct rb_node *rightmost(struct rb_node *n)
{
    while (n->rb_right)
        n = n->rb_right;
    return n;
}

struct rb_node *rb_first(const struct rb_root *root)
{
    return root->rb_node ? leftmost(root->rb_node) : NULL;
}

struct rb_node *rb_last(const struct rb_root *root)
{
    return root->rb_node ? rightmost(root->rb_node) : NULL;
}

struct rb_node *rb_next(const struct rb_node *n)
{
    struct rb_node *p;

    if (n->rb_right)
        return leftmost(n->rb_right);
    while ((p = rb_parent(n)) && p->rb_right == n)
        n = p;
    return p;
}

struct rb_node *rb_prev(const struct rb_node *n)
{
    struct rb_node *p;

    if (n->rb_left)
        return rightmost(n->rb_left);
    while ((p = rb_parent(n)) && p->rb_left == n)
        n = p;
    return p;
}

static struct rb_node *deepest_left(struct rb_node *n)
{
    while (n->rb_left || n->rb_right)
        n = n->rb_left ? n->rb_left : n->rb_right;
    return n;
}

struct rb_node *rb_first_postorder(const struct rb_root *root)
{
    return root->rb_node ? deepest_left(root->rb_node) : NULL;
}

struct rb_node *rb_next_postorder(const struct rb_node *n)
{
    struct rb_node *p = rb_parent(n);

    return p && p->rb_left == n && p->rb_right ? deepest_left(p->rb_right) : p;
}

/* -- checker ------------------------------------------------------------------------------------------------------- */

/* Deeper than 2 log2 of any number of nodes: the pointers form a circle. */
#define MAX_DEPTH 128

/* Trusts the child pointers only. Returns the rank that the left spine gives: each step down costs 1 or 2 by parity. */
static int check_below(const struct rb_node *n, const struct rb_node *parent, int depth, struct check_report *r)
{
    int rank, right;

    if (!n)
        return -1;
    if (depth > MAX_DEPTH) {
        check_fail(r, "rbtree (1): node %p is at depth %d", (const void *)n, depth);
        return 0;
    }
    if (rb_parent(n) != parent)
        check_fail(r, "rbtree (3): node %p has parent %p, is under %p", (const void *)n, (const void *)rb_parent(n),
                   (const void *)parent);
    rank = check_below(n->rb_left, n, depth + 1, r) + (rb_even_(n, n->rb_left) ? 2 : 1);
    right = check_below(n->rb_right, n, depth + 1, r) + (rb_even_(n, n->rb_right) ? 2 : 1);
    if (rank != right)
        check_fail(r, "rbtree (1): node %p has rank %d on the left, %d on the right", (const void *)n, rank, right);
    if ((rank & 1) != (int)rb_parity_(n))
        check_fail(r, "rbtree (4): node %p has rank %d, parity %u", (const void *)n, rank, rb_parity_(n));
    if (!n->rb_left && !n->rb_right && rank != 0)
        check_fail(r, "rbtree (2): leaf %p has rank %d", (const void *)n, rank);
    return rank;
}

void rb_check(const struct rb_root *root, struct check_report *r)
{
    check_below(root->rb_node, NULL, 0, r);
}
