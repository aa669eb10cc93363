/* SPDX-License-Identifier: MIT */
/* The page-table walker of one CPU. For the MMU's own files. */
#ifndef QUIRE_MACHINE_WALK_H
#define QUIRE_MACHINE_WALK_H

#include "machine/mmu.h"
#include "pt/pt.h"

enum walk_status {
    WALK_OK,
    WALK_FAULT, /* no translation, or not that access */
    WALK_RETRY, /* an entry changed under the walker */
};

struct walk_result {
    u32 level;  /* of the leaf */
    u64 rights; /* TLB_R | TLB_X | TLB_W */
    pfn_t pfn;  /* of the 4K page */
};

/* Walk mmu->mm's tables for one access; accessed and dirty bits are set.
 * Between mmu_begin_walk() and mmu_end_walk(). */
enum walk_status mmu_walk(struct mmu *mmu, va_t va, enum mmu_access_kind kind, struct walk_result *out);

#endif
