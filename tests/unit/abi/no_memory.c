/* SPDX-License-Identifier: MIT */
/*
 * Every call without memory: its first allocation fails, then its second, until none is left to fail. A call that fails
 * leaves mappings, limits, counters and objects as they were, or, where it goes through a range and stops midway as
 * Linux does, at least the books in order; and done again it succeeds, as if nothing had been.
 *
 * no_memory_faults.c has the faults. Two allocations fail nowhere, of all that the calls come by:
 *   execve, the index's node for vdso and vvar   the segments of the program and of its loader alone must fill a node
 *   mmap, populated, of a SysV segment's file    no process has a descriptor for it, only the fuzzer
 *
 * Pages from BASE:  0 anonymous 16  32 file 40  48 private file 56  64 memfd 72  96 segment 104
 * 300 heap 304, its last page cannot be written to  1000 stack 1002
 * 1400 untouched stack 1402  1600 untouched 1604
 * Pairs, the second touched, that would be one but for: 520 DONTDUMP 528  540 locked 548  560 the first locked on
 * fault 568  580 read only 588  600 a hole between 612
 * 620 touched 624 sealed 626  640 locked 648
 * The others are touched; a child of a fork shares them.
 */
#include "tests/unit/abi/no_memory.h"

#include "abi/abi.h"
#include "cache/device.h"
#include "vm/madvise.h"

#define AT(page) (BASE + (u64)(page)*PG)
#define NAMED_LONG "a name that is as long as names of mappings may be, which is eighty bytes with the 0"

struct world {
    struct env e;
    struct task *child;
    struct file *disk, *memfd, *result;
    s32 shmid, new_shmid;
    u32 crowd; /* further mappings: how full the nodes of the index are */
};

/* What a failing call may leave behind. */
enum leaves {
    AS_IT_WAS,
    WHAT_IS_DONE,
    MOVED_IN_PART, /* and cannot be done again */
    REFUSED        /* nor at all: a mapping behind the first is sealed */
};

struct scenario {
    const char *name;
    s64 (*act)(struct world *w, const struct scenario *s); /* NULL: the call */
    enum abi_nr nr;
    u64 arg[6];
    enum leaves leaves;
    enum { NO_FILE, DISK, MEMFD } file;
};

/* -- what is compared ---------------------------------------------------------------------------------------------- */

static void look(struct world *w, struct snapshot *s)
{
    const struct machine *m = w->e.m;

    s->len = 0;
    append_task(w->e.cpu, w->e.t, s);
    append_task(w->e.cpu, w->child, s);
    append_number(s, "committed", (u64)atomic_load(&m->vm->vm_committed_as));
    append_number(s, "files", atomic_load(&m->cache->nr_files));
    append_number(s, "inodes", m->cache->nr_inodes);
    append_number(s, "segments", m->cache->shm.in_use);
    append_number(s, "disk", w->disk->f_inode->i_size);
    append_number(s, "memfd", w->memfd->f_inode->i_size);
    append_number(s, "seals", (u64)memfd_get_seals(w->memfd));
}

/* -- the world ----------------------------------------------------------------------------------------------------- */

/* The second's pages come last: what has pages of its own on one side only could be one mapping. */
static void map_pairs(struct world *w)
{
    struct cpu *cpu = w->e.cpu;

    map_at(cpu, AT(520), 8, RW, ANON_PRIVATE, NULL, 0);
    assert_int_equal(sys_madvise(cpu, AT(524), 4 * PG, 16 /* DONTDUMP */), 0);
    map_at(cpu, AT(540), 8, RW, ANON_PRIVATE, NULL, 0);
    assert_int_equal(sys_mlock(cpu, AT(544), 4 * PG), 0);
    map_at(cpu, AT(560), 8, RW, ANON_PRIVATE, NULL, 0);
    assert_int_equal(sys_mlock2(cpu, AT(560), 4 * PG, 1), 0);
    map_at(cpu, AT(584), 4, RW, ANON_PRIVATE, NULL, 0);
    touch_range(cpu, AT(584), 4, ACCESS_WRITE);
    assert_int_equal(sys_mprotect(cpu, AT(584), 4 * PG, PROT_READ_), 0);
    map_at(cpu, AT(580), 4, RW, ANON_PRIVATE, NULL, 0);
    map_at(cpu, AT(600), 4, RW, ANON_PRIVATE, NULL, 0);
    map_at(cpu, AT(608), 4, RW, ANON_PRIVATE, NULL, 0);
    touch_range(cpu, AT(524), 4, ACCESS_WRITE);
    touch_range(cpu, AT(564), 4, ACCESS_WRITE);
    touch_range(cpu, AT(608), 4, ACCESS_WRITE);
    map_at(cpu, AT(620), 6, RW, ANON_PRIVATE, NULL, 0);
    touch_range(cpu, AT(620), 4, ACCESS_WRITE);
    if (w->e.m->config.pt_format != PT_X86_PAE)
        assert_int_equal(sys_mseal(cpu, AT(624), 2 * PG, 0), 0);
    map_at(cpu, AT(640), 8, RW, ANON_PRIVATE, NULL, 0);
    assert_int_equal(sys_mlock(cpu, AT(640), 8 * PG), 0);
}

