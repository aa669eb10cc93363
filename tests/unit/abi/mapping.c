/* SPDX-License-Identifier: MIT */
/*
 * The mapping calls through the surface, call by call with the result that 6.18 gave to the same calls, in a window of
 * pages: pictures show each page's mapping.
 *
 *     .  nothing   -  no rights   r w x  as they are   W  rw   X  rx   A  rwx     a VMA's first page: after '|'
 */
#include "tests/unit/testing_full.h"

#include "abi/abi.h"
#include "base/errno.h"
#include "cache/cache.h"
#include "cache/filemap.h"
#include "phys/lru.h"
#include "phys/vmstat.h"
#include "vm/vma.h"

#define WINDOW 0x180000000000ul
#define P PAGE_SIZE
#define AT(n) (WINDOW + (u64)(n)*P)
#define PICTURE_PAGES 12
#define ANON (MAP_PRIVATE_ | MAP_ANONYMOUS_)
#define FIX MAP_FIXED_
#define CAP(n) ((u64)1 << (n))

static char *picture(struct cpu *cpu, char *out)
{
    static const char rights[] = "-rwWxX?A";
    struct vm_area_struct *vma;
    char *p = out;

    for (u32 i = 0; i < PICTURE_PAGES; i++) {
        vma = vma_lookup(cpu, cpu->current->mm, AT(i));
        if (vma && (vma->vm_start == AT(i) || !i))
            *p++ = '|';
        *p++ = vma ? rights[vma->vm_flags & VM_ACCESS_FLAGS] : '.';
    }
    while (p > out && p[-1] == '.')
        p--;
    *p = '\0';
    return out;
}

struct process {
    struct machine *m;
    struct cpu *cpu;
    struct task *t;
    struct file *file; /* the calls' */
};

static void begin(struct process *v)
{
    struct machine_config c;

    test_config(&c);
    c.anon_vma_name = true;
    v->m = test_machine_full(&c);
    v->cpu = test_cpu(v->m);
    v->t = test_task(v->cpu, 1);
    v->file = file_open(v->cpu, 1, 1, 4096 * P, FMODE_READ | FMODE_WRITE | FMODE_EXEC, "file");
    assert_false(IS_ERR(v->file));
}

static void end(struct process *v)
{
    fput(v->cpu, v->file);
    assert_books(machine_check, v->m);
    task_exit(v->cpu, v->t);
    assert_books(machine_check, v->m);
    assert_int_equal(atomic_load(&v->m->vm->vm_committed_as), 0);
    test_machine_end(v->m);
}

struct step {
    enum abi_nr nr;
    u64 arg[6];
    s64 result;
    const char *after; /* NULL: as before */
};

static void run_steps(struct process *v, const struct step *steps, size_t nr)
{
    char now[4 * PICTURE_PAGES], before[4 * PICTURE_PAGES];

    for (size_t i = 0; i < nr; i++) {
        struct abi_call c = {.nr = steps[i].nr, .file = v->file};
        s64 result;

        memcpy(c.arg, steps[i].arg, sizeof(c.arg));
        picture(v->cpu, before);
        result = abi_syscall(v->cpu, &c);
        picture(v->cpu, now);
        if (result != steps[i].result || strcmp(now, steps[i].after ? steps[i].after : before))
            fail_msg("step %zu, %s: %lld, expected %lld; %s, expected %s", i, abi_name[c.nr], (long long)result,
                     (long long)steps[i].result, now, steps[i].after ? steps[i].after : before);
        assert_books(vma_check, v->t->mm);
    }
}
#define RUN(v, steps) run_steps(v, steps, ARRAY_SIZE(steps))

static void test_mseal(void **state)
{
    static const struct step steps[] = {
        {ABI_mmap, {AT(0), 8 * P, 3, ANON | FIX}, AT(0), "|WWWWWWWW"},
        {ABI_mseal, {AT(0), P, 1}, -EINVAL, NULL},
        {ABI_mseal, {AT(0) + 1, P, 0}, -EINVAL, NULL},
        {ABI_mseal, {AT(0), 0, 0}, 0, NULL},
        {ABI_mseal, {AT(0) + 1, 0, 0}, -EINVAL, NULL},
        {ABI_mseal, {AT(0), ~0ul, 0}, -EINVAL, NULL},
        {ABI_mseal, {AT(0), ~0xffful, 0}, -EINVAL, NULL},
        {ABI_mseal, {AT(0), 9 * P, 0}, -ENOMEM, NULL},
        {ABI_mseal, {AT(20), P, 0}, -ENOMEM, NULL},
        {ABI_mseal, {AT(2), P + 1, 0}, 0, "|WW|WW|WWWW"},
        {ABI_mseal, {AT(2), 2 * P, 0}, 0, NULL},
        {ABI_munmap, {AT(0), 8 * P}, -EPERM, NULL},
        {ABI_munmap, {AT(2), P}, -EPERM, NULL},
        {ABI_munmap, {AT(3), 2 * P}, -EPERM, NULL},
        {ABI_mprotect, {AT(0), 8 * P, 1}, -EPERM, "|rr|WW|WWWW"},
        {ABI_mprotect, {AT(2), P, 3}, -EPERM, NULL},
        {ABI_mremap, {AT(2), P, 2 * P, 1, 0}, -EPERM, NULL},
        {ABI_mremap, {AT(2), P, P, 0, 0}, -EPERM, NULL},
        {ABI_mremap, {AT(0), P, P, 3, AT(2)}, -EPERM, NULL},
        {ABI_mremap, {AT(0), 3 * P, P, 0, 0}, -EPERM, "|r|r|WW|WWWW"},        /* the first one has been cut */
        {ABI_mremap, {AT(0), 3 * P, 3 * P, 3, AT(20)}, -EPERM, "..|WW|WWWW"}, /* the first one has moved */
        {ABI_mmap, {AT(2), P, 3, ANON | FIX}, -EPERM, NULL},
        {ABI_mmap, {AT(2), P, 3, ANON | MAP_FIXED_NOREPLACE_}, -EEXIST, NULL},
        {ABI_madvise, {AT(2), P, 4}, 0, NULL}, /* what may be written to may be lost */
        {ABI_mmap, {AT(8), P, 1, ANON | FIX}, AT(8), "..|WW|WWWW|r"},
        {ABI_mseal, {AT(8), P, 0}, 0, NULL},
        {ABI_madvise, {AT(8), P, 4}, -EPERM, NULL},
        {ABI_madvise, {AT(8), P, 10}, -EPERM, NULL},
        {ABI_madvise, {AT(8), P, 16}, 0, NULL},
        {ABI_mseal, {AT(4), 4 * P, 0}, 0, "..|WWWWWW|r"}, /* equal again: one */
    };
    struct task *child;
    struct process v;

    begin(&v);
    RUN(&v, steps);
    child = kernel_clone(v.cpu, 0, 2, 2);
    v.cpu->current = child;
    assert_int_equal(sys_munmap(v.cpu, AT(2), P), -EPERM);
    task_exit(v.cpu, child);
    v.cpu->current = v.t;
    end(&v);
}

