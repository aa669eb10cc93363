/* SPDX-License-Identifier: MIT */
/* Between mm.c, fork.c, exec.c and exit.c. */
#ifndef QUIRE_VM_FORK_H
#define QUIRE_VM_FORK_H

#include "vm/vm.h"

u64 mm_random(const struct mm *mm, u64 salt); /* 0 where randomize_va_space is 0 */
/* A copy of `parent` for mm purposes, with mm, whose reference it takes over; NULL: no memory. */
enum task_kind { TASK_PROCESS, TASK_THREAD };
struct task *task_clone(struct cpu *cpu, const struct task *parent, enum task_kind kind, s32 pid, s32 tgid,
                        struct mm *mm);
struct mm *task_change_mm(struct cpu *cpu, struct task *t, struct mm *mm);
void exit_mmap(struct cpu *cpu, struct mm *mm); /* all mappings and tables; no user is left */

#endif
