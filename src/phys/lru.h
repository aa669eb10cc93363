/* SPDX-License-Identifier: MIT */
/*
 * LRU lists: which list a folio is on, and the per-CPU batches that get it there (mm/swap.c in Linux). Mechanism only:
 * what is taken off again, and when, is src/reclaim's.
 */
#ifndef QUIRE_PHYS_LRU_H
#define QUIRE_PHYS_LRU_H

#include "phys/page.h"

enum lru_list { LRU_INACTIVE_ANON, LRU_ACTIVE_ANON, LRU_INACTIVE_FILE, LRU_ACTIVE_FILE, LRU_UNEVICTABLE, NR_LRU_LISTS };

/* Queue a new folio for its LRU list; takes a reference for as long as it waits in the batch. */
void folio_add_lru(struct cpu *cpu, struct folio *f);
/* An active folio goes to the inactive list; a private anonymous one to the inactive file list, to be freed unwritten
 * if it stays clean (MADV_FREE). Nothing happens to folios on no list, or unevictable. */
void folio_deactivate(struct cpu *cpu, struct folio *f);
void folio_mark_lazyfree(struct cpu *cpu, struct folio *f);
/* inactive,unreferenced -> inactive,referenced -> active,unreferenced -> active,referenced */
void folio_mark_accessed(struct cpu *cpu, struct folio *f);
void lru_add_drain(struct cpu *cpu);
void lru_add_drain_all(struct cpu *cpu);
/* Take f off its list for the caller (who must hold a reference); false: it was on none. */
bool folio_isolate_lru(struct cpu *cpu, struct folio *f);
void folio_putback_lru(struct cpu *cpu, struct folio *f);
/* Drop one reference of each, freeing in one go those that were the last ones; folios[] is used as scratch space. */
void folios_put(struct cpu *cpu, struct folio **folios, u32 nr);

/* The first word of a struct address_space. */
#define AS_UNEVICTABLE 2u /* SHM_LOCK: reclaim leaves its pages alone */
/* f's object has lost AS_UNEVICTABLE: back on a list, unless it is locked; in lru_mlock.c. */
void check_move_unevictable_folio(struct cpu *cpu, struct folio *f);
/* Reclaim meets f: may it be taken? If not, it lies among the unevictable ones from here on; in lru_mlock.c. */
bool folio_check_evictable(struct cpu *cpu, struct folio *f);

/* -- lru_mlock.c: a folio is mapped by a VM_LOCKED VMA, or not any more -------------------------------------------- */
void mlock_folio(struct cpu *cpu, struct folio *f);
void mlock_new_folio(struct cpu *cpu, struct folio *f); /* instead of folio_add_lru() */
void munlock_folio(struct cpu *cpu, struct folio *f);

/* Does its object keep it? One that is taken out of its object meanwhile is about to be freed. */
static inline bool mapping_unevictable(const struct folio *f)
{
    const u32 *flags = (const void *)READ_ONCE(f->page.mapping);

    return flags && !((uintptr_t)flags & PAGE_MAPPING_FLAGS) && (READ_ONCE(*flags) & AS_UNEVICTABLE);
}

/* May reclaim look at it? */
static inline bool folio_evictable(const struct folio *f)
{
    return !folio_test_mlocked(f) && !mapping_unevictable(f);
}

#endif
