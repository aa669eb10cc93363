/* SPDX-License-Identifier: MIT */
/*
 * Several CPUs at once: threads of one process that map, write, protect and unmap while others access the same address
 * space; shoot-downs against each other; more threads than CPUs; owners that died.
 */
#include <pthread.h>

#include "tests/unit/testing_full.h"

#include "machine/mmu.h"
#include "phys/vmstat.h"

#define MIB(n) ((u64)(n) << 20)
#define NR_THREADS 4
#define ROUNDS 150
#define SHARED_PAGES 32

struct worker {
    pthread_t thread;
    struct machine *m;
    struct task *task;
    va_t shared;
    u32 id;
    u64 signals;
};

static struct machine *start(u32 cpus, struct worker *w, u32 nr)
{
    static struct machine_config c;
    struct machine *m;
    struct cpu *cpu;
    s64 at;

    test_config(&c);
    c.nr_cpus = cpus;
    machine_config_layout(&c);
    m = test_machine_full(&c);
    cpu = test_cpu(m);
    test_task(cpu, 100);
    at = sys_mmap(cpu, 0, SHARED_PAGES * PAGE_SIZE, PROT_READ_ | PROT_WRITE_, MAP_PRIVATE_ | MAP_ANONYMOUS_, NULL, 0);
    assert_false(IS_ERR_VALUE(at));
    for (u32 i = 0; i < nr; i++) {
        w[i] = (struct worker){.m = m, .id = i, .shared = (va_t)at};
        w[i].task = i ? kernel_clone(cpu, CLONE_VM_ | CLONE_THREAD_, 100 + (s32)i, 100) : cpu->current;
        assert_false(IS_ERR(w[i].task));
    }
    cpu_release(cpu);
    return m;
}

static void run(struct worker *w, u32 nr, void *(*body)(void *))
{
    for (u32 i = 0; i < nr; i++)
        assert_int_equal(pthread_create(&w[i].thread, NULL, body, &w[i]), 0);
    for (u32 i = 0; i < nr; i++)
        pthread_join(w[i].thread, NULL);
}

static void end(struct machine *m, struct worker *w, u32 nr)
{
    struct cpu *cpu = cpu_acquire(m, NULL, 9999);

    assert_books(machine_check, m);
    for (u32 i = 0; i < nr; i++)
        task_exit(cpu, w[i].task);
    assert_books(machine_check, m);
    cpu_release(cpu);
    test_machine_end(m);
}

/* Each has a word of its own in every shared page: what it stored last is what it loads, whatever the others do. */
static void *map_and_access(void *arg)
{
    struct worker *w = arg;
    struct cpu *cpu = cpu_acquire(w->m, w->task, 1000 + w->id);
    u64 seed = w->id + 1;
    struct fault_info fi;

    for (u64 round = 1; round <= ROUNDS; round++) {
        va_t word = w->shared + test_random(&seed) % SHARED_PAGES * PAGE_SIZE + w->id * 64;
        u64 in = 0;
        s64 own;

        assert_int_equal(mmu_copy_to_user(cpu, word, &round, 8, &fi), 0);
        own = sys_mmap(cpu, 0, 8 * PAGE_SIZE, PROT_READ_ | PROT_WRITE_, MAP_PRIVATE_ | MAP_ANONYMOUS_, NULL, 0);
        assert_false(IS_ERR_VALUE(own));
        assert_int_equal(mmu_copy_to_user(cpu, (va_t)own + PAGE_SIZE, &round, 8, &fi), 0);
        assert_int_equal(sys_mprotect(cpu, (va_t)own, 4 * PAGE_SIZE, PROT_READ_), 0);
        assert_int_equal(mmu_copy_to_user(cpu, (va_t)own, &round, 8, &fi), 11);
        assert_int_equal(mmu_copy_from_user(cpu, &in, (va_t)own + PAGE_SIZE, 8, &fi), 0);
        assert_int_equal(in, round);
        assert_int_equal(sys_munmap(cpu, (va_t)own, 8 * PAGE_SIZE), 0);
        assert_int_equal(mmu_copy_from_user(cpu, &in, word, 8, &fi), 0);
        assert_int_equal(in, round);
        if (cpu_should_resched(cpu) || round % 16 == 0) {
            cpu_release(cpu);
            cpu = cpu_acquire(w->m, w->task, 1000 + w->id);
        }
    }
    cpu_release(cpu);
    return NULL;
}