static void test_remap_file_pages(void **state)
{
    static const struct step steps[] = {
        {ABI_mmap, {AT(0), 8 * P, 3, MAP_SHARED_ | FIX, 3, 0}, AT(0), "|WWWWWWWW"},
        {ABI_remap_file_pages, {AT(0), P, 0, 3, 0}, 0, "|W|WWWWWWW"},
        {ABI_remap_file_pages, {AT(0), P, 1, 3, 0}, -EINVAL, NULL},
        {ABI_remap_file_pages, {AT(0) + 1, P + 1, 0, 4, 0}, 0, NULL},
        {ABI_remap_file_pages, {AT(0), 0, 0, 4, 0}, -EINVAL, NULL},
        {ABI_remap_file_pages, {AT(0), 100, 0, 4, 0}, -EINVAL, NULL},
        {ABI_remap_file_pages, {AT(0), P, 0, ~0ul, 0}, -EINVAL, NULL},
        {ABI_remap_file_pages, {AT(0), 2 * P, 0, ~0ul - 1, 0}, -EINVAL, NULL},
        {ABI_remap_file_pages, {AT(0), 2 * P, 0, 1ul << 50, 0}, 0, "|WW|WWWWWW"},
        {ABI_remap_file_pages, {AT(2), 10 * P, 0, 0, 0}, -EINVAL, NULL},
        {ABI_remap_file_pages, {AT(0), 4 * P, 0, 5, 0}, 0, "|WWWW|WWWW"},
        {ABI_remap_file_pages, {AT(4), 4 * P, 0, 5, 0xffff}, 0, NULL},
        {ABI_remap_file_pages, {AT(0), -P, 0, 5, 0}, -EINVAL, NULL},
        {ABI_remap_file_pages, {AT(20), P, 0, 5, 0}, -EINVAL, NULL},
        {ABI_mmap, {AT(0), P, 3, ANON | FIX}, AT(0), "|W|WWW|WWWW"},
        {ABI_remap_file_pages, {AT(0), P, 0, 0, 0}, -EINVAL, NULL},
        {ABI_mmap, {AT(0), 8 * P, 3, MAP_SHARED_ | MAP_ANONYMOUS_ | FIX}, AT(0), "|WWWWWWWW"},
        {ABI_remap_file_pages, {AT(1), P, 0, 7, 0}, 0, "|W|W|WWWWWW"},
        {ABI_remap_file_pages, {AT(0), 3 * P, 0, 0, 0}, 0, "|WWWWWWWW"},
        {ABI_mseal, {AT(4), P, 0}, 0, "|WWWW|W|WWW"},
        {ABI_remap_file_pages, {AT(4), P, 0, 7, 0}, -EPERM, NULL},
        {ABI_mprotect, {AT(0), P, 0}, 0, "|-|WWW|W|WWW"},
        {ABI_remap_file_pages, {AT(0), P, 0, 7, 0}, 0, NULL},
    };
    struct process v;

    begin(&v);
    RUN(&v, steps);
    end(&v);
}

