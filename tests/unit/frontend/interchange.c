/* SPDX-License-Identifier: MIT */
/*
 * Foreign accesses to a trace and back: what comes out, in which regions memory lies, what follows a reference; and the
 * n-th allocation failing.
 */
#define _GNU_SOURCE
#include "tests/unit/testing.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "export.h"
#include "make.h"
#include "regions.h"

/* -- host memory that fails ---------------------------------------------------------------------------------------- */

static s64 fail_after = -1; /* allocations that succeed; -1: all */

void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);

static bool fails(void)
{
    return fail_after >= 0 && fail_after-- == 0;
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    return fails() ? NULL : __real_realloc(p, size);
}

/* -- there and back ------------------------------------------------------------------------------------------------ */

static struct made made;

/* The trace of a CSV; -errno. *text: the parser's message. */
static int import_to(int fd, const char *format, const char *in, size_t len, char text[512])
{
    struct maker *mk = maker_new(memfd_create("body", 0));
    struct import im = {.name = "in", .access = maker_access, .thread_exit = maker_thread_exit, .arg = mk};
    int err;

    if (!mk)
        return -ENOMEM;
    im.in = fmemopen((void *)(uintptr_t)in, len, "r");
    assert_non_null(im.in);
    err = import_format_find(format)->read(&im);
    snprintf(text, 512, "%s", im.err);
    fclose(im.in);
    if (!err) {
        err = maker_finish(mk, fd, "in", format, &made);
        if (err)
            snprintf(text, 512, "%s", made.err);
    }
    maker_free(mk);
    return err;
}

static char *contents(int fd, size_t *len)
{
    struct stat st;
    char *p;

    assert_int_equal(fstat(fd, &st), 0);
    *len = (size_t)st.st_size;
    p = malloc(*len + 1);
    assert_non_null(p);
    assert_int_equal(pread(fd, p, *len, 0), (ssize_t)*len);
    p[*len] = 0;
    return p;
}

/* As CSV; to be freed. */
static char *export_of(const char *trace, size_t len, enum trace_status expected)
{
    struct trace_reader *r = trace_open_bytes(trace, len, "T", (char[256]){0}, 256);
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    struct refs rs = {csv_ref, f, 0, 0, ""};

    assert_non_null(r);
    assert_int_equal(csv_begin(f), 0);
    assert_int_equal(refs_read(r, &rs, NULL), expected);
    fclose(f);
    trace_reader_close(r);
    return text;
}

static char *there_and_back(const char *format, const char *in, size_t len)
{
    int fd = memfd_create("trace", 0);
    char text[512] = "", *trace, *out;
    size_t size;

    if (import_to(fd, format, in, len, text))
        fail_msg("%s", text);
    trace = contents(fd, &size);
    assert_int_equal(size, made.bytes);
    out = export_of(trace, size, TRACE_END);
    free(trace);
    close(fd);
    return out;
}

#define HEAD "addr,kind,tid,space\n"

static void round_trips(void **state)
{
    static const struct {
        const char *format, *in, *out;
    } cases[] = {
        {"csv", HEAD "0x1000,r,1,0\n0x2000,w,1,0\n0x1000,x,1,0\n0x2000,r,2,0\n0x2000,r,1,0\n", NULL},
        /* a page read, then written: both; written, then read: no more */
        {"csv", HEAD "0x1000,r,1,0\n0x1000,w,1,0\n0x1000,r,1,0\n", HEAD "0x1000,r,1,0\n0x1000,w,1,0\n"},
        /* across two pages; the same again */
        {"csv", "addr,size,kind\n0x1ffc,8,w\n0x1ffc,8,w\n",
         HEAD "0x1000,w,1,0\n0x2000,w,1,0\n0x1000,w,1,0\n0x2000,w,1,0\n"},
        /* a loop in one code and one data page: once, and what the marks tell */
        {"csv",
         HEAD "0x1000,x,1,0\n0x9000,r,1,0\n0x1000,x,1,0\n0x9000,r,1,0\n0x1000,x,1,0\n0x9000,r,1,0\n0x2000,x,1,0\n",
         HEAD "0x1000,x,1,0\n0x9000,r,1,0\n0x1000,x,1,0\n0x9000,r,1,0\n0x2000,x,1,0\n"},
        {"lackey", "I  1000,3\n L 2000,8\nI  1003,3\n M 3000,8\n",
         HEAD "0x1000,x,1,0\n0x2000,r,1,0\n0x1000,x,1,0\n0x3000,r,1,0\n0x3000,w,1,0\n"},
        {"drtext", "0x401000:  3, mov\n0x7ff000: 8, w\n", HEAD "0x401000,x,1,0\n0x7ff000,w,1,0\n"},
    };

    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *wanted = cases[i].out ? cases[i].out : cases[i].in;
        char *out = there_and_back(cases[i].format, cases[i].in, strlen(cases[i].in)), *again;

        if (strcmp(out, wanted) != 0)
            fail_msg("case %u: '%s', expected '%s'", i, out, wanted);
        again = there_and_back("csv", out, strlen(out));
        assert_string_equal(again, out);
        free(again);
        free(out);
    }
}

