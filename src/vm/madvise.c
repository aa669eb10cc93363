/* SPDX-License-Identifier: MIT */
/*
 * madvise(2): arguments, the walk over the range's VMAs, and the advice that changes their flags. A table says for each
 * advice what is done to a VMA and under which lock; the pages' part is in madvise_pages.c, guard.c, memory_failure.c.
 *
 * Order of the checks (6.18): the advice exists ─▶ start is aligned ─▶ the length does not wrap ─▶ length 0 is done ─▶
 * capability (HWPOISON, SOFT_OFFLINE) ─▶ VMA by VMA: sealed against it (-EPERM), refused (-EINVAL, -EACCES), done.
 * Holes in the range: the mapped parts are advised, the result is -ENOMEM. An error in a VMA ends the walk; what comes
 * before it is done.
 *
 * Without effect yet, and counted so that nothing pretends (quire_no_effect_*): MERGEABLE, HUGEPAGE, COLLAPSE, PAGEOUT.
 * Follows madvise(2), process_madvise(2), mseal(2).
 */
#include "vm/madvise.h"

#include "base/errno.h"
#include "phys/lru.h"
#include "vm/gup.h"
#include "vm/vma_priv.h"

enum advice_action {
    ADVISE_NONE, /* no such advice */
    ADVISE_FLAGS,
    ADVISE_MERGEABLE, /* flags, where the VMA can be merged at all; else nothing */
    ADVISE_PAGES,
    ADVISE_DONTNEED,
    ADVISE_WILLNEED,
    ADVISE_REMOVE,
    ADVISE_POPULATE,
    ADVISE_INJECT,
};

typedef int (*advise_pages_fn)(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end);

struct advice {
    u8 action;           /* enum advice_action */
    bool discards;       /* contents of a sealed VMA would be lost */
    bool anonymous_only; /* -EINVAL for a VMA with a file, or shared */
    u16 counted;         /* enum vm_event_item: calls, for it has no effect yet; 0: it has */
    vm_flags_t clear, set;
    vm_flags_t refused; /* -EINVAL for a VMA that has any of these */
    advise_pages_fn pages;
};

#define FALLOC_PUNCH_HOLE_KEEP_SIZE 3u /* FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE */
#define ADVICE_LOW 26                  /* the advice of 100 and up stands behind */

static const struct advice advices[ADVICE_LOW + 4] = {
    [MADV_NORMAL_] = {.action = ADVISE_FLAGS, .clear = VM_RAND_READ | VM_SEQ_READ},
    [MADV_RANDOM_] = {.action = ADVISE_FLAGS, .clear = VM_SEQ_READ, .set = VM_RAND_READ},
    [MADV_SEQUENTIAL_] = {.action = ADVISE_FLAGS, .clear = VM_RAND_READ, .set = VM_SEQ_READ},
    [MADV_WILLNEED_] = {.action = ADVISE_WILLNEED},
    [MADV_DONTNEED_] = {.action = ADVISE_DONTNEED, .discards = true, .refused = VM_LOCKED | VM_PFNMAP},
    [MADV_FREE_] = {.action = ADVISE_PAGES, .discards = true, .pages = madvise_free_vma},
    [MADV_REMOVE_] = {.action = ADVISE_REMOVE, .discards = true, .refused = VM_LOCKED},
    [MADV_DONTFORK_] = {.action = ADVISE_FLAGS, .discards = true, .set = VM_DONTCOPY},
    [MADV_DOFORK_] = {.action = ADVISE_FLAGS, .clear = VM_DONTCOPY, .refused = VM_IO},
    [MADV_MERGEABLE_] = {.action = ADVISE_MERGEABLE, .set = VM_MERGEABLE, .counted = Q_NO_EFFECT_MERGEABLE},
    [MADV_UNMERGEABLE_] = {.action = ADVISE_FLAGS, .clear = VM_MERGEABLE},
    [MADV_HUGEPAGE_] = {.action = ADVISE_FLAGS,
                        .clear = VM_NOHUGEPAGE,
                        .set = VM_HUGEPAGE,
                        .counted = Q_NO_EFFECT_HUGEPAGE},
    [MADV_NOHUGEPAGE_] = {.action = ADVISE_FLAGS, .clear = VM_HUGEPAGE, .set = VM_NOHUGEPAGE},
    [MADV_DONTDUMP_] = {.action = ADVISE_FLAGS, .set = VM_DONTDUMP},
    [MADV_DODUMP_] = {.action = ADVISE_FLAGS, .clear = VM_DONTDUMP, .refused = VM_SPECIAL | VM_DROPPABLE},
    [MADV_WIPEONFORK_] = {.action = ADVISE_FLAGS, .discards = true, .anonymous_only = true, .set = VM_WIPEONFORK},
    [MADV_KEEPONFORK_] = {.action = ADVISE_FLAGS, .clear = VM_WIPEONFORK, .refused = VM_DROPPABLE},
    [MADV_COLD_] = {.action = ADVISE_PAGES, .pages = madvise_cold_vma},
    [MADV_PAGEOUT_] = {.action = ADVISE_PAGES, .pages = madvise_pageout_vma},
    [MADV_POPULATE_READ_] = {.action = ADVISE_POPULATE},
    [MADV_POPULATE_WRITE_] = {.action = ADVISE_POPULATE},
    [MADV_DONTNEED_LOCKED_] = {.action = ADVISE_DONTNEED, .discards = true, .refused = VM_PFNMAP},
    [MADV_COLLAPSE_] = {.action = ADVISE_PAGES, .pages = madvise_collapse_vma, .counted = Q_NO_EFFECT_COLLAPSE},
    [ADVICE_LOW + MADV_HWPOISON_ - 100] = {.action = ADVISE_INJECT},
    [ADVICE_LOW + MADV_SOFT_OFFLINE_ - 100] = {.action = ADVISE_INJECT},
    [ADVICE_LOW + MADV_GUARD_INSTALL_ -
        100] = {.action = ADVISE_PAGES, .discards = true, .pages = madvise_guard_install},
    [ADVICE_LOW + MADV_GUARD_REMOVE_ - 100] = {.action = ADVISE_PAGES, .pages = madvise_guard_remove},
};

