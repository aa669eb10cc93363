/* SPDX-License-Identifier: MIT */
/* Faults: each kind by itself, with every counter, entry and page state it must leave. */
#include "tests/unit/vm/fault_testing.h"

/* -- anonymous ----------------------------------------------------------------------------------------------------- */

static void test_anon(void **state)
{
    struct env v;
    struct events e;
    struct page *page;

    env_init(&v);
    map_at(v.cpu, BASE, 16, RW, ANON_PRIVATE, NULL, 0);
    e = event_start(v.cpu);

    touch(v.cpu, BASE, ACCESS_READ);
    assert_event(v.cpu, &e, Q_FAULT_ZERO_PAGE, 1);
    assert_event(v.cpu, &e, PGFAULT, 1);
    assert_ptr_equal(page_at(v.cpu, BASE), v.m->vm->zero_page);
    assert_true(pte_special(pt_format_of(v.m), pte_at(v.cpu, BASE)));
    assert_int_equal(rss(v.cpu, MM_ANONPAGES), 0);

    touch(v.cpu, BASE, ACCESS_WRITE); /* the zero page gives way to a new one */
    assert_event(v.cpu, &e, Q_FAULT_WP_COPY, 1);
    assert_event(v.cpu, &e, Q_FAULT_ANON, 0);
    assert_int_equal(rss(v.cpu, MM_ANONPAGES), 1);

    touch(v.cpu, BASE + PG, ACCESS_WRITE);
    assert_event(v.cpu, &e, Q_FAULT_ANON, 1);
    assert_event(v.cpu, &e, PGFAULT, 3);
    assert_event(v.cpu, &e, PGMAJFAULT, 0);
    assert_int_equal(rss(v.cpu, MM_ANONPAGES), 2);
    assert_int_equal(v.t->mm->min_flt, 3);
    assert_int_equal(v.t->mm->maj_flt, 0);
    assert_int_equal(global_node_page_state(v.m, NR_ANON_MAPPED), 2);

    page = page_at(v.cpu, BASE + PG);
    assert_true(PageAnonExclusive(page));
    assert_true(folio_test_swapbacked(page_folio(page)));
    assert_true(folio_test_uptodate(page_folio(page)));
    assert_int_equal(folio_mapcount(page_folio(page)), 1);
    assert_int_equal(page_count(page), 2); /* the mapping and the LRU batch */
    lru_add_drain(v.cpu);
    assert_int_equal(page_count(page), 1);
    assert_true(folio_test_lru(page_folio(page)));

    touch(v.cpu, BASE + PG, ACCESS_WRITE); /* no fault */
    assert_event(v.cpu, &e, PGFAULT, 3);
    env_end(&v);
}

static void test_anon_zeroed(void **state)
{
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 4, RW, ANON_PRIVATE, NULL, 0);
    put_byte(v.cpu, BASE + 5, 7);
    assert_int_equal(get_byte(v.cpu, BASE + 5), 7);
    assert_int_equal(sys_munmap(v.cpu, BASE, 4 * PG), 0);
    assert_int_equal(rss(v.cpu, MM_ANONPAGES), 0);
    map_at(v.cpu, BASE, 4, RW, ANON_PRIVATE, NULL, 0);
    touch_range(v.cpu, BASE, 4, ACCESS_WRITE);
    for (u64 i = 0; i < 4 * PG; i += 64)
        assert_int_equal(get_byte(v.cpu, BASE + i + 5 % 64), 0);
    env_end(&v);
}

static void test_spurious(void **state)
{
    struct env v;
    struct events e;

    env_init(&v);
    map_at(v.cpu, BASE, 1, RW, ANON_PRIVATE, NULL, 0);
    touch(v.cpu, BASE, ACCESS_WRITE);
    e = event_start(v.cpu);
    assert_int_equal(do_user_addr_fault(v.cpu, BASE, ACCESS_WRITE).signo, 0);
    assert_event(v.cpu, &e, Q_FAULT_SPURIOUS, 1);
    assert_event(v.cpu, &e, PGFAULT, 1);
    assert_int_equal(rss(v.cpu, MM_ANONPAGES), 1);
    env_end(&v);
}

