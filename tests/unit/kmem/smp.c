/* SPDX-License-Identifier: MIT */
/* Threads, each with a CPU of its own, free each other's objects: nothing is lost, given twice or torn. */
#include <pthread.h>

#include "tests/unit/testing.h"
#include "kmem/kmem.h"
#include "kmem/slub_priv.h"

#define THREADS 4
#define ROUNDS 20000
#define MAILBOX 64

static const struct core_code code = {.pressure = &pressure_none};

struct shared {
    struct machine *m;
    struct kmem_cache *s;
    _Atomic(u64 *) mailbox[MAILBOX]; /* objects on their way from one thread to any other */
};

struct worker {
    struct shared *shared;
    u32 id;
    u64 allocs, frees;
};

static void fill(u64 *o, u64 value)
{
    o[0] = value;
    o[1] = ~value;
    o[5] = value * 3;
}

static void verify_free(struct worker *w, struct cpu *cpu, u64 *o)
{
    if (o[1] != ~o[0] || o[5] != o[0] * 3)
        abort();
    o[1] = 0;
    kmem_cache_free(cpu, w->shared->s, o);
    w->frees++;
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct shared *sh = w->shared;
    struct cpu *cpu = &sh->m->cpus[w->id];
    u64 seed = 0x9e3779b97f4a7c15ull * (w->id + 1);

    for (u32 i = 0; i < ROUNDS; i++) {
        u64 *o = kmem_cache_alloc(cpu, sh->s, GFP_KERNEL), *old;

        if (!o)
            abort();
        w->allocs++;
        fill(o, test_random(&seed));
        old = atomic_exchange(&sh->mailbox[test_random(&seed) % MAILBOX], o);
        if (old)
            verify_free(w, cpu, old);
        if (i % 512 == 0)
            flush_cpu_slab(cpu);
        if (i % 3000 == 0)
            kmem_cache_shrink(cpu, sh->s);
    }
    return NULL;
}

static void run(u32 size, u32 flags)
{
    struct machine_config c;
    struct shared *sh = calloc(1, sizeof(*sh));
    struct worker w[THREADS] = {0};
    pthread_t thread[THREADS];
    u64 allocs = 0, frees = 0;

    test_config_of(&c, PT_X86_64_4L, 256ul << 20, 2);
    c.nr_cpus = THREADS;
    machine_config_layout(&c);
    sh->m = test_machine_kmem(&c, &code);
    sh->s = kmem_cache_create(test_cpu(sh->m), "smp", size, 0, flags | SLAB_NO_MERGE, 0);
    for (u32 i = 1; i < THREADS; i++)
        test_own_cpu(sh->m, i, &code);
    for (u32 i = 0; i < THREADS; i++) {
        w[i] = (struct worker){.shared = sh, .id = i};
        assert_int_equal(pthread_create(&thread[i], NULL, work, &w[i]), 0);
    }
    for (u32 i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        allocs += w[i].allocs;
        frees += w[i].frees;
    }
    assert_books(kmem_check, sh->m);
    for (u32 i = 0; i < MAILBOX; i++) {
        u64 *o = atomic_load(&sh->mailbox[i]);

        if (o)
            verify_free(&w[0], test_cpu(sh->m), o);
        frees += o != NULL;
    }
    assert_int_equal(allocs, frees);
    assert_int_equal(allocs, THREADS * ROUNDS);
    assert_int_equal(kmem_cache_destroy(test_cpu(sh->m), sh->s), 0);
    assert_books(kmem_check, sh->m);
    test_machine_end(sh->m);
    free(sh);
}

static void test_small(void **state)
{
    run(48, 0);
}

static void test_few_per_slab(void **state)
{
    run(4096, 0);
}

static void test_debug(void **state)
{
    run(64, SLAB_RED_ZONE | SLAB_POISON | SLAB_STORE_USER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small),
        cmocka_unit_test(test_few_per_slab),
        cmocka_unit_test(test_debug),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