static void map_everything(struct world *w)
{
    struct cpu *cpu = w->e.cpu;
    struct abi_call get = {.nr = ABI_shmget, .arg = {0, 8 * PG, 01600}}, at = {.nr = ABI_shmat};
    struct mm_map map;

    map_at(cpu, AT(0), 16, RW, ANON_PRIVATE, NULL, 0);
    map_at(cpu, AT(32), 8, RW, MAP_SHARED_ | MAP_FIXED_, w->disk, 0);
    map_at(cpu, AT(48), 8, RW, MAP_PRIVATE_ | MAP_FIXED_, w->disk, 20 * PG);
    map_at(cpu, AT(64), 8, RW, MAP_SHARED_ | MAP_FIXED_, w->memfd, 0);
    map_at(cpu, AT(1600), 4, RW, ANON_PRIVATE, NULL, 0);
    map_at(cpu, AT(1400), 2, RW, ANON_PRIVATE | MAP_GROWSDOWN_, NULL, 0);
    for (u32 i = 0; i < w->crowd; i++)
        map_at(cpu, AT(3000 + 2 * i), 1, RW, ANON_PRIVATE, NULL, 0);
    map_at(cpu, AT(1000), 2, RW, ANON_PRIVATE | MAP_GROWSDOWN_, NULL, 0);
    w->shmid = (s32)abi_syscall(cpu, &get);
    assert_true(w->shmid >= 0);
    at.arg[0] = (u64)w->shmid;
    at.arg[1] = AT(96);
    assert_int_equal(abi_syscall(cpu, &at), AT(96));
    touch_range(cpu, AT(0), 16, ACCESS_WRITE);
    touch_range(cpu, AT(32), 8, ACCESS_WRITE);
    touch_range(cpu, AT(48), 4, ACCESS_WRITE);
    touch_range(cpu, AT(64), 8, ACCESS_WRITE);
    touch_range(cpu, AT(96), 4, ACCESS_WRITE);
    touch_range(cpu, AT(1000), 2, ACCESS_WRITE);
    for (u32 i = 0; i < NR_PRCTL_MM_ADDRESSES; i++)
        (&map.start_code)[i] = AT(0) + i;
    map.start_brk = map.brk = AT(300);
    set_prctl_map(w->e.t->mm, &map);
    assert_int_equal(sys_brk(cpu, AT(304)), AT(304));
    assert_int_equal(sys_mprotect(cpu, AT(303), PG, PROT_READ_), 0);
    map_pairs(w);
}

static void world_begin(struct world *w)
{
    struct cpu *cpu = w->e.cpu;

    w->e.t = test_task(cpu, 100);
    task_set_caps(w->e.t, CAP_FULL_SET);
    w->disk = file_open(cpu, 1, 1, 40 * PG, FMODE_READ | FMODE_WRITE | FMODE_EXEC, "/data");
    assert_false(IS_ERR(w->disk));
    inode_set_size(cpu, w->disk->f_inode, 40 * PG); /* as an earlier scenario left it */
    w->memfd = memfd_create_file(cpu, "memfd:m", MEMFD_SEALABLE | MEMFD_EXEC, 0);
    assert_false(IS_ERR(w->memfd));
    inode_set_size(cpu, w->memfd->f_inode, 16 * PG);
    w->result = NULL;
    w->new_shmid = -1;
    map_everything(w);
    w->child = do_fork(cpu, 101);
    touch_range(cpu, AT(0), 2, ACCESS_WRITE);
}

static void remove_segment(struct world *w, s32 id)
{
    struct abi_call c = {.nr = ABI_shmctl, .arg = {(u64)id, 0 /* IPC_RMID */}};

    if (id >= 0)
        abi_syscall(w->e.cpu, &c);
}

static void world_end(struct world *w)
{
    struct cpu *cpu = w->e.cpu;

    cpu->current = w->e.t;
    remove_segment(w, w->shmid);
    remove_segment(w, w->new_shmid);
    switch_mm(cpu, NULL);
    task_exit(cpu, w->child);
    task_exit(cpu, w->e.t);
    cpu->current = NULL;
    fput(cpu, w->disk);
    fput(cpu, w->memfd);
    if (w->result)
        fput(cpu, w->result);
}

/* -- acts ---------------------------------------------------------------------------------------------------------- */

static s64 do_call(struct world *w, struct abi_call *c, const struct scenario *s)
{
    s64 ret;

    c->nr = s->nr;
    memcpy(c->arg, s->arg, sizeof(c->arg));
    c->file = s->file == DISK ? w->disk : s->file == MEMFD ? w->memfd : NULL;
    c->target = w->child;
    ret = abi_syscall(w->e.cpu, c);
    if (c->new_file)
        w->result = c->new_file;
    return ret;
}

