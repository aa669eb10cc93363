/* SPDX-License-Identifier: MIT */
/*
 * execve, as far as memory goes: a new address space with a stack that holds arguments, environment and auxiliary
 * vector. The program's own segments are mapped afterwards by whoever knows the file: src/abi/execve.c as the kernel
 * does it, a front end as it saw the kernel do it.
 *
 *    stack_top ┌──────────────────────────┐
 *              │ arguments, environment … │  written by the old program's system call: faulted in here
 *              ├──────────────────────────┤
 *              │ 128 KiB to grow into     │  (at most what RLIMIT_STACK allows, unless dictated)
 *     vm_start └──────────────────────────┘  VM_GROWSDOWN
 *
 * Failure leaves the task in its old address space. After success the caller switches the CPU to the new one
 * (switch_mm).
 * Follows execve(2).
 */
#include "vm/fork.h"
#include "vm/vma_priv.h"

#include "base/errno.h"

#define STACK_EXPAND_BYTES (128ul << 10)
#define STACK_LIMIT (8ul << 20) /* _STK_LIM */
#define ARG_MAX (128ul << 10)
#define VM_STACK_FLAGS (VM_READ | VM_WRITE | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC | VM_GROWSDOWN | VM_ACCOUNT)

/* What arguments and environment may take: a quarter of the stack's limit, of 6 MiB at most, but 128 KiB always. */
static bool arguments_fit(u64 bytes, u64 stack_limit)
{
    return bytes <= MAX(MIN(STACK_LIMIT / 4 * 3, stack_limit / 4), ARG_MAX);
}

struct stack_range {
    va_t start, used, top; /* pages from `used` up hold the arguments */
};

va_t exec_stack_top(const struct mm *mm)
{
    return ALIGN_UP(arch_align_stack(mm, randomize_stack_top(mm), RANDOM_STACK_ALIGN), PAGE_SIZE);
}

/* The room to grow into is made later where the program's limits decide: exec_expand_stack(). */
static void place_stack(const struct mm *mm, const struct exec_layout *l, u64 limit, struct stack_range *r)
{
    u64 size, used;

    r->top = l->stack_top ? ALIGN_UP(l->stack_top, PAGE_SIZE) : exec_stack_top(mm);
    used = MAX(r->top - ALIGN_DOWN(mm->start_stack, PAGE_SIZE), PAGE_SIZE);
    size = l->stack_top ? MAX(MIN(used + STACK_EXPAND_BYTES, ALIGN_DOWN(limit, PAGE_SIZE)), used) : used;
    r->used = r->top - used;
    r->start = l->stack_start ? MIN(ALIGN_DOWN(l->stack_start, PAGE_SIZE), r->used) : r->top - size;
}

/* The first page is free; for more of them the stack grows, while the arguments are copied. */
static bool stack_may_hold(struct cpu *cpu, const struct mm *mm, u64 used, u64 limit)
{
    return used <= PAGE_SIZE ||
           (used <= limit && may_expand_vm(cpu, mm, VM_STACK_FLAGS, (used - PAGE_SIZE) >> PAGE_SHIFT));
}

/* The stack's VMA, and its top pages as the copying of the arguments would have made them. */
static int setup_arg_pages(struct cpu *cpu, struct mm *mm, const struct exec_layout *l) NO_LOCK_ANALYSIS
{
    u64 limit = rlimit(cpu->current, RLIMIT_STACK_), bytes = l->stack_size ? l->stack_size : 8;
    vm_flags_t flags = VM_STACK_FLAGS | l->stack_exec | mm->def_flags;
    struct stack_range r;
    struct vm_area_struct *vma;
    int err;

    if (!l->stack_top && !arguments_fit(bytes, limit))
        return -E2BIG;
    mm->start_stack = (l->stack_top ? ALIGN_UP(l->stack_top, PAGE_SIZE) : exec_stack_top(mm)) - bytes;
    place_stack(mm, l, limit, &r);
    if (!l->stack_top && !stack_may_hold(cpu, mm, r.top - r.used, limit))
        return -E2BIG;
    down_write(cpu, &mm->mmap_lock);
    err = do_mmap_fixed_special(cpu, mm, r.start, r.top - r.start, flags, VM_OPS_NONE);
    vma = err ? NULL : vma_lookup(cpu, mm, r.top - 1);
    for (va_t addr = r.used; !err && addr < r.top; addr += PAGE_SIZE)
        if (handle_mm_fault(cpu, vma, addr, FAULT_FLAG_WRITE | FAULT_FLAG_REMOTE) & VM_FAULT_ERROR)
            err = -ENOMEM;
    up_write(cpu, &mm->mmap_lock);
    return err;
}

