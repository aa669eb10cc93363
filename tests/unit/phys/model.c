/* SPDX-License-Identifier: MIT */
/* Memory models, nodes, zones and zonelists; the lazy memmap; a machine of 1 TiB. */
#include <stdio.h>

#include "tests/unit/testing.h"
#include "phys/phys_priv.h"

#define MIB(n) ((u64)(n) << 20)

static void flatmem_and_vmemmap_agree(void **state)
{
    for (u32 model = MEMORY_FLATMEM; model <= MEMORY_SPARSEMEM_VMEMMAP; model++) {
        struct machine_config c;
        struct machine *m;
        struct page *page;

        test_config_of(&c, PT_X86_64_4L, 5ul << 30, 1);
        c.memory_model = model;
        m = test_machine_phys(&c);
        assert_true(pfn_valid(m, PFN(0x100000)));
        assert_false(pfn_valid(m, PFN(m->phys->max_pfn)));
        /* the hole under 4G: FLATMEM has entries for it */
        assert_int_equal(pfn_valid(m, PFN(0xd0000)), model == MEMORY_FLATMEM);
        assert_int_equal((char *)m->memmap == m->vmemmap, model == MEMORY_SPARSEMEM_VMEMMAP);
        page = alloc_pages(test_cpu(m), GFP_KERNEL, 3);
        assert_ptr_equal(pfn_to_page(m, page_to_pfn(m, page)), page);
        assert_ptr_equal(virt_to_page(m, page_address(m, page)), page);
        assert_ptr_equal(page_zone(m, page), &NODE_DATA(m, 0)->node_zones[ZONE_NORMAL]);
        __free_pages(test_cpu(m), page, 3);
        assert_books(phys_check, m);
        test_machine_end(m);
    }
}

/* The window shows the node's own memory. */
static void memmap_is_on_its_node(void **state)
{
    struct machine_config c;
    struct machine *m;

    test_config_of(&c, PT_X86_64_4L, 2ul << 30, 2);
    c.memory_model = MEMORY_SPARSEMEM_VMEMMAP;
    machine_config_layout(&c);
    m = test_machine_phys(&c);
    assert_int_equal(m->phys->nr_aliases, 2);
    for (u32 i = 0; i < 2; i++) {
        struct vmemmap_alias *a = &m->phys->aliases[i];
        u64 first_pfn = (u64)((struct page *)(void *)a->dst - m->memmap);

        assert_int_equal(memblock_nid_of(&m->phys->memblock, virt_to_phys(m, a->src).pa), i);
        assert_int_equal(first_pfn % PAGES_PER_SECTION, 0);
    }
    /* both showings are the same bytes */
    alloc_pages(test_cpu(m), GFP_KERNEL, 0)->memcg_data = 42;
    assert_int_equal(phys_attach(m, m->handle), 0);
    assert_books(phys_check, m);
    test_machine_end(m);
}

struct zone_case {
    enum pt_format_id format;
    u64 mem;
    u64 present_mib[MAX_NR_ZONES]; /* rounded up */
};

static const struct zone_case zone_cases[] = {
    {PT_X86_64_4L, 5ul << 30, {16, 3056, 2048}},        {PT_X86_32, 1ul << 30, {16, 0, 880, 128}},
    {PT_X86_PAE, 5ul << 30, {16, 0, 880, 2176 + 2048}}, {PT_ARM64_4K, 4ul << 30, {3072, 0, 1024}},
    {PT_RISCV_SV48, 4ul << 30, {0, 2048, 2048}},
};

static void zones_of_each_format(void **state)
{
    for (u32 i = 0; i < ARRAY_SIZE(zone_cases); i++) {
        const struct zone_case *t = &zone_cases[i];
        struct machine_config c;
        struct machine *m;

        test_config_of(&c, t->format, t->mem, 1);
        m = test_machine_phys(&c);
        for (u32 z = 0; z < MAX_NR_ZONES; z++)
            assert_int_equal(DIV_ROUND_UP(NODE_DATA(m, 0)->node_zones[z].present_pages, 256), t->present_mib[z]);
        assert_books(phys_check, m);
        test_machine_end(m);
    }
}

