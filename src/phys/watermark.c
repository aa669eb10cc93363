/* SPDX-License-Identifier: MIT */
/*
 * Watermarks and everything computed from the sizes of zones (Documentation/admin-guide/sysctl/vm.rst).
 *
 *   free pages of a zone
 *     high   kswapd stops            low + distance
 *     low    kswapd is woken         min + distance   distance = max(min / 4, managed * watermark_scale_factor / 10000)
 *     min    direct reclaim          share of min_free_kbytes by managed pages
 *     0      only with reserves
 *
 * A request checks free > mark + lowmem_reserve[highest zone it may use]: a request that could use a higher
 * zone must leave a part of the lower zones alone: protection[j] = managed pages of the zones above, up to
 * j, / lowmem_reserve_ratio.
 * min_free_kbytes = 4 * sqrt(lowmem KiB), between 128 and 262144. Values compared with /proc/zoneinfo of a 6.18 x86-64
 * kernel in tests/unit/phys/watermark.c.
 *
 * All figures are recomputed as a whole by setup_per_zone_wmarks(); readers see each figure
 * whole, perhaps an older one.
 */
#include "phys/phys_priv.h"

#define SWAP_CLUSTER_MAX 32
#define MIN_PERCPU_PAGELIST_HIGH_FRACTION 8

/* The largest r with r * r <= n. */
u64 int_sqrt(u64 n)
{
    u64 r = 0;

    for (u64 bit = 1ul << 62; bit; bit >>= 2) {
        if (n >= r + bit) {
            n -= r + bit;
            r = (r >> 1) + bit;
        } else {
            r >>= 1;
        }
    }
    return r;
}

/* -- the check ----------------------------------------------------------------------------------------------------- */

/* Free pages that this request must not count on. */
static u64 unusable_free(const struct zone *z, unsigned int order, u32 alloc_flags)
{
    struct zone *zone = (struct zone *)(uintptr_t)z;
    u64 n = (1ul << order) - 1;

    if (!(alloc_flags & ALLOC_RESERVES))
        n += atomic_load_explicit(&zone->nr_reserved_highatomic, memory_order_relaxed);
    if (!(alloc_flags & ALLOC_CMA))
        n += zone_page_state(z, NR_FREE_CMA_PAGES);
    return n;
}

static bool has_block(const struct zone *z, unsigned int order, u32 alloc_flags)
{
    for (unsigned int o = order; o < NR_PAGE_ORDERS; o++) {
        for (u32 mt = 0; mt < MIGRATE_PCPTYPES; mt++)
            if (nr_free_blocks(z, o, (enum migratetype)mt))
                return true;
        if ((alloc_flags & ALLOC_CMA) && nr_free_blocks(z, o, MIGRATE_CMA))
            return true;
        if ((alloc_flags & (ALLOC_HIGHATOMIC | ALLOC_OOM)) && nr_free_blocks(z, o, MIGRATE_HIGHATOMIC))
            return true;
    }
    return false;
}

/* Would the zone, with `free_pages` free, stay above mark and have a block of this order? */
bool zone_watermark_ok_free(const struct zone *z, unsigned int order, u64 mark, enum zone_type highest, u32 alloc_flags,
                            u64 free_pages)
{
    struct zone *zone = (struct zone *)(uintptr_t)z;
    s64 min = (s64)mark, free = (s64)free_pages - (s64)unusable_free(z, order, alloc_flags);

    if (alloc_flags & ALLOC_MIN_RESERVE) {
        min -= min / 2;
        if (alloc_flags & ALLOC_NON_BLOCK)
            min -= min / 4;
    }
    if (alloc_flags & ALLOC_OOM)
        min -= min / 2;
    if (free <= min + (s64)atomic_load_explicit(&zone->lowmem_reserve[highest], memory_order_relaxed))
        return false;
    return !order || has_block(z, order, alloc_flags);
}

bool zone_watermark_ok(const struct zone *z, unsigned int order, u64 mark, enum zone_type highest, u32 alloc_flags)
{
    return zone_watermark_ok_free(z, order, mark, highest, alloc_flags, zone_page_state(z, NR_FREE_PAGES));
}

/* -- the figures --------------------------------------------------------------------------------------------------- */

static void set_u64(_Atomic u64 *p, u64 v)
{
    atomic_store_explicit(p, v, memory_order_relaxed);
}

static void setup_lowmem_reserve(struct machine *m, struct pglist_data *pgdat)
{
    for (u32 i = 0; i < MAX_NR_ZONES; i++) {
        struct zone *zone = &pgdat->node_zones[i];
        u32 ratio = m->config.lowmem_reserve_ratio[i];
        u64 above = 0;

        for (u32 j = i + 1; j < MAX_NR_ZONES; j++) {
            above += pgdat->node_zones[j].managed_pages;
            set_u64(&zone->lowmem_reserve[j], ratio && managed_zone(zone) ? above / ratio : 0);
        }
    }
}

