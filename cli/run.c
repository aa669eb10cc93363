/* SPDX-License-Identifier: MIT */
/*
 * `quire run`: boots the machines, starts the program under qemu, watches until it ends, reports.
 *
 *   launcher ─ fork ─▶ qemu + plugin ─ fork, exec ─▶ ... every process registers in the session
 *      └ poll: pidfds of all registered processes (who died without a word is taken off the machines), SIGCHLD,
 *        progress line
 *
 * The launcher is a child subreaper, so that orphans are its own. It keeps out of the program's way: terminal signals
 * reach the program directly and are ignored here, signals sent to the launcher alone are passed on; it ends as the
 * program ended. Somebody who sends SIGTERM or SIGINT means the whole run: if the program is there STOP_AFTER_S later,
 * or at the second such signal, all followed processes are killed, and the report tells what there was until then; what the
 * program leaves behind in such a run gets the signal, too, and is killed at the same time, if it does not end. If the
 * launcher is killed, all are (guardian.c).
 */
#define _GNU_SOURCE
#include "quire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "port/posix/port_posix.h"
#include "recording.h"

extern char **environ;

#define POLL_MS 20
#define PROGRESS_AFTER_S 2.0
#define PROGRESS_EVERY_S 0.5
#define ORPHAN_GRACE_S 0.5
#define STOP_AFTER_S 5.0
#define KILLED_S 5.0 /* SIGKILL takes longer where the host is busy */

struct launcher {
    struct run_options *o;
    struct session *s;
    struct program program;
    pid_t child;
    int signals;              /* signalfd */
    FILE *err;                /* our own stderr: the program may close its */
    int pidfd[SESSION_PROCS]; /* 0: none */
    bool dead[SESSION_PROCS]; /* gone, tasks still on the machines */
    struct run_result result;
    struct save_state save;
    bool ended;
    double start, last_progress;
    double kill_at; /* 0: nobody wants the run to stop */
    int stop_signal;
    bool telling; /* the signal goes to everybody who is left, to those that are born later, too */
    bool killed;
    bool progress_shown;
};

/* -- before: refuse what cannot run -------------------------------------------------------------------------------- */

static void resolve_program(struct launcher *l)
{
    const char *name = l->o->argv[0];
    char path[SESSION_PATH];
    enum program_error err;

    program_find(name, path);
    err = program_resolve(path, getenv("QEMU_LD_PREFIX") ? getenv("QEMU_LD_PREFIX") : "", &l->program);
    refuse_program(&l->program, err, name, l->o->trace_file ? "record -o FILE" : "run");
    if (!l->s->qemu[l->program.arch][0])
        usage_error("%s: running %s programs needs qemu-%s, which is not installed: apt-get install qemu-user", name,
                    guest_arch_name[l->program.arch], guest_arch_name[l->program.arch]);
    if (!host_find_plugin(l->s->plugin))
        usage_error("libquire_qemu.so is not where the build puts it; build Quire again with `make`");
}

/* qemu lays programs out from 256 GiB upwards: formats with less room cannot hold them. */
static void check_format(const struct machine_config *c, const struct program *p)
{
    const struct pt_format *fmt = pt_formats[c->pt_format];

    if (pt_task_size(fmt) < 1ull << 46)
        usage_error("machine %s: arch: programs for %s need a 47-bit address space, this format has less; "
                    "use x86_64, x86_64-5level, arm64, riscv64-sv48 or riscv64-sv57",
                    c->name, guest_arch_name[p->arch]);
}

static void boot_machines(struct launcher *l)
{
    for (u32 i = 0; i < l->o->nr_machines; i++) {
        struct machine_config *c = l->o->config[i];
        struct machine *m;

        check_format(c, &l->program);
        m = machine_boot(c, NULL);
        if (IS_ERR(m))
            usage_error("machine %s: cannot be booted: %s%s", c->name, strerror(-PTR_ERR(m)), host_limits());
        l->s->machine[i].handle = m->handle;
        l->s->machine[i].addr = (u64)(uintptr_t)m->region;
        l->s->nr_machines = i + 1;
    }
}

/* -- start --------------------------------------------------------------------------------------------------------- */

static void setup_signals(struct launcher *l, sigset_t *old)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGQUIT);
    sigprocmask(SIG_BLOCK, &set, old);
    l->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (l->signals < 0)
        usage_error("signalfd: %s", strerror(errno));
}

