/* SPDX-License-Identifier: MIT */
/*
 * The page-table API's inline functions: encoders and decoders over struct pt_format (arch/pt_format.h), and atomic
 * changes of entries. Included by pt/pt.h alone, which lists them. All are always inlined: with a constant format each
 * test of a field is decided by the compiler, with a variable one it costs a load from a line that is in the cache.
 *
 * Order of memory accesses: a table is linked in after it was cleared, so an entry is written with release and read
 * with acquire order. Everything else relies on the table's lock.
 */
#ifndef QUIRE_PT_PT_INLINE_H
#define QUIRE_PT_PT_INLINE_H

#include "pt/pt.h"

#define PT_FN static inline __attribute__((always_inline))
typedef const struct pt_format *fmt_t;

/* -- geometry ------------------------------------------------------------------------------------------------------ */

PT_FN u32 pt_shift(fmt_t f, u32 level)
{
    return f->shift[level];
}

PT_FN u64 pt_size(fmt_t f, u32 level)
{
    return 1ull << f->shift[level];
}

PT_FN u64 pt_mask(fmt_t f, u32 level)
{
    return ~(pt_size(f, level) - 1);
}

PT_FN u32 pt_entries(fmt_t f, u32 level)
{
    return 1u << (f->shift[level + 1] - f->shift[level]);
}

PT_FN u32 pt_index(fmt_t f, u32 level, va_t va)
{
    return (u32)(va >> f->shift[level]) & (pt_entries(f, level) - 1);
}

/* Base pages that one entry of `level` maps. */
PT_FN u64 pt_nr_pages(fmt_t f, u32 level)
{
    return 1ull << (f->shift[level] - PAGE_SHIFT);
}

PT_FN va_t pt_addr_end(fmt_t f, u32 level, va_t va, va_t end)
{
    va_t boundary = (va + pt_size(f, level)) & pt_mask(f, level);

    return boundary - 1 < end - 1 ? boundary : end; /* - 1: either may be 2^64 */
}

PT_FN va_t pt_task_size(fmt_t f)
{
    return f->task_size;
}

PT_FN u32 pt_max_phys_bits(fmt_t f)
{
    return f->phys_bits;
}

PT_FN bool pt_leaf_allowed(fmt_t f, u32 level)
{
    return f->leaf_levels >> level & 1;
}

PT_FN bool pt_va_canonical(fmt_t f, va_t va)
{
    if (f->va_rule == VA_32)
        return va >> 32 == 0;
    if (f->va_rule == VA_SIGN)
        return (u64)((s64)(va << (64 - f->va_bits)) >> (64 - f->va_bits)) == va;
    return va >> f->va_bits == 0 || va >> f->va_bits == ~0ull >> f->va_bits;
}

/* -- reading entries ----------------------------------------------------------------------------------------------- */

PT_FN pte_t pt_read(fmt_t f, struct pt_entry e)
{
    if (f->entry_shift == 2)
        return PTE(atomic_load_explicit((_Atomic u32 *)e.slot, memory_order_acquire));
    return PTE(atomic_load_explicit((_Atomic u64 *)e.slot, memory_order_acquire));
}

PT_FN struct pt_entry pt_entry_at(fmt_t f, struct pt_table t, va_t va)
{
    return (struct pt_entry){(char *)t.entries + ((size_t)pt_index(f, t.level, va) << f->entry_shift), t.level};
}

/* The entry n further on in the same table. */
PT_FN struct pt_entry pt_entry_next(fmt_t f, struct pt_entry e, u32 n)
{
    return (struct pt_entry){(char *)e.slot + ((size_t)n << f->entry_shift), e.level};
}

/* -- values: what kind --------------------------------------------------------------------------------------------- */

PT_FN bool pte_same(pte_t a, pte_t b)
{
    return a.v == b.v;
}

PT_FN bool pte_none(fmt_t f, pte_t p)
{
    return p.v == 0;
}

