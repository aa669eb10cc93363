/* SPDX-License-Identifier: MIT */
/*
 * The page allocator: what alloc_pages() and __free_pages() do.
 *
 *   __alloc_pages ─┬─ fast: order 0, first zone, above its high watermark, this CPU's list not empty (no lock, no loop)
 *                  ├─ get_page_from_freelist(): each zone of the zonelist in order
 *                  │      cpuset → dirty limit → fragmentation → watermarks → node reclaim → rmqueue
 *                  └─ alloc_pages_slowpath(): alloc_slow.c
 *
 *   free: refcount drops to 0 → checks, flags cleared → this CPU's list, or the zone's for large orders and ISOLATE
 *
 * The fast path gives exactly what the general one would give: it is the same steps with the common answers. Zones and
 * types come from the GFP flags (phys/gfp.h, Documentation/core-api/memory-allocation.rst).
 *
 * Contents: __GFP_ZERO clears pages that the machine's kernel uses always, and user pages (__GFP_MOVABLE or
 * __GFP_HIGHMEM) only where the machine keeps their contents (content=full); the time is charged in both cases.
 *
 * Invariants: a page handed out has refcount 1, mapcount -1, no mapping, no flags; bad_page() tells what is wrong
 * otherwise. A page given back has no mapping (a stale anonymous one is dropped here), no LRU, lock or writeback
 * flag. Pages with a kernel type (slab, page table) may leave any value in the words of struct page that the type
 * overlays: they are cleared here.
 */
#include "base/task.h"
#include "phys/phys_priv.h"

/* vm.dirty_ratio's default: a node may hold this part of its dirtyable pages dirty. */
#define DIRTY_RATIO 20

/* -- checks of pages ----------------------------------------------------------------------------------------------- */

__cold _Noreturn void bad_page(struct machine *m, const struct page *page, const char *why)
{
    struct check_report r = {0};
    struct page *p = (struct page *)(uintptr_t)page;

    check_fail(&r, "bad page: pfn %llx: %s: flags %llx refcount %d mapcount %d mapping %llx private %llx",
               (unsigned long long)page_to_pfn_nr(m, page), why, (unsigned long long)atomic_load(&p->flags),
               atomic_load(&p->_refcount), atomic_load(&p->_mapcount), (unsigned long long)(uintptr_t)page->mapping,
               (unsigned long long)page->private);
    port_log(PORT_LOG_ERR, r.text[0]);
    port_assert_fail("page state", __FILE__, __LINE__, why);
}

__cold static void check_failed(struct machine *m, struct page *p, u64 flags)
{
    if (atomic_load_explicit(&p->_refcount, memory_order_relaxed))
        bad_page(m, p, "nonzero _refcount");
    if (atomic_load_explicit(&p->_mapcount, memory_order_relaxed) != -1)
        bad_page(m, p, "nonzero mapcount");
    if (p->mapping)
        bad_page(m, p, "non-NULL mapping");
    if (atomic_load_explicit(&p->flags, memory_order_relaxed) & flags)
        bad_page(m, p, "flags set");
}

/* refcount 0, mapcount -1, no mapping, none of `flags`: one cache line, one branch. */
static inline void check_page(struct machine *m, struct page *p, u64 flags)
{
    u64 bad = (atomic_load_explicit(&p->flags, memory_order_relaxed) & flags) | (u64)(uintptr_t)p->mapping |
              (u32)atomic_load_explicit(&p->_refcount, memory_order_relaxed) |
              ~atomic_load_explicit(&p->page_type, memory_order_relaxed);

    if (unlikely(bad))
        check_failed(m, p, flags);
}

/* _mapcount (low half) and _refcount as one word. */
#define PAGE_COUNTS_FREE 0xffffffffull               /* -1, 0 */
#define PAGE_COUNTS_NEW (1ull << 32 | 0xffffffffull) /* -1, 1 */
#define PAGE_COUNTS_PCP ((u64)PGTY_pcp)              /* on a list, 0 */
_Static_assert(offsetof(struct page, _refcount) == offsetof(struct page, _mapcount) + 4, "one aligned word");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "_mapcount is the low half");

