/* SPDX-License-Identifier: MIT */
/*
 * struct page and struct folio: one 64-byte descriptor for each page frame.
 *
 * A page is free (PGTY_buddy or on a per-cpu list), or allocated with _refcount >= 1. Allocated with __GFP_COMP at
 * order >= 1 it is compound: one head page and tail pages that point to it. A folio is a page that is not a tail:
 * functions that must not see a tail take a folio.
 *
 *            order-2 compound page
 *   page[0]  head   flags: PG_head   refcount and all state of the folio
 *   page[1]  tail   compound_head = &page[0] | 1    first tail: order, entire/large mapcount, nr_pages_mapped, pincount
 *   page[2]  tail   compound_head = &page[0] | 1
 *   page[3]  tail   compound_head = &page[0] | 1
 *
 * Rules
 *   R1  _refcount of a free page is 0; allocation sets it to 1; only try_get (get_page_unless_zero) may raise a 0.
 *   R2  _mapcount is kept as number of mappings - 1; a page that user tables do not map has -1.
 *   R3  a page not in user tables may use the word of _mapcount as page_type (PGTY_*): buddy, slab, table, offline.
 *   R4  each mapping of a page holds one reference; so does the page cache (one for each page of the folio), the LRU
 *       isolation, an fs-private (PG_private) and the caller of the allocator.
 *   R5  tail pages have _refcount 0 and _mapcount -1; references to them are taken on the head.
 *   R6  flags above NR_PAGEFLAGS hold zone and node, set when the memmap entry is initialised,
 *       never changed while in use.
 */
#ifndef QUIRE_PHYS_PAGE_H
#define QUIRE_PHYS_PAGE_H

#include "base/assert.h"
#include "base/list.h"
#include "base/machine.h"
#include "base/types.h"

struct address_space;
struct kmem_cache;
struct mm;

/* Names as in the kernel; the bit numbers that /proc/kpageflags shows are made in src/abi. */
#define PAGE_FLAGS(X)                                                                                                  \
    X(PG_locked, "locked")                                                                                             \
    X(PG_writeback, "writeback")                                                                                       \
    X(PG_referenced, "referenced")                                                                                     \
    X(PG_uptodate, "uptodate")                                                                                         \
    X(PG_dirty, "dirty")                                                                                               \
    X(PG_lru, "lru")                                                                                                   \
    X(PG_head, "head")                                                                                                 \
    X(PG_waiters, "waiters")                                                                                           \
    X(PG_active, "active")                                                                                             \
    X(PG_workingset, "workingset")                                                                                     \
    X(PG_owner_priv_1, "owner_priv_1") /* swapcache of an anonymous page, checked of a file page */                    \
    X(PG_owner_2, "owner_2")                                                                                           \
    X(PG_arch_1, "arch_1")                                                                                             \
    X(PG_reserved, "reserved")                                                                                         \
    X(PG_private, "private")                                                                                           \
    X(PG_private_2, "private_2")                                                                                       \
    X(PG_reclaim, "reclaim") /* readahead marker of a clean page */                                                    \
    X(PG_swapbacked, "swapbacked")                                                                                     \
    X(PG_unevictable, "unevictable")                                                                                   \
    X(PG_mlocked, "mlocked")                                                                                           \
    X(PG_hwpoison, "hwpoison")                                                                                         \
    X(PG_young, "young")                                                                                               \
    X(PG_idle, "idle")                                                                                                 \
    X(PG_anon_exclusive, "anon_exclusive") /* this process alone maps the anonymous page */                            \
    X(PG_mlock_low, "mlock_low")   /* ours: mlock_count may be below what it counts, until the page is freed */        \
    X(PG_mlock_high, "mlock_high") /* ours: or above it */

enum page_flag {
#define X(id, name) id,
    PAGE_FLAGS(X)
#undef X
        NR_PAGEFLAGS
};

/* R6: | node (10 bits) | zone (3 bits) | ... flags | */
#define NODES_PGSHIFT 54
#define ZONES_PGSHIFT 51
#define ZONES_MASK 7ul

/* What a page is that user tables do not map; in the top byte of the word, as 6.x kernels have it. */
enum page_type {
    PGTY_buddy = 0xf0u << 24,
    PGTY_offline = 0xf1u << 24,
    PGTY_table = 0xf2u << 24,
    PGTY_guard = 0xf3u << 24,
    PGTY_hugetlb = 0xf4u << 24,
    PGTY_slab = 0xf5u << 24,
    PGTY_zsmalloc = 0xf6u << 24,
    PGTY_large_kmalloc = 0xf8u << 24,
    PGTY_pcp = 0xf9u << 24, /* Quire's own: free, on a per-cpu list */
};

