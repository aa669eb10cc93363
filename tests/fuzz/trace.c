/* SPDX-License-Identifier: MIT */
/*
 * The reader of traces: any bytes are a trace, or are refused with a name, an offset and a reason. Of three inputs one is
 * taken as it is; one is made a file whose checksums are right, so that events are reached; one is a good trace, damaged.
 */
#include "tests/fuzz/fuzz.h"

#include "frontend/trace/block.h"

static void read_fields(const struct trace_event *e)
{
    struct trace_value v;
    const u8 *at = NULL;
    char text[32];
    u64 bytes = 0;

    while (trace_next_value(e, &at, &v))
        for (u64 i = 0; i < v.bytes.len; i++)
            bytes += v.bytes.p[i];
    trace_get(e, TF_SIZE, bytes);
    trace_get_text(e, TF_PATH, text, sizeof(text));
    REQUIRE(memchr(text, 0, sizeof(text)));
}

static void read_all(const u8 *p, size_t len)
{
    char err[256];
    struct trace_reader *r;
    enum trace_status status;
    struct trace_event e;

    memset(err, '#', sizeof(err));
    r = trace_open_bytes(p, len, "T", err, sizeof(err));
    if (!r) {
        REQUIRE(memchr(err, 0, sizeof(err)) && strncmp(err, "T: offset ", 10) == 0);
        return;
    }
    while ((status = trace_next(r, &e)) == TRACE_EVENT)
        read_fields(&e);
    REQUIRE(status == TRACE_END || strncmp(trace_error(r), "T: offset ", 10) == 0);
    REQUIRE(trace_next(r, &e) == status);
    trace_reader_close(r);
}

static void add_block(struct trace_buf *out, struct trace_block *b, const void *raw, size_t len)
{
    struct trace_packer packer = {0};
    size_t n = trace_pack(&packer, b, raw, len);

    trace_buf_add(out, packer.out, n);
    trace_packer_free(&packer);
}

/* Blocks with right checksums around the input; tickets, streams and numbers from it, too. */
static void wrap(struct trace_buf *out, const u8 *data, size_t size)
{
    struct input in = {data, data + size};
    struct trace_block info = {.type = TRACE_BLOCK_INFO}, end = {.type = TRACE_BLOCK_END};
    u8 head[TRACE_FILE_HEADER];

    trace_file_header(head);
    trace_buf_add(out, head, sizeof(head));
    add_block(out, &info, "kind=test\narg.0=\\", 17);
    while (more(&in)) {
        struct trace_block b = {.type = TRACE_BLOCK_EVENTS};
        u8 shape = take_u8(&in);
        size_t len = take_u8(&in);

        len = MIN(len, (size_t)(in.end - in.at));
        b.stream = shape & 3;
        b.number = shape >> 2 & 3;
        b.first_ticket = b.last_ticket = shape >> 4;
        add_block(out, &b, in.at, len);
        in.at += len;
    }
    add_block(out, &end, "", 0);
}

static void damage(struct trace_buf *out, const u8 *data, size_t size)
{
    struct input in = {data, data + size};

    wrap(out, (const u8 *)"\x00\x06\x10\x04\x06\x02\x0a\x05", 8);
    while (more(&in)) {
        size_t at = take_u16(&in) % out->len;

        out->p[at] ^= take_u8(&in);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct trace_buf out = {0};
    u8 how = size ? data[0] % 3 : 0;

    if (!how) {
        read_all(data, size);
        return 0;
    }
    how == 1 ? wrap(&out, data + 1, size - 1) : damage(&out, data + 1, size - 1);
    read_all(out.p, out.len);
    trace_buf_free(&out);
    return 0;
}
