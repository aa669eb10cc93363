/* SPDX-License-Identifier: MIT */
/*
 * The page lock and waiting for writeback.
 *
 * PG_locked and PG_writeback are bits; who finds one set and wants it clear sets PG_waiters and sleeps on one of a few
 * hundred futex words, chosen by the page's number:
 *
 *   waiter   read word ─ set PG_waiters ─ bit still set? ─ sleep while word is unchanged ─ again
 *   waker    clear bit and see PG_waiters ─ clear PG_waiters ─ word + 1 ─ wake all
 *
 * A waiter that read the word after the waker's addition set PG_waiters after it was cleared, so no wake-up is lost;
 * pages that share a word cost each other a wake-up for nothing.
 * Rank: none is checked for page locks, since their order is by page (Linux: by index within a file).
 */
#include "phys/phys_priv.h"

static _Atomic u32 *wait_word(struct machine *m, const struct page *page)
{
    u64 n = page_to_pfn_nr(m, page);

    return &m->phys->wait[(n ^ n >> 8) % NR_WAIT_WORDS];
}

static void wake_page(struct machine *m, struct page *page)
{
    _Atomic u32 *word = wait_word(m, page);

    atomic_fetch_and(&page->flags, ~BIT(PG_waiters));
    atomic_fetch_add(word, 1);
    port_futex_wake(word, 1 << 30);
}

__noinline static void folio_lock_slow(struct cpu *cpu, struct folio *f)
{
    _Atomic u32 *word = wait_word(cpu->m, &f->page);

    for (;;) {
        u32 seen = atomic_load(word);

        atomic_fetch_or(&f->page.flags, BIT(PG_waiters));
        if (folio_trylock(f))
            return;
        port_futex_wait(word, seen, 0);
    }
}

void folio_lock(struct cpu *cpu, struct folio *f)
{
    if (unlikely(!folio_trylock(f)))
        folio_lock_slow(cpu, f);
}

void folio_unlock(struct cpu *cpu, struct folio *f)
{
    u64 old = atomic_fetch_and(&f->page.flags, ~BIT(PG_locked));

    DEBUG_ASSERT(old & BIT(PG_locked));
    if (unlikely(old & BIT(PG_waiters)))
        wake_page(cpu->m, &f->page);
}

void folio_wait_writeback(struct cpu *cpu, struct folio *f)
{
    _Atomic u32 *word = wait_word(cpu->m, &f->page);

    while (folio_test_writeback(f)) {
        u32 seen = atomic_load(word);

        atomic_fetch_or(&f->page.flags, BIT(PG_waiters));
        if (folio_test_writeback(f))
            port_futex_wait(word, seen, 0);
    }
}

/* The caller has set PG_writeback and keeps a reference; the folio may be freed as soon as the waiters run. */
void folio_end_writeback(struct cpu *cpu, struct folio *f)
{
    u64 old = atomic_fetch_and(&f->page.flags, ~BIT(PG_writeback));

    DEBUG_ASSERT(old & BIT(PG_writeback));
    if (unlikely(old & BIT(PG_waiters)))
        wake_page(cpu->m, &f->page);
}
