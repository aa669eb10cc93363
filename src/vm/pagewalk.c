/* SPDX-License-Identifier: MIT */
/*
 * Walking a range of an address space, and the page behind one address.
 *
 *   walk_page_range(start, end)      the range is cut where VMAs begin and end
 *
 *     start          VMA             VMA       end
 *       │  hole  ┌─────────┐  hole ┌─────┐ hole │
 *       ├────────┤ tables  ├───────┤ ... ├──────┤
 *       hole(level 0)    │
 *                        ├─ level n entry empty: hole(level n)
 *                        ├─ entry[n] for every other entry at its level, tables and huge leaves, from the top down
 *                        └─ entry[1] for every entry of a level-1 table, empty ones too, with the table's lock held
 *
 * W1  The mmap_lock is held by the caller, so no table disappears; levels 2 and above are read without a lock: a
 *     callback that needs the entry to stay takes pt_lockptr() and looks again.
 * W2  A huge leaf is shown to its level's callback and not descended into: it is not split here.
 * W3  A callback may put a table where none was, or take a huge leaf apart: it sets walk->again, and the entry is read
 *     and shown anew. Without walk->again, an entry that is a table after the callback is descended into.
 *
 * follow_page() answers what get_user_pages() asks of the tables; it never faults. vm_normal_page() says which entries
 * have a struct page that is counted: not the special ones (VM_PFNMAP, VM_MIXEDMAP's raw frames) and not the zero page.
 *
 * Follows: Linux's mm_walk_ops contract (include/linux/pagewalk.h documents it), get_user_pages in
 * Documentation/core-api/pin_user_pages.rst.
 */
#include "base/errno.h"
#include "phys/lru.h"
#include "vm/pgtable.h"
#include "vm/vma_priv.h"

/* -- walk_page_range ----------------------------------------------------------------------------------------------- */

struct walk {
    struct mm_walk walk;
    const struct mm_walk_ops *ops;
    fmt_t f;
};

static int walk_hole(struct walk *w, va_t addr, va_t end, u32 level)
{
    return w->ops->hole ? w->ops->hole(addr, end, level, &w->walk) : 0;
}

/* entry[level] until it does not ask to look again. */
static int walk_entry(struct walk *w, struct pt_entry e, va_t addr, va_t next)
{
    int err;

    do {
        w->walk.again = false;
        err = w->ops->entry[e.level](e, addr, next, &w->walk);
    } while (!err && w->walk.again);
    return err;
}

static int walk_ptes(struct walk *w, struct pt_table t, va_t addr, va_t end)
{
    struct pt_entry e = pt_entry_at(w->f, t, addr);
    spinlock_t *ptl;
    int err = 0;

    if (!w->ops->entry[1])
        return 0;
    ptl = pt_lockptr(w->walk.mm, e);
    spin_lock(w->walk.cpu, ptl);
    for (; addr != end && !err; addr += PAGE_SIZE, e = pt_entry_next(w->f, e, 1))
        err = walk_entry(w, e, addr, addr + PAGE_SIZE);
    spin_unlock(w->walk.cpu, ptl);
    return err;
}

static int walk_table(struct walk *w, struct pt_table t, va_t addr, va_t end);

/* One entry above level 1. [addr, next) lies in it. */
static int walk_upper(struct walk *w, struct pt_entry e, va_t addr, va_t next)
{
    pte_t p;
    int err;

    do {
        w->walk.again = false;
        p = pt_read(w->f, e);
        if (pte_none(w->f, p)) {
            err = walk_hole(w, addr, next, e.level);
            if (err || !w->walk.again)
                return err;
            continue;
        }
        if (w->ops->entry[e.level]) {
            err = w->ops->entry[e.level](e, addr, next, &w->walk);
            if (err)
                return err;
        }
    } while (w->walk.again);
    p = pt_read(w->f, e);
    return pte_table(w->f, e.level, p) ? walk_table(w, pt_table_of(w->walk.mm->m, w->f, p, e.level), addr, next) : 0;
}

static int walk_table(struct walk *w, struct pt_table t, va_t addr, va_t end)
{
    va_t next;
    int err;

    if (t.level == 1)
        return walk_ptes(w, t, addr, end);
    for (; addr != end; addr = next) {
        next = pt_addr_end(w->f, t.level, addr, end);
        err = walk_upper(w, pt_entry_at(w->f, t, addr), addr, next);
        if (err)
            return err;
    }
    return 0;
}

/* A range within one VMA, from the topmost table: PAE's pointers have their callback, too. */
static int walk_vma(struct walk *w, va_t addr, va_t end)
{
    const struct mm_walk_ops *ops = w->ops;
    int err = 0;

    if (ops->test_walk) {
        err = ops->test_walk(addr, end, &w->walk);
        if (err)
            return err > 0 ? 0 : err;
    }
    if (ops->pre_vma)
        err = ops->pre_vma(addr, end, &w->walk);
    if (err)
        return err;
    err = walk_table(w, pt_top_table(w->walk.mm->m, w->f, &w->walk.mm->pt, addr), addr, end);
    if (ops->post_vma)
        ops->post_vma(&w->walk);
    return err;
}

