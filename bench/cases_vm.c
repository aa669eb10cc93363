/* SPDX-License-Identifier: MIT */
/*
 * Rows: operations of an address space beside the same system calls or faults of the running kernel. The kernel's
 * figures hold an exception or a system call, and at a fault the hardware's walk, which ours do not; the model's own
 * bookkeeping of time is in ours.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"
#include "base/errno.h"
#include "cache/filemap.h"
#include "machine/machine_api.h"

#define NOTE_EXCEPTION "the kernel's figure holds the exception and, in a virtual machine, the nested walk"
#define NOTE_SYSCALL "the kernel's figure holds its system calls"
#define BASE 0x200000000000ul /* away from everything else, ours and the host's */
#define FAULT_PAGES 512ul     /* a batch: 2 MiB */

static void need(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "quire-bench: %s failed\n", what);
    exit(1);
}

/* -- a process of ours --------------------------------------------------------------------------------------------- */

struct process {
    struct cpu *cpu;
    struct task *task;
    va_t va; /* a mapping to work on */
    u64 nr;  /* VMAs around it */
    u64 seed;
};

/* Run on this process now: its address space is the CPU's. */
static struct cpu *enter(struct process *p)
{
    p->cpu->current = p->task;
    switch_mm(p->cpu, p->task->mm);
    return p->cpu;
}

static struct process *process_create(bool content)
{
    static s32 pid = 100;
    struct process *p = calloc(1, sizeof(*p));
    struct mm *mm;

    p->cpu = bench_cpu_content(content);
    mm = mm_alloc(p->cpu);
    need(mm, "mm_alloc");
    pid++;
    p->task = task_create(p->cpu, pid, pid, mm);
    need(p->task, "task_create");
    p->seed = 88172645463325252ull;
    enter(p);
    return p;
}

static void process_end(void *ctx)
{
    struct process *p = ctx;

    enter(p);
    switch_mm(p->cpu, NULL);
    p->cpu->current = NULL;
    task_exit(p->cpu, p->task);
    free(p);
}

static va_t map_at(struct cpu *cpu, va_t at, u64 bytes, u32 prot)
{
    s64 got = sys_mmap(cpu, at, bytes, prot, MAP_PRIVATE_ | MAP_ANONYMOUS_ | (at ? MAP_FIXED_ : 0), NULL, 0);

    need(!IS_ERR_VALUE(got), "mmap");
    return (va_t)got;
}

static void touch(struct cpu *cpu, va_t va, u64 pages)
{
    for (u64 i = 0; i < pages; i++)
        do_user_addr_fault(cpu, va + i * PAGE_SIZE, ACCESS_WRITE);
}

/* -- anonymous faults ---------------------------------------------------------------------------------------------- */

static void *fault_setup(const void *param)
{
    return process_create(*(const bool *)param);
}

static uint64_t anon_fault(void *ctx, uint64_t n)
{
    struct process *p = ctx;
    struct cpu *cpu = enter(p);
    uint64_t ns = 0;

    for (uint64_t done = 0; done < n; done += FAULT_PAGES) {
        va_t va = map_at(cpu, 0, FAULT_PAGES * PAGE_SIZE, PROT_READ_ | PROT_WRITE_);

        ns += BENCH_TIME(touch(cpu, va, FAULT_PAGES));
        sys_munmap(cpu, va, FAULT_PAGES * PAGE_SIZE);
    }
    return ns;
}

static char *native_map(void *at, size_t bytes, int prot)
{
    char *p = mmap(at, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED : 0), -1, 0);

    need(p != MAP_FAILED, "native mmap");
    return p;
}

static void native_touch(char *p, uint64_t pages)
{
    for (uint64_t i = 0; i < pages; i++)
        ((volatile char *)p)[i * PAGE_SIZE] = 1;
}

static uint64_t native_anon_fault(void *ctx, uint64_t n)
{
    uint64_t ns = 0;

    for (uint64_t done = 0; done < n; done += FAULT_PAGES) {
        char *p = native_map(NULL, FAULT_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE);

        madvise(p, FAULT_PAGES * PAGE_SIZE, MADV_NOHUGEPAGE);
        ns += BENCH_TIME(native_touch(p, FAULT_PAGES));
        munmap(p, FAULT_PAGES * PAGE_SIZE);
    }
    return ns;
}

/* -- faults on pages that the page cache has ----------------------------------------------------------------------- */

/*
 * A batch is FAULT_PAGES reads, each of which faults. Around: the windows of one mapping of the file, one read in each.
 * Alone: mappings of a page each, which cannot be joined because the file runs the other way, so that the window is cut
 * to the page; ours is told to map no others at all.
 */
