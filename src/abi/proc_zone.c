/* SPDX-License-Identifier: MIT */
/*
 * /proc/buddyinfo, pagetypeinfo and zoneinfo: zone by zone, node by node.
 *
 * Lists of counters stand in the order of a 6.18 x86-64 kernel; a counter is found by its name among those the page
 * allocator keeps (phys/vmstat.h), 0 where it keeps none. NUMA events are counted for the machine, not for zones: 0.
 *
 * Invariant: a zone's nr_free_pages is the sum of its line in buddyinfo times the blocks' sizes, and that line is the
 * sum over migrate types in pagetypeinfo.
 *
 * Follows Documentation/filesystems/proc.rst ("buddyinfo", "pagetypeinfo", "zoneinfo").
 */
#include "abi/proc_priv.h"
#include "machine/text.h"
#include "phys/phys.h"

#define PAGETYPE_MAX 100000ull /* longer lists are not counted further by the kernel: ">100000" */

bool zone_is_configured(const struct machine *m, enum zone_type type)
{
    enum pt_format_id f = m->config.pt_format;
    bool x86_32 = f == PT_X86_32 || f == PT_X86_PAE;

    switch (type) {
    case ZONE_DMA:
        return f != PT_RISCV_SV39 && f != PT_RISCV_SV48 && f != PT_RISCV_SV57;
    case ZONE_DMA32:
    case ZONE_DEVICE:
        return !x86_32;
    case ZONE_HIGHMEM:
        return x86_32;
    default:
        return true;
    }
}

u64 zone_free_in_blocks(const struct zone_view *v)
{
    u64 sum = 0;

    for (u32 order = pageblock_order; order < NR_PAGE_ORDERS; order++)
        sum += v->nr_free[order] << order;
    return sum;
}

typedef void zone_fn(struct seq *s, struct machine *m, const struct zone_view *v);

/* Zones with memory, in order; how many. */
static u32 each_zone_of(struct seq *s, struct machine *m, u32 nid, zone_fn *fn)
{
    struct zone_view v;
    u32 nr = 0;

    for (u32 z = 0; z < MAX_NR_ZONES; z++) {
        if (!phys_zone_view(m, (s32)nid, (enum zone_type)z, &v) || !v.present)
            continue;
        nr++;
        if (fn)
            fn(s, m, &v);
    }
    return nr;
}

/* -- buddyinfo ----------------------------------------------------------------------------------------------------- */

static void buddyinfo_zone(struct seq *s, struct machine *m, const struct zone_view *v)
{
    seq_printf(s, "Node %d, zone %8s ", v->nid, zone_name(v->type));
    for (u32 order = 0; order < NR_PAGE_ORDERS; order++)
        seq_printf(s, "%6llu ", (unsigned long long)v->nr_free[order]);
    seq_putc(s, '\n');
}

int proc_buddyinfo(struct cpu *cpu, struct task *task, const struct proc_sink *sink)
{
    struct seq s;

    seq_open(&s, sink);
    for (u32 nid = 0; nid < cpu->m->phys->nr_node_ids; nid++)
        each_zone_of(&s, cpu->m, nid, buddyinfo_zone);
    return seq_close(&s);
}

/* -- pagetypeinfo -------------------------------------------------------------------------------------------------- */

/* CMA is a kernel option that the machine has not. */
#define for_each_shown_type(mt)                                                                                        \
    for (enum migratetype mt = 0; mt < MIGRATE_TYPES; mt++)                                                            \
        if (mt != MIGRATE_CMA)

static void free_counts(struct seq *s, struct machine *m, const struct zone_view *v)
{
    for_each_shown_type(mt)
    {
        seq_printf(s, "Node %4d, zone %8s, type %12s ", v->nid, zone_name(v->type), migratetype_name(mt));
        for (u32 order = 0; order < NR_PAGE_ORDERS; order++) {
            unsigned long long n = v->nr_free_mt[mt][order];

            seq_printf(s, "%s%6llu ", n >= PAGETYPE_MAX ? ">" : "", MIN(n, PAGETYPE_MAX));
        }
        seq_putc(s, '\n');
    }
}

static void block_counts(struct seq *s, struct machine *m, const struct zone_view *v)
{
    u64 count[MIGRATE_TYPES] = {0}, end = v->start_pfn + v->spanned;

    for (u64 pfn = v->start_pfn; pfn < end; pfn = ALIGN_UP(pfn + 1, pageblock_nr_pages)) {
        if (!pfn_valid(m, PFN(pfn)))
            continue;
        ASSERT(pageblock_mt(m, pfn) < MIGRATE_TYPES);
        count[pageblock_mt(m, pfn)]++;
    }
    seq_printf(s, "Node %d, zone %8s ", v->nid, zone_name(v->type));
    for_each_shown_type(mt) seq_printf(s, "%12llu ", (unsigned long long)count[mt]);
    seq_putc(s, '\n');
}

