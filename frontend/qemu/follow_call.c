/* SPDX-License-Identifier: MIT */
/*
 * The machines follow a call: they are told what the host answered. What the host knows (files, sizes of segments) was
 * gathered in struct call by whoever calls: syscall.c, or a replay from its trace.
 *
 * A machine that cannot follow for want of memory where the host had some is out of memory: it is marked dead, with the
 * call as the reason. -ENOMEM alone does not say so, mprotect() of a hole gives it, too: allocations were in want.
 * (frontend/verify/force.c corrects a machine that has answered otherwise by itself.)
 */
#include "follow.h"

#include <stdio.h>

#include "abi/abi.h"
#include "cache/cache.h"
#include "cache/filemap.h"
#include "cache/sysv_shm.h"
#include "calls.h"

#define SHM_RDONLY_ 010000 /* shmat(2) */
#define SHM_REMAP_ 040000
#define SHM_LOCK_ 11 /* shmctl(2) */
#define SHM_UNLOCK_ 12
#define IPC_RMID_ 0

void follow_out_of_memory(u32 i, const char *what, u64 where)
{
    session_machine_dead(process.s, i, "out of memory: process %d (%s), %s 0x%llx", process.pid, process.slot->comm,
                         what, (unsigned long long)where);
}

/* Allocations of this CPU that found no free page at once, or were made to fail: it grows while memory is short. */
static u64 allocations_in_want(const struct cpu *cpu)
{
    u64 n = atomic_load(&cpu->m->fail.failed);

    for (u32 i = ALLOCSTALL_DMA; i <= ALLOCSTALL_DEVICE; i++)
        n += cpu->event[i];
    return n;
}

struct file *follow_file(struct cpu *cpu, const struct host_file *f)
{
    struct file *file;

    if (!f->there)
        return NULL;
    if (f->dev & DEV_SHMEM)
        file = tmpfs_open(cpu, f->dev & ~DEV_SHMEM, f->ino, f->size, FMODE_READ | FMODE_WRITE, f->name);
    else
        file = file_open(cpu, f->dev, f->ino, f->size, FMODE_READ | FMODE_WRITE, f->name);
    if (IS_ERR(file))
        return file;
    if (f->size == SIZE_GONE)
        inode_set_linked(cpu, file->f_inode, INODE_HAS_NO_NAME);
    else if (READ_ONCE(file->f_inode->i_flags) & INODE_UNLINKED) /* seen through another descriptor */
        inode_set_linked(cpu, file->f_inode, INODE_HAS_NAME);
    if (f->size != SIZE_GONE && file->f_inode->i_size != f->size)
        inode_set_size(cpu, file->f_inode, f->size);
    return file;
}

/* -- the address space --------------------------------------------------------------------------------------------- */

static s64 follow_mmap(struct vcpu *v, struct cpu *cpu, u64 addr)
{
    u32 flags = ((u32)v->arg[3] & (MAP_TYPE_ | MAP_ANONYMOUS_ | MAP_GROWSDOWN_ | MAP_LOCKED_ | MAP_NORESERVE_ |
                                   MAP_POPULATE_ | MAP_STACK_)) |
                MAP_FIXED_;
    u32 prot = (u32)v->arg[2] & (PROT_READ_ | PROT_WRITE_ | PROT_EXEC_);
    struct file *file = flags & MAP_ANONYMOUS_ ? NULL : follow_file(cpu, &v->file);
    s64 ret;

    if (IS_ERR(file))
        return PTR_ERR(file);
    if ((flags & MAP_TYPE_) == MAP_SHARED_VALIDATE_)
        flags = (flags & ~MAP_TYPE_) | MAP_SHARED_;
    if (!file) /* a device: memory without a file */
        flags |= MAP_ANONYMOUS_;
    ret = sys_mmap(cpu, addr, v->arg[1], prot, flags, file, file ? v->arg[5] : 0);
    if (file)
        fput(cpu, file);
    return ret;
}

