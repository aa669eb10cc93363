/* SPDX-License-Identifier: MIT */
/*
 * mlock(2), mlock2(2), munlock(2), mlockall(2), munlockall(2).
 *
 *   limits ─▶ for each VMA: merge or cut (vma_modify) ─▶ locked_vm ─▶ mlock_vma_pages_range: what is mapped already
 *          ─▶ mmap_lock dropped ─▶ mm_populate: what is not (but with ONFAULT)
 *
 * A locked page is unevictable: phys/lru_mlock.c. While a VMA has VM_LOCKED, every page that it maps is counted there
 * when it is mapped (rmap.c, the fault files), and uncounted when it is unmapped. So a change of VM_LOCKED must count
 * what is mapped at that moment. Those who come from a page (truncation) hold no mmap_lock: they could uncount a page
 * that was not counted yet. VM_IO in the flags keeps them from it while the entries are walked.
 *
 * Errors. The range is done VMA by VMA: where a hole or a failure stops it (-ENOMEM), what comes before is locked, as
 * mlock(2) allows. Failures of populating: -ENOMEM for what cannot be read, -EAGAIN without memory.
 *
 * Left alone: special mappings (VM_SPECIAL), which have no pages to lock; they count nothing.
 * Follows mlock(2), Documentation/mm/unevictable-lru.rst; order of checks as 6.18's.
 */
#include "vm/gup.h"
#include "vm/vma_priv.h"

#include "base/errno.h"
#include "phys/lru.h"

#define MLOCK_ONFAULT_ 1u
#define MCL_CURRENT_ 1u
#define MCL_FUTURE_ 2u
#define MCL_ONFAULT_ 4u

/* -- pages --------------------------------------------------------------------------------------------------------- */

static int mlock_pte(struct pt_entry e, va_t addr, va_t next, struct mm_walk *walk)
{
    fmt_t fmt = pt_format_of(walk->mm->m);
    pte_t pte = pt_read(fmt, e);
    struct page *page = pte_present(fmt, pte) ? vm_normal_page(walk->vma, addr, pte) : NULL;

    if (!page)
        return 0;
    if (walk->vma->vm_flags & VM_LOCKED)
        mlock_folio(walk->cpu, page_folio(page));
    else
        munlock_folio(walk->cpu, page_folio(page));
    return 0;
}

/* The VMA's flags become newflags, and what it maps in [start, end) is counted, or not any more. */
static void mlock_vma_pages_range(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end,
                                  vm_flags_t newflags)
{
    static const struct mm_walk_ops ops = {.entry = {[1] = mlock_pte}};

    WRITE_ONCE(vma->vm_flags, newflags & VM_LOCKED ? newflags | VM_IO : newflags);
    lru_add_drain(cpu);
    walk_page_range(cpu, vma->vm_mm, start, end, &ops, NULL);
    lru_add_drain(cpu);
    WRITE_ONCE(vma->vm_flags, newflags);
}

static int forget_pte(struct pt_entry e, va_t addr, va_t next, struct mm_walk *walk)
{
    fmt_t fmt = pt_format_of(walk->mm->m);
    pte_t pte = pt_read(fmt, e);
    struct page *page = pte_present(fmt, pte) ? vm_normal_page(walk->vma, addr, pte) : NULL;

    if (page)
        folio_set_mlock_high(page_folio(page));
    return 0;
}

/* The VMA is about to lose VM_LOCKED, and what it maps stays counted. */
void mlock_forget(struct cpu *cpu, struct vm_area_struct *vma)
{
    static const struct mm_walk_ops ops = {.entry = {[1] = forget_pte}};

    walk_page_range(cpu, vma->vm_mm, vma->vm_start, vma->vm_end, &ops, NULL);
}

/* -- VMAs ---------------------------------------------------------------------------------------------------------- */

