/* SPDX-License-Identifier: MIT */
/*
 * The reader: blocks come from the file in any order of streams, events go out in the order of tickets.
 *
 *   file ──▶ block, header checked ──▶ queue of its stream (lane), still packed ──▶ unpacked when its turn comes ──▶ events
 *
 * The next segment is the one with the ticket that follows the last one's. While no lane has it, another block is read:
 * so a pipe can be read, and no more is held than the recorder was late in writing. A ticket that never comes (its block was
 * lost) is passed over at the end of a whole file; in one that is cut short it is the end of what can be used.
 *
 * Invariants
 *   R1  heap[0 .. nr_heap) are the lanes that have something, the one with the lowest next ticket first;
 *   R2  a lane's blocks are in the order of their numbers, without a gap;
 *   R3  an event of a known type that trace_next() delivers has well-formed fields (but ACCESS, whose body is no fields).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include "block.h"

#define ERROR_TEXT 512
#define HASH_LANES 1024u

struct queued {
    struct queued *next;
    struct trace_block head;
    u64 offset;
    u8 payload[];
};

struct lane {
    struct lane *next_in_hash;
    u32 stream, next_number;
    struct queued *first, **last;
    /* the block under way; raw NULL: none */
    u8 *raw;
    const u8 *at, *end;
    u64 offset, ticket;
    u64 key; /* next ticket, while in the heap */
    bool in_heap;
};

struct info {
    char *text;
    u32 nr;
    struct {
        const char *key, *value;
    } * line;
};

struct trace_reader {
    int fd;          /* -1: bytes */
    const u8 *bytes; /* rest of them */
    size_t nr_bytes;
    char *name;
    u64 offset; /* of what is read next */
    bool over;  /* nothing more comes from the file */
    enum trace_status at_end;
    char error[ERROR_TEXT];
    u64 expected; /* ticket */
    struct lane *current;
    struct lane **heap;
    u32 nr_heap, heap_room;
    struct lane *hash[HASH_LANES];
    struct info info, totals;
    void *zstd;
};

static void fail(struct trace_reader *r, enum trace_status status, u64 offset, const char *format, ...)
    __printf_like(4, 5);

static void fail(struct trace_reader *r, enum trace_status status, u64 offset, const char *format, ...)
{
    va_list ap;
    int n;

    r->over = true;
    if (r->error[0])
        return; /* the first stays */
    r->at_end = status;
    n = snprintf(r->error, sizeof(r->error), "%s: offset %llu: ", r->name, (unsigned long long)offset);
    if (n < 0 || (size_t)n >= sizeof(r->error))
        return;
    va_start(ap, format);
    vsnprintf(r->error + n, sizeof(r->error) - (size_t)n, format, ap);
    va_end(ap);
}

/* -- bytes --------------------------------------------------------------------------------------------------------- */

