/* SPDX-License-Identifier: MIT */
/*
 * For the native recorder and `quire verify`: memory calls of most kinds, with failures, signals, threads that map at
 * the same time, fork, vfork, a thread that executes. Prints what must be the same with and without the recorder.
 *
 *     native_calls NAME     NAME: one of the parts below
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096ul
#define HUGE (2ul << 20)
#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif
#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#define CHECK(x)                                                                                                       \
    do {                                                                                                               \
        if (!(x)) {                                                                                                    \
            printf("%s:%d: %s: %s\n", __FILE__, __LINE__, #x, strerror(errno));                                        \
            exit(9);                                                                                                   \
        }                                                                                                              \
    } while (0)

static char *map(size_t pages, int prot)
{
    char *p = mmap(NULL, pages * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHECK(p != MAP_FAILED);
    return p;
}

static void part_calls(void)
{
    char *p = map(64, PROT_READ | PROT_WRITE), *q, path[] = "/tmp/quire-native-XXXXXX";
    unsigned char vec[64];
    int fd = mkstemp(path);

    unlink(path);
    CHECK(!ftruncate(fd, 10 * PAGE));
    memset(p, 1, 8 * PAGE);
    CHECK(!mprotect(p + 16 * PAGE, 8 * PAGE, PROT_READ));
    CHECK(!mprotect(p + 16 * PAGE, 8 * PAGE, PROT_READ | PROT_WRITE));
    CHECK(!munmap(p + 30 * PAGE, 2 * PAGE));
    CHECK(mprotect(p + 28 * PAGE, 8 * PAGE, PROT_READ) == -1 && errno == ENOMEM);
    CHECK(!mincore(p, 16 * PAGE, vec));
    printf("mincore %d %d\n", vec[7] & 1, vec[8] & 1);
    q = mremap(p, 8 * PAGE, 300 * PAGE, MREMAP_MAYMOVE);
    CHECK(q != MAP_FAILED && q[5 * PAGE] == 1);
    CHECK(mremap(q, 300 * PAGE, 4 * PAGE, 0) == q);
    CHECK(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EINVAL);
    CHECK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, -1, 0) == MAP_FAILED && errno == EBADF);
    q = mmap(NULL, 10 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(q != MAP_FAILED);
    q[0] = 1;
    CHECK(!madvise(q, 4 * PAGE, MADV_DONTNEED));
    CHECK(madvise(q + 1, PAGE, MADV_DONTNEED) == -1 && errno == EINVAL);
    CHECK(mmap(NULL, 4096 * PAGE, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
    CHECK(mmap(NULL, 1024 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
    CHECK(mmap(q, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED);
    CHECK(mmap(q + PAGE, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == q + PAGE);
    CHECK(sbrk(100 * PAGE) != (void *)-1 && sbrk(-50 * (long)PAGE) != (void *)-1);
    puts("calls done");
}

static sigjmp_buf back;
static volatile int seen_signo, seen_code;

static void on_fault(int signo, siginfo_t *si, void *context)
{
    seen_signo = signo;
    seen_code = si->si_code;
    siglongjmp(back, 1);
}

static void provoke(volatile char *at, int write)
{
    if (sigsetjmp(back, 1)) {
        printf("signal %d code %d\n", seen_signo, seen_code);
        return;
    }
    if (write)
        *at = 1;
    else
        (void)*at;
    puts("no signal");
}

static void part_signals(void)
{
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    char *p = map(4, PROT_READ), path[] = "/tmp/quire-native-XXXXXX";
    int fd = mkstemp(path);

    unlink(path);
    CHECK(!ftruncate(fd, PAGE));
    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGBUS, &sa, NULL);
    provoke(p, 1);
    CHECK(!munmap(p, PAGE));
    provoke(p, 0);
    provoke(mmap(NULL, 4 * PAGE, PROT_READ, MAP_SHARED, fd, 0) + 2 * PAGE, 0);
    kill(getpid(), SIGCHLD);
}

static void *map_often(void *arg)
{
    for (int i = 0; i < 300; i++) {
        size_t pages = 1 + (size_t)(i * 7 % 40);
        char *p = map(pages, PROT_READ | PROT_WRITE);

        p[0] = 1;
        CHECK(!mprotect(p, PAGE, PROT_READ));
        if (i % 3)
            CHECK(!munmap(p, pages * PAGE));
    }
    return NULL;
}

static void part_threads(void)
{
    pthread_t t[4];

    for (int i = 0; i < 4; i++)
        CHECK(!pthread_create(&t[i], NULL, map_often, NULL));
    for (int i = 0; i < 4; i++)
        CHECK(!pthread_join(t[i], NULL));
    puts("threads done");
}

static int wait_for(pid_t pid)
{
    int status;

    CHECK(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void part_processes(void)
{
    char *argv[] = {"sh", "-c", "exit 5", NULL};
    char *p = map(16, PROT_READ | PROT_WRITE);
    pid_t pid;

    memset(p, 1, 16 * PAGE);
    CHECK(!madvise(p, PAGE, MADV_DONTFORK));
    CHECK(!madvise(p + PAGE, PAGE, MADV_WIPEONFORK));
    for (int i = 0; i < 5; i++) {
        pid = fork();
        if (!pid) {
            map_often(NULL);
            _exit(i + p[2 * PAGE]);
        }
        printf("fork %d\n", wait_for(pid));
    }
    pid = vfork();
    if (!pid)
        _exit(3);
    printf("vfork %d\n", wait_for(pid));
    CHECK(!posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, NULL));
    printf("spawn %d\n", wait_for(pid));
    pid = fork();
    if (!pid)
        raise(SIGKILL);
    printf("killed %d\n", wait_for(pid));
    pid = fork();
    if (!pid)
        abort();
    printf("aborted %d\n", wait_for(pid));
}

static void part_limits(void)
{
    struct rlimit l = {256ul << 20, RLIM_INFINITY};

    CHECK(!setrlimit(RLIMIT_AS, &l));
    CHECK(mmap(NULL, 512ul << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == ENOMEM);
    CHECK(map(1024, PROT_READ));
    l.rlim_cur = 1 << 20;
    CHECK(!setrlimit(RLIMIT_DATA, &l));
    CHECK(sbrk(2 << 20) == (void *)-1 && errno == ENOMEM);
    CHECK(!getrlimit(RLIMIT_DATA, &l));
    printf("limit %lu\n", (unsigned long)l.rlim_cur);
}

static void *exec_from_thread(void *arg)
{
    execlp("echo", "echo", "from a thread", (char *)NULL);
    return NULL;
}

static void *sleep_long(void *arg)
{
    pause();
    return NULL;
}

static void part_exec(void)
{
    pthread_t t;

    fflush(stdout);
    CHECK(!pthread_create(&t, NULL, sleep_long, NULL));
    CHECK(!pthread_create(&t, NULL, exec_from_thread, NULL));
    pause();
}

/* Stopped and continued by its parent, which sees both. */
static void part_stops(void)
{
    pid_t pid = fork();
    int status;

    if (!pid) {
        raise(SIGSTOP);
        map_often(NULL);
        _exit(7);
    }
    CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
    printf("stopped %d\n", WSTOPSIG(status));
    CHECK(!kill(pid, SIGCONT));
    CHECK(waitpid(pid, &status, WCONTINUED) == pid && WIFCONTINUED(status));
    puts("continued");
    printf("ended %d\n", wait_for(pid));
}

