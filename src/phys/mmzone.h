/* SPDX-License-Identifier: MIT */
/*
 * Nodes and zones (Documentation/mm/physical_memory.rst).
 *
 *   pglist_data (node) ── node_zones[MAX_NR_ZONES] ── free_area[0..10] ── one list of free blocks for each migrate type
 *        │                      │
 *        │                      ├── pcp[cpu]      pages a CPU holds for itself: no lock
 *        │                      └── deferred[]    free MAX_PAGE_ORDER blocks whose memmap nobody has touched yet
 *        └── node_zonelists[]   the order in which an allocation looks at zones
 *
 * Field keys: c constant after boot · z zone->lock to write, readers take relaxed loads · o the CPU that owns it ·
 *             s sysctl setters (one at a time), readers take relaxed loads · a atomic.
 */
#ifndef QUIRE_PHYS_MMZONE_H
#define QUIRE_PHYS_MMZONE_H

#include "base/lock.h"
#include "phys/lru.h"
#include "phys/page_alloc.h"
#include "phys/vmstat.h"

/* In the order of the PGALLOC_* events, which are PGALLOC_DMA + zone type. */
enum zone_type { ZONE_DMA, ZONE_DMA32, ZONE_NORMAL, ZONE_HIGHMEM, ZONE_MOVABLE, ZONE_DEVICE, MAX_NR_ZONES };

enum migratetype {
    MIGRATE_UNMOVABLE,
    MIGRATE_MOVABLE,
    MIGRATE_RECLAIMABLE,
    MIGRATE_PCPTYPES, /* number of types on the per-cpu lists */
    MIGRATE_HIGHATOMIC = MIGRATE_PCPTYPES,
    MIGRATE_CMA,
    MIGRATE_ISOLATE,
    MIGRATE_TYPES
};

enum zone_watermark { WMARK_MIN, WMARK_LOW, WMARK_HIGH, WMARK_PROMO, NR_WMARK };

#define MAX_ORDER_NR_PAGES (1ul << MAX_PAGE_ORDER)

/* Orders 0..3 for each of three types, and pageblock_order (huge pages). */
#define NR_LOWORDER_PCP_LISTS (MIGRATE_PCPTYPES * (PAGE_ALLOC_COSTLY_ORDER + 1))
#define NR_PCP_LISTS (NR_LOWORDER_PCP_LISTS + 1)
#define PCP_BATCH_SCALE_MAX 5

struct free_area {
    struct list_head free_list[MIGRATE_TYPES]; /* z: head pages, PGTY_buddy, private = order */
    _Atomic u32 nr_free[MIGRATE_TYPES];        /* z: blocks on each list */
};

enum pcp_flags { PCPF_PREV_FREE_HIGH_ORDER = 1u << 0 };

/* One CPU's share of one zone: 256 bytes. */
struct per_cpu_zone {
    struct list_head lists[NR_PCP_LISTS]; /* o: by pcp_list_index() */
    u32 count;                            /* o: base pages on all lists */
    u32 high;                      /* o: more than this many are given back; tuned between high_min and high_max */
    u32 high_min, high_max, batch; /* s */
    u16 free_count;                /* o: pages freed since the last allocations, halved by each of them */
    u8 alloc_factor;               /* o: refill batch << alloc_factor */
    u8 flags;                      /* o: enum pcp_flags */
    _Atomic s8 vm_stat_diff[NR_VM_ZONE_STAT_ITEMS]; /* o writes, others read */
    s8 stat_threshold;                              /* c */
} __cacheline_aligned;

struct per_cpu_node {
    _Atomic s8 vm_node_stat_diff[NR_VM_NODE_STAT_ITEMS]; /* o writes, others read */
    s8 stat_threshold;                                   /* c */
} __cacheline_aligned;

/* Blocks of MAX_ORDER_NR_PAGES pages: [start, end) in units of blocks. */
struct deferred_range {
    u64 start, end;
};

