/* SPDX-License-Identifier: MIT */
/*
 * Ends with all kinds of memory in its hands: threads, a living child, memfds (one open, one only mapped), a SysV segment
 * attached twice and removed, a shared anonymous mapping, a file, locked memory. Prints its auxv as words, in hex.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE (64ul << 12)

extern char **environ;
static pthread_barrier_t ready;

static void *thread(void *size)
{
    void *p = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    memset(p, 1, (size_t)size);
    pthread_barrier_wait(&ready);
    pause();
    return NULL;
}

static char *map(int fd, int flags)
{
    char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, flags, fd, 0);

    return p == MAP_FAILED ? NULL : p;
}

static char *map_memfd(const char *name, int *keep)
{
    int fd = memfd_create(name, 0);
    char *p = ftruncate(fd, SIZE) ? NULL : map(fd, MAP_SHARED);

    if (keep)
        *keep = fd;
    else
        close(fd);
    return p;
}

static void print_auxv(void)
{
    unsigned long *word = (unsigned long *)(void *)environ;

    while (*word)
        word++;
    for (word++;; word += 2) {
        printf("%lx %lx ", word[0], word[1]);
        if (!word[0])
            break;
    }
    puts("");
}

static int start_child(char *shared)
{
    int up[2], fd;
    char c;

    if (pipe(up))
        return 1;
    if (!fork()) {
        alarm(60); /* it outlives its parent, and the run */
        for (size_t i = 0; i < SIZE / 2; i += 4096)
            shared[i] = 5;
        close(up[0]);
        for (fd = 0; fd < 3; fd++)
            close(fd);
        if (write(up[1], "", 1) == 1)
            pause();
        _exit(0);
    }
    return read(up[0], &c, 1) != 1;
}

int main(int argc, char **argv)
{
    int id = shmget(IPC_PRIVATE, SIZE, 0600), open_fd;
    char *p[6] = {map_memfd("kept", &open_fd),
                  map_memfd("closed", NULL),
                  shmat(id, NULL, 0),
                  map(-1, MAP_SHARED | MAP_ANONYMOUS),
                  map(open(argv[0], O_RDONLY), MAP_PRIVATE),
                  map(-1, MAP_PRIVATE | MAP_ANONYMOUS)};
    pthread_t t;

    for (int i = 0; i < 6; i++) {
        if (!p[i])
            return 1;
        memset(p[i], i + 1, SIZE / (i == 4 ? 64 : 1));
    }
    if (shmat(id, NULL, SHM_RDONLY) == (void *)-1 || shmctl(id, IPC_RMID, NULL) || start_child(p[3]))
        return 1;
    mlock(p[5], SIZE / 2);
    pthread_barrier_init(&ready, NULL, 3);
    pthread_create(&t, NULL, thread, (void *)SIZE);
    pthread_create(&t, NULL, thread, (void *)(2 * SIZE));
    pthread_barrier_wait(&ready);
    print_auxv();
    fflush(stdout);
    if (argc > 1) /* wait for the signal to save */
        pause();
    _exit(0);
}