/* Present to software: the hardware uses it, or would but for PROT_NONE. */
PT_FN bool pte_present(fmt_t f, pte_t p)
{
    return (p.v & (f->present | f->protnone)) != 0;
}

PT_FN bool pte_hw_present(fmt_t f, pte_t p)
{
    return (p.v & f->present) != 0;
}

PT_FN bool pte_protnone(fmt_t f, pte_t p)
{
    return (p.v & (f->present | f->protnone)) == f->protnone;
}

/* Maps memory itself: every present entry of level 1, a huge one above. */
PT_FN bool pte_leaf(fmt_t f, u32 level, pte_t p)
{
    return pte_present(f, p) && (level == 1 || ((p.v ^ f->leaf_flip) & f->leaf_mask) != 0);
}

PT_FN bool pte_table(fmt_t f, u32 level, pte_t p)
{
    return level > 1 && pte_hw_present(f, p) && ((p.v ^ f->leaf_flip) & f->leaf_mask) == 0;
}

/* Reserved bits of p that are set, at that level. */
PT_FN u64 pte_reserved_bits(fmt_t f, u32 level, pte_t p)
{
    return p.v & (pte_leaf(f, level, p) ? f->reserved_leaf[level] : f->reserved_table[level]);
}

/* Present, but nothing that software may have put there: the hardware would raise a reserved-bit fault or worse. */
PT_FN bool pte_bad(fmt_t f, u32 level, pte_t p)
{
    if (!pte_present(f, p))
        return false;
    if (pte_reserved_bits(f, level, p))
        return true;
    if (f->exec && (p.v & (f->read | f->write)) == f->write)
        return true; /* riscv: W without R */
    if (level == 1)
        return (p.v & f->page) != f->page || (f->exec && !(p.v & f->leaf_mask));
    return pte_leaf(f, level, p) && !pt_leaf_allowed(f, level);
}

/* -- values: rights and state -------------------------------------------------------------------------------------- */

PT_FN bool pte_write(fmt_t f, pte_t p)
{
    return (p.v & f->write) != 0;
}

PT_FN bool pte_user(fmt_t f, pte_t p)
{
    if (p.v & f->user)
        return true;
    /* arm64: user may only execute */
    return f->no_exec != f->kernel_no_exec && pte_hw_present(f, p) && !(p.v & f->no_exec);
}

PT_FN bool pte_read(fmt_t f, pte_t p)
{
    if (!pte_hw_present(f, p))
        return false;
    if (f->read == f->user) /* arm64: the kernel may always read what is its own */
        return (p.v & f->read) || !pte_user(f, p);
    return !f->read || (p.v & f->read);
}

/* By whom it belongs to: user entries by user code, others by the kernel. */
PT_FN bool pte_exec(fmt_t f, pte_t p)
{
    if (!pte_hw_present(f, p))
        return false;
    if (f->exec)
        return (p.v & f->exec) != 0;
    if (f->no_exec == f->kernel_no_exec)
        return !(p.v & f->no_exec);
    return !(p.v & f->no_exec) || (!pte_user(f, p) && !(p.v & f->kernel_no_exec));
}

PT_FN bool pte_global(fmt_t f, pte_t p)
{
    return pte_hw_present(f, p) && (f->global ? (p.v & f->global) != 0 : !(p.v & f->nonglobal));
}

PT_FN bool pte_young(fmt_t f, pte_t p)
{
    return (p.v & f->accessed) != 0;
}

PT_FN bool pte_dirty(fmt_t f, pte_t p)
{
    if (p.v & f->dirty)
        return true;
    return f->read_only && (p.v & (f->write | f->read_only)) == f->write;
}

PT_FN bool pte_soft_dirty(fmt_t f, pte_t p)
{
    return (p.v & f->soft_dirty) != 0;
}

PT_FN bool pte_special(fmt_t f, pte_t p)
{
    return (p.v & f->special) != 0;
}

PT_FN u32 pte_pkey(fmt_t f, pte_t p)
{
    return (u32)(p.v >> f->pkey_shift) & ((1u << f->pkey_bits) - 1);
}

