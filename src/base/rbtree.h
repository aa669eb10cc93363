/* SPDX-License-Identifier: MIT */
/*
 * Balanced binary search tree, intrusive, with Linux's names (rbtree.h). The caller descends and compares; the tree
 * only links, unlinks and keeps itself balanced.
 *
 * Inside it is a weak AVL tree (B. Haeupler, S. Sen, R. E. Tarjan, "Rank-balanced trees", ACM TALG 2015), not a
 * red-black tree: with insertions only it is an AVL tree, height at most 1.44 log2 n; with erasures never worse than
 * 2 log2 n.
 *
 *   rank       a number kept for each node; a missing child has rank -1
 *   i-child    a child whose rank is i less than its parent's
 *
 *            (2)            The node keeps only the parity of its rank, in the low bit of the parent word: where the
 *           /   \           rank rule holds, equal parity means a 2-child and unequal parity a 1-child.
 *        (1)     (0)
 *       /   \
 *     (0)   (0)
 *
 * Invariants (rb_check()):
 *   1. every child is a 1-child or a 2-child of its parent
 *   2. a node without children has rank 0
 *   3. a child's parent pointer is its parent
 *   4. the ranks' parities are those stored
 *
 * Locks: the caller's. rb_first() … rb_next() need at least that nobody changes the tree.
 * Rejected: red-black (more cases, up to three rotations at an erasure, twice the height bound while it only grows);
 * plain AVL (an erasure may rotate at each level); treaps (need a random number generator with state).
 */
#ifndef QUIRE_BASE_RBTREE_H
#define QUIRE_BASE_RBTREE_H

#include "base/check.h"
#include "base/types.h"

struct rb_node {
    uintptr_t parent_parity; /* the parent, and in bit 0 the parity of the rank */
    struct rb_node *rb_left;
    struct rb_node *rb_right;
} __attribute__((aligned(8)));

struct rb_root {
    struct rb_node *rb_node;
};

/* A tree that knows its first node. */
struct rb_root_cached {
    struct rb_root rb_root;
    struct rb_node *rb_leftmost;
};

#define RB_ROOT ((struct rb_root){NULL})
#define RB_ROOT_CACHED ((struct rb_root_cached){{NULL}, NULL})
#define RB_EMPTY_ROOT(root) ((root)->rb_node == NULL)
#define rb_entry(ptr, type, member) container_of(ptr, type, member)
#define rb_entry_safe(ptr, type, member)                                                                               \
    ({                                                                                                                 \
        __typeof__(ptr) p_ = (ptr);                                                                                    \
        p_ ? rb_entry(p_, type, member) : (type *)NULL;                                                                \
    })

static inline struct rb_node *rb_parent(const struct rb_node *n)
{
    return (struct rb_node *)(n->parent_parity & ~(uintptr_t)1);
}

/* A node outside of all trees points to itself: RB_CLEAR_NODE() says so, RB_EMPTY_NODE() asks. */
static inline void RB_CLEAR_NODE(struct rb_node *n)
{
    n->parent_parity = (uintptr_t)n;
}

static inline bool RB_EMPTY_NODE(const struct rb_node *n)
{
    return n->parent_parity == (uintptr_t)n;
}

/* Put `n` at the empty place `*link` under `parent`; rb_insert_color() must follow. */
static inline void rb_link_node(struct rb_node *n, struct rb_node *parent, struct rb_node **link)
{
    n->parent_parity = (uintptr_t)parent;
    n->rb_left = n->rb_right = NULL;
    *link = n;
}

void rb_insert_color(struct rb_node *n, struct rb_root *root);
void rb_erase(struct rb_node *n, struct rb_root *root);
/* `replacement` takes the place of `victim`; the caller vouches for the order. */
void rb_replace_node(struct rb_node *victim, struct rb_node *replacement, struct rb_root *root);

struct rb_node *rb_first(const struct rb_root *root);
struct rb_node *rb_last(const struct rb_root *root);
struct rb_node *rb_next(const struct rb_node *n);
struct rb_node *rb_prev(const struct rb_node *n);
/* Children before parents: for tearing a tree down. */
struct rb_node *rb_first_postorder(const struct rb_root *root);
struct rb_node *rb_next_postorder(const struct rb_node *n);

/*
 * Augmented trees: every node holds a summary of its subtree. `update(n)` recomputes n's summary from n and its
 * children and says whether it changed. It is a parameter and never stored: a machine's region holds no code pointers.
 */
typedef bool (*rb_update_fn)(struct rb_node *n);
void rb_insert_augmented(struct rb_node *n, struct rb_root *root, rb_update_fn update);
void rb_erase_augmented(struct rb_node *n, struct rb_root *root, rb_update_fn update);
/* n's own part changed: bring n and its ancestors up to date. */
void rb_propagate(struct rb_node *n, rb_update_fn update);

/* Insert with a comparison: equal nodes keep their order of insertion. */
static inline void rb_add(struct rb_node *n, struct rb_root *root,
                          bool (*less)(const struct rb_node *, const struct rb_node *))
{
    struct rb_node **link = &root->rb_node, *parent = NULL;

    while (*link) {
        parent = *link;
        link = less(n, parent) ? &parent->rb_left : &parent->rb_right;
    }
    rb_link_node(n, parent, link);
    rb_insert_color(n, root);
}

static inline struct rb_node *rb_first_cached(const struct rb_root_cached *root)
{
    return root->rb_leftmost;
}

static inline void rb_insert_color_cached(struct rb_node *n, struct rb_root_cached *root, bool leftmost)
{
    if (leftmost)
        root->rb_leftmost = n;
    rb_insert_color(n, &root->rb_root);
}

static inline void rb_erase_cached(struct rb_node *n, struct rb_root_cached *root)
{
    if (root->rb_leftmost == n)
        root->rb_leftmost = rb_next(n);
    rb_erase(n, &root->rb_root);
}

#define rbtree_postorder_for_each_entry_safe(pos, n, root, field)                                                      \
    for (pos = rb_entry_safe(rb_first_postorder(root), __typeof__(*pos), field);                                       \
         pos && ({                                                                                                     \
             n = rb_entry_safe(rb_next_postorder(&pos->field), __typeof__(*pos), field);                               \
             1;                                                                                                        \
         });                                                                                                           \
         pos = n)

void rb_check(const struct rb_root *root, struct check_report *r);

#endif
