/* SPDX-License-Identifier: MIT */
/*
 * Tables of an address space on a real page allocator, for every format: what is allocated, counted, locked and freed.
 * The mm is made by hand; VMAs, where a test needs some, are a list without an index.
 */
#include <pthread.h>
#include <sched.h>

#include "phys/page_alloc.h"
#include "phys/vmstat.h"
#include "tests/unit/testing.h"
#include "vm/pgtable.h"
#include "vm/pgtable_classic.h"

#define VA 0x10000000ull /* in every format: index 0 in the root, not 0 below */

struct fixture {
    struct machine *m;
    struct cpu *cpu;
    fmt_t f;
    struct vm vm;
    struct mm mm;
    struct vm_area_struct vma[4];
    s64 tables_at_start;
};

static s64 nr_tables(const struct fixture *x)
{
    return global_node_page_state(x->m, NR_PAGETABLE) - x->tables_at_start;
}

static struct fixture *start(enum pt_format_id format)
{
    struct fixture *x = calloc(1, sizeof(*x));
    struct machine_config c;

    test_config_of(&c, format, 64ull << 20, 1);
    c.nr_cpus = 2;
    x->m = test_machine_phys(&c);
    x->cpu = test_cpu(x->m);
    x->m->vm = &x->vm;
    x->f = pt_format_of(x->m);
    x->tables_at_start = global_node_page_state(x->m, NR_PAGETABLE);
    x->mm.m = x->m;
    spin_lock_init(&x->mm.page_table_lock, RANK_MM);
    assert_int_equal(pgd_alloc(x->cpu, &x->mm), 0);
    return x;
}

static void end(struct fixture *x)
{
    free_pgtables(x->cpu, &x->mm, 0, pt_task_size(x->f), 0, 0);
    pgd_free(x->cpu, &x->mm);
    assert_int_equal(nr_tables(x), 0);
    test_machine_end(x->m);
    free(x);
}

static void set_vmas(struct fixture *x, u32 nr, const va_t (*range)[2])
{
    x->mm.vmas.first = nr ? &x->vma[0] : NULL;
    for (u32 i = 0; i < nr; i++)
        x->vma[i] = (struct vm_area_struct){.vm_start = range[i][0],
                                            .vm_end = range[i][1],
                                            .vm_mm = &x->mm,
                                            .vm_next = i + 1 < nr ? &x->vma[i + 1] : NULL};
}

static void check(struct fixture *x)
{
    static struct check_report r;

    r.nr = 0;
    assert_int_equal(mm_pgtables_check(&x->mm, &r), nr_tables(x));
    for (u32 i = 0; i < r.nr && i < CHECK_KEPT; i++)
        print_error("%s\n", r.text[i]);
    assert_int_equal(r.nr, 0);
}

/* Tables that exist before anything is mapped, and those that one address adds. */
static s64 root_tables(fmt_t f)
{
    return f->root_rule == ROOT_PAE ? 5 : 1;
}

static s64 path_tables(fmt_t f)
{
    return f->root_level - 1;
}

/* Bytes of mm->pgtables_bytes per path and before it: levels 1 to 3 below the root. */
static s64 counted_path(fmt_t f)
{
    return (s64)PAGE_SIZE * MIN(path_tables(f), 3);
}

static s64 counted_roots(fmt_t f)
{
    return f->root_rule == ROOT_PAE ? 4 * (s64)PAGE_SIZE : 0;
}

static void for_each_format(void (*test)(struct fixture *x))
{
    for (u32 i = 0; i < NR_PT_FORMATS; i++) {
        struct fixture *x = start((enum pt_format_id)i);

        test(x);
        end(x);
    }
}

/* -- allocation and accounting ------------------------------------------------------------------------------------- */

static void one_page(struct fixture *x)
{
    const va_t range[][2] = {{VA, VA + 4096}};
    fmt_t f = x->f;
    struct pt_entry e;
    u32 leaf = 99;

    set_vmas(x, 1, range);
    assert_int_equal(nr_tables(x), root_tables(f));
    assert_int_equal(atomic_load(&x->mm.pgtables_bytes), counted_roots(f));
    e = pt_find_entry(&x->mm, VA, 1);
    assert_int_equal(e.level, f->root_level);
    e = pt_alloc_entry(x->cpu, &x->mm, VA, 1, &leaf);
    assert_non_null(e.slot);
    assert_int_equal(e.level, 1);
    assert_int_equal(leaf, 99);
    assert_int_equal(nr_tables(x), root_tables(f) + path_tables(f));
    assert_int_equal(atomic_load(&x->mm.pgtables_bytes), counted_roots(f) + counted_path(f));
    assert_ptr_equal(pt_alloc_entry(x->cpu, &x->mm, VA, 1, &leaf).slot, e.slot);
    assert_ptr_equal(pt_find_entry(&x->mm, VA, 1).slot, e.slot);
    assert_int_equal(nr_tables(x), root_tables(f) + path_tables(f));
    check(x);
    for (u32 level = 2; level <= f->root_level; level++) {
        e = pt_alloc_entry(x->cpu, &x->mm, VA, level, &leaf);
        assert_int_equal(e.level, level);
        assert_int_equal(virt_to_page(x->m, e.slot)->pt_level, level);
        assert_int_equal(virt_to_page(x->m, e.slot)->pt_va,
                         level == f->root_level ? 0 : VA & ~((1ull << f->shift[level + 1]) - 1));
    }
    free_pgtables(x->cpu, &x->mm, VA, VA + 4096, 0, 0);
    set_vmas(x, 0, NULL);
    assert_int_equal(nr_tables(x), root_tables(f));
    assert_int_equal(atomic_load(&x->mm.pgtables_bytes), counted_roots(f));
    check(x);
}

