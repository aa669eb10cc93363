/* SPDX-License-Identifier: MIT */
/* Migrate types, stealing, the highatomic reserve, per-cpu lists,
 * exact and bulk allocation, contents, random operations. */
#include "tests/unit/testing.h"
#include "phys/phys_priv.h"

static struct zone *main_zone(struct machine *m)
{
    return &NODE_DATA(m, 0)->node_zones[ZONE_DMA32];
}

static enum migratetype mt_of(struct machine *m, struct page *page)
{
    return pageblock_mt(m, page_to_pfn_nr(m, page));
}

/*
 * At boot everything is MOVABLE. The first unmovable request takes the largest block, so a whole order-10 block changes
 * hands; the next ones come from what is left of it.
 */
static void first_unmovable_claims_a_block(void **state)
{
    struct machine *m = test_machine_phys(NULL);
    struct cpu *cpu = test_cpu(m);
    struct page *a = alloc_pages(cpu, GFP_KERNEL, 4), *b = alloc_pages(cpu, GFP_KERNEL, 4);
    struct page *c = alloc_pages(cpu, GFP_HIGHUSER_MOVABLE, 4),
                *d = alloc_pages(cpu, GFP_KERNEL | __GFP_RECLAIMABLE, 4);
    u64 block = page_to_pfn_nr(m, a) >> MAX_PAGE_ORDER;

    assert_int_equal(mt_of(m, a), MIGRATE_UNMOVABLE);
    assert_int_equal(pageblock_mt(m, (block << MAX_PAGE_ORDER) + pageblock_nr_pages), MIGRATE_UNMOVABLE);
    assert_int_equal(page_to_pfn_nr(m, b) >> MAX_PAGE_ORDER, block);
    assert_int_equal(mt_of(m, c), MIGRATE_MOVABLE);
    assert_int_not_equal(page_to_pfn_nr(m, c) >> MAX_PAGE_ORDER, block);
    assert_int_equal(mt_of(m, d), MIGRATE_RECLAIMABLE);
    assert_books(phys_check, m);
    test_machine_end(m);
}

/* Leave exactly one order-`order` free block of type mt in `zone`
 * (below the fixture's pages): returns how many were taken. */
static void take_all(struct machine *m, struct zone *zone, struct list_head *taken)
{
    struct cpu *cpu = test_cpu(m);

    spin_lock(cpu, &zone->lock);
    for (unsigned int order = NR_PAGE_ORDERS; order-- > 0;) {
        struct page *page;

        while ((page = rmqueue_smallest(m, zone, order, MIGRATE_MOVABLE))) {
            page->private = order;
            list_add(&page->lru, taken);
        }
    }
    zone_unlock(cpu, zone);
}

static void give_back(struct machine *m, struct zone *zone, struct list_head *taken)
{
    struct cpu *cpu = test_cpu(m);

    spin_lock(cpu, &zone->lock);
    while (!list_empty(taken)) {
        struct page *page = list_first_entry(taken, struct page, lru);
        unsigned int order = (unsigned int)page->private;

        list_del(&page->lru);
        page->private = 0;
        free_one_page(m, zone, page, order, pageblock_mt(m, page_to_pfn_nr(m, page)), FREE_TO_HEAD);
    }
    zone_unlock(cpu, zone);
}

struct steal_case {
    const char *name;
    enum migratetype mt;
    unsigned int order;     /* of the request */
    u32 free_pages;         /* of one MOVABLE pageblock, from its start */
    enum migratetype after; /* type of the pageblock afterwards */
};

/*   pageblock  [ free ...... | in use, unmovable ............. ]   is it claimed or only robbed? */
static const struct steal_case steal_cases[] = {
    {"unmovable claims a block half free", MIGRATE_UNMOVABLE, 0, 256, MIGRATE_UNMOVABLE},
    {"unmovable takes used pages of unknown kind for its own", MIGRATE_UNMOVABLE, 0, 32, MIGRATE_UNMOVABLE},
    {"reclaimable too", MIGRATE_RECLAIMABLE, 0, 16, MIGRATE_RECLAIMABLE},
};

