/* SPDX-License-Identifier: MIT */
/* Page allocator: ns per operation, best of several rounds. */
#include <stdio.h>

#include "base/errno.h"
#include "machine/region.h"
#include "phys/phys.h"
#include "phys/pressure.h"
#include "port/port.h"

static const struct core_code bench_code = {.pressure = &pressure_none};

static struct cpu *bench_boot(u64 mem_bytes, u32 nodes, u32 cpus, enum memory_model model)
{
    static struct machine_config c;
    struct machine *m;

    machine_config_default(&c);
    c.mem_bytes = mem_bytes;
    c.nr_nodes = nodes;
    c.nr_cpus = cpus;
    c.memory_model = model;
    c.content = CONTENT_NONE;
    machine_config_layout(&c);
    m = machine_create(&c, NULL);
    if (IS_ERR(m))
        return NULL;
    atomic_store(&m->cpus[0].owner, 1);
    m->cpus[0].code = &bench_code;
    return phys_init(&m->cpus[0]) ? NULL : &m->cpus[0];
}

#define ROUNDS 60
#define BEST(result, n, body)                                                                                          \
    do {                                                                                                               \
        (result) = 1e18;                                                                                               \
        for (int round_ = 0; round_ < ROUNDS; round_++) {                                                              \
            u64 t0_ = port_clock_ns();                                                                                 \
            double ns_;                                                                                                \
            for (u64 i = 0; i < (n); i++) {                                                                            \
                body;                                                                                                  \
            }                                                                                                          \
            ns_ = (double)(port_clock_ns() - t0_) / (double)(n);                                                       \
            (result) = ns_ < (result) ? ns_ : (result);                                                                \
        }                                                                                                              \
    } while (0)

#define KEPT 4096

static void bench_pairs(struct cpu *cpu)
{
    static struct page *kept[KEPT];
    double ns;

    BEST(ns, 50000, __free_page(cpu, alloc_page(cpu, GFP_HIGHUSER_MOVABLE)));
    printf("%-44s %7.1f ns\n", "order-0 alloc+free pair", ns);
    BEST(ns, 50000, folio_put(cpu, folio_alloc(cpu, GFP_HIGHUSER_MOVABLE, 0)));
    printf("%-44s %7.1f ns\n", "order-0 folio_alloc+folio_put pair", ns);
    BEST(ns, 20000, __free_pages(cpu, alloc_pages(cpu, GFP_KERNEL, 2), 2));
    printf("%-44s %7.1f ns\n", "order-2 alloc+free pair", ns);
    BEST(ns, 100, __free_pages(cpu, alloc_pages(cpu, GFP_HIGHUSER_MOVABLE | __GFP_COMP, 9), 9));
    printf("%-44s %7.1f ns\n", "order-9 compound alloc+free pair", ns);
    BEST(ns, 2, {
        for (u32 k = 0; k < KEPT; k++)
            kept[k] = alloc_page(cpu, GFP_HIGHUSER_MOVABLE);
        for (u32 k = 0; k < KEPT; k++)
            __free_page(cpu, kept[k]);
    });
    printf("%-44s %7.1f ns\n", "4096 pages allocated, then freed: per page", ns / KEPT);
    BEST(ns, 2, {
        for (u32 k = 0; k < KEPT; k++) {
            kept[k] = alloc_page(cpu, GFP_HIGHUSER_MOVABLE);
            folio_add_lru(cpu, (struct folio *)kept[k]);
        }
        lru_add_drain(cpu);
        folios_put(cpu, (struct folio **)kept, KEPT);
    });
    printf("%-44s %7.1f ns\n", "the same with LRU list: per page", ns / KEPT);
}

static u64 resident_kib(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long size = 0, rss = 0;

    if (f && fscanf(f, "%lu %lu", &size, &rss) != 2)
        rss = 0;
    if (f)
        fclose(f);
    return rss * 4;
}

int main(void)
{
    struct cpu *cpu = bench_boot(8ul << 30, 1, 2, MEMORY_SPARSEMEM_VMEMMAP);
    u64 before, t0;

    if (!cpu)
        return 1;
    bench_pairs(cpu);
    before = resident_kib();
    t0 = port_clock_ns();
    if (!bench_boot(1ul << 40, 8, 256, MEMORY_SPARSEMEM_VMEMMAP))
        return 1;
    printf("%-44s %7.1f ms, %llu MiB of host memory\n", "boot of 1 TiB, 8 nodes, 256 CPUs (this floor)",
           (double)(port_clock_ns() - t0) / 1e6, (unsigned long long)((resident_kib() - before) >> 10));
    return 0;
}
