/* SPDX-License-Identifier: MIT */
/*
 * struct pt_format: one page-table format as constants.
 *
 * An architecture is such a description and nothing else: x86.h, arm64.h and riscv.h hold one `static const` object for
 * each format, and the encoders of pt/pt_inline.h are written once over it. A caller that passes the address of one of
 * these objects gets straight code: the compiler sees every field. One that passes
 * pt_format_of(m) gets the same code with loads.
 *
 * Levels count from the bottom: entries of level 1 map base pages. shift[n] is log2 of the bytes that one entry of
 * level n maps, shift[levels + 1] that of what a whole root table maps; so a table of level n has
 * 2^(shift[n + 1] - shift[n]) entries.
 *
 * Bits are masks of the entry. A mask of 0 means that the format has no such bit. Where architectures disagree in
 * polarity there are two masks, one for each polarity, of which one is 0:
 *
 *              may write            may execute        global          dirty
 *   x86        write = RW           no_exec = NX       global = G      dirty = D
 *   arm64      write = DBM          no_exec = UXN      nonglobal = nG  dirty = software bit 55, or
 *              read_only = AP[2]    kernel: PXN                        writable and AP[2] clear (hardware)
 *   riscv      write = W            exec = X           global = G      dirty = D
 *
 * Sources: Intel SDM vol. 3A ch. 4 (tables 4-4 to 4-20); Arm ARM (DDI 0487) D8.3 "Translation table descriptor
 * formats", D8.4, D8.5; RISC-V privileged architecture, "Supervisor-Level ISA", sections Sv32 to Sv57, Svnapot, Svpbmt,
 * Svade/Svadu; for what software keeps in ignored bits and in entries that are not present,
 * the tables in Linux's documentation.
 */
#ifndef QUIRE_ARCH_PT_FORMAT_H
#define QUIRE_ARCH_PT_FORMAT_H

#include "base/config.h"
#include "base/types.h"

#define PT_MAX_LEVELS 5
#define PT_MAX_ROOTS 4

/* Which addresses the hardware translates at all. */
enum va_rule {
    VA_32,   /* 32 bits, all of them */
    VA_SIGN, /* all bits above va_bits - 1 equal it: x86-64, riscv */
    VA_TWO,  /* all bits from va_bits up are 0 (root 0) or 1 (root 1): arm64 */
};

/* Which root translates an address. */
enum root_rule {
    ROOT_ONE,  /* CR3, satp */
    ROOT_HALF, /* arm64: bit 55 chooses TTBR0 or TTBR1 */
    ROOT_PAE,  /* bits 31:30 choose one of the four pointers, which the CPU keeps in registers */
};

enum pt_format_flags {
    PT_ACCESSED_IN_TABLES = 1u << 0, /* the walker sets the accessed bit in entries that point to tables, too: x86 */
    PT_LEVELS_AND_RIGHTS = 1u << 1,  /* rights are what entries of all levels grant: x86; otherwise the leaf decides */
    PT_SWAP_INVERTED = 1u << 2,      /* swap offsets are stored inverted, away from real memory (L1TF) */
};

struct pt_format {
    const char *name;
    u8 id;          /* enum pt_format_id */
    u8 levels;      /* level of the topmost table */
    u8 root_level;  /* level of the tables that pt_root_for() gives: `levels`, but for PAE */
    u8 nr_roots;    /* tables among which the address chooses */
    u8 entry_shift; /* log2 bytes of an entry: 2 or 3 */
    u8 va_bits;
    u8 va_rule;     /* enum va_rule */
    u8 root_rule;   /* enum root_rule */
    u8 phys_bits;   /* physical addresses that RAM may have, as Linux limits it */
    u8 leaf_levels; /* bit n: level n may hold leaves */
    u8 flags;       /* enum pt_format_flags */
    u8 shift[PT_MAX_LEVELS + 2];
    va_t task_size; /* end of user addresses */

    /* what makes an entry present, a leaf, a table */
    u64 present;   /* the hardware uses it */
    u64 protnone;  /* with present clear: present to software only */
    u64 page;      /* set in every leaf of level 1 */
    u64 huge;      /* set in every leaf above level 1 */
    u64 leaf_mask; /* above level 1 a present entry is a leaf if (v ^ leaf_flip) & leaf_mask */
    u64 leaf_flip;
    u64 table[PT_MAX_LEVELS + 1]; /* all bits but the address, of an entry at that level that points to a table */

    /* rights by (PT_READ | PT_WRITE | PT_EXEC | PT_USER), and the masks to read them back */
    u64 rights[16];
    u64 rights_mask; /* every bit that rights[], the key or global may set */
    u64 read, write, read_only, user, exec, no_exec, kernel_no_exec;
    u64 global, nonglobal;
    u8 pkey_shift, pkey_bits;

    /* state and attributes */
    u64 accessed, dirty, special, soft_dirty;
    u64 cache_mask, nocache, writethrough;

    /* address */
    u64 pfn_mask;
    u8 pfn_shift;

    /* not present: type (5 bits), offset, marks */
    u8 swap_type_shift, swap_offset_shift, swap_offset_bits;
    u64 swap_exclusive, swap_soft_dirty;

    /* bits that must be 0 when present; leaves of huge levels: beside the low bits of the address */
    u64 reserved_table[PT_MAX_LEVELS + 1];
    u64 reserved_leaf[PT_MAX_LEVELS + 1];
};

/* Order of rights[]: READ 1, WRITE 2, EXEC 4, USER 8.
 * `f(r, w, x, u)` gives the bits; a writable entry is also readable. */
#define PT_RIGHTS(f)                                                                                                   \
    {                                                                                                                  \
        f(0, 0, 0, 0), f(1, 0, 0, 0), f(1, 1, 0, 0), f(1, 1, 0, 0), f(0, 0, 1, 0), f(1, 0, 1, 0), f(1, 1, 1, 0),       \
            f(1, 1, 1, 0), f(0, 0, 0, 1), f(1, 0, 0, 1), f(1, 1, 0, 1), f(1, 1, 0, 1), f(0, 0, 1, 1), f(1, 0, 1, 1),   \
            f(1, 1, 1, 1), f(1, 1, 1, 1)                                                                               \
    }

/* Bits first to last, both included. */
#define PT_BITS(last, first) (((~0ull) >> (63 - (last))) & ((~0ull) << (first)))
#define PT_BIT(n) (1ull << (n))

#define PT_FORMAT_OBJECT static const __attribute__((unused)) struct pt_format

#endif
