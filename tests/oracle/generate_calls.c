/* SPDX-License-Identifier: MIT */
/* Arguments of each call: mostly sensible, sometimes wrong in one way, seldom in two. */
#include "tests/oracle/generate.h"

#include "cache/cache.h"

#include <string.h>

typedef bool (*make_fn)(struct generator *g, struct oracle_op *op);

/* Bytes that the call finds behind pointer argument `arg`. */
static void put_data(struct oracle_op *op, u32 arg, const void *bytes, u16 len)
{
    op->argkind[arg] = ORACLE_IN;
    op->arg[arg] = op->data_len;
    memcpy(op->data + op->data_len, bytes, len);
    op->data_len = (u16)(op->data_len + ((len + 7) & ~7));
}

static void put_out(struct oracle_op *op, u32 arg)
{
    op->argkind[arg] = ORACLE_OUTPUT;
    op->arg[arg] = 0;
}

static void put_slot(struct oracle_op *op, u32 arg, enum oracle_arg kind, u64 slot)
{
    op->argkind[arg] = (u8)kind;
    op->arg[arg] = slot;
}

static u64 huge_len(struct generator *g)
{
    u64 len = (1 + pick(g, 3)) * ORACLE_HUGE_PAGE;

    return chance(g, 60) ? len : chance(g, 50) ? some_len(g) : len + (pick(g, 3) - 1) * PAGE_SIZE;
}

/* addr and len in the first two arguments. */
static bool put_range(struct generator *g, struct oracle_op *op)
{
    op->arg[0] = some_addr(g);
    op->arg[1] = in_huge_arena(op->arg[0]) ? huge_len(g) : some_len(g);
    return range_allowed(g, op->arg[0], op->arg[1]);
}

/* -- mappings ------------------------------------------------------------------------------------------------------ */

static u32 some_prot(struct generator *g)
{
    static const u32 prots[] = {0, 1, 3, 3, 3, 3, 3, 5, 2, 7, 4, 6};

    return PICK(g, prots);
}

static void mmap_object(struct generator *g, struct oracle_op *op)
{
    u64 slot = pick(g, NR_BASE_SLOTS);

    if (chance(g, 10))
        slot = pick(g, ORACLE_SLOTS);
    op->arg[4] = ~0ull;
    if (chance(g, 60)) {
        op->arg[3] |= MAP_ANONYMOUS_;
        return;
    }
    put_slot(op, 4, ORACLE_FD, slot);
    /* often the offset that continues what may lie beside it */
    op->arg[5] = chance(g, 40) ? pick(g, 26) * PAGE_SIZE : (op->arg[0] - ORACLE_ARENA) % (32 * PAGE_SIZE);
    op->arg[5] &= PAGE_MASK;
    if (g->huge && chance(g, 30))
        op->arg[5] = pick(g, 3) * ORACLE_HUGE_PAGE;
    if (chance(g, 2))
        op->arg[5] = chance(g, 50) ? 0x123 : (u64)-0x4000;
}

/* Anonymous huge pages, mostly without reserving them, mostly of 2 MiB; or what a descriptor of such has. */
static void mmap_huge(struct generator *g, struct oracle_op *op)
{
    static const u32 sizes[] = {0, 0, 0, 0, 21, 21, 30, 30, 25};

    if (!(op->arg[3] & MAP_ANONYMOUS_) && op->arg[4] < NR_BASE_SLOTS && chance(g, 70)) {
        op->argkind[4] = ORACLE_VALUE;
        op->arg[4] = ~0ull;
        op->arg[3] |= MAP_ANONYMOUS_;
        op->arg[5] = chance(g, 80) ? 0 : op->arg[5];
    }
    op->arg[0] = chance(g, 70) ? some_addr(g) : 0;
    if (op->arg[0] && chance(g, 80))
        op->arg[0] = ORACLE_HUGE_ARENA + pick(g, ORACLE_HUGE_PAGES) * ORACLE_HUGE_PAGE;
    op->arg[1] = huge_len(g);
    op->arg[3] |= (MAP_HUGETLB_ | (u64)PICK(g, sizes) << 26) | (chance(g, 85) ? MAP_NORESERVE_ : 0);
    if (!op->arg[0])
        op->arg[3] &= ~(u64)MAP_FIXED_;
}

