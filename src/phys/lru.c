/* SPDX-License-Identifier: MIT */
/*
 * LRU lists: one lruvec in each node, five lists in it.
 *
 *                 folio_add_lru            batch of 31 full, or drained
 *   new folio ──────────────────► add batch ──────────────────────────► inactive ◄──► active      unevictable
 *                (+1 reference)               (-1 reference)                 folio_mark_accessed
 *                                                                            via the activate batch
 *
 * The batches are there because a list costs a lock shared by the whole node; each CPU takes it once for 31 folios.
 *
 * Invariants (phys_check.c)
 *   L1  PG_lru is set exactly while the folio is on a list; whoever clears it (test-and-clear) may take the folio off
 *   L2  which list follows from PG_unevictable, PG_active, PG_swapbacked (anonymous and shared memory; else file)
 *   L3  node and zone counters NR_[ZONE_]INACTIVE_ANON + list count the pages on each list
 *   L4  a folio in a batch has a reference for it
 *
 * Lock: lruvec->lru_lock for lists and PG_active/PG_unevictable changes of folios on them. Batches: the CPU's owner.
 * Follows mm/swap.c's interface and Documentation/mm/unevictable-lru.rst.
 */
#include "phys/phys_priv.h"

static enum lru_list folio_lru_list(const struct folio *f)
{
    enum lru_list lru;

    if (folio_test_unevictable(f))
        return LRU_UNEVICTABLE;
    lru = folio_test_swapbacked(f) ? LRU_INACTIVE_ANON : LRU_INACTIVE_FILE;
    return folio_test_active(f) ? (enum lru_list)(lru + 1) : lru;
}

static void update_lru_size(struct cpu *cpu, struct folio *f, enum lru_list lru, s64 pages)
{
    struct zone *zone = page_zone(cpu->m, &f->page);

    mod_node_page_state(cpu, zone->zone_pgdat, (enum node_stat_item)(NR_INACTIVE_ANON + lru), pages);
    mod_zone_page_state(cpu, zone, (enum zone_stat_item)(NR_ZONE_INACTIVE_ANON + lru), pages);
}

static void lruvec_add_folio(struct cpu *cpu, struct lruvec *v, struct folio *f)
{
    enum lru_list lru = folio_lru_list(f);

    update_lru_size(cpu, f, lru, (s64)folio_nr_pages(f));
    list_add(&f->page.lru, &v->lists[lru]);
}

static void lruvec_del_folio(struct cpu *cpu, struct lruvec *v, struct folio *f)
{
    list_del(&f->page.lru);
    update_lru_size(cpu, f, folio_lru_list(f), -(s64)folio_nr_pages(f));
}

static struct lruvec *folio_lruvec(const struct machine *m, const struct folio *f)
{
    return &NODE_DATA(m, page_to_nid(&f->page))->lruvec;
}

static void unlock_lruvec(struct cpu *cpu, struct lruvec *held) NO_LOCK_ANALYSIS
{
    if (held)
        spin_unlock(cpu, &held->lru_lock);
}

/* Hold f's lruvec instead of `held` (NULL: none); to be let go by unlock_lruvec(). */
static struct lruvec *relock_lruvec(struct cpu *cpu, struct folio *f, struct lruvec *held) NO_LOCK_ANALYSIS
{
    struct lruvec *v = folio_lruvec(cpu->m, f);

    if (v == held)
        return v;
    unlock_lruvec(cpu, held);
    spin_lock(cpu, &v->lru_lock);
    return v;
}

/* -- batches ------------------------------------------------------------------------------------------------------- */

static void lru_add_one(struct cpu *cpu, struct lruvec *v, struct folio *f)
{
    if (folio_test_mlocked(f)) {
        folio_clear_active(f);
        folio_set_unevictable(f);
        count_vm_events(cpu, UNEVICTABLE_PGCULLED, folio_nr_pages(f));
    } else {
        folio_clear_unevictable(f);
    }
    lruvec_add_folio(cpu, v, f);
    folio_set_lru(f);
}

static void lru_activate_one(struct cpu *cpu, struct lruvec *v, struct folio *f)
{
    if (folio_test_active(f) || folio_test_unevictable(f))
        return;
    lruvec_del_folio(cpu, v, f);
    folio_set_active(f);
    lruvec_add_folio(cpu, v, f);
    count_vm_events(cpu, PGACTIVATE, folio_nr_pages(f));
}

enum batch_kind { BATCH_ADD, BATCH_ACTIVATE };

/* Move the batch's folios and drop its references. */
static void flush_batch(struct cpu *cpu, struct folio_batch *batch, enum batch_kind kind)
{
    struct lruvec *v = NULL;
    u32 nr = batch->nr;

    for (u32 i = 0; i < nr; i++) {
        struct folio *f = batch->folios[i];

        if (kind == BATCH_ACTIVATE && !folio_test_clear_lru(f))
            continue; /* somebody has isolated it */
        v = relock_lruvec(cpu, f, v);
        if (kind == BATCH_ADD) {
            lru_add_one(cpu, v, f);
        } else {
            lru_activate_one(cpu, v, f);
            folio_set_lru(f);
        }
    }
    unlock_lruvec(cpu, v);
    batch->nr = 0;
    folios_put(cpu, batch->folios, nr);
}

