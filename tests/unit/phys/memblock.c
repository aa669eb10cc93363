/* SPDX-License-Identifier: MIT */
/* memblock: regions added, cut and merged; searches; growth. Each region is drawn as [base, end) in MiB. */
#include "tests/unit/testing.h"
#include "phys/firmware.h"
#include "phys/phys.h"

#define MIB(n) ((u64)(n) << 20)

/* A bare machine whose RAM gives grown arrays a place. */
struct fixture {
    struct machine *m;
    struct memblock mb;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->m = test_machine_bare(NULL);
    memblock_init(&f->mb, f->m);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    assert_books(memblock_check, &f->mb);
    test_machine_end(f->m);
    free(f);
    return 0;
}

struct expected {
    u64 base, end;
    s32 nid;
};

static void assert_regions(const struct memblock_type *t, const struct expected *e, u32 n)
{
    assert_int_equal(t->cnt, n);
    for (u32 i = 0; i < n; i++) {
        assert_int_equal(t->regions[i].base, MIB(e[i].base));
        assert_int_equal(t->regions[i].base + t->regions[i].size, MIB(e[i].end));
        assert_int_equal(t->regions[i].nid, e[i].nid);
    }
}

static void add_merges_and_keeps_nodes_apart(void **state)
{
    struct memblock *mb = &((struct fixture *)*state)->mb;
    const struct expected want[] = {{1, 8, 0}, {8, 12, 1}, {14, 16, 1}};

    memblock_add_node(mb, MIB(4), MIB(4), 0, 0);  /*     [4  8)0             */
    memblock_add_node(mb, MIB(1), MIB(3), 0, 0);  /* [1 4)0                  */
    memblock_add_node(mb, MIB(14), MIB(2), 1, 0); /*                 [14 16)1 */
    memblock_add_node(mb, MIB(6), MIB(6), 1, 0);  /*        [6     12)1  what is known already stays node 0's */
    assert_regions(&mb->memory, want, ARRAY_SIZE(want));
    assert_int_equal(mb->memory.total_size, MIB(13));
}

static void add_bridges_gaps(void **state)
{
    struct memblock *mb = &((struct fixture *)*state)->mb;
    const struct expected want[] = {{0, 10, 0}};

    memblock_add_node(mb, MIB(2), MIB(2), 0, 0);
    memblock_add_node(mb, MIB(6), MIB(2), 0, 0);
    memblock_add_node(mb, 0, MIB(10), 0, 0);
    assert_regions(&mb->memory, want, 1);
}

static void remove_splits(void **state)
{
    struct memblock *mb = &((struct fixture *)*state)->mb;
    const struct expected split[] = {{0, 4, 0}, {6, 10, 0}}, ends[] = {{1, 4, 0}, {6, 9, 0}}, one[] = {{1, 3, 0}};

    memblock_add_node(mb, 0, MIB(10), 0, 0);
    memblock_remove(mb, MIB(4), MIB(2));
    assert_regions(&mb->memory, split, 2);
    memblock_remove(mb, 0, MIB(1));
    memblock_remove(mb, MIB(9), MIB(5));
    assert_regions(&mb->memory, ends, 2);
    memblock_remove(mb, MIB(3), MIB(20));
    assert_regions(&mb->memory, one, 1);
    memblock_remove(mb, 0, MIB(100));
    assert_int_equal(mb->memory.cnt, 0);
}

static void reserve_free_and_free_ranges(void **state)
{
    struct memblock *mb = &((struct fixture *)*state)->mb;
    struct memblock_range r;
    u64 idx = 0, found[8][2];
    u32 n = 0;

    memblock_add_node(mb, MIB(1), MIB(9), 0, 0);
    memblock_add_node(mb, MIB(12), MIB(4), 1, 0);
    memblock_reserve(mb, 0, MIB(2));
    memblock_reserve(mb, MIB(4), MIB(2));
    memblock_reserve(mb, MIB(9), MIB(4));
    for (memblock_next_free(mb, &idx, NUMA_NO_NODE, 0, &r); idx != MEMBLOCK_ITER_END; n++) {
        found[n][0] = r.start;
        found[n][1] = r.end;
        memblock_next_free(mb, &idx, NUMA_NO_NODE, 0, &r);
    }
    assert_int_equal(n, 3); /* [2 4) [6 9) [13 16) */
    assert_int_equal(found[0][0], MIB(2));
    assert_int_equal(found[1][1], MIB(9));
    assert_int_equal(found[2][0], MIB(13));
    idx = MEMBLOCK_ALLOC_ANYWHERE;
    for (memblock_prev_free(mb, &idx, NUMA_NO_NODE, 0, &r); idx != MEMBLOCK_ITER_END;) {
        n--;
        assert_int_equal(found[n][0], r.start);
        assert_int_equal(found[n][1], r.end);
        memblock_prev_free(mb, &idx, NUMA_NO_NODE, 0, &r);
    }
    assert_int_equal(n, 0);
    memblock_phys_free(mb, MIB(5), MIB(5));
    assert_int_equal(mb->reserved.total_size, MIB(2 + 1 + 3));
}

