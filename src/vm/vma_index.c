/* SPDX-License-Identifier: MIT */
/*
 * The ordered index of VMAs: a B+tree whose nodes know the largest hole below them.
 *
 * Terms
 *   entry   what a slot of a node holds: at a leaf (level 0) a VMA, above it a child node.
 *   end     of an entry: vm_end of the VMA, or of the last VMA below the child. Ends ascend, so they are the search
 *           keys, and a lookup of "the first VMA that ends after addr" never reads a VMA before it returns one.
 *   gap     of a VMA: the bytes free between its neighbour below (or 0) and its vm_start; of a child: the largest gap
 *           below it. The room above the last VMA is in no node: the search looks at it last (or first).
 *
 *                       ┌ end  0x5000     0x20000 ┐
 *      level 1          │ gap  0x1000      0x8000 │
 *                       └──│────────────────│─────┘
 *          ┌ end 0x2000  0x5000 ┐   ┌ end 0xd000  0x20000 ┐
 *      0   │ gap 0x1000  0x1000 │   │ gap 0x7000   0x8000 │     VMAs [1000,2000) [3000,5000) [c000,d000) [15000,20000)
 *          └──────│─────────│───┘   └──────│─────────│────┘
 *                 A ◀─────▶ B ◀──────────▶ C ◀─────▶ D           and a list through vm_next, vm_prev
 *
 * Why this structure. A red-black tree with a gap in each node (kernels up to 6.0) reads two cache lines of a different
 * VMA for each of its 17 levels at 100,000 VMAs; most miss. Nodes of 20 slots need 4 or 5 levels, each of three
 * neighbouring lines, and the VMAs themselves stay untouched. Against the maple tree (6.1 and later): holes are no
 * entries of their own, so a slot is always a VMA and a neighbour costs one pointer; there is no RCU, because readers
 * hold the mmap_lock, so nodes change in place and an ordinary insertion allocates nothing. A skip list or radix tree
 * has no cheap largest-gap search.
 *
 * Within a node, the search counts ends <= addr without a branch that data decides: 4 probes that split the 20 slots
 * into groups of 4, then 3 in the group. Unused slots hold end ~0 and gap 0, so neither search nor maximum asks for nr.
 *
 * Splits lean to where the insertion is: mmap allocates upwards or downwards for long stretches, and a middle split
 * would leave every node half empty. The node that the stretch leaves behind keeps 18 of 20 slots, which a minimum of 2
 * allows: 4 levels for 100,000 VMAs mapped one behind the other, where 17 would need 5.
 *
 * A VMA cut in pieces, and neighbours that touch and become one, are one operation each, not removals and insertions:
 * the pieces have the gap of the whole, its end, and no gaps between them. So within a leaf nothing changes that the
 * nodes above know. Where the leaf is full or would get too empty, it is done with the general operations.
 *
 * Invariants (vma_index_check)
 *   I1  all leaves have level 0, the root has level height - 1.
 *   I2  every node but the root has MIN_SLOTS..SLOTS entries, an inner root at least 2, a leaf root at least 1: so the
 *       height is at most log2(n), or 1, and MAX_HEIGHT is enough for 2^32 VMAs.
 *   I3  ends ascend, also across nodes; an entry's end is that of the last VMA below it; unused slots hold ~0 and NULL.
 *   I4  a leaf's gaps are vm_start - vm_end of the neighbour below; a child's is the largest below it; unused slots
 *       hold 0.
 *   I5  the list through vm_next and vm_prev is the leaves' order, first and last are its ends.
 *   I6  the finger, if there is one, is the way to its leaf, whose entries begin after finger_low.
 *
 * Failure   Only vma_index_prealloc() allocates. It puts as many nodes in the reserve as the insertions that follow may
 *           need in the worst case (each level splits, and the root), and never counts on what is free in a node now.
 * Locks     None of its own: the mmap_lock of the mm.
 */
#include "vm/vma_index.h"

#include "base/errno.h"
#include "vm/vm.h"

#define SLOTS 20
#define MIN_SLOTS 2
/* After an underflow, two neighbours with no more than this become one:
 * far enough from full not to split again at once. */
#define MERGE_SLOTS 14
#define MAX_HEIGHT VMA_INDEX_MAX_HEIGHT
#define NO_END (~(va_t)0)

struct vma_node {
    va_t end[SLOTS];
    void *ptr[SLOTS]; /* struct vm_area_struct at level 0, else struct vma_node */
    u64 gap[SLOTS];
    u32 nr;
    u32 level;
    struct vma_node *next_reserve;
    u64 pad_[2];
} __attribute__((aligned(VMA_NODE_ALIGN)));
_Static_assert(sizeof(struct vma_node) == VMA_NODE_BYTES, "8 nodes to a page");

