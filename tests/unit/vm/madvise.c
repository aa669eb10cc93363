/* SPDX-License-Identifier: MIT */
/* madvise: every advice, what it refuses, what it does to entries, pages, lists and counters. Results: those of 6.18. */
#include "tests/unit/vm/fault_testing.h"
#include "vm/madvise.h"
#include "vm/swapops.h"

static s64 adv(struct env *v, va_t addr, u64 pages, int advice)
{
    return sys_madvise(v->cpu, addr, pages * PG, advice);
}

static u64 flags_at(struct env *v, va_t addr)
{
    return vma_lookup(v->cpu, v->t->mm, addr)->vm_flags;
}

static s64 on_list(const struct env *v, enum lru_list lru)
{
    return global_node_page_state(v->m, (enum node_stat_item)(NR_INACTIVE_ANON + lru));
}

/* -- arguments ----------------------------------------------------------------------------------------------------- */

/* [2 pages][hole of 2][2 pages] from BASE */
static void arguments(void **state)
{
    static const struct {
        u64 addr, len;
        int advice;
        s64 result;
    } rows[] = {
        {0, 6 * PG, MADV_DONTNEED_, -ENOMEM},
        {1, PG, MADV_DONTNEED_, -EINVAL},
        {0, 0, MADV_DONTNEED_, 0},
        {0, -PG, MADV_DONTNEED_, -EINVAL},
        {0, ~0ul, MADV_DONTNEED_, -EINVAL},
        {0, PG, 5, -EINVAL},
        {0, 0, 5, -EINVAL},
        {1, 0, MADV_DONTNEED_, -EINVAL},
        {0, PG, 26, -EINVAL},
        {0, PG, MADV_HWPOISON_, -EINVAL},
        {0, PG, MADV_SOFT_OFFLINE_, -EINVAL},
        {0, PG, 104, -EINVAL},
        {0, PG, -1, -EINVAL},
        {0, 6 * PG, MADV_POPULATE_READ_, -ENOMEM},
        {0, 6 * PG, MADV_POPULATE_WRITE_, -ENOMEM},
        {0, 6 * PG, MADV_WILLNEED_, -ENOMEM},
        {0, 6 * PG, MADV_GUARD_INSTALL_, -ENOMEM},
        {0, 6 * PG, MADV_GUARD_REMOVE_, -ENOMEM},
        {2 * PG, PG, MADV_DONTNEED_, -ENOMEM},
        {0, 6 * PG, MADV_COLLAPSE_, -EINVAL},
        {0, 2 * PG, MADV_COLLAPSE_, -EINVAL},
        {0, 2 * PG, MADV_MERGEABLE_, 0},
        {0, 2 * PG, MADV_UNMERGEABLE_, 0},
        {0, 2 * PG, MADV_REMOVE_, -EINVAL},
    };
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 2, RW, ANON_PRIVATE, NULL, 0);
    map_at(v.cpu, BASE + 4 * PG, 2, RW, ANON_PRIVATE, NULL, 0);
    for (u32 i = 0; i < ARRAY_SIZE(rows); i++)
        if (sys_madvise(v.cpu, BASE + rows[i].addr, rows[i].len, rows[i].advice) != rows[i].result)
            fail_msg("row %u: not %lld", i, (long long)rows[i].result);
    env_end(&v);
}

/* What is advised around a hole is done all the same. */
static void around_holes(void **state)
{
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 2, RW, ANON_PRIVATE, NULL, 0);
    map_at(v.cpu, BASE + 4 * PG, 2, RW, ANON_PRIVATE, NULL, 0);
    touch_range(v.cpu, BASE, 2, ACCESS_WRITE);
    touch_range(v.cpu, BASE + 4 * PG, 2, ACCESS_WRITE);
    assert_int_equal(adv(&v, BASE, 6, MADV_DONTNEED_), -ENOMEM);
    assert_int_equal(rss(v.cpu, MM_ANONPAGES), 0);
    env_end(&v);
}

/* -- flags --------------------------------------------------------------------------------------------------------- */

