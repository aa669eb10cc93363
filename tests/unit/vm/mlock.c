/* SPDX-License-Identifier: MIT */
/* mlock and its relatives: VMAs, pages, lists, counters, limits, failures. */
#include "tests/unit/vm/fault_testing.h"
#include "vm/gup.h"
#include "vm/madvise.h"

#define MLOCK_ONFAULT_ 1u
#define MCL_CURRENT_ 1u
#define MCL_FUTURE_ 2u
#define MCL_ONFAULT_ 4u

static s64 nr_mlock(const struct env *v)
{
    return global_zone_page_state(v->m, NR_MLOCK);
}

static s64 nr_unevictable(const struct env *v)
{
    return global_node_page_state(v->m, NR_UNEVICTABLE);
}

static u64 flags_at(struct env *v, va_t addr)
{
    return vma_lookup(v->cpu, v->t->mm, addr)->vm_flags & VM_LOCKED_MASK;
}

static void drop_caps(struct env *v, u64 memlock_pages)
{
    task_set_caps(v->t, 0);
    test_set_soft_limit(v->t, RLIMIT_MEMLOCK_, memlock_pages * PG);
}

/* -- one mapping --------------------------------------------------------------------------------------------------- */

static void locks_and_unlocks(void **state)
{
    struct events e;
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 8, RW, ANON_PRIVATE, NULL, 0);
    touch_range(v.cpu, BASE, 2, ACCESS_WRITE);
    e = event_start(v.cpu);
    /* an address within a page, a length over it: the pages it touches */
    assert_int_equal(sys_mlock(v.cpu, BASE + PG + 1, 3 * PG), 0);
    assert_int_equal(v.t->mm->locked_vm, 4);
    assert_int_equal(v.t->mm->map_count, 3); /* cut out */
    assert_int_equal(rss(v.cpu, MM_ANONPAGES), 5);
    lru_add_drain(v.cpu);
    assert_int_equal(nr_mlock(&v), 4);
    assert_int_equal(nr_unevictable(&v), 4);
    assert_event(v.cpu, &e, UNEVICTABLE_PGMLOCKED, 4);
    assert_event(v.cpu, &e, UNEVICTABLE_PGCULLED, 4);
    assert_event(v.cpu, &e, PGFAULT, 3);
    assert_true(folio_test_unevictable(page_folio(page_at(v.cpu, BASE + PG))));
    assert_int_equal(page_at(v.cpu, BASE + PG)->mlock_count, 1);
    assert_false(folio_test_mlocked(page_folio(page_at(v.cpu, BASE))));
    assert_books(machine_check, v.m);

    assert_int_equal(sys_mlock(v.cpu, BASE + PG, 4 * PG), 0); /* again: nothing counts twice */
    assert_int_equal(v.t->mm->locked_vm, 4);
    assert_event(v.cpu, &e, UNEVICTABLE_PGMLOCKED, 4);

    assert_int_equal(sys_munlock(v.cpu, BASE, 3 * PG), 0);
    assert_int_equal(v.t->mm->locked_vm, 2);
    assert_int_equal(nr_mlock(&v), 2);
    assert_int_equal(nr_unevictable(&v), 2);
    assert_event(v.cpu, &e, UNEVICTABLE_PGMUNLOCKED, 2);
    assert_event(v.cpu, &e, UNEVICTABLE_PGRESCUED, 2);
    assert_int_equal(sys_munlock(v.cpu, BASE, 8 * PG), 0);
    assert_int_equal(v.t->mm->map_count, 1); /* merged again */
    assert_int_equal(v.t->mm->locked_vm, 0);
    env_end(&v);
}

