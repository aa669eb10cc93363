/* SPDX-License-Identifier: MIT */
/*
 * Wrong arguments, one or two at a time, in a call that made sense: which of them the kernel names first, what it takes
 * for 32 bits, what for 64, where a range wraps.
 *
 *   a  address    l  length    u  64 bits    i  32 bits: the upper half plays no role    h  the same, its value stays
 *   n  elements of a vector: not more than are there, or too many
 *   s  descriptor, pid, id     p  pointer to bytes      -  left alone
 */
#include "tests/oracle/generate.h"

#include <string.h>

#define ODD_PERCENT 6
#define SMALL_BYTES (32 * PAGE_SIZE)

static const char *const kinds[NR_ABI_CALLS] = {
    [ABI_mmap] = "aluusu",
    [ABI_munmap] = "al",
    [ABI_mremap] = "allua",
    [ABI_mprotect] = "alu",
    [ABI_pkey_mprotect] = "alui",
    [ABI_pkey_alloc] = "uu",
    [ABI_pkey_free] = "i",
    [ABI_remap_file_pages] = "aluuu",
    [ABI_mseal] = "alu",
    [ABI_madvise] = "ali",
    [ABI_process_madvise] = "spnii",
    [ABI_mlock] = "al",
    [ABI_mlock2] = "ali",
    [ABI_munlock] = "al",
    [ABI_mlockall] = "i",
    [ABI_mincore] = "alp",
    [ABI_msync] = "ali",
    [ABI_membarrier] = "iii",
    [ABI_process_vm_readv] = "spnpnu",
    [ABI_process_vm_writev] = "spnpnu",
    [ABI_shmget] = "-ui",
    [ABI_shmctl] = "shp",
    [ABI_shmat] = "sai",
    [ABI_shmdt] = "a",
    [ABI_memfd_create] = "pi",
    [ABI_fcntl] = "shi",
    [ABI_ftruncate] = "su",
    [ABI_fallocate] = "siuu",
    [ABI_prctl] = "hhuuu",
    [ABI_getrlimit] = "hp",
    [ABI_setrlimit] = "hp",
    [ABI_prlimit64] = "shpp",
};

static u64 odd_value(struct generator *g)
{
    const u64 task_size = gen_mm(g)->task_size;
    const u64 values[] = {0,
                          1,
                          2,
                          ~0ull,
                          (u64)-PAGE_SIZE,
                          PAGE_SIZE - 1,
                          PAGE_SIZE,
                          0x7fffffff,
                          0x80000000,
                          0xffffffff,
                          1ull << 32,
                          (1ull << 32) + PAGE_SIZE,
                          1ull << 63,
                          (1ull << 63) - 1,
                          (1ull << 63) - PAGE_SIZE,
                          task_size,
                          task_size - 1,
                          task_size - PAGE_SIZE,
                          task_size + PAGE_SIZE,
                          1ull << 47};

    return PICK(g, values);
}

static u64 upper_half(struct generator *g, u64 low)
{
    static const u64 high[] = {1ull << 32, 1ull << 63, 0xffffffff00000000ull, 1ull << 52};

    return (low & 0xffffffff) | PICK(g, high);
}

static u64 odd_int(struct generator *g, u64 v)
{
    static const u64 values[] = {0, ~0ull, 0x7fffffff, 0x80000000, 0xffffffff};

    return chance(g, 50) ? upper_half(g, v) : chance(g, 60) ? v ^ 1ull << pick(g, 32) : PICK(g, values);
}

static u64 odd_long(struct generator *g, u64 v)
{
    return chance(g, 30) ? v ^ 1ull << pick(g, 64) : chance(g, 30) ? v + pick(g, 3) - 1 : odd_value(g);
}

static u64 odd_count(struct generator *g, u64 v)
{
    static const u64 values[] = {0, 1025, 0x7fffffff, ~0ull, 1ull << 63, 1ull << 32};

    return chance(g, 50) ? upper_half(g, v) : PICK(g, values);
}

/* A place without bytes; where the kernel writes, sometimes one in the arena. */
static void odd_pointer(struct generator *g, struct oracle_op *op, u32 arg)
{
    const u64 task_size = gen_mm(g)->task_size;
    const u64 nowhere[] = {0, 8, ~0ull, ~7ull, 1ull << 63, task_size, task_size - 8, task_size - 1};
    bool times = op->nr == ABI_shmctl; /* and pids, which nobody may read: a page may be mapped at 0 */
    bool out = op->argkind[arg] == ORACLE_OUTPUT && !times;
    u32 first = times ? 2 : 0;

    op->argkind[arg] = ORACLE_VALUE;
    op->arg[arg] = out && chance(g, 50) ? ORACLE_ARENA + pick(g, g->arena_pages * PAGE_SIZE)
                                        : nowhere[first + pick(g, ARRAY_SIZE(nowhere) - first)];
}

static void odd_slot(struct generator *g, struct oracle_op *op, u32 arg)
{
    static const u64 none[] = {~0ull, 0x7fffffff, 0x80000000, 0xffffffff, ~0ull << 32 | 0x7fffffff};

    if (op->argkind[arg] == ORACLE_KEY)
        return;
    op->argkind[arg] = ORACLE_VALUE;
    op->arg[arg] = PICK(g, none);
}

