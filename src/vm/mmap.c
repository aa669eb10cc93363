/* SPDX-License-Identifier: MIT */
/*
 * mmap(2).
 *
 *   sys_mmap ─▶ do_mmap      arguments, address, flags of the VMA, rights of the file        nothing is changed
 *               └▶ mmap_region
 *                    prepare  limits, cuts of what lies there (MAP_FIXED), commit charge, memory for the VMA
 *                    object   what the file says to being mapped: a refusal comes too late for what lay there
 *                    commit   unmap what lies there ─▶ merge with a neighbour, or link the new VMA ─▶ counters
 *            ─▶ mm_populate   lock dropped: MAP_POPULATE and MAP_LOCKED fault the pages in, failures are not reported
 *
 * Failure. A mapping that fails leaves what it would have replaced untouched, but for the refusals by the file's object
 * (mmap_state.refusal): the kernel asks it after it has unmapped what lay there, and so is this. They are MAP_SYNC on a
 * disk's file (-EOPNOTSUPP) and huge pages that are not free (-ENOMEM).
 * Order of the checks and errno values: those of 6.18, compared by tests/oracle; mmap(2).
 */
#include "vm/vma_priv.h"

#include "base/errno.h"
#include "kmem/slab.h"

/* MAP_HUGE_SHIFT, MAP_HUGE_MASK of mmap(2), which headers of the host may define as well. */
#define HUGE_SHIFT 26
#define HUGE_MASK 0x3fu
#define MAP_HUGE_SIZES (31u << HUGE_SHIFT) /* MAP_HUGE_2MB | MAP_HUGE_1GB */
/* Flags that MAP_SHARED_VALIDATE knows of every file. */
#define LEGACY_MAP_MASK                                                                                                \
    (MAP_SHARED_ | MAP_PRIVATE_ | MAP_FIXED_ | MAP_ANONYMOUS_ | MAP_DENYWRITE_ | MAP_EXECUTABLE_ | MAP_GROWSDOWN_ |    \
     MAP_LOCKED_ | MAP_NORESERVE_ | MAP_POPULATE_ | MAP_NONBLOCK_ | MAP_STACK_ | MAP_HUGETLB_ | MAP_HUGE_SIZES)
#define MAX_FILE_BYTES ((u64)INT64_MAX)

struct mmap_state {
    struct mm *mm;
    va_t addr;
    u64 len; /* bytes, whole pages */
    u32 prot, flags;
    struct file *file;
    pgoff_t pgoff;
    vm_flags_t vm_flags;
    u32 vm_ops;
    int refusal;                  /* what the file's object says to being mapped: 0 or -errno */
    struct unmap_plan old;        /* what lies in the way */
    struct vm_area_struct *vma;   /* prepared, where a failure would come too late */
    u64 charged;                  /* pages committed for it */
    struct address_space *writer; /* counted in its i_mmap_writable until the mapping is linked, which counts itself */
};

static bool is_x86(const struct machine *m)
{
    return m->config.pt_format <= PT_X86_64_5L;
}

static vm_flags_t calc_vm_prot_bits(u32 prot)
{
    return (prot & PROT_READ_ ? VM_READ : 0) | (prot & PROT_WRITE_ ? VM_WRITE : 0) | (prot & PROT_EXEC_ ? VM_EXEC : 0);
}

static vm_flags_t calc_vm_flag_bits(u32 flags)
{
    return (flags & MAP_GROWSDOWN_ ? VM_GROWSDOWN : 0) | (flags & MAP_LOCKED_ ? VM_LOCKED : 0) |
           (flags & MAP_SYNC_ ? VM_SYNC : 0) | (flags & MAP_STACK_ ? VM_NOHUGEPAGE : 0);
}

static u32 known_flags(const struct mmap_state *s)
{
    const struct address_space *mapping = s->file ? s->file->f_mapping : NULL;

    return LEGACY_MAP_MASK | (is_x86(s->mm->m) ? MAP_32BIT_ | MAP_ABOVE4G_ : 0) |
           (mapping && mapping->a_ops == A_OPS_DISK ? MAP_SYNC_ : 0);
}