/* -- signals ------------------------------------------------------------------------------------------------------- */

static void test_signals(void **state)
{
    static const struct {
        u32 prot;
        enum fault_access access;
        int signo, si_code;
    } rows[] = {
        {PROT_NONE_, ACCESS_READ, 11, 2},  {PROT_NONE_, ACCESS_WRITE, 11, 2},
        {PROT_NONE_, ACCESS_EXEC, 11, 2},  {PROT_READ_, ACCESS_READ, 0, 0},
        {PROT_READ_, ACCESS_WRITE, 11, 2}, {PROT_READ_, ACCESS_EXEC, 11, 2},
        {PROT_WRITE_, ACCESS_READ, 0, 0}, /* x86: writing implies reading */
        {PROT_WRITE_, ACCESS_WRITE, 0, 0}, {PROT_READ_ | PROT_EXEC_, ACCESS_EXEC, 0, 0},
        {PROT_EXEC_, ACCESS_READ, 0, 0}, /* x86 without protection keys */
        {PROT_EXEC_, ACCESS_WRITE, 11, 2},
    };
    struct fault_info fi;
    struct events e;
    struct env v;
    u64 failed = 0;

    env_init(&v);
    e = event_start(v.cpu);
    for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
        va_t addr = BASE + i * 16 * PG;

        map_at(v.cpu, addr, 1, rows[i].prot, ANON_PRIVATE, NULL, 0);
        fi = do_access(v.cpu, addr + 8, rows[i].access);
        assert_int_equal(fi.signo, rows[i].signo);
        assert_int_equal(fi.si_code, rows[i].si_code);
        if (fi.signo)
            assert_int_equal(fi.addr, addr + 8);
        failed += fi.signo != 0;
    }
    fi = do_access(v.cpu, BASE - PG, ACCESS_READ);
    assert_int_equal(fi.signo, 11);
    assert_int_equal(fi.si_code, 1);
    fi = do_access(v.cpu, 0, ACCESS_WRITE);
    assert_int_equal(fi.si_code, 1);
    fi = do_access(v.cpu, 0xffff888000000000ul, ACCESS_READ); /* the kernel's half */
    assert_int_equal(fi.si_code, 1);
    fi = do_access(v.cpu, 0x8000000000000000ul, ACCESS_READ); /* not canonical: #GP */
    assert_int_equal(fi.si_code, 0x80);
    assert_event(v.cpu, &e, Q_FAULT_SIGSEGV, failed + 4);
    assert_event(v.cpu, &e, PGFAULT, ARRAY_SIZE(rows) - failed);
    env_end(&v);
}

static void test_stack(void **state)
{
    const u32 flags = ANON_PRIVATE | MAP_GROWSDOWN_;
    struct vm_area_struct *vma;
    struct events e;
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 4, RW, flags, NULL, 0);
    e = event_start(v.cpu);
    touch(v.cpu, BASE - 3 * PG, ACCESS_WRITE);
    assert_event(v.cpu, &e, Q_FAULT_STACK_GROW, 1);
    assert_event(v.cpu, &e, Q_FAULT_ANON, 1);
    vma = vma_lookup(v.cpu, v.t->mm, BASE);
    assert_int_equal(vma->vm_start, BASE - 3 * PG);
    assert_int_equal(v.t->mm->stack_vm, 7);
    touch(v.cpu, BASE - PG, ACCESS_WRITE); /* inside now */
    assert_event(v.cpu, &e, Q_FAULT_STACK_GROW, 1);
    /* beyond RLIMIT_STACK */
    assert_int_equal(do_access(v.cpu, BASE + 4 * PG - (8ul << 20) - PG, ACCESS_WRITE).signo, 11);
    env_end(&v);
}

