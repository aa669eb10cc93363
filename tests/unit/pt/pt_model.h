/* SPDX-License-Identifier: MIT */
/*
 * Tables without a memory manager: a machine whose RAM is a block of host memory that hands out one cleared page after
 * the other. The least that src/pt needs, so its tests depend on nothing above it.
 */
#ifndef QUIRE_TESTS_PT_MODEL_H
#define QUIRE_TESTS_PT_MODEL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "pt/pt.h"

struct pt_model {
    fmt_t f;
    struct machine m;
    struct pt_roots roots;
    u64 pages, next;
};

static inline pfn_t model_table(struct pt_model *x)
{
    assert_true(x->next < x->pages);
    memset(x->m.ram + x->next * PAGE_SIZE, 0, PAGE_SIZE);
    return PFN(x->next++);
}

static inline void model_reset(struct pt_model *x)
{
    x->next = 1;
    for (u32 i = 0; i < PT_MAX_ROOTS; i++)
        x->roots.root[i] = PT_NO_ROOT;
    for (u32 i = 0; i < (x->f->root_rule == ROOT_HALF ? 2 : 1); i++)
        x->roots.root[i] = pfn_to_phys(model_table(x));
    if (x->f->root_rule == ROOT_PAE)
        for (va_t q = 0; q < 4; q++) {
            struct pt_table top = pt_top_table(&x->m, x->f, &x->roots, q << 30);

            set_pte_at(x->f, pt_entry_at(x->f, top, q << 30), mk_table_pte(x->f, 3, model_table(x)));
        }
}

static inline struct pt_model *model_new(fmt_t f, u64 pages)
{
    struct pt_model *x = calloc(1, sizeof(*x));

    x->f = f;
    x->pages = pages;
    x->m.ram = aligned_alloc(PAGE_SIZE, pages * PAGE_SIZE);
    x->m.config.pt_format = f->id;
    model_reset(x);
    return x;
}

static inline void model_free(struct pt_model *x)
{
    free(x->m.ram);
    free(x);
}

/* The entry of `level` for va, tables above it made. */
static inline struct pt_entry model_entry(struct pt_model *x, va_t va, u32 level)
{
    for (;;) {
        pte_t p;
        struct pt_entry e = pt_walk(&x->m, x->f, pt_root_for_roots(&x->m, x->f, &x->roots, va), va, level, &p);

        if (e.level == level)
            return e;
        assert_true(pte_none(x->f, p));
        set_pte_at(x->f, e, mk_table_pte(x->f, e.level, model_table(x)));
    }
}

static inline struct pt_entry model_find(struct pt_model *x, va_t va, pte_t *p)
{
    return pt_walk(&x->m, x->f, pt_root_for_roots(&x->m, x->f, &x->roots, va), va, 1, p);
}

#endif
