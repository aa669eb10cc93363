/* SPDX-License-Identifier: MIT */
/* The bytes of files with content=full: on the disk, in the cache, in mappings; and shared memory without memory. */
#include "tests/unit/vm/fault_testing.h"

#include "abi/abi.h"
#include "base/errno.h"
#include "vm/gup.h"

#define SIZE (5 * PG + 100)
#define RWF (FMODE_READ | FMODE_WRITE)

struct file_env {
    struct machine *m;
    struct cpu *cpu;
    struct file *f;
};

static u8 pattern(u64 pos)
{
    return (u8)(pos * 7 + pos / PG + 1);
}

/* A file whose bytes lie on the disk, nothing of it in the cache. */
static void file_env_init(struct file_env *v)
{
    u8 bytes[SIZE];

    v->m = test_machine_full(NULL);
    v->cpu = test_cpu(v->m);
    test_task(v->cpu, 1);
    for (u64 i = 0; i < SIZE; i++)
        bytes[i] = pattern(i);
    v->f = file_open(v->cpu, 1, 2, 0, RWF, "/f");
    inode_set_linked(v->cpu, v->f->f_inode, INODE_HAS_NO_NAME);
    assert_int_equal(disk_file_fill(v->cpu, v->f, bytes, 3000, 0), 0);
    assert_int_equal(disk_file_fill(v->cpu, v->f, bytes + 3000, SIZE - 3000, 3000), 0);
    assert_int_equal(v->f->f_inode->i_size, SIZE);
    assert_int_equal(v->f->f_mapping->nrpages, 0);
}

static void file_env_end(struct file_env *v)
{
    assert_int_equal(sys_munmap(v->cpu, BASE, 64 * PG), 0);
    fput(v->cpu, v->f);
    assert_int_equal(v->m->cache->nr_inodes, 0);
    assert_books(machine_check, v->m);
    test_machine_end(v->m);
}

static u8 byte_of(struct file_env *v, u64 pos)
{
    u8 byte = 0xee;

    assert_int_equal(file_pread(v->cpu, v->f, &byte, 1, (s64)pos), 1);
    return byte;
}

/* All dirty pages to the disk, then out of the cache. */
static void flush_and_drop(struct file_env *v)
{
    assert_int_equal(filemap_fsync_range(v->cpu, v->f, 0, ~(u64)0), 0);
    drop_pagecache(v->cpu);
    assert_int_equal(v->f->f_mapping->nrpages, 0);
    assert_int_equal(global_node_page_state(v->m, NR_FILE_DIRTY), 0);
    assert_books(machine_check, v->m);
}

static void test_read(void **state)
{
    u8 got[2 * SIZE];
    struct file_env v;

    file_env_init(&v);
    assert_int_equal(file_pread(v.cpu, v.f, got, sizeof(got), 0), SIZE);
    for (u64 i = 0; i < SIZE; i++)
        assert_int_equal(got[i], pattern(i));
    assert_int_equal(file_pread(v.cpu, v.f, got, 100, 3990), 100);
    for (u64 i = 0; i < 100; i++)
        assert_int_equal(got[i], pattern(3990 + i));
    flush_and_drop(&v);
    assert_int_equal(byte_of(&v, PG + 1), pattern(PG + 1));
    file_env_end(&v);
}

