/* SPDX-License-Identifier: MIT */
/*
 * The types every floor uses. Freestanding: nothing here needs a C library.
 *
 * Numbers that must not be mixed are different types: a pfn, a physical address and a page offset are one-field
 * structs, a virtual address is the plain integer among them. The compiler so refuses every mix of the four.
 */
#ifndef QUIRE_BASE_TYPES_H
#define QUIRE_BASE_TYPES_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

/* Every format Quire models uses 4 KiB base pages (arm64: the 4K granule). */
#define PAGE_SHIFT 12
#define PAGE_SIZE (1ul << PAGE_SHIFT)
#define PAGE_MASK (~(PAGE_SIZE - 1))

/* Page frame number: physical address / PAGE_SIZE. */
typedef struct {
    u64 nr;
} pfn_t;

/* Physical address in bytes. */
typedef struct {
    u64 pa;
} phys_t;

/* Offset in a file or object, in pages (Linux: pgoff_t). */
typedef struct {
    u64 nr;
} pgoff_t;

/* A virtual address, in bytes: the plain integer. Guest addresses of 32-bit formats are zero extended. */
typedef u64 va_t;

#define PFN(n) ((pfn_t){(n)})
#define PHYS(a) ((phys_t){(a)})
#define PGOFF(n) ((pgoff_t){(n)})

static inline pfn_t phys_to_pfn(phys_t a)
{
    return PFN(a.pa >> PAGE_SHIFT);
}

static inline phys_t pfn_to_phys(pfn_t p)
{
    return PHYS(p.nr << PAGE_SHIFT);
}

static inline pfn_t pfn_add(pfn_t p, u64 n)
{
    return PFN(p.nr + n);
}

static inline pgoff_t pgoff_add(pgoff_t p, u64 n)
{
    return PGOFF(p.nr + n);
}

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define BIT(n) (1ul << (n))
#define ALIGN_UP(x, a) (((x) + ((__typeof__(x))(a)-1)) & ~((__typeof__(x))(a)-1))
#define ALIGN_DOWN(x, a) ((x) & ~((__typeof__(x))(a)-1))
#define IS_ALIGNED(x, a) (((x) & ((__typeof__(x))(a)-1)) == 0)
#define DIV_ROUND_UP(n, d) (((n) + (d)-1) / (d))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#define __noinline __attribute__((noinline))
#define __cold __attribute__((cold, noinline))
#define __printf_like(f, a) __attribute__((format(printf, f, a)))
#define __cacheline_aligned __attribute__((aligned(64)))

/* One whole, untorn load or store of a shared field; no ordering with others. */
#define READ_ONCE(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, v) __atomic_store_n(&(x), v, __ATOMIC_RELAXED)

/* ThreadSanitizer builds. */
#if defined(__SANITIZE_THREAD__)
#define QUIRE_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define QUIRE_TSAN 1
#endif
#endif

static inline unsigned int ilog2(u64 n)
{
    return 63u - (unsigned int)__builtin_clzll(n | 1);
}

/* The smallest order with 2^order pages >= bytes. */
static inline unsigned int get_order(u64 bytes)
{
    return bytes <= PAGE_SIZE ? 0 : ilog2((bytes - 1) >> PAGE_SHIFT) + 1;
}

/* The compiler may call these; a host provides them (port.h). */
void *memcpy(void *dst, const void *src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);

#endif
