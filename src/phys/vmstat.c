/* SPDX-License-Identifier: MIT */
/*
 * Zone and node counters. A change goes into the CPU's own difference (a byte); when that passes the threshold it is
 * folded into the shared sum, with half a threshold more so that a steady direction folds half as often.
 *
 *   value = vm_stat[item] + sum over CPUs of diff[item]      |diff| <= threshold <= 125
 *
 * Readers add the differences: exact when the machine is quiet. NR_FREE_PAGES and NR_FREE_CMA_PAGES are kept exact
 * under zone->lock (buddy.c) and have no differences.
 */
#include "phys/phys_priv.h"

static inline void mod_state(_Atomic s8 *diff, _Atomic s64 *sum, s64 threshold, s64 delta)
{
    s64 x = atomic_load_explicit(diff, memory_order_relaxed) + delta, over = threshold / 2;

    if (unlikely(x > threshold || x < -threshold)) {
        over = x < -threshold ? -over : over;
        atomic_fetch_add_explicit(sum, x + over, memory_order_relaxed);
        x = -over;
    }
    atomic_store_explicit(diff, (s8)x, memory_order_relaxed);
}

void mod_node_page_state(struct cpu *cpu, struct pglist_data *pgdat, enum node_stat_item item, s64 delta)
{
    struct per_cpu_node *pcn = &pgdat->per_cpu[cpu->id];

    mod_state(&pcn->vm_node_stat_diff[item], &pgdat->vm_stat[item], pcn->stat_threshold, delta);
}

void mod_zone_page_state(struct cpu *cpu, struct zone *zone, enum zone_stat_item item, s64 delta)
{
    struct per_cpu_zone *pcp = &zone->pcp[cpu->id];

    mod_state(&pcp->vm_stat_diff[item], &zone->vm_stat[item], pcp->stat_threshold, delta);
}

void lruvec_stat_mod_folio(struct cpu *cpu, struct folio *f, enum node_stat_item item, s64 delta)
{
    mod_node_page_state(cpu, NODE_DATA(cpu->m, page_to_nid(&f->page)), item, delta);
}

s64 zone_page_state_exact(const struct machine *m, const struct zone *z, enum zone_stat_item item)
{
    struct zone *zone = (struct zone *)(uintptr_t)z;
    s64 sum = atomic_load_explicit(&zone->vm_stat[item], memory_order_relaxed);

    for (u32 i = 0; zone->pcp && i < m->nr_cpus; i++)
        sum += atomic_load_explicit(&zone->pcp[i].vm_stat_diff[item], memory_order_relaxed);
    return sum;
}

s64 node_page_state(const struct machine *m, s32 nid, enum node_stat_item item)
{
    struct pglist_data *pgdat = NODE_DATA(m, nid);
    s64 sum;

    if (!pgdat)
        return 0;
    sum = atomic_load_explicit(&pgdat->vm_stat[item], memory_order_relaxed);
    for (u32 i = 0; i < m->nr_cpus; i++)
        sum += atomic_load_explicit(&pgdat->per_cpu[i].vm_node_stat_diff[item], memory_order_relaxed);
    return sum;
}

s64 global_node_page_state(const struct machine *m, enum node_stat_item item)
{
    s64 sum = 0;
    s32 nid;

    for_each_online_node(m->phys, nid) sum += node_page_state(m, nid, item);
    return sum;
}

s64 global_zone_page_state(const struct machine *m, enum zone_stat_item item)
{
    s64 sum = 0;
    s32 nid;

    for_each_online_node(m->phys, nid) for (u32 z = 0; z < MAX_NR_ZONES; z++) sum +=
        zone_page_state_exact(m, &NODE_DATA(m, nid)->node_zones[z], item);
    return sum;
}

u64 sum_vm_events(const struct machine *m, enum vm_event_item item)
{
    u64 sum = 0;

    for (u32 i = 0; i < m->nr_cpus; i++)
        sum += m->cpus[i].event[item];
    return sum;
}
