/* SPDX-License-Identifier: MIT */
/* Rows: slab and page allocator beside the mallocs of user space. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "kmem/slab.h"
#include "phys/page_alloc.h"

/* -- kmem_cache ---------------------------------------------------------------------------------------------------- */

struct cache_ctx {
    struct cpu *cpu;
    struct kmem_cache *s;
    void *batch[256];
};

static void *cache_setup(const void *param)
{
    struct cache_ctx *x = calloc(1, sizeof(*x));
    u32 size = *(const u32 *)param;

    x->cpu = bench_cpu();
    x->s = kmem_cache_create(x->cpu, "bench", size, 0, SLAB_NO_MERGE, SLAB_CTOR_NONE);
    kmem_cache_free(x->cpu, x->s, kmem_cache_alloc(x->cpu, x->s, GFP_KERNEL));
    return x;
}

static void cache_teardown(void *ctx)
{
    struct cache_ctx *x = ctx;

    kmem_cache_destroy(x->cpu, x->s);
    free(x);
}

static uint64_t cache_pair(void *ctx, uint64_t n)
{
    struct cache_ctx *x = ctx;
    struct cpu *cpu = x->cpu;
    struct kmem_cache *s = x->s;

    return BENCH_TIME(for (uint64_t i = 0; i < n; i++) {
        void *p = kmem_cache_alloc(cpu, s, GFP_KERNEL);

        bench_use(p);
        kmem_cache_free(cpu, s, p);
    });
}

/* 256 out, then all back in the same order: slabs fill up, change place and are found again. */
static uint64_t cache_batch(void *ctx, uint64_t n)
{
    struct cache_ctx *x = ctx;

    n = n / 256 ? n / 256 * 256 : 256;
    return BENCH_TIME(for (uint64_t i = 0; i < n; i += 256) {
        for (int k = 0; k < 256; k++)
            x->batch[k] = kmem_cache_alloc(x->cpu, x->s, GFP_KERNEL);
        for (int k = 0; k < 256; k++)
            kmem_cache_free(x->cpu, x->s, x->batch[k]);
    });
}

static uint64_t kmalloc_pair(void *ctx, uint64_t n)
{
    struct cache_ctx *x = ctx;
    u32 size = x->s->object_size;

    return BENCH_TIME(for (uint64_t i = 0; i < n; i++) {
        void *p = kmalloc(x->cpu, size, GFP_KERNEL);

        bench_use(p);
        kfree(x->cpu, p);
    });
}

/* -- mallocs ------------------------------------------------------------------------------------------------------- */

struct malloc_param {
    const char *library; /* NULL: the C library's */
    u32 size;
};

struct malloc_ctx {
    void *(*malloc)(size_t);
    void (*free)(void *);
    u32 size;
    void *batch[256];
};

static void *malloc_setup(const void *param)
{
    const struct malloc_param *p = param;
    struct malloc_ctx *x = calloc(1, sizeof(*x));
    void *lib = p->library ? dlopen(p->library, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND) : RTLD_DEFAULT;

    if (p->library && !lib) {
        free(x);
        return NULL;
    }
    *(void **)&x->malloc = dlsym(lib, "malloc");
    *(void **)&x->free = dlsym(lib, "free");
    x->size = p->size;
    return x;
}

static uint64_t malloc_pair(void *ctx, uint64_t n)
{
    struct malloc_ctx *x = ctx;

    return BENCH_TIME(for (uint64_t i = 0; i < n; i++) {
        void *p = x->malloc(x->size);

        bench_use(p);
        x->free(p);
    });
}

static uint64_t malloc_batch(void *ctx, uint64_t n)
{
    struct malloc_ctx *x = ctx;

    n = n / 256 ? n / 256 * 256 : 256;
    return BENCH_TIME(for (uint64_t i = 0; i < n; i += 256) {
        for (int k = 0; k < 256; k++)
            x->batch[k] = x->malloc(x->size);
        for (int k = 0; k < 256; k++)
            x->free(x->batch[k]);
    });
}

