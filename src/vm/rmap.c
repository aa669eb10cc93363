/* SPDX-License-Identifier: MIT */
/*
 * Reverse mapping: from a page to the entries that map it.
 *
 * Terms. page->mapping of an anonymous page is its anon_vma (tagged with PAGE_MAPPING_ANON), of a file page its
 * address_space; page->index is the offset in that object in pages. Both objects hold an interval tree of VMAs by page
 * offset, so a walk visits the VMAs that cover the offset, computes the address in each, and looks whether the entry
 * there maps this very page.
 *
 *   folio ── mapping ─▶ anon_vma ── rb_root ─▶ avc ─▶ vma ─▶ mm ─▶ entry of vma_address(vma, index)
 *     └───── mapping ─▶ address_space ── i_mmap ─▶ vma ─▶ …
 *
 * _mapcount counts the entries (R2), so the walk may find fewer VMAs than it visits,
 * and never more entries than _mapcount.
 *
 * PG_anon_exclusive says that this page belongs to the one entry that maps it: a write fault may keep it. Set by
 * the fault that made the page, cleared by fork, set again by a write fault that finds itself the only user.
 *
 * Locks on entry. add, dup, remove: the page-table lock of the entry. rmap_walk: the folio lock; it takes the anon_vma
 * root's or i_mmap's rwsem for reading, then page-table locks (order in base/lock_rank.h).
 *
 * Invariants (vm/check.c)
 *   RM1 _mapcount + 1 = entries of all mms that map the page.
 *   RM2 NR_ANON_MAPPED / NR_FILE_MAPPED = anonymous / file pages with at least one entry.
 *   RM3 an exclusive page has exactly one entry.
 *   RM4 a mapped anonymous page's VMA has an avc to the page's anon_vma, and the page's index is the VMA's offset of
 *       the address.
 *
 * Follows Documentation/mm/transhuge.rst (mapcount rules) and the comments on PG_anon_exclusive in the
 * 5.19 release notes' papers.
 */
#include "vm/rmap.h"

#include "vm/gup.h"

#include "base/errno.h"
#include "phys/lru.h"
#include "phys/vmstat.h"

/* -- pages gain and lose mappings ---------------------------------------------------------------------------------- */

static void folio_set_anon(struct folio *f, const struct anon_vma *av, u64 index)
{
    f->page.index = index;
    WRITE_ONCE(f->page.mapping, (struct address_space *)(uintptr_t)((u64)(uintptr_t)av | PAGE_MAPPING_ANON));
}

/*
 * The first mapping of a page that nobody else can see yet. vma->anon_vma is set. Page-table lock held.
 */
void folio_add_new_anon_rmap(struct cpu *cpu, struct folio *f, struct vm_area_struct *vma, va_t addr)
{
    u64 flags = atomic_load_explicit(&f->page.flags, memory_order_relaxed);
    u64 swapbacked = vma->vm_flags & VM_DROPPABLE ? 0 : BIT(PG_swapbacked);

    DEBUG_ASSERT(vma->anon_vma);
    DEBUG_ASSERT(!folio_test_large(f));
    atomic_store_explicit(&f->page.flags, flags | swapbacked | BIT(PG_anon_exclusive), memory_order_relaxed);
    folio_set_anon(f, vma->anon_vma, linear_page_index(vma, addr).nr);
    atomic_store_explicit(&f->page._mapcount, 0, memory_order_relaxed);
    lruvec_stat_mod_folio(cpu, f, NR_ANON_MAPPED, 1);
}

/* One more mapping of an anonymous page that is known already (swapped in, migrated back). */
void folio_add_anon_rmap_pte(struct cpu *cpu, struct folio *f, struct page *page, struct vm_area_struct *vma, va_t addr)
{
    if (!folio_test_anon(f))
        folio_set_anon(f, vma->anon_vma->root, linear_page_index(vma, addr).nr);
    if (atomic_fetch_add(&page->_mapcount, 1) == -1)
        lruvec_stat_mod_folio(cpu, f, NR_ANON_MAPPED, 1);
    mlock_vma_folio(cpu, f, vma);
}

