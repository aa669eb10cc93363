/* SPDX-License-Identifier: MIT */
/*
 * SysV shared memory: the segments, their ids, and who is attached.
 *
 *   ids ── segments: xarray    index ─▶ shm_segment ── file ── inode (shmem)
 *                                                        ▲
 *   VMA (VM_OPS_SHM) ── vm_file ── shm_id, f_inode ──────┘      one struct file for each shmat(2)
 *
 * Ids. id = seq * 32768 + index. Indices are given out in a cycle of at least 64, so that a removed segment's id is not
 * soon another's; seq goes up when the cycle starts again, and an id with an old seq is no id any more.
 *
 * Attaches. nattch = VMAs of the segment in all processes: each part of a mapping that mprotect() or munmap() has cut
 * counts. open() and close() of the VMA keep it; the call shmat() itself counts while it runs.
 *
 *   created ─[shmat]─▶ attached ─[shmdt, exit, exec]─▶ nattch 0 ──────────────────▶ stays
 *      │                   │ IPC_RMID                      ▲ SHM_DEST? ─▶ destroyed
 *      └─[IPC_RMID]─▶ destroyed       └─▶ SHM_DEST, key private: can be attached by id still
 *
 * Locks. ids->rwsem for everything here (inside mmap_lock: RANK_IPC).
 *
 * Invariants (shm_check)
 *   SH1 a segment stands at its index; in_use counts them; pages is the sum of their sizes.
 *   SH2 nattch = VMAs found; a segment with SHM_DEST has one at least.
 *   SH3 no two segments have one key, but IPC_PRIVATE.
 *   SH4 a VMA with VM_OPS_SHM belongs to a segment that exists, and maps its object.
 *   SH5 a segment is SHM_LOCKED while a user is charged for it (ucounts.c); none of huge pages is.
 *
 * Follows shmget(2), shmop(2), shmctl(2), sysvipc(7), and 6.18 for ids.
 */
#include "cache/sysv_shm.h"

#include "base/errno.h"
#include "base/format.h"
#include "cache/cache.h"
#include "kmem/slab.h"
#include "phys/gfp.h"

#define INDEX_BITS 15u
#define MAX_SEGMENTS (1u << INDEX_BITS)
#define MIN_CYCLE 64u /* slots of a kernel's xarray node */
#define MAX_SEQ (INT32_MAX >> INDEX_BITS)

int shm_init(struct cpu *cpu)
{
    struct shm_ids *ids = &cpu->m->cache->shm;

    init_rwsem(&ids->rwsem, RANK_IPC);
    xa_init(&ids->segments, RANK_I_PAGES);
    xa_init(&ids->ucounts, RANK_I_PAGES);
    ids->last_index = -1;
    ids->cachep = kmem_cache_create(cpu, "shmid_kernel", sizeof(struct shm_segment), 0, SLAB_ACCOUNT, SLAB_CTOR_NONE);
    return ids->cachep ? 0 : -ENOMEM;
}

s64 shm_now(const struct cpu *cpu)
{
    return (s64)(cpu->clock_ps / 1000000000000ull);
}

/* -- finding ------------------------------------------------------------------------------------------------------- */

struct shm_segment *shm_find_index(struct machine *m, u32 index)
{
    return xa_load(&m->cache->shm.segments, index);
}

struct shm_segment *shm_find_id(struct machine *m, s32 id)
{
    struct shm_segment *s = id < 0 ? NULL : shm_find_index(m, (u32)id & (MAX_SEGMENTS - 1));

    return s && s->id == id ? s : NULL;
}

struct shm_segment *shm_find_key(struct machine *m, s32 key)
{
    struct shm_segment *s;
    u64 index;

    xa_for_each (&m->cache->shm.segments, index, s)
        if (s->key == key)
            return s;
    return NULL;
}

/* -- creation and destruction -------------------------------------------------------------------------------------- */

