/* SPDX-License-Identifier: MIT */
/*
 * The tables of an address space: allocation, accounting, locks, freeing.
 *
 * A table is one page of type PGTY_table; its struct page says whose it is, its level, the first address it maps, how
 * many of its entries point to tables, and holds its lock.
 *
 *   mm->pt.root ─▶ page: pt_mm, pt_level 4, pt_va 0, pt_nr_entries 2
 *                    │            │
 *                    ▼            ▼
 *                  level 3      level 3 ...       a table exists from the first fault in its range (pt_alloc_entry)
 *                    ▼                            until the last VMA in its range goes (free_pgtables); the root tables
 *                  level 2                        live as long as the mm (pgd_alloc, pgd_free)
 *                    ▼
 *                  level 1: pt_nr_entries 0
 *
 * Invariants (checked by mm_pgtables_check)
 *   P1  A table's page has type PGTY_table, one reference, the mm, level and address of the place it hangs at.
 *   P2  pt_nr_entries equals the number of entries that point to tables; nobody else counts them, and level 1 has none.
 *       (Counting the used entries of level 1 too would cost each PTE change a line that it does not always have;
 *       emptiness of a level-1 table is known by its VMAs instead, P5.)
 *   P3  mm->pgtables_bytes counts the tables of levels 1 to 3 below the root, as Linux does (VmPTE of
 *       /proc/PID/status); NR_PAGETABLE counts all of them, the roots too (as since 6.16).
 *   P4  Every present entry is one that the hardware accepts: no reserved bit, no leaf where the format has none.
 *   P5  Each table but the roots has a VMA in its range: no table survives its last VMA.
 *   P6  Leaves lie in VMAs only.
 *   The kernel's tables (init_mm) have pt_mm NULL and no VMAs: P5 and P6 do not apply.
 *
 * Locks. The lock of an entry is, for levels 1 and 2, in the struct page of the table that holds it;
 * mm->page_table_lock for all above (pt_lockptr). A table is linked in under the lock of the entry that will point to
 * it, after it was cleared; readers need no lock to descend: whoever descends holds the mmap_lock or, through the
 * reverse mapping, a VMA in its tree. free_pgtables() runs after the VMAs have left index and trees, so nobody can be
 * on the way down; other CPUs' hardware walkers are made to let go by the TLB flush, and only then are the pages freed.
 * Two locks of level 1 together: the second with spin_lock_nested(..., 1).
 *
 * Rejected: a cmpxchg instead of the lock when linking in (a huge leaf that is being split or collapsed needs the lock
 * held against it); freeing tables as soon as they are empty (Linux does not, munmap's range decides; a counter per PTE
 * change buys little).
 *
 * Follows: Documentation/mm/page_tables.rst, split_page_table_lock.rst, process_addrs.rst ("Page tables").
 */
#include "base/list.h"
#include "phys/page_alloc.h"
#include "phys/vmstat.h"
#include "vm/pgtable.h"

static inline fmt_t fmt_of(const struct mm *mm)
{
    return pt_format_of(mm->m);
}

static inline struct page *table_page(const struct mm *mm, struct pt_entry e)
{
    return virt_to_page(mm->m, e.slot);
}

/* -- one table ----------------------------------------------------------------------------------------------------- */

/* A cleared table that is linked in nowhere; NULL: no memory. `va`: the first address it will map. */
static struct page *table_alloc(struct cpu *cpu, struct mm *mm, u32 level, va_t va)
{
    struct page *page = alloc_pages(cpu, GFP_KERNEL_ACCOUNT | __GFP_ZERO, 0);

    if (!page)
        return NULL;
    page->pt_mm = mm == mm->m->vm->init_mm ? NULL : mm;
    page->pt_level = level;
    page->pt_nr_entries = 0;
    page->pt_va = va;
    spin_lock_init(page_ptl(page), RANK_PTL);
    atomic_store_explicit(&page->page_type, PGTY_table, memory_order_relaxed);
    mod_page_state(cpu, page, NR_PAGETABLE, 1);
    return page;
}

