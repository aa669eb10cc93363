/* SPDX-License-Identifier: MIT */
/*
 * Mappings of huge pages on a machine that has none: what 6.18 answered to the same calls with empty pools. Pictures show
 * each huge page of a window: its rights as in mapping.c, a VMA's first one after '|', small letters n of pages of 4 KiB.
 */
#include "tests/unit/testing_full.h"

#include <stdlib.h>

#include "abi/abi.h"
#include "abi/proc.h"
#include "base/errno.h"
#include "cache/cache.h"
#include "vm/vma.h"

#define WINDOW 0x180040000000ul /* of 1 GiB: whole */
#define P PAGE_SIZE
#define H (512 * P)
#define G (512 * H)
#define AT(n) (WINDOW + (u64)(n)*H)
#define PICTURE_PAGES 12
#define ANON (MAP_PRIVATE_ | MAP_ANONYMOUS_)
#define HUGE (ANON | MAP_HUGETLB_ | MAP_NORESERVE_)
#define FIX MAP_FIXED_
#define FD 3 /* the file that run_steps() was given */

static char *picture(struct cpu *cpu, char *out)
{
    static const char rights[] = "-rwWxX?A";
    struct vm_area_struct *vma;
    char *p = out;

    for (u32 i = 0; i < PICTURE_PAGES; i++) {
        vma = vma_lookup(cpu, cpu->current->mm, AT(i));
        if (vma && vma->vm_start == AT(i))
            *p++ = '|';
        *p++ = !vma ? '.' : vma->vm_flags & VM_HUGETLB ? rights[vma->vm_flags & VM_ACCESS_FLAGS] : 'n';
    }
    while (p > out && p[-1] == '.')
        p--;
    *p = '\0';
    return out;
}

struct step {
    enum abi_nr nr;
    u64 arg[6];
    s64 result;
    const char *after; /* NULL: as before */
};

static void run_steps(struct cpu *cpu, struct file *file, const struct step *steps, size_t nr)
{
    char now[4 * PICTURE_PAGES], before[4 * PICTURE_PAGES];

    for (size_t i = 0; i < nr; i++) {
        struct abi_call c = {.nr = steps[i].nr, .file = file};
        s64 result;

        memcpy(c.arg, steps[i].arg, sizeof(c.arg));
        picture(cpu, before);
        result = abi_syscall(cpu, &c);
        picture(cpu, now);
        if (result != steps[i].result || strcmp(now, steps[i].after ? steps[i].after : before))
            fail_msg("step %zu, %s: %lld, expected %lld; %s, expected %s", i, abi_name[c.nr], (long long)result,
                     (long long)steps[i].result, now, steps[i].after ? steps[i].after : before);
        assert_books(vma_check, cpu->current->mm);
    }
}
#define RUN(cpu, file, steps) run_steps(cpu, file, steps, ARRAY_SIZE(steps))

static struct machine *begin(struct cpu **cpu, struct task **t)
{
    struct machine *m = test_machine_full(NULL);

    *cpu = test_cpu(m);
    *t = test_task(*cpu, 1);
    return m;
}

static void end(struct machine *m, struct cpu *cpu, struct task *t)
{
    assert_books(machine_check, m);
    task_exit(cpu, t);
    assert_books(machine_check, m);
    assert_int_equal(atomic_load(&m->vm->vm_committed_as), 0);
    assert_int_equal(atomic_load(&m->cache->nr_files), 0);
    test_machine_end(m);
}