static void flags_set_and_cleared(void **state)
{
    static const struct {
        int advice;
        vm_flags_t mask, expect;
    } rows[] = {
        {MADV_RANDOM_, VM_RAND_READ | VM_SEQ_READ, VM_RAND_READ},
        {MADV_SEQUENTIAL_, VM_RAND_READ | VM_SEQ_READ, VM_SEQ_READ},
        {MADV_NORMAL_, VM_RAND_READ | VM_SEQ_READ, 0},
        {MADV_DONTFORK_, VM_DONTCOPY, VM_DONTCOPY},
        {MADV_DOFORK_, VM_DONTCOPY, 0},
        {MADV_DONTDUMP_, VM_DONTDUMP, VM_DONTDUMP},
        {MADV_DODUMP_, VM_DONTDUMP, 0},
        {MADV_WIPEONFORK_, VM_WIPEONFORK, VM_WIPEONFORK},
        {MADV_KEEPONFORK_, VM_WIPEONFORK, 0},
        {MADV_MERGEABLE_, VM_MERGEABLE, VM_MERGEABLE},
        {MADV_UNMERGEABLE_, VM_MERGEABLE, 0},
        {MADV_HUGEPAGE_, VM_HUGEPAGE | VM_NOHUGEPAGE, VM_HUGEPAGE},
        {MADV_NOHUGEPAGE_, VM_HUGEPAGE | VM_NOHUGEPAGE, VM_NOHUGEPAGE},
    };
    struct events e;
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 3, RW, ANON_PRIVATE, NULL, 0);
    map_at(v.cpu, BASE + 8 * PG, 1, RW, ANON_SHARED, NULL, 0);
    e = event_start(v.cpu);
    for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_int_equal(adv(&v, BASE + PG, 1, rows[i].advice), 0);
        assert_int_equal(flags_at(&v, BASE + PG) & rows[i].mask, rows[i].expect);
        assert_int_equal(flags_at(&v, BASE) & rows[i].mask & ~rows[i].expect, 0);
    }
    assert_event(v.cpu, &e, Q_NO_EFFECT_MERGEABLE, 1);
    assert_event(v.cpu, &e, Q_NO_EFFECT_HUGEPAGE, 1);
    assert_int_equal(adv(&v, BASE, 3, MADV_HUGEPAGE_), 0); /* three VMAs, one call */
    assert_event(v.cpu, &e, Q_NO_EFFECT_HUGEPAGE, 2);
    assert_int_equal(adv(&v, BASE + 8 * PG, 1, MADV_MERGEABLE_), 0); /* shared: nothing happens */
    assert_int_equal(flags_at(&v, BASE + 8 * PG) & VM_MERGEABLE, 0);
    assert_event(v.cpu, &e, Q_NO_EFFECT_MERGEABLE, 1);
    assert_int_equal(adv(&v, BASE + 8 * PG, 1, MADV_WIPEONFORK_), -EINVAL);
    assert_int_equal(adv(&v, BASE + 8 * PG, 1, MADV_FREE_), -EINVAL);
    env_end(&v);
}

/* -- dropping pages ------------------------------------------------------------------------------------------------ */

static void dontneed_and_locked(void **state)
{
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 4, RW, ANON_PRIVATE, NULL, 0);
    put_byte(v.cpu, BASE, 7);
    assert_int_equal(sys_mlock(v.cpu, BASE, 4 * PG), 0);
    assert_int_equal(adv(&v, BASE, 1, MADV_DONTNEED_), -EINVAL);
    assert_int_equal(adv(&v, BASE, 1, MADV_FREE_), -EINVAL);
    assert_int_equal(adv(&v, BASE, 1, MADV_COLD_), -EINVAL);
    assert_int_equal(adv(&v, BASE, 1, MADV_PAGEOUT_), -EINVAL);
    assert_int_equal(adv(&v, BASE, 1, MADV_GUARD_INSTALL_), -EINVAL);
    assert_int_equal(adv(&v, BASE, 1, MADV_GUARD_REMOVE_), 0);
    assert_int_equal(adv(&v, BASE, 2, MADV_DONTNEED_LOCKED_), 0);
    assert_int_equal(rss(v.cpu, MM_ANONPAGES), 2);
    lru_add_drain(v.cpu); /* not before is what was locked free */
    assert_int_equal(global_zone_page_state(v.m, NR_MLOCK), 2);
    assert_int_equal(get_byte(v.cpu, BASE), 0);
    env_end(&v);
}