/* Low bits of page->mapping. */
#define PAGE_MAPPING_ANON 1ul
#define PAGE_MAPPING_MOVABLE 2ul
#define PAGE_MAPPING_KSM 3ul
#define PAGE_MAPPING_FLAGS 3ul

struct page {
    _Atomic u64 flags;
    union {
        struct { /* anonymous, page cache, free */
            union {
                struct list_head lru; /* LRU list; buddy free list; per-cpu list; caller's list */
                struct {              /* unevictable and PG_lru: no list is kept (phys/lru_mlock.c) */
                    void *unlisted_;
                    u32 mlock_count; /* lru_lock: VM_LOCKED mappings that were counted */
                };
            };
            struct address_space *mapping; /* or anon_vma | PAGE_MAPPING_ANON */
            u64 index;                     /* page offset in mapping (pgoff); free: migrate type on a per-cpu list */
            u64 private;                   /* free in the buddy: order; swap cache: entry; fs data */
        };
        struct {               /* tail of a compound page */
            u64 compound_head; /* head | 1 */
            /* first tail only: */
            u8 folio_order;
            u8 pad_[3];
            _Atomic s32 large_mapcount;  /* number of mappings of all pages, -1 */
            _Atomic s32 entire_mapcount; /* mappings of the whole by one huge entry, -1 */
            _Atomic s32 nr_pages_mapped;
            _Atomic s32 pincount;
            u32 folio_nr_pages;
        };
        struct {               /* page table (PGTY_table) */
            struct mm *pt_mm;  /* owner; NULL: the kernel's */
            u32 pt_level;      /* 1: its entries map base pages */
            u32 pt_nr_entries; /* entries in use, so that an empty table is found without a scan */
            u64 ptl_[2];       /* spinlock_t: split page-table lock */
            u64 pt_va;         /* first address it maps */
        };
        struct { /* slab (PGTY_slab): kmem/slub_priv.h */
            struct kmem_cache *slab_cache;
            union {
                struct list_head slab_list; /* node's partial list, of a debugged cache also its full list */
                struct {                    /* a CPU's partial list */
                    struct page *slab_next;
                    u64 slab_nr; /* slabs in the list from here on */
                };
            };
            _Atomic u64 slab_word; /* free list, objects, inuse, frozen in one word */
        };
        u64 words_[5];
    };
    union {
        _Atomic s32 _mapcount; /* R2 */
        _Atomic u32 page_type; /* R3 */
    };
    _Atomic s32 _refcount;
    u64 memcg_data;
};
_Static_assert(sizeof(struct page) == 64, "struct page is 64 bytes");

/* A page that is not a tail. Same memory; its own type. */
struct folio {
    struct page page;
};

static inline u64 page_to_pfn_nr(const struct machine *m, const struct page *p)
{
    return (u64)(p - m->memmap);
}

static inline pfn_t page_to_pfn(const struct machine *m, const struct page *p)
{
    return PFN((u64)(p - m->memmap));
}

/* Valid for any pfn with pfn_valid(): no test here, as in the kernel. */
static inline struct page *pfn_to_page(const struct machine *m, pfn_t pfn)
{
    return m->memmap + pfn.nr;
}

static inline phys_t page_to_phys(const struct machine *m, const struct page *p)
{
    return pfn_to_phys(page_to_pfn(m, p));
}

static inline void *page_address(const struct machine *m, const struct page *p)
{
    return phys_to_virt(m, page_to_phys(m, p));
}

static inline struct page *virt_to_page(const struct machine *m, const void *v)
{
    return pfn_to_page(m, phys_to_pfn(virt_to_phys(m, v)));
}

static inline struct folio *page_folio(struct page *p)
{
    u64 head = READ_ONCE(p->compound_head);

    return (struct folio *)(head & 1 ? (struct page *)(uintptr_t)(head - 1) : p);
}

static inline struct folio *virt_to_folio(const struct machine *m, const void *v)
{
    return page_folio(virt_to_page(m, v));
}

static inline bool PageTail(const struct page *p)
{
    return READ_ONCE(p->compound_head) & 1;
}

static inline u32 page_zonenum(const struct page *p)
{
    return (u32)(atomic_load_explicit(&((struct page *)(uintptr_t)p)->flags, memory_order_relaxed) >> ZONES_PGSHIFT &
                 ZONES_MASK);
}

