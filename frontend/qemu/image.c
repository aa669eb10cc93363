/* SPDX-License-Identifier: MIT */
/*
 * The address space that execve made: built in every machine when the first block of the program is about to run, at
 * the addresses that qemu used.
 *
 *    stack   [top - 128 KiB - arguments, top)   grows down; top is that of qemu's guest stack, where the arguments are
 *    loader  its segments                       load bias = first block - its entry point: the loader runs first
 *    program its segments, bss, then brk        load bias from qemu_plugin_start_code()
 *
 * Follows execve(2), elf(5) and what /proc/PID/maps shows of a fresh process. qemu 7.2 gives its guests no vdso.
 */
#define _GNU_SOURCE
#include "follow.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cache/filemap.h"
#include "command.h"
#include "program.h"
#include "qemu_plugin.h"

struct image {
    struct elf_image exe, interp;
    int exe_fd, interp_fd; /* interp_fd -1: static */
    u64 exe_bias, interp_bias;
    va_t stack_top, sp;
};

/* -- where things are ---------------------------------------------------------------------------------------------- */

struct stack_search {
    struct host_map below; /* the mapping before */
    struct host_map stack;
};

/* qemu's guest stack: anonymous, with an inaccessible page under it;
 * the lowest such, for qemu's own threads have them above. */
static bool is_stack(const struct host_map *m, void *arg)
{
    struct stack_search *s = arg;
    bool guard = s->below.end == m->start && s->below.prot == PROT_NONE && !s->below.ino;

    s->below = *m;
    if (!guard || m->ino || m->prot != (PROT_READ | PROT_WRITE) || m->end - m->start < 32 * PAGE_SIZE)
        return false;
    s->stack = *m;
    return true;
}

/* The lowest word that is not zero, in the run of pages under `top` that hold anything: argc. */
static va_t find_sp(va_t bottom, va_t top)
{
    static const char zeroes[PAGE_SIZE];
    const u64 *word;
    va_t page = top - PAGE_SIZE;

    while (page > bottom && memcmp((const void *)(uintptr_t)page, zeroes, PAGE_SIZE) != 0)
        page -= PAGE_SIZE;
    for (word = (const u64 *)(uintptr_t)page; (va_t)(uintptr_t)word < top && !*word; word++)
        ;
    return (va_t)(uintptr_t)word & ~15ul;
}

/* argc, argv[], NULL, envp[], NULL: variables that were veiled
 * on the way through qemu get their names back (command.c). */
static void unveil_environment(va_t sp)
{
    const u64 *word = (const u64 *)(uintptr_t)sp;

    for (word += 1 + *word + 1; *word; word++)
        command_unveil((char *)(uintptr_t)*word);
}

static u64 first_code_page(const struct elf_image *e)
{
    u64 first = ~0ul;

    for (u32 i = 0; i < e->nr_loads; i++)
        if (e->load[i].prot & PROT_EXEC)
            first = MIN(first, e->load[i].vaddr);
    return first & PAGE_MASK;
}

static bool find_image(struct image *im, va_t first_block)
{
    const char *path = qemu_plugin_path_to_binary();
    struct stack_search search = {0};
    struct host_map at_code;
    enum guest_arch arch;

    im->exe_fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    im->interp_fd = -1;
    if (im->exe_fd < 0 || elf_read(im->exe_fd, &im->exe, &arch) != PROGRAM_OK)
        return false;
    im->exe_bias = (qemu_plugin_start_code() & PAGE_MASK) - first_code_page(&im->exe);
    if (im->exe.interp[0]) {
        const char *prefix = process.s->sysroot[process.arch];
        char where[SESSION_PATH + PROGRAM_LINE];

        snprintf(where, sizeof(where), "%s%s", prefix, im->exe.interp);
        im->interp_fd = open(where, O_RDONLY | O_CLOEXEC);
        if (im->interp_fd < 0)
            im->interp_fd = open(im->exe.interp, O_RDONLY | O_CLOEXEC);
        if (im->interp_fd < 0 || elf_read(im->interp_fd, &im->interp, &arch) != PROGRAM_OK)
            return false;
        im->interp_bias = first_block - (im->interp.entry & PAGE_MASK);
    }
    /* guest addresses are host addresses only where qemu needed no guest_base */
    if (!host_map_find(qemu_plugin_start_code(), &at_code) || !host_maps_each(is_stack, &search))
        return false;
    im->stack_top = search.stack.end;
    im->sp = find_sp(search.stack.start, search.stack.end);
    unveil_environment(im->sp);
    return true;
}

/* -- into one machine ---------------------------------------------------------------------------------------------- */

