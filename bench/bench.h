/* SPDX-License-Identifier: MIT */
/*
 * Per-operation benchmarks: an operation of ours beside what a user of Linux would do instead. A row is a bench_case in
 * one of the cases_*.c files. The runs of all series of a row are interleaved; the figure is the median of the rounds.
 */
#ifndef QUIRE_BENCH_H
#define QUIRE_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define BENCH_PEERS 5

/* One way to do the operation. */
struct bench_series {
    const char *name;
    /* What run() gets; NULL: not there (a library is not installed),
     * the series is shown as missing. No setup: run gets NULL. */
    void *(*setup)(const void *param);
    const void *param;
    /* Do n operations, return the nanoseconds that they took in all: what is around them is not counted. */
    uint64_t (*run)(void *ctx, uint64_t n);
    void (*teardown)(void *ctx);
};

struct bench_case {
    const char *name;
    const char *unit; /* NULL: ns */
    double target;    /* of ours, in ns; 0: none */
    const char *note; /* why the peer does more or less than ours */
    uint64_t fixed_n; /* operations of a round; 0: as many as fill two milliseconds */
    struct bench_series ours;
    struct bench_series peer[BENCH_PEERS];
};

extern const struct bench_case alloc_cases[], vm_cases[], machine_cases[], mmu_cases[];
extern const size_t nr_alloc_cases, nr_vm_cases, nr_machine_cases, nr_mmu_cases;

static inline uint64_t bench_clock(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* CPU time of this thread: what else runs on the host disturbs caches only. */
static inline uint64_t bench_ns(void)
{
    return bench_clock(CLOCK_THREAD_CPUTIME_ID);
}

/* The compiler must think that p is used. */
#define bench_use(p) __asm__ volatile("" : : "r"(p) : "memory")

/* Times the statement. */
#define BENCH_TIME(statement)                                                                                          \
    ({                                                                                                                 \
        uint64_t start_ = bench_ns();                                                                                  \
        statement;                                                                                                     \
        bench_ns() - start_;                                                                                           \
    })

/* A machine booted with all floors, CPU 0 owned, inside the core; one for all rows. */
struct cpu *bench_cpu(void);
/* The same machine with page contents kept (true) or without (false): two machines. */
struct cpu *bench_cpu_content(bool full);

#endif
