/* SPDX-License-Identifier: MIT */
/* Page references of a trace: see export.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "export.h"
#include "frontend/trace/access.h"

#define HASH 1024u
#define IDLE_EVERY 256u        /* events */
#define MAX_TOUCH (1ull << 31) /* bytes */
#define MAX_USER_VA (1ull << 56)
#define TASK_FORKED 1u /* docs/trace-format.md */
#define TASK_EXECED 3u

struct ref_stream {
    struct ref_stream *next;
    u32 stream, tid, space;
    u64 pid;
    u32 prev;                /* the latest word */
    u64 data, code, defined; /* page numbers */
    enum import_kind data_kind;
    u64 page[ACCESS_SLOTS];
};

struct reading {
    struct refs *rs;
    struct ref_stream *stream[HASH];
    u32 nr_spaces;
    const char *bad; /* NULL: nothing is */
};

static struct ref_stream **find(struct reading *rd, u32 stream)
{
    struct ref_stream **s = &rd->stream[stream % HASH];

    while (*s && (*s)->stream != stream)
        s = &(*s)->next;
    return s;
}

static bool give(struct reading *rd, const struct ref_stream *s, u64 page, enum import_kind kind)
{
    const struct ref ref = {s->space, s->tid, page, kind};

    rd->rs->nr++;
    rd->rs->err = rd->rs->ref(rd->rs->arg, &ref);
    return !rd->rs->err;
}

/* -- words --------------------------------------------------------------------------------------------------------- */

/* What the marks of a word tell of. */
static bool left_out(struct reading *rd, const struct ref_stream *s, u32 marks)
{
    bool data = s->prev == ACCESS_FETCH_WORD; /* else blocks come first */

    for (; marks > 0; marks--, data = !data)
        if (!give(rd, s, data ? s->data : s->code, data ? s->data_kind : IMPORT_EXEC))
            return false;
    return true;
}

static u32 load_word(const u8 *p)
{
    return p[0] | (u32)p[1] << 8;
}

static void define(struct ref_stream *s, u32 word, const u8 *p)
{
    u64 z = load_word(p) | (u64)load_word(p + 2) << 16 | (u64)load_word(p + 4) << 32;

    s->defined = (s->defined + access_unzigzag(z)) & (MAX_USER_VA / PAGE_SIZE - 1);
    s->page[word >> ACCESS_SLOT_SHIFT] = s->defined;
}

static void remember(struct ref_stream *s, u64 page, u32 kind)
{
    s->prev = kind;
    if (kind == ACCESS_FETCH_WORD) {
        s->code = page;
    } else {
        s->data = page;
        s->data_kind = (enum import_kind)kind;
    }
}

static bool on_words(struct reading *rd, struct ref_stream *s, const u8 *p, const u8 *end)
{
    while (end - p >= 2) {
        u32 word = load_word(p), kind = word & 3;
        u64 page = s->page[word >> ACCESS_SLOT_SHIFT];

        p += 2;
        if (kind == ACCESS_DEFINE_WORD) {
            if (end - p < 6)
                break;
            define(s, word, p);
            p += 6;
            continue;
        }
        if (!left_out(rd, s, MIN(word >> 2 & 3, 2u)) || !give(rd, s, page, (enum import_kind)kind))
            return false;
        remember(s, page, kind);
    }
    if (p != end)
        rd->bad = "cut off in the middle of a word";
    return p == end;
}

/* -- events -------------------------------------------------------------------------------------------------------- */

/* Of the process that the thread begins in. */
static u32 space_of(struct reading *rd, u64 pid)
{
    for (u32 h = 0; h < HASH; h++)
        for (struct ref_stream *s = rd->stream[h]; s; s = s->next)
            if (s->pid == pid)
                return s->space;
    return rd->nr_spaces++;
}

