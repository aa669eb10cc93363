/* SPDX-License-Identifier: MIT */
/*
 * SysV shared memory step by step: shmget, shmat, shmdt, shmctl, what mprotect, munmap, mremap and fork do to attaches.
 * Each step has its exact result in the table; the machine must give it, and so must the kernel that runs this test, in
 * a child with an IPC namespace of its own (as root; else only the machine is asked).
 *
 * Ids are those that a fresh namespace gives out: 0, 1, 2 ... Addresses are MAP + the table's offset; what gives an
 * address gives its offset from MAP.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/oracle/own_user.h"
#include "tests/unit/testing_full.h"

#include "abi/abi.h"
#include "cache/cache.h"

#define MAP 0x20000000l
#define PG 4096l
#define CREAT IPC_CREAT
#define EXCL IPC_EXCL
#define FIX (MREMAP_MAYMOVE | MREMAP_FIXED)
#define ANY_ADDR (-MAP) /* shmaddr NULL */

enum op {
    GET,
    AT,
    DT,
    RMID,
    NATTCH,
    MODE,
    KEY,
    STAT, /* index ─▶ id */
    STAT_ANY,
    CTL,  /* id, cmd ─▶ result */
    SET,  /* id, mode, uid */
    MAPS, /* VMAs of segments from MAP on */
    PROT,
    UNMAP,
    REMAP, /* old, old_len, new_len, new */
    PAGES, /* start, size, pgoff: remap_file_pages */
    STORE,
    LOAD,
    FORK_NATTCH, /* id: nattch while a child lives */
    CYCLE,       /* create and remove a segment so many times, the last id */
    USER,        /* from here on as this user, without capabilities: 1000 is one that nobody else is (own_user()) */
    MEMLOCK,     /* the soft limit */
    LOCK,        /* mlock */
};

struct step {
    enum op op;
    s64 a, b, c, d;
    s64 result;
};

static const char *const op_name[] = {"shmget",   "shmat",    "shmdt",        "IPC_RMID",         "nattch",  "mode",
                                      "key",      "SHM_STAT", "SHM_STAT_ANY", "shmctl",           "IPC_SET", "maps",
                                      "mprotect", "munmap",   "mremap",       "remap_file_pages", "store",   "load",
                                      "fork",     "cycle",    "setuid",       "setrlimit",        "mlock"};

static const struct step get_steps[] = {
    {GET, IPC_PRIVATE, 0, 0600, 0, -EINVAL},
    {GET, IPC_PRIVATE, 100, 0600, 0, 0},
    {GET, IPC_PRIVATE, 5000, 0600, 0, 1},
    {RMID, 0, 0, 0, 0, 0},
    {GET, IPC_PRIVATE, 1, 0600, 0, 2},
    {GET, 7, 1, 0, 0, -ENOENT},
    {GET, 7, 4096, CREAT | 0600, 0, 3},
    {GET, 7, 4096, CREAT | EXCL | 0600, 0, -EEXIST},
    {GET, 7, 4097, 0, 0, -EINVAL},
    {GET, 7, 0, 0, 0, 3},
    {GET, 7, 4097, CREAT | EXCL, 0, -EEXIST},
    {GET, 7, 100, 0777, 0, 3},
    {GET, 8, -1, CREAT, 0, -EINVAL},
    {GET, 8, 1l << 50, CREAT, 0, -ENOMEM},
    {GET, 8, 0, CREAT, 0, -EINVAL},
    {GET, 8, 4096, CREAT | SHM_HUGETLB | 0600, 0, -ENOMEM},
    {GET, 8, 4096, CREAT | SHM_HUGETLB | 14 << 26 | 0600, 0, -EINVAL},
    {GET, 8, 4096, CREAT | SHM_HUGETLB | 30 << 26 | 0600, 0, -ENOMEM},
    {GET, 9, 4096, CREAT | SHM_NORESERVE | 01600, 0, 4},
    {MODE, 4, 0, 0, 0, 0600},
    {STAT, 0, 0, 0, 0, -EINVAL},
    {STAT, 1, 0, 0, 0, 1},
    {STAT_ANY, 4, 0, 0, 0, 4},
    {STAT, 4 | 5 << 15, 0, 0, 0, 4},
    {STAT, 100, 0, 0, 0, -EINVAL},
    {CTL, 0, IPC_INFO, 0, 0, 4},
    {CTL, 0, SHM_INFO, 0, 0, 4},
    {CTL, -1, IPC_STAT, 0, 0, -EINVAL},
    {CTL, 3, 99, 0, 0, -EINVAL},
    {CTL, 3, -1, 0, 0, -EINVAL},
    {CTL, 0, IPC_STAT, 0, 0, -EINVAL},
    {CTL, 3, IPC_STAT, 1, 0, -EFAULT},
    {CTL, 0, IPC_SET, 1, 0, -EFAULT},
    {CTL, 0, IPC_INFO, 1, 0, -EFAULT},
    {CTL, 3, SHM_LOCK, 0, 0, 0},
    {MODE, 3, 0, 0, 0, 02600},
    {CTL, 3, SHM_LOCK, 0, 0, 0},
    {CTL, 3, SHM_UNLOCK, 0, 0, 0},
    {MODE, 3, 0, 0, 0, 0600},
    {SET, 3, 07444, 1000, 0, 0},
    {MODE, 3, 0, 0, 0, 0444},
    {SET, 3, 0600, -1, 0, -EINVAL},
    {SET, 0, 0600, 0, 0, -EINVAL},
    {CYCLE, 59, 0, 0, 0, 63},
    {CYCLE, 1, 0, 0, 0, 32768},
    {CYCLE, 1, 0, 0, 0, 32773},
    {CYCLE, 58, 0, 0, 0, 32768 + 63},
    {CYCLE, 1, 0, 0, 0, 65536},
    {CTL, 32768, IPC_STAT, 0, 0, -EINVAL},
};