static void table_free(struct cpu *cpu, struct page *page)
{
    DEBUG_ASSERT(PageTable(page));
    DEBUG_ASSERT(!spin_is_locked(page_ptl(page)));
    mod_page_state(cpu, page, NR_PAGETABLE, -1);
    atomic_store_explicit(&page->page_type, (u32)-1, memory_order_relaxed);
    page->pt_mm = NULL;
    page->mapping = NULL;
    __free_page(cpu, page);
}

static void count_table(struct mm *mm, u32 level, s64 n)
{
    if (pgtable_is_counted(fmt_of(mm), level))
        atomic_fetch_add_explicit(&mm->pgtables_bytes, n * (s64)PAGE_SIZE, memory_order_relaxed);
}

/* Point the empty entry e to the new table. Its lock is held, or nobody else knows it. */
static void table_link(struct mm *mm, struct pt_entry e, struct page *table)
{
    set_pte_at(fmt_of(mm), e, mk_table_pte(fmt_of(mm), e.level, page_to_pfn(mm->m, table)));
    table_page(mm, e)->pt_nr_entries++;
    count_table(mm, e.level - 1, 1);
}

/* The table that e points to, taken out. */
static struct page *table_unlink(struct mm *mm, struct pt_entry e)
{
    fmt_t f = fmt_of(mm);
    struct pt_table t = pt_table_of(mm->m, f, ptep_get_and_clear(f, e), e.level);

    table_page(mm, e)->pt_nr_entries--;
    count_table(mm, t.level, -1);
    return virt_to_page(mm->m, t.entries);
}

/* -- roots --------------------------------------------------------------------------------------------------------- */

/* PAE: the CPU reads the four pointers only when they are loaded, so all four tables exist from the start. */
static int alloc_pae_quarters(struct cpu *cpu, struct mm *mm, struct pt_table top)
{
    fmt_t f = fmt_of(mm);

    for (u32 i = 0; i < f->nr_roots; i++) {
        va_t va = (va_t)i << pt_shift(f, top.level);
        struct page *table = table_alloc(cpu, mm, top.level - 1, va);

        if (!table)
            return -ENOMEM;
        table_link(mm, pt_entry_at(f, top, va), table);
    }
    return 0;
}

static void free_pae_quarters(struct cpu *cpu, struct mm *mm, struct pt_table top)
{
    fmt_t f = fmt_of(mm);

    for (u32 i = 0; i < f->nr_roots; i++) {
        struct pt_entry e = pt_entry_at(f, top, (va_t)i << pt_shift(f, top.level));

        if (!pte_none(f, pt_read(f, e)))
            table_free(cpu, table_unlink(mm, e));
    }
}

/* arm64: user tables hang at TTBR0; TTBR1 is the kernel's, one for all.
 * init_mm has both halves' roots in mind but needs its own only. */
int pgd_alloc(struct cpu *cpu, struct mm *mm)
{
    fmt_t f = fmt_of(mm);
    const struct mm *init_mm = mm->m->vm->init_mm;
    struct page *root;

    for (u32 i = 0; i < PT_MAX_ROOTS; i++)
        mm->pt.root[i] = PT_NO_ROOT;
    root = table_alloc(cpu, mm, f->levels, 0);
    if (!root)
        return -ENOMEM;
    mm->pt.root[0] = page_to_phys(mm->m, root);
    if (f->root_rule == ROOT_PAE && alloc_pae_quarters(cpu, mm, pt_top_table(mm->m, f, &mm->pt, 0))) {
        pgd_free(cpu, mm);
        return -ENOMEM;
    }
    if (f->root_rule == ROOT_HALF && init_mm && init_mm != mm)
        mm->pt.root[1] = init_mm->pt.root[1];
    return 0;
}

void pgd_free(struct cpu *cpu, struct mm *mm)
{
    fmt_t f = fmt_of(mm);
    struct pt_table top = pt_top_table(mm->m, f, &mm->pt, 0);
    struct page *root = virt_to_page(mm->m, top.entries);

    if (f->root_rule == ROOT_PAE)
        free_pae_quarters(cpu, mm, top);
    ASSERT(root->pt_nr_entries == 0);
    ASSERT(atomic_load(&mm->pgtables_bytes) == 0);
    table_free(cpu, root);
    for (u32 i = 0; i < PT_MAX_ROOTS; i++)
        mm->pt.root[i] = PT_NO_ROOT;
}

