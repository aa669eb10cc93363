/* SPDX-License-Identifier: MIT */
/* Building a view's text: the widths and units that /proc uses, on the way to a sink. */
#ifndef QUIRE_ABI_SEQ_H
#define QUIRE_ABI_SEQ_H

#include "abi/proc.h"

#define SEQ_PIECE 512

struct seq {
    const struct proc_sink *sink;
    int err;  /* the sink's first error: nothing is written any more */
    u64 line; /* characters since seq_begin_line() */
    u32 len;  /* of buf */
    char buf[SEQ_PIECE];
};

static inline void seq_open(struct seq *s, const struct proc_sink *sink)
{
    s->sink = sink;
    s->err = 0;
    s->line = 0;
    s->len = 0;
}
/* What is left goes out; the view's result. */
int seq_close(struct seq *s);

/* One piece of at most SEQ_PIECE - 1 characters. */
void seq_printf(struct seq *s, const char *format, ...) __printf_like(2, 3);
void seq_bytes(struct seq *s, const void *bytes, size_t len);
void seq_puts(struct seq *s, const char *text);
void seq_putc(struct seq *s, char c);
/* Characters of `escaped` in the text become \ooo, as paths do in /proc. */
void seq_escaped(struct seq *s, const char *text, const char *escaped);
static inline void seq_begin_line(struct seq *s)
{
    s->line = 0;
}
/* Blanks until the line has `width` characters, and one more. */
void seq_pad(struct seq *s, u64 width);

#endif