static s64 make_call(struct world *w, const struct scenario *s)
{
    struct abi_call c = {0};

    return do_call(w, &c, s);
}

static s64 get_segment(struct world *w, const struct scenario *s)
{
    s64 ret = make_call(w, s);

    w->new_shmid = (s32)ret;
    return ret;
}

static s64 with_segment(struct world *w, const struct scenario *s)
{
    struct scenario with = *s;

    with.arg[0] = (u64)w->shmid;
    return make_call(w, &with);
}

/* Twelve pieces, more than fit on the stack, the last longer than what is pinned at once without allocating. */
static s64 with_vectors(struct world *w, const struct scenario *s)
{
    u64 iov[12][2];
    struct abi_call c = {0};

    for (u32 i = 0; i < 12; i++) {
        iov[i][0] = AT(i);
        iov[i][1] = s->nr == ABI_process_madvise ? PG : 100;
    }
    if (s->nr != ABI_process_madvise)
        iov[11][1] = 40 * PG;
    c.in[1] = c.in[3] = (struct abi_buf){iov, sizeof(iov)};
    return do_call(w, &c, s);
}

/* arg: page, pages, advice: process_madvise of the process itself. */
static s64 advise_self(struct world *w, const struct scenario *s)
{
    u64 iov[2] = {AT(s->arg[0]), s->arg[1] * PG};
    struct abi_call c = {
        .nr = ABI_process_madvise, .arg = {9, 1, 1, s->arg[2]}, .target = w->e.t, .in[1] = {iov, sizeof(iov)}};

    return abi_syscall(w->e.cpu, &c);
}

static s64 with_name(struct world *w, const struct scenario *s)
{
    char name[] = NAMED_LONG;
    struct abi_call c = {0};

    name[79] = '\0';
    c.in[s->nr == ABI_prctl ? 4 : 0] = (struct abi_buf){name, sizeof(name)};
    return do_call(w, &c, s);
}

static s64 with_map(struct world *w, const struct scenario *s)
{
    struct {
        struct mm_map map;
        u64 auxv[4];
    } b = {.auxv = {6, PG}};
    struct abi_call c = {.in[2] = {&b, sizeof(b)}};

    for (u32 i = 0; i < NR_PRCTL_MM_ADDRESSES; i++)
        (&b.map.start_code)[i] = AT(0) + i;
    b.map.start_brk = b.map.brk = AT(300);
    b.map.auxv = AT(0);
    b.map.auxv_size = sizeof(b.auxv);
    b.map.exe_fd = 3;
    return do_call(w, &c, s);
}

static s64 with_limit(struct world *w, const struct scenario *s)
{
    u64 limit[2] = {1ul << 30, 1ul << 40};
    struct abi_call c = {0};

    c.in[s->nr == ABI_setrlimit ? 1 : 2] = (struct abi_buf){limit, sizeof(limit)};
    return do_call(w, &c, s);
}

/* arg: flags. The new task goes again. */
static s64 clone_task(struct world *w, const struct scenario *s)
{
    struct task *t = kernel_clone(w->e.cpu, s->arg[0], 102, s->arg[0] & CLONE_THREAD_ ? 100 : 102);

    if (IS_ERR(t))
        return PTR_ERR(t);
    task_exit(w->e.cpu, t);
    return 0;
}

/* arg: 0 as Linux lays it out, 1 dictated. */
static s64 exec(struct world *w, const struct scenario *s)
{
    const u64 auxv[4] = {6, PG};
    const struct exec_layout l = {.stack_size = 30000, .exe = w->disk, .comm = "next"};
    const struct exec_layout dictated = {.stack_top = AT(1000),
                                         .stack_start = AT(900),
                                         .stack_size = 70000,
                                         .stack_exec = VM_EXEC,
                                         .mmap_base = AT(800),
                                         .map = {.start_code = AT(1), .start_brk = AT(500), .brk = AT(500)},
                                         .auxv = auxv,
                                         .nr_auxv = 4,
                                         .exe = w->disk,
                                         .comm = "next"};
    int err = exec_mmap(w->e.cpu, s->arg[0] ? &dictated : &l);

    switch_mm(w->e.cpu, w->e.t->mm);
    return err;
}

/* arg: page, what. -ENOMEM stands for SIGKILL, and for SIGSEGV, when a stack cannot grow. */
static s64 access_page(struct world *w, const struct scenario *s)
{
    struct fault_info fi = do_access(w->e.cpu, AT(s->arg[0]), (enum fault_access)s->arg[1]);

    return fi.signo == 9 || fi.signo == 11 ? -ENOMEM : -fi.signo;
}

static s64 access_new(struct world *w, const struct scenario *s)
{
    s64 ret = sys_mmap(w->e.cpu, AT(s->arg[0]), 8 * PG, RW, (u32)s->arg[2] | MAP_FIXED_, s->file ? w->disk : NULL, 0);

    return ret < 0 ? ret : access_page(w, s);
}

