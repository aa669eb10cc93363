/* SPDX-License-Identifier: MIT */
/*
 * arm64, 4 KiB granule, 48-bit addresses, stage 1 of EL1&0 (Arm ARM DDI 0487, D8.3). The architecture counts levels
 * from the top: its level 3 is our 1, its level 0 our 4.
 *
 *    63 62..60 59 58 57 56 55 54  53  52   51  50 49 48 47 .. 12 11 10 9 8  7  6  5  4..2  1 0
 *   ┌──┬──────┬──┬──┬──┬──┬──┬───┬───┬────┬───┬──┬─────┬────────┬──┬──┬────┬──┬──┬──┬────┬────┐
 *   │  │ key  │  │PN│SD│SP│DI│UXN│PXN│cont│DBM│GP│  0  │ frame  │nG│AF│ SH │AP2 1│NS│attr│type│
 *   └──┴──────┴──┴──┴──┴──┴──┴───┴───┴────┴───┴──┴─────┴────────┴──┴──┴────┴─────┴──┴────┴────┘
 * type: bit 0 valid; bit 1: at level 1 always set (page), above it table (1) or block (0).
 * Blocks at our levels 2 and 3.
 *
 * Writable is DBM. A writable clean entry has AP[2] set (read-only); hardware management of the dirty state
 * (FEAT_HAFDBS) clears AP[2] at the first write, which so is the dirty bit. The software dirty bit (55) keeps that when
 * write permission is taken away. The access flag is set by hardware in leaves only.
 *
 * Bits 58..55 are left to software: 55 dirty, 56 special, 57 soft-dirty, 58 PROT_NONE (valid clear). attr: index into
 * MAIR with Linux's numbering: 0 normal, 2 normal non-cacheable; there is no write-through there, so PT_WRITETHROUGH
 * gives non-cacheable. SH 3: inner shareable. An entry that user may only execute has AP[1] clear and UXN clear.
 *
 * Not present:  59 SD   58 0   57..8 offset   7..3 type   2 E   1..0 0
 */
#ifndef QUIRE_ARCH_ARM64_H
#define QUIRE_ARCH_ARM64_H

#include "arch/pt_format.h"

#define ARM64_VALID PT_BIT(0)
#define ARM64_TABLE_BIT PT_BIT(1)
#define ARM64_ATTR(n) ((u64)(n) << 2)
#define ARM64_AP_USER PT_BIT(6)
#define ARM64_AP_RDONLY PT_BIT(7)
#define ARM64_SH_INNER (3ull << 8)
#define ARM64_AF PT_BIT(10)
#define ARM64_NG PT_BIT(11)
#define ARM64_GP PT_BIT(50)
#define ARM64_DBM PT_BIT(51)
#define ARM64_CONT PT_BIT(52)
#define ARM64_PXN PT_BIT(53)
#define ARM64_UXN PT_BIT(54)
#define ARM64_SW_DIRTY PT_BIT(55)
#define ARM64_SPECIAL PT_BIT(56)
#define ARM64_SOFT_DIRTY PT_BIT(57)
#define ARM64_PROTNONE PT_BIT(58)

/* Entries are made clean, so read-only to the hardware; pte_mkdirty() of a writable one clears AP[2]. */
#define ARM64_RIGHTS(r, w, x, u)                                                                                       \
    (ARM64_SH_INNER | ARM64_AP_RDONLY |                                                                                \
     ((r) | (w) | (x) ? ARM64_VALID | ((w) ? ARM64_DBM : 0) | ((u) && ((r) | (w)) ? ARM64_AP_USER : 0) |               \
                            ((u) ? ARM64_PXN | ((x) ? 0 : ARM64_UXN) : ARM64_UXN | ((x) ? 0 : ARM64_PXN))              \
                      : ARM64_PROTNONE | ARM64_PXN | ARM64_UXN))

PT_FORMAT_OBJECT pt_arm64_4k = {
    .name = "arm64-4k",
    .id = PT_ARM64_4K,
    .levels = 4,
    .root_level = 4,
    .nr_roots = 2,
    .entry_shift = 3,
    .va_bits = 48,
    .va_rule = VA_TWO,
    .root_rule = ROOT_HALF,
    .phys_bits = 48,
    .leaf_levels = 1u << 1 | 1u << 2 | 1u << 3,
    .shift = {0, 12, 21, 30, 39, 48},
    .task_size = 1ull << 48,
    .present = ARM64_VALID,
    .protnone = ARM64_PROTNONE,
    .page = ARM64_TABLE_BIT,
    .leaf_mask = ARM64_TABLE_BIT,
    .leaf_flip = ARM64_TABLE_BIT,
    .table =
        {[2] = ARM64_VALID | ARM64_TABLE_BIT, [3] = ARM64_VALID | ARM64_TABLE_BIT, [4] = ARM64_VALID | ARM64_TABLE_BIT},
    .rights = PT_RIGHTS(ARM64_RIGHTS),
    .rights_mask = ARM64_VALID | ARM64_PROTNONE | ARM64_DBM | ARM64_AP_RDONLY | ARM64_AP_USER | ARM64_PXN | ARM64_UXN |
                   ARM64_NG | PT_BITS(62, 60),
    .read = ARM64_AP_USER,
    .write = ARM64_DBM,
    .read_only = ARM64_AP_RDONLY,
    .user = ARM64_AP_USER,
    .no_exec = ARM64_UXN,
    .kernel_no_exec = ARM64_PXN,
    .nonglobal = ARM64_NG,
    .pkey_shift = 60,
    .pkey_bits = 3,
    .accessed = ARM64_AF,
    .dirty = ARM64_SW_DIRTY,
    .special = ARM64_SPECIAL,
    .soft_dirty = ARM64_SOFT_DIRTY,
    .cache_mask = ARM64_ATTR(7),
    .nocache = ARM64_ATTR(2),
    .writethrough = ARM64_ATTR(2),
    .pfn_mask = PT_BITS(47, 12),
    .pfn_shift = 12,
    .swap_type_shift = 3,
    .swap_offset_shift = 8,
    .swap_offset_bits = 50,
    .swap_exclusive = PT_BIT(2),
    .swap_soft_dirty = PT_BIT(59),
    .reserved_table = {[2] = PT_BITS(50, 48), [3] = PT_BITS(50, 48), [4] = PT_BITS(50, 48)},
    .reserved_leaf = {[1] = PT_BITS(49, 48),
                      [2] = PT_BITS(49, 48) | PT_BITS(20, 17) | PT_BITS(15, 12),
                      [3] = PT_BITS(49, 48) | PT_BITS(29, 17) | PT_BITS(15, 12)},
};

#endif
