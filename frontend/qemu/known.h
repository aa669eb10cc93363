/* SPDX-License-Identifier: MIT */
/* A set of address ranges: sorted, apart, never touching. */
#ifndef QUIRE_FRONTEND_KNOWN_H
#define QUIRE_FRONTEND_KNOWN_H

#include "base/types.h"

struct known {
    struct known_range {
        u64 start, end;
    } * range;
    u32 nr, room;
    u64 brk; /* where the heap begins */
};

void known_clear(struct known *k);
void known_add(struct known *k, u64 start, u64 end);
void known_cut(struct known *k, u64 start, u64 end);
bool known_has(const struct known *k, u64 va);

#endif
