/* SPDX-License-Identifier: MIT */
/* One suite for every format: what all of them must do, whatever their bits are.
 * Each test gets the format as its state. */
#include "tests/unit/pt/pt_model.h"

#define R PT_READ
#define W PT_WRITE
#define X PT_EXEC
#define U PT_USER
#define A PT_ACCESSED
#define D PT_DIRTY

/* -- geometry ------------------------------------------------------------------------------------------------------ */

static const struct {
    u32 levels, entry_bytes, nr_roots, va_bits;
    u32 entries[PT_MAX_LEVELS + 1];
    u64 size[PT_MAX_LEVELS + 1];
    u32 leaf_levels;
    va_t task_size;
} geometry[NR_PT_FORMATS] = {
    [PT_X86_32] = {2, 4, 1, 32, {0, 1024, 1024}, {0, 4096, 4ull << 20}, 0x06, 0xc0000000},
    [PT_X86_PAE] = {3, 8, 4, 32, {0, 512, 512, 4}, {0, 4096, 2ull << 20, 1ull << 30}, 0x06, 0xc0000000},
    [PT_X86_64_4L] =
        {4, 8, 1, 48, {0, 512, 512, 512, 512}, {0, 4096, 2ull << 20, 1ull << 30, 512ull << 30}, 0x0e, 0x7ffffffff000},
    [PT_X86_64_5L] = {5,
                      8,
                      1,
                      57,
                      {0, 512, 512, 512, 512, 512},
                      {0, 4096, 2ull << 20, 1ull << 30, 512ull << 30, 256ull << 40},
                      0x0e,
                      0xfffffffffff000},
    [PT_ARM64_4K] =
        {4, 8, 2, 48, {0, 512, 512, 512, 512}, {0, 4096, 2ull << 20, 1ull << 30, 512ull << 30}, 0x0e, 0x1000000000000},
    [PT_RISCV_SV39] = {3, 8, 1, 39, {0, 512, 512, 512}, {0, 4096, 2ull << 20, 1ull << 30}, 0x0e, 0x4000000000},
    [PT_RISCV_SV48] =
        {4, 8, 1, 48, {0, 512, 512, 512, 512}, {0, 4096, 2ull << 20, 1ull << 30, 512ull << 30}, 0x1e, 0x800000000000},
    [PT_RISCV_SV57] = {5,
                       8,
                       1,
                       57,
                       {0, 512, 512, 512, 512, 512},
                       {0, 4096, 2ull << 20, 1ull << 30, 512ull << 30, 256ull << 40},
                       0x3e,
                       0x100000000000000},
};

static void test_geometry(void **state)
{
    fmt_t f = *state;

    assert_int_equal(f->levels, geometry[f->id].levels);
    assert_int_equal(1u << f->entry_shift, geometry[f->id].entry_bytes);
    assert_int_equal(f->nr_roots, geometry[f->id].nr_roots);
    assert_int_equal(f->va_bits, geometry[f->id].va_bits);
    assert_int_equal(pt_task_size(f), geometry[f->id].task_size);
    for (u32 level = 1; level <= f->levels; level++) {
        assert_int_equal(pt_entries(f, level), geometry[f->id].entries[level]);
        assert_int_equal(pt_size(f, level), geometry[f->id].size[level]);
        assert_int_equal(pt_mask(f, level), -geometry[f->id].size[level]);
        assert_int_equal(pt_nr_pages(f, level), geometry[f->id].size[level] >> 12);
        assert_int_equal(pt_leaf_allowed(f, level), geometry[f->id].leaf_levels >> level & 1);
        assert_true(pt_entries(f, level) << f->entry_shift <= PAGE_SIZE);
        /* neighbours, the last entry of a table, the wrap into the next */
        assert_int_equal(pt_index(f, level, 0), 0);
        assert_int_equal(pt_index(f, level, pt_size(f, level)), 1 % pt_entries(f, level));
        assert_int_equal(pt_index(f, level, pt_size(f, level) - 1), 0);
        assert_int_equal(pt_index(f, level, pt_size(f, level) * (pt_entries(f, level) - 1)), pt_entries(f, level) - 1);
        assert_int_equal(pt_index(f, level, ~0ull), pt_entries(f, level) - 1);
    }
    assert_int_equal(f->shift[f->levels + 1], f->va_bits);
}

