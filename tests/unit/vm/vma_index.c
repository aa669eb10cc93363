/* SPDX-License-Identifier: MIT */
/*
 * The VMA index alone: its own source with a node allocator that can fail, against a sorted array as the naive model.
 * Every step is followed by vma_index_check() and by all lookups that could differ.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/errno.h"
#include "vm/vm.h"

/* -- what the index needs from below ------------------------------------------------------------------------------- */
static long nodes_out, fail_after = -1;

struct vma_node *vma_node_alloc(struct cpu *cpu)
{
    if (fail_after == 0)
        return NULL;
    if (fail_after > 0)
        fail_after--;
    nodes_out++;
    return aligned_alloc(VMA_NODE_ALIGN, VMA_NODE_BYTES);
}

void vma_node_free(struct cpu *cpu, struct vma_node *object)
{
    nodes_out--;
    free(object);
}

_Noreturn void port_assert_fail(const char *cond, const char *file, int line, const char *func)
{
    fprintf(stderr, "%s:%d: %s: %s\n", file, line, func, cond);
    abort();
}

void check_fail(struct check_report *r, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    if (r->nr < CHECK_KEPT)
        vsnprintf(r->text[r->nr], CHECK_TEXT, format, ap);
    va_end(ap);
    r->nr++;
}

static struct vm test_vm;
static struct machine test_machine = {.vm = &test_vm};
static struct cpu test_cpu = {.m = &test_machine};

/* -- the naive model ----------------------------------------------------------------------------------------------- */
#define MODEL_MAX 4096
#define SPAN 20000 /* pages */
struct model {
    struct vma_index x;
    struct vm_area_struct *v[MODEL_MAX]; /* ascending */
    u32 nr;
};

static u64 seed;

static u64 rnd(u64 below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % below;
}

static void fail_if_wrong(const struct check_report *r, const char *where)
{
    if (r->nr)
        fail_msg("%s: %u mismatches, first: %s", where, r->nr, r->text[0]);
}

static struct vm_area_struct *model_find(const struct model *o, va_t addr)
{
    for (u32 i = 0; i < o->nr; i++)
        if (o->v[i]->vm_end > addr)
            return o->v[i];
    return NULL;
}

static bool model_gap(const struct model *o, va_t low, va_t high, u64 size, bool highest, va_t *addr)
{
    va_t below = 0;
    bool found = false;

    for (u32 i = 0; i <= o->nr; i++) {
        va_t from = MAX(below, low), to = MIN(i < o->nr ? o->v[i]->vm_start : ~(va_t)0, high);

        if (to >= from && to - from >= size && (highest || !found)) {
            *addr = highest ? to - size : from;
            found = true;
        }
        below = i < o->nr ? o->v[i]->vm_end : 0;
    }
    return found;
}

static void model_check(const struct model *o)
{
    struct check_report r = {0};

    assert_int_equal(vma_index_check(&o->x, &r), o->nr);
    fail_if_wrong(&r, "check");
    assert_int_equal(vma_index_nr_nodes(&o->x), nodes_out);
}

static void model_compare(const struct model *o)
{
    va_t s, e;

    assert_null(vma_index_find(&o->x, ~(va_t)0));
    assert_null(vma_index_find_range(&o->x, ~(va_t)0, &s, &e));
    for (int k = 0; k < 4; k++) {
        va_t addr = rnd(SPAN) << PAGE_SHIFT, low = rnd(SPAN) << PAGE_SHIFT, high = low + (rnd(SPAN) << PAGE_SHIFT);
        u64 size = (1 + rnd(k < 2 ? 8 : 400)) << PAGE_SHIFT;
        struct vma_gap g = {1, NULL};
        va_t b = 1, start, end;
        struct vm_area_struct *vma = vma_index_find_range(&o->x, addr, &start, &end);

        assert_ptr_equal(vma_index_find(&o->x, addr + rnd(2)), model_find(o, addr));
        assert_ptr_equal(vma, model_find(o, addr));
        if (vma) {
            assert_int_equal(start, vma->vm_start);
            assert_int_equal(end, vma->vm_end);
        }
        assert_int_equal(vma_index_gap_lowest(&o->x, low, high, size, &g), model_gap(o, low, high, size, false, &b));
        assert_int_equal(g.addr, b);
        assert_ptr_equal(g.next, b == 1 ? NULL : model_find(o, b));
        g = (struct vma_gap){b = 1, NULL};
        assert_int_equal(vma_index_gap_highest(&o->x, low, high, size, &g), model_gap(o, low, high, size, true, &b));
        assert_int_equal(g.addr, b);
        assert_ptr_equal(g.next, b == 1 ? NULL : model_find(o, b));
    }
}

