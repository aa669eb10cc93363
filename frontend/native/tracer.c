/* SPDX-License-Identifier: MIT */
/*
 * The recorder's loop: one stop of one thread at a time.
 *
 *   PTRACE_EVENT_SECCOMP   before a call that matters: wait for the address space, collect what it reads, let it go on
 *   syscall-exit stop      its result: collect what it wrote, write the event, give the address space to the next
 *   PTRACE_EVENT_FORK ...  a new thread or process; it stops by itself, and goes on when both have been seen
 *   PTRACE_EVENT_EXEC      a new address space: recorded whole. All other threads of the process are gone
 *   PTRACE_EVENT_EXIT      maps of a process that ends
 *   signal                 recorded and delivered; a group stop stays one (PTRACE_LISTEN)
 *
 * One call at a time in each address space (gate.c): so their order is known.
 *
 * Follows ptrace(2), seccomp(2).
 */
#define _GNU_SOURCE
#include "priv.h"

#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "abi/calls.h"

#define TICK_US 20000
#define MAPS_EVERY 1000
#define EXIT_NAP_NS 50000
#define EXIT_NAPS 400
#define STOP_AFTER_S 5.0

/* -- signals to the recorder itself -------------------------------------------------------------------------------- */

static volatile sig_atomic_t child_pid;
static volatile sig_atomic_t nr_stops; /* SIGTERM and SIGINT that somebody sent to the recorder */

/* The terminal's signals reach the program by themselves; those sent to the recorder alone are passed on. */
static void pass_on(int sig, siginfo_t *si, void *context)
{
    if (child_pid <= 0 || si->si_code == SI_KERNEL)
        return;
    kill((pid_t)child_pid, sig);
    nr_stops += sig == SIGTERM || sig == SIGINT;
}

/* So that wait4 comes back. */
static void nothing(int sig)
{
}

