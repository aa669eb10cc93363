/* SPDX-License-Identifier: MIT */
/*
 * One CPU's memory-management unit: TLBs, page-walk caches, the flush queue. mmu.c has the theory; here are the struct
 * and the one path that is run for every access, mmu_hit().
 *
 * A TLB entry is one 64-bit word:
 *
 *    63 ............. 12 | 11 .......... 4 | 3      | 2    | 1    | 0
 *    page of the address | ASID, never 0   | HUGE   | R    | X    | W: write allowed and already dirty
 *
 * HUGE, R and X stand in the second level only, which holds every kind of page. In the first level the array tells:
 * data entries are readable, instruction entries executable, each page size has its own array.
 *
 * An array has `sets` sets of `ways` entries in order of last use (true LRU: position 0 is the latest, a hit moves its
 * entry to the front, what falls off the end is evicted). Each set takes one cache line of 8 positions in `near`, which
 * most lookups end in; further ones stand in `far`.
 * Empty: 0, and no empty entry stands before a full one.
 */
#ifndef QUIRE_MACHINE_MMU_H
#define QUIRE_MACHINE_MMU_H

#include "base/lock.h"
#include "base/machine.h"
#include "machine/hw.h"

struct fault_info; /* vm/vm.h */
struct mm;

enum mmu_access_kind { MMU_READ, MMU_WRITE, MMU_EXEC };

#define TLB_W 1ul
#define TLB_X 2ul
#define TLB_R 4ul
#define TLB_HUGE 8ul
#define TLB_ASID_SHIFT 4
#define TLB_ASID_MASK 0xff0ul
#define TLB_ASID_NONE 255u /* no address space: matches nothing */
#define MAX_ASIDS 254u     /* 1..254 */

#define TLB_NEAR 8u /* positions of a set that lie in its cache line */

struct tlb_array {
    u64 *near;     /* sets * TLB_NEAR */
    u64 *far;      /* sets * (ways - near_ways), NULL: none */
    u64 near_mask; /* (sets - 1) * 64 bytes */
    u32 sets;      /* 0: absent */
    u32 ways, near_ways;
    u32 page_shift;
};

/*
 * A page-walk cache: where the table of some level lies that translates an address. tag: first address | ASID, table:
 * its physical address | rights of the levels above (PT_READ ...). Sets in LRU order like a TLB's.
 */
struct pwc {
    u64 *tag, *table; /* sets * ways each */
    u32 sets, ways;
    u32 shift; /* log2 of the bytes one table translates */
};

enum tlb_size { TLB_4K, TLB_2M, TLB_1G, NR_TLB_SIZES };

/* X(field, printed name): what the MMU counts. First-level hits are accesses - misses: a hit counts nothing. */
#define MMU_COUNTERS(X)                                                                                                \
    X(l1d_access, "l1d_accesses") /* told by the front end: mmu_account() */                                           \
    X(l1i_access, "l1i_accesses")                                                                                      \
    X(l1d_miss, "l1d_misses") /* no first-level data entry of any size */                                              \
    X(l1i_miss, "l1i_misses")                                                                                          \
    X(l1d_2m_hit, "l1d_2m_hits") /* found in the array of that page size */                                            \
    X(l1d_1g_hit, "l1d_1g_hits")                                                                                       \
    X(l1i_2m_hit, "l1i_2m_hits")                                                                                       \
    X(l1_store_clean, "l1d_store_clean") /* a store found its entry clean: the walker set D */                         \
    X(l2_hit_4k, "l2_hits_4k")                                                                                         \
    X(l2_hit_2m, "l2_hits_2m")                                                                                         \
    X(l2_hit_1g, "l2_hits_1g")                                                                                         \
    X(l2_miss, "l2_misses")                                                                                            \
    X(walks, "walks")                                                                                                  \
    X(walks_outside, "walks_outside") /* of addresses no user has: end at once */                                      \
    X(walk_loads, "walk_loads")       /* table entries read */                                                         \
    X(walk_load_l1, "walk_loads_l1")  /* by the cache that had them */                                                 \
    X(walk_load_l2, "walk_loads_l2")                                                                                   \
    X(walk_load_llc, "walk_loads_llc")                                                                                 \
    X(walk_load_mem, "walk_loads_mem")                                                                                 \
    X(pwc_hit_pte, "pwc_hits_level1") /* the walk began at a level-1 table */                                          \
    X(pwc_hit_pmd, "pwc_hits_level2")                                                                                  \
    X(pwc_hit_pud, "pwc_hits_level3")                                                                                  \
    X(pwc_miss, "pwc_misses")                                                                                          \
    X(set_accessed, "set_accessed")                                                                                    \
    X(set_dirty, "set_dirty")                                                                                          \
    X(faults, "faults")         /* walks that ended in an exception */                                                 \
    X(asid_new, "asid_new")     /* switches that had to take a new ASID */                                             \
    X(asid_reuse, "asid_reuse") /* switches that found theirs, with its entries */                                     \
    X(entries_flushed, "entries_flushed")