static void test_addr_end(void **state)
{
    fmt_t f = *state;

    for (u32 level = 1; level <= f->levels; level++) {
        u64 size = pt_size(f, level);

        assert_int_equal(pt_addr_end(f, level, 0, 10 * size), size);
        assert_int_equal(pt_addr_end(f, level, size - 1, 10 * size), size);
        assert_int_equal(pt_addr_end(f, level, size, 10 * size), 2 * size);
        assert_int_equal(pt_addr_end(f, level, size, size + 1), size + 1);
        assert_int_equal(pt_addr_end(f, level, 0, size), size);
        /* the end of the address space is 0 */
        assert_int_equal(pt_addr_end(f, level, -size, 0), 0);
        assert_int_equal(pt_addr_end(f, level, -2 * size, 0), -size);
    }
}

static const struct {
    enum va_rule rule;
    va_t ok[4], bad[4];
} canonical[NR_PT_FORMATS] = {
    [PT_X86_32] = {VA_32, {0, 0xc0000000, 0xffffffff, 1}, {1ull << 32, ~0ull, 1ull << 63, 1ull << 47}},
    [PT_X86_PAE] = {VA_32, {0, 0xc0000000, 0xffffffff, 1}, {1ull << 32, ~0ull, 1ull << 63, 1ull << 47}},
    [PT_X86_64_4L] = {VA_SIGN,
                      {0, 0x7fffffffffff, 0xffff800000000000, ~0ull},
                      {0x800000000000, 0xffff7fffffffffff, 1ull << 63, 1ull << 48}},
    [PT_X86_64_5L] = {VA_SIGN,
                      {0x800000000000, 0xffffffffffffff, 0xff00000000000000, ~0ull},
                      {0x100000000000000, 0xfeffffffffffffff, 1ull << 63, 1ull << 57}},
    [PT_ARM64_4K] = {VA_TWO,
                     {0, 0xffffffffffff, 0xffff000000000000, ~0ull},
                     {1ull << 48, 0xfffeffffffffffff, 1ull << 63, 1ull << 55}},
    [PT_RISCV_SV39] = {VA_SIGN,
                       {0, 0x3fffffffff, 0xffffffc000000000, ~0ull},
                       {0x4000000000, 0xffffffbfffffffff, 1ull << 63, 1ull << 39}},
    [PT_RISCV_SV48] = {VA_SIGN,
                       {0, 0x7fffffffffff, 0xffff800000000000, ~0ull},
                       {0x800000000000, 0xffff7fffffffffff, 1ull << 63, 1ull << 48}},
    [PT_RISCV_SV57] = {VA_SIGN,
                       {0, 0xffffffffffffff, 0xff00000000000000, ~0ull},
                       {0x100000000000000, 0xfeffffffffffffff, 1ull << 63, 1ull << 57}},
};

static void test_canonical(void **state)
{
    fmt_t f = *state;

    assert_int_equal(f->va_rule, canonical[f->id].rule);
    for (u32 i = 0; i < 4; i++) {
        assert_true(pt_va_canonical(f, canonical[f->id].ok[i]));
        assert_false(pt_va_canonical(f, canonical[f->id].bad[i]));
    }
    assert_true(pt_va_canonical(f, pt_task_size(f) - 1));
}

/* -- roots --------------------------------------------------------------------------------------------------------- */

