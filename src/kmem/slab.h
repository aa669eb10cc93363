/* SPDX-License-Identifier: MIT */
/*
 * The slab allocator's interface (Documentation/mm/slab.rst, core-api/memory-allocation.rst): caches of equal objects,
 * and kmalloc() on top. struct kmem_cache is visible because the fast paths are inline; its fields belong to src/kmem.
 *
 * Field keys: c constant after creation · o the owner of that CPU only · s slab_mutex · n the node's list_lock ·
 *             a atomic.
 */
#ifndef QUIRE_KMEM_SLAB_H
#define QUIRE_KMEM_SLAB_H

#include "base/list.h"
#include "base/lock.h"
#include "base/machine.h"
#include "phys/gfp.h"

struct page;
struct xa_node;

/* Flags of a cache, values as in the kernel; the debug ones with their letters of slab_debug= (F Z P U). */
#define SLAB_CONSISTENCY_CHECKS 0x00000100u /* F */
#define SLAB_RED_ZONE 0x00000400u           /* Z */
#define SLAB_POISON 0x00000800u             /* P */
#define SLAB_HWCACHE_ALIGN 0x00002000u
#define SLAB_CACHE_DMA 0x00004000u
#define SLAB_STORE_USER 0x00010000u /* U */
#define SLAB_RECLAIM_ACCOUNT 0x00020000u
#define SLAB_PANIC 0x00040000u
#define SLAB_NO_MERGE 0x01000000u
#define SLAB_ACCOUNT 0x04000000u
#define SLAB_DEBUG_FLAGS (SLAB_CONSISTENCY_CHECKS | SLAB_RED_ZONE | SLAB_POISON | SLAB_STORE_USER)

/* Constructors by id: a region holds no code pointers; cpu->code->slab_ctor[] has the functions. */
enum slab_ctor_id { SLAB_CTOR_NONE, SLAB_CTOR_ANON_VMA, SLAB_CTOR_TEST, NR_SLAB_CTORS };

#define SLAB_ANY_NODE (-1) /* Linux: NUMA_NO_NODE */
#define SLAB_NAME_LEN 32
#define KMALLOC_MIN_SIZE 8u
#define KMALLOC_MAX_CACHE_SIZE 8192u
#define ZERO_SIZE_PTR ((void *)16) /* what kmalloc(0) returns: not NULL, not to be touched; kfree() takes it */

/* What happened off the fast path, counted per CPU; names as under /sys/kernel/slab. */
enum slub_stat {
    ALLOC_REFILL,       /* the CPU's slab had objects that others freed */
    ALLOC_FROM_PARTIAL, /* a slab from a node's partial list */
    ALLOC_SLAB,         /* a new slab from the page allocator */
    CPU_PARTIAL_ALLOC,  /* a slab from the CPU's partial list */
    FREE_SLOWPATH,      /* a free to another slab than the CPU's own */
    CPU_PARTIAL_FREE,   /* ... that put a full slab on the CPU's partial list */
    NR_SLUB_STATS
};

/* A CPU's part of a cache. All fields o. `base` and `bytes` are 0 where there is no slab: so nothing lies in it. */
struct kmem_cache_cpu {
    void *freelist; /* free objects of `slab` that are this CPU's */
    uintptr_t base; /* memory of `slab` */
    u64 bytes;
    struct page *slab;    /* frozen: only this CPU allocates from it */
    struct page *partial; /* frozen slabs in waiting, each with free objects */
    u32 stat[NR_SLUB_STATS];
} __cacheline_aligned;
_Static_assert(sizeof(struct kmem_cache_cpu) == 64, "one line per CPU");

/* What kmem_check() found of a node's slabs: its scratch. */
struct slabs_found {
    u64 slabs, objects, pages, frozen, partial, full;
};

struct kmem_cache_node {
    spinlock_t list_lock;      /* RANK_SLAB_NODE */
    _Atomic u64 nr_partial;    /* n to write, readers take relaxed loads */
    struct list_head partial;  /* n: slabs with free objects that no CPU holds */
    struct list_head full;     /* n: debugged caches only */
    _Atomic u64 nr_slabs;      /* a: all slabs of the cache on this node */
    _Atomic u64 total_objects; /* a */
    struct slabs_found found;
};

struct kmem_cache {
    struct kmem_cache_cpu *cpu_slab; /* c: [nr_cpus] */
    u32 flags;                       /* c */
    u32 offset;                      /* c: of the free pointer in an object */
    u32 size;                        /* c: object with its metadata and padding: the stride */
    u32 object_size;                 /* s: what users may use; merging raises it */
    u32 inuse;                       /* s: offset of the metadata */
    u32 align;                       /* c */
    u32 red_left_pad;                /* c */
    u32 ctor;                        /* c: enum slab_ctor_id */
    u8 order, min_order;             /* c: preferred and least order of a slab */
    u16 objects, min_objects;        /* c: objects in slabs of these orders */
    u32 reciprocal;                  /* c: ceil(2^32 / size) */
    u32 min_partial;                 /* c: empty slabs that a node keeps */
    u32 cpu_partial_slabs;           /* c: slabs on a CPU's partial list */
    u32 allocflags;                  /* c: gfp flags for its pages */
    u32 requested_size;              /* c: as created, before rounding */
    s32 refcount;                    /* s: 1 + merged caches; -1: never merged */
    struct list_head list;           /* s: kmem->caches */
    char name[SLAB_NAME_LEN];        /* c */
    struct kmem_cache_node *node[];  /* c: [nr_nodes] */
};

/*
 * A cache of objects of `size` bytes. `name` is copied. The result may be an existing cache with compatible objects.
 * align 0: natural. NULL: out of memory or impossible size.
 */