struct mmu_counters {
#define X(field, name) u64 field;
    MMU_COUNTERS(X)
#undef X
};

/* Whose entries carry an ASID, and up to which flush of that address space they are good. */
struct asid_slot {
    u64 ctx_id; /* 0: never used */
    u64 tlb_gen;
    u64 used; /* time of last use, for the choice of a victim */
    u32 pkru; /* no entry grants more than this PKRU lets through */
};

/* One range that another CPU wants forgotten. */
struct flush_request {
    u64 ctx_id;
    u64 gen;
    va_t start, end; /* end 0: everything of ctx_id */
    u32 stride_shift;
    bool freed_tables;
};

#define FLUSH_QUEUE 16

/* Direct-mapped tags of table lines in the caches (mmu.c: "where table entries are"). */
#define WALK_L1_LINES 64u
#define WALK_L2_LINES 1024u
#define WALK_LLC_LINES 16384u

/* Field keys as in struct cpu: c constant · o owner of the CPU only · a atomic · q queue lock. */
struct mmu {
    /* hot */
    u64 tag;              /* o: ASID in place; what a matching entry carries */
    struct tlb_array l1d; /* c: 4K data */
    struct tlb_array l1i; /* c: 4K instructions */
    /* cold */
    struct tlb_array l1d_huge[2]; /* c: 2M, 1G */
    struct tlb_array l1i_2m;
    struct tlb_array l2; /* c: 4K and 2M share it */
    struct tlb_array l2_1g;
    struct pwc pwc[3];  /* c: entries that point to a level-1, -2, -3 table */
    struct cpu *cpu;    /* c */
    struct mm *mm;      /* o: loaded address space; walks use its roots */
    _Atomic u64 ctx_id; /* a: of mm, for other CPUs to see; 0: none */
    u32 asid;           /* o */
    u32 pkru;           /* o: of the loaded task; without keys all entries have key 0, which it allows */
    u32 nr_asids;       /* c */
    u32 huge_shift;     /* c: 21, x86_32: 22 */
    bool huge_seen;     /* o: a huge page was ever translated: their arrays may hold something */
    u64 asid_clock;     /* o */
    struct asid_slot slot[MAX_ASIDS + 1]; /* o: by ASID; [0] unused */

    spinlock_t queue_lock;                   /* RANK_LEAF */
    u32 nr_queued;                           /* q: more than FLUSH_QUEUE do not fit: everything goes */
    struct flush_request queue[FLUSH_QUEUE]; /* q */
    struct flush_request lost;               /* q: the latest that did not fit */
    _Atomic u32 walk_seq;                    /* a: odd while the owner uses the tables: shoot-downs wait for it */

    u32 *walk_l1, *walk_l2, *walk_llc; /* o: tags of lines */
    struct mmu_counters count;         /* o */
} __cacheline_aligned;

static inline struct mmu *cpu_mmu(const struct cpu *cpu)
{
    const struct hw *hw = cpu->m->hw;

    return (struct mmu *)(void *)(hw->mmus + cpu->id * hw->mmu_bytes);
}

static inline u64 *tlb_near_set(const struct tlb_array *t, va_t va)
{
    return (u64 *)(void *)((char *)t->near + ((va >> (PAGE_SHIFT - 6)) & t->near_mask));
}

/*
 * True: the first-level TLB of 4K pages grants the access; its LRU order is kept. `kind` is a constant at each caller.
 * False: call mmu_access_slow(). The access must not cross a page.
 */