/* -- finding and populating ---------------------------------------------------------------------------------------- */

spinlock_t *pt_lockptr(const struct mm *mm, struct pt_entry e)
{
    if (e.level <= 2)
        return page_ptl(table_page(mm, e));
    return (spinlock_t *)(uintptr_t)&mm->page_table_lock;
}

PT_FN struct pt_entry find_entry(fmt_t f, const struct mm *mm, va_t addr, u32 level, pte_t *value)
{
    return pt_walk(mm->m, f, pt_root_for_roots(mm->m, f, &mm->pt, addr), addr, level, value);
}

struct pt_entry pt_find_entry(const struct mm *mm, va_t addr, u32 level)
{
    pte_t value;

    return PT_DISPATCH(fmt_of(mm), find_entry, mm, addr, level, &value);
}

/* Hang a new table at e, unless another thread was faster. 0 or -ENOMEM. */
static int populate(struct cpu *cpu, struct mm *mm, struct pt_entry e, va_t addr)
{
    fmt_t f = fmt_of(mm);
    struct page *table = table_alloc(cpu, mm, e.level - 1, addr & pt_mask(f, e.level));
    spinlock_t *ptl = pt_lockptr(mm, e);

    if (!table)
        return -ENOMEM;
    spin_lock(cpu, ptl);
    if (pte_none(f, pt_read(f, e))) {
        table_link(mm, e, table);
        table = NULL;
    }
    spin_unlock(cpu, ptl);
    if (table)
        table_free(cpu, table);
    return 0;
}

/* From the entry e, the lowest that exists, down to `level`. */
static __noinline struct pt_entry alloc_entry_slow(struct cpu *cpu, struct mm *mm, struct pt_entry e, va_t addr,
                                                   u32 level, u32 *leaf_level)
{
    fmt_t f = fmt_of(mm);
    u32 blocked = 0;
    pte_t p;

    ASSERT(e.slot);
    while (e.level > level) {
        p = pt_read(f, e);
        if (pte_none(f, p)) {
            if (populate(cpu, mm, e, addr))
                break;
            continue;
        }
        if (!pte_table(f, e.level, p)) {
            blocked = e.level; /* a huge leaf, or the swap or migration entry of one */
            break;
        }
        e = pt_entry_at(f, pt_table_of(mm->m, f, p, e.level), addr);
    }
    if (e.level == level)
        return e;
    if (leaf_level)
        *leaf_level = blocked;
    return (struct pt_entry){NULL, level};
}

/* *leaf_level: 0 when memory ran out. Tables that were allocated before stay: they are freed with the VMA's range. */
struct pt_entry pt_alloc_entry(struct cpu *cpu, struct mm *mm, va_t addr, u32 level, u32 *leaf_level)
{
    pte_t value;
    struct pt_entry e = PT_DISPATCH(fmt_of(mm), find_entry, mm, addr, level, &value);

    if (likely(e.level == level))
        return e;
    return alloc_entry_slow(cpu, mm, e, addr, level, leaf_level);
}

struct pt_entry pte_offset_map_lock(struct cpu *cpu, struct mm *mm, va_t addr, spinlock_t **ptl) NO_LOCK_ANALYSIS
{
    pte_t value;
    struct pt_entry e = PT_DISPATCH(fmt_of(mm), find_entry, mm, addr, 1, &value);

    if (e.level != 1)
        return (struct pt_entry){NULL, 1};
    *ptl = page_ptl(table_page(mm, e));
    spin_lock(cpu, *ptl);
    return e;
}

void pte_unmap_unlock(struct cpu *cpu, spinlock_t *ptl) NO_LOCK_ANALYSIS
{
    spin_unlock(cpu, ptl);
}

/*
 * mremap: hang the table that the level-2 entry `from` points to at the empty level-2 entry `to`, which maps from
 * `va` on. False: `to` is in use, or `from` has no table; nothing changed. mmap_lock held for writing; the caller
 * flushes TLBs and walk caches.
 */
