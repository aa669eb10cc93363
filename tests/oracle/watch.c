/* SPDX-License-Identifier: MIT */
/*
 * Is the child dead, or does it only take long? Looked at each second that passes without an op done:
 *
 *   the supervisor has ended                                              dead
 *   a process is runnable or in uninterruptible sleep (/proc/PID/stat)    at work; too long once all of them together have
 *                                                                         had LONG_CPU_S of CPU, or LONG_S are over
 *   all of them sleep, HANG_LOOKS times in a row                          it hangs
 *
 * So a host with little CPU to give makes nobody dead: a process that waits for a CPU is runnable.
 */
#define _GNU_SOURCE
#include "tests/oracle/native.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HANG_LOOKS 30u
#define LONG_S 300

struct watch {
    uint32_t done, asleep;
    uint64_t cpu;
    time_t begin;
};

/* Not the time of day: somebody may set it, and it goes on while the host sleeps. */
static time_t seconds_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

/* State letter and CPU time in ticks; 'X': no such process. */
static char look_at(pid_t pid, uint64_t *cpu)
{
    unsigned long user = 0, system = 0;
    char path[64], text[1024], state = 'X', *p;
    ssize_t got = -1;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 'X';
    got = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[got > 0 ? got : 0] = '\0';
    p = strrchr(text, ')');
    if (!p || sscanf(p + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &state, &user, &system) != 3)
        return 'X';
    *cpu += user + system;
    return state;
}

/* CPU time of all of the child's processes; *busy: does one of them run, or would if it were let? */
static uint64_t look_at_all(const struct native *n, bool *busy)
{
    uint64_t cpu = 0;

    *busy = false;
    for (uint32_t i = 0; i <= ORACLE_PROCS; i++) {
        pid_t pid = i < ORACLE_PROCS ? n->shared->pid[i] : n->pid;
        char state = pid > 0 ? look_at(pid, &cpu) : 'X';

        *busy |= state == 'R' || state == 'D';
    }
    return cpu;
}

static void begin_watch(struct watch *w, const struct native *n)
{
    bool busy;

    *w = (struct watch){.done = atomic_load(&n->shared->done), .begin = seconds_now(), .cpu = look_at_all(n, &busy)};
}

static enum native_end judge(struct watch *w, struct native *n)
{
    uint64_t cpu;
    bool busy;

    if (waitpid(n->pid, NULL, WNOHANG) == n->pid) {
        n->pid = 0;
        return NATIVE_DEAD;
    }
    if (atomic_load(&n->shared->done) != w->done) {
        begin_watch(w, n);
        return NATIVE_DONE;
    }
    cpu = look_at_all(n, &busy);
    w->asleep = busy ? 0 : w->asleep + 1;
    if (w->asleep >= HANG_LOOKS)
        return NATIVE_DEAD;
    if ((cpu > w->cpu && cpu - w->cpu > (uint64_t)n->long_cpu_s * (uint64_t)sysconf(_SC_CLK_TCK)) ||
        seconds_now() - w->begin > LONG_S)
        return NATIVE_LONG;
    return NATIVE_DONE;
}

/* A second, or until it is woken. False: it was woken, or the word has changed. */
static bool wait_word(_Atomic uint32_t *word, uint32_t value)
{
    struct timespec t = {1, 0};

    return syscall(SYS_futex, word, FUTEX_WAIT, value, &t) && errno == ETIMEDOUT;
}

enum native_end native_wait_command(struct native *n)
{
    enum native_end e = NATIVE_DONE;
    struct watch w;
    uint32_t command;

    begin_watch(&w, n);
    while (e == NATIVE_DONE && (command = atomic_load(&n->shared->command)) != ORACLE_CMD_NONE)
        if (wait_word(&n->shared->command, command))
            e = judge(&w, n);
    return e;
}

enum native_end native_wait(struct native *n, uint32_t nr)
{
    enum native_end e = NATIVE_DONE;
    struct watch w;
    uint32_t done;

    begin_watch(&w, n);
    atomic_store(&n->shared->wake_at, nr);
    while (e == NATIVE_DONE && (done = atomic_load(&n->shared->done)) < nr)
        if (wait_word(&n->shared->done, done))
            e = judge(&w, n);
    return e;
}
