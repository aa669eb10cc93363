/* SPDX-License-Identifier: MIT */
/*
 * fork, vfork and clone, as far as memory goes: a new task, in the same address space (CLONE_VM) or in a copy of it.
 *
 *   kernel_clone ─▶ dup_mm ─▶ dup_mmap: for each VMA of the parent
 *                              VM_DONTCOPY    left out, taken off total_vm
 *                              VM_WIPEONFORK  copied without pages and without anon_vma: the child reads zeroes
 *                              else           copied, entered in the parent's anon_vmas and the file's tree, entries
 *                                             copied
 *                ─▶ task_clone: limits and credentials shared by threads, copied otherwise
 *
 * Failure at any step: the child's mm is torn down like that of an exiting process, which undoes everything; the parent
 * keeps only write-protected entries, which its next write repairs.
 *
 * Locks. The parent's mmap_lock for writing, then the child's (subclass 1).
 * Follows fork(2), clone(2), madvise(2) (MADV_DONTFORK, MADV_WIPEONFORK).
 */
#include "vm/fork.h"
#include "vm/rmap.h"
#include "vm/vma.h"

#include "base/errno.h"
#include "kmem/slab.h"

/* The child's copy of one VMA, linked; its pages are not copied yet. */
static int dup_vma(struct cpu *cpu, struct mm *mm, struct vm_area_struct *mpnt, struct vm_area_struct **out)
{
    u64 charge_pages = mpnt->vm_flags & VM_ACCOUNT ? vma_pages(mpnt) : 0;
    struct vm_area_struct *vma;

    if (charge_pages && vm_enough_memory(cpu, mm, charge_pages))
        return -ENOMEM;
    vma = vm_area_dup(cpu, mpnt);
    if (!vma)
        goto fail_unacct;
    vma->vm_mm = mm;
    vma->vm_flags &= ~VM_LOCKED_MASK;
    vma->anon_vma = NULL;
    if (!(mpnt->vm_flags & VM_WIPEONFORK) && anon_vma_fork(cpu, vma, mpnt))
        goto fail_free;
    vma_get_file(vma);
    if (vma_link(cpu, mm, vma))
        goto fail_unlink;
    *out = vma;
    return 0;

fail_unlink:
    if (vma->vm_file)
        cpu->code->fput(cpu, vma->vm_file);
    unlink_anon_vmas(cpu, vma);
fail_free:
    vm_area_free(cpu, vma);
fail_unacct:
    if (charge_pages)
        vm_unacct_memory(cpu->m, charge_pages);
    return -ENOMEM;
}

/* oldmm is locked: its brk and its VMAs are of one moment. */
static void copy_mm_layout(struct mm *mm, const struct mm *oldmm)
{
    mm->mmap_base = oldmm->mmap_base;
    mm->mmap_legacy_base = oldmm->mmap_legacy_base;
    mm->task_size = oldmm->task_size;
    mm->topdown = oldmm->topdown;
    mm->randomize = oldmm->randomize;
    mm->start_code = oldmm->start_code;
    mm->end_code = oldmm->end_code;
    mm->start_data = oldmm->start_data;
    mm->end_data = oldmm->end_data;
    mm->start_brk = oldmm->start_brk;
    mm->brk = oldmm->brk;
    mm->start_stack = oldmm->start_stack;
    mm->arg_start = oldmm->arg_start;
    mm->arg_end = oldmm->arg_end;
    mm->env_start = oldmm->env_start;
    mm->env_end = oldmm->env_end;
    memcpy(mm->saved_auxv, oldmm->saved_auxv, sizeof(mm->saved_auxv));
    mm->flags = mmf_init_flags(oldmm->flags);
    mm->pkey_allocation_map = oldmm->pkey_allocation_map;
    mm->execute_only_pkey = oldmm->execute_only_pkey;
    mm->membarrier_state = oldmm->membarrier_state;
    mm->def_flags = oldmm->def_flags & VM_NOHUGEPAGE; /* memory locks are not inherited: mlockall(2) */
}

static int dup_mmap(struct cpu *cpu, struct mm *mm, struct mm *oldmm) NO_LOCK_ANALYSIS
{
    struct vm_area_struct *mpnt, *vma = NULL;
    int err = 0;

    down_write(cpu, &oldmm->mmap_lock);
    down_write_nested(cpu, &mm->mmap_lock, 1);
    copy_mm_layout(mm, oldmm);
    mm->total_vm = oldmm->total_vm;
    mm->data_vm = oldmm->data_vm;
    mm->exec_vm = oldmm->exec_vm;
    mm->stack_vm = oldmm->stack_vm;
    for_each_vma (mpnt, oldmm) {
        if (mpnt->vm_flags & VM_DONTCOPY) {
            vm_stat_account(mm, mpnt->vm_flags, -(s64)vma_pages(mpnt));
            continue;
        }
        err = dup_vma(cpu, mm, mpnt, &vma);
        if (err)
            break;
        if (!(mpnt->vm_flags & VM_WIPEONFORK))
            err = copy_page_range(cpu, vma, mpnt);
        if (vma_ops(cpu, vma) && vma_ops(cpu, vma)->open)
            vma_ops(cpu, vma)->open(cpu, vma);
        if (err)
            break;
    }
    up_write(cpu, &mm->mmap_lock);
    flush_tlb_mm(cpu, oldmm);
    up_write(cpu, &oldmm->mmap_lock);
    return err;
}

static struct mm *dup_mm(struct cpu *cpu, struct mm *oldmm)
{
    struct mm *mm = mm_alloc(cpu);

    if (!mm)
        return NULL;
    if (dup_mmap(cpu, mm, oldmm)) {
        mmput(cpu, mm);
        return NULL;
    }
    mm->exe_file = oldmm->exe_file;
    if (mm->exe_file)
        get_file(mm->exe_file);
    WRITE_ONCE(mm->hiwater_rss, (u64)get_mm_rss(mm)); /* truncation may find the child already */
    mm->hiwater_vm = mm->total_vm;
    return mm;
}

struct task *kernel_clone(struct cpu *cpu, u64 clone_flags, s32 pid, s32 tgid)
{
    struct task *parent = cpu->current, *t;
    struct mm *mm = parent->mm;

    if (clone_flags & CLONE_VM_) {
        mmget(mm);
    } else {
        charge(cpu, COST_FORK);
        mm = dup_mm(cpu, mm);
        if (!mm)
            return ERR_PTR(-ENOMEM);
    }
    t = task_clone(cpu, parent, clone_flags & CLONE_THREAD_ ? TASK_THREAD : TASK_PROCESS, pid, tgid, mm);
    if (!t) {
        mmput(cpu, mm);
        return ERR_PTR(-ENOMEM);
    }
    if (!(clone_flags & CLONE_THREAD_))
        count_vm_event(cpu, Q_FORK);
    return t;
}
