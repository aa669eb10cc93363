/* SPDX-License-Identifier: MIT */
/*
 * When a migrate type has no free block: taking from another type's pageblocks, and the highatomic reserve.
 *
 * The aim is that few pageblocks hold pages of several types. So a request that has to leave its own type
 *   1. looks for the largest free block of another type (least mixing: a whole pageblock can change hands),
 *   2. claims the pageblock, with all its free pages, when at least half of it is free or of a compatible type,
 *   3. else takes just the pages; movable requests then prefer the smallest block, since movable pages
 *      can be moved away again.
 *
 *   type         falls back to
 *   UNMOVABLE    RECLAIMABLE, MOVABLE
 *   RECLAIMABLE  UNMOVABLE, MOVABLE
 *   MOVABLE      RECLAIMABLE, UNMOVABLE
 *   HIGHATOMIC, CMA, ISOLATE are never taken from here
 *
 * A mixed pageblock also boosts the zone's watermark (watermark_boost_factor), which wakes kswapd to make room before
 * the next request has to do it again (Documentation/admin-guide/sysctl/vm.rst).
 */
#include "phys/phys_priv.h"

static const u8 fallbacks[MIGRATE_PCPTYPES][2] = {
    [MIGRATE_UNMOVABLE] = {MIGRATE_RECLAIMABLE, MIGRATE_MOVABLE},
    [MIGRATE_MOVABLE] = {MIGRATE_RECLAIMABLE, MIGRATE_UNMOVABLE},
    [MIGRATE_RECLAIMABLE] = {MIGRATE_UNMOVABLE, MIGRATE_MOVABLE},
};

/* May a request of type mt take over the whole pageblock when it finds a free block of `order` in it? */
static bool may_claim(unsigned int order, enum migratetype mt)
{
    return order >= pageblock_order / 2 || mt != MIGRATE_MOVABLE;
}

static struct page *find_fallback(struct machine *m, struct zone *zone, unsigned int order, enum migratetype mt)
{
    for (u32 i = 0; i < ARRAY_SIZE(fallbacks[0]); i++) {
        struct page *page = free_area_first(m, zone, order, (enum migratetype)fallbacks[mt][i]);

        if (page)
            return page;
    }
    return NULL;
}

static bool boost_watermark(struct machine *m, struct zone *zone)
{
    u64 factor = m->config.watermark_boost_factor;
    u64 boost = atomic_load_explicit(&zone->watermark_boost, memory_order_relaxed);
    u64 max = atomic_load_explicit(&zone->_watermark[WMARK_HIGH], memory_order_relaxed) * factor / 10000;

    if (!factor || pageblock_nr_pages * 4 > zone->managed_pages || !max)
        return false;
    max = MAX(max, pageblock_nr_pages);
    atomic_store_explicit(&zone->watermark_boost, MIN(boost + pageblock_nr_pages, max), memory_order_relaxed);
    return true;
}

/* Free pages of the pageblock, and pages in use that user space could give back (on the LRU). */
static void count_pageblock(struct machine *m, u64 start, u64 *nr_free, u64 *nr_movable)
{
    u64 pfn = start;

    *nr_free = *nr_movable = 0;
    while (pfn < start + pageblock_nr_pages) {
        struct page *page = m->memmap + pfn;
        u64 n = 1;

        if (PageBuddy(page)) {
            n = 1ul << page->private;
            *nr_free += n;
        } else if (!PageTail(page) && page_test_flag(page, PG_lru)) {
            n = MIN(folio_nr_pages((struct folio *)page), pageblock_nr_pages);
            *nr_movable += n;
        }
        pfn += n;
    }
}

/* A pageblock that reaches into another zone has two owners: its type stays. */
static bool pageblock_in_zone(const struct zone *zone, u64 pfn)
{
    u64 start = ALIGN_DOWN(pfn, pageblock_nr_pages);

    return start >= zone->zone_start_pfn && start + pageblock_nr_pages <= zone_end_pfn(zone);
}

/* Is enough of the pageblock free or of mt's kind that it should become mt's? */
static bool pageblock_is_worth(struct machine *m, struct page *page, enum migratetype mt, enum migratetype from)
{
    u64 nr_free, nr_movable, alike = 0, start = ALIGN_DOWN(page_to_pfn_nr(m, page), pageblock_nr_pages);

    count_pageblock(m, start, &nr_free, &nr_movable);
    if (mt == MIGRATE_MOVABLE)
        alike = nr_movable;
    else if (from == MIGRATE_MOVABLE) /* what is neither free nor movable is taken for mt's */
        alike = pageblock_nr_pages - MIN(nr_free + nr_movable, pageblock_nr_pages);
    return nr_free + alike >= pageblock_nr_pages / 2;
}

