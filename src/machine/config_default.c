/* SPDX-License-Identifier: MIT */
/*
 * The machine that is modelled when nothing is said, and the firmware map that follows from a size.
 *
 * Sysctl defaults: Documentation/admin-guide/sysctl/vm.rst and kernel.rst of 6.x kernels.
 *
 * TLBs: Intel Golden Cove (Sapphire Rapids servers), Intel 64 and IA-32 Optimization Reference Manual, "Golden Cove
 * microarchitecture":
 *   L1 DTLB       for loads 96 entries 6-way for 4K, 32 entries 4-way for 2M/4M, 8 entries for 1G
 *   L1 ITLB       256 entries 8-way for 4K, 32 entries 8-way for 2M/4M
 *   second level  2048 entries 16-way for 4K and 2M, of which 1024 8-way serve 1G
 * Page-walk caches: sizes are not published; 32 entries (4-way) to level-1 tables, 4 and 2 to the upper ones as
 * measured for earlier Intel cores by Barr, Cox and Rixner, "Translation caching: skip, don't walk (the page table)",
 * ISCA 2010, and by van Schaik et al., "RevAnC", EuroSec 2017.
 * ASIDs: Linux keeps 6 per CPU (TLB_NR_DYN_ASIDS).
 *
 * Firmware maps:
 *   x86    0 ... 640K RAM │ EBDA, video, ROM │ 1M ... 3G RAM │ devices │ 4G ... RAM
 *          as QEMU's q35 and many servers report
 *   arm64  1G ... RAM, as QEMU's "virt" machine has it
 *   riscv  2G ... RAM, likewise
 * Several nodes get equal shares in address order, cut at multiples of 128 MiB (small machines: 4 MiB).
 */
#include "machine/region.h"

#define KIB(n) ((u64)(n) << 10)
#define MIB(n) ((u64)(n) << 20)
#define GIB(n) ((u64)(n) << 30)

#define X86_HOLE_START GIB(3)
#define X86_HOLE_END GIB(4)
#define LOCAL_DISTANCE 10 /* ACPI SLIT */
#define REMOTE_DISTANCE 20

static void add_range(struct machine_config *c, u64 start, u64 size, enum e820_type type, int nid)
{
    if (!size || c->nr_ranges == MAX_MEM_RANGES)
        return;
    c->range[c->nr_ranges++] = (struct mem_range){.start = start, .size = size, .type = (u16)type, .nid = (s16)nid};
}

/* The share of node `nid` ends here, in bytes of RAM counted from the first. */
static u64 share_end(const struct machine_config *c, u32 nid)
{
    u64 grain = c->mem_bytes >= (u64)c->nr_nodes * MIB(128) ? MIB(128) : MIB(4);

    if (nid + 1 >= c->nr_nodes)
        return c->mem_bytes;
    return ALIGN_DOWN(c->mem_bytes / c->nr_nodes * (nid + 1), grain);
}

/* `size` bytes of RAM at `start`, `done` bytes of RAM lie before it: one range for each node that has a share of it. */
static void add_ram(struct machine_config *c, u64 start, u64 size, u64 done)
{
    for (u32 nid = 0; nid < c->nr_nodes && size; nid++) {
        u64 end = share_end(c, nid);
        u64 part = end > done ? MIN(size, end - done) : 0;

        add_range(c, start, part, E820_RAM, c->nr_nodes > 1 ? (int)nid : -1);
        start += part;
        size -= part;
        done += part;
    }
}

static void layout_x86(struct machine_config *c)
{
    u64 low = MIN(c->mem_bytes, X86_HOLE_START);

    add_ram(c, 0, KIB(639), 0);
    add_range(c, KIB(639), KIB(1), E820_RESERVED, -1);
    add_range(c, KIB(960), KIB(64), E820_RESERVED, -1);
    if (low > MIB(1))
        add_ram(c, MIB(1), low - MIB(1), MIB(1));
    if (c->mem_bytes > low)
        add_ram(c, X86_HOLE_END, c->mem_bytes - low, low);
}

static void layout_nodes(struct machine_config *c)
{
    for (u32 i = 0; i < c->nr_nodes; i++)
        for (u32 j = 0; j < c->nr_nodes; j++)
            c->node_distance[i][j] = i == j ? LOCAL_DISTANCE : REMOTE_DISTANCE;
    for (u32 i = 0; i < c->nr_cpus && i < MAX_CPUS; i++)
        c->cpu_node[i] = (s16)((u64)i * c->nr_nodes / c->nr_cpus);
}

void machine_config_layout(struct machine_config *c)
{
    c->nr_ranges = 0;
    switch (c->pt_format) {
    case PT_ARM64_4K:
        add_ram(c, GIB(1), c->mem_bytes, 0);
        break;
    case PT_RISCV_SV39:
    case PT_RISCV_SV48:
    case PT_RISCV_SV57:
        add_ram(c, GIB(2), c->mem_bytes, 0);
        break;
    default:
        layout_x86(c);
    }
    layout_nodes(c);
}

static void default_sysctls(struct machine_config *c)
{
    static const u32 lowmem_reserve[6] = {256, 256, 32, 0, 0, 0}; /* DMA, DMA32, NORMAL, HIGHMEM, MOVABLE, DEVICE */

    c->watermark_scale_factor = 10;
    c->watermark_boost_factor = 15000;
    for (u32 i = 0; i < 6; i++)
        c->lowmem_reserve_ratio[i] = lowmem_reserve[i];
    c->overcommit_ratio = 50;
    c->admin_reserve_kbytes = 8192;
    c->user_reserve_kbytes = 131072;
    c->max_map_count = 65530;
    c->shmmax = c->shmall = ~0ull - (1ul << 24);
    c->shmmni = 4096;
    c->mmap_min_addr = 65536;
    c->lsm_mmap_min_addr = 65536;
    c->stack_guard_gap = 256;
    c->fault_around_bytes = 65536;
    c->randomize_va_space = 2;
}

static void default_tlb(struct tlb_config *t)
{
    *t = (struct tlb_config){
        .l1d_4k = {16, 6},
        .l1d_2m = {8, 4},
        .l1d_1g = {1, 8},
        .l1i_4k = {32, 8},
        .l1i_2m = {4, 8},
        .l2 = {128, 16},
        .l2_1g = {128, 8},
        .pwc = {{8, 4}, {1, 4}, {1, 2}},
        .nr_asids = 6,
        .flush_ceiling = 33,
    };
}

void machine_config_default(struct machine_config *c)
{
    static const u64 cost_ps[NR_COSTS] = {
#define X(id, key, ps, cause, source) [id] = ps,
        COSTS(X)
#undef X
    };

    *c = (struct machine_config){
        .name = "default",
        .pt_format = PT_X86_64_4L,
        .memory_model = MEMORY_SPARSEMEM_VMEMMAP,
        .content = CONTENT_NONE,
        .nr_cpus = 2,
        .nr_nodes = 1,
        .mem_bytes = GIB(4),
    };
    default_sysctls(c);
    default_tlb(&c->tlb);
    for (u32 i = 0; i < NR_COSTS; i++)
        c->cost_ps[i] = cost_ps[i];
    machine_config_layout(c);
}
