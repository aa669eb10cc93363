/* SPDX-License-Identifier: MIT */
/*
 * abi_execve(): what is refused and what kills, memory running out at each allocation, and the randomised heap. Where all
 * parts lie is compared with the kernel's answers by tests/oracle/exec_oracle.c.
 */
#include "tests/unit/testing_full.h"

#include "abi/exec.h"
#include "cache/filemap.h"
#include "tests/unit/vm/fault_testing.h"

#define PAGE 4096ul

struct setup {
    struct machine *m;
    struct cpu *cpu;
    struct task *task;
    struct exec_segment load[2];
    struct exec_image image;
    struct exec_platform platform;
    struct exec_args args;
};

static const struct exec_special special[] = {{4 * PAGE, VM_READ | VM_MAYREAD},
                                              {2 * PAGE, VM_READ | VM_EXEC | VM_MAYREAD}};
static const char *const words[] = {"prog", "-x", "A=1"};

static void begin(struct setup *s, u32 randomize, u64 seed)
{
    struct machine_config c;

    test_config(&c);
    c.randomize_va_space = randomize;
    c.aslr_seed = seed;
    machine_config_layout(&c);
    *s = (struct setup){.m = test_machine_full(&c)};
    s->cpu = test_cpu(s->m);
    s->task = test_task(s->cpu, 1);
    s->load[0] = (struct exec_segment){0x400000, 2 * PAGE, 2 * PAGE, 0, PAGE, 5};
    s->load[1] = (struct exec_segment){0x402080, 0x100, 2 * PAGE, 2 * PAGE + 0x80, PAGE, 3};
    s->image.exe = (struct exec_program){.entry = 0x400100, .phoff = 64, .phnum = 3, .nr_loads = 2, .load = s->load};
    s->image.exe.file = file_open(s->cpu, 1, 2, 3 * PAGE, FMODE_READ | FMODE_EXEC, "/prog");
    s->platform = (struct exec_platform){.special = special, .nr_special = 2, .vdso = 1, .name = "x86_64"};
    s->args =
        (struct exec_args){.filename = "/prog", .argv = words, .argc = 2, .envp = words + 2, .envc = 1, .comm = "prog"};
}

static void finish(struct setup *s)
{
    task_exit(s->cpu, s->task);
    s->cpu->code->fput(s->cpu, s->image.exe.file);
    assert_books(machine_check, s->m);
    machine_destroy(s->m);
}

static int run(struct setup *s, struct exec_result *r)
{
    return abi_execve(s->cpu, &s->image, &s->platform, &s->args, r);
}

static void test_new_program(void **state)
{
    struct exec_result r;
    struct setup s;
    u64 argc = 0;

    begin(&s, 0, 0);
    assert_int_equal(sys_mmap(s.cpu, 0x10000000, PAGE, 3, MAP_PRIVATE_ | MAP_ANONYMOUS_ | MAP_FIXED_, NULL, 0),
                     0x10000000);
    s.task->mm->def_flags |= VM_LOCKED; /* mlockall(MCL_FUTURE) */
    assert_int_equal(run(&s, &r), 0);
    assert_int_equal(r.signo, 0);
    assert_int_equal(r.entry, 0x400100);
    assert_null(vma_lookup(s.cpu, s.task->mm, 0x10000000));
    assert_int_equal(s.task->mm->def_flags, 0);
    assert_int_equal(s.task->mm->start_brk, 0x405000);
    assert_int_equal(r.sp & 15, 0);
    assert_int_equal(mmu_copy_from_user(s.cpu, &argc, r.sp, 8, &(struct fault_info){0}), 0);
    assert_int_equal(argc, 2);
    finish(&s);
}

static void test_refused_and_killed(void **state)
{
    struct exec_result r;
    struct setup s;
    struct mm *old;

    begin(&s, 0, 0);
    old = s.task->mm;
    task_set_rlimit(s.task, RLIMIT_STACK_, 512ul << 10, RLIM_INFINITY_);
    s.args.argc = 16384; /* pointers alone take all that the arguments may */
    assert_int_equal(run(&s, &r), -E2BIG);
    assert_ptr_equal(s.task->mm, old);
    s.args.argc = 2;
    s.image.exe.entry = ~0ul; /* no address: found out when the old program is gone */
    assert_int_equal(run(&s, &r), 0);
    assert_int_equal(r.signo, 11);
    finish(&s);
}

static void test_no_memory(void **state)
{
    u32 refused = 0, killed = 0;
    bool failed = true;

    for (u64 nth = 1; failed; nth++) {
        struct exec_result r;
        struct setup s;
        int err;

        assert_true(nth < 300);
        begin(&s, 0, 0);
        fail_arm(s.m, nth);
        err = run(&s, &r);
        failed = fail_injected(s.m);
        assert_true(err == 0 || err == -ENOMEM);
        if (!failed)
            assert_int_equal(err | r.signo, 0);
        refused += err != 0;
        killed += r.signo != 0;
        finish(&s);
    }
    assert_true(refused && killed);
}

/* Never beside the program, when it is anywhere. */
static void test_random_heap(void **state)
{
    for (u64 seed = 0; seed < 20; seed++) {
        struct exec_result r;
        struct setup s;

        begin(&s, 2, seed);
        assert_int_equal(run(&s, &r), 0);
        assert_in_range(s.task->mm->start_brk, 0x406000, 0x405000 + (1ul << 30));
        assert_int_equal(s.task->mm->start_brk % PAGE, 0);
        finish(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_new_program), cmocka_unit_test(test_refused_and_killed),
                                       cmocka_unit_test(test_no_memory), cmocka_unit_test(test_random_heap)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
