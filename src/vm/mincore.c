/* SPDX-License-Identifier: MIT */
/*
 * mincore(2): a byte for each page, 1 if an access would not have to wait for a device.
 *
 *   entry maps a page                      1
 *   nothing there, a file or shared memory is the page in its cache, up to date?
 *   nothing there, anonymous               0        guards and poison count as nothing
 *
 * Who neither owns a file nor may write to it learns nothing about the cache that others share: all ones.
 * A warm page cache (config.page_cache_warm) has every page that the file has.
 * Locks. mmap_lock for reading, for one chunk at a time: the vector is written without it.
 * Follows mincore(2), 6.18.
 */
#include "vm/vma_priv.h"

#include "base/errno.h"

struct mincore_walk {
    u8 *vec;
    va_t start; /* of vec[0] */
};

static bool mapping_has_page(const struct machine *m, struct address_space *mapping, u64 index)
{
    struct folio *f = xa_load(&mapping->i_pages, index);

    if (f && !xa_is_value(f))
        return folio_test_uptodate(f);
    return m->config.page_cache_warm && mapping->a_ops == A_OPS_DISK &&
           index < DIV_ROUND_UP(READ_ONCE(mapping->host->i_size), PAGE_SIZE);
}

static int unmapped_range(va_t addr, va_t next, u32 level, struct mm_walk *walk)
{
    struct mincore_walk *w = walk->private;
    const struct vm_area_struct *vma = walk->vma;

    for (; addr < next; addr += PAGE_SIZE)
        w->vec[(addr - w->start) >> PAGE_SHIFT] =
            vma->vm_file && vma->vm_file->f_mapping &&
            mapping_has_page(walk->mm->m, vma->vm_file->f_mapping, linear_page_index(vma, addr).nr);
    return 0;
}

static int mincore_pte(struct pt_entry e, va_t addr, va_t next, struct mm_walk *walk)
{
    struct mincore_walk *w = walk->private;
    fmt_t fmt = pt_format_of(walk->mm->m);

    if (!pte_present(fmt, pt_read(fmt, e)))
        return unmapped_range(addr, next, 1, walk);
    w->vec[(addr - w->start) >> PAGE_SHIFT] = 1;
    return 0;
}

static bool can_do_mincore(const struct vm_area_struct *vma)
{
    if (vma_is_anonymous(vma))
        return true;
    return vma->vm_file && !(vma->vm_file->f_mode & FMODE_FOREIGN);
}

/* Of one VMA: the pages done. */
static s64 mincore_vma(struct cpu *cpu, struct mm *mm, va_t addr, u64 nr, u8 *vec)
{
    static const struct mm_walk_ops ops = {.entry = {[1] = mincore_pte}, .hole = unmapped_range};
    struct vm_area_struct *vma = vma_lookup(cpu, mm, addr);
    struct mincore_walk w = {.vec = vec, .start = addr};
    va_t end;

    if (!vma)
        return -ENOMEM;
    end = MIN(vma->vm_end, addr + (nr << PAGE_SHIFT));
    nr = (end - addr) >> PAGE_SHIFT;
    if (!can_do_mincore(vma))
        memset(vec, 1, nr);
    else
        walk_page_range(cpu, mm, addr, end, &ops, &w);
    return (s64)nr;
}

s64 mincore_pages(struct cpu *cpu, struct mm *mm, va_t addr, u64 nr, u8 *vec)
{
    s64 done;

    down_read(cpu, &mm->mmap_lock);
    done = mincore_vma(cpu, mm, addr, nr, vec);
    up_read(cpu, &mm->mmap_lock);
    return done;
}
