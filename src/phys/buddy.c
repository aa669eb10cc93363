/* SPDX-License-Identifier: MIT */
/*
 * The buddy system: free blocks of 2^order pages in each zone, split on allocation, merged on freeing.
 *
 *   order 3  [               8               ]
 *   order 2  [       4       |       4       ]     the buddy of the block at pfn is at pfn ^ (1 << order)
 *   order 1  [   2   |   2   |   2   |   2   ]
 *   order 0  [ 1 | 1 | 1 | 1 | 1 | 1 | 1 | 1 ]
 *
 * Memory is typed in pageblocks (order 9, 2 MiB): pages that can be moved are kept apart from those that cannot, so
 * that large blocks can be made later. Each order has one list for each type; a free block lies on the list of its
 * pageblock's type, always. When the lists of a type are empty, buddy_steal.c takes from another.
 *
 * Invariants (phys_check.c), all under zone->lock
 *   F1  a free block is aligned to its size, its first page is PGTY_buddy with private = order, and it is on one list
 *   F2  no block has a free buddy of the same order and zone, unless their types must not be merged
 *       (ISOLATE, CMA, HIGHATOMIC)
 *   F3  the block's list is that of the type of all its pageblocks
 *   F4  free_area.nr_free[] equals the lengths; zone NR_FREE_PAGES is their sum, deferred blocks included
 *   F5  pages inside have refcount 0, mapcount -1, no flags, no mapping
 *
 * NR_FREE_PAGES of a zone is exact: it changes only here, under the lock. The kernel batches it per CPU and
 * corrects watermark checks for the drift; here a page list refill moves many pages under one lock already, so the
 * batching would save nothing.
 */
#include "phys/phys_priv.h"

static void account_free(struct zone *zone, s64 pages, enum migratetype mt)
{
    s64 n = atomic_load_explicit(&zone->vm_stat[NR_FREE_PAGES], memory_order_relaxed);

    atomic_store_explicit(&zone->vm_stat[NR_FREE_PAGES], n + pages, memory_order_relaxed);
    if (mt == MIGRATE_CMA)
        atomic_fetch_add_explicit(&zone->vm_stat[NR_FREE_CMA_PAGES], pages, memory_order_relaxed);
}

static void add_nr_free(struct free_area *area, enum migratetype mt, int delta)
{
    u32 n = atomic_load_explicit(&area->nr_free[mt], memory_order_relaxed);

    atomic_store_explicit(&area->nr_free[mt], n + (u32)delta, memory_order_relaxed);
}

static void add_to_free_list(struct zone *zone, struct page *page, unsigned int order, enum migratetype mt,
                             enum free_flags where)
{
    struct free_area *area = &zone->free_area[order];

    page->private = order;
    atomic_store_explicit(&page->page_type, PGTY_buddy, memory_order_relaxed);
    if (where == FREE_TO_TAIL)
        list_add_tail(&page->lru, &area->free_list[mt]);
    else
        list_add(&page->lru, &area->free_list[mt]);
    add_nr_free(area, mt, 1);
}

static void del_from_free_list(struct zone *zone, struct page *page, unsigned int order, enum migratetype mt)
{
    DEBUG_ASSERT(PageBuddy(page) && page->private == order);
    list_del(&page->lru);
    atomic_store_explicit(&page->page_type, PAGE_TYPE_NONE, memory_order_relaxed);
    page->private = 0;
    add_nr_free(&zone->free_area[order], mt, -1);
}

void set_pageblock_mt(struct machine *m, u64 pfn, enum migratetype mt)
{
    atomic_store_explicit(&m->phys->pageblock_flags[pfn >> pageblock_order], (u8)mt ^ MIGRATE_MOVABLE,
                          memory_order_relaxed);
}

/* -- freeing ------------------------------------------------------------------------------------------------------- */

static bool is_free_buddy(const struct page *page, const struct page *buddy, unsigned int order)
{
    return PageBuddy(buddy) && buddy->private == order && page_zonenum(buddy) == page_zonenum(page) &&
           page_to_nid(buddy) == page_to_nid(page);
}

/* Types that may end up in one block. */
static bool mt_is_mergeable(enum migratetype mt)
{
    return mt < MIGRATE_PCPTYPES;
}

/* Will this block's parent soon find its own buddy free? Then keep the block for last, so that the merge can happen. */
static bool merge_is_likely(struct machine *m, u64 pfn, unsigned int order)
{
    u64 parent = pfn & ~(1ul << order);
    struct page *page = m->memmap + parent;

    if (order + 1 >= MAX_PAGE_ORDER)
        return false;
    return is_free_buddy(page, m->memmap + (parent ^ (2ul << order)), order + 1);
}

/* A block of type mt (its pageblock's) becomes free; zone->lock. */
void free_one_page(struct machine *m, struct zone *zone, struct page *page, unsigned int order, enum migratetype mt,
                   enum free_flags where)
{
    u64 pfn = page_to_pfn_nr(m, page);

