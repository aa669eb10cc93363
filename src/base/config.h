/* SPDX-License-Identifier: MIT */
/*
 * struct machine_config: everything about a machine that is chosen before boot. Filled by machine/config.c from machine
 * files, copied into the machine, read by every floor. Plain data: no pointers.
 */
#ifndef QUIRE_BASE_CONFIG_H
#define QUIRE_BASE_CONFIG_H

#include "base/cost.h"
#include "base/types.h"

#define MAX_NODES 64
#define MAX_CPUS 512
#define MAX_MEM_RANGES 128

/* The content of user frames (DESIGN 2.3). */
enum content_mode { CONTENT_NONE, CONTENT_FULL, CONTENT_GUEST };

enum memory_model { MEMORY_FLATMEM, MEMORY_SPARSEMEM_VMEMMAP };

enum pt_format_id {
    PT_X86_32,     /* 2 levels, 4-byte entries */
    PT_X86_PAE,    /* 3 levels */
    PT_X86_64_4L,  /* 4 levels */
    PT_X86_64_5L,  /* 5 levels */
    PT_ARM64_4K,   /* 4 levels, 48-bit, two roots */
    PT_RISCV_SV39, /* 3 levels */
    PT_RISCV_SV48, /* 4 levels */
    PT_RISCV_SV57, /* 5 levels */
    NR_PT_FORMATS
};

/* e820 types as firmware reports them (ACPI specification, "System Address Map Interfaces"). */
enum e820_type { E820_RAM = 1, E820_RESERVED = 2, E820_ACPI = 3, E820_NVS = 4, E820_UNUSABLE = 5, E820_PMEM = 7 };

/* One range of the firmware map. nid -1: the node table (or node 0) decides. */
struct mem_range {
    u64 start; /* bytes */
    u64 size;  /* bytes */
    u16 type;  /* enum e820_type */
    s16 nid;
    bool hotplug;
    bool mirror;
};

/* One TLB or page-walk cache: entries = sets * ways; sets is a power of two, 0: absent. */
struct tlb_geometry {
    u32 sets, ways;
};

struct tlb_config {
    struct tlb_geometry l1d_4k, l1d_2m, l1d_1g; /* per page size, as x86 cores have them */
    struct tlb_geometry l1i_4k, l1i_2m;
    struct tlb_geometry l2; /* unified; 4K and 2M share it */
    struct tlb_geometry l2_1g;
    struct tlb_geometry pwc[3]; /* page-walk caches: entries that point to a level-1, -2, -3 table */
    u32 nr_asids;               /* address spaces kept apart in the TLB; 1: every switch flushes */
    u32 flush_ceiling;          /* tlb_single_page_flush_ceiling: longer ranges flush everything */
};

struct machine_config {
    char name[64];
    enum pt_format_id pt_format;
    enum memory_model memory_model;
    enum content_mode content;
    u32 nr_cpus;
    u32 nr_nodes;
    s16 cpu_node[MAX_CPUS];
    u8 node_distance[MAX_NODES][MAX_NODES];

    u64 mem_bytes; /* `mem`: what the ranges below were made from; 0: they were given one by one */
    u32 nr_ranges; /* firmware map, sorted or not, may overlap: phys/firmware.c sanitises it */
    struct mem_range range[MAX_MEM_RANGES];
    u64 mem_limit; /* `mem=`: bytes, 0: all */

    /* /proc/sys/vm and friends, Linux's names and units */
    u64 min_free_kbytes; /* 0: computed as Linux does */
    u32 watermark_scale_factor;
    u32 watermark_boost_factor;
    u32 lowmem_reserve_ratio[6]; /* by enum zone_type */
    u32 percpu_pagelist_high_fraction;
    u32 overcommit_memory; /* 0, 1, 2 */
    u32 overcommit_ratio;
    u64 overcommit_kbytes;
    u64 admin_reserve_kbytes;
    u64 user_reserve_kbytes;
    u32 max_map_count;
    u32 memfd_noexec;           /* 0 executable by default, 1 not, 2 never */
    u64 shmmax, shmall, shmmni; /* SysV segments: bytes, pages in all, number */
    u64 mmap_min_addr;
    u64 lsm_mmap_min_addr; /* CONFIG_LSM_MMAP_MIN_ADDR: hints are moved above it */
    u32 stack_guard_gap;   /* pages */
    u64 fault_around_bytes;
    bool legacy_va_layout;
    u32 randomize_va_space;
    u32 mmap_rnd_bits; /* 0: the architecture's default */
    u64 aslr_seed;
    bool pkeys;           /* the CPUs have protection keys (x86-64) */
    bool anon_vma_name;   /* CONFIG_ANON_VMA_NAME: PR_SET_VMA_ANON_NAME works */
    bool page_cache_warm; /* every file page counts as cached already: its first touch is a minor fault */
    u32 slub_debug;       /* SLAB_* debug flags for every cache */
    bool slab_nomerge;
    bool memory_failure; /* CONFIG_MEMORY_FAILURE: MADV_HWPOISON, MADV_SOFT_OFFLINE */

    struct tlb_config tlb;
    u64 cost_ps[NR_COSTS];
};

#endif