static void model_insert(struct model *o, va_t start, va_t end)
{
    struct vm_area_struct *vma = calloc(1, sizeof(*vma));
    u32 i = 0;

    vma->vm_start = start;
    vma->vm_end = end;
    while (i < o->nr && o->v[i]->vm_end <= start)
        i++;
    memmove(&o->v[i + 1], &o->v[i], (o->nr - i) * sizeof(o->v[0]));
    o->v[i] = vma;
    o->nr++;
    assert_int_equal(vma_index_prealloc(&test_cpu, &o->x, 1), 0);
    vma_index_insert(&o->x, vma);
}

static void model_remove(struct model *o, u32 i)
{
    vma_index_remove(&o->x, o->v[i]);
    free(o->v[i]);
    o->nr--;
    memmove(&o->v[i], &o->v[i + 1], (o->nr - i) * sizeof(o->v[0]));
    vma_index_trim(&test_cpu, &o->x);
}

static void model_destroy(struct model *o)
{
    vma_index_destroy(&test_cpu, &o->x);
    for (u32 i = 0; i < o->nr; i++)
        free(o->v[i]);
    free(o);
    assert_int_equal(nodes_out, 0);
}

static struct model *model_new(void)
{
    struct model *o = calloc(1, sizeof(*o));

    vma_index_init(&o->x);
    return o;
}

/* -- tests --------------------------------------------------------------------------------------------------------- */

static void test_empty(void **state)
{
    struct model *o = model_new();
    struct vma_gap g;

    assert_null(vma_index_find(&o->x, 0));
    assert_true(vma_index_gap_lowest(&o->x, 0x1000, 0x9000, 0x8000, &g));
    assert_int_equal(g.addr, 0x1000);
    assert_true(vma_index_gap_highest(&o->x, 0x1000, 0x9000, 0x1000, &g));
    assert_int_equal(g.addr, 0x8000);
    assert_false(vma_index_gap_lowest(&o->x, 0x1000, 0x9000, 0x9000, &g));
    assert_false(vma_index_gap_highest(&o->x, 0x1000, 0x9000, 0x9000, &g));
    model_check(o);
    model_destroy(o);
}

/* Pictures: one letter or dot per page; the same letter is one VMA. */
struct gap_case {
    const char *picture;
    u32 low, high, size; /* pages */
    int lowest, highest; /* pages, -1: none */
};

static const struct gap_case gap_cases[] = {
    {"A.B..C...D", 0, 10, 1, 1, 8},   {"A.B..C...D", 0, 10, 2, 3, 7},   {"A.B..C...D", 0, 10, 3, 6, 6},
    {"A.B..C...D", 0, 10, 4, -1, -1}, {"A.B..C...D", 0, 14, 4, 10, 10}, {"A.B..C...D", 7, 9, 2, 7, 7},
    {"A.B..C...D", 7, 9, 3, -1, -1},  {"A.B..C...D", 4, 8, 2, 6, 6},    {"A.B..C...D", 2, 5, 2, 3, 3},
    {"..AABB....", 0, 6, 2, 0, 0},    {"..AABB....", 0, 12, 2, 0, 10},  {"..AABB....", 2, 6, 1, -1, -1},
};

static void test_gap_pictures(void **state)
{
    for (size_t c = 0; c < ARRAY_SIZE(gap_cases); c++) {
        const struct gap_case *t = &gap_cases[c];
        struct model *o = model_new();
        struct vma_gap g = {0, NULL};

        for (u32 i = 0, j; t->picture[i]; i = j) {
            for (j = i + 1; t->picture[j] && t->picture[j] == t->picture[i];)
                j++;
            if (t->picture[i] != '.')
                model_insert(o, i * PAGE_SIZE, j * PAGE_SIZE);
        }
        assert_int_equal(vma_index_gap_lowest(&o->x, t->low * PAGE_SIZE, t->high * PAGE_SIZE, t->size * PAGE_SIZE, &g),
                         t->lowest >= 0);
        if (t->lowest >= 0)
            assert_int_equal(g.addr / PAGE_SIZE, t->lowest);
        assert_int_equal(vma_index_gap_highest(&o->x, t->low * PAGE_SIZE, t->high * PAGE_SIZE, t->size * PAGE_SIZE, &g),
                         t->highest >= 0);
        if (t->highest >= 0)
            assert_int_equal(g.addr / PAGE_SIZE, t->highest);
        model_check(o);
        model_destroy(o);
    }
}