static void onfault(void **state)
{
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 8, RW, ANON_PRIVATE, NULL, 0);
    touch(v.cpu, BASE, ACCESS_WRITE);
    assert_int_equal(sys_mlock2(v.cpu, BASE, 8 * PG, 2), -EINVAL);
    assert_int_equal(sys_mlock2(v.cpu, BASE, 8 * PG, MLOCK_ONFAULT_), 0);
    assert_int_equal(flags_at(&v, BASE), VM_LOCKED_MASK);
    assert_int_equal(rss(v.cpu, MM_ANONPAGES), 1);
    assert_int_equal(nr_mlock(&v), 1);
    touch(v.cpu, BASE + PG, ACCESS_READ); /* the zero page is nobody's to lock */
    assert_int_equal(nr_mlock(&v), 1);
    touch(v.cpu, BASE + PG, ACCESS_WRITE);
    assert_int_equal(nr_mlock(&v), 2);
    assert_int_equal(sys_mlock(v.cpu, BASE, 8 * PG), 0); /* now all */
    assert_int_equal(flags_at(&v, BASE), VM_LOCKED);
    assert_int_equal(rss(v.cpu, MM_ANONPAGES), 8);
    assert_int_equal(nr_mlock(&v), 8);
    assert_int_equal(v.t->mm->locked_vm, 8);
    env_end(&v);
}

/* Where a hole is: what comes before it is locked, and nothing is faulted in. */
static void holes_and_arguments(void **state)
{
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 2, RW, ANON_PRIVATE, NULL, 0);
    map_at(v.cpu, BASE + 4 * PG, 2, RW, ANON_PRIVATE, NULL, 0);
    map_at(v.cpu, BASE + 16 * PG, 2, PROT_NONE_, ANON_PRIVATE, NULL, 0);
    assert_int_equal(sys_mlock(v.cpu, BASE, 6 * PG), -ENOMEM);
    assert_int_equal(flags_at(&v, BASE), VM_LOCKED);
    assert_int_equal(flags_at(&v, BASE + 4 * PG), 0);
    assert_int_equal(v.t->mm->locked_vm, 2);
    assert_int_equal(rss(v.cpu, MM_ANONPAGES), 0);
    assert_int_equal(sys_munlock(v.cpu, BASE - PG, 2 * PG), -ENOMEM);
    assert_int_equal(flags_at(&v, BASE), VM_LOCKED);
    assert_int_equal(sys_mlock(v.cpu, BASE, 0), 0);
    assert_int_equal(sys_mlock(v.cpu, BASE, ~0ul - BASE), -EINVAL);
    assert_int_equal(sys_mlock(v.cpu, BASE, ~0ul), 0);                   /* rounds up to nothing */
    assert_int_equal(sys_mlock(v.cpu, BASE + 16 * PG, 2 * PG), -ENOMEM); /* cannot be read: locked all the same */
    assert_int_equal(flags_at(&v, BASE + 16 * PG), VM_LOCKED);
    assert_int_equal(sys_mlockall(v.cpu, 0), -EINVAL);
    assert_int_equal(sys_mlockall(v.cpu, 8), -EINVAL);
    assert_int_equal(sys_mlockall(v.cpu, MCL_ONFAULT_), -EINVAL);
    env_end(&v);
}

static void limits(void **state)
{
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 8, RW, ANON_PRIVATE, NULL, 0);
    drop_caps(&v, 0);
    assert_int_equal(sys_mlock(v.cpu, BASE, PG), -EPERM);
    assert_int_equal(sys_mlockall(v.cpu, MCL_CURRENT_), -EPERM);
    assert_int_equal(sys_munlock(v.cpu, BASE, PG), 0);
    drop_caps(&v, 4);
    assert_int_equal(sys_mlock(v.cpu, BASE, 5 * PG), -ENOMEM);
    assert_int_equal(v.t->mm->locked_vm, 0);
    assert_int_equal(sys_mlock(v.cpu, BASE, 3 * PG), 0);
    assert_int_equal(sys_mlock(v.cpu, BASE, 4 * PG), 0); /* what is locked already does not count */
    assert_int_equal(sys_mlock(v.cpu, BASE + 4 * PG, PG), -ENOMEM);
    assert_int_equal(sys_mlock(v.cpu, BASE + PG, ~(u64)0 << 12), -ENOMEM); /* wraps: too much before impossible */
    assert_int_equal(sys_mlockall(v.cpu, MCL_CURRENT_), -ENOMEM);
    drop_caps(&v, 8);
    assert_int_equal(sys_mlockall(v.cpu, MCL_CURRENT_), 0);
    assert_int_equal(v.t->mm->locked_vm, 8);
    env_end(&v);
}