/* A stack grows down to vm.mmap_min_addr, not below. */
static void test_stack_min_addr(void **state)
{
    struct machine_config c;
    struct fault_info fi;
    struct env v;

    test_config(&c);
    c.mmap_min_addr = c.lsm_mmap_min_addr = 0x10000;
    env_init_config(&v, &c);
    map_at(v.cpu, 0x20000, 1, RW, ANON_PRIVATE | MAP_GROWSDOWN_, NULL, 0);
    touch(v.cpu, 0x1f000, ACCESS_WRITE);
    touch(v.cpu, 0x10000, ACCESS_WRITE);
    fi = do_access(v.cpu, 0xffff, ACCESS_WRITE);
    assert_int_equal(fi.signo, 11);
    assert_int_equal(fi.si_code, 1);
    assert_int_equal(vma_lookup(v.cpu, v.t->mm, 0x20000)->vm_start, 0x10000);
    assert_int_equal(v.t->mm->stack_vm, 17);
    env_end(&v);
}

/* -- files --------------------------------------------------------------------------------------------------------- */

static void test_file_private(void **state)
{
    struct machine_config c;
    struct page *cached;
    struct events e;
    struct file *f;
    struct env v;

    test_config(&c);
    c.fault_around_bytes = PG; /* off */
    env_init_config(&v, &c);
    f = env_open(&v, 5, 8 * PG);
    map_at(v.cpu, BASE, 8, RW, MAP_PRIVATE_ | MAP_FIXED_, f, 0);
    e = event_start(v.cpu);

    touch(v.cpu, BASE, ACCESS_READ);
    assert_event(v.cpu, &e, Q_FAULT_FILE_READ, 1);
    assert_event(v.cpu, &e, PGMAJFAULT, 1);
    assert_event(v.cpu, &e, PGPGIN, 4);
    assert_int_equal(v.t->mm->maj_flt, 1);
    assert_int_equal(rss(v.cpu, MM_FILEPAGES), 1);
    assert_int_equal(global_node_page_state(v.m, NR_FILE_MAPPED), 1);
    cached = page_at(v.cpu, BASE);

    touch(v.cpu, BASE, ACCESS_WRITE); /* copy of a mapped file page */
    assert_event(v.cpu, &e, Q_FAULT_WP_COPY, 1);
    assert_int_equal(rss(v.cpu, MM_FILEPAGES), 0);
    assert_int_equal(rss(v.cpu, MM_ANONPAGES), 1);
    assert_ptr_not_equal(page_at(v.cpu, BASE), cached);
    assert_int_equal(folio_mapcount(page_folio(cached)), 0);

    touch(v.cpu, BASE + PG, ACCESS_WRITE); /* COW at once */
    assert_event(v.cpu, &e, Q_FAULT_FILE_COW, 1);
    assert_event(v.cpu, &e, PGMAJFAULT, 2);
    assert_int_equal(rss(v.cpu, MM_ANONPAGES), 2);
    assert_int_equal(global_node_page_state(v.m, NR_FILE_PAGES), 2);
    assert_int_equal(global_node_page_state(v.m, NR_FILE_DIRTY), 0);

    /* Unmap: the cache keeps its pages, the next mapping has a minor fault. */
    assert_int_equal(sys_munmap(v.cpu, BASE, 8 * PG), 0);
    assert_int_equal(f->f_mapping->nrpages, 2);
    map_at(v.cpu, BASE, 8, PROT_READ_, MAP_PRIVATE_ | MAP_FIXED_, f, 0);
    touch(v.cpu, BASE, ACCESS_READ);
    assert_event(v.cpu, &e, PGMAJFAULT, 2);
    assert_ptr_equal(page_at(v.cpu, BASE), cached);
    fput(v.cpu, f);
    env_end(&v);
}

