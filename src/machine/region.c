/* SPDX-License-Identifier: MIT */
/*
 * The region of a machine: one sparse shared mapping at one address in every process that works on the machine.
 *
 *   0               hw                    vmemmap                ram                                size
 *   ├───────────────┼─────────────────────┼──────────────────────┼──────────────────────────────────┤
 *   │ struct machine│ hardware area       │ vmemmap window       │ RAM: ram_span bytes              │
 *   └───────────────┴─────────────────────┴──────────────────────┴──────────────────────────────────┘
 *                    bump allocator,       64 bytes per frame,    frame at physical address 0 first,
 *                    boot only             SPARSEMEM_VMEMMAP      holes of the firmware map are never touched
 *
 * Terms. ram_span: end of the highest range of usable memory, hot-pluggable ranges included.
 *
 * Invariants
 *   R1  region <= hw <= hw_next <= hw_end <= vmemmap <= ram, and ram + ram_span == end of the region.
 *   R2  ram is 1 GiB aligned: a huge page of the machine is huge-page aligned in the host too.
 *   R3  the host pays for what is touched: nothing here writes more than the header, the CPUs and struct hw.
 *
 * Where it lies. Slots of 2 TiB from 32 TiB upwards: above what qemu-user gives x86-64 guests (it starts at 256 GiB)
 * and what AddressSanitizer uses as shadow (up to 16 TiB), below the host's own libraries and stacks (85 TiB and up).
 * ThreadSanitizer allows only the first 512 GiB there: slots of 16 GiB from 64 GiB. A machine of more than one slot
 * takes as many as it needs: whoever finds its address taken tries the next.
 *
 * Rejected: an address chosen by mmap(). The other processes need the same one,
 * and what is free here is not free there.
 */
#include "machine/region.h"

#include "base/errno.h"
#include "machine/hw.h"
#include "phys/phys.h"
#include "port/port.h"

#ifdef QUIRE_TSAN
#define REGION_FIRST 0x1000000000ull
#define REGION_SLOT 0x400000000ull
#define REGION_END 0x8000000000ull
#else
#define REGION_FIRST 0x200000000000ull
#define REGION_SLOT 0x20000000000ull
#define REGION_END 0x540000000000ull
#endif

#define MIB(n) ((u64)(n) << 20)
#define GIB(n) ((u64)(n) << 30)

static u64 ram_span(const struct machine_config *c)
{
    u64 end = 0;

    for (u32 i = 0; i < c->nr_ranges; i++) {
        const struct mem_range *r = &c->range[i];

        if (r->type == E820_RAM || r->type == E820_PMEM || r->hotplug)
            end = MAX(end, r->start + r->size);
    }
    return ALIGN_UP(end, MIB(4));
}

/*
 * How far into its hardware area a machine begins. Machines that see every event together touch the same parts of their
 * hardware areas one after the other. Were those a multiple of 2^28 bytes apart, AMD's CPUs would find one of the two in
 * the first-level data cache at a time (its way predictor hashes bits 12..27 of the address), and loads would wait for
 * stores of the other machine, whose address has the same low 12 bits.
 */
#define NR_COLOURS 16u
#define COLOUR_BYTES (PAGE_SIZE + 5 * 64)

static u64 colour_offset(const void *region)
{
    return (u64)(uintptr_t)region / REGION_SLOT % NR_COLOURS * COLOUR_BYTES;
}

/* 16 MiB for the floors' own tables, 1 KiB for each MiB of RAM (section and pageblock maps), and each CPU's share. */
static u64 hw_area_size(const struct machine_config *c, u64 span)
{
    u64 per_cpu = ALIGN_UP(sizeof(struct cpu), 64) + hw_mmu_bytes(c) + MIB(1) / 4;

    return ALIGN_UP(MIB(16) + NR_COLOURS * COLOUR_BYTES + (span >> 10) + per_cpu * c->nr_cpus, MIB(2));
}

struct region_layout region_layout(const struct machine_config *c)
{
    struct region_layout l = {.hw = ALIGN_UP(sizeof(struct machine), PAGE_SIZE)};
    u64 next;

    l.ram_span = ram_span(c);
    l.hw_end = ALIGN_UP(l.hw + hw_area_size(c, l.ram_span), MIB(2));
    next = l.hw_end;
    if (c->memory_model == MEMORY_SPARSEMEM_VMEMMAP) {
        l.vmemmap = next;
        next += ALIGN_UP((l.ram_span >> PAGE_SHIFT) * 64, MIB(2));
    }
    l.ram = ALIGN_UP(next, GIB(1));
    l.size = l.ram + l.ram_span;
    return l;
}

/* 0 and *addr; -EEXIST: every slot is taken. */
static int region_map(const struct machine_config *c, u64 size, void **addr, int *handle)
{
    int err = -EEXIST;

    if (*addr)
        return port_region_create(c->name, *addr, size, handle);
    for (u64 a = REGION_FIRST; a + size <= REGION_END; a += REGION_SLOT) {
        *addr = (void *)(uintptr_t)a;
        err = port_region_create(c->name, *addr, size, handle);
        if (err != -EEXIST)
            break;
    }
    return err;
}

