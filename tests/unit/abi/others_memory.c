/* SPDX-License-Identifier: MIT */
/* mincore, msync, membarrier, process_vm_*, process_madvise through the door. Results: those of 6.18. */
#include "tests/unit/vm/fault_testing.h"
#include "abi/abi.h"
#include "vm/madvise.h"

static s64 call(struct env *v, enum abi_nr nr, u64 a0, u64 a1, u64 a2)
{
    struct abi_call c = {.nr = nr, .arg = {a0, a1, a2}, .target = v->t};

    return abi_syscall(v->cpu, &c);
}

/* [2 pages][hole of 2][4 pages] from BASE */
static void map_with_hole(struct env *v)
{
    map_at(v->cpu, BASE, 8, RW, ANON_PRIVATE, NULL, 0);
    assert_int_equal(sys_munmap(v->cpu, BASE + 2 * PG, 2 * PG), 0);
}

struct row {
    u64 arg[3];
    s64 result;
};

static void check_rows(struct env *v, enum abi_nr nr, const struct row *rows, u32 n)
{
    for (u32 i = 0; i < n; i++) {
        s64 r = call(v, nr, rows[i].arg[0], rows[i].arg[1], rows[i].arg[2]);

        if (r != rows[i].result)
            fail_msg("%s row %u: %lld, not %lld", abi_name[nr], i, (long long)r, (long long)rows[i].result);
    }
}

/* -- mincore ------------------------------------------------------------------------------------------------------- */

static void mincore_arguments(void **state)
{
    const u64 vec = BASE + 64 * PG, end = 0x7ffffffff000;
    const struct row rows[] = {
        {{BASE, 8 * PG, vec}, -ENOMEM},
        {{BASE + 1, PG, vec}, -EINVAL},
        {{BASE, 0, vec}, 0},
        {{BASE, 1, vec}, 0},
        {{BASE, PG, 1}, -EFAULT},
        {{BASE, PG, ~0ul}, -EFAULT},
        {{BASE, 0, ~0ul}, -EFAULT},
        {{-PG, PG, vec}, -ENOMEM},
        {{BASE, ~0ul, vec}, -ENOMEM},
        {{end, PG, vec}, -ENOMEM},
        {{BASE, -PG, vec}, -ENOMEM},
        {{BASE + 2 * PG, PG, 1}, -ENOMEM},
        {{BASE, PG, end}, -EFAULT},
        {{BASE, 0, end}, 0},
        {{BASE, 0, end + 1}, -EFAULT},
        {{end, 0, vec}, 0},
        {{end + PG, 0, vec}, -ENOMEM},
    };
    struct env v;

    env_init(&v);
    map_with_hole(&v);
    map_at(v.cpu, vec, 1, RW, ANON_PRIVATE, NULL, 0);
    check_rows(&v, ABI_mincore, rows, ARRAY_SIZE(rows));
    env_end(&v);
}

static void expect_vec(struct env *v, va_t addr, u64 pages, const char *expected)
{
    u8 vec[64];
    struct abi_call c = {.nr = ABI_mincore, .arg = {addr, pages * PG, 4096}, .out[2] = {vec, sizeof(vec)}};

    assert_int_equal(abi_syscall(v->cpu, &c), 0);
    for (u64 i = 0; i < pages; i++)
        assert_int_equal(vec[i] + '0', expected[i]);
}

