/* SPDX-License-Identifier: MIT */
/*
 * The TLBs against naive models: exact true LRU in lists, one list for each set; accessed and dirty bits of every
 * format by the architectures' rules; address spaces kept apart; what is counted.
 */
#include "tests/unit/testing_full.h"

#include "machine/tlb.h"
#include "phys/vmstat.h"

#define MIB(n) ((u64)(n) << 20)

/* -- the naive model: each set a list, latest first ---------------------------------------------------------------- */

#define MAX_WAYS 32

struct model_entry {
    u64 page;
    bool w;
};

struct model_tlb {
    u32 sets, ways;
    struct model_entry e[256][MAX_WAYS];
    u32 nr[256];
};

static bool model_access(struct model_tlb *t, u64 page, bool *w)
{
    u32 set = (u32)page & (t->sets - 1);

    for (u32 i = 0; i < t->nr[set]; i++)
        if (t->e[set][i].page == page) {
            struct model_entry e = t->e[set][i];

            memmove(&t->e[set][1], &t->e[set][0], i * sizeof(e));
            t->e[set][0] = e;
            *w = e.w;
            return true;
        }
    return false;
}

/* In front; in place of an entry of the same page, else the oldest falls off. */
static void model_fill(struct model_tlb *t, u64 page, bool w)
{
    u32 set = (u32)page & (t->sets - 1);
    bool old;

    if (!model_access(t, page, &old)) {
        t->nr[set] = MIN(t->nr[set] + 1, t->ways);
        memmove(&t->e[set][1], &t->e[set][0], (t->nr[set] - 1) * sizeof(t->e[0][0]));
    }
    t->e[set][0] = (struct model_entry){page, w};
}

struct model {
    struct model_tlb l1, l2;
    bool dirty[4096]; /* by page of the test's mapping */
    u64 l1_miss, l2_hit, l2_miss, clean;
};

/* Both levels as mmu.c describes them, for one size of page and pages that are all present and writable. */
static void model_one(struct model *d, u64 page, u64 index, bool write)
{
    bool w;

    if (model_access(&d->l1, page, &w)) {
        if (!write || w)
            return;
        d->clean++;
    } else {
        d->l1_miss++;
        if (model_access(&d->l2, page, &w) && (!write || w)) {
            d->l2_hit++;
            model_fill(&d->l1, page, w);
            return;
        }
        d->l2_miss++;
    }
    d->dirty[index] |= write;
    model_fill(&d->l2, page, d->dirty[index]);
    model_fill(&d->l1, page, d->dirty[index]);
}

static struct machine *machine_with_task(const struct machine_config *c, va_t *at, u64 bytes)
{
    struct machine *m = test_machine_full(c);
    struct cpu *cpu = test_cpu(m);
    s64 got;

    test_task(cpu, 100);
    got = sys_mmap(cpu, 0, bytes, PROT_READ_ | PROT_WRITE_, MAP_PRIVATE_ | MAP_ANONYMOUS_, NULL, 0);
    assert_false(IS_ERR_VALUE(got));
    *at = (va_t)got;
    return m;
}

static void access_or_die(struct cpu *cpu, va_t va, enum mmu_access_kind kind)
{
    struct fault_info fi;
    struct mmu *u = cpu_mmu(cpu);
    int signo = kind == MMU_WRITE  ? mmu_access(cpu, u, va, MMU_WRITE, &fi)
                : kind == MMU_EXEC ? mmu_access(cpu, u, va, MMU_EXEC, &fi)
                                   : mmu_access(cpu, u, va, MMU_READ, &fi);

    assert_int_equal(signo, 0);
}

/* Every entry of the mapping clean: stores must set D anew. */
static void clean_entries(struct machine *m, va_t at, u32 pages)
{
    const struct pt_format *f = pt_format_of(m);

    for (u32 i = 0; i < pages; i++) {
        pte_t p;
        struct pt_entry e = pt_walk(m, f, pt_root_for(test_cpu(m)->current->mm, at), at + i * PAGE_SIZE, 1, &p);

        set_pte_at(f, e, pte_mkclean(f, p));
    }
}

