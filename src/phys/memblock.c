/* SPDX-License-Identifier: MIT */
/*
 * memblock: the allocator of boot time, before there is a memmap.
 *
 * Two sorted arrays of ranges. `memory` is what the firmware says is RAM, `reserved` is what is
 * taken; free is the difference.
 *
 *   memory    [======== node 0 ========][==== node 1 ====]        [======]
 *   reserved     [##]            [#######]                           [##]
 *   free      [=]    [==========]        [===============]        [==]  [=]
 *
 * An allocation finds a free range, from the top (default) or the bottom, on a node, in mirrored memory first where the
 * firmware has marked some, and adds it to `reserved`. At the end of boot the free ranges go to the buddy allocator
 * (memmodel.c); the arrays stay, for pfn_valid and the checks.
 *
 * Invariants (memblock_check)
 *   B1  regions are ascending, not empty, do not overlap
 *   B2  no two neighbours that touch have the same node and flags
 *   B3  total_size is the sum of sizes
 *
 * The arrays start in struct memblock and grow by doubling; the new array is memblock memory itself.
 * Locks: none, boot runs on one CPU.
 *
 * Alternatives rejected: a bitmap of frames (a terabyte needs 32 MB before there is an allocator); a tree (boot has
 * tens of ranges, and the arrays are scanned in order anyway).
 * Follows Documentation/core-api/boot-time-mm.rst.
 */
#include "phys/memblock.h"
#include "base/errno.h"

void memblock_init(struct memblock *mb, struct machine *m)
{
    mb->m = m;
    mb->bottom_up = false;
    mb->dirty = false;
    mb->current_limit = MEMBLOCK_ALLOC_ANYWHERE;
    mb->memory = (struct memblock_type){.max = INIT_MEMBLOCK_REGIONS, .regions = mb->init_memory};
    mb->reserved = (struct memblock_type){.max = INIT_MEMBLOCK_REGIONS, .regions = mb->init_reserved};
}

/* -- the arrays ---------------------------------------------------------------------------------------------------- */

