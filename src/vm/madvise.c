/* SPDX-License-Identifier: MIT */
/*
 * madvise(2): the advice that changes flags of VMAs or drops pages. A table says for each advice which flags it clears
 * and sets, and which VMAs it refuses.
 *
 * Holes in the range: the mapped parts are advised, the result is -ENOMEM. Advice that needs parts not built yet is
 * refused with -EINVAL, as by a kernel that was configured without them.
 */
#include "vm/vma_priv.h"

#include "base/errno.h"

enum advice_action { ADVISE_FLAGS, ADVISE_DONTNEED, ADVISE_FREE, ADVISE_WILLNEED, ADVISE_POPULATE };

struct advice {
    int nr;
    enum advice_action action;
    vm_flags_t clear, set;
    vm_flags_t refused;  /* -EINVAL for a VMA that has any of these */
    bool anonymous_only; /* -EINVAL for a VMA with a file, or shared */
};

static const struct advice advices[] = {
    {0 /* NORMAL */, ADVISE_FLAGS, VM_RAND_READ | VM_SEQ_READ, 0, 0, false},
    {1 /* RANDOM */, ADVISE_FLAGS, VM_SEQ_READ, VM_RAND_READ, 0, false},
    {2 /* SEQUENTIAL */, ADVISE_FLAGS, VM_RAND_READ, VM_SEQ_READ, 0, false},
    {3 /* WILLNEED */, ADVISE_WILLNEED, 0, 0, 0, false},
    {4 /* DONTNEED */, ADVISE_DONTNEED, 0, 0, VM_LOCKED | VM_PFNMAP | VM_HUGETLB, false},
    {8 /* FREE */, ADVISE_FREE, 0, 0, VM_LOCKED | VM_PFNMAP | VM_HUGETLB, true},
    {10 /* DONTFORK */, ADVISE_FLAGS, 0, VM_DONTCOPY, 0, false},
    {11 /* DOFORK */, ADVISE_FLAGS, VM_DONTCOPY, 0, VM_SPECIAL, false},
    {14 /* HUGEPAGE */, ADVISE_FLAGS, VM_NOHUGEPAGE, VM_HUGEPAGE, 0, false},
    {15 /* NOHUGEPAGE */, ADVISE_FLAGS, VM_HUGEPAGE, VM_NOHUGEPAGE, 0, false},
    {16 /* DONTDUMP */, ADVISE_FLAGS, 0, VM_DONTDUMP, 0, false},
    {17 /* DODUMP */, ADVISE_FLAGS, VM_DONTDUMP, 0, VM_SPECIAL, false},
    {18 /* WIPEONFORK */, ADVISE_FLAGS, 0, VM_WIPEONFORK, 0, true},
    {19 /* KEEPONFORK */, ADVISE_FLAGS, VM_WIPEONFORK, 0, 0, false},
    {22 /* POPULATE_READ */, ADVISE_POPULATE, 0, 0, 0, false},
    {23 /* POPULATE_WRITE */, ADVISE_POPULATE, 0, 0, 0, false},
    {24 /* DONTNEED_LOCKED */, ADVISE_DONTNEED, 0, 0, VM_PFNMAP | VM_HUGETLB, false},
};
#define ADVICE_POPULATE_WRITE 23

static const struct advice *advice_find(int nr)
{
    for (u32 i = 0; i < ARRAY_SIZE(advices); i++)
        if (advices[i].nr == nr)
            return &advices[i];
    return NULL;
}

/* [start, end) lies in *vma, which becomes the VMA that covers it afterwards. */
static int advise_flags(struct cpu *cpu, const struct advice *a, struct vm_area_struct **vma, va_t start, va_t end)
{
    vm_flags_t flags = ((*vma)->vm_flags & ~a->clear) | a->set;
    struct vm_area_struct *modified;

    if (flags == (*vma)->vm_flags)
        return 0;
    modified = vma_modify(cpu, *vma, start, end, flags);
    if (IS_ERR(modified))
        return PTR_ERR(modified) == -ENOMEM ? -EAGAIN : PTR_ERR(modified);
    modified->vm_flags = flags | (modified->vm_flags & VM_SOFTDIRTY);
    *vma = modified;
    return 0;
}

static int advise_vma(struct cpu *cpu, const struct advice *a, struct vm_area_struct **vma, va_t start, va_t end)
{
    if (((*vma)->vm_flags & a->refused) ||
        (a->anonymous_only && (!vma_is_anonymous(*vma) || ((*vma)->vm_flags & VM_SHARED))))
        return -EINVAL;
    switch (a->action) {
    case ADVISE_FLAGS:
        return advise_flags(cpu, a, vma, start, end);
    case ADVISE_DONTNEED:
        zap_page_range(cpu, *vma, start, end);
        return 0;
    default: /* FREE: the pages may go when memory is short, which has not come yet; WILLNEED: no readahead yet */
        return 0;
    }
}

static int madvise_walk(struct cpu *cpu, struct mm *mm, const struct advice *a, va_t start, va_t end)
{
    struct vm_area_struct *vma = find_vma(cpu, mm, start);
    int holes = 0, err;

    while (start < end) {
        va_t stop;

        if (!vma)
            return -ENOMEM;
        if (start < vma->vm_start) {
            holes = -ENOMEM;
            start = vma->vm_start;
            if (start >= end)
                break;
        }
        stop = MIN(end, vma->vm_end);
        err = advise_vma(cpu, a, &vma, start, stop);
        if (err)
            return err;
        start = MAX(stop, MIN(end, vma->vm_end));
        vma = vma_next(vma);
    }
    return holes;
}

/* Every page now, and say so if one cannot be had. */
static int madvise_populate(struct cpu *cpu, struct mm *mm, va_t start, va_t end, bool write)
{
    struct vm_area_struct *vma = NULL;

    for (; start < end; start += PAGE_SIZE) {
        vm_fault_t fault;

        if (!vma || start >= vma->vm_end)
            vma = vma_lookup(cpu, mm, start);
        if (!vma)
            return -ENOMEM;
        if ((vma->vm_flags & (VM_IO | VM_PFNMAP)) || !(vma->vm_flags & (write ? VM_WRITE : VM_READ)))
            return -EINVAL;
        fault = handle_mm_fault(cpu, vma, start, write ? FAULT_FLAG_WRITE : 0);
        if (fault & VM_FAULT_HWPOISON)
            return -EHWPOISON;
        if (fault & VM_FAULT_OOM)
            return -ENOMEM;
        if (fault & VM_FAULT_ERROR)
            return -EFAULT;
    }
    return 0;
}

s64 sys_madvise(struct cpu *cpu, va_t addr, u64 len, int advice)
{
    struct mm *mm = cpu->current->mm;
    const struct advice *a = advice_find(advice);
    u64 aligned = ALIGN_UP(len, PAGE_SIZE);
    va_t end = addr + aligned;
    int err;

    charge(cpu, COST_MMAP);
    if (!a || (addr & ~PAGE_MASK) || (len && !aligned) || end < addr)
        return -EINVAL;
    if (end == addr)
        return 0;
    if (a->action == ADVISE_POPULATE) {
        down_read(cpu, &mm->mmap_lock);
        err = madvise_populate(cpu, mm, addr, end, advice == ADVICE_POPULATE_WRITE);
        up_read(cpu, &mm->mmap_lock);
        return err;
    }
    down_write(cpu, &mm->mmap_lock);
    err = madvise_walk(cpu, mm, a, addr, end);
    up_write(cpu, &mm->mmap_lock);
    return err;
}