static inline u64 page_counts(struct page *p)
{
    return atomic_load_explicit((_Atomic u64 *)(void *)&p->_mapcount, memory_order_relaxed);
}

static inline void set_page_counts(struct page *p, u64 counts)
{
    atomic_store_explicit((_Atomic u64 *)(void *)&p->_mapcount, counts, memory_order_relaxed);
}

static inline void clear_page_flags(struct page *p)
{
    u64 flags = atomic_load_explicit(&p->flags, memory_order_relaxed);

    if (flags & PAGE_FLAGS_CHECK_AT_PREP)
        atomic_store_explicit(&p->flags, flags & ~PAGE_FLAGS_CHECK_AT_PREP, memory_order_relaxed);
}

/* -- preparing ----------------------------------------------------------------------------------------------------- */

static void prep_compound_page(struct page *page, unsigned int order)
{
    for (u64 i = 1; i < 1ul << order; i++)
        page[i].compound_head = (u64)(uintptr_t)page | 1;
    memset(&page[1].words_[1], 0, sizeof(page[1].words_) - sizeof(u64));
    page[1].folio_order = (u8)order;
    page[1].folio_nr_pages = 1u << order;
    atomic_store_explicit(&page[1].large_mapcount, -1, memory_order_relaxed);
    atomic_store_explicit(&page[1].entire_mapcount, -1, memory_order_relaxed);
    atomic_fetch_or_explicit(&page->flags, BIT(PG_head), memory_order_relaxed);
}

__noinline static void zero_pages(struct cpu *cpu, struct page *page, unsigned int order, gfp_t gfp)
{
    bool user = gfp & (__GFP_MOVABLE | __GFP_HIGHMEM);

    charge_n(cpu, COST_ZERO_PAGE, 1ul << order);
    if (!user || cpu->m->config.content == CONTENT_FULL)
        memset(page_address(cpu->m, page), 0, PAGE_SIZE << order);
}

/* A block off the free lists becomes the caller's. */
void prep_new_page(struct cpu *cpu, struct page *page, unsigned int order, gfp_t gfp)
{
    for (u64 i = 0; i < (QUIRE_DEBUG ? 1ul << order : 1); i++)
        check_page(cpu->m, page + i, PAGE_FLAGS_CHECK_AT_PREP);
    page->private = 0;
    atomic_store_explicit(&page->_refcount, 1, memory_order_relaxed);
    if (gfp & __GFP_ZERO)
        zero_pages(cpu, page, order, gfp);
    if (order && (gfp & __GFP_COMP))
        prep_compound_page(page, order);
}

__cold static void drop_page_type(struct page *page)
{
    memset(page->words_, 0, sizeof(page->words_));
    atomic_store_explicit(&page->page_type, PAGE_TYPE_NONE, memory_order_relaxed);
}

__noinline static void free_tails_prepare(struct machine *m, struct page *page, unsigned int order)
{
    bool compound = page_test_flag(page, PG_head);

    if (compound) {
        if (page[1].folio_order != order)
            bad_page(m, page, "freed with another order than it was allocated with");
        if (atomic_load(&page[1].large_mapcount) != -1 || atomic_load(&page[1].entire_mapcount) != -1 ||
            atomic_load(&page[1].nr_pages_mapped) || atomic_load(&page[1].pincount))
            bad_page(m, page + 1, "nonzero compound counters");
        memset(page[1].words_ + 1, 0, sizeof(page[1].words_) - sizeof(u64));
    }
    for (u64 i = 1; i < 1ul << order; i++) {
        struct page *tail = page + i;

        if (compound && tail->compound_head != ((u64)(uintptr_t)page | 1))
            bad_page(m, tail, "compound_head is not the head");
        tail->compound_head = 0;
        check_page(m, tail, PAGE_FLAGS_CHECK_AT_FREE);
        clear_page_flags(tail);
    }
}

/* The last reference is gone: from here on the block belongs to the allocator. */
static inline void free_pages_prepare(struct machine *m, struct page *page, unsigned int order)
{
    u32 type = atomic_load_explicit(&page->page_type, memory_order_relaxed);

    if (unlikely(type != PAGE_TYPE_NONE && (s32)type < -1))
        drop_page_type(page);
    if ((uintptr_t)page->mapping & PAGE_MAPPING_ANON)
        page->mapping = NULL;
    check_page(m, page, PAGE_FLAGS_CHECK_AT_FREE);
    if (unlikely(order))
        free_tails_prepare(m, page, order);
    clear_page_flags(page);
}