static void test_mapping(void **state)
{
    static const struct step steps[] = {
        {ABI_mmap, {AT(0), 4 * H, 3, HUGE | FIX}, AT(0), "|WWWW"},
        {ABI_mmap, {AT(4), P, 3, HUGE | FIX}, AT(4), "|WWWW|W"}, /* never merged */
        {ABI_mmap, {AT(5) + P, H, 3, HUGE | FIX}, -EINVAL, NULL},
        {ABI_mmap, {AT(5) + P, H, 3, HUGE}, AT(6), "|WWWW|W.|W"}, /* a hint is rounded up */
        {ABI_mmap, {AT(8), H + P, 1, HUGE | FIX}, AT(8), "|WWWW|W.|W.|rr"},
        {ABI_mmap, {AT(8), P, 3, ANON | FIX | MAP_HUGETLB_}, -ENOMEM, "|WWWW|W.|W..|r"},
        {ABI_mmap, {AT(8), P, 0, ANON | FIX | MAP_HUGETLB_}, -ENOMEM, NULL},
        {ABI_mmap, {AT(8), P, 3, HUGE | FIX, ~0ul, P}, -EINVAL, NULL},
        {ABI_mmap, {AT(9), P, 3, HUGE | FIX, ~0ul, P}, -EINVAL, "|WWWW|W.|W"},
        {ABI_mmap, {AT(9), P, 3, HUGE | FIX, ~0ul, H}, AT(9), "|WWWW|W.|W..|W"},
        {ABI_mmap, {AT(9), P, 3, ANON | FIX}, -EINVAL, NULL},
        {ABI_mmap, {AT(9), H, 3, ANON | FIX}, AT(9), "|WWWW|W.|W..|n"},
        {ABI_mmap, {AT(1) + P, P, 3, ANON | FIX}, -EINVAL, NULL},
        {ABI_mmap, {AT(9), H, 3, HUGE | MAP_FIXED_NOREPLACE_}, -EEXIST, NULL},
        {ABI_mmap, {0, P, 3, HUGE | 25u << 26}, -EINVAL, NULL},
        {ABI_mmap, {AT(1), P, 3, HUGE | FIX | 30u << 26}, -EINVAL, NULL},
        {ABI_mmap, {0, P, 3, HUGE | 30u << 26}, 0x7fff80000000, NULL},
        {ABI_mmap, {0, P, 3, HUGE}, 0x7ffff7c00000, NULL},
        {ABI_mmap, {0, P, 3, HUGE | MAP_32BIT_}, 0x40000000, NULL},
        {ABI_mmap, {AT(0), -H, 3, HUGE}, -ENOMEM, NULL},
        {ABI_mmap, {AT(0), -P, 3, HUGE}, -EINVAL, NULL},
        {ABI_munmap, {0x7ffff7c00000, H}, 0, NULL},
        {ABI_munmap, {0x7fff80000000, H}, -EINVAL, NULL},
        {ABI_munmap, {0x7fff80000000, G}, 0, NULL},
        {ABI_munmap, {0x40000000, H}, 0, NULL},
    };
    struct machine *m;
    struct task *t;
    struct cpu *cpu;

    m = begin(&cpu, &t);
    RUN(cpu, NULL, steps);
    end(m, cpu, t);
}

