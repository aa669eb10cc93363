/* SPDX-License-Identifier: MIT */
/* The session: see session.h. Used by the launcher and by the plugin. */
#define _GNU_SOURCE
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cache/filemap.h"
#include "port/port.h"

#define VFORK_WAIT_NS 200000000ull /* look again: who would wake us may have died, or the run may have ended */

const char *const guest_arch_name[NR_GUEST_ARCHS] = {"x86_64", "aarch64", "riscv64"};

static struct session *session_map(int fd)
{
    void *p = mmap(NULL, sizeof(struct session), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (p == MAP_FAILED)
        return NULL;
    madvise(p, sizeof(struct session), MADV_DONTDUMP);
    return p;
}

struct session *session_create(void)
{
    int fd = memfd_create("quire-session", MFD_CLOEXEC);
    struct session *s;

    if (fd < 0)
        return NULL;
    if (ftruncate(fd, sizeof(struct session)) < 0 || !(s = session_map(fd))) {
        close(fd);
        return NULL;
    }
    s->magic = SESSION_MAGIC;
    s->launcher = getpid();
    s->fd = fd;
    return s;
}

void session_destroy(struct session *s)
{
    close(s->fd);
    munmap(s, sizeof(*s));
}

struct session *session_attach(int launcher, int handle)
{
    char path[64];
    struct session *s;
    struct stat st;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/fd/%d", launcher, handle);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    /* the launcher may be gone, and its process id another's */
    s = fstat(fd, &st) == 0 && st.st_size == sizeof(struct session) ? session_map(fd) : NULL;
    close(fd);
    if (s && s->magic != SESSION_MAGIC) {
        munmap(s, sizeof(*s));
        errno = EINVAL;
        return NULL;
    }
    return s;
}

void session_notice(struct session *s, const char *format, ...)
{
    u32 n = atomic_fetch_add(&s->nr_notices, 1);
    va_list ap;

    if (n >= SESSION_NOTICES)
        return;
    va_start(ap, format);
    vsnprintf(s->notice[n], SESSION_NOTICE_TEXT, format, ap);
    va_end(ap);
}

void session_machine_dead(struct session *s, u32 machine, const char *format, ...)
{
    struct session_machine *m = &s->machine[machine];
    u32 alive = 0;
    va_list ap;

    if (!atomic_compare_exchange_strong(&m->dead, &alive, 1))
        return;
    va_start(ap, format);
    vsnprintf(m->reason, sizeof(m->reason), format, ap);
    va_end(ap);
    if (m->addr)
        machine_close((struct machine *)(uintptr_t)m->addr);
}

static void raise_top(_Atomic u32 *top, u32 index)
{
    u32 old = atomic_load(top);

    while (old <= index && !atomic_compare_exchange_weak(top, &old, index + 1))
        ;
}

/* -- slots --------------------------------------------------------------------------------------------------------- */

struct session_proc *session_proc_new(struct session *s, int ppid)
{
    for (u32 i = 0; i < SESSION_PROCS; i++) {
        struct session_proc *p = &s->proc[i];
        u32 free = PROC_FREE;

        if (!atomic_compare_exchange_strong(&p->state, &free, PROC_FORKING))
            continue;
        raise_top(&s->proc_top, i);
        atomic_store(&p->pid, 0);
        p->ppid = ppid;
        atomic_store(&p->in_core, 0);
        atomic_store(&p->frozen, 0);
        atomic_store(&p->vfork, 0);
        p->comm[0] = 0;
        return p;
    }
    return NULL;
}

struct session_proc *session_proc_find(struct session *s, int pid)
{
    for (u32 i = 0; i < atomic_load(&s->proc_top); i++)
        if (atomic_load(&s->proc[i].state) != PROC_FREE && atomic_load(&s->proc[i].pid) == pid)
            return &s->proc[i];
    return NULL;
}

void session_proc_free(struct session_proc *p)
{
    atomic_store(&p->pid, 0);
    atomic_store(&p->state, PROC_FREE);
}

struct session_thread *session_thread_new(struct session *s, struct session_proc *p)
{
    for (u32 i = 0; i < SESSION_THREADS; i++) {
        struct session_thread *t = &s->thread[i];
        u32 free = THREAD_FREE;

        if (atomic_load_explicit(&t->state, memory_order_relaxed) != THREAD_FREE ||
            !atomic_compare_exchange_strong(&t->state, &free, THREAD_LIVE))
            continue;
        raise_top(&s->thread_top, i);
        t->proc = session_proc_index(s, p);
        atomic_store(&t->tid, 0);
        t->stream = s->trace.on ? atomic_fetch_add(&s->trace.nr_streams, 1) + 1 : 0;
        memset(t->task, 0, sizeof(t->task));
        return t;
    }
    return NULL;
}

void session_thread_free(struct session_thread *t)
{
    atomic_store(&t->tid, 0);
    t->proc = SESSION_PROCS;
    atomic_store(&t->state, THREAD_FREE);
}

/* -- what is kept of an address space ------------------------------------------------------------------------------ */

static void record_vmas(struct session *s, struct cpu *cpu, struct session_record *r, struct mm *mm)
{
    struct vm_area_struct *vma;
    u32 count = mm->map_count;
    u32 first = atomic_fetch_add(&s->nr_vmas, count);

    r->first_vma = first;
    if ((u64)first + count > SESSION_VMAS)
        return;
    for_each_vma (vma, mm) {
        struct session_vma *v = &s->vma[first + r->nr_vmas];

        if (r->nr_vmas == count)
            break;
        *v = (struct session_vma){vma->vm_start, vma->vm_end, vma->vm_pgoff.nr, vma->vm_flags, ""};
        if (vma->vm_file)
            snprintf(v->name, sizeof(v->name), "%.63s", vma->vm_file->f_inode->name);
        r->nr_vmas++;
    }
}

void session_record_mm(struct session *s, struct cpu *cpu, u32 machine, struct mm *mm, int pid, const char *comm)
{
    u32 n = atomic_fetch_add(&s->nr_records, 1);
    struct session_record *r;

    if (n >= SESSION_RECORDS)
        return;
    r = &s->record[n];
    r->machine = machine;
    r->pid = pid;
    snprintf(r->comm, sizeof(r->comm), "%s", comm);
    for (int i = 0; i < NR_MM_COUNTERS; i++)
        r->rss[i] = get_mm_counter(mm, i);
    r->hiwater_rss = MAX(mm->hiwater_rss, (u64)get_mm_rss(mm));
    r->total_vm = mm->total_vm;
    r->pgtables_bytes = (u64)atomic_load(&mm->pgtables_bytes);
    r->min_flt = mm->min_flt;
    r->maj_flt = mm->maj_flt;
    r->map_count = mm->map_count;
    down_read(cpu, &mm->mmap_lock);
    record_vmas(s, cpu, r, mm);
    up_read(cpu, &mm->mmap_lock);
    atomic_store(&r->state, 2);
}

/* -- taking threads down ------------------------------------------------------------------------------------------- */

/* A CPU for `task`; NULL: the machine is dead, or, with DROP_TRY, all are taken: their owners are then asked to give way. */
static struct cpu *drop_cpu(struct machine *m, struct task *task, enum drop_mode mode)
{
    u32 tid = (u32)syscall(SYS_gettid);
    struct cpu *cpu;