/* Refusals that come after the old mapping is gone, and those that come before; arguments' upper halves. */
static void test_mmap_refusals(void **state)
{
    static const struct step steps[] = {
        {ABI_mmap, {AT(0), 8 * P, 3, ANON | FIX}, AT(0), "|WWWWWWWW"},
        {ABI_mmap, {AT(0), P, 3, MAP_SHARED_VALIDATE_ | FIX | MAP_SYNC_, 3, 0}, -EOPNOTSUPP, ".|WWWWWWW"},
        {ABI_mmap, {AT(1), P, 3, MAP_SHARED_ | FIX | MAP_SYNC_, 3, 0}, -EOPNOTSUPP, "..|WWWWWW"},
        {ABI_mmap, {AT(2), P, 3, MAP_PRIVATE_ | FIX | MAP_SYNC_, 3, 0}, -EOPNOTSUPP, "...|WWWWW"},
        {ABI_mmap, {AT(3), P, 3, MAP_SHARED_VALIDATE_ | FIX | 1u << 31, 3, 0}, -EOPNOTSUPP, NULL},
        {ABI_mmap, {AT(3), P, 3, MAP_SHARED_VALIDATE_ | FIX | 1ul << 32, 3, 0}, -EOPNOTSUPP, NULL},
        {ABI_mmap, {AT(3), P, 3, 1ul << 32 | ANON | FIX}, AT(3), NULL},
        {ABI_mmap, {AT(3), P, 3, MAP_SHARED_ | FIX | MAP_HUGETLB_, 3, 0}, -EINVAL, NULL},
        {ABI_mmap, {AT(0) - P, P, 3, ANON | FIX | MAP_HUGETLB_}, -EINVAL, NULL},
        {ABI_mmap, {0, 0, 3, ANON | MAP_HUGETLB_}, -EINVAL, NULL},
        {ABI_mmap, {0, P, 3, ANON | MAP_HUGETLB_ | 20u << 26}, -EINVAL, NULL},
        {ABI_mmap, {0, P, 3, ANON | MAP_HUGETLB_ | 30u << 26}, -ENOMEM, NULL},
        {ABI_mmap, {0, P, 3, MAP_ANONYMOUS_ | MAP_HUGETLB_}, -EINVAL, NULL},
        {ABI_mmap, {0, P, 3, ANON | MAP_HUGETLB_ | MAP_GROWSDOWN_}, -EINVAL, NULL},
        {ABI_mmap, {AT(3), P, 3, MAP_ANONYMOUS_ | FIX | MAP_DROPPABLE_ | MAP_LOCKED_}, -EINVAL, NULL},
        {ABI_mmap, {AT(3), P, 3, MAP_ANONYMOUS_ | FIX | MAP_DROPPABLE_ | MAP_GROWSDOWN_}, -EINVAL, NULL},
        {ABI_mmap, {AT(3), P, 3, FIX | MAP_DROPPABLE_, 3, 0}, -EINVAL, NULL},
        {ABI_mmap, {AT(3), P, 3, MAP_ANONYMOUS_ | FIX | MAP_DROPPABLE_}, AT(3), "...|W|WWWW"},
        {ABI_madvise, {AT(3), P, 19}, -EINVAL, NULL},
        {ABI_mprotect, {AT(3), P, 0x100000001ul}, -EINVAL, NULL},
        {ABI_mremap, {AT(3), P, P, 0x100000000ul, 0}, -EINVAL, NULL},
        {ABI_mmap, {AT(0), P, 3, ANON | FIX | MAP_HUGETLB_}, -ENOMEM, ""}, /* 512 pages long */
    };
    struct process v;

    begin(&v);
    RUN(&v, steps);
    v.file->f_mode = FMODE_READ | FMODE_WRITE | FMODE_PATH_NOEXEC;
    assert_int_equal(sys_mmap(v.cpu, AT(0), P, 5, MAP_PRIVATE_ | FIX, v.file, 0), -EPERM);
    v.t->personality = READ_IMPLIES_EXEC_;
    assert_int_equal(sys_mmap(v.cpu, AT(0), P, 1, MAP_PRIVATE_ | FIX, v.file, 0), AT(0));
    assert_int_equal(sys_mprotect(v.cpu, AT(0), P, 4), -EACCES);
    assert_int_equal(sys_mmap(v.cpu, AT(1), P, 1, ANON | FIX, NULL, 0), AT(1));
    assert_int_equal(vma_lookup(v.cpu, v.t->mm, AT(1))->vm_flags & VM_ACCESS_FLAGS, VM_READ | VM_EXEC);
    v.t->personality = 0;
    v.file->f_mode = FMODE_READ | FMODE_WRITE | FMODE_APPEND_ONLY;
    assert_int_equal(sys_mmap(v.cpu, AT(0), P, 1, MAP_SHARED_ | FIX, v.file, 0), -EACCES);
    v.file->f_mode = FMODE_READ | FMODE_WRITE | FMODE_SWAPFILE;
    assert_int_equal(sys_mmap(v.cpu, AT(0), P, 3, MAP_SHARED_ | FIX, v.file, 0), -ETXTBSY);
    v.file->f_mode = FMODE_READ | FMODE_WRITE;
    end(&v);
}

/* Places: what mmap answers to hints and lengths. mmap_base is 0x7ffff7fff000 with 8 MiB of stack. */
static void test_placement(void **state)
{
    const u64 mib = 1ul << 20, base = 0x7ffff7fff000ul;
    const struct {
        u64 addr, len;
        u32 flags;
        u64 pgoff;
        bool file;
        s64 result;
    } maps[] = {
        {0, P, ANON, 0, false, (s64)(base - P)},
        {0, 2 * mib, ANON, 0, false, 0x7ffff7c00000},        /* aligned */
        {0, P, ANON, 0, false, (s64)(base - 2 * P)},         /* above it there is room */
        {0, 2 * mib + P, ANON, 0, false, 0x7ffff79ff000},    /* not of whole huge pages: not aligned */
        {0, 4 * mib, MAP_PRIVATE_, 0, true, 0x7ffff7400000}, /* a file is */
        {0, 4 * mib + P, MAP_PRIVATE_, 1, true, 0x7ffff6e01000},
        {0, 2 * mib - P, MAP_SHARED_, 0, true, 0x7ffff7800000}, /* no huge page in it */
        {AT(0), 4 * mib, MAP_PRIVATE_, 0, true, AT(0)},
        {AT(1) + 4 * mib, P, ANON | FIX, 0, false, AT(1) + 4 * (s64)mib},
        {AT(1) + 8 * mib, P, ANON | FIX, 0, false, AT(1) + 8 * (s64)mib},
        {0x2000, P, ANON, 0, false, 0x10000}, /* the lowest hint */
        {0x2000, P, ANON | FIX, 0, false, -EPERM},
        {0, P, ANON | MAP_32BIT_, 0, false, 0x40000000},
        {0x7ffff000, P, ANON | MAP_32BIT_, 0, false, 0x7ffff000},
        {0x7ffff000, 2 * P, ANON | MAP_32BIT_, 0, false, 0x40001000},
        {0, 0x40000000, ANON | MAP_32BIT_ | MAP_NORESERVE_, 0, false, -ENOMEM},
        {0x7ffffffff000 - P, 2 * P, ANON, 0, false, 0x7ffff7ffb000},
        {0x800000000000, P, ANON, 0, false, 0x7ffff7ffa000},
        {0x7ffffffff000, P, ANON | FIX, 0, false, -ENOMEM},
        {0, 0x7ffffffff000, ANON, 0, false, -ENOMEM},
        {0, ~0ul, ANON, 0, false, -ENOMEM},
    };
    struct process v;

    begin(&v);
    for (u32 i = 0; i < ARRAY_SIZE(maps); i++) {
        s64 r = sys_mmap(v.cpu, maps[i].addr, maps[i].len, 1, maps[i].flags, maps[i].file ? v.file : NULL,
                         maps[i].pgoff << PAGE_SHIFT);

        if (r != maps[i].result)
            fail_msg("case %u: %llx, expected %llx", i, (unsigned long long)r, (unsigned long long)maps[i].result);
    }
    task_set_caps(v.t, CAP(CAP_SYS_RAWIO_));
    assert_int_equal(sys_mmap(v.cpu, 0, P, 1, ANON | FIX, NULL, 0), 0);
    assert_int_equal(sys_munmap(v.cpu, 0, P), 0);
    /* A hint for a file holds only with a huge page of room behind it. */
    assert_int_equal(sys_munmap(v.cpu, AT(0), 4 * mib), 0);
    assert_int_not_equal(sys_mmap(v.cpu, AT(0), 4 * mib, 1, MAP_PRIVATE_, v.file, 0), AT(0));
    end(&v);
}

