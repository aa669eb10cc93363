/* SPDX-License-Identifier: MIT */
/*
 * The life of processes and threads, on the machines as on the host.
 *
 *   fork      before the call: kernel_clone() on every machine, into a new process slot. The child takes the slot over
 *             when it comes back with 0; the parent undoes it when the call failed.
 *   vfork     qemu makes it a fork. On the machines the child shares the parent's mm, as Linux has it; and so that
 *             this is true of the accesses too, the parent waits in its return callback until the child has
 *             executed a program or is gone.
 *   thread    the new task waits in the slot of its creator until qemu makes the vCPU, in the creator's thread; the
 *             vCPU's first block takes it over.
 *   execve    qemu would run the new program natively. So the callback before the call does the execve itself: of
 *             qemu, with this plugin and the same slot (command.c). Only if that fails, or if the program cannot
 *             be followed, qemu goes on.
 *   exit      the last thread takes its task down; where several threads are left, and for whoever dies without a word,
 *             the launcher does so when the process is gone.
 *   kill      SIGKILL and SIGSTOP wait until the victim is out of the memory manager (session.h, the gate).
 */
#define _GNU_SOURCE
#include "follow.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "command.h"
#include "record.h"
#include "signals.h"

static u32 host_tid(void)
{
    return (u32)syscall(SYS_gettid);
}

s64 guest_read(void *dst, u64 src, u64 len)
{
    struct iovec local = {dst, len}, remote = {(void *)(uintptr_t)src, len};
    ssize_t n = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);

    return n == (ssize_t)len ? n : -1;
}

/* -- the order of memory calls (F3); never wait for it while owning a CPU (F2) ------------------------------------- */

void order_lock(struct vcpu *v)
{
    if (pthread_mutex_trylock(&process.order) != 0) {
        record_simple(v, TRACE_RELEASE);
        vcpu_release(v);
        baton_drop(v);
        pthread_mutex_lock(&process.order);
        baton_take(v);
        record_ticket(v);
        vcpu_acquire(v);
    }
    v->ordered = true;
}

void order_unlock(struct vcpu *v)
{
    if (v->ordered)
        pthread_mutex_unlock(&process.order);
    v->ordered = false;
}

/* -- new tasks ----------------------------------------------------------------------------------------------------- */

void fork_before(struct vcpu *v, u64 flags)
{
    order_lock(v);
    fork_prepare(v, flags);
    RACE_POINT(1);
}

/* In the child: everything here is a copy of the parent's; nothing of the parent's may be given back. */
static void child_adopt(struct vcpu *v)
{
    struct session_proc *slot = v->child;
    struct session_thread *thread = v->child_thread;
    u32 index = v->index;

    for (u32 i = 0; i < process.vcpu_top; i++)
        if (i == index || vcpus[i].state != VCPU_NONE)
            vcpu_clear(&vcpus[i]);
    record_child();
    pthread_mutex_init(&process.order, NULL);
    RACE_POINT(1);
    if (!slot || !thread)
        return; /* unfollowed: the vCPU stays in state NONE */
    process.slot = slot;
    process.slot_index = session_proc_index(process.s, slot);
    process.pid = getpid();
    atomic_store(&process.nr_threads, 1);
    v->state = VCPU_USER;
    v->tid = host_tid();
    v->thread = thread;
    atomic_store(&thread->tid, (s32)v->tid);
    tasks_set_ids(thread, process.pid, process.pid);
    atomic_store(&slot->pid, process.pid);
    atomic_store(&slot->state, PROC_LIVE);
    record_task(v, TASK_FORKED);
    vcpu_acquire(v);
}

/* qemu made a vCPU, but no thread for it. */
static void drop_new_vcpu(struct vcpu *child)
{
    if (!child)
        return;
    vcpu_clear(child);
    atomic_fetch_sub(&process.nr_threads, 1);
}

static void fork_undo(struct vcpu *v)
{
    vcpu_release(v);
    if (v->child) {
        session_drop_threads(process.s, v->child, NULL, DROP_WAIT);
        session_proc_free(v->child);
    } else if (v->child_thread) {
        drop_new_vcpu(v->child_vcpu);
        session_drop_thread(process.s, process.slot, v->child_thread, DROP_WAIT);
    }
    vcpu_acquire(v);
}

void fork_after(struct vcpu *v, s64 ret)
{
    struct session_proc *child = v->child;
    s32 unknown = 0;

    if (ret == 0) {
        child_adopt(v);
        return;
    }
    if (ret < 0)
        fork_undo(v);
    else if (child)
        atomic_compare_exchange_strong(&child->pid, &unknown, (s32)ret);
    v->child = NULL;
    v->child_thread = NULL;
    v->child_vcpu = NULL;
    order_unlock(v);
    if (ret > 0 && child && atomic_load(&child->vfork)) {
        record_simple(v, TRACE_RELEASE);
        vcpu_release(v);
        baton_drop(v);
        vfork_wait(process.s, child);
        baton_take(v);
        record_ticket(v);
        vcpu_acquire(v);
    }
}

