/* SPDX-License-Identifier: MIT */
/*
 * The core under load from all sides: host threads (or processes) that each own a CPU of one machine and do random
 * system calls, accesses, forks, file calls and drains on memory that they share.
 *
 *   what is shared                 who                    what each checks
 *   ─────────────────────────────  ─────────────────────  ────────────────────────────────────────────────
 *   `area`, private anonymous      all tasks of an mm,    its own 64 bytes of every page: what it stored last,
 *                                  COW after each fork    in a forked child: what its parent had stored
 *   FILE_DISK, FILE_SHM, shared    everybody              its own 64 bytes of every page
 *   FILE_CUT*, cut and grown       everybody              nothing but that the access ends
 *   FILE_PRIV, mapped private      everybody              its own page: zero, or what it stored
 *   brk                            all tasks of an mm     nothing but that the call ends
 *
 * Forked children wait in a mailbox until any thread takes one out and runs it: so many address spaces with common
 * pages are in use at once, and tasks move between CPUs, threads and processes. At the end every task exits, the files
 * are emptied, the caches shrunk: machine_check() is clean and as many pages are free as before.
 * The interleaving is the host's; the seed (QUIRE_SEED) gives each thread its operations again, QUIRE_TIMES that many
 * times more of them.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/testing_full.h"

#include "cache/cache.h"
#include "kmem/kmem.h"
#include "phys/lru.h"
#include "phys/page_alloc.h"
#include "phys/vmstat.h"

#define MAX_WORKERS 8
#define AREA_PAGES 24u
#define FILE_PAGES 24u
#define NR_OWN 6
#define OWN_PAGES 12u
#define MAILBOX 6
#define SLOT_BYTES 64u
#define RW (PROT_READ_ | PROT_WRITE_)
#define ADVICE_DONTNEED 4
#define FIRST_TID 1000u
#define HEAP_START 0x20000000ul

enum file_id { FILE_DISK, FILE_SHM, FILE_CUT, FILE_CUT_SHM, FILE_PRIV, NR_FILES };
enum own_kind { OWN_ANON, OWN_DISK, OWN_SHM, OWN_CUT, OWN_CUT_SHM, OWN_PRIV, OWN_SHARED_ANON, NR_OWN_KINDS };
enum sharing { ONE_MM, MANY_MMS };
enum host { THREADS, PROCESSES };

/* A forked process on its way to whoever runs it: what its memory has to hold in slot `id`. */
struct child {
    struct task *task;
    u32 id;
    u64 expect[AREA_PAGES];
};

struct variant {
    const char *name;
    enum pt_format_id format;
    u32 workers, cpus;
    enum sharing sharing;
    enum host host;
    u32 ops;
    u32 fail_interval; /* every so many allocations one fails; 0: none */
};

/* Shared by all workers, host processes too. */
struct world {
    struct machine *m;
    struct variant v;
    u64 seed;
    va_t area;
    struct file *file[NR_FILES];
    struct task *task[MAX_WORKERS];
    struct child child[MAX_WORKERS * MAILBOX * 2];
    _Atomic(struct child *) mailbox[MAILBOX];
    _Atomic u32 next_pid;
    _Atomic u64 done[32]; /* operations that succeeded, by number: each has to */
};

/* A mapping of the worker's own; a page that was unmapped has prot NOT_MAPPED. */
#define NOT_MAPPED 0xffu
struct own {
    va_t start;
    u32 pages; /* 0: unused */
    u32 kind;
    u32 first; /* page of the file */
    u8 prot[OWN_PAGES];
    u64 value[OWN_PAGES];
};

struct worker {
    struct world *w;
    struct cpu *cpu;
    struct task *task;
    u32 id;
    u64 seed, stamp;
    u64 expect[AREA_PAGES];
    u64 file[2][FILE_PAGES]; /* FILE_DISK, FILE_SHM */
    struct own own[NR_OWN];
};

/* Not cmocka's: they leave by longjmp(), which is for its own thread alone. */
#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s: seed %#llx, worker %u, line %d: %s\n", w->w->v.name, (unsigned long long)w->w->seed,  \
                    w->id, __LINE__, #condition);                                                                      \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