/* arg: page: where the bytes go, or come from */
static s64 read_file(struct world *w, const struct scenario *s)
{
    char bytes[100];
    s64 ret = file_pread(w->e.cpu, w->disk, bytes, sizeof(bytes), (s64)(s->arg[0] * PG));

    return ret < 0 ? ret : 0;
}

static s64 write_file(struct world *w, const struct scenario *s)
{
    s64 ret = file_pwrite(w->e.cpu, s->file == DISK ? w->disk : w->memfd, "bytes", 5, (s64)(s->arg[0] * PG));

    return ret < 0 ? ret : 0;
}

enum makes { A_FILE, ON_TMPFS, A_MEMFD, AN_OBJECT, A_DEVICE };

static struct file *make_file(struct cpu *cpu, enum makes what)
{
    switch (what) {
    case A_FILE:
        return file_open(cpu, 1, 99, PG, FMODE_READ, "/new");
    case ON_TMPFS:
        return tmpfs_open(cpu, 2, 99, PG, FMODE_READ, "/tmp/new");
    case A_MEMFD:
        return memfd_create_file(cpu, "memfd:new", 0, 0);
    case AN_OBJECT:
        return shmem_file_setup(cpu, "new", 4 * PG, 0);
    default:
        return device_open(cpu, DEVICE_ZERO, FMODE_READ, PFN(0), 0);
    }
}

/* arg: what front ends make without a call. It goes again. */
static s64 make_new(struct world *w, const struct scenario *s)
{
    struct file *f = make_file(w->e.cpu, (enum makes)s->arg[0]);

    if (IS_ERR(f))
        return PTR_ERR(f);
    if (s->arg[0] <= ON_TMPFS)
        inode_set_linked(w->e.cpu, f->f_inode, INODE_HAS_NO_NAME);
    fput(w->e.cpu, f);
    return 0;
}

static s64 make_process(struct world *w, const struct scenario *s)
{
    struct cpu *cpu = w->e.cpu;
    struct mm *mm = mm_alloc(cpu);
    struct task *t = mm ? task_create(cpu, 103, 103, mm) : NULL;

    if (t)
        task_exit(cpu, t);
    else if (mm)
        mmput(cpu, mm);
    return t ? 0 : -ENOMEM;
}

static s64 make_vdso(struct world *w, const struct scenario *s)
{
    return install_special_mapping(w->e.cpu, w->e.t->mm, AT(2050), 2 * PG, SPECIAL_VDSO);
}

/* arg: pages of the file from, how many */
static s64 allocate_file(struct world *w, const struct scenario *s)
{
    return vfs_fallocate(w->e.cpu, w->memfd, 0, (s64)(s->arg[0] * PG), (s64)(s->arg[1] * PG));
}

static s64 reopen_file(struct world *w, const struct scenario *s)
{
    struct file *f = file_reopen(w->e.cpu, w->disk, FMODE_READ);

    if (IS_ERR(f))
        return PTR_ERR(f);
    fput(w->e.cpu, f);
    return 0;
}

/* -- the scenarios ------------------------------------------------------------------------------------------------- */

#define ANON (MAP_PRIVATE_ | MAP_ANONYMOUS_)
#define GUARD_INSTALL 102
#define HUGETLB_ 04000

