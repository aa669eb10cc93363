/* SPDX-License-Identifier: MIT */
/*
 * Which mappings same-page merging (KSM) may look at: VM_MERGEABLE, asked for by madvise(MADV_MERGEABLE) for a range, or
 * by prctl(PR_SET_MEMORY_MERGE) for all of an address space: then MMF_VM_MERGE_ANY says so, and new mappings get the
 * flag before they are merged with their neighbours. fork and execve hand MMF_VM_MERGE_ANY on; the stack of a new program
 * is no new mapping in this sense and goes without.
 *
 * Nothing is merged yet: Q_NO_EFFECT_MERGEABLE counts what was asked for.
 * Asking for what is so already changes nothing: a range that MADV_UNMERGEABLE took out stays out.
 * Follows prctl(2), PR_SET_MEMORY_MERGE(2const), Documentation/admin-guide/mm/ksm.rst; compared with 6.18.
 */
#include "vm/vma_priv.h"

bool ksm_compatible(vm_flags_t flags)
{
    return !(flags & (VM_SHARED | VM_MAYSHARE | VM_SPECIAL | VM_HUGETLB | VM_DROPPABLE));
}

/* VMAs that become alike are not merged with each other. */
void ksm_set_merge(struct cpu *cpu, struct mm *mm, enum ksm_merge merge)
{
    struct vm_area_struct *vma;

    down_write(cpu, &mm->mmap_lock);
    if (!(READ_ONCE(mm->flags) & MMF_VM_MERGE_ANY) == (merge == KSM_MERGE_NONE))
        goto out;
    if (merge == KSM_MERGE_NONE) {
        __atomic_fetch_and(&mm->flags, ~MMF_VM_MERGE_ANY, __ATOMIC_RELAXED);
    } else {
        __atomic_fetch_or(&mm->flags, MMF_VM_MERGE_ANY, __ATOMIC_RELAXED);
        count_vm_event(cpu, Q_NO_EFFECT_MERGEABLE);
    }
    for_each_vma (vma, mm) {
        if (merge == KSM_MERGE_NONE)
            vma->vm_flags &= ~VM_MERGEABLE;
        else
            vma->vm_flags = ksm_vma_flags(mm, vma->vm_flags);
    }
out:
    up_write(cpu, &mm->mmap_lock);
}
