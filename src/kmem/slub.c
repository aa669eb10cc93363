/* SPDX-License-Identifier: MIT */
/*
 * SLUB: allocating and freeing objects.
 *
 * Terms
 *   object      what a user gets;
 *   slab:       2^order pages cut into objects of one cache;
 *   free list:  free objects linked through a word in each (at s->offset);
 *   link:       a slab's own list starts at an object index in its word (struct page: slab_word).
 *
 *            struct kmem_cache
 *      CPU 0 ┌──────────────┐ freelist ─▶ o─▶o─▶o          (c->slab: only this CPU allocates here)
 *            │ cpu_slab[0]  │ slab ─────▶ [word: free ─▶ o─▶o   what other CPUs freed meanwhile]
 *            │              │ partial ──▶ slab ─▶ slab ─▶ slab  (frozen, in waiting)
 *      CPU 1 ├──────────────┤
 *            │ …            │
 *     node 0 └─ node[0] ─▶ list_lock, partial: slab ⇄ slab ⇄ slab
 *
 * States of a slab (caches without debug flags)
 *
 *              new ─▶ CPU ◀──────────── CPU PARTIAL ◀── free of an object of a full slab
 *                     │ ▲ refill            │ ▲                      ▲
 *            all used │ │                   │ │ taken several        │
 *                     ▼ │        list full  ▼ │                      │
 *                    FULL ──── … ────▶ NODE PARTIAL ─▶ (empty, enough of them) freed
 *
 *   state         frozen  word.free   on
 *   CPU           1       any         one c->slab; its objects in c->freelist count as in use in the word
 *   CPU PARTIAL   1       not 0       one c->partial chain
 *   NODE PARTIAL  0       not 0       its node's partial list
 *   FULL          0       0           nothing
 *
 *   new          → CPU           [take_new_slab]
 *   NODE PARTIAL → CPU           [take_node_partial]      under list_lock
 *   NODE PARTIAL → CPU PARTIAL   [take_node_partial]      under list_lock: the next ones, so that the lock is not
 *                                                         needed soon again
 *   CPU PARTIAL  → CPU           [take_cpu_partial]
 *   CPU          → FULL          [refill_own]             nobody freed anything meanwhile
 *   CPU          → any           [deactivate_slab]        flush, wrong node; under list_lock
 *   CPU PARTIAL  → NODE PARTIAL  [unfreeze_partials]      chain full or flush; under list_lock
 *   FULL         → CPU PARTIAL   [free_to_slab]           the freeing CPU keeps it
 *   FULL         → NODE PARTIAL  [free_to_slab]           caches without CPU partial lists; under list_lock
 *   NODE PARTIAL → freed         [free_to_slab, unfreeze_partials, deactivate_slab, shrink]  under list_lock
 *
 * Locks
 *   The fast paths (slab.h) touch only the CPU's own line: its owner alone does, so neither lock nor atomic is needed.
 *   A slab's word changes by compare-and-swap only. Every change that puts a slab on a node's list or takes it off is
 *   made with list_lock held: so "not frozen and free != 0" means "on the partial list" for whoever holds the lock. An
 *   ABA change of the word does no harm: frees only push, and a taker takes the whole list.
 *
 * Invariants (kmem_check recomputes them)
 *   S1  a slab's lists are acyclic, in bounds, and hold each free object once
 *   S2  word.inuse + objects in the word's list = word.objects
 *   S3  a slab is in exactly the place that its state says
 *   S4  node counters equal what is found: nr_partial, nr_slabs, total_objects
 *   S5  NR_SLAB_RECLAIMABLE + NR_SLAB_UNRECLAIMABLE = pages of all slabs
 *
 * Rejected
 *   A (pointer, counters) pair under a 16-byte compare-and-swap: not lock-free in C11 on every host, unseen by thread
 *   checkers, and an index of 16 bits says the same as the pointer.
 *   A lock per slab: the remote free would pay two atomics.
 *   Per-CPU transaction ids: a CPU is owned, nothing interrupts or migrates its owner.
 *
 * Follows Documentation/mm/slab.rst (orders, debugging) and the SLUB counters under /sys/kernel/slab
 * (Documentation/ABI).
 */
