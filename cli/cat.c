/* SPDX-License-Identifier: MIT */
/*
 * `quire cat`: views of a saved machine (src/abi/proc.h) to standard output.
 *
 * All names are checked before anything is printed. An image whose checksums are right but which is none of Quire's
 * making may break an assertion or worse while it is read, or lead nowhere: guard.h.
 */
#define _GNU_SOURCE
#include "cat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guard.h"
#include "saved.h"

#define CAT_TID 0x7ffffffeu /* owner of the CPU that reading borrows */
#define LISTED 20

static void check_output(void)
{
    if (fflush(stdout) || ferror(stdout))
        usage_error("cat: standard output: %s", strerror(errno));
}

/* -- which machine ------------------------------------------------------------------------------------------------- */

/* A process's name as it can be printed: any program chooses its own, a forged machine's need not end. */
static const char *shown_name(const struct task *t)
{
    static char out[sizeof(t->comm) * 4 + 1];
    size_t at = 0;

    for (size_t i = 0; i < sizeof(t->comm) && t->comm[i]; i++) {
        u8 c = (u8)t->comm[i];

        if (c < ' ' || c == 0x7f || c == '\\')
            at += (size_t)snprintf(out + at, sizeof(out) - at, "\\%03o", c);
        else
            out[at++] = (char)c;
    }
    out[at] = 0;
    return out;
}

/* "small, large" */
static const char *machine_names(const struct saved *s)
{
    static char names[SAVED_MACHINES * 68];
    size_t at = 0;

    for (u32 i = 0; i < s->header.nr_machines; i++)
        at += (size_t)snprintf(names + at, sizeof(names) - at, "%s%s", i ? ", " : "", saved_machine(s, i)->name);
    return names;
}

static u32 choose_machine(const struct saved *s, const struct cat_options *o)
{
    if (!o->machine && s->header.nr_machines > 1 && !o->list && o->names[0])
        usage_error("cat: %s holds %u machines: choose one with -m: %s", o->file, s->header.nr_machines,
                    machine_names(s));
    for (u32 i = 0; o->machine && i < s->header.nr_machines; i++)
        if (strcmp(saved_machine(s, i)->name, o->machine) == 0)
            return i;
    if (o->machine)
        usage_error("cat: -m %s: %s has no such machine, but: %s", o->machine, o->file, machine_names(s));
    return 0;
}

static struct machine *load(const struct saved *s, u32 i, const char *file)
{
    char err[SAVED_ERROR];
    struct machine *m;

    guard_region(-1);
    guard_reading(saved_machine(s, i)->name, "as it is loaded", saved_bytes(s, i));
    m = saved_load(s, i, err);
    if (IS_ERR(m))
        usage_error("%s: %s", file, err);
    guard_region(m->handle);
    return m;
}

/* -- names --------------------------------------------------------------------------------------------------------- */

/* Edit distance, Damerau's: swapped neighbours count once. Names here are short. */
static u32 distance(const char *a, const char *b)
{
    u32 d[34][34];
    size_t n = strnlen(a, 32), m = strnlen(b, 32);

    for (size_t i = 0; i <= n; i++)
        for (size_t j = 0; j <= m; j++) {
            u32 differ = i && j && a[i - 1] != b[j - 1];

            if (!i || !j) {
                d[i][j] = (u32)(i + j);
                continue;
            }
            d[i][j] = MIN(MIN(d[i - 1][j], d[i][j - 1]) + 1, d[i - 1][j - 1] + differ);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = MIN(d[i][j], d[i - 2][j - 2] + 1);
        }
    return d[n][m];
}

static const char *nearest_view(const char *name, enum proc_scope scope)
{
    const char *best = NULL;
    u32 least = 4, d;

    for (u32 i = 0; proc_file(i); i++) {
        if (proc_file(i)->scope != scope)
            continue;
        d = distance(name, proc_file(i)->name);
        if (d < least) {
            least = d;
            best = proc_file(i)->name;
        }
    }
    return best;
}

_Noreturn static void unknown_view(const struct cat_options *o, const char *name, const char *file,
                                   enum proc_scope scope)
{
    const char *near = nearest_view(file, scope);
    const char *other = nearest_view(file, scope == PROC_PROCESS ? PROC_MACHINE : PROC_PROCESS);

    if (other && strcmp(other, file) == 0)
        usage_error(scope == PROC_PROCESS ? "cat: %s: %s is of the machine, not of a process: `%s`"
                                          : "cat: %s: %s is of a process: `PID/%s`, `self/...`, `NAME/...`",
                    name, file, file);
    if (near)
        usage_error("cat: %s: no such view; nearest: %s%s", name, scope == PROC_PROCESS ? "PID/" : "", near);
    usage_error("cat: %s: no such view; `quire cat --list %s` shows what there is", name, o->file);
}

_Noreturn static void unknown_process(struct cpu *cpu, const char *name)
{
    char list[LISTED * 96] = "none";
    struct task *t;
    size_t at = 0;

    for (u32 i = 0; i < LISTED && (t = proc_task(cpu, i)); i++)
        at += (size_t)snprintf(list + at, sizeof(list) - at, "%s%d (%s)", i ? ", " : "", t->tgid, shown_name(t));
    usage_error("cat: %s: no such process in this run; processes: %s", name, list);
}

static const struct proc_file *find_view(const char *file, enum proc_scope scope)
{
    for (u32 i = 0; proc_file(i); i++)
        if (proc_file(i)->scope == scope && strcmp(proc_file(i)->name, file) == 0)
            return proc_file(i);
    return NULL;
}