enum zone_flags {
    ZONE_BOOSTED_WATERMARK = 1u << 0, /* a fallback raised the watermark: wake kswapd */
    ZONE_RECLAIM_ACTIVE = 1u << 1,    /* kswapd works on the zone */
    ZONE_BELOW_HIGH = 1u << 2,        /* free pages are under the high watermark: per-cpu lists stay short */
};

struct zone {
    /* read by every allocation */
    _Atomic u64 _watermark[NR_WMARK];         /* s */
    _Atomic u64 watermark_boost;              /* z */
    _Atomic u64 lowmem_reserve[MAX_NR_ZONES]; /* s: pages kept from requests that could use a higher zone */
    _Atomic u64 nr_reserved_highatomic;       /* z */
    /* z: bit i: an order-0 request that may use zones up to i
     * is above the high watermark; zone_unlock() keeps it true */
    _Atomic u8 rich;
    struct per_cpu_zone *pcp;                   /* c: [nr_cpus] */
    struct pglist_data *zone_pgdat;             /* c */
    u8 zone_idx;                                /* c: enum zone_type */
    s32 node;                                   /* c */
    _Atomic u32 flags;                          /* a: enum zone_flags */
    _Atomic s64 vm_stat[NR_VM_ZONE_STAT_ITEMS]; /* a; NR_FREE_PAGES: z, exact, deferred blocks included */

    spinlock_t lock __cacheline_aligned;
    struct free_area free_area[NR_PAGE_ORDERS];
    struct deferred_range *deferred; /* z: ascending; the lowest block is initialised first */
    u32 nr_deferred_ranges;          /* z: entries of deferred[] */
    u32 next_deferred;               /* z: first entry that is not used up */
    _Atomic u64 nr_deferred_blocks;  /* z */

    u64 zone_start_pfn; /* c */
    u64 spanned_pages;  /* c: end - start, holes included */
    u64 present_pages;  /* c: spanned minus holes */
    u64 managed_pages;  /* c: present minus what memblock keeps: given to the buddy allocator */
    u64 compact_considered, compact_defer_shift; /* for compaction's deferral */
} __cacheline_aligned;

struct zoneref {
    struct zone *zone; /* NULL ends the list */
    u32 zone_idx;
};

struct zonelist {
    struct zoneref _zonerefs[MAX_NODES * MAX_NR_ZONES + 1];
};

enum { ZONELIST_FALLBACK, ZONELIST_NOFALLBACK, MAX_ZONELISTS };

struct lruvec {
    spinlock_t lru_lock;
    struct list_head lists[NR_LRU_LISTS]; /* lru_lock */
};

struct pglist_data {
    struct zone node_zones[MAX_NR_ZONES];
    struct zonelist *node_zonelists[MAX_ZONELISTS]; /* c */
    /* c: where the fallback list starts for each highest zone: the fast path's first zone, NULL: none */
    struct zone *first_zone[MAX_NR_ZONES];
    struct lruvec lruvec;
    struct per_cpu_node *per_cpu;               /* c: [nr_cpus] */
    _Atomic s64 vm_stat[NR_VM_NODE_STAT_ITEMS]; /* a */
    s32 node_id;
    u32 nr_zones; /* c: highest populated zone + 1 */
    u64 node_start_pfn, node_spanned_pages, node_present_pages;
    u64 totalreserve_pages; /* s */
};

/* -- zones --------------------------------------------------------------------------------------------------------- */

static inline bool populated_zone(const struct zone *z)
{
    return z->present_pages != 0;
}

static inline bool managed_zone(const struct zone *z)
{
    return z->managed_pages != 0;
}

static inline bool is_highmem_idx(enum zone_type idx)
{
    return idx == ZONE_HIGHMEM || idx == ZONE_MOVABLE;
}

static inline u64 zone_end_pfn(const struct zone *z)
{
    return z->zone_start_pfn + z->spanned_pages;
}

static inline u64 zone_page_state(const struct zone *z, enum zone_stat_item item)
{
    s64 n = atomic_load_explicit(&((struct zone *)(uintptr_t)z)->vm_stat[item], memory_order_relaxed);

    return n < 0 ? 0 : (u64)n;
}

