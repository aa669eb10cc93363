/* SPDX-License-Identifier: MIT */
/* The access path: what an access costs by where it is decided,
 * and what changing address spaces and shooting down costs. */
#include "bench/bench.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/errno.h"
#include "machine/machine_api.h"
#include "machine/mmu.h"

/* `pages` present and dirty pages; run() touches page 0, stride, 2 * stride ... below pages, again and again. */
struct mmu_param {
    uint32_t pages, stride;
    enum mmu_access_kind kind;
};

struct mmu_ctx {
    struct cpu *cpu;
    struct task *task;
    struct mmu_param p;
    va_t at;
};

static void *mmu_setup(const void *param)
{
    struct mmu_ctx *x = calloc(1, sizeof(*x));
    struct cpu *cpu = bench_cpu_content(false);
    struct fault_info fi;
    struct mm *mm = mm_alloc(cpu);

    x->p = *(const struct mmu_param *)param;
    x->cpu = cpu;
    x->task = task_create(cpu, 4711, 4711, mm);
    cpu->current = x->task;
    x->at = (va_t)sys_mmap(cpu, 0, (uint64_t)x->p.pages * PAGE_SIZE, PROT_READ_ | PROT_WRITE_,
                           MAP_PRIVATE_ | MAP_ANONYMOUS_, NULL, 0);
    if (IS_ERR_VALUE(x->at)) {
        fprintf(stderr, "quire-bench: no address space for the access rows\n");
        exit(1);
    }
    cpu_enter_user(cpu);
    for (uint32_t i = 0; i < x->p.pages; i++)
        mmu_access(cpu, cpu_mmu(cpu), x->at + i * PAGE_SIZE, MMU_WRITE, &fi);
    cpu_enter_kernel(cpu);
    cpu->current = NULL;
    return x;
}

static void mmu_teardown(void *ctx)
{
    struct mmu_ctx *x = ctx;

    task_exit(x->cpu, x->task);
    free(x);
}

static inline __attribute__((always_inline)) uint64_t touch(struct mmu_ctx *x, uint64_t n, enum mmu_access_kind kind)
{
    struct mmu *u = cpu_mmu(x->cpu);
    uint64_t bytes = (uint64_t)x->p.pages * PAGE_SIZE, step = (uint64_t)x->p.stride * PAGE_SIZE, at = 0, start, ns;
    struct fault_info fi;

    x->cpu->current = x->task;
    cpu_enter_user(x->cpu);
    start = bench_ns();
    for (uint64_t i = 0; i < n; i++) {
        mmu_access(x->cpu, u, x->at + at, kind, &fi);
        at += step;
        at = at < bytes ? at : 0;
    }
    ns = bench_ns() - start;
    cpu_enter_kernel(x->cpu);
    x->cpu->current = NULL;
    return ns;
}

static uint64_t touch_read(void *ctx, uint64_t n)
{
    return touch(ctx, n, MMU_READ);
}

static uint64_t touch_write(void *ctx, uint64_t n)
{
    return touch(ctx, n, MMU_WRITE);
}

static uint64_t flush_one(void *ctx, uint64_t n)
{
    struct mmu_ctx *x = ctx;
    uint64_t start, ns;

    x->cpu->current = x->task;
    cpu_enter_user(x->cpu);
    cpu_enter_kernel(x->cpu);
    start = bench_ns();
    for (uint64_t i = 0; i < n; i++)
        flush_tlb_page(x->cpu, x->task->mm, x->at);
    ns = bench_ns() - start;
    x->cpu->current = NULL;
    return ns;
}

static uint64_t switch_there_and_back(void *ctx, uint64_t n)
{
    struct mmu_ctx *x = ctx;

    return BENCH_TIME(for (uint64_t i = 0; i < n; i++) {
        switch_mm(x->cpu, x->task->mm);
        switch_mm(x->cpu, NULL);
    });
}

static const struct mmu_param one_page = {1, 1, MMU_READ}, first_way = {16, 1, MMU_READ},
                              three_ways = {48, 1, MMU_READ}, second_level = {1024, 1, MMU_READ},
                              walks = {8192, 1, MMU_READ}, far_walks = {262144, 512, MMU_READ};

#define ACCESS_ROW(row, p, fn)                                                                                         \
    {                                                                                                                  \
        .name = row, .ours = {.setup = mmu_setup, .param = &(p), .run = fn, .teardown = mmu_teardown }                 \
    }

const struct bench_case mmu_cases[] = {
    ACCESS_ROW("access: TLB hit, first way, load", first_way, touch_read),
    ACCESS_ROW("access: TLB hit, first way, store", first_way, touch_write),
    ACCESS_ROW("access: TLB hit, third way", three_ways, touch_read),
    ACCESS_ROW("access: second-level hit", second_level, touch_read),
    ACCESS_ROW("access: walk, level-1 table in the walk cache", walks, touch_read),
    ACCESS_ROW("access: walk, a table of its own for each", far_walks, touch_read),
    ACCESS_ROW("TLB flush of one page, no other CPU", one_page, flush_one),
    ACCESS_ROW("switch to an address space and away, ASID kept", one_page, switch_there_and_back),
};
const size_t nr_mmu_cases = sizeof(mmu_cases) / sizeof(mmu_cases[0]);