static const struct step attach_steps[] = {
    {GET, 10, 5 * PG - 100, CREAT | 0600, 0, 0},
    {AT, -1, ANY_ADDR, 0, 0, -EINVAL},
    {AT, 1000, ANY_ADDR, 0, 0, -EINVAL},
    {AT, 1 << 15, ANY_ADDR, 0, 0, -EINVAL},
    {AT, 0, 123, 0, 0, -EINVAL},
    {AT, 0, ANY_ADDR + 123, SHM_RND | SHM_REMAP, 0, -EINVAL},
    {AT, 0, ANY_ADDR, SHM_REMAP, 0, -EINVAL},
    {AT, 0, -65536 - MAP, 0, 0, -ENOMEM},
    {AT, 0, -4096 - MAP, 0, 0, -EINVAL},
    {AT, 0, -4096 - MAP, SHM_REMAP, 0, -ENOMEM},
    {NATTCH, 0, 0, 0, 0, 0},
    {AT, 0, 0, 0, 0, 0},
    {AT, 0, PG, 0, 0, -EINVAL},
    {AT, 0, 4 * PG, 0, 0, -EINVAL},
    {AT, 0, -PG, 0, 0, -EINVAL},
    {AT, 0, PG, SHM_REMAP, 0, PG},
    {NATTCH, 0, 0, 0, 0, 2},
    {MAPS, 0, 0, 0, 0, 2},
    {STORE, PG, 7, 0, 0, 0},
    {LOAD, 0, 0, 0, 0, 7},
    {LOAD, 5 * PG, 0, 0, 0, 0},
    {DT, PG, 0, 0, 0, 0},
    {NATTCH, 0, 0, 0, 0, 1},
    {LOAD, 0, 0, 0, 0, 7},
    {DT, 0, 0, 0, 0, 0},
    {NATTCH, 0, 0, 0, 0, 0},
    {DT, 0, 0, 0, 0, -EINVAL},
    {DT, 1, 0, 0, 0, -EINVAL},
    {AT, 0, 100, SHM_RND, 0, 0},
    /* cut by mprotect: three attaches, which do not become one again */
    {PROT, PG, PG, PROT_READ, 0, 0},
    {NATTCH, 0, 0, 0, 0, 3},
    {PROT, PG, PG, 3, 0, 0},
    {NATTCH, 0, 0, 0, 0, 3},
    {MAPS, 0, 0, 0, 0, 3},
    {UNMAP, 2 * PG, PG, 0, 0, 0},
    {NATTCH, 0, 0, 0, 0, 3},
    {DT, PG, 0, 0, 0, -EINVAL},
    {DT, 0, 0, 0, 0, 0},
    {NATTCH, 0, 0, 0, 0, 0},
    {MAPS, 0, 0, 0, 0, 0},
    /* without its first page */
    {AT, 0, 0, 0, 0, 0},
    {UNMAP, 0, PG, 0, 0, 0},
    {DT, 0, 0, 0, 0, 0},
    {MAPS, 0, 0, 0, 0, 0},
    /* moved, in whole and in part, twice, and grown */
    {AT, 0, 0, 0, 0, 0},
    {REMAP, 0, 5 * PG, 5 * PG, 256 * PG, 256 * PG},
    {NATTCH, 0, 0, 0, 0, 1},
    {DT, 0, 0, 0, 0, -EINVAL},
    {DT, 256 * PG, 0, 0, 0, 0},
    {AT, 0, 0, 0, 0, 0},
    {REMAP, PG, 2 * PG, 2 * PG, 256 * PG, 256 * PG},
    {NATTCH, 0, 0, 0, 0, 3},
    {DT, 0, 0, 0, 0, 0},
    {NATTCH, 0, 0, 0, 0, 1},
    {DT, 255 * PG, 0, 0, 0, 0},
    {NATTCH, 0, 0, 0, 0, 0},
    {AT, 0, 0, 0, 0, 0},
    {REMAP, 0, 0, 5 * PG, 256 * PG, 256 * PG},
    {NATTCH, 0, 0, 0, 0, 2},
    {REMAP, 0, 5 * PG, 7 * PG, 512 * PG, 512 * PG},
    {MAPS, 0, 0, 0, 0, 2},
    {LOAD, 517 * PG, 0, 0, 0, -SIGBUS},
    {DT, 512 * PG, 0, 0, 0, 0},
    {MAPS, 0, 0, 0, 0, 1}, /* longer than the segment: its first part goes whole */
    {DT, 256 * PG, 0, 0, 0, 0},
    {NATTCH, 0, 0, 0, 0, 0},
    /* moved to where it continues what is there: one attach */
    {AT, 0, 0, 0, 0, 0},
    {REMAP, 3 * PG, PG, PG, 4 * PG, 4 * PG},
    {MAPS, 0, 0, 0, 0, 2},
    {REMAP, 0, PG, 3 * PG, PG, PG},
    {MAPS, 0, 0, 0, 0, 1},
    {NATTCH, 0, 0, 0, 0, 1},
    {DT, PG, 0, 0, 0, 0},
    {AT, 0, 0, 0, 0, 0},
    {REMAP, PG, PG, PG, 256 * PG, 256 * PG},
    {REMAP, 2 * PG, PG, PG, 257 * PG, 257 * PG},
    {MAPS, 0, 0, 0, 0, 3},
    {NATTCH, 0, 0, 0, 0, 3},
    {REMAP, 257 * PG, 0, PG, 513 * PG, 513 * PG},
    {REMAP, 256 * PG, 0, PG, 512 * PG, 512 * PG},
    {MAPS, 0, 0, 0, 0, 4},
    {NATTCH, 0, 0, 0, 0, 4},
    {DT, 511 * PG, 0, 0, 0, 0},
    {DT, 255 * PG, 0, 0, 0, 0},
    {DT, 0, 0, 0, 0, 0},
    {MAPS, 0, 0, 0, 0, 0},
    {NATTCH, 0, 0, 0, 0, 0},
    /* other pages of the segment: an attach more; where it was the last one of a removed segment, nothing is left to map, below */
    {AT, 0, 0, 0, 0, 0},
    {PAGES, PG, PG, 4, 0, 0},
    {MAPS, 0, 0, 0, 0, 3},
    {NATTCH, 0, 0, 0, 0, 3},
    {UNMAP, 0, 5 * PG, 0, 0, 0},
    {NATTCH, 0, 0, 0, 0, 0},
    /* rights */
    {AT, 0, 0, SHM_RDONLY, 0, 0},
    {PROT, 0, PG, 3, 0, -EACCES},
    {STORE, 0, 1, 0, 0, -SIGSEGV},
    {LOAD, 0, 0, 0, 0, 7},
    {DT, 0, 0, 0, 0, 0},
    {AT, 0, 0, SHM_EXEC, 0, 0},
    {FORK_NATTCH, 0, 0, 0, 0, 2},
    {NATTCH, 0, 0, 0, 0, 1},
    /* removed while attached */
    {RMID, 0, 0, 0, 0, 0},
    {MODE, 0, 0, 0, 0, 01600},
    {KEY, 0, 0, 0, 0, 0},
    {GET, 10, 1, 0, 0, -ENOENT},
    {AT, 0, 256 * PG, 0, 0, 256 * PG},
    {RMID, 0, 0, 0, 0, 0},
    {AT, 0, 0, 0, 0, -EINVAL}, /* fails, and is not the last detach */
    {DT, 0, 0, 0, 0, 0},
    {NATTCH, 0, 0, 0, 0, 1},
    {PAGES, 256 * PG, PG, 4, 0, 0},
    {UNMAP, 257 * PG, 4 * PG, 0, 0, 0},
    {PAGES, 256 * PG, PG, 2, 0, -EINVAL},
    {MAPS, 0, 0, 0, 0, 0},
    {NATTCH, 0, 0, 0, 0, -EINVAL},
    {AT, 0, ANY_ADDR, 0, 0, -EINVAL},
};

