/* SPDX-License-Identifier: MIT */
/*
 * `quire run --save`: machines as they are at a moment.
 *
 * At the end of a process: it leaves its tasks on the machines, its gate closed (frontend/qemu/process.c); the launcher
 * sees it dead, saves, and takes the tasks down. So its address space is there as it was at its last moment; those that
 * it had left behind by execve are not.
 *
 * Others go on meanwhile. Their gates are closed, so that nobody enters the memory manager; who is in it comes out, or
 * gives its CPU back, which takes no gate. So each CPU is looked at before and after the copy: owner, state and clock the
 * same, and never inside the core, or the copy is made again. Threads in user mode go on hitting in their TLBs, which
 * changes the order of entries only: loading forgets those TLBs.
 */
#define _GNU_SOURCE
#include "save.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "output.h"
#include "saved.h"

#define TRIES 20

/* -- options ------------------------------------------------------------------------------------------------------- */

bool save_parse_moment(struct save_options *o, const char *text)
{
    char *end;

    if (strcmp(text, "exit") == 0) {
        o->at_exit = true;
        return true;
    }
    if (strcmp(text, "usr1") == 0) {
        o->at_usr1 = true;
        return true;
    }
    if (strncmp(text, "calls=", 6) != 0)
        return false;
    errno = 0;
    o->every = strtoull(text + 6, &end, 10);
    return o->every && !*end && !errno && text[6] != '-';
}

const char *save_prepare(struct save_options *o)
{
    struct stat st;

    if (!o->at_usr1 && !o->every)
        o->at_exit = true;
    o->folder = stat(o->path, &st) == 0 && S_ISDIR(st.st_mode);
    if (o->folder && (o->at_usr1 || o->every))
        return "a folder is for --save-at exit; name a file";
    if (!o->folder && o->path[0] && o->path[strlen(o->path) - 1] == '/')
        return "no such folder; mkdir makes it";
    if (o->folder)
        return access(o->path, W_OK | X_OK) == 0 ? NULL : strerror(errno);
    output_check("--save", o->path, OUTPUT_FILE);
    return NULL;
}

enum session_keep save_keep(const struct save_options *o)
{
    return !o->path || !o->at_exit ? KEEP_NOTHING : o->folder ? KEEP_ALL : KEEP_PROGRAM;
}

/* -- a quiet moment ------------------------------------------------------------------------------------------------ */

struct cpu_seen {
    u32 owner, state;
    u64 clock_ps;
};

/* False: a CPU is inside the core. */
static bool look_at_cpus(const struct machine *m, struct cpu_seen *seen)
{
    for (u32 i = 0; i < m->nr_cpus; i++) {
        struct cpu *cpu = &m->cpus[i];

        seen[i] = (struct cpu_seen){atomic_load(&cpu->owner), atomic_load(&cpu->state), READ_ONCE(cpu->clock_ps)};
        if (seen[i].state == CPU_KERNEL)
            return false;
    }
    return true;
}

static bool same_cpus(const struct machine *m, const struct cpu_seen *seen)
{
    static struct cpu_seen now[MAX_CPUS];

    return look_at_cpus(m, now) && memcmp(now, seen, sizeof(*seen) * m->nr_cpus) == 0;
}

static struct machine *machine_of(struct session *s, u32 i)
{
    return (struct machine *)(uintptr_t)s->machine[i].addr;
}

/* 0, -EAGAIN: they moved, or -errno. */
static int try_save(struct session *s, const char *path, const struct saved_input *in, char *err)
{
    static struct cpu_seen seen[SAVED_MACHINES][MAX_CPUS];
    int ret;

    for (u32 i = 0; i < in->nr_machines; i++)
        if (!look_at_cpus(in->machine[i], seen[i]))
            return -EAGAIN;
    ret = saved_write(path, in, err);
    for (u32 i = 0; i < in->nr_machines && !ret; i++)
        if (!same_cpus(in->machine[i], seen[i]))
            ret = -EAGAIN;
    return ret;
}

/* Close the gates of all processes that live; closed[] says which were open. */
static void close_gates(struct session *s, bool *closed)
{
    for (u32 i = 0; i < atomic_load(&s->proc_top); i++) {
        struct session_proc *p = &s->proc[i];

        closed[i] = atomic_load(&p->state) == PROC_LIVE && !atomic_load(&p->frozen);
        if (closed[i])
            gate_freeze(p, 0);
    }
}

static void open_gates(struct session *s, const bool *closed)
{
    for (u32 i = 0; i < atomic_load(&s->proc_top); i++)
        if (closed[i])
            gate_thaw(&s->proc[i]);
}

static void save(struct save_state *st, struct session *s, const char *path, const char *moment)
{
    static bool closed[SESSION_PROCS];
    struct saved_input in = {.program = st->program, .moment = moment};
    char err[SAVED_ERROR] = "";
    int ret = -EAGAIN;

    for (u32 i = 0; i < s->nr_machines; i++)
        if (!session_machine_is_dead(s, i))
            in.machine[in.nr_machines++] = machine_of(s, i);
    memset(closed, 0, sizeof(closed));
    close_gates(s, closed);
    for (int i = 0; i < TRIES && ret == -EAGAIN && in.nr_machines; i++) {
        ret = try_save(s, path, &in, err);
        if (ret == -EAGAIN)
            nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    open_gates(s, closed);
    st->saved += !ret;
    st->failed |= ret != 0;
    if (ret == -EAGAIN)
        session_notice(s, "--save %s: not saved: %s", path,
                       in.nr_machines ? "the machines did not come to rest" : "no machine followed the run so far");
    else if (ret)
        session_notice(s, "--save %s", err);
}

/* -- moments ------------------------------------------------------------------------------------------------------- */

/* The first file has the name that was asked for, the others a number behind it. */
static void save_numbered(struct save_state *st, struct session *s, const char *moment)
{
    char path[SESSION_PATH + 64];

    if (st->saved)
        snprintf(path, sizeof(path), "%s.%u", st->o->path, st->saved + 1);
    else
        snprintf(path, sizeof(path), "%s", st->o->path);
    save(st, s, path, moment);
}

void save_at_end(struct save_state *st, struct session *s, const struct session_proc *p, bool program)
{
    char path[SESSION_PATH + 64], moment[64], *name;
    s32 pid = atomic_load(&((struct session_proc *)(uintptr_t)p)->pid);

    if (!st->o->path || !st->o->at_exit || (!st->o->folder && !program))
        return;
    snprintf(moment, sizeof(moment), "at the end of process %d (%s)", pid, p->comm);
    if (st->o->folder) {
        name = strrchr(p->comm, '/') ? strrchr(p->comm, '/') + 1 : (char *)(uintptr_t)p->comm;
        snprintf(path, sizeof(path), "%s/%s.%d.quire", st->o->path, name, pid);
        save(st, s, path, moment);
    } else {
        save_numbered(st, s, moment);
    }
}

void save_poll(struct save_state *st, struct session *s)
{
    u64 calls = atomic_load(&s->events);
    char moment[64];

    if (!st->o->path || !st->o->every)
        return;
    if (!st->next)
        st->next = st->o->every;
    if (calls < st->next)
        return;
    st->next = calls - calls % st->o->every + st->o->every;
    snprintf(moment, sizeof(moment), "after %llu system calls", (unsigned long long)calls);
    save_numbered(st, s, moment);
}

void save_on_signal(struct save_state *st, struct session *s)
{
    save_numbered(st, s, "at SIGUSR1");
}
