/* SPDX-License-Identifier: MIT */
/*
 * /proc/meminfo, vmstat, slabinfo and iomem: the machine as a whole.
 *
 * meminfo and vmstat have every line that a 6.18 x86-64 kernel prints, in its order; a line's value is looked up by its
 * name in what the floors count (machine/report.h), so a counter that a floor begins to keep appears by itself. Lines
 * whose mechanism the machine lacks are 0. vmstat's lines of a zone type stand only where the architecture has it.
 *
 * Follows proc_meminfo(5), proc_vmstat(5), slabinfo(5), and the running 6.18 kernel for order and widths.
 */
#include "abi/proc_priv.h"
#include "kmem/kmem.h"
#include "machine/report.h"
#include "machine/text.h"
#include "phys/firmware.h"
#include "phys/phys.h"

/* -- meminfo ------------------------------------------------------------------------------------------------------- */

enum unit { UNIT_KB, UNIT_PAGES }; /* of huge pages: a number, two columns to the right */

struct meminfo_line {
    const char *name;
    enum unit unit;
};

static const struct meminfo_line meminfo[] = {
    {"MemTotal", UNIT_KB},
    {"MemFree", UNIT_KB},
    {"MemAvailable", UNIT_KB},
    {"Buffers", UNIT_KB},
    {"Cached", UNIT_KB},
    {"SwapCached", UNIT_KB},
    {"Active", UNIT_KB},
    {"Inactive", UNIT_KB},
    {"Active(anon)", UNIT_KB},
    {"Inactive(anon)", UNIT_KB},
    {"Active(file)", UNIT_KB},
    {"Inactive(file)", UNIT_KB},
    {"Unevictable", UNIT_KB},
    {"Mlocked", UNIT_KB},
    {"SwapTotal", UNIT_KB},
    {"SwapFree", UNIT_KB},
    {"Zswap", UNIT_KB},
    {"Zswapped", UNIT_KB},
    {"Dirty", UNIT_KB},
    {"Writeback", UNIT_KB},
    {"AnonPages", UNIT_KB},
    {"Mapped", UNIT_KB},
    {"Shmem", UNIT_KB},
    {"KReclaimable", UNIT_KB},
    {"Slab", UNIT_KB},
    {"SReclaimable", UNIT_KB},
    {"SUnreclaim", UNIT_KB},
    {"KernelStack", UNIT_KB},
    {"PageTables", UNIT_KB},
    {"SecPageTables", UNIT_KB},
    {"NFS_Unstable", UNIT_KB},
    {"Bounce", UNIT_KB},
    {"WritebackTmp", UNIT_KB},
    {"CommitLimit", UNIT_KB},
    {"Committed_AS", UNIT_KB},
    {"VmallocTotal", UNIT_KB},
    {"VmallocUsed", UNIT_KB},
    {"VmallocChunk", UNIT_KB},
    {"Percpu", UNIT_KB},
    {"AnonHugePages", UNIT_KB},
    {"ShmemHugePages", UNIT_KB},
    {"ShmemPmdMapped", UNIT_KB},
    {"FileHugePages", UNIT_KB},
    {"FilePmdMapped", UNIT_KB},
    {"Balloon", UNIT_KB},
    {"HugePages_Total", UNIT_PAGES},
    {"HugePages_Free", UNIT_PAGES},
    {"HugePages_Rsvd", UNIT_PAGES},
    {"HugePages_Surp", UNIT_PAGES},
    {"Hugepagesize", UNIT_KB},
    {"Hugetlb", UNIT_KB},
};

/* What vmalloc() has room for, by the kernel's layout of the address space; the machine has no such area itself. */
static u64 vmalloc_total_kb(const struct machine *m)
{
    switch (m->config.pt_format) {
    case PT_X86_64_4L:
        return (1ull << 35) - 1; /* 32 TiB */
    case PT_X86_64_5L:
        return 12800ull * (1ull << 30) - 1; /* 12.5 PiB */
    default:
        return 0;
    }
}

static bool is_x86(const struct machine *m)
{
    return m->config.pt_format <= PT_X86_64_5L;
}