static void test_pkeys(void **state)
{
    static const struct step without[] = {
        {ABI_pkey_alloc, {0, 0}, -EINVAL, NULL}, /* key 0 is taken, and cannot be set up */
        {ABI_pkey_alloc, {0, 3}, -ENOSPC, NULL},
        {ABI_pkey_alloc, {1, 0}, -EINVAL, NULL},
        {ABI_pkey_alloc, {0, 4}, -EINVAL, NULL},
        {ABI_pkey_free, {0}, -EINVAL, NULL},
        {ABI_pkey_free, {17}, -EINVAL, NULL},
        {ABI_mmap, {AT(0), P, 3, ANON | FIX}, AT(0), "|W"},
        {ABI_pkey_mprotect, {AT(0), P, 1, ~0u}, 0, "|r"},
        {ABI_pkey_mprotect, {AT(0), P, 3, 0}, -EINVAL, NULL},
        {ABI_pkey_mprotect, {AT(0), P, 3, 1}, -EINVAL, NULL},
        {ABI_pkey_mprotect, {AT(0), 0, 3, 99}, 0, NULL},
    };
    static const struct step with[] = {
        {ABI_pkey_alloc, {0, 0}, 1, NULL},
        {ABI_pkey_alloc, {0, 3}, 2, NULL},
        {ABI_pkey_free, {1}, 0, NULL},
        {ABI_pkey_free, {1}, -EINVAL, NULL},
        {ABI_pkey_alloc, {0, 1}, 1, NULL},
        {ABI_mmap, {AT(0), 4 * P, 3, ANON | FIX}, AT(0), "|WWWW"},
        {ABI_pkey_mprotect, {AT(1), P, 3, 1}, 0, "|W|W|WW"}, /* rights equal, keys not */
        {ABI_pkey_mprotect, {AT(1), P, 3, 3}, -EINVAL, NULL},
        {ABI_mprotect, {AT(1), P, 1}, 0, "|W|r|WW"}, /* keeps its key */
        {ABI_mprotect, {AT(0), P, 4}, 0, "|x|r|WW"}, /* execute-only: key 3 */
        {ABI_pkey_free, {3}, -EINVAL, NULL},
        {ABI_pkey_mprotect, {AT(2), P, 3, 3}, -EINVAL, NULL},
        {ABI_mprotect, {AT(0), P, 3}, 0, "|W|r|WW"}, /* and back to 0 */
        {ABI_pkey_mprotect, {AT(1), P, 3, 0}, 0, "|WWWW"},
    };
    struct machine_config c;
    struct process v;

    begin(&v);
    RUN(&v, without);
    end(&v);

    test_config(&c);
    c.pkeys = true;
    v.m = test_machine_full(&c);
    v.cpu = test_cpu(v.m);
    v.t = test_task(v.cpu, 1);
    v.file = NULL;
    RUN(&v, with);
    assert_int_equal(v.t->pkru, (0x55555554u & ~(3u << 2 | 3u << 4 | 3u << 6)) | 1u << 2 | 3u << 4 | 1u << 6);
    for (int key = 4; key < 16; key++)
        assert_int_equal(sys_pkey_alloc(v.cpu, 0, 0), key);
    assert_int_equal(sys_pkey_alloc(v.cpu, 0, 0), -ENOSPC);
    task_exit(v.cpu, v.t);
    assert_books(machine_check, v.m);
    test_machine_end(v.m);
}

/* PKRU decides about each access: WRPKRU between accesses, threads that differ in it, entries of the TLBs. */
static void test_pkru(void **state)
{
    enum { KEY0, KEY1 }; /* AT(0) has key 0, AT(1) key 1 */
    static const struct {
        u32 pkru;
        u32 page;
        enum mmu_access_kind kind;
        int si_code; /* 0: done */
    } rows[] = {
        {0, KEY1, MMU_READ, 0},  {0, KEY1, MMU_WRITE, 0}, {0, KEY1, MMU_EXEC, 0},  {4, KEY1, MMU_READ, 4},
        {4, KEY1, MMU_WRITE, 4}, {4, KEY1, MMU_EXEC, 0},                          /* AD */
        {4, KEY0, MMU_READ, 0},  {4, KEY0, MMU_WRITE, 0}, {8, KEY1, MMU_READ, 0}, /* WD */
        {8, KEY1, MMU_WRITE, 4}, {8, KEY1, MMU_EXEC, 0},  {12, KEY1, MMU_READ, 4}, {12, KEY1, MMU_WRITE, 4},
        {0, KEY1, MMU_WRITE, 0}, {8, KEY1, MMU_WRITE, 4}, {1, KEY0, MMU_READ, 4},  {1, KEY1, MMU_WRITE, 0},
        {2, KEY0, MMU_READ, 0},  {2, KEY0, MMU_WRITE, 4}, {0, KEY0, MMU_WRITE, 0},
    };
    struct fault_info fi;
    struct machine_config c;
    struct machine *m;
    struct cpu *cpu;
    struct task *t;
    char byte = 'x';

    test_config(&c);
    c.pkeys = true;
    m = test_machine_full(&c);
    cpu = test_cpu(m);
    t = test_task(cpu, 1);
    assert_int_equal(sys_mmap(cpu, AT(0), 2 * P, 7, ANON | FIX, NULL, 0), AT(0));
    assert_int_equal(sys_pkey_alloc(cpu, 0, 0), 1);
    assert_int_equal(sys_pkey_mprotect(cpu, AT(1), P, 7, 1), 0);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        va_t va = AT(rows[i].page);
        int signo;

        t->pkru = rows[i].pkru;
        cpu_enter_user(cpu);
        signo = mmu_access(cpu, cpu_mmu(cpu), va, rows[i].kind, &fi);
        cpu_enter_kernel(cpu);
        if (signo != (rows[i].si_code ? 11 : 0) || (signo && (fi.si_code != rows[i].si_code || fi.addr != va)))
            fail_msg("row %zu: signal %d, code %d", i, signo, fi.si_code);
        assert_books(machine_check, m);
    }
    t->pkru = 4; /* copies on the program's behalf */
    assert_int_equal(mmu_copy_to_user(cpu, AT(1), &byte, 1, &fi), 11);
    assert_int_equal(mmu_copy_from_user(cpu, &byte, AT(1), 1, &fi), 11);
    assert_int_equal(sys_mprotect(cpu, AT(0), P, 4), 0); /* execute-only */
    assert_int_equal(mmu_copy_from_user(cpu, &byte, AT(0), 1, &fi), 11);
    assert_int_equal(fi.si_code, 4);
    task_exit(cpu, t);
    assert_books(machine_check, m);
    test_machine_end(m);
}