/* Make the block at `page` mt's, if it is worth it. The caller then allocates from mt's lists. */
static bool try_to_claim(struct machine *m, struct zone *zone, struct page *page, enum migratetype mt, u32 alloc_flags)
{
    unsigned int order = (unsigned int)page->private;
    enum migratetype from = pageblock_mt(m, page_to_pfn_nr(m, page));

    if (!pageblock_in_zone(zone, page_to_pfn_nr(m, page)))
        return false;
    if (order < pageblock_order && boost_watermark(m, zone) && (alloc_flags & ALLOC_KSWAPD))
        atomic_fetch_or_explicit(&zone->flags, ZONE_BOOSTED_WATERMARK, memory_order_relaxed);
    if (order < pageblock_order && !pageblock_is_worth(m, page, mt, from))
        return false;
    move_freepages_block(m, zone, page_to_pfn_nr(m, page), mt);
    return true;
}

/* From the largest block downwards: claim a pageblock. */
static struct page *rmqueue_claim(struct machine *m, struct zone *zone, unsigned int order, enum migratetype mt,
                                  u32 alloc_flags)
{
    unsigned int min_order = (alloc_flags & ALLOC_NOFRAGMENT) && order < pageblock_order ? pageblock_order : order;

    for (unsigned int o = NR_PAGE_ORDERS; o-- > min_order;) {
        struct page *page = find_fallback(m, zone, o, mt);

        if (!page)
            continue;
        if (!may_claim(o, mt))
            break; /* smaller ones may not be claimed either */
        if (try_to_claim(m, zone, page, mt, alloc_flags))
            return rmqueue_smallest(m, zone, order, mt);
    }
    return NULL;
}

/* From the smallest block upwards: take the pages, leave the pageblock as it is. */
static struct page *rmqueue_steal(struct machine *m, struct zone *zone, unsigned int order, enum migratetype mt)
{
    for (unsigned int o = order; o < NR_PAGE_ORDERS; o++) {
        struct page *page = find_fallback(m, zone, o, mt);

        if (page)
            return rmqueue_smallest(m, zone, order, pageblock_mt(m, page_to_pfn_nr(m, page)));
    }
    return NULL;
}

struct page *rmqueue_fallback(struct machine *m, struct zone *zone, unsigned int order, enum migratetype mt,
                              u32 alloc_flags)
{
    struct page *page;

    if (mt >= MIGRATE_PCPTYPES)
        return NULL;
    page = rmqueue_claim(m, zone, order, mt, alloc_flags);
    if (page || (alloc_flags & ALLOC_NOFRAGMENT))
        return page;
    return rmqueue_steal(m, zone, order, mt);
}

/* -- the highatomic reserve ---------------------------------------------------------------------------------------- */

/*
 * A high-order atomic request has succeeded: keep the rest of its pageblock for the next ones. At
 * most about 1 % of the zone.
 */
void reserve_highatomic_pageblock(struct cpu *cpu, struct zone *zone, struct page *page, unsigned int order)
{
    u64 max = ALIGN_UP(zone->managed_pages / 100, pageblock_nr_pages), pfn = page_to_pfn_nr(cpu->m, page);

    if (zone->managed_pages / 100 < pageblock_nr_pages)
        return;
    spin_lock(cpu, &zone->lock);
    if (atomic_load_explicit(&zone->nr_reserved_highatomic, memory_order_relaxed) < max &&
        pageblock_mt(cpu->m, pfn) < MIGRATE_PCPTYPES && order < pageblock_order && pageblock_in_zone(zone, pfn)) {
        move_freepages_block(cpu->m, zone, pfn, MIGRATE_HIGHATOMIC);
        atomic_fetch_add_explicit(&zone->nr_reserved_highatomic, pageblock_nr_pages, memory_order_relaxed);
    }
    zone_unlock(cpu, zone);
}

/* Give back reserved pageblocks of one zone that have free pages; whether any page was moved. zone->lock. */
static bool unreserve_zone(struct machine *m, struct zone *zone, enum migratetype mt)
{
    for (unsigned int order = 0; order < NR_PAGE_ORDERS; order++) {
        struct page *page = free_area_first(m, zone, order, MIGRATE_HIGHATOMIC);
        u64 n = order > pageblock_order ? MAX_ORDER_NR_PAGES : pageblock_nr_pages;

        if (!page)
            continue;
        atomic_fetch_sub_explicit(&zone->nr_reserved_highatomic,
                                  MIN(n, atomic_load_explicit(&zone->nr_reserved_highatomic, memory_order_relaxed)),
                                  memory_order_relaxed);
        return move_freepages_block(m, zone, page_to_pfn_nr(m, page), mt) > 0;
    }
    return false;
}

/* Under pressure the reserve goes back to the request's type: one pageblock is kept unless `force`. */
bool unreserve_highatomic_pageblock(struct cpu *cpu, const struct alloc_context *ac, bool force)
{
    struct zoneref *z;
    struct zone *zone;

    for_each_zone_zonelist_nodemask(zone, z, ac->zonelist, ac->highest_zoneidx, ac->nodemask)
    {
        u64 reserved = atomic_load_explicit(&zone->nr_reserved_highatomic, memory_order_relaxed);
        bool moved;

        if (!reserved || (!force && reserved <= pageblock_nr_pages))
            continue;
        spin_lock(cpu, &zone->lock);
        moved = unreserve_zone(cpu->m, zone, ac->migratetype);
        zone_unlock(cpu, zone);
        if (moved)
            return true;
    }
    return false;
}