static u64 meminfo_value(const struct machine *m, const struct report_list *l, const char *name)
{
    if (text_eq("VmallocTotal", name, text_len(name)))
        return vmalloc_total_kb(m);
    if (text_eq("Hugepagesize", name, text_len(name)))
        return pt_size(pt_format_of(m), 2) >> 10;
    return (u64)report_find(l, name);
}

static void put_meminfo(struct seq *s, const char *name, enum unit unit, u64 value)
{
    seq_begin_line(s);
    seq_puts(s, name);
    seq_putc(s, ':');
    seq_pad(s, unit == UNIT_KB ? 15 : 16);
    seq_printf(s, unit == UNIT_KB ? "%8llu kB\n" : "%7llu\n", (unsigned long long)value);
}

int proc_meminfo(struct cpu *cpu, struct task *task, const struct proc_sink *sink)
{
    static const char *const direct_map[] = {"DirectMap4k", "DirectMap2M", "DirectMap1G"};
    struct report_list l;
    struct seq s;

    report_meminfo(cpu->m, &l);
    seq_open(&s, sink);
    for (u32 i = 0; i < ARRAY_SIZE(meminfo); i++)
        put_meminfo(&s, meminfo[i].name, meminfo[i].unit, meminfo_value(cpu->m, &l, meminfo[i].name));
    for (u32 i = 0; i < ARRAY_SIZE(direct_map) && is_x86(cpu->m); i++)
        put_meminfo(&s, direct_map[i], UNIT_KB, (u64)report_find(&l, direct_map[i]));
    return seq_close(&s);
}

/* -- vmstat -------------------------------------------------------------------------------------------------------- */

/* What follows the counters of zones and nodes. %s stands for each zone type in turn. */
static const char *const vmstat_rest[] = {
    "nr_dirty_threshold",
    "nr_dirty_background_threshold",
    "nr_memmap_pages",
    "nr_memmap_boot_pages",
    "pgpgin",
    "pgpgout",
    "pswpin",
    "pswpout",
    "pgalloc_%s",
    "allocstall_%s",
    "pgskip_%s",
    "pgfree",
    "pgactivate",
    "pgdeactivate",
    "pglazyfree",
    "pgfault",
    "pgmajfault",
    "pglazyfreed",
    "pgrefill",
    "pgreuse",
    "pgsteal_kswapd",
    "pgsteal_direct",
    "pgsteal_khugepaged",
    "pgsteal_proactive",
    "pgscan_kswapd",
    "pgscan_direct",
    "pgscan_khugepaged",
    "pgscan_proactive",
    "pgscan_direct_throttle",
    "pgscan_anon",
    "pgscan_file",
    "pgsteal_anon",
    "pgsteal_file",
    "zone_reclaim_success",
    "zone_reclaim_failed",
    "pginodesteal",
    "slabs_scanned",
    "kswapd_inodesteal",
    "kswapd_low_wmark_hit_quickly",
    "kswapd_high_wmark_hit_quickly",
    "pageoutrun",
    "pgrotated",
    "drop_pagecache",
    "drop_slab",
    "oom_kill",
    "numa_pte_updates",
    "numa_huge_pte_updates",
    "numa_hint_faults",
    "numa_hint_faults_local",
    "numa_pages_migrated",
    "pgmigrate_success",
    "pgmigrate_fail",
    "thp_migration_success",
    "thp_migration_fail",
    "thp_migration_split",
    "compact_migrate_scanned",
    "compact_free_scanned",
    "compact_isolated",
    "compact_stall",
    "compact_fail",
    "compact_success",
    "compact_daemon_wake",
    "compact_daemon_migrate_scanned",
    "compact_daemon_free_scanned",
    "htlb_buddy_alloc_success",
    "htlb_buddy_alloc_fail",
    "unevictable_pgs_culled",
    "unevictable_pgs_scanned",
    "unevictable_pgs_rescued",
    "unevictable_pgs_mlocked",
    "unevictable_pgs_munlocked",
    "unevictable_pgs_cleared",
    "unevictable_pgs_stranded",
    "thp_fault_alloc",
    "thp_fault_fallback",
    "thp_fault_fallback_charge",
    "thp_collapse_alloc",
    "thp_collapse_alloc_failed",
    "thp_file_alloc",
    "thp_file_fallback",
    "thp_file_fallback_charge",
    "thp_file_mapped",
    "thp_split_page",
    "thp_split_page_failed",
    "thp_deferred_split_page",
    "thp_underused_split_page",
    "thp_split_pmd",
    "thp_scan_exceed_none_pte",
    "thp_scan_exceed_swap_pte",
    "thp_scan_exceed_share_pte",
    "thp_split_pud",
    "thp_zero_page_alloc",
    "thp_zero_page_alloc_failed",
    "thp_swpout",
    "thp_swpout_fallback",
    "balloon_inflate",
    "balloon_deflate",
    "balloon_migrate",
    "swap_ra",
    "swap_ra_hit",
    "swpin_zero",
    "swpout_zero",
    "ksm_swpin_copy",
    "cow_ksm",
    "zswpin",
    "zswpout",
    "zswpwb",
    "direct_map_level2_splits",
    "direct_map_level3_splits",
    "direct_map_level2_collapses",
    "direct_map_level3_collapses",
    "nr_unstable",
};

