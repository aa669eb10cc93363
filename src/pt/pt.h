/* SPDX-License-Identifier: MIT */
/*
 * The page-table API.
 *
 * Terms. A *table* is one page of entries (struct pt_table); an *entry location* is a place in a table (struct
 * pt_entry); an *entry value* is what stands there (pte_t, at every level). They are three types: none converts to
 * another by accident.
 *
 * Levels. Level 1 is the table whose entries map base pages; the root has level fmt->levels. Classic names at four
 * levels: pgd = level 4 (p4d folded into it), pud = 3, pmd = 2, pte = 1. A level that a format lacks does not exist
 * here: nothing loops over it and nothing tests for it.
 *
 *   level 4 (root)    level 3          level 2          level 1
 *   ┌────────┐       ┌────────┐       ┌────────┐       ┌────────┐
 *   │ entry ─┼──────▶│ entry ─┼──────▶│ entry ─┼──────▶│ entry ─┼──▶ 4 KiB frame
 *   └────────┘       │ leaf ──┼─▶1 GiB│ leaf ──┼─▶2 MiB└────────┘
 *                    └────────┘       └────────┘
 *
 * Formats are const descriptions (pt_formats[]); src/arch/ has one file for each architecture. Inline functions take
 * `fmt`: a caller that passes a constant one (&pt_x86_64_4l) gets code for just that format; PT_DISPATCH chooses one at
 * run time.
 *
 * Concurrency: the hardware walker of another CPU may set accessed and dirty bits in a present entry at any time. So a
 * present entry is changed only by the ptep_* functions, which are atomic; its table's lock keeps software out.
 */
#ifndef QUIRE_PT_PT_H
#define QUIRE_PT_PT_H

#include "arch/arm64.h"
#include "arch/riscv.h"
#include "arch/x86.h"
#include "base/assert.h"
#include "base/machine.h"
#include "base/types.h"

/* An entry's value, at any level and of any format; 4-byte formats use the low half. */
typedef struct {
    u64 v;
} pte_t;
#define PTE(x) ((pte_t){(x)})

/* What an entry allows and how it is to be made: format independent. */
typedef struct {
    u32 bits; /* enum pt_prot */
} pgprot_t;
#define PGPROT(x) ((pgprot_t){(x)})

enum pt_prot {
    PT_READ = 1u << 0, /* readable: 0 with all others 0 is PROT_NONE (present to software, not to hardware) */
    PT_WRITE = 1u << 1,
    PT_EXEC = 1u << 2,
    PT_USER = 1u << 3,
    PT_GLOBAL = 1u << 4,
    PT_ACCESSED = 1u << 5,
    PT_DIRTY = 1u << 6,
    PT_SPECIAL = 1u << 7, /* no struct page behind it (vm_normal_page) */
    PT_NOCACHE = 1u << 8,
    PT_WRITETHROUGH = 1u << 9,
    PT_SOFT_DIRTY = 1u << 10,
    PT_PKEY_SHIFT = 16, /* protection key, 4 bits */
};

extern const struct pt_format *const pt_formats[NR_PT_FORMATS];

static inline const struct pt_format *pt_format_of(const struct machine *m)
{
    return pt_formats[m->config.pt_format];
}

/* A whole table: where its entries lie in the direct map, and its level. entries NULL: no table. */
struct pt_table {
    void *entries;
    u32 level;
};

/* The location of one entry. */
struct pt_entry {
    void *slot;
    u32 level;
};

/* An address space's roots, kept by its mm.
 *   x86, riscv  [0].
 *   arm64       [0] TTBR0 (user half), [1] TTBR1 (kernel half).
 *   PAE         [0] is the page with the four pointers (level 3); each points to the root (level 2) of its quarter,
 *               which always exists. */
struct pt_roots {
    phys_t root[PT_MAX_ROOTS];
};
#define PT_NO_ROOT PHYS(~0ull) /* arm64: this half has no tables */

/* The root that translates one address: the first table that the hardware reads an entry of.
 * Its level is fmt->root_level. */
struct pt_root {
    struct pt_table table;
};

