/* SPDX-License-Identifier: MIT */
/*
 * Pages in broken memory, as far as a program can cause them: madvise(MADV_HWPOISON), MADV_SOFT_OFFLINE. Only where the
 * machine's kernel has them (config.memory_failure: CONFIG_MEMORY_FAILURE).
 *
 *   HWPOISON       anonymous, shared memory   every entry becomes a poison entry: an access is SIGBUS, BUS_MCEERR_AR.
 *                                             The frame keeps PG_hwpoison and one reference for ever
 *                  page of a file on disk     unmapped and dropped from the cache; the next access reads it again into
 *                                             another frame. Dirty: what was written is lost
 *   SOFT_OFFLINE   the page still works: Linux moves it away, the program sees nothing. With migration; until then
 *                  nothing is done
 *
 * Not modelled: the signal that Linux sends at once to a process that has dirtied the page.
 * Invariant HW1 num_poisoned_pages = frames with PG_hwpoison.
 * Locks. The folio lock; the rmap walk's.
 * Follows Documentation/mm/hwpoison.rst, madvise(2).
 */
#include "base/errno.h"
#include "phys/lru.h"
#include "vm/gup.h"
#include "vm/madvise.h"
#include "vm/rmap.h"
#include "vm/swapops.h"

static bool poison_entry(struct cpu *cpu, struct folio *f, struct vm_area_struct *vma, va_t addr, void *arg)
{
    fmt_t fmt = pt_format_of(cpu->m);
    pfn_t pfn = page_to_pfn(cpu->m, &f->page);
    bool *keep_entry = arg;
    struct pt_entry e;
    spinlock_t *ptl;

    if (follow_pte(cpu, vma->vm_mm, addr, &e, &ptl))
        return true;
    if (pte_pfn(fmt, 1, pt_read(fmt, e)).nr == pfn.nr) {
        ptep_get_and_clear(fmt, e);
        flush_tlb_page(cpu, vma->vm_mm, addr);
        if (*keep_entry)
            set_pte_at(fmt, e, make_hwpoison_pte(fmt, pfn));
        update_hiwater_rss(vma->vm_mm);
        add_mm_counter(vma->vm_mm, mm_counter(f), -1);
        folio_remove_rmap_pte(cpu, f, &f->page, vma);
        folio_put(cpu, f);
    }
    pte_unmap_unlock(cpu, ptl);
    return true;
}

/* The caller's reference stays with the frame, so that it is never used again. */
static int memory_failure(struct cpu *cpu, struct folio *f)
{
    struct address_space *mapping;
    bool keep_entry;

    folio_lock(cpu, f);
    mapping = folio_test_anon(f) ? NULL : f->page.mapping;
    keep_entry = !mapping || mapping->a_ops == A_OPS_SHMEM;
    if (folio_test_set_hwpoison(f)) {
        folio_unlock(cpu, f);
        folio_put(cpu, f);
        return -EHWPOISON;
    }
    atomic_fetch_add(&cpu->m->vm->num_poisoned_pages, 1);
    rmap_walk(cpu, f, &(struct rmap_walk_control){.rmap_one = poison_entry, .arg = &keep_entry});
    if (mapping && !keep_entry)
        cpu->code->drop_folio(cpu, f);
    folio_unlock(cpu, f);
    lru_add_drain(cpu);
    return 0;
}

int madvise_inject_error(struct cpu *cpu, int behavior, va_t start, va_t end)
{
    if (!task_capable(cpu->current, CAP_SYS_ADMIN_))
        return -EPERM;
    for (; start < end; start += PAGE_SIZE) {
        struct page *page;
        s64 got = get_user_pages_fast(cpu, start, 1, 0, &page);
        int err;

        if (got != 1)
            return (int)got;
        if (behavior == MADV_SOFT_OFFLINE_ || page == cpu->m->vm->zero_page) {
            put_page(cpu, page);
            continue;
        }
        err = memory_failure(cpu, page_folio(page));
        if (err)
            return err;
    }
    return 0;
}