/* -- inside a node ------------------------------------------------------------------------------------------------- */

/*
 * How many ends are <= addr: the slot of the first entry that ends after addr; nr or more where there is none (for ~0,
 * the unused slots count too).
 */
static inline u32 node_search(const struct vma_node *n, va_t addr)
{
    u32 group =
        (u32)(n->end[3] <= addr) + (u32)(n->end[7] <= addr) + (u32)(n->end[11] <= addr) + (u32)(n->end[15] <= addr);
    const va_t *e = &n->end[group * 4];

    return group * 4 + (u32)(e[0] <= addr) + (u32)(e[1] <= addr) + (u32)(e[2] <= addr) +
           (u32)(group == 4 && e[3] <= addr);
}

static inline struct vma_node *node_child(const struct vma_node *n, u32 slot)
{
    return (struct vma_node *)n->ptr[slot];
}

static inline struct vm_area_struct *node_vma(const struct vma_node *n, u32 slot)
{
    return (struct vm_area_struct *)n->ptr[slot];
}

static u64 node_max_gap(const struct vma_node *n)
{
    u64 a = 0, b = 0;

    for (u32 i = 0; i < SLOTS; i += 2) {
        a = MAX(a, n->gap[i]);
        b = MAX(b, n->gap[i + 1]);
    }
    return MAX(a, b);
}

static void node_clear(struct vma_node *n, u32 from, u32 to)
{
    for (u32 i = from; i < to; i++) {
        n->end[i] = NO_END;
        n->ptr[i] = NULL;
        n->gap[i] = 0;
    }
}

/* Copy `nr` entries between or within nodes. */
static void node_move(struct vma_node *dst, u32 to, const struct vma_node *src, u32 from, u32 nr)
{
    memmove(&dst->end[to], &src->end[from], nr * sizeof(src->end[0]));
    memmove(&dst->ptr[to], &src->ptr[from], nr * sizeof(src->ptr[0]));
    memmove(&dst->gap[to], &src->gap[from], nr * sizeof(src->gap[0]));
}

static void node_open_slot(struct vma_node *n, u32 slot, va_t end, void *ptr, u64 gap)
{
    if (slot < n->nr)
        node_move(n, slot + 1, n, slot, n->nr - slot);
    n->end[slot] = end;
    n->ptr[slot] = ptr;
    n->gap[slot] = gap;
    n->nr++;
}

static void node_close_slot(struct vma_node *n, u32 slot)
{
    n->nr--;
    if (slot < n->nr)
        node_move(n, slot, n, slot + 1, n->nr - slot);
    node_clear(n, n->nr, n->nr + 1);
}

/* -- reserve ------------------------------------------------------------------------------------------------------- */

static void reserve_put(struct vma_index *x, struct vma_node *n)
{
    n->next_reserve = x->reserve;
    x->reserve = n;
    x->nr_reserve++;
}

static struct vma_node *reserve_take(struct vma_index *x)
{
    struct vma_node *n = x->reserve;

    ASSERT(n);
    x->reserve = n->next_reserve;
    x->nr_reserve--;
    return n;
}

static struct vma_node *node_new(struct vma_index *x, u32 level)
{
    struct vma_node *n = reserve_take(x);

    node_clear(n, 0, SLOTS);
    n->nr = 0;
    n->level = level;
    return n;
}

/* What two insertions need stays, so that a series of operations does not allocate and free nodes each time. */
void vma_index_trim(struct cpu *cpu, struct vma_index *x)
{
    while (unlikely(x->nr_reserve > 2 * x->height + 1))
        vma_node_free(cpu, reserve_take(x));
}

static __cold int reserve_fill(struct cpu *cpu, struct vma_index *x, u32 want)
{
    while (x->nr_reserve < want) {
        struct vma_node *n = vma_node_alloc(cpu);

        if (!n) {
            vma_index_trim(cpu, x);
            return -ENOMEM;
        }
        reserve_put(x, n);
    }
    return 0;
}

/*
 * One insertion splits at most every node of its way and adds a root: height + 1 nodes. A second may take another way
 * through a tree that is one level higher, but then the first has added the root,
 * which two ways share and which has room.
 */
int vma_index_prealloc(struct cpu *cpu, struct vma_index *x, u32 nr)
{
    u32 want = nr * MAX(x->height, 1u) + 1;

    return likely(x->nr_reserve >= want) ? 0 : reserve_fill(cpu, x, want);
}

/* -- paths --------------------------------------------------------------------------------------------------------- */