/* NULL: this machine's kernel has no such advice. */
static const struct advice *advice_find(const struct machine *m, int behavior)
{
    u32 n = (u32)behavior;

    n = n >= 100 ? n - 100 + ADVICE_LOW : n < ADVICE_LOW ? n : ARRAY_SIZE(advices);
    if (n >= ARRAY_SIZE(advices) || advices[n].action == ADVISE_NONE)
        return NULL;
    return advices[n].action == ADVISE_INJECT && !m->config.memory_failure ? NULL : &advices[n];
}

bool process_madvise_remote_valid(int behavior)
{
    return behavior == MADV_COLD_ || behavior == MADV_PAGEOUT_ || behavior == MADV_WILLNEED_ ||
           behavior == MADV_COLLAPSE_;
}

struct advise_call {
    const struct advice *a;
    bool taken; /* by a VMA at least */
};

/* -- one VMA ------------------------------------------------------------------------------------------------------- */

/* [start, end) lies in *vma, which becomes the VMA that covers it afterwards. */
static int advise_flags(struct cpu *cpu, struct advise_call *c, struct vm_area_struct **vma, va_t start, va_t end)
{
    vm_flags_t flags = ((*vma)->vm_flags & ~c->a->clear) | c->a->set;
    struct vm_area_struct *modified;

    c->taken = true;
    if (flags == (*vma)->vm_flags)
        return 0;
    modified = vma_modify(cpu, *vma, start, end, flags);
    if (IS_ERR(modified))
        return PTR_ERR(modified) == -ENOMEM ? -EAGAIN : PTR_ERR(modified);
    modified->vm_flags = flags | (modified->vm_flags & VM_STICKY);
    *vma = modified;
    return 0;
}

/* Pages of a file that are not there yet are read. Swap: with that row; what has been read in goes to its lists. */
static void advise_willneed(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end)
{
    const struct address_space *mapping = vma->vm_file ? vma->vm_file->f_mapping : NULL;

    if (!vma->vm_file || (mapping && mapping->a_ops == A_OPS_SHMEM))
        lru_add_drain(cpu);
    else if (mapping && mapping->a_ops == A_OPS_DISK)
        cpu->code->readahead(cpu, vma->vm_file, linear_page_index(vma, start).nr, (end - start) >> PAGE_SHIFT);
}

/* A hole in the object behind the range. The lock is dropped meanwhile: *vma is NULL afterwards. */
static int advise_remove(struct cpu *cpu, struct vm_area_struct **vma, va_t start, va_t end) NO_LOCK_ANALYSIS
{
    const vm_flags_t writable = VM_SHARED | VM_MAYWRITE;
    struct mm *mm = (*vma)->vm_mm;
    struct file *file = (*vma)->vm_file;
    s64 offset = (s64)(linear_page_index(*vma, start).nr << PAGE_SHIFT);
    s64 err;

    if (!file || !file->f_mapping)
        return -EINVAL;
    if (((*vma)->vm_flags & writable) != writable)
        return -EACCES;
    *vma = NULL;
    get_file(file);
    up_read(cpu, &mm->mmap_lock);
    err = cpu->code->fallocate(cpu, file, FALLOC_PUNCH_HOLE_KEEP_SIZE, offset, (s64)(end - start));
    cpu->code->fput(cpu, file);
    down_read(cpu, &mm->mmap_lock);
    return (int)err;
}

