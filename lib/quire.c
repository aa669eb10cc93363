/* SPDX-License-Identifier: MIT */
/*
 * The library for embedders: quire.h over the machine's own interface. Host code: it may use the C library.
 *
 * A call takes a CPU for the process (cpu_acquire), works inside the core and gives it back. That costs some tens of nanoseconds; who needs
 * millions of accesses a second links the core itself and keeps its CPU.
 */
#include <quire/quire.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "abi/proc.h"
#include "cache/filemap.h"
#include "machine/machine_api.h"
#include "machine/report.h"
#include "saved.h"

struct quire_machine {
    struct machine *m;
};

struct quire_process {
    struct machine *m;
    struct task *task;
};

static _Thread_local char last_error[512];
static _Atomic u32 next_thread = 1;
static _Thread_local u32 thread_id;

static u32 this_thread(void)
{
    if (!thread_id)
        thread_id = atomic_fetch_add(&next_thread, 1);
    return thread_id;
}

const char *quire_version(void)
{
    return QUIRE_VERSION;
}

const char *quire_last_error(void)
{
    return last_error;
}

static int64_t result(const char *what, int64_t n)
{
    if (n < 0)
        snprintf(last_error, sizeof(last_error), "%s: %s", what, strerror((int)-n));
    return n;
}

/* -- machines ---------------------------------------------------------------------------------------------------------------------- */

static int read_config(struct machine_config *c, const char *text)
{
    machine_config_default(c);
    if (text && machine_config_parse(c, text, "config", last_error, sizeof(last_error)))
        return -EINVAL;
    return machine_config_validate(c, last_error, sizeof(last_error));
}

struct quire_machine *quire_machine_create(const char *config)
{
    struct machine_config *c = malloc(sizeof(*c));
    struct quire_machine *q = malloc(sizeof(*q));

    if (c && q && !read_config(c, config)) {
        q->m = machine_boot(c, NULL);
        if (!IS_ERR(q->m)) {
            free(c);
            return q;
        }
        result("boot", PTR_ERR(q->m));
    }
    free(c);
    free(q);
    return NULL;
}

void quire_machine_destroy(struct quire_machine *q)
{
    machine_destroy(q->m);
    free(q);
}

int quire_machine_check(struct quire_machine *q)
{
    struct check_report *r = calloc(1, sizeof(*r));
    int nr;

    if (!r)
        return (int)result("check", -ENOMEM);
    machine_check(q->m, r);
    nr = (int)r->nr;
    if (nr)
        snprintf(last_error, sizeof(last_error), "%s", r->text[0]);
    free(r);
    return nr;
}

static bool counter_in(const struct report_list *l, const char *name, int64_t *value)
{
    for (u32 i = 0; i < l->nr; i++)
        if (!strcmp(l->v[i].name, name)) {
            *value = l->v[i].value;
            return true;
        }
    return false;
}

int64_t quire_machine_counter(const struct quire_machine *q, const char *name)
{
    static void (*const source[])(const struct machine *, struct report_list *) = {report_vmstat, report_meminfo,
                                                                                   report_tlb};
    struct report_list l;
    int64_t value;

    if (!strncmp(name, "time.", 5)) {
        report_time(q->m, &l);
        return counter_in(&l, name + 5, &value) ? value : result(name, -ENOENT);
    }
    for (u32 i = 0; i < ARRAY_SIZE(source); i++) {
        source[i](q->m, &l);
        if (counter_in(&l, name, &value))
            return value;
    }
    return result(name, -ENOENT);
}

/* -- views ------------------------------------------------------------------------------------------------------------------------------ */

struct view {
    char *buf;
    size_t len; /* of buf */
    int64_t total;
};

static int view_write(void *arg, const char *bytes, size_t len)
{
    struct view *v = arg;

    if ((size_t)v->total + 1 < v->len)
        memcpy(v->buf + v->total, bytes, MIN(len, v->len - 1 - (size_t)v->total));
    v->total += (int64_t)len;
    return 0;
}

int64_t quire_proc_read(struct quire_machine *q, const char *name, char *buf, size_t len)
{
    struct view v = {buf, len, 0};
    struct proc_sink sink = {view_write, &v};
    struct cpu *cpu = cpu_acquire(q->m, NULL, this_thread());
    int err = proc_read(cpu, name, &sink);

    cpu_release(cpu);
    if (len)
        buf[MIN((size_t)v.total, len - 1)] = 0;
    return err ? result(name, err) : v.total;
}

const char *quire_proc_name(size_t i)
{
    static _Thread_local char name[64];
    const struct proc_file *f = i < UINT32_MAX ? proc_file((u32)i) : NULL;

    if (!f)
        return NULL;
    snprintf(name, sizeof(name), "%s%s", f->scope == PROC_PROCESS ? "PID/" : "", f->name);
    return name;
}

