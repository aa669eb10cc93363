/* SPDX-License-Identifier: MIT */
/*
 * The sink of the parsers: see make.h.
 *
 * Invariants
 *   K1  a block's first ticket is taken when its first event is put, an event of another thread is preceded by a ticket:
 *       so tickets are the order of the input;
 *   K2  a block waits for no more than LAG other blocks: the reader need not hold more.
 */
#define _GNU_SOURCE
#include "make.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "frontend/trace/block.h"
#include "frontend/trace/words.h"
#include "regions.h"

#define HASH 256u
#define LAG 64u
#define CODE_FILE 1u /* id of the file that text is mapped from */
#define X86_64_CLONE 56u
#define CLONE_THREAD_FLAGS 0x3d0f00u /* as pthread_create(3) calls it */
#define TASK_THREAD 2u               /* docs/trace-format.md */

struct maker_thread {
    struct maker_thread *next; /* in its hash chain; of those that ended: in maker.ended */
    u32 tid, stream;
    u32 number; /* of the block */
    u32 nr_events;
    u64 first_ticket, last_ticket;
    u64 since; /* blocks written when the block began */
    u64 accesses, blocks;
    struct trace_buf block;
    struct access_words words;
};

struct maker {
    int body;
    int err;
    u64 ticket, blocks_written, bytes;
    u32 nr_streams, nr_live;
    struct made made;
    struct maker_thread *thread[HASH];
    struct maker_thread *first, *current;
    struct trace_packer packer;
    struct trace_buf event;
    struct touched touched;
    struct regions regions;
    const char *what; /* failed; NULL: memory */
};

static void fail(struct maker *mk, int err, const char *what)
{
    if (mk->err)
        return;
    mk->err = err;
    mk->what = what;
}

/* -- blocks -------------------------------------------------------------------------------------------------------- */

static void write_packed(struct maker *mk, int fd, struct trace_block *b, const void *raw, size_t len)
{
    size_t n = trace_pack(&mk->packer, b, raw, len);
    int err = n ? trace_write_all(fd, mk->packer.out, n) : -ENOMEM;

    if (err)
        fail(mk, err, n ? "the trace" : NULL);
    mk->bytes += n;
}

static void write_block(struct maker *mk, struct maker_thread *t)
{
    struct trace_block b = {.type = TRACE_BLOCK_EVENTS,
                            .stream = t->stream,
                            .number = t->number++,
                            .first_ticket = t->first_ticket,
                            .last_ticket = t->last_ticket,
                            .nr_events = t->nr_events};

    if (t->block.failed)
        fail(mk, -ENOMEM, NULL);
    if (!mk->err)
        write_packed(mk, mk->body, &b, t->block.p, t->block.len);
    t->block.len = 0;
    t->nr_events = 0;
    t->first_ticket = 0;
    mk->blocks_written++;
}

/* K1 */
static void put_event(struct maker *mk, struct maker_thread *t, enum trace_type type, const void *body, size_t len)
{
    if (t->block.len + len > TRACE_BLOCK_FILL)
        write_block(mk, t);
    if (!t->block.len) {
        t->first_ticket = t->last_ticket = ++mk->ticket;
        t->since = mk->blocks_written;
    }
    trace_buf_event(&t->block, type, body, len);
    t->nr_events++;
}

static void put_words(struct maker *mk, struct maker_thread *t)
{
    if (t->words.len)
        put_event(mk, t, TRACE_ACCESS, t->words.word, t->words.len * sizeof(t->words.word[0]));
    t->words.len = 0;
}

/* The event whose fields stand in mk->event. */
static void put(struct maker *mk, struct maker_thread *t, enum trace_type type)
{
    put_words(mk, t);
    words_forget(&t->words);
    if (mk->event.failed)
        fail(mk, -ENOMEM, NULL);
    put_event(mk, t, type, mk->event.p, mk->event.len);
    mk->event.len = 0;
}

static void field(struct maker *mk, enum trace_field field, u64 value)
{
    trace_buf_field(&mk->event, field, value);
}

