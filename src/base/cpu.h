/* SPDX-License-Identifier: MIT */
/*
 * struct cpu: the execution context. Whoever runs core code owns exactly one CPU of one machine and passes it as the
 * first argument (`cpu`) to everything that may allocate, lock, count an event or take time. It is what `this_cpu` and
 * `current` are in a kernel, without a global.
 *
 * Ownership      A CPU is owned by one thread of one process at a time (machine/cpu.c: cpu_acquire(), cpu_release()).
 *                So its per-CPU lists and counters need neither lock nor atomic operation: only the owner touches them.
 * Other CPUs     ask for something by setting a bit in `work` (cpu_post_work()); the owner does it when it next enters
 *                or leaves the core, or at the next executed block in a front end. A free CPU's work is done by whoever
 *                acquires it.
 * Pointers       A machine's region is mapped at the same address in every process, but code is not: nothing in a
 *                region points to code or to host memory. Behaviours stored in a region are small ids. The one
 *                exception is `cpu->code`, which the owner sets on acquiring the CPU and only the owner uses.
 *
 * Field keys: c constant after boot · o owner only · a atomic, anyone.
 */
#ifndef QUIRE_BASE_CPU_H
#define QUIRE_BASE_CPU_H

#include "base/cost.h"
#include "base/types.h"
#include "base/vm_event.h"

struct cpu;
struct machine;
struct task;
struct xa_node;
struct mm;
struct file;
struct folio;

enum cpu_state {
    CPU_IDLE,   /* nobody owns it */
    CPU_USER,   /* the owner runs the program: uses the TLB without asking anybody */
    CPU_KERNEL, /* the owner is inside the core */
};

/* Bits of cpu->work. */
enum cpu_work {
    CPU_WORK_TLB_FLUSH = 1u << 0,  /* take the requests in the MMU's flush queue */
    CPU_WORK_DRAIN_PCP = 1u << 1,  /* give the per-cpu page lists back */
    CPU_WORK_FLUSH_SLAB = 1u << 2, /* give the per-cpu slabs back */
    CPU_WORK_DRAIN_LRU = 1u << 3,  /* drain the folio batches */
    CPU_WORK_RESCHED = 1u << 4,    /* somebody waits for a CPU */
};

/* Functions of floors above, as they lie in the process that executes. One const instance per program. */
struct core_code {
    const struct pressure_ops *pressure;                 /* phys/pressure.h */
    const struct vm_operations_struct *const *vm_ops;    /* vm/mm_types.h, by enum vm_ops_id */
    const struct address_space_operations *const *a_ops; /* vm/mm_types.h, by enum a_ops_id */
    void (*const *slab_ctor)(void *object);              /* kmem/slab.h, by enum slab_ctor_id */
    /* The TLB is hardware, src/machine's:
     * make every CPU forget mm's translations of [start, end); end 0: all of them. */
    void (*flush_tlb)(struct cpu *, struct mm *, va_t start, va_t end, u32 stride_shift, bool freed_tables);
    struct xa_node *(*xa_node_alloc)(struct cpu *, u32 gfp); /* zeroed; NULL: no memory */
    void (*xa_node_free)(struct cpu *, struct xa_node *);
    /* src/cache's, for VMAs: a new shared-memory object of `size` bytes,
     * or ERR_PTR(-ENOMEM), VM_NORESERVE: committed page by page; drop a reference to a file. */
    struct file *(*shmem_file_setup)(struct cpu *, const char *name, u64 size, u64 vm_flags);
    /* A new object of huge pages, of `size` bytes. */
    struct file *(*hugetlb_file_setup)(struct cpu *, const char *name, u64 size, u32 huge_shift);
    s64 (*fallocate)(struct cpu *, struct file *, u32 mode, s64 offset, s64 len); /* fallocate(2): MADV_REMOVE */
    void (*fput)(struct cpu *, struct file *);
    int (*fsync_range)(struct cpu *, struct file *, u64 first, u64 last); /* write back these pages: 0 or -errno */
    /* MADV_WILLNEED: read `nr` pages from page `index` on, those that are missing; best effort. */
    void (*readahead)(struct cpu *, struct file *, u64 index, u64 nr);
    void (*drop_folio)(struct cpu *, struct folio *); /* out of the page cache; locked, not mapped, perhaps dirty */
};

#define MAX_HELD_LOCKS 48

struct held_lock {
    const void *lock;
    u16 rank;
    u16 subclass;
};

struct cpu {
    struct machine *m;            /* c */
    u32 id;                       /* c */
    s32 node;                     /* c: NUMA node */
    const struct core_code *code; /* o */
    struct task *current;         /* o */
    u64 clock_ps;                 /* o: virtual time, picoseconds */

    _Atomic u32 state; /* a: enum cpu_state, written by the owner only */
    _Atomic u32 work;  /* a: enum cpu_work */
    _Atomic u32 owner; /* a: host thread id, 0: free; a futex word */

    u32 nr_held; /* o: debug builds: locks held, innermost last */
    struct held_lock held[MAX_HELD_LOCKS];

    s32 last_pid;       /* o: thread that ran here last */
    u64 slice_start_ps; /* o: clock when its owner got it */

    u64 time_ps[NR_TIME_CAUSES];  /* o: where clock_ps went: sums to it */
    u64 event[NR_VM_EVENT_ITEMS]; /* o */
} __cacheline_aligned;

static inline void count_vm_event(struct cpu *cpu, enum vm_event_item item)
{
    cpu->event[item]++;
}

static inline void count_vm_events(struct cpu *cpu, enum vm_event_item item, u64 delta)
{
    cpu->event[item] += delta;
}

#endif
