/* SPDX-License-Identifier: MIT */
/* Text built piece by piece in a caller's buffer: always terminated, cut when full. */
#ifndef QUIRE_MACHINE_TEXT_H
#define QUIRE_MACHINE_TEXT_H

#include "base/types.h"

struct text {
    char *at;
    size_t left; /* with the terminator */
};

static inline struct text text_in(char *buf, size_t size)
{
    if (size)
        buf[0] = 0;
    return (struct text){buf, size};
}

void text_char(struct text *t, char ch);
void text_str(struct text *t, const char *s);
void text_strn(struct text *t, const char *s, size_t n);
void text_u64(struct text *t, u64 n);
void text_hex(struct text *t, u64 n);
void text_bytes(struct text *t, u64 n);       /* 4G, 64M, 12345: the largest unit that divides it */
void text_thousandths(struct text *t, u64 n); /* n / 1000 as a decimal fraction: 400 is 0.4 */

/* Whole string to number; false: not one. Decimal, or hexadecimal behind 0x. */
bool text_to_u64(const char *s, size_t n, u64 *out);
/* The same with K, M, G, T, P behind it (powers of 1024). */
bool text_to_bytes(const char *s, size_t n, u64 *out);
/* Decimal fraction to thousandths. */
bool text_to_thousandths(const char *s, size_t n, u64 *out);

size_t text_len(const char *s);
bool text_eq(const char *s, const char *other, size_t other_len);

#endif