static void mincore_residency(void **state)
{
    struct machine_config c;
    struct file *f, *foreign;
    struct env v;

    test_config(&c);
    c.page_cache_warm = false;
    env_init_config(&v, &c);
    map_at(v.cpu, BASE, 4, RW, ANON_PRIVATE, NULL, 0);
    touch(v.cpu, BASE + PG, ACCESS_WRITE);
    touch(v.cpu, BASE + 2 * PG, ACCESS_READ);
    expect_vec(&v, BASE, 4, "0110");
    assert_int_equal(sys_madvise(v.cpu, BASE, PG, MADV_GUARD_INSTALL_), 0);
    assert_int_equal(sys_madvise(v.cpu, BASE + PG, PG, MADV_GUARD_INSTALL_), 0);
    expect_vec(&v, BASE, 4, "0010");

    f = file_open(v.cpu, 1, 1, 8 * PG, FMODE_READ | FMODE_WRITE, "/data");
    foreign = file_open(v.cpu, 1, 1, 8 * PG, FMODE_READ | FMODE_FOREIGN, "/data");
    map_at(v.cpu, BASE + 16 * PG, 8, PROT_READ_, MAP_SHARED_ | MAP_FIXED_, f, 0);
    map_at(v.cpu, BASE + 32 * PG, 8, PROT_READ_, MAP_SHARED_ | MAP_FIXED_, foreign, 0);
    expect_vec(&v, BASE + 16 * PG, 8, "00000000");
    expect_vec(&v, BASE + 32 * PG, 8, "11111111"); /* nothing is told */
    assert_int_equal(generic_file_read(v.cpu, f, 2 * PG, PG), PG);
    expect_vec(&v, BASE + 16 * PG, 8, "00100000");
    assert_int_equal(sys_madvise(v.cpu, BASE + 20 * PG, 2 * PG, MADV_WILLNEED_), 0);
    expect_vec(&v, BASE + 16 * PG, 8, "00101100");
    fput(v.cpu, f);
    fput(v.cpu, foreign);
    env_end(&v);
}

/* -- msync --------------------------------------------------------------------------------------------------------- */

static void msync_arguments(void **state)
{
    const struct row rows[] = {
        {{BASE, 8 * PG, 4}, -ENOMEM},      {{BASE, 8 * PG, 1}, -ENOMEM},
        {{BASE, 8 * PG, 0}, -ENOMEM},      {{BASE, 2 * PG, 0}, 0},
        {{BASE, PG, 8}, -EINVAL},          {{BASE + 1, PG, 4}, -EINVAL},
        {{BASE, PG, 5}, -EINVAL},          {{BASE, ~0ul, 4}, 0},
        {{BASE, -PG, 4}, -ENOMEM},         {{BASE, 0, 4}, 0},
        {{BASE + 2 * PG, PG, 1}, -ENOMEM}, {{BASE + 2 * PG, 0, 4}, 0},
        {{BASE + 8 * PG, PG, 1}, -ENOMEM},
    };
    const struct row locked[] = {
        {{BASE, 2 * PG, 2}, -EBUSY},
        {{BASE + 4 * PG, PG, 2}, 0},
        {{BASE + PG, 7 * PG, 2}, -ENOMEM},
        {{BASE, 8 * PG, 6}, -EBUSY},
    };
    struct env v;

    env_init(&v);
    map_with_hole(&v);
    check_rows(&v, ABI_msync, rows, ARRAY_SIZE(rows));
    assert_int_equal(sys_mlock(v.cpu, BASE, PG), 0);
    check_rows(&v, ABI_msync, locked, ARRAY_SIZE(locked));
    env_end(&v);
}

static void msync_writes_back(void **state)
{
    struct events e;
    struct file *f;
    struct env v;

    env_init(&v);
    f = file_open(v.cpu, 1, 1, 8 * PG, FMODE_READ | FMODE_WRITE, "/data");
    map_at(v.cpu, BASE, 8, RW, MAP_SHARED_ | MAP_FIXED_, f, 0);
    touch_range(v.cpu, BASE, 3, ACCESS_WRITE);
    assert_int_equal(global_node_page_state(v.m, NR_FILE_DIRTY), 3);
    assert_int_equal(call(&v, ABI_msync, BASE, 8 * PG, 1), 0);
    assert_int_equal(global_node_page_state(v.m, NR_FILE_DIRTY), 3); /* MS_ASYNC: nothing */
    e = event_start(v.cpu);
    assert_int_equal(call(&v, ABI_msync, BASE, 2 * PG, 4), 0);
    assert_int_equal(global_node_page_state(v.m, NR_FILE_DIRTY), 1);
    assert_int_equal(global_node_page_state(v.m, NR_WRITTEN), 2);
    assert_event(v.cpu, &e, PGPGOUT, 8);
    assert_false(pte_write(pt_format_of(v.m), pte_at(v.cpu, BASE)));
    assert_true(pte_write(pt_format_of(v.m), pte_at(v.cpu, BASE + 2 * PG)));
    assert_books(machine_check, v.m);
    touch(v.cpu, BASE, ACCESS_WRITE); /* noticed again */
    assert_int_equal(global_node_page_state(v.m, NR_FILE_DIRTY), 2);
    fput(v.cpu, f);
    env_end(&v);
}

/* -- membarrier ---------------------------------------------------------------------------------------------------- */