static void test_file_shared(void **state)
{
    struct events e;
    struct file *f;
    struct env v;

    env_init(&v);
    f = env_open(&v, 5, 8 * PG);
    map_at(v.cpu, BASE, 8, RW, MAP_SHARED_ | MAP_FIXED_, f, 0);
    e = event_start(v.cpu);

    touch(v.cpu, BASE, ACCESS_WRITE);
    assert_event(v.cpu, &e, Q_FAULT_FILE_SHARED, 1);
    assert_event(v.cpu, &e, PGMAJFAULT, 1);
    assert_int_equal(global_node_page_state(v.m, NR_FILE_DIRTY), 1);
    assert_true(xa_get_mark(&f->f_mapping->i_pages, 0, PAGECACHE_TAG_DIRTY));

    touch(v.cpu, BASE + PG, ACCESS_READ);
    assert_event(v.cpu, &e, Q_FAULT_FILE_READ, 1);
    assert_false(pte_write(pt_format_of(v.m), pte_at(v.cpu, BASE + PG))); /* so that the write is seen */
    touch(v.cpu, BASE + PG, ACCESS_WRITE);
    assert_event(v.cpu, &e, Q_FAULT_WP_REUSE, 1);
    assert_int_equal(global_node_page_state(v.m, NR_FILE_DIRTY), 2);
    assert_int_equal(rss(v.cpu, MM_FILEPAGES), 2);

    /* folio_mkclean makes the next write a fault again */
    {
        struct folio *folio = page_folio(page_at(v.cpu, BASE));

        folio_get(folio);
        folio_lock(v.cpu, folio);
        assert_int_equal(folio_mkclean(v.cpu, folio), 1);
        folio_unlock(v.cpu, folio);
        folio_put(v.cpu, folio);
    }
    assert_false(pte_write(pt_format_of(v.m), pte_at(v.cpu, BASE)));
    touch(v.cpu, BASE, ACCESS_WRITE);
    assert_event(v.cpu, &e, Q_FAULT_WP_REUSE, 2);
    fput(v.cpu, f);
    env_end(&v);
}

/*
 * Fault-around: what is cached in the aligned window of 16 pages is mapped by one fault, cut at the VMA.
 *   cached  a a - a | - ...      VMA from page 1
 */
static void test_fault_around(void **state)
{
    static const u64 cached[] = {0, 1, 3, 15, 16, 17};
    struct machine_config c;
    struct events e;
    struct file *f;
    struct env v;

    test_config(&c);
    c.fault_around_bytes = 16 * PG;
    env_init_config(&v, &c);
    f = env_open(&v, 5, 64 * PG);
    for (u32 i = 0; i < ARRAY_SIZE(cached); i++)
        assert_int_equal(generic_file_read(v.cpu, f, cached[i] * PG, 1), 1);
    map_at(v.cpu, BASE + PG, 40, PROT_READ_, MAP_PRIVATE_ | MAP_FIXED_, f, PG);
    e = event_start(v.cpu);
    touch(v.cpu, BASE + 3 * PG, ACCESS_READ);
    assert_event(v.cpu, &e, Q_FAULT_AROUND, 3); /* 1, 15, and 16: from the VMA's start on the window has its size */
    assert_event(v.cpu, &e, PGFAULT, 1);
    assert_event(v.cpu, &e, PGMAJFAULT, 0);
    assert_int_equal(rss(v.cpu, MM_FILEPAGES), 4);
    assert_null(page_at(v.cpu, BASE + 2 * PG));
    assert_non_null(page_at(v.cpu, BASE + 15 * PG));
    assert_non_null(page_at(v.cpu, BASE + 16 * PG));
    assert_null(page_at(v.cpu, BASE + 17 * PG));
    touch(v.cpu, BASE + 2 * PG, ACCESS_READ); /* not cached: major, alone */
    assert_event(v.cpu, &e, PGMAJFAULT, 1);
    assert_int_equal(rss(v.cpu, MM_FILEPAGES), 5);
    fput(v.cpu, f);
    env_end(&v);
}

