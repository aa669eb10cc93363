/* SPDX-License-Identifier: MIT */
/*
 * Advice about single pages: MADV_FREE, MADV_COLD, MADV_PAGEOUT, MADV_COLLAPSE.
 *
 *                    entry                 page                                        counted
 *   FREE             not young, not dirty  lazily freed: PG_swapbacked and PG_dirty     pglazyfree
 *                                          clear, on the inactive file list
 *   COLD             not young             not referenced, on the inactive list         pgdeactivate
 *   PAGEOUT          gone                  lazily freed, not written since: dropped     pglazyfreed
 *                    gone                  of a droppable mapping: dropped              pglazyfreed
 *                    gone                  of a file, clean: dropped from its cache
 *                    gone                  of a file on disk, dirty: stays in its cache
 *                    gone                  of shared memory, dirty: stays in its cache   quire_no_effect_pageout
 *                    as it was             anonymous: stays, there is no swap            quire_no_effect_pageout
 *   COLLAPSE                               one huge page instead: with huge pages       quire_no_effect_collapse
 *
 * A lazily freed page that is written to again is dirty in its entry, and reclaim keeps it; one that is not may be dropped
 * and reads as zeroes. Pages that others map, too, are left alone, and so is what is on no LRU list (isolated).
 *
 * Locks. mmap_lock for reading; the page-table lock for each entry; TLBs are flushed once for each VMA.
 * Follows madvise(2), 6.18.
 */
#include "vm/madvise.h"
#include "vm/pgtable.h"

#include "base/errno.h"
#include "phys/lru.h"

struct advice_walk {
    bool keeps_young; /* entries stay as they are */
    bool changed;     /* entries that TLBs may know */
};

static int walk_ptes(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end, const struct mm_walk_ops *ops,
                     struct advice_walk w)
{
    int err;

    lru_add_drain(cpu); /* so that pages are on their lists */
    err = walk_page_range(cpu, vma->vm_mm, start, end, ops, &w);
    if (w.changed)
        flush_tlb_range(cpu, vma->vm_mm, start, end, PAGE_SHIFT, false);
    return err;
}

/* The folio behind a present entry, or NULL. */
static struct folio *entry_folio(struct pt_entry e, va_t addr, const struct mm_walk *walk, pte_t *pte)
{
    fmt_t fmt = pt_format_of(walk->mm->m);
    struct page *page;

    *pte = pt_read(fmt, e);
    page = pte_present(fmt, *pte) ? vm_normal_page(walk->vma, addr, *pte) : NULL;
    return page ? page_folio(page) : NULL;
}

/* -- FREE ---------------------------------------------------------------------------------------------------------- */

/* A dirty folio is cleaned, unless somebody else uses it. False: it stays as it is. */
static bool forget_dirty(struct cpu *cpu, struct folio *f)
{
    bool ours;

    if (!folio_test_dirty(f))
        return true;
    if (!folio_trylock(f))
        return false;
    ours = folio_mapcount(f) == 1;
    if (ours)
        folio_clear_dirty(f);
    folio_unlock(cpu, f);
    return ours;
}

static int free_pte(struct pt_entry e, va_t addr, va_t next, struct mm_walk *walk)
{
    fmt_t fmt = pt_format_of(walk->mm->m);
    struct advice_walk *w = walk->private;
    struct folio *f;
    pte_t pte;

    f = entry_folio(e, addr, walk, &pte);
    if (!f || !forget_dirty(walk->cpu, f))
        return 0;
    if (pte_young(fmt, pte) || pte_dirty(fmt, pte)) {
        pte = ptep_get_and_clear(fmt, e);
        set_pte_at(fmt, e, pte_mkold(fmt, pte_mkclean(fmt, pte)));
        w->changed = true;
    }
    folio_mark_lazyfree(walk->cpu, f);
    return 0;
}

int madvise_free_vma(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end)
{
    static const struct mm_walk_ops ops = {.entry = {[1] = free_pte}};

    if ((vma->vm_flags & (VM_PFNMAP | VM_LOCKED | VM_HUGETLB)) || !vma_is_anonymous(vma))
        return -EINVAL;
    return walk_ptes(cpu, vma, start, end, &ops, (struct advice_walk){0});
}

/* -- COLD, PAGEOUT ------------------------------------------------------------------------------------------------- */

static int cold_pte(struct pt_entry e, va_t addr, va_t next, struct mm_walk *walk)
{
    struct advice_walk *w = walk->private;
    struct folio *f;
    pte_t pte;

    f = entry_folio(e, addr, walk, &pte);
    if (!f || !folio_test_lru(f) || folio_mapcount(f) != 1)
        return 0;
    if (!w->keeps_young && ptep_test_and_clear_young(pt_format_of(walk->mm->m), e))
        w->changed = true;
    folio_clear_referenced(f);
    folio_clear_young(f);
    if (folio_test_active(f))
        folio_set_workingset(f);
    folio_deactivate(walk->cpu, f);
    return 0;
}

static bool can_madv_lru_vma(const struct vm_area_struct *vma)
{
    return !(vma->vm_flags & (VM_LOCKED | VM_PFNMAP | VM_HUGETLB));
}

int madvise_cold_vma(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end)
{
    static const struct mm_walk_ops ops = {.entry = {[1] = cold_pte}};

    if (!can_madv_lru_vma(vma))
        return -EINVAL;
    return walk_ptes(cpu, vma, start, end, &ops, (struct advice_walk){0});
}