static void search_directions_nodes_and_alignment(void **state)
{
    struct memblock *mb = &((struct fixture *)*state)->mb;

    memblock_add_node(mb, MIB(1), MIB(7), 0, 0);
    memblock_add_node(mb, MIB(8), MIB(8), 1, 0);
    assert_int_equal(memblock_phys_alloc_nid(mb, MIB(1), PAGE_SIZE, NUMA_NO_NODE, false), MIB(15));
    assert_int_equal(memblock_phys_alloc_nid(mb, PAGE_SIZE, MIB(2), NUMA_NO_NODE, false), MIB(14));
    assert_int_equal(memblock_phys_alloc_nid(mb, MIB(1), PAGE_SIZE, 0, true), MIB(7));
    mb->bottom_up = true;
    assert_int_equal(memblock_phys_alloc_nid(mb, MIB(1), PAGE_SIZE, NUMA_NO_NODE, false), MIB(1));
    assert_int_equal(memblock_phys_alloc_nid(mb, MIB(1), PAGE_SIZE, 1, true), MIB(8));
    assert_int_equal(memblock_phys_alloc_nid(mb, MIB(6), PAGE_SIZE, 0, true), 0);
    assert_int_equal(memblock_phys_alloc_nid(mb, MIB(5), PAGE_SIZE, 0, false), MIB(2)); /* [2 7) is just enough */
    assert_int_equal(memblock_phys_alloc_nid(mb, MIB(5), PAGE_SIZE, 0, false), MIB(9)); /* node 0 is full: node 1 */
}

static void mirrored_memory_first(void **state)
{
    struct memblock *mb = &((struct fixture *)*state)->mb;

    memblock_add_node(mb, MIB(1), MIB(15), 0, 0);
    memblock_mark(mb, MIB(4), MIB(2), MEMBLOCK_MIRROR);
    assert_int_equal(mb->memory.cnt, 3);
    assert_int_equal(memblock_phys_alloc_nid(mb, MIB(2), PAGE_SIZE, NUMA_NO_NODE, false), MIB(4));
    assert_int_equal(memblock_phys_alloc_nid(mb, MIB(2), PAGE_SIZE, NUMA_NO_NODE, false), MIB(14));
    memblock_clear(mb, MIB(4), MIB(2), MEMBLOCK_MIRROR);
    assert_int_equal(mb->memory.cnt, 1);
}

static void arrays_grow(void **state)
{
    struct memblock *mb = &((struct fixture *)*state)->mb;
    u64 reserved = 0;

    memblock_add_node(mb, MIB(1), MIB(63), 0, 0);
    for (u64 i = 0; i < 1000; i++, reserved += PAGE_SIZE)
        assert_int_equal(memblock_reserve(mb, MIB(1) + i * 2 * PAGE_SIZE, PAGE_SIZE), 0);
    assert_true(mb->reserved.regions != mb->init_reserved);
    assert_int_equal(mb->reserved.max, 32768 / sizeof(struct memblock_region));
    assert_true(memblock_is_reserved(mb, MIB(1) + 998 * PAGE_SIZE));
    assert_false(memblock_is_reserved(mb, MIB(1) + 999 * PAGE_SIZE));
    /* twice the entries each time, in whole pages; the arrays lie in what they describe */
    assert_int_equal(mb->reserved.total_size, reserved + 8192 + 16384 + 32768);
}

/* Random ranges against a bitmap of 1-page cells. */
static void random_against_bitmap(void **state)
{
    struct memblock *mb = &((struct fixture *)*state)->mb;
    bool bit[256] = {false};
    u64 seed = 0x9e3779b97f4a7c15;

    for (u32 step = 0; step < 2000; step++) {
        u32 at = test_random(&seed) % 250, n = 1 + test_random(&seed) % 6;
        bool add = test_random(&seed) & 1;
        u64 total = 0;

        assert_int_equal(add ? memblock_reserve(mb, at * PAGE_SIZE, n * PAGE_SIZE)
                             : memblock_phys_free(mb, at * PAGE_SIZE, n * PAGE_SIZE),
                         0);
        for (u32 i = at; i < at + n; i++)
            bit[i] = add;
        for (u32 i = 0; i < 256; i++) {
            total += bit[i] ? PAGE_SIZE : 0;
            assert_int_equal(memblock_is_reserved(mb, i * PAGE_SIZE), bit[i]);
        }
        assert_int_equal(mb->reserved.total_size, total);
        assert_books(memblock_check, mb);
    }
}

