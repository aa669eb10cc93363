/* SPDX-License-Identifier: MIT */
/*
 * What MADV_PAGEOUT takes from the page tables, case by case, without swap. Each case has its exact result in the table;
 * the machine must give it, and so must the kernel that runs this test (6.18 or later, without swap), in a child on one
 * CPU: pages that wait in another CPU's batch for their LRU list are left alone.
 *
 *   touched   one letter a page: r read, w written, . not at all
 *   left      afterwards: + mapped, - not
 *   cached    pages of the object that are in its cache afterwards; ANY: not looked at
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/testing_full.h"

#include "abi/abi.h"
#include "cache/cache.h"

#define PG 4096ul
#define MAP 0x20000000ul
#define TWIN (MAP + 64 * PG) /* a second mapping of the object's first page */
#define HUGE_BYTES 0x200000ul
#define ANY (-1)
#define RUNS 3 /* of the kernel: a file's page that is being written back at the moment stays mapped */
#define SOMEBODY 65534u

enum object { ANON, DROPPABLE, ANON_SHARED, MEMFD, MEMFD_PRIVATE, SEGMENT, DISK, DISK_PRIVATE, HUGE };

/* What happens between the touches and the advice. */
enum before {
    FREED = 1,          /* MADV_FREE */
    WRITTEN = 2,        /* the first page, once more */
    LOCKED = 4,         /* mlock() of all */
    TWICE = 8,          /* the first page is read through another mapping, too */
    FORKED = 16,        /* there is a child */
    NO_RIGHTS = 32,     /* mprotect(PROT_NONE) of all */
    HOLE = 64,          /* the second page is unmapped */
    FOREIGN = 128,      /* whoever advises neither owns the object nor has capabilities */
    SEG_LOCKED = 256,   /* SHM_LOCK of the segment */
    SEG_UNLOCKED = 512, /* and SHM_UNLOCK */
};

struct pageout_case {
    const char *name;
    enum object object;
    const char *touched;
    u32 before;
    u32 advised; /* pages, from the first on */
    s64 result;
    const char *left;
    s64 cached;
};

static const struct pageout_case cases[] = {
    {"anonymous pages", ANON, "rw.w", 0, 4, 0, "++-+", ANY},
    {"lazily freed", ANON, "wwww", FREED, 3, 0, "---+", ANY},
    {"lazily freed, then written", ANON, "ww", FREED | WRITTEN, 2, 0, "+-", ANY},
    {"lazily freed, of two processes", ANON, "ww", FREED | FORKED, 2, 0, "++", ANY},
    {"droppable", DROPPABLE, "rw.w", 0, 4, 0, "+---", ANY},
    {"droppable, locked: it is not", DROPPABLE, "ww", LOCKED, 2, 0, "--", ANY},
    {"shared memory", ANON_SHARED, "rw.w", 0, 4, 0, "----", ANY},
    {"memfd: what was not written is dropped", MEMFD, "rw.w", 0, 4, 0, "----", 2},
    {"memfd, a part", MEMFD, "wwww", 0, 2, 0, "--++", 4},
    {"memfd, mapped twice", MEMFD, "ww", TWICE, 2, 0, "+-", 2},
    {"memfd, after fork: the child has no pages yet", MEMFD, "rw", FORKED, 2, 0, "--", 1},
    {"memfd, private: the copy stays", MEMFD_PRIVATE, "rw", 0, 2, 0, "-+", ANY},
    {"memfd, no rights", MEMFD, "rw", NO_RIGHTS, 2, 0, "--", 1},
    {"memfd of somebody else: all may write to it", MEMFD, "rw", FOREIGN, 2, 0, "--", 1},
    {"segment", SEGMENT, "rw", 0, 2, 0, "--", ANY},
    {"segment, SHM_LOCK", SEGMENT, "rw", SEG_LOCKED, 2, 0, "++", ANY},
    {"segment, SHM_LOCK, SHM_UNLOCK", SEGMENT, "rw", SEG_LOCKED | SEG_UNLOCKED, 2, 0, "--", ANY},
    {"file", DISK, "rrrr", 0, 2, 0, "--++", 2},
    {"file, written to", DISK, "rw", 0, 2, 0, "--", 1},
    {"file, private: the copy stays", DISK_PRIVATE, "rw", 0, 2, 0, "-+", ANY},
    {"file, mapped twice", DISK, "rr", TWICE, 2, 0, "+-", 1},
    {"file of somebody else", DISK, "rw", FOREIGN, 2, 0, "++", ANY},
    {"file of somebody else, private", DISK_PRIVATE, "rw", FOREIGN, 2, 0, "++", ANY},
    {"anonymous, locked", ANON, "ww", LOCKED, 2, -EINVAL, "++", ANY},
    {"memfd, locked", MEMFD, "ww", LOCKED, 2, -EINVAL, "++", 2},
    {"memfd, a hole", MEMFD, "www", HOLE, 3, -ENOMEM, "---", 3},
    {"huge pages", HUGE, "", 0, HUGE_BYTES / PG, -EINVAL, "", ANY},
};

