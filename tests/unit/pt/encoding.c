/* SPDX-License-Identifier: MIT */
/*
 * Encodings bit by bit against the manuals. Every expected value was put together by hand from the tables named beside
 * it, not from the constants of src/arch: this file includes none of them by name.
 *   SDM   Intel SDM vol. 3A, chapter 4
 *   ARM   Arm ARM DDI 0487, D8.3 (descriptors), D8.4 (permissions), D8.5 (AF, DBM)
 *   PRIV  RISC-V privileged architecture, Supervisor level, "Sv39: page table entry" and Svpbmt
 *   LINUX what Linux keeps in bits that the hardware leaves to software
 */
#include "tests/unit/pt/pt_model.h"

#define R PT_READ
#define W PT_WRITE
#define X PT_EXEC
#define U PT_USER
#define G PT_GLOBAL
#define A PT_ACCESSED
#define D PT_DIRTY
#define NONE 0
#define KEY(n) ((u32)(n) << PT_PKEY_SHIFT)

struct leaf_case {
    const char *source;
    enum pt_format_id format;
    u32 level;
    u64 pfn;
    u32 prot;
    u64 expect;
};

static const struct leaf_case leaf_cases[] = {
    /* 32-bit paging: 31:12 frame, 8 G, 7 PAT or PS, 6 D, 5 A, 4 PCD, 3 PWT, 2 U/S, 1 R/W, 0 P; no execute-disable */
    {"SDM 4-6", PT_X86_32, 1, 0x12345, R | U, 0x12345005},
    {"SDM 4-6", PT_X86_32, 1, 0x12345, R | W | U | A | D, 0x12345067},
    {"SDM 4-6", PT_X86_32, 1, 0xfffff, R | X | G, 0xfffff101},
    {"SDM 4-6", PT_X86_32, 1, 0x12345, R | W | PT_NOCACHE, 0x1234501b},
    {"SDM 4-6", PT_X86_32, 1, 0x12345, R | PT_WRITETHROUGH, 0x12345009},
    {"LINUX", PT_X86_32, 1, 0x12345, NONE | A, 0x12345120},
    {"LINUX", PT_X86_32, 1, 0x12345, R | U | PT_SPECIAL, 0x12345205},
    {"SDM 4-4", PT_X86_32, 2, 0x12400, R | W | G | A | D, 0x124001e3},
    {"LINUX", PT_X86_32, 2, 0x12400, NONE, 0x12400180},
    /* PAE: the same low bits, 63 XD, frame to 51 */
    {"SDM 4-11", PT_X86_PAE, 1, 0x12345, R | W | U | A | D, 0x8000000012345067},
    {"SDM 4-11", PT_X86_PAE, 1, 0xfffff1, R | X | U, 0x0000000fffff1005},
    {"SDM 4-9", PT_X86_PAE, 2, 0x12200, R | W | X | U, 0x0000000012200087},
    {"LINUX", PT_X86_PAE, 1, 0x12345, NONE, 0x0000000012345100},
    /* 4-level: 62:59 protection key */
    {"SDM 4-20", PT_X86_64_4L, 1, 0x12345, R | W | U | A | D, 0x8000000012345067},
    {"SDM 4-20", PT_X86_64_4L, 1, 0x12345, R | X | U, 0x0000000012345005},
    {"SDM 4-20", PT_X86_64_4L, 1, 0x12345, R | G, 0x8000000012345101},
    {"SDM 4-20", PT_X86_64_4L, 1, 0xffffffffff, R | W | X, 0x000ffffffffff003},
    {"SDM 4-20", PT_X86_64_4L, 1, 0x12345, R | W | PT_NOCACHE, 0x800000001234501b},
    {"SDM 4-20", PT_X86_64_4L, 1, 0x12345, R | W | PT_WRITETHROUGH, 0x800000001234500b},
    {"SDM 4-20", PT_X86_64_4L, 1, 0x12345, R | W | U | KEY(9), 0xc800000012345007},
    {"SDM 4-20", PT_X86_64_4L, 1, 0x12345, X | U, 0x0000000012345005}, /* no way to forbid reading */
    {"LINUX", PT_X86_64_4L, 1, 0x12345, NONE | A, 0x0000000012345120},
    {"LINUX", PT_X86_64_4L, 1, 0x12345, R | U | PT_SPECIAL, 0x8000000012345205},
    {"LINUX", PT_X86_64_4L, 1, 0x12345, R | U | PT_SOFT_DIRTY, 0x8000000012345805},
    {"SDM 4-18", PT_X86_64_4L, 2, 0x12200, R | W | U | A | D, 0x80000000122000e7},
    {"LINUX", PT_X86_64_4L, 2, 0x12200, NONE, 0x0000000012200180},
    {"SDM 4-16", PT_X86_64_4L, 3, 0x40000, R | X | G, 0x0000000040000181},
    {"SDM 4-20", PT_X86_64_5L, 1, 0x12345, R | W | U | A | D, 0x8000000012345067},
    {"SDM 4-18", PT_X86_64_5L, 2, 0x12200, R | X | U | KEY(15), 0x7800000012200085},
    {"SDM 4-16", PT_X86_64_5L, 3, 0x40000, R | W | G, 0x8000000040000183},
    /* arm64: 1:0 type, 4:2 AttrIndx, 6 AP[1], 7 AP[2], 9:8 SH, 10 AF, 11 nG, 51 DBM, 53 PXN, 54 UXN, 55..58 software */
    {"ARM D8.5.4 clean", PT_ARM64_4K, 1, 0x12345, R | W | U | A, 0x0068000012345fc3},
    {"ARM D8.5.4 dirty", PT_ARM64_4K, 1, 0x12345, R | W | U | A | D, 0x00e8000012345f43},
    {"ARM D8.4.1", PT_ARM64_4K, 1, 0x12345, R | U, 0x0060000012345bc3},
    {"ARM D8.4.1", PT_ARM64_4K, 1, 0x12345, R | X | U | A, 0x0020000012345fc3},
    {"ARM D8.4.1", PT_ARM64_4K, 1, 0x12345, X | U, 0x0020000012345b83},
    {"ARM D8.4.1", PT_ARM64_4K, 1, 0x12345, R | W | G | A | D, 0x00e8000012345703},
    {"ARM D8.4.1", PT_ARM64_4K, 1, 0xfffffffff, R | X | G, 0x0040fffffffff383},
    {"ARM D8.6 NC", PT_ARM64_4K, 1, 0x12345, R | U | PT_NOCACHE, 0x0060000012345bcb},
    {"ARM POIndex", PT_ARM64_4K, 1, 0x12345, R | U | KEY(5), 0x5060000012345bc3},
    {"LINUX", PT_ARM64_4K, 1, 0x12345, NONE, 0x0460000012345b82},
    {"LINUX", PT_ARM64_4K, 1, 0x12345, R | U | PT_SPECIAL, 0x0160000012345bc3},
    {"LINUX", PT_ARM64_4K, 1, 0x12345, R | U | PT_SOFT_DIRTY, 0x0260000012345bc3},
    {"ARM D8.3.1.2", PT_ARM64_4K, 2, 0x12200, R | W | U | A, 0x0068000012200fc1},
    {"ARM D8.3.1.2", PT_ARM64_4K, 3, 0x40000, R | W | U | A, 0x0068000040000fc1},
    {"LINUX", PT_ARM64_4K, 2, 0x12200, NONE, 0x0460000012200b80},
    /* riscv: 0 V, 1 R, 2 W, 3 X, 4 U, 5 G, 6 A, 7 D, 9:8 software, 53:10 PPN, 62:61 PBMT */
    {"PRIV", PT_RISCV_SV39, 1, 0x12345, R | W | U | A | D, 0x48d14d7},
    {"PRIV", PT_RISCV_SV39, 1, 0x12345, X | U, 0x48d1419},
    {"PRIV", PT_RISCV_SV39, 1, 0x12345, W | U, 0x48d1417}, /* W without R is reserved */
    {"PRIV", PT_RISCV_SV39, 1, 0x12345, R | X | G, 0x48d142b},
    {"PRIV", PT_RISCV_SV39, 1, 0xfffffffffff, R | U, 0x003ffffffffffc13},
    {"PRIV Svpbmt IO", PT_RISCV_SV39, 1, 0x12345, R | U | PT_NOCACHE, 0x40000000048d1413},
    {"PRIV Svpbmt NC", PT_RISCV_SV39, 1, 0x12345, R | U | PT_WRITETHROUGH, 0x20000000048d1413},
    {"LINUX", PT_RISCV_SV39, 1, 0x12345, NONE, 0x48d1422},
    {"LINUX", PT_RISCV_SV39, 1, 0x12345, R | U | PT_SPECIAL, 0x48d1513},
    {"LINUX", PT_RISCV_SV39, 1, 0x12345, R | U | PT_SOFT_DIRTY, 0x48d1613},
    {"PRIV", PT_RISCV_SV39, 2, 0x12200, R | W | U | A | D, 0x48800d7},
    {"PRIV", PT_RISCV_SV39, 3, 0x40000, R | W | U | A | D, 0x100000d7},
    {"PRIV", PT_RISCV_SV48, 4, 0x8000000, R | W | U | A | D, 0x20000000d7},
    {"PRIV", PT_RISCV_SV57, 5, 0x1000000000, R | W | U | A | D, 0x4000000000d7},
};