/*
 * The way to the first entry that ends after addr.
 * Behind all VMAs: the way to the last leaf, slot nr there. False then.
 */
static bool path_find(const struct vma_index *x, va_t addr, struct vma_path *p)
{
    struct vma_node *n = x->root;
    bool found = true;

    p->height = x->height;
    p->node[0] = NULL;
    p->slot[0] = 0;
    for (u32 level = x->height; level-- > 0;) {
        u32 slot = node_search(n, addr);

        if (unlikely(slot >= n->nr)) {
            found = false;
            slot = n->nr - (level > 0);
        }
        p->node[level] = n;
        p->slot[level] = slot;
        if (level)
            n = node_child(n, slot);
    }
    return found && x->height;
}

static va_t path_low(const struct vma_path *p)
{
    for (u32 level = 0; level < p->height; level++)
        if (level && p->slot[level])
            return p->node[level]->end[p->slot[level] - 1];
    return 0;
}

/* Whether the way to addr leads to the finger's leaf: among its entries, or behind all VMAs if it is the last leaf. */
static inline bool finger_leads_to(const struct vma_index *x, va_t addr)
{
    const struct vma_node *leaf = x->finger.node[0];

    return x->finger.height && addr >= x->finger_low &&
           (addr < leaf->end[leaf->nr - 1] || leaf->ptr[leaf->nr - 1] == x->last);
}

/*
 * path_find() for a change, which likely is near the last one: split, merge and mmap beside mmap come in groups. So the
 * way is remembered, until nodes split or merge; the cost of a change then does not depend on the height.
 * The finger itself is the path, its slot[0] is the caller's to change.
 */
static inline struct vma_path *path_find_change(struct vma_index *x, va_t addr)
{
    struct vma_path *p = &x->finger;

    if (likely(finger_leads_to(x, addr))) {
        p->slot[0] = node_search(p->node[0], addr);
        return p;
    }
    path_find(x, addr, p);
    x->finger_low = path_low(p);
    return p;
}

/* A path that may leave the finger's way. */
static __noinline void path_copy(struct vma_path *p, const struct vma_path *from)
{
    p->height = from->height;
    p->node[0] = from->node[0];
    p->slot[0] = from->slot[0];
    for (u32 level = 1; level < p->height; level++) {
        p->node[level] = from->node[level];
        p->slot[level] = from->slot[level];
    }
}

/* The VMA at the path; NULL: the path is behind all. */
static inline struct vm_area_struct *path_vma(const struct vma_path *p)
{
    return p->height && p->slot[0] < p->node[0]->nr ? node_vma(p->node[0], p->slot[0]) : NULL;
}

static void forget_finger(struct vma_index *x)
{
    x->finger.height = 0;
}

/* To the next leaf entry; false at the end, the path is then spoilt. */
static bool path_next(struct vma_path *p)
{
    u32 level = 0;

    while (level < p->height && p->slot[level] + 1 >= p->node[level]->nr)
        level++;
    if (level >= p->height)
        return false;
    p->slot[level]++;
    while (level--) {
        p->node[level] = node_child(p->node[level + 1], p->slot[level + 1]);
        p->slot[level] = 0;
    }
    return true;
}

static void path_set_gap(struct vma_path *p, u64 gap)
{
    for (u32 level = 0;; level++) {
        u64 *slot = &p->node[level]->gap[p->slot[level]];
        u64 old = *slot, max;

        *slot = gap;
        if (level + 1 == p->height)
            return;
        max = p->node[level + 1]->gap[p->slot[level + 1]];
        if (gap < max) {
            if (old < max)
                return;
            gap = node_max_gap(p->node[level]);
        }
        if (gap == max)
            return;
    }
}

/* The end of the entry at the path's `level`, and of the nodes above whose last one it is. */
static void path_set_end(struct vma_path *p, u32 level, va_t end)
{
    p->node[level]->end[p->slot[level]] = end;
    while (p->slot[level] + 1 == p->node[level]->nr && level + 1 < p->height) {
        level++;
        p->node[level]->end[p->slot[level]] = end;
    }
}

/* -- insertion ----------------------------------------------------------------------------------------------------- */

static void grow_root(struct vma_index *x, struct vma_path *p)
{
    struct vma_node *root = node_new(x, x->height);

    ASSERT(x->height < MAX_HEIGHT);
    forget_finger(x);
    if (x->root)
        node_open_slot(root, 0, x->root->end[x->root->nr - 1], x->root, node_max_gap(x->root));
    x->root = root;
    p->node[x->height] = root;
    p->slot[x->height] = 0;
    p->height = ++x->height;
}

