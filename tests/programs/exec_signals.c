/* SPDX-License-Identifier: MIT */
/*
 * Signals and execve. With no argument: children that execute programs are told to end at every moment of that, and must end by it; some ignore it or
 * have it blocked, and the program that they execute still does. `exec_signals ignored`: which signals are ignored after an execve.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 120
#define STEP_US 250 /* so that they come in all of what takes an execve some 20 ms here */

static void see(const char *what)
{
    sigset_t mask;

    sigprocmask(SIG_SETMASK, NULL, &mask);
    printf("%s:", what);
    for (int s = 1; s < 32; s++) {
        struct sigaction sa = {0};

        sigaction(s, NULL, &sa);
        if (sa.sa_handler == SIG_IGN || sigismember(&mask, s))
            printf(" %d%s%s", s, sa.sa_handler == SIG_IGN ? " ignored" : "", sigismember(&mask, s) ? " blocked" : "");
    }
    puts("");
}

static int told_after(const char *self, useconds_t us)
{
    pid_t pid = fork();
    int status;

    if (!pid) {
        execl(self, self, "wait", (char *)NULL);
        _exit(1);
    }
    usleep(us);
    kill(pid, SIGTERM);
    waitpid(pid, &status, 0);
    return status;
}

int main(int argc, char **argv)
{
    sigset_t set;

    if (argc > 1 && !strcmp(argv[1], "wait")) {
        alarm(60); /* of a signal that was lost */
        pause();
        return 0;
    }
    if (argc > 1 && !strcmp(argv[1], "ignored")) {
        see("before");
        fflush(stdout);
        signal(SIGQUIT, SIG_DFL);
        signal(SIGUSR1, SIG_IGN);
        sigemptyset(&set);
        sigaddset(&set, SIGUSR2);
        sigprocmask(SIG_BLOCK, &set, NULL);
        execl(argv[0], argv[0], "after", (char *)NULL);
        return 1;
    }
    if (argc > 1) {
        see("after");
        return 0;
    }
    for (useconds_t i = 0; i < ROUNDS; i++) {
        int status = told_after(argv[0], i * STEP_US);

        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGTERM) {
            printf("round %u: status %#x\n", i, (unsigned)status);
            return 1;
        }
    }
    puts("all have ended");
    return 0;
}