static void free_makes_lazyfree(void **state)
{
    const struct pt_format *fmt;
    struct folio *f;
    struct events e;
    struct env v;

    env_init(&v);
    fmt = pt_format_of(v.m);
    map_at(v.cpu, BASE, 4, RW, ANON_PRIVATE, NULL, 0);
    touch_range(v.cpu, BASE, 3, ACCESS_WRITE);
    touch(v.cpu, BASE + 3 * PG, ACCESS_READ); /* the zero page: nothing to free */
    e = event_start(v.cpu);
    assert_int_equal(adv(&v, BASE, 4, MADV_FREE_), 0);
    lru_add_drain(v.cpu);
    assert_event(v.cpu, &e, PGLAZYFREE, 3);
    assert_int_equal(on_list(&v, LRU_INACTIVE_FILE), 3);
    assert_int_equal(on_list(&v, LRU_INACTIVE_ANON), 0);
    f = page_folio(page_at(v.cpu, BASE));
    assert_true(folio_test_anon(f) && !folio_test_swapbacked(f) && !folio_test_dirty(f));
    assert_false(pte_dirty(fmt, pte_at(v.cpu, BASE)));
    assert_false(pte_young(fmt, pte_at(v.cpu, BASE)));
    assert_int_equal(rss(v.cpu, MM_ANONPAGES), 3); /* it stays until reclaim wants it */
    assert_int_equal(global_node_page_state(v.m, NR_ANON_MAPPED), 3);
    assert_books(machine_check, v.m);
    touch(v.cpu, BASE, ACCESS_WRITE); /* no fault: only the dirty bit says that it is wanted again */
    assert_event(v.cpu, &e, PGFAULT, 0);
    assert_true(pte_dirty(fmt, pte_at(v.cpu, BASE)));
    assert_int_equal(adv(&v, BASE, 4, MADV_FREE_), 0); /* again: on its list already */
    lru_add_drain(v.cpu);
    assert_event(v.cpu, &e, PGLAZYFREE, 3);
    assert_false(pte_dirty(fmt, pte_at(v.cpu, BASE)));
    env_end(&v);
}

static void cold_deactivates(void **state)
{
    struct folio *f;
    struct events e;
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 2, RW, ANON_PRIVATE, NULL, 0);
    touch_range(v.cpu, BASE, 2, ACCESS_WRITE);
    f = page_folio(page_at(v.cpu, BASE));
    folio_mark_accessed(v.cpu, f);
    folio_mark_accessed(v.cpu, f);
    lru_add_drain(v.cpu);
    assert_int_equal(on_list(&v, LRU_ACTIVE_ANON), 1);
    e = event_start(v.cpu);
    assert_int_equal(adv(&v, BASE, 2, MADV_COLD_), 0);
    lru_add_drain(v.cpu);
    assert_event(v.cpu, &e, PGDEACTIVATE, 1);
    assert_int_equal(on_list(&v, LRU_ACTIVE_ANON), 0);
    assert_int_equal(on_list(&v, LRU_INACTIVE_ANON), 2);
    assert_true(folio_test_workingset(f) && !folio_test_referenced(f));
    assert_false(pte_young(pt_format_of(v.m), pte_at(v.cpu, BASE)));
    assert_true(pte_dirty(pt_format_of(v.m), pte_at(v.cpu, BASE)));
    assert_int_equal(adv(&v, BASE, 2, MADV_PAGEOUT_), 0);
    assert_event(v.cpu, &e, Q_NO_EFFECT_PAGEOUT, 2);
    assert_int_equal(rss(v.cpu, MM_ANONPAGES), 2);
    env_end(&v);
}

