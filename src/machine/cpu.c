/* SPDX-License-Identifier: MIT */
/*
 * Who runs on which CPU.
 *
 *             cpu_acquire()                cpu_enter_user()
 *   CPU_IDLE ───────────────▶ CPU_KERNEL ─────────────────▶ CPU_USER
 *            ◀───────────────            ◀─────────────────
 *             cpu_release()                cpu_enter_kernel()
 *
 *   IDLE -> KERNEL   [cpu_acquire, cpu_try_acquire_id]  owner becomes the host thread; posted work is done
 *   KERNEL -> USER   [cpu_enter_user]     work done, the current task's address space loaded,
 *                                         its missed flushes made up for
 *   USER -> KERNEL   [cpu_enter_kernel]
 *   KERNEL -> IDLE   [cpu_release]        no address space loaded; TLB entries stay under their ASID
 *   any -> IDLE      [cpu_release_dead]   the owner is gone: killed without notice
 *
 * Invariants
 *   C1  owner 0 <=> state CPU_IDLE, no current task, no address space loaded;
 *   C2  only the owner's thread touches the fields marked o;
 *   C3  a CPU in CPU_USER has its current task's address space loaded and no request older than its last block.
 * KERNEL -> USER writes the state, then looks at the work bits; cpu_post_work() sets a bit that the owner looks at
 * before it runs user code: whichever comes second sees the other (both are sequentially consistent).
 *
 * Choice. The CPU that the task ran on last, if free; else the free one with the lowest number on the same node; else
 * the first free one. All taken: every owner is asked to give way (CPU_WORK_RESCHED), the thread sleeps until one is
 * released. Owners give way at the end of a time slice: cpu_should_resched(). A closed machine gives no CPU to anybody.
 *
 * Time. A CPU's clock stands while nobody owns it. Who acquires it moves it up to the latest time at which any CPU was
 * released, acquired or published (hw->now_ps), booked as idle: so no task's time runs backwards when it moves to
 * another CPU, and what was waited for has happened before. A front end publishes before it starts a thread or a
 * process (cpu_publish_time()).
 * Rejected: one clock for all (parallel threads would add up); clocks of their own without catching up (a child would
 * begin before its birth).
 */
#include "kmem/slab.h"
#include "machine/machine_api.h"
#include "phys/lru.h"
#include "phys/page_alloc.h"
#include "port/port.h"

#define SLICE_PS 3000000000ull /* 3 ms: base slice of Linux's fair scheduler on few CPUs */
#define LET_NS 2000000ull      /* a waiter wakes up well within it, if it is alive */
#define WAIT_NS 100000000ull   /* look again after 100 ms: the owner may have died */

/* -- time ---------------------------------------------------------------------------------------------------------- */

void cpu_publish_time(struct cpu *cpu)
{
    struct hw *hw = cpu->m->hw;
    u64 now = atomic_load_explicit(&hw->now_ps, memory_order_relaxed);

    while (now < cpu->clock_ps)
        if (atomic_compare_exchange_weak(&hw->now_ps, &now, cpu->clock_ps))
            return;
}

static void catch_up(struct cpu *cpu)
{
    u64 now = atomic_load(&cpu->m->hw->now_ps);

    if (now > cpu->clock_ps)
        charge_ps(cpu, TIME_IDLE, now - cpu->clock_ps);
}

/* -- work ---------------------------------------------------------------------------------------------------------- */

void cpu_do_work(struct cpu *cpu)
{
    const u32 once = CPU_WORK_DRAIN_PCP | CPU_WORK_FLUSH_SLAB | CPU_WORK_DRAIN_LRU;
    u32 work;

    if (atomic_load(&cpu->work) & CPU_WORK_TLB_FLUSH)
        mmu_take_requests(cpu_mmu(cpu));
    if (!(atomic_load(&cpu->work) & once))
        return;
    work = atomic_fetch_and(&cpu->work, ~once);
    if (work & CPU_WORK_DRAIN_LRU)
        lru_add_drain(cpu);
    if (work & CPU_WORK_FLUSH_SLAB)
        flush_cpu_slab(cpu);
    if (work & CPU_WORK_DRAIN_PCP)
        drain_local_pages(cpu);
}