#define AROUND_PAGES 16ul
#define FILE_PAGES (FAULT_PAGES * AROUND_PAGES)
enum file_window { AROUND, ALONE };

struct file_fault {
    enum file_window window;
    bool shared;
};

struct file_process {
    struct file_fault how;
    struct process *p;
    struct file *file;
    u64 around_bytes; /* the machine's own */
    int fd;           /* native */
};

static void *file_setup(const void *param)
{
    struct file_process *x = calloc(1, sizeof(*x));
    struct machine *m;

    x->how = *(const struct file_fault *)param;
    x->p = process_create(false);
    m = x->p->cpu->m;
    x->around_bytes = m->config.fault_around_bytes;
    m->config.fault_around_bytes = x->how.window == AROUND ? AROUND_PAGES * PAGE_SIZE : PAGE_SIZE;
    x->file = file_open(x->p->cpu, 1, 1, FILE_PAGES * PAGE_SIZE, FMODE_READ | FMODE_WRITE, "/bench");
    need(!IS_ERR(x->file), "file_open");
    inode_set_linked(x->p->cpu, x->file->f_inode, INODE_HAS_NO_NAME);
    generic_file_read(x->p->cpu, x->file, 0, FILE_PAGES * PAGE_SIZE);
    need(x->file->f_mapping->nrpages == FILE_PAGES, "reading the file");
    return x;
}

static void file_teardown(void *ctx)
{
    struct file_process *x = ctx;

    enter(x->p);
    x->p->cpu->m->config.fault_around_bytes = x->around_bytes;
    fput(x->p->cpu, x->file);
    process_end(x->p);
    free(x);
}

static void map_file(struct cpu *cpu, const struct file_process *x, va_t at, u64 bytes, u64 offset)
{
    u32 flags = (x->how.shared ? MAP_SHARED_ : MAP_PRIVATE_) | MAP_FIXED_;

    need(sys_mmap(cpu, at, bytes, PROT_READ_, flags, x->file, offset) == (s64)at, "mmap of the file");
}

static uint64_t file_faults(void *ctx, uint64_t n)
{
    struct file_process *x = ctx;
    u64 step = x->how.window == AROUND ? AROUND_PAGES * PAGE_SIZE : PAGE_SIZE, bytes = FAULT_PAGES * step;
    struct cpu *cpu = enter(x->p);
    uint64_t ns = 0;

    for (uint64_t done = 0; done < n; done += FAULT_PAGES) {
        if (x->how.window == AROUND)
            map_file(cpu, x, BASE, bytes, 0);
        for (u64 i = 0; x->how.window == ALONE && i < FAULT_PAGES; i++)
            map_file(cpu, x, BASE + i * PAGE_SIZE, PAGE_SIZE, (FAULT_PAGES - 1 - i) * PAGE_SIZE);
        ns += BENCH_TIME(for (u64 i = 0; i < FAULT_PAGES; i++) do_user_addr_fault(cpu, BASE + i * step, ACCESS_READ));
        need(x->how.window == ALONE || get_mm_counter(x->p->task->mm, MM_FILEPAGES) == FILE_PAGES, "fault-around");
        sys_munmap(cpu, BASE, bytes);
    }
    return ns;
}

static void *native_file_setup(const void *param)
{
    struct file_process *x = calloc(1, sizeof(*x));
    static char page[PAGE_SIZE];
    FILE *f = tmpfile();

    need(f, "tmpfile");
    x->how = *(const struct file_fault *)param;
    x->fd = dup(fileno(f));
    fclose(f);
    for (u64 i = 0; i < FILE_PAGES; i++) /* page by page: no large folios, as ours has none */
        need(pwrite(x->fd, page, PAGE_SIZE, (off_t)(i * PAGE_SIZE)) == (ssize_t)PAGE_SIZE, "pwrite");
    fdatasync(x->fd);
    return x;
}

static void native_file_teardown(void *ctx)
{
    struct file_process *x = ctx;

    close(x->fd);
    free(x);
}

