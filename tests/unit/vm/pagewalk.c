/* SPDX-License-Identifier: MIT */
/*
 * walk_page_range(), follow_page(), follow_pte(), vm_normal_page(), ptdump on a booted machine, for every format.
 *
 *   A                          B
 *   │ W - R │      hole        │ huge │        W written, R read (zero page), - untouched
 */
#include "tests/unit/testing_full.h"
#include "vm/check.h"
#include "vm/pgtable.h"
#include "vm/ptdump.h"

#define PAGES 3
#define PROT_RW (PROT_READ_ | PROT_WRITE_)
#define ANON (MAP_PRIVATE_ | MAP_ANONYMOUS_ | MAP_FIXED_)

struct fixture {
    struct machine *m;
    struct cpu *cpu;
    struct task *task;
    struct mm *mm;
    fmt_t f;
    va_t a, b;
    u64 huge;
};

static struct vm_area_struct *vma_at(struct fixture *x, va_t addr)
{
    struct vm_area_struct *vma;

    down_read(x->cpu, &x->mm->mmap_lock);
    vma = vma_lookup(x->cpu, x->mm, addr);
    up_read(x->cpu, &x->mm->mmap_lock);
    assert_non_null(vma);
    return vma;
}

static void touch(struct fixture *x, va_t addr, enum fault_access access)
{
    assert_int_equal(do_user_addr_fault(x->cpu, addr, access).signo, 0);
}

static void start(struct fixture *x, enum pt_format_id format)
{
    struct machine_config c;

    test_config_of(&c, format, 128ull << 20, 1);
    x->m = test_machine_full(&c);
    x->cpu = test_cpu(x->m);
    x->task = test_task(x->cpu, 1);
    x->mm = x->task->mm;
    x->f = pt_format_of(x->m);
    x->huge = pt_size(x->f, 2);
    x->a = 0x20000000;
    x->b = x->a + 8 * x->huge;
    assert_int_equal(sys_mmap(x->cpu, x->a, PAGES * PAGE_SIZE, PROT_RW, ANON, NULL, 0), x->a);
    assert_int_equal(sys_mmap(x->cpu, x->b, x->huge, PROT_RW, ANON, NULL, 0), x->b);
    touch(x, x->a, ACCESS_WRITE);
    touch(x, x->a + 2 * PAGE_SIZE, ACCESS_READ);
}

static void end(struct fixture *x)
{
    assert_books(machine_check, x->m);
    x->cpu->current = NULL;
    task_exit(x->cpu, x->task);
    assert_books(machine_check, x->m);
    machine_destroy(x->m);
}

static void for_each_format(void (*test)(struct fixture *x))
{
    for (u32 i = 0; i < NR_PT_FORMATS; i++) {
        struct fixture x;

        start(&x, (enum pt_format_id)i);
        test(&x);
        end(&x);
    }
}

static struct pt_entry put_huge(struct fixture *x, pfn_t pfn, u32 prot)
{
    struct pt_entry e = pt_alloc_entry(x->cpu, x->mm, x->b, 2, NULL);

    assert_true(pte_none(x->f, pt_read(x->f, e)));
    set_pte_at(x->f, e, mk_pte(x->f, 2, pfn, PGPROT(prot)));
    return e;
}

/* -- walk_page_range ----------------------------------------------------------------------------------------------- */

struct log {
    fmt_t f;
    u32 entries[PT_MAX_LEVELS + 1], ptes_present, leaves, holes, vma_holes;
    u32 tests, pres, posts;
    va_t reached; /* everything before it was shown exactly once */
    va_t skip, stop_at, again_at;
    int stop;
};

static void covered(struct log *l, va_t addr, va_t next)
{
    assert_int_equal(addr, l->reached);
    l->reached = next;
}

