/* SPDX-License-Identifier: MIT */
/*
 * The four x86 formats (Intel SDM vol. 3A ch. 4).
 *
 *   4-byte entries (32-bit paging, table 4-5, 4-6)
 *    31                       12 11 9  8  7  6  5  4   3   2  1  0
 *   ┌───────────────────────────┬────┬──┬──┬──┬──┬───┬───┬──┬──┬──┐
 *   │ frame                     │ sw │ G│PS│ D│ A│PCD│PWT│US│RW│ P│
 *   └───────────────────────────┴────┴──┴──┴──┴──┴───┴───┴──┴──┴──┘
 *   8-byte entries (PAE 4-8..4-11; 4- and 5-level 4-14..4-20)
 *    63  62..59 58..52  51                       12 11 9  8 .. 0 as above
 *   ┌──┬───────┬───────┬───────────────────────────┬────┬─────────
 *   │NX│ key   │  sw   │ frame                     │ sw │
 *   └──┴───────┴───────┴───────────────────────────┴────┴─────────   PAE: 62..52 reserved
 *
 * Bit 7 is PS in tables that may hold leaves, PAT at level 1; a huge leaf has PAT in bit 12. Software bits as in Linux:
 * 9 special, 11 soft-dirty. PROT_NONE: P clear, bit 8 set. The four entries of a PAE pointer table know P, PWT, PCD and
 * the address alone. 32-bit paging with 4 MiB leaves: PSE-36 is not used, bits 20..13 stay 0.
 *
 * Not present, 8 bytes                          Not present, 4 bytes
 *    63..59 58 .. 9   8 7 3  1 0                   31 .. 9  8  7  6  5..1  0
 *    type   ~offset   0 0 E SD 0                   offset   0  E  SD type  0
 * The offset is inverted so that an L1TF read looks at addresses where no memory is.
 *
 * Rejected: inverting the frame of PROT_NONE entries as well,
 * which Linux does against the same attack: nobody attacks here.
 */
#ifndef QUIRE_ARCH_X86_H
#define QUIRE_ARCH_X86_H

#include "arch/pt_format.h"

#define X86_P PT_BIT(0)
#define X86_RW PT_BIT(1)
#define X86_US PT_BIT(2)
#define X86_PWT PT_BIT(3)
#define X86_PCD PT_BIT(4)
#define X86_A PT_BIT(5)
#define X86_D PT_BIT(6)
#define X86_PS PT_BIT(7)
#define X86_PAT PT_BIT(7)
#define X86_PAT_LARGE PT_BIT(12)
#define X86_G PT_BIT(8)
#define X86_SPECIAL PT_BIT(9)
#define X86_SOFT_DIRTY PT_BIT(11)
#define X86_NX PT_BIT(63)
#define X86_PROTNONE X86_G
/* What Linux writes in an entry that points to a table: accessed and dirty are set in advance. */
#define X86_TABLE (X86_P | X86_RW | X86_US | X86_A | X86_D)

#define X86_RIGHTS_32(r, w, x, u) ((r) | (w) | (x) ? X86_P | ((w) ? X86_RW : 0) | ((u) ? X86_US : 0) : X86_PROTNONE)
#define X86_RIGHTS_NX(r, w, x, u)                                                                                      \
    ((r) | (w) | (x) ? X86_P | ((w) ? X86_RW : 0) | ((u) ? X86_US : 0) | ((x) ? 0 : X86_NX) : X86_PROTNONE)

/* What all four have in common. */
#define X86_COMMON                                                                                                     \
    .present = X86_P, .protnone = X86_PROTNONE, .huge = X86_PS, .leaf_mask = X86_PS, .write = X86_RW, .user = X86_US,  \
    .global = X86_G, .accessed = X86_A, .dirty = X86_D, .special = X86_SPECIAL, .soft_dirty = X86_SOFT_DIRTY,          \
    .cache_mask = X86_PWT | X86_PCD, .nocache = X86_PWT | X86_PCD, .writethrough = X86_PWT, .pfn_shift = 12

/* 8-byte entries. */
#define X86_COMMON_64                                                                                                  \
    X86_COMMON, .entry_shift = 3, .rights = PT_RIGHTS(X86_RIGHTS_NX), .no_exec = X86_NX, .kernel_no_exec = X86_NX,     \
                .pfn_mask = PT_BITS(51, 12), .swap_type_shift = 59, .swap_offset_shift = 9, .swap_offset_bits = 50,    \
                .swap_exclusive = PT_BIT(3), .swap_soft_dirty = PT_BIT(1)