/* A node with memory is shown as if it were alone. */
static void pagetypeinfo_node(struct seq *s, struct machine *m, u32 nid)
{
    seq_printf(s, "Page block order: %d\nPages per block:  %lu\n\n", pageblock_order, pageblock_nr_pages);
    seq_printf(s, "%-43s ", "Free pages count per migrate type at order");
    for (u32 order = 0; order < NR_PAGE_ORDERS; order++)
        seq_printf(s, "%6u ", order);
    seq_putc(s, '\n');
    each_zone_of(s, m, nid, free_counts);
    seq_printf(s, "\n%-23s", "Number of blocks type ");
    for_each_shown_type(mt) seq_printf(s, "%12s ", migratetype_name(mt));
    seq_putc(s, '\n');
    each_zone_of(s, m, nid, block_counts);
}

int proc_pagetypeinfo(struct cpu *cpu, struct task *task, const struct proc_sink *sink)
{
    struct seq s;

    seq_open(&s, sink);
    for (u32 nid = 0; nid < cpu->m->phys->nr_node_ids; nid++)
        if (each_zone_of(&s, cpu->m, nid, NULL))
            pagetypeinfo_node(&s, cpu->m, nid);
    return seq_close(&s);
}

/* -- zoneinfo ------------------------------------------------------------------------------------------------------ */

static const char *const node_counter[] = {
    "nr_inactive_anon",
    "nr_active_anon",
    "nr_inactive_file",
    "nr_active_file",
    "nr_unevictable",
    "nr_slab_reclaimable",
    "nr_slab_unreclaimable",
    "nr_isolated_anon",
    "nr_isolated_file",
    "workingset_nodes",
    "workingset_refault_anon",
    "workingset_refault_file",
    "workingset_activate_anon",
    "workingset_activate_file",
    "workingset_restore_anon",
    "workingset_restore_file",
    "workingset_nodereclaim",
    "nr_anon_pages",
    "nr_mapped",
    "nr_file_pages",
    "nr_dirty",
    "nr_writeback",
    "nr_shmem",
    "nr_shmem_hugepages",
    "nr_shmem_pmdmapped",
    "nr_file_hugepages",
    "nr_file_pmdmapped",
    "nr_anon_transparent_hugepages",
    "nr_vmscan_write",
    "nr_vmscan_immediate_reclaim",
    "nr_dirtied",
    "nr_written",
    "nr_throttled_written",
    "nr_kernel_misc_reclaimable",
    "nr_foll_pin_acquired",
    "nr_foll_pin_released",
    "nr_kernel_stack",
    "nr_page_table_pages",
    "nr_sec_page_table_pages",
    "nr_iommu_pages",
    "nr_swapcached",
    "pgpromote_success",
    "pgpromote_candidate",
    "pgpromote_candidate_nrl",
    "pgdemote_kswapd",
    "pgdemote_direct",
    "pgdemote_khugepaged",
    "pgdemote_proactive",
    "nr_hugetlb",
    "nr_balloon_pages",
    "nr_kernel_file_pages",
};
const struct name_list node_counters = {node_counter, ARRAY_SIZE(node_counter)};

static const char *const zone_counter[] = {
    "nr_free_pages",
    "nr_free_pages_blocks",
    "nr_zone_inactive_anon",
    "nr_zone_active_anon",
    "nr_zone_inactive_file",
    "nr_zone_active_file",
    "nr_zone_unevictable",
    "nr_zone_write_pending",
    "nr_mlock",
    "nr_zspages",
    "nr_free_cma",
    "numa_hit",
    "numa_miss",
    "numa_foreign",
    "numa_interleave",
    "numa_local",
    "numa_other",
};
const struct name_list zone_counters = {zone_counter, ARRAY_SIZE(zone_counter)};

static void put_counter(struct seq *s, const char *name, s64 value)
{
    seq_printf(s, "\n      %-12s %llu", name, (unsigned long long)MAX(value, 0));
}

static u32 index_of(const char *const *names, u32 nr, const char *name)
{
    u32 i = 0;

    while (i < nr && !text_eq(names[i], name, text_len(name)))
        i++;
    return i;
}