static const struct step permission_steps[] = {
    {GET, 7, 4096, CREAT | 0640, 0, 0},
    {GET, IPC_PRIVATE, 4096, 0600, 0, 1},
    {SET, 1, 0444, 1000, 0, 0},
    {GET, IPC_PRIVATE, 4096, 0, 0, 2},
    {AT, 2, 64 * PG, 0, 0, 64 * PG}, /* CAP_IPC_OWNER */
    {MEMLOCK, 0, 0, 0, 0, 0},
    {USER, 1000, 2000, 0, 0, 0},
    {AT, 0, 0, 0, 0, -EACCES},
    {AT, 0, 0, SHM_RDONLY, 0, -EACCES},
    {GET, 7, 1, 0, 0, 0},
    {GET, 7, 1, 0400, 0, -EACCES},
    {GET, 7, 1, 0004, 0, -EACCES},
    {GET, 7, 9999, 0400, 0, -EINVAL},
    {CTL, 0, IPC_STAT, 0, 0, -EACCES},
    {RMID, 0, 0, 0, 0, -EPERM},
    {SET, 0, 0666, 1000, 0, -EPERM},
    {CTL, 0, SHM_LOCK, 0, 0, -EPERM},
    {STAT, 0, 0, 0, 0, -EACCES},
    {STAT_ANY, 0, 0, 0, 0, 0},
    {CTL, 1, SHM_LOCK, 0, 0, -EPERM},
    {CTL, 1, SHM_UNLOCK, 0, 0, 0},
    {AT, 1, 0, SHM_RDONLY, 0, 0},
    {AT, 1, 256 * PG, 0, 0, -EACCES},
    {AT, 1, 256 * PG, SHM_EXEC | SHM_RDONLY, 0, -EACCES},
    {GET, 78, 4096, SHM_HUGETLB | CREAT | 0600, 0, -EPERM},
    {RMID, 1, 0, 0, 0, 0},
    {NATTCH, 1, 0, 0, 0, 1},
    {DT, 0, 0, 0, 0, 0},
    {NATTCH, 1, 0, 0, 0, -EINVAL},
};

