/* SPDX-License-Identifier: MIT */
#include "base_test.h"

#include <pthread.h>

static struct test_cpu t = {.cpu = {.code = &test_code}};
#define CPU (&t.cpu)

static void check_clean(struct xarray *xa)
{
    struct check_report r = {0};

    xa_check(xa, &r);
    assert_clean(&r);
}

static int setup(void **state)
{
    t.nodes = (struct node_source){0};
    return 0;
}

static int nothing_leaked(void **state)
{
    return t.nodes.live != 0;
}

static void *entry_of(u64 v)
{
    return xa_mk_value(v & (~(u64)0 >> 1));
}

static void test_values(void **state)
{
    assert_true(xa_is_value(xa_mk_value(0)));
    assert_int_equal(xa_to_value(xa_mk_value(12345)), 12345);
    assert_true(xa_to_value(xa_mk_value(~(u64)0 >> 1)) == ~(u64)0 >> 1);
    assert_false(xa_is_value(&t));
    assert_int_equal(xa_err(ERR_PTR(-ENOMEM)), -ENOMEM);
    assert_int_equal(xa_err(xa_mk_value(1)), 0);
}

/* Nodes in use after storing at each set of indices: the tree is never deeper than needed. */
static void test_shape(void **state)
{
    static const struct {
        const char *name;
        u64 index[3];
        int nr, nodes;
    } table[] = {
        {"index 0 needs no node", {0}, 1, 0},
        {"63: one node", {63}, 1, 1},
        {"64: two levels", {64}, 1, 2},
        {"0 and 64: two leaves and a root", {0, 64}, 2, 3},
        {"0 and 65535: three levels, two paths", {0, 65535}, 2, 5},
        {"the last index: eleven levels", {~(u64)0}, 1, 11},
        {"both ends", {0, ~(u64)0}, 2, 21},
        {"neighbours share all", {4096, 4097, 4100}, 3, 3},
    };
    struct xarray xa;
    u32 i;
    int k;

    for (i = 0; i < ARRAY_SIZE(table); i++) {
        xa_init(&xa, RANK_I_PAGES);
        for (k = 0; k < table[i].nr; k++) {
            assert_null(xa_store(CPU, &xa, table[i].index[k], entry_of((u64)k), 0));
            check_clean(&xa);
        }
        if (t.nodes.live != table[i].nodes)
            fail_msg("%s: %ld nodes, not %d", table[i].name, t.nodes.live, table[i].nodes);
        for (k = 0; k < table[i].nr; k++)
            assert_ptr_equal(xa_load(&xa, table[i].index[k]), entry_of((u64)k));
        for (k = table[i].nr; k-- > 0;) {
            assert_ptr_equal(xa_erase(CPU, &xa, table[i].index[k]), entry_of((u64)k));
            check_clean(&xa);
        }
        assert_true(xa_empty(&xa));
        assert_int_equal(t.nodes.live, 0);
    }
}

/* Erasing the far entry folds the tree back into the head. */
static void test_collapses(void **state)
{
    struct xarray xa = {0};

    xa_store(CPU, &xa, 0, entry_of(1), 0);
    xa_set_mark(CPU, &xa, 0, XA_MARK_1);
    xa_store(CPU, &xa, ~(u64)0, entry_of(2), 0);
    assert_int_equal(t.nodes.live, 21);
    xa_erase(CPU, &xa, ~(u64)0);
    assert_int_equal(t.nodes.live, 0);
    assert_ptr_equal(xa_load(&xa, 0), entry_of(1));
    assert_true(xa_get_mark(&xa, 0, XA_MARK_1));
    check_clean(&xa);
    xa_erase(CPU, &xa, 0);
    assert_false(xa_marked(&xa, XA_MARK_1));
}