/* Fill upwards, downwards and from the middle; the heights are those of nodes that keep 17, 17 and 10 of 20 slots. */
static void test_fill(void **state)
{
    static const struct {
        const char *name;
        u32 height;
        u32 max_nodes;
    } ways[] = {{"up", 3, 250}, {"down", 3, 250}, {"middle out", 3, 260}};

    for (u32 w = 0; w < ARRAY_SIZE(ways); w++) {
        struct model *o = model_new();

        for (u32 i = 0; i < 3500; i++) {
            u32 page = w == 0 ? i : w == 1 ? 5000 - i : i % 2 ? 5000 - i : 5000 + i;

            model_insert(o, 2 * page * PAGE_SIZE, (2 * page + 1) * PAGE_SIZE);
            if (i % 50 == 0)
                model_check(o);
        }
        model_check(o);
        assert_int_equal(o->x.height, ways[w].height);
        if (vma_index_nr_nodes(&o->x) > ways[w].max_nodes)
            fail_msg("%s: %llu nodes", ways[w].name, (unsigned long long)vma_index_nr_nodes(&o->x));
        while (o->nr) {
            model_remove(o, w == 0 ? 0 : w == 1 ? o->nr - 1 : (u32)rnd(o->nr));
            if (o->nr % 50 == 0)
                model_check(o);
        }
        assert_int_equal(o->x.height, 0);
        model_destroy(o);
    }
}

static void resize_one(struct model *o, u32 i)
{
    va_t low = i ? o->v[i - 1]->vm_end : 0, high = i + 1 < o->nr ? o->v[i + 1]->vm_start : SPAN << PAGE_SHIFT;
    u64 pages = (high - low) >> PAGE_SHIFT, from = rnd(pages), to = from + 1 + rnd(pages - from);

    vma_index_resize(&o->x, o->v[i], low + (from << PAGE_SHIFT), low + (to << PAGE_SHIFT));
}

static void assert_range(const struct vm_area_struct *vma, va_t start, va_t end)
{
    assert_int_equal(vma->vm_start, start);
    assert_int_equal(vma->vm_end, end);
}

/* VMA i gives pages to a piece below it, above it, or both. */
static void cut_one(struct model *o, u32 i)
{
    struct vm_area_struct *vma = o->v[i], *below = NULL, *above = NULL;
    u64 pages = (vma->vm_end - vma->vm_start) >> PAGE_SHIFT, kind = 1 + rnd(3);
    va_t start = vma->vm_start, end = vma->vm_end, from = start, to = end;

    if (pages < 3 || o->nr + 2 > MODEL_MAX)
        return;
    if (kind & 1) {
        from += (1 + rnd(pages - 2)) << PAGE_SHIFT;
        below = calloc(1, sizeof(*below));
        *below = (struct vm_area_struct){.vm_start = start, .vm_end = from};
    }
    if (kind & 2) {
        to = from + ((1 + rnd(((end - from) >> PAGE_SHIFT) - 1)) << PAGE_SHIFT);
        above = calloc(1, sizeof(*above));
        *above = (struct vm_area_struct){.vm_start = to, .vm_end = end};
    }
    assert_int_equal(vma_index_prealloc(&test_cpu, &o->x, 2), 0);
    vma_index_cut(&o->x, vma, below, above);
    assert_range(vma, from, to);
    memmove(&o->v[i + 1 + (kind > 2)], &o->v[i], (o->nr - i) * sizeof(o->v[0]));
    o->nr += 1 + (kind > 2);
    if (below)
        o->v[i++] = below;
    o->v[i++] = vma;
    if (above)
        o->v[i] = above;
    vma_index_trim(&test_cpu, &o->x);
}

/* VMA i and those behind that touch become one, up to three of them; or the edge between the first two moves. */
static void join_some(struct model *o, u32 i)
{
    u32 nr = 1, most = 1 + (u32)rnd(3), keep;
    struct vm_area_struct *vma;
    va_t start = o->v[i]->vm_start, end, at;

    while (nr < most && i + nr < o->nr && o->v[i + nr - 1]->vm_end == o->v[i + nr]->vm_start)
        nr++;
    end = o->v[i + nr - 1]->vm_end;
    if (nr == 2 && rnd(2)) {
        at = start + ((1 + rnd(((end - start) >> PAGE_SHIFT) - 1)) << PAGE_SHIFT);
        vma_index_move_edge(&o->x, o->v[i], at);
        assert_range(o->v[i], start, at);
        assert_range(o->v[i + 1], at, end);
        return;
    }
    keep = i + (u32)rnd(nr);
    vma = o->v[keep];
    vma_index_join(&o->x, vma, o->v[i], o->v[i + nr - 1]);
    assert_range(vma, start, end);
    for (u32 k = i; k < i + nr; k++)
        if (k != keep)
            free(o->v[k]);
    o->v[i] = vma;
    o->nr -= nr - 1;
    memmove(&o->v[i + 1], &o->v[i + nr], (o->nr - i - 1) * sizeof(o->v[0]));
    vma_index_trim(&test_cpu, &o->x);
}

