/* SPDX-License-Identifier: MIT */
/* The page allocator's interface (mm/page_alloc.c in Linux).
 * All may be called with any lock that ranks before RANK_ZONE. */
#ifndef QUIRE_PHYS_PAGE_ALLOC_H
#define QUIRE_PHYS_PAGE_ALLOC_H

#include "phys/gfp.h"
#include "phys/page.h"

#define MAX_PAGE_ORDER 10
#define NR_PAGE_ORDERS (MAX_PAGE_ORDER + 1)
#define pageblock_order 9
#define pageblock_nr_pages (1ul << pageblock_order)
#define PAGE_ALLOC_COSTLY_ORDER 3

/*
 * 2^order contiguous pages, refcount 1; compound with __GFP_COMP, zeroed with __GFP_ZERO where the machine
 * keeps contents (kernel pages always, user pages with content=full: __GFP_MOVABLE or __GFP_HIGHMEM marks
 * user pages). NULL: -ENOMEM.
 */
struct page *alloc_pages(struct cpu *cpu, gfp_t gfp, unsigned int order);
struct page *alloc_pages_node(struct cpu *cpu, int nid, gfp_t gfp, unsigned int order);
struct page *__alloc_pages(struct cpu *cpu, gfp_t gfp, unsigned int order, int preferred_nid, const u64 *nodemask);
static inline struct page *alloc_page(struct cpu *cpu, gfp_t gfp)
{
    return alloc_pages(cpu, gfp, 0);
}
struct folio *folio_alloc(struct cpu *cpu, gfp_t gfp, unsigned int order); /* adds __GFP_COMP */

/* Drop the caller's reference; free what was not compound, with the order it was allocated with. */
void __free_pages(struct cpu *cpu, struct page *page, unsigned int order);
static inline void __free_page(struct cpu *cpu, struct page *page)
{
    __free_pages(cpu, page, 0);
}
/* Free a page whose refcount has already dropped to 0 (for __folio_put). */
void free_unref_page(struct cpu *cpu, struct page *page, unsigned int order);
/* Free a batch of order-0 or compound folios whose refcounts are all 0 already. */
void free_unref_folios(struct cpu *cpu, struct folio **folios, unsigned int nr);

/* Kernel memory by address in the direct map. */
void *__get_free_pages(struct cpu *cpu, gfp_t gfp, unsigned int order);
void *get_zeroed_page(struct cpu *cpu, gfp_t gfp);
void free_pages(struct cpu *cpu, void *addr, unsigned int order);

/* Exactly `bytes`, rounded up to pages, of a power-of-two block; the rest of the block is freed at once. */
void *alloc_pages_exact(struct cpu *cpu, u64 bytes, gfp_t gfp);
void free_pages_exact(struct cpu *cpu, void *addr, u64 bytes);
void split_page(struct cpu *cpu, struct page *page, unsigned int order);

/* Fill the NULL slots of array[0..nr) with order-0 pages; returns how many slots are filled in all. */
unsigned long alloc_pages_bulk(struct cpu *cpu, gfp_t gfp, int nid, unsigned long nr, struct page **array);

/* Give every page on this CPU's per-cpu lists back to its zone; all CPUs: posts CPU_WORK_DRAIN_PCP. */
void drain_local_pages(struct cpu *cpu);
void drain_all_pages(struct cpu *cpu);

u64 nr_free_pages(const struct machine *m);  /* pages, lists of CPUs included */
u64 totalram_pages(const struct machine *m); /* pages managed by the buddy allocator */

#endif
