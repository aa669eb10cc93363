/* SPDX-License-Identifier: MIT */
/*
 * /proc/PID/smaps and smaps_rollup: what is present of each mapping, and whose it is.
 *
 * Terms. A page that several entries map, of any process, is shared; else private. Pss: each page counts as its size
 * divided by the number of entries that map it, kept with 12 more bits so that the sum is exact to a byte.
 *
 *   entry present ─▶ page (none: zero page, special: not counted) ─▶ Rss, Referenced, Anonymous, LazyFree, KSM
 *                                                                 ─▶ Pss, Pss_Dirty; one of Private/Shared × Clean/Dirty
 *   entry swapped ─▶ Swap, SwapPss
 *
 * Invariants (tests/unit/abi/proc.c): the sum of Rss over all VMAs is the mm's rss; Rss is the sum of the four of
 * Private/Shared × Clean/Dirty; Pss <= Rss; the sum of Pss over all processes is memory mapped at least once.
 *
 * Follows proc_pid_smaps(5), Documentation/filesystems/proc.rst, and the running 6.18 kernel for widths and order.
 */
#include "abi/proc_priv.h"
#include "vm/pgtable.h"
#include "vm/swapops.h"

#define PSS_SHIFT 12

struct mem_size_stats {
    u64 resident, shared_clean, shared_dirty, private_clean, private_dirty, referenced, anonymous, lazyfree, ksm;
    u64 anon_huge, shmem_huge, file_huge, swap;
    u64 pss, pss_anon, pss_file, pss_shmem, pss_dirty, pss_locked, swap_pss; /* << PSS_SHIFT */
};

/* -- one page ------------------------------------------------------------------------------------------------------ */

/* Entries that map this page, whole folios among them. */
static s32 page_mapcount(const struct folio *f, const struct page *page)
{
    s32 n = atomic_load_explicit(&((struct page *)(uintptr_t)page)->_mapcount, memory_order_relaxed) + 1;
    struct page *head = (struct page *)(uintptr_t)&f->page;

    if (folio_test_large(f))
        n += atomic_load_explicit(&head[1].entire_mapcount, memory_order_relaxed) + 1;
    return n;
}

static void account_share(struct mem_size_stats *st, const struct folio *f, u64 pss, bool dirty, bool shared)
{
    st->pss += pss;
    if (folio_test_anon(f))
        st->pss_anon += pss;
    else if (folio_test_swapbacked(f))
        st->pss_shmem += pss;
    else
        st->pss_file += pss;
    if (dirty) {
        st->pss_dirty += pss;
        *(shared ? &st->shared_dirty : &st->private_dirty) += PAGE_SIZE;
    } else {
        *(shared ? &st->shared_clean : &st->private_clean) += PAGE_SIZE;
    }
}

static void account_page(struct mem_size_stats *st, const struct vm_area_struct *vma, struct page *page, pte_t pte)
{
    fmt_t fmt = pt_format_of(vma->vm_mm->m);
    struct folio *f = page_folio(page);
    bool dirty = pte_dirty(fmt, pte) || folio_test_dirty(f);
    s32 mapcount = page_mapcount(f, page);
    u64 pss = (PAGE_SIZE << PSS_SHIFT) / (u64)MAX(mapcount, 1);

    if (folio_test_anon(f)) {
        st->anonymous += PAGE_SIZE;
        if (!folio_test_swapbacked(f) && !dirty)
            st->lazyfree += PAGE_SIZE;
    }
    if (((u64)(uintptr_t)f->page.mapping & PAGE_MAPPING_FLAGS) == PAGE_MAPPING_KSM)
        st->ksm += PAGE_SIZE;
    st->resident += PAGE_SIZE;
    if (pte_young(fmt, pte) || folio_test_young(f) || folio_test_referenced(f))
        st->referenced += PAGE_SIZE;
    if (vma->vm_flags & VM_LOCKED)
        st->pss_locked += pss;
    account_share(st, f, pss, dirty, mapcount > 1);
}