/* How many entries stay in the left half when a full node splits for an insertion at `slot`. */
static u32 split_point(u32 slot)
{
    if (slot >= SLOTS - MIN_SLOTS)
        return SLOTS - MIN_SLOTS;
    if (slot <= MIN_SLOTS)
        return MIN_SLOTS;
    return slot < SLOTS / 4 || slot > 3 * SLOTS / 4 ? slot : SLOTS / 2;
}

/* Split the path's full node at `level`, whose parent has room,
 * and turn the path to the half that takes the insertion. */
static void split_node(struct vma_index *x, struct vma_path *p, u32 level)
{
    struct vma_node *left = p->node[level], *parent = p->node[level + 1], *right = node_new(x, level);
    u32 at = split_point(p->slot[level]), pslot = p->slot[level + 1];

    node_move(right, 0, left, at, SLOTS - at);
    right->nr = SLOTS - at;
    node_clear(left, at, SLOTS);
    left->nr = at;

    node_open_slot(parent, pslot, left->end[at - 1], left, node_max_gap(left));
    parent->ptr[pslot + 1] = right;
    parent->gap[pslot + 1] = node_max_gap(right);
    /* A leaf's slot is where the new entry goes; above, it is the child that will be split next. */
    if (p->slot[level] < at + (level == 0))
        return;
    p->node[level] = right;
    p->slot[level] -= at;
    p->slot[level + 1]++;
}

/* Make room in the path's leaf: split from the highest full node of an unbroken row of full ones downwards. */
static __noinline void make_room(struct vma_index *x, struct vma_path *p)
{
    u32 level = 0;

    forget_finger(x);
    while (level < p->height && p->node[level]->nr == SLOTS)
        level++;
    if (level == p->height)
        grow_root(x, p);
    while (level-- > 0)
        split_node(x, p, level);
}

static void list_insert(struct vma_index *x, struct vm_area_struct *vma, struct vm_area_struct *next)
{
    struct vm_area_struct *prev = next ? next->vm_prev : x->last;

    vma->vm_prev = prev;
    vma->vm_next = next;
    if (prev)
        prev->vm_next = vma;
    else
        x->first = vma;
    if (next)
        next->vm_prev = vma;
    else
        x->last = vma;
}

static va_t prev_end(const struct vm_area_struct *vma)
{
    return vma->vm_prev ? vma->vm_prev->vm_end : 0;
}

/* The gap below the entry behind the path's: the neighbour above has changed. Spoils slot[0] of the path. */
static void update_next_gap(struct vma_path *p, u64 gap)
{
    struct vma_path q;
    bool found = true;

    if (likely(p->slot[0] + 1 < p->node[0]->nr)) {
        p->slot[0]++;
        path_set_gap(p, gap);
        return;
    }
    path_copy(&q, p);
    found = path_next(&q);
    ASSERT(found);
    path_set_gap(&q, gap);
}

void vma_index_insert(struct vma_index *x, struct vm_area_struct *vma)
{
    struct vma_path *p = path_find_change(x, vma->vm_start), q;
    struct vm_area_struct *next = path_vma(p);

    if (unlikely(!x->height || p->node[0]->nr == SLOTS)) {
        path_copy(&q, p);
        p = &q;
        make_room(x, p);
    }
    list_insert(x, vma, next);
    ASSERT(vma->vm_start >= prev_end(vma));
    ASSERT(!next || vma->vm_end <= next->vm_start);

    node_open_slot(p->node[0], p->slot[0], vma->vm_end, vma, 0);
    path_set_end(p, 0, vma->vm_end);
    path_set_gap(p, vma->vm_start - prev_end(vma));
    if (next)
        update_next_gap(p, next->vm_start - vma->vm_end);
}

/* -- removal ------------------------------------------------------------------------------------------------------- */

/* All of `right` behind `left`, the two being neighbours in the parent at `slot` and slot + 1; right's slot goes. */
static void merge_nodes(struct vma_index *x, struct vma_node *parent, u32 slot)
{
    struct vma_node *left = node_child(parent, slot), *right = node_child(parent, slot + 1);

    node_move(left, left->nr, right, 0, right->nr);
    left->nr += right->nr;
    parent->end[slot] = parent->end[slot + 1];
    parent->gap[slot] = MAX(parent->gap[slot], parent->gap[slot + 1]);
    node_close_slot(parent, slot + 1);
    reserve_put(x, right);
}

