/* SPDX-License-Identifier: MIT */
/*
 * The table of keys, and how each type of value is read, written and described. A key is one line of the table; help,
 * errors, parser and reports follow from it.
 *
 *   e820.#      "<first>-<last> <type> [node=N] [hotplug] [mirror]", as the kernel logs the firmware's map
 *   memmap      list of <size>@<start> (RAM), <size>$<start> (reserved), <size>#<start> (ACPI), <size>!<start>
 *               (persistent), as the kernel's parameter of that name; the map is then exactly this list
 *   numa.cpus.# list of CPUs of that node: 0-3,8
 */
#include "base/errno.h"
#include "kmem/slab.h"
#include "machine/config.h"
#include "machine/region.h"

enum config_type {
    CT_U32,
    CT_U64,
    CT_BYTES, /* u64 */
    CT_BOOL,
    CT_NAME,
    CT_GEOMETRY,
    CT_COST,
    CT_RATIOS, /* lowmem_reserve_ratio */
    CT_ARCH,   /* from here: enum-like or with a function of their own */
    CT_MEMORY_MODEL,
    CT_CONTENT,
    CT_PAGE_CACHE,
    CT_TLB,
    CT_SLUB_DEBUG,
    CT_MEM,
    CT_CPUS,
    CT_NODES,
    CT_DISTANCE,
    CT_NODE_CPUS,
    CT_E820,
    CT_MEMMAP,
    CT_BANDWIDTH,
};

#define KIB(n) ((u64)(n) << 10)
#define MIB(n) ((u64)(n) << 20)
#define TIB(n) ((u64)(n) << 40)
#define F(field) (u16) offsetof(struct machine_config, field)
#define T(field) (u16)(offsetof(struct machine_config, tlb) + offsetof(struct tlb_config, field))
#define U32_MAX 0xffffffffull

