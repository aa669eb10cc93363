/* SPDX-License-Identifier: MIT */
/*
 * The session: what the launcher (`quire run`) and the plugin in every followed process share, beside the machines
 * themselves. One memfd, mapped anywhere; it holds no pointers into itself.
 *
 *   launcher ── boots machines ── creates the session ── starts qemu with the plugin
 *        │                            ▲
 *        │ pidfds, progress           │ mapped through /proc/LAUNCHER/fd/N, then closed:
 *        ▼                            │ no descriptor stays in the program
 *   struct session { machines · processes · threads · notices · records of address spaces that are gone }
 *
 * A process slot:
 *
 *   FREE ─▶ FORKING ─▶ LIVE ◀──▶ EXEC    FREE → FORKING  the parent, before fork (the launcher: the program itself)
 *             │          │        │      FORKING → LIVE  the child, when it comes back from fork, or at its first block
 *             ▼          ▼        ▼      LIVE → EXEC     before execve of qemu; back: at its first block, or it failed
 *           FREE       EXITED   EXITED   → EXITED        exit_group, or the launcher when it finds the process dead
 *                        └──▶ FREE       EXITED → FREE   the launcher, when the process is gone
 *
 * The gate. A process that is killed while one of its threads is in the memory manager would leave locks taken. So who
 * is about to kill (kill(2) with SIGKILL or SIGSTOP, exit_group, execve of a process with threads) sets `frozen` in the
 * victim's slot, waits until `in_core` is 0, and only then lets the system call go. Threads enter the core through
 * gate_enter(), which waits while frozen.
 *
 * Field keys: c constant after creation · a atomic · o owner (the process, or the launcher once it is dead).
 */
#ifndef QUIRE_FRONTEND_SESSION_H
#define QUIRE_FRONTEND_SESSION_H

#include <pthread.h>

#include "machine/machine_api.h"

#define SESSION_MAGIC 0x31737365736d51ull
#define SESSION_MACHINES 8
#define SESSION_PROCS 4096
#define SESSION_THREADS 16384
#define SESSION_NOTICES 128
#define SESSION_NOTICE_TEXT 240
#define SESSION_RECORDS 1024
#define SESSION_VMAS 16384
#define SESSION_PATH 1024
#define SESSION_SYSCALLS 512

/* Guests we have a qemu for. */
enum guest_arch { GUEST_X86_64, GUEST_AARCH64, GUEST_RISCV64, NR_GUEST_ARCHS };

struct session_machine {
    s32 handle;                       /* c: descriptor in the launcher */
    u64 addr;                         /* c */
    _Atomic u32 dead;                 /* a: no event reaches it any more */
    char reason[SESSION_NOTICE_TEXT]; /* why, written once */
};

enum proc_state { PROC_FREE, PROC_FORKING, PROC_LIVE, PROC_EXEC, PROC_EXITED };

struct session_proc {
    _Atomic u32 state;   /* a: enum proc_state */
    _Atomic s32 pid;     /* a: 0: not known yet */
    s32 ppid;            /* o: whoever forked it */
    _Atomic u32 in_core; /* a: threads in the memory manager */
    _Atomic u32 frozen;  /* a: futex word: nobody enters */
    _Atomic u32 vfork;   /* a: futex word: 1 while the parent waits for exec or exit */
    u32 main_thread;     /* o: index of the thread entry that called fork or exec */
    u32 arch;            /* o: enum guest_arch */
    char comm[16];       /* o */
};

enum thread_state { THREAD_FREE, THREAD_LIVE };

/* One for each guest thread: its task on every machine, and how much it did. */
struct session_thread {
    _Atomic u32 state;                   /* a: enum thread_state */
    u32 proc;                            /* o */
    _Atomic s32 tid;                     /* a: host thread id; 0: not running yet */
    u32 stream;                          /* o: of the trace */
    struct task *task[SESSION_MACHINES]; /* o: NULL: dead machine */
};

/* An address space that ended, on one machine. Pages but for pgtables. */
struct session_record {
    _Atomic u32 state; /* a: 0 free, 1 being written, 2 written */
    u32 machine;
    s32 pid;
    char comm[16];
    s64 rss[NR_MM_COUNTERS];
    u64 hiwater_rss, total_vm, pgtables_bytes, min_flt, maj_flt;
    u32 map_count;
    u32 first_vma, nr_vmas; /* in session->vma */
};

struct session_vma {
    u64 start, end, pgoff, flags;
    char name[64];
};

/* Which processes leave their tasks on the machines when they end, for the launcher to save them first. */
enum session_keep { KEEP_NOTHING, KEEP_PROGRAM, KEEP_ALL };

/*
 * Recording (`quire record`): see record.h. The baton is a robust mutex that processes share: its owner alone runs guest
 * code and changes the machines, so that a recording has one order.
 */
struct session_trace {
    bool on;     /* c */
    s32 file;    /* c: the trace, in the launcher */
    s32 streams; /* c: memfd in the launcher: a struct stream for each thread entry, and one for the launcher */
    pthread_mutex_t baton;  /* robust */
    _Atomic u32 taken;      /* a: futex word: how often the baton was taken */
    _Atomic u32 yielding;   /* a: threads that sleep until it is */
    _Atomic u32 waiting;    /* a: threads that want it */
    _Atomic u32 nr_streams; /* a: last stream that was begun; 0 is the launcher's */
    _Atomic s32 err;        /* a: first errno of a write: the trace is not whole */
    _Atomic u64 ticket;     /* a: last one given, with the baton in hand but in emergencies */
    _Atomic u64 bytes;      /* a: written */
    _Atomic u64 whole;      /* a: bytes of the file up to the end of its last whole block */
    _Atomic u64 words;      /* a: recorded accesses and fetches */
};

