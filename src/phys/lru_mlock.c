/* SPDX-License-Identifier: MIT */
/*
 * Folios that VM_LOCKED mappings map: PG_mlocked, and their place away from reclaim.
 *
 * A locked folio is unevictable: it leaves the lists that reclaim scans. No list of unevictable folios is needed, so the
 * words of the list hold mlock_count, how many VM_LOCKED mappings there are:
 *
 *      evictable                     mlock_folio                  unevictable, mlock_count n
 *   on an LRU list  ──────────────────────────────────────────▶  PG_mlocked PG_unevictable   ◀─┐ mlock_folio: n + 1
 *                   ◀──────────────────────────────────────────                               ─┘ munlock_folio: n - 1
 *                            munlock_folio: n reaches 0
 *
 * Pages of a shared-memory object with AS_UNEVICTABLE (SHM_LOCK) are unevictable without being locked: those that come
 * in after it was set, for Linux leaves those that were there to reclaim to find; Unevictable counts them, Mlocked not.
 *
 * PG_mlocked is set at once; everything else waits in a batch of the CPU, since most often many folios come together.
 * While a folio is off the lists (isolated, or in another CPU's add batch) it cannot be counted: then mlock_count is too
 * small, and a later munlock_folio() makes a folio evictable that another mapping still locks. Reclaim repairs that when
 * it meets the mapping, as Linux's does. phys->mlock_uncounted tells the checks that it can have happened, phys->mlock_left
 * that folios are locked for good: of a VMA that mremap(MREMAP_DONTUNMAP) moved a part of.
 *
 * Counters   NR_MLOCK = folios' pages with PG_mlocked. unevictable_pgs_mlocked - munlocked - stranded - cleared = NR_MLOCK.
 * Invariants ML1 PG_mlocked: on an LRU then PG_unevictable, or the batch has it still.
 *            ML2 mlock_count <= VM_LOCKED mappings + operations in batches, unless mlock_left.
 * Locks      lru_lock for mlock_count and the lists; the batch is the CPU's owner's.
 * Follows Documentation/mm/unevictable-lru.rst.
 */
#include "phys/lru_priv.h"

enum mlock_op { OP_MLOCK, OP_MLOCK_NEW, OP_MUNLOCK };

static void make_evictable(struct cpu *cpu, struct lruvec *v, struct folio *f)
{
    lruvec_del_folio(cpu, v, f);
    folio_clear_unevictable(f);
    lruvec_add_folio(cpu, v, f);
    count_vm_events(cpu, UNEVICTABLE_PGRESCUED, folio_nr_pages(f));
}

void check_move_unevictable_folio(struct cpu *cpu, struct folio *f) NO_LOCK_ANALYSIS
{
    struct lruvec *v;

    count_vm_events(cpu, UNEVICTABLE_PGSCANNED, folio_nr_pages(f));
    if (!folio_test_clear_lru(f))
        return;
    v = relock_lruvec(cpu, f, NULL);
    if (folio_test_unevictable(f) && folio_evictable(f))
        make_evictable(cpu, v, f);
    folio_set_lru(f);
    unlock_lruvec(cpu, v);
}

static void mark_unevictable(struct cpu *cpu, struct folio *f)
{
    folio_clear_active(f);
    folio_set_unevictable(f);
    f->page.mlock_count = folio_test_mlocked(f);
    count_vm_events(cpu, UNEVICTABLE_PGCULLED, folio_nr_pages(f));
}

/* The folio was on a list; its lruvec is locked. */
static void do_mlock_folio(struct cpu *cpu, struct lruvec *v, struct folio *f)
{
    if (unlikely(folio_evictable(f))) { /* unlocked again meanwhile */
        if (folio_test_unevictable(f))
            make_evictable(cpu, v, f);
    } else if (folio_test_unevictable(f)) {
        f->page.mlock_count += folio_test_mlocked(f);
    } else {
        lruvec_del_folio(cpu, v, f);
        mark_unevictable(cpu, f);
        lruvec_add_folio(cpu, v, f);
    }
}

