/* SPDX-License-Identifier: MIT */
/*
 * The supervisor's address space on the machine: each mapping of /proc/PID/smaps at its place with its flags, the pages
 * that are there already, their bytes, and what /proc/PID/stat says of heap and stack.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/oracle/model.h"
#include "cache/filemap.h"

struct entry {
    u64 start, end, offset, dev, ino;
    char perms[5];
    char name[128];
    vm_flags_t flags;
};

/* One entry of smaps from *p on; false: no more. */
static bool next_entry(char **p, struct entry *e)
{
    unsigned long start, end, off, ino;
    unsigned int maj, min;
    char *flags, *line_end = strchr(*p, '\n');

    if (!line_end)
        return false;
    *line_end = '\0';
    *e = (struct entry){0};
    if (sscanf(*p, "%lx-%lx %4s %lx %x:%x %lu %127s", &start, &end, e->perms, &off, &maj, &min, &ino, e->name) < 7)
        die("/proc/PID/smaps: cannot read '%s'", *p);
    flags = strstr(line_end + 1, "VmFlags:");
    if (!flags)
        die("/proc/PID/smaps has no VmFlags");
    e->start = start;
    e->end = end;
    e->offset = off;
    e->dev = (u64)maj << 8 | min;
    e->ino = ino;
    e->flags = see_parse_flags(flags + 9);
    *p = strchr(flags, '\n') + 1;
    return true;
}

static void map_file(struct model *v, struct native *n, const struct entry *e)
{
    u32 prot = (e->perms[0] == 'r' ? PROT_READ_ : 0) | (e->perms[1] == 'w' ? PROT_WRITE_ : 0) |
               (e->perms[2] == 'x' ? PROT_EXEC_ : 0);
    bool shared = e->perms[3] == 's';
    struct file *file;
    s64 at;

    if (shared) {
        file = v->shared;
        get_file(file);
    } else {
        file = file_open(v->cpu, e->dev, e->ino, n->image_size, FMODE_READ | FMODE_EXEC, e->name);
    }
    at = sys_mmap(v->cpu, e->start, e->end - e->start, prot, MAP_FIXED_ | (shared ? MAP_SHARED_ : MAP_PRIVATE_), file,
                  e->offset);
    if (at != (s64)e->start)
        die("import: %s at %#lx: %ld", e->name, e->start, (long)at);
    fput(v->cpu, file);
}

/* The child's stack has had a page. */
static void use_stack(struct model *v, const struct entry *e)
{
    struct fault_info fi;

    if (mmu_copy_to_user(v->cpu, e->end - PAGE_SIZE, "", 1, &fi) ||
        sys_madvise(v->cpu, e->end - PAGE_SIZE, PAGE_SIZE, 4 /* MADV_DONTNEED */))
        die("import: cannot use the stack");
}

static void map_entry(struct model *v, struct native *n, const struct entry *e)
{
    bool special = !strncmp(e->name, "[v", 2);
    int err;

    if (e->start >> 63)
        return;
    if (e->ino) {
        map_file(v, n, e);
        return;
    }
    err = do_mmap_fixed_special(v->cpu, v->super->mm, e->start, e->end - e->start, e->flags,
                                special ? VM_OPS_SPECIAL : VM_OPS_NONE);
    if (err)
        die("import: %s at %#lx: %d", e->name, e->start, err);
    if (!strcmp(e->name, "[stack]"))
        use_stack(v, e);
}

/* The page as the child has it: one of its own, with these bytes. */
static void copy_page(struct model *v, int mem, va_t at)
{
    char bytes[PAGE_SIZE];
    struct fault_info fi;

    if (pread(mem, bytes, sizeof(bytes), (off_t)at) != (ssize_t)sizeof(bytes))
        die("/proc/PID/mem: cannot read %#lx", at);
    if (mmu_copy_to_user(v->cpu, at, bytes, sizeof(bytes), &fi))
        die("import: cannot write %#lx", at);
}

static void copy_pages(struct model *v, const struct entry *e, int mem, int pagemap)
{
    if (e->start >> 63 || e->perms[1] != 'w' || e->perms[3] == 's')
        return;
    for (va_t at = e->start; at < e->end; at += PAGE_SIZE) {
        u64 word;

        if (pread(pagemap, &word, 8, (off_t)(at / PAGE_SIZE * 8)) != 8)
            die("/proc/PID/pagemap: cannot read");
        if (word >> 63 && !(word >> 61 & 1))
            copy_page(v, mem, at);
    }
}

static int open_proc(pid_t pid, const char *name)
{
    char path[64];
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        die("cannot open %s", path);
    return fd;
}

/* Fields of /proc/PID/stat, proc_pid_stat(5): 26 startcode, 27 endcode, 28 startstack, 45 start_data, ... 51 env_end. */
static void import_personality(struct model *v, pid_t pid)
{
    char *text = native_proc(pid, "personality");

    v->super->personality = (u32)strtoul(text, NULL, 16);
    free(text);
}

static void import_layout(struct mm *mm, pid_t pid)
{
    char *text = native_proc(pid, "stat"), *p = strrchr(text, ')') + 1, *save = NULL;
    u64 field[64] = {0};

    field[3] = 0;
    strtok_r(p, " ", &save);
    for (u32 i = 4; i < 60; i++) {
        char *t = strtok_r(NULL, " ", &save);

        field[i] = t ? strtoull(t, NULL, 10) : 0;
    }
    mm->start_code = field[26];
    mm->end_code = field[27];
    mm->start_stack = field[28];
    mm->start_data = field[45];
    mm->end_data = field[46];
    mm->start_brk = mm->brk = field[47];
    mm->arg_start = field[48];
    mm->arg_end = field[49];
    mm->env_start = field[50];
    mm->env_end = field[51];
    free(text);
}

void import_limits(struct model *v, struct native *n)
{
    char *status = native_proc(n->pid, "status"), *p;

    for (u32 i = 0; i < NR_RLIMITS; i++) {
        struct rlimit r;

        if (prlimit(n->pid, i, NULL, &r))
            continue;
        task_set_rlimit(v->super, i, r.rlim_cur, r.rlim_max);
    }
    p = strstr(status, "CapEff:");
    task_set_caps(v->super, p ? strtoull(p + 7, NULL, 16) : 0);
    task_set_ids(v->super, geteuid(), getegid());
    free(status);
}

void import_space(struct model *v, struct native *n)
{
    char *text = native_proc(n->pid, "smaps"), *p = text;
    int mem = open_proc(n->pid, "mem"), pagemap = open_proc(n->pid, "pagemap");
    struct entry e;

    while (next_entry(&p, &e)) {
        map_entry(v, n, &e);
        copy_pages(v, &e, mem, pagemap);
    }
    close(mem);
    close(pagemap);
    free(text);
    import_layout(v->super->mm, n->pid);
    import_personality(v, n->pid);
    v->super->mm->flags |= MMF_DISABLE_THP; /* the child's first prctl() */
}
