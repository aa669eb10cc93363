/* SPDX-License-Identifier: MIT */
/*
 * The one place where a low floor calls up: memory pressure. The buddy allocator's slow path asks reclaim, compaction
 * and the OOM killer through this table, which the executing program supplies as cpu->code->pressure. pressure_none
 * answers "no progress" to everything.
 */
#ifndef QUIRE_PHYS_PRESSURE_H
#define QUIRE_PHYS_PRESSURE_H

#include "phys/gfp.h"
#include "phys/page.h"

struct alloc_context;
struct zone;

enum compact_result { COMPACT_SKIPPED, COMPACT_DEFERRED, COMPACT_NO_SUITABLE_PAGE, COMPACT_SUCCESS };

struct pressure_ops {
    void (*wake_kswapd)(struct cpu *cpu, struct zone *zone, gfp_t gfp, unsigned int order, u32 highest_zoneidx);
    /* Pages reclaimed. */
    u64 (*direct_reclaim)(struct cpu *cpu, gfp_t gfp, unsigned int order, const struct alloc_context *ac);
    enum compact_result (*direct_compact)(struct cpu *cpu, gfp_t gfp, unsigned int order,
                                          const struct alloc_context *ac);
    /* True: something was killed or is being killed, try again. */
    bool (*out_of_memory)(struct cpu *cpu, gfp_t gfp, unsigned int order, const struct alloc_context *ac);
    /* Node reclaim before falling back to another node; pages reclaimed. */
    u64 (*node_reclaim)(struct cpu *cpu, struct zone *zone, gfp_t gfp, unsigned int order);
};

extern const struct pressure_ops pressure_none;

#endif