static void stealing(void **state)
{
    for (u32 i = 0; i < ARRAY_SIZE(steal_cases); i++) {
        const struct steal_case *t = &steal_cases[i];
        struct machine *m = test_machine_phys(NULL);
        struct zone *zone = main_zone(m);
        struct cpu *cpu = test_cpu(m);
        struct list_head taken, *last;
        struct page *block, *page;
        u32 cut;

        print_message("%s\n", t->name);
        INIT_LIST_HEAD(&taken);
        take_all(m, zone, &taken);
        last = taken.prev; /* the first taken: of the highest order */
        block = list_entry(last, struct page, lru);
        assert_int_equal(block->private, MAX_PAGE_ORDER);
        list_del(&block->lru);
        block->private = 0;
        spin_lock(cpu, &zone->lock);
        for (cut = 0; cut < t->free_pages; cut += 16)
            free_one_page(m, zone, block + cut, 4, MIGRATE_MOVABLE, FREE_TO_HEAD);
        page = rmqueue(m, zone, t->order, t->mt, 0);
        assert_non_null(page);
        assert_int_equal(mt_of(m, page), t->after);
        assert_int_equal(page_to_pfn_nr(m, page) >> pageblock_order, page_to_pfn_nr(m, block) >> pageblock_order);
        free_one_page(m, zone, page, t->order, mt_of(m, page), FREE_TO_HEAD);
        for (; cut < 1024; cut += 16)
            free_one_page(m, zone, block + cut, 4, mt_of(m, block + cut), FREE_TO_HEAD);
        zone_unlock(cpu, zone);
        give_back(m, zone, &taken);
        assert_books(phys_check, m);
        test_machine_end(m);
    }
}

/* A movable request does not claim for a small block: it takes the pages and leaves the type. */
static void movable_robs_without_claiming(void **state)
{
    struct machine *m = test_machine_phys(NULL);
    struct zone *zone = main_zone(m);
    struct cpu *cpu = test_cpu(m);
    struct page *kernel = alloc_pages(cpu, GFP_KERNEL, 0), *page;
    struct list_head taken;

    INIT_LIST_HEAD(&taken);
    drain_local_pages(cpu);
    take_all(m, zone, &taken);
    spin_lock(cpu, &zone->lock);
    /* only the UNMOVABLE block's free pages are left: 1 used, the rest in blocks 1, 2, 4 ... 512 pages */
    page = rmqueue(m, zone, 0, MIGRATE_MOVABLE, 0);
    assert_non_null(page);
    /* the order-9 half could be claimed as a whole pageblock: it was */
    assert_int_equal(mt_of(m, page), MIGRATE_MOVABLE);
    assert_int_equal(mt_of(m, kernel), MIGRATE_UNMOVABLE);
    free_one_page(m, zone, page, 0, mt_of(m, page), FREE_TO_HEAD);
    zone_unlock(cpu, zone);
    give_back(m, zone, &taken);
    __free_page(cpu, kernel);
    assert_books(phys_check, m);
    test_machine_end(m);
}

/* After a claim the boost is one pageblock more each time, at most watermark_boost_factor of the high watermark. */
static void mixing_boosts_the_watermark(void **state)
{
    struct machine *m = test_machine_phys(NULL);
    struct zone *zone = main_zone(m);
    struct cpu *cpu = test_cpu(m);
    struct list_head taken;
    struct page *block;

    INIT_LIST_HEAD(&taken);
    take_all(m, zone, &taken);
    block = list_last_entry(&taken, struct page, lru);
    list_del(&block->lru);
    block->private = 0;
    spin_lock(cpu, &zone->lock);
    for (u32 i = 0; i < 1024; i += 32)
        free_one_page(m, zone, block + i, 4, MIGRATE_MOVABLE, FREE_TO_HEAD);
    assert_non_null(rmqueue(m, zone, 0, MIGRATE_UNMOVABLE, ALLOC_KSWAPD));
    assert_true(atomic_load(&zone->flags) & ZONE_BOOSTED_WATERMARK);
    assert_int_equal(atomic_load(&zone->watermark_boost),
                     MIN(512, MAX(512, atomic_load(&zone->_watermark[WMARK_HIGH]) * 15000 / 10000)));
    zone_unlock(cpu, zone);
    test_machine_end(m);
}