/* A shared mapping of a file: what the descriptor allows. */
static int check_shared_file(struct mmap_state *s)
{
    u32 mode = s->file->f_mode;

    if ((s->prot & PROT_WRITE_) && !(mode & FMODE_WRITE))
        return -EACCES;
    if ((s->prot & PROT_WRITE_) && (mode & FMODE_SWAPFILE))
        return -ETXTBSY;
    if ((mode & FMODE_APPEND_ONLY) && (mode & FMODE_WRITE))
        return -EACCES;
    s->vm_flags |= VM_SHARED | VM_MAYSHARE;
    if (!(mode & FMODE_WRITE))
        s->vm_flags &= ~(VM_MAYWRITE | VM_SHARED);
    return 0;
}

/* Seals of a memfd: what they forbid for good is taken from the mapping's rights, so that mprotect() cannot get it. */
static int memfd_check_seals_mmap(struct mmap_state *s)
{
    if (!(READ_ONCE(s->file->f_inode->seals) & (F_SEAL_WRITE_ | F_SEAL_FUTURE_WRITE_)) || !(s->vm_flags & VM_SHARED))
        return 0;
    if (s->vm_flags & VM_WRITE)
        return -EPERM;
    s->vm_flags &= ~VM_MAYWRITE;
    return 0;
}

/* A mapping that may write is counted from now on: F_SEAL_WRITE is refused while do_mmap() links it. */
static int claim_writable(struct mmap_state *s)
{
    if ((s->vm_flags & (VM_SHARED | VM_MAYWRITE)) != (VM_SHARED | VM_MAYWRITE))
        return 0;
    if (!mapping_map_writable(s->file->f_mapping))
        return -EPERM;
    s->writer = s->file->f_mapping;
    return 0;
}

/* What any mapping of the file needs. */
static int check_private_file(struct mmap_state *s)
{
    u32 mode = s->file->f_mode;

    if (!(mode & FMODE_READ))
        return -EACCES;
    if ((mode & FMODE_PATH_NOEXEC) && (s->vm_flags & VM_EXEC))
        return -EPERM;
    if (mode & FMODE_PATH_NOEXEC)
        s->vm_flags &= ~VM_MAYEXEC;
    if (!s->file->f_mapping)
        return -ENODEV;
    return s->vm_flags & VM_GROWSDOWN ? -EINVAL : 0;
}

/* A mapping needs as many free huge pages as it has, unless it does without: no machine has any yet. */
static int hugetlb_refusal(const struct mmap_state *s)
{
    u64 bytes = s->pgoff.nr << PAGE_SHIFT;

    if (!IS_ALIGNED(bytes, (u64)1 << s->file->f_inode->i_huge_shift) || (s64)(bytes + s->len) < 0)
        return -EINVAL;
    return (s->flags & MAP_NORESERVE_) || s->vm_ops == VM_OPS_SHM ? 0 : -ENOMEM;
}

/* What the object will say, when it is asked. */
static int file_refusal(const struct mmap_state *s)
{
    if (s->vm_flags & VM_HUGETLB)
        return hugetlb_refusal(s);
    /* MAP_SYNC needs a file system on persistent memory (DAX). */
    return s->vm_ops == VM_OPS_FILE && (s->vm_flags & VM_SYNC) ? -EOPNOTSUPP : 0;
}

