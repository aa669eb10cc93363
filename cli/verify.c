/* SPDX-License-Identifier: MIT */
/* `quire verify`: a native recording read, played and judged; the table or JSON. */
#define _GNU_SOURCE
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "json_text.h"
#include "native.h"
#include "quire.h"
#include "trace.h"
#include "verify.h"

struct job {
    const struct verify_cli_options *o;
    struct verify *v;
    double seconds;
    u64 events;
    bool damaged; /* the recording: what comes before is judged */
};

static void begin(struct job *j, const void *bytes, size_t len)
{
    struct verify_options vo = {.shown = j->o->shown, .out = j->o->json ? NULL : stdout};
    char why[512];

    if (len >= sizeof(struct native_host) && j->o->maps_all && !((const struct native_host *)bytes)->maps_all)
        usage_error("%s: recorded without --maps=all: it holds the maps at exec, fork, exit and each 1000 calls only; "
                    "record it again with `quire record --native --maps=all`",
                    j->o->file);
    j->v = verify_create(&vo, bytes, len, why, sizeof(why));
    if (!j->v)
        usage_error("%s: %s%s", j->o->file, why, host_limits());
}

static void one_event(struct job *j, u32 type, const void *bytes, size_t len)
{
    char why[512];

    j->events++;
    if (!j->v && type != NATIVE_HOST)
        usage_error("%s: not a native recording; `quire record --native` makes one", j->o->file);
    if (!j->v)
        begin(j, bytes, len);
    else if (verify_event(j->v, type, bytes, len, why, sizeof(why)))
        usage_error("%s: event %llu: %s", j->o->file, (unsigned long long)j->events, why);
}

static void play(struct job *j)
{
    struct trace_event e;
    enum trace_status status;
    char why[512];
    struct trace_reader *r = trace_open(j->o->file, why, sizeof(why));
    u8 *aligned = NULL;
    size_t room = 0;

    if (!r)
        usage_error("%s", why);
    while ((status = trace_next(r, &e)) == TRACE_EVENT) {
        struct trace_bytes b;

        if (e.type != TRACE_NATIVE)
            continue;
        b = trace_get_bytes(&e, TF_BYTES);
        if (b.len + 1 > room) {
            free(aligned);
            room = b.len * 2 + 4096;
            aligned = malloc(room);
            if (!aligned)
                usage_error("no memory");
        }
        memcpy(aligned, b.p, b.len);
        one_event(j, (u32)trace_get(&e, TF_KIND, 0), aligned, b.len);
    }
    free(aligned);
    j->damaged = status != TRACE_END;
    if (j->damaged && !j->v)
        usage_error("%s", trace_error(r));
    if (j->damaged)
        fprintf(stderr, "quire: %s; what comes before is verified\n", trace_error(r));
    if (!j->v)
        usage_error("%s: not a native recording; `quire record --native` makes one", j->o->file);
    trace_reader_close(r);
}

static u64 calls_of(const struct verify_tally *t)
{
    return t->agreed + t->disagreed + t->not_modelled;
}

static struct verify_tally total_of(const struct verify_result *r)
{
    struct verify_tally total = {0};

    for (u32 i = 0; i < NR_VERIFY; i++) {
        total.agreed += r->tally[i].agreed;
        total.disagreed += r->tally[i].disagreed;
        total.not_modelled += r->tally[i].not_modelled;
        total.interrupted += r->tally[i].interrupted;
    }
    return total;
}

static void table_line(const char *name, const struct verify_tally *t)
{
    printf("%-24s %12llu %12llu %12llu %12llu\n", name, (unsigned long long)calls_of(t), (unsigned long long)t->agreed,
           (unsigned long long)t->disagreed, (unsigned long long)t->not_modelled);
}

static void table(const struct job *j, const struct verify_result *r)
{
    struct verify_tally total = total_of(r);

    printf("%-24s %12s %12s %12s %12s\n", "system call", "calls", "agreed", "disagreed", "not modelled");
    for (u32 i = 0; i < NR_VERIFY; i++)
        if (verify_name(i) && calls_of(&r->tally[i]))
            table_line(verify_name(i), &r->tally[i]);
    table_line("all", &total);
    printf("%llu processes, %llu threads, %llu programs; %llu lines of maps", (unsigned long long)r->processes,
           (unsigned long long)r->threads, (unsigned long long)r->execs, (unsigned long long)r->maps_lines);
    if (r->kernel_cuts)
        printf("; like neighbours apart in %llu maps of the kernel only", (unsigned long long)r->kernel_cuts);
    if (total.interrupted)
        printf("; %llu calls interrupted by a signal", (unsigned long long)total.interrupted);
    if (r->unseen)
        printf("; %llu of the programs may not be read: not modelled", (unsigned long long)r->unseen);
    if (r->overlapped)
        printf("; %llu calls overlapped", (unsigned long long)r->overlapped);
    printf("; %.2f s, %.0f calls a second\n", j->seconds, (double)r->calls / j->seconds);
    printf("%s\n", total.disagreed ? "DISAGREES" : "agrees");
}

static json_t *tally_json(const struct verify_tally *t)
{
    return json_pack("{s:I,s:I,s:I,s:I,s:I}", "calls", (json_int_t)calls_of(t), "agreed", (json_int_t)t->agreed,
                     "disagreed", (json_int_t)t->disagreed, "not_modelled", (json_int_t)t->not_modelled, "interrupted",
                     (json_int_t)t->interrupted);
}

static void print_json(const struct job *j, const struct verify_result *r)
{
    struct verify_tally total = total_of(r);
    json_t *calls = json_object(), *all;

    for (u32 i = 0; i < NR_VERIFY; i++)
        if (verify_name(i) && calls_of(&r->tally[i]))
            json_object_set_new(calls, verify_name(i), tally_json(&r->tally[i]));
    all = json_pack("{s:o,s:o,s:o,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:b,s:b}", "file", json_text(j->o->file), "calls",
                    calls, "total", tally_json(&total), "processes", (json_int_t)r->processes, "threads",
                    (json_int_t)r->threads, "programs", (json_int_t)r->execs, "maps_lines", (json_int_t)r->maps_lines,
                    "kernel_cuts", (json_int_t)r->kernel_cuts, "unseen", (json_int_t)r->unseen, "overlapped",
                    (json_int_t)r->overlapped, "seconds", j->seconds, "agrees", !total.disagreed, "whole", !j->damaged);
    json_dumpf(all, stdout, JSON_INDENT(2));
    puts("");
    json_decref(all);
}

int verify_recording(const struct verify_cli_options *o)
{
    struct job j = {.o = o};
    const struct verify_result *r;
    double start = now_s();
    char why[512];
    bool disagreed, unbalanced;

    play(&j);
    j.seconds = now_s() - start;
    r = verify_result(j.v);
    disagreed = total_of(r).disagreed > 0;
    unbalanced = verify_check(j.v, why, sizeof(why)) > 0;
    if (o->json)
        print_json(&j, r);
    else
        table(&j, r);
    if (unbalanced)
        fprintf(stderr, "quire: the machine's books do not balance: %s\n", why);
    verify_destroy(j.v);
    if (j.damaged)
        return EXIT_USAGE;
    return disagreed || unbalanced ? 1 : 0;
}
