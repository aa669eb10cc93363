/* SPDX-License-Identifier: MIT */
/* The child process: started once, it performs one sequence after the other. */
#define _GNU_SOURCE
#include "tests/oracle/native.h"
#include "tests/oracle/own_user.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <linux/futex.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LONG_CPU_S 20u

/* Ends inside a page; one that is readable only, one that is writable only; shared memory twice. */
const struct native_file native_file[NR_BASE_SLOTS] = {
    [SLOT_DISK_RW] = {"disk", 24 * ORACLE_PAGE + 0x123, SLOT_DISK_RW, O_RDWR, 0},
    [SLOT_DISK_RO] = {"disk_ro", 24 * ORACLE_PAGE + 0x123, SLOT_DISK_RW, O_RDONLY, 0},
    [SLOT_DISK_WO] = {"disk_wo", 24 * ORACLE_PAGE + 0x123, SLOT_DISK_RW, O_WRONLY, 0},
    [SLOT_SHORT_RW] = {"tiny", 0x234, SLOT_SHORT_RW, O_RDWR, 0},
    [SLOT_SHMEM_RW] = {"shmem", 20 * ORACLE_PAGE + 0x800, SLOT_SHMEM_RW, O_RDWR, 1},
    [SLOT_SHMEM_RO] = {"shmem_ro", 20 * ORACLE_PAGE + 0x800, SLOT_SHMEM_RW, O_RDONLY, 1},
};

void die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("oracle: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(2);
}

/* -- files --------------------------------------------------------------------------------------------------------- */

static void open_slot(struct native *n, int slot)
{
    const struct native_file *f = &native_file[slot];
    char path[PATH_MAX];

    if (f->same_as == slot && f->shmem) {
        n->fd[slot] = memfd_create("oracle", 0);
    } else if (f->same_as == slot) {
        snprintf(path, sizeof(path), "%s/quire-oracle-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
        n->fd[slot] = mkstemp(path);
        if (n->fd[slot] >= 0)
            unlink(path);
    } else {
        snprintf(path, sizeof(path), "/proc/self/fd/%d", n->fd[f->same_as]);
        n->fd[slot] = open(path, f->open_flags);
    }
    if (n->fd[slot] < 0)
        die("cannot make file '%s': %s", f->name, strerror(errno));
    n->fd[slot] = fcntl(n->fd[slot], F_DUPFD_CLOEXEC, ORACLE_FD_BASE + 2 * ORACLE_SLOTS);
}

static void open_files(struct native *n)
{
    for (uint32_t i = 0; i < ORACLE_SLOTS; i++)
        n->shared->file[i] = (struct oracle_file_id){~0ull, ~0ull};
    for (int i = 0; i < NR_BASE_SLOTS; i++) {
        struct statfs fs;
        struct stat st;

        open_slot(n, i);
        if (fstat(n->fd[i], &st) || fstatfs(n->fd[i], &fs))
            die("fstat: %s", strerror(errno));
        n->on_tmpfs |= !native_file[i].shmem && fs.f_type == TMPFS_MAGIC;
        n->on_ext4 |= !native_file[i].shmem && fs.f_type == EXT4_SUPER_MAGIC;
        /* as /proc/PID/maps prints it */
        if (!native_file[i].shmem)
            n->shared->file[native_file[i].same_as] =
                (struct oracle_file_id){(uint64_t)(major(st.st_dev) << 8 | minor(st.st_dev)), st.st_ino};
    }
}

/* Page by page: readahead would make large folios, which are cut and dropped by rules of their own. */
static void cache_file(int fd, uint64_t size)
{
    char byte;

    posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    for (uint64_t at = 0; at < size; at += ORACLE_PAGE)
        if (pread(fd, &byte, 1, (off_t)at) != 1)
            die("cannot read a file back: %s", strerror(errno));
}

/*
 * On the child's CPU, all of whose pages then wait in one set of batches for their LRU lists: a page in another CPU's is
 * not paged out (MADV_PAGEOUT drains its own CPU's only).
 */
static void on_cpu(const cpu_set_t *set)
{
    if (sched_setaffinity(0, sizeof(*set), set))
        die("sched_setaffinity: %s", strerror(errno));
}

/* One of those that may be used; several oracles take several. */
static void choose_cpu(struct native *n)
{
    int nth;

    if (sched_getaffinity(0, sizeof(n->cpus), &n->cpus))
        die("sched_getaffinity: %s", strerror(errno));
    nth = (int)(getpid() % CPU_COUNT(&n->cpus));
    CPU_ZERO(&n->cpu);
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &n->cpus) && !nth--)
            CPU_SET(i, &n->cpu);
}

