/* SPDX-License-Identifier: MIT */
/*
 * Caches: how large their slabs are, which are merged, boot, flush, shrink, destroy, slabinfo.
 *
 * Layout of an object (calculate_sizes), as Documentation/mm/slab.rst describes the parts:
 *   object_size rounded up to a word; a word of right red zone if there was no slack; then the free pointer, if it may
 *   not lie in the object: with a constructor or poison the free object's bytes have a meaning. Else it lies in the
 *   middle of the object, away from the first words, which overflows of the neighbour and writes through stale pointers
 *   hit most. Then two track records, then a left red zone in front and padding up to the alignment.
 *
 * Order of a slab (calculate_order), by the rules of slab_max_order and slab_min_objects in slab.rst: the least order
 * that holds min_objects = 4 * (fls(CPUs) + 1) objects and wastes at most 1/16 of the slab; if there is none up to
 * slab_max_order 3, at most 1/8, 1/4, 1/2; if there is none, the least order that holds one object.
 *
 * Boot: three caches must exist before any cache can be created: of struct kmem_cache, of struct kmem_cache_node, and
 * of the arrays of struct kmem_cache_cpu. They lie beside struct kmem in pages of their own. The node structures of the
 * cache of nodes are the first objects of its own slabs.
 *
 * Locks: slab_mutex guards the list of caches, refcount and object_size. It is held while a cache is created or
 * destroyed, and while a CPU flushes: so destroying may flush other CPUs' parts itself,
 * as nobody uses the cache any more.
 */
#include "base/errno.h"
#include "kmem/slub_priv.h"

#define SLAB_NEVER_MERGE (SLAB_RED_ZONE | SLAB_POISON | SLAB_STORE_USER | SLAB_CONSISTENCY_CHECKS | SLAB_NO_MERGE)
#define SLAB_MERGE_SAME (SLAB_RECLAIM_ACCOUNT | SLAB_CACHE_DMA | SLAB_ACCOUNT)
#define SLAB_MAX_SIZE (PAGE_SIZE << MAX_PAGE_ORDER)
#define MIN_PARTIAL 5u
#define MAX_PARTIAL 10u
#define CACHE_LINE 64u

/* -- sizes --------------------------------------------------------------------------------------------------------- */

static u32 calculate_alignment(u32 flags, u32 align, u32 size)
{
    if (flags & SLAB_HWCACHE_ALIGN) {
        u32 line = CACHE_LINE;

        while (size <= line / 2)
            line /= 2;
        align = MAX(align, line);
    }
    return ALIGN_UP(MAX(align, (u32)sizeof(void *)), (u32)sizeof(void *));
}

static u32 order_objects(unsigned int order, u32 size)
{
    return (u32)((PAGE_SIZE << order) / size);
}

/* The order of slabs for objects of `size` bytes; -ENOSYS: too large for any. */
static int calculate_order(u32 size, u32 min_objects)
{
    u32 most = MAX(order_objects(SLUB_MAX_ORDER, size), 1u);
    unsigned int min_order = get_order((u64)MIN(min_objects, most) * size);
    unsigned int order;

    for (u32 fraction = 16; fraction > 1; fraction /= 2)
        for (order = min_order; order <= SLUB_MAX_ORDER; order++)
            if ((PAGE_SIZE << order) % size <= (PAGE_SIZE << order) / fraction)
                return (int)order;
    order = get_order(size);
    return order <= MAX_PAGE_ORDER ? (int)order : -ENOSYS;
}

/* Objects kept on a CPU's partial list, as slabs that are half free on average. */
static u32 calculate_cpu_partial(const struct kmem_cache *s)
{
    u32 objects = s->size >= PAGE_SIZE ? 6 : s->size >= 1024 ? 24 : s->size >= 256 ? 52 : 120;

    if (kmem_cache_debug(s))
        return 0;
    return DIV_ROUND_UP(objects * 2, s->objects);
}

