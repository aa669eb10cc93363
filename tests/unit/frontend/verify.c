/* SPDX-License-Identifier: MIT */
/* quire verify on recordings made by hand: what agrees, what does not and is forced, what is bad input. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/errno.h"
#include "priv.h"
#include "recording.h"

#define PID 100
#define HOST "arch = x86_64\nmem = 64M\ncpus = 1\nvm.overcommit_memory = 1\n"
#define MAPS                                                                                                           \
    "555555554000-555555558000 r-xp 00000000 fe:00 12                         /bin/test\n"                             \
    "555555558000-555555559000 rw-p 00004000 fe:00 12                         /bin/test\n"
#define LOADER "7ffff7fc0000-7ffff7ff0000 r-xp 00000000 fe:00 13                         /lib/ld.so\n"
#define VDSO "7ffff7ff2000-7ffff7ff4000 r-xp 00000000 00:00 0                          [vdso]\n"
#define STACK                                                                                                          \
    "7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0                          [stack]\n"                               \
    "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n"
#define BRK 0x55555557a000ull
#define BASE 0x7ffff7ff0000ull /* mmap_base: end of the loader */
#define ANON (MAP_PRIVATE_ | MAP_ANONYMOUS_)
#define RW (PROT_READ_ | PROT_WRITE_)

static struct recording r;
static struct verify *v;

static int setup(void **state)
{
    const struct verify_options o = {0};

    v = recording_host(&r, &o, HOST);
    assert_non_null(v);
    assert_int_equal(recording_exec(&r, v, PID, MAPS LOADER STACK, BRK), 0);
    return 0;
}

static int teardown(void **state)
{
    assert_int_equal(verify_check(v, r.why, sizeof(r.why)), 0);
    verify_destroy(v);
    return 0;
}

static void expect(u32 what, u64 agreed, u64 disagreed, u64 not_modelled)
{
    const struct verify_tally *t = &verify_result(v)->tally[what];

    assert_int_equal(t->agreed, agreed);
    assert_int_equal(t->disagreed, disagreed);
    assert_int_equal(t->not_modelled, not_modelled);
}

static void map(u64 len, s64 ret)
{
    assert_int_equal(recording_call(&r, v, PID, ABI_mmap, (u64[6]){0, len, RW, ANON, ~0ull, 0}, ret), 0);
}

static const u64 loader_start = 0x7ffff7fc0000ull;

static void test_addresses(void **state)
{
    map(0x3000, (s64)loader_start - 0x3000);
    map(0x1000, (s64)loader_start - 0x4000);
    map(0, -EINVAL);
    recording_call(&r, v, PID, ABI_munmap, (u64[6]){loader_start - 0x3000, 0x1000}, 0);
    map(0x1000, (s64)loader_start - 0x3000);
    recording_call(&r, v, PID, ABI_brk, (u64[6]){0}, (s64)BRK);
    recording_call(&r, v, PID, ABI_brk, (u64[6]){BRK + 0x21000}, (s64)BRK + 0x21000);
    expect(ABI_mmap, 4, 0, 0);
    expect(ABI_munmap, 1, 0, 0);
    expect(ABI_brk, 2, 0, 0);
}

/* One wrong address is one disagreement: what follows lies where the kernel put it. */
static void test_forced(void **state)
{
    map(0x3000, (s64)loader_start - 0x13000);
    map(0x1000, (s64)loader_start - 0x1000);
    recording_call(&r, v, PID, ABI_mprotect, (u64[6]){loader_start - 0x13000, 0x3000, PROT_READ_}, 0);
    recording_call(&r, v, PID, ABI_mprotect, (u64[6]){loader_start - 0x3000, 0x1000, PROT_READ_}, -ENOMEM);
    expect(ABI_mmap, 1, 1, 0);
    expect(ABI_mprotect, 2, 0, 0);
}

/* The kernel refused what the machine does: undone. */
static void test_forced_failure(void **state)
{
    map(0x3000, -ENOMEM);
    map(0x1000, (s64)loader_start - 0x1000);
    expect(ABI_mmap, 1, 1, 0);
}