static u64 random_below(struct worker *w, u64 n)
{
    return test_random(&w->seed) % n;
}

static bool may_fail(const struct worker *w, s64 err)
{
    return w->w->v.fail_interval && (err == -ENOMEM || err == -EAGAIN);
}

/* -- the CPU ------------------------------------------------------------------------------------------------------- */

static void run_task_of(struct worker *w, struct task *t)
{
    cpu_release(w->cpu);
    w->cpu = cpu_acquire(w->w->m, t, FIRST_TID + w->id);
}

static void give_way(struct worker *w)
{
    if (cpu_should_resched(w->cpu) || random_below(w, 32) == 0)
        run_task_of(w, w->task);
}

/* -- accesses ------------------------------------------------------------------------------------------------------ */

static va_t slot_of(u32 id, va_t start, u32 page)
{
    return start + page * PAGE_SIZE + id * SLOT_BYTES;
}

/* 0, or the signal; SIGKILL (no memory) only where allocations fail. */
static int store(struct worker *w, va_t at, u64 value)
{
    struct fault_info fi;
    int signo = mmu_copy_to_user(w->cpu, at, &value, 8, &fi);

    MUST(signo != 9 || w->w->v.fail_interval);
    return signo;
}

static int load(struct worker *w, va_t at, u64 *value)
{
    struct fault_info fi;
    int signo = mmu_copy_from_user(w->cpu, value, at, 8, &fi);

    MUST(signo != 9 || w->w->v.fail_interval);
    return signo;
}

static void store_expected(struct worker *w, va_t at, u64 *expect)
{
    u64 value = (u64)(w->id + 1) << 48 | ++w->stamp;
    int signo = store(w, at, value);

    MUST(signo == 0 || signo == 9);
    if (!signo)
        *expect = value;
}

static void load_expected(struct worker *w, va_t at, u64 expect)
{
    u64 value = 0;
    int signo = load(w, at, &value);

    MUST(signo == 0 || signo == 9);
    MUST(signo || value == expect);
}

static bool op_area(struct worker *w)
{
    for (u32 i = 0; i < 4; i++) {
        u32 page = (u32)random_below(w, AREA_PAGES);
        va_t at = slot_of(w->id, w->w->area, page);

        if (random_below(w, 2))
            store_expected(w, at, &w->expect[page]);
        else
            load_expected(w, at, w->expect[page]);
    }
    return true;
}

/* As a front end does it: in user state, many accesses between two entries. */
static bool op_user_run(struct worker *w)
{
    struct fault_info fi;

    cpu_enter_user(w->cpu);
    for (u32 i = 0; i < 60; i++) {
        va_t at = w->w->area + random_below(w, AREA_PAGES) * PAGE_SIZE;
        int signo;

        cpu_poll(w->cpu);
        signo = i % 3 ? mmu_access(w->cpu, cpu_mmu(w->cpu), at, MMU_READ, &fi)
                      : mmu_access(w->cpu, cpu_mmu(w->cpu), at, MMU_WRITE, &fi);
        MUST(signo == 0 || (signo == 9 && w->w->v.fail_interval));
    }
    mmu_account(w->cpu, 60000, 0, 60000);
    cpu_enter_kernel(w->cpu);
    return true;
}

/* -- mappings of one's own ----------------------------------------------------------------------------------------- */

static u64 *own_value(struct worker *w, struct own *o, u32 page)
{
    if (o->kind == OWN_DISK)
        return &w->file[FILE_DISK][o->first + page];
    if (o->kind == OWN_SHM)
        return &w->file[FILE_SHM][o->first + page];
    return &o->value[page];
}

static struct own *some_own(struct worker *w)
{
    struct own *o = &w->own[random_below(w, NR_OWN)];

    return o->pages ? o : NULL;
}

