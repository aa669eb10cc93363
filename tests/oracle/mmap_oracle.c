/* SPDX-License-Identifier: MIT */
/*
 * The running Linux kernel as the oracle of mmap, munmap, mprotect, mremap, brk and madvise.
 *
 * A child process performs random operations in an arena of a few hundred pages where nothing else lives; the library
 * does the same on a machine. After every step the return value or errno and all VMAs in the arena (start, end,
 * permissions, offset) must agree with /proc/PID/maps, every few steps also the flags of each with VmFlags of
 * /proc/PID/smaps, and the books must balance.
 *
 *   QUIRE_SEED=n    one run from this seed     QUIRE_STEPS=n    steps per run
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/testing_full.h"
#include "cache/filemap.h"
#include "vm/vma.h"

#define ARENA 0x180000000000ul
#define ARENA_PAGES 160
#define ARENA_END (ARENA + ARENA_PAGES * PAGE_SIZE)
#define FILE_PAGES 4096
#define KEPT_OPS 24

enum op_kind { OP_MMAP, OP_MUNMAP, OP_MPROTECT, OP_MREMAP, OP_BRK, OP_MADVISE, OP_QUIT };
static const char *const op_names[] = {"mmap", "munmap", "mprotect", "mremap", "brk", "madvise", "quit"};

enum { FILE_NONE, FILE_RW, FILE_RO, FILE_WO, NR_FILES };

struct op {
    enum op_kind kind;
    u64 addr, len, new_len, new_addr, off;
    u32 prot, flags;
    int file;
    int advice;
};

/* -- the child: raw system calls only, so that nothing of its own moves -------------------------------------------- */

static int fds[NR_FILES] = {-1, -1, -1, -1};

static s64 raw(long r)
{
    return r == -1 ? -(s64)errno : (s64)r;
}

static s64 native_do(const struct op *o)
{
    switch (o->kind) {
    case OP_MMAP:
        return raw(syscall(SYS_mmap, o->addr, o->len, o->prot, o->flags, fds[o->file], o->off));
    case OP_MUNMAP:
        return raw(syscall(SYS_munmap, o->addr, o->len));
    case OP_MPROTECT:
        return raw(syscall(SYS_mprotect, o->addr, o->len, o->prot));
    case OP_MREMAP:
        return raw(syscall(SYS_mremap, o->addr, o->len, o->new_len, o->flags, o->new_addr));
    case OP_MADVISE:
        return raw(syscall(SYS_madvise, o->addr, o->len, o->advice));
    default:
        return syscall(SYS_brk, o->addr);
    }
}

static void child_loop(int sock)
{
    struct op o;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    while (read(sock, &o, sizeof(o)) == (ssize_t)sizeof(o) && o.kind != OP_QUIT) {
        s64 r = native_do(&o);

        if (write(sock, &r, sizeof(r)) != (ssize_t)sizeof(r))
            break;
    }
    _exit(0);
}

/* -- one run ------------------------------------------------------------------------------------------------------- */

struct run {
    u64 seed, state;
    struct machine *m;
    struct cpu *cpu;
    struct task *task;
    struct file *files[NR_FILES];
    pid_t child;
    int sock;
    int maps_fd, smaps_fd;
    u64 native_brk0, model_brk0;
    u64 step;
    struct op ops[KEPT_OPS];
    s64 results[KEPT_OPS];
    char text[2][1 << 17]; /* native, model */
};

static u64 pick(struct run *r, u64 below)
{
    return (test_random(&r->state) >> 11) % below;
}

static bool chance(struct run *r, u32 percent)
{
    return pick(r, 100) < percent;
}

static s64 ask_native(struct run *r, const struct op *o)
{
    s64 result = 0;

    assert_int_equal(write(r->sock, o, sizeof(*o)), sizeof(*o));
    assert_int_equal(read(r->sock, &result, sizeof(result)), sizeof(result));
    return result;
}

static s64 ask_model(struct run *r, const struct op *o)
{
    switch (o->kind) {
    case OP_MMAP:
        return sys_mmap(r->cpu, o->addr, o->len, o->prot, o->flags, r->files[o->file], o->off);
    case OP_MUNMAP:
        return sys_munmap(r->cpu, o->addr, o->len);
    case OP_MPROTECT:
        return sys_mprotect(r->cpu, o->addr, o->len, o->prot);
    case OP_MREMAP:
        return sys_mremap(r->cpu, o->addr, o->len, o->new_len, o->flags, o->new_addr);
    case OP_MADVISE:
        return sys_madvise(r->cpu, o->addr, o->len, o->advice);
    default:
        return sys_brk(r->cpu, o->addr);
    }
}