static s64 follow_mremap(struct vcpu *v, struct cpu *cpu, u64 new_addr)
{
    u32 flags = (u32)v->arg[3];

    if (new_addr == v->arg[0])
        return sys_mremap(cpu, v->arg[0], v->arg[1], v->arg[2], 0, 0);
    return sys_mremap(cpu, v->arg[0], v->arg[1], v->arg[2],
                      MREMAP_MAYMOVE_ | MREMAP_FIXED_ | (flags & MREMAP_DONTUNMAP_), new_addr);
}

/* The machine has the host's segment under the host's id. */
static s64 follow_segment(struct cpu *cpu, const struct host_file *f) NO_LOCK_ANALYSIS
{
    struct shm_ids *ids = &cpu->m->cache->shm;
    u32 key = 0, mode = 0600;
    struct shm_segment *s;

    if (f->size == SIZE_GONE)
        return -EINVAL;
    sscanf(f->name, SEGMENT_NAME, &key, &mode);
    down_write(cpu, &ids->rwsem);
    s = shm_find_id(cpu->m, (s32)f->ino);
    if (!s)
        s = shm_adopt(cpu, (s32)f->ino, (s32)key, f->size, mode);
    up_write(cpu, &ids->rwsem);
    return IS_ERR(s) ? PTR_ERR(s) : 0;
}

static s64 follow_shmat(struct vcpu *v, struct cpu *cpu, u64 addr)
{
    struct abi_call call = {.nr = ABI_shmat, .arg = {(u32)v->arg[0], addr, (v->arg[2] & SHM_RDONLY_) | SHM_REMAP_}};
    s64 err = v->file.there ? follow_segment(cpu, &v->file) : -EINVAL;

    return err ? err : abi_syscall(cpu, &call);
}

/*
 * Calls whose result tells nothing that the machine must copy: it does them itself. Its own errors change nothing, but
 * for those of memory that cannot be had (mlock: -EAGAIN).
 */
static s64 follow_surface(struct vcpu *v, struct cpu *cpu)
{
    u64 want = allocations_in_want(cpu);
    s64 ret;
    struct abi_call call = {.nr = process.arch == GUEST_X86_64 ? abi_of_x86_64(v->nr) : abi_of_generic(v->nr)};

    if (!abi_is_modelled(call.nr))
        return 0;
    memcpy(call.arg, v->arg, sizeof(call.arg));
    ret = abi_syscall(cpu, &call);
    return ret == -ENOMEM || (ret == -EAGAIN && allocations_in_want(cpu) != want) ? -ENOMEM : 0;
}

static s64 follow_on(struct vcpu *v, struct cpu *cpu, enum sys_id id, s64 ret)
{
    switch (id) {
    case SYS_mmap:
        return follow_mmap(v, cpu, (u64)ret);
    case SYS_munmap:
        return sys_munmap(cpu, v->arg[0], v->arg[1]);
    case SYS_mprotect:
        return sys_mprotect(cpu, v->arg[0], v->arg[1], (u32)v->arg[2] & (PROT_READ_ | PROT_WRITE_ | PROT_EXEC_));
    case SYS_mremap:
        return follow_mremap(v, cpu, (u64)ret);
    case SYS_brk: {
        s64 brk = cpu->current->mm->brk == (u64)ret ? ret : sys_brk(cpu, (u64)ret);

        return brk == ret ? 0 : -ENOMEM;
    }
    case SYS_madvise:
        return sys_madvise(cpu, v->arg[0], v->arg[1], (int)v->arg[2]) == -ENOMEM ? -ENOMEM : 0;
    case SYS_shmat:
        return follow_shmat(v, cpu, (u64)ret);
    case SYS_shmget:
        return v->file.there ? follow_segment(cpu, &v->file) : 0;
    case SYS_shmctl: /* the others want buffers, or, IPC_RMID, are told of as files are that go */
        return (s32)v->arg[1] == SHM_LOCK_ || (s32)v->arg[1] == SHM_UNLOCK_ ? follow_surface(v, cpu) : 0;
    default:
        return follow_surface(v, cpu);
    }
}