static void check_name(struct cpu *cpu, const struct cat_options *o, const char *name)
{
    const char *file = name;
    enum proc_scope scope = strchr(name, '/') ? PROC_PROCESS : PROC_MACHINE;

    if (scope == PROC_PROCESS && !proc_find_task(cpu, name, &file))
        unknown_process(cpu, name);
    if (!find_view(file, scope))
        unknown_view(o, name, file, scope);
}

/* -- output -------------------------------------------------------------------------------------------------------- */

/* arg: enum guard_text */
static int to_stdout(void *arg, const char *bytes, size_t len)
{
    guard_wrote(*(const enum guard_text *)arg, len);
    return fwrite(bytes, 1, len, stdout) == len ? 0 : -EIO;
}

static int to_memory(void *arg, const char *bytes, size_t len)
{
    guard_wrote(GUARD_TEXT, len);
    return fwrite(bytes, 1, len, arg) == len ? 0 : -ENOMEM;
}

char *cat_read(struct cpu *cpu, const char *name, size_t *len)
{
    char *text = NULL;
    FILE *f = open_memstream(&text, len);
    struct proc_sink sink = {to_memory, f};

    if (!f || proc_read(cpu, name, &sink) || fclose(f))
        usage_error("cat: %s: no memory", name);
    return text;
}

static void print_auxv(struct cpu *cpu, const char *name)
{
    size_t len;
    char *bytes = cat_read(cpu, name, &len);
    const u64 *v = (const u64 *)(const void *)bytes;

    for (size_t i = 0; i + 1 < len / sizeof(*v) && v[i]; i += 2)
        printf("%-4llu 0x%llx\n", (unsigned long long)v[i], (unsigned long long)v[i + 1]);
    free(bytes);
}

static bool ends_with(const char *name, const char *file)
{
    const char *slash = strchr(name, '/');

    return slash && strcmp(slash + 1, file) == 0;
}

/* pagemap's readable form is a view of its own. To be freed. */
static char *readable_name(const char *name)
{
    char *out;

    if (asprintf(&out, "%.*s/pages", (int)strcspn(name, "/"), name) < 0)
        usage_error("no memory");
    return out;
}

static void print_view(struct cpu *cpu, const struct cat_options *o, const char *name)
{
    bool words = ends_with(name, "pagemap");
    enum guard_text text = words && o->raw ? GUARD_WORDS : GUARD_TEXT;
    struct proc_sink sink = {to_stdout, &text};
    char *pages = words && !o->raw ? readable_name(name) : NULL;

    if (!o->raw && ends_with(name, "auxv"))
        print_auxv(cpu, name);
    else
        proc_read(cpu, pages ? pages : name, &sink);
    free(pages);
}

static void list_machine(struct machine *m, const char *name)
{
    struct cpu *cpu = cpu_acquire(m, NULL, CAT_TID);
    struct task *t;

    printf("machine %s\n", name);
    for (u32 i = 0; (t = proc_task(cpu, i)); i++)
        printf("  %8d %-16s %10lld kB resident\n", t->tgid, shown_name(t),
               (long long)get_mm_rss(t->mm) << (PAGE_SHIFT - 10));
    cpu_release(cpu);
}

static int list(struct saved *s, const struct cat_options *o)
{
    u32 only = choose_machine(s, o);

    printf("%s: %s, saved %s by Quire %s\n\n", o->file, s->header.program, s->header.moment, s->header.quire);
    for (u32 i = 0; i < s->header.nr_machines; i++) {
        struct machine *m;

        if (o->machine && i != only)
            continue;
        m = load(s, i, o->file);
        guard_reading(saved_machine(s, i)->name, "its processes", saved_bytes(s, i));
        list_machine(m, saved_machine(s, i)->name);
        machine_destroy(m);
    }
    guard_end();
    saved_close(s);
    printf("\nviews\n");
    for (u32 i = 0; proc_file(i); i++)
        printf("  %s%-*s  %s\n", proc_file(i)->scope == PROC_PROCESS ? "PID/" : "",
               proc_file(i)->scope == PROC_PROCESS ? 12 : 16, proc_file(i)->name, proc_file(i)->doc);
    check_output();
    return 0;
}

static void print_all(struct cpu *cpu, const struct cat_options *o, const struct saved_machine *d, u64 bytes)
{
    json_t *all = o->json ? json_object() : NULL;

    guard_reading(d->name, "its processes", bytes);
    for (char **name = o->names; *name; name++)
        check_name(cpu, o, *name);
    for (char **name = o->names; *name; name++) {
        guard_reading(d->name, *name, bytes);
        if (all)
            json_object_set_new(all, *name, cat_json(cpu, *name));
        else
            print_view(cpu, o, *name);
    }
    guard_end();
    if (all) {
        json_dumpf(o->names[1] ? all : json_object_get(all, o->names[0]), stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(all);
    }
}

int cat_views(const struct cat_options *o)
{
    char err[SAVED_ERROR];
    struct machine *m;
    struct cpu *cpu;
    struct saved s;
    u32 i;

    if (saved_open(o->file, &s, err))
        usage_error("cat: %s", err);
    guard_begin(o->file, o->patience_s);
    if (o->list || !o->names[0])
        return list(&s, o);
    i = choose_machine(&s, o);
    m = load(&s, i, o->file);
    guard_reading(saved_machine(&s, i)->name, "its CPUs", saved_bytes(&s, i));
    cpu = cpu_acquire(m, NULL, CAT_TID);
    print_all(cpu, o, saved_machine(&s, i), saved_bytes(&s, i));
    saved_close(&s);
    check_output();
    return 0;
}
