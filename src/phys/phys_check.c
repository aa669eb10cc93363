/* SPDX-License-Identifier: MIT */
/*
 * The books of physical memory. Every frame that memblock handed over is in exactly one place:
 *
 *   managed = free lists + deferred blocks + per-cpu lists + used frames
 *
 * Each side is found twice, from the lists (what the allocator believes) and from the memmap (what the pages say), and
 * both are compared with the counters. The letters in messages are the invariants of the files that own the structures:
 * B memblock.c · M memmodel.c · F buddy.c · P pcp.c · L lru.c · W watermark.c · R phys/page.h.
 *
 * The machine must be quiet: CPUs are owned by nobody or stand still inside the core.
 */
#include "base/format.h"
#include "phys/lru_priv.h"

/* What the memmap of one zone says. */
struct memmap_count {
    u64 buddy, pcp, used, reserved;
    u64 lru[NR_LRU_LISTS];
    u64 mlocked;
};

struct check_ctx {
    struct machine *m;
    struct zone *zone;
    struct check_report *r;
    char name[32]; /* "node 0 Normal" */
};

#define FAIL(ctx, format, ...) check_fail((ctx)->r, "%s: " format, (ctx)->name, __VA_ARGS__)
#define EXPECT(ctx, what, found, expected)                                                                             \
    do {                                                                                                               \
        u64 f_ = (u64)(found), e_ = (u64)(expected);                                                                   \
        if (f_ != e_)                                                                                                  \
            FAIL(ctx, "%s is %llu, recount gives %llu", what, (unsigned long long)f_, (unsigned long long)e_);         \
    } while (0)
#define PAGE_FAIL(ctx, page, what)                                                                                     \
    FAIL(ctx, "pfn %llu: %s: flags %llx refcount %d type %x private %llu",                                             \
         (unsigned long long)page_to_pfn_nr((ctx)->m, page), what, (unsigned long long)atomic_load(&(page)->flags),    \
         atomic_load(&(page)->_refcount), atomic_load(&(page)->page_type), (unsigned long long)(page)->private)

/* -- the memmap, block by block ------------------------------------------------------------------------------------ */

static bool is_listed_free(const struct page *page)
{
    return PageBuddy(page) || page_has_type(page, PGTY_pcp);
}

/* Frames of the block that starts at page, as the memmap tells. */
static u64 block_frames(struct page *page, u64 pfn, u64 end)
{
    u64 n = 1;

    if (is_listed_free(page))
        return page->private <= MAX_PAGE_ORDER ? 1ul << page->private : 1;
    if (page_test_flag(page, PG_head))
        return 1ul << page[1].folio_order;
    if (page_test_flag(page, PG_reserved))
        return 1;
    /* the rest of a block that is no folio: frames without references */
    while (pfn + n < end && !folio_ref_count((struct folio *)(page + n)) && !PageTail(page + n) &&
           !is_listed_free(page + n))
        n++;
    return n;
}

void phys_for_each_used_page(struct machine *m,
                             void (*fn)(struct machine *m, struct page *page, u64 nr_frames, void *arg), void *arg)
{
    for (u64 block = 0; block < m->phys->nr_blocks; block++) {
        u64 pfn = block << MAX_PAGE_ORDER, end = MIN(pfn + MAX_ORDER_NR_PAGES, m->phys->max_pfn);

        while (memmap_block_is_init(m, block) && pfn < end) {
            struct page *page = m->memmap + pfn;
            u64 n = block_frames(page, pfn, end);

            if (!is_listed_free(page) && !page_test_flag(page, PG_reserved))
                fn(m, page, n, arg);
            pfn += n;
        }
    }
}

/* F5: pages of a free block. */
static void check_free_frames(struct check_ctx *c, struct page *page, u64 n)
{
    for (u64 i = 0; i < n; i++) {
        struct page *p = page + i;

        if (atomic_load(&p->_refcount) || p->mapping || (atomic_load(&p->flags) & PAGE_FLAGS_CHECK_AT_PREP) ||
            (i && atomic_load(&p->page_type) != PAGE_TYPE_NONE))
            PAGE_FAIL(c, p, "F5 free frame in use");
    }
}

/* R5: tails of a used block. */
static void check_tails(struct check_ctx *c, struct page *page, u64 n)
{
    bool compound = page_test_flag(page, PG_head);

    for (u64 i = 1; i < n; i++) {
        struct page *p = page + i;

        if (atomic_load(&p->_refcount) || (compound && p->compound_head != ((u64)(uintptr_t)page | 1)))
            PAGE_FAIL(c, p, "R5 bad tail");
    }
}