static void assert_nodes(const struct zonelist *zl, const char *want)
{
    char got[64] = "";
    s32 last = -1;

    for (const struct zoneref *z = zl->_zonerefs; z->zone; z++) {
        if (z->zone->node != last)
            snprintf(got + strlen(got), sizeof(got) - strlen(got), "%d", z->zone->node);
        last = z->zone->node;
    }
    assert_string_equal(got, want);
}

static void zonelists_by_distance(void **state)
{
    static const u8 distance[4][4] = {{10, 12, 40, 40}, {12, 10, 40, 40}, {40, 40, 10, 12}, {40, 40, 12, 10}};
    struct machine_config c;
    struct machine *m;

    test_config_of(&c, PT_X86_64_4L, 1ul << 30, 4);
    for (u32 i = 0; i < 4; i++)
        memcpy(c.node_distance[i], distance[i], 4);
    m = test_machine_phys(&c);
    assert_nodes(NODE_DATA(m, 0)->node_zonelists[ZONELIST_FALLBACK], "0123");
    assert_nodes(NODE_DATA(m, 1)->node_zonelists[ZONELIST_FALLBACK], "1032"); /* node 2 carries node 0's load */
    assert_nodes(NODE_DATA(m, 2)->node_zonelists[ZONELIST_FALLBACK], "2301");
    assert_nodes(NODE_DATA(m, 3)->node_zonelists[ZONELIST_FALLBACK], "3210");
    assert_nodes(NODE_DATA(m, 2)->node_zonelists[ZONELIST_NOFALLBACK], "2");
    test_machine_end(m);
}

static void gfp_flags_choose_zone_and_node(void **state)
{
    struct machine_config c;
    struct machine *m;
    struct cpu *cpu;
    const u64 node1 = 2;

    test_config_of(&c, PT_X86_64_4L, 8ul << 30, 2);
    m = test_machine_phys(&c);
    cpu = test_cpu(m);
    assert_int_equal(page_zonenum(alloc_page(cpu, GFP_KERNEL)), ZONE_NORMAL);
    assert_int_equal(page_zonenum(alloc_page(cpu, GFP_KERNEL | GFP_DMA32)), ZONE_DMA32);
    assert_int_equal(page_zonenum(alloc_page(cpu, GFP_KERNEL | GFP_DMA)), ZONE_DMA);
    assert_int_equal(page_to_nid(alloc_page(cpu, GFP_KERNEL)), 0);
    assert_int_equal(page_to_nid(alloc_pages_node(cpu, 1, GFP_KERNEL, 0)), 1);
    assert_int_equal(page_to_nid(__alloc_pages(cpu, GFP_KERNEL, 0, 0, &node1)), 1);
    assert_null(alloc_pages_node(cpu, 1, GFP_KERNEL | GFP_DMA | __GFP_THISNODE | __GFP_NOWARN, 0)); /* node 0 has it */
    assert_int_equal(page_to_nid(alloc_pages_node(cpu, 1, GFP_KERNEL | GFP_DMA, 0)), 0);
    assert_int_equal(sum_vm_events(m, PGALLOC_DMA), 2);
    assert_int_equal(sum_vm_events(m, NUMA_OTHER), 2);
    assert_books(phys_check, m);
    test_machine_end(m);
}

