/* SPDX-License-Identifier: MIT */
/*
 * Where a mapping goes when the program leaves it to the kernel. layout.c lays down the bases.
 *
 * top-down    the highest hole below mmap_base; if there is none, bottom-up.
 * bottom-up   the lowest hole from mmap_legacy_base (legacy layout); x86's MAP_32BIT: from 1 GiB to 2 GiB.
 * hint        an address without MAP_FIXED: taken if the range is free, else ignored.
 * guard gap   a stack (VM_GROWSDOWN) keeps stack_guard_gap pages below it free from others, and new mappings keep away.
 * large       with 5 levels, addresses above 47 bits are given only to those who name such an address as a hint.
 * huge        mappings that huge pages could serve lie so that they can: a hole larger by one huge page is looked for,
 *             and the place in it where address and offset agree. Private anonymous memory of whole huge pages without
 *             a hint (6.7), and files on disk, even with one: there a hint counts only if the larger hole begins there.
 *             Not with 32 bits. Whether huge pages are switched on plays no role.
 *
 * hugetlb     whole huge pages, at an address that is a multiple of them: in a hole that is larger by one less a page.
 *
 * The guard gap is no part of the index's gaps: a hole that touches it is looked at again with the limit moved, which
 * happens once for each stack.
 * Follows mmap(2) and Documentation/arch/x86/x86_64/mm.rst, 5level-paging.rst; the huge rule is what 6.18 was seen to do.
 */
#include "vm/fork.h"
#include "vm/vma_priv.h"

#include "base/errno.h"

#define MIB(n) ((u64)(n) << 20)
#define GIB(n) ((u64)(n) << 30)

static bool is_x86_64(const struct mm *mm)
{
    return mm->m->config.pt_format == PT_X86_64_4L || mm->m->config.pt_format == PT_X86_64_5L;
}

va_t vm_start_gap(const struct vm_area_struct *vma)
{
    u64 gap = (u64)vma->vm_mm->m->config.stack_guard_gap << PAGE_SHIFT;

    if (likely(!(vma->vm_flags & VM_GROWSDOWN)))
        return vma->vm_start;
    return vma->vm_start > gap ? vma->vm_start - gap : 0;
}

/* A stack above keeps its distance from all of the hole, as it was searched for. */
static s64 area_bottom_up(struct mm *mm, va_t low, va_t high, u64 len, u64 align)
{
    u64 room = len + align - PAGE_SIZE;
    struct vma_gap g;

    while (vma_index_gap_lowest(&mm->vmas, low, high, room, &g)) {
        va_t addr = ALIGN_UP(g.addr, align);

        if (!g.next || !(g.next->vm_flags & VM_GROWSDOWN) || addr + room <= vm_start_gap(g.next))
            return (s64)addr;
        low = g.next->vm_end;
    }
    return -ENOMEM;
}

static s64 area_top_down(struct mm *mm, va_t low, va_t high, u64 len, u64 align)
{
    u64 room = len + align - PAGE_SIZE;
    struct vma_gap g;

    while (vma_index_gap_highest(&mm->vmas, low, high, room, &g)) {
        if (!g.next || g.addr + room <= vm_start_gap(g.next))
            return (s64)ALIGN_DOWN(g.addr + room - len, align);
        high = vm_start_gap(g.next);
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

static s64 choose_area(struct mm *mm, va_t addr, u64 len, u32 map_flags, u64 align)
{
    va_t window = default_map_window(mm), extra = addr > window ? mm->task_size - window : 0;
    bool low_2g = (map_flags & MAP_32BIT_) && is_x86_64(mm);
    va_t end = low_2g ? GIB(2) : window + extra;
    va_t low = (map_flags & MAP_ABOVE4G_) && is_x86_64(mm) ? GIB(4) : PAGE_SIZE;
    s64 found;

    addr = mm->topdown && !low_2g ? addr & PAGE_MASK : ALIGN_UP(addr, PAGE_SIZE);
    if (addr && hint_is_free(mm, addr, len, end))
        return (s64)addr;
    if (low_2g)
        return area_bottom_up(mm, GIB(1) + (mm_random_next(mm) & (MIB(32) - 1) & PAGE_MASK), end, len, align);
    if (!mm->topdown)
        return area_bottom_up(mm, mm->mmap_legacy_base, end, len, align);
    found = area_top_down(mm, low, mm->mmap_base + extra, len, align);
    return found >= 0 ? found : area_bottom_up(mm, mm->mmap_legacy_base, end, len, align);
}

/* Where huge pages of `size` fit; 0: there is no such place, or none is needed. */
static s64 choose_huge_area(struct mm *mm, va_t addr, u64 len, u64 offset, u32 map_flags)
{
    const struct pt_format *fmt = pt_format_of(mm->m);
    u64 size = (u64)1 << fmt->shift[2], larger = len + size, end = offset + len, first = ALIGN_UP(offset, size);
    s64 found;

    /* File offsets are signed: near the end of the largest file `first` is negative, and the rest looks like room. */
    if ((s64)end <= (s64)first || end - first < size || larger < len || offset + larger < offset)
        return 0;
    found = choose_area(mm, addr, larger, map_flags, PAGE_SIZE);
    if (IS_ERR_VALUE(found))
        return 0;
    if (addr && (va_t)found == addr)
        return found;
    offset = (offset - (va_t)found) & (size - 1);
    return found + (s64)(!offset && mm->topdown ? size : offset);
}

static bool wants_huge_alignment(const struct mm *mm, const struct file *file, va_t addr, u64 len, u32 map_flags)
{
    if (!is_64bit(mm))
        return false;
    if (file)
        return file->f_mapping && file->f_mapping->a_ops == A_OPS_DISK;
    return !addr && (map_flags & MAP_TYPE_) != MAP_SHARED_ && IS_ALIGNED(len, (u64)1 << pt_format_of(mm->m)->shift[2]);
}

/* An address for `len` bytes (page aligned, > 0),
 * or with MAP_FIXED the one given if it is possible; else a negative errno. */
s64 get_unmapped_area(struct cpu *cpu, struct mm *mm, struct file *file, va_t addr, u64 len, pgoff_t pgoff,
                      u32 map_flags)
{
    u64 offset = file ? pgoff.nr << PAGE_SHIFT : 0;
    u64 align = file && (file->f_inode->i_flags & INODE_HUGETLB) ? (u64)1 << file->f_inode->i_huge_shift : PAGE_SIZE;
    s64 found = (map_flags & MAP_FIXED_) ? (s64)addr : 0;

    if (len > mm->task_size)
        return -ENOMEM;
    if (align > PAGE_SIZE && (!IS_ALIGNED(len, align) || ((map_flags & MAP_FIXED_) && !IS_ALIGNED(addr, align))))
        return -EINVAL;
    if (!(map_flags & MAP_FIXED_) && wants_huge_alignment(mm, file, addr, len, map_flags))
        found = choose_huge_area(mm, addr, len, offset, map_flags);
    if (!(map_flags & MAP_FIXED_) && !found)
        found = choose_area(mm, align > PAGE_SIZE ? ALIGN_UP(addr, align) : addr, len, map_flags, align);
    if (IS_ERR_VALUE(found))
        return found;
    if ((va_t)found > mm->task_size - len)
        return -ENOMEM;
    if ((va_t)found & ~PAGE_MASK)
        return -EINVAL;
    if ((va_t)found < mm->m->config.mmap_min_addr && !(cpu->current && task_capable(cpu->current, CAP_SYS_RAWIO_)))
        return -EPERM;
    return found;
}
