/* SPDX-License-Identifier: MIT */
/*
 * The firmware map made usable. What firmware reports may be unsorted and may overlap; the kernel's rule for x86
 * is that the larger type number wins, which is the more restrictive one (RAM < reserved < ACPI data < NVS <
 * unusable < persistent memory).
 *
 *   in    [------ RAM ------]        out   [-RAM-][RSV][-RAM-]
 *               [RSV]
 *
 * Then mem= removes RAM at and above its address, the PC's first page is not RAM (it holds the BIOS's
 * data), RAM is trimmed to whole pages, and RAM without a node gets one: equal shares by address, 32 MiB
 * steps, as numa=fake= makes them.
 */
#include "phys/firmware.h"
#include "base/assert.h"

#define FAKE_NODE_MIN_SIZE (32ul << 20)

bool firmware_is_pc(const struct machine_config *c)
{
    return c->pt_format == PT_X86_32 || c->pt_format == PT_X86_PAE || c->pt_format == PT_X86_64_4L ||
           c->pt_format == PT_X86_64_5L;
}

static u32 collect_edges(const struct machine_config *c, u64 *edge)
{
    u32 n = 0;

    for (u32 i = 0; i < c->nr_ranges; i++) {
        edge[n++] = c->range[i].start;
        edge[n++] = c->range[i].start + c->range[i].size;
    }
    for (u32 i = 1; i < n; i++) {
        u64 e = edge[i];
        u32 k = i;

        for (; k > 0 && edge[k - 1] > e; k--)
            edge[k] = edge[k - 1];
        edge[k] = e;
    }
    return n;
}

/* The range that says what [start, end) is: the most restrictive type; among equal ones the first. NULL: none. */
static const struct mem_range *winner(const struct machine_config *c, u64 start, u64 end)
{
    const struct mem_range *best = NULL;

    for (u32 i = 0; i < c->nr_ranges; i++) {
        const struct mem_range *r = &c->range[i];

        if (r->start <= start && end <= r->start + r->size && (!best || r->type > best->type))
            best = r;
    }
    return best;
}

static void map_append(struct firmware_map *map, struct mem_range r)
{
    struct mem_range *last = map->nr ? &map->range[map->nr - 1] : NULL;

    if (!r.size)
        return;
    if (last && last->start + last->size == r.start && last->type == r.type && last->nid == r.nid &&
        last->hotplug == r.hotplug && last->mirror == r.mirror) {
        last->size += r.size;
        return;
    }
    ASSERT(map->nr < MAX_FIRMWARE_RANGES);
    map->range[map->nr++] = r;
}

static void sort_and_split(const struct machine_config *c, struct firmware_map *map)
{
    u64 edge[2 * MAX_MEM_RANGES];
    u32 n = collect_edges(c, edge);

    for (u32 i = 0; i + 1 < n; i++) {
        const struct mem_range *w = edge[i] < edge[i + 1] ? winner(c, edge[i], edge[i + 1]) : NULL;
        struct mem_range r;

        if (!w)
            continue;
        r = *w;
        r.start = edge[i];
        r.size = edge[i + 1] - edge[i];
        map_append(map, r);
    }
}

/* RAM only: cut at mem=, without the PC's first page, whole pages. */
static void trim_ram(const struct machine_config *c, struct firmware_map *map)
{
    u64 first = firmware_is_pc(c) ? PAGE_SIZE : 0, limit = c->mem_limit ? c->mem_limit : ~(u64)0;
    u32 kept = 0;

    for (u32 i = 0; i < map->nr; i++) {
        struct mem_range r = map->range[i];
        u64 start = r.start, end = r.start + r.size;

        if (r.type == E820_RAM) {
            start = ALIGN_UP(MAX(start, first), PAGE_SIZE);
            end = ALIGN_DOWN(MIN(end, limit), PAGE_SIZE);
        }
        if (start >= end)
            continue;
        r.start = start;
        r.size = end - start;
        map->range[kept++] = r;
    }
    map->nr = kept;
}

/* Give RAM without a node one: node i gets the i-th share. A range that crosses a share's end is split. */
static void assign_nodes(const struct machine_config *c, struct firmware_map *map)
{
    struct firmware_map in = *map;
    u32 nr_nodes = c->nr_nodes ? c->nr_nodes : 1, nid = 0;
    u64 total = 0, share, left;

    for (u32 i = 0; i < in.nr; i++)
        if (in.range[i].type == E820_RAM && in.range[i].nid < 0)
            total += in.range[i].size;
    share = ALIGN_UP(total / nr_nodes, FAKE_NODE_MIN_SIZE);
    left = share;
    map->nr = 0;
    for (u32 i = 0; i < in.nr; i++) {
        struct mem_range r = in.range[i];

        while (r.type == E820_RAM && in.range[i].nid < 0 && r.size) {
            struct mem_range part = r;

            part.size = nid + 1 < nr_nodes ? MIN(r.size, left) : r.size;
            part.nid = (s16)nid;
            map_append(map, part);
            r.start += part.size;
            r.size -= part.size;
            left -= MIN(left, part.size);
            if (!left && nid + 1 < nr_nodes) {
                nid++;
                left = share;
            }
        }
        map_append(map, r);
    }
}

void firmware_sanitise(const struct machine_config *c, struct firmware_map *map)
{
    map->nr = 0;
    sort_and_split(c, map);
    trim_ram(c, map);
    assign_nodes(c, map);
}

u64 firmware_ram_end(const struct machine_config *c)
{
    struct firmware_map map;
    u64 end = 0;

    firmware_sanitise(c, &map);
    for (u32 i = 0; i < map.nr; i++)
        if (map.range[i].type == E820_RAM)
            end = MAX(end, map.range[i].start + map.range[i].size);
    return end;
}
