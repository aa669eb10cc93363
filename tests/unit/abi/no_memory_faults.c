/* SPDX-License-Identifier: MIT */
/*
 * Every fault without memory, whoever takes it: each kind of memory that a page has to be made for, touched in each way
 * there is, with the first, the second ... allocation failing until none is left to fail.
 *
 *                     access  madvise  mlock  mlockall  mmap  mremap  mprotect  brk  remap_file_pages  vectors  pins
 *   anonymous           ×        ×       ×       ×       ×      ×        ×       ×                        ×       ×
 *   zero page, COW      ×        ×       ×       ×                       ×                                ×       ×
 *   a file's, cold      ×        ×       ×       ×       ×      ×        ×              ×                 ×       ×
 *   ...                    (a way that a kind does not have is passed over)
 *
 * A touch that fails leaves the mappings as they were, and of one page no page table's entry and no count of one either;
 * the books are right, and done again it succeeds.
 */
#include "tests/unit/abi/no_memory.h"

#include "abi/abi.h"
#include "cache/device.h"
#include "cache/sysv_shm.h"
#include "vm/gup.h"

#define PAGES 4u
#define AREA (BASE + 0x40000000ul) /* in tables of its own */
#define OTHER (BASE + 0x60000000ul)
#define PAE_AREA (BASE + 0x4000000ul)
#define HUGE 0x200000ul
#define HOLE 0xe0000ul /* below 1 MiB: no RAM on a PC */
#define MCL_CURRENT_NOW 1u
#define MCL_TO_COME 2u
#define SH (MAP_SHARED_ | MAP_FIXED_)
#define PR (MAP_PRIVATE_ | MAP_FIXED_)
#define RX (PROT_READ_ | PROT_EXEC_)

enum object { ANON, DISK, MEMFD, SEGMENT, HUGE_ANON, HUGE_SEGMENT, WINDOW, VDSO, VVAR };
enum before { UNTOUCHED, CACHED /* its pages, but no table */, READ_BEFORE, FORKED /* and written before */ };

struct kind {
    const char *name;
    enum object object;
    u32 prot, flags;
    enum fault_access access;
    enum before before;
};

static const struct kind kinds[] = {
    {"anonymous, read", ANON, RW, ANON_PRIVATE, ACCESS_READ, UNTOUCHED},
    {"anonymous, write", ANON, RW, ANON_PRIVATE, ACCESS_WRITE, UNTOUCHED},
    {"zero page, write", ANON, RW, ANON_PRIVATE, ACCESS_WRITE, READ_BEFORE},
    {"anonymous, shared by fork", ANON, RW, ANON_PRIVATE, ACCESS_WRITE, FORKED},
    {"private file, read", DISK, RW, PR, ACCESS_READ, UNTOUCHED},
    {"private file, cached, read", DISK, RW, PR, ACCESS_READ, CACHED},
    {"private file, exec", DISK, RX, PR, ACCESS_EXEC, UNTOUCHED},
    {"private file, write", DISK, RW, PR, ACCESS_WRITE, UNTOUCHED},
    {"private file, cached, write", DISK, RW, PR, ACCESS_WRITE, CACHED},
    {"private file, write after read", DISK, RW, PR, ACCESS_WRITE, READ_BEFORE},
    {"private file, shared by fork", DISK, RW, PR, ACCESS_WRITE, FORKED},
    {"shared file, read", DISK, PROT_READ_, SH, ACCESS_READ, UNTOUCHED},
    {"shared file, cached, read", DISK, RW, SH, ACCESS_READ, CACHED},
    {"shared file, write", DISK, RW, SH, ACCESS_WRITE, UNTOUCHED},
    {"shared file, write after read", DISK, RW, SH, ACCESS_WRITE, READ_BEFORE},
    {"private memfd, read", MEMFD, RW, PR, ACCESS_READ, UNTOUCHED},
    {"private memfd, write", MEMFD, RW, PR, ACCESS_WRITE, UNTOUCHED},
    {"private memfd, cached, write", MEMFD, RW, PR, ACCESS_WRITE, CACHED},
    {"shared memfd, read", MEMFD, RW, SH, ACCESS_READ, UNTOUCHED},
    {"shared memfd, cached, read", MEMFD, RW, SH, ACCESS_READ, CACHED},
    {"shared memfd, write", MEMFD, RW, SH, ACCESS_WRITE, UNTOUCHED},
    {"shared memfd, cached, write", MEMFD, RW, SH, ACCESS_WRITE, CACHED},
    {"segment, read", SEGMENT, RW, SH, ACCESS_READ, UNTOUCHED},
    {"segment, write", SEGMENT, RW, SH, ACCESS_WRITE, UNTOUCHED},
    {"huge pages", HUGE_ANON, RW, ANON_PRIVATE | MAP_HUGETLB_ | MAP_NORESERVE_, ACCESS_READ, UNTOUCHED},
    {"huge pages, write", HUGE_ANON, RW, ANON_PRIVATE | MAP_HUGETLB_ | MAP_NORESERVE_, ACCESS_WRITE, UNTOUCHED},
    {"a segment of huge pages", HUGE_SEGMENT, RW, SH, ACCESS_READ, UNTOUCHED},
    {"device memory", WINDOW, RW, SH, ACCESS_WRITE, UNTOUCHED},
    {"device memory, read", WINDOW, RW, SH, ACCESS_READ, UNTOUCHED},
    {"vdso", VDSO, RX, PR, ACCESS_EXEC, UNTOUCHED},
    {"vvar", VVAR, PROT_READ_, PR, ACCESS_READ, UNTOUCHED},
};

