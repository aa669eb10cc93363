/* SPDX-License-Identifier: MIT */
/*
 * The pages touched last: they decide almost every access and block, for all machines at once.
 *
 * A set of a TLB is a list, latest first. Each vCPU keeps such lists of its own, of up to RECENT_WAYS pages, for data
 * and for code, one for each value of the page number's low bits (a class), as many bits as the smallest first-level
 * TLB of the machines has set bits. So two pages of one set, in any machine, are in one class, and the pages of a class
 * that belong to one set are the latest of that set, in the same order, whatever the machine's geometry. An access that
 * finds its page here is a first-level hit in every machine; it moves the page to the front here and nowhere else.
 *
 *   access ─▶ first of its class? done ─▶ further in its class? to the front, done ─▶ access_miss(): write back, ask each
 *                                                                                     machine, put it in front
 *
 * Invariants, for each machine of which the vCPU owns a CPU
 *   R1  a page in a class's list is in the machine's first level array of 4K pages, and allows loads (data) or fetches
 *       (code); with TLB_W it allows stores in every machine, else it may not in some;
 *   R2  the true order of a set is: its pages in the list, in their order there, then its others, in the order in which
 *       they lie in the set. What lies in the set is out of date in the list's first positions, as far as `dirty` says.
 * Before anybody looks at a set it is written back: that class by the access path, all of them by vcpu_forget(), which
 * everybody else calls who may look at or change a TLB (and who releases a CPU). An entry that was flushed meanwhile
 * stays flushed: removing and ordering may be done in either order.
 */
#ifndef QUIRE_FRONTEND_RECENT_H
#define QUIRE_FRONTEND_RECENT_H

#include "follow.h"

static inline u64 data_class(va_t va)
{
    return va >> PAGE_SHIFT & process.data_mask;
}

static inline u64 code_class(va_t va)
{
    return va >> PAGE_SHIFT & process.code_mask;
}

/* True: `want` is in class n from the second position on, and now in front. Differences outside `care` do not count. */
static inline bool recent_hit(struct recent *r, u64 n, u64 want, u64 care)
{
    u64 e0 = r->page[0][n], e1 = r->page[1][n], e2 = r->page[2][n], e3;

    if (likely(!((e1 ^ want) & care))) {
        r->dirty[n] |= 2;
        r->page[0][n] = e1;
        r->page[1][n] = e0;
        return true;
    }
    if (!((e2 ^ want) & care)) {
        r->dirty[n] |= 4;
        r->page[0][n] = e2;
    } else {
        e3 = r->page[3][n];
        if ((e3 ^ want) & care)
            return false;
        r->dirty[n] |= 8;
        r->page[0][n] = e3;
        r->page[3][n] = e2;
    }
    r->page[1][n] = e0;
    r->page[2][n] = e1;
    return true;
}

static inline void recent_clear(struct recent *r, u64 n)
{
    for (u32 pos = 0; pos < RECENT_WAYS; pos++)
        r->page[pos][n] = NOT_RECENT;
    r->dirty[n] = 0;
}

/* R2, to come before a look at the sets of class n. vcpu.c */
void recent_write_back(struct vcpu *v, struct recent *r, u64 n, enum mmu_access_kind kind);

#endif
