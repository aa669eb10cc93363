/* SPDX-License-Identifier: MIT */
/* Special mappings: bare frames, drivers' pages, /dev/zero, vdso and vvar. */
#include "tests/unit/vm/fault_testing.h"

#include "base/errno.h"
#include "cache/device.h"
#include "vm/pfnmap.h"

#define HOLE 0xe0000ul /* below 1 MiB: no RAM on a PC */
#define SH (MAP_SHARED_ | MAP_FIXED_)
#define PR (MAP_PRIVATE_ | MAP_FIXED_)
#define IO_FLAGS (VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP)

static struct file *open_device(struct env *v, enum device_kind kind, u64 nr)
{
    struct file *f = device_open(v->cpu, kind, FMODE_READ | FMODE_WRITE, PFN(HOLE >> PAGE_SHIFT), nr);

    assert_false(IS_ERR(f));
    return f;
}

static struct vm_area_struct *vma_at(struct env *v, va_t addr)
{
    return vma_lookup(v->cpu, v->cpu->current->mm, addr);
}

static u8 *hole(struct env *v, u64 offset)
{
    return (u8 *)v->m->ram + HOLE + offset;
}

/* The byte at a special entry's frame. */
static u8 frame_byte(struct env *v, va_t addr)
{
    pte_t pte = pte_at(v->cpu, addr);

    touch(v->cpu, addr, ACCESS_READ);
    assert_true(pte_present(pt_format_of(v->m), pte));
    return *((u8 *)v->m->ram + pfn_to_phys(pte_pfn(pt_format_of(v->m), 1, pte)).pa + (addr & (PG - 1)));
}

/* What each call says of a mapping with VM_PFNMAP, in a row. */
static void test_mem(void **state)
{
    struct env v;
    struct file *f;
    struct task *child;

    env_init(&v);
    f = open_device(&v, DEVICE_MEM, 0);
    map_at(v.cpu, BASE, 8, RW, SH, f, HOLE);
    assert_int_equal(vma_at(&v, BASE)->vm_flags & (VM_SPECIAL | VM_DONTDUMP), IO_FLAGS);
    *hole(&v, PG + 3) = 42;
    assert_int_equal(frame_byte(&v, BASE + PG + 3), 42);
    touch_range(v.cpu, BASE, 8, ACCESS_WRITE);
    assert_int_equal(get_mm_rss(v.cpu->current->mm), 0);
    assert_books(machine_check, v.m);

    assert_int_equal(sys_madvise(v.cpu, BASE, PG, 4 /* DONTNEED */), -EINVAL);
    assert_int_equal(sys_madvise(v.cpu, BASE, PG, 11 /* DOFORK */), -EINVAL);
    assert_int_equal(sys_madvise(v.cpu, BASE, PG, 17 /* DODUMP */), -EINVAL);
    assert_int_equal(sys_mremap(v.cpu, BASE, 8 * PG, 9 * PG, MREMAP_MAYMOVE_, 0), -EFAULT);
    assert_int_equal(sys_mremap(v.cpu, BASE, 8 * PG, 8 * PG, 7, BASE + 64 * PG), -EINVAL);
    assert_int_equal(sys_mremap(v.cpu, BASE, 8 * PG, 8 * PG, 3, BASE + 64 * PG), BASE + 64 * PG);
    assert_int_equal(frame_byte(&v, BASE + 65 * PG + 3), 42);
    assert_int_equal(sys_mprotect(v.cpu, BASE + 64 * PG, 2 * PG, PROT_READ_), 0);
    assert_int_equal(do_access(v.cpu, BASE + 64 * PG, ACCESS_WRITE).signo, 11);
    assert_int_equal(sys_mprotect(v.cpu, BASE + 64 * PG, 2 * PG, RW), 0);
    touch(v.cpu, BASE + 64 * PG, ACCESS_WRITE);
    assert_int_equal(v.cpu->current->mm->map_count, 2); /* special VMAs do not merge */

    child = do_fork(v.cpu, 2);
    assert_true(
        pte_special(pt_format_of(v.m), pt_read(pt_format_of(v.m), pt_find_entry(child->mm, BASE + 65 * PG, 1))));
    assert_books(machine_check, v.m);
    task_exit(v.cpu, child);
    fput(v.cpu, f);
    env_end(&v);
}

