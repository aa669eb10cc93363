/* SPDX-License-Identifier: MIT */
/* Exact sizes, split blocks and bulk allocation on top of the page allocator. */
#include "phys/phys_priv.h"

/* A block that is no folio becomes 2^order single pages, each with its own reference. */
void split_page(struct cpu *cpu, struct page *page, unsigned int order)
{
    ASSERT(!page_test_flag(page, PG_head) && page_count(page) == 1);
    for (u64 i = 1; i < 1ul << order; i++)
        atomic_store_explicit(&page[i]._refcount, 1, memory_order_relaxed);
}

void *alloc_pages_exact(struct cpu *cpu, u64 bytes, gfp_t gfp)
{
    unsigned int order = get_order(bytes);
    u64 used = DIV_ROUND_UP(bytes, PAGE_SIZE);
    struct page *page;

    ASSERT(!(gfp & __GFP_COMP));
    page = bytes ? alloc_pages(cpu, gfp & ~__GFP_HIGHMEM, order) : NULL;
    if (!page)
        return NULL;
    split_page(cpu, page, order);
    for (u64 i = used; i < 1ul << order; i++)
        __free_page(cpu, page + i);
    return page_address(cpu->m, page);
}

void free_pages_exact(struct cpu *cpu, void *addr, u64 bytes)
{
    struct page *page = virt_to_page(cpu->m, addr);

    for (u64 i = 0; i < DIV_ROUND_UP(bytes, PAGE_SIZE); i++)
        __free_page(cpu, page + i);
}

/* One request at a time: the per-cpu lists already take the zone lock once for a batch. Stops at the first failure. */
unsigned long alloc_pages_bulk(struct cpu *cpu, gfp_t gfp, int nid, unsigned long nr, struct page **array)
{
    unsigned long filled = 0;

    for (; filled < nr; filled++) {
        if (!array[filled])
            array[filled] = alloc_pages_node(cpu, nid, gfp, 0);
        if (!array[filled])
            break;
    }
    for (unsigned long i = filled; i < nr; i++)
        if (array[i]) /* slots behind a gap that stays empty count too */
            filled++;
    return filled;
}
