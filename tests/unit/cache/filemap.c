/* SPDX-License-Identifier: MIT */
/* The page cache: files and their pages, reads and writes, truncation, shared memory; device time to the picosecond. */
#include "tests/unit/vm/fault_testing.h"

/* A file is found again by (dev, ino), with its pages. */
static void test_files(void **state)
{
    struct file *a, *b, *other;
    struct inode *inode;
    struct env v;

    env_init(&v);
    a = env_open(&v, 5, 10 * PG);
    b = env_open(&v, 5, 10 * PG);
    other = file_open(v.cpu, 2, 5, PG, FMODE_READ, "/other");
    assert_ptr_equal(a->f_inode, b->f_inode);
    assert_ptr_not_equal(a->f_inode, other->f_inode);
    assert_int_equal(atomic_load(&a->f_inode->i_count), 2);
    assert_int_equal(generic_file_read(v.cpu, a, 0, PG), PG);
    inode = a->f_inode;
    fput(v.cpu, a);
    fput(v.cpu, b);
    fput(v.cpu, other);
    assert_int_equal(v.m->cache->nr_inodes, 2);
    a = env_open(&v, 5, 10 * PG);
    assert_ptr_equal(a->f_inode, inode);
    assert_int_equal(a->f_mapping->nrpages, 1);
    fput(v.cpu, a);
    env_end(&v);
}

/* One request for each run of missing pages. */
static void test_read(void **state)
{
    static const struct {
        u64 pos, len;
        s64 result;
        u64 requests, pages;
    } rows[] = {
        {0, 1, 1, 1, 1},
        {0, PG, PG, 0, 0},
        {4 * PG, 2 * PG, 2 * PG, 1, 2},
        {0, 8 * PG, 8 * PG, 2, 5},       /* 1-3, 6-7 */
        {19 * PG, 5 * PG, PG / 2, 1, 1}, /* end of file in the middle of page 19 */
        {20 * PG, 10, 0, 0, 0},
        {8 * PG + 100, PG, PG, 1, 2},
    };
    struct file *f;
    struct env v;

    env_init(&v);
    f = env_open(&v, 5, 19 * PG + PG / 2);
    for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
        const u64 *ps = v.m->config.cost_ps;
        u64 requests = v.m->cache->device_reads, pages = v.m->cache->device_read_pages;
        u64 io = v.cpu->time_ps[TIME_IO], copy = v.cpu->time_ps[TIME_COPY];
        struct events e = event_start(v.cpu);

        assert_int_equal(generic_file_read(v.cpu, f, rows[i].pos, rows[i].len), rows[i].result);
        assert_int_equal(v.m->cache->device_reads - requests, rows[i].requests);
        assert_int_equal(v.m->cache->device_read_pages - pages, rows[i].pages);
        assert_event(v.cpu, &e, PGPGIN, rows[i].pages * 4);
        assert_int_equal(v.cpu->time_ps[TIME_IO] - io,
                         rows[i].requests * ps[COST_DISK_LATENCY] + rows[i].pages * 4 * ps[COST_DISK_KB]);
        assert_int_equal(v.cpu->time_ps[TIME_COPY] - copy,
                         DIV_ROUND_UP((u64)rows[i].result, 1024) * ps[COST_COPY_USER_KB]);
    }
    assert_int_equal(f->f_mapping->nrpages, 11);
    assert_int_equal(global_node_page_state(v.m, NR_FILE_PAGES), 11);
    fput(v.cpu, f);
    env_end(&v);
}

/* Whole pages are not read first; partial ones inside the file are. */
static void test_write(void **state)
{
    struct file *f;
    struct env v;

    env_init(&v);
    f = env_open(&v, 5, 4 * PG);
    assert_int_equal(generic_file_write(v.cpu, f, PG, PG), PG);
    assert_int_equal(v.m->cache->device_reads, 0);
    assert_int_equal(generic_file_write(v.cpu, f, 2 * PG + 1, 1), 1);
    assert_int_equal(v.m->cache->device_reads, 1);
    assert_int_equal(generic_file_write(v.cpu, f, 6 * PG + 1, 1), 1); /* beyond the end: nothing there to read */
    assert_int_equal(v.m->cache->device_reads, 1);
    assert_int_equal(f->f_inode->i_size, 6 * PG + 2);
    assert_int_equal(global_node_page_state(v.m, NR_FILE_DIRTY), 3);
    assert_int_equal(global_node_page_state(v.m, NR_DIRTIED), 3);
    assert_true(xa_get_mark(&f->f_mapping->i_pages, 6, PAGECACHE_TAG_DIRTY));
    assert_false(xa_get_mark(&f->f_mapping->i_pages, 5, PAGECACHE_TAG_DIRTY));
    assert_int_equal(generic_file_write(v.cpu, f, ~0ul, 2), -EFBIG);

    inode_set_size(v.cpu, f->f_inode, 2 * PG);
    assert_int_equal(f->f_mapping->nrpages, 1);
    assert_int_equal(global_node_page_state(v.m, NR_FILE_DIRTY), 1);
    fput(v.cpu, f);
    env_end(&v);
}