static bool op_mmap(struct worker *w)
{
    static const s8 file_of[NR_OWN_KINDS] = {-1, FILE_DISK, FILE_SHM, FILE_CUT, FILE_CUT_SHM, FILE_PRIV, -1};
    struct own *o = &w->own[random_below(w, NR_OWN)];
    u32 kind = (u32)random_below(w, NR_OWN_KINDS), pages = 1 + (u32)random_below(w, OWN_PAGES);
    u32 first = (u32)random_below(w, FILE_PAGES - pages + 1), flags;
    struct file *f = file_of[kind] < 0 ? NULL : w->w->file[file_of[kind]];
    s64 at;

    if (o->pages)
        return false;
    flags = (f ? 0 : MAP_ANONYMOUS_) | (kind == OWN_ANON || kind == OWN_PRIV ? MAP_PRIVATE_ : MAP_SHARED_);
    flags |= random_below(w, 4) ? 0 : MAP_POPULATE_;
    at = sys_mmap(w->cpu, 0, pages * PAGE_SIZE, RW, flags, f, f ? first * PAGE_SIZE : 0);
    if (IS_ERR_VALUE(at)) {
        MUST(may_fail(w, at));
        return false;
    }
    *o = (struct own){.start = (va_t)at, .pages = pages, .kind = kind, .first = first};
    memset(o->prot, RW, sizeof(o->prot));
    return true;
}

static void touch_own_page(struct worker *w, struct own *o, u32 page)
{
    va_t at = slot_of(w->id, o->start, page);
    bool write = random_below(w, 2);
    u32 right = write ? PROT_WRITE_ : PROT_READ_;
    u64 value;
    int signo;

    if (o->prot[page] == NOT_MAPPED)
        return;
    if (o->kind == OWN_CUT ||
        o->kind == OWN_CUT_SHM) { /* what others cut off is SIGBUS, and zero if they grow it again */
        signo = write ? store(w, at, ~0ull) : load(w, at, &value);
        MUST(signo == 0 || signo == 7 || signo == 9 || (signo == 11 && !(o->prot[page] & right)));
    } else if (!(o->prot[page] & right)) {
        signo = write ? store(w, at, 1) : load(w, at, &value);
        MUST(signo == 11);
    } else if (write) {
        store_expected(w, at, own_value(w, o, page));
    } else {
        load_expected(w, at, *own_value(w, o, page));
    }
}

static bool op_own(struct worker *w)
{
    struct own *o = some_own(w);

    for (u32 i = 0; o && i < 4; i++)
        touch_own_page(w, o, (u32)random_below(w, o->pages));
    return o;
}

/* A part of o that is mapped as a whole; false: it is not. */
static bool some_range(struct worker *w, const struct own *o, u32 *from, u32 *to)
{
    *from = (u32)random_below(w, o->pages);
    *to = *from + 1 + (u32)random_below(w, o->pages - *from);
    for (u32 i = *from; i < *to; i++)
        if (o->prot[i] == NOT_MAPPED)
            return false;
    return true;
}

static bool op_mprotect(struct worker *w)
{
    static const u8 prots[] = {PROT_NONE_, PROT_READ_, RW, RW};
    struct own *o = some_own(w);
    u32 from, to, prot = prots[random_below(w, ARRAY_SIZE(prots))];
    s64 err;

    if (!o || !some_range(w, o, &from, &to))
        return false;
    err = sys_mprotect(w->cpu, o->start + from * PAGE_SIZE, (to - from) * PAGE_SIZE, prot);
    if (err) { /* what lay in VMAs before the failing one has changed: put it right, it may take several tries */
        MUST(may_fail(w, err));
        while (sys_mprotect(w->cpu, o->start + from * PAGE_SIZE, (to - from) * PAGE_SIZE, prot))
            continue;
    }
    memset(&o->prot[from], (int)prot, to - from);
    return true;
}

static void unmap_own(struct worker *w, struct own *o, u32 from, u32 to)
{
    s64 err;

    do
        err = sys_munmap(w->cpu, o->start + from * PAGE_SIZE, (to - from) * PAGE_SIZE);
    while (may_fail(w, err));
    MUST(err == 0);
    memset(&o->prot[from], NOT_MAPPED, to - from);
}

static void unmap_all_of(struct worker *w, struct own *o)
{
    for (u32 i = 0; i < o->pages; i++)
        if (o->prot[i] != NOT_MAPPED)
            unmap_own(w, o, i, i + 1);
    o->pages = 0;
}