static void own_signals(s32 child)
{
    struct sigaction pass = {.sa_sigaction = pass_on, .sa_flags = SA_SIGINFO}, alarm = {.sa_handler = nothing};

    child_pid = child;
    sigaction(SIGINT, &pass, NULL);
    sigaction(SIGQUIT, &pass, NULL);
    sigaction(SIGTERM, &pass, NULL);
    sigaction(SIGHUP, &pass, NULL);
    sigaction(SIGUSR1, &pass, NULL);
    sigaction(SIGUSR2, &pass, NULL);
    sigaction(SIGALRM, &alarm, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* -- threads and address spaces ------------------------------------------------------------------------------------ */

static struct list_head *bucket(struct tracer *tr, s32 tid)
{
    return &tr->hash[(u32)tid % THREAD_HASH];
}

static struct thread *thread_find(struct tracer *tr, s32 tid)
{
    struct thread *t;

    list_for_each_entry (t, bucket(tr, tid), hash)
        if (t->tid == tid)
            return t;
    return NULL;
}

static void *must(void *p)
{
    if (!p)
        abort();
    return p;
}

static struct thread *thread_new(struct tracer *tr, s32 tid, enum thread_state state)
{
    struct thread *t = must(calloc(1, sizeof(*t)));

    t->tid = tid;
    t->state = state;
    t->pidfd = -1;
    INIT_LIST_HEAD(&t->waiting);
    list_add(&t->hash, bucket(tr, tid));
    return t;
}

static struct nmm *mm_new(void)
{
    struct nmm *mm = must(calloc(1, sizeof(*mm)));

    gate_init(&mm->gate);
    return mm;
}

static void call_begins(struct thread *t)
{
    t->in_call = true;
    if (t->mm->nr_in_call++)
        t->flags |= NATIVE_OVERLAPPED;
}

static void call_is_over(struct thread *t)
{
    t->mm->nr_in_call -= t->in_call;
    t->in_call = false;
}

static void mm_leave(struct tracer *tr, struct thread *t)
{
    struct nmm *mm = t->mm;

    if (!mm)
        return;
    call_is_over(t);
    gates_release(tr, t);
    t->mm = NULL;
    if (--mm->users)
        return;
    free(mm->maps);
    free(mm);
}

static void mm_enter(struct thread *t, struct nmm *mm)
{
    t->mm = mm;
    mm->users++;
}

static void proc_leave(struct thread *t)
{
    if (t->proc && !--t->proc->nr_threads)
        free(t->proc);
    t->proc = NULL;
}

static void thread_free(struct tracer *tr, struct thread *t)
{
    mm_leave(tr, t);
    proc_leave(t);
    list_del(&t->hash);
    if (t->pidfd >= 0)
        close(t->pidfd);
    free(t->call.p);
    free(t);
}

static struct proc *proc_new(struct tracer *tr, s32 tgid)
{
    struct proc *p = must(calloc(1, sizeof(*p)));

    p->tgid = tgid;
    tr->r->processes++;
    return p;
}

static void proc_enter(struct tracer *tr, struct thread *t, struct proc *p)
{
    t->proc = p;
    p->nr_threads++;
    tr->r->threads++;
}

/* -- going on ------------------------------------------------------------------------------------------------------ */

/* A thread that is killed meanwhile answers ESRCH: its end comes by wait. */
static void go_on(const struct thread *t, enum __ptrace_request how, int sig)
{
    ptrace(how, t->tid, NULL, (void *)(intptr_t)sig);
}

/* -- calls --------------------------------------------------------------------------------------------------------- */

static void tick(struct tracer *tr)
{
    const struct itimerval every = {.it_interval.tv_usec = TICK_US, .it_value.tv_usec = TICK_US}, never = {0};
    bool wanted = tr->nr_queued > 0 || nr_stops > 0;

    if (wanted == tr->timer)
        return;
    tr->timer = wanted;
    setitimer(ITIMER_REAL, wanted ? &every : &never, NULL);
}

static bool is_clone(const struct thread *t)
{
    return t->nr >= CALL_CLONE;
}

/* CLONE_UNTRACED would let the child out of our sight, where nobody answers its stops: taken out for the call. */
static void hide_untraced(struct thread *t, bool restore)
{
    u64 flags = t->clone_flags & ~(u64)CLONE_UNTRACED;

    if (!(t->clone_flags & CLONE_UNTRACED))
        return;
    if (t->nr == CALL_CLONE3)
        tracee_write(t, t->arg[0], restore ? &t->clone_flags : &flags, sizeof(flags));
#ifdef __x86_64__
    else if (t->nr == CALL_CLONE)
        ptrace(PTRACE_POKEUSER, t->tid, 14 * sizeof(u64), restore ? t->clone_flags : flags); /* rdi */
#endif
}

static void read_clone_flags(struct thread *t)
{
    static const u64 of[] = {[CALL_FORK - CALL_CLONE] = SIGCHLD,
                             [CALL_VFORK - CALL_CLONE] = CLONE_VM | CLONE_VFORK | SIGCHLD};

    t->clone_flags = t->nr == CALL_CLONE ? t->arg[0] : t->nr == CALL_CLONE3 ? 0 : of[t->nr - CALL_CLONE];
    if (t->nr == CALL_CLONE3)
        tracee_read(t, t->arg[0], &t->clone_flags, sizeof(t->clone_flags));
}

static void finish_exit(struct tracer *tr, struct thread *t);

/* The thread's call begins. */
void tracer_let_in(struct tracer *tr, struct thread *t)
{
    struct native_call *e;

    if (t->ends) {
        finish_exit(tr, t);
        return;
    }
    t->state = THREAD_IN_CALL;
    call_begins(t);
    t->enter_seq = ++tr->seq;
    buffer_reset(&t->call);
    if (is_clone(t)) {
        read_clone_flags(t);
        hide_untraced(t, false);
    } else {
        e = buffer_add(&t->call, sizeof(*e));
        collect_enter(tr, t, &t->call);
    }
    go_on(t, PTRACE_SYSCALL, 0);
}

static void on_enter(struct tracer *tr, struct thread *t)
{
    struct __ptrace_syscall_info info;

    if (ptrace(PTRACE_GET_SYSCALL_INFO, t->tid, sizeof(info), &info) <= 0 || info.op != PTRACE_SYSCALL_INFO_SECCOMP) {
        go_on(t, PTRACE_CONT, 0);
        return;
    }
    t->nr = info.seccomp.ret_data;
    memcpy(t->arg, info.seccomp.args, sizeof(t->arg));
    t->sp = info.stack_pointer;
    t->flags = 0;
    if (gates_pass(tr, t))
        tracer_let_in(tr, t);
}

static bool is_restart(s64 ret)
{
    return ret <= -512 && ret >= -516; /* ERESTARTSYS ... ERESTART_RESTARTBLOCK: never seen by the program */
}

static bool changes_credentials(u32 nr)
{
    return nr == NATIVE_capset || nr == NATIVE_setuid || nr == NATIVE_setreuid || nr == NATIVE_setresuid;
}

static void write_call(struct tracer *tr, struct thread *t, s64 ret, u32 flags)
{
    struct native_call *e;

    if (!(flags & NATIVE_UNFINISHED))
        collect_leave(tr, t, ret, &t->call);
    e = (struct native_call *)(void *)t->call.p;
    e->h = head_of(tr, t);
    e->enter_seq = t->enter_seq;
    memcpy(e->arg, t->arg, sizeof(e->arg));
    e->ret = ret;
    e->sp = t->sp;
    e->nr = (u16)t->nr;
    e->flags = (u16)(t->flags | flags | (is_restart(ret) ? NATIVE_INTERRUPTED : 0));
    e->nr_parts = t->call.nr_parts;
    if (changes_credentials(t->nr))
        e->cap_effective = cap_effective(t->tid);
    tr->r->calls++;
    emit(tr, NATIVE_CALL, &t->call);
    if (t->nr == NATIVE_ptrace && !tr->r->ptracer)
        tr->r->ptracer = t->proc->tgid;
    if (t->nr == NATIVE_ptrace)
        emit_notice(tr, t, "uses ptrace: its own processes are followed already, so that it is refused");
    if (flags & NATIVE_UNFINISHED)
        return;
    t->mm->calls++;
    /* not in the middle of another thread's call */
    if (!t->mm->nr_in_call && (tr->o->maps == NATIVE_MAPS_ALL || t->mm->calls >= MAPS_EVERY))
        emit_maps(tr, t);
}

static void add_clone_args(struct thread *t, struct buffer *b)
{
    struct native_clone_args *a = buffer_add(b, sizeof(*a));
    u64 len = t->arg[1] < sizeof(a->arg) ? t->arg[1] : sizeof(a->arg);
    s64 got;

    memset(a, 0, sizeof(*a));
    a->size = t->arg[1];
    got = tracee_read(t, t->arg[0], a->arg, len);
    a->known = got > 0 ? (u64)got : 0;
}

static void write_clone(struct tracer *tr, struct thread *t, s32 child, s32 err, u32 event)
{
    struct native_clone *e;

    buffer_reset(&tr->other);
    e = buffer_add(&tr->other, sizeof(*e));
    e->h = head_of(tr, t);
    e->enter_seq = t->enter_seq;
    e->flags = t->clone_flags;
    e->child = child;
    e->child_tgid = t->clone_flags & CLONE_THREAD ? t->proc->tgid : child;
    e->err = err;
    e->event = event | (t->nr == CALL_CLONE3 ? NATIVE_BY_CLONE3 : NATIVE_BY_CLONE);
    if (err && t->nr == CALL_CLONE3)
        add_clone_args(t, &tr->other);
    emit(tr, NATIVE_CLONE, &tr->other);
}

/* A syscall-exit stop: of a call that matters, or of a failed clone. */
static void on_leave(struct tracer *tr, struct thread *t)
{
    struct __ptrace_syscall_info info;

    if (t->state == THREAD_IN_CALL && ptrace(PTRACE_GET_SYSCALL_INFO, t->tid, sizeof(info), &info) > 0 &&
        info.op == PTRACE_SYSCALL_INFO_EXIT) {
        call_is_over(t);
        if (!is_clone(t)) {
            t->mm->has_segments |= t->nr == ABI_shmat && !info.exit.is_error;
            write_call(tr, t, info.exit.rval, 0);
        } else {
            hide_untraced(t, true);
            if (!is_restart(info.exit.rval))
                write_clone(tr, t, 0, (s32)info.exit.rval, 0);
        }
        t->state = THREAD_RUNS;
        gates_release(tr, t);
    }
    go_on(t, PTRACE_CONT, 0);
}

/* -- processes ----------------------------------------------------------------------------------------------------- */

static bool is_group_stop(int status)
{
    int sig = WSTOPSIG(status);

    return status >> 16 == PTRACE_EVENT_STOP && (sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU);
}

/* The first stop of a thread whose parent was seen: it belongs somewhere now. */
static void on_first_stop(struct tracer *tr, struct thread *t, int status)
{
    t->state = THREAD_RUNS;
    go_on(t, is_group_stop(status) ? PTRACE_LISTEN : PTRACE_CONT, 0);
}

/* What the parent's flags say about the child's address space and process. */
static void adopt(struct tracer *tr, struct thread *parent, struct thread *child)
{
    bool shares = parent->clone_flags & CLONE_VM, same = parent->clone_flags & CLONE_THREAD;
    bool has_segments = parent->mm->has_segments;

    proc_enter(tr, child, same ? parent->proc : proc_new(tr, child->tid));
    mm_enter(child, shares ? parent->mm : mm_new());
    child->mm->has_segments |= has_segments;
    if (shares || !parent->mm->maps_len)
        return;
    child->mm->maps = must(malloc(parent->mm->maps_len + 1)); /* its maps are told as they differ from the parent's */
    memcpy(child->mm->maps, parent->mm->maps, parent->mm->maps_len + 1);
    child->mm->maps_len = parent->mm->maps_len;
    child->mm->maps_room = parent->mm->maps_len + 1;
}

static void on_clone(struct tracer *tr, struct thread *t, u32 event)
{
    unsigned long tid = 0;
    struct thread *child;

    ptrace(PTRACE_GETEVENTMSG, t->tid, NULL, &tid);
    hide_untraced(t, true);
    call_is_over(t);
    child = thread_find(tr, (s32)tid);
    if (!child)
        child = thread_new(tr, (s32)tid, THREAD_NEW);
    write_clone(tr, t, (s32)tid, 0, event);
    adopt(tr, t, child);
    if (!(t->clone_flags & CLONE_VM))
        emit_maps(tr, child);
    t->state = THREAD_RUNS;
    gates_release(tr, t);
    go_on(t, PTRACE_CONT, 0);
    if (child->state == THREAD_EARLY)
        on_first_stop(tr, child, child->early_status);
}

/* The other threads of the process that calls execve are gone, whether or not they have said so. */
static void drop_other_threads(struct tracer *tr, struct thread *keep, struct proc *p)
{
    for (u32 i = 0; i < THREAD_HASH; i++) {
        struct thread *t, *next;

        list_for_each_entry_safe (t, next, &tr->hash[i], hash)
            if (t != keep && t->proc == p)
                thread_free(tr, t);
    }
}

/* The stop carries the process's pid, whichever thread called. */
static void on_exec(struct tracer *tr, struct thread *t)
{
    unsigned long former = 0;

    ptrace(PTRACE_GETEVENTMSG, t->tid, NULL, &former);
    if (t->proc->nr_threads > 1)
        drop_other_threads(tr, t, t->proc);
    mm_leave(tr, t);
    mm_enter(t, mm_new());
    t->state = THREAD_RUNS;
    t->ends = false;
    if (t->pidfd >= 0)
        close(t->pidfd);
    t->pidfd = -1;
    emit_exec(tr, t, (s32)former);
    go_on(t, PTRACE_CONT, 0);
}

static void on_gone(struct tracer *tr, struct thread *t, int status)
{
    struct native_exit *e;

    if (t->tid == tr->root)
        tr->r->wait_status = status;
    if (!t->proc) { /* never belonged to anybody */
        thread_free(tr, t);
        return;
    }
    if (t->state == THREAD_IN_CALL && !is_clone(t))
        write_call(tr, t, 0, NATIVE_UNFINISHED);
    buffer_reset(&tr->other);
    e = buffer_add(&tr->other, sizeof(*e));
    e->h = head_of(tr, t);
    e->wait_status = status;
    e->last = t->proc->nr_threads == 1;
    emit(tr, NATIVE_EXIT, &tr->other);
    thread_free(tr, t);
}

/*
 * The thread is about to end, its address space with it if it is the last one. That takes effect (segments detached,
 * limits given back) before anybody is told: so its end is waited for, lest calls of others, that may depend on it, are
 * recorded on the wrong side of it. Not for long: it may have to wait for somebody, too.
 */
static void finish_exit(struct tracer *tr, struct thread *t)
{
    bool last = t->proc->nr_threads == 1;
    const struct timespec nap = {.tv_nsec = EXIT_NAP_NS};
    s32 tid = t->tid;
    int status;

    t->state = THREAD_RUNS;
    go_on(t, PTRACE_CONT, 0);
    for (int i = 0; last && i < EXIT_NAPS; i++) {
        pid_t got = waitpid(tid, &status, __WALL | WNOHANG);

        if (got == tid && !WIFSTOPPED(status)) {
            on_gone(tr, t, status);
            return;
        }
        if (got < 0)
            return;
        nanosleep(&nap, NULL);
    }
}

static void on_exit_stop(struct tracer *tr, struct thread *t)
{
    if (t->state == THREAD_IN_CALL) { /* killed in it */
        go_on(t, PTRACE_CONT, 0);
        return;
    }
    gates_release(tr, t); /* killed while it waited */
    if (t->mm->users > 1) {
        go_on(t, PTRACE_CONT, 0);
        return;
    }
    emit_maps(tr, t);
    t->ends = true;
    t->nr = NR_ABI_CALLS; /* none */
    if (gates_pass(tr, t))
        finish_exit(tr, t);
}

/* -- signals ------------------------------------------------------------------------------------------------------- */

/* The size of the file mapped at addr: what SIGBUS is about. */
static u64 size_of_mapped(struct thread *t, u64 addr)
{
    unsigned long long start, end, ino;
    struct native_file f = {0};
    char *text = NULL, *p;
    size_t room = 0;

    if (tracee_text(t->tid, "maps", &text, &room) <= 0)
        return ~0ull;
    for (p = text; p && *p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
        if (sscanf(p, "%llx-%llx %*s %*x %*x:%*x %llu", &start, &end, &ino) == 3 && addr >= start && addr < end)
            break;
    if (p && *p && ino)
        tracee_mapped_file(t->tid, start, end, &f);
    free(text);
    return f.ino ? f.size : ~0ull;
}

static void on_signal(struct tracer *tr, struct thread *t, int sig)
{
    struct __ptrace_syscall_info info;
    struct native_signal *e;
    siginfo_t si = {0};

    if (!ptrace(PTRACE_GETSIGINFO, t->tid, NULL, &si)) {
        bool fault = sig == SIGSEGV || sig == SIGBUS || sig == SIGILL || sig == SIGFPE || sig == SIGTRAP;

        buffer_reset(&tr->other);
        e = buffer_add(&tr->other, sizeof(*e));
        e->h = head_of(tr, t);
        e->signo = sig;
        e->code = si.si_code;
        e->addr = fault && si.si_code > 0 ? (u64)(uintptr_t)si.si_addr : 0;
        e->file_size = sig == SIGBUS && si.si_code > 0 ? size_of_mapped(t, e->addr) : ~0ull;
        if (ptrace(PTRACE_GET_SYSCALL_INFO, t->tid, sizeof(info), &info) > 0) {
            e->ip = info.instruction_pointer;
            e->sp = info.stack_pointer;
        }
        emit(tr, NATIVE_SIGNAL, &tr->other);
    }
    go_on(t, PTRACE_CONT, sig);
}

/* -- the loop ------------------------------------------------------------------------------------------------------ */

static void on_event(struct tracer *tr, struct thread *t, int status)
{
    u32 event = (u32)status >> 16;

    switch (event) {
    case PTRACE_EVENT_SECCOMP:
        on_enter(tr, t);
        break;
    case PTRACE_EVENT_FORK:
    case PTRACE_EVENT_VFORK:
    case PTRACE_EVENT_CLONE:
        on_clone(tr, t, event);
        break;
    case PTRACE_EVENT_EXEC:
        on_exec(tr, t);
        break;
    case PTRACE_EVENT_EXIT:
        on_exit_stop(tr, t);
        break;
    default: /* PTRACE_EVENT_STOP: a group stop, or its end */
        go_on(t, is_group_stop(status) ? PTRACE_LISTEN : PTRACE_CONT, 0);
        break;
    }
}

static void on_stop(struct tracer *tr, s32 tid, int status)
{
    struct thread *t = thread_find(tr, tid);
    int sig = WSTOPSIG(status);

    if (!t) {
        t = thread_new(tr, tid, THREAD_EARLY);
        t->early_status = status;
    } else if (t->state == THREAD_NEW) {
        on_first_stop(tr, t, status);
    } else if (status >> 16) {
        on_event(tr, t, status);
    } else if (sig == (SIGTRAP | 0x80)) {
        on_leave(tr, t);
    } else {
        on_signal(tr, t, sig);
    }
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Whoever stops the recorder means the whole run: STOP_AFTER_S later, or at the second signal, all are killed. */
static void stop_overdue(struct tracer *tr)
{
    if (!tr->kill_at)
        tr->kill_at = now() + STOP_AFTER_S;
    if (nr_stops < 2 && now() < tr->kill_at)
        return;
    for (u32 i = 0; i < THREAD_HASH; i++) {
        struct thread *t;

        list_for_each_entry (t, &tr->hash[i], hash)
            /* One without a process has been born, and who bore it was killed before it said so: nobody else knows it. */
            if ((!t->proc || t->proc->tgid == t->tid) && !kill(t->tid, SIGKILL) && !t->told_to_die) {
                t->told_to_die = true;
                tr->r->killed++;
            }
    }
}

static void loop(struct tracer *tr)
{
    for (;;) {
        int status;
        pid_t tid = wait4(-1, &status, __WALL, NULL);

        if (tid < 0 && errno != EINTR)
            break; /* ECHILD: all are gone */
        if (tid < 0) {
            gates_overdue(tr);
        } else if (WIFSTOPPED(status)) {
            on_stop(tr, tid, status);
        } else {
            struct thread *t = thread_find(tr, tid);

            if (t)
                on_gone(tr, t, status);
        }
        if (nr_stops)
            stop_overdue(tr);
        tick(tr);
    }
}

int native_record(const struct native_options *o, struct native_result *r, char *why, size_t why_size)
{
    struct tracer *tr = must(calloc(1, sizeof(*tr)));
    struct launch l;
    struct thread *t;
    int err = launch(o, &l, why, why_size);

    if (err) {
        free(tr);
        return err;
    }
    *r = (struct native_result){0};
    tr->o = o;
    tr->r = r;
    tr->root = l.pid;
    gate_init(&tr->ipc);
    for (u32 i = 0; i < THREAD_HASH; i++)
        INIT_LIST_HEAD(&tr->hash[i]);
    t = thread_new(tr, l.pid, THREAD_RUNS);
    proc_enter(tr, t, proc_new(tr, l.pid));
    mm_enter(t, mm_new());
    own_signals(l.pid);
    emit_host(tr);
    err = launch_go(&l, why, why_size);
    if (err)
        thread_free(tr, t);
    else
        loop(tr);
    free(tr->other.p);
    free(tr);
    return err;
}