/* What has been lazily freed and not written to since; what can be dropped at any time (MAP_DROPPABLE). */
static void reclaim_lazyfree(struct cpu *cpu, struct vm_area_struct *vma, va_t addr, const struct folio *f)
{
    fmt_t fmt = pt_format_of(cpu->m);
    pte_t pte = pt_read(fmt, pt_find_entry(vma->vm_mm, addr, 1));
    bool dirty = folio_test_dirty(f) || pte_dirty(fmt, pte);

    if ((dirty && !(vma->vm_flags & VM_DROPPABLE)) || folio_ref_count(f) != 2)
        return;
    zap_page_range(cpu, vma, addr, addr + PAGE_SIZE);
    count_vm_event(cpu, PGLAZYFREED);
}

/* Out of the table, and out of its cache unless it is dirty: then it waits there for write-back, or for swap. */
static void reclaim_cached(struct cpu *cpu, struct folio *f)
{
    if (!try_to_unmap(cpu, f))
        return;
    if (!folio_test_dirty(f) && folio_ref_count(f) == 2) /* the cache's reference and ours: nobody else's */
        cpu->code->drop_folio(cpu, f);
    else if (folio_test_swapbacked(f))
        count_vm_event(cpu, Q_NO_EFFECT_PAGEOUT);
}

/* Its lock is held. Swap comes later: what would go there stays, counted. */
static void reclaim_page(struct cpu *cpu, struct vm_area_struct *vma, va_t addr, struct folio *f)
{
    if (folio_mapcount(f) != 1 || !folio_test_lru(f) || !folio_check_evictable(cpu, f))
        return;
    if (!folio_test_anon(f))
        reclaim_cached(cpu, f);
    else if (folio_test_swapbacked(f))
        count_vm_event(cpu, Q_NO_EFFECT_PAGEOUT);
    else
        reclaim_lazyfree(cpu, vma, addr, f);
}

/* Files that are not the caller's to judge stay. */
static bool can_do_file_pageout(const struct vm_area_struct *vma)
{
    return vma_is_anonymous(vma) || (vma->vm_file && !(vma->vm_file->f_mode & FMODE_FOREIGN));
}

/* The caller's reference to the page is dropped. */
static void try_reclaim_page(struct cpu *cpu, struct vm_area_struct *vma, va_t addr, struct page *page)
{
    struct folio *f = page_folio(page);

    if ((PageAnon(page) || can_do_file_pageout(vma)) && folio_trylock(f)) {
        reclaim_page(cpu, vma, addr, f);
        folio_unlock(cpu, f);
    }
    folio_put(cpu, f);
}

int madvise_pageout_vma(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end)
{
    static const struct mm_walk_ops ops = {.entry = {[1] = cold_pte}};
    fmt_t fmt = pt_format_of(cpu->m);
    int err;

    if (!can_madv_lru_vma(vma))
        return -EINVAL;
    if (!can_do_file_pageout(vma) && (vma->vm_flags & VM_MAYSHARE))
        return 0;
    err = walk_ptes(cpu, vma, start, end, &ops, (struct advice_walk){.keeps_young = true});
    lru_add_drain(cpu);
    while (start < end && !err) {
        struct pt_entry e = pt_find_entry(vma->vm_mm, start, 1);
        struct page *page = e.level == 1 ? follow_page(cpu, vma, start, FOLL_GET) : NULL;

        if (page && !IS_ERR(page))
            try_reclaim_page(cpu, vma, start, page);
        start = pt_addr_end(fmt, e.level > 1 ? e.level : 1, start, end);
    }
    return err;
}

/* -- COLLAPSE ------------------------------------------------------------------------------------------------------ */

/* May the VMA have a huge page at all, advice or not? Files on disk: not without CONFIG_READ_ONLY_THP_FOR_FS. */
static bool collapse_allowed(const struct vm_area_struct *vma, u64 size)
{
    if ((vma->vm_flags & (VM_SPECIAL | VM_HUGETLB | VM_NOHUGEPAGE)) || vma->vm_ops == VM_OPS_FILE)
        return false;
    if (vma->vm_mm->flags & MMF_DISABLE_THP)
        return false;
    if (vma->vm_file && ((vma->vm_start >> PAGE_SHIFT) - vma->vm_pgoff.nr) % (size >> PAGE_SHIFT))
        return false;
    return vma->vm_end - vma->vm_start >= size && ALIGN_UP(vma->vm_start, size) + size <= vma->vm_end;
}

/* Anything there to make a huge page of? Zero pages of a mapping that never had others are nothing. */
static bool has_pages(const struct vm_area_struct *vma, va_t addr, u64 size)
{
    u64 index = linear_page_index(vma, addr).nr;
    void *entry;

    if (vma_is_anonymous(vma))
        return vma->anon_vma && pt_find_entry(vma->vm_mm, addr, 1).level == 1;
    xa_for_each_range (&vma->vm_file->f_mapping->i_pages, index, entry, index, index + (size >> PAGE_SHIFT) - 1)
        return true;
    return false;
}

int madvise_collapse_vma(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end)
{
    u64 size = pt_size(pt_format_of(cpu->m), 2);
    va_t first = ALIGN_UP(start, size), last = ALIGN_DOWN(end, size);
    int err = 0;

    if (!collapse_allowed(vma, size) || first > last)
        return -EINVAL;
    for (; first < last; first += size)
        if (!has_pages(vma, first, size))
            err = -EINVAL; /* the others are tried */
    return err;
}
