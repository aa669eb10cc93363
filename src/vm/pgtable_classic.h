/* SPDX-License-Identifier: MIT */
/*
 * The classic names: pgd, p4d, pud, pmd, pte, as thin wrappers over entry locations.
 *
 *   levels   pgd   p4d   pud   pmd   pte          formats
 *     5       5     4     3     2     1           x86-64 with LA57, Sv57
 *     4       4     4     3     2     1           x86-64, arm64, Sv48
 *     3       3     3     3     2     1           PAE, Sv39
 *     2       2     2     2     2     1           x86
 *
 * A name stands for a level, or for the level above that the format has: then x_offset() gives back the entry it was
 * handed. With a constant format the compiler removes it; nothing has to be done for a folded level, and p4d_none() of
 * a folded p4d looks at the pgd's entry, which is the same entry.
 *
 *     struct pt_entry pmd = pmd_offset(mm, pud_offset(mm, p4d_offset(mm, pgd_offset(mm, addr), addr), addr), addr);
 */
#ifndef QUIRE_VM_PGTABLE_CLASSIC_H
#define QUIRE_VM_PGTABLE_CLASSIC_H

#include "vm/vm.h"

enum { P4D_LEVEL = 4, PUD_LEVEL = 3, PMD_LEVEL = 2, PTE_LEVEL = 1 };

/* The entry of `level` below e, which points to a table; e itself if it is there or lower already. */
PT_FN struct pt_entry pt_descend_to(const struct mm *mm, struct pt_entry e, u32 level, va_t addr)
{
    fmt_t f = pt_format_of(mm->m);

    if (e.level <= level)
        return e;
    return pt_entry_at(f, pt_table_of(mm->m, f, pt_read(f, e), e.level), addr);
}

PT_FN struct pt_entry pgd_offset(const struct mm *mm, va_t addr)
{
    fmt_t f = pt_format_of(mm->m);

    return pt_entry_at(f, pt_top_table(mm->m, f, &mm->pt, addr), addr);
}

PT_FN struct pt_entry p4d_offset(const struct mm *mm, struct pt_entry pgd, va_t addr)
{
    return pt_descend_to(mm, pgd, P4D_LEVEL, addr);
}

PT_FN struct pt_entry pud_offset(const struct mm *mm, struct pt_entry p4d, va_t addr)
{
    return pt_descend_to(mm, p4d, PUD_LEVEL, addr);
}

PT_FN struct pt_entry pmd_offset(const struct mm *mm, struct pt_entry pud, va_t addr)
{
    return pt_descend_to(mm, pud, PMD_LEVEL, addr);
}

/* Without the lock; there is nothing to unmap. pte_offset_map_lock() is in vm.h. */
PT_FN struct pt_entry pte_offset_map(const struct mm *mm, struct pt_entry pmd, va_t addr)
{
    return pt_descend_to(mm, pmd, PTE_LEVEL, addr);
}

/* Geometry of the classic names: that of the entry that stands for them. */
#define PT_CLASSIC_LEVEL(f, n) ((f)->levels < (n) ? (u32)(f)->levels : (u32)(n))

#define PT_CLASSIC(x, LEVEL)                                                                                           \
    PT_FN bool x##_none(const struct mm *mm, struct pt_entry e)                                                        \
    {                                                                                                                  \
        return pte_none(pt_format_of(mm->m), pt_read(pt_format_of(mm->m), e));                                         \
    }                                                                                                                  \
    PT_FN bool x##_present(const struct mm *mm, struct pt_entry e)                                                     \
    {                                                                                                                  \
        return pte_present(pt_format_of(mm->m), pt_read(pt_format_of(mm->m), e));                                      \
    }                                                                                                                  \
    PT_FN bool x##_leaf(const struct mm *mm, struct pt_entry e)                                                        \
    {                                                                                                                  \
        return pte_leaf(pt_format_of(mm->m), e.level, pt_read(pt_format_of(mm->m), e));                                \
    }                                                                                                                  \
    PT_FN bool x##_bad(const struct mm *mm, struct pt_entry e)                                                         \
    {                                                                                                                  \
        return !pte_table(pt_format_of(mm->m), e.level, pt_read(pt_format_of(mm->m), e));                              \
    }                                                                                                                  \
    PT_FN u32 x##_shift(const struct mm *mm)                                                                           \
    {                                                                                                                  \
        return pt_shift(pt_format_of(mm->m), PT_CLASSIC_LEVEL(pt_format_of(mm->m), LEVEL));                            \
    }                                                                                                                  \
    PT_FN va_t x##_addr_end(const struct mm *mm, va_t addr, va_t end)                                                  \
    {                                                                                                                  \
        return pt_addr_end(pt_format_of(mm->m), PT_CLASSIC_LEVEL(pt_format_of(mm->m), LEVEL), addr, end);              \
    }

PT_CLASSIC(pgd, PT_MAX_LEVELS)
PT_CLASSIC(p4d, P4D_LEVEL)
PT_CLASSIC(pud, PUD_LEVEL)
PT_CLASSIC(pmd, PMD_LEVEL)

/* Tables allocated on the way down; slot NULL: no memory or a huge leaf is in the way. */
static inline struct pt_entry pmd_alloc(struct cpu *cpu, struct mm *mm, va_t addr)
{
    return pt_alloc_entry(cpu, mm, addr, PMD_LEVEL, NULL);
}

static inline struct pt_entry pte_alloc_map_lock(struct cpu *cpu, struct mm *mm, va_t addr, spinlock_t **ptl)
{
    if (!pt_alloc_entry(cpu, mm, addr, PTE_LEVEL, NULL).slot)
        return (struct pt_entry){NULL, PTE_LEVEL};
    return pte_offset_map_lock(cpu, mm, addr, ptl);
}

#endif
