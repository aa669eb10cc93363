/* SPDX-License-Identifier: MIT */
/*
 * The oracle: random sequences of operations, performed by real processes on the running kernel and by modelled ones on
 * a machine; everything a program can see must agree. This header is what both programs of it share.
 *
 *   oracle (hosted, has the machine)                         child.c (freestanding, static, raw system calls only)
 *   ────────────────────────────────                         ─────────────────────────────────────────────────────
 *   generate.c   one random op from the model's state        supervisor: starts process 0 of a sequence, reaps, removes
 *   model.c      does it on the machine ─▶ result            processes 0..7: forks of each other; whose turn it is does
 *   sequence.c   publishes it ─────────── shared ─────────▶  the next op, writes its result
 *                compares ◀────────────── memory ──────────
 *   shrink.c     the shortest list of ops that still disagrees
 *   print.c      as a C program, and as a file to replay
 *
 * Ops are concrete: addresses are numbers. That works because the child's address space is the model's, mapping by
 * mapping (import.c), so that addresses that the kernel chooses must agree, too. What has numbers of its own on each
 * side (descriptors, pids, IPC ids) is named by slots.
 *
 * The child's own memory (image, stacks in .bss, the shared memory) is never the target of an op.
 */
#ifndef QUIRE_TESTS_ORACLE_ORACLE_H
#define QUIRE_TESTS_ORACLE_ORACLE_H

#include <stdatomic.h>
#include <stdint.h>

#define ORACLE_SHARED_AT 0x100000000000ul /* where the child maps struct oracle_shared */
#define ORACLE_SHARED_BYTES 0x400000ul    /* so much, that no page table serves it and what is mapped beside it */
#define ORACLE_ARENA 0x180000000000ul     /* where most ops happen */
#define ORACLE_ARENA_PAGES 128ul
#define ORACLE_PAGE 4096ul
#define ORACLE_HUGE_ARENA 0x180040000000ul /* and those of huge pages */
#define ORACLE_HUGE_PAGES 8ul
#define ORACLE_HUGE_PAGE 0x200000ul

#define ORACLE_OPS 4096u /* of a sequence, at most */
#define ORACLE_PROCS 6u  /* alive at the same time */
#define ORACLE_SUPERVISOR ORACLE_PROCS
#define ORACLE_SLOTS 16u   /* descriptors */
#define ORACLE_SHMS 8u     /* IPC segments; the last ones: the supervisor's */
#define ORACLE_BASE_SHM 6u /* theirs are the last keys, too */
#define ORACLE_KEYS 6u     /* of segments */
#define ORACLE_BASE_KEY 4u
#define ORACLE_DATA 160u   /* bytes that an op brings for its pointers */
#define ORACLE_OUT 192u    /* bytes that the kernel writes for an op */
#define ORACLE_FD_SHARED 3 /* the child's descriptor of the shared memory */
#define ORACLE_FD_BASE 10  /* slot 0's; those that every process begins with */
#define ORACLE_FD_IMAGE 4  /* its program, for execve */
#define ORACLE_FD_REAPED 5 /* a pidfd of a process that has been reaped: ORACLE_PIDFD's value ORACLE_PROCS */
#define ORACLE_STACKS (ORACLE_PROCS + 1) /* in each image: one for each process that may share its memory */

enum oracle_kind {
    ORACLE_SYSCALL,
    ORACLE_LOAD,  /* one byte at arg[0] */
    ORACLE_STORE, /* arg[1] there */
    ORACLE_EXEC,  /* load it; if it is a return instruction, call it */
    ORACLE_SUM,   /* checksum of arg[1] pages from arg[0]; what cannot be read is part of it */
    ORACLE_FORK,  /* process arg[0] begins, by clone with flags arg[1]: CLONE_VM, CLONE_VFORK */
    ORACLE_EXIT,
    ORACLE_CLOSE,  /* slot arg[0] */
    ORACLE_DROP,   /* become shared->nobody: all capabilities go */
    ORACLE_EXECVE, /* the child's program again, with arg[0] variables of arg[1] bytes; result's out: oracle_layout */
    ORACLE_PKRU,   /* WRPKRU arg[0]; the result is what RDPKRU gave before */
    NR_ORACLE_KINDS
};