PT_FN pfn_t pte_pfn(fmt_t f, u32 level, pte_t p)
{
    u64 pfn = (p.v & f->pfn_mask) >> f->pfn_shift;

    if (level > 1 && ((p.v ^ f->leaf_flip) & f->leaf_mask) != 0)
        pfn &= ~(pt_nr_pages(f, level) - 1); /* attributes lie in the low bits: PAT, nT */
    return PFN(pfn);
}

/* -- values: making ------------------------------------------------------------------------------------------------ */

PT_FN pte_t pte_mkwrite(fmt_t f, pte_t p)
{
    p.v |= f->write;
    if (f->read_only && (p.v & f->dirty))
        p.v &= ~f->read_only;
    return p;
}

PT_FN pte_t pte_wrprotect(fmt_t f, pte_t p)
{
    if (f->read_only && pte_dirty(f, p))
        p.v |= f->dirty; /* the hardware's dirty bit goes with the right to write */
    p.v = (p.v & ~f->write) | f->read_only;
    return p;
}

/* As in Linux, what is dirtied is soft-dirty, too. */
PT_FN pte_t pte_mkdirty(fmt_t f, pte_t p)
{
    p.v |= f->dirty | f->soft_dirty;
    if (f->read_only && (p.v & f->write))
        p.v &= ~f->read_only;
    return p;
}

PT_FN pte_t pte_mkclean(fmt_t f, pte_t p)
{
    p.v = (p.v & ~f->dirty) | f->read_only;
    return p;
}

PT_FN pte_t pte_mkyoung(fmt_t f, pte_t p)
{
    return PTE(p.v | f->accessed);
}

PT_FN pte_t pte_mkold(fmt_t f, pte_t p)
{
    return PTE(p.v & ~f->accessed);
}

PT_FN pte_t pte_mksoft_dirty(fmt_t f, pte_t p)
{
    return PTE(p.v | f->soft_dirty);
}

PT_FN pte_t pte_clear_soft_dirty(fmt_t f, pte_t p)
{
    return PTE(p.v & ~f->soft_dirty);
}

PT_FN pte_t pte_mkspecial(fmt_t f, pte_t p)
{
    return PTE(p.v | f->special);
}

/* The bits that rights, key and global give an entry; not those of its state. */
PT_FN u64 pt_rights_bits(fmt_t f, pgprot_t prot)
{
    u64 v = f->rights[prot.bits & (PT_READ | PT_WRITE | PT_EXEC | PT_USER)];

    if (f->pkey_bits)
        v |= ((u64)prot.bits >> PT_PKEY_SHIFT & ((1u << f->pkey_bits) - 1)) << f->pkey_shift;
    if (prot.bits & PT_GLOBAL)
        v |= f->global; /* PROT_NONE: the same bit where there is one */
    else
        v |= f->nonglobal;
    return v;
}

PT_FN pte_t mk_pte(fmt_t f, u32 level, pfn_t pfn, pgprot_t prot)
{
    pte_t p = PTE(pt_rights_bits(f, prot) | (pfn.nr << f->pfn_shift) | (level > 1 ? f->huge : f->page));

    if (prot.bits & PT_ACCESSED)
        p.v |= f->accessed;
    if (prot.bits & PT_DIRTY) {
        p.v |= f->dirty;
        if (f->read_only && (p.v & f->write))
            p.v &= ~f->read_only;
    }
    if (unlikely(prot.bits & (PT_SPECIAL | PT_NOCACHE | PT_WRITETHROUGH | PT_SOFT_DIRTY))) {
        p.v |= prot.bits & PT_SPECIAL ? f->special : 0;
        p.v |= prot.bits & PT_SOFT_DIRTY ? f->soft_dirty : 0;
        p.v |= prot.bits & PT_NOCACHE ? f->nocache : prot.bits & PT_WRITETHROUGH ? f->writethrough : 0;
    }
    return p;
}

PT_FN pte_t mk_table_pte(fmt_t f, u32 level, pfn_t table)
{
    return PTE(f->table[level] | (table.nr << f->pfn_shift));
}