static bool op_munmap(struct worker *w)
{
    struct own *o = some_own(w);
    u32 from, to;

    if (!o)
        return false;
    if (random_below(w, 2))
        unmap_all_of(w, o);
    else if (some_range(w, o, &from, &to))
        unmap_own(w, o, from, to);
    return true;
}

static bool op_madvise(struct worker *w)
{
    struct own *o = some_own(w);
    u32 from, to;
    s64 err;

    if (!o || !some_range(w, o, &from, &to))
        return false;
    err = sys_madvise(w->cpu, o->start + from * PAGE_SIZE, (to - from) * PAGE_SIZE, ADVICE_DONTNEED);
    MUST(err == 0 || may_fail(w, err));
    for (u32 i = from; !err && i < to && (o->kind == OWN_ANON || o->kind == OWN_PRIV); i++)
        o->value[i] = 0;
    return true;
}

/* Moved to a place that another mapping reserved, or grown and moved as the kernel likes, or cut short. */
static bool op_mremap(struct worker *w)
{
    struct own *o = some_own(w);
    u32 pages = 1 + (u32)random_below(w, OWN_PAGES), flags = MREMAP_MAYMOVE_;
    s64 at, to = 0;

    if (!o)
        return false;
    for (u32 i = 0; i < o->pages; i++)
        if (o->prot[i] != o->prot[0] || o->prot[0] == NOT_MAPPED)
            return false;
    if (o->kind != OWN_ANON)
        pages = MIN(pages, o->pages);
    if (random_below(w, 2)) {
        to = sys_mmap(w->cpu, 0, pages * PAGE_SIZE, PROT_NONE_, MAP_PRIVATE_ | MAP_ANONYMOUS_, NULL, 0);
        if (IS_ERR_VALUE(to))
            return false;
        flags |= MREMAP_FIXED_;
    }
    at = sys_mremap(w->cpu, o->start, o->pages * PAGE_SIZE, pages * PAGE_SIZE, flags, (va_t)to);
    if (IS_ERR_VALUE(at)) {
        MUST(may_fail(w, at) || at == -EFAULT); /* several VMAs */
        for (u32 i = pages; i < o->pages; i++)  /* the tail may be gone: mremap(2) cuts it off before it moves */
            o->prot[i] = NOT_MAPPED;
        return false;
    }
    for (u32 i = o->pages; i < pages; i++) {
        o->prot[i] = o->prot[0];
        o->value[i] = 0;
    }
    o->start = (va_t)at;
    o->pages = pages;
    return true;
}

static bool op_brk(struct worker *w)
{
    s64 brk = sys_brk(w->cpu, 0), now;
    u64 value;

    now = sys_brk(w->cpu, (va_t)brk + (random_below(w, 3) ? 3 * PAGE_SIZE : 0) - random_below(w, 3) * PAGE_SIZE);
    store(w, (va_t)now - PAGE_SIZE + w->id * SLOT_BYTES, 1); /* another may have moved it: SIGSEGV */
    load(w, (va_t)brk - PAGE_SIZE + w->id * SLOT_BYTES, &value);
    return true;
}

/* -- tasks --------------------------------------------------------------------------------------------------------- */

static struct child *free_child(struct worker *w)
{
    struct child *c = &w->w->child[w->id * MAILBOX * 2];

    for (u32 i = 0; i < MAILBOX * 2; i++)
        if (!__atomic_load_n(&c[i].task, __ATOMIC_ACQUIRE))
            return &c[i];
    return NULL;
}

/* Be the child for a while: what its parent had stored is there; what it stores is its own. */
static void live_and_exit(struct worker *w, struct child *c)
{
    run_task_of(w, c->task);
    for (u32 i = 0; i < AREA_PAGES; i++) {
        va_t at = slot_of(c->id, w->w->area, i);

        load_expected(w, at, c->expect[i]);
        if (random_below(w, 3))
            continue;
        store_expected(w, at, &c->expect[i]);
        load_expected(w, at, c->expect[i]);
    }
    if (random_below(w, 2)) {
        task_exit(w->cpu, c->task);
        run_task_of(w, w->task);
    } else {
        run_task_of(w, w->task);
        task_exit(w->cpu, c->task);
    }
    __atomic_store_n(&c->task, NULL, __ATOMIC_RELEASE);
}