bool pt_move_table(struct cpu *cpu, struct mm *mm, struct pt_entry from, struct pt_entry to, va_t va) NO_LOCK_ANALYSIS
{
    fmt_t f = fmt_of(mm);
    spinlock_t *from_ptl = pt_lockptr(mm, from), *to_ptl = pt_lockptr(mm, to);
    bool movable;

    spin_lock(cpu, from_ptl);
    if (to_ptl != from_ptl)
        spin_lock_nested(cpu, to_ptl, 1);
    movable = pte_none(f, pt_read(f, to)) && pte_table(f, from.level, pt_read(f, from));
    if (movable) {
        struct page *table = table_unlink(mm, from);

        table->pt_va = va;
        table_link(mm, to, table);
    }
    if (to_ptl != from_ptl)
        spin_unlock(cpu, to_ptl);
    spin_unlock(cpu, from_ptl);
    return movable;
}

/* -- freeing ------------------------------------------------------------------------------------------------------- */

struct free_ctx {
    struct cpu *cpu;
    struct mm *mm;
    fmt_t f;
    va_t floor, last; /* tables that map nothing outside [floor, last] may go */
    struct list_head freed;
    u64 nr;
};

static void free_child(struct free_ctx *c, struct pt_entry e)
{
    spinlock_t *ptl = pt_lockptr(c->mm, e);
    struct page *table;

    spin_lock(c->cpu, ptl);
    table = table_unlink(c->mm, e);
    spin_unlock(c->cpu, ptl);
    ASSERT(table->pt_level == 1 || table->pt_nr_entries == 0); /* [floor, ceiling) has tables outside [start, end) */
    list_add(&table->lru, &c->freed);
    c->nr++;
}

/* Tables under `t` that the range lets go: children first. `last`: the last address. */
static void free_range(struct free_ctx *c, struct pt_table t, va_t start, va_t last)
{
    const struct page *page = virt_to_page(c->mm->m, t.entries);
    u64 size = pt_size(c->f, t.level);
    va_t base = start & ~(size - 1), next_last;

    for (; page->pt_nr_entries; base += size) {
        struct pt_entry e = pt_entry_at(c->f, t, base);
        pte_t p = pt_read(c->f, e);

        next_last = base + size - 1;
        if (pte_table(c->f, t.level, p)) {
            if (t.level > 2)
                free_range(c, pt_table_of(c->mm->m, c->f, p, t.level), MAX(base, start), MIN(next_last, last));
            if (base >= c->floor && next_last <= c->last)
                free_child(c, e);
        }
        if (next_last >= last)
            break;
    }
}

/* Does what one table of level 1 maps, the least that can go, and a part of [start, end) lie within [floor, last]? */
static bool holds_table(const struct free_ctx *c, va_t start, va_t end)
{
    u64 size = pt_size(c->f, 2);
    va_t base = start & ~(size - 1);

    if (base < c->floor)
        base += size;
    return base < end && base + (size - 1) <= c->last;
}

/*
 * ceiling 0, or the end of user addresses: no limit. A table goes when all it maps lies within [floor, ceiling), where
 * floor and ceiling are the ends of the neighbour VMAs: so one shared with a neighbour stays. Its pages are unmapped
 * already, its VMAs are gone from all trees.
 */
void free_pgtables(struct cpu *cpu, struct mm *mm, va_t start, va_t end, va_t floor, va_t ceiling)
{
    struct free_ctx c = {.cpu = cpu, .mm = mm, .f = fmt_of(mm), .floor = floor};
    u64 root_size = 1ull << c.f->shift[c.f->root_level + 1];
    struct page *page, *next;

    c.last = ceiling && ceiling < pt_task_size(c.f) ? ceiling - 1 : ~0ull;
    if (!holds_table(&c, start, end))
        return;
    INIT_LIST_HEAD(&c.freed);
    for (va_t a = start;; a = (a & ~(root_size - 1)) + root_size) {
        va_t last = MIN(a | (root_size - 1), end - 1);

        free_range(&c, pt_root_for(mm, a).table, a, last);
        if (last == end - 1)
            break;
    }
    if (!c.nr)
        return;
    flush_tlb_range(cpu, mm, start, end, PAGE_SHIFT, true);
    list_for_each_entry_safe (page, next, &c.freed, lru) {
        table_free(cpu, page);
    }
}

/* -- books --------------------------------------------------------------------------------------------------------- */

