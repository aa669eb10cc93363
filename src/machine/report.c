/* SPDX-License-Identifier: MIT */
/*
 * Counters by name. Follows proc_vmstat(5), proc_meminfo(5) and proc_pid_status(5): names, order and units; what this
 * machine has not (swap, huge pages) is left out, not shown as 0.
 */
#include "machine/report.h"

#include "machine/mmu.h"
#include "phys/page_alloc.h"
#include "phys/phys.h"
#include "phys/vmstat.h"

static void put(struct report_list *l, const char *name, s64 value)
{
    ASSERT(l->nr < REPORT_MAX);
    l->v[l->nr++] = (struct report_value){name, value};
}

void report_vmstat(const struct machine *m, struct report_list *l)
{
    static const char *const zone_name[] = {
#define X(id, name) [id] = name,
        ZONE_STATS(X)
#undef X
    };
    static const char *const node_name[] = {
#define X(id, name) [id] = name,
        NODE_STATS(X)
#undef X
    };
    static const char *const event_name[] = {
#define X(id, name) [id] = name,
        VM_EVENTS(X)
#undef X
    };

    l->nr = 0;
    for (u32 i = 0; i < NR_VM_ZONE_STAT_ITEMS; i++)
        put(l, zone_name[i], global_zone_page_state(m, (enum zone_stat_item)i));
    for (u32 i = 0; i < NR_VM_NODE_STAT_ITEMS; i++)
        put(l, node_name[i], global_node_page_state(m, (enum node_stat_item)i));
    for (u32 i = 0; i < NR_VM_EVENT_ITEMS; i++)
        put(l, event_name[i], (s64)sum_vm_events(m, (enum vm_event_item)i));
}

static s64 kb(u64 pages)
{
    return (s64)(pages << (PAGE_SHIFT - 10));
}

static s64 node_kb(const struct machine *m, enum node_stat_item item)
{
    return kb((u64)global_node_page_state(m, item));
}

/* Documentation/mm/overcommit-accounting.rst: what mode 2 allows in all. */
static u64 commit_limit(const struct machine *m)
{
    if (m->config.overcommit_kbytes)
        return m->config.overcommit_kbytes >> (PAGE_SHIFT - 10);
    return totalram_pages(m) * m->config.overcommit_ratio / 100;
}

static void meminfo_lru(const struct machine *m, struct report_list *l)
{
    s64 active_anon = node_kb(m, NR_ACTIVE_ANON), inactive_anon = node_kb(m, NR_INACTIVE_ANON);
    s64 active_file = node_kb(m, NR_ACTIVE_FILE), inactive_file = node_kb(m, NR_INACTIVE_FILE);

    put(l, "Active", active_anon + active_file);
    put(l, "Inactive", inactive_anon + inactive_file);
    put(l, "Active(anon)", active_anon);
    put(l, "Inactive(anon)", inactive_anon);
    put(l, "Active(file)", active_file);
    put(l, "Inactive(file)", inactive_file);
    put(l, "Unevictable", node_kb(m, NR_UNEVICTABLE));
    put(l, "Mlocked", kb((u64)global_zone_page_state(m, NR_MLOCK)));
}

void report_meminfo(const struct machine *m, struct report_list *l)
{
    s64 reclaimable = node_kb(m, NR_SLAB_RECLAIMABLE), unreclaimable = node_kb(m, NR_SLAB_UNRECLAIMABLE);

    l->nr = 0;
    put(l, "MemTotal", kb(totalram_pages(m)));
    put(l, "MemFree", kb((u64)global_zone_page_state(m, NR_FREE_PAGES)));
    put(l, "MemAvailable", kb(si_mem_available_pages(m)));
    put(l, "Buffers", 0);
    put(l, "Cached", node_kb(m, NR_FILE_PAGES));
    meminfo_lru(m, l);
    put(l, "Dirty", node_kb(m, NR_FILE_DIRTY));
    put(l, "Writeback", node_kb(m, NR_WRITEBACK));
    put(l, "AnonPages", node_kb(m, NR_ANON_MAPPED));
    put(l, "Mapped", node_kb(m, NR_FILE_MAPPED));
    put(l, "Shmem", node_kb(m, NR_SHMEM));
    put(l, "KReclaimable", reclaimable);
    put(l, "Slab", reclaimable + unreclaimable);
    put(l, "SReclaimable", reclaimable);
    put(l, "SUnreclaim", unreclaimable);
    put(l, "PageTables", node_kb(m, NR_PAGETABLE));
    put(l, "CommitLimit", kb(commit_limit(m)));
    put(l, "Committed_AS", kb((u64)atomic_load(&m->vm->vm_committed_as)));
}

static void sum_mmus(const struct machine *m, struct mmu_counters *sum)
{
    *sum = (struct mmu_counters){0};
    for (u32 id = 0; id < m->nr_cpus; id++) {
        const struct mmu_counters *c = &cpu_mmu(&m->cpus[id])->count;

#define X(field, name) sum->field += c->field;
        MMU_COUNTERS(X)
#undef X
    }
}

void report_tlb(const struct machine *m, struct report_list *l)
{
    struct mmu_counters c;

    sum_mmus(m, &c);
    l->nr = 0;
#define X(field, name) put(l, name, (s64)c.field);
    MMU_COUNTERS(X)
#undef X
    put(l, "l1d_hits", (s64)(c.l1d_access > c.l1d_miss ? c.l1d_access - c.l1d_miss : 0));
    put(l, "l1i_hits", (s64)(c.l1i_access > c.l1i_miss ? c.l1i_access - c.l1i_miss : 0));
    put(l, "l2_hits", (s64)(c.l2_hit_4k + c.l2_hit_2m + c.l2_hit_1g));
}

void report_time(const struct machine *m, struct report_list *l)
{
    static const char *const cause_name[] = {
#define X(id, name) [id] = name,
        TIME_CAUSES(X)
#undef X
    };
    u64 clock = 0;

    l->nr = 0;
    for (u32 cause = 0; cause < NR_TIME_CAUSES; cause++) {
        u64 ps = 0;

        for (u32 id = 0; id < m->nr_cpus; id++)
            ps += m->cpus[id].time_ps[cause];
        put(l, cause_name[cause], (s64)(ps / 1000));
    }
    for (u32 id = 0; id < m->nr_cpus; id++)
        clock = MAX(clock, m->cpus[id].clock_ps);
    put(l, "clock", (s64)(clock / 1000));
}

void report_mm(const struct mm *mm, struct report_mm *out)
{
    *out = (struct report_mm){
        .hiwater_rss = MAX(mm->hiwater_rss, (u64)get_mm_rss(mm)),
        .hiwater_vm = MAX(mm->hiwater_vm, mm->total_vm),
        .total_vm = mm->total_vm,
        .pgtables_bytes = (u64)atomic_load(&((struct mm *)(uintptr_t)mm)->pgtables_bytes),
        .min_flt = mm->min_flt,
        .maj_flt = mm->maj_flt,
        .map_count = mm->map_count,
    };
    for (u32 i = 0; i < NR_MM_COUNTERS; i++)
        out->rss[i] = get_mm_counter(mm, (int)i);
    if (list_empty(&mm->threads))
        return;
    out->pid = list_first_entry(&mm->threads, struct task, thread)->tgid;
    memcpy(out->comm, list_first_entry(&mm->threads, struct task, thread)->comm, sizeof(out->comm));
}

s64 report_find(const struct report_list *l, const char *name)
{
    for (u32 i = 0; i < l->nr; i++)
        if (text_eq(l->v[i].name, name, text_len(name)))
            return l->v[i].value;
    return 0;
}