static bool op_fork(struct worker *w)
{
    struct child *c = free_child(w), *other;
    s32 pid = (s32)atomic_fetch_add(&w->w->next_pid, 1);
    struct task *t;

    if (!c)
        return false;
    t = kernel_clone(w->cpu, 0, pid, pid);
    if (IS_ERR(t)) {
        MUST(may_fail(w, PTR_ERR(t)));
        return false;
    }
    c->id = w->id;
    memcpy(c->expect, w->expect, sizeof(c->expect));
    __atomic_store_n(&c->task, t, __ATOMIC_RELEASE);
    other = atomic_exchange(&w->w->mailbox[random_below(w, MAILBOX)], c);
    if (other)
        live_and_exit(w, other);
    return true;
}

static bool op_take_child(struct worker *w)
{
    struct child *c = atomic_exchange(&w->w->mailbox[random_below(w, MAILBOX)], NULL);

    if (c)
        live_and_exit(w, c);
    return c;
}

/* A thread of the worker's process: it is the worker for two operations, then one of the two exits. */
static bool op_thread(struct worker *w)
{
    s32 pid = (s32)atomic_fetch_add(&w->w->next_pid, 1);
    struct task *t = kernel_clone(w->cpu, CLONE_VM_ | CLONE_THREAD_, pid, w->task->tgid);

    if (IS_ERR(t)) {
        MUST(may_fail(w, PTR_ERR(t)));
        return false;
    }
    run_task_of(w, t);
    op_area(w);
    op_own(w);
    if (random_below(w, 2)) {
        task_exit(w->cpu, w->task);
        w->task = w->w->task[w->id] = t;
    } else {
        task_exit(w->cpu, t);
        run_task_of(w, w->task);
    }
    return true;
}

/* -- files and caches ---------------------------------------------------------------------------------------------- */

static bool op_read(struct worker *w)
{
    struct file *f = w->w->file[random_below(w, NR_FILES)];
    s64 n = generic_file_read(w->cpu, f, random_below(w, FILE_PAGES) * PAGE_SIZE, 1 + random_below(w, 5 * PAGE_SIZE));

    MUST(n >= 0 || may_fail(w, n));
    return n > 0;
}

static bool op_write(struct worker *w)
{
    struct file *f = w->w->file[random_below(w, FILE_PRIV)];
    u64 pos = random_below(w, FILE_PAGES - 4) * PAGE_SIZE;
    s64 n = generic_file_write(w->cpu, f, pos, 1 + random_below(w, 4 * PAGE_SIZE));

    MUST(n > 0 || may_fail(w, n));
    return n > 0;
}

static bool op_truncate(struct worker *w)
{
    enum file_id which = random_below(w, 2) ? FILE_CUT : FILE_CUT_SHM;

    inode_set_size(w->cpu, w->w->file[which]->f_inode, random_below(w, FILE_PAGES * PAGE_SIZE));
    return true;
}

/* A range of the file goes, or comes where it does not become too long by that. */
static bool op_shift(struct worker *w)
{
    struct file *f = w->w->file[FILE_CUT];
    u64 size = READ_ONCE(f->f_inode->i_size), pages = 1 + random_below(w, 3), at = random_below(w, FILE_PAGES);
    bool goes = random_below(w, 2) || size > (FILE_PAGES - 4) * PAGE_SIZE;
    s64 r = vfs_fallocate(w->cpu, f, goes ? FALLOC_FL_COLLAPSE_RANGE_ : FALLOC_FL_INSERT_RANGE_, (s64)(at * PAGE_SIZE),
                          (s64)(pages * PAGE_SIZE));

    MUST(r == 0 || r == -EINVAL || may_fail(w, r));
    return r == 0;
}