/* Who is charged for SHM_LOCK, and until when. */
static const struct step lock_steps[] = {
    {GET, IPC_PRIVATE, 2 * PG, 0600, 0, 0},
    {GET, IPC_PRIVATE, 2 * PG, 0600, 0, 1},
    {SET, 1, 0600, 1000, 0, 0},
    {GET, IPC_PRIVATE, 1, SHM_HUGETLB | SHM_NORESERVE | 0600, 0, 2},
    {SET, 2, 0600, 1000, 0, 0},
    {MEMLOCK, 2 * PG, 0, 0, 0, 0},
    {CTL, 0, SHM_LOCK, 0, 0, 0}, /* root's */
    {CTL, 1, SHM_LOCK, 0, 0, 0}, /* root's, too, who locks it: more than the limit, with CAP_IPC_LOCK */
    {USER, 1000, 2000, 0, 0, 0},
    {GET, IPC_PRIVATE, 2 * PG, 0600, 0, 3},
    {CTL, 3, SHM_LOCK, 0, 0, 0},
    {MODE, 3, 0, 0, 0, 02600},
    {CTL, 3, SHM_LOCK, 0, 0, 0}, /* once is enough */
    {CTL, 2, SHM_LOCK, 0, 0, 0}, /* nothing to do: huge pages are not swapped out */
    {MODE, 2, 0, 0, 0, 0600},
    {CTL, 1, SHM_LOCK, 0, 0, 0},
    {CTL, 1, SHM_UNLOCK, 0, 0, 0},
    {CTL, 1, SHM_LOCK, 0, 0, -ENOMEM},
    {MODE, 1, 0, 0, 0, 0600},
    {GET, IPC_PRIVATE, 1, 0600, 0, 4},
    {CTL, 4, SHM_LOCK, 0, 0, -ENOMEM},
    {MEMLOCK, 3 * PG - 1, 0, 0, 0, 0}, /* whole pages */
    {CTL, 4, SHM_LOCK, 0, 0, -ENOMEM},
    {CTL, 3, SHM_UNLOCK, 0, 0, 0},
    {CTL, 3, SHM_UNLOCK, 0, 0, 0},
    {CTL, 4, SHM_LOCK, 0, 0, 0},
    {CTL, 3, SHM_LOCK, 0, 0, -ENOMEM},
    {RMID, 4, 0, 0, 0, 0}, /* destroyed */
    {CTL, 3, SHM_LOCK, 0, 0, 0},
    /* removed, but attached: charged until it is destroyed */
    {AT, 3, 0, 0, 0, 0},
    {RMID, 3, 0, 0, 0, 0},
    {MODE, 3, 0, 0, 0, 03600},
    {CTL, 1, SHM_LOCK, 0, 0, -ENOMEM},
    {CTL, 3, SHM_UNLOCK, 0, 0, 0},
    {CTL, 3, SHM_LOCK, 0, 0, 0},
    {DT, 0, 0, 0, 0, 0},
    {CTL, 1, SHM_LOCK, 0, 0, 0},
    /* given to somebody else: still charged to who locked it */
    {GET, IPC_PRIVATE, 1, 0600, 0, 5},
    {SET, 5, 0600, 1001, 0, 0},
    {CTL, 5, SHM_LOCK, 0, 0, -ENOMEM},
    {CTL, 1, SHM_UNLOCK, 0, 0, 0},
    {CTL, 5, SHM_LOCK, 0, 0, 0},
    {CTL, 1, SHM_LOCK, 0, 0, -ENOMEM},
    /* mlock() has a sum of its own */
    {AT, 1, 0, 0, 0, 0},
    {LOCK, 0, 2 * PG, 0, 0, 0},
    {CTL, 5, SHM_UNLOCK, 0, 0, 0},
    {CTL, 1, SHM_LOCK, 0, 0, 0},
    {MEMLOCK, 0, 0, 0, 0, 0},
    {CTL, 1, SHM_LOCK, 0, 0, -EPERM},
    {CTL, 1, SHM_UNLOCK, 0, 0, 0},
    {CTL, 0, SHM_UNLOCK, 0, 0, -EPERM},
};