/* -- this CPU's lists ---------------------------------------------------------------------------------------------- */

static inline struct page *pcp_pop(struct per_cpu_zone *pcp, struct list_head *list, unsigned int order)
{
    struct page *page = list_first_entry(list, struct page, lru);

    list_del(&page->lru);
    atomic_store_explicit(&page->page_type, PAGE_TYPE_NONE, memory_order_relaxed);
    pcp->count -= 1u << order;
    return page;
}

static inline void pcp_push(struct cpu *cpu, struct zone *zone, struct page *page, unsigned int order,
                            enum migratetype mt)
{
    struct per_cpu_zone *pcp = &zone->pcp[cpu->id];
    u32 index = pcp_list_index(mt, order);
    bool free_high = false;

    if (page->private != order)
        page->private = order;
    set_page_counts(page, PAGE_COUNTS_PCP);
    list_add(&page->lru, &pcp->lists[index]);
    pcp->count += 1u << order;
    if (pcp->alloc_factor) /* stores are dear here: the next atomic operation waits for them */
        pcp->alloc_factor >>= 1;
    if (unlikely(order && order <= PAGE_ALLOC_COSTLY_ORDER)) {
        /* High-order pages freed in a row: let them merge rather than pile up. */
        free_high = pcp->free_count >= pcp->batch && (pcp->flags & PCPF_PREV_FREE_HIGH_ORDER);
        pcp->flags |= PCPF_PREV_FREE_HIGH_ORDER;
    } else if (unlikely(pcp->flags)) {
        pcp->flags = 0;
    }
    if (pcp->free_count < pcp->batch << PCP_BATCH_SCALE_MAX)
        pcp->free_count = (u16)(pcp->free_count + (1u << order));
    if (unlikely(pcp->count >= pcp->high) || unlikely(free_high) ||
        unlikely(atomic_load_explicit(&zone->flags, memory_order_relaxed)))
        pcp_trim(cpu, zone, pcp, index, free_high);
}

/* -- allocation ---------------------------------------------------------------------------------------------------- */

static inline void count_alloc(struct cpu *cpu, const struct zone *zone, s32 preferred_nid, unsigned int order)
{
    cpu->event[PGALLOC_DMA + zone->zone_idx] += 1ul << order;
    if (likely(zone->node == preferred_nid)) {
        cpu->event[NUMA_HIT]++;
    } else {
        cpu->event[NUMA_MISS]++;
        cpu->event[NUMA_FOREIGN]++;
    }
    cpu->event[zone->node == cpu->node ? NUMA_LOCAL : NUMA_OTHER]++;
}

static struct page *rmqueue_pcplist(struct cpu *cpu, struct zone *zone, unsigned int order, enum migratetype mt,
                                    u32 alloc_flags)
{
    struct per_cpu_zone *pcp = &zone->pcp[cpu->id];
    struct list_head *list = &pcp->lists[pcp_list_index(mt, order)];

    pcp->free_count >>= 1;
    if (list_empty(list) && !pcp_refill(cpu, zone, pcp, order, mt, alloc_flags))
        return NULL;
    return pcp_pop(pcp, list, order);
}

static struct page *rmqueue_buddy(struct cpu *cpu, struct zone *zone, unsigned int order, enum migratetype mt,
                                  u32 alloc_flags)
{
    struct machine *m = cpu->m;
    struct page *page = NULL;

    spin_lock(cpu, &zone->lock);
    if (alloc_flags & ALLOC_HIGHATOMIC)
        page = rmqueue_smallest(m, zone, order, MIGRATE_HIGHATOMIC);
    if (!page)
        page = rmqueue(m, zone, order, mt, alloc_flags);
    /* Somebody about to fail, or killed, may break into the reserve for others. */
    if (!page && (alloc_flags & (ALLOC_OOM | ALLOC_NON_BLOCK)))
        page = rmqueue_smallest(m, zone, order, MIGRATE_HIGHATOMIC);
    zone_unlock(cpu, zone);
    return page;
}