static bool make_mmap(struct generator *g, struct oracle_op *op)
{
    static const u32 extra[] = {
        MAP_NORESERVE_, MAP_POPULATE_,  MAP_STACK_,  MAP_GROWSDOWN_,  MAP_NONBLOCK_ | MAP_POPULATE_,
        MAP_DENYWRITE_, MAP_LOCKED_,    MAP_32BIT_,  MAP_EXECUTABLE_, MAP_SYNC_,
        MAP_GROWSDOWN_, MAP_NORESERVE_, MAP_HUGETLB_};
    u64 type = pick(g, 100);

    op->arg[0] = chance(g, 12) ? 0 : some_addr(g);
    op->arg[1] = some_len(g);
    op->arg[2] = some_prot(g);
    op->arg[3] = chance(g, 66) ? MAP_FIXED_ : chance(g, 35) ? MAP_FIXED_NOREPLACE_ : 0;
    op->arg[3] |= type < 74 ? MAP_PRIVATE_ : type < 96 ? MAP_SHARED_ : type < 99 ? MAP_SHARED_VALIDATE_ : pick(g, 16);
    if (chance(g, 18))
        op->arg[3] |= PICK(g, extra);
    if (chance(g, 1))
        op->arg[3] |= 1ul << pick(g, 31);
    if (!g->host->droppable && (op->arg[3] & 8))
        return false;
    if (!g->host->huge && (op->arg[3] & MAP_HUGETLB_))
        return false; /* there may be some, which the machine does not have */
    mmap_object(g, op);
    if (g->huge && chance(g, 25))
        mmap_huge(g, op);
    if ((gen_mm(g)->def_flags & VM_LOCKED) || (op->arg[3] & (MAP_LOCKED_ | MAP_POPULATE_)))
        op->arg[1] %= 256 * PAGE_SIZE;
    if (!op->arg[0] && !(op->arg[3] & MAP_FIXED_))
        return true;
    if (!op->arg[0] && !chance(g, 2))
        return false;
    return huge_range_allowed(g, op->arg[0], op->arg[1]);
}

static bool make_range(struct generator *g, struct oracle_op *op)
{
    return put_range(g, op);
}

/* Is it more, or less, than a part of one mapping? */
static bool range_of_many(struct generator *g, va_t addr, u64 len)
{
    struct vm_area_struct *vma = vma_lookup(g->v->cpu, gen_mm(g), addr & PAGE_MASK);

    return vma && len > vma->vm_end - (addr & PAGE_MASK);
}

static bool make_mremap(struct generator *g, struct oracle_op *op)
{
    if (!put_range(g, op))
        return false;
    op->arg[2] = chance(g, 40) ? op->arg[1] : in_huge_arena(op->arg[0]) ? huge_len(g) : some_len(g);
    op->arg[3] = chance(g, 80) ? MREMAP_MAYMOVE_ : 0;
    if (chance(g, 45))
        op->arg[3] |= MREMAP_FIXED_;
    if (chance(g, 8))
        op->arg[3] |= MREMAP_DONTUNMAP_;
    if ((op->arg[3] & MREMAP_DONTUNMAP_) && chance(g, 90))
        op->arg[2] = op->arg[1];
    op->arg[4] = some_addr(g);
    if (chance(g, 3))
        op->arg[1] = 0;
    if (chance(g, 1))
        op->arg[3] |= 8;
    if (!g->host->moves_many && range_of_many(g, op->arg[0], op->arg[1]))
        return false;
    if (op->arg[1] > (1ul << 40) && op->arg[1] < (1ul << 48))
        return false; /* what a shrinking move charges depends on the size of memory */
    if (gen_mm(g)->locked_vm && op->arg[2] > (1ul << 20))
        return false;
    return huge_range_allowed(g, op->arg[0], op->arg[2]) && huge_range_allowed(g, op->arg[4], op->arg[2]);
}

static bool make_mprotect(struct generator *g, struct oracle_op *op)
{
    static const u32 odd[] = {PROT_GROWSDOWN_, PROT_GROWSUP_, PROT_GROWSDOWN_ | PROT_GROWSUP_, 8, 0x10, 0x100};

    op->arg[2] = some_prot(g);
    if (chance(g, 5))
        op->arg[2] |= PICK(g, odd);
    return put_range(g, op);
}

static bool make_pkey_mprotect(struct generator *g, struct oracle_op *op)
{
    u64 key = pick(g, 17);

    for (u32 i = 0; i < 4 && !(gen_mm(g)->pkey_allocation_map >> key & 1); i++)
        key = pick(g, 17);
    op->arg[3] = chance(g, g->host->pkeys ? 20 : 60) ? ~0ull : key;
    return make_mprotect(g, op);
}

static bool make_pkey_alloc(struct generator *g, struct oracle_op *op)
{
    op->arg[0] = chance(g, 90) ? 0 : pick(g, 4);
    op->arg[1] = pick(g, 5);
    return true;
}

static bool make_pkey_free(struct generator *g, struct oracle_op *op)
{
    op->arg[0] = pick(g, 20) - 2;
    return true;
}

