/* SPDX-License-Identifier: MIT */
/*
 * Where a mapping goes when the program leaves it to the kernel, and the layout that decides it.
 *
 *     0      brk ▶                                  ◀ mmap_base │ gap: stack's limit, at least 128M │ stack │ task_size
 *     ├───────┼───────────────────────────────────────┤          at most 5/6 of the address space
 *               bottom-up ▶ from mmap_legacy_base = task_size / 3       (legacy_va_layout)
 *
 * top-down    the highest hole below mmap_base; if there is none, bottom-up.
 * hint        an address without MAP_FIXED: taken if the range is free, else ignored.
 * guard gap   a stack (VM_GROWSDOWN) keeps stack_guard_gap pages below it free from others, and new mappings keep away.
 * large       with 5 levels, addresses above 47 bits are given only to those who name such an address as a hint.
 *
 * Sizes of task and default window come from the format. The guard gap is no part of the index's gaps: a hole that
 * touches it is looked at again with the limit moved, which happens once for each stack.
 * Follows mmap(2) and Documentation/arch/x86/x86_64/mm.rst, 5level-paging.rst.
 */
#include "vm/vma_priv.h"

#include "base/errno.h"

#define MIB(n) ((u64)(n) << 20)
#define GIB(n) ((u64)(n) << 30)
#define GAP_MIN MIB(128)

/* End of what is handed out without being asked for more. */
static va_t default_map_window(const struct mm *mm)
{
    return MIN(mm->task_size, (va_t)1 << 47);
}

static bool is_64bit(const struct mm *mm)
{
    return mm->task_size > GIB(4);
}

static u64 mmap_rnd(const struct mm *mm, u64 random)
{
    return (random & (BIT(is_64bit(mm) ? 28 : 8) - 1)) << PAGE_SHIFT;
}

void arch_pick_mmap_layout(struct mm *mm, u64 stack_rlimit, u64 random)
{
    const struct machine_config *c = &mm->m->config;
    u64 gap = stack_rlimit, window, rnd = mmap_rnd(mm, random);
    u64 pad = (u64)c->stack_guard_gap << PAGE_SHIFT;

    mm->task_size = pt_task_size(pt_format_of(mm->m));
    window = default_map_window(mm);
    rnd = mmap_rnd(mm, random);
    if (c->randomize_va_space)
        pad += is_64bit(mm) ? GIB(16) - PAGE_SIZE : MIB(8); /* what the stack's own randomisation may take */
    if (gap + pad > gap)
        gap += pad;
    gap = MAX(gap, GAP_MIN);
    gap = MIN(gap, window / 6 * 5);
    mm->mmap_base = ALIGN_DOWN(ALIGN_DOWN(window, PAGE_SIZE) - gap - rnd, PAGE_SIZE);
    mm->mmap_legacy_base = ALIGN_UP(window / 3, PAGE_SIZE) + rnd;
    mm->topdown = !c->legacy_va_layout;
    if (!mm->topdown)
        mm->mmap_base = mm->mmap_legacy_base;
}

va_t vm_start_gap(const struct vm_area_struct *vma)
{
    u64 gap = (u64)vma->vm_mm->m->config.stack_guard_gap << PAGE_SHIFT;

    if (likely(!(vma->vm_flags & VM_GROWSDOWN)))
        return vma->vm_start;
    return vma->vm_start > gap ? vma->vm_start - gap : 0;
}

static s64 area_bottom_up(struct mm *mm, va_t low, va_t high, u64 len)
{
    va_t addr;

    while (vma_index_gap_lowest(&mm->vmas, low, high, len, &addr)) {
        struct vm_area_struct *next = vma_index_find(&mm->vmas, addr);

        if (!next || addr + len <= vm_start_gap(next))
            return (s64)addr;
        low = next->vm_end;
    }
    return -ENOMEM;
}

static s64 area_top_down(struct mm *mm, va_t low, va_t high, u64 len)
{
    va_t addr;

    while (vma_index_gap_highest(&mm->vmas, low, high, len, &addr)) {
        struct vm_area_struct *next = vma_index_find(&mm->vmas, addr);

        if (!next || addr + len <= vm_start_gap(next))
            return (s64)addr;
        high = vm_start_gap(next);
    }
    return -ENOMEM;
}

static bool hint_is_free(struct mm *mm, va_t addr, u64 len, va_t end)
{
    struct vm_area_struct *next;

    if (end < len || addr > end - len)
        return false;
    next = vma_index_find(&mm->vmas, addr);
    return !next || addr + len <= vm_start_gap(next);
}

static s64 choose_area(struct mm *mm, va_t addr, u64 len, u32 map_flags)
{
    va_t window = default_map_window(mm), extra = addr > window ? mm->task_size - window : 0;
    bool low_2g = (map_flags & MAP_32BIT_) && is_64bit(mm);
    va_t end = low_2g ? GIB(2) : window + extra;
    s64 found;

    addr &= PAGE_MASK;
    if (addr && hint_is_free(mm, addr, len, end))
        return (s64)addr;
    if (low_2g)
        return area_bottom_up(mm, GIB(1), end, len);
    if (!mm->topdown)
        return area_bottom_up(mm, mm->mmap_legacy_base, end, len);
    found = area_top_down(mm, PAGE_SIZE, mm->mmap_base + extra, len);
    return found >= 0 ? found : area_bottom_up(mm, mm->mmap_legacy_base, end, len);
}

/* An address for `len` bytes (page aligned, > 0),
 * or with MAP_FIXED the one given if it is possible; else a negative errno. */
s64 get_unmapped_area(struct cpu *cpu, struct mm *mm, struct file *file, va_t addr, u64 len, pgoff_t pgoff,
                      u32 map_flags)
{
    s64 found = (s64)addr;

    if (len > mm->task_size)
        return -ENOMEM;
    if (!(map_flags & MAP_FIXED_))
        found = choose_area(mm, addr, len, map_flags);
    if (IS_ERR_VALUE(found))
        return found;
    if ((va_t)found > mm->task_size - len)
        return -ENOMEM;
    if ((va_t)found & ~PAGE_MASK)
        return -EINVAL;
    if ((va_t)found < mm->m->config.mmap_min_addr)
        return -EPERM;
    return found;
}