/* The latest first: array and model must hold the same pages with the same rights in the same order. */
static void compare_sets(const struct tlb_array *t, const struct model_tlb *d)
{
    for (u32 set = 0; set < t->sets; set++)
        for (u32 pos = 0; pos < t->ways; pos++) {
            u64 e = *tlb_slot(t, set, pos);

            if (pos >= d->nr[set]) {
                assert_int_equal(e, 0);
                continue;
            }
            assert_int_equal(e >> PAGE_SHIFT, d->e[set][pos].page);
            assert_int_equal(e & TLB_W, d->e[set][pos].w ? TLB_W : 0);
        }
}

static const struct {
    struct tlb_geometry l1, l2;
} geometries[] = {
    {{16, 4}, {128, 12}}, {{16, 6}, {128, 16}}, {{1, 1}, {1, 2}},  {{4, 2}, {8, 3}},
    {{8, 3}, {16, 8}},    {{1, 24}, {2, 20}},   {{2, 9}, {16, 1}},
};

static void test_lru(void **state)
{
    for (u32 g = 0; g < ARRAY_SIZE(geometries); g++) {
        static struct machine_config c;
        struct model *d = calloc(1, sizeof(*d));
        u64 seed = 88172645463325252ull + g;
        const u32 pages = 3000;
        struct machine *m;
        struct cpu *cpu;
        struct mmu *u;
        va_t at;

        test_config(&c);
        c.tlb.l1d_4k = geometries[g].l1;
        c.tlb.l2 = geometries[g].l2;
        m = machine_with_task(&c, &at, pages * PAGE_SIZE);
        cpu = test_cpu(m);
        u = cpu_mmu(cpu);
        cpu_enter_user(cpu);
        for (u32 i = 0; i < pages; i++) /* all present, all dirty but in no TLB afterwards */
            access_or_die(cpu, at + i * PAGE_SIZE, MMU_WRITE);
        clean_entries(m, at, pages);
        mmu_flush_asid(u, u->asid);
        memset(&u->count, 0, sizeof(u->count));
        d->l1.sets = c.tlb.l1d_4k.sets;
        d->l1.ways = c.tlb.l1d_4k.ways;
        d->l2.sets = c.tlb.l2.sets;
        d->l2.ways = c.tlb.l2.ways;
        for (u32 i = 0; i < 60000; i++) {
            u64 r = test_random(&seed);
            u64 index = r % 100 < 60 ? (r >> 8) % 40 : r % 100 < 90 ? (r >> 8) % 400 : (r >> 8) % pages;
            bool write = r >> 60 == 0;

            access_or_die(cpu, at + index * PAGE_SIZE + (r >> 40) % PAGE_SIZE, write ? MMU_WRITE : MMU_READ);
            model_one(d, (at >> PAGE_SHIFT) + index, index, write);
        }
        assert_int_equal(u->count.l1d_miss, d->l1_miss);
        assert_int_equal(u->count.l2_hit_4k, d->l2_hit);
        assert_int_equal(u->count.l2_miss, d->l2_miss);
        assert_int_equal(u->count.l1_store_clean, d->clean);
        compare_sets(&u->l1d, &d->l1);
        compare_sets(&u->l2, &d->l2);
        cpu_enter_kernel(cpu);
        assert_books(machine_check, m);
        test_machine_end(m);
        free(d);
    }
}

/* -- accessed and dirty bits --------------------------------------------------------------------------------------- */

static pte_t pte_of(struct machine *m, va_t va)
{
    struct mm *mm = test_cpu(m)->current->mm;
    pte_t p;

    pt_walk(m, pt_format_of(m), pt_root_for(mm, va), va, 1, &p);
    return p;
}

