/* SPDX-License-Identifier: MIT */
/*
 * Random images: up to 5 segments one behind the other, with holes, bss, odd alignments; sometimes overlapping or out of
 * order, as no linker makes them. Arguments: few, or so many that they reach the limit to the byte.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>

#include "tests/oracle/exec_cases.h"

#define PG 4096ul
#define MIB (1ul << 20)
#define LONGEST (128ul << 10) /* MAX_ARG_STRLEN, with the zero */

static char strings[8 * MIB];

u64 exec_pick(struct exec_random *r, u64 below)
{
    r->state ^= r->state << 13;
    r->state ^= r->state >> 7;
    r->state ^= r->state << 17;
    return (r->state >> 11) % below;
}

static bool chance(struct exec_random *r, u32 percent)
{
    return exec_pick(r, 100) < percent;
}

#define PICK(r, array) ((array)[exec_pick(r, ARRAY_SIZE(array))])

/* -- images --------------------------------------------------------------------------------------------------------- */

static struct exec_segment some_segment(struct exec_random *r, u64 vaddr, u64 offset)
{
    static const u32 prots[] = {1, 5, 3, 3, 7, 4, 2, 0};
    struct exec_segment s = {.vaddr = vaddr, .offset = offset, .align = PG, .prot = PICK(r, prots)};

    s.filesz = chance(r, 12) ? 0 : 1 + exec_pick(r, 5 * PG);
    s.memsz = s.filesz + (chance(r, 50) ? 0 : exec_pick(r, 6 * PG));
    if (chance(r, 5)) {
        s.filesz = 2 * MIB + exec_pick(r, 3 * MIB);
        s.memsz = s.filesz + exec_pick(r, 3 * PG);
    }
    if (chance(r, 2))
        s.memsz = s.filesz ? s.filesz - 1 : 0;
    return s;
}

static void some_image(struct exec_random *r, struct elf_spec *e, u64 base)
{
    static const u64 aligns[] = {PG, PG, PG, PG, 0, 1, 3 * PG, 4 * PG, 64 << 10, 2 * MIB, 2 * MIB, 1ul << 30};
    u64 at = base + (chance(r, 20) ? exec_pick(r, 3) * PG : 0), offset = 0;

    e->stack = (enum elf_stack)exec_pick(r, 3);
    e->nr_loads = 1 + (u32)exec_pick(r, 5);
    for (u32 i = 0; i < e->nr_loads; i++) {
        struct exec_segment *s = &e->load[i];
        u64 in_page = i && !chance(r, 30) ? exec_pick(r, PG) : 0;

        *s = some_segment(r, at + in_page, offset + in_page);
        s->align = PICK(r, aligns);
        at = ALIGN_UP(s->vaddr + s->memsz, PG) + (chance(r, 40) ? exec_pick(r, 20) * PG : 0);
        if (chance(r, 3) && at > base + 8 * PG)
            at -= (1 + exec_pick(r, 4)) * PG;
        offset = ALIGN_UP(s->offset + s->filesz, PG);
    }
    e->entry = base + exec_pick(r, 0x5000);
    if (chance(r, 4)) {
        struct exec_segment first = e->load[0];
        u32 other = (u32)exec_pick(r, e->nr_loads);

        e->load[0] = e->load[other];
        e->load[other] = first;
    }
}

static void some_program(struct exec_random *r, const char *dir, struct exec_case *c)
{
    static const u64 bases[] = {0x400000, 0x10000, 0x200000000, 0x7f0000000000, 0x555555554000, 0x155555554000};
    struct elf_spec exe = {.dyn = chance(r, 65)}, interp = {.dyn = !chance(r, 5)};

    if (chance(r, 60)) {
        some_image(r, &interp, interp.dyn ? (chance(r, 15) ? 0x7000 : 0) : 0x50000000);
        snprintf(exe.interp, sizeof(exe.interp), "%s/interp", dir);
        elf_write(exe.interp, &interp);
    }
    some_image(r, &exe, exe.dyn ? (chance(r, 15) ? 0x10000 : 0) : PICK(r, bases));
    elf_write(c->path, &exe);
}