static struct page *zone_take(struct cpu *cpu, struct zone *zone, gfp_t gfp, unsigned int order, u32 alloc_flags,
                              const struct alloc_context *ac)
{
    struct page *page = NULL;

    /* The huge page list holds movable blocks only. */
    if (pcp_allowed_order(order) && (order <= PAGE_ALLOC_COSTLY_ORDER || ac->migratetype == MIGRATE_MOVABLE))
        page = rmqueue_pcplist(cpu, zone, order, ac->migratetype, alloc_flags);
    if (!page)
        page = rmqueue_buddy(cpu, zone, order, ac->migratetype, alloc_flags);
    if (page)
        count_alloc(cpu, zone, ac->preferred_zoneref->zone->node, order);
    if (unlikely(atomic_load_explicit(&zone->flags, memory_order_relaxed) & ZONE_BOOSTED_WATERMARK) &&
        (alloc_flags & ALLOC_KSWAPD)) {
        const struct pressure_ops *ops = pressure_of(cpu);

        atomic_fetch_and_explicit(&zone->flags, ~(u32)ZONE_BOOSTED_WATERMARK, memory_order_relaxed);
        if (ops->wake_kswapd)
            ops->wake_kswapd(cpu, zone, gfp, 0, zone->zone_idx);
    }
    return page;
}

/* May the node take one more dirty page? */
static bool node_dirty_ok(const struct pglist_data *node)
{
    struct pglist_data *pgdat = (struct pglist_data *)(uintptr_t)node;
    s64 dirtyable = 0, dirty;

    for (u32 z = 0; z < MAX_NR_ZONES; z++)
        dirtyable += (s64)zone_page_state(&pgdat->node_zones[z], NR_FREE_PAGES);
    dirtyable -= MIN(dirtyable, (s64)pgdat->totalreserve_pages);
    dirtyable += atomic_load_explicit(&pgdat->vm_stat[NR_INACTIVE_FILE], memory_order_relaxed) +
                 atomic_load_explicit(&pgdat->vm_stat[NR_ACTIVE_FILE], memory_order_relaxed);
    dirty = atomic_load_explicit(&pgdat->vm_stat[NR_FILE_DIRTY], memory_order_relaxed) +
            atomic_load_explicit(&pgdat->vm_stat[NR_WRITEBACK], memory_order_relaxed);
    return dirty <= dirtyable * DIRTY_RATIO / 100;
}

/* Order 0 is the common case: no block to look for. */
static bool zone_watermark_fast(const struct zone *z, unsigned int order, u64 mark, enum zone_type highest,
                                u32 alloc_flags)
{
    struct zone *zone = (struct zone *)(uintptr_t)z;

    if (zone_watermark_ok(z, order, mark, highest, alloc_flags))
        return true;
    /* An atomic order-0 request is not held up by a boost: it is not what fragments memory. */
    if (!order && (alloc_flags & ALLOC_MIN_RESERVE) && (alloc_flags & ALLOC_WMARK_MASK) == ALLOC_WMARK_MIN &&
        atomic_load_explicit(&zone->watermark_boost, memory_order_relaxed)) {
        mark = atomic_load_explicit(&zone->_watermark[WMARK_MIN], memory_order_relaxed);
        return zone_watermark_ok(z, order, mark, highest, alloc_flags);
    }
    return false;
}

/* Watermarks, and reclaim of this node where the mechanism for it is supplied. */
static bool zone_has_room(struct cpu *cpu, struct zone *zone, gfp_t gfp, unsigned int order, u32 alloc_flags,
                          const struct alloc_context *ac)
{
    const struct pressure_ops *ops = pressure_of(cpu);
    u64 mark;

    if (!(atomic_load_explicit(&zone->flags, memory_order_relaxed) & ZONE_BELOW_HIGH)) {
        if (zone_watermark_fast(zone, order, wmark_pages(zone, WMARK_HIGH), ac->highest_zoneidx, alloc_flags))
            return true;
        atomic_fetch_or_explicit(&zone->flags, ZONE_BELOW_HIGH, memory_order_relaxed);
    }
    mark = wmark_pages(zone, (enum zone_watermark)(alloc_flags & ALLOC_WMARK_MASK));
    if (zone_watermark_fast(zone, order, mark, ac->highest_zoneidx, alloc_flags))
        return true;
    if (alloc_flags & ALLOC_NO_WATERMARKS)
        return true;
    if (!ops->node_reclaim || !ops->node_reclaim(cpu, zone, gfp, order))
        return false;
    return zone_watermark_ok(zone, order, mark, ac->highest_zoneidx, alloc_flags);
}

