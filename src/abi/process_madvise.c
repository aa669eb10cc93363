/* SPDX-License-Identifier: MIT */
/*
 * process_madvise(2): advice about several ranges, of another process or one's own.
 *
 * Order of the checks: flags ─▶ vector ─▶ pidfd ─▶ a process's, not a thread's ─▶ access to it ─▶ advice allowed for another's memory ─▶
 * CAP_SYS_NICE ─▶ range by range; empty ranges are not looked at, but for the first one before others. The result is
 * the bytes of the ranges before the first that failed, or its error.
 * Follows process_madvise(2), 6.18 (one's own memory: every advice).
 */
#include "abi/iovec.h"

#include "base/errno.h"
#include "vm/madvise.h"

#define PIDFD_SELF_THREAD_ -10000
#define PIDFD_SELF_THREAD_GROUP_ -10001

/* Who the pidfd stands for: 0, -EBADF (no pidfd), -ESRCH (nobody any more, or a thread that is not its process's first). */
static s64 pidfd_task(const struct cpu *cpu, const struct abi_call *c, struct task **task)
{
    s32 fd = (s32)c->arg[0];

    if (fd == PIDFD_SELF_THREAD_ || fd == PIDFD_SELF_THREAD_GROUP_) {
        *task = cpu->current;
        return 0;
    }
    if (!c->target)
        return c->target_gone ? -ESRCH : -EBADF;
    if (c->target->pid != c->target->tgid)
        return -ESRCH;
    *task = c->target;
    return 0;
}

static s64 advise_ranges(struct cpu *cpu, struct mm *mm, const struct iovecs *iov, int behavior)
{
    u64 total = iovecs_total(iov), done = 0;
    s64 err = 0;

    for (u64 i = 0; done < total && !err; i++) {
        if (i && !iov->v[i].len)
            continue;
        err = do_madvise(cpu, mm, iov->v[i].base, iov->v[i].len, behavior);
        done += err ? 0 : iov->v[i].len;
    }
    return done ? (s64)done : err;
}

static s64 advise_task(struct cpu *cpu, struct task *target, const struct iovecs *iov, int behavior)
{
    struct mm *mm;
    s64 ret = abi_mm_access(cpu, target, &mm);

    if (ret)
        return ret;
    if (mm != cpu->current->mm && !process_madvise_remote_valid(behavior))
        ret = -EINVAL;
    else if (mm != cpu->current->mm && !task_capable(cpu->current, CAP_SYS_NICE_))
        ret = -EPERM;
    else
        ret = advise_ranges(cpu, mm, iov, behavior);
    mmput(cpu, mm);
    return ret;
}

s64 abi_process_madvise(struct cpu *cpu, struct abi_call *c)
{
    struct task *target;
    struct iovecs iov;
    s64 ret;

    charge(cpu, COST_MMAP);
    if ((u32)c->arg[4])
        return -EINVAL;
    ret = iovecs_import(cpu, c, 1, c->arg[2], IOVEC_LOCAL, &iov);
    if (ret)
        return ret;
    ret = pidfd_task(cpu, c, &target);
    if (!ret)
        ret = advise_task(cpu, target, &iov, (int)c->arg[3]);
    iovecs_free(cpu, &iov);
    return ret;
}