static void test_warm_cache(void **state)
{
    struct machine_config c;
    struct events e;
    struct file *f;
    struct env v;

    test_config(&c);
    c.fault_around_bytes = 16 * PG;
    c.page_cache_warm = true;
    env_init_config(&v, &c);
    f = env_open(&v, 5, 20 * PG);
    map_at(v.cpu, BASE, 20, PROT_READ_, MAP_PRIVATE_ | MAP_FIXED_, f, 0);
    e = event_start(v.cpu);
    touch_range(v.cpu, BASE, 20, ACCESS_READ);
    assert_event(v.cpu, &e, PGFAULT, 2); /* windows 0..15 and 16..19 */
    assert_event(v.cpu, &e, PGMAJFAULT, 0);
    assert_event(v.cpu, &e, PGPGIN, 0);
    assert_event(v.cpu, &e, Q_FAULT_AROUND, 18);
    assert_int_equal(v.cpu->time_ps[TIME_IO], 0);
    fput(v.cpu, f);
    env_end(&v);
}

static void test_sigbus(void **state)
{
    struct fault_info fi;
    struct events e;
    struct file *f;
    struct env v;

    env_init(&v);
    f = env_open(&v, 5, 2 * PG + 1);
    map_at(v.cpu, BASE, 8, RW, MAP_SHARED_ | MAP_FIXED_, f, 0);
    map_at(v.cpu, BASE + 16 * PG, 8, RW, MAP_PRIVATE_ | MAP_FIXED_, f, 0);
    e = event_start(v.cpu);
    touch(v.cpu, BASE + 2 * PG, ACCESS_WRITE); /* the last page, partly in the file */
    for (u32 i = 0; i < 2; i++) {
        fi = do_access(v.cpu, BASE + (i * 16 + 3) * PG + 9, i ? ACCESS_WRITE : ACCESS_READ);
        assert_int_equal(fi.signo, 7);
        assert_int_equal(fi.si_code, 2);
        assert_int_equal(fi.addr, BASE + (i * 16 + 3) * PG + 9);
    }
    assert_event(v.cpu, &e, Q_FAULT_SIGBUS, 2);
    assert_event(v.cpu, &e, PGFAULT, 3);

    /* Truncation takes mapped pages and private copies away. */
    touch(v.cpu, BASE + 16 * PG + PG, ACCESS_WRITE);
    touch(v.cpu, BASE + PG, ACCESS_READ);
    assert_int_equal(rss(v.cpu, MM_ANONPAGES), 1);
    inode_set_size(v.cpu, f->f_inode, PG);
    assert_int_equal(rss(v.cpu, MM_ANONPAGES), 0);
    assert_int_equal(rss(v.cpu, MM_FILEPAGES), 0);
    assert_int_equal(global_node_page_state(v.m, NR_FILE_DIRTY), 0);
    assert_int_equal(do_access(v.cpu, BASE + PG, ACCESS_READ).signo, 7);
    assert_int_equal(do_access(v.cpu, BASE + 17 * PG, ACCESS_WRITE).signo, 7);
    touch(v.cpu, BASE, ACCESS_READ);
    fput(v.cpu, f);
    env_end(&v);
}

