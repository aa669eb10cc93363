/* SPDX-License-Identifier: MIT */
/*
 * remap_file_pages(2): other pages of the file at a place in a shared mapping. Since 4.0 it is what the kernel makes of
 * it: a MAP_SHARED | MAP_FIXED mapping of the same file over the range, with the rights of the VMA there, faulted in.
 *
 *     shared mapping, pages   0 1 2 3 4 5         remap_file_pages(at page 2, 2 pages, pgoff 7)
 *                        ─▶   0 1│7 8│4 5
 *
 * The range may span VMAs that differ in their offsets only.
 * Follows remap_file_pages(2), Documentation/mm/remap_file_pages.rst; order of checks as seen with 6.18.
 */
#include "vm/vma_priv.h"

#include "base/errno.h"

/* [start, end) lies in mappings like *vma, without holes. */
static bool range_is_alike(const struct vm_area_struct *vma, va_t end)
{
    const struct vm_area_struct *next = vma;

    while (next->vm_end < end) {
        va_t at = next->vm_end;

        next = vma_next(next);
        if (!next || next->vm_start != at || next->vm_file != vma->vm_file || next->vm_flags != vma->vm_flags)
            return false;
    }
    return true;
}

static s64 do_remap(struct cpu *cpu, struct mm *mm, struct mmap_request *r)
{
    struct vm_area_struct *vma = vma_lookup(cpu, mm, r->addr);
    struct file *file;
    s64 result;

    if (!vma || !(vma->vm_flags & VM_SHARED) || !range_is_alike(vma, r->addr + r->len))
        return -EINVAL;
    r->prot = (vma->vm_flags & VM_READ ? PROT_READ_ : 0) | (vma->vm_flags & VM_WRITE ? PROT_WRITE_ : 0) |
              (vma->vm_flags & VM_EXEC ? PROT_EXEC_ : 0);
    if (vma->vm_flags & VM_LOCKED)
        r->flags |= MAP_LOCKED_;
    r->file = file = vma->vm_file;
    get_file(file); /* the last mapping of it may be the one that is replaced */
    result = mmap_locked(cpu, r);
    cpu->code->fput(cpu, file);
    return result;
}

s64 sys_remap_file_pages(struct cpu *cpu, va_t start, u64 size, u64 prot, u64 pgoff, u64 flags)
{
    struct mm *mm = cpu->current->mm;
    struct mmap_request r = {
        .addr = start & PAGE_MASK,
        .len = size & PAGE_MASK,
        .flags = MAP_SHARED_ | MAP_FIXED_ | MAP_POPULATE_ | (flags & MAP_NONBLOCK_),
        .pgoff = PGOFF(pgoff),
    };
    s64 result;

    charge(cpu, COST_MMAP);
    start = r.addr;
    size = r.len;
    if (prot || start + size <= start || pgoff + (size >> PAGE_SHIFT) < pgoff)
        return -EINVAL;
    down_write(cpu, &mm->mmap_lock);
    result = do_remap(cpu, mm, &r);
    up_write(cpu, &mm->mmap_lock);
    if (r.populate)
        mm_populate(cpu, mm, start, size);
    return IS_ERR_VALUE(result) ? result : 0;
}
