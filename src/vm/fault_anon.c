/* SPDX-License-Identifier: MIT */
/*
 * Faults on memory that has no page yet and no object behind it.
 *
 *   read   ─▶ the zero page, mapped read-only and special: not counted in rss, no reference, no rmap
 *   write  ─▶ a new zeroed page, exclusive to this entry, queued for its LRU list
 *
 * Invariants
 *   FA1 an entry for the zero page is special and not writable.
 *   FA2 a new page has _refcount 1 (the mapping) + 1 while it waits in an LRU batch, _mapcount 0,
 *       PG_anon_exclusive, and PG_swapbacked but in a VM_DROPPABLE VMA.
 */
#include "vm/fault.h"
#include "vm/rmap.h"

#include "phys/page_alloc.h"

struct folio *alloc_zeroed_user_folio(struct cpu *cpu)
{
    return (struct folio *)alloc_page(cpu, GFP_HIGHUSER_MOVABLE | __GFP_ZERO); /* clearing is charged there */
}

struct folio *alloc_user_folio(struct cpu *cpu)
{
    return (struct folio *)alloc_page(cpu, GFP_HIGHUSER_MOVABLE);
}

void copy_user_page(struct cpu *cpu, struct page *dst, const struct page *src)
{
    if (cpu->m->config.content == CONTENT_FULL)
        memcpy(page_address(cpu->m, dst), page_address(cpu->m, src), PAGE_SIZE);
    charge(cpu, COST_COPY_PAGE);
}

static vm_fault_t map_zero_page(struct cpu *cpu, struct vm_fault *vmf)
{
    const struct pt_format *fmt = pt_format_of(cpu->m);
    pte_t pte = vma_mk_pte(fmt, vmf->vma, page_to_pfn(cpu->m, cpu->m->vm->zero_page), false);

    charge(cpu, COST_FAULT_ANON);
    vmf_lock_pte(cpu, vmf);
    if (pte_none(fmt, pt_read(fmt, vmf->pte))) {
        set_pte_at(fmt, vmf->pte, pte_wrprotect(fmt, pte_mkspecial(fmt, pte)));
        count_vm_event(cpu, Q_FAULT_ZERO_PAGE);
    }
    vmf_unlock_pte(cpu, vmf);
    return 0;
}

PT_FN vm_fault_t map_new_page(fmt_t fmt, struct cpu *cpu, struct vm_fault *vmf)
{
    struct vm_area_struct *vma = vmf->vma;
    struct folio *f;
    pte_t pte;

    if (unlikely(!vma_anon_vma(vma)) && anon_vma_prepare(cpu, vma))
        return VM_FAULT_OOM;
    f = alloc_zeroed_user_folio(cpu);
    if (unlikely(!f))
        return VM_FAULT_OOM;
    charge(cpu, COST_FAULT_ANON);
    __folio_set_uptodate(f);
    pte = vma_mk_pte(fmt, vma, page_to_pfn(cpu->m, &f->page), true);

    vmf_lock_pte(cpu, vmf);
    if (unlikely(!pte_none(fmt, pt_read(fmt, vmf->pte)))) {
        vmf_unlock_pte(cpu, vmf);
        folio_put(cpu, f);
        return 0;
    }
    add_mm_counter(vma->vm_mm, MM_ANONPAGES, 1);
    folio_add_new_anon_rmap(cpu, f, vma, vmf->address);
    folio_add_lru_vma(cpu, f, vma);
    set_pte_at(fmt, vmf->pte, pte);
    vmf_unlock_pte(cpu, vmf);
    count_vm_event(cpu, Q_FAULT_ANON);
    return 0;
}

vm_fault_t do_anonymous_page(struct cpu *cpu, struct vm_fault *vmf)
{
    if (!(vmf->flags & FAULT_FLAG_WRITE))
        return map_zero_page(cpu, vmf);
    return PT_DISPATCH(pt_format_of(cpu->m), map_new_page, cpu, vmf);
}
