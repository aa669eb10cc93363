/* SPDX-License-Identifier: MIT */
/* The machines that the rows run on, and rows about whole machines. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"
#include "base/errno.h"
#include "machine/machine_api.h"

static struct machine *boot(const struct machine_config *c)
{
    struct machine *m = machine_boot(c, NULL);

    if (!IS_ERR(m))
        return m;
    fprintf(stderr, "quire-bench: the machine does not boot: error %d\n", -PTR_ERR(m));
    exit(1);
}

struct cpu *bench_cpu_content(bool full)
{
    static struct cpu *cpu[2];
    struct machine_config c;
    struct machine *m;

    if (cpu[full])
        return cpu[full];
    machine_config_default(&c);
    c.content = full ? CONTENT_FULL : CONTENT_NONE;
    c.randomize_va_space = 0;
    c.max_map_count = 1u << 20;
    m = boot(&c);
    cpu[full] = cpu_acquire(m, NULL, 1);
    return cpu[full];
}

struct cpu *bench_cpu(void)
{
    return bench_cpu_content(true);
}

/* -- boot of a large machine --------------------------------------------------------------------------------------- */

static void large_config(struct machine_config *c)
{
    machine_config_default(c);
    strcpy(c->name, "large");
    c->mem_bytes = 1ull << 40;
    c->nr_nodes = 8;
    c->nr_cpus = 256;
    c->content = CONTENT_NONE;
    machine_config_layout(c);
}

static uint64_t boot_large(void *ctx, uint64_t n)
{
    struct machine_config c;
    uint64_t ns = 0;

    large_config(&c);
    for (uint64_t i = 0; i < n; i++) {
        struct machine *m;

        ns += BENCH_TIME(m = boot(&c));
        machine_destroy(m);
    }
    return ns;
}

/* Shared memory of this process, bytes: a machine's region is shared. */
static uint64_t shared_bytes(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long shared = 0;

    if (!f || fscanf(f, "%*u %*u %lu", &shared) != 1)
        shared = 0;
    if (f)
        fclose(f);
    return (uint64_t)shared * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Not a time: host memory that the booted machine takes, in bytes. */
static uint64_t boot_large_memory(void *ctx, uint64_t n)
{
    uint64_t before = shared_bytes(), bytes;
    struct machine_config c;
    struct machine *m;

    large_config(&c);
    m = boot(&c);
    bytes = shared_bytes() - before;
    machine_destroy(m);
    return bytes * n;
}

const struct bench_case machine_cases[] = {
    {.name = "boot: 1 TB, 8 nodes, 256 CPUs", .target = 1e9, .fixed_n = 1, .ours = {.run = boot_large}},
    {
        .name = "host memory: 1 TB, 8 nodes, 256 CPUs",
        .unit = "MB",
        .target = 400e6,
        .fixed_n = 1,
        .ours = {.run = boot_large_memory},
    },
};
const size_t nr_machine_cases = sizeof(machine_cases) / sizeof(machine_cases[0]);
