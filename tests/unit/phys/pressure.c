/* SPDX-License-Identifier: MIT */
/* The slow path: who may go how low, in which order helpers are asked, when it gives up; failure injection. */
#include "tests/unit/testing.h"
#include "phys/phys_priv.h"

/* What the helpers did, and what they shall answer. The core has no globals; a test may. */
static struct {
    char calls[64]; /* k kswapd, r reclaim, c compaction, o OOM killer */
    u32 nr_calls;
    struct list_head *hoard; /* reclaim frees this many pages of it */
    u32 reclaim_frees, oom_frees;
    enum compact_result compact;
} script;

static void note(char c)
{
    if (script.nr_calls < sizeof(script.calls) - 1)
        script.calls[script.nr_calls++] = c;
    script.calls[script.nr_calls] = 0;
}

static u64 release(struct cpu *cpu, u32 n)
{
    u32 done = 0;

    for (; done < n && !list_empty(script.hoard); done++) {
        struct page *page = list_first_entry(script.hoard, struct page, lru);

        list_del(&page->lru);
        __free_page(cpu, page);
    }
    return done;
}

static void wake_kswapd(struct cpu *cpu, struct zone *zone, gfp_t gfp, unsigned int order, u32 highest)
{
    if (!script.nr_calls || script.calls[script.nr_calls - 1] != 'k')
        note('k');
}

static u64 direct_reclaim(struct cpu *cpu, gfp_t gfp, unsigned int order, const struct alloc_context *ac)
{
    note('r');
    return release(cpu, script.reclaim_frees);
}

static enum compact_result direct_compact(struct cpu *cpu, gfp_t gfp, unsigned int order,
                                          const struct alloc_context *ac)
{
    note('c');
    return script.compact;
}

static bool out_of_memory(struct cpu *cpu, gfp_t gfp, unsigned int order, const struct alloc_context *ac)
{
    note('o');
    return release(cpu, script.oom_frees) > 0;
}

static const struct pressure_ops ops = {.wake_kswapd = wake_kswapd,
                                        .direct_reclaim = direct_reclaim,
                                        .direct_compact = direct_compact,
                                        .out_of_memory = out_of_memory};
static const struct core_code code = {.pressure = &ops};

/* A machine of one zone whose pages are hoarded until an ordinary request fails. */
struct fixture {
    struct machine *m;
    struct cpu *cpu;
    struct zone *zone;
    struct list_head hoard;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct machine_config c;
    struct page *page;

    test_config_of(&c, PT_X86_64_4L, 64ul << 20, 1);
    c.min_free_kbytes = 1600;
    c.watermark_boost_factor = 0;
    c.lowmem_reserve_ratio[0] = c.lowmem_reserve_ratio[1] = 0;
    f->m = test_machine_phys(&c);
    f->cpu = test_cpu(f->m);
    f->zone = &NODE_DATA(f->m, 0)->node_zones[ZONE_DMA32];
    for (u32 z = ZONE_DMA; z <= ZONE_DMA32; z++) /* page by page: a refill may go below a watermark by its batch */
        NODE_DATA(f->m, 0)->node_zones[z].pcp[0] = (struct per_cpu_zone){.batch = 1};
    for (u32 i = 0; i < 2 * NR_PCP_LISTS; i++)
        INIT_LIST_HEAD(&NODE_DATA(f->m, 0)->node_zones[i % 2].pcp[0].lists[i / 2]);
    INIT_LIST_HEAD(&f->hoard);
    memset(&script, 0, sizeof(script));
    script.hoard = &f->hoard;
    while ((page = alloc_page(f->cpu, GFP_KERNEL | __GFP_NOWARN)))
        list_add(&page->lru, &f->hoard);
    f->cpu->code = &code;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    release(f->cpu, ~0u);
    drain_local_pages(f->cpu);
    assert_books(phys_check, f->m);
    test_machine_end(f->m);
    free(f);
    return 0;
}

struct order_case {
    const char *name;
    gfp_t gfp;
    unsigned int order;
    u32 reclaim_frees, oom_frees;
    enum compact_result compact;
    const char *calls;
    bool succeeds;
};

static const struct order_case order_cases[] = {
    {"reclaim helps", GFP_KERNEL, 0, 400, 0, COMPACT_SKIPPED, "kr", true},
    {"nobody helps", GFP_KERNEL, 0, 0, 0, COMPACT_SKIPPED, "kro", false},
    {"the OOM killer helps", GFP_KERNEL, 0, 0, 400, COMPACT_SKIPPED, "krok", true},
    {"cannot wait", GFP_NOWAIT, 0, 400, 0, COMPACT_SKIPPED, "k", false},
    {"no kswapd either", __GFP_NOWARN | __GFP_NOMEMALLOC, 0, 400, 0, COMPACT_SKIPPED, "", false},
    {"one round only", GFP_KERNEL | __GFP_NORETRY, 0, 0, 400, COMPACT_SKIPPED, "kr", false},
    {"may fail: no killing", GFP_KERNEL | __GFP_RETRY_MAYFAIL, 0, 0, 400, COMPACT_SKIPPED, "kr", false},
    {"costly: compact first, no killing", GFP_KERNEL | __GFP_COMP, 5, 0, 400, COMPACT_SKIPPED, "kckrc", false},
    {"movable: reclaim before compaction", GFP_HIGHUSER_MOVABLE | __GFP_COMP, 2, 0, 0, COMPACT_SKIPPED, "krco", false},
    {"huge page, light", GFP_TRANSHUGE_LIGHT, 9, 400, 0, COMPACT_SKIPPED, "", false},
    {"this node only: no killing", GFP_KERNEL | __GFP_THISNODE, 0, 0, 400, COMPACT_SKIPPED, "kr", false},
};

