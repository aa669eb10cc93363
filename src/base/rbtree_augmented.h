/* SPDX-License-Identifier: MIT */
/*
 * The weak AVL tree's algorithms as inline functions with the augmentation as a parameter, so that each user gets its
 * own copy with the callback inlined (rbtree.c: without one; interval_tree.c: its maximum).
 * Terms and invariants: rbtree.h.
 *
 * Insertion    Only promotions of ancestors and at most one (single or double) rotation:
 *
 *      p(0,1) → promote p, go up          p(0,2), outer grandchild       p(0,2), inner grandchild z is a 1-child
 *        p              p+1                    p           x                   p              z+1
 *       / \    →       / \                    / \   →     / \                 / \    →       /   \
 *      x   y          x   y                  x   y       w   p-1             x   y        x-1     p-1
 *                                           / \             / \             / \           / \     / \
 *                                          w   z           z   y           w   z         w   …   …   y
 *
 * Erasure      A node with two children first changes places with its successor. Then a leaf or unary node goes, and
 *              its place may become a 3-child of p: demote p (and the sibling, if that is a 2,2-node) and go up, or end
 *              with one rotation.
 * Summaries    are first brought up to date along the whole path; a rotation keeps the summary of its subtree, so it
 *              only recomputes the nodes it turned.
 */
#ifndef QUIRE_BASE_RBTREE_AUGMENTED_H
#define QUIRE_BASE_RBTREE_AUGMENTED_H

#include "base/rbtree.h"

#define rb_inline_ static inline __attribute__((always_inline))

/* A missing child has rank -1: odd. */
rb_inline_ unsigned int rb_parity_(const struct rb_node *n)
{
    return n ? (unsigned int)(n->parent_parity & 1) : 1;
}

/* Whether n, a child place of p, is a 2-child (or 0-child) rather than a 1-child (or 3-child). */
rb_inline_ bool rb_even_(const struct rb_node *p, const struct rb_node *n)
{
    return rb_parity_(p) == rb_parity_(n);
}

/* Promote or demote by one: the parity cannot tell them apart. */
rb_inline_ void rb_flip_(struct rb_node *n)
{
    n->parent_parity ^= 1;
}

rb_inline_ void rb_set_parent_(struct rb_node *n, struct rb_node *parent)
{
    n->parent_parity = (uintptr_t)parent | (n->parent_parity & 1);
}

rb_inline_ void rb_change_child_(struct rb_root *root, struct rb_node *parent, struct rb_node *from, struct rb_node *to)
{
    if (!parent)
        root->rb_node = to;
    else if (parent->rb_left == from)
        parent->rb_left = to;
    else
        parent->rb_right = to;
}

/* Turn p and its child x, so that x takes p's place; returns the subtree that changed sides. */
rb_inline_ void rb_rotate_(struct rb_root *root, struct rb_node *p, struct rb_node *x)
{
    struct rb_node *moved;

    rb_change_child_(root, rb_parent(p), p, x);
    rb_set_parent_(x, rb_parent(p));
    if (p->rb_left == x) {
        moved = x->rb_right;
        p->rb_left = moved;
        x->rb_right = p;
    } else {
        moved = x->rb_left;
        p->rb_right = moved;
        x->rb_left = p;
    }
    if (moved)
        rb_set_parent_(moved, p);
    rb_set_parent_(p, x);
}

rb_inline_ void rb_update_(rb_update_fn update, struct rb_node *n)
{
    if (update)
        update(n);
}

/* x is a 0-child and its sibling a 2-child: one rotation ends it. */
rb_inline_ void rb_insert_rotate_(struct rb_root *root, struct rb_node *p, struct rb_node *x, rb_update_fn update)
{
    struct rb_node *inner = p->rb_left == x ? x->rb_right : x->rb_left;

    rb_flip_(p);
    if (rb_even_(x, inner)) {
        rb_rotate_(root, p, x);
        rb_update_(update, p);
        rb_update_(update, x);
        return;
    }
    rb_rotate_(root, x, inner);
    rb_rotate_(root, p, inner);
    rb_flip_(x);
    rb_flip_(inner);
    rb_update_(update, p);
    rb_update_(update, x);
    rb_update_(update, inner);
}

