/* SPDX-License-Identifier: MIT */
/*
 * What happens to an access that the first ways of its first-level set did not decide.
 *
 *   mmu_hit() ─miss─▶ other ways, other page sizes ─miss─▶ second level ─miss─▶ walk ──▶ fill second and first level
 *                        │ entry clean, access a store ───────────────────────▶ walk      │
 *                        ▼                                  ▼                     │ fault  ▼
 *                       done                        fill first level, done        ▼       done
 *                                                                      do_user_addr_fault(), again
 *
 * Terms. An entry grants reads (R), instruction fetches (X), stores (W: the page is writable and its dirty bit is
 * set already). So a store to a clean page never matches; it walks, the walker sets D, and the entry comes back
 * with W, as its set's latest.
 *
 * Invariants (hw_check())
 *   M1  an entry of a live address space grants no more than its page tables do, unless flushes of that address space
 *       are not taken yet (its slot's tlb_gen is behind mm->tlb_gen), and no more than its slot's PKRU;
 *   M2  in a set no two entries have the same tag, and no empty entry stands before a full one;
 *   M3  an entry stands in the set of its address, with an ASID of 1 ... nr_asids;
 *   M4  accesses = hits + misses at each level: l1d_miss + l1i_miss = l2_hit_4k + l2_hit_2m + l2_hit_1g + l2_miss.
 *
 * ASIDs. A CPU keeps nr_asids slots: address space (ctx_id), and up to which flush of it the entries are good
 * (tlb_gen). Loading an address space looks for its slot; behind: its entries are dropped; none: the slot unused for
 * longest is taken and its entries are dropped. That is Linux's scheme for PCID (Documentation/arch/x86/pti.rst,
 * "Process Context Identifiers").
 *
 * Protection keys (x86). A processor compares PKRU at each access; here the walker does, and what PKRU forbids is not in
 * the entry it makes. So entries belong to a PKRU: loading a task whose PKRU is another one than its slot's drops them.
 *
 * Time of use of tables. mmu_begin_walk() makes walk_seq odd before it looks for requests; a shoot-down queues its
 * request before it looks at walk_seq. So either the walker sees the request, or the shoot-down sees the walk and
 * waits for its end (Dekker).
 */
#include "machine/mmu.h"

#include "machine/machine_api.h"
#include "machine/tlb_hit.h"
#include "machine/walk.h"
#include "vm/vm.h"

#define MAX_TRIES 100000 /* an access that faults this often and never succeeds: a broken invariant */

bool mmu_begin_walk(struct mmu *mmu)
{
    atomic_store(&mmu->walk_seq, atomic_load_explicit(&mmu->walk_seq, memory_order_relaxed) + 1);
    if (likely(!(atomic_load(&mmu->cpu->work) & CPU_WORK_TLB_FLUSH)))
        return true;
    mmu_end_walk(mmu);
    return false;
}

void mmu_end_walk(struct mmu *mmu)
{
    u32 seq = atomic_load_explicit(&mmu->walk_seq, memory_order_relaxed);

    atomic_store_explicit(&mmu->walk_seq, seq + 1, memory_order_release);
}

bool mmu_tlb_hit(struct mmu *u, va_t va, enum mmu_access_kind kind)
{
    return tlb_hit(u, va, kind);
}

static void l2_fill(struct mmu *u, va_t va, enum tlb_size size, u64 rights)
{
    struct tlb_array *t = l2_array(u, size);
    u32 shift = size_shift(u, size);

    if (t->sets)
        tlb_insert(t, tlb_set(t, va, shift), tlb_tag(va, shift, u->tag | rights | (size == TLB_2M ? TLB_HUGE : 0)));
}

/* -- the slow path ------------------------------------------------------------------------------------------------- */