static int check_file(struct mmap_state *s)
{
    int err = 0;

    if (s->len > MAX_FILE_BYTES || s->pgoff.nr > (MAX_FILE_BYTES - s->len) >> PAGE_SHIFT)
        return -EOVERFLOW;
    switch (s->flags & MAP_TYPE_) {
    case MAP_SHARED_:
        err = check_shared_file(s);
        break;
    case MAP_SHARED_VALIDATE_:
        err = s->flags & ~known_flags(s) ? -EOPNOTSUPP : check_shared_file(s);
        break;
    case MAP_PRIVATE_:
        break;
    default:
        return -EINVAL;
    }
    if (!err)
        err = check_private_file(s);
    if (err)
        return err;
    s->vm_ops = s->file->vm_ops;
    if (s->file->f_inode->i_flags & INODE_HUGETLB)
        s->vm_flags |= VM_HUGETLB | VM_DONTEXPAND;
    s->refusal = file_refusal(s);
    err = memfd_check_seals_mmap(s);
    if (!err)
        err = claim_writable(s);
    if (!err && s->file->f_inode->i_device == DEVICE_ZERO && (s->vm_flags & VM_SHARED)) {
        s->vm_ops = VM_OPS_SHMEM;
        s->file = NULL; /* a new object; the offset stays */
    }
    return err;
}

static int check_anonymous(struct mmap_state *s)
{
    switch (s->flags & MAP_TYPE_) {
    case MAP_SHARED_:
        if (s->vm_flags & VM_GROWSDOWN)
            return -EINVAL;
        s->pgoff = PGOFF(0);
        s->vm_flags |= VM_SHARED | VM_MAYSHARE;
        s->vm_ops = VM_OPS_SHMEM;
        return 0;
    case MAP_DROPPABLE_:
        if (!is_64bit(s->mm))
            return -EOPNOTSUPP;
        if ((s->flags & MAP_LOCKED_) || (s->vm_flags & VM_GROWSDOWN))
            return -EINVAL;
        s->vm_flags |= VM_DROPPABLE | VM_NORESERVE | VM_WIPEONFORK | VM_DONTDUMP;
        s->pgoff = PGOFF(s->addr >> PAGE_SHIFT);
        return 0;
    case MAP_PRIVATE_:
        s->pgoff = PGOFF(s->addr >> PAGE_SHIFT);
        return 0;
    default:
        return -EINVAL;
    }
}

/* -- mapping ------------------------------------------------------------------------------------------------------- */

static bool accountable_mapping(const struct mmap_state *s)
{
    return (s->vm_flags & (VM_NORESERVE | VM_SHARED | VM_WRITE | VM_HUGETLB)) == VM_WRITE;
}

/* What is replaced was committed already, and the commitment moves to the new mapping. */
static int commit_charge(struct cpu *cpu, struct mmap_state *s)
{
    u64 pages = s->len >> PAGE_SHIFT;

    if (!accountable_mapping(s))
        return 0;
    s->charged = pages - s->old.nr_accounted;
    if (s->charged && vm_enough_memory(cpu, s->mm, s->charged))
        return -ENOMEM;
    s->vm_flags |= VM_ACCOUNT;
    return 0;
}

static struct vm_area_struct *alloc_mapping(struct cpu *cpu, struct mmap_state *s)
{
    struct vm_area_struct *vma;

    if (vma_index_prealloc(cpu, &s->mm->vmas, 1))
        return NULL;
    vma = vm_area_alloc(cpu, s->mm);
    if (!vma)
        return NULL;
    vma->vm_start = s->addr;
    vma->vm_end = s->addr + s->len;
    vma->vm_flags = s->vm_flags | VM_SOFTDIRTY;
    vma->vm_pgoff = s->pgoff;
    vma->vm_ops = s->vm_ops;
    vma->vm_file = s->file;
    if (s->file)
        get_file(s->file);
    else if (s->vm_ops == VM_OPS_SHMEM)
        vma->vm_file = cpu->code->shmem_file_setup(cpu, "dev/zero", s->len, s->vm_flags);
    if (IS_ERR(vma->vm_file)) {
        vm_area_free(cpu, vma);
        return NULL;
    }
    vma_set_page_prot(vma);
    return vma;
}

