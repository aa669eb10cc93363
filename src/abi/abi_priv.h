/* SPDX-License-Identifier: MIT */
/* The handlers, for the table in syscall.c: arguments are decoded there, checked in the kernel's order. */
#ifndef QUIRE_ABI_ABI_PRIV_H
#define QUIRE_ABI_ABI_PRIV_H

#include "abi/abi.h"

typedef s64 (*abi_handler_fn)(struct cpu *cpu, struct abi_call *call);

s64 abi_mmap(struct cpu *cpu, struct abi_call *c); /* mmap.c */
s64 abi_munmap(struct cpu *cpu, struct abi_call *c);
s64 abi_mremap(struct cpu *cpu, struct abi_call *c);
s64 abi_mprotect(struct cpu *cpu, struct abi_call *c);
s64 abi_pkey_mprotect(struct cpu *cpu, struct abi_call *c);
s64 abi_pkey_alloc(struct cpu *cpu, struct abi_call *c);
s64 abi_pkey_free(struct cpu *cpu, struct abi_call *c);
s64 abi_brk(struct cpu *cpu, struct abi_call *c);
s64 abi_remap_file_pages(struct cpu *cpu, struct abi_call *c);
s64 abi_mseal(struct cpu *cpu, struct abi_call *c);
s64 abi_prctl(struct cpu *cpu, struct abi_call *c); /* prctl.c */
s64 abi_personality(struct cpu *cpu, struct abi_call *c);

s64 abi_getrlimit(struct cpu *cpu, struct abi_call *c); /* rlimit.c */
s64 abi_setrlimit(struct cpu *cpu, struct abi_call *c);
s64 abi_prlimit64(struct cpu *cpu, struct abi_call *c);
s64 abi_memfd_create(struct cpu *cpu, struct abi_call *c); /* files.c */
s64 abi_fcntl(struct cpu *cpu, struct abi_call *c);
s64 abi_ftruncate(struct cpu *cpu, struct abi_call *c);
s64 abi_fallocate(struct cpu *cpu, struct abi_call *c);
s64 abi_shmget(struct cpu *cpu, struct abi_call *c); /* shm.c */
s64 abi_shmat(struct cpu *cpu, struct abi_call *c);
s64 abi_shmdt(struct cpu *cpu, struct abi_call *c);
s64 abi_shmctl(struct cpu *cpu, struct abi_call *c);
s64 abi_mlock(struct cpu *cpu, struct abi_call *c); /* resident.c */
s64 abi_mlock2(struct cpu *cpu, struct abi_call *c);
s64 abi_munlock(struct cpu *cpu, struct abi_call *c);
s64 abi_mlockall(struct cpu *cpu, struct abi_call *c);
s64 abi_munlockall(struct cpu *cpu, struct abi_call *c);
s64 abi_mincore(struct cpu *cpu, struct abi_call *c);
s64 abi_msync(struct cpu *cpu, struct abi_call *c);
s64 abi_membarrier(struct cpu *cpu, struct abi_call *c); /* membarrier.c */
s64 abi_process_madvise(struct cpu *cpu, struct abi_call *c);
s64 abi_process_vm_readv(struct cpu *cpu, struct abi_call *c); /* process_vm.c */
s64 abi_process_vm_writev(struct cpu *cpu, struct abi_call *c);

/* User addresses only: what the kernel asks before it copies. */
static inline bool abi_access_ok(const struct mm *mm, va_t addr, u64 len)
{
    return addr <= mm->task_size && len <= mm->task_size - addr;
}

/* The target's mm with a reference, if the caller may look into it: 0, -EACCES, -ESRCH (it has none). ptrace_access.c */
int abi_mm_access(struct cpu *cpu, struct task *target, struct mm **mm);

#endif
