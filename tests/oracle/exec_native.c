/* SPDX-License-Identifier: MIT */
/* The kernel's side: a traced child executes the program; a traced execve stops before the first instruction. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/oracle/exec_oracle.h"

#define NO_TRACE 200 /* exit statuses of the child; else its errno */
#define NO_LIMIT 201
#define RIP_AT (16 * sizeof(u64)) /* in struct user_regs_struct, whose header has its own PAGE_SIZE */
#define RSP_AT (19 * sizeof(u64))

static void set_limit(int which, u64 value)
{
    struct rlimit r = {value, RLIM_INFINITY};

    if (value && setrlimit(which, &r))
        _exit(NO_LIMIT);
}

static void child(const struct exec_case *c)
{
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
        _exit(NO_TRACE);
    signal(SIGSEGV, SIG_DFL);
    personality(c->personality);
    set_limit(RLIMIT_DATA, c->data_limit);
    set_limit(RLIMIT_STACK, c->stack_limit);
    set_limit(RLIMIT_AS, c->as_limit);
    execve(c->path, (char *const *)(uintptr_t)c->argv, (char *const *)(uintptr_t)c->envp);
    _exit(errno < NO_TRACE ? errno : 199);
}

static FILE *open_proc(pid_t pid, const char *name)
{
    char path[64];
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
    f = fopen(path, "r");
    if (!f) {
        perror(path);
        exit(2);
    }
    return f;
}

static void see_vmas(pid_t pid, struct seen *out)
{
    FILE *f = open_proc(pid, "smaps");
    struct seen_vma *v = NULL;
    char line[512];

    while (fgets(line, sizeof(line), f)) {
        unsigned long start, end, offset, ino;
        char perms[5], name[64] = "";

        if (sscanf(line, "%lx-%lx %4s %lx %*s %lu %63s", &start, &end, perms, &offset, &ino, name) >= 5) {
            v = NULL;
            if (start >> 63 || out->nr == SEEN_VMAS)
                continue;
            v = &out->vma[out->nr++];
            *v = (struct seen_vma){.start = start, .end = end, .offset = ino ? offset : 0, .ino = ino};
            v->perms = (perms[0] == 'r' ? 1u : 0) | (perms[1] == 'w' ? 2u : 0) | (perms[2] == 'x' ? 4u : 0);
            v->object = ino ? SEEN_FILE : !strncmp(name, "[v", 2) ? SEEN_SPECIAL : SEEN_ANON;
        } else if (v && !strncmp(line, "VmFlags:", 8)) {
            v->flags = elf_parse_flags(line + 9);
        }
    }
    fclose(f);
}

/* Fields 26 to 28 and 45 to 51: proc_pid_stat(5). */
static void see_stat(pid_t pid, struct seen *out)
{
    static const u32 field[NR_SEEN_STATS] = {26, 27, 28, 45, 46, 47, 48, 49, 50, 51};
    FILE *f = open_proc(pid, "stat");
    char text[1024], *p, *save = NULL;
    u64 value[64] = {0};

    if (!fgets(text, sizeof(text), f))
        exit(2);
    fclose(f);
    p = strtok_r(strrchr(text, ')') + 1, " ", &save);
    for (u32 i = 3; p && i < 60; i++, p = strtok_r(NULL, " ", &save))
        value[i] = strtoull(p, NULL, 10);
    for (u32 i = 0; i < NR_SEEN_STATS; i++)
        out->stat[i] = value[field[i]];
}

void exec_see_sizes(const char *status, u64 *sizes)
{
    static const char *const name[NR_SEEN_SIZES] = SEEN_SIZES;

    for (u32 i = 0; i < NR_SEEN_SIZES; i++) {
        const char *line = strstr(status, name[i]);

        sizes[i] = line ? strtoull(line + strlen(name[i]), NULL, 10) : 0;
    }
}

static void see_status(pid_t pid, struct seen *out)
{
    FILE *f = open_proc(pid, "status");
    char text[8192];

    text[fread(text, 1, sizeof(text) - 1, f)] = 0;
    fclose(f);
    exec_see_sizes(text, out->sizes);
}

static void see_stack(pid_t pid, struct seen *out)
{
    char path[64];
    u64 words[2];
    FILE *f;
    int fd;

    f = open_proc(pid, "auxv");
    for (u32 i = 0; i + 2 <= AT_VECTOR_SIZE && fread(words, sizeof(words), 1, f) == 1; i += 2)
        memcpy(&out->auxv[i], words, sizeof(words));
    fclose(f);
    snprintf(path, sizeof(path), "/proc/%d/mem", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    for (u32 i = 0; i < out->nr; i++)
        if (out->vma[i].start <= out->sp && out->sp < out->vma[i].end)
            out->stack_bytes = (u32)MIN(out->vma[i].end - out->sp, (u64)SEEN_STACK);
    if (fd < 0 || pread(fd, out->stack, out->stack_bytes, (off_t)out->sp) != (ssize_t)out->stack_bytes)
        exit(2);
    close(fd);
}

static void see_all(pid_t pid, struct seen *out)
{
    out->sp = (u64)ptrace(PTRACE_PEEKUSER, pid, (void *)RSP_AT, NULL);
    out->ip = (u64)ptrace(PTRACE_PEEKUSER, pid, (void *)RIP_AT, NULL);
    see_vmas(pid, out);
    see_stat(pid, out);
    see_status(pid, out);
    see_stack(pid, out);
}

/* What others send: a shell that stops and continues its jobs, a terminal whose size changes. No execve ends by it. */
static bool from_others(int signo)
{
    return signo == SIGSTOP || signo == SIGTSTP || signo == SIGTTIN || signo == SIGTTOU || signo == SIGCONT ||
           signo == SIGWINCH;
}

bool exec_native(const struct exec_case *c, struct seen *out)
{
    pid_t pid, got;
    int status;

    memset(out, 0, sizeof(*out));
    fflush(stdout);
    pid = fork();
    if (pid < 0)
        exit(2);
    if (!pid)
        child(c);
    while ((got = waitpid(pid, &status, 0)) == pid && WIFSTOPPED(status) && from_others(WSTOPSIG(status)))
        ptrace(PTRACE_CONT, pid, NULL, NULL); /* without the signal */
    if (got != pid)
        exit(2);
    if (WIFEXITED(status)) {
        out->err = WEXITSTATUS(status);
        return out->err != NO_TRACE;
    }
    if (WIFSTOPPED(status)) {
        if (WSTOPSIG(status) == SIGTRAP)
            see_all(pid, out);
        else
            out->signo = WSTOPSIG(status);
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
    } else {
        out->signo = WTERMSIG(status);
    }
    return true;
}
