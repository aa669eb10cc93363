/* SPDX-License-Identifier: MIT */
/* LRU lists and batches, counters, the page lock and writeback waits between threads. */
#include <pthread.h>

#include "tests/unit/testing.h"
#include "phys/phys_priv.h"

static s64 on_list(struct machine *m, enum lru_list lru)
{
    return global_node_page_state(m, (enum node_stat_item)(NR_INACTIVE_ANON + lru));
}

static struct folio *new_folio(struct cpu *cpu, bool anon)
{
    struct folio *f = folio_alloc(cpu, GFP_HIGHUSER_MOVABLE, 0);

    if (anon)
        folio_set_swapbacked(f);
    return f;
}

static void batches_fill_and_drain(void **state)
{
    struct machine *m = test_machine_phys(NULL);
    struct cpu *cpu = test_cpu(m);
    struct folio *f[PAGEVEC_SIZE + 1];

    for (u32 i = 0; i < PAGEVEC_SIZE + 1; i++) {
        f[i] = new_folio(cpu, true);
        folio_add_lru(cpu, f[i]);
        if (i == PAGEVEC_SIZE - 2) {
            assert_int_equal(on_list(m, LRU_INACTIVE_ANON), 0);
            assert_int_equal(folio_ref_count(f[0]), 2);
        }
    }
    assert_int_equal(on_list(m, LRU_INACTIVE_ANON), PAGEVEC_SIZE);
    assert_int_equal(folio_ref_count(f[0]), 1);
    assert_false(folio_test_lru(f[PAGEVEC_SIZE]));
    lru_add_drain(cpu);
    assert_int_equal(on_list(m, LRU_INACTIVE_ANON), PAGEVEC_SIZE + 1);
    assert_books(phys_check, m);
    folio_put(cpu, f[0]); /* the last reference takes it off */
    folios_put(cpu, f + 1, PAGEVEC_SIZE);
    assert_int_equal(on_list(m, LRU_INACTIVE_ANON), 0);
    assert_int_equal(nr_free_pages(m), totalram_pages(m));
    assert_books(phys_check, m);
    test_machine_end(m);
}

/* inactive,unreferenced -> inactive,referenced -> active,unreferenced -> active,referenced */
static void mark_accessed_steps(void **state)
{
    struct machine *m = test_machine_phys(NULL);
    struct cpu *cpu = test_cpu(m);
    struct folio *f = new_folio(cpu, false);

    folio_add_lru(cpu, f);
    lru_add_drain(cpu);
    assert_int_equal(on_list(m, LRU_INACTIVE_FILE), 1);
    folio_mark_accessed(cpu, f);
    assert_true(folio_test_referenced(f) && !folio_test_active(f));
    folio_mark_accessed(cpu, f);
    lru_add_drain(cpu);
    assert_true(!folio_test_referenced(f) && folio_test_active(f));
    assert_int_equal(on_list(m, LRU_INACTIVE_FILE), 0);
    assert_int_equal(on_list(m, LRU_ACTIVE_FILE), 1);
    assert_int_equal(sum_vm_events(m, PGACTIVATE), 1);
    folio_mark_accessed(cpu, f);
    assert_true(folio_test_referenced(f) && folio_test_active(f));
    assert_books(phys_check, m);
    folio_put(cpu, f);
    /* twice while still in the add batch: it arrives active */
    f = new_folio(cpu, true);
    folio_add_lru(cpu, f);
    folio_mark_accessed(cpu, f);
    folio_mark_accessed(cpu, f);
    lru_add_drain(cpu);
    assert_int_equal(on_list(m, LRU_ACTIVE_ANON), 1);
    folio_put(cpu, f);
    test_machine_end(m);
}

static void isolate_and_put_back(void **state)
{
    struct machine *m = test_machine_phys(NULL);
    struct cpu *cpu = test_cpu(m);
    struct folio *f = new_folio(cpu, true), *huge = folio_alloc(cpu, GFP_HIGHUSER_MOVABLE, 4);

    assert_false(folio_isolate_lru(cpu, f)); /* on none */
    folio_add_lru(cpu, f);
    folio_add_lru(cpu, huge); /* large ones do not wait in a batch: both arrive */
    assert_int_equal(on_list(m, LRU_INACTIVE_ANON), 1);
    assert_int_equal(on_list(m, LRU_INACTIVE_FILE), 16);
    assert_true(folio_isolate_lru(cpu, f));
    assert_int_equal(folio_ref_count(f), 2);
    assert_int_equal(on_list(m, LRU_INACTIVE_ANON), 0);
    mlock_folio(cpu, f);
    lru_add_drain(cpu);
    assert_int_equal(folio_ref_count(f), 2);
    folio_putback_lru(cpu, f);
    lru_add_drain(cpu);
    assert_int_equal(on_list(m, LRU_UNEVICTABLE), 1);
    assert_int_equal(folio_ref_count(f), 1);
    assert_books(phys_check, m);
    munlock_folio(cpu, f);
    lru_add_drain(cpu);
    folio_put(cpu, f);
    folio_put(cpu, huge);
    assert_int_equal(nr_free_pages(m), totalram_pages(m));
    assert_books(phys_check, m);
    test_machine_end(m);
}