static bool make_brk(struct generator *g, struct oracle_op *op)
{
    struct mm *mm = gen_mm(g);

    op->arg[0] = mm->start_brk + pick(g, 24 * PAGE_SIZE);
    if (chance(g, 10))
        op->arg[0] = chance(g, 50) ? 0 : some_addr(g);
    if (op->arg[0] < mm->start_brk || op->arg[0] > mm->task_size)
        return true; /* refused */
    return MAX(op->arg[0], mm->brk) - MIN(op->arg[0], mm->brk) < (1ul << 20) &&
           range_allowed(g, MIN(op->arg[0], mm->brk), MAX(op->arg[0], mm->brk) - MIN(op->arg[0], mm->brk));
}

static bool make_remap_file_pages(struct generator *g, struct oracle_op *op)
{
    op->arg[2] = chance(g, 95) ? 0 : 1;
    op->arg[3] = pick(g, 24);
    op->arg[4] = chance(g, 85) ? 0 : pick(g, 1u << 17);
    return put_range(g, op);
}

static bool make_mseal(struct generator *g, struct oracle_op *op)
{
    op->arg[0] = chance(g, 90) ? ORACLE_ARENA + pick(g, g->arena_pages) * PAGE_SIZE : some_addr(g);
    op->arg[1] = (1 + pick(g, 3)) * PAGE_SIZE;
    op->arg[2] = chance(g, 95) ? 0 : 1;
    return g->host->mseal && range_allowed(g, op->arg[0], op->arg[1]) && chance(g, 30);
}

/* -- advice, locks ------------------------------------------------------------------------------------------------- */

#define ADVICE_REMOVE 9

int some_advice(struct generator *g)
{
    static const int advices[] = {0,  1,  2,  3,  4,  4,  4,  4,  8,  9,  10, 11, 12,
                                  13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 25};
    int a = g->nr_favourites && chance(g, 70) ? g->favourite[pick(g, g->nr_favourites)] : PICK(g, advices);

    if (g->host->guard && chance(g, 12))
        return chance(g, 60) ? 102 : 103;
    if (chance(g, 3) && g->host->guard)
        return chance(g, 50) ? (int)pick(g, 128) - 2 : 100 + (int)pick(g, 2);
    return a;
}

static bool range_has_disk(struct generator *g, va_t addr, u64 len)
{
    struct vm_area_struct *vma;

    for_each_vma (vma, gen_mm(g))
        if (vma->vm_ops == VM_OPS_FILE && vma->vm_start < addr + len && vma->vm_end > addr)
            return true;
    return false;
}

static bool advice_allowed(struct generator *g, int advice)
{
    /* Poisoned pages are lost to the host for good. */
    return g->host->poison || (advice != 100 && advice != 101) || !task_capable(g->v->proc[g->proc], CAP_SYS_ADMIN_);
}

#define ADVICE_POPULATE_READ 22
#define ADVICE_POPULATE_WRITE 23
#define ADVICE_GUARD_INSTALL 102
#define FILLED_PAGES_MAX 4096ul

/* Advice that fills all of a mapping with pages or tables: one of terabytes takes the host's memory and minutes. */
static bool filling_allowed(struct generator *g, va_t addr, u64 len, int advice)
{
    struct vm_area_struct *vma;
    u64 bytes = 0;

    if (advice != ADVICE_POPULATE_READ && advice != ADVICE_POPULATE_WRITE && advice != ADVICE_GUARD_INSTALL)
        return true;
    for_each_vma (vma, gen_mm(g))
        if (vma->vm_end > addr && (addr + len < addr || vma->vm_start < addr + len))
            bytes += MIN(vma->vm_end, addr + len < addr ? ~0ull : addr + len) - MAX(vma->vm_start, addr);
    return bytes <= FILLED_PAGES_MAX * PAGE_SIZE;
}

bool madvise_allowed(struct generator *g, const struct oracle_op *op)
{
    int advice = (int)op->arg[2];

    if (!range_allowed(g, op->arg[0], op->arg[1]) || !advice_allowed(g, advice) ||
        !filling_allowed(g, op->arg[0], op->arg[1], advice))
        return false;
    if (!g->host->ext4 && advice == ADVICE_REMOVE && range_has_disk(g, op->arg[0], op->arg[1]))
        return false;
    if ((advice == 22 || advice == 23) && op->arg[1] > 256 * PAGE_SIZE)
        return false; /* MADV_POPULATE_READ, _WRITE */
    return true;
}

static bool make_madvise(struct generator *g, struct oracle_op *op)
{
    op->arg[2] = (u64)(s64)some_advice(g);
    return put_range(g, op) && madvise_allowed(g, op);
}

