/* SPDX-License-Identifier: MIT */
/* Many short threads that map, write, protect and unmap at the same time; more of them than CPUs. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static void *work(void *arg)
{
    long sum = 0;

    for (int i = 0; i < 40; i++) {
        size_t size = 65536 + 4096 * (size_t)(i % 7);
        char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        memset(p, 1, size);
        mprotect(p + 4096, 4096, PROT_READ);
        sum += p[4096];
        munmap(p, size);
    }
    return (void *)sum;
}

int main(void)
{
    long total = 0;

    for (int round = 0; round < 5; round++) {
        pthread_t t[8];

        for (int i = 0; i < 8; i++)
            pthread_create(&t[i], NULL, work, NULL);
        for (int i = 0; i < 8; i++) {
            void *r;

            pthread_join(t[i], &r);
            total += (long)r;
        }
    }
    printf("%ld\n", total);
    return total == 5 * 8 * 40 ? 0 : 1;
}
