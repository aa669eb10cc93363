/* SPDX-License-Identifier: MIT */
/* `quire replay`: machines follow a trace; the report is that of `quire run`. */
#define _GNU_SOURCE
#include "replay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "quire.h"

#define PROGRESS_AFTER_S 1.0
#define PROGRESS_EVERY_S 0.5

struct progress {
    double start, last;
    bool shown;
    struct save_state save;
};

static void show_progress(const struct replay_result *r, void *arg)
{
    struct progress *p = arg;
    double t = now_s(), s = t - p->start;

    if (s < PROGRESS_AFTER_S || t - p->last < PROGRESS_EVERY_S || !isatty(STDERR_FILENO))
        return;
    p->last = t;
    p->shown = true;
    fprintf(stderr, "\r\033[Kquire: %.1f s, %.0f M accesses of the trace (%.0f M/s)", s, (double)r->words / 1e6,
            (double)r->words / 1e6 / s);
    fflush(stderr);
}

static void save_end(struct session *s, const struct session_proc *p, void *arg)
{
    struct progress *pr = arg;

    save_at_end(&pr->save, s, p, session_proc_index(s, p) == 0);
}

static char **program_of(const struct trace_reader *r)
{
    char **argv = calloc(1, sizeof(*argv)), key[32];
    const char *value;

    for (u32 n = 0; argv; n++) {
        snprintf(key, sizeof(key), "arg.%u", n);
        value = trace_info(r, key);
        if (!value)
            return argv;
        argv = realloc(argv, (n + 2) * sizeof(*argv));
        if (!argv)
            break;
        argv[n] = strdup(value);
        argv[n + 1] = NULL;
    }
    usage_error("no memory");
}

static enum guest_arch arch_of(const struct trace_reader *r)
{
    const char *arch = trace_info(r, "arch");

    for (u32 a = 0; a < NR_GUEST_ARCHS; a++)
        if (arch && strcmp(guest_arch_name[a], arch) == 0)
            return (enum guest_arch)a;
    return GUEST_X86_64;
}

struct trace_reader *replay_open(const char *file, enum guest_arch *arch)
{
    char err[512];
    struct trace_reader *r = trace_open(file, err, sizeof(err));
    const char *kind;

    if (!r)
        usage_error("%s", err);
    kind = trace_info(r, "kind");
    if (!kind || (strcmp(kind, "qemu") != 0 && strcmp(kind, "import") != 0))
        usage_error("%s: a %s recording holds no accesses; %s", file, kind ? kind : "nameless",
                    kind && strcmp(kind, "native") == 0 ? "`quire verify` reads it" : "record it with `quire record`");
    *arch = arch_of(r);
    return r;
}

static struct session *boot(const struct run_options *o)
{
    struct session *s = session_create();

    if (!s)
        usage_error("cannot create the session: %s%s", strerror(errno), host_limits());
    for (u32 i = 0; i < o->nr_machines; i++) {
        struct machine *m = machine_boot(o->config[i], NULL);

        if (IS_ERR(m))
            usage_error("machine %s: cannot be booted: %s%s", o->config[i]->name, strerror(-PTR_ERR(m)), host_limits());
        s->machine[i].handle = m->handle;
        s->machine[i].addr = (u64)(uintptr_t)m->region;
        s->nr_machines = i + 1;
    }
    return s;
}

static bool check(const struct run_options *o, struct session *s, struct run_result *r)
{
    bool ok = true;

    r->checked = o->check;
    for (u32 i = 0; o->check && i < s->nr_machines; i++) {
        r->check[i] = calloc(1, sizeof(struct check_report));
        if (!r->check[i])
            usage_error("no memory");
        machine_check(session_machine(s, i), r->check[i]);
        ok = ok && r->check[i]->nr == 0;
    }
    return ok;
}

static void report(const struct run_options *o, struct session *s, const struct run_result *r)
{
    FILE *out = o->report_file ? report_open(o->report_file) : stderr;

    if (!out)
        usage_error("--report %s: %s", o->report_file, strerror(errno));
    if (!o->quiet || o->report_file)
        report_text(out, o, s, r);
    if (out != stderr && report_close(out))
        usage_error("--report %s: %s", o->report_file, strerror(errno));
    if (o->json_file && report_json(o->json_file, o, s, r))
        usage_error("--json %s: %s", o->json_file, strerror(errno));
}

/* The counts that the recorder took must come out again. */
static void compare_totals(const struct trace_reader *t, struct session *s)
{
    const struct {
        const char *key;
        u64 is;
    } total[] = {{"accesses", atomic_load(&s->accesses)},
                 {"blocks", atomic_load(&s->blocks)},
                 {"events", atomic_load(&s->events)}};

    for (size_t i = 0; i < ARRAY_SIZE(total); i++) {
        const char *was = trace_total(t, total[i].key);

        if (was && strtoull(was, NULL, 10) != total[i].is)
            session_notice(s, "the recording counted %s %s, the replay %llu", was, total[i].key,
                           (unsigned long long)total[i].is);
    }
}

int replay_recording(struct run_options *o, struct trace_reader *t, const char *file)
{
    struct session *s = boot(o);
    struct progress p = {.start = now_s()};
    struct replay_watch watch = {show_progress, save_end, &p};
    struct replay_result result;
    struct run_result r = {0};
    const char *end;
    bool balanced;

    o->argv = program_of(t);
    p.save = (struct save_state){.o = &o->save, .program = o->argv[0] ? o->argv[0] : ""};
    snprintf(s->proc[0].comm, sizeof(s->proc[0].comm), "%.15s", o->argv[0] ? o->argv[0] : "");
    replay_trace(s, t, &result, &watch);
    r.wall_s = now_s() - p.start;
    if (p.shown)
        fprintf(stderr, "\r\033[K");
    if (result.status == TRACE_END)
        compare_totals(t, s);
    end = trace_total(t, "exit");
    r.wait_status = end ? (int)strtoul(end, NULL, 10) : 0;
    if (o->save.path && !p.save.saved && !p.save.failed)
        session_notice(s, "--save %s: nothing was saved: no process ended", o->save.path);
    balanced = check(o, s, &r);
    report(o, s, &r);
    for (u32 i = 0; i < s->nr_machines; i++)
        free(r.check[i]);
    trace_reader_close(t);
    if (result.status != TRACE_END)
        fprintf(stderr, "quire: %s%s%s; %s\n",
                result.status == TRACE_BAD && strncmp(result.text, "offset", 6) == 0 ? file : "",
                result.status == TRACE_BAD && strncmp(result.text, "offset", 6) == 0 ? ": " : "", result.text,
                "what lies before it was replayed");
    return !balanced ? 3 : result.status != TRACE_END ? EXIT_USAGE : 0;
}
