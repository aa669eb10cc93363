/* SPDX-License-Identifier: MIT */
/*
 * Unmapping: entries are cleared, the pages behind them lose a mapping, and are freed if it was the last.
 *
 * The order matters. A page may be freed only when no TLB holds a translation to it any more; a flush for each page
 * would be slow. So an mmu_gather collects:
 *
 *    clear entries of one table ─▶ undo rmap and rss ─▶ collect the page's reference ─┐   (page-table lock held)
 *        ▲                                                                            │
 *        └───────────── next table, or collector full: ◀── free the pages ◀── flush ◀─┘   (no lock held)
 *
 * A dirty or accessed bit found in a cleared entry of a file page goes to the folio:
 * the entry was the only one that knew.
 *
 * Locks. mmap_lock held by the caller (read is enough for zap_page_range, as MADV_DONTNEED does), or i_mmap_rwsem
 * (truncate). One page-table lock at a time, never over a flush or a free.
 *
 * Invariants
 *   ZP1 between clearing an entry and the flush, the collector holds the page's reference.
 *   ZP2 rss counters and _mapcount change under the page-table lock that cleared the entry.
 * Follows the description of mmu_gather in Documentation/mm/process_addrs.rst and "cachetlb".
 */
#include "vm/mmu_gather.h"
#include "vm/rmap.h"
#include "vm/swapops.h"
#include "vm/unmap.h"

#include "phys/lru.h"
#include "phys/page_alloc.h"

void tlb_gather_mmu(struct mmu_gather *tlb, struct cpu *cpu, struct mm *mm, enum gather_extent extent)
{
    tlb->cpu = cpu;
    tlb->mm = mm;
    tlb->start = ~(va_t)0;
    tlb->end = 0;
    tlb->nr = 0;
    tlb->extent = extent;
}

/* Drop the collected references; what nobody else holds is freed in one batch. */
static void tlb_free_pages(struct mmu_gather *tlb)
{
    if (!tlb->nr)
        return;
    folios_put(tlb->cpu, tlb->folios, tlb->nr);
    tlb->nr = 0;
}

void tlb_flush_mmu(struct mmu_gather *tlb)
{
    if (tlb->start < tlb->end) {
        if (tlb->extent == GATHER_FULLMM)
            flush_tlb_mm(tlb->cpu, tlb->mm);
        else
            flush_tlb_range(tlb->cpu, tlb->mm, tlb->start, tlb->end, PAGE_SHIFT, false);
        tlb->start = ~(va_t)0;
        tlb->end = 0;
    }
    tlb_free_pages(tlb);
}

void tlb_finish_mmu(struct mmu_gather *tlb)
{
    tlb_flush_mmu(tlb);
}

/* What one table's worth of clearing changed. */
struct zap_sums {
    s64 rss[NR_MM_COUNTERS];
    u32 cleared;
};

/* One present entry. True: the collector is full. */
PT_FN bool zap_present_pte(fmt_t fmt, struct mmu_gather *tlb, struct vm_area_struct *vma, pte_t pte, struct zap_sums *z)
{
    struct page *page = pte_normal_page(fmt, tlb->mm->m, pte);
    struct folio *f;

    if (!page)
        return false;
    f = page_folio(page);
    if (folio_test_anon(f)) {
        z->rss[MM_ANONPAGES]--;
    } else {
        if (pte_dirty(fmt, pte))
            folio_mark_dirty(tlb->cpu, f);
        if (pte_young(fmt, pte) && !(vma->vm_flags & (VM_SEQ_READ | VM_RAND_READ)))
            folio_mark_accessed(tlb->cpu, f);
        z->rss[mm_counter_file(f)]--;
    }
    folio_remove_rmap_pte(tlb->cpu, f, page, vma);
    tlb->folios[tlb->nr++] = f;
    return tlb->nr == MMU_GATHER_PAGES;
}

static void zap_add_rss(struct mm *mm, const struct zap_sums *z)
{
    for (int i = 0; i < NR_MM_COUNTERS; i++)
        if (z->rss[i])
            add_mm_counter(mm, i, z->rss[i]);
}

static bool is_anon_pte(const struct mm *mm, pte_t pte)
{
    struct page *page = pte_normal_page(pt_format_of(mm->m), mm->m, pte);

    return page && PageAnon(page);
}

/* Markers and poison (swapops.h). Swap and migration entries: with those rows. */
static __cold void zap_special_pte(struct mmu_gather *tlb, struct pt_entry e, pte_t pte)
{
    const struct pt_format *fmt = pt_format_of(tlb->mm->m);
    bool whole = tlb->extent == GATHER_RANGE || tlb->extent == GATHER_FULLMM;

    ASSERT(pte_markers(fmt, pte) || pte_is_hwpoison(fmt, pte));
    if (whole || (tlb->extent == GATHER_PAGES && !pte_is_guard(fmt, pte)))
        set_pte_at(fmt, e, PTE(0)); /* no TLB knows it */
}

/* The part of [addr, end) that one level-1 table maps;
 * returns where it stopped: end, or earlier with the collector full. */
