/* SPDX-License-Identifier: MIT */
/* The numbers behind /proc/zoneinfo, /proc/buddyinfo,
 * /proc/pagetypeinfo and MemAvailable, as structures. Nothing is printed. */
#include "phys/phys_priv.h"

const char *zone_name(enum zone_type type)
{
    static const char names[MAX_NR_ZONES][8] = {"DMA", "DMA32", "Normal", "HighMem", "Movable", "Device"};

    return names[type];
}

const char *migratetype_name(enum migratetype mt)
{
    static const char names[MIGRATE_TYPES][12] = {"Unmovable",  "Movable", "Reclaimable",
                                                  "HighAtomic", "CMA",     "Isolate"};

    return names[mt];
}

static void view_free(const struct zone *zone, struct zone_view *v)
{
    for (u32 order = 0; order < NR_PAGE_ORDERS; order++) {
        v->nr_free[order] = 0;
        for (u32 mt = 0; mt < MIGRATE_TYPES; mt++) {
            v->nr_free_mt[mt][order] = nr_free_blocks(zone, order, (enum migratetype)mt);
            v->nr_free[order] += v->nr_free_mt[mt][order];
        }
    }
}

bool phys_zone_view(const struct machine *m, s32 nid, enum zone_type type, struct zone_view *v)
{
    struct zone *zone;

    if (nid < 0 || (u32)nid >= m->phys->nr_node_ids || !NODE_DATA(m, nid))
        return false;
    zone = &NODE_DATA(m, nid)->node_zones[type];
    *v = (struct zone_view){
        .nid = nid,
        .type = type,
        .free = zone_page_state(zone, NR_FREE_PAGES),
        .boost = atomic_load_explicit(&zone->watermark_boost, memory_order_relaxed),
        .min = wmark_pages(zone, WMARK_MIN),
        .low = wmark_pages(zone, WMARK_LOW),
        .high = wmark_pages(zone, WMARK_HIGH),
        .promo = wmark_pages(zone, WMARK_PROMO),
        .spanned = zone->spanned_pages,
        .present = zone->present_pages,
        .managed = zone->managed_pages,
        .start_pfn = zone->zone_start_pfn,
        .reserved_highatomic = atomic_load_explicit(&zone->nr_reserved_highatomic, memory_order_relaxed),
        .deferred_blocks = atomic_load_explicit(&zone->nr_deferred_blocks, memory_order_relaxed),
    };
    for (u32 i = 0; i < MAX_NR_ZONES; i++)
        v->protection[i] = atomic_load_explicit(&zone->lowmem_reserve[i], memory_order_relaxed);
    for (u32 i = 0; i < NR_VM_ZONE_STAT_ITEMS; i++)
        v->stat[i] = zone_page_state_exact(m, zone, (enum zone_stat_item)i);
    for (u32 i = 0; zone->pcp && i < m->nr_cpus; i++)
        v->pcp_count += READ_ONCE(zone->pcp[i].count);
    if (zone->pcp) {
        v->pcp_high_min = zone->pcp[0].high_min;
        v->pcp_high_max = zone->pcp[0].high_max;
        v->pcp_batch = zone->pcp[0].batch;
    }
    view_free(zone, v);
    return true;
}

u64 nr_free_pages(const struct machine *m)
{
    u64 sum = (u64)global_zone_page_state(m, NR_FREE_PAGES);
    s32 nid;

    for_each_online_node(m->phys, nid) for (u32 z = 0; z < MAX_NR_ZONES; z++)
    {
        struct zone *zone = &NODE_DATA(m, nid)->node_zones[z];

        for (u32 i = 0; zone->pcp && i < m->nr_cpus; i++)
            sum += READ_ONCE(zone->pcp[i].count);
    }
    return sum;
}

u64 totalram_pages(const struct machine *m)
{
    return m->phys->totalram_pages;
}

u64 si_mem_available_pages(const struct machine *m)
{
    s64 free = global_zone_page_state(m, NR_FREE_PAGES) - (s64)m->phys->totalreserve_pages, low = 0;
    s64 cache = global_node_page_state(m, NR_INACTIVE_FILE) + global_node_page_state(m, NR_ACTIVE_FILE);
    s64 slab = global_node_page_state(m, NR_SLAB_RECLAIMABLE);
    s32 nid;

    for_each_online_node(m->phys, nid) for (u32 z = 0; z < MAX_NR_ZONES; z++) low +=
        (s64)wmark_pages(&NODE_DATA(m, nid)->node_zones[z], WMARK_LOW);
    free += cache - MIN(cache / 2, low);
    free += slab - MIN(slab / 2, low);
    return free < 0 ? 0 : (u64)free;
}