static int log_upper(struct pt_entry e, va_t addr, va_t next, struct mm_walk *walk)
{
    struct log *l = walk->private;

    assert_non_null(walk->vma);
    assert_true(addr >= walk->vma->vm_start && next <= walk->vma->vm_end);
    l->entries[e.level]++;
    if (pte_leaf(l->f, e.level, pt_read(l->f, e))) {
        l->leaves++;
        covered(l, addr, next);
    }
    return 0;
}

static int log_pte(struct pt_entry e, va_t addr, va_t next, struct mm_walk *walk)
{
    struct log *l = walk->private;

    assert_true(spin_is_locked(pt_lockptr(walk->mm, e)));
    if (addr == l->stop_at)
        return l->stop;
    l->entries[1]++;
    if (addr == l->again_at) {
        l->again_at = 0;
        walk->again = true;
        return 0;
    }
    l->ptes_present += pte_present(l->f, pt_read(l->f, e));
    covered(l, addr, next);
    return 0;
}

static int log_hole(va_t addr, va_t next, u32 level, struct mm_walk *walk)
{
    struct log *l = walk->private;

    assert_int_equal(!level, !walk->vma);
    l->holes += !level;
    l->vma_holes += !!level;
    covered(l, addr, next);
    return 0;
}

static int log_test(va_t addr, va_t next, struct mm_walk *walk)
{
    struct log *l = walk->private;

    l->tests++;
    if (addr != l->skip)
        return 0;
    covered(l, addr, next);
    return 1;
}

static int log_pre(va_t start, va_t end, struct mm_walk *walk)
{
    ((struct log *)walk->private)->pres++;
    return 0;
}

static void log_post(struct mm_walk *walk)
{
    ((struct log *)walk->private)->posts++;
}

static const struct mm_walk_ops log_ops = {
    .entry = {[1] = log_pte, [2] = log_upper, [3] = log_upper, [4] = log_upper, [5] = log_upper},
    .hole = log_hole,
    .test_walk = log_test,
    .pre_vma = log_pre,
    .post_vma = log_post,
};

static int walk(struct fixture *x, struct log *l, va_t start, va_t end)
{
    int ret;

    l->f = x->f;
    l->reached = start;
    down_read(x->cpu, &x->mm->mmap_lock);
    ret = walk_page_range(x->cpu, x->mm, start, end, &log_ops, l);
    up_read(x->cpu, &x->mm->mmap_lock);
    return ret;
}

static void walks(struct fixture *x)
{
    va_t lo = x->a - PAGE_SIZE, hi = x->b + x->huge + PAGE_SIZE;
    struct log l = {0};

    assert_int_equal(walk(x, &l, lo, hi), 0);
    assert_int_equal(l.reached, hi);
    assert_int_equal(l.entries[1], PAGES); /* empty ones too */
    assert_int_equal(l.ptes_present, 2);
    for (u32 level = 2; level <= x->f->levels; level++) /* A's path, and B's as far as it exists */
        assert_true(l.entries[level] >= 1 && l.entries[level] <= 2);
    assert_int_equal(l.holes, 3);     /* before, between, behind */
    assert_int_equal(l.vma_holes, 1); /* B has no table yet */
    assert_int_equal(l.tests, 2);
    assert_int_equal(l.pres, 2);
    assert_int_equal(l.posts, 2);

    l = (struct log){.skip = x->a};
    assert_int_equal(walk(x, &l, x->a, hi), 0);
    assert_int_equal(l.reached, hi);
    assert_int_equal(l.entries[1], 0);
    assert_int_equal(l.pres, 1);

    l = (struct log){.stop_at = x->a + PAGE_SIZE, .stop = 7};
    assert_int_equal(walk(x, &l, lo, hi), 7);
    assert_int_equal(l.reached, x->a + PAGE_SIZE);
    assert_int_equal(l.posts, 1);
    l = (struct log){.stop_at = x->a + PAGE_SIZE, .stop = -EBUSY};
    assert_int_equal(walk(x, &l, lo, hi), -EBUSY);

    l = (struct log){.again_at = x->a + PAGE_SIZE};
    assert_int_equal(walk(x, &l, lo, hi), 0);
    assert_int_equal(l.entries[1], PAGES + 1);
    assert_int_equal(l.reached, hi);
    assert_int_equal(walk(x, &l, hi, hi), -EINVAL);
}

