/* SPDX-License-Identifier: MIT */
/*
 * Protection keys where bytes move: what each way to a page asks PKRU, with contents and without. The expectations are
 * what 6.1 answered in a virtual machine with keys (make oracle-vm).
 *
 *   page 0 .. 7   key 1, rw         page 8   key 0, rw: the other side of copies        page 9   key 1, execute-only bits
 */
#include "tests/unit/vm/fault_testing.h"
#include "abi/abi.h"
#include "vm/gup.h"

#define AT(n) (BASE + (u64)(n)*PG)
#define FREE AT(8)
#define KEY 1
#define RIGHTS(denied) (0x55555550u | (u32)(denied) << 2 * KEY) /* AD 1, WD 2 of key 1; key 0 allows all */
#define SEGV_PKUERR 4

static void env_init_keys(struct env *v, enum content_mode content)
{
    struct machine_config c;

    test_config(&c);
    c.pkeys = true;
    c.content = content;
    env_init_config(v, &c);
    switch_mm(v->cpu, v->t->mm);
}

static void set_rights(struct env *v, u32 pkru)
{
    v->t->pkru = pkru;
    cpu_enter_user(v->cpu);
    cpu_enter_kernel(v->cpu);
}

static s64 call(struct env *v, enum abi_nr nr, u64 a0, u64 a1, u64 a2)
{
    struct abi_call c = {.nr = nr, .arg = {a0, a1, a2}};

    return abi_syscall(v->cpu, &c);
}

/* 8 bytes between local and remote, both this process. */
static s64 copy(struct env *v, enum abi_nr nr, va_t local, va_t remote)
{
    u64 iov[2][2] = {{local, 8}, {remote, 8}};
    struct abi_call c = {
        .nr = nr,
        .arg = {100, 1, 1, 1, 1},
        .in[1] = {iov[0], sizeof(iov[0])},
        .in[3] = {iov[1], sizeof(iov[1])},
        .target = v->t,
    };

    return abi_syscall(v->cpu, &c);
}

/* As a program's own load or store: 0, or SEGV_PKUERR. */
static s64 access(struct env *v, va_t at, enum mmu_access_kind kind)
{
    struct fault_info fi = {0};
    int signo;

    cpu_enter_user(v->cpu);
    signo = mmu_access(v->cpu, cpu_mmu(v->cpu), at, kind, &fi);
    cpu_enter_kernel(v->cpu);
    assert_true(!signo || (signo == 11 && fi.addr == at));
    return signo ? fi.si_code : 0;
}

static s64 load_bytes(struct env *v)
{
    char bytes[16] = "";
    struct fault_info fi = {0};
    int signo = mmu_copy_from_user(v->cpu, bytes, AT(0) - 8 + PG, sizeof(bytes), &fi);

    if (!signo && v->m->config.content == CONTENT_FULL)
        assert_memory_equal(bytes, "0123456789abcdef", 16);
    return signo ? fi.si_code : 0;
}

static s64 store_bytes(struct env *v)
{
    struct fault_info fi = {0};
    int signo = mmu_copy_to_user(v->cpu, AT(1) - 8, "0123456789abcdef", 16, &fi);

    return signo ? fi.si_code : 0;
}

static s64 pin_fast(struct env *v, u32 flags)
{
    struct page *page;
    s64 n = pin_user_pages_fast(v->cpu, AT(7), 1, flags, &page);

    if (n == 1)
        unpin_user_page(v->cpu, page);
    return n;
}

static s64 way_load(struct env *v)
{
    return access(v, AT(2), MMU_READ);
}

static s64 way_store(struct env *v)
{
    return access(v, AT(2), MMU_WRITE);
}

static s64 way_fetch(struct env *v)
{
    return access(v, AT(2), MMU_EXEC);
}

static s64 way_readv_remote(struct env *v)
{
    return copy(v, ABI_process_vm_readv, FREE, AT(3));
}

static s64 way_writev_remote(struct env *v)
{
    return copy(v, ABI_process_vm_writev, FREE, AT(3));
}

