/* SPDX-License-Identifier: MIT */
/*
 * Layout: the same lines, fields, units and widths as the running kernel's own /proc, numbers masked. On a kernel other
 * than 6.18 there is nothing to compare with: skipped.
 */
#include "tests/unit/abi/proc_testing.h"

#include "abi/abi.h"
#include "cache/device.h"

#include <sys/resource.h>
#include <unistd.h>

static struct machine *start(struct cpu **cpu)
{
    struct machine_config c;
    struct machine *m;

    if (!host_is_6_18())
        skip();
    test_config_of(&c, PT_X86_64_4L, 6ul << 30, 1);
    m = test_machine_full(&c);
    *cpu = test_cpu(m);
    memcpy(test_task(*cpu, 4711)->comm, "model", 6);
    map_at(*cpu, BASE, 16, RW, ANON_PRIVATE, NULL, 0);
    touch_range(*cpu, BASE, 8, ACCESS_WRITE);
    map_at(*cpu, BASE + 64 * PG, 16, RW, ANON_SHARED, NULL, 0);
    touch_range(*cpu, BASE + 64 * PG, 3, ACCESS_WRITE);
    return m;
}

static void end(struct cpu *cpu)
{
    struct machine *m = cpu->m;

    task_exit(cpu, cpu->current);
    assert_books(machine_check, m);
    test_machine_end(m);
}

static void compare(struct cpu *cpu, const char *name, const char *path, enum mask_mode mode)
{
    char *model = read_view(cpu, name), *host = read_host(path);

    assert_non_null(host);
    mask(model, mode);
    mask(host, mode);
    compare_lines(name, model, host);
    free(model);
    free(host);
}

static void test_whole_files(void **state)
{
    struct cpu *cpu;

    start(&cpu);
    compare(cpu, "meminfo", "/proc/meminfo", MASK_WIDTHS);
    compare(cpu, "vmstat", "/proc/vmstat", MASK_NUMBERS);
    compare(cpu, "self/statm", "/proc/self/statm", MASK_NUMBERS);
    end(cpu);
}

static void test_rollup(void **state)
{
    struct cpu *cpu;
    char *model, *host, *m, *h;

    start(&cpu);
    model = read_view(cpu, "self/smaps_rollup");
    host = read_host("/proc/self/smaps_rollup");
    m = strchr(model, '\n');
    h = strchr(host, '\n');
    assert_int_equal(m - model, h - host);
    assert_int_equal(strstr(model, "[rollup]") - model, strstr(host, "[rollup]") - host);
    mask(m, MASK_WIDTHS);
    mask(h, MASK_WIDTHS);
    compare_lines("smaps_rollup", m, h);
    free(model);
    free(host);
    end(cpu);
}

static void test_limits(void **state)
{
    struct cpu *cpu;
    char *model, *host;

    start(&cpu);
    for (int i = 0; i < NR_RLIMITS; i++) {
        struct rlimit r;

        assert_int_equal(getrlimit(i, &r), 0);
        task_set_rlimit(cpu->current, (u32)i, r.rlim_cur, r.rlim_max);
    }
    model = read_view(cpu, "self/limits");
    host = read_host("/proc/self/limits");
    compare_lines("limits", model, host);
    free(model);
    free(host);
    end(cpu);
}

/* Zones differ with the sizes of memory: the lines of zone Normal, which both have. */
static char *zone_normal(char *text)
{
    char *at = strstr(text, "zone   Normal"), *next;

    assert_non_null(at);
    while (at > text && at[-1] != '\n')
        at--;
    next = strstr(at + 20, "Node ");
    if (next)
        *next = 0;
    return at;
}

static void compare_zone(struct cpu *cpu, const char *name, const char *path, enum mask_mode mode)
{
    char *model = read_view(cpu, name), *host = read_host(path), *m = zone_normal(model), *h = zone_normal(host);
    char *cut_m = strstr(m, "    cpu: 1"), *cut_h = strstr(h, "    cpu: 1");

    if (cut_m)
        *cut_m = 0; /* another number of CPUs */
    if (cut_h)
        *cut_h = 0;
    mask(m, mode);
    mask(h, mode);
    compare_lines(name, m, h);
    free(model);
    free(host);
}

