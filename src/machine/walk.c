/* SPDX-License-Identifier: MIT */
/*
 * The hardware page-table walker.
 *
 *   walk-cache lookup, lowest level first ──▶ table ──▶ entry ──┬─ not present, right missing ──▶ WALK_FAULT
 *        (or the root)                         ▲                ├─ points to a table: set A (x86), remember it in the
 *                                              └────────────────┤  walk cache, go down
 *                                                               └─ leaf: set A, for a store D; done
 *
 * Rules it follows
 *   x86     accessed in every entry used, dirty in the leaf of a store, by a locked update (Intel SDM
 *           vol. 3 4.8); rights are what all levels grant (4.6); PAE's four pointers were loaded with CR3 and are
 *           not read again (4.4.1).
 *           The leaf's protection key: what PKRU forbids, the entry does not grant (4.6.2).
 *   arm64   access flag and dirty state (DBM and AP[2]) of the leaf, FEAT_HAFDBS (Arm ARM D8.4.7).
 *   riscv   A and D of the leaf, Svadu (privileged architecture, "Svadu"); the leaf alone has rights.
 * An entry that changed since it was read makes the walk start again: the update of A and D is a compare-and-swap.
 * A walk that ends in a fault has set no bit in the leaf.
 *
 * Walk caches. pwc[n] knows where level n + 1 tables lie: x86's PDE, PDPTE and PML4E caches (Intel SDM vol. 3
 * 4.10.3), arm64's and riscv's intermediate caching. A hit saves reading the levels above; the rights those
 * granted are kept with it.
 *
 * Where table entries are. The time of a table read depends on which cache holds its line. Table lines share the
 * caches with the program's data, which the model does not follow; so each cache is given a fixed share for table
 * lines, direct mapped by line number: 64 lines (4 KiB) of L1D, 1,024 (64 KiB) of L2, 16,384 (1 MiB) of the last
 * level. A line found nowhere costs a read of DRAM and is then in all three. It is an estimate for time only: no other
 * behaviour depends on it.
 * Rejected: a full cache model in the walker, which would need every data access to go through it.
 */
#include "machine/walk.h"

#include "vm/vm.h"

/* Read of one table entry at physical address pa: count and charge it. */
static void walk_load(struct mmu *u, u64 pa)
{
    u64 line = pa >> 6;
    u32 tag = (u32)line + 1;
    u32 *l1 = &u->walk_l1[line % WALK_L1_LINES], *l2, *llc;

    u->count.walk_loads++;
    if (*l1 == tag) {
        u->count.walk_load_l1++;
        charge(u->cpu, COST_WALK_L1);
        return;
    }
    *l1 = tag;
    l2 = &u->walk_l2[line % WALK_L2_LINES];
    if (*l2 == tag) {
        u->count.walk_load_l2++;
        charge(u->cpu, COST_WALK_L2);
        return;
    }
    *l2 = tag;
    llc = &u->walk_llc[line % WALK_LLC_LINES];
    if (*llc == tag) {
        u->count.walk_load_llc++;
        charge(u->cpu, COST_WALK_LLC);
        return;
    }
    *llc = tag;
    u->count.walk_load_mem++;
    charge(u->cpu, COST_WALK_MEM);
}

/* -- walk caches --------------------------------------------------------------------------------------------------- */

static void pwc_put_front(struct pwc *p, u64 base, u32 pos, u64 tag, u64 table)
{
    for (; pos > 0; pos--) {
        p->tag[base + pos] = p->tag[base + pos - 1];
        p->table[base + pos] = p->table[base + pos - 1];
    }
    p->tag[base] = tag;
    p->table[base] = table;
}

static u64 pwc_tag(const struct mmu *u, const struct pwc *p, va_t va)
{
    return (va >> p->shift << p->shift) | u->tag;
}

static bool pwc_lookup(struct mmu *u, struct pwc *p, va_t va, u64 *table)
{
    u64 tag = pwc_tag(u, p, va);
    u64 base = ((va >> p->shift) & (p->sets - 1)) * p->ways;

    if (!p->sets)
        return false;
    for (u32 pos = 0; pos < p->ways; pos++)
        if (p->tag[base + pos] == tag) {
            *table = p->table[base + pos];
            pwc_put_front(p, base, pos, tag, *table);
            return true;
        }
    return false;
}

static void pwc_insert(struct mmu *u, struct pwc *p, va_t va, u64 table)
{
    u64 tag = pwc_tag(u, p, va);
    u64 base = ((va >> p->shift) & (p->sets - 1)) * p->ways;
    u32 pos = 0;

    if (!p->sets)
        return;
    while (pos < p->ways - 1 && p->tag[base + pos] && p->tag[base + pos] != tag)
        pos++;
    pwc_put_front(p, base, pos, tag, table);
}

