/* SPDX-License-Identifier: MIT */
/* Arguments of clone(2) and clone3(2): which of them no process may give. The copy itself is kernel_clone(). */
#ifndef QUIRE_ABI_CLONE_H
#define QUIRE_ABI_CLONE_H

#include "vm/vm.h"

/* Beside those of vm/vm.h; the lowest byte of clone(2)'s is a signal, of clone3(2)'s flags like the others. */
#define CSIGNAL_ 0xffu
#define CLONE_NEWTIME_ 0x80u
#define CLONE_FS_ 0x200u
#define CLONE_SIGHAND_ 0x800u
#define CLONE_PIDFD_ 0x1000u
#define CLONE_PARENT_ 0x8000u
#define CLONE_NEWNS_ 0x20000u
#define CLONE_SYSVSEM_ 0x40000u
#define CLONE_PARENT_SETTID_ 0x100000u
#define CLONE_DETACHED_ 0x400000u
#define CLONE_NEWCGROUP_ 0x2000000u
#define CLONE_NEWUTS_ 0x4000000u
#define CLONE_NEWIPC_ 0x8000000u
#define CLONE_NEWUSER_ 0x10000000u
#define CLONE_NEWPID_ 0x20000000u
#define CLONE_NEWNET_ 0x40000000u
#define CLONE_CLEAR_SIGHAND_ 0x100000000ull
#define CLONE_INTO_CGROUP_ 0x200000000ull

/* struct clone_args of clone3(2); what the caller's structure lacks is 0. */
struct abi_clone_args {
    u64 flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

/* 0, -EINVAL, -E2BIG: fork(2), vfork(2), clone(2) with these flags, by cpu->current. */
s64 abi_clone_check(u64 flags);
/* The same of clone3(2) with a structure of `size` bytes; bytes behind those that are known are zeroes. */
s64 abi_clone3_check(const struct cpu *cpu, const struct abi_clone_args *args, u64 size);

#endif