static bool on_disk(const struct pageout_case *c)
{
    return c->object == DISK || c->object == DISK_PRIVATE;
}

static int map_flags(const struct pageout_case *c)
{
    static const int flags[] = {[ANON] = MAP_ANONYMOUS | MAP_PRIVATE,
                                [DROPPABLE] = MAP_ANONYMOUS | 8, /* MAP_DROPPABLE */
                                [ANON_SHARED] = MAP_ANONYMOUS | MAP_SHARED,
                                [MEMFD] = MAP_SHARED,
                                [MEMFD_PRIVATE] = MAP_PRIVATE,
                                [SEGMENT] = MAP_SHARED,
                                [DISK] = MAP_SHARED,
                                [DISK_PRIVATE] = MAP_PRIVATE,
                                [HUGE] = MAP_ANONYMOUS | MAP_PRIVATE | MAP_HUGETLB | MAP_NORESERVE};

    return flags[c->object] | MAP_FIXED;
}

/* Of the mapping and of the object. */
static u64 bytes_of(const struct pageout_case *c)
{
    return c->object == HUGE ? HUGE_BYTES : strlen(c->touched) * PG;
}

struct seen {
    s64 result, cached;
    char left[16];
};

/* 0, or 1 with a complaint. */
static u32 compare(const struct pageout_case *c, const struct seen *s, const char *who)
{
    if (s->result == c->result && !strcmp(s->left, c->left) && (c->cached == ANY || s->cached == c->cached))
        return 0;
    print_error("%s: %s gives %lld '%s', %lld cached; the table says %lld '%s', %lld\n", c->name, who,
                (long long)s->result, s->left, (long long)s->cached, (long long)c->result, c->left,
                (long long)c->cached);
    return 1;
}

/* -- the kernel ---------------------------------------------------------------------------------------------------- */

static bool native_can(const struct pageout_case *c)
{
    struct statfs fs;

    if ((c->before & (FOREIGN | SEG_LOCKED)) && geteuid())
        return false;
    return !on_disk(c) || (statfs(".", &fs) == 0 && fs.f_type == 0xef53); /* ext4 */
}

/* Clean pages, each read by itself: readahead would make large folios of them, with rules of their own. */
static int native_file(const struct pageout_case *c)
{
    char page[PG];
    int fd = on_disk(c) ? open(".", O_TMPFILE | O_RDWR, 0600) : memfd_create("pageout", 0);

    if (fd < 0 || ftruncate(fd, (off_t)bytes_of(c)))
        _exit(100);
    posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    for (u64 at = 0; on_disk(c) && at < bytes_of(c); at += PG)
        if (pread(fd, page, PG, (off_t)at) != (ssize_t)PG)
            _exit(101);
    return fd;
}

static void native_before(const struct pageout_case *c, int fd)
{
    volatile char *map = (volatile char *)MAP;

    if (c->before & FREED)
        madvise((void *)MAP, bytes_of(c), MADV_FREE);
    if (c->before & WRITTEN)
        map[0] = 2;
    if (c->before & LOCKED)
        syscall(SYS_mlock, MAP, bytes_of(c)); /* AddressSanitizer's mlock() does nothing */
    if (c->before & TWICE) {
        volatile char *twin = mmap((void *)TWIN, PG, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);

        (void)*twin;
    }
    if (c->before & NO_RIGHTS)
        mprotect((void *)MAP, bytes_of(c), PROT_NONE);
    if (c->before & HOLE)
        munmap((void *)(MAP + PG), PG);
    if ((c->before & FOREIGN) && (setgroups(0, NULL) || setgid(SOMEBODY) || setuid(SOMEBODY)))
        _exit(102);
}

static s64 native_cached(const struct pageout_case *c, int fd)
{
    unsigned char in_core[16];
    struct stat st;
    s64 n = 0;
    void *p;

    if (fd < 0 || fstat(fd, &st))
        return ANY;
    if (!on_disk(c))
        return st.st_blocks / 8;
    p = mmap(NULL, bytes_of(c), PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED || mincore(p, bytes_of(c), in_core))
        return ANY;
    for (u32 i = 0; i < strlen(c->touched); i++)
        n += in_core[i] & 1;
    return n;
}

