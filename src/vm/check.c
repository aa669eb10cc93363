/* SPDX-License-Identifier: MIT */
/*
 * The floor's books: every mm, its VMAs, tables and pages, and the anon_vmas, counted again from the entries.
 *
 * Each page is counted in its own struct page: memcg_data, which nothing uses yet, is 0 outside of a check.
 *
 *   1 tally     every entry of every mm adds to its page; every batch, too; rss, rights and rmap
 *               of each entry are checked
 *   2 compare   every entry's page, once: _mapcount, _refcount, exclusiveness; then its tally is cleared
 *
 * The machine is quiet: nobody changes anything, so no locks are taken. Invariant numbers are those of the files that
 * keep them: PF pfnmap.c, MM mm.c, AV anon_vma.c, RM rmap.c, FA fault_anon.c, ML phys/lru_mlock.c, PN gup.c.
 */
#include "vm/check.h"

#include "phys/phys.h"
#include "phys/vmstat.h"
#include "vm/gup.h"
#include "vm/pgtable.h"
#include "vm/rmap.h"
#include "vm/swapops.h"
#include "vm/vma.h"

struct vm_check_ctx {
    struct machine *m;
    struct check_report *r;
    struct mm *mm;
    s64 rss[NR_MM_COUNTERS];
    u64 anon_mapped, file_mapped, accounted;
};

/* Parts of the tally in a page: entries, batches, entries of VM_LOCKED VMAs. */
#define TALLY_MAP 1ull
#define TALLY_BATCH (1ull << 24)
#define TALLY_LOCKED (1ull << 40)
#define TALLY_MAPS(n) ((n) & (TALLY_BATCH - 1))
#define TALLY_BATCHES(n) ((n) >> 24 & 0xffff)
#define TALLY_LOCKS(n) ((n) >> 40)

/* -- every entry of a VMA ------------------------------------------------------------------------------------------ */

typedef void (*pte_visitor)(struct vm_check_ctx *c, struct vm_area_struct *vma, va_t addr, pte_t pte);

static void visit_ptes(struct vm_check_ctx *c, struct vm_area_struct *vma, pte_visitor visit)
{
    fmt_t fmt = pt_format_of(c->m);
    va_t addr = vma->vm_start;

    while (addr < vma->vm_end) {
        struct pt_entry e = pt_find_entry(vma->vm_mm, addr, 1);
        va_t next = pt_addr_end(fmt, e.level > 1 ? e.level : 2, addr, vma->vm_end);

        if (e.level > 1) {
            addr = next;
            continue;
        }
        for (; addr < next; addr += PAGE_SIZE, e = pt_entry_next(fmt, e, 1)) {
            pte_t pte = pt_read(fmt, e);

            if (!pte_none(fmt, pte))
                visit(c, vma, addr, pte);
        }
    }
}

static void visit_all(struct vm_check_ctx *c, pte_visitor visit)
{
    struct vm_area_struct *vma;
    struct mm *mm;

    list_for_each_entry (mm, &c->m->vm->mms, mmlist) {
        for_each_vma (vma, mm)
            visit_ptes(c, vma, visit);
    }
}

/* -- one entry against its VMA and page ---------------------------------------------------------------------------- */

static bool vma_has_anon_vma(const struct vm_area_struct *vma, const struct anon_vma *av)
{
    const struct anon_vma_chain *avc;

    list_for_each_entry (avc, &vma->anon_vma_chain, same_vma)
        if (avc->anon_vma == av)
            return true;
    return false;
}