static void walk_huge(struct fixture *x)
{
    struct pt_entry e = put_huge(x, PFN(2 * pt_nr_pages(x->f, 2)), PT_READ | PT_USER);
    struct log l = {0};

    assert_int_equal(walk(x, &l, x->b, x->b + x->huge), 0);
    assert_int_equal(l.leaves, 1);
    assert_int_equal(l.entries[2], 1);
    assert_int_equal(l.entries[1], 0);
    assert_int_equal(l.reached, x->b + x->huge);
    ptep_get_and_clear(x->f, e);
}

/* A callback that takes the huge leaf out: seen again, then a hole in the VMA. */
static int remove_leaf(struct pt_entry e, va_t addr, va_t next, struct mm_walk *walk)
{
    struct log *l = walk->private;

    l->entries[2]++;
    ptep_get_and_clear(l->f, e);
    walk->again = true;
    return 0;
}

static void walk_again(struct fixture *x)
{
    static const struct mm_walk_ops ops = {.entry = {[2] = remove_leaf}, .hole = log_hole};
    struct log l = {.f = x->f, .reached = x->b};

    put_huge(x, PFN(2 * pt_nr_pages(x->f, 2)), PT_READ | PT_USER);
    down_read(x->cpu, &x->mm->mmap_lock);
    assert_int_equal(walk_page_range(x->cpu, x->mm, x->b, x->b + x->huge, &ops, &l), 0);
    up_read(x->cpu, &x->mm->mmap_lock);
    assert_int_equal(l.entries[2], 1);
    assert_int_equal(l.vma_holes, 1);
    assert_int_equal(l.reached, x->b + x->huge);
}

/* A callback that fills the hole it is shown: the table is then descended into. */
static int fill_hole(va_t addr, va_t next, u32 level, struct mm_walk *walk)
{
    struct log *l = walk->private;

    l->vma_holes++;
    assert_non_null(pt_alloc_entry(walk->cpu, walk->mm, addr, 1, NULL).slot);
    walk->again = true;
    return 0;
}

static void walk_fill(struct fixture *x)
{
    static const struct mm_walk_ops ops = {.entry = {[1] = log_pte}, .hole = fill_hole};
    struct log l = {.f = x->f, .reached = x->b};

    down_read(x->cpu, &x->mm->mmap_lock);
    assert_int_equal(walk_page_range(x->cpu, x->mm, x->b, x->b + x->huge, &ops, &l), 0);
    up_read(x->cpu, &x->mm->mmap_lock);
    assert_int_equal(l.vma_holes, 1);
    assert_int_equal(l.entries[1], x->huge / PAGE_SIZE);
    assert_int_equal(l.reached, x->b + x->huge);
}

static void test_walk(void **state)
{
    for_each_format(walks);
    for_each_format(walk_huge);
    for_each_format(walk_again);
    for_each_format(walk_fill);
}

/* -- follow_page --------------------------------------------------------------------------------------------------- */

static void *follow(struct fixture *x, va_t addr, u32 flags)
{
    return follow_page(x->cpu, vma_at(x, addr), addr, flags);
}