static void test_store_insert_cmpxchg(void **state)
{
    struct xarray xa = {0};
    void *a = entry_of(1), *b = entry_of(2);

    assert_null(xa_store(CPU, &xa, 1000, a, 0));
    assert_ptr_equal(xa_store(CPU, &xa, 1000, b, 0), a);
    assert_int_equal(xa_insert(CPU, &xa, 1000, a, 0), -EBUSY);
    assert_int_equal(xa_insert(CPU, &xa, 1001, a, 0), 0);
    assert_ptr_equal(xa_cmpxchg(CPU, &xa, 1000, a, NULL, 0), b); /* not the old one: nothing happens */
    assert_ptr_equal(xa_load(&xa, 1000), b);
    assert_ptr_equal(xa_cmpxchg(CPU, &xa, 1000, b, a, 0), b);
    assert_ptr_equal(xa_load(&xa, 1000), a);
    assert_ptr_equal(xa_cmpxchg(CPU, &xa, 1000, a, NULL, 0), a);
    assert_null(xa_load(&xa, 1000));
    assert_null(xa_erase(CPU, &xa, 1000));
    xa_lock(CPU, &xa);
    assert_int_equal(__xa_insert(CPU, &xa, 5, b, 0), 0);
    assert_int_equal(__xa_insert(CPU, &xa, 5, a, 0), -EBUSY);
    assert_ptr_equal(__xa_cmpxchg(CPU, &xa, 5, b, a, 0), b);
    xa_unlock(CPU, &xa);
    check_clean(&xa);
    xa_destroy(CPU, &xa);
}

static void test_marks(void **state)
{
    struct xarray xa = {0};
    u64 index = 0;

    xa_store(CPU, &xa, 5, entry_of(5), 0);
    xa_store(CPU, &xa, 70000, entry_of(7), 0);
    xa_set_mark(CPU, &xa, 6, XA_MARK_0); /* nothing there */
    assert_false(xa_marked(&xa, XA_MARK_0));
    xa_set_mark(CPU, &xa, 70000, XA_MARK_0);
    check_clean(&xa);
    assert_true(xa_marked(&xa, XA_MARK_0));
    assert_true(xa_get_mark(&xa, 70000, XA_MARK_0));
    assert_false(xa_get_mark(&xa, 5, XA_MARK_0));
    assert_false(xa_get_mark(&xa, 70000, XA_MARK_1));
    assert_ptr_equal(xa_find(&xa, &index, ~(u64)0, XA_MARK_0), entry_of(7));
    assert_int_equal(index, 70000);
    xa_store(CPU, &xa, 70000, entry_of(8), 0); /* replacing keeps the mark */
    assert_true(xa_get_mark(&xa, 70000, XA_MARK_0));
    xa_set_mark(CPU, &xa, 70000, XA_MARK_2);
    xa_lock(CPU, &xa);
    __xa_init_marks(&xa, 70000);
    xa_unlock(CPU, &xa);
    assert_false(xa_marked(&xa, XA_MARK_0) || xa_marked(&xa, XA_MARK_2));
    xa_set_mark(CPU, &xa, 5, XA_MARK_0);
    xa_erase(CPU, &xa, 5);
    xa_store(CPU, &xa, 5, entry_of(1), 0); /* erasing dropped it */
    assert_false(xa_get_mark(&xa, 5, XA_MARK_0));
    xa_set_mark(CPU, &xa, 5, XA_MARK_1);
    xa_clear_mark(CPU, &xa, 5, XA_MARK_1);
    assert_false(xa_marked(&xa, XA_MARK_1));
    check_clean(&xa);
    xa_destroy(CPU, &xa);
}

