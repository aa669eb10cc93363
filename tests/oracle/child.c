/* SPDX-License-Identifier: MIT */
/*
 * The native side of the oracle: real processes that do what the shared memory says. Freestanding and static, so that
 * its address space holds almost nothing and nothing of its own moves: no C library, no heap, its stack in .bss.
 *
 *   supervisor ──fork──▶ process 0 ──fork──▶ process 1 …     all are children of the supervisor (CLONE_PARENT), which
 *        ▲                                                   waits for each that exits, so that its memory is gone
 *        └───────────── whose turn it is: shared->turn       when the next op begins
 *
 * Processes may share their memory (CLONE_VM): what each has for itself lies at the lower end of its stack. With
 * CLONE_VFORK the parent sleeps; the child then says that the op is done. execve runs this program again, which goes on
 * as the process that its argument names.
 *
 * x86-64 only: the entry, the accesses and the return from signals are assembly.
 */
#include "tests/oracle/views.h"

#include <asm/sigcontext.h>
#include <asm/siginfo.h>
#include <asm/signal.h>
#include <asm/stat.h>
#include <asm/ucontext.h>
#include <asm/unistd.h>
#include <linux/futex.h>
#include <linux/prctl.h>
#include <linux/resource.h>
#include <linux/sched.h>
#include <linux/time.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;

#define STACK_BYTES 65536u
#define TEXT_BYTES (160u << 10)
#define O_CLOEXEC 02000000
#define AT_EMPTY_PATH 0x1000
#define AT_RANDOM_BYTES 25
#define MOVE_LOOKS 20000u /* of 70 us: more than a second */

void *memset(void *p, int c, unsigned long n);
void *memcpy(void *d, const void *s, unsigned long n);
void child_main(u64 *sp);
void shared_main(void);

static u8 own_stack[ORACLE_STACKS][STACK_BYTES] __attribute__((aligned(65536), used));
static char text[TEXT_BYTES] __attribute__((aligned(4096)));
static u64 pagemap[ORACLE_PAGES_SEEN] __attribute__((aligned(4096)));
static struct oracle_views views;
static struct oracle_shared *const shared = (struct oracle_shared *)ORACLE_SHARED_AT;

/* A process's own, at the lower end of its stack. */
struct self {
    u32 me;
    int fds[ORACLE_SLOTS];
    int maps_fd, smaps_fd, pagemap_fd;
};

static inline struct self *self(void)
{
    u64 sp;

    __asm__ volatile("mov %%rsp, %0" : "=r"(sp));
    return (struct self *)(sp & -(u64)STACK_BYTES);
}

/* -- system calls, accesses ---------------------------------------------------------------------------------------- */

static inline s64 call6(s64 nr, const u64 *a)
{
    register u64 r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4], r9 __asm__("r9") = a[5];
    s64 ret;

    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "0"(nr), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return ret;
}