static const struct config_key keys[] = {
    {"name", CT_NAME, F(name), 1, 63, "what the machine is called in reports"},
    {"mem", CT_MEM, F(mem_bytes), MIB(16), TIB(32), "RAM; the firmware map follows from it"},
    {"mem_limit", CT_BYTES, F(mem_limit), 0, TIB(32), "RAM above this address is not used (kernel: mem=); 0: all"},
    {"memmap", CT_MEMMAP, 0, 0, 0, "firmware map in one line"},
    {"e820.#", CT_E820, 0, 0, MAX_MEM_RANGES - 1, "one range of the firmware map"},
    {"cpus", CT_CPUS, F(nr_cpus), 1, MAX_CPUS, "number of CPUs"},
    {"arch", CT_ARCH, F(pt_format), 0, 0, "page-table format"},
    {"memory_model", CT_MEMORY_MODEL, F(memory_model), 0, 0, "where the memmap lies"},
    {"content", CT_CONTENT, F(content), 0, 0, "what user frames hold"},
    {"numa.nodes", CT_NODES, F(nr_nodes), 1, MAX_NODES, "number of NUMA nodes; memory and CPUs are shared out equally"},
    {"numa.distance", CT_DISTANCE, 0, 10, 255, "the SLIT, row by row: 10,20,20,10"},
    {"numa.cpus.#", CT_NODE_CPUS, 0, 0, MAX_NODES - 1, "CPUs of one node: 0-3,8"},
    {"vm.min_free_kbytes", CT_U64, F(min_free_kbytes), 0, TIB(1) >> 10, "0: computed from the size of memory"},
    {"vm.watermark_scale_factor", CT_U32, F(watermark_scale_factor), 1, 3000,
     "distance of watermarks, 1/10000 of a zone"},
    {"vm.watermark_boost_factor", CT_U32, F(watermark_boost_factor), 0, U32_MAX,
     "reclaim boost after fragmentation, 1/10000"},
    {"vm.lowmem_reserve_ratio", CT_RATIOS, F(lowmem_reserve_ratio), 0, U32_MAX,
     "by zone: DMA DMA32 NORMAL HIGHMEM MOVABLE"},
    {"vm.percpu_pagelist_high_fraction", CT_U32, F(percpu_pagelist_high_fraction), 0, U32_MAX, "0: default sizes"},
    {"vm.overcommit_memory", CT_U32, F(overcommit_memory), 0, 2, "0 heuristic, 1 always, 2 never"},
    {"vm.overcommit_ratio", CT_U32, F(overcommit_ratio), 0, U32_MAX, "percent of RAM that may be committed in mode 2"},
    {"vm.overcommit_kbytes", CT_U64, F(overcommit_kbytes), 0, TIB(1), "the same in KiB; 0: overcommit_ratio counts"},
    {"vm.admin_reserve_kbytes", CT_U64, F(admin_reserve_kbytes), 0, TIB(1), "kept for root"},
    {"vm.user_reserve_kbytes", CT_U64, F(user_reserve_kbytes), 0, TIB(1), "kept for other processes in mode 2"},
    {"vm.max_map_count", CT_U32, F(max_map_count), 1, 0x7fffffff, "VMAs a process may have"},
    {"vm.memfd_noexec", CT_U32, F(memfd_noexec), 0, 2, "memfds: 0 executable by default, 1 not, 2 never"},
    {"kernel.shmmax", CT_U64, F(shmmax), 0, ~0ull, "bytes of one SysV segment"},
    {"kernel.shmall", CT_U64, F(shmall), 0, ~0ull, "pages of all SysV segments"},
    {"kernel.shmmni", CT_U64, F(shmmni), 0, 32768, "SysV segments"},
    {"vm.mmap_min_addr", CT_BYTES, F(mmap_min_addr), 0, MIB(1024), "lowest address that may be mapped"},
    {"lsm_mmap_min_addr", CT_BYTES, F(lsm_mmap_min_addr), 0, MIB(1024), "hints below it are moved up to it"},
    {"vm.legacy_va_layout", CT_BOOL, F(legacy_va_layout), 0, 1, "mmap searches upwards"},
    {"kernel.randomize_va_space", CT_U32, F(randomize_va_space), 0, 2, "0 none, 1 mmap and stack, 2 and heap"},
    {"vm.mmap_rnd_bits", CT_U32, F(mmap_rnd_bits), 0, 33, "random bits of the mmap base, in pages; 0: by architecture"},
    {"aslr_seed", CT_U64, F(aslr_seed), 0, ~0ull, "seed of the randomised layout"},
    {"stack_guard_gap", CT_U32, F(stack_guard_gap), 0, 65536, "pages below a stack that stay free"},
    {"fault_around_bytes", CT_BYTES, F(fault_around_bytes), PAGE_SIZE, MIB(2), "pages mapped around a file fault"},
    {"pkeys", CT_BOOL, F(pkeys), 0, 1, "the CPUs have protection keys (x86_64)"},
    {"anon_vma_name", CT_BOOL, F(anon_vma_name), 0, 1, "anonymous mappings can be given names (PR_SET_VMA_ANON_NAME)"},
    {"page_cache", CT_PAGE_CACHE, F(page_cache_warm), 0, 0, "are files cached when the run begins"},
    {"slub_debug", CT_SLUB_DEBUG, F(slub_debug), 0, 0, "F sanity checks, Z red zones, P poison, U owners; - none"},
    {"memory_failure", CT_BOOL, F(memory_failure), 0, 1, "madvise(MADV_HWPOISON) and MADV_SOFT_OFFLINE exist"},
    {"slab_nomerge", CT_BOOL, F(slab_nomerge), 0, 1, "each slab cache for itself"},
    {"tlb", CT_TLB, 0, 0, 0, "TLB model"},
    {"tlb.l1d.4k", CT_GEOMETRY, T(l1d_4k), 1, 0, "first-level data TLB, 4K pages"},
    {"tlb.l1d.2m", CT_GEOMETRY, T(l1d_2m), 0, 0, "2M pages (x86_32: 4M)"},
    {"tlb.l1d.1g", CT_GEOMETRY, T(l1d_1g), 0, 0, "1G pages"},
    {"tlb.l1i.4k", CT_GEOMETRY, T(l1i_4k), 1, 0, "first-level instruction TLB, 4K pages"},
    {"tlb.l1i.2m", CT_GEOMETRY, T(l1i_2m), 0, 0, "2M pages"},
    {"tlb.l2", CT_GEOMETRY, T(l2), 0, 0, "second level, 4K and 2M pages, data and instructions"},
    {"tlb.l2.1g", CT_GEOMETRY, T(l2_1g), 0, 0, "second level, 1G pages"},
    {"tlb.pwc.1", CT_GEOMETRY, T(pwc[0]), 0, 0, "page-walk cache: entries that point to level-1 tables"},
    {"tlb.pwc.2", CT_GEOMETRY, T(pwc[1]), 0, 0, "to level-2 tables"},
    {"tlb.pwc.3", CT_GEOMETRY, T(pwc[2]), 0, 0, "to level-3 tables"},
    {"tlb.asids", CT_U32, T(nr_asids), 1, 254, "address spaces a CPU keeps apart; 1: every switch flushes"},
    {"tlb.flush_ceiling", CT_U32, T(flush_ceiling), 0, U32_MAX, "pages; longer ranges flush everything"},
    {"disk.bandwidth", CT_BANDWIDTH, 0, KIB(64), TIB(1), "bytes per second; sets cost.disk_kb"},
#define X(id, key, ps, cause, source) {"cost." key, CT_COST, 0, id, 0, source},
    COSTS(X)
#undef X
};

