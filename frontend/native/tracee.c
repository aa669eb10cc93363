/* SPDX-License-Identifier: MIT */
/* What can be learnt of a stopped thread: its memory, its open files, the views in /proc. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "priv.h"

#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif

#define PATH_ROOM 64

/* -- memory -------------------------------------------------------------------------------------------------------- */

s64 tracee_read(const struct thread *t, u64 addr, void *dst, size_t len)
{
    struct iovec local = {dst, len}, remote = {(void *)(uintptr_t)addr, len};

    return process_vm_readv(t->tid, &local, 1, &remote, 1, 0);
}

s64 tracee_write(const struct thread *t, u64 addr, const void *src, size_t len)
{
    struct iovec local = {(void *)(uintptr_t)src, len}, remote = {(void *)(uintptr_t)addr, len};

    return process_vm_writev(t->tid, &local, 1, &remote, 1, 0);
}

s64 tracee_string(const struct thread *t, u64 addr, char *dst, size_t room)
{
    size_t n = 0;

    while (n < room) {
        size_t to_page_end = 4096 - ((addr + n) & 4095);
        s64 got = tracee_read(t, addr + n, dst + n, to_page_end < room - n ? to_page_end : room - n);
        const char *end = got > 0 ? memchr(dst + n, 0, (size_t)got) : NULL;

        if (end)
            return end - dst;
        if (got <= 0)
            return -1;
        n += (size_t)got;
    }
    return (s64)room;
}

/* -- files --------------------------------------------------------------------------------------------------------- */

static int thread_pidfd(struct thread *t)
{
    if (t->pidfd < 0) {
        t->pidfd = (int)syscall(SYS_pidfd_open, t->tid, PIDFD_THREAD);
        if (t->pidfd < 0) /* kernels before 6.9: the process's own table, which its threads nearly always share */
            t->pidfd = (int)syscall(SYS_pidfd_open, t->proc->tgid, 0);
        if (t->pidfd >= 0)
            fcntl(t->pidfd, F_SETFD, FD_CLOEXEC);
    }
    return t->pidfd;
}

static void from_stat(struct native_file *f, const struct stat *st)
{
    f->dev = st->st_dev;
    f->ino = st->st_ino;
    f->size = (u64)st->st_size;
    f->rdev = st->st_rdev;
    f->mode = st->st_mode;
    f->uid = st->st_uid;
}

/* The open file behind the descriptor; name: where it was opened. False: not an open descriptor. */
bool tracee_fd(struct thread *t, int fd, struct native_file *f, char *name, size_t room)
{
    int own = fd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, thread_pidfd(t), fd, 0);
    struct statfs fs = {0};
    struct stat st;
    char link[PATH_ROOM];
    ssize_t n;

    name[0] = 0;
    if (own < 0)
        return false;
    *f = (struct native_file){.seals = -1};
    if (!fstat(own, &st))
        from_stat(f, &st);
    if (!fstatfs(own, &fs)) {
        f->fs_magic = (u32)fs.f_type;
        f->mount_flags = (u32)fs.f_flags;
    }
    f->open_flags = (u32)fcntl(own, F_GETFL);
    f->seals = fcntl(own, F_GET_SEALS);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", own);
    n = readlink(link, name, room - 1);
    name[n > 0 ? n : 0] = 0;
    close(own);
    return true;
}

bool tracee_mapped_file(s32 pid, u64 start, u64 end, struct native_file *f)
{
    char path[PATH_ROOM];
    struct statfs fs;
    struct stat st;

    snprintf(path, sizeof(path), "/proc/%d/map_files/%llx-%llx", pid, (unsigned long long)start,
             (unsigned long long)end);
    if (stat(path, &st))
        return false;
    *f = (struct native_file){.seals = -1};
    from_stat(f, &st);
    if (!statfs(path, &fs)) {
        f->fs_magic = (u32)fs.f_type;
        f->mount_flags = (u32)fs.f_flags;
    }
    return true;
}

/* -- /proc --------------------------------------------------------------------------------------------------------- */

s64 tracee_text(s32 pid, const char *file, char **text, size_t *room)
{
    char path[PATH_ROOM];
    size_t len = 0;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    for (;;) {
        ssize_t n;

        if (*room - len < 8192) {
            char *more = realloc(*text, *room * 2 + 65536);

            if (!more)
                break;
            *text = more;
            *room = *room * 2 + 65536;
        }
        n = read(fd, *text + len, *room - len - 1);
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    close(fd);
    (*text)[len] = 0;
    return (s64)len;
}

/* Whom a pidfd of the process stands for; 0: it is none, -1: of who has been reaped. */
s32 tracee_pidfd_target(s32 pid, int fd)
{
    char path[PATH_ROOM], line[128];
    int target = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fd);
    f = fopen(path, "re");
    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "Pid: %d", &target) == 1)
            break;
    if (f)
        fclose(f);
    return target;
}

#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_SWAPPED (1ull << 62)
#define PAGEMAP_FILE (1ull << 61)

/* Bit 0: mapped, bit 1: a page of a file or shared memory, bit 2: swapped. */
void tracee_present(const struct thread *t, u64 addr, u64 pages, u8 *out)
{
    char path[PATH_ROOM];
    u64 entry[512];
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/pagemap", t->tid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    for (u64 done = 0; fd >= 0 && done < pages;) {
        u64 n = pages - done < ARRAY_SIZE(entry) ? pages - done : ARRAY_SIZE(entry);
        ssize_t got = pread(fd, entry, n * sizeof(u64), (off_t)((addr / 4096 + done) * sizeof(u64)));

        if (got <= 0)
            break;
        for (u64 i = 0; i < (u64)got / sizeof(u64); i++)
            out[done + i] = (u8)((entry[i] & PAGEMAP_PRESENT ? 1 : 0) | (entry[i] & PAGEMAP_FILE ? 2 : 0) |
                                 (entry[i] & PAGEMAP_SWAPPED ? 4 : 0));
        done += (u64)got / sizeof(u64);
    }
    if (fd >= 0)
        close(fd);
}