static void check_pte_page(struct vm_check_ctx *c, struct vm_area_struct *vma, va_t addr, pte_t pte, struct page *page)
{
    fmt_t fmt = pt_format_of(c->m);
    struct folio *f = page_folio(page);
    unsigned long long a = addr;

    if (!f->page.mapping && !page_test_flag(page, PG_hwpoison)) { /* a driver's */
        if (!(vma->vm_flags & VM_MIXEDMAP) && vma->vm_ops != VM_OPS_SPECIAL)
            check_fail(c->r, "PF2: %llx maps a page without a mapping", a);
        return;
    }
    if (folio_index(f).nr != linear_page_index(vma, addr).nr)
        check_fail(c->r, "RM4: page of %llx has index %llx, its VMA says %llx", a, (unsigned long long)f->page.index,
                   (unsigned long long)linear_page_index(vma, addr).nr);
    if (folio_test_anon(f)) {
        if (!vma_has_anon_vma(vma, folio_anon_vma(f)))
            check_fail(c->r, "RM4: page of %llx: its anon_vma %p is not on the VMA's chain", a,
                       (void *)folio_anon_vma(f));
        if (pte_write(fmt, pte) && !PageAnonExclusive(page))
            check_fail(c->r, "RM3: %llx is writable, its page is not exclusive", a);
        return;
    }
    if (!vma->vm_file || f->page.mapping != vma->vm_file->f_mapping)
        check_fail(c->r, "RM4: page of %llx belongs to mapping %p, not to the VMA's file", a, (void *)f->page.mapping);
    if (pte_write(fmt, pte) && !(vma->vm_flags & VM_SHARED))
        check_fail(c->r, "RM4: %llx is private and writable, its page is the file's", a);
}

/* SP1: an entry that is not present is a guard, in a VMA with VM_MAYBE_GUARD, or poison. */
static void check_special(struct vm_check_ctx *c, struct vm_area_struct *vma, va_t addr, pte_t pte)
{
    fmt_t fmt = pt_format_of(c->m);

    if (pte_is_guard(fmt, pte)) {
        if (!(vma->vm_flags & VM_MAYBE_GUARD) || (vma->vm_flags & (VM_SPECIAL | VM_HUGETLB)))
            check_fail(c->r, "SP1: guard at %llx in a VMA with flags %llx that may have none", (unsigned long long)addr,
                       (unsigned long long)vma->vm_flags);
    } else if (!pte_is_hwpoison(fmt, pte)) {
        check_fail(c->r, "SP1: entry %llx at %llx is of no known kind", (unsigned long long)pte.v,
                   (unsigned long long)addr);
    }
}

static void tally_pte(struct vm_check_ctx *c, struct vm_area_struct *vma, va_t addr, pte_t pte)
{
    fmt_t fmt = pt_format_of(c->m);
    struct page *page;

    if (!pte_present(fmt, pte)) {
        check_special(c, vma, addr, pte);
        return;
    }
    if (pte_write(fmt, pte) && !(vma->vm_flags & VM_WRITE))
        check_fail(c->r, "FA: %llx is writable, its VMA is not", (unsigned long long)addr);
    page = vm_normal_page(vma, addr, pte);
    if (!page && pte_pfn(fmt, 1, pte).nr != page_to_pfn_nr(c->m, c->m->vm->zero_page)) {
        if (!(vma->vm_flags & (VM_PFNMAP | VM_MIXEDMAP)))
            check_fail(c->r, "PF1: %llx maps a bare frame, entry %llx", (unsigned long long)addr,
                       (unsigned long long)pte.v);
        return;
    }
    if (!page) {
        if (pte_write(fmt, pte) || !pte_special(fmt, pte))
            check_fail(c->r, "FA1: %llx maps the zero page with entry %llx", (unsigned long long)addr,
                       (unsigned long long)pte.v);
        return;
    }
    page->memcg_data += TALLY_MAP + (vma_counts_mlock(vma) ? TALLY_LOCKED : 0);
    c->rss[mm_counter(page_folio(page))]++;
    check_pte_page(c, vma, addr, pte, page);
}

/* Operations on f that wait in batches. */
struct waiting {
    s64 lock, unlock;
};

static struct waiting waiting_ops(const struct vm_check_ctx *c, const struct folio *f)
{
    struct waiting w = {0, 0};

    for (u32 cpu = 0; cpu < c->m->nr_cpus; cpu++) {
        const struct lru_batches *b = &c->m->phys->lru_batches[cpu];

        for (u32 i = 0; i < b->batch[LRU_BATCH_MLOCK].nr; i++)
            if (b->batch[LRU_BATCH_MLOCK].folios[i] == f)
                *(b->mlock_op[i] == OP_MUNLOCK ? &w.unlock : &w.lock) += 1;
    }
    return w;
}