/* Up to the first number of a line: headings. */
static void compare_head(struct cpu *cpu, const char *name, const char *path, u32 lines)
{
    char *model = read_view(cpu, name), *host = read_host(path), *m = model, *h = host;

    if (!host) {
        free(model);
        return; /* slabinfo and pagetypeinfo are root's */
    }
    for (u32 i = 0; i < lines; i++) {
        m += strcspn(m, "\n") + 1;
        h += strcspn(h, "\n") + 1;
    }
    *m = *h = 0;
    compare_lines(name, model, host);
    free(model);
    free(host);
}

static void test_zones(void **state)
{
    struct cpu *cpu;

    start(&cpu);
    compare_zone(cpu, "buddyinfo", "/proc/buddyinfo", MASK_WIDTHS);
    compare_zone(cpu, "zoneinfo", "/proc/zoneinfo", MASK_NUMBERS);
    compare_head(cpu, "slabinfo", "/proc/slabinfo", 2);
    compare_head(cpu, "pagetypeinfo", "/proc/pagetypeinfo", 4);
    if (geteuid() == 0)
        compare_zone(cpu, "pagetypeinfo", "/proc/pagetypeinfo", MASK_WIDTHS);
    end(cpu);
}

/* Zones of the model in the order of the kernel's; the tail of pagetypeinfo. */
static void test_zone_names(void **state)
{
    static const char *const files[] = {"buddyinfo", "zoneinfo"};
    struct cpu *cpu;

    start(&cpu);
    for (u32 i = 0; i < 2; i++) {
        char path[32], *model = read_view(cpu, files[i]), *host, *m = model, *h;

        snprintf(path, sizeof(path), "/proc/%s", files[i]);
        h = host = read_host(path);
        while ((m = strstr(m, "zone ")) && (h = strstr(h, "zone "))) {
            assert_memory_equal(m, h, strlen("zone   Normal"));
            m++;
            h++;
        }
        free(model);
        free(host);
    }
    end(cpu);
}

/* Lines that begin with one of the words, cut at `width`; the same one several times in a row: once. */
static char *outline(char *text, const char *const *words, size_t width)
{
    char *out = calloc(1, strlen(text) + 2), *last = out, *end = out;

    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        bool wanted = false;

        for (u32 i = 0; words[i]; i++)
            wanted |= strncmp(line, words[i], strlen(words[i])) == 0;
        line[MIN(width, strlen(line))] = 0;
        if (!wanted || (end > last && strlen(line) == (size_t)(end - last) - 1 && !strncmp(line, last, strlen(line))))
            continue;
        last = end;
        end += sprintf(end, "%s\n", line);
    }
    free(text);
    return out;
}