static void field_text(struct maker *mk, enum trace_field field, const char *text)
{
    trace_buf_field_bytes(&mk->event, field, text, strlen(text));
}

/* -- threads ------------------------------------------------------------------------------------------------------- */

static struct maker_thread **find_thread(struct maker *mk, u32 tid)
{
    struct maker_thread **t = &mk->thread[tid % HASH];

    while (*t && (*t)->tid != tid)
        t = &(*t)->next;
    return t;
}

/* K2 */
static void write_laggards(struct maker *mk)
{
    for (u32 h = 0; h < HASH; h++)
        for (struct maker_thread *t = mk->thread[h]; t; t = t->next)
            if (t != mk->current && t->block.len && mk->blocks_written - t->since > LAG)
                write_block(mk, t);
}

/* What follows is done by t. */
static void switch_to(struct maker *mk, struct maker_thread *t)
{
    if (mk->current == t)
        return;
    if (mk->current)
        put_words(mk, mk->current);
    write_laggards(mk);
    mk->current = t;
    words_forget(&t->words);
    if (!t->block.len)
        return;
    t->last_ticket = ++mk->ticket;
    trace_buf_ticket(&t->block, t->last_ticket);
    t->nr_events++;
}

static void put_count(struct maker *mk, struct maker_thread *t)
{
    field(mk, TF_ACCESSES, t->accesses);
    field(mk, TF_BLOCKS, t->blocks);
    put(mk, t, TRACE_COUNT);
    mk->made.words += t->words.nr;
    t->accesses = t->blocks = t->words.nr = 0;
}

static void put_clone(struct maker *mk, const struct maker_thread *child)
{
    switch_to(mk, mk->first);
    put_count(mk, mk->first); /* back on a CPU, if it was not: CALL_ENTER alone does not do that */
    field(mk, TF_RAW_NR, X86_64_CLONE);
    field(mk, TF_ARG0, CLONE_THREAD_FLAGS);
    field(mk, TF_CHILD_STREAM, child->stream);
    put(mk, mk->first, TRACE_CALL_ENTER);
    field(mk, TF_RAW_NR, X86_64_CLONE);
    field(mk, TF_ARG0, CLONE_THREAD_FLAGS);
    field(mk, TF_RESULT, child->tid);
    put(mk, mk->first, TRACE_CALL);
}

static struct maker_thread *new_thread(struct maker *mk, u32 tid)
{
    struct maker_thread *t = mk->err ? NULL : calloc(1, sizeof(*t));

    if (!t || mk->nr_live == MAKE_THREADS) {
        fail(mk, t ? -E2BIG : -ENOMEM, t ? "more threads at once than a machine can follow (1000)" : NULL);
        free(t);
        return NULL;
    }
    t->tid = tid;
    t->stream = ++mk->nr_streams;
    words_begin(&t->words);
    *find_thread(mk, tid) = t;
    mk->nr_live++;
    mk->made.threads++;
    if (!mk->first) {
        mk->first = t;
        t->number = 1; /* block 0, ticket 1: the process and its memory */
        mk->ticket = 1;
        return t;
    }
    put_clone(mk, t);
    switch_to(mk, t);
    field(mk, TF_TID, tid);
    field(mk, TF_PID, mk->first->tid);
    field(mk, TF_FLAGS, TASK_THREAD);
    field_text(mk, TF_ARCH, "x86_64");
    put(mk, t, TRACE_TASK);
    return t;
}

static void free_thread(struct maker_thread *t)
{
    trace_buf_free(&t->block);
    free(t);
}

static void end_thread(struct maker *mk, struct maker_thread **at, enum trace_type how)
{
    struct maker_thread *t = *at;

    switch_to(mk, t);
    put_count(mk, t);
    field(mk, TF_STATUS, 0);
    put(mk, t, how);
    write_block(mk, t);
    *at = t->next;
    mk->current = NULL;
    mk->nr_live--;
    free_thread(t);
}

void maker_thread_exit(void *arg, u32 tid)
{
    struct maker *mk = arg;
    struct maker_thread **at = find_thread(mk, tid);

    if (!mk->err && *at && *at != mk->first)
        end_thread(mk, at, TRACE_THREAD_EXIT);
}