static void level_nodes(struct vma_node *parent, u32 slot)
{
    struct vma_node *left = node_child(parent, slot), *right = node_child(parent, slot + 1);
    u32 total = left->nr + right->nr, want = total / 2, move;

    if (left->nr > want) {
        move = left->nr - want;
        node_move(right, move, right, 0, right->nr);
        node_move(right, 0, left, want, move);
        node_clear(left, want, left->nr);
    } else {
        move = want - left->nr;
        node_move(left, left->nr, right, 0, move);
        node_move(right, 0, right, move, right->nr - move);
        node_clear(right, total - want, right->nr);
    }
    left->nr = want;
    right->nr = total - want;
    parent->end[slot] = left->end[want - 1];
    parent->gap[slot] = node_max_gap(left);
    parent->gap[slot + 1] = node_max_gap(right);
}

static void shrink_root(struct vma_index *x)
{
    while (x->root && x->root->nr <= (x->height > 1 ? 1u : 0u)) {
        struct vma_node *old = x->root;

        x->root = x->height > 1 ? node_child(old, 0) : NULL;
        x->height--;
        reserve_put(x, old);
    }
}

/* Nodes of the path that have become too small join a neighbour or take entries from it. */
static __noinline void rebalance(struct vma_index *x, struct vma_path *p)
{
    forget_finger(x);
    for (u32 level = 0; level + 1 < p->height && p->node[level]->nr < MIN_SLOTS; level++) {
        struct vma_node *parent = p->node[level + 1];
        u32 slot = p->slot[level + 1];

        if (slot + 1 == parent->nr)
            slot--;
        if (node_child(parent, slot)->nr + node_child(parent, slot + 1)->nr <= MERGE_SLOTS)
            merge_nodes(x, parent, slot);
        else
            level_nodes(parent, slot);
    }
    shrink_root(x);
}

static void list_remove(struct vma_index *x, struct vm_area_struct *vma)
{
    if (vma->vm_prev)
        vma->vm_prev->vm_next = vma->vm_next;
    else
        x->first = vma->vm_next;
    if (vma->vm_next)
        vma->vm_next->vm_prev = vma->vm_prev;
    else
        x->last = vma->vm_prev;
}

void vma_index_remove(struct vma_index *x, struct vm_area_struct *vma)
{
    struct vm_area_struct *next = vma->vm_next;
    struct vma_path *p = path_find_change(x, vma->vm_start), q;
    struct vma_node *leaf = p->node[0];
    u32 slot = p->slot[0];

    ASSERT(path_vma(p) == vma);
    list_remove(x, vma);
    path_set_gap(p, 0);
    if (next)
        update_next_gap(p, next->vm_start - prev_end(next));
    p->slot[0] = slot;
    if (slot + 1 == leaf->nr && slot)
        path_set_end(p, 0, leaf->end[slot - 1]);
    node_close_slot(leaf, slot);
    if (unlikely(leaf->nr < MIN_SLOTS)) {
        path_copy(&q, p);
        rebalance(x, &q);
    }
}

/* -- resizing ------------------------------------------------------------------------------------------------------ */

void vma_index_resize(struct vma_index *x, struct vm_area_struct *vma, va_t start, va_t end)
{
    struct vm_area_struct *next = vma->vm_next;
    struct vma_path *p = path_find_change(x, vma->vm_start);

    ASSERT(path_vma(p) == vma);
    ASSERT(start < end);
    ASSERT(start >= prev_end(vma));
    ASSERT(!next || end <= next->vm_start);

    if (start != vma->vm_start) {
        vma->vm_start = start;
        path_set_gap(p, start - prev_end(vma));
    }
    if (end == vma->vm_end)
        return;
    vma->vm_end = end;
    path_set_end(p, 0, end);
    if (next)
        update_next_gap(p, next->vm_start - end);
}

void vma_index_move_edge(struct vma_index *x, struct vm_area_struct *vma, va_t at)
{
    struct vm_area_struct *next = vma->vm_next;
    struct vma_path *p = path_find_change(x, vma->vm_start);

    ASSERT(path_vma(p) == vma);
    ASSERT(next && vma->vm_end == next->vm_start);
    ASSERT(vma->vm_start < at && at < next->vm_end);
    vma->vm_end = next->vm_start = at;
    path_set_end(p, 0, at);
}

/* -- cutting and joining: within one leaf neither its largest gap nor its last end changes, so no node above it ---- */

static __noinline void cut_slowly(struct vma_index *x, struct vm_area_struct *vma, struct vm_area_struct *below,
                                  struct vm_area_struct *above)
{
    vma_index_resize(x, vma, below ? below->vm_end : vma->vm_start, above ? above->vm_start : vma->vm_end);
    if (below)
        vma_index_insert(x, below);
    if (above)
        vma_index_insert(x, above);
}

