/* SPDX-License-Identifier: MIT */
/*
 * The program's start. The child waits until it is seized, takes the filter, and executes; an execve that fails says so
 * through a pipe that closes by itself when it succeeds.
 *
 *   recorder        fork ──▶ PTRACE_SEIZE ──▶ "go" ─────────────▶ read `failed`: errno, or closed
 *   child              └▶ read "go" ───────────┘ filter, execve ────┘
 *
 * Between "go" and the closing pipe the child is followed like any other thread: the filter lets execve through without
 * a stop, PTRACE_EVENT_EXEC stops it, and it stays stopped until the loop begins.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "priv.h"

#define OPTIONS                                                                                                        \
    (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC |     \
     PTRACE_O_TRACEEXIT | PTRACE_O_TRACESECCOMP | PTRACE_O_EXITKILL)

extern char **environ;

const char *native_refuses(const char *path)
{
    struct stat st;

    if (stat(path, &st))
        return NULL;
    if (st.st_mode & S_ISUID)
        return "a set-user-ID program: a followed program does not get another user's rights; record it from an "
               "account that has them, with a copy of the program without that bit";
    if (st.st_mode & S_ISGID && st.st_mode & S_IXGRP)
        return "a set-group-ID program: a followed program does not get another group's rights; record it from an "
               "account that has them, with a copy of the program without that bit";
    if (getxattr(path, "security.capability", NULL, 0) > 0)
        return "a program with file capabilities: a followed program does not get them; record it from an account "
               "that has them, with a copy of the program without capabilities";
    return NULL;
}

static _Noreturn void child(const struct native_options *o, int go, int failed)
{
    char c;
    int err = 0;

    if (read(go, &c, 1) != 1)
        _exit(127);
    close(go);
    err = -filter_install();
    if (!err) {
        execve(o->path, o->argv, environ);
        err = errno;
    } else {
        err = -err;
    }
    if (write(failed, &err, sizeof(err)) != sizeof(err))
        _exit(126);
    _exit(127);
}

static s32 tracer_of(s32 pid)
{
    char path[64], line[256];
    int tracer = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    f = fopen(path, "re");
    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "TracerPid: %d", &tracer) == 1)
            break;
    if (f)
        fclose(f);
    return tracer;
}

/* Yama's: 0 if it is not there. */
static int ptrace_scope(void)
{
    FILE *f = fopen("/proc/sys/kernel/yama/ptrace_scope", "re");
    int scope = 0;

    if (f && fscanf(f, "%d", &scope) != 1)
        scope = 0;
    if (f)
        fclose(f);
    return scope;
}

static void why_not_seized(s32 pid, int err, char *why, size_t size)
{
    s32 tracer = tracer_of(pid);

    if (tracer)
        snprintf(why, size, "already traced, by process %d; a program has one tracer: run `quire record` without it",
                 tracer);
    else if (ptrace_scope() == 3)
        snprintf(why, size, "ptrace is switched off until the next boot (kernel.yama.ptrace_scope = 3)");
    else if (ptrace_scope() == 2)
        snprintf(why, size,
                 "ptrace is for those with CAP_SYS_PTRACE (kernel.yama.ptrace_scope = 2); record it as root, "
                 "or `sysctl kernel.yama.ptrace_scope=1`");
    else
        snprintf(why, size,
                 "the system does not let it be traced: ptrace: %s; a container may forbid it: allow ptrace "
                 "there, such as by --cap-add=SYS_PTRACE",
                 strerror(err));
}

/* The child is a copy of this process, what is at `here` is so in both. */
static bool readable(const struct launch *l, char *why, size_t size)
{
    char here = 'q', there = 0, path[64];
    struct iovec local = {&there, 1}, remote = {&here, 1};

    snprintf(path, sizeof(path), "/proc/%d/maps", l->pid);
    if (process_vm_readv(l->pid, &local, 1, &remote, 1, 0) != 1)
        snprintf(why, size,
                 "the system does not let its memory be read: process_vm_readv: %s; a container may forbid "
                 "it: allow it there, such as by --cap-add=SYS_PTRACE",
                 strerror(errno));
    else if (access(path, R_OK))
        snprintf(why, size, "its mappings cannot be read: %s: %s; mount /proc", path, strerror(errno));
    else
        return true;
    return false;
}

static void end_child(const struct launch *l)
{
    int status;

    kill(l->pid, SIGKILL);
    while (waitpid(l->pid, &status, __WALL) >= 0 || errno == EINTR)
        ptrace(PTRACE_CONT, l->pid, NULL, NULL); /* PTRACE_EVENT_EXIT */
}

int launch(const struct native_options *o, struct launch *l, char *why, size_t why_size)
{
    int go[2], failed[2];

    if (pipe2(go, O_CLOEXEC) || pipe2(failed, O_CLOEXEC)) {
        snprintf(why, why_size, "%s", strerror(errno));
        return -1;
    }
    fflush(NULL);
    l->pid = fork();
    if (l->pid < 0) {
        snprintf(why, why_size, "no process can be made: %s", strerror(errno));
        return -1;
    }
    if (!l->pid) {
        close(go[1]);
        close(failed[0]);
        child(o, go[0], failed[1]);
    }
    close(go[0]);
    close(failed[1]);
    l->go = go[1];
    l->failed = failed[0];
    if (ptrace(PTRACE_SEIZE, l->pid, NULL, (void *)(uintptr_t)OPTIONS))
        why_not_seized(l->pid, errno, why, why_size);
    else if (readable(l, why, why_size))
        return 0;
    end_child(l);
    close(l->go);
    close(l->failed);
    return -1;
}

/* Until the child has executed or failed to: signals that reach it before are let through. */
static void wait_for_exec(const struct launch *l)
{
    struct pollfd p = {.fd = l->failed, .events = POLLIN};

    while (poll(&p, 1, 50) == 0) {
        siginfo_t si = {0};

        if (waitid(P_PID, (id_t)l->pid, &si, WSTOPPED | WNOHANG | WNOWAIT | __WALL) || !si.si_pid ||
            si.si_status >> 8 == PTRACE_EVENT_EXEC)
            continue;
        waitpid(l->pid, NULL, __WALL);
        ptrace(PTRACE_CONT, l->pid, NULL, (void *)(intptr_t)(si.si_status >> 8 ? 0 : si.si_status));
    }
}

int launch_go(struct launch *l, char *why, size_t why_size)
{
    int err = 0;
    ssize_t n;

    if (write(l->go, "", 1) != 1)
        err = errno;
    close(l->go);
    wait_for_exec(l);
    n = read(l->failed, &err, sizeof(err));
    close(l->failed);
    if (n <= 0)
        return 0;
    end_child(l);
    if (err < 0)
        snprintf(why, why_size,
                 "the system does not let it be followed: seccomp filter: %s; a container may forbid it: "
                 "allow seccomp(2) and prctl(2) there",
                 strerror(-err));
    else
        snprintf(why, why_size, "cannot be executed: %s", strerror(err));
    return -1;
}