/* -- accesses ------------------------------------------------------------------------------------------------------ */

void maker_access(void *arg, u32 tid, u64 addr, u32 size, enum import_kind kind)
{
    struct maker *mk = arg;
    struct maker_thread *t = mk->current;
    u64 last = (addr + size - 1) >> PAGE_SHIFT;

    if (mk->err)
        return;
    if (!t || t->tid != tid) {
        t = *find_thread(mk, tid);
        if (!t)
            t = new_thread(mk, tid);
        if (!t)
            return;
        switch_to(mk, t);
    }
    for (u64 page = addr >> PAGE_SHIFT; page <= last; page++) {
        if (!words_add(&t->words, page, (enum access_word)kind))
            put_words(mk, t);
        if (!touched_note(&mk->touched, page << PAGE_SHIFT, kind))
            fail(mk, -ENOMEM, NULL);
    }
    *(kind == IMPORT_EXEC ? &t->blocks : &t->accesses) += 1;
    *(kind == IMPORT_EXEC ? &mk->made.blocks : &mk->made.accesses) += 1;
}

bool maker_failed(const struct maker *mk)
{
    return mk->err != 0;
}

/* -- life ---------------------------------------------------------------------------------------------------------- */

struct maker *maker_new(int body)
{
    struct maker *mk = calloc(1, sizeof(*mk));

    if (mk)
        mk->body = body;
    return mk;
}

void maker_free(struct maker *mk)
{
    for (u32 h = 0; h < HASH; h++)
        for (struct maker_thread *t = mk->thread[h], *next; t; t = next) {
            next = t->next;
            free_thread(t);
        }
    touched_free(&mk->touched);
    free(mk->regions.r);
    trace_packer_free(&mk->packer);
    trace_buf_free(&mk->event);
    close(mk->body);
    free(mk);
}

/* -- the whole trace ----------------------------------------------------------------------------------------------- */

static void end_all(struct maker *mk)
{
    for (u32 h = 0; h < HASH; h++)
        for (struct maker_thread **at = &mk->thread[h]; *at;) {
            if (*at == mk->first)
                at = &(*at)->next;
            else
                end_thread(mk, at, TRACE_THREAD_EXIT);
        }
    end_thread(mk, find_thread(mk, mk->first->tid), TRACE_PROCESS_EXIT);
}

static void write_info(struct maker *mk, int fd, const char *name, const char *format)
{
    struct trace_block b = {.type = TRACE_BLOCK_INFO};
    u8 head[TRACE_FILE_HEADER];
    char *text = NULL;
    int err;

    trace_info_add(&text, "kind", "import");
    trace_info_add(&text, "format", format);
    trace_info_add(&text, "arch", "x86_64");
    trace_info_add(&text, "page_size", "4096");
    trace_info_add(&text, "quire", QUIRE_VERSION);
    trace_info_add(&text, "arg.0", name);
    trace_file_header(head);
    err = trace_write_all(fd, head, sizeof(head));
    if (err || !text)
        fail(mk, err ? err : -ENOMEM, err ? "the trace" : NULL);
    mk->bytes += sizeof(head);
    if (text)
        write_packed(mk, fd, &b, text, strlen(text));
    free(text);
}

/* The event in mk->event to `out`. */
static void add_event(struct maker *mk, struct trace_buf *out, enum trace_type type, u32 *nr)
{
    trace_buf_event(out, type, mk->event.p, mk->event.len);
    mk->event.len = 0;
    ++*nr;
}

static void add_found(struct maker *mk, const struct region *r, u64 *text_at, u64 text_size)
{
    u32 write = r->kinds >> IMPORT_WRITE & 1, exec = r->kinds >> IMPORT_EXEC & 1;

    field(mk, TF_ADDR, r->start);
    field(mk, TF_SIZE, r->end - r->start);
    field(mk, TF_PROT, 1 | write << 1 | exec << 2); /* PROT_READ, PROT_WRITE, PROT_EXEC */
    field(mk, TF_FLAGS, 0);
    field(mk, TF_OFFSET, r->text ? *text_at : 0);
    if (!r->text)
        return;
    field(mk, TF_FILE_ID, CODE_FILE);
    field(mk, TF_FILE_SIZE, text_size);
    *text_at += r->end - r->start;
}