struct iov {
    u64 base, len;
};

/* Up to 4 ranges. */
static u32 put_iovs(struct generator *g, struct oracle_op *op, u32 arg)
{
    struct iov iov[4];
    u32 n = 1 + (u32)pick(g, 3);

    for (u32 i = 0; i < n; i++) {
        do {
            iov[i].base = chance(g, 80) ? ORACLE_ARENA + pick(g, g->arena_pages * PAGE_SIZE) : some_addr(g);
            iov[i].len = chance(g, 90) ? pick(g, 3 * PAGE_SIZE) : some_len(g);
        } while (!range_readable(g, iov[i].base, iov[i].len));
    }
    put_data(op, arg, iov, (u16)(n * sizeof(iov[0])));
    return chance(g, 3) ? 0 : n;
}

static u64 some_proc(struct generator *g)
{
    u64 p = pick(g, ORACLE_PROCS);

    return g->v->proc[p] || chance(g, 3) ? p : g->proc;
}

bool process_madvise_allowed(struct generator *g, const struct oracle_op *op)
{
    int advice = (int)op->arg[3];

    return advice_allowed(g, advice) && advice != ADVICE_REMOVE;
}

/* Ranges that mean something in every process: the arena. */
static bool make_process_madvise(struct generator *g, struct oracle_op *op)
{
    static const int allowed[] = {20, 20, 3, 25, 21, 21, 3, 4, 8};
    int advice = chance(g, 70) ? PICK(g, allowed) : some_advice(g);
    struct iov iov[3];
    u32 n = 1 + (u32)pick(g, 3);

    for (u32 i = 0; i < n; i++)
        iov[i] = (struct iov){ORACLE_ARENA + pick(g, g->arena_pages) * PAGE_SIZE, (1 + pick(g, 6)) * PAGE_SIZE};
    if (chance(g, 5))
        iov[n - 1].base += 1;
    if (chance(g, 8))
        iov[pick(g, n)].len = 0;
    put_slot(op, 0, ORACLE_PIDFD, some_proc(g));
    if (!g->v->proc[op->arg[0]])
        op->arg[0] = chance(g, 50) ? g->proc : ORACLE_PROCS;
    put_data(op, 1, iov, (u16)(n * sizeof(iov[0])));
    op->arg[2] = n;
    op->arg[3] = (u64)(s64)advice;
    op->arg[4] = chance(g, 96) ? 0 : 1;
    return process_madvise_allowed(g, op);
}

static bool small_range(struct generator *g, struct oracle_op *op)
{
    return put_range(g, op) &&
           (op->arg[1] <= (in_huge_arena(op->arg[0]) ? 1024 : 256) * PAGE_SIZE || op->arg[1] > (u64) - (1l << 20));
}

static bool make_mlock2(struct generator *g, struct oracle_op *op)
{
    op->arg[2] = chance(g, 90) ? pick(g, 2) : pick(g, 8);
    return small_range(g, op);
}

static bool make_mlockall(struct generator *g, struct oracle_op *op)
{
    op->arg[0] = chance(g, 90) ? 1 + pick(g, 7) : pick(g, 32);
    /* not with terabytes mapped: all of it would be brought in */
    return chance(g, 40) && gen_mm(g)->total_vm < 8192;
}

static bool make_nothing(struct generator *g, struct oracle_op *op)
{
    return true;
}

bool mincore_allowed(struct generator *g, const struct oracle_op *op)
{
    return range_readable(g, op->arg[0], op->arg[1]) &&
           (op->arg[1] <= 190 * PAGE_SIZE || op->arg[1] > gen_mm(g)->task_size);
}

static bool make_mincore(struct generator *g, struct oracle_op *op)
{
    op->arg[0] = some_addr(g);
    op->arg[1] = chance(g, 90) ? 1 + pick(g, 32 * PAGE_SIZE) : some_len(g);
    put_out(op, 2);
    if (chance(g, 4)) {
        op->argkind[2] = ORACLE_VALUE;
        op->arg[2] = some_addr(g);
        return range_readable(g, op->arg[2], 512) && range_readable(g, op->arg[0], op->arg[1]);
    }
    return mincore_allowed(g, op);
}

static bool make_msync(struct generator *g, struct oracle_op *op)
{
    static const u32 flags[] = {1, 1, 2, 3, 1, 2, 0};

    op->arg[2] = chance(g, 90) ? PICK(g, flags) : pick(g, 16);
    /* waiting for a disk takes milliseconds */
    if ((op->arg[2] & 4) && !chance(g, g->swarm ? 20 : 2))
        return false;
    return put_range(g, op);
}