#define CALL(nr, ...) CALL_(nr, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define CALL_(nr, a, b, c, d, e, f, ...)                                                                               \
    call6(__NR_##nr, (const u64[6]){(u64)(a), (u64)(b), (u64)(c), (u64)(d), (u64)(e), (u64)(f)})

void *memset(void *p, int c, unsigned long n)
{
    for (u8 *q = p; n--;)
        *q++ = (u8)c;
    return p;
}

void *memcpy(void *d, const void *s, unsigned long n)
{
    u8 *to = d;

    for (const u8 *from = s; n--;)
        *to++ = *from++;
    return d;
}

/* Each of these either does its access and returns, or is continued at fault_return by the signal handler. */
u64 access_load(u64 addr);
void access_store(u64 addr, u64 value);
void access_exec(u64 addr);
u64 access_sum(u64 page);
s64 clone_shared(u64 flags, void *stack);
extern char fault_return[];
__asm__(".text\n"
        "_start: mov %rsp, %rdi\n"
        "  lea own_stack+65536(%rip), %rsp\n" /* the first stack */
        "  xor %ebp, %ebp\n"
        "  call child_main\n"
        "  ud2\n"
        ".globl _start\n"
        "clone_shared: mov $56, %eax\n" /* clone(flags, stack): the child begins in shared_main() */
        "  xor %edx, %edx\n"
        "  xor %r10d, %r10d\n"
        "  xor %r8d, %r8d\n"
        "  syscall\n"
        "  test %rax, %rax\n"
        "  jnz 1f\n"
        "  xor %ebp, %ebp\n"
        "  call shared_main\n"
        "1: ret\n"
        "access_load: movzbl (%rdi), %eax\n"
        "  ret\n"
        "access_store: movb %sil, (%rdi)\n"
        "  ret\n"
        "access_exec: jmp *%rdi\n"
        "access_sum: xor %eax, %eax\n"
        "  mov $0x9e3779b97f4a7c15, %rdx\n"
        "  mov $512, %ecx\n"
        "1: xor (%rdi), %rax\n"
        "  imul %rdx, %rax\n"
        "  rol $23, %rax\n"
        "  add $8, %rdi\n"
        "  dec %ecx\n"
        "  jnz 1b\n"
        "  ret\n"
        "fault_return: ret\n"
        "restore: mov $15, %eax\n" /* rt_sigreturn */
        "  syscall\n");
extern char restore[];

static volatile struct {
    int signo, code;
    u64 addr, sp;
} fault;

static void on_signal(int signo, struct siginfo *info, void *context)
{
    struct ucontext *uc = context;

    fault.signo = signo;
    fault.code = info->si_code;
    fault.addr = (u64)info->si_addr;
    /* access_exec may have been left for code elsewhere: the stack still holds its return address */
    uc->uc_mcontext.rip = (u64)fault_return;
}

static void catch_signal(int signo)
{
    struct {
        void (*handler)(int, struct siginfo *, void *);
        u64 flags;
        char *restorer;
        u64 mask;
    } sa = {on_signal, 0x04000000 | 0x40000000 | 4, restore, 0}; /* SA_RESTORER | SA_NODEFER | SA_SIGINFO */

    CALL(rt_sigaction, signo, &sa, 0, 8);
}

static u64 cycles_now(void)
{
    u32 low, high;

    __asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high));
    return (u64)high << 32 | low;
}

static u32 faults_now(void)
{
    struct rusage u;

    CALL(getrusage, RUSAGE_THREAD, &u);
    return (u32)(u.ru_minflt + u.ru_majflt);
}

/* -- waiting ------------------------------------------------------------------------------------------------------- */

static void futex_wait(_Atomic u32 *word, u32 value)
{
    CALL(futex, word, FUTEX_WAIT, value, 0);
}

static void futex_wake(_Atomic u32 *word)
{
    CALL(futex, word, FUTEX_WAKE, 64, 0);
}

static void set(_Atomic u32 *word, u32 value)
{
    atomic_store(word, value);
    futex_wake(word);
}

/* -- what is seen -------------------------------------------------------------------------------------------------- */

/* False: more than fits. */
static int read_all(int fd)
{
    u32 n = 0;
    s64 got;

    CALL(lseek, fd, 0, 0);
    while (n < TEXT_BYTES - 1 && (got = CALL(read, fd, text + n, TEXT_BYTES - 1 - n)) > 0)
        n += (u32)got;
    text[n] = '\0';
    return n < TEXT_BYTES - 1;
}

static u64 hex(const char **p)
{
    u64 v = 0;

    for (;; (*p)++) {
        u32 c = (u8) * *p;

        if (c - '0' < 10)
            v = v << 4 | (c - '0');
        else if (c - 'a' < 6)
            v = v << 4 | (c - 'a' + 10);
        else
            return v;
    }
}

static u64 decimal(const char **p)
{
    u64 v = 0;

    for (; (u32)((u8) * *p - '0') < 10; (*p)++)
        v = v * 10 + (u64)(**p - '0');
    return v;
}

struct line {
    u64 start, end, offset, dev, ino;
    u32 perms;
};

static u32 object_of(const struct line *l)
{
    if (!l->dev && !l->ino)
        return ORACLE_OBJ_ANON;
    if (l->dev == 1) /* 00:01: the kernel's own tmpfs */
        return ORACLE_OBJ_SHMEM;
    for (u32 i = 0; i < 2; i++)
        if (shared->huge_dev[i] == l->dev)
            return ORACLE_OBJ_HUGE + i;
    for (u32 i = 0; i < ORACLE_SLOTS; i++)
        if (shared->file[i].dev == l->dev && shared->file[i].ino == l->ino)
            return 2 + i;
    return ORACLE_OBJ_OTHER;
}