static void random_step(struct model *o, u32 want)
{
    u64 kind = rnd(14);

    if (kind >= 10 && o->nr) {
        (o->nr < want ? cut_one : join_some)(o, (u32)rnd(o->nr));
    } else if (kind < 3 && o->nr) {
        resize_one(o, (u32)rnd(o->nr));
    } else if (o->nr && (kind < 6) == (o->nr < want) && o->nr > want / 2) {
        model_remove(o, (u32)rnd(o->nr));
    } else if (o->nr < MODEL_MAX - 1) {
        va_t low = rnd(SPAN) << PAGE_SHIFT;
        struct vma_gap g;

        if (vma_index_gap_lowest(&o->x, low, SPAN << PAGE_SHIFT, (1 + rnd(4)) << PAGE_SHIFT, &g))
            model_insert(o, g.addr, g.addr + PAGE_SIZE);
        else if (o->nr)
            model_remove(o, (u32)rnd(o->nr));
    }
}

static void test_random(void **state)
{
    static const u32 wants[] = {3, 25, 300, 2500};

    for (u32 w = 0; w < ARRAY_SIZE(wants); w++) {
        struct model *o = model_new();

        for (u32 step = 0; step < 6000; step++) {
            random_step(o, wants[w]);
            if (wants[w] < 100 || step % 20 == 0)
                model_check(o);
            if (wants[w] < 1000 || step % 10 == 0)
                model_compare(o);
        }
        while (o->nr)
            model_remove(o, (u32)rnd(o->nr));
        model_check(o);
        model_destroy(o);
    }
}

/* A prealloc that fails changes nothing that can be seen;
 * one that succeeds lets two insertions pass with no memory at all. */
static void test_prealloc(void **state)
{
    struct model *o = model_new();

    for (u32 i = 0; i < 2000; i++) {
        u32 a = (u32)rnd(4000), b = 4000 + (u32)rnd(4000);

        fail_after = (long)rnd(4);
        if (vma_index_prealloc(&test_cpu, &o->x, 2)) {
            model_check(o);
            fail_after = -1;
            assert_int_equal(vma_index_prealloc(&test_cpu, &o->x, 2), 0);
        }
        fail_after = 0;
        for (u32 k = 0; k < 2; k++) {
            va_t at = (k ? b : a) * 2 * PAGE_SIZE;
            struct vm_area_struct *there = model_find(o, at);
            struct vm_area_struct *vma;

            if (o->nr + 2 > MODEL_MAX || (there && there->vm_start < at + PAGE_SIZE))
                continue;
            vma = calloc(1, sizeof(*vma));
            vma->vm_start = at;
            vma->vm_end = at + PAGE_SIZE;
            vma_index_insert(&o->x, vma);
            u32 pos = 0;
            while (pos < o->nr && o->v[pos]->vm_end <= at)
                pos++;
            memmove(&o->v[pos + 1], &o->v[pos], (o->nr - pos) * sizeof(o->v[0]));
            o->v[pos] = vma;
            o->nr++;
        }
        if (i % 16 == 0)
            model_check(o);
    }
    fail_after = -1;
    model_check(o);
    model_destroy(o);
}

/* The checker sees what it says it sees. */
static void test_check_sees(void **state)
{
    struct model *o = model_new();
    struct check_report r = {0};

    for (u32 i = 0; i < 15; i++)
        model_insert(o, 2 * i * PAGE_SIZE, (2 * i + 1) * PAGE_SIZE);
    o->v[5]->vm_end += PAGE_SIZE;
    vma_index_check(&o->x, &r);
    assert_int_equal(r.nr, 2); /* the end of 5 and the gap below 6 */
    o->v[5]->vm_end -= PAGE_SIZE;
    r.nr = 0;
    o->v[5]->vm_prev = NULL;
    vma_index_check(&o->x, &r);
    assert_int_equal(r.nr, 1);
    o->v[5]->vm_prev = o->v[4];
    model_check(o);
    model_destroy(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),  cmocka_unit_test(test_gap_pictures), cmocka_unit_test(test_fill),
        cmocka_unit_test(test_random), cmocka_unit_test(test_prealloc),     cmocka_unit_test(test_check_sees),
    };
    const char *given = getenv("QUIRE_SEED");

    seed = given ? strtoull(given, NULL, 0) : 0x9e3779b97f4a7c15ull;
    printf("seed 0x%llx\n", (unsigned long long)seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
