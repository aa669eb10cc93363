/* SPDX-License-Identifier: MIT */
/*
 * Writes to a page whose entry does not allow it, in a VMA that does.
 *
 *   shared mapping        ─▶ the object is told (page_mkwrite), the entry becomes writable, the page dirty
 *   private mapping:
 *     zero page           ─▶ a new zeroed page
 *     a device's frame    ─▶ a copy
 *     file page           ─▶ a copy
 *     anonymous, ours     ─▶ kept: PG_anon_exclusive, or no reference but this entry's (the fork's other side is gone)
 *     anonymous, shared   ─▶ a copy
 *   a page to be pinned for reading (FAULT_FLAG_UNSHARE) is treated as if written to, but its entry stays read-only
 *
 * Why references and not _mapcount decide "ours": a reference without a mapping (a get_user_pages() user, a page cache,
 * an LRU batch) may be somebody who must keep seeing this very page, or only bookkeeping. Where a reference may be the
 * latter, the batch of this CPU is drained and the count looked at again; a copy that was not needed costs time, a page
 * kept wrongly costs a leak of data between processes (CVE-2020-29374).
 *
 * Races. The old page is pinned by a reference while the lock is dropped for the copy; the entry is compared
 * again after. The new entry is written only after every TLB forgot the old one, so no CPU reads the old page
 * after another wrote the new.
 */
#include "vm/fault.h"
#include "vm/rmap.h"

#include "phys/lru.h"
#include "phys/page_alloc.h"

/* The entry gets its right to write. Page-table lock held on entry, released on exit. */
static void wp_page_reuse(struct cpu *cpu, struct vm_fault *vmf)
{
    const struct pt_format *fmt = pt_format_of(cpu->m);
    pte_t pte = pte_mkdirty(fmt, pte_mkyoung(fmt, vmf->orig_pte));

    if (likely(vmf->vma->vm_flags & VM_WRITE)) /* else a forced write (gup.c): the entry stays as it is */
        pte = pte_mkwrite(fmt, pte);
    ptep_set_access_flags(fmt, vmf->pte, pte);
    vmf_unlock_pte(cpu, vmf);
    count_vm_event(cpu, PGREUSE);
    count_vm_event(cpu, Q_FAULT_WP_REUSE);
}

/* Nobody but this entry holds the anonymous folio? Then make it exclusive. */
static bool wp_can_reuse_anon_folio(struct cpu *cpu, struct folio *f, struct vm_area_struct *vma)
{
    /* at most: our mapping, an LRU batch, the swap cache */
    if (folio_ref_count(f) > 3)
        return false;
    if (folio_ref_count(f) > 1 && !folio_test_lru(f))
        lru_add_drain(cpu);
    if (folio_ref_count(f) > 1 + folio_test_swapcache(f))
        return false;
    if (!folio_trylock(f))
        return false;
    /* acquire: whoever dropped his reference has done reading what we are about to write */
    if (atomic_load_explicit(&f->page._refcount, memory_order_acquire) != 1) {
        folio_unlock(cpu, f);
        return false;
    }
    folio_move_anon_rmap(f, vma);
    SetPageAnonExclusive(&f->page);
    folio_unlock(cpu, f);
    return true;
}

/* Put `new` in the place of the old page. Page-table lock held. */
PT_FN void wp_replace_page(fmt_t fmt, struct cpu *cpu, struct vm_fault *vmf, struct folio *old, struct folio *new)
{
    struct vm_area_struct *vma = vmf->vma;
    struct mm *mm = vma->vm_mm;

    if (!old || !folio_test_anon(old)) {
        if (old)
            add_mm_counter(mm, mm_counter_file(old), -1);
        add_mm_counter(mm, MM_ANONPAGES, 1);
    }
    ptep_get_and_clear(fmt, vmf->pte);
    flush_tlb_page(cpu, mm, vmf->address);
    folio_add_new_anon_rmap(cpu, new, vma, vmf->address);
    folio_add_lru_vma(cpu, new, vma);
    set_pte_at(fmt, vmf->pte, vma_mk_pte(fmt, vma, page_to_pfn(cpu->m, &new->page), vmf->flags & FAULT_FLAG_WRITE));
    if (old)
        folio_remove_rmap_pte(cpu, old, &old->page, vma);
}