/* "start-end perms offset major:minor inode ..."; p is left behind the inode. */
static void parse_line(const char **p, struct line *l)
{
    const char *q;

    l->start = hex(p);
    (*p)++;
    l->end = hex(p);
    q = ++*p;
    l->perms = (q[0] == 'r') | (u32)(q[1] == 'w') << 1 | (u32)(q[2] == 'x') << 2 | (u32)(q[3] == 's') << 3;
    *p += 5;
    l->offset = hex(p);
    (*p)++;
    l->dev = hex(p) << 8;
    (*p)++;
    l->dev |= hex(p);
    (*p)++;
    l->ino = decimal(p);
}

/* Swapped, but no guard page, and the host has no swap: the page is being moved to another frame. */
static int moving(u64 entry)
{
    return shared->no_swap && (entry >> 62 & 1) && !(entry >> 58 & 1);
}

static u64 when_moved(u64 at)
{
    struct timespec pause = {0, 20000};
    u64 v = 0;

    for (u32 i = 0; i < MOVE_LOOKS; i++) {
        CALL(pread64, self()->pagemap_fd, &v, 8, at / ORACLE_PAGE * 8);
        if (!moving(v))
            break;
        CALL(nanosleep, &pause, 0);
    }
    return v;
}

static void see_line_pages(struct oracle_result *r, const struct line *l)
{
    u64 pages = (l->end - l->start) / ORACLE_PAGE;

    if (pages > ORACLE_PAGES_SEEN)
        pages = ORACLE_PAGES_SEEN;
    if (CALL(pread64, self()->pagemap_fd, pagemap, pages * 8, l->start / ORACLE_PAGE * 8) != (s64)(pages * 8)) {
        r->pages = oracle_mix(r->pages, 1);
        return;
    }
    for (u64 i = 0; i < pages; i++) {
        u64 at = l->start + i * ORACLE_PAGE, v = moving(pagemap[i]) ? when_moved(at) : pagemap[i];
        u32 bits = (u32)(v >> 63) | (u32)(v >> 61 & 1) << 1 | (u32)(v >> 56 & 1) << 2;
        struct oracle_page p = {at, bits, l->perms, object_of(l)};
        u64 image_end = shared->image_end, table = at & ORACLE_TABLE_MASK;

        if (!oracle_own(at, at + ORACLE_PAGE, image_end) &&
            !(oracle_on_disk(bits, p.object) && oracle_own(table, table - ORACLE_TABLE_MASK, image_end)))
            oracle_mix_page(r, &shared->seen, &p, (int)shared->join);
    }
}

static void see_maps(struct oracle_result *r, u32 see)
{
    struct oracle_line kept = {0}, none = {0};
    const char *p = text;

    if (!read_all(self()->maps_fd))
        return;
    while (*p) {
        struct oracle_line seen;
        struct line l;
        int special;

        parse_line(&p, &l);
        while (*p == ' ')
            p++;
        special = p[0] == '[' && p[1] == 'v'; /* vdso and vvar: the kernel's own pages */
        while (*p && *p++ != '\n')
            ;
        if (l.start >> 63)
            continue;
        seen = (struct oracle_line){l.start, l.end, l.offset, l.perms, object_of(&l)};
        r->maps = oracle_mix_line(r->maps, &kept, &seen, (int)shared->join);
        if ((see & ORACLE_SEE_PAGES) && !special)
            see_line_pages(r, &l);
    }
    r->maps = oracle_mix_line(r->maps, &kept, &none, 0);
    if (!(see & ORACLE_SEE_MAPS))
        r->maps = 0;
}

/* "VmFlags: rd wr mr ..." */
static u64 see_flag_line(const char *p)
{
    u64 sum = 0;

    for (p += 8; p[0] == ' ' && p[1] > ' '; p += 3)
        if (!(p[1] == 's' && p[2] == 'd'))
            sum += oracle_flag(p[1], p[2]);
    return sum;
}

/* "KernelPageSize:        4 kB" */
static u64 number_behind(const char *p)
{
    while (*p != ':')
        p++;
    while (*++p == ' ')
        ;
    return decimal(&p);
}