/* As many as there are; -errno. */
static ssize_t get(struct trace_reader *r, void *p, size_t len)
{
    size_t done = 0;

    if (r->fd < 0) {
        done = MIN(len, r->nr_bytes);
        memcpy(p, r->bytes, done);
        r->bytes += done;
        r->nr_bytes -= done;
        return (ssize_t)done;
    }
    while (done < len) {
        ssize_t n = read(r->fd, (u8 *)p + done, len - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (!n)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

/* -- INFO and END -------------------------------------------------------------------------------------------------- */

static void unescape(char *s)
{
    char *to = s;

    for (; *s; s++) {
        if (*s == '\\' && s[1])
            *to++ = *++s == 'n' ? '\n' : *s;
        else
            *to++ = *s;
    }
    *to = 0;
}

static bool parse_info(struct info *info, const u8 *raw, size_t len)
{
    char *at, *next;
    u32 lines = 1;

    if (info->text)
        return false;
    for (size_t i = 0; i < len; i++)
        lines += raw[i] == '\n';
    info->text = malloc(len + 1);
    info->line = calloc(lines, sizeof(*info->line));
    if (!info->text || !info->line)
        return false;
    memcpy(info->text, raw, len);
    info->text[len] = 0;
    for (at = info->text; *at; at = next) {
        char *eq;

        next = at + strcspn(at, "\n");
        if (*next)
            *next++ = 0;
        eq = strchr(at, '=');
        if (!eq)
            continue;
        *eq = 0;
        unescape(eq + 1);
        info->line[info->nr].key = at;
        info->line[info->nr++].value = eq + 1;
    }
    return true;
}

static const char *find_info(const struct info *info, const char *key)
{
    for (u32 i = 0; i < info->nr; i++)
        if (strcmp(info->line[i].key, key) == 0)
            return info->line[i].value;
    return NULL;
}

const char *trace_info(const struct trace_reader *r, const char *key)
{
    return find_info(&r->info, key);
}

const char *trace_total(const struct trace_reader *r, const char *key)
{
    return find_info(&r->totals, key);
}

bool trace_info_line(const struct trace_reader *r, u32 n, const char **key, const char **value)
{
    if (n >= r->info.nr)
        return false;
    *key = r->info.line[n].key;
    *value = r->info.line[n].value;
    return true;
}

/* -- the heap of lanes --------------------------------------------------------------------------------------------- */

static void heap_swap(struct trace_reader *r, u32 a, u32 b)
{
    struct lane *l = r->heap[a];

    r->heap[a] = r->heap[b];
    r->heap[b] = l;
}

static bool heap_add(struct trace_reader *r, struct lane *l)
{
    u32 i = r->nr_heap;

    if (i == r->heap_room) {
        u32 room = 2 * r->heap_room + 16;
        struct lane **more = realloc(r->heap, room * sizeof(struct lane *));

        if (!more)
            return false;
        r->heap = more;
        r->heap_room = room;
    }
    r->heap[r->nr_heap++] = l;
    l->in_heap = true;
    for (; i && r->heap[(i - 1) / 2]->key > r->heap[i]->key; i = (i - 1) / 2)
        heap_swap(r, i, (i - 1) / 2);
    return true;
}

static struct lane *heap_take(struct trace_reader *r)
{
    struct lane *l = r->heap[0];
    u32 i = 0, child;

    r->heap[0] = r->heap[--r->nr_heap];
    while ((child = 2 * i + 1) < r->nr_heap) {
        child += child + 1 < r->nr_heap && r->heap[child + 1]->key < r->heap[child]->key;
        if (r->heap[i]->key <= r->heap[child]->key)
            break;
        heap_swap(r, i, child);
        i = child;
    }
    l->in_heap = false;
    return l;
}

/* -- blocks -------------------------------------------------------------------------------------------------------- */

static struct lane *lane_of(struct trace_reader *r, u32 stream)
{
    struct lane **slot = &r->hash[stream % HASH_LANES], *l;

    for (l = *slot; l; l = l->next_in_hash)
        if (l->stream == stream)
            return l;
    l = calloc(1, sizeof(*l));
    if (!l)
        return NULL;
    l->stream = stream;
    l->last = &l->first;
    l->next_in_hash = *slot;
    *slot = l;
    return l;
}

/* The payload, decoded; NULL: r failed. */
static u8 *unpack(struct trace_reader *r, const struct queued *q)
{
    u8 *raw = malloc(q->head.raw + 1ul);
    size_t n = q->head.stored;

    if (!r->zstd)
        r->zstd = ZSTD_createDCtx();
    if (!raw || !r->zstd) {
        fail(r, TRACE_BAD, q->offset, "no memory for a block of %u bytes", q->head.raw);
        free(raw);
        return NULL;
    }
    if (q->head.codec == TRACE_STORED)
        memcpy(raw, q->payload, n);
    else
        n = ZSTD_decompressDCtx(r->zstd, raw, q->head.raw, q->payload, q->head.stored);
    if (ZSTD_isError(n) || n != q->head.raw) {
        fail(r, TRACE_BAD, q->offset, "the block's payload does not decompress: corrupt");
        free(raw);
        return NULL;
    }
    return raw;
}

static void take_info(struct trace_reader *r, struct queued *q, struct info *info)
{
    u8 *raw = unpack(r, q);

    if (raw && !parse_info(info, raw, q->head.raw))
        fail(r, TRACE_BAD, q->offset, "a second INFO or END block, or no memory for it");
    free(raw);
    free(q);
}

static void take_end(struct trace_reader *r, struct queued *q)
{
    u8 more;

    take_info(r, q, &r->totals);
    if (r->over)
        return;
    if (get(r, &more, 1) > 0) {
        fail(r, TRACE_BAD, r->offset, "more bytes behind the end of the trace");
        return;
    }
    r->over = true;
    r->at_end = TRACE_END;
}

static void enqueue(struct trace_reader *r, struct queued *q)
{
    struct lane *l = lane_of(r, q->head.stream);

    if (!l) {
        fail(r, TRACE_BAD, q->offset, "no memory for another stream");
        free(q);
        return;
    }
    if (q->head.number != l->next_number) {
        fail(r, TRACE_BAD, q->offset, "block %u of stream %u, where its block %u should come: some are missing",
             q->head.number, l->stream, l->next_number);
        free(q);
        return;
    }
    l->next_number++;
    *l->last = q;
    l->last = &q->next;
    if (l->in_heap || l == r->current)
        return;
    l->key = q->head.first_ticket;
    if (!heap_add(r, l))
        fail(r, TRACE_BAD, q->offset, "no memory for another stream");
}

/* Header and payload; NULL: r is over. */
static struct queued *get_block(struct trace_reader *r)
{
    u8 head[TRACE_BLOCK_HEADER];
    u64 offset = r->offset;
    struct trace_block b;
    struct queued *q;
    const char *wrong;
    ssize_t n = get(r, head, sizeof(head));

    if (n < 0)
        fail(r, TRACE_BAD, offset, "cannot be read: %s", strerror((int)-n));
    else if (!n)
        fail(r, TRACE_TRUNCATED, offset,
             "truncated: the trace ends without its end block, the recording was cut short");
    else if (n < (ssize_t)sizeof(head))
        fail(r, TRACE_TRUNCATED, offset, "truncated: %zd of the %u bytes of a block's header are there", n,
             TRACE_BLOCK_HEADER);
    if (r->over)
        return NULL;
    wrong = trace_block_decode(head, &b);
    if (wrong) {
        fail(r, TRACE_BAD, offset, "%s", wrong);
        return NULL;
    }
    q = malloc(sizeof(*q) + b.stored);
    if (!q) {
        fail(r, TRACE_BAD, offset, "no memory for a block of %u bytes", b.stored);
        return NULL;
    }
    *q = (struct queued){.head = b, .offset = offset};
    n = get(r, q->payload, b.stored);
    r->offset += sizeof(head) + b.stored;
    if (n < 0)
        fail(r, TRACE_BAD, offset, "cannot be read: %s", strerror((int)-n));
    else if (n < (ssize_t)b.stored)
        fail(r, TRACE_TRUNCATED, offset,
             "truncated: %zd of the %u bytes of a block (stream %u, tickets %llu to %llu) are there", n, b.stored,
             b.stream, (unsigned long long)b.first_ticket, (unsigned long long)b.last_ticket);
    else if (XXH3_64bits(q->payload, b.stored) != b.hash)
        fail(r, TRACE_BAD, offset, "checksum of a block of %u bytes (stream %u) is wrong: corrupt", b.stored, b.stream);
    if (!r->over)
        return q;
    free(q);
    return NULL;
}

static void read_block(struct trace_reader *r)
{
    struct queued *q = get_block(r);

    if (!q)
        return;
    switch (q->head.type) {
    case TRACE_BLOCK_INFO:
        take_info(r, q, &r->info);
        break;
    case TRACE_BLOCK_EVENTS:
        enqueue(r, q);
        break;
    case TRACE_BLOCK_END:
        take_end(r, q);
        break;
    default: /* of a later version's, not needed to understand the rest */
        free(q);
    }
}

/* -- events -------------------------------------------------------------------------------------------------------- */

static void lane_close(struct lane *l)
{
    free(l->raw);
    l->raw = NULL;
}

/* The lane's next block becomes the one under way. */
static bool lane_open(struct trace_reader *r, struct lane *l)
{
    struct queued *q = l->first;

    l->raw = unpack(r, q);
    l->at = l->raw;
    l->end = l->raw + (l->raw ? q->head.raw : 0);
    l->offset = q->offset;
    l->ticket = q->head.first_ticket;
    l->first = q->next;
    if (!l->first)
        l->last = &l->first;
    free(q);
    return l->raw;
}

/* The segment with the lowest ticket, once it is known that no lower one can come. False: there is none. */
static bool choose(struct trace_reader *r)
{
    struct lane *l;

    while (!r->over && (!r->nr_heap || r->heap[0]->key > r->expected))
        read_block(r);
    if (!r->nr_heap || (r->heap[0]->key > r->expected && r->at_end != TRACE_END))
        return false; /* what follows a gap cannot be understood if the trace is not whole */
    l = heap_take(r);
    r->current = l;
    r->expected = l->key + 1;
    return true;
}

/* The current lane's segment is over. */
static void leave(struct trace_reader *r)
{
    struct lane *l = r->current;

    r->current = NULL;
    if (l->raw && l->at == l->end)
        lane_close(l);
    if (l->raw)
        l->key = l->ticket;
    else if (l->first)
        l->key = l->first->head.first_ticket;
    else
        return;
    if (!heap_add(r, l))
        fail(r, TRACE_BAD, l->offset, "no memory");
}

static bool fields_ok(const struct trace_event *e)
{
    const u8 *at = e->body;
    u64 key, value;

    while (at < e->end) {
        at = trace_varint(at, e->end, &key);
        at = at ? trace_varint(at, e->end, &value) : NULL;
        if (!at || ((key & 1) && value > (u64)(e->end - at)))
            return false;
        at += key & 1 ? value : 0;
    }
    return true;
}

/* What is wrong with a block is wrong with all that its stream says later; the rest of the trace is not read either. */
static void bad_event(struct trace_reader *r, struct lane *l, const char *what)
{
    fail(r, TRACE_BAD, l->offset, "%s in the block that begins here: corrupt", what);
    l->at = l->end;
}

/* One event of the lane; false: it was a ticket, or broken. */
static bool parse_event(struct trace_reader *r, struct lane *l, struct trace_event *e)
{
    u64 type, len;
    const u8 *at = trace_varint(l->at, l->end, &type);

    at = at ? trace_varint(at, l->end, &len) : NULL;
    if (!at || len > (u64)(l->end - at) || type > UINT32_MAX) {
        bad_event(r, l, "an event without end");
        return false;
    }
    l->at = at + len;
    if (type == TRACE_TICKET) {
        if (len != 8 || trace_load_u64(at) <= l->ticket) {
            bad_event(r, l, "a ticket out of order");
            return false;
        }
        l->ticket = trace_load_u64(at);
        leave(r);
        return false;
    }
    *e = (struct trace_event){(u32)type, l->stream, l->ticket, l->offset, at, l->at};
    if (type == TRACE_ACCESS || !trace_type_name(e->type) || fields_ok(e))
        return true;
    bad_event(r, l, "an event with broken fields");
    return false;
}

enum trace_status trace_next(struct trace_reader *r, struct trace_event *e)
{
    for (;;) {
        struct lane *l = r->current;

        if (!l) {
            if (!choose(r))
                return r->at_end;
            l = r->current;
            if (!l->raw && !lane_open(r, l))
                leave(r);
            continue;
        }
        if (l->at == l->end)
            leave(r);
        else if (parse_event(r, l, e))
            return TRACE_EVENT;
    }
}

const char *trace_error(const struct trace_reader *r)
{
    return r->error;
}

/* -- fields -------------------------------------------------------------------------------------------------------- */

bool trace_next_value(const struct trace_event *e, const u8 **at, struct trace_value *v)
{
    const u8 *p = *at ? *at : e->body;
    u64 key, value;

    if (p >= e->end)
        return false;
    p = trace_varint(p, e->end, &key);
    p = p ? trace_varint(p, e->end, &value) : NULL;
    if (!p || ((key & 1) && value > (u64)(e->end - p)))
        return false;
    *v = (struct trace_value){.field = (u32)(key >> 1)};
    if (key & 1) {
        v->bytes = (struct trace_bytes){p, value};
        p += value;
    } else {
        v->number = value;
    }
    *at = p;
    return true;
}

static bool find_value(const struct trace_event *e, enum trace_field field, bool bytes, struct trace_value *v)
{
    const u8 *at = NULL;

    while (trace_next_value(e, &at, v))
        if (v->field == field && (v->bytes.p != NULL) == bytes)
            return true;
    return false;
}

u64 trace_get(const struct trace_event *e, enum trace_field field, u64 otherwise)
{
    struct trace_value v;

    return find_value(e, field, false, &v) ? v.number : otherwise;
}

bool trace_has(const struct trace_event *e, enum trace_field field)
{
    struct trace_value v;

    return find_value(e, field, false, &v) || find_value(e, field, true, &v);
}

struct trace_bytes trace_get_bytes(const struct trace_event *e, enum trace_field field)
{
    struct trace_value v;

    return find_value(e, field, true, &v) ? v.bytes : (struct trace_bytes){0};
}

char *trace_get_text(const struct trace_event *e, enum trace_field field, char *out, size_t size)
{
    struct trace_bytes b = trace_get_bytes(e, field);
    size_t n = MIN(b.len, size - 1);

    if (n)
        memcpy(out, b.p, n);
    out[n] = 0;
    return out;
}

/* -- open and close ------------------------------------------------------------------------------------------------ */

/* r has its source; the file's header and INFO block. */
static struct trace_reader *start(struct trace_reader *r, char *err, size_t err_size)
{
    u8 head[TRACE_FILE_HEADER];
    char text[128];
    ssize_t n = get(r, head, sizeof(head));
    const char *wrong = n < 0 ? strerror((int)-n) : trace_file_header_check(head, (size_t)n, text, sizeof(text));

    r->expected = 1;
    r->offset = sizeof(head);
    if (wrong) {
        snprintf(err, err_size, "%s: offset 0: %s", r->name, wrong);
        trace_reader_close(r);
        return NULL;
    }
    while (!r->over && !r->info.text)
        read_block(r);
    if (r->info.text)
        return r;
    snprintf(err, err_size, "%s", r->error[0] ? r->error : "no INFO block");
    trace_reader_close(r);
    return NULL;
}

static struct trace_reader *new_reader(const char *name, char *err, size_t err_size)
{
    struct trace_reader *r = calloc(1, sizeof(*r));

    if (r)
        r->name = strdup(name);
    if (r && r->name)
        return r;
    snprintf(err, err_size, "no memory");
    free(r);
    return NULL;
}

struct trace_reader *trace_open(const char *path, char *err, size_t err_size)
{
    bool standard = strcmp(path, "-") == 0;
    struct trace_reader *r = new_reader(standard ? "(standard input)" : path, err, err_size);

    if (!r)
        return NULL;
    r->fd = standard ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    if (r->fd >= 0)
        return start(r, err, err_size);
    snprintf(err, err_size, "%s: %s", r->name, strerror(errno));
    trace_reader_close(r);
    return NULL;
}

struct trace_reader *trace_open_bytes(const void *p, size_t len, const char *name, char *err, size_t err_size)
{
    struct trace_reader *r = new_reader(name, err, err_size);

    if (!r)
        return NULL;
    r->fd = -1;
    r->bytes = p;
    r->nr_bytes = len;
    return start(r, err, err_size);
}

static void lane_free(struct lane *l)
{
    struct queued *q, *next;

    for (q = l->first; q; q = next) {
        next = q->next;
        free(q);
    }
    free(l->raw);
    free(l);
}

void trace_reader_close(struct trace_reader *r)
{
    struct lane *l, *next;

    for (u32 i = 0; i < HASH_LANES; i++)
        for (l = r->hash[i]; l; l = next) {
            next = l->next_in_hash;
            lane_free(l);
        }
    if (r->fd >= 0)
        close(r->fd);
    ZSTD_freeDCtx(r->zstd);
    free(r->heap);
    free(r->info.text);
    free(r->info.line);
    free(r->totals.text);
    free(r->totals.line);
    free(r->name);
    free(r);
}