#define TABLE(name)                                                                                                    \
    {                                                                                                                  \
#name, name, ARRAY_SIZE(name)                                                                                  \
    }
static const struct table {
    const char *name;
    const struct step *step;
    u32 nr;
} tables[] = {TABLE(get_steps), TABLE(attach_steps), TABLE(permission_steps), TABLE(lock_steps)};

static void complain(const struct table *t, u32 i, const char *who, s64 got)
{
    const struct step *s = &t->step[i];

    print_error("%s[%u]: %s(%lld, %lld, %lld, %lld): %s gives %lld, the table says %lld\n", t->name, i, op_name[s->op],
                (long long)s->a, (long long)s->b, (long long)s->c, (long long)s->d, who, (long long)got,
                (long long)s->result);
}

/* -- the kernel ---------------------------------------------------------------------------------------------------- */

static sigjmp_buf jump;

static void on_signal(int sig)
{
    siglongjmp(jump, sig);
}

static s64 native_access(s64 at, int value, bool store)
{
    volatile unsigned char *p = (volatile unsigned char *)(MAP + at);
    int sig = sigsetjmp(jump, 1);

    if (sig)
        return -sig;
    if (!store)
        return *p;
    *p = (unsigned char)value;
    return 0;
}

static s64 native_maps(void)
{
    FILE *f = fopen("/proc/self/maps", "re");
    char line[512];
    s64 nr = 0;

    while (fgets(line, sizeof(line), f))
        nr += strtol(line, NULL, 16) >= MAP && strstr(line, "SYSV");
    fclose(f);
    return nr;
}

static s64 native_stat(const struct step *s)
{
    struct shmid_ds ds;

    if (shmctl((int)s->a, IPC_STAT, &ds) < 0)
        return -errno;
    return s->op == NATTCH ? (s64)ds.shm_nattch : s->op == MODE ? (s64)ds.shm_perm.mode : (s64)ds.shm_perm.__key;
}

static s64 native_fork(const struct step *s)
{
    struct step nattch = {NATTCH, s->a, 0, 0, 0, 0};
    int pipefd[2];
    pid_t child;
    s64 nr;

    if (pipe(pipefd) < 0 || (child = fork()) < 0)
        return -errno;
    if (child == 0) {
        close(pipefd[1]);
        _exit((int)read(pipefd[0], &nr, 1));
    }
    nr = native_stat(&nattch);
    close(pipefd[0]);
    close(pipefd[1]);
    waitpid(child, NULL, 0);
    return nr;
}

