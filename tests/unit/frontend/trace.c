/* SPDX-License-Identifier: MIT */
/* Traces: what is written is read; what is cut, corrupt, foreign or newer is named with its offset. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <unistd.h>

#include "block.h"
#include "words.h"

static char path[] = "/tmp/quire-trace-XXXXXX";
static u8 file[1 << 20];
static size_t file_len;

static void load(void)
{
    FILE *f = fopen(path, "rb");

    file_len = fread(file, 1, sizeof(file), f);
    fclose(f);
}

#define NR_CALLS 20000

static void write_calls(void)
{
    char err[256], *info = NULL;
    struct trace_writer *w;

    trace_info_add(&info, "kind", "native");
    trace_info_add(&info, "arg.0", "two\nlines \\ and a backslash");
    w = trace_create(path, info, err, sizeof(err));
    assert_non_null(w);
    for (u64 i = 0; i < NR_CALLS; i++) {
        trace_begin(w, TRACE_CALL);
        trace_put(w, TF_NR, i % 7);
        trace_put(w, TF_RESULT, (u64) - (s64)i);
        trace_put(w, TF_ARG0, i * 0x9e3779b97f4a7c15ull);
        trace_put_bytes(w, TF_IN1, &i, sizeof(i));
        trace_put_text(w, TF_PATH, i % 2 ? "/odd" : "");
        trace_end(w);
    }
    assert_int_equal(trace_written(w), NR_CALLS);
    assert_int_equal(trace_close(w, "events=20000\n"), 0);
    free(info);
    load();
}

static struct trace_reader *open_bytes(const void *p, size_t len)
{
    char err[256];
    struct trace_reader *r = trace_open_bytes(p, len, "T", err, sizeof(err));

    assert_non_null(r);
    return r;
}

static void check_call(const struct trace_event *e, u64 i)
{
    char text[16];
    u64 in;

    assert_int_equal(e->type, TRACE_CALL);
    assert_int_equal(trace_get(e, TF_NR, 99), i % 7);
    assert_int_equal((s64)trace_get(e, TF_RESULT, 99), -(s64)i);
    assert_int_equal(trace_get(e, TF_ARG0, 99), i * 0x9e3779b97f4a7c15ull);
    assert_int_equal(trace_get(e, TF_ARG1, 99), 99);
    assert_true(trace_has(e, TF_PATH));
    assert_false(trace_has(e, TF_IN2));
    assert_int_equal(trace_get_bytes(e, TF_IN1).len, 8);
    memcpy(&in, trace_get_bytes(e, TF_IN1).p, 8);
    assert_int_equal(in, i);
    assert_string_equal(trace_get_text(e, TF_PATH, text, sizeof(text)), i % 2 ? "/odd" : "");
    assert_string_equal(trace_get_text(e, TF_PATH, text, 3), i % 2 ? "/o" : "");
}

static void test_round_trip(void **state)
{
    struct trace_reader *r;
    struct trace_event e;
    const char *key, *value;

    write_calls();
    r = open_bytes(file, file_len);
    assert_string_equal(trace_info(r, "kind"), "native");
    assert_string_equal(trace_info(r, "arg.0"), "two\nlines \\ and a backslash");
    assert_null(trace_info(r, "arg.1"));
    assert_true(trace_info_line(r, 1, &key, &value));
    assert_string_equal(key, "arg.0");
    assert_false(trace_info_line(r, 2, &key, &value));
    for (u64 i = 0; i < NR_CALLS; i++) {
        assert_int_equal(trace_next(r, &e), TRACE_EVENT);
        check_call(&e, i);
    }
    assert_int_equal(trace_next(r, &e), TRACE_END);
    assert_int_equal(trace_next(r, &e), TRACE_END);
    assert_string_equal(trace_total(r, "events"), "20000");
    trace_reader_close(r);
}

/* Events until the status is another one. */
static u64 read_all(struct trace_reader *r, enum trace_status *status)
{
    struct trace_event e;
    u64 n = 0;

    while ((*status = trace_next(r, &e)) == TRACE_EVENT)
        n++;
    return n;
}

static void test_truncated_anywhere(void **state)
{
    enum trace_status status;
    struct trace_reader *r;
    u64 before = 0;

    write_calls();
    for (size_t len = 0; len < file_len; len += len < 1000 ? 1 : 977) {
        char err[256];
        u64 n;

        r = trace_open_bytes(file, len, "T", err, sizeof(err));
        if (!r) {
            assert_true(before == 0 && strncmp(err, "T: offset ", 10) == 0);
            continue;
        }
        n = read_all(r, &status);
        assert_int_equal(status, TRACE_TRUNCATED);
        assert_true(n >= before && n <= NR_CALLS);
        assert_true(strncmp(trace_error(r), "T: offset ", 10) == 0 && strstr(trace_error(r), "truncated"));
        before = n;
        trace_reader_close(r);
    }
    r = open_bytes(file, file_len - 1); /* all but the end block */
    assert_int_equal(read_all(r, &status), NR_CALLS);
    assert_int_equal(status, TRACE_TRUNCATED);
    trace_reader_close(r);
}