/*
 * What waits to be unlocked is locked still. While something waits to be locked, PG_mlocked may be gone: the folio will be
 * marked low when its turn comes.
 */
static void check_mlocked(struct vm_check_ctx *c, struct page *page, u64 tally)
{
    struct folio *f = page_folio(page);
    struct waiting w = TALLY_BATCHES(tally) ? waiting_ops(c, f) : (struct waiting){0, 0};
    s64 locks = (s64)TALLY_LOCKS(tally) + w.unlock, counted = locks - w.lock, count = page->mlock_count;
    bool low = folio_test_mlock_low(f), high = folio_test_mlock_high(f), mlocked = folio_test_mlocked(f);
    unsigned long long pfn = page_to_pfn_nr(c->m, page);

    if ((mlocked && !locks && !high) || (!mlocked && locks && !low && !w.lock))
        check_fail(c->r, "ML1: page %llx: PG_mlocked is %d, VM_LOCKED VMAs map it %lld times", pfn, mlocked,
                   (long long)locks);
    if (!folio_test_lru(f))
        return;
    if (folio_test_unevictable(f) && ((count > counted && !high) || (count < counted && !low)))
        check_fail(c->r, "ML2: page %llx: mlock_count is %lld, should be %lld", pfn, (long long)count,
                   (long long)counted);
    if (mlocked && !folio_test_unevictable(f) && !w.lock)
        check_fail(c->r, "ML3: page %llx: PG_mlocked, but on a list that reclaim scans", pfn);
}

/* Before compare_pte(): pages that no entry maps. Truncated ones were overtaken, and lose it when they are freed. */
static void check_unmapped_mlocked(struct machine *m, struct page *page, u64 nr_frames, void *ctx)
{
    struct folio *f = (struct folio *)page;

    if (folio_test_mlocked(f) && page->mapping && !TALLY_MAPS(page->memcg_data) && nr_frames == 1)
        check_mlocked(ctx, page, page->memcg_data);
}

static void check_pinned(struct vm_check_ctx *c, struct page *page)
{
    struct folio *f = page_folio(page);

    if (PageAnon(page) && folio_maybe_dma_pinned(f) && !PageAnonExclusive(page))
        check_fail(c->r, "PN2: page %llx is pinned, but not exclusive", (unsigned long long)page_to_pfn_nr(c->m, page));
}

/* Each page once: its tally is cleared on the first visit. */
static void compare_pte(struct vm_check_ctx *c, struct vm_area_struct *vma, va_t addr, pte_t pte)
{
    struct page *page = pte_present(pt_format_of(c->m), pte) ? vm_normal_page(vma, addr, pte) : NULL;
    u64 maps, refs, tally;
    bool anon;

    if (!page || !page->memcg_data)
        return;
    anon = PageAnon(page);
    tally = page->memcg_data;
    maps = TALLY_MAPS(tally);
    refs = maps + TALLY_BATCHES(tally) + !anon;
    page->memcg_data = 0;
    check_mlocked(c, page, tally);
    check_pinned(c, page);
    if ((u64)(atomic_load(&page->_mapcount) + 1) != maps)
        check_fail(c->r, "RM1: page %llx at %llx: mapcount %d, %llu entries map it",
                   (unsigned long long)page_to_pfn_nr(c->m, page), (unsigned long long)addr,
                   atomic_load(&page->_mapcount) + 1, (unsigned long long)maps);
    if ((u64)page_count(page) % GUP_PIN_COUNTING_BIAS != refs % GUP_PIN_COUNTING_BIAS || (u64)page_count(page) < refs)
        check_fail(c->r, "R4: page %llx at %llx: refcount %d, %llu references found",
                   (unsigned long long)page_to_pfn_nr(c->m, page), (unsigned long long)addr, page_count(page),
                   (unsigned long long)refs);
    if (anon && PageAnonExclusive(page) && maps != 1)
        check_fail(c->r, "RM3: exclusive page %llx is mapped %llu times",
                   (unsigned long long)page_to_pfn_nr(c->m, page), (unsigned long long)maps);
    *(anon ? &c->anon_mapped : &c->file_mapped) += 1;
}

