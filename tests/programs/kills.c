/* SPDX-License-Identifier: MIT */
/* Children that end in every way: by themselves, killed while busy
 * in the memory manager, killed while asleep, stopped, by a fault. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static void busy(void)
{
    for (;;) {
        char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        memset(p, 1, 1 << 20);
        munmap(p, 1 << 20);
    }
}

static int killed_by(int sig, void (*child)(void), int wait_us)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        child();
        _exit(9);
    }
    usleep((useconds_t)wait_us);
    if (sig)
        kill(pid, sig);
    waitpid(pid, &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 100 + WEXITSTATUS(status);
}

static void sleeper(void)
{
    pause();
}

static void crash(void)
{
    *(volatile char *)16 = 1;
}

static void quit(void)
{
}

int main(void)
{
    for (int i = 0; i < 5; i++)
        printf("busy child: %d\n", killed_by(SIGKILL, busy, 20000 + 5000 * i));
    printf("sleeping child: %d\n", killed_by(SIGKILL, sleeper, 20000));
    printf("terminated child: %d\n", killed_by(SIGTERM, busy, 20000));
    printf("crashing child: %d\n", killed_by(0, crash, 0));
    printf("quiet child: %d\n", killed_by(0, quit, 0));
    return 0;
}
