/* SPDX-License-Identifier: MIT */
/*
 * hw_check(): the invariants of mmu.c (M1 ... M4), cpu.c (C1, C3) and shootdown.c (S1), recomputed. For every address space and every CPU
 * whose slot for it is up to date, each TLB entry and each walk-cache entry is compared with the tables. Machine quiet.
 */
#include "base/check.h"
#include "machine/machine_api.h"
#include "machine/tlb.h"
#include "pt/pt.h"

struct tlb_check {
    struct machine *m;
    struct check_report *r;
    const struct mmu *u;
    const char *array;
};

/* -- one array's own order ----------------------------------------------------------------------------------------- */

static u32 entry_shift(const struct mmu *u, const struct tlb_array *t, u64 e)
{
    return t == &u->l2 && (e & TLB_HUGE) ? u->huge_shift : t->page_shift;
}

static void check_set(struct tlb_check *c, const struct tlb_array *t, u32 set)
{
    bool ended = false;

    for (u32 pos = 0; pos < t->ways; pos++) {
        u64 e = *tlb_slot(t, set, pos);
        u32 asid = (u32)(e & TLB_ASID_MASK) >> TLB_ASID_SHIFT;

        if (!e) {
            ended = true;
            continue;
        }
        if (ended)
            check_fail(c->r, "M2: cpu %u %s set %u: entry %llx behind an empty one", c->u->cpu->id, c->array, set,
                       (unsigned long long)e);
        if (!asid || asid > c->u->nr_asids || tlb_set(t, e, entry_shift(c->u, t, e)) != set)
            check_fail(c->r, "M3: cpu %u %s set %u: entry %llx does not belong there", c->u->cpu->id, c->array, set,
                       (unsigned long long)e);
        if (tlb_find(t, set, e, ~TLB_RIGHTS) != pos)
            check_fail(c->r, "M2: cpu %u %s set %u: entry %llx twice", c->u->cpu->id, c->array, set,
                       (unsigned long long)e);
    }
}

/* -- entries against tables ---------------------------------------------------------------------------------------- */

/* What the tables grant at va under this PKRU, as TLB_R | TLB_X | TLB_W; *shift: size of the mapping. 0: nothing. */
static u64 table_rights(const struct machine *m, struct mm *mm, u32 pkru, va_t va, u32 *shift)
{
    const struct pt_format *f = pt_format_of(m);
    struct pt_table t = pt_root_for_roots(m, f, &mm->pt, va).table;
    u32 rights = PT_READ | PT_WRITE | PT_EXEC | PT_USER;

    for (;;) {
        struct pt_entry e = pt_entry_at(f, t, va);
        pte_t p = pt_read(f, e);

        if (!pte_hw_present(f, p))
            return 0;
        rights &= pte_hw_rights(f, t.level, p);
        if (pte_table(f, t.level, p)) {
            t = pt_table_of(m, f, p, t.level);
            continue;
        }
        *shift = pt_shift(f, t.level);
        if (!(rights & PT_USER))
            return 0;
        pkru = f->pkey_bits ? pkru >> 2 * pte_pkey(f, p) & 3 : 0;
        rights &= pkru & 1 ? PT_EXEC : pkru ? PT_READ | PT_EXEC : ~0u;
        p = pte_mkyoung(f, p); /* may be cleared without a flush */
        if (!pte_same(p, pte_hw_used(f, p, PT_HW_WRITE)))
            rights &= ~(u32)PT_WRITE;
        return (rights & PT_READ ? TLB_R : 0) | (rights & PT_EXEC ? TLB_X : 0) | (rights & PT_WRITE ? TLB_W : 0);
    }
}

static void check_entry(struct tlb_check *c, struct mm *mm, u64 e, u64 granted, u32 shift)
{
    u32 mapped = 0, pkru = c->u->slot[(e & TLB_ASID_MASK) >> TLB_ASID_SHIFT].pkru;
    u64 allowed = table_rights(c->m, mm, pkru, e & PAGE_MASK, &mapped);

    if (granted & ~allowed)
        check_fail(c->r, "M1: cpu %u %s: entry %llx grants %llx, the tables allow %llx", c->u->cpu->id, c->array,
                   (unsigned long long)e, (unsigned long long)granted, (unsigned long long)allowed);
    else if (shift > mapped)
        check_fail(c->r, "M1: cpu %u %s: entry %llx covers 2^%u bytes, the tables map 2^%u", c->u->cpu->id, c->array,
                   (unsigned long long)e, shift, mapped);
}

