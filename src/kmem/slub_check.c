/* SPDX-License-Identifier: MIT */
/*
 * The books of the slab allocator: kmem_check() finds every slab through the memmap, walks its list, and compares with
 * what the caches, nodes and CPUs say (invariants S1..S5 of slub.c). Machine quiet: no lock is taken.
 */
#include "base/format.h"
#include "kmem/slub_priv.h"
#include "phys/phys.h"

static const char *link_fault(struct machine *m, const struct kmem_cache *s, struct page *slab, const void *p,
                              const struct free_walk *walk)
{
    u64 off = (u64)((const char *)p - slab_base(m, s, slab));

    if (off >= (u64)slab_word_read(slab).objects * s->size)
        return "free list leaves the slab";
    if (off % s->size)
        return "free list points into an object";
    if (free_walk_has(walk, slab_object_link(m, s, slab, p)))
        return "free list holds an object twice";
    return NULL;
}

void walk_freelist(struct machine *m, const struct kmem_cache *s, struct page *slab, void *head, struct free_walk *walk)
{
    const void *from = slab_base(m, s, slab);
    u16 link;

    for (void *p = head; p && !walk->what; p = *slab_freeptr(s, p)) {
        walk->what = link_fault(m, s, slab, p, walk);
        if (walk->what) {
            walk->bad = from;
            return;
        }
        link = slab_object_link(m, s, slab, p);
        walk->map[(link - 1u) / 64] |= 1ul << ((link - 1u) % 64);
        walk->nr++;
        from = p;
    }
}

/* S1, S2 of one slab; its own list and, if a CPU holds it, that CPU's. Returns objects in the word's list. */
static u32 check_slab_lists(struct machine *m, struct kmem_cache *s, struct page *slab, void *cpu_list,
                            struct check_report *r)
{
    struct free_walk walk = {.nr = 0};
    slab_word_t w = slab_word_read(slab);
    u32 nr;

    if (w.free > w.objects) {
        check_fail(r, "S1 %s: word.free %u of a slab with %u objects", s->name, w.free, w.objects);
        return 0;
    }
    walk_freelist(m, s, slab, slab_link_object(m, s, slab, w.free), &walk);
    nr = walk.nr;
    walk_freelist(m, s, slab, cpu_list, &walk);
    if (walk.what)
        check_fail(r, "S1 %s: %s, at %p", s->name, walk.what, walk.bad);
    else
        CHECK_EQ(r, w.inuse, w.objects - nr, s->name);
    return nr;
}

struct memmap_scan {
    struct check_report *r;
    u64 large_pages; /* of large kmalloc() blocks */
};

static void check_found_page(struct machine *m, struct page *slab, u64 nr_frames, void *arg)
{
    struct memmap_scan *scan = arg;
    struct kmem_cache *s = slab->slab_cache;
    struct kmem_cache_node *n;
    slab_word_t w = slab_word_read(slab);

    if (page_has_type(slab, PGTY_large_kmalloc))
        scan->large_pages += nr_frames;
    if (!PageSlab(slab))
        return;
    n = slab_node(s, slab);
    n->found.slabs++;
    n->found.objects += w.objects;
    n->found.pages += nr_frames;
    n->found.frozen += w.frozen;
    n->found.partial += !w.frozen && w.free;
    n->found.full += !w.frozen && !w.free;
    check_slab_lists(m, s, slab, NULL, scan->r);
}

static void check_partial_list(struct machine *m, struct kmem_cache *s, u32 nid, struct check_report *r)
{
    struct kmem_cache_node *n = s->node[nid];
    struct page *slab;
    u64 partial = 0, full = 0;

    list_for_each_entry (slab, &n->partial, slab_list) {
        slab_word_t w = slab_word_read(slab);

        if (!PageSlab(slab) || slab->slab_cache != s || w.frozen || !w.free || (u32)page_to_nid(slab) != nid) {
            check_fail(r, "S3 %s: a page on the partial list of node %u does not belong there", s->name, nid);
            return;
        }
        partial++;
    }
    list_for_each_entry (slab, &n->full, slab_list)
        full++;
    CHECK_EQ(r, nr_partial(n), partial, s->name);
    CHECK_EQ(r, n->found.partial, partial, s->name);
    if (kmem_cache_debug(s))
        CHECK_EQ(r, n->found.full, full, s->name);
    CHECK_EQ(r, atomic_load(&n->nr_slabs), n->found.slabs, s->name);
    CHECK_EQ(r, atomic_load(&n->total_objects), n->found.objects, s->name);
}

/* S3 of one CPU's slabs; returns how many it holds. */
static u64 check_cpu_slabs(struct machine *m, struct kmem_cache *s, u32 id, struct check_report *r)
{
    const struct kmem_cache_cpu *c = &s->cpu_slab[id];
    u64 left = c->partial ? c->partial->slab_nr : 0, nr = 0;

    for (struct page *slab = c->partial; slab; slab = slab->slab_next, nr++) {
        slab_word_t w = slab_word_read(slab);

        if (!PageSlab(slab) || slab->slab_cache != s || !w.frozen || !w.free || slab->slab_nr != left - nr) {
            check_fail(r, "S3 %s: slab %llu of cpu %u's partial list does not belong there", s->name,
                       (unsigned long long)nr, id);
            return nr;
        }
    }
    CHECK_EQ(r, left, nr, s->name);
    if (!c->slab) {
        if (c->freelist || c->base || c->bytes)
            check_fail(r, "S3 %s: cpu %u has a free list and no slab", s->name, id);
        return nr;
    }
    if (!PageSlab(c->slab) || c->slab->slab_cache != s || !slab_word_read(c->slab).frozen) {
        check_fail(r, "S3 %s: cpu %u's slab is not a frozen slab of the cache", s->name, id);
        return nr + 1;
    }
    CHECK_EQ(r, c->base, (uintptr_t)page_address(m, c->slab), s->name);
    CHECK_EQ(r, c->bytes, PAGE_SIZE << folio_order((struct folio *)c->slab), s->name);
    check_slab_lists(m, s, c->slab, c->freelist, r);
    return nr + 1;
}

static u64 check_cache(struct machine *m, struct kmem_cache *s, struct check_report *r)
{
    u64 held = 0, frozen = 0, pages = 0;

    for (u32 id = 0; id < m->nr_cpus; id++)
        held += check_cpu_slabs(m, s, id, r);
    for (u32 nid = 0; nid < m->kmem->nr_nodes; nid++) {
        check_partial_list(m, s, nid, r);
        frozen += s->node[nid]->found.frozen;
        pages += s->node[nid]->found.pages;
    }
    CHECK_EQ(r, held, frozen, s->name);
    return pages;
}

void kmem_check(struct machine *m, struct check_report *r)
{
    struct kmem *k = m->kmem;
    struct kmem_cache *s;
    struct memmap_scan scan = {.r = r};
    u64 pages[2] = {0, 0}; /* unreclaimable, reclaimable */

    list_for_each_entry (s, &k->caches, list)
        for (u32 nid = 0; nid < k->nr_nodes; nid++)
            s->node[nid]->found = (struct slabs_found){0};
    phys_for_each_used_page(m, check_found_page, &scan);
    list_for_each_entry (s, &k->caches, list)
        pages[s->flags & SLAB_RECLAIM_ACCOUNT ? 1 : 0] += check_cache(m, s, r);
    CHECK_EQ(r, global_node_page_state(m, NR_SLAB_UNRECLAIMABLE), pages[0] + scan.large_pages, "S5");
    CHECK_EQ(r, global_node_page_state(m, NR_SLAB_RECLAIMABLE), pages[1], "S5");
}
