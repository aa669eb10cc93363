/* SPDX-License-Identifier: MIT */
/* Blocks, events and fields as bytes. */
#define _GNU_SOURCE
#include "block.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are copied as they are");

#define ZSTD_LEVEL 3

static const char *const type_name[] = {
#define X(name, number, printed) [number] = (printed),
    TRACE_TYPES(X)
#undef X
};

static const char *const field_name[] = {
#define X(name, number, printed) [number] = (printed),
    TRACE_FIELDS(X)
#undef X
};

const char *trace_type_name(u32 type)
{
    return type < ARRAY_SIZE(type_name) ? type_name[type] : NULL;
}

const char *trace_field_name(u32 field)
{
    return field < ARRAY_SIZE(field_name) ? field_name[field] : NULL;
}

/* -- headers ------------------------------------------------------------------------------------------------------- */

void trace_file_header(u8 out[TRACE_FILE_HEADER])
{
    u32 word[2] = {TRACE_VERSION, 0};

    memcpy(out, TRACE_SIGNATURE, 8);
    memcpy(out + 8, word, 8);
}

const char *trace_file_header_check(const u8 *p, size_t len, char *text, size_t size)
{
    u32 version;

    if (!len)
        return "empty: not a trace";
    if (len >= 8 && memcmp(p, "QUIRESAV", 8) == 0)
        return "not a Quire trace but a saved run; `quire cat FILE` looks into it";
    if (memcmp(p, TRACE_SIGNATURE, MIN(len, 8u)) != 0)
        return "not a Quire trace (the first bytes are not its signature); `quire record` or `quire import` makes one";
    if (len < TRACE_FILE_HEADER)
        return "truncated in the first 16 bytes";
    memcpy(&version, p + 8, 4);
    if (version == TRACE_VERSION)
        return NULL;
    if (version > TRACE_VERSION)
        snprintf(text, size, "a trace of version %u; this Quire reads version %u: use a newer Quire", version,
                 TRACE_VERSION);
    else
        snprintf(text, size, "a trace of version %u, which never was: corrupt", version);
    return text;
}

/* Where each field lies. */
enum { AT_MAGIC = 0, AT_TYPE = 4, AT_CODEC = 5, AT_HEADER = 6, AT_STREAM = 8, AT_NUMBER = 12, AT_FIRST = 16 };
enum { AT_LAST = 24, AT_STORED = 32, AT_RAW = 36, AT_HASH = 40, AT_EVENTS = 48, AT_CHECK = 56 };

void trace_block_encode(const struct trace_block *b, u8 out[TRACE_BLOCK_HEADER])
{
    u32 magic = TRACE_BLOCK_MAGIC;
    u16 header = TRACE_BLOCK_HEADER;
    u64 check;

    memset(out, 0, TRACE_BLOCK_HEADER);
    memcpy(out + AT_MAGIC, &magic, 4);
    out[AT_TYPE] = b->type;
    out[AT_CODEC] = b->codec;
    memcpy(out + AT_HEADER, &header, 2);
    memcpy(out + AT_STREAM, &b->stream, 4);
    memcpy(out + AT_NUMBER, &b->number, 4);
    memcpy(out + AT_FIRST, &b->first_ticket, 8);
    memcpy(out + AT_LAST, &b->last_ticket, 8);
    memcpy(out + AT_STORED, &b->stored, 4);
    memcpy(out + AT_RAW, &b->raw, 4);
    memcpy(out + AT_HASH, &b->hash, 8);
    memcpy(out + AT_EVENTS, &b->nr_events, 4);
    check = XXH3_64bits(out, AT_CHECK);
    memcpy(out + AT_CHECK, &check, 8);
}