static void test_forced_mremap(void **state)
{
    map(0x4000, (s64)loader_start - 0x4000);
    recording_call(&r, v, PID, ABI_mremap, (u64[6]){loader_start - 0x4000, 0x4000, 0x8000, MREMAP_MAYMOVE_},
                   (s64)loader_start - 0x100000);
    recording_call(&r, v, PID, ABI_munmap, (u64[6]){loader_start - 0x100000, 0x8000}, 0);
    map(0x1000, (s64)loader_start - 0x1000);
    expect(ABI_mremap, 0, 1, 0);
    expect(ABI_mmap, 2, 0, 0);
}

static void test_not_modelled(void **state)
{
    recording_call(&r, v, PID, NATIVE_userfaultfd, (u64[6]){0}, 3);
    recording_call(&r, v, PID, ABI_mmap, (u64[6]){0, 0x200000, RW, ANON | MAP_HUGETLB_, ~0ull, 0},
                   (s64)BASE - 0x800000);
    recording_call(&r, v, PID, ABI_mprotect, (u64[6]){BASE - 0x800000, 0x1000, PROT_READ_}, 0);
    expect(NATIVE_userfaultfd, 0, 0, 1);
    expect(ABI_mmap, 0, 0, 1);
    expect(ABI_mprotect, 1, 0, 0);
}

static void test_maps(void **state)
{
    char with[2048];

    recording_maps(&r, v, PID, MAPS LOADER STACK);
    map(0x2000, (s64)loader_start - 0x2000);
    snprintf(with, sizeof(with),
             "%s7ffff7fbe000-7ffff7fbf000 rw-p 00000000 00:00 0\n7ffff7fbf000-7ffff7fc0000 rw-p 00000000 00:00 0\n%s",
             MAPS, LOADER STACK);
    recording_maps(&r, v, PID, with); /* kept apart by the kernel: a boundary, no disagreement */
    assert_int_equal(verify_result(v)->kernel_cuts, 1);
    expect(VERIFY_MAPS, 2, 0, 0);
    recording_maps(&r, v, PID, MAPS LOADER STACK); /* gone: a disagreement, once */
    recording_maps(&r, v, PID, MAPS LOADER STACK);
    expect(VERIFY_MAPS, 3, 1, 0);
}

/* A stack that has grown is followed as far as the machine lets it. */
static void test_stack(void **state)
{
    recording_maps(&r, v, PID,
                   MAPS LOADER "7fffffe00000-7ffffffff000 rw-p 00000000 00:00 0                          [stack]\n");
    expect(VERIFY_MAPS, 1, 0, 0);
    recording_maps(&r, v, PID, MAPS LOADER "7fffe0000000-7ffffffff000 rw-p 00000000 00:00 0           [stack]\n");
    expect(VERIFY_MAPS, 1, 1, 0);
}

static void test_fork(void **state)
{
    map(0x2000, (s64)loader_start - 0x2000);
    assert_int_equal(recording_clone(&r, v, PID, PID + 1, 17), 0);
    assert_int_equal(recording_clone(&r, v, PID, PID + 2, CLONE_VM_ | CLONE_THREAD_), 0);
    recording_call(&r, v, PID + 1, ABI_munmap, (u64[6]){loader_start - 0x2000, 0x2000}, 0);
    recording_call(&r, v, PID + 2, ABI_mprotect, (u64[6]){loader_start - 0x2000, 0x2000, PROT_NONE_}, 0);
    recording_call(&r, v, PID + 1, ABI_mprotect, (u64[6]){loader_start - 0x2000, 0x2000, PROT_NONE_}, -ENOMEM);
    recording_exit(&r, v, PID + 1);
    recording_exit(&r, v, PID + 2);
    expect(VERIFY_FORK, 2, 0, 0);
    expect(ABI_mprotect, 2, 0, 0);
    assert_int_equal(verify_result(v)->processes, 2);
    assert_int_equal(verify_result(v)->threads, 3);
}