/* A shared object whose whole size cannot be committed: known before it is made. */
static bool object_too_large(struct cpu *cpu, const struct mmap_state *s)
{
    u64 pages = s->len >> PAGE_SHIFT;

    if (s->file || s->vm_ops != VM_OPS_SHMEM || (s->vm_flags & VM_NORESERVE))
        return false;
    if (vm_enough_memory(cpu, s->mm, pages))
        return true;
    vm_unacct_memory(s->mm->m, pages);
    return false;
}

/* The new VMA is needed in hand before anything is replaced;
 * a shared object is never merged; else merging is tried first. */
static int mmap_prepare(struct cpu *cpu, struct mmap_state *s)
{
    int err = unmap_prepare(cpu, s->mm, s->addr, s->addr + s->len, &s->old);

    if (err)
        return err;
    if (!may_expand_vm(cpu, s->mm, s->vm_flags, (s->len >> PAGE_SHIFT) - s->old.nr_pages) || commit_charge(cpu, s)) {
        unmap_abandon(cpu, s->mm, &s->old);
        return -ENOMEM;
    }
    if (!s->refusal && object_too_large(cpu, s))
        s->refusal = -ENOMEM;
    if (!s->old.cuts.first && !(s->vm_ops == VM_OPS_SHMEM && !s->file))
        return 0;
    if (s->refusal)
        return 0;
    /* Cuts and the mapping together: as many nodes as all three insertions may need. */
    if (s->old.cuts.first && vma_index_prealloc(cpu, &s->mm->vmas, 3))
        goto fail_charge;
    s->vma = alloc_mapping(cpu, s);
    if (s->vma)
        return 0;
fail_charge:
    if (s->vm_flags & VM_ACCOUNT)
        vm_unacct_memory(s->mm->m, s->charged);
    unmap_cancel(cpu, &s->old);
    vma_index_trim(cpu, &s->mm->vmas);
    return -ENOMEM;
}

/* The neighbour below, where `next` is the one above. */
static struct vm_area_struct *vma_before(const struct mm *mm, const struct vm_area_struct *next)
{
    return next ? next->vm_prev : mm->vmas.last;
}

static struct vm_area_struct *try_merge(struct cpu *cpu, struct mmap_state *s)
{
    struct vm_area_struct *next = s->old.next, *prev = vma_before(s->mm, next);
    struct vma_merge g;

    if (!s->file && s->vm_ops != VM_OPS_NONE)
        return NULL;
    if ((!prev || prev->vm_end != s->addr) && (!next || next->vm_start != s->addr + s->len))
        return NULL;
    g = (struct vma_merge){
        .mm = s->mm,
        .prev = prev,
        .next = next,
        .start = s->addr,
        .end = s->addr + s->len,
        .pgoff = s->pgoff,
        .vm_flags = s->vm_flags,
        .file = s->file,
        .vm_ops = s->vm_ops,
    };
    return vma_merge_new_range(cpu, &g);
}

static void link_mapping(struct cpu *cpu, struct mm *mm, struct vm_area_struct *vma)
{
    vma_index_insert(&mm->vmas, vma);
    if (vma->vm_file)
        vma_link_file(cpu, vma);
    mm->map_count++;
}

static void discard_mapping(struct cpu *cpu, struct mmap_state *s)
{
    if (!s->vma)
        return;
    if (s->vma->vm_file)
        cpu->code->fput(cpu, s->vma->vm_file);
    vm_area_free(cpu, s->vma);
}