static void test_leaf_encodings(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(leaf_cases); i++) {
        const struct leaf_case *c = &leaf_cases[i];
        fmt_t f = pt_formats[c->format];
        pte_t p = mk_pte(f, c->level, PFN(c->pfn), PGPROT(c->prot));

        if (p.v != c->expect)
            fail_msg("%s %s level %u prot %x: %llx, expected %llx", f->name, c->source, c->level, c->prot,
                     (unsigned long long)p.v, (unsigned long long)c->expect);
        assert_int_equal(pte_pfn(f, c->level, p).nr, c->pfn);
        assert_true(pte_present(f, p));
        assert_true(pte_leaf(f, c->level, p));
        assert_false(pte_bad(f, c->level, p));
        assert_false(pte_is_swap(f, p));
    }
}

static const struct {
    const char *source;
    enum pt_format_id format;
    u32 level;
    u64 expect; /* for a table in frame 0x1234 */
} table_cases[] = {
    {"SDM 4-5", PT_X86_32, 2, 0x1234067},        {"SDM 4-10", PT_X86_PAE, 2, 0x1234067},
    {"SDM 4-8", PT_X86_PAE, 3, 0x1234001},       {"SDM 4-19", PT_X86_64_4L, 2, 0x1234067},
    {"SDM 4-17", PT_X86_64_4L, 3, 0x1234067},    {"SDM 4-15", PT_X86_64_4L, 4, 0x1234067},
    {"SDM 4-14", PT_X86_64_5L, 5, 0x1234067},    {"ARM D8.3.1.1", PT_ARM64_4K, 2, 0x1234003},
    {"ARM D8.3.1.1", PT_ARM64_4K, 3, 0x1234003}, {"ARM D8.3.1.1", PT_ARM64_4K, 4, 0x1234003},
    {"PRIV", PT_RISCV_SV39, 2, 0x48d001},        {"PRIV", PT_RISCV_SV39, 3, 0x48d001},
    {"PRIV", PT_RISCV_SV48, 4, 0x48d001},        {"PRIV", PT_RISCV_SV57, 5, 0x48d001},
};

