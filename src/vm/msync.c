/* SPDX-License-Identifier: MIT */
/*
 * msync(2): what shared mappings of files have dirtied goes to the device, with MS_SYNC, VMA by VMA. MS_ASYNC and no flag
 * do nothing but look for holes; MS_INVALIDATE does no more than refuse locked memory, since mappings and read(2) see the
 * same pages.
 *
 * Holes: the mapped parts are written, the result is -ENOMEM; with MS_ASYNC alone the first hole ends it.
 * Locks. mmap_lock for reading, dropped while a file is written.
 * Follows msync(2), order of checks as 6.18's.
 */
#include "vm/vma_priv.h"

#include "base/errno.h"

#define MS_ASYNC_ 1u
#define MS_INVALIDATE_ 2u
#define MS_SYNC_ 4u

/* [start, end) of a file's mapping; mmap_lock is dropped meanwhile. */
static int sync_vma(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end) NO_LOCK_ANALYSIS
{
    u64 first = linear_page_index(vma, start).nr;
    struct mm *mm = vma->vm_mm;
    struct file *file = vma->vm_file;
    int err;

    get_file(file);
    up_read(cpu, &mm->mmap_lock);
    err = cpu->code->fsync_range(cpu, file, first, first + ((end - start) >> PAGE_SHIFT) - 1);
    cpu->code->fput(cpu, file);
    down_read(cpu, &mm->mmap_lock);
    return err;
}

static int msync_range(struct cpu *cpu, struct mm *mm, va_t start, va_t end, u32 flags)
{
    struct vm_area_struct *vma;
    int holes = 0;

    while ((vma = vma_over_holes(cpu, mm, &start, end, &holes))) {
        va_t stop;
        int err = 0;

        if (holes && flags == MS_ASYNC_)
            break;
        if ((flags & MS_INVALIDATE_) && (vma->vm_flags & VM_LOCKED))
            return -EBUSY;
        stop = MIN(end, vma->vm_end);
        if ((flags & MS_SYNC_) && vma->vm_file && (vma->vm_flags & VM_SHARED))
            err = sync_vma(cpu, vma, start, stop);
        if (err)
            return err;
        start = stop;
    }
    return holes;
}

s64 sys_msync(struct cpu *cpu, va_t start, u64 len, u32 flags)
{
    struct mm *mm = cpu->current->mm;
    va_t end = start + ALIGN_UP(len, PAGE_SIZE);
    int err;

    charge(cpu, COST_MMAP);
    if ((flags & ~(MS_ASYNC_ | MS_INVALIDATE_ | MS_SYNC_)) || (start & ~PAGE_MASK) ||
        (flags & (MS_ASYNC_ | MS_SYNC_)) == (MS_ASYNC_ | MS_SYNC_))
        return -EINVAL;
    if (end < start)
        return -ENOMEM;
    down_read(cpu, &mm->mmap_lock);
    err = msync_range(cpu, mm, start, end, flags);
    up_read(cpu, &mm->mmap_lock);
    return err;
}