/* Four nodes of 256 MiB with a CPU each: as 6.1 showed them in a virtual machine (make oracle-vm). */
static void test_nodes(void **state)
{
    static const char *const zone_words[] = {"Node", "  per-node", NULL}, *const all[] = {"", NULL};
    char *zoneinfo, *buddyinfo, *types, *numa;
    struct machine_config c;
    struct machine *m;
    struct cpu *cpu;
    struct task *t;

    test_config_of(&c, PT_X86_64_4L, 1ul << 30, 4);
    m = test_machine_full(&c);
    t = test_task(test_cpu(m), 4711);
    map_at(test_cpu(m), BASE, 16, RW, ANON_PRIVATE, NULL, 0);
    for (u32 n = 0; n < 4; n++) {
        cpu = test_own_cpu(m, n, &quire_code);
        cpu->current = t;
        touch_range(cpu, BASE + n * 4 * PG, 1 + n % 2, ACCESS_WRITE);
        lru_add_drain(cpu);
        cpu->current = NULL;
    }
    cpu = test_cpu(m);
    cpu->current = t;
    numa = read_view(cpu, "self/numa_maps");
    assert_string_equal(numa, "10000000 default anon=6 dirty=6 active=0 N0=1 N1=2 N2=1 N3=2 kernelpagesize_kB=4\n");
    zoneinfo = outline(read_view(cpu, "zoneinfo"), zone_words, 21);
    assert_string_equal(zoneinfo,
                        "Node 0, zone      DMA\n  per-node stats\nNode 0, zone    DMA32\nNode 0, zone   Normal\n"
                        "Node 0, zone  Movable\nNode 0, zone   Device\n"
                        "Node 1, zone      DMA\nNode 1, zone    DMA32\n  per-node stats\nNode 1, zone   Normal\n"
                        "Node 1, zone  Movable\nNode 1, zone   Device\n"
                        "Node 2, zone      DMA\nNode 2, zone    DMA32\n  per-node stats\nNode 2, zone   Normal\n"
                        "Node 2, zone  Movable\nNode 2, zone   Device\n"
                        "Node 3, zone      DMA\nNode 3, zone    DMA32\n  per-node stats\nNode 3, zone   Normal\n"
                        "Node 3, zone  Movable\nNode 3, zone   Device\n");
    buddyinfo = outline(read_view(cpu, "buddyinfo"), all, 21);
    assert_string_equal(buddyinfo, "Node 0, zone      DMA\nNode 0, zone    DMA32\nNode 1, zone    DMA32\n"
                                   "Node 2, zone    DMA32\nNode 3, zone    DMA32\n");
    types = outline(read_view(cpu, "pagetypeinfo"), all, 24);
    assert_string_equal(types, "Page block order: 9\nPages per block:  512\nFree pages count per mig\n"
                               "Node    0, zone      DMA\nNode    0, zone    DMA32\nNumber of blocks type   \n"
                               "Node 0, zone      DMA   \nNode 0, zone    DMA32   \n"
                               "Page block order: 9\nPages per block:  512\nFree pages count per mig\n"
                               "Node    1, zone    DMA32\nNumber of blocks type   \nNode 1, zone    DMA32   \n"
                               "Page block order: 9\nPages per block:  512\nFree pages count per mig\n"
                               "Node    2, zone    DMA32\nNumber of blocks type   \nNode 2, zone    DMA32   \n"
                               "Page block order: 9\nPages per block:  512\nFree pages count per mig\n"
                               "Node    3, zone    DMA32\nNumber of blocks type   \nNode 3, zone    DMA32   \n");
    free(zoneinfo);
    free(buddyinfo);
    free(types);
    free(numa);
    end(cpu);
}

/* One line each, whose numbers have no fixed width. */
static void test_slab_line(void **state)
{
    char *model, *host = read_host("/proc/slabinfo"), *m, *h;
    struct cpu *cpu;

    if (!host || !host_is_6_18()) {
        free(host);
        skip();
    }
    start(&cpu);
    model = read_view(cpu, "slabinfo");
    m = strstr(model, "\nkmalloc-64 ");
    h = strstr(host, "\nkmalloc-64 ");
    assert_non_null(m);
    assert_non_null(h);
    *strchr(m + 1, '\n') = 0;
    *strchr(h + 1, '\n') = 0;
    mask(m, MASK_WIDTHS);
    mask(h, MASK_WIDTHS);
    assert_string_equal(m, h);
    free(model);
    free(host);
    end(cpu);
}

/* Each line of the model's status is one of the kernel's, in its order. */
static void test_status(void **state)
{
    struct cpu *cpu;
    char *model, *host, *m, *h, path[64];

    start(&cpu);
    model = read_view(cpu, "4711/status");
    snprintf(path, sizeof(path), "/proc/%d/status", getppid()); /* under sanitizers our own sizes exceed the columns */
    host = read_host(path);
    assert_non_null(host);
    m = strchr(model, '\n') + 1; /* Name */
    h = host;
    assert_memory_equal(model, "Name:\tmodel\nState:\t", 19);
    mask(m, MASK_WIDTHS);
    mask(h, MASK_WIDTHS);
    for (; *m; m += strcspn(m, "\n") + 1) {
        size_t label = strcspn(m, "\t") + 1, len = strcspn(m, "\n");

        for (; *h && strncmp(h, m, label) != 0; h += strcspn(h, "\n") + 1)
            ;
        if (!*h)
            fail_msg("status: \"%.*s\" is no line of the kernel's, or stands in another place", (int)len, m);
        if (memcmp(m, "Vm", 2) == 0 || memcmp(m, "Rss", 3) == 0 || memcmp(m, "Huge", 4) == 0)
            assert_memory_equal(m, h, len + 1);
    }
    free(model);
    free(host);
    end(cpu);
}