/* What leaves the table, and what is counted as left alone: tests/oracle/pageout_oracle.c has all cases. */
static void pageout_unmaps_shared_memory(void **state)
{
    struct events e;
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 3, RW, ANON_SHARED, NULL, 0);
    put_byte(v.cpu, BASE, 7);
    touch(v.cpu, BASE + PG, ACCESS_READ);
    touch(v.cpu, BASE + 2 * PG, ACCESS_WRITE);
    e = event_start(v.cpu);
    assert_int_equal(adv(&v, BASE, 2, MADV_PAGEOUT_), 0);
    assert_event(v.cpu, &e, Q_NO_EFFECT_PAGEOUT, 1); /* dirty: stays in its cache */
    assert_int_equal(rss(v.cpu, MM_SHMEMPAGES), 1);
    assert_int_equal(global_node_page_state(v.m, NR_FILE_MAPPED), 1);
    assert_int_equal(global_node_page_state(v.m, NR_SHMEM), 2);
    assert_books(machine_check, v.m);
    assert_int_equal(get_byte(v.cpu, BASE), 7);
    assert_int_equal(get_byte(v.cpu, BASE + PG), 0);
    assert_event(v.cpu, &e, PGFAULT, 2);
    assert_event(v.cpu, &e, PGMAJFAULT, 0);
    env_end(&v);
}

static void remove_punches_a_hole(void **state)
{
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 4, RW, ANON_SHARED, NULL, 0);
    put_byte(v.cpu, BASE, 7);
    put_byte(v.cpu, BASE + PG, 8);
    assert_int_equal(adv(&v, BASE, 1, MADV_REMOVE_), 0);
    assert_int_equal(rss(v.cpu, MM_SHMEMPAGES), 1);
    assert_int_equal(global_node_page_state(v.m, NR_SHMEM), 1);
    assert_int_equal(get_byte(v.cpu, BASE), 0);
    assert_int_equal(get_byte(v.cpu, BASE + PG), 8);
    assert_int_equal(sys_mlock(v.cpu, BASE, PG), 0);
    assert_int_equal(adv(&v, BASE, 1, MADV_REMOVE_), -EINVAL);
    env_end(&v);
}

static void remove_needs_shared_maywrite(void **state)
{
    struct file *rw, *ro;
    struct env v;

    env_init(&v);
    rw = env_open(&v, 1, 8 * PG);
    ro = file_open(v.cpu, 1, 1, 8 * PG, FMODE_READ, "/data");
    map_at(v.cpu, BASE, 1, RW, MAP_PRIVATE_ | MAP_FIXED_, rw, 0);
    map_at(v.cpu, BASE + PG, 1, PROT_READ_, MAP_SHARED_ | MAP_FIXED_, ro, 0);
    assert_int_equal(adv(&v, BASE, 1, MADV_REMOVE_), -EACCES);
    assert_int_equal(adv(&v, BASE + PG, 1, MADV_REMOVE_), -EACCES);
    fput(v.cpu, rw);
    fput(v.cpu, ro);
    env_end(&v);
}

/* -- populating ---------------------------------------------------------------------------------------------------- */

static void populate_by_rights(void **state)
{
    static const s64 read_result[] = {-EINVAL, 0, -EINVAL, 0, -EINVAL, 0, -EINVAL, 0};
    static const s64 write_result[] = {-EINVAL, -EINVAL, 0, 0, -EINVAL, -EINVAL, 0, 0};
    static const s64 mlock_result[] = {-ENOMEM, 0, 0, 0, 0, 0, 0, 0};
    struct env v;

    env_init(&v);
    for (u32 prot = 0; prot < 8; prot++) {
        map_at(v.cpu, BASE, 2, prot, ANON_PRIVATE, NULL, 0);
        assert_int_equal(adv(&v, BASE, 2, MADV_POPULATE_READ_), read_result[prot]);
        assert_int_equal(adv(&v, BASE, 2, MADV_POPULATE_WRITE_), write_result[prot]);
        assert_int_equal(rss(v.cpu, MM_ANONPAGES), write_result[prot] ? 0 : 2);
        assert_int_equal(sys_mlock(v.cpu, BASE, 2 * PG), mlock_result[prot]);
        assert_int_equal(sys_munmap(v.cpu, BASE, 2 * PG), 0);
    }
    env_end(&v);
}

