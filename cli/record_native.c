/* SPDX-License-Identifier: MIT */
/* `quire record --native`: the options, this host as a machine file, the trace. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "native.h"
#include "quire.h"
#include "trace.h"

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

/*
 * An older file of that name keeps what it holds until there is something to record: if the program cannot be recorded,
 * it was not touched.
 */
struct trace_sink {
    struct native_sink sink;
    const char *file;
    char *info;
    struct trace_writer *w; /* NULL: not yet, or it failed */
    bool created;           /* there was none of that name */
    char why[512];          /* it failed */
};

static bool create_trace(struct trace_sink *o)
{
    if (!o->w && !o->why[0])
        o->w = trace_create(o->file, o->info, o->why, sizeof(o->why));
    return o->w != NULL;
}

static void prepare_trace(struct trace_sink *o)
{
    struct stat st;
    bool exists = stat(o->file, &st) == 0;

    o->created = !exists && errno == ENOENT;
    if (exists && S_ISREG(st.st_mode) && st.st_size)
        return;
    if (!create_trace(o))
        usage_error("record: -o %s", o->why);
}

/* The program could not be recorded. */
static void drop_trace(struct trace_sink *o)
{
    if (!o->w)
        return;
    trace_close(o->w, "");
    if (o->created)
        unlink(o->file);
    else if (truncate(o->file, 0)) /* it was empty, or is none that could be cut */
        errno = 0;
}

static void write_event(struct native_sink *s, enum native_type type, const void *bytes, size_t len)
{
    struct trace_sink *o = container_of(s, struct trace_sink, sink);

    if (!create_trace(o))
        return;
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

static int close_trace(struct trace_sink *sink, const struct native_result *r)
{
    char *totals = NULL, number[32];
    int err;

    if (!create_trace(sink)) {
        fprintf(stderr, "quire: record: -o %s: nothing was recorded\n", sink->why);
        return -EIO;
    }
    snprintf(number, sizeof(number), "%llu", (unsigned long long)r->events);
    trace_info_add(&totals, "events", number);
    snprintf(number, sizeof(number), "%llu", (unsigned long long)r->calls);
    trace_info_add(&totals, "calls", number);
    snprintf(number, sizeof(number), "%d", r->wait_status);
    trace_info_add(&totals, "exit", number);
    err = trace_close(sink->w, totals ? totals : "");
    free(totals);
    if (err)
        fprintf(stderr, "quire: record: -o %s: %s: the recording is not complete\n", sink->file, strerror(-err));
    return err;
}

static bool cpu_has(const char *flag)
{
    char line[8192], *at;
    FILE *f = fopen("/proc/cpuinfo", "re");
    bool found = false;

    while (f && !found && fgets(line, sizeof(line), f)) {
        at = strncmp(line, "flags", 5) ? NULL : strstr(line, flag);
        found = at && at[-1] == ' ' && strchr(" \n", at[strlen(flag)]);
    }
    if (f)
        fclose(f);
    return found;
}

/* The kernel's own value of a key that is a sysctl: false, if there is none or a machine does not take it. */
static bool sysctl_value(struct machine_config *scratch, const char *key, char *value, size_t size)
{
    char path[128], err[256];
    FILE *f;
    bool ok;

    snprintf(path, sizeof(path), "/proc/sys/%s", key);
    for (char *p = path + strlen("/proc/sys/"); *p; p++)
        if (*p == '.')
            *p = '/';
    f = fopen(path, "re");
    ok = f && fgets(value, (int)size, f);
    if (f)
        fclose(f);
    if (!ok)
        return false;
    value[strcspn(value, "\n")] = 0;
    for (char *p = value; *p; p++)
        if (*p == '\t')
            *p = ' ';
    return machine_config_set(scratch, key, value, err, sizeof(err)) == 0;
}

/* This host, as a machine file. */
static char *host_text(void)
{
    static struct machine_config c;
    char *text = NULL, value[512];
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);

    if (!f)
        usage_error("no memory");
    host_config(&c, GUEST_X86_64);
    fprintf(f, "arch = %s\nmem = %lluM\ncpus = %u\n", cpu_has("la57") ? "x86_64-5level" : "x86_64",
            (unsigned long long)(c.mem_bytes >> 20), c.nr_cpus);
    fprintf(f, "pkeys = %d\nanon_vma_name = %d\nmemory_failure = %d\n", cpu_has("ospke"),
            !prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, 0, 0, 0), !access("/proc/sys/vm/memory_failure_recovery", F_OK));
    for (u32 i = 0; i < machine_config_nr_keys(); i++) {
        const char *key = machine_config_key(i)->name;

        if ((!strncmp(key, "vm.", 3) || !strncmp(key, "kernel.", 7)) && sysctl_value(&c, key, value, sizeof(value)))
            fprintf(f, "%s = %s\n", key, value);
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

/* Exits if the program cannot run on this kernel, or not be traced. */
static void check_program(const char *name, char path[SESSION_PATH])
{
    static struct program p;
    const char *refused;
    struct utsname host;

    program_find(name, path);
    refuse_program(&p, program_resolve(path, "", &p), name, "record --native -o FILE");
    if (!uname(&host) && strcmp(host.machine, guest_arch_name[p.arch]))
        usage_error("%s: a program for %s, which does not run on this machine natively; `quire record -o FILE` without "
                    "--native records it",
                    name, guest_arch_name[p.arch]);
    refused = native_refuses(p.path);
    if (refused)
        usage_error("%s: cannot be recorded: %s%s%s", name, p.nr_prefix ? p.path : "", p.nr_prefix ? " is " : "",
                    refused);
}

int record_native(const struct record_native_options *o)
{
    struct trace_sink sink = {.sink.event = write_event, .file = o->file};
    struct native_options n = {.argv = o->argv, .maps = o->maps_all ? NATIVE_MAPS_ALL : NATIVE_MAPS_SOMETIMES};
    struct native_result r = {0};
    char path[SESSION_PATH], why[512], *host;
    int failed;

    check_program(o->argv[0], path);
    sink.info = info_text(o->argv);
    if (!sink.info)
        usage_error("no memory");
    prepare_trace(&sink);
    n.path = path;
    n.sink = &sink.sink;
    host = host_text();
    n.host = host;
    if (native_record(&n, &r, why, sizeof(why))) {
        drop_trace(&sink);
        usage_error("%s: cannot be recorded: %s", o->argv[0], why);
    }
    failed = close_trace(&sink, &r);
    free(host);
    free(sink.info);
    if (r.ptracer)
        fprintf(stderr,
                "quire: process %d called ptrace: its processes have a tracer already, so that it failed; what such a "
                "program does then is its own business\n",
                r.ptracer);
    if (r.killed)
        fprintf(stderr, "quire: told to stop, and the program did not end: %llu process(es) were killed\n",
                (unsigned long long)r.killed);
    return failed ? EXIT_USAGE : end_as(r.wait_status);
}