static void follows(struct fixture *x)
{
    va_t none = x->a + PAGE_SIZE, zero = x->a + 2 * PAGE_SIZE;
    struct page *page = follow(x, x->a, 0), *zero_page = x->m->vm->zero_page;
    struct pt_entry e;
    s32 refs;

    assert_non_null(page);
    assert_true(PageAnon(page));
    refs = page_count(page);
    assert_ptr_equal(follow(x, x->a + 100, FOLL_WRITE | FOLL_GET), page);
    assert_int_equal(page_count(page), refs + 1);
    put_page(x->cpu, page);
    assert_null(follow(x, none, 0));
    assert_null(follow(x, x->b, 0)); /* no table */
    assert_ptr_equal(follow(x, none, FOLL_DUMP), ERR_PTR(-EFAULT));
    assert_ptr_equal(follow(x, x->b, FOLL_DUMP), ERR_PTR(-EFAULT));
    assert_ptr_equal(follow(x, zero, 0), zero_page);
    assert_ptr_equal(follow(x, zero, FOLL_DUMP), ERR_PTR(-EFAULT));
    assert_null(follow(x, zero, FOLL_WRITE));
    assert_null(follow(x, zero, FOLL_WRITE | FOLL_FORCE));

    e = pt_find_entry(x->mm, x->a, 1);
    assert_ptr_equal(vm_normal_page(vma_at(x, x->a), x->a, pt_read(x->f, e)), page);
    assert_null(vm_normal_page(vma_at(x, zero), zero, pt_read(x->f, pt_find_entry(x->mm, zero, 1))));
}

static void follow_rights(struct fixture *x)
{
    struct page *page = follow(x, x->a, 0);
    struct pt_entry e = pt_find_entry(x->mm, x->a, 1);
    pte_t p = pt_read(x->f, e);

    set_pte_at(x->f, e, pte_wrprotect(x->f, p));
    assert_null(follow(x, x->a, FOLL_WRITE | FOLL_FORCE)); /* writable VMA: the fault handler's business */
    set_pte_at(x->f, e, p);
    assert_int_equal(sys_mprotect(x->cpu, x->a, PAGES * PAGE_SIZE, PROT_READ_), 0);
    assert_null(follow(x, x->a, FOLL_WRITE));
    assert_ptr_equal(follow(x, x->a, FOLL_WRITE | FOLL_FORCE), page); /* a debugger, into the process's own copy */
    ClearPageAnonExclusive(page);
    assert_null(follow(x, x->a, FOLL_WRITE | FOLL_FORCE));
    SetPageAnonExclusive(page);
    assert_int_equal(sys_mprotect(x->cpu, x->a, PAGES * PAGE_SIZE, PROT_NONE_), 0);
    assert_true(pte_protnone(x->f, pt_read(x->f, e)));
    assert_ptr_equal(follow(x, x->a, FOLL_HONOR_NUMA_FAULT), page); /* PROT_NONE itself is no hint */
    assert_int_equal(sys_mprotect(x->cpu, x->a, PAGES * PAGE_SIZE, PROT_RW), 0);
    p = pt_read(x->f, e);
    set_pte_at(x->f, e, pte_modify(x->f, 1, p, PGPROT(0)));
    assert_null(follow(x, x->a, FOLL_HONOR_NUMA_FAULT));
    assert_ptr_equal(follow(x, x->a, 0), page);
    set_pte_at(x->f, e, p);
}

static void follow_special(struct fixture *x)
{
    pfn_t pfn = page_to_pfn(x->m, follow(x, x->a, 0));
    va_t at = x->a + PAGE_SIZE;
    struct pt_entry e = pt_alloc_entry(x->cpu, x->mm, at, 1, NULL), found;
    spinlock_t *ptl;

    assert_int_equal(follow_pte(x->cpu, x->mm, at, &found, &ptl), -EINVAL);
    assert_int_equal(follow_pte(x->cpu, x->mm, x->b, &found, &ptl), -EINVAL);
    set_pte_at(x->f, e, mk_pte(x->f, 1, pfn, PGPROT(PT_READ | PT_USER | PT_SPECIAL)));
    assert_null(vm_normal_page(vma_at(x, at), at, pt_read(x->f, e)));
    assert_ptr_equal(follow(x, at, 0), ERR_PTR(-EEXIST));
    assert_ptr_equal(follow(x, at, FOLL_GET), ERR_PTR(-EFAULT));
    assert_ptr_equal(follow(x, at, FOLL_DUMP), ERR_PTR(-EFAULT));
    assert_int_equal(follow_pte(x->cpu, x->mm, at, &found, &ptl), 0);
    assert_ptr_equal(found.slot, e.slot);
    pte_unmap_unlock(x->cpu, ptl);
    set_pte_at(x->f, e, mk_swap_pte(x->f, 1, 1));
    assert_null(follow(x, at, 0));
    assert_int_equal(follow_pte(x->cpu, x->mm, at, &found, &ptl), -EINVAL);
    ptep_get_and_clear(x->f, e);
}