static void highatomic_reserve(void **state)
{
    struct machine_config c;
    struct machine *m;
    struct cpu *cpu;
    struct zone *zone;
    struct alloc_context ac = {.migratetype = MIGRATE_MOVABLE, .highest_zoneidx = ZONE_MOVABLE};
    struct page *page;

    test_config_of(&c, PT_X86_64_4L, 1ul << 30, 1);
    m = test_machine_phys(&c);
    cpu = test_cpu(m);
    zone = main_zone(m);
    page = alloc_pages(cpu, GFP_KERNEL, 2);
    reserve_highatomic_pageblock(cpu, zone, page, 2);
    assert_int_equal(mt_of(m, page), MIGRATE_HIGHATOMIC);
    assert_int_equal(atomic_load(&zone->nr_reserved_highatomic), 512);
    assert_books(phys_check, m);
    /* ordinary requests leave it alone, but for what a list holds already; its pages come back to it */
    drain_local_pages(cpu);
    assert_int_not_equal(mt_of(m, alloc_pages(cpu, GFP_KERNEL, 2)), MIGRATE_HIGHATOMIC);
    __free_pages(cpu, page, 2);
    drain_local_pages(cpu);
    assert_books(phys_check, m);
    ac.zonelist = NODE_DATA(m, 0)->node_zonelists[ZONELIST_FALLBACK];
    assert_false(unreserve_highatomic_pageblock(cpu, &ac, false)); /* the last one is kept */
    assert_true(unreserve_highatomic_pageblock(cpu, &ac, true));
    assert_int_equal(atomic_load(&zone->nr_reserved_highatomic), 0);
    assert_int_equal(mt_of(m, page), MIGRATE_MOVABLE);
    assert_books(phys_check, m);
    test_machine_end(m);
}

/* The refill doubles while nobody frees; a drained list gives everything back. */
static void per_cpu_lists(void **state)
{
    struct machine *m = test_machine_phys(NULL);
    struct cpu *cpu = test_cpu(m);
    struct per_cpu_zone *pcp = &main_zone(m)->pcp[0];
    u64 nr_free = zone_page_state(main_zone(m), NR_FREE_PAGES);
    struct page *page = alloc_page(cpu, GFP_KERNEL);

    assert_int_equal(pcp->count, pcp->batch - 1);
    assert_int_equal(zone_page_state(main_zone(m), NR_FREE_PAGES), nr_free - pcp->batch);
    __free_page(cpu, page);
    assert_int_equal(pcp->count, pcp->batch);
    assert_ptr_equal(alloc_page(cpu, GFP_KERNEL), page); /* last in, first out */
    __free_page(cpu, page);
    drain_local_pages(cpu);
    assert_int_equal(pcp->count, 0);
    assert_int_equal(zone_page_state(main_zone(m), NR_FREE_PAGES), nr_free);
    assert_books(phys_check, m);
    test_machine_end(m);
}

/* Another CPU's lists: at once when nobody owns it, by request when somebody does. */
static void draining_other_cpus(void **state)
{
    struct machine *m = test_machine_phys(NULL);
    struct cpu *cpu = test_cpu(m), *other = test_own_cpu(m, 1, cpu->code);
    struct per_cpu_zone *pcp = &main_zone(m)->pcp[1];

    __free_page(other, alloc_page(other, GFP_KERNEL));
    assert_true(pcp->count > 0);
    drain_all_pages(cpu);
    assert_true(pcp->count > 0);
    assert_int_equal(atomic_load(&other->work), CPU_WORK_DRAIN_PCP);
    atomic_store(&other->owner, 0);
    drain_all_pages(cpu);
    assert_int_equal(pcp->count, 0);
    assert_int_equal(atomic_load(&other->work), 0);
    assert_int_equal(atomic_load(&other->owner), 0);
    test_machine_end(m);
}

