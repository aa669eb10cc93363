/* SPDX-License-Identifier: MIT */
/* Batches of accesses: see words.h. */
#include "words.h"

#include <string.h>

#define MAX_WORDS_OF_ONE 5u

void words_forget(struct access_words *w)
{
    w->data = w->code = ~0ull;
    w->marks = 0;
    w->expect = ACCESS_NOTHING;
}

void words_begin(struct access_words *w)
{
    memset(w->page, 0, sizeof(w->page));
    w->defined = 0;
    w->len = 0;
    words_forget(w);
}

static void left_out(struct access_words *w, u32 what)
{
    if (w->expect != what)
        return;
    w->marks++;
    w->expect = w->marks == 2 ? ACCESS_NOTHING : what ^ (ACCESS_DATA ^ ACCESS_BLOCK);
}

static bool is_left_out(struct access_words *w, u64 page, enum access_word kind)
{
    bool same = kind == ACCESS_FETCH_WORD ? w->code == page : w->data >> 1 == page && (w->data & 1) >= kind;

    if (same)
        left_out(w, kind == ACCESS_FETCH_WORD ? ACCESS_BLOCK : ACCESS_DATA);
    return same;
}

static void define(struct access_words *w, u32 slot, u64 page)
{
    u64 z = access_zigzag(page - w->defined);

    w->word[w->len++] = (u16)(slot << ACCESS_SLOT_SHIFT | ACCESS_DEFINE_WORD);
    for (u32 i = 0; i < 3; i++, z >>= 16)
        w->word[w->len++] = (u16)z;
    w->defined = page;
    w->page[slot] = page + 1;
}

bool words_add(struct access_words *w, u64 page_number, enum access_word kind)
{
    u32 slot = access_slot(page_number);

    if (is_left_out(w, page_number, kind))
        return true;
    if (w->page[slot] != page_number + 1)
        define(w, slot, page_number);
    w->word[w->len++] = (u16)(slot << ACCESS_SLOT_SHIFT | w->marks << 2 | kind);
    w->nr++;
    w->marks = 0;
    if (kind == ACCESS_FETCH_WORD) {
        w->code = page_number;
        w->expect = ACCESS_DATA;
    } else {
        w->data = page_number << 1 | kind;
        w->expect = ACCESS_BLOCK;
    }
    return w->len + MAX_WORDS_OF_ONE <= ARRAY_SIZE(w->word);
}

void words_put(struct access_words *w, struct trace_writer *t)
{
    if (!w->len)
        return;
    trace_begin(t, TRACE_ACCESS);
    trace_put_raw(t, w->word, w->len * sizeof(w->word[0]));
    trace_end(t);
    w->len = 0;
}