static void test_one_page(void **state)
{
    for_each_format(one_page);
}

static void locks(struct fixture *x)
{
    fmt_t f = x->f;
    u64 span = pt_size(f, 2);
    struct pt_entry a = pt_alloc_entry(x->cpu, &x->mm, VA, 1, NULL);
    struct pt_entry b = pt_alloc_entry(x->cpu, &x->mm, VA + 4096, 1, NULL);
    struct pt_entry c = pt_alloc_entry(x->cpu, &x->mm, VA + span, 1, NULL);
    spinlock_t *ptl, *again;

    assert_ptr_equal(pt_lockptr(&x->mm, a), pt_lockptr(&x->mm, b));
    assert_ptr_not_equal(pt_lockptr(&x->mm, a), pt_lockptr(&x->mm, c));
    for (u32 level = 3; level <= f->root_level; level++)
        assert_ptr_equal(pt_lockptr(&x->mm, pt_find_entry(&x->mm, VA, level)), &x->mm.page_table_lock);
    assert_ptr_equal(pte_offset_map_lock(x->cpu, &x->mm, VA, &ptl).slot, a.slot);
    assert_true(spin_is_locked(ptl));
    again = pt_lockptr(&x->mm, c);
    spin_lock_nested(x->cpu, again, 1);
    spin_unlock(x->cpu, again);
    pte_unmap_unlock(x->cpu, ptl);
    assert_false(spin_is_locked(ptl));
    assert_null(pte_offset_map_lock(x->cpu, &x->mm, VA + 64 * span, &ptl).slot);
}

static void huge_in_the_way(struct fixture *x)
{
    fmt_t f = x->f;

    for (u32 level = 2; level <= f->root_level; level++) {
        va_t va = 2 * pt_size(f, level);
        struct pt_entry e;
        u32 leaf = 99;

        if (!pt_leaf_allowed(f, level) || va > pt_task_size(f))
            continue;
        e = pt_alloc_entry(x->cpu, &x->mm, va, level, NULL);
        set_pte_at(f, e, mk_pte(f, level, PFN(pt_nr_pages(f, level)), PGPROT(PT_READ | PT_USER)));
        assert_null(pt_alloc_entry(x->cpu, &x->mm, va, 1, &leaf).slot);
        assert_int_equal(leaf, level);
        assert_ptr_equal(pt_find_entry(&x->mm, va + 4096, 1).slot, e.slot);
        ptep_get_and_clear(f, e);
    }
}

static void test_locks(void **state)
{
    for_each_format(locks);
}

static void test_huge_in_the_way(void **state)
{
    for_each_format(huge_in_the_way);
}

/* -- which tables go ----------------------------------------------------------------------------------------------- */

/*
 * Pages at a, b, c in one level-2 table's range, a and b in one level-1 table; n: its span.
 *     |a  b    |c       |
 * Freed with neighbours at floor and ceiling; how many level-1 tables stay.
 */