static s64 map_segment(struct cpu *cpu, const struct elf_load *l, u64 bias, struct file *file)
{
    va_t start = (l->vaddr + bias) & PAGE_MASK;
    va_t file_end = ALIGN_UP(l->vaddr + bias + l->filesz, PAGE_SIZE);
    va_t end = ALIGN_UP(l->vaddr + bias + l->memsz, PAGE_SIZE);
    s64 ret = 0;

    if (l->filesz)
        ret = sys_mmap(cpu, start, file_end - start, l->prot, MAP_PRIVATE_ | MAP_FIXED_, file, l->offset & PAGE_MASK);
    else
        file_end = start;
    if (ret >= 0 && end > file_end)
        ret = sys_mmap(cpu, file_end, end - file_end, l->prot, MAP_PRIVATE_ | MAP_FIXED_ | MAP_ANONYMOUS_, NULL, 0);
    return ret < 0 ? ret : 0;
}

static s64 map_elf(struct cpu *cpu, const struct elf_image *e, u64 bias, int fd)
{
    struct file *file = file_of_fd(cpu, fd);
    s64 err = file ? 0 : -ENOMEM;

    for (u32 i = 0; i < e->nr_loads && !err; i++)
        err = map_segment(cpu, &e->load[i], bias, file);
    if (file)
        fput(cpu, file);
    return err;
}

/* start_code and its like; brk starts behind the program's last segment. */
static void set_layout(struct mm *mm, const struct image *im)
{
    for (u32 i = 0; i < im->exe.nr_loads; i++) {
        const struct elf_load *l = &im->exe.load[i];
        va_t start = l->vaddr + im->exe_bias, end = start + l->filesz;

        if (l->prot & PROT_EXEC) {
            mm->start_code = start;
            mm->end_code = end;
        }
        if (l->prot & PROT_WRITE) {
            mm->start_data = start;
            mm->end_data = end;
        }
        mm->start_brk = MAX(mm->start_brk, ALIGN_UP(start + l->memsz, PAGE_SIZE));
    }
    mm->brk = mm->start_brk;
    mm->start_stack = im->sp;
}

static s64 load_on(struct cpu *cpu, const struct image *im, const char *comm)
{
    struct exec_layout layout = {.stack_top = im->stack_top, .stack_size = im->stack_top - im->sp};
    s64 err;

    layout.exe = file_of_fd(cpu, im->exe_fd);
    snprintf(layout.comm, sizeof(layout.comm), "%s", comm);
    err = exec_mmap(cpu, &layout);
    if (layout.exe)
        fput(cpu, layout.exe);
    if (err)
        return err;
    switch_mm(cpu, cpu->current->mm);
    err = map_elf(cpu, &im->exe, im->exe_bias, im->exe_fd);
    if (!err && im->interp_fd >= 0)
        err = map_elf(cpu, &im->interp, im->interp_bias, im->interp_fd);
    if (!err)
        set_layout(cpu->current->mm, im);
    return err;
}

/* Linux clears the rest of the page behind a segment's file part: that is a write. */
static void clear_bss_starts(struct vcpu *v, const struct elf_image *e, u64 bias)
{
    for (u32 i = 0; i < e->nr_loads; i++) {
        va_t end = e->load[i].vaddr + bias + e->load[i].filesz;

        if (e->load[i].memsz > e->load[i].filesz && e->load[i].prot & PROT_WRITE && end & ~PAGE_MASK)
            vcpu_touch(v, end, PAGE_SIZE - (end & ~PAGE_MASK), MMU_WRITE);
    }
}

static const char *base_name(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;

    return slash ? slash + 1 : path ? path : "?";
}

void image_load(struct vcpu *v, va_t first_block)
{
    struct image im = {0};
    const char *comm = base_name(qemu_plugin_path_to_binary());
    bool ok = find_image(&im, first_block);

    process.loaded = true;
    if (!ok)
        session_notice(process.s, "process %d: the memory image of %s is not understood", process.pid, comm);
    else if (!realpath(qemu_plugin_path_to_binary(), process.exe))
        process.exe[0] = 0;
    for_each_machine_in_core(v, i, cpu)
    {
        struct mm *old = cpu->current->mm;
        s64 err;

        if (ok && old->map_count && atomic_load(&old->mm_users) == 1)
            session_record_mm(process.s, cpu, i, old, process.pid, process.slot->comm);
        err = ok ? load_on(cpu, &im, comm) : -EINVAL;
        if (err)
            session_machine_dead(process.s, i, "out of memory: process %d cannot execute %s (error %d)", process.pid,
                                 comm, (int)-err);
    }
    snprintf(process.slot->comm, sizeof(process.slot->comm), "%s", comm);
    vfork_done(process.slot);
    if (ok) {
        clear_bss_starts(v, &im.exe, im.exe_bias);
        if (im.interp_fd >= 0)
            clear_bss_starts(v, &im.interp, im.interp_bias);
    }
    if (im.exe_fd >= 0)
        close(im.exe_fd);
    if (im.interp_fd >= 0)
        close(im.interp_fd);
}