static void counters_fold_at_the_threshold(void **state)
{
    struct machine *m = test_machine_phys(NULL);
    struct cpu *cpu = test_cpu(m);
    struct pglist_data *pgdat = NODE_DATA(m, 0);
    s64 t = pgdat->per_cpu[0].stat_threshold;

    assert_int_equal(t, 2 * 2 * (1 + 1)); /* two CPUs, 256 MiB less a little: one unit of 128 MiB */
    for (s64 i = 0; i < t; i++)
        mod_node_page_state(cpu, pgdat, NR_FILE_MAPPED, 1);
    assert_int_equal(atomic_load(&pgdat->vm_stat[NR_FILE_MAPPED]), 0);
    mod_node_page_state(cpu, pgdat, NR_FILE_MAPPED, 1);
    assert_int_equal(atomic_load(&pgdat->vm_stat[NR_FILE_MAPPED]), t + 1 + t / 2);
    assert_int_equal(global_node_page_state(m, NR_FILE_MAPPED), t + 1);
    mod_node_page_state(cpu, pgdat, NR_FILE_MAPPED, -1000);
    assert_int_equal(global_node_page_state(m, NR_FILE_MAPPED), t + 1 - 1000);
    test_machine_end(m);
}

/* -- threads ------------------------------------------------------------------------------------------------------- */

struct shared {
    struct machine *m;
    struct folio *f;
    u64 in_section; /* plain: the page lock protects it */
};

struct worker {
    struct shared *s;
    u32 id;
    pthread_t thread;
};

static void *lock_worker(void *arg)
{
    struct worker *w = arg;
    struct cpu *cpu = &w->s->m->cpus[w->id];

    for (u32 i = 0; i < 20000; i++) {
        folio_lock(cpu, w->s->f);
        w->s->in_section++;
        folio_unlock(cpu, w->s->f);
    }
    return NULL;
}

static void page_lock_between_threads(void **state)
{
    struct machine_config c;
    struct shared s = {NULL, NULL, 0};
    struct worker w[4];

    test_config(&c);
    c.nr_cpus = 4;
    machine_config_layout(&c);
    s.m = test_machine_phys(&c);
    s.f = new_folio(test_cpu(s.m), true);
    for (u32 i = 0; i < 4; i++) {
        w[i] = (struct worker){.s = &s, .id = i};
        test_own_cpu(s.m, i, test_cpu(s.m)->code);
        pthread_create(&w[i].thread, NULL, lock_worker, &w[i]);
    }
    for (u32 i = 0; i < 4; i++)
        pthread_join(w[i].thread, NULL);
    assert_int_equal(s.in_section, 80000);
    assert_false(folio_test_locked(s.f));
    test_machine_end(s.m);
}

static void *writeback_waiter(void *arg)
{
    struct worker *w = arg;

    folio_wait_writeback(&w->s->m->cpus[w->id], w->s->f);
    assert_false(folio_test_writeback(w->s->f));
    return NULL;
}

static void writeback_wakes_all(void **state)
{
    struct shared s = {test_machine_phys(NULL), NULL, 0};
    struct worker w[3];

    s.f = new_folio(test_cpu(s.m), false);
    folio_set_writeback(s.f);
    for (u32 i = 0; i < 3; i++) {
        w[i] = (struct worker){.s = &s, .id = 0};
        pthread_create(&w[i].thread, NULL, writeback_waiter, &w[i]);
    }
    while (!page_test_flag(&s.f->page, PG_waiters))
        ;
    folio_end_writeback(test_cpu(s.m), s.f);
    for (u32 i = 0; i < 3; i++)
        pthread_join(w[i].thread, NULL);
    folio_put(test_cpu(s.m), s.f);
    assert_int_equal(nr_free_pages(s.m), totalram_pages(s.m));
    test_machine_end(s.m);
}

/* CPUs allocate, put on the LRU and free each other's pages. */
static void *churn_worker(void *arg)
{
    struct worker *w = arg;
    struct cpu *cpu = &w->s->m->cpus[w->id];
    u64 seed = 77 + w->id;
    struct folio *kept[256] = {NULL};

    for (u32 i = 0; i < 20000; i++) {
        struct folio **slot = &kept[test_random(&seed) % 256];

        if (*slot) {
            folio_put(cpu, *slot);
            *slot = NULL;
        } else {
            *slot = folio_alloc(cpu, GFP_HIGHUSER_MOVABLE, test_random(&seed) % 3);
            folio_add_lru(cpu, *slot);
        }
    }
    for (u32 i = 0; i < 256; i++)
        if (kept[i])
            folio_put(cpu, kept[i]);
    lru_add_drain(cpu);
    drain_local_pages(cpu);
    return NULL;
}

static void churn_on_four_cpus(void **state)
{
    struct machine_config c;
    struct shared s = {NULL, NULL, 0};
    struct worker w[4];

    test_config(&c);
    c.nr_cpus = 4;
    machine_config_layout(&c);
    s.m = test_machine_phys(&c);
    for (u32 i = 0; i < 4; i++) {
        w[i] = (struct worker){.s = &s, .id = i};
        test_own_cpu(s.m, i, test_cpu(s.m)->code);
        pthread_create(&w[i].thread, NULL, churn_worker, &w[i]);
    }
    for (u32 i = 0; i < 4; i++)
        pthread_join(w[i].thread, NULL);
    assert_int_equal(global_zone_page_state(s.m, NR_FREE_PAGES), totalram_pages(s.m));
    assert_books(phys_check, s.m);
    test_machine_end(s.m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_fill_and_drain),    cmocka_unit_test(mark_accessed_steps),
        cmocka_unit_test(isolate_and_put_back),      cmocka_unit_test(counters_fold_at_the_threshold),
        cmocka_unit_test(page_lock_between_threads), cmocka_unit_test(writeback_wakes_all),
        cmocka_unit_test(churn_on_four_cpus),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
