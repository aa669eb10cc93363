/* SPDX-License-Identifier: MIT */
/* The firmware's memory map of a machine_config, made usable: sorted, without overlaps, cut at mem=. */
#ifndef QUIRE_PHYS_FIRMWARE_H
#define QUIRE_PHYS_FIRMWARE_H

#include "base/config.h"

#define MAX_FIRMWARE_RANGES (2 * MAX_MEM_RANGES + MAX_NODES)

struct firmware_map {
    u32 nr;
    struct mem_range range[MAX_FIRMWARE_RANGES]; /* ascending; every RAM range has a node */
};

void firmware_sanitise(const struct machine_config *c, struct firmware_map *map);
/* Bytes up to the end of the highest RAM range, after mem=: what the direct map must span. */
u64 firmware_ram_end(const struct machine_config *c);
/* Does the format's firmware leave its data in the first MiB? */
bool firmware_is_pc(const struct machine_config *c);

#endif