static void test_corrupt_anywhere(void **state)
{
    write_calls();
    for (size_t at = 16; at < file_len; at += 331) {
        char err[256];
        struct trace_reader *r;
        enum trace_status status = TRACE_BAD;

        file[at] ^= 0x10;
        r = trace_open_bytes(file, file_len, "T", err, sizeof(err));
        if (r) {
            read_all(r, &status);
            assert_true(strncmp(trace_error(r), "T: offset ", 10) == 0);
            trace_reader_close(r);
        } else {
            assert_true(strncmp(err, "T: offset ", 10) == 0);
        }
        assert_int_equal(status, TRACE_BAD);
        file[at] ^= 0x10;
    }
}

static void test_foreign_and_newer(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *says;
    } bad[] = {
        {"", 0, "T: offset 0: empty"},
        {"\x7f"
         "ELF trailing bytes here",
         24, "T: offset 0: not a Quire trace"},
        {"\x89QTR", 4, "T: offset 0: truncated"},
        {"\x89QTRACE\n\x02\0\0\0\0\0\0\0", 16, "T: offset 0: a trace of version 2; this Quire reads version 1"},
        {"\x89QTRACE\n\x01\0\0\0\0\0\0\0", 16, "T: offset 16: truncated"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        char err[256];

        assert_null(trace_open_bytes(bad[i].bytes, bad[i].len, "T", err, sizeof(err)));
        if (strncmp(err, bad[i].says, strlen(bad[i].says)) != 0)
            fail_msg("%s", err);
    }
    assert_null(trace_open("/nonexistent/trace", (char[64]){0}, 64));
}

/* -- several streams ----------------------------------------------------------------------------------------------- */

/* MARKs whose ID is the order they should come out in. */
static void add_block(struct trace_buf *out, u32 stream, u32 number, const u64 *ticket, u32 nr_tickets)
{
    struct trace_block b = {.type = TRACE_BLOCK_EVENTS, .stream = stream, .number = number};
    struct trace_buf raw = {0}, event = {0};
    struct trace_packer packer = {0};
    size_t n;

    b.first_ticket = ticket[0];
    b.last_ticket = ticket[nr_tickets - 1];
    for (u32 i = 0; i < nr_tickets; i++) {
        if (i)
            trace_buf_ticket(&raw, ticket[i]);
        event.len = 0;
        trace_buf_field(&event, TF_ID, ticket[i]);
        trace_buf_event(&raw, TRACE_MARK, event.p, event.len);
        trace_buf_event(&raw, (enum trace_type)4000, "unknown",
                        7 * (i % 2)); /* broken fields, but of what is not known */
    }
    n = trace_pack(&packer, &b, raw.p, raw.len);
    trace_buf_add(out, packer.out, n);
    trace_packer_free(&packer);
    trace_buf_free(&raw);
    trace_buf_free(&event);
}

static void add_text(struct trace_buf *out, enum trace_block_type type, const char *text)
{
    struct trace_block b = {.type = (u8)type};
    struct trace_packer packer = {0};
    size_t n = trace_pack(&packer, &b, text, strlen(text));

    trace_buf_add(out, packer.out, n);
    trace_packer_free(&packer);
}

static void test_streams_in_the_order_of_tickets(void **state)
{
    static const u64 a0[] = {1, 4, 5}, a1[] = {9}, b0[] = {2, 3, 8}, c0[] = {6, 7}, c1[] = {10, 12}, b1[] = {11};
    struct trace_buf out = {0};
    u8 head[TRACE_FILE_HEADER];
    struct trace_reader *r;
    struct trace_event e;
    u64 next = 1;

    trace_file_header(head);
    trace_buf_add(&out, head, sizeof(head));
    add_text(&out, TRACE_BLOCK_INFO, "kind=test\n");
    add_block(&out, 700, 0, c0, 2);
    add_block(&out, 700, 1, c1, 2);
    add_block(&out, 5, 0, b0, 3);
    add_block(&out, 1029, 0, a0, 3);
    add_block(&out, 1029, 1, a1, 1);
    add_block(&out, 5, 1, b1, 1);
    add_text(&out, TRACE_BLOCK_END, "");
    r = open_bytes(out.p, out.len);
    while (trace_next(r, &e) == TRACE_EVENT) {
        if (e.type != TRACE_MARK)
            continue;
        assert_int_equal(trace_get(&e, TF_ID, 0), next);
        assert_int_equal(e.ticket, next++);
    }
    assert_int_equal(next, 13);
    assert_int_equal(trace_next(r, &e), TRACE_END);
    trace_reader_close(r);
    trace_buf_free(&out);
}

