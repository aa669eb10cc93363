/* SPDX-License-Identifier: MIT */
/*
 * What the TLBs alone decide: both levels, all ways and page sizes. Inline, for mmu.c and for front ends that compile
 * it for their host's CPU (tlb.h). Owner of the CPU only.
 */
#ifndef QUIRE_MACHINE_TLB_HIT_H
#define QUIRE_MACHINE_TLB_HIT_H

#include "base/machine.h"
#include "machine/tlb.h"

/* -- first level --------------------------------------------------------------------------------------------------- */

static inline struct tlb_array *l1_array(struct mmu *u, enum mmu_access_kind kind, enum tlb_size size)
{
    if (kind == MMU_EXEC)
        return size == TLB_4K ? &u->l1i : size == TLB_2M ? &u->l1i_2m : NULL;
    return size == TLB_4K ? &u->l1d : &u->l1d_huge[size - 1];
}

enum l1_answer { L1_MISS, L1_HIT, L1_CLEAN };

static inline enum l1_answer l1_lookup(struct mmu *u, va_t va, enum mmu_access_kind kind, enum tlb_size size)
{
    struct tlb_array *t = l1_array(u, kind, size);
    u32 set, pos;
    u64 e;

    if (size != TLB_4K && (!t || !t->sets))
        return L1_MISS;
    set = tlb_set(t, va, t->page_shift);
    pos = tlb_find(t, set, tlb_tag(va, t->page_shift, u->tag), ~TLB_W);
    if (pos == t->ways)
        return L1_MISS;
    e = *tlb_slot(t, set, pos);
    if (kind == MMU_WRITE && !(e & TLB_W))
        return L1_CLEAN;
    tlb_put_front(t, set, pos, e);
    return L1_HIT;
}

static inline enum l1_answer l1_lookup_all(struct mmu *u, va_t va, enum mmu_access_kind kind)
{
    enum l1_answer a = l1_lookup(u, va, kind, TLB_4K);

    for (u32 size = TLB_2M; u->huge_seen && size < NR_TLB_SIZES && a == L1_MISS; size++) {
        a = l1_lookup(u, va, kind, (enum tlb_size)size);
        if (a != L1_HIT)
            continue;
        if (kind == MMU_EXEC)
            u->count.l1i_2m_hit++;
        else
            (&u->count.l1d_2m_hit)[size - 1]++;
    }
    return a;
}

/* A page size without an array of its own goes into the 4K array, as the fragment that was asked for. */
static inline void l1_fill(struct mmu *u, va_t va, enum mmu_access_kind kind, enum tlb_size size, u64 rights)
{
    struct tlb_array *t = l1_array(u, kind, size);
    u64 more = u->tag | (kind == MMU_EXEC ? 0 : rights & TLB_W);

    if (!t || !t->sets)
        t = l1_array(u, kind, TLB_4K);
    tlb_insert(t, tlb_set(t, va, t->page_shift), tlb_tag(va, t->page_shift, more));
}

/* The same for 4K pages, which the first level has not got: the set's oldest or an empty entry goes. */
static inline void l1_fill_4k(struct mmu *u, va_t va, enum mmu_access_kind kind, u64 rights)
{
    const struct tlb_array *t = kind == MMU_EXEC ? &u->l1i : &u->l1d;

    tlb_put_front(t, tlb_set(t, va, PAGE_SHIFT), t->ways - 1,
                  tlb_tag(va, PAGE_SHIFT, u->tag | (kind == MMU_EXEC ? 0 : rights & TLB_W)));
}

/* -- second level -------------------------------------------------------------------------------------------------- */

static inline struct tlb_array *l2_array(struct mmu *u, enum tlb_size size)
{
    return size == TLB_1G ? &u->l2_1g : &u->l2;
}

static inline u32 size_shift(const struct mmu *u, enum tlb_size size)
{
    return size == TLB_4K ? PAGE_SHIFT : size == TLB_2M ? u->huge_shift : 30;
}

static const u64 tlb_grants[] = {[MMU_READ] = TLB_R, [MMU_WRITE] = TLB_W, [MMU_EXEC] = TLB_X};

static inline bool l2_lookup(struct mmu *u, va_t va, enum mmu_access_kind kind, enum tlb_size size, u64 *word)
{
    struct tlb_array *t = l2_array(u, size);
    u32 shift = size_shift(u, size), set, pos;
    u64 want = tlb_tag(va, shift, u->tag | (size == TLB_2M ? TLB_HUGE : 0));

    if (!t->sets)
        return false;
    set = tlb_set(t, va, shift);
    pos = tlb_find(t, set, want, ~TLB_RIGHTS);
    if (pos == t->ways)
        return false;
    *word = *tlb_slot(t, set, pos);
    if (!(*word & tlb_grants[kind]))
        return false;
    tlb_put_front(t, set, pos, *word);
    return true;
}

static inline void count_l1_miss(struct mmu *u, enum mmu_access_kind kind)
{
    if (kind == MMU_EXEC)
        u->count.l1i_miss++;
    else
        u->count.l1d_miss++;
}

/* The first level has missed. A hit counts both. */
static inline bool l2_hit(struct mmu *u, va_t va, enum mmu_access_kind kind)
{
    u64 word;

    for (u32 size = TLB_4K; size == TLB_4K || (u->huge_seen && size < NR_TLB_SIZES); size++)
        if (l2_lookup(u, va, kind, (enum tlb_size)size, &word)) {
            count_l1_miss(u, kind);
            (&u->count.l2_hit_4k)[size]++;
            charge(u->cpu, COST_STLB_HIT);
            if (size == TLB_4K)
                l1_fill_4k(u, va, kind, word);
            else
                l1_fill(u, va, kind, (enum tlb_size)size, word);
            return true;
        }
    return false;
}

/* mmu_tlb_hit() */
static inline bool tlb_hit(struct mmu *u, va_t va, enum mmu_access_kind kind)
{
    enum l1_answer a = l1_lookup_all(u, va, kind);

    return a == L1_HIT || (a == L1_MISS && l2_hit(u, va, kind));
}

#endif