static void test_roots(void **state)
{
    fmt_t f = *state;
    struct pt_model *x = model_new(f, 16);
    va_t low = 0x1000, high = f->va_rule == VA_32 ? 0xfffff000 : -0x1000ull;
    struct pt_table a = pt_root_for_roots(&x->m, f, &x->roots, low).table;
    struct pt_table b = pt_root_for_roots(&x->m, f, &x->roots, high).table;

    assert_int_equal(a.level, f->root_level);
    assert_int_equal(b.level, f->root_level);
    assert_int_equal(a.entries != b.entries, f->nr_roots > 1);
    if (f->root_rule == ROOT_PAE) {
        void *quarter[4];

        for (va_t i = 0; i < 4; i++) {
            quarter[i] = pt_root_for_roots(&x->m, f, &x->roots, i << 30).table.entries;
            assert_ptr_equal(quarter[i], pt_root_for_roots(&x->m, f, &x->roots, (i << 30) + 0x3fffffff).table.entries);
            for (u32 j = 0; j < i; j++)
                assert_ptr_not_equal(quarter[i], quarter[j]);
        }
        assert_int_equal(pt_top_table(&x->m, f, &x->roots, 0).level, 3);
        assert_ptr_equal(pt_top_table(&x->m, f, &x->roots, 0).entries, phys_to_virt(&x->m, x->roots.root[0]));
    }
    if (f->root_rule == ROOT_HALF) {
        pte_t p;

        /* bit 55 alone chooses: the tag above it does not */
        assert_ptr_equal(pt_top_table(&x->m, f, &x->roots, 0xff7f000000001000).entries, a.entries);
        assert_ptr_equal(pt_top_table(&x->m, f, &x->roots, 0x0080000000001000).entries, b.entries);
        x->roots.root[1] = PT_NO_ROOT;
        assert_null(pt_root_for_roots(&x->m, f, &x->roots, high).table.entries);
        assert_null(model_find(x, high, &p).slot);
        assert_true(pte_none(f, p));
    }
    model_free(x);
}

/* -- map, walk, unmap at every level ------------------------------------------------------------------------------- */

static void check_mapped(struct pt_model *x, va_t va, u32 level, pfn_t pfn, u32 prot)
{
    fmt_t f = x->f;
    pte_t p;
    struct pt_entry e = model_find(x, va, &p);

    assert_int_equal(e.level, level);
    assert_true(pte_leaf(f, level, p));
    assert_false(pte_table(f, level, p));
    assert_int_equal(pte_pfn(f, level, p).nr, pfn.nr);
    assert_int_equal(pte_write(f, p), !!(prot & W));
    assert_int_equal(pte_user(f, p), !!(prot & U));
}

static void test_map_levels(void **state)
{
    fmt_t f = *state;
    struct pt_model *x = model_new(f, 64);
    pte_t p;

    for (u32 level = 1; level <= f->levels; level++) {
        u64 size = pt_size(f, level);
        va_t va = ALIGN_DOWN(pt_task_size(f) - 1 - size, size); /* the last whole one */
        pfn_t pfn = PFN(pt_nr_pages(f, level) * 3);
        struct pt_entry e;

        if (!pt_leaf_allowed(f, level))
            continue;
        model_reset(x);
        e = model_entry(x, va, level);
        assert_true(pte_none(f, pt_read(f, e)));
        set_pte_at(f, e, mk_pte(f, level, pfn, PGPROT(R | W | U)));
        check_mapped(x, va, level, pfn, R | W | U);
        check_mapped(x, va + size - 1, level, pfn, R | W | U);
        model_find(x, va - 1, &p);
        assert_false(pte_present(f, p));
        assert_true(pte_same(pte_modify(f, level, pt_read(f, e), PGPROT(R | U)), mk_pte(f, level, pfn, PGPROT(R | U))));
        assert_int_equal(pte_pfn(f, level, ptep_get_and_clear(f, e)).nr, pfn.nr);
        model_find(x, va, &p);
        assert_true(pte_none(f, p));
    }
    model_free(x);
}

static void test_entry_next(void **state)
{
    fmt_t f = *state;
    struct pt_model *x = model_new(f, 16);
    struct pt_table t = pt_root_for_roots(&x->m, f, &x->roots, 0).table;

    for (u32 i = 0; i < pt_entries(f, t.level); i++)
        assert_ptr_equal(pt_entry_next(f, pt_entry_at(f, t, 0), i).slot,
                         pt_entry_at(f, t, i * pt_size(f, t.level)).slot);
    model_free(x);
}

/* -- values -------------------------------------------------------------------------------------------------------- */

static void for_each_leaf_level(fmt_t f, void (*test)(fmt_t f, u32 level, u32 prot))
{
    for (u32 level = 1; level <= f->levels; level++)
        for (u32 prot = 0; prot < 128 && pt_leaf_allowed(f, level); prot++)
            if (!(prot & W) || (prot & R)) /* writable without readable: as readable */
                test(f, level, prot);
}

