/* SPDX-License-Identifier: MIT */
/* `quire record --native`: the options, this host as a machine file, the trace. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "native.h"
#include "quire.h"

/* Until the trace writer: the events as they are. */
struct file_sink {
    struct native_sink sink;
    FILE *f;
};

static void write_event(struct native_sink *s, enum native_type type, const void *bytes, size_t len)
{
    struct file_sink *o = container_of(s, struct file_sink, sink);
    u32 head[2] = {type, (u32)len};

    fwrite(head, sizeof(head), 1, o->f);
    fwrite(bytes, len, 1, o->f);
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
    for (u32 i = 0; i < machine_config_nr_keys(); i++) {
        const struct config_key *k = machine_config_key(i);
        struct text t = text_in(value, sizeof(value));

        if (!strchr(k->name, '#') && machine_config_get(&c, k, &t) && value[0])
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
    struct file_sink sink = {.sink.event = write_event};
    struct native_options n = {.argv = o->argv, .maps = o->maps_all ? NATIVE_MAPS_ALL : NATIVE_MAPS_SOMETIMES};
    struct native_result r = {0};
    char path[SESSION_PATH], why[512];
    const char *refused;

    if (!program_find(o->argv[0], path))
        usage_error("%s: program not found; give its path, or set PATH", o->argv[0]);
    if (access(path, X_OK))
        usage_error("%s: %s", o->argv[0], errno == ENOENT ? "program not found" : "not executable");
    refused = native_refuses(path);
    if (refused)
        usage_error("%s: cannot be recorded: %s", o->argv[0], refused);
    sink.f = fopen(o->file, "we");
    if (!sink.f)
        usage_error("-o %s: %s", o->file, strerror(errno));
    n.path = path;
    n.sink = &sink.sink;
    n.host = host_text();
    if (native_record(&n, &r, why, sizeof(why)))
        usage_error("%s: %s", o->argv[0], why);
    fclose(sink.f);
    return end_as(r.wait_status);
}