/* A private mapping of bare frames: the write makes a copy, the frame stays as it is. */
static void test_mem_private(void **state)
{
    struct env v;
    struct file *f;

    env_init(&v);
    f = open_device(&v, DEVICE_MEM, 0);
    *hole(&v, 5) = 9;
    map_at(v.cpu, BASE, 2, RW, PR, f, HOLE);
    assert_int_equal(vma_at(&v, BASE)->vm_pgoff.nr, HOLE >> PAGE_SHIFT);
    put_byte(v.cpu, BASE + 6, 1);
    assert_int_equal(get_byte(v.cpu, BASE + 5), 9);
    assert_int_equal(*hole(&v, 6), 0);
    assert_int_equal(rss(v.cpu, MM_ANONPAGES), 1);
    assert_books(machine_check, v.m);
    fput(v.cpu, f);
    env_end(&v);
}

static void test_refusals(void **state)
{
    static const struct {
        enum device_kind kind;
        u32 flags;
        u64 pages, offset;
        s64 result;
    } cases[] = {
        {DEVICE_NULL, SH, 1, 0, -ENODEV},        {DEVICE_NULL, PR, 1, 0, -ENODEV},
        {DEVICE_MEM, SH, 1, 0x200000, -EPERM},   /* RAM */
        {DEVICE_MEM, SH, 1, 1ul << 50, -EINVAL}, /* no address */
        {DEVICE_MEM, SH, 64, HOLE, -EPERM},      /* runs into RAM */
        {DEVICE_WINDOW, PR, 1, 0, -EINVAL},      /* cannot be copied on write */
        {DEVICE_WINDOW, SH, 5, 0, -EINVAL},      /* larger than the device */
        {DEVICE_WINDOW, SH, 1, 4 * PG, -EINVAL}, {DEVICE_BUFFER, SH, 5, 0, -EINVAL},
        {DEVICE_BUFFER, SH, 2, 3 * PG, -EINVAL},
    };
    struct env v;

    env_init(&v);
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        struct file *f = open_device(&v, cases[i].kind, 4);

        assert_int_equal(sys_mmap(v.cpu, BASE, cases[i].pages * PG, RW, cases[i].flags, f, cases[i].offset),
                         cases[i].result);
        assert_int_equal(v.cpu->current->mm->map_count, 0);
        assert_int_equal(vfs_ftruncate(v.cpu, f, 0), -EINVAL);
        assert_int_equal(vfs_fallocate(v.cpu, f, 0, 0, 1), -ENODEV);
        fput(v.cpu, f);
        assert_books(machine_check, v.m);
    }
    assert_int_equal(PTR_ERR(device_open(v.cpu, DEVICE_WINDOW, 3, PFN(1ul << 40), 1)), -EINVAL);
    assert_int_equal(PTR_ERR(device_open(v.cpu, DEVICE_WINDOW, 3, PFN(1024), 1)), -EPERM);
    env_end(&v);
}

/* Mapped by faults; the file may be closed. */
static void test_window(void **state)
{
    struct env v;
    struct file *f;

    env_init(&v);
    f = open_device(&v, DEVICE_WINDOW, 8);
    map_at(v.cpu, BASE, 8, RW, SH | MAP_LOCKED_, f, 0);
    fput(v.cpu, f);
    assert_int_equal(v.cpu->current->mm->locked_vm, 0);
    assert_null(page_at(v.cpu, BASE + PG));
    *hole(&v, PG) = 3;
    touch(v.cpu, BASE + PG, ACCESS_READ);
    assert_int_equal(frame_byte(&v, BASE + PG), 3);
    touch(v.cpu, BASE + PG, ACCESS_WRITE);
    assert_int_equal(pte_at(v.cpu, BASE).v, 0);
    assert_int_equal(get_mm_rss(v.cpu->current->mm), 0);
    assert_books(machine_check, v.m);
    env_end(&v);
}