static s64 native_cycle(s64 times)
{
    int id = -1;

    while (times--) {
        id = shmget(IPC_PRIVATE, 1, 0600);
        shmctl(id, IPC_RMID, NULL);
    }
    return id;
}

static uid_t native_uid(s64 uid)
{
    static uid_t own;

    if (uid != 1000)
        return (uid_t)uid;
    own = own ? own : own_user();
    return own ? own : 1000;
}

static s64 native_user(const struct step *s)
{
    return setgroups(0, NULL) || setgid((gid_t)s->b) || setuid(native_uid(s->a)) ? -errno : 0;
}

static s64 native_set(const struct step *s)
{
    struct shmid_ds ds = {.shm_perm = {.mode = (unsigned short)s->b, .uid = native_uid(s->c), .gid = 0}};

    return shmctl((int)s->a, IPC_SET, &ds);
}

static s64 native_memory(const struct step *s)
{
    void *at = (void *)(MAP + s->a);

    if (s->op == PROT)
        return mprotect(at, (size_t)s->b, (int)s->c);
    if (s->op == UNMAP)
        return munmap(at, (size_t)s->b);
    if (s->op == PAGES)
        return remap_file_pages(at, (size_t)s->b, 0, (size_t)s->c, 0);
    if (s->op == LOCK)
        return syscall(SYS_mlock, at, s->b); /* AddressSanitizer's mlock() does nothing */
    at = mremap(at, (size_t)s->b, (size_t)s->c, FIX, (void *)(MAP + s->d));
    return at == MAP_FAILED ? -1 : (s64)at - MAP;
}

static s64 native_limit(rlim_t bytes)
{
    struct rlimit l;

    return getrlimit(RLIMIT_MEMLOCK, &l) || setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){bytes, l.rlim_max}) ? -1 : 0;
}

static s64 native_call(const struct step *s)
{
    static struct shmid_ds ds;
    void *at;

    switch (s->op) {
    case GET:
        return shmget((key_t)s->a, (size_t)s->b, (int)s->c);
    case AT:
        at = shmat((int)s->a, (void *)(MAP + s->b), (int)s->c);
        return at == (void *)-1 ? -1 : (s64)at - MAP;
    case DT:
        return shmdt((void *)(MAP + s->a));
    case RMID:
        return shmctl((int)s->a, IPC_RMID, NULL);
    case STAT:
    case STAT_ANY:
        return shmctl((int)s->a, s->op == STAT ? SHM_STAT : 15, &ds);
    case CTL:
        return shmctl((int)s->a, (int)s->b, s->c ? (struct shmid_ds *)8 : &ds);
    case SET:
        return native_set(s);
    case MEMLOCK:
        return native_limit((rlim_t)s->a);
    default:
        return native_memory(s);
    }
}

static s64 native_step(const struct step *s)
{
    s64 r;

    switch (s->op) {
    case NATTCH:
    case MODE:
    case KEY:
        return native_stat(s);
    case MAPS:
        return native_maps();
    case STORE:
    case LOAD:
        return native_access(s->a, (int)s->b, s->op == STORE);
    case FORK_NATTCH:
        return native_fork(s);
    case CYCLE:
        return native_cycle(s->a);
    case USER:
        return native_user(s);
    default:
        r = native_call(s);
        return r == -1 ? -errno : r;
    }
}

/* In a child: its own IPC namespace, its own credentials. */
static u32 run_native(const struct table *t)
{
    pid_t child = fork();
    u32 bad = 0;
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        if (unshare(CLONE_NEWIPC) < 0)
            _exit(0);
        signal(SIGBUS, on_signal);
        signal(SIGSEGV, on_signal);
        for (u32 i = 0; i < t->nr; i++) {
            s64 got = native_step(&t->step[i]);

            if (got != t->step[i].result) {
                complain(t, i, "the kernel", got);
                bad++;
            }
        }
        _exit(bad ? 1 : 0);
    }
    waitpid(child, &status, 0);
    return status != 0;
}

/* -- the machine --------------------------------------------------------------------------------------------------- */

struct model {
    struct machine *m;
    struct cpu *cpu;
};

static s64 model_call(struct model *v, enum abi_nr nr, s64 a, s64 b, s64 c)
{
    static char ds[512];
    struct abi_call call = {.nr = nr, .arg = {(u64)a, (u64)b, (u64)c}};

    if (nr == ABI_shmctl && !c) {
        call.in[2] = (struct abi_buf){ds, sizeof(ds)};
        call.out[2] = (struct abi_buf){ds, sizeof(ds)};
    }
    return abi_syscall(v->cpu, &call);
}

