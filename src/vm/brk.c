/* SPDX-License-Identifier: MIT */
/*
 * brk(2): the end of the data segment. The heap is an anonymous mapping from start_brk up that grows and shrinks at its
 * end; the result is the new end, or the old one where nothing was changed.
 */
#include "vm/vma_priv.h"

#include "base/errno.h"

#define VM_BRK_FLAGS (VM_READ | VM_WRITE | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC | VM_ACCOUNT)

static bool brk_within_data_limit(struct cpu *cpu, const struct mm *mm, va_t brk)
{
    u64 limit = task_rlimit_of(cpu, RLIMIT_DATA_);

    return limit == RLIM_INFINITY_ || (brk - mm->start_brk) + (mm->end_data - mm->start_data) <= limit;
}

static int brk_link(struct cpu *cpu, struct mm *mm, va_t addr, u64 len, vm_flags_t flags)
{
    struct vm_area_struct *next = vma_index_find(&mm->vmas, addr), *vma;
    struct vma_merge g = {
        .mm = mm,
        .prev = next ? next->vm_prev : mm->vmas.last,
        .start = addr,
        .end = addr + len,
        .pgoff = PGOFF(addr >> PAGE_SHIFT),
        .vm_flags = flags,
    };

    /* the heap's first mapping stays apart from the program's data before it */
    vma = addr > mm->start_brk ? vma_merge_new_range(cpu, &g) : NULL;
    if (vma) {
        vma->vm_flags |= VM_SOFTDIRTY;
        return 0;
    }
    vma = vm_area_alloc(cpu, mm);
    if (!vma)
        return -ENOMEM;
    vma->vm_start = addr;
    vma->vm_end = addr + len;
    vma->vm_pgoff = g.pgoff;
    vma->vm_flags = flags | VM_SOFTDIRTY;
    vma_set_page_prot(vma);
    if (vma_link(cpu, mm, vma)) {
        vm_area_free(cpu, vma);
        return -ENOMEM;
    }
    return 0;
}

static int do_brk_flags(struct cpu *cpu, struct mm *mm, va_t addr, u64 len)
{
    vm_flags_t exec = cpu->current->personality & READ_IMPLIES_EXEC_ ? VM_EXEC : 0;
    vm_flags_t flags = ksm_vma_flags(mm, VM_BRK_FLAGS | exec | mm->def_flags);
    u64 pages = len >> PAGE_SHIFT;

    if (!may_expand_vm(cpu, mm, flags, pages) || mm->map_count > mm->m->config.max_map_count ||
        vm_enough_memory(cpu, mm, pages))
        return -ENOMEM;
    if (brk_link(cpu, mm, addr, len, flags)) {
        vm_unacct_memory(mm->m, pages);
        return -ENOMEM;
    }
    vm_stat_account(mm, flags, (s64)pages);
    if (flags & VM_LOCKED)
        mm->locked_vm += pages;
    return 0;
}

static int brk_grow(struct cpu *cpu, struct mm *mm, va_t oldbrk, va_t newbrk)
{
    struct vm_area_struct *next;
    s64 area = get_unmapped_area(cpu, mm, NULL, oldbrk, newbrk - oldbrk, PGOFF(0), MAP_FIXED_);

    if (IS_ERR_VALUE(area))
        return (int)area;
    if (!mlock_future_ok(cpu, mm, mm->def_flags, newbrk - oldbrk))
        return -EAGAIN;
    next = find_vma(cpu, mm, oldbrk);
    if (next && newbrk + PAGE_SIZE > vm_start_gap(next))
        return -ENOMEM;
    return do_brk_flags(cpu, mm, oldbrk, newbrk - oldbrk);
}

s64 sys_brk(struct cpu *cpu, va_t brk)
{
    struct mm *mm = cpu->current->mm;
    va_t oldbrk, newbrk = ALIGN_UP(brk, PAGE_SIZE), result;
    bool grown = false;
    int err = 0;

    charge(cpu, COST_MMAP);
    down_write(cpu, &mm->mmap_lock);
    oldbrk = ALIGN_UP(mm->brk, PAGE_SIZE);
    if (brk < mm->start_brk || newbrk < brk || !brk_within_data_limit(cpu, mm, brk)) {
        err = -ENOMEM;
    } else if (newbrk < oldbrk) {
        /* nothing there: the program has unmapped it by itself */
        err = find_vma_intersection(cpu, mm, newbrk, oldbrk) ? do_munmap(cpu, mm, newbrk, oldbrk - newbrk) : -EFAULT;
    } else if (newbrk > oldbrk) {
        err = brk_grow(cpu, mm, oldbrk, newbrk);
        grown = !err;
    }
    if (!err)
        mm->brk = brk;
    result = mm->brk;
    grown = grown && (mm->def_flags & VM_LOCKED);
    up_write(cpu, &mm->mmap_lock);
    if (grown)
        mm_populate(cpu, mm, oldbrk, newbrk - oldbrk);
    return (s64)result;
}
