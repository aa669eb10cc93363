/* SPDX-License-Identifier: MIT */
/* The door: call numbers, the table of handlers, bytes behind pointers. */
#include "abi/abi.h"

#include "abi/abi_priv.h"

const char *const abi_name[NR_ABI_CALLS] = {
#define X(name, x86_64, generic) [ABI_##name] = #name,
    ABI_CALLS(X)
#undef X
};

static const s16 x86_64_nr[NR_ABI_CALLS] = {
#define X(name, x86_64, generic) [ABI_##name] = (x86_64),
    ABI_CALLS(X)
#undef X
};

static const s16 generic_nr[NR_ABI_CALLS] = {
#define X(name, x86_64, generic) [ABI_##name] = (generic),
    ABI_CALLS(X)
#undef X
};

static enum abi_nr find_nr(const s16 *table, s64 nr)
{
    for (u32 i = 0; i < NR_ABI_CALLS; i++)
        if (nr >= 0 && table[i] == nr)
            return (enum abi_nr)i;
    return NR_ABI_CALLS;
}

enum abi_nr abi_of_x86_64(s64 nr)
{
    return find_nr(x86_64_nr, nr);
}

enum abi_nr abi_of_generic(s64 nr)
{
    return find_nr(generic_nr, nr);
}

static s64 abi_madvise(struct cpu *cpu, struct abi_call *c)
{
    return sys_madvise(cpu, c->arg[0], c->arg[1], (int)c->arg[2]);
}

/* One line a call; what has none is not modelled. */
static const abi_handler_fn handler[NR_ABI_CALLS] = {
    [ABI_mmap] = abi_mmap,
    [ABI_munmap] = abi_munmap,
    [ABI_mremap] = abi_mremap,
    [ABI_mprotect] = abi_mprotect,
    [ABI_pkey_mprotect] = abi_pkey_mprotect,
    [ABI_pkey_alloc] = abi_pkey_alloc,
    [ABI_pkey_free] = abi_pkey_free,
    [ABI_remap_file_pages] = abi_remap_file_pages,
    [ABI_mseal] = abi_mseal,
    [ABI_prctl] = abi_prctl,
    [ABI_personality] = abi_personality,
    [ABI_brk] = abi_brk,
    [ABI_madvise] = abi_madvise,
    [ABI_getrlimit] = abi_getrlimit,
    [ABI_setrlimit] = abi_setrlimit,
    [ABI_prlimit64] = abi_prlimit64,
    [ABI_memfd_create] = abi_memfd_create,
    [ABI_fcntl] = abi_fcntl,
    [ABI_shmget] = abi_shmget,
    [ABI_shmat] = abi_shmat,
    [ABI_shmdt] = abi_shmdt,
    [ABI_shmctl] = abi_shmctl,
    [ABI_ftruncate] = abi_ftruncate,
    [ABI_fallocate] = abi_fallocate,
    [ABI_mlock] = abi_mlock,
    [ABI_mlock2] = abi_mlock2,
    [ABI_munlock] = abi_munlock,
    [ABI_mlockall] = abi_mlockall,
    [ABI_munlockall] = abi_munlockall,
    [ABI_mincore] = abi_mincore,
    [ABI_msync] = abi_msync,
    [ABI_membarrier] = abi_membarrier,
    [ABI_process_madvise] = abi_process_madvise,
    [ABI_process_vm_readv] = abi_process_vm_readv,
    [ABI_process_vm_writev] = abi_process_vm_writev,
};

bool abi_is_modelled(enum abi_nr nr)
{
    return nr < NR_ABI_CALLS && handler[nr];
}

s64 abi_syscall(struct cpu *cpu, struct abi_call *call)
{
    if (!abi_is_modelled(call->nr))
        return -ENOSYS;
    return handler[call->nr](cpu, call);
}

/* Without contents there are no bytes to move: the pages are touched, what is read is zeroes. 0 or -EFAULT. */
static int touch_user(struct cpu *cpu, va_t addr, u64 len, enum mmu_access_kind kind)
{
    struct fault_info fi;
    int signo = 0;

    cpu_enter_user(cpu);
    while (len && !signo) {
        u64 piece = MIN(len, PAGE_SIZE - (addr & ~PAGE_MASK));

        signo = kind == MMU_WRITE ? mmu_access(cpu, cpu_mmu(cpu), addr, MMU_WRITE, &fi)
                                  : mmu_access(cpu, cpu_mmu(cpu), addr, MMU_READ, &fi);
        addr += piece;
        len -= piece;
    }
    cpu_enter_kernel(cpu);
    return signo ? -EFAULT : 0;
}

static int read_user(struct cpu *cpu, void *dst, va_t src, u64 len)
{
    struct fault_info fi;

    if (cpu->m->config.content == CONTENT_FULL)
        return mmu_copy_from_user(cpu, dst, src, len, &fi) ? -EFAULT : 0;
    memset(dst, 0, len);
    return touch_user(cpu, src, len, MMU_READ);
}

static int write_user(struct cpu *cpu, va_t dst, const void *src, u64 len)
{
    struct fault_info fi;

    if (!abi_access_ok(cpu->current->mm, dst, len)) /* nothing is touched; what is read, is up to there */
        return -EFAULT;
    if (cpu->m->config.content == CONTENT_FULL)
        return mmu_copy_to_user(cpu, dst, src, len, &fi) ? -EFAULT : 0;
    return touch_user(cpu, dst, len, MMU_WRITE);
}

int abi_copy_from_user(struct cpu *cpu, const struct abi_call *call, u32 n, u64 offset, void *dst, u64 len)
{
    const struct abi_buf *b = &call->in[n];

    if (!b->p)
        return read_user(cpu, dst, call->arg[n] + offset, len);
    if (offset > b->len || len > b->len - offset)
        return -EFAULT;
    memcpy(dst, (const char *)b->p + offset, len);
    return 0;
}

int abi_copy_to_user(struct cpu *cpu, const struct abi_call *call, u32 n, u64 offset, const void *src, u64 len)
{
    const struct abi_buf *b = &call->out[n];

    if (!b->p)
        return write_user(cpu, call->arg[n] + offset, src, len);
    if (offset < b->len)
        memcpy((char *)b->p + offset, src, MIN(len, b->len - offset));
    return 0;
}
