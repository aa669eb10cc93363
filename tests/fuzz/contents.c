/* SPDX-License-Identifier: MIT */
/*
 * Sequences of memory system calls, faults, forks and exits on a whole machine of two CPUs with contents, against
 * address_model.h: results, signals, every number read, and the books every few steps. Any allocation may be made to
 * fail: then the call must say so and nothing may have changed.
 */
#include "tests/fuzz/address_model.h"

#include "base/errno.h"
#include "cache/filemap.h"
#include "machine/machine_api.h"

#define MAX_TASKS 4u
#define BRK_START 0x10000000ul
#define STEPS_PER_CHECK 24
#define NUMBER_AT 1000 /* bytes into each page */

/* madvise(2) values. */
enum { MADV_DONTNEED_ = 4, MADV_DONTFORK_ = 10, MADV_DOFORK_ = 11, MADV_WIPEONFORK_ = 18, MADV_KEEPONFORK_ = 19 };

/* FUZZ_TRACE=1 prints every operation with its result. */
#define TRACE(r, ...)                                                                                                  \
    do {                                                                                                               \
        if ((r)->trace)                                                                                                \
            fprintf(stderr, __VA_ARGS__);                                                                              \
    } while (0)

struct run {
    bool trace;
    struct machine *m;
    struct cpu *cpus[2];
    struct task *task[MAX_TASKS]; /* task i runs on CPU i % 2 */
    struct model_mm mm[MAX_TASKS];
    struct model_objects objects;
    struct file *file;
    u32 now; /* the task that acts */
    s32 next_pid;
    u32 counter;   /* numbers written are all different */
    bool injected; /* an allocation was made to fail during this step */
};

static struct cpu *cpu_of(struct run *r)
{
    struct cpu *cpu = r->cpus[r->now % 2];

    cpu->current = r->task[r->now];
    return cpu;
}

static struct model_mm *mm_of(struct run *r)
{
    return &r->mm[r->now];
}

static va_t page_va(u32 page)
{
    return WINDOW_BASE + page * PAGE_SIZE;
}

/* The outcome when memory was short: an error that says so. */
static bool short_of_memory(struct run *r, s64 ret)
{
    r->injected = atomic_load(&r->m->fail.failed) != 0;
    return r->injected && (ret == -ENOMEM || ret == -EAGAIN);
}

/* -- the operations ------------------------------------------------------------------------------------------------ */

struct range {
    u32 first, nr;
};

/* Most operations meet on the 32 pages around the border. */
static u32 take_page(struct input *in)
{
    u8 b = take_u8(in);

    return b < 192 ? WINDOW_PAGES / 2 - 16 + b % 32 : b * 37u % WINDOW_PAGES;
}

/* Short ones mostly, so that they split and merge. */
static struct range take_range(struct input *in)
{
    struct range g = {take_page(in), 0};
    u32 nr = take_u8(in);

    nr = nr < 200 ? 1 + nr % 8 : 1 + nr % 64 * 2;
    g.nr = MIN(nr, WINDOW_PAGES - g.first);
    return g;
}

/* Readable and writable more often than not. */
static u8 take_prot(struct input *in)
{
    static const u8 prot[] = {3, 3, 1, 3, 7, 5, 3, 2, 3, 3, 0, 3, 7, 3, 4, 6};

    return prot[take_u8(in) % ARRAY_SIZE(prot)];
}