/* From object_size, flags, align and ctor to everything that follows from them. 0 or -ENOSYS. */
int calculate_sizes(struct machine *m, struct kmem_cache *s)
{
    u32 size = ALIGN_UP(s->object_size, (u32)sizeof(void *));
    int order;

    if (s->flags & SLAB_RED_ZONE && size == s->object_size)
        size += sizeof(void *);
    s->inuse = size;
    if (s->flags & SLAB_POISON || s->ctor || (s->flags & SLAB_RED_ZONE && s->object_size < sizeof(void *))) {
        s->offset = size;
        size += sizeof(void *);
    } else {
        s->offset = ALIGN_DOWN(s->object_size / 2, (u32)sizeof(void *));
    }
    size += debug_metadata_size(s);
    s->red_left_pad = s->flags & SLAB_RED_ZONE ? ALIGN_UP((u32)sizeof(void *), s->align) : 0;
    s->size = ALIGN_UP(size + s->red_left_pad, s->align);
    order = calculate_order(s->size, m->kmem->min_objects);
    if (order < 0)
        return order;
    s->order = (u8)order;
    s->min_order = (u8)get_order(s->size);
    s->objects = (u16)order_objects(s->order, s->size);
    s->min_objects = (u16)order_objects(s->min_order, s->size);
    s->reciprocal = (u32)(((1ull << 32) + s->size - 1) / s->size);
    s->min_partial = MIN(MAX(ilog2(s->size) / 2, MIN_PARTIAL), MAX_PARTIAL);
    s->cpu_partial_slabs = calculate_cpu_partial(s);
    s->allocflags = (s->order ? __GFP_COMP : 0) | (s->flags & SLAB_CACHE_DMA ? __GFP_DMA : 0) |
                    (s->flags & SLAB_RECLAIM_ACCOUNT ? __GFP_RECLAIMABLE : 0);
    return 0;
}

/* -- creating ------------------------------------------------------------------------------------------------------ */

u32 slab_name_copy(char *dst, const char *src)
{
    u32 n = 0;

    for (; src[n] && n < SLAB_NAME_LEN - 1; n++)
        dst[n] = src[n];
    dst[n] = 0;
    return n;
}

void kmem_cache_node_init(struct kmem_cache_node *n)
{
    *n = (struct kmem_cache_node){.nr_partial = 0};
    spin_lock_init(&n->list_lock, RANK_SLAB_NODE);
    INIT_LIST_HEAD(&n->partial);
    INIT_LIST_HEAD(&n->full);
}

static void free_cache_parts(struct cpu *cpu, struct kmem_cache *s)
{
    struct kmem *k = cpu->m->kmem;

    for (u32 nid = 0; nid < k->nr_nodes; nid++)
        if (s->node[nid])
            kmem_cache_free(cpu, k->node_cache, s->node[nid]);
    if (s->cpu_slab)
        kmem_cache_free(cpu, k->cpu_cache, s->cpu_slab);
    kmem_cache_free(cpu, k->cache_cache, s);
}

static int alloc_cache_parts(struct cpu *cpu, struct kmem_cache *s)
{
    struct kmem *k = cpu->m->kmem;

    s->cpu_slab = kmem_cache_alloc(cpu, k->cpu_cache, GFP_KERNEL | __GFP_ZERO);
    if (!s->cpu_slab)
        return -ENOMEM;
    for (u32 nid = 0; nid < k->nr_nodes; nid++) {
        s->node[nid] = kmem_cache_alloc_node(cpu, k->node_cache, GFP_KERNEL, (int)nid);
        if (!s->node[nid])
            return -ENOMEM;
        kmem_cache_node_init(s->node[nid]);
    }
    return 0;
}

/* A cache of its own, not merged, on the list. slab_mutex held, or boot. */
struct kmem_cache *create_cache(struct cpu *cpu, const char *name, u32 size, u32 align, u32 flags,
                                enum slab_ctor_id ctor)
{
    struct kmem *k = cpu->m->kmem;
    struct kmem_cache *s = kmem_cache_alloc(cpu, k->cache_cache, GFP_KERNEL | __GFP_ZERO);

