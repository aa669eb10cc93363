/* SPDX-License-Identifier: MIT */
/* Accesses and blocks as qemu's callbacks tell them, and those that recent.h does not decide. */
#ifndef QUIRE_FRONTEND_ACCESS_H
#define QUIRE_FRONTEND_ACCESS_H

#include "qemu_plugin.h"
#include "recent.h"

/* qemu 7.2: bits 4.. of the info are the memory operation,
 * whose low three bits are log2 of the size; bit 17: it stores. */
static inline u32 info_size(qemu_plugin_meminfo_t info)
{
    return 1u << (info >> 4 & 7);
}

static inline enum mmu_access_kind info_kind(qemu_plugin_meminfo_t info)
{
    return info >> 17 & 1 ? MMU_WRITE : MMU_READ;
}

static inline bool crosses_page(va_t va, u32 size)
{
    return (va & ~PAGE_MASK) + size > PAGE_SIZE;
}

/* A block: its first byte's page | BLOCK_CROSSES, where it goes on in the next page. Two pages at most. */
#define BLOCK_CROSSES 2ul

/* What the lists do not decide. access.c, compiled for any CPU and for those with AVX2. */
typedef void access_miss_fn(struct vcpu_hot *h, qemu_plugin_meminfo_t info, va_t va);
typedef void block_miss_fn(struct vcpu_hot *h, u64 block);

access_miss_fn access_miss, access_miss_avx2;
block_miss_fn block_miss, block_miss_avx2;

#endif
