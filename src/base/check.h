/* SPDX-License-Identifier: MIT */
/* How the x_check() functions report: every mismatch in one line with both values. */
#ifndef QUIRE_BASE_CHECK_H
#define QUIRE_BASE_CHECK_H

#include "base/types.h"

#define CHECK_KEPT 32
#define CHECK_TEXT 200

struct check_report {
    u32 nr; /* mismatches found; the first CHECK_KEPT are kept */
    char text[CHECK_KEPT][CHECK_TEXT];
};

/*
 * One mismatch. `format` knows %s %d %u %x (32 bit), %lld %llu %llx or %ld %lu %lx (64 bit), %p %c %%, with width and
 * zero fill (base/format.c); cut at CHECK_TEXT.
 */
void check_fail(struct check_report *r, const char *format, ...) __printf_like(2, 3);

#define CHECK_EQ(r, found, expected, ...) check_eq_(r, #found, (u64)(found), (u64)(expected), __VA_ARGS__)
#define check_eq_(r, name, found, expected, what)                                                                      \
    do {                                                                                                               \
        u64 f_ = (found), e_ = (expected);                                                                             \
        if (f_ != e_)                                                                                                  \
            check_fail(r, "%s: %s is %llu, recount gives %llu", what, name, (unsigned long long)f_,                    \
                       (unsigned long long)e_);                                                                        \
    } while (0)

#endif