    if (!s)
        return NULL;
    s->flags = flags | (cpu->m->config.slub_debug & SLAB_DEBUG_FLAGS);
    s->requested_size = size;
    s->object_size = size;
    s->align = calculate_alignment(flags, align, size);
    s->ctor = ctor;
    s->refcount = 1;
    slab_name_copy(s->name, name);
    if (calculate_sizes(cpu->m, s) || alloc_cache_parts(cpu, s)) {
        free_cache_parts(cpu, s);
        return NULL;
    }
    list_add(&s->list, &k->caches);
    return s;
}

/* -- merging ------------------------------------------------------------------------------------------------------- */

/* Whether objects of `size`, rounded already, fit into the existing cache `s` at a loss of less than a word. */
static bool mergeable_with(const struct kmem_cache *s, u32 size, u32 align, u32 flags)
{
    if (s->refcount < 0 || s->ctor || s->flags & SLAB_NEVER_MERGE)
        return false;
    if (size > s->size || (flags & SLAB_MERGE_SAME) != (s->flags & SLAB_MERGE_SAME))
        return false;
    return IS_ALIGNED(s->size, align) && s->size - size < sizeof(void *);
}

static struct kmem_cache *find_mergeable(struct machine *m, u32 size, u32 align, u32 flags, enum slab_ctor_id ctor)
{
    struct kmem_cache *s;

    flags |= m->config.slub_debug & SLAB_DEBUG_FLAGS;
    if (m->config.slab_nomerge || ctor || flags & SLAB_NEVER_MERGE)
        return NULL;
    size = ALIGN_UP(size, (u32)sizeof(void *));
    align = calculate_alignment(flags, align, size);
    size = ALIGN_UP(size, align);
    /* the oldest first */
    for (struct list_head *l = m->kmem->caches.prev; l != &m->kmem->caches; l = l->prev) {
        s = list_entry(l, struct kmem_cache, list);
        if (mergeable_with(s, size, align, flags))
            return s;
    }
    return NULL;
}

static void merge_into(struct kmem_cache *s, u32 size)
{
    s->refcount++;
    s->object_size = MAX(s->object_size, size);
    s->inuse = MAX(s->inuse, ALIGN_UP(size, (u32)sizeof(void *)));
}

struct kmem_cache *kmem_cache_create(struct cpu *cpu, const char *name, u32 size, u32 align, u32 flags,
                                     enum slab_ctor_id ctor)
{
    struct kmem *k = cpu->m->kmem;
    struct kmem_cache *s = NULL;

    if (!size || size > SLAB_MAX_SIZE || align & (align - 1) || align > PAGE_SIZE)
        return NULL;
    mutex_lock(cpu, &k->slab_mutex);
    s = find_mergeable(cpu->m, size, align, flags, ctor);
    if (s)
        merge_into(s, size);
    else
        s = create_cache(cpu, name, size, align, flags, ctor);
    mutex_unlock(cpu, &k->slab_mutex);
    ASSERT(s || !(flags & SLAB_PANIC));
    return s;
}

/* -- flush, shrink, destroy ---------------------------------------------------------------------------------------- */

void flush_cpu_slab(struct cpu *cpu)
{
    struct kmem *k = cpu->m->kmem;
    struct kmem_cache *s;

    if (!k)
        return;
    mutex_lock(cpu, &k->slab_mutex);
    list_for_each_entry (s, &k->caches, list)
        flush_cache_cpu(cpu, s, cpu->id);
    mutex_unlock(cpu, &k->slab_mutex);
}

static void flush_one(struct cpu *cpu, u32 id, void *s)
{
    flush_cache_cpu(cpu, s, id);
}

/* This CPU and those that nobody owns at once; the others are asked to. */
static void flush_all(struct cpu *cpu, struct kmem_cache *s)
{
    on_each_cpu_work(cpu, CPU_WORK_FLUSH_SLAB, flush_one, s);
}