enum tlb_role { ROLE_DATA, ROLE_INSTRUCTIONS, ROLE_UNIFIED };

static void check_array(struct tlb_check *c, const struct tlb_array *t, struct mm *mm, u32 asid, enum tlb_role role)
{
    for (u32 set = 0; set < t->sets; set++)
        for (u32 pos = 0; pos < t->ways; pos++) {
            u64 e = *tlb_slot(t, set, pos);
            u64 granted = role == ROLE_UNIFIED ? e & TLB_RIGHTS : role == ROLE_DATA ? (e & TLB_W) | TLB_R : TLB_X;

            if ((e & TLB_ASID_MASK) >> TLB_ASID_SHIFT == asid && e)
                check_entry(c, mm, e, granted, entry_shift(c->u, t, e));
        }
}

static void check_pwc(struct tlb_check *c, struct mm *mm, u32 asid)
{
    const struct pt_format *f = pt_format_of(c->m);

    for (u32 i = 0; i < 3; i++)
        for (u32 n = 0; n < c->u->pwc[i].sets * c->u->pwc[i].ways; n++) {
            u64 tag = c->u->pwc[i].tag[n], table = c->u->pwc[i].table[n] & PAGE_MASK;
            struct pt_entry e;
            u64 found;
            pte_t p;

            if (!tag || (tag & TLB_ASID_MASK) >> TLB_ASID_SHIFT != asid)
                continue;
            e = pt_walk(c->m, f, pt_root_for_roots(c->m, f, &mm->pt, tag & PAGE_MASK), tag & PAGE_MASK, i + 2, &p);
            found = pte_table(f, e.level, p) && e.level == i + 2
                        ? (u64)((char *)pt_table_of(c->m, f, p, e.level).entries - c->m->ram)
                        : 0;
            if (found != table)
                check_fail(c->r, "M1: cpu %u pwc %u: %llx has its table at %llx, the tables say %llx", c->u->cpu->id,
                           i + 1, (unsigned long long)tag, (unsigned long long)table, (unsigned long long)found);
        }
}

static const struct {
    const char *name;
    u16 offset;
    u8 role;
} arrays[] = {
    {"l1d", offsetof(struct mmu, l1d), ROLE_DATA},
    {"l1i", offsetof(struct mmu, l1i), ROLE_INSTRUCTIONS},
    {"l1d 2M", offsetof(struct mmu, l1d_huge), ROLE_DATA},
    {"l1d 1G", offsetof(struct mmu, l1d_huge) + sizeof(struct tlb_array), ROLE_DATA},
    {"l1i 2M", offsetof(struct mmu, l1i_2m), ROLE_INSTRUCTIONS},
    {"l2", offsetof(struct mmu, l2), ROLE_UNIFIED},
    {"l2 1G", offsetof(struct mmu, l2_1g), ROLE_UNIFIED},
};

static const struct tlb_array *array_at(const struct mmu *u, u32 i)
{
    return (const struct tlb_array *)(const void *)((const char *)u + arrays[i].offset);
}

/* S1, and that flushes find the CPU. */
static void check_loaded(struct tlb_check *c, struct mm *mm)
{
    struct cpu *cpu = c->u->cpu;
    const struct asid_slot *s = &c->u->slot[c->u->asid];

    if (c->u->mm != mm)
        return;
    if (!(atomic_load(&mm->cpu_mask[cpu->id / 64]) >> cpu->id % 64 & 1))
        check_fail(c->r, "S1: cpu %u has address space %llu loaded, whose cpu_mask does not say so", cpu->id,
                   (unsigned long long)mm->ctx_id);
    if (s->ctx_id != mm->ctx_id ||
        (s->tlb_gen != atomic_load(&mm->tlb_gen) && !(atomic_load(&cpu->work) & CPU_WORK_TLB_FLUSH)))
        check_fail(c->r, "S1: cpu %u has address space %llu loaded, is at its flush %llu of %llu, and not told",
                   cpu->id, (unsigned long long)mm->ctx_id, (unsigned long long)s->tlb_gen,
                   (unsigned long long)atomic_load(&mm->tlb_gen));
}