static void see_flags(struct oracle_result *r)
{
    const char *p = text;
    struct oracle_line l = {0};
    u64 last = 0, end = 0, kernel_kb = 4, mmu_kb = 4, key = 0;

    if (!read_all(self()->smaps_fd))
        return;
    while (*p) {
        u32 c = (u8)*p;

        if (c - '0' < 10 || c - 'a' < 6) {
            l.start = hex(&p);
            p++;
            l.end = hex(&p);
        } else if (p[0] == 'K' && p[1] == 'e') {
            kernel_kb = number_behind(p);
        } else if (p[0] == 'M' && p[1] == 'M') {
            mmu_kb = number_behind(p);
        } else if (p[0] == 'P' && p[3] == 't') { /* "ProtectionKey:  3" */
            key = number_behind(p);
        } else if (p[0] == 'V' && p[1] == 'm' && p[2] == 'F' && !(l.start >> 63)) {
            u64 sum = see_flag_line(p) + oracle_page_sizes(kernel_kb, mmu_kb) + oracle_key(key);

            r->flags = oracle_mix_flags(r->flags, &l, sum, &last, &end, (int)shared->join);
        }
        while (*p && *p++ != '\n')
            ;
    }
}

/* The file's text; no end if it does not fit. */
static int read_view(const char *name)
{
    int fd = (int)CALL(open, name, O_CLOEXEC), fits = fd >= 0 && read_all(fd);

    CALL(close, fd);
    return fits;
}

static void see_numbers(struct oracle_result *r)
{
    static const char numa_maps[] = "/proc/self/numa_maps", status[] = "/proc/self/status",
                      statm[] = "/proc/self/statm";

    views.h = 1;
    views.image_end = shared->image_end;
    if (!read_all(self()->smaps_fd))
        return;
    oracle_view_smaps(&views, text);
    if (!read_view(numa_maps))
        return;
    oracle_view_numa(&views, text);
    if (read_view(status))
        oracle_view_status(&views, text);
    if (read_view(statm))
        oracle_view_statm(&views, text);
    r->numbers = views.h;
}

/* -- ops ----------------------------------------------------------------------------------------------------------- */

static void begin_process(void)
{
    static const char maps[] = "/proc/self/maps", smaps[] = "/proc/self/smaps", pages[] = "/proc/self/pagemap";
    struct self *s = self();

    if (s->maps_fd) {
        CALL(close, s->maps_fd);
        CALL(close, s->smaps_fd);
        CALL(close, s->pagemap_fd);
    }
    s->maps_fd = (int)CALL(open, maps, O_CLOEXEC);
    s->smaps_fd = (int)CALL(open, smaps, O_CLOEXEC);
    s->pagemap_fd = (int)CALL(open, pages, O_CLOEXEC);
    CALL(prctl, PR_SET_PDEATHSIG, SIGKILL);
    /* its own pages are there, and its own: no op finds a fault of theirs counted */
    for (u32 i = 0; i < STACK_BYTES; i += ORACLE_PAGE)
        *((volatile u8 *)s + i) = *((volatile u8 *)s + i);
    for (u32 i = 0; i < TEXT_BYTES; i += ORACLE_PAGE)
        *(volatile char *)&text[i] = text[i];
    for (u32 i = 0; i < ORACLE_PAGES_SEEN; i += 512)
        *(volatile u64 *)&pagemap[i] = pagemap[i];
    fault.signo = 0;
}

static void do_access(const struct oracle_op *op, struct oracle_result *r)
{
    volatile u64 at = op->arg[0], value = op->arg[1]; /* now: the page of the op may be missing itself */
    u32 before, kind = op->kind;

    fault.signo = 0;
    faults_now();
    before = faults_now();
    if (kind == ORACLE_STORE) {
        access_store(at, value);
    } else {
        r->ret = (s64)access_load(at);
        if (kind == ORACLE_EXEC && !fault.signo && r->ret == 0xc3)
            access_exec(at);
    }
    r->faults = faults_now() - before;
    if (fault.signo) {
        r->ret = 0;
        r->signo = fault.signo;
        r->code = fault.code;
        r->addr = fault.addr;
        r->faults = 0;
    }
}

static void do_sum(const struct oracle_op *op, struct oracle_result *r)
{
    u64 h = 0;

    for (u64 i = 0; i < op->arg[1]; i++) {
        u64 sum;

        fault.signo = 0;
        sum = access_sum(op->arg[0] + i * ORACLE_PAGE);
        h = fault.signo ? oracle_mix(h, (u64)fault.signo << 8 | (u64)fault.code) : oracle_mix(h, sum);
    }
    r->ret = (s64)(h >> 1);
}

/* Who finishes the op. */
enum finish { MINE, OTHERS };

static void look(const struct oracle_op *op, struct oracle_result *r);
static void op_done(u32 n);
static void process_loop(void);