static void discard_list(struct cpu *cpu, struct kmem_cache *s, struct list_head *slabs)
{
    struct page *slab, *next;

    list_for_each_entry_safe (slab, next, slabs, slab_list)
        discard_slab(cpu, s, slab);
}

#define SHRINK_PROMOTE_MAX 32

/* Empty slabs off the list and freed; the others with few free objects to the front, fullest first. */
static void shrink_node(struct cpu *cpu, struct kmem_cache *s, struct kmem_cache_node *n)
{
    struct list_head promote[SHRINK_PROMOTE_MAX + 1]; /* by free objects; [0]: empty slabs */
    struct page *slab, *next;

    for (u32 i = 0; i <= SHRINK_PROMOTE_MAX; i++)
        INIT_LIST_HEAD(&promote[i]);
    spin_lock(cpu, &n->list_lock);
    list_for_each_entry_safe (slab, next, &n->partial, slab_list) {
        slab_word_t w = slab_word_read(slab);
        u32 free = (u32)(w.objects - w.inuse);

        if (!w.inuse) {
            remove_partial(n, slab);
            list_add(&slab->slab_list, &promote[0]);
        } else if (free <= SHRINK_PROMOTE_MAX) {
            list_move(&slab->slab_list, &promote[free]);
        }
    }
    for (u32 i = SHRINK_PROMOTE_MAX; i > 0; i--)
        list_splice(&promote[i], &n->partial);
    spin_unlock(cpu, &n->list_lock);
    discard_list(cpu, s, &promote[0]);
}

static u64 cache_slabs(const struct machine *m, const struct kmem_cache *s)
{
    u64 nr = 0;

    for (u32 nid = 0; nid < m->kmem->nr_nodes; nid++)
        nr += atomic_load_explicit(&((struct kmem_cache *)(uintptr_t)s)->node[nid]->nr_slabs, memory_order_relaxed);
    return nr;
}

int kmem_cache_shrink(struct cpu *cpu, struct kmem_cache *s)
{
    struct kmem *k = cpu->m->kmem;
    u64 left;

    mutex_lock(cpu, &k->slab_mutex);
    flush_all(cpu, s);
    for (u32 nid = 0; nid < k->nr_nodes; nid++)
        shrink_node(cpu, s, s->node[nid]);
    left = cache_slabs(cpu->m, s);
    mutex_unlock(cpu, &k->slab_mutex);
    return left != 0;
}

/* slab_mutex held; the last user of the cache is gone. */
static int shutdown_cache(struct cpu *cpu, struct kmem_cache *s)
{
    struct kmem *k = cpu->m->kmem;

    for (u32 id = 0; id < cpu->m->nr_cpus; id++)
        flush_cache_cpu(cpu, s, id);
    for (u32 nid = 0; nid < k->nr_nodes; nid++)
        shrink_node(cpu, s, s->node[nid]);
    if (cache_slabs(cpu->m, s))
        return -EBUSY;
    list_del(&s->list);
    free_cache_parts(cpu, s);
    return 0;
}

int kmem_cache_destroy(struct cpu *cpu, struct kmem_cache *s)
{
    struct kmem *k = cpu->m->kmem;
    int err = 0;

    mutex_lock(cpu, &k->slab_mutex);
    ASSERT(s->refcount > 0);
    if (s->refcount > 1)
        s->refcount--;
    else
        err = shutdown_cache(cpu, s);
    mutex_unlock(cpu, &k->slab_mutex);
    return err;
}

/* -- readers ------------------------------------------------------------------------------------------------------- */

/* Free objects of slabs on the node's list: what SLUB subtracts. */
static u64 count_partial_free(struct cpu *cpu, struct kmem_cache_node *n, u64 *slabs_free)
{
    struct page *slab;
    u64 nr = 0;

    spin_lock(cpu, &n->list_lock);
    list_for_each_entry_checked (slab, &n->partial, slab_list) {
        slab_word_t w = slab_word_read(slab);

        nr += (u64)(w.objects - w.inuse);
        *slabs_free += w.inuse == 0;
    }
    spin_unlock(cpu, &n->list_lock);
    return nr;
}