static void floor_ceiling(struct fixture *x)
{
    u64 n = pt_size(x->f, 2);
    va_t a = 4 * n, b = a + n / 2, c = a + n, stop = c + n;
    const struct {
        va_t start, end, floor, ceiling;
        s64 stay;
    } cases[] = {
        {b, b + 4096, a + 4096, c, 2}, /* a is a neighbour: the table is shared */
        {b, b + 4096, 0, b + 8192, 2}, /* one above in the same table */
        {a, b + 4096, 0, c, 1},        /* all of the first */
        {a, b + 4096, a, c, 1},        /* neighbours end exactly at the table */
        {a, b + 4096, a, c - 1, 2},    /* and one byte short */
        {c, c + 4096, b + 4096, 0, 1}, /* the second */
        {b, c + 4096, a + 4096, 0, 1}, /* across the border: only the second is free of neighbours */
        {a, stop, 0, 0, 0},
    };

    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        s64 before = nr_tables(x), left;

        pt_alloc_entry(x->cpu, &x->mm, a, 1, NULL);
        pt_alloc_entry(x->cpu, &x->mm, c, 1, NULL);
        left = nr_tables(x) - 2;
        free_pgtables(x->cpu, &x->mm, cases[i].start, cases[i].end, cases[i].floor, cases[i].ceiling);
        if (!cases[i].stay)
            assert_int_equal(nr_tables(x), root_tables(x->f));
        else if (nr_tables(x) - left != cases[i].stay)
            fail_msg("%s case %u: %d tables stay, expected %d", x->f->name, i, (int)(nr_tables(x) - left),
                     (int)cases[i].stay);
        free_pgtables(x->cpu, &x->mm, a, stop, 0, 0);
        assert_int_equal(nr_tables(x), before);
    }
}

static void test_floor_ceiling(void **state)
{
    for_each_format(floor_ceiling);
}

/* Both ends of user addresses, and a sparse middle. */
static void sparse(struct fixture *x)
{
    va_t top = pt_task_size(x->f) - 4096;
    const va_t range[][2] = {{0, 4096}, {VA, VA + 4096}, {top, top + 4096}};

    set_vmas(x, 3, range);
    for (u32 i = 0; i < 3; i++)
        assert_non_null(pt_alloc_entry(x->cpu, &x->mm, range[i][0], 1, NULL).slot);
    check(x);
    free_pgtables(x->cpu, &x->mm, 0, pt_task_size(x->f), 0, pt_task_size(x->f));
    assert_int_equal(nr_tables(x), root_tables(x->f));
    set_vmas(x, 0, NULL);
    check(x);
}

static void test_sparse(void **state)
{
    for_each_format(sparse);
}

/* -- failures ------------------------------------------------------------------------------------------------------ */

static void failures(struct fixture *x)
{
    s64 before = nr_tables(x);
    u32 nr = 0;

    for_each_failing_allocation(x->m, nth)
    {
        u32 leaf = 99;
        struct pt_entry e = pt_alloc_entry(x->cpu, &x->mm, VA, 1, &leaf);

        if (fail_injected(x->m)) {
            assert_null(e.slot);
            assert_int_equal(leaf, 0);
            assert_int_equal(nr_tables(x), before + (s64)nth - 1); /* those before the failing one stay */
            nr++;
        } else {
            assert_non_null(e.slot);
        }
        free_pgtables(x->cpu, &x->mm, VA, VA + 4096, 0, 0);
        assert_int_equal(nr_tables(x), before);
    }
    assert_int_equal(nr, path_tables(x->f));
    for_each_failing_allocation(x->m, nth)
    {
        struct mm other = {.m = x->m};
        int err = pgd_alloc(x->cpu, &other);

        if (fail_injected(x->m)) {
            assert_int_equal(err, -ENOMEM);
        } else {
            assert_int_equal(err, 0);
            pgd_free(x->cpu, &other);
        }
        assert_int_equal(nr_tables(x), before);
    }
}

static void test_failures(void **state)
{
    for_each_format(failures);
}

/* -- two threads populate the same range --------------------------------------------------------------------------- */

struct racer {
    struct fixture *x;
    struct cpu *cpu;
    _Atomic u32 *arrived;
};

#define RACE_TABLES 256

static void *race(void *arg)
{
    struct racer *r = arg;

    for (u32 i = 0; i < RACE_TABLES; i++) {
        atomic_fetch_add(r->arrived, 1);
        for (u32 spins = 0; atomic_load(r->arrived) < 2 * (i + 1); spins++)
            if (spins > 10000)
                sched_yield(); /* both start at the same moment, unless the host has one processor for us */
        if (!pt_alloc_entry(r->cpu, &r->x->mm, VA + i * pt_size(r->x->f, 2), 1, NULL).slot)
            return r;
    }
    return NULL;
}

static void populate_race(struct fixture *x)
{
    const va_t range[][2] = {{VA, VA + RACE_TABLES * pt_size(x->f, 2)}};
    _Atomic u32 arrived = 0;
    struct racer racer[2];
    pthread_t thread[2];
    void *failed;

    set_vmas(x, 1, range);
    for (u32 i = 0; i < 2; i++) {
        racer[i] = (struct racer){x, i ? test_own_cpu(x->m, i, x->cpu->code) : x->cpu, &arrived};
        pthread_create(&thread[i], NULL, race, &racer[i]);
    }
    for (u32 i = 0; i < 2; i++) {
        pthread_join(thread[i], &failed);
        assert_null(failed);
    }
    check(x);
    free_pgtables(x->cpu, &x->mm, VA, range[0][1], 0, 0);
    set_vmas(x, 0, NULL);
}