static const struct scenario scenarios[] = {
    {"mmap", NULL, ABI_mmap, {AT(20), 4 * PG, RW, ANON | MAP_FIXED_}, AS_IT_WAS, NO_FILE},
    {"mmap over the middle",
     NULL,
     ABI_mmap,
     {AT(4), 2 * PG, RW, ANON | MAP_FIXED_ | MAP_NORESERVE_},
     WHAT_IS_DONE,
     NO_FILE},
    {"mmap of a file", NULL, ABI_mmap, {AT(20), 4 * PG, RW, MAP_PRIVATE_ | MAP_FIXED_, 3, PG}, AS_IT_WAS, DISK},
    {"mmap shared",
     NULL,
     ABI_mmap,
     {AT(20), 4 * PG, RW, MAP_SHARED_ | MAP_ANONYMOUS_ | MAP_FIXED_},
     AS_IT_WAS,
     NO_FILE},
    {"mmap populated", NULL, ABI_mmap, {AT(20), 4 * PG, RW, ANON | MAP_FIXED_ | MAP_POPULATE_}, AS_IT_WAS, NO_FILE},
    {"mmap locked", NULL, ABI_mmap, {AT(20), 4 * PG, RW, ANON | MAP_FIXED_ | MAP_LOCKED_}, AS_IT_WAS, NO_FILE},
    {"mmap of huge pages",
     NULL,
     ABI_mmap,
     {AT(2560), 0x200000, RW, ANON | MAP_FIXED_ | MAP_HUGETLB_ | MAP_NORESERVE_},
     AS_IT_WAS,
     NO_FILE},
    {"munmap of the middle", NULL, ABI_munmap, {AT(4), 2 * PG}, AS_IT_WAS, NO_FILE},
    {"munmap across files", NULL, ABI_munmap, {AT(34), 34 * PG}, AS_IT_WAS, NO_FILE},
    {"mremap moves", NULL, ABI_mremap, {AT(0), 16 * PG, 40 * PG, MREMAP_MAYMOVE_}, AS_IT_WAS, NO_FILE},
    {"mremap moves a part", NULL, ABI_mremap, {AT(4), 4 * PG, 4 * PG, 3, AT(120)}, AS_IT_WAS, NO_FILE},
    {"mremap over others", NULL, ABI_mremap, {AT(4), 4 * PG, 4 * PG, 3, AT(34)}, WHAT_IS_DONE, NO_FILE},
    {"mremap of many", NULL, ABI_mremap, {AT(0), 72 * PG, 72 * PG, 3, AT(400)}, MOVED_IN_PART, NO_FILE},
    {"mremap leaves memory", NULL, ABI_mremap, {AT(4), 4 * PG, 4 * PG, 5}, AS_IT_WAS, NO_FILE},
    {"mremap shrinks", NULL, ABI_mremap, {AT(0), 16 * PG, 4 * PG, 0}, AS_IT_WAS, NO_FILE},
    {"mprotect of the middle", NULL, ABI_mprotect, {AT(4), 2 * PG, 1}, AS_IT_WAS, NO_FILE},
    {"mprotect of many", NULL, ABI_mprotect, {AT(10), 6 * PG, 0}, WHAT_IS_DONE, NO_FILE},
    {"pkey_mprotect", NULL, ABI_pkey_mprotect, {AT(4), 2 * PG, 1, ~0ul}, AS_IT_WAS, NO_FILE},
    {"brk grows", NULL, ABI_brk, {AT(310)}, AS_IT_WAS, NO_FILE},
    {"brk shrinks", NULL, ABI_brk, {AT(302)}, AS_IT_WAS, NO_FILE},
    {"remap_file_pages", NULL, ABI_remap_file_pages, {AT(66), PG, 0, 5}, WHAT_IS_DONE, NO_FILE},
    {"mseal of the middle", NULL, ABI_mseal, {AT(4), 2 * PG}, AS_IT_WAS, NO_FILE},
    {"DONTFORK", NULL, ABI_madvise, {AT(4), 2 * PG, 10}, AS_IT_WAS, NO_FILE},
    {"WIPEONFORK", NULL, ABI_madvise, {AT(4), 2 * PG, 18}, AS_IT_WAS, NO_FILE},
    {"MERGEABLE", NULL, ABI_madvise, {AT(4), 2 * PG, 12}, AS_IT_WAS, NO_FILE},
    {"HUGEPAGE", NULL, ABI_madvise, {AT(4), 2 * PG, 14}, AS_IT_WAS, NO_FILE},
    {"WILLNEED", NULL, ABI_madvise, {AT(48), 8 * PG, 3}, AS_IT_WAS, NO_FILE},
    {"POPULATE_READ", NULL, ABI_madvise, {AT(1600), 4 * PG, 22}, WHAT_IS_DONE, NO_FILE},
    {"POPULATE_WRITE", NULL, ABI_madvise, {AT(48), 8 * PG, 23}, WHAT_IS_DONE, NO_FILE},
    {"GUARD_INSTALL", NULL, ABI_madvise, {AT(1600), 4 * PG, GUARD_INSTALL}, WHAT_IS_DONE, NO_FILE},
    {"POPULATE_WRITE of new memory", NULL, ABI_madvise, {AT(1600), 4 * PG, 23}, WHAT_IS_DONE, NO_FILE},
    {"process_madvise", with_vectors, ABI_process_madvise, {9, 1, 12, 20, 0}, AS_IT_WAS, NO_FILE},
    {"mlock", NULL, ABI_mlock, {AT(1600), 2 * PG}, WHAT_IS_DONE, NO_FILE},
    {"mlock2", NULL, ABI_mlock2, {AT(4), 2 * PG, 1}, AS_IT_WAS, NO_FILE},
    {"mlockall", NULL, ABI_mlockall, {3}, WHAT_IS_DONE, NO_FILE},
    {"shmctl, lock", with_segment, ABI_shmctl, {0, 11}, AS_IT_WAS, NO_FILE},
    {"msync", NULL, ABI_msync, {AT(32), 8 * PG, 4}, AS_IT_WAS, NO_FILE},
    {"process_vm_readv", with_vectors, ABI_process_vm_readv, {101, 1, 12, 1, 12}, AS_IT_WAS, NO_FILE},
    {"process_vm_writev", with_vectors, ABI_process_vm_writev, {101, 1, 12, 1, 12}, AS_IT_WAS, NO_FILE},
    {"shmget", get_segment, ABI_shmget, {0x77, 4 * PG, 01600}, AS_IT_WAS, NO_FILE},
    {"shmget, huge", get_segment, ABI_shmget, {0x77, 0x200000, 01600 | HUGETLB_ | 010000}, AS_IT_WAS, NO_FILE},
    {"shmat", with_segment, ABI_shmat, {0, AT(120)}, AS_IT_WAS, NO_FILE},
    {"shmat over others", with_segment, ABI_shmat, {0, AT(4), 040000}, WHAT_IS_DONE, NO_FILE},
    {"memfd_create", with_name, ABI_memfd_create, {1, 3}, AS_IT_WAS, NO_FILE},
    {"memfd_create, huge", with_name, ABI_memfd_create, {1, 4}, AS_IT_WAS, NO_FILE},
    {"fallocate", NULL, ABI_fallocate, {3, 0, 6 * PG, 6 * PG}, AS_IT_WAS, MEMFD},
    {"fallocate, a range goes", NULL, ABI_fallocate, {3, 8, PG, 2 * PG}, AS_IT_WAS, DISK},
    {"fallocate, a range comes", NULL, ABI_fallocate, {3, 0x20, PG, 900 * PG}, AS_IT_WAS, DISK},
    {"a name", with_name, ABI_prctl, {0x53564d41, 0, AT(4), 2 * PG, 1}, AS_IT_WAS, NO_FILE},
    {"fork", clone_task, 0, {0}, AS_IT_WAS, NO_FILE},
    {"vfork", clone_task, 0, {CLONE_VM_ | CLONE_VFORK_}, AS_IT_WAS, NO_FILE},
    {"a thread", clone_task, 0, {CLONE_VM_ | CLONE_THREAD_}, AS_IT_WAS, NO_FILE},
    {"exec", exec, 0, {0}, AS_IT_WAS, NO_FILE},
    {"exec, dictated", exec, 0, {1}, AS_IT_WAS, NO_FILE},
    {"a store copies", access_page, 0, {6, ACCESS_WRITE}, AS_IT_WAS, NO_FILE},
    {"a store copies from a file", access_page, 0, {54, ACCESS_WRITE}, AS_IT_WAS, NO_FILE},
    {"a store, first of its table", access_page, 0, {1601, ACCESS_WRITE}, AS_IT_WAS, NO_FILE},
    {"a stack grows", access_page, 0, {990, ACCESS_WRITE}, WHAT_IS_DONE, NO_FILE},
    {"an untouched stack grows", access_page, 0, {1390, ACCESS_WRITE}, WHAT_IS_DONE, NO_FILE},
    {"a store, first of a file", access_new, 0, {2100, ACCESS_WRITE, MAP_PRIVATE_}, WHAT_IS_DONE, DISK},
    {"a load, first of a file", access_new, 0, {2100, ACCESS_READ, MAP_SHARED_}, WHAT_IS_DONE, DISK},
    {"a store to new memory", access_new, 0, {2100, ACCESS_WRITE, ANON}, WHAT_IS_DONE, NO_FILE},
    {"pread", read_file, 0, {30}, AS_IT_WAS, NO_FILE},
    {"pwrite", write_file, 0, {31}, AS_IT_WAS, DISK},
    {"pwrite to a memfd", write_file, 0, {12}, AS_IT_WAS, MEMFD},
    {"another file", reopen_file, 0, {0}, AS_IT_WAS, NO_FILE},
    {"a new file", make_new, 0, {A_FILE}, AS_IT_WAS, NO_FILE},
    {"a new file on tmpfs", make_new, 0, {ON_TMPFS}, AS_IT_WAS, NO_FILE},
    {"a new memfd", make_new, 0, {A_MEMFD}, AS_IT_WAS, NO_FILE},
    {"a new object", make_new, 0, {AN_OBJECT}, AS_IT_WAS, NO_FILE},
    {"a device", make_new, 0, {A_DEVICE}, AS_IT_WAS, NO_FILE},
    {"a process", make_process, 0, {0}, AS_IT_WAS, NO_FILE},
    {"vdso", make_vdso, 0, {0}, AS_IT_WAS, NO_FILE},
    {"pages of a memfd", allocate_file, 0, {100, 3}, WHAT_IS_DONE, NO_FILE},
    {"munlock of the middle", NULL, ABI_munlock, {AT(642), 2 * PG}, AS_IT_WAS, NO_FILE},
    {"DODUMP joins two", NULL, ABI_madvise, {AT(524), 4 * PG, 17}, AS_IT_WAS, NO_FILE},
    {"munlock joins two", NULL, ABI_munlock, {AT(544), 4 * PG}, AS_IT_WAS, NO_FILE},
    {"munlockall joins two", NULL, ABI_munlockall, {0}, WHAT_IS_DONE, NO_FILE},
    {"mlock2 joins two", NULL, ABI_mlock2, {AT(564), 4 * PG, 1}, AS_IT_WAS, NO_FILE},
    {"mlockall joins two", NULL, ABI_mlockall, {5}, WHAT_IS_DONE, NO_FILE},
    {"mprotect joins two", NULL, ABI_mprotect, {AT(584), 4 * PG, RW}, AS_IT_WAS, NO_FILE},
    {"pkey_mprotect joins two", NULL, ABI_pkey_mprotect, {AT(584), 4 * PG, RW, ~0ul}, AS_IT_WAS, NO_FILE},
    {"mmap joins two", NULL, ABI_mmap, {AT(604), 4 * PG, RW, ANON | MAP_FIXED_}, AS_IT_WAS, NO_FILE},
    {"process_madvise, HUGEPAGE", advise_self, 0, {4, 2, 14}, AS_IT_WAS, NO_FILE},
    {"process_madvise, DODUMP joins two", advise_self, 0, {524, 4, 17}, AS_IT_WAS, NO_FILE},
    {"process_madvise, GUARD_INSTALL", advise_self, 0, {1600, 4, GUARD_INSTALL}, WHAT_IS_DONE, NO_FILE},
    {"munmap, refused", NULL, ABI_munmap, {AT(622), 4 * PG}, REFUSED, NO_FILE},
    {"mmap, refused", NULL, ABI_mmap, {AT(622), 4 * PG, RW, ANON | MAP_FIXED_}, REFUSED, NO_FILE},
    {"mremap shrinks, refused", NULL, ABI_mremap, {AT(620), 6 * PG, 2 * PG, 0}, REFUSED, NO_FILE},
    {"mremap over others, refused", NULL, ABI_mremap, {AT(4), 4 * PG, 4 * PG, 3, AT(622)}, REFUSED, NO_FILE},
    {"mremap into the middle", NULL, ABI_mremap, {AT(4), 4 * PG, 4 * PG, 3, AT(642)}, WHAT_IS_DONE, NO_FILE},
    {"mremap into the middle, larger", NULL, ABI_mremap, {AT(4), 4 * PG, 5 * PG, 3, AT(642)}, WHAT_IS_DONE, NO_FILE},
    {"mremap of many over others", NULL, ABI_mremap, {AT(0), 72 * PG, 72 * PG, 3, AT(642)}, MOVED_IN_PART, NO_FILE},
    {"mremap of the middle grows", NULL, ABI_mremap, {AT(4), 4 * PG, 8 * PG, 1}, AS_IT_WAS, NO_FILE},
};