/* -- the firmware map ---------------------------------------------------------------------------------------------- */

struct fw_case {
    const char *name;
    u64 mem_limit;
    u32 nr_nodes, nr_in;
    struct mem_range in[4];
    u32 nr_out;
    struct mem_range out[6];
};

#define R(from, to, type_, nid_)                                                                                       \
    {                                                                                                                  \
        .start = MIB(from), .size = MIB((to) - (from)), .type = type_, .nid = nid_                                     \
    }

static const struct fw_case fw_cases[] = {
    {"restrictive type wins",
     0,
     1,
     2,
     {R(0, 100, E820_RAM, -1), R(40, 60, E820_RESERVED, -1)},
     3,
     {R(0, 40, E820_RAM, 0), R(40, 60, E820_RESERVED, -1), R(60, 100, E820_RAM, 0)}},
    {"unsorted, touching ranges join",
     0,
     1,
     3,
     {R(50, 100, E820_RAM, -1), R(100, 120, E820_NVS, -1), R(0, 50, E820_RAM, -1)},
     2,
     {R(0, 100, E820_RAM, 0), R(100, 120, E820_NVS, -1)}},
    {"mem= cuts RAM by address",
     MIB(70),
     1,
     2,
     {R(0, 64, E820_RAM, -1), R(66, 128, E820_RAM, -1)},
     2,
     {R(0, 64, E820_RAM, 0), R(66, 70, E820_RAM, 0)}},
    {"nodes in equal shares",
     0,
     2,
     1,
     {R(0, 256, E820_RAM, -1)},
     2,
     {R(0, 128, E820_RAM, 0), R(128, 256, E820_RAM, 1)}},
    {"given nodes stay",
     0,
     2,
     2,
     {R(0, 64, E820_RAM, 1), R(64, 128, E820_RAM, 0)},
     2,
     {R(0, 64, E820_RAM, 1), R(64, 128, E820_RAM, 0)}},
    {"shares leave holes out",
     0,
     2,
     2,
     {R(0, 96, E820_RAM, -1), R(128, 288, E820_RAM, -1)},
     3,
     {R(0, 96, E820_RAM, 0), R(128, 160, E820_RAM, 0), R(160, 288, E820_RAM, 1)}},
};

static void firmware_maps(void **state)
{
    static struct machine_config c;
    static struct firmware_map map;

    for (u32 i = 0; i < ARRAY_SIZE(fw_cases); i++) {
        const struct fw_case *t = &fw_cases[i];

        print_message("%s\n", t->name);
        c.pt_format = PT_RISCV_SV39; /* not a PC: nothing is taken from page 0 */
        c.mem_limit = t->mem_limit;
        c.nr_nodes = t->nr_nodes;
        c.nr_ranges = t->nr_in;
        memcpy(c.range, t->in, sizeof(t->in));
        firmware_sanitise(&c, &map);
        assert_int_equal(map.nr, t->nr_out);
        for (u32 k = 0; k < map.nr; k++) {
            assert_int_equal(map.range[k].start, t->out[k].start);
            assert_int_equal(map.range[k].size, t->out[k].size);
            assert_int_equal(map.range[k].type, t->out[k].type);
            if (map.range[k].type == E820_RAM)
                assert_int_equal(map.range[k].nid, t->out[k].nid);
        }
    }
    c.pt_format = PT_X86_64_4L;
    firmware_sanitise(&c, &map);
    assert_int_equal(map.range[0].start, PAGE_SIZE); /* the PC's page 0 */
    assert_int_equal(firmware_ram_end(&c), MIB(288));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(add_merges_and_keeps_nodes_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(add_bridges_gaps, setup, teardown),
        cmocka_unit_test_setup_teardown(remove_splits, setup, teardown),
        cmocka_unit_test_setup_teardown(reserve_free_and_free_ranges, setup, teardown),
        cmocka_unit_test_setup_teardown(search_directions_nodes_and_alignment, setup, teardown),
        cmocka_unit_test_setup_teardown(mirrored_memory_first, setup, teardown),
        cmocka_unit_test_setup_teardown(arrays_grow, setup, teardown),
        cmocka_unit_test_setup_teardown(random_against_bitmap, setup, teardown),
        cmocka_unit_test(firmware_maps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