/* The zones of the list in order; NULL: none would give the pages. One round. */
static struct page *scan_zonelist(struct cpu *cpu, gfp_t gfp, unsigned int order, u32 alloc_flags,
                                  const struct alloc_context *ac, bool *nofragment_blocked)
{
    const struct pglist_data *last_dirty_full = NULL;
    struct zoneref *z = ac->preferred_zoneref;
    struct zone *zone;

    for_next_zone_zonelist_nodemask(zone, z, ac->highest_zoneidx, ac->nodemask)
    {
        struct page *page;

        if (ac->spread_dirty_pages) {
            if (last_dirty_full == zone->zone_pgdat)
                continue;
            if (!node_dirty_ok(zone->zone_pgdat)) {
                last_dirty_full = zone->zone_pgdat;
                continue;
            }
        }
        /* Fragmenting the local node is better than a remote page. */
        if ((alloc_flags & ALLOC_NOFRAGMENT) && zone->node != ac->preferred_zoneref->zone->node) {
            *nofragment_blocked = true;
            return NULL;
        }
        if (!zone_has_room(cpu, zone, gfp, order, alloc_flags, ac))
            continue;
        page = zone_take(cpu, zone, gfp, order, alloc_flags, ac);
        if (!page)
            continue;
        prep_new_page(cpu, page, order, gfp);
        if (unlikely(order && (alloc_flags & ALLOC_HIGHATOMIC)))
            reserve_highatomic_pageblock(cpu, zone, page, order);
        return page;
    }
    return NULL;
}

struct page *get_page_from_freelist(struct cpu *cpu, gfp_t gfp, unsigned int order, u32 alloc_flags,
                                    struct alloc_context *ac)
{
    for (;;) {
        bool blocked = false;
        struct page *page = scan_zonelist(cpu, gfp, order, alloc_flags, ac, &blocked);

        if (page || !(alloc_flags & ALLOC_NOFRAGMENT))
            return page;
        alloc_flags &= ~(u32)ALLOC_NOFRAGMENT; /* rather fragment than fail or go far away */
    }
}

/* Rather use the DMA32 zone than fragment NORMAL: only where DMA32 is the next zone of the same node. */
static u32 alloc_flags_nofragment(const struct zone *zone, gfp_t gfp)
{
    u32 flags = gfp & __GFP_KSWAPD_RECLAIM ? ALLOC_KSWAPD : 0;

    if (zone->zone_idx == ZONE_NORMAL && populated_zone(zone - 1))
        flags |= ALLOC_NOFRAGMENT;
    return flags;
}

static bool prepare_alloc(struct cpu *cpu, gfp_t gfp, int nid, const u64 *nodemask, struct alloc_context *ac)
{
    struct pglist_data *pgdat = NODE_DATA(cpu->m, nid);

    ac->highest_zoneidx = gfp_zone(gfp);
    ac->zonelist = pgdat->node_zonelists[gfp & __GFP_THISNODE ? ZONELIST_NOFALLBACK : ZONELIST_FALLBACK];
    ac->nodemask = nodemask;
    ac->migratetype = gfp_migratetype(gfp);
    ac->spread_dirty_pages = gfp & __GFP_WRITE;
    ac->preferred_zoneref = first_zones_zonelist(ac->zonelist, ac->highest_zoneidx, nodemask);
    return ac->preferred_zoneref->zone != NULL;
}

