/* SPDX-License-Identifier: MIT */
/*
 * Whose is every frame? The floors' checkers follow their own structures; this one goes the other way, from the frames
 * to the structures that claim them, so that a frame that everybody forgot, or that two claim, is found.
 *
 *   1. all page tables are walked: each table found and each mapping of a folio is noted at its page;
 *   2. all per-CPU batches are walked: each reference of a batch is noted; so are those of devices to their pages;
 *   3. every frame in use is compared with what was noted, and its notes are wiped out.
 *
 * Invariants
 *   F1  a frame in use is a slab, a large kmalloc, a page table, a folio of a file, an anonymous
 *       folio, a device's page, or the zero page;
 *   F2  a page table is found exactly once in the address space it names;
 *   F3  a folio is mapped as often as _mapcount says (struct page, R2);
 *   F4  _refcount is mappings + (in the page cache ? its pages : 0) + references of batches (struct page, R4);
 *   F5  a file's folio stands in its mapping at its index.
 *   PN1 pins (get_user_pages) found in the reference counts = acquired - released.
 *
 * Notes are kept in page->memcg_data, which no control group uses yet; a machine has no other room of that size.
 */
#include "machine/frame_check.h"

#include "base/xarray.h"
#include "cache/cache.h"
#include "kmem/kmem.h"
#include "phys/phys.h"
#include "phys/vmstat.h"
#include "vm/gup.h"

#define NOTE_MAP 1ull
#define NOTE_REF (1ull << 32)
#define NOTE_TABLE (1ull << 56)
#define NOTE_MAPS(n) ((u32)(n))
#define NOTE_REFS(n) ((u32)((n) >> 32) & 0xffffffu)
#define NOTE_TABLES(n) ((u32)((n) >> 56))

struct frame_check {
    struct machine *m;
    struct check_report *r;
    const struct pt_format *f;
    u64 pins, poisoned;
};

/* -- 1: tables ----------------------------------------------------------------------------------------------------- */

static void note_leaf(struct frame_check *c, u32 level, pte_t p)
{
    pfn_t pfn = pte_pfn(c->f, level, p);

    if (pte_special(c->f, p) || !pfn_valid(c->m, pfn) || pfn_to_page(c->m, pfn) == c->m->vm->zero_page)
        return;
    page_folio(pfn_to_page(c->m, pfn))->page.memcg_data += NOTE_MAP;
}

static void note_tables(struct frame_check *c, struct pt_table t, struct page *page)
{
    page->memcg_data += NOTE_TABLE;
    for (u32 i = 0; i < pt_entries(c->f, t.level); i++) {
        struct pt_entry e = pt_entry_next(c->f, (struct pt_entry){t.entries, t.level}, i);
        pte_t p = pt_read(c->f, e);

        if (!pte_present(c->f, p))
            continue;
        if (pte_table(c->f, t.level, p)) {
            struct pt_table next = pt_table_of(c->m, c->f, p, t.level);
            struct page *below = virt_to_page(c->m, next.entries);

            if (below->pt_mm == page->pt_mm)
                note_tables(c, next, below); /* tables of the kernel's half are its own */
        } else {
            note_leaf(c, t.level, p);
        }
    }
}

static void note_mm(struct frame_check *c, struct mm *mm)
{
    u32 roots = c->f->root_rule == ROOT_HALF ? 2 : 1;
    const struct mm *owner = mm == c->m->vm->init_mm ? NULL : mm;

    for (u32 i = 0; i < roots; i++) {
        struct pt_table top = pt_top_table(c->m, c->f, &mm->pt, i ? ~0ull : 0);

        if (top.entries && virt_to_page(c->m, top.entries)->pt_mm == owner)
            note_tables(c, top, virt_to_page(c->m, top.entries));
    }
}

/* -- 2: batches ---------------------------------------------------------------------------------------------------- */

static void note_batch(const struct folio_batch *b)
{
    for (u32 i = 0; i < b->nr; i++)
        b->folios[i]->page.memcg_data += NOTE_REF;
}

/* struct kmem and the caches that all others come from lie in pages of their own. */
static bool is_kmem_boot(const struct machine *m, const struct page *page)
{
    const char *at = page_address(m, page), *first = (const char *)m->kmem;

    return at >= first && at < first + m->kmem->boot_bytes;
}

/* A device's own pages, and those of vdso and vvar: one reference each. */
static void note_device(const struct inode *inode)
{
    struct page *page;
    u64 index;

    xa_for_each (&inode->i_disk, index, page)
        page->memcg_data += NOTE_REF;
}