static bool op_open_close(struct worker *w)
{
    u64 ino = random_below(w, 2) ? 10 + random_below(w, 3) : FILE_DISK + 1;
    struct file *f = random_below(w, 2) ? file_open(w->cpu, 8, ino, FILE_PAGES * PAGE_SIZE, FMODE_READ, "opened")
                                        : shmem_file_setup(w->cpu, "passing", 3 * PAGE_SIZE, 0);
    s64 at;

    if (IS_ERR(f)) {
        MUST(may_fail(w, PTR_ERR(f)));
        return false;
    }
    generic_file_read(w->cpu, f, 0, 2 * PAGE_SIZE);
    at = sys_mmap(w->cpu, 0, PAGE_SIZE, PROT_READ_, MAP_SHARED_, f, 0);
    fput(w->cpu, f);
    if (IS_ERR_VALUE(at))
        return false;
    MUST(load(w, (va_t)at, (u64[1]){0}) != 11);
    while (sys_munmap(w->cpu, (va_t)at, PAGE_SIZE))
        continue;
    return true;
}

static bool op_drain(struct worker *w)
{
    struct vm *vm = w->w->m->vm;

    switch (random_below(w, 5)) {
    case 0:
        drain_all_pages(w->cpu);
        return true;
    case 1:
        lru_add_drain_all(w->cpu);
        return true;
    case 2:
        drop_pagecache(w->cpu);
        return true;
    default:
        kmem_cache_shrink(w->cpu, random_below(w, 2) ? vm->vma_cachep : vm->anon_vma_chain_cachep);
        return true;
    }
}

/* -- a worker ------------------------------------------------------------------------------------------------------ */

static const struct op {
    const char *name;
    bool (*run)(struct worker *w); /* false: there was nothing to do, or no memory */
    u32 weight;
} ops[] = {
    {"area", op_area, 20},      {"user run", op_user_run, 10}, {"mmap", op_mmap, 14},
    {"own", op_own, 24},        {"mprotect", op_mprotect, 10}, {"munmap", op_munmap, 4},
    {"madvise", op_madvise, 6}, {"mremap", op_mremap, 6},      {"brk", op_brk, 4},
    {"fork", op_fork, 5},       {"child", op_take_child, 4},   {"thread", op_thread, 4},
    {"read", op_read, 5},       {"write", op_write, 4},        {"truncate", op_truncate, 4},
    {"open", op_open_close, 3}, {"drain", op_drain, 3},        {"shift", op_shift, 3},
};
_Static_assert(ARRAY_SIZE(ops) <= ARRAY_SIZE(((struct world *)0)->done), "");

static u32 some_op(struct worker *w)
{
    u64 sum = 0, at;

    for (u32 i = 0; i < ARRAY_SIZE(ops); i++)
        sum += ops[i].weight;
    at = random_below(w, sum);
    for (u32 i = 0;; at -= ops[i++].weight)
        if (at < ops[i].weight)
            return i;
}

static void *work(void *arg)
{
    struct worker *w = arg;

    w->cpu = cpu_acquire(w->w->m, w->task, FIRST_TID + w->id);
    for (u32 i = 0; i < w->w->v.ops; i++) {
        u32 n = some_op(w);

        if (ops[n].run(w))
            atomic_fetch_add_explicit(&w->w->done[n], 1, memory_order_relaxed);
        give_way(w);
    }
    for (u32 i = 0; i < AREA_PAGES; i++)
        load_expected(w, slot_of(w->id, w->w->area, i), w->expect[i]);
    for (u32 i = 0; i < NR_OWN; i++)
        unmap_all_of(w, &w->own[i]);
    cpu_release(w->cpu);
    return NULL;
}

/* -- a variant ----------------------------------------------------------------------------------------------------- */

static void open_files(struct cpu *cpu, struct world *w)
{
    static const char *const name[NR_FILES] = {"disk", "shm", "cut", "memfd", "priv"};

    for (u32 i = 0; i < NR_FILES; i++) {
        w->file[i] = i == FILE_SHM ? shmem_file_setup(cpu, name[i], FILE_PAGES * PAGE_SIZE, 0)
                     : i == FILE_CUT_SHM
                         ? shmem_file_setup(cpu, name[i], 0, VM_NORESERVE) /* committed page by page */
                         : file_open(cpu, 8, i + 1, FILE_PAGES * PAGE_SIZE, FMODE_READ | FMODE_WRITE, name[i]);
        assert_false(IS_ERR(w->file[i]));
    }
    for (u64 ino = 10; ino < 13; ino++) /* of op_open_close(): their inodes stay */
        fput(cpu, file_open(cpu, 8, ino, FILE_PAGES * PAGE_SIZE, FMODE_READ, "opened"));
}

