/* SPDX-License-Identifier: MIT */
/*
 * munmap(2), and the unmapping half of everything that maps over something.
 *
 *   unmap_prepare   find the VMAs, copy what a cut at either end needs ─▶ may fail, nothing is changed
 *   unmap_commit    cut ─▶ out of the index ─▶ entries, pages, TLBs, trees, tables ─▶ counters
 *                   ─▶ VMAs freed; cannot fail
 *
 *        AAAA BBBB CCCC          A is cut at start, C at end
 *          ├────────┤            plan: below = copy of A's first half, above = copy of C's second half
 *        AA           CC
 *
 * A program may have max_map_count VMAs; only a hole in the middle of one VMA makes one more, so only that is refused.
 * What refuses only after the cuts in the kernel (a limit, overcommit, a sealed VMA further on) leaves them: the VMAs
 * of the same pages are then two (unmap_abandon). Without memory nothing is changed (unmap_cancel).
 * Follows munmap(2).
 */
#include "vm/vma_priv.h"

#include "base/errno.h"

/* A VMA behind the first refuses: as in the kernel, the first has been cut by then and stays so. */
static int unmap_refused(struct cpu *cpu, struct mm *mm, struct unmap_plan *plan, int why)
{
    struct vma_cuts *cuts = &plan->cuts;
    int err;

    cuts->last = cuts->first;
    cuts->end = cuts->first->vm_end;
    err = vma_cuts_prepare(cpu, mm, cuts);
    if (err)
        return err;
    unmap_abandon(cpu, mm, plan);
    return why;
}

int unmap_prepare(struct cpu *cpu, struct mm *mm, va_t start, va_t end, struct unmap_plan *plan)
{
    struct vm_area_struct *vma = find_vma(cpu, mm, start);

    *plan = (struct unmap_plan){.cuts = {.start = start, .end = end}, .next = vma};
    if (!vma || vma->vm_start >= end)
        return 0;
    plan->cuts.first = vma;
    if (start > vma->vm_start && end < vma->vm_end && mm->map_count >= mm->m->config.max_map_count)
        return -ENOMEM;
    for (; vma && vma->vm_start < end; vma = vma_next(vma)) {
        if (vma->vm_flags & VM_SEALED)
            return vma == plan->cuts.first ? -EPERM : unmap_refused(cpu, mm, plan, -EPERM);
        u64 pages = (MIN(end, vma->vm_end) - MAX(start, vma->vm_start)) >> PAGE_SHIFT;

        plan->nr_pages += pages;
        plan->nr_accounted += vma->vm_flags & VM_ACCOUNT ? pages : 0;
        plan->cuts.last = vma;
    }
    return vma_cuts_needed(&plan->cuts) ? vma_cuts_prepare(cpu, mm, &plan->cuts) : 0;
}

void unmap_abandon(struct cpu *cpu, struct mm *mm, struct unmap_plan *plan)
{
    if (plan->cuts.first)
        vma_cuts_commit(cpu, mm, &plan->cuts);
}

void unmap_cancel(struct cpu *cpu, struct unmap_plan *plan)
{
    vma_cuts_cancel(cpu, &plan->cuts);
}

/* The VMAs leave the index, but still list each other through vm_next. */
static void detach_vmas(struct mm *mm, struct vm_area_struct *first, va_t end)
{
    struct vm_area_struct *vma, *next;

    for (vma = first; vma && vma->vm_start < end; vma = next) {
        s64 pages = (s64)vma_pages(vma);

        next = vma_next(vma);
        vma_index_remove(&mm->vmas, vma);
        mm->map_count--;
        if (vma->vm_flags & VM_LOCKED)
            mm->locked_vm -= (u64)pages;
        vm_stat_account(mm, vma->vm_flags, -pages);
    }
    mm->vmacache_seqnum++;
}

static void free_vmas(struct cpu *cpu, struct vm_area_struct *first, va_t end)
{
    struct vm_area_struct *vma, *next;

    for (vma = first; vma && vma->vm_start < end; vma = next) {
        next = vma_next(vma);
        remove_vma(cpu, vma);
    }
}

void unmap_commit(struct cpu *cpu, struct mm *mm, struct unmap_plan *plan)
{
    struct vm_area_struct *first = plan->cuts.first, *prev, *next;
    va_t end = plan->cuts.end;

    if (plan->cuts.below || plan->cuts.above)
        vma_cuts_commit(cpu, mm, &plan->cuts);
    update_hiwater_vm(mm);
    prev = first->vm_prev;
    next = plan->next = plan->cuts.last->vm_next;
    detach_vmas(mm, first, end);
    /* Holes at the ends of the range need no look: nothing is mapped there. */
    unmap_region(cpu, first, first->vm_start, plan->cuts.last->vm_end, prev ? prev->vm_end : 0,
                 next ? next->vm_start : mm->task_size);
    free_vmas(cpu, first, end);
    vma_index_trim(cpu, &mm->vmas);
}

int do_munmap(struct cpu *cpu, struct mm *mm, va_t start, u64 len)
{
    struct unmap_plan plan;
    int err;

    if ((start & ~PAGE_MASK) || start > mm->task_size || len > mm->task_size - start)
        return -EINVAL;
    len = ALIGN_UP(len, PAGE_SIZE);
    if (!len)
        return -EINVAL;
    err = unmap_prepare(cpu, mm, start, start + len, &plan);
    if (err)
        return err;
    if (!plan.cuts.first)
        return 0;
    unmap_commit(cpu, mm, &plan);
    vm_unacct_memory(mm->m, plan.nr_accounted);
    return 0;
}

s64 sys_munmap(struct cpu *cpu, va_t addr, u64 len)
{
    struct mm *mm = cpu->current->mm;
    int err;

    charge(cpu, COST_MMAP);
    down_write(cpu, &mm->mmap_lock);
    err = do_munmap(cpu, mm, addr, len);
    up_write(cpu, &mm->mmap_lock);
    return err;
}