enum oracle_arg {
    ORACLE_VALUE,
    ORACLE_FD,     /* slot; an empty one is -1 */
    ORACLE_PID,    /* process */
    ORACLE_PIDFD,  /* process, or one that has been reaped; closed again after the call */
    ORACLE_SHMID,  /* slot */
    ORACLE_KEY,    /* of a segment: by number */
    ORACLE_IN,     /* pointer to data[value] */
    ORACLE_OUTPUT, /* pointer to the result's out[value] */
};

enum oracle_returns {
    ORACLE_RET_VALUE,
    ORACLE_RET_FD,  /* goes to descriptor slot ret_slot, result 0 */
    ORACLE_RET_SHM, /* goes to IPC slot ret_slot, result 0 */
};

/* What is looked at after the op, in the process that did it. */
#define ORACLE_SEE_MAPS 1u    /* /proc/self/maps */
#define ORACLE_SEE_PAGES 2u   /* /proc/self/pagemap of all mappings but the child's own */
#define ORACLE_SEE_FLAGS 4u   /* VmFlags of /proc/self/smaps */
#define ORACLE_SEE_NUMBERS 8u /* what smaps, numa_maps, status and statm count: views.h */

struct oracle_op {
    uint8_t kind; /* enum oracle_kind */
    uint8_t proc; /* who does it */
    uint8_t see;
    uint8_t returns; /* enum oracle_returns */
    uint8_t ret_slot;
    uint8_t argkind[6];
    uint8_t fail;    /* on the machine, it is done first with this allocation of it failing; 0: none */
    uint16_t nr;     /* enum abi_nr */
    int16_t host_nr; /* the running architecture's number */
    uint16_t data_len;
    uint64_t arg[6];
    uint8_t data[ORACLE_DATA];
};

/* A load, store or checksum was on the mapping of a file on disk; it read bytes behind that file's end. */
#define ORACLE_ON_DISK 1u
#define ORACLE_BEHIND_END 2u

struct oracle_result {
    int64_t ret;
    int32_t signo, code;
    uint64_t addr;
    uint32_t faults;                   /* page faults that a load or store took; ~0: not to be compared */
    uint32_t on_disk;                  /* the model's: ORACLE_ON_DISK, ORACLE_BEHIND_END */
    uint64_t maps, pages, disk, flags; /* hashes, if asked for; disk: pages of files on disk */
    uint32_t seen_from, seen_to;       /* the pages themselves: of seen[], counted from the sequence's begin */
    uint64_t cycles, look_cycles;      /* of the time-stamp counter: the kernel's for the op, and to look at all that */
    uint64_t numbers;                  /* 0: not asked for, or more than fits */
    uint8_t out[ORACLE_OUT];
};

/* Pages that are in the hashes, in order: address | bits (oracle_on_disk()) | ORACLE_SEEN_DISK; the last ones are kept. */
#define ORACLE_SEEN 65536u
#define ORACLE_SEEN_DISK 8u

struct oracle_seen {
    uint32_t nr;
    uint64_t page[ORACLE_SEEN];
};

static inline void oracle_saw(struct oracle_seen *s, uint64_t addr, uint32_t bits)
{
    s->page[s->nr++ % ORACLE_SEEN] = addr | bits;
}

struct oracle_file_id {
    uint64_t dev, ino;
};

enum oracle_command { ORACLE_CMD_NONE, ORACLE_CMD_RUN, ORACLE_CMD_STOP, ORACLE_CMD_QUIT };

