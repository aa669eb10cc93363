/* SPDX-License-Identifier: MIT */
/* Tests on whole machines: all floors booted, tasks that own a CPU. */
#ifndef QUIRE_TESTS_TESTING_FULL_H
#define QUIRE_TESTS_TESTING_FULL_H

#include "machine/machine_api.h"
#include "tests/unit/testing.h"

/* All floors; CPU 0 is ours, inside the core, with no task. */
static inline struct machine *test_machine_full(const struct machine_config *c)
{
    struct machine_config def;
    struct machine *m;

    if (!c) {
        test_config(&def);
        c = &def;
    }
    m = machine_boot(c, NULL);
    assert_false(IS_ERR(m));
    test_own_cpu(m, 0, &quire_code);
    return m;
}

/* A process with an empty address space, current on `cpu`. */
static inline struct task *test_task(struct cpu *cpu, s32 pid)
{
    struct mm *mm = mm_alloc(cpu);
    struct task *t;

    assert_non_null(mm);
    t = task_create(cpu, pid, pid, mm);
    assert_non_null(t);
    cpu->current = t;
    return t;
}

#endif