static void test_signals(void **state)
{
    recording_signal(&r, v, PID, 11, 1, 0x1000);            /* nothing there */
    recording_signal(&r, v, PID, 11, 2, loader_start);      /* not writable */
    recording_signal(&r, v, PID, 11, 1, loader_start);      /* there is something */
    recording_signal(&r, v, PID, 11, 1, 0x7ffffffddff0ull); /* the stack would have grown */
    recording_signal(&r, v, PID, 17, 1, 0);                 /* no fault */
    expect(VERIFY_SIGNAL, 2, 2, 0);
}

/* A program that the recorder may not read: its calls are not judged, those of the next one are. */
static void test_unseen(void **state)
{
    assert_int_equal(recording_exec(&r, v, PID, NULL, 0), 0);
    map(0x2000, 0x10000);
    assert_int_equal(recording_clone(&r, v, PID, PID + 1, 17), 0);
    recording_call(&r, v, PID + 1, ABI_munmap, (u64[6]){0x10000, 0x2000}, 0);
    recording_signal(&r, v, PID + 1, 11, 1, 0x1000);
    expect(ABI_mmap, 0, 0, 1);
    expect(ABI_munmap, 0, 0, 1);
    expect(VERIFY_SIGNAL, 0, 0, 0);
    assert_int_equal(verify_result(v)->unseen, 1);
    assert_int_equal(recording_exec(&r, v, PID, MAPS LOADER STACK, BRK), 0);
    map(0x3000, (s64)loader_start - 0x3000);
    expect(ABI_mmap, 1, 0, 1);
}

static void test_bad_input(void **state)
{
    struct native_call call = {.nr = ABI_mmap, .nr_parts = 1};
    struct native_part part = {NATIVE_IN, 0, 1000};

    call.h = recording_head(&r, PID, PID);
    recording_add(&r, &call, sizeof(call));
    assert_int_equal(recording_give(&r, v, NATIVE_CALL), -1); /* a part that is not there */
    recording_add(&r, &part, sizeof(part));
    assert_int_equal(recording_give(&r, v, NATIVE_CALL), -1); /* longer than the event */
    assert_int_equal(recording_give(&r, v, NR_NATIVE_TYPES), -1);
    r.len = 10;
    assert_int_equal(recording_give(&r, v, NATIVE_EXIT), -1);
    assert_int_equal(recording_exec(&r, v, PID, "nonsense\n", BRK), -1);
    assert_int_equal(recording_exec(&r, v, PID,
                                    "7ffffffde000-7ffffffff000 rw-p 0 0 0 [stack]\n"
                                    "1000-ffffffffffffffff rw-p 0 0 0\n",
                                    BRK),
                     -1);
}

static void test_bad_host(void **state)
{
    const struct verify_options o = {0};

    assert_null(recording_host(&r, &o, "mem = banana\n"));
    assert_non_null(strstr(r.why, "mem"));
    assert_null(verify_create(&o, r.bytes, 3, r.why, sizeof(r.why)));
}

/* The stack pointer tells that the stack has grown. */
static int call_deep_in_the_stack(s32 tid)
{
    struct native_call e = {.nr = ABI_munlockall, .sp = 0x7ffffffd0000ull, .h = recording_head(&r, tid, tid)};

    recording_add(&r, &e, sizeof(e));
    return recording_give(&r, v, NATIVE_CALL);
}

