/* SPDX-License-Identifier: MIT */
/*
 * Takes PAGES pages, then does one thing again and again, so that a small machine runs out of memory right there. It ends
 * with status 7: the host has enough.
 *
 *   fork     children that stay, of an address space with many page tables     read     a large file, bit by bit
 *   write    into memfds                                                       thread   threads with stacks of their own
 *   exec     vfork and execve                                                  segment  SysV segments, some attached
 *   map      mappings that are protected and cut in part
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMES 48
#define PAGE 4096
#define MIB (1l << 20)

static char *file_name;

static char *map(size_t bytes)
{
    char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED)
        exit(3);
    return p;
}

static void touch(char *p, size_t bytes, size_t step)
{
    for (size_t i = 0; i < bytes; i += step)
        p[i] = 1;
}

static void do_fork(void)
{
    static pid_t child[TIMES];

    touch(map(1024 * MIB), 1024 * MIB, 2 * MIB); /* a page table each */
    for (int i = 0; i < TIMES; i++) {
        child[i] = fork();
        if (!child[i]) {
            pause();
            _exit(0);
        }
    }
    for (int i = 0; i < TIMES; i++) {
        kill(child[i], SIGKILL);
        waitpid(child[i], NULL, 0);
    }
}

static void do_exec(void)
{
    for (int i = 0; i < 8; i++) {
        pid_t child = vfork();

        if (!child) {
            execl("/bin/true", "true", NULL);
            _exit(1);
        }
        waitpid(child, NULL, 0);
    }
}

static void *work(void *arg)
{
    char frame[5 * PAGE];

    memset(frame, 1, sizeof(frame));
    return frame[7] ? arg : NULL;
}

static void do_thread(void)
{
    pthread_t thread[2];

    for (int i = 0; i < TIMES; i++) {
        if (pthread_create(&thread[i % 2], NULL, work, NULL))
            exit(3);
        if (i % 2) {
            pthread_join(thread[0], NULL);
            pthread_join(thread[1], NULL);
        }
    }
}

static void do_segment(void)
{
    for (int i = 0; i < TIMES; i++) {
        int id = shmget(IPC_PRIVATE, 16 * PAGE, IPC_CREAT | 0600);
        char *p = shmat(id, NULL, 0);

        shmctl(id, IPC_RMID, NULL);
        if (p == (void *)-1)
            exit(3);
        touch(p, 16 * PAGE, PAGE);
        if (i % 2)
            shmdt(p);
    }
}

static void do_read(void)
{
    static char bytes[16 * PAGE];
    int fd = open(file_name, O_RDONLY);

    for (int i = 0; i < 4 * TIMES; i++)
        if (pread(fd, bytes, sizeof(bytes), (long)i * (long)sizeof(bytes)) < 0)
            exit(3);
    close(fd);
}

static void do_write(void)
{
    static char bytes[PAGE];

    for (int i = 0; i < TIMES; i++) {
        int fd = memfd_create("exhaust", 0);

        for (int k = 0; k < 64; k++)
            if (write(fd, bytes, sizeof(bytes)) != sizeof(bytes))
                exit(3);
    }
}

static void do_map(void)
{
    for (int i = 0; i < 4 * TIMES; i++) {
        char *p = map(MIB);

        touch(p, MIB, 16 * PAGE);
        mprotect(p + 2 * PAGE, PAGE, PROT_READ);
        munmap(p + 16 * PAGE, PAGE);
    }
}

static const struct {
    const char *name;
    void (*act)(void);
} acts[] = {{"fork", do_fork}, {"exec", do_exec},   {"thread", do_thread}, {"segment", do_segment},
            {"read", do_read}, {"write", do_write}, {"map", do_map}};

int main(int argc, char **argv)
{
    size_t bytes = argc > 2 ? strtoul(argv[2], NULL, 0) * PAGE : 0;

    file_name = argc > 3 ? argv[3] : argv[0];
    touch(map(bytes + PAGE), bytes, PAGE);
    for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++)
        if (argc > 1 && !strcmp(argv[1], acts[i].name))
            acts[i].act();
    puts("done");
    return 7;
}