static bool walk_and_fill(struct mmu *u, va_t va, enum mmu_access_kind kind)
{
    struct walk_result res;
    enum walk_status status;
    enum tlb_size size;

    do {
        while (!mmu_begin_walk(u))
            mmu_take_requests(u);
        status = mmu_walk(u, va, kind, &res);
        mmu_end_walk(u);
    } while (status == WALK_RETRY);
    if (status == WALK_FAULT) {
        u->count.faults++;
        return false;
    }
    size = res.level == 1 ? TLB_4K : res.level == 2 ? TLB_2M : TLB_1G;
    u->huge_seen |= size != TLB_4K;
    l2_fill(u, va, size, res.rights);
    l1_fill(u, va, kind, size, res.rights);
    return true;
}

static bool translate(struct mmu *u, va_t va, enum mmu_access_kind kind)
{
    enum l1_answer a = l1_lookup_all(u, va, kind);

    if (a == L1_HIT)
        return true;
    if (a == L1_CLEAN) {
        u->count.l1_store_clean++;
        return walk_and_fill(u, va, kind);
    }
    if (l2_hit(u, va, kind))
        return true;
    count_l1_miss(u, kind);
    u->count.l2_miss++;
    return walk_and_fill(u, va, kind);
}

int mmu_access_slow(struct cpu *cpu, va_t va, enum mmu_access_kind kind, struct fault_info *fi)
{
    static const enum fault_access access[] = {
        [MMU_READ] = ACCESS_READ, [MMU_WRITE] = ACCESS_WRITE, [MMU_EXEC] = ACCESS_EXEC};
    struct mmu *u = cpu_mmu(cpu);

    for (u32 tries = 0; !translate(u, va, kind); tries++) {
        ASSERT(tries < MAX_TRIES);
        cpu_enter_kernel(cpu);
        *fi = do_user_addr_fault(cpu, va, access[kind]);
        cpu_enter_user(cpu);
        if (fi->signo)
            return fi->signo;
    }
    return 0;
}

void mmu_account(struct cpu *cpu, u64 data_accesses, u64 fetches, u64 blocks)
{
    struct mmu *u = cpu_mmu(cpu);

    u->count.l1d_access += data_accesses;
    u->count.l1i_access += fetches;
    charge_n(cpu, COST_ACCESS, data_accesses);
    charge_n(cpu, COST_BLOCK, blocks);
}

/* -- address spaces ------------------------------------------------------------------------------------------------ */

/* The slot of ctx_id, or the one to be taken: never used before used longest ago. */
static u32 find_slot(const struct mmu *u, u64 ctx_id)
{
    u32 victim = 1;

    for (u32 i = 1; i <= u->nr_asids; i++) {
        if (u->slot[i].ctx_id == ctx_id)
            return i;
        if (u->slot[i].used < u->slot[victim].used)
            victim = i;
    }
    return victim;
}

static void set_asid(struct mmu *u, u32 asid)
{
    u->asid = asid;
    u->tag = (u64)asid << TLB_ASID_SHIFT;
}

void mmu_load(struct mmu *u, struct mm *mm)
{
    struct cpu *cpu = u->cpu;
    struct asid_slot *s;
    u32 asid;
    u64 gen;

    u->mm = mm;
    u->pkru = cpu->current ? cpu->current->pkru : u->pkru;
    if (!mm) {
        atomic_store(&u->ctx_id, 0);
        set_asid(u, TLB_ASID_NONE);
        return;
    }
    atomic_fetch_or(&mm->cpu_mask[cpu->id / 64], BIT(cpu->id % 64));
    atomic_store(&u->ctx_id, mm->ctx_id);
    gen = atomic_load(&mm->tlb_gen); /* after ctx_id is seen: a later flush finds this CPU */
    asid = find_slot(u, mm->ctx_id);
    s = &u->slot[asid];
    if (s->ctx_id == mm->ctx_id && s->tlb_gen == gen && s->pkru == u->pkru) {
        u->count.asid_reuse++;
    } else {
        u->count.asid_new += s->ctx_id != mm->ctx_id;
        if (s->ctx_id)
            mmu_flush_asid(u, asid);
        s->ctx_id = mm->ctx_id;
        s->tlb_gen = gen;
        s->pkru = u->pkru;
    }
    s->used = ++u->asid_clock;
    set_asid(u, asid);
}