static void test_table_encodings(void **state)
{
    struct machine m = {.ram = (char *)0x100000000000};

    for (size_t i = 0; i < ARRAY_SIZE(table_cases); i++) {
        fmt_t f = pt_formats[table_cases[i].format];
        u32 level = table_cases[i].level;
        pte_t p = mk_table_pte(f, level, PFN(0x1234));
        struct pt_table t = pt_table_of(&m, f, p, level);

        if (p.v != table_cases[i].expect)
            fail_msg("%s %s level %u: %llx", f->name, table_cases[i].source, level, (unsigned long long)p.v);
        assert_true(pte_table(f, level, p));
        assert_false(pte_leaf(f, level, p));
        assert_false(pte_bad(f, level, p));
        assert_ptr_equal(t.entries, m.ram + 0x1234000);
        assert_int_equal(t.level, level - 1);
    }
}

/* What one bit of an otherwise given entry means:
 * predicate false before, true after (or the other way round for `clears`). */
enum meaning { WRITE, USER, EXEC, YOUNG, DIRTY, GLOBAL, SPECIAL, SOFT, LEAF, PRESENT, HWPRESENT };
static const struct {
    enum pt_format_id format;
    u32 level;
    u64 base;
    u32 bit;
    enum meaning means;
    bool clears;
} bit_cases[] = {
    {PT_X86_32, 1, 0x1000, 0, PRESENT, false},
    {PT_X86_32, 1, 0x1001, 1, WRITE, false},
    {PT_X86_32, 1, 0x1001, 2, USER, false},
    {PT_X86_32, 1, 0x1001, 5, YOUNG, false},
    {PT_X86_32, 1, 0x1001, 6, DIRTY, false},
    {PT_X86_32, 2, 0x400001, 7, LEAF, false},
    {PT_X86_32, 1, 0x1001, 8, GLOBAL, false},
    {PT_X86_32, 1, 0x1000, 8, PRESENT, false},
    {PT_X86_PAE, 1, 0x1001, 63, EXEC, true},
    {PT_X86_PAE, 2, 0x200001, 7, LEAF, false},
    {PT_X86_64_4L, 1, 0x1001, 1, WRITE, false},
    {PT_X86_64_4L, 1, 0x1001, 2, USER, false},
    {PT_X86_64_4L, 1, 0x1001, 5, YOUNG, false},
    {PT_X86_64_4L, 1, 0x1001, 6, DIRTY, false},
    {PT_X86_64_4L, 1, 0x1001, 8, GLOBAL, false},
    {PT_X86_64_4L, 1, 0x1001, 9, SPECIAL, false},
    {PT_X86_64_4L, 1, 0x1001, 11, SOFT, false},
    {PT_X86_64_4L, 1, 0x1001, 63, EXEC, true},
    {PT_X86_64_4L, 3, 0x40000001, 7, LEAF, false},
    {PT_X86_64_4L, 1, 0x1000, 0, HWPRESENT, false},
    {PT_ARM64_4K, 1, 0x1002, 0, PRESENT, false},
    {PT_ARM64_4K, 2, 0x200001, 1, LEAF, true},
    {PT_ARM64_4K, 1, 0x60000000001083, 6, USER, false},
    {PT_ARM64_4K, 1, 0x1083, 51, WRITE, false},
    {PT_ARM64_4K, 1, 0x8000000001003, 7, DIRTY, true},
    {PT_ARM64_4K, 1, 0x1083, 55, DIRTY, false},
    {PT_ARM64_4K, 1, 0x1083, 10, YOUNG, false},
    {PT_ARM64_4K, 1, 0x1083, 11, GLOBAL, true},
    {PT_ARM64_4K, 1, 0x200000000010c3, 54, EXEC, true},
    {PT_ARM64_4K, 1, 0x40000000001083, 53, EXEC, true},
    {PT_ARM64_4K, 1, 0x1083, 56, SPECIAL, false},
    {PT_ARM64_4K, 1, 0x1083, 57, SOFT, false},
    {PT_ARM64_4K, 1, 0x1082, 58, PRESENT, false},
    {PT_RISCV_SV39, 1, 0x402, 0, PRESENT, false},
    {PT_RISCV_SV39, 1, 0x403, 2, WRITE, false},
    {PT_RISCV_SV39, 1, 0x403, 3, EXEC, false},
    {PT_RISCV_SV39, 1, 0x403, 4, USER, false},
    {PT_RISCV_SV39, 1, 0x403, 5, GLOBAL, false},
    {PT_RISCV_SV39, 1, 0x403, 6, YOUNG, false},
    {PT_RISCV_SV39, 1, 0x403, 7, DIRTY, false},
    {PT_RISCV_SV39, 1, 0x403, 8, SPECIAL, false},
    {PT_RISCV_SV39, 1, 0x403, 9, SOFT, false},
    {PT_RISCV_SV39, 2, 0x80001, 1, LEAF, false},
    {PT_RISCV_SV39, 3, 0x10000001, 3, LEAF, false},
    {PT_RISCV_SV57, 5, 0x400000000001, 1, LEAF, false},
    {PT_RISCV_SV39, 1, 0x402, 5, PRESENT, false},
};

