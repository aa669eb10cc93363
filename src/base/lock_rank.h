/* SPDX-License-Identifier: MIT */
/*
 * Every lock's rank, outermost first: a lock may be taken only while all locks held rank lower. Floors add theirs
 * here, with what they protect. Follows the order that Linux documents at the top of mm/rmap.c and in
 * Documentation/mm/process_addrs.rst.
 */
#ifndef QUIRE_BASE_LOCK_RANK_H
#define QUIRE_BASE_LOCK_RANK_H

enum lock_rank {
    RANK_NONE,        /* not checked */
    RANK_MACHINE,     /* the list of tasks and mms, CPU scheduling */
    RANK_INODE,       /* file size and truncation */
    RANK_MMAP,        /* mm->mmap_lock */
    RANK_INVALIDATE,  /* mapping->invalidate_lock */
    RANK_FOLIO,       /* the page lock */
    RANK_I_MMAP,      /* mapping->i_mmap_rwsem */
    RANK_ANON_VMA,    /* anon_vma->rwsem of the root */
    RANK_MM,          /* mm->page_table_lock */
    RANK_PTL,         /* split page-table locks */
    RANK_I_PAGES,     /* mapping->i_pages lock */
    RANK_LRU,         /* lruvec->lru_lock */
    RANK_FILES,       /* the table of files */
    RANK_SLAB_MUTEX,  /* the list of caches */
    RANK_SLAB_NODE,   /* kmem_cache_node->list_lock */
    RANK_SLAB,        /* a slab's free list */
    RANK_ZONE,        /* zone->lock */
    RANK_MEMMAP,      /* growing the initialised part of the memmap */
    RANK_LEAF,        /* nothing is taken inside */
};

#endif