/* These need no memory of their own: nothing of them can fail for want of it. */
static const struct scenario without[] = {
    {"REMOVE", NULL, ABI_madvise, {AT(65), 2 * PG, 9}, AS_IT_WAS, NO_FILE},
    {"mremap grows", NULL, ABI_mremap, {AT(0), 16 * PG, 20 * PG, MREMAP_MAYMOVE_}, AS_IT_WAS, NO_FILE},
    {"mmap between two", NULL, ABI_mmap, {AT(16), 16 * PG, RW, ANON | MAP_FIXED_NOREPLACE_}, AS_IT_WAS, NO_FILE},
    {"DONTNEED", NULL, ABI_madvise, {AT(4), 2 * PG, 4}, AS_IT_WAS, NO_FILE},
    {"GUARD_REMOVE", NULL, ABI_madvise, {AT(4), 2 * PG, 103}, AS_IT_WAS, NO_FILE},
    {"mincore", NULL, ABI_mincore, {AT(0), 16 * PG, AT(1)}, AS_IT_WAS, NO_FILE},
    {"membarrier", NULL, ABI_membarrier, {0}, AS_IT_WAS, NO_FILE},
    {"shmctl, remove", with_segment, ABI_shmctl, {0, 0}, AS_IT_WAS, NO_FILE},
    {"shmdt", NULL, ABI_shmdt, {AT(96)}, AS_IT_WAS, NO_FILE},
    {"seals", NULL, ABI_fcntl, {3, 1033, 6}, AS_IT_WAS, MEMFD},
    {"ftruncate shrinks", NULL, ABI_ftruncate, {3, 5 * PG + 7}, AS_IT_WAS, MEMFD},
    {"ftruncate shrinks a file", NULL, ABI_ftruncate, {3, 5 * PG + 7}, AS_IT_WAS, DISK},
    {"ftruncate grows", NULL, ABI_ftruncate, {3, 90 * PG}, AS_IT_WAS, MEMFD},
    {"fallocate, a hole", NULL, ABI_fallocate, {3, 3, PG + 9, 4 * PG}, AS_IT_WAS, MEMFD},
    {"PR_SET_MM_MAP", with_map, ABI_prctl, {35, 14, 1, sizeof(struct mm_map)}, AS_IT_WAS, DISK},
    {"PR_SET_MM_EXE_FILE", NULL, ABI_prctl, {35, 13, 3}, AS_IT_WAS, DISK},
    {"PR_SET_MM_BRK", NULL, ABI_prctl, {35, 7, AT(305)}, AS_IT_WAS, NO_FILE},
    {"PR_SET_MEMORY_MERGE", NULL, ABI_prctl, {67, 1}, AS_IT_WAS, NO_FILE},
    {"setrlimit", with_limit, ABI_setrlimit, {9, 1}, AS_IT_WAS, NO_FILE},
    {"prlimit", with_limit, ABI_prlimit64, {101, 9, 1}, AS_IT_WAS, NO_FILE},
    {"personality", NULL, ABI_personality, {0x40000}, AS_IT_WAS, NO_FILE},
};

