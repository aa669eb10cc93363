/* SPDX-License-Identifier: MIT */
/* Between fault.c, fault_anon.c, fault_file.c, fault_wp.c and
 * the objects that map pages (cache/filemap.c, cache/shmem.c). */
#ifndef QUIRE_VM_FAULT_H
#define QUIRE_VM_FAULT_H

#include "phys/gfp.h"
#include "vm/vm.h"

/* Each handles one kind; mmap_lock held, no page-table lock held on entry or exit. */
vm_fault_t do_anonymous_page(struct cpu *cpu, struct vm_fault *vmf);
vm_fault_t do_fault(struct cpu *cpu, struct vm_fault *vmf);
/* On entry the page-table lock is held and the entry is vmf->orig_pte; on exit it is released. */
vm_fault_t do_wp_page(struct cpu *cpu, struct vm_fault *vmf);
/* Tell the object that its page becomes writable; the page comes back locked, or an error, or VM_FAULT_NOPAGE: it
 * has left the object. */
vm_fault_t do_page_mkwrite(struct cpu *cpu, struct vm_fault *vmf, struct folio *f);
/* The shared page was made writable: dirty, unlocked. */
void fault_dirty_shared_page(struct cpu *cpu, struct vm_fault *vmf, struct folio *f);

/* The fault's entry, with the tables above it: 0, VM_FAULT_OOM, or VM_FAULT_NOPAGE where a huge page was faster. */
vm_fault_t vmf_alloc_table(struct cpu *cpu, struct vm_fault *vmf);

static inline void vmf_lock_pte(struct cpu *cpu, struct vm_fault *vmf) NO_LOCK_ANALYSIS
{
    vmf->ptl = pt_lockptr(vmf->vma->vm_mm, vmf->pte);
    spin_lock(cpu, vmf->ptl);
}

static inline void vmf_unlock_pte(struct cpu *cpu, struct vm_fault *vmf) NO_LOCK_ANALYSIS
{
    spin_unlock(cpu, vmf->ptl);
}

/* Under the lock: did somebody else handle the fault meanwhile? */
static inline bool vmf_pte_changed(const struct pt_format *fmt, const struct vm_fault *vmf)
{
    return !pte_same(pt_read(fmt, vmf->pte), vmf->orig_pte);
}

/* An entry for `page` with the rights of the mapping, written to right away if `write`. */
PT_FN pte_t vma_mk_pte(fmt_t fmt, const struct vm_area_struct *vma, pfn_t pfn, bool write)
{
    pte_t pte = pte_mkyoung(fmt, mk_pte(fmt, 1, pfn, vma->vm_page_prot));

    if (!write)
        return pte;
    pte = pte_mkdirty(fmt, pte);
    return vma->vm_flags & VM_WRITE ? pte_mkwrite(fmt, pte) : pte;
}

/* Map a page that is not the fault's own (fault-around);
 * the caller's reference goes to the mapping, rss is the caller's. */
void set_pte_around(struct cpu *cpu, struct vm_fault *vmf, struct pt_entry e, struct page *page);

/* A new page for user data: zeroed, or for the caller to fill. Time of clearing is charged. NULL: no memory. */
struct folio *alloc_zeroed_user_folio(struct cpu *cpu);
struct folio *alloc_user_folio(struct cpu *cpu);
/* Bytes (where the machine keeps them) and time of copying one page. */
void copy_user_page(struct cpu *cpu, struct page *dst, const struct page *src);

#endif
