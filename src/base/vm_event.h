/* SPDX-License-Identifier: MIT */
/*
 * Event counters of /proc/vmstat, one per CPU (cpu->event), summed when read. Enumerator and printed name side by side;
 * names are the kernel's (Documentation/admin-guide/mm, /proc/vmstat of a 6.x kernel). Those under "Quire's own" are
 * ours and are printed with the prefix quire_.
 */
#ifndef QUIRE_BASE_VM_EVENT_H
#define QUIRE_BASE_VM_EVENT_H

#define VM_EVENTS(X)                                                                                                   \
    X(PGPGIN, "pgpgin") /* KiB read from block devices */                                                              \
    X(PGPGOUT, "pgpgout")                                                                                              \
    X(PSWPIN, "pswpin")                                                                                                \
    X(PSWPOUT, "pswpout")                                                                                              \
    X(PGALLOC_DMA, "pgalloc_dma") /* PGALLOC_DMA + enum zone_type, in zone order */                                    \
    X(PGALLOC_DMA32, "pgalloc_dma32")                                                                                  \
    X(PGALLOC_NORMAL, "pgalloc_normal")                                                                                \
    X(PGALLOC_HIGH, "pgalloc_high")                                                                                    \
    X(PGALLOC_MOVABLE, "pgalloc_movable")                                                                              \
    X(PGALLOC_DEVICE, "pgalloc_device")                                                                                \
    X(ALLOCSTALL_DMA, "allocstall_dma")                                                                                \
    X(ALLOCSTALL_DMA32, "allocstall_dma32")                                                                            \
    X(ALLOCSTALL_NORMAL, "allocstall_normal")                                                                          \
    X(ALLOCSTALL_HIGH, "allocstall_high")                                                                              \
    X(ALLOCSTALL_MOVABLE, "allocstall_movable")                                                                        \
    X(ALLOCSTALL_DEVICE, "allocstall_device")                                                                          \
    X(PGFREE, "pgfree")                                                                                                \
    X(PGACTIVATE, "pgactivate")                                                                                        \
    X(PGDEACTIVATE, "pgdeactivate")                                                                                    \
    X(PGLAZYFREE, "pglazyfree")                                                                                        \
    X(PGFAULT, "pgfault")                                                                                              \
    X(PGMAJFAULT, "pgmajfault")                                                                                        \
    X(PGLAZYFREED, "pglazyfreed")                                                                                      \
    X(PGREUSE, "pgreuse")                                                                                              \
    X(DROP_PAGECACHE, "drop_pagecache")                                                                                \
    X(DROP_SLAB, "drop_slab")                                                                                          \
    X(NUMA_HIT, "numa_hit")                                                                                            \
    X(NUMA_MISS, "numa_miss")                                                                                          \
    X(NUMA_FOREIGN, "numa_foreign")                                                                                    \
    X(NUMA_INTERLEAVE, "numa_interleave")                                                                              \
    X(NUMA_LOCAL, "numa_local")                                                                                        \
    X(NUMA_OTHER, "numa_other")                                                                                        \
    X(UNEVICTABLE_PGCULLED, "unevictable_pgs_culled")                                                                  \
    X(UNEVICTABLE_PGSCANNED, "unevictable_pgs_scanned")                                                                \
    X(UNEVICTABLE_PGRESCUED, "unevictable_pgs_rescued")                                                                \
    X(UNEVICTABLE_PGMLOCKED, "unevictable_pgs_mlocked")                                                                \
    X(UNEVICTABLE_PGMUNLOCKED, "unevictable_pgs_munlocked")                                                            \
    X(UNEVICTABLE_PGCLEARED, "unevictable_pgs_cleared")                                                                \
    X(UNEVICTABLE_PGSTRANDED, "unevictable_pgs_stranded")                                                              \
    X(THP_SPLIT_PMD, "thp_split_pmd")                                                                                  \
    X(NR_TLB_REMOTE_FLUSH, "nr_tlb_remote_flush")                                                                      \
    X(NR_TLB_REMOTE_FLUSH_RECEIVED, "nr_tlb_remote_flush_received")                                                    \
    X(NR_TLB_LOCAL_FLUSH_ALL, "nr_tlb_local_flush_all")                                                                \
    X(NR_TLB_LOCAL_FLUSH_ONE, "nr_tlb_local_flush_one")                                                                \
    /* Quire's own: the parts of pgfault and what Linux shows only as tracepoints */                                   \
    X(Q_FAULT_ANON, "quire_fault_anon")           /* a new anonymous page */                                           \
    X(Q_FAULT_ZERO_PAGE, "quire_fault_zero_page") /* a read mapped the zero page */                                    \
    X(Q_FAULT_FILE_READ, "quire_fault_file_read")                                                                      \
    X(Q_FAULT_FILE_COW, "quire_fault_file_cow") /* a write to a private file page */                                   \
    X(Q_FAULT_FILE_SHARED, "quire_fault_file_shared")                                                                  \
    X(Q_FAULT_WP_COPY, "quire_fault_wp_copy")   /* a COW break that copied */                                          \
    X(Q_FAULT_WP_REUSE, "quire_fault_wp_reuse") /* a COW break that kept the page */                                   \
    X(Q_FAULT_SPURIOUS, "quire_fault_spurious")                                                                        \
    X(Q_FAULT_STACK_GROW, "quire_fault_stack_grow")                                                                    \
    X(Q_FAULT_AROUND, "quire_fault_around") /* extra PTEs set by fault-around */                                       \
    X(Q_FAULT_SIGSEGV, "quire_fault_sigsegv")                                                                          \
    X(Q_FAULT_SIGBUS, "quire_fault_sigbus")                                                                            \
    X(Q_FAULT_OOM, "quire_fault_oom")                                                                                  \
    X(Q_NO_EFFECT_MERGEABLE, "quire_no_effect_mergeable") /* advice that does nothing yet: calls taken */              \
    X(Q_NO_EFFECT_HUGEPAGE, "quire_no_effect_hugepage")                                                                \
    X(Q_NO_EFFECT_COLLAPSE, "quire_no_effect_collapse")                                                                \
    X(Q_NO_EFFECT_PAGEOUT, "quire_no_effect_pageout") /* pages */                                                      \
    X(Q_FORK, "quire_fork")                                                                                            \
    X(Q_EXEC, "quire_exec")                                                                                            \
    X(Q_EXIT, "quire_exit")                                                                                            \
    X(Q_CONTEXT_SWITCH, "quire_context_switch")

enum vm_event_item {
#define X(id, name) id,
    VM_EVENTS(X)
#undef X
        NR_VM_EVENT_ITEMS
};

#endif