PT_FN pte_t pte_modify(fmt_t f, u32 level, pte_t p, pgprot_t prot)
{
    bool dirty = pte_dirty(f, p);

    p.v = (p.v & ~f->rights_mask) | pt_rights_bits(f, prot);
    if (f->read_only && dirty) {
        p.v |= f->dirty;
        if (p.v & f->write)
            p.v &= ~f->read_only;
    }
    return p;
}

PT_FN pgprot_t pte_pgprot(fmt_t f, u32 level, pte_t p)
{
    u32 b = 0;

    b |= pte_read(f, p) ? PT_READ : 0;
    b |= pte_write(f, p) ? PT_WRITE : 0;
    b |= pte_exec(f, p) ? PT_EXEC : 0;
    b |= pte_user(f, p) ? PT_USER : 0;
    b |= pte_global(f, p) ? PT_GLOBAL : 0;
    b |= pte_young(f, p) ? PT_ACCESSED : 0;
    b |= pte_dirty(f, p) ? PT_DIRTY : 0;
    b |= pte_special(f, p) ? PT_SPECIAL : 0;
    b |= pte_soft_dirty(f, p) ? PT_SOFT_DIRTY : 0;
    if ((p.v & f->cache_mask) == f->nocache)
        b |= PT_NOCACHE;
    else if ((p.v & f->cache_mask) == f->writethrough)
        b |= PT_WRITETHROUGH;
    return PGPROT(b | pte_pkey(f, p) << PT_PKEY_SHIFT);
}

/* -- values that are not present: swap, migration and other special entries ---------------------------------------- */

PT_FN pte_t mk_swap_pte(fmt_t f, u32 type, u64 offset)
{
    u64 mask = ~0ull >> (64 - f->swap_offset_bits);

    DEBUG_ASSERT(type < 32);
    DEBUG_ASSERT(offset <= mask);
    offset ^= f->flags & PT_SWAP_INVERTED ? mask : 0;
    return PTE((u64)type << f->swap_type_shift | offset << f->swap_offset_shift);
}

PT_FN bool pte_is_swap(fmt_t f, pte_t p)
{
    return !pte_none(f, p) && !pte_present(f, p);
}

PT_FN u32 pte_swap_type(fmt_t f, pte_t p)
{
    return (u32)(p.v >> f->swap_type_shift) & 31;
}

PT_FN u64 pte_swap_offset(fmt_t f, pte_t p)
{
    u64 mask = ~0ull >> (64 - f->swap_offset_bits);

    return (p.v >> f->swap_offset_shift & mask) ^ (f->flags & PT_SWAP_INVERTED ? mask : 0);
}

/* The anonymous page was exclusive to this process. */
PT_FN pte_t pte_swp_mkexclusive(fmt_t f, pte_t p)
{
    return PTE(p.v | f->swap_exclusive);
}

PT_FN pte_t pte_swp_clear_exclusive(fmt_t f, pte_t p)
{
    return PTE(p.v & ~f->swap_exclusive);
}

PT_FN bool pte_swp_exclusive(fmt_t f, pte_t p)
{
    return (p.v & f->swap_exclusive) != 0;
}

PT_FN pte_t pte_swp_mksoft_dirty(fmt_t f, pte_t p)
{
    return PTE(p.v | f->swap_soft_dirty);
}

PT_FN pte_t pte_swp_clear_soft_dirty(fmt_t f, pte_t p)
{
    return PTE(p.v & ~f->swap_soft_dirty);
}

PT_FN bool pte_swp_soft_dirty(fmt_t f, pte_t p)
{
    return (p.v & f->swap_soft_dirty) != 0;
}

/* -- changes ------------------------------------------------------------------------------------------------------- */

PT_FN void set_pte_at(fmt_t f, struct pt_entry e, pte_t p)
{
    if (f->entry_shift == 2)
        atomic_store_explicit((_Atomic u32 *)e.slot, (u32)p.v, memory_order_release);
    else
        atomic_store_explicit((_Atomic u64 *)e.slot, p.v, memory_order_release);
}

