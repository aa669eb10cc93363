/* SPDX-License-Identifier: MIT */
/* The machines that the rows run on. */
#include <stdio.h>
#include <stdlib.h>

#include "bench/bench.h"
#include "base/errno.h"
#include "kmem/slab.h"
#include "machine/region.h"
#include "phys/phys.h"
#include "phys/pressure.h"

static const struct core_code bench_code = {.pressure = &pressure_none};

static struct cpu *boot(bool full)
{
    struct machine_config c;
    struct machine *m;

    machine_config_default(&c);
    c.content = full ? CONTENT_FULL : CONTENT_NONE;
    c.randomize_va_space = 0;
    m = machine_create(&c, NULL);
    if (IS_ERR(m)) {
        fprintf(stderr, "quire-bench: no machine: error %d\n", -PTR_ERR(m));
        exit(1);
    }
    m->cpus[0].code = &bench_code;
    atomic_store(&m->cpus[0].owner, 1);
    atomic_store(&m->cpus[0].state, CPU_KERNEL);
    if (phys_init(&m->cpus[0]) || kmem_cache_init(&m->cpus[0])) {
        fprintf(stderr, "quire-bench: the machine does not boot\n");
        exit(1);
    }
    return &m->cpus[0];
}

struct cpu *bench_cpu_content(bool full)
{
    static struct cpu *cpu[2];

    if (!cpu[full])
        cpu[full] = boot(full);
    return cpu[full];
}

struct cpu *bench_cpu(void)
{
    return bench_cpu_content(true);
}

const struct bench_case machine_cases[] = {{0}};
const size_t nr_machine_cases = 0;
const struct bench_case vm_cases[] = {{0}};
const size_t nr_vm_cases = 0;