static void membarrier_commands(void **state)
{
    static const struct row rows[] = {
        {{0, 0, 0}, 1023},       {{0, 1, 0}, -EINVAL},    {{0, 0, 99}, 1023},     {{1, 0, 0}, 0},
        {{1, 1, 0}, -EINVAL},    {{2, 0, 0}, 0},          {{8, 0, 0}, -EPERM},    {{32, 0, 0}, -EPERM},
        {{128, 0, 0}, -EPERM},   {{128, 1, 0}, -EPERM},   {{128, 2, 0}, -EINVAL}, {{512, 0, 0}, 0},
        {{512, 1, 0}, -EINVAL},  {{16, 0, 0}, 0},         {{512, 0, 0}, 16},      {{8, 0, 0}, 0},
        {{8, 1, 0}, -EINVAL},    {{32, 0, 0}, -EPERM},    {{64, 0, 0}, 0},        {{32, 0, 0}, 0},
        {{128, 0, 0}, -EPERM},   {{256, 0, 0}, 0},        {{128, 0, 0}, 0},       {{128, 1, 0}, 0},
        {{128, 1, 9999}, 0},     {{4, 0, 0}, 0},          {{512, 0, 0}, 340},     {{3, 0, 0}, -EINVAL},
        {{1024, 0, 0}, -EINVAL}, {{~0ul, 0, 0}, -EINVAL},
    };
    struct task *child;
    struct env v;

    env_init(&v);
    check_rows(&v, ABI_membarrier, rows, ARRAY_SIZE(rows));
    child = do_fork(v.cpu, 101);
    v.cpu->current = child;
    assert_int_equal(call(&v, ABI_membarrier, 512, 0, 0), 340);
    v.cpu->current = v.t;
    task_exit(v.cpu, child);
    env_end(&v);
}

/* -- process_vm_readv, process_vm_writev --------------------------------------------------------------------------- */

struct iov {
    u64 base, len;
};

struct vm_row {
    struct iov local[2], remote[3];
    u64 nr_local, nr_remote, flags;
    s64 result;
};

static s64 vm_call(struct env *v, enum abi_nr nr, struct task *target, struct vm_row r)
{
    struct abi_call c = {
        .nr = nr,
        .arg = {1, 4096, r.nr_local, 4096, r.nr_remote, r.flags},
        .target = target,
        .in[1] = {r.local, sizeof(r.local)},
        .in[3] = {r.remote, sizeof(r.remote)},
    };

    return abi_syscall(v->cpu, &c);
}

#define L (BASE + 64 * PG) /* the caller's buffers: 4 pages, then nothing */
#define KERNEL 0xffff800000000000ul