static void native_left(struct seen *s, u64 pages, int pagemap)
{
    for (u64 i = 0; i < pages; i++) {
        u64 v = 0;

        if (pread(pagemap, &v, 8, (off_t)((MAP / PG + i) * 8)) != 8)
            _exit(103);
        s->left[i] = v >> 63 ? '+' : '-';
    }
}

/* Of a segment, *id is its; it goes with the process. */
static char *native_map(const struct pageout_case *c, int fd, int *id)
{
    char *map;

    if (c->object != SEGMENT)
        return mmap((void *)MAP, bytes_of(c), PROT_READ | PROT_WRITE, map_flags(c), fd, 0);
    *id = shmget(IPC_PRIVATE, bytes_of(c), IPC_CREAT | 0600);
    map = shmat(*id, (void *)MAP, 0);
    shmctl(*id, IPC_RMID, NULL);
    return map;
}

static bool has_file(const struct pageout_case *c)
{
    return c->object != SEGMENT && !(map_flags(c) & MAP_ANONYMOUS);
}

static u32 native_child(const struct pageout_case *c)
{
    int fd = has_file(c) ? native_file(c) : -1, id = -1, pagemap = open("/proc/self/pagemap", O_RDONLY);
    volatile char *map = native_map(c, fd, &id);
    struct seen s = {0};
    pid_t child = 0;

    if (map == MAP_FAILED)
        return 104;
    for (u64 i = 0; c->touched[i]; i++) {
        if (c->touched[i] == 'r')
            (void)map[i * PG];
        else if (c->touched[i] == 'w')
            map[i * PG] = 1;
    }
    native_before(c, fd);
    if ((c->before & SEG_LOCKED) && shmctl(id, SHM_LOCK, NULL))
        return 105;
    if ((c->before & SEG_UNLOCKED) && shmctl(id, SHM_UNLOCK, NULL))
        return 106;
    if ((c->before & FORKED) && !(child = fork())) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    s.result = madvise((void *)MAP, c->advised * PG, MADV_PAGEOUT) ? -errno : 0;
    if (child > 0) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    native_left(&s, strlen(c->touched), pagemap);
    s.cached = native_cached(c, fd);
    return compare(c, &s, "the kernel");
}