static int op_print(char *buf, size_t size, const struct op *o)
{
    return snprintf(
        buf, size,
        "%s(addr %ld/%#lx, len %ld/%#lx, prot %#x, flags %#x, file %d, off %#lx, new_len %ld, new_addr %ld, "
        "advice %d)",
        op_names[o->kind], (long)(o->addr - ARENA) / 4096, (unsigned long)o->addr, (long)o->len / 4096,
        (unsigned long)o->len, o->prot, o->flags, o->file, (unsigned long)o->off, (long)o->new_len / 4096,
        (long)(o->new_addr - ARENA) / 4096, o->advice);
}

static void report(struct run *r, const char *why, s64 native, s64 model)
{
    char line[512];

    print_error("seed %#llx step %llu: %s: native %lld (%#llx), model %lld (%#llx)\n", (unsigned long long)r->seed,
                (unsigned long long)r->step, why, (long long)native, (unsigned long long)native, (long long)model,
                (unsigned long long)model);
    for (u64 i = r->step >= KEPT_OPS ? r->step - KEPT_OPS + 1 : 0; i <= r->step; i++) {
        op_print(line, sizeof(line), &r->ops[i % KEPT_OPS]);
        print_error("  %s = %lld\n", line, (long long)r->results[i % KEPT_OPS]);
    }
    fprintf(stderr, "native:\n%smodel:\n%s", r->text[0], r->text[1]);
    fail_msg("%s", why);
}

/* -- maps ---------------------------------------------------------------------------------------------------------- */

static size_t read_all(int fd, char *buf, size_t size)
{
    size_t n = 0;
    ssize_t got;

    while (n < size - 1 && (got = pread(fd, buf + n, size - 1 - n, (off_t)n)) > 0)
        n += (size_t)got;
    buf[n] = '\0';
    return n;
}

/* The two-letter names behind VmFlags, without those that only this kernel's configuration decides. */
static char *copy_flags(char *out, const char *flags)
{
    char name[3];
    int used;

    for (; sscanf(flags, " %2s%n", name, &used) == 1; flags += used)
        if (strcmp(name, "sd") && strcmp(name, "um"))
            out += sprintf(out, " %s", name);
    return out;
}