/* -- one VMA ------------------------------------------------------------------------------------------------------- */

static int account_pte(struct pt_entry e, va_t addr, va_t next, struct mm_walk *walk)
{
    struct mem_size_stats *st = walk->private;
    fmt_t fmt = pt_format_of(walk->mm->m);
    pte_t pte = pt_read(fmt, e);
    struct page *page;

    if (pte_present(fmt, pte)) {
        page = vm_normal_page(walk->vma, addr, pte);
        if (page)
            account_page(st, walk->vma, page, pte);
    } else if (pte_is_swap(fmt, pte) && !pte_markers(fmt, pte) && !pte_is_hwpoison(fmt, pte)) {
        st->swap += PAGE_SIZE;
        st->swap_pss += PAGE_SIZE << PSS_SHIFT;
    }
    return 0;
}

/* A huge leaf of any level above 1: all its pages in [addr, next). Tables are walked into. */
static int account_huge(struct pt_entry e, va_t addr, va_t next, struct mm_walk *walk)
{
    struct mem_size_stats *st = walk->private;
    fmt_t fmt = pt_format_of(walk->mm->m);
    pte_t pte = pt_read(fmt, e);
    struct page *page;
    struct folio *f;

    if (!pte_leaf(fmt, e.level, pte))
        return 0;
    page = pfn_to_page(walk->mm->m, pfn_add(pte_pfn(fmt, e.level, pte), (addr & ~pt_mask(fmt, e.level)) >> PAGE_SHIFT));
    f = page_folio(page);
    *(folio_test_anon(f) ? &st->anon_huge : folio_test_swapbacked(f) ? &st->shmem_huge : &st->file_huge) += next - addr;
    for (; addr < next; addr += PAGE_SIZE)
        account_page(st, walk->vma, page++, pte);
    return 0;
}

static const struct mm_walk_ops smaps_walk_ops = {
    .entry = {NULL, account_pte, account_huge, account_huge, account_huge, account_huge},
};

static void account_vma(struct cpu *cpu, const struct vm_area_struct *vma, struct mem_size_stats *st)
{
    walk_page_range(cpu, vma->vm_mm, vma->vm_start, vma->vm_end, &smaps_walk_ops, st);
}

/* -- text ---------------------------------------------------------------------------------------------------------- */

static void put_kb(struct seq *s, const char *label, u64 bytes)
{
    seq_printf(s, "%-15s %8llu kB\n", label, (unsigned long long)(bytes >> 10));
}

static void put_stats(struct seq *s, const struct mem_size_stats *st, bool rollup)
{
    put_kb(s, "Rss:", st->resident);
    put_kb(s, "Pss:", st->pss >> PSS_SHIFT);
    put_kb(s, "Pss_Dirty:", st->pss_dirty >> PSS_SHIFT);
    if (rollup) {
        put_kb(s, "Pss_Anon:", st->pss_anon >> PSS_SHIFT);
        put_kb(s, "Pss_File:", st->pss_file >> PSS_SHIFT);
        put_kb(s, "Pss_Shmem:", st->pss_shmem >> PSS_SHIFT);
    }
    put_kb(s, "Shared_Clean:", st->shared_clean);
    put_kb(s, "Shared_Dirty:", st->shared_dirty);
    put_kb(s, "Private_Clean:", st->private_clean);
    put_kb(s, "Private_Dirty:", st->private_dirty);
    put_kb(s, "Referenced:", st->referenced);
    put_kb(s, "Anonymous:", st->anonymous);
    put_kb(s, "KSM:", st->ksm);
    put_kb(s, "LazyFree:", st->lazyfree);
    put_kb(s, "AnonHugePages:", st->anon_huge);
    put_kb(s, "ShmemPmdMapped:", st->shmem_huge);
    put_kb(s, "FilePmdMapped:", st->file_huge);
    put_kb(s, "Shared_Hugetlb:", 0);
    seq_printf(s, "Private_Hugetlb: %7u kB\n", 0);
    put_kb(s, "Swap:", st->swap);
    put_kb(s, "SwapPss:", st->swap_pss >> PSS_SHIFT);
    put_kb(s, "Locked:", st->pss_locked >> PSS_SHIFT);
}

