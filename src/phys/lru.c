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
 *   L5  PG_unevictable folios are counted, but on no list: nothing ever scans them (lru_mlock.c)
 *
 * Lock: lruvec->lru_lock for lists and PG_active/PG_unevictable changes of folios on them. Batches: the CPU's owner.
 * Follows mm/swap.c's interface and Documentation/mm/unevictable-lru.rst.
 */
#include "phys/lru_priv.h"

/* -- batches ------------------------------------------------------------------------------------------------------- */

static void lru_add_one(struct cpu *cpu, struct lruvec *v, struct folio *f)
{
    bool was_unevictable = folio_test_unevictable(f);

    if (folio_evictable(f)) {
        folio_clear_unevictable(f);
        if (unlikely(was_unevictable))
            count_vm_events(cpu, UNEVICTABLE_PGRESCUED, folio_nr_pages(f));
    } else {
        folio_clear_active(f);
        folio_set_unevictable(f);
        f->page.mlock_count = 0; /* the lock that is under way adds itself */
        if (!was_unevictable)
            count_vm_events(cpu, UNEVICTABLE_PGCULLED, folio_nr_pages(f));
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

static void lru_deactivate_one(struct cpu *cpu, struct lruvec *v, struct folio *f)
{
    if (!folio_test_active(f) || folio_test_unevictable(f))
        return;
    lruvec_del_folio(cpu, v, f);
    folio_clear_active(f);
    folio_clear_referenced(f);
    lruvec_add_folio(cpu, v, f);
    count_vm_events(cpu, PGDEACTIVATE, folio_nr_pages(f));
}

static bool can_be_lazyfree(const struct folio *f)
{
    return folio_test_anon(f) && folio_test_swapbacked(f) && !folio_test_swapcache(f) && !folio_test_unevictable(f);
}

static void lru_lazyfree_one(struct cpu *cpu, struct lruvec *v, struct folio *f)
{
    if (!can_be_lazyfree(f))
        return;
    lruvec_del_folio(cpu, v, f);
    folio_clear_active(f);
    folio_clear_referenced(f);
    folio_clear_swapbacked(f); /* on the file list from here on */
    lruvec_add_folio(cpu, v, f);
    count_vm_events(cpu, PGLAZYFREE, folio_nr_pages(f));
}

static void move_one(struct cpu *cpu, struct lruvec *v, struct folio *f, enum lru_batch kind)
{
    switch (kind) {
    case LRU_BATCH_ADD:
        lru_add_one(cpu, v, f);
        return;
    case LRU_BATCH_ACTIVATE:
        lru_activate_one(cpu, v, f);
        break;
    case LRU_BATCH_DEACTIVATE:
        lru_deactivate_one(cpu, v, f);
        break;
    default:
        lru_lazyfree_one(cpu, v, f);
    }
    folio_set_lru(f);
}

/* Move the batch's folios and drop its references. */
static void flush_batch(struct cpu *cpu, struct lru_batches *b, enum lru_batch kind)
{
    struct folio_batch *batch = &b->batch[kind];
    struct lruvec *v = NULL;
    u32 nr = batch->nr;

    for (u32 i = 0; i < nr; i++) {
        struct folio *f = batch->folios[i];

        if (kind != LRU_BATCH_ADD && !folio_test_clear_lru(f))
            continue; /* somebody has isolated it */
        v = relock_lruvec(cpu, f, v);
        move_one(cpu, v, f, kind);
    }
    unlock_lruvec(cpu, v);
    batch->nr = 0;
    folios_put(cpu, batch->folios, nr);
}

static void batch_add(struct cpu *cpu, struct folio *f, enum lru_batch kind)
{
    struct lru_batches *b = &cpu->m->phys->lru_batches[cpu->id];
    struct folio_batch *batch = &b->batch[kind];

    folio_get(f);
    batch->folios[batch->nr++] = f;
    if (unlikely(batch->nr == PAGEVEC_SIZE || folio_test_large(f)))
        flush_batch(cpu, b, kind);
}

void folio_add_lru(struct cpu *cpu, struct folio *f)
{
    DEBUG_ASSERT(!folio_test_lru(f));
    batch_add(cpu, f, LRU_BATCH_ADD);
}

void folio_deactivate(struct cpu *cpu, struct folio *f)
{
    if (folio_test_lru(f) && folio_test_active(f) && !folio_test_unevictable(f))
        batch_add(cpu, f, LRU_BATCH_DEACTIVATE);
}

void folio_mark_lazyfree(struct cpu *cpu, struct folio *f)
{
    if (folio_test_lru(f) && can_be_lazyfree(f))
        batch_add(cpu, f, LRU_BATCH_LAZYFREE);
}

static void drain_batches(struct cpu *cpu, u32 id)
{
    struct lru_batches *b = &cpu->m->phys->lru_batches[id];

    for (u32 kind = 0; kind < LRU_BATCH_MLOCK; kind++)
        if (b->batch[kind].nr)
            flush_batch(cpu, b, (enum lru_batch)kind);
    if (b->batch[LRU_BATCH_MLOCK].nr)
        mlock_flush_batch(cpu, b);
}

void lru_add_drain(struct cpu *cpu)
{
    drain_batches(cpu, cpu->id);
}

static void drain_cpu(struct cpu *cpu, u32 id, void *unused)
{
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
    struct folio_batch *add = &cpu->m->phys->lru_batches[cpu->id].batch[LRU_BATCH_ADD];

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
            batch_add(cpu, f, LRU_BATCH_ACTIVATE);
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
    if (folio_test_mlocked(f))
        folio_set_mlock_low(f); /* the words of the list, and with them mlock_count, are the caller's */
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

/* Truncation overtook an munlock(). Rare, and no harm. */
static __cold void clear_mlocked(struct cpu *cpu, struct folio *f)
{
    mod_zone_page_state(cpu, page_zone(cpu->m, &f->page), NR_MLOCK, -(s64)folio_nr_pages(f));
    count_vm_events(cpu, UNEVICTABLE_PGCLEARED, folio_nr_pages(f));
    __folio_clear_mlocked(f);
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
    if (unlikely(folio_test_mlocked(f)))
        clear_mlocked(cpu, f);
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
        if (unlikely(folio_test_mlocked(f)))
            clear_mlocked(cpu, f);
        folios[dead++] = f;
    }
    unlock_lruvec(cpu, v);
    free_unref_folios(cpu, folios, dead);
}
