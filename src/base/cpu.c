/* SPDX-License-Identifier: MIT */
/* Work on every CPU: what inter-processor interrupts and per-CPU work queues are for in a kernel. See base/cpu.h. */
#include "base/machine.h"
#include "port/port.h"

/* An owner for a moment that is no thread: only tests run core code on a CPU that nobody owns. */
#define OWNER_NONE 0xffffffffu

void cpu_set_free(struct cpu *cpu)
{
    struct machine *m = cpu->m;

    atomic_store(&cpu->owner, 0);
    atomic_fetch_add(&m->cpu_freed, 1);
    if (atomic_load(&m->nr_waiting))
        port_futex_wake(&m->cpu_freed, 1);
}

void on_each_cpu_work(struct cpu *cpu, enum cpu_work work, void (*fn)(struct cpu *cpu, u32 id, void *arg), void *arg)
{
    struct machine *m = cpu->m;
    u32 me = atomic_load_explicit(&cpu->owner, memory_order_relaxed);

    fn(cpu, cpu->id, arg);
    for (u32 id = 0; id < m->nr_cpus; id++) {
        u32 nobody = 0;

        if (id == cpu->id)
            continue;
        if (!atomic_compare_exchange_strong(&m->cpus[id].owner, &nobody, me ? me : OWNER_NONE)) {
            cpu_post_work(m, id, work);
            continue;
        }
        fn(cpu, id, arg);
        cpu_set_free(&m->cpus[id]);
    }
}
