/* SPDX-License-Identifier: MIT */
/* Processes that end while their threads map, fault, call and begin: prints how each of them ended. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define BYTES (64ul << 10)

static void *map_often(void *arg)
{
    for (;;) {
        char *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        memset(p, 1, BYTES);
        getppid();
        munmap(p, BYTES);
    }
    return NULL;
}

static void *access_often(void *arg)
{
    volatile char *p = malloc(16 * BYTES);

    for (unsigned i = 0;; i += 4096)
        p[i % (16 * BYTES)]++;
    return NULL;
}

int main(void)
{
    for (int k = 0; k < 4; k++) {
        pid_t pid = fork();
        int status = 0;

        if (!pid) {
            pthread_t t;

            for (int i = 0; i < 4; i++)
                pthread_create(&t, NULL, i & 1 ? access_often : map_often, NULL);
            usleep((unsigned)k * 5000);
            _exit(3 + k);
        }
        if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 3 + k)
            return 1;
    }
    return 0;
}