__noinline static struct page *alloc_pages_general(struct cpu *cpu, gfp_t gfp, unsigned int order, int nid,
                                                   const u64 *nodemask)
{
    struct alloc_context ac;
    struct page *page;
    u32 flags = ALLOC_WMARK_LOW | ALLOC_CPUSET;

    if (order > MAX_PAGE_ORDER || !prepare_alloc(cpu, gfp, nid, nodemask, &ac))
        return NULL;
    if (cpu->current && (cpu->current->flags & PF_MEMALLOC_NOIO))
        gfp &= ~(__GFP_IO | __GFP_FS);
    else if (cpu->current && (cpu->current->flags & PF_MEMALLOC_NOFS))
        gfp &= ~__GFP_FS;
    flags = gfp_to_alloc_flags_cma(gfp, flags) | alloc_flags_nofragment(ac.preferred_zoneref->zone, gfp);
    page = get_page_from_freelist(cpu, gfp, order, flags, &ac);
    if (likely(page))
        return page;
    ac.spread_dirty_pages = false;
    ac.nodemask = nodemask;
    return alloc_pages_slowpath(cpu, gfp, order, &ac);
}

/*
 * Order 0, first zone, list not empty, plenty free. _mapcount and _refcount are neighbours: both are checked with one
 * load and set with one store. A page on a list has private 0 already.
 */
static inline struct page *alloc_page_fast(struct cpu *cpu, gfp_t gfp, int nid)
{
    enum zone_type highest = gfp_zone(gfp);
    struct zone *zone = NODE_DATA(cpu->m, nid)->first_zone[highest];
    struct per_cpu_zone *pcp;
    struct list_head *list;
    struct page *page;

    if (unlikely(!zone) || unlikely(!(atomic_load_explicit(&zone->rich, memory_order_relaxed) >> highest & 1)))
        return NULL;
    pcp = &zone->pcp[cpu->id];
    list = &pcp->lists[pcp_list_index(gfp_migratetype(gfp), 0)];
    if (unlikely(list_empty(list)))
        return NULL;
    page = list_first_entry(list, struct page, lru);
    list_del(&page->lru);
    pcp->count--;
    if (pcp->free_count)
        pcp->free_count >>= 1;
    count_alloc(cpu, zone, zone->node, 0);
    if (unlikely((atomic_load_explicit(&page->flags, memory_order_relaxed) & PAGE_FLAGS_CHECK_AT_PREP) |
                 (u64)(uintptr_t)page->mapping | (page_counts(page) ^ PAGE_COUNTS_PCP)))
        bad_page(cpu->m, page, "changed while on a per-cpu list");
    set_page_counts(page, PAGE_COUNTS_NEW);
    if (unlikely(gfp & __GFP_ZERO))
        zero_pages(cpu, page, 0, gfp);
    return page;
}

struct page *__alloc_pages(struct cpu *cpu, gfp_t gfp, unsigned int order, int preferred_nid, const u64 *nodemask)
{
    if (unlikely(should_fail(cpu->m)) && !(gfp & __GFP_NOFAIL))
        return NULL;
    if (likely(!order && !nodemask && !(gfp & (__GFP_WRITE | __GFP_THISNODE)))) {
        struct page *page = alloc_page_fast(cpu, gfp, preferred_nid);

        if (likely(page))
            return page;
    }
    return alloc_pages_general(cpu, gfp, order, preferred_nid, nodemask);
}

struct page *alloc_pages(struct cpu *cpu, gfp_t gfp, unsigned int order)
{
    return __alloc_pages(cpu, gfp, order, cpu->node, NULL);
}

struct page *alloc_pages_node(struct cpu *cpu, int nid, gfp_t gfp, unsigned int order)
{
    return __alloc_pages(cpu, gfp, order, nid == NUMA_NO_NODE ? cpu->node : nid, NULL);
}

struct folio *folio_alloc(struct cpu *cpu, gfp_t gfp, unsigned int order)
{
    return (struct folio *)alloc_pages(cpu, gfp | __GFP_COMP, order);
}

/* -- freeing ------------------------------------------------------------------------------------------------------- */

__noinline static void free_to_zone(struct cpu *cpu, struct zone *zone, struct page *page, unsigned int order)
{
    spin_lock(cpu, &zone->lock);
    free_one_page(cpu->m, zone, page, order, pageblock_mt(cpu->m, page_to_pfn_nr(cpu->m, page)), FREE_TO_HEAD);
    zone_unlock(cpu, zone);
}

