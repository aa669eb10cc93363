/* SPDX-License-Identifier: MIT */
/*
 * /proc/self/maps, and the fallback for what no system call told: qemu's own pages in the guest's address space (signal
 * trampolines), mappings made by calls that the table does not know. See proc_pid_maps(5).
 */
#define _GNU_SOURCE
#include "follow.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cache/filemap.h"

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

struct file *file_of_fd(struct cpu *cpu, int fd)
{
    char link[64], name[128] = "";
    struct stat st;
    struct file *file;
    ssize_t n;

    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return NULL;
    if (!seen_before(st.st_dev, st.st_ino)) {
        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        n = readlink(link, name, sizeof(name) - 1);
        name[n > 0 ? n : 0] = 0;
    }
    file = file_open(cpu, st.st_dev, st.st_ino, (u64)st.st_size, FMODE_READ | FMODE_WRITE, name);
    if (IS_ERR(file))
        return NULL;
    if (file->f_inode->i_size != (u64)st.st_size)
        inode_set_size(cpu, file->f_inode, (u64)st.st_size);
    return file;
}

static struct file *file_of_map(struct cpu *cpu, const struct host_map *m)
{
    struct stat st;
    struct file *file;

    if (!m->ino || stat(m->path, &st) < 0)
        return NULL;
    file = file_open(cpu, st.st_dev, st.st_ino, (u64)st.st_size, FMODE_READ | FMODE_WRITE, m->path);
    return IS_ERR(file) ? NULL : file;
}

/* -- discovery ----------------------------------------------------------------------------------------------------- */

/* The gap of the machine's address space around va, cut to what the host has mapped there. False: a VMA is there. */
static bool gap_around(struct cpu *cpu, struct mm *mm, va_t va, const struct host_map *m, va_t *start, va_t *end)
{
    struct vm_area_struct *next, *prev = NULL;
    bool gap;

    down_read(cpu, &mm->mmap_lock);
    next = find_vma_prev(cpu, mm, va, &prev);
    gap = !next || next->vm_start > va;
    *start = prev ? MAX(m->start, prev->vm_end) : m->start;
    *end = next ? MIN(m->end, next->vm_start) : m->end;
    up_read(cpu, &mm->mmap_lock);
    return gap;
}

/* A VMA is there, but the access ran beyond the file's end: the host's file has grown. */
static bool refresh_file_size(struct cpu *cpu, struct mm *mm, va_t va, const struct host_map *m)
{
    struct vm_area_struct *vma;
    struct inode *inode = NULL;
    struct stat st;

    down_read(cpu, &mm->mmap_lock);
    vma = vma_lookup(cpu, mm, va);
    if (vma && vma->vm_file)
        inode = vma->vm_file->f_inode;
    up_read(cpu, &mm->mmap_lock);
    if (!inode || stat(m->path, &st) < 0 || st.st_ino != inode->ino || inode->i_size == (u64)st.st_size)
        return false;
    inode_set_size(cpu, inode, (u64)st.st_size);
    return true;
}

static bool map_as_found(struct cpu *cpu, const struct host_map *m, va_t start, va_t end, u32 prot)
{
    struct file *file = file_of_map(cpu, m);
    u32 flags = MAP_FIXED_ | (m->shared ? MAP_SHARED_ : MAP_PRIVATE_) | (file ? 0 : MAP_ANONYMOUS_);
    s64 ret = sys_mmap(cpu, start, end - start, prot, flags, file, file ? m->offset + (start - m->start) : 0);

    if (file)
        fput(cpu, file);
    return ret == (s64)start;
}

bool discover(struct vcpu *v, u32 i, va_t va, enum mmu_access_kind kind)
{
    struct cpu *cpu = v->cpu[i];
    struct mm *mm = cpu->current->mm;
    struct host_map m;
    va_t start, end;
    bool done;
    u32 prot;

    if (!host_map_find(va, &m))
        return false;
    prot = m.prot | PROT_READ | (kind == MMU_EXEC ? PROT_EXEC : 0) | (kind == MMU_WRITE ? PROT_WRITE : 0);
    gate_enter(process.slot);
    cpu_enter_kernel(cpu);
    if (gap_around(cpu, mm, va, &m, &start, &end)) {
        done = map_as_found(cpu, &m, start, end, prot);
        if (done && i == 0)
            atomic_fetch_add(&process.s->discovered, 1);
    } else {
        done = refresh_file_size(cpu, mm, va, &m);
    }
    cpu_enter_user(cpu);
    gate_leave(process.slot);
    return done;
}
