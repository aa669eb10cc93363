/* SPDX-License-Identifier: MIT */
/*
 * Every lock's rank, outermost first: a lock may be taken only while all locks held rank lower. Floors add theirs
 * here, with what they protect. Follows the order that Linux documents at the top of mm/rmap.c and in
 * Documentation/mm/process_addrs.rst.
 */
#ifndef QUIRE_BASE_LOCK_RANK_H
#define QUIRE_BASE_LOCK_RANK_H

#define LOCK_RANKS(X)                                                                                                  \
    X(RANK_NONE)       /* not checked */                                                                               \
    X(RANK_MACHINE)    /* the list of tasks and mms, CPU scheduling */                                                 \
    X(RANK_INODE)      /* file size and truncation */                                                                  \
    X(RANK_MMAP)       /* mm->mmap_lock */                                                                             \
    X(RANK_IPC)        /* the table of SysV segments */                                                                \
    X(RANK_INVALIDATE) /* mapping->invalidate_lock */                                                                  \
    X(RANK_FOLIO)      /* the page lock */                                                                             \
    X(RANK_I_MMAP)     /* mapping->i_mmap_rwsem */                                                                     \
    X(RANK_ANON_VMA)   /* anon_vma->rwsem of the root */                                                               \
    X(RANK_MM)         /* mm->page_table_lock */                                                                       \
    X(RANK_PTL)        /* split page-table locks */                                                                    \
    X(RANK_I_PAGES)    /* mapping->i_pages lock */                                                                     \
    X(RANK_LRU)        /* lruvec->lru_lock */                                                                          \
    X(RANK_FILES)      /* the table of files */                                                                        \
    X(RANK_SLAB_MUTEX) /* the list of caches */                                                                        \
    X(RANK_SLAB_NODE)  /* kmem_cache_node->list_lock */                                                                \
    X(RANK_SLAB)       /* a slab's free list */                                                                        \
    X(RANK_ZONE)       /* zone->lock */                                                                                \
    X(RANK_MEMMAP)     /* growing the initialised part of the memmap */                                                \
    X(RANK_LEAF)       /* nothing is taken inside */

enum lock_rank {
#define X(rank) rank,
    LOCK_RANKS(X)
#undef X
        NR_LOCK_RANKS
};

#endif
