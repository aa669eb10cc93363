/* SPDX-License-Identifier: MIT */
/* What a program sees of an execve: argv[0], environment in order,
 * descriptors, ignored signals, signal mask, /proc/self/exe. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

static void show(char **argv)
{
    struct sigaction sa;
    sigset_t mask;
    char exe[256] = "";
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

    exe[n > 0 ? n : 0] = 0;
    printf("exe %s\n", strrchr(exe, '/') ? strrchr(exe, '/') + 1 : exe);
    for (int i = 0; argv[i]; i++)
        printf("argv[%d] %s\n", i, argv[i]);
    for (int i = 0; environ[i]; i++)
        printf("env %s\n", environ[i]);
    for (int fd = 0; fd < 1024; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            printf("fd %d\n", fd);
    sigprocmask(SIG_SETMASK, NULL, &mask);
    for (int s = 1; s < 32; s++) {
        sigaction(s, NULL, &sa);
        if (sa.sa_handler == SIG_IGN || sigismember(&mask, s))
            printf("signal %d%s%s\n", s, sa.sa_handler == SIG_IGN ? " ignored" : "",
                   sigismember(&mask, s) ? " blocked" : "");
    }
}

int main(int argc, char **argv)
{
    static char *const env[] = {"B=2", "LD_BIND_NOW=1", "A=1", "Z=26", "MALLOC_ARENA_MAX=2", "C=a b c", NULL};
    char *next[] = {"a strange name", "second", "", "*", NULL};
    sigset_t mask;

    if (argc > 1) {
        show(argv);
        return 11;
    }
    signal(SIGUSR1, SIG_IGN);
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    open("/dev/null", O_RDONLY | O_CLOEXEC);
    dup2(0, 7);
    execve("/nonexistent/program", next, env);
    execve("/proc/self/exe", next, env);
    return 1;
}