/* VM_SPECIAL does not mean huge pages, which have VM_DONTEXPAND. */
static bool refuses(const struct advice *a, const struct vm_area_struct *vma)
{
    vm_flags_t refused = a->refused & ~(vma->vm_flags & VM_HUGETLB ? VM_SPECIAL : VM_NONE);

    return (vma->vm_flags & refused) || (a->anonymous_only && (vma->vm_file || (vma->vm_flags & VM_SHARED)));
}

/* Whole huge pages: what is not one stays. */
static int advise_dontneed(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end)
{
    if (!IS_ALIGNED(start, vma_pagesize(vma)))
        return -EINVAL;
    end = ALIGN_DOWN(end, vma_pagesize(vma));
    if (start < end)
        zap_page_range(cpu, vma, start, end);
    return 0;
}

static int advise_vma(struct cpu *cpu, struct advise_call *c, struct vm_area_struct **vma, va_t start, va_t end)
{
    const struct advice *a = c->a;
    int err;

    if (a->discards && !can_discard_vma(*vma))
        return -EPERM;
    if (refuses(a, *vma))
        return -EINVAL;
    switch (a->action) {
    case ADVISE_MERGEABLE:
        if (!ksm_compatible((*vma)->vm_flags))
            return 0;
        return advise_flags(cpu, c, vma, start, end);
    case ADVISE_FLAGS:
        return advise_flags(cpu, c, vma, start, end);
    case ADVISE_DONTNEED:
        return advise_dontneed(cpu, *vma, start, end);
    case ADVISE_WILLNEED:
        advise_willneed(cpu, *vma, start, end);
        return 0;
    case ADVISE_REMOVE:
        return advise_remove(cpu, vma, start, end);
    default:
        err = a->pages(cpu, *vma, start, end);
        c->taken |= !err;
        return err;
    }
}

/* -- the range ----------------------------------------------------------------------------------------------------- */

static int madvise_walk_vmas(struct cpu *cpu, struct mm *mm, struct advise_call *c, va_t start, va_t end)
{
    struct vm_area_struct *vma;
    int holes = 0;

    while ((vma = vma_over_holes(cpu, mm, &start, end, &holes))) {
        va_t stop = MIN(end, vma->vm_end);
        int err = advise_vma(cpu, c, &vma, start, stop);

        if (err)
            return err;
        start = vma ? MAX(stop, vma->vm_end) : stop; /* merged with what comes next: that has these flags already */
    }
    return holes;
}

/* Every page now, and say so if one cannot be had. */
static int madvise_populate(struct cpu *cpu, struct mm *mm, va_t start, va_t end, u32 write)
{
    while (start < end) {
        s64 done = faultin_page_range(cpu, mm, start, end, write);

        if (done < 0)
            return (int)done;
        start += (u64)done << PAGE_SHIFT;
    }
    return 0;
}

static bool needs_write_lock(const struct advice *a)
{
    return a->action == ADVISE_FLAGS || a->action == ADVISE_MERGEABLE;
}

s64 do_madvise(struct cpu *cpu, struct mm *mm, va_t start, u64 len, int behavior)
{
    const struct advice *a = advice_find(cpu->m, behavior);
    struct advise_call c = {.a = a};
    u64 aligned = ALIGN_UP(len, PAGE_SIZE);
    va_t end = start + aligned;
    int err;

    if (!a || (start & ~PAGE_MASK) || (len && !aligned) || end < start)
        return -EINVAL;
    if (end == start)
        return 0;
    if (a->action == ADVISE_INJECT)
        return madvise_inject_error(cpu, behavior, start, start + len);
    if (needs_write_lock(a)) {
        down_write(cpu, &mm->mmap_lock);
        err = madvise_walk_vmas(cpu, mm, &c, start, end);
        up_write(cpu, &mm->mmap_lock);
    } else {
        down_read(cpu, &mm->mmap_lock);
        if (a->action == ADVISE_POPULATE)
            err = madvise_populate(cpu, mm, start, end, behavior == MADV_POPULATE_WRITE_ ? FOLL_WRITE : 0);
        else
            err = madvise_walk_vmas(cpu, mm, &c, start, end);
        up_read(cpu, &mm->mmap_lock);
    }
    if (c.taken && a->counted)
        count_vm_event(cpu, (enum vm_event_item)a->counted);
    return err;
}

s64 sys_madvise(struct cpu *cpu, va_t addr, u64 len, int advice)
{
    charge(cpu, COST_MMAP);
    return do_madvise(cpu, cpu->current->mm, addr, len, advice);
}