u32 machine_config_nr_keys(void)
{
    return ARRAY_SIZE(keys);
}

const struct config_key *machine_config_key(u32 n)
{
    return &keys[n];
}

/* -- names --------------------------------------------------------------------------------------------------------- */

struct choice {
    const char *name;
    u32 value;
};

static const struct choice archs[] = {
    {"x86_64", PT_X86_64_4L},        {"x86_64-5level", PT_X86_64_5L}, {"x86_pae", PT_X86_PAE},
    {"x86_32", PT_X86_32},           {"arm64", PT_ARM64_4K},          {"riscv64-sv39", PT_RISCV_SV39},
    {"riscv64-sv48", PT_RISCV_SV48}, {"riscv64-sv57", PT_RISCV_SV57}, {NULL, 0},
};
static const struct choice memory_models[] = {
    {"flatmem", MEMORY_FLATMEM}, {"sparsemem_vmemmap", MEMORY_SPARSEMEM_VMEMMAP}, {NULL, 0}};
static const struct choice contents[] = {
    {"none", CONTENT_NONE}, {"full", CONTENT_FULL}, {"guest", CONTENT_GUEST}, {NULL, 0}};
static const struct choice cache_states[] = {{"cold", 0}, {"warm", 1}, {NULL, 0}};
static const struct choice tlb_models[] = {{"exact", 0}, {NULL, 0}};
static const struct choice bools[] = {{"0", 0}, {"1", 1}, {NULL, 0}};
static const struct choice e820_types[] = {
    {"usable", E820_RAM},        {"reserved", E820_RESERVED}, {"ACPI", E820_ACPI}, {"NVS", E820_NVS},
    {"unusable", E820_UNUSABLE}, {"pmem", E820_PMEM},         {NULL, 0},
};
static const struct choice debug_letters[] = {
    {"F", SLAB_CONSISTENCY_CHECKS}, {"Z", SLAB_RED_ZONE}, {"P", SLAB_POISON}, {"U", SLAB_STORE_USER}, {NULL, 0}};

static const struct choice *choices_of(const struct config_key *k)
{
    switch (k->type) {
    case CT_ARCH:
        return archs;
    case CT_MEMORY_MODEL:
        return memory_models;
    case CT_CONTENT:
        return contents;
    case CT_PAGE_CACHE:
        return cache_states;
    case CT_TLB:
        return tlb_models;
    case CT_BOOL:
        return bools;
    default:
        return NULL;
    }
}

static bool choice_find(const struct choice *ch, const char *s, size_t n, u32 *value)
{
    for (; ch->name; ch++)
        if (text_eq(ch->name, s, n)) {
            *value = ch->value;
            return true;
        }
    return false;
}

static const char *choice_name(const struct choice *ch, u32 value)
{
    for (; ch->name; ch++)
        if (ch->value == value)
            return ch->name;
    return "?";
}

/* -- pieces of a value --------------------------------------------------------------------------------------------- */

static bool is_separator(char ch)
{
    return ch == ' ' || ch == '\t' || ch == ',';
}

/* The next word of [*s, end); false: there is none. */
static bool next_word(const char **s, const char *end, const char **word, size_t *len)
{
    while (*s < end && is_separator(**s))
        ++*s;
    *word = *s;
    while (*s < end && !is_separator(**s))
        ++*s;
    *len = (size_t)(*s - *word);
    return *len > 0;
}

static size_t find_char(const char *s, size_t n, const char *set)
{
    for (size_t i = 0; i < n; i++)
        for (const char *p = set; *p; p++)
            if (s[i] == *p)
                return i;
    return n;
}

static bool store_number(void *field, const struct config_key *k, u64 value)
{
    if (value < k->min || value > k->max)
        return false;
    if (k->type == CT_U32 || k->type == CT_CPUS || k->type == CT_NODES)
        *(u32 *)field = (u32)value;
    else
        *(u64 *)field = value;
    return true;
}

