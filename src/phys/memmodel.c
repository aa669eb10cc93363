/* SPDX-License-Identifier: MIT */
/*
 * Memory models and the lazy memmap.
 *
 * Both models keep pfn_to_page(pfn) = m->memmap + pfn (Documentation/mm/memory-model.rst):
 *
 *   FLATMEM            one array for 0 .. max_pfn in RAM, holes included; m->memmap lies in the direct map
 *   SPARSEMEM_VMEMMAP  each node's sections (128 MiB) have their part of the array in the node's own RAM, and the parts
 *                      are shown side by side in the vmemmap window, where m->memmap lies:
 *
 *      window  [ s0 | s1 | s2 |......| s8 | s9 ]      each slot 2 MiB
 *                 \    |    /           \    |
 *      RAM      [node 0's memmap]     [node 1's memmap]
 *
 *   The second showing (port_region_alias) is the host's doing and holds for one process, so struct phys
 *   records the pieces and phys_attach() repeats them. A node's memmap is one allocation where possible, so
 *   there is one piece for a node.
 *
 * The lazy memmap. The unit is a block of MAX_ORDER_NR_PAGES pages (4 MiB; 64 KiB of memmap). A block is
 *
 *      untouched, all free ──[deferred_grow_zone]──► initialised
 *      untouched, reserved or hole ──[memmap_init_block]──► initialised
 *
 * Buddies never lie outside their MAX_ORDER block, so the buddy allocator looks at initialised entries only. An
 * untouched free block counts as a free block of order MAX_PAGE_ORDER and type MOVABLE at the tail of its list, in
 * ascending order: results are the same as if everything had been initialised at boot (free_area_first() is the only
 * place that knows). So a terabyte machine boots at once and costs the host what it uses: 64 bytes of memmap for
 * each page of a used block.
 *
 * Invariants (phys_check.c)
 *   M1  block_init[b] is set exactly for blocks whose memmap was written
 *   M2  deferred ranges are ascending, hold no initialised block, and nr_deferred_blocks is their sum
 *   M3  a free page of memblock's is in an initialised block or in a deferred range
 *
 * Locks: zone->lock once boot is over.
 * Alternatives rejected: initialising a page when its block is split down to it (less memory still, but then every
 * reader of a neighbour's entry has to ask); a thread that initialises in the background (the host's memory would be
 * used after all).
 */
#include "phys/phys_priv.h"

#define MEMMAP_BYTES(pages) ((u64)(pages) * sizeof(struct page))

/* -- the array ----------------------------------------------------------------------------------------------------- */

static int flatmem_init(struct machine *m)
{
    struct phys *p = m->phys;
    u64 bytes = ALIGN_UP(MEMMAP_BYTES(ALIGN_UP(p->max_pfn, MAX_ORDER_NR_PAGES)), PAGE_SIZE);
    u64 at = memblock_phys_alloc_nid(&p->memblock, bytes, PAGE_SIZE, 0, false);

    if (!at)
        return -ENOMEM;
    m->memmap = phys_to_virt(m, PHYS(at));
    return 0;
}

static int vmemmap_alias(struct machine *m, u64 section, u64 nr_sections, u64 phys_addr)
{
    struct phys *p = m->phys;
    struct vmemmap_alias a = {
        .dst = m->vmemmap + MEMMAP_BYTES(section << PFN_SECTION_SHIFT),
        .src = phys_to_virt(m, PHYS(phys_addr)),
        .len = MEMMAP_BYTES(nr_sections << PFN_SECTION_SHIFT),
    };

    if (p->nr_aliases == MAX_VMEMMAP_ALIASES)
        return -ENOMEM;
    p->aliases[p->nr_aliases++] = a;
    return port_region_alias(m->handle, m->region, a.dst, a.src, a.len);
}