static void native_map_file(const struct file_process *x, char *at, u64 bytes, u64 offset)
{
    int flags = (x->how.shared ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED;

    need(mmap(at, bytes, PROT_READ, flags, x->fd, (off_t)offset) == at, "native mmap of a file");
}

static uint64_t native_file_faults(void *ctx, uint64_t n)
{
    struct file_process *x = ctx;
    u64 step = x->how.window == AROUND ? AROUND_PAGES * PAGE_SIZE : PAGE_SIZE, bytes = FAULT_PAGES * step;
    uint64_t ns = 0;

    for (uint64_t done = 0; done < n; done += FAULT_PAGES) {
        char *room = native_map(NULL, bytes + step, PROT_NONE), *at = (char *)ALIGN_UP((uintptr_t)room, step);

        if (x->how.window == AROUND)
            native_map_file(x, at, bytes, 0);
        for (u64 i = 0; x->how.window == ALONE && i < FAULT_PAGES; i++)
            native_map_file(x, at + i * PAGE_SIZE, PAGE_SIZE, (FAULT_PAGES - 1 - i) * PAGE_SIZE);
        ns += BENCH_TIME(for (u64 i = 0; i < FAULT_PAGES; i++) bench_use(((volatile char *)at)[i * step]));
        munmap(room, bytes + step);
    }
    return ns;
}

/* -- copy on write, fork ------------------------------------------------------------------------------------------- */

static struct task *fork_child(struct cpu *cpu)
{
    static s32 pid = 100000;
    struct task *child;

    pid++;
    child = kernel_clone(cpu, 0, pid, pid);
    need(!IS_ERR(child), "fork");
    return child;
}

static uint64_t cow_break(void *ctx, uint64_t n)
{
    struct process *p = ctx;
    struct cpu *cpu = enter(p);
    uint64_t ns = 0;

    for (uint64_t done = 0; done < n; done += FAULT_PAGES) {
        va_t va = map_at(cpu, 0, FAULT_PAGES * PAGE_SIZE, PROT_READ_ | PROT_WRITE_);
        struct task *child;

        touch(cpu, va, FAULT_PAGES);
        child = fork_child(cpu);
        ns += BENCH_TIME(touch(cpu, va, FAULT_PAGES));
        task_exit(cpu, child);
        sys_munmap(cpu, va, FAULT_PAGES * PAGE_SIZE);
    }
    return ns;
}

static uint64_t native_cow_break(void *ctx, uint64_t n)
{
    uint64_t ns = 0;

    for (uint64_t done = 0; done < n; done += FAULT_PAGES) {
        char *p = native_map(NULL, FAULT_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE);
        int wait_for[2], status;
        pid_t pid;

        madvise(p, FAULT_PAGES * PAGE_SIZE, MADV_NOHUGEPAGE);
        native_touch(p, FAULT_PAGES);
        need(pipe(wait_for) == 0, "pipe");
        pid = fork();
        if (!pid) {
            close(wait_for[1]);
            _exit(read(wait_for[0], &status, 1) != 0);
        }
        ns += BENCH_TIME(native_touch(p, FAULT_PAGES));
        close(wait_for[1]);
        close(wait_for[0]);
        waitpid(pid, &status, 0);
        munmap(p, FAULT_PAGES * PAGE_SIZE);
    }
    return ns;
}

#define FORK_BYTES (100ul << 20)

static void *fork_setup(const void *param)
{
    struct process *p = process_create(false);

    p->va = map_at(p->cpu, 0, FORK_BYTES, PROT_READ_ | PROT_WRITE_);
    touch(p->cpu, p->va, FORK_BYTES / PAGE_SIZE);
    return p;
}

static uint64_t fork_only(void *ctx, uint64_t n)
{
    struct process *p = ctx;
    struct cpu *cpu = enter(p);
    uint64_t ns = 0;

    for (uint64_t i = 0; i < n; i++) {
        struct task *child;

        ns += BENCH_TIME(child = fork_child(cpu));
        task_exit(cpu, child);
    }
    return ns;
}

static uint64_t fork_and_exit(void *ctx, uint64_t n)
{
    struct process *p = ctx;
    struct cpu *cpu = enter(p);

    return BENCH_TIME(for (uint64_t i = 0; i < n; i++) task_exit(cpu, fork_child(cpu)));
}

static void *native_fork_setup(const void *param)
{
    char *p = native_map(NULL, FORK_BYTES, PROT_READ | PROT_WRITE);

    madvise(p, FORK_BYTES, MADV_NOHUGEPAGE);
    native_touch(p, FORK_BYTES / PAGE_SIZE);
    return p;
}

static void native_fork_teardown(void *ctx)
{
    munmap(ctx, FORK_BYTES);
}

static uint64_t native_fork_only(void *ctx, uint64_t n)
{
    uint64_t ns = 0;

    for (uint64_t i = 0; i < n; i++) {
        uint64_t start = bench_ns();
        pid_t pid = fork();

        if (!pid)
            _exit(0);
        ns += bench_ns() - start;
        waitpid(pid, NULL, 0);
    }
    return ns;
}

static uint64_t native_fork_and_exit(void *ctx, uint64_t n)
{
    uint64_t start = bench_clock(CLOCK_MONOTONIC);

    for (uint64_t i = 0; i < n; i++) {
        pid_t pid = fork();

        if (!pid)
            _exit(0);
        waitpid(pid, NULL, 0);
    }
    return bench_clock(CLOCK_MONOTONIC) - start;
}

/* -- many VMAs ----------------------------------------------------------------------------------------------------- */

/* nr mappings of one page, neighbours with different rights, so that none merge; then three pages to work on. */
static void *many_setup(const void *param)
{
    struct process *p = process_create(false);

    p->nr = *(const u64 *)param;
    for (u64 i = 0; i < p->nr; i++)
        map_at(p->cpu, BASE + i * PAGE_SIZE, PAGE_SIZE, i & 1 ? PROT_READ_ : PROT_READ_ | PROT_WRITE_);
    p->va = map_at(p->cpu, BASE + (p->nr + 1) * PAGE_SIZE, 3 * PAGE_SIZE, PROT_READ_ | PROT_WRITE_);
    return p;
}

static u64 next_random(u64 *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    return *x ^= *x << 17;
}

static uint64_t find_random(void *ctx, uint64_t n)
{
    struct process *p = ctx;
    struct cpu *cpu = enter(p);
    struct mm *mm = p->task->mm;
    uint64_t ns;

    down_read(cpu, &mm->mmap_lock);
    ns = BENCH_TIME(for (uint64_t i = 0; i < n; i++) {
        struct vm_area_struct *vma = find_vma(cpu, mm, BASE + next_random(&p->seed) % p->nr * PAGE_SIZE);

        bench_use(vma);
    });
    up_read(cpu, &mm->mmap_lock);
    return ns;
}

static uint64_t map_unmap(void *ctx, uint64_t n)
{
    struct process *p = ctx;
    struct cpu *cpu = enter(p);

    return BENCH_TIME(for (uint64_t i = 0; i < n; i++) {
        va_t va = map_at(cpu, 0, PAGE_SIZE, PROT_READ_ | PROT_EXEC_);

        sys_munmap(cpu, va, PAGE_SIZE);
    });
}

static uint64_t protect_split_merge(void *ctx, uint64_t n)
{
    struct process *p = ctx;
    struct cpu *cpu = enter(p);

    return BENCH_TIME(for (uint64_t i = 0; i < n; i++) {
        sys_mprotect(cpu, p->va + PAGE_SIZE, PAGE_SIZE, PROT_READ_);
        sys_mprotect(cpu, p->va + PAGE_SIZE, PAGE_SIZE, PROT_READ_ | PROT_WRITE_);
    });
}

struct native_many {
    char *base, *work;
    size_t nr;
};

#define NATIVE_MAX_VMAS 60000ul /* vm.max_map_count is 65530 by default */

static void *native_many_setup(const void *param)
{
    struct native_many *x = calloc(1, sizeof(*x));

    x->nr = *(const u64 *)param;
    x->nr = x->nr > NATIVE_MAX_VMAS ? NATIVE_MAX_VMAS : x->nr;
    x->base = native_map(NULL, (x->nr + 8) * PAGE_SIZE, PROT_NONE);
    for (size_t i = 0; i < x->nr; i++)
        native_map(x->base + i * PAGE_SIZE, PAGE_SIZE, i & 1 ? PROT_READ : PROT_READ | PROT_WRITE);
    x->work = native_map(x->base + (x->nr + 1) * PAGE_SIZE, 3 * PAGE_SIZE, PROT_READ | PROT_WRITE);
    return x;
}

static void native_many_teardown(void *ctx)
{
    struct native_many *x = ctx;

    munmap(x->base, (x->nr + 8) * PAGE_SIZE);
    free(x);
}

static uint64_t native_map_unmap(void *ctx, uint64_t n)
{
    return BENCH_TIME(
        for (uint64_t i = 0; i < n; i++) { munmap(native_map(NULL, PAGE_SIZE, PROT_READ | PROT_EXEC), PAGE_SIZE); });
}

static uint64_t native_protect_split_merge(void *ctx, uint64_t n)
{
    struct native_many *x = ctx;

    return BENCH_TIME(for (uint64_t i = 0; i < n; i++) {
        mprotect(x->work + PAGE_SIZE, PAGE_SIZE, PROT_READ);
        mprotect(x->work + PAGE_SIZE, PAGE_SIZE, PROT_READ | PROT_WRITE);
    });
}

/* -- rows ---------------------------------------------------------------------------------------------------------- */

#define FILE_CASE(label, around, is_shared, limit)                                                                     \
    {                                                                                                                  \
        .name = label, .target = limit, .note = NOTE_EXCEPTION, .fixed_n = 16 * FAULT_PAGES,                           \
        .ours = {.setup = file_setup,                                                                                  \
                 .param = &(const struct file_fault){around, is_shared},                                               \
                 .run = file_faults,                                                                                   \
                 .teardown = file_teardown},                                                                           \
        .peer = {{.name = "kernel: read of a mapped, cached file",                                                     \
                  .setup = native_file_setup,                                                                          \
                  .param = &(const struct file_fault){around, is_shared},                                              \
                  .run = native_file_faults,                                                                           \
                  .teardown = native_file_teardown}},                                                                  \
    }
#define MANY_CASE(label, count, fn, native_fn, limit)                                                                  \
    {                                                                                                                  \
        .name = label " among " #count " VMAs", .target = limit, .note = NOTE_SYSCALL,                                 \
        .ours = {.setup = many_setup, .param = &(const u64){count}, .run = fn, .teardown = process_end},               \
        .peer = {{.name = "kernel",                                                                                    \
                  .setup = native_many_setup,                                                                          \
                  .param = &(const u64){count},                                                                        \
                  .run = native_fn,                                                                                    \
                  .teardown = native_many_teardown}},                                                                  \
    }
#define MANY_CASES(label, fn, native_fn, limit)                                                                        \
    MANY_CASE(label, 10, fn, native_fn, limit), MANY_CASE(label, 1000, fn, native_fn, limit),                          \
        MANY_CASE(label, 100000, fn, native_fn, limit)

const struct bench_case vm_cases[] = {
    {
        .name = "anonymous fault, no clearing",
        .target = 120,
        .fixed_n = 16 * FAULT_PAGES,
        .ours = {.setup = fault_setup, .param = &(const bool){false}, .run = anon_fault, .teardown = process_end},
    },
    {
        .name = "anonymous fault, page cleared",
        .target = 300,
        .note = NOTE_EXCEPTION,
        .fixed_n = 16 * FAULT_PAGES,
        .ours = {.setup = fault_setup, .param = &(const bool){true}, .run = anon_fault, .teardown = process_end},
        .peer = {{.name = "kernel: mmap, first touch", .run = native_anon_fault}},
    },
    FILE_CASE("file fault, shared mapping, 16 pages around", AROUND, true, 1200),
    FILE_CASE("file fault, private mapping, 16 pages around", AROUND, false, 1200),
    FILE_CASE("file fault, shared mapping, page alone", ALONE, true, 200),
    FILE_CASE("file fault, private mapping, page alone", ALONE, false, 200),
    {
        .name = "COW break with copy",
        .target = 450,
        .note = NOTE_EXCEPTION,
        .fixed_n = 16 * FAULT_PAGES,
        .ours = {.setup = fault_setup, .param = &(const bool){true}, .run = cow_break, .teardown = process_end},
        .peer = {{.name = "kernel: write after fork", .run = native_cow_break}},
    },
    {
        .name = "find_vma among 100000 VMAs",
        .target = 80,
        .ours = {.setup = many_setup, .param = &(const u64){100000}, .run = find_random, .teardown = process_end},
    },
    MANY_CASES("mmap+munmap of a page", map_unmap, native_map_unmap, 400),
    MANY_CASES("mprotect of a page, split and merge,", protect_split_merge, native_protect_split_merge, 300),
    {
        .name = "fork of 100 MB",
        .target = 400e3,
        .note = "the kernel's figure is fork() as the parent sees it",
        .fixed_n = 4,
        .ours = {.setup = fork_setup, .run = fork_only, .teardown = process_end},
        .peer = {{.name = "kernel: fork",
                  .setup = native_fork_setup,
                  .run = native_fork_only,
                  .teardown = native_fork_teardown}},
    },
    {
        .name = "fork of 100 MB and exit of the child",
        .note = "the kernel's figure is wall time: the child's run and waitpid are in it",
        .fixed_n = 4,
        .ours = {.setup = fork_setup, .run = fork_and_exit, .teardown = process_end},
        .peer = {{.name = "kernel: fork, _exit, waitpid",
                  .setup = native_fork_setup,
                  .run = native_fork_and_exit,
                  .teardown = native_fork_teardown}},
    },
};
const size_t nr_vm_cases = sizeof(vm_cases) / sizeof(vm_cases[0]);