/* -- user and kernel ----------------------------------------------------------------------------------------------- */

void switch_mm(struct cpu *cpu, struct mm *next)
{
    mmu_load(cpu_mmu(cpu), next);
}

/* The task's address space, under its PKRU. */
static bool mm_is_loaded(const struct cpu *cpu)
{
    const struct mmu *u = cpu_mmu(cpu);
    const struct mm *mm = cpu->current ? cpu->current->mm : NULL;

    return atomic_load_explicit(&((struct mmu *)(uintptr_t)u)->ctx_id, memory_order_relaxed) == (mm ? mm->ctx_id : 0) &&
           u->mm == mm && (!mm || u->pkru == cpu->current->pkru);
}

void cpu_enter_kernel(struct cpu *cpu)
{
    DEBUG_ASSERT(atomic_load(&cpu->state) == CPU_USER);
    atomic_store_explicit(&cpu->state, CPU_KERNEL, memory_order_release);
}

void cpu_enter_user(struct cpu *cpu)
{
    DEBUG_ASSERT(atomic_load(&cpu->state) == CPU_KERNEL);
    DEBUG_ASSERT(cpu->nr_held == 0);
    if (!mm_is_loaded(cpu))
        switch_mm(cpu, cpu->current ? cpu->current->mm : NULL);
    for (;;) {
        atomic_store(&cpu->state, CPU_USER);
        if (likely(!(atomic_load(&cpu->work) & ~(u32)CPU_WORK_RESCHED)))
            return;
        atomic_store(&cpu->state, CPU_KERNEL);
        cpu_do_work(cpu);
    }
}

void cpu_serve(struct cpu *cpu)
{
    if (!(atomic_load(&cpu->work) & ~(u32)CPU_WORK_RESCHED))
        return;
    cpu_enter_kernel(cpu);
    cpu_enter_user(cpu);
}

bool cpu_should_resched(const struct cpu *cpu)
{
    u32 work = atomic_load_explicit(&((struct cpu *)(uintptr_t)cpu)->work, memory_order_relaxed);

    return (work & CPU_WORK_RESCHED) && cpu->clock_ps - cpu->slice_start_ps >= SLICE_PS;
}

/* -- ownership ----------------------------------------------------------------------------------------------------- */

bool cpu_try_acquire_id(struct machine *m, u32 id, u32 host_tid, struct cpu **out)
{
    struct cpu *cpu = &m->cpus[id];
    u32 nobody = 0;

    if (atomic_load_explicit(&cpu->owner, memory_order_relaxed) ||
        !atomic_compare_exchange_strong(&cpu->owner, &nobody, host_tid))
        return false;
    RACE_POINT(20);
    cpu->code = &quire_code;
    atomic_store(&cpu->state, CPU_KERNEL);
    atomic_fetch_and(&cpu->work, ~(u32)CPU_WORK_RESCHED);
    catch_up(cpu);
    cpu->slice_start_ps = cpu->clock_ps;
    cpu_do_work(cpu);
    *out = cpu;
    return true;
}

/* Any free CPU for `task`, by the rule of the file comment; NULL: all are taken. */
static struct cpu *acquire_free(struct machine *m, const struct task *task, u32 host_tid)
{
    s32 last = task ? task->cpu : -1;
    struct cpu *cpu;

    if (last >= 0 && cpu_try_acquire_id(m, (u32)last, host_tid, &cpu))
        return cpu;
    if (last >= 0)
        for (u32 id = 0; id < m->nr_cpus; id++)
            if (m->cpus[id].node == m->cpus[last].node && cpu_try_acquire_id(m, id, host_tid, &cpu))
                return cpu;
    for (u32 id = 0; id < m->nr_cpus; id++)
        if (cpu_try_acquire_id(m, id, host_tid, &cpu))
            return cpu;
    return NULL;
}

enum patience { FOR_EVER, SLEEP_ONCE };

static struct cpu *wait_for_cpu(struct machine *m, const struct task *task, u32 host_tid, enum patience patience)
{
    struct cpu *cpu;