void folio_add_file_rmap_pte(struct cpu *cpu, struct folio *f, struct page *page, struct vm_area_struct *vma)
{
    DEBUG_ASSERT(!folio_test_anon(f));
    if (atomic_fetch_add(&page->_mapcount, 1) == -1)
        lruvec_stat_mod_folio(cpu, f, NR_FILE_MAPPED, 1);
    mlock_vma_folio(cpu, f, vma);
}

/* Fork maps the page a second time: neither side owns it alone any more.
 * 0; -EBUSY for a page that is pinned: the child needs a copy. */
int folio_try_dup_anon_rmap_pte(struct folio *f, struct page *page, struct vm_area_struct *src)
{
    if (PageAnonExclusive(page) && unlikely(page_needs_cow_for_dma(src->vm_mm, f)))
        return -EBUSY;
    if (PageAnonExclusive(page))
        ClearPageAnonExclusive(page);
    atomic_fetch_add_explicit(&page->_mapcount, 1, memory_order_relaxed);
    return 0;
}

void folio_dup_file_rmap_pte(struct folio *f, struct page *page)
{
    atomic_fetch_add_explicit(&page->_mapcount, 1, memory_order_relaxed);
}

void folio_remove_rmap_pte(struct cpu *cpu, struct folio *f, struct page *page, struct vm_area_struct *vma)
{
    s32 before = atomic_fetch_sub(&page->_mapcount, 1);

    ASSERT(before >= 0);
    munlock_vma_folio(cpu, f, vma);
    if (before == 0)
        lruvec_stat_mod_folio(cpu, f, folio_test_anon(f) ? NR_ANON_MAPPED : NR_FILE_MAPPED, -1);
}

void folio_move_anon_rmap(struct folio *f, struct vm_area_struct *vma)
{
    WRITE_ONCE(f->page.mapping, (struct address_space *)(uintptr_t)((u64)(uintptr_t)vma->anon_vma | PAGE_MAPPING_ANON));
}

void folio_mark_dirty(struct cpu *cpu, struct folio *f)
{
    struct address_space *mapping = folio_test_anon(f) ? NULL : READ_ONCE(f->page.mapping);

    if (folio_test_dirty(f))
        return;
    if (mapping && cpu->code->a_ops && cpu->code->a_ops[mapping->a_ops])
        cpu->code->a_ops[mapping->a_ops]->dirty_folio(cpu, mapping, f);
    else
        folio_set_dirty(f);
}

/* -- the walk ------------------------------------------------------------------------------------------------------ */

static void rmap_walk_anon(struct cpu *cpu, struct folio *f, const struct rmap_walk_control *rwc) NO_LOCK_ANALYSIS
{
    struct anon_vma *av = folio_get_anon_vma(cpu, f);
    u64 index = folio_index(f).nr, last = index + folio_nr_pages(f) - 1;
    struct interval_tree_node *n;

    if (!av)
        return;
    down_read(cpu, &av->root->rwsem);
    for (n = interval_tree_iter_first(&av->rb_root, index, last); n; n = interval_tree_iter_next(n, index, last)) {
        struct vm_area_struct *vma = container_of(n, struct anon_vma_chain, rb)->vma;

        if (!rwc->rmap_one(cpu, f, vma, vma_address(vma, index), rwc->arg))
            break;
    }
    up_read(cpu, &av->root->rwsem);
    put_anon_vma(cpu, av);
}