/* -- pages --------------------------------------------------------------------------------------------------------- */

static void *page_setup(const void *param)
{
    struct cpu *cpu = bench_cpu();

    __free_pages(cpu, alloc_pages(cpu, *(const gfp_t *)param, 0), 0);
    return cpu;
}

static uint64_t page_pair(void *ctx, uint64_t n)
{
    struct cpu *cpu = ctx;

    return BENCH_TIME(for (uint64_t i = 0; i < n; i++) {
        struct page *p = alloc_pages(cpu, GFP_HIGHUSER_MOVABLE, 0);

        bench_use(p);
        __free_pages(cpu, p, 0);
    });
}

static uint64_t page_batch(void *ctx, uint64_t n)
{
    struct cpu *cpu = ctx;
    struct page *batch[1024];

    n = n / 1024 ? n / 1024 * 1024 : 1024;
    return BENCH_TIME(for (uint64_t i = 0; i < n; i += 1024) {
        for (int k = 0; k < 1024; k++)
            batch[k] = alloc_pages(cpu, GFP_HIGHUSER_MOVABLE, 0);
        for (int k = 0; k < 1024; k++)
            __free_pages(cpu, batch[k], 0);
    });
}

/* -- rows ---------------------------------------------------------------------------------------------------------- */

#define MALLOC_PEER(label, lib, bytes, fn)                                                                             \
    {                                                                                                                  \
        .name = label, .setup = malloc_setup, .param = &(const struct malloc_param){lib, bytes}, .run = fn,            \
        .teardown = free                                                                                               \
    }
#define MALLOC_PEERS(bytes, fn)                                                                                        \
    {                                                                                                                  \
        MALLOC_PEER("glibc malloc+free", NULL, bytes, fn),                                                             \
            MALLOC_PEER("jemalloc malloc+free", "libjemalloc.so.2", bytes, fn),                                        \
            MALLOC_PEER("mimalloc malloc+free", "libmimalloc.so.2", bytes, fn),                                        \
            MALLOC_PEER("tcmalloc malloc+free", "libtcmalloc_minimal.so.4", bytes, fn),                                \
    }
#define CACHE_CASE(label, bytes, fn, peer_fn, limit)                                                                   \
    {                                                                                                                  \
        .name = label, .target = limit,                                                                                \
        .ours = {.setup = cache_setup, .param = &(const u32){bytes}, .run = fn, .teardown = cache_teardown},           \
        .peer = MALLOC_PEERS(bytes, peer_fn),                                                                          \
    }

const struct bench_case alloc_cases[] = {
    CACHE_CASE("kmem_cache alloc+free, 64 bytes", 64, cache_pair, malloc_pair, 8),
    CACHE_CASE("kmem_cache alloc+free, 200 bytes", 200, cache_pair, malloc_pair, 8),
    CACHE_CASE("kmem_cache alloc+free, 1000 bytes", 1000, cache_pair, malloc_pair, 8),
    CACHE_CASE("kmem_cache 256 allocs, 256 frees, 64 bytes", 64, cache_batch, malloc_batch, 0),
    CACHE_CASE("kmem_cache 256 allocs, 256 frees, 200 bytes", 200, cache_batch, malloc_batch, 0),
    CACHE_CASE("kmalloc+kfree, 64 bytes", 64, kmalloc_pair, malloc_pair, 0),
    {
        .name = "order-0 page alloc+free",
        .target = 15,
        .ours = {.setup = page_setup, .param = &(const gfp_t){GFP_HIGHUSER_MOVABLE}, .run = page_pair},
    },
    {
        .name = "order-0 page, 1024 allocs, 1024 frees",
        .ours = {.setup = page_setup, .param = &(const gfp_t){GFP_HIGHUSER_MOVABLE}, .run = page_batch},
    },
};
const size_t nr_alloc_cases = sizeof(alloc_cases) / sizeof(alloc_cases[0]);