static void process_vm_rows(void **state)
{
    static const struct vm_row rows[] = {
        {{{L, 2 * PG}}, {{BASE, 2 * PG}}, 1, 1, 0, 2 * PG},
        {{{L, 2 * PG}}, {{BASE, 2 * PG}}, 1, 1, 1, -EINVAL},
        {{{L, 4 * PG}}, {{BASE, 4 * PG}}, 1, 1, 0, 2 * PG}, /* to the hole */
        {{{L, 2 * PG}}, {{BASE + PG + 100, 2 * PG}}, 1, 1, 0, PG - 100},
        {{{L, 2 * PG}}, {{BASE, 10}}, 0, 1, 0, 0},
        {{{L, 2 * PG}}, {{BASE, 10}}, 1, 0, 0, 0},
        {{{L, 2 * PG}}, {{BASE, 10}}, ~0ul, 1, 0, -EINVAL},
        {{{L, 2 * PG}}, {{BASE, 10}}, 1ul << 32, 1, 0, 0}, /* 32 bits count */
        {{{L, 2 * PG}}, {{BASE, 10}}, 1ul << 32 | 1, 1, 0, 10},
        {{{L, 2 * PG}}, {{BASE, 10}}, 1, 1ul << 32 | 1, 0, -EINVAL},
        {{{L, 2 * PG}}, {{BASE, 10}}, 1025, 1, 0, -EINVAL},
        {{{L, 2 * PG}}, {{BASE, 10}}, 1, 1025, 0, -EINVAL},
        {{{L, 2 * PG}}, {{BASE + 2 * PG, 100}}, 1, 1, 0, -EFAULT},
        {{{L, 2 * PG}}, {{BASE, ~0ul}}, 1, 1, 0, -EINVAL},
        {{{L, ~0ul}}, {{BASE, 10}}, 1, 1, 0, -EINVAL},
        {{{L, 0}}, {{BASE, 10}}, 1, 1, 0, 0},
        {{{L, 10}}, {{BASE, 0}}, 1, 1, 0, 0},
        {{{1, 8}}, {{BASE, 8}}, 1, 1, 0, -EFAULT},
        {{{KERNEL, 8}}, {{BASE, 8}}, 1, 1, 0, -EFAULT},
        {{{KERNEL, 0}}, {{BASE, 8}}, 1, 1, 0, -EFAULT},
        {{{KERNEL, 8}, {L, ~0ul}}, {{BASE, 8}}, 2, 1, 0, -EINVAL},
        {{{L, 8}}, {{KERNEL, 0}}, 1, 1, 0, 0},
        {{{L, 8}}, {{KERNEL, 8}}, 1, 1, 0, -EFAULT},
        {{{L, 20}}, {{-10ul, 20}}, 1, 1, 0, -EFAULT},
        {{{L + 4 * PG - 50, 100}}, {{BASE, 100}}, 1, 1, 0, 50}, /* the local side ends */
        {{{L, 300}}, {{BASE, 100}, {BASE + 2 * PG, 100}, {BASE + PG, 100}}, 1, 3, 0, 100},
        {{{L, 100}, {1, 100}}, {{BASE, 200}}, 2, 1, 0, 100},
        {{{L, 100}, {L + 200, 100}}, {{BASE, 50}, {BASE + 60, 0}, {BASE + 70, 100}}, 2, 3, 0, 150},
    };
    struct env v;

    env_init(&v);
    map_with_hole(&v);
    map_at(v.cpu, L, 4, RW, ANON_PRIVATE, NULL, 0);
    for (u32 i = 0; i < ARRAY_SIZE(rows); i++)
        for (u32 write = 0; write < 2; write++) {
            s64 r = vm_call(&v, write ? ABI_process_vm_writev : ABI_process_vm_readv, v.t, rows[i]);

            if (r != rows[i].result)
                fail_msg("row %u, write %u: %lld, not %lld", i, write, (long long)r, (long long)rows[i].result);
        }
    assert_int_equal(global_node_page_state(v.m, NR_FOLL_PIN_ACQUIRED),
                     global_node_page_state(v.m, NR_FOLL_PIN_RELEASED));
    env_end(&v);
}

static void process_vm_bytes_and_rights(void **state)
{
    const struct vm_row one = {{{L, 8}}, {{BASE + 4 * PG - 4, 8}}, 1, 1, 0, 0};
    struct task *child;
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 8, RW, ANON_PRIVATE, NULL, 0);
    map_at(v.cpu, L, 4, RW, ANON_PRIVATE, NULL, 0);
    for (u32 i = 0; i < 8; i++)
        put_byte(v.cpu, BASE + 4 * PG - 4 + i, (u8)(10 + i));
    child = do_fork(v.cpu, 101);
    assert_int_equal(vm_call(&v, ABI_process_vm_readv, child, one), 8);
    for (u32 i = 0; i < 8; i++)
        assert_int_equal(get_byte(v.cpu, L + i), 10 + i);
    put_byte(v.cpu, L, 99);
    assert_int_equal(vm_call(&v, ABI_process_vm_writev, child, one), 8); /* breaks COW there */
    assert_int_equal(get_byte(v.cpu, BASE + 4 * PG - 4), 10);
    v.cpu->current = child;
    assert_int_equal(get_byte(v.cpu, BASE + 4 * PG - 4), 99);
    assert_int_equal(sys_mprotect(v.cpu, BASE, 8 * PG, PROT_READ_), 0);
    v.cpu->current = v.t;
    assert_int_equal(vm_call(&v, ABI_process_vm_writev, child, one), -EFAULT);
    assert_int_equal(vm_call(&v, ABI_process_vm_readv, child, one), 8);

    task_set_ids(child, 5, task_gid(child));
    assert_int_equal(vm_call(&v, ABI_process_vm_readv, child, one), 8); /* CAP_SYS_PTRACE */
    task_set_caps(v.t, 0);
    task_set_caps(child, 0);
    assert_int_equal(vm_call(&v, ABI_process_vm_readv, child, one), -EPERM);
    task_set_ids(child, task_uid(v.t), task_gid(child));
    assert_int_equal(vm_call(&v, ABI_process_vm_readv, child, one), 8);
    task_set_caps(child, 1);
    assert_int_equal(vm_call(&v, ABI_process_vm_readv, child, one), -EPERM);
    task_set_caps(child, 0);
    child->mm->flags &= ~MMF_DUMPABLE_MASK;
    assert_int_equal(vm_call(&v, ABI_process_vm_readv, child, one), -EPERM);
    assert_int_equal(vm_call(&v, ABI_process_vm_readv, NULL, one), -ESRCH);
    task_exit(v.cpu, child);
    env_end(&v);
}