struct place {
    struct env e;
    const struct kind *k;
    struct task *child;
    struct file *file;
    va_t area;
    u64 inode;
    s32 shmid;
};

/* Where one page and no more is touched, nothing at all is left behind by a failure. */
enum extent { ONE_PAGE, SEVERAL };

struct way {
    const char *name;
    s64 (*touch)(struct place *p);
    void (*prepare)(struct place *p);  /* after the mapping is made; NULL: nothing */
    bool (*has)(const struct kind *k); /* NULL: every kind */
    enum extent extent;
};

static u64 area_len(const struct place *p)
{
    return p->k->object == HUGE_ANON || p->k->object == HUGE_SEGMENT ? HUGE : PAGES * PG;
}

/* -- the mapping --------------------------------------------------------------------------------------------------- */

static struct file *open_object(struct place *p)
{
    struct cpu *cpu = p->e.cpu;
    struct file *f = NULL;

    switch (p->k->object) {
    case DISK:
        f = file_open(cpu, 1, ++p->inode, 8 * PG, FMODE_READ | FMODE_WRITE | FMODE_EXEC, "/data");
        inode_set_linked(cpu, f->f_inode, INODE_HAS_NO_NAME);
        break;
    case MEMFD:
        f = memfd_create_file(cpu, "memfd:m", MEMFD_EXEC, 0);
        inode_set_size(cpu, f->f_inode, 8 * PG);
        break;
    case WINDOW:
        f = device_open(cpu, DEVICE_WINDOW, FMODE_READ | FMODE_WRITE, PFN(HOLE >> PAGE_SHIFT), 8);
        break;
    default:
        break;
    }
    assert_false(IS_ERR(f));
    return f;
}

static s64 map_object(struct place *p, u32 flags, u64 len)
{
    return sys_mmap(p->e.cpu, p->area, len, p->k->prot, p->k->flags | flags, p->file, 0);
}

static void attach_segment(struct place *p)
{
    u64 flags = 01600 | (p->k->object == HUGE_SEGMENT ? 04000 | 010000 : 0);
    struct abi_call get = {.nr = ABI_shmget, .arg = {0, area_len(p), flags}}, at = {.nr = ABI_shmat};

    p->shmid = (s32)abi_syscall(p->e.cpu, &get);
    assert_true(p->shmid >= 0);
    at.arg[0] = (u64)p->shmid;
    at.arg[1] = p->area;
    assert_int_equal(abi_syscall(p->e.cpu, &at), p->area);
}

static void map_area(struct place *p)
{
    enum special_kind special = p->k->object == VDSO ? SPECIAL_VDSO : SPECIAL_VVAR;

    switch (p->k->object) {
    case SEGMENT:
    case HUGE_SEGMENT:
        attach_segment(p);
        break;
    case VDSO:
    case VVAR:
        assert_int_equal(install_special_mapping(p->e.cpu, p->e.t->mm, p->area, PAGES * PG, special), 0);
        break;
    default:
        assert_int_equal(map_object(p, 0, area_len(p)), p->area);
    }
}