    DEBUG_ASSERT(IS_ALIGNED(pfn, 1ul << order));
    account_free(zone, (s64)(1ul << order), mt);
    for (; order < MAX_PAGE_ORDER; order++) {
        u64 buddy_pfn = pfn ^ (1ul << order);
        struct page *buddy = m->memmap + buddy_pfn;
        enum migratetype buddy_mt = mt;

        if (!is_free_buddy(page, buddy, order))
            break;
        if (order >= pageblock_order) {
            buddy_mt = pageblock_mt(m, buddy_pfn);
            if (buddy_mt != mt && (!mt_is_mergeable(mt) || !mt_is_mergeable(buddy_mt)))
                break;
        }
        del_from_free_list(zone, buddy, order, buddy_mt);
        if (buddy_mt != mt)
            set_pageblock_mt(m, buddy_pfn, mt);
        pfn &= buddy_pfn;
        page = m->memmap + pfn;
    }
    if (where == FREE_TO_HEAD && merge_is_likely(m, pfn, order))
        where = FREE_TO_TAIL;
    add_to_free_list(zone, page, order, mt, where);
}

/* -- allocation ---------------------------------------------------------------------------------------------------- */

/* The block of order `high` was taken off its list: give back all but its first 2^low pages. */
static void expand(struct zone *zone, struct page *page, unsigned int low, unsigned int high, enum migratetype mt)
{
    while (high > low) {
        high--;
        add_to_free_list(zone, page + (1ul << high), high, mt, FREE_TO_HEAD);
    }
}

static struct page *take_block(struct zone *zone, struct page *page, unsigned int order, unsigned int high,
                               enum migratetype mt)
{
    del_from_free_list(zone, page, high, mt);
    expand(zone, page, order, high, mt);
    account_free(zone, -(s64)(1ul << order), mt);
    return page;
}

/* From the smallest block of the type that is large enough; NULL: none. */
struct page *rmqueue_smallest(struct machine *m, struct zone *zone, unsigned int order, enum migratetype mt)
{
    for (unsigned int o = order; o < NR_PAGE_ORDERS; o++) {
        struct page *page = free_area_first(m, zone, o, mt);

        if (page)
            return take_block(zone, page, order, o, mt);
    }
    return NULL;
}

/* zone->lock. 2^order pages for a request of type mt, from other types' blocks if need be; NULL: none. */
struct page *rmqueue(struct machine *m, struct zone *zone, unsigned int order, enum migratetype mt, u32 alloc_flags)
{
    struct page *page = NULL;

    /* Movable requests use CMA memory while it is more than half of what is free, so that it does not stay for last. */
    if ((alloc_flags & ALLOC_CMA) &&
        zone_page_state(zone, NR_FREE_CMA_PAGES) > zone_page_state(zone, NR_FREE_PAGES) / 2)
        page = rmqueue_smallest(m, zone, order, MIGRATE_CMA);
    if (!page)
        page = rmqueue_smallest(m, zone, order, mt);
    if (!page && (alloc_flags & ALLOC_CMA))
        page = rmqueue_smallest(m, zone, order, MIGRATE_CMA);
    return page ? page : rmqueue_fallback(m, zone, order, mt, alloc_flags);
}

/* -- pageblocks ---------------------------------------------------------------------------------------------------- */

static void move_block_to_list(struct zone *zone, struct page *page, unsigned int order, enum migratetype from,
                               enum migratetype to)
{
    del_from_free_list(zone, page, order, from);
    add_to_free_list(zone, page, order, to, FREE_TO_TAIL);
    if (from == MIGRATE_CMA)
        atomic_fetch_sub_explicit(&zone->vm_stat[NR_FREE_CMA_PAGES], 1l << order, memory_order_relaxed);
    if (to == MIGRATE_CMA)
        atomic_fetch_add_explicit(&zone->vm_stat[NR_FREE_CMA_PAGES], 1l << order, memory_order_relaxed);
}

u64 move_freepages_block(struct machine *m, struct zone *zone, u64 pfn, enum migratetype to)
{
    u64 start = ALIGN_DOWN(pfn, pageblock_nr_pages), end = start + pageblock_nr_pages, moved = 0;
    enum migratetype from = pageblock_mt(m, pfn);
    u64 head = ALIGN_DOWN(start, MAX_ORDER_NR_PAGES);

    /* A free block of two pageblocks: both change. */
    if (PageBuddy(m->memmap + head) && m->memmap[head].private == MAX_PAGE_ORDER) {
        move_block_to_list(zone, m->memmap + head, MAX_PAGE_ORDER, from, to);
        set_pageblock_mt(m, head, to);
        set_pageblock_mt(m, head + pageblock_nr_pages, to);
        return MAX_ORDER_NR_PAGES;
    }
    for (pfn = start; pfn < end;) {
        struct page *page = m->memmap + pfn;
        unsigned int order = (unsigned int)page->private;

        if (!PageBuddy(page)) {
            pfn++;
            continue;
        }
        if (page_zone(m, page) == zone) {
            move_block_to_list(zone, page, order, from, to);
            moved += 1ul << order;
        }
        pfn += 1ul << order;
    }
    set_pageblock_mt(m, start, to);
    return moved;
}