static void check_round_trip(fmt_t f, u32 level, u32 prot)
{
    pfn_t pfn = PFN(pt_nr_pages(f, level) * 5);
    pte_t p = mk_pte(f, level, pfn, PGPROT(prot));
    u32 expect = prot, got = pte_pgprot(f, level, p).bits;

    if (!(prot & (R | W | X)))
        expect &= ~(u32)(U | PT_GLOBAL); /* PROT_NONE: belongs to nobody */
    else if (f->read != R && !f->read)
        expect |= R; /* x86: present is readable */
    if (f->id == PT_X86_32 && (expect & R))
        expect |= X;
    if (f->id == PT_ARM64_4K && (prot & (R | W | X)) && !(prot & U))
        expect |= R; /* the kernel may read what is its own */
    if (got != expect)
        fail_msg("%s level %u: made with %x, reads %x, expected %x", f->name, level, prot, got, expect);
    assert_int_equal(pte_pfn(f, level, p).nr, pfn.nr);
    assert_true(pte_leaf(f, level, p));
    assert_false(pte_bad(f, level, p));
    assert_int_equal(pte_protnone(f, p), !(prot & (R | W | X)));
    assert_int_equal(pte_hw_present(f, p), !!(prot & (R | W | X)));
}

static void test_round_trip(void **state)
{
    for_each_leaf_level(*state, check_round_trip);
}

/* Every change keeps frame and kind; each pair is an inverse as far as Linux's rules say. */
static void check_changes(fmt_t f, u32 level, u32 prot)
{
    pfn_t pfn = PFN(pt_nr_pages(f, level) * 5);
    pte_t p = mk_pte(f, level, pfn, PGPROT(prot)), q;

    assert_true(pte_young(f, pte_mkyoung(f, p)));
    assert_false(pte_young(f, pte_mkold(f, p)));
    assert_true(pte_dirty(f, pte_mkdirty(f, p)));
    assert_true(pte_soft_dirty(f, pte_mkdirty(f, p)));
    assert_false(pte_dirty(f, pte_mkclean(f, p)));
    assert_true(pte_soft_dirty(f, pte_mksoft_dirty(f, p)));
    assert_false(pte_soft_dirty(f, pte_clear_soft_dirty(f, pte_mkdirty(f, p))));
    assert_true(pte_special(f, pte_mkspecial(f, p)));
    assert_false(pte_write(f, pte_wrprotect(f, p)));
    /* dirtiness survives both ways of losing write permission, and does not appear by getting it */
    assert_int_equal(pte_dirty(f, pte_wrprotect(f, p)), pte_dirty(f, p));
    q = pte_modify(f, level, p, PGPROT(R | U));
    assert_int_equal(pte_dirty(f, q), pte_dirty(f, p));
    assert_int_equal(pte_young(f, q), pte_young(f, p));
    assert_false(pte_write(f, q));
    assert_int_equal(pte_pfn(f, level, q).nr, pfn.nr);
    q = pte_modify(f, level, p, PGPROT(0));
    assert_true(pte_protnone(f, q));
    assert_int_equal(pte_dirty(f, q), pte_dirty(f, p));
    assert_true(pte_leaf(f, level, q));
    q = pte_modify(f, level, q, PGPROT(R | W | U));
    assert_true(pte_write(f, q));
    assert_int_equal(pte_dirty(f, q), pte_dirty(f, p));
    if (!(prot & W) && (prot & R)) {
        assert_true(pte_write(f, pte_mkwrite(f, p)));
        assert_int_equal(pte_dirty(f, pte_mkwrite(f, p)), pte_dirty(f, p));
        assert_true(pte_same(pte_wrprotect(f, pte_mkwrite(f, p)), p));
    }
}

static void test_changes(void **state)
{
    for_each_leaf_level(*state, check_changes);
}

static void test_modify_keeps(void **state)
{
    fmt_t f = *state;
    pte_t p = mk_pte(f, 1, PFN(7), PGPROT(R | W | U | A | PT_SPECIAL | PT_SOFT_DIRTY | PT_NOCACHE));
    pte_t q = pte_modify(f, 1, p, PGPROT(R | U));

    assert_int_equal(
        pte_pgprot(f, 1, q).bits,
        pte_pgprot(f, 1, mk_pte(f, 1, PFN(7), PGPROT(R | U | A | PT_SPECIAL | PT_SOFT_DIRTY | PT_NOCACHE))).bits);
    if (f->pkey_bits) {
        q = pte_modify(f, 1, p, PGPROT(R | U | 5u << PT_PKEY_SHIFT));
        assert_int_equal(pte_pkey(f, q), 5);
        assert_int_equal(pte_pkey(f, pte_modify(f, 1, q, PGPROT(R | U))), 0);
    }
}

