/* SPDX-License-Identifier: MIT */
/* getrlimit, setrlimit, prlimit64; and who shares limits with whom. */
#include "tests/unit/testing_full.h"

#include "abi/abi.h"
#include "base/errno.h"

#define CAP(n) ((u64)1 << (n))
#define INF RLIM_INFINITY_

static s64 prlimit(struct cpu *cpu, struct task *target, u32 resource, struct rlimit_pair *new, struct rlimit_pair *old)
{
    struct abi_call c = {
        .nr = ABI_prlimit64,
        .arg = {target ? (u64)target->pid : 0, resource, new != NULL, old != NULL},
        .target = target,
        .in[2] = {new, sizeof(*new)},
        .out[3] = {old, sizeof(*old)},
    };

    return abi_syscall(cpu, &c);
}

/* In a row, by one unprivileged process that starts with {8M, INF} for the stack. */
static void test_limits(void **state)
{
    static const struct {
        u32 resource;
        u64 cur, max;
        u64 caps;
        int result;
    } sets[] = {
        {RLIMIT_STACK_, 1 << 20, INF, 0, 0},
        {RLIMIT_STACK_, 4 << 20, 2 << 20, 0, -EINVAL},
        {RLIMIT_STACK_, 2 << 20, 2 << 20, 0, 0},
        {RLIMIT_STACK_, 2 << 20, 4 << 20, 0, -EPERM},
        {RLIMIT_STACK_, 2 << 20, 4 << 20, CAP(CAP_SYS_ADMIN_), -EPERM},
        {RLIMIT_STACK_, 2 << 20, 4 << 20, CAP(CAP_SYS_RESOURCE_), 0},
        {RLIMIT_NOFILE_, 1024, (1 << 20) + 1, CAP(CAP_SYS_RESOURCE_), -EPERM},
        {RLIMIT_NOFILE_, 1024, 1 << 20, 0, 0},
        {NR_RLIMITS, 0, 0, 0, -EINVAL},
        {~0u, 0, 0, 0, -EINVAL},
    };
    struct machine *m = test_machine_full(NULL);
    struct cpu *cpu = test_cpu(m);
    struct task *t = test_task(cpu, 1);
    struct rlimit_pair before, after;
    struct abi_call get = {.nr = ABI_getrlimit, .arg = {RLIMIT_NOFILE_}, .out[1] = {&after, sizeof(after)}};

    for (u32 i = 0; i < ARRAY_SIZE(sets); i++) {
        struct rlimit_pair new = {sets[i].cur, sets[i].max};
        struct abi_call set = {.nr = ABI_setrlimit, .arg = {sets[i].resource}, .in[1] = {&new, sizeof(new)}};
        bool known = sets[i].resource < NR_RLIMITS;

        task_set_caps(t, sets[i].caps);
        assert_int_equal(prlimit(cpu, NULL, sets[i].resource, NULL, &before), known ? 0 : -EINVAL);
        assert_int_equal(abi_syscall(cpu, &set), sets[i].result);
        prlimit(cpu, NULL, sets[i].resource, NULL, &after);
        if (known)
            assert_memory_equal(&after, sets[i].result ? &before : &new, sizeof(new));
    }
    assert_int_equal(abi_syscall(cpu, &get), 0);
    assert_int_equal(after.cur, 1024);
    task_exit(cpu, t);
    assert_books(machine_check, m);
    test_machine_end(m);
}

/* Old and new in one call; bytes in no mapping; nobody there. */
static void test_prlimit(void **state)
{
    struct machine *m = test_machine_full(NULL);
    struct cpu *cpu = test_cpu(m);
    struct task *t = test_task(cpu, 1), *other;
    struct rlimit_pair new = {5, 6}, old = {0};
    struct abi_call bad = {.nr = ABI_prlimit64, .arg = {99, RLIMIT_AS_, 0, 0}};

    assert_int_equal(prlimit(cpu, NULL, RLIMIT_AS_, &new, &old), 0);
    assert_int_equal(old.cur, INF);
    assert_int_equal(rlimit(t, RLIMIT_AS_), 5);
    assert_int_equal(rlimit_max(t, RLIMIT_AS_), 6);
    assert_int_equal(abi_syscall(cpu, &bad), -ESRCH);
    bad = (struct abi_call){.nr = ABI_prlimit64, .arg = {0, RLIMIT_AS_, 0x1000, 0}};
    assert_int_equal(abi_syscall(cpu, &bad), -EFAULT);
    bad = (struct abi_call){.nr = ABI_getrlimit, .arg = {RLIMIT_AS_, 0x1000}};
    assert_int_equal(abi_syscall(cpu, &bad), -EFAULT);

    other = kernel_clone(cpu, 0, 2, 2);
    assert_false(IS_ERR(other));
    new = (struct rlimit_pair){1, 1};
    assert_int_equal(prlimit(cpu, other, RLIMIT_AS_, &new, NULL), 0);
    assert_int_equal(rlimit(t, RLIMIT_AS_), 5);
    task_set_ids(other, 1, task_gid(other));
    assert_int_equal(prlimit(cpu, other, RLIMIT_AS_, &new, NULL), -EPERM);
    task_set_caps(t, CAP(CAP_SYS_RESOURCE_));
    assert_int_equal(prlimit(cpu, other, RLIMIT_AS_, &new, NULL), 0);
    task_exit(cpu, other);
    task_exit(cpu, t);
    assert_books(machine_check, m);
    test_machine_end(m);
}

/* Threads share, processes copy, execve keeps. */
static void test_sharing(void **state)
{
    struct machine *m = test_machine_full(NULL);
    struct cpu *cpu = test_cpu(m);
    struct task *t = test_task(cpu, 1), *thread, *process, *vfork;
    struct exec_layout layout = {.stack_size = 100, .comm = "new"};

    task_set_rlimit(t, RLIMIT_DATA_, 1, 2);
    task_set_caps(t, CAP(CAP_IPC_LOCK_));
    t->personality = ADDR_NO_RANDOMIZE_;
    thread = kernel_clone(cpu, CLONE_VM_ | CLONE_THREAD_, 2, 1);
    process = kernel_clone(cpu, 0, 3, 3);
    vfork = kernel_clone(cpu, CLONE_VM_ | CLONE_VFORK_, 4, 4);
    assert_ptr_equal(thread->signal, t->signal);
    assert_ptr_not_equal(process->signal, t->signal);
    assert_ptr_not_equal(vfork->signal, t->signal);
    test_set_soft_limit(t, RLIMIT_DATA_, 0);
    assert_int_equal(rlimit(thread, RLIMIT_DATA_), 0);
    assert_int_equal(rlimit(process, RLIMIT_DATA_), 1);
    assert_int_equal(rlimit_max(vfork, RLIMIT_DATA_), 2);
    assert_true(task_capable(process, CAP_IPC_LOCK_));
    assert_int_equal(vfork->personality, ADDR_NO_RANDOMIZE_);
    assert_books(machine_check, m);
    task_exit(cpu, t);
    cpu->current = vfork;
    assert_int_equal(exec_mmap(cpu, &layout), 0);
    assert_int_equal(rlimit(vfork, RLIMIT_DATA_), 1);
    task_exit(cpu, vfork);
    task_exit(cpu, thread);
    task_exit(cpu, process);
    assert_books(machine_check, m);
    test_machine_end(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_prlimit),
        cmocka_unit_test(test_sharing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