static bool make_membarrier(struct generator *g, struct oracle_op *op)
{
    static const u32 commands[] = {0, 2, 4, 8, 16, 32, 64, 128, 256, 512, 3};

    op->arg[0] = PICK(g, commands);
    op->arg[1] = chance(g, 92) ? 0 : pick(g, 3);
    return true;
}

static bool make_process_vm(struct generator *g, struct oracle_op *op)
{
    put_slot(op, 0, ORACLE_PID, some_proc(g));
    op->arg[2] = put_iovs(g, op, 1);
    op->arg[4] = put_iovs(g, op, 3);
    op->arg[5] = chance(g, 97) ? 0 : 1;
    return true;
}

/* -- shared memory, files ------------------------------------------------------------------------------------------ */

/* Nothing is lost sight of when it gets another segment. */
static bool shm_slot_is_spare(struct generator *g, u32 slot, s32 next)
{
    struct shm_segment *s = shm_find_id(g->v->m, g->v->shmid[slot]);

    return !s || (s->mode & SHM_DEST_) || s->id == next;
}

/* A few keys, so that some exist, some did, and some belong to who has privileges. */
static bool make_shmget(struct generator *g, struct oracle_op *op)
{
    static const u32 flags[] = {01600, 01600, 01600, 03600, 0600, 01400, 01666, 0, 01000, 0400, 0444, 0666, 01604};
    struct shm_segment *s = NULL;

    op->arg[1] = chance(g, 92) ? 1 + pick(g, 12 * PAGE_SIZE) : some_len(g);
    op->arg[2] = PICK(g, flags);
    if (chance(g, 60)) {
        put_slot(op, 0, ORACLE_KEY, pick(g, ORACLE_KEYS));
        s = shm_find_key(g->v->m, (s32)(g->v->key_base + op->arg[0]));
        if (chance(g, 60))
            op->arg[1] = pick(g, 4 * PAGE_SIZE);
    }
    if (g->huge && chance(g, 50))
        op->arg[2] |= 04000 | (chance(g, 80) ? 010000 : 0) |
                      (chance(g, 80)   ? 0
                       : chance(g, 80) ? 30u << 26
                                       : 25u << 26);
    op->returns = ORACLE_RET_SHM;
    op->ret_slot = (u8)pick(g, ORACLE_BASE_SHM);
    return shm_slot_is_spare(g, op->ret_slot, s ? s->id : -1) && (op->arg[1] < (1ul << 24) || op->arg[1] > (1ul << 60));
}

static bool make_shmat(struct generator *g, struct oracle_op *op)
{
    static const u32 flags[] = {0, 0, 0, 010000, 020000, 040000, 040000, 0100000, 050000, 01};

    put_slot(op, 0, ORACLE_SHMID, pick(g, ORACLE_SHMS));
    op->arg[1] = chance(g, 25) ? 0 : some_addr(g);
    op->arg[2] = PICK(g, flags);
    return huge_range_allowed(g, op->arg[1], 16 * PAGE_SIZE);
}

static bool make_shmdt(struct generator *g, struct oracle_op *op)
{
    struct vm_area_struct *vma;

    op->arg[0] = some_addr(g);
    if (chance(g, 70))
        for_each_vma (vma, gen_mm(g))
            if (vma->vm_ops != VM_OPS_NONE && vma->vm_ops != VM_OPS_FILE && vma->vm_ops != VM_OPS_SHMEM &&
                chance(g, 60))
                op->arg[0] = vma->vm_start;
    return range_allowed(g, op->arg[0], 1);
}

/* struct shmid64_ds: owner, group and mode are what IPC_SET takes. */
static void put_shmid_ds(struct generator *g, struct oracle_op *op)
{
    static const u32 ids[] = {0, 0, ORACLE_NOBODY, ORACLE_NOBODY, 1000, ~0u},
                     modes[] = {0600, 0666, 0400, 0, 04777, 0040};
    u32 ds[28] = {0};

    ds[1] = PICK(g, ids);
    ds[2] = PICK(g, ids);
    ds[5] = PICK(g, modes);
    put_data(op, 2, ds, sizeof(ds));
}

enum { RMID, SET, STAT, LOCK = 11, UNLOCK };

/* Mostly one that is there, and not as the command makes it. */
static u64 some_segment(struct generator *g, u64 cmd)
{
    u64 slot;

    for (u32 i = 0; i < 5; i++) {
        const struct shm_segment *s;

        slot = pick(g, ORACLE_SHMS);
        s = shm_find_id(g->v->m, g->v->shmid[slot]);
        if (s && (cmd != LOCK || !s->mlock_ucounts) && (cmd != UNLOCK || s->mlock_ucounts))
            break;
    }
    return slot;
}