static void init_cpus(struct machine *m)
{
    m->nr_cpus = m->config.nr_cpus;
    m->cpus = machine_hw_alloc(m, sizeof(struct cpu) * m->nr_cpus, 64);
    for (u32 i = 0; i < m->nr_cpus; i++) {
        m->cpus[i].m = m;
        m->cpus[i].id = i;
        m->cpus[i].node = m->config.cpu_node[i];
    }
}

struct machine *machine_create(const struct machine_config *c, void *addr)
{
    struct region_layout l = region_layout(c);
    struct machine *m;
    int handle = -1;
    int err = region_map(c, l.size, &addr, &handle);

    if (err)
        return ERR_PTR(err);
    m = addr;
    m->magic = MACHINE_MAGIC;
    m->version = MACHINE_VERSION;
    m->handle = handle;
    m->region = m;
    m->region_size = l.size;
    m->hw_next = (char *)m + l.hw + colour_offset(m);
    m->hw_end = (char *)m + l.hw_end;
    m->vmemmap = l.vmemmap ? (char *)m + l.vmemmap : NULL;
    m->ram = (char *)m + l.ram;
    m->ram_span = l.ram_span;
    m->config = *c;
    init_cpus(m);
    hw_init(m);
    return m;
}

/* -- is it one? ---------------------------------------------------------------------------------------------------- */

/* R1, and the layout that the configuration gives. */
static bool is_laid_out(const struct machine *m, u64 bytes)
{
    const char *region = (const char *)m;
    struct region_layout l;

    if (m->magic != MACHINE_MAGIC || m->version != MACHINE_VERSION || m->region != m || m->region_size != bytes)
        return false;
    if (m->config.nr_ranges > MAX_MEM_RANGES || m->config.pt_format >= NR_PT_FORMATS || !m->config.nr_cpus ||
        m->config.nr_cpus > MAX_CPUS || !m->config.nr_nodes || m->config.nr_nodes > MAX_NODES)
        return false;
    l = region_layout(&m->config);
    return l.size == bytes && m->hw_end == region + l.hw_end && m->ram == region + l.ram && m->ram_span == l.ram_span &&
           m->vmemmap == (l.vmemmap ? region + l.vmemmap : NULL);
}

/* [p, p + bytes) in the machine's memory, the hardware area included, and fit for a struct. */
static bool holds(const struct machine *m, const void *p, u64 bytes)
{
    u64 at = (u64)(uintptr_t)p - (u64)(uintptr_t)m;

    return (uintptr_t)p % 8 == 0 && at < m->region_size && bytes <= m->region_size - at;
}

/* Shown where the memmap's window is, and of RAM: port_region_alias() replaces whatever is there. */
static bool alias_is_sound(const struct machine *m, const struct vmemmap_alias *a)
{
    u64 dst = (u64)(a->dst - m->vmemmap), src = (u64)(a->src - m->ram), room = (u64)(m->ram - m->vmemmap);

    return (dst | src | a->len) % PAGE_SIZE == 0 && a->len && a->len <= room && dst <= room - a->len &&
           a->len <= m->ram_span && src <= m->ram_span - a->len;
}

bool machine_header_is_sound(const struct machine *m, u64 bytes)
{
    if (bytes < sizeof(*m) || !is_laid_out(m, bytes))
        return false;
    if (m->nr_cpus != m->config.nr_cpus || (uintptr_t)m->cpus % 64 ||
        !holds(m, m->cpus, sizeof(*m->cpus) * m->nr_cpus) || !holds(m, m->hw, sizeof(*m->hw)) ||
        m->hw->mmu_bytes != hw_mmu_bytes(&m->config) || (uintptr_t)m->hw->mmus % 64 ||
        !holds(m, m->hw->mmus, m->hw->mmu_bytes * m->nr_cpus))
        return false;
    for (u32 i = 0; i < m->nr_cpus; i++)
        if (m->cpus[i].m != m || m->cpus[i].id != i)
            return false;
    if (!holds(m, m->kmem, 8) || !holds(m, m->vm, 8) || !holds(m, m->cache, 8) ||
        !holds(m, m->phys, sizeof(*m->phys)) || m->phys->nr_node_ids > MAX_NODES ||
        m->phys->nr_aliases > MAX_VMEMMAP_ALIASES || (m->phys->nr_aliases && !m->vmemmap))
        return false;
    for (u32 i = 0; i < m->phys->nr_aliases; i++)
        if (!alias_is_sound(m, &m->phys->aliases[i]))
            return false;
    return true;
}

void machine_detach(struct machine *m)
{
    port_region_unmap(m->region, m->region_size);
}

void machine_destroy(struct machine *m)
{
    int handle = m->handle;

    m->magic = 0;
    machine_detach(m);
    port_region_close(handle);
}
