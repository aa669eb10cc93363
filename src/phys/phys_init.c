/* SPDX-License-Identifier: MIT */
/*
 * Boot of the physical floor: firmware map → memblock → memmap → nodes and zones → zonelists → hand-over → watermarks.
 *
 * Zone limits by architecture (Documentation/mm/physical_memory.rst and each architecture's memory map):
 *
 *              DMA        DMA32      NORMAL     HIGHMEM
 *   x86 32     0-16M      -          16M-896M   896M-
 *   x86 64     0-16M      16M-4G     4G-        -
 *   arm64      0-4G       -          4G-        -           (a server: every device reaches 32 bits)
 *   riscv64    -          0-4G       4G-        -
 *
 * On a PC the first MiB is reserved, as x86 kernels do; the first page is not RAM (firmware.c). No frames are reserved
 * for a kernel image: the machine's manager is this library, whose code is not in its memory.
 *
 * What the kernel has in its data segment (struct phys) is in the hardware area; nodes, per-cpu arrays and the memmap
 * are memblock allocations in the machine's RAM and show up as the difference of present and managed pages.
 */
#include "phys/firmware.h"
#include "phys/phys_priv.h"

#define MIB(n) ((u64)(n) << 20)
#define LOW_RESERVED_BYTES MIB(1)

/* First pfn above each zone that the format can have. */
static const u64 zone_limit_mib[NR_PT_FORMATS][ZONE_HIGHMEM + 1] = {
    [PT_X86_32] = {16, 16, 896, ~0ul >> 20},     [PT_X86_PAE] = {16, 16, 896, ~0ul >> 20},
    [PT_X86_64_4L] = {16, 4096, ~0ul >> 20, 0},  [PT_X86_64_5L] = {16, 4096, ~0ul >> 20, 0},
    [PT_ARM64_4K] = {4096, 4096, ~0ul >> 20, 0}, [PT_RISCV_SV39] = {0, 4096, ~0ul >> 20, 0},
    [PT_RISCV_SV48] = {0, 4096, ~0ul >> 20, 0},  [PT_RISCV_SV57] = {0, 4096, ~0ul >> 20, 0},
};

static int memory_setup(struct machine *m)
{
    struct memblock *mb = &m->phys->memblock;
    struct firmware_map map;

    memblock_init(mb, m);
    firmware_sanitise(&m->config, &map);
    for (u32 i = 0; i < map.nr; i++) {
        const struct mem_range *r = &map.range[i];
        u32 flags = (r->hotplug ? MEMBLOCK_HOTPLUG : 0u) | (r->mirror ? MEMBLOCK_MIRROR : 0u);

        if (r->type != E820_RAM)
            continue;
        ASSERT(r->nid >= 0 && r->nid < MAX_NODES && r->start + r->size <= m->ram_span);
        if (memblock_add_node(mb, r->start, r->size, r->nid, flags))
            return -ENOMEM;
    }
    if (firmware_is_pc(&m->config) && memblock_reserve(mb, 0, LOW_RESERVED_BYTES))
        return -ENOMEM;
    m->phys->max_pfn = memblock_end_of_dram(mb) >> PAGE_SHIFT;
    m->phys->nr_blocks = DIV_ROUND_UP(m->phys->max_pfn, MAX_ORDER_NR_PAGES);
    return m->phys->max_pfn ? 0 : -EINVAL;
}

/* Spans and present pages of one zone within its node, from memblock. */
static void zone_size(const struct machine *m, struct zone *zone, u64 low, u64 high)
{
    const struct memblock_type *mem = &m->phys->memblock.memory;
    u64 end = 0;

    for (u32 i = 0; i < mem->cnt; i++) {
        const struct memblock_region *r = &mem->regions[i];
        u64 s = MAX(r->base >> PAGE_SHIFT, low), e = MIN((r->base + r->size) >> PAGE_SHIFT, high);

        if (r->nid != zone->node || s >= e)
            continue;
        if (!zone->present_pages)
            zone->zone_start_pfn = s;
        zone->present_pages += e - s;
        end = e;
    }
    if (zone->present_pages)
        zone->spanned_pages = end - zone->zone_start_pfn;
}