/* proc_dirty_limits of sysctl/vm.rst: what may be dirty before writers wait, and before flushers start. */
#define DIRTY_RATIO 20
#define DIRTY_BACKGROUND_RATIO 10

static u64 dirty_limit(const struct machine *m, u64 percent)
{
    u64 free = (u64)MAX(global_zone_page_state(m, NR_FREE_PAGES), 0);
    u64 file = (u64)(global_node_page_state(m, NR_INACTIVE_FILE) + global_node_page_state(m, NR_ACTIVE_FILE));
    u64 dirtyable = free - MIN(free, m->phys->totalreserve_pages) + file + 1;

    return percent * PAGE_SIZE / 100 * dirtyable / PAGE_SIZE;
}

/* Pages of the memmap, as it was made at boot. */
static u64 memmap_pages(const struct machine *m)
{
    u64 nr = 0;

    if (m->config.memory_model == MEMORY_FLATMEM)
        return DIV_ROUND_UP(m->phys->max_pfn * sizeof(struct page), PAGE_SIZE);
    for (u64 i = 0; i < DIV_ROUND_UP(m->phys->max_pfn, PAGES_PER_SECTION); i++)
        if (atomic_load_explicit(&m->phys->section_present[i], memory_order_relaxed))
            nr += PAGES_PER_SECTION * sizeof(struct page) >> PAGE_SHIFT;
    return nr;
}

static u64 free_pages_in_blocks(const struct machine *m)
{
    struct zone_view v;
    u64 sum = 0;

    for (u32 nid = 0; nid < m->phys->nr_node_ids; nid++)
        for (u32 z = 0; z < MAX_NR_ZONES; z++)
            if (phys_zone_view(m, (s32)nid, (enum zone_type)z, &v))
                sum += zone_free_in_blocks(&v);
    return sum;
}

static u64 vmstat_value(const struct machine *m, const struct report_list *l, const char *name)
{
    size_t n = text_len(name);

    if (text_eq("nr_dirty_threshold", name, n))
        return dirty_limit(m, DIRTY_RATIO);
    if (text_eq("nr_dirty_background_threshold", name, n))
        return dirty_limit(m, DIRTY_BACKGROUND_RATIO);
    if (text_eq("nr_memmap_boot_pages", name, n))
        return memmap_pages(m);
    if (text_eq("nr_free_pages_blocks", name, n))
        return free_pages_in_blocks(m);
    return (u64)report_find(l, name);
}

static void put_vmstat(struct seq *s, const struct machine *m, const struct report_list *l, const char *name)
{
    seq_printf(s, "%s %llu\n", name, (unsigned long long)vmstat_value(m, l, name));
}

/* "pgalloc_%s" for each zone type of the architecture. */
static void put_by_zone(struct seq *s, const struct machine *m, const struct report_list *l, const char *format)
{
    static const char zone[MAX_NR_ZONES][8] = {"dma", "dma32", "normal", "high", "movable", "device"};
    char name[32];

    for (u32 z = 0; z < MAX_NR_ZONES; z++) {
        struct text t = text_in(name, sizeof(name));

        if (!zone_is_configured(m, (enum zone_type)z))
            continue;
        text_strn(&t, format, text_len(format) - 2);
        text_str(&t, zone[z]);
        put_vmstat(s, m, l, name);
    }
}