/* Sections [first, first + nr), all with memory that starts on node nid: one allocation, or halves of it. */
static int sparse_init_run(struct machine *m, u64 first, u64 nr, s32 nid)
{
    u64 bytes = MEMMAP_BYTES(nr << PFN_SECTION_SHIFT);
    u64 at = memblock_phys_alloc_nid(&m->phys->memblock, bytes, PAGE_SIZE, nid, nr > 1);
    int err;

    if (at)
        return vmemmap_alias(m, first, nr, at);
    if (nr == 1)
        return -ENOMEM;
    err = sparse_init_run(m, first, nr / 2, nid);
    return err ? err : sparse_init_run(m, first + nr / 2, nr - nr / 2, nid);
}

static int sparse_init(struct machine *m)
{
    struct phys *p = m->phys;
    u64 nr_sections = DIV_ROUND_UP(p->max_pfn, PAGES_PER_SECTION), run = 0, run_start = 0;
    s32 run_nid = 0;

    ASSERT(m->vmemmap && m->vmemmap + MEMMAP_BYTES(nr_sections << PFN_SECTION_SHIFT) <= m->ram);
    p->section_present = memblock_alloc_nid(&p->memblock, nr_sections, 64, 0);
    if (!p->section_present)
        return -ENOMEM;
    m->memmap = (struct page *)(void *)m->vmemmap;
    for (u64 s = 0; s <= nr_sections; s++) {
        struct memblock_region *r = p->memblock.memory.regions, *end = r + p->memblock.memory.cnt;
        u64 lo = s << SECTION_SIZE_BITS, hi = (s + 1) << SECTION_SIZE_BITS;
        int err;

        while (r < end && r->base + r->size <= lo)
            r++;
        if (s < nr_sections && r < end && r->base < hi && (!run || r->nid == run_nid)) {
            p->section_present[s] = 1;
            run_start = run++ ? run_start : s;
            run_nid = r->nid;
            continue;
        }
        if (!run)
            continue;
        err = sparse_init_run(m, run_start, run, run_nid);
        if (err)
            return err;
        run = 0;
        s--; /* look at this section again: it may start the next run */
    }
    return 0;
}

/* Allocates the memmap and the tables that are indexed by pfn. 0 or -ENOMEM. */
int memmodel_init(struct cpu *cpu)
{
    struct machine *m = cpu->m;
    struct phys *p = m->phys;
    int err = m->config.memory_model == MEMORY_FLATMEM ? flatmem_init(m) : sparse_init(m);

    if (err)
        return err;
    p->pageblock_flags = memblock_alloc_nid(&p->memblock, p->nr_blocks << (MAX_PAGE_ORDER - pageblock_order), 64, 0);
    p->block_init = memblock_alloc_nid(&p->memblock, p->nr_blocks, 64, 0);
    return p->pageblock_flags && p->block_init ? 0 : -ENOMEM;
}

int phys_attach(struct machine *m, int handle)
{
    for (u32 i = 0; i < m->phys->nr_aliases; i++) {
        struct vmemmap_alias *a = &m->phys->aliases[i];
        int err = port_region_alias(handle, m->region, a->dst, a->src, a->len);

        if (err)
            return err;
    }
    return 0;
}

bool pfn_valid(const struct machine *m, pfn_t pfn)
{
    struct phys *p = m->phys;

    if (pfn.nr >= p->max_pfn)
        return false;
    return m->config.memory_model == MEMORY_FLATMEM || p->section_present[pfn.nr >> PFN_SECTION_SHIFT];
}

/* -- its entries --------------------------------------------------------------------------------------------------- */

bool memmap_block_is_init(const struct machine *m, u64 block)
{
    return atomic_load_explicit(&m->phys->block_init[block], memory_order_acquire);
}

static void init_page(struct page *page, u64 flags, s32 refcount)
{
    memset(page, 0, sizeof(*page));
    atomic_store_explicit(&page->flags, flags, memory_order_relaxed);
    atomic_store_explicit(&page->_mapcount, -1, memory_order_relaxed);
    atomic_store_explicit(&page->_refcount, refcount, memory_order_relaxed);
}

