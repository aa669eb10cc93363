/* SPDX-License-Identifier: MIT */
/* Memory calls in a row, for bench/native.py: calls N: so many rounds of mmap, mprotect, mprotect, munmap, brk twice. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 10000;
    char *keep[16] = {0};

    for (long i = 0; i < rounds; i++) {
        size_t len = (size_t)(1 + i * 7 % 32) << 12;
        char *p = mmap(NULL, len + 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (p == MAP_FAILED || mprotect(p + 4096, 4096, PROT_READ) || mprotect(p + 4096, 4096, PROT_READ | PROT_WRITE))
            return 1;
        if (keep[i % 16] && munmap(keep[i % 16], 4096))
            return 1;
        if (munmap(p + 4096, len + 4096))
            return 1;
        keep[i % 16] = p;
        if (sbrk(4096) == (void *)-1 || sbrk(-4096) == (void *)-1)
            return 1;
    }
    return 0;
}