struct session {
    u64 magic;           /* c */
    s32 launcher;        /* c: pid */
    s32 fd;              /* c: of this memfd in the launcher */
    u32 nr_machines;     /* c */
    u32 keep;            /* c: enum session_keep */
    _Atomic u32 stopped; /* a: the launcher has closed all gates, to look at the machines: nobody opens one */
    _Atomic u32 ended;   /* a: the report is out: who is left goes on unfollowed (thread_leave()) */
    struct session_machine machine[SESSION_MACHINES];
    char plugin[SESSION_PATH];                  /* c */
    char qemu[NR_GUEST_ARCHS][SESSION_PATH];    /* c: empty: not installed */
    char sysroot[NR_GUEST_ARCHS][SESSION_PATH]; /* c: qemu -L: where loaders of foreign programs are; empty: none */

    struct session_trace trace;

    _Atomic u64 accesses, blocks, events; /* a: added at every system call; exact at the end */
    _Atomic u64 discovered;               /* a: mappings found in /proc/self/maps that no system call had made */
    _Atomic u64 disagreements;            /* a: the machine would have raised a signal or an error, the host did not */
    _Atomic u64 unfollowed;               /* a: processes that could not be followed */
    _Atomic u64 enosys[NR_GUEST_ARCHS][SESSION_SYSCALLS]; /* a: answered "not implemented" by qemu itself, by number */
    _Atomic u32 nr_notices;                               /* a */
    char notice[SESSION_NOTICES][SESSION_NOTICE_TEXT];
    _Atomic u32 nr_records, nr_vmas;  /* a */
    _Atomic u32 proc_top, thread_top; /* a: no slot at or above these was ever used */
    struct session_record record[SESSION_RECORDS];
    struct session_vma vma[SESSION_VMAS];
    struct session_proc proc[SESSION_PROCS];
    struct session_thread thread[SESSION_THREADS];
};

extern const char *const guest_arch_name[NR_GUEST_ARCHS]; /* as qemu names them */

/* Create it in the launcher; NULL and errno. */
struct session *session_create(void);
void session_destroy(struct session *s); /* in the launcher; the machines are not touched */
/* Map the launcher's; NULL and errno. */
struct session *session_attach(int launcher, int fd);
void session_notice(struct session *s, const char *format, ...) __printf_like(2, 3);

/* A free slot, now FORKING, or NULL. */
struct session_proc *session_proc_new(struct session *s, int ppid);
struct session_proc *session_proc_find(struct session *s, int pid);
void session_proc_free(struct session_proc *p);
struct session_thread *session_thread_new(struct session *s, struct session_proc *p);
void session_thread_free(struct session_thread *t);
static inline u32 session_proc_index(const struct session *s, const struct session_proc *p)
{
    return (u32)(p - s->proc);
}

static inline bool session_has_ended(const struct session *s)
{
    return atomic_load_explicit(&((struct session *)(uintptr_t)s)->ended, memory_order_relaxed) != 0;
}

/* The machine can no longer follow, and nobody waits for its CPUs any more: first caller's reason is kept. */
void session_machine_dead(struct session *s, u32 machine, const char *format, ...) __printf_like(3, 4);
static inline bool session_machine_is_dead(struct session *s, u32 machine)
{
    return atomic_load_explicit(&s->machine[machine].dead, memory_order_relaxed) != 0;
}

/* Keep what is reported of an address space: before its last user leaves. `cpu` runs a task of it. */
void session_record_mm(struct session *s, struct cpu *cpu, u32 machine, struct mm *mm, int pid, const char *comm);
/*
 * The thread's tasks leave their machines; and those of every thread of `p` but `keep`. The caller owns no CPU: one is
 * taken for the time. For threads that are dead, session_release_dead_cpus() comes first.
 */
enum drop_mode {
    DROP_WAIT, /* for a CPU */
    DROP_TRY,  /* false: not done, no CPU was free. The launcher must not wait: it alone frees the CPUs of the dead */
};
bool session_drop_thread(struct session *s, struct session_proc *p, struct session_thread *t, enum drop_mode mode);
bool session_drop_threads(struct session *s, struct session_proc *p, struct session_thread *keep, enum drop_mode mode);
void session_release_dead_cpus(struct session *s, struct session_proc *p);

/* The gate. */
void gate_enter(struct session_proc *p);
bool gate_enter_live(struct session_proc *p); /* false: it has ended */
static inline void gate_leave(struct session_proc *p)
{
    atomic_fetch_sub_explicit(&p->in_core, 1, memory_order_release);
}
/* Nobody is in the core of `p` when this returns;
 * `own` threads of the caller are in it themselves. False: timed out. */
bool gate_freeze(struct session_proc *p, u32 own);
void gate_thaw(struct session_proc *p);
/* The same, by somebody else than the launcher. */
void gate_thaw_unless_stopped(struct session *s, struct session_proc *p);

void vfork_done(struct session_proc *p);
/* Until the child has done so, is dead, or the run has ended. */
void vfork_wait(const struct session *s, struct session_proc *p);

#endif