/* Of hosts without huge pages, too: what is reserved is refused, what is not is mapped, whole pages at a time. */
static void part_huge(void)
{
    int fd = memfd_create("huge", MFD_HUGETLB), flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB;
    char *p = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, flags, -1, 0);

    printf("reserved %d\n", p != MAP_FAILED);
    p = mmap(NULL, 3 * HUGE - PAGE, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, -1, 0);
    printf("not reserved %d\n", p != MAP_FAILED);
    if (p != MAP_FAILED) {
        printf("page %d\n", munmap(p, PAGE));
        printf("whole %d\n", munmap(p + HUGE, HUGE));
        printf("protect %d %d\n", mprotect(p, HUGE, PROT_READ), mprotect(p + PAGE, HUGE, PROT_READ));
    }
    printf("odd %d, 1 GiB %d\n", mmap(NULL, PAGE, PROT_READ, flags | 13 << 26, -1, 0) != MAP_FAILED,
           mmap(NULL, PAGE, PROT_READ, flags | MAP_NORESERVE | 30 << 26, -1, 0) != MAP_FAILED);
    if (fd < 0)
        return;
    printf("size %d %d\n", ftruncate(fd, 2 * HUGE), ftruncate(fd, PAGE));
    printf("file %d\n", mmap(NULL, HUGE, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED);
    printf("file %d\n", mmap(NULL, HUGE, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, HUGE) != MAP_FAILED);
    printf("hole %d\n", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, HUGE));
    printf("filled %d\n", fallocate(fd, 0, 0, HUGE));
}