void vma_index_cut(struct vma_index *x, struct vm_area_struct *vma, struct vm_area_struct *below,
                   struct vm_area_struct *above)
{
    struct vma_path *p = path_find_change(x, vma->vm_start);
    struct vma_node *leaf = p->node[0];
    u32 slot = p->slot[0], pieces = (u32) !!below + (u32) !!above;

    ASSERT(path_vma(p) == vma);
    ASSERT(!below || (below->vm_start == vma->vm_start && below->vm_end < vma->vm_end));
    ASSERT(!above || (above->vm_end == vma->vm_end && above->vm_start > (below ? below->vm_end : vma->vm_start)));
    if (unlikely(leaf->nr + pieces > SLOTS)) {
        cut_slowly(x, vma, below, above);
        return;
    }
    /* The lowest piece keeps the slot with its gap, the highest the end; there is no gap between them. */
    node_move(leaf, slot + pieces, leaf, slot, leaf->nr - slot);
    leaf->nr += pieces;
    if (below) {
        list_insert(x, below, vma);
        leaf->ptr[slot] = below;
        leaf->end[slot++] = vma->vm_start = below->vm_end;
        leaf->ptr[slot] = vma;
        leaf->gap[slot] = 0;
    }
    if (above) {
        list_insert(x, above, vma->vm_next);
        leaf->end[slot++] = vma->vm_end = above->vm_start;
        leaf->ptr[slot] = above;
        leaf->gap[slot] = 0;
    }
}

static __noinline void join_slowly(struct vma_index *x, struct vm_area_struct *keep, struct vm_area_struct *from,
                                   struct vm_area_struct *to)
{
    va_t start = from->vm_start, end = to->vm_end;
    struct vm_area_struct *vma, *next, *stop = to->vm_next;

    for (vma = from; vma != stop; vma = next) {
        next = vma->vm_next;
        if (vma != keep)
            vma_index_remove(x, vma);
    }
    vma_index_resize(x, keep, start, end);
}

static void list_replace(struct vma_index *x, struct vm_area_struct *vma, struct vm_area_struct *from,
                         struct vm_area_struct *to)
{
    vma->vm_prev = from->vm_prev;
    vma->vm_next = to->vm_next;
    if (vma->vm_prev)
        vma->vm_prev->vm_next = vma;
    else
        x->first = vma;
    if (vma->vm_next)
        vma->vm_next->vm_prev = vma;
    else
        x->last = vma;
}

void vma_index_join(struct vma_index *x, struct vm_area_struct *keep, struct vm_area_struct *from,
                    struct vm_area_struct *to)
{
    struct vma_path *p = path_find_change(x, from->vm_start);
    struct vma_node *leaf = p->node[0];
    u32 slot = p->slot[0], last = slot;

    ASSERT(path_vma(p) == from);
    for (const struct vm_area_struct *vma = from; vma != to; vma = vma->vm_next, last++)
        ASSERT(vma->vm_next && vma->vm_end == vma->vm_next->vm_start);
    if (unlikely(last >= leaf->nr || leaf->nr - (last - slot) < MIN_SLOTS)) {
        join_slowly(x, keep, from, to);
        return;
    }
    leaf->ptr[last] = keep;
    leaf->gap[last] = leaf->gap[slot];
    node_move(leaf, slot, leaf, last, leaf->nr - last);
    node_clear(leaf, leaf->nr - (last - slot), leaf->nr);
    leaf->nr -= last - slot;
    keep->vm_start = from->vm_start;
    keep->vm_end = to->vm_end;
    list_replace(x, keep, from, to);
}

/* -- searches ------------------------------------------------------------------------------------------------------ */

struct vm_area_struct *vma_index_find(const struct vma_index *x, va_t addr)
{
    const struct vma_node *n = x->root;
    u32 slot;

    if (unlikely(!n))
        return NULL;
    for (u32 level = x->height; level-- > 1;) {
        slot = node_search(n, addr);
        if (unlikely(slot >= n->nr))
            return NULL;
        n = node_child(n, slot);
    }
    slot = node_search(n, addr);
    return likely(slot < n->nr) ? node_vma(n, slot) : NULL;
}

/* The leaf on the way to addr, and the end of the VMA before it; NULL: addr is behind all. */
static inline const struct vma_node *find_leaf(const struct vma_index *x, va_t addr, va_t *below)
{
    const struct vma_node *n = x->root;
    u32 slot;

    *below = 0;
    for (u32 level = x->height; level-- > 1;) {
        slot = node_search(n, addr);
        if (unlikely(slot >= n->nr))
            return NULL;
        *below = slot ? n->end[slot - 1] : *below;
        n = node_child(n, slot);
    }
    return n;
}

