/* SPDX-License-Identifier: MIT */
/*
 * Arguments of every call of the table: one letter each says what it is; one in sixteen is any number at all. What a
 * pointer points to is given with the call, or lies in the process's memory, or is not there.
 */
#include "tests/fuzz/calls.h"

#define BUFFER_MAX 4096u

/*
 *   a address      l length      p PROT_*      m MAP_*       r MREMAP_*    f descriptor   o file offset
 *   k key          n -2 .. 17    z mostly 0    v advice      i process     b new brk      M MLOCK_*, MCL_*
 *   V iovecs       c their number              S string      L new limit   R resource     s segment
 *   O room for what is written                 B bytes and room            F fcntl's command
 *   H shmctl's     x bits: seals, modes
 */
static const char *const shape[NR_ABI_CALLS] = {
    [ABI_mmap] = "alpmfo",
    [ABI_munmap] = "al",
    [ABI_mremap] = "allra",
    [ABI_mprotect] = "alp",
    [ABI_pkey_mprotect] = "alpk",
    [ABI_pkey_alloc] = "zn",
    [ABI_pkey_free] = "k",
    [ABI_brk] = "b",
    [ABI_remap_file_pages] = "alznm",
    [ABI_mseal] = "alz",
    [ABI_madvise] = "alv",
    [ABI_process_madvise] = "iVcvz",
    [ABI_mlock] = "al",
    [ABI_mlock2] = "alM",
    [ABI_munlock] = "al",
    [ABI_mlockall] = "M",
    [ABI_munlockall] = "",
    [ABI_mincore] = "alO",
    [ABI_msync] = "alx",
    [ABI_membarrier] = "xzn",
    [ABI_process_vm_readv] = "iVcVcz",
    [ABI_process_vm_writev] = "iVcVcz",
    [ABI_shmget] = "nlx",
    [ABI_shmctl] = "sHB",
    [ABI_shmat] = "sax",
    [ABI_shmdt] = "a",
    [ABI_memfd_create] = "Sx",
    [ABI_fcntl] = "fFx",
    [ABI_ftruncate] = "fo",
    [ABI_fallocate] = "fxol",
    [ABI_prctl] = "", /* make_prctl() */
    [ABI_getrlimit] = "RO",
    [ABI_setrlimit] = "RL",
    [ABI_prlimit64] = "iRLO",
    [ABI_personality] = "x",
};

/* -- numbers ------------------------------------------------------------------------------------------------------- */

static va_t near_a_mapping(struct mm *mm, struct input *in)
{
    u32 which = take_u8(in), edge = take_u8(in);
    struct vm_area_struct *vma = vma_first(mm);

    for (u32 n = mm->map_count ? which % mm->map_count : 0; vma && n; n--)
        vma = vma_next(vma);
    if (!vma)
        return WINDOW_BASE;
    return (edge & 1 ? vma->vm_start : vma->vm_end) + (u64)(edge / 2 % 8) * PAGE_SIZE - 4 * PAGE_SIZE;
}

static va_t special_place(struct world *w, const struct mm *mm, u8 which)
{
    const va_t places[] = {0,
                           1,
                           mm->task_size,
                           mm->task_size - PAGE_SIZE,
                           mm->task_size - 1,
                           ~(va_t)0,
                           ~(va_t)0 - PAGE_SIZE + 1,
                           (va_t)1 << 47,
                           (va_t)1 << 63,
                           mm->mmap_base,
                           mm->mmap_base - 16 * PAGE_SIZE,
                           mm->mmap_legacy_base,
                           mm->start_brk,
                           mm->brk,
                           mm->start_stack & PAGE_MASK,
                           (mm->start_stack & PAGE_MASK) - 40 * PAGE_SIZE,
                           w->m->config.mmap_min_addr,
                           (va_t)1 << 32};

    return places[which % ARRAY_SIZE(places)];
}

va_t take_addr(struct world *w, struct input *in)
{
    struct mm *mm = w->task[w->now]->mm;
    u8 how = take_u8(in);

    if (how < 128)
        return WINDOW_BASE + how % 64 * PAGE_SIZE;
    if (how < 160)
        return WINDOW_BASE + take_u16(in) % WINDOW_PAGES * PAGE_SIZE;
    if (how < 208)
        return near_a_mapping(mm, in);
    if (how < 240)
        return special_place(w, mm, take_u8(in));
    if (how < 250)
        return WINDOW_BASE + take_u16(in) * 64u;
    return take_u64(in);
}