static void touch_before(struct place *p)
{
    struct cpu *cpu = p->e.cpu;

    switch (p->k->before) {
    case UNTOUCHED:
        break;
    case CACHED:
        for (u32 i = 0; i < PAGES; i++)
            assert_int_equal(file_pwrite(cpu, p->file, "byte", 4, (s64)i * (s64)PG), 4);
        break;
    case READ_BEFORE:
        touch_range(cpu, p->area, PAGES, ACCESS_READ);
        break;
    case FORKED:
        touch_range(cpu, p->area, PAGES, ACCESS_WRITE);
        break;
    }
}

static void begin(struct place *p, const struct way *way)
{
    p->e.t = test_task(p->e.cpu, 100);
    task_set_caps(p->e.t, CAP_FULL_SET);
    p->shmid = -1;
    p->child = NULL;
    p->area = p->e.m->config.pt_format == PT_X86_PAE ? PAE_AREA : AREA;
    p->file = open_object(p);
    map_area(p);
    touch_before(p);
    if (p->k->before == FORKED)
        p->child = do_fork(p->e.cpu, 101);
    if (way->prepare)
        way->prepare(p);
}

static void end(struct place *p)
{
    struct cpu *cpu = p->e.cpu;
    struct abi_call remove = {.nr = ABI_shmctl, .arg = {(u64)p->shmid}};

    cpu->current = p->e.t;
    if (p->shmid >= 0)
        assert_int_equal(abi_syscall(cpu, &remove), 0);
    switch_mm(cpu, NULL);
    if (p->child)
        task_exit(cpu, p->child);
    task_exit(cpu, p->e.t);
    cpu->current = NULL;
    if (p->file)
        fput(cpu, p->file);
    device_release(cpu, &p->e.m->cache->special); /* vdso and vvar are made anew */
}

/* -- who has which way --------------------------------------------------------------------------------------------- */

static bool is_huge(const struct kind *k)
{
    return k->object == HUGE_ANON || k->object == HUGE_SEGMENT;
}

static bool huge_anonymous(const struct kind *k)
{
    return k->object == HUGE_ANON;
}

static bool populated(const struct kind *k)
{
    return k->object != WINDOW && k->object != VVAR && k->access != ACCESS_EXEC;
}

/* What is mapped anew, or grows, was not touched before. */
static bool mapped_anew(const struct kind *k)
{
    return k->object <= MEMFD && k->access != ACCESS_EXEC && (k->before == UNTOUCHED || k->before == CACHED);
}

static bool becomes_writable(const struct kind *k)
{
    return k->object <= MEMFD && !(k->flags & MAP_SHARED_) && k->access == ACCESS_WRITE;
}

static bool file_pages(const struct kind *k)
{
    return (k->object == DISK || k->object == MEMFD || k->object == SEGMENT || k->object == HUGE_SEGMENT) &&
           (k->flags & MAP_SHARED_) && k->before != READ_BEFORE;
}

static bool is_new_anonymous(const struct kind *k)
{
    return k->object == ANON && k->before == UNTOUCHED;
}

static bool new_on_disk(const struct kind *k)
{
    return k->object == DISK && k->before == UNTOUCHED;
}

/* -- the ways ------------------------------------------------------------------------------------------------------ */

/* -ENOMEM stands for SIGKILL. */
static s64 by_access(struct place *p)
{
    int signo = do_access(p->e.cpu, p->area + PG, p->k->access).signo;

    return signo == 9 ? -ENOMEM : -signo;
}

static int populate_advice(const struct place *p)
{
    return p->k->access == ACCESS_WRITE ? 23 : 22;
}

static s64 by_madvise(struct place *p)
{
    return sys_madvise(p->e.cpu, p->area, area_len(p), populate_advice(p));
}

static s64 advise_self(struct place *p, int advice)
{
    u64 iov[2] = {p->area, area_len(p)};
    struct abi_call c = {
        .nr = ABI_process_madvise, .arg = {9, 1, 1, (u64)advice}, .target = p->e.t, .in[1] = {iov, sizeof(iov)}};

    return abi_syscall(p->e.cpu, &c);
}

