/* SPDX-License-Identifier: MIT */
/* The debug mode catches what it says: each case breaks one rule and the report must name cache, object and fault. */
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/testing.h"
#include "kmem/kmem.h"
#include "kmem/slub_priv.h"

static const struct core_code code = {.pressure = &pressure_none};

static struct machine *boot(void)
{
    struct machine *m = test_machine_kmem(NULL, &code);

    m->kmem->bug_action = SLAB_BUG_KEEP;
    return m;
}

struct scene {
    struct machine *m;
    struct cpu *cpu;
    struct kmem_cache *s, *other;
    char *o; /* 60 bytes, in use */
};

static void overflow(struct scene *t)
{
    t->o[60] = 'A';
    kmem_cache_free(t->cpu, t->s, t->o);
}

static void underflow(struct scene *t)
{
    t->o[-3] = 'A';
    kmem_cache_free(t->cpu, t->s, t->o);
}

/* Seen when the object is handed out again. */
static void use_after_free(struct scene *t)
{
    kmem_cache_free(t->cpu, t->s, t->o);
    t->o[10] = 'A';
    assert_ptr_equal(kmem_cache_alloc(t->cpu, t->s, GFP_KERNEL), t->o);
    kmem_cache_free(t->cpu, t->s, t->o);
}

static void last_byte_after_free(struct scene *t)
{
    kmem_cache_free(t->cpu, t->s, t->o);
    t->o[59] = 0;
    kmem_cache_validate(t->cpu, t->s);
}

static void double_free(struct scene *t)
{
    kmem_cache_free(t->cpu, t->s, t->o);
    kmem_cache_free(t->cpu, t->s, t->o);
}

static void wrong_cache(struct scene *t)
{
    kmem_cache_free(t->cpu, t->other, t->o);
    kmem_cache_free(t->cpu, t->s, t->o);
}

static void inner_pointer(struct scene *t)
{
    kmem_cache_free(t->cpu, t->s, t->o + 8);
    kmem_cache_free(t->cpu, t->s, t->o);
}

static void broken_link(struct scene *t)
{
    kmem_cache_free(t->cpu, t->s, t->o);
    *slab_freeptr(t->s, t->o) = t->o + 4; /* the list is cut: a new slab serves the next request */
    assert_ptr_not_equal(kmem_cache_alloc(t->cpu, t->s, GFP_KERNEL), t->o);
}

static void padding(struct scene *t)
{
    t->o[t->s->size - t->s->red_left_pad - 1] = 0;
    kmem_cache_free(t->cpu, t->s, t->o);
}

static const struct debug_case {
    const char *name;
    u32 flags;
    void (*act)(struct scene *);
    const char *says;
} cases[] = {
    {"overflow", SLAB_RED_ZONE, overflow, "right red zone overwritten at offset 60: 0x41 instead of 0xcc"},
    {"underflow", SLAB_RED_ZONE, underflow, "left red zone overwritten at offset -3: 0x41 instead of 0xcc"},
    {"use after free", SLAB_POISON, use_after_free,
     "poison of a free object overwritten at offset 10: 0x41 instead of 0x6b"},
    {"last byte", SLAB_POISON, last_byte_after_free,
     "poison of a free object overwritten at offset 59: 0x00 instead of 0xa5"},
    {"double free F", SLAB_CONSISTENCY_CHECKS, double_free, "object already free"},
    {"double free Z", SLAB_RED_ZONE, double_free, "object already free"},
    {"wrong cache", SLAB_DEBUG_FLAGS, wrong_cache, "freed to the wrong cache"},
    {"wrong cache, no debugging", 0, wrong_cache, "freed to the wrong cache"},
    {"inner pointer", SLAB_CONSISTENCY_CHECKS, inner_pointer, "not the start of an object"},
    {"broken link", SLAB_CONSISTENCY_CHECKS, broken_link, "free list points into an object"},
    {"padding", SLAB_POISON | SLAB_STORE_USER | SLAB_RED_ZONE, padding, "padding overwritten"},
};

