/* SPDX-License-Identifier: MIT */
/*
 * The address space that execve made: found when the first block of the program is about to run, at the addresses that
 * qemu used; image_map.c builds it in every machine.
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

#include "command.h"
#include "program.h"
#include "qemu_plugin.h"
#include "record.h"

struct host_image {
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

/*
 * argc, argv[], NULL, envp[], NULL, auxv[]. Variables that were veiled on the way through qemu get their names back
 * (command.c).
 */
static void read_stack(struct image *im)
{
    const u64 *word = (const u64 *)(uintptr_t)im->sp;

    for (word += 1 + *word + 1; *word; word++)
        command_unveil((char *)(uintptr_t)*word);
    for (word++; im->nr_auxv + 2 <= AT_VECTOR_SIZE; word += 2) {
        memcpy(im->auxv + im->nr_auxv, word, 2 * sizeof(*word));
        im->nr_auxv += 2;
        if (!*word) /* AT_NULL */
            return;
    }
}

static u64 first_code_page(const struct elf_image *e)
{
    u64 first = ~0ul;

    for (u32 i = 0; i < e->nr_loads; i++)
        if (e->load[i].prot & PROT_EXEC)
            first = MIN(first, e->load[i].vaddr);
    return first & PAGE_MASK;
}

static bool find_image(struct host_image *im, va_t first_block)
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
    return true;
}

static const char *base_name(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;

    return slash ? slash + 1 : path ? path : "?";
}

static void part_of(struct image_part *p, const struct elf_image *e, u64 bias, int fd)
{
    p->nr_loads = e->nr_loads;
    memcpy(p->load, e->load, sizeof(p->load));
    p->bias = bias;
    host_file(&p->file, fd);
}

void image_load(struct vcpu *v, va_t first_block)
{
    const char *comm = base_name(qemu_plugin_path_to_binary());
    struct host_image host = {0};
    struct image im = {0};
    bool ok = find_image(&host, first_block);

    process.loaded = true;
    if (!ok)
        session_notice(process.s, "process %d: the memory image of %s is not understood", process.pid, comm);
    else if (!realpath(qemu_plugin_path_to_binary(), process.exe))
        process.exe[0] = 0;
    if (ok) {
        im.stack_top = host.stack_top;
        im.sp = host.sp;
        read_stack(&im);
        part_of(&im.exe, &host.exe, host.exe_bias, host.exe_fd);
        if (host.interp_fd >= 0)
            part_of(&im.interp, &host.interp, host.interp_bias, host.interp_fd);
    }
    record_image(v, &im, comm);
    image_follow(v, &im, comm);
    if (host.exe_fd >= 0)
        close(host.exe_fd);
    if (host.interp_fd >= 0)
        close(host.interp_fd);
}