static void exact_and_split(void **state)
{
    struct machine *m = test_machine_phys(NULL);
    struct cpu *cpu = test_cpu(m);
    u64 before = nr_free_pages(m);
    void *p = alloc_pages_exact(cpu, 5 * PAGE_SIZE + 1, GFP_KERNEL);

    assert_int_equal(nr_free_pages(m), before - 6);
    assert_books(phys_check, m);
    free_pages_exact(cpu, p, 5 * PAGE_SIZE + 1);
    assert_int_equal(nr_free_pages(m), before);
    assert_null(alloc_pages_exact(cpu, 0, GFP_KERNEL));
    assert_null(alloc_pages(cpu, GFP_KERNEL, MAX_PAGE_ORDER + 1));
    test_machine_end(m);
}

static void bulk(void **state)
{
    struct machine *m = test_machine_phys(NULL);
    struct cpu *cpu = test_cpu(m);
    struct page *array[100] = {NULL};
    u64 before = nr_free_pages(m);

    array[7] = alloc_page(cpu, GFP_KERNEL);
    assert_int_equal(alloc_pages_bulk(cpu, GFP_KERNEL, 0, 100, array), 100);
    assert_int_equal(nr_free_pages(m), before - 100);
    for (u32 i = 0; i < 100; i++)
        __free_page(cpu, array[i]);
    memset(array, 0, sizeof(array));
    array[50] = alloc_page(cpu, GFP_KERNEL);
    fail_arm(m, 11);
    assert_int_equal(alloc_pages_bulk(cpu, GFP_KERNEL, 0, 100, array), 11); /* ten and the one that was there */
    assert_true(fail_injected(m));
    for (u32 i = 0; i < 100; i++)
        if (array[i])
            __free_page(cpu, array[i]);
    assert_int_equal(nr_free_pages(m), before);
    assert_books(phys_check, m);
    test_machine_end(m);
}

static void compound_pages(void **state)
{
    struct machine *m = test_machine_phys(NULL);
    struct cpu *cpu = test_cpu(m);
    struct folio *f = folio_alloc(cpu, GFP_KERNEL, 3);

    assert_true(folio_test_large(f));
    assert_int_equal(folio_nr_pages(f), 8);
    assert_int_equal(folio_mapcount(f), 0);
    for (u32 i = 1; i < 8; i++) {
        assert_true(PageTail(folio_page(f, i)));
        assert_ptr_equal(page_folio(folio_page(f, i)), f);
        assert_int_equal(atomic_load(&folio_page(f, i)->_refcount), 0);
    }
    get_page(folio_page(f, 5)); /* a tail's reference is the head's */
    assert_int_equal(folio_ref_count(f), 2);
    folio_put(cpu, f);
    assert_books(phys_check, m);
    put_page(cpu, folio_page(f, 5));
    assert_int_equal(folio_test_large(f), 0);
    assert_books(phys_check, m);
    test_machine_end(m);
}

/* A reference that somebody else holds keeps the first page only of a block that is no folio. */
static void late_reference(void **state)
{
    struct machine *m = test_machine_phys(NULL);
    struct cpu *cpu = test_cpu(m);
    struct page *page = alloc_pages(cpu, GFP_KERNEL, 2);
    u64 before = nr_free_pages(m);

    assert_true(get_page_unless_zero(page));
    __free_pages(cpu, page, 2);
    assert_int_equal(nr_free_pages(m), before + 3);
    put_page(cpu, page);
    assert_int_equal(nr_free_pages(m), before + 4);
    assert_false(get_page_unless_zero(page));
    assert_books(phys_check, m);
    test_machine_end(m);
}

struct zero_case {
    enum content_mode content;
    gfp_t gfp;
    bool cleared;
};

static const struct zero_case zero_cases[] = {
    {CONTENT_FULL, GFP_KERNEL, true},  {CONTENT_FULL, GFP_HIGHUSER_MOVABLE, true},
    {CONTENT_NONE, GFP_KERNEL, true},  {CONTENT_NONE, GFP_HIGHUSER_MOVABLE, false},
    {CONTENT_GUEST, GFP_KERNEL, true}, {CONTENT_GUEST, GFP_HIGHUSER_MOVABLE, false},
};