#include "kmem/slub_priv.h"

/* -- slabs --------------------------------------------------------------------------------------------------------- */

static enum node_stat_item cache_vmstat(const struct kmem_cache *s)
{
    return s->flags & SLAB_RECLAIM_ACCOUNT ? NR_SLAB_RECLAIMABLE : NR_SLAB_UNRECLAIMABLE;
}

static struct page *slab_pages(struct cpu *cpu, gfp_t gfp, int nid, unsigned int order)
{
    struct fail_inject *f = &cpu->m->fail;
    u64 armed = unlikely(f->not_slabs) ? atomic_exchange(&f->countdown, 0) : 0;
    struct page *page = nid == SLAB_ANY_NODE ? alloc_pages(cpu, gfp, order) : alloc_pages_node(cpu, nid, gfp, order);

    if (armed)
        atomic_store(&f->countdown, armed);
    return page;
}

/* The preferred order at no great effort, else the least order by all means that the caller allows. */
static struct page *slab_pages_fallback(struct cpu *cpu, struct kmem_cache *s, gfp_t gfp, int nid)
{
    gfp_t flags = (gfp & ~(GFP_ZONEMASK | __GFP_ZERO | __GFP_ACCOUNT | __GFP_RECLAIMABLE)) | s->allocflags;
    gfp_t easy = (flags | __GFP_NOWARN | __GFP_NORETRY) & ~__GFP_NOFAIL;
    struct page *page;

    if (s->order > s->min_order)
        easy = (easy | __GFP_NOMEMALLOC) & ~__GFP_DIRECT_RECLAIM;
    page = slab_pages(cpu, easy, nid, s->order);
    return page ? page : slab_pages(cpu, flags, nid, s->min_order);
}

static void setup_objects(struct cpu *cpu, struct kmem_cache *s, struct page *slab, u32 objects)
{
    void (*ctor)(void *) = s->ctor ? cpu->code->slab_ctor[s->ctor] : NULL;
    char *p = slab_base(cpu->m, s, slab);

    if (kmem_cache_debug(s))
        debug_setup_slab(cpu->m, s, slab, objects);
    for (u32 i = 0; i < objects; i++, p += s->size) {
        if (ctor)
            ctor(p);
        *slab_freeptr(s, p) = i + 1 < objects ? p + s->size : NULL;
    }
}

/* A slab with all objects free, in no place yet. */
struct page *allocate_slab(struct cpu *cpu, struct kmem_cache *s, gfp_t gfp, int nid)
{
    struct page *slab = slab_pages_fallback(cpu, s, gfp, nid);
    struct kmem_cache_node *n;
    unsigned int order;
    slab_word_t w = {.free = 1};

    if (!slab)
        return NULL;
    order = folio_order((struct folio *)slab);
    w.objects = order == s->order ? s->objects : s->min_objects;
    slab->slab_cache = s;
    atomic_store_explicit(&slab->page_type, (u32)PGTY_slab, memory_order_relaxed);
    setup_objects(cpu, s, slab, w.objects);
    atomic_store_explicit(&slab->slab_word, w.value, memory_order_release);
    n = slab_node(s, slab);
    if (n) { /* NULL: the first slab of the cache of nodes */
        atomic_fetch_add_explicit(&n->nr_slabs, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&n->total_objects, w.objects, memory_order_relaxed);
    }
    mod_page_state(cpu, slab, cache_vmstat(s), (s64)1 << order);
    return slab;
}