static void start_program(struct launcher *l)
{
    struct session_proc *slot = session_proc_new(l->s, getpid());
    struct command c;
    sigset_t old;

    slot->arch = l->program.arch;
    snprintf(slot->comm, sizeof(slot->comm), "%.15s", l->o->argv[0]);
    if (command_build(&c, l->s, &l->program, session_proc_index(l->s, slot), l->o->argv, environ))
        usage_error("no memory");
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    setup_signals(l, &old);
    guardian_start(l->s);
    fflush(NULL);
    l->start = now_s();
    l->child = fork();
    if (l->child == 0) {
        sigprocmask(SIG_SETMASK, &old, NULL);
        execve(c.argv[0], c.argv, c.envp);
        fprintf(stderr, "quire: %s: %s\n", c.argv[0], strerror(errno));
        _exit(EXIT_USAGE);
    }
    if (l->child < 0)
        usage_error("fork: %s", strerror(errno));
    atomic_store(&slot->pid, l->child);
    command_free(&c);
}

/* -- watch --------------------------------------------------------------------------------------------------------- */

/* The process is gone: its CPUs are free again; what else it left on the machines goes in take_down(). */
static void note_death(struct launcher *l, u32 slot)
{
    struct session_proc *p = &l->s->proc[slot];

    l->dead[slot] = true;
    vfork_done(p);
    if (atomic_load(&p->in_core) && !atomic_load(&p->frozen)) {
        session_notice(l->s, "process %d (%s) was killed from outside in the middle of a machine's memory manager",
                       atomic_load(&p->pid), p->comm);
        for (u32 i = 0; i < l->s->nr_machines; i++)
            session_machine_dead(l->s, i, "process %d was killed from outside while it changed this machine",
                                 atomic_load(&p->pid));
    }
    recording_begin(l->s);
    recording_flush(l->s, p);
    session_release_dead_cpus(l->s, p);
    save_at_end(&l->save, l->s, p, atomic_load(&p->pid) == l->child);
    recording_end(l->s, TRACE_DEATH, atomic_load(&p->pid));
}

/* Tasks of the dead leave their machines. True: some are left, no CPU was free for it. */
static bool take_down(struct launcher *l)
{
    bool left = false;

    for (u32 i = 0; i < atomic_load(&l->s->proc_top); i++) {
        struct session_proc *p = &l->s->proc[i];

        s32 pid = atomic_load(&p->pid);
        bool gone;

        if (!l->dead[i])
            continue;
        recording_begin(l->s);
        gone = session_drop_threads(l->s, p, NULL, DROP_TRY);
        if (gone) {
            l->dead[i] = false;
            session_proc_free(p);
        }
        recording_end(l->s, gone ? TRACE_PROCESS_EXIT : 0, pid);
        left = left || !gone;
    }
    return left;
}

static void reap(struct launcher *l)
{
    int status;
    pid_t pid;
    struct rusage usage;

    while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0)
        if (pid == l->child) {
            l->ended = true;
            l->result.wait_status = status;
            l->result.usage = usage;
        }
}

static void open_pidfds(struct launcher *l)
{
    for (u32 i = 0; i < atomic_load(&l->s->proc_top); i++) {
        struct session_proc *p = &l->s->proc[i];
        s32 pid = atomic_load(&p->pid);

        if (atomic_load(&p->state) == PROC_FREE || pid <= 0 || l->pidfd[i] || l->dead[i])
            continue;
        l->pidfd[i] = (int)syscall(SYS_pidfd_open, pid, 0);
        if (l->pidfd[i] < 0) {
            l->pidfd[i] = 0;
            if (errno == ESRCH)
                note_death(l, i);
        } else if (l->telling) {
            syscall(SYS_pidfd_send_signal, l->pidfd[i], l->stop_signal, NULL, 0);
        }
    }
}

/* SIGTERM or SIGINT was sent to the launcher. */
static void want_stop(struct launcher *l, int sig)
{
    l->kill_at = l->kill_at > 0 ? now_s() : now_s() + STOP_AFTER_S;
    l->stop_signal = sig;
}

/* To the processes that the program has left behind. */
static void stop_left(struct launcher *l)
{
    open_pidfds(l);
    for (u32 i = 0; i < atomic_load(&l->s->proc_top); i++)
        if (l->pidfd[i] && atomic_load(&l->s->proc[i].state) != PROC_FREE)
            syscall(SYS_pidfd_send_signal, l->pidfd[i], l->stop_signal, NULL, 0);
    l->telling = true;
}