/* -- arguments ------------------------------------------------------------------------------------------------------- */

static void put_string(const char **list, u32 *n, char **at, u64 bytes)
{
    if (*n + 1 == CASE_ARGS || *at + bytes > strings + sizeof(strings))
        return;
    memset(*at, 'a' + (char)(*n % 26), bytes - 1);
    (*at)[bytes - 1] = 0;
    list[(*n)++] = *at;
    list[*n] = NULL;
    *at += bytes;
}

/* All strings together, with the path and the pointers, reach what the limit allows, or miss it by a few bytes. */
static void edge_arguments(struct exec_random *r, struct exec_case *c)
{
    u64 limit = MAX(MIN(6 * MIB, c->stack_limit / 4), 128ul << 10), left, n;
    u32 argc = 0, envc = 0;
    char *at = strings;

    if (chance(r, 30) && c->stack_limit < 8 * MIB) /* or the stack's limit itself */
        limit = MAX(c->stack_limit, PG) + 200;
    n = limit / LONGEST + 2;
    left = limit - n * 8 - strlen(c->path) - 1 + exec_pick(r, 17) - 8;
    for (u64 i = 0; i < n; i++) {
        u64 bytes = i + 1 == n ? left : MIN(left - (n - 1 - i), LONGEST - 1 - exec_pick(r, 100));

        if (i & 1)
            put_string(c->envp, &envc, &at, MIN(bytes, LONGEST + 1));
        else
            put_string(c->argv, &argc, &at, MIN(bytes, LONGEST + 1));
        left -= bytes;
    }
}

static void some_arguments(struct exec_random *r, struct exec_case *c)
{
    u32 argc = 0, envc = 0, na = (u32)exec_pick(r, 5), ne = (u32)exec_pick(r, 6);
    char *at = strings;

    c->argv[0] = c->envp[0] = NULL;
    if (chance(r, 30)) {
        edge_arguments(r, c);
        return;
    }
    while (argc < na)
        put_string(c->argv, &argc, &at, 1 + exec_pick(r, chance(r, 90) ? 40 : 9000));
    while (envc < ne)
        put_string(c->envp, &envc, &at, 1 + exec_pick(r, chance(r, 90) ? 60 : 9000));
    if (chance(r, 5))
        put_string(c->argv, &argc, &at, LONGEST + exec_pick(r, 2));
}

void exec_case_make(struct exec_random *r, const char *dir, struct exec_case *c)
{
    static const u64 stacks[] = {8 * MIB,   8 * MIB,   8 * MIB,   4 * MIB,  512 << 10, 1 << 20,
                                 64 << 10,  PG,        4 * PG,    33 * PG,  100000,    17 * PG,
                                 64 * MIB,  128 * MIB, 1ul << 30, 1,        ~0ul - 1,  1ul << 46,
                                 1ul << 47, 130 * MIB, 24 * MIB,  25 * MIB, 1ul << 63, RLIM_INFINITY_};
    static const u64 spaces[] = {20 * PG, 60 * PG, 64 << 10, 200 << 10, 300 << 10, 1 << 20, 4 << 20, 16 << 20};

    *c = (struct exec_case){.name = "random", .stack_limit = PICK(r, stacks)};
    snprintf(c->path, sizeof(c->path), "%s/exe", dir);
    c->personality = ADDR_NO_RANDOMIZE;
    if (chance(r, 20))
        c->personality |= ADDR_COMPAT_LAYOUT;
    if (chance(r, 10))
        c->personality |= READ_IMPLIES_EXEC;
    if (chance(r, 10))
        c->personality |= MMAP_PAGE_ZERO;
    if (chance(r, 5))
        c->personality |= ADDR_LIMIT_3GB;
    if (chance(r, 5))
        c->personality |= ADDR_LIMIT_32BIT;
    if (chance(r, 12))
        c->as_limit = PICK(r, spaces);
    if (chance(r, 6))
        c->data_limit = 1 + exec_pick(r, 20) * PG;
    some_program(r, dir, c);
    some_arguments(r, c);
}