/* A page that is there already is not faulted on again. */
static void populate_faults_once(void **state)
{
    struct events e;
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 4, RW, ANON_PRIVATE, NULL, 0);
    touch_range(v.cpu, BASE, 2, ACCESS_WRITE);
    e = event_start(v.cpu);
    assert_int_equal(adv(&v, BASE, 4, MADV_POPULATE_WRITE_), 0);
    assert_event(v.cpu, &e, PGFAULT, 2);
    assert_int_equal(adv(&v, BASE, 4, MADV_POPULATE_READ_), 0);
    assert_event(v.cpu, &e, PGFAULT, 2);
    env_end(&v);
}

static void willneed_reads_ahead(void **state)
{
    struct machine_config c;
    struct events e;
    struct file *f;
    struct env v;

    test_config(&c);
    c.page_cache_warm = false;
    env_init_config(&v, &c);
    f = env_open(&v, 1, 8 * PG);
    map_at(v.cpu, BASE, 16, PROT_READ_, MAP_SHARED_ | MAP_FIXED_, f, 0);
    e = event_start(v.cpu);
    assert_int_equal(adv(&v, BASE + PG, 15, MADV_WILLNEED_), 0);
    assert_int_equal(f->f_mapping->nrpages, 7); /* to the file's end */
    touch(v.cpu, BASE + PG, ACCESS_READ);
    assert_event(v.cpu, &e, PGMAJFAULT, 0);
    touch(v.cpu, BASE, ACCESS_READ);
    assert_event(v.cpu, &e, PGMAJFAULT, 1);
    fput(v.cpu, f);
    env_end(&v);
}

static void collapse_validates(void **state)
{
    const va_t big = 0x40000000;
    const u64 huge = 512;
    struct events e;
    struct env v;

    env_init(&v);
    e = event_start(v.cpu);
    map_at(v.cpu, big, 4 * huge, RW, ANON_PRIVATE, NULL, 0);
    assert_int_equal(adv(&v, big, huge, MADV_COLLAPSE_), -EINVAL); /* nothing there */
    touch(v.cpu, big, ACCESS_READ);
    assert_int_equal(adv(&v, big, huge, MADV_COLLAPSE_), -EINVAL); /* a zero page, in a mapping that never had others */
    touch(v.cpu, big, ACCESS_WRITE);
    assert_int_equal(adv(&v, big, huge, MADV_COLLAPSE_), 0);
    assert_int_equal(adv(&v, big, 1, MADV_COLLAPSE_), 0); /* no whole huge page in the range, but aligned */
    assert_int_equal(adv(&v, big + PG, 1, MADV_COLLAPSE_), -EINVAL);
    assert_int_equal(adv(&v, big + PG, huge, MADV_COLLAPSE_), 0);
    assert_int_equal(adv(&v, big + huge * PG, huge, MADV_COLLAPSE_), -EINVAL);
    assert_int_equal(adv(&v, big, 4 * huge, MADV_NOHUGEPAGE_), 0);
    assert_int_equal(adv(&v, big, huge, MADV_COLLAPSE_), -EINVAL);
    assert_event(v.cpu, &e, Q_NO_EFFECT_COLLAPSE, 3); /* calls that the VMA took */
    env_end(&v);
}

/* -- sealed -------------------------------------------------------------------------------------------------------- */

static void sealed_keeps_contents(void **state)
{
    static const int discarding[] = {MADV_DONTNEED_, MADV_DONTNEED_LOCKED_, MADV_FREE_,         MADV_REMOVE_,
                                     MADV_DONTFORK_, MADV_WIPEONFORK_,      MADV_GUARD_INSTALL_};
    static const int harmless[] = {MADV_DOFORK_,   MADV_KEEPONFORK_, MADV_GUARD_REMOVE_, MADV_COLD_,
                                   MADV_PAGEOUT_,  MADV_NORMAL_,     MADV_MERGEABLE_,    MADV_HUGEPAGE_,
                                   MADV_DONTDUMP_, MADV_WILLNEED_,   MADV_POPULATE_READ_};
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 1, PROT_READ_, ANON_PRIVATE, NULL, 0);
    vma_lookup(v.cpu, v.t->mm, BASE)->vm_flags |= VM_SEALED;
    for (u32 i = 0; i < ARRAY_SIZE(discarding); i++)
        assert_int_equal(adv(&v, BASE, 1, discarding[i]), -EPERM);
    for (u32 i = 0; i < ARRAY_SIZE(harmless); i++)
        assert_int_equal(adv(&v, BASE, 1, harmless[i]), 0);
    vma_lookup(v.cpu, v.t->mm, BASE)->vm_flags |= VM_WRITE; /* who may write may discard */
    for (u32 i = 0; i < ARRAY_SIZE(discarding); i++)
        assert_int_equal(adv(&v, BASE, 1, discarding[i]), discarding[i] == MADV_REMOVE_ ? -EINVAL : 0);
    vma_lookup(v.cpu, v.t->mm, BASE)->vm_flags &= ~VM_WRITE;
    env_end(&v);
}