/* The arena's part, one VMA per line: pages from the arena's start, permissions, offset, flags if asked for. */
static void native_list(struct run *r, bool flags)
{
    static char raw_text[1 << 19];
    char *out = r->text[0], *line, *save = NULL;
    bool inside = false;

    *out = '\0';
    read_all(flags ? r->smaps_fd : r->maps_fd, raw_text, sizeof(raw_text));
    for (line = strtok_r(raw_text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        unsigned long start, end, off;
        char perms[8];

        if (sscanf(line, "%lx-%lx %7s %lx", &start, &end, perms, &off) == 4) {
            inside = start < ARENA_END && end > ARENA;
            if (inside)
                out += sprintf(out, "%4ld-%-4ld %s %lx%s", ((long)start - (long)ARENA) / 4096,
                               ((long)end - (long)ARENA) / 4096, perms, off, flags ? "" : "\n");
        } else if (flags && inside && !strncmp(line, "VmFlags:", 8)) {
            out = copy_flags(out, line + 8);
            out += sprintf(out, "\n");
        }
    }
}

/* In the order in which the kernel prints them. */
static const struct {
    vm_flags_t bit;
    const char *name;
} flag_names[] = {
    {VM_READ, "rd"},       {VM_WRITE, "wr"},     {VM_EXEC, "ex"},       {VM_SHARED, "sh"},     {VM_MAYREAD, "mr"},
    {VM_MAYWRITE, "mw"},   {VM_MAYEXEC, "me"},   {VM_MAYSHARE, "ms"},   {VM_GROWSDOWN, "gd"},  {VM_LOCKED, "lo"},
    {VM_SEQ_READ, "sr"},   {VM_RAND_READ, "rr"}, {VM_DONTCOPY, "dc"},   {VM_DONTEXPAND, "de"}, {VM_ACCOUNT, "ac"},
    {VM_NORESERVE, "nr"},  {VM_SYNC, "sf"},      {VM_WIPEONFORK, "wf"}, {VM_DONTDUMP, "dd"},   {VM_HUGEPAGE, "hg"},
    {VM_NOHUGEPAGE, "nh"}, {VM_DROPPABLE, "dp"},
};

static void model_list(struct run *r, bool flags)
{
    char *out = r->text[1];
    struct vm_area_struct *vma;

    *out = '\0';
    for_each_vma (vma, r->task->mm) {
        vm_flags_t f = vma->vm_flags;

        if (vma->vm_start >= ARENA_END || vma->vm_end <= ARENA)
            continue;
        out += sprintf(out, "%4ld-%-4ld %c%c%c%c %lx", ((long)vma->vm_start - (long)ARENA) / 4096,
                       ((long)vma->vm_end - (long)ARENA) / 4096, f & VM_READ ? 'r' : '-', f & VM_WRITE ? 'w' : '-',
                       f & VM_EXEC ? 'x' : '-', f & VM_MAYSHARE ? 's' : 'p',
                       vma->vm_file ? (unsigned long)vma->vm_pgoff.nr << PAGE_SHIFT : 0);
        for (u32 i = 0; flags && i < ARRAY_SIZE(flag_names); i++)
            if (f & flag_names[i].bit)
                out += sprintf(out, " %s", flag_names[i].name);
        out += sprintf(out, "\n");
    }
}

/* -- random operations --------------------------------------------------------------------------------------------- */

static u64 some_pages(struct run *r)
{
    return 1 + pick(r, chance(r, 70) ? 6 : 40);
}

static u64 some_addr(struct run *r)
{
    return ARENA + (pick(r, ARENA_PAGES - 40) << PAGE_SHIFT);
}

static u32 some_prot(struct run *r)
{
    static const u32 prots[] = {PROT_NONE,
                                PROT_READ,
                                PROT_READ | PROT_WRITE,
                                PROT_READ | PROT_WRITE,
                                PROT_READ | PROT_WRITE,
                                PROT_READ | PROT_EXEC,
                                PROT_WRITE,
                                PROT_READ | PROT_WRITE | PROT_EXEC};

    return prots[pick(r, ARRAY_SIZE(prots))];
}

static void make_mmap(struct run *r, struct op *o)
{
    static const u32 extra[] = {MAP_NORESERVE, MAP_POPULATE,  MAP_STACK, MAP_GROWSDOWN,
                                MAP_NONBLOCK,  MAP_DENYWRITE, MAP_LOCKED};

    o->prot = some_prot(r);
    o->flags = chance(r, 75) ? MAP_FIXED : chance(r, 40) ? MAP_FIXED_NOREPLACE : 0;
    o->flags |= chance(r, 80) ? MAP_PRIVATE : chance(r, 80) ? MAP_SHARED : MAP_SHARED_VALIDATE;
    if (chance(r, 65)) {
        o->flags |= MAP_ANONYMOUS;
    } else {
        o->file = chance(r, 80) ? FILE_RW : (int)(FILE_RO + pick(r, 2));
        /* Often the offset that continues what may lie beside it. */
        o->off = chance(r, 80) ? o->addr - ARENA : pick(r, 1000) << PAGE_SHIFT;
    }
    if (chance(r, 25))
        o->flags |= extra[pick(r, ARRAY_SIZE(extra))];
    if (chance(r, 2))
        o->off += chance(r, 50) ? 0x123 : (u64)-0x4000;
    if (chance(r, 2))
        o->flags ^= MAP_PRIVATE;
    if (chance(r, 2))
        o->flags |= MAP_SYNC;
    if (chance(r, 2))
        o->flags |= MAP_HUGETLB;
    if (chance(r, 3) && (o->flags & (MAP_ANONYMOUS | MAP_SHARED)) == MAP_ANONYMOUS && !(o->flags & MAP_HUGETLB))
        o->flags = (o->flags & ~(u32)MAP_PRIVATE) | MAP_DROPPABLE_;
}

static void make_mremap(struct run *r, struct op *o)
{
    o->new_len = chance(r, 35) ? o->len : some_pages(r) << PAGE_SHIFT;
    o->flags = chance(r, 85) ? MREMAP_MAYMOVE_ : 0;
    if (chance(r, 55))
        o->flags |= MREMAP_FIXED_;
    if (chance(r, 8))
        o->flags |= MREMAP_DONTUNMAP_;
    if ((o->flags & MREMAP_DONTUNMAP_) && chance(r, 90))
        o->new_len = o->len;
    o->new_addr = some_addr(r);
    if (chance(r, 3))
        o->len = 0;
    if (chance(r, 1))
        o->new_addr += 0x10;
    if (chance(r, 1))
        o->flags |= 8;
}

static void make_op(struct run *r, struct op *o)
{
    static const int advices[] = {
        0,  1,  2,  3, MADV_DONTNEED, MADV_DONTNEED, MADV_FREE, 10, 11, 14, 15, 16, 17, 18, 19, 22, 23, 23, 23,
        23, 23, 24, 77};
    u64 kind = pick(r, 100);

    *o = (struct op){.addr = some_addr(r), .len = some_pages(r) << PAGE_SHIFT};
    if (kind < 34) {
        o->kind = OP_MMAP;
        make_mmap(r, o);
    } else if (kind < 46) {
        o->kind = OP_MUNMAP;
    } else if (kind < 66) {
        o->kind = OP_MPROTECT;
        o->prot = some_prot(r) | (chance(r, 3) ? PROT_GROWSDOWN : 0) | (chance(r, 1) ? 0x100 : 0);
    } else if (kind < 80) {
        o->kind = OP_MREMAP;
        make_mremap(r, o);
    } else if (kind < 98) {
        o->kind = OP_MADVISE;
        o->advice = advices[pick(r, ARRAY_SIZE(advices))];
    } else {
        o->kind = OP_BRK;
    }
    if (chance(r, 2))
        o->addr += chance(r, 50) ? 1 : 0x800;
    if (chance(r, 2))
        o->len = chance(r, 50) ? 0 : o->len - 0x7ff;
    if (chance(r, 1) && chance(r, 30))
        o->len = (u64)-0x1000 * pick(r, 3);
}

static bool outside(s64 result)
{
    return !IS_ERR_VALUE(result) && ((u64)result < ARENA || (u64)result >= ARENA_END) && result;
}

static void do_brk(struct run *r)
{
    u64 delta = pick(r, 40 * PAGE_SIZE);
    struct op o = {.kind = OP_BRK, .addr = r->native_brk0 + delta}, p = {.kind = OP_BRK, .addr = r->model_brk0 + delta};
    s64 native = ask_native(r, &o) - (s64)r->native_brk0, model = ask_model(r, &p) - (s64)r->model_brk0;

    r->results[r->step % KEPT_OPS] = native;
    if (native != model)
        report(r, "brk", native, model);
}

/* Both chose an address of their own: nothing to compare but that they did. Away with it. */
static void drop_chosen(struct run *r, const struct op *o, s64 native, s64 model)
{
    u64 len = o->kind == OP_MREMAP ? o->new_len : o->len;
    struct op n = {.kind = OP_MUNMAP, .addr = (u64)native, .len = len}, k = n;

    k.addr = (u64)model;
    assert_int_equal(ask_native(r, &n), 0);
    assert_int_equal(ask_model(r, &k), 0);
}

static void do_step(struct run *r)
{
    struct op *o = &r->ops[r->step % KEPT_OPS];
    s64 native, model;

    make_op(r, o);
    if (o->kind == OP_BRK) {
        do_brk(r);
        return;
    }
    native = ask_native(r, o);
    model = ask_model(r, o);
    r->results[r->step % KEPT_OPS] = native;
    if ((o->kind == OP_MMAP || o->kind == OP_MREMAP) && outside(native) && outside(model))
        drop_chosen(r, o, native, model);
    else if (native != model)
        report(r, "result", native, model);
}

static void compare(struct run *r, bool flags)
{
    native_list(r, flags);
    model_list(r, flags);
    if (strcmp(r->text[0], r->text[1]))
        report(r, "VMAs differ", 0, 0);
}

static void check_books(struct run *r)
{
    struct check_report *report_ = calloc(1, sizeof(*report_));

    vma_check(r->task->mm, report_);
    if (report_->nr) {
        print_error("%s\n", report_->text[0]);
        report(r, "books", 0, 0);
    }
    free(report_);
}

/* -- setting up ---------------------------------------------------------------------------------------------------- */

static void start_child(struct run *r)
{
    int pair[2];
    char path[64];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    r->child = fork();
    assert_true(r->child >= 0);
    if (!r->child) {
        close(pair[0]);
        child_loop(pair[1]);
    }
    close(pair[1]);
    r->sock = pair[0];
    snprintf(path, sizeof(path), "/proc/%d/maps", r->child);
    r->maps_fd = open(path, O_RDONLY);
    snprintf(path, sizeof(path), "/proc/%d/smaps", r->child);
    r->smaps_fd = open(path, O_RDONLY);
    assert_true(r->maps_fd >= 0 && r->smaps_fd >= 0);
}

static void stop_child(struct run *r)
{
    struct op quit = {.kind = OP_QUIT};

    assert_int_equal(write(r->sock, &quit, sizeof(quit)), sizeof(quit));
    waitpid(r->child, NULL, 0);
    close(r->sock);
    close(r->maps_fd);
    close(r->smaps_fd);
}

static u32 host_overcommit(void)
{
    FILE *f = fopen("/proc/sys/vm/overcommit_memory", "r");
    unsigned int mode = 0;

    if (f) {
        if (fscanf(f, "%u", &mode) != 1)
            mode = 0;
        fclose(f);
    }
    return mode;
}

static void start_model(struct run *r)
{
    static const u32 modes[NR_FILES] = {0, FMODE_READ | FMODE_WRITE, FMODE_READ, FMODE_WRITE};
    struct machine_config c;

    test_config(&c);
    c.content = CONTENT_NONE;
    c.overcommit_memory = host_overcommit();
    c.page_cache_warm = true;
    r->m = test_machine_full(&c);
    r->cpu = test_cpu(r->m);
    r->task = test_task(r->cpu, 1);
    if (!geteuid())
        r->task->signal->cap_effective = (u64)1 << CAP_IPC_LOCK_;
    for (int i = FILE_RW; i < NR_FILES; i++) {
        r->files[i] = file_open(r->cpu, 1, 1, FILE_PAGES * PAGE_SIZE, modes[i], "oracle");
        assert_false(IS_ERR(r->files[i]));
    }
    r->task->mm->start_brk = r->task->mm->brk = 0x555555560000;
}

static void stop_model(struct run *r)
{
    task_exit(r->cpu, r->task);
    assert_int_equal(atomic_load(&r->m->vm->vm_committed_as), 0);
    for (int i = FILE_RW; i < NR_FILES; i++)
        fput(r->cpu, r->files[i]);
    if (getenv("QUIRE_FULL_CHECK"))
        assert_books(machine_check, r->m);
    test_machine_end(r->m);
}

static void run_seed(u64 seed, u64 steps)
{
    struct run *r = calloc(1, sizeof(*r));
    struct op brk0 = {.kind = OP_BRK};

    r->seed = r->state = seed;
    start_child(r);
    start_model(r);
    r->native_brk0 = ((u64)ask_native(r, &brk0) + 4095) & PAGE_MASK;
    brk0.addr = r->native_brk0;
    ask_native(r, &brk0);
    r->model_brk0 = r->task->mm->start_brk;
    for (r->step = 0; r->step < steps; r->step++) {
        do_step(r);
        compare(r, r->step % 8 == 0);
        if (r->step % 4 == 0)
            check_books(r);
    }
    stop_child(r);
    stop_model(r);
    free(r);
}

static int open_files(void **state)
{
    char path[] = "/tmp/quire-oracle-XXXXXX";

    fds[FILE_RW] = mkstemp(path);
    assert_true(fds[FILE_RW] >= 0);
    assert_int_equal(ftruncate(fds[FILE_RW], FILE_PAGES * PAGE_SIZE), 0);
    fds[FILE_RO] = open(path, O_RDONLY);
    fds[FILE_WO] = open(path, O_WRONLY);
    unlink(path);
    return 0;
}

/* mremap moves several VMAs at once since 6.17: older kernels are no oracle for that. */
static bool kernel_is_new_enough(void)
{
    struct utsname u;
    int major = 0, minor = 0;

    uname(&u);
    return !strcmp(u.sysname, "Linux") && sscanf(u.release, "%d.%d", &major, &minor) == 2 &&
           (major > 6 || (major == 6 && minor >= 17));
}

static void test_oracle(void **state)
{
    const char *seed = getenv("QUIRE_SEED"), *steps = getenv("QUIRE_STEPS");
    u64 nr = steps ? strtoull(steps, NULL, 0) : 1500;

    if (!kernel_is_new_enough())
        skip();
    if (seed) {
        run_seed(strtoull(seed, NULL, 0), nr);
        return;
    }
    for (u64 i = 1; i <= 4; i++)
        run_seed(i * 0x9e3779b97f4a7c15ull, nr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_oracle)};

    return cmocka_run_group_tests(tests, open_files, NULL);
}