static u64 page_links(s32 nid, u32 zone_idx)
{
    return (u64)(u32)nid << NODES_PGSHIFT | (u64)zone_idx << ZONES_PGSHIFT;
}

static struct zone *zone_of_pfn(const struct machine *m, u64 pfn)
{
    s32 nid = memblock_nid_of(&m->phys->memblock, pfn << PAGE_SHIFT);
    struct pglist_data *pgdat = nid < 0 ? NULL : NODE_DATA(m, nid);

    for (u32 z = 0; pgdat && z < MAX_NR_ZONES; z++) {
        struct zone *zone = &pgdat->node_zones[z];

        if (pfn >= zone->zone_start_pfn && pfn < zone_end_pfn(zone))
            return zone;
    }
    return NULL;
}

/* Every page of the block as reserved; pages in holes get node 0's first zone. */
void memmap_init_block(struct machine *m, u64 block)
{
    u64 pfn = block << MAX_PAGE_ORDER, end = MIN(pfn + MAX_ORDER_NR_PAGES, m->phys->max_pfn);

    for (; pfn < end; pfn++) {
        struct zone *zone = zone_of_pfn(m, pfn);
        u64 links = zone ? page_links(zone->node, zone->zone_idx) : 0;

        init_page(m->memmap + pfn, links | BIT(PG_reserved), 1);
    }
    atomic_store_explicit(&m->phys->block_init[block], 1, memory_order_release);
}

/* An untouched free block becomes a free block of the highest order. zone->lock. False: there is none left. */
__cold bool deferred_grow_zone(struct machine *m, struct zone *zone)
{
    u64 links = page_links(zone->node, zone->zone_idx), block;
    struct deferred_range *d = &zone->deferred[zone->next_deferred];
    struct page *page;

    if (!atomic_load_explicit(&zone->nr_deferred_blocks, memory_order_relaxed))
        return false;
    block = d->start++;
    if (d->start == d->end)
        zone->next_deferred++;
    atomic_fetch_sub_explicit(&zone->nr_deferred_blocks, 1, memory_order_relaxed);
    ASSERT(!memmap_block_is_init(m, block));
    page = m->memmap + (block << MAX_PAGE_ORDER);
    for (u64 i = 0; i < MAX_ORDER_NR_PAGES; i++)
        init_page(page + i, links, 0);
    atomic_store_explicit(&m->phys->block_init[block], 1, memory_order_release);
    /* free_one_page() counts it; it was counted as free already */
    atomic_fetch_sub_explicit(&zone->vm_stat[NR_FREE_PAGES], MAX_ORDER_NR_PAGES, memory_order_relaxed);
    free_one_page(m, zone, page, MAX_PAGE_ORDER, MIGRATE_MOVABLE, FREE_TO_TAIL);
    return true;
}

/* A scanner wants to see pfn: blocks that are all reserved are initialised now;
 * a deferred block joins the free lists. */
struct page *pfn_to_online_page(struct cpu *cpu, pfn_t pfn)
{
    struct machine *m = cpu->m;
    u64 block = pfn.nr >> MAX_PAGE_ORDER;
    struct zone *zone;

    if (!pfn_valid(m, pfn))
        return NULL;
    if (memmap_block_is_init(m, block))
        return pfn_to_page(m, pfn);
    zone = zone_of_pfn(m, pfn.nr);
    if (!zone)
        return NULL;
    spin_lock(cpu, &zone->lock);
    while (!memmap_block_is_init(m, block)) {
        u32 d = zone->next_deferred;

        while (d < zone->nr_deferred_ranges && zone->deferred[d].end <= block)
            d++;
        if (d == zone->nr_deferred_ranges || zone->deferred[d].start > block)
            memmap_init_block(m, block);
        else
            deferred_grow_zone(m, zone);
    }
    zone_unlock(cpu, zone);
    return pfn_to_page(m, pfn);
}