static bool make_shmctl(struct generator *g, struct oracle_op *op)
{
    static const u32 commands[] = {RMID, SET, SET, STAT, STAT, LOCK, LOCK, LOCK, UNLOCK, UNLOCK, 77};

    op->arg[1] = PICK(g, commands);
    put_slot(op, 0, ORACLE_SHMID, some_segment(g, op->arg[1]));
    if (op->arg[1] == SET)
        put_shmid_ds(g, op);
    if (op->arg[1] == STAT)
        put_out(op, 2);
    if (op->arg[1] == LOCK && !task_capable(g->v->proc[g->proc], CAP_IPC_LOCK_) && !g->host->own_user)
        return false; /* the user may have more locked, elsewhere */
    return op->arg[1] || chance(g, 50);
}

static bool make_memfd_create(struct generator *g, struct oracle_op *op)
{
    static const u32 flags[] = {0, 1, 2, 3, 2, 8, 0x10, 0x18, 3, 0x20, 0x80};

    put_data(op, 0, "a memfd", 8);
    op->arg[1] = PICK(g, flags);
    if (g->huge && chance(g, 60))
        op->arg[1] |= 4 | (chance(g, 60) ? 0 : chance(g, 50) ? 21u << 26 : chance(g, 70) ? 30u << 26 : 25u << 26);
    op->returns = ORACLE_RET_FD;
    op->ret_slot = (u8)(NR_BASE_SLOTS + pick(g, ORACLE_SLOTS - NR_BASE_SLOTS));
    return (op->arg[1] & 0xff) < 8 || chance(g, 20);
}

static u64 some_memfd(struct generator *g)
{
    u64 slot;

    for (u32 i = 0; i < 6; i++) {
        slot = NR_BASE_SLOTS + pick(g, ORACLE_SLOTS - NR_BASE_SLOTS);
        if (g->v->fd[g->proc][slot])
            return slot;
    }
    return pick(g, NR_BASE_SLOTS);
}

/* Of those that a process begins with, too. */
static u64 some_file(struct generator *g)
{
    return chance(g, 30) ? pick(g, NR_BASE_SLOTS) : some_memfd(g);
}

static bool make_fcntl(struct generator *g, struct oracle_op *op)
{
    put_slot(op, 0, ORACLE_FD, some_memfd(g));
    op->arg[1] = chance(g, 60) ? 1033 : 1034; /* F_ADD_SEALS, F_GET_SEALS */
    op->arg[2] = chance(g, 90) ? 1ul << pick(g, 6) : pick(g, 64);
    return op->arg[0] >= NR_BASE_SLOTS || op->arg[1] == 1034;
}

static bool make_ftruncate(struct generator *g, struct oracle_op *op)
{
    put_slot(op, 0, ORACLE_FD, some_file(g));
    op->arg[1] = chance(g, 95) ? pick(g, 30 * PAGE_SIZE) : chance(g, 50) ? ~0ull : 1ul << 62;
    if (chance(g, 30))
        op->arg[1] &= PAGE_MASK;
    if (g->huge && op->arg[0] >= NR_BASE_SLOTS && chance(g, 60))
        op->arg[1] = pick(g, 4) * ORACLE_HUGE_PAGE;
    /* what another file system does with new pages is its own business */
    return g->host->ext4 || op->arg[0] >= NR_BASE_SLOTS || native_file[op->arg[0]].shmem || (s64)op->arg[1] < 0 ||
           op->arg[1] <= g->v->base[op->arg[0]]->f_inode->i_size;
}

static bool make_fallocate(struct generator *g, struct oracle_op *op)
{
    enum { COLLAPSE = 8, INSERT = 0x20 };
    static const u32 modes[] = {0, 1, 3, 3, 3, 2, COLLAPSE, 0x10, 0x10, INSERT, 0x40, 0x11, 0x12, 0x80};

    put_slot(op, 0, ORACLE_FD, some_file(g));
    op->arg[1] = PICK(g, modes);
    op->arg[2] = chance(g, 95) ? pick(g, 24 * PAGE_SIZE) : ~0ull;
    op->arg[3] = chance(g, 95) ? 1 + pick(g, 10 * PAGE_SIZE) : 0;
    if ((op->arg[1] & (COLLAPSE | INSERT)) && chance(g, 85)) {
        op->arg[2] &= PAGE_MASK;
        op->arg[3] = (1 + pick(g, 6)) * PAGE_SIZE;
    }
    return g->host->ext4 || native_file[op->arg[0] < NR_BASE_SLOTS ? op->arg[0] : SLOT_SHMEM_RW].shmem;
}