/* A stack on which no process of the same memory runs. */
static u32 free_stack(u32 memory)
{
    for (u32 i = 0; i < ORACLE_STACKS; i++) {
        u32 p = 0;

        while (p < ORACLE_PROCS && !(shared->pid[p] > 0 && shared->memory[p] == memory && shared->stack[p] == i))
            p++;
        if (p == ORACLE_PROCS)
            return i;
    }
    return 0;
}

/* The new process: with CLONE_VFORK its parent sleeps, and the op is done when it is born. */
static void be_born(void)
{
    u32 n = atomic_load(&shared->done);
    const struct oracle_op *op = &shared->op[n];

    shared->pid[self()->me] = (int32_t)CALL(getpid, 0);
    begin_process();
    if (op->arg[1] & ORACLE_CLONE_VFORK) {
        look(op, &shared->result[n]);
        set(&shared->turn, self()->me); /* to hand it on in the parent's place */
        op_done(n);
    } else {
        set(&shared->born, atomic_load(&shared->born) + 1);
    }
}

/* Begins with the memory of its parent, which filled in what is its own. */
void shared_main(void)
{
    self()->maps_fd = 0; /* copies of the parent's stay open: they close when it executes, or exits */
    be_born();
    process_loop();
}

static s64 clone_sharer(u32 slot, u64 flags)
{
    u32 stack = free_stack(shared->memory[self()->me]);
    struct self *child = (struct self *)own_stack[stack];

    shared->stack[slot] = stack;
    shared->memory[slot] = shared->memory[self()->me];
    memcpy(child, self(), sizeof(*child));
    child->me = slot;
    return clone_shared(flags, own_stack[stack] + STACK_BYTES);
}

static s64 clone_copy(u32 slot, u64 flags)
{
    s64 pid;

    shared->stack[slot] = shared->stack[self()->me];
    shared->memory[slot] = ++shared->memories;
    pid = CALL(clone, flags);
    if (!pid) {
        self()->me = slot;
        be_born();
    }
    return pid;
}

static enum finish do_fork(const struct oracle_op *op, struct oracle_result *r)
{
    u32 slot = (u32)op->arg[0], born = atomic_load(&shared->born);
    u64 how = op->arg[1], flags = how | CLONE_PARENT | SIGCHLD;
    s64 pid = how & ORACLE_CLONE_VM ? clone_sharer(slot, flags) : clone_copy(slot, flags);

    if (!pid)
        return OTHERS;
    if (pid > 0 && (how & ORACLE_CLONE_VFORK))
        return OTHERS;
    r->ret = pid > 0 ? 0 : pid;
    if (pid < 0)
        return MINE;
    while (atomic_load(&shared->born) == born)
        futex_wait(&shared->born, born);
    return MINE;
}

/* Goes on in child_main() of the new program; comes back only if that is refused. */
static void do_execve(const struct oracle_op *op, struct oracle_result *r)
{
    static const char argv0[] = ORACLE_ARGV0, nothing[] = "";
    char who[2] = {(char)('0' + self()->me), 0};
    const char *argv[3] = {argv0, who, 0}, *envp[ORACLE_ENV_MOST + 1];
    u32 i;

    for (i = 0; i + 1 < op->arg[1]; i++)
        text[i] = 'e';
    text[i] = 0;
    for (i = 0; i < op->arg[0]; i++)
        envp[i] = text;
    envp[i] = 0;
    memcpy(shared->fds[self()->me], self()->fds, sizeof(self()->fds));
    r->ret = CALL(execveat, ORACLE_FD_IMAGE, nothing, argv, envp, AT_EMPTY_PATH);
}

static u64 get_arg(const struct oracle_op *op, struct oracle_result *r, u32 i)
{
    u64 v = op->arg[i];

    switch (op->argkind[i]) {
    case ORACLE_FD:
        return (u64)(s64)self()->fds[v];
    case ORACLE_PID:
        return (u64)shared->pid[v];
    case ORACLE_PIDFD:
        return v == ORACLE_PROCS ? ORACLE_FD_REAPED : (u64)CALL(pidfd_open, shared->pid[v], 0);
    case ORACLE_SHMID:
        return (u64)(s64)shared->shmid[v];
    case ORACLE_KEY:
        return shared->key_base + v;
    case ORACLE_IN:
        return (u64)&op->data[v];
    case ORACLE_OUTPUT:
        return (u64)&r->out[v];
    default:
        return v;
    }
}

