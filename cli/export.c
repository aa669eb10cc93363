/* SPDX-License-Identifier: MIT */
/*
 * `quire export`: a trace or a saved run as other tools read it.
 *
 *   trace ─┬─ its references ─────────────────────────────▶ csv, oracle
 *          └─ replayed, at a process's last moment ─┐
 *   saved run ──────────────────────────────────────┴────▶ vma, vma.json, v2p
 */
#define _GNU_SOURCE
#include "export.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "convert.h"
#include "guard.h"
#include "replay.h"
#include "saved.h"
#include "space.h"

#define EXPORT_TID 0x7ffffffdu /* owner of the CPU that reading borrows */

enum export_source { OF_TRACE, OF_SPACE };

static const struct export_format {
    const char *name, *what;
    enum export_source source;
    space_writer space;
} formats[] = {
    {"csv", "page references: addr,kind,tid,space", OF_TRACE, NULL},
    {"oracle", "page references as libCacheSim's oracleGeneral", OF_TRACE, NULL},
    {"vma", "a process's mappings: start end perms pgoff dev ino name", OF_SPACE, space_vma},
    {"vma.json", "the same as a JSON array of objects", OF_SPACE, space_vma_json},
    {"v2p", "a process's pages as DynamoRIO's v2p.textproto", OF_SPACE, space_v2p},
};

static struct convert_output out;

void export_help(void)
{
    puts("Usage: quire export FORMAT [-o FILE] [-m MACHINE] [-p PROCESS] TRACE|SAVED\n"
         "\n"
         "Write what other tools read, of a trace (`quire record`, `quire import`; -: standard input) or of a saved "
         "run\n"
         "(`quire run --save`). Without -o: standard output. Formats:\n");
    for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
        printf("  %-11s %s\n", formats[i].name, formats[i].what);
    puts(
        "\ncsv and oracle need a trace. The others show a process of a saved run, or of a trace that is replayed on a\n"
        "machine like this host, at the process's last moment.\n"
        "  -p PROCESS  its id or program name; without: the first\n"
        "  -m MACHINE  of a saved run with several");
}

static int
    work_fd; /* beside the output if that is a file, which keeps what it holds until all is there; else it itself */
static u64 work_bytes; /* written there */
static bool guarded;   /* a saved run is read */

static void begin_work(void)
{
    work_fd = out.regular ? convert_temporary(&out) : out.fd;
}

/* Once in a row: read from the beginning, written at the end. */
static void copy(int from, int to, u64 bytes)
{
    static char buf[1 << 16];

    for (u64 at = 0; at < bytes;) {
        ssize_t n = pread(from, buf, sizeof(buf), (off_t)at);

        for (ssize_t done = 0, w; done < n; done += w) {
            w = write(to, buf + done, (size_t)(n - done));
            if (w < 0)
                convert_give_up(&out, "%s: %s", out.name, strerror(errno));
        }
        if (n <= 0)
            convert_give_up(&out, "a temporary file: %s", strerror(errno));
        at += (u64)n;
    }
}

/* The output is whole. */
static void end_work(u64 bytes)
{
    if (work_fd != out.fd) {
        copy(work_fd, out.fd, bytes);
        close(work_fd);
    }
    convert_close(&out, bytes);
}

