/* SPDX-License-Identifier: MIT */
/* Machine files: every error's exact text, every key there and back, layouts, impossible machines. */
#include "tests/unit/testing.h"

#include "machine/config.h"

#define GIB(n) ((u64)(n) << 30)
#define MIB(n) ((u64)(n) << 20)

static struct machine_config c;
static char err[400];

static void test_errors(void **state)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"mem = 4Q", "m.conf:1: mem: bad value '4Q': expected a size such as 4G, from 16M to 32T"},
        {"\n# x\nmem = 1M", "m.conf:3: mem: bad value '1M': expected a size such as 4G, from 16M to 32T"},
        {"vm.swapiness = 3", "m.conf:1: unknown key 'vm.swapiness'"},
        {"vm.max_mapcount = 3", "m.conf:1: unknown key 'vm.max_mapcount': did you mean 'vm.max_map_count'?"},
        {"cpu = 3", "m.conf:1: unknown key 'cpu': did you mean 'cpus'?"},
        {"mme = 4G", "m.conf:1: unknown key 'mme': did you mean 'mem'?"},
        {"vm.swappiness = 60",
         "m.conf:1: unknown key 'vm.swappiness': this version does not model reclaim and swap yet"},
        {"hello", "m.conf:1: expected 'key = value'"},
        {"= 4", "m.conf:1: expected 'key = value'"},
        {"cpus = 0", "m.conf:1: cpus: bad value '0': expected a number from 1 to 512"},
        {"cpus = 513", "m.conf:1: cpus: bad value '513': expected a number from 1 to 512"},
        {"cpus =", "m.conf:1: cpus: bad value '': expected a number from 1 to 512"},
        {"tlb.l2 = 100x4", "m.conf:1: tlb.l2: bad value '100x4': expected SETSxWAYS with a power of two of sets, such "
                           "as 16x4, or 0 for none"},
        {"tlb.l1d.4k = 0",
         "m.conf:1: tlb.l1d.4k: bad value '0': expected SETSxWAYS with a power of two of sets, such as 16x4"},
        {"arch = vax", "m.conf:1: arch: bad value 'vax': expected one of x86_64 x86_64-5level x86_pae x86_32 arm64 "
                       "riscv64-sv39 riscv64-sv48 riscv64-sv57"},
        {"cost.access = 0.4567",
         "m.conf:1: cost.access: bad value '0.4567': expected nanoseconds with up to three decimals, "
         "such as 2.3"},
        {"numa.nodes=2\nnuma.distance = 10 20 20",
         "m.conf:2: numa.distance: bad value '10 20 20': expected numa.nodes times numa.nodes numbers from 10 to 255"},
        {"cpus = 4\nnuma.cpus.0 = 2-4",
         "m.conf:2: numa.cpus.0: bad value '2-4': expected a list of CPUs such as 0-3,8, for a node below numa.nodes"},
        {"e820.0 = 5-4 usable", "m.conf:1: e820.0: bad value '5-4 usable': expected FIRST-LAST "
                                "usable|reserved|ACPI|NVS|unusable|pmem [node=N] [hotplug] [mirror]"},
        {"page_cache = hot", "m.conf:1: page_cache: bad value 'hot': expected one of cold warm"},
    };

    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        machine_config_default(&c);
        assert_int_equal(machine_config_parse(&c, cases[i].text, "m.conf", err, sizeof(err)), -EINVAL);
        assert_string_equal(err, cases[i].error);
    }
}

static void test_syntax(void **state)
{
    machine_config_default(&c);
    assert_int_equal(machine_config_parse(&c,
                                          "; comment\n\t# comment\n\n  mem=8G  # eight\r\n vm/max_map_count = 0x10\n"
                                          "name = a b#c\nvm.lowmem_reserve_ratio = 1 2,3\ncost.walk_mem=0.05",
                                          "f", err, sizeof(err)),
                     0);
    assert_string_equal(err, "");
    assert_int_equal(c.mem_bytes, GIB(8));
    assert_int_equal(c.max_map_count, 16);
    assert_string_equal(c.name, "a b#c");
    assert_int_equal(c.lowmem_reserve_ratio[0], 1);
    assert_int_equal(c.lowmem_reserve_ratio[2], 3);
    assert_int_equal(c.lowmem_reserve_ratio[3], 0);
    assert_int_equal(c.cost_ps[COST_WALK_MEM], 50);
}