/* The lowest table known for va, and the rights granted so far; otherwise the root. */
PT_FN struct pt_table walk_start(fmt_t f, struct mmu *u, va_t va, u32 *rights)
{
    const struct machine *m = u->cpu->m;
    u64 table;

    for (u32 level = 1; level <= 3 && level < f->root_level; level++)
        if (pwc_lookup(u, &u->pwc[level - 1], va, &table)) {
            (&u->count.pwc_hit_pte)[level - 1]++;
            *rights = (u32)(table & ~PAGE_MASK);
            return (struct pt_table){phys_to_virt(m, PHYS(table & PAGE_MASK)), level};
        }
    u->count.pwc_miss++;
    *rights = PT_READ | PT_WRITE | PT_EXEC | PT_USER;
    return pt_root_for_roots(m, f, &u->mm->pt, va).table;
}

/* -- the walk ------------------------------------------------------------------------------------------------------ */

static const u32 right_needed[] = {
    [MMU_READ] = PT_READ | PT_USER, [MMU_WRITE] = PT_WRITE | PT_USER, [MMU_EXEC] = PT_EXEC | PT_USER};

/* Set A, and D for a store; false: the entry is no longer `seen`. */
PT_FN bool walk_use(fmt_t f, struct mmu *u, struct pt_entry e, pte_t seen, enum pt_hw_use use)
{
    pte_t after = pte_hw_used(f, seen, use);

    if (likely(pte_same(seen, after)))
        return true;
    if (!ptep_hw_use(f, e, seen, use))
        return false;
    if (use == PT_HW_TABLE || !pte_young(f, seen))
        u->count.set_accessed++;
    if (use == PT_HW_WRITE && !pte_same(pte_hw_used(f, seen, PT_HW_READ), after))
        u->count.set_dirty++;
    charge(u->cpu, COST_SET_AD);
    return true;
}

/* The rights that the leaf's protection key leaves under this PKRU; fetches do not ask for it. */
PT_FN u32 pkey_rights(fmt_t f, u32 pkru, pte_t p)
{
    u32 denied = f->pkey_bits ? pkru >> 2 * pte_pkey(f, p) & 3 : 0;

    return denied & 1 ? ~(u32)(PT_READ | PT_WRITE) : denied ? ~(u32)PT_WRITE : ~0u;
}

/* One walk in progress. */
struct walk {
    struct mmu *u;
    va_t va;
    enum mmu_access_kind kind;
    u32 rights; /* granted by the levels so far */
};

PT_FN enum walk_status walk_leaf(fmt_t f, const struct walk *w, struct pt_entry e, pte_t p, struct walk_result *out)
{
    enum pt_hw_use use = w->kind == MMU_WRITE ? PT_HW_WRITE : PT_HW_READ;
    pte_t used = pte_hw_used(f, p, use);
    u64 offset = w->va >> PAGE_SHIFT & (pt_nr_pages(f, e.level) - 1);
    u32 rights = w->rights & pkey_rights(f, w->u->pkru, p);

    if ((rights & right_needed[w->kind]) != right_needed[w->kind])
        return WALK_FAULT;
    if (!walk_use(f, w->u, e, p, use))
        return WALK_RETRY;
    out->level = e.level;
    out->pfn = pfn_add(pte_pfn(f, e.level, p), offset);
    out->rights = (rights & PT_READ ? TLB_R : 0) | (rights & PT_EXEC ? TLB_X : 0);
    if ((rights & PT_WRITE) && pte_same(used, pte_hw_used(f, used, PT_HW_WRITE)))
        out->rights |= TLB_W;
    return WALK_OK;
}

PT_FN enum walk_status walk_fmt(fmt_t f, struct mmu *u, va_t va, enum mmu_access_kind kind, struct walk_result *out)
{
    struct walk w = {.u = u, .va = va, .kind = kind};
    const struct machine *m = u->cpu->m;
    struct pt_table t;

    if (!u->mm || va >= pt_task_size(f)) {
        u->count.walks_outside++;
        return WALK_FAULT;
    }
    t = walk_start(f, u, va, &w.rights);
    for (;;) {
        struct pt_entry e = pt_entry_at(f, t, va);
        pte_t p;

        walk_load(u, (u64)((char *)e.slot - m->ram));
        p = pt_read(f, e);
        if (!pte_hw_present(f, p))
            return WALK_FAULT;
        w.rights &= pte_hw_rights(f, t.level, p);
        if (!pte_table(f, t.level, p))
            return walk_leaf(f, &w, e, p, out);
        if (!walk_use(f, u, e, p, PT_HW_TABLE))
            return WALK_RETRY;
        t = pt_table_of(m, f, p, t.level);
        if (t.level <= 3)
            pwc_insert(u, &u->pwc[t.level - 1], va, virt_to_phys(m, t.entries).pa | w.rights);
    }
}

enum walk_status mmu_walk(struct mmu *mmu, va_t va, enum mmu_access_kind kind, struct walk_result *out)
{
    mmu->count.walks++;
    return PT_DISPATCH(pt_format_of(mmu->cpu->m), walk_fmt, mmu, va, kind, out);
}