/* [start, end) lies in vma; the VMA that covers it afterwards, or ERR_PTR(-ENOMEM). */
static struct vm_area_struct *mlock_fixup(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end,
                                          vm_flags_t newflags)
{
    vm_flags_t oldflags = vma->vm_flags;
    s64 pages = (s64)((end - start) >> PAGE_SHIFT);

    if (newflags == oldflags || (oldflags & (VM_SPECIAL | VM_HUGETLB | VM_DROPPABLE)))
        return vma;
    vma = vma_modify(cpu, vma, start, end, newflags);
    if (IS_ERR(vma))
        return vma;
    newflags |= vma->vm_flags & VM_STICKY;
    if (!(newflags & VM_LOCKED))
        vma->vm_mm->locked_vm -= (u64)pages;
    else if (!(oldflags & VM_LOCKED))
        vma->vm_mm->locked_vm += (u64)pages;
    if ((newflags & oldflags) & VM_LOCKED)
        WRITE_ONCE(vma->vm_flags, newflags); /* counted already */
    else
        mlock_vma_pages_range(cpu, vma, start, end, newflags);
    return vma;
}

static int apply_vma_lock_flags(struct cpu *cpu, struct mm *mm, va_t start, va_t end, vm_flags_t flags)
{
    struct vm_area_struct *vma = vma_lookup(cpu, mm, start);

    while (start < end) {
        va_t stop;

        if (!vma || vma->vm_start > start)
            return -ENOMEM;
        stop = MIN(end, vma->vm_end);
        vma = mlock_fixup(cpu, vma, start, stop, (vma->vm_flags & ~VM_LOCKED_MASK) | flags);
        if (IS_ERR(vma))
            return PTR_ERR(vma);
        /* Merged with the one behind, which so has these flags already. */
        start = MIN(end, vma->vm_end);
        vma = vma_next(vma);
    }
    return 0;
}

/* -- limits -------------------------------------------------------------------------------------------------------- */

static bool can_do_mlock(const struct cpu *cpu)
{
    return task_rlimit_of(cpu, RLIMIT_MEMLOCK_) || !cpu->current || task_capable(cpu->current, CAP_IPC_LOCK_);
}

/* Pages of the range that are locked already, and so do not count twice. */
static u64 count_mlocked(struct cpu *cpu, struct mm *mm, va_t start, va_t end)
{
    struct vm_area_struct *vma;
    u64 bytes = 0;

    for (vma = find_vma(cpu, mm, start); vma && vma->vm_start < end; vma = vma_next(vma))
        if (vma->vm_flags & VM_LOCKED)
            bytes += MIN(end, vma->vm_end) - MAX(start, vma->vm_start);
    return bytes >> PAGE_SHIFT;
}

static bool within_limit(struct cpu *cpu, struct mm *mm, va_t start, u64 len)
{
    u64 limit = task_rlimit_of(cpu, RLIMIT_MEMLOCK_) >> PAGE_SHIFT;
    u64 locked = (len >> PAGE_SHIFT) + mm->locked_vm;

    if (locked <= limit || !cpu->current || task_capable(cpu->current, CAP_IPC_LOCK_))
        return true;
    return locked - count_mlocked(cpu, mm, start, start + len < start ? ~(va_t)0 : start + len) <= limit;
}

/* -- the calls ----------------------------------------------------------------------------------------------------- */

/* What mlock(2) documents for memory that cannot be faulted in. */
static int mlock_posix_error(int err)
{
    return err == -EFAULT ? -ENOMEM : err == -ENOMEM ? -EAGAIN : err;
}

static s64 do_mlock(struct cpu *cpu, va_t start, u64 len, vm_flags_t flags)
{
    struct mm *mm = cpu->current->mm;
    int err = -ENOMEM;

    charge(cpu, COST_MMAP);
    if (!can_do_mlock(cpu))
        return -EPERM;
    len = ALIGN_UP(len + (start & ~PAGE_MASK), PAGE_SIZE);
    start &= PAGE_MASK;
    down_write(cpu, &mm->mmap_lock);
    if (within_limit(cpu, mm, start, len))
        err = start + len < start ? -EINVAL : apply_vma_lock_flags(cpu, mm, start, start + len, flags);
    up_write(cpu, &mm->mmap_lock);
    if (err)
        return err;
    return mlock_posix_error(mm_populate_range(cpu, mm, start, len, POPULATE_STOP));
}

