/* SPDX-License-Identifier: MIT */
/* SLUB: layout and orders, the ways of an object and a slab, constructors, bulk, merging, destroy, nodes, books. */
#include <unistd.h>

#include "tests/unit/testing.h"
#include "kmem/kmem.h"
#include "kmem/slub_priv.h"

#define MAGIC 0x6b6d656du

static u32 ctor_calls;

static void test_ctor(void *object)
{
    *(u32 *)object = MAGIC;
    ctor_calls++;
}

static void (*const ctors[NR_SLAB_CTORS])(void *) = {[SLAB_CTOR_TEST] = test_ctor};
static const struct core_code code = {.pressure = &pressure_none, .slab_ctor = ctors};

static struct machine *boot(u32 cpus, u32 nodes, u32 debug)
{
    struct machine_config c;
    struct machine *m;

    test_config(&c);
    c.nr_cpus = cpus;
    c.nr_nodes = nodes;
    c.slub_debug = debug;
    machine_config_layout(&c);
    m = test_machine_kmem(&c, &code);
    for (u32 id = 1; id < cpus; id++)
        test_own_cpu(m, id, &code);
    return m;
}

static struct slabinfo info_of(struct cpu *cpu, const char *name)
{
    struct slabinfo line;
    u32 pos = 0;

    while (slabinfo_next(cpu, &pos, &line))
        if (!strcmp(line.name, name))
            return line;
    fail_msg("no cache %s", name);
    return line;
}

/* -- layout -------------------------------------------------------------------------------------------------------- */

static const struct layout_case {
    const char *name;
    u32 cpus, size, align, flags;
    enum slab_ctor_id ctor;
    u32 stride, offset, objects, order, min_partial, cpu_partial_slabs;
} layout_cases[] = {
    /* 2 CPUs: at least 4 * (2 + 1) = 12 objects. 4096 / 8 = 512, nothing wasted; partial: 2 * 120 / 512 -> 1 slab */
    {"smallest", 2, 1, 0, 0, 0, 8, 0, 512, 0, 5, 1},
    /* the free pointer in the middle, rounded down to a word:
     * 320 / 2 = 160; 12 * 320 = 3840, 256 wasted <= 4096 / 16 */
    {"middle", 2, 320, 0, 0, 0, 320, 160, 12, 0, 5, 9},
    /* 4096 / 384 = 10 < 12: order 1, 21 objects, 8192 - 21 * 384 = 128 wasted */
    {"order 1", 2, 376, 0, SLAB_HWCACHE_ALIGN, 0, 384, 184, 21, 1, 5, 5},
    /* the same object without a cache line's alignment: 4096 / 376 = 10 < 12; 8192 - 21 * 376 = 296 <= 512 */
    {"unaligned", 2, 376, 0, 0, 0, 376, 184, 21, 1, 5, 5},
    /* 12 * 1016 > 8192: order 2, 16 objects */
    {"1016", 2, 1016, 0, 0, 0, 1016, 504, 16, 2, 5, 7},
    /* 15 objects in 32 KiB: 12 * 2112 = 25344 > 16384; 32768 - 15 * 2112 = 1088 <= 2048 */
    {"2112", 2, 2112, 0, 0, 0, 2112, 1056, 15, 3, 5, 4},
    /* order 3 holds 4 of 8192: min_objects is cut to 4, order 3; 6 * 2 / 4 = 3 slabs; log2(8192) / 2 = 6 */
    {"8192", 2, 8192, 0, 0, 0, 8192, 4096, 4, 3, 6, 3},
    /* 16 KiB + 8: one object in 32 KiB wastes 16376 <= 32768 / 2 */
    {"16392", 2, 16392, 0, 0, 0, 16392, 8192, 1, 3, 7, 12},
    /* larger than order 3: the least order that holds one */
    {"40000", 2, 40000, 0, 0, 0, 40000, 20000, 1, 4, 7, 12},
    /* HWCACHE_ALIGN of a small object: 64 halves while two fit: 20 -> rounded to 32 */
    {"small aligned", 2, 20, 0, SLAB_HWCACHE_ALIGN, 0, 32, 8, 128, 0, 5, 2},
    {"align 128", 2, 200, 128, 0, 0, 256, 96, 16, 0, 5, 7},
    /* a constructor: the free pointer behind the object, 48 + 8 = 56; 4096 / 56 = 73, 8 wasted */
    {"ctor", 2, 48, 0, 0, SLAB_CTOR_TEST, 56, 48, 73, 0, 5, 4},
    /* 4 CPUs: 4 * (3 + 1) = 16 objects: 320 now needs order 1: 25 objects, 192 wasted */
    {"4 CPUs", 4, 320, 0, 0, 0, 320, 160, 25, 1, 5, 5},
    /* 1 CPU: 8 objects; 512 fits order 0 */
    {"1 CPU", 1, 512, 0, 0, 0, 512, 256, 8, 0, 5, 13},
    /* red zone: 8 right, as 64 leaves no slack, 8 padding, 8 left: 64 + 24 = 88 */
    {"redzone", 2, 64, 0, SLAB_RED_ZONE, 0, 88, 32, 46, 0, 5, 0},
    /* with slack of 4 bytes no right word is added: 64 + 8 + 8 */
    {"redzone slack", 2, 60, 0, SLAB_RED_ZONE, 0, 80, 24, 51, 0, 5, 0},
    /* poison: free pointer outside: 64 + 8 */
    {"poison", 2, 64, 0, SLAB_POISON, 0, 72, 64, 56, 0, 5, 0},
    /* two tracks of 24 bytes: 64 + 48 */
    {"user", 2, 64, 0, SLAB_STORE_USER, 0, 112, 32, 36, 0, 5, 0},
    /* FZPU: 64 + 8 right, 8 free pointer, 48 tracks, 8 padding, 8 left = 144 */
    {"all", 2, 64, 0, SLAB_DEBUG_FLAGS, 0, 144, 72, 28, 0, 5, 0},
};

