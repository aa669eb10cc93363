/* SPDX-License-Identifier: MIT */
/*
 * execve, as far as memory goes: a new address space with a stack that holds arguments, environment and auxiliary
 * vector. The program's own segments are mapped afterwards by whoever knows the file (a front end follows what the
 * kernel mapped).
 *
 *    stack_top ┌──────────────────────────┐
 *              │ arguments, environment … │  written by the old program's system call: faulted in here
 *              ├──────────────────────────┤
 *              │ 128 KiB to grow into     │  (at most what RLIMIT_STACK allows)
 *     vm_start └──────────────────────────┘  VM_GROWSDOWN
 *
 * Failure leaves the task in its old address space. After success the caller switches the CPU to the new one
 * (switch_mm).
 * Follows execve(2).
 */
#include "vm/fork.h"
#include "vm/vma.h"

#include "base/errno.h"

#define STACK_EXPAND_BYTES (128ul << 10)
#define VM_STACK_FLAGS (VM_READ | VM_WRITE | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC | VM_GROWSDOWN | VM_ACCOUNT)

/* The stack's VMA, and its top pages as the copying of the arguments would have made them. */
static int setup_arg_pages(struct cpu *cpu, struct mm *mm, const struct exec_layout *l) NO_LOCK_ANALYSIS
{
    u64 limit = cpu->current ? rlimit(cpu->current, RLIMIT_STACK_) : RLIM_INFINITY_;
    va_t top = l->stack_top ? ALIGN_UP(l->stack_top, PAGE_SIZE) : randomize_stack_top(mm);
    u64 used = MAX(ALIGN_UP(l->stack_size, PAGE_SIZE), PAGE_SIZE);
    u64 size = MAX(MIN(used + STACK_EXPAND_BYTES, ALIGN_DOWN(limit, PAGE_SIZE)), used);
    struct vm_area_struct *vma;
    int err;

    down_write(cpu, &mm->mmap_lock);
    err = do_mmap_fixed_special(cpu, mm, top - size, size, VM_STACK_FLAGS, VM_OPS_NONE);
    mm->start_stack = top - (l->stack_size ? l->stack_size : 8);
    vma = err ? NULL : vma_lookup(cpu, mm, top - 1);
    for (va_t addr = top - used; !err && addr < top; addr += PAGE_SIZE)
        if (handle_mm_fault(cpu, vma, addr, FAULT_FLAG_WRITE | FAULT_FLAG_REMOTE) & VM_FAULT_ERROR)
            err = -ENOMEM;
    up_write(cpu, &mm->mmap_lock);
    return err;
}

int exec_mmap(struct cpu *cpu, const struct exec_layout *layout)
{
    struct task *t = cpu->current;
    struct mm *mm, *old;
    int err;

    charge(cpu, COST_EXEC);
    mm = mm_alloc(cpu);
    if (!mm)
        return -ENOMEM;
    arch_pick_mmap_layout(mm, rlimit(t, RLIMIT_STACK_), t->personality);
    mm->flags = t->mm ? (mmf_init_flags(READ_ONCE(t->mm->flags)) & ~MMF_DUMPABLE_MASK) | 1 : mm->flags;
    if (layout->mmap_base)
        mm->mmap_base = layout->mmap_base;
    err = setup_arg_pages(cpu, mm, layout);
    if (err) {
        mmput(cpu, mm);
        return err;
    }
    mm->exe_file = layout->exe;
    if (mm->exe_file)
        get_file(mm->exe_file);
    memcpy(t->comm, layout->comm, sizeof(t->comm));
    t->comm[sizeof(t->comm) - 1] = '\0';
    task_init_pkru(t);
    count_vm_event(cpu, Q_EXEC);
    old = task_change_mm(cpu, t, mm);
    if (old)
        mmput(cpu, old);
    return 0;
}