static int zone_init(struct machine *m, struct pglist_data *pgdat, u32 idx, u64 low, u64 high)
{
    struct zone *zone = &pgdat->node_zones[idx];
    struct phys *p = m->phys;

    zone->zone_pgdat = pgdat;
    zone->zone_idx = (u8)idx;
    zone->node = pgdat->node_id;
    spin_lock_init(&zone->lock, RANK_ZONE);
    for (u32 order = 0; order < NR_PAGE_ORDERS; order++)
        for (u32 mt = 0; mt < MIGRATE_TYPES; mt++)
            INIT_LIST_HEAD(&zone->free_area[order].free_list[mt]);
    p->zone_table[(u32)pgdat->node_id * (ZONES_MASK + 1) + idx] = zone;
    zone_size(m, zone, low, high);
    if (!populated_zone(zone))
        return 0;
    pgdat->nr_zones = idx + 1;
    zone->pcp = memblock_alloc_nid(&p->memblock, m->nr_cpus * sizeof(*zone->pcp), 64, pgdat->node_id);
    if (!zone->pcp)
        return -ENOMEM;
    for (u32 i = 0; i < m->nr_cpus; i++)
        pcp_init(&zone->pcp[i]);
    return 0;
}

static void node_span(struct pglist_data *pgdat)
{
    u64 end = 0;

    for (u32 z = 0; z < MAX_NR_ZONES; z++) {
        struct zone *zone = &pgdat->node_zones[z];

        if (!populated_zone(zone))
            continue;
        if (!pgdat->node_present_pages)
            pgdat->node_start_pfn = zone->zone_start_pfn;
        pgdat->node_present_pages += zone->present_pages;
        end = zone_end_pfn(zone);
    }
    pgdat->node_spanned_pages = end - pgdat->node_start_pfn;
}

static int node_init(struct machine *m, s32 nid)
{
    struct phys *p = m->phys;
    struct memblock *mb = &p->memblock;
    struct pglist_data *pgdat = memblock_alloc_nid(mb, sizeof(*pgdat), 64, nid);
    u64 low = 0;

    if (!pgdat)
        return -ENOMEM;
    pgdat->node_id = nid;
    spin_lock_init(&pgdat->lruvec.lru_lock, RANK_LRU);
    for (u32 l = 0; l < NR_LRU_LISTS; l++)
        INIT_LIST_HEAD(&pgdat->lruvec.lists[l]);
    pgdat->per_cpu = memblock_alloc_nid(mb, m->nr_cpus * sizeof(*pgdat->per_cpu), 64, nid);
    for (u32 i = 0; i < MAX_ZONELISTS; i++)
        pgdat->node_zonelists[i] = memblock_alloc_nid(mb, sizeof(struct zonelist), 64, nid);
    if (!pgdat->per_cpu || !pgdat->node_zonelists[0] || !pgdat->node_zonelists[1])
        return -ENOMEM;
    p->node_data[nid] = pgdat;
    for (u32 z = 0; z < MAX_NR_ZONES; z++) {
        u64 mib = z <= ZONE_HIGHMEM ? zone_limit_mib[m->config.pt_format][z] : 0;
        u64 high = MAX(mib << (20 - PAGE_SHIFT), low);

        if (zone_init(m, pgdat, z, low, high))
            return -ENOMEM;
        low = high;
    }
    node_span(pgdat);
    return 0;
}

/* A node that has memory or CPUs. */
static bool node_is_used(const struct machine *m, s32 nid)
{
    const struct memblock_type *mem = &m->phys->memblock.memory;

    for (u32 i = 0; i < mem->cnt; i++)
        if (mem->regions[i].nid == nid)
            return true;
    for (u32 i = 0; i < m->nr_cpus; i++)
        if (m->cpus[i].node == nid)
            return true;
    return false;
}

