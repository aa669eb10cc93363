/* SPDX-License-Identifier: MIT */
/* The host's view: /proc/self/maps (proc_pid_maps(5)), files. */
#define _GNU_SOURCE
#include "follow.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#define TMPFS_MAGIC_ 0x01021994

static bool parse_line(const char *line, struct host_map *m)
{
    unsigned long start, end, offset, ino;
    unsigned int major, minor;
    char rwxp[5];
    int path = 0;

    if (sscanf(line, "%lx-%lx %4s %lx %x:%x %lu %n", &start, &end, rwxp, &offset, &major, &minor, &ino, &path) < 7)
        return false;
    *m = (struct host_map){.start = start, .end = end, .offset = offset, .ino = ino, .dev = makedev(major, minor)};
    m->prot = (rwxp[0] == 'r' ? PROT_READ : 0) | (rwxp[1] == 'w' ? PROT_WRITE : 0) | (rwxp[2] == 'x' ? PROT_EXEC : 0);
    m->shared = rwxp[3] == 's';
    if (path)
        snprintf(m->path, sizeof(m->path), "%s", line + path);
    return true;
}

bool host_maps_each(bool (*visit)(const struct host_map *m, void *arg), void *arg)
{
    FILE *f = fopen("/proc/self/maps", "re");
    char line[512];
    bool found = false;

    if (!f)
        return false;
    while (!found && fgets(line, sizeof(line), f)) {
        struct host_map m;

        line[strcspn(line, "\n")] = 0;
        if (parse_line(line, &m))
            found = visit(&m, arg);
    }
    fclose(f);
    return found;
}

struct find {
    va_t va;
    struct host_map *out;
};

static bool contains(const struct host_map *m, void *arg)
{
    struct find *f = arg;

    if (f->va < m->start || f->va >= m->end)
        return false;
    *f->out = *m;
    return true;
}

bool host_map_find(va_t va, struct host_map *out)
{
    return host_maps_each(contains, &(struct find){va, out});
}

/* -- files --------------------------------------------------------------------------------------------------------- */

/* Identities seen by this process: a file's name is looked up once. Only a hint, races among threads do no harm. */
static u64 seen[256];

static bool seen_before(u64 dev, u64 ino)
{
    u64 key = dev * 0x9e3779b97f4a7c15ull + ino, *slot = &seen[key % ARRAY_SIZE(seen)];
    bool known = *slot == key;

    *slot = key;
    return known;
}

/* Whether files of a device are on tmpfs; the devices of this process's few file systems are asked for once. */
static bool is_shmem(int fd, const char *path, u64 dev)
{
    static _Atomic u64 known[16]; /* dev << 1 | shmem */
    _Atomic u64 *slot = &known[dev * 0x9e3779b97f4a7c15ull >> 60];
    u64 k = atomic_load_explicit(slot, memory_order_relaxed);
    struct statfs fs;

    if (k >> 1 == dev)
        return k & 1;
    k = (path ? statfs(path, &fs) : fstatfs(fd, &fs)) == 0 && fs.f_type == TMPFS_MAGIC_;
    atomic_store_explicit(slot, dev << 1 | k, memory_order_relaxed);
    return k;
}

/* Has the process the file open, by another descriptor than `except`? */
static bool holds(s32 pid, const struct stat *file, int except)
{
    char path[64];
    struct dirent *e;
    struct stat st;
    bool found = false;
    DIR *d;

    snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    d = opendir(path);
    while (d && !found && (e = readdir(d)))
        found = isdigit(e->d_name[0]) && atoi(e->d_name) != except && !fstatat(dirfd(d), e->d_name, &st, 0) &&
                st.st_ino == file->st_ino && st.st_dev == file->st_dev;
    if (d)
        closedir(d);
    return found;
}

static bool held_by_others(const struct stat *file)
{
    struct session *s = process.s;

    for (u32 i = 0; i < atomic_load(&s->proc_top); i++) {
        s32 pid = atomic_load(&s->proc[i].pid);

        if (pid > 0 && pid != process.pid && atomic_load(&s->proc[i].state) != PROC_FREE && holds(pid, file, -1))
            return true;
    }
    return false;
}

void host_nameless_each(bool only_cloexec, void (*visit)(void *arg, const struct host_file *f), void *arg)
{
    DIR *d = opendir("/proc/self/fd");
    struct host_file f = {.there = true, .size = SIZE_GONE};
    struct dirent *e;
    struct stat st;

    while (d && (e = readdir(d))) {
        int fd = isdigit(e->d_name[0]) ? atoi(e->d_name) : -1;

        if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_nlink || !is_shmem(fd, NULL, st.st_dev) ||
            (only_cloexec && (!(fcntl(fd, F_GETFD) & FD_CLOEXEC) || holds(process.pid, &st, fd))) ||
            held_by_others(&st))
            continue;
        f.dev = st.st_dev | DEV_SHMEM;
        f.ino = st.st_ino;
        visit(arg, &f);
    }
    if (d)
        closedir(d);
}

bool host_file_vanishes(struct host_file *f, int fd, u64 names)
{
    struct stat st;

    *f = (struct host_file){0};
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink > names || !is_shmem(fd, NULL, st.st_dev) ||
        holds(process.pid, &st, fd) || held_by_others(&st))
        return false;
    *f = (struct host_file){.there = true, .dev = st.st_dev | DEV_SHMEM, .ino = st.st_ino, .size = SIZE_GONE};
    return true;
}

bool host_file(struct host_file *f, int fd)
{
    char link[64];
    struct stat st;
    ssize_t n;

    *f = (struct host_file){0};
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return false;
    f->there = true;
    f->dev = st.st_dev | (is_shmem(fd, NULL, st.st_dev) ? DEV_SHMEM : 0);
    f->ino = st.st_ino;
    f->size = (u64)st.st_size;
    if (!seen_before(st.st_dev, st.st_ino)) {
        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        n = readlink(link, f->name, sizeof(f->name) - 1);
        f->name[n > 0 ? n : 0] = 0;
    }
    return true;
}

bool host_map_file(struct host_file *f, const struct host_map *m)
{
    struct stat st;

    *f = (struct host_file){0};
    if (!m->ino || stat(m->path, &st) < 0)
        return false;
    *f = (struct host_file){.there = true, .dev = st.st_dev, .ino = st.st_ino, .size = (u64)st.st_size};
    f->dev |= is_shmem(-1, m->path, st.st_dev) ? DEV_SHMEM : 0;
    snprintf(f->name, sizeof(f->name), "%.127s", m->path);
    return true;
}
