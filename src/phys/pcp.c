/* SPDX-License-Identifier: MIT */
/*
 * Per-CPU page lists: each CPU keeps some free pages of each zone for itself, so that most
 * allocations and frees take no lock.
 *
 *   alloc ──► lists[type, order] ──empty──► pcp_refill(): up to batch << alloc_factor pages under one zone->lock
 *   free  ──► lists[type, order] ──count >= high──► pcp_trim(): gives a batch back
 *
 * Sizes follow the kernel's (6.7 and later): batch about 0.1 % of the zone, at most 63; high between high_min (the
 * zone's low watermark shared by its CPUs) and high_max (1/8 of the zone shared by its CPUs). Consecutive allocations
 * double the refill, consecutive frees raise what is given back; low zones (ZONE_BELOW_HIGH) and reclaim shrink `high`.
 *
 * Only the CPU's owner touches its lists: no lock, no atomic operation (base/cpu.h). Somebody else may drain them only
 * as the owner: drain_all_pages() takes a CPU that nobody owns, and asks the others through CPU_WORK_DRAIN_PCP.
 *
 * Invariants (phys_check.c)
 *   P1  a listed block's first page is PGTY_pcp with private = order and refcount 0
 *   P2  count is the sum of the lists' pages; they are not in NR_FREE_PAGES
 */
#include "phys/phys_priv.h"

void pcp_init(struct per_cpu_zone *pcp)
{
    for (u32 i = 0; i < NR_PCP_LISTS; i++)
        INIT_LIST_HEAD(&pcp->lists[i]);
    /* Until the zone's size is known: every page goes straight to the zone. */
    pcp->batch = 1;
    pcp->high = pcp->high_min = pcp->high_max = 0;
}

/* -- refill -------------------------------------------------------------------------------------------------------- */

/* How many blocks a refill takes; grows while nobody frees. */
static u32 refill_count(struct zone *zone, struct per_cpu_zone *pcp, unsigned int order)
{
    u32 base = READ_ONCE(pcp->batch), high_min = READ_ONCE(pcp->high_min), high_max = READ_ONCE(pcp->high_max);
    u32 batch = order ? base : base << pcp->alloc_factor, high = high_min, max;

    if (high_max < base)
        return 1;
    if (high_min != high_max) {
        bool low = atomic_load_explicit(&zone->flags, memory_order_relaxed) & ZONE_BELOW_HIGH;

        high = pcp->high = low ? pcp->high : MIN(pcp->high + batch, high_max);
    }
    if (!order) {
        max = high > pcp->count + base ? high - pcp->count - base : 0;
        max = MAX(max, base);
        if (batch <= max && pcp->alloc_factor < PCP_BATCH_SCALE_MAX)
            pcp->alloc_factor++;
        batch = MIN(batch, max);
    }
    return batch > 1 ? MAX(batch >> order, 2u) : batch;
}

__noinline bool pcp_refill(struct cpu *cpu, struct zone *zone, struct per_cpu_zone *pcp, unsigned int order,
                           enum migratetype mt, u32 alloc_flags)
{
    struct list_head *list = &pcp->lists[pcp_list_index(mt, order)];
    u32 n = refill_count(zone, pcp, order), i;

    charge(cpu, COST_ALLOC_SLOW);
    spin_lock(cpu, &zone->lock);
    for (i = 0; i < n; i++) {
        struct page *page = rmqueue(cpu->m, zone, order, mt, alloc_flags);

        if (!page)
            break;
        page->private = order;
        atomic_store_explicit(&page->page_type, PGTY_pcp, memory_order_relaxed);
        list_add_tail(&page->lru, list);
    }
    zone_unlock(cpu, zone);
    pcp->count += i << order;
    return i > 0;
}

/* -- giving back --------------------------------------------------------------------------------------------------- */

