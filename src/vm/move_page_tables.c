/* SPDX-License-Identifier: MIT */
/*
 * mremap's part in the page tables: the entries of one range move to another, the pages stay where they are.
 *
 *   old  ········|a b - c|·····
 *   new  ····|- - - -|····    ─▶ a b - c
 *
 * A step covers what lies in one table on both sides; where both sides are a whole table and the new side has none,
 * the table itself is hung over (one store for 512).
 *
 * Page offsets do not change: the new VMA's vm_pgoff is such that every page keeps its index. So rmap
 * finds a page through the new VMA after the move and through the old one before; during it the locks of
 * both trees keep walkers out.
 *
 * Failure: no memory for a table of the new side: what was moved so far is reported, the caller moves it back.
 * Locks. mmap_lock for writing; i_mmap_rwsem and the anon_vma root for writing (taken here); then the old entry's lock,
 * then the new one's (subclass 1): one mm under mmap_lock moves in one direction at a time, so the order cannot cross.
 */
#include "vm/pgtable.h"
#include "vm/rmap.h"

struct move_ctx {
    struct cpu *cpu;
    struct mm *mm;
    fmt_t fmt;
};

static void take_rmap_locks(struct cpu *cpu, struct vm_area_struct *vma) NO_LOCK_ANALYSIS
{
    if (vma->vm_file)
        down_write(cpu, &vma->vm_file->f_mapping->i_mmap_rwsem);
    if (vma->anon_vma)
        anon_vma_lock_write(cpu, vma->anon_vma);
}

static void drop_rmap_locks(struct cpu *cpu, struct vm_area_struct *vma) NO_LOCK_ANALYSIS
{
    if (vma->anon_vma)
        anon_vma_unlock_write(cpu, vma->anon_vma);
    if (vma->vm_file)
        up_write(cpu, &vma->vm_file->f_mapping->i_mmap_rwsem);
}

/* [old, old + len) lies in one table, and so does the new side; both tables exist. */
static void move_ptes(struct move_ctx *c, va_t old, va_t new, u64 len) NO_LOCK_ANALYSIS
{
    struct pt_entry s = pt_find_entry(c->mm, old, 1), d = pt_find_entry(c->mm, new, 1);
    spinlock_t *src_ptl = pt_lockptr(c->mm, s), *dst_ptl = pt_lockptr(c->mm, d);

    ASSERT(s.level == 1 && d.level == 1);
    spin_lock(c->cpu, src_ptl);
    if (dst_ptl != src_ptl)
        spin_lock_nested(c->cpu, dst_ptl, 1);
    for (u64 i = 0; i < len; i += PAGE_SIZE) {
        if (!pte_none(c->fmt, pt_read(c->fmt, s))) {
            pte_t pte = ptep_get_and_clear(c->fmt, s);

            set_pte_at(c->fmt, d, pte_present(c->fmt, pte) ? pte_mksoft_dirty(c->fmt, pte) : pte);
        }
        s = pt_entry_next(c->fmt, s, 1);
        d = pt_entry_next(c->fmt, d, 1);
    }
    if (dst_ptl != src_ptl)
        spin_unlock(c->cpu, dst_ptl);
    spin_unlock(c->cpu, src_ptl);
}

/* One step; false: no memory. */
static bool move_step(struct move_ctx *c, va_t old, va_t new, u64 len)
{
    u32 leaf = 0;

    if (pt_find_entry(c->mm, old, 1).level > 1)
        return true; /* nothing mapped here */
    if (len == pt_size(c->fmt, 2)) {
        struct pt_entry d = pt_alloc_entry(c->cpu, c->mm, new, 2, &leaf);

        if (!d.slot)
            return false;
        if (pt_move_table(c->cpu, c->mm, pt_find_entry(c->mm, old, 2), d, new))
            return true;
    }
    if (!pt_alloc_entry(c->cpu, c->mm, new, 1, &leaf).slot)
        return false;
    move_ptes(c, old, new, len);
    return true;
}

u64 move_page_tables(struct cpu *cpu, struct vm_area_struct *vma, va_t old, struct vm_area_struct *new_vma,
                     va_t new_addr, u64 len)
{
    struct move_ctx c = {.cpu = cpu, .mm = vma->vm_mm, .fmt = pt_format_of(cpu->m)};
    u64 done = 0;

    take_rmap_locks(cpu, vma);
    while (done < len) {
        u64 step = MIN(pt_addr_end(c.fmt, 2, old + done, old + len) - (old + done),
                       pt_addr_end(c.fmt, 2, new_addr + done, new_addr + len) - (new_addr + done));

        if (!move_step(&c, old + done, new_addr + done, step))
            break;
        done += step;
    }
    drop_rmap_locks(cpu, vma);
    if (done)
        flush_tlb_range(cpu, c.mm, old, old + done, PAGE_SHIFT, true);
    return done;
}
