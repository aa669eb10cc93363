/* SPDX-License-Identifier: MIT */
/*
 * Blocks, events and fields as bytes: what the writers (trace.h's, the qemu plugin's) and the reader share.
 * docs/trace-format.md has the layouts. All numbers little-endian.
 */
#ifndef QUIRE_FRONTEND_TRACE_BLOCK_H
#define QUIRE_FRONTEND_TRACE_BLOCK_H

#include <string.h>

#include "trace.h"

#define TRACE_SIGNATURE "\x89QTRACE\n" /* not ASCII, ends in a newline: a transfer as text shows */
#define TRACE_FILE_HEADER 16u          /* signature, u32 version, u32 0 */
#define TRACE_BLOCK_HEADER 64u
#define TRACE_BLOCK_MAGIC 0x4b4c4251u /* "QBLK" */
#define TRACE_BLOCK_MAX (64u << 20)   /* of a payload, stored or not: larger is corrupt */
#define TRACE_BLOCK_FILL (256u << 10) /* a block is written when it holds so much */

enum trace_block_type { TRACE_BLOCK_INFO = 1, TRACE_BLOCK_EVENTS = 2, TRACE_BLOCK_END = 3 };
enum trace_codec { TRACE_STORED = 0, TRACE_ZSTD = 1 };

struct trace_block {
    u8 type, codec;
    u32 stream;
    u32 number; /* of the block in its stream, from 0 */
    u64 first_ticket, last_ticket;
    u32 stored, raw; /* bytes of the payload in the file, decoded */
    u32 nr_events;
    u64 hash; /* XXH3 of the payload as stored */
};

void trace_file_header(u8 out[TRACE_FILE_HEADER]);
/* NULL: it is one that can be read; else what is wrong. */
const char *trace_file_header_check(const u8 *p, size_t len, char *text, size_t size);

void trace_block_encode(const struct trace_block *b, u8 out[TRACE_BLOCK_HEADER]);
/* NULL: decoded; else what is wrong with it. */
const char *trace_block_decode(const u8 in[TRACE_BLOCK_HEADER], struct trace_block *b);

/* -- a compressor, one for each thread that writes ----------------------------------------------------------------- */

struct trace_packer {
    void *zstd;
    u8 *out; /* header and payload */
    size_t room;
};

/* b's type, stream, number, tickets and nr_events are set. The whole block's bytes lie in p->out: their number; 0: no memory. */
size_t trace_pack(struct trace_packer *p, struct trace_block *b, const void *raw, size_t len);
void trace_packer_free(struct trace_packer *p);
/* All of it in one write(2) where the kernel does so. 0 or -errno. */
int trace_write_all(int fd, const void *p, size_t len);

/* -- a growing buffer; fields -------------------------------------------------------------------------------------- */

struct trace_buf {
    u8 *p;
    size_t len, room;
    bool failed; /* no memory: the contents are useless */
};

/* `more` bytes behind p + len; NULL: no memory. */
u8 *trace_buf_room(struct trace_buf *b, size_t more);
void trace_buf_add(struct trace_buf *b, const void *p, size_t len);
void trace_buf_varint(struct trace_buf *b, u64 value);
void trace_buf_field(struct trace_buf *b, enum trace_field field, u64 value);
void trace_buf_field_bytes(struct trace_buf *b, enum trace_field field, const void *p, u64 len);
/* type, length, body. */
void trace_buf_event(struct trace_buf *b, enum trace_type type, const void *body, size_t len);
void trace_buf_ticket(struct trace_buf *b, u64 ticket);
void trace_buf_free(struct trace_buf *b);

/* LEB128. NULL: cut off or longer than 64 bits. */
static inline const u8 *trace_varint(const u8 *at, const u8 *end, u64 *value)
{
    u64 v = 0;

    for (u32 shift = 0; at < end && shift < 64; shift += 7) {
        u8 byte = *at++;

        if (shift == 63 && byte > 1)
            return NULL;
        v |= (u64)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *value = v;
            return at;
        }
    }
    return NULL;
}

static inline u64 trace_load_u64(const u8 *p)
{
    u64 v;

    memcpy(&v, p, sizeof(v)); /* little-endian hosts: all that qemu user mode is run on here */
    return v;
}

#endif