static u64 seed = 1;

static u32 any(u32 below)
{
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (u32)(seed >> 33) % below;
}

/* Many threads and pages: nothing that was exported changes when it is imported again; no access is lost. */
static void random_traces(void **state)
{
    for (u32 round = 0; round < 20; round++) {
        u32 threads = 1 + any(round ? 40 : 1), pages = 1 + any(20000), nr = 20000;
        char *in = NULL, *once, *twice;
        size_t len;
        FILE *f = open_memstream(&in, &len);

        fputs(HEAD, f);
        for (u32 i = 0, tid = 1; i < nr; i++) {
            tid = any(8) ? tid : 1 + any(threads);
            fprintf(f, "0x%llx,%c,%u,0\n", (unsigned long long)(0x400000 + any(pages) * (u64)PAGE_SIZE), "rwx"[any(3)],
                    tid);
        }
        fclose(f);
        once = there_and_back("csv", in, len);
        assert_int_equal(made.accesses + made.blocks, nr);
        twice = there_and_back("csv", once, strlen(once));
        assert_string_equal(once, twice);
        free(in);
        free(once);
        free(twice);
    }
}

/* A stream of one kind without repeats comes back as it was. */
static void nothing_is_lost(void **state)
{
    char *in = NULL, *out;
    size_t len;
    FILE *f = open_memstream(&in, &len);

    fputs(HEAD, f);
    for (u32 i = 0, page = 0; i < 300000; i++) {
        page = (page + 1 + any(9999)) % 10000;
        fprintf(f, "0x%llx,%c,%u,0\n", 0x10000ull + page * PAGE_SIZE, "rw"[any(2)], 5);
    }
    fclose(f);
    out = there_and_back("csv", in, len);
    assert_int_equal(strlen(out), len);
    assert_true(strcmp(in, out) == 0);
    free(in);
    free(out);
}

/* A trace that is cut: what is whole comes out, and the rest is named. */
static void truncated(void **state)
{
    static const char in[] = HEAD "0x1000,r,1,0\n0x2000,w,1,0\n";
    int fd = memfd_create("trace", 0);
    char text[512], *trace, *out;
    size_t size;

    assert_int_equal(import_to(fd, "csv", in, strlen(in), text), 0);
    trace = contents(fd, &size);
    out = export_of(trace, size - 1, TRACE_TRUNCATED);
    assert_string_equal(out, in);
    free(out);
    trace[size / 2] ^= 1;
    free(export_of(trace, size, TRACE_BAD));
    free(trace);
    close(fd);
}

/* Threads end and their ids are used again; 1000 at once are possible. */
static void threads(void **state)
{
    struct maker *mk = maker_new(memfd_create("body", 0));
    int fd = memfd_create("trace", 0);

    for (u32 i = 0; i < 3000; i++) {
        maker_access(mk, 1 + i % 2, 0x1000, 8, IMPORT_READ);
        if (i % 2)
            maker_thread_exit(mk, 2);
    }
    maker_thread_exit(mk, 1); /* the process lives to the end */
    maker_thread_exit(mk, 77);
    assert_int_equal(maker_finish(mk, fd, "in", "csv", &made), 0);
    assert_int_equal(made.threads, 1501);
    maker_free(mk);
    mk = maker_new(memfd_create("body", 0));
    for (u32 i = 1; i <= MAKE_THREADS + 1; i++)
        maker_access(mk, i, 0x1000, 8, IMPORT_READ);
    assert_true(maker_failed(mk));
    assert_int_equal(maker_finish(mk, fd, "in", "csv", &made), -E2BIG);
    assert_string_equal(made.err, "more threads at once than a machine can follow (1000)");
    maker_free(mk);
    close(fd);
}

