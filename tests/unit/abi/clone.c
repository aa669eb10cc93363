/* SPDX-License-Identifier: MIT */
/* What clone(2) and clone3(2) refuse for their arguments: rows as the kernel (6.18) answers them; native_calls.c asks it. */
#include "tests/unit/vm/fault_testing.h"

#include "abi/clone.h"
#include "base/errno.h"

#define THREAD_LIKE (CLONE_VM_ | CLONE_SIGHAND_ | CLONE_THREAD_)
#define CHLD 17

static void clone_flags(void **state)
{
    static const struct {
        u64 flags;
        s64 result;
    } rows[] = {
        {CHLD, 0},
        {0, 0},
        {0xff, 0},
        {65, 0},
        {1ull << 33 | 1ull << 40, 0},
        {CLONE_DETACHED_, 0},
        {CLONE_PARENT_ | CHLD, 0},
        {CLONE_VM_ | CLONE_VFORK_ | CHLD, 0},
        {THREAD_LIKE, 0},
        {CLONE_THREAD_, -EINVAL},
        {CLONE_THREAD_ | CLONE_SIGHAND_, -EINVAL},
        {CLONE_THREAD_ | CLONE_VM_, -EINVAL},
        {CLONE_SIGHAND_, -EINVAL},
        {CLONE_SIGHAND_ | CLONE_VM_, 0},
        {CLONE_NEWNS_ | CLONE_FS_, -EINVAL},
        {CLONE_NEWUSER_ | CLONE_FS_, -EINVAL},
        {CLONE_NEWPID_ | THREAD_LIKE, -EINVAL},
        {CLONE_NEWIPC_ | CLONE_SYSVSEM_, -EINVAL},
        {CLONE_PIDFD_ | CLONE_PARENT_SETTID_, -EINVAL},
        {CLONE_PIDFD_ | CLONE_DETACHED_, -EINVAL},
        {CLONE_PIDFD_ | THREAD_LIKE, 0},
    };

    for (u32 i = 0; i < ARRAY_SIZE(rows); i++)
        if (abi_clone_check(rows[i].flags) != rows[i].result)
            fail_msg("row %u, flags %#llx", i, (unsigned long long)rows[i].flags);
}

static void clone3_arguments(void **state)
{
    static const struct {
        struct abi_clone_args args;
        u64 size;
        s64 result;
    } rows[] = {
        {{0}, 88, 0},
        {{0}, 64, 0},
        {{0}, 4096, 0},
        {{0}, 63, -EINVAL},
        {{0}, 0, -EINVAL},
        {{0}, 4097, -E2BIG},
        {{.exit_signal = CHLD}, 88, 0},
        {{.exit_signal = 64}, 88, 0},
        {{.exit_signal = 65}, 88, -EINVAL},
        {{.exit_signal = 300}, 88, -EINVAL},
        {{.flags = 0xff}, 88, -EINVAL},
        {{.flags = CLONE_NEWTIME_}, 88, 0},
        {{.flags = CLONE_DETACHED_}, 88, -EINVAL},
        {{.flags = 1ull << 35}, 88, -EINVAL},
        {{.flags = CLONE_CLEAR_SIGHAND_}, 88, 0},
        {{.flags = CLONE_CLEAR_SIGHAND_ | CLONE_SIGHAND_ | CLONE_VM_}, 88, -EINVAL},
        {{.flags = CLONE_PIDFD_ | CLONE_PARENT_SETTID_}, 88, 0},
        {{.flags = THREAD_LIKE, .exit_signal = CHLD}, 88, -EINVAL},
        {{.flags = CLONE_PARENT_, .exit_signal = CHLD}, 88, -EINVAL},
        {{.flags = CLONE_PARENT_}, 88, 0},
        {{.flags = CLONE_SIGHAND_}, 88, -EINVAL},
        {{.stack = PG}, 88, -EINVAL},
        {{.stack_size = PG}, 88, -EINVAL},
        {{.stack = PG, .stack_size = PG}, 88, 0},
        {{.stack = ~(u64)0 - PG, .stack_size = PG}, 88, -EINVAL},
        {{.set_tid = 8}, 88, -EINVAL},
        {{.set_tid_size = 1}, 88, -EINVAL},
        {{.set_tid = 8, .set_tid_size = 33}, 88, -EINVAL},
        {{.set_tid = 8, .set_tid_size = 32}, 88, 0},
        {{.flags = CLONE_INTO_CGROUP_, .cgroup = 1ull << 31}, 88, -EINVAL},
        {{.flags = CLONE_INTO_CGROUP_, .cgroup = 3}, 80, -EINVAL},
        {{.flags = CLONE_INTO_CGROUP_, .cgroup = 3}, 88, 0},
    };
    struct machine *m = test_machine_full(NULL);
    struct cpu *cpu = test_cpu(m);

    test_task(cpu, 1);
    for (u32 i = 0; i < ARRAY_SIZE(rows); i++)
        if (abi_clone3_check(cpu, &rows[i].args, rows[i].size) != rows[i].result)
            fail_msg("row %u", i);
    assert_books(machine_check, m);
    test_machine_end(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clone_flags),
        cmocka_unit_test(clone3_arguments),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
