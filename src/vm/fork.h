/* SPDX-License-Identifier: MIT */
/* Between mm.c, fork.c, exec.c and exit.c. */
#ifndef QUIRE_VM_FORK_H
#define QUIRE_VM_FORK_H

#include "vm/vm.h"

/* Reproducible "random" numbers, one for each use of an address space; 0 where nothing is randomised. layout.c */
enum mm_random_use {
    RANDOM_MMAP,
    RANDOM_PROGRAM,
    RANDOM_STACK,
    RANDOM_STACK_ALIGN,
    RANDOM_STACK_POINTER,
    RANDOM_BRK,
    RANDOM_CALLS,
    RANDOM_BYTES /* AT_RANDOM's; at most 8 uses */
};
u64 mm_random(const struct mm *mm, enum mm_random_use use);
u64 mm_random_next(struct mm *mm); /* another one with each call; mmap_lock for writing */
void mm_init_pkeys(struct mm *mm); /* pkeys.c */
void task_init_pkru(struct task *t);
/* The MMF_* flags of an address space made by fork or execve in one that has `flags`. */
static inline u32 mmf_init_flags(u32 flags)
{
    if (flags & MMF_HAS_MDWE_NO_INHERIT)
        flags &= ~(MMF_HAS_MDWE | MMF_HAS_MDWE_NO_INHERIT);
    return flags & MMF_INIT_MASK;
}
/* A copy of `parent` for mm purposes, with mm, whose reference it takes over; NULL: no memory. */
enum task_kind { TASK_PROCESS, TASK_THREAD };
struct task *task_clone(struct cpu *cpu, const struct task *parent, enum task_kind kind, s32 pid, s32 tgid,
                        struct mm *mm);
struct mm *task_change_mm(struct cpu *cpu, struct task *t, struct mm *mm);
void exit_mmap(struct cpu *cpu, struct mm *mm); /* all mappings and tables; no user is left */

#endif
