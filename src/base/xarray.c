/* SPDX-License-Identifier: MIT */
/* xarray: the tree of xarray.h, which has the terms, invariants and rules for locks and memory. */
#include "base/xarray.h"

#include "base/assert.h"
#include "base/bitmap.h"

/* Nodes got before the tree is changed, linked by `parent`. */
struct node_pool {
    struct xa_node *free;
    unsigned int nr;
};

/* Where an index lies: its bottom node, or NULL with the entry in the head. */
struct place {
    struct xa_node *node;
    unsigned int offset;
};

static inline bool is_node(const void *entry)
{
    return ((uintptr_t)entry & 3) == 2 && (uintptr_t)entry > 4096;
}

static inline void *mk_node(struct xa_node *n)
{
    return (void *)((uintptr_t)n | 2);
}

static inline struct xa_node *to_node(const void *entry)
{
    return (struct xa_node *)((uintptr_t)entry & ~(uintptr_t)3);
}

/* The highest index that a node of this shift holds. */
static inline u64 max_index(unsigned int shift)
{
    return shift + XA_CHUNK_SHIFT >= 64 ? ~(u64)0 : ((u64)1 << (shift + XA_CHUNK_SHIFT)) - 1;
}

static inline unsigned int slot_of(const struct xa_node *n, u64 index)
{
    return (unsigned int)(index >> n->shift) & XA_CHUNK_MASK;
}

/* Levels of nodes that a tree with `index` needs. */
static inline unsigned int levels_for(u64 index)
{
    return ilog2(index) / XA_CHUNK_SHIFT + 1;
}

static inline void set_slot(void **slot, void *entry)
{
    __atomic_store_n(slot, entry, __ATOMIC_RELEASE);
}

static inline void set_head(struct xarray *xa, void *entry)
{
    __atomic_store_n(&xa->head, entry, __ATOMIC_RELEASE);
}

static inline void set_marks(u64 *word, u64 value)
{
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
}

/* -- reading without the lock -------------------------------------------------------------------------------------- */

static inline u32 read_begin(const struct xarray *xa)
{
    return atomic_load_explicit(&((struct xarray *)(uintptr_t)xa)->seq, memory_order_acquire);
}

/*
 * Whether a node may have been freed since read_begin(): what was read from one is then worthless. Every load from a
 * node is an acquire, so this load comes after it.
 */
static inline bool read_retry(const struct xarray *xa, u32 seq)
{
    return unlikely(atomic_load_explicit(&((struct xarray *)(uintptr_t)xa)->seq, memory_order_relaxed) != seq);
}

/* Every descent's first step: the head, and the root's shift if that is a node. */
static inline void *read_head(const struct xarray *xa)
{
    return __atomic_load_n(&xa->head, __ATOMIC_ACQUIRE);
}

/*
 * A node may be freed while it is read, and its memory written by its next user: on purpose, since read_retry() throws
 * away what was read. TSan is told to look away at that load; the acquire still counts.
 */
#ifdef QUIRE_TSAN
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
#else
#define AnnotateIgnoreReadsBegin(file, line) (void)0
#define AnnotateIgnoreReadsEnd(file, line) (void)0
#endif

static inline void *read_slot(const struct xa_node *n, unsigned int offset)
{
    void *entry;

    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    entry = __atomic_load_n(&n->slots[offset], __ATOMIC_ACQUIRE);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
    return entry;
}

static inline unsigned int read_shift(const struct xa_node *n)
{
    unsigned int shift;

    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    shift = __atomic_load_n(&n->shift, __ATOMIC_ACQUIRE);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
    return shift;
}

static inline u64 read_marks(const struct xa_node *n, xa_mark_t mark)
{
    u64 marks;

    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    marks = __atomic_load_n(&n->marks[mark], __ATOMIC_ACQUIRE);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
    return marks;
}

void *xa_load(const struct xarray *xa, u64 index)
{
    const struct xa_node *n;
    unsigned int shift;
    void *entry;
    u32 seq;

restart:
    seq = read_begin(xa);
    entry = read_head(xa);
    if (!is_node(entry))
        return index ? NULL : entry;
    shift = read_shift(to_node(entry));
    if (index > max_index(shift)) {
        if (read_retry(xa, seq))
            goto restart;
        return NULL;
    }
    for (;; shift -= XA_CHUNK_SHIFT) {
        n = to_node(entry);
        entry = read_slot(n, (unsigned int)(index >> shift) & XA_CHUNK_MASK);
        if (read_retry(xa, seq))
            goto restart;
        if (!is_node(entry))
            return entry;
    }
}

