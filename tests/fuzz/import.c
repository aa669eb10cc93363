/* SPDX-License-Identifier: MIT */
/*
 * The parsers of foreign traces: any bytes are accesses or an error with a message, never anything else; what comes out
 * is a possible access, and a trace of all of them holds them. The first byte chooses the format; for text formats the bytes are made of the alphabet of such files.
 */
#define _GNU_SOURCE
#include "tests/fuzz/fuzz.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "export.h"
#include "make.h"

static void require_possible(void *arg, u32 tid, u64 addr, u32 size, enum import_kind kind)
{
    REQUIRE(tid && size && size <= PAGE_SIZE && (addr + size - 1) >> 56 == 0 && kind <= IMPORT_EXEC);
    maker_access(arg, tid, addr, size, kind);
}

static int count(void *arg, const struct ref *ref)
{
    REQUIRE(ref->page >> 44 == 0 && ref->tid && ref->space == 0 && ref->kind <= IMPORT_EXEC);
    return 0;
}

/* The trace can be read to its end, and holds no more than was put in, on two pages each. */
static void require_trace(struct maker *mk)
{
    int fd = memfd_create("trace", 0);
    struct refs rs = {count, NULL, 0, 0, ""};
    struct trace_reader *r;
    struct made made;
    struct stat st;
    void *p;

    if (maker_finish(mk, fd, "fuzz", "fuzz", &made) == 0) {
        REQUIRE(fstat(fd, &st) == 0 && (u64)st.st_size == made.bytes);
        p = mmap(NULL, made.bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        r = trace_open_bytes(p, made.bytes, "T", (char[256]){0}, 256);
        REQUIRE(r && refs_read(r, &rs, NULL) == TRACE_END);
        REQUIRE(rs.nr && rs.nr <= 2 * (made.accesses + made.blocks));
        trace_reader_close(r);
        munmap(p, made.bytes);
    } else {
        REQUIRE(made.err[0]);
    }
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char alphabet[] = "0123456789abcdefx,,: \n\nILSMrwx\taddr,kind\nsize=-#\"";
    struct import im = {.name = "fuzz", .access = require_possible, .thread_exit = maker_thread_exit};
    const struct import_format *f;
    char *text;
    int err;

    if (size < 2)
        return 0;
    f = &import_formats[data[0] / 2 % nr_import_formats];
    text = malloc(size);
    for (size_t i = 1; i < size; i++)
        text[i - 1] = data[0] & 1 ? (char)data[i] : alphabet[data[i] % (sizeof(alphabet) - 1)];
    im.in = fmemopen(text, size - 1, "r");
    im.arg = maker_new(memfd_create("body", 0));
    REQUIRE(im.in && im.arg);
    err = f->read(&im);
    REQUIRE(!err == !im.err[0]);
    require_trace(im.arg);
    maker_free(im.arg);
    fclose(im.in);
    free(text);
    return 0;
}