static void follow_huge(struct fixture *x)
{
    struct page *first = pfn_to_page(x->m, PFN(2 * pt_nr_pages(x->f, 2)));
    struct pt_entry e = put_huge(x, page_to_pfn(x->m, first), PT_READ | PT_USER);

    assert_ptr_equal(follow(x, x->b, 0), first);
    assert_ptr_equal(follow(x, x->b + 5 * PAGE_SIZE + 9, 0), first + 5);
    assert_ptr_equal(follow(x, x->b + x->huge - 1, 0), first + pt_nr_pages(x->f, 2) - 1);
    assert_null(follow(x, x->b, FOLL_WRITE));
    ptep_get_and_clear(x->f, e);
}

static void test_follow(void **state)
{
    for_each_format(follows);
    for_each_format(follow_rights);
    for_each_format(follow_special);
    for_each_format(follow_huge);
}

/* -- ptdump -------------------------------------------------------------------------------------------------------- */

struct ranges {
    u64 nr;
    struct ptdump_range r[16];
};

static void note(const struct ptdump_range *r, void *arg)
{
    struct ranges *x = arg;

    assert_true(x->nr < ARRAY_SIZE(x->r));
    x->r[x->nr++] = *r;
}

static void dumps(struct fixture *x)
{
    struct pt_entry e = put_huge(x, PFN(0), PT_READ | PT_USER | PT_ACCESSED);
    struct ranges d = {0};
    char text[PTDUMP_FLAGS_TEXT];
    va_t lo = x->a - PAGE_SIZE, hi = x->b + 2 * x->huge;
    const struct {
        va_t start, end;
        u32 level;
    } expect[] = {
        {lo, x->a, 0},
        {x->a, x->a + PAGE_SIZE, 1},
        {x->a + PAGE_SIZE, x->a + 2 * PAGE_SIZE, 0},
        {x->a + 2 * PAGE_SIZE, x->a + 3 * PAGE_SIZE, 1},
        {x->a + 3 * PAGE_SIZE, x->b, 0},
        {x->b, x->b + x->huge, 2},
        {x->b + x->huge, hi, 0},
    };

    assert_int_equal(ptdump_walk(x->mm, lo, hi, note, &d), ARRAY_SIZE(expect));
    assert_int_equal(d.nr, ARRAY_SIZE(expect));
    for (u32 i = 0; i < ARRAY_SIZE(expect); i++) {
        assert_int_equal(d.r[i].start, expect[i].start);
        assert_int_equal(d.r[i].end, expect[i].end);
        assert_int_equal(d.r[i].level, expect[i].level);
    }
    assert_int_equal(d.r[1].nr_dirty, 1);
    assert_int_equal(d.r[3].nr_dirty, 0);
    assert_true(d.r[3].prot.bits & PT_SPECIAL); /* the zero page */
    assert_string_equal(ptdump_flags(PGPROT(d.r[5].prot.bits & ~(u32)PT_EXEC), text), "R-- USR");
    assert_string_equal(ptdump_flags(PGPROT(PT_READ | PT_WRITE | PT_GLOBAL | PT_NOCACHE), text), "RW- G UC");
    ptep_get_and_clear(x->f, e);
}

static void test_ptdump(void **state)
{
    for_each_format(dumps);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_walk), cmocka_unit_test(test_follow),
                                       cmocka_unit_test(test_ptdump)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