/*
 * Holes, growth and MADV_PAGEOUT leave pages of a file on disk out of the page cache: they come back, one by one, as they
 * began. The last one first: a dirty page that could not be paged out has a mark that begins readahead, of large folios,
 * of what is missing behind it.
 */
static void warm_files(void)
{
    for (u32 i = 0; i < sizeof(shared->warm) / sizeof(shared->warm[0]); i++) {
        u32 fd = ORACLE_FD_BASE + shared->warm[i];
        s64 at = (CALL(lseek, fd, 0, 2 /* SEEK_END */) - 1) & -(s64)ORACLE_PAGE;
        u8 byte;

        for (; at >= 0; at -= ORACLE_PAGE)
            CALL(pread64, fd, &byte, 1, at);
    }
}

static u32 advice_of(const struct oracle_op *op)
{
    return (u32)(op->host_nr == __NR_madvise ? op->arg[2] : op->host_nr == __NR_process_madvise ? op->arg[3] : 0);
}

static int makes_cold(const struct oracle_op *op)
{
    u32 advice = advice_of(op);

    return op->host_nr == __NR_ftruncate || op->host_nr == __NR_fallocate || advice == 9 /* MADV_REMOVE */ ||
           advice == 21 /* MADV_PAGEOUT */;
}

static void made_segment(u32 slot, int32_t id)
{
    shared->shmid[slot] = id;
    if (shared->nr_made < sizeof(shared->made) / sizeof(shared->made[0]))
        shared->made[shared->nr_made++] = id;
}

static void do_call(const struct oracle_op *op, struct oracle_result *r)
{
    int *fds = self()->fds;
    u64 a[6];

    oracle_name_nobody((struct oracle_op *)op, shared->nobody);
    for (u32 i = 0; i < 6; i++)
        a[i] = get_arg(op, r, i);
    r->ret = call6(op->host_nr, a);
    for (u32 i = 0; i < 6; i++)
        if (op->argkind[i] == ORACLE_PIDFD && (s64)a[i] >= 0 && a[i] != ORACLE_FD_REAPED)
            CALL(close, a[i]);
    if (makes_cold(op))
        warm_files();
    if (op->host_nr == ORACLE_NR_SHMCTL && (u32)a[1] == ORACLE_IPC_STAT)
        oracle_clean_shmid_ds(r->out);
    if (r->ret < 0 || op->returns == ORACLE_RET_VALUE)
        return;
    if (op->returns == ORACLE_RET_FD) {
        if (fds[op->ret_slot] >= 0)
            CALL(close, fds[op->ret_slot]);
        fds[op->ret_slot] = (int)r->ret;
    } else {
        made_segment(op->ret_slot, (int32_t)r->ret);
    }
    r->ret = 0;
}

static void do_drop(void)
{
    CALL(setgroups, 0, 0);
    CALL(setresgid, ORACLE_NOBODY, ORACLE_NOBODY, ORACLE_NOBODY);
    CALL(setresuid, shared->nobody, shared->nobody, shared->nobody);
    CALL(prctl, PR_SET_DUMPABLE, 1);
    begin_process();
}

static void do_pkru(const struct oracle_op *op, struct oracle_result *r)
{
    u32 before, high;

    __asm__ volatile("rdpkru" : "=a"(before), "=d"(high) : "c"(0));
    __asm__ volatile("wrpkru" ::"a"((u32)op->arg[0]), "c"(0), "d"(0) : "memory");
    r->ret = before;
}

static void do_close(const struct oracle_op *op, struct oracle_result *r)
{
    int *fd = &self()->fds[op->arg[0]];

    r->ret = CALL(close, *fd);
    *fd = -1;
}

/* Not for exits: the supervisor does their rest. */
static enum finish do_op(const struct oracle_op *op, struct oracle_result *r)
{
    if (op->kind == ORACLE_FORK)
        return do_fork(op, r);
    if (op->kind == ORACLE_SYSCALL)
        do_call(op, r);
    else if (op->kind <= ORACLE_EXEC)
        do_access(op, r);
    else if (op->kind == ORACLE_SUM)
        do_sum(op, r);
    else if (op->kind == ORACLE_CLOSE)
        do_close(op, r);
    else if (op->kind == ORACLE_DROP)
        do_drop();
    else if (op->kind == ORACLE_PKRU)
        do_pkru(op, r);
    else if (op->kind == ORACLE_EXECVE)
        do_execve(op, r);
    return MINE;
}

