/* SPDX-License-Identifier: MIT */
/* Between mm.c, fork.c, exec.c and exit.c. */
#ifndef QUIRE_VM_FORK_H
#define QUIRE_VM_FORK_H

#include "vm/vm.h"

u64 mm_random(const struct mm *mm, u64 salt); /* 0 where randomize_va_space is 0 */
struct mm *task_change_mm(struct cpu *cpu, struct task *t, struct mm *mm);
void exit_mmap(struct cpu *cpu, struct mm *mm); /* all mappings and tables; no user is left */

#endif