static s64 prctl(struct cpu *cpu, u32 option, u64 a, u64 b, u64 c, u64 d)
{
    struct abi_call call = {.nr = ABI_prctl, .arg = {option, a, b, c, d}};

    return abi_syscall(cpu, &call);
}

#define PR_SET_VMA 0x53564d41u

static s64 name_range(struct cpu *cpu, va_t addr, u64 len, const char *name)
{
    struct abi_call c = {
        .nr = ABI_prctl,
        .arg = {PR_SET_VMA, 0, addr, len, name ? 1 : 0},
        .in[4] = {(void *)(uintptr_t)name, name ? strlen(name) + 1 : 0},
    };

    return abi_syscall(cpu, &c);
}

static void test_names(void **state)
{
    static const struct step maps[] = {
        {ABI_mmap, {AT(0), 6 * P, 3, ANON | FIX}, AT(0), "|WWWWWW"},
        {ABI_mmap, {AT(6), 2 * P, 3, MAP_PRIVATE_ | FIX, 3, 0}, AT(6), "|WWWWWW|WW"},
        {ABI_mmap, {AT(9), 2 * P, 3, MAP_SHARED_ | MAP_ANONYMOUS_ | FIX}, AT(9), "|WWWWWW|WW.|WW"},
    };
    char text[4 * PICTURE_PAGES], longest[82];
    struct task *child;
    struct process v;

    begin(&v);
    RUN(&v, maps);
    memset(longest, 'x', sizeof(longest));
    longest[80] = '\0';
    assert_int_equal(name_range(v.cpu, AT(1), P, longest), -EINVAL);
    longest[79] = '\0';
    assert_int_equal(name_range(v.cpu, AT(1), P, longest), 0);
    assert_string_equal(picture(v.cpu, text), "|W|W|WWWW|WW.|WW");
    assert_int_equal(name_range(v.cpu, AT(1), 0, "a[b"), -EINVAL);
    assert_int_equal(name_range(v.cpu, AT(1), P, "a\tb"), -EINVAL);
    assert_int_equal(name_range(v.cpu, AT(1) + 1, P, "a"), -EINVAL);
    assert_int_equal(name_range(v.cpu, AT(6), P, "a"), -EBADF);
    assert_int_equal(name_range(v.cpu, AT(8), 2 * P, "a"), -ENOMEM); /* a hole, but what is behind has the name */
    assert_string_equal(vma_lookup(v.cpu, v.t->mm, AT(9))->anon_name, "a");
    assert_int_equal(name_range(v.cpu, AT(0), 2 * P, "b"), 0);
    assert_string_equal(picture(v.cpu, text), "|WW|WWWW|WW.|W|W");
    assert_int_equal(name_range(v.cpu, AT(2), P, "b"), 0); /* the same name: they merge */
    assert_string_equal(picture(v.cpu, text), "|WWW|WWW|WW.|W|W");
    child = kernel_clone(v.cpu, 0, 2, 2);
    assert_string_equal(vma_lookup(v.cpu, child->mm, AT(0))->anon_name, "b");
    task_exit(v.cpu, child);
    assert_int_equal(name_range(v.cpu, AT(0), 6 * P, NULL), 0);
    assert_string_equal(picture(v.cpu, text), "|WWWWWW|WW.|W|W");
    v.m->config.anon_vma_name = false;
    assert_int_equal(name_range(v.cpu, AT(0), P, "b"), -EINVAL);
    end(&v);
}