/* The object's part of making the mapping. Pages that it had mapped when it failed are unmapped again. */
static int mmap_object(struct cpu *cpu, struct mmap_state *s)
{
    const struct vm_operations_struct *ops = vma_ops(cpu, s->vma);
    struct vm_area_struct *vma = s->vma, *next = s->old.next, *prev = vma_before(s->mm, next);
    int err = ops && ops->mmap ? ops->mmap(cpu, vma) : 0;

    if (!err) {
        if (vma->vm_flags & VM_SPECIAL) /* nothing there that could be locked */
            vma->vm_flags &= ~VM_LOCKED_MASK;
        vma->vm_flags = ksm_vma_flags(s->mm, vma->vm_flags);
        s->vm_flags = vma->vm_flags & ~VM_SOFTDIRTY;
        return 0;
    }
    zap_page_range(cpu, vma, vma->vm_start, vma->vm_end);
    free_pgtables(cpu, s->mm, vma->vm_start, vma->vm_end, prev ? prev->vm_end : 0,
                  next ? next->vm_start : s->mm->task_size);
    discard_mapping(cpu, s);
    s->vma = NULL;
    return err;
}

/* A VMA of its own. Where it fails nothing was replaced (see mmap_prepare), but by an object that refuses. */
static int mmap_new_vma(struct cpu *cpu, struct mmap_state *s)
{
    int err = -ENOMEM;

    if (!s->vma)
        s->vma = alloc_mapping(cpu, s);
    if (s->vma)
        err = mmap_object(cpu, s);
    if (!err)
        link_mapping(cpu, s->mm, s->vma);
    else if (s->vm_flags & VM_ACCOUNT)
        vm_unacct_memory(s->mm->m, s->len >> PAGE_SHIFT);
    return err;
}

/* The object says no: what lay there is gone nevertheless. */
static int mmap_refused(struct cpu *cpu, struct mmap_state *s)
{
    if (s->old.cuts.first)
        unmap_commit(cpu, s->mm, &s->old);
    vm_unacct_memory(s->mm->m, s->vm_flags & VM_ACCOUNT ? s->len >> PAGE_SHIFT : s->old.nr_accounted);
    discard_mapping(cpu, s);
    vma_index_trim(cpu, &s->mm->vmas);
    return s->refusal;
}

static int mmap_region(struct cpu *cpu, struct mmap_state *s)
{
    struct vm_area_struct *vma;
    int err = mmap_prepare(cpu, s);

    if (err)
        return err;
    if (s->refusal)
        return mmap_refused(cpu, s);
    if (s->old.cuts.first) {
        unmap_commit(cpu, s->mm, &s->old);
        if (!(s->vm_flags & VM_ACCOUNT))
            vm_unacct_memory(s->mm->m, s->old.nr_accounted);
    }
    vma = try_merge(cpu, s);
    if (vma) {
        discard_mapping(cpu, s);
        vma->vm_flags |= VM_SOFTDIRTY;
    } else {
        err = mmap_new_vma(cpu, s);
        if (err) {
            vma_index_trim(cpu, &s->mm->vmas);
            return err;
        }
        vma = s->vma;
    }
    if (vma->vm_flags & VM_DROPPABLE) /* its pages come, but may go */
        vma->vm_flags &= ~VM_LOCKED_MASK;
    if (vma->vm_flags & VM_SPECIAL) { /* nothing in it could be locked */
        vma->vm_flags &= ~VM_LOCKED_MASK;
        s->vm_flags &= ~VM_LOCKED_MASK;
    }
    vm_stat_account(s->mm, s->vm_flags, (s64)(s->len >> PAGE_SHIFT));
    if (vma->vm_flags & VM_LOCKED)
        s->mm->locked_vm += s->len >> PAGE_SHIFT;
    vma_index_trim(cpu, &s->mm->vmas);
    return 0;
}

/* -- the system call ----------------------------------------------------------------------------------------------- */