/* Empty, at their sizes, every page in the page cache. */
static void reset_files(struct native *n)
{
    on_cpu(&n->cpu);
    for (int i = 0; i < NR_BASE_SLOTS; i++) {
        if (native_file[i].same_as != i)
            continue;
        if (ftruncate(n->fd[i], 0) || ftruncate(n->fd[i], (off_t)native_file[i].size))
            die("ftruncate: %s", strerror(errno));
        if (!native_file[i].shmem)
            cache_file(n->fd[i], native_file[i].size);
    }
    on_cpu(&n->cpus);
}

/* -- life ---------------------------------------------------------------------------------------------------------- */

static void limit(int which, rlim_t cur, rlim_t max)
{
    struct rlimit r;

    if (getrlimit(which, &r))
        return;
    r.rlim_max = max < r.rlim_max || !geteuid() ? max : r.rlim_max;
    r.rlim_cur = cur < r.rlim_max ? cur : r.rlim_max;
    setrlimit(which, &r);
}

/* Whether the kernel has pidfds is the call's own affair: without, there is no such descriptor. */
static void open_reaped(void)
{
    pid_t pid = fork();
    int fd;

    if (!pid)
        _exit(0);
    fd = (int)syscall(SYS_pidfd_open, pid, 0);
    waitpid(pid, NULL, 0);
    if (dup2(fd, ORACLE_FD_REAPED) < 0)
        close(ORACLE_FD_REAPED);
}

static void exec_child(struct native *n)
{
    char *argv[] = {(char *)"oracle-child", NULL}, *envp[] = {NULL};

    for (int i = 0; i < NR_BASE_SLOTS; i++)
        dup2(n->fd[i], ORACLE_FD_BASE + i);
    dup2(n->shared_fd, ORACLE_FD_SHARED);
    dup2(n->image_fd, ORACLE_FD_IMAGE);
    open_reaped();
    syscall(SYS_close_range, ORACLE_FD_REAPED + 1, ORACLE_FD_BASE - 1, 0);
    syscall(SYS_close_range, ORACLE_FD_BASE + NR_BASE_SLOTS, ~0u, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* it asks for that itself, but may not come so far */
    on_cpu(&n->cpu);
    personality(ADDR_NO_RANDOMIZE);
    limit(RLIMIT_STACK, 8ul << 20, RLIM_INFINITY);
    limit(RLIMIT_MEMLOCK, 8ul << 20, 8ul << 20);
    limit(RLIMIT_AS, RLIM_INFINITY, RLIM_INFINITY);
    limit(RLIMIT_DATA, RLIM_INFINITY, RLIM_INFINITY);
    limit(RLIMIT_CORE, 0, 0);
    execve(n->child_path, argv, envp);
    _exit(127);
}

static void wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, 64);
}

static void start(struct native *n)
{
    atomic_store(&n->shared->command, ORACLE_CMD_RUN); /* busy, until it says otherwise */
    for (uint32_t i = 0; i < ORACLE_SHMS; i++)
        n->shared->shmid[i] = -1;
    n->pid = fork();
    if (n->pid < 0)
        die("fork: %s", strerror(errno));
    if (!n->pid)
        exec_child(n);
    if (native_wait_command(n))
        die("%s does not start", n->child_path);
}

/* Segments of our own, which go with the last of us, if that is allowed; else at least keys that nobody has. */
static void choose_keys(struct native *n)
{
    uint32_t base = 0x51000000u ^ (uint32_t)getpid() << 4, taken = 1;

    if (unshare(CLONE_NEWIPC) && errno != EPERM)
        die("unshare: %s", strerror(errno));
    while (taken) {
        base = (base + ORACLE_KEYS) & 0x7fffffff;
        taken = !base;
        for (uint32_t i = 0; i < ORACLE_KEYS; i++)
            taken |= shmget((key_t)(base + i), 0, 0) >= 0 || errno != ENOENT;
    }
    n->shared->key_base = base;
}

static void choose_user(struct native *n)
{
    uint32_t own = geteuid() ? 0 : own_user();

    n->own_user = own != 0;
    n->shared->nobody = own ? own : ORACLE_NOBODY;
}