/* A store through a shared mapping outlives munmap, writeback and the cache; one through a private mapping does not. */
static void test_mappings(void **state)
{
    struct file_env v;

    file_env_init(&v);
    map_at(v.cpu, BASE, 6, RW, MAP_SHARED_ | MAP_FIXED_, v.f, 0);
    map_at(v.cpu, BASE + 16 * PG, 6, RW, MAP_PRIVATE_ | MAP_FIXED_, v.f, 0);
    assert_int_equal(get_byte(v.cpu, BASE + PG + 5), pattern(PG + 5));
    assert_int_equal(get_byte(v.cpu, BASE + 5 * PG + 99), pattern(5 * PG + 99));
    assert_int_equal(get_byte(v.cpu, BASE + 5 * PG + 100), 0);
    put_byte(v.cpu, BASE + PG, 1);
    put_byte(v.cpu, BASE + 16 * PG + 1, 2);
    put_byte(v.cpu, BASE + 5 * PG + 100, 4); /* behind the end: until it is written back */
    assert_int_equal(get_byte(v.cpu, BASE + 21 * PG + 100), 4);
    assert_int_equal(byte_of(&v, PG), 1);
    assert_int_equal(byte_of(&v, 1), pattern(1));
    assert_int_equal(get_byte(v.cpu, BASE + 17 * PG), 1);
    assert_int_equal(filemap_fsync_range(v.cpu, v.f, 0, ~(u64)0), 0);
    assert_int_equal(get_byte(v.cpu, BASE + 21 * PG + 100), 0);
    assert_int_equal(get_byte(v.cpu, BASE + 5 * PG + 99), pattern(5 * PG + 99));
    put_byte(v.cpu, BASE + PG + 1, 3); /* faults again, dirty again */
    assert_true(folio_test_dirty(page_folio(page_at(v.cpu, BASE + PG))));
    assert_books(machine_check, v.m);
    assert_int_equal(sys_munmap(v.cpu, BASE, 64 * PG), 0);
    flush_and_drop(&v);
    assert_int_equal(byte_of(&v, PG), 1);
    assert_int_equal(byte_of(&v, PG + 1), 3);
    assert_int_equal(byte_of(&v, PG + 2), pattern(PG + 2));
    file_env_end(&v);
}

/* Whether its pages are in the cache or not, a file that was cut has zeroes where it grows again. */
static void test_truncate(void **state)
{
    for (u32 cached = 0; cached < 2; cached++) {
        struct file_env v;

        file_env_init(&v);
        if (cached)
            generic_file_read(v.cpu, v.f, 0, SIZE);
        assert_int_equal(vfs_ftruncate(v.cpu, v.f, PG + 10), 0);
        assert_int_equal(vfs_ftruncate(v.cpu, v.f, 4 * PG), 0);
        assert_int_equal(byte_of(&v, PG + 9), pattern(PG + 9));
        assert_int_equal(byte_of(&v, PG + 10), 0);
        assert_int_equal(byte_of(&v, 2 * PG), 0);
        assert_int_equal(vfs_fallocate(v.cpu, v.f, FALLOC_FL_PUNCH_HOLE_ | FALLOC_FL_KEEP_SIZE_, 10, 20), 0);
        flush_and_drop(&v);
        assert_int_equal(byte_of(&v, 9), pattern(9));
        assert_int_equal(byte_of(&v, 10), 0);
        assert_int_equal(byte_of(&v, 29), 0);
        assert_int_equal(byte_of(&v, 30), pattern(30));
        file_env_end(&v);
    }
}

/* F_SEAL_WRITE and a page that somebody has pinned: refused, and nothing is denied. */
static void test_seal_pinned(void **state)
{
    struct page *page;
    struct file *f;
    struct file_env v;

    file_env_init(&v);
    f = memfd_create_file(v.cpu, "memfd:x", MEMFD_SEALABLE, 0);
    assert_int_equal(vfs_ftruncate(v.cpu, f, PG), 0);
    map_at(v.cpu, BASE, 1, RW, MAP_SHARED_ | MAP_FIXED_, f, 0);
    touch(v.cpu, BASE, ACCESS_WRITE);
    page = page_at(v.cpu, BASE);
    assert_int_equal(sys_munmap(v.cpu, BASE, PG), 0);
    atomic_fetch_add(&page->_refcount, GUP_PIN_COUNTING_BIAS);
    assert_int_equal(memfd_add_seals(v.cpu, f, F_SEAL_WRITE_), -EBUSY);
    map_at(v.cpu, BASE, 1, RW, MAP_SHARED_ | MAP_FIXED_, f, 0);
    assert_int_equal(sys_munmap(v.cpu, BASE, PG), 0);
    atomic_fetch_sub(&page->_refcount, GUP_PIN_COUNTING_BIAS);
    assert_int_equal(memfd_add_seals(v.cpu, f, F_SEAL_WRITE_), 0);
    assert_int_equal(sys_mmap(v.cpu, BASE, PG, RW, MAP_SHARED_ | MAP_FIXED_, f, 0), -EPERM);
    fput(v.cpu, f);
    file_env_end(&v);
}

