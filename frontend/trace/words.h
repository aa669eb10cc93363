/* SPDX-License-Identifier: MIT */
/*
 * Batches of accesses for whoever makes a trace with trace.h's writer: an importer, a test. The qemu recorder has the same
 * in its own way (frontend/qemu/record.h). access.h has the layout.
 */
#ifndef QUIRE_FRONTEND_TRACE_WORDS_H
#define QUIRE_FRONTEND_TRACE_WORDS_H

#include "access.h"

struct access_words {
    u64 page[ACCESS_SLOTS]; /* number + 1; 0: slot not defined */
    u64 defined;
    u64 data; /* page of the latest data word << 1 | 1: a write; ~0: none */
    u64 code; /* page of the latest fetch; ~0: none */
    u32 marks, expect;
    u64 nr;  /* words that stand for accesses */
    u32 len; /* of `word` */
    u16 word[32768];
};

/* A TASK event begins a stream anew; then words_begin(). Any other event: words_forget(). */
void words_begin(struct access_words *w);
void words_forget(struct access_words *w);
/* An access to one page, or a block that begins in it. False: write the batch (words_put) before the next one. */
bool words_add(struct access_words *w, u64 page_number, enum access_word kind);
/* The batch as an ACCESS event, if there is anything in it. */
void words_put(struct access_words *w, struct trace_writer *t);

#endif