/* -- entries that are not present ---------------------------------------------------------------------------------- */

static void check_swap(fmt_t f, u32 type, u64 offset)
{
    pte_t p = mk_swap_pte(f, type, offset);

    for (u32 marks = 0; marks < 4; marks++) {
        pte_t q = p;

        if (marks & 1)
            q = pte_swp_mkexclusive(f, q);
        if (marks & 2)
            q = pte_swp_mksoft_dirty(f, q);
        assert_false(pte_present(f, q));
        assert_false(pte_hw_present(f, q));
        assert_int_equal(pte_swap_type(f, q), type);
        assert_int_equal(pte_swap_offset(f, q), offset);
        assert_int_equal(pte_swp_exclusive(f, q), marks & 1);
        assert_int_equal(pte_swp_soft_dirty(f, q), marks >> 1);
        for (u32 level = 1; level <= f->levels; level++) {
            assert_false(pte_leaf(f, level, q));
            assert_false(pte_table(f, level, q));
            assert_false(pte_bad(f, level, q));
        }
        q = pte_swp_clear_soft_dirty(f, pte_swp_clear_exclusive(f, q));
        assert_true(pte_same(p, q));
    }
}

static void test_swap(void **state)
{
    fmt_t f = *state;

    assert_true(pte_none(f, PTE(0)));
    assert_false(pte_is_swap(f, PTE(0)));
    for (u32 type = 0; type < 32; type++)
        for (u32 bit = 0; bit < f->swap_offset_bits; bit++) {
            check_swap(f, type, 1ull << bit);
            check_swap(f, type, (1ull << bit) - 1 + (1ull << bit));
        }
    assert_true(pte_is_swap(f, mk_swap_pte(f, 1, 1)));
    assert_true(f->swap_offset_bits >= 20); /* migration entries hold a frame number */
}

/* -- atomic changes, and the hardware's ---------------------------------------------------------------------------- */

static void test_hardware_use(void **state)
{
    fmt_t f = *state;
    u64 word = 0;
    struct pt_entry e = {&word, 1};
    pte_t clean = mk_pte(f, 1, PFN(9), PGPROT(R | W | U)), p;

    set_pte_at(f, e, clean);
    assert_false(pte_dirty(f, clean));
    assert_true(ptep_hw_use(f, e, clean, PT_HW_READ));
    p = pt_read(f, e);
    assert_true(pte_young(f, p));
    assert_false(pte_dirty(f, p));
    assert_true(pte_write(f, p));
    assert_true(ptep_hw_use(f, e, p, PT_HW_WRITE));
    assert_false(ptep_hw_use(f, e, clean, PT_HW_WRITE)); /* what it saw is gone */
    p = pt_read(f, e);
    assert_true(pte_dirty(f, p));
    assert_true(pte_write(f, p));
    assert_int_equal(pte_pfn(f, 1, p).nr, 9);
    assert_true(ptep_test_and_clear_dirty(f, e));
    assert_false(ptep_test_and_clear_dirty(f, e));
    assert_true(pte_write(f, pt_read(f, e))); /* clean and writable: the next write marks it again */
    assert_true(ptep_hw_use(f, e, pt_read(f, e), PT_HW_WRITE));
    assert_true(pte_dirty(f, pt_read(f, e)));
    assert_true(ptep_test_and_clear_young(f, e));
    assert_false(ptep_test_and_clear_young(f, e));
    ptep_set_wrprotect(f, e);
    assert_false(pte_write(f, pt_read(f, e)));
    assert_true(pte_dirty(f, pt_read(f, e))); /* dirty survives */
    assert_int_equal(word >> 32 && f->entry_shift == 2, 0);
}

