/* SPDX-License-Identifier: MIT */
/* A set of address ranges. */
#include "known.h"

#include <stdlib.h>
#include <string.h>

void known_clear(struct known *k)
{
    k->nr = 0;
    k->brk = 0;
}

/* The first range that ends behind va. */
static u32 find(const struct known *k, u64 va)
{
    u32 low = 0, high = k->nr;

    while (low < high) {
        u32 mid = (low + high) / 2;

        if (k->range[mid].end > va)
            high = mid;
        else
            low = mid + 1;
    }
    return low;
}

bool known_has(const struct known *k, u64 va)
{
    u32 i = find(k, va);

    return i < k->nr && k->range[i].start <= va;
}

/* Put `with` ranges in place of range[from .. to). */
static void replace(struct known *k, u32 from, u32 to, const struct known_range *with, u32 nr)
{
    if (k->nr + nr - (to - from) > k->room) {
        u32 room = 2 * k->room + 64;
        struct known_range *more = realloc(k->range, room * sizeof(*more));

        if (!more)
            return; /* known too little: what is looked up is found in the host's map */
        k->range = more;
        k->room = room;
    }
    memmove(k->range + from + nr, k->range + to, (k->nr - to) * sizeof(*k->range));
    if (nr)
        memcpy(k->range + from, with, nr * sizeof(*with));
    k->nr = k->nr + nr - (to - from);
}

void known_add(struct known *k, u64 start, u64 end)
{
    struct known_range all = {start, end};
    u32 from = find(k, start ? start - 1 : 0), to = from;

    if (start >= end)
        return;
    for (; to < k->nr && k->range[to].start <= end; to++) {
        all.start = all.start < k->range[to].start ? all.start : k->range[to].start;
        all.end = all.end > k->range[to].end ? all.end : k->range[to].end;
    }
    replace(k, from, to, &all, 1);
}

void known_cut(struct known *k, u64 start, u64 end)
{
    u32 from = find(k, start), to = from, nr = 0;
    struct known_range rest[2];

    if (start >= end)
        return;
    for (; to < k->nr && k->range[to].start < end; to++)
        ;
    if (from == to)
        return;
    if (k->range[from].start < start)
        rest[nr++] = (struct known_range){k->range[from].start, start};
    if (k->range[to - 1].end > end)
        rest[nr++] = (struct known_range){end, k->range[to - 1].end};
    replace(k, from, to, rest, nr);
}