const char *trace_block_decode(const u8 in[TRACE_BLOCK_HEADER], struct trace_block *b)
{
    u32 magic;
    u16 header;

    memcpy(&magic, in + AT_MAGIC, 4);
    memcpy(&header, in + AT_HEADER, 2);
    if (magic != TRACE_BLOCK_MAGIC)
        return "no block begins here: corrupt";
    if (trace_load_u64(in + AT_CHECK) != XXH3_64bits(in, AT_CHECK))
        return "checksum of the block's header is wrong: corrupt";
    b->type = in[AT_TYPE];
    b->codec = in[AT_CODEC];
    memcpy(&b->stream, in + AT_STREAM, 4);
    memcpy(&b->number, in + AT_NUMBER, 4);
    memcpy(&b->first_ticket, in + AT_FIRST, 8);
    memcpy(&b->last_ticket, in + AT_LAST, 8);
    memcpy(&b->stored, in + AT_STORED, 4);
    memcpy(&b->raw, in + AT_RAW, 4);
    memcpy(&b->hash, in + AT_HASH, 8);
    memcpy(&b->nr_events, in + AT_EVENTS, 4);
    if (header != TRACE_BLOCK_HEADER)
        return "the block's header has an unknown size";
    if (b->codec > TRACE_ZSTD)
        return "the block is compressed in an unknown way";
    if (b->stored > TRACE_BLOCK_MAX || b->raw > TRACE_BLOCK_MAX || (b->codec == TRACE_STORED && b->stored != b->raw))
        return "the block's sizes cannot be";
    return NULL;
}

/* -- packing ------------------------------------------------------------------------------------------------------- */

size_t trace_pack(struct trace_packer *p, struct trace_block *b, const void *raw, size_t len)
{
    size_t need = TRACE_BLOCK_HEADER + ZSTD_compressBound(len), n;

    if (need > p->room) {
        u8 *more = realloc(p->out, need);

        if (!more)
            return 0;
        p->out = more;
        p->room = need;
    }
    if (!p->zstd)
        p->zstd = ZSTD_createCCtx();
    if (!p->zstd || len > TRACE_BLOCK_MAX)
        return 0;
    n = ZSTD_compressCCtx(p->zstd, p->out + TRACE_BLOCK_HEADER, p->room - TRACE_BLOCK_HEADER, raw, len, ZSTD_LEVEL);
    b->codec = TRACE_ZSTD;
    if (ZSTD_isError(n) || n >= len) {
        memcpy(p->out + TRACE_BLOCK_HEADER, raw, len);
        b->codec = TRACE_STORED;
        n = len;
    }
    b->stored = (u32)n;
    b->raw = (u32)len;
    b->hash = XXH3_64bits(p->out + TRACE_BLOCK_HEADER, n);
    trace_block_encode(b, p->out);
    return TRACE_BLOCK_HEADER + n;
}

void trace_packer_free(struct trace_packer *p)
{
    ZSTD_freeCCtx(p->zstd);
    free(p->out);
    *p = (struct trace_packer){0};
}

int trace_write_all(int fd, const void *p, size_t len)
{
    const u8 *at = p;

    while (len) {
        ssize_t n = write(fd, at, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

/* -- buffers ------------------------------------------------------------------------------------------------------- */

u8 *trace_buf_room(struct trace_buf *b, size_t more)
{
    if (b->room - b->len < more) {
        size_t room = MAX(2 * b->room, b->len + more + 4096);
        u8 *p = realloc(b->p, room);

        if (!p) {
            b->failed = true;
            return NULL;
        }
        b->p = p;
        b->room = room;
    }
    return b->p + b->len;
}

void trace_buf_add(struct trace_buf *b, const void *p, size_t len)
{
    u8 *to = trace_buf_room(b, len);

    if (!to || !len)
        return;
    memcpy(to, p, len);
    b->len += len;
}

void trace_buf_varint(struct trace_buf *b, u64 value)
{
    u8 *start = trace_buf_room(b, 10), *to = start;

    if (!to)
        return;
    for (; value >= 0x80; value >>= 7)
        *to++ = (u8)(value | 0x80);
    *to++ = (u8)value;
    b->len += (size_t)(to - start);
}

void trace_buf_field(struct trace_buf *b, enum trace_field field, u64 value)
{
    trace_buf_varint(b, (u64)field << 1);
    trace_buf_varint(b, value);
}

void trace_buf_field_bytes(struct trace_buf *b, enum trace_field field, const void *p, u64 len)
{
    trace_buf_varint(b, (u64)field << 1 | 1);
    trace_buf_varint(b, len);
    trace_buf_add(b, p, len);
}

void trace_buf_event(struct trace_buf *b, enum trace_type type, const void *body, size_t len)
{
    trace_buf_varint(b, type);
    trace_buf_varint(b, len);
    trace_buf_add(b, body, len);
}

void trace_buf_ticket(struct trace_buf *b, u64 ticket)
{
    trace_buf_event(b, TRACE_TICKET, &ticket, sizeof(ticket));
}

void trace_buf_free(struct trace_buf *b)
{
    free(b->p);
    *b = (struct trace_buf){0};
}
