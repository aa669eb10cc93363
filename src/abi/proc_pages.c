/* SPDX-License-Identifier: MIT */
/*
 * Page by page: /proc/PID/pagemap (binary), the same readable ("pages"), and numa_maps.
 *
 *   63      62      61      60 59 58    57      56         55         54 ... 0
 *   present swapped file or       guard uffd-wp exclusive  soft-dirty page frame number; swapped: type, offset
 *                   shared        (a marker counts as swapped)
 *
 * pagemap here: one little-endian word for each page of each VMA, in the order of maps; holes between VMAs, which the
 * kernel's file shows as zeroes, are left out. "pages" has the lines of maps, each followed by runs of pages with equal
 * flags and consecutive frames:  address, pages, first frame, node, flags.
 *
 * Follows Documentation/admin-guide/mm/pagemap.rst and numa_maps in numa(7). Exclusive: mapped once. The zero page is
 * present and neither file nor exclusive.
 */
#include "abi/proc_priv.h"
#include "phys/phys.h"
#include "vm/pgtable.h"
#include "vm/swapops.h"

#define PM_PRESENT BIT(63)
#define PM_SWAP BIT(62)
#define PM_FILE BIT(61)
#define PM_GUARD_REGION BIT(58)
#define PM_UFFD_WP BIT(57)
#define PM_MMAP_EXCLUSIVE BIT(56)
#define PM_PFN_MASK (BIT(55) - 1)

/* -- an entry's word ----------------------------------------------------------------------------------------------- */

struct pagemap {
    struct seq *s;
    bool raw;
    /* the run that is not yet printed */
    va_t start;
    u64 nr, first;
};

static u64 page_word(const struct page *page)
{
    const struct folio *f = page_folio((struct page *)(uintptr_t)page);

    return (folio_test_anon(f) ? 0 : PM_FILE) | (folio_mapcount(f) == 1 ? PM_MMAP_EXCLUSIVE : 0);
}

/* Swapped out, or a marker that takes the form of a swap entry. */
static u64 swap_word(fmt_t fmt, pte_t pte)
{
    u64 where = ((u64)pte_swap_type(fmt, pte) & 31) | (pte_swap_offset(fmt, pte) << 5 & PM_PFN_MASK);

    return PM_SWAP | where | (pte_is_guard(fmt, pte) ? PM_GUARD_REGION : 0) |
           (pte_markers(fmt, pte) & PTE_MARKER_UFFD_WP ? PM_UFFD_WP : 0);
}

static u64 pte_word(const struct vm_area_struct *vma, va_t addr, u32 level, pte_t pte)
{
    const struct machine *m = vma->vm_mm->m;
    fmt_t fmt = pt_format_of(m);
    const struct page *page;
    u64 pfn;

    if (pte_is_swap(fmt, pte))
        return swap_word(fmt, pte);
    if (!pte_present(fmt, pte))
        return 0;
    pfn = pte_pfn(fmt, level, pte).nr + ((addr & ~pt_mask(fmt, level)) >> PAGE_SHIFT);
    page = level > 1 ? pfn_to_page(m, PFN(pfn)) : vm_normal_page(vma, addr, pte);
    return PM_PRESENT | (pfn & PM_PFN_MASK) | (page ? page_word(page) : 0);
}

/* -- pagemap and pages --------------------------------------------------------------------------------------------- */

static void put_run(struct pagemap *p, const struct machine *m)
{
    u64 w = p->first, pfn = w & PM_PFN_MASK;

    if (p->nr && w & PM_PRESENT)
        seq_printf(p->s, "  %012llx %7llu  pfn %llx  N%d  %s%s\n", (unsigned long long)p->start,
                   (unsigned long long)p->nr, (unsigned long long)pfn, page_to_nid(pfn_to_page(m, PFN(pfn))),
                   pfn == page_to_pfn_nr(m, m->vm->zero_page) ? "zero"
                   : w & PM_FILE                              ? "file"
                                                              : "anon",
                   w & PM_MMAP_EXCLUSIVE ? " exclusive" : "");
    else if (p->nr && w & PM_GUARD_REGION)
        seq_printf(p->s, "  %012llx %7llu  guard\n", (unsigned long long)p->start, (unsigned long long)p->nr);
    else if (p->nr && w & PM_SWAP)
        seq_printf(p->s, "  %012llx %7llu  swap %llu offset %llx\n", (unsigned long long)p->start,
                   (unsigned long long)p->nr, (unsigned long long)(w & 31), (unsigned long long)(pfn >> 5));
    p->nr = 0;
}

static void put_word(struct pagemap *p, const struct machine *m, va_t addr, u64 word)
{
    u64 step = word & PM_PRESENT ? 1 : word & PM_SWAP && !(word & PM_GUARD_REGION) ? 32 : 0;

    if (p->raw) {
        seq_bytes(p->s, &word, sizeof(word));
        return;
    }
    if (p->nr && word == p->first + p->nr * step && word) {
        p->nr++;
        return;
    }
    put_run(p, m);
    p->start = addr;
    p->first = word;
    p->nr = word ? 1 : 0;
}

static int pagemap_pte(struct pt_entry e, va_t addr, va_t next, struct mm_walk *walk)
{
    pte_t pte = pt_read(pt_format_of(walk->mm->m), e);

    put_word(walk->private, walk->mm->m, addr, pte_word(walk->vma, addr, 1, pte));
    return 0;
}

static int pagemap_huge(struct pt_entry e, va_t addr, va_t next, struct mm_walk *walk)
{
    fmt_t fmt = pt_format_of(walk->mm->m);
    pte_t pte = pt_read(fmt, e);

    for (; pte_leaf(fmt, e.level, pte) && addr < next; addr += PAGE_SIZE)
        put_word(walk->private, walk->mm->m, addr, pte_word(walk->vma, addr, e.level, pte));
    return 0;
}