/* A driver's pages are counted and shared; they go with the last mapping. */
static void test_buffer(void **state)
{
    struct env v;
    struct file *f;
    struct task *child;
    struct page *page;

    env_init(&v);
    f = open_device(&v, DEVICE_BUFFER, 4);
    map_at(v.cpu, BASE, 4, RW, SH, f, 0);
    map_at(v.cpu, BASE + 64 * PG, 2, RW, SH, f, 2 * PG);
    assert_int_equal(vma_at(&v, BASE)->vm_flags & VM_SPECIAL, VM_MIXEDMAP);
    put_byte(v.cpu, BASE + 2 * PG, 8);
    assert_int_equal(get_byte(v.cpu, BASE + 64 * PG), 8);
    assert_int_equal(rss(v.cpu, MM_FILEPAGES), 6);
    page = page_at(v.cpu, BASE + 2 * PG);
    assert_int_equal(page_count(page), 3); /* the device, two mappings */
    child = do_fork(v.cpu, 2);
    assert_int_equal(page_count(page), 5);
    assert_int_equal(get_mm_counter(child->mm, MM_FILEPAGES), 6);
    assert_books(machine_check, v.m);
    task_exit(v.cpu, child);
    assert_int_equal(sys_madvise(v.cpu, BASE, PG, 4 /* DONTNEED */), 0);
    assert_int_equal(do_access(v.cpu, BASE, ACCESS_READ).signo, 7); /* no fault() brings it back */
    assert_int_equal(vm_insert_page(v.cpu, vma_at(&v, BASE), BASE + PG, page), -EBUSY);
    assert_int_equal(vm_insert_page(v.cpu, vma_at(&v, BASE), BASE + 4 * PG, page), -EFAULT);
    fput(v.cpu, f);
    assert_int_equal(get_byte(v.cpu, BASE + 64 * PG), 8);
    env_end(&v);
}

/* As observed on 6.18 with io_uring's rings. */
static void test_ring(void **state)
{
    struct env v;
    struct file *f;

    env_init(&v);
    f = open_device(&v, DEVICE_RING, 1 << 20);
    map_at(v.cpu, BASE, 1, RW, SH, f, 0x10000000);
    assert_int_equal(vma_at(&v, BASE)->vm_flags & VM_SPECIAL, VM_MIXEDMAP | VM_DONTEXPAND);
    assert_int_equal(sys_mremap(v.cpu, BASE, PG, 2 * PG, MREMAP_MAYMOVE_, 0), -EFAULT);
    assert_int_equal(sys_mprotect(v.cpu, BASE, PG, PROT_READ_), 0);
    fput(v.cpu, f);
    env_end(&v);
}

/* As observed on 6.18. */
static void test_zero(void **state)
{
    struct env v;
    struct file *f;

    env_init(&v);
    f = open_device(&v, DEVICE_ZERO, 0);
    map_at(v.cpu, BASE, 4, RW, PR, f, 2 * PG);
    map_at(v.cpu, BASE + 4 * PG, 1, RW, PR, f, 6 * PG);                /* goes on where the first ends: one VMA */
    map_at(v.cpu, BASE + 5 * PG, 1, RW, PR, f, 0);                     /* another offset */
    map_at(v.cpu, BASE + 6 * PG, 1, RW, PR | MAP_ANONYMOUS_, NULL, 0); /* no file */
    assert_int_equal(v.cpu->current->mm->map_count, 3);
    assert_true(vma_is_anonymous(vma_at(&v, BASE)) && vma_at(&v, BASE)->vm_file == f);
    put_byte(v.cpu, BASE + PG, 5);
    assert_int_equal(get_byte(v.cpu, BASE + 2 * PG), 0);
    assert_int_equal(rss(v.cpu, MM_ANONPAGES), 1);
    assert_int_equal(sys_madvise(v.cpu, BASE, PG, 18 /* WIPEONFORK */), -EINVAL);
    assert_int_equal(sys_madvise(v.cpu, BASE, PG, 8 /* FREE */), 0);
    assert_books(machine_check, v.m);

    map_at(v.cpu, BASE + 64 * PG, 4, RW, SH, f, 2 * PG);
    assert_true(vma_at(&v, BASE + 64 * PG)->vm_file != f);
    assert_int_equal(vma_at(&v, BASE + 64 * PG)->vm_pgoff.nr, 2);
    put_byte(v.cpu, BASE + 65 * PG, 6);
    assert_int_equal(do_access(v.cpu, BASE + 66 * PG, ACCESS_READ).signo, 7); /* the object has four pages */
    assert_int_equal(rss(v.cpu, MM_SHMEMPAGES), 1);
    assert_books(machine_check, v.m);
    fput(v.cpu, f);
    env_end(&v);
}