static void zeroing(void **state)
{
    for (u32 i = 0; i < ARRAY_SIZE(zero_cases); i++) {
        const struct zero_case *t = &zero_cases[i];
        struct machine_config c;
        struct machine *m;
        struct cpu *cpu;
        struct page *page;
        u64 time;

        test_config(&c);
        c.content = t->content;
        m = test_machine_phys(&c);
        cpu = test_cpu(m);
        page = alloc_page(cpu, t->gfp);
        memset(page_address(m, page), 0x5a, PAGE_SIZE);
        __free_page(cpu, page);
        time = cpu->time_ps[TIME_ZERO];
        assert_ptr_equal(alloc_page(cpu, t->gfp | __GFP_ZERO), page);
        assert_int_equal(*(char *)page_address(m, page), t->cleared ? 0 : 0x5a);
        assert_int_equal(cpu->time_ps[TIME_ZERO] - time, c.cost_ps[COST_ZERO_PAGE]);
        test_machine_end(m);
    }
}

/* Random requests of all kinds against a table of who has which frame. */
static void random_operations(void **state)
{
    enum { SLOTS = 400 };
    static const gfp_t kinds[] = {GFP_KERNEL,           GFP_HIGHUSER_MOVABLE, GFP_KERNEL | __GFP_RECLAIMABLE,
                                  GFP_KERNEL | GFP_DMA, GFP_ATOMIC,           GFP_HIGHUSER_MOVABLE | __GFP_COMP};
    struct {
        struct page *page;
        unsigned int order;
    } slot[SLOTS] = {{NULL, 0}};
    struct machine_config c;
    struct machine *m;
    struct cpu *cpu;
    u64 seed = 0x123456789abcdef, total, held = 0;
    static u8 owner[65536];

    test_config_of(&c, PT_X86_64_4L, 64ul << 20, 1);
    m = test_machine_phys(&c);
    cpu = test_cpu(m);
    total = totalram_pages(m);
    memset(owner, 0, sizeof(owner));
    for (u32 step = 0; step < 20000; step++) {
        u32 i = test_random(&seed) % SLOTS;
        unsigned int order = MIN(test_random(&seed) % 11, test_random(&seed) % 11);
        gfp_t gfp = kinds[test_random(&seed) % ARRAY_SIZE(kinds)] | __GFP_NOWARN;

        if (slot[i].page) {
            order = slot[i].order;
            memset(owner + page_to_pfn_nr(m, slot[i].page), 0, 1ul << order);
            __free_pages(cpu, slot[i].page, order);
            slot[i].page = NULL;
            held -= 1ul << order;
        } else if ((slot[i].page = alloc_pages(cpu, gfp, order))) {
            slot[i].order = order;
            for (u64 k = 0; k < 1ul << order; k++)
                assert_int_equal(owner[page_to_pfn_nr(m, slot[i].page) + k]++, 0);
            held += 1ul << order;
        }
        assert_int_equal(nr_free_pages(m), total - held);
        if (step % 1000 == 0)
            assert_books(phys_check, m);
    }
    for (u32 i = 0; i < SLOTS; i++)
        if (slot[i].page)
            __free_pages(cpu, slot[i].page, slot[i].order);
    drain_local_pages(cpu);
    assert_int_equal(global_zone_page_state(m, NR_FREE_PAGES), total);
    assert_books(phys_check, m);
    test_machine_end(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_unmovable_claims_a_block),
        cmocka_unit_test(stealing),
        cmocka_unit_test(movable_robs_without_claiming),
        cmocka_unit_test(mixing_boosts_the_watermark),
        cmocka_unit_test(highatomic_reserve),
        cmocka_unit_test(per_cpu_lists),
        cmocka_unit_test(draining_other_cpus),
        cmocka_unit_test(exact_and_split),
        cmocka_unit_test(bulk),
        cmocka_unit_test(compound_pages),
        cmocka_unit_test(late_reference),
        cmocka_unit_test(zeroing),
        cmocka_unit_test(random_operations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