static void test_set_mm(void **state)
{
    const struct mm_map ok = {.start_code = 0x400000,
                              .end_code = 0x500000,
                              .start_data = 0x600000,
                              .end_data = 0x600000,
                              .start_brk = 0x700000,
                              .brk = 0x700000,
                              .start_stack = AT(0),
                              .arg_start = AT(0),
                              .arg_end = AT(1),
                              .env_start = AT(1),
                              .env_end = AT(1),
                              .exe_fd = ~0u};
    struct mm_map map = ok;
    u64 auxv[AT_VECTOR_SIZE + 1] = {6, 4096};
    struct abi_call set = {.nr = ABI_prctl, .arg = {35, 14, 1, sizeof(map), 0}, .in[2] = {&map, sizeof(map)}};
    struct abi_call aux = {.nr = ABI_prctl, .arg = {35, 12, 1, 16, 0}, .in[2] = {auxv, sizeof(auxv)}};
    static const struct {
        u32 member; /* of struct mm_map, in words */
        u64 value;
        int result;
    } cases[] = {
        {0, 0, -EINVAL},         {0, 0x500000, -EINVAL},   {1, 0x3fffff, -EINVAL},       {2, 0x600001, -EINVAL},
        {4, 0x700001, -EINVAL},  {5, 0x900000, 0},         {6, 0xffff, -EINVAL},         {6, 0x10000, 0},
        {7, AT(1) + 1, -EINVAL}, {10, AT(1) - 1, -EINVAL}, {8, 0x7ffffffff000, -EINVAL}, {8, 0x7fffffffe000, 0},
    };
    struct process v;

    begin(&v);
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        map = ok;
        (&map.start_code)[cases[i].member] = cases[i].value;
        if (abi_syscall(v.cpu, &set) != cases[i].result)
            fail_msg("case %u", i);
    }
    map = ok;
    map.auxv_size = 8;
    assert_int_equal(abi_syscall(v.cpu, &set), -EINVAL);
    map.auxv = 1;
    map.auxv_size = sizeof(auxv);
    assert_int_equal(abi_syscall(v.cpu, &set), -EINVAL);
    map.auxv_size = 16;
    assert_int_equal(abi_syscall(v.cpu, &set), -EFAULT);
    map = ok;
    map.exe_fd = 3;
    assert_int_equal(abi_syscall(v.cpu, &set), -EPERM);
    task_set_caps(v.t, CAP(CAP_CHECKPOINT_RESTORE_));
    assert_int_equal(abi_syscall(v.cpu, &set), -EBADF);
    set.file = v.file;
    assert_int_equal(abi_syscall(v.cpu, &set), 0);
    assert_ptr_equal(v.t->mm->exe_file, v.file);
    assert_int_equal(sys_mmap(v.cpu, AT(0), P, 1, MAP_PRIVATE_ | FIX, v.file, 0), AT(0));
    assert_int_equal(abi_syscall(v.cpu, &set), -EBUSY);
    assert_int_equal(v.t->mm->end_code, 0x500000);

    assert_int_equal(prctl(v.cpu, 35, 1, 0x400000, 0, 0), -EPERM);
    assert_int_equal(prctl(v.cpu, 35, 1, 0x400000, 1, 0), -EINVAL);
    task_set_caps(v.t, CAP(CAP_SYS_RESOURCE_));
    assert_int_equal(prctl(v.cpu, 35, 1, 0x410000, 0, 0), 0);
    assert_int_equal(prctl(v.cpu, 35, 1, 0x500000, 0, 0), -EINVAL);
    assert_int_equal(prctl(v.cpu, 35, 5, AT(4), 0, 0), -EFAULT);
    assert_int_equal(prctl(v.cpu, 35, 99, AT(4), 0, 0), -EINVAL);
    assert_int_equal(v.t->mm->start_code, 0x410000);
    assert_int_equal(abi_syscall(v.cpu, &aux), 0);
    assert_int_equal(v.t->mm->saved_auxv[1], 4096);
    aux.arg[3] = sizeof(auxv);
    assert_int_equal(abi_syscall(v.cpu, &aux), -EINVAL);
    end(&v);
}

static void test_mm_flags(void **state)
{
    struct task *child;
    struct process v;

    begin(&v);
    assert_int_equal(prctl(v.cpu, 3, 0, 0, 0, 0), 1);
    assert_int_equal(prctl(v.cpu, 4, 2, 0, 0, 0), -EINVAL);
    assert_int_equal(prctl(v.cpu, 4, 0, 0, 0, 0), 0);
    assert_int_equal(prctl(v.cpu, 3, 0, 0, 0, 0), 0);
    assert_int_equal(prctl(v.cpu, 41, 1, 1, 0, 0), -EINVAL);
    assert_int_equal(prctl(v.cpu, 41, 0, 2, 0, 0), -EINVAL);
    assert_int_equal(prctl(v.cpu, 41, 1, 2, 0, 0), 0);
    assert_int_equal(prctl(v.cpu, 42, 0, 0, 0, 0), 3);
    assert_int_equal(prctl(v.cpu, 42, 1, 0, 0, 0), -EINVAL);
    assert_int_equal(sys_mmap(v.cpu, AT(0), P, 3, ANON | FIX, NULL, 0), AT(0));
    assert_int_equal(sys_mmap(v.cpu, AT(1), P, 5, ANON | FIX, NULL, 0), AT(1));
    assert_int_equal(prctl(v.cpu, 65, 2, 0, 0, 0), -EINVAL);
    assert_int_equal(prctl(v.cpu, 65, 3, 0, 0, 0), 0);
    assert_int_equal(prctl(v.cpu, 65, 1, 0, 0, 0), -EPERM);
    assert_int_equal(prctl(v.cpu, 66, 0, 0, 0, 0), 3);
    assert_int_equal(sys_mmap(v.cpu, AT(2), P, 7, ANON | FIX, NULL, 0), -EACCES);
    assert_int_equal(sys_mmap(v.cpu, AT(2), P, 5, ANON | FIX, NULL, 0), AT(2));
    assert_int_equal(sys_mprotect(v.cpu, AT(0), P, 5), -EACCES);
    assert_int_equal(sys_mprotect(v.cpu, AT(1), P, 7), -EACCES);
    assert_int_equal(sys_mprotect(v.cpu, AT(1), P, 5), 0);
    child = kernel_clone(v.cpu, 0, 2, 2);
    v.cpu->current = child;
    assert_int_equal(prctl(v.cpu, 66, 0, 0, 0, 0), 0); /* NO_INHERIT */
    assert_int_equal(prctl(v.cpu, 42, 0, 0, 0, 0), 3);
    task_exit(v.cpu, child);
    v.cpu->current = v.t;
    assert_int_equal(prctl(v.cpu, 15, 0, 0, 0, 0), -ENOSYS);
    end(&v);
}

#define HAS_MG(n) (!!(vma_lookup(v.cpu, v.cpu->current->mm, AT(n))->vm_flags & VM_MERGEABLE))

