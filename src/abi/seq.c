/* SPDX-License-Identifier: MIT */
/* Text on its way to a sink: see seq.h. */
#include "abi/seq.h"

#include "base/format.h"

static void flush(struct seq *s)
{
    if (s->len && !s->err)
        s->err = s->sink->write(s->sink->arg, s->buf, s->len);
    s->len = 0;
}

int seq_close(struct seq *s)
{
    flush(s);
    return s->err;
}

void seq_printf(struct seq *s, const char *format, ...)
{
    size_t room = sizeof(s->buf) - s->len;
    va_list ap;
    int len;

    va_start(ap, format);
    len = quire_vsnprintf(s->buf + s->len, room, format, ap);
    va_end(ap);
    if ((size_t)len >= room) {
        flush(s);
        va_start(ap, format);
        len = quire_vsnprintf(s->buf, sizeof(s->buf), format, ap);
        va_end(ap);
        ASSERT((size_t)len < sizeof(s->buf));
    }
    s->len += (u32)len;
    s->line += (u32)len;
}

void seq_putc(struct seq *s, char c)
{
    if (s->len == sizeof(s->buf))
        flush(s);
    s->buf[s->len++] = c;
    s->line++;
}

void seq_bytes(struct seq *s, const void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        seq_putc(s, ((const char *)bytes)[i]);
}

void seq_puts(struct seq *s, const char *text)
{
    while (*text)
        seq_putc(s, *text++);
}

static bool is_one_of(char c, const char *set)
{
    while (*set && *set != c)
        set++;
    return *set != 0;
}

void seq_escaped(struct seq *s, const char *text, const char *escaped)
{
    for (; *text; text++) {
        if (is_one_of(*text, escaped))
            seq_printf(s, "\\%c%c%c", '0' + (*text >> 6 & 3), '0' + (*text >> 3 & 7), '0' + (*text & 7));
        else
            seq_putc(s, *text);
    }
}

void seq_pad(struct seq *s, u64 width)
{
    while (s->line < width)
        seq_putc(s, ' ');
    seq_putc(s, ' ');
}