static void test_layout(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(layout_cases); i++) {
        const struct layout_case *t = &layout_cases[i];
        struct machine *m = boot(t->cpus, 1, 0);
        struct cpu *cpu = test_cpu(m);
        struct kmem_cache *s = kmem_cache_create(cpu, t->name, t->size, t->align, t->flags | SLAB_NO_MERGE, t->ctor);
        const u32 want[] = {t->stride, t->offset, t->objects, t->order, t->min_partial, t->cpu_partial_slabs};
        const u32 got[] = {s->size, s->offset, s->objects, s->order, s->min_partial, s->cpu_partial_slabs};

        for (size_t f = 0; f < ARRAY_SIZE(want); f++)
            if (want[f] != got[f])
                fail_msg("%s: field %zu is %u, expected %u", t->name, f, got[f], want[f]);
        assert_int_equal(kmem_cache_destroy(cpu, s), 0);
        test_machine_end(m);
    }
}

/* The running kernel's own caches: the same stride must give the same objects and pages per slab, CPUs being equal. */
static void test_orders_of_the_host(void **state)
{
    FILE *f = fopen("/proc/slabinfo", "r");
    char line[512], name[64];
    unsigned int size, objects, pages, compared = 0;
    struct machine *m;

    if (!f)
        skip();
    m = boot((u32)sysconf(_SC_NPROCESSORS_CONF), 1, 0);
    while (fgets(line, sizeof(line), f)) {
        struct kmem_cache *s;

        if (sscanf(line, "%63s %*u %*u %u %u %u", name, &size, &objects, &pages) != 4)
            continue;
        s = kmem_cache_create(test_cpu(m), "probe", size, 0, SLAB_NO_MERGE, SLAB_CTOR_NONE);
        assert_int_equal(s->size, size);
        if (s->objects != objects || 1u << s->order != pages)
            fail_msg("%s (%u): %u objects in %u pages, the kernel has %u in %u", name, size, s->objects, 1u << s->order,
                     objects, pages);
        assert_int_equal(kmem_cache_destroy(test_cpu(m), s), 0);
        compared++;
    }
    fclose(f);
    print_message("%u caches of the host compared\n", compared);
    test_machine_end(m);
}

static void test_impossible(void **state)
{
    struct machine *m = boot(2, 1, 0);
    struct cpu *cpu = test_cpu(m);

    assert_null(kmem_cache_create(cpu, "none", 0, 0, 0, 0));
    assert_null(kmem_cache_create(cpu, "align", 8, 24, 0, 0));
    assert_null(kmem_cache_create(cpu, "large", (4u << 20) + 1, 0, 0, 0));
    assert_books(kmem_check, m);
    test_machine_end(m);
}

/* -- the ways of a slab -------------------------------------------------------------------------------------------- */

