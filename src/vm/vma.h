/* SPDX-License-Identifier: MIT */
/*
 * VMAs for the floor's own files (fork, exec, exit, faults): life, linking, accounting, layout.
 * Locks: the mm's mmap_lock held for writing, unless said otherwise; a new mm that nobody else sees needs none.
 */
#ifndef QUIRE_VM_VMA_H
#define QUIRE_VM_VMA_H

#include "base/check.h"
#include "vm/fork.h"
#include "vm/vm.h"

/* -- life ---------------------------------------------------------------------------------------------------------- */
struct vm_area_struct *vm_area_alloc(struct cpu *cpu, struct mm *mm); /* all zero but vm_mm; NULL: no memory */
/* A copy that is in no tree and list; it holds a reference to its name:
 * the caller takes those of vm_file and anon_vma. */
struct vm_area_struct *vm_area_dup(struct cpu *cpu, const struct vm_area_struct *orig);
void vm_area_free(struct cpu *cpu, struct vm_area_struct *vma);
/* Linked into index, list and file tree, counted in map_count; total_vm is not touched. -ENOMEM: nothing changed. */
int vma_link(struct cpu *cpu, struct mm *mm, struct vm_area_struct *vma);
/* vm_ops->close(), reference of the file, memory. The VMA has left index, file tree and anon_vmas already. */
void remove_vma(struct cpu *cpu, struct vm_area_struct *vma);
void vma_get_file(struct vm_area_struct *vma); /* one more reference to vm_file, if any */

/* A new mm: empty index, vmacache number. After ctx_id is set. */
void mm_init_vmas(struct mm *mm);
/* The VMAs are freed already (exit_mmap): the index's nodes. */
void mm_destroy_vmas(struct cpu *cpu, struct mm *mm);
void vmacache_flush(struct task *t); /* a task that changes its mm */

/* -- accounting: all in pages -------------------------------------------------------------------------------------- */
bool may_expand_vm(struct cpu *cpu, const struct mm *mm, vm_flags_t flags, u64 npages); /* RLIMIT_AS, RLIMIT_DATA */
void vm_stat_account(struct mm *mm, vm_flags_t flags, s64 npages); /* total_vm and exec, stack, data_vm */
/* Commit `pages` by the overcommit mode: 0, or -ENOMEM and nothing committed. */
int vm_enough_memory(struct cpu *cpu, struct mm *mm, u64 pages);
void vm_unacct_memory(struct machine *m, u64 pages);
static inline bool is_data_mapping(vm_flags_t flags)
{
    return (flags & (VM_WRITE | VM_SHARED | VM_STACK)) == VM_WRITE;
}
static inline bool is_exec_mapping(vm_flags_t flags)
{
    return (flags & (VM_EXEC | VM_WRITE | VM_STACK)) == VM_EXEC;
}
static inline bool is_stack_mapping(vm_flags_t flags)
{
    return flags & VM_STACK;
}

/* -- layout -------------------------------------------------------------------------------------------------------- */
/* task_size, randomize, mmap_base, mmap_legacy_base and topdown of a new mm,
 * from the stack's limit (bytes), the program's personality and the machine's seed. layout.c */
void arch_pick_mmap_layout(struct mm *mm, u64 stack_rlimit, u32 personality);
va_t default_map_window(const struct mm *mm);
va_t randomize_stack_top(const struct mm *mm);
va_t arch_align_stack(const struct mm *mm, va_t sp, enum mm_random_use use);
va_t elf_et_dyn_window(const struct mm *mm);          /* the same with no random part, unaligned */
va_t elf_et_dyn_base(const struct mm *mm, u64 align); /* where a program that may lie anywhere begins */
bool brk_is_randomized(const struct mm *mm);
va_t arch_randomize_brk(const struct mm *mm, va_t start); /* where the heap begins, of a program that ends there */
va_t vm_start_gap(const struct vm_area_struct *vma);      /* vm_start less the guard gap of a stack */

void vma_check(struct mm *mm, struct check_report *r);

#endif