static s64 by_process_madvise(struct place *p)
{
    return advise_self(p, populate_advice(p));
}

static s64 by_willneed(struct place *p)
{
    return sys_madvise(p->e.cpu, p->area, area_len(p), 3);
}

static s64 by_process_willneed(struct place *p)
{
    return advise_self(p, 3);
}

static s64 by_pread(struct place *p)
{
    static char bytes[PAGES * PG];
    s64 ret = file_pread(p->e.cpu, p->file, bytes, sizeof(bytes), 0);

    return ret == sizeof(bytes) ? 0 : -ENOMEM;
}

static s64 by_mlock(struct place *p)
{
    return sys_mlock(p->e.cpu, p->area, area_len(p));
}

static s64 by_mlock2(struct place *p)
{
    return sys_mlock2(p->e.cpu, p->area, area_len(p), 0);
}

static s64 by_mlockall(struct place *p)
{
    return sys_mlockall(p->e.cpu, MCL_CURRENT_NOW);
}

static s64 by_mmap(struct place *p)
{
    return map_object(p, MAP_POPULATE_, area_len(p));
}

static s64 by_mmap_locked(struct place *p)
{
    return map_object(p, MAP_LOCKED_, area_len(p));
}

/* Two pages are there and locked, two come. */
static void prepare_grow(struct place *p)
{
    assert_int_equal(sys_munmap(p->e.cpu, p->area, PAGES * PG), 0);
    assert_int_equal(map_object(p, MAP_LOCKED_, 2 * PG), p->area);
}

/* Two pages are locked, but could not be had: what grows makes the mapping's first page. */
static void prepare_grow_empty(struct place *p)
{
    assert_int_equal(sys_munmap(p->e.cpu, p->area, PAGES * PG), 0);
    assert_int_equal(map_object(p, 0, 2 * PG), p->area);
    fail_arm(p->e.m, 1);
    sys_mlock(p->e.cpu, p->area, 2 * PG); /* but for files in the cache: what was read ahead can be done without */
    assert_true(fail_injected(p->e.m));
}

static s64 by_mremap(struct place *p)
{
    return sys_mremap(p->e.cpu, p->area, 2 * PG, PAGES * PG, 0, 0);
}

/* Locked, but not to be touched yet. */
static void prepare_protect(struct place *p)
{
    bool write_after_read = p->k->before == READ_BEFORE || p->k->before == FORKED;

    assert_int_equal(sys_mprotect(p->e.cpu, p->area, PAGES * PG, write_after_read ? PROT_READ_ : 0), 0);
    sys_mlock(p->e.cpu, p->area, PAGES * PG);
}

static s64 by_mprotect(struct place *p)
{
    return sys_mprotect(p->e.cpu, p->area, PAGES * PG, RW);
}

static s64 by_pkey_mprotect(struct place *p)
{
    return sys_pkey_mprotect(p->e.cpu, p->area, PAGES * PG, RW, -1);
}

static void prepare_brk(struct place *p)
{
    struct mm_map map = {0};

    for (u32 i = 0; i < NR_PRCTL_MM_ADDRESSES; i++)
        (&map.start_code)[i] = p->area;
    map.start_brk = map.brk = OTHER;
    if (p->e.m->config.pt_format == PT_X86_PAE)
        map.start_brk = map.brk = p->area + HUGE;
    set_prctl_map(p->e.t->mm, &map);
    assert_int_equal(sys_mlockall(p->e.cpu, MCL_TO_COME), 0);
}

static s64 by_brk(struct place *p)
{
    va_t brk = p->e.t->mm->start_brk + PAGES * PG;

    return sys_brk(p->e.cpu, brk) == (s64)brk ? 0 : -ENOMEM;
}

static s64 by_remap_file_pages(struct place *p)
{
    bool huge = is_huge(p->k);

    return sys_remap_file_pages(p->e.cpu, p->area, huge ? HUGE : PG, 0, huge ? 0 : 2, 0);
}