/* "16x4": sets times ways, "0": absent. min 1: it must be there. */
static bool store_geometry(struct tlb_geometry *g, const struct config_key *k, const char *s, size_t n)
{
    size_t x = find_char(s, n, "x");
    u64 sets, ways;

    if (text_eq("0", s, n) && !k->min) {
        *g = (struct tlb_geometry){0, 0};
        return true;
    }
    if (x == n || !text_to_u64(s, x, &sets) || !text_to_u64(s + x + 1, n - x - 1, &ways))
        return false;
    if (!sets || sets > 65536 || (sets & (sets - 1)) || !ways || ways > 4096)
        return false;
    *g = (struct tlb_geometry){(u32)sets, (u32)ways};
    return true;
}

static bool store_ratios(struct machine_config *c, const char *s, const char *end)
{
    u32 ratio[6] = {0};
    const char *word;
    size_t len;
    u64 value;
    u32 n = 0;

    while (next_word(&s, end, &word, &len)) {
        if (n == 6 || !text_to_u64(word, len, &value) || value > U32_MAX)
            return false;
        ratio[n++] = (u32)value;
    }
    for (u32 i = 0; i < n; i++)
        c->lowmem_reserve_ratio[i] = ratio[i];
    return n > 0;
}

static bool store_distance(struct machine_config *c, const char *s, const char *end)
{
    u8 d[MAX_NODES * MAX_NODES];
    u32 n = 0, want = c->nr_nodes * c->nr_nodes;
    const char *word;
    size_t len;
    u64 value;

    while (next_word(&s, end, &word, &len)) {
        if (n == want || !text_to_u64(word, len, &value) || value < 10 || value > 255)
            return false;
        d[n++] = (u8)value;
    }
    if (n != want)
        return false;
    for (u32 i = 0; i < want; i++)
        c->node_distance[i / c->nr_nodes][i % c->nr_nodes] = d[i];
    return true;
}

static bool store_node_cpus(struct machine_config *c, u32 nid, const char *s, const char *end)
{
    s16 node[MAX_CPUS];
    const char *word;
    size_t len;

    if (nid >= c->nr_nodes || s == end)
        return false;
    memcpy(node, c->cpu_node, sizeof(node));
    while (next_word(&s, end, &word, &len)) {
        size_t dash = find_char(word, len, "-");
        u64 first, last;

        if (!text_to_u64(word, dash, &first))
            return false;
        last = first;
        if (dash < len && !text_to_u64(word + dash + 1, len - dash - 1, &last))
            return false;
        if (first > last || last >= c->nr_cpus)
            return false;
        while (first <= last)
            node[first++] = (s16)nid;
    }
    memcpy(c->cpu_node, node, sizeof(node));
    return true;
}

/* The map is given range by range from here on. */
static void map_by_hand(struct machine_config *c)
{
    if (c->mem_bytes)
        c->nr_ranges = 0;
    c->mem_bytes = 0;
}

static bool e820_option(struct mem_range *r, const char *word, size_t len)
{
    u64 nid;

    if (text_eq("hotplug", word, len))
        r->hotplug = true;
    else if (text_eq("mirror", word, len))
        r->mirror = true;
    else if (len > 5 && !memcmp(word, "node=", 5) && text_to_u64(word + 5, len - 5, &nid) && nid < MAX_NODES)
        r->nid = (s16)nid;
    else
        return false;
    return true;
}

static bool store_e820(struct machine_config *c, u32 number, const char *s, const char *end)
{
    struct mem_range r = {.nid = -1};
    const char *word;
    size_t len, dash;
    u64 last;
    u32 type;

    if (number >= MAX_MEM_RANGES || !next_word(&s, end, &word, &len))
        return false;
    dash = find_char(word, len, "-");
    if (dash == len || !text_to_bytes(word, dash, &r.start) || !text_to_bytes(word + dash + 1, len - dash - 1, &last))
        return false;
    if (last <= r.start || !next_word(&s, end, &word, &len) || !choice_find(e820_types, word, len, &type))
        return false;
    while (next_word(&s, end, &word, &len))
        if (!e820_option(&r, word, len))
            return false;
    r.size = last - r.start + 1;
    r.type = (u16)type;
    map_by_hand(c);
    for (u32 i = c->nr_ranges; i <= number; i++)
        c->range[i] = (struct mem_range){.type = E820_RESERVED, .nid = -1};
    c->range[number] = r;
    c->nr_ranges = MAX(c->nr_ranges, number + 1);
    return true;
}