/* 512-byte objects, one CPU: 8 in a slab of order 0. */
static void test_states(void **state)
{
    struct machine *m = boot(1, 1, 0);
    struct cpu *cpu = test_cpu(m);
    struct kmem_cache *s = kmem_cache_create(cpu, "t", 512, 0, SLAB_NO_MERGE, 0);
    struct kmem_cache_node *n = s->node[0];
    struct page *first;
    void *o[24];

    for (int i = 0; i < 8; i++)
        o[i] = kmem_cache_alloc(cpu, s, GFP_KERNEL);
    first = virt_to_slab(m, o[0]);
    /* one slab, in address order, the CPU's */
    for (int i = 1; i < 8; i++)
        assert_ptr_equal(o[i], (char *)o[0] + 512 * i);
    assert_true(PageSlab(first));
    assert_ptr_equal(s->cpu_slab[0].slab, first);
    assert_int_equal(kmem_cache_stat(m, s, ALLOC_SLAB), 1);
    /* the 9th: the first becomes FULL: frozen off, on no list */
    for (int i = 8; i < 24; i++)
        o[i] = kmem_cache_alloc(cpu, s, GFP_KERNEL);
    assert_int_equal(slab_word_read(first).frozen, 0);
    assert_int_equal(slab_word_read(first).free, 0);
    assert_int_equal(slab_word_read(first).inuse, 8);
    assert_int_equal(atomic_load(&n->nr_slabs), 3);
    assert_books(kmem_check, m);
    /* a free of the full slab's object: CPU PARTIAL */
    kmem_cache_free(cpu, s, o[3]);
    assert_ptr_equal(s->cpu_slab[0].partial, first);
    assert_int_equal(slab_word_read(first).frozen, 1);
    assert_int_equal(slab_word_read(first).free, 4);
    assert_int_equal(slab_word_read(first).inuse, 7);
    assert_int_equal(kmem_cache_stat(m, s, CPU_PARTIAL_FREE), 1);
    assert_books(kmem_check, m);
    /* it is the next to allocate from */
    assert_ptr_equal(kmem_cache_alloc(cpu, s, GFP_KERNEL), o[3]);
    assert_int_equal(kmem_cache_stat(m, s, CPU_PARTIAL_ALLOC), 1);
    assert_ptr_equal(s->cpu_slab[0].slab, first);
    /* the fast path is LIFO */
    kmem_cache_free(cpu, s, o[1]);
    kmem_cache_free(cpu, s, o[2]);
    assert_ptr_equal(kmem_cache_alloc(cpu, s, GFP_KERNEL), o[2]);
    assert_ptr_equal(kmem_cache_alloc(cpu, s, GFP_KERNEL), o[1]);
    /* all free, flushed: three empty slabs stay on the node's list (min_partial 5); shrinking frees them */
    for (int i = 0; i < 24; i++)
        kmem_cache_free(cpu, s, o[i]);
    flush_cpu_slab(cpu);
    assert_int_equal(n->nr_partial, 3);
    assert_null(s->cpu_slab[0].slab);
    assert_books(kmem_check, m);
    assert_int_equal(kmem_cache_shrink(cpu, s), 0);
    assert_int_equal(atomic_load(&n->nr_slabs), 0);
    assert_int_equal(kmem_cache_destroy(cpu, s), 0);
    assert_books(kmem_check, m);
    test_machine_end(m);
}

/* Another CPU frees: onto the slab's word; the owner gets them back when its own list is empty. */
static void test_remote_free(void **state)
{
    struct machine *m = boot(2, 1, 0);
    struct cpu *a = &m->cpus[0], *b = &m->cpus[1];
    struct kmem_cache *s = kmem_cache_create(a, "t", 256, 0, SLAB_NO_MERGE, 0);
    void *o[16];
    struct page *slab;

    for (int i = 0; i < 16; i++)
        o[i] = kmem_cache_alloc(a, s, GFP_KERNEL);
    slab = virt_to_slab(m, o[0]);
    kmem_cache_free(b, s, o[4]);
    kmem_cache_free(b, s, o[5]);
    assert_int_equal(slab_word_read(slab).inuse, 14);
    assert_int_equal(slab_word_read(slab).free, 6);
    assert_null(s->cpu_slab[0].freelist);
    assert_null(s->cpu_slab[1].slab);
    assert_ptr_equal(kmem_cache_alloc(a, s, GFP_KERNEL), o[5]);
    assert_int_equal(s->cpu_slab[0].stat[ALLOC_REFILL], 1);
    assert_int_equal(s->cpu_slab[1].stat[FREE_SLOWPATH], 2);
    assert_int_equal(slab_word_read(slab).inuse, 16);
    kmem_cache_free_bulk(b, s, 4, o); /* one run: one push of four */
    assert_int_equal(s->cpu_slab[1].stat[FREE_SLOWPATH], 3);
    assert_int_equal(slab_word_read(slab).inuse, 12);
    assert_books(kmem_check, m);
    for (int i = 5; i < 16; i++)
        kmem_cache_free(b, s, o[i]);
    assert_int_equal(kmem_cache_destroy(a, s), 0);
    assert_books(kmem_check, m);
    test_machine_end(m);
}

