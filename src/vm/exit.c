/* SPDX-License-Identifier: MIT */
/*
 * The end of an address space: the last user is gone, so nobody can fault, map or fork in it any more.
 *
 *   unmap all pages ─▶ flush ─▶ free pages ─▶ free tables ─▶ unlink and free VMAs ─▶ free the index
 *
 * Locks. mmap_lock for writing, for those who look at other address spaces (rmap takes no mmap_lock: it is kept out by
 * the trees' locks, which each VMA leaves under).
 * On exit: map_count, total_vm and all rss counters are 0; what was committed for accounted VMAs is given back.
 */
#include "vm/fork.h"
#include "vm/mmu_gather.h"
#include "vm/rmap.h"
#include "vm/vma.h"

void exit_mmap(struct cpu *cpu, struct mm *mm) NO_LOCK_ANALYSIS
{
    struct vm_area_struct *vma, *next;
    struct mmu_gather tlb;
    u64 accounted = 0;

    update_hiwater_rss(mm);
    down_write(cpu, &mm->mmap_lock);
    tlb_gather_mmu(&tlb, cpu, mm, GATHER_FULLMM);
    for_each_vma (vma, mm)
        unmap_page_range(&tlb, vma, vma->vm_start, vma->vm_end);
    tlb_finish_mmu(&tlb);
    flush_tlb_mm(cpu, mm);
    /* Out of the trees before the tables go: a walk for a page must not look for tables that are being freed. */
    for_each_vma (vma, mm) {
        unlink_anon_vmas(cpu, vma);
        unlink_file_vma(cpu, vma);
    }
    if (vma_first(mm))
        free_pgtables(cpu, mm, vma_first(mm)->vm_start, mm->task_size, 0, mm->task_size);
    for (vma = vma_first(mm); vma; vma = next) {
        next = vma_next(vma);
        if (vma->vm_flags & VM_ACCOUNT)
            accounted += vma_pages(vma);
        remove_vma(cpu, vma);
    }
    mm_destroy_vmas(cpu, mm);
    if (accounted)
        vm_unacct_memory(cpu->m, accounted);
    mm->map_count = 0;
    mm->total_vm = mm->data_vm = mm->exec_vm = mm->stack_vm = mm->locked_vm = mm->locked_left = 0;
    up_write(cpu, &mm->mmap_lock);
    for (int i = 0; i < NR_MM_COUNTERS; i++)
        ASSERT(atomic_load(&mm->rss_stat[i]) == 0);
}