/* Number of fields, and what is no number. */
static void test_stat(void **state)
{
    struct cpu *cpu;
    char *model, *host;
    u32 fields = 1;

    start(&cpu);
    model = read_view(cpu, "4711/stat");
    host = read_host("/proc/self/stat");
    assert_memory_equal(model, "4711 (model) ", 13);
    for (const char *p = strchr(model, ')'); *p; p++)
        fields += *p == ' ';
    assert_int_equal(fields, 51); /* behind the name */
    for (const char *p = strchr(host, ')'); *p; p++)
        fields -= *p == ' ';
    assert_int_equal(fields, 1);
    free(model);
    free(host);
    end(cpu);
}

/* Every bit of vm_flags, in the kernel's order; keys only where the CPUs have them. */
static void test_vm_flags(void **state)
{
    struct machine_config c;
    struct vm_area_struct *vma;
    vm_flags_t before;
    struct cpu *cpu;
    char *text;

    test_config(&c);
    c.pkeys = true;
    cpu = test_cpu(test_machine_full(&c));
    test_task(cpu, 4711);
    map_at(cpu, 0x40000000, 512, RW, ANON_PRIVATE | MAP_HUGETLB_ | MAP_NORESERVE_, NULL, 0);
    vma = vma_first(cpu->current->mm);
    before = vma->vm_flags;
    vma->vm_flags = ~(vm_flags_t)0 & ~VM_PKEY_MASK & ~(vm_flags_t)0x77ffffe000000000 & ~BIT(36);
    vma->vm_flags |= 5ul << VM_PKEY_SHIFT | BIT(37) | BIT(40) | BIT(41);
    text = read_view(cpu, "self/smaps");
    vma->vm_flags = before;
    assert_non_null(strstr(
        text, "THPeligible:           0\nProtectionKey:         5\n"
              "VmFlags: rd wr ex sh mr mw me ms gd um pf gu uw lo io sr rr dc de lf ac nr ht sf ar wf dd mm hg nh mg "
              "ss dp ui ?? sl \n"));
    free(text);
    end(cpu);
}

/* What stands at column 73, which a kernel without CONFIG_ANON_VMA_NAME does not show. */
static void test_map_names(void **state)
{
    static char name[] = "a name";
    struct cpu *cpu = test_cpu(test_machine_full(NULL));
    struct mm *mm = test_task(cpu, 4711)->mm;
    struct vm_area_struct *vma;
    char *text;

    map_at(cpu, BASE, 1, RW, ANON_PRIVATE, NULL, 0);
    map_at(cpu, BASE + 2 * PG, 1, PROT_READ_, ANON_PRIVATE, NULL, 0);
    map_at(cpu, BASE + 4 * PG, 1, RW, ANON_PRIVATE, NULL, 0);
    map_at(cpu, BASE + 6 * PG, 1, PROT_NONE_, ANON_PRIVATE, NULL, 0);
    mm->start_brk = BASE;
    mm->brk = BASE + PG;
    mm->start_stack = BASE + 5 * PG - 16;
    vma = vma_next(vma_first(mm));
    vma->anon_name = name;
    text = read_view(cpu, "self/maps");
    assert_string_equal(text, "10000000-10001000 rw-p 00000000 00:00 0                                  [heap]\n"
                              "10002000-10003000 r--p 00000000 00:00 0                                  [anon:a name]\n"
                              "10004000-10005000 rw-p 00000000 00:00 0                                  [stack]\n"
                              "10006000-10007000 ---p 00000000 00:00 0 \n");
    vma->anon_name = NULL;
    free(text);
    end(cpu);
}