/* Empty slabs beyond min_partial go back at once; the counters of pages follow. */
static void test_min_partial(void **state)
{
    struct machine *m = boot(1, 1, 0);
    struct cpu *cpu = test_cpu(m);
    struct kmem_cache *s = kmem_cache_create(cpu, "t", 4096, 0, SLAB_NO_MERGE | SLAB_RECLAIM_ACCOUNT, 0);
    s64 before = global_node_page_state(m, NR_SLAB_RECLAIMABLE);
    void *o[8 * 20];

    /* order 3, 8 objects: 20 slabs, 160 pages */
    for (int i = 0; i < 160; i++)
        o[i] = kmem_cache_alloc(cpu, s, GFP_KERNEL);
    assert_int_equal(global_node_page_state(m, NR_SLAB_RECLAIMABLE) - before, 160);
    for (int i = 0; i < 160; i++)
        kmem_cache_free(cpu, s, o[i]);
    flush_cpu_slab(cpu);
    /* log2(4096) / 2 = 6 */
    assert_int_equal(s->min_partial, 6);
    assert_int_equal(atomic_load(&s->node[0]->nr_slabs), 6);
    assert_int_equal(global_node_page_state(m, NR_SLAB_RECLAIMABLE) - before, 48);
    assert_books(kmem_check, m);
    assert_int_equal(kmem_cache_destroy(cpu, s), 0);
    assert_int_equal(global_node_page_state(m, NR_SLAB_RECLAIMABLE), before);
    test_machine_end(m);
}

/* shrink: the fullest first, empties freed. 8 objects a slab. */
static void test_shrink_order(void **state)
{
    struct machine *m = boot(1, 1, 0);
    struct cpu *cpu = test_cpu(m);
    struct kmem_cache *s = kmem_cache_create(cpu, "t", 512, 0, SLAB_NO_MERGE, 0);
    const u32 keep[4] = {1, 7, 0, 4}, want[3] = {7, 4, 1};
    void *o[4][8];
    struct page *slab;
    u32 i = 0;

    for (int k = 0; k < 32; k++)
        o[k / 8][k % 8] = kmem_cache_alloc(cpu, s, GFP_KERNEL);
    for (u32 k = 0; k < 4; k++)
        for (u32 j = keep[k]; j < 8; j++)
            kmem_cache_free(cpu, s, o[k][j]);
    assert_int_equal(kmem_cache_shrink(cpu, s), 1);
    assert_int_equal(atomic_load(&s->node[0]->nr_slabs), 3);
    list_for_each_entry (slab, &s->node[0]->partial, slab_list)
        assert_int_equal(slab_word_read(slab).inuse, want[i++]);
    assert_int_equal(i, 3);
    assert_int_equal(kmem_cache_destroy(cpu, s), -EBUSY);
    assert_int_equal(info_of(cpu, "t").num_slabs, 3);
    for (u32 k = 0; k < 4; k++)
        kmem_cache_free_bulk(cpu, s, keep[k], o[k]);
    assert_int_equal(kmem_cache_destroy(cpu, s), 0);
    assert_books(kmem_check, m);
    test_machine_end(m);
}

/* A CPU that somebody owns is asked; one that nobody owns is flushed at once. */
static void test_shrink_other_cpus(void **state)
{
    struct machine *m = boot(3, 1, 0);
    struct kmem_cache *s = kmem_cache_create(test_cpu(m), "t", 512, 0, SLAB_NO_MERGE, 0);

    for (u32 id = 0; id < 3; id++)
        kmem_cache_free(&m->cpus[id], s, kmem_cache_alloc(&m->cpus[id], s, GFP_KERNEL));
    atomic_store(&m->cpus[2].owner, 0);
    assert_int_equal(kmem_cache_shrink(test_cpu(m), s), 1);
    assert_int_equal(atomic_load(&s->node[0]->nr_slabs), 1);
    assert_null(s->cpu_slab[2].slab);
    assert_int_equal(atomic_load(&m->cpus[2].owner), 0);
    assert_int_equal(atomic_load(&m->cpus[2].work), 0);
    assert_non_null(s->cpu_slab[1].slab);
    assert_int_equal(atomic_load(&m->cpus[1].work), CPU_WORK_FLUSH_SLAB);
    flush_cpu_slab(&m->cpus[1]);
    assert_int_equal(kmem_cache_shrink(test_cpu(m), s), 0);
    assert_int_equal(kmem_cache_destroy(test_cpu(m), s), 0);
    test_machine_end(m);
}

