/* SPDX-License-Identifier: MIT */
/* The memory that a foreign trace touched: kinds of access by page, and the regions made of them. make.h has the theory. */
#ifndef QUIRE_FRONTEND_REGIONS_H
#define QUIRE_FRONTEND_REGIONS_H

#include "import.h"

#define HOOD_SHIFT 21
#define HOOD_PAGES (1u << (HOOD_SHIFT - PAGE_SHIFT))

/* A neighbourhood. */
struct hood {
    u64 nr;               /* address >> HOOD_SHIFT */
    u8 kinds[HOOD_PAGES]; /* 1 << enum import_kind */
};

struct touched {
    struct hood **slot; /* open addressing by nr; sorted in front after regions_of() */
    u32 nr, room;
    struct hood *last; /* looked up */
};

struct region {
    u64 start, end;
    u32 kinds; /* of all pages in it */
    bool text;
};

struct regions {
    struct region *r;
    u32 nr, room;
    u64 pages; /* touched */
};

/* False: no memory. */
bool touched_note(struct touched *t, u64 addr, enum import_kind kind);
void touched_free(struct touched *t);

/* At the end: t can only be freed then. False: no memory. */
bool regions_of(struct touched *t, u32 limit, struct regions *out);

#endif
