/* SPDX-License-Identifier: MIT */
/* Between the files of src/phys only. */
#ifndef QUIRE_PHYS_PHYS_PRIV_H
#define QUIRE_PHYS_PHYS_PRIV_H

#include "base/errno.h"
#include "phys/phys.h"
#include "phys/pressure.h"

/* Flags that a page being freed, and a page being handed out, must not have. */
#define PAGE_FLAGS_CHECK_AT_FREE                                                                                       \
    (BIT(PG_lru) | BIT(PG_locked) | BIT(PG_private) | BIT(PG_private_2) | BIT(PG_writeback) | BIT(PG_reserved) |       \
     BIT(PG_active) | BIT(PG_unevictable) | BIT(PG_mlocked))
#define PAGE_FLAGS_ALL (BIT(NR_PAGEFLAGS) - 1)
#define PAGE_FLAGS_CHECK_AT_PREP (PAGE_FLAGS_ALL & ~BIT(PG_hwpoison))
#define PAGE_TYPE_NONE 0xffffffffu /* _mapcount -1 */

/* How an allocation may go about it; the lowest two bits index _watermark[]. */
enum alloc_flags {
    ALLOC_WMARK_MIN = WMARK_MIN,
    ALLOC_WMARK_LOW = WMARK_LOW,
    ALLOC_WMARK_HIGH = WMARK_HIGH,
    ALLOC_WMARK_MASK = 3,
    ALLOC_NO_WATERMARKS = 0x04,
    ALLOC_OOM = 0x08,         /* an OOM victim: half of the reserve */
    ALLOC_NON_BLOCK = 0x10,   /* cannot reclaim: a quarter of the reserve more */
    ALLOC_MIN_RESERVE = 0x20, /* __GFP_HIGH: half of the reserve */
    ALLOC_CPUSET = 0x40,
    ALLOC_CMA = 0x80,
    ALLOC_NOFRAGMENT = 0x100, /* rather another zone than a pageblock of another type */
    ALLOC_HIGHATOMIC = 0x200, /* high-order and atomic: may use the highatomic reserve */
    ALLOC_KSWAPD = 0x800,     /* may wake kswapd */
};
#define ALLOC_RESERVES (ALLOC_NON_BLOCK | ALLOC_MIN_RESERVE | ALLOC_HIGHATOMIC | ALLOC_OOM)

/* -- memmodel.c ---------------------------------------------------------------------------------------------------- */
int memmodel_init(struct cpu *cpu);
void memmap_init_block(struct machine *m, u64 block);
int memmap_hand_over(struct cpu *cpu); /* memblock's free memory to the zones */
bool deferred_grow_zone(struct machine *m, struct zone *zone);
bool memmap_block_is_init(const struct machine *m, u64 block);

/* -- buddy.c: all with zone->lock held ----------------------------------------------------------------------------- */
struct page *rmqueue_smallest(struct machine *m, struct zone *zone, unsigned int order, enum migratetype mt);
struct page *rmqueue(struct machine *m, struct zone *zone, unsigned int order, enum migratetype mt, u32 alloc_flags);
enum free_flags { FREE_TO_HEAD, FREE_TO_TAIL };
void free_one_page(struct machine *m, struct zone *zone, struct page *page, unsigned int order, enum migratetype mt,
                   enum free_flags where);
void set_pageblock_mt(struct machine *m, u64 pfn, enum migratetype mt);
/* Moves the free pages of pfn's pageblock to another type's lists and changes the block's type; pages moved. */
u64 move_freepages_block(struct machine *m, struct zone *zone, u64 pfn, enum migratetype to);
/* buddy_steal.c */
struct page *rmqueue_fallback(struct machine *m, struct zone *zone, unsigned int order, enum migratetype mt,
                              u32 alloc_flags);
/* Take the lock themselves. */
void reserve_highatomic_pageblock(struct cpu *cpu, struct zone *zone, struct page *page, unsigned int order);
bool unreserve_highatomic_pageblock(struct cpu *cpu, const struct alloc_context *ac, bool force);

/* The list of `order` and `mt` as if all of the zone were initialised. */
static inline struct page *free_area_first(struct machine *m, struct zone *zone, unsigned int order,
                                           enum migratetype mt)
{
    struct free_area *area = &zone->free_area[order];

    if (unlikely(order == MAX_PAGE_ORDER && mt == MIGRATE_MOVABLE && list_empty(&area->free_list[mt])))
        deferred_grow_zone(m, zone);
    return list_first_entry_or_null(&area->free_list[mt], struct page, lru);
}

