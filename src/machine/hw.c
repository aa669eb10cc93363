/* SPDX-License-Identifier: MIT */
/*
 * Laying out the hardware: struct hw, and for each CPU one block with struct mmu and the arrays
 * that its geometry asks for.
 *
 *   hw->mmus ┌─────────┬─────┬─────┬────────┬────┬───────┬─────┬────────────┐┌─────────┬───
 *            │ mmu 0   │ l1d │ l1i │ huge.. │ l2 │ l2_1g │ pwc │ walk tags  ││ mmu 1   │ …
 *            └─────────┴─────┴─────┴────────┴────┴───────┴─────┴────────────┘└─────────┴───
 *
 * One function, mmu_layout(), walks the parts in order: with mmu NULL it only measures,
 * so size and placement cannot differ.
 */
#include "machine/hw.h"

#include "machine/mmu.h"

static u64 place_array(struct tlb_array *t, struct tlb_geometry g, u32 page_shift, u64 at)
{
    u32 near_ways = MIN(g.ways, (u32)TLB_NEAR);
    u64 near = (u64)g.sets * TLB_NEAR * sizeof(u64);
    u64 far = (u64)g.sets * (g.ways - near_ways) * sizeof(u64);

    if (t && g.sets)
        *t = (struct tlb_array){
            .near = (u64 *)(uintptr_t)at,
            .far = far ? (u64 *)(uintptr_t)(at + near) : NULL,
            .near_mask = (u64)(g.sets - 1) * TLB_NEAR * sizeof(u64),
            .sets = g.sets,
            .ways = g.ways,
            .near_ways = near_ways,
            .page_shift = page_shift,
        };
    return at + ALIGN_UP(near + far, 64);
}

static u64 place_words(void *pointer, u64 bytes, u64 at)
{
    if (pointer)
        *(void **)pointer = (void *)(uintptr_t)at;
    return at + ALIGN_UP(bytes, 64);
}

static u64 place_pwc(struct pwc *p, struct tlb_geometry g, u32 shift, u64 at)
{
    u64 bytes = (u64)g.sets * g.ways * sizeof(u64);

    if (p)
        *p = (struct pwc){(u64 *)(uintptr_t)at, (u64 *)(uintptr_t)(at + bytes), g.sets, g.ways, shift};
    return at + ALIGN_UP(2 * bytes, 64);
}

static u32 huge_shift(const struct machine_config *c)
{
    return c->pt_format == PT_X86_32 ? 22 : 21;
}

/* The first-level arrays of 4K pages always exist: mmu_hit() does not ask. */
static u64 mmu_layout(const struct machine_config *c, struct mmu *u, u64 at)
{
    const struct tlb_config *t = &c->tlb;
    u32 huge = huge_shift(c);
    u32 upper = c->pt_format == PT_X86_32 ? 10 : 9;

    at = place_array(u ? &u->l1d : NULL, t->l1d_4k, PAGE_SHIFT, at);
    at = place_array(u ? &u->l1i : NULL, t->l1i_4k, PAGE_SHIFT, at);
    at = place_array(u ? &u->l1d_huge[0] : NULL, t->l1d_2m, huge, at);
    at = place_array(u ? &u->l1d_huge[1] : NULL, t->l1d_1g, 30, at);
    at = place_array(u ? &u->l1i_2m : NULL, t->l1i_2m, huge, at);
    at = place_array(u ? &u->l2 : NULL, t->l2, PAGE_SHIFT, at);
    at = place_array(u ? &u->l2_1g : NULL, t->l2_1g, 30, at);
    for (u32 i = 0; i < 3; i++)
        at = place_pwc(u ? &u->pwc[i] : NULL, t->pwc[i], huge + upper * i, at);
    at = place_words(u ? &u->walk_l1 : NULL, WALK_L1_LINES * sizeof(u32), at);
    at = place_words(u ? &u->walk_l2 : NULL, WALK_L2_LINES * sizeof(u32), at);
    return place_words(u ? &u->walk_llc : NULL, WALK_LLC_LINES * sizeof(u32), at);
}

u64 hw_mmu_bytes(const struct machine_config *c)
{
    return sizeof(struct mmu) + mmu_layout(c, NULL, 0);
}

void hw_init(struct machine *m)
{
    struct hw *hw = machine_hw_alloc(m, sizeof(*hw), 64);

    m->hw = hw;
    hw->mmu_bytes = hw_mmu_bytes(&m->config);
    hw->mmus = machine_hw_alloc(m, hw->mmu_bytes * m->nr_cpus, 64);
    for (u32 i = 0; i < m->nr_cpus; i++) {
        struct mmu *u = cpu_mmu(&m->cpus[i]);

        mmu_layout(&m->config, u, (u64)(uintptr_t)(u + 1));
        u->cpu = &m->cpus[i];
        u->asid = TLB_ASID_NONE;
        u->tag = (u64)TLB_ASID_NONE << TLB_ASID_SHIFT;
        u->nr_asids = m->config.tlb.nr_asids;
        u->huge_shift = huge_shift(&m->config);
        spin_lock_init(&u->queue_lock, RANK_LEAF);
    }
}
