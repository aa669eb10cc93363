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
    return &t->near[(u64)set * TLB_NEAR];
}

static inline u64 *tlb_far(const struct tlb_array *t, u32 set)
{
    return &t->far[(u64)set * (t->ways - t->near_ways)];
}

static inline u64 *tlb_slot(const struct tlb_array *t, u32 set, u32 pos)
{
    return pos < t->near_ways ? tlb_near(t, set) + pos : tlb_far(t, set) + pos - t->near_ways;
}

/* -- a set's line: its first `n` words, latest first ----------------------------------------------------------------- */

/*
 * Two forms of the same: word by word, and four words at a time where the compiler may use AVX2 (who includes this
 * header decides; the front end compiles its access path both ways and looks at the host's CPU when it starts).
 */
#ifdef __AVX2__
typedef u64 words4 __attribute__((vector_size(32)));
typedef long long lanes4 __attribute__((vector_size(32))); /* compared signed: AVX2 has no other */
typedef u64 words4_anywhere __attribute__((vector_size(32), aligned(8), may_alias));

static inline words4 words_at(const u64 *e)
{
    return *(const words4_anywhere *)(const void *)e;
}

static inline void words_store(u64 *e, words4 w)
{
    *(words4_anywhere *)(void *)e = w;
}

static inline words4 words_all(u64 word)
{
    return (words4){word, word, word, word};
}

/* Bit n: word n equals `want` in the bits of `care`; want has no others. */
static inline u32 words_equal(const u64 *e, words4 want, words4 care)
{
    typedef double signs __attribute__((vector_size(32)));

    return (u32)__builtin_ia32_movmskpd256((signs)((lanes4)(words_at(e) & care) == (lanes4)want));
}

/* The first that equals `want` in the bits of `care`; n: none. Without a branch. */
static inline u32 line_find(const u64 *e, u32 n, u64 want, u64 care)
{
    words4 w = words_all(want & care), c = words_all(care);

    return (u32)__builtin_ctz(words_equal(e, w, c) | words_equal(e + 4, w, c) << 4 | 1u << n);
}

/* `word` becomes the first; what stood at `pos` is gone, what stood before it is one further back. Without a branch. */
static inline void line_put_front(u64 *e, u32 pos, u64 word)
{
    words4 low = words_at(e), high = words_at(e + 4), moved;
    lanes4 at = (lanes4)words_all(pos);
    words4 low_before = (words4)(at > (lanes4){-1, 0, 1, 2}), high_before = (words4)(at > (lanes4){3, 4, 5, 6});

    moved = __builtin_shufflevector(low, high, 3, 4, 5, 6);
    words_store(e + 4, (moved & high_before) | (high & ~high_before));
    moved = __builtin_shufflevector(low, words_all(word), 4, 0, 1, 2);
    words_store(e, (moved & low_before) | (low & ~low_before));
}
#else
static inline u32 line_find(const u64 *e, u32 n, u64 want, u64 care)
{
    u32 pos;

    for (pos = 0; pos < n && ((e[pos] ^ want) & care); pos++)
        ;
    return pos;
}

static inline void line_put_front(u64 *e, u32 pos, u64 word)
{
    for (; pos > 0; pos--)
        e[pos] = e[pos - 1];
    e[0] = word;
}
#endif

/* -- sets ---------------------------------------------------------------------------------------------------------- */

/* Position of the entry that equals `want` in the bits of `care`; t->ways: none. */
static inline u32 tlb_find(const struct tlb_array *t, u32 set, u64 want, u64 care)
{
    u32 n = t->near_ways, pos = line_find(tlb_near(t, set), n, want, care);
    const u64 *far;

    if (likely(pos < n || n == t->ways))
        return pos;
    far = tlb_far(t, set) - n;
    while (pos < t->ways && ((far[pos] ^ want) & care))
        pos++;
    return pos;
}

/* `word` becomes the set's latest; what stood at `pos` is gone, what stood before it is one older. */
static inline void tlb_put_front(const struct tlb_array *t, u32 set, u32 pos, u64 word)
{
    u64 *near = tlb_near(t, set), *far;
    u32 last = t->near_ways - 1;

    if (unlikely(pos > last)) {
        far = tlb_far(t, set) - t->near_ways;
        for (; pos > last + 1; pos--)
            far[pos] = far[pos - 1];
        far[pos] = near[last];
        pos = last;
    }
    line_put_front(near, pos, word);
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