static int refuse(void *arg, const char *bytes, size_t len)
{
    ++*(u32 *)arg;
    return -ENOSPC;
}

/* What a process has asked for, and the kernel's own mappings. */
static void test_process_state(void **state)
{
    struct abi_call c = {.nr = ABI_prctl, .arg = {41, 1}}; /* PR_SET_THP_DISABLE */
    struct cpu *cpu = test_cpu(test_machine_full(NULL));
    struct task *t = test_task(cpu, 4711);
    char *text;

    for (u32 i = 0; i < 3; i++) {
        text = read_view(cpu, "self/status");
        assert_non_null(strstr(text, i == 1 ? "\nTHP_enabled:\t0\n" : "\nTHP_enabled:\t1\n"));
        free(text);
        assert_int_equal(abi_syscall(cpu, &c), 0);
        c.arg[2] = 2; /* except where advised: still enabled */
    }
    task_set_rlimit(t, RLIMIT_RSS_, 12345, RLIM_INFINITY_);
    text = read_view(cpu, "self/stat");
    assert_non_null(strstr(text, " 0 0 12345 ")); /* vsize, rss, rsslim */
    free(text);
    down_write(cpu, &t->mm->mmap_lock);
    assert_int_equal(install_special_mapping(cpu, t->mm, BASE, 4 * PG, SPECIAL_VVAR), 0);
    assert_int_equal(install_special_mapping(cpu, t->mm, BASE + 4 * PG, 2 * PG, SPECIAL_VVAR), 0);
    assert_int_equal(install_special_mapping(cpu, t->mm, BASE + 6 * PG, 2 * PG, SPECIAL_VDSO), 0);
    up_write(cpu, &t->mm->mmap_lock);
    text = read_view(cpu, "self/maps");
    assert_string_equal(text, "10000000-10004000 r--p 00000000 00:00 0                                  [vvar]\n"
                              "10004000-10006000 r--p 00000000 00:00 0                                  [vvar_vclock]\n"
                              "10006000-10008000 r-xp 00000000 00:00 0                                  [vdso]\n");
    free(text);
    task_exit(cpu, t);
    assert_books(machine_check, cpu->m);
    test_machine_end(cpu->m);
}

static void test_names(void **state)
{
    struct cpu *cpu;
    u32 calls = 0;
    struct proc_sink sink = {refuse, &calls};

    start(&cpu);
    assert_int_equal(proc_read(cpu, "memo", &sink), -ENOENT);
    assert_int_equal(proc_read(cpu, "", &sink), -ENOENT);
    assert_int_equal(proc_read(cpu, "self/", &sink), -ENOENT);
    assert_int_equal(proc_read(cpu, "self/meminfo", &sink), -ENOENT);
    assert_int_equal(proc_read(cpu, "maps", &sink), -ENOENT);
    assert_int_equal(proc_read(cpu, "4712/maps", &sink), -ESRCH);
    assert_int_equal(proc_read(cpu, "nobody/maps", &sink), -ESRCH);
    assert_int_equal(calls, 0);
    assert_int_equal(proc_read(cpu, "meminfo", &sink), -ENOSPC); /* and it is not asked again */
    assert_int_equal(calls, 1);
    for (u32 i = 0; proc_file(i); i++) {
        const struct proc_file *f = proc_file(i);
        char name[64];

        snprintf(name, sizeof(name), "%s%s", f->scope == PROC_PROCESS ? "model/" : "", f->name);
        calls = 0;
        assert_int_equal(proc_read(cpu, name, &sink), -ENOSPC);
        assert_int_equal(calls, 1);
    }
    end(cpu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_files),   cmocka_unit_test(test_rollup),     cmocka_unit_test(test_limits),
        cmocka_unit_test(test_zones),         cmocka_unit_test(test_zone_names), cmocka_unit_test(test_nodes),
        cmocka_unit_test(test_slab_line),     cmocka_unit_test(test_status),     cmocka_unit_test(test_stat),
        cmocka_unit_test(test_process_state), cmocka_unit_test(test_names),      cmocka_unit_test(test_vm_flags),
        cmocka_unit_test(test_map_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