/* -- threads ------------------------------------------------------------------------------------------------------- */

void thread_started(struct vcpu *parent, struct vcpu *child)
{
    child->thread = parent->child_thread;
    parent->child_vcpu = child;
    atomic_fetch_add(&process.nr_threads, 1);
}

/* The main thread after the launcher's or an execve's start of qemu. */
static void start_process(struct vcpu *v)
{
    struct session_proc *slot = process.slot;
    struct session_thread *t = &process.s->thread[slot->main_thread];
    enum record_task how = TASK_FIRST;

    process.pid = getpid();
    atomic_store(&process.nr_threads, 1);
    gate_thaw_unless_stopped(process.s, slot);
    if (atomic_load(&slot->state) == PROC_EXEC) {
        session_release_dead_cpus(process.s, slot);
        gate_enter(slot);
        record_execed(t);
        session_drop_threads(process.s, slot, t, DROP_WAIT);
        gate_leave(slot);
        how = TASK_EXECED;
    } else {
        t = tasks_first(v);
    }
    if (!t)
        return;
    v->thread = t;
    slot->main_thread = (u32)(t - process.s->thread);
    tasks_set_ids(t, process.pid, process.pid);
    atomic_store(&slot->pid, process.pid);
    atomic_store(&slot->state, PROC_LIVE);
    record_task(v, how);
}

/*
 * Nobody looks after the machines and the session any more: nothing may wait for another process. CPUs are not given back:
 * the machines are closed, and nobody enters them.
 */
bool thread_leave(struct vcpu *v)
{
    if (!session_has_ended(process.s))
        return false;
    order_unlock(v);
    record_leave(v);
    vcpu_clear(v);
    return true;
}

void thread_first_block(struct vcpu *v)
{
    if (thread_leave(v))
        return;
    v->in_block = true;
    v->tid = host_tid();
    RACE_POINT(1);
    baton_take(v);
    if (process_has_ended()) {
        baton_drop(v);
        v->state = VCPU_NONE;
        return;
    }
    if (!process.loaded) {
        start_process(v);
    } else if (v->thread) {
        record_task(v, TASK_THREAD);
        if (!v->thread)
            return; /* the process has ended */
        tasks_set_ids(v->thread, (s32)v->tid, process.pid);
    }
    if (v->thread)
        atomic_store(&v->thread->tid, (s32)v->tid);
    v->state = VCPU_USER;
    vcpu_acquire(v);
    v->in_block = false;
    thread_leave(v);
}

void thread_returns(struct vcpu *v)
{
    record_simple(v, TRACE_RELEASE);
    vcpu_release(v);
    baton_drop(v);
    v->state = VCPU_RETURNING;
}

void thread_goes_on(struct vcpu *v)
{
    if (thread_leave(v))
        return;
    v->in_block = true;
    baton_take(v);
    record_ticket(v);
    v->state = VCPU_USER;
    vcpu_acquire(v);
    v->in_block = false;
}

void thread_exit(struct vcpu *v)
{
    struct session_thread *t = v->thread;

    if (atomic_load(&process.nr_threads) == 1) {
        process_exit(v);
        return;
    }
    baton_take(v);
    record_simple(v, TRACE_THREAD_EXIT);
    if (v->state == VCPU_USER)
        vcpu_acquire(v);
    vcpu_release(v);
    record_stop(v);
    if (t) {
        gate_enter(process.slot);
        session_drop_thread(process.s, process.slot, t, DROP_WAIT);
        gate_leave(process.slot);
    }
    RACE_POINT(1);
    atomic_fetch_sub(&process.nr_threads, 1);
    baton_drop(v);
    vcpu_clear(v);
}

/* Its tasks stay on the machines until the launcher has saved them. */
static bool is_kept(const struct session_proc *slot)
{
    return process.s->keep == KEEP_ALL || (process.s->keep == KEEP_PROGRAM && slot->ppid == process.s->launcher);
}

static void tell_gone(void *vcpu, const struct host_file *f)
{
    record_file_size(vcpu, f);
    follow_file_size(vcpu, f);
}

