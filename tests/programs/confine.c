/* SPDX-License-Identifier: MIT */
/*
 * Runs a program where ptrace(2) does not go as usual:
 *
 *     confine without CALL PROGRAM ARGUMENT...   CALL fails with EPERM, as in a container (seccomp(2)): ptrace,
 *                                                process_vm_readv or seccomp
 *     confine traced PROGRAM ARGUMENT...         it and all its descendants have a tracer already
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int number_of(const char *call)
{
    if (!strcmp(call, "ptrace"))
        return SYS_ptrace;
    if (!strcmp(call, "process_vm_readv"))
        return SYS_process_vm_readv;
    return SYS_seccomp;
}

static int without(const char *call, char **argv)
{
    struct sock_filter insn[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number_of(call), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog prog = {.len = sizeof(insn) / sizeof(insn[0]), .filter = insn};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog)) {
        perror("seccomp");
        return 99;
    }
    execv(argv[0], argv);
    perror(argv[0]);
    return 99;
}

static int traced(char **argv)
{
    const long options = PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;
    int status, result = 99;
    pid_t child = fork(), pid;

    if (!child) {
        raise(SIGSTOP); /* until it is seized */
        execv(argv[0], argv);
        _exit(99);
    }
    waitpid(child, &status, WUNTRACED);
    if (ptrace(PTRACE_SEIZE, child, NULL, options)) {
        perror("ptrace");
        kill(child, SIGKILL);
        return 99;
    }
    kill(child, SIGCONT);
    while ((pid = waitpid(-1, &status, __WALL)) > 0) {
        int sig = WIFSTOPPED(status) && !(status >> 16) ? WSTOPSIG(status) : 0;

        if (WIFSTOPPED(status))
            ptrace(PTRACE_CONT, pid, NULL, (long)sig);
        else if (pid == child)
            result = WIFEXITED(status) ? WEXITSTATUS(status) : 98;
    }
    return result;
}

int main(int argc, char **argv)
{
    if (argc > 3 && !strcmp(argv[1], "without"))
        return without(argv[2], argv + 3);
    if (argc > 2 && !strcmp(argv[1], "traced"))
        return traced(argv + 2);
    fprintf(stderr, "usage: confine without CALL PROGRAM... | confine traced PROGRAM...\n");
    return 99;
}