static void batch_add(struct cpu *cpu, struct folio_batch *batch, struct folio *f, enum batch_kind kind)
{
    folio_get(f);
    batch->folios[batch->nr++] = f;
    if (unlikely(batch->nr == PAGEVEC_SIZE || folio_test_large(f)))
        flush_batch(cpu, batch, kind);
}

void folio_add_lru(struct cpu *cpu, struct folio *f)
{
    DEBUG_ASSERT(!folio_test_lru(f));
    batch_add(cpu, &cpu->m->phys->lru_batches[cpu->id].add, f, BATCH_ADD);
}

static void drain_batches(struct cpu *cpu, u32 id)
{
    struct lru_batches *b = &cpu->m->phys->lru_batches[id];

    if (b->add.nr)
        flush_batch(cpu, &b->add, BATCH_ADD);
    if (b->activate.nr)
        flush_batch(cpu, &b->activate, BATCH_ACTIVATE);
}

void lru_add_drain(struct cpu *cpu)
{
    drain_batches(cpu, cpu->id);
}

static void drain_cpu(struct cpu *cpu, u32 id, void *unused)
{
    struct lru_batches *b = &cpu->m->phys->lru_batches[id];

    if (b->add.nr || b->activate.nr)
        drain_batches(cpu, id);
    atomic_fetch_and(&cpu->m->cpus[id].work, ~(u32)CPU_WORK_DRAIN_LRU);
}

/* This CPU and CPUs that nobody owns at once; the owners of the others when they next do posted work. */
void lru_add_drain_all(struct cpu *cpu)
{
    on_each_cpu_work(cpu, CPU_WORK_DRAIN_LRU, drain_cpu, NULL);
}

/* -- use ----------------------------------------------------------------------------------------------------------- */

/* Accessed a second time while still in the add batch: it will be added as active. */
static void activate_in_batch(struct cpu *cpu, struct folio *f)
{
    struct folio_batch *add = &cpu->m->phys->lru_batches[cpu->id].add;

    for (u32 i = add->nr; i-- > 0;) {
        if (add->folios[i] == f) {
            folio_set_active(f);
            return;
        }
    }
}

void folio_mark_accessed(struct cpu *cpu, struct folio *f)
{
    if (!folio_test_referenced(f)) {
        folio_set_referenced(f);
    } else if (!folio_test_unevictable(f) && !folio_test_active(f)) {
        if (folio_test_lru(f))
            batch_add(cpu, &cpu->m->phys->lru_batches[cpu->id].activate, f, BATCH_ACTIVATE);
        else
            activate_in_batch(cpu, f);
        folio_clear_referenced(f);
    }
    if (folio_test_idle(f))
        folio_clear_idle(f);
}

bool folio_isolate_lru(struct cpu *cpu, struct folio *f)
{
    struct lruvec *v;

    DEBUG_ASSERT(folio_ref_count(f) > 0);
    if (!folio_test_clear_lru(f))
        return false;
    folio_get(f);
    v = relock_lruvec(cpu, f, NULL);
    lruvec_del_folio(cpu, v, f);
    unlock_lruvec(cpu, v);
    return true;
}

void folio_putback_lru(struct cpu *cpu, struct folio *f)
{
    folio_add_lru(cpu, f);
    folio_put(cpu, f); /* isolation's reference */
}

/* -- the last reference -------------------------------------------------------------------------------------------- */

static void take_off_for_free(struct cpu *cpu, struct lruvec *v, struct folio *f)
{
    lruvec_del_folio(cpu, v, f);
    __folio_clear_lru(f);
    __folio_clear_active(f);
    __folio_clear_unevictable(f);
}

/* Pages on no list may still be marked for one. */
static void clear_list_marks(struct folio *f)
{
    if (unlikely(folio_test_active(f)))
        __folio_clear_active(f);
    if (unlikely(folio_test_unevictable(f)))
        __folio_clear_unevictable(f);
}

void __folio_put(struct cpu *cpu, struct folio *f)
{
    if (folio_test_lru(f)) {
        struct lruvec *v = relock_lruvec(cpu, f, NULL);

        take_off_for_free(cpu, v, f);
        unlock_lruvec(cpu, v);
    } else {
        clear_list_marks(f);
    }
    free_unref_page(cpu, &f->page, folio_order(f));
}

/* Drop one reference of each; those that were the last are taken off their lists under one lock and freed together. */
void folios_put(struct cpu *cpu, struct folio **folios, u32 nr)
{
    struct lruvec *v = NULL;
    u32 dead = 0;

    for (u32 i = 0; i < nr; i++) {
        struct folio *f = folios[i];

        if (!folio_put_testzero(f))
            continue;
        if (folio_test_lru(f)) {
            v = relock_lruvec(cpu, f, v);
            take_off_for_free(cpu, v, f);
        } else {
            clear_list_marks(f);
        }
        folios[dead++] = f;
    }
    unlock_lruvec(cpu, v);
    free_unref_folios(cpu, folios, dead);
}