/* -- the hand-over ------------------------------------------------------------------------------------------------- */

/* Free [pfn, end) of `zone`: less than a block at each end of a free range. */
static void free_edge(struct machine *m, struct zone *zone, u64 pfn, u64 end)
{
    while (pfn < end) {
        unsigned int order = MIN((unsigned int)__builtin_ctzll(pfn | MAX_ORDER_NR_PAGES), ilog2(end - pfn));

        if (!memmap_block_is_init(m, pfn >> MAX_PAGE_ORDER))
            memmap_init_block(m, pfn >> MAX_PAGE_ORDER);
        for (u64 i = 0; i < 1ul << order; i++)
            init_page(m->memmap + pfn + i, page_links(zone->node, zone->zone_idx), 0);
        free_one_page(m, zone, m->memmap + pfn, order, MIGRATE_MOVABLE, FREE_TO_TAIL);
        zone->managed_pages += 1ul << order;
        pfn += 1ul << order;
    }
}

static void hand_over_range(struct machine *m, struct zone *zone, u64 start, u64 end)
{
    u64 first = DIV_ROUND_UP(start, MAX_ORDER_NR_PAGES), last = end >> MAX_PAGE_ORDER, nr;

    if (first >= last) {
        free_edge(m, zone, start, end);
        return;
    }
    free_edge(m, zone, start, first << MAX_PAGE_ORDER);
    nr = last - first;
    zone->deferred[zone->nr_deferred_ranges++] = (struct deferred_range){first, last};
    atomic_fetch_add_explicit(&zone->nr_deferred_blocks, nr, memory_order_relaxed);
    atomic_fetch_add_explicit(&zone->vm_stat[NR_FREE_PAGES], (s64)(nr << MAX_PAGE_ORDER), memory_order_relaxed);
    zone->managed_pages += nr << MAX_PAGE_ORDER;
    free_edge(m, zone, last << MAX_PAGE_ORDER, end);
}

static void hand_over_to_zone(struct machine *m, struct zone *zone)
{
    struct memblock *mb = &m->phys->memblock;
    struct memblock_range r;
    u64 idx = zone->zone_start_pfn << PAGE_SHIFT;

    for (memblock_next_free(mb, &idx, zone->node, 0, &r); idx != MEMBLOCK_ITER_END;
         memblock_next_free(mb, &idx, zone->node, 0, &r)) {
        u64 start = MAX(DIV_ROUND_UP(r.start, PAGE_SIZE), zone->zone_start_pfn);
        u64 end = MIN(r.end >> PAGE_SHIFT, zone_end_pfn(zone));

        if (start < end)
            hand_over_range(m, zone, start, end);
    }
}

/* All free memory of memblock to the zones. Nothing is allocated from memblock afterwards. 0 or -ENOMEM. */
int memmap_hand_over(struct cpu *cpu)
{
    struct machine *m = cpu->m;
    struct phys *p = m->phys;
    s32 nid;

    /* Each free range ends at a region's edge; the tables themselves add a few. */
    for_each_online_node(p, nid)
    {
        for (u32 z = 0; z < MAX_NR_ZONES; z++) {
            struct zone *zone = &NODE_DATA(m, nid)->node_zones[z];
            u64 max = p->memblock.memory.cnt + p->memblock.reserved.cnt + 2ul * MAX_NODES * MAX_NR_ZONES;

            if (!populated_zone(zone))
                continue;
            zone->deferred = memblock_alloc_nid(&p->memblock, max * sizeof(*zone->deferred), 64, nid);
            if (!zone->deferred)
                return -ENOMEM;
        }
    }
    for_each_online_node(p, nid)
    {
        for (u32 z = 0; z < MAX_NR_ZONES; z++) {
            struct zone *zone = &NODE_DATA(m, nid)->node_zones[z];

            if (populated_zone(zone))
                hand_over_to_zone(m, zone);
            p->totalram_pages += zone->managed_pages;
        }
    }
    return 0;
}