static void note_devices(struct machine *m)
{
    const struct inode *inode;

    note_device(&m->cache->special);
    list_for_each_entry (inode, &m->cache->inodes, inodes)
        if (inode->i_flags & INODE_DEVICE)
            note_device(inode);
}

/* -- 3: frames ----------------------------------------------------------------------------------------------------- */

static void check_table_frame(struct frame_check *c, struct page *page, u64 note)
{
    if (NOTE_TABLES(note) != 1)
        check_fail(c->r, "F2: page table in frame %llx (level %u, va %llx): found %u times in its address space",
                   (unsigned long long)page_to_pfn_nr(c->m, page), page->pt_level, (unsigned long long)page->pt_va,
                   NOTE_TABLES(note));
}

/* The page cache's references: one for each page, 0: not in it. */
static u32 cache_references(struct frame_check *c, struct folio *f)
{
    struct address_space *mapping = f->page.mapping;

    if (!mapping || folio_test_anon(f))
        return 0;
    if (xa_load(&mapping->i_pages, f->page.index) != f)
        check_fail(c->r, "F5: frame %llx: page %llu of file %s is not in its mapping",
                   (unsigned long long)page_to_pfn_nr(c->m, &f->page), (unsigned long long)f->page.index,
                   mapping->host ? mapping->host->name : "?");
    return (u32)folio_nr_pages(f);
}

static void check_user_frame(struct frame_check *c, struct folio *f, u64 note)
{
    u64 pfn = page_to_pfn_nr(c->m, &f->page);
    u32 maps = NOTE_MAPS(note), refs = maps + NOTE_REFS(note) + cache_references(c, f);

    if ((u32)folio_mapcount(f) != maps)
        check_fail(c->r, "F3: frame %llx (index %llx): mapcount is %d, the tables map it %u times",
                   (unsigned long long)pfn, (unsigned long long)f->page.index, folio_mapcount(f), maps);
    if (!folio_test_large(f) && (u32)folio_ref_count(f) > refs) { /* the rest are pins, each of many references */
        u32 pins = ((u32)folio_ref_count(f) - refs) / GUP_PIN_COUNTING_BIAS;

        c->pins += pins;
        refs += pins * GUP_PIN_COUNTING_BIAS;
    }
    if ((u32)folio_ref_count(f) != refs)
        check_fail(c->r, "F4: frame %llx (index %llx): refcount is %d, found %u (%u mappings, %u in batches)",
                   (unsigned long long)pfn, (unsigned long long)f->page.index, folio_ref_count(f), refs, maps,
                   NOTE_REFS(note));
}

static void check_frame(struct machine *m, struct page *page, u64 nr_frames, void *arg)
{
    struct frame_check *c = arg;
    u64 note = page->memcg_data;

    page->memcg_data = 0;
    if (PageTable(page))
        check_table_frame(c, page, note);
    else if (PageSlab(page) || page_has_type(page, PGTY_large_kmalloc) || page == m->vm->zero_page ||
             is_kmem_boot(m, page))
        return; /* kmem_check(), vm_check() */
    else if (page_test_flag(page, PG_hwpoison))
        c->poisoned++; /* whoever mapped it, it is nobody's now */
    /* cut off from its file, a batch or a pin may have it still */
    else if (page->mapping || NOTE_REFS(note) || folio_maybe_dma_pinned((struct folio *)page))
        check_user_frame(c, (struct folio *)page, note);
    else
        check_fail(c->r, "F1: frame %llx, %llu frames, refcount %d: belongs to nobody",
                   (unsigned long long)page_to_pfn_nr(m, page), (unsigned long long)nr_frames, page_count(page));
}

void frame_check(struct machine *m, struct check_report *r)
{
    struct frame_check c = {.m = m, .r = r, .f = pt_format_of(m)};
    struct mm *mm;

    note_mm(&c, m->vm->init_mm);
    list_for_each_entry (mm, &m->vm->mms, mmlist)
        note_mm(&c, mm);
    for (u32 id = 0; id < m->nr_cpus; id++)
        for (u32 k = 0; k < NR_LRU_BATCHES; k++)
            note_batch(&m->phys->lru_batches[id].batch[k]);
    note_devices(m);
    phys_for_each_used_page(m, check_frame, &c);
    CHECK_EQ(r, atomic_load(&m->vm->num_poisoned_pages), c.poisoned, "HW1: poisoned frames");
    CHECK_EQ(r, global_node_page_state(m, NR_FOLL_PIN_ACQUIRED) - global_node_page_state(m, NR_FOLL_PIN_RELEASED),
             c.pins, "PN1: pins acquired and not released");
}