static void put_node_counters(struct seq *s, struct machine *m, s32 nid)
{
    static const char *const kept[NR_VM_NODE_STAT_ITEMS] = {
#define X(id, name) [id] = name,
        NODE_STATS(X)
#undef X
    };

    seq_puts(s, "\n  per-node stats");
    for (u32 i = 0; i < ARRAY_SIZE(node_counter); i++) {
        u32 item = index_of(kept, ARRAY_SIZE(kept), node_counter[i]);

        put_counter(s, node_counter[i],
                    item < ARRAY_SIZE(kept) ? node_page_state(m, nid, (enum node_stat_item)item) : 0);
    }
}

static void put_zone_counters(struct seq *s, const struct zone_view *v)
{
    static const char *const kept[NR_VM_ZONE_STAT_ITEMS] = {
#define X(id, name) [id] = name,
        ZONE_STATS(X)
#undef X
    };
    static const char blocks[] = "nr_free_pages_blocks";

    for (u32 i = 0; i < ARRAY_SIZE(zone_counter); i++) {
        u32 item = index_of(kept, ARRAY_SIZE(kept), zone_counter[i]);
        s64 value = item < ARRAY_SIZE(kept) ? v->stat[item] : 0;

        if (text_eq(zone_counter[i], blocks, sizeof(blocks) - 1))
            value = (s64)zone_free_in_blocks(v);
        put_counter(s, zone_counter[i], value);
    }
}

static void put_watermarks(struct seq *s, const struct machine *m, const struct zone_view *v)
{
    const struct {
        const char *name;
        u64 value;
    } line[] = {
        {"boost", v->boost},     {"min", v->min},         {"low", v->low},
        {"high", v->high},       {"promo", v->promo},     {"spanned", v->spanned},
        {"present", v->present}, {"managed", v->managed}, {"cma", 0},
    };
    const char *separator = "(";

    seq_printf(s, "\n  pages free     %llu", (unsigned long long)v->free);
    for (u32 i = 0; i < ARRAY_SIZE(line); i++)
        seq_printf(s, "\n        %-8s %llu", line[i].name, (unsigned long long)line[i].value);
    seq_puts(s, "\n        protection: ");
    for (u32 z = 0; z < MAX_NR_ZONES; z++) {
        if (!zone_is_configured(m, (enum zone_type)z))
            continue;
        seq_printf(s, "%s%llu", separator, (unsigned long long)v->protection[z]);
        separator = ", ";
    }
    seq_putc(s, ')');
}

static void put_pagesets(struct seq *s, const struct machine *m, const struct zone_view *v)
{
    const struct zone *zone = &NODE_DATA(m, v->nid)->node_zones[v->type];

    seq_puts(s, "\n  pagesets");
    for (u32 i = 0; zone->pcp && i < m->nr_cpus; i++) {
        const struct per_cpu_zone *p = &zone->pcp[i];

        seq_printf(s, "\n    cpu: %u\n              count:    %u\n              high:     %u\n", i, READ_ONCE(p->count),
                   READ_ONCE(p->high));
        seq_printf(s, "              batch:    %u\n              high_min: %u\n              high_max: %u", p->batch,
                   p->high_min, p->high_max);
        seq_printf(s, "\n  vm stats threshold: %d", p->stat_threshold);
    }
    seq_printf(s, "\n  node_unreclaimable:  %u\n  start_pfn:           %llu", 0, (unsigned long long)v->start_pfn);
}

static void zoneinfo_node(struct seq *s, struct machine *m, s32 nid)
{
    bool first = true;
    struct zone_view v;

    for (u32 z = 0; z < MAX_NR_ZONES; z++) {
        if (!phys_zone_view(m, nid, (enum zone_type)z, &v) || (!v.present && !zone_is_configured(m, v.type)))
            continue;
        seq_printf(s, "Node %d, zone %8s", nid, zone_name(v.type));
        if (v.present && first) {
            put_node_counters(s, m, nid);
            first = false;
        }
        put_watermarks(s, m, &v);
        if (v.present) {
            put_zone_counters(s, &v);
            put_pagesets(s, m, &v);
        }
        seq_putc(s, '\n');
    }
}

int proc_zoneinfo(struct cpu *cpu, struct task *task, const struct proc_sink *sink)
{
    struct seq s;

    seq_open(&s, sink);
    for (u32 nid = 0; nid < cpu->m->phys->nr_node_ids; nid++)
        zoneinfo_node(&s, cpu->m, (s32)nid);
    return seq_close(&s);
}