/* What a stream writes. 0: an error. */
static ssize_t put(void *arg, const char *bytes, size_t len)
{
    size_t done = 0;

    if (guarded)
        guard_wrote(GUARD_TEXT, len);
    while (done < len) {
        ssize_t n = write(work_fd, bytes + done, len - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return 0;
        done += (size_t)n;
        work_bytes += (u64)n;
    }
    return (ssize_t)len;
}

static FILE *open_stream(void)
{
    FILE *f = fopencookie(NULL, "w", (cookie_io_functions_t){.write = put});

    if (!f)
        convert_give_up(&out, "%s: %s", out.name, strerror(errno));
    begin_work();
    return f;
}

static void close_stream(FILE *f)
{
    bool failed = ferror(f);

    if (fclose(f) || failed)
        convert_give_up(&out, "%s: %s", out.name, strerror(errno));
    end_work(work_bytes);
}

/* -- references ---------------------------------------------------------------------------------------------------- */

static void show_refs(const struct refs *rs)
{
    static s64 start;

    if (rs->nr >> 20 == 0 || !convert_shows_progress(&out, &start))
        return;
    fprintf(stderr, "\r\033[Kquire: %.0f M references", (double)rs->nr / 1e6);
    fflush(stderr);
}

/* False: only as far as it is whole. */
static bool read_refs(struct trace_reader *t, const char *in, struct refs *rs)
{
    enum trace_status status = refs_read(t, rs, show_refs);

    if (rs->err)
        convert_give_up(&out, "%s: %s", out.name, rs->text);
    convert_clear_progress(&out);
    if (status != TRACE_END)
        fprintf(stderr, "quire: %s%s%s; what lies before it was exported\n",
                strncmp(rs->text, "offset", 6) == 0 ? in : "", strncmp(rs->text, "offset", 6) == 0 ? ": " : "",
                rs->text);
    return status == TRACE_END;
}

static bool export_csv(struct trace_reader *t, const char *in)
{
    FILE *f = open_stream();
    struct refs rs = {csv_ref, f, 0, 0, ""};
    bool whole;

    if (csv_begin(f))
        convert_give_up(&out, "%s: %s", out.name, strerror(errno));
    whole = read_refs(t, in, &rs);
    close_stream(f);
    return whole;
}

static bool export_oracle(struct trace_reader *t, const char *in)
{
    static struct oracle o;
    struct refs rs = {oracle_ref, &o, 0, 0, ""};
    bool whole;
    int err;

    if (isatty(out.fd))
        convert_give_up(&out, "oracle: standard output is a terminal, the records are binary; -o FILE");
    work_fd = o.fd = convert_temporary(&out); /* its records are gone over backwards */
    whole = read_refs(t, in, &rs);
    err = oracle_finish(&o);
    if (err)
        convert_give_up(&out, "%s: %s", out.name, strerror(-err));
    end_work(o.nr * sizeof(struct oracle_record));
    return whole;
}

/* -- address spaces ------------------------------------------------------------------------------------------------ */

static void write_space(struct cpu *cpu, const struct export_format *f, const char *process)
{
    FILE *file = open_stream();
    int err = f->space(cpu, process, file);

    if (err)
        convert_give_up(&out, "%s: %s", out.name, strerror(-err));
    close_stream(file);
}

static bool export_saved(const struct export_format *f, const struct convert_options *o)
{
    char err[SAVED_ERROR];
    const char *process = o->process ? o->process : "self", *rest;
    struct machine *m;
    struct saved s;
    struct cpu *cpu;
    char name[64];
    u32 i = 0;

    if (saved_open(o->in, &s, err))
        convert_give_up(&out, "%s", err);
    if (!o->machine && s.header.nr_machines > 1)
        convert_give_up(&out, "%s holds %u machines: choose one with -m", o->in, s.header.nr_machines);
    while (o->machine && i < s.header.nr_machines && strcmp(saved_machine(&s, i)->name, o->machine) != 0)
        i++;
    if (i == s.header.nr_machines)
        convert_give_up(&out, "-m %s: %s has no such machine", o->machine, o->in);
    guarded = true;
    guard_begin(o->in, 0);
    guard_output(out.created ? out.path : NULL);
    guard_reading(saved_machine(&s, i)->name, "as it is loaded", saved_bytes(&s, i));
    m = saved_load(&s, i, err);
    if (IS_ERR(m))
        convert_give_up(&out, "%s: %s", o->in, err);
    guard_region(m->handle);
    guard_reading(saved_machine(&s, i)->name, process, saved_bytes(&s, i));
    cpu = cpu_acquire(m, NULL, EXPORT_TID);
    snprintf(name, sizeof(name), "%s/maps", process);
    if (!proc_find_task(cpu, name, &rest))
        convert_give_up(&out, "-p %s: no such process; `quire cat --list %s` shows them", process, o->in);
    write_space(cpu, f, process);
    guard_end();
    cpu_release(cpu);
    machine_destroy(m);
    saved_close(&s);
    return true;
}

struct last_moment {
    const struct export_format *f;
    const char *process; /* NULL: the first */
    bool done;
};

/* A process of the trace ends. */
static void on_end(struct session *s, const struct session_proc *p, void *arg)
{
    struct last_moment *l = arg;
    s32 pid = atomic_load(&((struct session_proc *)(uintptr_t)p)->pid);
    char id[16], comm[sizeof(p->comm) + 1];
    struct cpu *cpu;

    snprintf(id, sizeof(id), "%d", pid);
    snprintf(comm, sizeof(comm), "%.*s", (int)sizeof(p->comm), p->comm);
    if (l->done ||
        (l->process ? strcmp(l->process, id) != 0 && strcmp(l->process, comm) != 0 : session_proc_index(s, p) != 0))
        return;
    if (session_machine_is_dead(s, 0))
        convert_give_up(&out, "the machine could not follow the trace: %s", s->machine[0].reason);
    cpu = cpu_acquire(session_machine(s, 0), NULL, EXPORT_TID);
    write_space(cpu, l->f, id);
    cpu_release(cpu);
    l->done = true;
}

static struct session *boot(enum guest_arch arch)
{
    static struct machine_config config;
    struct session *s = session_create();
    struct machine *m;

    if (!s)
        convert_give_up(&out, "cannot create the session: %s", strerror(errno));
    host_config(&config, arch);
    m = machine_boot(&config, NULL);
    if (IS_ERR(m))
        convert_give_up(&out, "a machine like this host cannot be booted: %s", strerror(-PTR_ERR(m)));
    s->machine[0].handle = m->handle;
    s->machine[0].addr = (u64)(uintptr_t)m->region;
    s->nr_machines = 1;
    return s;
}

static bool export_replayed(const struct export_format *f, const struct convert_options *o, struct trace_reader *t,
                            enum guest_arch arch)
{
    struct last_moment last = {f, o->process, false};
    const struct replay_watch watch = {NULL, on_end, &last};
    struct session *s = boot(arch);
    struct replay_result result;

    replay_trace(s, t, &result, &watch);
    if (!last.done)
        convert_give_up(&out, "%s: %s%s%s", o->in, o->process ? o->process : "its first process",
                        " does not end in this trace, or is not in it",
                        result.status == TRACE_END ? "" : "; the trace is damaged");
    if (result.status != TRACE_END)
        fprintf(stderr, "quire: %s: %s; what lies before it was replayed\n", o->in, result.text);
    machine_destroy(session_machine(s, 0));
    session_destroy(s);
    return result.status == TRACE_END;
}

/* -- all of it ----------------------------------------------------------------------------------------------------- */

/* A file is looked into; what comes through a FIFO or a device is left for who reads it. */
static bool is_saved(const char *path)
{
    char magic[8] = "";
    struct stat st;
    bool file = stat(path, &st) == 0 && S_ISREG(st.st_mode);
    int fd = !file || strcmp(path, "-") == 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    bool is = fd >= 0 && read(fd, magic, sizeof(magic)) == sizeof(magic) && memcmp(magic, SAVED_MAGIC, 8) == 0;

    if (fd >= 0)
        close(fd);
    return is;
}

static const struct export_format *find_format(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
        if (strcmp(formats[i].name, name) == 0)
            return &formats[i];
    usage_error("export: %s: no such format; `quire export --help` lists them", name);
}

int export_trace(const struct convert_options *o)
{
    const struct export_format *f = find_format(o->format);
    bool saved = is_saved(o->in), whole;
    struct trace_reader *t;
    enum guest_arch arch;

    if (saved && f->source == OF_TRACE)
        usage_error("export: %s: a saved run holds no accesses; %s needs a trace", o->in, f->name);
    if (!saved && o->machine)
        usage_error("export: -m %s: %s is no saved run; a trace has no machines", o->machine, o->in);
    if (f->source == OF_TRACE && o->process)
        usage_error("export: -p %s: %s holds all processes of a trace", o->process, f->name);
    t = saved ? NULL : replay_open(o->in, &arch);
    convert_open(&out, "export", o->out ? o->out : "-");
    if (saved)
        whole = export_saved(f, o);
    else if (f->source == OF_SPACE)
        whole = export_replayed(f, o, t, arch);
    else if (strcmp(f->name, "csv") == 0)
        whole = export_csv(t, o->in);
    else
        whole = export_oracle(t, o->in);
    if (t)
        trace_reader_close(t);
    return whole ? 0 : EXIT_USAGE;
}
