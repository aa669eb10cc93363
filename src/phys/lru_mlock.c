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
 * PG_mlocked is set at once; everything else waits in a batch of the CPU, since most often many folios come together. As in
 * 6.18 munmap and exit do not drain it: a folio that was unmapped locked stays locked, and referenced, until it is full or
 * something drains it (mlock, populating, several advices, truncation, a write fault of a folio on no list).
 *
 * As in Linux the count is not always right, nor is PG_mlocked, which goes when the count is 0. A folio of which that may be
 * so is marked for the checks, until it is freed:
 *   PG_mlock_low   it was locked or unlocked while off the lists (isolated, or in another CPU's add batch), where it cannot
 *                  be counted; it was isolated while it was locked; or an earlier mapping's unlocking took PG_mlocked before its
 *                  locking was counted. It may be evictable while a mapping locks it: reclaim repairs that when it meets
 *                  the mapping.
 *   PG_mlock_high  a mapping of it lost VM_LOCKED without unlocking it (mremap(MREMAP_DONTUNMAP) of a part), or reclaim
 *                  counted a mapping once more. It may stay locked until it is freed.
 *
 * Counters   NR_MLOCK = folios' pages with PG_mlocked. unevictable_pgs_mlocked - munlocked - stranded - cleared = NR_MLOCK.
 * Invariants (vm/check.c; "mappings": of VM_LOCKED VMAs, and munlock operations in batches)
 *            ML1 PG_mlocked if and only if there are mappings; low: not without; high: not never.
 *            ML2 on an LRU and PG_unevictable: mlock_count = mappings - mlock operations in batches; low: <=; high: >=.
 *            ML3 on an LRU and PG_mlocked: PG_unevictable, unless an mlock operation on it is in a batch;
 *            ML4 on an LRU and PG_unevictable: PG_mlocked, or the mapping has AS_UNEVICTABLE (phys/phys_check.c).
 * Locks      lru_lock for mlock_count and the lists; the batch is the CPU's owner's.
 * Follows Documentation/mm/unevictable-lru.rst.
 */
#include "phys/lru_priv.h"

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

bool folio_check_evictable(struct cpu *cpu, struct folio *f) NO_LOCK_ANALYSIS
{
    struct lruvec *v;

    if (folio_test_unevictable(f))
        return false;
    if (folio_evictable(f))
        return true;
    if (!folio_test_clear_lru(f))
        return false;
    v = relock_lruvec(cpu, f, NULL);
    if (!folio_test_unevictable(f)) {
        lruvec_del_folio(cpu, v, f);
        mark_unevictable(cpu, f);
        lruvec_add_folio(cpu, v, f);
    }
    folio_set_lru(f);
    unlock_lruvec(cpu, v);
    return false;
}

/* The folio was on a list; its lruvec is locked. */
static void do_mlock_folio(struct cpu *cpu, struct lruvec *v, struct folio *f)
{
    if (unlikely(!folio_test_mlocked(f))) /* another has unlocked it meanwhile */
        folio_set_mlock_low(f);
    if (unlikely(folio_evictable(f))) {
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
    if (unlikely(!folio_test_mlocked(f)))
        folio_set_mlock_low(f);
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
        folio_set_mlock_low(f);
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