struct oracle_shared {
    _Atomic uint32_t command;   /* enum oracle_command; the supervisor sets it back to NONE when it is done */
    _Atomic uint32_t published; /* ops that may be done */
    _Atomic uint32_t done;      /* ops that are done */
    _Atomic uint32_t turn;      /* process that does the next one */
    _Atomic uint32_t stop;      /* the sequence is over */
    _Atomic uint32_t born;      /* forks that are ready */
    _Atomic uint32_t wake_at;   /* the test sleeps until done reaches it */
    uint32_t reap;              /* process that exits */
    uint64_t began;             /* the op: time-stamp counter */
    /* by process: its stack in its image, a number for its memory (0: not alive), its descriptors while it executes */
    uint32_t stack[ORACLE_PROCS], memory[ORACLE_PROCS], memories;
    int32_t fds[ORACLE_PROCS][ORACLE_SLOTS];
    int32_t pid[ORACLE_PROCS + 1];
    int32_t shmid[ORACLE_SHMS]; /* -1: none */
    uint32_t key_base;          /* keys that nothing else on the host has */
    uint32_t nobody;            /* user after ORACLE_DROP: one that nothing else on the host runs as, if that may be */
    uint32_t nr_made;
    uint32_t warm[2]; /* slots of the files on disk, read and write: their pages are kept in the page cache */
    int32_t made[ORACLE_OPS + ORACLE_SHMS];   /* segments of the sequence: removed at its end */
    uint32_t join;                            /* cuts between mappings alike, zero pages: not seen (rules.c) */
    uint32_t no_swap;                         /* a page that is swapped is being moved */
    uint64_t image_end;                       /* the child's own: [its start, image_end), and the shared memory */
    struct oracle_file_id file[ORACLE_SLOTS]; /* files on disk by slot */
    uint64_t huge_dev[2];                     /* hugetlbfs of 2 MiB and of 1 GiB; ~0: none */
    uint64_t end_cycles;                      /* for the processes to go when the sequence is over */
    struct oracle_seen seen;
    struct oracle_op op[ORACLE_OPS];
    struct oracle_result result[ORACLE_OPS];
};
_Static_assert(sizeof(struct oracle_shared) <= ORACLE_SHARED_BYTES, "shared memory");

#define ORACLE_IMAGE 0x400000ul
#define ORACLE_STACK_END 0x7ffffffff000ul

/* Of clone(2); a header of the kernel's has them for one side only. */
#define ORACLE_CLONE_VM 0x100ul
#define ORACLE_CLONE_VFORK 0x4000ul
/* Of ORACLE_EXECVE. */
#define ORACLE_ENV_MOST 16u
#define ORACLE_ENV_BYTES (128u << 10)
#define ORACLE_EXEC_NAME "/dev/fd/4" /* the kernel's name for what execveat(ORACLE_FD_IMAGE, "") executes */
#define ORACLE_ARGV0 "oracle-child"

/* What /proc/self/stat says of a new program: fields 26 to 28 and 45 to 51. */
#define ORACLE_LAYOUT 10u

/* -- segments ------------------------------------------------------------------------------------------------------ */

/* Those that are there when a sequence begins, by who has all privileges. */
static inline uint32_t oracle_base_pages(uint32_t slot)
{
    return slot == ORACLE_BASE_SHM ? 3 : 5;
}

static inline uint32_t oracle_base_mode(uint32_t slot)
{
    return slot == ORACLE_BASE_SHM ? 0644 : 0600;
}

/* struct shmid64_ds without what has its own value on each side: sequence number, times, pids. */
static inline void oracle_clean_shmid_ds(uint8_t *ds)
{
    static const uint8_t from[] = {24, 56}, to[] = {28, 84};
    uint8_t attached = ds[84] | ds[85] | ds[86] | ds[87];

    for (uint32_t i = 0; i < sizeof(from); i++)
        for (uint32_t at = from[i]; at < to[i]; at++)
            ds[at] = 0;
    ds[84] = attached != 0;
    ds[85] = ds[86] = ds[87] = 0;
}
#define ORACLE_NR_SHMCTL 31
#define ORACLE_IPC_SET 1
#define ORACLE_IPC_STAT 2

/* The user that is `nobody` has this number in ops and as a group. */
#define ORACLE_NOBODY 65534u

/* IPC_SET: the owner's number. */
static inline void oracle_name_nobody(struct oracle_op *op, uint32_t nobody)
{
    uint32_t *uid;

    if (op->host_nr != ORACLE_NR_SHMCTL || (uint32_t)op->arg[1] != ORACLE_IPC_SET || op->argkind[2] != ORACLE_IN ||
        op->arg[2] > ORACLE_DATA - 8)
        return;
    uid = (uint32_t *)(void *)&op->data[op->arg[2] + 4]; /* shmid64_ds.shm_perm.uid */
    if (*uid == ORACLE_NOBODY)
        *uid = nobody;
}

/* -- hashes of what is seen: computed alike on both sides ---------------------------------------------------------- */

static inline uint64_t oracle_mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15ull;
    return h ^ (h >> 29);
}

/* Which object a mapping shows: 0 anonymous, 1 some shared memory, 2 + slot a file on disk, huge pages of 2 MiB, 1 GiB. */
#define ORACLE_OBJ_ANON 0u
#define ORACLE_OBJ_SHMEM 1u
#define ORACLE_OBJ_HUGE 253u
#define ORACLE_OBJ_OTHER 255u

