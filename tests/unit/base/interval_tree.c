/* SPDX-License-Identifier: MIT */
#include "base_test.h"

#include "base/interval_tree.h"

/*
 *          0    5    10   15   20   25
 *   a      |----|                            [0,5]
 *   b         |-----------|                  [3,15]
 *   c                |                       [10,10]
 *   d                          |----|        [20,25]
 */
static void test_picture(void **state)
{
    struct interval_tree_node n[] = {
        {.start = 0, .last = 5}, {.start = 3, .last = 15}, {.start = 10, .last = 10}, {.start = 20, .last = 25}};
    static const struct {
        const char *name;
        u64 start, last;
        int expect[5];
    } table[] = {
        {"all", 0, ~(u64)0, {0, 1, 2, 3, -1}}, {"touches the end of a", 5, 9, {0, 1, -1}},
        {"one point", 10, 10, {1, 2, -1}},     {"the gap before d", 16, 19, {-1}},
        {"up to d's first", 16, 20, {3, -1}},  {"after all", 26, 99, {-1}},
    };
    struct interval_tree_root root = INTERVAL_TREE_ROOT;
    struct interval_tree_node *found;
    u32 i, k;

    assert_true(interval_tree_empty(&root));
    assert_null(interval_tree_iter_first(&root, 0, ~(u64)0));
    for (i = ARRAY_SIZE(n); i-- > 0;)
        interval_tree_insert(&n[i], &root);
    assert_false(interval_tree_empty(&root));
    for (i = 0; i < ARRAY_SIZE(table); i++) {
        k = 0;
        interval_tree_foreach (found, &root, table[i].start, table[i].last)
            if (table[i].expect[k] < 0 || found != &n[table[i].expect[k++]])
                fail_msg("%s: unexpected [%d,%d]", table[i].name, (int)found->start, (int)found->last);
        if (table[i].expect[k] != -1)
            fail_msg("%s: only %u found", table[i].name, k);
    }
}

static void check_queries(struct interval_tree_root *root, struct interval_tree_node *nodes, const bool *in, u32 nr,
                          u64 start, u64 last)
{
    struct interval_tree_node *found;
    u32 i, expect = 0, got = 0;
    u64 before = 0;

    for (i = 0; i < nr; i++)
        expect += in[i] && nodes[i].start <= last && nodes[i].last >= start;
    interval_tree_foreach (found, root, start, last) {
        assert_true(in[found - nodes]);
        assert_true(found->start <= last && found->last >= start);
        assert_true(found->start >= before);
        before = found->start;
        got++;
    }
    assert_int_equal(got, expect);
}

static void test_random(void **state)
{
    enum { NR = 80, STEPS = 8000 };
    static struct interval_tree_node nodes[NR];
    bool in[NR] = {false};
    struct interval_tree_root root = INTERVAL_TREE_ROOT;
    struct check_report r;
    u64 seed = test_seed(), a, b;
    u32 step, i;

    for (step = 0; step < STEPS; step++) {
        i = (u32)(rnd(&seed) % NR);
        if (in[i]) {
            interval_tree_remove(&nodes[i], &root);
        } else {
            nodes[i].start = rnd(&seed) % 200;
            nodes[i].last = nodes[i].start + rnd(&seed) % (rnd(&seed) % 8 ? 5 : 200);
            interval_tree_insert(&nodes[i], &root);
        }
        in[i] = !in[i];
        r.nr = 0;
        interval_tree_check(&root, &r);
        assert_clean(&r);
        a = rnd(&seed) % 220;
        b = a + rnd(&seed) % 40;
        check_queries(&root, nodes, in, NR, a, b);
        check_queries(&root, nodes, in, NR, a, a);
    }
}

static void test_ends_of_the_range(void **state)
{
    struct interval_tree_node all = {.start = 0, .last = ~(u64)0}, end = {.start = ~(u64)0, .last = ~(u64)0};
    struct interval_tree_root root = INTERVAL_TREE_ROOT;

    interval_tree_insert(&all, &root);
    interval_tree_insert(&end, &root);
    assert_ptr_equal(interval_tree_iter_first(&root, ~(u64)0, ~(u64)0), &all);
    assert_ptr_equal(interval_tree_iter_next(&all, ~(u64)0, ~(u64)0), &end);
    assert_null(interval_tree_iter_next(&end, ~(u64)0, ~(u64)0));
    assert_null(interval_tree_iter_next(&all, 0, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_picture),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_ends_of_the_range),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
