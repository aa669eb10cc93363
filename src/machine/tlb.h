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

static inline u64 *tlb_near(const struct tlb_array *t, u32 set)
{
    return &t->near[(u64)set * t->stride];
}

static inline u64 *tlb_far(const struct tlb_array *t, u32 set)
{
    return &t->far[(u64)set * (t->ways - t->near_ways)];
}

static inline u64 *tlb_slot(const struct tlb_array *t, u32 set, u32 pos)
{
    return pos < t->near_ways ? tlb_near(t, set) + pos : tlb_far(t, set) + pos - t->near_ways;
}

/* Position of the entry that equals `want` in the bits of `care`; t->ways: none. */
static inline u32 tlb_find(const struct tlb_array *t, u32 set, u64 want, u64 care)
{
    const u64 *e = tlb_near(t, set);
    u32 n = t->near_ways;

    for (u32 pos = 0; pos < n; pos++)
        if (!((e[pos] ^ want) & care))
            return pos;
    if (likely(n == t->ways))
        return n;
    e = tlb_far(t, set);
    for (u32 pos = n; pos < t->ways; pos++)
        if (!((e[pos - n] ^ want) & care))
            return pos;
    return t->ways;
}

/* `word` becomes the set's latest; what stood at `pos` is gone, what stood before it is one older. */
static inline void tlb_put_front(const struct tlb_array *t, u32 set, u32 pos, u64 word)
{
    u64 *near = tlb_near(t, set);

    if (unlikely(pos >= t->near_ways)) {
        u64 *far = tlb_far(t, set);

        pos -= t->near_ways;
        memmove(far + 1, far, pos * sizeof(*far));
        pos = t->near_ways - 1;
        far[0] = near[pos];
    }
    for (; pos > 0; pos--)
        near[pos] = near[pos - 1];
    near[0] = word;
}

/* The latest entry of its set is `word`: in place of the one with the same tag, of an empty one, or of the oldest. */
static inline void tlb_insert(const struct tlb_array *t, u32 set, u64 word)
{
    const u64 *e = tlb_near(t, set);
    u32 pos, last = t->ways - 1;

    for (pos = 0; pos < last; pos++) {
        if (unlikely(pos == t->near_ways))
            e = tlb_far(t, set) - pos;
        if (!e[pos] || !((e[pos] ^ word) & ~TLB_RIGHTS))
            break;
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
