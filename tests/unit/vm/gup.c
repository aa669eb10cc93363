/* SPDX-License-Identifier: MIT */
/* get_user_pages: references and pins, what a pin keeps true through reads, writes and forks. */
#include "tests/unit/vm/fault_testing.h"
#include "vm/gup.h"

static s64 pin(struct env *v, va_t addr, u64 nr, u32 flags, struct page **pages)
{
    s64 n;

    down_read(v->cpu, &v->t->mm->mmap_lock);
    n = pin_user_pages(v->cpu, addr, nr, flags, pages);
    up_read(v->cpu, &v->t->mm->mmap_lock);
    return n;
}

static void rights_and_partial_results(void **state)
{
    struct page *pages[4];
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 2, RW, ANON_PRIVATE, NULL, 0);
    map_at(v.cpu, BASE + 2 * PG, 1, PROT_READ_, ANON_PRIVATE, NULL, 0);
    assert_int_equal(pin(&v, BASE, 4, FOLL_WRITE, pages), 2); /* to what may not be written */
    unpin_user_pages(v.cpu, pages, 2, UNPIN_DIRTY);
    assert_int_equal(pin(&v, BASE + 2 * PG, 1, FOLL_WRITE, pages), -EFAULT);
    assert_int_equal(pin(&v, BASE + 3 * PG, 1, 0, pages), -EFAULT);
    assert_int_equal(pin(&v, BASE, 4, 0, pages), 3); /* to the hole */
    assert_ptr_equal(pages[2], v.m->vm->zero_page);
    unpin_user_pages(v.cpu, pages, 3, UNPIN_CLEAN);
    env_end(&v);
}

static void pins_are_counted(void **state)
{
    struct page *pages[2];
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 2, RW, ANON_PRIVATE, NULL, 0);
    assert_int_equal(pin_user_pages_fast(v.cpu, BASE, 2, FOLL_WRITE, pages), 2);
    lru_add_drain(v.cpu);
    assert_int_equal(page_count(pages[0]), 1 + GUP_PIN_COUNTING_BIAS);
    assert_true(folio_maybe_dma_pinned(page_folio(pages[0])));
    assert_int_equal(global_node_page_state(v.m, NR_FOLL_PIN_ACQUIRED), 2);
    assert_books(machine_check, v.m);
    assert_int_equal(sys_munmap(v.cpu, BASE, 2 * PG), 0); /* the pins outlive the mapping */
    assert_books(machine_check, v.m);
    unpin_user_pages(v.cpu, pages, 2, UNPIN_CLEAN);
    env_end(&v);
}

/* The child gets copies at once; the parent's entries stay writable, on the pinned pages. */
static void fork_copies_pinned_pages(void **state)
{
    const struct pt_format *fmt;
    struct task *child;
    struct page *page;
    struct env v;

    env_init(&v);
    fmt = pt_format_of(v.m);
    map_at(v.cpu, BASE, 3, RW, ANON_PRIVATE, NULL, 0);
    for (u32 i = 0; i < 3; i++)
        put_byte(v.cpu, BASE + i * PG, (u8)(10 + i));
    assert_int_equal(pin_user_pages_fast(v.cpu, BASE + PG, 1, FOLL_WRITE, &page), 1);
    child = do_fork(v.cpu, 101);
    assert_ptr_equal(page_at(v.cpu, BASE + PG), page);
    assert_true(PageAnonExclusive(page));
    assert_true(pte_write(fmt, pte_at(v.cpu, BASE + PG)));
    assert_false(pte_write(fmt, pte_at(v.cpu, BASE)));
    assert_int_equal(get_mm_counter(child->mm, MM_ANONPAGES), 3);
    assert_books(machine_check, v.m);
    v.cpu->current = child;
    assert_ptr_not_equal(page_at(v.cpu, BASE + PG), page);
    assert_int_equal(get_byte(v.cpu, BASE + PG), 11);
    assert_int_equal(child->mm->flags & MMF_HAS_PINNED, 0);
    v.cpu->current = v.t;
    unpin_user_page(v.cpu, page);
    task_exit(v.cpu, child);
    env_end(&v);
}

/* A page shared since a fork is not pinned for reading: first the process gets its own. */
static void pinning_to_read_unshares(void **state)
{
    struct page *shared, *page;
    struct task *child;
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 1, RW, ANON_PRIVATE, NULL, 0);
    put_byte(v.cpu, BASE, 7);
    shared = page_at(v.cpu, BASE);
    child = do_fork(v.cpu, 101);
    assert_int_equal(pin(&v, BASE, 1, 0, &page), 1);
    assert_ptr_not_equal(page, shared);
    assert_true(PageAnonExclusive(page));
    assert_false(pte_write(pt_format_of(v.m), pte_at(v.cpu, BASE))); /* it was only read */
    put_byte(v.cpu, BASE, 8);
    assert_ptr_equal(page_at(v.cpu, BASE), page); /* the write keeps the pinned page */
    unpin_user_page(v.cpu, page);
    task_exit(v.cpu, child);
    env_end(&v);
}

/* A debugger's write: into a copy of its own, the entry stays read-only. */
static void forced_writes(void **state)
{
    struct page *page;
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 1, PROT_READ_, ANON_PRIVATE, NULL, 0);
    map_at(v.cpu, BASE + PG, 1, PROT_READ_, ANON_SHARED, NULL, 0);
    touch(v.cpu, BASE, ACCESS_READ);
    assert_int_equal(pin(&v, BASE, 1, FOLL_WRITE | FOLL_FORCE, &page), 1);
    assert_ptr_not_equal(page, v.m->vm->zero_page);
    assert_false(pte_write(pt_format_of(v.m), pte_at(v.cpu, BASE)));
    unpin_user_page(v.cpu, page);
    assert_int_equal(pin(&v, BASE + PG, 1, FOLL_WRITE | FOLL_FORCE, &page), -EFAULT);
    env_end(&v);
}

static void fork_failing_allocations(void **state)
{
    struct page *page;
    bool failed = true;
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 2, RW, ANON_PRIVATE, NULL, 0);
    touch_range(v.cpu, BASE, 2, ACCESS_WRITE);
    assert_int_equal(pin_user_pages_fast(v.cpu, BASE + PG, 1, FOLL_WRITE, &page), 1);
    for (u64 nth = 1; failed; nth++) {
        struct task *child;

        fail_arm(v.m, nth);
        child = kernel_clone(v.cpu, 0, 101, 101);
        failed = fail_injected(v.m);
        assert_true(failed || !IS_ERR(child));
        assert_books(machine_check, v.m);
        assert_ptr_equal(page_at(v.cpu, BASE + PG), page);
        if (!IS_ERR(child))
            task_exit(v.cpu, child);
    }
    unpin_user_page(v.cpu, page);
    env_end(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rights_and_partial_results),
        cmocka_unit_test(pins_are_counted),
        cmocka_unit_test(fork_copies_pinned_pages),
        cmocka_unit_test(pinning_to_read_unshares),
        cmocka_unit_test(forced_writes),
        cmocka_unit_test(fork_failing_allocations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
