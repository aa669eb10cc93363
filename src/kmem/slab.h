/* SPDX-License-Identifier: MIT */
/* The slab allocator's interface (Documentation/mm/slab.rst, core-api/memory-allocation.rst). */
#ifndef QUIRE_KMEM_SLAB_H
#define QUIRE_KMEM_SLAB_H

#include "base/machine.h"
#include "phys/gfp.h"

struct kmem_cache;

/* Flags of a cache; the debug ones as the letters of slab_debug= (F Z P U). */
#define SLAB_CONSISTENCY_CHECKS 0x00000100u /* F */
#define SLAB_RED_ZONE 0x00000400u           /* Z */
#define SLAB_POISON 0x00000800u             /* P */
#define SLAB_STORE_USER 0x00010000u         /* U */
#define SLAB_HWCACHE_ALIGN 0x00002000u
#define SLAB_RECLAIM_ACCOUNT 0x00020000u
#define SLAB_PANIC 0x00040000u
#define SLAB_ACCOUNT 0x04000000u
#define SLAB_NO_MERGE 0x01000000u
#define SLAB_DEBUG_FLAGS (SLAB_CONSISTENCY_CHECKS | SLAB_RED_ZONE | SLAB_POISON | SLAB_STORE_USER)

/* Constructors by id: a region holds no code pointers; cpu->code->slab_ctor[] has the functions. */
enum slab_ctor_id { SLAB_CTOR_NONE, SLAB_CTOR_ANON_VMA, SLAB_CTOR_TEST, NR_SLAB_CTORS };

/* `name` is copied. NULL: out of memory or impossible size. align 0: natural. */
struct kmem_cache *kmem_cache_create(struct cpu *cpu, const char *name, u32 size, u32 align, u32 flags,
                                     enum slab_ctor_id ctor);
/* 0, or -EBUSY when objects are still in use (the cache stays). */
int kmem_cache_destroy(struct cpu *cpu, struct kmem_cache *s);
void *kmem_cache_alloc(struct cpu *cpu, struct kmem_cache *s, gfp_t gfp);
void *kmem_cache_alloc_node(struct cpu *cpu, struct kmem_cache *s, gfp_t gfp, int nid);
void kmem_cache_free(struct cpu *cpu, struct kmem_cache *s, void *object);
/* All or nothing: nr, or 0. */
int kmem_cache_alloc_bulk(struct cpu *cpu, struct kmem_cache *s, gfp_t gfp, u32 nr, void **objects);
void kmem_cache_free_bulk(struct cpu *cpu, struct kmem_cache *s, u32 nr, void **objects);
int kmem_cache_shrink(struct cpu *cpu, struct kmem_cache *s);

void *kmalloc(struct cpu *cpu, u64 bytes, gfp_t gfp);
void *kzalloc(struct cpu *cpu, u64 bytes, gfp_t gfp);
void *kmalloc_node(struct cpu *cpu, u64 bytes, gfp_t gfp, int nid);
void *krealloc(struct cpu *cpu, void *p, u64 bytes, gfp_t gfp);
void kfree(struct cpu *cpu, void *p); /* NULL is allowed */
u64 ksize(struct machine *m, const void *p);

/* Boot: after the page allocator works. 0 or -ENOMEM. */
int kmem_cache_init(struct cpu *cpu);
/* This CPU's slabs back to their nodes (CPU_WORK_FLUSH_SLAB). */
void flush_cpu_slab(struct cpu *cpu);

#endif