struct vm_area_struct *vma_index_find_range(const struct vma_index *x, va_t addr, va_t *start, va_t *end)
{
    va_t below = x->finger_low;
    const struct vma_node *n;
    u32 slot;

    n = finger_leads_to(x, addr) ? x->finger.node[0] : find_leaf(x, addr, &below);
    if (unlikely(!n))
        return NULL;
    for (u32 line = 3; line < VMA_NODE_BYTES / 64; line++) /* the search waits for the first three as it is */
        __builtin_prefetch((const char *)n + line * 64);
    slot = node_search(n, addr);
    if (unlikely(slot >= n->nr))
        return NULL;
    below = slot ? n->end[slot - 1] : below;
    *start = below + n->gap[slot];
    *end = n->end[slot];
    return node_vma(n, slot);
}

/* The first entry behind the path's whose gap is at least `size`; NULL: none. */
static struct vm_area_struct *next_with_gap(struct vma_path *p, u64 size)
{
    u32 level = 0, slot;

    for (;; level++) {
        const struct vma_node *n;

        if (level == p->height)
            return NULL;
        n = p->node[level];
        for (slot = p->slot[level] + 1; slot < n->nr && n->gap[slot] < size; slot++)
            ;
        if (slot < n->nr)
            break;
    }
    for (p->slot[level] = slot; level > 0; p->slot[level] = slot) {
        const struct vma_node *n = p->node[level - 1] = node_child(p->node[level], p->slot[level]);

        level--;
        for (slot = 0; n->gap[slot] < size; slot++)
            ;
    }
    return node_vma(p->node[0], p->slot[0]);
}

/* The last entry before the path's whose gap is at least `size`; NULL: none. */
static struct vm_area_struct *prev_with_gap(struct vma_path *p, u64 size)
{
    u32 level = 0, slot;

    for (;; level++) {
        if (level == p->height)
            return NULL;
        for (slot = p->slot[level]; slot > 0 && p->node[level]->gap[slot - 1] < size; slot--)
            ;
        if (slot-- > 0)
            break;
    }
    for (p->slot[level] = slot; level > 0; p->slot[level] = slot) {
        const struct vma_node *n = p->node[level - 1] = node_child(p->node[level], p->slot[level]);

        level--;
        for (slot = n->nr - 1; n->gap[slot] < size; slot--)
            ;
    }
    return node_vma(p->node[0], p->slot[0]);
}

static bool fits(va_t low, va_t high, u64 size)
{
    return high >= low && high - low >= size;
}

bool vma_index_gap_lowest(const struct vma_index *x, va_t low, va_t high, u64 size, struct vma_gap *gap)
{
    struct vma_path p;
    struct vm_area_struct *vma = path_find(x, low, &p) ? node_vma(p.node[0], p.slot[0]) : NULL;
    va_t found = low;

    if (vma && (vma->vm_start <= low || vma->vm_start - low < size)) {
        vma = next_with_gap(&p, size);
        found = vma ? prev_end(vma) : MAX(low, x->last->vm_end);
    }
    if (!fits(found, high, size))
        return false;
    *gap = (struct vma_gap){found, vma};
    return true;
}

bool vma_index_gap_highest(const struct vma_index *x, va_t low, va_t high, u64 size, struct vma_gap *gap)
{
    struct vma_path p;
    struct vm_area_struct *vma, *prev;

    if (!fits(low, high, size))
        return false;
    vma = path_find(x, high - 1, &p) ? node_vma(p.node[0], p.slot[0]) : NULL;
    prev = vma ? vma->vm_prev : x->last;
    if (vma && vma->vm_start < high)
        high = vma->vm_start;
    if (prev && !fits(prev->vm_end, high, size)) {
        /* Where the path is behind all VMAs, its last entry is "before" it. */
        vma = prev_with_gap(&p, size);
        if (!vma)
            return false;
        high = vma->vm_start;
    }
    if (!fits(low, high, size))
        return false;
    *gap = (struct vma_gap){high - size, vma};
    return true;
}

/* -- life ---------------------------------------------------------------------------------------------------------- */

void vma_index_init(struct vma_index *x)
{
    *x = (struct vma_index){0};
}

static void destroy_node(struct cpu *cpu, struct vma_node *n)
{
    for (u32 i = 0; n->level && i < n->nr; i++)
        destroy_node(cpu, node_child(n, i));
    vma_node_free(cpu, n);
}

void vma_index_destroy(struct cpu *cpu, struct vma_index *x)
{
    if (x->root)
        destroy_node(cpu, x->root);
    while (x->nr_reserve)
        vma_node_free(cpu, reserve_take(x));
    vma_index_init(x);
}

