/* SPDX-License-Identifier: MIT */
/*
 * Machines that cannot be. Each rule says what is wrong and what would be right; the first that is broken is reported.
 * Values that have the wrong form never come here: the table of keys refuses them.
 */
#include "base/errno.h"
#include "machine/config.h"

#define MIB(n) ((u64)(n) << 20)
#define MIN_NODE_BYTES MIB(16)

/* Physical address bits: Intel SDM vol. 3 4.1.4, Arm ARM D8.1 (48-bit OA), RISC-V privileged 10.4-10.6 (56-bit). */
static u32 phys_bits(enum pt_format_id format)
{
    switch (format) {
    case PT_X86_32:
        return 32;
    case PT_X86_PAE:
        return 36;
    case PT_ARM64_4K:
        return 48;
    case PT_RISCV_SV39:
    case PT_RISCV_SV48:
    case PT_RISCV_SV57:
        return 56;
    default:
        return 52;
    }
}

static int check_counts(const struct machine_config *c, struct text *err)
{
    if (!c->nr_cpus || c->nr_cpus > MAX_CPUS) {
        text_str(err, "cpus must be 1 to 512");
        return -EINVAL;
    }
    if (!c->nr_nodes || c->nr_nodes > MAX_NODES) {
        text_str(err, "numa.nodes must be 1 to 64");
        return -EINVAL;
    }
    if (c->nr_nodes > 1 && c->memory_model == MEMORY_FLATMEM) {
        text_str(err, "memory_model = flatmem has one array of page descriptors and so one node; numa.nodes is ");
        text_u64(err, c->nr_nodes);
        return -EINVAL;
    }
    for (u32 i = 0; i < c->nr_cpus; i++)
        if (c->cpu_node[i] < 0 || (u32)c->cpu_node[i] >= c->nr_nodes) {
            text_str(err, "cpu ");
            text_u64(err, i);
            text_str(err, " is on a node that does not exist");
            return -EINVAL;
        }
    return 0;
}

static int check_ranges(const struct machine_config *c, u64 *ram, struct text *err)
{
    u64 limit = 1ull << phys_bits(c->pt_format);

    *ram = 0;
    for (u32 i = 0; i < c->nr_ranges; i++) {
        const struct mem_range *r = &c->range[i];

        if (r->type != E820_RAM)
            continue;
        *ram += r->size;
        if (r->start + r->size > limit || r->start + r->size < r->start) {
            text_str(err, "the memory map ends at ");
            text_hex(err, r->start + r->size);
            text_str(err, ", but this arch has physical addresses below ");
            text_hex(err, limit);
            return -EINVAL;
        }
        if (r->nid >= (s16)c->nr_nodes) {
            text_str(err, "a memory range is on node ");
            text_u64(err, (u64)r->nid);
            text_str(err, ", but numa.nodes is ");
            text_u64(err, c->nr_nodes);
            return -EINVAL;
        }
    }
    return 0;
}

static int check_memory(const struct machine_config *c, struct text *err)
{
    u64 ram;

    if (check_ranges(c, &ram, err))
        return -EINVAL;
    if (c->mem_bytes)
        ram = c->mem_bytes;
    if (c->mem_limit && c->mem_limit < ram)
        ram = c->mem_limit;
    if (c->min_free_kbytes > ram / 1024 / 2) {
        text_str(err, "vm.min_free_kbytes keeps ");
        text_bytes(err, c->min_free_kbytes * 1024);
        text_str(err, " of ");
        text_bytes(err, ram);
        text_str(err, " free: nothing could be allocated; at most half is allowed, 0 lets it be computed");
        return -EINVAL;
    }
    if (ram >= c->nr_nodes * MIN_NODE_BYTES)
        return 0;
    text_bytes(err, ram);
    text_str(err, " of memory is too small for ");
    text_u64(err, c->nr_nodes);
    text_str(err, c->nr_nodes == 1 ? " node: it needs " : " nodes: each needs ");
    text_bytes(err, MIN_NODE_BYTES);
    return -EINVAL;
}

static int check_geometry(const char *name, struct tlb_geometry g, bool needed, struct text *err)
{
    if (!needed && !g.sets)
        return 0;
    if (g.sets && !(g.sets & (g.sets - 1)) && g.ways)
        return 0;
    text_str(err, name);
    text_str(err, ": sets must be a power of two and ways at least 1");
    return -EINVAL;
}

static int check_tlb(const struct tlb_config *t, struct text *err)
{
    if (!t->nr_asids || t->nr_asids > 254) {
        text_str(err, "tlb.asids must be 1 to 254");
        return -EINVAL;
    }
    if (check_geometry("tlb.l1d.4k", t->l1d_4k, true, err) || check_geometry("tlb.l1d.2m", t->l1d_2m, false, err) ||
        check_geometry("tlb.l1d.1g", t->l1d_1g, false, err) || check_geometry("tlb.l1i.4k", t->l1i_4k, true, err) ||
        check_geometry("tlb.l1i.2m", t->l1i_2m, false, err) || check_geometry("tlb.l2", t->l2, false, err) ||
        check_geometry("tlb.l2.1g", t->l2_1g, false, err))
        return -EINVAL;
    for (u32 i = 0; i < 3; i++)
        if (check_geometry("tlb.pwc", t->pwc[i], false, err))
            return -EINVAL;
    return 0;
}

int machine_config_validate(const struct machine_config *c, char *err, size_t err_size)
{
    struct text t = text_in(err, err_size);

    if (check_counts(c, &t) || check_memory(c, &t) || check_tlb(&c->tlb, &t))
        return -EINVAL;
    if (c->fault_around_bytes & (c->fault_around_bytes - 1)) {
        text_str(&t, "fault_around_bytes must be a power of two");
        return -EINVAL;
    }
    return 0;
}