/* Followed processes only, and none while it changes a machine, if that can be had (session.h, "The gate"). */
static void kill_followed(struct launcher *l)
{
    bool first = !l->killed;
    u32 n = 0;

    l->killed = true;
    open_pidfds(l);
    for (u32 i = 0; i < atomic_load(&l->s->proc_top); i++) {
        struct session_proc *p = &l->s->proc[i];

        if (!l->pidfd[i] || atomic_load(&p->state) == PROC_FREE)
            continue;
        if (!gate_freeze(p, 0))
            gate_thaw(p);
        n += syscall(SYS_pidfd_send_signal, l->pidfd[i], SIGKILL, NULL, 0) == 0;
    }
    if (first && n)
        session_notice(l->s, "the run was told to stop and %s: %u process(es) were killed",
                       l->ended ? "what the program left behind did not end" : "the program did not end", n);
}

static void pass_on(struct launcher *l, int sig)
{
    kill(l->child, sig);
    if (sig == SIGTERM || sig == SIGINT)
        want_stop(l, sig);
}

static void take_signals(struct launcher *l)
{
    struct signalfd_siginfo si;

    while (read(l->signals, &si, sizeof(si)) == sizeof(si)) {
        bool from_terminal = si.ssi_code == SI_KERNEL; /* the program got it too */

        if (si.ssi_signo == SIGUSR1 && l->o->save.at_usr1)
            save_on_signal(&l->save, l->s);
        else if (si.ssi_signo != SIGCHLD && !from_terminal)
            pass_on(l, (int)si.ssi_signo);
    }
    reap(l);
}

/* Wait for something to happen: a signal, a process that dies, or time. */
static void watch_once(struct launcher *l, int timeout_ms)
{
    static struct pollfd fd[SESSION_PROCS + 1];
    static u32 slot[SESSION_PROCS + 1];
    u32 nr = 1;

    open_pidfds(l);
    fd[0] = (struct pollfd){.fd = l->signals, .events = POLLIN};
    for (u32 i = 0; i < atomic_load(&l->s->proc_top); i++)
        if (l->pidfd[i]) {
            slot[nr] = i;
            fd[nr++] = (struct pollfd){.fd = l->pidfd[i], .events = POLLIN};
        }
    if (poll(fd, nr, take_down(l) ? 1 : timeout_ms) <= 0)
        return;
    for (u32 k = 1; k < nr; k++)
        if (fd[k].revents) {
            close(l->pidfd[slot[k]]);
            l->pidfd[slot[k]] = 0;
            note_death(l, slot[k]);
        }
    take_down(l);
    take_signals(l);
}

static u32 nr_processes(const struct launcher *l)
{
    u32 n = 0;

    for (u32 i = 0; i < atomic_load(&l->s->proc_top); i++)
        n += atomic_load(&l->s->proc[i].state) != PROC_FREE;
    return n;
}

static void progress(struct launcher *l)
{
    double t = now_s(), s = t - l->start;
    double accesses = (double)atomic_load(&l->s->accesses);

    if (s < PROGRESS_AFTER_S || t - l->last_progress < PROGRESS_EVERY_S || !isatty(fileno(l->err)))
        return;
    l->last_progress = t;
    l->progress_shown = true;
    fprintf(l->err, "\r\033[Kquire: %.1f s, %.0f M accesses (%.0f M/s), %u process(es)", s, accesses / 1e6,
            accesses / 1e6 / s, nr_processes(l));
    if (l->o->trace_file)
        fprintf(l->err, ", %.1f MB recorded", (double)atomic_load(&l->s->trace.bytes) / 1e6);
    fflush(l->err);
}

static void name_orphans(struct launcher *l)
{
    for (u32 i = 0; i < atomic_load(&l->s->proc_top); i++) {
        struct session_proc *p = &l->s->proc[i];

        if (atomic_load(&p->state) == PROC_FREE || !atomic_load(&p->pid))
            continue; /* 0: the thread that was about to fork is gone */
        l->result.still_running++;
        session_notice(l->s, "process %d (%.15s) outlives the program: it goes on, without being followed",
                       atomic_load(&p->pid), p->comm);
    }
}

/*
 * The program has ended: what it leaves behind has a moment to end, too. In a run that was told to stop it gets the
 * signal, as long as the program had, and then it is killed: again and again, for who is forked meanwhile.
 */
static void watch_left(struct launcher *l)
{
    double begin = now_s(), kill_at = 0, deadline = begin + ORPHAN_GRACE_S;

    while (nr_processes(l) && now_s() < deadline) {
        if (l->kill_at > 0) {
            kill_at = MAX(l->kill_at, begin + ORPHAN_GRACE_S);
            deadline = kill_at + KILLED_S;
            if (!l->telling)
                stop_left(l);
        }
        watch_once(l, 1);
        if (l->killed || (l->telling && now_s() >= kill_at))
            kill_followed(l);
    }
}

