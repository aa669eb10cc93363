/* SPDX-License-Identifier: MIT */
/* The oracle is the host's snprintf(). */
#include "base_test.h"

#include <limits.h>

#include "base/format.h"

#define SAME(...)                                                                                                      \
    do {                                                                                                               \
        char a_[300], b_[300];                                                                                         \
        int na_ = quire_snprintf(a_, sizeof(a_), __VA_ARGS__);                                                         \
        int nb_ = snprintf(b_, sizeof(b_), __VA_ARGS__);                                                               \
        assert_string_equal(a_, b_);                                                                                   \
        assert_int_equal(na_, nb_);                                                                                    \
    } while (0)

static void test_integers(void **state)
{
    static const int ints[] = {0, 1, -1, 42, -42, INT_MAX, INT_MIN};
    u32 i;

    for (i = 0; i < ARRAY_SIZE(ints); i++) {
        int v = ints[i];

        SAME("%d|%i|%u|%x|%X", v, v, (unsigned)v, (unsigned)v, (unsigned)v);
        SAME("%5d|%-5d|%05d|%+d|% d", v, v, v, v, v);
        SAME("%.3d|%8.3d|%-8.3d|%.0d|%*d|%.*d", v, v, v, v, 9, v, 4, v);
        SAME("%hd|%hhd|%hx|%hhx", (short)v, (signed char)v, (unsigned short)v, (unsigned char)v);
        SAME("%ld|%lu|%lx|%zu", (long)v, (unsigned long)v, (unsigned long)v, (size_t)v);
        SAME("%lld|%016llx|%-20llu|", (long long)v, (unsigned long long)v, (unsigned long long)v);
        SAME("%*d|%.*d", -9, v, -1, v);
    }
    SAME("%lld %lld %llu", LLONG_MIN, LLONG_MAX, ULLONG_MAX);
}

static void test_text(void **state)
{
    const char *volatile none = NULL; /* the compiler must not know */
    char buf[16];

    SAME("plain");
    SAME("100%%");
    SAME("%s|%8s|%-8s|%.2s|%8.2s|%.*s", "abc", "abc", "abc", "abc", "abc", 1, "abc");
    SAME("%c%c|%3c|%-3c|", 'x', 'y', 'z', 'w');
    SAME("%p", (void *)0xdeadbeef);
    quire_snprintf(buf, sizeof(buf), "%s", none);
    assert_string_equal(buf, "(null)");
    quire_snprintf(buf, sizeof(buf), "%p", NULL);
    assert_string_equal(buf, "0x0");
}

/* Text of 6 characters into buffers of 0 to 8 bytes; the byte after the buffer is never touched. */
static void test_cut(void **state)
{
    static const char *const expect[] = {"", "", "a", "ab", "abc", "abcd", "abcde", "abcdef", "abcdef"};
    char buf[10];
    size_t size;

    for (size = 0; size < ARRAY_SIZE(expect); size++) {
        memset(buf, '#', sizeof(buf));
        assert_int_equal(quire_snprintf(buf, size, "%s%d", "abc", 0) >= 4, 1);
        memset(buf, '#', sizeof(buf));
        assert_int_equal(quire_snprintf(buf, size, "ab%s", "cdef"), 6);
        if (size)
            assert_string_equal(buf, expect[size]);
        assert_int_equal(buf[size], '#');
        assert_int_equal(quire_scnprintf(buf, size, "ab%s", "cdef"), strlen(expect[size]));
    }
}

static void unknown_conversion(void *arg)
{
    char buf[16];
    const char *volatile format = arg;

    quire_snprintf(buf, sizeof(buf), format, 1); /* the compiler cannot see the format */
}

static void test_unknown_conversion(void **state)
{
    char text[500];

    expect_abort(unknown_conversion, (void *)(uintptr_t) "%q", text, sizeof(text));
    assert_non_null(strstr(text, "assertion failed"));
    assert_non_null(strstr(text, "format.c:"));
}

static void test_check_report(void **state)
{
    static struct check_report r;
    int i;

    CHECK_EQ(&r, 5, 5, "nothing");
    assert_int_equal(r.nr, 0);
    CHECK_EQ(&r, 7ull << 32, 3, "zone");
    assert_int_equal(r.nr, 1);
    assert_string_equal(r.text[0], "zone: 7ull << 32 is 30064771072, recount gives 3");
    for (i = 0; i < 100; i++)
        check_fail(&r, "%0300d", i); /* longer than is kept */
    assert_int_equal(r.nr, 101);
    assert_int_equal(strlen(r.text[CHECK_KEPT - 1]), CHECK_TEXT - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers),           cmocka_unit_test(test_text),         cmocka_unit_test(test_cut),
        cmocka_unit_test(test_unknown_conversion), cmocka_unit_test(test_check_report),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
