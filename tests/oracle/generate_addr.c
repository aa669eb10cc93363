/* SPDX-License-Identifier: MIT */
/* Addresses and lengths: mostly in the arena, often at the edges of mappings, sometimes where nothing can be. */
#include "tests/oracle/generate.h"

u64 pick(struct generator *g, u64 below)
{
    u64 x = g->state;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    g->state = x;
    return (x >> 11) % below;
}

bool chance(struct generator *g, u32 percent)
{
    return pick(g, 100) < percent;
}

struct mm *gen_mm(struct generator *g)
{
    return g->v->proc[g->proc]->mm;
}

static va_t edge_of_mapping(struct generator *g)
{
    struct mm *mm = gen_mm(g);
    struct vm_area_struct *vma = vma_first(mm);
    va_t at;

    for (u64 n = mm->map_count ? pick(g, mm->map_count) : 0; vma && n; n--)
        vma = vma_next(vma);
    if (!vma)
        return ORACLE_ARENA;
    at = chance(g, 50) ? vma->vm_start : vma->vm_end;
    return at + (pick(g, 5) - 2) * PAGE_SIZE;
}

static va_t odd_place(struct generator *g)
{
    struct mm *mm = gen_mm(g);
    u64 min = mm->m->config.mmap_min_addr;
    const va_t places[] = {0,
                           PAGE_SIZE,
                           min,
                           min - PAGE_SIZE,
                           min + PAGE_SIZE,
                           mm->task_size,
                           mm->task_size - PAGE_SIZE,
                           mm->task_size + PAGE_SIZE,
                           1ul << 47,
                           1ul << 55,
                           1ul << 63,
                           (u64)-PAGE_SIZE,
                           0xffff800000000000ul,
                           mm->mmap_base,
                           mm->mmap_base - 64 * PAGE_SIZE,
                           mm->mmap_legacy_base,
                           1ul << 30,
                           1ul << 31};

    return PICK(g, places);
}

/* Mostly where one begins. */
static va_t huge_page(struct generator *g)
{
    va_t at = ORACLE_HUGE_ARENA + pick(g, ORACLE_HUGE_PAGES) * ORACLE_HUGE_PAGE;

    return chance(g, 70) ? at : chance(g, 50) ? at + (pick(g, 3) - 1) * PAGE_SIZE : at + pick(g, 512) * PAGE_SIZE;
}

bool in_huge_arena(va_t addr)
{
    return addr >= ORACLE_HUGE_ARENA - PAGE_SIZE && addr < ORACLE_HUGE_ARENA + ORACLE_HUGE_PAGES * ORACLE_HUGE_PAGE;
}

va_t some_page(struct generator *g)
{
    struct mm *mm = gen_mm(g);
    u64 r = pick(g, 1000);

    if (g->huge && chance(g, 20))
        return huge_page(g);
    if (r < 760)
        return ORACLE_ARENA + pick(g, g->arena_pages) * PAGE_SIZE;
    if (r < 930)
        return edge_of_mapping(g);
    if (r < 955)
        return ALIGN_UP(mm->start_brk, PAGE_SIZE) + pick(g, 24) * PAGE_SIZE;
    if (r < 965)
        return (mm->start_stack & PAGE_MASK) - pick(g, 48) * PAGE_SIZE;
    if (r < 985)
        return mm->mmap_base - pick(g, 64) * PAGE_SIZE;
    return odd_place(g);
}

va_t some_addr(struct generator *g)
{
    return some_page(g) + (chance(g, 2) ? 1 + pick(g, PAGE_SIZE - 1) : 0);
}

u64 some_len(struct generator *g)
{
    static const u64 odd[] = {0,       1,         PAGE_SIZE - 1, PAGE_SIZE + 1, (u64)-PAGE_SIZE,
                              (u64)-1, 1ul << 42, 1ul << 47,     1ul << 63};
    u64 r = pick(g, 1000);

    if (r < 620)
        return (1 + pick(g, 6)) * PAGE_SIZE;
    if (r < 920)
        return (1 + pick(g, 32)) * PAGE_SIZE;
    if (r < 950)
        return (1 + pick(g, g->arena_pages)) * PAGE_SIZE;
    if (r < 985)
        return 1 + pick(g, 8 * PAGE_SIZE);
    return PICK(g, odd);
}

bool range_allowed(struct generator *g, va_t addr, u64 len)
{
    va_t start = addr & PAGE_MASK, end = addr + len;

    if (end < addr || end > ALIGN_DOWN((u64)-1, PAGE_SIZE))
        return true; /* no call takes that */
    end = MIN(ALIGN_UP(end, PAGE_SIZE), (u64)(-2 * PAGE_SIZE)) + PAGE_SIZE;
    return !model_own(g->v, start, end);
}

bool huge_range_allowed(struct generator *g, va_t addr, u64 len)
{
    if (g->huge && len < 1ul << 47)
        len = ALIGN_UP(len, 1ul << 30);
    return range_allowed(g, addr, len);
}

/* Ranges may go on at 0. */
static bool overlaps(const struct vm_area_struct *vma, va_t addr, u64 len)
{
    if (addr + len < addr)
        return vma->vm_end > addr || vma->vm_start < addr + len;
    return vma->vm_end > addr && vma->vm_start < addr + len;
}

bool range_readable(struct generator *g, va_t addr, u64 len)
{
    struct vm_area_struct *vma;

    if (!range_allowed(g, addr, len))
        return false;
    for (u32 i = 0; i < ORACLE_PROCS; i++) {
        if (!g->v->proc[i])
            continue;
        for_each_vma (vma, g->v->proc[i]->mm)
            if (vma->vm_ops == VM_OPS_SPECIAL && overlaps(vma, addr, len))
                return false;
    }
    return true;
}
