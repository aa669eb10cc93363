/* SPDX-License-Identifier: MIT */
/*
 * shmget(2), shmat(2), shmdt(2), shmctl(2): arguments, permissions and their order, the layouts of the structures.
 * The segments are in src/cache/sysv_shm.c.
 *
 * Permissions: the mode's triple for the owner or creator, the group, or others; CAP_IPC_OWNER has all. Changing or
 * removing needs the owner, the creator or CAP_SYS_ADMIN.
 * Order of the checks and errno values: 6.18's, compared by tests/oracle/shm_oracle.c.
 */
#include "abi/abi_priv.h"

#include "base/errno.h"
#include "cache/cache.h"
#include "cache/sysv_shm.h"

#define IPC_CREAT_ 01000u
#define IPC_EXCL_ 02000u
#define SHM_HUGETLB_ 04000u
#define SHM_NORESERVE_ 010000u
#define SHM_HUGE_SHIFT 26
#define SHM_HUGE_MASK 0x3fu
#define MODE_BITS 0777u

#define SHM_RDONLY_ 010000u
#define SHM_RND_ 020000u
#define SHM_REMAP_ 040000u
#define SHM_EXEC_ 0100000u
#define SHMLBA PAGE_SIZE

enum { IPC_RMID_, IPC_SET_, IPC_STAT_, IPC_INFO_, SHM_LOCK_ = 11, SHM_UNLOCK_, SHM_STAT_, SHM_INFO_, SHM_STAT_ANY_ };

#define R_ALL 0444u
#define W_ALL 0222u
#define X_ALL 0111u

/* struct shmid_ds and its friends of 64-bit architectures. */
struct user_ipc_perm {
    s32 key;
    u32 uid, gid, cuid, cgid;
    u32 mode;
    u16 seq, pad;
    u64 unused[2];
};

struct user_shmid_ds {
    struct user_ipc_perm perm;
    u64 segsz;
    s64 atime, dtime, ctime;
    s32 cpid, lpid;
    u64 nattch, unused[2];
};
_Static_assert(sizeof(struct user_shmid_ds) == 112, "shmid64_ds");

struct user_shminfo {
    u64 shmmax, shmmin, shmmni, shmseg, shmall, unused[4];
};

struct user_shm_info {
    s32 used_ids;
    u64 tot, rss, swp, swap_attempts, swap_successes;
};

/* What shmctl writes: filled with the lock held, copied without it (a page fault takes mmap_lock). */
struct shm_result {
    u64 size; /* 0: nothing */
    union {
        struct user_shmid_ds ds;
        struct user_shminfo shminfo;
        struct user_shm_info shm_info;
    };
};

static struct shm_ids *shm_ids(const struct cpu *cpu)
{
    return &cpu->m->cache->shm;
}

static bool shm_permits(const struct cpu *cpu, const struct shm_segment *s, u32 flags)
{
    u32 asked = (flags >> 6 | flags >> 3 | flags) & 7, granted = s->mode;
    const struct task *own = cpu->current;

    if (task_uid(own) == s->cuid || task_uid(own) == s->uid)
        granted >>= 6;
    else if (task_gid(own) == s->cgid || task_gid(own) == s->gid)
        granted >>= 3;
    return !(asked & ~granted & 7) || task_capable(cpu->current, CAP_IPC_OWNER_);
}

static bool shm_may_change(const struct cpu *cpu, const struct shm_segment *s)
{
    const struct task *own = cpu->current;

    return task_uid(own) == s->cuid || task_uid(own) == s->uid || task_capable(cpu->current, CAP_SYS_ADMIN_);
}

/* -- shmget -------------------------------------------------------------------------------------------------------- */

/* vm.hugetlb_shm_group: its members may, too. */
#define HUGETLB_SHM_GROUP 0u

/* log2 of the huge page's size, 0: none is asked for. No machine has free huge pages: none can be reserved. */
static int huge_segment(const struct cpu *cpu, u32 flags)
{
    u32 shift = hugetlb_page_shift(cpu->m, flags >> SHM_HUGE_SHIFT & SHM_HUGE_MASK);

    if (!(flags & SHM_HUGETLB_))
        return 0;
    if (!shift)
        return -EINVAL;
    if (!task_capable(cpu->current, CAP_IPC_LOCK_) && cpu->current->signal->gid != HUGETLB_SHM_GROUP)
        return -EPERM;
    return flags & SHM_NORESERVE_ ? (int)shift : -ENOMEM;
}

