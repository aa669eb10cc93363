/* SPDX-License-Identifier: MIT */
#include "base_test.h"

#include "base/rbtree.h"

struct item {
    struct rb_node rb;
    u32 key;
    bool in;
    u32 size; /* augmented: nodes in the subtree */
};

static bool item_less(const struct rb_node *a, const struct rb_node *b)
{
    return rb_entry(a, struct item, rb)->key < rb_entry(b, struct item, rb)->key;
}

static u32 size_of(const struct rb_node *n)
{
    return n ? rb_entry(n, struct item, rb)->size : 0;
}

static bool update_size(struct rb_node *n)
{
    struct item *i = rb_entry(n, struct item, rb);
    u32 size = 1 + size_of(n->rb_left) + size_of(n->rb_right);
    bool changed = i->size != size;

    i->size = size;
    return changed;
}

static void insert_sized(struct item *i, struct rb_root *root)
{
    struct rb_node **link = &root->rb_node, *parent = NULL;

    while (*link) {
        parent = *link;
        link = item_less(&i->rb, parent) ? &parent->rb_left : &parent->rb_right;
    }
    rb_link_node(&i->rb, parent, link);
    rb_insert_augmented(&i->rb, root, update_size);
}

static int height(const struct rb_node *n)
{
    int l, r;

    if (!n)
        return 0;
    l = height(n->rb_left);
    r = height(n->rb_right);
    return 1 + MAX(l, r);
}

static void check_clean(struct rb_root *root)
{
    struct check_report r = {0};

    rb_check(root, &r);
    assert_clean(&r);
}

/* Keys 0..n-1 in ascending order: an AVL tree, so the height is at most 1.44 log2(n + 2). */
static void test_ascending_is_avl(void **state)
{
    enum { N = 1023 };
    static struct item items[N];
    struct rb_root root = RB_ROOT;
    struct rb_node *n;
    u32 i;

    for (i = 0; i < N; i++) {
        items[i].key = i;
        rb_add(&items[i].rb, &root, item_less);
    }
    check_clean(&root);
    assert_int_equal(height(root.rb_node), 10);
    for (i = 0, n = rb_first(&root); n; n = rb_next(n), i++)
        assert_int_equal(rb_entry(n, struct item, rb)->key, i);
    assert_int_equal(i, N);
    for (n = rb_last(&root); n; n = rb_prev(n))
        assert_int_equal(rb_entry(n, struct item, rb)->key, --i);
    assert_int_equal(i, 0);
}

static void test_empty_and_one(void **state)
{
    struct rb_root root = RB_ROOT;
    struct item one = {.key = 7};

    assert_true(RB_EMPTY_ROOT(&root));
    assert_null(rb_first(&root));
    assert_null(rb_last(&root));
    assert_null(rb_first_postorder(&root));
    RB_CLEAR_NODE(&one.rb);
    assert_true(RB_EMPTY_NODE(&one.rb));
    rb_add(&one.rb, &root, item_less);
    assert_false(RB_EMPTY_NODE(&one.rb));
    assert_ptr_equal(rb_first(&root), &one.rb);
    assert_ptr_equal(rb_last(&root), &one.rb);
    assert_null(rb_next(&one.rb));
    assert_null(rb_prev(&one.rb));
    rb_erase(&one.rb, &root);
    assert_true(RB_EMPTY_ROOT(&root));
}

static void test_equal_keys_keep_order(void **state)
{
    struct item items[50] = {0};
    struct rb_root root = RB_ROOT;
    struct rb_node *n;
    u32 i;

    for (i = 0; i < ARRAY_SIZE(items); i++)
        rb_add(&items[i].rb, &root, item_less);
    for (i = 0, n = rb_first(&root); n; n = rb_next(n), i++)
        assert_ptr_equal(rb_entry(n, struct item, rb), &items[i]);
}

static void test_replace(void **state)
{
    struct item items[31] = {0}, other;
    struct rb_root root = RB_ROOT;
    struct rb_node *n;
    u32 i, k;

    for (i = 0; i < ARRAY_SIZE(items); i++) {
        items[i].key = i;
        rb_add(&items[i].rb, &root, item_less);
    }
    for (k = 0; k < ARRAY_SIZE(items); k++) {
        other.key = k;
        rb_replace_node(&items[k].rb, &other.rb, &root);
        check_clean(&root);
        for (i = 0, n = rb_first(&root); n; n = rb_next(n), i++)
            assert_ptr_equal(n, i == k ? &other.rb : &items[i].rb);
        rb_replace_node(&other.rb, &items[k].rb, &root);
    }
}

