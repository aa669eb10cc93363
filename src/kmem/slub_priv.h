/* SPDX-License-Identifier: MIT */
/*
 * Between the files of src/kmem: the layout of a slab and of its word.
 *
 *   slab: 2^order pages (compound), page_type PGTY_slab, described by the head page
 *
 *   ├pad┼ object 0 ──────────────┼ pad ┼ object 1 ──────────────┼ pad ┼ … ┤ rest
 *       └─ size ─────────────────────┘
 *
 *   object: [ left red zone | object_size bytes | red zone ][ free pointer, where not inside ][ tracks ][ padding ]
 *                           ^ what users hold              ^ inuse
 *   Red zones, the two tracks (alloc, free) and padding: only of debugged caches.
 */
#ifndef QUIRE_KMEM_SLUB_PRIV_H
#define QUIRE_KMEM_SLUB_PRIV_H

#include "kmem/kmem.h"
#include "phys/page_alloc.h"
#include "phys/vmstat.h"

#define SLUB_MAX_ORDER PAGE_ALLOC_COSTLY_ORDER

/* The state of a slab in one word, so that a plain 64-bit compare-and-swap changes all of it. */
typedef union {
    u64 value;
    struct {
        u16 free;    /* first free object: index + 1; 0: none */
        u16 inuse;   /* objects not in the list that starts at `free` */
        u16 objects; /* objects in the slab */
        u16 frozen;  /* a CPU holds it: on no node's list */
    };
} slab_word_t;

static inline slab_word_t slab_word_read(const struct page *slab)
{
    return (slab_word_t){.value =
                             atomic_load_explicit(&((struct page *)(uintptr_t)slab)->slab_word, memory_order_acquire)};
}

/* Acquire and release: who takes a list sees the links that others wrote before they gave it. */
static inline bool slab_word_cmpxchg(struct page *slab, slab_word_t *old, slab_word_t new)
{
    return atomic_compare_exchange_weak_explicit(&slab->slab_word, &old->value, new.value, memory_order_acq_rel,
                                                 memory_order_acquire);
}

static inline bool kmem_cache_debug(const struct kmem_cache *s)
{
    return unlikely(s->flags & SLAB_DEBUG_FLAGS);
}

/* Address of object 0. */
static inline char *slab_base(const struct machine *m, const struct kmem_cache *s, const struct page *slab)
{
    return (char *)page_address(m, slab) + s->red_left_pad;
}

/* From the link in a slab's word to the object, and back.
 * An object lies at a multiple of size: the reciprocal is exact. */
static inline void *slab_link_object(const struct machine *m, const struct kmem_cache *s, const struct page *slab,
                                     u16 link)
{
    return link ? slab_base(m, s, slab) + (u64)(link - 1u) * s->size : NULL;
}

static inline u16 slab_object_link(const struct machine *m, const struct kmem_cache *s, const struct page *slab,
                                   const void *object)
{
    u64 off = (u64)((const char *)object - slab_base(m, s, slab));

    return object ? (u16)((off * s->reciprocal >> 32) + 1) : 0;
}

static inline struct page *virt_to_slab(const struct machine *m, const void *object)
{
    return &virt_to_folio(m, object)->page;
}

static inline struct kmem_cache_node *slab_node(const struct kmem_cache *s, const struct page *slab)
{
    return s->node[page_to_nid(slab)];
}

static inline u64 nr_partial(const struct kmem_cache_node *n)
{
    return atomic_load_explicit(&((struct kmem_cache_node *)(uintptr_t)n)->nr_partial, memory_order_relaxed);
}

static inline void add_partial(struct kmem_cache_node *n, struct page *slab) MUST_HOLD(n->list_lock)
{
    list_add_tail(&slab->slab_list, &n->partial);
    atomic_store_explicit(&n->nr_partial, nr_partial(n) + 1, memory_order_relaxed);
}

static inline void remove_partial(struct kmem_cache_node *n, struct page *slab) MUST_HOLD(n->list_lock)
{
    list_del(&slab->slab_list);
    atomic_store_explicit(&n->nr_partial, nr_partial(n) - 1, memory_order_relaxed);
}

/* slub.c */
struct page *allocate_slab(struct cpu *cpu, struct kmem_cache *s, gfp_t gfp, int nid);
void discard_slab(struct cpu *cpu, struct kmem_cache *s, struct page *slab);
void flush_cache_cpu(struct cpu *cpu, struct kmem_cache *s, u32 target);
void kmem_cache_node_init(struct kmem_cache_node *n);

/* slab_common.c */
int calculate_sizes(struct machine *m, struct kmem_cache *s);
u32 slab_name_copy(char *dst, const char *src);
struct kmem_cache *create_cache(struct cpu *cpu, const char *name, u32 size, u32 align, u32 flags,
                                enum slab_ctor_id ctor);

/* slub_debug.c: the slow and careful way of caches with debug flags. */
enum slab_track { TRACK_ALLOC, TRACK_FREE, NR_TRACKS };
struct slab_track_entry {
    u64 addr; /* caller, as it lay in the process that called: for people, never followed */
    u32 cpu;
    s32 pid;  /* -1: no task */
    u64 when; /* virtual ns */
};
void debug_setup_slab(struct machine *m, struct kmem_cache *s, struct page *slab, u32 objects);
void *debug_alloc(struct cpu *cpu, struct kmem_cache *s, gfp_t gfp, int nid, u64 addr);
void debug_free(struct cpu *cpu, struct kmem_cache *s, struct page *slab, void *object, u64 addr);
u32 debug_metadata_size(const struct kmem_cache *s);
/* Whether every byte and link of a debugged slab is as it should be; reports what is not. */
u32 debug_validate_slab(struct cpu *cpu, struct kmem_cache *s, struct page *slab);
void slab_bug(struct cpu *cpu, struct kmem_cache *s, const void *object, const char *what) __cold;

/* slub_check.c: a free list followed with care. */
#define FREE_WALK_OBJECTS 4096 /* slabs of up to 2^SLUB_MAX_ORDER pages, smallest objects */
struct free_walk {
    u64 map[FREE_WALK_OBJECTS / 64]; /* by object index: met */
    u32 nr;                          /* objects met */
    const void *bad;                 /* the object or link that is wrong */
    const char *what;                /* NULL: nothing is */
};
/* Adds the list from `head` on to `walk`; stops at the first fault. Several lists of one slab may be added. */
void walk_freelist(struct machine *m, const struct kmem_cache *s, struct page *slab, void *head,
                   struct free_walk *walk);

static inline bool free_walk_has(const struct free_walk *walk, u16 link)
{
    return walk->map[(link - 1u) / 64] >> ((link - 1u) % 64) & 1;
}

/* kmalloc.c */
int create_kmalloc_caches(struct cpu *cpu);
/* xa_cache.c */
int create_xa_cache(struct cpu *cpu);

#endif