static s64 shm_new(struct cpu *cpu, s32 key, u64 size, u32 flags)
{
    const struct machine_config *c = &cpu->m->config;
    u64 pages = size / PAGE_SIZE + !!(size % PAGE_SIZE), all = shm_ids(cpu)->pages + pages;
    bool noreserve = (flags & SHM_NORESERVE_) && c->overcommit_memory != 2;
    struct shm_segment *s;
    int huge;

    if (!size || size > c->shmmax)
        return -EINVAL;
    if (pages << PAGE_SHIFT < size || all < pages || all > c->shmall)
        return -ENOSPC;
    huge = huge_segment(cpu, flags);
    if (huge < 0)
        return huge;
    s = shm_create(cpu, key, size, flags & MODE_BITS, noreserve ? VM_NORESERVE : 0, (u32)huge);
    return IS_ERR(s) ? PTR_ERR(s) : s->id;
}

static s64 shm_get(struct cpu *cpu, s32 key, u64 size, u32 flags)
{
    struct shm_segment *s = key == IPC_PRIVATE_ ? NULL : shm_find_key(cpu->m, key);

    if (!s)
        return key == IPC_PRIVATE_ || (flags & IPC_CREAT_) ? shm_new(cpu, key, size, flags) : -ENOENT;
    if ((flags & IPC_CREAT_) && (flags & IPC_EXCL_))
        return -EEXIST;
    if (s->bytes < size)
        return -EINVAL;
    return shm_permits(cpu, s, flags) ? s->id : -EACCES;
}

s64 abi_shmget(struct cpu *cpu, struct abi_call *c) NO_LOCK_ANALYSIS
{
    s64 id;

    down_write(cpu, &shm_ids(cpu)->rwsem);
    id = shm_get(cpu, (s32)c->arg[0], c->arg[1], (u32)c->arg[2]);
    up_write(cpu, &shm_ids(cpu)->rwsem);
    return id;
}

/* -- shmat, shmdt -------------------------------------------------------------------------------------------------- */

struct attach {
    va_t addr;
    u32 flags, prot, mode, f_mode, map_flags;
};

static int attach_arguments(struct attach *a)
{
    a->map_flags = MAP_SHARED_;
    if (!a->addr && (a->flags & SHM_REMAP_))
        return -EINVAL;
    if (a->addr & (SHMLBA - 1)) {
        if (!(a->flags & SHM_RND_))
            return -EINVAL;
        a->map_flags |= MAP_FIXED_;
        a->addr &= ~(SHMLBA - 1);
        if (!a->addr && (a->flags & SHM_REMAP_))
            return -EINVAL;
    }
    a->map_flags |= a->addr ? MAP_FIXED_ : 0;
    a->prot = PROT_READ_ | (a->flags & SHM_RDONLY_ ? 0 : PROT_WRITE_) | (a->flags & SHM_EXEC_ ? PROT_EXEC_ : 0);
    a->mode = R_ALL | (a->flags & SHM_RDONLY_ ? 0 : W_ALL) | (a->flags & SHM_EXEC_ ? X_ALL : 0);
    a->f_mode = FMODE_READ | (a->flags & SHM_RDONLY_ ? 0 : FMODE_WRITE);
    return 0;
}

/* What must be free unless SHM_REMAP is; mmap looks again with MAP_FIXED_NOREPLACE. */
static int check_place(struct cpu *cpu, struct attach *a, u64 size) NO_LOCK_ANALYSIS
{
    struct mm *mm = cpu->current->mm;
    bool taken;

    if (!a->addr || (a->flags & SHM_REMAP_))
        return 0;
    if (a->addr + size < a->addr)
        return -EINVAL;
    down_read(cpu, &mm->mmap_lock);
    taken = find_vma_intersection(cpu, mm, a->addr, a->addr + size);
    up_read(cpu, &mm->mmap_lock);
    a->map_flags |= MAP_FIXED_NOREPLACE_;
    return taken ? -EINVAL : 0;
}

/* The segment counts as attached from here on. */
static struct file *attach_begin(struct cpu *cpu, s32 id, const struct attach *a, u64 *size) NO_LOCK_ANALYSIS
{
    struct file *file = ERR_PTR(-EINVAL);
    struct shm_segment *s;