static void fill_slabinfo(struct cpu *cpu, struct kmem_cache *s, struct slabinfo *line)
{
    u64 slabs_free = 0;

    *line = (struct slabinfo){.objsize = s->size, .objperslab = s->objects, .pagesperslab = 1u << s->order};
    slab_name_copy(line->name, s->name);
    line->aliases = s->refcount > 1 ? (u32)s->refcount - 1 : 0;
    for (u32 nid = 0; nid < cpu->m->kmem->nr_nodes; nid++) {
        struct kmem_cache_node *n = s->node[nid];
        u64 objects = atomic_load_explicit(&n->total_objects, memory_order_relaxed);

        line->num_slabs += atomic_load_explicit(&n->nr_slabs, memory_order_relaxed);
        line->num_objs += objects;
        line->active_objs += objects - count_partial_free(cpu, n, &slabs_free);
    }
    line->active_slabs = line->num_slabs; /* SLUB prints the same number twice */
}

bool slabinfo_next(struct cpu *cpu, u32 *pos, struct slabinfo *line)
{
    struct kmem *k = cpu->m->kmem;
    struct kmem_cache *s;
    u32 i = 0;
    bool found = false;

    mutex_lock(cpu, &k->slab_mutex);
    list_for_each_entry_checked (s, &k->caches, list) {
        found = i++ == *pos;
        if (!found)
            continue;
        fill_slabinfo(cpu, s, line);
        ++*pos;
        break;
    }
    mutex_unlock(cpu, &k->slab_mutex);
    return found;
}

u64 kmem_cache_stat(const struct machine *m, const struct kmem_cache *s, enum slub_stat item)
{
    u64 sum = 0;

    for (u32 id = 0; id < m->nr_cpus; id++)
        sum += s->cpu_slab[id].stat[item];
    return sum;
}

/* -- boot ---------------------------------------------------------------------------------------------------------- */

/* For each node the others, nearest first; equal distances in order of number. */
static void init_node_order(struct machine *m, struct kmem *k, u32 home)
{
    const u8 *distance = m->config.node_distance[home];
    u8 *order = k->node_order[home];
    u32 nr = 0;

    for (u32 nid = 0; nid < k->nr_nodes; nid++) {
        u32 i;

        if (nid == home)
            continue;
        for (i = nr++; i > 0 && distance[order[i - 1]] > distance[nid]; i--)
            order[i] = order[i - 1];
        order[i] = (u8)nid;
    }
}

static int init_boot_cache(struct machine *m, struct kmem_cache *s, const char *name, u32 size, char **cpu_slabs)
{
    s->object_size = size;
    s->requested_size = size;
    s->flags = SLAB_HWCACHE_ALIGN | SLAB_NO_MERGE;
    s->align = calculate_alignment(s->flags, 0, size);
    s->refcount = -1;
    slab_name_copy(s->name, name);
    s->cpu_slab = (struct kmem_cache_cpu *)*cpu_slabs;
    *cpu_slabs += m->nr_cpus * sizeof(struct kmem_cache_cpu);
    list_add(&s->list, &m->kmem->caches);
    return calculate_sizes(m, s);
}

/*
 * The cache of nodes gets its own node structures from its first slabs. A node without memory gets one from another
 * node's slab; then that node's structure is made of the same slab, for it must exist to hold the slab.
 */