static s64 model_stat(struct model *v, const struct step *s)
{
    struct shmid_ds ds;
    struct abi_call call = {.nr = ABI_shmctl, .arg = {(u64)s->a, IPC_STAT, 1}, .out[2] = {&ds, sizeof(ds)}};
    s64 r = abi_syscall(v->cpu, &call);

    if (r)
        return r;
    return s->op == NATTCH ? (s64)ds.shm_nattch : s->op == MODE ? (s64)ds.shm_perm.mode : (s64)ds.shm_perm.__key;
}

static s64 model_set(struct model *v, const struct step *s)
{
    struct shmid_ds ds = {.shm_perm = {.mode = (unsigned short)s->b, .uid = (uid_t)s->c, .gid = 0}};
    struct abi_call call = {.nr = ABI_shmctl, .arg = {(u64)s->a, IPC_SET, 1}, .in[2] = {&ds, sizeof(ds)}};

    return abi_syscall(v->cpu, &call);
}

static s64 model_maps(struct model *v)
{
    struct vm_area_struct *vma;
    s64 nr = 0;

    for_each_vma (vma, v->cpu->current->mm)
        nr += (s64)vma->vm_start >= MAP && vma->vm_ops == VM_OPS_SHM;
    return nr;
}

static s64 model_access(struct model *v, s64 at, int value, bool store)
{
    unsigned char byte = (unsigned char)value;
    struct fault_info fi;
    int sig = store ? mmu_copy_to_user(v->cpu, (va_t)(MAP + at), &byte, 1, &fi)
                    : mmu_copy_from_user(v->cpu, &byte, (va_t)(MAP + at), 1, &fi);

    return sig ? -sig : store ? 0 : byte;
}

static s64 model_fork(struct model *v, const struct step *s)
{
    struct step nattch = {NATTCH, s->a, 0, 0, 0, 0};
    struct task *child = kernel_clone(v->cpu, 0, 2, 2);
    s64 nr = model_stat(v, &nattch);

    assert_books(machine_check, v->m);
    task_exit(v->cpu, child);
    return nr;
}

static s64 model_cycle(struct model *v, s64 times)
{
    s64 id = -1;

    while (times--) {
        id = model_call(v, ABI_shmget, IPC_PRIVATE, 1, 0600);
        model_call(v, ABI_shmctl, id, IPC_RMID, 0);
    }
    return id;
}

static s64 model_user(struct model *v, const struct step *s)
{
    task_set_ids(v->cpu->current, (u32)s->a, (u32)s->b);
    task_set_caps(v->cpu->current, 0);
    return 0;
}

static s64 model_memory(struct model *v, const struct step *s)
{
    s64 r;

    switch (s->op) {
    case PROT:
        return sys_mprotect(v->cpu, (va_t)(MAP + s->a), (u64)s->b, (u32)s->c);
    case UNMAP:
        return sys_munmap(v->cpu, (va_t)(MAP + s->a), (u64)s->b);
    case LOCK:
        return sys_mlock(v->cpu, (va_t)(MAP + s->a), (u64)s->b);
    case PAGES:
        return sys_remap_file_pages(v->cpu, (va_t)(MAP + s->a), (u64)s->b, 0, (u64)s->c, 0);
    case REMAP:
        r = sys_mremap(v->cpu, (va_t)(MAP + s->a), (u64)s->b, (u64)s->c, FIX, (va_t)(MAP + s->d));
        return r < 0 ? r : r - MAP;
    case STORE:
    case LOAD:
        return model_access(v, s->a, (int)s->b, s->op == STORE);
    default:
        task_set_rlimit(v->cpu->current, RLIMIT_MEMLOCK_, (u64)s->a, (u64)s->a);
        return 0;
    }
}

static s64 model_step(struct model *v, const struct step *s)
{
    s64 r;

    switch (s->op) {
    case GET:
        return model_call(v, ABI_shmget, s->a, s->b, s->c);
    case AT:
        r = model_call(v, ABI_shmat, s->a, MAP + s->b, s->c);
        return IS_ERR_VALUE(r) ? r : r - MAP;
    case DT:
        return model_call(v, ABI_shmdt, MAP + s->a, 0, 0);
    case RMID:
        return model_call(v, ABI_shmctl, s->a, IPC_RMID, 0);
    case NATTCH:
    case MODE:
    case KEY:
        return model_stat(v, s);
    case STAT:
    case STAT_ANY:
        return model_call(v, ABI_shmctl, s->a, s->op == STAT ? SHM_STAT : 15, 0);
    case CTL:
        return model_call(v, ABI_shmctl, s->a, s->b, s->c ? 8 : 0);
    case SET:
        return model_set(v, s);
    case MAPS:
        return model_maps(v);
    case FORK_NATTCH:
        return model_fork(v, s);
    case CYCLE:
        return model_cycle(v, s->a);
    case USER:
        return model_user(v, s);
    default:
        return model_memory(v, s);
    }
}