PT_FN pte_t ptep_xchg(fmt_t f, struct pt_entry e, pte_t new)
{
    if (f->entry_shift == 2)
        return PTE(atomic_exchange((_Atomic u32 *)e.slot, (u32) new.v));
    return PTE(atomic_exchange((_Atomic u64 *)e.slot, new.v));
}

PT_FN pte_t ptep_get_and_clear(fmt_t f, struct pt_entry e)
{
    return ptep_xchg(f, e, PTE(0));
}

/* False: the entry is not *old but what *old is set to. */
PT_FN bool ptep_cmpxchg(fmt_t f, struct pt_entry e, pte_t *old, pte_t new)
{
    u32 low = (u32)old->v;
    bool done;

    if (f->entry_shift != 2)
        return atomic_compare_exchange_strong((_Atomic u64 *)e.slot, &old->v, new.v);
    done = atomic_compare_exchange_strong((_Atomic u32 *)e.slot, &low, (u32) new.v);
    old->v = low;
    return done;
}

/* Clear bits; the value before. */
PT_FN pte_t ptep_fetch_and(fmt_t f, struct pt_entry e, u64 keep)
{
    if (f->entry_shift == 2)
        return PTE(atomic_fetch_and((_Atomic u32 *)e.slot, (u32)keep));
    return PTE(atomic_fetch_and((_Atomic u64 *)e.slot, keep));
}

PT_FN bool ptep_test_and_clear_young(fmt_t f, struct pt_entry e)
{
    if (!pte_young(f, pt_read(f, e)))
        return false;
    return pte_young(f, ptep_fetch_and(f, e, ~f->accessed));
}

PT_FN bool ptep_test_and_clear_dirty(fmt_t f, struct pt_entry e)
{
    pte_t old = pt_read(f, e);

    do {
        if (!pte_dirty(f, old))
            return false;
    } while (!ptep_cmpxchg(f, e, &old, pte_mkclean(f, old)));
    return true;
}

PT_FN void ptep_set_wrprotect(fmt_t f, struct pt_entry e)
{
    pte_t old;

    if (!f->read_only) {
        ptep_fetch_and(f, e, ~f->write);
        return;
    }
    old = pt_read(f, e);
    while (!ptep_cmpxchg(f, e, &old, pte_wrprotect(f, old)))
        ;
}

PT_FN bool ptep_set_access_flags(fmt_t f, struct pt_entry e, pte_t want)
{
    pte_t old = pt_read(f, e), new;

    do {
        new.v = old.v | (want.v & (f->accessed | f->dirty | f->soft_dirty | f->write));
        if (f->read_only && pte_dirty(f, new) && (new.v & f->write))
            new.v = new.v & ~f->read_only;
        if (pte_same(old, new))
            return false;
    } while (!ptep_cmpxchg(f, e, &old, new));
    return true;
}

/* -- what the hardware walker does --------------------------------------------------------------------------------- */

/* PT_READ | PT_WRITE | PT_EXEC | PT_USER that this entry grants: ANDed over all levels of the walk. */
PT_FN u32 pte_hw_rights(fmt_t f, u32 level, pte_t p)
{
    const u32 all = PT_READ | PT_WRITE | PT_EXEC | PT_USER;
    u32 r;

    if (f->flags & PT_LEVELS_AND_RIGHTS) {
        if (level > f->root_level)
            return all; /* PAE: the pointers have no rights */
        r = PT_READ | (p.v & f->write ? PT_WRITE : 0) | (p.v & f->user ? PT_USER : 0);
        return r | (p.v & f->no_exec ? 0 : PT_EXEC);
    }
    if (!pte_leaf(f, level, p))
        return all;
    r = (pte_read(f, p) ? PT_READ : 0) | (pte_exec(f, p) ? PT_EXEC : 0) | (pte_user(f, p) ? PT_USER : 0);
    if ((p.v & f->write) || (f->read_only && !(p.v & f->read_only)))
        r |= PT_WRITE;
    return r;
}