static void test_special(void **state)
{
    const va_t vvar = BASE + 256 * PG, vdso = vvar + 4 * PG;
    struct task *child;
    struct mm *mm;
    struct env v;

    env_init(&v);
    mm = v.cpu->current->mm;
    assert_int_equal(install_special_mapping(v.cpu, mm, vvar, 4 * PG, SPECIAL_VVAR), 0);
    assert_int_equal(install_special_mapping(v.cpu, mm, vdso, 2 * PG, SPECIAL_VDSO), 0);
    assert_int_equal(install_special_mapping(v.cpu, mm, vdso, PG, SPECIAL_VDSO), -EEXIST);
    touch(v.cpu, vdso, ACCESS_EXEC);
    touch(v.cpu, vvar, ACCESS_READ);
    assert_int_equal(do_access(v.cpu, vvar, ACCESS_WRITE).signo, 11);
    assert_int_equal(sys_munmap(v.cpu, vdso, PG), -EINVAL); /* in one piece */
    assert_int_equal(sys_mprotect(v.cpu, vvar + PG, PG, PROT_NONE_), -EINVAL);
    assert_int_equal(rss(v.cpu, MM_FILEPAGES), 1); /* vvar is not counted */
    child = do_fork(v.cpu, 2);
    assert_int_equal(get_mm_counter(child->mm, MM_FILEPAGES), 0); /* found again by a fault */
    assert_books(machine_check, v.m);
    task_exit(v.cpu, child);
    assert_int_equal(sys_mprotect(v.cpu, vdso, 2 * PG, RW), 0); /* a debugger's breakpoint */
    put_byte(v.cpu, vdso, 1);
    assert_int_equal(rss(v.cpu, MM_ANONPAGES), 1);
    assert_int_equal(sys_mprotect(v.cpu, vvar, PG, RW), -EACCES);
    env_end(&v);
}

/* Each allocation fails once: nothing is mapped, or all of it; the books balance. */
static void test_no_memory(void **state)
{
    static const enum device_kind kinds[] = {DEVICE_MEM, DEVICE_BUFFER, DEVICE_RING, DEVICE_WINDOW, DEVICE_ZERO};

    for (u32 k = 0; k < ARRAY_SIZE(kinds); k++) {
        bool failed = true;
        u64 nth;

        for (nth = 1; failed; nth++) {
            struct file *f;
            struct env v;
            s64 r = 0;

            env_init(&v);
            fail_arm(v.m, nth);
            f = device_open(v.cpu, kinds[k], FMODE_READ | FMODE_WRITE, PFN(HOLE >> PAGE_SHIFT), 16);
            if (!IS_ERR(f)) {
                r = sys_mmap(v.cpu, BASE, 8 * PG, RW, SH, f, kinds[k] == DEVICE_MEM ? HOLE : 0);
                fput(v.cpu, f);
            }
            failed = fail_injected(v.m);
            assert_true(IS_ERR(f) || r == (s64)BASE || r == -ENOMEM);
            assert_int_equal(v.cpu->current->mm->map_count, !IS_ERR(f) && r == (s64)BASE);
            assert_int_equal(v.m->cache->nr_inodes, v.cpu->current->mm->map_count);
            assert_books(machine_check, v.m);
            env_end(&v);
            assert_true(nth < 100);
        }
        assert_true(nth > 4);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mem),    cmocka_unit_test(test_mem_private), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_window), cmocka_unit_test(test_buffer),      cmocka_unit_test(test_ring),
        cmocka_unit_test(test_zero),   cmocka_unit_test(test_special),     cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
