/* SPDX-License-Identifier: MIT */
/*
 * mremap(2): resize a mapping, or move it with its pages.
 *
 *   shrink                 unmap the tail
 *   grow, room behind      extend the VMA (and merge with what it then touches)
 *   grow, no room          move, if MREMAP_MAYMOVE
 *   MREMAP_FIXED           unmap the target, then move; same size: every VMA of the range, holes kept
 *   MREMAP_DONTUNMAP       move the pages, leave the VMA
 *   old_len 0              map a shared mapping's pages a second time
 *
 * move_vma
 *      PPPP MMMM NN            source cut out of its VMA (not with DONTUNMAP or old_len 0)
 *                 ....  NNNN   new VMA linked on its own, tables' entries moved
 *      PPPP       ....  NNNN   source unmapped; only then is the new VMA merged with its neighbours
 *
 *   So a failure on the way (memory for tables) is undone without needing memory: entries moved back, new VMA unlinked
 *   whole, source merged with what it was cut from. An anonymous VMA that has no page yet takes the offset of its new
 *   address, so that it can merge there.
 *   As in the kernel, the target of MREMAP_FIXED is unmapped before the move is tried, and a move of several VMAs that
 *   fails has moved the first ones.
 *
 * Accounting: a moved mapping takes its commitment along; only growth, or what DONTUNMAP leaves
 * behind, is committed anew. Linux (6.18) commits as well what a mapping shrinks by while it moves, and never gives it
 * back; so do we: Committed_AS shows it, and overcommit may refuse the call (vm->committed_lost).
 * Order of checks and errno values: those of 6.18, compared by tests/oracle.
 */
#include "vm/vma_priv.h"

#include "base/errno.h"
#include "vm/rmap.h"

struct mremap_state {
    struct mm *mm;
    va_t addr, new_addr;
    u64 old_len, new_len; /* bytes, whole pages */
    u64 flags;
    u64 shrunk; /* pages that MREMAP_FIXED cut off first */
    struct vm_area_struct *vma;
    va_t populate; /* VM_LOCKED and grown: fault in [populate, populate + populate_len) */
    u64 populate_len;
};

static bool implies_new_addr(const struct mremap_state *s)
{
    return s->flags & (MREMAP_FIXED_ | MREMAP_DONTUNMAP_);
}

static int check_params(const struct mremap_state *s)
{
    u64 task_size = s->mm->task_size;

    if (s->flags & ~(u64)(MREMAP_MAYMOVE_ | MREMAP_FIXED_ | MREMAP_DONTUNMAP_))
        return -EINVAL;
    if ((s->addr & ~PAGE_MASK) || !s->new_len || s->new_len > task_size)
        return -EINVAL;
    if (!implies_new_addr(s))
        return 0;
    if (s->new_addr > task_size - s->new_len || (s->new_addr & ~PAGE_MASK) || !(s->flags & MREMAP_MAYMOVE_))
        return -EINVAL;
    if ((s->flags & MREMAP_DONTUNMAP_) && s->old_len != s->new_len)
        return -EINVAL;
    if (s->addr + s->old_len > s->new_addr && s->new_addr + s->new_len > s->addr)
        return -EINVAL;
    return 0;
}

/* Whole huge pages, as few as can be; they never become more. */
static int align_hugetlb(struct mremap_state *s)
{
    u64 size = vma_pagesize(s->vma);

    s->old_len = ALIGN_UP(s->old_len, size);
    s->new_len = ALIGN_UP(s->new_len, size);
    return IS_ALIGNED(s->addr, size) && IS_ALIGNED(s->new_addr, size) && s->new_len <= s->old_len ? 0 : -EINVAL;
}