/* n was just linked and all summaries above are right already. */
rb_inline_ void rb_insert_rebalance_(struct rb_node *n, struct rb_root *root, rb_update_fn update)
{
    struct rb_node *x = n, *p = rb_parent(x), *sibling;

    while (p && rb_even_(p, x)) {
        sibling = p->rb_left == x ? p->rb_right : p->rb_left;
        if (rb_even_(p, sibling)) {
            rb_insert_rotate_(root, p, x, update);
            return;
        }
        rb_flip_(p);
        x = p;
        p = rb_parent(x);
    }
}

/* x (may be missing) is a 3-child of p, its sibling y a 1-child that is no 2,2-node: one rotation ends it. */
rb_inline_ void rb_erase_rotate_(struct rb_root *root, struct rb_node *p, struct rb_node *y, rb_update_fn update)
{
    bool left = p->rb_left == y;
    struct rb_node *outer = left ? y->rb_left : y->rb_right;
    struct rb_node *inner = left ? y->rb_right : y->rb_left;

    if (!rb_even_(y, outer)) {
        rb_rotate_(root, p, y);
        rb_flip_(y);
        rb_flip_(p);
        if (!p->rb_left && !p->rb_right)
            rb_flip_(p); /* invariant 2 */
        rb_update_(update, p);
        rb_update_(update, y);
        return;
    }
    rb_rotate_(root, y, inner);
    rb_rotate_(root, p, inner);
    rb_flip_(y); /* p and inner move by two ranks each */
    rb_update_(update, p);
    rb_update_(update, y);
    rb_update_(update, inner);
}

/* The place x (may be missing) under p lost one rank. */
rb_inline_ void rb_erase_rebalance_(struct rb_root *root, struct rb_node *p, struct rb_node *x, rb_update_fn update)
{
    struct rb_node *y;

    if (p && !p->rb_left && !p->rb_right && rb_parity_(p)) {
        rb_flip_(p);
        x = p;
        p = rb_parent(x);
    }
    while (p && !rb_even_(p, x)) {
        y = p->rb_left == x ? p->rb_right : p->rb_left;
        if (!rb_even_(p, y)) {
            if (!rb_even_(y, y->rb_left) || !rb_even_(y, y->rb_right)) {
                rb_erase_rotate_(root, p, y, update);
                return;
            }
            rb_flip_(y);
        }
        rb_flip_(p);
        x = p;
        p = rb_parent(x);
    }
}

/* n, which has two children, and its successor change places; n is then a leaf or has a right child only. */
rb_inline_ void rb_swap_successor_(struct rb_node *n, struct rb_root *root)
{
    struct rb_node *s = n->rb_right, *s_right, *s_parent;
    uintptr_t s_parity;

    while (s->rb_left)
        s = s->rb_left;
    s_right = s->rb_right;
    s_parent = rb_parent(s);
    s_parity = s->parent_parity & 1;

    rb_change_child_(root, rb_parent(n), n, s);
    s->parent_parity = n->parent_parity;
    s->rb_left = n->rb_left;
    rb_set_parent_(s->rb_left, s);
    if (s_parent == n) {
        s->rb_right = n;
        s_parent = s;
    } else {
        s->rb_right = n->rb_right;
        rb_set_parent_(s->rb_right, s);
        s_parent->rb_left = n;
    }
    n->parent_parity = (uintptr_t)s_parent | s_parity;
    n->rb_left = NULL;
    n->rb_right = s_right;
    if (s_right)
        rb_set_parent_(s_right, n);
}

rb_inline_ void rb_erase_inline(struct rb_node *n, struct rb_root *root, rb_update_fn update)
{
    struct rb_node *p, *child, *a;

    if (n->rb_left && n->rb_right)
        rb_swap_successor_(n, root);
    child = n->rb_left ? n->rb_left : n->rb_right;
    p = rb_parent(n);
    rb_change_child_(root, p, n, child);
    if (child)
        rb_set_parent_(child, p);
    if (update)
        for (a = p; a; a = rb_parent(a))
            update(a);
    if (p)
        rb_erase_rebalance_(root, p, child, update);
}

/* Ancestors whose summary does not change have none above them that does. */
rb_inline_ void rb_propagate_inline(struct rb_node *n, rb_update_fn update)
{
    while (n && update(n))
        n = rb_parent(n);
}

rb_inline_ void rb_insert_inline(struct rb_node *n, struct rb_root *root, rb_update_fn update)
{
    if (update) {
        update(n);
        rb_propagate_inline(rb_parent(n), update);
    }
    rb_insert_rebalance_(n, root, update);
}

#endif
