/* SPDX-License-Identifier: MIT */
/*
 * clone(2), clone3(2), fork(2), vfork(2): what is refused for its arguments alone, before anything is made.
 *
 *   clone3  size of the structure ─▶ bytes behind what is known ─▶ set_tid, exit_signal, cgroup ─▶ flags ─▶ stack ─┐
 *   clone   the upper half of the flags does not count; the lowest byte is the signal ─▶ CLONE_PIDFD ──────────────┴─▶ both
 *
 * What hangs on the process and on the rest of the system (limits, namespaces, set_tid's ids) is not asked here.
 * Follows clone(2), order of checks as 6.18's.
 */
#include "abi/clone.h"

#include "abi/abi_priv.h"
#include "base/errno.h"

#define NSIG_ 64u
#define CLONE3_FLAGS (0xffffffffull | CLONE_CLEAR_SIGHAND_ | CLONE_INTO_CGROUP_)

#define SIZE_VER0 64u /* up to tls */
#define SIZE_VER2 88u /* up to cgroup */
#define MAX_SET_TID 32u

static bool both(u64 flags, u64 these)
{
    return (flags & these) == these;
}

/* As copy_process() asks them. */
static bool flags_fit(u64 flags)
{
    if (both(flags, CLONE_NEWNS_ | CLONE_FS_) || both(flags, CLONE_NEWUSER_ | CLONE_FS_))
        return false;
    if ((flags & CLONE_THREAD_) && !(flags & CLONE_SIGHAND_))
        return false;
    if ((flags & CLONE_SIGHAND_) && !(flags & CLONE_VM_))
        return false;
    if ((flags & CLONE_THREAD_) && (flags & (CLONE_NEWUSER_ | CLONE_NEWPID_)))
        return false;
    return !both(flags, CLONE_PIDFD_ | CLONE_DETACHED_) && !both(flags, CLONE_NEWIPC_ | CLONE_SYSVSEM_);
}

s64 abi_clone_check(u64 flags)
{
    flags = (u32)flags & ~CSIGNAL_;
    if (both(flags, CLONE_PIDFD_ | CLONE_PARENT_SETTID_)) /* both write through the same pointer */
        return -EINVAL;
    return flags_fit(flags) ? 0 : -EINVAL;
}

static bool clone3_fields_fit(const struct abi_clone_args *a, u64 size)
{
    if (a->set_tid_size > MAX_SET_TID || !a->set_tid != !a->set_tid_size)
        return false;
    if (a->exit_signal > NSIG_)
        return false;
    return !(a->flags & CLONE_INTO_CGROUP_) || (a->cgroup <= INT32_MAX && size >= SIZE_VER2);
}

static bool clone3_stack_fits(const struct abi_clone_args *a, const struct mm *mm)
{
    if (!a->stack || !a->stack_size)
        return !a->stack && !a->stack_size;
    return abi_access_ok(mm, a->stack, a->stack_size);
}

s64 abi_clone3_check(const struct cpu *cpu, const struct abi_clone_args *a, u64 size)
{
    if (size > PAGE_SIZE)
        return -E2BIG;
    if (size < SIZE_VER0)
        return -EINVAL;
    if (!clone3_fields_fit(a, size))
        return -EINVAL;
    if ((a->flags & ~CLONE3_FLAGS) || (a->flags & (CLONE_DETACHED_ | (CSIGNAL_ & ~CLONE_NEWTIME_))))
        return -EINVAL;
    if (both(a->flags, CLONE_SIGHAND_ | CLONE_CLEAR_SIGHAND_))
        return -EINVAL;
    if ((a->flags & (CLONE_THREAD_ | CLONE_PARENT_)) && a->exit_signal)
        return -EINVAL;
    return clone3_stack_fits(a, cpu->current->mm) && flags_fit(a->flags) ? 0 : -EINVAL;
}
