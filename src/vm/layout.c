/* SPDX-License-Identifier: MIT */
/*
 * Where a new program's parts lie: the bases that mmap searches from, the stack's top, a position-independent program,
 * the heap.
 *
 *     0   ET_EXEC   PIE ▶ 2/3        brk ▶              ◀ mmap_base │ gap │ ◀ stack        stack_top
 *     ├──────┼───────┼────────────────┼──────────────────────┼───────┼───────────────────────┤
 *                                                             gap: RLIMIT_STACK + stack_guard_gap + what randomisation
 *                                                             may take of the stack, within [128M, 5/6 of the window]
 *
 * legacy layout (bottom-up from window / 3, arm64: / 4): vm.legacy_va_layout, personality ADDR_COMPAT_LAYOUT; but for
 * x86 also with an unlimited stack.
 *
 * Randomisation (kernel.randomize_va_space, personality ADDR_NO_RANDOMIZE): each value is drawn from the machine's seed
 * and the number of the address space, so a run repeats exactly. Bits, in pages:
 *                 x86-64        arm64, riscv   32 bits
 *   mmap base     28            18             8         vm.mmap_rnd_bits
 *   stack top     22            18             11
 *   in the stack  8 KiB in steps of 16 bytes
 *   heap          up to 1 GiB   1 GiB          32 MiB    only with randomize_va_space = 2; then with a page before it
 *
 * Follows Documentation/admin-guide/sysctl/kernel.rst and vm.rst, Documentation/arch/x86/x86_64/mm.rst, personality(2),
 * and what 6.18 shows in /proc/PID/maps.
 */
#include "vm/fork.h"
#include "vm/vma.h"

#define KIB(n) ((u64)(n) << 10)
#define MIB(n) ((u64)(n) << 20)
#define GIB(n) ((u64)(n) << 30)
#define GAP_MIN MIB(128)

struct layout_rules {
    u32 mmap_rnd_bits;
    u64 stack_rnd_mask; /* pages */
    u32 unmapped_divisor;
    u64 brk_range; /* bytes */
    bool unlimited_is_legacy;
    bool window_47; /* more than 47 bits only for those who ask */
};

static const struct layout_rules rules_32 = {8, 0x7ff, 3, MIB(32), false, false};
static const struct layout_rules rules_x86_64 = {28, 0x3fffff, 3, GIB(1), false, true};
static const struct layout_rules rules_arm64 = {18, 0x3ffff, 4, GIB(1), true, false};
static const struct layout_rules rules_riscv = {18, 0x3ffff, 3, GIB(1), true, true};

static const struct layout_rules *rules_of(const struct machine *m)
{
    switch (m->config.pt_format) {
    case PT_X86_32:
    case PT_X86_PAE:
        return &rules_32;
    case PT_X86_64_4L:
    case PT_X86_64_5L:
        return &rules_x86_64;
    case PT_ARM64_4K:
        return &rules_arm64;
    default:
        return &rules_riscv;
    }
}

/* End of what is handed out without being asked for more. */
va_t default_map_window(const struct mm *mm)
{
    const struct machine *m = mm->m;
    va_t window = (va_t)1 << 47;

    if (!rules_of(m)->window_47)
        return mm->task_size;
    if (m->config.pt_format == PT_X86_64_4L || m->config.pt_format == PT_X86_64_5L)
        window -= PAGE_SIZE;
    return MIN(mm->task_size, window);
}

/* -- random numbers ------------------------------------------------------------------------------------------------ */

/* splitmix64: well-mixed numbers from consecutive ones. */
static u64 mix(u64 z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

u64 mm_random(const struct mm *mm, enum mm_random_use use)
{
    return mm->randomize ? mix(mm->m->config.aslr_seed + (mm->ctx_id * 8 + (u64)use) * 0x9e3779b97f4a7c15ull) : 0;
}

u64 mm_random_next(struct mm *mm)
{
    return mm->randomize ? mix(mm_random(mm, RANDOM_CALLS) + ++mm->nr_random * 0x9e3779b97f4a7c15ull) : 0;
}

/* -- mmap ---------------------------------------------------------------------------------------------------------- */

static u64 mmap_rnd(const struct mm *mm, enum mm_random_use use)
{
    u32 bits = mm->m->config.mmap_rnd_bits;

    if (!bits)
        bits = rules_of(mm->m)->mmap_rnd_bits;
    return (mm_random(mm, use) & (BIT(bits) - 1)) << PAGE_SHIFT;
}

static bool mmap_is_legacy(const struct mm *mm, u64 stack_rlimit, u32 personality)
{
    return (personality & ADDR_COMPAT_LAYOUT_) || mm->m->config.legacy_va_layout ||
           (stack_rlimit == RLIM_INFINITY_ && rules_of(mm->m)->unlimited_is_legacy);
}

void arch_pick_mmap_layout(struct mm *mm, u64 stack_rlimit, u32 personality)
{
    const struct machine_config *c = &mm->m->config;
    const struct layout_rules *r = rules_of(mm->m);
    u64 gap = stack_rlimit, pad = (u64)c->stack_guard_gap << PAGE_SHIFT, window, rnd;

    mm->task_size = pt_task_size(pt_format_of(mm->m));
    mm->randomize = c->randomize_va_space && !(personality & ADDR_NO_RANDOMIZE_);
    window = default_map_window(mm);
    rnd = mmap_rnd(mm, RANDOM_MMAP);
    if (mm->randomize)
        pad += r->stack_rnd_mask << PAGE_SHIFT;
    if (gap + pad > gap)
        gap += pad;
    gap = MAX(gap, GAP_MIN);
    gap = MIN(gap, window / 6 * 5);
    mm->mmap_base = ALIGN_UP(window - gap - rnd, PAGE_SIZE);
    mm->mmap_legacy_base = ALIGN_UP(window / r->unmapped_divisor, PAGE_SIZE) + rnd;
    mm->topdown = !mmap_is_legacy(mm, stack_rlimit, personality);
    if (!mm->topdown)
        mm->mmap_base = mm->mmap_legacy_base;
}

/* -- stack, program, heap ------------------------------------------------------------------------------------------ */

va_t randomize_stack_top(const struct mm *mm)
{
    u64 pages = mm_random(mm, RANDOM_STACK) & rules_of(mm->m)->stack_rnd_mask;

    return ALIGN_DOWN(default_map_window(mm), PAGE_SIZE) - (pages << PAGE_SHIFT);
}

va_t arch_align_stack(const struct mm *mm, va_t sp, enum mm_random_use use)
{
    return ALIGN_DOWN(sp - mm_random(mm, use) % KIB(8), 16);
}

va_t elf_et_dyn_window(const struct mm *mm)
{
    return default_map_window(mm) / 3 * 2;
}

va_t elf_et_dyn_base(const struct mm *mm, u64 align)
{
    return ALIGN_DOWN(elf_et_dyn_window(mm) + mmap_rnd(mm, RANDOM_PROGRAM), MAX(align, PAGE_SIZE));
}

bool brk_is_randomized(const struct mm *mm)
{
    return mm->randomize && mm->m->config.randomize_va_space >= 2;
}

va_t arch_randomize_brk(const struct mm *mm, va_t start)
{
    u64 pages = rules_of(mm->m)->brk_range >> PAGE_SHIFT;

    if (!brk_is_randomized(mm))
        return start;
    return start + (mm_random(mm, RANDOM_BRK) % pages << PAGE_SHIFT);
}