/* The next free index of the cycle; one is free, because in_use is below MAX_SEGMENTS. */
static u32 next_index(const struct shm_ids *ids)
{
    u32 end = MIN(MAX(ids->in_use * 3 / 2, MIN_CYCLE), MAX_SEGMENTS);
    u32 from = (u32)(ids->last_index + 1), i;

    for (i = from; i < end; i++)
        if (!xa_load(&ids->segments, i))
            return i;
    for (i = 0; xa_load(&ids->segments, i); i++)
        ;
    return i;
}

static u64 shm_pages(const struct shm_segment *s)
{
    return DIV_ROUND_UP(s->bytes, PAGE_SIZE);
}

/* The segment takes the place of its id, which is free. -ENOMEM. */
static int shm_place(struct cpu *cpu, struct shm_segment *s, s32 id)
{
    struct shm_ids *ids = &cpu->m->cache->shm;
    void *old = xa_store(cpu, &ids->segments, (u32)id & (MAX_SEGMENTS - 1), s, GFP_KERNEL);

    if (IS_ERR(old))
        return PTR_ERR(old);
    s->id = id;
    ids->in_use++;
    ids->pages += shm_pages(s);
    s->file->f_inode->ino = (u64)id;
    return 0;
}

/* Give the segment its id and place. -ENOSPC: kernel.shmmni; -ENOMEM. */
static int shm_add(struct cpu *cpu, struct shm_segment *s)
{
    struct shm_ids *ids = &cpu->m->cache->shm;
    u32 seq = ids->seq, index;
    int err;

    if (ids->in_use >= MIN(cpu->m->config.shmmni, MAX_SEGMENTS))
        return -ENOSPC;
    index = next_index(ids);
    if ((s32)index <= ids->last_index)
        seq = seq + 1 >= MAX_SEQ ? 0 : seq + 1;
    err = shm_place(cpu, s, (s32)(seq << INDEX_BITS | index));
    if (err)
        return err;
    ids->seq = seq;
    ids->last_index = (s32)index;
    return 0;
}

/* Locked no more: whoever locked it may lock as much again. */
static void shm_uncharge(struct cpu *cpu, struct shm_segment *s)
{
    s->mode &= ~SHM_LOCKED_;
    user_shm_unlock(cpu, s->mlock_ucounts, shm_pages(s));
    s->mlock_ucounts = NULL;
}

static void shm_destroy(struct cpu *cpu, struct shm_segment *s)
{
    struct shm_ids *ids = &cpu->m->cache->shm;

    if (s->mode & SHM_LOCKED_)
        shm_uncharge(cpu, s);
    xa_erase(cpu, &ids->segments, (u32)s->id & (MAX_SEGMENTS - 1));
    ids->in_use--;
    ids->pages -= shm_pages(s);
    fput(cpu, s->file);
    kmem_cache_free(cpu, ids->cachep, s);
}

/* One without an id yet. */
static struct shm_segment *shm_alloc(struct cpu *cpu, s32 key, u64 bytes, u32 mode, vm_flags_t vm_flags, u32 huge_shift)
{
    const struct task *t = cpu->current;
    struct shm_segment *s = kmem_cache_alloc(cpu, cpu->m->cache->shm.cachep, GFP_KERNEL);
    char name[16];
    int err;

    if (!s)
        return ERR_PTR(-ENOMEM);
    *s = (struct shm_segment){.key = key, .mode = mode, .bytes = bytes, .ctime = shm_now(cpu), .cpid = t->tgid};
    s->uid = s->cuid = task_uid(t);
    s->gid = s->cgid = task_gid(t);
    quire_scnprintf(name, sizeof(name), "SYSV%08x", (u32)key);
    s->file = huge_shift ? hugetlb_file_setup(cpu, name, ALIGN_UP(bytes, (u64)1 << huge_shift), huge_shift)
                         : shmem_file_setup(cpu, name, bytes, vm_flags);
    if (!IS_ERR(s->file))
        return s;
    err = PTR_ERR(s->file);
    kmem_cache_free(cpu, cpu->m->cache->shm.cachep, s);
    return ERR_PTR(err);
}

static struct shm_segment *unless(struct cpu *cpu, struct shm_segment *s, int err)
{
    if (!err)
        return s;
    fput(cpu, s->file);
    kmem_cache_free(cpu, cpu->m->cache->shm.cachep, s);
    return ERR_PTR(err);
}

