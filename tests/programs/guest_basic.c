/* SPDX-License-Identifier: MIT */
/* What a guest of any architecture does to memory:
 * heap, mmap, mremap, stack growth, fork with copy-on-write, threads, a file mapping. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static long deep(int n)
{
    volatile signed char frame[4096];

    frame[0] = (signed char)n;
    return n ? deep(n - 1) + frame[0] : 0;
}

static void *work(void *arg)
{
    char *block = malloc(1 << 20);
    long sum = 0;

    memset(block, (int)(long)arg, 1 << 20);
    for (int i = 0; i < 1 << 20; i += 4096)
        sum += block[i];
    free(block);
    return (void *)sum;
}

int main(int argc, char **argv)
{
    size_t size = 4 << 20;
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    FILE *self = fopen(argv[0], "rb");
    pthread_t thread[3];
    long sum = 0;
    int status;

    for (size_t i = 0; i < size; i += 4096)
        p[i] = 1;
    p = mremap(p, size, 2 * size, MREMAP_MAYMOVE);
    p[2 * size - 1] = 7;
    mprotect(p, 8192, PROT_READ);
    munmap(p + size, size);
    printf("stack %ld\n", deep(200));
    for (long i = 0; i < 3; i++)
        pthread_create(&thread[i], NULL, work, (void *)(i + 1));
    for (int i = 0; i < 3; i++) {
        void *r;

        pthread_join(thread[i], &r);
        sum += (long)r;
    }
    printf("threads %ld\n", sum);
    fflush(stdout);
    if (fork() == 0) {
        for (size_t i = 8192; i < size; i += 4096)
            p[i]++;
        _exit(p[8192] + 40);
    }
    wait(&status);
    printf("child %d, parent still sees %d\n", WEXITSTATUS(status), p[8192]);
    if (self) {
        char *map = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fileno(self), 0);

        printf("file %.3s\n", map + 1);
    }
    return 5;
}