/* The address, and what follows from the arguments alone. */
static int mmap_address(struct cpu *cpu, struct mmap_state *s)
{
    va_t min = mmap_min_addr(s->mm->m);
    s64 found;

    if ((cpu->current->personality & READ_IMPLIES_EXEC_) && (s->prot & PROT_READ_) &&
        !(s->file && (s->file->f_mode & FMODE_PATH_NOEXEC)))
        s->prot |= PROT_EXEC_;
    if (s->flags & MAP_FIXED_NOREPLACE_)
        s->flags |= MAP_FIXED_;
    if (!(s->flags & MAP_FIXED_)) {
        s->addr &= PAGE_MASK;
        if (s->addr && s->addr < min)
            s->addr = min;
    }
    s->len = ALIGN_UP(s->len, PAGE_SIZE);
    if (!s->len)
        return -ENOMEM;
    if (s->pgoff.nr + (s->len >> PAGE_SHIFT) < s->pgoff.nr)
        return -EOVERFLOW;
    if (s->mm->map_count > s->mm->m->config.max_map_count)
        return -ENOMEM;
    found = get_unmapped_area(cpu, s->mm, s->file, s->addr, s->len, s->pgoff, s->flags);
    if (IS_ERR_VALUE(found))
        return (int)found;
    s->addr = (va_t)found;
    if ((s->flags & MAP_FIXED_NOREPLACE_) && find_vma_intersection(cpu, s->mm, s->addr, s->addr + s->len))
        return -EEXIST;
    return 0;
}

/* It may take its mapping for something special: the flags are not complete before it was asked. */
static bool object_decides_flags(const struct cpu *cpu, const struct mmap_state *s)
{
    const struct vm_operations_struct *ops = cpu->code->vm_ops[s->vm_ops];

    return ops && ops->mmap;
}

static bool can_do_mlock(const struct cpu *cpu)
{
    return !cpu->current || task_capable(cpu->current, CAP_IPC_LOCK_) || rlimit(cpu->current, RLIMIT_MEMLOCK_);
}

static __noinline int do_mmap(struct cpu *cpu, struct mmap_state *s)
{
    int err;

    if (!s->len)
        return -EINVAL;
    err = mmap_address(cpu, s);
    if (err)
        return err;
    if (s->prot == PROT_EXEC_)
        s->vm_flags = (vm_flags_t)execute_only_pkey(cpu, s->mm) << VM_PKEY_SHIFT;
    s->vm_flags |= calc_vm_prot_bits(s->prot) | calc_vm_flag_bits(s->flags) | s->mm->def_flags | VM_MAYREAD |
                   VM_MAYWRITE | VM_MAYEXEC;
    if ((s->flags & MAP_LOCKED_) && !can_do_mlock(cpu))
        return -EPERM;
    if (!mlock_future_ok(cpu, s->mm, s->vm_flags, s->len))
        return -EAGAIN;
    err = s->file ? check_file(s) : check_anonymous(s);
    if (err)
        return err;
    if ((s->flags & MAP_NORESERVE_) && (s->mm->m->config.overcommit_memory != 2 || (s->vm_flags & VM_HUGETLB)))
        s->vm_flags |= VM_NORESERVE;
    if (!object_decides_flags(cpu, s))
        s->vm_flags = ksm_vma_flags(s->mm, s->vm_flags);
    err = map_deny_write_exec(s->mm, s->vm_flags, s->vm_flags) ? -EACCES : mmap_region(cpu, s);
    if (s->writer)
        mapping_unmap_writable(s->writer);
    return err;
}

u32 hugetlb_page_shift(const struct machine *m, u32 named)
{
    const struct pt_format *fmt = pt_format_of(m);

    if (!named)
        return fmt->shift[2];
    for (u32 level = 2; level <= fmt->levels; level++)
        if (fmt->shift[level] == named && (fmt->leaf_levels >> level & 1))
            return named;
    return 0;
}

/* Inline, so that mmap(2) builds one struct, not two. */
static inline s64 mmap_request(struct cpu *cpu, struct mmap_request *r)
{
    struct mmap_state s = {
        .mm = cpu->current->mm,
        .addr = r->addr,
        .len = r->len,
        .prot = r->prot,
        .flags = r->flags,
        .file = r->file,
        .pgoff = r->pgoff,
    };
    int err = do_mmap(cpu, &s);

    if (err)
        return err;
    r->populate = (s.vm_flags & VM_LOCKED) || (s.flags & (MAP_POPULATE_ | MAP_NONBLOCK_)) == MAP_POPULATE_;
    return (s64)s.addr;
}