static void check_mm_on_cpu(struct tlb_check *c, struct mm *mm)
{
    check_loaded(c, mm);
    for (u32 asid = 1; asid <= c->u->nr_asids; asid++) {
        const struct asid_slot *s = &c->u->slot[asid];

        if (s->ctx_id != mm->ctx_id || s->tlb_gen != atomic_load(&mm->tlb_gen))
            continue;
        for (u32 i = 0; i < ARRAY_SIZE(arrays); i++) {
            c->array = arrays[i].name;
            check_array(c, array_at(c->u, i), mm, asid, (enum tlb_role)arrays[i].role);
        }
        check_pwc(c, mm, asid);
    }
}

/* -- the CPU ------------------------------------------------------------------------------------------------------- */

/* C1, C3 */
static void check_state(struct tlb_check *c, struct cpu *cpu)
{
    u32 state = atomic_load(&cpu->state);

    CHECK_EQ(c->r, c->u->mm ? c->u->mm->ctx_id : 0, atomic_load(&((struct mmu *)(uintptr_t)c->u)->ctx_id),
             "C1: address space of a CPU, as others see it");
    if (!atomic_load(&cpu->owner)) {
        CHECK_EQ(c->r, state, CPU_IDLE, "C1: state of a free CPU");
        CHECK_EQ(c->r, (uintptr_t)cpu->current, 0, "C1: task of a free CPU");
        CHECK_EQ(c->r, (uintptr_t)c->u->mm, 0, "C1: address space of a free CPU");
        return;
    }
    if (state == CPU_IDLE)
        check_fail(c->r, "C1: cpu %u has an owner and is idle", cpu->id);
    if (state == CPU_USER && (!cpu->current || c->u->mm != cpu->current->mm))
        check_fail(c->r, "C3: cpu %u runs user code without its task's address space", cpu->id);
}

static void check_cpu(struct tlb_check *c)
{
    struct cpu *cpu = c->u->cpu;
    const struct mmu_counters *n = &c->u->count;
    u64 booked = 0;

    for (u32 i = 0; i < NR_TIME_CAUSES; i++)
        booked += cpu->time_ps[i];
    CHECK_EQ(c->r, cpu->clock_ps, booked, "a CPU's clock and the sum of its causes");
    CHECK_EQ(c->r, n->l1d_miss + n->l1i_miss, n->l2_hit_4k + n->l2_hit_2m + n->l2_hit_1g + n->l2_miss,
             "M4: first-level misses and second-level look-ups");
    CHECK_EQ(c->r, n->walk_loads, n->walk_load_l1 + n->walk_load_l2 + n->walk_load_llc + n->walk_load_mem,
             "entries read by walks");
    CHECK_EQ(c->r, n->walks, n->pwc_hit_pte + n->pwc_hit_pmd + n->pwc_hit_pud + n->pwc_miss + n->walks_outside,
             "walks and walk-cache look-ups");
    check_state(c, cpu);
    for (u32 i = 0; i < ARRAY_SIZE(arrays); i++) {
        const struct tlb_array *t = array_at(c->u, i);

        c->array = arrays[i].name;
        for (u32 set = 0; set < t->sets; set++)
            check_set(c, t, set);
    }
}

void hw_check(struct machine *m, struct check_report *r)
{
    for (u32 id = 0; id < m->nr_cpus; id++) {
        struct tlb_check c = {.m = m, .r = r, .u = cpu_mmu(&m->cpus[id])};
        struct mm *mm;

        check_cpu(&c);
        if (!c.u->asid_clock)
            continue; /* never had an address space */
        list_for_each_entry (mm, &m->vm->mms, mmlist)
            check_mm_on_cpu(&c, mm);
    }
}