/* What drivers map: io_uring's rings. A system that forbids it (ENOSYS, EPERM) is fine. */
static void part_rings(void)
{
    unsigned params[30] = {0};
    int fd = (int)syscall(SYS_io_uring_setup, 8, params);
    char *p = fd < 0 ? MAP_FAILED : mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);

    if (p == MAP_FAILED)
        return;
    printf("grown %d\n", mremap(p, PAGE, 2 * PAGE, MREMAP_MAYMOVE) != MAP_FAILED);
    printf("protect %d\n", mprotect(p, PAGE, PROT_READ));
    map(3, PROT_READ);
    if (!fork()) {
        map(2, PROT_READ | PROT_WRITE);
        _exit(0);
    }
    wait(NULL);
}

/* Sizes of files and what limits them; ranges that go and come, where the file system can do that. */
static void part_disk(void)
{
    static const struct {
        int mode;
        long at, len;
    } change[] = {
        {0x20, 2 * PAGE, PAGE}, {8, PAGE, 2 * PAGE}, {8, 1, PAGE},       {8, PAGE, 100 * PAGE}, {0x20, 90 * PAGE, PAGE},
        {0x28, PAGE, PAGE},     {9, PAGE, PAGE},     {0x21, PAGE, PAGE}, {2, 0, PAGE},          {3, PAGE, PAGE},
        {0x10, 5 * PAGE, PAGE}, {0x40, 0, PAGE},     {8, 0, 0},          {0x20, -1, PAGE},      {0x1000, 0, PAGE},
        {0, 0, 30 * PAGE},      {1, 0, 60 * PAGE},   {0, 0, 1l << 62},   {0x20, 0, 1l << 43},   {8, 0, 1l << 43}};
    struct rlimit l = {50 * PAGE, RLIM_INFINITY};
    char path[] = "quire-disk-XXXXXX", *p;
    int fd = mkstemp(path);

    unlink(path);
    signal(SIGXFSZ, SIG_IGN);
    CHECK(!ftruncate(fd, 10 * PAGE));
    p = mmap(NULL, 10 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(p != MAP_FAILED);
    memset(p, 1, 10 * PAGE);
    for (size_t i = 0; i < sizeof(change) / sizeof(change[0]); i++) {
        int r = fallocate(fd, change[i].mode, change[i].at, change[i].len);

        printf("%d: %d %d\n", change[i].mode, r, r ? errno : 0);
    }
    CHECK(!setrlimit(RLIMIT_FSIZE, &l));
    printf("truncated %d\n", ftruncate(fd, 51 * PAGE));
    printf("extended %d\n", fallocate(fd, 0, 0, 52 * PAGE));
    l.rlim_cur = RLIM_INFINITY;
    CHECK(!setrlimit(RLIMIT_FSIZE, &l));
    CHECK(!ftruncate(fd, 51 * PAGE));
}

/* A stack may be as long as it likes, but not the address space. */
static void part_stack(void)
{
    static char alternate[65536];
    struct sigaction act = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof(alternate)};
    struct rlimit l = {RLIM_INFINITY, RLIM_INFINITY};
    volatile char here;

    CHECK(!sigaltstack(&stack, NULL));
    CHECK(!sigaction(SIGSEGV, &act, NULL));
    if (setrlimit(RLIMIT_STACK, &l))
        return; /* the hard limit */
    l.rlim_cur = 64ul << 20;
    CHECK(!setrlimit(RLIMIT_AS, &l));
    provoke(&here - (100ul << 20), 0);
    provoke(&here - (1ul << 20), 0);
    l.rlim_cur = RLIM_INFINITY;
    CHECK(!setrlimit(RLIMIT_AS, &l));
    provoke(&here - (2ul << 20), 1);
    map(3, PROT_READ);
}