int walk_page_range(struct cpu *cpu, struct mm *mm, va_t start, va_t end, const struct mm_walk_ops *ops, void *private)
{
    struct walk w = {.walk = {.cpu = cpu, .mm = mm, .private = private}, .ops = ops, .f = pt_format_of(mm->m)};
    struct vm_area_struct *vma;
    int err = 0;
    va_t next;

    if (start >= end)
        return -EINVAL;
    DEBUG_ASSERT(rwsem_is_locked(&mm->mmap_lock));
    vma = find_vma(cpu, mm, start);
    for (; start < end && !err; start = next) {
        if (!vma || start < vma->vm_start) {
            next = vma ? MIN(end, vma->vm_start) : end;
            w.walk.vma = NULL;
            err = walk_hole(&w, start, next, 0);
            continue;
        }
        w.walk.vma = vma;
        next = MIN(end, vma->vm_end);
        vma = vma_next(vma);
        err = walk_vma(&w, start, next);
    }
    return err;
}

/* -- the page behind an entry -------------------------------------------------------------------------------------- */

static struct page *normal_page(fmt_t f, const struct machine *m, va_t addr, u32 level, pte_t pte)
{
    struct page *page;

    if (unlikely(pte_special(f, pte)))
        return NULL;
    page = pfn_to_page(m, pte_pfn(f, level, pte));
    if (level > 1)
        page += (addr & (pt_size(f, level) - 1)) >> PAGE_SHIFT;
    return page == m->vm->zero_page ? NULL : page;
}

struct page *vm_normal_page(const struct vm_area_struct *vma, va_t addr, pte_t pte)
{
    const struct machine *m = vma->vm_mm->m;

    return pte_normal_page(pt_format_of(m), m, pte);
}

/* Nothing there. A core dump wants to know that no fault would bring anything but zeroes. */
static struct page *no_page(struct cpu *cpu, const struct vm_area_struct *vma, u32 flags)
{
    if ((flags & FOLL_DUMP) && (vma_is_anonymous(vma) || !vma_ops(cpu, vma)->fault))
        return ERR_PTR(-EFAULT);
    return NULL;
}

/*
 * A write through an entry without write permission: only to force (a debugger's breakpoint) into a private mapping
 * that could be made writable, and only into the process's own copy, never into a shared page.
 */
static bool can_follow_write(fmt_t f, pte_t p, const struct page *page, const struct vm_area_struct *vma, u32 flags)
{
    if (pte_write(f, p))
        return true;
    if (!(flags & FOLL_FORCE) || (vma->vm_flags & (VM_MAYSHARE | VM_SHARED)))
        return false;
    if (!(vma->vm_flags & VM_MAYWRITE) || (vma->vm_flags & VM_WRITE))
        return false; /* writable VMA: the fault handler can give the permission */
    return page && PageAnon(page) && PageAnonExclusive(page);
}

/* A present leaf; its lock is held. */
static struct page *follow_leaf(struct cpu *cpu, struct vm_area_struct *vma, va_t addr, struct pt_entry e, pte_t p,
                                u32 flags)
{
    fmt_t f = pt_format_of(cpu->m);
    struct page *page = normal_page(f, cpu->m, addr, e.level, p);

    if ((flags & FOLL_HONOR_NUMA_FAULT) && pte_protnone(f, p) && (vma->vm_flags & VM_ACCESS_FLAGS))
        return NULL;
    if ((flags & FOLL_WRITE) && !can_follow_write(f, p, page, vma, flags))
        return NULL;
    if (!page) {
        if (flags & FOLL_DUMP)
            return ERR_PTR(-EFAULT); /* zeroes need not be dumped */
        page = pfn_to_page(cpu->m, pte_pfn(f, e.level, p));
        if (page != cpu->m->vm->zero_page)
            return ERR_PTR(flags & (FOLL_GET | FOLL_PIN) ? -EFAULT
                                                         : -EEXIST); /* a frame without a page that could be counted */
    }
    if (gup_must_unshare(vma, flags, page))
        return ERR_PTR(-EMLINK);
    folio_grab_for_gup(cpu, page_folio(page), flags);
    if (flags & FOLL_TOUCH) {
        if ((flags & FOLL_WRITE) && !pte_dirty(f, p) && !folio_test_dirty(page_folio(page)))
            folio_mark_dirty(cpu, page_folio(page));
        folio_mark_accessed(cpu, page_folio(page));
    }
    return page;
}

struct page *follow_page(struct cpu *cpu, struct vm_area_struct *vma, va_t addr, u32 foll_flags)
{
    struct mm *mm = vma->vm_mm;
    fmt_t f = pt_format_of(mm->m);
    struct page *page;
    spinlock_t *ptl;
    struct pt_entry e;
    pte_t p;

    do {
        e = pt_find_entry(mm, addr, 1);
        if (!e.slot)
            return no_page(cpu, vma, foll_flags);
        ptl = pt_lockptr(mm, e);
        spin_lock(cpu, ptl);
        p = pt_read(f, e);
        if (!pte_table(f, e.level, p))
            break;
        spin_unlock(cpu, ptl); /* a table came in before the lock was ours */
    } while (true);
    page = pte_present(f, p) ? follow_leaf(cpu, vma, addr, e, p, foll_flags) : no_page(cpu, vma, foll_flags);
    spin_unlock(cpu, ptl);
    return page;
}

int follow_pte(struct cpu *cpu, struct mm *mm, va_t addr, struct pt_entry *e, spinlock_t **ptl)
{
    struct pt_entry found = pte_offset_map_lock(cpu, mm, addr, ptl);

    if (!found.slot)
        return -EINVAL;
    if (!pte_present(pt_format_of(mm->m), pt_read(pt_format_of(mm->m), found))) {
        pte_unmap_unlock(cpu, *ptl);
        return -EINVAL;
    }
    *e = found;
    return 0;
}