/* -- constructors, zeroing, bulk ----------------------------------------------------------------------------------- */

static void test_constructor(void **state)
{
    struct machine *m = boot(1, 1, 0);
    struct cpu *cpu = test_cpu(m);
    struct kmem_cache *s;
    u32 *o[73];

    ctor_calls = 0;
    s = kmem_cache_create(cpu, "t", 48, 0, 0, SLAB_CTOR_TEST);
    assert_int_equal(ctor_calls, 0);
    o[0] = kmem_cache_alloc(cpu, s, GFP_KERNEL);
    assert_int_equal(ctor_calls, 73); /* once for each object of the slab */
    for (int i = 1; i < 73; i++)
        o[i] = kmem_cache_alloc(cpu, s, GFP_KERNEL);
    for (int i = 0; i < 73; i++) {
        assert_int_equal(*o[i], MAGIC);
        o[i][1] = (u32)i;
        kmem_cache_free(cpu, s, o[i]);
    }
    /* what the user left is what the next one finds: not constructed again, the free pointer outside */
    o[0] = kmem_cache_alloc(cpu, s, GFP_KERNEL);
    assert_int_equal(*o[0], MAGIC);
    assert_int_equal(o[0][1], 72);
    assert_int_equal(ctor_calls, 73);
    kmem_cache_free(cpu, s, o[0]);
    assert_int_equal(kmem_cache_destroy(cpu, s), 0);
    test_machine_end(m);
}

static void test_zero(void **state)
{
    struct machine *m = boot(1, 1, 0);
    struct cpu *cpu = test_cpu(m);
    struct kmem_cache *s = kmem_cache_create(cpu, "t", 100, 0, SLAB_NO_MERGE, 0);
    static const char zero[100];
    char *o = kmem_cache_alloc(cpu, s, GFP_KERNEL);

    memset(o, 0xff, 100);
    kmem_cache_free(cpu, s, o);
    assert_ptr_equal(kmem_cache_alloc(cpu, s, GFP_KERNEL | __GFP_ZERO), o);
    assert_memory_equal(o, zero, 100);
    kmem_cache_free(cpu, s, o);
    assert_int_equal(kmem_cache_destroy(cpu, s), 0);
    test_machine_end(m);
}

/* 40 objects of 512 bytes are 5 slabs:
 * the injection is asked by the bulk call and for each slab; all later tries fail too. */
static void test_bulk_failure(void **state)
{
    struct machine *m = boot(1, 1, 0);
    struct cpu *cpu = test_cpu(m);
    struct kmem_cache *s = kmem_cache_create(cpu, "t", 512, 0, SLAB_NO_MERGE, 0);
    u64 failures = 0;
    void *o[40];

    for_each_failing_allocation(m, nth)
    {
        int got;

        m->fail.interval = 1;
        got = kmem_cache_alloc_bulk(cpu, s, GFP_KERNEL, 40, o);
        if (fail_injected(m)) {
            failures++;
            assert_int_equal(got, 0);
            assert_int_equal(info_of(cpu, "t").num_objs - 8 * info_of(cpu, "t").num_slabs, 0);
        } else {
            assert_int_equal(got, 40);
            kmem_cache_free_bulk(cpu, s, 40, o);
        }
        assert_books(kmem_check, m);
        assert_int_equal(kmem_cache_shrink(cpu, s), 0); /* nothing is in use */
    }
    assert_int_equal(failures, 6);
    assert_int_equal(kmem_cache_destroy(cpu, s), 0);
    test_machine_end(m);
}