/* `count` pages, round robin over the lists starting at `first`, most recently freed first; zone->lock. */
static void free_bulk(struct machine *m, struct zone *zone, u32 count, struct per_cpu_zone *pcp, u32 first)
{
    u32 index = first;

    for (count = MIN(count, pcp->count); count;) {
        struct list_head *list = &pcp->lists[index];
        unsigned int order = pcp_index_order(index);
        struct page *page;

        if (list_empty(list)) {
            index = (index + 1) % NR_PCP_LISTS;
            continue;
        }
        page = list_last_entry(list, struct page, lru);
        list_del(&page->lru);
        atomic_store_explicit(&page->page_type, PAGE_TYPE_NONE, memory_order_relaxed);
        page->private = 0;
        pcp->count -= 1u << order;
        count -= MIN(count, 1u << order);
        free_one_page(m, zone, page, order, pageblock_mt(m, page_to_pfn_nr(m, page)), FREE_TO_HEAD);
    }
}

/* The limit in force; lowers it when memory is short or high-order pages have piled up. */
static u32 current_high(struct zone *zone, struct per_cpu_zone *pcp, u32 batch, bool free_high)
{
    u32 high_min = READ_ONCE(pcp->high_min), high_max = READ_ONCE(pcp->high_max), high = pcp->high;
    u32 flags = atomic_load_explicit(&zone->flags, memory_order_relaxed);
    u32 lowered = MAX(high > pcp->free_count ? high - pcp->free_count : 0, high_min);

    if (!high)
        return 0;
    if (free_high) {
        u32 step = batch << PCP_BATCH_SCALE_MAX;

        pcp->high = MAX(high > step ? high - step : 0, high_min);
        return 0;
    }
    if (flags & ZONE_RECLAIM_ACTIVE) {
        if (high_min != high_max)
            pcp->high = lowered;
        return MIN(batch << 2, pcp->high);
    }
    if (high_min == high_max)
        return high;
    if (flags & ZONE_BELOW_HIGH) {
        pcp->high = lowered;
        return MAX(pcp->count, high_min);
    }
    if (pcp->count >= high) {
        pcp->high = MIN(MAX(high, pcp->free_count + batch), high_max);
        pcp->high = MAX(pcp->high, high_min);
    }
    return high;
}

__noinline void pcp_trim(struct cpu *cpu, struct zone *zone, struct per_cpu_zone *pcp, unsigned int list,
                         bool free_high)
{
    u32 batch = READ_ONCE(pcp->batch), high = current_high(zone, pcp, batch, free_high), n;

    if (pcp->count < high)
        return;
    if (high < batch)
        n = free_high ? MIN(pcp->count, batch << PCP_BATCH_SCALE_MAX) : 1;
    else
        n = MAX(MIN((u32)pcp->free_count, high - batch), batch);
    charge(cpu, COST_ALLOC_SLOW);
    spin_lock(cpu, &zone->lock);
    free_bulk(cpu->m, zone, n, pcp, list);
    zone_unlock(cpu, zone);
    if ((atomic_load_explicit(&zone->flags, memory_order_relaxed) & ZONE_BELOW_HIGH) &&
        zone_watermark_ok(zone, 0, wmark_pages(zone, WMARK_HIGH), ZONE_MOVABLE, 0))
        atomic_fetch_and_explicit(&zone->flags, ~(u32)ZONE_BELOW_HIGH, memory_order_relaxed);
}

void pcp_drain(struct cpu *cpu, struct zone *zone, struct per_cpu_zone *pcp)
{
    if (!pcp->count)
        return;
    spin_lock(cpu, &zone->lock);
    free_bulk(cpu->m, zone, pcp->count, pcp, 0);
    zone_unlock(cpu, zone);
}

static void drain_cpu(struct cpu *cpu, u32 id, void *unused)
{
    struct phys *p = cpu->m->phys;
    s32 nid;

    for_each_online_node(p, nid)
    {
        for (u32 z = 0; z < p->node_data[nid]->nr_zones; z++) {
            struct zone *zone = &p->node_data[nid]->node_zones[z];

            if (populated_zone(zone))
                pcp_drain(cpu, zone, &zone->pcp[id]);
        }
    }
    atomic_fetch_and(&cpu->m->cpus[id].work, ~(u32)CPU_WORK_DRAIN_PCP);
}

void drain_local_pages(struct cpu *cpu)
{
    drain_cpu(cpu, cpu->id, NULL);
}

/* This CPU's and those of CPUs that nobody owns at once; the owners of the others when they next do posted work. */
void drain_all_pages(struct cpu *cpu)
{
    on_each_cpu_work(cpu, CPU_WORK_DRAIN_PCP, drain_cpu, NULL);
}