static void rmap_walk_file(struct cpu *cpu, struct folio *f, const struct rmap_walk_control *rwc) NO_LOCK_ANALYSIS
{
    struct address_space *mapping = f->page.mapping;
    u64 index = folio_index(f).nr, last = index + folio_nr_pages(f) - 1;
    struct interval_tree_node *n;

    if (!mapping)
        return;
    down_read(cpu, &mapping->i_mmap_rwsem);
    for (n = interval_tree_iter_first(&mapping->i_mmap, index, last); n; n = interval_tree_iter_next(n, index, last)) {
        struct vm_area_struct *vma = container_of(n, struct vm_area_struct, shared);

        if (!rwc->rmap_one(cpu, f, vma, vma_address(vma, index), rwc->arg))
            break;
    }
    up_read(cpu, &mapping->i_mmap_rwsem);
}

void rmap_walk(struct cpu *cpu, struct folio *f, const struct rmap_walk_control *rwc)
{
    DEBUG_ASSERT(folio_test_locked(f));
    if (folio_test_anon(f))
        rmap_walk_anon(cpu, f, rwc);
    else
        rmap_walk_file(cpu, f, rwc);
}

/* The locked entry at addr if it maps the folio, else slot NULL and no lock. */
static struct pt_entry folio_pte_lock(struct cpu *cpu, struct folio *f, struct vm_area_struct *vma, va_t addr,
                                      spinlock_t **ptl)
{
    const struct pt_format *fmt = pt_format_of(cpu->m);
    struct pt_entry e = pte_offset_map_lock(cpu, vma->vm_mm, addr, ptl);
    pte_t pte;

    if (!e.slot)
        return e;
    pte = pt_read(fmt, e);
    if (pte_present(fmt, pte) && pte_pfn(fmt, 1, pte).nr == page_to_pfn_nr(cpu->m, &f->page))
        return e;
    pte_unmap_unlock(cpu, *ptl);
    e.slot = NULL;
    return e;
}

struct referenced_arg {
    int nr;
    vm_flags_t vm_flags;
};

static bool folio_referenced_one(struct cpu *cpu, struct folio *f, struct vm_area_struct *vma, va_t addr, void *arg)
{
    struct referenced_arg *r = arg;
    spinlock_t *ptl;
    struct pt_entry e = folio_pte_lock(cpu, f, vma, addr, &ptl);

    if (!e.slot)
        return true;
    /* Like x86, no TLB flush: a stale accessed bit only delays the next look. */
    if (ptep_test_and_clear_young(pt_format_of(cpu->m), e)) {
        r->nr++;
        r->vm_flags |= vma->vm_flags & ~VM_LOCKED;
    }
    pte_unmap_unlock(cpu, ptl);
    return true;
}

int folio_referenced(struct cpu *cpu, struct folio *f, vm_flags_t *vm_flags)
{
    struct referenced_arg r = {0};
    struct rmap_walk_control rwc = {.rmap_one = folio_referenced_one, .arg = &r};

    if (folio_mapped(f))
        rmap_walk(cpu, f, &rwc);
    *vm_flags = r.vm_flags;
    return r.nr;
}

static bool folio_mkclean_one(struct cpu *cpu, struct folio *f, struct vm_area_struct *vma, va_t addr, void *arg)
{
    const struct pt_format *fmt = pt_format_of(cpu->m);
    int *cleaned = arg;
    spinlock_t *ptl;
    struct pt_entry e;
    pte_t pte;

    if (!(vma->vm_flags & VM_SHARED))
        return true;
    e = folio_pte_lock(cpu, f, vma, addr, &ptl);
    if (!e.slot)
        return true;
    pte = pt_read(fmt, e);
    if (pte_dirty(fmt, pte) || pte_write(fmt, pte)) {
        pte = ptep_get_and_clear(fmt, e);
        flush_tlb_page(cpu, vma->vm_mm, addr);
        set_pte_at(fmt, e, pte_mkclean(fmt, pte_wrprotect(fmt, pte)));
        (*cleaned)++;
    }
    pte_unmap_unlock(cpu, ptl);
    return true;
}