/* By bit of vm_flags; "": not shown, NULL: the kernel would print ??. Bits 32 to 35 are the protection key. */
static const char *const flag_name[64] = {
    [0] = "rd",  [1] = "wr",  [2] = "ex",  [3] = "sh",  [4] = "mr",  [5] = "mw",  [6] = "me",  [7] = "ms",
    [8] = "gd",  [9] = "um",  [10] = "pf", [11] = "gu", [12] = "uw", [13] = "lo", [14] = "io", [15] = "sr",
    [16] = "rr", [17] = "dc", [18] = "de", [19] = "lf", [20] = "ac", [21] = "nr", [22] = "ht", [23] = "sf",
    [24] = "ar", [25] = "wf", [26] = "dd", [27] = "",   [28] = "mm", [29] = "hg", [30] = "nh", [31] = "mg",
    [32] = "",   [33] = "",   [34] = "",   [35] = "",   [37] = "ss", [40] = "dp", [41] = "ui", [63] = "sl",
};

const char *proc_flag_name(u32 bit)
{
    return flag_name[bit] ? flag_name[bit] : "??";
}

static void put_flags(struct seq *s, vm_flags_t flags)
{
    seq_puts(s, "VmFlags: ");
    for (u32 bit = 0; bit < 64; bit++) {
        const char *name = proc_flag_name(bit);

        if (!(flags >> bit & 1) || !*name)
            continue;
        seq_puts(s, name);
        seq_putc(s, ' ');
    }
    seq_putc(s, '\n');
}

static void put_vma(struct cpu *cpu, struct seq *s, const struct vm_area_struct *vma)
{
    struct mem_size_stats st = {0};

    account_vma(cpu, vma, &st);
    proc_map_line(cpu, s, vma);
    put_kb(s, "Size:", vma->vm_end - vma->vm_start);
    put_kb(s, "KernelPageSize:", vma_pagesize(vma));
    put_kb(s, "MMUPageSize:", vma_pagesize(vma));
    put_stats(s, &st, false);
    seq_printf(s, "THPeligible:    %8u\n", 0); /* no mapping is yet: huge pages are for a later floor */
    if (vma->vm_mm->m->config.pkeys)
        seq_printf(s, "ProtectionKey:  %8u\n", (u32)(vma->vm_flags >> VM_PKEY_SHIFT & 15));
    put_flags(s, vma->vm_flags);
}

int proc_pid_smaps(struct cpu *cpu, struct task *task, const struct proc_sink *sink)
{
    return proc_each_vma(cpu, task, sink, put_vma);
}

int proc_pid_smaps_rollup(struct cpu *cpu, struct task *task, const struct proc_sink *sink)
{
    struct mm *mm = task->mm;
    struct mem_size_stats st = {0};
    struct vm_area_struct *vma;
    va_t start, end = 0;
    struct seq s;

    seq_open(&s, sink);
    down_read(cpu, &mm->mmap_lock);
    start = vma_first(mm) ? vma_first(mm)->vm_start : 0;
    for_each_shown_vma (vma, mm) {
        account_vma(cpu, vma, &st);
        end = vma->vm_end;
    }
    up_read(cpu, &mm->mmap_lock);
    seq_begin_line(&s);
    seq_printf(&s, "%08llx-%08llx ---p 00000000 00:00 0 ", (unsigned long long)start, (unsigned long long)end);
    seq_pad(&s, 72);
    seq_puts(&s, "[rollup]\n");
    put_stats(&s, &st, true);
    return seq_close(&s);
}
