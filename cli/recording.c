/* SPDX-License-Identifier: MIT */
/* The launcher's part of `quire record`. */
#define _GNU_SOURCE
#include "recording.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "port/port.h"
#include "stream.h"

static struct stream *own; /* the launcher's stream */
static struct trace_packer packer;

/* -- start --------------------------------------------------------------------------------------------------------- */

static void add_file(char **text, const char *key, const char *path)
{
    FILE *f = fopen(path, "re");
    char line[256];

    if (f && fgets(line, sizeof(line), f)) {
        line[strcspn(line, "\n")] = 0;
        trace_info_add(text, key, line);
    }
    if (f)
        fclose(f);
}

static void add_host(char **text)
{
    static const char *const sysctl[] = {"overcommit_memory", "overcommit_ratio", "overcommit_kbytes", "mmap_min_addr",
                                         "max_map_count"};
    struct utsname u;
    char number[32], key[64], path[64];

    if (uname(&u) == 0) {
        trace_info_add(text, "host.release", u.release);
        trace_info_add(text, "host.machine", u.machine);
    }
    snprintf(number, sizeof(number), "%ld", sysconf(_SC_NPROCESSORS_ONLN));
    trace_info_add(text, "host.cpus", number);
    snprintf(number, sizeof(number), "%lld", (long long)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) / 1024);
    trace_info_add(text, "host.mem_total_kb", number);
    for (size_t i = 0; i < ARRAY_SIZE(sysctl); i++) {
        snprintf(key, sizeof(key), "vm.%s", sysctl[i]);
        snprintf(path, sizeof(path), "/proc/sys/vm/%s", sysctl[i]);
        add_file(text, key, path);
    }
    add_file(text, "transparent_hugepage.enabled", "/sys/kernel/mm/transparent_hugepage/enabled");
}

static char *info_of(const struct run_options *o, enum guest_arch arch)
{
    char *text = NULL, *cwd = getcwd(NULL, 0), key[32];

    trace_info_add(&text, "kind", "qemu");
    trace_info_add(&text, "arch", guest_arch_name[arch]);
    trace_info_add(&text, "page_size", "4096");
    trace_info_add(&text, "quire", QUIRE_VERSION);
    for (u32 i = 0; o->argv[i]; i++) {
        snprintf(key, sizeof(key), "arg.%u", i);
        trace_info_add(&text, key, o->argv[i]);
    }
    trace_info_add(&text, "cwd", cwd ? cwd : "");
    free(cwd);
    add_host(&text);
    return text;
}

/* A block of text; 0 or -errno. */
static int write_text(struct session *s, enum trace_block_type type, const char *text)
{
    struct trace_block b = {.type = (u8)type};
    size_t n = trace_pack(&packer, &b, text, strlen(text));

    atomic_fetch_add(&s->trace.bytes, n);
    return n ? trace_write_all(s->trace.file, packer.out, n) : -ENOMEM;
}

static int create_file(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0666);

    if (fd < 0)
        usage_error("record: -o %s: %s", path, strerror(errno));
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        usage_error("record: -o %s: not a regular file; all processes of the program append to it", path);
    if (ftruncate(fd, 0))
        usage_error("record: -o %s: %s", path, strerror(errno));
    return fd;
}

static void init_baton(struct session *s)
{
    pthread_mutexattr_t a;

    pthread_mutexattr_init(&a);
    pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&s->trace.baton, &a);
    pthread_mutexattr_destroy(&a);
}