static bool means(fmt_t f, u32 level, pte_t p, enum meaning what)
{
    switch (what) {
    case WRITE:
        return pte_write(f, p);
    case USER:
        return pte_user(f, p);
    case EXEC:
        return pte_exec(f, p);
    case YOUNG:
        return pte_young(f, p);
    case DIRTY:
        return pte_dirty(f, p);
    case GLOBAL:
        return pte_global(f, p);
    case SPECIAL:
        return pte_special(f, p);
    case SOFT:
        return pte_soft_dirty(f, p);
    case LEAF:
        return pte_leaf(f, level, p);
    case PRESENT:
        return pte_present(f, p);
    case HWPRESENT:
        return pte_hw_present(f, p);
    }
    return false;
}

static void test_single_bits(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(bit_cases); i++) {
        fmt_t f = pt_formats[bit_cases[i].format];
        pte_t clear = PTE(bit_cases[i].base), set = PTE(clear.v | 1ull << bit_cases[i].bit);
        bool before = means(f, bit_cases[i].level, clear, bit_cases[i].means);
        bool after = means(f, bit_cases[i].level, set, bit_cases[i].means);

        assert_int_equal(clear.v >> bit_cases[i].bit & 1, 0);
        if (before != bit_cases[i].clears || after == bit_cases[i].clears)
            fail_msg("%s level %u bit %u: %d then %d", f->name, bit_cases[i].level, bit_cases[i].bit, before, after);
    }
}