    if (mode == DROP_WAIT)
        return cpu_acquire(m, task, tid);
    for (u32 id = 0; id < m->nr_cpus; id++)
        if (cpu_try_acquire_id(m, id, tid, &cpu)) {
            cpu->current = task;
            return cpu;
        }
    for (u32 id = 0; id < m->nr_cpus; id++)
        cpu_post_work(m, id, CPU_WORK_RESCHED);
    return NULL;
}

static bool drop_thread_on(struct session *s, struct session_proc *p, struct session_thread *t, u32 i,
                           enum drop_mode mode)
{
    struct machine *m = (struct machine *)(uintptr_t)s->machine[i].addr;
    struct cpu *cpu;

    if (!t->task[i] || session_machine_is_dead(s, i))
        return true;
    cpu = drop_cpu(m, t->task[i], mode);
    if (!cpu)
        return session_machine_is_dead(s, i); /* meanwhile: nothing is left to do */
    if (atomic_load(&t->task[i]->mm->mm_users) == 1)
        session_record_mm(s, cpu, i, t->task[i]->mm, atomic_load(&p->pid), p->comm);
    switch_mm(cpu, NULL);
    task_exit(cpu, t->task[i]);
    t->task[i] = NULL;
    cpu_release(cpu);
    return true;
}

bool session_drop_thread(struct session *s, struct session_proc *p, struct session_thread *t, enum drop_mode mode)
{
    for (u32 i = 0; i < s->nr_machines; i++)
        if (!drop_thread_on(s, p, t, i, mode))
            return false;
    session_thread_free(t);
    return true;
}

bool session_drop_threads(struct session *s, struct session_proc *p, struct session_thread *keep, enum drop_mode mode)
{
    u32 index = session_proc_index(s, p);

    for (u32 k = 0; k < atomic_load(&s->thread_top); k++) {
        struct session_thread *t = &s->thread[k];

        if (t == keep || atomic_load_explicit(&t->state, memory_order_relaxed) != THREAD_LIVE || t->proc != index)
            continue;
        if (!session_drop_thread(s, p, t, mode))
            return false;
    }
    return true;
}

void session_release_dead_cpus(struct session *s, struct session_proc *p)
{
    u32 index = session_proc_index(s, p), nr = 0;
    u32 top = atomic_load(&s->thread_top);
    u32 *tids = calloc(top + 1, sizeof(*tids));

    for (u32 k = 0; tids && k < top; k++) {
        struct session_thread *t = &s->thread[k];

        if (atomic_load(&t->state) == THREAD_LIVE && t->proc == index && atomic_load(&t->tid))
            tids[nr++] = (u32)atomic_load(&t->tid);
    }
    for (u32 i = 0; nr && i < s->nr_machines; i++)
        cpu_release_dead((struct machine *)(uintptr_t)s->machine[i].addr, tids, nr);
    free(tids);
}

#define GATE_WAIT_NS 100000000ull

/* -- the gate ------------------------------------------------------------------------------------------------------ */

static bool try_gate_enter(struct session_proc *p)
{
    atomic_fetch_add(&p->in_core, 1);
    RACE_POINT(LOCK_RARITY);
    if (likely(!atomic_load(&p->frozen)))
        return true;
    atomic_fetch_sub(&p->in_core, 1);
    return false;
}

void gate_enter(struct session_proc *p)
{
    while (!try_gate_enter(p))
        port_futex_wait(&p->frozen, 1, GATE_WAIT_NS);
}

bool gate_enter_live(struct session_proc *p)
{
    while (!try_gate_enter(p)) {
        if (atomic_load(&p->state) == PROC_EXITED)
            return false;
        port_futex_wait(&p->frozen, 1, GATE_WAIT_NS);
    }
    return true;
}

bool gate_freeze(struct session_proc *p, u32 own)
{
    RACE_POINT(1);
    atomic_store(&p->frozen, 1);
    RACE_POINT(1);
    for (int i = 0; i < 20000; i++) {
        if (atomic_load(&p->in_core) <= own)
            return true;
        if (i < 100)
            sched_yield();
        else
            nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    }
    return false;
}

void gate_thaw(struct session_proc *p)
{
    RACE_POINT(1);
    atomic_store(&p->frozen, 0);
    RACE_POINT(1);
    port_futex_wake(&p->frozen, INT32_MAX);
}

/* The launcher sets `stopped`, then closes; whoever opens looks at `stopped` afterwards, too. */
void gate_thaw_unless_stopped(struct session *s, struct session_proc *p)
{
    if (atomic_load(&s->stopped))
        return;
    gate_thaw(p);
    RACE_POINT(1);
    if (!atomic_load(&s->stopped))
        return;
    atomic_store(&p->frozen, 1);
    if (atomic_load(&s->ended)) /* it has opened them all, perhaps before the store */
        gate_thaw(p);
}

/* -- vfork: the parent sleeps until the child executes a program or exits ------------------------------------------ */

void vfork_done(struct session_proc *p)
{
    if (atomic_exchange(&p->vfork, 0))
        port_futex_wake(&p->vfork, INT32_MAX);
}

/* A child that is a zombie already: the launcher may be gone, and its parent, which is us, does not reap it meanwhile. */
static bool child_is_dead(const struct session_proc *p)
{
    s32 pid = atomic_load(&((struct session_proc *)(uintptr_t)p)->pid);
    siginfo_t info = {0};

    if (pid <= 0)
        return false;
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) ? errno == ECHILD : info.si_pid == pid;
}

void vfork_wait(const struct session *s, struct session_proc *p)
{
    while (atomic_load(&p->vfork) && !session_has_ended(s)) {
        port_futex_wait(&p->vfork, 1, VFORK_WAIT_NS);
        if (child_is_dead(p))
            return;
    }
}