static void all_and_future(void **state)
{
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 2, RW, ANON_PRIVATE, NULL, 0);
    assert_int_equal(sys_mlockall(v.cpu, MCL_FUTURE_), 0);
    assert_int_equal(flags_at(&v, BASE), 0);
    map_at(v.cpu, BASE + 4 * PG, 2, RW, ANON_PRIVATE, NULL, 0);
    assert_int_equal(flags_at(&v, BASE + 4 * PG), VM_LOCKED);
    assert_int_equal(rss(v.cpu, MM_ANONPAGES), 2); /* populated */
    assert_int_equal(sys_mlockall(v.cpu, MCL_CURRENT_ | MCL_FUTURE_ | MCL_ONFAULT_), 0);
    assert_int_equal(flags_at(&v, BASE), VM_LOCKED_MASK);
    map_at(v.cpu, BASE + 8 * PG, 2, RW, ANON_PRIVATE, NULL, 0);
    assert_int_equal(rss(v.cpu, MM_ANONPAGES), 2);
    assert_int_equal(v.t->mm->locked_vm, 6);
    assert_int_equal(sys_mlockall(v.cpu, MCL_CURRENT_), 0); /* ends MCL_FUTURE */
    assert_int_equal(v.t->mm->def_flags, 0);
    assert_int_equal(rss(v.cpu, MM_ANONPAGES), 6);
    assert_int_equal(sys_munlockall(v.cpu), 0);
    assert_int_equal(v.t->mm->locked_vm, 0);
    assert_int_equal(nr_mlock(&v), 0);
    env_end(&v);
}

/* -- pages come and go --------------------------------------------------------------------------------------------- */

static void unmapping_unlocks(void **state)
{
    struct events e;
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 8, RW, ANON_PRIVATE, NULL, 0);
    assert_int_equal(sys_mlock(v.cpu, BASE, 8 * PG), 0);
    lru_add_drain(v.cpu);
    e = event_start(v.cpu);
    assert_int_equal(sys_munmap(v.cpu, BASE + 2 * PG, 2 * PG), 0);
    assert_int_equal(v.t->mm->locked_vm, 6);
    assert_int_equal(nr_mlock(&v), 8); /* the batch has them */
    assert_books(machine_check, v.m);
    lru_add_drain(v.cpu);
    assert_int_equal(nr_mlock(&v), 6);
    assert_event(v.cpu, &e, UNEVICTABLE_PGMUNLOCKED, 2);
    assert_event(v.cpu, &e, UNEVICTABLE_PGCLEARED, 0);
    assert_int_equal(sys_mremap(v.cpu, BASE, 2 * PG, 2 * PG, MREMAP_MAYMOVE_ | MREMAP_FIXED_, BASE + 64 * PG),
                     BASE + 64 * PG);
    assert_int_equal(v.t->mm->locked_vm, 6);
    assert_int_equal(nr_mlock(&v), 6);
    env_end(&v);
}

/*
 * A batch holds what was unmapped locked until something drains it (6.18: munmap and exit do not). Its reference makes a
 * write fault of the page's other mapping copy; what nobody else has is free when the batch is drained.
 */
static void batch_holds_unmapped_pages(void **state)
{
    struct task *child;
    struct page *shared;
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 2, RW, ANON_PRIVATE, NULL, 0);
    assert_int_equal(sys_mlock(v.cpu, BASE, 2 * PG), 0);
    lru_add_drain(v.cpu);
    child = do_fork(v.cpu, 101);
    assert_int_equal(sys_munmap(v.cpu, BASE, 2 * PG), 0);
    v.cpu->current = child;
    shared = page_at(v.cpu, BASE);
    assert_int_equal(page_count(shared), 2);
    assert_true(folio_test_mlocked(page_folio(shared)));
    touch(v.cpu, BASE, ACCESS_WRITE);
    assert_ptr_not_equal(page_at(v.cpu, BASE), shared);
    assert_int_equal(page_count(shared), 1);
    assert_books(machine_check, v.m);
    lru_add_drain(v.cpu);
    assert_int_equal(nr_mlock(&v), 0);
    shared = page_at(v.cpu, BASE + PG);
    touch(v.cpu, BASE + PG, ACCESS_WRITE);
    assert_ptr_equal(page_at(v.cpu, BASE + PG), shared);
    v.cpu->current = v.t;
    task_exit(v.cpu, child);
    env_end(&v);
}