static bool on_task(struct reading *rd, const struct trace_event *e)
{
    struct ref_stream **at = find(rd, e->stream), *s = *at;
    u64 pid = trace_get(e, TF_PID, 0), how = trace_get(e, TF_FLAGS, 0);
    u32 space = how == TASK_FORKED || how == TASK_EXECED ? rd->nr_spaces++ : space_of(rd, pid);

    if (!s)
        s = *at = calloc(1, sizeof(*s));
    if (!s) {
        rd->rs->err = -ENOMEM;
        return false;
    }
    *s = (struct ref_stream){.next = s->next,
                             .stream = e->stream,
                             .tid = (u32)trace_get(e, TF_TID, 0),
                             .pid = pid,
                             .space = space,
                             .prev = ACCESS_READ_WORD};
    return true;
}

static bool on_touch(struct reading *rd, const struct ref_stream *s, const struct trace_event *e)
{
    u64 addr = trace_get(e, TF_ADDR, 0), size = trace_get(e, TF_SIZE, 0);
    enum import_kind kind = trace_get(e, TF_KIND, 0) ? IMPORT_WRITE : IMPORT_READ;

    if (size > MAX_TOUCH || addr > MAX_USER_VA - size) {
        rd->bad = "an impossible size or place";
        return false;
    }
    for (u64 page = addr >> PAGE_SHIFT; size && page <= (addr + size - 1) >> PAGE_SHIFT; page++)
        if (!give(rd, s, page, kind))
            return false;
    return true;
}

static void end_stream(struct reading *rd, u32 stream)
{
    struct ref_stream **at = find(rd, stream), *s = *at;

    if (!s)
        return;
    *at = s->next;
    free(s);
}

static bool on_event(struct reading *rd, const struct trace_event *e)
{
    struct ref_stream *s;

    if (e->type == TRACE_TASK)
        return on_task(rd, e);
    if (e->type != TRACE_ACCESS && e->type != TRACE_TOUCH) {
        if (e->type == TRACE_THREAD_EXIT || e->type == TRACE_PROCESS_EXIT)
            end_stream(rd, e->stream);
        return true;
    }
    s = *find(rd, e->stream);
    if (!s)
        rd->bad = "its thread has not begun, or has ended";
    if (!s)
        return false;
    return e->type == TRACE_TOUCH ? on_touch(rd, s, e) : on_words(rd, s, e->body, e->end);
}

enum trace_status refs_read(struct trace_reader *r, struct refs *rs, void (*idle)(const struct refs *))
{
    struct reading rd = {.rs = rs};
    struct trace_event e;
    enum trace_status status;
    u64 events = 0;

    while ((status = trace_next(r, &e)) == TRACE_EVENT && on_event(&rd, &e))
        if (++events % IDLE_EVERY == 0 && idle)
            idle(rs);
    for (u32 h = 0; h < HASH; h++)
        while (rd.stream[h])
            end_stream(&rd, rd.stream[h]->stream);
    if (rs->err)
        snprintf(rs->text, sizeof(rs->text), "%s", strerror(-rs->err));
    else if (rd.bad)
        snprintf(rs->text, sizeof(rs->text), "offset %llu: %s event of stream %u: %s", (unsigned long long)e.offset,
                 trace_type_name(e.type), e.stream, rd.bad);
    else if (status != TRACE_END)
        snprintf(rs->text, sizeof(rs->text), "%s", trace_error(r));
    return status == TRACE_EVENT ? TRACE_BAD : status;
}

/* -- csv ----------------------------------------------------------------------------------------------------------- */

int csv_begin(FILE *out)
{
    return fputs("addr,kind,tid,space\n", out) < 0 ? -EIO : 0;
}

int csv_ref(void *arg, const struct ref *ref)
{
    static const char kinds[] = "rwx";

    if (fprintf(arg, "0x%llx,%c,%u,%u\n", (unsigned long long)ref->page << PAGE_SHIFT, kinds[ref->kind], ref->tid,
                ref->space) < 0)
        return errno ? -errno : -EIO;
    return 0;
}