static void test_create_failure(void **state)
{
    struct machine *m = boot(2, 2, 0);
    struct cpu *cpu = test_cpu(m);
    u64 free_before;

    kmem_cache_destroy(cpu, kmem_cache_create(cpu, "warm", 512, 0, SLAB_NO_MERGE, 0));
    free_before = nr_free_pages(m);
    for_each_failing_allocation(m, nth)
    {
        struct kmem_cache *s = kmem_cache_create(cpu, "t", 512, 0, SLAB_NO_MERGE, 0);

        if (fail_injected(m)) {
            assert_null(s);
        } else {
            assert_non_null(s);
            assert_int_equal(kmem_cache_destroy(cpu, s), 0);
        }
        assert_int_equal(nr_free_pages(m), free_before);
        assert_books(kmem_check, m);
    }
    test_machine_end(m);
}

/* The preferred order cannot be had: a slab of the least order, with fewer objects. */
static void test_order_fallback(void **state)
{
    struct machine *m = boot(2, 1, 0);
    struct cpu *cpu = test_cpu(m);
    struct kmem_cache *s = kmem_cache_create(cpu, "t", 1016, 0, SLAB_NO_MERGE, 0);
    void *o[5];

    /* question 1 is the object's, 2 the order-2 slab's */
    fail_arm(m, 2);
    o[0] = kmem_cache_alloc(cpu, s, GFP_KERNEL);
    assert_true(fail_injected(m));
    assert_non_null(o[0]);
    assert_int_equal(folio_order((struct folio *)virt_to_slab(m, o[0])), 0);
    assert_int_equal(slab_word_read(virt_to_slab(m, o[0])).objects, 4); /* 4096 / 1016 */
    for (int i = 1; i < 5; i++)
        o[i] = kmem_cache_alloc(cpu, s, GFP_KERNEL);
    assert_int_equal(folio_order((struct folio *)virt_to_slab(m, o[4])), 2);
    assert_int_equal(info_of(cpu, "t").num_objs, 4 + 16);
    assert_books(kmem_check, m);
    kmem_cache_free_bulk(cpu, s, 5, o);
    assert_int_equal(kmem_cache_destroy(cpu, s), 0);
    test_machine_end(m);
}

/* -- merging ------------------------------------------------------------------------------------------------------- */

static const struct merge_case {
    const char *name;
    u32 size, align, flags;
    enum slab_ctor_id ctor;
    bool merged; /* into a cache of 200 bytes, align 8 */
} merge_cases[] = {
    {"same", 200, 0, 0, 0, true},
    {"rounds up to it", 195, 0, 0, 0, true},
    {"a word smaller", 192, 0, 0, 0, false}, /* 8 bytes would be lost; it goes to kmalloc-192 */
    {"larger", 201, 0, 0, 0, false},
    {"alignment that 200 has not", 200, 16, 0, 0, false},
    {"ctor", 200, 0, 0, SLAB_CTOR_TEST, false},
    {"NO_MERGE", 200, 0, SLAB_NO_MERGE, 0, false},
    {"accounted", 200, 0, SLAB_ACCOUNT, 0, false},
    {"reclaimable", 200, 0, SLAB_RECLAIM_ACCOUNT, 0, false},
    {"red zone", 200, 0, SLAB_RED_ZONE, 0, false},
};

static void test_merging(void **state)
{
    struct machine *m = boot(1, 1, 0);
    struct cpu *cpu = test_cpu(m);
    struct kmem_cache *base = kmem_cache_create(cpu, "base", 200, 0, 0, 0);

    for (size_t i = 0; i < ARRAY_SIZE(merge_cases); i++) {
        const struct merge_case *t = &merge_cases[i];
        struct kmem_cache *s = kmem_cache_create(cpu, t->name, t->size, t->align, t->flags, t->ctor);

        if ((s == base) != t->merged)
            fail_msg("%s: merged %d", t->name, s == base);
        assert_int_equal(info_of(cpu, "base").aliases, t->merged ? 1 : 0);
        assert_int_equal(kmem_cache_destroy(cpu, s), 0);
    }
    assert_int_equal(kmem_cache_destroy(cpu, base), 0);
    /* 64 bytes go where kmalloc-64 is; with slab_nomerge nothing is merged */
    base = kmem_cache_create(cpu, "sixtyfour", 64, 0, 0, 0);
    assert_string_equal(base->name, "kmalloc-64");
    assert_int_equal(kmem_cache_destroy(cpu, base), 0);
    m->config.slab_nomerge = true;
    base = kmem_cache_create(cpu, "sixtyfour", 64, 0, 0, 0);
    assert_string_equal(base->name, "sixtyfour");
    assert_int_equal(kmem_cache_destroy(cpu, base), 0);
    test_machine_end(m);
}

/* -- nodes --------------------------------------------------------------------------------------------------------- */