static void test_find(void **state)
{
    static const u64 at[] = {0, 1, 63, 64, 4095, 4096, 1ull << 40, ~0ull - 1, ~0ull};
    struct xarray xa = {0};
    void *entry;
    u64 index;
    u32 i = 0;

    for (i = 0; i < ARRAY_SIZE(at); i++)
        xa_store(CPU, &xa, at[i], entry_of(i), 0);
    i = 0;
    xa_for_each (&xa, index, entry) {
        assert_true(index == at[i]);
        assert_ptr_equal(entry, entry_of(i++));
    }
    assert_int_equal(i, ARRAY_SIZE(at));
    index = 65;
    assert_null(xa_find(&xa, &index, 4094, XA_PRESENT));
    assert_int_equal(index, 65); /* untouched */
    assert_ptr_equal(xa_find(&xa, &index, 4095, XA_PRESENT), entry_of(4));
    assert_int_equal(index, 4095);
    index = ~(u64)0;
    assert_null(xa_find_after(&xa, &index, ~(u64)0, XA_PRESENT));
    i = 0;
    xa_for_each_range (&xa, index, entry, 1, 64)
        i++;
    assert_int_equal(i, 3);
    xa_for_each (&xa, index, entry)
        xa_erase(CPU, &xa, index); /* allowed while walking */
    assert_true(xa_empty(&xa));
}

/* Fail each allocation of a store in turn: the array is as before and nothing leaks. */
static void test_no_memory(void **state)
{
    static const u64 at[] = {1, 64, 100000, 1ull << 50, ~0ull};
    struct xarray xa = {0};
    long live, n;
    u32 i;

    xa_store(CPU, &xa, 0, entry_of(99), 0);
    for (i = 0; i < ARRAY_SIZE(at); i++) {
        for (n = 1;; n++) {
            live = t.nodes.live;
            t.nodes.fail_at = n;
            if (xa_store(CPU, &xa, at[i], entry_of(i), 0) != ERR_PTR(-ENOMEM))
                break;
            assert_int_equal(t.nodes.live, live);
            assert_null(xa_load(&xa, at[i]));
            check_clean(&xa);
            xa_lock(CPU, &xa);
            t.nodes.fail_at = n;
            assert_ptr_equal(__xa_store(CPU, &xa, at[i], entry_of(i), 0), ERR_PTR(-ENOMEM));
            xa_unlock(CPU, &xa);
            assert_int_equal(t.nodes.live, live);
            check_clean(&xa);
        }
        assert_int_equal(n, t.nodes.live - live + 1); /* every node was asked for once */
        t.nodes.fail_at = 0;
    }
    for (i = 0; i < ARRAY_SIZE(at); i++)
        assert_ptr_equal(xa_load(&xa, at[i]), entry_of(i));
    xa_destroy(CPU, &xa);
}

/* -- random operations against a sorted table ---------------------------------------------------------------------- */

#define MODEL_SIZE 300

struct model {
    u64 index[MODEL_SIZE]; /* candidates, ascending */
    void *entry[MODEL_SIZE];
    u32 marks[MODEL_SIZE];
};

/* Indices in clusters of all sizes: dense ones, some far away. */
static int by_index(const void *a, const void *b)
{
    u64 x = *(const u64 *)a, y = *(const u64 *)b;

    return x < y ? -1 : x > y;
}

static void model_init(struct model *m, u64 *seed)
{
    u32 i, shift;

    memset(m, 0, sizeof(*m));
    for (i = 0; i < MODEL_SIZE; i++) {
        shift = (u32)(rnd(seed) % 3 ? rnd(seed) % 14 : rnd(seed) % 64);
        m->index[i] = rnd(seed) >> (63 - shift);
    }
    qsort(m->index, MODEL_SIZE, sizeof(u64), by_index);
    for (i = 1; i < MODEL_SIZE; i++)
        if (m->index[i] <= m->index[i - 1])
            m->index[i] = m->index[i - 1] + 1;
}

static void model_compare(struct model *m, struct xarray *xa, xa_mark_t mark)
{
    u64 index = 0;
    void *entry = xa_find(xa, &index, ~(u64)0, mark);
    u32 i;

    for (i = 0; i < MODEL_SIZE; i++) {
        if (!m->entry[i] || (mark != XA_PRESENT && !(m->marks[i] >> mark & 1)))
            continue;
        assert_ptr_equal(entry, m->entry[i]);
        assert_true(index == m->index[i]);
        entry = xa_find_after(xa, &index, ~(u64)0, mark);
    }
    assert_null(entry);
}

