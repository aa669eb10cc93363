/* SPDX-License-Identifier: MIT */
/* Collect what an unmapping frees until no TLB can reach it: zap.c has the theory. */
#ifndef QUIRE_VM_MMU_GATHER_H
#define QUIRE_VM_MMU_GATHER_H

#include "vm/vm.h"

/* Two folio batches of phys fill it; 2 KiB of the caller's stack. */
#define MMU_GATHER_PAGES 256

enum gather_extent {
    GATHER_RANGE,     /* the mapping goes, with all markers in its entries */
    GATHER_PAGES,     /* pages go, the mapping stays: guards (guard.c) stay, too */
    GATHER_FULLMM,    /* the whole address space goes: one flush at the end covers it */
    GATHER_KEEP_ANON, /* a range, but private copies in it stay, and guards */
};

struct mmu_gather {
    struct cpu *cpu;
    struct mm *mm;
    va_t start, end; /* entries cleared since the last flush; start >= end: none */
    u32 nr;
    u32 extent; /* enum gather_extent */
    struct folio *folios[MMU_GATHER_PAGES];
};

void tlb_gather_mmu(struct mmu_gather *tlb, struct cpu *cpu, struct mm *mm, enum gather_extent extent);
void tlb_flush_mmu(struct mmu_gather *tlb); /* flush, then free what was collected */
void tlb_finish_mmu(struct mmu_gather *tlb);
/* Clear the entries of [start, end), which lies in one VMA. */
void unmap_page_range(struct mmu_gather *tlb, struct vm_area_struct *vma, va_t start, va_t end);

#endif