/* Onto overlapping memory: byte by byte upwards, so one byte spreads. */
static void process_vm_overlapping(void **state)
{
    static const struct {
        enum abi_nr nr;
        u64 local, remote;
        bool spreads;
    } rows[] = {
        {ABI_process_vm_readv, 1, 0, true},
        {ABI_process_vm_readv, 0, 1, false},
        {ABI_process_vm_writev, 0, 1, true},
        {ABI_process_vm_writev, 1, 0, false},
    };
    struct env v;

    env_init(&v);
    map_at(v.cpu, BASE, 2, RW, ANON_PRIVATE, NULL, 0);
    for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
        const va_t from = BASE + PG - 6; /* over a page's end, too */
        struct vm_row row = {{{from + rows[i].local, 20}}, {{from + rows[i].remote, 20}}, 1, 1, 0, 0};

        for (u32 n = 0; n < 22; n++)
            put_byte(v.cpu, from + n, (u8)(n + 1));
        assert_int_equal(vm_call(&v, rows[i].nr, v.t, row), 20);
        for (u32 n = 0; n < 21; n++)
            assert_int_equal(get_byte(v.cpu, from + n), rows[i].spreads ? 1 : n < 20 ? n + 2 : 21);
        assert_int_equal(get_byte(v.cpu, from + 21), 22);
    }
    env_end(&v);
}

static void process_vm_failing_allocations(void **state)
{
    const struct vm_row big = {{{L, 32 * PG}}, {{BASE, 32 * PG}}, 1, 1, 0, 0};
    bool failed = true;
    struct env v;

    env_init(&v);
    for (u64 nth = 1; failed; nth++) {
        s64 r;

        map_at(v.cpu, BASE, 32, RW, ANON_PRIVATE, NULL, 0);
        map_at(v.cpu, L, 32, RW, ANON_PRIVATE, NULL, 0);
        fail_arm(v.m, nth);
        r = vm_call(&v, ABI_process_vm_writev, v.t, big);
        failed = fail_injected(v.m);
        if (!failed)
            assert_int_equal(r, 32 * PG);
        assert_true(r == -ENOMEM || r == -EFAULT || (r > 0 && r <= 32 * (s64)PG));
        assert_books(machine_check, v.m);
        assert_int_equal(sys_munmap(v.cpu, BASE, 32 * PG), 0);
        assert_int_equal(sys_munmap(v.cpu, L, 32 * PG), 0);
    }
    env_end(&v);
}

/* -- process_madvise ----------------------------------------------------------------------------------------------- */

struct pm {
    u64 fd, nr;
    int advice;
    u64 flags;
};

enum pidfd_of { SOMEBODY, WHO_IS_GONE };

static s64 pm_call_of(struct env *v, struct task *target, enum pidfd_of of, const struct iov *iov, struct pm a)
{
    struct abi_call c = {
        .nr = ABI_process_madvise,
        .arg = {a.fd, 4096, a.nr, (u64)a.advice, a.flags},
        .target = target,
        .target_gone = of == WHO_IS_GONE,
        .in[1] = {(void *)(uintptr_t)iov, 3 * sizeof(*iov)},
    };

    return abi_syscall(v->cpu, &c);
}

static s64 pm_call(struct env *v, struct task *target, const struct iov *iov, struct pm a)
{
    return pm_call_of(v, target, SOMEBODY, iov, a);
}