static void put_list(struct seq *s, const struct machine *m, const struct report_list *l, const struct name_list *names)
{
    for (u32 i = 0; i < names->nr; i++) {
        const char *name = names->name[i];
        size_t n = text_len(name);

        if (n > 2 && text_eq("%s", name + n - 2, 2))
            put_by_zone(s, m, l, name);
        else
            put_vmstat(s, m, l, name);
    }
}

int proc_vmstat(struct cpu *cpu, struct task *task, const struct proc_sink *sink)
{
    static const struct name_list rest = {vmstat_rest, ARRAY_SIZE(vmstat_rest)};
    struct report_list l;
    struct seq s;

    report_vmstat(cpu->m, &l);
    seq_open(&s, sink);
    put_list(&s, cpu->m, &l, &zone_counters);
    put_list(&s, cpu->m, &l, &node_counters);
    put_list(&s, cpu->m, &l, &rest);
    return seq_close(&s);
}

static bool begins_with(const char *name, const char *prefix)
{
    while (*prefix && *name == *prefix) {
        name++;
        prefix++;
    }
    return !*prefix;
}

int proc_quire_events(struct cpu *cpu, struct task *task, const struct proc_sink *sink)
{
    struct report_list l;
    struct seq s;

    report_vmstat(cpu->m, &l);
    seq_open(&s, sink);
    for (u32 i = 0; i < l.nr; i++)
        if (begins_with(l.v[i].name, "quire_"))
            seq_printf(&s, "%s %lld\n", l.v[i].name, (long long)l.v[i].value);
    return seq_close(&s);
}

/* -- slabinfo ------------------------------------------------------------------------------------------------------ */

int proc_slabinfo(struct cpu *cpu, struct task *task, const struct proc_sink *sink)
{
    struct slabinfo line;
    struct seq s;
    u32 pos = 0;

    seq_open(&s, sink);
    seq_puts(&s, "slabinfo - version: 2.1\n");
    seq_puts(&s, "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> "
                 "<batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>\n");
    while (slabinfo_next(cpu, &pos, &line)) {
        seq_printf(&s, "%-17s %6llu %6llu %6u %4u %4u", line.name, (unsigned long long)line.active_objs,
                   (unsigned long long)line.num_objs, line.objsize, line.objperslab, line.pagesperslab);
        seq_printf(&s, " : tunables %4u %4u %4u : slabdata %6llu %6llu %6u\n", 0, 0, 0,
                   (unsigned long long)line.active_slabs, (unsigned long long)line.num_slabs, 0);
    }
    return seq_close(&s);
}

/* -- iomem --------------------------------------------------------------------------------------------------------- */

static const char *e820_name(u16 type)
{
    switch (type) {
    case E820_RAM:
        return "System RAM";
    case E820_ACPI:
        return "ACPI Tables";
    case E820_NVS:
        return "ACPI Non-volatile Storage";
    case E820_UNUSABLE:
        return "Unusable memory";
    case E820_PMEM:
        return "Persistent Memory";
    default:
        return "Reserved";
    }
}

/* The range that follows `start` in the map: the one that begins there or next above; NULL: none. */
static const struct mem_range *next_range(const struct machine_config *c, u64 start)
{
    const struct mem_range *next = NULL;

    for (u32 i = 0; i < c->nr_ranges; i++)
        if (c->range[i].start >= start && (!next || c->range[i].start < next->start))
            next = &c->range[i];
    return next;
}

int proc_iomem(struct cpu *cpu, struct task *task, const struct proc_sink *sink)
{
    const struct mem_range *r;
    struct seq s;

    seq_open(&s, sink);
    for (u64 at = 0; (r = next_range(&cpu->m->config, at)); at = r->start + 1) {
        if (r->size)
            seq_printf(&s, "%08llx-%08llx : %s\n", (unsigned long long)r->start,
                       (unsigned long long)(r->start + r->size - 1), e820_name(r->type));
    }
    return seq_close(&s);
}