void follow_address_space(struct vcpu *v, s64 ret)
{
    enum sys_id id = sys_id(process.arch, v->nr);

    if (ret < 0 && ret > -4096)
        return;
    for_each_machine_in_core(v, i, cpu)
    {
        u64 want = allocations_in_want(cpu);
        s64 err = follow_on(v, cpu, id, ret);
        bool creates = id == SYS_mmap || id == SYS_mremap || id == SYS_brk || id == SYS_shmat;

        if (err >= 0 || !IS_ERR_VALUE((u64)err))
            continue;
        if (err == -ENOMEM && (creates || allocations_in_want(cpu) != want)) {
            session_machine_dead(process.s, i, "out of memory: process %d (%s), %s(0x%llx, 0x%llx)", process.pid,
                                 process.slot->comm, sys_name(id), (unsigned long long)v->arg[0],
                                 (unsigned long long)v->arg[1]);
            continue;
        }
        atomic_fetch_add(&process.s->disagreements, 1);
        session_notice(process.s,
                       "process %d (%s): %s(0x%llx, 0x%llx, 0x%llx) gives error %d on machine %u, %lld on the host",
                       process.pid, process.slot->comm, sys_name(id), (unsigned long long)v->arg[0],
                       (unsigned long long)v->arg[1], (unsigned long long)v->arg[2], (int)-err, i, (long long)ret);
    }
}

/* -- around it ----------------------------------------------------------------------------------------------------- */

void follow_return(struct vcpu *v, s64 ret)
{
    vcpu_acquire(v);
    if (v->state == VCPU_NONE)
        return; /* the process ended while it waited for a CPU */
    if (ret == -ENOSYS && v->nr >= 0 && v->nr < SESSION_SYSCALLS)
        atomic_fetch_add(&process.s->enosys[process.arch][v->nr], 1);
    atomic_fetch_add_explicit(&process.s->events, 1, memory_order_relaxed);
    for (u32 i = 0; i < process.nr_machines; i++)
        if (v->cpu[i])
            charge(v->cpu[i], COST_SYSCALL);
}

void follow_file_io(struct vcpu *v, const struct host_file *f, u64 pos, u64 len, enum mmu_access_kind kind)
{
    for_each_machine_in_core(v, i, cpu)
    {
        u64 want = allocations_in_want(cpu);
        struct file *file = follow_file(cpu, f);
        s64 done = (s64)len;

        if (!file)
            continue;
        if (IS_ERR(file))
            done = PTR_ERR(file);
        else if (kind == MMU_WRITE) /* of memory: the file is read */
            done = generic_file_read(cpu, file, pos, len);
        else
            done = generic_file_write(cpu, file, pos, len);
        if (done < (s64)len && allocations_in_want(cpu) != want)
            follow_out_of_memory(i, kind == MMU_WRITE ? "read of a file at" : "write to a file at", pos);
        if (!IS_ERR(file))
            fput(cpu, file);
    }
}

/* A machine that has not seen it has nothing to remove. */
static void follow_segment_removed(struct cpu *cpu, s32 id)
{
    struct abi_call call = {.nr = ABI_shmctl, .arg = {(u32)id, IPC_RMID_}};

    abi_syscall(cpu, &call);
}

void follow_file_size(struct vcpu *v, const struct host_file *f)
{
    for_each_machine_in_core(v, i, cpu)
    {
        struct file *file = f->dev == DEV_SHMEM ? NULL : follow_file(cpu, f);

        if (f->dev == DEV_SHMEM)
            follow_segment_removed(cpu, (s32)f->ino);
        if (IS_ERR(file))
            follow_out_of_memory(i, "a file's new size,", f->size);
        else if (file)
            fput(cpu, file);
    }
}

void follow_done(struct vcpu *v)
{
    for (u32 i = 0; i < process.nr_machines; i++)
        if (v->cpu[i] && session_machine_is_dead(process.s, i))
            vcpu_machine_dead(v, i);
}
