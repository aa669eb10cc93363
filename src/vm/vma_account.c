/* SPDX-License-Identifier: MIT */
/*
 * How much an address space may grow, and what it has: limits, overcommit, counters. In pages.
 *
 * Overcommit (Documentation/mm/overcommit-accounting.rst): every private writable page and every page of a
 * shared-memory object may have to be backed one day; vm_committed_as counts them.
 *   mode 0  refuse only what could never fit: one request larger than RAM and swap together
 *   mode 1  never refuse
 *   mode 2  refuse what takes the sum over CommitLimit = overcommit_kbytes, or overcommit_ratio % of RAM,
 *           plus swap; less what is kept for the administrator (not if it is he, CAP_SYS_ADMIN), less 1/32 of the
 *           asking process (so that one cannot shut out the others)
 * Counters of an mm follow proc_pid_status(5): VmSize = total_vm; each mapping is counted in at most
 * one of exec, stack, data.
 */
#include "vm/vma_priv.h"

#include "base/errno.h"
#include "phys/page_alloc.h"

enum { OVERCOMMIT_GUESS, OVERCOMMIT_ALWAYS, OVERCOMMIT_NEVER };
#define KIB_TO_PAGES(kib) ((kib) >> (PAGE_SHIFT - 10))

bool may_expand_vm(struct cpu *cpu, const struct mm *mm, vm_flags_t flags, u64 npages)
{
    const struct task *t = cpu->current;

    if (mm->total_vm + npages > task_rlimit_of(cpu, RLIMIT_AS_) >> PAGE_SHIFT)
        return false;
    if (!is_data_mapping(flags) || !t || mm->data_vm + npages <= rlimit(t, RLIMIT_DATA_) >> PAGE_SHIFT)
        return true;
    /* A soft limit of 0 counts as the hard one: programs that emulate brk() set it so. */
    return !rlimit(t, RLIMIT_DATA_) && mm->data_vm + npages <= rlimit_max(t, RLIMIT_DATA_) >> PAGE_SHIFT;
}

void vm_stat_account(struct mm *mm, vm_flags_t flags, s64 npages)
{
    u64 n = (u64)npages;

    mm->total_vm += n;
    if (is_exec_mapping(flags))
        mm->exec_vm += n;
    else if (is_stack_mapping(flags))
        mm->stack_vm += n;
    else if (is_data_mapping(flags))
        mm->data_vm += n;
}

static u64 vm_commit_limit(const struct machine *m)
{
    if (m->config.overcommit_kbytes)
        return KIB_TO_PAGES(m->config.overcommit_kbytes);
    return totalram_pages(m) * m->config.overcommit_ratio / 100;
}

static bool commit_allowed(const struct cpu *cpu, const struct mm *mm)
{
    struct machine *m = cpu->m;
    bool admin = cpu->current && task_capable(cpu->current, CAP_SYS_ADMIN_);
    u64 allowed = vm_commit_limit(m), reserve = admin ? 0 : KIB_TO_PAGES(m->config.admin_reserve_kbytes);
    s64 committed = atomic_load(&m->vm->vm_committed_as);

    reserve += MIN(mm->total_vm / 32, KIB_TO_PAGES(m->config.user_reserve_kbytes));
    return committed < (s64)allowed - (s64)reserve;
}

int vm_enough_memory(struct cpu *cpu, struct mm *mm, u64 pages)
{
    struct machine *m = cpu->m;
    bool ok = true;

    atomic_fetch_add_explicit(&m->vm->vm_committed_as, (s64)pages, memory_order_relaxed);
    if (m->config.overcommit_memory == OVERCOMMIT_GUESS)
        ok = pages <= totalram_pages(m);
    else if (m->config.overcommit_memory == OVERCOMMIT_NEVER)
        ok = commit_allowed(cpu, mm);
    if (likely(ok))
        return 0;
    vm_unacct_memory(m, pages);
    return -ENOMEM;
}

void vm_unacct_memory(struct machine *m, u64 pages)
{
    atomic_fetch_sub_explicit(&m->vm->vm_committed_as, (s64)pages, memory_order_relaxed);
}

bool mlock_future_ok(struct cpu *cpu, const struct mm *mm, vm_flags_t flags, u64 bytes)
{
    if (likely(!(flags & VM_LOCKED)) || !cpu->current || task_capable(cpu->current, CAP_IPC_LOCK_))
        return true;
    return (bytes >> PAGE_SHIFT) + mm->locked_vm <= task_rlimit_of(cpu, RLIMIT_MEMLOCK_) >> PAGE_SHIFT;
}
