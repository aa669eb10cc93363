/* SPDX-License-Identifier: MIT */
/* Regions of a foreign trace: see regions.h. */
#include "regions.h"

#include <stdlib.h>
#include <string.h>

#define MIXED_FROM 16u /* neighbourhoods in one: text and data are no longer told apart */

/* -- pages --------------------------------------------------------------------------------------------------------- */

static struct hood **hood_slot(struct hood **slot, u32 room, u64 nr)
{
    u32 i = (u32)(nr * 0x9e3779b97f4a7c15ull >> 32) & (room - 1);

    while (slot[i] && slot[i]->nr != nr)
        i = (i + 1) & (room - 1);
    return &slot[i];
}

static bool grow(struct touched *t)
{
    u32 room = t->room ? 2 * t->room : 256;
    struct hood **more;

    if (t->room && t->nr < t->room / 2)
        return true;
    more = room < t->room ? NULL : calloc(room, sizeof(struct hood *));
    if (!more)
        return false;
    for (u32 i = 0; i < t->room; i++)
        if (t->slot[i])
            *hood_slot(more, room, t->slot[i]->nr) = t->slot[i];
    free(t->slot);
    t->slot = more;
    t->room = room;
    return true;
}

static struct hood *find_hood(struct touched *t, u64 nr)
{
    struct hood **at;

    if (!grow(t))
        return NULL;
    at = hood_slot(t->slot, t->room, nr);
    if (!*at) {
        *at = calloc(1, sizeof(struct hood));
        if (!*at)
            return NULL;
        (*at)->nr = nr;
        t->nr++;
    }
    return *at;
}

bool touched_note(struct touched *t, u64 addr, enum import_kind kind)
{
    u64 nr = addr >> HOOD_SHIFT;

    if (!t->last || t->last->nr != nr)
        t->last = find_hood(t, nr);
    if (!t->last)
        return false;
    t->last->kinds[addr >> PAGE_SHIFT & (HOOD_PAGES - 1)] |= (u8)(1u << kind);
    return true;
}

void touched_free(struct touched *t)
{
    for (u32 i = 0; i < t->room; i++)
        free(t->slot[i]);
    free(t->slot);
    *t = (struct touched){0};
}

/* -- regions ------------------------------------------------------------------------------------------------------- */

enum page_class { ANY, TEXT, DATA };

static enum page_class class_of(u32 kinds, u32 group)
{
    if (group >= MIXED_FROM || kinds & 1u << IMPORT_WRITE)
        return DATA;
    return kinds & 1u << IMPORT_EXEC ? TEXT : ANY;
}

struct building {
    struct regions *out;
    u32 group;             /* neighbourhoods in one */
    enum page_class class; /* of the region under way */
    u64 last;              /* page that was added */
};

static bool add_region(struct building *b, u64 start, u64 end)
{
    struct regions *rs = b->out;

    if (rs->nr == rs->room) {
        u32 room = rs->room ? 2 * rs->room : 64;
        struct region *more = realloc(rs->r, room * sizeof(*more));

        if (!more)
            return false;
        rs->r = more;
        rs->room = room;
    }
    rs->r[rs->nr++] = (struct region){.start = start, .end = end};
    b->class = ANY;
    return true;
}

/* A touched page, in order of addresses. */
static bool add_page(struct building *b, u64 addr, u32 kinds)
{
    enum page_class class = class_of(kinds, b->group);
    struct region *r = &b->out->r[b->out->nr - 1];
    u64 start = addr & ~(((u64)b->group << HOOD_SHIFT) - 1), end = r->end;

    if (class != ANY && b->class != ANY && class != b->class) {
        start = b->last < start ? start : addr;
        r->end = start;
        if (!add_region(b, start, end))
            return false;
        r = &b->out->r[b->out->nr - 1];
    }
    if (class != ANY)
        b->class = class;
    r->text = b->class == TEXT;
    r->kinds |= kinds;
    b->last = addr;
    b->out->pages++;
    return true;
}

static bool add_hood(struct building *b, const struct hood *h)
{
    u64 size = (u64)b->group << HOOD_SHIFT, start = (h->nr << HOOD_SHIFT) & ~(size - 1);
    struct region *last = b->out->nr ? &b->out->r[b->out->nr - 1] : NULL;

    if (last && last->end >= start)
        last->end = start + size;
    else if (!add_region(b, start, start + size))
        return false;
    for (u32 i = 0; i < HOOD_PAGES; i++)
        if (h->kinds[i] && !add_page(b, (h->nr << HOOD_SHIFT) + ((u64)i << PAGE_SHIFT), h->kinds[i]))
            return false;
    return true;
}

static int by_address(const void *a, const void *b)
{
    const struct hood *const *x = a, *const *y = b;

    return (*x)->nr < (*y)->nr ? -1 : (*x)->nr > (*y)->nr;
}

/* All neighbourhoods in front, by address. */
static void sort(struct touched *t)
{
    u32 n = 0;

    for (u32 i = 0; i < t->room; i++)
        if (t->slot[i]) {
            struct hood *h = t->slot[i];

            t->slot[i] = NULL;
            t->slot[n++] = h;
        }
    if (n)
        qsort(t->slot, n, sizeof(struct hood *), by_address);
}

bool regions_of(struct touched *t, u32 limit, struct regions *out)
{
    struct building b = {.out = out};

    sort(t);
    for (b.group = 1;; b.group *= 2) {
        out->nr = 0;
        out->pages = 0;
        for (u32 i = 0; i < t->nr; i++)
            if (!add_hood(&b, t->slot[i]))
                return false;
        if (out->nr <= limit)
            break;
    }
    for (u32 i = 0; i < out->nr; i++) /* page 0 belongs to nobody unless it was touched */
        if (!out->r[i].start && !t->slot[0]->nr && !t->slot[0]->kinds[0])
            out->r[i].start = 1ul << 16;
    return true;
}
