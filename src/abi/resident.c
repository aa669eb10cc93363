/* SPDX-License-Identifier: MIT */
/* mincore(2), msync(2), mlock(2) and its relatives: arguments. What they do is in src/vm. */
#include "abi/abi_priv.h"

#include "base/errno.h"

s64 abi_mlock(struct cpu *cpu, struct abi_call *c)
{
    return sys_mlock(cpu, c->arg[0], c->arg[1]);
}

s64 abi_mlock2(struct cpu *cpu, struct abi_call *c)
{
    return sys_mlock2(cpu, c->arg[0], c->arg[1], (u32)c->arg[2]);
}

s64 abi_munlock(struct cpu *cpu, struct abi_call *c)
{
    return sys_munlock(cpu, c->arg[0], c->arg[1]);
}

s64 abi_mlockall(struct cpu *cpu, struct abi_call *c)
{
    return sys_mlockall(cpu, (u32)c->arg[0]);
}

s64 abi_munlockall(struct cpu *cpu, struct abi_call *c)
{
    return sys_munlockall(cpu);
}

s64 abi_msync(struct cpu *cpu, struct abi_call *c)
{
    return sys_msync(cpu, c->arg[0], c->arg[1], (u32)c->arg[2]);
}

#define MINCORE_CHUNK 512 /* pages: what of the vector is kept at a time */

s64 abi_mincore(struct cpu *cpu, struct abi_call *c)
{
    struct mm *mm = cpu->current->mm;
    va_t start = c->arg[0];
    u64 pages, done = 0;
    u8 vec[MINCORE_CHUNK];

    charge(cpu, COST_MMAP);
    if (start & ~PAGE_MASK)
        return -EINVAL;
    if (!abi_access_ok(mm, start, c->arg[1]))
        return -ENOMEM;
    pages = DIV_ROUND_UP(c->arg[1], PAGE_SIZE);
    if (!abi_access_ok(mm, c->arg[2], pages))
        return -EFAULT;
    while (done < pages) {
        s64 n = mincore_pages(cpu, mm, start + (done << PAGE_SHIFT), MIN(pages - done, MINCORE_CHUNK), vec);

        if (n < 0)
            return n;
        if (abi_copy_to_user(cpu, c, 2, done, vec, (u64)n))
            return -EFAULT;
        done += (u64)n;
    }
    return 0;
}