/* The pages are those of a child that has touched none, or read them. */
static void prepare_vectors(struct place *p)
{
    if (!p->child)
        p->child = do_fork(p->e.cpu, 101);
    if (p->k->before == READ_BEFORE) {
        p->e.cpu->current = p->child;
        switch_mm(p->e.cpu, p->child->mm);
        touch_range(p->e.cpu, p->area, PAGES, ACCESS_READ);
        p->e.cpu->current = p->e.t;
        switch_mm(p->e.cpu, p->e.t->mm);
    }
    map_at(p->e.cpu, BASE, PAGES, RW, ANON_PRIVATE, NULL, 0);
    touch_range(p->e.cpu, BASE, PAGES, ACCESS_WRITE);
}

static s64 by_vectors(struct place *p)
{
    u64 local[2] = {BASE, PAGES * PG}, remote[2] = {p->area, PAGES * PG};
    struct abi_call c = {.nr = p->k->access == ACCESS_WRITE ? ABI_process_vm_writev : ABI_process_vm_readv,
                         .arg = {101, 1, 1, 1, 1},
                         .target = p->child,
                         .in[1] = {local, sizeof(local)},
                         .in[3] = {remote, sizeof(remote)}};
    s64 ret = abi_syscall(p->e.cpu, &c);

    return ret >= 0 && ret < (s64)(PAGES * PG) ? -ENOMEM : ret; /* what was there, and no more */
}

enum pin_how { PIN_SLOW, PIN_FAST };

static s64 pin(struct place *p, enum pin_how how) NO_LOCK_ANALYSIS
{
    u32 flags = p->k->access == ACCESS_WRITE ? FOLL_WRITE : 0;
    struct rw_semaphore *lock = &p->e.t->mm->mmap_lock;
    struct page *pages[PAGES];
    s64 got;

    if (how == PIN_FAST) {
        got = pin_user_pages_fast(p->e.cpu, p->area, PAGES, flags, pages);
    } else {
        down_read(p->e.cpu, lock);
        got = pin_user_pages(p->e.cpu, p->area, PAGES, flags, pages);
        up_read(p->e.cpu, lock);
    }
    if (got > 0)
        unpin_user_pages(p->e.cpu, pages, (u64)got, UNPIN_CLEAN);
    return got >= 0 && got < (s64)PAGES ? -ENOMEM : got;
}

static s64 by_pins(struct place *p)
{
    return pin(p, PIN_SLOW);
}

static s64 by_fast_pins(struct place *p)
{
    return pin(p, PIN_FAST);
}

static const struct way ways[] = {
    {"access", by_access, NULL, NULL, ONE_PAGE},
    {"madvise", by_madvise, NULL, populated, SEVERAL},
    {"process_madvise", by_process_madvise, NULL, populated, SEVERAL},
    {"WILLNEED", by_willneed, NULL, new_on_disk, SEVERAL},
    {"WILLNEED by process_madvise", by_process_willneed, NULL, new_on_disk, SEVERAL},
    {"pread", by_pread, NULL, new_on_disk, SEVERAL},
    {"mlock", by_mlock, NULL, NULL, SEVERAL},
    {"mlock2", by_mlock2, NULL, NULL, SEVERAL},
    {"mlockall", by_mlockall, NULL, NULL, SEVERAL},
    {"mmap populated", by_mmap, NULL, mapped_anew, SEVERAL},
    {"mmap populated, huge", by_mmap, NULL, huge_anonymous, SEVERAL},
    {"mmap locked", by_mmap_locked, NULL, mapped_anew, SEVERAL},
    {"mremap", by_mremap, prepare_grow, mapped_anew, SEVERAL},
    {"mremap, nothing there", by_mremap, prepare_grow_empty, mapped_anew, SEVERAL},
    {"mprotect", by_mprotect, prepare_protect, becomes_writable, SEVERAL},
    {"pkey_mprotect", by_pkey_mprotect, prepare_protect, becomes_writable, SEVERAL},
    {"brk", by_brk, prepare_brk, is_new_anonymous, SEVERAL},
    {"remap_file_pages", by_remap_file_pages, NULL, file_pages, SEVERAL},
    {"process_vm_readv, _writev", by_vectors, prepare_vectors, populated, SEVERAL},
    {"pins", by_pins, NULL, populated, SEVERAL},
    {"fast pins", by_fast_pins, NULL, populated, SEVERAL},
};