static void model_init(struct model *v)
{
    v->m = test_machine_full(NULL);
    v->cpu = test_cpu(v->m);
    test_task(v->cpu, 1);
    switch_mm(v->cpu, v->cpu->current->mm);
    task_set_ids(v->cpu->current, 0, 0);
    task_set_caps(v->cpu->current, CAP_FULL_SET);
}

static u32 run_model(const struct table *t)
{
    struct model v;
    u32 bad = 0;

    model_init(&v);
    for (u32 i = 0; i < t->nr; i++) {
        s64 got = model_step(&v, &t->step[i]);

        if (got != t->step[i].result) {
            complain(t, i, "the machine", got);
            bad++;
        }
        assert_books(machine_check, v.m);
    }
    test_machine_end(v.m);
    return bad;
}

static void test_tables(void **state)
{
    u32 bad = 0;

    for (u32 i = 0; i < ARRAY_SIZE(tables); i++) {
        bad += run_native(&tables[i]);
        bad += run_model(&tables[i]);
    }
    assert_int_equal(bad, 0);
}

/* Each allocation fails once: -ENOMEM (or -EFAULT where a page was not to be had), and nothing is left behind. */
static void test_no_memory(void **state)
{
    bool failed = true;
    u64 nth;

    for (nth = 1; failed; nth++) {
        struct model v;
        struct task *child;
        s64 id, at = -1;

        assert_true(nth < 300);
        model_init(&v);
        fail_arm(v.m, nth);
        id = model_call(&v, ABI_shmget, 5, 8 * PG, CREAT | 0600);
        if (id >= 0)
            at = model_call(&v, ABI_shmat, id, MAP, 0);
        if (at == MAP) {
            sys_mprotect(v.cpu, (va_t)MAP + PG, PG, 1);
            model_access(&v, 3 * PG, 1, true);
            child = kernel_clone(v.cpu, 0, 2, 2);
            if (!IS_ERR(child))
                task_exit(v.cpu, child);
        }
        failed = fail_injected(v.m);
        assert_true(id == 0 || id == -ENOMEM);
        assert_true(id < 0 || at == MAP || at == -ENOMEM);
        assert_books(machine_check, v.m);
        if (id == 0)
            assert_int_equal(model_call(&v, ABI_shmctl, id, IPC_RMID, 0), 0);
        if (at == MAP)
            assert_int_equal(model_call(&v, ABI_shmdt, MAP, 0, 0), 0);
        assert_int_equal(v.m->cache->shm.in_use, 0);
        assert_int_equal(v.m->cache->nr_inodes, 0);
        assert_books(machine_check, v.m);
        test_machine_end(v.m);
    }
    assert_true(nth > 10);
}

/* kernel.shmmni, kernel.shmall, kernel.shmmax. */
static void test_limits(void **state)
{
    struct model v;

    model_init(&v);
    v.m->config.shmmni = 2;
    v.m->config.shmall = 10;
    v.m->config.shmmax = 6 * PG;
    assert_int_equal(model_call(&v, ABI_shmget, IPC_PRIVATE, 6 * PG + 1, 0600), -EINVAL);
    assert_int_equal(model_call(&v, ABI_shmget, IPC_PRIVATE, 6 * PG, 0600), 0);
    assert_int_equal(model_call(&v, ABI_shmget, IPC_PRIVATE, 5 * PG, 0600), -ENOSPC);
    assert_int_equal(model_call(&v, ABI_shmget, IPC_PRIVATE, 4 * PG, 0600), 1);
    assert_int_equal(model_call(&v, ABI_shmctl, 0, IPC_RMID, 0), 0);
    assert_int_equal(model_call(&v, ABI_shmget, IPC_PRIVATE, PG, 0600), 2);
    assert_int_equal(model_call(&v, ABI_shmget, IPC_PRIVATE, PG, 0600), -ENOSPC);
    assert_books(machine_check, v.m);
    test_machine_end(v.m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tables), cmocka_unit_test(test_no_memory),
                                       cmocka_unit_test(test_limits)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