static void setup_zone_wmark(struct machine *m, struct zone *zone, u64 pages_min, u64 lowmem_pages)
{
    u64 managed = zone->managed_pages, share = lowmem_pages ? pages_min * managed / lowmem_pages : 0, min = share, step;

    if (is_highmem_idx(
            (enum zone_type)zone->zone_idx)) /* nobody needs a reserve of memory the kernel cannot use itself */
        min = MAX(MIN(managed / 1024, 128ul), (u64)SWAP_CLUSTER_MAX);
    step = MAX(share >> 2, managed * m->config.watermark_scale_factor / 10000);
    set_u64(&zone->watermark_boost, 0);
    set_u64(&zone->_watermark[WMARK_MIN], min);
    set_u64(&zone->_watermark[WMARK_LOW], min + step);
    set_u64(&zone->_watermark[WMARK_HIGH], min + 2 * step);
    set_u64(&zone->_watermark[WMARK_PROMO], min + 3 * step);
}

/* Pages that user space can never get: the largest protection plus the high watermark of each zone. */
static void setup_totalreserve(struct machine *m)
{
    struct phys *p = m->phys;
    u64 total = 0;
    s32 nid;

    for_each_online_node(p, nid)
    {
        struct pglist_data *pgdat = p->node_data[nid];

        pgdat->totalreserve_pages = 0;
        for (u32 i = 0; i < MAX_NR_ZONES; i++) {
            struct zone *zone = &pgdat->node_zones[i];
            u64 max = 0;

            for (u32 j = i; j < MAX_NR_ZONES; j++)
                max = MAX(max, atomic_load_explicit(&zone->lowmem_reserve[j], memory_order_relaxed));
            max = MIN(max + wmark_pages(zone, WMARK_HIGH), zone->managed_pages);
            pgdat->totalreserve_pages += max;
        }
        total += pgdat->totalreserve_pages;
    }
    p->totalreserve_pages = total;
}

static u32 node_nr_cpus(const struct machine *m, s32 nid)
{
    u32 n = 0;

    for (u32 i = 0; i < m->nr_cpus; i++)
        n += m->cpus[i].node == nid;
    return n ? n : m->nr_cpus;
}

static u32 zone_batchsize(const struct zone *zone)
{
    u64 batch = MIN(zone->managed_pages >> 10, (1ul << 20) / PAGE_SIZE) / 4;

    batch = MAX(batch, 1ul);
    batch = (1ul << ilog2(batch + batch / 2)) - 1;
    return batch ? (u32)batch : 1;
}

static u32 zone_highsize(const struct machine *m, const struct zone *zone, u32 batch, u32 fraction)
{
    u64 total = fraction ? zone->managed_pages / fraction : wmark_pages(zone, WMARK_LOW);

    return (u32)MAX(total / node_nr_cpus(m, zone->node), (u64)batch << 2);
}

static void setup_pcp_sizes(struct machine *m, struct zone *zone)
{
    u32 fraction = m->config.percpu_pagelist_high_fraction, batch = zone_batchsize(zone);
    u32 high_min = zone_highsize(m, zone, batch, fraction);
    u32 high_max = fraction ? high_min : zone_highsize(m, zone, batch, MIN_PERCPU_PAGELIST_HIGH_FRACTION);

    for (u32 i = 0; i < m->nr_cpus; i++) {
        struct per_cpu_zone *pcp = &zone->pcp[i];

        WRITE_ONCE(pcp->batch, batch);
        WRITE_ONCE(pcp->high_min, high_min);
        WRITE_ONCE(pcp->high_max, MAX(high_min, high_max));
        if (pcp->high < high_min || fraction) /* the owner's, but one word: it may see either value */
            WRITE_ONCE(pcp->high, high_min);
    }
}

#define for_each_zone(m, nid, zone)                                                                                    \
    for_each_online_node((m)->phys, nid) for ((zone) = (m)->phys->node_data[nid]->node_zones;                          \
                                              (zone) < (m)->phys->node_data[nid]->node_zones + MAX_NR_ZONES; (zone)++)