static void do_mlock_new_folio(struct cpu *cpu, struct lruvec *v, struct folio *f)
{
    if (likely(!folio_evictable(f)))
        mark_unevictable(cpu, f);
    lruvec_add_folio(cpu, v, f);
}

/* v NULL: it is on no list, somebody has it. */
static void do_munlock_folio(struct cpu *cpu, struct lruvec *v, struct folio *f)
{
    u64 nr = folio_nr_pages(f);

    if (v && folio_test_unevictable(f)) {
        if (f->page.mlock_count)
            f->page.mlock_count--;
        if (f->page.mlock_count)
            return;
    }
    if (folio_test_clear_mlocked(f)) {
        bool stranded = !v && folio_test_unevictable(f);

        mod_zone_page_state(cpu, page_zone(cpu->m, &f->page), NR_MLOCK, -(s64)nr);
        count_vm_events(cpu, stranded ? UNEVICTABLE_PGSTRANDED : UNEVICTABLE_PGMUNLOCKED, nr);
    }
    if (v && folio_test_unevictable(f) && folio_evictable(f))
        make_evictable(cpu, v, f);
}

static struct lruvec *do_op(struct cpu *cpu, struct lruvec *held, struct folio *f, enum mlock_op op)
{
    if (op != OP_MLOCK_NEW && !folio_test_clear_lru(f)) {
        atomic_fetch_add_explicit(&cpu->m->phys->mlock_uncounted, 1, memory_order_relaxed);
        if (op == OP_MUNLOCK)
            do_munlock_folio(cpu, NULL, f);
        return held;
    }
    held = relock_lruvec(cpu, f, held);
    if (op == OP_MLOCK)
        do_mlock_folio(cpu, held, f);
    else if (op == OP_MLOCK_NEW)
        do_mlock_new_folio(cpu, held, f);
    else
        do_munlock_folio(cpu, held, f);
    folio_set_lru(f);
    return held;
}

void mlock_flush_batch(struct cpu *cpu, struct lru_batches *b)
{
    struct folio_batch *batch = &b->batch[LRU_BATCH_MLOCK];
    struct lruvec *v = NULL;
    u32 nr = batch->nr;

    for (u32 i = 0; i < nr; i++)
        v = do_op(cpu, v, batch->folios[i], (enum mlock_op)b->mlock_op[i]);
    unlock_lruvec(cpu, v);
    batch->nr = 0;
    folios_put(cpu, batch->folios, nr);
}

static void batch_op(struct cpu *cpu, struct folio *f, enum mlock_op op)
{
    struct lru_batches *b = &cpu->m->phys->lru_batches[cpu->id];
    struct folio_batch *batch = &b->batch[LRU_BATCH_MLOCK];

    folio_get(f);
    b->mlock_op[batch->nr] = op;
    batch->folios[batch->nr++] = f;
    if (unlikely(batch->nr == PAGEVEC_SIZE || folio_test_large(f)))
        mlock_flush_batch(cpu, b);
}

static void set_mlocked(struct cpu *cpu, struct folio *f)
{
    if (folio_test_set_mlocked(f))
        return;
    mod_zone_page_state(cpu, page_zone(cpu->m, &f->page), NR_MLOCK, (s64)folio_nr_pages(f));
    count_vm_events(cpu, UNEVICTABLE_PGMLOCKED, folio_nr_pages(f));
}

void mlock_folio(struct cpu *cpu, struct folio *f)
{
    set_mlocked(cpu, f);
    batch_op(cpu, f, OP_MLOCK);
}

void mlock_new_folio(struct cpu *cpu, struct folio *f)
{
    DEBUG_ASSERT(!folio_test_lru(f));
    set_mlocked(cpu, f);
    batch_op(cpu, f, OP_MLOCK_NEW);
}

void munlock_folio(struct cpu *cpu, struct folio *f)
{
    batch_op(cpu, f, OP_MUNLOCK); /* PG_mlocked goes with the last mapping: known when the batch is done */
}