static s64 way_readv_local(struct env *v)
{
    return copy(v, ABI_process_vm_readv, AT(3), FREE);
}

static s64 way_writev_local(struct env *v)
{
    return copy(v, ABI_process_vm_writev, AT(3), FREE);
}

static s64 way_populate_read(struct env *v)
{
    return call(v, ABI_madvise, AT(4), PG, 22);
}

static s64 way_populate_write(struct env *v)
{
    return call(v, ABI_madvise, AT(4), PG, 23);
}

static s64 way_mlock(struct env *v)
{
    return call(v, ABI_mlock, AT(5), PG, 0);
}

static s64 way_mlock_onfault(struct env *v)
{
    return call(v, ABI_mlock2, AT(5), PG, 1);
}

static s64 way_mlockall(struct env *v)
{
    return call(v, ABI_mlockall, 1, 0, 0);
}

static s64 way_munlockall(struct env *v)
{
    return call(v, ABI_munlockall, 0, 0, 0);
}

static s64 way_mincore(struct env *v)
{
    return call(v, ABI_mincore, AT(6), PG, FREE);
}

static s64 way_mincore_vec(struct env *v)
{
    return call(v, ABI_mincore, FREE, PG, AT(6));
}

static s64 way_pin_read(struct env *v)
{
    return pin_fast(v, 0);
}

static s64 way_pin_write(struct env *v)
{
    return pin_fast(v, FOLL_WRITE);
}

static const struct {
    const char *name;
    s64 (*go)(struct env *v);
    s64 allowed, no_access, no_write;
} ways[] = {
    {"store of bytes", store_bytes, 0, SEGV_PKUERR, SEGV_PKUERR},
    {"load of bytes", load_bytes, 0, SEGV_PKUERR, 0},
    {"load", way_load, 0, SEGV_PKUERR, 0},
    {"store", way_store, 0, SEGV_PKUERR, SEGV_PKUERR},
    {"fetch", way_fetch, 0, 0, 0},
    {"process_vm_readv, remote", way_readv_remote, 8, 8, 8},
    {"process_vm_writev, remote", way_writev_remote, 8, 8, 8},
    {"process_vm_readv, local", way_readv_local, 8, -EFAULT, -EFAULT},
    {"process_vm_writev, local", way_writev_local, 8, -EFAULT, 8},
    {"MADV_POPULATE_READ", way_populate_read, 0, -EINVAL, 0},
    {"MADV_POPULATE_WRITE", way_populate_write, 0, -EINVAL, -EINVAL},
    {"mlock", way_mlock, 0, -ENOMEM, -ENOMEM},
    {"mlock2", way_mlock_onfault, 0, 0, 0},
    {"munlockall", way_munlockall, 0, 0, 0},
    {"mlockall", way_mlockall, 0, 0, 0},
    {"munlockall again", way_munlockall, 0, 0, 0},
    {"mincore", way_mincore, 0, 0, 0},
    {"mincore, vector", way_mincore_vec, 0, -EFAULT, -EFAULT},
    {"pin to read", way_pin_read, 1, -EFAULT, 1},
    {"pin to write", way_pin_write, 1, -EFAULT, -EFAULT},
};

/* The pages there before, or not: the answers are the same. */
static void ask_all(struct env *v, u32 denied, bool present)
{
    assert_int_equal(call(v, ABI_munmap, BASE, 16 * PG, 0), 0);
    map_at(v->cpu, BASE, 9, RW | PROT_EXEC_, ANON_PRIVATE, NULL, 0);
    assert_int_equal(sys_pkey_mprotect(v->cpu, BASE, 8 * PG, RW | PROT_EXEC_, KEY), 0);
    set_rights(v, RIGHTS(0));
    if (present)
        for (u32 i = 0; i < 9; i++)
            assert_int_equal(access(v, AT(i), MMU_WRITE), 0);
    assert_int_equal(store_bytes(v), 0);
    set_rights(v, RIGHTS(denied));
    for (u32 i = 0; i < ARRAY_SIZE(ways); i++) {
        s64 expected = !denied ? ways[i].allowed : denied & 1 ? ways[i].no_access : ways[i].no_write;
        s64 result = ways[i].go(v);

        if (result != expected)
            fail_msg("%s, denied %u, %s: %lld, expected %lld", ways[i].name, denied, present ? "present" : "absent",
                     (long long)result, (long long)expected);
        assert_books(machine_check, v->m);
    }
}