static void odd_arg(struct generator *g, struct oracle_op *op, u32 arg, char kind)
{
    u64 *v = &op->arg[arg];

    if (op->argkind[arg] != ORACLE_VALUE && kind != 's' && kind != 'p')
        return;
    switch (kind) {
    case 'a':
        *v = chance(g, 50) ? odd_long(g, *v) : some_addr(g);
        break;
    case 'l':
        *v = chance(g, 70) ? odd_long(g, *v) : some_len(g);
        break;
    case 'u':
        *v = odd_long(g, *v);
        break;
    case 'n':
        *v = odd_count(g, *v);
        break;
    case 'i':
        *v = odd_int(g, *v);
        break;
    case 'h':
        *v = upper_half(g, *v);
        break;
    case 's':
        odd_slot(g, op, arg);
        break;
    case 'p':
        odd_pointer(g, op, arg);
        break;
    default:
        break;
    }
}

/* -- what the host survives ---------------------------------------------------------------------------------------- */

static bool is_small(u64 len, const struct mm *mm)
{
    return len <= SMALL_BYTES || len > mm->task_size;
}

/* No mapping that a later mlockall() could fill memory with; what is longer is refused if it is accounted. */
static bool size_allowed(u64 len)
{
    return len <= (64ul << 20) || len >= (1ul << 40);
}

static bool mmap_allowed(struct generator *g, const struct oracle_op *op)
{
    u64 flags = op->arg[3];
    bool fills = flags & (MAP_LOCKED_ | MAP_POPULATE_) || (gen_mm(g)->def_flags & VM_LOCKED);

    if ((!g->host->droppable && (flags & 8)) || (flags & MAP_HUGETLB_ && !g->huge))
        return false;
    if (!op->arg[0] && (flags & MAP_FIXED_))
        return false;
    return (!fills || is_small(op->arg[1], gen_mm(g))) && size_allowed(op->arg[1]) &&
           huge_range_allowed(g, op->arg[0], op->arg[1]);
}

static bool mremap_allowed(struct generator *g, const struct oracle_op *op)
{
    if (op->arg[1] > (64ul << 20) && op->arg[1] < (1ul << 48))
        return false; /* make_mremap() */
    if (gen_mm(g)->locked_vm && op->arg[2] > (1ul << 20))
        return false;
    return size_allowed(op->arg[2]) && huge_range_allowed(g, op->arg[0], op->arg[2]) &&
           huge_range_allowed(g, op->arg[4], op->arg[2]);
}

/* Nothing that fills memory or a disk, and no file that takes long to read. */
static bool file_allowed(struct generator *g, const struct oracle_op *op)
{
    u64 end = op->arg[2] + op->arg[3];

    if (op->nr == ABI_ftruncate)
        return (s64)op->arg[1] < 0 || op->arg[1] <= SMALL_BYTES;
    return (s64)op->arg[2] < 0 || (s64)op->arg[3] <= 0 || (s64)end < 0 || end <= SMALL_BYTES;
}

static bool odd_allowed(struct generator *g, const struct oracle_op *op)
{
    switch (op->nr) {
    case ABI_mmap:
        return mmap_allowed(g, op);
    case ABI_mremap:
        return range_allowed(g, op->arg[0], op->arg[1]) && mremap_allowed(g, op);
    case ABI_madvise:
        return madvise_allowed(g, op);
    case ABI_process_madvise:
        return process_madvise_allowed(g, op);
    case ABI_mlock:
    case ABI_mlock2:
    case ABI_munlock:
    case ABI_mseal:
        return is_small(op->arg[1], gen_mm(g)) && range_allowed(g, op->arg[0], op->arg[1]);
    case ABI_mincore:
        return mincore_allowed(g, op);
    case ABI_mprotect:
    case ABI_pkey_mprotect:
        return size_allowed(op->arg[1]) && range_allowed(g, op->arg[0], op->arg[1]);
    case ABI_munmap:
    case ABI_remap_file_pages:
    case ABI_msync:
        return range_allowed(g, op->arg[0], op->arg[1]);
    case ABI_shmat:
        return huge_range_allowed(g, op->arg[1], 16 * PAGE_SIZE);
    case ABI_shmdt:
        return range_allowed(g, op->arg[0], 1);
    case ABI_shmget:
        return (op->arg[1] < (1ul << 24) || op->arg[1] > (1ul << 60)) && (!(op->arg[2] & 04000) || g->huge);
    case ABI_memfd_create:
        return !(op->arg[1] & 4) || g->huge;
    case ABI_ftruncate:
    case ABI_fallocate:
        return file_allowed(g, op);
    default:
        return true;
    }
}

bool make_odd(struct generator *g, struct oracle_op *op)
{
    const char *kind = kinds[op->nr];
    u32 nr = 0;

    if (!kind || g->host->major < 6 || g->host->minor < 18 || !chance(g, ODD_PERCENT))
        return true;
    while (kind[nr])
        nr++;
    for (u32 times = chance(g, 40) ? 2 : 1; times; times--) {
        u32 arg = (u32)pick(g, nr);

        odd_arg(g, op, arg, kind[arg]);
    }
    if (!memchr(op->argkind, ORACLE_IN, sizeof(op->argkind)))
        op->data_len = 0;
    for (u32 i = 0; i < nr; i++) /* where the kernel writes */
        if (kind[i] == 'p' && op->argkind[i] == ORACLE_VALUE && !range_readable(g, op->arg[i], SMALL_BYTES))
            return false;
    return odd_allowed(g, op);
}