static s64 call(struct cpu *cpu, enum abi_nr nr, struct file *f, s64 a, s64 b, s64 c)
{
    struct abi_call call = {.nr = nr, .file = f, .arg = {3, (u64)a, (u64)b, (u64)c}};

    return abi_syscall(cpu, &call);
}

/* A hole that ends inside page 0 of shared memory unmaps all pages from its start on (6.18); they stay in the cache. */
static void test_hole_in_page_0(void **state)
{
    static const char *const mapped[] = {"0000", "1000"};
    struct file_env v;

    file_env_init(&v);
    for (u32 i = 0; i < ARRAY_SIZE(mapped); i++) {
        struct file *f = memfd_create_file(v.cpu, "memfd:x", 0, 0);

        assert_int_equal(vfs_ftruncate(v.cpu, f, 4 * PG), 0);
        map_at(v.cpu, BASE, 4, RW, MAP_SHARED_ | MAP_FIXED_, f, 0);
        for (u32 n = 0; n < 4; n++)
            put_byte(v.cpu, BASE + n * PG + 15, 7);
        assert_int_equal(vfs_fallocate(v.cpu, f, FALLOC_FL_PUNCH_HOLE_ | FALLOC_FL_KEEP_SIZE_, i * 10, 20), 0);
        for (u32 n = 0; n < 4; n++)
            assert_int_equal('0' + !!page_at(v.cpu, BASE + n * PG), mapped[i][n]);
        assert_int_equal(f->f_mapping->nrpages, 4);
        assert_int_equal(get_byte(v.cpu, BASE + 15), 0);
        assert_int_equal(get_byte(v.cpu, BASE + PG + 15), 7);
        assert_books(machine_check, v.m);
        fput(v.cpu, f);
    }
    file_env_end(&v);
}

/*
 * Ranges of pages that go ('-') and that come between ('+'), beside the same done to a string: one letter a page, '.'
 * zeroes. Half of the bytes are in the cache only, dirty, when it happens, and read from the disk afterwards.
 */
static void test_shift(void **state)
{
    static const struct {
        char what;
        u64 at, pages;
        const char *after;
    } steps[] = {
        {'-', 1, 2, "adef"},   {'+', 2, 3, "ad...ef"}, {'-', 0, 1, "d...ef"},  {'+', 0, 2, "..d...ef"},
        {'-', 3, 2, "..d.ef"}, {'+', 5, 70, NULL},     {'-', 5, 70, "..d.ef"}, {'-', 0, 5, "f"},
        {'+', 0, 5000, NULL},  {'-', 0, 4999, ".f"},
    };
    struct file_env v;

    file_env_init(&v);
    assert_int_equal(vfs_ftruncate(v.cpu, v.f, 0), 0);
    for (u64 i = 0; i < 6; i++) {
        char letter = (char)('a' + i);

        assert_int_equal(file_pwrite(v.cpu, v.f, &letter, 1, (s64)(i * PG)), 1);
        if (i == 2)
            flush_and_drop(&v);
    }
    for (u32 i = 0; i < ARRAY_SIZE(steps); i++) {
        bool goes = steps[i].what == '-';
        u64 size = v.f->f_inode->i_size;

        assert_int_equal(vfs_fallocate(v.cpu, v.f, goes ? FALLOC_FL_COLLAPSE_RANGE_ : FALLOC_FL_INSERT_RANGE_,
                                       (s64)(steps[i].at * PG), (s64)(steps[i].pages * PG)),
                         0);
        assert_int_equal(v.f->f_inode->i_size, goes ? size - steps[i].pages * PG : size + steps[i].pages * PG);
        assert_books(machine_check, v.m);
        for (u64 p = 0; steps[i].after && steps[i].after[p]; p++)
            assert_int_equal(byte_of(&v, p * PG) ? byte_of(&v, p * PG) : '.', steps[i].after[p]);
        if (i & 1)
            flush_and_drop(&v);
    }
    file_env_end(&v);
}

