/* SPDX-License-Identifier: MIT */
/*
 * Arrays of bits in 64-bit words, bit n in word n / 64. Linux's names (bitmap.h, find.h). Searches return `size` when
 * there is none. Bits past the size in the last word are never reported. Not atomic: the caller has the lock.
 */
#ifndef QUIRE_BASE_BITMAP_H
#define QUIRE_BASE_BITMAP_H

#include "base/types.h"

#define BITS_PER_WORD 64
#define BITMAP_WORDS(bits) DIV_ROUND_UP((bits), BITS_PER_WORD)
#define DECLARE_BITMAP(name, bits) u64 name[BITMAP_WORDS(bits)]

static inline bool test_bit(u64 nr, const u64 *map)
{
    return map[nr / 64] >> (nr % 64) & 1;
}

static inline void __set_bit(u64 nr, u64 *map)
{
    map[nr / 64] |= (u64)1 << (nr % 64);
}

static inline void __clear_bit(u64 nr, u64 *map)
{
    map[nr / 64] &= ~((u64)1 << (nr % 64));
}

static inline bool __test_and_set_bit(u64 nr, u64 *map)
{
    bool old = test_bit(nr, map);

    __set_bit(nr, map);
    return old;
}

static inline bool __test_and_clear_bit(u64 nr, u64 *map)
{
    bool old = test_bit(nr, map);

    __clear_bit(nr, map);
    return old;
}

/* The bits [from, to) of one word, 0 <= from <= to <= 64. */
static inline u64 bits_mask(unsigned int from, unsigned int to)
{
    return (to == 64 ? ~(u64)0 : ((u64)1 << to) - 1) & (from == 64 ? 0 : ~(u64)0 << from);
}

/* The first bit at or after `from` in map ^ flip. */
static inline u64 find_next_xor_(const u64 *map, u64 size, u64 from, u64 flip)
{
    u64 word, i;

    if (from >= size)
        return size;
    i = from / 64;
    word = (map[i] ^ flip) & (~(u64)0 << (from % 64));
    while (!word) {
        if (++i >= BITMAP_WORDS(size))
            return size;
        word = map[i] ^ flip;
    }
    i = i * 64 + (u64)__builtin_ctzll(word);
    return MIN(i, size);
}

static inline u64 find_next_bit(const u64 *map, u64 size, u64 from)
{
    return find_next_xor_(map, size, from, 0);
}

static inline u64 find_next_zero_bit(const u64 *map, u64 size, u64 from)
{
    return find_next_xor_(map, size, from, ~(u64)0);
}

static inline u64 find_first_bit(const u64 *map, u64 size)
{
    return find_next_bit(map, size, 0);
}

static inline u64 find_first_zero_bit(const u64 *map, u64 size)
{
    return find_next_zero_bit(map, size, 0);
}

static inline u64 find_last_bit(const u64 *map, u64 size)
{
    u64 i = BITMAP_WORDS(size), word;

    while (i-- > 0) {
        word = map[i];
        if (i == size / 64)
            word &= bits_mask(0, (unsigned int)(size % 64));
        if (word)
            return i * 64 + ilog2(word);
    }
    return size;
}

static inline void bitmap_zero(u64 *map, u64 bits)
{
    memset(map, 0, BITMAP_WORDS(bits) * sizeof(u64));
}

enum bitmap_change { BITMAP_CLEAR, BITMAP_SET };

static inline void bitmap_change_(u64 *map, u64 start, u64 nr, enum bitmap_change change)
{
    u64 end = start + nr, stop, mask;

    while (start < end) {
        stop = MIN(ALIGN_DOWN(start, 64) + 64, end);
        mask = bits_mask((unsigned int)(start % 64), (unsigned int)(stop - ALIGN_DOWN(start, 64)));
        if (change == BITMAP_SET)
            map[start / 64] |= mask;
        else
            map[start / 64] &= ~mask;
        start = stop;
    }
}

static inline void bitmap_set(u64 *map, u64 start, u64 nr)
{
    bitmap_change_(map, start, nr, BITMAP_SET);
}

static inline void bitmap_clear(u64 *map, u64 start, u64 nr)
{
    bitmap_change_(map, start, nr, BITMAP_CLEAR);
}

static inline u64 hweight64(u64 w)
{
    w -= w >> 1 & 0x5555555555555555ull;
    w = (w & 0x3333333333333333ull) + (w >> 2 & 0x3333333333333333ull);
    w = (w + (w >> 4)) & 0x0f0f0f0f0f0f0f0full;
    return w * 0x0101010101010101ull >> 56;
}

/* Set bits among the first `bits`. */
static inline u64 bitmap_weight(const u64 *map, u64 bits)
{
    u64 i, sum = 0;

    for (i = 0; i < bits / 64; i++)
        sum += hweight64(map[i]);
    if (bits % 64)
        sum += hweight64(map[i] & bits_mask(0, (unsigned int)(bits % 64)));
    return sum;
}

static inline bool bitmap_empty(const u64 *map, u64 bits)
{
    return find_first_bit(map, bits) == bits;
}

static inline bool bitmap_full(const u64 *map, u64 bits)
{
    return find_first_zero_bit(map, bits) == bits;
}

#define for_each_set_bit(bit, map, size)                                                                               \
    for ((bit) = find_first_bit((map), (size)); (bit) < (size); (bit) = find_next_bit((map), (size), (bit) + 1))
#define for_each_clear_bit(bit, map, size)                                                                             \
    for ((bit) = find_first_zero_bit((map), (size)); (bit) < (size);                                                   \
         (bit) = find_next_zero_bit((map), (size), (bit) + 1))

#endif