    atomic_fetch_add(&m->nr_waiting, 1);
    for (u32 sleeps = 0;; sleeps++) {
        u32 seen = atomic_load(&m->cpu_freed);

        cpu = acquire_free(m, task, host_tid);
        RACE_POINT(20);
        if (cpu || atomic_load(&m->closed) || (sleeps && patience == SLEEP_ONCE))
            break;
        for (u32 id = 0; id < m->nr_cpus; id++)
            cpu_post_work(m, id, CPU_WORK_RESCHED);
        port_futex_wait(&m->cpu_freed, seen, WAIT_NS);
    }
    atomic_fetch_sub(&m->nr_waiting, 1);
    port_futex_wake(&m->nr_waiting, INT32_MAX);
    return cpu;
}

void cpu_let_waiters(struct machine *m)
{
    u32 waiting = atomic_load(&m->nr_waiting);

    if (waiting)
        port_futex_wait(&m->nr_waiting, waiting, LET_NS);
}

static void run_task(struct cpu *cpu, struct task *task)
{
    cpu->current = task;
    if (!task)
        return;
    if (cpu->last_pid != task->pid && cpu->last_pid) {
        charge(cpu, COST_SWITCH);
        count_vm_event(cpu, Q_CONTEXT_SWITCH);
    }
    cpu->last_pid = task->pid;
    task->cpu = (s32)cpu->id;
}

static struct cpu *acquire(struct machine *m, struct task *task, u32 host_tid, enum patience patience)
{
    struct cpu *cpu;

    ASSERT(host_tid);
    if (atomic_load(&m->closed))
        return NULL;
    cpu = acquire_free(m, task, host_tid);
    if (!cpu)
        cpu = wait_for_cpu(m, task, host_tid, patience);
    if (cpu)
        run_task(cpu, task);
    return cpu;
}

struct cpu *cpu_acquire(struct machine *m, struct task *task, u32 host_tid)
{
    return acquire(m, task, host_tid, FOR_EVER);
}

struct cpu *cpu_acquire_soon(struct machine *m, struct task *task, u32 host_tid)
{
    return acquire(m, task, host_tid, SLEEP_ONCE);
}

static void give_back(struct cpu *cpu)
{
    cpu->current = NULL;
    mmu_load(cpu_mmu(cpu), NULL);
    cpu->code = NULL;
    atomic_store(&cpu->state, CPU_IDLE);
    RACE_POINT(20);
    cpu_set_free(cpu);
}

void cpu_release(struct cpu *cpu)
{
    ASSERT(atomic_load(&cpu->owner));
    DEBUG_ASSERT(cpu->nr_held == 0);
    if (likely(!atomic_load(&cpu->m->closed))) /* else its locks may be held by the dead */
        cpu_do_work(cpu);
    cpu_publish_time(cpu);
    give_back(cpu);
}

/* The owner is gone; what it was doing ends. */
static void take_from_dead(struct cpu *cpu)
{
    struct mmu *u = cpu_mmu(cpu);

    if (atomic_load(&u->walk_seq) & 1)
        mmu_end_walk(u); /* killed inside a walk: whoever waits for its end goes on */
    cpu->nr_held = 0;
    give_back(cpu);
}

void cpu_release_dead(struct machine *m, const u32 *host_tids, u32 nr)
{
    for (u32 id = 0; id < m->nr_cpus; id++) {
        u32 owner = atomic_load(&m->cpus[id].owner);

        for (u32 i = 0; owner && i < nr; i++) {
            if (host_tids[i] != owner)
                continue;
            take_from_dead(&m->cpus[id]);
            break;
        }
    }
}

void machine_close(struct machine *m)
{
    atomic_store(&m->closed, 1); /* before the change of cpu_freed, which those who wait look at first */
    atomic_fetch_add(&m->cpu_freed, 1);
    port_futex_wake(&m->cpu_freed, INT32_MAX);
}

void cpu_release_all(struct machine *m)
{
    atomic_store(&m->nr_waiting, 0);
    atomic_store(&m->closed, 0);
    for (u32 id = 0; id < m->nr_cpus; id++) {
        if (!atomic_load(&m->cpus[id].owner))
            continue;
        mmu_flush_all(cpu_mmu(&m->cpus[id])); /* its owner may have been changing it at that moment */
        take_from_dead(&m->cpus[id]);
    }
}
