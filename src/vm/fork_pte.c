/* SPDX-License-Identifier: MIT */
/*
 * fork's part in the page tables: the child gets the parent's entries,
 * and what is private becomes copy-on-write in both.
 *
 *      before            after, private writable        after, shared
 *   parent ──rw──▶ page    parent ──r──▶ page ◀──r── child   parent ──rw──▶ page ◀──rw── child (clean, old)
 *
 * Which VMAs. Only those that can hold pages the child could not find again by faulting: with an anon_vma, or without
 * a page behind the entry. A file mapping without anonymous pages is left out: its pages come from
 * the page cache on demand.
 *
 * Speed. A page costs one atomic operation for its counts, one for PG_anon_exclusive the first time, and an update of
 * the parent's entry. That update need not be atomic where no other CPU can walk the parent's tables:
 * one user, who is here.
 *
 * Locks. Both mmap_locks for writing; the child's page-table lock, then the parent's (subclass 1). The caller flushes
 * the parent's TLB entries when everything is copied.
 * Rejected: sharing whole tables between parent and child until a write (saves time for children that exec; no kernel
 * does it yet, and counters of later Linux versions would not agree).
 */
#include "vm/fork.h"

#include "vm/fault.h"
#include "vm/gup.h"
#include "vm/rmap.h"
#include "vm/swapops.h"

#include "base/errno.h"

static bool is_cow_mapping(vm_flags_t flags)
{
    return (flags & (VM_SHARED | VM_MAYWRITE)) == VM_MAYWRITE;
}

static bool vma_needs_copy(const struct vm_area_struct *src)
{
    return src->anon_vma || (src->vm_flags & (VM_PFNMAP | VM_MIXEDMAP | VM_MAYBE_GUARD));
}

struct copy_ctx {
    struct cpu *cpu;
    const struct pt_format *fmt;
    struct vm_area_struct *dst, *src;
    bool cow;    /* entries lose the right to write */
    bool shared; /* the child's entries start clean */
    bool alone;  /* no other CPU walks the parent's tables */
    bool pinned; /* pages of the parent have been pinned */
    s64 rss[NR_MM_COUNTERS];
    u64 copied;
    struct folio *spare; /* for the child's copy of a pinned page */
};

/*
 * One more mapping and its reference. The page is mapped (_mapcount >= 0) and so referenced: one 64-bit addition to the
 * two counters, side by side in struct page, cannot carry from the one into the other.
 */
static void folio_dup_mapping(struct folio *f, struct page *page)
{
    _Static_assert(offsetof(struct page, _refcount) == offsetof(struct page, _mapcount) + 4, "counts side by side");
    _Static_assert(offsetof(struct page, _mapcount) % 8 == 0, "one aligned word");

    if (likely(page == &f->page)) {
        atomic_fetch_add_explicit((_Atomic u64 *)(void *)&page->_mapcount, 1ull << 32 | 1, memory_order_relaxed);
        return;
    }
    folio_get(f);
    atomic_fetch_add_explicit(&page->_mapcount, 1, memory_order_relaxed);
}

/*
 * A pinned page stays the parent's own, writable as it was: who pinned it and the parent must go on seeing one page. The
 * child gets the spare page, a copy. False: there is no spare page yet.
 */
static bool copy_present_page(struct copy_ctx *c, struct pt_entry d, struct page *page, pte_t pte, va_t addr)
{
    const struct pt_format *fmt = c->fmt;
    struct folio *new = c->spare;

    if (!new)
        return false;
    c->spare = NULL;
    copy_user_page(c->cpu, &new->page, page);
    __folio_set_uptodate(new);
    folio_add_new_anon_rmap(c->cpu, new, c->dst, addr);
    folio_add_lru_vma(c->cpu, new, c->dst);
    c->rss[MM_ANONPAGES]++;
    pte = pte_mkdirty(fmt, mk_pte(fmt, 1, page_to_pfn(c->cpu->m, &new->page), c->dst->vm_page_prot));
    set_pte_at(fmt, d, c->dst->vm_flags & VM_WRITE ? pte_mkwrite(fmt, pte) : pte);
    return true;
}

static bool needs_copy_now(const struct copy_ctx *c, va_t addr, pte_t pte)
{
    struct page *page = vm_normal_page(c->src, addr, pte);

    return page && PageAnon(page) && PageAnonExclusive(page) && page_needs_cow_for_dma(c->src->vm_mm, page_folio(page));
}