/* -- guards -------------------------------------------------------------------------------------------------------- */

static bool guarded(struct env *v, va_t addr)
{
    struct fault_info r = do_access(v->cpu, addr, ACCESS_READ), w = do_access(v->cpu, addr, ACCESS_WRITE);

    assert_int_equal(r.signo, w.signo);
    if (r.signo)
        assert_true(r.signo == 11 && r.si_code == 1 && w.si_code == 1 &&
                    pte_is_guard(pt_format_of(v->m), pte_at(v->cpu, addr)));
    return r.signo;
}

static void guard_life(void **state)
{
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 8, RW, ANON_PRIVATE, NULL, 0);
    touch_range(v.cpu, BASE, 8, ACCESS_WRITE);
    assert_int_equal(adv(&v, BASE + PG, 2, MADV_GUARD_INSTALL_), 0);
    assert_int_equal(rss(v.cpu, MM_ANONPAGES), 6);
    assert_int_equal(v.t->mm->map_count, 1);
    assert_true(guarded(&v, BASE + PG) && guarded(&v, BASE + 2 * PG));
    assert_false(guarded(&v, BASE) || guarded(&v, BASE + 3 * PG));
    assert_books(machine_check, v.m);
    assert_int_equal(adv(&v, BASE, 8, MADV_DONTNEED_), 0);
    assert_true(guarded(&v, BASE + PG));
    assert_int_equal(adv(&v, BASE, 8, MADV_FREE_), 0);
    assert_int_equal(adv(&v, BASE, 8, MADV_COLD_), 0);
    assert_int_equal(sys_mprotect(v.cpu, BASE, 8 * PG, PROT_READ_), 0);
    assert_int_equal(sys_mprotect(v.cpu, BASE, 8 * PG, RW), 0);
    assert_true(guarded(&v, BASE + PG));
    assert_int_equal(adv(&v, BASE, 8, MADV_POPULATE_READ_), -EFAULT);
    assert_int_equal(adv(&v, BASE, 8, MADV_POPULATE_WRITE_), -EFAULT);
    assert_int_equal(sys_mlock(v.cpu, BASE, 8 * PG), -ENOMEM);
    assert_int_equal(sys_munlock(v.cpu, BASE, 8 * PG), 0);
    assert_int_equal(adv(&v, BASE, 8, MADV_GUARD_REMOVE_), 0);
    assert_int_equal(get_byte(v.cpu, BASE + PG), 0);
    /* a new mapping has none */
    assert_int_equal(adv(&v, BASE, 1, MADV_GUARD_INSTALL_), 0);
    map_at(v.cpu, BASE, 8, RW, ANON_PRIVATE, NULL, 0);
    assert_false(guarded(&v, BASE));
    env_end(&v);
}