static int check_vma(struct cpu *cpu, struct mremap_state *s)
{
    const struct vm_area_struct *vma = s->vma;
    u64 delta, pgoff;

    if (!vma)
        return -EFAULT;
    if (vma->vm_flags & VM_SEALED)
        return -EPERM;
    if ((vma->vm_flags & VM_HUGETLB) && align_hugetlb(s))
        return -EINVAL;
    delta = s->new_len - s->old_len;
    if (s->new_len <= s->old_len && !implies_new_addr(s))
        return 0;
    if (!s->old_len && !(vma->vm_flags & (VM_SHARED | VM_MAYSHARE)))
        return -EINVAL;
    if ((s->flags & MREMAP_DONTUNMAP_) && (vma->vm_flags & (VM_DONTEXPAND | VM_PFNMAP)))
        return -EINVAL;
    /* What stays must lie in one VMA; a tail that goes may lie anywhere. */
    if (MIN(s->old_len, s->new_len) > vma->vm_end - s->addr)
        return -EFAULT;
    if (s->new_len <= s->old_len)
        return 0;
    pgoff = linear_page_index(vma, s->addr).nr;
    if (pgoff + (s->new_len >> PAGE_SHIFT) < pgoff)
        return -EINVAL;
    if (vma->vm_flags & (VM_DONTEXPAND | VM_PFNMAP))
        return -EFAULT;
    if (!mlock_future_ok(cpu, s->mm, vma->vm_flags, delta))
        return -EAGAIN;
    return may_expand_vm(cpu, s->mm, vma->vm_flags, delta >> PAGE_SHIFT) ? 0 : -ENOMEM;
}

static void stat_account(struct mm *mm, vm_flags_t flags, u64 bytes)
{
    vm_stat_account(mm, flags, (s64)(bytes >> PAGE_SHIFT));
    if (flags & VM_LOCKED)
        mm->locked_vm += bytes >> PAGE_SHIFT;
}

static void want_populate(struct mremap_state *s, vm_flags_t flags)
{
    if (!(flags & VM_LOCKED) || s->new_len <= s->old_len)
        return;
    s->populate = s->new_addr + s->old_len;
    s->populate_len = s->new_len - s->old_len;
}

/* -- moving -------------------------------------------------------------------------------------------------------- */

static u64 pages_to_charge(const struct mremap_state *s)
{
    if (!(s->vma->vm_flags & VM_ACCOUNT))
        return 0;
    return s->shrunk + ((s->flags & MREMAP_DONTUNMAP_ ? s->new_len : s->new_len - s->old_len) >> PAGE_SHIFT);
}

/* The VMA at the new place, linked, empty. */
static struct vm_area_struct *copy_vma(struct cpu *cpu, struct mremap_state *s)
{
    struct vm_area_struct *vma = s->vma, *copy = vm_area_dup(cpu, vma);
    const struct vm_operations_struct *ops = vma_ops(cpu, vma);

    if (!copy)
        return NULL;
    copy->vm_pgoff = linear_page_index(vma, s->addr);
    if (vma_is_anonymous(vma) && !vma->anon_vma)
        copy->vm_pgoff = PGOFF(s->new_addr >> PAGE_SHIFT);
    copy->vm_start = s->new_addr;
    copy->vm_end = s->new_addr + s->new_len;
    if (anon_vma_clone(cpu, copy, vma)) {
        vm_area_free(cpu, copy);
        return NULL;
    }
    vma_get_file(copy);
    if (vma_link(cpu, s->mm, copy)) {
        vma_copy_cancel(cpu, copy);
        return NULL;
    }
    if (ops && ops->open)
        ops->open(cpu, copy);
    return copy;
}

static void unlink_copy(struct cpu *cpu, struct mm *mm, struct vm_area_struct *copy)
{
    u64 hiwater_vm = mm->hiwater_vm;
    struct unmap_plan plan = {
        .cuts = {.first = copy, .last = copy, .start = copy->vm_start, .end = copy->vm_end},
    };

    stat_account(mm, copy->vm_flags, copy->vm_end - copy->vm_start); /* unmap_commit() takes it off again */
    unmap_commit(cpu, mm, &plan);
    mm->hiwater_vm = hiwater_vm;
}

static int move_entries(struct cpu *cpu, struct mremap_state *s, struct vm_area_struct *copy)
{
    const struct vm_operations_struct *ops = vma_ops(cpu, copy);
    u64 moved = move_page_tables(cpu, s->vma, s->addr, copy, s->new_addr, s->old_len);
    int err = moved < s->old_len ? -ENOMEM : 0;

    if (!err && ops && ops->mremap)
        err = ops->mremap(cpu, copy);
    if (err) {
        u64 back = move_page_tables(cpu, copy, s->new_addr, s->vma, s->addr, moved);

        ASSERT(back == moved); /* the tables are all there */
    }
    return err;
}

