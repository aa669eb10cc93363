/* SPDX-License-Identifier: MIT */
/* Parsers of foreign traces: golden inputs with the accesses they hold, and bad ones with their messages. */
#include "tests/unit/testing.h"

#include "import.h"

#include <stdlib.h>

#define BYTES(s) s, sizeof(s) - 1

struct seen {
    char text[2048];
    size_t len;
};

static void note_access(void *arg, u32 tid, u64 addr, u32 size, enum import_kind kind)
{
    struct seen *s = arg;

    s->len += (size_t)snprintf(s->text + s->len, sizeof(s->text) - s->len, "%u%c%llx+%u ", tid, "rwx"[kind],
                               (unsigned long long)addr, size);
}

static void note_exit(void *arg, u32 tid)
{
    struct seen *s = arg;

    s->len += (size_t)snprintf(s->text + s->len, sizeof(s->text) - s->len, "%u. ", tid);
}

struct import_case {
    const char *format;
    const char *in;
    size_t len;
    const char *seen; /* all accesses */
    const char *err;  /* NULL: none */
};

/* Records of the binary formats, little-endian. */
#define DR(type, size, addr) type "\0" size "\0" addr
#define DR_HEAD DR("\x19", "\0", "\3\0\0\0\0\0\0\0")
#define A1000 "\0\x10\0\0\0\0\0\0"
#define A2008 "\x08\x20\0\0\0\0\0\0"
#define A2FFC "\xfc\x2f\0\0\0\0\0\0"
#define NUL8 "\0\0\0\0\0\0\0\0"

static const struct import_case cases[] = {
    {"lackey", BYTES("==7== Lackey\n\nI  04001000,3\n L 1ffe8,8\n S 1ffe0,4\n M 1000,2\n==7== end\n"),
     "1x4001000+3 1r1ffe8+8 1w1ffe0+4 1r1000+2 1w1000+2 ", NULL},
    {"lackey", BYTES(""), "", NULL},
    {"lackey", BYTES(" L 10,8\n L 10\n"), "1r10+8 ", "in:2: ' L 10': expected ADDRESS,SIZE behind 'L'"},
    {"lackey", BYTES("hello\n"), "", "in:1: 'hello': expected \"I  ADDRESS,SIZE\" or \" L|S|M ADDRESS,SIZE\""},
    {"lackey", BYTES(" L 10,0\n"), "", "in:1: an access of 0 bytes: 1 to 4096 are possible"},
    {"lackey", BYTES(" L 10,-8\n"), "", "in:1: ' L 10,-8': expected ADDRESS,SIZE behind 'L'"},
    {"lackey", BYTES(" L fffffffffffffff0,8\n"), "", "in:1: address 0xfffffffffffffff0 is not a user address"},
    {"lackey", BYTES(" L 11111111111111111,8\n"), "",
     "in:1: ' L 11111111111111111,8': expected ADDRESS,SIZE behind 'L'"},
    {"drtext",
     BYTES("Format: <data address>: <data size>, <(r)ead/(w)rite/opcode>\n0x401000:  3, mov\n0x7ffe10:  8, "
           "r\n0x7ffe18: 4, w\n"),
     "1x401000+3 1r7ffe10+8 1w7ffe18+4 ", NULL},
    {"drtext", BYTES("0x401000 3, mov\n"), "", "in:1: '0x401000 3, mov': expected \"ADDRESS: SIZE, r|w|OPCODE\""},
    {"drtext", BYTES("0x401000: 3\n"), "", "in:1: '0x401000: 3': expected SIZE and a comma behind the address"},
    {"csv", BYTES("addr,size,kind,tid\n0x1000,8,r,1\n8192,4,W,2\n# remark\n0x10,1,x,2\n"), "1r1000+8 2w2000+4 2x10+1 ",
     NULL},
    {"csv", BYTES("time,address\r\n1,0x1000\r\n"), "1r1000+1 ", NULL},
    {"csv", BYTES("size,kind\n"), "",
     "in:1: no column 'addr': the first line names the columns, such as addr,size,kind,tid"},
    {"csv", BYTES("addr,addr\n"), "", "in:1: column 'addr' is there twice"},
    {"csv", BYTES("addr,kind\n0x10,q\n"), "", "in:2: kind 'q': expected r, w or x"},
    {"csv", BYTES("addr,kind\n0x10\n"), "", "in:2: 1 columns instead of 2"},
    {"csv", BYTES("addr\n0x10,1\n"), "", "in:2: more than 1 columns"},
    {"csv", BYTES("addr\nten\n"), "", "in:2: 'ten' is not a number"},
    {"csv", BYTES(""), "", "in: empty: the first line must name the columns, such as addr,size,kind,tid"},
    {"drmemtrace",
     BYTES(DR_HEAD DR("\x16", "\x04", "\x2a\0\0\0\0\0\0\0") DR("\x0a", "\x03", A1000) DR("\0", "\x08", A2008)
               DR("\x01", "\x04", A2FFC) DR("\x1c", "\x02", NUL8) DR("\x17", "\x04", "\x2a\0\0\0\0\0\0\0")),
     "42x1000+3 42r2008+8 42w2ffc+4 42. ", NULL},
    {"drmemtrace", BYTES(DR("\0", "\x08", A2008)), "",
     "in: offset 0: begins with record type 0, not 25 (header): not a drmemtrace, or a compressed one (unpack it "
     "first)"},
    {"drmemtrace", BYTES(DR_HEAD "\0\0\0"), "",
     "in: offset 12: 3 bytes of a record of 12: truncated, or not this format"},
    {"drmemtrace", BYTES(""), "", "in: empty"},
    {"champsim", BYTES(A1000 "\0\0\0\0\0\0\0\0" A2008 NUL8 A2FFC NUL8 NUL8 NUL8), "1x1000+4 1r2ffc+4 1w2008+8 ", NULL},
    {"champsim", BYTES(A1000 "\x07\0\0\0\0\0\0\0" NUL8 NUL8 NUL8 NUL8 NUL8 NUL8), "",
     "in: offset 0: branch flags 7 and 0: not a ChampSim trace, or a compressed one (xz -dc it first)"},
    {"champsim", BYTES(A1000 "\0\0"), "", "in: offset 0: 10 bytes of a record of 64: truncated, or not this format"},
};

static void every_case(void **state)
{
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct import_case *c = &cases[i];
        struct seen seen = {.len = 0};
        struct import im = {.name = "in", .access = note_access, .thread_exit = note_exit, .arg = &seen};
        int err;

        im.in = c->len ? fmemopen((void *)(uintptr_t)c->in, c->len, "r") : fopen("/dev/null", "r");
        assert_non_null(im.in);
        err = import_format_find(c->format)->read(&im);
        fclose(im.in);
        if (!c->err != !err || strcmp(seen.text, c->seen) || (err && strcmp(im.err, c->err)))
            fail_msg("case %u (%s): %d '%s', expected '%s'; accesses '%s', expected '%s'", i, c->format, err, im.err,
                     c->err ? c->err : "", seen.text, c->seen);
    }
}

static void unknown_format(void **state)
{
    assert_null(import_format_find("lackeys"));
    assert_null(import_format_find(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_case), cmocka_unit_test(unknown_format)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