/* The child does not inherit the lock; the pages stay locked for the parent, whose copies are locked, too. */
static void fork_and_cow(void **state)
{
    struct task *child;
    struct page *shared;
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 4, RW, ANON_PRIVATE, NULL, 0);
    assert_int_equal(sys_mlock(v.cpu, BASE, 4 * PG), 0);
    shared = page_at(v.cpu, BASE);
    child = do_fork(v.cpu, 101);
    assert_int_equal(child->mm->locked_vm, 0);
    assert_int_equal(vma_lookup(v.cpu, child->mm, BASE)->vm_flags & VM_LOCKED_MASK, 0);
    assert_int_equal(nr_mlock(&v), 4);
    lru_add_drain(v.cpu);
    touch(v.cpu, BASE, ACCESS_WRITE);
    lru_add_drain(v.cpu);
    assert_ptr_not_equal(page_at(v.cpu, BASE), shared);
    assert_true(folio_test_mlocked(page_folio(page_at(v.cpu, BASE))));
    assert_false(folio_test_mlocked(page_folio(shared)));
    assert_int_equal(nr_mlock(&v), 4);
    assert_books(machine_check, v.m);
    task_exit(v.cpu, child);
    env_end(&v);
}

/* Two VMAs lock one page of a file: mlock_count is 2; a shared mapping is only read in. */
static void two_locks_of_one_page(void **state)
{
    struct folio *f;
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 4, RW, ANON_SHARED, NULL, 0);
    assert_int_equal(sys_mremap(v.cpu, BASE, 0, 4 * PG, MREMAP_MAYMOVE_ | MREMAP_FIXED_, BASE + 64 * PG),
                     BASE + 64 * PG); /* a second mapping of the object */
    assert_int_equal(sys_mlock(v.cpu, BASE, 4 * PG), 0);
    f = page_folio(page_at(v.cpu, BASE));
    assert_false(pte_dirty(pt_format_of(v.m), pte_at(v.cpu, BASE)));
    lru_add_drain(v.cpu);
    assert_int_equal(f->page.mlock_count, 1);
    assert_int_equal(sys_mlock(v.cpu, BASE + 64 * PG, 4 * PG), 0);
    lru_add_drain(v.cpu);
    assert_int_equal(f->page.mlock_count, 2);
    assert_int_equal(nr_mlock(&v), 4);
    assert_int_equal(sys_munlock(v.cpu, BASE, 4 * PG), 0);
    assert_true(folio_test_mlocked(f));
    assert_true(folio_test_unevictable(f));
    assert_int_equal(sys_munmap(v.cpu, BASE + 64 * PG, 4 * PG), 0);
    lru_add_drain(v.cpu);
    assert_false(folio_test_mlocked(f));
    assert_false(folio_test_unevictable(f));
    env_end(&v);
}