void process_exit(struct vcpu *v)
{
    struct session_proc *slot = process.slot;
    bool last = atomic_load(&process.nr_threads) == 1 && !is_kept(slot);

    baton_take(v);
    record_ticket(v);
    if (!is_kept(slot))
        host_nameless_each(false, tell_gone, v);
    record_simple(v, last ? TRACE_PROCESS_EXIT : TRACE_RELEASE);
    vcpu_release(v);
    record_stop(v);
    RACE_POINT(1);
    if (!last) {
        gate_freeze(slot, 0); /* the launcher takes the tasks down when the threads are gone */
    } else {
        gate_enter(slot);
        session_drop_threads(process.s, slot, NULL, DROP_WAIT);
        gate_leave(slot);
    }
    RACE_POINT(1);
    atomic_store(&slot->state, PROC_EXITED);
    RACE_POINT(1);
    port_futex_wake(&slot->frozen, INT32_MAX); /* who waits at the gate sees it */
    baton_drop(v);
    vfork_done(slot);
    v->state = VCPU_NONE;
}

/* -- execve -------------------------------------------------------------------------------------------------------- */

static char *guest_string(u64 addr)
{
    size_t size = 256, len = 0;
    char *s = malloc(size);

    while (s) {
        u64 part = MIN(size - len, PAGE_SIZE - ((addr + len) & ~PAGE_MASK));
        char *more;

        if (part && guest_read(s + len, addr + len, part) < 0)
            break;
        if (memchr(s + len, 0, part))
            return s;
        len += part;
        if (len < size)
            continue;
        more = size < 1 << 22 ? realloc(s, size *= 2) : NULL;
        if (!more)
            break;
        s = more;
    }
    free(s);
    return NULL;
}

static void free_strings(char **list)
{
    for (size_t i = 0; list && list[i]; i++)
        free(list[i]);
    free(list);
}

/* An array of strings that ends with NULL; NULL if any of it cannot be read. */
static char **guest_strings(u64 addr)
{
    size_t n = 0, room = 64;
    char **list = calloc(room, sizeof(*list));
    u64 word;

    for (; list && addr; n++) {
        if (guest_read(&word, addr + 8 * n, 8) < 0)
            goto bad;
        if (!word)
            break;
        if (n + 2 > room) {
            char **more = realloc(list, 2 * room * sizeof(*list));

            if (!more)
                goto bad;
            list = more;
            memset(list + room, 0, room * sizeof(*list));
            room *= 2;
        }
        list[n] = guest_string(word);
        if (!list[n])
            goto bad;
    }
    return list;
bad:
    free_strings(list);
    return NULL;
}

/* "/proc/self/exe" is qemu to the host, but the program to itself. */
static const char *exec_path(const char *path)
{
    char own[64];

    snprintf(own, sizeof(own), "/proc/%d/exe", process.pid);
    if ((strcmp(path, "/proc/self/exe") == 0 || strcmp(path, own) == 0) && process.exe[0])
        return process.exe;
    return path;
}

/* Programs the host could run by itself, and those of the guest's own architecture. */
static bool may_follow(const struct program *p, enum program_error err)
{
    if (err || !process.s->qemu[p->arch][0])
        return false;
    return p->arch == process.arch || p->arch == GUEST_X86_64;
}

static void unfollowed(const char *path, const char *why)
{
    atomic_fetch_add(&process.s->unfollowed, 1);
    session_notice(process.s, "process %d: %s %s: it runs without being followed", process.pid, path, why);
    vfork_done(process.slot);
}

/* Replace this process by qemu with the program; returns only if that failed. Signals are held. */
static void exec_qemu_held(struct vcpu *v, struct signals_held *held, struct command *c, enum guest_arch arch)
{
    bool alone = atomic_load(&process.nr_threads) == 1;

    command_set_mask(c, held->mask);
    host_nameless_each(true, tell_gone, v);
    record_enter(v, CPUS_RELEASED);
    vcpu_release(v);
    record_flush(v);
    if (!alone)
        gate_freeze(process.slot, 0);
    process.slot->main_thread = (u32)(v->thread - process.s->thread);
    process.slot->arch = arch;
    atomic_store(&process.slot->state, PROC_EXEC);
    if (alone)
        baton_drop(v); /* else nobody records what he does not live to do */
    RACE_POINT(1);
    signals_ignore(held);
    execve(c->argv[0], c->argv, c->envp);
    baton_take(v);
    record_ticket(v);
    atomic_store(&process.slot->state, PROC_LIVE);
    gate_thaw_unless_stopped(process.s, process.slot);
    vcpu_acquire(v);
    record_simple(v, TRACE_ACQUIRE);
}

/* Returns if that failed, or if the program has a signal to take first: qemu sees to it, and comes back. */
static void exec_qemu(struct vcpu *v, const struct program *p, char **argv, char **envp)
{
    struct signals_held held;
    struct command c;

    if (command_build(&c, process.s, p, process.slot_index, argv, envp))
        return;
    if (signals_hold(&held)) {
        exec_qemu_held(v, &held, &c, p->arch);
        signals_release(&held);
    }
    command_free(&c);
}