u64 take_len(struct input *in)
{
    static const u64 odd[] = {0, 1, PAGE_SIZE - 1, ~(u64)0, ~(u64)0 - PAGE_SIZE + 1, (u64)1 << 47, (u64)1 << 63};
    u8 how = take_u8(in);

    if (how < 160)
        return (1 + how % 16) * PAGE_SIZE;
    if (how < 220)
        return (1 + take_u16(in) % (2 * WINDOW_PAGES)) * PAGE_SIZE;
    if (how < 235)
        return take_u16(in);
    if (how < 245)
        return odd[how % ARRAY_SIZE(odd)];
    return take_u64(in) & (((u64)1 << 34) - 1);
}

static u64 take_one_of(struct input *in, const u32 *values, u32 nr)
{
    return values[take_u8(in) % nr];
}
#define ONE_OF(in, values) take_one_of(in, values, ARRAY_SIZE(values))

static u64 take_prot(struct input *in)
{
    static const u32 prots[] = {3, 3, 3, 3, 1, 7, 5, 2, 0, 4, 6, 0x01000003, 0x02000001, 0x03000003, 0x0a, 0x13};

    return ONE_OF(in, prots);
}

static u64 take_map_flags(struct input *in)
{
    static const u32 types[] = {MAP_PRIVATE_, MAP_PRIVATE_, MAP_SHARED_, MAP_SHARED_VALIDATE_, MAP_DROPPABLE_, 0};
    static const u32 places[] = {MAP_FIXED_, MAP_FIXED_, MAP_FIXED_NOREPLACE_, 0};
    static const u32 extra[] = {0,
                                0,
                                0,
                                MAP_NORESERVE_,
                                MAP_POPULATE_,
                                MAP_POPULATE_ | MAP_NONBLOCK_,
                                MAP_LOCKED_,
                                MAP_GROWSDOWN_,
                                MAP_GROWSDOWN_ | MAP_LOCKED_,
                                MAP_STACK_,
                                MAP_32BIT_,
                                MAP_ABOVE4G_,
                                MAP_HUGETLB_,
                                MAP_SYNC_,
                                MAP_DENYWRITE_ | MAP_EXECUTABLE_};
    u8 how = take_u8(in);

    return types[how % 6] | places[how / 6 % 4] | (how < 144 ? MAP_ANONYMOUS_ : 0) | ONE_OF(in, extra);
}

static u64 take_advice(struct input *in)
{
    static const u32 advices[] = {0,  1,  2,  3,  4,  4,  8,  9,  10, 11, 12, 13,  14,  15,  16,
                                  17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 99, 100, 101, 102, 103};

    return ONE_OF(in, advices);
}

static u64 take_fcntl(struct input *in)
{
    static const u32 commands[] = {1033, 1033, 1034, 1};

    return ONE_OF(in, commands);
}

static u64 take_shmctl(struct input *in)
{
    static const u32 commands[] = {0, 0, 1, 2, 3, 11, 12, 13, 14, 15, 77};

    return ONE_OF(in, commands);
}

/* Bits of any kind: flags that exist, and some that do not. */
static u64 take_bits(struct input *in)
{
    static const u32 odd[] = {01600, 03600, 01666, 0600, 020000, 040000, 0100000, 050000, 010000, 0x40000, 0x200000};
    u8 how = take_u8(in);

    return how < 160 ? how % 64u : how < 240 ? odd[how % ARRAY_SIZE(odd)] : (u64)1 << how % 32;
}

static u64 take_resource(struct input *in)
{
    static const u32 resources[] = {RLIMIT_AS_,    RLIMIT_DATA_,  RLIMIT_STACK_,  RLIMIT_MEMLOCK_, RLIMIT_AS_,
                                    RLIMIT_FSIZE_, RLIMIT_STACK_, RLIMIT_NOFILE_, RLIMIT_DATA_,    16};

    return ONE_OF(in, resources);
}

/* -- what pointers point to ---------------------------------------------------------------------------------------- */

struct bytes {
    u32 len;
    u8 at[BUFFER_MAX];
};

static void add_bytes(struct bytes *b, const void *p, u32 len)
{
    REQUIRE(b->len + len <= BUFFER_MAX);
    memcpy(b->at + b->len, p, len);
    b->len += len;
}

static void fill_iovecs(struct world *w, struct input *in, struct bytes *b)
{
    u32 nr = take_u8(in), few = nr % 4;

    nr = nr < 240 ? few : few + 9; /* 9 and more: the core allocates */
    for (u32 i = 0; i < nr; i++) {
        u64 iov[2] = {take_addr(w, in), 0};

        iov[0] += take_u8(in) < 200 ? 0 : take_u8(in);
        iov[1] = take_u8(in) < 128 ? take_u16(in) : take_len(in);
        add_bytes(b, iov, sizeof(iov));
    }
}

