/* SPDX-License-Identifier: MIT */
/*
 * Special mappings: what devices map that is no page of a file.
 *
 *   VM_PFNMAP    bare frame numbers: device memory, reserved RAM. Entries are special: no struct page behind them is
 *                looked at, nothing is counted in rss, there is no rmap, no reference (vm_normal_page() gives NULL).
 *   VM_MIXEDMAP  a driver's own pages, inserted one by one: counted (rss: file pages), referenced, but in no page cache
 *                and on no LRU list; special entries may stand among them.
 *
 *   at mmap      remap_pfn_range     a whole range, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP
 *                vm_insert_page      one page, VM_MIXEDMAP
 *   at a fault   vmf_insert_pfn      one frame of a VM_PFNMAP (or VM_MIXEDMAP) mapping
 *
 * Private mappings of bare frames: only whole ones (vm_pgoff then is the first frame), and a write makes a copy, whose
 * entry is a normal anonymous page among special ones (fault_wp.c).
 *
 * Invariants (vm/check.c)
 *   PF1 a special entry that is not the zero page stands only in a VM_PFNMAP or VM_MIXEDMAP mapping.
 *   PF2 a page without a mapping of its own is mapped only there, or by VM_OPS_SPECIAL.
 * Locks: mmap_lock for writing, or the VMA is not linked yet; vmf_insert_pfn: for reading, as a fault has it.
 * Follows Documentation/core-api/mm-api.rst and Documentation/mm/process_addrs.rst.
 */
#include "vm/pfnmap.h"

#include "base/errno.h"
#include "vm/rmap.h"

static bool is_cow_mapping(vm_flags_t flags)
{
    return (flags & (VM_SHARED | VM_MAYWRITE)) == VM_MAYWRITE;
}

/* The locked entry of addr, with its tables; slot NULL: no memory. */
static struct pt_entry lock_entry(struct cpu *cpu, struct mm *mm, va_t addr, spinlock_t **ptl) NO_LOCK_ANALYSIS
{
    u32 leaf = 0;

    if (!pt_alloc_entry(cpu, mm, addr, 1, &leaf).slot)
        return (struct pt_entry){0};
    return pte_offset_map_lock(cpu, mm, addr, ptl);
}

static int insert_pfn(struct cpu *cpu, struct vm_area_struct *vma, va_t addr, pfn_t pfn) NO_LOCK_ANALYSIS
{
    const struct pt_format *fmt = pt_format_of(cpu->m);
    spinlock_t *ptl;
    struct pt_entry e = lock_entry(cpu, vma->vm_mm, addr, &ptl);
    int err = -EBUSY;

    if (!e.slot)
        return -ENOMEM;
    if (pte_none(fmt, pt_read(fmt, e))) {
        set_pte_at(fmt, e, pte_mkspecial(fmt, mk_pte(fmt, 1, pfn, vma->vm_page_prot)));
        err = 0;
    }
    pte_unmap_unlock(cpu, ptl);
    return err;
}

int remap_pfn_range(struct cpu *cpu, struct vm_area_struct *vma, va_t addr, pfn_t pfn, u64 size)
{
    va_t end = addr + ALIGN_UP(size, PAGE_SIZE), at;
    int err = 0;

    DEBUG_ASSERT(!(addr & ~PAGE_MASK));
    if (is_cow_mapping(vma->vm_flags)) {
        if (addr != vma->vm_start || end != vma->vm_end)
            return -EINVAL;
        vma->vm_pgoff = PGOFF(pfn.nr);
    }
    vma->vm_flags |= VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP;
    for (at = addr; at < end && !err; at += PAGE_SIZE)
        err = insert_pfn(cpu, vma, at, pfn_add(pfn, (at - addr) >> PAGE_SHIFT));
    ASSERT(err != -EBUSY);
    if (err)
        zap_page_range(cpu, vma, addr, end);
    return err;
}

int vm_insert_page(struct cpu *cpu, struct vm_area_struct *vma, va_t addr, struct page *page) NO_LOCK_ANALYSIS
{
    const struct pt_format *fmt = pt_format_of(cpu->m);
    struct folio *f = page_folio(page);
    struct pt_entry e;
    spinlock_t *ptl;
    int err = -EBUSY;

    if (addr < vma->vm_start || addr >= vma->vm_end)
        return -EFAULT;
    if (!page_count(page) || folio_test_anon(f) || PageSlab(page))
        return -EINVAL;
    ASSERT(!(vma->vm_flags & VM_PFNMAP));
    vma->vm_flags |= VM_MIXEDMAP;
    e = lock_entry(cpu, vma->vm_mm, addr, &ptl);
    if (!e.slot)
        return -ENOMEM;
    if (pte_none(fmt, pt_read(fmt, e))) {
        folio_get(f);
        add_mm_counter(vma->vm_mm, mm_counter_file(f), 1);
        folio_add_file_rmap_pte(cpu, f, page, vma);
        set_pte_at(fmt, e, mk_pte(fmt, 1, page_to_pfn(cpu->m, page), vma->vm_page_prot));
        err = 0;
    }
    pte_unmap_unlock(cpu, ptl);
    return err;
}

vm_fault_t vmf_insert_pfn(struct cpu *cpu, struct vm_area_struct *vma, va_t addr, pfn_t pfn)
{
    int err;

    ASSERT(vma->vm_flags & (VM_PFNMAP | VM_MIXEDMAP));
    ASSERT((vma->vm_flags & (VM_PFNMAP | VM_MIXEDMAP)) != (VM_PFNMAP | VM_MIXEDMAP));
    ASSERT(!(vma->vm_flags & VM_PFNMAP) || !is_cow_mapping(vma->vm_flags));
    if (addr < vma->vm_start || addr >= vma->vm_end)
        return VM_FAULT_SIGBUS;
    err = insert_pfn(cpu, vma, addr & PAGE_MASK, pfn);
    return err == -ENOMEM ? VM_FAULT_OOM : VM_FAULT_NOPAGE; /* -EBUSY: another fault was faster */
}
