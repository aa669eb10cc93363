/* SPDX-License-Identifier: MIT */
/* A process whose threads map, fault and call executes another program, again and again: threads end without a word. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define BYTES (64ul << 10)
#define ROUNDS 4

static void *map_often(void *arg)
{
    for (;;) {
        char *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        memset(p, 1, BYTES);
        munmap(p, BYTES);
    }
    return NULL;
}

static void *fork_often(void *arg)
{
    for (;;) {
        pid_t pid = fork();

        if (pid == 0)
            _exit(0);
        waitpid(pid, NULL, 0);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    char rounds[16], *args[] = {argv[0], rounds, NULL};
    int k = argc > 1 ? atoi(argv[1]) : 0;
    pthread_t t;

    if (k == ROUNDS)
        return 0;
    pthread_create(&t, NULL, map_often, NULL);
    pthread_create(&t, NULL, k & 1 ? map_often : fork_often, NULL);
    usleep((unsigned)k * 3000);
    snprintf(rounds, sizeof(rounds), "%d", k + 1);
    execv(argv[0], args);
    return 1;
}
