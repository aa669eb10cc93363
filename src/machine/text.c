/* SPDX-License-Identifier: MIT */
/* Numbers and strings to text and back, for machine files and their error messages. */
#include "machine/text.h"

void text_char(struct text *t, char ch)
{
    if (t->left < 2)
        return;
    *t->at++ = ch;
    *t->at = 0;
    t->left--;
}

void text_strn(struct text *t, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        text_char(t, s[i]);
}

void text_str(struct text *t, const char *s)
{
    while (*s)
        text_char(t, *s++);
}

void text_u64(struct text *t, u64 n)
{
    char digit[20];
    u32 i = 0;

    do {
        digit[i++] = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    while (i)
        text_char(t, digit[--i]);
}

void text_hex(struct text *t, u64 n)
{
    u32 digits = ilog2(n) / 4 + 1;

    text_str(t, "0x");
    while (digits--)
        text_char(t, "0123456789abcdef"[n >> (4 * digits) & 15]);
}

static const char unit_letter[] = "KMGTP";

void text_bytes(struct text *t, u64 n)
{
    u32 unit = 0;

    while (n && n % 1024 == 0 && unit < 5) {
        n /= 1024;
        unit++;
    }
    text_u64(t, n);
    if (unit)
        text_char(t, unit_letter[unit - 1]);
}

void text_thousandths(struct text *t, u64 n)
{
    u32 rest = (u32)(n % 1000);

    text_u64(t, n / 1000);
    if (!rest)
        return;
    text_char(t, '.');
    for (u32 place = 100; rest; place /= 10) {
        text_char(t, (char)('0' + rest / place));
        rest %= place;
    }
}

static int digit_value(char ch)
{
    if (ch >= '0' && ch <= '9')
        return ch - '0';
    if ((ch | 32) >= 'a' && (ch | 32) <= 'f')
        return (ch | 32) - 'a' + 10;
    return 99;
}

bool text_to_u64(const char *s, size_t n, u64 *out)
{
    u64 value = 0, base = 10;

    if (n > 2 && s[0] == '0' && (s[1] | 32) == 'x') {
        base = 16;
        s += 2;
        n -= 2;
    }
    if (!n)
        return false;
    for (size_t i = 0; i < n; i++) {
        u64 d = (u64)digit_value(s[i]);

        if (d >= base || __builtin_mul_overflow(value, base, &value) || __builtin_add_overflow(value, d, &value))
            return false;
    }
    *out = value;
    return true;
}

bool text_to_bytes(const char *s, size_t n, u64 *out)
{
    u64 value;
    u32 shift = 0;

    for (u32 i = 0; n && i < 5; i++)
        if ((s[n - 1] & ~32) == unit_letter[i])
            shift = 10 * (i + 1);
    if (shift)
        n--;
    if (!text_to_u64(s, n, &value) || (shift && value >> (64 - shift)))
        return false;
    *out = value << shift;
    return true;
}

bool text_to_thousandths(const char *s, size_t n, u64 *out)
{
    size_t dot = 0;
    u64 whole, part = 0;

    while (dot < n && s[dot] != '.')
        dot++;
    if (!text_to_u64(s, dot, &whole) || whole > 1000000000000ull || n - dot > 4 || n == dot + 1)
        return false;
    for (size_t i = 1; i <= 3; i++) {
        u32 d = dot + i < n ? (u32)digit_value(s[dot + i]) : 0;

        if (d > 9)
            return false;
        part = part * 10 + d;
    }
    *out = whole * 1000 + part;
    return true;
}

size_t text_len(const char *s)
{
    size_t n = 0;

    while (s[n])
        n++;
    return n;
}

bool text_eq(const char *s, const char *other, size_t other_len)
{
    return text_len(s) == other_len && !memcmp(s, other, other_len);
}