    down_write(cpu, &shm_ids(cpu)->rwsem);
    s = shm_find_id(cpu->m, id);
    if (s && !shm_permits(cpu, s, a->mode))
        file = ERR_PTR(-EACCES);
    else if (s)
        file = shm_attach_file(cpu, s, a->f_mode);
    if (!IS_ERR(file)) {
        s->nattch++;
        *size = inode_size(s->file->f_inode);
    }
    up_write(cpu, &shm_ids(cpu)->rwsem);
    return file;
}

static void attach_end(struct cpu *cpu, s32 id, struct file *file) NO_LOCK_ANALYSIS
{
    fput(cpu, file);
    down_write(cpu, &shm_ids(cpu)->rwsem);
    shm_detach(cpu, shm_find_id(cpu->m, id));
    up_write(cpu, &shm_ids(cpu)->rwsem);
}

s64 abi_shmat(struct cpu *cpu, struct abi_call *c)
{
    struct attach a = {.addr = c->arg[1], .flags = (u32)c->arg[2]};
    s32 id = (s32)c->arg[0];
    struct file *file;
    u64 size = 0;
    s64 result;

    if (id < 0)
        return -EINVAL;
    result = attach_arguments(&a);
    if (result)
        return result;
    file = attach_begin(cpu, id, &a, &size);
    if (IS_ERR(file))
        return PTR_ERR(file);
    result = check_place(cpu, &a, size);
    if (!result)
        result = sys_mmap(cpu, a.addr, size, a.prot, a.map_flags, file, 0);
    attach_end(cpu, id, file);
    return result == -EEXIST ? -EINVAL : result;
}

/* Part of the attach that began at addr? */
static bool is_attach(const struct vm_area_struct *vma, va_t addr)
{
    return vma->vm_ops == VM_OPS_SHM && (vma->vm_start - addr) >> PAGE_SHIFT == vma->vm_pgoff.nr;
}

/*
 * What is left of the attach that began at addr: the first part tells which segment, parts behind it belong to the call
 * as far as the segment reaches. Parts that were moved elsewhere stay, and sealed ones: as in Linux, the call does not
 * tell of them.
 */
static int detach_at(struct cpu *cpu, struct mm *mm, va_t addr)
{
    struct vm_area_struct *vma = find_vma(cpu, mm, addr);
    struct file *file = NULL;
    u64 size = 0;

    while (vma) {
        va_t end = vma->vm_end;

        if (file && end - addr > size)
            break;
        if (is_attach(vma, addr) && (!file || vma->vm_file == file)) {
            if (!file)
                size = ALIGN_UP(inode_size(vma->vm_file->f_inode), PAGE_SIZE);
            file = vma->vm_file; /* compared only */
            do_munmap(cpu, mm, vma->vm_start, end - vma->vm_start);
        }
        vma = find_vma(cpu, mm, end);
    }
    return file ? 0 : -EINVAL;
}

s64 abi_shmdt(struct cpu *cpu, struct abi_call *c) NO_LOCK_ANALYSIS
{
    struct mm *mm = cpu->current->mm;
    int err;

    charge(cpu, COST_MMAP);
    if (c->arg[0] & ~PAGE_MASK)
        return -EINVAL;
    down_write(cpu, &mm->mmap_lock);
    err = detach_at(cpu, mm, c->arg[0]);
    up_write(cpu, &mm->mmap_lock);
    return err;
}

/* -- shmctl -------------------------------------------------------------------------------------------------------- */

/* The highest index in use, as IPC_INFO and SHM_INFO return it. */
static s64 max_index(struct machine *m)
{
    struct shm_segment *s;
    u64 index, max = 0;

    xa_for_each (&m->cache->shm.segments, index, s)
        max = index;
    return (s64)max;
}

static s64 ctl_ipc_info(struct cpu *cpu, struct shm_result *out)
{
    const struct machine_config *c = &cpu->m->config;

    out->shminfo = (struct user_shminfo){
        .shmmax = c->shmmax, .shmmin = 1, .shmmni = c->shmmni, .shmseg = c->shmmni, .shmall = c->shmall};
    out->size = sizeof(out->shminfo);
    return max_index(cpu->m);
}

static s64 ctl_shm_info(struct cpu *cpu, struct shm_result *out)
{
    struct shm_segment *s;
    u64 index;

    out->shm_info.used_ids = (s32)shm_ids(cpu)->in_use;
    out->shm_info.tot = shm_ids(cpu)->pages;
    xa_for_each (&shm_ids(cpu)->segments, index, s)
        out->shm_info.rss += s->file->f_mapping->nrpages;
    out->size = sizeof(out->shm_info);
    return max_index(cpu->m);
}