/* pidfds that name nobody whose memory it could be: as 6.18, after flags and vector, before advice. */
static void process_madvise_of_nobody(void **state)
{
    static const struct {
        struct iov iov[3];
        u64 nr;
        int advice;
        u64 flags;
        s64 gone, no_pidfd;
    } rows[] = {
        {{{BASE, PG}}, 1, MADV_COLD_, 0, -ESRCH, -EBADF},     {{{BASE, PG}}, 1, MADV_COLD_, 1, -EINVAL, -EINVAL},
        {{{BASE, ~0ul}}, 1, MADV_COLD_, 0, -EINVAL, -EINVAL}, {{{BASE, PG}}, 0, MADV_COLD_, 0, -ESRCH, -EBADF},
        {{{0, 0}}, 1, MADV_COLD_, 0, -ESRCH, -EBADF},         {{{BASE, PG}}, 1, 12345, 0, -ESRCH, -EBADF},
    };
    struct task *thread;
    struct env v;

    env_init(&v);
    map_with_hole(&v);
    thread = kernel_clone(v.cpu, CLONE_VM_ | CLONE_THREAD_, 101, v.t->tgid);
    assert_false(IS_ERR(thread));
    for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
        struct pm a = {3, rows[i].nr, rows[i].advice, rows[i].flags};

        assert_int_equal(pm_call_of(&v, NULL, WHO_IS_GONE, rows[i].iov, a), rows[i].gone);
        assert_int_equal(pm_call_of(&v, NULL, SOMEBODY, rows[i].iov, a), rows[i].no_pidfd);
        assert_int_equal(pm_call_of(&v, thread, SOMEBODY, rows[i].iov, a), rows[i].gone);
    }
    task_exit(v.cpu, thread);
    env_end(&v);
}

static void process_madvise_rows(void **state)
{
    static const struct {
        struct iov iov[3];
        u64 nr;
        int advice;
        u64 flags;
        s64 result;
    } rows[] = {
        {{{BASE, PG}}, 1, MADV_DONTNEED_, 0, PG},
        {{{BASE, PG}, {BASE + 2 * PG, PG}, {BASE + 4 * PG, PG}}, 3, MADV_DONTNEED_, 0, PG},
        {{{BASE + 2 * PG, PG}, {BASE + 4 * PG, PG}}, 2, MADV_DONTNEED_, 0, -ENOMEM},
        {{{BASE, PG}}, 1, MADV_DONTNEED_, 1, -EINVAL},
        {{{BASE, PG}}, 1, 99, 0, -EINVAL},
        {{{BASE, PG}}, 0, MADV_DONTNEED_, 0, 0},
        {{{BASE, PG}}, 0, 99, 0, 0},
        {{{BASE, PG}}, 1025, MADV_DONTNEED_, 0, -EINVAL},
        {{{BASE + 1, PG}}, 1, MADV_DONTNEED_, 0, -EINVAL},
        {{{BASE, ~0ul}}, 1, MADV_DONTNEED_, 0, -EINVAL},
        {{{BASE, 0}, {BASE + 2 * PG, PG}}, 2, MADV_DONTNEED_, 0, -ENOMEM},
        {{{BASE, PG - 1}}, 1, MADV_DONTNEED_, 0, PG - 1},
        {{{BASE, PG}, {KERNEL, PG}}, 2, MADV_DONTNEED_, 0, -EFAULT},
        {{{BASE, PG}}, 1, MADV_GUARD_INSTALL_, 0, PG},
        {{{BASE, PG}}, 1, MADV_GUARD_REMOVE_, 0, PG},
        {{{BASE, PG}}, 1, MADV_POPULATE_WRITE_, 0, PG},
        {{{BASE, PG}}, 1, MADV_COLLAPSE_, 0, -EINVAL},
        /* empty ranges: nothing to be done looks at nothing, the first one before others is looked at, no other is */
        {{{BASE + 1, 0}}, 1, 99, 0, 0},
        {{{BASE + 1, 0}, {BASE, PG}}, 2, MADV_COLD_, 0, -EINVAL},
        {{{BASE, PG}, {BASE + 1, 0}, {BASE + 4 * PG, PG}}, 3, MADV_COLD_, 0, 2 * PG},
        {{{BASE, 0}, {BASE + 1, 0}, {BASE + 4 * PG, PG}}, 3, MADV_COLD_, 0, PG},
        {{{BASE, PG}, {BASE + 1, 0}}, 2, MADV_COLD_, 0, PG},
        /* 32 bits count */
        {{{BASE + 1, PG}}, 1ul << 32, MADV_COLD_, 0, 0},
        {{{BASE, PG}}, 1ul << 63 | 1, MADV_COLD_, 0, PG},
    };
    struct env v;

    env_init(&v);
    map_with_hole(&v);
    for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
        s64 r = pm_call(&v, v.t, rows[i].iov, (struct pm){3, rows[i].nr, rows[i].advice, rows[i].flags});

        if (r != rows[i].result)
            fail_msg("row %u: %lld, not %lld", i, (long long)r, (long long)rows[i].result);
    }
    assert_int_equal(pm_call(&v, NULL, rows[0].iov, (struct pm){~0ul, 1, MADV_DONTNEED_, 0}), -EBADF);
    assert_int_equal(pm_call(&v, NULL, rows[0].iov, (struct pm){(u64)-10000, 1, MADV_DONTNEED_, 0}),
                     PG); /* PIDFD_SELF */
    env_end(&v);
}

