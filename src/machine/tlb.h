/* SPDX-License-Identifier: MIT */
/* Sets of a TLB in order of last use: find, move to front, insert, remove. For the MMU's own files. */
#ifndef QUIRE_MACHINE_TLB_H
#define QUIRE_MACHINE_TLB_H

#include "machine/mmu.h"

#define TLB_RIGHTS (TLB_W | TLB_X | TLB_R)

static inline u32 tlb_set(const struct tlb_array *t, va_t va, u32 page_shift)
{
    return (u32)(va >> page_shift) & (t->sets - 1);
}

static inline u64 *tlb_slot(const struct tlb_array *t, u32 set, u32 pos)
{
    if (pos < TLB_NEAR)
        return &t->near[set * TLB_NEAR + pos];
    return &t->far[(u64)set * (t->ways - TLB_NEAR) + pos - TLB_NEAR];
}

/* Position of the entry that equals `want` in the bits of `care`; t->ways: none. */
static inline u32 tlb_find(const struct tlb_array *t, u32 set, u64 want, u64 care)
{
    for (u32 pos = 0; pos < t->ways; pos++) {
        u64 e = *tlb_slot(t, set, pos);

        if (!((e ^ want) & care))
            return pos;
        if (!e)
            break;
    }
    return t->ways;
}

/* `word` becomes the set's latest; what stood at `pos` is gone, what stood before it is one older. */
static inline void tlb_put_front(const struct tlb_array *t, u32 set, u32 pos, u64 word)
{
    for (; pos > 0; pos--)
        *tlb_slot(t, set, pos) = *tlb_slot(t, set, pos - 1);
    *tlb_slot(t, set, 0) = word;
}

/* The latest entry of its set is `word`: in place of the one with the same tag, of an empty one, or of the oldest. */
static inline void tlb_insert(const struct tlb_array *t, u32 set, u64 word)
{
    u32 pos = 0;

    while (pos < t->ways - 1) {
        u64 e = *tlb_slot(t, set, pos);

        if (!e || !((e ^ word) & ~TLB_RIGHTS))
            break;
        pos++;
    }
    tlb_put_front(t, set, pos, word);
}

/* Position `pos` becomes empty: those behind it close up. */
static inline void tlb_remove_at(const struct tlb_array *t, u32 set, u32 pos)
{
    for (; pos + 1 < t->ways && *tlb_slot(t, set, pos + 1); pos++)
        *tlb_slot(t, set, pos) = *tlb_slot(t, set, pos + 1);
    *tlb_slot(t, set, pos) = 0;
}

/* Look up an address as a page of 2^page_shift bytes; `more`: bits beside the page number that must match. */
static inline u64 tlb_tag(va_t va, u32 page_shift, u64 more)
{
    return (va >> page_shift << page_shift) | more;
}

#endif