/* A fault on an object makes the last table only to put something there: VmPTE, as 6.18 counts it. */
static void test_object_tables(void **state)
{
    static const struct {
        u32 flags;
        enum fault_access access;
        u32 around; /* tables that a fault beyond the end makes, as there are pages in the cache to map around it */
    } rows[] = {
        {MAP_SHARED_ | MAP_FIXED_, ACCESS_READ, 0}, /* nothing is in the cache yet */
        {MAP_SHARED_ | MAP_FIXED_, ACCESS_WRITE, 0},
        {MAP_PRIVATE_ | MAP_FIXED_, ACCESS_READ, 1},
        {MAP_PRIVATE_ | MAP_FIXED_, ACCESS_WRITE, 0},
    };
    struct file *f;
    struct env v;

    env_init(&v);
    f = memfd_create_file(v.cpu, "memfd:x", 0, 0);
    assert_int_equal(vfs_ftruncate(v.cpu, f, 4 * PG), 0);
    map_at(v.cpu, BASE, 1, RW, ANON_PRIVATE, NULL, 0);
    touch(v.cpu, BASE, ACCESS_WRITE); /* the tables above */
    for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
        va_t at = BASE + ((u64)i + 1) * (64ul << 20);
        s64 before = atomic_load(&v.t->mm->pgtables_bytes);

        map_at(v.cpu, at, 8192, RW, rows[i].flags, f, 0);
        assert_int_equal(do_access(v.cpu, at + 600 * PG, rows[i].access).signo, 7);
        assert_int_equal(atomic_load(&v.t->mm->pgtables_bytes), before);
        assert_int_equal(do_access(v.cpu, at + 5 * PG, rows[i].access).signo, 7);
        assert_int_equal(atomic_load(&v.t->mm->pgtables_bytes), before + rows[i].around * PG);
        touch_range(v.cpu, at, 4, rows[i].access);
        assert_int_equal(atomic_load(&v.t->mm->pgtables_bytes), before + (s64)PG);
    }
    fput(v.cpu, f);
    env_end(&v);
}

/* -- shared memory ------------------------------------------------------------------------------------------------- */

static void test_shmem(void **state)
{
    struct events e;
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 8, RW, ANON_SHARED, NULL, 0);
    assert_int_equal(atomic_load(&v.m->vm->vm_committed_as), 8);
    e = event_start(v.cpu);
    touch(v.cpu, BASE, ACCESS_WRITE);
    touch(v.cpu, BASE + PG, ACCESS_READ); /* a page, too: no zero page in shared memory */
    assert_event(v.cpu, &e, PGFAULT, 2);
    assert_event(v.cpu, &e, PGMAJFAULT, 0);
    assert_event(v.cpu, &e, Q_FAULT_FILE_SHARED, 1);
    assert_event(v.cpu, &e, Q_FAULT_FILE_READ, 1);
    assert_int_equal(rss(v.cpu, MM_SHMEMPAGES), 2);
    assert_int_equal(global_node_page_state(v.m, NR_SHMEM), 2);
    assert_int_equal(global_node_page_state(v.m, NR_FILE_PAGES), 2);
    assert_int_equal(sys_munmap(v.cpu, BASE, 8 * PG), 0);
    assert_int_equal(global_node_page_state(v.m, NR_SHMEM), 0);
    assert_int_equal(atomic_load(&v.m->vm->vm_committed_as), 0);
    env_end(&v);
}

/* -- mprotect and mremap on populated memory ----------------------------------------------------------------------- */

static void test_mprotect(void **state)
{
    const struct pt_format *fmt;
    struct events e;
    struct env v;

    env_init(&v);
    fmt = pt_format_of(v.m);
    map_at(v.cpu, BASE, 4, RW, ANON_PRIVATE, NULL, 0);
    touch_range(v.cpu, BASE, 2, ACCESS_WRITE);
    assert_int_equal(sys_mprotect(v.cpu, BASE, 4 * PG, PROT_READ_), 0);
    assert_false(pte_write(fmt, pte_at(v.cpu, BASE)));
    assert_int_equal(do_access(v.cpu, BASE, ACCESS_WRITE).signo, 11);
    assert_int_equal(sys_mprotect(v.cpu, BASE, 4 * PG, PROT_NONE_), 0);
    assert_true(pte_protnone(fmt, pte_at(v.cpu, BASE)));
    assert_int_equal(rss(v.cpu, MM_ANONPAGES), 2);
    /* back: exclusive pages are writable at once, without a fault */
    assert_int_equal(sys_mprotect(v.cpu, BASE, 4 * PG, PROT_READ_), 0);
    assert_int_equal(sys_mprotect(v.cpu, BASE, 4 * PG, RW), 0);
    e = event_start(v.cpu);
    touch_range(v.cpu, BASE, 2, ACCESS_WRITE);
    assert_event(v.cpu, &e, PGFAULT, 0);
    env_end(&v);
}