bool xa_get_mark(const struct xarray *xa, u64 index, xa_mark_t mark)
{
    u64 at = index;

    return xa_find(xa, &at, index, mark) != NULL;
}

enum step { STEP_FOUND, STEP_NONE, STEP_ON, STEP_RESTART };

/* The next occupied (marked) slot of n at or after `from`; XA_CHUNK_SIZE: none. */
static unsigned int next_slot(const struct xa_node *n, unsigned int from, xa_mark_t mark)
{
    if (mark != XA_PRESENT) {
        u64 bits = read_marks(n, mark) >> from;

        return bits ? from + (unsigned int)__builtin_ctzll(bits) : XA_CHUNK_SIZE;
    }
    while (from < XA_CHUNK_SIZE && !read_slot(n, from))
        from++;
    return from;
}

/*
 * One descent from the head: STEP_FOUND with *index and *found; STEP_ON with *index moved past a chunk that has
 * nothing; STEP_NONE: nothing up to the end of the tree.
 */
static enum step find_descend(const struct xarray *xa, u64 *index, xa_mark_t mark, void **found)
{
    u32 seq = read_begin(xa);
    void *entry = read_head(xa);
    unsigned int shift, at, next;
    u64 end;

    if (!is_node(entry)) {
        *found = entry;
        return *index == 0 && entry && (mark == XA_PRESENT || xa_marked(xa, mark)) ? STEP_FOUND : STEP_NONE;
    }
    shift = read_shift(to_node(entry));
    if (*index > max_index(shift))
        return read_retry(xa, seq) ? STEP_RESTART : STEP_NONE;
    for (;; shift -= XA_CHUNK_SHIFT) {
        const struct xa_node *n = to_node(entry);

        at = (unsigned int)(*index >> shift) & XA_CHUNK_MASK;
        next = next_slot(n, at, mark);
        entry = next < XA_CHUNK_SIZE ? read_slot(n, next) : NULL;
        if (read_retry(xa, seq))
            return STEP_RESTART;
        if (!entry) { /* go on after this node; a slot just erased comes here too */
            end = *index | max_index(shift);
            if (end == ~(u64)0)
                return STEP_NONE;
            if (next < XA_CHUNK_SIZE)
                return STEP_RESTART;
            *index = end + 1;
            return STEP_ON;
        }
        if (next > at)
            *index = ((*index & ~max_index(shift)) | ((u64)next << shift));
        if (!is_node(entry)) {
            *found = entry;
            return STEP_FOUND;
        }
    }
}

void *xa_find(const struct xarray *xa, u64 *index, u64 max, xa_mark_t mark)
{
    u64 at = *index, try_at;
    void *entry = NULL;
    enum step step;

    while (at <= max) {
        try_at = at;
        step = find_descend(xa, &try_at, mark, &entry);
        if (step == STEP_NONE)
            return NULL;
        if (step == STEP_RESTART)
            continue;
        at = try_at;
        if (step == STEP_FOUND) {
            if (at > max)
                return NULL;
            *index = at;
            return entry;
        }
    }
    return NULL;
}

void *xa_find_after(const struct xarray *xa, u64 *index, u64 max, xa_mark_t mark)
{
    u64 at = *index + 1;
    void *entry;

    if (!at)
        return NULL;
    entry = xa_find(xa, &at, max, mark);
    if (entry)
        *index = at;
    return entry;
}

/* -- memory -------------------------------------------------------------------------------------------------------- */

/* Nodes that storing at `index` lacks. */
static unsigned int nodes_needed(const struct xarray *xa, u64 index)
{
    unsigned int levels = levels_for(index), have;
    void *entry = xa->head;

    if (!is_node(entry)) {
        if (index == 0)
            return 0;
        return entry ? 2 * levels - 1 : levels; /* an entry of index 0 gets its own path below the root */
    }
    have = to_node(entry)->shift / XA_CHUNK_SHIFT + 1u;
    if (levels > have)
        return (levels - have) + (levels - 1);
    while (have && (entry = to_node(entry)->slots[slot_of(to_node(entry), index)]) && is_node(entry))
        have--;
    return entry ? 0 : have - 1;
}