static s64 act(struct world *w, const struct scenario *s)
{
    return s->act ? s->act(w, s) : make_call(w, s);
}

static bool succeeded(const struct scenario *s, s64 ret)
{
    if (s->leaves == REFUSED && ret == -EPERM)
        return true;
    return s->nr == ABI_brk ? ret == (s64)s->arg[0] : ret >= 0;
}

/* With the n-th allocation failing; false: there were fewer. */
static bool try_one(struct world *w, const struct scenario *s, u64 nth)
{
    static struct snapshot before, after;
    struct machine *m = w->e.m;
    bool failed;
    s64 ret;

    world_begin(w);
    look(w, &before);
    fail_arm(m, nth);
    ret = act(w, s);
    failed = fail_injected(m);
    if (!succeeded(s, ret)) {
        if (!failed || (ret != -ENOMEM && ret != -EAGAIN && ret != -EFAULT && s->nr != ABI_brk))
            fail_msg("%s, allocation %llu: %lld", s->name, (unsigned long long)nth, (long long)ret);
        look(w, &after);
        if (s->leaves == AS_IT_WAS && strcmp(before.text, after.text))
            fail_msg("%s, allocation %llu, from\n%s\nto\n%s", s->name, (unsigned long long)nth, before.text,
                     after.text);
        assert_books(machine_check, m);
        if (s->leaves != MOVED_IN_PART)
            ret = act(w, s);
        if (!succeeded(s, ret) && s->leaves != MOVED_IN_PART)
            fail_msg("%s again after allocation %llu failed: %lld", s->name, (unsigned long long)nth, (long long)ret);
    }
    assert_books(machine_check, m);
    world_end(w);
    assert_books(machine_check, m);
    return failed;
}