/* -- the process --------------------------------------------------------------------------------------------------- */

static bool since_6_18(const struct generator *g)
{
    return g->host->major > 6 || (g->host->major == 6 && g->host->minor >= 18);
}

/* Flags of the address space: whether it may be dumped, whether what is written may be executed; its auxiliary vector. */
static bool make_prctl_of_space(struct generator *g, struct oracle_op *op)
{
    enum { GET_DUMPABLE = 3, SET_MM = 35, SET_MM_MAP_SIZE = 15, SET_MDWE = 65, GET_MDWE = 66 };
    static const u32 options[] = {GET_DUMPABLE, SET_MM, SET_MDWE, GET_MDWE, GET_MDWE};

    op->arg[0] = PICK(g, options);
    if (op->arg[0] == SET_MM) {
        op->arg[1] = SET_MM_MAP_SIZE;
        put_out(op, 2);
        op->arg[3] = chance(g, 20);
    } else if (op->arg[0] == SET_MDWE) {
        op->arg[1] = pick(g, 5);
    }
    if (chance(g, 15))
        op->arg[1 + pick(g, 4)] ^= op->arg[0] != SET_MM;
    return since_6_18(g);
}

/* What a mapping that can be read, can be executed: READ_IMPLIES_EXEC; no addresses at random, as before. */
static bool make_personality(struct generator *g, struct oracle_op *op)
{
    static const u64 values[] = {0xffffffff, ~0ull, 0x40000, 0x40000, 0x440000, 0x5400000000440000};

    op->arg[0] = PICK(g, values);
    return since_6_18(g);
}

