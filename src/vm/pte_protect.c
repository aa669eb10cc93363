/* SPDX-License-Identifier: MIT */
/*
 * mprotect's part in the page tables: entries of a range get the rights of vma->vm_page_prot.
 *
 * Gaining write access. vm_page_prot of a private mapping never allows writing: the first write is a fault that decides
 * about COW. Where that fault would keep the page anyway (an anonymous page that is exclusively ours; a shared page
 * that is dirty already, so its owner knows), the entry is made writable here and the fault is saved.
 *
 * Locks. mmap_lock for writing; page-table locks one after another. The TLBs are flushed before return: nobody keeps
 * old rights.
 * Follows mprotect(2); the write upgrade is that of 6.x kernels (MM_CP_TRY_CHANGE_WRITABLE).
 */
#include "vm/vm.h"

static bool can_change_pte_writable(const struct pt_format *fmt, struct vm_area_struct *vma, va_t addr, pte_t pte)
{
    struct page *page;

    if (!(vma->vm_flags & VM_WRITE) || pte_protnone(fmt, pte))
        return false;
    if (vma->vm_flags & VM_SHARED)
        return pte_dirty(fmt, pte);
    page = vm_normal_page(vma, addr, pte);
    return page && PageAnon(page) && PageAnonExclusive(page);
}

/* One table's part of the range; number of entries changed. */
static u64 change_pte_range(struct cpu *cpu, struct vm_area_struct *vma, va_t addr, va_t end) NO_LOCK_ANALYSIS
{
    const struct pt_format *fmt = pt_format_of(cpu->m);
    spinlock_t *ptl;
    struct pt_entry e = pte_offset_map_lock(cpu, vma->vm_mm, addr, &ptl);
    u64 changed = 0;

    if (!e.slot)
        return 0;
    for (; addr < end; addr += PAGE_SIZE, e = pt_entry_next(fmt, e, 1)) {
        pte_t pte = pt_read(fmt, e);

        if (!pte_present(fmt, pte))
            continue;
        pte = ptep_get_and_clear(fmt, e); /* so that no walker's update of accessed or dirty is lost */
        pte = pte_modify(fmt, 1, pte, vma->vm_page_prot);
        if (!pte_write(fmt, pte) && can_change_pte_writable(fmt, vma, addr, pte))
            pte = pte_mkwrite(fmt, pte);
        set_pte_at(fmt, e, pte);
        changed++;
    }
    pte_unmap_unlock(cpu, ptl);
    return changed;
}

void change_protection(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end)
{
    const struct pt_format *fmt = pt_format_of(cpu->m);
    va_t addr = start;
    u64 changed = 0;

    while (addr < end) {
        struct pt_entry e = pt_find_entry(vma->vm_mm, addr, 1);
        va_t next = pt_addr_end(fmt, e.level > 1 ? e.level : 2, addr, end);

        if (e.level == 1)
            changed += change_pte_range(cpu, vma, addr, next);
        addr = next;
    }
    if (changed)
        flush_tlb_range(cpu, vma->vm_mm, start, end, PAGE_SHIFT, false);
}