/* Ticket 2 was lost: in a whole trace it is passed over, one that is cut short ends there. */
static void test_lost_ticket(void **state)
{
    static const u64 one[] = {1}, three[] = {3};

    for (int whole = 0; whole < 2; whole++) {
        struct trace_buf out = {0};
        u8 head[TRACE_FILE_HEADER];
        struct trace_reader *r;
        struct trace_event e;
        u64 marks = 0;

        trace_file_header(head);
        trace_buf_add(&out, head, sizeof(head));
        add_text(&out, TRACE_BLOCK_INFO, "kind=test\n");
        add_block(&out, 2, 0, three, 1);
        add_block(&out, 1, 0, one, 1);
        if (whole)
            add_text(&out, TRACE_BLOCK_END, "");
        r = open_bytes(out.p, out.len);
        while (trace_next(r, &e) == TRACE_EVENT)
            marks += e.type == TRACE_MARK ? e.ticket : 0;
        assert_int_equal(marks, whole ? 1 + 3 : 1);
        assert_int_equal(trace_next(r, &e), whole ? TRACE_END : TRACE_TRUNCATED);
        trace_reader_close(r);
        trace_buf_free(&out);
    }
}

static void test_pipe(void **state)
{
    char err[256], command[128];
    struct trace_reader *r;
    enum trace_status status;
    FILE *pipe;
    int keep = dup(STDIN_FILENO);

    write_calls();
    snprintf(command, sizeof(command), "cat %s", path);
    pipe = popen(command, "r");
    dup2(fileno(pipe), STDIN_FILENO);
    r = trace_open("-", err, sizeof(err));
    assert_non_null(r);
    assert_int_equal(read_all(r, &status), NR_CALLS);
    assert_int_equal(status, TRACE_END);
    trace_reader_close(r);
    dup2(keep, STDIN_FILENO);
    close(keep);
    pclose(pipe);
}

static void test_full_disk(void **state)
{
    char err[256];

    assert_null(trace_create("/dev/full", "kind=native\n", err, sizeof(err)));
    assert_non_null(strstr(err, "No space left"));
    assert_null(trace_create("/nonexistent/x", "", err, sizeof(err)));
}

/* -- words --------------------------------------------------------------------------------------------------------- */

#define D(slot_page) (access_slot(slot_page) << 4 | 3)
#define W(slot_page, marks, kind) (access_slot(slot_page) << 4 | (marks) << 2 | (kind))

static void test_words_leave_out_what_repeats(void **state)
{
    static struct access_words w;
    static const struct {
        u64 page;
        enum access_word kind;
    } told[] = {
        {100, ACCESS_FETCH_WORD}, {100, ACCESS_FETCH_WORD}, {200, ACCESS_READ_WORD},  {200, ACCESS_READ_WORD},
        {200, ACCESS_WRITE_WORD}, {200, ACCESS_READ_WORD},  {100, ACCESS_FETCH_WORD}, {200, ACCESS_WRITE_WORD},
        {100, ACCESS_FETCH_WORD}, {101, ACCESS_FETCH_WORD}, {200, ACCESS_READ_WORD},  {199, ACCESS_READ_WORD},
    };
    const u16 expected[] = {
        D(100),       200,      0, 0, W(100, 0, 2), /* the second block cannot matter: nothing came between */
        D(200),       200,      0, 0, W(200, 0, 0), /* read again: left out */
        W(200, 0, 1),                               /* a write after reads is a word */
        D(101),       197,      0, 0, W(101, 2, 2), /* -99; after the write: a block, and then data */
        D(199),       98u << 1, 0, 0, W(199, 1, 0), /* after the fetch: data of page 200 */
    };

    words_begin(&w);
    for (size_t i = 0; i < ARRAY_SIZE(told); i++)
        assert_true(words_add(&w, told[i].page, told[i].kind));
    assert_int_equal(w.len, ARRAY_SIZE(expected));
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
        assert_int_equal(w.word[i], expected[i]);
    assert_int_equal(w.nr, 5);
    words_forget(&w);
    assert_true(words_add(&w, 199, ACCESS_READ_WORD));
    assert_int_equal(w.len, ARRAY_SIZE(expected) + 1);
}

static int setup(void **state)
{
    int fd = mkstemp(path);

    close(fd);
    return fd < 0;
}

static int teardown(void **state)
{
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_truncated_anywhere),
        cmocka_unit_test(test_corrupt_anywhere),
        cmocka_unit_test(test_foreign_and_newer),
        cmocka_unit_test(test_streams_in_the_order_of_tickets),
        cmocka_unit_test(test_lost_ticket),
        cmocka_unit_test(test_pipe),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_words_leave_out_what_repeats),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
