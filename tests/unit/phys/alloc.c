/* SPDX-License-Identifier: MIT */
/* The page allocator on small machines: single pages, orders, lists, references, failure injection. */
#include "tests/unit/testing.h"
#include "phys/phys.h"

static void boot_and_books(void **state)
{
    struct machine *m = test_machine_phys(NULL);

    assert_int_equal(nr_free_pages(m), totalram_pages(m));
    assert_books(phys_check, m);
    test_machine_end(m);
}

static void alloc_free_every_order(void **state)
{
    struct machine *m = test_machine_phys(NULL);
    struct cpu *cpu = test_cpu(m);
    u64 before = nr_free_pages(m);

    for (unsigned int order = 0; order <= MAX_PAGE_ORDER; order++) {
        struct page *page = alloc_pages(cpu, GFP_KERNEL, order);

        assert_non_null(page);
        assert_int_equal(page_to_pfn_nr(m, page) & ((1ul << order) - 1), 0);
        assert_int_equal(nr_free_pages(m), before - (1ul << order));
        assert_int_equal(page_count(page), 1);
        assert_books(phys_check, m);
        __free_pages(cpu, page, order);
        assert_int_equal(nr_free_pages(m), before);
        assert_books(phys_check, m);
    }
    test_machine_end(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(boot_and_books),
        cmocka_unit_test(alloc_free_every_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