static void op_mmap(struct run *r, struct input *in)
{
    struct range g = take_range(in);
    u8 how = take_u8(in), prot = take_prot(in);
    struct model_page like = {.mapped = true, .prot = prot, .shared = how & 8, .object = NO_OBJECT};
    struct file *file = how & 16 ? r->file : NULL;
    u32 flags = like.shared ? MAP_SHARED_ : MAP_PRIVATE_;
    /* Populating a private writable mapping makes the copies at once:
     * how many is not known when memory may end in between. */
    bool copies = file && !like.shared && (prot & PROT_WRITE_);
    bool populate = (how & 64) && !(copies && atomic_load(&r->m->fail.countdown));
    s64 ret;

    if (file) {
        like.object = 0;
        like.offset = take_u8(in);
    } else if (like.shared) {
        if (r->objects.nr == NR_OBJECTS)
            return;
        like.object = (u8)r->objects.nr;
    }
    flags |= (how & 32 ? MAP_FIXED_NOREPLACE_ : MAP_FIXED_) | (file ? 0 : MAP_ANONYMOUS_) |
             (populate ? MAP_POPULATE_ : 0) | (how & 128 ? MAP_NORESERVE_ : 0);
    ret = sys_mmap(cpu_of(r), page_va(g.first), g.nr * PAGE_SIZE, prot, flags, file, like.offset * PAGE_SIZE);
    TRACE(r, "task %u: mmap(%u +%u, how %02x, prot %u) = %lld\n", r->now, g.first, g.nr, how, prot, (long long)ret);
    if ((how & 32) && model_count_mapped(mm_of(r), g.first, g.nr)) {
        REQUIRE(ret == -EEXIST);
        return;
    }
    if (short_of_memory(r, ret))
        return;
    REQUIRE(ret == (s64)page_va(g.first));
    r->objects.nr += like.shared && !file;
    model_map(mm_of(r), g.first, g.nr, &like);
    for (u32 i = 0; i < g.nr && copies && populate; i++) {
        struct model_page *p = &mm_of(r)->page[g.first + i];

        model_write(&r->objects, p, model_read(&r->objects, p));
    }
}

static void op_munmap(struct run *r, struct input *in)
{
    struct range g = take_range(in);
    s64 ret = sys_munmap(cpu_of(r), page_va(g.first), g.nr * PAGE_SIZE);

    TRACE(r, "task %u: munmap(%u +%u) = %lld\n", r->now, g.first, g.nr, (long long)ret);
    if (short_of_memory(r, ret))
        return;
    REQUIRE(ret == 0);
    model_unmap(mm_of(r), g.first, g.nr);
}

/* mprotect works through the range until a hole or an error; what it did before stays (mprotect(2)). */
static void op_mprotect(struct run *r, struct input *in)
{
    struct range g = take_range(in);
    u8 prot = take_prot(in);
    bool whole = model_count_mapped(mm_of(r), g.first, g.nr) == g.nr, some;
    s64 ret = sys_mprotect(cpu_of(r), page_va(g.first), g.nr * PAGE_SIZE, prot);

    TRACE(r, "task %u: mprotect(%u +%u, %u) = %lld\n", r->now, g.first, g.nr, prot, (long long)ret);
    some = short_of_memory(r, ret);
    REQUIRE(some || ret == (whole ? 0 : -ENOMEM));
    for (u32 i = g.first; i < g.first + g.nr; i++) {
        struct model_page *p = &mm_of(r)->page[i];
        struct vm_area_struct *vma = vma_lookup(cpu_of(r), r->task[r->now]->mm, page_va(i));

        if (!p->mapped)
            return;
        if (some && p->prot != prot && vma && (vma->vm_flags & VM_ACCESS_FLAGS) == p->prot)
            return; /* it stopped here; what had these rights before does not tell */
        p->prot = prot;
    }
}

static bool is_mapped(struct run *r, u32 page)
{
    return page < WINDOW_PAGES && vma_lookup(cpu_of(r), r->task[r->now]->mm, page_va(page));
}

/*
 * As in Linux, a move that fails may have unmapped the target already, and have moved the first of several VMAs. Any
 * other state is found by the next verification. from == WINDOW_PAGES: none.
 */
static void settle_failed_move(struct run *r, u32 from, u32 to)
{
    struct model_mm *m = mm_of(r);

    if (!is_mapped(r, to)) {
        model_unmap(m, to, 1);
        return;
    }
    if (from < WINDOW_PAGES && m->page[from].mapped && !is_mapped(r, from))
        model_move(m, from, to, 1, 1);
}