static void fill_string(struct input *in, struct bytes *b)
{
    static const char text[] =
        "name with [brackets]\\ and `quotes` $, the longest of them being more than 80 bytes.....";
    u8 len = take_u8(in);

    for (u32 i = 0; i < len % 96u; i++)
        add_bytes(b, &text[i % (sizeof(text) - 1)], 1);
    if (len < 240)
        add_bytes(b, "", 1);
}

static void fill_limit(const struct mm *mm, struct input *in, struct bytes *b)
{
    u64 limit[2] = {RLIM_INFINITY_, RLIM_INFINITY_};
    u8 how = take_u8(in);

    if (how < 160)
        limit[0] = ((how & 1 ? mm->total_vm : 0) + take_u8(in)) * PAGE_SIZE;
    if (how & 2)
        limit[1] = limit[0] + take_u8(in);
    add_bytes(b, limit, sizeof(limit));
}

static void fill_some(struct input *in, struct bytes *b)
{
    u32 len = take_u8(in);

    for (u32 i = 0; i < len % 144u; i++) {
        u8 byte = take_u8(in);

        add_bytes(b, &byte, 1);
    }
}

/* The bytes are behind argument n: given, in memory, or, one time in sixteen, who knows. */
static void give_bytes(struct world *w, struct input *in, struct made_call *call, u32 n, const struct bytes *b)
{
    u8 how = take_u8(in);

    call->c.arg[n] = take_addr(w, in) + how % 4;
    if (how >= 240)
        return;
    if (how >= 128) {
        struct fault_info fi;

        mmu_copy_to_user(world_cpu(w), call->c.arg[n], b->at, b->len, &fi);
        return;
    }
    call->bytes[n] = malloc(b->len ? b->len : 1);
    memcpy(call->bytes[n], b->at, b->len);
    call->c.in[n] = (struct abi_buf){call->bytes[n], b->len};
}

/* Room that is given, or somewhere in memory. */
static void give_room(struct world *w, struct input *in, struct made_call *call, u32 n)
{
    u8 how = take_u8(in);

    call->c.arg[n] = take_addr(w, in);
    if (how >= 128)
        return;
    free(call->bytes[n]);
    call->bytes[n] = calloc(1, how + 1u);
    call->c.out[n] = (struct abi_buf){call->bytes[n], how};
}

static void take_pointer(struct world *w, struct input *in, struct made_call *call, u32 n, char kind)
{
    struct bytes b = {0};

    switch (kind) {
    case 'V':
        fill_iovecs(w, in, &b);
        call->c.arg[n + 1] = b.len / 16;
        break;
    case 'S':
        fill_string(in, &b);
        break;
    case 'L':
        fill_limit(w->task[w->now]->mm, in, &b);
        break;
    case 'O':
        give_room(w, in, call, n);
        return;
    case 'B':
        give_room(w, in, call, n);
        call->c.in[n] = call->c.out[n];
        return;
    default:
        fill_some(in, &b);
    }
    give_bytes(w, in, call, n, &b);
}

/* -- the call ------------------------------------------------------------------------------------------------------ */

static u64 take_process(struct world *w, struct input *in, struct made_call *call)
{
    struct task *t = w->task[take_u8(in) % (MAX_TASKS + 1) % MAX_TASKS];

    call->c.target = t;
    return t ? (u64)t->pid : 0;
}

static u64 take_file(struct world *w, struct input *in, struct made_call *call)
{
    call->fd = take_u8(in) % NR_FILES;
    call->c.file = w->file[call->fd];
    return call->c.file ? 10 + call->fd : ~(u64)0;
}

static u64 take_number(struct world *w, struct input *in, struct made_call *call, char kind)
{
    switch (kind) {
    case 'a':
        return take_addr(w, in);
    case 'l':
        return take_len(in);
    case 'p':
        return take_prot(in);
    case 'm':
        return take_map_flags(in);
    case 'r':
        return take_u8(in) % 8;
    case 'f':
        return take_file(w, in, call);
    case 'o':
        return take_u8(in) < 224 ? (u64)(take_u8(in) % 40) * PAGE_SIZE : take_u64(in);
    case 'k':
    case 'n':
        return (u64)(take_u8(in) % 20) - 2;
    case 'v':
        return take_advice(in);
    case 'i':
        return take_process(w, in, call);
    case 'b':
        return w->task[w->now]->mm->start_brk + take_u16(in) * 4u;
    case 'M':
        return take_u8(in) % 9;
    case 'R':
        return take_resource(in);
    case 's':
        return (u64)(s64)w->shmid[take_u8(in) % NR_SHMS];
    case 'F':
        return take_fcntl(in);
    case 'H':
        return take_shmctl(in);
    case 'x':
        return take_bits(in);
    default:
        return take_u8(in) < 240 ? 0 : 1;
    }
}