/* What MREMAP_DONTUNMAP leaves behind is not locked, but goes on counting as locked (6.18: VmLck 4, 8, 8, 4 pages). */
static void dontunmap_goes_on_counting(void **state)
{
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 4, RW, ANON_PRIVATE, NULL, 0);
    assert_int_equal(sys_mlock(v.cpu, BASE, 4 * PG), 0);
    assert_int_equal(
        sys_mremap(v.cpu, BASE, 4 * PG, 4 * PG, MREMAP_MAYMOVE_ | MREMAP_FIXED_ | MREMAP_DONTUNMAP_, BASE + 64 * PG),
        BASE + 64 * PG);
    assert_int_equal(v.t->mm->locked_vm, 8);
    assert_int_equal(flags_at(&v, BASE), 0);
    assert_int_equal(flags_at(&v, BASE + 64 * PG), VM_LOCKED);
    assert_int_equal(nr_mlock(&v), 4); /* the pages have moved */
    touch(v.cpu, BASE, ACCESS_WRITE);
    assert_int_equal(nr_mlock(&v), 4);
    assert_int_equal(sys_munmap(v.cpu, BASE, 4 * PG), 0);
    assert_int_equal(v.t->mm->locked_vm, 8);
    assert_int_equal(sys_munmap(v.cpu, BASE + 64 * PG, 4 * PG), 0);
    assert_int_equal(v.t->mm->locked_vm, 4);
    lru_add_drain(v.cpu);
    assert_int_equal(nr_mlock(&v), 0);
    map_at(v.cpu, BASE, 4, RW, ANON_PRIVATE, NULL, 0);
    drop_caps(&v, 6); /* RLIMIT_MEMLOCK sees it */
    assert_int_equal(sys_mlock(v.cpu, BASE, 3 * PG), -ENOMEM);
    assert_int_equal(sys_mlock(v.cpu, BASE, 2 * PG), 0);
    env_end(&v);
}

/* What a moved part leaves in its VMA is not locked, but its pages are until they are freed: not paged out. */
static void dontunmap_forgets_locked_pages(void **state)
{
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 4, RW, ANON_SHARED, NULL, 0);
    assert_int_equal(sys_mlock(v.cpu, BASE, 4 * PG), 0);
    assert_int_equal(sys_mremap(v.cpu, BASE + 2 * PG, 2 * PG, 2 * PG,
                                MREMAP_MAYMOVE_ | MREMAP_FIXED_ | MREMAP_DONTUNMAP_, BASE + 64 * PG),
                     BASE + 64 * PG);
    assert_int_equal(flags_at(&v, BASE), 0);
    assert_int_equal(flags_at(&v, BASE + 64 * PG), VM_LOCKED);
    assert_int_equal(nr_mlock(&v), 4);
    assert_int_equal(sys_madvise(v.cpu, BASE, 4 * PG, MADV_PAGEOUT_), 0);
    assert_int_equal(rss(v.cpu, MM_SHMEMPAGES), 4);
    assert_books(machine_check, v.m);
    assert_int_equal(sys_munmap(v.cpu, BASE + 64 * PG, 2 * PG), 0);
    lru_add_drain(v.cpu);
    assert_int_equal(nr_mlock(&v), 2);
    assert_int_equal(sys_munmap(v.cpu, BASE, 4 * PG), 0); /* with it goes the object */
    assert_int_equal(nr_mlock(&v), 0);
    env_end(&v);
}

/* -- failing allocations ------------------------------------------------------------------------------------------- */

static void failing_allocations(void **state)
{
    bool failed = true;
    struct env v;

    env_init(&v);
    for (u64 nth = 1; failed; nth++) {
        s64 err;

        map_at(v.cpu, BASE, 8, RW, ANON_PRIVATE, NULL, 0);
        fail_arm(v.m, nth);
        err = sys_mlock(v.cpu, BASE + PG, 3 * PG);
        failed = fail_injected(v.m);
        /* the cut failed and nothing is locked; or the pages could not be had; or there was another way */
        assert_true(!err || (failed && (err == -ENOMEM || err == -EAGAIN)));
        assert_int_equal(v.t->mm->locked_vm, err == -ENOMEM ? 0 : 3);
        assert_books(machine_check, v.m);
        assert_int_equal(sys_munmap(v.cpu, BASE, 8 * PG), 0);
    }
    env_end(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(locks_and_unlocks),
        cmocka_unit_test(onfault),
        cmocka_unit_test(holes_and_arguments),
        cmocka_unit_test(limits),
        cmocka_unit_test(all_and_future),
        cmocka_unit_test(unmapping_unlocks),
        cmocka_unit_test(batch_holds_unmapped_pages),
        cmocka_unit_test(fork_and_cow),
        cmocka_unit_test(two_locks_of_one_page),
        cmocka_unit_test(failing_allocations),
        cmocka_unit_test(dontunmap_goes_on_counting),
        cmocka_unit_test(dontunmap_forgets_locked_pages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