static inline u32 nr_free_blocks(const struct zone *z, unsigned int order, enum migratetype mt)
{
    struct zone *zone = (struct zone *)(uintptr_t)z;
    u32 n = atomic_load_explicit(&zone->free_area[order].nr_free[mt], memory_order_relaxed);

    if (order == MAX_PAGE_ORDER && mt == MIGRATE_MOVABLE)
        n += (u32)atomic_load_explicit(&zone->nr_deferred_blocks, memory_order_relaxed);
    return n;
}

/* Which requests have plenty, for the fast path; to be called whenever free pages, watermarks or reserves changed. */
static inline void zone_update_rich(struct zone *zone)
{
    s64 free = atomic_load_explicit(&zone->vm_stat[NR_FREE_PAGES], memory_order_relaxed);
    u64 need = wmark_pages(zone, WMARK_HIGH) +
               atomic_load_explicit(&zone->nr_reserved_highatomic, memory_order_relaxed) +
               (u64)atomic_load_explicit(&zone->vm_stat[NR_FREE_CMA_PAGES], memory_order_relaxed);
    u8 rich = 0;

    for (u32 i = 0; i < MAX_NR_ZONES; i++)
        if (free > (s64)(need + atomic_load_explicit(&zone->lowmem_reserve[i], memory_order_relaxed)))
            rich |= (u8)(1u << i);
    atomic_store_explicit(&zone->rich, rich, memory_order_relaxed);
}

static inline void zone_unlock(struct cpu *cpu, struct zone *zone) RELEASES(zone->lock)
{
    zone_update_rich(zone);
    spin_unlock(cpu, &zone->lock);
}

/* -- watermark.c --------------------------------------------------------------------------------------------------- */
void setup_per_zone_wmarks(struct machine *m);
void refresh_zone_stat_thresholds(struct machine *m);
int init_per_zone_wmark_min(struct machine *m);
bool zone_watermark_ok(const struct zone *z, unsigned int order, u64 mark, enum zone_type highest, u32 alloc_flags);
bool zone_watermark_ok_free(const struct zone *z, unsigned int order, u64 mark, enum zone_type highest, u32 alloc_flags,
                            u64 free_pages);
u64 int_sqrt(u64 n);

/* -- pcp.c --------------------------------------------------------------------------------------------------------- */
static inline bool pcp_allowed_order(unsigned int order)
{
    return order <= PAGE_ALLOC_COSTLY_ORDER || order == pageblock_order;
}

static inline unsigned int pcp_list_index(enum migratetype mt, unsigned int order)
{
    return order <= PAGE_ALLOC_COSTLY_ORDER ? order * MIGRATE_PCPTYPES + (unsigned int)mt : NR_LOWORDER_PCP_LISTS;
}

static inline unsigned int pcp_index_order(unsigned int index)
{
    return index < NR_LOWORDER_PCP_LISTS ? index / MIGRATE_PCPTYPES : pageblock_order;
}

static inline enum migratetype pcp_index_mt(unsigned int index)
{
    return index < NR_LOWORDER_PCP_LISTS ? (enum migratetype)(index % MIGRATE_PCPTYPES) : MIGRATE_MOVABLE;
}

void pcp_init(struct per_cpu_zone *pcp);
/* Take pages from the buddy lists; false: none. */
bool pcp_refill(struct cpu *cpu, struct zone *zone, struct per_cpu_zone *pcp, unsigned int order, enum migratetype mt,
                u32 alloc_flags);
void pcp_trim(struct cpu *cpu, struct zone *zone, struct per_cpu_zone *pcp, unsigned int list, bool free_high);
void pcp_drain(struct cpu *cpu, struct zone *zone, struct per_cpu_zone *pcp);

/* -- page_alloc.c -------------------------------------------------------------------------------------------------- */
struct page *get_page_from_freelist(struct cpu *cpu, gfp_t gfp, unsigned int order, u32 alloc_flags,
                                    struct alloc_context *ac);
/* alloc_slow.c */
struct page *alloc_pages_slowpath(struct cpu *cpu, gfp_t gfp, unsigned int order, struct alloc_context *ac);
u32 gfp_to_alloc_flags_cma(gfp_t gfp, u32 alloc_flags);
void prep_new_page(struct cpu *cpu, struct page *page, unsigned int order, gfp_t gfp);
_Noreturn void bad_page(struct machine *m, const struct page *page, const char *why);

static inline const struct pressure_ops *pressure_of(const struct cpu *cpu)
{
    return cpu->code && cpu->code->pressure ? cpu->code->pressure : &pressure_none;
}

#endif