static void test_parallel(void **state)
{
    static const u32 cpus[] = {4, 2, 1};

    for (u32 i = 0; i < ARRAY_SIZE(cpus); i++) {
        struct worker w[NR_THREADS];
        struct machine *m = start(cpus[i], w, NR_THREADS);

        run(w, NR_THREADS, map_and_access);
        end(m, w, NR_THREADS);
    }
}

/* All run in user state most of the time and shoot at each other: nobody may wait for ever. */
static void *shoot(void *arg)
{
    struct worker *w = arg;
    struct cpu *cpu = cpu_acquire(w->m, w->task, 1000 + w->id);
    va_t own = w->shared + w->id * PAGE_SIZE;
    struct fault_info fi;

    cpu_enter_user(cpu);
    for (u32 round = 0; round < ROUNDS; round++) {
        assert_int_equal(mmu_access(cpu, cpu_mmu(cpu), own, MMU_WRITE, &fi), 0);
        for (u32 i = 0; i < 20; i++) {
            cpu_poll(cpu);
            mmu_access(cpu, cpu_mmu(cpu), w->shared + (w->id + i) % NR_THREADS * PAGE_SIZE, MMU_READ, &fi);
        }
        cpu_enter_kernel(cpu);
        assert_int_equal(sys_mprotect(cpu, own, PAGE_SIZE, PROT_READ_), 0);
        assert_int_equal(sys_mprotect(cpu, own, PAGE_SIZE, PROT_READ_ | PROT_WRITE_), 0);
        cpu_enter_user(cpu);
    }
    cpu_enter_kernel(cpu);
    cpu_release(cpu);
    return NULL;
}

static void test_shoot_down(void **state)
{
    struct worker w[NR_THREADS];
    struct machine *m = start(NR_THREADS, w, NR_THREADS);

    run(w, NR_THREADS, shoot);
    assert_true(sum_vm_events(m, NR_TLB_REMOTE_FLUSH_RECEIVED) <=
                sum_vm_events(m, NR_TLB_REMOTE_FLUSH) * (NR_THREADS - 1));
    end(m, w, NR_THREADS);
}

/* One thread alone, step by step: what is queued, when it is taken, what is counted. */
static void test_queue(void **state)
{
    struct worker w[2];
    struct machine *m = start(2, w, 2);
    struct cpu *a = cpu_acquire(m, w[0].task, 1000), *b = cpu_acquire(m, w[1].task, 1001);
    struct mmu *u = cpu_mmu(b);
    struct fault_info fi;
    va_t at = w[0].shared;

    cpu_enter_user(a);
    cpu_enter_user(b);
    assert_int_equal(mmu_access(a, cpu_mmu(a), at, MMU_WRITE, &fi), 0);
    assert_int_equal(mmu_access(b, u, at, MMU_READ, &fi), 0);
    assert_true(mmu_hit(u, at, MMU_WRITE)); /* it was dirty already */
    cpu_enter_kernel(a);
    assert_int_equal(sys_mprotect(a, at, PAGE_SIZE, PROT_READ_), 0);
    cpu_enter_user(a);
    assert_int_equal(a->event[NR_TLB_REMOTE_FLUSH], 1);
    assert_int_equal(a->event[NR_TLB_LOCAL_FLUSH_ONE], 1);
    assert_int_equal(u->nr_queued, 1);
    assert_true(mmu_hit(u, at, MMU_READ)); /* until the end of its block */
    cpu_poll(b);
    assert_int_equal(u->nr_queued, 0);
    assert_int_equal(b->event[NR_TLB_REMOTE_FLUSH_RECEIVED], 1);
    assert_int_equal(b->event[NR_TLB_LOCAL_FLUSH_ONE], 1);
    assert_false(mmu_hit(u, at, MMU_READ));
    assert_int_equal(mmu_access(b, u, at, MMU_WRITE, &fi), 11);
    assert_int_equal(mmu_access(b, u, at, MMU_READ, &fi), 0);

    /* more requests than the queue holds: everything of the address space goes */
    cpu_enter_kernel(a);
    for (u32 i = 0; i < FLUSH_QUEUE + 3; i++)
        tlb_flush(a, w[0].task->mm, at, at + PAGE_SIZE, PAGE_SHIFT, false);
    assert_int_equal(u->nr_queued, FLUSH_QUEUE + 1);
    cpu_poll(b);
    assert_int_equal(b->event[NR_TLB_LOCAL_FLUSH_ALL], 1);
    assert_int_equal(u->slot[u->asid].tlb_gen, atomic_load(&w[0].task->mm->tlb_gen));

    /* a free CPU is not told; it finds out when it loads the address space again */
    cpu_enter_kernel(b);
    cpu_release(b);
    tlb_flush(a, w[0].task->mm, at, at + PAGE_SIZE, PAGE_SHIFT, false);
    assert_int_equal(u->nr_queued, 0);
    assert_int_equal(a->event[NR_TLB_REMOTE_FLUSH], 1 + FLUSH_QUEUE + 3);
    b = cpu_acquire(m, w[1].task, 1001);
    assert_ptr_equal(cpu_mmu(b), u);
    cpu_enter_user(b);
    assert_false(mmu_hit(u, at, MMU_READ));
    cpu_enter_kernel(b);
    cpu_release(b);
    cpu_release(a);
    end(m, w, 2);
}