/* Batches: add TALLY_BATCH for each, or clear what was added. */
static void tally_batches(struct vm_check_ctx *c, s64 add)
{
    for (u32 cpu = 0; cpu < c->m->nr_cpus; cpu++) {
        struct folio_batch *batches = c->m->phys->lru_batches[cpu].batch;

        for (u32 k = 0; k < NR_LRU_BATCHES; k++)
            for (u32 i = 0; i < batches[k].nr; i++) {
                struct page *page = &batches[k].folios[i]->page;

                page->memcg_data = add ? page->memcg_data + TALLY_BATCH : 0;
            }
    }
}

/* -- anon_vmas ----------------------------------------------------------------------------------------------------- */

enum av_pass { AV_CLEAR, AV_COUNT, AV_COMPARE };

/* Each anon_vma that a VMA has an avc to, once in each pass. */
static struct anon_vma *first_visit(struct anon_vma_chain *avc, enum av_pass pass)
{
    struct anon_vma *av = avc->anon_vma;

    if (pass != AV_CLEAR && av->found_pass == pass)
        return NULL;
    av->found_pass = pass;
    return av;
}

static u32 tree_nodes(struct anon_vma *av)
{
    struct interval_tree_node *n;
    u32 nr = 0;

    interval_tree_foreach (n, &av->rb_root, 0, ~(u64)0)
        nr++;
    return nr;
}

static void anon_vma_visit(struct vm_check_ctx *c, struct anon_vma *av, enum av_pass pass)
{
    u32 refs;

    if (pass == AV_CLEAR) {
        av->found_children = av->found_active = av->found_below = av->found_avcs = 0;
        av->root->found_children = av->root->found_active = av->root->found_below = av->root->found_avcs = 0;
        return;
    }
    if (pass == AV_COUNT) {
        av->parent->found_children++;
        av->root->found_below += av->root != av;
        return;
    }
    refs = 1 + av->found_below;
    CHECK_EQ(c->r, av->num_children, av->found_children, "AV3 anon_vma");
    CHECK_EQ(c->r, av->num_active_vmas, av->found_active, "AV2 anon_vma");
    CHECK_EQ(c->r, atomic_load(&av->refcount), refs, "AV4 anon_vma");
    if (interval_tree_empty(&av->root->rb_root))
        CHECK_EQ(c->r, atomic_load(&av->root->refcount), av->root->found_below, "AV4 root whose VMAs are gone");
    CHECK_EQ(c->r, tree_nodes(av), av->found_avcs, "AV1 avcs in a tree, and on lists of VMAs");
    if (av->root->root != av->root)
        check_fail(c->r, "AV4: anon_vma %p: its root %p has another root", (void *)av, (void *)av->root);
    interval_tree_check(&av->rb_root, c->r);
}

static void check_vma_chain(struct vm_check_ctx *c, struct vm_area_struct *vma, enum av_pass pass)
{
    struct anon_vma_chain *avc;

    list_for_each_entry (avc, &vma->anon_vma_chain, same_vma) {
        struct anon_vma *av = first_visit(avc, pass);

        if (av)
            anon_vma_visit(c, av, pass);
        avc->anon_vma->found_avcs += pass == AV_COUNT;
        if (pass != AV_COMPARE)
            continue;
        CHECK_EQ(c->r, avc->rb.start, vma->vm_pgoff.nr, "AV1 avc");
        CHECK_EQ(c->r, avc->rb.last, vma->vm_pgoff.nr + vma_pages(vma) - 1, "AV1 avc");
        if (avc->vma != vma)
            check_fail(c->r, "AV1: avc on VMA %llx belongs to another", (unsigned long long)vma->vm_start);
    }
    if (pass == AV_COUNT && vma->anon_vma)
        vma->anon_vma->found_active++;
    if (pass == AV_COMPARE && vma->anon_vma && !vma_has_anon_vma(vma, vma->anon_vma))
        check_fail(c->r, "AV1: VMA %llx has no avc to its anon_vma", (unsigned long long)vma->vm_start);
}

