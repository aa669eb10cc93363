/* SPDX-License-Identifier: MIT */
/*
 * kmalloc(): memory of any size.
 *
 *   bytes            from                                                     shown in slabinfo as
 *   0                nothing: ZERO_SIZE_PTR
 *   1 .. 8192        the cache of the next size class 8 16 32 64 96 128 192   kmalloc-N, kmalloc-cg-N (__GFP_ACCOUNT),
 *                    256 512 1k 2k 4k 8k; one set per type                    kmalloc-rcl-N (__GFP_RECLAIMABLE),
 *                                                                             dma-kmalloc-N
 *   8193 .. 4 MiB    the page allocator: a compound page, PGTY_large_kmalloc
 *
 * 96 and 192 keep the loss for sizes just above 64 and 128 small. kfree() finds by the page's type where memory came
 * from. Alignment: a size class is aligned to the largest power of two that divides it
 * (Documentation/core-api/memory-allocation.rst: powers of two to their size).
 */
#include "base/errno.h"
#include "base/format.h"
#include "kmem/slub_priv.h"

const u16 kmalloc_size[NR_KMALLOC_SIZES] = {8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192};

static const struct {
    const char *name;
    u32 flags;
} kmalloc_types[NR_KMALLOC_TYPES] = {
    [KMALLOC_NORMAL] = {"kmalloc", 0},
    [KMALLOC_CGROUP] = {"kmalloc-cg", SLAB_ACCOUNT | SLAB_NO_MERGE},
    [KMALLOC_RECLAIM] = {"kmalloc-rcl", SLAB_RECLAIM_ACCOUNT},
    [KMALLOC_DMA] = {"dma-kmalloc", SLAB_CACHE_DMA},
};

/* DMA is the strictest demand, then reclaimable, then accounting. */
static enum kmalloc_type kmalloc_type(gfp_t gfp)
{
    if (likely(!(gfp & (__GFP_DMA | __GFP_RECLAIMABLE | __GFP_ACCOUNT))))
        return KMALLOC_NORMAL;
    if (gfp & __GFP_DMA)
        return KMALLOC_DMA;
    return gfp & __GFP_RECLAIMABLE ? KMALLOC_RECLAIM : KMALLOC_CGROUP;
}

static struct kmem_cache *kmalloc_slab(const struct kmem *k, u64 bytes, gfp_t gfp)
{
    /* over 192 bytes: the class of 256 has index 7, and each doubling one more */
    u32 i = bytes <= 192 ? k->kmalloc_index[(bytes - 1) / 8] : ilog2(bytes - 1);

    return k->kmalloc[kmalloc_type(gfp)][i];
}

static struct page *large_kmalloc(struct cpu *cpu, u64 bytes, gfp_t gfp, int nid)
{
    unsigned int order = get_order(bytes);
    struct page *page;

    if (bytes > PAGE_SIZE << MAX_PAGE_ORDER)
        return NULL;
    gfp |= __GFP_COMP;
    page = nid == SLAB_ANY_NODE ? alloc_pages(cpu, gfp, order) : alloc_pages_node(cpu, nid, gfp, order);
    if (!page)
        return NULL;
    atomic_store_explicit(&page->page_type, (u32)PGTY_large_kmalloc, memory_order_relaxed);
    mod_page_state(cpu, page, NR_SLAB_UNRECLAIMABLE, (s64)1 << order);
    return page;
}

static void *kmalloc_caller(struct cpu *cpu, u64 bytes, gfp_t gfp, int nid, u64 addr)
{
    struct page *page;

    if (unlikely(!bytes))
        return ZERO_SIZE_PTR;
    if (likely(bytes <= KMALLOC_MAX_CACHE_SIZE))
        return slab_alloc_caller(cpu, kmalloc_slab(cpu->m->kmem, bytes, gfp), gfp, nid, addr);
    page = large_kmalloc(cpu, bytes, gfp, nid);
    return page ? page_address(cpu->m, page) : NULL;
}

__noinline void *kmalloc_node(struct cpu *cpu, u64 bytes, gfp_t gfp, int nid)
{
    return kmalloc_caller(cpu, bytes, gfp, nid, (u64)(uintptr_t)__builtin_return_address(0));
}