static void map_one(const char *name, int fd)
{
    static const struct {
        int prot, flags;
    } how[] = {{PROT_READ, MAP_SHARED}, {PROT_READ, MAP_PRIVATE}, {PROT_READ | PROT_WRITE, MAP_SHARED}, {PROT_READ, 0}};

    for (size_t i = 0; i < sizeof(how) / sizeof(how[0]); i++) {
        char *p = mmap(NULL, PAGE, how[i].prot, how[i].flags, fd, 0);

        printf("%s: %d\n", name, p == MAP_FAILED ? errno : 0);
        if (p != MAP_FAILED)
            CHECK(!munmap(p, PAGE));
    }
}

/* Files that nobody can map: the kernel's own, directories, pipes, terminals, descriptors of other things. */
static void part_unmappable(void)
{
    static const char *const path[] = {"/proc/self/status",
                                       "/proc/self/ns/mnt",
                                       "/proc/self/pagemap",
                                       "/proc/filesystems",
                                       "/sys/kernel/mm",
                                       "/sys/kernel/mm/transparent_hugepage/enabled",
                                       "/tmp",
                                       "/dev/null",
                                       "/dev/full",
                                       "/dev/ptmx",
                                       "/dev/urandom",
                                       "/sys/fs/cgroup"};
    int fds[2];

    for (size_t i = 0; i < sizeof(path) / sizeof(path[0]); i++)
        map_one(path[i], open(path[i], O_RDONLY));
    CHECK(!pipe(fds));
    map_one("pipe", fds[0]);
    map_one("pidfd", (int)syscall(SYS_pidfd_open, getpid(), 0));
    map_one("eventfd", eventfd(0, 0));
    map_one("epoll", epoll_create1(0));
    map_one("O_PATH", open("/tmp", O_PATH));
    map_one("-1", -1);
}

/* Segments by number and by index; of indices only the program's own are asked for. */
static void part_segments(void)
{
    struct shmid_ds ds;
    struct shm_info info;
    int own[2] = {shmget(IPC_PRIVATE, 3 * PAGE, 0600), shmget(IPC_PRIVATE, 100, 0640)};

    CHECK(shmat(own[0], NULL, 0) != (void *)-1);
    CHECK(shmctl(0, SHM_INFO, (void *)&info) >= 0 && info.used_ids >= 2);
    for (int i = 0; i < 2; i++) {
        int index = own[i] & 0x7fff, id = shmctl(index, SHM_STAT, &ds);

        printf("segment %d: %d %o %lu %lu\n", i, id == own[i], ds.shm_perm.mode, ds.shm_segsz, ds.shm_nattch);
        id = shmctl(index, SHM_STAT_ANY, &ds);
        printf("segment %d: %d %o %lu %lu\n", i, id == own[i], ds.shm_perm.mode, ds.shm_segsz, ds.shm_nattch);
    }
    printf("%d\n", shmctl(-1, SHM_STAT, &ds));
    CHECK(!shmctl(own[0], IPC_RMID, NULL));
    CHECK(!shmctl(own[1], IPC_RMID, NULL));
}

