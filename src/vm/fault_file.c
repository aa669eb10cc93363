/* SPDX-License-Identifier: MIT */
/*
 * Faults on memory with an object behind it (a file, shared memory) where no page is mapped yet.
 *
 *   do_fault ─┬ read             do_read_fault    fault-around first: map what is in the cache already; else ->fault()
 *             ├ write, private   do_cow_fault     ->fault(), then a copy of the page is mapped; the cache's page is not
 *             └ write, shared    do_shared_fault  ->fault(), ->page_mkwrite(), mapped writable, dirty
 *
 * Fault-around. A window of fault_around_bytes, aligned to its size, around the faulting address; cut to the VMA and to
 * the page table, so that one lock suffices:
 *
 *      table  |································································|
 *      VMA          [==========================================)
 *      window            |  a  a  -  F  a  -  a  a |               a: in the cache and up to date: mapped, too
 *
 * Whoever prepares a page gets it locked with a reference from ->fault(); the lock keeps
 * truncation out until it is mapped.
 */
#include "vm/fault.h"
#include "vm/rmap.h"

#include "phys/lru.h"
#include "phys/page_alloc.h"

/* The page is not wanted any more, or is mapped: unlock it and drop what ->fault() gave. */
static void fault_put_page(struct cpu *cpu, struct vm_fault *vmf)
{
    struct folio *f = page_folio(vmf->page);

    folio_unlock(cpu, f);
    folio_put(cpu, f);
}

/* ->fault() puts the page in vmf->page with a reference; it is locked on return without an error. */
static vm_fault_t fault_get_page(struct cpu *cpu, struct vm_fault *vmf)
{
    vm_fault_t ret = vma_ops(cpu, vmf->vma)->fault(cpu, vmf);

    if (unlikely(ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE | VM_FAULT_RETRY)))
        return ret;
    if (!(ret & VM_FAULT_LOCKED))
        folio_lock(cpu, page_folio(vmf->page));
    /* shared memory keeps it, so that nobody reads zeroes */
    if (unlikely(folio_test_hwpoison(page_folio(vmf->page)))) {
        fault_put_page(cpu, vmf);
        return VM_FAULT_HWPOISON;
    }
    return ret | VM_FAULT_LOCKED;
}

void set_pte_around(struct cpu *cpu, struct vm_fault *vmf, struct pt_entry e, struct page *page)
{
    const struct pt_format *fmt = pt_format_of(cpu->m);
    pte_t pte = mk_pte(fmt, 1, page_to_pfn(cpu->m, page), vmf->vma->vm_page_prot);

    /* arm64 sets accessed bits in hardware, so what was not asked for starts old there; x86 and riscv map it young. */
    pte = cpu->m->config.pt_format == PT_ARM64_4K ? pte_mkold(fmt, pte) : pte_mkyoung(fmt, pte);
    folio_add_file_rmap_pte(cpu, page_folio(page), page, vmf->vma);
    set_pte_at(fmt, e, pte);
}

/*
 * Map vmf->page, or vmf->cow_page, if the entry is still empty. 0: mapped, and the mapping holds a reference of its
 * own to vmf->page (the caller's own to cow_page). VM_FAULT_NOPAGE: somebody else was faster.
 */
static vm_fault_t finish_fault(struct cpu *cpu, struct vm_fault *vmf)
{
    const struct pt_format *fmt = pt_format_of(cpu->m);
    struct vm_area_struct *vma = vmf->vma;
    bool write = vmf->flags & FAULT_FLAG_WRITE;
    struct page *page = vmf->cow_page ? vmf->cow_page : vmf->page;
    struct folio *f = page_folio(page);
    vm_fault_t ret = vmf->pte.slot ? 0 : vmf_alloc_table(cpu, vmf);

    if (unlikely(ret))
        return ret;
    vmf_lock_pte(cpu, vmf);
    if (unlikely(!pte_none(fmt, pt_read(fmt, vmf->pte)))) {
        vmf_unlock_pte(cpu, vmf);
        return VM_FAULT_NOPAGE;
    }
    if (vmf->cow_page) {
        add_mm_counter(vma->vm_mm, MM_ANONPAGES, 1);
        folio_add_new_anon_rmap(cpu, f, vma, vmf->address);
        folio_add_lru_vma(cpu, f, vma);
    } else {
        folio_get(f);
        add_mm_counter(vma->vm_mm, mm_counter_file(f), 1);
        folio_add_file_rmap_pte(cpu, f, page, vma);
    }
    set_pte_at(fmt, vmf->pte, vma_mk_pte(fmt, vma, page_to_pfn(cpu->m, page), write));
    vmf_unlock_pte(cpu, vmf);
    return 0;
}

/* -- read ---------------------------------------------------------------------------------------------------------- */

static bool should_fault_around(const struct cpu *cpu, const struct vm_fault *vmf)
{
    return vma_ops(cpu, vmf->vma)->map_pages && cpu->m->config.fault_around_bytes >> PAGE_SHIFT > 1;
}