static int nodes_init(struct machine *m)
{
    struct phys *p = m->phys;

    for (s32 nid = 0; nid < MAX_NODES; nid++) {
        if (!node_is_used(m, nid))
            continue;
        p->nr_node_ids = (u32)nid + 1;
        if (node_init(m, nid))
            return -ENOMEM;
    }
    p->lru_batches = memblock_alloc_nid(&p->memblock, m->nr_cpus * sizeof(*p->lru_batches), 64, 0);
    return p->lru_batches ? 0 : -ENOMEM;
}

/* -- zonelists ----------------------------------------------------------------------------------------------------- */

static u32 node_distance(const struct machine *m, s32 a, s32 b)
{
    u8 d = m->config.node_distance[a][b];

    return d ? d : a == b ? 10 : 20; /* the ACPI SLIT's values for local and remote */
}

static bool node_has_cpu(const struct machine *m, s32 nid)
{
    for (u32 i = 0; i < m->nr_cpus; i++)
        if (m->cpus[i].node == nid)
            return true;
    return false;
}

/*
 * The nearest node not used yet, itself first. Among equally near ones: nodes behind us before nodes in front, so that
 * not everybody falls back to node 0; nodes without CPUs before nodes with; then the one that fewer nodes have chosen.
 */
static s32 find_next_best_node(const struct machine *m, s32 node, u64 *used, const u32 *load)
{
    u64 best_value = ~(u64)0;
    s32 best = -1, n;

    if (!(*used >> node & 1)) {
        *used |= BIT(node);
        return node;
    }
    for_each_online_node(m->phys, n)
    {
        u64 value;

        if (*used >> n & 1)
            continue;
        value = node_distance(m, node, n) + (n < node) + node_has_cpu(m, n);
        value = value * MAX_NODES * MAX_NODES + load[n];
        if (value < best_value) {
            best_value = value;
            best = n;
        }
    }
    if (best >= 0)
        *used |= BIT(best);
    return best;
}

static struct zoneref *add_node_zones(struct machine *m, struct zoneref *ref, s32 nid)
{
    for (u32 z = MAX_NR_ZONES; z-- > 0;) {
        struct zone *zone = &NODE_DATA(m, nid)->node_zones[z];

        if (populated_zone(zone))
            *ref++ = (struct zoneref){zone, z};
    }
    return ref;
}

static void build_zonelists(struct machine *m, s32 node, u32 *load)
{
    struct pglist_data *pgdat = NODE_DATA(m, node);
    struct zoneref *ref = pgdat->node_zonelists[ZONELIST_FALLBACK]->_zonerefs;
    s32 prev = node, n;
    u64 used = 0;

    while ((n = find_next_best_node(m, node, &used, load)) >= 0) {
        if (node_distance(m, node, n) != node_distance(m, node, prev))
            load[n]++; /* the first of a distance group carries the load */
        prev = n;
        ref = add_node_zones(m, ref, n);
    }
    add_node_zones(m, pgdat->node_zonelists[ZONELIST_NOFALLBACK]->_zonerefs, node);
    for (u32 z = 0; z < MAX_NR_ZONES; z++)
        pgdat->first_zone[z] =
            first_zones_zonelist(pgdat->node_zonelists[ZONELIST_FALLBACK], (enum zone_type)z, NULL)->zone;
}

static void build_all_zonelists(struct machine *m)
{
    u32 load[MAX_NODES] = {0};
    s32 nid;

    for_each_online_node(m->phys, nid) build_zonelists(m, nid, load);
}

int phys_init(struct cpu *cpu)
{
    struct machine *m = cpu->m;
    int err;

    m->phys = machine_hw_alloc(m, sizeof(*m->phys), 64);
    err = memory_setup(m);
    if (!err)
        err = memmodel_init(cpu);
    if (!err)
        err = nodes_init(m);
    if (err)
        return err;
    build_all_zonelists(m);
    err = memmap_hand_over(cpu);
    if (err)
        return err;
    return init_per_zone_wmark_min(m);
}