/* 0: all events were taken; else the first that ends the verification, by its place. */
static int some_events(void)
{
    const u64 start = BASE - 40 * PAGE_SIZE;
    int n = 0;

#define EVENT(e)                                                                                                       \
    do {                                                                                                               \
        n++;                                                                                                           \
        if (e)                                                                                                         \
            return n;                                                                                                  \
    } while (0)
#define CALL(tid, nr, ret, ...) EVENT(recording_call(&r, v, tid, nr, (u64[6]){__VA_ARGS__}, (s64)(ret)))
    EVENT(recording_exec(&r, v, PID, MAPS LOADER STACK, BRK));
    CALL(PID, ABI_mmap, start, start, 40 * PAGE_SIZE, RW, ANON | MAP_FIXED_ | MAP_POPULATE_, ~0ull, 0);
    CALL(PID, ABI_mprotect, 0, start, 2 * PAGE_SIZE, 1);
    CALL(PID, ABI_munmap, 0, start + 8 * PAGE_SIZE, PAGE_SIZE);
    CALL(PID, ABI_mremap, start - 40 * PAGE_SIZE, start + 10 * PAGE_SIZE, PAGE_SIZE, PAGE_SIZE, 3,
         start - 40 * PAGE_SIZE);
    CALL(PID, ABI_brk, BRK + 3 * PAGE_SIZE, BRK + 3 * PAGE_SIZE);
    CALL(PID, ABI_shmget, 4711, 0, PAGE_SIZE, 01600);
    CALL(PID, ABI_shmat, start - 80 * PAGE_SIZE, 4711, start - 80 * PAGE_SIZE, 0);
    CALL(PID, ABI_shmctl, 0, 4711, 0, 0);
    CALL(PID, ABI_mlock, 0, start + 20 * PAGE_SIZE, 2 * PAGE_SIZE);
    EVENT(recording_clone(&r, v, PID, PID + 1, 17));
    EVENT(recording_clone(&r, v, PID, PID + 2, CLONE_VM_ | CLONE_THREAD_));
    CALL(PID + 1, ABI_madvise, 0, start + 20 * PAGE_SIZE, PAGE_SIZE, 10 /* DONTFORK */);
    EVENT(recording_signal(&r, v, PID, 11, 1, 0x1000));
    EVENT(recording_exec(&r, v, PID + 1, MAPS LOADER STACK, BRK));
    EVENT(recording_exec(&r, v, PID + 7, MAPS LOADER VDSO STACK, BRK)); /* its fork was not seen */
    EVENT(call_deep_in_the_stack(PID + 7));
    EVENT(recording_exec(&r, v, PID + 8, NULL, 0)); /* nor this one's */
    EVENT(recording_maps(&r, v, PID + 1, MAPS STACK));
    EVENT(recording_exit(&r, v, PID + 2));
    EVENT(recording_exit(&r, v, PID));
    return 0;
}

/*
 * With each allocation of the machine failing: a call disagrees (error 12) and the kernel's result is put in place as far
 * as that goes, or the verification ends and says why.
 */
static void test_no_memory(void **state)
{
    const struct verify_options o = {0};
    bool failed = true;
    u32 ended = 0;

    for (u64 nth = 1; failed; nth++) {
        u64 disagreed = 0;
        int at;

        v = recording_host(&r, &o, HOST);
        assert_non_null(v);
        v->m->fail.not_slabs = true;
        atomic_store(&v->m->fail.countdown, nth);
        at = some_events();
        failed = atomic_load(&v->m->fail.failed) != 0;
        atomic_store(&v->m->fail.countdown, 0);
        for (u32 i = 0; i < NR_VERIFY; i++)
            disagreed += verify_result(v)->tally[i].disagreed;
        if (at) {
            ended++;
            assert_true(failed);
            assert_true(strstr(r.why, "memory") || strstr(r.why, "error 12"));
        }
        assert_int_equal(failed ? 0 : disagreed, failed ? 0 : 1); /* the last maps: the loader is gone */
        assert_int_equal(verify_check(v, r.why, sizeof(r.why)), 0);
        world_end(v);
        assert_int_equal(verify_check(v, r.why, sizeof(r.why)), 0);
        assert_true(list_empty(&v->m->vm->mms));
        verify_destroy(v);
    }
    assert_true(ended > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_addresses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forced, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forced_failure, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forced_mremap, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_modelled, setup, teardown),
        cmocka_unit_test_setup_teardown(test_maps, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stack, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fork, setup, teardown),
        cmocka_unit_test_setup_teardown(test_signals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unseen, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_input, setup, teardown),
        cmocka_unit_test(test_bad_host),
        cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