/* First region that ends after addr. */
static u32 region_after(const struct memblock_type *t, u64 addr)
{
    u32 lo = 0, hi = t->cnt;

    while (lo < hi) {
        u32 mid = (lo + hi) / 2;

        if (t->regions[mid].base + t->regions[mid].size <= addr)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void region_insert(struct memblock_type *t, u32 i, struct memblock_region r)
{
    ASSERT(t->cnt < t->max);
    memmove(&t->regions[i + 1], &t->regions[i], (t->cnt - i) * sizeof(r));
    t->regions[i] = r;
    t->cnt++;
    t->total_size += r.size;
}

static void region_delete(struct memblock_type *t, u32 i)
{
    t->total_size -= t->regions[i].size;
    t->cnt--;
    memmove(&t->regions[i], &t->regions[i + 1], (t->cnt - i) * sizeof(t->regions[0]));
}

/* Room for `extra` more regions, in memory outside [base, base + size), which is about to change. 0 or -ENOMEM. */
static int grow_array(struct memblock *mb, struct memblock_type *t, u32 extra, u64 base, u64 size)
{
    while (t->cnt + extra > t->max) {
        u64 bytes = ALIGN_UP((u64)t->max * 2 * sizeof(struct memblock_region), (u64)PAGE_SIZE);
        u64 at = memblock_find_in_range_node(mb, bytes, PAGE_SIZE, base + size, MEMBLOCK_ALLOC_ANYWHERE, NUMA_NO_NODE);
        struct memblock_region *regions;

        if (!at)
            at = memblock_find_in_range_node(mb, bytes, PAGE_SIZE, 0, base, NUMA_NO_NODE);
        if (!at)
            return -ENOMEM;
        regions = phys_to_virt(mb->m, PHYS(at));
        memcpy(regions, t->regions, t->cnt * sizeof(*regions));
        t->regions = regions;
        t->max = (u32)(bytes / sizeof(*regions));
        /* The doubled array has room for its own reservation;
         * when it is `memory` that grew, `reserved` may have to grow too. */
        if (memblock_reserve(mb, at, bytes))
            return -ENOMEM;
    }
    return 0;
}

static void merge_neighbours(struct memblock_type *t)
{
    u32 i = 0;

    while (i + 1 < t->cnt) {
        struct memblock_region *a = &t->regions[i], *b = a + 1;

        if (a->base + a->size != b->base || a->nid != b->nid || a->flags != b->flags) {
            i++;
            continue;
        }
        a->size += b->size;
        t->total_size += b->size;
        region_delete(t, i + 1);
    }
}

/* Cut regions so that none crosses base or base + size;
 * [*first, *last) are then the ones inside. Needs room for 2 more. */
static void isolate(struct memblock_type *t, u64 base, u64 end, u32 *first, u32 *last)
{
    u32 i;

    *first = *last = region_after(t, base);
    for (i = *first; i < t->cnt && t->regions[i].base < end; i++) {
        struct memblock_region *r = &t->regions[i], part = *r;
        u64 cut = r->base < base ? base : r->base + r->size > end ? end : 0;

        if (cut) {
            part.size = cut - r->base;
            t->total_size -= part.size;
            r->size -= part.size;
            r->base = cut;
            region_insert(t, i, part);
        }
        if (t->regions[i].base < base)
            (*first)++;
        else
            *last = i + 1;
    }
    if (*last < *first)
        *last = *first;
}

/* Fill the gaps of [base, end) that no region covers yet. */
static int add_range(struct memblock *mb, struct memblock_type *t, u64 base, u64 size, s32 nid, u32 flags)
{
    u64 end = base + size, at = base;
    u32 i, gaps = 1;

    if (!size)
        return 0;
    for (i = region_after(t, base); i < t->cnt && t->regions[i].base < end; i++)
        gaps++;
    if (grow_array(mb, t, gaps, base, size))
        return -ENOMEM;
    for (i = region_after(t, base); at < end; i++) {
        u64 next = i < t->cnt ? MIN(t->regions[i].base, end) : end;

        if (at < next)
            region_insert(t, i++, (struct memblock_region){at, next - at, flags, nid});
        at = i < t->cnt && t->regions[i].base < end ? t->regions[i].base + t->regions[i].size : end;
    }
    merge_neighbours(t);
    return 0;
}

static int remove_range(struct memblock *mb, struct memblock_type *t, u64 base, u64 size)
{
    u32 first, last;

    if (!size)
        return 0;
    if (grow_array(mb, t, 2, base, size))
        return -ENOMEM;
    isolate(t, base, base + size, &first, &last);
    while (last > first)
        region_delete(t, --last);
    return 0;
}

int memblock_add_node(struct memblock *mb, u64 base, u64 size, s32 nid, u32 flags)
{
    return add_range(mb, &mb->memory, base, size, nid, flags);
}

int memblock_remove(struct memblock *mb, u64 base, u64 size)
{
    return remove_range(mb, &mb->memory, base, size);
}

int memblock_reserve(struct memblock *mb, u64 base, u64 size)
{
    return add_range(mb, &mb->reserved, base, size, NUMA_NO_NODE, MEMBLOCK_NONE);
}

int memblock_phys_free(struct memblock *mb, u64 base, u64 size)
{
    mb->dirty = true;
    return remove_range(mb, &mb->reserved, base, size);
}

struct region_change {
    const s32 *nid; /* NULL: stays */
    u32 set, clear; /* flags */
};

static int change_regions(struct memblock *mb, u64 base, u64 size, const struct region_change *c)
{
    struct memblock_type *t = &mb->memory;
    u32 first, last;

    if (grow_array(mb, t, 2, base, size))
        return -ENOMEM;
    isolate(t, base, base + size, &first, &last);
    for (u32 i = first; i < last; i++) {
        t->regions[i].nid = c->nid ? *c->nid : t->regions[i].nid;
        t->regions[i].flags = (t->regions[i].flags | c->set) & ~c->clear;
    }
    merge_neighbours(t);
    return 0;
}

int memblock_set_node(struct memblock *mb, u64 base, u64 size, s32 nid)
{
    return change_regions(mb, base, size, &(struct region_change){.nid = &nid});
}

static int change_flag(struct memblock *mb, u64 base, u64 size, u32 set, u32 clear)
{
    return change_regions(mb, base, size, &(struct region_change){.set = set, .clear = clear});
}

int memblock_mark(struct memblock *mb, u64 base, u64 size, enum memblock_flags flag)
{
    return change_flag(mb, base, size, (u32)flag, 0);
}

int memblock_clear(struct memblock *mb, u64 base, u64 size, enum memblock_flags flag)
{
    return change_flag(mb, base, size, 0, (u32)flag);
}

/* -- free ranges --------------------------------------------------------------------------------------------------- */

static bool region_wanted(const struct memblock_region *r, s32 nid, u32 want)
{
    return (nid == NUMA_NO_NODE || r->nid == nid) && (r->flags & want) == want && !(r->flags & MEMBLOCK_NOMAP);
}

void memblock_next_free(const struct memblock *mb, u64 *idx, s32 nid, u32 want, struct memblock_range *out)
{
    const struct memblock_type *mem = &mb->memory, *res = &mb->reserved;
    u64 at = *idx;

    for (u32 i = region_after(mem, at); i < mem->cnt; i++) {
        const struct memblock_region *r = &mem->regions[i];
        u64 end = r->base + r->size;

        if (!region_wanted(r, nid, want))
            continue;
        at = MAX(at, r->base);
        for (u32 k = region_after(res, at); at < end; k++) {
            u64 stop = k < res->cnt ? MIN(res->regions[k].base, end) : end;

            if (at < stop) {
                *out = (struct memblock_range){at, stop, r->nid};
                *idx = stop;
                return;
            }
            at = res->regions[k].base + res->regions[k].size;
        }
    }
    *idx = MEMBLOCK_ITER_END;
}

void memblock_prev_free(const struct memblock *mb, u64 *idx, s32 nid, u32 want, struct memblock_range *out)
{
    const struct memblock_type *mem = &mb->memory, *res = &mb->reserved;
    u64 at = *idx;

    for (u32 i = mem->cnt; i-- > 0;) {
        const struct memblock_region *r = &mem->regions[i];

        if (r->base >= at || !region_wanted(r, nid, want))
            continue;
        at = MIN(at, r->base + r->size);
        while (at > r->base) {
            u32 k = region_after(res, at - 1); /* the reserved region that holds at - 1, or the first behind it */
            bool taken = k < res->cnt && res->regions[k].base < at;
            u64 floor = k > 0 ? res->regions[k - 1].base + res->regions[k - 1].size : 0;

            if (taken) {
                at = res->regions[k].base;
                continue;
            }
            *out = (struct memblock_range){MAX(floor, r->base), at, r->nid};
            *idx = out->start;
            return;
        }
    }
    *idx = MEMBLOCK_ITER_END;
}

static bool has_mirror(const struct memblock *mb)
{
    for (u32 i = 0; i < mb->memory.cnt; i++)
        if (mb->memory.regions[i].flags & MEMBLOCK_MIRROR)
            return true;
    return false;
}

/* What a search is for. */
struct search {
    u64 size, align, start, end;
    s32 nid;
    u32 want; /* flags a region must have */
};

static u64 find_bottom_up(const struct memblock *mb, const struct search *s)
{
    struct memblock_range r;
    u64 idx = 0;

    for (memblock_next_free(mb, &idx, s->nid, s->want, &r); idx != MEMBLOCK_ITER_END;
         memblock_next_free(mb, &idx, s->nid, s->want, &r)) {
        u64 lo = ALIGN_UP(MAX(r.start, s->start), s->align), hi = MIN(r.end, s->end);

        if (lo < hi && hi - lo >= s->size)
            return lo;
    }
    return 0;
}

static u64 find_top_down(const struct memblock *mb, const struct search *s)
{
    struct memblock_range r;
    u64 idx = MEMBLOCK_ALLOC_ANYWHERE;

    for (memblock_prev_free(mb, &idx, s->nid, s->want, &r); idx != MEMBLOCK_ITER_END;
         memblock_prev_free(mb, &idx, s->nid, s->want, &r)) {
        u64 lo = MAX(r.start, s->start), hi = MIN(r.end, s->end);

        if (hi < s->size)
            continue;
        hi = ALIGN_DOWN(hi - s->size, s->align);
        if (hi >= lo)
            return hi;
    }
    return 0;
}

/* The first page is never handed out: 0 means none. */
u64 memblock_find_in_range_node(struct memblock *mb, u64 size, u64 align, u64 start, u64 end, s32 nid)
{
    struct search s = {size, align, MAX(start, PAGE_SIZE), MIN(end, mb->current_limit), nid, MEMBLOCK_NONE};
    u64 at;

    if (has_mirror(mb)) {
        s.want = MEMBLOCK_MIRROR;
        at = mb->bottom_up ? find_bottom_up(mb, &s) : find_top_down(mb, &s);
        if (at)
            return at;
        s.want = MEMBLOCK_NONE; /* no mirrored memory left: take other memory rather than none */
    }
    return mb->bottom_up ? find_bottom_up(mb, &s) : find_top_down(mb, &s);
}

u64 memblock_phys_alloc_nid(struct memblock *mb, u64 size, u64 align, s32 nid, bool exact_nid)
{
    u64 at = memblock_find_in_range_node(mb, size, align, 0, MEMBLOCK_ALLOC_ANYWHERE, nid);

    if (!at && nid != NUMA_NO_NODE && !exact_nid)
        at = memblock_find_in_range_node(mb, size, align, 0, MEMBLOCK_ALLOC_ANYWHERE, NUMA_NO_NODE);
    if (!at || memblock_reserve(mb, at, size))
        return 0;
    return at;
}

void *memblock_alloc_nid(struct memblock *mb, u64 size, u64 align, s32 nid)
{
    u64 at = memblock_phys_alloc_nid(mb, size, align, nid, false);
    void *p = phys_to_virt(mb->m, PHYS(at));

    if (!at)
        return NULL;
    if (mb->dirty) /* RAM that nobody has used is zero, and should not be touched without need */
        memset(p, 0, size);
    return p;
}

/* -- questions ----------------------------------------------------------------------------------------------------- */

static const struct memblock_region *region_at(const struct memblock_type *t, u64 addr)
{
    u32 i = region_after(t, addr);

    return i < t->cnt && t->regions[i].base <= addr ? &t->regions[i] : NULL;
}

bool memblock_is_memory(const struct memblock *mb, u64 addr)
{
    return region_at(&mb->memory, addr) != NULL;
}

bool memblock_is_reserved(const struct memblock *mb, u64 addr)
{
    return region_at(&mb->reserved, addr) != NULL;
}

s32 memblock_nid_of(const struct memblock *mb, u64 addr)
{
    const struct memblock_region *r = region_at(&mb->memory, addr);

    return r ? r->nid : NUMA_NO_NODE;
}

u64 memblock_end_of_dram(const struct memblock *mb)
{
    const struct memblock_type *t = &mb->memory;

    return t->cnt ? t->regions[t->cnt - 1].base + t->regions[t->cnt - 1].size : 0;
}

static void check_type(const struct memblock_type *t, const char *name, struct check_report *r)
{
    u64 total = 0;

    for (u32 i = 0; i < t->cnt; i++) {
        const struct memblock_region *a = &t->regions[i], *p = a - 1;

        total += a->size;
        if (!a->size)
            check_fail(r, "B1 memblock.%s[%u] is empty", name, i);
        if (i && p->base + p->size > a->base)
            check_fail(r, "B1 memblock.%s[%u] starts at %llx before %llx", name, i, (unsigned long long)a->base,
                       (unsigned long long)(p->base + p->size));
        if (i && p->base + p->size == a->base && p->nid == a->nid && p->flags == a->flags)
            check_fail(r, "B2 memblock.%s[%u] continues its neighbour", name, i);
    }
    if (total != t->total_size)
        check_fail(r, "B3 memblock.%s total_size is %llu, recount gives %llu", name, (unsigned long long)t->total_size,
                   (unsigned long long)total);
}

void memblock_check(const struct memblock *mb, struct check_report *r)
{
    check_type(&mb->memory, "memory", r);
    check_type(&mb->reserved, "reserved", r);
}