static void look(const struct oracle_op *op, struct oracle_result *r)
{
    u64 begin = cycles_now();

    r->seen_from = shared->seen.nr;
    if (op->see & (ORACLE_SEE_MAPS | ORACLE_SEE_PAGES))
        see_maps(r, op->see);
    if (op->see & ORACLE_SEE_FLAGS)
        see_flags(r);
    if (op->see & ORACLE_SEE_NUMBERS)
        see_numbers(r);
    r->seen_to = shared->seen.nr;
    r->look_cycles = cycles_now() - begin;
}

static void op_done(u32 n)
{
    struct oracle_result *r = &shared->result[n];

    r->cycles = cycles_now() - shared->began - r->look_cycles;
    atomic_store(&shared->done, n + 1);
    if (n + 1 >= atomic_load(&shared->wake_at))
        futex_wake(&shared->done);
}

/* The next op, when it is known and ours to do; NULL: the sequence is over. */
static const struct oracle_op *next_op(void)
{
    for (;;) {
        u32 turn = atomic_load(&shared->turn), n = atomic_load(&shared->done), published;

        if (atomic_load(&shared->stop))
            return 0;
        if (turn != self()->me) {
            futex_wait(&shared->turn, turn);
            continue;
        }
        published = atomic_load(&shared->published);
        if (published <= n) {
            futex_wait(&shared->published, published);
            continue;
        }
        if (shared->op[n].proc == self()->me)
            return &shared->op[n];
        set(&shared->turn, shared->op[n].proc);
    }
}

static void process_loop(void)
{
    const struct oracle_op *op;

    while ((op = next_op())) {
        u32 n = (u32)(op - shared->op);
        struct oracle_result *r = &shared->result[n];

        shared->began = cycles_now();
        if (op->kind == ORACLE_EXIT) {
            shared->reap = self()->me;
            set(&shared->turn, ORACLE_SUPERVISOR);
            break;
        }
        memset(r, 0, sizeof(*r));
        if (do_op(op, r) == OTHERS)
            continue;
        look(op, r);
        op_done(n);
    }
    for (;;)
        CALL(exit_group, 0);
}

/* -- after execve -------------------------------------------------------------------------------------------------- */

static const char *after_spaces(const char *p, u32 nr)
{
    for (; nr; p++)
        nr -= *p == ' ';
    return p;
}

static void see_layout(struct oracle_result *r)
{
    static const char name[] = "/proc/self/stat";
    int fd = (int)CALL(open, name, O_CLOEXEC);
    u64 value[ORACLE_LAYOUT];
    const char *p = text;

    read_all(fd);
    CALL(close, fd);
    while (*p != ')')
        p++;
    p = after_spaces(p, 24); /* to field 26 */
    for (u32 i = 0; i < ORACLE_LAYOUT; i++) {
        if (i == 3)
            p = after_spaces(p, 16); /* to field 45 */
        value[i] = decimal(&p);
        p++;
    }
    memcpy(r->out, value, sizeof(value));
}

/* The kernel's random bytes: nobody else can know them. */
static void clear_random(u64 *sp)
{
    u64 *p = sp + sp[0] + 2;

    while (*p++)
        ;
    for (; p[0]; p += 2)
        if (p[0] == AT_RANDOM_BYTES)
            memset((void *)p[1], 0, 16);
}

static void go_on(u32 slot)
{
    u32 n = atomic_load(&shared->done);
    struct self *s = self();

    s->me = slot;
    for (u32 i = 0; i < ORACLE_SLOTS; i++) {
        s->fds[i] = shared->fds[slot][i];
        if (s->fds[i] >= 0 && CALL(fcntl, s->fds[i], 1 /* F_GETFD */) < 0)
            s->fds[i] = -1;
    }
    shared->stack[slot] = 0;
    shared->memory[slot] = ++shared->memories;
    begin_process();
    memset(&shared->result[n], 0, sizeof(shared->result[n]));
    see_layout(&shared->result[n]);
    look(&shared->op[n], &shared->result[n]);
    op_done(n);
    process_loop();
}

/* -- the supervisor ------------------------------------------------------------------------------------------------ */