struct shm_segment *shm_create(struct cpu *cpu, s32 key, u64 bytes, u32 mode, vm_flags_t vm_flags, u32 huge_shift)
{
    struct shm_segment *s = shm_alloc(cpu, key, bytes, mode, vm_flags, huge_shift);

    return IS_ERR(s) ? s : unless(cpu, s, shm_add(cpu, s));
}

struct shm_segment *shm_adopt(struct cpu *cpu, s32 id, s32 key, u64 bytes, u32 mode)
{
    struct shm_segment *old = key == IPC_PRIVATE_ ? NULL : shm_find_key(cpu->m, key), *s;

    if (id < 0 || shm_find_index(cpu->m, (u32)id & (MAX_SEGMENTS - 1)))
        return ERR_PTR(-EEXIST);
    s = shm_alloc(cpu, key, bytes, mode, 0, 0);
    if (!IS_ERR(s))
        s = unless(cpu, s, shm_place(cpu, s, id));
    if (!IS_ERR(s) && old)
        old->key = IPC_PRIVATE_; /* removed unseen */
    return s;
}

void shm_remove(struct cpu *cpu, struct shm_segment *s)
{
    if (!s->nattch) {
        shm_destroy(cpu, s);
        return;
    }
    s->mode |= SHM_DEST_;
    s->key = IPC_PRIVATE_;
}

void shm_detach(struct cpu *cpu, struct shm_segment *s)
{
    s->nattch--;
    if (!s->nattch && (s->mode & SHM_DEST_))
        shm_destroy(cpu, s);
}

/* -- locking ------------------------------------------------------------------------------------------------------- */

/* They are never swapped out. */
static bool shm_is_huge(const struct shm_segment *s)
{
    return s->file->f_inode->i_flags & INODE_HUGETLB;
}

int shm_lock(struct cpu *cpu, struct shm_segment *s)
{
    struct ucounts *u;

    if (shm_is_huge(s) || (s->mode & SHM_LOCKED_))
        return 0;
    u = user_shm_lock(cpu, shm_pages(s));
    if (IS_ERR(u))
        return PTR_ERR(u);
    s->mode |= SHM_LOCKED_;
    s->mlock_ucounts = u;
    shmem_lock_mapping(s->file->f_mapping);
    return 0;
}

void shm_unlock(struct cpu *cpu, struct shm_segment *s)
{
    if (!(s->mode & SHM_LOCKED_))
        return;
    shm_uncharge(cpu, s);
    shmem_unlock_mapping(cpu, s->file->f_mapping);
}

/* -- attaching ----------------------------------------------------------------------------------------------------- */

struct file *shm_attach_file(struct cpu *cpu, const struct shm_segment *s, u32 f_mode)
{
    struct file *file = file_reopen(cpu, s->file, f_mode);

    if (IS_ERR(file))
        return file;
    file->vm_ops = VM_OPS_SHM;
    file->shm_id = s->id;
    return file;
}

/* -EINVAL: there is no such segment any more. */
static int attach_vma(struct cpu *cpu, struct vm_area_struct *vma) NO_LOCK_ANALYSIS
{
    struct shm_ids *ids = &cpu->m->cache->shm;
    struct shm_segment *s;

    down_write(cpu, &ids->rwsem);
    s = shm_find_id(cpu->m, vma->vm_file->shm_id);
    if (s) {
        s->nattch++;
        s->atime = shm_now(cpu);
        s->lpid = cpu->current ? cpu->current->tgid : 0;
    }
    up_write(cpu, &ids->rwsem);
    return s ? 0 : -EINVAL;
}

static void shm_open(struct cpu *cpu, struct vm_area_struct *vma)
{
    int err = attach_vma(cpu, vma);

    ASSERT(!err); /* attached already, by the VMA's model */
}