static u32 run_native_once(const struct pageout_case *c)
{
    pid_t child = fork();
    cpu_set_t cpus;
    int status;

    assert_true(child >= 0);
    if (!child) {
        sched_getaffinity(0, sizeof(cpus), &cpus);
        for (int i = 0, found = 0; i < CPU_SETSIZE; i++)
            if (CPU_ISSET(i, &cpus) && found++)
                CPU_CLR(i, &cpus);
        sched_setaffinity(0, sizeof(cpus), &cpus);
        _exit((int)native_child(c));
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? (u32)WEXITSTATUS(status) : 200u;
}

static u32 run_native(const struct pageout_case *c)
{
    u32 bad = 1;

    for (u32 i = 0; i < RUNS && bad; i++)
        bad = run_native_once(c);
    if (bad > 1)
        print_error("%s: the kernel's process ends with %u\n", c->name, bad);
    return bad;
}

/* -- the machine --------------------------------------------------------------------------------------------------- */

struct model {
    struct machine *m;
    struct cpu *cpu;
    struct file *file;
    s64 segment;
};

static s64 model_call(struct model *v, enum abi_nr nr, const u64 arg[6])
{
    struct abi_call c = {.nr = nr, .file = v->file};

    memcpy(c.arg, arg, sizeof(c.arg));
    return abi_syscall(v->cpu, &c);
}

static void model_touch(struct model *v, va_t at, bool write)
{
    struct fault_info fi;
    u8 byte = 1;

    assert_int_equal(
        write ? mmu_copy_to_user(v->cpu, at, &byte, 1, &fi) : mmu_copy_from_user(v->cpu, &byte, at, 1, &fi), 0);
}

static void model_map(struct model *v, const struct pageout_case *c)
{
    if (on_disk(c))
        v->file = file_open(v->cpu, 8, 1, bytes_of(c), FMODE_READ | FMODE_WRITE, "/f");
    else if (has_file(c))
        v->file = memfd_create_file(v->cpu, "memfd:pageout", MEMFD_EXEC, 0);
    if (v->file && !on_disk(c))
        inode_set_size(v->cpu, v->file->f_inode, bytes_of(c));
    if (c->object == SEGMENT) {
        v->segment = model_call(v, ABI_shmget, (u64[6]){IPC_PRIVATE, bytes_of(c), IPC_CREAT | 0600});
        assert_int_equal(model_call(v, ABI_shmat, (u64[6]){(u64)v->segment, MAP}), (s64)MAP);
        assert_int_equal(model_call(v, ABI_shmctl, (u64[6]){(u64)v->segment, IPC_RMID}), 0);
    } else {
        u64 fd = v->file ? 3 : ~0ull;

        assert_int_equal(model_call(v, ABI_mmap, (u64[6]){MAP, bytes_of(c), 3, (u64)map_flags(c), fd}), (s64)MAP);
    }
    for (u64 i = 0; c->touched[i]; i++)
        if (c->touched[i] != '.')
            model_touch(v, MAP + i * PG, c->touched[i] == 'w');
}

static void model_before(struct model *v, const struct pageout_case *c)
{
    if (c->before & FREED)
        model_call(v, ABI_madvise, (u64[6]){MAP, bytes_of(c), MADV_FREE});
    if (c->before & WRITTEN)
        model_touch(v, MAP, true);
    if (c->before & LOCKED)
        model_call(v, ABI_mlock, (u64[6]){MAP, bytes_of(c)});
    if (c->before & TWICE) {
        model_call(v, ABI_mmap, (u64[6]){TWIN, PG, PROT_READ, MAP_SHARED | MAP_FIXED, 3});
        model_touch(v, TWIN, false);
    }
    if (c->before & NO_RIGHTS)
        model_call(v, ABI_mprotect, (u64[6]){MAP, bytes_of(c), PROT_NONE});
    if (c->before & HOLE)
        model_call(v, ABI_munmap, (u64[6]){MAP + PG, PG});
    if (c->before & SEG_LOCKED)
        assert_int_equal(model_call(v, ABI_shmctl, (u64[6]){(u64)v->segment, SHM_LOCK}), 0);
    if (c->before & SEG_UNLOCKED)
        assert_int_equal(model_call(v, ABI_shmctl, (u64[6]){(u64)v->segment, SHM_UNLOCK}), 0);
    if ((c->before & FOREIGN) && on_disk(c))
        v->file->f_mode |= FMODE_FOREIGN;
}

static void model_left(struct model *v, struct seen *s, u64 pages)
{
    const struct pt_format *fmt = pt_format_of(v->m);

    for (u64 i = 0; i < pages; i++) {
        struct pt_entry e = pt_find_entry(v->cpu->current->mm, MAP + i * PG, 1);

        s->left[i] = e.slot && e.level == 1 && pte_present(fmt, pt_read(fmt, e)) ? '+' : '-';
    }
}

static u32 run_model(const struct pageout_case *c)
{
    struct model v = {.m = test_machine_full(NULL)};
    struct task *child = NULL;
    struct seen s = {0};

    v.cpu = test_cpu(v.m);
    test_task(v.cpu, 1);
    switch_mm(v.cpu, v.cpu->current->mm);
    model_map(&v, c);
    model_before(&v, c);
    if (c->before & FORKED)
        child = kernel_clone(v.cpu, 0, 2, 2);
    s.result = model_call(&v, ABI_madvise, (u64[6]){MAP, c->advised * PG, MADV_PAGEOUT});
    if (child)
        task_exit(v.cpu, child);
    model_left(&v, &s, strlen(c->touched));
    s.cached = v.file ? (s64)v.file->f_mapping->nrpages : ANY;
    assert_books(machine_check, v.m);
    if (v.file)
        fput(v.cpu, v.file);
    assert_int_equal(sys_munmap(v.cpu, MAP, HUGE_BYTES), 0);
    assert_books(machine_check, v.m);
    test_machine_end(v.m);
    return compare(c, &s, "the machine");
}

/* -- both ---------------------------------------------------------------------------------------------------------- */

/* Its answers are those of the table, and it has nowhere to swap to: /proc/swaps is a heading. */
static bool native_is_asked(void)
{
    FILE *f = fopen("/proc/swaps", "re");
    u32 major = 0, minor = 0, lines = 0;
    struct utsname u;
    int c;

    while (f && (c = getc(f)) != EOF)
        lines += c == '\n';
    if (f)
        fclose(f);
    uname(&u);
    sscanf(u.release, "%u.%u", &major, &minor);
    return f && lines <= 1 && (major > 6 || (major == 6 && minor >= 18));
}

static void test_cases(void **state)
{
    bool native = native_is_asked();
    u32 bad = 0;

    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        if (native && native_can(&cases[i]))
            bad += run_native(&cases[i]);
        bad += run_model(&cases[i]);
    }
    assert_int_equal(bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