static void test_memory_merge(void **state)
{
    struct task *child;
    struct process v;

    begin(&v);
    for (u32 i = 1; i <= 4; i++)
        assert_int_equal(prctl(v.cpu, 68, i == 1, i == 2, i == 3, i == 4), -EINVAL);
    for (u32 i = 2; i <= 4; i++)
        assert_int_equal(prctl(v.cpu, 67, 1, i == 2, i == 3, i == 4), -EINVAL);
    assert_int_equal(prctl(v.cpu, 68, 0, 0, 0, 0), 0);
    assert_int_equal(sys_mmap(v.cpu, AT(0), 2 * P, 3, ANON | FIX, NULL, 0), AT(0));
    assert_int_equal(sys_mmap(v.cpu, AT(2), P, 3, MAP_SHARED_ | MAP_ANONYMOUS_ | FIX, NULL, 0), AT(2));
    assert_int_equal(sys_mmap(v.cpu, AT(3), P, 1, MAP_PRIVATE_ | FIX, v.file, 0), AT(3));
    assert_int_equal(prctl(v.cpu, 67, 1ul << 32, 0, 0, 0), 0); /* no capability needed; any bit counts */
    assert_int_equal(prctl(v.cpu, 68, 0, 0, 0, 0), 1);
    assert_int_equal(HAS_MG(0) << 2 | HAS_MG(2) << 1 | HAS_MG(3), 5);
    assert_int_equal(sys_madvise(v.cpu, AT(0), P, 13), 0); /* MADV_UNMERGEABLE */
    assert_int_equal(prctl(v.cpu, 67, 1, 0, 0, 0), 0);
    assert_int_equal(HAS_MG(0) << 1 | HAS_MG(1), 1);
    assert_int_equal(sys_mmap(v.cpu, AT(4), P, 3, ANON | FIX, NULL, 0), AT(4));
    assert_int_equal(sys_mmap(v.cpu, AT(5), P, 3, MAP_SHARED_ | MAP_ANONYMOUS_ | FIX, NULL, 0), AT(5));
    assert_int_equal(sys_mmap(v.cpu, AT(6), P, 3, MAP_DROPPABLE_ | MAP_ANONYMOUS_ | FIX, NULL, 0), AT(6));
    assert_int_equal(sys_mmap(v.cpu, AT(7), P, 3, MAP_PRIVATE_ | FIX, v.file, 0), AT(7));
    assert_int_equal(HAS_MG(4) << 3 | HAS_MG(5) << 2 | HAS_MG(6) << 1 | HAS_MG(7), 9);
    child = kernel_clone(v.cpu, 0, 2, 2);
    v.cpu->current = child;
    assert_int_equal(prctl(v.cpu, 68, 0, 0, 0, 0), 1);
    assert_int_equal(prctl(v.cpu, 67, 0, 0, 0, 0), 0);
    assert_int_equal(HAS_MG(1) << 1 | HAS_MG(4), 0);
    task_exit(v.cpu, child);
    v.cpu->current = v.t;
    assert_int_equal(HAS_MG(1), 1);
    end(&v);
}

/*
 * SHM_LOCK keeps what comes into the segment from then on from reclaim, and what was there as soon as reclaim finds it;
 * SHM_UNLOCK looks at every page. Mlocked: no.
 */
static void test_shm_lock(void **state)
{
    static const struct {
        u32 cmd; /* 0: touch [first, end); 21: MADV_PAGEOUT of all */
        u64 first, end;
        s64 unevictable;
        u64 culled, rescued, scanned;
    } steps[] = {
        {0, 0, 4, 0, 0, 0, 0},   {11, 0, 0, 0, 0, 0, 0},                           /* SHM_LOCK */
        {0, 4, 10, 6, 6, 0, 0},  {11, 0, 0, 6, 6, 0, 0},  {12, 0, 0, 0, 6, 6, 10}, /* SHM_UNLOCK */
        {12, 0, 0, 0, 6, 6, 10}, {11, 0, 0, 0, 6, 6, 10}, {0, 10, 12, 2, 8, 6, 10}, {21, 0, 0, 12, 18, 6, 10},
    };
    struct abi_call get = {.nr = ABI_shmget, .arg = {0, 12 * P, 01600}};
    u64 touched = 0;
    s64 id;
    struct process v;

    begin(&v);
    task_set_caps(v.t, CAP(14));
    id = abi_syscall(v.cpu, &get);
    assert_true(id >= 0);
    struct abi_call at = {.nr = ABI_shmat, .arg = {(u64)id, AT(0), 0}};
    assert_int_equal(abi_syscall(v.cpu, &at), AT(0));
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        struct abi_call ctl = {.nr = ABI_shmctl, .arg = {(u64)id, steps[i].cmd, 0}};

        for (u64 n = steps[i].first; n < steps[i].end; n++)
            assert_int_equal(do_user_addr_fault(v.cpu, AT(n), ACCESS_WRITE).signo, 0);
        lru_add_drain(v.cpu);
        if (steps[i].cmd == 21)
            assert_int_equal(sys_madvise(v.cpu, AT(0), 12 * P, 21), 0);
        else
            assert_int_equal(steps[i].cmd ? abi_syscall(v.cpu, &ctl) : 0, 0);
        assert_int_equal(get_mm_counter(v.t->mm, MM_SHMEMPAGES), MAX(touched, steps[i].end));
        touched = MAX(touched, steps[i].end);
        assert_int_equal(global_node_page_state(v.m, NR_UNEVICTABLE), steps[i].unevictable);
        assert_int_equal(global_zone_page_state(v.m, NR_MLOCK), 0);
        assert_int_equal(sum_vm_events(v.m, UNEVICTABLE_PGCULLED), steps[i].culled);
        assert_int_equal(sum_vm_events(v.m, UNEVICTABLE_PGRESCUED), steps[i].rescued);
        assert_int_equal(sum_vm_events(v.m, UNEVICTABLE_PGSCANNED), steps[i].scanned);
        assert_books(machine_check, v.m);
    }
    get = (struct abi_call){.nr = ABI_shmctl, .arg = {(u64)id, 0, 0}}; /* IPC_RMID */
    at = (struct abi_call){.nr = ABI_shmdt, .arg = {AT(0)}};
    assert_int_equal(abi_syscall(v.cpu, &get), 0);
    assert_int_equal(abi_syscall(v.cpu, &at), 0);
    end(&v);
}

/* -- allocations that fail ----------------------------------------------------------------------------------------- */

