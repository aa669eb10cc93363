/* SPDX-License-Identifier: MIT */
/*
 * mseal(2): no change to a mapping from now on. Sealing cannot be undone; a forked child's mappings are sealed, too.
 *
 *   -EPERM from   munmap, mremap, MAP_FIXED, brk, shmdt over any part of it: nothing is changed
 *                 mprotect: the VMAs before it in the range are changed
 *                 madvise that loses contents (can_discard_vma())
 *
 * A range with a hole is refused as a whole; then VMA by VMA, so that memory running out leaves the first ones sealed.
 * Follows Documentation/userspace-api/mseal.rst and what 6.18 was seen to do. 64-bit formats only.
 */
#include "vm/vma_priv.h"

#include "base/errno.h"

static bool range_has_hole(struct cpu *cpu, struct mm *mm, va_t start, va_t end)
{
    for (struct vm_area_struct *vma = vma_lookup(cpu, mm, start); vma && vma->vm_start <= start; vma = vma_next(vma)) {
        start = vma->vm_end;
        if (start >= end)
            return false;
    }
    return true;
}

static int seal_range(struct cpu *cpu, struct mm *mm, va_t start, va_t end)
{
    struct vm_area_struct *vma = vma_lookup(cpu, mm, start);

    while (start < end) {
        va_t stop = MIN(end, vma->vm_end);

        if (!(vma->vm_flags & VM_SEALED)) {
            vma = vma_modify(cpu, vma, start, stop, vma->vm_flags | VM_SEALED);
            if (IS_ERR(vma))
                return PTR_ERR(vma);
            vma->vm_flags |= VM_SEALED;
        }
        start = MAX(stop, MIN(end, vma->vm_end));
        vma = vma_next(vma);
    }
    return 0;
}

s64 sys_mseal(struct cpu *cpu, va_t addr, u64 len, u64 flags)
{
    struct mm *mm = cpu->current->mm;
    u64 aligned = ALIGN_UP(len, PAGE_SIZE);
    va_t end = addr + aligned;
    int err;

    charge(cpu, COST_MMAP);
    if (!is_64bit(mm))
        return -EPERM;
    if (flags || (addr & ~PAGE_MASK) || (len && !aligned) || end < addr)
        return -EINVAL;
    if (end == addr)
        return 0;
    down_write(cpu, &mm->mmap_lock);
    err = range_has_hole(cpu, mm, addr, end) ? -ENOMEM : seal_range(cpu, mm, addr, end);
    up_write(cpu, &mm->mmap_lock);
    return err;
}
