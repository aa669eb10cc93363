/* SPDX-License-Identifier: MIT */
/*
 * The cost model's constants: name, default, what the time is booked under, and where the figure comes from. Settable
 * as `cost.<name> = <ns>` (fractions allowed). Kept in picoseconds.
 * The defaults describe a current x86-64 server at about 3 GHz.
 *
 * charge(cpu, COST_x) advances the CPU's clock and books the time under the constant's cause.
 */
#ifndef QUIRE_BASE_COST_H
#define QUIRE_BASE_COST_H

#include "base/types.h"

#define TIME_CAUSES(X)                                                                                                 \
    X(TIME_USER, "user")       /* instructions and cache hits of the program itself */                                 \
    X(TIME_TLB, "tlb")         /* second-level TLB hits */                                                             \
    X(TIME_WALK, "walk")       /* page walks */                                                                        \
    X(TIME_FAULT, "fault")     /* exception entry and fault handling */                                                \
    X(TIME_ALLOC, "alloc")     /* page and slab allocator beyond the fast path */                                      \
    X(TIME_ZERO, "zero")       /* clearing pages */                                                                    \
    X(TIME_COPY, "copy")       /* copying pages and user buffers */                                                    \
    X(TIME_SYSCALL, "syscall") /* system call entry, VMA and table work */                                             \
    X(TIME_IPI, "ipi")         /* TLB shoot-down */                                                                    \
    X(TIME_SWITCH, "switch")   /* context switches */                                                                  \
    X(TIME_IO, "io")           /* waiting for devices */                                                               \
    X(TIME_IDLE, "idle")       /* owned by nobody: the clock catches up when it is */

/* X(name, key, default in ps, cause, source) */
#define COSTS(X)                                                                                                       \
    X(COST_ACCESS, "access", 400, TIME_USER,                                                                           \
      "an L1D hit, mostly overlapped: 4-5 cycles latency, 2-3 per cycle issued")                                       \
    X(COST_BLOCK, "block", 1300, TIME_USER, "an executed basic block of about 6 instructions at IPC 1.5")              \
    X(COST_STLB_HIT, "stlb_hit", 2300, TIME_TLB, "7 cycles, Intel Optimization Manual (Golden Cove second-level TLB)") \
    X(COST_WALK_L1, "walk_l1", 1400, TIME_WALK, "a table entry read from L1D: 4-5 cycles")                             \
    X(COST_WALK_L2, "walk_l2", 4700, TIME_WALK, "a table entry read from L2: 14 cycles")                               \
    X(COST_WALK_LLC, "walk_llc", 23000, TIME_WALK, "a table entry read from the last-level cache: about 70 cycles")    \
    X(COST_WALK_MEM, "walk_mem", 90000, TIME_WALK, "a table entry read from local DRAM")                               \
    X(COST_SET_AD, "set_ad", 6000, TIME_WALK, "locked update of accessed/dirty bits by the walker: about 20 cycles")   \
    X(COST_FAULT_ENTRY, "fault_entry", 330000, TIME_FAULT, "exception entry and return with mitigations")              \
    X(COST_FAULT_ANON, "fault_anon", 250000, TIME_FAULT, "anonymous fault path without entry and clearing")            \
    X(COST_FAULT_FILE, "fault_file", 350000, TIME_FAULT, "file fault path with fault-around, page in the cache")       \
    X(COST_FAULT_WP, "fault_wp", 300000, TIME_FAULT, "write-protect fault path without the copy")                      \
    X(COST_ALLOC_SLOW, "alloc_slow", 200000, TIME_ALLOC, "refill of a per-cpu page list under the zone lock")          \
    X(COST_ZERO_PAGE, "zero_page", 85000, TIME_ZERO, "clear 4 KiB: rep stosb at about 48 GB/s")                        \
    X(COST_COPY_PAGE, "copy_page", 160000, TIME_COPY, "copy 4 KiB, source out of cache: about 25 GB/s")                \
    X(COST_COPY_USER_KB, "copy_user_kb", 40000, TIME_COPY, "copy_from_user/copy_to_user, per KiB")                     \
    X(COST_SYSCALL, "syscall", 100000, TIME_SYSCALL, "system call entry and return with mitigations")                  \
    X(COST_MMAP, "mmap", 600000, TIME_SYSCALL, "VMA work of mmap, munmap, mprotect, mremap or brk")                    \
    X(COST_PTE_ZAP, "pte_zap", 12000, TIME_SYSCALL, "unmapping one present page")                                      \
    X(COST_FORK, "fork", 40000000, TIME_SYSCALL, "fork without page tables: task, mm, VMAs")                           \
    X(COST_PTE_COPY, "pte_copy", 9000, TIME_SYSCALL, "copying one PTE at fork, with refcount and rmap")                \
    X(COST_EXEC, "exec", 300000000, TIME_SYSCALL, "execve without its faults")                                         \
    X(COST_EXIT, "exit", 60000000, TIME_SYSCALL, "exit without page tables")                                           \
    X(COST_TLB_FLUSH_ONE, "tlb_flush_one", 60000, TIME_IPI, "INVLPG or INVPCID of one page: about 200 cycles")         \
    X(COST_TLB_FLUSH_ALL, "tlb_flush_all", 130000, TIME_IPI, "CR3 write that flushes, refills not included")           \
    X(COST_IPI, "ipi", 1500000, TIME_IPI, "sending a shoot-down and waiting for the answers")                          \
    X(COST_IPI_RECEIVE, "ipi_receive", 700000, TIME_IPI, "being interrupted by a shoot-down")                          \
    X(COST_SWITCH, "switch", 1200000, TIME_SWITCH, "context switch between processes")                                 \
    X(COST_DISK_LATENCY, "disk_latency", 80000000, TIME_IO, "NVMe random read, queue depth 1: 80 us")                  \
    X(COST_DISK_KB, "disk_kb", 300000, TIME_IO, "per KiB at 3.3 GB/s")

enum time_cause {
#define X(id, name) id,
    TIME_CAUSES(X)
#undef X
        NR_TIME_CAUSES
};

enum cost {
#define X(id, key, ps, cause, source) id,
    COSTS(X)
#undef X
        NR_COSTS
};

/* charge(cpu, cost) and charge_n(cpu, cost, n) are in base/machine.h, which knows the machine's table. */

#endif