/* The source as a VMA of its own, so that nothing can fail when it is unmapped. */
static int cut_source(struct cpu *cpu, struct mremap_state *s)
{
    struct vma_cuts cuts = {.first = s->vma, .last = s->vma, .start = s->addr, .end = s->addr + s->old_len};
    int err = vma_cuts_prepare(cpu, s->mm, &cuts);

    if (!err)
        vma_cuts_commit(cpu, s->mm, &cuts);
    return err;
}

static void unmap_source(struct cpu *cpu, struct mremap_state *s)
{
    u64 hiwater_vm = s->mm->hiwater_vm;
    struct unmap_plan plan = {
        .cuts = {.first = s->vma, .last = s->vma, .start = s->vma->vm_start, .end = s->vma->vm_end},
    };

    unmap_commit(cpu, s->mm, &plan);
    s->mm->hiwater_vm = hiwater_vm; /* it never was twice as large to the program */
}

/*
 * DONTUNMAP: the pages are gone, so the old VMA is like one that never had any; nothing of it is locked. Linux (6.18)
 * goes on counting it as locked, and so do we: RLIMIT_MEMLOCK shows it. Pages that stay, for only a part of the VMA has
 * moved, remain locked ones until they are freed: MADV_PAGEOUT shows that.
 */
static void leave_source(struct cpu *cpu, struct mremap_state *s)
{
    struct vm_area_struct *vma = s->vma;

    if (vma->vm_flags & VM_LOCKED) {
        s->mm->locked_left += vma_pages(vma);
        mlock_forget(cpu, vma);
    }
    WRITE_ONCE(vma->vm_flags, vma->vm_flags & ~VM_LOCKED_MASK);
    if (vma->anon_vma && vma->vm_start == s->addr && vma->vm_end == s->addr + s->old_len)
        unlink_anon_vmas(cpu, vma);
}

/* What cannot be cut is moved as a whole, or stays. */
static int check_may_split(struct cpu *cpu, struct mremap_state *s)
{
    const struct vm_operations_struct *ops = vma_ops(cpu, s->vma);
    va_t end = s->addr + s->old_len;
    int err = 0;

    if (!ops || !ops->may_split)
        return 0;
    if (s->vma->vm_start != s->addr)
        err = ops->may_split(cpu, s->vma, s->addr);
    return err || s->vma->vm_end == end ? err : ops->may_split(cpu, s->vma, end);
}

/*
 * The kernel merges the new VMA while the source is still whole. Where they touch, what the new VMA takes over from its
 * other neighbour goes to all of the source, also to what stays of it apart.
 */
static void share_merged(struct cpu *cpu, struct mm *mm, struct vm_area_struct *merged, const va_t edge[2])
{
    for (u32 i = 0; i < 2; i++) {
        struct vm_area_struct *rest = vma_lookup(cpu, mm, edge[i]);

        if (!rest || rest == merged)
            continue;
        dup_anon_vma(cpu, rest, merged); /* -ENOMEM: it goes without, as an untouched VMA may */
        rest->vm_flags |= merged->vm_flags & VM_STICKY;
    }
}

/* A copy at s->new_addr continues the source, which has no pages yet. */
static bool continues_source(const struct mremap_state *s)
{
    const struct vm_area_struct *vma = s->vma;

    return vma_is_anonymous(vma) && !vma->anon_vma && vma->vm_pgoff.nr == vma->vm_start >> PAGE_SHIFT &&
           (s->new_addr == vma->vm_end || s->new_addr + s->new_len == vma->vm_start);
}