static struct xa_node *pool_take(struct node_pool *pool)
{
    struct xa_node *n = pool->free;

    ASSERT(n);
    pool->free = n->parent;
    pool->nr--;
    n->parent = NULL;
    return n;
}

static void pool_release(struct cpu *cpu, struct node_pool *pool)
{
    while (pool->nr)
        cpu->code->xa_node_free(cpu, pool_take(pool));
}

static int pool_fill(struct cpu *cpu, struct node_pool *pool, unsigned int nr, u32 gfp)
{
    struct xa_node *n;

    while (pool->nr < nr) {
        n = cpu->code->xa_node_alloc(cpu, gfp);
        if (!n)
            return -ENOMEM;
        n->parent = pool->free;
        pool->free = n;
        pool->nr++;
    }
    return 0;
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wtsan" /* TSan does not know fences; the one below keeps later stores behind seq */
#endif

/* Unlinked already; readers that are inside notice by seq,
 * before they can see what the node's memory is used for next. */
static void node_free(struct cpu *cpu, struct xarray *xa, struct xa_node *n)
{
    atomic_fetch_add(&xa->seq, 1);
    atomic_thread_fence(memory_order_seq_cst);
    cpu->code->xa_node_free(cpu, n);
}

/* -- changing the tree --------------------------------------------------------------------------------------------- */

static struct xa_node *node_new(struct xarray *xa, struct node_pool *pool, unsigned int shift)
{
    struct xa_node *n = pool_take(pool);

    __atomic_store_n(&n->shift, (u8)shift, __ATOMIC_RELAXED);
    n->array = xa;
    INIT_LIST_HEAD(&n->private_list);
    return n;
}

/* A new root above the head, with all that is there in its slot 0. */
static void grow_one(struct xarray *xa, struct node_pool *pool)
{
    void *head = xa->head;
    struct xa_node *root = node_new(xa, pool, is_node(head) ? to_node(head)->shift + (unsigned int)XA_CHUNK_SHIFT : 0u);
    xa_mark_t m;

    set_slot(&root->slots[0], head);
    root->count = 1;
    root->nr_values = xa_is_value(head);
    for (m = 0; m < XA_MAX_MARKS; m++)
        set_marks(&root->marks[m], xa_marked(xa, m));
    if (is_node(head))
        to_node(head)->parent = root;
    set_head(xa, mk_node(root));
}

/* Make the tree hold `index` and return its place; all nodes come from the pool. */
static struct place make_place(struct xarray *xa, u64 index, struct node_pool *pool)
{
    struct xa_node *n, *child;
    unsigned int offset;

    if (!xa->head && index)
        set_head(xa, mk_node(node_new(xa, pool, (levels_for(index) - 1) * XA_CHUNK_SHIFT)));
    if (!xa->head || (!is_node(xa->head) && index == 0))
        return (struct place){NULL, 0};
    while (!is_node(xa->head) || index > max_index(to_node(xa->head)->shift))
        grow_one(xa, pool);
    for (n = to_node(xa->head);; n = to_node(n->slots[offset])) {
        offset = slot_of(n, index);
        if (!n->shift)
            return (struct place){n, offset};
        if (n->slots[offset])
            continue;
        child = node_new(xa, pool, n->shift - (unsigned int)XA_CHUNK_SHIFT);
        child->parent = n;
        child->offset = (u8)offset;
        n->count++;
        set_slot(&n->slots[offset], mk_node(child));
    }
}

/* The place of an index if there is one; false: nothing is stored there. */
static bool find_place(const struct xarray *xa, u64 index, struct place *p)
{
    struct xa_node *n;
    void *entry = xa->head;

    *p = (struct place){NULL, 0};
    if (!is_node(entry))
        return index == 0 && entry;
    if (index > max_index(to_node(entry)->shift))
        return false;
    for (;;) {
        n = to_node(entry);
        *p = (struct place){n, slot_of(n, index)};
        entry = n->slots[p->offset];
        if (!is_node(entry))
            return entry != NULL;
    }
}

static void mark_set(struct xarray *xa, struct place p, xa_mark_t mark)
{
    while (p.node && !(p.node->marks[mark] >> p.offset & 1)) {
        set_marks(&p.node->marks[mark], p.node->marks[mark] | (u64)1 << p.offset);
        p = (struct place){p.node->parent, p.node->offset};
    }
    if (!p.node)
        WRITE_ONCE(xa->marks, xa->marks | 1u << mark);
}

static void mark_clear(struct xarray *xa, struct place p, xa_mark_t mark)
{
    while (p.node) {
        if (!(p.node->marks[mark] >> p.offset & 1))
            return;
        set_marks(&p.node->marks[mark], p.node->marks[mark] & ~((u64)1 << p.offset));
        if (p.node->marks[mark])
            return;
        p = (struct place){p.node->parent, p.node->offset};
    }
    WRITE_ONCE(xa->marks, xa->marks & ~(1u << mark));
}

static void clear_all_marks(struct xarray *xa, struct place p)
{
    xa_mark_t m;

    for (m = 0; m < XA_MAX_MARKS; m++)
        mark_clear(xa, p, m);
}

/* A root with slot 0 only is one level too many. */
static void shrink(struct cpu *cpu, struct xarray *xa)
{
    struct xa_node *root;

    while (is_node(xa->head)) {
        root = to_node(xa->head);
        if (root->count != 1 || !root->slots[0])
            return;
        if (is_node(root->slots[0]))
            to_node(root->slots[0])->parent = NULL;
        set_head(xa, root->slots[0]);
        node_free(cpu, xa, root);
    }
}

/* n lost a slot: free it and its ancestors as far as they are empty. */
static void free_empty(struct cpu *cpu, struct xarray *xa, struct xa_node *n)
{
    struct xa_node *parent;

    while (n && !n->count) {
        parent = n->parent;
        if (parent) {
            set_slot(&parent->slots[n->offset], NULL);
            parent->count--;
        } else {
            set_head(xa, NULL);
        }
        node_free(cpu, xa, n);
        n = parent;
    }
    shrink(cpu, xa);
}

/* The only place that changes an entry. */
static void *replace(struct xarray *xa, struct place p, void *entry)
{
    void *old;

    if (!p.node) {
        old = xa->head;
        set_head(xa, entry);
        return old;
    }
    old = p.node->slots[p.offset];
    p.node->count = (u8)(p.node->count + (entry != NULL) - (old != NULL));
    p.node->nr_values = (u8)(p.node->nr_values + xa_is_value(entry) - xa_is_value(old));
    set_slot(&p.node->slots[p.offset], entry);
    return old;
}

static void *store_with(struct xarray *xa, u64 index, void *entry, struct node_pool *pool)
{
    return replace(xa, make_place(xa, index, pool), entry);
}

/* -- the interface ------------------------------------------------------------------------------------------------- */

void *__xa_erase(struct cpu *cpu, struct xarray *xa, u64 index)
{
    struct place p;
    void *old;

    if (!find_place(xa, index, &p))
        return NULL;
    clear_all_marks(xa, p);
    old = replace(xa, p, NULL);
    free_empty(cpu, xa, p.node);
    return old;
}

void *__xa_store(struct cpu *cpu, struct xarray *xa, u64 index, void *entry, u32 gfp)
{
    struct node_pool pool = {NULL, 0};
    void *old;

    if (!entry)
        return __xa_erase(cpu, xa, index);
    DEBUG_ASSERT(((uintptr_t)entry & 3) != 2 && !IS_ERR(entry));
    if (unlikely(pool_fill(cpu, &pool, nodes_needed(xa, index), gfp))) {
        pool_release(cpu, &pool);
        return ERR_PTR(-ENOMEM);
    }
    old = store_with(xa, index, entry, &pool);
    DEBUG_ASSERT(pool.nr == 0);
    return old;
}

void *__xa_cmpxchg(struct cpu *cpu, struct xarray *xa, u64 index, void *old, void *entry, u32 gfp)
{
    void *found = xa_load(xa, index);

    return found == old ? __xa_store(cpu, xa, index, entry, gfp) : found;
}

int __xa_insert(struct cpu *cpu, struct xarray *xa, u64 index, void *entry, u32 gfp)
{
    void *found = __xa_cmpxchg(cpu, xa, index, NULL, entry, gfp);

    return IS_ERR(found) ? PTR_ERR(found) : found ? -EBUSY : 0;
}

/* Whether a store has a condition: the entry that must be there. */
enum store_if { STORE_ALWAYS, STORE_IF_OLD };

/* Nodes are allocated while the lock is dropped; another writer may change the need meanwhile, hence the loop. */
static void *store_unlocked(struct cpu *cpu, struct xarray *xa, u64 index, void *const change[2],
                            enum store_if store_if, u32 gfp) NO_LOCK_ANALYSIS
{
    struct node_pool pool = {NULL, 0};
    void *found;
    unsigned int need;

    for (;;) {
        xa_lock(cpu, xa);
        found = xa_load(xa, index);
        if (store_if == STORE_IF_OLD && found != change[0])
            break;
        if (!change[1]) {
            __xa_erase(cpu, xa, index);
            break;
        }
        need = nodes_needed(xa, index);
        if (pool.nr >= need) {
            store_with(xa, index, change[1], &pool);
            break;
        }
        xa_unlock(cpu, xa);
        if (pool_fill(cpu, &pool, need, gfp)) {
            pool_release(cpu, &pool);
            return ERR_PTR(-ENOMEM);
        }
    }
    xa_unlock(cpu, xa);
    pool_release(cpu, &pool);
    return found;
}

void *xa_store(struct cpu *cpu, struct xarray *xa, u64 index, void *entry, u32 gfp)
{
    DEBUG_ASSERT(((uintptr_t)entry & 3) != 2 && !IS_ERR(entry));
    return store_unlocked(cpu, xa, index, (void *const[]){NULL, entry}, STORE_ALWAYS, gfp);
}

void *xa_cmpxchg(struct cpu *cpu, struct xarray *xa, u64 index, void *old, void *entry, u32 gfp)
{
    return store_unlocked(cpu, xa, index, (void *const[]){old, entry}, STORE_IF_OLD, gfp);
}

int xa_insert(struct cpu *cpu, struct xarray *xa, u64 index, void *entry, u32 gfp)
{
    void *found = xa_cmpxchg(cpu, xa, index, NULL, entry, gfp);

    return IS_ERR(found) ? PTR_ERR(found) : found ? -EBUSY : 0;
}

void *xa_erase(struct cpu *cpu, struct xarray *xa, u64 index)
{
    void *old;

    xa_lock(cpu, xa);
    old = __xa_erase(cpu, xa, index);
    xa_unlock(cpu, xa);
    return old;
}

void __xa_set_mark(struct xarray *xa, u64 index, xa_mark_t mark)
{
    struct place p;

    if (find_place(xa, index, &p))
        mark_set(xa, p, mark);
}

void __xa_clear_mark(struct xarray *xa, u64 index, xa_mark_t mark)
{
    struct place p;

    if (find_place(xa, index, &p))
        mark_clear(xa, p, mark);
}

void __xa_init_marks(struct xarray *xa, u64 index)
{
    struct place p;

    if (find_place(xa, index, &p))
        clear_all_marks(xa, p);
}

void xa_set_mark(struct cpu *cpu, struct xarray *xa, u64 index, xa_mark_t mark)
{
    xa_lock(cpu, xa);
    __xa_set_mark(xa, index, mark);
    xa_unlock(cpu, xa);
}

void xa_clear_mark(struct cpu *cpu, struct xarray *xa, u64 index, xa_mark_t mark)
{
    xa_lock(cpu, xa);
    __xa_clear_mark(xa, index, mark);
    xa_unlock(cpu, xa);
}

/* The node to free first below n. */
static struct xa_node *deepest(struct xa_node *n)
{
    unsigned int i = 0;

    while (i < XA_CHUNK_SIZE) {
        if (is_node(n->slots[i])) {
            n = to_node(n->slots[i]);
            i = 0;
        } else {
            i++;
        }
    }
    return n;
}

static void set_owner(void *entry, struct xarray *xa)
{
    if (!is_node(entry))
        return;
    to_node(entry)->array = xa;
    for (unsigned int i = 0; i < XA_CHUNK_SIZE; i++)
        set_owner(to_node(entry)->slots[i], xa);
}

void xa_exchange(struct cpu *cpu, struct xarray *xa, struct xarray *from)
{
    void *head;
    u32 marks;

    xa_lock(cpu, xa);
    head = xa->head;
    marks = xa->marks;
    set_head(xa, from->head);
    WRITE_ONCE(xa->marks, from->marks);
    from->head = head;
    from->marks = marks;
    set_owner(xa->head, xa);
    set_owner(head, from);
    atomic_fetch_add(&xa->seq, 1); /* readers that are inside the nodes that `from` has now */
    xa_unlock(cpu, xa);
}

void xa_destroy(struct cpu *cpu, struct xarray *xa)
{
    struct xa_node *n, *parent;

    xa_lock(cpu, xa);
    n = is_node(xa->head) ? deepest(to_node(xa->head)) : NULL;
    set_head(xa, NULL);
    WRITE_ONCE(xa->marks, 0);
    while (n) {
        parent = n->parent;
        if (parent)
            set_slot(&parent->slots[n->offset], NULL);
        node_free(cpu, xa, n);
        n = parent ? deepest(parent) : NULL;
    }
    xa_unlock(cpu, xa);
}

/* -- checker ------------------------------------------------------------------------------------------------------- */

static bool any_marked(const struct xarray *xa, const void *entry, xa_mark_t mark)
{
    return is_node(entry) ? to_node(entry)->marks[mark] != 0 : xa_marked(xa, mark);
}

static void check_slot_marks(const struct xa_node *n, unsigned int i, struct check_report *r)
{
    const void *entry = n->slots[i];
    xa_mark_t m;

    for (m = 0; m < XA_MAX_MARKS; m++) {
        bool marked = n->marks[m] >> i & 1;

        if (marked && !entry)
            check_fail(r, "xarray (3): mark %u at the empty slot %u, shift %u", m, i, n->shift);
        if (is_node(entry) && marked != (to_node(entry)->marks[m] != 0))
            check_fail(r, "xarray (3): mark %u of slot %u, shift %u is %d, the child says %d", m, i, n->shift, marked,
                       to_node(entry)->marks[m] != 0);
    }
}

static void check_node(const struct xarray *xa, const struct xa_node *n, struct check_report *r)
{
    unsigned int i, count = 0, values = 0;

    for (i = 0; i < XA_CHUNK_SIZE; i++) {
        const void *entry = n->slots[i];
        const struct xa_node *child = to_node(entry);

        count += entry != NULL;
        values += xa_is_value(entry);
        check_slot_marks(n, i, r);
        if (!entry || is_node(entry) != (n->shift != 0)) {
            if (entry)
                check_fail(r, "xarray (2): slot %u of a node with shift %u holds %p", i, n->shift, entry);
            continue;
        }
        if (n->shift && (child->parent != n || child->offset != i || child->shift + XA_CHUNK_SHIFT != n->shift))
            check_fail(r, "xarray (2): child %u of shift %u has offset %u, shift %u, parent %p not %p", i, n->shift,
                       child->offset, child->shift, (void *)child->parent, (const void *)n);
    }
    if (n->count != count || !count)
        check_fail(r, "xarray (1): count is %u, recount gives %u", n->count, count);
    if (n->nr_values != values)
        check_fail(r, "xarray (1): nr_values is %u, recount gives %u", n->nr_values, values);
    if (n->array != xa)
        check_fail(r, "xarray (2): node of array %p, found in %p", (void *)n->array, (const void *)xa);
}

static void check_below(const struct xarray *xa, const struct xa_node *root, struct check_report *r)
{
    const struct xa_node *n = root;
    unsigned int i = 0;

    check_node(xa, n, r);
    for (;;) { /* i: the next slot of n to enter */
        while (i < XA_CHUNK_SIZE && !is_node(n->slots[i]))
            i++;
        if (i < XA_CHUNK_SIZE) {
            n = to_node(n->slots[i]);
            check_node(xa, n, r);
            i = 0;
        } else if (n == root) {
            return;
        } else {
            i = n->offset + 1u;
            n = n->parent;
        }
    }
}

void xa_check(const struct xarray *xa, struct check_report *r)
{
    const void *head = xa->head;
    xa_mark_t m;

    for (m = 0; m < XA_MAX_MARKS; m++) {
        bool below = head && any_marked(xa, head, m);

        if (xa_marked(xa, m) != below)
            check_fail(r, "xarray (3): mark %u of the array is %d, the root says %d", m, xa_marked(xa, m), below);
    }
    if (!is_node(head))
        return;
    if (to_node(head)->parent)
        check_fail(r, "xarray (2): the root has parent %p", (void *)to_node(head)->parent);
    if (to_node(head)->count == 1 && to_node(head)->slots[0])
        check_fail(r, "xarray (4): root of shift %u has slot 0 only", to_node(head)->shift);
    check_below(xa, to_node(head), r);
}
