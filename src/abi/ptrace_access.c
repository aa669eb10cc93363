/* SPDX-License-Identifier: MIT */
/*
 * May one process look into another's memory? ptrace(2), "Ptrace access mode checking", without a security module:
 *
 *   the same process ─▶ yes
 *   same user and group, or CAP_SYS_PTRACE; the memory is dumpable, or CAP_SYS_PTRACE;
 *   no capability there that is not here, or CAP_SYS_PTRACE ─▶ yes
 */
#include "abi/abi_priv.h"

#include "base/errno.h"

static bool ptrace_may_access(const struct task *t, const struct task *target)
{
    if (t->signal == target->signal || task_capable(t, CAP_SYS_PTRACE_))
        return true;
    return task_uid(t) == task_uid(target) && task_gid(t) == task_gid(target) && !(task_caps(target) & ~task_caps(t)) &&
           mm_is_dumpable(target->mm);
}

int abi_mm_access(struct cpu *cpu, struct task *target, struct mm **mm)
{
    if (!target->mm || (target->flags & PF_EXITING))
        return -ESRCH;
    if (target->mm != cpu->current->mm && !ptrace_may_access(cpu->current, target))
        return -EACCES;
    mmget(target->mm);
    *mm = target->mm;
    return 0;
}
