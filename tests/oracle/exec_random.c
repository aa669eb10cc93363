/* SPDX-License-Identifier: MIT */
/*
 * With randomised addresses no two runs agree; what must agree is what is random. Of each area its distance from where
 * it would begin without, over many native runs and more modelled ones:
 *
 *   bits    those that are ever set: which bits are random, so also the step (lowest) and the range (highest)
 *   mean    within 6 standard deviations of each other
 *
 * A bit that is random is missed by n runs with probability 2^-n. The distance of two areas (x ^ y) shows whether they
 * are drawn apart.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>

#include "tests/oracle/exec_cases.h"
#include "tests/oracle/exec_random.h"

#define MODELLED 8u /* runs for each native one */
#define WINDOW 0x7ffffffff000ul
#define PG 4096ul
#define SIGMAS 6

enum area { AREA_STACK, AREA_STACK_POINTER, AREA_MMAP, AREA_PROGRAM, AREA_HEAP, AREA_PROGRAM_MMAP, NR_AREAS };

static const char *const area_name[NR_AREAS] = {"stack",   "stack pointer", "mmap base",
                                                "program", "heap",          "program apart from mmap base"};

static const struct setting {
    const char *name;
    enum exec_plain kind;
    u32 personality;
    u64 stack_limit;
} settings[] = {
    {"fixed program", PLAIN_FIXED, 0, 8ul << 20},
    {"PIE", PLAIN_PIE, 0, 8ul << 20},
    {"static PIE", PLAIN_STATIC_PIE, 0, 8ul << 20},
    {"fixed program with interpreter", PLAIN_FIXED_INTERP, 0, 1ul << 30},
    {"PIE of huge alignment", PLAIN_HUGE_PIE, 0, 8ul << 20},
    {"static PIE of huge alignment", PLAIN_HUGE_STATIC_PIE, 0, 8ul << 20},
    {"PIE in the legacy layout", PLAIN_PIE, ADDR_COMPAT_LAYOUT, 8ul << 20},
    {"PIE with an unlimited stack", PLAIN_PIE, 0, RLIM_INFINITY_},
};

/* What is rounded, or the sum of two, seldom carries into the bit above its range: that one is left out. */
struct sums {
    u64 range[NR_AREAS];
    u32 runs;
    u64 bits[NR_AREAS];
    double sum[NR_AREAS];
};

/* Where mmap(2) begins without its random part: layout.c tells why. */
static va_t mmap_begin(const struct setting *s)
{
    u64 pad = (1ul << 20) + (0x3ffffful << 12), gap = s->stack_limit;

    if (s->personality & ADDR_COMPAT_LAYOUT)
        return ALIGN_UP(WINDOW / 3, PG);
    gap = MIN(MAX(gap + pad > gap ? gap + pad : gap, 128ul << 20), WINDOW / 6 * 5);
    return ALIGN_UP(WINDOW - gap, PG);
}

/* The far end of what mmap(2) has placed: the vdso, and what was mapped just before and lies beside it. */
static va_t mmap_end(const struct seen *x, bool legacy)
{
    va_t at = legacy ? ~0ul : 0;

    for (u32 i = 0; i < x->nr; i++)
        if (x->vma[i].object == SEEN_SPECIAL)
            at = legacy ? MIN(at, x->vma[i].start) : MAX(at, x->vma[i].end);
    for (u32 i = 0; i < x->nr; i++)
        if (!legacy && x->vma[i].start == at)
            at = x->vma[i].end;
    for (u32 i = x->nr; i--;)
        if (legacy && x->vma[i].end == at)
            at = x->vma[i].start;
    return at;
}

static va_t stack_end(const struct seen *x)
{
    for (u32 i = 0; i < x->nr; i++)
        if (x->vma[i].start <= x->sp && x->sp < x->vma[i].end)
            return x->vma[i].end;
    return 0;
}

/* Distances that are not negative, whichever way an area grows. */
static void measure(const struct setting *s, const struct seen *x, u64 *distance)
{
    bool legacy = s->personality & ADDR_COMPAT_LAYOUT, huge = s->kind == PLAIN_HUGE_PIE;
    bool pie = huge || s->kind == PLAIN_PIE, alone = s->kind == PLAIN_STATIC_PIE || s->kind == PLAIN_HUGE_STATIC_PIE;
    va_t begin = mmap_begin(s), end = mmap_end(x, legacy), window = WINDOW / 3 * 2;
    va_t data_end = ALIGN_UP(x->stat[START_DATA] + 3 * PG, PG);

    distance[AREA_STACK] = WINDOW - stack_end(x);
    distance[AREA_STACK_POINTER] = x->stat[ARG_START] - x->sp;
    distance[AREA_MMAP] = legacy ? end - begin : begin - end;
    distance[AREA_PROGRAM] = pie ? x->stat[START_CODE] - (window & -(huge ? 2ul << 20 : PG)) : 0;
    if (s->kind == PLAIN_HUGE_STATIC_PIE)
        distance[AREA_PROGRAM] = ALIGN_UP(begin, 2ul << 20) - x->stat[START_CODE];
    distance[AREA_HEAP] = x->stat[START_BRK] - (alone ? ALIGN_UP(window, PG) : data_end);
    distance[AREA_PROGRAM_MMAP] = pie ? distance[AREA_PROGRAM] ^ distance[AREA_MMAP] : 0;
}

