/* SPDX-License-Identifier: MIT */
#include "phys/phys_priv.h"

/* Frames of the block that starts at page: how the memmap says so. */
static u64 block_frames(struct machine *m, struct page *page, u64 pfn, u64 end)
{
    u64 n = 1;

    if (PageBuddy(page) || page_has_type(page, PGTY_pcp))
        return 1ul << page->private;
    if (page_test_flag(page, PG_head))
        return 1ul << page[1].folio_order;
    if (page_test_flag(page, PG_reserved))
        return 1;
    /* the rest of a block that is no folio: frames without references */
    while (pfn + n < end && !folio_ref_count((struct folio *)(page + n)) && !PageTail(page + n) &&
           !PageBuddy(page + n) && !page_has_type(page + n, PGTY_pcp))
        n++;
    return n;
}

void phys_for_each_used_page(struct machine *m, void (*fn)(struct machine *m, struct page *page, u64 nr_frames, void *arg),
                             void *arg)
{
    for (u64 block = 0; block < m->phys->nr_blocks; block++) {
        u64 pfn = block << MAX_PAGE_ORDER, end = MIN(pfn + MAX_ORDER_NR_PAGES, m->phys->max_pfn);

        while (memmap_block_is_init(m, block) && pfn < end) {
            struct page *page = m->memmap + pfn;
            u64 n = block_frames(m, page, pfn, end);

            if (!PageBuddy(page) && !page_has_type(page, PGTY_pcp) && !page_test_flag(page, PG_reserved))
                fn(m, page, n, arg);
            pfn += n;
        }
    }
}

void phys_check(struct machine *m, struct check_report *r)
{
    memblock_check(&m->phys->memblock, r);
}
