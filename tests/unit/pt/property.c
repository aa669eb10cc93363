/* SPDX-License-Identifier: MIT */
/*
 * Random map, unmap, protect and hardware use of pages of all sizes, against a naive model: a list of what is mapped.
 * After each step the touched place is compared, after every 256th everything. Run for every format; a failure prints
 * format, seed and step.
 */
#include "tests/unit/pt/pt_model.h"

#define SLOTS 48
#define STEPS 4000

/* What one slot's address should find. Slots lie so far apart that pages of any level do not overlap. */
struct slot {
    va_t va;
    u32 level; /* 0: nothing */
    u64 pfn;
    u32 prot;
};

struct world {
    struct pt_model *x;
    u64 random;
    struct slot slot[SLOTS];
};

static u64 next_random(struct world *w)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random;
}

static u32 highest_leaf(fmt_t f)
{
    u32 level = 3;

    while (!pt_leaf_allowed(f, level) || pt_size(f, level) * SLOTS > pt_task_size(f))
        level--;
    return level;
}

static u32 random_prot(struct world *w)
{
    static const u32 rights[] = {0, PT_READ, PT_READ | PT_WRITE, PT_READ | PT_EXEC, PT_READ | PT_WRITE | PT_EXEC};
    u64 r = next_random(w);

    return rights[r % ARRAY_SIZE(rights)] | (rights[r % ARRAY_SIZE(rights)] ? PT_USER : 0) |
           (r >> 8 & (PT_ACCESSED | PT_DIRTY));
}

/* What reading the entry back gives for these rights. */
static u32 expected(fmt_t f, u32 prot)
{
    if (f->id == PT_X86_32 && (prot & PT_READ))
        prot |= PT_EXEC;
    return prot;
}

static bool slot_is_right(struct world *w, const struct slot *s)
{
    fmt_t f = w->x->f;
    pte_t p;
    struct pt_entry e = model_find(w->x, s->va, &p);

    if (!s->level)
        return !pte_present(f, p);
    return e.level == s->level && pte_leaf(f, e.level, p) && pte_pfn(f, e.level, p).nr == s->pfn &&
           pte_pgprot(f, e.level, p).bits == expected(f, s->prot) && !pte_bad(f, e.level, p);
}

static void step_map(struct world *w, struct slot *s)
{
    fmt_t f = w->x->f;
    u32 top = highest_leaf(f), level = 1 + (u32)(next_random(w) % top);
    pte_t p;
    struct pt_entry e = model_find(w->x, s->va, &p);

    if (s->level || !pte_none(f, p))
        return;
    if (e.level < level)
        level = e.level; /* a table is there already */
    s->level = level;
    s->prot = random_prot(w);
    s->pfn = next_random(w) % 1000 * pt_nr_pages(f, level);
    set_pte_at(f, model_entry(w->x, s->va, level), mk_pte(f, level, PFN(s->pfn), PGPROT(s->prot)));
}

static void step_unmap(struct world *w, struct slot *s)
{
    fmt_t f = w->x->f;
    pte_t p;

    if (!s->level)
        return;
    p = ptep_get_and_clear(f, model_find(w->x, s->va, &p));
    assert_int_equal(pte_pfn(f, s->level, p).nr, s->pfn);
    s->level = 0;
}

static void step_protect(struct world *w, struct slot *s)
{
    fmt_t f = w->x->f;
    u32 prot = random_prot(w);
    struct pt_entry e;
    pte_t p;

    if (!s->level)
        return;
    e = model_find(w->x, s->va, &p);
    p = ptep_get_and_clear(f, e);
    set_pte_at(f, e, pte_modify(f, e.level, p, PGPROT(prot)));
    s->prot = (prot & (PT_READ | PT_WRITE | PT_EXEC | PT_USER)) | (s->prot & (PT_ACCESSED | PT_DIRTY));
}

static void step_wrprotect(struct world *w, struct slot *s)
{
    pte_t p;

    if (!s->level)
        return;
    ptep_set_wrprotect(w->x->f, model_find(w->x, s->va, &p));
    s->prot &= ~(u32)PT_WRITE;
}

/* The walker uses the entry if its rights allow, and marks it. */
static void step_access(struct world *w, struct slot *s)
{
    fmt_t f = w->x->f;
    enum pt_hw_use use = next_random(w) & 1 ? PT_HW_WRITE : PT_HW_READ;
    struct pt_entry e;
    u32 rights;
    pte_t p;

    if (!s->level)
        return;
    e = model_find(w->x, s->va, &p);
    rights = pte_hw_present(f, p) ? pte_hw_rights(f, e.level, p) : 0;
    assert_int_equal(!!(rights & PT_WRITE), !!(s->prot & PT_WRITE));
    if (!(rights & (use == PT_HW_WRITE ? PT_WRITE : PT_READ)))
        return;
    assert_true(ptep_hw_use(f, e, p, use));
    s->prot |= PT_ACCESSED | (use == PT_HW_WRITE ? PT_DIRTY : 0);
}

static void step_clear_marks(struct world *w, struct slot *s)
{
    struct pt_entry e;
    pte_t p;

    if (!s->level)
        return;
    e = model_find(w->x, s->va, &p);
    assert_int_equal(ptep_test_and_clear_young(w->x->f, e), !!(s->prot & PT_ACCESSED));
    assert_int_equal(ptep_test_and_clear_dirty(w->x->f, e), !!(s->prot & PT_DIRTY));
    s->prot &= ~(u32)(PT_ACCESSED | PT_DIRTY);
}

static void (*const steps[])(struct world *, struct slot *) = {
    step_map, step_map, step_unmap, step_protect, step_wrprotect, step_access, step_clear_marks};

static void run(fmt_t f, u64 seed)
{
    struct world w = {.x = model_new(f, 4096), .random = seed};
    u64 stride = pt_size(f, highest_leaf(f));

    for (u32 i = 0; i < SLOTS; i++)
        w.slot[i].va = (i * (pt_task_size(f) / SLOTS)) / stride * stride;
    for (u32 n = 0; n < STEPS; n++) {
        struct slot *s = &w.slot[next_random(&w) % SLOTS];

        steps[next_random(&w) % ARRAY_SIZE(steps)](&w, s);
        if (!slot_is_right(&w, s))
            fail_msg("%s seed %llx step %u: slot at %llx", f->name, (unsigned long long)seed, n,
                     (unsigned long long)s->va);
        for (u32 i = 0; i < SLOTS && n % 256 == 0; i++)
            if (!slot_is_right(&w, &w.slot[i]))
                fail_msg("%s seed %llx step %u: slot %u", f->name, (unsigned long long)seed, n, i);
    }
    model_free(w.x);
}

static void test_random(void **state)
{
    for (u32 i = 0; i < NR_PT_FORMATS; i++)
        for (u64 seed = 1; seed <= 10; seed++)
            run(pt_formats[i], seed * 0x9e3779b97f4a7c15ull);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
