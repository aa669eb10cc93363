/* SPDX-License-Identifier: MIT */
/* Tables of an address space: what the floor's own files need beside vm.h. */
#ifndef QUIRE_VM_PGTABLE_H
#define QUIRE_VM_PGTABLE_H

#include "base/check.h"
#include "vm/vm.h"

/* Whether a table of this level is counted in mm->pgtables_bytes (P3). */
static inline bool pgtable_is_counted(fmt_t f, u32 level)
{
    return level < f->levels && level <= 3;
}

/* mremap: a whole level-1 table moves from one level-2 entry to another. False: not possible, nothing changed. */
bool pt_move_table(struct cpu *cpu, struct mm *mm, struct pt_entry from, struct pt_entry to, va_t va);

/*
 * P1..P6 of pgtable.c, for one mm. Returns the tables found, so that the sum over all mms can be compared with
 * NR_PAGETABLE. Nobody changes the mm meanwhile.
 */
u64 mm_pgtables_check(struct mm *mm, struct check_report *r);

#endif
