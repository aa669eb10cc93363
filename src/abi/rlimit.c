/* SPDX-License-Identifier: MIT */
/*
 * getrlimit(2), setrlimit(2), prlimit64(2): limits of a process, kept for all resources, enforced for the memory ones
 * (RLIMIT_AS, DATA, STACK, MEMLOCK) where they are used.
 *
 * Order of the checks: bytes read ─▶ process exists ─▶ right to change it ─▶ resource, values ─▶ the hard limit ─▶ both
 * done at once ─▶ bytes written: a call that fails on writing the old values has set the new ones, as in the kernel.
 */
#include "abi/abi_priv.h"

#include "base/errno.h"

#define NR_OPEN_MAX (1u << 20) /* /proc/sys/fs/nr_open's default */

/* 0, or why the caller may not: -EINVAL, -EPERM. */
static int check_new_limit(const struct cpu *cpu, const struct task *t, u32 resource, const struct rlimit_pair *new)
{
    if (new->cur > new->max)
        return -EINVAL;
    if (resource == RLIMIT_NOFILE_ && new->max > NR_OPEN_MAX)
        return -EPERM;
    if (new->max > rlimit_max(t, resource) && !task_capable(cpu->current, CAP_SYS_RESOURCE_))
        return -EPERM;
    return 0;
}

static int do_prlimit(const struct cpu *cpu, struct task *t, u32 resource, const struct rlimit_pair *new,
                      struct rlimit_pair *old)
{
    int err = 0;

    if (resource >= NR_RLIMITS)
        return -EINVAL;
    if (new)
        err = check_new_limit(cpu, t, resource, new);
    if (err)
        return err;
    *old = (struct rlimit_pair){rlimit(t, resource), rlimit_max(t, resource)};
    if (new)
        task_set_rlimit(t, resource, new->cur, new->max);
    return 0;
}

s64 abi_getrlimit(struct cpu *cpu, struct abi_call *c)
{
    struct rlimit_pair old;
    int err = do_prlimit(cpu, cpu->current, (u32)c->arg[0], NULL, &old);

    return err ? err : abi_copy_to_user(cpu, c, 1, 0, &old, sizeof(old));
}

s64 abi_setrlimit(struct cpu *cpu, struct abi_call *c)
{
    struct rlimit_pair new, old;

    if (abi_copy_from_user(cpu, c, 1, 0, &new, sizeof(new)))
        return -EFAULT;
    return do_prlimit(cpu, cpu->current, (u32)c->arg[0], &new, &old);
}

/* Another process's limits: of the same user and group, or with CAP_SYS_RESOURCE. */
static bool may_prlimit(const struct cpu *cpu, const struct task *t)
{
    const struct task *own = cpu->current;

    return own->signal == t->signal || (task_uid(own) == task_uid(t) && task_gid(own) == task_gid(t)) ||
           task_capable(own, CAP_SYS_RESOURCE_);
}

s64 abi_prlimit64(struct cpu *cpu, struct abi_call *c)
{
    struct task *t = (s32)c->arg[0] ? c->target : cpu->current;
    struct rlimit_pair new, old;
    int err;

    if (c->arg[2] && abi_copy_from_user(cpu, c, 2, 0, &new, sizeof(new)))
        return -EFAULT;
    if (!t)
        return -ESRCH;
    if (!may_prlimit(cpu, t))
        return -EPERM;
    err = do_prlimit(cpu, t, (u32)c->arg[1], c->arg[2] ? &new : NULL, &old);
    if (err || !c->arg[3])
        return err;
    return abi_copy_to_user(cpu, c, 3, 0, &old, sizeof(old));
}