enum pt_hw_use { PT_HW_TABLE, PT_HW_READ, PT_HW_WRITE }; /* the walk went through it; it translated a read, a write */

/* The entry after the walker has used it: accessed and dirty by the architecture's rules. */
PT_FN pte_t pte_hw_used(fmt_t f, pte_t p, enum pt_hw_use use)
{
    if (use == PT_HW_TABLE)
        return f->flags & PT_ACCESSED_IN_TABLES ? PTE(p.v | f->accessed) : p;
    p.v |= f->accessed;
    if (use == PT_HW_WRITE)
        p.v = f->read_only ? p.v & ~f->read_only : p.v | f->dirty;
    return p;
}

/* Do it in memory; false: the entry is no longer `seen`, the walk starts again. */
PT_FN bool ptep_hw_use(fmt_t f, struct pt_entry e, pte_t seen, enum pt_hw_use use)
{
    pte_t new = pte_hw_used(f, seen, use);

    return pte_same(seen, new) || ptep_cmpxchg(f, e, &seen, new);
}

/* -- descending ---------------------------------------------------------------------------------------------------- */

PT_FN struct pt_table pt_table_of(const struct machine *m, fmt_t f, pte_t p, u32 level)
{
    return (struct pt_table){phys_to_virt(m, pfn_to_phys(PFN((p.v & f->pfn_mask) >> f->pfn_shift))), level - 1};
}

/* The topmost table that translates va: what pgd_offset() looks into. entries NULL: this half has none. */
PT_FN struct pt_table pt_top_table(const struct machine *m, fmt_t f, const struct pt_roots *roots, va_t va)
{
    phys_t pa = roots->root[f->root_rule == ROOT_HALF ? va >> 55 & 1 : 0];

    if (f->root_rule == ROOT_HALF && unlikely(pa.pa == PT_NO_ROOT.pa))
        return (struct pt_table){NULL, f->levels};
    return (struct pt_table){phys_to_virt(m, pa), f->levels};
}

PT_FN struct pt_root pt_root_for_roots(const struct machine *m, fmt_t f, const struct pt_roots *roots, va_t va)
{
    struct pt_table t = pt_top_table(m, f, roots, va);

    if (f->root_rule == ROOT_PAE)
        t = pt_table_of(m, f, pt_read(f, pt_entry_at(f, t, va)), f->levels);
    return (struct pt_root){t};
}

struct pt_walk_state {
    struct pt_table t;
    struct pt_entry e;
    pte_t p;
};

/* From the table of level `at`, if the walk is there. False: its entry is the lowest, or the one wanted. */
PT_FN bool pt_walk_step(const struct machine *m, fmt_t f, struct pt_walk_state *w, u32 at, va_t va, u32 level)
{
    if (w->t.level < at)
        return true;
    w->e = pt_entry_at(f, (struct pt_table){w->t.entries, at}, va);
    w->p = pt_read(f, w->e);
    if (at <= level || !pte_table(f, at, w->p))
        return false;
    w->t = pt_table_of(m, f, w->p, at);
    return true;
}

/*
 * The lowest existing entry of level >= `level` for va, and its value. slot NULL: no root. Level by level rather than in a
 * loop: with a constant format each level's shift and mask are constants.
 */
PT_FN struct pt_entry pt_walk(const struct machine *m, fmt_t f, struct pt_root root, va_t va, u32 level, pte_t *value)
{
    struct pt_walk_state w = {.t = root.table};

    if (f->root_rule == ROOT_HALF && unlikely(!w.t.entries)) {
        *value = PTE(0);
        return (struct pt_entry){NULL, w.t.level};
    }
    if (pt_walk_step(m, f, &w, 5, va, level) && pt_walk_step(m, f, &w, 4, va, level) &&
        pt_walk_step(m, f, &w, 3, va, level) && pt_walk_step(m, f, &w, 2, va, level))
        pt_walk_step(m, f, &w, 1, va, level);
    *value = w.p;
    return w.e;
}

#endif