static bool make_prctl(struct generator *g, struct oracle_op *op)
{
    static const u32 set_mm[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    u64 r = pick(g, 100);

    if (r < 45) {
        op->arg[0] = 35; /* PR_SET_MM */
        op->arg[1] = PICK(g, set_mm);
        op->arg[2] = some_addr(g);
        return chance(g, 30);
    }
    if (r < 60) {
        op->arg[0] = chance(g, 50) ? 41 : 42; /* PR_SET_THP_DISABLE, PR_GET_THP_DISABLE */
        op->arg[1] = op->arg[0] == 41;
        op->arg[2] = op->arg[0] == 41 && since_6_18(g) && chance(g, 30) ? pick(g, 4) : 0;
        return true;
    }
    if (r < 70) {
        op->arg[0] = chance(g, 60) ? 67 : 68; /* PR_SET_MEMORY_MERGE, PR_GET_MEMORY_MERGE */
        op->arg[1] = op->arg[0] == 67 && chance(g, 60);
        op->arg[2] = chance(g, 5);
        return true;
    }
    if (r < 85)
        return make_prctl_of_space(g, op);
    if (!g->host->anon_names)
        return false;
    op->arg[0] = 0x53564d41; /* PR_SET_VMA */
    op->arg[1] = 0;
    op->arg[2] = some_addr(g);
    op->arg[3] = some_len(g);
    put_data(op, 4, chance(g, 50) ? "one" : "another", 8);
    return range_allowed(g, op->arg[2], op->arg[3]);
}

static u32 some_resource(struct generator *g)
{
    static const u32 resources[] = {RLIMIT_AS_, RLIMIT_DATA_, RLIMIT_STACK_, RLIMIT_MEMLOCK_, RLIMIT_MEMLOCK_};

    return chance(g, 97) ? PICK(g, resources) : 16 + (u32)pick(g, 3);
}

/* Pages that SHM_LOCK counts. */
static u64 user_locked(struct generator *g)
{
    const struct ucounts *u = xa_load(&g->v->m->cache->shm.ucounts, task_uid(g->v->proc[g->proc]));

    return u ? u->memlock : 0;
}

static struct rlimit_pair some_limit(struct generator *g, u32 resource)
{
    struct mm *mm = gen_mm(g);
    struct rlimit_pair l = {RLIM_INFINITY_, RLIM_INFINITY_};

    /* never so much that the two sides' memories, of different sizes, decide about a stack's growth */
    if (resource == RLIMIT_STACK_)
        l.cur = 8ul << 20;
    if (chance(g, 45))
        return l;
    switch (resource) {
    case RLIMIT_AS_:
        l.cur = (mm->total_vm + pick(g, 64)) * PAGE_SIZE - 16 * PAGE_SIZE;
        break;
    case RLIMIT_DATA_:
        l.cur = (mm->data_vm + pick(g, 64)) * PAGE_SIZE - 16 * PAGE_SIZE;
        break;
    case RLIMIT_MEMLOCK_:
        l.cur = chance(g, 40) ? pick(g, 64 * PAGE_SIZE) : (user_locked(g) + pick(g, 8)) * PAGE_SIZE;
        break;
    default:
        l.cur = pick(g, 64 * PAGE_SIZE);
    }
    if (chance(g, 10))
        l.max = l.cur + pick(g, 1ul << 20);
    if (chance(g, 2))
        l.max = l.cur - 1;
    return l;
}

static bool make_getrlimit(struct generator *g, struct oracle_op *op)
{
    op->arg[0] = some_resource(g);
    put_out(op, 1);
    return true;
}

static bool make_setrlimit(struct generator *g, struct oracle_op *op)
{
    struct rlimit_pair l = some_limit(g, (u32)(op->arg[0] = some_resource(g)));

    put_data(op, 1, &l, sizeof(l));
    return true;
}

static bool make_prlimit(struct generator *g, struct oracle_op *op)
{
    struct rlimit_pair l;

    put_slot(op, 0, ORACLE_PID, some_proc(g));
    op->arg[1] = some_resource(g);
    l = some_limit(g, (u32)op->arg[1]);
    if (chance(g, 40))
        put_data(op, 2, &l, sizeof(l));
    if (chance(g, 80))
        put_out(op, 3);
    return g->v->proc[op->arg[0]];
}

/* -- the table ----------------------------------------------------------------------------------------------------- */

static const struct {
    make_fn make;
    u16 weight;
} call[NR_ABI_CALLS] = {
    [ABI_mmap] = {make_mmap, 150},
    [ABI_munmap] = {make_range, 50},
    [ABI_mremap] = {make_mremap, 60},
    [ABI_mprotect] = {make_mprotect, 70},
    [ABI_pkey_mprotect] = {make_pkey_mprotect, 6},
    [ABI_pkey_alloc] = {make_pkey_alloc, 2},
    [ABI_pkey_free] = {make_pkey_free, 2},
    [ABI_brk] = {make_brk, 12},
    [ABI_remap_file_pages] = {make_remap_file_pages, 6},
    [ABI_mseal] = {make_mseal, 3},
    [ABI_madvise] = {make_madvise, 90},
    [ABI_process_madvise] = {make_process_madvise, 12},
    [ABI_mlock] = {small_range, 14},
    [ABI_mlock2] = {make_mlock2, 10},
    [ABI_munlock] = {small_range, 14},
    [ABI_mlockall] = {make_mlockall, 4},
    [ABI_munlockall] = {make_nothing, 4},
    [ABI_mincore] = {make_mincore, 20},
    [ABI_msync] = {make_msync, 10},
    [ABI_membarrier] = {make_membarrier, 4},
    [ABI_process_vm_readv] = {make_process_vm, 14},
    [ABI_process_vm_writev] = {make_process_vm, 14},
    [ABI_shmget] = {make_shmget, 8},
    [ABI_shmctl] = {make_shmctl, 8},
    [ABI_shmat] = {make_shmat, 12},
    [ABI_shmdt] = {make_shmdt, 8},
    [ABI_memfd_create] = {make_memfd_create, 8},
    [ABI_fcntl] = {make_fcntl, 8},
    [ABI_ftruncate] = {make_ftruncate, 10},
    [ABI_fallocate] = {make_fallocate, 10},
    [ABI_prctl] = {make_prctl, 5},
    [ABI_personality] = {make_personality, 2},
    [ABI_getrlimit] = {make_getrlimit, 3},
    [ABI_setrlimit] = {make_setrlimit, 8},
    [ABI_prlimit64] = {make_prlimit, 6},
};

static const s16 x86_64_nr[NR_ABI_CALLS] = {
#define X(name, x86_64, generic) [ABI_##name] = (x86_64),
    ABI_CALLS(X)
#undef X
};

static u64 weight_of(const struct generator *g, u32 nr)
{
    bool keys = nr == ABI_pkey_mprotect || nr == ABI_pkey_alloc;

    if (!g->wanted[nr])
        return 0;
    return (u64)call[nr].weight * g->times[nr] * (keys && g->host->pkeys ? 4 : 1);
}

bool generate_call(struct generator *g, struct oracle_op *op)
{
    u64 total = 0, r;
    u32 nr = 0;

    for (u32 i = 0; i < NR_ABI_CALLS; i++)
        total += weight_of(g, i);
    r = pick(g, total);
    for (;; nr++) {
        u64 weight = weight_of(g, nr);

        if (r < weight)
            break;
        r -= weight;
    }
    op->kind = ORACLE_SYSCALL;
    op->nr = (u16)nr;
    op->host_nr = x86_64_nr[nr];
    return call[nr].make(g, op) && make_odd(g, op);
}
