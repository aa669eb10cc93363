/* SPDX-License-Identifier: MIT */
/* A machine's region: where it lies and how it is cut. region.c has the drawing. */
#ifndef QUIRE_MACHINE_REGION_H
#define QUIRE_MACHINE_REGION_H

#include "base/machine.h"

/* Byte offsets in the region; `size` is its whole length. */
struct region_layout {
    u64 hw, hw_end;
    u64 vmemmap; /* 0: FLATMEM */
    u64 ram;
    u64 ram_span;
    u64 size;
};

struct region_layout region_layout(const struct machine_config *c);

/* An x86-64 server: 4 GiB, one node, two CPUs, Linux's defaults for every sysctl (config_default.c). */
void machine_config_default(struct machine_config *c);
/* The firmware map, nodes and distances that follow from c's mem_bytes, pt_format, nr_nodes and nr_cpus. */
void machine_config_layout(struct machine_config *c);

/* Region laid out at `addr` (NULL: chosen), machine header, CPUs, MMUs; no floor initialised yet. ERR_PTR(-errno). */
struct machine *machine_create(const struct machine_config *c, void *addr);
/*
 * Is what lies at `m`, `bytes` long, a region that machine_create() laid out and the floors booted: its places as its
 * configuration says, whatever the header points to inside of it? Follows no pointer that it has not held against the
 * region. For images that came from elsewhere; false says nothing about what lies deeper.
 */
bool machine_header_is_sound(const struct machine *m, u64 bytes);
/* Unmap it here; other processes keep it. */
void machine_detach(struct machine *m);
void machine_destroy(struct machine *m);

#endif
