/* SPDX-License-Identifier: MIT */
/* Sequences of xarray operations against an unsorted table. */
#include "tests/fuzz/fuzz.h"

#include "base/cpu.h"
#include "base/xarray.h"

#define MAX_ENTRIES 128

struct model {
    u32 nr;
    struct {
        u64 index;
        void *entry;
        u32 marks;
    } at[MAX_ENTRIES];
};

struct run {
    struct cpu cpu;
    struct xarray xa;
    struct model model;
    long live;   /* nodes */
    u32 fail_at; /* the allocation from now that fails; 0: none */
};

static struct xa_node *node_alloc(struct cpu *cpu, u32 gfp)
{
    struct run *r = container_of(cpu, struct run, cpu);

    if (r->fail_at && --r->fail_at == 0)
        return NULL;
    r->live++;
    return calloc(1, sizeof(struct xa_node));
}

static void node_free(struct cpu *cpu, struct xa_node *n)
{
    container_of(cpu, struct run, cpu)->live--;
    free(n);
}

static const struct core_code code = {.xa_node_alloc = node_alloc, .xa_node_free = node_free};

/* Where the model has index; its size if it has not. */
static u32 model_find(const struct model *m, u64 index)
{
    u32 i;

    for (i = 0; i < m->nr && m->at[i].index != index; i++)
        ;
    return i;
}

static void *model_entry(const struct model *m, u64 index)
{
    u32 i = model_find(m, index);

    return i < m->nr ? m->at[i].entry : NULL;
}

static void model_store(struct model *m, u64 index, void *entry)
{
    u32 i = model_find(m, index);

    if (!entry) {
        if (i < m->nr)
            m->at[i] = m->at[--m->nr];
        return;
    }
    if (i == m->nr) {
        m->at[m->nr++].marks = 0;
        m->at[i].index = index;
    }
    m->at[i].entry = entry;
}

static void *model_next(const struct model *m, u64 *index, u64 max, xa_mark_t mark)
{
    u32 best = m->nr;

    for (u32 i = 0; i < m->nr; i++) {
        if (m->at[i].index < *index || m->at[i].index > max || (mark != XA_PRESENT && !(m->at[i].marks >> mark & 1)))
            continue;
        if (best == m->nr || m->at[i].index < m->at[best].index)
            best = i;
    }
    if (best == m->nr)
        return NULL;
    *index = m->at[best].index;
    return m->at[best].entry;
}

static void store(struct run *r, u64 index, void *entry)
{
    void *old = model_entry(&r->model, index), *got;
    long live = r->live;

    if (r->model.nr == MAX_ENTRIES && !old)
        entry = NULL;
    got = xa_store(&r->cpu, &r->xa, index, entry, 0);
    if (got == ERR_PTR(-ENOMEM)) {
        REQUIRE(r->live == live);
        REQUIRE(xa_load(&r->xa, index) == old);
        return;
    }
    REQUIRE(got == old);
    model_store(&r->model, index, entry);
}

static void compare_exchange(struct run *r, u64 index, void *entry, bool right)
{
    void *old = model_entry(&r->model, index), *expected = right ? old : xa_mk_value(~(u64)0 >> 1), *got;

    if (r->model.nr == MAX_ENTRIES && !old)
        return;
    got = xa_cmpxchg(&r->cpu, &r->xa, index, expected, entry, 0);
    if (got == ERR_PTR(-ENOMEM))
        return;
    REQUIRE(got == old);
    if (expected == old)
        model_store(&r->model, index, entry);
}

static void change_mark(struct run *r, u64 index, xa_mark_t mark, bool set)
{
    u32 i = model_find(&r->model, index);

    if (set)
        xa_set_mark(&r->cpu, &r->xa, index, mark);
    else
        xa_clear_mark(&r->cpu, &r->xa, index, mark);
    if (i < r->model.nr)
        r->model.at[i].marks = set ? r->model.at[i].marks | 1u << mark : r->model.at[i].marks & ~(1u << mark);
    REQUIRE(xa_get_mark(&r->xa, index, mark) == (i < r->model.nr && set));
}

static void find(struct run *r, u64 index, u64 max, xa_mark_t mark)
{
    u64 expect = index;
    void *entry = model_next(&r->model, &expect, max, mark);

    REQUIRE(xa_find(&r->xa, &index, max, mark) == entry);
    REQUIRE(index == expect);
}

static void step(struct run *r, struct input *in)
{
    u8 op = take_u8(in);
    u64 index = take_u64(in);
    void *entry = op & 0x80 ? xa_mk_value(op) : (void *)(uintptr_t)(4096 * (1u + op));

    switch (op % 8) {
    case 0:
    case 1:
        store(r, index, entry);
        break;
    case 2:
        store(r, index, NULL);
        break;
    case 3:
        compare_exchange(r, index, op & 0x40 ? NULL : entry, op & 0x20);
        break;
    case 4:
    case 5:
        change_mark(r, index, op / 8 % XA_MAX_MARKS, op % 8 == 4);
        break;
    case 6:
        find(r, index, op & 0x40 ? ~(u64)0 : take_u64(in), op / 8 % 4 == 3 ? XA_PRESENT : (xa_mark_t)(op / 8 % 4));
        break;
    default:
        r->fail_at = op / 8;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, data + size};
    struct run r = {.cpu.code = &code};
    struct check_report report;
    u64 index = 0;
    void *entry;
    u32 found = 0;

    while (more(&in)) {
        step(&r, &in);
        report.nr = 0;
        xa_check(&r.xa, &report);
        require_clean(&report);
    }
    xa_for_each (&r.xa, index, entry) {
        REQUIRE(entry == model_entry(&r.model, index));
        found++;
    }
    REQUIRE(found == r.model.nr);
    xa_destroy(&r.cpu, &r.xa);
    REQUIRE(r.live == 0);
    return 0;
}