static inline s32 page_to_nid(const struct page *p)
{
    return (s32)(atomic_load_explicit(&((struct page *)(uintptr_t)p)->flags, memory_order_relaxed) >> NODES_PGSHIFT);
}

/* -- flags: test, set, clear; __Set/__Clear are not atomic, for pages nobody else sees ----------------------------- */

static inline bool page_test_flag(const struct page *p, enum page_flag f)
{
    return atomic_load_explicit(&((struct page *)(uintptr_t)p)->flags, memory_order_relaxed) >> f & 1;
}

#define PAGEFLAG(Name, name, flag)                                                                                     \
    static inline bool folio_test_##name(const struct folio *f)                                                        \
    {                                                                                                                  \
        return page_test_flag(&f->page, flag);                                                                         \
    }                                                                                                                  \
    static inline void folio_set_##name(struct folio *f)                                                               \
    {                                                                                                                  \
        atomic_fetch_or_explicit(&f->page.flags, BIT(flag), memory_order_relaxed);                                     \
    }                                                                                                                  \
    static inline void folio_clear_##name(struct folio *f)                                                             \
    {                                                                                                                  \
        atomic_fetch_and_explicit(&f->page.flags, ~BIT(flag), memory_order_relaxed);                                   \
    }                                                                                                                  \
    static inline void __folio_set_##name(struct folio *f)                                                             \
    {                                                                                                                  \
        atomic_store_explicit(&f->page.flags, atomic_load_explicit(&f->page.flags, memory_order_relaxed) | BIT(flag),  \
                              memory_order_relaxed);                                                                   \
    }                                                                                                                  \
    static inline void __folio_clear_##name(struct folio *f)                                                           \
    {                                                                                                                  \
        atomic_store_explicit(&f->page.flags, atomic_load_explicit(&f->page.flags, memory_order_relaxed) & ~BIT(flag), \
                              memory_order_relaxed);                                                                   \
    }                                                                                                                  \
    static inline bool folio_test_set_##name(struct folio *f)                                                          \
    {                                                                                                                  \
        return atomic_fetch_or(&f->page.flags, BIT(flag)) >> flag & 1;                                                 \
    }                                                                                                                  \
    static inline bool folio_test_clear_##name(struct folio *f)                                                        \
    {                                                                                                                  \
        return atomic_fetch_and(&f->page.flags, ~BIT(flag)) >> flag & 1;                                               \
    }                                                                                                                  \
    static inline bool Page##Name(const struct page *p)                                                                \
    {                                                                                                                  \
        return page_test_flag(&page_folio((struct page *)(uintptr_t)p)->page, flag);                                   \
    }

PAGEFLAG(Locked, locked, PG_locked)
PAGEFLAG(Writeback, writeback, PG_writeback)
PAGEFLAG(Referenced, referenced, PG_referenced)
PAGEFLAG(Uptodate, uptodate, PG_uptodate)
PAGEFLAG(Dirty, dirty, PG_dirty)
PAGEFLAG(LRU, lru, PG_lru)
PAGEFLAG(Head, large, PG_head)
PAGEFLAG(Waiters, waiters, PG_waiters)
PAGEFLAG(Active, active, PG_active)
PAGEFLAG(Workingset, workingset, PG_workingset)
PAGEFLAG(SwapCache, swapcache, PG_owner_priv_1)
PAGEFLAG(Reserved, reserved, PG_reserved)
PAGEFLAG(Private, private, PG_private)
PAGEFLAG(Readahead, readahead, PG_reclaim)
PAGEFLAG(SwapBacked, swapbacked, PG_swapbacked)
PAGEFLAG(Unevictable, unevictable, PG_unevictable)
PAGEFLAG(Mlocked, mlocked, PG_mlocked)
PAGEFLAG(HWPoison, hwpoison, PG_hwpoison)
PAGEFLAG(Young, young, PG_young)
PAGEFLAG(Idle, idle, PG_idle)
PAGEFLAG(MlockLow, mlock_low, PG_mlock_low)
PAGEFLAG(MlockHigh, mlock_high, PG_mlock_high)

/* Per page, not per folio. */
static inline bool PageAnonExclusive(const struct page *p)
{
    return page_test_flag(p, PG_anon_exclusive);
}

static inline void SetPageAnonExclusive(struct page *p)
{
    atomic_fetch_or_explicit(&p->flags, BIT(PG_anon_exclusive), memory_order_relaxed);
}

static inline void ClearPageAnonExclusive(struct page *p)
{
    atomic_fetch_and_explicit(&p->flags, ~BIT(PG_anon_exclusive), memory_order_relaxed);
}

