/* SPDX-License-Identifier: MIT */
/*
 * A guest thread on the machines: owns CPUs, accesses memory. follow.h has the states and invariants.
 *
 * Counts. Each vCPU counts its own accesses and blocks without atomics; vcpu_publish() adds them to the session and
 * charges their time to the CPUs whenever the thread leaves user mode, so that no count is lost among threads and a
 * shared cache line is touched only then.
 */
#define _GNU_SOURCE
#include "recent.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "machine/tlb.h"

struct process process = {.order = PTHREAD_MUTEX_INITIALIZER};
struct vcpu vcpus[MAX_VCPUS];
struct vcpu_hot hot[MAX_VCPUS];

#define STILL_ASLEEP_NS 10000000l

static const _Atomic u32 no_work; /* of a vCPU without a CPU */
static const _Atomic u32 ask_again = 1u << 31;

/* -- recent pages: recent.h ---------------------------------------------------------------------------------------- */

/* The list's first positions become the latest of their sets in every machine; what was flushed stays so. */
void recent_write_back(struct vcpu *v, struct recent *r, u64 n, enum mmu_access_kind kind)
{
    if (!r->dirty[n])
        return;
    for (u32 i = 0; i < process.nr_machines; i++) {
        struct mmu *u = v->mmu[i];
        const struct tlb_array *t = kind == MMU_EXEC ? &u->l1i : &u->l1d;

        if (!v->cpu[i])
            continue;
        for (int pos = 31 - __builtin_clz(r->dirty[n]); pos >= 0; pos--) {
            va_t page = r->page[pos][n] & PAGE_MASK;
            u32 set = tlb_set(t, page, PAGE_SHIFT), way;

            if (r->page[pos][n] == NOT_RECENT)
                continue;
            way = tlb_find(t, set, page | u->tag, ~TLB_W);
            if (way && way < t->ways)
                tlb_put_front(t, set, way, *tlb_slot(t, set, way));
        }
    }
    r->dirty[n] = 0;
}

static void forget(struct vcpu *v, struct recent *r, enum mmu_access_kind kind)
{
    for (u64 n = 0; n < RECENT_CLASSES; n++)
        if (r->page[0][n] != NOT_RECENT) {
            recent_write_back(v, r, n, kind);
            recent_clear(r, n);
        }
}

void vcpu_forget(struct vcpu *v)
{
    forget(v, &vcpu_hot(v)->data, MMU_READ);
    forget(v, &vcpu_hot(v)->code, MMU_EXEC);
}

void vcpu_geometry(void)
{
    u32 data = RECENT_CLASSES, code = RECENT_CLASSES, ways = RECENT_WAYS;

    for (u32 i = 0; i < process.nr_machines; i++) {
        const struct tlb_config *t = &process.machine[i]->config.tlb;

        data = MIN(data, t->l1d_4k.sets);
        code = MIN(code, t->l1i_4k.sets);
        ways = MIN(ways, MIN(t->l1d_4k.ways, t->l1i_4k.ways));
    }
    process.data_mask = data - 1;
    process.code_mask = code - 1;
    process.recent_ways = ways;
}

void vcpu_set_hot(struct vcpu *v)
{
    for (u32 i = 0; i < process.nr_machines; i++)
        vcpu_hot(v)->work[i] = v->cpu[i] ? &v->cpu[i]->work : v->lacks_cpu ? &ask_again : &no_work;
}

void vcpu_clear(struct vcpu *v)
{
    memset(v, 0, sizeof(*v));
    *vcpu_hot(v) = (struct vcpu_hot){.vcpu = v};
    for (u64 n = 0; n < RECENT_CLASSES; n++) {
        recent_clear(&vcpu_hot(v)->data, n);
        recent_clear(&vcpu_hot(v)->code, n);
    }
    v->index = (u32)(v - vcpus);
    vcpu_set_hot(v);
}

bool thread_sleeps(u32 tid)
{
    char path[64], stat[64] = "";
    const char *state;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/self/task/%u/stat", tid);
    f = fopen(path, "re");
    if (!f)
        return false;
    if (!fgets(stat, sizeof(stat), f))
        stat[0] = 0;
    fclose(f);
    state = strrchr(stat, ')');
    return state && state[2] == 'S'; /* a futex, not the disk */
}

/* A thread of this process sleeps on a CPU, and not for the sake of the memory manager or of a recording's order. */
static bool cpu_sleeps_here(const struct vcpu *v, const struct machine *m)
{
    bool in_turn = atomic_load(&process.nr_in_turn) != 0;

    if (atomic_load(&process.slot->in_core) || atomic_load(&process.slot->frozen))
        return false;
    for (u32 id = 0; id < m->nr_cpus; id++) {
        u32 owner = atomic_load(&m->cpus[id].owner);

        if (in_turn && (v->baton != BATON_STANDS_IN || (owner != v->stands_for && owner != v->stopped)))
            continue;
        if (thread_sleeps(owner))
            return true;
    }
    return false;
}

