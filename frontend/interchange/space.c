/* SPDX-License-Identifier: MIT */
/* Address spaces for other tools: see space.h. */
#define _GNU_SOURCE
#include "space.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PM_PRESENT_BIT (1ull << 63)
#define PM_PFN_BITS ((1ull << 55) - 1)

static int to_file(void *arg, const char *bytes, size_t len)
{
    return fwrite(bytes, 1, len, arg) == len ? 0 : -ENOMEM;
}

/* -- maps ---------------------------------------------------------------------------------------------------------- */

struct vma_line {
    unsigned long long start, end, offset, ino;
    char perms[5], dev[16];
    const char *name; /* in the text of maps */
};

struct vma_list {
    char *text;
    struct vma_line *line;
    u32 nr;
};

static void free_list(struct vma_list *l)
{
    free(l->line);
    free(l->text);
}

static int parse(struct vma_list *l)
{
    u32 lines = 0;

    for (const char *c = l->text; *c; c++)
        lines += *c == '\n';
    l->line = calloc(lines + 1, sizeof(*l->line));
    if (!l->line)
        return -ENOMEM;
    for (char *at = l->text, *line; (line = strsep(&at, "\n")) && *line;) {
        struct vma_line *v = &l->line[l->nr];
        int name = 0;

        if (l->nr == lines || sscanf(line, "%llx-%llx %4s %llx %15s %llu %n", &v->start, &v->end, v->perms, &v->offset,
                                     v->dev, &v->ino, &name) < 6)
            return -EINVAL;
        v->name = line + name;
        l->nr++;
    }
    return 0;
}

static int read_maps(struct cpu *cpu, const char *process, struct vma_list *l)
{
    char name[64];
    size_t len;
    FILE *f = open_memstream(&l->text, &len);
    struct proc_sink sink = {to_file, f};
    int err;

    *l = (struct vma_list){.text = l->text};
    if (!f)
        return -ENOMEM;
    snprintf(name, sizeof(name), "%s/maps", process);
    err = proc_read(cpu, name, &sink);
    if (fclose(f) && !err)
        err = -ENOMEM;
    return err ? err : parse(l);
}

static int result(const FILE *out)
{
    return ferror((FILE *)(uintptr_t)out) ? -EIO : 0;
}

/* -- vma ----------------------------------------------------------------------------------------------------------- */

int space_vma(struct cpu *cpu, const char *process, FILE *out)
{
    struct vma_list l = {0};
    int err = read_maps(cpu, process, &l);

    for (u32 i = 0; i < l.nr && !err; i++) {
        const struct vma_line *v = &l.line[i];

        fprintf(out, "0x%llx 0x%llx %s 0x%llx %s %llu%s%s\n", v->start, v->end, v->perms, v->offset >> PAGE_SHIFT,
                v->dev, v->ino, *v->name ? " " : "", v->name);
    }
    free_list(&l);
    return err ? err : result(out);
}

/* -- vma.json ------------------------------------------------------------------------------------------------------ */

static void put_string(FILE *out, const char *s)
{
    putc('"', out);
    for (; *s; s++) {
        if ((unsigned char)*s < 0x20)
            fprintf(out, "\\u%04x", *s);
        else if (*s == '"' || *s == '\\')
            fprintf(out, "\\%c", *s);
        else
            putc(*s, out);
    }
    putc('"', out);
}

int space_vma_json(struct cpu *cpu, const char *process, FILE *out)
{
    struct vma_list l = {0};
    int err = read_maps(cpu, process, &l);

    for (u32 i = 0; i < l.nr && !err; i++) {
        const struct vma_line *v = &l.line[i];

        fprintf(out,
                "%s{\"start\": %llu, \"end\": %llu, \"perms\": \"%s\", \"pgoff\": %llu, \"dev\": \"%s\", "
                "\"ino\": %llu, \"name\": ",
                i ? ",\n " : "[", v->start, v->end, v->perms, v->offset >> PAGE_SHIFT, v->dev, v->ino);
        put_string(out, v->name);
        putc('}', out);
    }
    if (!err)
        fputs(l.nr ? "]\n" : "[]\n", out);
    free_list(&l);
    return err ? err : result(out);
}

/* -- v2p ----------------------------------------------------------------------------------------------------------- */

struct v2p {
    const struct vma_list *l;
    u32 vma;
    u64 addr;
    u64 pages;
    FILE *out; /* NULL: they are counted */
    u64 word;  /* under way */
    u32 have;  /* bytes of it */
};

static void next_page(struct v2p *p)
{
    if (p->out && p->word & PM_PRESENT_BIT)
        fprintf(p->out, "address_mapping {\n  key: 0x%llx\n  value: 0x%llx\n}\n", (unsigned long long)p->addr,
                (unsigned long long)(p->word & PM_PFN_BITS) << PAGE_SHIFT);
    p->pages += p->word >> 63;
    p->addr += PAGE_SIZE;
    if (p->addr >= p->l->line[p->vma].end && ++p->vma < p->l->nr)
        p->addr = p->l->line[p->vma].start;
}

static int on_pagemap(void *arg, const char *bytes, size_t len)
{
    struct v2p *p = arg;

    for (; len > 0; bytes++, len--) {
        if (p->vma >= p->l->nr)
            return -EINVAL; /* more pages than maps has */
        ((char *)&p->word)[p->have++] = *bytes;
        if (p->have < sizeof(p->word))
            continue;
        p->have = 0;
        next_page(p);
    }
    return 0;
}

static int walk(struct cpu *cpu, const char *process, const struct vma_list *l, struct v2p *p)
{
    struct proc_sink sink = {on_pagemap, p};
    FILE *out = p->out;
    char name[64];

    *p = (struct v2p){.l = l, .addr = l->nr ? l->line[0].start : 0, .out = out};
    snprintf(name, sizeof(name), "%s/pagemap", process);
    return proc_read(cpu, name, &sink);
}

int space_v2p(struct cpu *cpu, const char *process, FILE *out)
{
    struct vma_list l = {0};
    struct v2p p = {0};
    int err = read_maps(cpu, process, &l);

    if (!err)
        err = walk(cpu, process, &l, &p);
    if (!err)
        fprintf(out, "page_size: 0x%x\npage_count: 0x%llx\nbytes_mapped: 0x%llx\n", (u32)PAGE_SIZE,
                (unsigned long long)p.pages, (unsigned long long)p.pages << PAGE_SHIFT);
    p.out = out;
    if (!err)
        err = walk(cpu, process, &l, &p);
    free_list(&l);
    return err ? err : result(out);
}