/* munmap, mprotect, madvise, mlock, mremap: whole huge pages. */
static void test_changing(void **state)
{
    static const struct step steps[] = {
        {ABI_mmap, {AT(0), 8 * H, 3, HUGE | FIX}, AT(0), "|WWWWWWWW"},
        {ABI_munmap, {AT(0), P}, -EINVAL, NULL},
        {ABI_munmap, {AT(0) + P, P}, -EINVAL, NULL},
        {ABI_munmap, {AT(0), H}, 0, ".|WWWWWWW"},
        {ABI_munmap, {AT(2), H - P}, -EINVAL, ".|W|WWWWWW"}, /* the first cut is done */
        {ABI_mprotect, {AT(3), P, 1}, -EINVAL, ".|W|W|WWWWW"},
        {ABI_mprotect, {AT(3), P, 3}, 0, NULL},
        {ABI_mprotect, {AT(3), H, 1}, 0, ".|W|W|r|WWWW"},
        {ABI_mprotect, {AT(3), H, 3}, 0, ".|W|W|W|WWWW"},
        {ABI_mseal, {AT(4), P, 0}, -EINVAL, NULL},
        {ABI_madvise, {AT(4), H, 4}, 0, NULL},
        {ABI_madvise, {AT(4), P, 4}, 0, NULL},
        {ABI_madvise, {AT(4) + P, H, 4}, -EINVAL, NULL},
        {ABI_madvise, {AT(4), P, 24}, 0, NULL},
        {ABI_madvise, {AT(4), P, 8}, -EINVAL, NULL},
        {ABI_madvise, {AT(4), P, 9}, -EACCES, NULL},
        {ABI_madvise, {AT(4) + P, P, 10}, -EINVAL, NULL},
        {ABI_madvise, {AT(4), H, 16}, 0, ".|W|W|W|W|WWW"},
        {ABI_madvise, {AT(4) + P, P, 16}, 0, NULL},
        {ABI_madvise, {AT(4), H, 17}, 0, NULL},
        {ABI_madvise, {AT(4), H, 18}, -EINVAL, NULL},
        {ABI_madvise, {AT(4), H, 20}, -EINVAL, NULL},
        {ABI_madvise, {AT(4), H, 21}, -EINVAL, NULL},
        {ABI_madvise, {AT(4), H, 22}, -EFAULT, NULL},
        {ABI_madvise, {AT(4), H, 25}, -EINVAL, NULL},
        {ABI_madvise, {AT(4), H, 102}, -EINVAL, NULL},
        {ABI_mlock, {AT(4), H}, -ENOMEM, NULL},
        {ABI_mlock2, {AT(4) + P, P, 1}, -ENOMEM, NULL},
        {ABI_munlock, {AT(4) + P, P}, 0, NULL},
        {ABI_msync, {AT(4), P, 6}, 0, NULL},
        {ABI_mremap, {AT(5), H, 2 * H, 1}, -EINVAL, NULL},
        {ABI_mremap, {AT(5), P, 2 * P, 1}, AT(5), NULL},
        {ABI_mremap, {AT(5), H, P, 0}, AT(5), NULL},
        {ABI_mremap, {AT(5), H, H, 0, P}, -EINVAL, NULL}, /* an address that is not used */
        {ABI_mremap, {AT(5), 3 * H, H + P, 0}, AT(5), ".|W|W|W|W|WW"},
        {ABI_mremap, {AT(5), P, P, 3, AT(9)}, AT(9), ".|W|W|W|W.|W..|W"},
        {ABI_mremap, {AT(9), H, H, 3, AT(10) + P}, -EINVAL, NULL},
        {ABI_mremap, {AT(9) + P, P, P, 3, AT(11)}, -EINVAL, NULL},
        {ABI_mremap, {AT(9), H, H, 5, 0}, -EINVAL, NULL},
        {ABI_mremap, {AT(9), 0, H, 1, 0}, -EINVAL, NULL},
        {ABI_remap_file_pages, {AT(9), H, 0, 0, 0}, -EINVAL, NULL},
    };
    struct machine *m;
    struct task *t;
    struct cpu *cpu;

    m = begin(&cpu, &t);
    RUN(cpu, NULL, steps);
    assert_int_equal(t->mm->locked_vm, 0);
    assert_int_equal(t->mm->data_vm, 6 * 512);
    end(m, cpu, t);
}

