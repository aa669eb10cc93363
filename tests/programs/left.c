/* SPDX-License-Identifier: MIT */
/*
 * Leaves two processes behind that go on starting processes, threads and programs, and have some of them die in every way:
 * left FILE ends at once with status 3; they go on until FILE exists, do a few rounds more, and say so.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define NR_LEFT 2
#define ROUNDS_MORE 3
#define BYTES (1ul << 20)

static char *self;

static void *map_and_touch(void *rounds)
{
    for (long i = 0; i < (long)rounds; i++) {
        char *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        memset(p, 1, BYTES);
        munmap(p, BYTES);
    }
    return NULL;
}

static int ended(pid_t pid)
{
    int status;

    waitpid(pid, &status, 0);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void want(const char *what, int got, int wanted)
{
    if (got == wanted)
        return;
    printf("%s: %d, not %d\n", what, got, wanted);
    exit(1);
}

static int run_program(void)
{
    pid_t pid = vfork();

    if (pid == 0) {
        execl(self, self, (char *)NULL);
        _exit(127);
    }
    return ended(pid);
}

static int killed_before_exec(void)
{
    pid_t pid = vfork();

    if (pid == 0) {
        kill(getpid(), SIGKILL);
        _exit(1);
    }
    return ended(pid);
}

static int crash(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        map_and_touch((void *)2L);
        *(volatile char *)16 = 1;
    }
    return ended(pid);
}

static int killed_while_busy(void)
{
    pid_t pid = fork();

    if (pid == 0)
        for (;;)
            map_and_touch((void *)1L);
    usleep(5000);
    kill(pid, SIGKILL);
    return ended(pid);
}

static void round_of_everything(void)
{
    pthread_t t;

    want("program", run_program(), 7);
    want("thread", pthread_create(&t, NULL, map_and_touch, (void *)4L), 0);
    map_and_touch((void *)2L);
    want("crash beside a thread", crash(), -SIGSEGV);
    pthread_join(t, NULL);
    want("crash", crash(), -SIGSEGV);
    want("kill", killed_while_busy(), -SIGKILL);
    want("kill before exec", killed_before_exec(), -SIGKILL);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 7;
    self = argv[0];
    for (int i = 0; i < NR_LEFT; i++)
        if (fork() == 0) {
            while (access(argv[1], F_OK))
                round_of_everything();
            for (int k = 0; k < ROUNDS_MORE; k++)
                round_of_everything();
            printf("done\n");
            return 0;
        }
    usleep(300000);
    return 3;
}