static void model_step(struct model *m, struct xarray *xa, u64 *seed, u32 erase_percent)
{
    u32 i = (u32)(rnd(seed) % MODEL_SIZE), mark = (u32)(rnd(seed) % XA_MAX_MARKS);
    void *entry = rnd(seed) % 2 ? entry_of(rnd(seed)) : (void *)(uintptr_t)(rnd(seed) >> 16 << 3 | 1ull << 40);

    switch (rnd(seed) % 4) {
    case 0:
    case 1:
        if (rnd(seed) % 100 < erase_percent) {
            assert_ptr_equal(xa_erase(CPU, xa, m->index[i]), m->entry[i]);
            m->entry[i] = NULL;
            m->marks[i] = 0;
        } else {
            assert_ptr_equal(xa_store(CPU, xa, m->index[i], entry, 0), m->entry[i]);
            m->entry[i] = entry;
        }
        break;
    case 2:
        xa_set_mark(CPU, xa, m->index[i], mark);
        if (m->entry[i])
            m->marks[i] |= 1u << mark;
        break;
    default:
        xa_clear_mark(CPU, xa, m->index[i], mark);
        m->marks[i] &= ~(1u << mark);
    }
    assert_ptr_equal(xa_load(xa, m->index[i]), m->entry[i]);
    assert_int_equal(xa_get_mark(xa, m->index[i], mark), m->marks[i] >> mark & 1);
}

static void test_random(void **state)
{
    static struct model m;
    struct xarray xa = {0};
    u64 seed = test_seed();
    int round, step;

    for (round = 0; round < 8; round++) {
        model_init(&m, &seed);
        for (step = 0; step < 3000; step++) {
            model_step(&m, &xa, &seed, step / 500 % 2 ? 90 : 20);
            if (step % 50 == 0) {
                check_clean(&xa);
                model_compare(&m, &xa, step / 50 % 4 == 3 ? XA_PRESENT : (xa_mark_t)(step / 50 % 4));
            }
        }
        xa_destroy(CPU, &xa);
        assert_int_equal(t.nodes.live, 0);
    }
}

/* -- readers without the lock while a writer grows and folds the tree ---------------------------------------------- */

/* Nodes are kept: as in a machine, the memory of a freed node stays mapped, but it is reused at once. */
static struct xa_node pool_nodes[64];
static u64 pool_used;

static struct xa_node *pool_node_alloc(struct cpu *cpu, u32 gfp)
{
    u64 bit = (u64)__builtin_ctzll(~pool_used);
    struct xa_node *n = &pool_nodes[bit];
    u32 i;

    pool_used |= (u64)1 << bit;
    n->offset = n->count = n->nr_values = 0;
    __atomic_store_n(&n->shift, 0, __ATOMIC_RELAXED);
    for (i = 0; i < XA_CHUNK_SIZE; i++)
        __atomic_store_n(&n->slots[i], NULL, __ATOMIC_RELAXED);
    for (i = 0; i < XA_MAX_MARKS; i++)
        __atomic_store_n(&n->marks[i], 0, __ATOMIC_RELAXED);
    return n;
}

static void pool_node_free(struct cpu *cpu, struct xa_node *n)
{
    u32 i;

    for (i = 0; i < XA_CHUNK_SIZE; i++) /* what a reader must never follow or return */
        __atomic_store_n(&n->slots[i], (void *)(uintptr_t)0x5a5a5a5a5a5a5a58ull, __ATOMIC_RELAXED);
    pool_used &= ~((u64)1 << (n - pool_nodes));
}

static const struct core_code pool_code = {.xa_node_alloc = pool_node_alloc, .xa_node_free = pool_node_free};
static _Atomic bool stop_readers;

static void *reader(void *arg)
{
    struct xarray *xa = arg;
    u64 index, seed = 77;
    void *entry;

    while (!stop_readers) {
        index = (u64)1 << rnd(&seed) % 30;
        entry = xa_load(xa, index);
        if (entry && entry != entry_of(index))
            abort();
        if (xa_load(xa, 3) != entry_of(3)) /* never erased */
            abort();
        xa_for_each (xa, index, entry)
            if (entry != entry_of(index))
                abort();
    }
    return NULL;
}