/* The owner was killed in the middle of a walk: its CPU is free again, and nobody waits for it. */
static void test_dead_owner(void **state)
{
    struct worker w[2];
    struct machine *m = start(2, w, 2);
    struct cpu *a = cpu_acquire(m, w[0].task, 1000), *b = cpu_acquire(m, w[1].task, 1001);
    u32 tid = 1001;

    cpu_enter_user(b);
    assert_true(mmu_begin_walk(cpu_mmu(b)));
    cpu_release_dead(m, &tid, 1);
    assert_int_equal(atomic_load(&b->owner), 0);
    tlb_flush(a, w[0].task->mm, w[0].shared, w[0].shared + PAGE_SIZE, PAGE_SHIFT, true);
    cpu_release(a);
    end(m, w, 2);
}

static void *wait_for_nothing(void *arg)
{
    struct worker *w = arg;

    w->signals = cpu_acquire(w->m, w->task, 1000 + w->id) != NULL;
    return NULL;
}

/* Who waits for a CPU is told, and nobody gets one any more. */
static void test_closed(void **state)
{
    struct worker w[3];
    struct machine *m = start(1, w, 3);
    struct cpu *cpu = cpu_acquire(m, w[0].task, 1000);

    assert_null(cpu_acquire_soon(m, w[1].task, 1001));
    for (u32 i = 1; i < 3; i++)
        assert_int_equal(pthread_create(&w[i].thread, NULL, wait_for_nothing, &w[i]), 0);
    while (atomic_load(&m->nr_waiting) < 2)
        port_yield();
    machine_close(m);
    for (u32 i = 1; i < 3; i++) {
        pthread_join(w[i].thread, NULL);
        assert_int_equal(w[i].signals, 0);
    }
    assert_int_equal(atomic_load(&m->nr_waiting), 0);
    cpu_release(cpu);
    assert_null(cpu_acquire(m, w[0].task, 1000));
    cpu_release_all(m);
    end(m, w, 3);
}

/* A task's time never runs backwards, wherever it runs next. */
static void test_time(void **state)
{
    struct worker w[2];
    struct machine *m = start(2, w, 2);
    struct cpu *a = cpu_acquire(m, w[0].task, 1000), *b;
    u64 time;

    charge_ps(a, TIME_USER, 5000000);
    time = a->clock_ps;
    cpu_release(a);
    b = cpu_acquire(m, NULL, 1001);
    a = cpu_acquire(m, w[0].task, 1000);
    assert_true(a->clock_ps >= time);
    assert_true(b->clock_ps >= time);
    charge_ps(a, TIME_USER, 4000000000ull);
    assert_false(cpu_should_resched(a));
    cpu_post_work(m, a->id, CPU_WORK_RESCHED);
    assert_true(cpu_should_resched(a));
    cpu_release(a);
    cpu_release(b);
    end(m, w, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_queue),    cmocka_unit_test(test_dead_owner), cmocka_unit_test(test_time),
        cmocka_unit_test(test_parallel), cmocka_unit_test(test_shoot_down), cmocka_unit_test(test_closed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