PT_FN va_t zap_ptes_fmt(fmt_t fmt, struct mmu_gather *tlb, struct vm_area_struct *vma, va_t addr,
                        va_t end) NO_LOCK_ANALYSIS
{
    struct zap_sums z = {0};
    spinlock_t *ptl;
    struct pt_entry e = pte_offset_map_lock(tlb->cpu, tlb->mm, addr, &ptl);
    bool full = false;

    if (!e.slot)
        return end;
    for (; addr < end && !full; addr += PAGE_SIZE, e = pt_entry_next(fmt, e, 1)) {
        pte_t pte = pt_read(fmt, e);

        if (pte_none(fmt, pte))
            continue;
        if (unlikely(!pte_present(fmt, pte))) {
            zap_special_pte(tlb, e, pte);
            continue;
        }
        if (unlikely(tlb->extent == GATHER_KEEP_ANON) && is_anon_pte(tlb->mm, pte))
            continue;
        pte = ptep_get_and_clear(fmt, e);
        if (tlb->start > addr)
            tlb->start = addr;
        if (tlb->end < addr + PAGE_SIZE)
            tlb->end = addr + PAGE_SIZE;
        z.cleared++;
        full = zap_present_pte(fmt, tlb, vma, pte, &z);
    }
    zap_add_rss(tlb->mm, &z);
    pte_unmap_unlock(tlb->cpu, ptl);
    charge_n(tlb->cpu, COST_PTE_ZAP, z.cleared);
    return addr;
}

static va_t zap_pte_range(struct mmu_gather *tlb, struct vm_area_struct *vma, va_t addr, va_t end)
{
    return PT_DISPATCH(pt_format_of(tlb->mm->m), zap_ptes_fmt, tlb, vma, addr, end);
}

void unmap_page_range(struct mmu_gather *tlb, struct vm_area_struct *vma, va_t start, va_t end)
{
    const struct pt_format *fmt = pt_format_of(tlb->mm->m);

    while (start < end) {
        struct pt_entry e = pt_find_entry(tlb->mm, start, 1);
        va_t next = pt_addr_end(fmt, e.level > 1 ? e.level : 2, start, end);

        if (e.level > 1) { /* no table below here */
            ASSERT(!pte_present(fmt, pt_read(fmt, e)) || !pte_leaf(fmt, e.level, pt_read(fmt, e)));
            start = next;
            continue;
        }
        start = zap_pte_range(tlb, vma, start, next);
        if (tlb->nr == MMU_GATHER_PAGES)
            tlb_flush_mmu(tlb);
    }
}

void zap_page_range(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end)
{
    struct mmu_gather tlb;

    update_hiwater_rss(vma->vm_mm);
    tlb_gather_mmu(&tlb, cpu, vma->vm_mm, GATHER_PAGES);
    unmap_page_range(&tlb, vma, start, end);
    tlb_finish_mmu(&tlb);
}

/*
 * munmap: [start, end) of the VMAs from `first` on; they have left the index already, but still list each other. The
 * tables that mapped nothing else are freed; [floor, ceiling) is the free space around.
 */
void unmap_region(struct cpu *cpu, struct vm_area_struct *first, va_t start, va_t end, va_t floor, va_t ceiling)
{
    struct mm *mm = first->vm_mm;
    struct vm_area_struct *vma;
    struct mmu_gather tlb;

    update_hiwater_rss(mm);
    tlb_gather_mmu(&tlb, cpu, mm, GATHER_RANGE);
    for (vma = first; vma && vma->vm_start < end; vma = vma_next(vma))
        unmap_page_range(&tlb, vma, MAX(start, vma->vm_start), MIN(end, vma->vm_end));
    tlb_finish_mmu(&tlb);
    /* Out of the trees before the tables go: a walk for a page must not look for tables that are being freed. */
    for (vma = first; vma && vma->vm_start < end; vma = vma_next(vma)) {
        unlink_anon_vmas(cpu, vma);
        unlink_file_vma(cpu, vma);
    }
    free_pgtables(cpu, mm, start, end, floor, ceiling);
}

/* -- truncation: one range of an object, in all VMAs that map it --------------------------------------------------- */

void unmap_mapping_pages(struct cpu *cpu, struct address_space *mapping, pgoff_t start, u64 nr,
                         enum unmap_what what) NO_LOCK_ANALYSIS
{
    u64 last = nr ? start.nr + nr - 1 : ~(u64)0;
    struct interval_tree_node *n;

    down_read(cpu, &mapping->i_mmap_rwsem);
    for (n = interval_tree_iter_first(&mapping->i_mmap, start.nr, last); n;
         n = interval_tree_iter_next(n, start.nr, last)) {
        struct vm_area_struct *vma = container_of(n, struct vm_area_struct, shared);
        u64 first_pg = MAX(start.nr, vma->vm_pgoff.nr);
        u64 last_pg = MIN(last, vma->vm_pgoff.nr + vma_pages(vma) - 1);
        struct mmu_gather tlb;

        update_hiwater_rss(vma->vm_mm);
        tlb_gather_mmu(&tlb, cpu, vma->vm_mm, what == UNMAP_COPIES_TOO ? GATHER_PAGES : GATHER_KEEP_ANON);
        unmap_page_range(&tlb, vma, vma_address(vma, first_pg), vma_address(vma, last_pg) + PAGE_SIZE);
        tlb_finish_mmu(&tlb);
    }
    up_read(cpu, &mapping->i_mmap_rwsem);
}