static void add(struct sums *t, const u64 *distance, const u64 *least)
{
    t->runs++;
    for (u32 i = 0; i < NR_AREAS; i++) {
        u64 d = (distance[i] - (i == AREA_STACK_POINTER ? least[i] : 0)) & t->range[i];

        t->bits[i] |= d;
        t->sum[i] += (double)d;
    }
}

static u32 compare(const struct setting *s, const struct sums *native, const struct sums *model)
{
    u32 failures = 0;

    for (u32 i = 0; i < NR_AREAS; i++) {
        double a = native->sum[i] / native->runs, b = model->sum[i] / model->runs, apart = a > b ? a - b : b - a;
        /* uniform over the bits: the variance of a mean is range^2 / 12 / runs */
        double range = (double)native->bits[i], allowed = SIGMAS * SIGMAS * range * range / 12;

        allowed *= 1.0 / native->runs + 1.0 / model->runs;
        if (native->bits[i] == model->bits[i] && apart * apart <= allowed)
            continue;
        failures++;
        printf("exec_oracle: %s: %s differs: kernel bits %#lx mean %#lx, model bits %#lx mean %#lx\n", s->name,
               area_name[i], (unsigned long)native->bits[i], (unsigned long)a, (unsigned long)model->bits[i],
               (unsigned long)b);
    }
    return failures;
}

static u32 run_setting(struct exec_model *v, const struct setting *s, const char *dir, u32 samples)
{
    static struct seen seen;
    u64 mmap = (PG << v->m->config.mmap_rnd_bits) - 1;
    struct sums native = {.range = {(1ul << 34) - 1, 2 * PG - 1, ~0ul, mmap, (1ul << 30) - 1, mmap}}, model = native;
    u64 distance[NR_AREAS], least[NR_AREAS];
    struct exec_case c;

    exec_case_plain(s->kind, dir, &c);
    c.stack_limit = s->stack_limit;
    c.personality = s->personality | ADDR_NO_RANDOMIZE;
    exec_model_run(v, &c, &seen);
    measure(s, &seen, least);
    c.personality = s->personality;
    for (u32 i = 0; i < samples * MODELLED; i++) {
        exec_model_run(v, &c, &seen);
        measure(s, &seen, distance);
        add(&model, distance, least);
    }
    for (u32 i = 0; i < samples; i++) {
        if (!exec_native(&c, &seen) || seen.err || seen.signo) {
            printf("exec_oracle: %s does not start: errno %d, signal %d\n", s->name, seen.err, seen.signo);
            return 1;
        }
        measure(s, &seen, distance);
        add(&native, distance, least);
    }
    if (getenv("EXEC_ORACLE_VERBOSE"))
        for (u32 i = 0; i < NR_AREAS; i++)
            printf("  %s: %s: %#lx\n", s->name, area_name[i], (unsigned long)native.bits[i]);
    return compare(s, &native, &model);
}

/* 0: the host does not randomise everything. */
static u32 host_randomises(void)
{
    FILE *f = fopen("/proc/sys/kernel/randomize_va_space", "r");
    u32 n = 0;

    if (f && fscanf(f, "%u", &n) != 1)
        n = 0;
    if (f)
        fclose(f);
    return n == 2;
}

u32 exec_random_run(const char *dir, u32 samples)
{
    struct exec_model v;
    u32 failures = 0;

    if (!host_randomises()) {
        printf("exec_oracle: kernel.randomize_va_space is not 2 here: random addresses are not compared\n");
        return 0;
    }
    exec_model_boot(&v, 2, 20);
    for (u32 i = 0; i < ARRAY_SIZE(settings); i++)
        failures += run_setting(&v, &settings[i], dir, samples);
    exec_model_end(&v);
    if (!failures)
        printf("exec_oracle: %zu programs with random addresses, %u runs by the kernel and %u modelled ones of each: "
               "alike\n",
               ARRAY_SIZE(settings), samples, samples * MODELLED);
    return failures;
}
