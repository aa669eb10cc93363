/* SPDX-License-Identifier: MIT */
/* `quire record --native`: the options, this host as a machine file, the trace. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "native.h"
#include "quire.h"
#include "trace.h"

struct trace_sink {
    struct native_sink sink;
    struct trace_writer *w;
};

static void write_event(struct native_sink *s, enum native_type type, const void *bytes, size_t len)
{
    struct trace_sink *o = container_of(s, struct trace_sink, sink);

    trace_begin(o->w, TRACE_NATIVE);
    trace_put(o->w, TF_KIND, type);
    trace_put_bytes(o->w, TF_BYTES, bytes, len);
    trace_end(o->w);
}

/* INFO of the trace: docs/trace-format.md. */
static char *info_text(char **argv)
{
    char *text = NULL, key[32], *cwd = getcwd(NULL, 0);
    struct utsname u;

    trace_info_add(&text, "kind", "native");
    trace_info_add(&text, "quire", QUIRE_VERSION);
    if (!uname(&u)) {
        trace_info_add(&text, "arch", u.machine);
        trace_info_add(&text, "host.release", u.release);
        trace_info_add(&text, "host.machine", u.machine);
    }
    trace_info_add(&text, "cwd", cwd ? cwd : "");
    for (u32 i = 0; argv[i]; i++) {
        snprintf(key, sizeof(key), "arg.%u", i);
        trace_info_add(&text, key, argv[i]);
    }
    free(cwd);
    return text;
}

static int close_trace(struct trace_sink *sink, const struct native_result *r, const char *file)
{
    char *totals = NULL, number[32];
    int err;

    snprintf(number, sizeof(number), "%llu", (unsigned long long)r->events);
    trace_info_add(&totals, "events", number);
    snprintf(number, sizeof(number), "%llu", (unsigned long long)r->calls);
    trace_info_add(&totals, "calls", number);
    snprintf(number, sizeof(number), "%d", r->wait_status);
    trace_info_add(&totals, "exit", number);
    err = trace_close(sink->w, totals ? totals : "");
    free(totals);
    if (err)
        fprintf(stderr, "quire: %s: %s: the recording is not complete\n", file, strerror(-err));
    return err;
}

/* This host's settings, as a machine file. */
static char *host_text(void)
{
    static struct machine_config c;
    char *text = NULL, value[512];
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);

    if (!f)
        usage_error("no memory");
    host_config(&c, GUEST_X86_64);
    fprintf(f, "arch = x86_64\nmem = %lluM\ncpus = %u\n", (unsigned long long)(c.mem_bytes >> 20), c.nr_cpus);
    for (u32 i = 0; i < machine_config_nr_keys(); i++) {
        const struct config_key *k = machine_config_key(i);
        struct text t = text_in(value, sizeof(value));

        bool setting = !strncmp(k->name, "vm.", 3) || !strncmp(k->name, "kernel.", 7);

        if (setting && machine_config_get(&c, k, &t) && value[0])
            fprintf(f, "%s = %s\n", k->name, value);
    }
    fclose(f);
    return text;
}

static int end_as(int wait_status)
{
    if (WIFSIGNALED(wait_status)) {
        struct rlimit none = {0, 0};
        int sig = WTERMSIG(wait_status);
        sigset_t set;

        setrlimit(RLIMIT_CORE, &none);
        signal(sig, SIG_DFL);
        sigemptyset(&set);
        sigaddset(&set, sig);
        sigprocmask(SIG_UNBLOCK, &set, NULL);
        raise(sig);
        return 128 + sig;
    }
    return WEXITSTATUS(wait_status);
}

int record_native(const struct record_native_options *o)
{
    struct trace_sink sink = {.sink.event = write_event};
    struct native_options n = {.argv = o->argv, .maps = o->maps_all ? NATIVE_MAPS_ALL : NATIVE_MAPS_SOMETIMES};
    struct native_result r = {0};
    char path[SESSION_PATH], why[512];
    const char *refused;
    char *host, *info;

    if (!program_find(o->argv[0], path))
        usage_error("%s: program not found; give its path, or set PATH", o->argv[0]);
    if (access(path, X_OK))
        usage_error("%s: %s", o->argv[0], errno == ENOENT ? "program not found" : "not executable");
    refused = native_refuses(path);
    if (refused)
        usage_error("%s: cannot be recorded: %s", o->argv[0], refused);
    info = info_text(o->argv);
    sink.w = trace_create(o->file, info, why, sizeof(why));
    free(info);
    if (!sink.w)
        usage_error("-o %s", why);
    n.path = path;
    n.sink = &sink.sink;
    host = host_text();
    n.host = host;
    if (native_record(&n, &r, why, sizeof(why))) {
        trace_close(sink.w, "");
        unlink(o->file);
        free(host);
        usage_error("%s: %s", o->argv[0], why);
    }
    close_trace(&sink, &r, o->file);
    free(host);
    return end_as(r.wait_status);
}
