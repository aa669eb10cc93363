/* SPDX-License-Identifier: MIT */
/* kmalloc: size classes, types, large blocks, krealloc, ksize, failure. */
#include "tests/unit/testing.h"
#include "kmem/kmem.h"
#include "kmem/slub_priv.h"

static const struct core_code code = {.pressure = &pressure_none};

static const struct class_case {
    u64 bytes;
    gfp_t gfp;
    const char *cache; /* NULL: large */
    u64 usable;
} classes[] = {
    {1, 0, "kmalloc-8", 8},
    {8, 0, "kmalloc-8", 8},
    {9, 0, "kmalloc-16", 16},
    {17, 0, "kmalloc-32", 32},
    {33, 0, "kmalloc-64", 64},
    {65, 0, "kmalloc-96", 96},
    {96, 0, "kmalloc-96", 96},
    {97, 0, "kmalloc-128", 128},
    {129, 0, "kmalloc-192", 192},
    {192, 0, "kmalloc-192", 192},
    {193, 0, "kmalloc-256", 256},
    {256, 0, "kmalloc-256", 256},
    {257, 0, "kmalloc-512", 512},
    {513, 0, "kmalloc-1k", 1024},
    {1025, 0, "kmalloc-2k", 2048},
    {4096, 0, "kmalloc-4k", 4096},
    {4097, 0, "kmalloc-8k", 8192},
    {8192, 0, "kmalloc-8k", 8192},
    {8193, 0, NULL, 16384},
    {100000, 0, NULL, 131072},
    {4u << 20, 0, NULL, 4u << 20},
    {100, __GFP_ACCOUNT, "kmalloc-cg-128", 128},
    {100, __GFP_RECLAIMABLE, "kmalloc-rcl-128", 128},
    {100, __GFP_DMA, "dma-kmalloc-128", 128},
    /* DMA is stricter than reclaimable, that than accounting */
    {2000, __GFP_ACCOUNT | __GFP_RECLAIMABLE, "kmalloc-rcl-2k", 2048},
    {2000, __GFP_ACCOUNT | __GFP_RECLAIMABLE | __GFP_DMA, "dma-kmalloc-2k", 2048},
};

static void test_classes(void **state)
{
    struct machine *m = test_machine_kmem(NULL, &code);
    struct cpu *cpu = test_cpu(m);

    for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
        const struct class_case *t = &classes[i];
        gfp_t gfp = t->gfp & __GFP_DMA ? t->gfp : GFP_KERNEL | t->gfp;
        void *p = kmalloc(cpu, t->bytes, gfp);
        struct page *page = virt_to_slab(m, p);

        assert_non_null(p);
        assert_int_equal(ksize(m, p), t->usable);
        assert_int_equal(PageSlab(page), t->cache != NULL);
        if (t->cache)
            assert_string_equal(page->slab_cache->name, t->cache);
        else
            assert_true(page_has_type(page, PGTY_large_kmalloc));
        memset(p, 0x77, t->usable);
        /* the largest power of two that divides the class */
        assert_true(IS_ALIGNED((uintptr_t)p, MIN(t->usable & -t->usable, PAGE_SIZE)));
        assert_books(kmem_check, m);
        kfree(cpu, p);
    }
    assert_null(kmalloc(cpu, (4u << 20) + 1, GFP_KERNEL));
    assert_books(kmem_check, m);
    test_machine_end(m);
}

static void test_special(void **state)
{
    struct machine *m = test_machine_kmem(NULL, &code);
    struct cpu *cpu = test_cpu(m);
    static const char zero[300];
    char *p, *q;

    assert_ptr_equal(kmalloc(cpu, 0, GFP_KERNEL), ZERO_SIZE_PTR);
    assert_int_equal(ksize(m, ZERO_SIZE_PTR), 0);
    kfree(cpu, ZERO_SIZE_PTR);
    kfree(cpu, NULL);
    assert_null(kmalloc_array(cpu, 1ul << 33, 1ul << 31, GFP_KERNEL));
    p = kmalloc(cpu, 300, GFP_KERNEL);
    memset(p, 0xee, 300);
    kfree(cpu, p);
    assert_ptr_equal(q = kzalloc(cpu, 300, GFP_KERNEL), p);
    assert_memory_equal(q, zero, 300);
    kfree(cpu, q);
    test_machine_end(m);
}

static void test_krealloc(void **state)
{
    struct machine *m = test_machine_kmem(NULL, &code);
    struct cpu *cpu = test_cpu(m);
    char *p = krealloc(cpu, NULL, 10, GFP_KERNEL), *q;

    memcpy(p, "0123456789", 10);
    assert_ptr_equal(krealloc(cpu, p, 16, GFP_KERNEL), p); /* fits the class of 16 */
    q = krealloc(cpu, p, 17, GFP_KERNEL);
    assert_ptr_not_equal(q, p);
    assert_memory_equal(q, "0123456789", 10);
    assert_int_equal(ksize(m, q), 32);
    p = krealloc(cpu, q, 20000, GFP_KERNEL | __GFP_ZERO);
    assert_memory_equal(p, "0123456789", 10);
    assert_int_equal(p[32], 0);
    assert_int_equal(p[19999], 0);
    /* no memory: the old block stays */
    fail_arm(m, 1);
    assert_null(krealloc(cpu, p, 40000, GFP_KERNEL));
    assert_true(fail_injected(m));
    assert_memory_equal(p, "0123456789", 10);
    assert_ptr_equal(krealloc(cpu, p, 0, GFP_KERNEL), ZERO_SIZE_PTR);
    assert_books(kmem_check, m);
    test_machine_end(m);
}

static void test_failure(void **state)
{
    static const u64 sizes[] = {1, 100, 5000, 9000, 300000};
    struct machine *m = test_machine_kmem(NULL, &code);
    struct cpu *cpu = test_cpu(m);

    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        s64 pages = global_node_page_state(m, NR_SLAB_UNRECLAIMABLE);

        for_each_failing_allocation(m, nth)
        {
            void *p = kmalloc(cpu, sizes[i], GFP_KERNEL);

            /* a failure may be made good by a slab of lower order */
            if (fail_injected(m) && !p)
                assert_true(global_node_page_state(m, NR_SLAB_UNRECLAIMABLE) >= pages);
            else
                assert_non_null(p);
            kfree(cpu, p);
            assert_books(kmem_check, m);
        }
    }
    test_machine_end(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_special),
        cmocka_unit_test(test_krealloc),
        cmocka_unit_test(test_failure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