s64 mmap_locked(struct cpu *cpu, struct mmap_request *r)
{
    return mmap_request(cpu, r);
}

/* Huge pages: an object of them for MAP_ANONYMOUS, whose reference is the caller's; whole ones. 0 or -errno. */
static int mmap_huge_object(struct cpu *cpu, struct mmap_request *r)
{
    u32 shift = r->file && (r->file->f_inode->i_flags & INODE_HUGETLB) ? r->file->f_inode->i_huge_shift : 0;

    if (!shift && !(r->flags & MAP_HUGETLB_))
        return 0;
    if (!shift && !(r->flags & MAP_ANONYMOUS_))
        return -EINVAL;
    if (!shift)
        shift = hugetlb_page_shift(cpu->m, r->flags >> HUGE_SHIFT & HUGE_MASK);
    if (!shift)
        return -EINVAL;
    r->len = ALIGN_UP(r->len, (u64)1 << shift);
    if (r->file)
        return 0;
    r->file = cpu->code->hugetlb_file_setup(cpu, "anon_hugepage", r->len, shift);
    return IS_ERR(r->file) ? PTR_ERR(r->file) : 0;
}

s64 sys_mmap(struct cpu *cpu, va_t addr, u64 len, u32 prot, u32 flags, struct file *file, u64 offset)
{
    struct mm *mm = cpu->current->mm;
    struct mmap_request r = {
        .addr = addr,
        .len = len,
        .prot = prot,
        .flags = flags,
        .file = flags & MAP_ANONYMOUS_ ? NULL : file,
        .pgoff = PGOFF(offset >> PAGE_SHIFT),
    };
    s64 result;

    charge(cpu, COST_MMAP);
    if (offset & ~PAGE_MASK)
        return -EINVAL;
    if (!(flags & MAP_ANONYMOUS_) && !file)
        return -EBADF;
    result = mmap_huge_object(cpu, &r);
    if (result)
        return result;
    down_write(cpu, &mm->mmap_lock);
    result = mmap_request(cpu, &r);
    up_write(cpu, &mm->mmap_lock);
    if (r.file && (flags & MAP_ANONYMOUS_))
        cpu->code->fput(cpu, r.file);
    if (r.populate)
        mm_populate(cpu, mm, (va_t)result, ALIGN_UP(r.len, PAGE_SIZE));
    return result;
}

/* One VMA exactly at [start, start + len), which must be free:
 * stacks of new programs, vdso, what a front end knows of. */
int do_mmap_fixed_special(struct cpu *cpu, struct mm *mm, va_t start, u64 len, vm_flags_t flags, u32 vm_ops)
{
    u64 pages = len >> PAGE_SHIFT, pgoff = vm_ops == VM_OPS_NONE ? start >> PAGE_SHIFT : 0;
    struct mmap_state s = {
        .mm = mm, .addr = start, .len = len, .pgoff = PGOFF(pgoff), .vm_flags = flags, .vm_ops = vm_ops};

    if ((start & ~PAGE_MASK) || (len & ~PAGE_MASK) || !len || len > mm->task_size || start > mm->task_size - len)
        return -EINVAL;
    if (find_vma_intersection(cpu, mm, start, start + len))
        return -EEXIST;
    if ((flags & VM_ACCOUNT) && vm_enough_memory(cpu, mm, pages))
        return -ENOMEM;
    s.vma = alloc_mapping(cpu, &s);
    if (!s.vma) {
        if (flags & VM_ACCOUNT)
            vm_unacct_memory(mm->m, pages);
        return -ENOMEM;
    }
    link_mapping(cpu, mm, s.vma);
    vm_stat_account(mm, flags, (s64)pages);
    if (flags & VM_LOCKED)
        mm->locked_vm += pages;
    vma_index_trim(cpu, &mm->vmas);
    return 0;
}