/* Nothing is in a cache any more that could be given back. */
static u64 settled_free_pages(struct cpu *cpu)
{
    struct kmem_cache *s;

    lru_add_drain_all(cpu);
    drop_pagecache(cpu);
    drain_all_pages(cpu);
    list_for_each_entry (s, &cpu->m->kmem->caches, list)
        kmem_cache_shrink(cpu, s);
    return nr_free_pages(cpu->m);
}

static void first_tasks(struct cpu *cpu, struct world *w)
{
    s64 at;

    w->task[0] = test_task(cpu, 100);
    w->task[0]->mm->start_brk = w->task[0]->mm->brk = HEAP_START;
    at = sys_mmap(cpu, 0, AREA_PAGES * PAGE_SIZE, RW, MAP_PRIVATE_ | MAP_ANONYMOUS_, NULL, 0);
    assert_false(IS_ERR_VALUE(at));
    w->area = (va_t)at;
    for (u32 i = 1; i < w->v.workers; i++) {
        u64 flags = w->v.sharing == ONE_MM ? CLONE_VM_ | CLONE_THREAD_ : 0;

        w->task[i] = kernel_clone(cpu, flags, 100 + (s32)i, w->v.sharing == ONE_MM ? 100 : 100 + (s32)i);
        assert_false(IS_ERR(w->task[i]));
    }
}

static void run_threads(struct worker *workers, u32 nr)
{
    pthread_t thread[MAX_WORKERS];

    for (u32 i = 0; i < nr; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, work, &workers[i]), 0);
    for (u32 i = 0; i < nr; i++)
        pthread_join(thread[i], NULL);
}

static void run_processes(struct worker *workers, u32 nr)
{
    pid_t pid[MAX_WORKERS];
    int status;

    for (u32 i = 0; i < nr; i++) {
        pid[i] = fork();
        assert_true(pid[i] >= 0);
        if (!pid[i]) {
            work(&workers[i]);
            _exit(0);
        }
    }
    for (u32 i = 0; i < nr; i++) {
        assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
        assert_int_equal(status, 0);
    }
}

static void end_tasks(struct cpu *cpu, struct world *w)
{
    for (u32 i = 0; i < ARRAY_SIZE(w->child); i++)
        if (w->child[i].task)
            task_exit(cpu, w->child[i].task);
    for (u32 i = 0; i < w->v.workers; i++)
        task_exit(cpu, w->task[i]);
    assert_true(list_empty(&cpu->m->vm->tasks));
    for (u32 i = 0; i < NR_FILES; i++) {
        inode_set_size(cpu, w->file[i]->f_inode, 0);
        fput(cpu, w->file[i]);
    }
}

static struct machine *boot(const struct variant *v)
{
    static struct machine_config c;

    test_config_of(&c, v->format, 256ul << 20, 1);
    c.nr_cpus = v->cpus;
    machine_config_layout(&c);
    return test_machine_full(&c);
}

static void check_all_done(const struct world *w)
{
    for (u32 i = 0; i < ARRAY_SIZE(ops); i++)
        if (!atomic_load(&((struct world *)(uintptr_t)w)->done[i]))
            fail_msg("%s: no %s succeeded", w->v.name, ops[i].name);
}