static inline u64 wmark_pages(const struct zone *z, enum zone_watermark w)
{
    struct zone *zone = (struct zone *)(uintptr_t)z;

    return atomic_load_explicit(&zone->_watermark[w], memory_order_relaxed) +
           atomic_load_explicit(&zone->watermark_boost, memory_order_relaxed);
}

/* The highest zone a request may use, by its zone modifiers. */
static inline enum zone_type gfp_zone(gfp_t gfp)
{
    static const u8 table[16] = {
        [0] = ZONE_NORMAL,
        [__GFP_DMA] = ZONE_DMA,
        [__GFP_HIGHMEM] = ZONE_HIGHMEM,
        [__GFP_DMA | __GFP_HIGHMEM] = ZONE_DMA, /* not allowed in Linux; the stricter one */
        [__GFP_DMA32] = ZONE_DMA32,
        [__GFP_DMA32 | __GFP_DMA] = ZONE_DMA,
        [__GFP_DMA32 | __GFP_HIGHMEM] = ZONE_DMA32,
        [__GFP_DMA32 | __GFP_HIGHMEM | __GFP_DMA] = ZONE_DMA,
        [__GFP_MOVABLE] = ZONE_NORMAL,
        [__GFP_MOVABLE | __GFP_DMA] = ZONE_DMA,
        [__GFP_MOVABLE | __GFP_HIGHMEM] = ZONE_MOVABLE,
        [__GFP_MOVABLE | __GFP_DMA | __GFP_HIGHMEM] = ZONE_DMA,
        [__GFP_MOVABLE | __GFP_DMA32] = ZONE_DMA32,
        [__GFP_MOVABLE | __GFP_DMA32 | __GFP_DMA] = ZONE_DMA,
        [__GFP_MOVABLE | __GFP_DMA32 | __GFP_HIGHMEM] = ZONE_DMA32,
        [15] = ZONE_DMA,
    };

    return (enum zone_type)table[gfp & GFP_ZONEMASK];
}

static inline enum migratetype gfp_migratetype(gfp_t gfp)
{
    return (enum migratetype)((gfp & (__GFP_MOVABLE | __GFP_RECLAIMABLE)) >> 3);
}

/* -- zonelists ----------------------------------------------------------------------------------------------------- */

static inline bool node_isset(const u64 *nodemask, s32 nid)
{
    return !nodemask || (*nodemask >> nid & 1);
}

/* First entry at or after z whose zone index is <= highest and
 * whose node is in nodemask (NULL: all); zone NULL at the end. */
static inline struct zoneref *next_zones_zonelist(struct zoneref *z, enum zone_type highest, const u64 *nodemask)
{
    while (z->zone && (z->zone_idx > (u32)highest || !node_isset(nodemask, z->zone->node)))
        z++;
    return z;
}

static inline struct zoneref *first_zones_zonelist(struct zonelist *zl, enum zone_type highest, const u64 *nodemask)
{
    return next_zones_zonelist(zl->_zonerefs, highest, nodemask);
}

#define for_next_zone_zonelist_nodemask(zone_, z, highidx, nodemask)                                                   \
    for ((zone_) = (z)->zone; (zone_); (z) = next_zones_zonelist((z) + 1, highidx, nodemask), (zone_) = (z)->zone)

#define for_each_zone_zonelist_nodemask(zone_, z, zlist, highidx, nodemask)                                            \
    (z) = first_zones_zonelist(zlist, highidx, nodemask);                                                              \
    for_next_zone_zonelist_nodemask(zone_, z, highidx, nodemask)

/* What an allocation looks for; pressure_ops get it. */
struct alloc_context {
    struct zonelist *zonelist;
    const u64 *nodemask;
    struct zoneref *preferred_zoneref;
    enum migratetype migratetype;
    enum zone_type highest_zoneidx;
    bool spread_dirty_pages;
};

#endif
