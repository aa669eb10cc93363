/* SPDX-License-Identifier: MIT */
/*
 * Growth of stacks.
 *
 * A VM_GROWSDOWN mapping is extended to the page of a fault just below it, if RLIMIT_STACK and the address space allow
 * it and stack_guard_gap pages to the next accessible mapping below remain, so that a stack never runs into it unseen:
 *
 *      lower mapping │◀── at least stack_guard_gap ──▶│ new vm_start ◀──── old vm_start │ stack
 *
 * Follows mmap(2) (MAP_GROWSDOWN), setrlimit(2).
 */
#include "vm/vma_priv.h"

#include "base/errno.h"
#include "vm/rmap.h"

static int acct_stack_growth(struct cpu *cpu, struct vm_area_struct *vma, u64 size, u64 grow)
{
    struct mm *mm = vma->vm_mm;

    if (!may_expand_vm(cpu, mm, vma->vm_flags, grow))
        return -ENOMEM;
    if (size > task_rlimit_of(cpu, RLIMIT_STACK_))
        return -ENOMEM;
    if (!mlock_future_ok(cpu, mm, vma->vm_flags, grow << PAGE_SHIFT))
        return -ENOMEM;
    return vma->vm_flags & VM_ACCOUNT ? vm_enough_memory(cpu, mm, grow) : 0;
}

static void grow_down(struct cpu *cpu, struct vm_area_struct *vma, va_t addr, u64 grow)
{
    struct mm *mm = vma->vm_mm;
    struct vma_change c = {.vma = vma, .start = addr, .end = vma->vm_end};

    vma_commit(cpu, mm, &c);
    vm_stat_account(mm, vma->vm_flags, (s64)grow);
    if (vma->vm_flags & VM_LOCKED)
        mm->locked_vm += grow;
}

/* Pages to grow by, charged where the mapping is accounted; or -errno. */
static s64 charge_growth(struct cpu *cpu, struct vm_area_struct *vma, va_t addr)
{
    const struct machine_config *c = &vma->vm_mm->m->config;
    struct vm_area_struct *prev = vma->vm_prev;
    u64 grow;
    int err;

    if (!(vma->vm_flags & VM_GROWSDOWN))
        return -EFAULT;
    if (addr < mmap_min_addr(vma->vm_mm->m))
        return -EPERM;
    if (addr >= vma->vm_start)
        return 0;
    if (prev && addr < prev->vm_end)
        return -ENOMEM;
    if (prev && !(prev->vm_flags & VM_GROWSDOWN) && vma_is_accessible(prev) &&
        addr - prev->vm_end < (u64)c->stack_guard_gap << PAGE_SHIFT)
        return -ENOMEM;
    if (anon_vma_prepare(cpu, vma))
        return -ENOMEM;
    grow = (vma->vm_start - addr) >> PAGE_SHIFT;
    if (grow > vma->vm_pgoff.nr)
        return -ENOMEM;
    err = acct_stack_growth(cpu, vma, vma->vm_end - addr, grow);
    return err ? err : (s64)grow;
}

int expand_stack(struct cpu *cpu, struct vm_area_struct *vma, va_t addr)
{
    s64 grow = charge_growth(cpu, vma, addr & PAGE_MASK);

    if (grow > 0)
        grow_down(cpu, vma, addr & PAGE_MASK, (u64)grow);
    return grow < 0 ? (int)grow : 0;
}

int may_expand_stack(struct cpu *cpu, struct vm_area_struct *vma, va_t addr)
{
    s64 grow = charge_growth(cpu, vma, addr & PAGE_MASK);

    if (grow > 0 && (vma->vm_flags & VM_ACCOUNT))
        vm_unacct_memory(cpu->m, (u64)grow);
    return grow < 0 ? (int)grow : 0;
}
