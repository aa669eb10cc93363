/* SPDX-License-Identifier: MIT */
/* Address spaces for other tools: see space.h. */
#define _GNU_SOURCE
#include "space.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "utf8.h"

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
    for (size_t n = strlen(s), step; n; s += step, n -= step) {
        step = MAX(utf8_length(s, n), 1);
        if ((unsigned char)*s < 0x20)
            fprintf(out, "\\u%04x", *s);
        else if (*s == '"' || *s == '\\')
            fprintf(out, "\\%c", *s);
        else if (utf8_length(s, n))
            fwrite(s, 1, step, out);
        else
            fprintf(out, "\\\\%03o", (unsigned char)*s);
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

/* Lines of the view `pages`: runs of present pages. Address spaces of terabytes have few of them. */
struct v2p {
    u64 pages;
    FILE *out; /* NULL: they are counted */
    char line[512];
    u32 len; /* of the line under way; what is longer is a mapping's, and left out */
};

static void take_run(struct v2p *p)
{
    unsigned long long addr, nr, pfn;

    p->line[p->len] = '\0';
    if (p->line[0] != ' ' || sscanf(p->line, "%llx %llu pfn %llx", &addr, &nr, &pfn) != 3)
        return;
    p->pages += nr;
    for (u64 i = 0; p->out && i < nr; i++)
        fprintf(p->out, "address_mapping {\n  key: 0x%llx\n  value: 0x%llx\n}\n", addr + (i << PAGE_SHIFT),
                (pfn + i) << PAGE_SHIFT);
}

static int on_pages(void *arg, const char *bytes, size_t len)
{
    struct v2p *p = arg;

    for (; len > 0; bytes++, len--) {
        if (*bytes == '\n') {
            take_run(p);
            p->len = 0;
        } else if (p->len < sizeof(p->line) - 1) {
            p->line[p->len++] = *bytes;
        }
    }
    return 0;
}

static int read_pages(struct cpu *cpu, const char *process, struct v2p *p)
{
    struct proc_sink sink = {on_pages, p};
    char name[64];

    snprintf(name, sizeof(name), "%s/pages", process);
    return proc_read(cpu, name, &sink);
}

int space_v2p(struct cpu *cpu, const char *process, FILE *out)
{
    struct v2p all = {0}, p = {.out = out};
    int err = read_pages(cpu, process, &all);

    if (err)
        return err;
    fprintf(out, "page_size: 0x%x\npage_count: 0x%llx\nbytes_mapped: 0x%llx\n", (u32)PAGE_SIZE,
            (unsigned long long)all.pages, (unsigned long long)all.pages << PAGE_SHIFT);
    err = read_pages(cpu, process, &p);
    return err ? err : result(out);
}