static void run(const struct variant *v)
{
    size_t bytes = sizeof(struct world) + MAX_WORKERS * sizeof(struct worker);
    struct world *w = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct worker *workers = (struct worker *)(w + 1);
    const char *seed = getenv("QUIRE_SEED"), *times = getenv("QUIRE_TIMES");
    struct cpu *cpu;
    u64 start;

    assert_true(w != MAP_FAILED);
    w->v = *v;
    w->v.ops *= times ? (u32)strtoul(times, NULL, 0) : 1;
    w->seed = seed ? strtoull(seed, NULL, 0) : 0x51ab5eed;
    print_message("%s: seed %#llx\n", v->name, (unsigned long long)w->seed);
    w->m = boot(v);
    cpu = test_cpu(w->m);
    open_files(cpu, w);
    for (u32 i = 0; i < NR_FILES; i++)
        fput(cpu, w->file[i]);
    start = settled_free_pages(cpu);
    open_files(cpu, w);
    first_tasks(cpu, w);
    atomic_store(&w->next_pid, 1000);
    for (u32 i = 0; i < v->workers; i++)
        workers[i] =
            (struct worker){.w = w, .id = i, .task = w->task[i], .seed = (w->seed + i + 1) * 0x9e3779b97f4a7c15ull};
    cpu_release(cpu);

    w->m->fail.interval = v->fail_interval;
    atomic_store(&w->m->fail.countdown, v->fail_interval);
    (v->host == THREADS ? run_threads : run_processes)(workers, v->workers);
    w->m->fail.interval = 0;
    atomic_store(&w->m->fail.countdown, 0);

    cpu = cpu_acquire(w->m, NULL, FIRST_TID - 1);
    assert_books(machine_check, w->m);
    end_tasks(cpu, w);
    assert_books(machine_check, w->m);
    assert_int_equal(settled_free_pages(cpu), start);
    assert_books(machine_check, w->m);
    check_all_done(w);
    cpu_release(cpu);
    test_machine_end(w->m);
    munmap(w, bytes);
}

static void test_one_mm(void **state)
{
    static const struct variant v[] = {
        {"one mm, x86-64", PT_X86_64_4L, 4, 4, ONE_MM, THREADS, 700, 0},
        {"one mm, arm64", PT_ARM64_4K, 4, 4, ONE_MM, THREADS, 400, 0},
        {"one mm, Sv39", PT_RISCV_SV39, 4, 4, ONE_MM, THREADS, 400, 0},
    };

    for (u32 i = 0; i < ARRAY_SIZE(v); i++)
        run(&v[i]);
}

static void test_many_mms(void **state)
{
    static const struct variant v[] = {
        {"many mms, x86-64", PT_X86_64_4L, 4, 4, MANY_MMS, THREADS, 700, 0},
        {"many mms, arm64", PT_ARM64_4K, 4, 4, MANY_MMS, THREADS, 400, 0},
        {"many mms, Sv39", PT_RISCV_SV39, 4, 4, MANY_MMS, THREADS, 400, 0},
    };

    for (u32 i = 0; i < ARRAY_SIZE(v); i++)
        run(&v[i]);
}

static void test_few_cpus(void **state)
{
    static const struct variant v[] = {
        {"8 threads, 3 CPUs, one mm", PT_X86_64_4L, 8, 3, ONE_MM, THREADS, 200, 0},
        {"6 threads, 1 CPU, many mms", PT_ARM64_4K, 6, 1, MANY_MMS, THREADS, 150, 0},
    };

    for (u32 i = 0; i < ARRAY_SIZE(v); i++)
        run(&v[i]);
}

static void test_no_memory(void **state)
{
    static const struct variant v[] = {
        {"one mm, failing allocations", PT_X86_64_4L, 4, 4, ONE_MM, THREADS, 600, 151},
        {"many mms, failing allocations", PT_RISCV_SV39, 4, 3, MANY_MMS, THREADS, 600, 199},
    };

    for (u32 i = 0; i < ARRAY_SIZE(v); i++)
        run(&v[i]);
}

static void test_processes(void **state)
{
    static const struct variant v[] = {
        {"processes, one mm", PT_X86_64_4L, 4, 4, ONE_MM, PROCESSES, 400, 0},
        {"processes, many mms, 2 CPUs", PT_X86_64_4L, 4, 2, MANY_MMS, PROCESSES, 400, 0},
    };

    for (u32 i = 0; i < ARRAY_SIZE(v); i++)
        run(&v[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_mm),    cmocka_unit_test(test_many_mms),  cmocka_unit_test(test_few_cpus),
        cmocka_unit_test(test_no_memory), cmocka_unit_test(test_processes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
