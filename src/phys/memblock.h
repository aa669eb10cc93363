/* SPDX-License-Identifier: MIT */
/* The early allocator: which physical memory exists and which is taken (Documentation/core-api/boot-time-mm.rst). */
#ifndef QUIRE_PHYS_MEMBLOCK_H
#define QUIRE_PHYS_MEMBLOCK_H

#include "base/check.h"
#include "base/machine.h"
#include "base/types.h"

#define INIT_MEMBLOCK_REGIONS 128
#define NUMA_NO_NODE (-1)
#define MEMBLOCK_ALLOC_ANYWHERE (~(u64)0)

enum memblock_flags {
    MEMBLOCK_NONE = 0,
    MEMBLOCK_HOTPLUG = 1u << 0,
    MEMBLOCK_MIRROR = 1u << 1,
    MEMBLOCK_NOMAP = 1u << 2
};

struct memblock_region {
    u64 base, size;
    u32 flags;
    s32 nid;
};

struct memblock_type {
    u32 cnt, max;
    u64 total_size;
    struct memblock_region *regions; /* ascending, not empty, no overlap, no two that could be one */
};

struct memblock {
    struct machine *m;
    bool bottom_up;    /* search direction of allocations; default: from the top */
    bool dirty;        /* something was freed: its bytes may be in use again and are not zero */
    u64 current_limit; /* allocations end below */
    struct memblock_type memory, reserved;
    struct memblock_region init_memory[INIT_MEMBLOCK_REGIONS], init_reserved[INIT_MEMBLOCK_REGIONS];
};

void memblock_init(struct memblock *mb, struct machine *m);

/* 0, or -ENOMEM when a region array had to grow and could not. Ranges are bytes. */
int memblock_add_node(struct memblock *mb, u64 base, u64 size, s32 nid, u32 flags);
int memblock_remove(struct memblock *mb, u64 base, u64 size);
int memblock_reserve(struct memblock *mb, u64 base, u64 size);
int memblock_phys_free(struct memblock *mb, u64 base, u64 size);
int memblock_set_node(struct memblock *mb, u64 base, u64 size, s32 nid);
int memblock_mark(struct memblock *mb, u64 base, u64 size, enum memblock_flags flag);
int memblock_clear(struct memblock *mb, u64 base, u64 size, enum memblock_flags flag);

/* A free range of `size` in [start, end), of node nid (NUMA_NO_NODE: any); 0: none. Nothing is reserved. */
u64 memblock_find_in_range_node(struct memblock *mb, u64 size, u64 align, u64 start, u64 end, s32 nid);
/* Reserve such a range; falls back to other nodes unless `exact_nid`. 0: no memory. */
u64 memblock_phys_alloc_nid(struct memblock *mb, u64 size, u64 align, s32 nid, bool exact_nid);
/* The same, zeroed, by its address in the direct map; NULL: no memory. */
void *memblock_alloc_nid(struct memblock *mb, u64 size, u64 align, s32 nid);

bool memblock_is_memory(const struct memblock *mb, u64 addr);
bool memblock_is_reserved(const struct memblock *mb, u64 addr);
u64 memblock_end_of_dram(const struct memblock *mb);
s32 memblock_nid_of(const struct memblock *mb, u64 addr); /* of memory at addr; NUMA_NO_NODE: none there */

/*
 * Walk memory minus reserved, ascending (next) or descending (prev), of node nid or any. *idx starts at 0 (next) or ~0
 * (prev) and ends as MEMBLOCK_ITER_END; regions that lack a flag of `want` are left out.
 */
#define MEMBLOCK_ITER_END (~(u64)0 - 1)
struct memblock_range {
    u64 start, end;
    s32 nid;
};
void memblock_next_free(const struct memblock *mb, u64 *idx, s32 nid, u32 want, struct memblock_range *out);
void memblock_prev_free(const struct memblock *mb, u64 *idx, s32 nid, u32 want, struct memblock_range *out);

void memblock_check(const struct memblock *mb, struct check_report *r);

#endif