static void guard_moves_and_forks(void **state)
{
    struct task *child;
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 4, RW, ANON_PRIVATE, NULL, 0);
    assert_int_equal(adv(&v, BASE, 1, MADV_GUARD_INSTALL_), 0);
    assert_int_equal(sys_mremap(v.cpu, BASE, 4 * PG, 4 * PG, MREMAP_MAYMOVE_ | MREMAP_FIXED_, BASE + 64 * PG),
                     BASE + 64 * PG);
    assert_true(guarded(&v, BASE + 64 * PG));
    assert_int_equal(
        sys_mremap(v.cpu, BASE + 64 * PG, 4 * PG, 4 * PG, MREMAP_MAYMOVE_ | MREMAP_FIXED_ | MREMAP_DONTUNMAP_, BASE),
        BASE);
    assert_true(guarded(&v, BASE));
    assert_false(guarded(&v, BASE + 64 * PG));
    child = do_fork(v.cpu, 101);
    assert_books(machine_check, v.m);
    v.cpu->current = child;
    assert_true(guarded(&v, BASE));
    v.cpu->current = v.t;
    task_exit(v.cpu, child);
    assert_int_equal(adv(&v, BASE, 4, MADV_WIPEONFORK_), 0);
    child = do_fork(v.cpu, 102);
    v.cpu->current = child;
    assert_false(guarded(&v, BASE));
    v.cpu->current = v.t;
    task_exit(v.cpu, child);
    env_end(&v);
}

/* In a shared mapping: the other mapping of the object has no guard; truncation and holes leave it. */
static void guard_in_a_shared_mapping(void **state)
{
    struct task *child;
    struct file *f;
    struct env v;

    env_init(&v);
    f = env_open(&v, 1, 8 * PG);
    map_at(v.cpu, BASE, 4, RW, MAP_SHARED_ | MAP_FIXED_, f, 0);
    map_at(v.cpu, BASE + 16 * PG, 4, PROT_READ_, MAP_PRIVATE_ | MAP_FIXED_, f, 0);
    assert_int_equal(adv(&v, BASE, 2, MADV_GUARD_INSTALL_), 0);
    assert_true(guarded(&v, BASE));
    touch(v.cpu, BASE + 16 * PG, ACCESS_READ);
    inode_set_size(v.cpu, f->f_inode, 0);
    inode_set_size(v.cpu, f->f_inode, 8 * PG);
    assert_true(guarded(&v, BASE));
    assert_int_equal(adv(&v, BASE, 4, MADV_REMOVE_), 0);
    assert_true(guarded(&v, BASE));
    child = do_fork(v.cpu, 101);
    v.cpu->current = child;
    assert_true(guarded(&v, BASE));
    v.cpu->current = v.t;
    task_exit(v.cpu, child);
    assert_int_equal(adv(&v, BASE, 4, MADV_GUARD_REMOVE_), 0);
    touch(v.cpu, BASE, ACCESS_WRITE);
    fput(v.cpu, f);
    env_end(&v);
}

static void guard_failing_allocations(void **state)
{
    bool failed = true;
    struct env v;

    env_init(&v);
    for (u64 nth = 1; failed; nth++) {
        s64 err;

        map_at(v.cpu, BASE, 2, RW, ANON_PRIVATE, NULL, 0);
        touch(v.cpu, BASE, ACCESS_READ);
        fail_arm(v.m, nth);
        err = adv(&v, BASE, 2, MADV_GUARD_INSTALL_);
        failed = fail_injected(v.m);
        assert_true(!err || (failed && err == -ENOMEM));
        assert_int_equal(guarded(&v, BASE), !err);
        assert_books(machine_check, v.m);
        assert_int_equal(sys_munmap(v.cpu, BASE, 2 * PG), 0);
    }
    env_end(&v);
}

/* A cut fails: -EAGAIN, and nothing has changed. */
static void flags_failing_allocations(void **state)
{
    bool failed = true;
    struct env v;

    env_init(&v);
    for (u64 nth = 1; failed; nth++) {
        s64 err;

        map_at(v.cpu, BASE, 4, RW, ANON_PRIVATE, NULL, 0);
        touch(v.cpu, BASE + PG, ACCESS_WRITE);
        fail_arm(v.m, nth);
        err = adv(&v, BASE + PG, 1, MADV_DONTFORK_);
        failed = fail_injected(v.m);
        assert_true(!err || (failed && err == -EAGAIN));
        assert_int_equal(v.t->mm->map_count, err ? 1 : 3);
        assert_int_equal(flags_at(&v, BASE + PG) & VM_DONTCOPY, err ? 0 : VM_DONTCOPY);
        assert_books(machine_check, v.m);
        assert_int_equal(sys_munmap(v.cpu, BASE, 4 * PG), 0);
    }
    env_end(&v);
}