static void end_sequence(void)
{
    u64 begin = cycles_now();

    for (u32 i = 0; i < ORACLE_PROCS; i++)
        if (shared->pid[i] > 0)
            CALL(kill, shared->pid[i], SIGKILL);
    while (CALL(wait4, -1, 0, 0x40000000 /* __WALL */, 0) > 0)
        ;
    shared->end_cycles = cycles_now() - begin;
    for (u32 i = 0; i < ORACLE_PROCS; i++)
        shared->pid[i] = 0;
    for (u32 i = 0; i < shared->nr_made; i++)
        CALL(shmctl, shared->made[i], 0, 0);
    shared->nr_made = 0;
    for (u32 i = 0; i < ORACLE_SHMS; i++)
        shared->shmid[i] = -1;
}

static void make_base_segments(void)
{
    for (u32 i = ORACLE_BASE_SHM; i < ORACLE_SHMS; i++) {
        u32 key = shared->key_base + ORACLE_BASE_KEY + i - ORACLE_BASE_SHM;

        made_segment(i, (int32_t)CALL(shmget, key, oracle_base_pages(i) * ORACLE_PAGE, 01000 | oracle_base_mode(i)));
    }
}

static void supervise(void)
{
    while (!atomic_load(&shared->stop)) {
        u32 turn = atomic_load(&shared->turn), n = atomic_load(&shared->done), published;

        if (turn != ORACLE_SUPERVISOR) {
            futex_wait(&shared->turn, turn);
            continue;
        }
        if (shared->reap < ORACLE_PROCS) {
            CALL(wait4, shared->pid[shared->reap], 0, 0x40000000, 0);
            shared->pid[shared->reap] = 0;
            shared->reap = ORACLE_PROCS;
            memset(&shared->result[n], 0, sizeof(shared->result[n]));
            op_done(n);
            continue;
        }
        published = atomic_load(&shared->published);
        if (published <= n)
            futex_wait(&shared->published, published);
        else
            set(&shared->turn, shared->op[n].proc);
    }
}

static u64 first_stack; /* of the supervisor: its lowest page in use */

static void run_sequence(void)
{
    s64 pid;

    /* A new stack page, as in model_begin(): shared by all sequences it would keep marks, missing it comes in when somebody looks at the command line. */
    CALL(madvise, first_stack, ORACLE_STACK_END - first_stack, 4 /* MADV_DONTNEED */);
    *(volatile u8 *)(ORACLE_STACK_END - ORACLE_PAGE) = 0;
    shared->reap = ORACLE_PROCS;
    make_base_segments();
    /* Drains this CPU's batches: what the last sequence has left there holds references. */
    CALL(madvise, ORACLE_STACK_END - ORACLE_PAGE, ORACLE_PAGE, 3 /* MADV_WILLNEED */);
    pid = CALL(clone, SIGCHLD);
    if (!pid) {
        self()->me = 0;
        shared->stack[0] = 0;
        shared->memory[0] = shared->memories = 1;
        shared->pid[0] = (int32_t)CALL(getpid, 0); /* before the supervisor knows it */
        begin_process();
        set(&shared->born, 1);
        process_loop();
    }
    shared->pid[0] = (int32_t)pid;
    supervise();
    end_sequence();
}

extern char _end[];

void child_main(u64 *sp)
{
    int *fds = self()->fds;

    CALL(mmap, ORACLE_SHARED_AT, ORACLE_SHARED_BYTES, 3, 0x11, ORACLE_FD_SHARED, 0);
    catch_signal(SIGSEGV);
    catch_signal(SIGBUS);
    if (sp[0] == 2) {
        clear_random(sp);
        go_on((u32)(*(const char *)sp[2] - '0'));
    }
    first_stack = (u64)sp & -ORACLE_PAGE;
    self()->me = ORACLE_SUPERVISOR;
    for (u32 i = 0; i < ORACLE_SLOTS; i++)
        fds[i] = CALL(fcntl, ORACLE_FD_BASE + i, 1 /* F_GETFD */) >= 0 ? (int)(ORACLE_FD_BASE + i) : -1;
    shared->image_end = ((u64)_end + ORACLE_PAGE - 1) & -ORACLE_PAGE;
    CALL(prctl, PR_SET_THP_DISABLE, 1, 0, 0, 0);
    begin_process();
    for (;;) {
        u32 command;

        set(&shared->command, ORACLE_CMD_NONE);
        while ((command = atomic_load(&shared->command)) == ORACLE_CMD_NONE)
            futex_wait(&shared->command, ORACLE_CMD_NONE);
        if (command == ORACLE_CMD_QUIT)
            CALL(exit_group, 0);
        run_sequence();
    }
}