static void op_mremap(struct run *r, struct input *in)
{
    struct range from = take_range(in), to = take_range(in);
    struct model_mm *m = mm_of(r);
    s64 ret;

    to.nr = MAX(to.nr, from.nr);
    if (to.first + to.nr > WINDOW_PAGES || (from.first < to.first + to.nr && to.first < from.first + from.nr))
        return;
    if (to.nr > from.nr && m->page[from.first].object == 0)
        to.nr = from.nr; /* stay within the file */
    for (u32 i = 0; i < from.nr; i++)
        if (to.nr > from.nr && m->page[from.first + i].object != NO_OBJECT)
            to.nr = from.nr; /* and within the object */
    ret = sys_mremap(cpu_of(r), page_va(from.first), from.nr * PAGE_SIZE, to.nr * PAGE_SIZE,
                     MREMAP_MAYMOVE_ | MREMAP_FIXED_, page_va(to.first));
    TRACE(r, "task %u: mremap(%u +%u, %u +%u) = %lld\n", r->now, from.first, from.nr, to.first, to.nr, (long long)ret);
    short_of_memory(r, ret);
    if (ret >= 0) {
        REQUIRE(ret == (s64)page_va(to.first));
        REQUIRE(to.nr == from.nr || model_count_mapped(m, from.first, from.nr) == from.nr);
        model_move(m, from.first, to.first, from.nr, to.nr);
        return;
    }
    REQUIRE(ret == -EFAULT || ret == -ENOMEM || ret == -EINVAL);
    for (u32 i = 0; i < to.nr; i++)
        settle_failed_move(r, i < from.nr ? from.first + i : WINDOW_PAGES, to.first + i);
}

static void op_brk(struct run *r, struct input *in)
{
    struct mm *mm = r->task[r->now]->mm;
    va_t old = mm->brk, want = BRK_START + take_u8(in) * 1024u;
    s64 ret = sys_brk(cpu_of(r), want);

    TRACE(r, "task %u: brk(%llx) = %llx\n", r->now, (unsigned long long)want, (unsigned long long)ret);
    short_of_memory(r, -ENOMEM);
    REQUIRE(ret == (s64)want || (r->injected && ret == (s64)old));
    REQUIRE(mm->brk == (va_t)ret);
}

static void op_madvise(struct run *r, struct input *in)
{
    static const int advice[] = {MADV_DONTNEED_, MADV_DONTNEED_,   MADV_DONTFORK_,
                                 MADV_DOFORK_,   MADV_WIPEONFORK_, MADV_KEEPONFORK_};
    struct range g = take_range(in);
    int which = advice[take_u8(in) % ARRAY_SIZE(advice)];
    bool whole = model_count_mapped(mm_of(r), g.first, g.nr) == g.nr;
    s64 ret = sys_madvise(cpu_of(r), page_va(g.first), g.nr * PAGE_SIZE, which);

    TRACE(r, "task %u: madvise(%u +%u, %d) = %lld\n", r->now, g.first, g.nr, which, (long long)ret);
    if (which != MADV_DONTNEED_) {
        short_of_memory(r, ret);
        REQUIRE(ret == 0 || ret == -ENOMEM || ret == -EINVAL || ret == -EAGAIN);
        return;
    }
    REQUIRE(ret == (whole ? 0 : -ENOMEM));
    model_forget(mm_of(r), g.first, g.nr);
}

/* PROT_* bits of which one must be set: what the architecture cannot withhold comes with the others. */
static u32 access_needs(enum pt_format_id format, u32 prot)
{
    if (prot == PROT_WRITE_ || (prot == PROT_EXEC_ && format != PT_X86_32))
        return prot;
    if (prot == PROT_READ_ && format >= PT_RISCV_SV39)
        return PROT_READ_ | PROT_WRITE_;
    return PROT_READ_ | PROT_WRITE_ | PROT_EXEC_;
}