/* Free an empty slab that is in no place any more. */
void discard_slab(struct cpu *cpu, struct kmem_cache *s, struct page *slab)
{
    struct kmem_cache_node *n = slab_node(s, slab);
    slab_word_t w = slab_word_read(slab);
    unsigned int order = folio_order((struct folio *)slab);

    ASSERT(w.inuse == 0);
    if (kmem_cache_debug(s))
        debug_validate_slab(cpu, s, slab);
    atomic_fetch_sub_explicit(&n->nr_slabs, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&n->total_objects, w.objects, memory_order_relaxed);
    mod_page_state(cpu, slab, cache_vmstat(s), -((s64)1 << order));
    atomic_store_explicit(&slab->page_type, ~0u, memory_order_relaxed);
    slab->slab_cache = NULL;
    slab->mapping = NULL;
    atomic_store_explicit(&slab->slab_word, 0, memory_order_relaxed);
    __free_pages(cpu, slab, order);
}

/* -- leaving a CPU ------------------------------------------------------------------------------------------------- */

static void clear_cpu_slab(struct kmem_cache_cpu *c)
{
    c->freelist = NULL;
    c->slab = NULL;
    c->base = 0;
    c->bytes = 0;
}

/*
 * Unfreeze `slab`, giving back the `nr` objects from `head` to `tail` (or none). It goes where it then belongs.
 * On entry: frozen, the caller's. May free it.
 */
static void unfreeze_slab(struct cpu *cpu, struct kmem_cache *s, struct page *slab, void *head, void *tail, u32 nr)
{
    struct kmem_cache_node *n = slab_node(s, slab);
    slab_word_t old = slab_word_read(slab), new;
    bool discard;

    spin_lock(cpu, &n->list_lock);
    do {
        new = old;
        new.frozen = 0;
        new.inuse = (u16)(old.inuse - nr);
        if (head) {
            new.free = slab_object_link(cpu->m, s, slab, head);
            *slab_freeptr(s, tail) = slab_link_object(cpu->m, s, slab, old.free);
        }
    } while (!slab_word_cmpxchg(slab, &old, new));
    discard = !new.inuse &&nr_partial(n) >= s->min_partial;
    if (!discard && new.free)
        add_partial(n, slab);
    spin_unlock(cpu, &n->list_lock);
    if (discard)
        discard_slab(cpu, s, slab);
}

/* The CPU gives its slab up, with all that is left of its free list. */
static void deactivate_slab(struct cpu *cpu, struct kmem_cache *s, struct kmem_cache_cpu *c)
{
    struct page *slab = c->slab;
    void *head = c->freelist, *tail = NULL;
    u32 nr = 0;

    for (void *p = head; p; p = *slab_freeptr(s, p)) {
        tail = p;
        nr++;
    }
    clear_cpu_slab(c);
    unfreeze_slab(cpu, s, slab, head, tail, nr);
}

static void unfreeze_partials(struct cpu *cpu, struct kmem_cache *s, struct page *chain)
{
    while (chain) {
        struct page *slab = chain;

        chain = slab->slab_next;
        unfreeze_slab(cpu, s, slab, NULL, NULL, 0);
    }
}

static void put_cpu_partial(struct cpu *cpu, struct kmem_cache *s, struct page *slab)
{
    struct kmem_cache_cpu *c = this_cpu_slab(cpu, s);
    struct page *chain = c->partial, *too_many = NULL;

    if (chain && chain->slab_nr >= s->cpu_partial_slabs) {
        too_many = chain;
        chain = NULL;
    }
    slab->slab_next = chain;
    slab->slab_nr = chain ? chain->slab_nr + 1 : 1;
    c->partial = slab;
    unfreeze_partials(cpu, s, too_many);
}

/* Everything that CPU `target` holds of `s` goes back to the nodes.
 * The caller owns that CPU, or is alone with the cache. */
void flush_cache_cpu(struct cpu *cpu, struct kmem_cache *s, u32 target)
{
    struct kmem_cache_cpu *c = &s->cpu_slab[target];
    struct page *chain = c->partial;

    if (c->slab)
        deactivate_slab(cpu, s, c);
    c->partial = NULL;
    unfreeze_partials(cpu, s, chain);
}

/* -- allocating ---------------------------------------------------------------------------------------------------- */