/* -- plain ones ------------------------------------------------------------------------------------------------------ */

void exec_case_plain(enum exec_plain kind, const char *dir, struct exec_case *c)
{
    bool huge = kind == PLAIN_HUGE_PIE || kind == PLAIN_HUGE_STATIC_PIE;
    bool interp = kind == PLAIN_PIE || kind == PLAIN_FIXED_INTERP || kind == PLAIN_HUGE_PIE;
    bool dyn = kind != PLAIN_FIXED && kind != PLAIN_FIXED_INTERP;
    u64 base = dyn ? 0 : 0x400000, align = huge ? 2 * MIB : PG;
    struct elf_spec exe = {.dyn = dyn, .stack = ELF_STACK_DATA, .nr_loads = 2, .entry = base + 0x100};
    struct elf_spec other = {.dyn = true, .stack = ELF_STACK_DATA, .nr_loads = 1, .entry = 0x200};

    exe.load[0] = (struct exec_segment){base, 3 * PG, 3 * PG, 0, align, 5};
    exe.load[1] = (struct exec_segment){base + 4 * PG + 0x80, 0x900, 3 * PG, 3 * PG + 0x80, align, 3};
    other.load[0] = (struct exec_segment){0, 9 * PG, 9 * PG, 0, PG, 5};
    if (interp) {
        snprintf(exe.interp, sizeof(exe.interp), "%s/interp", dir);
        elf_write(exe.interp, &other);
    }
    *c = (struct exec_case){.name = "plain", .stack_limit = 8 * MIB, .argv = {"prog", "one"}, .envp = {"A=1"}};
    snprintf(c->path, sizeof(c->path), "%s/exe", dir);
    elf_write(c->path, &exe);
}

/* -- for people ------------------------------------------------------------------------------------------------------ */

static u64 string_bytes(const char *const *list, u32 *n)
{
    u64 bytes = 0;

    for (*n = 0; list[*n]; ++*n)
        bytes += strlen(list[*n]) + 1;
    return bytes;
}

static void print_image(const char *path, FILE *out)
{
    struct elf_read e;

    elf_read(path, &e);
    fprintf(out, "  %s: %s entry %#lx%s%s\n", path, e.program.dyn ? "ET_DYN" : "ET_EXEC",
            (unsigned long)e.program.entry, e.exec_stack ? " executable stack" : "",
            *e.interp ? " with interpreter" : "");
    for (u32 i = 0; i < e.program.nr_loads; i++) {
        const struct exec_segment *s = &e.load[i];

        fprintf(out, "    LOAD vaddr %#lx filesz %#lx memsz %#lx offset %#lx align %#lx %c%c%c\n",
                (unsigned long)s->vaddr, (unsigned long)s->filesz, (unsigned long)s->memsz, (unsigned long)s->offset,
                (unsigned long)s->align, s->prot & 1 ? 'r' : '-', s->prot & 2 ? 'w' : '-', s->prot & 4 ? 'x' : '-');
    }
    if (*e.interp)
        print_image(e.interp, out);
}

void exec_case_print(const struct exec_case *c, FILE *out)
{
    u32 na, ne;
    u64 a = string_bytes(c->argv, &na), e = string_bytes(c->envp, &ne);

    fprintf(out,
            "  stack limit %#lx, address space %#lx, data %#lx, personality %#x, %u arguments of %lu bytes, "
            "%u variables of %lu bytes, path of %zu\n",
            (unsigned long)c->stack_limit, (unsigned long)c->as_limit, (unsigned long)c->data_limit, c->personality, na,
            (unsigned long)a, ne, (unsigned long)e, strlen(c->path) + 1);
    print_image(c->path, out);
}