__noinline void *kmalloc(struct cpu *cpu, u64 bytes, gfp_t gfp)
{
    void *object = NULL;

    if (likely(bytes - 1 < KMALLOC_MAX_CACHE_SIZE))
        object = slab_alloc_fast(cpu, kmalloc_slab(cpu->m->kmem, bytes, gfp), gfp);
    if (likely(object))
        return object;
    return kmalloc_caller(cpu, bytes, gfp, SLAB_ANY_NODE, (u64)(uintptr_t)__builtin_return_address(0));
}

__noinline void kfree(struct cpu *cpu, void *p)
{
    struct page *page;

    if (!p || p == ZERO_SIZE_PTR)
        return;
    page = virt_to_slab(cpu->m, p);
    if (likely(PageSlab(page))) {
        if (unlikely(!slab_free_fast(cpu, page->slab_cache, p)))
            slab_free_caller(cpu, page->slab_cache, p, (u64)(uintptr_t)__builtin_return_address(0));
        return;
    }
    ASSERT(page_has_type(page, PGTY_large_kmalloc) && p == page_address(cpu->m, page));
    mod_page_state(cpu, page, NR_SLAB_UNRECLAIMABLE, -((s64)1 << folio_order((struct folio *)page)));
    atomic_store_explicit(&page->page_type, ~0u, memory_order_relaxed);
    __free_pages(cpu, page, folio_order((struct folio *)page));
}

/* Bytes that may be used at p; with red zones or poison no more than the cache's object size. */
u64 ksize(struct machine *m, const void *p)
{
    const struct page *page;
    const struct kmem_cache *s;

    if (!p || p == ZERO_SIZE_PTR)
        return 0;
    page = virt_to_slab(m, p);
    if (!PageSlab(page))
        return PAGE_SIZE << folio_order((const struct folio *)page);
    s = page->slab_cache;
    if (s->flags & (SLAB_RED_ZONE | SLAB_POISON))
        return s->object_size;
    /* merged caches and metadata end at inuse; else the padding is the user's too */
    return s->flags & SLAB_STORE_USER ? s->inuse : s->size;
}

/* In place only while it still fits and does not waste the block: more than its size class. */
void *krealloc(struct cpu *cpu, void *p, u64 bytes, gfp_t gfp)
{
    u64 old = ksize(cpu->m, p);
    void *new;

    if (!bytes) {
        kfree(cpu, p);
        return ZERO_SIZE_PTR;
    }
    if (bytes <= old)
        return p;
    new = kmalloc(cpu, bytes, gfp & ~__GFP_ZERO);
    if (!new)
        return NULL;
    if (old)
        memcpy(new, p, old);
    if (gfp & __GFP_ZERO)
        memset((char *)new + old, 0, bytes - old);
    kfree(cpu, p);
    return new;
}

/* "kmalloc-96", "kmalloc-1k" */
static void kmalloc_name(char *buf, const char *type, u32 size)
{
    bool k = size >= 1024;

    quire_snprintf(buf, SLAB_NAME_LEN, "%s-%u%s", type, k ? size / 1024 : size, k ? "k" : "");
}

int create_kmalloc_caches(struct cpu *cpu)
{
    struct kmem *k = cpu->m->kmem;
    char name[SLAB_NAME_LEN];

    for (u32 i = 0, class = 0; i < ARRAY_SIZE(k->kmalloc_index); i++) {
        if (8 * (i + 1) > kmalloc_size[class])
            class ++;
        k->kmalloc_index[i] = (u8) class;
    }
    for (u32 type = NR_KMALLOC_TYPES; type-- > 0;) {
        for (u32 i = 0; i < NR_KMALLOC_SIZES; i++) {
            u32 size = kmalloc_size[i], align = size & -size;
            struct kmem_cache *s;

            kmalloc_name(name, kmalloc_types[type].name, size);
            s = create_cache(cpu, name, size, MIN(align, (u32)PAGE_SIZE), kmalloc_types[type].flags, SLAB_CTOR_NONE);
            if (!s)
                return -ENOMEM;
            k->kmalloc[type][i] = s;
        }
    }
    return 0;
}
