/* SPDX-License-Identifier: MIT */
/*
 * Which pages of an op's look at /proc/self/pagemap differ, and whether the host may have done that. Both sides keep
 * what they saw, in the order of addresses (struct oracle_seen).
 *
 * What a host does to pages, at any time: something (write-back, compaction, a monitor of accesses) holds a page or its
 * lock for a moment, and fault-around leaves it out, MADV_PAGEOUT leaves it in; a clean page that nobody maps leaves the
 * page cache, and so do mapped ones, and lazily freed ones, when memory is short. So a page is there or not, is mapped by
 * more or fewer; but it is not of another kind.
 */
#include <stdio.h>

#include "tests/oracle/sequence.h"

#define OF_FILE 2u

static bool kept(const struct oracle_seen *s, const struct oracle_result *r)
{
    return r->seen_to >= r->seen_from && s->nr - r->seen_from <= ORACLE_SEEN;
}

static bool by_host(u32 native, u32 model)
{
    return !native || !model || !((native ^ model) & OF_FILE);
}

static u64 page_at(const struct oracle_seen *s, u32 i, u32 to)
{
    return i < to ? s->page[i % ORACLE_SEEN] : ~0ul;
}

static void add(struct page_differs *d, u64 native, u64 model)
{
    u64 addr = MIN(native, model) & PAGE_MASK;
    u32 n = (native & PAGE_MASK) == addr ? native & ~PAGE_MASK : 0;
    u32 m = (model & PAGE_MASK) == addr ? model & ~PAGE_MASK : 0;

    d->others += !by_host(n, m);
    d->not_on_disk += !((native | model) & ORACLE_SEEN_DISK);
    if (d->nr < ARRAY_SIZE(d->page))
        d->page[d->nr] = (struct page_difference){addr, n, m};
    d->nr++;
}

void compare_pages(const struct oracle *o, const struct oracle_result *native, const struct oracle_result *model,
                   struct page_differs *d)
{
    const struct oracle_seen *ns = &o->native.shared->seen, *ms = o->model.seen;
    u32 i = native->seen_from, j = model->seen_from;

    *d = (struct page_differs){0};
    if (!kept(ns, native) || !kept(ms, model)) {
        d->others = 1;
        return;
    }
    while (i < native->seen_to || j < model->seen_to) {
        u64 a = page_at(ns, i, native->seen_to), b = page_at(ms, j, model->seen_to);

        if (a != b)
            add(d, a, b);
        i += (a & PAGE_MASK) <= (b & PAGE_MASK);
        j += (b & PAGE_MASK) <= (a & PAGE_MASK);
    }
}

void print_pages_differ(const struct page_differs *d, FILE *out)
{
    static const char letter[] = "-z.f.a.F";

    for (u32 i = 0; i < d->nr && i < ARRAY_SIZE(d->page); i++)
        fprintf(out, "  page %#lx: kernel %c, model %c%s\n", (unsigned long)d->page[i].addr,
                letter[d->page[i].native & 7], letter[d->page[i].model & 7],
                (d->page[i].native | d->page[i].model) & ORACLE_SEEN_DISK ? ", of a file on disk" : "");
    if (d->nr > ARRAY_SIZE(d->page))
        fprintf(out, "  and %u pages more\n", d->nr - (u32)ARRAY_SIZE(d->page));
}