static void every_way(void **state)
{
    for (enum content_mode content = CONTENT_NONE; content <= CONTENT_FULL; content++) {
        struct env v;

        env_init_keys(&v, content);
        assert_int_equal(sys_pkey_alloc(v.cpu, 0, 0), KEY);
        for (u32 denied = 0; denied < 4; denied++) {
            ask_all(&v, denied, false);
            ask_all(&v, denied, true);
        }
        env_end(&v);
    }
}

/* A copy that meets a page of a forbidden key stops there, and what is before it has been written. */
static void bytes_up_to_the_key(void **state)
{
    struct fault_info fi = {0};
    char bytes[16] = "";
    struct env v;

    env_init_keys(&v, CONTENT_FULL);
    map_at(v.cpu, BASE, 2, RW, ANON_PRIVATE, NULL, 0);
    assert_int_equal(sys_pkey_alloc(v.cpu, 0, 0), KEY);
    assert_int_equal(sys_pkey_mprotect(v.cpu, AT(1), PG, RW, KEY), 0);
    set_rights(&v, RIGHTS(0));
    assert_int_equal(store_bytes(&v), 0);
    set_rights(&v, RIGHTS(2));
    assert_int_equal(mmu_copy_to_user(v.cpu, AT(1) - 8, "ABCDEFGHIJKLMNOP", 16, &fi), 11);
    assert_int_equal(fi.si_code, SEGV_PKUERR);
    assert_int_equal(fi.addr, AT(1));
    assert_int_equal(mmu_copy_from_user(v.cpu, bytes, AT(1) - 8, 16, &fi), 0);
    assert_memory_equal(bytes, "ABCDEFGH89abcdef", 16);
    env_end(&v);
}

/* Execute-only: nobody reads it, nothing brings it in; the kernel gives the key's PKRU bit only if reading is allowed. */
static void execute_only(void **state)
{
    struct env v;

    env_init_keys(&v, CONTENT_FULL);
    set_rights(&v, 0);
    map_at(v.cpu, BASE, 1, RW, ANON_PRIVATE, NULL, 0);
    map_at(v.cpu, FREE, 1, RW, ANON_PRIVATE, NULL, 0);
    assert_int_equal(call(&v, ABI_mprotect, BASE, PG, PROT_EXEC_), 0);
    assert_int_equal(v.t->pkru, 1u << 2 * KEY);
    assert_int_equal(access(&v, BASE, MMU_READ), SEGV_PKUERR);
    assert_int_equal(access(&v, BASE, MMU_EXEC), 0);
    assert_int_equal(call(&v, ABI_madvise, BASE, PG, 22), -EINVAL);
    assert_int_equal(call(&v, ABI_mlock, BASE, PG, 0), -ENOMEM);
    assert_int_equal(copy(&v, ABI_process_vm_readv, FREE, BASE), -EFAULT); /* not readable, PKRU or not */
    set_rights(&v, 3u << 2 * KEY);
    assert_int_equal(call(&v, ABI_mprotect, BASE, PG, PROT_EXEC_), 0);
    assert_int_equal(v.t->pkru, 3u << 2 * KEY); /* forbids reading: as it was */
    set_rights(&v, 2u << 2 * KEY);
    assert_int_equal(call(&v, ABI_mprotect, BASE, PG, PROT_EXEC_), 0);
    assert_int_equal(v.t->pkru, 1u << 2 * KEY);
    map_at(v.cpu, AT(4), 2, PROT_EXEC_, ANON_PRIVATE | MAP_POPULATE_, NULL, 0);
    assert_null(page_at(v.cpu, AT(4)));
    env_end(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way),
        cmocka_unit_test(bytes_up_to_the_key),
        cmocka_unit_test(execute_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