/* memfd_create(MFD_HUGETLB): offsets, the size that a writable mapping raises, seals. */
static void test_files(void **state)
{
    static const struct step steps[] = {
        {ABI_ftruncate, {FD, P}, -EINVAL, NULL},
        {ABI_mmap, {AT(0), P, 3, MAP_SHARED_ | FIX, FD}, -ENOMEM, NULL},
        {ABI_mmap, {AT(0), P, 1, MAP_SHARED_ | FIX | MAP_NORESERVE_, FD}, AT(0), "|r"},
        {ABI_fcntl, {FD, 1033, F_SEAL_GROW_}, 0, NULL},
        {ABI_ftruncate, {FD, H}, -EPERM, NULL}, /* not grown by a mapping that cannot write */
        {ABI_fallocate, {FD, 0, 0, P}, -EPERM, NULL},
        {ABI_mmap, {AT(1), P, 3, MAP_PRIVATE_ | FIX | MAP_NORESERVE_, FD, H}, AT(1), "|r|W"},
        {ABI_ftruncate, {FD, 2 * H}, 0, NULL}, /* this is its size */
        {ABI_fallocate, {FD, 0, 0, P}, -ENOSPC, NULL},
        {ABI_fallocate, {FD, 3, P, P}, 0, NULL},
        {ABI_fallocate, {FD, 0x10, 0, P}, -EOPNOTSUPP, NULL},
        {ABI_mmap, {AT(2), P, 3, MAP_SHARED_ | FIX | MAP_NORESERVE_ | MAP_HUGETLB_ | 30u << 26, FD}, AT(2), "|r|W|W"},
        {ABI_mmap, {AT(3), P, 3, MAP_SHARED_ | FIX | MAP_NORESERVE_, FD, P}, -EINVAL, NULL},
        {ABI_mmap, {AT(3), P, 3, MAP_SHARED_VALIDATE_ | FIX | MAP_NORESERVE_ | MAP_SYNC_, FD}, -EOPNOTSUPP, NULL},
        {ABI_mmap, {AT(3), P, 3, MAP_SHARED_VALIDATE_ | FIX | MAP_NORESERVE_ | 1ul << 39, FD}, -EOPNOTSUPP, NULL},
        {ABI_madvise, {AT(2), P, 9}, 0, NULL},
        {ABI_fcntl, {FD, 1033, F_SEAL_WRITE_}, -EBUSY, NULL},
        {ABI_fcntl, {FD, 1033, F_SEAL_FUTURE_WRITE_}, 0, NULL},
        {ABI_madvise, {AT(2), P, 9}, -EPERM, NULL},
        {ABI_fallocate, {FD, 3, P, P}, -EPERM, NULL},
        {ABI_mmap, {AT(3), P, 3, MAP_SHARED_ | FIX | MAP_NORESERVE_, FD}, -EPERM, NULL},
        {ABI_remap_file_pages, {AT(2), P, 0, 0, 0}, -EINVAL, NULL},
        {ABI_remap_file_pages, {AT(2), H, 0, 0, 0}, -EPERM, NULL},
        {ABI_mremap, {AT(2), 0, H, 1, 0}, -EINVAL, NULL},
    };
    struct abi_call c = {.nr = ABI_memfd_create, .arg = {0, 6}, .in[0] = {(void *)(uintptr_t) "x", 2}};
    struct machine *m;
    struct task *t;
    struct cpu *cpu;

    m = begin(&cpu, &t);
    assert_int_equal(abi_syscall(cpu, &c), 0);
    RUN(cpu, c.new_file, steps);
    fput(cpu, c.new_file);
    c.arg[1] = 4 | 25u << 26;
    assert_int_equal(abi_syscall(cpu, &c), -ENODEV);
    c.arg[1] = 4 | 30u << 26;
    assert_int_equal(abi_syscall(cpu, &c), 0);
    assert_int_equal(c.new_file->f_inode->i_huge_shift, 30);
    fput(cpu, c.new_file);
    end(m, cpu, t);
}

static void test_segments(void **state)
{
    static const struct step steps[] = {
        {ABI_shmget, {0, 3 * P, 04600}, -ENOMEM, NULL},
        {ABI_shmget, {0, 3 * P, 014600 | 25u << 26}, -EINVAL, NULL},
        {ABI_shmget, {0, 3 * P, 014600}, 0, NULL}, /* its id */
        {ABI_shmat, {0, AT(0), 0}, AT(0), "|W"},
        {ABI_shmat, {0, AT(0), 0}, -EINVAL, NULL},
        {ABI_shmat, {0, AT(1) + P, 0}, -EINVAL, NULL},
        {ABI_shmat, {0, AT(2), 010000}, AT(2), "|W.|r"},
        {ABI_shmctl, {0, 11}, 0, NULL},
        {ABI_munmap, {AT(0), P}, -EINVAL, NULL},
        {ABI_mprotect, {AT(0) + P, P, 1}, -EINVAL, NULL},
        {ABI_mremap, {AT(0), P, P, 3, AT(4)}, AT(4), "..|r.|W"},
        {ABI_mremap, {AT(4) + P, 2 * H, 2 * H, 3, AT(8)}, -EINVAL, NULL},
        {ABI_remap_file_pages, {AT(4), H, 0, 0, 0}, 0, NULL}, /* reserved when it was made, if at all */
        {ABI_shmctl, {0, 0}, 0, NULL},
        {ABI_shmdt, {AT(4)}, 0, "..|r"},
        {ABI_shmdt, {AT(2)}, 0, ""},
        {ABI_shmat, {0, AT(0), 0}, -EINVAL, NULL},
    };
    struct machine *m;
    struct abi_call c = {.nr = ABI_shmget, .arg = {0, P, 014600}};
    struct task *t;
    struct cpu *cpu;

    m = begin(&cpu, &t);
    t->signal->cap_effective |= (u64)1 << CAP_IPC_LOCK_;
    RUN(cpu, NULL, steps);
    t->signal->cap_effective = 0;
    t->signal->uid = t->signal->gid = 1000;
    assert_int_equal(abi_syscall(cpu, &c), -EPERM);
    end(m, cpu, t);
}

