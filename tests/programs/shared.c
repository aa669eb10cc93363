/* SPDX-License-Identifier: MIT */
/*
 * Shared memory of all kinds: memfd, tmpfs, SysV, shared anonymous. Argument 1: keep 8 MiB of each to the end (the
 * report shows them as shared memory); otherwise all of it is given back before.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE (8ul << 20)

static unsigned sum(const unsigned char *p)
{
    unsigned s = 0;

    for (size_t i = 0; i < SIZE; i += 4096)
        s += p[i];
    return s;
}

static unsigned char *map_fd(int fd)
{
    unsigned char *p = ftruncate(fd, SIZE) ? MAP_FAILED : mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    close(fd);
    return p;
}

int main(int argc, char **argv)
{
    int keep = argc > 1 && atoi(argv[1]), id = shmget(IPC_PRIVATE, SIZE, 0600);
    char path[] = "/dev/shm/quire-XXXXXX";
    unsigned char *p[4] = {
        map_fd(memfd_create("shared", MFD_CLOEXEC)),
        map_fd(mkstemp(path)),
        shmat(id, NULL, 0),
        mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0),
    };

    unlink(path);
    for (int i = 0; i < 4; i++) {
        if (p[i] == MAP_FAILED || p[i] == (void *)-1)
            return 1;
        memset(p[i], i + 1, SIZE);
    }
    if (fork() == 0) {
        for (int i = 0; i < 4; i++)
            p[i][0] += 10;
        _exit(0);
    }
    wait(NULL);
    for (int i = 0; i < 4; i++)
        printf("%d: %u\n", i, sum(p[i]));
    shmctl(id, IPC_RMID, NULL);
    if (keep)
        return 0;
    for (int i = 0; i < 4; i++)
        if (i == 2 ? shmdt(p[i]) : munmap(p[i], SIZE))
            return 1;
    return 0;
}