/* PR_SET_MM_MAP: a description that is mostly right, with an auxiliary vector behind it. */
static void make_set_map(struct world *w, struct input *in, struct made_call *call)
{
    struct bytes b = {0};
    struct mm_map map;
    u64 aux[4] = {6, PAGE_SIZE, 0, 0};
    u8 how = take_u8(in);

    get_prctl_map(w->task[w->now]->mm, &map);
    for (u32 i = 0; i < NR_PRCTL_MM_ADDRESSES; i++)
        if (!(&map.start_code)[i])
            (&map.start_code)[i] = WINDOW_BASE;
    for (u32 n = how % 4; n; n--)
        (&map.start_code)[take_u8(in) % NR_PRCTL_MM_ADDRESSES] = take_addr(w, in);
    map.auxv = how & 4 ? take_addr(w, in) : 0;
    map.auxv_size = how & 4 ? how : 0;
    map.exe_fd = how & 8 ? 10 : ~0u;
    if (how & 8)
        take_file(w, in, call);
    add_bytes(&b, &map, sizeof(map));
    if (how & 16)
        for (u32 i = 0; i < 8; i++)
            add_bytes(&b, aux, sizeof(aux));
    give_bytes(w, in, call, 2, &b);
    call->c.arg[3] = sizeof(map);
}

static void make_set_mm(struct world *w, struct input *in, struct made_call *call)
{
    call->c.arg[1] = take_u8(in) % 17;
    switch (call->c.arg[1]) {
    case 12: /* PR_SET_MM_AUXV */
        take_pointer(w, in, call, 2, 'A');
        call->c.arg[3] = call->c.in[2].len;
        break;
    case 13: /* PR_SET_MM_EXE_FILE */
        call->c.arg[2] = take_file(w, in, call);
        break;
    case 14: /* PR_SET_MM_MAP */
        make_set_map(w, in, call);
        break;
    case 15: /* PR_SET_MM_MAP_SIZE */
        give_room(w, in, call, 2);
        break;
    default:
        call->c.arg[2] = take_addr(w, in);
    }
}

static void make_prctl(struct world *w, struct input *in, struct made_call *call)
{
    static const u32 options[] = {35, 35, 35, 0x53564d41, 0x53564d41, 0x41555856, 3, 4, 41, 42, 65, 66, 67, 67, 68, 1};
    u64 *arg = call->c.arg;

    arg[0] = ONE_OF(in, options);
    if (arg[0] == 35) {
        make_set_mm(w, in, call);
    } else if (arg[0] == 0x53564d41) { /* PR_SET_VMA */
        arg[2] = take_addr(w, in);
        arg[3] = take_len(in);
        if (take_u8(in) < 200)
            take_pointer(w, in, call, 4, 'S');
    } else if (arg[0] == 0x41555856) { /* PR_GET_AUXV */
        give_room(w, in, call, 1);
        arg[2] = take_u16(in);
    } else {
        arg[1] = take_u8(in) % 4;
        arg[2] = take_u8(in) < 240 ? 0 : 2;
    }
}

static bool is_pointer(char kind)
{
    return strchr("VSLOB", kind);
}

void call_make(struct world *w, struct input *in, enum abi_nr nr, struct made_call *call)
{
    const char *kinds = shape[nr];

    REQUIRE(kinds && abi_is_modelled(nr)); /* a new call in the table wants a line in `shape` */
    memset(call, 0, sizeof(*call));
    call->c.nr = nr;
    if (nr == ABI_prctl)
        make_prctl(w, in, call);
    for (u32 n = 0; kinds[n]; n++) {
        if (is_pointer(kinds[n]))
            take_pointer(w, in, call, n, kinds[n]);
        else if (kinds[n] != 'c')
            call->c.arg[n] = take_number(w, in, call, kinds[n]);
    }
    if (take_u8(in) >= 240)
        call->c.arg[take_u8(in) % 6] = take_u64(in);
    /* room that is given swallows everything: the answer for terabytes would take hours */
    if (nr == ABI_mincore && call->c.out[2].p && call->c.arg[1] < (u64)1 << 56)
        call->c.arg[1] %= (u64)1 << 32;
}

void call_free(struct made_call *call)
{
    for (u32 n = 0; n < 6; n++)
        free(call->bytes[n]);
}
