/* SPDX-License-Identifier: MIT */
/*
 * membarrier(2): which commands a process may use. The barrier itself costs nothing here: threads run on the machine's
 * CPUs under the host's own memory model.
 *
 * Registrations are the address space's: threads share them, fork hands them on, execve begins without.
 * Follows membarrier(2), order of checks as 6.18's on a machine without nohz_full.
 */
#include "abi/abi_priv.h"

#include "base/errno.h"

enum {
    CMD_QUERY = 0,
    CMD_GLOBAL = 1 << 0,
    CMD_GLOBAL_EXPEDITED = 1 << 1,
    CMD_REGISTER_GLOBAL_EXPEDITED = 1 << 2,
    CMD_PRIVATE_EXPEDITED = 1 << 3,
    CMD_REGISTER_PRIVATE_EXPEDITED = 1 << 4,
    CMD_PRIVATE_EXPEDITED_SYNC_CORE = 1 << 5,
    CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE = 1 << 6,
    CMD_PRIVATE_EXPEDITED_RSEQ = 1 << 7,
    CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ = 1 << 8,
    CMD_GET_REGISTRATIONS = 1 << 9,
    CMD_ALL = (1 << 10) - 1,
    CMD_FLAG_CPU = 1,
};

/* riscv has no instruction that serialises another core without its help. */
static u32 commands_of(const struct machine *m)
{
    bool riscv = m->config.pt_format >= PT_RISCV_SV39;

    return riscv ? CMD_ALL & ~(CMD_PRIVATE_EXPEDITED_SYNC_CORE | CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE) : CMD_ALL;
}

/* The two special kinds are listed as the plain one, too, but do not allow its command. */
static u32 registrations(struct mm *mm)
{
    u32 state = __atomic_load_n(&mm->membarrier_state, __ATOMIC_RELAXED);

    if (state & (CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE | CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ))
        state |= CMD_REGISTER_PRIVATE_EXPEDITED;
    return state;
}

s64 abi_membarrier(struct cpu *cpu, struct abi_call *c)
{
    struct mm *mm = cpu->current->mm;
    s32 cmd = (s32)c->arg[0];
    u32 flags = (u32)c->arg[1];

    if (flags && (cmd != CMD_PRIVATE_EXPEDITED_RSEQ || flags != CMD_FLAG_CPU))
        return -EINVAL;
    if (cmd != CMD_QUERY && !((u32)cmd & commands_of(cpu->m)))
        return -EINVAL;
    switch (cmd) {
    case CMD_QUERY:
        return commands_of(cpu->m);
    case CMD_GLOBAL:
    case CMD_GLOBAL_EXPEDITED:
        return 0;
    case CMD_REGISTER_GLOBAL_EXPEDITED:
    case CMD_REGISTER_PRIVATE_EXPEDITED:
    case CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE:
    case CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ:
        __atomic_fetch_or(&mm->membarrier_state, (u32)cmd, __ATOMIC_RELAXED);
        return 0;
    case CMD_PRIVATE_EXPEDITED:
    case CMD_PRIVATE_EXPEDITED_SYNC_CORE:
    case CMD_PRIVATE_EXPEDITED_RSEQ:
        return __atomic_load_n(&mm->membarrier_state, __ATOMIC_RELAXED) & ((u32)cmd << 1) ? 0 : -EPERM;
    case CMD_GET_REGISTRATIONS:
        return registrations(mm);
    default:
        return -EINVAL; /* two commands at once */
    }
}