struct kmem_cache *kmem_cache_create(struct cpu *cpu, const char *name, u32 size, u32 align, u32 flags,
                                     enum slab_ctor_id ctor);
/* 0, or -EBUSY when objects are still in use (the cache stays).
 * The caller sees to it that nobody uses the cache any more. */
int kmem_cache_destroy(struct cpu *cpu, struct kmem_cache *s);
void *kmem_cache_alloc_node(struct cpu *cpu, struct kmem_cache *s, gfp_t gfp, int nid);
/* All or nothing: nr, or 0. */
int kmem_cache_alloc_bulk(struct cpu *cpu, struct kmem_cache *s, gfp_t gfp, u32 nr, void **objects);
void kmem_cache_free_bulk(struct cpu *cpu, struct kmem_cache *s, u32 nr, void **objects);
/* Give empty slabs back; slabs of CPUs that somebody owns
 * follow when their owners do their work. 0: nothing left over. */
int kmem_cache_shrink(struct cpu *cpu, struct kmem_cache *s);

/* The ways beyond the fast path; `addr`: who asked, for user tracking. */
void *__kmem_cache_alloc(struct cpu *cpu, struct kmem_cache *s, gfp_t gfp);
void __kmem_cache_free(struct cpu *cpu, struct kmem_cache *s, void *object);
void *slab_alloc_caller(struct cpu *cpu, struct kmem_cache *s, gfp_t gfp, int nid, u64 addr);
void slab_free_caller(struct cpu *cpu, struct kmem_cache *s, void *object, u64 addr);

static inline struct kmem_cache_cpu *this_cpu_slab(struct cpu *cpu, struct kmem_cache *s)
{
    return &s->cpu_slab[cpu->id];
}

static inline void **slab_freeptr(const struct kmem_cache *s, void *object)
{
    return (void **)((char *)object + s->offset);
}

/* Neither lock nor atomic operation: the lists of a CPU are its owner's. NULL: take the other way. */
static inline void *slab_alloc_fast(struct cpu *cpu, struct kmem_cache *s, gfp_t gfp)
{
    struct kmem_cache_cpu *c = this_cpu_slab(cpu, s);
    void *object = c->freelist;

    if (unlikely(!object || gfp & __GFP_ZERO || atomic_load_explicit(&cpu->m->fail.countdown, memory_order_relaxed)))
        return NULL;
    c->freelist = *slab_freeptr(s, object);
    return object;
}

static inline bool slab_free_fast(struct cpu *cpu, struct kmem_cache *s, void *object)
{
    struct kmem_cache_cpu *c = this_cpu_slab(cpu, s);

    if (unlikely((uintptr_t)object - c->base >= c->bytes))
        return false;
    DEBUG_ASSERT(object != c->freelist);
    *slab_freeptr(s, object) = c->freelist;
    c->freelist = object;
    return true;
}

/* One object, or NULL. */
static inline void *kmem_cache_alloc(struct cpu *cpu, struct kmem_cache *s, gfp_t gfp)
{
    void *object = slab_alloc_fast(cpu, s, gfp);

    return likely(object) ? object : __kmem_cache_alloc(cpu, s, gfp);
}

static inline void kmem_cache_free(struct cpu *cpu, struct kmem_cache *s, void *object)
{
    if (unlikely(!slab_free_fast(cpu, s, object)))
        __kmem_cache_free(cpu, s, object);
}

static inline void *kmem_cache_zalloc(struct cpu *cpu, struct kmem_cache *s, gfp_t gfp)
{
    return __kmem_cache_alloc(cpu, s, gfp | __GFP_ZERO);
}

/* Any size. 0 bytes: ZERO_SIZE_PTR. NULL: out of memory. Powers of two are aligned to their size. */
void *kmalloc(struct cpu *cpu, u64 bytes, gfp_t gfp);
void *kmalloc_node(struct cpu *cpu, u64 bytes, gfp_t gfp, int nid);

static inline void *kzalloc(struct cpu *cpu, u64 bytes, gfp_t gfp)
{
    return kmalloc(cpu, bytes, gfp | __GFP_ZERO);
}

/* n * bytes, or NULL where that overflows. */
static inline void *kmalloc_array(struct cpu *cpu, u64 n, u64 bytes, gfp_t gfp)
{
    u64 total;

    return __builtin_mul_overflow(n, bytes, &total) ? NULL : kmalloc(cpu, total, gfp);
}

static inline void *kcalloc(struct cpu *cpu, u64 n, u64 bytes, gfp_t gfp)
{
    return kmalloc_array(cpu, n, bytes, gfp | __GFP_ZERO);
}

/* As realloc(): NULL leaves `p` as it was; 0 bytes frees and gives ZERO_SIZE_PTR. __GFP_ZERO clears what was added. */
void *krealloc(struct cpu *cpu, void *p, u64 bytes, gfp_t gfp);
void kfree(struct cpu *cpu, void *p); /* NULL is allowed */
u64 ksize(struct machine *m, const void *p);

/* Nodes of xarrays: for cpu->code->xa_node_alloc. */
struct xa_node *kmem_xa_node_alloc(struct cpu *cpu, u32 gfp);
void kmem_xa_node_free(struct cpu *cpu, struct xa_node *node);

/* Boot: after the page allocator works. 0 or -ENOMEM. */
int kmem_cache_init(struct cpu *cpu);
/* This CPU's slabs back to their nodes (CPU_WORK_FLUSH_SLAB). Takes RANK_SLAB_MUTEX. */
void flush_cpu_slab(struct cpu *cpu);

#endif
