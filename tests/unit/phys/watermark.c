/* SPDX-License-Identifier: MIT */
/* Watermarks, protections, per-cpu list sizes: compared with /proc/zoneinfo of an x86-64 6.18 kernel with two CPUs. */
#include "tests/unit/testing.h"
#include "phys/phys_priv.h"

struct zoneinfo {
    enum zone_type type;
    u64 managed, min, low, high, promo;
    u64 protection[MAX_NR_ZONES]; /* the kernel there has no HIGHMEM */
    u32 batch, high_min, high_max;
};

static const struct zoneinfo kernel[] = {
    {ZONE_DMA, 3840, 53, 66, 79, 92, {0, 3019, 4683, 4683, 4683, 4683}, 1, 33, 240},
    {ZONE_DMA32, 772915, 10857, 13571, 16285, 18999, {0, 0, 1664, 1664, 1664, 1664}, 63, 6785, 48307},
    {ZONE_NORMAL, 425984, 5984, 7480, 8976, 10472, {0, 0, 0, 0, 0, 0}, 63, 3740, 26624},
    {ZONE_MOVABLE, 0, 32, 32, 32, 32, {0}, 0, 0, 0},
};

static void same_as_a_kernel(void **state)
{
    struct machine_config c;
    struct machine *m;

    test_config_of(&c, PT_X86_64_4L, 5ul << 30, 1); /* all three zones exist; their sizes are set below */
    c.nr_cpus = 2;
    c.min_free_kbytes = 67584;
    machine_config_layout(&c);
    m = test_machine_phys(&c);
    for (u32 i = 0; i < ARRAY_SIZE(kernel); i++)
        NODE_DATA(m, 0)->node_zones[kernel[i].type].managed_pages = kernel[i].managed;
    setup_per_zone_wmarks(m);
    for (u32 i = 0; i < ARRAY_SIZE(kernel); i++) {
        const struct zoneinfo *k = &kernel[i];
        struct zone_view v;

        assert_true(phys_zone_view(m, 0, k->type, &v));
        assert_int_equal(v.min, k->min);
        assert_int_equal(v.low, k->low);
        assert_int_equal(v.high, k->high);
        assert_int_equal(v.promo, k->promo);
        assert_memory_equal(v.protection, k->protection, sizeof(v.protection));
        assert_int_equal(v.pcp_batch, k->batch);
        assert_int_equal(v.pcp_high_min, k->high_min);
        assert_int_equal(v.pcp_high_max, k->high_max);
    }
    test_machine_end(m);
}

static void square_roots(void **state)
{
    for (u64 i = 0; i < 5000; i++) {
        u64 r = int_sqrt(i);

        assert_true(r * r <= i && (r + 1) * (r + 1) > i);
    }
    assert_int_equal(int_sqrt(~0ull), 0xffffffff);
    assert_int_equal(int_sqrt(1ull << 62), 1ull << 31);
}

/* min_free_kbytes: 4 * sqrt(KiB), between 128 and 262144. */
static void min_free_kbytes_rule(void **state)
{
    const u64 sizes[] = {8ul << 20, 256ul << 20, 4ul << 30};

    for (u32 i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct machine_config c;
        struct machine *m;
        struct vm_sysctl s;
        u64 kib;

        test_config_of(&c, PT_X86_64_4L, sizes[i], 1);
        m = test_machine_phys(&c);
        phys_get_sysctl(m, &s);
        kib = int_sqrt(totalram_pages(m) * 4 * 16);
        assert_int_equal(s.min_free_kbytes, kib < 128 ? 128 : kib);
        assert_books(phys_check, m);
        test_machine_end(m);
    }
}

static void sysctl_setter(void **state)
{
    struct machine *m = test_machine_phys(NULL);
    struct cpu *cpu = test_cpu(m);
    struct vm_sysctl s;
    struct zone_view v;
    u64 reserve = m->phys->totalreserve_pages;

    phys_get_sysctl(m, &s);
    s.watermark_scale_factor = 0;
    assert_int_equal(phys_set_sysctl(cpu, &s), -EINVAL);
    s.watermark_scale_factor = 100;
    s.percpu_pagelist_high_fraction = 7;
    assert_int_equal(phys_set_sysctl(cpu, &s), -EINVAL);
    s.percpu_pagelist_high_fraction = 8;
    s.min_free_kbytes = 16384;
    assert_int_equal(phys_set_sysctl(cpu, &s), 0);
    assert_true(phys_zone_view(m, 0, ZONE_DMA32, &v));
    assert_int_equal(v.min, 4096 * v.managed / totalram_pages(m));
    assert_int_equal(v.low - v.min, MAX(v.min / 4, v.managed / 100));
    assert_int_equal(v.pcp_high_min, v.managed / 8 / m->nr_cpus);
    assert_int_equal(v.pcp_high_max, v.pcp_high_min);
    assert_true(m->phys->totalreserve_pages > reserve);
    assert_books(phys_check, m);
    test_machine_end(m);
}

/* The check itself, on a zone whose figures are set by hand. */
struct check_case {
    const char *name;
    u64 free, mark;
    unsigned int order;
    u32 flags;
    bool ok;
};

static const struct check_case checks[] = {
    {"one above", 101, 100, 0, ALLOC_WMARK_MIN, true},
    {"at the mark", 100, 100, 0, ALLOC_WMARK_MIN, false},
    {"half of the reserve", 51, 100, 0, ALLOC_MIN_RESERVE, true},
    {"half of the reserve, at it", 50, 100, 0, ALLOC_MIN_RESERVE, false},
    {"atomic: three eighths left", 39, 100, 0, ALLOC_MIN_RESERVE | ALLOC_NON_BLOCK, true},
    {"atomic: at it", 38, 100, 0, ALLOC_MIN_RESERVE | ALLOC_NON_BLOCK, false},
    {"non-block alone has no reserve", 100, 100, 0, ALLOC_NON_BLOCK, false},
    {"OOM victim", 51, 100, 0, ALLOC_OOM, true},
    {"order counts the other pages of the block", 103, 100, 2, ALLOC_WMARK_MIN, false},
    {"order, enough", 104, 100, 2, ALLOC_WMARK_MIN, true},
};

static void watermark_check(void **state)
{
    struct machine *m = test_machine_phys(NULL);
    struct zone *zone = &NODE_DATA(m, 0)->node_zones[ZONE_DMA32];

    for (u32 i = 0; i < ARRAY_SIZE(checks); i++) {
        const struct check_case *t = &checks[i];

        print_message("%s\n", t->name);
        assert_int_equal(zone_watermark_ok_free(zone, t->order, t->mark, ZONE_DMA32, t->flags, t->free), t->ok);
    }
    /* what a higher zone's request must leave alone */
    atomic_store(&zone->lowmem_reserve[ZONE_NORMAL], 50);
    assert_false(zone_watermark_ok_free(zone, 0, 100, ZONE_NORMAL, 0, 150));
    assert_true(zone_watermark_ok_free(zone, 0, 100, ZONE_NORMAL, 0, 151));
    /* highatomic pages are no free pages for others */
    atomic_store(&zone->nr_reserved_highatomic, 512);
    assert_false(zone_watermark_ok_free(zone, 0, 100, ZONE_DMA32, 0, 612));
    assert_true(zone_watermark_ok_free(zone, 0, 100, ZONE_DMA32, ALLOC_HIGHATOMIC, 101));
    test_machine_end(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_as_a_kernel), cmocka_unit_test(square_roots),    cmocka_unit_test(min_free_kbytes_rule),
        cmocka_unit_test(sysctl_setter),    cmocka_unit_test(watermark_check),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