static int expected_signal(const struct run *r, const struct model_page *p, u32 prot, int *code)
{
    *code = p->mapped ? 2 : 1; /* SEGV_ACCERR, SEGV_MAPERR */
    return p->mapped && (p->prot & access_needs(r->m->config.pt_format, prot)) ? 0 : 11;
}

static void require_value(u32 page, u32 found, u32 expected)
{
    if (found == expected)
        return;
    fprintf(stderr, "page %u holds %u, not %u\n", page, found, expected);
    abort();
}

static void op_access(struct run *r, struct input *in, bool write)
{
    struct cpu *cpu = cpu_of(r);
    u32 page = take_page(in), value = ++r->counter;
    struct model_page *p = &mm_of(r)->page[page];
    struct fault_info fi = {0};
    int code, expect = expected_signal(r, p, write ? PROT_WRITE_ : PROT_READ_, &code), signo;

    if (write)
        signo = mmu_copy_to_user(cpu, page_va(page) + NUMBER_AT, &value, sizeof(value), &fi);
    else
        signo = mmu_copy_from_user(cpu, &value, page_va(page) + NUMBER_AT, sizeof(value), &fi);
    TRACE(r, "task %u: %s(%u) = signal %d\n", r->now, write ? "write" : "read", page, signo);
    short_of_memory(r, -ENOMEM);
    if (r->injected && signo == 9)
        return;
    REQUIRE(signo == expect);
    if (signo) {
        REQUIRE(fi.si_code == code);
        return;
    }
    if (write)
        model_write(&r->objects, p, value);
    else
        require_value(page, value, model_read(&r->objects, p));
}

static void op_execute(struct run *r, struct input *in)
{
    u32 page = take_page(in);
    int code, expect = expected_signal(r, &mm_of(r)->page[page], PROT_EXEC_, &code);
    struct fault_info fi = do_user_addr_fault(cpu_of(r), page_va(page), ACCESS_EXEC);

    short_of_memory(r, -ENOMEM);
    REQUIRE(fi.signo == expect || (r->injected && fi.signo == 9));
}

static void op_fork(struct run *r)
{
    struct task *t;
    u32 child = 0;

    while (child < MAX_TASKS && r->task[child])
        child++;
    if (child == MAX_TASKS)
        return;
    t = kernel_clone(cpu_of(r), 0, r->next_pid, r->next_pid);
    TRACE(r, "task %u: fork() = task %u, %d\n", r->now, child, IS_ERR(t) ? PTR_ERR(t) : 0);
    if (IS_ERR(t)) {
        REQUIRE(short_of_memory(r, PTR_ERR(t)));
        return;
    }
    r->next_pid++;
    r->task[child] = t;
    r->mm[child] = *mm_of(r);
    for (u32 i = 0; i < WINDOW_PAGES; i++) {
        struct vm_area_struct *vma = vma_lookup(cpu_of(r), r->task[r->now]->mm, page_va(i));

        if (vma && (vma->vm_flags & VM_DONTCOPY))
            model_unmap(&r->mm[child], i, 1);
        else if (vma && (vma->vm_flags & VM_WIPEONFORK))
            model_forget(&r->mm[child], i, 1);
    }
    model_verify(r->cpus[child % 2], &r->mm[child], t->mm);
}

static void exit_task(struct run *r, u32 i)
{
    struct cpu *cpu = r->cpus[i % 2];

    cpu->current = r->task[i];
    switch_mm(cpu, NULL);
    task_exit(cpu, r->task[i]);
    cpu->current = NULL;
    r->task[i] = NULL;
}

static void op_exit(struct run *r)
{
    u32 next = (r->now + 1) % MAX_TASKS;

    while (!r->task[next])
        next = (next + 1) % MAX_TASKS;
    if (next == r->now)
        return;
    TRACE(r, "task %u: exit\n", r->now);
    exit_task(r, r->now);
    r->now = next;
}