static inline bool mmu_hit(struct mmu *mmu, va_t va, enum mmu_access_kind kind)
{
    u64 *set = tlb_near_set(kind == MMU_EXEC ? &mmu->l1i : &mmu->l1d, va);
    u64 want = (va & PAGE_MASK) | mmu->tag | (kind == MMU_WRITE ? TLB_W : 0);
    u64 care = kind == MMU_WRITE ? ~0ul : ~TLB_W;
    u64 e0 = set[0], e1, e2, e3;

    if (likely(!((e0 ^ want) & care)))
        return true;
    e1 = set[1];
    if (!((e1 ^ want) & care)) {
        set[0] = e1;
        set[1] = e0;
        return true;
    }
    e2 = set[2];
    if (!((e2 ^ want) & care)) {
        set[0] = e2;
        set[1] = e0;
        set[2] = e1;
        return true;
    }
    e3 = set[3];
    if (!((e3 ^ want) & care)) {
        set[0] = e3;
        set[1] = e0;
        set[2] = e1;
        set[3] = e2;
        return true;
    }
    return false;
}

/*
 * True: the TLBs alone grant the access, all ways, page sizes and both levels; counted as mmu_access_slow() counts it. False: nothing has
 * changed and nothing was counted. Like mmu_hit() it touches the CPU's own state only. The access must not cross a page.
 */
bool mmu_tlb_hit(struct mmu *mmu, va_t va, enum mmu_access_kind kind);

/*
 * Everything that mmu_hit() did not decide: further ways, other page sizes, second level, walk, fault, retry. CPU in
 * state CPU_USER, and again on return. 0: done; else the signal that the access raises (fi says more).
 */
__noinline int mmu_access_slow(struct cpu *cpu, va_t va, enum mmu_access_kind kind, struct fault_info *fi);

static inline int mmu_access(struct cpu *cpu, struct mmu *mmu, va_t va, enum mmu_access_kind kind,
                             struct fault_info *fi)
{
    if (likely(mmu_hit(mmu, va, kind)))
        return 0;
    return mmu_access_slow(cpu, va, kind, fi);
}

/* An access of `size` bytes: two when it crosses a page. */
static inline int mmu_access_size(struct cpu *cpu, struct mmu *mmu, va_t va, u32 size, enum mmu_access_kind kind,
                                  struct fault_info *fi)
{
    int signo = mmu_access(cpu, mmu, va, kind, fi);

    if (unlikely((va & ~PAGE_MASK) + size > PAGE_SIZE) && !signo)
        signo = mmu_access(cpu, mmu, (va & PAGE_MASK) + PAGE_SIZE, kind, fi);
    return signo;
}

/* The front end's counts since last time: accesses and executed blocks, charged to the CPU's clock. */
void mmu_account(struct cpu *cpu, u64 data_accesses, u64 fetches, u64 blocks);

/*
 * The owner uses page tables (walks) or what they point to (copies): between the two, no table and no frame
 * that a shoot-down covers is freed. False: requests are queued, mmu_take_requests() first. Nothing between
 * them may wait for anybody.
 */
bool mmu_begin_walk(struct mmu *mmu);
void mmu_end_walk(struct mmu *mmu);

/* Owner only. Forget entries of one address space (by ASID), or all. */
void mmu_flush_asid(struct mmu *mmu, u32 asid);
void mmu_flush_all(struct mmu *mmu);
void mmu_flush_range(struct mmu *mmu, u32 asid, va_t start, va_t end, u32 stride_shift, bool freed_tables);
/* Load `mm`'s tables (NULL: none): ASID found or taken, entries dropped if flushes were missed. */
void mmu_load(struct mmu *mmu, struct mm *mm);
/* The flushes that other CPUs asked for. */
void mmu_take_requests(struct mmu *mmu);

/* shootdown.c: quire_code.flush_tlb */
void tlb_flush(struct cpu *cpu, struct mm *mm, va_t start, va_t end, u32 stride_shift, bool freed_tables);
/* hw_check.c: first-level, second-level and walk-cache entries against the page tables. */
struct check_report;
void hw_check(struct machine *m, struct check_report *r);

#endif
