/* SPDX-License-Identifier: MIT */
/* Events put together and handed to the sink. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "priv.h"

#define LIMIT_VALUE_AT 26 /* column of /proc/PID/limits where the values begin */

/* -- buffers ------------------------------------------------------------------------------------------------------- */

void buffer_reset(struct buffer *b)
{
    b->len = 0;
    b->nr_parts = 0;
}

/* Room at the end, zeroed; it moves when more is added. */
void *buffer_add(struct buffer *b, size_t len)
{
    void *p;

    if (b->room - b->len < len) {
        size_t room = (b->len + len) * 2 + 4096;

        b->p = realloc(b->p, room);
        if (!b->p)
            abort(); /* as any small allocation in a host tool */
        b->room = room;
    }
    p = b->p + b->len;
    b->len += len;
    memset(p, 0, len);
    return p;
}

void *buffer_part(struct buffer *b, enum native_part_kind kind, u32 arg, size_t len)
{
    struct native_part *part = buffer_add(b, NATIVE_PART_BYTES(len));

    *part = (struct native_part){(u16)kind, (u16)arg, (u32)len};
    b->nr_parts++;
    return part + 1;
}

/* The last part turns out shorter; nothing at all: it goes. */
void buffer_part_trim(struct buffer *b, void *bytes, size_t len)
{
    struct native_part *part = (struct native_part *)bytes - 1;

    part->len = (u32)len;
    b->len = (size_t)((char *)part - b->p) + (len ? NATIVE_PART_BYTES(len) : 0);
    b->nr_parts -= !len;
}

void emit(struct tracer *tr, enum native_type type, const struct buffer *b)
{
    tr->r->events++;
    tr->o->sink->event(tr->o->sink, type, b->p, b->len);
}

struct native_head head_of(struct tracer *tr, const struct thread *t)
{
    return (struct native_head){++tr->seq, t ? t->tid : 0, t && t->proc ? t->proc->tgid : 0};
}

void emit_notice(struct tracer *tr, const struct thread *t, const char *format, ...)
{
    struct buffer *b = &tr->other;
    struct native_head h = head_of(tr, t);
    char text[512];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    buffer_reset(b);
    memcpy(buffer_add(b, sizeof(h)), &h, sizeof(h));
    strcpy(buffer_add(b, strlen(text) + 1), text);
    emit(tr, NATIVE_NOTICE, b);
}

void emit_host(struct tracer *tr)
{
    const char *text = tr->o->host ? tr->o->host : "";
    struct native_host *e;
    struct sysinfo si = {0};
    struct buffer *b = &tr->other;

    sysinfo(&si);
    buffer_reset(b);
    e = buffer_add(b, sizeof(*e) + strlen(text) + 1);
    e->h = head_of(tr, NULL);
    e->totalram_bytes = (u64)si.totalram * si.mem_unit;
    e->page_size = (u32)sysconf(_SC_PAGESIZE);
    e->maps_all = tr->o->maps == NATIVE_MAPS_ALL;
    e->len = (u32)strlen(text);
    memcpy(e + 1, text, e->len);
    emit(tr, NATIVE_HOST, b);
}

/* -- exec ---------------------------------------------------------------------------------------------------------- */

/* Fields of /proc/PID/stat, numbered as in proc_pid_stat(5). */
static const struct {
    u32 field, at;
} stat_fields[] = {
    {26, offsetof(struct native_exec, start_code)},  {27, offsetof(struct native_exec, end_code)},
    {28, offsetof(struct native_exec, start_stack)}, {45, offsetof(struct native_exec, start_data)},
    {46, offsetof(struct native_exec, end_data)},    {47, offsetof(struct native_exec, start_brk)},
    {48, offsetof(struct native_exec, arg_start)},   {49, offsetof(struct native_exec, arg_end)},
    {50, offsetof(struct native_exec, env_start)},   {51, offsetof(struct native_exec, env_end)},
};

static void take_stat_field(struct native_exec *e, u32 field, u64 value)
{
    for (size_t i = 0; i < ARRAY_SIZE(stat_fields); i++)
        if (stat_fields[i].field == field)
            memcpy((char *)e + stat_fields[i].at, &value, sizeof(value));
}

static void read_stat(s32 pid, struct native_exec *e)
{
    char *text = NULL, *p = NULL;
    size_t room = 0;
    u32 field = 3;

    if (tracee_text(pid, "stat", &text, &room) > 0)
        p = strrchr(text, ')'); /* the name before it may hold anything */
    for (p = p ? strchr(p, ' ') : NULL; p; p = strchr(p + 1, ' '))
        take_stat_field(e, field++, strtoull(p, NULL, 10));
    free(text);
}

static bool status_line(s32 pid, const char *key, int base, u64 value[2])
{
    char *text = NULL, *p = NULL;
    size_t room = 0;

    if (tracee_text(pid, "status", &text, &room) > 0 && (p = strstr(text, key))) {
        p += strlen(key);
        value[0] = strtoull(p, &p, base);
        value[1] = strtoull(p, NULL, base);
    }
    free(text);
    return p != NULL;
}

u64 cap_effective(s32 tid)
{
    u64 v[2] = {0, 0};

    status_line(tid, "\nCapEff:", 16, v);
    return v[0];
}