static void test_populate_race(void **state)
{
    for_each_format(populate_race);
}

/* -- the classic names --------------------------------------------------------------------------------------------- */

static void classic(struct fixture *x)
{
    fmt_t f = x->f;
    struct pt_entry pte = pt_alloc_entry(x->cpu, &x->mm, VA, 1, NULL);
    struct pt_entry pgd = pgd_offset(&x->mm, VA), p4d = p4d_offset(&x->mm, pgd, VA), pud = pud_offset(&x->mm, p4d, VA);
    struct pt_entry pmd = pmd_offset(&x->mm, pud, VA);

    assert_int_equal(pgd.level, f->levels);
    assert_int_equal(p4d.level, MIN(f->levels, 4));
    assert_int_equal(pud.level, MIN(f->levels, 3));
    assert_int_equal(pmd.level, 2);
    assert_int_equal(p4d.slot == pgd.slot, f->levels <= 4);
    assert_int_equal(pud.slot == p4d.slot, f->levels <= 3);
    assert_int_equal(pmd.slot == pud.slot, f->levels <= 2);
    assert_ptr_equal(pte_offset_map(&x->mm, pmd, VA).slot, pte.slot);
    assert_true(pmd_present(&x->mm, pmd));
    assert_false(pmd_none(&x->mm, pmd));
    assert_false(pmd_leaf(&x->mm, pmd));
    assert_false(pmd_bad(&x->mm, pmd));
    assert_int_equal(pmd_shift(&x->mm), f->shift[2]);
    assert_int_equal(pgd_shift(&x->mm), f->shift[f->levels]);
    assert_int_equal(pmd_addr_end(&x->mm, VA + 1, ~0ull), VA + pt_size(f, 2));
    if (f->levels > 2)
        assert_true(pmd_none(&x->mm, pmd_offset(&x->mm, pud, VA + pt_size(f, 2))));
}

static void test_classic(void **state)
{
    for_each_format(classic);
}

/* -- the checker finds what is wrong ------------------------------------------------------------------------------- */

static void expect_finding(struct fixture *x, const char *invariant)
{
    static struct check_report r;

    r.nr = 0;
    mm_pgtables_check(&x->mm, &r);
    assert_int_not_equal(r.nr, 0);
    if (strncmp(r.text[0], invariant, 2))
        fail_msg("%s: expected %s, found \"%s\"", x->f->name, invariant, r.text[0]);
}

static void checker(struct fixture *x)
{
    const va_t range[][2] = {{VA, VA + 4096}};
    fmt_t f = x->f;
    struct pt_entry e = pt_alloc_entry(x->cpu, &x->mm, VA, 1, NULL);
    struct page *page = virt_to_page(x->m, e.slot);
    pte_t good = mk_pte(f, 1, PFN(5), PGPROT(PT_READ | PT_USER));

    set_vmas(x, 1, range);
    set_pte_at(f, e, good);
    check(x);
    page->pt_mm = NULL;
    expect_finding(x, "P1");
    page->pt_mm = &x->mm;
    page->pt_level = 2;
    expect_finding(x, "P1");
    page->pt_level = 1;
    virt_to_page(x->m, pt_find_entry(&x->mm, VA, 2).slot)->pt_nr_entries++;
    expect_finding(x, "P2");
    virt_to_page(x->m, pt_find_entry(&x->mm, VA, 2).slot)->pt_nr_entries--;
    atomic_fetch_add(&x->mm.pgtables_bytes, 1);
    expect_finding(x, "P3");
    atomic_fetch_sub(&x->mm.pgtables_bytes, 1);
    if (f->reserved_leaf[1]) {
        set_pte_at(f, e, PTE(good.v | (f->reserved_leaf[1] & -f->reserved_leaf[1])));
        expect_finding(x, "P4");
        set_pte_at(f, e, good);
    }
    set_vmas(x, 0, NULL);
    expect_finding(x, "P5");
    set_vmas(x, 1, range);
    set_pte_at(f, pt_entry_next(f, e, 1), good);
    expect_finding(x, "P6");
    ptep_get_and_clear(f, pt_entry_next(f, e, 1));
    check(x);
    ptep_get_and_clear(f, e);
    set_vmas(x, 0, NULL);
}

static void test_checker(void **state)
{
    for_each_format(checker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_page),      cmocka_unit_test(test_locks),   cmocka_unit_test(test_huge_in_the_way),
        cmocka_unit_test(test_floor_ceiling), cmocka_unit_test(test_sparse),  cmocka_unit_test(test_failures),
        cmocka_unit_test(test_populate_race), cmocka_unit_test(test_classic), cmocka_unit_test(test_checker),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
