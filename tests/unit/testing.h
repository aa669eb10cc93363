/* SPDX-License-Identifier: MIT */
/*
 * What unit tests share: machines booted up to a floor, tasks, failure injection, balanced books.
 *
 *   test_machine_bare(c)   region, header, CPUs, MMUs; CPU 0 is ours
 *   test_machine_phys(c)   + page allocator            (links base, phys)
 *   test_machine_kmem(c)   + slab allocator            (links kmem)
 *   test_machine_vm(c)     + address spaces            (links vm; table `code` of the test's own)
 *   test_machine_full(c)   machine_boot()              (tests/unit/testing_full.h)
 *
 * Each is a function of its own: a test links only the floors under it. `c` NULL: test_config(). All assert success.
 * Include <cmocka.h> and what it needs first, or let this header do it.
 */
#ifndef QUIRE_TESTS_TESTING_H
#define QUIRE_TESTS_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/check.h"
#include "base/errno.h"
#include "base/machine.h"
#include "base/task.h"
#include "machine/region.h"
#include "phys/pressure.h"

struct mm;

int phys_init(struct cpu *cpu);       /* phys/phys.h */
int kmem_cache_init(struct cpu *cpu); /* kmem/slab.h */
int vm_init(struct cpu *cpu);         /* vm/vm.h */

/* The default machine, 256 MiB, contents kept, no randomisation. */
static inline void test_config(struct machine_config *c)
{
    machine_config_default(c);
    c->mem_bytes = 256ul << 20;
    c->content = CONTENT_FULL;
    c->randomize_va_space = 0;
    machine_config_layout(c);
}

/* The same with another size, format and number of nodes. */
static inline void test_config_of(struct machine_config *c, enum pt_format_id format, uint64_t mem_bytes, u32 nodes)
{
    test_config(c);
    c->pt_format = format;
    c->mem_bytes = mem_bytes;
    c->nr_nodes = nodes;
    c->nr_cpus = MAX(c->nr_cpus, nodes);
    machine_config_layout(c);
}

static inline struct cpu *test_cpu(struct machine *m)
{
    return &m->cpus[0];
}

/* CPU `id` is this thread's, inside the core. */
static inline struct cpu *test_own_cpu(struct machine *m, u32 id, const struct core_code *code)
{
    struct cpu *cpu = &m->cpus[id];

    atomic_store(&cpu->owner, id + 1);
    atomic_store(&cpu->state, CPU_KERNEL);
    cpu->code = code;
    return cpu;
}

static inline struct machine *test_machine_with(const struct machine_config *c, const struct core_code *code)
{
    struct machine_config def;
    struct machine *m;

    if (!c) {
        test_config(&def);
        c = &def;
    }
    m = machine_create(c, NULL);
    assert_false(IS_ERR(m));
    test_own_cpu(m, 0, code);
    return m;
}

static inline struct machine *test_machine_bare(const struct machine_config *c)
{
    static const struct core_code no_code;

    return test_machine_with(c, &no_code);
}

static inline struct machine *test_machine_phys(const struct machine_config *c)
{
    static const struct core_code phys_code = {.pressure = &pressure_none};
    struct machine *m = test_machine_with(c, &phys_code);

    assert_int_equal(phys_init(test_cpu(m)), 0);
    return m;
}

/* `code` NULL: only pressure_none. Constructors and such: the test's own table. */
static inline struct machine *test_machine_kmem(const struct machine_config *c, const struct core_code *code)
{
    struct machine *m = test_machine_phys(c);

    if (code)
        test_cpu(m)->code = code;
    assert_int_equal(kmem_cache_init(test_cpu(m)), 0);
    return m;
}

static inline struct machine *test_machine_vm(const struct machine_config *c, const struct core_code *code)
{
    struct machine *m = test_machine_kmem(c, code);

    assert_int_equal(vm_init(test_cpu(m)), 0);
    return m;
}

static inline void test_machine_end(struct machine *m)
{
    machine_destroy(m);
}

static inline void test_set_soft_limit(struct task *t, u32 limit, u64 cur)
{
    task_set_rlimit(t, limit, cur, rlimit_max(t, limit));
}

/* -- failure injection --------------------------------------------------------------------------------------------- */

/*
 * Run the body with the 1st, 2nd, 3rd ... allocation failing, until one run has no allocation left to fail; `nth`
 * counts from 1. The body ends with fail_injected(m): whether a failure happened in it.
 *
 *   for_each_failing_allocation(m, nth) {
 *       int err = thing(cpu);
 *       if (fail_injected(m)) { assert_int_equal(err, -ENOMEM); ...state as before... } else { ...success... }
 *   }
 */
#define for_each_failing_allocation(m, nth)                                                                            \
    for (u64 nth = 1, go_on_ = (fail_arm(m, 1), 1); go_on_; go_on_ = fail_next(m, ++nth))

static inline void fail_arm(struct machine *m, u64 nth)
{
    m->fail.interval = 0;
    atomic_store(&m->fail.failed, 0);
    atomic_store(&m->fail.countdown, nth);
}

static inline bool fail_injected(struct machine *m)
{
    atomic_store(&m->fail.countdown, 0);
    return atomic_load(&m->fail.failed) != 0;
}

static inline bool fail_next(struct machine *m, u64 nth)
{
    if (!fail_injected(m))
        return false;
    fail_arm(m, nth);
    return true;
}

/* -- books --------------------------------------------------------------------------------------------------------- */

/* Fails the test with every mismatch printed. `check` is x_check() or machine_check(). */
#define assert_books(check, ...)                                                                                       \
    do {                                                                                                               \
        struct check_report *report_ = calloc(1, sizeof(*report_));                                                    \
        u32 nr_;                                                                                                       \
        check(__VA_ARGS__, report_);                                                                                   \
        nr_ = report_->nr;                                                                                             \
        for (u32 i_ = 0; i_ < nr_ && i_ < CHECK_KEPT; i_++)                                                            \
            print_error("%s\n", report_->text[i_]);                                                                    \
        free(report_);                                                                                                 \
        if (nr_)                                                                                                       \
            fail_msg("%u mismatches", nr_);                                                                            \
    } while (0)

/* xorshift64: *state starts at any number but 0; print it when a test fails. */
static inline u64 test_random(u64 *state)
{
    u64 x = *state;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

#endif