struct check_ctx {
    struct mm *mm;
    fmt_t f;
    struct check_report *r;
    const struct vm_area_struct *vma; /* first that may lie at or after the place reached */
    bool has_vmas;
    u64 nr, counted;
};

/* Whether a VMA lies in [va, last]. Places are asked for in ascending order. */
static bool vma_in_range(struct check_ctx *c, va_t va, va_t last)
{
    while (c->vma && c->vma->vm_end <= va)
        c->vma = vma_next(c->vma);
    return c->vma && c->vma->vm_start <= last;
}

static bool check_table_page(struct check_ctx *c, struct pt_table t, va_t va)
{
    const struct page *page = virt_to_page(c->mm->m, t.entries);
    const struct mm *owner = c->has_vmas ? c->mm : NULL;

    if (!PageTable(page)) {
        check_fail(c->r, "P1: level %u table of %llx: page type is %x", t.level, (unsigned long long)va,
                   atomic_load(&((struct page *)(uintptr_t)page)->page_type));
        return false;
    }
    if (page->pt_mm != owner)
        check_fail(c->r, "P1: level %u table of %llx: owner is %p, hangs in %p", t.level, (unsigned long long)va,
                   (void *)page->pt_mm, (const void *)owner);
    CHECK_EQ(c->r, page->pt_level, t.level, "P1: table");
    CHECK_EQ(c->r, page->pt_va, va, "P1: table");
    CHECK_EQ(c->r, page_count(page), 1, "P1: table");
    c->nr++;
    c->counted += pgtable_is_counted(c->f, t.level);
    if (c->has_vmas && t.level < c->f->root_level && !vma_in_range(c, va, va + (1ull << c->f->shift[t.level + 1]) - 1))
        check_fail(c->r, "P5: level %u table of %llx has no VMA in its range", t.level, (unsigned long long)va);
    return true;
}

static void check_entry(struct check_ctx *c, u32 level, pte_t p, va_t va)
{
    if (!pte_present(c->f, p))
        return;
    if (pte_bad(c->f, level, p))
        check_fail(c->r, "P4: level %u entry of %llx is %llx: reserved bits %llx", level, (unsigned long long)va,
                   (unsigned long long)p.v, (unsigned long long)pte_reserved_bits(c->f, level, p));
    if (c->has_vmas && pte_leaf(c->f, level, p) && !vma_in_range(c, va, va + pt_size(c->f, level) - 1))
        check_fail(c->r, "P6: level %u leaf of %llx lies in no VMA", level, (unsigned long long)va);
}

/* Addresses of the upper half have their sign; only the topmost table's entries cross into it. */
static va_t with_sign(const struct check_ctx *c, va_t va)
{
    u32 unused = 64u - c->f->va_bits;

    return c->f->va_rule == VA_SIGN ? (va_t)((s64)(va << unused) >> unused) : va;
}

/* `va`: the first address that the table maps. */
static void check_table(struct check_ctx *c, struct pt_table t, va_t va)
{
    u32 children = 0;

    if (!check_table_page(c, t, va))
        return;
    for (u32 i = 0; i < pt_entries(c->f, t.level); i++) {
        va_t at = with_sign(c, va + ((va_t)i << pt_shift(c->f, t.level)));
        pte_t p = pt_read(c->f, pt_entry_at(c->f, t, at));

        if (pte_none(c->f, p))
            continue;
        if (!pte_table(c->f, t.level, p)) {
            check_entry(c, t.level, p, at);
            continue;
        }
        children++;
        if (pte_bad(c->f, t.level, p))
            check_entry(c, t.level, p, at);
        else
            check_table(c, pt_table_of(c->mm->m, c->f, p, t.level), at);
    }
    CHECK_EQ(c->r, virt_to_page(c->mm->m, t.entries)->pt_nr_entries, children, "P2: table");
}

u64 mm_pgtables_check(struct mm *mm, struct check_report *r)
{
    struct check_ctx c = {
        .mm = mm, .f = fmt_of(mm), .r = r, .vma = vma_first(mm), .has_vmas = mm != mm->m->vm->init_mm};

    check_table(&c, pt_top_table(mm->m, c.f, &mm->pt, 0), 0);
    CHECK_EQ(r, atomic_load(&mm->pgtables_bytes), c.counted * PAGE_SIZE, "P3: mm");
    return c.nr;
}