/* Tables 4-4 to 4-6. */
PT_FORMAT_OBJECT pt_x86_32 = {
    X86_COMMON,
    .name = "x86",
    .id = PT_X86_32,
    .levels = 2,
    .root_level = 2,
    .nr_roots = 1,
    .entry_shift = 2,
    .va_bits = 32,
    .va_rule = VA_32,
    .root_rule = ROOT_ONE,
    .phys_bits = 32,
    .leaf_levels = 1u << 1 | 1u << 2,
    .flags = PT_ACCESSED_IN_TABLES | PT_LEVELS_AND_RIGHTS,
    .shift = {0, 12, 22, 32},
    .task_size = 0xc0000000,
    .table = {[2] = X86_TABLE},
    .rights = PT_RIGHTS(X86_RIGHTS_32),
    .rights_mask = X86_P | X86_RW | X86_US | X86_G,
    .pfn_mask = PT_BITS(31, 12),
    .swap_type_shift = 1,
    .swap_offset_shift = 9,
    .swap_offset_bits = 23,
    .swap_exclusive = PT_BIT(7),
    .swap_soft_dirty = PT_BIT(6),
    .reserved_leaf = {[2] = PT_BITS(21, 13)},
};

/* Tables 4-8 to 4-11. Level 3 is the pointer table of four entries. */
PT_FORMAT_OBJECT pt_x86_pae = {
    X86_COMMON_64,
    .name = "x86-pae",
    .id = PT_X86_PAE,
    .levels = 3,
    .root_level = 2,
    .nr_roots = 4,
    .va_bits = 32,
    .va_rule = VA_32,
    .root_rule = ROOT_PAE,
    .phys_bits = 36,
    .leaf_levels = 1u << 1 | 1u << 2,
    .flags = PT_ACCESSED_IN_TABLES | PT_LEVELS_AND_RIGHTS | PT_SWAP_INVERTED,
    .shift = {0, 12, 21, 30, 32},
    .task_size = 0xc0000000,
    .table = {[2] = X86_TABLE, [3] = X86_P},
    .rights_mask = X86_P | X86_RW | X86_US | X86_G | X86_NX,
    .reserved_table = {[2] = PT_BITS(62, 52), [3] = PT_BITS(63, 52) | PT_BITS(8, 5) | X86_RW | X86_US},
    .reserved_leaf = {[1] = PT_BITS(62, 52), [2] = PT_BITS(62, 52) | PT_BITS(20, 13)},
};

#define X86_64_COMMON                                                                                                  \
    X86_COMMON_64,                                                                                                     \
        .nr_roots = 1, .va_rule = VA_SIGN, .root_rule = ROOT_ONE, .leaf_levels = 1u << 1 | 1u << 2 | 1u << 3,          \
        .flags = PT_ACCESSED_IN_TABLES | PT_LEVELS_AND_RIGHTS | PT_SWAP_INVERTED,                                      \
        .rights_mask = X86_P | X86_RW | X86_US | X86_G | X86_NX | PT_BITS(62, 59), .pkey_shift = 59, .pkey_bits = 4,   \
        .reserved_leaf = {[2] = PT_BITS(20, 13), [3] = PT_BITS(29, 13)}

/* Tables 4-15 to 4-20. */
PT_FORMAT_OBJECT pt_x86_64_4l = {
    X86_64_COMMON,
    .name = "x86-64",
    .id = PT_X86_64_4L,
    .levels = 4,
    .root_level = 4,
    .va_bits = 48,
    .phys_bits = 46,
    .shift = {0, 12, 21, 30, 39, 48},
    .task_size = (1ull << 47) - 4096,
    .table = {[2] = X86_TABLE, [3] = X86_TABLE, [4] = X86_TABLE},
    .reserved_table = {[4] = X86_PS},
};

/* Tables 4-14 to 4-20. */
PT_FORMAT_OBJECT pt_x86_64_5l = {
    X86_64_COMMON,
    .name = "x86-64-la57",
    .id = PT_X86_64_5L,
    .levels = 5,
    .root_level = 5,
    .va_bits = 57,
    .phys_bits = 52,
    .shift = {0, 12, 21, 30, 39, 48, 57},
    .task_size = (1ull << 56) - 4096,
    .table = {[2] = X86_TABLE, [3] = X86_TABLE, [4] = X86_TABLE, [5] = X86_TABLE},
    .reserved_table = {[4] = X86_PS, [5] = X86_PS},
};

#endif