static void test_mremap(void **state)
{
    const u64 pages = 1024; /* 4 MiB: whole tables move where both sides are aligned */
    static const va_t to[] = {0x40000000ul, 0x50001000ul};
    struct env v;
    va_t from = 0x20000000ul;

    env_init(&v);
    map_at(v.cpu, from, pages, RW, ANON_PRIVATE, NULL, 0);
    for (u64 i = 0; i < pages; i += 3)
        put_byte(v.cpu, from + i * PG, (u8)i);
    for (u32 k = 0; k < ARRAY_SIZE(to); k++) {
        s64 got = sys_mremap(v.cpu, from, pages * PG, pages * PG, MREMAP_MAYMOVE_ | MREMAP_FIXED_, to[k]);

        assert_int_equal(got, to[k]);
        assert_books(machine_check, v.m);
        from = to[k];
        assert_int_equal(rss(v.cpu, MM_ANONPAGES), (pages + 2) / 3);
        for (u64 i = 0; i < pages; i += 3)
            assert_int_equal(get_byte(v.cpu, from + i * PG), (u8)i);
        assert_null(page_at(v.cpu, from + PG));
    }
    env_end(&v);
}

/* -- memory runs out ----------------------------------------------------------------------------------------------- */

typedef void (*scenario)(struct env *v, u32 *oom);

static void access_or_oom(struct env *v, va_t addr, enum fault_access access, u32 *oom)
{
    struct fault_info fi = do_access(v->cpu, addr, access);

    if (fi.signo == 0)
        return;
    assert_int_equal(fi.signo, 9);
    ++*oom;
}

static void scenario_anon(struct env *v, u32 *oom)
{
    if (sys_mmap(v->cpu, BASE, 8 * PG, RW, ANON_PRIVATE, NULL, 0) != (s64)BASE) {
        ++*oom;
        return;
    }
    access_or_oom(v, BASE, ACCESS_WRITE, oom);
    access_or_oom(v, BASE + PG, ACCESS_READ, oom);
    access_or_oom(v, BASE + PG, ACCESS_WRITE, oom);
}

static void scenario_file(struct env *v, u32 *oom)
{
    struct file *f = file_open(v->cpu, 1, 7, 4 * PG, FMODE_READ | FMODE_WRITE, "/f");

    if (IS_ERR(f)) {
        ++*oom;
        return;
    }
    for (u32 i = 0; i < 2; i++) {
        va_t at = BASE + i * 16 * PG;

        if (sys_mmap(v->cpu, at, 4 * PG, RW, (i ? MAP_SHARED_ : MAP_PRIVATE_) | MAP_FIXED_, f, 0) != (s64)at) {
            ++*oom;
            continue;
        }
        access_or_oom(v, at, ACCESS_READ, oom);
        access_or_oom(v, at, ACCESS_WRITE, oom);
        access_or_oom(v, at + PG, ACCESS_WRITE, oom);
    }
    *oom += generic_file_write(v->cpu, f, 0, 2 * PG) != (s64)(2 * PG);
    fput(v->cpu, f);
}

static void scenario_shmem(struct env *v, u32 *oom)
{
    if (sys_mmap(v->cpu, BASE, 8 * PG, RW, ANON_SHARED, NULL, 0) != (s64)BASE) {
        ++*oom;
        return;
    }
    access_or_oom(v, BASE, ACCESS_WRITE, oom);
    access_or_oom(v, BASE + PG, ACCESS_READ, oom);
}