static s64 ctl_stat(struct cpu *cpu, s32 id, s32 cmd, struct shm_result *out)
{
    struct shm_segment *s = cmd == IPC_STAT_ ? shm_find_id(cpu->m, id) : shm_find_index(cpu->m, (u32)id & 0x7fff);

    if (!s)
        return -EINVAL;
    if (cmd != SHM_STAT_ANY_ && !shm_permits(cpu, s, R_ALL))
        return -EACCES;
    out->ds = (struct user_shmid_ds){.segsz = s->bytes,
                                     .atime = s->atime,
                                     .dtime = s->dtime,
                                     .ctime = s->ctime,
                                     .cpid = s->cpid,
                                     .lpid = s->lpid,
                                     .nattch = s->nattch};
    out->ds.perm =
        (struct user_ipc_perm){s->key, s->uid, s->gid, s->cuid, s->cgid, s->mode, (u16)(s->id >> 15), 0, {0}};
    out->size = sizeof(out->ds);
    return cmd == IPC_STAT_ ? 0 : s->id;
}

static s64 ctl_set(struct cpu *cpu, s32 id, const struct user_shmid_ds *ds)
{
    struct shm_segment *s = shm_find_id(cpu->m, id);

    if (!s)
        return -EINVAL;
    if (!shm_may_change(cpu, s))
        return -EPERM;
    if (ds->perm.uid == ~0u || ds->perm.gid == ~0u)
        return -EINVAL;
    s->uid = ds->perm.uid;
    s->gid = ds->perm.gid;
    s->mode = (s->mode & ~MODE_BITS) | (ds->perm.mode & MODE_BITS);
    s->ctime = shm_now(cpu);
    return 0;
}

static s64 ctl_remove(struct cpu *cpu, s32 id)
{
    struct shm_segment *s = shm_find_id(cpu->m, id);

    if (!s)
        return -EINVAL;
    if (!shm_may_change(cpu, s))
        return -EPERM;
    shm_remove(cpu, s);
    return 0;
}

static s64 ctl_lock(struct cpu *cpu, s32 id, s32 cmd)
{
    struct shm_segment *s = shm_find_id(cpu->m, id);
    const struct task *own = cpu->current;

    if (!s)
        return -EINVAL;
    if (!task_capable(cpu->current, CAP_IPC_LOCK_)) {
        if (task_uid(own) != s->uid && task_uid(own) != s->cuid)
            return -EPERM;
        if (cmd == SHM_LOCK_ && !rlimit(cpu->current, RLIMIT_MEMLOCK_))
            return -EPERM;
    }
    if (cmd == SHM_LOCK_)
        return shm_lock(cpu, s);
    shm_unlock(cpu, s);
    return 0;
}

static s64 shm_control(struct cpu *cpu, s32 id, s32 cmd, struct shm_result *io)
{
    switch (cmd) {
    case IPC_INFO_:
        return ctl_ipc_info(cpu, io);
    case SHM_INFO_:
        return ctl_shm_info(cpu, io);
    case IPC_STAT_:
    case SHM_STAT_:
    case SHM_STAT_ANY_:
        return ctl_stat(cpu, id, cmd, io);
    case IPC_SET_:
        return ctl_set(cpu, id, &io->ds);
    case IPC_RMID_:
        return ctl_remove(cpu, id);
    case SHM_LOCK_:
    case SHM_UNLOCK_:
        return ctl_lock(cpu, id, cmd);
    default:
        return -EINVAL;
    }
}

s64 abi_shmctl(struct cpu *cpu, struct abi_call *c) NO_LOCK_ANALYSIS
{
    s32 id = (s32)c->arg[0], cmd = (s32)c->arg[1];
    struct shm_result io;
    s64 result;

    memset(&io, 0, sizeof(io));
    if (cmd < 0 || id < 0)
        return -EINVAL;
    if (cmd == IPC_SET_ && abi_copy_from_user(cpu, c, 2, 0, &io.ds, sizeof(io.ds)))
        return -EFAULT;
    down_write(cpu, &shm_ids(cpu)->rwsem);
    result = shm_control(cpu, id, cmd, &io);
    up_write(cpu, &shm_ids(cpu)->rwsem);
    if (result >= 0 && io.size && abi_copy_to_user(cpu, c, 2, 0, &io.ds, io.size))
        return -EFAULT;
    return result;
}