int exec_expand_stack(struct cpu *cpu, struct mm *mm) NO_LOCK_ANALYSIS
{
    u64 limit = ALIGN_DOWN(rlimit(cpu->current, RLIMIT_STACK_), PAGE_SIZE);
    struct vm_area_struct *vma;
    va_t start;
    int err = -EFAULT;

    down_write(cpu, &mm->mmap_lock);
    vma = find_vma(cpu, mm, mm->start_stack);
    if (vma) {
        start = vma->vm_end - MIN(vma->vm_end - vma->vm_start + STACK_EXPAND_BYTES, limit);
        err = start < vma->vm_start ? expand_stack(cpu, vma, start) : 0;
    }
    up_write(cpu, &mm->mmap_lock);
    return err;
}

static void dictate(struct mm *mm, const struct exec_layout *l)
{
    struct mm_map map;
    const u64 *wanted = &l->map.start_code;
    u64 *value = &map.start_code;

    get_prctl_map(mm, &map);
    for (u32 i = 0; i < NR_PRCTL_MM_ADDRESSES; i++)
        value[i] = wanted[i] ? wanted[i] : value[i];
    set_prctl_map(mm, &map);
    for (u32 i = 0; i < MIN(l->nr_auxv, (u32)AT_VECTOR_SIZE); i++)
        mm->saved_auxv[i] = l->auxv[i];
    if (l->mmap_base)
        mm->mmap_base = l->mmap_base;
    if (l->mmap_base && !mm->topdown)
        mm->mmap_legacy_base = l->mmap_base;
}

void exec_set_brk(struct mm *mm, va_t end)
{
    va_t start = ALIGN_UP(end, PAGE_SIZE);

    mm->start_brk = mm->brk = brk_is_randomized(mm) ? arch_randomize_brk(mm, start + PAGE_SIZE) : start;
}

void exec_move_brk(struct mm *mm)
{
    mm->start_brk = mm->brk = arch_randomize_brk(mm, ALIGN_UP(elf_et_dyn_window(mm), PAGE_SIZE));
}

struct mm *exec_prepare(struct cpu *cpu, const struct exec_layout *layout)
{
    struct task *t = cpu->current;
    struct mm *mm = mm_alloc(cpu);
    int err;

    charge(cpu, COST_EXEC);
    if (!mm)
        return ERR_PTR(-ENOMEM);
    arch_pick_mmap_layout(mm, rlimit(t, RLIMIT_STACK_), t->personality);
    mm->flags = t->mm ? (mmf_init_flags(READ_ONCE(t->mm->flags)) & ~MMF_DUMPABLE_MASK) | 1 : mm->flags;
    mm->def_flags = t->mm ? t->mm->def_flags & VM_NOHUGEPAGE : 0;
    err = setup_arg_pages(cpu, mm, layout);
    if (err) {
        mmput(cpu, mm);
        return ERR_PTR(err);
    }
    dictate(mm, layout);
    mm->exe_file = layout->exe;
    if (mm->exe_file)
        get_file(mm->exe_file);
    return mm;
}

void exec_commit(struct cpu *cpu, struct mm *mm, const struct exec_layout *layout)
{
    struct task *t = cpu->current;
    struct mm *old;

    memcpy(t->comm, layout->comm, sizeof(t->comm));
    t->comm[sizeof(t->comm) - 1] = '\0';
    task_init_pkru(t);
    count_vm_event(cpu, Q_EXEC);
    old = task_change_mm(cpu, t, mm);
    if (old)
        mmput(cpu, old);
}

int exec_mmap(struct cpu *cpu, const struct exec_layout *layout)
{
    struct mm *mm = exec_prepare(cpu, layout);
    int err;

    if (IS_ERR(mm))
        return (int)PTR_ERR(mm);
    err = layout->stack_top ? 0 : exec_expand_stack(cpu, mm);
    if (err) {
        mmput(cpu, mm);
        return err;
    }
    exec_commit(cpu, mm, layout);
    return 0;
}
