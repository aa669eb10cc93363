/* SPDX-License-Identifier: MIT */
/* The library as an embedder uses it: through quire.h and libquire.so alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include <quire/quire.h>

#define MIB(n) ((uint64_t)(n) << 20)

static const char small[] = "mem = 64M\ncontent = full\nkernel.randomize_va_space = 0\n";

/* A process writes, forks, both see their own bytes; counters and books agree. */
static void test_fork(void **state)
{
    struct quire_machine *m = quire_machine_create(small);
    struct quire_process *parent, *child;
    struct quire_fault fault;
    char in[16] = "";
    int64_t at;

    assert_non_null(m);
    parent = quire_process_create(m, 1);
    assert_non_null(parent);
    at = quire_mmap(parent, 0, MIB(1), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    assert_true(at > 0);
    assert_int_equal(quire_store(parent, (uint64_t)at + 4090, "parent's bytes", 15, &fault), 0);
    assert_int_equal(quire_process_rss(parent), 2);
    child = quire_process_fork(parent, 2);
    assert_non_null(child);
    assert_int_equal(quire_store(child, (uint64_t)at + 4090, "child's", 8, NULL), 0);
    assert_int_equal(quire_load(parent, in, (uint64_t)at + 4090, 15, NULL), 0);
    assert_string_equal(in, "parent's bytes");
    assert_int_equal(quire_load(child, in, (uint64_t)at + 4090, 8, NULL), 0);
    assert_string_equal(in, "child's");
    assert_int_equal(quire_machine_counter(m, "quire_fault_wp_copy"), 2);
    assert_int_equal(quire_machine_counter(m, "quire_fork"), 1);
    assert_int_equal(quire_machine_check(m), 0);
    quire_process_exit(child);
    quire_process_exit(parent);
    assert_int_equal(quire_machine_counter(m, "AnonPages"), 0);
    assert_int_equal(quire_machine_check(m), 0);
    quire_machine_destroy(m);
}

static void test_errors(void **state)
{
    struct quire_machine *m;
    struct quire_process *p;
    struct quire_fault fault;
    int64_t at;

    assert_null(quire_machine_create("mem = 1"));
    assert_string_equal(quire_last_error(),
                        "config:1: mem: bad value '1': expected a size such as 4G, from 16M to 32T");
    assert_null(quire_machine_create("mem = 64M\nnuma.nodes = 8"));
    assert_string_equal(quire_last_error(), "64M of memory is too small for 8 nodes: each needs 16M");
    m = quire_machine_create("mem = 64M");
    assert_int_equal(quire_machine_counter(m, "nonsense"), -ENOENT);
    p = quire_process_create(m, 7);
    assert_null(quire_process_create(m, 7));
    assert_string_equal(quire_last_error(), "pid: File exists");
    assert_null(quire_process_create(m, 0));
    assert_int_equal(quire_munmap(p, 1, 4096), -EINVAL);
    assert_string_equal(quire_last_error(), "munmap: Invalid argument");
    assert_int_equal(quire_load(p, &at, 0, 1, NULL), -EOPNOTSUPP);
    at = quire_mmap(p, 0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS);
    assert_int_equal(quire_access(p, (uint64_t)at, 8, QUIRE_READ, &fault), 0);
    assert_int_equal(quire_access(p, (uint64_t)at + 4092, 8, QUIRE_READ, &fault), 11);
    assert_int_equal(fault.addr, at + 4096);
    assert_int_equal(fault.si_code, 1);
    assert_int_equal(quire_access(p, (uint64_t)at, 8, QUIRE_WRITE, &fault), 11);
    assert_int_equal(fault.si_code, 2);
    assert_int_equal(quire_access(p, (uint64_t)at, 0, QUIRE_WRITE, &fault), -EINVAL);
    assert_int_equal(quire_machine_counter(m, "l1d_accesses"), 3);
    assert_true(quire_machine_counter(m, "time.walk") > 0);
    quire_process_exit(p);
    assert_int_equal(quire_machine_check(m), 0);
    quire_machine_destroy(m);
}

/* Files: the first touch of a page is a major fault, another process's is not. */
static void test_file(void **state)
{
    struct quire_machine *m = quire_machine_create("mem = 64M\nfault_around_bytes = 4K\npage_cache = cold");
    struct quire_process *p = quire_process_create(m, 1), *q = quire_process_create(m, 2);
    int64_t a = quire_mmap_file(p, 0, 8 * 4096, PROT_READ, MAP_PRIVATE, 42, 5 * 4096, 0);
    int64_t b = quire_mmap_file(q, 0, 8 * 4096, PROT_READ, MAP_PRIVATE, 42, 5 * 4096, 0);
    struct quire_fault fault;

    assert_int_equal(quire_access(p, (uint64_t)a, 1, QUIRE_READ, &fault), 0);
    assert_int_equal(quire_machine_counter(m, "pgmajfault"), 1);
    assert_int_equal(quire_access(q, (uint64_t)b, 1, QUIRE_READ, &fault), 0);
    assert_int_equal(quire_machine_counter(m, "pgmajfault"), 1);
    assert_int_equal(quire_machine_counter(m, "pgfault"), 2);
    assert_int_equal(quire_access(q, (uint64_t)b + 5 * 4096, 1, QUIRE_READ, &fault), 7);
    quire_process_exit(p);
    quire_process_exit(q);
    assert_int_equal(quire_machine_check(m), 0);
    quire_machine_destroy(m);
}

/* The length comes back whatever the room is; what fits is there. */
static void test_proc(void **state)
{
    struct quire_machine *m = quire_machine_create(small);
    struct quire_process *p = quire_process_create(m, 7);
    int64_t at = quire_mmap(p, 0, MIB(1), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS), len;
    char text[4096], part[32];
    size_t names = 0;

    assert_int_equal(quire_access(p, (uint64_t)at, 8, QUIRE_WRITE, NULL), 0);
    len = quire_proc_read(m, "7/smaps", NULL, 0);
    assert_true(len > 500);
    assert_int_equal(quire_proc_read(m, "7/smaps", text, sizeof(text)), len);
    assert_int_equal(strlen(text), len);
    assert_non_null(strstr(text, "\nRss:                   4 kB\n"));
    assert_int_equal(quire_proc_read(m, "self/smaps", part, sizeof(part)), len);
    assert_memory_equal(part, text, sizeof(part) - 1);
    assert_int_equal(part[sizeof(part) - 1], 0);
    assert_int_equal(quire_proc_read(m, "8/smaps", text, sizeof(text)), -ESRCH);
    assert_int_equal(quire_proc_read(m, "7/smap", text, sizeof(text)), -ENOENT);
    while (quire_proc_name(names))
        names++;
    assert_true(names >= 20);
    quire_process_exit(p);
    quire_machine_destroy(m);
}

/* A loaded machine has the same views, the same bytes, and goes on working; its books balance. */
static void test_save_and_load(void **state)
{
    struct quire_machine *m = quire_machine_create(small);
    struct quire_process *p = quire_process_create(m, 7), *child = quire_process_fork(p, 8);
    int64_t at = quire_mmap(p, 0, MIB(1), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    char before[8192], after[8192], path[] = "/tmp/quire-library-XXXXXX", in[8];

    close(mkstemp(path));
    assert_int_equal(quire_store(p, (uint64_t)at, "kept", 5, NULL), 0);
    quire_proc_read(m, "vmstat", before, sizeof(before));
    assert_int_equal(quire_machine_save(m, path), 0);
    assert_null(quire_machine_load(path, NULL)); /* the place is taken */
    assert_non_null(strstr(quire_last_error(), "taken in this process"));
    quire_process_exit(child);
    quire_process_exit(p);
    quire_machine_destroy(m);

    assert_null(quire_machine_load(path, "other"));
    assert_non_null(strstr(quire_last_error(), "no machine other in it"));
    m = quire_machine_load(path, NULL);
    assert_non_null(m);
    quire_proc_read(m, "vmstat", after, sizeof(after));
    assert_string_equal(before, after);
    assert_int_equal(quire_machine_check(m), 0);
    assert_null(quire_process_open(m, 9));
    p = quire_process_open(m, 7);
    child = quire_process_open(m, 8);
    assert_int_equal(quire_load(p, in, (uint64_t)at, 5, NULL), 0);
    assert_string_equal(in, "kept");
    assert_int_equal(quire_store(p, (uint64_t)at + 8192, "more", 5, NULL), 0);
    assert_int_equal(quire_machine_check(m), 0);
    quire_process_exit(child);
    quire_process_exit(p);
    assert_int_equal(quire_machine_check(m), 0);
    quire_machine_destroy(m);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_proc),   cmocka_unit_test(test_save_and_load), cmocka_unit_test(test_fork),
        cmocka_unit_test(test_errors), cmocka_unit_test(test_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
