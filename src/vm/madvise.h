/* SPDX-License-Identifier: MIT */
/* madvise(2), for the surface (process_madvise) and between its files. */
#ifndef QUIRE_VM_MADVISE_H
#define QUIRE_VM_MADVISE_H

#include "vm/vm.h"

enum madvise_behavior {
    MADV_NORMAL_ = 0,
    MADV_RANDOM_ = 1,
    MADV_SEQUENTIAL_ = 2,
    MADV_WILLNEED_ = 3,
    MADV_DONTNEED_ = 4,
    MADV_FREE_ = 8,
    MADV_REMOVE_ = 9,
    MADV_DONTFORK_ = 10,
    MADV_DOFORK_ = 11,
    MADV_MERGEABLE_ = 12,
    MADV_UNMERGEABLE_ = 13,
    MADV_HUGEPAGE_ = 14,
    MADV_NOHUGEPAGE_ = 15,
    MADV_DONTDUMP_ = 16,
    MADV_DODUMP_ = 17,
    MADV_WIPEONFORK_ = 18,
    MADV_KEEPONFORK_ = 19,
    MADV_COLD_ = 20,
    MADV_PAGEOUT_ = 21,
    MADV_POPULATE_READ_ = 22,
    MADV_POPULATE_WRITE_ = 23,
    MADV_DONTNEED_LOCKED_ = 24,
    MADV_COLLAPSE_ = 25,
    MADV_HWPOISON_ = 100,
    MADV_SOFT_OFFLINE_ = 101,
    MADV_GUARD_INSTALL_ = 102,
    MADV_GUARD_REMOVE_ = 103,
};

/* Of any mm; takes its mmap_lock as the advice needs. len is not rounded. 0 or -errno. */
s64 do_madvise(struct cpu *cpu, struct mm *mm, va_t start, u64 len, int behavior);
/* What process_madvise(2) may ask of another process's memory. */
bool process_madvise_remote_valid(int behavior);

/* -- [start, end) lies in vma; mmap_lock held ---------------------------------------------------------------------- */
/* madvise_pages.c. What the VMA must be is checked there, first. 0 or -EINVAL. */
int madvise_free_vma(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end);
int madvise_cold_vma(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end);
int madvise_pageout_vma(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end);
int madvise_collapse_vma(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end);
/* guard.c. 0, -EINVAL, -ENOMEM (nothing changed in this VMA). */
int madvise_guard_install(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end);
int madvise_guard_remove(struct cpu *cpu, struct vm_area_struct *vma, va_t start, va_t end);
/* memory_failure.c. No lock held. */
int madvise_inject_error(struct cpu *cpu, int behavior, va_t start, va_t end);

#endif