static void watch(struct launcher *l)
{
    while (!l->ended) {
        watch_once(l, POLL_MS);
        save_poll(&l->save, l->s);
        progress(l);
        if (l->kill_at > 0 && now_s() >= l->kill_at)
            kill_followed(l);
    }
    l->result.wall_s = now_s() - l->start;
    watch_left(l);
    name_orphans(l);
    if (l->progress_shown)
        fprintf(l->err, "\r\033[K");
}

/* -- after --------------------------------------------------------------------------------------------------------- */

/* Whoever still runs is kept out of the machines, for the report and for good. */
static void stop_followers(struct launcher *l)
{
    atomic_store(&l->s->stopped, 1);
    for (u32 i = 0; i < atomic_load(&l->s->proc_top); i++)
        if (atomic_load(&l->s->proc[i].state) != PROC_FREE)
            gate_freeze(&l->s->proc[i], 0);
}

static void release_followers(struct launcher *l)
{
    atomic_store(&l->s->ended, 1);
    for (u32 i = 0; i < l->s->nr_machines; i++)
        session_machine_dead(l->s, i, "the run has ended");
    for (u32 i = 0; i < atomic_load(&l->s->proc_top); i++) {
        gate_thaw(&l->s->proc[i]);
        vfork_done(&l->s->proc[i]);
    }
}

static bool check_machines(struct launcher *l)
{
    bool ok = true;

    for (u32 i = 0; i < l->s->nr_machines; i++) {
        l->result.check[i] = calloc(1, sizeof(struct check_report));
        if (!l->result.check[i])
            usage_error("no memory");
        machine_check(session_machine(l->s, i), l->result.check[i]);
        ok = ok && l->result.check[i]->nr == 0;
    }
    l->result.checked = true;
    return ok;
}

/* False: a file could not be written. */
static bool report(struct launcher *l)
{
    FILE *out = l->o->report_file ? report_open(l->o->report_file) : l->err;
    bool whole = out != NULL;

    if (!out) {
        fprintf(l->err, "quire: --report %s: %s; the table goes here\n", l->o->report_file, strerror(errno));
        out = l->err;
    }
    if (!l->o->quiet || l->o->report_file)
        report_text(out, l->o, l->s, &l->result);
    fflush(out);
    if (out != l->err && report_close(out)) {
        fprintf(l->err, "quire: --report %s: %s\n", l->o->report_file, strerror(errno));
        whole = false;
    }
    if (!l->o->json_file || !report_json(l->o->json_file, l->o, l->s, &l->result))
        return whole;
    fprintf(l->err, "quire: --json %s: %s\n", l->o->json_file, strerror(errno));
    return false;
}

/* End as the program ended. */
static int same_end(int status)
{
    int sig = WTERMSIG(status);
    sigset_t set;

    if (!WIFSIGNALED(status))
        return WEXITSTATUS(status);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); /* the program's core, if any, is written already */
    signal(sig, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, sig);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    kill(getpid(), sig);
    return 128 + sig;
}

int run_program(struct run_options *o)
{
    static struct launcher l;
    int err = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 200);
    bool balanced = true, whole = true;

    host_survive(SIGPIPE); /* whoever reads the report may have gone */
    l.o = o;
    l.err = err >= 0 ? fdopen(err, "w") : NULL;
    l.err = l.err ? l.err : fopen("/dev/null", "we"); /* it is closed: host_prepare() */
    l.s = session_create();
    if (!l.err || !l.s)
        usage_error("cannot create the session: %s%s", strerror(errno), host_limits());
    port_posix_set_log_fd(err);
    l.save = (struct save_state){.o = &o->save, .program = o->argv[0]};
    l.s->keep = save_keep(&o->save);
    host_find_qemu(l.s);
    resolve_program(&l);
    boot_machines(&l);
    if (o->trace_file)
        recording_start(o, l.s, l.program.arch);
    start_program(&l);
    watch(&l);
    stop_followers(&l);
    if (o->trace_file && !recording_finish(l.s, o, &l.result, l.err))
        whole = false;
    if (o->check)
        balanced = check_machines(&l);
    whole = report(&l) && whole;
    release_followers(&l);
    if (!balanced)
        return 3;
    if (o->save.path && (l.save.failed || !l.save.saved)) {
        fprintf(l.err, "quire: --save %s: %s\n", o->save.path,
                l.save.failed ? "failed; the notes of the report tell why" : "the moment to save did not come");
        return EXIT_USAGE;
    }
    if (!whole)
        return EXIT_USAGE;
    return same_end(l.result.wait_status);
}
