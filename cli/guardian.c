/* SPDX-License-Identifier: MIT */
/*
 * Who kills the launcher with SIGKILL means the whole run, and without the launcher the followed processes would wait for
 * CPUs of the dead. A child of the launcher holds the reading end of a pipe; the writing end is the launcher's alone and
 * closes with it. If the run had not ended by then, the followed processes are killed.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "quire.h"

#define ROUNDS 100 /* processes may fork meanwhile */

static u32 kill_all(struct session *s)
{
    u32 n = 0;

    for (u32 i = 0; i < atomic_load(&s->proc_top); i++) {
        s32 pid = atomic_load(&s->proc[i].pid);

        n += atomic_load(&s->proc[i].state) != PROC_FREE && pid > 0 && !kill(pid, SIGKILL);
    }
    return n;
}

static _Noreturn void guard(struct session *s, int end)
{
    sigset_t all;
    char c;

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    prctl(PR_SET_NAME, "quire-guardian");
    dup2(end, STDIN_FILENO); /* nobody waits for the end of a file because of this process */
    close_range(STDIN_FILENO + 1, ~0u, 0);
    if (chdir("/"))
        _exit(1);
    while (read(STDIN_FILENO, &c, 1) > 0)
        ;
    for (u32 i = 0; i < ROUNDS && !atomic_load(&s->ended) && kill_all(s); i++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    _exit(0);
}

void guardian_start(struct session *s)
{
    int end[2];

    if (pipe2(end, O_CLOEXEC))
        return;
    fflush(NULL);
    if (!fork()) {
        close(end[1]);
        guard(s, end[0]);
    }
    close(end[0]); /* end[1] stays open as long as this process is there */
}