/* The run has ended. The host runs its own programs by itself, but the others need their qemu. */
static void exec_unfollowed(const struct program *p, enum program_error err, char **argv, char **envp)
{
    struct command c;

    if (!may_follow(p, err) || p->privileged || p->arch == GUEST_X86_64 ||
        command_build(&c, process.s, p, COMMAND_UNFOLLOWED, argv, envp))
        return;
    execve(c.argv[0], c.argv, c.envp);
    command_free(&c);
}

static void exec_resolved(struct vcpu *v, const char *path, char **argv, char **envp, struct program *p)
{
    enum program_error err = program_resolve(exec_path(path), process.s->sysroot[process.arch], p);

    if (session_has_ended(process.s))
        exec_unfollowed(p, err, argv, envp);
    else if (may_follow(p, err) && !p->privileged)
        exec_qemu(v, p, argv, envp);
    else if (!err && p->privileged)
        unfollowed(path, "is set-user-ID or set-group-ID");
    else if (err == PROGRAM_FOREIGN || (!err && p->arch == GUEST_X86_64))
        unfollowed(path, "is for an architecture without a qemu here");
}

/* Takes `path`. */
static void exec_path_before(struct vcpu *v, char *path, u64 argv_addr, u64 envp_addr)
{
    char **argv = guest_strings(argv_addr), **envp = guest_strings(envp_addr);
    struct program *p = malloc(sizeof(*p));

    if (path && argv && envp && p && (v->thread || session_has_ended(process.s)))
        exec_resolved(v, path, argv, envp, p);
    free(path);
    free_strings(argv);
    free_strings(envp);
    free(p);
}

void exec_before(struct vcpu *v, u64 path_addr, u64 argv_addr, u64 envp_addr)
{
    exec_path_before(v, guest_string(path_addr), argv_addr, envp_addr);
}

/* The path that a descriptor and a path relative to it name; NULL: qemu is to answer. execveat(2). */
static char *exec_path_at(int fd, const char *path, int flags)
{
    char name[SESSION_PATH], link[64];
    struct stat st, opened;
    char *full = NULL;
    ssize_t n;

    if (flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) || (!path[0] && !(flags & AT_EMPTY_PATH)))
        return NULL;
    if (path[0] == '/' || (fd == AT_FDCWD && path[0])) {
        full = strdup(path);
    } else if (fd >= 0) {
        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        n = readlink(link, name, sizeof(name) - 1);
        if (n < 0 || fstat(fd, &opened))
            return NULL;
        name[n] = 0;
        if (stat(name, &st) || st.st_dev != opened.st_dev || st.st_ino != opened.st_ino)
            snprintf(name, sizeof(name), "%s", link); /* removed, or never had a name */
        if (asprintf(&full, "%s%s%s", name, path[0] ? "/" : "", path) < 0)
            return NULL;
    }
    if (full && (flags & AT_SYMLINK_NOFOLLOW) && !lstat(full, &st) && S_ISLNK(st.st_mode)) {
        free(full);
        return NULL;
    }
    return full;
}

void execat_before(struct vcpu *v, const u64 arg[6])
{
    char *path = guest_string(arg[1]);
    char *full = path ? exec_path_at((int)arg[0], path, (int)arg[4]) : NULL;

    free(path);
    if (full)
        exec_path_before(v, full, arg[2], arg[3]);
}

/* -- kill ---------------------------------------------------------------------------------------------------------- */

static bool kill_hits(const struct session_proc *p, s64 target)
{
    s32 pid = atomic_load(&((struct session_proc *)(uintptr_t)p)->pid);

    if (atomic_load(&((struct session_proc *)(uintptr_t)p)->state) == PROC_FREE || pid <= 0)
        return false;
    if (target > 0)
        return pid == target;
    if (target == -1)
        return pid != process.pid;
    return getpgid(pid) == (target == 0 ? getpgrp() : (pid_t)-target);
}

void kill_before(struct vcpu *v, s64 target, int sig)
{
    v->killing = sig == SIGKILL || sig == SIGSTOP;
    for (u32 i = 0; v->killing && i < atomic_load(&process.s->proc_top); i++)
        if (kill_hits(&process.s->proc[i], target))
            gate_freeze(&process.s->proc[i], 0);
    /*
     * Who gets SIGKILL must not record what it will not live to do, who gets SIGSTOP must not take the baton and keep it;
     * but who stops itself would.
     */
    if (!v->killing || (sig == SIGSTOP && kill_hits(process.slot, target)))
        baton_drop(v);
}

void kill_after(struct vcpu *v, s64 target, int sig, s64 ret)
{
    if (!v->killing)
        return;
    v->killing = false;
    for (u32 i = 0; (ret < 0 || sig == SIGSTOP) && i < atomic_load(&process.s->proc_top); i++)
        if (kill_hits(&process.s->proc[i], target))
            gate_thaw_unless_stopped(process.s, &process.s->proc[i]);
}