/* -- saved machines --------------------------------------------------------------------------------------------------------------------- */

int quire_machine_save(struct quire_machine *q, const char *path)
{
    struct saved_input in = {"libquire", "by the program", 1, {q->m}};

    return saved_write(path, &in, last_error);
}

/* The machine of that name in the file; -1: none. */
static s32 find_saved(const struct saved *s, const char *name)
{
    for (u32 i = 0; i < s->header.nr_machines; i++)
        if (!name || !strcmp(saved_machine(s, i)->name, name))
            return (s32)i;
    return -1;
}

struct quire_machine *quire_machine_load(const char *path, const char *name)
{
    struct quire_machine *q = malloc(sizeof(*q));
    struct saved s;
    s32 i;

    if (!q || saved_open(path, &s, last_error)) {
        free(q);
        return NULL;
    }
    i = find_saved(&s, name);
    q->m = i < 0 ? ERR_PTR(-ENOENT) : saved_load(&s, (u32)i, last_error);
    saved_close(&s);
    if (!IS_ERR(q->m))
        return q;
    if (i < 0)
        snprintf(last_error, sizeof(last_error), "%s: no machine %s in it", path, name);
    free(q);
    return NULL;
}

/* -- processes ------------------------------------------------------------------------------------------------------------------------ */

static struct cpu *enter(const struct quire_process *p)
{
    return cpu_acquire(p->m, p->task, this_thread());
}

static bool pid_in_use(struct machine *m, int pid)
{
    struct cpu *cpu = cpu_acquire(m, NULL, this_thread());
    bool found = task_find(cpu, pid) != NULL;

    cpu_release(cpu);
    return found;
}

static struct quire_process *process_new(struct machine *m, int pid)
{
    struct quire_process *p = NULL;

    if (pid < 1)
        result("pid", -EINVAL);
    else if (pid_in_use(m, pid))
        result("pid", -EEXIST);
    else if (!(p = calloc(1, sizeof(*p))))
        result("process", -ENOMEM);
    if (p)
        p->m = m;
    return p;
}

struct quire_process *quire_process_create(struct quire_machine *q, int pid)
{
    struct quire_process *p = process_new(q->m, pid);
    struct cpu *cpu;
    struct mm *mm;

    if (!p)
        return NULL;
    cpu = cpu_acquire(q->m, NULL, this_thread());
    mm = mm_alloc(cpu);
    if (mm)
        p->task = task_create(cpu, pid, pid, mm);
    if (mm && !p->task)
        mmput(cpu, mm);
    cpu_release(cpu);
    if (p->task)
        return p;
    result("process", -ENOMEM);
    free(p);
    return NULL;
}

struct quire_process *quire_process_open(struct quire_machine *q, int pid)
{
    struct quire_process *p = calloc(1, sizeof(*p));
    struct cpu *cpu;

    if (!p)
        return NULL;
    cpu = cpu_acquire(q->m, NULL, this_thread());
    *p = (struct quire_process){q->m, task_find(cpu, pid)};
    cpu_release(cpu);
    if (p->task)
        return p;
    result("pid", -ESRCH);
    free(p);
    return NULL;
}

struct quire_process *quire_process_fork(struct quire_process *parent, int pid)
{
    struct quire_process *p = process_new(parent->m, pid);
    struct cpu *cpu;

    if (!p)
        return NULL;
    cpu = enter(parent);
    p->task = kernel_clone(cpu, 0, pid, pid);
    cpu_release(cpu);
    if (!IS_ERR(p->task))
        return p;
    result("fork", PTR_ERR(p->task));
    free(p);
    return NULL;
}

void quire_process_exit(struct quire_process *p)
{
    struct cpu *cpu = enter(p);

    task_exit(cpu, p->task);
    cpu_release(cpu);
    free(p);
}

int64_t quire_process_rss(const struct quire_process *p)
{
    return get_mm_rss(p->task->mm);
}

/* -- system calls ------------------------------------------------------------------------------------------------------------------------ */

#define SYSTEM_CALL(p, what, call)                                                                                     \
    ({                                                                                                                 \
        struct cpu *cpu = enter(p);                                                                                    \
        s64 value_ = (call);                                                                                           \
        cpu_release(cpu);                                                                                              \
        result(what, value_);                                                                                          \
    })

int64_t quire_mmap(struct quire_process *p, uint64_t addr, uint64_t len, int prot, int flags)
{
    return SYSTEM_CALL(p, "mmap", sys_mmap(cpu, addr, len, (u32)prot, (u32)flags | MAP_ANONYMOUS_, NULL, 0));
}