static void test_nodes(void **state)
{
    struct machine *m = boot(2, 2, 0);
    struct cpu *cpu = test_cpu(m), *far = &m->cpus[1];
    struct kmem_cache *s = kmem_cache_create(cpu, "t", 512, 0, SLAB_NO_MERGE, 0);
    void *o[4];

    assert_int_equal(cpu->node, 0);
    assert_int_equal(far->node, 1);
    for (int i = 0; i < 4; i++) {
        o[i] = kmem_cache_alloc_node(cpu, s, GFP_KERNEL, i & 1);
        assert_int_equal(page_to_nid(virt_to_slab(m, o[i])), i & 1);
    }
    /* each change of node gave the CPU's slab up: two slabs in all, not four */
    assert_int_equal(info_of(cpu, "t").num_slabs, 2);
    assert_books(kmem_check, m);
    kmem_cache_free_bulk(far, s, 4, o);
    assert_int_equal(page_to_nid(virt_to_slab(m, o[0] = kmem_cache_alloc(far, s, GFP_KERNEL))), 1);
    kmem_cache_free(far, s, o[0]);
    assert_int_equal(kmem_cache_destroy(cpu, s), 0);
    assert_books(kmem_check, m);
    test_machine_end(m);
}

/* -- random operations against a naive model ----------------------------------------------------------------------- */

#define MODEL_OBJECTS 3000
#define MODEL_CPUS 4

struct model {
    struct kmem_cache *s;
    u32 nr;
    struct {
        u64 *object;
        u64 value;
    } live[MODEL_OBJECTS];
};

static void model_alloc(struct machine *m, struct model *model, u64 *seed)
{
    struct cpu *cpu = &m->cpus[test_random(seed) % MODEL_CPUS];
    u64 *o;

    if (model->nr == MODEL_OBJECTS)
        return;
    o = kmem_cache_alloc(cpu, model->s, GFP_KERNEL);
    assert_non_null(o);
    assert_true(IS_ALIGNED((uintptr_t)o, 8));
    model->live[model->nr].object = o;
    model->live[model->nr].value = test_random(seed);
    for (u32 i = 0; i < model->s->object_size / 8; i++)
        o[i] = model->live[model->nr].value;
    model->nr++;
}

static void model_free(struct machine *m, struct model *model, u64 *seed)
{
    struct cpu *cpu = &m->cpus[test_random(seed) % MODEL_CPUS];
    u32 k = model->nr ? (u32)(test_random(seed) % model->nr) : 0;

    if (!model->nr)
        return;
    for (u32 i = 0; i < model->s->object_size / 8; i++)
        assert_int_equal(model->live[k].object[i], model->live[k].value);
    kmem_cache_free(cpu, model->s, model->live[k].object);
    model->live[k] = model->live[--model->nr];
}

static void run_model(u32 size, u32 flags, u64 seed)
{
    struct machine *m = boot(MODEL_CPUS, 2, 0);
    struct model *model = calloc(1, sizeof(*model));
    u32 grow = 60;

    model->s = kmem_cache_create(test_cpu(m), "model", size, 0, flags | SLAB_NO_MERGE, 0);
    for (u32 step = 0; step < 20000; step++) {
        u32 r = (u32)(test_random(&seed) % 1000);

        if (step % 4000 == 0)
            grow = grow == 60 ? 40 : 60; /* breathe */
        if (r == 0)
            flush_cpu_slab(&m->cpus[test_random(&seed) % MODEL_CPUS]);
        else if (r == 1)
            kmem_cache_shrink(test_cpu(m), model->s);
        else if (r % 100 < grow)
            model_alloc(m, model, &seed);
        else
            model_free(m, model, &seed);
        if (step % 1000 == 0)
            assert_books(kmem_check, m);
    }
    while (model->nr)
        model_free(m, model, &seed);
    assert_int_equal(kmem_cache_destroy(test_cpu(m), model->s), 0);
    assert_books(kmem_check, m);
    free(model);
    test_machine_end(m);
}

static void test_random_operations(void **state)
{
    run_model(8, 0, 0x1234567);
    run_model(320, 0, 0x89abcdef);
    run_model(1016, SLAB_HWCACHE_ALIGN, 0x5555aaaa);
    run_model(4096, 0, 0x42424242);
    run_model(96, SLAB_DEBUG_FLAGS, 0x31415926);
}

/* -- books: what is broken is found -------------------------------------------------------------------------------- */