static int init_node_cache_node(struct cpu *cpu, struct kmem_cache *s, u32 nid)
{
    struct page *slab = allocate_slab(cpu, s, GFP_KERNEL, (int)nid);
    bool counted = slab && slab_node(s, slab);
    u32 want[2] = {nid, slab ? (u32)page_to_nid(slab) : 0};
    struct kmem_cache_node *n;
    slab_word_t w;

    if (!slab)
        return -ENOMEM;
    w = slab_word_read(slab);
    for (u32 i = 0; i < 2; i++) {
        if (s->node[want[i]])
            continue;
        n = slab_link_object(cpu->m, s, slab, w.free);
        w.free = slab_object_link(cpu->m, s, slab, *slab_freeptr(s, n));
        w.inuse++;
        kmem_cache_node_init(n);
        s->node[want[i]] = n;
    }
    atomic_store(&slab->slab_word, w.value);
    n = slab_node(s, slab);
    if (!counted) {
        atomic_fetch_add(&n->nr_slabs, 1);
        atomic_fetch_add(&n->total_objects, w.objects);
    }
    spin_lock(cpu, &n->list_lock);
    add_partial(n, slab);
    spin_unlock(cpu, &n->list_lock);
    return 0;
}

static int init_boot_nodes(struct cpu *cpu, struct kmem *k)
{
    struct kmem_cache *other[] = {k->cache_cache, k->cpu_cache};
    int err = 0;

    for (u32 nid = 0; nid < k->nr_nodes && !err; nid++)
        if (!k->node_cache->node[nid])
            err = init_node_cache_node(cpu, k->node_cache, nid);
    for (u32 i = 0; i < ARRAY_SIZE(other) && !err; i++) {
        for (u32 nid = 0; nid < k->nr_nodes; nid++) {
            struct kmem_cache_node *n = kmem_cache_alloc_node(cpu, k->node_cache, GFP_KERNEL, (int)nid);

            if (!n)
                return -ENOMEM;
            kmem_cache_node_init(n);
            other[i]->node[nid] = n;
        }
    }
    return err;
}

static int init_boot_caches(struct cpu *cpu, struct kmem *k, u32 cache_size, char *cpu_slabs)
{
    struct machine *m = cpu->m;
    u32 cpu_size = (u32)(m->nr_cpus * sizeof(struct kmem_cache_cpu));
    int err = init_boot_cache(m, k->node_cache, "kmem_cache_node", sizeof(struct kmem_cache_node), &cpu_slabs);

    if (!err)
        err = init_boot_cache(m, k->cache_cache, "kmem_cache", cache_size, &cpu_slabs);
    if (!err)
        err = init_boot_cache(m, k->cpu_cache, "kmem_cache_cpu", cpu_size, &cpu_slabs);
    return err ? err : init_boot_nodes(cpu, k);
}

int kmem_cache_init(struct cpu *cpu)
{
    struct machine *m = cpu->m;
    u32 cache_size = (u32)(sizeof(struct kmem_cache) + m->config.nr_nodes * sizeof(struct kmem_cache_node *));
    u64 caches = ALIGN_UP(sizeof(struct kmem), 64), cpus = caches + 3 * ALIGN_UP((u64)cache_size, 64);
    u64 boot_bytes = cpus + 3ul * m->nr_cpus * sizeof(struct kmem_cache_cpu);
    struct kmem *k = alloc_pages_exact(cpu, boot_bytes, GFP_KERNEL | __GFP_ZERO);
    int err;

    if (!k)
        return -ENOMEM;
    m->kmem = k;
    mutex_init(&k->slab_mutex, RANK_SLAB_MUTEX);
    INIT_LIST_HEAD(&k->caches);
    k->boot_bytes = boot_bytes;
    k->nr_nodes = m->config.nr_nodes;
    k->min_objects = 4 * (ilog2(m->nr_cpus) + 1 + 1);
    k->node_cache = (struct kmem_cache *)((char *)k + caches);
    k->cache_cache = (struct kmem_cache *)((char *)k + caches + ALIGN_UP((u64)cache_size, 64));
    k->cpu_cache = (struct kmem_cache *)((char *)k + caches + 2 * ALIGN_UP((u64)cache_size, 64));
    for (u32 nid = 0; nid < k->nr_nodes; nid++)
        init_node_order(m, k, nid);
    err = init_boot_caches(cpu, k, cache_size, (char *)k + cpus);
    if (!err)
        err = create_kmalloc_caches(cpu);
    return err ? err : create_xa_cache(cpu);
}