static void test_drop_caches(void **state)
{
    struct file *f;
    struct env v;

    env_init(&v);
    f = env_open(&v, 5, 8 * PG);
    assert_int_equal(generic_file_read(v.cpu, f, 0, 8 * PG), 8 * PG);
    assert_int_equal(generic_file_write(v.cpu, f, 0, PG), PG);
    map_at(v.cpu, BASE, 1, PROT_READ_, MAP_SHARED_ | MAP_FIXED_, f, PG);
    touch(v.cpu, BASE, ACCESS_READ);            /* one page: the VMA's */
    assert_int_equal(drop_pagecache(v.cpu), 6); /* not the dirty one, not the mapped one */
    assert_int_equal(f->f_mapping->nrpages, 2);
    assert_books(machine_check, v.m);
    fput(v.cpu, f);
    env_end(&v);
}

/* memfd: pages are committed one by one; they go with the last reference. */
static void test_shmem_object(void **state)
{
    struct file *f;
    struct env v;

    env_init(&v);
    f = shmem_file_setup(v.cpu, "memfd:x", 0, VM_NORESERVE);
    inode_set_size(v.cpu, f->f_inode, 8 * PG);
    assert_int_equal(atomic_load(&v.m->vm->vm_committed_as), 0);
    map_at(v.cpu, BASE, 8, RW, MAP_SHARED_ | MAP_FIXED_, f, 0);
    put_byte(v.cpu, BASE, 7);
    put_byte(v.cpu, BASE + PG, 8);
    assert_int_equal(atomic_load(&v.m->vm->vm_committed_as), 2);
    inode_set_size(v.cpu, f->f_inode, PG);
    assert_int_equal(atomic_load(&v.m->vm->vm_committed_as), 1);
    fput(v.cpu, f); /* the mapping holds it */
    assert_int_equal(get_byte(v.cpu, BASE), 7);
    assert_int_equal(do_access(v.cpu, BASE + PG, ACCESS_READ).signo, 7);
    assert_int_equal(v.m->cache->nr_inodes, 1);
    assert_int_equal(sys_munmap(v.cpu, BASE, 8 * PG), 0);
    assert_int_equal(v.m->cache->nr_inodes, 0);
    assert_int_equal(global_node_page_state(v.m, NR_SHMEM), 0);
    env_end(&v);
}

/* Every allocation of a read and a write fails once: short counts or -ENOMEM, and balanced books. */
static void test_no_memory(void **state)
{
    bool failed = true;

    for (u64 nth = 1; failed; nth++) {
        struct file *f;
        struct env v;
        s64 got;

        assert_true(nth < 200);
        env_init(&v);
        fail_arm(v.m, nth);
        f = file_open(v.cpu, 1, 5, 70 * PG, FMODE_READ | FMODE_WRITE, "/f");
        if (IS_ERR(f)) {
            assert_int_equal(PTR_ERR(f), -ENOMEM);
        } else {
            got = generic_file_read(v.cpu, f, 0, 2 * PG);
            assert_true(got == -ENOMEM || got == PG || got == 2 * PG);
            got = generic_file_write(v.cpu, f, 68 * PG, 2 * PG);
            assert_true(got == -ENOMEM || got == PG || got == 2 * PG);
            fput(v.cpu, f);
        }
        failed = fail_injected(v.m);
        env_end(&v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),       cmocka_unit_test(test_read),         cmocka_unit_test(test_write),
        cmocka_unit_test(test_drop_caches), cmocka_unit_test(test_shmem_object), cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