int folio_mkclean(struct cpu *cpu, struct folio *f)
{
    int cleaned = 0;
    struct rmap_walk_control rwc = {.rmap_one = folio_mkclean_one, .arg = &cleaned};

    if (!folio_test_anon(f) && folio_mapped(f))
        rmap_walk(cpu, f, &rwc);
    return cleaned;
}

static bool try_to_unmap_one(struct cpu *cpu, struct folio *f, struct vm_area_struct *vma, va_t addr, void *arg)
{
    const struct pt_format *fmt = pt_format_of(cpu->m);
    struct mm *mm = vma->vm_mm;
    spinlock_t *ptl;
    struct pt_entry e = folio_pte_lock(cpu, f, vma, addr, &ptl);
    pte_t pte;

    if (!e.slot)
        return true;
    if (vma->vm_flags & VM_LOCKED) {
        mlock_vma_folio(cpu, f, vma); /* counted too low, perhaps: this puts it right */
        folio_set_mlock_high(f);
        pte_unmap_unlock(cpu, ptl);
        return false;
    }
    pte = ptep_get_and_clear(fmt, e);
    flush_tlb_page(cpu, mm, addr);
    if (pte_dirty(fmt, pte))
        folio_mark_dirty(cpu, f);
    update_hiwater_rss(mm);
    add_mm_counter(mm, mm_counter_file(f), -1);
    folio_remove_rmap_pte(cpu, f, &f->page, vma);
    pte_unmap_unlock(cpu, ptl);
    folio_put(cpu, f);
    return true;
}

/* True: nothing maps the folio any more. Anonymous folios need swap and stay.
 * Folio locked, caller holds a reference. */
bool try_to_unmap(struct cpu *cpu, struct folio *f)
{
    struct rmap_walk_control rwc = {.rmap_one = try_to_unmap_one};

    if (!folio_test_anon(f) && folio_mapped(f))
        rmap_walk(cpu, f, &rwc);
    return !folio_mapped(f);
}

/* -- VMAs of files ------------------------------------------------------------------------------------------------- */

void vma_link_file(struct cpu *cpu, struct vm_area_struct *vma) NO_LOCK_ANALYSIS
{
    struct address_space *mapping;

    if (!vma->vm_file)
        return;
    mapping = vma->vm_file->f_mapping;
    down_write(cpu, &mapping->i_mmap_rwsem);
    if ((vma->vm_flags & (VM_SHARED | VM_MAYWRITE)) == (VM_SHARED | VM_MAYWRITE))
        atomic_fetch_add(&mapping->i_mmap_writable, 1);
    vma->shared.start = vma->vm_pgoff.nr;
    vma->shared.last = vma->vm_pgoff.nr + vma_pages(vma) - 1;
    interval_tree_insert(&vma->shared, &mapping->i_mmap);
    up_write(cpu, &mapping->i_mmap_rwsem);
}

/* Done already (by unmap_region()): nothing happens. */
void unlink_file_vma(struct cpu *cpu, struct vm_area_struct *vma) NO_LOCK_ANALYSIS
{
    struct address_space *mapping;

    if (!vma->vm_file)
        return;
    mapping = vma->vm_file->f_mapping;
    down_write(cpu, &mapping->i_mmap_rwsem);
    if (RB_EMPTY_NODE(&vma->shared.rb)) { /* asked under the lock: in the tree the node changes with its neighbours */
        up_write(cpu, &mapping->i_mmap_rwsem);
        return;
    }
    if ((vma->vm_flags & (VM_SHARED | VM_MAYWRITE)) == (VM_SHARED | VM_MAYWRITE))
        atomic_fetch_sub(&mapping->i_mmap_writable, 1);
    interval_tree_remove(&vma->shared, &mapping->i_mmap);
    up_write(cpu, &mapping->i_mmap_rwsem);
    RB_CLEAR_NODE(&vma->shared.rb);
}