static enum lru_list expected_list(const struct folio *f)
{
    u32 base = folio_test_swapbacked(f) ? LRU_INACTIVE_ANON : LRU_INACTIVE_FILE;

    return folio_test_unevictable(f) ? LRU_UNEVICTABLE : (enum lru_list)(base + folio_test_active(f));
}

/* Managed pages that somebody marks reserved, as the zero page is, stay in the books. */
static bool was_handed_over(const struct machine *m, const struct page *page)
{
    u64 addr = page_to_phys(m, page).pa, idx = addr;
    struct memblock_range r = {0};

    memblock_next_free(&m->phys->memblock, &idx, NUMA_NO_NODE, 0, &r);
    return idx != MEMBLOCK_ITER_END && r.start == addr && r.end >= addr + PAGE_SIZE;
}

static void count_block(struct check_ctx *c, struct page *page, u64 n, struct memmap_count *count)
{
    if (is_listed_free(page)) {
        *(PageBuddy(page) ? &count->buddy : &count->pcp) += n;
        check_free_frames(c, page, n);
        return;
    }
    if (page_test_flag(page, PG_reserved) && !was_handed_over(c->m, page)) {
        count->reserved += n;
        return;
    }
    count->used += n;
    if (folio_ref_count((struct folio *)page) <= 0 || PageTail(page))
        PAGE_FAIL(c, page, "R1 neither free nor used");
    check_tails(c, page, n);
    if (page_test_flag(page, PG_mlocked))
        count->mlocked += n;
    if (page_test_flag(page, PG_lru) && page_test_flag(page, PG_unevictable) && folio_evictable((struct folio *)page))
        PAGE_FAIL(c, page, "ML4 unevictable, but nothing locks it");
    if (page_test_flag(page, PG_lru))
        count->lru[expected_list((struct folio *)page)] += n;
}

static void walk_memmap(struct check_ctx *c, struct memmap_count *count)
{
    u64 pfn = c->zone->zone_start_pfn, zone_end = zone_end_pfn(c->zone);

    while (pfn < zone_end) {
        u64 end = MIN(ALIGN_DOWN(pfn, MAX_ORDER_NR_PAGES) + MAX_ORDER_NR_PAGES, zone_end);
        struct page *page = c->m->memmap + pfn;
        u64 n;

        if (!memmap_block_is_init(c->m, pfn >> MAX_PAGE_ORDER)) {
            pfn = end;
            continue;
        }
        n = block_frames(page, pfn, end);
        if (page_zone(c->m, page) == c->zone)
            count_block(c, page, n, count);
        pfn += n;
    }
}

/* -- the lists ----------------------------------------------------------------------------------------------------- */

/* F2: a free buddy of the same order should have been merged. */
static void check_unmerged(struct check_ctx *c, struct page *page, unsigned int order, enum migratetype mt)
{
    u64 buddy_pfn = page_to_pfn_nr(c->m, page) ^ (1ul << order);
    struct page *buddy = c->m->memmap + buddy_pfn;
    enum migratetype buddy_mt = pageblock_mt(c->m, buddy_pfn);

    if (order == MAX_PAGE_ORDER || !PageBuddy(buddy) || buddy->private != order || page_zone(c->m, buddy) != c->zone)
        return;
    if (order < pageblock_order || mt == buddy_mt || (mt < MIGRATE_PCPTYPES && buddy_mt < MIGRATE_PCPTYPES))
        PAGE_FAIL(c, page, "F2 its buddy is free too");
}

static void check_listed(struct check_ctx *c, struct page *page, unsigned int order, enum migratetype mt)
{
    u64 pfn = page_to_pfn_nr(c->m, page);

    if (!PageBuddy(page) || page->private != order || !IS_ALIGNED(pfn, 1ul << order) ||
        page_zone(c->m, page) != c->zone)
        PAGE_FAIL(c, page, "F1 on a free list it does not belong to");
    for (u64 at = pfn; at < pfn + (1ul << order); at += pageblock_nr_pages)
        if (pageblock_mt(c->m, at) != mt)
            PAGE_FAIL(c, page, "F3 on the list of another type than its pageblock's");
    check_unmerged(c, page, order, mt);
}

/* Pages on one free list. */
static u64 check_free_list(struct check_ctx *c, unsigned int order, enum migratetype mt)
{
    struct free_area *area = &c->zone->free_area[order];
    u64 n = 0, counted = atomic_load(&area->nr_free[mt]);
    struct page *page;

    list_for_each_entry (page, &area->free_list[mt], lru) {
        if (n++ > counted) /* a loop in the list */
            break;
        check_listed(c, page, order, mt);
    }
    EXPECT(c, "F4 nr_free", counted, n);
    return n << order;
}