static inline uint64_t oracle_mix_vma(uint64_t h, uint64_t start, uint64_t end, uint32_t perms, uint64_t offset,
                                      uint32_t object)
{
    h = oracle_mix(h, start);
    h = oracle_mix(h, end);
    return oracle_mix(oracle_mix(h, perms | (uint64_t)object << 8), offset);
}

/* What a line of maps says. */
struct oracle_line {
    uint64_t start, end, offset;
    uint32_t perms, object; /* r 1, w 2, x 4, s 8 */
};

/* Could they be one mapping? */
static inline int oracle_alike(const struct oracle_line *a, const struct oracle_line *b)
{
    return a->end == b->start && a->perms == b->perms && a->object == b->object &&
           (a->object == ORACLE_OBJ_ANON || a->offset + (a->end - a->start) == b->offset);
}

/* *kept: the line that is not in the hash yet; none if it is empty. */
static inline uint64_t oracle_mix_line(uint64_t h, struct oracle_line *kept, const struct oracle_line *l, int join)
{
    if (join && oracle_alike(kept, l)) {
        kept->end = l->end;
        return h;
    }
    if (kept->end)
        h = oracle_mix_vma(h, kept->start, kept->end, kept->perms, kept->offset, kept->object);
    *kept = *l;
    return h;
}

/* Flags of a mapping; *last and *end: those of the one before, and where it ended. */
static inline uint64_t oracle_mix_flags(uint64_t h, const struct oracle_line *l, uint64_t sum, uint64_t *last,
                                        uint64_t *end, int join)
{
    int same = join && *end == l->start && *last == sum;

    *last = sum;
    *end = l->end;
    return same ? h : oracle_mix(oracle_mix(h, l->start), sum);
}

/* A flag's two letters: order does not matter. */
static inline uint64_t oracle_flag(char a, char b)
{
    return oracle_mix(0x5151, (uint64_t)(uint8_t)a << 8 | (uint8_t)b);
}

/* Page sizes of a mapping, in kB, as smaps has them. */
static inline uint64_t oracle_page_sizes(uint64_t kernel_kb, uint64_t mmu_kb)
{
    return kernel_kb == 4 && mmu_kb == 4 ? 0 : oracle_mix(oracle_mix(0x7171, kernel_kb), mmu_kb);
}

/* "ProtectionKey:" of smaps, added to the flags. */
static inline uint64_t oracle_key(uint64_t key)
{
    return key ? oracle_mix(0x9e57, key) : 0;
}

/* bits: present 1, of a file or shared 2, mapped once 4. Is it a page of a file on disk, not a private copy? */
static inline int oracle_on_disk(uint32_t bits, uint32_t object)
{
    return object >= 2 && (bits & 2);
}

struct oracle_page {
    uint64_t addr;
    uint32_t bits, perms, object; /* perms and object: of its mapping */
};

/*
 * join: where 6.18 makes one private mapping, with pages of its own, of two, an older kernel may have a part without. A
 * fork does not copy that part's tables: the child may lack zero pages and pages of the file, which then are mapped less
 * often. Zero pages look like pages of more than one process.
 */
static inline void oracle_mix_page(struct oracle_result *r, struct oracle_seen *seen, const struct oracle_page *p,
                                   int join)
{
    uint32_t bits = p->bits, on_disk = oracle_on_disk(bits, p->object) ? ORACLE_SEEN_DISK : 0;
    uint64_t *h = on_disk ? &r->disk : &r->pages;

    if (join && (bits == 1 || ((bits & 2) && !(p->perms & 8))))
        return;
    if (join && (bits & 2))
        bits &= ~4u;
    if (!bits)
        return;
    *h = oracle_mix(*h, p->addr | bits);
    oracle_saw(seen, p->addr, bits | on_disk);
}

/* Does the range touch what is the child's own? */
static inline int oracle_own(uint64_t start, uint64_t end, uint64_t image_end)
{
    return (start < image_end && end > ORACLE_IMAGE) ||
           (start < ORACLE_SHARED_AT + ORACLE_SHARED_BYTES && end > ORACLE_SHARED_AT);
}

/*
 * A page table with pages of the child's own in it: the machine does not have those, so it may lack the table. Of a file
 * on disk, fault-around maps the last page only if there is a table.
 */
#define ORACLE_TABLE_MASK (~0x1ffffful)

#define ORACLE_PAGES_SEEN 1024ul /* of one mapping, at most */

#endif
