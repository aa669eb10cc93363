/* SPDX-License-Identifier: MIT */
/*
 * struct machine: the hub that every floor hangs its part on. It lies at the start of the machine's region:
 *
 *   region ┌───────────────┬──────────────────────┬───────────────────┬──────────────────────────────┐
 *          │ struct machine│ hardware area        │ vmemmap window    │ RAM (direct map)             │
 *          │ (this)        │ TLBs, CPUs, devices  │ (VMEMMAP only)    │ phys_to_virt(m, 0) = m->ram  │
 *          └───────────────┴──────────────────────┴───────────────────┴──────────────────────────────┘
 *
 * What a kernel would keep in memory is allocated from RAM by the machine's own allocators; what is hardware, or the
 * model's own bookkeeping, comes from the hardware area (machine_hw_alloc()) and is not accounted to the machine.
 * Each floor defines its own part (struct phys, kmem, vm, hw) in its own header; the others only pass it on.
 */
#ifndef QUIRE_BASE_MACHINE_H
#define QUIRE_BASE_MACHINE_H

#include "base/assert.h"
#include "base/config.h"
#include "base/cpu.h"
#include "base/types.h"

struct phys;
struct kmem;
struct vm;
struct cache;
struct hw;
struct page;

/* Fail the allocations a test wants to fail: page allocator and slab ask should_fail() once per call. */
struct fail_inject {
    _Atomic u64 countdown; /* 0: off; n: the n-th asking from now fails */
    u64 interval;          /* after a failure: 0 off, else the next countdown */
    bool not_slabs;    /* one CPU: pages for slabs are not asked for, so what fails does not depend on earlier use */
    _Atomic u64 asked; /* how often it was asked, counted always */
    _Atomic u64 failed;
};

struct machine {
    u64 magic; /* c: MACHINE_MAGIC */
    u32 version;
    s32 handle;             /* c: port handle of the region in the process that created it */
    void *region;           /* c: its own address: struct machine * == region */
    size_t region_size;     /* c */
    char *hw_next, *hw_end; /* boot only: what is left of the hardware area */
    char *ram;              /* c: direct map: the frame at physical address 0 */
    u64 ram_span;           /* c: bytes: end of the highest range of RAM */
    char *vmemmap;          /* c: the window, 2 MiB aligned, 64 bytes for each 4 KiB of ram_span; NULL: FLATMEM */
    struct page *memmap;    /* c: pfn_to_page(m, pfn) = memmap + pfn under both memory models */

    struct machine_config config; /* c, but for the sysctls, which are changed one word at a time */
    u32 nr_cpus;                  /* c */
    struct cpu *cpus;             /* c: array */
    _Atomic u32 cpu_freed;        /* a: futex word, bumped when a CPU becomes free */
    _Atomic u32 nr_waiting;       /* a: threads that wait for a CPU */
    _Atomic u32 closed;           /* a: machine_close() was called */

    struct phys *phys;   /* src/phys/phys.h */
    struct kmem *kmem;   /* src/kmem/kmem.h */
    struct vm *vm;       /* src/vm/vm.h */
    struct cache *cache; /* src/cache/cache.h */
    struct hw *hw;       /* src/machine/hw.h */

    struct fail_inject fail;
};

#define MACHINE_MAGIC 0x31656e6968636d51ull /* "Qmchine1" */
#define MACHINE_VERSION 1

static inline void *phys_to_virt(const struct machine *m, phys_t a)
{
    return m->ram + a.pa;
}

static inline phys_t virt_to_phys(const struct machine *m, const void *p)
{
    return PHYS((u64)((const char *)p - m->ram));
}

/* Boot only: zeroed memory from the hardware area; asserts that the region was laid out large enough. */
static inline void *machine_hw_alloc(struct machine *m, size_t bytes, size_t align)
{
    char *p = (char *)ALIGN_UP((uintptr_t)m->hw_next, align);

    ASSERT(p + bytes <= m->hw_end);
    m->hw_next = p + bytes;
    return p;
}

static inline bool should_fail(struct machine *m)
{
    struct fail_inject *f = &m->fail;
    u64 n;

    if (likely(!atomic_load_explicit(&f->countdown, memory_order_relaxed)))
        return false;
    atomic_fetch_add_explicit(&f->asked, 1, memory_order_relaxed);
    n = atomic_load(&f->countdown);
    do
        if (!n)
            return false;
    while (!atomic_compare_exchange_weak(&f->countdown, &n, n == 1 ? f->interval : n - 1));
    if (n != 1)
        return false;
    atomic_fetch_add(&f->failed, 1);
    return true;
}

/* The cause each constant is booked under. */
static const u8 cost_cause[NR_COSTS] = {
#define X(id, key, ps, cause, source) [id] = cause,
    COSTS(X)
#undef X
};

static inline void charge_ps(struct cpu *cpu, enum time_cause cause, u64 ps)
{
    cpu->clock_ps += ps;
    cpu->time_ps[cause] += ps;
}

static inline void charge_n(struct cpu *cpu, enum cost cost, u64 n)
{
    charge_ps(cpu, (enum time_cause)cost_cause[cost], cpu->m->config.cost_ps[cost] * n);
}

static inline void charge(struct cpu *cpu, enum cost cost)
{
    charge_n(cpu, cost, 1);
}

/* Ask the owner of CPU `target` for `work` (enum cpu_work bits); it is done before that CPU runs user code again. */
static inline void cpu_post_work(struct machine *m, u32 target, u32 work)
{
    atomic_fetch_or(&m->cpus[target].work, work);
}

/* The CPU is nobody's from now on: wakes one who waits for it. base/cpu.c */
void cpu_set_free(struct cpu *cpu);

/*
 * Do fn(cpu, id, arg) for this CPU, and at once for every CPU that nobody owns: the caller owns it
 * meanwhile, under its own thread id, so that it is given back if the caller is killed. The other CPUs'
 * owners are asked for `work`. base/cpu.c
 */
void on_each_cpu_work(struct cpu *cpu, enum cpu_work work, void (*fn)(struct cpu *cpu, u32 id, void *arg), void *arg);

#endif