static void test_accessed_dirty(void **state)
{
    for (u32 fmt = 0; fmt < NR_PT_FORMATS; fmt++) {
        static struct machine_config c;
        const struct pt_format *f = pt_formats[fmt];
        struct machine *m;
        struct cpu *cpu;
        struct mmu *u;
        struct mmu_counters before;
        struct pt_entry e;
        pte_t p;
        va_t at;

        test_config_of(&c, (enum pt_format_id)fmt, MIB(256), 1);
        m = machine_with_task(&c, &at, MIB(1));
        cpu = test_cpu(m);
        u = cpu_mmu(cpu);
        cpu_enter_user(cpu);
        access_or_die(cpu, at, MMU_WRITE);
        e = pt_walk(m, f, pt_root_for(cpu->current->mm, at), at, 1, &p);
        assert_true(pte_young(f, p) && pte_dirty(f, p) && pte_write(f, p));

        /* a clean and old entry: a read sets A only, the next store sets D, and is seen as a store to a clean entry */
        set_pte_at(f, e, pte_mkold(f, pte_mkclean(f, p)));
        mmu_flush_asid(u, u->asid);
        memset(&u->count, 0, sizeof(u->count));
        access_or_die(cpu, at + 8, MMU_READ);
        assert_true(pte_young(f, pte_of(m, at)));
        assert_false(pte_dirty(f, pte_of(m, at)));
        assert_int_equal(u->count.set_accessed, 1);
        assert_int_equal(u->count.set_dirty, 0);
        assert_int_equal(u->count.walks, 1);
        access_or_die(cpu, at + 16, MMU_WRITE);
        assert_true(pte_dirty(f, pte_of(m, at)));
        assert_int_equal(u->count.set_dirty, 1);
        assert_int_equal(u->count.l1_store_clean, 1);
        assert_int_equal(u->count.walks, 2);
        access_or_die(cpu, at + 24, MMU_WRITE);
        access_or_die(cpu, at + 24, MMU_READ);
        assert_int_equal(u->count.walks, 2);
        assert_int_equal(u->count.l1d_miss, 1);

        /* a store to an old and clean entry sets both at once */
        set_pte_at(f, e, pte_mkold(f, pte_mkclean(f, pte_of(m, at))));
        mmu_flush_asid(u, u->asid);
        access_or_die(cpu, at, MMU_WRITE);
        assert_true(pte_young(f, pte_of(m, at)) && pte_dirty(f, pte_of(m, at)));
        assert_int_equal(u->count.set_accessed, 2);
        assert_int_equal(u->count.set_dirty, 2);

        /* full walk: one load for each level below the root that the CPU keeps */
        mmu_flush_asid(u, u->asid);
        before = u->count;
        access_or_die(cpu, at, MMU_READ);
        assert_int_equal(u->count.walk_loads - before.walk_loads, f->root_level);
        /* the neighbour: the walk cache knows the level-1 table; its entry is empty: fault, and once more */
        before = u->count;
        access_or_die(cpu, at + PAGE_SIZE, MMU_READ);
        assert_int_equal(u->count.pwc_hit_pte - before.pwc_hit_pte, f->root_level > 1 ? 2 : 0);
        cpu_enter_kernel(cpu);
        assert_books(machine_check, m);
        test_machine_end(m);
    }
}

/* x86: entries that point to tables get A too; the others' do not. */
static void test_accessed_in_tables(void **state)
{
    for (u32 fmt = 0; fmt < NR_PT_FORMATS; fmt++) {
        static struct machine_config c;
        const struct pt_format *f = pt_formats[fmt];
        struct machine *m;
        struct cpu *cpu;
        pte_t p;
        va_t at;

        test_config_of(&c, (enum pt_format_id)fmt, MIB(256), 1);
        m = machine_with_task(&c, &at, MIB(1));
        cpu = test_cpu(m);
        cpu_enter_user(cpu);
        access_or_die(cpu, at, MMU_WRITE);
        pt_walk(m, f, pt_root_for(cpu->current->mm, at), at, 2, &p);
        assert_true(pte_table(f, 2, p));
        if (f->flags & PT_ACCESSED_IN_TABLES)
            assert_true(pte_young(f, p));
        cpu_enter_kernel(cpu);
        test_machine_end(m);
    }
}