static void test_check_finds(void **state)
{
    struct machine *m = boot(1, 1, 0);
    struct cpu *cpu = test_cpu(m);
    struct kmem_cache *s = kmem_cache_create(cpu, "t", 512, 0, SLAB_NO_MERGE, 0);
    struct check_report *r = calloc(1, sizeof(*r));
    void *o[16];
    void **link;

    for (int i = 0; i < 16; i++)
        o[i] = kmem_cache_alloc(cpu, s, GFP_KERNEL);
    for (int i = 0; i < 4; i++)
        kmem_cache_free(cpu, s, o[i]);
    flush_cpu_slab(cpu);
    kmem_check(m, r);
    assert_int_equal(r->nr, 0);

    s->node[0]->nr_partial++;
    kmem_check(m, r);
    assert_true(r->nr > 0);
    s->node[0]->nr_partial--;

    *r = (struct check_report){0};
    link = slab_freeptr(s, o[2]); /* 3 -> 2 -> 1 -> 0: make it 3 -> 2 -> 3 */
    *link = o[3];
    kmem_check(m, r);
    assert_non_null(strstr(r->text[0], "twice"));
    *r = (struct check_report){0};
    *link = (char *)o[1] + 8;
    kmem_check(m, r);
    assert_non_null(strstr(r->text[0], "into an object"));
    *r = (struct check_report){0};
    *link = o[8];
    kmem_check(m, r);
    assert_non_null(strstr(r->text[0], "leaves the slab"));
    *link = o[1];
    *r = (struct check_report){0};
    kmem_check(m, r);
    assert_int_equal(r->nr, 0);
    free(r);
    kmem_cache_free_bulk(cpu, s, 12, o + 4);
    assert_int_equal(kmem_cache_destroy(cpu, s), 0);
    test_machine_end(m);
}

/* /proc/slabinfo's columns: free objects of the CPU's slab count as active, those of node lists do not. */
static void test_slabinfo(void **state)
{
    struct machine *m = boot(1, 1, 0);
    struct cpu *cpu = test_cpu(m);
    struct kmem_cache *s = kmem_cache_create(cpu, "t", 500, 0, SLAB_NO_MERGE, 0);
    void *o = kmem_cache_alloc(cpu, s, GFP_KERNEL);
    struct slabinfo i = info_of(cpu, "t");
    u32 pos = 0;

    assert_true(slabinfo_next(cpu, &pos, &i)); /* newest first */
    assert_string_equal(i.name, "t");
    assert_int_equal(i.objsize, 504);
    assert_int_equal(i.objperslab, 8);
    assert_int_equal(i.pagesperslab, 1);
    assert_int_equal(i.num_objs, 8);
    assert_int_equal(i.active_objs, 8);
    assert_int_equal(i.num_slabs, 1);
    assert_int_equal(i.active_slabs, 1);
    flush_cpu_slab(cpu);
    assert_int_equal(info_of(cpu, "t").active_objs, 1);
    kmem_cache_free(cpu, s, o);
    assert_int_equal(kmem_cache_destroy(cpu, s), 0);
    test_machine_end(m);
}

static void test_xa_nodes(void **state)
{
    struct machine *m = boot(1, 1, 0);
    struct cpu *cpu = test_cpu(m);
    u64 *node = (u64 *)kmem_xa_node_alloc(cpu, GFP_KERNEL);

    assert_int_equal(node[3], 0);
    node[3] = 1;
    kmem_xa_node_free(cpu, (struct xa_node *)node);
    assert_ptr_equal(kmem_xa_node_alloc(cpu, GFP_KERNEL), node);
    assert_int_equal(node[3], 0);
    kmem_xa_node_free(cpu, (struct xa_node *)node);
    test_machine_end(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),         cmocka_unit_test(test_orders_of_the_host),
        cmocka_unit_test(test_impossible),     cmocka_unit_test(test_states),
        cmocka_unit_test(test_remote_free),    cmocka_unit_test(test_min_partial),
        cmocka_unit_test(test_shrink_order),   cmocka_unit_test(test_shrink_other_cpus),
        cmocka_unit_test(test_constructor),    cmocka_unit_test(test_zero),
        cmocka_unit_test(test_bulk_failure),   cmocka_unit_test(test_create_failure),
        cmocka_unit_test(test_order_fallback), cmocka_unit_test(test_merging),
        cmocka_unit_test(test_nodes),          cmocka_unit_test(test_random_operations),
        cmocka_unit_test(test_check_finds),    cmocka_unit_test(test_slabinfo),
        cmocka_unit_test(test_xa_nodes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