/* The first touch: SIGBUS at the address, tables down to the huge page's level and none below. */
static void test_touch(void **state)
{
    static const struct {
        u64 offset;
        u32 prot;
        enum fault_access access;
        int signo, code;
    } touches[] = {
        {0, 3, ACCESS_READ, 7, 2},         {H + 5000, 3, ACCESS_WRITE, 7, 2},  {2 * H, 1, ACCESS_WRITE, 11, 2},
        {2 * H + 7, 1, ACCESS_READ, 7, 2}, {3 * H - 1, 0, ACCESS_READ, 11, 2},
    };
    struct machine *m;
    struct task *t;
    struct cpu *cpu;

    m = begin(&cpu, &t);
    for (u32 i = 0; i < ARRAY_SIZE(touches); i++) {
        va_t at = AT(0) + touches[i].offset;
        struct fault_info fi;

        assert_int_equal(sys_mmap(cpu, AT(0), 3 * H, touches[i].prot, HUGE | FIX, NULL, 0), AT(0));
        fi = do_user_addr_fault(cpu, at, touches[i].access);
        assert_int_equal(fi.signo, touches[i].signo);
        assert_int_equal(fi.si_code, touches[i].code);
        assert_int_equal(fi.addr, at);
        assert_int_equal(pt_find_entry(t->mm, at, 1).level, touches[i].signo == 7 ? 2 : 4);
    }
    assert_int_equal(t->mm->min_flt + t->mm->maj_flt, 0);
    end(m, cpu, t);
}

static int append(void *arg, const char *text, size_t len)
{
    char *to = arg;

    strncat(to, text, len);
    return 0;
}

static void test_views(void **state)
{
    static const char expected[] =
        "180040000000-180040400000 rw-p 00000000 00:11 1                          /anon_hugepage (deleted)\n"
        "Size:               4096 kB\nKernelPageSize:     2048 kB\nMMUPageSize:        2048 kB\n";
    struct machine *m;
    struct task *t;
    struct cpu *cpu;
    char *text = calloc(1, 1 << 16);
    struct proc_sink sink = {.write = append, .arg = text};

    m = begin(&cpu, &t);
    assert_int_equal(sys_mmap(cpu, AT(0), 2 * H, 3, HUGE | FIX, NULL, 0), AT(0));
    proc_read(cpu, "self/smaps", &sink);
    assert_memory_equal(text, expected, sizeof(expected) - 1);
    assert_non_null(strstr(text, "VmFlags: rd wr mr mw me de nr ht \n"));
    memset(text, 0, 1 << 16);
    proc_read(cpu, "self/numa_maps", &sink);
    assert_string_equal(text, "180040000000 default file=/anon_hugepage\\040(deleted) huge\n");
    free(text);
    end(m, cpu, t);
}

/* Each allocation fails in turn: nothing is left behind. */
static void test_no_memory(void **state)
{
    struct machine *m;
    struct task *t;
    struct cpu *cpu;
    u32 refused = 0;

    m = begin(&cpu, &t);
    for_each_failing_allocation(m, nth)
    {
        s64 result = sys_mmap(cpu, AT(0), H, 3, HUGE | FIX, NULL, 0);

        if (fail_injected(m) && result == -ENOMEM)
            refused++;
        else
            assert_int_equal(result, AT(0));
        assert_books(machine_check, m);
        assert_int_equal(atomic_load(&m->cache->nr_files), result > 0);
        assert_int_equal(sys_munmap(cpu, AT(0), H), 0);
    }
    assert_int_equal(refused, 3); /* the file, its inode, the VMA */
    end(m, cpu, t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mapping),   cmocka_unit_test(test_changing), cmocka_unit_test(test_files),
        cmocka_unit_test(test_segments),  cmocka_unit_test(test_touch),    cmocka_unit_test(test_views),
        cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