static s64 move_vma(struct cpu *cpu, struct mremap_state *s)
{
    struct mm *mm = s->mm;
    const va_t edge[2] = {s->vma->vm_start, s->vma->vm_end - 1};
    bool continues = continues_source(s);
    vm_flags_t flags = s->vma->vm_flags;
    bool unmap = s->old_len && !(s->flags & MREMAP_DONTUNMAP_);
    u64 charge_pages = pages_to_charge(s);
    struct vm_area_struct *copy;
    int err;

    if (mm->map_count >= mm->m->config.max_map_count - 3)
        return -ENOMEM;
    if (check_may_split(cpu, s))
        return check_may_split(cpu, s);
    if (charge_pages && vm_enough_memory(cpu, mm, charge_pages))
        return -ENOMEM;
    err = unmap ? cut_source(cpu, s) : 0;
    if (err)
        goto fail_charge;
    err = -ENOMEM;
    copy = copy_vma(cpu, s);
    if (!copy)
        goto fail_cut;
    err = move_entries(cpu, s, copy);
    if (err)
        goto fail_copy;

    if (flags & VM_ACCOUNT)
        atomic_fetch_add_explicit(&mm->m->vm->committed_lost, (s64)s->shrunk, memory_order_relaxed);
    stat_account(mm, flags, s->new_len);
    want_populate(s, flags);
    if (unmap)
        unmap_source(cpu, s);
    copy = vma_merge_copy(cpu, copy);
    if (copy->vm_start <= s->addr && s->addr < copy->vm_end)
        s->vma = copy; /* one with the source, which it lay beside: both are like new */
    if (unmap && continues)
        share_merged(cpu, mm, copy, edge);
    if (!unmap && s->old_len)
        leave_source(cpu, s);
    return (s64)s->new_addr;

fail_copy:
    unlink_copy(cpu, mm, copy);
fail_cut:
    if (unmap)
        vma_rejoin(cpu, s->vma, edge[0], edge[1] + 1);
fail_charge:
    vm_unacct_memory(mm->m, charge_pages);
    return err;
}

static int set_new_addr(struct cpu *cpu, struct mremap_state *s, va_t hint)
{
    u32 map_flags = (s->flags & MREMAP_FIXED_ ? MAP_FIXED_ : 0) | (s->vma->vm_flags & VM_MAYSHARE ? MAP_SHARED_ : 0);
    s64 found =
        get_unmapped_area(cpu, s->mm, s->vma->vm_file, hint, s->new_len, linear_page_index(s->vma, s->addr), map_flags);

    if (IS_ERR_VALUE(found))
        return (int)found;
    s->new_addr = (va_t)found;
    return 0;
}

/* -- the cases ----------------------------------------------------------------------------------------------------- */

/* MREMAP_FIXED, MREMAP_DONTUNMAP: one VMA. */
static s64 mremap_to(struct cpu *cpu, struct mremap_state *s)
{
    int err;

    if (s->flags & MREMAP_FIXED_) {
        err = do_munmap(cpu, s->mm, s->new_addr, s->new_len);
        if (err)
            return err;
        if (!vma_lookup(cpu, s->mm, s->addr)) /* the target covered it */
            return -EFAULT;
    }
    if (s->old_len > s->new_len) {
        err = do_munmap(cpu, s->mm, s->addr + s->new_len, s->old_len - s->new_len);
        if (err)
            return err;
        s->shrunk = (s->old_len - s->new_len) >> PAGE_SHIFT;
        s->old_len = s->new_len;
    }
    s->vma = vma_lookup(cpu, s->mm, s->addr); /* the cuts may have given its place to a copy */
    if ((s->flags & MREMAP_DONTUNMAP_) && !may_expand_vm(cpu, s->mm, s->vma->vm_flags, s->old_len >> PAGE_SHIFT))
        return -ENOMEM;
    err = set_new_addr(cpu, s, s->new_addr);
    return err ? err : move_vma(cpu, s);
}

/* A segment's mapping chooses its addresses itself: it is moved alone, never as one of several. */
static bool moves_alone(const struct vm_area_struct *vma)
{
    return vma->vm_ops == VM_OPS_SHM && !(vma->vm_flags & VM_HUGETLB);
}

/* MREMAP_FIXED with the size unchanged: all VMAs of the range, each to its place relative to the first. */
static s64 move_range(struct cpu *cpu, const struct mremap_state *whole)
{
    va_t at = whole->addr, end = whole->addr + whole->old_len;

    if (end < at)
        return -EFAULT;
    while (at < end) {
        struct mremap_state s = *whole;
        s64 result;

        s.vma = find_vma_intersection(cpu, s.mm, at, end);
        if (!s.vma && at > whole->addr)
            break;
        if (!s.vma || (at == whole->addr && s.vma->vm_start > at))
            return -EFAULT;
        if (moves_alone(s.vma) && (at > whole->addr || end > s.vma->vm_end))
            return -EFAULT;
        s.addr = MAX(at, s.vma->vm_start);
        s.old_len = s.new_len = MIN(end, s.vma->vm_end) - s.addr;
        s.new_addr = whole->new_addr + (s.addr - whole->addr);
        at = s.addr + s.old_len;
        result = check_vma(cpu, &s);
        if (!result)
            result = mremap_to(cpu, &s);
        if (IS_ERR_VALUE(result))
            return result;
    }
    return (s64)whole->new_addr;
}