static const struct {
    enum pt_format_id format;
    u32 type;
    u64 offset, expect;
} swap_cases[] = {
    {PT_X86_32, 3, 0x1234, 0x246806},
    {PT_X86_PAE, 3, 0x1234, 0x1fffffffffdb9600},
    {PT_X86_64_4L, 3, 0x1234, 0x1fffffffffdb9600},
    {PT_X86_64_4L, 0, 0, 0x07fffffffffffe00},
    {PT_X86_64_4L, 31, 0x3ffffffffffff, 0xf800000000000000},
    {PT_X86_64_5L, 1, 1, 0x0ffffffffffffc00},
    {PT_ARM64_4K, 3, 0x1234, 0x123418},
    {PT_RISCV_SV39, 3, 0x1234, 0x1234180},
    {PT_RISCV_SV48, 31, 1, 0x1f80},
    {PT_RISCV_SV57, 1, 0xfffffffffffff, 0xfffffffffffff080},
};

static void test_swap_encodings(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(swap_cases); i++) {
        fmt_t f = pt_formats[swap_cases[i].format];
        pte_t p = mk_swap_pte(f, swap_cases[i].type, swap_cases[i].offset);

        if (p.v != swap_cases[i].expect)
            fail_msg("%s: %llx, expected %llx", f->name, (unsigned long long)p.v,
                     (unsigned long long)swap_cases[i].expect);
    }
}