static void set_cpu_slab(struct cpu *cpu, struct kmem_cache *s, struct page *slab, void *freelist)
{
    struct kmem_cache_cpu *c = this_cpu_slab(cpu, s);

    c->slab = slab;
    c->freelist = freelist;
    c->base = (uintptr_t)page_address(cpu->m, slab);
    c->bytes = PAGE_SIZE << folio_order((struct folio *)slab);
}

/* Freeze the slab (if it is not) and take its whole free list. Nodes' slabs: list_lock held. */
static void *take_freelist(struct cpu *cpu, struct kmem_cache *s, struct page *slab)
{
    slab_word_t old = slab_word_read(slab), new;

    do {
        new = old;
        new.free = 0;
        new.inuse = old.objects;
        new.frozen = 1;
    } while (!slab_word_cmpxchg(slab, &old, new));
    return slab_link_object(cpu->m, s, slab, old.free);
}

/* CPU → CPU with what others freed, or CPU → FULL. */
static bool refill_own(struct cpu *cpu, struct kmem_cache *s, struct kmem_cache_cpu *c)
{
    slab_word_t old, new;

    if (!c->slab)
        return false;
    old = slab_word_read(c->slab);
    do {
        new = old;
        new.free = 0;
        new.inuse = old.objects;
        new.frozen = old.free != 0;
    } while (!slab_word_cmpxchg(c->slab, &old, new));
    if (!old.free) {
        clear_cpu_slab(c);
        return false;
    }
    c->freelist = slab_link_object(cpu->m, s, c->slab, old.free);
    c->stat[ALLOC_REFILL]++;
    return true;
}

static bool node_match(const struct page *slab, int nid)
{
    return nid == SLAB_ANY_NODE || page_to_nid(slab) == nid;
}

static bool take_cpu_partial(struct cpu *cpu, struct kmem_cache *s, struct kmem_cache_cpu *c, int nid)
{
    struct page *slab;

    while ((slab = c->partial)) {
        c->partial = slab->slab_next;
        if (!node_match(slab, nid)) {
            unfreeze_slab(cpu, s, slab, NULL, NULL, 0);
            continue;
        }
        set_cpu_slab(cpu, s, slab, take_freelist(cpu, s, slab));
        c->stat[CPU_PARTIAL_ALLOC]++;
        return true;
    }
    return false;
}

static void freeze_slab(struct page *slab)
{
    slab_word_t old = slab_word_read(slab), new;

    do {
        new = old;
        new.frozen = 1;
    } while (!slab_word_cmpxchg(slab, &old, new));
}

/* One slab to allocate from, and some more for the CPU's partial list, half full at most. */
static bool take_partial_of(struct cpu *cpu, struct kmem_cache *s, struct kmem_cache_node *n)
{
    struct page *slab, *next, *extra = NULL;
    u32 nr = 0;

    if (!nr_partial(n))
        return false;
    spin_lock(cpu, &n->list_lock);
    list_for_each_entry_safe (slab, next, &n->partial, slab_list) {
        if (nr && nr > s->cpu_partial_slabs / 2)
            break;
        remove_partial(n, slab);
        if (!nr++) {
            set_cpu_slab(cpu, s, slab, take_freelist(cpu, s, slab));
        } else {
            freeze_slab(slab);
            slab->slab_next = extra;
            extra = slab;
        }
        if (!s->cpu_partial_slabs)
            break;
    }
    spin_unlock(cpu, &n->list_lock);
    while ((slab = extra)) {
        extra = slab->slab_next;
        put_cpu_partial(cpu, s, slab);
    }
    return nr > 0;
}

/* The wanted node first; any other, nearest first, if its list is longer than it keeps anyway. */
static bool take_node_partial(struct cpu *cpu, struct kmem_cache *s, gfp_t gfp, int nid)
{
    const struct kmem *k = cpu->m->kmem;
    u32 home = (u32)(nid == SLAB_ANY_NODE ? cpu->node : nid);
    bool found = take_partial_of(cpu, s, s->node[home]);

    for (u32 i = 0; !found && nid == SLAB_ANY_NODE && !(gfp & __GFP_THISNODE) && i + 1 < k->nr_nodes; i++) {
        struct kmem_cache_node *n = s->node[k->node_order[home][i]];

        found = nr_partial(n) > s->min_partial && take_partial_of(cpu, s, n);
    }
    if (!found)
        return false;
    charge(cpu, COST_ALLOC_SLOW);
    this_cpu_slab(cpu, s)->stat[ALLOC_FROM_PARTIAL]++;
    return true;
}

