/* SPDX-License-Identifier: MIT */
/* phys_check() finds what it is there for: each corruption gives a report that names the invariant. */
#include "tests/unit/testing.h"
#include "phys/phys_priv.h"

struct fixture {
    struct machine *m;
    struct cpu *cpu;
    struct zone *zone;
    struct page *used; /* an order-0 page */
    struct page *free; /* on a free list */
    struct folio *lru; /* on the inactive anonymous list */
};

static void f1_wrong_order(struct fixture *f)
{
    f->free->private ++;
}

static void f2_not_merged(struct fixture *f)
{
    struct page *a = alloc_pages(f->cpu, GFP_KERNEL, 4), *p;

    spin_lock(f->cpu, &f->zone->lock); /* both halves free, but as two blocks */
    for (p = a + 8; p >= a; p -= 8) {
        struct free_area *area = &f->zone->free_area[3];
        enum migratetype mt = pageblock_mt(f->m, page_to_pfn_nr(f->m, p));

        atomic_store(&p->_refcount, 0);
        p->private = 3;
        atomic_store(&p->page_type, PGTY_buddy);
        list_add(&p->lru, &area->free_list[mt]);
        atomic_fetch_add(&area->nr_free[mt], 1);
        atomic_fetch_add(&f->zone->vm_stat[NR_FREE_PAGES], 8);
    }
    zone_unlock(f->cpu, f->zone);
}

static void f3_wrong_type(struct fixture *f)
{
    set_pageblock_mt(f->m, page_to_pfn_nr(f->m, f->free), MIGRATE_CMA);
}

static void f4_counter(struct fixture *f)
{
    atomic_fetch_add(&f->zone->vm_stat[NR_FREE_PAGES], 1);
}

static void f5_used_while_free(struct fixture *f)
{
    atomic_store(&f->free->_refcount, 1);
}

static void p2_count(struct fixture *f)
{
    f->zone->pcp[0].count++;
}

static void p1_stray(struct fixture *f)
{
    atomic_store(&list_first_entry(&f->zone->pcp[0].lists[0], struct page, lru)->page_type, PAGE_TYPE_NONE);
}

static void m2_blocks(struct fixture *f)
{
    atomic_fetch_add(&f->zone->nr_deferred_blocks, 1);
}

static void m3_managed(struct fixture *f)
{
    f->zone->managed_pages--;
}

static void r1_leaked_frame(struct fixture *f)
{
    f->m->phys->totalram_pages++;
}

static void l1_flag(struct fixture *f)
{
    folio_clear_lru(f->lru);
}

static void l2_list(struct fixture *f)
{
    folio_set_active(f->lru);
}

static void l3_counter(struct fixture *f)
{
    mod_node_page_state(f->cpu, NODE_DATA(f->m, 0), NR_INACTIVE_ANON, 1);
}

static void w_watermark(struct fixture *f)
{
    atomic_fetch_add(&f->zone->_watermark[WMARK_LOW], 1);
}

static void b3_memblock(struct fixture *f)
{
    f->m->phys->memblock.memory.total_size++;
}

static const struct {
    const char *expect;
    void (*damage)(struct fixture *f);
} cases[] = {
    {"F1", f1_wrong_order},
    {"F2", f2_not_merged},
    {"F3", f3_wrong_type},
    {"F4", f4_counter},
    {"F5", f5_used_while_free},
    {"P2", p2_count},
    {"P1", p1_stray},
    {"M2", m2_blocks},
    {"M3", m3_managed},
    {"totalram_pages", r1_leaked_frame},
    {"L1", l1_flag},
    {"L2", l2_list},
    {"L3", l3_counter},
    {"W watermark", w_watermark},
    {"B3", b3_memblock},
};

static void every_corruption_is_reported(void **state)
{
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        struct fixture f = {.m = test_machine_phys(NULL)};
        struct check_report *r = calloc(1, sizeof(*r));
        bool named = false;

        print_message("%s\n", cases[i].expect);
        f.cpu = test_cpu(f.m);
        f.zone = &NODE_DATA(f.m, 0)->node_zones[ZONE_DMA32];
        f.used = alloc_page(f.cpu, GFP_KERNEL);
        f.lru = folio_alloc(f.cpu, GFP_HIGHUSER_MOVABLE, 0);
        folio_set_swapbacked(f.lru);
        folio_add_lru(f.cpu, f.lru);
        lru_add_drain(f.cpu);
        for (unsigned int order = 0; order < MAX_PAGE_ORDER && !f.free; order++)
            f.free = list_first_entry_or_null(&f.zone->free_area[order].free_list[MIGRATE_UNMOVABLE], struct page, lru);
        assert_non_null(f.free);
        assert_books(phys_check, f.m);
        cases[i].damage(&f);
        phys_check(f.m, r);
        for (u32 k = 0; k < MIN(r->nr, CHECK_KEPT); k++)
            named |= strstr(r->text[k], cases[i].expect) != NULL;
        assert_true(named);
        free(r);
        test_machine_end(f.m);
    }
}

/* A node with CPUs and no memory, and one with memory and no CPUs. */
static void uneven_nodes(void **state)
{
    struct machine_config c;
    struct machine *m;
    struct cpu *cpu;
    struct page *page;

    test_config_of(&c, PT_RISCV_SV39, 256ul << 20, 2);
    c.cpu_node[0] = 2; /* memory on nodes 0 and 1, the CPU on node 2 */
    c.cpu_node[1] = 0;
    c.nr_nodes = 3;
    for (u32 i = 0; i < 3; i++)
        for (u32 j = 0; j < 3; j++)
            c.node_distance[i][j] = i == j ? 10 : 20;
    m = test_machine_phys(&c);
    cpu = test_cpu(m);
    assert_int_equal(m->phys->nr_node_ids, 3);
    page = alloc_page(cpu, GFP_KERNEL);
    assert_int_equal(page_to_nid(page), 1); /* as near as node 0, but without CPUs of its own */
    assert_null(alloc_page(cpu, GFP_KERNEL | __GFP_THISNODE | __GFP_NOWARN));
    __free_page(cpu, page);
    assert_int_equal(nr_free_pages(m), totalram_pages(m));
    assert_books(phys_check, m);
    test_machine_end(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_corruption_is_reported),
        cmocka_unit_test(uneven_nodes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