/* -- all together -------------------------------------------------------------------------------------------------- */

static void look(struct place *p, const struct way *way, struct snapshot *s)
{
    struct machine *m = p->e.m;

    s->len = 0;
    append_task(p->e.cpu, p->e.t, s);
    append_number(s, "committed", (u64)atomic_load(&m->vm->vm_committed_as));
    append_number(s, "files", atomic_load(&m->cache->nr_files));
    append_number(s, "inodes", m->cache->nr_inodes);
    if (way->extent == SEVERAL)
        return;
    append_number(s, "rss", (u64)get_mm_rss(p->e.t->mm));
    append_number(s, "faults", p->e.t->mm->min_flt + p->e.t->mm->maj_flt);
    append_number(s, "entry", pte_at(p->e.cpu, p->area + PG).v);
}

/* The call does not tell that memory was wanting, but goes on with less; or it changes rights and locks first. */
static bool is_silent(const struct way *way)
{
    return way->touch == by_mlockall || way->touch == by_mmap || way->touch == by_mmap_locked ||
           way->touch == by_mremap || way->touch == by_mprotect || way->touch == by_pkey_mprotect ||
           way->touch == by_brk || way->touch == by_remap_file_pages;
}

/* There are no huge pages: SIGBUS; and theirs cannot be split. */
static bool is_refused(const struct place *p, s64 ret)
{
    return is_huge(p->k) && (ret == -7 || ret == -EFAULT || ret == -ENOMEM || ret == -EINVAL);
}

static bool try_one(struct place *p, const struct way *way, u64 nth)
{
    static struct snapshot before, after;
    bool failed;
    s64 ret;

    begin(p, way);
    look(p, way, &before);
    fail_arm(p->e.m, nth);
    ret = way->touch(p);
    failed = fail_injected(p->e.m);
    if (ret < 0 && !is_refused(p, ret)) {
        if (!failed || (ret != -ENOMEM && ret != -EAGAIN && ret != -EFAULT))
            fail_msg("%s by %s, allocation %llu: %lld", p->k->name, way->name, (unsigned long long)nth, (long long)ret);
        look(p, way, &after);
        if (!is_silent(way) && way->touch != by_mlock && way->touch != by_mlock2 && strcmp(before.text, after.text))
            fail_msg("%s by %s, allocation %llu, from\n%s\nto\n%s", p->k->name, way->name, (unsigned long long)nth,
                     before.text, after.text);
        assert_books(machine_check, p->e.m);
        ret = way->touch(p);
        if (ret < 0 && !is_refused(p, ret))
            fail_msg("%s by %s again after allocation %llu failed: %lld", p->k->name, way->name,
                     (unsigned long long)nth, (long long)ret);
    }
    assert_books(machine_check, p->e.m);
    end(p);
    assert_books(machine_check, p->e.m);
    return failed;
}

static void run_all(enum pt_format_id format, bool warm)
{
    struct place p = {0};
    struct machine_config c;

    test_config_of(&c, format, 256ul << 20, 1);
    c.page_cache_warm = warm;
    env_init_config(&p.e, &c);
    switch_mm(p.e.cpu, NULL);
    task_exit(p.e.cpu, p.e.t);
    p.e.m->fail.not_slabs = true;
    for (u32 i = 0; i < ARRAY_SIZE(kinds); i++)
        for (u32 j = 0; j < ARRAY_SIZE(ways); j++) {
            p.k = &kinds[i];
            if (ways[j].has && !ways[j].has(p.k))
                continue;
            for (u64 nth = 1; try_one(&p, &ways[j], nth); nth++)
                ;
        }
    p.e.t = test_task(p.e.cpu, 100);
    env_end(&p.e);
}

static void every_fault_cold(void **state)
{
    run_all(PT_X86_64_4L, false);
}

static void every_fault_warm(void **state)
{
    run_all(PT_X86_64_4L, true);
}

static void every_fault_with_other_tables(void **state)
{
    run_all(PT_X86_PAE, false);
    run_all(PT_ARM64_4K, true);
    run_all(PT_RISCV_SV39, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_fault_cold),
        cmocka_unit_test(every_fault_warm),
        cmocka_unit_test(every_fault_with_other_tables),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