static void helpers_in_order(void **unused)
{
    for (u32 i = 0; i < ARRAY_SIZE(order_cases); i++) {
        const struct order_case *t = &order_cases[i];
        void *state;
        struct fixture *f;
        struct page *page;

        print_message("%s\n", t->name);
        setup(&state);
        f = state;
        script.reclaim_frees = t->reclaim_frees;
        script.oom_frees = t->oom_frees;
        script.compact = t->compact;
        page = alloc_pages(f->cpu, t->gfp | __GFP_NOWARN, t->order);
        assert_string_equal(script.calls, t->calls);
        assert_int_equal(page != NULL, t->succeeds);
        if (page)
            __free_pages(f->cpu, page, t->order);
        teardown(&state);
    }
}

/* How many free pages of `zone` a kind of request leaves alone. */
static u64 left_over(struct fixture *f, gfp_t gfp)
{
    struct page *page;
    u64 left;

    while ((page = alloc_page(f->cpu, gfp | __GFP_NOWARN)))
        list_add(&page->lru, &f->hoard);
    left = zone_page_state(f->zone, NR_FREE_PAGES);
    return left;
}

static void reserves_by_entitlement(void **state)
{
    struct fixture *f = *state;
    u64 min = wmark_pages(f->zone, WMARK_MIN);
    struct task task = {.flags = PF_MEMALLOC};

    f->cpu->code = NULL; /* no helper at all is no helper */
    assert_true(min > 200);
    assert_int_equal(left_over(f, GFP_KERNEL), min);
    assert_int_equal(left_over(f, GFP_KERNEL | __GFP_HIGH), min - min / 2);
    assert_int_equal(left_over(f, GFP_ATOMIC), min - min / 2 - (min - min / 2) / 4);
    assert_int_equal(left_over(f, GFP_KERNEL | __GFP_MEMALLOC | __GFP_NOMEMALLOC),
                     min - min / 2 - (min - min / 2) / 4); /* the refusal wins */
    f->cpu->current = &task;
    assert_int_equal(left_over(f, GFP_KERNEL), 0);
    f->cpu->current = NULL;
}

static void victims_get_half(void **state)
{
    struct fixture *f = *state;
    struct task task = {.oom_victim = true};
    u64 min = wmark_pages(f->zone, WMARK_MIN);

    f->cpu->code = NULL;
    f->cpu->current = &task;
    assert_int_equal(left_over(f, GFP_KERNEL), min - min / 2);
    f->cpu->current = NULL;
}

static void nofail_takes_everything(void **state)
{
    struct fixture *f = *state;
    struct page *page = alloc_page(f->cpu, GFP_KERNEL | __GFP_NOFAIL);

    assert_non_null(page);
    __free_page(f->cpu, page);
    fail_arm(f->m, 1);
    page = alloc_page(f->cpu, GFP_KERNEL | __GFP_NOFAIL); /* failures are not injected into what must not fail */
    assert_non_null(page);
    __free_page(f->cpu, page);
    fail_injected(f->m);
}

static void dirty_pages_are_spread(void **state)
{
    struct machine_config c;
    struct machine *m;
    struct cpu *cpu;

    test_config_of(&c, PT_X86_64_4L, 2ul << 30, 2);
    m = test_machine_phys(&c);
    cpu = test_cpu(m);
    assert_int_equal(page_to_nid(alloc_page(cpu, GFP_HIGHUSER_MOVABLE | __GFP_WRITE)), 0);
    mod_node_page_state(cpu, NODE_DATA(m, 0), NR_FILE_DIRTY, 100000);
    assert_int_equal(page_to_nid(alloc_page(cpu, GFP_HIGHUSER_MOVABLE | __GFP_WRITE)), 1);
    assert_int_equal(page_to_nid(alloc_page(cpu, GFP_HIGHUSER_MOVABLE)), 0);
    test_machine_end(m);
}

/* Every allocation of a sequence fails once; nothing is lost. */
static void injected_failures(void **state)
{
    struct machine *m = test_machine_phys(NULL);
    struct cpu *cpu = test_cpu(m);
    u64 before = nr_free_pages(m);

    for_each_failing_allocation(m, nth)
    {
        struct page *a = alloc_page(cpu, GFP_KERNEL), *b = alloc_pages(cpu, GFP_KERNEL, 3);
        void *c = alloc_pages_exact(cpu, 3 * PAGE_SIZE, GFP_KERNEL);
        struct folio *d = folio_alloc(cpu, GFP_HIGHUSER_MOVABLE, 9);
        bool failed = fail_injected(m);

        assert_int_equal(!a + !b + !c + !d, failed ? 1 : 0);
        assert_int_equal(!(nth == 1 ? (void *)a : nth == 2 ? (void *)b : nth == 3 ? c : (void *)d), failed);
        if (a)
            __free_page(cpu, a);
        if (b)
            __free_pages(cpu, b, 3);
        if (c)
            free_pages_exact(cpu, c, 3 * PAGE_SIZE);
        if (d)
            folio_put(cpu, d);
        assert_int_equal(nr_free_pages(m), before);
        assert_books(phys_check, m);
        if (!failed)
            assert_int_equal(nth, 5);
        else
            atomic_store(&m->fail.failed, 1);
    }
    test_machine_end(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(helpers_in_order),
        cmocka_unit_test_setup_teardown(reserves_by_entitlement, setup, teardown),
        cmocka_unit_test_setup_teardown(victims_get_half, setup, teardown),
        cmocka_unit_test_setup_teardown(nofail_takes_everything, setup, teardown),
        cmocka_unit_test(dirty_pages_are_spread),
        cmocka_unit_test(injected_failures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