static void find_huge(struct native *n)
{
    static const unsigned int size_flags[] = {21u << 26, 30u << 26};
    struct stat st;

    for (int i = 0; i < 2; i++) {
        int fd = memfd_create("oracle-huge", MFD_HUGETLB | size_flags[i]);

        n->shared->huge_dev[i] = ~0ull;
        if (fd >= 0 && !fstat(fd, &st))
            n->shared->huge_dev[i] = (uint64_t)(major(st.st_dev) << 8 | minor(st.st_dev));
        if (fd >= 0)
            close(fd);
    }
}

void native_start(struct native *n, const char *child_path)
{
    struct stat st;

    if (!n->long_cpu_s)
        n->long_cpu_s = LONG_CPU_S;
    if (!realpath(child_path, n->child_path) || stat(n->child_path, &st))
        die("%s: %s", child_path, strerror(errno));
    n->image = (struct oracle_file_id){(uint64_t)(major(st.st_dev) << 8 | minor(st.st_dev)), st.st_ino};
    n->image_size = (uint64_t)st.st_size;
    n->image_fd = fcntl(open(n->child_path, O_RDONLY | O_CLOEXEC), F_DUPFD_CLOEXEC, ORACLE_FD_BASE + 3 * ORACLE_SLOTS);
    n->shared_fd = memfd_create("oracle-shared", MFD_CLOEXEC);
    n->shared_fd = fcntl(n->shared_fd, F_DUPFD_CLOEXEC, ORACLE_FD_BASE + 3 * ORACLE_SLOTS);
    if (n->shared_fd < 0 || n->image_fd < 0 || ftruncate(n->shared_fd, ORACLE_SHARED_BYTES))
        die("memfd_create: %s", strerror(errno));
    n->shared = mmap(NULL, ORACLE_SHARED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, n->shared_fd, 0);
    if (n->shared == MAP_FAILED)
        die("mmap: %s", strerror(errno));
    choose_cpu(n);
    choose_keys(n);
    choose_user(n);
    find_huge(n);
    open_files(n);
    n->shared->warm[0] = SLOT_DISK_RW;
    n->shared->warm[1] = SLOT_SHORT_RW;
    reset_files(n);
    start(n);
}

static void remove_segments(struct native *n)
{
    for (uint32_t i = 0; i < n->shared->nr_made; i++)
        shmctl(n->shared->made[i], IPC_RMID, NULL);
    n->shared->nr_made = 0;
    for (uint32_t i = 0; i < ORACLE_SHMS; i++)
        n->shared->shmid[i] = -1;
}

static void kill_all(struct native *n)
{
    for (uint32_t i = 0; i < ORACLE_PROCS; i++)
        if (n->shared->pid[i] > 0)
            kill(n->shared->pid[i], SIGKILL);
    if (n->pid > 0) {
        kill(n->pid, SIGKILL);
        waitpid(n->pid, NULL, 0);
    }
    n->pid = 0;
    remove_segments(n);
    memset(n->shared->pid, 0, sizeof(n->shared->pid));
}

void native_restart(struct native *n)
{
    kill_all(n);
    start(n);
}

void native_stop(struct native *n)
{
    kill_all(n);
    for (int i = 0; i < NR_BASE_SLOTS; i++)
        close(n->fd[i]);
    munmap(n->shared, ORACLE_SHARED_BYTES);
    close(n->shared_fd);
    close(n->image_fd);
}

/* -- sequences ----------------------------------------------------------------------------------------------------- */

void native_begin(struct native *n)
{
    struct oracle_shared *s = n->shared;

    reset_files(n);
    atomic_store(&s->published, 0);
    atomic_store(&s->done, 0);
    atomic_store(&s->turn, 0);
    atomic_store(&s->stop, 0);
    atomic_store(&s->born, 0);
    s->seen.nr = 0;
    atomic_store(&s->wake_at, ~0u);
    atomic_store(&s->command, ORACLE_CMD_RUN);
    wake(&s->command);
}

void native_publish(struct native *n, uint32_t nr)
{
    atomic_store(&n->shared->published, nr);
    wake(&n->shared->published);
}

enum native_end native_end(struct native *n)
{
    struct oracle_shared *s = n->shared;

    atomic_store(&s->stop, 1);
    atomic_store(&s->turn, ~0u);
    wake(&s->turn);
    native_publish(n, ~0u);
    return native_wait_command(n);
}

char *native_proc(pid_t pid, const char *name)
{
    size_t size = 1 << 20, used = 0;
    char path[64], *text = malloc(size);
    ssize_t got;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || !text)
        die("%s: %s", path, strerror(errno));
    while (used < size - 1 && (got = read(fd, text + used, size - 1 - used)) > 0)
        used += (size_t)got;
    close(fd);
    text[used] = '\0';
    return text;
}
