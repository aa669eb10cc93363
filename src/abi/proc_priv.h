/* SPDX-License-Identifier: MIT */
/* What the files of the views share. */
#ifndef QUIRE_ABI_PROC_PRIV_H
#define QUIRE_ABI_PROC_PRIV_H

#include "abi/seq.h"
#include "phys/phys.h"

#define KB(pages) ((unsigned long long)(pages) << (PAGE_SHIFT - 10))

typedef int proc_show_fn(struct cpu *cpu, struct task *task, const struct proc_sink *sink);

typedef void proc_vma_fn(struct cpu *cpu, struct seq *s, const struct vm_area_struct *vma);

/* proc_maps.c */
/*
 * The VMA behind `vma`; NULL: the first, NULL behind the last. It lies above, whole pages of this address space: so a
 * walk ends even in a machine that came from elsewhere.
 */
struct vm_area_struct *proc_next_vma(const struct mm *mm, const struct vm_area_struct *vma);
#define for_each_shown_vma(vma, mm) for ((vma) = proc_next_vma(mm, NULL); (vma); (vma) = proc_next_vma(mm, vma))
/* What `put` writes of each mapping, in address order, mmap_lock held. */
int proc_each_vma(struct cpu *cpu, struct task *task, const struct proc_sink *sink, proc_vma_fn *put);
proc_show_fn proc_pid_maps;
/* The line of a mapping in maps and smaps, with its end. */
proc_vma_fn proc_map_line;
bool vma_is_heap(const struct vm_area_struct *vma);
bool vma_is_stack(const struct vm_area_struct *vma);

/* proc_smaps.c */
proc_show_fn proc_pid_smaps, proc_pid_smaps_rollup;

/* proc_status.c */
proc_show_fn proc_pid_status, proc_pid_statm, proc_pid_stat, proc_pid_comm, proc_pid_auxv, proc_pid_limits;

/* proc_pages.c */
proc_show_fn proc_pid_pagemap, proc_pid_pages, proc_pid_numa_maps;

/* proc_sys.c */
proc_show_fn proc_meminfo, proc_vmstat, proc_quire_events, proc_slabinfo, proc_iomem;

/* proc_zone.c */
proc_show_fn proc_buddyinfo, proc_pagetypeinfo, proc_zoneinfo;
/* Names of the counters of a node and of a zone, in the kernel's order. */
struct name_list {
    const char *const *name;
    u32 nr;
};
extern const struct name_list node_counters, zone_counters;
/* Has the architecture's kernel this zone type at all? */
bool zone_is_configured(const struct machine *m, enum zone_type type);
/* Free pages in blocks of at least a page block. */
u64 zone_free_in_blocks(const struct zone_view *v);

#endif