static int pagemap_hole(va_t addr, va_t next, u32 level, struct mm_walk *walk)
{
    struct pagemap *p = walk->private;

    for (; p->raw && addr < next && !p->s->err; addr += PAGE_SIZE)
        put_word(p, walk->mm->m, addr, 0);
    return 0;
}

static const struct mm_walk_ops pagemap_walk_ops = {
    .entry = {NULL, pagemap_pte, pagemap_huge, pagemap_huge, pagemap_huge, pagemap_huge},
    .hole = pagemap_hole,
};

static int show_pagemap(struct cpu *cpu, struct task *task, const struct proc_sink *sink, bool raw)
{
    struct mm *mm = task->mm;
    struct vm_area_struct *vma;
    struct seq s;
    struct pagemap p = {.s = &s, .raw = raw};

    seq_open(&s, sink);
    down_read(cpu, &mm->mmap_lock);
    for_each_shown_vma (vma, mm) {
        if (!raw)
            proc_map_line(cpu, &s, vma);
        walk_page_range(cpu, mm, vma->vm_start, vma->vm_end, &pagemap_walk_ops, &p);
        put_run(&p, mm->m);
    }
    up_read(cpu, &mm->mmap_lock);
    return seq_close(&s);
}

int proc_pid_pagemap(struct cpu *cpu, struct task *task, const struct proc_sink *sink)
{
    return show_pagemap(cpu, task, sink, true);
}

int proc_pid_pages(struct cpu *cpu, struct task *task, const struct proc_sink *sink)
{
    return show_pagemap(cpu, task, sink, false);
}

/* -- numa_maps ----------------------------------------------------------------------------------------------------- */

struct numa_stats {
    u64 pages, anon, dirty, active, writeback, swapcache, mapcount_max;
    u64 node[MAX_NODES];
};

static int numa_pte(struct pt_entry e, va_t addr, va_t next, struct mm_walk *walk)
{
    struct numa_stats *n = walk->private;
    fmt_t fmt = pt_format_of(walk->mm->m);
    pte_t pte = pt_read(fmt, e);
    struct page *page = pte_present(fmt, pte) ? vm_normal_page(walk->vma, addr, pte) : NULL;
    struct folio *f;

    if (!page || PageReserved(page))
        return 0;
    f = page_folio(page);
    n->pages++;
    n->dirty += pte_dirty(fmt, pte) || folio_test_dirty(f);
    n->swapcache += folio_test_anon(f) && folio_test_swapcache(f);
    n->active += folio_test_active(f) || folio_test_unevictable(f);
    n->writeback += folio_test_writeback(f);
    n->anon += folio_test_anon(f);
    n->mapcount_max = MAX(n->mapcount_max, (u64)folio_mapcount(f));
    ASSERT((u32)page_to_nid(page) < MAX_NODES);
    n->node[page_to_nid(page)]++;
    return 0;
}

static const struct mm_walk_ops numa_walk_ops = {.entry = {NULL, numa_pte}};

static void put_if(struct seq *s, const char *name, u64 n, bool shown)
{
    if (shown)
        seq_printf(s, " %s=%llu", name, (unsigned long long)n);
}

static void put_numa_stats(struct seq *s, const struct numa_stats *n)
{
    put_if(s, "anon", n->anon, n->anon);
    put_if(s, "dirty", n->dirty, n->dirty);
    put_if(s, "mapped", n->pages, n->pages != n->anon && n->pages != n->dirty);
    put_if(s, "mapmax", n->mapcount_max, n->mapcount_max > 1);
    put_if(s, "swapcache", n->swapcache, n->swapcache);
    put_if(s, "active", n->active, n->active < n->pages);
    put_if(s, "writeback", n->writeback, n->writeback);
    for (u32 nid = 0; nid < MAX_NODES; nid++)
        if (n->node[nid])
            seq_printf(s, " N%u=%llu", nid, (unsigned long long)n->node[nid]);
    seq_puts(s, " kernelpagesize_kB=4");
}

static void put_numa_name(struct seq *s, const struct vm_area_struct *vma)
{
    const struct inode *inode = vma->vm_file ? vma->vm_file->f_inode : NULL;
    bool unlinked = inode && inode->i_data.a_ops == A_OPS_SHMEM && inode->name[0] != '/';

    if (inode) {
        seq_puts(s, unlinked ? " file=/" : " file=");
        seq_escaped(s, inode->name, "\n\t= ");
        seq_puts(s, unlinked ? "\\040(deleted)" : "");
    } else if (vma_is_heap(vma)) {
        seq_puts(s, " heap");
    } else if (vma_is_stack(vma)) {
        seq_puts(s, " stack");
    }
}

static void put_numa_vma(struct cpu *cpu, struct seq *s, const struct vm_area_struct *vma)
{
    struct numa_stats n = {0};

    walk_page_range(cpu, vma->vm_mm, vma->vm_start, vma->vm_end, &numa_walk_ops, &n);
    seq_printf(s, "%08llx default", (unsigned long long)vma->vm_start);
    put_numa_name(s, vma);
    if (vma->vm_flags & VM_HUGETLB)
        seq_puts(s, " huge");
    if (n.pages)
        put_numa_stats(s, &n);
    seq_putc(s, '\n');
}

int proc_pid_numa_maps(struct cpu *cpu, struct task *task, const struct proc_sink *sink)
{
    return proc_each_vma(cpu, task, sink, put_numa_vma);
}