/* Pages on all free lists, and on those of CMA. */
static u64 check_free_lists(struct check_ctx *c, u64 *cma)
{
    u64 pages = 0;

    *cma = 0;
    for (u32 order = 0; order < NR_PAGE_ORDERS; order++) {
        for (u32 mt = 0; mt < MIGRATE_TYPES; mt++) {
            u64 n = check_free_list(c, order, (enum migratetype)mt);

            pages += n;
            *cma += mt == MIGRATE_CMA ? n : 0;
        }
    }
    return pages;
}

static u64 check_pcp(struct check_ctx *c, struct per_cpu_zone *pcp)
{
    u64 pages = 0;

    for (u32 i = 0; i < NR_PCP_LISTS; i++) {
        unsigned int order = pcp_index_order(i);
        struct page *page;

        list_for_each_entry (page, &pcp->lists[i], lru) {
            if (pages > pcp->count)
                break;
            if (!page_has_type(page, PGTY_pcp) || page->private != order || page_zone(c->m, page) != c->zone)
                PAGE_FAIL(c, page, "P1 on a per-cpu list it does not belong to");
            pages += 1ul << order;
        }
    }
    EXPECT(c, "P2 pcp count", pcp->count, pages);
    return pages;
}

static void check_deferred(struct check_ctx *c)
{
    struct zone *zone = c->zone;
    u64 blocks = 0, last = 0;

    for (u32 i = zone->next_deferred; i < zone->nr_deferred_ranges; i++) {
        struct deferred_range *d = &zone->deferred[i];

        if (d->start >= d->end || d->start < last)
            FAIL(c, "M2 deferred range %u is [%llu, %llu)", i, (unsigned long long)d->start,
                 (unsigned long long)d->end);
        last = d->end;
        blocks += d->end - d->start;
        for (u64 b = d->start; b < d->end; b++)
            if (memmap_block_is_init(c->m, b))
                FAIL(c, "M2 deferred block %llu is initialised", (unsigned long long)b);
    }
    EXPECT(c, "M2 nr_deferred_blocks", atomic_load(&zone->nr_deferred_blocks), blocks);
}

/* M3: what memblock left free within the zone. */
static u64 memblock_free_pages(const struct machine *m, const struct zone *zone)
{
    u64 idx = zone->zone_start_pfn << PAGE_SHIFT, pages = 0;
    struct memblock_range r;

    for (memblock_next_free(&m->phys->memblock, &idx, zone->node, 0, &r); idx != MEMBLOCK_ITER_END;
         memblock_next_free(&m->phys->memblock, &idx, zone->node, 0, &r)) {
        u64 start = MAX(DIV_ROUND_UP(r.start, PAGE_SIZE), zone->zone_start_pfn);
        u64 end = MIN(r.end >> PAGE_SHIFT, zone_end_pfn(zone));

        pages += start < end ? end - start : 0;
    }
    return pages;
}

/* -- derived figures ----------------------------------------------------------------------------------------------- */

static void check_watermarks(struct check_ctx *c, u64 lowmem_pages)
{
    struct zone *z = c->zone;
    u64 share = lowmem_pages ? (c->m->phys->min_free_kbytes >> (PAGE_SHIFT - 10)) * z->managed_pages / lowmem_pages : 0;
    u64 step = MAX(share / 4, z->managed_pages * c->m->config.watermark_scale_factor / 10000), above = 0;
    u64 min = is_highmem_idx((enum zone_type)z->zone_idx) ? MIN(MAX(z->managed_pages / 1024, 32ul), 128ul) : share;

    for (u32 w = WMARK_MIN; w < NR_WMARK; w++)
        EXPECT(c, "W watermark", atomic_load(&z->_watermark[w]), min + w * step);
    for (u32 j = z->zone_idx + 1u; j < MAX_NR_ZONES; j++) {
        u32 ratio = c->m->config.lowmem_reserve_ratio[z->zone_idx];

        above += z->zone_pgdat->node_zones[j].managed_pages;
        EXPECT(c, "W lowmem_reserve", atomic_load(&z->lowmem_reserve[j]),
               ratio && z->managed_pages ? above / ratio : 0);
    }
}

static void check_highatomic(struct check_ctx *c)
{
    u64 found = 0, start = ALIGN_UP(c->zone->zone_start_pfn, pageblock_nr_pages);

    for (u64 pfn = start; pfn + pageblock_nr_pages <= zone_end_pfn(c->zone); pfn += pageblock_nr_pages)
        if (pageblock_mt(c->m, pfn) == MIGRATE_HIGHATOMIC)
            found += pageblock_nr_pages;
    EXPECT(c, "nr_reserved_highatomic", atomic_load(&c->zone->nr_reserved_highatomic), found);
}