static bool store_memmap(struct machine_config *c, const char *s, const char *end)
{
    struct mem_range r[MAX_MEM_RANGES];
    const char *word;
    size_t len;
    u32 n = 0;

    while (next_word(&s, end, &word, &len)) {
        size_t at = find_char(word, len, "@$#!");
        u64 size, start;

        if (n == MAX_MEM_RANGES || at == len || !text_to_bytes(word, at, &size) || !size ||
            !text_to_bytes(word + at + 1, len - at - 1, &start) || start + size < start)
            return false;
        r[n++] = (struct mem_range){
            .start = start,
            .size = size,
            .nid = -1,
            .type = word[at] == '@'   ? E820_RAM
                    : word[at] == '$' ? E820_RESERVED
                    : word[at] == '#' ? E820_ACPI
                                      : E820_PMEM,
        };
    }
    if (!n)
        return false;
    map_by_hand(c);
    memcpy(c->range, r, n * sizeof(r[0]));
    c->nr_ranges = n;
    return true;
}

static bool store_slub_debug(struct machine_config *c, const char *s, size_t n)
{
    u32 flags = 0, bit;

    if (!text_eq("-", s, n))
        for (size_t i = 0; i < n; i++) {
            if (!choice_find(debug_letters, s + i, 1, &bit))
                return false;
            flags |= bit;
        }
    c->slub_debug = flags;
    return n > 0;
}

static bool store_choice(struct machine_config *c, const struct config_key *k, const char *s, size_t n)
{
    char *field = (char *)c + k->offset;
    u32 value;

    if (!choice_find(choices_of(k), s, n, &value))
        return false;
    if (k->type == CT_BOOL || k->type == CT_PAGE_CACHE)
        *(bool *)field = value;
    else if (k->type != CT_TLB)
        *(u32 *)(void *)field = value;
    if (k->type == CT_ARCH && c->mem_bytes)
        machine_config_layout(c);
    return true;
}

/* mem, cpus, numa.nodes: the layout follows. */
static bool store_and_layout(struct machine_config *c, const struct config_key *k, u64 value)
{
    if (!store_number((char *)c + k->offset, k, value))
        return false;
    machine_config_layout(c);
    return true;
}

bool config_key_store(struct machine_config *c, const struct config_key *k, u32 number, const char *s, size_t n)
{
    void *field = (char *)c + k->offset;
    u64 value;

    switch (k->type) {
    case CT_U32:
    case CT_U64:
        return text_to_u64(s, n, &value) && store_number(field, k, value);
    case CT_BYTES:
        return text_to_bytes(s, n, &value) && store_number(field, k, value);
    case CT_MEM:
        return text_to_bytes(s, n, &value) && store_and_layout(c, k, ALIGN_DOWN(value, MIB(4)));
    case CT_CPUS:
    case CT_NODES:
        return text_to_u64(s, n, &value) && store_and_layout(c, k, value);
    case CT_NAME:
        if (n < k->min || n > k->max)
            return false;
        memcpy(field, s, n);
        ((char *)field)[n] = 0;
        return true;
    case CT_GEOMETRY:
        return store_geometry(field, k, s, n);
    case CT_COST:
        return text_to_thousandths(s, n, &c->cost_ps[k->min]);
    case CT_BANDWIDTH:
        if (!text_to_bytes(s, n, &value) || value < k->min || value > k->max)
            return false;
        c->cost_ps[COST_DISK_KB] = 1024ull * 1000000000000ull / value;
        return true;
    case CT_RATIOS:
        return store_ratios(c, s, s + n);
    case CT_SLUB_DEBUG:
        return store_slub_debug(c, s, n);
    case CT_DISTANCE:
        return store_distance(c, s, s + n);
    case CT_NODE_CPUS:
        return store_node_cpus(c, number, s, s + n);
    case CT_E820:
        return store_e820(c, number, s, s + n);
    case CT_MEMMAP:
        return store_memmap(c, s, s + n);
    default:
        return store_choice(c, k, s, n);
    }
}

/* -- description and value as text --------------------------------------------------------------------------------- */

static void form_choices(const struct choice *ch, struct text *t)
{
    text_str(t, "one of");
    for (; ch->name; ch++) {
        text_char(t, ' ');
        text_str(t, ch->name);
    }
}

