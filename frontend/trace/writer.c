/* SPDX-License-Identifier: MIT */
/*
 * A writer with one stream: events gather in `block`; a full block is packed and written with the next ticket.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "block.h"

struct trace_writer {
    int fd;
    int err;
    u64 ticket;
    u32 number, nr_events;
    u64 events, bytes;
    enum trace_type type;   /* of the event under way */
    struct trace_buf event; /* its body */
    struct trace_buf block; /* of the block under way */
    struct trace_packer packer;
};

static void put_block(struct trace_writer *w, enum trace_block_type type, const void *raw, size_t len)
{
    struct trace_block b = {.type = (u8)type, .nr_events = w->nr_events};
    size_t n;

    if (w->err)
        return;
    if (type == TRACE_BLOCK_EVENTS) {
        b.first_ticket = b.last_ticket = ++w->ticket;
        b.number = w->number++;
    }
    n = trace_pack(&w->packer, &b, raw, len);
    w->err = n ? trace_write_all(w->fd, w->packer.out, n) : -ENOMEM;
    w->bytes += n;
}

struct trace_writer *trace_create(const char *path, const char *info, char *err, size_t err_size)
{
    struct trace_writer *w = calloc(1, sizeof(*w));
    u8 header[TRACE_FILE_HEADER];

    if (!w) {
        snprintf(err, err_size, "no memory");
        return NULL;
    }
    w->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
    if (w->fd < 0) {
        snprintf(err, err_size, "%s: %s", path, strerror(errno));
        free(w);
        return NULL;
    }
    trace_file_header(header);
    w->err = trace_write_all(w->fd, header, sizeof(header));
    w->bytes = sizeof(header);
    put_block(w, TRACE_BLOCK_INFO, info, strlen(info));
    if (!w->err)
        return w;
    snprintf(err, err_size, "%s: %s", path, strerror(-w->err));
    trace_close(w, "");
    return NULL;
}

void trace_begin(struct trace_writer *w, enum trace_type type)
{
    w->type = type;
    w->event.len = 0;
    w->events++;
}

void trace_put(struct trace_writer *w, enum trace_field field, u64 value)
{
    trace_buf_field(&w->event, field, value);
}

void trace_put_bytes(struct trace_writer *w, enum trace_field field, const void *p, u64 len)
{
    trace_buf_field_bytes(&w->event, field, p, len);
}

void trace_put_raw(struct trace_writer *w, const void *p, u64 len)
{
    trace_buf_add(&w->event, p, len);
}

void trace_put_text(struct trace_writer *w, enum trace_field field, const char *text)
{
    trace_put_bytes(w, field, text, strlen(text));
}

void trace_end(struct trace_writer *w)
{
    if (w->block.len && w->block.len + w->event.len > TRACE_BLOCK_FILL)
        trace_flush(w);
    trace_buf_event(&w->block, w->type, w->event.p, w->event.len);
    w->nr_events++;
    if (w->event.failed || w->block.failed)
        w->err = w->err ? w->err : -ENOMEM;
}

u64 trace_written(const struct trace_writer *w)
{
    return w->events;
}

u64 trace_written_bytes(const struct trace_writer *w)
{
    return w->bytes;
}

void trace_flush(struct trace_writer *w)
{
    if (w->block.len)
        put_block(w, TRACE_BLOCK_EVENTS, w->block.p, w->block.len);
    w->block.len = 0;
    w->nr_events = 0;
}

int trace_close(struct trace_writer *w, const char *totals)
{
    int err;

    trace_flush(w);
    put_block(w, TRACE_BLOCK_END, totals, strlen(totals));
    err = w->err;
    if (close(w->fd) < 0 && !err)
        err = -errno;
    trace_buf_free(&w->event);
    trace_buf_free(&w->block);
    trace_packer_free(&w->packer);
    free(w);
    return err;
}

/* -- info ---------------------------------------------------------------------------------------------------------- */

static char *escape(char *to, const char *from)
{
    for (; *from; from++) {
        if (*from == '\\' || *from == '\n')
            *to++ = '\\';
        *to++ = *from == '\n' ? 'n' : *from;
    }
    return to;
}

void trace_info_add(char **text, const char *key, const char *value)
{
    size_t len = *text ? strlen(*text) : 0;
    char *more = realloc(*text, len + strlen(key) + 2 * strlen(value) + 3), *to;

    if (!more)
        return;
    *text = more;
    to = more + len;
    to = stpcpy(to, key);
    *to++ = '=';
    to = escape(to, value);
    *to++ = '\n';
    *to = 0;
}