static void check_zone(struct check_ctx *c, u64 lowmem_pages, u64 *node_lru)
{
    struct zone *zone = c->zone;
    struct memmap_count count = {0};
    u64 listed, cma, pcp = 0, deferred = atomic_load(&zone->nr_deferred_blocks) << MAX_PAGE_ORDER;

    check_watermarks(c, lowmem_pages);
    if (!populated_zone(zone))
        return;
    check_deferred(c);
    check_highatomic(c);
    listed = check_free_lists(c, &cma);
    for (u32 i = 0; i < c->m->nr_cpus; i++)
        pcp += check_pcp(c, &zone->pcp[i]);
    walk_memmap(c, &count);
    EXPECT(c, "F4 NR_FREE_PAGES", zone_page_state_exact(c->m, zone, NR_FREE_PAGES), listed + deferred);
    EXPECT(c, "F4 NR_FREE_CMA_PAGES", zone_page_state_exact(c->m, zone, NR_FREE_CMA_PAGES), cma);
    EXPECT(c, "F1 frames on free lists", listed, count.buddy);
    EXPECT(c, "P1 frames on per-cpu lists", pcp, count.pcp);
    EXPECT(c, "M3 managed_pages", zone->managed_pages, memblock_free_pages(c->m, zone));
    EXPECT(c, "managed_pages", zone->managed_pages, count.buddy + count.pcp + count.used + deferred);
    EXPECT(c, "ML NR_MLOCK", zone_page_state_exact(c->m, zone, NR_MLOCK), count.mlocked);
    for (u32 l = 0; l < NR_LRU_LISTS; l++) {
        EXPECT(c, "L3 zone LRU counter",
               zone_page_state_exact(c->m, zone, (enum zone_stat_item)(NR_ZONE_INACTIVE_ANON + l)), count.lru[l]);
        node_lru[l] += count.lru[l];
    }
}

/* The node's LRU lists against its counters and what the memmap says. */
static void check_lruvec(struct check_ctx *c, struct pglist_data *pgdat, const u64 *found)
{
    for (u32 l = 0; l < NR_LRU_LISTS; l++) {
        u64 pages = 0,
            counter = (u64)node_page_state(c->m, pgdat->node_id, (enum node_stat_item)(NR_INACTIVE_ANON + l));
        struct page *page;

        if (l == LRU_UNEVICTABLE) { /* counted, not listed */
            EXPECT(c, "L3 node unevictable counter", counter, found[l]);
            continue;
        }
        list_for_each_entry (page, &pgdat->lruvec.lists[l], lru) {
            if (pages > counter)
                break;
            if (!page_test_flag(page, PG_lru) || expected_list((struct folio *)page) != l ||
                page_to_nid(page) != pgdat->node_id)
                PAGE_FAIL(c, page, "L2 on an LRU list it does not belong to");
            pages += folio_nr_pages((struct folio *)page);
        }
        EXPECT(c, "L3 node LRU counter", counter, pages);
        EXPECT(c, "L1 pages with PG_lru", found[l], pages);
    }
}

static u64 lowmem_pages(const struct machine *m)
{
    u64 sum = 0;
    s32 nid;

    for_each_online_node(m->phys, nid) for (u32 z = 0; z < MAX_NR_ZONES; z++) sum +=
        is_highmem_idx((enum zone_type)z) ? 0 : NODE_DATA(m, nid)->node_zones[z].managed_pages;
    return sum;
}

void phys_check(struct machine *m, struct check_report *r)
{
    struct check_ctx c = {.m = m, .r = r};
    u64 lowmem = lowmem_pages(m), total = 0;
    s32 nid;

    memblock_check(&m->phys->memblock, r);
    for_each_online_node(m->phys, nid)
    {
        struct pglist_data *pgdat = NODE_DATA(m, nid);
        u64 lru[NR_LRU_LISTS] = {0};

        for (u32 z = 0; z < MAX_NR_ZONES; z++) {
            c.zone = &pgdat->node_zones[z];
            quire_snprintf(c.name, sizeof(c.name), "node %d %s", nid, zone_name((enum zone_type)z));
            check_zone(&c, lowmem, lru);
            total += c.zone->managed_pages;
        }
        check_lruvec(&c, pgdat, lru);
    }
    CHECK_EQ(r, m->phys->totalram_pages, total, "totalram_pages");
}