static bool take_new_slab(struct cpu *cpu, struct kmem_cache *s, gfp_t gfp, int nid)
{
    struct page *slab = allocate_slab(cpu, s, gfp, nid);

    if (!slab)
        return false;
    set_cpu_slab(cpu, s, slab, take_freelist(cpu, s, slab));
    this_cpu_slab(cpu, s)->stat[ALLOC_SLAB]++;
    return true;
}

static __noinline bool refill_cpu_slab(struct cpu *cpu, struct kmem_cache *s, gfp_t gfp, int nid)
{
    struct kmem_cache_cpu *c = this_cpu_slab(cpu, s);

    if (c->slab && !node_match(c->slab, nid))
        deactivate_slab(cpu, s, c);
    return c->freelist || refill_own(cpu, s, c) || take_cpu_partial(cpu, s, c, nid) ||
           take_node_partial(cpu, s, gfp, nid) || take_new_slab(cpu, s, gfp, nid);
}

/* One object of any cache, not cleared, without the injection's question. */
static inline void *slab_alloc(struct cpu *cpu, struct kmem_cache *s, gfp_t gfp, int nid, u64 addr)
{
    struct kmem_cache_cpu *c = this_cpu_slab(cpu, s);
    void *object;

    if (kmem_cache_debug(s))
        return debug_alloc(cpu, s, gfp, nid, addr);
    if ((!c->freelist || !node_match(c->slab, nid)) && !refill_cpu_slab(cpu, s, gfp, nid))
        return NULL;
    object = c->freelist;
    c->freelist = *slab_freeptr(s, object);
    return object;
}

void *slab_alloc_caller(struct cpu *cpu, struct kmem_cache *s, gfp_t gfp, int nid, u64 addr)
{
    void *object;

    if (should_fail(cpu->m))
        return NULL;
    object = slab_alloc(cpu, s, gfp, nid, addr);
    if (gfp & __GFP_ZERO && object)
        memset(object, 0, s->object_size);
    return object;
}

__noinline void *__kmem_cache_alloc(struct cpu *cpu, struct kmem_cache *s, gfp_t gfp)
{
    return slab_alloc_caller(cpu, s, gfp, SLAB_ANY_NODE, (u64)(uintptr_t)__builtin_return_address(0));
}

__noinline void *kmem_cache_alloc_node(struct cpu *cpu, struct kmem_cache *s, gfp_t gfp, int nid)
{
    ASSERT(nid == SLAB_ANY_NODE || (u32)nid < cpu->m->kmem->nr_nodes);
    return slab_alloc_caller(cpu, s, gfp, nid, (u64)(uintptr_t)__builtin_return_address(0));
}

__noinline int kmem_cache_alloc_bulk(struct cpu *cpu, struct kmem_cache *s, gfp_t gfp, u32 nr, void **objects)
{
    u64 addr = (u64)(uintptr_t)__builtin_return_address(0);

    if (should_fail(cpu->m))
        return 0;
    for (u32 i = 0; i < nr; i++) {
        objects[i] = slab_alloc(cpu, s, gfp, SLAB_ANY_NODE, addr);
        if (!objects[i]) {
            kmem_cache_free_bulk(cpu, s, i, objects);
            return 0;
        }
    }
    for (u32 i = 0; gfp & __GFP_ZERO && i < nr; i++)
        memset(objects[i], 0, s->object_size);
    return (int)nr;
}

/* -- freeing ------------------------------------------------------------------------------------------------------- */