static void check_anon_vmas(struct vm_check_ctx *c)
{
    struct vm_area_struct *vma;
    struct mm *mm;

    for (int pass = AV_CLEAR; pass <= AV_COMPARE; pass++) {
        list_for_each_entry (mm, &c->m->vm->mms, mmlist) {
            for_each_vma (vma, mm)
                check_vma_chain(c, vma, (enum av_pass)pass);
        }
    }
}

/* -- mms and tasks ------------------------------------------------------------------------------------------------- */

static u32 count_tasks(const struct vm_check_ctx *c)
{
    const struct task *t;
    u32 nr = 0, linked = 0;

    list_for_each_entry (t, &c->m->vm->tasks, tasks)
        nr += t->mm == c->mm;
    list_for_each_entry (t, &c->mm->threads, thread)
        linked++;
    CHECK_EQ(c->r, linked, nr, "MM1: threads of mm");
    return nr;
}

static void check_mm(struct vm_check_ctx *c, u64 *tables)
{
    static const char *const rss_name[NR_MM_COUNTERS] = {"file", "anon", "swap", "shmem"};
    struct vm_area_struct *vma;
    struct mm *mm = c->mm;

    CHECK_EQ(c->r, atomic_load(&mm->mm_users), count_tasks(c), "MM1 mm");
    CHECK_EQ(c->r, atomic_load(&mm->mm_count), 1, "MM2 mm_count");
    *tables += mm_pgtables_check(mm, c->r);
    vma_check(mm, c->r);
    memset(c->rss, 0, sizeof(c->rss));
    for_each_vma (vma, mm) {
        visit_ptes(c, vma, tally_pte);
        if (vma->vm_flags & VM_ACCOUNT)
            c->accounted += vma_pages(vma);
    }
    for (int i = 0; i < NR_MM_COUNTERS; i++)
        if (atomic_load(&mm->rss_stat[i]) != c->rss[i])
            check_fail(c->r, "MM3: rss of %s pages is %lld, recount gives %lld", rss_name[i],
                       (long long)atomic_load(&mm->rss_stat[i]), (long long)c->rss[i]);
}

u64 vm_accounted_pages(const struct machine *m)
{
    const struct vm_area_struct *vma;
    const struct mm *mm;
    u64 pages = 0;

    list_for_each_entry (mm, &m->vm->mms, mmlist) {
        for_each_vma (vma, mm)
            pages += vma->vm_flags & VM_ACCOUNT ? vma_pages(vma) : 0;
    }
    return pages;
}

static void check_signals(const struct vm_check_ctx *c)
{
    const struct task *t;

    list_for_each_entry (t, &c->m->vm->tasks, tasks)
        t->signal->found = 0;
    list_for_each_entry (t, &c->m->vm->tasks, tasks)
        t->signal->found++;
    list_for_each_entry (t, &c->m->vm->tasks, tasks)
        CHECK_EQ(c->r, t->signal->nr_threads, t->signal->found, "MM4 signal_struct");
}

void vm_check(struct machine *m, struct check_report *r)
{
    struct vm_check_ctx c = {.m = m, .r = r};
    u64 tables = mm_pgtables_check(m->vm->init_mm, r);

    tally_batches(&c, 1);
    list_for_each_entry (c.mm, &m->vm->mms, mmlist)
        check_mm(&c, &tables);
    phys_for_each_used_page(m, check_unmapped_mlocked, &c);
    visit_all(&c, compare_pte);
    tally_batches(&c, 0);
    check_anon_vmas(&c);
    check_signals(&c);
    CHECK_EQ(r, global_node_page_state(m, NR_PAGETABLE), tables, "P3: NR_PAGETABLE");
    CHECK_EQ(r, global_node_page_state(m, NR_ANON_MAPPED), c.anon_mapped, "RM2: NR_ANON_MAPPED");
    CHECK_EQ(r, global_node_page_state(m, NR_FILE_MAPPED), c.file_mapped, "RM2: NR_FILE_MAPPED");
}
