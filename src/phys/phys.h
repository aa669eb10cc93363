/* SPDX-License-Identifier: MIT */
/* Physical memory of one machine: what hangs off m->phys, boot, checks and views. */
#ifndef QUIRE_PHYS_PHYS_H
#define QUIRE_PHYS_PHYS_H

#include "base/check.h"
#include "base/machine.h"
#include "phys/memblock.h"
#include "phys/mmzone.h"

/* SPARSEMEM: 128 MiB sections, as x86-64 and riscv64 have; 2 MiB of memmap each. */
#define SECTION_SIZE_BITS 27
#define PFN_SECTION_SHIFT (SECTION_SIZE_BITS - PAGE_SHIFT)
#define PAGES_PER_SECTION (1ul << PFN_SECTION_SHIFT)

#define MAX_VMEMMAP_ALIASES 1024
#define NR_WAIT_WORDS 256
#define PAGEVEC_SIZE 31

/* A part of the vmemmap window and the RAM that is shown there. */
struct vmemmap_alias {
    char *dst, *src;
    u64 len;
};

struct folio_batch {
    u32 nr;
    struct folio *folios[PAGEVEC_SIZE];
};

/* In the order of draining. */
enum lru_batch {
    LRU_BATCH_ADD,
    LRU_BATCH_DEACTIVATE,
    LRU_BATCH_LAZYFREE,
    LRU_BATCH_ACTIVATE,
    LRU_BATCH_MLOCK, /* with mlock_op[] */
    NR_LRU_BATCHES
};

/* What waits in LRU_BATCH_MLOCK: lru_mlock.c. */
enum mlock_op { OP_MLOCK, OP_MLOCK_NEW, OP_MUNLOCK };

/* Folios on their way to another LRU list: one reference each. */
struct lru_batches {
    struct folio_batch batch[NR_LRU_BATCHES]; /* o */
    u8 mlock_op[PAGEVEC_SIZE];                /* o: enum mlock_op, for LRU_BATCH_MLOCK */
} __cacheline_aligned;

struct phys {
    struct pglist_data *node_data[MAX_NODES];              /* c; NULL: node has neither memory nor CPUs */
    struct zone *zone_table[MAX_NODES * (ZONES_MASK + 1)]; /* c: by page->flags >> ZONES_PGSHIFT */
    _Atomic u8 *pageblock_flags;                           /* zone->lock to write; pageblock_mt() */
    _Atomic u8 *block_init;          /* zone->lock to write: one byte for each MAX_ORDER block: memmap initialised */
    struct lru_batches *lru_batches; /* o: [nr_cpus] */
    _Atomic u32 wait[NR_WAIT_WORDS]; /* a: futex words of page waits, hashed by page */

    u32 nr_node_ids;             /* c: highest node + 1 */
    u64 max_pfn;                 /* c */
    u64 nr_blocks;               /* c: MAX_ORDER blocks up to max_pfn */
    u64 totalram_pages;          /* c: managed pages of all zones */
    u64 totalreserve_pages;      /* s */
    u64 min_free_kbytes;         /* s: in force */
    _Atomic u8 *section_present; /* c: SPARSEMEM_VMEMMAP only */

    u32 nr_aliases;
    struct vmemmap_alias aliases[MAX_VMEMMAP_ALIASES];
    struct memblock memblock; /* boot; kept for pfn_valid and the checks */
};

/* Boot on CPU 0: m->ram, ram_span, vmemmap and config are set.
 * 0 or -ENOMEM (memory too small for its own memmap), -EINVAL. */
int phys_init(struct cpu *cpu);
/* In another process that has mapped the region with its own `handle`: shows the memmap again in the vmemmap window. */
int phys_attach(struct machine *m, int handle);
void phys_check(struct machine *m, struct check_report *r);

/* Every allocated block once: its first page and its number of frames. Machine quiet. Reserved frames are not shown. */
void phys_for_each_used_page(struct machine *m,
                             void (*fn)(struct machine *m, struct page *page, u64 nr_frames, void *arg), void *arg);

bool pfn_valid(const struct machine *m, pfn_t pfn);
/* The page's memmap entry, initialised if it is not yet; NULL: no memory there. For scanners and /proc readers. */
struct page *pfn_to_online_page(struct cpu *cpu, pfn_t pfn);

static inline struct pglist_data *NODE_DATA(const struct machine *m, s32 nid)
{
    return m->phys->node_data[nid];
}

static inline struct zone *page_zone(const struct machine *m, const struct page *p)
{
    u64 flags = atomic_load_explicit(&((struct page *)(uintptr_t)p)->flags, memory_order_relaxed);

    return m->phys->zone_table[flags >> ZONES_PGSHIFT];
}

/* A byte for each pageblock, 0: movable, as all memory is at boot. */
static inline enum migratetype pageblock_mt(const struct machine *m, u64 pfn)
{
    return (enum migratetype)(
        (atomic_load_explicit(&m->phys->pageblock_flags[pfn >> pageblock_order], memory_order_relaxed) & 7) ^
        MIGRATE_MOVABLE);
}

/* node by node, zone by zone; unpopulated ones too */
#define for_each_online_node(phys, nid)                                                                                \
    for ((nid) = 0; (u32)(nid) < (phys)->nr_node_ids; (nid)++)                                                         \
        if ((phys)->node_data[nid])

/* -- watermarks and sysctls (watermark.c) -------------------------------------------------------------------------- */
struct vm_sysctl {
    u64 min_free_kbytes; /* 0: computed */
    u32 watermark_scale_factor, watermark_boost_factor, percpu_pagelist_high_fraction;
    u32 lowmem_reserve_ratio[MAX_NR_ZONES];
};
/* New values; everything that depends on them is computed again. 0 or -EINVAL. */
int phys_set_sysctl(struct cpu *cpu, const struct vm_sysctl *s);
void phys_get_sysctl(const struct machine *m, struct vm_sysctl *s);

/* -- views: the numbers of /proc/zoneinfo, buddyinfo, pagetypeinfo (view.c) ---------------------------------------- */
struct zone_view {
    s32 nid;
    enum zone_type type;
    u64 free, boost, min, low, high, promo, spanned, present, managed, start_pfn;
    u64 protection[MAX_NR_ZONES];
    u64 pcp_count; /* of all CPUs */
    u32 pcp_high_min, pcp_high_max, pcp_batch;
    u64 nr_free[NR_PAGE_ORDERS]; /* /proc/buddyinfo: blocks of each order */
    u64 nr_free_mt[MIGRATE_TYPES][NR_PAGE_ORDERS];
    u64 reserved_highatomic, deferred_blocks;
    s64 stat[NR_VM_ZONE_STAT_ITEMS];
};
/* False: no such node or zone. */
bool phys_zone_view(const struct machine *m, s32 nid, enum zone_type type, struct zone_view *v);
const char *zone_name(enum zone_type type);
const char *migratetype_name(enum migratetype mt);
/* MemAvailable's rule: free pages above the reserves plus the part of file pages and slabs that can go. */
u64 si_mem_available_pages(const struct machine *m);
s64 node_page_state(const struct machine *m, s32 nid, enum node_stat_item item);
s64 zone_page_state_exact(const struct machine *m, const struct zone *z, enum zone_stat_item item);

#endif