static s64 mmap_file(struct cpu *cpu, const struct quire_process *p, struct file *file, const u64 arg[5])
{
    s64 at;

    if (IS_ERR(file))
        return PTR_ERR(file);
    at = sys_mmap(cpu, arg[0], arg[1], (u32)arg[2], (u32)arg[3] & ~MAP_ANONYMOUS_, file, arg[4]);
    fput(cpu, file);
    return at;
}

int64_t quire_mmap_file(struct quire_process *p, uint64_t addr, uint64_t len, int prot, int flags, uint64_t inode,
                        uint64_t file_size, uint64_t offset)
{
    const u64 arg[5] = {addr, len, (u64)prot, (u64)flags, offset};
    char name[32];

    snprintf(name, sizeof(name), "inode %llu", (unsigned long long)inode);
    return SYSTEM_CALL(
        p, "mmap",
        mmap_file(cpu, p, file_open(cpu, 0, inode, file_size, FMODE_READ | FMODE_WRITE | FMODE_EXEC, name), arg));
}

int64_t quire_munmap(struct quire_process *p, uint64_t addr, uint64_t len)
{
    return SYSTEM_CALL(p, "munmap", sys_munmap(cpu, addr, len));
}

int64_t quire_mprotect(struct quire_process *p, uint64_t addr, uint64_t len, int prot)
{
    return SYSTEM_CALL(p, "mprotect", sys_mprotect(cpu, addr, len, (u32)prot));
}

int64_t quire_mremap(struct quire_process *p, uint64_t addr, uint64_t old_len, uint64_t new_len, int flags,
                     uint64_t new_addr)
{
    return SYSTEM_CALL(p, "mremap", sys_mremap(cpu, addr, old_len, new_len, (u32)flags, new_addr));
}

int64_t quire_brk(struct quire_process *p, uint64_t brk)
{
    return SYSTEM_CALL(p, "brk", sys_brk(cpu, brk));
}

int64_t quire_madvise(struct quire_process *p, uint64_t addr, uint64_t len, int advice)
{
    return SYSTEM_CALL(p, "madvise", sys_madvise(cpu, addr, len, advice));
}

/* -- accesses ------------------------------------------------------------------------------------------------------------------------------ */

static int ended(int signo, const struct fault_info *fi, struct quire_fault *fault)
{
    if (fault)
        *fault = signo ? (struct quire_fault){signo, fi->si_code, fi->addr} : (struct quire_fault){0};
    return signo;
}

static int access_kind(struct cpu *cpu, u64 addr, u32 size, enum quire_access kind, struct fault_info *fi)
{
    struct mmu *u = cpu_mmu(cpu);

    switch (kind) {
    case QUIRE_WRITE:
        return mmu_access_size(cpu, u, addr, size, MMU_WRITE, fi);
    case QUIRE_EXEC:
        return mmu_access_size(cpu, u, addr, size, MMU_EXEC, fi);
    default:
        return mmu_access_size(cpu, u, addr, size, MMU_READ, fi);
    }
}

int quire_access(struct quire_process *p, uint64_t addr, uint32_t size, enum quire_access kind,
                 struct quire_fault *fault)
{
    struct fault_info fi = {0};
    struct cpu *cpu;
    int signo;

    if (!size || size > PAGE_SIZE || (u32)kind > QUIRE_EXEC)
        return (int)result("access", -EINVAL);
    cpu = enter(p);
    cpu_enter_user(cpu);
    signo = access_kind(cpu, addr, size, kind, &fi);
    mmu_account(cpu, kind != QUIRE_EXEC, kind == QUIRE_EXEC, kind == QUIRE_EXEC);
    cpu_enter_kernel(cpu);
    cpu_release(cpu);
    return ended(signo, &fi, fault);
}

int quire_load(struct quire_process *p, void *dst, uint64_t src, uint64_t len, struct quire_fault *fault)
{
    struct fault_info fi = {0};
    struct cpu *cpu;
    int signo;

    if (p->m->config.content != CONTENT_FULL)
        return (int)result("load", -EOPNOTSUPP);
    cpu = enter(p);
    signo = mmu_copy_from_user(cpu, dst, src, len, &fi);
    cpu_release(cpu);
    return ended(signo, &fi, fault);
}

int quire_store(struct quire_process *p, uint64_t dst, const void *src, uint64_t len, struct quire_fault *fault)
{
    struct fault_info fi = {0};
    struct cpu *cpu;
    int signo;

    if (p->m->config.content != CONTENT_FULL)
        return (int)result("store", -EOPNOTSUPP);
    cpu = enter(p);
    signo = mmu_copy_to_user(cpu, dst, src, len, &fi);
    cpu_release(cpu);
    return ended(signo, &fi, fault);
}