bool vcpu_must_go_on(const struct vcpu *v, const struct machine *m)
{
    if (!v->in_block || !cpu_sleeps_here(v, m))
        return false;
    nanosleep(&(struct timespec){.tv_nsec = STILL_ASLEEP_NS}, NULL);
    return cpu_sleeps_here(v, m);
}

/* Another thread has ended the process. */
static bool has_ended(void)
{
    return atomic_load(&process.slot->state) == PROC_EXITED;
}

/* NULL: the machine is dead, or this thread must go on without, or the process has ended. */
static struct cpu *acquire_on(struct vcpu *v, u32 i, struct task *task)
{
    struct machine *m = process.machine[i];

    if (!v->in_block && !process.before_acquire)
        return cpu_acquire(m, task, v->tid);
    for (;;) {
        struct cpu *cpu = cpu_acquire_soon(m, task, v->tid);

        if (cpu || has_ended() || session_machine_is_dead(process.s, i) || vcpu_must_go_on(v, m))
            return cpu;
        if ((process.before_acquire && !process.before_acquire(v)) || has_ended())
            return NULL;
    }
}

/* False: v has been abandoned. */
static bool acquire_all(struct vcpu *v)
{
    v->lacks_cpu = false;
    for (u32 i = 0; i < process.nr_machines; i++) {
        struct task *task = v->thread ? v->thread->task[i] : NULL;

        if (v->cpu[i] || !task || session_machine_is_dead(process.s, i))
            continue;
        v->cpu[i] = acquire_on(v, i, task);
        if (!v->cpu[i] && has_ended()) {
            vcpu_abandon(v);
            return false;
        }
        if (!v->cpu[i]) {
            v->lacks_cpu = v->lacks_cpu || !session_machine_is_dead(process.s, i);
            continue;
        }
        v->mmu[i] = cpu_mmu(v->cpu[i]);
        cpu_enter_user(v->cpu[i]);
    }
    return true;
}

void vcpu_acquire(struct vcpu *v)
{
    bool may;

    RACE_POINT(1);
    may = !process.before_acquire || process.before_acquire(v);
    RACE_POINT(1);
    if (v->lacks_cpu) /* what was touched meanwhile, the machine does not know */
        vcpu_forget(v);
    if (may && !acquire_all(v))
        return;
    v->lacks_cpu = v->lacks_cpu || !may;
    vcpu_set_hot(v);
    if (process.after_acquire)
        process.after_acquire(v);
}

void vcpu_publish(struct vcpu *v)
{
    struct session *s = process.s;
    struct vcpu_hot *h = vcpu_hot(v);

    if (process.on_publish)
        process.on_publish(v);
    for (u32 i = 0; i < process.nr_machines; i++)
        if (v->cpu[i])
            mmu_account(v->cpu[i], h->accesses, h->blocks, h->blocks);
    atomic_fetch_add_explicit(&s->accesses, h->accesses, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->blocks, h->blocks, memory_order_relaxed);
    h->accesses = 0;
    h->blocks = 0;
}

void vcpu_release(struct vcpu *v)
{
    vcpu_forget(v);
    vcpu_publish(v);
    RACE_POINT(1);
    for (u32 i = 0; i < process.nr_machines; i++)
        if (v->cpu[i]) {
            cpu_enter_kernel(v->cpu[i]);
            cpu_release(v->cpu[i]);
            v->cpu[i] = NULL;
        }
    vcpu_set_hot(v);
}

/* Somebody waits for a CPU, and the time slice, which is virtual time, is over. */
static bool should_resched(struct vcpu *v)
{
    if (vcpu_hot(v)->blocks >= 1000)
        vcpu_publish(v);
    for (u32 i = 0; i < process.nr_machines; i++)
        if (v->cpu[i] && cpu_should_resched(v->cpu[i]))
            return true;
    return process.recording && v->baton != BATON_OWNED; /* who asks is in his turn, and waits */
}

static void give_way(struct vcpu *v)
{
    vcpu_release(v);
    for (u32 i = 0; i < process.nr_machines; i++)
        if (!session_machine_is_dead(process.s, i))
            cpu_let_waiters(process.machine[i]);
}

void vcpu_poll(struct vcpu *v)
{
    bool nested = v->in_block; /* by resched() */
    u32 work = 0;

    v->in_block = true;
    if (unlikely(v->lacks_cpu)) {
        vcpu_release(v); /* F2 */
        vcpu_acquire(v);
    }
    for (u32 i = 0; i < process.nr_machines; i++)
        if (v->cpu[i])
            work |= atomic_load(&v->cpu[i]->work);
    if (work & CPU_WORK_RESCHED && should_resched(v)) {
        if (process.resched)
            process.resched(v);
        else
            give_way(v);
        vcpu_acquire(v);
    } else if (work & ~(u32)CPU_WORK_RESCHED) {
        for_each_machine_in_core(v, i, cpu) /* leaving the kernel does it */
            continue;
    }
    v->in_block = nested;
}

/* -- the process has ended ------------------------------------------------------------------------------------------ */

