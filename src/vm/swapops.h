/* SPDX-License-Identifier: MIT */
/*
 * Entries that are not present and not empty: swap-like values whose type says what they are (include/linux/swapops.h
 * in Linux). Types count down from the highest, so that real swap areas may have the low ones.
 *
 *   SWP_PTE_MARKER   no page, but something to remember. Offset: bits of enum pte_marker
 *   SWP_HWPOISON     the page that was here lies in broken memory. Offset: its frame
 */
#ifndef QUIRE_VM_SWAPOPS_H
#define QUIRE_VM_SWAPOPS_H

#include "pt/pt.h"

enum swp_type { SWP_HWPOISON = 30, SWP_PTE_MARKER = 31 };

enum pte_marker {
    PTE_MARKER_UFFD_WP = 1u << 0,
    PTE_MARKER_POISONED = 1u << 1, /* an access is a memory error */
    PTE_MARKER_GUARD = 1u << 2,    /* madvise(MADV_GUARD_INSTALL): an access is SIGSEGV */
};

static inline pte_t make_pte_marker(fmt_t f, u32 markers)
{
    return mk_swap_pte(f, SWP_PTE_MARKER, markers);
}

static inline pte_t make_hwpoison_pte(fmt_t f, pfn_t pfn)
{
    return mk_swap_pte(f, SWP_HWPOISON, pfn.nr);
}

/* 0: no marker. */
static inline u32 pte_markers(fmt_t f, pte_t p)
{
    return pte_is_swap(f, p) && pte_swap_type(f, p) == SWP_PTE_MARKER ? (u32)pte_swap_offset(f, p) : 0;
}

static inline bool pte_is_guard(fmt_t f, pte_t p)
{
    return pte_markers(f, p) & PTE_MARKER_GUARD;
}

static inline bool pte_is_hwpoison(fmt_t f, pte_t p)
{
    return pte_is_swap(f, p) && pte_swap_type(f, p) == SWP_HWPOISON;
}

#endif
