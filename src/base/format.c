/* SPDX-License-Identifier: MIT */
/* Formatted text (format.h) and the reports of the checkers (check.h). */
#include "base/format.h"

#include "base/assert.h"
#include "base/check.h"

struct out {
    char *buf;
    size_t size;
    size_t len; /* of the whole text, cut or not */
};

struct spec {
    bool left, zero, precise;
    char sign; /* printed before numbers that are not negative: '+', ' ' or 0 */
    int width, precision;
    int longs; /* 2: ll, 1: l or z, 0: int, -1: h, -2: hh */
    char conversion;
};

static void put(struct out *o, char c)
{
    if (o->len + 1 < o->size)
        o->buf[o->len] = c;
    o->len++;
}

static void put_many(struct out *o, char c, int nr)
{
    while (nr-- > 0)
        put(o, c);
}

static void put_text(struct out *o, const struct spec *s, const char *text)
{
    int len = 0, i;

    while ((!s->precise || len < s->precision) && text[len])
        len++;
    if (!s->left)
        put_many(o, ' ', s->width - len);
    for (i = 0; i < len; i++)
        put(o, text[i]);
    if (s->left)
        put_many(o, ' ', s->width - len);
}

/* prefix: the sign or 0x; stands before the zeroes and after the blanks. */
static void put_number(struct out *o, const struct spec *s, const char *prefix, u64 value, unsigned int base)
{
    const char *digits = s->conversion == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    char text[24];
    int len = 0, zeroes, blanks, prefix_len = 0;

    for (; value || (!len && !(s->precise && s->precision == 0)); value /= base)
        text[len++] = digits[value % base];
    while (prefix[prefix_len])
        prefix_len++;
    zeroes = s->precise ? s->precision - len : s->zero && !s->left ? s->width - prefix_len - len : 0;
    zeroes = MAX(zeroes, 0);
    blanks = s->width - prefix_len - zeroes - len;
    if (!s->left)
        put_many(o, ' ', blanks);
    for (; *prefix; prefix++)
        put(o, *prefix);
    put_many(o, '0', zeroes);
    while (len)
        put(o, text[--len]);
    if (s->left)
        put_many(o, ' ', blanks);
}

static int parse_int(const char **f)
{
    int n = 0;

    while (**f >= '0' && **f <= '9')
        n = n * 10 + (*(*f)++ - '0');
    return n;
}

static void parse_flags(const char **f, struct spec *s)
{
    for (;; (*f)++) {
        if (**f == '-')
            s->left = true;
        else if (**f == '0')
            s->zero = true;
        else if (**f == '+' || (**f == ' ' && !s->sign))
            s->sign = **f;
        else
            return;
    }
}

static void parse_length(const char **f, struct spec *s)
{
    while (**f == 'l' || **f == 'h' || **f == 'z') {
        s->longs += **f == 'h' ? -1 : 1;
        (*f)++;
    }
}

/* va_list in a struct: it can then be passed on by pointer on every ABI. */
struct args {
    va_list ap;
};

/* *f stands behind the %. */
static void parse_spec(const char **f, struct args *a, struct spec *s)
{
    *s = (struct spec){0};
    parse_flags(f, s);
    if (**f == '*') {
        (*f)++;
        s->width = va_arg(a->ap, int);
        if (s->width < 0) {
            s->left = true;
            s->width = -s->width;
        }
    } else {
        s->width = parse_int(f);
    }
    if (**f == '.') {
        (*f)++;
        s->precise = true;
        if (**f == '*') {
            (*f)++;
            s->precision = va_arg(a->ap, int);
            s->precise = s->precision >= 0;
        } else {
            s->precision = parse_int(f);
        }
    }
    parse_length(f, s);
    s->conversion = **f;
    ASSERT(s->conversion);
    (*f)++;
}

static s64 signed_arg(struct args *a, int longs)
{
    switch (longs) {
    case 2:
        return va_arg(a->ap, long long);
    case 1:
        return va_arg(a->ap, long);
    case -1:
        return (short)va_arg(a->ap, int);
    case -2:
        return (signed char)va_arg(a->ap, int);
    default:
        return va_arg(a->ap, int);
    }
}

static u64 unsigned_arg(struct args *a, int longs)
{
    switch (longs) {
    case 2:
        return va_arg(a->ap, unsigned long long);
    case 1:
        return va_arg(a->ap, unsigned long);
    case -1:
        return (unsigned short)va_arg(a->ap, unsigned int);
    case -2:
        return (unsigned char)va_arg(a->ap, unsigned int);
    default:
        return va_arg(a->ap, unsigned int);
    }
}

static void put_signed(struct out *o, const struct spec *s, s64 value)
{
    char sign[2] = {value < 0 ? '-' : s->sign, 0};

    put_number(o, s, sign, value < 0 ? 0 - (u64)value : (u64)value, 10);
}

static void put_conversion(struct out *o, const struct spec *s, struct args *a)
{
    char one[2] = {0, 0};
    const char *text;

    switch (s->conversion) {
    case 'd':
    case 'i':
        put_signed(o, s, signed_arg(a, s->longs));
        return;
    case 'u':
        put_number(o, s, "", unsigned_arg(a, s->longs), 10);
        return;
    case 'x':
    case 'X':
        put_number(o, s, "", unsigned_arg(a, s->longs), 16);
        return;
    case 'p':
        put_number(o, s, "0x", (u64)(uintptr_t)va_arg(a->ap, void *), 16);
        return;
    case 's':
        text = va_arg(a->ap, const char *);
        put_text(o, s, text ? text : "(null)");
        return;
    case 'c':
        one[0] = (char)va_arg(a->ap, int);
        put_text(o, s, one);
        return;
    default:
        ASSERT(s->conversion == '%');
        put(o, '%');
    }
}

int quire_vsnprintf(char *buf, size_t size, const char *format, va_list ap)
{
    struct out o = {buf, size, 0};
    struct args a;
    struct spec s;

    va_copy(a.ap, ap);
    while (*format) {
        if (*format != '%') {
            put(&o, *format++);
            continue;
        }
        format++;
        parse_spec(&format, &a, &s);
        put_conversion(&o, &s, &a);
    }
    va_end(a.ap);
    if (size)
        buf[MIN(o.len, size - 1)] = 0;
    return (int)o.len;
}

int quire_snprintf(char *buf, size_t size, const char *format, ...)
{
    va_list ap;
    int len;

    va_start(ap, format);
    len = quire_vsnprintf(buf, size, format, ap);
    va_end(ap);
    return len;
}

int quire_scnprintf(char *buf, size_t size, const char *format, ...)
{
    va_list ap;
    int len;

    va_start(ap, format);
    len = quire_vsnprintf(buf, size, format, ap);
    va_end(ap);
    return size == 0 ? 0 : MIN(len, (int)size - 1);
}

void check_fail(struct check_report *r, const char *format, ...)
{
    va_list ap;

    if (r->nr < CHECK_KEPT) {
        va_start(ap, format);
        quire_vsnprintf(r->text[r->nr], CHECK_TEXT, format, ap);
        va_end(ap);
    }
    r->nr++;
}