/* Attributes that lie where a page of level 1 has its frame number. */
static void test_huge_attributes(void **state)
{
    assert_int_equal(pte_pfn(pt_formats[PT_X86_64_4L], 2, PTE(0x8000000012201087)).nr,
                     0x12200); /* SDM 4-18: 12 is PAT */
    assert_int_equal(pte_pfn(pt_formats[PT_X86_64_4L], 3, PTE(0x8000000040001087)).nr, 0x40000); /* SDM 4-16 */
    assert_int_equal(pte_pfn(pt_formats[PT_X86_32], 2, PTE(0x12401087)).nr, 0x12400);            /* SDM 4-4 */
    assert_int_equal(pte_pfn(pt_formats[PT_X86_PAE], 2, PTE(0x12201087)).nr, 0x12200);           /* SDM 4-9 */
    assert_int_equal(pte_pfn(pt_formats[PT_ARM64_4K], 2, PTE(0x12210701)).nr, 0x12200);  /* ARM D8.3: 16 is nT */
    assert_int_equal(pte_pfn(pt_formats[PT_X86_64_4L], 2, PTE(0x12201067)).nr, 0x12201); /* a table: no PAT */
}

/* Bits that must be 0: each makes a good entry bad. */
static const struct {
    const char *source;
    enum pt_format_id format;
    u32 level;
    u64 good, bad;
} bad_cases[] = {
    {"SDM 4-4 bit 21", PT_X86_32, 2, 0x12400083, 0x12600083},
    {"SDM 4-8 R/W", PT_X86_PAE, 3, 0x1001, 0x1003},
    {"SDM 4-8 bit 8", PT_X86_PAE, 3, 0x1001, 0x1101},
    {"SDM 4-11 bit 52", PT_X86_PAE, 1, 0x1001, 0x10000000001001},
    {"SDM 4-9 bit 13", PT_X86_PAE, 2, 0x200081, 0x202081},
    {"SDM 4-15 PS", PT_X86_64_4L, 4, 0x1067, 0x10e7},
    {"SDM 4-14 PS", PT_X86_64_5L, 5, 0x1067, 0x10e7},
    {"SDM 4-16 bit 29", PT_X86_64_4L, 3, 0x40000083, 0x60000083},
    {"SDM 4-18 bit 13", PT_X86_64_4L, 2, 0x200083, 0x202083},
    {"ARM bit 48", PT_ARM64_4K, 1, 0x1083, 0x1000000001083},
    {"ARM page type", PT_ARM64_4K, 1, 0x1083, 0x1081},
    {"ARM block at level 0", PT_ARM64_4K, 4, 0x1003, 0x8000000001},
    {"ARM block bit 12", PT_ARM64_4K, 2, 0x200081, 0x201081},
    {"PRIV bit 54", PT_RISCV_SV39, 1, 0x403, 0x40000000000403},
    {"PRIV N", PT_RISCV_SV39, 1, 0x403, 0x8000000000000403},
    {"PRIV W without R", PT_RISCV_SV39, 1, 0x403, 0x405},
    {"PRIV pointer at the last level", PT_RISCV_SV39, 1, 0x403, 0x401},
    {"PRIV misaligned superpage", PT_RISCV_SV39, 2, 0x80003, 0x80403},
    {"PRIV A in a pointer", PT_RISCV_SV48, 4, 0x401, 0x441},
    {"PRIV U in a pointer", PT_RISCV_SV57, 5, 0x401, 0x411},
};

static void test_reserved_bits(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(bad_cases); i++) {
        fmt_t f = pt_formats[bad_cases[i].format];

        if (pte_bad(f, bad_cases[i].level, PTE(bad_cases[i].good)) ||
            !pte_bad(f, bad_cases[i].level, PTE(bad_cases[i].bad)))
            fail_msg("%s %s", f->name, bad_cases[i].source);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leaf_encodings), cmocka_unit_test(test_table_encodings),
        cmocka_unit_test(test_single_bits),    cmocka_unit_test(test_swap_encodings),
        cmocka_unit_test(test_reserved_bits),  cmocka_unit_test(test_huge_attributes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