static void test_lockless_readers(void **state)
{
    struct cpu cpu = {.code = &pool_code};
    struct xarray xa = {0};
    pthread_t threads[2];
    u64 seed = 3, index;
    int i;

    xa_store(&cpu, &xa, 3, entry_of(3), 0);
    stop_readers = false;
    for (i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, reader, &xa);
    for (i = 0; i < 60000; i++) {
        index = (u64)1 << rnd(&seed) % 30;
        if (xa_load(&xa, index))
            xa_erase(&cpu, &xa, index);
        else if (pool_used >> 50 == 0)
            xa_store(&cpu, &xa, index, entry_of(index), 0);
    }
    stop_readers = true;
    for (i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    check_clean(&xa);
    xa_destroy(&cpu, &xa);
    assert_int_equal(pool_used, 0);
}

/* Whole arrays change places, with nodes and marks; who reads meanwhile begins anew. */
static void test_exchange(void **state)
{
    static const u64 index[] = {0, 5, 70, 5000, 1ul << 40};
    struct xarray a = {0}, b = {0};
    u32 seq;

    xa_init(&a, RANK_I_PAGES);
    xa_init(&b, RANK_I_PAGES);
    for (u32 i = 0; i < ARRAY_SIZE(index); i++)
        xa_store(CPU, &a, index[i], entry_of(i), 0);
    xa_set_mark(CPU, &a, 70, XA_MARK_1);
    xa_store(CPU, &b, 0, entry_of(9), 0);
    seq = a.seq;
    xa_exchange(CPU, &a, &b);
    assert_true(a.seq != seq);
    check_clean(&a);
    check_clean(&b);
    assert_ptr_equal(xa_load(&a, 0), entry_of(9));
    assert_null(xa_load(&a, 70));
    assert_false(xa_marked(&a, XA_MARK_1));
    for (u32 i = 0; i < ARRAY_SIZE(index); i++)
        assert_ptr_equal(xa_load(&b, index[i]), entry_of(i));
    assert_true(xa_get_mark(&b, 70, XA_MARK_1));
    xa_destroy(CPU, &a);
    xa_destroy(CPU, &b);
}

static void test_checker(void **state)
{
    struct xarray xa = {0};
    struct check_report r = {0};
    struct xa_node *n;

    xa_store(CPU, &xa, 70, xa_mk_value(1), 0);
    n = (struct xa_node *)((uintptr_t)xa.head & ~(uintptr_t)3);
    n->count++;
    xa_check(&xa, &r);
    assert_int_equal(r.nr, 1);
    assert_string_equal(r.text[0], "xarray (1): count is 2, recount gives 1");
    n->count--;
    n->marks[1] = 4;
    r.nr = 0;
    xa_check(&xa, &r);
    assert_int_equal(r.nr, 2); /* the array's marks do not know of it, and the slot is empty */
    n->marks[1] = 0;
    xa_destroy(CPU, &xa);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_values, setup, nothing_leaked),
        cmocka_unit_test_setup_teardown(test_shape, setup, nothing_leaked),
        cmocka_unit_test_setup_teardown(test_collapses, setup, nothing_leaked),
        cmocka_unit_test_setup_teardown(test_store_insert_cmpxchg, setup, nothing_leaked),
        cmocka_unit_test_setup_teardown(test_marks, setup, nothing_leaked),
        cmocka_unit_test_setup_teardown(test_find, setup, nothing_leaked),
        cmocka_unit_test_setup_teardown(test_no_memory, setup, nothing_leaked),
        cmocka_unit_test_setup_teardown(test_random, setup, nothing_leaked),
        cmocka_unit_test_setup_teardown(test_lockless_readers, setup, nothing_leaked),
        cmocka_unit_test_setup_teardown(test_exchange, setup, nothing_leaked),
        cmocka_unit_test_setup_teardown(test_checker, setup, nothing_leaked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
