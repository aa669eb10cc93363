/* SPDX-License-Identifier: MIT */
/* Zone and node counters (mm/vmstat.c): per-CPU differences folded into an atomic when they pass a threshold. */
#ifndef QUIRE_PHYS_VMSTAT_H
#define QUIRE_PHYS_VMSTAT_H

#include "base/machine.h"
#include "phys/page.h"

#define ZONE_STATS(X)                                                                                                  \
    X(NR_FREE_PAGES, "nr_free_pages")                                                                                  \
    X(NR_ZONE_INACTIVE_ANON, "nr_zone_inactive_anon")                                                                  \
    X(NR_ZONE_ACTIVE_ANON, "nr_zone_active_anon")                                                                      \
    X(NR_ZONE_INACTIVE_FILE, "nr_zone_inactive_file")                                                                  \
    X(NR_ZONE_ACTIVE_FILE, "nr_zone_active_file")                                                                      \
    X(NR_ZONE_UNEVICTABLE, "nr_zone_unevictable")                                                                      \
    X(NR_ZONE_WRITE_PENDING, "nr_zone_write_pending")                                                                  \
    X(NR_MLOCK, "nr_mlock")                                                                                            \
    X(NR_FREE_CMA_PAGES, "nr_free_cma")

#define NODE_STATS(X)                                                                                                  \
    X(NR_INACTIVE_ANON, "nr_inactive_anon")                                                                            \
    X(NR_ACTIVE_ANON, "nr_active_anon")                                                                                \
    X(NR_INACTIVE_FILE, "nr_inactive_file")                                                                            \
    X(NR_ACTIVE_FILE, "nr_active_file")                                                                                \
    X(NR_UNEVICTABLE, "nr_unevictable")                                                                                \
    X(NR_SLAB_RECLAIMABLE, "nr_slab_reclaimable")                                                                      \
    X(NR_SLAB_UNRECLAIMABLE, "nr_slab_unreclaimable")                                                                  \
    X(NR_ISOLATED_ANON, "nr_isolated_anon")                                                                            \
    X(NR_ISOLATED_FILE, "nr_isolated_file")                                                                            \
    X(NR_ANON_MAPPED, "nr_anon_pages")                                                                                 \
    X(NR_FILE_MAPPED, "nr_mapped")                                                                                     \
    X(NR_FILE_PAGES, "nr_file_pages")                                                                                  \
    X(NR_FILE_DIRTY, "nr_dirty")                                                                                       \
    X(NR_WRITEBACK, "nr_writeback")                                                                                    \
    X(NR_SHMEM, "nr_shmem")                                                                                            \
    X(NR_ANON_THPS, "nr_anon_transparent_hugepages")                                                                   \
    X(NR_DIRTIED, "nr_dirtied")                                                                                        \
    X(NR_WRITTEN, "nr_written")                                                                                        \
    X(NR_FOLL_PIN_ACQUIRED, "nr_foll_pin_acquired")                                                                    \
    X(NR_FOLL_PIN_RELEASED, "nr_foll_pin_released")                                                                    \
    X(NR_KERNEL_STACK_KB, "nr_kernel_stack")                                                                           \
    X(NR_PAGETABLE, "nr_page_table_pages")                                                                             \
    X(NR_SECONDARY_PAGETABLE, "nr_sec_page_table_pages")

enum zone_stat_item {
#define X(id, name) id,
    ZONE_STATS(X)
#undef X
        NR_VM_ZONE_STAT_ITEMS
};

enum node_stat_item {
#define X(id, name) id,
    NODE_STATS(X)
#undef X
        NR_VM_NODE_STAT_ITEMS
};

struct zone;
struct pglist_data;

/* Add `delta` (pages, or the item's unit) for the node / zone of `page`. */
void mod_node_page_state(struct cpu *cpu, struct pglist_data *pgdat, enum node_stat_item item, s64 delta);
void mod_zone_page_state(struct cpu *cpu, struct zone *zone, enum zone_stat_item item, s64 delta);
void lruvec_stat_mod_folio(struct cpu *cpu, struct folio *f, enum node_stat_item item, s64 delta);
static inline void mod_page_state(struct cpu *cpu, struct page *p, enum node_stat_item item, s64 delta)
{
    lruvec_stat_mod_folio(cpu, page_folio(p), item, delta);
}

/* Exact sums, per-CPU differences included: for readers, not for hot paths. */
s64 global_node_page_state(const struct machine *m, enum node_stat_item item);
s64 global_zone_page_state(const struct machine *m, enum zone_stat_item item);
u64 sum_vm_events(const struct machine *m, enum vm_event_item item);

#endif