/* prlimit(2) asks for rights that a recorder may lack; /proc/PID/limits has one line a limit, in the order of numbers. */
static void read_limits(s32 pid, struct native_exec *e)
{
    char *text = NULL, *p = NULL;
    size_t room = 0;

    if (tracee_text(pid, "limits", &text, &room) > 0)
        p = strchr(text, '\n'); /* the heading */
    for (u32 i = 0; i < 16; i++) {
        e->limit[i][0] = e->limit[i][1] = ~0ull;
        if (!p || strlen(p + 1) < LIMIT_VALUE_AT)
            continue;
        p += 1 + LIMIT_VALUE_AT;
        for (u32 k = 0; k < 2; k++) { /* a number, or "unlimited" */
            p += strspn(p, " ");
            if (*p != 'u')
                e->limit[i][k] = strtoull(p, NULL, 10);
            p += strcspn(p, " \n");
        }
        p = strchr(p, '\n');
    }
    free(text);
}

static void read_identity(s32 pid, struct native_exec *e)
{
    u64 v[2] = {0, 0};
    char *text = NULL;
    size_t room = 0;

    e->cap_effective = cap_effective(pid);
    if (status_line(pid, "\nUid:", 10, v)) {
        e->uid = (u32)v[0];
        e->euid = (u32)v[1];
    }
    if (tracee_text(pid, "personality", &text, &room) > 0)
        e->personality = (u32)strtoul(text, NULL, 16);
    if (tracee_text(pid, "comm", &text, &room) > 0) {
        text[strcspn(text, "\n")] = 0;
        memcpy(e->comm, text, strnlen(text, 15));
    }
    free(text);
    read_limits(pid, e);
}

/* One native_file for each line of the maps, and the text itself. */
static void add_maps(struct tracer *tr, struct thread *t, struct buffer *b)
{
    struct nmm *mm = t->mm;
    s64 len = tracee_text(t->tid, "maps", &mm->maps, &mm->maps_room);

    mm->maps_len = len > 0 ? (size_t)len : 0;
    if (len <= 0)
        return;
    memcpy(buffer_part(b, NATIVE_MAPS_TEXT, 0, mm->maps_len), mm->maps, mm->maps_len);
    for (const char *p = mm->maps; *p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : p + strlen(p)) {
        struct native_file f = {0};
        unsigned long long start, end, ino = 0;

        if (sscanf(p, "%llx-%llx %*s %*x %*x:%*x %llu", &start, &end, &ino) == 3 && ino)
            tracee_mapped_file(t->tid, start, end, &f);
        memcpy(buffer_part(b, NATIVE_MAPPED, 0, sizeof(f)), &f, sizeof(f));
    }
}

static void add_exe(struct thread *t, struct buffer *b)
{
    struct native_file f = {.seals = -1};
    char path[64], name[512] = "";
    struct stat st;
    char *p;

    snprintf(path, sizeof(path), "/proc/%d/exe", t->tid);
    if (stat(path, &st) || readlink(path, name, sizeof(name) - 1) <= 0)
        return;
    f.dev = st.st_dev;
    f.ino = st.st_ino;
    f.size = (u64)st.st_size;
    f.mode = st.st_mode;
    f.uid = st.st_uid;
    p = buffer_part(b, NATIVE_FILE, 0, sizeof(f) + strlen(name) + 1);
    memcpy(p, &f, sizeof(f));
    strcpy(p + sizeof(f), name);
}

static u64 stack_pointer(s32 tid)
{
    struct __ptrace_syscall_info info;

    return ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info) > 0 ? info.stack_pointer : 0;
}

void emit_exec(struct tracer *tr, struct thread *t, s32 former_tid)
{
    struct buffer *b = &tr->other;
    struct native_exec *e;
    char *auxv = NULL;
    size_t room = 0;
    s64 n;

    buffer_reset(b);
    e = buffer_add(b, sizeof(*e));
    e->h = head_of(tr, t);
    e->former_tid = former_tid;
    e->sp = stack_pointer(t->tid);
    read_stat(t->tid, e);
    read_identity(t->tid, e);
    add_maps(tr, t, b);
    n = tracee_text(t->tid, "auxv", &auxv, &room);
    if (n > 0)
        memcpy(buffer_part(b, NATIVE_AUXV, 0, (size_t)n), auxv, (size_t)n);
    free(auxv);
    add_exe(t, b);
    ((struct native_exec *)(void *)b->p)->nr_parts = b->nr_parts;
    t->mm->calls = 0;
    emit(tr, NATIVE_EXEC, b);
}

/* -- maps ---------------------------------------------------------------------------------------------------------- */

static size_t common_head(const char *a, size_t na, const char *b, size_t nb)
{
    size_t n = na < nb ? na : nb, i = 0;

    while (i < n && a[i] == b[i])
        i++;
    return i;
}

static size_t common_tail(const char *a, size_t na, const char *b, size_t nb)
{
    size_t n = na < nb ? na : nb, i = 0;

    while (i < n && a[na - 1 - i] == b[nb - 1 - i])
        i++;
    return i;
}

void emit_maps(struct tracer *tr, struct thread *t)
{
    struct buffer *b = &tr->other;
    struct nmm *mm = t->mm;
    struct native_maps *e;
    char *text = NULL;
    size_t room = 0, head, tail, middle;
    s64 len = tracee_text(t->tid, "maps", &text, &room);

    mm->calls = 0;
    if (len <= 0) {
        free(text);
        return;
    }
    head = common_head(mm->maps, mm->maps_len, text, (size_t)len);
    tail = common_tail(mm->maps + head, mm->maps_len - head, text + head, (size_t)len - head);
    middle = (size_t)len - head - tail;
    buffer_reset(b);
    e = buffer_add(b, sizeof(*e) + middle);
    e->h = head_of(tr, t);
    e->prefix = head;
    e->suffix = tail;
    e->len = (u32)middle;
    e->whole = !mm->maps_len;
    memcpy(e + 1, text + head, middle);
    free(mm->maps);
    mm->maps = text;
    mm->maps_len = (size_t)len;
    mm->maps_room = room;
    emit(tr, NATIVE_MAPS, b);
}