/* What writeback takes to the disk ends with the file: stores behind its end are gone. */
static void test_write_back_the_end(void **state)
{
    struct file_env v;

    file_env_init(&v);
    map_at(v.cpu, BASE, 6, RW, MAP_SHARED_ | MAP_FIXED_, v.f, 0);
    put_byte(v.cpu, BASE + SIZE - 1, 5);
    put_byte(v.cpu, BASE + SIZE, 6);
    put_byte(v.cpu, BASE + 6 * PG - 1, 7);
    assert_int_equal(sys_msync(v.cpu, BASE, 6 * PG, 1 /* MS_ASYNC */), 0);
    assert_int_equal(get_byte(v.cpu, BASE + SIZE), 6);
    assert_int_equal(sys_msync(v.cpu, BASE, 6 * PG, 4 /* MS_SYNC */), 0);
    assert_int_equal(get_byte(v.cpu, BASE + SIZE - 1), 5);
    assert_int_equal(get_byte(v.cpu, BASE + SIZE), 0);
    assert_int_equal(get_byte(v.cpu, BASE + 6 * PG - 1), 0);
    assert_int_equal(sys_munmap(v.cpu, BASE, 6 * PG), 0);
    flush_and_drop(&v);
    assert_int_equal(byte_of(&v, SIZE - 1), 5);
    file_env_end(&v);
}

/* Each allocation fails once. What a failed fallocate had made is gone again; the books balance. */
static void test_no_memory(void **state)
{
    bool failed = true;
    u64 nth;

    for (nth = 1; failed; nth++) {
        struct abi_call create = {.nr = ABI_memfd_create, .arg = {1, 2}, .in[0] = {"x", 2}};
        struct file_env v;
        s64 r, fill;

        file_env_init(&v);
        fail_arm(v.m, nth);
        r = abi_syscall(v.cpu, &create);
        fill = disk_file_fill(v.cpu, v.f, "x", 1, 200 * PG);
        if (!r) {
            s64 made = call(v.cpu, ABI_fallocate, create.new_file, 1, PG, 70 * PG);

            assert_true(made == 0 || made == -ENOMEM);
            assert_int_equal(create.new_file->f_mapping->nrpages, made ? 0 : 70);
            r = file_pwrite(v.cpu, create.new_file, "abc", 3, 200 * PG - 1);
            assert_true(r == 3 || r == 1 || r == -ENOMEM);
            assert_int_equal(create.new_file->f_inode->i_size, r < 0 ? 0 : 200 * PG - 1 + r);
            fput(v.cpu, create.new_file);
        }
        failed = fail_injected(v.m);
        assert_true(fill == 0 || fill == -ENOMEM);
        assert_books(machine_check, v.m);
        file_env_end(&v);
        assert_true(nth < 500);
    }
    assert_true(nth > 70);
}

/* Overcommit: an object made with a size is refused as a whole, one without page by page: -ENOSPC, or SIGBUS. */
static void test_commit(void **state)
{
    struct file_env v;
    struct file *f;
    u64 room;

    file_env_init(&v);
    v.m->config.overcommit_memory = 2;
    v.m->config.admin_reserve_kbytes = v.m->config.user_reserve_kbytes = 0;
    v.m->config.overcommit_kbytes = 40;
    room = 10 - (u64)atomic_load(&v.m->vm->vm_committed_as);
    assert_int_equal(sys_mmap(v.cpu, BASE, 64 * PG, RW, ANON_SHARED, NULL, 0), -ENOMEM);
    f = memfd_create_file(v.cpu, "memfd:x", 0, 0);
    assert_int_equal(vfs_ftruncate(v.cpu, f, 64 * PG), 0);
    assert_int_equal(vfs_fallocate(v.cpu, f, 0, 0, 64 * PG), -ENOSPC);
    assert_int_equal(f->f_mapping->nrpages, 0);
    assert_int_equal(file_pwrite(v.cpu, f, NULL, 64 * PG, 0), (s64)((room - 1) * PG));
    map_at(v.cpu, BASE, 64, RW, MAP_SHARED_ | MAP_FIXED_, f, 0);
    touch(v.cpu, BASE, ACCESS_WRITE);
    assert_int_equal(do_access(v.cpu, BASE + 63 * PG, ACCESS_WRITE).signo, 7);
    assert_int_equal(file_pwrite(v.cpu, f, NULL, 1, 63 * PG), -ENOSPC);
    fput(v.cpu, f);
    file_env_end(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_mappings),
        cmocka_unit_test(test_truncate),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_commit),
        cmocka_unit_test(test_seal_pinned),
        cmocka_unit_test(test_hole_in_page_0),
        cmocka_unit_test(test_shift),
        cmocka_unit_test(test_write_back_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
