/* SPDX-License-Identifier: MIT */
/*
 * Names that programs choose (files, processes, arguments) are bytes, JSON is UTF-8. What is no UTF-8 is written as /proc
 * writes what it escapes: a backslash and three octal digits.
 */
#ifndef QUIRE_FRONTEND_UTF8_H
#define QUIRE_FRONTEND_UTF8_H

#include "base/types.h"

/* Bytes of the character at `s`, which has `n`; 0: none begins there (RFC 3629: shortest form, no surrogates). */
static inline size_t utf8_length(const char *s, size_t n)
{
    static const u32 least[] = {0, 0, 0x80, 0x800, 0x10000};
    const u8 *b = (const u8 *)s;
    size_t len = b[0] < 0x80 ? 1 : b[0] >> 5 == 6 ? 2 : b[0] >> 4 == 14 ? 3 : b[0] >> 3 == 30 ? 4 : 0;
    u32 c = len > 1 ? b[0] & (0x7fu >> len) : b[0];

    if (!len || len > n)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if (b[i] >> 6 != 2)
            return 0;
        c = c << 6 | (b[i] & 63);
    }
    return c >= least[len] && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff) ? len : 0;
}

#endif
