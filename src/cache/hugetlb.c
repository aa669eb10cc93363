/* SPDX-License-Identifier: MIT */
/*
 * hugetlbfs, as it is without a page in its pools: MAP_ANONYMOUS | MAP_HUGETLB, memfd_create(MFD_HUGETLB), SHM_HUGETLB.
 *
 *   file ── inode (INODE_HUGETLB, i_huge_shift)            one mount for each size of huge page
 *     ▲
 *    VMA   VM_HUGETLB | VM_DONTEXPAND; start, end and offset are whole huge pages
 *
 *   made      with MAP_NORESERVE, or of a segment made with SHM_NORESERVE: else as many huge pages must be free as the
 *             mapping has, and none is (-ENOMEM: vm/mmap.c)
 *   touched   the tables down to the huge page's level are made, no page is to be had: SIGBUS
 *   cut       munmap, mprotect, mremap, madvise, mmap over it: between huge pages only (-EINVAL)
 *   grown     never by mremap; a writable mapping beyond the file's size raises it, whatever seals say
 *   merged    never (VM_DONTEXPAND); nor locked
 *
 * Invariant: V7 of vm/vma.c.
 * Follows Documentation/admin-guide/mm/hugetlbpage.rst, mmap(2), and 6.18 where those are silent.
 */
#include "cache/cache.h"

#include "base/errno.h"
#include "vm/fault.h"

/* As the kernel's own mounts show in /proc/PID/maps where nothing else was mounted before: 00:11, 00:12. */
#define HUGETLB_DEV 0x11u

static u32 level_of(const struct pt_format *fmt, u32 shift)
{
    u32 level = 2;

    while (level < fmt->levels && fmt->shift[level] < shift)
        level++;
    return level;
}

struct file *hugetlb_file_setup(struct cpu *cpu, const char *name, u64 size, u32 huge_shift)
{
    struct file *file = shmem_file_setup(cpu, name, 0, VM_NORESERVE);
    struct inode *inode;

    if (IS_ERR(file))
        return file;
    inode = file->f_inode;
    inode->dev = HUGETLB_DEV + level_of(pt_format_of(cpu->m), huge_shift) - 2;
    inode->i_size = size;
    inode->i_flags |= INODE_HUGETLB;
    inode->i_huge_shift = huge_shift;
    file->vm_ops = VM_OPS_HUGETLB;
    return file;
}

/* Nobody's i_rwsem: mmap_lock is held. Truncation at the same moment may come first or last. */
int hugetlb_mmap(struct cpu *cpu, struct vm_area_struct *vma)
{
    struct inode *inode = vma->vm_file->f_inode;
    u64 end = (vma->vm_pgoff.nr << PAGE_SHIFT) + (vma->vm_end - vma->vm_start), size = inode_size(inode);

    if (!(vma->vm_flags & VM_WRITE))
        return 0;
    while (size < end &&
           !__atomic_compare_exchange_n(&inode->i_size, &size, end, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
    return 0;
}

int hugetlb_may_split(struct cpu *cpu, struct vm_area_struct *vma, va_t addr)
{
    return IS_ALIGNED(addr, vma_pagesize(vma)) ? 0 : -EINVAL;
}

vm_fault_t hugetlb_fault(struct cpu *cpu, struct vm_fault *vmf)
{
    u32 level = level_of(pt_format_of(cpu->m), vmf->vma->vm_file->f_inode->i_huge_shift), leaf = 0;

    if (!pt_alloc_entry(cpu, vmf->vma->vm_mm, vmf->address, level, &leaf).slot)
        return VM_FAULT_OOM;
    return VM_FAULT_SIGBUS;
}

const struct vm_operations_struct hugetlb_vm_ops = {
    .mmap = hugetlb_mmap,
    .may_split = hugetlb_may_split,
    .fault = hugetlb_fault,
};