void machine_config_form(const struct config_key *k, struct text *t)
{
    static const char *const forms[] = {
        [CT_NAME] = "1 to 63 characters",
        [CT_GEOMETRY] = "SETSxWAYS with a power of two of sets, such as 16x4",
        [CT_COST] = "nanoseconds with up to three decimals, such as 2.3",
        [CT_RATIOS] = "up to six numbers",
        [CT_SLUB_DEBUG] = "letters of F Z P U, or -",
        [CT_DISTANCE] = "numa.nodes times numa.nodes numbers from 10 to 255",
        [CT_NODE_CPUS] = "a list of CPUs such as 0-3,8, for a node below numa.nodes",
        [CT_E820] = "FIRST-LAST usable|reserved|ACPI|NVS|unusable|pmem [node=N] [hotplug] [mirror]",
        [CT_MEMMAP] = "a list of SIZE@START (RAM), SIZE$START (reserved), SIZE#START (ACPI), SIZE!START (pmem)",
        [CT_BANDWIDTH] = "",
    };

    if (choices_of(k)) {
        form_choices(choices_of(k), t);
    } else if (k->type == CT_BYTES || k->type == CT_MEM || k->type == CT_BANDWIDTH) {
        text_str(t, "a size such as 4G, from ");
        text_bytes(t, k->min);
        text_str(t, " to ");
        text_bytes(t, k->max);
    } else if (k->type < ARRAY_SIZE(forms) && forms[k->type]) {
        text_str(t, forms[k->type]);
        if (k->type == CT_GEOMETRY && !k->min)
            text_str(t, ", or 0 for none");
    } else {
        text_str(t, "a number from ");
        text_u64(t, k->min);
        text_str(t, " to ");
        text_u64(t, k->max);
    }
}

static void get_list(const struct machine_config *c, const struct config_key *k, struct text *t)
{
    u32 n = k->type == CT_RATIOS ? 6 : c->nr_nodes * c->nr_nodes;

    for (u32 i = 0; i < n; i++) {
        if (i)
            text_char(t, ',');
        text_u64(t, k->type == CT_RATIOS ? c->lowmem_reserve_ratio[i]
                                         : c->node_distance[i / c->nr_nodes][i % c->nr_nodes]);
    }
}

static void get_memmap(const struct machine_config *c, struct text *t)
{
    for (u32 i = 0; i < c->nr_ranges; i++) {
        const struct mem_range *r = &c->range[i];

        if (i)
            text_char(t, ',');
        text_bytes(t, r->size);
        text_char(t, r->type == E820_RAM ? '@' : r->type == E820_ACPI ? '#' : r->type == E820_PMEM ? '!' : '$');
        text_hex(t, r->start);
    }
}

static void get_slub_debug(u32 flags, struct text *t)
{
    if (!flags)
        text_char(t, '-');
    for (const struct choice *ch = debug_letters; ch->name; ch++)
        if (flags & ch->value)
            text_str(t, ch->name);
}

static void get_geometry(const struct tlb_geometry *g, struct text *t)
{
    text_u64(t, g->sets);
    if (!g->sets)
        return;
    text_char(t, 'x');
    text_u64(t, g->ways);
}

bool machine_config_get(const struct machine_config *c, const struct config_key *k, struct text *t)
{
    const void *field = (const char *)c + k->offset;

    switch (k->type) {
    case CT_U32:
    case CT_CPUS:
    case CT_NODES:
        text_u64(t, *(const u32 *)field);
        return true;
    case CT_U64:
        text_u64(t, *(const u64 *)field);
        return true;
    case CT_BYTES:
    case CT_MEM:
        text_bytes(t, *(const u64 *)field);
        return k->type == CT_BYTES || *(const u64 *)field;
    case CT_BOOL:
    case CT_PAGE_CACHE:
        text_str(t, choice_name(choices_of(k), *(const bool *)field));
        return true;
    case CT_ARCH:
    case CT_MEMORY_MODEL:
    case CT_CONTENT:
        text_str(t, choice_name(choices_of(k), *(const u32 *)field));
        return true;
    case CT_TLB:
        text_str(t, "exact");
        return true;
    case CT_NAME:
        text_str(t, field);
        return true;
    case CT_GEOMETRY:
        get_geometry(field, t);
        return true;
    case CT_COST:
        text_thousandths(t, c->cost_ps[k->min]);
        return true;
    case CT_RATIOS:
    case CT_DISTANCE:
        get_list(c, k, t);
        return true;
    case CT_MEMMAP:
        get_memmap(c, t);
        return true;
    case CT_SLUB_DEBUG:
        get_slub_debug(c->slub_debug, t);
        return true;
    default:
        return false;
    }
}