/* Copy and replace. `old` (NULL: the zero page) carries a reference of ours, which is dropped here. No lock held. */
static vm_fault_t wp_page_copy(struct cpu *cpu, struct vm_fault *vmf, struct folio *old)
{
    const struct pt_format *fmt = pt_format_of(cpu->m);
    struct vm_area_struct *vma = vmf->vma;
    pfn_t pfn = pte_pfn(fmt, 1, vmf->orig_pte);
    bool bare = !old && pfn.nr != page_to_pfn(cpu->m, cpu->m->vm->zero_page).nr; /* a device's frame */
    struct folio *new = NULL;
    bool replaced = false;

    if (likely(vma_anon_vma(vma)) || !anon_vma_prepare(cpu, vma))
        new = old || bare ? alloc_user_folio(cpu) : alloc_zeroed_user_folio(cpu);
    if (unlikely(!new)) {
        if (old)
            folio_put(cpu, old);
        return VM_FAULT_OOM;
    }
    charge(cpu, COST_FAULT_WP);
    if (old)
        copy_user_page(cpu, &new->page, &old->page);
    else if (bare && cpu->m->config.content == CONTENT_FULL)
        memcpy(page_address(cpu->m, &new->page), phys_to_virt(cpu->m, pfn_to_phys(pfn)), PAGE_SIZE);
    __folio_set_uptodate(new);

    vmf_lock_pte(cpu, vmf);
    if (likely(!vmf_pte_changed(fmt, vmf))) {
        PT_DISPATCH(fmt, wp_replace_page, cpu, vmf, old, new);
        count_vm_event(cpu, Q_FAULT_WP_COPY);
        replaced = true;
    }
    vmf_unlock_pte(cpu, vmf);
    if (old)
        folio_put(cpu, old);
    if (replaced && old)
        folio_put(cpu, old); /* the mapping's */
    if (unlikely(!replaced))
        folio_put(cpu, new);
    return 0;
}

/* A page of a shared mapping becomes writable. Page-table lock held on entry, released on exit. */
static vm_fault_t wp_page_shared(struct cpu *cpu, struct vm_fault *vmf, struct folio *f)
{
    const struct pt_format *fmt = pt_format_of(cpu->m);
    vm_fault_t ret;

    folio_get(f);
    vmf_unlock_pte(cpu, vmf);
    charge(cpu, COST_FAULT_WP);
    ret = do_page_mkwrite(cpu, vmf, f);
    if (unlikely(ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE))) {
        folio_put(cpu, f);
        return ret;
    }
    vmf_lock_pte(cpu, vmf);
    if (vmf_pte_changed(fmt, vmf)) {
        vmf_unlock_pte(cpu, vmf);
        folio_unlock(cpu, f);
    } else {
        wp_page_reuse(cpu, vmf);
        fault_dirty_shared_page(cpu, vmf, f);
    }
    folio_put(cpu, f);
    return 0;
}

vm_fault_t do_wp_page(struct cpu *cpu, struct vm_fault *vmf)
{
    struct vm_area_struct *vma = vmf->vma;
    struct page *page = pte_normal_page(pt_format_of(cpu->m), cpu->m, vmf->orig_pte);
    struct folio *f = page ? page_folio(page) : NULL;

    if (vma->vm_flags & (VM_SHARED | VM_MAYSHARE)) {
        if (f)
            return wp_page_shared(cpu, vmf, f);
        wp_page_reuse(cpu, vmf); /* no page behind it: nobody to tell */
        return 0;
    }
    if (f && folio_test_anon(f) && (PageAnonExclusive(page) || wp_can_reuse_anon_folio(cpu, f, vma))) {
        charge(cpu, COST_FAULT_WP);
        if (vmf->flags & FAULT_FLAG_UNSHARE)
            vmf_unlock_pte(cpu, vmf); /* exclusive now: that was all */
        else
            wp_page_reuse(cpu, vmf);
        return 0;
    }
    if (f)
        folio_get(f);
    vmf_unlock_pte(cpu, vmf);
    return wp_page_copy(cpu, vmf, f);
}