static void test_memory_map(void **state)
{
    machine_config_default(&c);
    assert_int_equal(c.nr_ranges, 5);
    assert_int_equal(c.range[3].start, MIB(1));
    assert_int_equal(c.range[3].start + c.range[3].size, GIB(3));
    assert_int_equal(c.range[4].start, GIB(4));
    assert_int_equal(c.range[4].size, GIB(1));

    assert_int_equal(machine_config_set(&c, "numa.nodes", "2", err, sizeof(err)), 0);
    /* node 0: 0-2G; node 1: 2G-3G and 4G-5G */
    assert_int_equal(c.nr_ranges, 6);
    assert_int_equal(c.range[3].nid, 0);
    assert_int_equal(c.range[3].size, GIB(2) - MIB(1));
    assert_int_equal(c.range[4].nid, 1);
    assert_int_equal(c.range[4].start, GIB(2));
    assert_int_equal(c.range[5].nid, 1);
    assert_int_equal(c.cpu_node[0], 0);
    assert_int_equal(c.cpu_node[1], 1);
    assert_int_equal(c.node_distance[0][1], 20);

    assert_int_equal(machine_config_set(&c, "memmap", "640K@0,1G@1M,1M$0x50000000", err, sizeof(err)), 0);
    assert_int_equal(c.mem_bytes, 0);
    assert_int_equal(c.nr_ranges, 3);
    assert_int_equal(c.range[2].type, E820_RESERVED);
    assert_int_equal(c.range[2].start, 0x50000000);
    assert_int_equal(machine_config_set(&c, "e820.3", "0x60000000-0x6fffffff usable node=1 hotplug", err, sizeof(err)),
                     0);
    assert_int_equal(c.nr_ranges, 4);
    assert_int_equal(c.range[3].size, MIB(256));
    assert_true(c.range[3].hotplug);
    assert_int_equal(c.range[3].nid, 1);
}

static void test_impossible(void **state)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"mem = 64M\nnuma.nodes = 8", "64M of memory is too small for 8 nodes: each needs 16M"},
        {"numa.nodes = 2\nmemory_model = flatmem",
         "memory_model = flatmem has one array of page descriptors and so one node; numa.nodes is 2"},
        {"arch = x86_32", "the memory map ends at 0x140000000, but this arch has physical addresses below 0x100000000"},
        {"memmap = 1G@0\ne820.1 = 2G-3G usable node=4", "a memory range is on node 4, but numa.nodes is 1"},
        {"fault_around_bytes = 12K", "fault_around_bytes must be a power of two"},
        {"mem = 64M\nvm.min_free_kbytes = 65536",
         "vm.min_free_kbytes keeps 64M of 64M free: nothing could be allocated; at "
         "most half is allowed, 0 lets it be computed"},
        {"memmap = 8M@0", "8M of memory is too small for 1 node: it needs 16M"},
    };

    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        machine_config_default(&c);
        assert_int_equal(machine_config_parse(&c, cases[i].text, "f", err, sizeof(err)), 0);
        assert_int_equal(machine_config_validate(&c, err, sizeof(err)), -EINVAL);
        assert_string_equal(err, cases[i].error);
    }
    machine_config_default(&c);
    assert_int_equal(machine_config_validate(&c, err, sizeof(err)), 0);
}

/* What get prints, set accepts, and nothing changes. */
static void test_round_trip(void **state)
{
    struct machine_config again;
    char value[8192];

    machine_config_default(&c);
    c.slub_debug = 0x400;
    for (u32 i = 0; i < machine_config_nr_keys(); i++) {
        const struct config_key *k = machine_config_key(i);
        struct text t = text_in(value, sizeof(value));

        if (!machine_config_get(&c, k, &t) || !strcmp(k->name, "memmap"))
            continue;
        again = c;
        assert_int_equal(machine_config_set(&again, k->name, value, err, sizeof(err)), 0);
        assert_memory_equal(&again, &c, sizeof(c));
    }
}

static void test_thousandths(void **state)
{
    char buf[32];
    struct text t = text_in(buf, sizeof(buf));

    text_thousandths(&t, 1050);
    assert_string_equal(buf, "1.05");
    t = text_in(buf, sizeof(buf));
    text_thousandths(&t, 330000);
    assert_string_equal(buf, "330");
    t = text_in(buf, 4);
    text_str(&t, "abcdef");
    assert_string_equal(buf, "abc");
}

static void test_region(void **state)
{
    struct region_layout l;
    struct machine *m, *other;

    test_config(&c);
    l = region_layout(&c);
    assert_int_equal(l.ram_span, MIB(256));
    assert_int_equal(l.ram % GIB(1), 0);
    assert_int_equal(l.size, l.ram + l.ram_span);
    m = test_machine_bare(&c);
    other = test_machine_bare(&c);
    assert_ptr_not_equal(m, other);
    assert_ptr_equal(m->cpus[1].m, m);
    memset(m->ram + l.ram_span - 16, 1, 16);
    test_machine_end(m);
    test_machine_end(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors),     cmocka_unit_test(test_syntax),     cmocka_unit_test(test_memory_map),
        cmocka_unit_test(test_impossible), cmocka_unit_test(test_round_trip), cmocka_unit_test(test_thousandths),
        cmocka_unit_test(test_region),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
