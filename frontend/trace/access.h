/* SPDX-License-Identifier: MIT */
/*
 * The body of an ACCESS event: words of 16 bits, little-endian.
 *
 *    15 ......... 4 | 3 2   | 1 0
 *    slot           | marks | 0 data read, 1 data write, 2 fetch, 3 define
 *
 * A slot stands for a page number; a define word gives the slot a page: three words follow, the difference to the page that
 * was defined before in this stream (zigzag, 48 bits, low word first). A TASK event clears slots and that page.
 *
 * Words stand for accesses that may change a machine's state; what can be left out is told by the marks of the next word
 * (of a define word: 0):
 *   after a data word   1: blocks in the page of the latest fetch were executed; 2: and then data on the page of
 *                       the last data word was accessed
 *   after a fetch       1: data on the page of the last data word was accessed; 2: and then blocks executed
 * A model needs them where the word before it changed more than the order of its TLB's entries.
 */
#ifndef QUIRE_FRONTEND_TRACE_ACCESS_H
#define QUIRE_FRONTEND_TRACE_ACCESS_H

#include "trace.h"

#define ACCESS_SLOTS 4096u
#define ACCESS_SLOT_SHIFT 4

enum access_word { ACCESS_READ_WORD, ACCESS_WRITE_WORD, ACCESS_FETCH_WORD, ACCESS_DEFINE_WORD };

/* What a mark may stand for. */
enum access_left_out { ACCESS_NOTHING = 0, ACCESS_DATA = 1, ACCESS_BLOCK = 2 };

static inline u32 access_slot(u64 page_number)
{
    return (u32)(page_number ^ page_number >> 12 ^ page_number >> 24) & (ACCESS_SLOTS - 1);
}

static inline u64 access_zigzag(u64 difference)
{
    return difference << 1 ^ (u64)((s64)difference >> 63);
}

static inline u64 access_unzigzag(u64 z)
{
    return z >> 1 ^ (0 - (z & 1));
}

#endif