/* -- regions ------------------------------------------------------------------------------------------------------- */

#define MIB (1ull << 20)

static void regions(void **state)
{
    static const struct {
        const char *what;
        struct {
            u64 addr;
            u32 kind;
        } touch[6];
        const char *regions; /* start-end/MiB, letters of kinds, T: text */
    } cases[] = {
        {"one page", {{5 * MIB, IMPORT_READ}}, "4-6r "},
        {"neighbours are one", {{5 * MIB, IMPORT_READ}, {7 * MIB, IMPORT_WRITE}}, "4-8rw "},
        {"others are not", {{5 * MIB, IMPORT_READ}, {9 * MIB, IMPORT_WRITE}}, "4-6r 8-10w "},
        {"text, then data", {{4 * MIB, IMPORT_EXEC}, {5 * MIB, IMPORT_WRITE}}, "4-5xT 5-6w "},
        {"text and data of neighbours", {{5 * MIB, IMPORT_EXEC}, {7 * MIB, IMPORT_WRITE}}, "4-6xT 6-8w "},
        {"data, then text", {{4 * MIB, IMPORT_WRITE}, {5 * MIB, IMPORT_EXEC}}, "4-5w 5-6xT "},
        {"read only between: with what is before",
         {{4 * MIB, IMPORT_EXEC}, {5 * MIB, IMPORT_READ}, {11 * MIB / 2, IMPORT_WRITE}},
         "4-5.5rxT 5.5-6w "},
        {"written and executed", {{4 * MIB, IMPORT_EXEC}, {4 * MIB, IMPORT_WRITE}}, "4-6wx "},
        {"page 0 is nobody's", {{4096, IMPORT_WRITE}}, "0.0625-2w "},
        {"unless it is", {{4096, IMPORT_WRITE}, {1, IMPORT_READ}}, "0-2rw "},
    };

    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        struct touched t = {0};
        struct regions rs = {0};
        char text[256] = "";
        size_t n = 0;

        for (u32 k = 0; k < 6 && cases[i].touch[k].addr; k++)
            assert_true(touched_note(&t, cases[i].touch[k].addr, (enum import_kind)cases[i].touch[k].kind));
        assert_true(regions_of(&t, 100, &rs));
        for (u32 k = 0; k < rs.nr; k++) {
            const struct region *r = &rs.r[k];

            n += (size_t)snprintf(text + n, sizeof(text) - n, "%g-%g%s%s%s%s ", (double)r->start / MIB,
                                  (double)r->end / MIB, r->kinds & 1 ? "r" : "", r->kinds & 2 ? "w" : "",
                                  r->kinds & 4 ? "x" : "", r->text ? "T" : "");
        }
        if (strcmp(text, cases[i].regions) != 0)
            fail_msg("%s: %s, expected %s", cases[i].what, text, cases[i].regions);
        free(rs.r);
        touched_free(&t);
    }
}

/* Memory far apart: fewer and larger regions, with every page in one of them. */
static void few_regions(void **state)
{
    struct touched t = {0};
    struct regions rs = {0};
    u64 pages = 0;

    for (u64 i = 0; i < 20000; i++)
        assert_true(touched_note(&t, (i * 3) << HOOD_SHIFT, (enum import_kind)(i % 3)));
    assert_true(regions_of(&t, MAKE_REGIONS, &rs));
    assert_in_range(rs.nr, 1, MAKE_REGIONS);
    for (u32 k = 0; k < rs.nr; k++) {
        assert_true(rs.r[k].start < rs.r[k].end);
        assert_true(!k || rs.r[k - 1].end <= rs.r[k].start);
        for (u64 i = 0; i < 20000; i++)
            pages += (i * 3) << HOOD_SHIFT >= rs.r[k].start && (i * 3) << HOOD_SHIFT < rs.r[k].end;
    }
    assert_int_equal(pages, 20000);
    assert_int_equal(rs.pages, 20000);
    free(rs.r);
    touched_free(&t);
}

