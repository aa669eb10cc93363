/* SPDX-License-Identifier: MIT */
/* A whole machine: boot, a process that touches memory, books; big machines; attaching from another process. */
#include "tests/unit/testing_full.h"

#include "phys/page_alloc.h"
#include "phys/vmstat.h"

#define MIB(n) ((u64)(n) << 20)
#define GIB(n) ((u64)(n) << 30)

static va_t map_anon(struct cpu *cpu, u64 bytes)
{
    s64 at = sys_mmap(cpu, 0, bytes, PROT_READ_ | PROT_WRITE_, MAP_PRIVATE_ | MAP_ANONYMOUS_, NULL, 0);

    assert_false(IS_ERR_VALUE(at));
    return (va_t)at;
}

static void test_store_load(void **state)
{
    for (u32 fmt = 0; fmt < NR_PT_FORMATS; fmt++) {
        struct machine_config c;
        struct machine *m;
        struct cpu *cpu;
        struct fault_info fi;
        char out[10000], in[10000];
        va_t at;

        test_config_of(&c, (enum pt_format_id)fmt, MIB(256), 1);
        m = test_machine_full(&c);
        cpu = test_cpu(m);
        test_task(cpu, 100);
        at = map_anon(cpu, MIB(1));
        for (u32 i = 0; i < sizeof(out); i++)
            out[i] = (char)(i * 7);
        assert_int_equal(mmu_copy_to_user(cpu, at + 4000, out, sizeof(out), &fi), 0);
        memset(in, 0, sizeof(in));
        assert_int_equal(mmu_copy_from_user(cpu, in, at + 4000, sizeof(in), &fi), 0);
        assert_memory_equal(in, out, sizeof(in));
        assert_int_equal(cpu->event[Q_FAULT_ANON], 4);
        assert_int_equal(mmu_copy_to_user(cpu, 0x2000, out, 1, &fi), 11);
        assert_int_equal(fi.si_code, 1);
        assert_books(machine_check, m);
        task_exit(cpu, cpu->current);
        assert_books(machine_check, m);
        test_machine_end(m);
    }
}

static void test_big(void **state)
{
    static struct machine_config c;
    u64 start = port_clock_ns();
    struct machine *m;

    machine_config_default(&c);
    c.mem_bytes = GIB(1024);
    c.nr_nodes = 8;
    c.nr_cpus = 256;
    machine_config_layout(&c);
    m = machine_boot(&c, NULL);
    assert_false(IS_ERR(m));
    print_message("1 TB, 8 nodes, 256 CPUs: %llu ms\n", (unsigned long long)((port_clock_ns() - start) / 1000000));
    test_machine_end(m);
}

/* A floor that gets no memory says so; nothing is left of the machine. */
static void test_boot_out_of_memory(void **state)
{
    static struct machine_config c;
    bool failed = true;

    test_config(&c);
    for (u64 nth = 1; failed; nth++) {
        struct machine *m = machine_create(&c, NULL);
        int err;

        assert_false(IS_ERR(m));
        fail_arm(m, nth);
        err = machine_boot_floors(m);
        failed = fail_injected(m);
        assert_true(err == 0 || (failed && err == -ENOMEM));
        if (!err)
            assert_books(machine_check, m); /* a slab of a smaller order did it, too */
        machine_destroy(m);
    }
}

/* Another process, here: the same region a second time after it was unmapped. */
static void test_attach(void **state)
{
    static struct machine_config c;
    struct machine *m, *again;
    struct cpu *cpu;
    int handle;

    test_config(&c);
    m = test_machine_full(&c);
    cpu = test_cpu(m);
    test_task(cpu, 1);
    map_anon(cpu, MIB(1));
    cpu_release(cpu);
    handle = m->handle;
    machine_detach(m);
    assert_true(IS_ERR(machine_attach(handle, (char *)m + (1ul << 41))));
    again = machine_attach(handle, m);
    assert_ptr_equal(again, m);
    assert_books(machine_check, m);
    cpu = cpu_acquire(m, task_find(&m->cpus[0], 1), 77);
    assert_int_equal(cpu->current->mm->map_count, 1);
    task_exit(cpu, cpu->current);
    cpu_release(cpu);
    assert_books(machine_check, m);
    machine_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_load),
        cmocka_unit_test(test_big),
        cmocka_unit_test(test_boot_out_of_memory),
        cmocka_unit_test(test_attach),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