/* By another thread: its CPUs are the launcher's to give back, what it would do now nobody is told. */
void vcpu_abandon(struct vcpu *v)
{
    vcpu_forget(v);
    if (process.on_abandon)
        process.on_abandon(v);
    memset(v->cpu, 0, sizeof(v->cpu));
    v->thread = NULL;
    v->state = VCPU_NONE;
    vcpu_set_hot(v);
}

/* Through the gate; false: the process has ended, v is followed no more. It must not wait there: qemu stops all vCPUs at
 * the end, and waits for those that are in a block. */
static bool enter_core(struct vcpu *v)
{
    if (gate_enter_live(process.slot))
        return true;
    vcpu_abandon(v);
    return false;
}

/* -- in the core --------------------------------------------------------------------------------------------------- */

/*
 * On the first live machine from `i` on where it has a CPU; behind the last one it has left the core. Nobody goes into the
 * core of a dead one: locks may be held there by the dead.
 */
static u32 core_from(struct vcpu *v, u32 i)
{
    while (i < process.nr_machines && (!v->cpu[i] || session_machine_is_dead(process.s, i)))
        i++;
    if (i == process.nr_machines)
        gate_leave(process.slot);
    else
        cpu_enter_kernel(v->cpu[i]);
    return i;
}

u32 vcpu_core_begin(struct vcpu *v, u32 i)
{
    vcpu_forget(v);
    return enter_core(v) ? core_from(v, 0) : process.nr_machines;
}

u32 vcpu_core_next(struct vcpu *v, u32 i)
{
    if (v->cpu[i])
        cpu_enter_user(v->cpu[i]);
    return core_from(v, i + 1);
}

/* The machine can follow no more; this thread lets go of it. CPU in user state. */
void vcpu_machine_dead(struct vcpu *v, u32 i)
{
    if (!v->cpu[i])
        return;
    vcpu_forget(v);
    cpu_enter_kernel(v->cpu[i]);
    cpu_release(v->cpu[i]);
    v->cpu[i] = NULL;
    vcpu_set_hot(v);
}

/* -- accesses ------------------------------------------------------------------------------------------------------ */

/* The machine raised a signal for an access that the host has done (F4). True: try once more. */
static bool resolve_fault(struct vcpu *v, u32 i, va_t va, enum mmu_access_kind kind, const struct fault_info *fi)
{
    static const char *const what[] = {"read", "write", "execute"};

    if (fi->signo == SIGKILL) {
        session_machine_dead(process.s, i, "out of memory: process %d (%s), %s of 0x%llx", process.pid,
                             process.slot->comm, what[kind], (unsigned long long)va);
        vcpu_machine_dead(v, i);
        return false;
    }
    if (discover(v, i, va, kind) || session_machine_is_dead(process.s, i))
        return true;
    if (session_machine_is_dead(process.s, i)) {
        vcpu_machine_dead(v, i);
        return false;
    }
    atomic_fetch_add(&process.s->disagreements, 1);
    session_notice(process.s, "process %d (%s): machine %u raises signal %d for the %s of 0x%llx, the host did not",
                   process.pid, process.slot->comm, i, fi->signo, what[kind], (unsigned long long)va);
    return false;
}

static void access_page(struct vcpu *v, u32 i, va_t va, enum mmu_access_kind kind)
{
    struct fault_info fi = {0};

    for (int tries = 0; tries < 3 && v->cpu[i]; tries++) {
        int signo;

        if (!enter_core(v))
            return;
        if (unlikely(session_machine_is_dead(process.s, i))) {
            gate_leave(process.slot);
            vcpu_machine_dead(v, i);
            return;
        }
        signo = mmu_access(v->cpu[i], v->mmu[i], va, kind, &fi);
        gate_leave(process.slot);
        if (!signo || !resolve_fault(v, i, va, kind, &fi))
            return;
    }
}

__noinline void vcpu_access_slow(struct vcpu *v, u32 i, va_t va, u32 size, enum mmu_access_kind kind)
{
    u64 flushed;

    if (!v->cpu[i])
        return;
    flushed = v->mmu[i]->count.entries_flushed;
    access_page(v, i, va, kind);
    if ((va & ~PAGE_MASK) + size > PAGE_SIZE)
        access_page(v, i, (va & PAGE_MASK) + PAGE_SIZE, kind);
    if (unlikely(v->mmu[i]->count.entries_flushed != flushed))
        vcpu_forget(v);
}

void vcpu_touch(struct vcpu *v, va_t va, u64 len, enum mmu_access_kind kind)
{
    if (!len || va + len < va)
        return;
    vcpu_forget(v);
    for (va_t page = va & PAGE_MASK; page < va + len; page += PAGE_SIZE)
        for (u32 i = 0; i < process.nr_machines; i++)
            if (v->cpu[i])
                access_page(v, i, MAX(page, va), kind);
    for (u32 i = 0; i < process.nr_machines; i++)
        if (v->cpu[i])
            charge_ps(v->cpu[i], TIME_COPY, v->cpu[i]->m->config.cost_ps[COST_COPY_USER_KB] * len / 1024);
}
