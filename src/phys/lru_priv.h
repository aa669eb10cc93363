/* SPDX-License-Identifier: MIT */
/* Between lru.c and lru_mlock.c: a folio on a list and off it, with the counters; the lruvec's lock. */
#ifndef QUIRE_PHYS_LRU_PRIV_H
#define QUIRE_PHYS_LRU_PRIV_H

#include "phys/phys_priv.h"

static inline enum lru_list folio_lru_list(const struct folio *f)
{
    enum lru_list lru;

    if (folio_test_unevictable(f))
        return LRU_UNEVICTABLE;
    lru = folio_test_swapbacked(f) ? LRU_INACTIVE_ANON : LRU_INACTIVE_FILE;
    return folio_test_active(f) ? (enum lru_list)(lru + 1) : lru;
}

static inline void update_lru_size(struct cpu *cpu, struct folio *f, enum lru_list lru, s64 pages)
{
    struct zone *zone = page_zone(cpu->m, &f->page);

    mod_node_page_state(cpu, zone->zone_pgdat, (enum node_stat_item)(NR_INACTIVE_ANON + lru), pages);
    mod_zone_page_state(cpu, zone, (enum zone_stat_item)(NR_ZONE_INACTIVE_ANON + lru), pages);
}

static inline void lruvec_add_folio(struct cpu *cpu, struct lruvec *v, struct folio *f)
{
    enum lru_list lru = folio_lru_list(f);

    update_lru_size(cpu, f, lru, (s64)folio_nr_pages(f));
    if (likely(lru != LRU_UNEVICTABLE))
        list_add(&f->page.lru, &v->lists[lru]);
}

static inline void lruvec_del_folio(struct cpu *cpu, struct lruvec *v, struct folio *f)
{
    enum lru_list lru = folio_lru_list(f);

    if (likely(lru != LRU_UNEVICTABLE))
        list_del(&f->page.lru);
    update_lru_size(cpu, f, lru, -(s64)folio_nr_pages(f));
}

static inline struct lruvec *folio_lruvec(const struct machine *m, const struct folio *f)
{
    return &NODE_DATA(m, page_to_nid(&f->page))->lruvec;
}

static inline void unlock_lruvec(struct cpu *cpu, struct lruvec *held) NO_LOCK_ANALYSIS
{
    if (held)
        spin_unlock(cpu, &held->lru_lock);
}

/* Hold f's lruvec instead of `held` (NULL: none); to be let go by unlock_lruvec(). */
static inline struct lruvec *relock_lruvec(struct cpu *cpu, struct folio *f, struct lruvec *held) NO_LOCK_ANALYSIS
{
    struct lruvec *v = folio_lruvec(cpu->m, f);

    if (v == held)
        return v;
    unlock_lruvec(cpu, held);
    spin_lock(cpu, &v->lru_lock);
    return v;
}

/* The MLOCK batch's part of lru_add_drain(). */
void mlock_flush_batch(struct cpu *cpu, struct lru_batches *b);

#endif