static inline bool page_has_type(const struct page *p, enum page_type type)
{
    u32 v = atomic_load_explicit(&((struct page *)(uintptr_t)p)->page_type, memory_order_relaxed);

    return (v & 0xff000000u) == (u32)type;
}

static inline bool PageBuddy(const struct page *p)
{
    return page_has_type(p, PGTY_buddy);
}

static inline bool PageSlab(const struct page *p)
{
    return page_has_type(p, PGTY_slab);
}

static inline bool PageTable(const struct page *p)
{
    return page_has_type(p, PGTY_table);
}

static inline bool folio_test_anon(const struct folio *f)
{
    return (uintptr_t)READ_ONCE(f->page.mapping) & PAGE_MAPPING_ANON;
}

static inline bool PageAnon(const struct page *p)
{
    return folio_test_anon(page_folio((struct page *)(uintptr_t)p));
}

/* -- folio geometry ------------------------------------------------------------------------------------------------ */

static inline unsigned int folio_order(const struct folio *f)
{
    return folio_test_large(f) ? (&f->page)[1].folio_order : 0;
}

static inline u64 folio_nr_pages(const struct folio *f)
{
    return 1ul << folio_order(f);
}

static inline struct page *folio_page(struct folio *f, u64 n)
{
    return &f->page + n;
}

static inline pgoff_t folio_index(const struct folio *f)
{
    return PGOFF(f->page.index);
}

/* -- references and mappings --------------------------------------------------------------------------------------- */

static inline s32 folio_ref_count(const struct folio *f)
{
    return atomic_load_explicit(&((struct folio *)(uintptr_t)f)->page._refcount, memory_order_relaxed);
}

static inline s32 page_count(const struct page *p)
{
    return folio_ref_count(page_folio((struct page *)(uintptr_t)p));
}

static inline void folio_get(struct folio *f)
{
    DEBUG_ASSERT(folio_ref_count(f) > 0);
    atomic_fetch_add_explicit(&f->page._refcount, 1, memory_order_relaxed);
}

static inline void folio_ref_add(struct folio *f, s32 n)
{
    atomic_fetch_add_explicit(&f->page._refcount, n, memory_order_relaxed);
}

static inline bool folio_put_testzero(struct folio *f)
{
    DEBUG_ASSERT(folio_ref_count(f) > 0);
    return atomic_fetch_sub(&f->page._refcount, 1) == 1;
}

/* Take a reference unless the page is free (R1). */
static inline bool folio_try_get(struct folio *f)
{
    s32 n = folio_ref_count(f);

    while (n != 0)
        if (atomic_compare_exchange_weak(&f->page._refcount, &n, n + 1))
            return true;
    return false;
}

static inline bool get_page_unless_zero(struct page *p)
{
    return folio_try_get((struct folio *)p);
}

static inline void get_page(struct page *p)
{
    folio_get(page_folio(p));
}

/* Drop a reference; the last one frees the folio (takes it off the LRU first). phys/lru.c */
void __folio_put(struct cpu *cpu, struct folio *f);

static inline void folio_put(struct cpu *cpu, struct folio *f)
{
    if (folio_put_testzero(f))
        __folio_put(cpu, f);
}

static inline void put_page(struct cpu *cpu, struct page *p)
{
    folio_put(cpu, page_folio(p));
}

/* Number of user mappings of the folio (any of its pages). */
static inline s32 folio_mapcount(const struct folio *f)
{
    struct page *p = (struct page *)(uintptr_t)&f->page;

    if (folio_test_large(f))
        return atomic_load_explicit(&p[1].large_mapcount, memory_order_relaxed) + 1;
    return (s32)(atomic_load_explicit(&p->_mapcount, memory_order_relaxed) + 1);
}

static inline bool folio_mapped(const struct folio *f)
{
    return folio_mapcount(f) > 0;
}

/* The page lock: sleeps in folio_lock() until PG_locked is clear. phys/page.c */
void folio_lock(struct cpu *cpu, struct folio *f);
void folio_unlock(struct cpu *cpu, struct folio *f);
static inline bool folio_trylock(struct folio *f)
{
    return !folio_test_set_locked(f);
}
void folio_wait_writeback(struct cpu *cpu, struct folio *f);
void folio_end_writeback(struct cpu *cpu, struct folio *f);

/* page table descriptor: its split lock */
#define page_ptl(p) ((spinlock_t *)(void *)(p)->ptl_)

#endif