/* -- broken memory ------------------------------------------------------------------------------------------------- */

static void hwpoison(void **state)
{
    struct machine_config c;
    struct fault_info fi;
    struct file *f;
    struct env v;

    test_config(&c);
    c.memory_failure = true;
    env_init_config(&v, &c);
    f = env_open(&v, 1, 8 * PG);
    map_at(v.cpu, BASE, 2, RW, ANON_PRIVATE, NULL, 0);
    map_at(v.cpu, BASE + 4 * PG, 2, RW, MAP_SHARED_ | MAP_FIXED_, f, 0);
    touch_range(v.cpu, BASE, 2, ACCESS_WRITE);
    touch(v.cpu, BASE + 4 * PG, ACCESS_READ);
    task_set_caps(v.t, 0);
    assert_int_equal(adv(&v, BASE, 1, MADV_HWPOISON_), -EPERM);
    task_set_caps(v.t, 1ul << CAP_SYS_ADMIN_);
    assert_int_equal(adv(&v, BASE, 1, MADV_SOFT_OFFLINE_), 0);
    assert_int_equal(adv(&v, BASE, 1, MADV_HWPOISON_), 0);
    assert_int_equal(rss(v.cpu, MM_ANONPAGES), 1);
    fi = do_access(v.cpu, BASE + 5, ACCESS_READ);
    assert_int_equal(fi.signo, 7);
    assert_int_equal(fi.si_code, 4);
    assert_int_equal(adv(&v, BASE, 2, MADV_POPULATE_READ_), -EHWPOISON);
    assert_books(machine_check, v.m);
    assert_int_equal(adv(&v, BASE + 4 * PG, 1, MADV_HWPOISON_), 0); /* a file's page is read again */
    assert_int_equal(do_access(v.cpu, BASE + 4 * PG, ACCESS_READ).signo, 0);
    assert_int_equal(atomic_load(&v.m->vm->num_poisoned_pages), 2);
    assert_int_equal(adv(&v, BASE, 1, MADV_DONTNEED_), 0); /* the way out for a program */
    assert_int_equal(do_access(v.cpu, BASE, ACCESS_WRITE).signo, 0);
    /* shared memory's page keeps its place: not mapped by those who come later, either */
    map_at(v.cpu, BASE + 8 * PG, 1, RW, ANON_SHARED, NULL, 0);
    touch(v.cpu, BASE + 8 * PG, ACCESS_WRITE);
    assert_int_equal(adv(&v, BASE + 8 * PG, 1, MADV_HWPOISON_), 0);
    assert_int_equal(sys_mremap(v.cpu, BASE + 8 * PG, 0, PG, MREMAP_MAYMOVE_ | MREMAP_FIXED_, BASE + 16 * PG),
                     BASE + 16 * PG);
    fi = do_access(v.cpu, BASE + 16 * PG, ACCESS_READ);
    assert_int_equal(fi.signo, 7);
    assert_int_equal(fi.si_code, 4);
    assert_int_equal(do_access(v.cpu, BASE + 16 * PG, ACCESS_WRITE).signo, 7);
    fput(v.cpu, f);
    env_end(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments),
        cmocka_unit_test(around_holes),
        cmocka_unit_test(flags_set_and_cleared),
        cmocka_unit_test(dontneed_and_locked),
        cmocka_unit_test(free_makes_lazyfree),
        cmocka_unit_test(cold_deactivates),
        cmocka_unit_test(pageout_unmaps_shared_memory),
        cmocka_unit_test(remove_punches_a_hole),
        cmocka_unit_test(remove_needs_shared_maywrite),
        cmocka_unit_test(populate_by_rights),
        cmocka_unit_test(populate_faults_once),
        cmocka_unit_test(willneed_reads_ahead),
        cmocka_unit_test(collapse_validates),
        cmocka_unit_test(sealed_keeps_contents),
        cmocka_unit_test(guard_life),
        cmocka_unit_test(guard_moves_and_forks),
        cmocka_unit_test(guard_in_a_shared_mapping),
        cmocka_unit_test(guard_failing_allocations),
        cmocka_unit_test(flags_failing_allocations),
        cmocka_unit_test(hwpoison),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
