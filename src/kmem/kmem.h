/* SPDX-License-Identifier: MIT */
/* What the kernel-memory floor keeps for a machine (m->kmem), its counters for readers, and its books. */
#ifndef QUIRE_KMEM_KMEM_H
#define QUIRE_KMEM_KMEM_H

#include "base/check.h"
#include "kmem/slab.h"

/* Which cache a kmalloc() comes from, by gfp flags. */
enum kmalloc_type { KMALLOC_NORMAL, KMALLOC_CGROUP, KMALLOC_RECLAIM, KMALLOC_DMA, NR_KMALLOC_TYPES };

#define NR_KMALLOC_SIZES 13 /* 8 16 32 64 96 128 192 256 512 1k 2k 4k 8k */
extern const u16 kmalloc_size[NR_KMALLOC_SIZES];

/* What a debug report does: end in an assertion, or be kept for whoever asks (tests; the object is left alone). */
enum slab_bug_action { SLAB_BUG_STOP, SLAB_BUG_KEEP };

#define SLAB_REPORT_LEN 640

struct kmem {
    struct mutex slab_mutex;        /* RANK_SLAB_MUTEX: the list of caches */
    struct list_head caches;        /* s: newest first, as /proc/slabinfo prints them */
    u32 nr_nodes;                   /* c */
    u64 boot_bytes;                 /* c: from here on: this, first caches and CPUs' parts */
    u32 min_objects;                /* c: 4 * (fls(CPUs) + 1) */
    struct kmem_cache *cache_cache; /* c: struct kmem_cache */
    struct kmem_cache *node_cache;  /* c: struct kmem_cache_node */
    struct kmem_cache *cpu_cache;   /* c: arrays of struct kmem_cache_cpu */
    struct kmem_cache *xa_cache;    /* c: struct xa_node */
    struct kmem_cache *kmalloc[NR_KMALLOC_TYPES][NR_KMALLOC_SIZES]; /* c */
    u8 kmalloc_index[24];                /* c: size class of 1..192 bytes, by (bytes - 1) / 8 */
    u8 node_order[MAX_NODES][MAX_NODES]; /* c: the other nodes, nearest first */
    enum slab_bug_action bug_action;
    _Atomic u32 bugs;             /* reports so far */
    char report[SLAB_REPORT_LEN]; /* the last one */
};

/* One line of /proc/slabinfo, slabinfo(5). active_objs counts free objects of CPUs' slabs as active, as SLUB does. */
struct slabinfo {
    char name[SLAB_NAME_LEN];
    u64 active_objs, num_objs;
    u32 objsize, objperslab, pagesperslab;
    u64 active_slabs, num_slabs;
    u32 aliases; /* caches merged into it */
};

/* Line `*pos` of the table, and on to the next; false at its end. Start with *pos = 0. */
bool slabinfo_next(struct cpu *cpu, u32 *pos, struct slabinfo *line);
/* Sum of one statistic over all CPUs: exact while they are quiet. */
u64 kmem_cache_stat(const struct machine *m, const struct kmem_cache *s, enum slub_stat item);

/* Consistency of all of a cache's slabs that are on lists; debugged caches: every object too. Number of bugs found. */
u32 kmem_cache_validate(struct cpu *cpu, struct kmem_cache *s);

void kmem_check(struct machine *m, struct check_report *r);

#endif