static void test_hardware_tables(void **state)
{
    fmt_t f = *state;

    for (u32 level = 2; level <= f->levels; level++) {
        pte_t p = pte_mkold(f, mk_table_pte(f, level, PFN(1)));
        pte_t used = pte_hw_used(f, p, PT_HW_TABLE);

        assert_int_equal(level <= f->root_level && used.v != p.v,
                         level <= f->root_level && f->id <= PT_X86_64_5L); /* x86 alone */
        assert_int_equal(pte_hw_rights(f, level, p), R | W | X | U);
    }
    for (u32 prot = 0; prot < 16; prot++) {
        pte_t p = mk_pte(f, 1, PFN(1), PGPROT(prot));

        if (pte_hw_present(f, p) && (!(prot & W) || (prot & R)))
            assert_int_equal(pte_hw_rights(f, 1, p), pte_pgprot(f, 1, p).bits & 15);
    }
}

static void test_access_flags(void **state)
{
    fmt_t f = *state;
    u64 word = 0;
    struct pt_entry e = {&word, 1};
    pte_t p = mk_pte(f, 1, PFN(9), PGPROT(R | U)), old;

    set_pte_at(f, e, p);
    assert_false(ptep_set_access_flags(f, e, p));
    assert_true(ptep_set_access_flags(f, e, pte_mkyoung(f, p)));
    assert_false(ptep_set_access_flags(f, e, p)); /* adds only */
    assert_true(pte_young(f, pt_read(f, e)));
    assert_true(ptep_set_access_flags(f, e, pte_mkwrite(f, pte_mkdirty(f, p))));
    assert_true(pte_same(pt_read(f, e), pte_mkwrite(f, pte_mkdirty(f, pte_mkyoung(f, p)))));
    old = p;
    assert_false(ptep_cmpxchg(f, e, &old, PTE(0)));
    assert_true(pte_same(old, pt_read(f, e)));
    assert_true(ptep_cmpxchg(f, e, &old, PTE(0)));
    assert_int_equal(word, 0);
}

/* A 4-byte format must not touch the neighbour. */
static void test_neighbours(void **state)
{
    fmt_t f = *state;
    u64 word[2] = {~0ull, ~0ull};
    struct pt_entry e = {word, 1};
    pte_t p = mk_pte(f, 1, PFN(1), PGPROT(R | W | U | A | D));

    set_pte_at(f, e, p);
    ptep_set_wrprotect(f, e);
    ptep_test_and_clear_young(f, e);
    ptep_test_and_clear_dirty(f, e);
    ptep_get_and_clear(f, e);
    assert_int_equal(word[0], f->entry_shift == 2 ? ~0ull << 32 : 0);
    assert_int_equal(word[1], ~0ull);
}

/* -- the same through a constant format ---------------------------------------------------------------------------- */

PT_FN u64 dispatched(fmt_t f, u64 pfn, u32 prot)
{
    return mk_pte(f, 1, PFN(pfn), PGPROT(prot)).v ^ pt_index(f, f->levels, pfn << 30) ^ f->id;
}

static void test_dispatch(void **state)
{
    fmt_t f = *state;
    volatile u32 prot = R | W | U | A;

    for (u64 pfn = 1; pfn < 1000; pfn++)
        assert_int_equal(PT_DISPATCH(f, dispatched, pfn, prot), dispatched(f, pfn, prot));
    assert_ptr_equal(pt_formats[f->id], f);
}

#define FOR_FORMAT(test, f)                                                                                            \
    {                                                                                                                  \
#test, test, NULL, NULL, (void *)(uintptr_t)(f)                                                                \
    }

int main(void)
{
    int failed = 0;

    for (u32 i = 0; i < NR_PT_FORMATS; i++) {
        fmt_t f = pt_formats[i];
        const struct CMUnitTest tests[] = {
            FOR_FORMAT(test_geometry, f),     FOR_FORMAT(test_addr_end, f),     FOR_FORMAT(test_canonical, f),
            FOR_FORMAT(test_roots, f),        FOR_FORMAT(test_map_levels, f),   FOR_FORMAT(test_entry_next, f),
            FOR_FORMAT(test_round_trip, f),   FOR_FORMAT(test_changes, f),      FOR_FORMAT(test_modify_keeps, f),
            FOR_FORMAT(test_swap, f),         FOR_FORMAT(test_hardware_use, f), FOR_FORMAT(test_hardware_tables, f),
            FOR_FORMAT(test_access_flags, f), FOR_FORMAT(test_neighbours, f),   FOR_FORMAT(test_dispatch, f),
        };

        failed += cmocka_run_group_tests_name(f->name, tests, NULL, NULL);
    }
    return failed;
}