PT_FN void copy_present_pte(fmt_t fmt, struct copy_ctx *c, struct pt_entry d, struct pt_entry s, pte_t pte)
{
    struct page *page = pte_normal_page(fmt, c->cpu->m, pte);

    if (page) {
        struct folio *f = page_folio(page);

        folio_dup_mapping(f, page);
        if (folio_test_anon(f)) {
            if (PageAnonExclusive(page))
                ClearPageAnonExclusive(page);
            c->rss[MM_ANONPAGES]++;
        } else {
            c->rss[mm_counter_file(f)]++;
        }
    }
    if (c->cow && pte_write(fmt, pte)) {
        if (c->alone)
            set_pte_at(fmt, s, pte_wrprotect(fmt, pte));
        else
            ptep_set_wrprotect(fmt, s);
        pte = pte_wrprotect(fmt, pte);
    }
    if (c->shared)
        pte = pte_mkclean(fmt, pte);
    set_pte_at(fmt, d, pte_mkold(fmt, pte));
}

/* Guards and poison go to the child, too. Swap and migration entries: with those rows. */
static __cold void copy_special_pte(struct copy_ctx *c, struct pt_entry d, pte_t pte)
{
    const struct pt_format *fmt = c->fmt;
    u32 markers = pte_markers(fmt, pte) & (PTE_MARKER_GUARD | PTE_MARKER_POISONED);

    if (markers)
        set_pte_at(fmt, d, make_pte_marker(fmt, markers));
    else if (pte_is_hwpoison(fmt, pte))
        set_pte_at(fmt, d, pte);
}

/* One table's part: [addr, end). Returns where it stopped: end, or at a page that needs c->spare. */
PT_FN va_t copy_ptes_fmt(fmt_t fmt, struct copy_ctx *c, va_t addr, va_t end) NO_LOCK_ANALYSIS
{
    struct pt_entry s, d;
    spinlock_t *dst_ptl, *src_ptl;

    d = pte_offset_map_lock(c->cpu, c->dst->vm_mm, addr, &dst_ptl);
    s = pt_find_entry(c->src->vm_mm, addr, 1);
    src_ptl = pt_lockptr(c->src->vm_mm, s);
    spin_lock_nested(c->cpu, src_ptl, 1);
    for (; addr < end; addr += PAGE_SIZE, s = pt_entry_next(fmt, s, 1), d = pt_entry_next(fmt, d, 1)) {
        pte_t pte = pt_read(fmt, s);

        if (pte_none(fmt, pte))
            continue;
        if (unlikely(!pte_present(fmt, pte))) {
            copy_special_pte(c, d, pte);
            continue;
        }
        if (unlikely(c->pinned) && needs_copy_now(c, addr, pte)) {
            if (!copy_present_page(c, d, vm_normal_page(c->src, addr, pte), pte, addr))
                break;
        } else {
            copy_present_pte(fmt, c, d, s, pte);
        }
        c->copied++;
    }
    spin_unlock(c->cpu, src_ptl);
    pte_unmap_unlock(c->cpu, dst_ptl);
    return addr;
}

static va_t copy_ptes(struct copy_ctx *c, va_t addr, va_t end)
{
    return PT_DISPATCH(c->fmt, copy_ptes_fmt, c, addr, end);
}

static int copy_pte_range(struct copy_ctx *c, va_t addr, va_t end)
{
    u32 leaf = 0;

    if (!pt_alloc_entry(c->cpu, c->dst->vm_mm, addr, 1, &leaf).slot)
        return -ENOMEM;
    for (;;) {
        addr = copy_ptes(c, addr, end);
        if (likely(addr == end))
            return 0;
        if (anon_vma_prepare(c->cpu, c->dst))
            return -ENOMEM;
        c->spare = alloc_user_folio(c->cpu);
        if (!c->spare)
            return -ENOMEM;
    }
}

int copy_page_range(struct cpu *cpu, struct vm_area_struct *dst, struct vm_area_struct *src)
{
    struct copy_ctx c = {
        .cpu = cpu,
        .fmt = pt_format_of(cpu->m),
        .dst = dst,
        .src = src,
        .cow = is_cow_mapping(src->vm_flags),
        .shared = src->vm_flags & VM_SHARED,
        .pinned = __atomic_load_n(&src->vm_mm->flags, __ATOMIC_RELAXED) & MMF_HAS_PINNED,
        .alone = atomic_load(&src->vm_mm->mm_users) == 1 && cpu->current && cpu->current->mm == src->vm_mm,
    };
    va_t addr = src->vm_start;
    int err = 0;

    if (!vma_needs_copy(src))
        return 0;
    while (addr < src->vm_end && !err) {
        struct pt_entry e = pt_find_entry(src->vm_mm, addr, 1);
        va_t next = pt_addr_end(c.fmt, e.level > 1 ? e.level : 2, addr, src->vm_end);

        if (e.level == 1)
            err = copy_pte_range(&c, addr, next);
        addr = next;
    }
    if (c.spare)
        folio_put(cpu, c.spare); /* the page was unpinned meanwhile */
    for (int i = 0; i < NR_MM_COUNTERS; i++)
        if (c.rss[i])
            add_mm_counter(dst->vm_mm, i, c.rss[i]);
    charge_n(cpu, COST_PTE_COPY, c.copied);
    return err;
}