static s64 do_seal(struct cpu *cpu, struct file *file)
{
    return sys_mseal(cpu, AT(2), 2 * P, 0);
}

static s64 do_remap(struct cpu *cpu, struct file *file)
{
    return sys_remap_file_pages(cpu, AT(9), P, 0, 7, MAP_NONBLOCK_);
}

static s64 do_name(struct cpu *cpu, struct file *file)
{
    return name_range(cpu, AT(2), 2 * P, "name");
}

static s64 do_huge(struct cpu *cpu, struct file *file)
{
    s64 r = sys_mmap(cpu, AT(2), 2 * P, 3, MAP_PRIVATE_ | FIX | MAP_SYNC_, file, 0);

    return r == -EOPNOTSUPP ? 0 : r;
}

static s64 do_droppable(struct cpu *cpu, struct file *file)
{
    s64 r = sys_mmap(cpu, AT(3), 2 * P, 3, MAP_ANONYMOUS_ | FIX | MAP_DROPPABLE_, NULL, 0);

    return r < 0 ? r : 0;
}

/* One call with its n-th allocation failing: it fails and nothing has changed, or it did without. */
static bool try_call(struct cpu *cpu, s64 (*call)(struct cpu *, struct file *), struct file *file)
{
    char before[4 * PICTURE_PAGES], after[4 * PICTURE_PAGES];
    s64 err;
    bool failed;

    picture(cpu, before);
    err = call(cpu, file);
    failed = fail_injected(cpu->m);
    if (err && (!failed || (err != -ENOMEM && err != -EAGAIN)))
        fail_msg("%lld", (long long)err);
    if (err)
        assert_string_equal(picture(cpu, after), before);
    assert_books(machine_check, cpu->m);
    return err == 0;
}

static void test_failing_allocations(void **state)
{
    static s64 (*const calls[])(struct cpu *, struct file *) = {do_seal, do_remap, do_name, do_huge, do_droppable};
    struct process v;

    for (u32 i = 0; i < ARRAY_SIZE(calls); i++) {
        bool done = false;

        begin(&v);
        assert_int_equal(sys_mmap(v.cpu, AT(0), 7 * P, 3, ANON | FIX, NULL, 0), AT(0));
        assert_int_equal(sys_mmap(v.cpu, AT(8), 4 * P, 3, MAP_SHARED_ | FIX, v.file, 0), AT(8));
        for (u64 nth = 1; !done; nth++) {
            fail_arm(v.m, nth);
            done = try_call(v.cpu, calls[i], v.file);
        }
        end(&v);
    }
}

static s64 do_adopt(struct cpu *cpu, struct file *file) NO_LOCK_ANALYSIS
{
    struct shm_segment *s;

    down_write(cpu, &cpu->m->cache->shm.rwsem);
    s = shm_adopt(cpu, 5 << 15 | 7, 0x1234, 3 * P, 0600);
    up_write(cpu, &cpu->m->cache->shm.rwsem);
    return IS_ERR(s) ? PTR_ERR(s) : s->id;
}

static s64 shm_call(struct cpu *cpu, enum abi_nr nr, u64 a, u64 b, u64 c)
{
    struct abi_call call = {.nr = nr, .arg = {a, b, c}};

    return abi_syscall(cpu, &call);
}

/* A segment under another system's id: found by id and by key; then the machine's own numbering goes on. */
static void test_shm_adopt(void **state)
{
    const s64 id = 5 << 15 | 7;
    struct process v;
    s64 other;

    begin(&v);
    v.m->fail.not_slabs = true; /* so that each failure is one of the call */
    other = shm_call(v.cpu, ABI_shmget, 0x1234, P, 01600);
    for_each_failing_allocation(v.m, nth)
    {
        s64 got = do_adopt(v.cpu, NULL);

        assert_true(got == id || (got == -ENOMEM && fail_injected(v.m)));
        assert_int_equal(shm_call(v.cpu, ABI_shmget, 0x1234, 0, 0), got == id ? id : other);
        assert_books(machine_check, v.m);
    }
    assert_int_equal(shm_call(v.cpu, ABI_shmctl, (u64)other, 0, 0), 0);
    assert_int_equal(do_adopt(v.cpu, NULL), -EEXIST);
    assert_int_equal(shm_call(v.cpu, ABI_shmget, 0x1234, 0, 0), id);
    assert_int_equal(shm_call(v.cpu, ABI_shmat, (u64)id, AT(0), 0), AT(0));
    assert_int_equal(shm_call(v.cpu, ABI_shmctl, (u64)id, 0, 0), 0);        /* IPC_RMID */
    assert_int_equal(shm_call(v.cpu, ABI_shmat, (u64)id, AT(4), 0), AT(4)); /* by id still */
    assert_int_equal(shm_call(v.cpu, ABI_shmget, 0x1234, P, 01600), 1);     /* key and numbers are free */
    assert_int_equal(shm_call(v.cpu, ABI_shmdt, AT(0), 0, 0), 0);
    assert_int_equal(do_adopt(v.cpu, NULL), -EEXIST);
    assert_int_equal(shm_call(v.cpu, ABI_shmdt, AT(4), 0, 0), 0); /* destroyed */
    assert_int_equal(do_adopt(v.cpu, NULL), id);                  /* takes the key */
    assert_int_equal(shm_call(v.cpu, ABI_shmget, 0x1234, 0, 0), id);
    assert_int_equal(shm_call(v.cpu, ABI_shmctl, 1, 0, 0), 0);
    assert_int_equal(shm_call(v.cpu, ABI_shmctl, (u64)id, 0, 0), 0);
    end(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mseal),
        cmocka_unit_test(test_remap_file_pages),
        cmocka_unit_test(test_mmap_refusals),
        cmocka_unit_test(test_placement),
        cmocka_unit_test(test_pkeys),
        cmocka_unit_test(test_pkru),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_set_mm),
        cmocka_unit_test(test_mm_flags),
        cmocka_unit_test(test_memory_merge),
        cmocka_unit_test(test_shm_lock),
        cmocka_unit_test(test_shm_adopt),
        cmocka_unit_test(test_failing_allocations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
