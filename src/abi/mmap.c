/* SPDX-License-Identifier: MIT */
/* The mapping calls: registers decoded for src/vm, as the kernel's entry points do. */
#include "abi/abi_priv.h"

#include "base/errno.h"

#define UNKNOWN_FLAG (1u << 25) /* no MAP_ flag, no part of a huge page's size */

s64 abi_mmap(struct cpu *cpu, struct abi_call *c)
{
    u32 flags = (u32)c->arg[3];

    /* The upper half counts only where unknown flags are refused: as one of them. */
    if (c->arg[3] >> 32)
        flags |= UNKNOWN_FLAG;
    return sys_mmap(cpu, c->arg[0], c->arg[1], (u32)c->arg[2], flags, c->file, c->arg[5]);
}

s64 abi_munmap(struct cpu *cpu, struct abi_call *c)
{
    return sys_munmap(cpu, c->arg[0], c->arg[1]);
}

s64 abi_mremap(struct cpu *cpu, struct abi_call *c)
{
    return sys_mremap(cpu, c->arg[0], c->arg[1], c->arg[2], c->arg[3], c->arg[4]);
}

s64 abi_mprotect(struct cpu *cpu, struct abi_call *c)
{
    return sys_mprotect(cpu, c->arg[0], c->arg[1], c->arg[2]);
}

s64 abi_pkey_mprotect(struct cpu *cpu, struct abi_call *c)
{
    return sys_pkey_mprotect(cpu, c->arg[0], c->arg[1], c->arg[2], (int)c->arg[3]);
}

s64 abi_pkey_alloc(struct cpu *cpu, struct abi_call *c)
{
    return sys_pkey_alloc(cpu, c->arg[0], c->arg[1]);
}

s64 abi_pkey_free(struct cpu *cpu, struct abi_call *c)
{
    return sys_pkey_free(cpu, (int)c->arg[0]);
}

s64 abi_brk(struct cpu *cpu, struct abi_call *c)
{
    return sys_brk(cpu, c->arg[0]);
}

s64 abi_remap_file_pages(struct cpu *cpu, struct abi_call *c)
{
    return sys_remap_file_pages(cpu, c->arg[0], c->arg[1], c->arg[2], c->arg[3], c->arg[4]);
}

s64 abi_mseal(struct cpu *cpu, struct abi_call *c)
{
    return sys_mseal(cpu, c->arg[0], c->arg[1], c->arg[2]);
}

s64 abi_personality(struct cpu *cpu, struct abi_call *c)
{
    struct task *t = cpu->current;
    u32 old = t->personality;

    if ((u32)c->arg[0] != 0xffffffffu)
        t->personality = (u32)c->arg[0];
    return old;
}