static void test_catches(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct debug_case *t = &cases[i];
        struct machine *m = boot();
        struct scene scene = {.m = m, .cpu = test_cpu(m)};
        char object[32];

        scene.s = kmem_cache_create(scene.cpu, "victim", 60, 0, t->flags | SLAB_NO_MERGE, 0);
        scene.other = kmem_cache_create(scene.cpu, "other", 60, 0, t->flags | SLAB_NO_MERGE, 0);
        scene.o = kmem_cache_alloc(scene.cpu, scene.s, GFP_KERNEL);
        assert_int_equal(atomic_load(&m->kmem->bugs), 0);
        t->act(&scene);
        if (atomic_load(&m->kmem->bugs) != 1 || !strstr(m->kmem->report, t->says))
            fail_msg("%s: %u reports, the last: %s", t->name, atomic_load(&m->kmem->bugs), m->kmem->report);
        snprintf(object, sizeof(object), "object %p", (void *)scene.o);
        if (t->act != inner_pointer && t->act != broken_link)
            assert_non_null(strstr(m->kmem->report, object));
        assert_non_null(strstr(m->kmem->report, t->act == wrong_cache ? "BUG other" : "BUG victim"));
        test_machine_end(m);
    }
}

/* Nothing wrong: nothing reported, through whole lives of slabs, and every flag alone. */
static void test_quiet(void **state)
{
    static const u32 flags[] = {SLAB_CONSISTENCY_CHECKS, SLAB_RED_ZONE, SLAB_POISON, SLAB_STORE_USER, SLAB_DEBUG_FLAGS};
    struct machine *m = boot();
    struct cpu *cpu = test_cpu(m);
    void *o[500];

    for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
        for (u32 size = 1; size < 3000; size = size * 2 + 1) {
            struct kmem_cache *s = kmem_cache_create(cpu, "t", size, 0, flags[i], 0);

            assert_int_equal(kmem_cache_alloc_bulk(cpu, s, GFP_KERNEL, 500, o), 500);
            for (int k = 0; k < 500; k++)
                memset(o[k], k, size);
            assert_int_equal(kmem_cache_validate(cpu, s), 0);
            assert_books(kmem_check, m);
            kmem_cache_free_bulk(cpu, s, 500, o);
            assert_int_equal(kmem_cache_destroy(cpu, s), 0);
        }
    }
    assert_int_equal(atomic_load(&m->kmem->bugs), 0);
    test_machine_end(m);
}

static void test_tracks(void **state)
{
    struct machine *m = boot();
    struct cpu *cpu = test_cpu(m);
    struct kmem_cache *s = kmem_cache_create(cpu, "tracked", 60, 0, SLAB_STORE_USER | SLAB_RED_ZONE, 0);
    struct task task = {.pid = 4711};
    char *o;

    cpu->current = &task;
    cpu->clock_ps = 5000000;
    o = kmem_cache_alloc(cpu, s, GFP_KERNEL);
    task.pid = 4712;
    kmem_cache_free(cpu, s, o);
    kmem_cache_free(cpu, s, o);
    assert_non_null(strstr(m->kmem->report, "allocated by pid 4711 on cpu 0 at 0x"));
    assert_non_null(strstr(m->kmem->report, "freed by pid 4712 on cpu 0 at 0x"));
    assert_non_null(strstr(m->kmem->report, "of 32 objects in use"));
    cpu->current = NULL;
    assert_int_equal(kmem_cache_destroy(cpu, s), 0);
    test_machine_end(m);
}

/* slab_debug for every cache: kmalloc too. */
static void test_machine_wide(void **state)
{
    struct machine_config c;
    struct machine *m;
    struct cpu *cpu;
    char *p;

    test_config(&c);
    c.slub_debug = SLAB_DEBUG_FLAGS;
    m = test_machine_kmem(&c, &code);
    m->kmem->bug_action = SLAB_BUG_KEEP;
    cpu = test_cpu(m);
    p = kmalloc(cpu, 64, GFP_KERNEL);
    assert_int_equal(ksize(m, p), 64);
    p[64] = 1;
    kfree(cpu, p);
    assert_non_null(strstr(m->kmem->report, "BUG kmalloc-64"));
    assert_int_equal(atomic_load(&m->kmem->bugs), 1);
    assert_books(kmem_check, m);
    test_machine_end(m);
}

/* Outside of tests a report ends the program. */
static void test_stops(void **state)
{
    pid_t pid = fork();
    int status;

    if (!pid) {
        struct rlimit no_core = {0, 0};
        struct machine *m = test_machine_kmem(NULL, &code);
        struct kmem_cache *s = kmem_cache_create(test_cpu(m), "victim", 60, 0, SLAB_RED_ZONE, 0);
        char *o = kmem_cache_alloc(test_cpu(m), s, GFP_KERNEL);

        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGABRT, SIG_DFL);
        freopen("/dev/null", "w", stderr);
        o[60] = 'A';
        kmem_cache_free(test_cpu(m), s, o);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_catches),      cmocka_unit_test(test_quiet), cmocka_unit_test(test_tracks),
        cmocka_unit_test(test_machine_wide), cmocka_unit_test(test_stops),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