/* A vector whose second element cannot be read: what the first one says comes first. */
static void vectors_cut_off(void **state)
{
    const va_t at = BASE + 2 * PG - sizeof(struct iov), end = 0x7ffffffff000;
    struct iov iov = {BASE, ~0ul};
    struct fault_info fi;
    struct env v;

    env_init(&v);
    map_with_hole(&v);
    for (u32 i = 0; i < 2; i++) {
        struct abi_call c = {.nr = ABI_process_vm_readv, .arg = {100, at, 2, at, 1, 0}, .target = v.t};

        assert_int_equal(mmu_copy_to_user(v.cpu, at, &iov, sizeof(iov), &fi), 0);
        assert_int_equal(abi_syscall(v.cpu, &c), i ? -EFAULT : -EINVAL);
        iov.len = 1;
    }
    /* beyond user addresses nothing is touched */
    map_at(v.cpu, end - PG, 1, RW, ANON_PRIVATE, NULL, 0);
    assert_int_equal(call(&v, ABI_process_madvise, 3, end - 8, 1), -EFAULT);
    assert_int_equal(call(&v, ABI_getrlimit, RLIMIT_STACK_, end - 8, 0), -EFAULT);
    assert_int_equal(call(&v, ABI_mincore, end - PG, PG, BASE), 0);
    assert_int_equal(mmu_copy_from_user(v.cpu, &iov, BASE, 1, &fi), 0);
    assert_int_equal(*(char *)&iov, 0);
    env_end(&v);
}

static void process_madvise_of_another(void **state)
{
    static const struct iov iov = {BASE, PG};
    struct task *child;
    struct env v;

    env_init(&v);
    map_with_hole(&v);
    touch(v.cpu, BASE, ACCESS_WRITE);
    child = do_fork(v.cpu, 101);
    for (int advice = 0; advice < 26; advice++)
        assert_int_equal(pm_call(&v, child, &iov, (struct pm){3, 1, advice, 0}),
                         advice == MADV_COLD_ || advice == MADV_PAGEOUT_ || advice == MADV_WILLNEED_ ? (s64)PG
                                                                                                     : -EINVAL);
    task_set_caps(v.t, 0);
    task_set_caps(child, 0);
    assert_int_equal(pm_call(&v, child, &iov, (struct pm){3, 1, MADV_COLD_, 0}), -EPERM); /* CAP_SYS_NICE */
    assert_int_equal(pm_call(&v, child, &iov, (struct pm){3, 1, MADV_DONTNEED_, 0}), -EINVAL);
    task_set_ids(child, 5, task_gid(child));
    assert_int_equal(pm_call(&v, child, &iov, (struct pm){3, 1, MADV_COLD_, 0}), -EACCES);
    task_exit(v.cpu, child);
    env_end(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mincore_arguments),
        cmocka_unit_test(mincore_residency),
        cmocka_unit_test(msync_arguments),
        cmocka_unit_test(msync_writes_back),
        cmocka_unit_test(membarrier_commands),
        cmocka_unit_test(process_vm_rows),
        cmocka_unit_test(process_vm_bytes_and_rights),
        cmocka_unit_test(process_vm_failing_allocations),
        cmocka_unit_test(process_madvise_of_nobody),
        cmocka_unit_test(process_madvise_rows),
        cmocka_unit_test(vectors_cut_off),
        cmocka_unit_test(process_madvise_of_another),
        cmocka_unit_test(process_vm_overlapping),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