/* Block 0 of stream 1. */
static void write_memory(struct maker *mk, int fd, const char *name, u32 pid)
{
    struct trace_block b = {.type = TRACE_BLOCK_EVENTS, .stream = 1, .first_ticket = 1, .last_ticket = 1};
    const struct regions *rs = &mk->regions;
    struct trace_buf out = {0};
    u64 text = 0, at = 0;
    u32 nr = 0;

    for (u32 i = 0; i < rs->nr; i++)
        text += rs->r[i].text ? rs->r[i].end - rs->r[i].start : 0;
    field(mk, TF_TID, pid);
    field(mk, TF_PID, pid);
    field(mk, TF_FLAGS, 0);
    field_text(mk, TF_ARCH, "x86_64");
    field_text(mk, TF_COMM, name);
    add_event(mk, &out, TRACE_TASK, &nr);
    field(mk, TF_ID, CODE_FILE);
    field(mk, TF_DEV, 0);
    field(mk, TF_INO, 1);
    field(mk, TF_SIZE, text);
    field_text(mk, TF_PATH, name);
    add_event(mk, &out, TRACE_FILE, &nr);
    for (u32 i = 0; i < rs->nr; i++) {
        add_found(mk, &rs->r[i], &at, text);
        add_event(mk, &out, TRACE_FOUND, &nr);
    }
    b.nr_events = nr;
    if (out.failed || mk->event.failed)
        fail(mk, -ENOMEM, NULL);
    else
        write_packed(mk, fd, &b, out.p, out.len);
    trace_buf_free(&out);
}

static void copy_body(struct maker *mk, int fd)
{
    static char buf[1 << 16];
    ssize_t n;
    int err;

    for (off_t at = 0; !mk->err && (n = pread(mk->body, buf, sizeof(buf), at)) != 0; at += n) {
        err = n < 0 ? -errno : trace_write_all(fd, buf, (size_t)n);
        if (err)
            fail(mk, err, n < 0 ? "the temporary file" : "the trace");
    }
}

static void write_end(struct maker *mk, int fd)
{
    struct trace_block b = {.type = TRACE_BLOCK_END};
    char text[256];

    snprintf(text, sizeof(text), "exit=0\naccesses=%llu\nblocks=%llu\nevents=%u\nwords=%llu\n",
             (unsigned long long)mk->made.accesses, (unsigned long long)mk->made.blocks, mk->made.threads - 1,
             (unsigned long long)mk->made.words);
    write_packed(mk, fd, &b, text, strlen(text));
}

int maker_finish(struct maker *mk, int fd, const char *name, const char *format, struct made *made)
{
    u32 pid = mk->first ? mk->first->tid : 0;

    if (!mk->err && !mk->first)
        fail(mk, -EINVAL, "no access is in it");
    if (!mk->err)
        end_all(mk);
    if (!mk->err && !regions_of(&mk->touched, MAKE_REGIONS, &mk->regions))
        fail(mk, -ENOMEM, NULL);
    if (!mk->err)
        write_info(mk, fd, name, format);
    if (!mk->err)
        write_memory(mk, fd, name, pid);
    if (!mk->err)
        copy_body(mk, fd);
    if (!mk->err)
        write_end(mk, fd);
    mk->made.pages = mk->regions.pages;
    mk->made.regions = mk->regions.nr;
    mk->made.bytes = mk->bytes;
    *made = mk->made;
    if (mk->err && mk->err != -EINVAL && mk->err != -E2BIG)
        snprintf(made->err, sizeof(made->err), "%s%s%s", mk->what ? mk->what : "", mk->what ? ": " : "",
                 strerror(-mk->err));
    else if (mk->err)
        snprintf(made->err, sizeof(made->err), "%s", mk->what);
    return mk->err;
}