void recording_start(const struct run_options *o, struct session *s, enum guest_arch arch)
{
    u8 head[TRACE_FILE_HEADER];
    char *info = info_of(o, arch);
    int err;

    s->trace.streams = memfd_create("quire-streams", MFD_CLOEXEC);
    if (s->trace.streams < 0 || ftruncate(s->trace.streams, (off_t)STREAM_BYTES * (SESSION_THREADS + 1)) < 0)
        usage_error("record: memory for the recording: %s%s", strerror(errno), host_limits());
    s->trace.file = create_file(o->trace_file);
    trace_file_header(head);
    err = trace_write_all(s->trace.file, head, sizeof(head));
    if (!err)
        err = write_text(s, TRACE_BLOCK_INFO, info ? info : "");
    if (err)
        usage_error("record: -o %s: %s", o->trace_file, strerror(-err));
    free(info);
    atomic_store(&s->trace.whole, sizeof(head) + atomic_load(&s->trace.bytes));
    init_baton(s);
    s->trace.on = true;
    own = stream_map(s, STREAM_LAUNCHER);
    if (!own)
        usage_error("record: memory for the recording: %s", strerror(errno));
    stream_begin(own, 0);
}

/* -- while it runs ------------------------------------------------------------------------------------------------- */

void recording_begin(struct session *s)
{
    if (!s->trace.on || pthread_mutex_lock(&s->trace.baton) != EOWNERDEAD)
        return;
    pthread_mutex_consistent(&s->trace.baton);
    stream_repair(s);
}

static void put_event(struct session *s, enum trace_type type, s32 pid)
{
    struct trace_buf body = {0}, event = {0};
    u64 ticket = atomic_fetch_add(&s->trace.ticket, 1) + 1;

    if (atomic_load(&own->at) > STREAM_ROOM / 2)
        stream_write(s, own, &packer);
    if (own->first_ticket)
        trace_buf_ticket(&event, ticket);
    else
        own->first_ticket = ticket;
    own->last_ticket = ticket;
    trace_buf_field(&body, TF_PID, (u64)pid);
    trace_buf_event(&event, type, body.p, body.len);
    memcpy(own->data + atomic_load(&own->at), event.p, event.len);
    atomic_fetch_add(&own->at, (u32)event.len);
    own->nr_events++;
    trace_buf_free(&body);
    trace_buf_free(&event);
}

void recording_end(struct session *s, enum trace_type type, s32 pid)
{
    if (!s->trace.on)
        return;
    if (type == TRACE_DEATH || type == TRACE_PROCESS_EXIT)
        put_event(s, type, pid);
    atomic_fetch_add(&s->trace.taken, 1);
    if (atomic_load(&s->trace.yielding))
        port_futex_wake(&s->trace.taken, INT32_MAX);
    pthread_mutex_unlock(&s->trace.baton);
}

void recording_flush(struct session *s, const struct session_proc *p)
{
    stream_write_threads(s, p, NULL, &packer);
}

/* -- the end ------------------------------------------------------------------------------------------------------- */

static void add_number(char **text, const char *key, u64 value)
{
    char number[32];

    snprintf(number, sizeof(number), "%llu", (unsigned long long)value);
    trace_info_add(text, key, number);
}

bool recording_finish(struct session *s, const struct run_options *o, const struct run_result *r, FILE *err)
{
    char *totals = NULL;
    int e;

    for (u32 i = 0; i < atomic_load(&s->proc_top); i++)
        if (atomic_load(&s->proc[i].state) != PROC_FREE)
            recording_flush(s, &s->proc[i]);
    stream_write(s, own, &packer);
    add_number(&totals, "exit", (u64)(u32)r->wait_status);
    add_number(&totals, "accesses", atomic_load(&s->accesses));
    add_number(&totals, "blocks", atomic_load(&s->blocks));
    add_number(&totals, "events", atomic_load(&s->events));
    add_number(&totals, "words", atomic_load(&s->trace.words));
    e = atomic_load(&s->trace.err);
    if (!e)
        e = -write_text(s, TRACE_BLOCK_END, totals ? totals : "");
    free(totals);
    s->trace.on = false;
    if (close(s->trace.file) < 0 && !e)
        e = errno;
    s->trace.file = -1; /* for processes that are left: its number may be another file's from now on */
    if (e)
        fprintf(err, "quire: -o %s: %s; the trace is cut short\n", o->trace_file, strerror(e));
    return !e;
}
