/* SPDX-License-Identifier: MIT */
/*
 * riscv64: Sv39, Sv48, Sv57 (RISC-V privileged architecture, "Supervisor-Level ISA"). One entry format at all levels:
 *
 *    63 62 61 60..54 53              10 9 8  7 6 5 4 3 2 1 0
 *   ┌──┬─────┬──────┬──────────────────┬────┬─┬─┬─┬─┬─┬─┬─┬─┐
 *   │ N│PBMT │  0   │ PPN              │ sw │D│A│G│U│X│W│R│V│
 *   └──┴─────┴──────┴──────────────────┴────┴─┴─┴─┴─┴─┴─┴─┴─┘
 * R = W = X = 0: points to a table, and then D, A, U, PBMT and N must be 0. Otherwise a leaf, at any level; the low
 * bits of a huge leaf's PPN must be 0. W without R is reserved. Svpbmt: 1 non-cacheable, 2 I/O. A and D are set by
 * hardware (Svadu) in leaves.
 *
 * Software bits: 8 special, 9 soft-dirty. PROT_NONE as in Linux: V clear, bit 5 set, R set
 * (so that a huge one is still a leaf).
 *
 * Not present:  63..12 offset   11..7 type   6 E   5 0   4 SD   3..0 0
 */
#ifndef QUIRE_ARCH_RISCV_H
#define QUIRE_ARCH_RISCV_H

#include "arch/pt_format.h"

#define RISCV_V PT_BIT(0)
#define RISCV_R PT_BIT(1)
#define RISCV_W PT_BIT(2)
#define RISCV_X PT_BIT(3)
#define RISCV_U PT_BIT(4)
#define RISCV_G PT_BIT(5)
#define RISCV_A PT_BIT(6)
#define RISCV_D PT_BIT(7)
#define RISCV_SPECIAL PT_BIT(8)
#define RISCV_SOFT_DIRTY PT_BIT(9)
#define RISCV_PBMT(n) ((u64)(n) << 61)
#define RISCV_PROTNONE RISCV_G
#define RISCV_RESERVED (PT_BITS(60, 54) | PT_BIT(63))
#define RISCV_RESERVED_TABLE (RISCV_RESERVED | RISCV_PBMT(3) | RISCV_D | RISCV_A | RISCV_U)

#define RISCV_RIGHTS(r, w, x, u)                                                                                       \
    ((r) | (w) | (x)                                                                                                   \
         ? RISCV_V | ((r) | (w) ? RISCV_R : 0) | ((w) ? RISCV_W : 0) | ((x) ? RISCV_X : 0) | ((u) ? RISCV_U : 0)       \
         : RISCV_PROTNONE | RISCV_R)

#define RISCV_COMMON                                                                                                   \
    .nr_roots = 1, .entry_shift = 3, .va_rule = VA_SIGN, .root_rule = ROOT_ONE, .phys_bits = 56, .present = RISCV_V,   \
    .protnone = RISCV_PROTNONE, .leaf_mask = RISCV_R | RISCV_W | RISCV_X, .rights = PT_RIGHTS(RISCV_RIGHTS),           \
    .rights_mask = RISCV_V | RISCV_R | RISCV_W | RISCV_X | RISCV_U | RISCV_G, .read = RISCV_R, .write = RISCV_W,       \
    .user = RISCV_U, .exec = RISCV_X, .global = RISCV_G, .accessed = RISCV_A, .dirty = RISCV_D,                        \
    .special = RISCV_SPECIAL, .soft_dirty = RISCV_SOFT_DIRTY, .cache_mask = RISCV_PBMT(3), .nocache = RISCV_PBMT(2),   \
    .writethrough = RISCV_PBMT(1), .pfn_mask = PT_BITS(53, 10), .pfn_shift = 10, .swap_type_shift = 7,                 \
    .swap_offset_shift = 12, .swap_offset_bits = 52, .swap_exclusive = PT_BIT(6), .swap_soft_dirty = PT_BIT(4)

PT_FORMAT_OBJECT pt_riscv_sv39 = {
    RISCV_COMMON,
    .name = "riscv-sv39",
    .id = PT_RISCV_SV39,
    .levels = 3,
    .root_level = 3,
    .va_bits = 39,
    .leaf_levels = 1u << 1 | 1u << 2 | 1u << 3,
    .shift = {0, 12, 21, 30, 39},
    .task_size = 1ull << 38,
    .table = {[2] = RISCV_V, [3] = RISCV_V},
    .reserved_table = {[2] = RISCV_RESERVED_TABLE, [3] = RISCV_RESERVED_TABLE},
    .reserved_leaf =
        {[1] = RISCV_RESERVED, [2] = RISCV_RESERVED | PT_BITS(18, 10), [3] = RISCV_RESERVED | PT_BITS(27, 10)},
};

PT_FORMAT_OBJECT pt_riscv_sv48 = {
    RISCV_COMMON,
    .name = "riscv-sv48",
    .id = PT_RISCV_SV48,
    .levels = 4,
    .root_level = 4,
    .va_bits = 48,
    .leaf_levels = 1u << 1 | 1u << 2 | 1u << 3 | 1u << 4,
    .shift = {0, 12, 21, 30, 39, 48},
    .task_size = 1ull << 47,
    .table = {[2] = RISCV_V, [3] = RISCV_V, [4] = RISCV_V},
    .reserved_table = {[2] = RISCV_RESERVED_TABLE, [3] = RISCV_RESERVED_TABLE, [4] = RISCV_RESERVED_TABLE},
    .reserved_leaf = {[1] = RISCV_RESERVED,
                      [2] = RISCV_RESERVED | PT_BITS(18, 10),
                      [3] = RISCV_RESERVED | PT_BITS(27, 10),
                      [4] = RISCV_RESERVED | PT_BITS(36, 10)},
};

PT_FORMAT_OBJECT pt_riscv_sv57 = {
    RISCV_COMMON,
    .name = "riscv-sv57",
    .id = PT_RISCV_SV57,
    .levels = 5,
    .root_level = 5,
    .va_bits = 57,
    .leaf_levels = 1u << 1 | 1u << 2 | 1u << 3 | 1u << 4 | 1u << 5,
    .shift = {0, 12, 21, 30, 39, 48, 57},
    .task_size = 1ull << 56,
    .table = {[2] = RISCV_V, [3] = RISCV_V, [4] = RISCV_V, [5] = RISCV_V},
    .reserved_table = {[2] = RISCV_RESERVED_TABLE,
                       [3] = RISCV_RESERVED_TABLE,
                       [4] = RISCV_RESERVED_TABLE,
                       [5] = RISCV_RESERVED_TABLE},
    .reserved_leaf = {[1] = RISCV_RESERVED,
                      [2] = RISCV_RESERVED | PT_BITS(18, 10),
                      [3] = RISCV_RESERVED | PT_BITS(27, 10),
                      [4] = RISCV_RESERVED | PT_BITS(36, 10),
                      [5] = RISCV_RESERVED | PT_BITS(45, 10)},
};

#endif