void setup_per_zone_wmarks(struct machine *m)
{
    u64 pages_min = m->phys->min_free_kbytes >> (PAGE_SHIFT - 10), lowmem = 0;
    struct zone *zone;
    s32 nid;

    for_each_zone(m, nid, zone) if (!is_highmem_idx((enum zone_type)zone->zone_idx)) lowmem += zone->managed_pages;
    for_each_online_node(m->phys, nid) setup_lowmem_reserve(m, m->phys->node_data[nid]);
    for_each_zone(m, nid, zone)
    {
        setup_zone_wmark(m, zone, pages_min, lowmem);
        zone_update_rich(zone);
        if (populated_zone(zone))
            setup_pcp_sizes(m, zone);
    }
    setup_totalreserve(m);
}

/* Pages that ordinary kernel requests on node 0 can use above the high watermarks (all zero at boot). */
static u64 nr_free_buffer_pages(const struct machine *m)
{
    struct zoneref *z;
    struct zone *zone;
    s32 nid = 0;
    u64 sum = 0;

    while (!m->phys->node_data[nid])
        nid++;
    for_each_zone_zonelist_nodemask(zone, z, NODE_DATA(m, nid)->node_zonelists[ZONELIST_FALLBACK], gfp_zone(GFP_USER),
                                    NULL)
    {
        u64 high = wmark_pages(zone, WMARK_HIGH);

        sum += zone->managed_pages > high ? zone->managed_pages - high : 0;
    }
    return sum;
}

static u64 calculate_min_free_kbytes(const struct machine *m)
{
    u64 lowmem_kbytes = nr_free_buffer_pages(m) * (PAGE_SIZE >> 10);

    return MIN(MAX(int_sqrt(lowmem_kbytes * 16), 128ul), 262144ul);
}

/* How far a CPU's difference may grow: the more memory and CPUs, the larger; a byte holds it. */
static s8 stat_threshold(const struct machine *m, const struct zone *zone)
{
    u64 mem = zone->managed_pages >> (27 - PAGE_SHIFT);
    u32 fls_cpus = ilog2(m->nr_cpus) + 1, fls_mem = mem ? ilog2(mem) + 1 : 0;

    return (s8)MIN(2 * fls_cpus * (1 + fls_mem), 125u);
}

void refresh_zone_stat_thresholds(struct machine *m)
{
    struct zone *zone;
    s32 nid;

    for_each_online_node(m->phys, nid) for (u32 i = 0; i < m->nr_cpus; i++) NODE_DATA(m, nid)
        ->per_cpu[i]
        .stat_threshold = 0;
    for_each_zone(m, nid, zone)
    {
        s8 t = stat_threshold(m, zone);

        if (!populated_zone(zone))
            continue;
        for (u32 i = 0; i < m->nr_cpus; i++) {
            struct per_cpu_node *pcn = &zone->zone_pgdat->per_cpu[i];

            zone->pcp[i].stat_threshold = t;
            pcn->stat_threshold = MAX(pcn->stat_threshold, t);
        }
    }
}

int init_per_zone_wmark_min(struct machine *m)
{
    u64 set = m->config.min_free_kbytes;

    m->phys->min_free_kbytes = set ? set : calculate_min_free_kbytes(m);
    refresh_zone_stat_thresholds(m);
    setup_per_zone_wmarks(m);
    return 0;
}

void phys_get_sysctl(const struct machine *m, struct vm_sysctl *s)
{
    s->min_free_kbytes = m->phys->min_free_kbytes;
    s->watermark_scale_factor = m->config.watermark_scale_factor;
    s->watermark_boost_factor = m->config.watermark_boost_factor;
    s->percpu_pagelist_high_fraction = m->config.percpu_pagelist_high_fraction;
    for (u32 i = 0; i < MAX_NR_ZONES; i++)
        s->lowmem_reserve_ratio[i] = m->config.lowmem_reserve_ratio[i];
}

/* Ranges as in the kernel: scale factor 1..3000, fraction 0 or 8 and more. */
int phys_set_sysctl(struct cpu *cpu, const struct vm_sysctl *s)
{
    struct machine *m = cpu->m;

    if (s->watermark_scale_factor < 1 || s->watermark_scale_factor > 3000)
        return -EINVAL;
    if (s->percpu_pagelist_high_fraction && s->percpu_pagelist_high_fraction < MIN_PERCPU_PAGELIST_HIGH_FRACTION)
        return -EINVAL;
    m->config.watermark_scale_factor = s->watermark_scale_factor;
    m->config.watermark_boost_factor = s->watermark_boost_factor;
    m->config.percpu_pagelist_high_fraction = s->percpu_pagelist_high_fraction;
    for (u32 i = 0; i < MAX_NR_ZONES; i++)
        m->config.lowmem_reserve_ratio[i] = s->lowmem_reserve_ratio[i];
    m->phys->min_free_kbytes = s->min_free_kbytes ? s->min_free_kbytes : calculate_min_free_kbytes(m);
    setup_per_zone_wmarks(m);
    return 0;
}