s64 sys_mlock(struct cpu *cpu, va_t start, u64 len)
{
    return do_mlock(cpu, start, len, VM_LOCKED);
}

s64 sys_mlock2(struct cpu *cpu, va_t start, u64 len, u32 flags)
{
    if (flags & ~MLOCK_ONFAULT_)
        return -EINVAL;
    return do_mlock(cpu, start, len, flags & MLOCK_ONFAULT_ ? VM_LOCKED_MASK : VM_LOCKED);
}

s64 sys_munlock(struct cpu *cpu, va_t start, u64 len)
{
    struct mm *mm = cpu->current->mm;
    int err;

    charge(cpu, COST_MMAP);
    len = ALIGN_UP(len + (start & ~PAGE_MASK), PAGE_SIZE);
    start &= PAGE_MASK;
    down_write(cpu, &mm->mmap_lock);
    err = start + len < start ? -EINVAL : apply_vma_lock_flags(cpu, mm, start, start + len, 0);
    up_write(cpu, &mm->mmap_lock);
    return err;
}

/* What future mappings get, and with MCL_CURRENT (or to unlock: flags 0) every VMA; one that fails stays as it is. */
static void apply_mlockall_flags(struct cpu *cpu, struct mm *mm, u32 flags)
{
    vm_flags_t lock = flags & MCL_ONFAULT_ ? VM_LOCKED_MASK : VM_LOCKED;
    struct vm_area_struct *vma;

    mm->def_flags &= ~VM_LOCKED_MASK;
    if (flags & MCL_FUTURE_)
        mm->def_flags |= lock;
    if ((flags & MCL_FUTURE_) && !(flags & MCL_CURRENT_))
        return;
    if (!(flags & MCL_CURRENT_))
        lock = 0;
    for (vma = vma_first(mm); vma; vma = vma_next(vma)) {
        struct vm_area_struct *now =
            mlock_fixup(cpu, vma, vma->vm_start, vma->vm_end, (vma->vm_flags & ~VM_LOCKED_MASK) | lock);

        if (!IS_ERR(now))
            vma = now;
    }
}

s64 sys_mlockall(struct cpu *cpu, u32 flags)
{
    struct mm *mm = cpu->current->mm;
    u64 limit = task_rlimit_of(cpu, RLIMIT_MEMLOCK_) >> PAGE_SHIFT;
    int err = -ENOMEM;

    charge(cpu, COST_MMAP);
    if (!flags || (flags & ~(MCL_CURRENT_ | MCL_FUTURE_ | MCL_ONFAULT_)) || flags == MCL_ONFAULT_)
        return -EINVAL;
    if (!can_do_mlock(cpu))
        return -EPERM;
    down_write(cpu, &mm->mmap_lock);
    if (!(flags & MCL_CURRENT_) || mm->total_vm <= limit || task_capable(cpu->current, CAP_IPC_LOCK_)) {
        apply_mlockall_flags(cpu, mm, flags);
        err = 0;
    }
    up_write(cpu, &mm->mmap_lock);
    if (!err && (flags & MCL_CURRENT_))
        mm_populate(cpu, mm, 0, mm->task_size);
    return err;
}

s64 sys_munlockall(struct cpu *cpu)
{
    struct mm *mm = cpu->current->mm;

    charge(cpu, COST_MMAP);
    down_write(cpu, &mm->mmap_lock);
    apply_mlockall_flags(cpu, mm, 0);
    up_write(cpu, &mm->mmap_lock);
    return 0;
}