/* Untouched blocks count, cost nothing and come up lowest first, as if they had all been initialised. */
static void lazy_memmap(void **state)
{
    struct machine *m = test_machine_phys(NULL);
    struct zone *zone = &NODE_DATA(m, 0)->node_zones[ZONE_DMA32];
    struct cpu *cpu = test_cpu(m);
    u64 blocks = atomic_load(&zone->nr_deferred_blocks), first = zone->deferred[0].start;
    struct zone_view v;
    struct page *page;

    assert_true(blocks > 50);
    phys_zone_view(m, 0, ZONE_DMA32, &v);
    assert_int_equal(v.nr_free[MAX_PAGE_ORDER], blocks);
    assert_false(memmap_block_is_init(m, first));
    page = alloc_pages(cpu, GFP_KERNEL, MAX_PAGE_ORDER);
    assert_int_equal(page_to_pfn_nr(m, page), first << MAX_PAGE_ORDER);
    assert_int_equal(atomic_load(&zone->nr_deferred_blocks), blocks - 1);
    assert_false(memmap_block_is_init(m, first + 1));
    __free_pages(cpu, page, MAX_PAGE_ORDER);
    assert_ptr_equal(alloc_pages(cpu, GFP_KERNEL, MAX_PAGE_ORDER), page); /* what was used last comes first */
    /* a scanner looks at a block far away: all below are brought up with it */
    assert_non_null(pfn_to_online_page(cpu, PFN((first + 5) << MAX_PAGE_ORDER)));
    assert_true(memmap_block_is_init(m, first + 5));
    assert_null(pfn_to_online_page(cpu, PFN(m->phys->max_pfn)));
    assert_books(phys_check, m);
    test_machine_end(m);
}

static void whole_memory_can_be_had(void **state)
{
    struct machine *m = test_machine_phys(NULL);
    struct cpu *cpu = test_cpu(m);
    u64 total = totalram_pages(m), n = 0;
    struct page *page, *list = NULL;

    while ((page = alloc_page(cpu, GFP_KERNEL | __GFP_MEMALLOC | __GFP_NOWARN))) {
        page->private = (u64)(uintptr_t)list;
        list = page;
        n++;
    }
    assert_int_equal(n, total);
    assert_int_equal(nr_free_pages(m), 0);
    assert_books(phys_check, m);
    while ((page = list)) {
        list = (struct page *)(uintptr_t)page->private;
        __free_page(cpu, page);
    }
    drain_all_pages(cpu);
    assert_int_equal(global_zone_page_state(m, NR_FREE_PAGES), total);
    assert_books(phys_check, m);
    test_machine_end(m);
}

static u64 resident_bytes(void)
{
    unsigned long size = 0, rss = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    assert_int_equal(fscanf(f, "%lu %lu", &size, &rss), 2);
    fclose(f);
    return (u64)rss * 4096;
}

static void a_terabyte_boots_lazily(void **state)
{
    struct machine_config c;
    struct machine *m;
    u64 before;

    test_config_of(&c, PT_X86_64_4L, 1ul << 40, 8);
    c.nr_cpus = 256;
    c.memory_model = MEMORY_SPARSEMEM_VMEMMAP;
    c.content = CONTENT_NONE;
    machine_config_layout(&c);
    m = test_machine_bare(&c);
    before = resident_bytes();
    assert_int_equal(phys_init(test_cpu(m)), 0);
    assert_true(resident_bytes() - before < MIB(64));
    assert_int_equal(m->phys->nr_node_ids, 8);
    for (s32 nid = 0; nid < 8; nid++)
        assert_int_equal(page_to_nid(alloc_pages_node(test_cpu(m), nid, GFP_HIGHUSER_MOVABLE, 9)), nid);
    assert_books(phys_check, m);
    test_machine_end(m);
}

static void too_small_is_refused(void **state)
{
    struct machine_config c;
    struct machine *m;

    test_config(&c);
    c.nr_ranges = 1;
    c.range[0] = (struct mem_range){.start = 0, .size = MIB(1) + 64 * PAGE_SIZE, .type = E820_RAM, .nid = -1};
    m = test_machine_bare(&c);
    assert_int_equal(phys_init(test_cpu(m)), -ENOMEM);
    test_machine_end(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flatmem_and_vmemmap_agree),      cmocka_unit_test(memmap_is_on_its_node),
        cmocka_unit_test(zones_of_each_format),           cmocka_unit_test(zonelists_by_distance),
        cmocka_unit_test(gfp_flags_choose_zone_and_node), cmocka_unit_test(lazy_memmap),
        cmocka_unit_test(whole_memory_can_be_had),        cmocka_unit_test(a_terabyte_boots_lazily),
        cmocka_unit_test(too_small_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