/* -- rights -------------------------------------------------------------------------------------------------------- */

static void test_rights(void **state)
{
    for (u32 fmt = 0; fmt < NR_PT_FORMATS; fmt++) {
        static struct machine_config c;
        struct machine *m;
        struct cpu *cpu;
        struct mmu *u;
        struct fault_info fi;
        va_t at;

        test_config_of(&c, (enum pt_format_id)fmt, MIB(256), 1);
        m = machine_with_task(&c, &at, MIB(1));
        cpu = test_cpu(m);
        u = cpu_mmu(cpu);
        cpu_enter_user(cpu);
        access_or_die(cpu, at, MMU_WRITE);
        if (fmt != PT_X86_32) { /* has no NX bit: the VMA alone decides, at the fault */
            assert_int_equal(mmu_access(cpu, u, at, MMU_EXEC, &fi), 11);
            assert_int_equal(fi.si_code, 2);
        }
        cpu_enter_kernel(cpu);
        assert_int_equal(sys_mprotect(cpu, at, PAGE_SIZE, PROT_READ_), 0);
        cpu_enter_user(cpu);
        assert_int_equal(mmu_access(cpu, u, at, MMU_WRITE, &fi), 11);
        assert_int_equal(fi.si_code, 2);
        assert_int_equal(fi.addr, at);
        access_or_die(cpu, at, MMU_READ);
        cpu_enter_kernel(cpu);
        assert_int_equal(sys_mprotect(cpu, at, PAGE_SIZE, PROT_READ_ | PROT_EXEC_), 0);
        cpu_enter_user(cpu);
        access_or_die(cpu, at, MMU_EXEC);
        cpu_enter_kernel(cpu);
        assert_int_equal(sys_munmap(cpu, at, PAGE_SIZE), 0);
        cpu_enter_user(cpu);
        assert_int_equal(mmu_access(cpu, u, at, MMU_READ, &fi), 11);
        assert_int_equal(fi.si_code, 1);
        assert_int_equal(mmu_access(cpu, u, 0xdead000000000000ull, MMU_READ, &fi), 11);
        cpu_enter_kernel(cpu);
        assert_books(machine_check, m);
        test_machine_end(m);
    }
}

/* Two processes at the same address, one CPU: entries are kept apart by ASID, and found again. */
static void test_asids(void **state)
{
    static struct machine_config c;
    struct task *task[3];
    struct machine *m;
    struct cpu *cpu;
    struct mmu *u;
    va_t at;
    char out, in;

    test_config(&c);
    c.tlb.nr_asids = 2;
    m = machine_with_task(&c, &at, MIB(1));
    cpu = test_cpu(m);
    u = cpu_mmu(cpu);
    task[0] = cpu->current;
    task[1] = kernel_clone(cpu, 0, 101, 101);
    task[2] = kernel_clone(cpu, 0, 102, 102);
    for (int i = 0; i < 3; i++) {
        struct fault_info fi;

        cpu->current = task[i];
        out = (char)('a' + i);
        assert_int_equal(mmu_copy_to_user(cpu, at, &out, 1, &fi), 0);
    }
    memset(&u->count, 0, sizeof(u->count));
    for (int i = 2; i >= 0; i--) {
        struct fault_info fi;

        cpu->current = task[i];
        assert_int_equal(mmu_copy_from_user(cpu, &in, at, 1, &fi), 0);
        assert_int_equal(in, 'a' + i);
    }
    /* 2 is loaded, 1 has its slot still, 0 was driven out by 2 */
    assert_int_equal(u->count.asid_reuse, 1);
    assert_int_equal(u->count.asid_new, 1);
    assert_int_equal(u->count.l1d_miss, 1);
    assert_books(machine_check, m);
    test_machine_end(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lru),    cmocka_unit_test(test_accessed_dirty), cmocka_unit_test(test_accessed_in_tables),
        cmocka_unit_test(test_rights), cmocka_unit_test(test_asids),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
