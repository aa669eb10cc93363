/* SPDX-License-Identifier: MIT */
/*
 * Guard regions: madvise(MADV_GUARD_INSTALL), MADV_GUARD_REMOVE. An access to a guarded page is SIGSEGV (SEGV_MAPERR),
 * whatever the VMA allows. A guard is a marker in the page's entry (swapops.h), so it costs no VMA:
 *
 *      VMA     [ rw                                   )        one VMA, not three
 *      entries   page  GUARD  GUARD  page  -  -  page
 *
 *   installed    pages in the range are dropped, as by MADV_DONTNEED; the VMA has VM_MAYBE_GUARD from then on, so that
 *                fork copies its entries, whatever it maps; an anonymous one gets an anon_vma
 *   kept by      MADV_DONTNEED, MADV_FREE, truncation, hole punching, mprotect, fork; moved by mremap
 *   removed by   MADV_GUARD_REMOVE, munmap, mmap over it, exit; a child with MADV_WIPEONFORK does not get it
 *
 * Refused (-EINVAL): special mappings, and to install, locked ones (their pages must not go).
 * Failure: anon_vma and tables are allocated before the first page is dropped: -ENOMEM changes nothing in this VMA.
 * Locks. mmap_lock for reading; page-table locks one by one. A fault may bring a page in behind the zapping: the range is
 * zapped again.
 * Follows madvise(2), 6.18.
 */
#include "vm/madvise.h"
#include "vm/swapops.h"

#include "base/errno.h"

static int prepare_tables(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end)
{
    fmt_t fmt = pt_format_of(cpu->m);
    u32 leaf = 0;

    if (vma_is_anonymous(vma) && !vma_anon_vma(vma) && anon_vma_prepare(cpu, vma))
        return -ENOMEM;
    for (; start < end; start = pt_addr_end(fmt, 2, start, end))
        if (!pt_alloc_entry(cpu, vma->vm_mm, start, 1, &leaf).slot)
            return -ENOMEM;
    return 0;
}

/* One table's part. Where it stopped: end, or at a page. */
static va_t install_in_table(struct cpu *cpu, struct mm *mm, va_t addr, va_t end) NO_LOCK_ANALYSIS
{
    fmt_t fmt = pt_format_of(mm->m);
    spinlock_t *ptl;
    struct pt_entry e = pte_offset_map_lock(cpu, mm, addr, &ptl);

    ASSERT(e.slot);
    for (; addr < end; addr += PAGE_SIZE, e = pt_entry_next(fmt, e, 1)) {
        pte_t pte = pt_read(fmt, e);

        if (!pte_none(fmt, pte) && !pte_markers(fmt, pte))
            break;
        set_pte_at(fmt, e, make_pte_marker(fmt, pte_markers(fmt, pte) | PTE_MARKER_GUARD));
    }
    pte_unmap_unlock(cpu, ptl);
    return addr;
}

int madvise_guard_install(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end)
{
    fmt_t fmt = pt_format_of(cpu->m);
    int err;

    if (vma->vm_flags & (VM_SPECIAL | VM_HUGETLB | VM_LOCKED))
        return -EINVAL;
    err = prepare_tables(cpu, vma, start, end);
    if (err)
        return err;
    __atomic_fetch_or(&vma->vm_flags, VM_MAYBE_GUARD, __ATOMIC_RELAXED); /* faults read flags at the same time */
    while (start < end) {
        va_t next = pt_addr_end(fmt, 2, start, end);

        start = install_in_table(cpu, vma->vm_mm, start, next);
        if (start < next)
            zap_page_range(cpu, vma, start, end);
    }
    return 0;
}

static int remove_pte(struct pt_entry e, va_t addr, va_t next, struct mm_walk *walk)
{
    fmt_t fmt = pt_format_of(walk->mm->m);

    if (pte_is_guard(fmt, pt_read(fmt, e)))
        set_pte_at(fmt, e, PTE(0)); /* no TLB knows it */
    return 0;
}

int madvise_guard_remove(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end)
{
    static const struct mm_walk_ops ops = {.entry = {[1] = remove_pte}};

    if (vma->vm_flags & (VM_SPECIAL | VM_HUGETLB))
        return -EINVAL;
    return walk_page_range(cpu, vma->vm_mm, start, end, &ops, NULL);
}