/* -- check --------------------------------------------------------------------------------------------------------- */

struct index_check {
    const struct vma_index *x;
    struct check_report *r;
    const struct vm_area_struct *prev; /* the last VMA seen */
    u64 nr;
};

static void check_leaf_entry(struct index_check *c, const struct vma_node *n, u32 slot)
{
    const struct vm_area_struct *vma = node_vma(n, slot);
    va_t below = c->prev ? c->prev->vm_end : 0;

    CHECK_EQ(c->r, n->end[slot], vma->vm_end, "vma_index I3: end of a VMA");
    CHECK_EQ(c->r, n->gap[slot], vma->vm_start - below, "vma_index I4: gap below a VMA");
    if (vma->vm_start < below || vma->vm_start >= vma->vm_end)
        check_fail(c->r, "vma_index I3: VMA [%llx, %llx) after %llx", (unsigned long long)vma->vm_start,
                   (unsigned long long)vma->vm_end, (unsigned long long)below);
    if (vma->vm_prev != c->prev)
        check_fail(c->r, "vma_index I5: vm_prev is %p, the leaves say %p", (const void *)vma->vm_prev,
                   (const void *)c->prev);
    if ((c->prev ? c->prev->vm_next : c->x->first) != vma)
        check_fail(c->r, "vma_index I5: the list does not lead to %p", (const void *)vma);
    c->prev = vma;
    c->nr++;
}

static void check_node(struct index_check *c, const struct vma_node *n, u32 level)
{
    bool root = n == c->x->root;
    u32 min = !root ? MIN_SLOTS : level ? 2 : 1;

    CHECK_EQ(c->r, n->level, level, "vma_index I1: level");
    if (n->nr < min || n->nr > SLOTS)
        check_fail(c->r, "vma_index I2: %u entries at level %u, allowed %u to %d", n->nr, level, min, SLOTS);
    for (u32 i = 0; i < n->nr && i < SLOTS; i++) {
        if (!level) {
            check_leaf_entry(c, n, i);
            continue;
        }
        check_node(c, node_child(n, i), level - 1);
        CHECK_EQ(c->r, n->end[i], c->prev ? c->prev->vm_end : 0, "vma_index I3: end of a node");
        CHECK_EQ(c->r, n->gap[i], node_max_gap(node_child(n, i)), "vma_index I4: gap of a node");
    }
    for (u32 i = n->nr; i < SLOTS; i++)
        if (n->end[i] != NO_END || n->ptr[i] || n->gap[i])
            check_fail(c->r, "vma_index I3: unused slot %u is not empty", i);
}

static void check_finger(const struct vma_index *x, struct check_report *r)
{
    const struct vma_node *leaf = x->finger.node[0];
    struct vma_path p;

    if (!x->finger.height)
        return;
    path_find(x, leaf->end[leaf->nr - 1] - 1, &p);
    CHECK_EQ(r, x->finger.height, p.height, "vma_index I6: height of the finger");
    CHECK_EQ(r, x->finger_low, path_low(&p), "vma_index I6: end before the finger's leaf");
    for (u32 level = 0; level < p.height && level < x->finger.height; level++) {
        CHECK_EQ(r, (uintptr_t)x->finger.node[level], (uintptr_t)p.node[level], "vma_index I6: node of the finger");
        if (level)
            CHECK_EQ(r, x->finger.slot[level], p.slot[level], "vma_index I6: slot of the finger");
    }
}

u64 vma_index_check(const struct vma_index *x, struct check_report *r)
{
    struct index_check c = {.x = x, .r = r};
    u32 nr = 0;

    check_finger(x, r);

    if (x->root)
        check_node(&c, x->root, x->height - 1);
    if (x->last != c.prev)
        check_fail(r, "vma_index I5: last is %p, the leaves say %p", (const void *)x->last, (const void *)c.prev);
    if (!c.nr && x->first)
        check_fail(r, "vma_index I5: first is %p in an empty index", (const void *)x->first);
    for (const struct vma_node *n = x->reserve; n; n = n->next_reserve)
        nr++;
    CHECK_EQ(r, x->nr_reserve, nr, "vma_index: nodes in reserve");
    return c.nr;
}

static u64 count_nodes(const struct vma_node *n)
{
    u64 nr = 1;

    for (u32 i = 0; n->level && i < n->nr; i++)
        nr += count_nodes(node_child(n, i));
    return nr;
}

u64 vma_index_nr_nodes(const struct vma_index *x)
{
    return x->nr_reserve + (x->root ? count_nodes(x->root) : 0);
}