/* The block's checks are done; where it goes. */
static inline void free_prepared(struct cpu *cpu, struct page *page, unsigned int order)
{
    struct machine *m = cpu->m;
    struct zone *zone = page_zone(m, page);
    enum migratetype mt = pageblock_mt(m, page_to_pfn_nr(m, page));

    cpu->event[PGFREE] += 1ul << order;
    if (unlikely(mt >= MIGRATE_PCPTYPES)) {
        if (mt == MIGRATE_ISOLATE) {
            free_to_zone(cpu, zone, page, order);
            return;
        }
        mt = MIGRATE_MOVABLE; /* HIGHATOMIC and CMA pages serve movable requests while they are on a list */
    }
    if (likely(pcp_allowed_order(order)) && (order <= PAGE_ALLOC_COSTLY_ORDER || mt == MIGRATE_MOVABLE))
        pcp_push(cpu, zone, page, order, mt);
    else
        free_to_zone(cpu, zone, page, order);
}

__noinline static void free_unref_page_general(struct cpu *cpu, struct page *page, unsigned int order)
{
    free_pages_prepare(cpu->m, page, order);
    free_prepared(cpu, page, order);
}

/* The same for what nearly always comes: one page, nothing wrong with it. */
static inline void free_page_fast(struct cpu *cpu, struct page *page)
{
    u64 flags = atomic_load_explicit(&page->flags, memory_order_relaxed);
    enum migratetype mt = pageblock_mt(cpu->m, page_to_pfn_nr(cpu->m, page));

    if (unlikely((flags & PAGE_FLAGS_CHECK_AT_FREE) | (page_counts(page) ^ PAGE_COUNTS_FREE)) ||
        unlikely(mt >= MIGRATE_PCPTYPES)) {
        free_unref_page_general(cpu, page, 0);
        return;
    }
    if (page->mapping) {
        if (unlikely(!((uintptr_t)page->mapping & PAGE_MAPPING_ANON)))
            bad_page(cpu->m, page, "freed with a mapping");
        page->mapping = NULL;
    }
    if (flags & PAGE_FLAGS_CHECK_AT_PREP)
        atomic_store_explicit(&page->flags, flags & ~PAGE_FLAGS_CHECK_AT_PREP, memory_order_relaxed);
    cpu->event[PGFREE]++;
    pcp_push(cpu, cpu->m->phys->zone_table[flags >> ZONES_PGSHIFT], page, 0, mt);
}

void free_unref_page(struct cpu *cpu, struct page *page, unsigned int order)
{
    if (likely(!order))
        free_page_fast(cpu, page);
    else
        free_unref_page_general(cpu, page, order);
}

void free_unref_folios(struct cpu *cpu, struct folio **folios, unsigned int nr)
{
    for (unsigned int i = 0; i < nr; i++)
        free_unref_page(cpu, &folios[i]->page, folio_order(folios[i]));
}

/*
 * Not the last reference of a block that is no folio: somebody looks at its first page. That page
 * waits for him, the rest goes.
 */
__cold static void free_all_but_first(struct cpu *cpu, struct page *page, unsigned int order, bool compound)
{
    while (!compound && order-- > 0)
        free_unref_page(cpu, page + (1ul << order), order);
}

void __free_pages(struct cpu *cpu, struct page *page, unsigned int order)
{
    bool compound = order && page_test_flag(page, PG_head); /* read before the last reference is gone */

    if (unlikely(!folio_put_testzero((struct folio *)page)))
        free_all_but_first(cpu, page, order, compound);
    else if (likely(!order))
        free_page_fast(cpu, page);
    else
        free_unref_page_general(cpu, page, order);
}

void *__get_free_pages(struct cpu *cpu, gfp_t gfp, unsigned int order)
{
    struct page *page = alloc_pages(cpu, gfp & ~__GFP_HIGHMEM, order);

    return page ? page_address(cpu->m, page) : NULL;
}

void *get_zeroed_page(struct cpu *cpu, gfp_t gfp)
{
    return __get_free_pages(cpu, gfp | __GFP_ZERO, 0);
}

void free_pages(struct cpu *cpu, void *addr, unsigned int order)
{
    if (addr)
        __free_pages(cpu, virt_to_page(cpu->m, addr), order);
}