/* The word has changed under list_lock (held, released here): file the slab where it now belongs. */
static void file_freed_slab(struct cpu *cpu, struct kmem_cache *s, struct page *slab, slab_word_t old,
                            slab_word_t new) NO_LOCK_ANALYSIS
{
    struct kmem_cache_node *n = slab_node(s, slab);
    bool discard = !new.inuse &&nr_partial(n) >= s->min_partial;

    if (discard && old.free)
        remove_partial(n, slab);
    else if (!discard && !old.free)
        add_partial(n, slab);
    spin_unlock(cpu, &n->list_lock);
    if (discard)
        discard_slab(cpu, s, slab);
}

/* Push the `nr` objects from head to tail, all of `slab`, which is not this CPU's slab. */
static void free_to_slab(struct cpu *cpu, struct kmem_cache *s, struct page *slab, void *head, void *tail,
                         u32 nr) NO_LOCK_ANALYSIS
{
    struct kmem_cache_node *n = slab_node(s, slab);
    slab_word_t old = slab_word_read(slab), new;
    bool locked = false;

    this_cpu_slab(cpu, s)->stat[FREE_SLOWPATH]++;
    do {
        if (locked)
            spin_unlock(cpu, &n->list_lock);
        *slab_freeptr(s, tail) = slab_link_object(cpu->m, s, slab, old.free);
        new = old;
        new.free = slab_object_link(cpu->m, s, slab, head);
        new.inuse = (u16)(old.inuse - nr);
        locked = false;
        if (old.frozen || (new.inuse &&old.free))
            continue; /* stays where it is */
        if (!old.free && s->cpu_partial_slabs) {
            new.frozen = 1;
            continue;
        }
        spin_lock(cpu, &n->list_lock);
        locked = true;
    } while (!slab_word_cmpxchg(slab, &old, new));

    if (locked) {
        file_freed_slab(cpu, s, slab, old, new);
    } else if (new.frozen && !old.frozen) {
        put_cpu_partial(cpu, s, slab);
        this_cpu_slab(cpu, s)->stat[CPU_PARTIAL_FREE]++;
    }
}

/* The slab of an object that is freed to `s`; NULL: it is not of this cache, and that is reported. */
static struct page *checked_slab(struct cpu *cpu, struct kmem_cache *s, void *object)
{
    struct page *slab = virt_to_slab(cpu->m, object);

    if (likely(PageSlab(slab) && slab->slab_cache == s))
        return slab;
    slab_bug(cpu, s, object, PageSlab(slab) ? "freed to the wrong cache" : "not in a slab");
    return NULL;
}

void slab_free_caller(struct cpu *cpu, struct kmem_cache *s, void *object, u64 addr)
{
    struct page *slab = checked_slab(cpu, s, object);

    if (unlikely(!slab))
        return;
    if (kmem_cache_debug(s))
        debug_free(cpu, s, slab, object, addr);
    else
        free_to_slab(cpu, s, slab, object, object, 1);
}

__noinline void __kmem_cache_free(struct cpu *cpu, struct kmem_cache *s, void *object)
{
    slab_free_caller(cpu, s, object, (u64)(uintptr_t)__builtin_return_address(0));
}

/* Neighbours in the array that are of one slab go there together. */
__noinline void kmem_cache_free_bulk(struct cpu *cpu, struct kmem_cache *s, u32 nr, void **objects)
{
    u64 addr = (u64)(uintptr_t)__builtin_return_address(0);
    const struct kmem_cache_cpu *c = this_cpu_slab(cpu, s);

    while (nr) {
        void *head = objects[--nr], *tail = head;
        struct page *slab;
        u32 cnt = 1;

        if ((uintptr_t)head - c->base < c->bytes) {
            kmem_cache_free(cpu, s, head);
            continue;
        }
        slab = checked_slab(cpu, s, head);
        if (unlikely(!slab))
            continue;
        if (kmem_cache_debug(s)) {
            debug_free(cpu, s, slab, head, addr);
            continue;
        }
        for (; nr && virt_to_slab(cpu->m, objects[nr - 1]) == slab; cnt++) {
            *slab_freeptr(s, objects[nr - 1]) = head;
            head = objects[--nr];
        }
        free_to_slab(cpu, s, slab, head, tail, cnt);
    }
}