static void cloned(long pid)
{
    int err = errno;

    if (!pid)
        _exit(0);
    printf("cloned %d %d\n", pid > 0, pid > 0 ? 0 : err);
    if (pid > 0)
        waitpid((pid_t)pid, NULL, __WALL);
}

/* clone and clone3 with arguments that fit, and that do not. */
static void part_clones(void)
{
    static const unsigned long flags[] = {
        SIGCHLD,       0,       0xff,       1ul << 33,  0x400000, CLONE_THREAD, CLONE_THREAD | CLONE_SIGHAND,
        CLONE_SIGHAND, 0x20200, 0x10000200, 0x20010900, 0x101000, 0x401000,     0x8040000,
    };
    static const struct {
        unsigned long arg[11],
            size; /* flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, its size, cgroup */
    } args[] = {
        {{0}, 88},
        {{0}, 64},
        {{0}, 63},
        {{0}, 5000},
        {{0xff}, 88},
        {{0, [4] = 64}, 88},
        {{0, [4] = 65}, 88},
        {{0x400000}, 88},
        {{1ul << 35}, 88},
        {{0x100000800}, 88},
        {{0x100000900}, 88},
        {{0, [5] = 4096}, 88},
        {{0, [6] = 4096}, 88},
        {{0, [5] = -8192ul, 4096}, 88},
        {{0x8000, [4] = SIGCHLD}, 88},
        {{0, [8] = 8}, 88},
        {{0, [9] = 1}, 88},
        {{0, [8] = 8, 40}, 88},
        {{1ul << 33, [10] = 1ul << 40}, 88},
    };

    signal(SIGRTMAX, SIG_IGN);
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        cloned(syscall(SYS_clone, flags[i], 0, 0, 0, 0));
    for (size_t i = 0; i < sizeof(args) / sizeof(args[0]); i++)
        cloned(syscall(SYS_clone3, args[i].arg, args[i].size));
    cloned(syscall(SYS_clone3, 8, 88));
}

static void advise(int pidfd, char *p)
{
    struct iovec v = {p, PAGE};
    long r = syscall(SYS_process_madvise, pidfd, &v, 1, MADV_COLD, 0);

    printf("advised %ld %d\n", r, r < 0 ? errno : 0);
}

static void *advise_thread(void *p)
{
    advise((int)syscall(SYS_pidfd_open, syscall(SYS_gettid), PIDFD_THREAD), p);
    return NULL;
}

/* pidfds of who lives, is dead, is reaped; of threads; other descriptors. */
static void part_pidfds(void)
{
    char *p = map(2, PROT_READ | PROT_WRITE);
    siginfo_t info;
    pthread_t t;
    pid_t pid;
    int fd;

    *p = 1;
    pid = fork();
    if (!pid) {
        pause();
        _exit(0);
    }
    fd = (int)syscall(SYS_pidfd_open, pid, 0);
    advise(fd, p);
    kill(pid, SIGKILL);
    CHECK(!waitid(P_PID, pid, &info, WEXITED | WNOWAIT));
    advise(fd, p);
    wait_for(pid);
    advise(fd, p);
    advise((int)syscall(SYS_pidfd_open, getpid(), 0), p);
    advise(0, p);
    advise(-1, p);
    pthread_create(&t, NULL, advise_thread, p);
    pthread_join(t, NULL);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } parts[] = {
        {"calls", part_calls},         {"signals", part_signals}, {"threads", part_threads},
        {"processes", part_processes}, {"limits", part_limits},   {"stops", part_stops},
        {"exec", part_exec},           {"huge", part_huge},       {"rings", part_rings},
        {"pidfds", part_pidfds},       {"disk", part_disk},       {"unmappable", part_unmappable},
        {"segments", part_segments},   {"clones", part_clones},   {"stack", part_stack},
    };

    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (argc > 1 && !strcmp(argv[1], parts[i].name))
            parts[i].run();
    return 11;
}