/* How it is run: the index's nodes are more or less full, files come from the disk, tables have other forms. */
struct variant {
    enum pt_format_id format;
    bool cold;
    u32 crowd;
};

static u32 run_scenario(struct world *w, const struct scenario *s, bool allocates)
{
    u64 nth;

    if ((s->nr == ABI_mseal || s->leaves == REFUSED) && w->e.m->config.pt_format == PT_X86_PAE)
        return 0; /* -EPERM with 32 bits */
    for (nth = 1; try_one(w, s, nth); nth++)
        ;
    if ((nth > 1) == allocates)
        return 0;
    print_error("%s: %llu allocations\n", s->name, (unsigned long long)nth - 1);
    return 1;
}

static void run_all(const struct variant *v)
{
    struct world w = {.crowd = v->crowd};
    struct machine_config c;
    u32 wrong = 0;

    test_config_of(&c, v->format, 256ul << 20, 1);
    c.anon_vma_name = true;
    c.page_cache_warm = !v->cold;
    env_init_config(&w.e, &c);
    switch_mm(w.e.cpu, NULL);
    task_exit(w.e.cpu, w.e.t);
    for (u32 i = 0; i < ARRAY_SIZE(scenarios); i++)
        wrong += run_scenario(&w, &scenarios[i], true);
    /* with a full node they may need another one */
    for (u32 i = 0; i < ARRAY_SIZE(without); i++) {
        for (u64 nth = 1; v->crowd && try_one(&w, &without[i], nth); nth++)
            ;
        wrong += v->crowd ? 0 : run_scenario(&w, &without[i], false);
    }
    assert_int_equal(wrong, 0);
    w.e.t = test_task(w.e.cpu, 100);
    env_end(&w.e);
}

static void every_call(void **state)
{
    run_all(&(struct variant){PT_X86_64_4L, false, 0});
}

static void every_call_with_full_nodes(void **state)
{
    for (u32 crowd = 1; crowd < 20; crowd++)
        run_all(&(struct variant){PT_X86_64_4L, false, crowd});
}

static void every_call_with_other_tables(void **state)
{
    run_all(&(struct variant){PT_X86_PAE, false, 0});
    run_all(&(struct variant){PT_X86_64_5L, false, 0});
}

static void every_call_from_the_disk(void **state)
{
    run_all(&(struct variant){PT_X86_64_4L, true, 0});
}

/* The table of segments is empty: it grows with the first. */
static void first_segment(void **state)
{
    struct env v;

    env_init(&v);
    for_each_failing_allocation(v.m, nth)
    {
        struct abi_call get = {.nr = ABI_shmget, .arg = {0, PG, 01600}}, rm = {.nr = ABI_shmctl};
        s64 id = abi_syscall(v.cpu, &get);

        if (fail_injected(v.m) && id < 0) {
            assert_int_equal(id, -ENOMEM);
            assert_int_equal(v.m->cache->shm.in_use, 0);
            assert_books(machine_check, v.m);
            continue;
        }
        assert_true(id >= 0);
        rm.arg[0] = (u64)id;
        assert_int_equal(abi_syscall(v.cpu, &rm), 0);
    }
    env_end(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call),
        cmocka_unit_test(every_call_with_full_nodes),
        cmocka_unit_test(every_call_with_other_tables),
        cmocka_unit_test(every_call_from_the_disk),
        cmocka_unit_test(first_segment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