static vm_fault_t do_fault_around(struct cpu *cpu, struct vm_fault *vmf)
{
    const struct pt_format *fmt = pt_format_of(cpu->m);
    u64 bytes = 1ul << ilog2(cpu->m->config.fault_around_bytes); /* a power of two, as the kernel rounds it */
    va_t low = MAX(MAX(ALIGN_DOWN(vmf->address, bytes), vmf->vma->vm_start), vmf->address & pt_mask(fmt, 2));
    va_t high = MIN(low + bytes, pt_addr_end(fmt, 2, vmf->address, vmf->vma->vm_end));

    return vma_ops(cpu, vmf->vma)
        ->map_pages(cpu, vmf, linear_page_index(vmf->vma, low), linear_page_index(vmf->vma, high - PAGE_SIZE));
}

static vm_fault_t do_read_fault(struct cpu *cpu, struct vm_fault *vmf)
{
    vm_fault_t ret, mapped;

    charge(cpu, COST_FAULT_FILE);
    if (should_fault_around(cpu, vmf)) {
        ret = do_fault_around(cpu, vmf);
        if (ret) {
            count_vm_events(cpu, Q_FAULT_FILE_READ, !(ret & VM_FAULT_ERROR));
            return ret;
        }
    }
    ret = fault_get_page(cpu, vmf);
    if (unlikely(ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE | VM_FAULT_RETRY)))
        return ret;
    mapped = finish_fault(cpu, vmf);
    if (!mapped)
        count_vm_event(cpu, Q_FAULT_FILE_READ);
    fault_put_page(cpu, vmf);
    return ret | (mapped & VM_FAULT_OOM);
}

/* -- write --------------------------------------------------------------------------------------------------------- */

static vm_fault_t do_cow_fault(struct cpu *cpu, struct vm_fault *vmf)
{
    vm_fault_t ret, mapped;
    struct folio *copy;

    if (!vma_anon_vma(vmf->vma) && anon_vma_prepare(cpu, vmf->vma))
        return VM_FAULT_OOM;
    copy = alloc_user_folio(cpu);
    if (!copy)
        return VM_FAULT_OOM;
    charge(cpu, COST_FAULT_FILE);
    ret = fault_get_page(cpu, vmf);
    if (unlikely(ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE | VM_FAULT_RETRY))) {
        folio_put(cpu, copy);
        return ret;
    }
    copy_user_page(cpu, &copy->page, vmf->page);
    __folio_set_uptodate(copy);
    vmf->cow_page = &copy->page;
    mapped = finish_fault(cpu, vmf);
    fault_put_page(cpu, vmf);
    if (!mapped)
        count_vm_event(cpu, Q_FAULT_FILE_COW);
    else
        folio_put(cpu, copy);
    return ret | (mapped & VM_FAULT_OOM);
}

vm_fault_t do_page_mkwrite(struct cpu *cpu, struct vm_fault *vmf, struct folio *f)
{
    const struct vm_operations_struct *ops = vma_ops(cpu, vmf->vma);
    u32 old_flags = vmf->flags;
    vm_fault_t ret;

    vmf->page = &f->page;
    if (!ops || !ops->page_mkwrite) {
        folio_lock(cpu, f);
        if (likely(f->page.mapping == vmf->vma->vm_file->f_mapping))
            return VM_FAULT_LOCKED;
        folio_unlock(cpu, f); /* truncated meanwhile */
        return VM_FAULT_NOPAGE;
    }
    vmf->flags = FAULT_FLAG_WRITE | FAULT_FLAG_MKWRITE;
    ret = ops->page_mkwrite(cpu, vmf);
    vmf->flags = old_flags;
    if (!(ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE | VM_FAULT_LOCKED)))
        folio_lock(cpu, f);
    return ret;
}

void fault_dirty_shared_page(struct cpu *cpu, struct vm_fault *vmf, struct folio *f)
{
    folio_mark_dirty(cpu, f);
    folio_unlock(cpu, f);
}

static vm_fault_t do_shared_fault(struct cpu *cpu, struct vm_fault *vmf)
{
    vm_fault_t ret, mkwrite, mapped;
    struct folio *f;

    charge(cpu, COST_FAULT_FILE);
    ret = fault_get_page(cpu, vmf);
    if (unlikely(ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE | VM_FAULT_RETRY)))
        return ret;
    f = page_folio(vmf->page);
    folio_unlock(cpu, f); /* page_mkwrite may sleep on other pages and takes the lock itself */
    mkwrite = do_page_mkwrite(cpu, vmf, f);
    if (unlikely(mkwrite & (VM_FAULT_ERROR | VM_FAULT_NOPAGE))) {
        folio_put(cpu, f);
        return mkwrite;
    }
    mapped = finish_fault(cpu, vmf);
    if (!mapped)
        count_vm_event(cpu, Q_FAULT_FILE_SHARED);
    fault_dirty_shared_page(cpu, vmf, f);
    folio_put(cpu, f);
    return ret | (mapped & VM_FAULT_OOM);
}

vm_fault_t do_fault(struct cpu *cpu, struct vm_fault *vmf)
{
    const struct vm_operations_struct *ops = vma_ops(cpu, vmf->vma);

    if (!ops || !ops->fault)
        return VM_FAULT_SIGBUS;
    if (unlikely(vmf->vma->vm_flags & VM_HUGETLB)) /* none of the pages that are prepared here */
        return ops->fault(cpu, vmf);
    if (!(vmf->flags & FAULT_FLAG_WRITE))
        return do_read_fault(cpu, vmf);
    if (!(vmf->vma->vm_flags & VM_SHARED))
        return do_cow_fault(cpu, vmf);
    return do_shared_fault(cpu, vmf);
}