static void test_cached(void **state)
{
    struct rb_root_cached root = RB_ROOT_CACHED;
    struct item items[3] = {{.key = 2}, {.key = 1}, {.key = 3}};

    rb_link_node(&items[0].rb, NULL, &root.rb_root.rb_node);
    rb_insert_color_cached(&items[0].rb, &root, true);
    rb_link_node(&items[1].rb, &items[0].rb, &items[0].rb.rb_left);
    rb_insert_color_cached(&items[1].rb, &root, true);
    rb_link_node(&items[2].rb, &items[0].rb, &items[0].rb.rb_right);
    rb_insert_color_cached(&items[2].rb, &root, false);
    assert_ptr_equal(rb_first_cached(&root), &items[1].rb);
    rb_erase_cached(&items[1].rb, &root);
    assert_ptr_equal(rb_first_cached(&root), &items[0].rb);
    rb_erase_cached(&items[2].rb, &root);
    rb_erase_cached(&items[0].rb, &root);
    assert_null(rb_first_cached(&root));
}

static void test_postorder_teardown(void **state)
{
    struct rb_root root = RB_ROOT;
    struct item *pos, *next;
    u64 seed = 5;
    int i, n = 0;

    for (i = 0; i < 200; i++) {
        pos = calloc(1, sizeof(*pos));
        pos->key = (u32)rnd(&seed);
        rb_add(&pos->rb, &root, item_less);
    }
    rbtree_postorder_for_each_entry_safe (pos, next, &root, rb) {
        free(pos); /* children come first: nobody looks at it again */
        n++;
    }
    assert_int_equal(n, 200);
}

static void check_sizes(struct rb_root *root)
{
    struct rb_node *n;

    for (n = rb_first(root); n; n = rb_next(n))
        assert_int_equal(size_of(n), 1 + size_of(n->rb_left) + size_of(n->rb_right));
}

/* Random insertions and erasures of a few keys, so that every small shape comes up; checked after each step. */
static void test_random(void **state)
{
    enum { KEYS = 60, STEPS = 20000 };
    struct item items[KEYS] = {0};
    struct rb_root root = RB_ROOT;
    struct rb_node *n;
    u64 seed = test_seed();
    u32 i, in = 0, step, grow;

    for (i = 0; i < KEYS; i++)
        items[i].key = i;
    for (step = 0; step < STEPS; step++) {
        grow = step / 500 % 4; /* phases: balanced, growing, balanced, shrinking */
        i = (u32)(rnd(&seed) % KEYS);
        if (!items[i].in && (grow != 3 || rnd(&seed) % 4 == 0)) {
            insert_sized(&items[i], &root);
            items[i].in = true;
            in++;
        } else if (items[i].in && (grow != 1 || rnd(&seed) % 4 == 0)) {
            rb_erase_augmented(&items[i].rb, &root, update_size);
            items[i].in = false;
            in--;
        }
        check_clean(&root);
        check_sizes(&root);
        assert_int_equal(size_of(root.rb_node), in);
        for (i = 0, n = rb_first(&root); n; n = rb_next(n), i++) {
            for (; !items[i].in; i++)
                ;
            assert_int_equal(rb_entry(n, struct item, rb)->key, i);
        }
    }
}

/* The checker sees a wrong parity, parent and leaf rank. */
static void test_checker(void **state)
{
    struct item items[7] = {0};
    struct rb_root root = RB_ROOT;
    struct check_report r = {0};
    u32 i;

    for (i = 0; i < ARRAY_SIZE(items); i++) {
        items[i].key = i;
        rb_add(&items[i].rb, &root, item_less);
    }
    items[1].rb.parent_parity ^= 1;
    rb_check(&root, &r);
    assert_true(r.nr > 0);
    items[1].rb.parent_parity ^= 1;
    r.nr = 0;
    items[0].rb.parent_parity = (uintptr_t)&items[6].rb;
    rb_check(&root, &r);
    assert_true(r.nr > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ascending_is_avl),
        cmocka_unit_test(test_empty_and_one),
        cmocka_unit_test(test_equal_keys_keep_order),
        cmocka_unit_test(test_replace),
        cmocka_unit_test(test_cached),
        cmocka_unit_test(test_postorder_teardown),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_checker),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