static void scenario_fork(struct env *v, u32 *oom)
{
    struct task *t;

    if (sys_mmap(v->cpu, BASE, 8 * PG, RW, ANON_PRIVATE, NULL, 0) != (s64)BASE ||
        sys_mmap(v->cpu, BASE + 16 * PG, 8 * PG, RW, ANON_SHARED, NULL, 0) != (s64)(BASE + 16 * PG)) {
        ++*oom;
        return;
    }
    access_or_oom(v, BASE, ACCESS_WRITE, oom);
    access_or_oom(v, BASE + PG, ACCESS_WRITE, oom);
    access_or_oom(v, BASE + 16 * PG, ACCESS_WRITE, oom);
    t = kernel_clone(v->cpu, 0, 200, 200);
    if (IS_ERR(t)) {
        assert_int_equal(PTR_ERR(t), -ENOMEM);
        ++*oom;
        access_or_oom(v, BASE, ACCESS_WRITE, oom);
        return;
    }
    assert_books(machine_check, v->m);
    v->cpu->current = t;
    access_or_oom(v, BASE, ACCESS_WRITE, oom);
    access_or_oom(v, BASE + 2 * PG, ACCESS_WRITE, oom);
    v->cpu->current = v->t;
    task_exit(v->cpu, t);
    access_or_oom(v, BASE + PG, ACCESS_WRITE, oom);
}

static void scenario_exec(struct env *v, u32 *oom)
{
    struct exec_layout l = {.stack_size = 5000, .comm = "prog"};

    if (sys_mmap(v->cpu, BASE, 8 * PG, RW, ANON_PRIVATE, NULL, 0) == (s64)BASE)
        access_or_oom(v, BASE, ACCESS_WRITE, oom);
    else
        ++*oom;
    *oom += exec_mmap(v->cpu, &l) != 0;
}

static void test_no_memory(void **state)
{
    static const scenario scenarios[] = {scenario_anon, scenario_file, scenario_shmem, scenario_fork, scenario_exec};

    for (u32 i = 0; i < ARRAY_SIZE(scenarios); i++) {
        bool failed = true;

        for (u64 nth = 1; failed; nth++) {
            struct env v;
            u32 oom = 0;

            assert_true(nth < 500);
            env_init(&v);
            fail_arm(v.m, nth);
            scenarios[i](&v, &oom);
            failed = fail_injected(v.m);
            /* failed and not seen: the slab allocator did with a smaller slab */
            if (!failed)
                assert_int_equal(oom, 0);
            env_end(&v);
        }
    }
}

/* -- every format -------------------------------------------------------------------------------------------------- */

static void test_formats(void **state)
{
    for (int format = 0; format < NR_PT_FORMATS; format++) {
        struct machine_config c;
        struct task *child;
        struct env v;

        test_config_of(&c, (enum pt_format_id)format, 128ul << 20, 1);
        env_init_config(&v, &c);
        map_at(v.cpu, BASE, 16, RW, ANON_PRIVATE, NULL, 0);
        touch(v.cpu, BASE + PG, ACCESS_READ);
        put_byte(v.cpu, BASE, 1);
        put_byte(v.cpu, BASE + PG, 2);
        child = do_fork(v.cpu, 101);
        v.cpu->current = child;
        put_byte(v.cpu, BASE, 3);
        assert_int_equal(get_byte(v.cpu, BASE + PG), 2);
        assert_books(machine_check, v.m);
        v.cpu->current = v.t;
        assert_int_equal(get_byte(v.cpu, BASE), 1);
        task_exit(v.cpu, child);
        put_byte(v.cpu, BASE + PG, 4);
        assert_int_equal(sys_mprotect(v.cpu, BASE, PG, PROT_READ_), 0);
        assert_int_equal(do_access(v.cpu, BASE, ACCESS_WRITE).si_code, 2);
        env_end(&v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_anon),           cmocka_unit_test(test_anon_zeroed),
        cmocka_unit_test(test_spurious),       cmocka_unit_test(test_signals),
        cmocka_unit_test(test_stack),          cmocka_unit_test(test_file_private),
        cmocka_unit_test(test_file_shared),    cmocka_unit_test(test_fault_around),
        cmocka_unit_test(test_warm_cache),     cmocka_unit_test(test_sigbus),
        cmocka_unit_test(test_shmem),          cmocka_unit_test(test_mprotect),
        cmocka_unit_test(test_mremap),         cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_formats),        cmocka_unit_test(test_object_tables),
        cmocka_unit_test(test_stack_min_addr),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