static void op_switch(struct run *r, struct input *in)
{
    u32 next = take_u8(in) % MAX_TASKS;

    if (r->task[next])
        r->now = next;
}

/* -- the machine --------------------------------------------------------------------------------------------------- */

static void step(struct run *r, struct input *in)
{
    u8 op = take_u8(in);

    atomic_store(&r->m->fail.failed, 0);
    if (op >= 240) {
        u32 nth = 1 + take_u8(in) % 24;

        TRACE(r, "allocation %u fails: ", nth);
        atomic_store(&r->m->fail.countdown, nth);
    }
    switch (op % 16) {
    case 0:
    case 1:
        op_mmap(r, in);
        break;
    case 2:
        op_munmap(r, in);
        break;
    case 3:
        op_mprotect(r, in);
        break;
    case 4:
        op_mremap(r, in);
        break;
    case 5:
        op_brk(r, in);
        break;
    case 6:
        op_madvise(r, in);
        break;
    case 7:
        op_fork(r);
        break;
    case 8:
        op_exit(r);
        break;
    case 9:
    case 10:
        op_switch(r, in);
        break;
    case 11:
        op_execute(r, in);
        break;
    default:
        op_access(r, in, op % 2);
    }
    atomic_store(&r->m->fail.countdown, 0);
    model_verify(cpu_of(r), mm_of(r), r->task[r->now]->mm);
}

static void check_books(struct run *r)
{
    struct check_report *report = calloc(1, sizeof(*report));

    machine_check(r->m, report);
    require_clean(report);
    free(report);
}

static void begin(struct run *r, struct input *in)
{
    static const struct model_page rw = {.mapped = true, .prot = 3, .object = NO_OBJECT};
    static struct machine_config c;
    struct mm *mm;

    r->trace = getenv("FUZZ_TRACE") != NULL;
    machine_config_default(&c);
    c.mem_bytes = 64ul << 20;
    c.nr_cpus = 2;
    c.content = CONTENT_FULL;
    c.randomize_va_space = 0;
    c.pt_format = take_u8(in) % NR_PT_FORMATS;
    machine_config_layout(&c);
    r->m = machine_boot(&c, NULL);
    REQUIRE(!IS_ERR(r->m));
    for (u32 i = 0; i < 2; i++)
        REQUIRE(cpu_try_acquire_id(r->m, i, i + 1, &r->cpus[i]));
    mm = mm_alloc(r->cpus[0]);
    REQUIRE(mm);
    mm->start_brk = mm->brk = BRK_START;
    r->task[0] = task_create(r->cpus[0], 1, 1, mm);
    REQUIRE(r->task[0]);
    r->next_pid = 2;
    r->objects.nr = 1;
    r->file = file_open(r->cpus[0], 1, 1, WINDOW_PAGES * 2 * PAGE_SIZE, FMODE_READ | FMODE_WRITE | FMODE_EXEC, "file");
    REQUIRE(!IS_ERR(r->file));
    TRACE(r, "page-table format %d\n", (int)c.pt_format);
    REQUIRE(sys_mmap(cpu_of(r), page_va(112), 32 * PAGE_SIZE, 3, MAP_FIXED_ | MAP_PRIVATE_ | MAP_ANONYMOUS_, NULL, 0) ==
            (s64)page_va(112));
    model_map(mm_of(r), 112, 32, &rw);
}

static void end(struct run *r)
{
    for (u32 i = 0; i < MAX_TASKS; i++)
        if (r->task[i])
            exit_task(r, i);
    fput(r->cpus[0], r->file);
    check_books(r);
    for (u32 i = 0; i < 2; i++)
        cpu_release(r->cpus[i]);
    machine_destroy(r->m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, data + size};
    struct run *r = calloc(1, sizeof(*r));
    u32 steps = 0;

    begin(r, &in);
    while (more(&in)) {
        step(r, &in);
        if (++steps % STEPS_PER_CHECK == 0)
            check_books(r);
    }
    end(r);
    free(r);
    return 0;
}