/* -- oracle -------------------------------------------------------------------------------------------------------- */

static void oracle_case(u32 nr, u32 pages)
{
    static struct oracle o;
    struct oracle_record *r;
    struct ref *ref = calloc(nr + 1, sizeof(*ref));
    size_t len;

    o = (struct oracle){.fd = memfd_create("oracle", 0)};
    for (u32 i = 0; i < nr; i++) {
        ref[i] = (struct ref){any(2), 1, any(pages), IMPORT_READ};
        assert_int_equal(oracle_ref(&o, &ref[i]), 0);
    }
    assert_int_equal(oracle_finish(&o), 0);
    r = (struct oracle_record *)(void *)contents(o.fd, &len);
    assert_int_equal(len, 24ull * nr);
    for (u32 i = 0; i < nr; i++) {
        u32 next = i + 1;

        while (next < nr && (ref[next].page != ref[i].page || ref[next].space != ref[i].space))
            next++;
        assert_int_equal(r[i].time, 0);
        assert_int_equal(r[i].id, ref[i].page + ((u64)ref[i].space << 45));
        assert_int_equal(r[i].bytes, 4096);
        assert_int_equal(r[i].next, next < nr ? (s64)next + 1 : -1);
    }
    free(r);
    free(ref);
    close(o.fd);
}

static void oracle(void **state)
{
    static const u32 sizes[] = {0, 1, 2, 1000, ORACLE_BATCH - 1, ORACLE_BATCH, ORACLE_BATCH + 1, 3 * ORACLE_BATCH + 7};

    for (u32 i = 0; i < ARRAY_SIZE(sizes); i++)
        for (u32 pages = 1; pages <= 5000; pages *= 17)
            oracle_case(sizes[i], pages);
}

/* -- no memory ----------------------------------------------------------------------------------------------------- */

static void no_memory(void **state)
{
    static const char in[] = HEAD "0x1000,r,1,0\n0x2000,w,2,0\n0x8000000,x,1,0\n0x9000000,w,1,0\n";
    char text[512];
    int err = -ENOMEM;

    for (s64 n = 0; err; n++) {
        int fd = memfd_create("trace", 0);

        fail_after = n;
        err = import_to(fd, "csv", in, strlen(in), text);
        fail_after = -1;
        if (err) {
            assert_int_equal(err, -ENOMEM);
            assert_true(n == 0 || strcmp(text, "Cannot allocate memory") == 0);
        }
        assert_in_range(n, 0, 200);
        close(fd);
    }
}

static void no_memory_for_references(void **state)
{
    static const char in[] = HEAD "0x1000,r,1,0\n0x2000,w,2,0\n";
    int fd = memfd_create("trace", 0);
    struct refs rs = {csv_ref, stderr, 0, 0, ""};
    static struct oracle o;
    struct trace_reader *r;
    char text[512], *trace;
    struct ref ref = {0};
    size_t size;

    assert_int_equal(import_to(fd, "csv", in, strlen(in), text), 0);
    trace = contents(fd, &size);
    r = trace_open_bytes(trace, size, "T", text, sizeof(text));
    fail_after = 0;
    assert_int_equal(refs_read(r, &rs, NULL), TRACE_BAD);
    fail_after = -1;
    assert_true(rs.err == -ENOMEM || rs.text[0]);
    trace_reader_close(r);
    free(trace);
    close(fd);
    o = (struct oracle){.fd = memfd_create("oracle", 0)};
    assert_int_equal(oracle_ref(&o, &ref), 0);
    fail_after = 0;
    assert_int_equal(oracle_finish(&o), -ENOMEM);
    fail_after = -1;
    close(o.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trips),     cmocka_unit_test(random_traces),
        cmocka_unit_test(nothing_is_lost), cmocka_unit_test(truncated),
        cmocka_unit_test(threads),         cmocka_unit_test(regions),
        cmocka_unit_test(few_regions),     cmocka_unit_test(oracle),
        cmocka_unit_test(no_memory),       cmocka_unit_test(no_memory_for_references),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