/*
 * The following are inline in pt/pt_inline.h, included below;
 * all take the format first (walks: the machine, then the format).
 *
 * geometry     u32 pt_shift(fmt, level)                log2 bytes that one entry of `level` maps (12 at level 1)
 *              u64 pt_size(fmt, level), pt_mask(fmt, level), pt_nr_pages(fmt, level)
 *              u32 pt_index(fmt, level, va), pt_entries(fmt, level)
 *              va_t pt_addr_end(fmt, level, va, end)   next boundary of an entry of `level`, at most `end`
 *              va_t pt_task_size(fmt)                  end of user addresses
 *              bool pt_va_canonical(fmt, va)
 *              bool pt_leaf_allowed(fmt, level)        the hardware maps pages of that size
 *              u32 pt_max_phys_bits(fmt)
 * descend      struct pt_root pt_root_for_roots(m, fmt, roots, va)
 *              struct pt_table pt_top_table(m, fmt, roots, va)    level fmt->levels: PAE's pointers
 *              struct pt_entry pt_entry_at(fmt, table, va), pt_entry_next(fmt, entry, n)
 *              struct pt_table pt_table_of(m, fmt, pte value, level of the entry)
 *              pte_t pt_read(fmt, entry)               one untorn load
 *              struct pt_entry pt_walk(m, fmt, root, va, level, &value)   lowest existing entry of level >= `level`
 * values       bool pte_none, pte_present (or PROT_NONE), pte_hw_present, pte_protnone,
 *                   pte_leaf(fmt, level, pte), pte_table(same), pte_bad(same);
 *                   pte_read, pte_write, pte_exec, pte_user, pte_young, pte_dirty, pte_soft_dirty, pte_special,
 *                   pte_global
 *              u32 pte_pkey
 *              pfn_t pte_pfn(fmt, level, pte)          huge: the first frame
 *              pte_t mk_pte(fmt, level, pfn, pgprot)   a leaf;  mk_table_pte(fmt, level, pfn of the table)
 *              pte_t pte_mkwrite, pte_wrprotect, pte_mkdirty, pte_mkclean, pte_mkyoung, pte_mkold,
 *                    pte_mksoft_dirty, pte_clear_soft_dirty, pte_mkspecial
 *              pte_t pte_modify(fmt, level, pte, pgprot)   new rights, keeps frame, accessed, dirty, special,
 *                                                      soft-dirty, caching
 *              pgprot_t pte_pgprot(fmt, level, pte)
 * non-present  pte_t mk_swap_pte(fmt, type, offset), bool pte_is_swap, u32 pte_swap_type, u64 pte_swap_offset
 *                    (type 5 bits; migration and other special entries use high types, as in Linux)
 *              pte_swp_{mkexclusive,clear_exclusive,exclusive,mksoft_dirty,clear_soft_dirty,soft_dirty}
 * changes      void set_pte_at(fmt, entry, pte)        from none, or by the lock holder when not present to hardware
 *              pte_t ptep_get_and_clear(fmt, entry)
 *              bool ptep_cmpxchg(fmt, entry, pte_t *old, pte_t new)
 *              bool ptep_test_and_clear_young, ptep_test_and_clear_dirty;  void ptep_set_wrprotect(fmt, entry)
 *              bool ptep_set_access_flags(fmt, entry, pte)   add young/dirty/write; true if anything changed
 * hardware     u32 pte_hw_rights(fmt, level, pte)      PT_READ|WRITE|EXEC|USER the entry grants; AND them over the walk
 *              bool ptep_hw_use(fmt, entry, seen, one of PT_HW_TABLE, PT_HW_READ, PT_HW_WRITE)
 *                                                      set accessed and dirty as the walker does; false: the entry
 *                                                      changed, walk again
 * dispatch     PT_DISPATCH(fmt, fn, args...)           fn(the constant format, args...): fn must be always inlined
 */
#include "pt/pt_inline.h"

/*
 * Call fn once for the format with the format as a constant, so that fn, which must be always inline, is compiled for
 * each:
 *     static PT_FN u64 walk_fmt(fmt_t fmt, struct cpu *cpu, va_t va);
 *     u64 walk(...) { return PT_DISPATCH(fmt, walk_fmt, cpu, va); }
 * Rest of the formats: the same code with the format as a variable.
 */
#define PT_DISPATCH(fmt, fn, ...)                                                                                      \
    ((fmt)->id == PT_X86_64_4L    ? fn(&pt_x86_64_4l, __VA_ARGS__)                                                     \
     : (fmt)->id == PT_ARM64_4K   ? fn(&pt_arm64_4k, __VA_ARGS__)                                                      \
     : (fmt)->id == PT_RISCV_SV39 ? fn(&pt_riscv_sv39, __VA_ARGS__)                                                    \
                                  : fn((fmt), __VA_ARGS__))

#endif