static void shm_close(struct cpu *cpu, struct vm_area_struct *vma) NO_LOCK_ANALYSIS
{
    struct shm_ids *ids = &cpu->m->cache->shm;
    struct shm_segment *s;

    down_write(cpu, &ids->rwsem);
    s = shm_find_id(cpu->m, vma->vm_file->shm_id);
    ASSERT(s);
    s->dtime = shm_now(cpu);
    s->lpid = cpu->current ? cpu->current->tgid : 0;
    shm_detach(cpu, s);
    up_write(cpu, &ids->rwsem);
}

/* remap_file_pages() may just have unmapped the last attach of a segment that had been removed. */
static int shm_mmap(struct cpu *cpu, struct vm_area_struct *vma)
{
    return attach_vma(cpu, vma);
}

static int shm_may_split(struct cpu *cpu, struct vm_area_struct *vma, va_t addr)
{
    return vma->vm_flags & VM_HUGETLB ? hugetlb_may_split(cpu, vma, addr) : 0;
}

static vm_fault_t shm_fault(struct cpu *cpu, struct vm_fault *vmf)
{
    return vmf->vma->vm_flags & VM_HUGETLB ? hugetlb_fault(cpu, vmf) : shmem_vm_ops.fault(cpu, vmf);
}

const struct vm_operations_struct sysv_shm_vm_ops = {
    .mmap = shm_mmap,
    .open = shm_open,
    .close = shm_close,
    .may_split = shm_may_split,
    .fault = shm_fault, /* and no .map_pages: a segment's pages are mapped one by one */
};

/* -- books --------------------------------------------------------------------------------------------------------- */

static void count_vma(struct machine *m, const struct vm_area_struct *vma, struct check_report *r)
{
    struct shm_segment *s;

    if (vma->vm_ops != VM_OPS_SHM)
        return;
    s = shm_find_id(m, vma->vm_file->shm_id);
    if (s && s->file->f_inode == vma->vm_file->f_inode)
        s->found++;
    else
        check_fail(r, "SH4: VMA %llx: segment %d is not there", (unsigned long long)vma->vm_start,
                   vma->vm_file->shm_id);
}

static void check_segment(struct machine *m, struct shm_segment *s, u64 index, struct check_report *r)
{
    struct shm_segment *same = s->key == IPC_PRIVATE_ ? s : shm_find_key(m, s->key);

    if (((u32)s->id & (MAX_SEGMENTS - 1)) != index)
        check_fail(r, "SH1: segment %d stands at index %llu", s->id, (unsigned long long)index);
    if (s->nattch != s->found)
        check_fail(r, "SH2: segment %d: nattch %llu, %u VMAs map it", s->id, (unsigned long long)s->nattch, s->found);
    if ((s->mode & SHM_DEST_) && !s->nattch)
        check_fail(r, "SH2: segment %d is removed and not attached, but there", s->id);
    if (!(s->mode & SHM_LOCKED_) != !s->mlock_ucounts || (s->mlock_ucounts && shm_is_huge(s)))
        check_fail(r, "SH5: segment %d of mode %o: %s is charged for it", s->id, s->mode,
                   s->mlock_ucounts ? "somebody" : "nobody");
    else if (s->mlock_ucounts)
        ucounts_found(s->mlock_ucounts, shm_pages(s));
    if (same != s)
        check_fail(r, "SH3: segments %d and %d have key %x", s->id, same->id, (u32)s->key);
}

void shm_check(struct machine *m, struct check_report *r)
{
    struct shm_ids *ids = &m->cache->shm;
    struct vm_area_struct *vma;
    struct shm_segment *s;
    u64 index, pages = 0;
    struct mm *mm;
    u32 nr = 0;

    xa_for_each (&ids->segments, index, s)
        s->found = 0;
    list_for_each_entry (mm, &m->vm->mms, mmlist) {
        for_each_vma (vma, mm)
            count_vma(m, vma, r);
    }
    ucounts_check_begin(m);
    xa_for_each (&ids->segments, index, s) {
        check_segment(m, s, index, r);
        pages += shm_pages(s);
        nr++;
    }
    ucounts_check_end(m, r);
    CHECK_EQ(r, ids->in_use, nr, "SH1: segments");
    CHECK_EQ(r, ids->pages, pages, "SH1: pages of segments");
    xa_check(&ids->segments, r);
}