static bool vma_expandable(struct cpu *cpu, const struct mremap_state *s)
{
    struct vm_area_struct *vma = s->vma;
    u64 delta = s->new_len - s->old_len;
    va_t end = vma->vm_end + delta;

    if (s->old_len != vma->vm_end - s->addr || end < vma->vm_end)
        return false;
    if (vma->vm_next && vma->vm_next->vm_start < end)
        return false;
    return !IS_ERR_VALUE(get_unmapped_area(cpu, s->mm, NULL, vma->vm_start, end - vma->vm_start, PGOFF(0), MAP_FIXED_));
}

static s64 expand_in_place(struct cpu *cpu, struct mremap_state *s)
{
    struct vm_area_struct *vma = s->vma;
    vm_flags_t flags = vma->vm_flags;
    u64 delta = s->new_len - s->old_len, pages = flags & VM_ACCOUNT ? delta >> PAGE_SHIFT : 0;
    struct vma_merge g = {
        .mm = s->mm,
        .prev = vma,
        .next = vma->vm_next,
        .start = vma->vm_end,
        .end = vma->vm_end + delta,
        .pgoff = pgoff_add(vma->vm_pgoff, vma_pages(vma)),
        .vm_flags = flags,
        .file = vma->vm_file,
        .vm_ops = vma->vm_ops,
        .anon_vma = vma->anon_vma,
        .anon_name = vma->anon_name,
    };

    if (pages && vm_enough_memory(cpu, s->mm, pages))
        return -ENOMEM;
    if (!vma_merge_new_range(cpu, &g)) {
        vm_unacct_memory(s->mm->m, pages);
        return -ENOMEM;
    }
    stat_account(s->mm, flags, delta);
    want_populate(s, flags);
    return (s64)s->addr;
}

static s64 expand_vma(struct cpu *cpu, struct mremap_state *s)
{
    int err;

    s->new_addr = s->addr;
    if (vma_expandable(cpu, s))
        return expand_in_place(cpu, s);
    if (!(s->flags & MREMAP_MAYMOVE_))
        return -ENOMEM;
    err = set_new_addr(cpu, s, 0);
    return err ? err : move_vma(cpu, s);
}

static s64 do_mremap(struct cpu *cpu, struct mremap_state *s)
{
    int err;

    if ((s->flags & MREMAP_FIXED_) && s->old_len == s->new_len)
        return move_range(cpu, s);
    s->vma = vma_lookup(cpu, s->mm, s->addr);
    err = check_vma(cpu, s);
    if (err)
        return err;
    if (implies_new_addr(s))
        return mremap_to(cpu, s);
    if (s->new_len > s->old_len)
        return expand_vma(cpu, s);
    if (s->new_len < s->old_len)
        err = do_munmap(cpu, s->mm, s->addr + s->new_len, s->old_len - s->new_len);
    return err ? err : (s64)s->addr;
}

s64 sys_mremap(struct cpu *cpu, va_t addr, u64 old_len, u64 new_len, u64 flags, va_t new_addr)
{
    struct mm *mm = cpu->current->mm;
    struct mremap_state s = {
        .mm = mm,
        .addr = addr,
        .new_addr = new_addr,
        .old_len = ALIGN_UP(old_len, PAGE_SIZE),
        .new_len = ALIGN_UP(new_len, PAGE_SIZE),
        .flags = flags,
    };
    s64 result;

    charge(cpu, COST_MMAP);
    result = check_params(&s);
    if (result)
        return result;
    down_write(cpu, &mm->mmap_lock);
    if (implies_new_addr(&s) && mm->map_count + 2 >= mm->m->config.max_map_count - 3)
        result = -ENOMEM;
    else
        result = do_mremap(cpu, &s);
    up_write(cpu, &mm->mmap_lock);
    if (!IS_ERR_VALUE(result) && s.populate_len)
        mm_populate(cpu, mm, s.populate, s.populate_len);
    return result;
}
